//! Schedule: each minute domains whose last check is too old are checked, the oldest first, in parallel. A slow name
//! takes one thread for at most 20 s.

use super::check::{check, silent_resolvers};
use super::settings;
use super::{is_expected, queries, record};
use crate::app::App;
use crate::base::clock::{self, DAY, Duration, Instant, MINUTE, Ms};
use crate::base::error::Result;
use crate::base::log;
use crate::base::process::Cancel;
use crate::features::house::events;
use crate::features::proxy::domains::{self, Domain};
use crate::net::dns::Resolver;
use crate::schedule::fan_out::FanOut;
use crate::schedule::{Periodic, Work};

pub const PERIODIC: &[Periodic] = &[
    Periodic {
        name: "nswatch.look",
        every: Duration::from_secs(60),
        run: Work::Long(run_once),
    },
    Periodic {
        name: "nswatch.purge",
        every: Duration::from_secs(3600),
        run: Work::Short(|app| {
            let days = app.db.read(|conn| events::RETENTION_EVENT_DAYS.number(conn))?;
            app.db
                .write(|tx| queries::purge(tx, clock::now() - days * DAY).map(drop))
        }),
    },
];

/// Concurrent checks. They mostly wait, and many would burden the name servers.
const THREADS_MAX: usize = 8;
/// Limit of one check: the name, the zone above, two servers, twice.
pub const CHECK_MAX: Duration = Duration::from_secs(20);
/// Start limit of checks in a run, so that the next run is in time.
const BEGIN_MAX: Duration = Duration::from_secs(40);
/// Minimum checks per run ([`share`]).
const SHARE_MIN: usize = 16;

fn run_once(app: &App, cancel: &Cancel) -> Result<()> {
    let (interval, mut due, all) = app.db.read(|conn| {
        let interval = settings::NSWATCH_INTERVAL_MIN.number(conn)?;
        let last = queries::last_checks(conn)?;
        let all: Vec<Domain> = domains::all(conn)?.into_iter().filter(|d| !d.removing).collect();
        let count = all.len();
        let seen = |d: &Domain| match last.get(&d.id) {
            Some((at, policy)) if *policy == d.fields.ns_policy => *at,
            _ => 0, // never checked, or with another policy
        };
        let late = clock::now() - interval * MINUTE;
        let due: Vec<(Ms, Domain)> = all
            .into_iter()
            .map(|d| (seen(&d), d))
            .filter(|(at, _)| *at <= late)
            .collect();
        Ok((interval, due, count))
    })?;
    if due.is_empty() {
        return Ok(());
    }
    due.sort_by_key(|(at, d)| (*at, d.id));
    due.truncate(share(all, interval));
    let servers = domains::name_servers(app)?;
    // While the resolvers are silent, or there may be none, one query per run is enough.
    let doubtful = app
        .db
        .read(|conn| Ok(queries::silent_since(conn)?.is_some() || !is_expected(conn)?))?;
    if doubtful && silent_resolvers(&servers, cancel).is_some() {
        return Ok(());
    }
    let fan_out = fan_out(Some(clock::mono() + BEGIN_MAX), cancel);
    fan_out.run_alone(
        &due,
        |(_, domain)| Some((domain.id.get(), 0)),
        |(_, domain)| {
            let resolver = Resolver {
                servers: servers.clone(),
                until: clock::mono() + CHECK_MAX,
                cancel,
            };
            let name = domain.fields.domain.ascii();
            let Some(seen) = check(&resolver, name, &domain.fields.ns_policy) else {
                return;
            };
            if let Err(e) = record(app, &resolver, domain, &seen) {
                log::error(
                    "nswatch",
                    "a check result could not be stored",
                    &[("domain", name), ("error", &e.to_string())],
                );
            }
        },
    );
    Ok(())
}

/// A fan-out of checks; none begins after `begin_until`.
pub fn fan_out(begin_until: Option<Instant>, cancel: &Cancel) -> FanOut<'_> {
    FanOut {
        name: "nswatch.look",
        width: THREADS_MAX,
        begin_until,
        cancel,
    }
}

/// Number of checks in a run: twice what the interval needs, so that domains added together are spread, and a backlog
/// is reduced.
fn share(all: usize, interval_min: i64) -> usize {
    (2 * all).div_ceil(interval_min.max(1) as usize).max(SHARE_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beat_takes_its_share_and_no_more() {
        assert_eq!(share(5, 15), 16);
        assert_eq!(share(1_500, 15), 200);
        assert_eq!(share(1_500, 1), 3_000);
        assert_eq!(share(1_440, 1_440), 16);
    }
}
