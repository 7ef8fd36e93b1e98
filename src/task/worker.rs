//! A fixed number of threads that take tasks in order and run them, and one keeper that hears cancellations.

use super::log::Log;
use super::{Kind, Outcome, Row, Status, queries};
use crate::app::App;
use crate::base::clock::{self, Duration};
use crate::base::error::{Error, Result};
use crate::base::id::{Id, Task};
use crate::base::log as daemon_log;
use crate::base::process::Cancel;
use crate::events::outbox;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// A lost wake-up costs at most this.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// How often a task that lost its worker is tried again.
const ATTEMPTS_MAX: i64 = 3;

/// What a kind's function gets.
pub struct Run<'a> {
    /// All machines.
    pub app: &'a App,
    /// The task's row as it was claimed.
    pub row: &'a Row,
    /// Where to tell what happens.
    pub log: &'a Log,
    /// Ends when somebody wants the task to end, when the daemon stops, or at its deadline.
    pub cancel: &'a Cancel,
    /// The kind's deadline.
    pub deadline: Duration,
}

impl Run<'_> {
    /// The number of what the task is about.
    pub fn target(&self) -> i64 {
        self.row.target.1
    }

    /// The task's input, read as `T`.
    pub fn input<T: serde::de::DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(&self.row.input)
            .map_err(|e| Error::internal(format!("input of task {}: {e}", self.row.id)))
    }
}

/// The running threads.
pub struct Workers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    app: Arc<App>,
    kinds: Vec<&'static Kind>,
    stop: AtomicBool,
    running: Mutex<HashMap<Id<Task>, Cancel>>,
}

impl Workers {
    /// Takes care of what an earlier process left behind, then starts `count` workers and the keeper.
    pub fn start(app: Arc<App>, kinds: Vec<&'static Kind>, count: usize) -> Result<Workers> {
        let shared = Arc::new(Shared {
            app,
            kinds,
            stop: AtomicBool::new(false),
            running: Mutex::default(),
        });
        shared.adopt_orphans()?;
        let mut threads = Vec::new();
        for n in 0..count {
            let shared = shared.clone();
            threads.push(
                std::thread::Builder::new()
                    .name(format!("task-{n}"))
                    .spawn(move || shared.work_loop())?,
            );
        }
        let keeper = shared.clone();
        threads.push(
            std::thread::Builder::new()
                .name("task-keeper".into())
                .spawn(move || keeper.keep_loop())?,
        );
        Ok(Workers { shared, threads })
    }

