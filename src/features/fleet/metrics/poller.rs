//! The poller: a pool that polls and passes results on in batches.

use super::probe::{self, Outcome, PollTarget};
use crate::base::clock::{self, Duration};
use crate::base::error::{Error, Result};
use crate::base::id::{Id, Server};
use crate::base::log::{self, Level};
use crate::base::parallel::lock;
use crate::base::ration::Rations;
use crate::schedule::pool::{Bounds, Entry, Figures, Next, Pool, Work};
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex};

/// Polling threads. A real Glances takes 50 to 500 ms, nearly all of it waiting: 10 000 servers at 30 s need about 100
/// threads.
pub const THREADS: Bounds = Bounds { min: 4, max: 128 };
/// A slower poll, with or without a response, counts as slow. Glances behind a slow line takes a second.
const SLOW_MS: u32 = 1_500;

/// Maximum interval of a server that is down, so that its return is noticed.
const DOWN_MAX: Duration = Duration::from_secs(60);
/// Lateness of quick servers that indicates a stuck pool.
const LATE_MAX: Duration = Duration::from_secs(120);

/// The running poller.
pub struct Poller<D>(Pool<Polling<D>>)
where
    D: Fn(Vec<Outcome>) -> Result<()> + Send + Sync + 'static;

struct Polling<D> {
    done: D,
    good: AtomicU64,
    bad: AtomicU64,
    took_ms: AtomicU64,
    /// Why the last batch could not be stored.
    fault: Mutex<Option<Error>>,
}

/// Statistics of polling.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PollStats {
    /// Successful polls since start.
    pub ok: u64,
    /// Failed polls since start.
    pub failed: u64,
    /// Duration of all polls together, ms.
    pub took_ms: u64,
    /// Polled servers.
    pub targets: usize,
    /// Servers that were slow last time.
    pub slow: usize,
    /// Threads.
    pub threads: usize,
    /// Busy threads.
    pub busy: usize,
    /// Lateness of the latest quick server, ms.
    pub late_ms: u64,
}

impl<D> Poller<D>
where
    D: Fn(Vec<Outcome>) -> Result<()> + Send + Sync + 'static,
{
    /// Starts without servers. `done` gets the outcomes of about half a second at a time.
    pub fn start(done: D, threads: Bounds) -> Result<Poller<D>> {
        let polling = Polling {
            done,
            good: AtomicU64::new(0),
            bad: AtomicU64::new(0),
            took_ms: AtomicU64::new(0),
            fault: Mutex::default(),
        };
        Ok(Poller(Pool::start(polling, threads)?))
    }

    /// Sets the list of servers to poll. Called at start and whenever a server changed.
    pub fn set_targets(&self, targets: Vec<PollTarget>) {
        let entry = |target: PollTarget| Entry {
            key: target.server.get(),
            revision: target.revision,
            every: target.interval,
            item: target,
        };
        self.0.set(targets.into_iter().map(entry).collect());
    }

    /// How the pool is doing.
    pub fn figures(&self) -> Figures {
        self.0.figures()
    }

    /// Figures and statistics.
    pub fn stats(&self) -> PollStats {
        let (figures, polling) = (self.0.figures(), self.0.work());
        PollStats {
            ok: polling.good.load(Ordering::Relaxed),
            failed: polling.bad.load(Ordering::Relaxed),
            took_ms: polling.took_ms.load(Ordering::Relaxed),
            targets: figures.items,
            slow: figures.slow,
            threads: figures.threads,
            busy: figures.busy,
            late_ms: figures.late_ms,
        }
    }

    /// Does it poll in time, and can it store the results?
    pub fn check(&self) -> Result<()> {
        let late = Duration::from_millis(self.figures().late_ms);
        if late > LATE_MAX {
            return Err(Error::internal(format!("polls are {} s late", late.as_secs())));
        }
        let fault = lock(&self.0.work().fault);
        fault.clone().map_or(Ok(()), Err)
    }

    /// Waits for running polls, but not for those that hang, and passes on the rest.
    pub fn stop(self) {
        self.0.stop_within(STOP_MAX);
    }
}

/// Time that running polls have at a stop.
const STOP_MAX: Duration = Duration::from_secs(2);

/// Limits log lines per server and kind.
static LINES: LazyLock<Rations<(i64, &'static str)>> = LazyLock::new(|| Rations::new(5, Duration::from_secs(600)));

/// Logs a line about a server, within the limit.
pub(super) fn log_limited(level: Level, server: Id<Server>, message: &'static str, fields: &[(&str, &str)]) {
    if let Some(left_out) = LINES.next((server.get(), message), clock::mono()) {
        let left_out = left_out.to_string();
        let noted = (left_out != "0").then_some(("left_out_before", left_out.as_str()));
        let fields: Vec<_> = fields.iter().copied().chain(noted).collect();
        log::line(level, "metrics", message, &fields);
    }
}

/// Logs failed polls, and those that needed a second try; not for servers known to be down.
fn note(outcome: &Outcome) {
    let server = outcome.server.to_string();
    match &outcome.result {
        Err(e) if outcome.misses <= outcome.fail_threshold.max(1) => {
            let (misses, took) = (outcome.misses.to_string(), outcome.took_ms.to_string());
            let fields = [
                ("server", server.as_str()),
                ("misses", &misses),
                ("tries", if outcome.tries > 1 { "2" } else { "1" }),
                ("took_ms", &took),
                ("error", &e.say),
            ];
            log_limited(Level::Warning, outcome.server, "a poll was missed", &fields);
        }
        Ok(_) if outcome.tries > 1 => {
            let fields = [("server", server.as_str())];
            log_limited(Level::Info, outcome.server, "a poll needed a second try", &fields);
        }
        _ => {}
    }
}

impl<D> Work for Polling<D>
where
    D: Fn(Vec<Outcome>) -> Result<()> + Send + Sync + 'static,
{
    type Item = PollTarget;
    type Done = Outcome;

    /// A host that is down is polled every second interval, and at least once a minute: its return is noticed within
    /// two intervals, and a fleet of hanging hosts takes half as many threads.
    fn run(&self, target: &mut PollTarget) -> (Outcome, Next) {
        let outcome = probe::poll(target);
        let count = if outcome.result.is_ok() { &self.good } else { &self.bad };
        count.fetch_add(1, Ordering::Relaxed);
        self.took_ms.fetch_add(u64::from(outcome.took_ms), Ordering::Relaxed);
        let next = Next {
            skip: u32::from(target.is_down()),
            within: target.is_down().then_some(DOWN_MAX),
            slow: outcome.took_ms >= SLOW_MS,
        };
        (outcome, next)
    }

    fn done(&self, batch: Vec<Outcome>) {
        batch.iter().for_each(note);
        *lock(&self.fault) = (self.done)(batch).err();
    }
}
