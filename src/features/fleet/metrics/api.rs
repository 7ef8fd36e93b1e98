//! Charts and the poll on demand.

use super::glances::{Sample, Uncharted};
use super::probe;
use super::readings::SERVERS;
use super::remote_read;
use super::service;
use super::settings;
use crate::access::right::{Metrics, Read, Run, may};
use crate::base::clock::{self, Ms, SECOND, rfc3339};
use crate::base::error::{Error, Field, Kind, Result};
use crate::base::shape::described;
use crate::features::fleet::latest;
use crate::features::fleet::servers;
use crate::features::house::remote_store;
use crate::form::param::{self, Param};
use crate::http::reply::Reply;
use crate::http::request::Method::{Get, Post};
use crate::http::route::{Ctx, Route, route};
use crate::series::window::PERIODS;
use crate::series::{Keep, Kind as SubjectKind, Series, Store, Subject, Window};
use serde::Deserialize;

/// Routes of the JSON API.
pub const ROUTES: &[Route] = &[
    route(Get, "/api/servers/{id}/metrics", may(Read, Metrics), history)
        .query(SPAN)
        .gives::<History>(),
    route(Post, "/api/servers/{id}/probe-glances", may(Run, Metrics), probe_now)
        .takes(&[])
        .gives::<Poll>()
        .asks_others(),
];

described! {
    struct History {
        /// Empty for `from` and `to`.
        period: &'static str,
        step_s: u32,
        /// Poll interval: points further apart than twice this have a gap between them.
        interval_s: i64,
        from: String,
        to: String,
        /// Does a part come from the remote store?
        engine: bool,
        /// Why a part is missing that the remote store may have.
        notice: Option<String>,
        series: Vec<Series>,
        /// File systems of the last poll without a chart.
        uncharted: Option<Uncharted>,
    }
}

/// Query parameters of charts.
pub const SPAN: &[Param] = &[
    param::text("period", 10, "`1h` and longer, up to now."),
    param::number("from", 0..=u32::MAX as i64, "In place of a period: unix seconds."),
    param::number("to", 0..=u32::MAX as i64, "With `from`; now, where it is left out."),
];

described! {
    /// Result of a poll on demand.
    struct Poll<'a> {
        /// Address and version, one sentence.
        detail: &'a str,
        took_ms: u32,
        glances_api_version: u8,
        glances_version: Option<&'a str>,
        path: &'a str,
        sample: &'a Sample,
    }
}

/// The part of a stored sample that charts do not show.
#[derive(Deserialize)]
struct Charted {
    #[serde(default)]
    uncharted: Option<Uncharted>,
}

/// The requested time range, unix seconds: `?period=`, or `?from=` and `?to=`.
struct Asked {
    /// Empty for `from` and `to`.
    period: &'static str,
    from: u32,
    to: u32,
    now: u32,
}

fn span(ctx: &Ctx) -> Result<Asked> {
    let now = u32::try_from(clock::now() / SECOND).unwrap_or(0);
    if !ctx.param("from").is_empty() {
        let to = match ctx.param("to") {
            "" => i64::from(now),
            _ => ctx.number("to")?,
        };
        let from = ctx.number("from")?;
        let message = "from is before to, both in unix seconds.".to_string();
        let field = Field {
            field: "from",
            code: "bad_choice",
            message,
        };
        return match (u32::try_from(from), u32::try_from(to)) {
            (Ok(from), Ok(to)) if from < to => Ok(Asked {
                period: "",
                from,
                to,
                now,
            }),
            _ => Err(Error::invalid(vec![field])),
        };
    }
    let (period, from) = period(ctx, now)?;
    Ok(Asked {
        period,
        from,
        to: now,
        now,
    })
}

/// The period that is asked for, an hour if nothing is said, and the second where it begins.
fn period(ctx: &Ctx, now: u32) -> Result<(&'static str, u32)> {
    let text = match ctx.param("period") {
        "" => "1h",
        asked => asked,
    };
    let found = PERIODS.iter().find(|(name, _)| *name == text);
    let (period, length) = found.ok_or_else(|| {
        let names: Vec<_> = PERIODS.iter().map(|(name, _)| *name).collect();
        let message = format!("period is one of: {}.", names.join(", "));
        Error::invalid(vec![Field {
            field: "period",
            code: "bad_choice",
            message,
        }])
    })?;
    let from = now.saturating_sub(u32::try_from(length.as_secs()).unwrap_or(u32::MAX));
    Ok((period, from))
}

/// `?period=`, up to now. Error: there is no such period.
pub fn window(ctx: &Ctx) -> Result<(&'static str, Window)> {
    let now = u32::try_from(clock::now() / SECOND).unwrap_or(0);
    let (period, from) = period(ctx, now)?;
    let keep = ctx.app.db.read(settings::keep)?;
    Ok((period, Window::new(from, now, now, &keep)))
}

