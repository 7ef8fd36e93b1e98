//! The watch's JSON API.

use super::Row;
use super::check::State;
use super::verify::{self, Verified};
use crate::access::right::{Domains, Read, Run, may};
use crate::base::clock::{self, Duration, rfc3339};
use crate::base::error::{Error, Result};
use crate::base::id::{Domain, Id};
use crate::features::proxy::domains;
use crate::http::reply::Reply;
use crate::http::request::Method::{Get, Post};
use crate::http::route::{Ctx, Route, route};
use serde::Serialize;
use std::net::IpAddr;

/// See [`Route`].
pub const ROUTES: &[Route] = &[
    route(Post, "/api/domains/verify-dns", may(Run, Domains), verify_several),
    route(Post, "/api/domains/{id}/verify-dns", may(Run, Domains), verify_one),
    route(Get, "/api/domains/{id}/ns-checks", may(Read, Domains), history),
];

/// Domains of one bulk look.
pub const BULK_MAX: usize = 200;
/// An answer must be on its way before the edge gives up on us (30 s).
pub const WAIT: Duration = Duration::from_secs(24);

#[derive(Serialize)]
struct View<'a> {
    id: Id<Domain>,
    domain: &'a str,
    ok: bool,
    addresses: &'a [IpAddr],
    expected: &'a [IpAddr],
    ns: &'a [String],
    zone: &'a str,
    policy: &'a str,
    ns_ok: bool,
    ns_state: &'static str,
    ns_code: &'a str,
    /// Empty when all is well.
    reason: String,
    evidence: Vec<&'a str>,
}

fn view(v: &Verified) -> View<'_> {
    View {
        id: v.domain.id,
        domain: v.domain.fields.domain.ascii(),
        ok: v.is_ok(),
        addresses: &v.addresses.addresses,
        expected: &v.addresses.expected,
        ns: &v.check.ns,
        zone: &v.check.zone,
        policy: &v.check.policy,
        ns_ok: v.check.state == State::Ok,
        ns_state: v.check.state.name(),
        ns_code: &v.check.code,
        reason: v.reason(),
        evidence: v.evidence().collect(),
    }
}

fn verify_one(ctx: &Ctx) -> Result<Reply> {
    ctx.request.input()?.finish(&[])?;
    let id = ctx.id(0, "domain")?;
    let verified = ctx.outbound(move |app| verify::verify(app, id, clock::mono() + WAIT))?;
    Reply::json(&view(&verified))
}

/// One that fails keeps none of the others from its answer.
#[derive(Serialize)]
struct Failed<'a> {
    id: Id<Domain>,
    ok: bool,
    error_code: &'a str,
    reason: &'a str,
}

fn verify_several(ctx: &Ctx) -> Result<Reply> {
    let mut input = ctx.request.input()?;
    let ids = input.links("ids", BULK_MAX).unwrap_or_default();
    if ids.is_empty() && !input.has_error("ids") {
        input.wrong("ids", "required", "Choose at least one domain.");
    }
    input.finish(&[])?;
    let done = ctx.outbound(move |app| Ok(verify::verify_all(app, &ids, clock::mono() + WAIT)))?;
    let item = |(id, result): &(Id<Domain>, Result<Verified>)| match result {
        Ok(verified) => serde_json::to_value(view(verified)),
        Err(e) => serde_json::to_value(Failed {
            id: *id,
            ok: false,
            error_code: e.code,
            reason: &e.say,
        }),
    };
    let items = done.iter().map(item).collect::<std::result::Result<Vec<_>, _>>();
    let items = items.map_err(Error::internal)?;
    Reply::json(&serde_json::json!({ "total": items.len(), "items": items }))
}

#[derive(Serialize)]
struct RunView<'a> {
    first_at: String,
    last_at: String,
    count: i64,
    state: &'static str,
    code: &'a str,
    zone: &'a str,
    ns: &'a [String],
    policy: &'a str,
    evidence: &'a [String],
}

fn run(row: &Row) -> RunView<'_> {
    RunView {
        first_at: rfc3339(row.first_at),
        last_at: rfc3339(row.last_at),
        count: row.count,
        state: row.check.state.name(),
        code: &row.check.code,
        zone: &row.check.zone,
        ns: &row.check.ns,
        policy: &row.check.policy,
        evidence: &row.check.evidence,
    }
}

fn history(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "domain")?;
    let (limit, offset) = ctx.request.page()?;
    let (rows, total) = ctx.app.db.read(|conn| {
        domains::get(conn, id)?;
        super::list(conn, id, limit, offset)
    })?;
    let items: Vec<_> = rows.iter().map(run).collect();
    Reply::json(&serde_json::json!({ "total": total, "items": items }))
}
