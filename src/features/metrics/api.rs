//! Charts and the poll on demand.

use super::probe;
use super::rollup::{Keep, PERIODS, Window};
use super::store::{Series, Store};
use super::watch;
use crate::access::Right;
use crate::base::clock::{self, SECOND, rfc3339};
use crate::base::error::{Error, Field, Result};
use crate::base::id::{self, Id};
use crate::features::servers;
use crate::http::input::Input;
use crate::http::reply::Reply;
use crate::http::request::Method::{Get, Post};
use crate::http::route::{Ctx, Route, route};
use serde::Serialize;

/// See [`Route`].
pub const ROUTES: &[Route] = &[
    route(Get, "/api/servers/{id}/metrics", Right::Read, history),
    route(Post, "/api/servers/{id}/probe-glances", Right::Act, probe_now),
];

#[derive(Serialize)]
struct History {
    /// Empty when `from` was asked for.
    period: &'static str,
    step_s: u32,
    /// From poll to poll: two points further apart than twice this have a gap between them.
    interval_s: i64,
    from: String,
    to: String,
    series: Vec<Series>,
}

/// `?period=`, or `?from=` and `?to=` in unix seconds.
fn window(ctx: &Ctx) -> Result<(&'static str, Window)> {
    let now = u32::try_from(clock::now() / SECOND).unwrap_or(0);
    let keep = ctx.app.db.read(Keep::read)?;
    if ctx.request.param("from").is_some() {
        let seconds = 0..=i64::from(u32::MAX);
        let to = ctx.request.number("to", i64::from(now), seconds.clone())?;
        let from = ctx.request.number("from", 0, seconds)?;
        let message = "from is before to, both in unix seconds.".to_string();
        let field = Field {
            field: "from",
            code: "bad_choice",
            message,
        };
        return match (u32::try_from(from), u32::try_from(to)) {
            (Ok(from), Ok(to)) if from < to => Ok(("", Window::new(from, to, now, &keep))),
            _ => Err(Error::invalid(vec![field])),
        };
    }
    let text = ctx.request.param("period").unwrap_or("1h");
    let found = PERIODS.iter().find(|(name, _)| *name == text);
    let (name, length) = found.ok_or_else(|| {
        let names: Vec<_> = PERIODS.iter().map(|(name, _)| *name).collect();
        let message = format!("period is one of: {}.", names.join(", "));
        Error::invalid(vec![Field {
            field: "period",
            code: "bad_choice",
            message,
        }])
    })?;
    Ok((name, Window::last(*length, now, &keep)))
}

/// The server's series over `?period=` (or `?from=` and `?to=`, unix seconds); where nothing was measured there is no point.
fn history(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "server")?;
    let server = ctx.app.db.read(|conn| servers::get(conn, id))?;
    let (period, window, series) = asked(ctx, id)?;
    Reply::json(&History {
        period,
        step_s: window.step_s,
        interval_s: server.fields.poll_interval_s,
        from: rfc3339(i64::from(window.from_s()) * SECOND),
        to: rfc3339(i64::from(window.to_s()) * SECOND),
        series,
    })
}

/// The period that the request asks for (empty: from and to), and a server's series over it.
pub(super) fn asked(ctx: &Ctx, id: Id<id::Server>) -> Result<(&'static str, Window, Vec<Series>)> {
    let (name, window) = window(ctx)?;
    let series = Store::new(ctx.app.metrics.clone()).history(id, &window)?;
    Ok((name, window, series))
}

/// Polls a server once.
pub(super) fn probe(ctx: &Ctx, server: &servers::Server) -> Result<probe::Probed> {
    probe::probe(&ctx.app.db.read(|conn| watch::target(ctx.app, conn, server))?)
}

/// One poll now, for a person who waits: what was seen, or why not. It does not count for the lamp.
fn probe_now(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "server")?;
    Input::read(ctx.request)?.finish(&[])?;
    let probed = probe(ctx, &ctx.app.db.read(|conn| servers::get(conn, id))?)?;
    Reply::json(&serde_json::json!({
        "detail": probed.say,
        "took_ms": probed.took_ms,
        "glances_api_version": probed.seen.sample.api,
        "glances_version": probed.seen.sample.version,
        "path": probed.seen.path,
        "sample": probed.seen.sample,
    }))
}
