//! Periodic checks of the name servers of every domain against its policy.
//!
//! Consecutive equal results are one row; a change begins a new one. A mismatch raises an alert at once: the domain may
//! have been hijacked. A failed lookup raises one if the next check fails, too, and does not change the known result.

mod settings;
mod events;
mod policy;
mod check;
mod queries;
mod periodic;
mod verify;
mod api;
mod pages;

use crate::app::App;
use crate::base::clock::{self, Ms};
use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::db::{Conn, Tx};
use crate::events::outbox;
use crate::feature::Feature;
use crate::features::proxy::domains::{self, DNS_RESOLVERS, Domain};
use crate::net::dns::Resolver;
pub use check::{Check, State, check};
use std::net::SocketAddr;

pub use settings::NSWATCH_INTERVAL_MIN;

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    pages: pages::ROUTES,
    periodic: periodic::PERIODIC,
    panels: pages::PANELS,
    settings: settings::SETTINGS,
    kinds: events::KINDS,
    ..Feature::named("nswatch")
};

/// Consecutive equal results.
#[derive(Debug, Clone)]
pub struct Row {
    id: i64,
    /// First time, unix ms.
    pub first_at: Ms,
    /// Last time, unix ms.
    pub last_at: Ms,
    /// Number of times.
    pub count: i64,
    /// The result, with the evidence of the last time.
    pub check: Check,
}

/// The newest `limit` results of a domain after the first `offset`, newest first, and their total.
pub fn list(conn: &Conn, domain: Id<id::Domain>, limit: i64, offset: i64) -> Result<(Vec<Row>, i64)> {
    queries::list(conn, domain, limit, offset)
}

/// Stores a result. If nothing answered, our own resolvers are checked first: if they are silent about everything, that
/// is reported once, and the domain's result is unchanged.
fn record(app: &App, resolver: &Resolver, seen: &Domain, check: &Check) -> Result<()> {
    let silent = if check.is_silence() {
        check::silent_resolvers(&resolver.servers, resolver.cancel)
    } else {
        None
    };
    let at = clock::now();
    app.db.write(|tx| match &silent {
        Some(evidence) => emit_silence(app, tx, &resolver.servers, evidence, at),
        None => {
            if !check.is_silence() {
                emit_end_of_silence(app, tx, at)?;
            }
            keep(app, tx, seen, check, at)
        }
    })
}

/// Is it news when our resolvers are silent? Only where they have answered before or somebody has said that names are to be
/// watched: a network without name servers is no fault.
fn is_expected(conn: &Conn) -> Result<bool> {
    Ok(queries::is_watched(conn)? || !DNS_RESOLVERS.text(conn)?.is_empty())
}

fn emit_silence(app: &App, tx: &Tx, servers: &[SocketAddr], evidence: &[String], at: Ms) -> Result<()> {
    if !is_expected(tx)? || !queries::note_silence(tx, at)? {
        return Ok(());
    }
    let servers: Vec<String> = servers.iter().map(SocketAddr::to_string).collect();
    let data = serde_json::json!({ "name": servers.join(", "), "evidence": evidence });
    outbox::emit(tx, &app.wakes.events, "resolver.silent", ("controller", 0), &data)
}

fn emit_end_of_silence(app: &App, tx: &Tx, at: Ms) -> Result<()> {
    let Some(since) = queries::silent_since(tx)? else {
        return Ok(());
    };
    queries::forget_silence(tx)?;
    let data = serde_json::json!({ "name": "Lamplighter", "after_s": (at - since).max(0) / 1_000 });
    outbox::emit(tx, &app.wakes.events, "resolver.recovered", ("controller", 0), &data)
}

