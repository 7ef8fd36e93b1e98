//! Periodic work: short beats, each alone, in one thread; work that waits for other machines has a thread of its own.
//! What ran when is kept in a table, so that any process can answer for the scheduler's health.

pub mod pool;
mod queries;

use crate::app::App;
use crate::base::clock::{self, Duration, Instant, Ms};
use crate::base::error::{Error, Result};
use crate::base::log;
use crate::base::process::Cancel;
use crate::db::Conn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

/// One row of a feature's `PERIODIC`.
pub struct Periodic {
    /// `tasks.purge`.
    pub name: &'static str,
    /// How often.
    pub every: Duration,
    /// The beat.
    pub run: Work,
}

/// What a beat does.
#[derive(Clone, Copy)]
pub enum Work {
    /// A moment's work on our own database.
    Short(fn(&App) -> Result<()>),
    /// Waits for other machines, so it has a thread of its own; the cord is pulled when the daemon stops.
    Long(fn(&App, &Cancel) -> Result<()>),
}

/// What is known of one periodic work.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Beat {
    /// Its name.
    pub name: String,
    /// Its interval in ms.
    pub every_ms: i64,
    /// When it last ended, unix ms.
    pub last_at: Ms,
    /// How long it took.
    pub last_ms: i64,
    /// What went wrong, if it did.
    pub error: Option<String>,
}

/// The heart: its own beat shows that the thread lives.
const HEART: Periodic = Periodic {
    name: "scheduler",
    every: Duration::from_secs(10),
    run: Work::Short(|_| Ok(())),
};

/// The running threads.
pub struct Scheduler {
    cancel: Cancel,
    threads: Vec<JoinHandle<()>>,
}

impl Scheduler {
    /// Starts the threads. Each work runs once at start, then at its interval.
    pub fn start(app: Arc<App>, work: Vec<&'static Periodic>) -> Result<Scheduler> {
        let work: Vec<_> = std::iter::once(&HEART).chain(work).collect();
        app.db
            .write_reserved(|tx| queries::keep_only(tx, &work.iter().map(|w| w.name).collect::<Vec<_>>()))?;
        let (short, long): (Vec<_>, Vec<_>) = work.into_iter().partition(|w| matches!(w.run, Work::Short(_)));
        let mut scheduler = Scheduler {
            cancel: Cancel::new(),
            threads: Vec::new(),
        };
        scheduler.spawn(&app, "scheduler", short)?;
        for work in long {
            scheduler.spawn(&app, work.name, vec![work])?;
        }
        Ok(scheduler)
    }

    fn spawn(&mut self, app: &Arc<App>, name: &str, work: Vec<&'static Periodic>) -> Result<()> {
        let (app, cancel) = (app.clone(), self.cancel.clone());
        let thread = std::thread::Builder::new()
            .name(name.into())
            .spawn(move || in_turn(&app, &work, &cancel))?;
        self.threads.push(thread);
        Ok(())
    }

    /// Ends each thread after the beat that runs.
    pub fn stop(self) {
        self.cancel.cancel();
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

fn in_turn(app: &App, work: &[&'static Periodic], cancel: &Cancel) {
    let mut due: Vec<(Instant, &Periodic)> = work.iter().map(|w| (clock::mono(), *w)).collect();
    loop {
        for (at, work) in &mut due {
            if *at <= clock::mono() && !cancel.is_cancelled() {
                beat(app, work, cancel);
                *at = clock::mono() + work.every;
            }
        }
        let next = due.iter().map(|(at, _)| *at).min().unwrap_or_else(clock::mono);
        if cancel.wait(next.saturating_duration_since(clock::mono())) {
            return;
        }
    }
}

fn beat(app: &App, work: &Periodic, cancel: &Cancel) {
    let started = clock::mono();
    let run = || match work.run {
        Work::Short(run) => run(app),
        Work::Long(run) => run(app, cancel),
    };
    let result = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| Err(Error::internal("it panicked")));
    let error = result.err().map(|e| e.to_string());
    if let Some(e) = &error {
        log::error("schedule", "periodic work failed", &[("name", work.name), ("error", e)]);
    }
    let beat = Beat {
        name: work.name.into(),
        every_ms: work.every.as_millis() as i64,
        last_at: clock::now(),
        last_ms: started.elapsed().as_millis() as i64,
        error,
    };
    if let Err(e) = app.db.write_reserved(|tx| queries::put(tx, &beat)) {
        log::error(
            "schedule",
            "cannot note a beat",
            &[("name", work.name), ("error", &e.to_string())],
        );
    }
}

/// Every periodic work as last seen. It is late when `last_at` is more than twice its interval (and 30 s) ago.
pub fn beats(conn: &Conn) -> Result<Vec<Beat>> {
    queries::all(conn)
}

impl Beat {
    /// Did it miss its time at `now`?
    pub fn is_late(&self, now: Ms) -> bool {
        now - self.last_at > 2 * self.every_ms + 30_000
    }
}
