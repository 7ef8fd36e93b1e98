//! Periodic work: short jobs one after the other in one thread; jobs that wait for other machines each have their own.
//! The last runs are stored in a table, so that any process can report the scheduler's health.

pub mod fan_out;
pub mod pool;
pub mod service;
pub mod cron;
pub mod model;
mod queries;
pub mod stored;

use crate::app::App;
use crate::availability;
use crate::base::clock::{self, Duration, Instant};
use crate::base::error::{Error, Result};
use crate::base::log;
use crate::base::process::Cancel;
use crate::base::pulse::JobRun;
use crate::db::Conn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

/// One row of a feature's `PERIODIC`.
pub struct Periodic {
    /// Name: `tasks.purge`.
    pub name: &'static str,
    /// Interval.
    pub every: Duration,
    /// The job.
    pub run: Work,
}

/// The function of a job.
#[derive(Clone, Copy)]
pub enum Work {
    /// Short work on our own databases.
    Short(fn(&App) -> Result<()>),
    /// Waits for other machines, so it has its own thread; cancelled when the daemon stops.
    Long(fn(&App, &Cancel) -> Result<()>),
}

/// Stores the last runs of all jobs, and so shows that the thread lives.
const HEART: Periodic = Periodic {
    name: "scheduler",
    every: Duration::from_secs(10),
    run: Work::Short(write_down),
};

/// The running threads.
pub struct Scheduler {
    app: Arc<App>,
    cancel: Cancel,
    threads: Vec<JoinHandle<()>>,
}

impl Scheduler {
    /// Starts the threads. Each job runs at start, then at its interval.
    pub fn start(app: Arc<App>, work: Vec<&'static Periodic>) -> Result<Scheduler> {
        let work: Vec<_> = std::iter::once(&HEART).chain(work).collect();
        work.iter().for_each(|w| app.pulses.expect(w.name, w.every));
        let before = app.db.read(queries::all)?;
        if let Some(alive) = before.iter().map(|run| run.alive_at).filter(|at| *at > 0).max() {
            app.db
                .write_reserved(|tx| availability::was_off(tx, alive, clock::now()))?;
        }
        app.pulses.resume(before);
        let all = app.pulses.all();
        app.db.write_reserved(|tx| queries::keep_only(tx, &all))?;
        let (short, long): (Vec<_>, Vec<_>) = work.into_iter().partition(|w| matches!(w.run, Work::Short(_)));
        let mut scheduler = Scheduler {
            app: app.clone(),
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

    /// Ends each thread after its current run.
    pub fn stop(self) {
        self.cancel.cancel();
        for thread in self.threads {
            let _ = thread.join();
        }
        if let Err(e) = write_down(&self.app) {
            log::error("schedule", "cannot store the job runs", &[("error", &e.to_string())]);
        }
    }
}

fn in_turn(app: &App, work: &[&'static Periodic], cancel: &Cancel) {
    let mut due: Vec<(Instant, &Periodic)> = work.iter().map(|w| (clock::mono(), *w)).collect();
    loop {
        for (at, work) in &mut due {
            if *at <= clock::mono() && !cancel.is_cancelled() {
                run_once(app, work, cancel);
                *at = clock::mono() + work.every;
            }
        }
        let next = due.iter().map(|(at, _)| *at).min().unwrap_or_else(clock::mono);
        if cancel.wait(next.saturating_duration_since(clock::mono())) {
            return;
        }
    }
}

fn run_once(app: &App, work: &Periodic, cancel: &Cancel) {
    let run = || match work.run {
        Work::Short(run) => run(app),
        Work::Long(run) => run(app, cancel),
    };
    let caught = || catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| Err(Error::internal("it panicked")));
    if let Err(e) = app.pulses.round(work.name, work.every, caught) {
        let fields = [("name", work.name), ("error", &e.to_string())];
        log::error("schedule", "periodic work failed", &fields);
    }
    if work.every >= SELDOM
        && let Err(e) = write_down(app)
    {
        log::error("schedule", "cannot store the job runs", &[("error", &e.to_string())]);
    }
}

/// Runs of jobs with shorter intervals are stored by the heartbeat job only, to spare the disk.
const SELDOM: Duration = Duration::from_secs(60);

fn write_down(app: &App) -> Result<()> {
    app.db.write_reserved(|tx| queries::put(tx, &app.pulses.all()))
}

/// The last runs as stored.
pub fn job_runs(conn: &Conn) -> Result<Vec<JobRun>> {
    queries::all(conn)
}
