//! The watch: looks at all services at their intervals, those of a server together, and stores what is found.

use super::look;
use super::observed::{self, SERVICES};
use super::queries::{self, Service};
use super::state::{self, By};
use super::verdict::{Figures, Health, Look};
use crate::app::App;
use crate::base::clock::{self, Duration, Instant};
use crate::base::error::Result;
use crate::base::log;
use crate::base::process::Cancel;
use crate::db::Conn;
use crate::feature::Observes;
use crate::features::fleet::metrics;
use crate::schedule::pool::{Bounds, Entry, Next, Pool, Work};
use crate::schedule::service::{Service as Row, ServiceRun};
use crate::series::{Observation, Observers, Store};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Interval of looking whether services came, went or changed.
const REFRESH_EVERY: Duration = Duration::from_secs(5);
/// Interval of cleaning up.
const TIDY_EVERY: Duration = Duration::from_secs(3_600);
/// A bad look that does not decide yet is repeated after this.
const AGAIN: Duration = Duration::from_secs(2);
/// A look that takes longer is slow.
const SLOW: Duration = Duration::from_secs(5);
/// Looks at the same time.
const WIDTH: usize = 24;
/// Limit of what runs at a stop.
const STOP_MAX: Duration = Duration::from_secs(5);

/// See [`Row`].
pub const ROW: Row = Row {
    name: "services.look",
    every: REFRESH_EVERY,
    prepare: |_| Ok(()),
    run,
};

/// Services that are looked at together.
struct Group {
    ids: Vec<i64>,
}

struct Looker {
    app: Arc<App>,
    store: Store,
    observers: Observers,
    stop: Cancel,
}

impl Work for Looker {
    type Item = Group;
    type Done = Vec<(Service, Look)>;
    const STACK: usize = 768 << 10;

    fn run(&self, group: &mut Group) -> (Self::Done, Next) {
        let begun = clock::mono();
        let found = self.app.db.read(|conn| {
            let all = group
                .ids
                .iter()
                .map(|id| queries::get(conn, crate::base::id::Id::new(*id)));
            Ok(all
                .collect::<Result<Vec<_>>>()?
                .into_iter()
                .flatten()
                .collect::<Vec<_>>())
        });
        let services = match found {
            Ok(services) => services,
            Err(e) => {
                log::error("services", "services could not be read", &[("error", &e.to_string())]);
                return (Vec::new(), Next::default());
            }
        };
        let looks = look::look(&self.app, &services, &self.stop);
        if self.stop.is_cancelled() {
            return (Vec::new(), Next::default());
        }
        let now = clock::now();
        let soon = |(s, look): (&Service, &Look)| {
            let undecided = look.health == Health::Unhealthy && s.now.health != Health::Unhealthy;
            let waits = s.now.next_at.filter(|at| look.health == Health::Unhealthy && *at > now);
            let waits = waits.map(|at| Duration::from_millis(u64::try_from(at - now).unwrap_or(0)));
            undecided.then_some(AGAIN).into_iter().chain(waits).min()
        };
        let next = Next {
            skip: 0,
            within: services.iter().zip(&looks).filter_map(soon).min(),
            slow: begun.elapsed() > SLOW,
        };
        (services.into_iter().zip(looks).collect(), next)
    }

    fn done(&self, batch: Vec<Self::Done>) {
        let looks: Vec<(Service, Look)> = batch.into_iter().flatten().collect();
        if let Err(e) = self.keep(&looks) {
            log::error("services", "looks could not be stored", &[("error", &e.to_string())]);
        }
    }
}

impl Looker {
    fn keep(&self, looks: &[(Service, Look)]) -> Result<()> {
        let (app, now) = (&self.app, clock::now());
        let states = app.db.write(|tx| state::apply(app, tx, looks, By::Watch, now))?;
        let figures = app.metrics.read(|conn| figures(conn, looks, now))?;
        let seen: Vec<Observation> = states
            .iter()
            .filter_map(|(id, state)| Some(observed::observe(*id, now, state, figures.get(id)?)))
            .collect();
        self.store.add(&seen, |tx| {
            let mut known = figures.iter().filter(|(id, _)| states.contains_key(id));
            known.try_for_each(|(id, figures)| queries::put_figures(tx, *id, now, figures))
        })?;
        self.observers.publish(&seen);
        Ok(())
    }
}

