//! Worker threads that claim and run tasks in order, and one supervisor that applies cancellations and deadlines.

use super::claim::{self, ClassLimits};
use super::log::Log;
use super::{Kind, Outcome, Status, Task, queries, queue, wait};
use crate::app::App;
use crate::base::clock::{self, Duration, Instant, Ms};
use crate::base::error::{Error, Result};
use crate::base::id::{self, Id};
use crate::base::log as daemon_log;
use crate::base::process::Cancel;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Poll interval: the most that a lost wake-up can cost.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// A cancelled task that has not ended after this is reported by health.
const END_MAX: Duration = Duration::from_secs(60);
const PULSE: (&str, Duration) = ("tasks.work", LOOK_AGAIN);

/// Maximum runs of a task that lost its worker.
const ATTEMPTS_MAX: i64 = 3;

/// What a kind's function gets.
pub struct Run<'a> {
    /// All machines.
    pub app: &'a App,
    /// The task as it was claimed.
    pub task: &'a Task,
    /// The log of the task.
    pub log: &'a Log,
    /// Triggered when the task is cancelled, at its deadline, or when the daemon stops.
    pub cancel: &'a Cancel,
}

impl Run<'_> {
    /// Id of the target.
    pub fn target(&self) -> i64 {
        self.task.target.1
    }

    /// The task's input as `T`. Error: malformed.
    pub fn input<T: serde::de::DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(&self.task.input)
            .map_err(|e| Error::internal(format!("input of task {}: {e}", self.task.id)))
    }
}

/// The running threads.
pub struct Workers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    app: Arc<App>,
    kinds: HashMap<&'static str, &'static Kind>,
    limits: ClassLimits,
    stop: AtomicBool,
    running: Mutex<HashMap<Id<id::Task>, Running>>,
    /// Held by each worker as long as it lives.
    alive: Arc<()>,
    /// Error of the last attempt to claim a task.
    fault: Mutex<Option<Error>>,
}

#[derive(Clone)]
struct Running {
    cancel: Cancel,
    until: Instant,
}

impl Workers {
    /// Cleans up after an earlier process, then starts `count` workers and the supervisor.
    pub fn start(app: Arc<App>, kinds: Vec<&'static Kind>, count: usize) -> Result<Workers> {
        let odd = |kind: &&&Kind| kind.tries.max > 1 && !kind.idempotent;
        if let Some(kind) = kinds.iter().find(odd) {
            return Err(Error::internal(format!(
                "{} is tried again, but is not idempotent",
                kind.name
            )));
        }
        let shared = Arc::new(Shared {
            app,
            kinds: kinds.into_iter().map(|kind| (kind.name, kind)).collect(),
            limits: ClassLimits::of(count),
            stop: AtomicBool::new(false),
            running: Mutex::default(),
            alive: Arc::default(),
            fault: Mutex::default(),
        });
        shared.app.pulses.expect(PULSE.0, PULSE.1);
        shared.adopt_orphans()?;
        let mut threads = Vec::new();
        for n in 0..count {
            let (shared, alive) = (shared.clone(), shared.alive.clone());
            let work = move || {
                let _alive = alive; // dropped however the thread ends
                shared.work_loop();
            };
            threads.push(std::thread::Builder::new().name(format!("task-{n}")).spawn(work)?);
        }
        let keeper = shared.clone();
        threads.push(
            std::thread::Builder::new()
                .name("task-keeper".into())
                .spawn(move || keeper.keep_loop(count))?,
        );
        Ok(Workers { shared, threads })
    }

