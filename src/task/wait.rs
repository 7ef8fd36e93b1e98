//! What a task waits for before a worker may take it: an approval by another person, a window of time, a further try, its
//! parent, tasks that hold what it needs.

use super::{Status, Task, claim, conflict, queries, queue};
use crate::access::Allowed;
use crate::access::right::{Deploy, Servers};
use crate::app::App;
use crate::audit::{self, By};
use crate::base::clock::{self, Ms};
use crate::base::error::{Error, Kind, Result};
use crate::base::id::{self, Id};
use crate::base::shape::described;
use crate::base::text;
use crate::db::{Conn, Tx};
use serde::Serialize;

/// Why a task has not begun, or not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Another person is to approve it.
    Approval,
    /// Its window of time has not begun.
    Window,
    /// The task that it is a part of has not begun.
    Parent,
    /// Its last try has failed; the next one is later.
    Retry,
    /// Others work on what it needs, or waited for that before it.
    Tasks,
    /// All workers that may take it are busy.
    Worker,
    /// Its parts have not ended.
    Children,
}
described!(Reason: "approval", "window", "parent", "retry", "tasks", "worker", "children");

/// What a task waits for.
pub struct Waiting {
    /// Why.
    pub reason: Reason,
    /// Till when at the longest (approval), or at least (window, retry); unix ms.
    pub until: Option<Ms>,
    /// Whom it waits for; of many the first.
    pub tasks: Vec<Task>,
}

/// Of [`Waiting::tasks`].
const TASKS_MAX: usize = 20;
/// Bytes of a person's reason that are kept.
const REASON_MAX: usize = 500;

/// What this task waits for now; `None`: it runs, or has ended.
pub fn of(conn: &Conn, task: &Task, now: Ms) -> Result<Option<Waiting>> {
    let (reason, until, mut tasks) = match task.status {
        Status::WaitingApproval => (Reason::Approval, task.approve_until, Vec::new()),
        Status::WaitingWindow => (Reason::Window, task.not_before, Vec::new()),
        Status::WaitingChildren => {
            let mut open = queries::children(conn, task.id)?;
            open.retain(|child| !child.status.is_final());
            (Reason::Children, None, open)
        }
        Status::Queued => queued(conn, task, now)?,
        _ => return Ok(None),
    };
    tasks.truncate(TASKS_MAX);
    Ok(Some(Waiting { reason, until, tasks }))
}

fn queued(conn: &Conn, task: &Task, now: Ms) -> Result<(Reason, Option<Ms>, Vec<Task>)> {
    let parent = task.parent.map(|id| queue::get(conn, id)).transpose()?;
    if let Some(parent) = parent.filter(|parent| parent.status.is_ahead()) {
        return Ok((Reason::Parent, None, vec![parent]));
    }
    if let Some(at) = task.not_before.filter(|at| *at > now) {
        return Ok((Reason::Retry, Some(at), Vec::new()));
    }
    let blockers = claim::blockers(conn, task.id, now)?;
    let reason = if blockers.is_empty() {
        Reason::Worker
    } else {
        Reason::Tasks
    };
    Ok((reason, None, blockers))
}

/// Who may decide on a task: whoever could put one in.
pub type Approver<'a> = Allowed<'a, Deploy, Servers>;

/// Lets a task go on: by somebody who could have put it in, but not by whoever did.
pub fn approve(app: &App, tx: &Tx, id: Id<id::Task>, by: Approver) -> Result<()> {
    let task = decide(app, tx, id, "task.approve", "", by.into())?;
    let is_early = task.not_before.is_some_and(|from| from > clock::now());
    let next = if is_early {
        Status::WaitingWindow
    } else {
        Status::Queued
    };
    queries::set_status(tx, id, next)?;
    queue::ring(tx, &app.wakes.tasks);
    Ok(())
}

/// Ends a task that was to be approved; `why` is the person's own reason and may be empty.
pub fn refuse(app: &App, tx: &Tx, id: Id<id::Task>, why: &str, by: Approver) -> Result<()> {
    let why = text::one_line(why, REASON_MAX);
    let task = decide(app, tx, id, "task.refuse", &why, by.into())?;
    let say = match why.is_empty() {
        true => format!("{} has refused it.", by.actor()),
        false => format!("{} has refused it: {why}", by.actor()),
    };
    queue::end(
        tx,
        &app.wakes,
        &task,
        Status::Cancelled,
        0,
        Some(("approval_refused", &say)),
    )
}

fn decide(app: &App, tx: &Tx, id: Id<id::Task>, action: &str, why: &str, by: By) -> Result<Task> {
    let task = queue::get(tx, id)?;
    if task.status != Status::WaitingApproval {
        return Err(conflict(
            "task_not_waiting",
            format!("Task {id} does not wait for an approval."),
        ));
    }
    if task.created_by == by.actor {
        let say = "Whoever asked for a task cannot decide on it. Another person has to.";
        return Err(Error::new(Kind::Forbidden, "own_approval", say));
    }
    queries::set_decided(tx, id, by.actor, clock::now())?;
    let data = serde_json::json!({ "kind": task.kind, "target": task.target.2, "reason": why });
    audit::append(tx, &app.vault, by, action, &format!("task {id}"), &data)?;
    Ok(task)
}

/// Goes on with what has waited long enough: a window that has begun, an approval or a window that has not come to anything.
pub(super) fn tend(app: &App, now: Ms) -> Result<()> {
    if app.db.read(|conn| queries::overdue(conn, now))?.is_empty() {
        return Ok(());
    }
    app.db.write_reserved(|tx| {
        for task in queries::overdue(tx, now)? {
            // It may have ended with another one of them.
            if queue::get(tx, task.id)?.status != task.status {
                continue;
            }
            let end = |code, say| {
                queue::end(
                    tx,
                    &app.wakes,
                    &task,
                    Status::Cancelled,
                    task.changed,
                    Some((code, say)),
                )
            };
            if task.not_after.is_some_and(|to| to <= now) {
                end("window_missed", "Its window of time was over before it could begin.")?;
            } else if task.status == Status::WaitingApproval {
                end("approval_expired", "Nobody has approved it in time.")?;
            } else {
                queries::set_status(tx, task.id, Status::Queued)?;
                queue::ring(tx, &app.wakes.tasks);
            }
        }
        Ok(())
    })
}
