//! Stores polls: as series and, in the same transaction, as the last poll for lists and pages.

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

/// Limit of file systems of the last poll for pages and programs: the fullest.
const SHOWN_MAX: usize = 64;

/// Writer of polls to `metrics.db`.
pub struct Recorder {
    store: Store,
    last: Mutex<HashMap<i64, Last>>,
}

/// Memory of a server's last poll.
struct Last {
    at_ms: Ms,
    spark: Spark,
    /// The server's own host name.
    hostname: Option<String>,
}

impl Deref for Recorder {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

impl Recorder {
    /// A recorder on an open `metrics.db`.
    pub fn new(db: Arc<Db>) -> Recorder {
        Recorder::on(Store::new(db))
    }

    /// As [`Store::trusting`].
    pub fn trusting(db: Arc<Db>) -> Recorder {
        Recorder::on(Store::trusting(db))
    }

    fn on(store: Store) -> Recorder {
        Recorder {
            store,
            last: Mutex::default(),
        }
    }

    /// Stores polls, all or (on error) none.
    pub fn add(&self, polls: &[Polled]) -> Result<()> {
        let seen: Vec<Observation> = polls.iter().map(readings::observe).collect();
        self.record(polls, &seen)
    }

    /// As [`Recorder::add`], with the observations of the polls; other observations are ignored.
    pub fn record(&self, polls: &[Polled], seen: &[Observation]) -> Result<()> {
        let mut last = lock(&self.last);
        let done = self.store.add(seen, |tx| {
            let mut both = polls.iter().zip(seen.iter().filter(|one| !one.is_missed()));
            both.try_for_each(|(poll, seen)| put_latest(tx, &mut last, poll, seen))
        });
        if done.is_err() {
            last.clear(); // it may refer to polls that were rolled back
        }
        done
    }

    /// Removes a server's data.
    pub fn forget(&self, server: Id<Server>) -> Result<()> {
        lock(&self.last).remove(&server.get());
        let subject = (SERVERS.name, server.get());
        self.store.forget(subject, |tx| latest::forget(tx, server))
    }

    /// Folds and cleans up servers that are no longer polled, and removes those that no longer exist (a poll may have
    /// been in progress during deletion). Called once an hour.
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

    /// Logs a change of the host name between two polls: another machine may answer now.
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
                "a server's host name has changed since its last poll",
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
