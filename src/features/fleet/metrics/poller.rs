//! Polling: the pool asks, and what came of it is handed on in batches.

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

/// Threads that poll. A real Glances takes 50 to 500 ms, nearly all of it waiting: 10 000 of them at 30 s need about 100.
pub const THREADS: Bounds = Bounds { min: 4, max: 128 };
/// Who takes longer, with or without an answer, gets in line with its like. Glances behind a slow line takes a second.
const SLOW_MS: u32 = 1_500;

/// A server that is down is asked at least this often, however seldom it is asked otherwise: its return is to be noticed.
const DOWN_MAX: Duration = Duration::from_secs(60);
/// Quick servers that wait longer than this say that the pool is stuck.
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
    /// Why the last batch could not be kept.
    fault: Mutex<Option<Error>>,
}

/// How polling goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PollStats {
    /// Polls that brought a sample, since the start.
    pub ok: u64,
    /// Polls that did not.
    pub failed: u64,
    /// How long all of them took together.
    pub took_ms: u64,
    /// Servers that are polled.
    pub targets: usize,
    /// Of those, slow the last time.
    pub slow: usize,
    /// Threads.
    pub threads: usize,
    /// Of those, busy.
    pub busy: usize,
    /// How late the latest of the quick ones is.
    pub late_ms: u64,
}

impl<D> Poller<D>
where
    D: Fn(Vec<Outcome>) -> Result<()> + Send + Sync + 'static,
{
    /// Starts with nothing to poll. `done` is given the outcomes of about half a second at a time.
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

    /// These are polled from now on, and no others. To be called at start and whenever a server changed.
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

    /// The same with what came of the polls.
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

    /// Does it poll in time, and is kept what comes of it?
    pub fn check(&self) -> Result<()> {
        let late = Duration::from_millis(self.figures().late_ms);
        if late > LATE_MAX {
            return Err(Error::internal(format!("polls are {} s late", late.as_secs())));
        }
        let fault = lock(&self.0.work().fault);
        fault.clone().map_or(Ok(()), Err)
    }

    /// Lets running polls end (5 s at most) and hands on the rest.
    pub fn stop(self) {
        self.0.stop();
    }
}

/// Who flaps is not written out: of one server some lines of a kind at once, then one now and then.
static LINES: LazyLock<Rations<(i64, &'static str)>> = LazyLock::new(|| Rations::new(5, Duration::from_secs(600)));

/// A line about a server, as far as there have not been too many of its kind.
pub(super) fn log_limited(level: Level, server: Id<Server>, message: &'static str, fields: &[(&str, &str)]) {
    if let Some(left_out) = LINES.next((server.get(), message), clock::mono()) {
        let left_out = left_out.to_string();
        let noted = (left_out != "0").then_some(("left_out_before", left_out.as_str()));
        let fields: Vec<_> = fields.iter().copied().chain(noted).collect();
        log::line(level, "metrics", message, &fields);
    }
}

/// A poll in vain, and one that only its second try brought, are a line each; that a server is down the journal knows already.
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

    /// A host that is down is asked every second round, and once a minute at least: its return is still noticed within two intervals, and a fleet's worth of
    /// hanging hosts holds half as many threads.
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
