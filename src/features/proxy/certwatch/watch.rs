//! The periodic check: checks what is due, stores results and reports them to the domains. State changes are events.
//! Certificates of an ACME server near their last third are renewed.

use super::evaluate::{self, Seen, State};
use super::probe::{self, Trust};
use super::queries::{self, Site};
use super::settings;
use crate::app::App;
use crate::base::clock::{self, Duration, MINUTE, Ms, rfc3339};
use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::base::parallel::lock;
use crate::base::process::Cancel;
use crate::db::{Conn, Tx};
use crate::events::outbox;
use crate::features::proxy::certificates;
use crate::features::proxy::domains::{self, CertStatus};
use crate::schedule::fan_out::FanOut;
use crate::schedule::{Periodic, Work};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

/// The periodic jobs.
pub const PERIODIC: &[Periodic] = &[Periodic {
    name: "certwatch.look",
    every: Duration::from_secs(60),
    run: Work::Long(run_once),
}];

/// Concurrent checks. They only wait; an unanswered one takes 8 s.
const THREADS_MAX: usize = 8;
/// Start limit of checks in a run, so that the next run is in time. The rest comes first then.
const BEGIN_MAX: Duration = Duration::from_secs(40);
/// Start limit while a person waits; 8 servers are checked at once, more are rare.
const PATIENCE: Duration = Duration::from_secs(8);
/// Tolerance: what is due slightly later is checked in this run.
const SLACK: Ms = 5_000;

fn run_once(app: &App, cancel: &Cancel) -> Result<()> {
    tidy(app)?;
    let now = clock::now();
    let (usual, sites) = app.db.read(|conn| {
        let usual = settings::CERTWATCH_INTERVAL_MIN.number(conn)? * MINUTE;
        Ok((usual, queries::sites(conn, None)?))
    })?;
    let is_due = |site: &Site| match &site.before {
        Some(seen) => seen.looked_at + evaluate::every(seen, usual) - SLACK <= now,
        None => true,
    };
    check_sites(app, sites.into_iter().filter(is_due).collect(), BEGIN_MAX, cancel)?;
    renew_due(app, now)
}

/// Renews due certificates by certbot.
fn renew_due(app: &App, now: Ms) -> Result<()> {
    let attempt = |site: &Site| {
        let shown = site.before.as_ref()?.shown.as_ref()?;
        let is_due = site.own.is_none() && certificates::is_due(shown.not_before, shown.not_after, now);
        is_due.then(|| (site.domain.get(), evaluate::renewal_every(shown)))
    };
    let sites = app.db.read(|conn| queries::sites(conn, None))?;
    let due: BTreeMap<i64, Ms> = sites.iter().filter_map(attempt).collect();
    if due.is_empty() {
        return Ok(());
    }
    app.db.write(|tx| {
        due.into_iter()
            .try_for_each(|(id, every)| domains::renew_due(app, tx, Id::new(id), now - every + SLACK))
    })
}

/// Checks all sites of a domain at once, for a person; returns whether there are any.
pub fn check_now(app: &App, domain: Id<id::Domain>) -> Result<bool> {
    let sites = app.db.read(|conn| queries::sites(conn, Some(domain)))?;
    let any = !sites.is_empty();
    check_sites(app, sites, PATIENCE, &Cancel::new())?;
    Ok(any)
}

fn trust(conn: &Conn) -> Result<Trust> {
    Ok(Trust::of_directory(&domains::ACME_DIRECTORY.text(conn)?))
}

/// Checks sites in parallel; each result is stored at once.
fn check_sites(app: &App, sites: Vec<Site>, begin_max: Duration, cancel: &Cancel) -> Result<()> {
    if sites.is_empty() {
        return Ok(());
    }
    let trust = app.db.read(trust)?;
    let fan_out = FanOut {
        name: "certwatch.look",
        width: THREADS_MAX,
        begin_until: Some(clock::mono() + begin_max),
        cancel,
    };
    let seen: Mutex<Vec<(&Site, Seen)>> = Mutex::default();
    let keeping = Mutex::new(());
    let alone = |site: &Site| Some((site.domain.get(), site.server.get()));
    let done = fan_out.run_alone(&sites, alone, |site| {
        lock(&seen).push((site, probe::probe(site, trust)?));
        // Results that arrive during a write go into the next transaction.
        match keeping.try_lock() {
            Ok(_keeping) => keep(app, &seen),
            Err(_) => Ok(()),
        }
    });
    keep(app, &seen)?;
    done.into_iter().flatten().collect()
}

