//! Served certificates as JSON.

use super::evaluate::{Seen, State};
use super::queries::{self, Site, Summary};
use super::watch;
use crate::access::right::{Certificates, Domains, Read, Run, may};
use crate::app::App;
use crate::base::clock::{self, DAY, Ms, rfc3339};
use crate::base::error::{Error, Result};
use crate::base::id::{self, Id};
use crate::base::shape::described;
use crate::features::proxy::certificates;
use crate::features::proxy::domains::{self, OnDemand};
use crate::form::param::{self, Param};
use crate::http::reply::{List, Reply};
use crate::http::request::Method::{Get, Post};
use crate::http::route::{Ctx, LIMIT, OFFSET, Route, route};

/// Routes of the JSON API.
pub const ROUTES: &[Route] = &[
    route(Get, "/api/domains/{id}/certificate", may(Read, Domains), show).gives::<DomainCertificates>(),
    route(Post, "/api/domains/{id}/certificate/check", may(Run, Domains), check)
        .takes(&[])
        .gives::<DomainCertificates>(),
    route(Get, "/api/certificates/served", may(Read, Certificates), overview)
        .query(SERVED)
        .gives::<List<View>>(),
];

const SERVED: &[Param] = &[
    LIMIT,
    OFFSET,
    param::number("days", 0..=36_500, "Only what ends within so many days.").or(-1),
];

described! {
    /// Served certificates of a domain.
    struct DomainCertificates<'a> {
        /// A-labels.
        domain: &'a str,
        state: State,
        /// State as a sentence.
        say: &'a str,
        /// Earliest expiry.
        not_after: Option<String>,
        days_left: Option<i64>,
        /// Do all servers show the same certificate?
        same_everywhere: bool,
        /// By server.
        served: Vec<View<'a>>,
    }

    /// Certificate that one server serves for a domain.
    struct View<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        domain: Option<DomainView<'a>>,
        server: ServerView<'a>,
        /// Time of the last check; `None`: never.
        looked_at: Option<String>,
        /// Would a browser accept it? `None`: unknown.
        ok: Option<bool>,
        code: &'a str,
        say: &'a str,
        private_ca: bool,
        /// Is it the stored one? If not, a deploy is pending. Only for domains with a stored certificate.
        #[serde(skip_serializing_if = "Option::is_none")]
        is_stored: Option<bool>,
        names: &'a [String],
        issuer: &'a str,
        serial: &'a str,
        key_type: &'a str,
        sha256: &'a str,
        not_before: Option<String>,
        not_after: Option<String>,
        /// End of validity: its own, or that of an issuer that expires first.
        good_until: Option<String>,
        /// That issuer; `None`: itself.
        ends_by: Option<&'a str>,
        days_left: Option<i64>,
    }

    struct DomainView<'a> {
        id: Id<id::Domain>,
        domain: &'a str,
    }

    struct ServerView<'a> {
        id: Id<id::Server>,
        name: &'a str,
    }
}

fn view<'a>(domain: Option<DomainView<'a>>, server: ServerView<'a>, seen: Option<&'a Seen>, now: Ms) -> View<'a> {
    let shown = seen.and_then(|s| s.shown.as_ref());
    View {
        domain,
        server,
        looked_at: seen.filter(|s| s.looked_at > 0).map(|s| rfc3339(s.looked_at)),
        ok: seen.map(|s| s.code.is_empty()),
        code: seen.map_or("", |s| &s.code),
        say: seen.map_or("", |s| &s.say),
        private_ca: seen.is_some_and(|s| s.private),
        is_stored: None,
        names: shown.map_or(&[], |c| &c.names),
        issuer: shown.map_or("", |c| &c.issuer),
        serial: shown.map_or("", |c| &c.serial),
        key_type: shown.map_or("", |c| &c.key_type),
        sha256: shown.map_or("", |c| &c.sha256),
        not_before: shown.map(|c| rfc3339(c.not_before)),
        not_after: shown.map(|c| rfc3339(c.not_after)),
        good_until: shown.map(|c| rfc3339(c.good_until)),
        ends_by: shown.map(|c| c.ends_by.as_str()).filter(|whose| !whose.is_empty()),
        days_left: shown.map(|c| certificates::days_left(c.good_until, now)),
    }
}

/// Served certificates of a domain.
pub(super) fn of(app: &App, id: Id<id::Domain>) -> Result<(Summary, Vec<Site>)> {
    app.db.read(|conn| {
        domains::get(conn, id)?;
        let summary = queries::summary(conn, id)?.ok_or_else(|| Error::not_found("domain"))?;
        Ok((summary, queries::sites(conn, Some(id))?))
    })
}

fn show(ctx: &Ctx) -> Result<Reply> {
    answer(ctx.app, ctx.id(0, "domain")?)
}

fn answer(app: &App, id: Id<id::Domain>) -> Result<Reply> {
    let (summary, sites) = of(app, id)?;
    let now = clock::now();
    let served: Vec<_> = sites
        .iter()
        .map(|site| {
            let server = ServerView {
                id: site.server,
                name: &site.server_name,
            };
            View {
                is_stored: site.own.as_ref().map(|_| !site.shows_another()),
                ..view(None, server, site.before.as_ref(), now)
            }
        })
        .collect();
    Reply::json(&DomainCertificates {
        domain: &summary.domain,
        state: summary.state,
        say: &summary.say,
        not_after: summary.not_after.map(rfc3339),
        days_left: summary.not_after.map(|at| certificates::days_left(at, now)),
        same_everywhere: same(&sites),
        served,
    })
}

/// Do all servers show the same certificate?
pub(super) fn same(sites: &[Site]) -> bool {
    let shown = |site: &Site| Some(site.before.as_ref()?.shown.as_ref()?.sha256.clone());
    let mut all = sites.iter().filter_map(shown);
    let first = all.next();
    all.all(|other| Some(&other) == first.as_ref())
}

/// A check on demand: 16 s at most.
pub(super) const ON_DEMAND: OnDemand = OnDemand {
    check: watch::check_now,
    nothing: (
        "not_served",
        "This domain is not served with TLS on any server yet. Deploy it first.",
    ),
};

fn check(ctx: &Ctx) -> Result<Reply> {
    ctx.input()?.finish(&[])?;
    answer(ctx.app, ON_DEMAND.now(ctx)?)
}

/// All served certificates; with `days` only those that expire within so many days.
fn overview(ctx: &Ctx) -> Result<Reply> {
    let (limit, offset) = ctx.page()?;
    let days = ctx.number("days")?;
    let now = clock::now();
    let until = if days < 0 { Ms::MAX } else { now + days * DAY };
    let (served, total) = ctx.app.db.read(|conn| queries::overview(conn, until, limit, offset))?;
    let items: Vec<_> = served
        .iter()
        .map(|s| {
            let domain = DomainView {
                id: s.domain,
                domain: &s.name,
            };
            let server = ServerView {
                id: s.server,
                name: &s.server_name,
            };
            view(Some(domain), server, Some(&s.seen), now)
        })
        .collect();
    Reply::json(&List { items, total })
}

/// Name of the lamp of a state.
pub(super) fn lamp(state: State) -> &'static str {
    match state {
        State::Unknown => "unlit",
        State::Ok => "lit",
        State::Soon => "flick",
        State::Urgent | State::Bad => "dark",
    }
}
