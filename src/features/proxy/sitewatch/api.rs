//! Answers of a domain's sites as JSON.

use super::queries::{self, Placement};
use super::watch;
use crate::access::right::{Domains, Read, Run, may};
use crate::app::App;
use crate::base::clock::{Ms, rfc3339};
use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::base::shape::described;
use crate::features::proxy::domains::{self, Domain, OnDemand};
use crate::http::reply::Reply;
use crate::http::request::Method::{Get, Post};
use crate::http::route::{Ctx, Route, route};

/// Routes of the JSON API.
pub const ROUTES: &[Route] = &[
    route(Get, "/api/domains/{id}/answers", may(Read, Domains), show).gives::<Answers>(),
    route(Post, "/api/domains/{id}/answers/check", may(Run, Domains), check)
        .takes(&[])
        .gives::<Answers>(),
];

described! {
    /// Answers of a domain's sites.
    struct Answers<'a> {
        /// A-labels.
        domain: &'a str,
        state: &'static str,
        /// State as sentences.
        say: &'a [String],
        since: Option<String>,
        /// By server.
        sites: Vec<View<'a>>,
    }

    /// Answers of one server for a domain.
    struct View<'a> {
        server_id: Id<id::Server>,
        server: &'a str,
        /// State after two checks.
        state: &'static str,
        /// Result of the last check from outside; empty: good.
        code: &'static str,
        say: &'a str,
        misses: i64,
        since: Option<String>,
        looked_at: Option<String>,
        /// Result on the server itself.
        inside: Option<&'static str>,
        inside_say: &'a str,
        inside_at: Option<String>,
    }
}

fn view(placement: &Placement) -> View<'_> {
    let at = |at: Option<Ms>| at.map(rfc3339);
    View {
        server_id: placement.server,
        server: &placement.server_name,
        state: placement.known.state.name(),
        code: placement.known.code.name(),
        say: &placement.say,
        misses: placement.known.misses,
        since: at(placement.known.since),
        looked_at: at(placement.looked_at),
        inside: placement.known.inside.map(|(inside, _)| inside.name()),
        inside_say: &placement.inside_say,
        inside_at: at(placement.known.inside.map(|(_, at)| at)),
    }
}

/// Known answers of a domain's sites.
pub(super) fn of(app: &App, id: Id<id::Domain>) -> Result<(Domain, Vec<Placement>)> {
    app.db
        .read(|conn| Ok((domains::get(conn, id)?, queries::placements(conn, id)?)))
}

fn show(ctx: &Ctx) -> Result<Reply> {
    answer(ctx.app, ctx.id(0, "domain")?)
}

fn answer(app: &App, id: Id<id::Domain>) -> Result<Reply> {
    let (domain, placements) = of(app, id)?;
    Reply::json(&Answers {
        domain: domain.fields.domain.ascii(),
        state: domain.answer_state,
        say: &domain.answer_say,
        since: domain.answer_since.map(rfc3339),
        sites: placements.iter().map(view).collect(),
    })
}

/// A check on demand.
pub(super) const ON_DEMAND: OnDemand = OnDemand {
    check: watch::probe_now,
    nothing: (
        "not_deployed",
        "This domain is not deployed on any server yet. Deploy it first.",
    ),
};

fn check(ctx: &Ctx) -> Result<Reply> {
    ctx.input()?.finish(&[])?;
    answer(ctx.app, ON_DEMAND.now(ctx)?)
}
