//! Availability of servers: N failed polls in a row make it unreachable, one good poll makes it available; nothing else
//! does. A change, its event (which raises the alert) and its evidence are one transaction.

use super::poller::log_limited;
use super::probe::{self, Outcome};
use crate::app::App;
use crate::base::clock::{self, DAY, Duration, Ms, rfc3339};
use crate::base::error::{Error, Result};
use crate::base::id::{Id, Server};
use crate::base::log::{self, Level};
use crate::base::ration::Rations;
use crate::db::{Conn, Tx};
use crate::events::outbox;
use crate::features::fleet::servers::{self, Availability, Polled};
use std::net::IpAddr;
use std::sync::LazyLock;

/// A change of status, which emits an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Its status before.
    pub from: &'static str,
    /// Its status now.
    pub to: &'static str,
    /// Time in the previous status, ms.
    pub after_ms: Ms,
}

/// The availability after a poll that began `at`. A threshold of 0 counts as 1.
pub fn step(
    before: &Availability,
    poll: std::result::Result<(), &Error>,
    at: Ms,
    fail_threshold: u32,
) -> (Availability, Option<Change>) {
    let mut next = before.clone();
    match poll {
        Ok(()) => {
            next.fail_count = 0;
            next.missed_since = None;
            next.error = None;
            next.host = None;
            next.status = "ok";
        }
        Err(e) => {
            next.fail_count += 1;
            next.missed_since.get_or_insert(at);
            next.error = Some((e.code.into(), e.say.clone()));
            if next.fail_count >= i64::from(fail_threshold.max(1)) {
                next.status = "unreachable";
            }
        }
    }
    if next.status == before.status {
        return (next, None);
    }
    next.since = next.missed_since.unwrap_or(at);
    let change = Change {
        from: before.status,
        to: next.status,
        after_ms: (next.since - before.since).max(0),
    };
    (next, Some(change))
}

/// Most polls change nothing, which a reader finds out; only changes cost a commit.
pub fn update(app: &App, batch: &[&Outcome]) -> Result<()> {
    let moved: Vec<&Outcome> = app.db.read(|conn| {
        let mut moved = Vec::new();
        for outcome in batch {
            if difference(conn, outcome)?.is_some() {
                moved.push(*outcome);
            }
        }
        Ok(moved)
    })?;
    if moved.is_empty() {
        return Ok(());
    }
    app.db.write(|tx| {
        for outcome in &moved {
            if let Some(difference) = difference(tx, outcome)? {
                write(app, tx, outcome, &difference)?;
            }
        }
        Ok(())
    })
}

/// Changes by an outcome.
struct Difference {
    before: Polled,
    availability: Availability,
    change: Option<Change>,
    /// API version and path, if changed.
    seen: Option<(i64, String)>,
    /// The server's addresses, if changed, and the sentence about it.
    addresses: Option<(String, Option<(Ms, String)>)>,
}

/// `None`: no change, or the server was removed or changed since the poll began.
fn difference(conn: &Conn, outcome: &Outcome) -> Result<Option<Difference>> {
    let before = servers::polled(conn, outcome.server)?.filter(|p| p.revision == outcome.revision);
    let Some(before) = before else { return Ok(None) };
    let poll = outcome.result.as_ref().map(drop);
    let (mut availability, change) = step(&before.availability, poll, outcome.at_ms, outcome.fail_threshold);
    if let Some(host) = &outcome.host {
        availability.host = Some(host.clone());
    }
    let seen = outcome
        .result
        .as_ref()
        .ok()
        .map(|s| (i64::from(s.sample.api), s.path.clone()));
    let known = before.glances_api.zip(before.glances_path_seen.clone());
    let seen = seen.filter(|seen| Some(seen) != known.as_ref());
    let addresses = addresses(&before, outcome);
    if availability == before.availability && seen.is_none() && addresses.is_none() {
        return Ok(None);
    }
    Ok(Some(Difference {
        before,
        availability,
        change,
        seen,
        addresses,
    }))
}

/// Limit of stored addresses of a name: a pool of machines behind one name becomes known after a while.
const ADDRESSES_MAX: usize = 16;
/// Limit of addresses in a sentence.
const ADDRESSES_NAMED: usize = 4;

/// The server's addresses, if they changed.
fn addresses(before: &Polled, outcome: &Outcome) -> Option<(String, Option<(Ms, String)>)> {
    let known: Vec<IpAddr> = before.addresses.split(' ').filter_map(|ip| ip.parse().ok()).collect();
    if outcome.means.iter().all(|ip| known.contains(ip)) {
        return None;
    }
    let named = |ips: &[IpAddr]| {
        let named: Vec<_> = ips.iter().take(ADDRESSES_NAMED).map(IpAddr::to_string).collect();
        named.join(", ")
    };
    let moved = probe::is_elsewhere(&known, &outcome.means).then(|| {
        let (now, was) = (named(&outcome.means), named(&known));
        (outcome.at_ms, format!("its name means {now} now; it was {was}"))
    });
    let earlier = known.iter().filter(|ip| !outcome.means.contains(ip));
    let all = outcome.means.iter().chain(earlier).take(ADDRESSES_MAX);
    let all: Vec<_> = all.map(IpAddr::to_string).collect();
    Some((all.join(" "), moved))
}

