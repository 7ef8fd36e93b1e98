//! Tasks as people see them: lists, steps, and the log, live or whole.

mod settings;
mod stream;
pub mod api;
pub mod pages;

use crate::base::clock::{self, DAY};
use crate::base::shape::described;
use crate::feature::Feature;
use crate::schedule::{Periodic, Work};
use crate::task::{Row, Status, queue};
use std::time::Duration;

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    pages: pages::ROUTES,
    periodic: PERIODIC,
    settings: settings::SETTINGS,
    ..Feature::named("tasks")
};

const PERIODIC: &[Periodic] = &[Periodic {
    name: "tasks.purge",
    every: Duration::from_secs(3600),
    run: Work::Short(|app| {
        let keep = app.db.read(|conn| {
            Ok(queue::Keep {
                since: clock::now() - settings::RETENTION_TASK_DAYS.number(conn)? * DAY,
                tasks_max: settings::RETENTION_TASKS_MAX.number(conn)?,
                lines_max: settings::RETENTION_LOG_LINES_MAX.number(conn)?,
            })
        })?;
        queue::clean_up(&app.db, keep).map(drop)
    }),
}];

described! {
    /// How a task ended, for machines.
    pub struct Outcome<'a> {
        status: Status,
        /// 0: well; 1: not.
        rc: i64,
        /// What it has changed.
        changed: i64,
        /// `None`: it was never begun.
        duration_ms: Option<i64>,
        error: Option<Failure<'a>>,
    }

    /// Why it failed.
    pub struct Failure<'a> {
        code: &'a str,
        message: &'a str,
    }
}

/// See [`Outcome`].
pub fn outcome(row: &Row) -> Outcome<'_> {
    Outcome {
        status: row.status,
        rc: i64::from(row.status != Status::Ok),
        changed: row.changed,
        duration_ms: row.finished_at.zip(row.started_at).map(|(end, start)| end - start),
        error: row.error.as_ref().map(|(code, message)| Failure { code, message }),
    }
}