/// The figures of these looks, after those that were seen of the same services before.
fn figures(conn: &Conn, looks: &[(Service, Look)], now: i64) -> Result<HashMap<i64, Figures>> {
    let of = |(s, look): &(Service, Look)| {
        let id = s.id.get();
        let before = queries::figures_of(conn, id, 0)?.unwrap_or_default();
        Ok((id, Figures::of(look, &before, now)))
    };
    looks.iter().map(of).collect()
}

fn run(run: &ServiceRun) -> Result<()> {
    let app = run.app;
    let stop = Cancel::new();
    let looker = Looker {
        app: app.clone(),
        store: Store::new(app.metrics.clone()),
        observers: Observes::start_all(app, &SERVICES)?,
        stop: stop.clone(),
    };
    let pool = Pool::start(looker, Bounds { min: 1, max: WIDTH })?;
    let (mut listed, mut tidied) = (None, None::<Instant>);
    run.rounds(&app.wakes.events, || {
        let print = app.db.read(queries::fingerprint)?;
        if listed != Some(print) {
            pool.set(groups(&app.db.read(queries::all)?));
            listed = Some(print);
        }
        if tidied.is_none_or(|at| at.elapsed() >= TIDY_EVERY) {
            tidied = Some(clock::mono());
            tidy(app, &pool.work().store)?;
        }
        // So that rules end for what is gone, although nothing is observed any more.
        pool.work().observers.publish(&[]);
        Ok(None)
    });
    stop.cancel();
    pool.stop_within(STOP_MAX);
    Ok(())
}

/// What is looked at together: services of one server with one interval; each of the others by itself.
fn groups(all: &[Service]) -> Vec<Entry<Group>> {
    let mut groups: BTreeMap<i64, (i64, i64, Vec<i64>)> = BTreeMap::new();
    for s in all.iter().filter(|s| s.fields.enabled) {
        let every = s.fields.interval_s;
        let key = match s.fields.server {
            Some(server) => server.get() * 10_000 + every,
            None => -s.id.get(),
        };
        let (_, revision, ids) = groups.entry(key).or_insert((every, 0, Vec::new()));
        *revision += s.revision * 1_000_003 + s.id.get();
        ids.push(s.id.get());
    }
    let entry = |(key, (every, revision, ids)): (i64, (i64, i64, Vec<i64>))| Entry {
        key,
        revision,
        every: Duration::from_secs(every.unsigned_abs()),
        item: Group { ids },
    };
    groups.into_iter().map(entry).collect()
}

/// Removes what belongs to services that no longer exist.
fn tidy(app: &App, store: &Store) -> Result<()> {
    store.set_keep(app.db.read(metrics::keep)?);
    let known: Vec<i64> = app.db.read(queries::all)?.iter().map(|s| s.id.get()).collect();
    for id in store
        .subjects(SERVICES.name)?
        .into_iter()
        .chain(app.journal.subjects(SERVICES.name))
    {
        if !known.contains(&id) {
            store.forget((SERVICES.name, id), |tx| queries::forget_figures(tx, id))?;
            app.journal.forget((SERVICES.name, id))?;
        }
    }
    store.tidy(SERVICES.name, clock::now())
}

/// Looks at one at once, for who has just done something to it, and stores how it is.
pub fn check_now(app: &App, s: &Service, cancel: &Cancel) -> Result<Look> {
    let look = look::look(app, std::slice::from_ref(s), cancel).remove(0);
    let now = clock::now();
    let seen = [(s.clone(), look)];
    app.db.write(|tx| state::apply(app, tx, &seen, By::Hand, now))?;
    app.metrics.write(|tx| {
        let found = figures(tx, &seen, now)?;
        found
            .iter()
            .try_for_each(|(id, figures)| queries::put_figures(tx, *id, now, figures))
    })?;
    let [(_, look)] = seen;
    Ok(look)
}
