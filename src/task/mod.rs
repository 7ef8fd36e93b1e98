//! Long work: a row in `tasks`, claimed by one of a fixed number of threads, told line by line in `task_logs`.
//!
//! Only one process may run tasks on a data folder (the daemon holds a lock on it), so a task that is `running` when that
//! process starts has lost its worker: it runs again when its kind is idempotent, else it ends as `interrupted`.
//!
//! A task begins when nothing it needs is taken: its resources (its own target, and what its kind adds: a domain's servers)
//! are had all at once or not at all, in the order of the tasks' numbers; and its class has a place. Before that it may
//! wait for an approval or for a window of time, and after that for its children.

mod queries;
mod claim;
pub mod log;
pub mod queue;
pub mod wait;
pub mod family;
pub mod worker;
mod progress;
#[cfg(test)]
#[path = "tests.rs"]
mod stories;

use crate::base::clock::Ms;
use crate::base::error::{self, Error, Result};
use crate::base::id::{self, Id};
use crate::base::registry::Registry;
use crate::base::shape::described;
use crate::db::{Conn, Tx};
use crate::lang::{Lang, words};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// A kind of task: one row of a feature's `TASKS`.
pub struct Kind {
    /// `server.check_ssh`.
    pub name: &'static str,
    /// A second run finds done what the first has done: it may run again when the daemon died in the middle.
    pub idempotent: bool,
    /// How long it usually takes.
    pub class: Class,
    /// It is ended after this.
    pub deadline: Duration,
    /// How often it is tried.
    pub tries: Tries,
    /// What it shares with other tasks besides its own target, by the target's number. Asked again when it is about to
    /// begin: what it is about may have changed while it waited.
    pub locks: fn(&Conn, i64) -> Result<Vec<Resource>>,
    /// The work.
    pub run: fn(&worker::Run) -> Result<Outcome>,
}

impl Kind {
    /// What people call it: `task.kind.NAME` among the words.
    pub fn title(&self, lang: Lang) -> &'static str {
        words::word(lang, &format!("task.kind.{}", self.name), None).unwrap_or(self.name)
    }

    /// For [`Kind::locks`] of what needs nothing but its target.
    pub const TARGET_ONLY: fn(&Conn, i64) -> Result<Vec<Resource>> = |_, _| Ok(Vec::new());
}

/// How long a kind usually takes. The longer, the fewer of the workers it may have at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Seconds: a person looks at it. There is always a worker that takes nothing else.
    Quick,
    /// A minute or so.
    Standard,
    /// May take half an hour.
    Long,
}

/// How often a kind is tried, and which failures are worth it. More than once only what is idempotent.
pub struct Tries {
    /// 1: it fails with its first failure.
    pub max: u32,
    /// Before the second try; doubles with each further one, an hour at most.
    pub pause: Duration,
    /// Is this a failure that time may mend?
    pub passes: fn(&Error) -> bool,
}

impl Tries {
    /// The first failure is the end.
    pub const ONCE: Tries = Tries {
        max: 1,
        pause: Duration::ZERO,
        passes: |_| false,
    };

    const PAUSE_MAX: Duration = Duration::from_secs(3_600);

    /// How long to wait after this failure of try number `attempt` (from 1); `None`: it has failed for good.
    fn pause_after(&self, e: &Error, attempt: i64) -> Option<Duration> {
        let attempt = u32::try_from(attempt).ok()?.max(1);
        let again = attempt < self.max && (self.passes)(e);
        again.then(|| {
            self.pause
                .saturating_mul(1 << (attempt - 1).min(16))
                .min(Tries::PAUSE_MAX)
        })
    }
}

/// What only one task at a time may work on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource(pub &'static str, pub i64);

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}:{}", self.0, self.1)
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
    /// Nobody takes it before a person has approved it.
    WaitingApproval,
    /// Nobody takes it before its window of time has begun.
    WaitingWindow,
    /// Waits for its resources and a worker.
    Queued,
    /// A worker has it.
    Running,
    /// Its own part is done, some of its children's is not.
    WaitingChildren,
    /// Done.
    Ok,
    /// Ended with an error.
    Failed,
    /// Ended by a person, or because it was not approved or begun in time.
    Cancelled,
    /// The daemon died in the middle.
    Interrupted,
}

