//! The watch: a pool checks sites, results are stored and reported to the domains. State changes are events. A site
//! that fails is also checked on its server, by the next drift check.

use super::evaluate::{self, Code, State};
use super::probe::{self, Seen, Stop};
use super::queries::{self, Placement};
use super::settings;
use crate::app::App;
use crate::base::clock::{self, Duration, Ms, rfc3339};
use crate::base::error::{Error, Result};
use crate::base::id::{self, Id};
use crate::base::process::Cancel;
use crate::base::{log, parallel};
use crate::db::Tx;
use crate::events::outbox;
use crate::features::fleet::metrics;
use crate::features::fleet::servers::DEPLOY_PROXY;
use crate::features::proxy::certificates;
use crate::features::proxy::domains;
use crate::schedule::fan_out::FanOut;
use crate::schedule::pool::{Bounds, Entry, Next, Pool, Work};
use crate::schedule::service::Service;
use crate::task::queue;
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex};

/// Maximum of checking threads; they mostly wait.
pub const THREADS_MAX: usize = 16;
/// Duration from which a check counts as slow: a slow front page, a firewall.
const SLOW: Duration = Duration::from_millis(1_500);
/// Poll interval: the most that a lost wake-up or a changed setting can cost.
const CHECK_AGAIN: Duration = Duration::from_secs(5);
/// Interval while the state is undecided: a stopped web server is reported within two minutes.
const DOUBT_MAX: Duration = Duration::from_secs(30);
/// Lateness of quick checks that indicates a stuck pool.
const LATE_MAX: Duration = Duration::from_secs(120);
/// Servers checked at the same time on demand.
const WIDTH: usize = 8;

/// Time that running checks have at a stop; their results are stored.
const STOP_MAX: Duration = Duration::from_secs(2);

/// The watch of all deployed sites.
pub const SERVICES: &[Service] = &[Service {
    name: "sitewatch.look",
    every: CHECK_AGAIN,
    prepare: |_| Ok(()),
    run: |run| {
        let work = ProbeWork {
            app: run.app.clone(),
            fault: Mutex::default(),
        };
        let bounds = Bounds {
            min: 1,
            max: THREADS_MAX,
        };
        let pool = Pool::start(work, bounds)?;
        let mut listed = None;
        run.rounds(&run.app.wakes.events, || {
            refresh(run.app, &pool, &mut listed)?;
            let late = Duration::from_millis(pool.figures().late_ms);
            if late > LATE_MAX {
                let late = late.as_secs();
                return Err(Error::internal(format!("site checks are {late} s late")));
            }
            parallel::lock(&pool.work().fault).clone().map_or(Ok(None), Err)
        });
        pool.stop_within(STOP_MAX);
        Ok(())
    },
}];

type Listed = (i64, [i64; 4]);

fn refresh(app: &App, pool: &Pool<ProbeWork>, listed: &mut Option<Listed>) -> Result<()> {
    let now = app.db.read(|conn| {
        let every = settings::SITEWATCH_INTERVAL_S.number(conn)?;
        Ok((every, queries::fingerprint(conn)?))
    })?;
    if *listed == Some(now) {
        return Ok(());
    }
    let is_off = now.0 == 0;
    let sites = match is_off {
        true => Vec::new(),
        false => app.db.read(|conn| queries::sites(conn, None))?,
    };
    let entries = Stop::of(&sites)?.into_iter().map(|stop| Entry {
        key: hash(&stop.key()),
        revision: hash(&stop.print()),
        every: Duration::from_secs(now.0.unsigned_abs()),
        item: stop,
    });
    pool.set(entries.collect());
    tidy(app, is_off)?;
    *listed = Some(now);
    Ok(())
}

fn hash(of: &impl Hash) -> i64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish() as i64
}

struct ProbeWork {
    app: Arc<App>,
    /// Why the last batch could not be stored.
    fault: Mutex<Option<Error>>,
}

impl Work for ProbeWork {
    type Item = Stop;
    type Done = Vec<Seen>;

    fn run(&self, stop: &mut Stop) -> (Vec<Seen>, Next) {
        let begun = clock::mono();
        let seen = probe::probe(stop);
        let next = Next {
            slow: begun.elapsed() >= SLOW,
            within: stop.is_in_doubt().then_some(DOUBT_MAX),
            skip: 0,
        };
        (seen, next)
    }

    fn done(&self, batch: Vec<Vec<Seen>>) {
        let kept = keep(&self.app, &batch.into_iter().flatten().collect::<Vec<_>>()).inspect_err(|e| {
            log::error(
                "sitewatch",
                "check results could not be stored",
                &[("error", &e.to_string())],
            );
        });
        *parallel::lock(&self.fault) = kept.err();
    }
}

/// Checks all sites of a domain at once, for a person, and failing ones on their servers; returns whether there are
/// any.
pub fn probe_now(app: &App, domain: Id<id::Domain>) -> Result<bool> {
    let sites = app.db.read(|conn| queries::sites(conn, Some(domain)))?;
    let stops = Stop::of(&sites)?;
    let cancel = Cancel::new();
    let probes = FanOut {
        name: "sitewatch.look",
        width: WIDTH,
        begin_until: None,
        cancel: &cancel,
    };
    let seen = probes.run(&stops, |stop| {
        let seen = probe::probe(&mut stop.clone());
        if seen.iter().any(|s| s.code.wants_inside()) {
            domains::check_drift(app, &[stop.server], &cancel)?;
        }
        Ok(seen)
    });
    let seen: Vec<Vec<Seen>> = seen.into_iter().flatten().collect::<Result<_>>()?;
    keep(app, &seen.concat())?;
    Ok(!sites.is_empty())
}

