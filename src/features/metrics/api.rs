//! Charts and the poll on demand.

use super::probe;
use super::rollup::Period;
use super::store::{Series, Store};
use super::watch;
use crate::access::Right;
use crate::base::clock::{self, rfc3339};
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
    period: &'static str,
    step_s: i64,
    /// From poll to poll: two points further apart than twice this have a gap between them.
    interval_s: i64,
    from: String,
    to: String,
    series: Vec<Series>,
}

fn period(text: &str) -> Result<(&'static str, Period)> {
    let names = ["1h", "6h", "24h", "7d", "30d"];
    let name = names.into_iter().find(|name| *name == text);
    name.and_then(|name| Some((name, Period::parse(name)?))).ok_or_else(|| {
        let message = format!("period is one of: {}.", names.join(", "));
        Error::invalid(vec![Field {
            field: "period",
            code: "bad_choice",
            message,
        }])
    })
}

/// The server's series over `?period=`; where nothing was measured there is no point.
fn history(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "server")?;
    let server = ctx.app.db.read(|conn| servers::get(conn, id))?;
    let now = clock::now();
    let (name, series) = asked(ctx, id)?;
    let (_, period) = period(name)?;
    Reply::json(&History {
        period: name,
        step_s: period.step_ms() / 1_000,
        interval_s: server.fields.poll_interval_s,
        from: rfc3339(now - period.length_ms()),
        to: rfc3339(now),
        series,
    })
}

/// The period that the request asks for, and a server's series over it.
pub(super) fn asked(ctx: &Ctx, id: Id<id::Server>) -> Result<(&'static str, Vec<Series>)> {
    let (name, period) = period(ctx.request.param("period").unwrap_or("1h"))?;
    let series = Store::new(ctx.app.metrics.clone()).history(id, period, clock::now())?;
    Ok((name, series))
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