    /// Asks every running task to end and waits for the threads. What may run twice is queued again for the next start.
    pub fn stop(self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for cancel in self.shared.running().values() {
            cancel.cancel();
        }
        self.shared.app.wakes.tasks.ring();
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<Id<Task>, Cancel>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopping(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn kind(&self, name: &str) -> Option<&'static Kind> {
        self.kinds.iter().copied().find(|k| k.name == name)
    }

    fn adopt_orphans(&self) -> Result<()> {
        self.app.db.write(|tx| {
            for row in queries::running(tx)? {
                let again = self.kind(&row.kind).is_some_and(|k| k.twice_ok) && !row.cancel_asked;
                if again && queries::attempts(tx, row.id)? < ATTEMPTS_MAX {
                    queries::requeue(tx, row.id)?;
                } else {
                    let say = "Lamplighter stopped while this ran. Look at the server, then run it again.";
                    queries::finish(
                        tx,
                        row.id,
                        Status::Interrupted,
                        row.changed,
                        Some(("interrupted", say)),
                        clock::now(),
                    )?;
                }
            }
            Ok(())
        })
    }

    fn work_loop(&self) {
        let wake = &self.app.wakes.tasks;
        while !self.stopping() {
            let seen = wake.count();
            match self.app.db.write(|tx| queries::claim(tx, clock::now())) {
                Ok(Some(row)) => {
                    self.run(&row);
                    wake.ring(); // its lane is free: another worker may take the next
                }
                Ok(None) => drop(wake.wait(seen, LOOK_AGAIN)),
                Err(e) => {
                    daemon_log::error("task", "cannot look for tasks", &[("error", &e.to_string())]);
                    wake.wait(seen, LOOK_AGAIN);
                }
            }
        }
    }

    /// Cancels what somebody asked to end, in this process or another, and what is over its deadline.
    fn keep_loop(&self) {
        let wake = &self.app.wakes.tasks;
        while !self.stopping() {
            let seen = wake.count();
            if !self.running().is_empty()
                && let Ok(asked) = self.app.db.read(queries::cancel_asked)
            {
                for id in asked {
                    if let Some(cancel) = self.running().get(&id) {
                        cancel.cancel();
                    }
                }
            }
            wake.wait(seen, LOOK_AGAIN);
        }
    }

    fn run(&self, row: &Row) {
        let cancel = Cancel::new();
        self.running().insert(row.id, cancel.clone());
        if self.stopping() {
            cancel.cancel(); // stop() may have looked before we were in the list
        }
        let started = clock::mono();
        let result = self.run_kind(row, &cancel);
        self.running().remove(&row.id);
        let ms = started.elapsed().as_millis() as u64;
        if let Err(e) = self.end(row, result, &cancel, ms) {
            // The row stays `running` and is adopted at the next start: nothing is claimed that was not written.
            daemon_log::error(
                "task",
                "cannot write the outcome",
                &[("task", &row.id.to_string()), ("error", &e.to_string())],
            );
        }
        self.app.wakes.log(row.id).ring();
    }

    fn run_kind(&self, row: &Row, cancel: &Cancel) -> Result<Outcome> {
        let kind = self
            .kind(&row.kind)
            .ok_or_else(|| Error::internal(format!("no task kind {}", row.kind)))?;
        let log = Log::start(self.app.db.clone(), self.app.wakes.log(row.id), row.id)?;
        let run = Run {
            app: &self.app,
            row,
            log: &log,
            cancel,
            deadline: kind.deadline,
        };
        let result = catch_unwind(AssertUnwindSafe(|| (kind.run)(&run)))
            .unwrap_or_else(|_| Err(Error::internal(format!("task {} panicked", row.kind))));
        match &result {
            Ok(done) if done.changed == 0 => log.say("Done: nothing had to be changed."),
            Ok(done) => log.say(&format!("Done: {} changed.", done.changed)),
            Err(e) => log.line("error", "task", "", &e.say),
        }
        result
    }

    fn end(&self, row: &Row, result: Result<Outcome>, cancel: &Cancel, ms: u64) -> Result<()> {
        let id = row.id.to_string();
        let (status, changed, error, commit) = match result {
            Ok(done) => (Status::Ok, done.changed, None, done.commit),
            Err(e) => {
                daemon_log::warning(
                    "task",
                    "failed",
                    &[("task", &id), ("kind", &row.kind), ("error", &e.to_string())],
                );
                let status = if cancel.is_cancelled() && e.code == "cancelled" {
                    Status::Cancelled
                } else {
                    Status::Failed
                };
                (status, 0, Some((e.code, e.say)), None)
            }
        };
        let twice_ok = self.kind(&row.kind).is_some_and(|k| k.twice_ok);
        self.app.db.write(|tx| {
            let asked = queries::is_cancel_asked(tx, row.id)?;
            if status == Status::Cancelled && self.stopping() && !asked {
                // Nobody asked: the daemon is stopping. The next start runs it again, or says that it was interrupted.
                return match twice_ok {
                    true => queries::requeue(tx, row.id),
                    false => queries::finish(
                        tx,
                        row.id,
                        Status::Interrupted,
                        0,
                        Some(("interrupted", "Lamplighter was stopped while this ran. Run it again.")),
                        clock::now(),
                    ),
                };
            }
            if let Some(commit) = commit {
                commit(tx)?;
            }
            let told = error.as_ref().map(|(code, say)| (*code, say.as_str()));
            queries::finish(tx, row.id, status, i64::from(changed), told, clock::now())?;
            let data = serde_json::json!({
                "kind": row.kind, "status": status.name(), "changed": changed, "duration_ms": ms,
                "target_type": row.target.0, "target_id": row.target.1, "target_name": row.target.2,
                "error": told.map(|(code, say)| serde_json::json!({"code": code, "message": say})),
            });
            outbox::emit(tx, &self.app.wakes.events, "task.ended", ("task", row.id.get()), &data)
        })
    }
}