/// Stores the result for `seen` and emits events. Nothing is stored if the domain was deleted, or its name or policy
/// changed meanwhile: then it is checked again.
fn keep(app: &App, tx: &Tx, seen: &Domain, check: &Check, at: Ms) -> Result<()> {
    let asked = |d: &Domain| (d.fields.domain.clone(), d.fields.ns_policy.clone());
    let domain = match domains::find(tx, seen.id)? {
        Some(now) if asked(&now) == asked(seen) => now,
        _ => return Ok(()),
    };
    let answered = queries::last_answer(tx, domain.id)?;
    let (rows, _) = queries::list(tx, domain.id, 1, 0)?;
    let newest = rows.into_iter().next();
    match &newest {
        Some(row) if row.check.is_as(check) => queries::again(tx, row.id, check, at)?,
        _ => queries::insert(tx, domain.id, check, at)?,
    }
    let emit = |kind: &str, evidence: &[String]| {
        let data = serde_json::json!({
            "name": domain.name(), "domain": domain.fields.domain.ascii(), "code": check.code, "zone": check.zone,
            "ns": check.ns, "policy": check.policy, "evidence": evidence,
        });
        outbox::emit(tx, &app.wakes.events, kind, ("domain", domain.id.get()), &data)
    };
    if let Some(before) = answered.map(|row| row.check)
        && check.state != State::Error
        && before.ns != check.ns
        && is_over(&before.zone, domain.fields.domain.ascii())
    {
        let was = format!("Before, name servers of {}: {}.", before.zone, before.ns.join(", "));
        emit("ns.changed", &[&[was], &check.evidence[..]].concat())?;
    }
    let failed_before = newest.is_some_and(|row| row.check.state == State::Error);
    let Some(event) = news(domain.ns_state, check.state, failed_before) else {
        return Ok(());
    };
    if !event.is_empty() {
        emit(event, &check.evidence)?;
    }
    domains::set_ns_status(tx, domain.id, check.state.name(), &check.say(), at)
}

/// The event for a result, given the last one reported: `None` (no event), or news.
fn news(told: &str, seen: State, failed_before: bool) -> Option<&'static str> {
    match (told, seen) {
        ("ok" | "unknown", State::Ok) => Some(""),
        (_, State::Ok) => Some("ns.recovered"),
        ("mismatch", State::Mismatch) => Some(""),
        (_, State::Mismatch) => Some("ns.mismatch"),
        (_, State::Error) if !failed_before => None,
        ("error", State::Error) => Some(""),
        (_, State::Error) => Some("ns.resolve_failed"),
    }
}

/// Is `zone` the name itself or above it? If not, it belonged to an earlier name.
fn is_over(zone: &str, name: &str) -> bool {
    let head = name.strip_suffix(zone);
    head.is_some_and(|head| head.is_empty() || head.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_is_told_once_and_a_single_failure_is_none() {
        use State::{Error, Mismatch, Ok};
        // Reported so far, seen now, failed the time before: event.
        for (told, seen, failed_before, news_) in [
            ("unknown", Ok, false, Some("")),
            ("ok", Ok, true, Some("")),
            ("unknown", Mismatch, false, Some("ns.mismatch")),
            ("ok", Mismatch, true, Some("ns.mismatch")),
            ("mismatch", Mismatch, false, Some("")),
            ("error", Mismatch, true, Some("ns.mismatch")),
            ("mismatch", Ok, false, Some("ns.recovered")),
            ("error", Ok, true, Some("ns.recovered")),
            ("ok", Error, false, None),
            ("unknown", Error, false, None),
            ("mismatch", Error, false, None),
            ("ok", Error, true, Some("ns.resolve_failed")),
            ("mismatch", Error, true, Some("ns.resolve_failed")),
            ("error", Error, true, Some("")),
        ] {
            assert_eq!(
                news(told, seen, failed_before),
                news_,
                "{told} {seen:?} {failed_before}"
            );
        }
    }

    #[test]
    fn a_zone_is_over_its_names_only() {
        assert!(is_over("example.org", "example.org") && is_over("example.org", "www.example.org"));
        assert!(!is_over("example.org", "otherexample.org") && !is_over("www.example.org", "example.org"));
    }
}
