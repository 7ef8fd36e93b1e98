//! What a task waits for before a worker may take it: approval, time window, retry, its parent, tasks that hold its
//! resources.

use super::{Status, Task, claim, conflict, queries, queue};
use crate::access::Allowed;
use crate::access::allowed::CLI;
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

/// Why a task has not begun or not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Approval by another person.
    Approval,
    /// Its time window.
    Window,
    /// Its parent has not begun.
    Parent,
    /// The pause before a retry.
    Retry,
    /// Other tasks hold its resources or waited for them earlier.
    Tasks,
    /// All workers that may take it are busy.
    Worker,
    /// Its children.
    Children,
}
described!(Reason: "approval", "window", "parent", "retry", "tasks", "worker", "children");

/// State of a waiting task.
pub struct Waiting {
    /// Reason.
    pub reason: Reason,
    /// Latest end (approval) or earliest end (window, retry) of the wait; unix ms.
    pub until: Option<Ms>,
    /// The tasks it waits for; at most 20.
    pub tasks: Vec<Task>,
}

/// Limit of [`Waiting::tasks`].
const TASKS_MAX: usize = 20;
/// Limit of a person's reason in bytes.
const REASON_MAX: usize = 500;

/// What this task waits for now; `None` if it runs or has ended.
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

/// Who may approve a task: whoever could enqueue it.
pub type Approver<'a> = Allowed<'a, Deploy, Servers>;

/// Approves a task; not by the person who enqueued it. Error: forbidden, or it does not wait.
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

/// Refuses a task that waits for approval; `why` may be empty. Error: it does not wait.
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
    if by.via == CLI {
        let say = "A person with an account has to decide on this: the command line is none.";
        return Err(Error::new(Kind::Forbidden, "cli_approval", say));
    }
    if task.created_by == by.actor {
        let say = "The person who asked for a task cannot approve it. Another person must.";
        return Err(Error::new(Kind::Forbidden, "own_approval", say));
    }
    queries::set_decided(tx, id, by.actor, clock::now())?;
    let data = serde_json::json!({ "kind": task.kind, "target": task.target.2, "reason": why });
    audit::append(tx, &app.vault, by, action, &format!("task {id}"), &data)?;
    Ok(task)
}

/// Continues tasks whose wait is over: a time window that began, an approval or window that expired.
pub(super) fn tend(app: &App, now: Ms) -> Result<()> {
    if app.db.read(|conn| queries::overdue(conn, now))?.is_empty() {
        return Ok(());
    }
    app.db.write_reserved(|tx| {
        for task in queries::overdue(tx, now)? {
            // It may have ended with another one.
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
                end("approval_expired", "It was not approved in time.")?;
            } else {
                queries::set_status(tx, task.id, Status::Queued)?;
                queue::ring(tx, &app.wakes.tasks);
            }
        }
        Ok(())
    })
}
