//! A schedule as it is stored: what a person says of it, and how far it has come.

use crate::base::clock::Ms;
use crate::base::id::{self, Id};

/// What happens when a due time was missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missed {
    /// Nothing: the next one counts.
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

    /// Reads a name.
    pub fn parse(name: &str) -> Option<Missed> {
        [Missed::Skip, Missed::Once].into_iter().find(|m| m.name() == name)
    }
}

/// What a person says of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    /// No other schedule has it.
    pub name: String,
    /// [`crate::task::Kind::name`].
    pub kind: String,
    /// Type, number and name of what the task is about.
    pub target: (String, i64, String),
    /// JSON input of the task.
    pub input: serde_json::Value,
    /// See [`super::cron::Cron::parse`].
    pub cron: String,
    /// `Europe/Berlin`.
    pub zone: String,
    /// What happens when a due time was missed.
    pub missed: Missed,
    /// Otherwise it is never due.
    pub enabled: bool,
}

/// A schedule's row.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// Number.
    pub id: Id<id::Schedule>,
    /// What a person said.
    pub fields: Fields,
    /// Login of whoever saved it last: its tasks are theirs.
    pub owner: String,
    /// The due time that was dealt with last, unix ms.
    pub last_due: Option<Ms>,
    /// What came of it: `queued`, `skipped` (missed), `open` (the last task had not ended), `failed`.
    pub last_result: String,
    /// Why, if it was not queued.
    pub last_say: String,
    /// The last task.
    pub last_task: Option<Id<id::Task>>,
    /// When it is due next, unix ms; none when it is off.
    pub next_run: Option<Ms>,
}