/// Stores results and reports to the domains.
fn keep(app: &App, seen: &Mutex<Vec<(&Site, Seen)>>) -> Result<()> {
    loop {
        let batch = std::mem::take(&mut *lock(seen));
        if batch.is_empty() {
            return Ok(());
        }
        app.db.write(|tx| {
            for (site, seen) in &batch {
                queries::put(tx, site.domain, site.server, seen)?;
            }
            let domains: BTreeSet<_> = batch.iter().map(|(site, _)| site.domain.get()).collect();
            let now = clock::now();
            domains.into_iter().try_for_each(|id| tell(app, tx, Id::new(id), now))
        })?;
    }
}

/// Reports a domain's state; emits an event if it changed.
fn tell(app: &App, tx: &Tx, id: Id<id::Domain>, now: Ms) -> Result<()> {
    let Some(before) = queries::summary(tx, id)? else {
        return Ok(());
    };
    let sites = queries::sites(tx, Some(id))?;
    let seen: Vec<(&Site, &Seen)> = sites.iter().filter_map(|s| Some((s, s.before.as_ref()?))).collect();
    let all: Vec<&Seen> = seen.iter().map(|(_, seen)| *seen).collect();
    let state = evaluate::worst(&all, before.state, now);
    let not_after = all.iter().filter_map(|s| Some(s.shown.as_ref()?.good_until)).min();
    let decisive = seen.iter().max_by_key(|(_, s)| {
        let ends = s.shown.as_ref().map_or(0, |c| c.good_until);
        (evaluate::state(s, now), std::cmp::Reverse(ends))
    });
    let say = decisive
        .map(|(site, s)| format!("{}: {}", site.server_name, s.say))
        .unwrap_or_default();
    // Age follows from the certificate; other problems begin when they were first seen.
    let is_age = |s: &&Seen| evaluate::state(s, now) == Some(state) && (state < State::Bad || s.is_over(now));
    let since = all.iter().copied().filter(is_age).filter_map(|s| s.since(now)).min();
    if (before.state, before.say.as_str(), before.not_after) != (state, say.as_str(), not_after) {
        let status = CertStatus {
            state: state.name(),
            say: &say,
            not_after,
            since,
        };
        domains::set_cert_status(tx, id, &status, now)?;
    }
    let kind = match (before.state, state) {
        (before, after) if before == after => return Ok(()),
        (_, State::Soon) => "certificate.soon",
        (_, State::Urgent) => "certificate.urgent",
        (_, State::Bad) => "certificate.bad",
        (State::Unknown, State::Ok) | (_, State::Unknown) => return Ok(()), // no alert was open
        (_, State::Ok) => "certificate.good",
    };
    let is_over = not_after.is_some_and(|at| at < now);
    let data = serde_json::json!({
        "name": certificates::shown(&before.domain), "domain": before.domain, "from": before.state, "to": state,
        "level": is_over.then_some("CRITICAL"), "not_after": not_after.map(rfc3339),
        "since": since.map(rfc3339), "evidence": seen.iter().flat_map(|(site, seen)| evidence(site, seen)).collect::<Vec<_>>(),
    });
    outbox::emit(tx, &app.wakes.events, kind, ("domain", id.get()), &data)
}

/// Evidence of one site.
fn evidence(site: &Site, seen: &Seen) -> Vec<String> {
    let mut out = vec![format!(
        "{} {}: {}",
        rfc3339(seen.looked_at),
        site.server_name,
        seen.say
    )];
    if let Some(c) = &seen.shown {
        out.push(format!(
            "{}: {} {}, serial {}, {} to {}",
            site.server_name,
            c.issuer,
            c.key_type,
            c.serial,
            rfc3339(c.not_before),
            rfc3339(c.not_after)
        ));
        if !c.ends_by.is_empty() {
            let (server, whose, end) = (&site.server_name, &c.ends_by, rfc3339(c.good_until));
            out.push(format!("{server}: “{whose}” in its chain, to {end}"));
        }
    }
    out
}

/// Clears domains that are no longer checked.
fn tidy(app: &App) -> Result<()> {
    let (gone, strays) = app
        .db
        .read(|conn| Ok((queries::unwatched(conn)?, queries::has_strays(conn)?)))?;
    if gone.is_empty() && !strays {
        return Ok(());
    }
    app.db.write(|tx| {
        queries::sweep(tx)?;
        for id in queries::unwatched(tx)? {
            let Some(summary) = queries::summary(tx, id)? else {
                continue;
            };
            let unknown = CertStatus {
                state: State::Unknown.name(),
                say: "",
                not_after: None,
                since: None,
            };
            domains::set_cert_status(tx, id, &unknown, clock::now())?;
            if summary.state > State::Ok {
                let data = serde_json::json!({
                    "name": certificates::shown(&summary.domain), "domain": summary.domain,
                    "evidence": ["It is not served with TLS any more."],
                });
                outbox::emit(
                    tx,
                    &app.wakes.events,
                    "certificate.unwatched",
                    ("domain", id.get()),
                    &data,
                )?;
            }
        }
        Ok(())
    })
}
