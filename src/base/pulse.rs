//! Results of periodic work and services, in memory; the scheduler stores them from time to time, for other processes
//! and for the next start.

use super::clock::{self, Duration, HOUR, Ms, SECOND};
use super::error::Result;
use super::parallel::lock;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

/// The last run of one job.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct JobRun {
    /// Name of the job.
    pub name: String,
    /// Interval in ms.
    pub every_ms: i64,
    /// When a run last began or ended, unix ms.
    #[serde(skip)]
    pub alive_at: Ms,
    /// When a run last ended, unix ms; 0: never.
    pub last_at: Ms,
    /// Duration of the last run in ms.
    pub last_ms: i64,
    /// Error of the last run.
    pub error: Option<String>,
    /// Failed runs in a row.
    pub fails: i64,
}

/// Failed runs in a row after which a job counts as failing; fewer may be chance.
const FAILS_MAX: i64 = 3;

impl JobRun {
    /// Is the job overdue at `now`?
    pub fn is_late(&self, now: Ms) -> bool {
        now - self.alive_at > 2 * self.every_ms + 30 * SECOND
    }

    /// Does it fail repeatedly? For a job with a long interval one hour of failures is enough.
    pub fn is_failing(&self) -> bool {
        self.fails >= FAILS_MAX || self.fails * self.every_ms >= HOUR
    }
}

/// The job runs of a process.
#[derive(Default)]
pub struct Pulses(Mutex<BTreeMap<String, JobRun>>);

impl Pulses {
    /// Registers a job; its first run is due within its interval.
    pub fn expect(&self, name: &str, every: Duration) {
        self.change(name, every, |_| {});
    }

    /// Takes over stored results of an earlier process for jobs that exist and have not run yet.
    pub fn resume(&self, known: Vec<JobRun>) {
        let mut jobs = self.lock();
        for old in known {
            match jobs.get_mut(&old.name) {
                Some(job) if job.last_at == 0 => {
                    let (alive_at, every_ms) = (job.alive_at, job.every_ms);
                    *job = JobRun {
                        alive_at,
                        every_ms,
                        ..old
                    };
                }
                _ => {}
            }
        }
    }

    /// Runs `run` and records its duration and error.
    pub fn round<T>(&self, name: &str, every: Duration, run: impl FnOnce() -> Result<T>) -> Result<T> {
        let started = clock::mono();
        self.change(name, every, |_| {});
        let result = run();
        self.change(name, every, |job| {
            job.last_at = job.alive_at;
            job.last_ms = started.elapsed().as_millis() as i64;
            job.error = result.as_ref().err().map(ToString::to_string);
            job.fails = if result.is_ok() { 0 } else { job.fails + 1 };
        });
        result
    }

    /// A copy of all.
    pub fn all(&self) -> Vec<JobRun> {
        self.lock().values().cloned().collect()
    }

    fn change(&self, name: &str, every: Duration, change: impl FnOnce(&mut JobRun)) {
        let mut jobs = self.lock();
        let job = jobs.entry(name.into()).or_insert_with(|| JobRun {
            name: name.into(),
            ..JobRun::default()
        });
        job.every_ms = every.as_millis() as i64;
        job.alive_at = clock::now();
        change(job);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, JobRun>> {
        lock(&self.0)
    }
}
