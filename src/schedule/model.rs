//! A stored schedule: what a person set, and how far it has come.

use crate::base::clock::Ms;
use crate::base::id::{self, Id};

/// Policy for missed times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missed {
    /// Skip: wait for the next time.
    Skip,
    /// One task for all that were missed.
    Once,
}

impl Missed {
    /// As stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Missed::Skip => "skip",
            Missed::Once => "once",
        }
    }

    /// Parses a name.
    pub fn parse(name: &str) -> Option<Missed> {
        [Missed::Skip, Missed::Once].into_iter().find(|m| m.name() == name)
    }
}

/// What a person sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    /// Unique name.
    pub name: String,
    /// [`crate::task::Kind::name`].
    pub kind: String,
    /// Target of the task: type, id, name.
    pub target: (String, i64, String),
    /// JSON input of the task.
    pub input: serde_json::Value,
    /// Cron expression ([`super::cron::Cron::parse`]).
    pub cron: String,
    /// Time zone: `Europe/Berlin`.
    pub zone: String,
    /// Policy for missed times.
    pub missed: Missed,
    /// Is it active?
    pub enabled: bool,
}

/// A schedule's row.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// Id.
    pub id: Id<id::Schedule>,
    /// What a person set.
    pub fields: Fields,
    /// Login of whoever saved it last: creator of its tasks.
    pub owner: String,
    /// The last due time that was handled, unix ms.
    pub last_due: Option<Ms>,
    /// Its result: `queued`, `skipped` (missed), `open` (the last task had not ended), `failed`.
    pub last_result: String,
    /// The reason, if it was not queued.
    pub last_say: String,
    /// The last task.
    pub last_task: Option<Id<id::Task>>,
    /// Next due time, unix ms; `None` when it is off.
    pub next_run: Option<Ms>,
}