/// The series of any subject in `?period=`, up to now. Error: there is no such period.
pub fn chart_of_subject(ctx: &Ctx, subject: Subject) -> Result<(&'static str, Window, Vec<Series>)> {
    let (period, window) = window(ctx)?;
    let series = Store::new(ctx.app.metrics.clone()).history(subject, &window)?;
    Ok((period, window, series))
}

/// The server's series in the range (`?period=`, or `?from=` and `?to=`, unix seconds); no points where nothing was
/// measured.
fn history(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "server")?;
    let server = ctx.app.db.read(|conn| servers::get(conn, id))?;
    let chart = chart(ctx, &server)?;
    let last = latest::of(&ctx.app.metrics, [id])?.remove(&id);
    Reply::json(&History {
        period: chart.period,
        step_s: chart.window.step_s,
        interval_s: server.fields.poll_interval_s,
        from: rfc3339(i64::from(chart.window.from_s()) * SECOND),
        to: rfc3339(i64::from(chart.window.to_s()) * SECOND),
        engine: chart.engine,
        notice: chart.notice,
        series: chart.series,
        uncharted: last.and_then(|last| serde_json::from_str::<Charted>(last.sample.get()).ok()?.uncharted),
    })
}

/// Result of a chart request.
pub(super) struct Chart {
    /// Empty for `from` and `to`.
    pub period: &'static str,
    pub window: Window,
    pub series: Vec<Series>,
    /// Did the remote store contribute?
    pub engine: bool,
    /// Why a part is missing that the remote store may have.
    pub notice: Option<String>,
}

/// The subject of a chart.
struct ChartOf<'a> {
    kind: &'static SubjectKind,
    id: i64,
    name: &'a str,
    /// Creation time, unix ms.
    created_at: Ms,
}

/// A server's charts.
pub(super) fn chart(ctx: &Ctx, server: &servers::Server) -> Result<Chart> {
    let charted = ChartOf {
        kind: &SERVERS,
        id: server.id.get(),
        name: &server.fields.name,
        created_at: server.created_at,
    };
    chart_of(ctx, &charted)
}

/// A subject's stored series; older parts come from the remote store, if there is one.
fn chart_of(ctx: &Ctx, charted: &ChartOf) -> Result<Chart> {
    let subject = (charted.kind.name, charted.id);
    let asked = span(ctx)?;
    let keep = ctx.app.db.read(settings::keep)?;
    let store = Store::new(ctx.app.metrics.clone());
    let mut notice = None;
    if is_missing(&asked, &keep, &store, charted)?
        && let Some(engine) = remote_store::for_read(ctx.app)?
    {
        let window = Window::beyond(asked.from, asked.to);
        match remote_read::history(&store, &engine, (charted.kind, charted.name), &window) {
            Ok(far) => {
                return Ok(Chart {
                    period: asked.period,
                    series: remote_read::joined(store.history(subject, &window)?, far),
                    window,
                    engine: true,
                    notice: None,
                });
            }
            Err(e) if e.kind == Kind::Internal => return Err(e),
            Err(e) => notice = Some(e.say),
        }
    }
    let window = Window::new(asked.from, asked.to, asked.now, &keep);
    Ok(Chart {
        period: asked.period,
        series: store.history(subject, &window)?,
        window,
        engine: false,
        notice,
    })
}

/// A subject added longer before its first stored value than this has lost data (its file, or by retention). A new one
/// is polled soon.
const FIRST_POLL_S: u32 = 2 * 3_600;

/// Does the range begin before the stored data?
fn is_missing(asked: &Asked, keep: &Keep, store: &Store, charted: &ChartOf) -> Result<bool> {
    if asked.now.saturating_sub(asked.from) > keep.longest().saturating_add(FIRST_POLL_S) {
        return Ok(true);
    }
    let added = u32::try_from(charted.created_at / SECOND)
        .unwrap_or(0)
        .saturating_add(FIRST_POLL_S);
    let since = store.since((charted.kind.name, charted.id))?.unwrap_or(asked.now);
    Ok(asked.from.max(added) < since)
}

/// Polls a server once.
pub(super) fn probe_once(ctx: &Ctx, server: &servers::Server) -> Result<probe::Probed> {
    let target = ctx.app.db.read(|conn| service::target(ctx.app, conn, server))?;
    ctx.outbound(move |_| probe::probe(&target))
}

/// One poll on demand: the result or the error. It does not affect availability.
fn probe_now(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "server")?;
    ctx.input()?.finish(&[])?;
    let probed = probe_once(ctx, &ctx.app.db.read(|conn| servers::get(conn, id))?)?;
    Reply::json(&Poll {
        detail: &probed.say,
        took_ms: probed.took_ms,
        glances_api_version: probed.seen.sample.api,
        glances_version: probed.seen.sample.version.as_deref(),
        path: &probed.seen.path,
        sample: &probed.seen.sample,
    })
}
