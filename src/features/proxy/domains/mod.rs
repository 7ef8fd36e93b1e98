//! Domains: a name, its servers and its upstream; planned, deployed, proved or rolled back.
//!
//! Settings of a domain reach a server only by a deploy. A domain that is on servers is removed from them before its
//! row is deleted.

mod settings;
mod events;
mod vhost;
mod model;
mod domain;
mod queries;
mod target;
mod placements;
mod preflight;
mod desired;
mod plan;
mod evaluate;
mod inspect;
mod deploy;
mod tasks;
mod enqueue;
mod changes;
mod drift;
mod section;
mod deployments;
mod api;
mod pages;
mod exposition;
mod on_demand;

use crate::access::right;
use crate::app::App;
use crate::availability;
use crate::base::clock::{self, Ms};
use crate::base::error::{Error, Result};
use crate::base::id::{self, Id};
use crate::db::{Conn, Tx};
use crate::events::outbox::Event;
use crate::feature::Feature;
use crate::feature::{Hit, Source};
use crate::features::proxy::certificates;
use crate::http::menu::{Badge, Entry, State};
use crate::schedule::{Periodic, Work};
use std::time::Duration;

pub use changes::{create, delete, forget, forget_site, update};
pub use deploy::Choice;
pub use deployments::picked;
pub use domain::{CertStatus, Domain, REASONS, Reason, Site};
pub use drift::check as check_drift;
pub use enqueue::{deploy, renew, renew_due};
pub use model::{PARAMS, read};
pub use on_demand::OnDemand;
pub use placements::{EDITED, make_due};
pub use preflight::{Report, Verdict, check_addresses, expected_addresses, name_servers};
pub use queries::{Filter, Sort, certificates, counts, lamps, loud};
pub use settings::{ACME_DIRECTORY, DNS_RESOLVERS};
pub use tasks::is_busy;
pub use vhost::{
    RenderedVhost, Vhost, VhostTls, marker, pair_in, peers_in, proof_in, render as render_vhost, untouched,
};

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    tasks: tasks::TASKS,
    react: Some(react),
    periodic: PERIODIC,
    routes: api::ROUTES,
    pages: pages::ROUTES,
    cards: pages::CARDS,
    panels: pages::PANELS,
    sections: &[section::SECTION],
    settings: settings::SETTINGS,
    kinds: events::KINDS,
    menu: MENU,
    search: SEARCH,
    targets: &[target::TARGET],
    exposes: exposition::EXPOSES,
    ..Feature::named("domains")
};

const MENU: &[Entry] = &[Entry {
    path: "/domains",
    word: "domains",
    icon: "globe",
    keys: "g d",
    right: right::may(right::Read, right::Domains),
    place: (2, 1),
    badge: |app| {
        let loud = app.db.read(loud)?;
        let of = |lamp: &str| loud.iter().filter(|(r, _)| r.lamp == lamp).map(|(_, n)| n).sum::<i64>();
        let (state, affected) = match (of("dark"), of("flick")) {
            (n @ 1.., _) => (State::Down, n),
            (_, n @ 1..) => (State::Degraded, n),
            _ => (State::Up, 0),
        };
        Ok(Badge {
            state,
            affected,
            ..Badge::default()
        })
    },
    ..Entry::NEW
}];

const SEARCH: &[Source] = &[Source {
    kind: "domains",
    place: 2,
    right: right::may(right::Read, right::Domains),
    list: Some("/domains"),
    find: |ctx, q, limit| {
        let filter = Filter {
            q,
            limit,
            ..Default::default()
        };
        let (rows, all) = ctx.app.db.read(|conn| list(conn, &filter))?;
        let hit = |d: Domain| Hit {
            name: certificates::shown(d.fields.domain.ascii()),
            detail: d.group.unwrap_or_default(),
            href: format!("/domains/{}", d.id),
        };
        Ok((rows.into_iter().map(hit).collect(), all))
    },
}];

fn react(app: &App, tx: &Tx, event: &Event) -> Result<()> {
    tasks::react(app, tx, event)?;
    drift::react(app, tx, event)
}

const PERIODIC: &[Periodic] = &[Periodic {
    name: "domains.drift",
    // A short query; servers are checked by `drift.interval_min`.
    every: Duration::from_secs(20),
    run: Work::Long(drift::run_once),
}];

/// One domain. Error `NotFound`.
pub fn get(conn: &Conn, id: Id<id::Domain>) -> Result<Domain> {
    queries::get(conn, id)?.ok_or_else(|| Error::not_found("domain"))
}

/// One domain, if it exists.
pub fn find(conn: &Conn, id: Id<id::Domain>) -> Result<Option<Domain>> {
    queries::get(conn, id)
}

/// A page of domains and their total.
pub fn list(conn: &Conn, filter: &Filter) -> Result<(Vec<Domain>, i64)> {
    queries::list(conn, filter)
}

/// Every domain by name.
pub fn all(conn: &Conn) -> Result<Vec<Domain>> {
    let filter = Filter {
        limit: i64::MAX,
        ..Filter::default()
    };
    Ok(list(conn, &filter)?.0)
}

/// Set by the watch of name servers. `state` is `ok`, `mismatch` or `error`. Not a change of the domain's revision.
pub fn set_ns_status(tx: &Tx, id: Id<id::Domain>, state: &str, say: &str, at: Ms) -> Result<()> {
    queries::set_ns_status(tx, id, state, say, at)
}

/// Set by the watch of certificates. Not a change of the domain's revision.
pub fn set_cert_status(tx: &Tx, id: Id<id::Domain>, status: &CertStatus, at: Ms) -> Result<()> {
    queries::set_cert_status(tx, id, status, at)
}

/// Set by the watch of sites. `state` as in [`Domain::answer_state`]. Not a change of the domain's revision.
pub fn set_answers(tx: &Tx, id: Id<id::Domain>, state: &str, say: &[String], since: Option<Ms>) -> Result<()> {
    queries::set_answers(tx, id, state, say, since)?;
    // A visitor gets an answer from one of its servers.
    let is = match state {
        "unknown" => availability::State::Unknown,
        "ok" | "partly" => availability::State::Up,
        _ => availability::State::Down,
    };
    let since = since
        .filter(|_| is == availability::State::Down)
        .unwrap_or_else(clock::now);
    availability::record(tx, ("domain", id.get()), is, since, &say.join(" "))
}
