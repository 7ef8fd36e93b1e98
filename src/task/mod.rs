//! Long work: a row in `tasks`, claimed by one of a fixed number of threads, told line by line in `task_logs`.
//!
//! Only one process may run tasks on a data folder (the daemon holds a lock on it), so a task that is `running` when that
//! process starts has lost its worker: it runs again when its kind may run twice, else it ends as `interrupted`. In one
//! lane (usually one server) one task runs at a time, in the order of their numbers.

mod queries;
pub mod log;
pub mod queue;
pub mod worker;

use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::base::id::{Id, Task};
use crate::base::registry::Registry;
use crate::base::shape::described;
use crate::db::Tx;
use crate::lang::{Lang, words};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A kind of task: one row of a feature's `TASKS`.
pub struct Kind {
    /// `server.check_ssh`.
    pub name: &'static str,
    /// May it run again when the daemon died in the middle?
    pub twice_ok: bool,
    /// It is ended after this.
    pub deadline: Duration,
    /// The work.
    pub run: fn(&worker::Run) -> Result<Outcome>,
}

impl Kind {
    /// What people call it: `task.kind.NAME` among the words.
    pub fn title(&self, lang: Lang) -> &'static str {
        words::word(lang, &format!("task.kind.{}", self.name), None).unwrap_or(self.name)
    }
}

/// What a task came to when it did not fail.
pub struct Outcome {
    /// How many things were changed; 0 means that all was right already.
    pub changed: u32,
    /// What to write in the transaction that ends the task.
    pub commit: Option<Commit>,
}

/// See [`Outcome::commit`].
pub type Commit = Box<dyn FnOnce(&Tx) -> Result<()> + Send>;

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Waits for a worker.
    Queued,
    /// A worker has it.
    Running,
    /// Done.
    Ok,
    /// Ended with an error.
    Failed,
    /// Ended by a person.
    Cancelled,
    /// The daemon died in the middle.
    Interrupted,
}
described!(Status: "queued", "running", "ok", "failed", "cancelled", "interrupted");

impl Status {
    /// All of them, as stored and shown.
    pub const NAMES: [(Status, &'static str); 6] = [
        (Status::Queued, "queued"),
        (Status::Running, "running"),
        (Status::Ok, "ok"),
        (Status::Failed, "failed"),
        (Status::Cancelled, "cancelled"),
        (Status::Interrupted, "interrupted"),
    ];

    /// As stored and shown.
    pub fn name(self) -> &'static str {
        Status::NAMES[self as usize].1
    }

    /// Reads a status' name.
    pub fn parse(name: &str) -> Option<Status> {
        Status::NAMES.iter().find(|(_, n)| *n == name).map(|(s, _)| *s)
    }

    /// Will nothing more happen?
    pub fn is_final(self) -> bool {
        !matches!(self, Status::Queued | Status::Running)
    }
}

described! {
    /// One step of a task as shown: `waiting`, `running`, `ok` (was right already), `changed`, `failed`, `skipped`.
    #[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
    pub struct StepView {
        /// Stable name.
        pub name: String,
        /// English title.
        pub title: String,
        /// See above.
        pub state: String,
        /// How long it took.
        pub ms: u64,
    }
}

/// A task's row.
#[derive(Debug, Clone)]
pub struct Row {
    /// Number.
    pub id: Id<Task>,
    /// [`Kind::name`].
    pub kind: String,
    /// What it is about: type, number, name at that time.
    pub target: (String, i64, String),
    /// JSON input.
    pub input: String,
    /// Where it stands.
    pub status: Status,
    /// How many things were changed.
    pub changed: i64,
    /// JSON array of [`StepView`].
    pub steps: String,
    /// Code and sentence of the failure.
    pub error: Option<(String, String)>,
    /// Somebody wants it to end.
    pub cancel_asked: bool,
    /// Login.
    pub created_by: String,
    /// Unix ms.
    pub created_at: i64,
    /// Unix ms.
    pub started_at: Option<i64>,
    /// Unix ms.
    pub finished_at: Option<i64>,
}

/// What a new task is.
pub struct New<'a> {
    /// [`Kind::name`].
    pub kind: &'static str,
    /// Type, number and name of what it is about.
    pub target: (&'static str, i64, &'a str),
    /// JSON; no secrets, they stay in their own tables.
    pub input: serde_json::Value,
}

/// What a list asks for; `None` and empty mean any.
#[derive(Debug, Default)]
pub struct Filter<'a> {
    /// Only these states.
    pub status: Option<Status>,
    /// Only this kind.
    pub kind: Option<&'a str>,
    /// Only about this (type and number).
    pub target: Option<(&'a str, i64)>,
    /// Part of the target's name or the kind.
    pub q: &'a str,
    /// At most so many, newest first.
    pub limit: i64,
    /// Skip so many.
    pub offset: i64,
}

/// One line as stored.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    /// 1, 2, … within the task.
    #[serde(skip)]
    pub seq: i64,
    /// Unix ms.
    #[serde(skip)]
    pub at: Ms,
    /// `info`, `warning`, `error`.
    pub level: String,
    /// `task`, `step`, `command`, `ssh`, `progress`.
    pub source: String,
    /// `stdout`, `stderr` or empty.
    pub stream: String,
    /// Text; for `progress` a JSON object `{"step","steps","name","title","state","ms"}`.
    pub line: String,
}

/// What a kind of task is called.
pub fn title(registry: &Registry, kind: &str, lang: Lang) -> String {
    let known = registry.all::<Kind>().iter().find(|k| k.name == kind);
    known.map_or(kind, |k| k.title(lang)).to_string()
}
