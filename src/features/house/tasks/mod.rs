//! Tasks for people: lists, steps, and the log, live or whole.

mod settings;
mod events;
mod stream;
mod widgets;
mod api;
mod pages;

pub use widgets::{Problem, TaskRow, glyph, step_title, task_row};

use crate::access::right;
use crate::base::clock::{self, DAY};
use crate::base::id::Id;
use crate::base::shape::described;
use crate::feature::Feature;
use crate::feature::{Hit, Source};
use crate::http::menu::Entry;
use crate::http::page;
use crate::schedule::{Periodic, Work};
use crate::task::{self, Status, Task, queue};
use std::time::Duration;

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    pages: pages::ROUTES,
    cards: pages::CARDS,
    periodic: PERIODIC,
    settings: settings::SETTINGS,
    kinds: events::KINDS,
    menu: MENU,
    search: SEARCH,
    ..Feature::named("tasks")
};

const SEARCH: &[Source] = &[Source {
    kind: "tasks",
    place: 6,
    right: right::may(right::Read, right::Tasks),
    list: Some("/tasks"),
    find: |ctx, q, limit| {
        let filter = task::Filter {
            q,
            limit,
            ..Default::default()
        };
        let (mut tasks, mut all) = ctx.app.db.read(|conn| queue::list(conn, &filter))?;
        // A number finds its task.
        if let Some(id) = Id::parse(q.trim_start_matches('#'))
            && let Ok(task) = ctx.app.db.read(|conn| queue::get(conn, id))
        {
            all += 1;
            tasks.push(task);
        }
        let lang = page::lang(ctx.request, ctx.maybe_actor());
        let hit = |t: Task| Hit {
            name: format!("{}: {}", t.target.2, task::title(&ctx.app.registry, &t.kind, lang)),
            detail: format!("#{}", t.id),
            href: format!("/tasks/{}", t.id),
        };
        Ok((tasks.into_iter().map(hit).collect(), all))
    },
}];

const MENU: &[Entry] = &[Entry {
    path: "/tasks",
    word: "logs",
    icon: "log",
    keys: "g l",
    right: right::may(right::Read, right::Tasks),
    place: (3, 1),
    dock: "tasks",
    ..Entry::NEW
}];

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
    /// Outcome of a task, for machines.
    pub struct Outcome<'a> {
        status: Status,
        /// 0: succeeded; 1: not.
        rc: i64,
        /// Number of changes.
        changed: i64,
        /// `None`: it never began.
        duration_ms: Option<i64>,
        error: Option<Failure<'a>>,
    }

    /// Why it failed.
    pub struct Failure<'a> {
        code: &'a str,
        message: &'a str,
    }
}

/// The [`Outcome`] of a task.
pub fn outcome(task: &Task) -> Outcome<'_> {
    Outcome {
        status: task.status,
        rc: i64::from(task.status != Status::Ok),
        changed: task.changed,
        duration_ms: task.finished_at.zip(task.started_at).map(|(end, start)| end - start),
        error: task.error.as_ref().map(|(code, message)| Failure { code, message }),
    }
}
