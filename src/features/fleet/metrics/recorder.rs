//! Keeps polls: as series, and (in the same transaction) as the last poll that lists and pages show.

use super::glances::{self, Sample};
use super::probe::Polled;
use super::readings::{self, DISK, SERVERS};
use crate::base::clock::Ms;
use crate::base::error::{Error, Result};
use crate::base::id::{Id, Server};
use crate::base::log;
use crate::base::parallel::lock;
use crate::db::{Conn, Db, Tx};
use crate::features::fleet::latest::{self, Spark};
use crate::series::{Observation, Store};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Deref;
use std::sync::{Arc, Mutex};

/// File systems of the last poll kept for pages and programs: the fullest.
const SHOWN_MAX: usize = 64;

/// See the module's documentation.
pub struct Recorder {
    store: Store,
    last: Mutex<HashMap<i64, Last>>,
}

/// What is kept in memory of a server's last poll.
struct Last {
    at_ms: Ms,
    spark: Spark,
    /// As the server calls itself.
    hostname: Option<String>,
}

impl Deref for Recorder {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

impl Recorder {
    /// On an open `metrics.db`.
    pub fn new(db: Arc<Db>) -> Recorder {
        Recorder::on(Store::new(db))
    }

    /// See [`Store::trusting`].
    pub fn trusting(db: Arc<Db>) -> Recorder {
        Recorder::on(Store::trusting(db))
    }

    fn on(store: Store) -> Recorder {
        Recorder {
            store,
            last: Mutex::default(),
        }
    }

    /// Keeps polls, all or (with an error) none of them.
    pub fn add(&self, polls: &[Polled]) -> Result<()> {
        let seen: Vec<Observation> = polls.iter().map(readings::observe).collect();
        self.record(polls, &seen)
    }

    /// The same of polls with what was observed in each; what else was observed says nothing here.
    pub fn record(&self, polls: &[Polled], seen: &[Observation]) -> Result<()> {
        let mut last = lock(&self.last);
        let done = self.store.add(seen, |tx| {
            let mut both = polls.iter().zip(seen.iter().filter(|one| !one.is_missed()));
            both.try_for_each(|(poll, seen)| put_latest(tx, &mut last, poll, seen))
        });
        if done.is_err() {
            last.clear(); // it may know of polls that were rolled back
        }
        done
    }

    /// Forgets a server.
    pub fn forget(&self, server: Id<Server>) -> Result<()> {
        lock(&self.last).remove(&server.get());
        let subject = (SERVERS.name, server.get());
        self.store.forget(subject, |tx| latest::forget(tx, server))
    }

    /// Folds and cleans up servers that are no longer polled, and forgets those that are gone (a poll may have been under
    /// way when its server was deleted). Once an hour is enough.
    pub fn tidy(&self, now: Ms, exists: impl Fn(Id<Server>) -> bool) -> Result<()> {
        for server in self.store.subjects(SERVERS.name)?.into_iter().map(Id::new) {
            if !exists(server) {
                self.forget(server)?;
            }
        }
        self.store.tidy(SERVERS.name, now)
    }
}

fn put_latest(tx: &Tx, known: &mut HashMap<i64, Last>, poll: &Polled, seen: &Observation) -> Result<()> {
    let last = match known.entry(poll.server.get()) {
        Entry::Occupied(there) => there.into_mut(),
        Entry::Vacant(empty) => empty.insert(Last::load(tx, poll.server)?),
    };
    last.rename(poll);
    last.draw(poll);
    let fullest = seen.values().iter().find(|value| value.key == DISK);
    let summary = Sample {
        disk_max_percent: fullest.map(|f| f.value),
        disk_max_mount: fullest.map(|f| f.part.to_string()),
        disks: Vec::new(),
        uncharted: readings::uncharted(seen),
        ..poll.sample.clone()
    };
    let sample = serde_json::to_string(&summary).map_err(Error::internal)?;
    let mut disks = poll.sample.disks.clone();
    glances::keep_fullest(&mut disks, SHOWN_MAX);
    let disks = serde_json::to_string(&disks).map_err(Error::internal)?;
    latest::put(
        tx,
        poll.server,
        (poll.at_ms, poll.took_ms),
        &sample,
        &last.spark,
        &disks,
    )
}

impl Last {
    fn load(conn: &Conn, server: Id<Server>) -> Result<Last> {
        let last = latest::get(conn, server)?;
        let sample = last
            .as_ref()
            .map(|last| serde_json::from_str::<Sample>(last.sample.get()));
        Ok(Last {
            at_ms: last.as_ref().map_or(0, |last| last.at_ms),
            hostname: sample.and_then(|sample| sample.ok()?.hostname),
            spark: last.map_or_else(Spark::default, |last| last.spark),
        })
    }

    /// A host name that changes between two polls is told: it may be another machine that answers now.
    fn rename(&mut self, poll: &Polled) {
        let Some(now) = &poll.sample.hostname else { return };
        if self.hostname.as_ref() == Some(now) {
            return;
        }
        if let Some(before) = self.hostname.replace(now.clone()) {
            let server = poll.server.to_string();
            let fields = [("server", server.as_str()), ("before", &before), ("now", now)];
            log::warning(
                "metrics",
                "a server calls itself by another name than at its last poll",
                &fields,
            );
        }
    }

    fn draw(&mut self, poll: &Polled) {
        if self.at_ms > 0 && latest::is_gap(poll.at_ms - self.at_ms, poll.interval_s) {
            self.spark.push(None, None);
        }
        self.spark.push(poll.sample.cpu_percent, poll.sample.mem_percent);
        self.at_ms = poll.at_ms;
    }
}