    /// Cancels every running task and waits for the threads. Idempotent ones are queued again for the next start.
    pub fn stop(self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for running in self.shared.running().values() {
            running.cancel.cancel();
        }
        self.shared.app.wakes.tasks.ring();
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<Id<id::Task>, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopping(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn kind(&self, name: &str) -> Option<&'static Kind> {
        self.kinds.get(name).copied()
    }

    fn adopt_orphans(&self) -> Result<()> {
        self.app.db.write_reserved(|tx| {
            for task in queries::running(tx)? {
                let again = self.kind(&task.kind).is_some_and(|k| k.idempotent) && !task.cancel_asked;
                if again && task.attempt < ATTEMPTS_MAX {
                    queries::requeue(tx, task.id, None, None)?;
                } else {
                    let say = "Lamplighter stopped while this ran. Check the server, then run it again.";
                    let why = Some(("interrupted", say));
                    queue::end(tx, &self.app.wakes, &task, Status::Interrupted, task.changed, why)?;
                }
            }
            Ok(())
        })
    }

    fn work_loop(&self) {
        let wake = &self.app.wakes.tasks;
        while !self.stopping() {
            let seen = wake.count();
            let claimed = self.claim();
            *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = claimed.as_ref().err().cloned();
            match claimed {
                Ok(Some(task)) => {
                    self.run(&task);
                    wake.ring(); // its resources are free: another worker may take the next task
                }
                Ok(None) => drop(wake.wait(seen, LOOK_AGAIN)),
                Err(e) => {
                    daemon_log::error("task", "cannot claim tasks", &[("error", &e.to_string())]);
                    wake.wait(seen, LOOK_AGAIN);
                }
            }
        }
    }

    fn claim(&self) -> Result<Option<Task>> {
        // The time is taken inside: what this one waited for ended before it begins, in the rows as well.
        (self.app.db).write(|tx| claim::next(tx, &self.kinds, self.limits, clock::now()))
    }

    /// Cancels tasks that were asked to end, by this process or another, and those over their deadline.
    fn keep_loop(&self, workers: usize) {
        let wake = &self.app.wakes.tasks;
        while !self.stopping() {
            let seen = wake.count();
            // Errors here are reported by health, and logged where they occurred.
            let _ = self.app.pulses.round(PULSE.0, PULSE.1, || self.keep(workers));
            wake.wait(seen, LOOK_AGAIN);
        }
    }

    fn keep(&self, workers: usize) -> Result<()> {
        wait::tend(&self.app, clock::now())?;
        let running = self.running().clone();
        let now = clock::mono();
        if !running.is_empty() {
            let asked = self.app.db.read(queries::cancel_asked)?;
            let ends = |id, until| asked.contains(id) || until <= now;
            for (_, running) in running.iter().filter(|(id, r)| ends(id, r.until)) {
                running.cancel.cancel();
            }
        }
        let alive = Arc::strong_count(&self.alive) - 1;
        if alive < workers {
            return Err(Error::internal(format!("{alive} of {workers} workers are left")));
        }
        if let Some((id, _)) = running.iter().find(|(_, r)| now > r.until + END_MAX) {
            return Err(Error::internal(format!("task {id} does not end")));
        }
        match &*self.fault.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(e) => Err(e.clone()),
            None => Ok(()),
        }
    }

    fn run(&self, task: &Task) {
        let cancel = Cancel::new();
        let result = match self.kind(&task.kind) {
            Some(kind) => self.run_watched(task, kind, &cancel),
            None => Err(Error::internal(format!("no task kind {}", task.kind))),
        };
        let mut ended = self.end(task, result, &cancel);
        // The transaction of a task's result may fail (its server was changed, the disk is full): then the task fails
        // with that error. It is retried until stored; until then its resources stay locked. After a stop the next
        // start adopts the task.
        while let Err(e) = ended {
            daemon_log::error(
                "task",
                "cannot store the result of a task",
                &[("task", &task.id.to_string()), ("error", &e.to_string())],
            );
            if self.stopping() {
                break;
            }
            let wake = &self.app.wakes.tasks;
            ended = self.end(task, Err(e), &cancel);
            if ended.is_err() {
                wake.wait(wake.count(), LOOK_AGAIN);
            }
        }
        self.app.wakes.log(task.id).ring();
    }

