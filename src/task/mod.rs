//! Tasks: long work as rows in `tasks`, claimed by a fixed number of threads and logged line by line in `task_logs`.
//!
//! Only one process may run tasks on a data folder (the daemon holds a lock), so a task that is `running` at start has
//! lost its worker: it runs again if its kind is idempotent, else it ends as `interrupted`.
//!
//! A task begins when its resources (its target and what its kind adds: a domain's servers) are free, all at once, in
//! the order of ids, and its class has capacity. Before that it may wait for an approval or a time window, after that
//! for its children.

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

use crate::access::Right;
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
    /// May it run again after the daemon died in the middle? A second run must find done what the first has done.
    pub idempotent: bool,
    /// How long it usually takes.
    pub class: Class,
    /// Time limit.
    pub deadline: Duration,
    /// Retry policy.
    pub tries: Tries,
    /// May it be scheduled by people, and by whom?
    pub by_clock: Option<ByClock>,
    /// Resources besides its own target, by the target's id. Determined again when it is about to begin: they may have
    /// changed.
    pub locks: fn(&Conn, i64) -> Result<Vec<Resource>>,
    /// The work.
    pub run: fn(&worker::Run) -> Result<Outcome>,
}

impl Kind {
    /// Display name: `task.kind.NAME` in the catalogue.
    pub fn title(&self, lang: Lang) -> &'static str {
        words::word(lang, &format!("task.kind.{}", self.name), None).unwrap_or(self.name)
    }

    /// [`Kind::locks`] of kinds that need only their target.
    pub const TARGET_ONLY: fn(&Conn, i64) -> Result<Vec<Resource>> = |_, _| Ok(Vec::new());
}

/// A kind of task that people may have put in by a [schedule](crate::schedule::stored), with an empty input.
#[derive(Debug, Clone, Copy)]
pub struct ByClock {
    /// The kind of its targets: a [`TargetKind`](crate::kinds::TargetKind).
    pub target: &'static str,
    /// What it takes to have such a schedule: the same as to put the task in.
    pub right: Right,
}

/// Usual duration of a kind. The longer, the fewer workers the class may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Seconds. One worker is reserved for these.
    Quick,
    /// About a minute.
    Standard,
    /// Up to half an hour.
    Long,
}

/// Retry policy; more than one try only for idempotent kinds.
pub struct Tries {
    /// Maximum tries; 1: no retry.
    pub max: u32,
    /// Pause before the second try; doubles with each further one, at most one hour.
    pub pause: Duration,
    /// Is the failure temporary?
    pub passes: fn(&Error) -> bool,
}

impl Tries {
    /// No retry.
    pub const ONCE: Tries = Tries {
        max: 1,
        pause: Duration::ZERO,
        passes: |_| false,
    };

    const PAUSE_MAX: Duration = Duration::from_secs(3_600);

    /// Pause after this failure of try `attempt` (from 1); `None`: no further try.
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

/// Something that only one task may work on at a time: kind and id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource(pub &'static str, pub i64);

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}:{}", self.0, self.1)
    }
}

/// Result of a successful task.
pub struct Outcome {
    /// Number of changes; 0: everything was right already.
    pub changed: u32,
    /// Writes in the transaction that ends the task.
    pub commit: Option<Commit>,
}

/// Callback of [`Outcome::commit`].
pub type Commit = Box<dyn FnOnce(&Tx) -> Result<()> + Send>;

/// State of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Waits for a person's approval.
    WaitingApproval,
    /// Waits for its time window.
    WaitingWindow,
    /// Waits for its resources and a worker.
    Queued,
    /// A worker has it.
    Running,
    /// Its own part is done, some children are not.
    WaitingChildren,
    /// Done.
    Ok,
    /// Ended with an error.
    Failed,
    /// Cancelled by a person, or not approved or begun in time.
    Cancelled,
    /// The daemon died while it ran.
    Interrupted,
}

described!(Status: "waiting_approval", "waiting_window", "queued", "running", "waiting_children", "ok", "failed", "cancelled", "interrupted");

impl Status {
    /// Names as stored and shown.
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

    /// Name as stored and shown.
    pub fn name(self) -> &'static str {
        Status::NAMES[self as usize].1
    }

    /// Parses a name.
    pub fn parse(name: &str) -> Option<Status> {
        Status::NAMES.iter().find(|(_, n)| *n == name).map(|(s, _)| *s)
    }

    /// Has the task ended?
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
        /// State as above.
        pub state: String,
        /// Duration in ms.
        pub ms: u64,
    }
}

/// A task's row.
#[derive(Debug, Clone)]
pub struct Task {
    /// Id.
    pub id: Id<id::Task>,
    /// [`Kind::name`].
    pub kind: String,
    /// Target: type, id, name at that time.
    pub target: (String, i64, String),
    /// Parent task.
    pub parent: Option<Id<id::Task>>,
    /// JSON input.
    pub input: String,
    /// State.
    pub status: Status,
    /// End of the wait for approval, unix ms.
    pub approve_until: Option<Ms>,
    /// Not begun before this (time window, retry), unix ms.
    pub not_before: Option<Ms>,
    /// Not begun after this, unix ms.
    pub not_after: Option<Ms>,
    /// Login of whoever approved or refused it.
    pub decided_by: Option<String>,
    /// Number of changes.
    pub changed: i64,
    /// JSON array of [`StepView`].
    pub steps: String,
    /// Code and sentence of the failure; of a queued task: of its last try.
    pub error: Option<(String, String)>,
    /// Number of tries.
    pub attempt: i64,
    /// Was it asked to cancel?
    pub cancel_asked: bool,
    /// Login of its creator.
    pub created_by: String,
    /// When it was enqueued, unix ms.
    pub created_at: Ms,
    /// When it began, unix ms.
    pub started_at: Option<Ms>,
    /// When it ended, unix ms.
    pub finished_at: Option<Ms>,
}

/// A task to enqueue.
pub struct NewTask<'a> {
    /// [`Kind::name`].
    pub kind: &'static str,
    /// Target: type, id, name.
    pub target: (&'a str, i64, &'a str),
    /// JSON; no secrets, they stay in their own tables.
    pub input: serde_json::Value,
}

/// Conditions before a new task is queued.
#[derive(Debug, Default, Clone, Copy)]
pub struct Terms {
    /// Needs another person's approval until then, unix ms.
    pub approve_until: Option<Ms>,
    /// Time window for its start: from, to; unix ms.
    pub window: Option<(Ms, Ms)>,
}

/// Filter of a list; `None` and empty mean any.
#[derive(Debug, Default)]
pub struct Filter<'a> {
    /// Only these states.
    pub status: Option<Status>,
    /// Only this state.
    pub kind: Option<&'a str>,
    /// Only this target (type and id).
    pub target: Option<(&'a str, i64)>,
    /// Only children of this task.
    pub parent: Option<Id<id::Task>>,
    /// Part of the target's name or the kind.
    pub q: &'a str,
    /// Page size; newest first.
    pub limit: i64,
    /// Rows to skip.
    pub offset: i64,
}

/// A stored line of a log.
#[derive(Debug, Clone, Serialize)]
pub struct LogLine {
    /// Number within the task, from 1.
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

/// Display name of a kind.
pub fn title(registry: &Registry, kind: &str, lang: Lang) -> String {
    let known = registry.all::<Kind>().iter().find(|k| k.name == kind);
    known.map_or(kind, |k| k.title(lang)).to_string()
}

/// Error: the task's state does not allow this.
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