described!(Status: "waiting_approval", "waiting_window", "queued", "running", "waiting_children", "ok", "failed", "cancelled", "interrupted");

impl Status {
    /// All of them, as stored and shown.
    pub const NAMES: [(Status, &'static str); 9] = [
        (Status::WaitingApproval, "waiting_approval"),
        (Status::WaitingWindow, "waiting_window"),
        (Status::Queued, "queued"),
        (Status::Running, "running"),
        (Status::WaitingChildren, "waiting_children"),
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
        self as usize >= Status::Ok as usize
    }

    /// Has no worker begun it yet?
    pub fn is_ahead(self) -> bool {
        self as usize <= Status::Queued as usize
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
pub struct Task {
    /// Number.
    pub id: Id<id::Task>,
    /// [`Kind::name`].
    pub kind: String,
    /// What it is about: type, number, name at that time.
    pub target: (String, i64, String),
    /// The task that it is a part of.
    pub parent: Option<Id<id::Task>>,
    /// JSON input.
    pub input: String,
    /// Where it stands.
    pub status: Status,
    /// How long it may wait for an approval, unix ms.
    pub approve_until: Option<Ms>,
    /// It is not begun before this (a window, a further try), unix ms.
    pub not_before: Option<Ms>,
    /// Nor after this, unix ms.
    pub not_after: Option<Ms>,
    /// Login of whoever approved or refused it.
    pub decided_by: Option<String>,
    /// How many things were changed.
    pub changed: i64,
    /// JSON array of [`StepView`].
    pub steps: String,
    /// Code and sentence of the failure; of a task that is queued again: of the last try.
    pub error: Option<(String, String)>,
    /// How often it was begun.
    pub attempt: i64,
    /// Somebody wants it to end.
    pub cancel_asked: bool,
    /// Login.
    pub created_by: String,
    /// Unix ms.
    pub created_at: Ms,
    /// Unix ms.
    pub started_at: Option<Ms>,
    /// Unix ms.
    pub finished_at: Option<Ms>,
}

/// What a new task is.
pub struct NewTask<'a> {
    /// [`Kind::name`].
    pub kind: &'static str,
    /// Type, number and name of what it is about.
    pub target: (&'a str, i64, &'a str),
    /// JSON; no secrets, they stay in their own tables.
    pub input: serde_json::Value,
}

/// What must be before a new task is queued.
#[derive(Debug, Default, Clone, Copy)]
pub struct Terms {
    /// Another person approves it, until then at the latest.
    pub approve_until: Option<Ms>,
    /// It begins in this window of time: from, to.
    pub window: Option<(Ms, Ms)>,
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
    /// Only children of this one.
    pub parent: Option<Id<id::Task>>,
    /// Part of the target's name or the kind.
    pub q: &'a str,
    /// At most so many, newest first.
    pub limit: i64,
    /// Skip so many.
    pub offset: i64,
}

/// One line as stored.
#[derive(Debug, Clone, Serialize)]
pub struct LogLine {
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

/// A task is not in a state in which this can be done to it.
fn conflict(code: &'static str, say: String) -> Error {
    Error::new(error::Kind::Conflict, code, say)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_an_hour_and_only_for_what_time_may_mend() {
        let tries = Tries {
            max: 40,
            pause: Duration::from_secs(30),
            passes: |e| e.kind == error::Kind::Upstream,
        };
        let passing = Error::new(error::Kind::Upstream, "down", "Nobody answers.");
        let pauses: Vec<_> = [1, 2, 3, 7, 8, 39, 40].map(|n| tries.pause_after(&passing, n)).into();
        let s = |n| Some(Duration::from_secs(n));
        assert_eq!(pauses, [s(30), s(60), s(120), s(1_920), s(3_600), s(3_600), None]);
        assert_eq!(tries.pause_after(&conflict("no", "No.".into()), 1), None);
        assert_eq!(Tries::ONCE.pause_after(&passing, 1), None);
    }

    #[test]
    fn the_states_are_in_the_order_of_their_names() {
        for (n, (status, name)) in Status::NAMES.iter().enumerate() {
            assert_eq!(
                (*status as usize, status.name(), Status::parse(name)),
                (n, *name, Some(*status))
            );
        }
        assert!(Status::Queued.is_ahead() && !Status::Running.is_ahead());
        assert!(Status::Ok.is_final() && !Status::WaitingChildren.is_final());
    }
}