/// Stores results and reports to the domains.
fn keep(app: &App, seen: &[Seen]) -> Result<()> {
    if seen.is_empty() {
        return Ok(());
    }
    // While our own network is down, silence says nothing.
    let is_offline = metrics::offline_since(&app.metrics)?.is_some();
    let mut of_domains: BTreeMap<i64, Vec<&Seen>> = BTreeMap::new();
    for seen in seen {
        of_domains.entry(seen.domain.get()).or_default().push(seen);
    }
    app.db.write(|tx| {
        let now = clock::now();
        let mut to_ask = BTreeSet::new();
        for (domain, seen) in &of_domains {
            let domain = Id::new(*domain);
            if domains::is_busy(tx, domain)? {
                continue; // domains with open tasks are checked afterwards
            }
            let before = queries::placements(tx, domain)?;
            let bad = before.iter().filter(|probe| probe.known.state.is_bad()).count();
            for probe in before {
                let of_text = |s: &&&Seen| s.server == probe.server && s.generation == probe.generation;
                let Some(seen) = seen.iter().find(of_text) else {
                    continue;
                };
                if queue::open(tx, ("server", probe.server.get()), |kind| kind == DEPLOY_PROXY)?.is_some() {
                    continue;
                }
                let code = match seen.code {
                    code if is_offline && code.is_silence() => Code::Unseen,
                    code => code,
                };
                let known = probe.known.after(code, now);
                if known.wants_inside(now) {
                    to_ask.insert(probe.server.get());
                }
                let probe = Placement {
                    looked_at: Some(now),
                    say: seen.say.clone(),
                    known,
                    ..probe
                };
                queries::put(tx, domain, &probe)?;
            }
            tell(app, tx, domain, bad, now)?;
        }
        to_ask
            .into_iter()
            .try_for_each(|server| domains::make_due(tx, Id::new(server)))
    })
}

/// Reports a domain's state; emits an event if it changed, or if more sites fail than `were`.
fn tell(app: &App, tx: &Tx, id: Id<id::Domain>, were: usize, now: Ms) -> Result<()> {
    let Some(before) = queries::summary(tx, id)? else {
        return Ok(());
    };
    let placements = queries::placements(tx, id)?;
    let states: Vec<State> = placements.iter().map(|probe| probe.known.state).collect();
    let Some(state) = evaluate::whole(&states) else {
        return Ok(());
    };
    let bad = || placements.iter().filter(|probe| probe.known.state.is_bad());
    let say: Vec<String> = bad().flat_map(evidence).collect();
    let since = bad().filter_map(|probe| probe.known.since).min();
    if (before.state, &before.say, before.since) == (state, &say, since) {
        return Ok(());
    }
    domains::set_answers(tx, id, state.name(), &say, since)?;
    let kind = match (before.state, state) {
        (before, after) if before == after && bad().count() <= were => return Ok(()),
        (_, after) if after.is_bad() => DARK,
        (before, _) if before.is_bad() => ANSWERS,
        _ => return Ok(()),
    };
    let evidence = match kind {
        DARK => say.iter().map(|say| format!("{} {say}", rfc3339(now))).collect(),
        _ => vec![format!("{} It answers as it should.", rfc3339(now))],
    };
    let data = serde_json::json!({
        "name": certificates::shown(&before.domain), "domain": before.domain, "from": before.state.name(), "to": state.name(),
        "variant": state.name(), "level": (state == State::Partly).then_some("WARNING"), "since": since.map(rfc3339),
        "evidence": evidence,
    });
    outbox::emit(tx, &app.wakes.events, kind, ("domain", id.get()), &data)
}

/// Event: a domain does not answer correctly.
pub const DARK: &str = "domain.dark";
const ANSWERS: &str = "domain.answers";

/// Evidence of one site.
fn evidence(probe: &Placement) -> Vec<String> {
    let line = |say: &str| format!("{}: {say}", probe.server_name);
    let mut out = vec![line(&probe.say)];
    if probe.known.code.wants_inside() && probe.known.inside.is_some_and(|(_, at)| Some(at) >= probe.known.since) {
        out.push(line(&probe.inside_say));
    }
    out
}

/// Clears domains that are no longer checked.
fn tidy(app: &App, is_off: bool) -> Result<()> {
    app.db.write(|tx| {
        let left = queries::sweep(tx, is_off)?;
        for id in queries::unwatched(tx, is_off)? {
            let Some(summary) = queries::summary(tx, id)? else { continue };
            domains::set_answers(tx, id, State::Unknown.name(), &[], None)?;
            if summary.state.is_bad() {
                let data = serde_json::json!({
                    "name": certificates::shown(&summary.domain), "domain": summary.domain, "evidence": ["It is not asked any more."],
                });
                outbox::emit(tx, &app.wakes.events, "domain.unwatched", ("domain", id.get()), &data)?;
            }
        }
        // Results on its servers no longer count.
        let now = clock::now();
        left.into_iter().try_for_each(|id| tell(app, tx, id, usize::MAX, now))
    })
}
