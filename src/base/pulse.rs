//! Signs of life: work that comes round for ever tells how each round went. It is kept in memory; the scheduler writes it
//! down now and then, for other processes and for the time after a restart.

use super::clock::{self, Duration, HOUR, Ms, SECOND};
use super::error::Result;
use super::parallel::lock;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

/// What is known of one such work.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct JobRun {
    /// Its name.
    pub name: String,
    /// Its interval in ms.
    pub every_ms: i64,
    /// When a round last began or ended, unix ms.
    #[serde(skip)]
    pub alive_at: Ms,
    /// When a round last ended, unix ms; 0: never.
    pub last_at: Ms,
    /// How long it took.
    pub last_ms: i64,
    /// What went wrong, if it did.
    pub error: Option<String>,
    /// Rounds in a row that went wrong.
    pub fails: i64,
}

/// Once may be chance.
const FAILS_MAX: i64 = 3;

impl JobRun {
    /// Did it miss its time at `now`?
    pub fn is_late(&self, now: Ms) -> bool {
        now - self.alive_at > 2 * self.every_ms + 30 * SECOND
    }

    /// Does it fail, and not by chance? What comes round seldom is believed sooner.
    pub fn is_failing(&self) -> bool {
        self.fails >= FAILS_MAX || self.fails * self.every_ms >= HOUR
    }
}

/// All of a process.
#[derive(Default)]
pub struct Pulses(Mutex<BTreeMap<String, JobRun>>);

impl Pulses {
    /// There is this work, and it has time for its first round from now on.
    pub fn expect(&self, name: &str, every: Duration) {
        self.change(name, every, |_| {});
    }

    /// What an earlier process wrote down of the work that there is.
    pub fn resume(&self, known: Vec<JobRun>) {
        let mut beats = self.lock();
        for old in known {
            match beats.get_mut(&old.name) {
                Some(beat) if beat.last_at == 0 => {
                    let (alive_at, every_ms) = (beat.alive_at, beat.every_ms);
                    *beat = JobRun {
                        alive_at,
                        every_ms,
                        ..old
                    };
                }
                _ => {}
            }
        }
    }

    /// One round.
    pub fn round<T>(&self, name: &str, every: Duration, run: impl FnOnce() -> Result<T>) -> Result<T> {
        let started = clock::mono();
        self.change(name, every, |_| {});
        let result = run();
        self.change(name, every, |beat| {
            beat.last_at = beat.alive_at;
            beat.last_ms = started.elapsed().as_millis() as i64;
            beat.error = result.as_ref().err().map(ToString::to_string);
            beat.fails = if result.is_ok() { 0 } else { beat.fails + 1 };
        });
        result
    }

    /// As they stand.
    pub fn all(&self) -> Vec<JobRun> {
        self.lock().values().cloned().collect()
    }

    fn change(&self, name: &str, every: Duration, change: impl FnOnce(&mut JobRun)) {
        let mut beats = self.lock();
        let beat = beats.entry(name.into()).or_insert_with(|| JobRun {
            name: name.into(),
            ..JobRun::default()
        });
        beat.every_ms = every.as_millis() as i64;
        beat.alive_at = clock::now();
        change(beat);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, JobRun>> {
        lock(&self.0)
    }
}