    fn run_watched(&self, task: &Task, kind: &Kind, cancel: &Cancel) -> Result<Outcome> {
        let running = Running {
            cancel: cancel.clone(),
            until: clock::mono() + kind.deadline,
        };
        self.running().insert(task.id, running);
        if self.stopping() {
            cancel.cancel(); // stop() may have checked before we were in the list
        }
        let result = self.run_kind(task, kind, cancel);
        self.running().remove(&task.id);
        result
    }

    fn run_kind(&self, task: &Task, kind: &Kind, cancel: &Cancel) -> Result<Outcome> {
        let log = Log::start(self.app.db.clone(), self.app.wakes.log(task.id), task.id)?;
        let run = Run {
            app: &self.app,
            task,
            log: &log,
            cancel,
        };
        let result = catch_unwind(AssertUnwindSafe(|| (kind.run)(&run)))
            .unwrap_or_else(|_| Err(Error::internal(format!("task {} panicked", task.kind))));
        match &result {
            Ok(done) if done.changed == 0 => log.say("Done: nothing had to be changed."),
            Ok(done) => log.say(&format!("Done: {} changed.", done.changed)),
            Err(e) => log.line("error", "task", "", &e.say),
        }
        if let Some(pause) = result.as_ref().err().and_then(|e| self.pause_after(task, e, cancel)) {
            let (n, max, s) = (task.attempt, kind.tries.max, pause.as_secs());
            log.say(&format!("That was try {n} of {max}. The next one is in {s} s."));
        }
        result
    }

    /// Pause before the next try of this task after this failure, if there is one.
    fn pause_after(&self, task: &Task, e: &Error, cancel: &Cancel) -> Option<Duration> {
        let tries = &self.kind(&task.kind)?.tries;
        tries.pause_after(e, task.attempt).filter(|_| !cancel.is_cancelled())
    }

    fn end(&self, task: &Task, result: Result<Outcome>, cancel: &Cancel) -> Result<()> {
        let wakes = &self.app.wakes;
        let done = match result {
            Ok(done) => done,
            Err(e) => return self.end_failed(task, &e, cancel),
        };
        self.app.db.write(|tx| {
            if let Some(commit) = done.commit {
                commit(tx)?;
            }
            queue::own_part_done(tx, wakes, task, done.changed)
        })
    }

    fn end_failed(&self, task: &Task, e: &Error, cancel: &Cancel) -> Result<()> {
        let was_cancelled = cancel.is_cancelled() && e.code == "cancelled";
        daemon_log::warning(
            "task",
            "failed",
            &[
                ("task", &task.id.to_string()),
                ("kind", &task.kind),
                ("error", &e.to_string()),
            ],
        );
        let kind = self.kind(&task.kind);
        let pause = self.pause_after(task, e, cancel);
        self.app.db.write_reserved(|tx| {
            let asked = queries::is_cancel_asked(tx, task.id)?;
            let (status, code, say) = match was_cancelled {
                false if !asked && pause.is_some() => {
                    let at = pause.map(|pause| clock::now() + pause.as_millis() as Ms);
                    return queries::requeue(tx, task.id, at, Some(e));
                }
                false => (Status::Failed, e.code, e.say.clone()),
                true if asked => (Status::Cancelled, e.code, e.say.clone()),
                true if self.stopping() && kind.is_some_and(|k| k.idempotent) => {
                    return queries::requeue(tx, task.id, None, None);
                }
                true if self.stopping() => {
                    let say = "Lamplighter was stopped while this ran. Run it again.";
                    (Status::Interrupted, "interrupted", say.to_string())
                }
                true => {
                    let limit_s = kind.map_or(0, |k| k.deadline.as_secs());
                    let say = format!("It was ended because it took longer than {limit_s} s.");
                    (Status::Failed, "task_deadline", say)
                }
            };
            queue::end(tx, &self.app.wakes, task, status, 0, Some((code, &say)))
        })
    }
}
