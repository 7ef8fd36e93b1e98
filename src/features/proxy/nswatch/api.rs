//! The JSON API of name server checks.

use super::Row;
use super::check::State;
use super::verify::{self, Verified};
use crate::access::right::{Domains, Read, Run, may};
use crate::base::clock::{self, Duration, rfc3339};
use crate::base::error::Result;
use crate::base::id::{Domain, Id};
use crate::base::shape::described;
use crate::features::proxy::domains;
use crate::form::param::{self, Param};
use crate::http::reply::{List, Reply};
use crate::http::request::Method::{Get, Post};
use crate::http::route::{Ctx, LIMIT, OFFSET, Route, route};
use std::net::IpAddr;

/// Routes of the JSON API.
pub const ROUTES: &[Route] = &[
    route(Post, "/api/domains/verify-dns", may(Run, Domains), verify_several)
        .asks()
        .takes(SEVERAL)
        .gives::<List<Verification>>()
        .asks_others(),
    route(Post, "/api/domains/{id}/verify-dns", may(Run, Domains), verify_one)
        .takes(&[])
        .gives::<View>()
        .asks_others(),
    route(Get, "/api/domains/{id}/ns-checks", may(Read, Domains), history)
        .query(&[LIMIT, OFFSET])
        .gives::<List<RunView>>(),
];

const SEVERAL: &[Param] = &[param::links("ids", BULK_MAX, "The domains.").required()];

/// Maximum domains of a bulk check.
pub const BULK_MAX: usize = 200;
/// Limit of waiting: less than the edge's limit of 30 s.
pub const WAIT: Duration = Duration::from_secs(24);

described! {
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
        /// Empty if everything is right.
        reason: String,
        evidence: Vec<&'a str>,
    }
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
    ctx.input()?.finish(&[])?;
    let id = ctx.id(0, "domain")?;
    let verified = ctx.outbound(move |app| verify::verify(app, id, clock::mono() + WAIT))?;
    Reply::json(&view(&verified))
}

described! {
    /// Result of one of several domains.
    struct Verification<'a> {
        #[serde(flatten)]
        done: Option<View<'a>>,
        #[serde(flatten)]
        failed: Option<Failed<'a>>,
    }

    /// A failed one; the others still get their results.
    struct Failed<'a> {
        id: Id<Domain>,
        ok: bool,
        error_code: &'a str,
        reason: &'a str,
    }
}

fn verify_several(ctx: &Ctx) -> Result<Reply> {
    let mut input = ctx.input()?;
    let ids = input.links("ids").unwrap_or_default();
    if ids.is_empty() && !input.has_error("ids") {
        input.wrong("ids", "required", "Choose at least one domain.");
    }
    input.finish(&[])?;
    let by = ctx.unplaced(Run, Domains)?;
    ctx.app.db.read(|conn| {
        ids.iter()
            .try_for_each(|id| by.to(conn, ("domain", id.get())).map(drop))
    })?;
    let done = ctx.outbound(move |app| Ok(verify::verify_all(app, &ids, clock::mono() + WAIT)))?;
    Reply::json(&List::whole(done.iter().map(verification).collect()))
}

fn verification((id, result): &(Id<Domain>, Result<Verified>)) -> Verification<'_> {
    match result {
        Ok(verified) => Verification {
            done: Some(view(verified)),
            failed: None,
        },
        Err(e) => Verification {
            done: None,
            failed: Some(Failed {
                id: *id,
                ok: false,
                error_code: e.code,
                reason: &e.say,
            }),
        },
    }
}

described! {
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
    let (limit, offset) = ctx.page()?;
    let (rows, total) = ctx.app.db.read(|conn| {
        domains::get(conn, id)?;
        super::list(conn, id, limit, offset)
    })?;
    let items: Vec<_> = rows.iter().map(run).collect();
    Reply::json(&List { items, total })
}