/// Limits log lines about names whose addresses change often.
static MOVES: LazyLock<Rations<i64>> = LazyLock::new(|| Rations::new(3, Duration::from_secs(3_600)));

fn emit_moved(app: &App, tx: &Tx, id: Id<Server>, name: &str, seen: &str) -> Result<()> {
    if MOVES.next(id.get(), clock::mono()).is_none() {
        return Ok(());
    }
    let fields = [("server", name), ("seen", seen)];
    log::warning("metrics", "a server's name resolves to other addresses", &fields);
    let data = serde_json::json!({ "name": name, "evidence": [seen] });
    outbox::emit(tx, &app.wakes.events, "server.moved", ("server", id.get()), &data)
}

fn write(app: &App, tx: &Tx, outcome: &Outcome, difference: &Difference) -> Result<()> {
    let id = outcome.server;
    servers::set_availability(tx, id, &difference.availability)?;
    if let Some((api, path)) = &difference.seen {
        servers::set_glances_seen(tx, id, *api, path)?;
    }
    if let Some((all, moved)) = &difference.addresses {
        servers::set_addresses(tx, id, all, moved.as_ref())?;
        if let Some((_, seen)) = moved {
            emit_moved(app, tx, id, &difference.before.name, seen)?;
        }
    }
    let Some(change) = difference.change else { return Ok(()) };
    let (name, after_s) = (&difference.before.name, (change.after_ms / 1_000).to_string());
    let fields = [
        ("server", name.as_str()),
        ("from", change.from),
        ("to", change.to),
        ("after_s", &after_s),
    ];
    match change.to {
        "unreachable" => log_limited(Level::Warning, id, "a server went down", &fields),
        _ => log_limited(Level::Info, id, "a server is up", &fields),
    }
    let kind = match (change.from, change.to) {
        (_, "unreachable") => "server.unreachable",
        ("unreachable", _) => "server.recovered",
        _ => "server.lit",
    };
    // Nothing went down: mostly a new server whose Glances is not installed yet.
    let is_new = (change.from, change.to) == ("provisioning", "unreachable");
    let data = serde_json::json!({
        "name": difference.before.name, "from": change.from, "to": change.to, "after_s": change.after_ms / 1_000,
        "since": rfc3339(difference.availability.since), "level": is_new.then_some("WARNING"),
        "variant": if is_new { "never" } else { "" },
        "evidence": evidence(outcome, difference),
    });
    outbox::emit(tx, &app.wakes.events, kind, ("server", id.get()), &data)
}

/// The evidence of a change, oldest first.
fn evidence(outcome: &Outcome, difference: &Difference) -> Vec<String> {
    let line = |at: Ms, text: &str| format!("{} {text}", rfc3339(at));
    let mut out = Vec::new();
    if let Some((_, say)) = &difference.before.availability.error {
        out.push(format!("before: {say}"));
    }
    match &outcome.result {
        Err(e) => {
            out.push(line(outcome.at_ms, &e.say));
            out.push(format!(
                "{} polls in a row missed, the last took {} ms",
                difference.availability.fail_count, outcome.took_ms
            ));
            out.extend(outcome.host.clone());
            let moved = difference.addresses.as_ref().and_then(|(_, moved)| moved.as_ref());
            let moved = moved.or(difference.before.moved.as_ref());
            out.extend(
                moved
                    .filter(|(at, _)| outcome.at_ms - at < DAY)
                    .map(|(at, seen)| line(*at, seen)),
            );
        }
        Ok(seen) => out.push(line(
            outcome.at_ms,
            &format!("Glances answers at {} after {} ms", seen.path, outcome.took_ms),
        )),
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error::Kind;

    #[test]
    fn three_in_a_row_make_it_unreachable_and_one_brings_it_back() {
        let bad = Error::new(Kind::Timeout, "read_timeout", "Too slow.");
        let mut now = Availability {
            status: "ok",
            since: 0,
            fail_count: 0,
            missed_since: None,
            error: None,
            host: None,
        };
        let mut changes = Vec::new();
        for (at, good) in [false, false, true, false, false, false, false, true, true]
            .into_iter()
            .enumerate()
            .map(|(i, g)| (i as Ms, g))
        {
            let (next, change) = step(&now, if good { Ok(()) } else { Err(&bad) }, at, 3);
            changes.extend(change.map(|c| (at, c.from, c.to, c.after_ms)));
            now = next;
            assert_eq!(now.error.is_some(), !good);
        }
        // Down since the first of the three, and said after the third.
        assert_eq!(changes, [(5, "ok", "unreachable", 3), (7, "unreachable", "ok", 4)]);
        assert_eq!((now.fail_count, now.since), (0, 7));
    }

    #[test]
    fn a_newcomer_is_given_as_many_tries() {
        let bad = Error::new(Kind::Upstream, "refused", "No.");
        let mut now = Availability {
            status: "provisioning",
            since: 0,
            fail_count: 0,
            missed_since: None,
            error: None,
            host: None,
        };
        for n in 1..=3 {
            let (next, change) = step(&now, Err(&bad), n, 3);
            assert_eq!(change.is_some(), n == 3);
            now = next;
        }
        assert_eq!(now.status, "unreachable");
        let fresh = Availability {
            status: "provisioning",
            since: 0,
            fail_count: 0,
            missed_since: None,
            error: None,
            host: None,
        };
        assert_eq!(step(&fresh, Ok(()), 1, 3).0.status, "ok");
    }
}
