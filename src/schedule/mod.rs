//! Periodic work: short beats, each alone, in one thread; a beat that takes long enqueues a task instead. What ran when
//! is kept in a table, so that any process can answer for the scheduler's health.

pub mod pool;
mod queries;

use crate::app::App;
use crate::base::clock::{self, Duration, Instant, Ms};
use crate::base::error::{Error, Result};
use crate::base::log;
use crate::db::Conn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;

/// One row of a feature's `PERIODIC`.
pub struct Periodic {
    /// `tasks.purge`.
    pub name: &'static str,
    /// How often.
    pub every: Duration,
    /// The beat.
    pub run: fn(&App) -> Result<()>,
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
    run: |_| Ok(()),
};

/// The running thread.
pub struct Scheduler {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Scheduler {
    /// Starts the thread. Each work runs once at start, then at its interval.
    pub fn start(app: Arc<App>, work: Vec<&'static Periodic>) -> Result<Scheduler> {
        let (stop, stopped) = mpsc::channel();
        let work: Vec<_> = std::iter::once(&HEART).chain(work).collect();
        app.db
            .write(|tx| queries::keep_only(tx, &work.iter().map(|w| w.name).collect::<Vec<_>>()))?;
        let thread = std::thread::Builder::new().name("scheduler".into()).spawn(move || {
            let mut due: Vec<(Instant, &Periodic)> = work.into_iter().map(|w| (clock::mono(), w)).collect();
            loop {
                let now = clock::mono();
                for (at, work) in &mut due {
                    if *at <= now {
                        beat(&app, work);
                        *at = now + work.every;
                    }
                }
                let next = due.iter().map(|(at, _)| *at).min().unwrap_or(now + HEART.every);
                match stopped.recv_timeout(next.saturating_duration_since(clock::mono())) {
                    Err(RecvTimeoutError::Timeout) => {}
                    _ => break,
                }
            }
        })?;
        Ok(Scheduler { stop, thread })
    }

    /// Ends the thread after the beat that runs.
    pub fn stop(self) {
        drop(self.stop);
        let _ = self.thread.join();
    }
}

fn beat(app: &App, work: &Periodic) {
    let started = clock::mono();
    let result =
        catch_unwind(AssertUnwindSafe(|| (work.run)(app))).unwrap_or_else(|_| Err(Error::internal("it panicked")));
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
    if let Err(e) = app.db.write(|tx| queries::put(tx, &beat)) {
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
