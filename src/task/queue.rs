//! Putting tasks in, listing them, asking them to stop.

use super::{Filter, NewTask, Status, Task, Terms, conflict, queries};
use crate::access::Allowed;
use crate::access::right::{Run, Tasks};
use crate::app::Wakes;
use crate::audit::By;
use crate::base::clock::{self, Ms};
use crate::base::error::{Error, Result};
use crate::base::id::{self, Id};
use crate::db::{Conn, Db, Tx};
use crate::events::outbox::{self, Event};
use crate::events::wake::Wake;

/// The event of a task's end.
const ENDED: &str = "task.ended";

/// Puts a task in, in the transaction of its reason. A twin that waits or runs already is a conflict that names it: a
/// double click must not run twice.
pub fn enqueue<V, N>(tx: &Tx, wake: &Wake, new: &NewTask, by: Allowed<V, N>) -> Result<Id<id::Task>> {
    insert(tx, wake, new, None, Terms::default(), by.into())
}

/// As [`enqueue`], but it waits for what `terms` ask.
pub fn enqueue_on<V, N>(tx: &Tx, wake: &Wake, new: &NewTask, terms: Terms, by: Allowed<V, N>) -> Result<Id<id::Task>> {
    insert(tx, wake, new, None, terms, by.into())
}

pub(super) fn insert(
    tx: &Tx,
    wake: &Wake,
    new: &NewTask,
    parent: Option<Id<id::Task>>,
    terms: Terms,
    by: By,
) -> Result<Id<id::Task>> {
    if let Some(twin) = open(tx, (new.target.0, new.target.1), |kind| kind == new.kind)? {
        let say = format!("Task {twin} does this already. Follow it, or cancel it first.");
        return Err(conflict("task_open", say));
    }
    let now = clock::now();
    let status = match terms {
        Terms {
            approve_until: Some(_), ..
        } => Status::WaitingApproval,
        Terms {
            window: Some((from, _)),
            ..
        } if from > now => Status::WaitingWindow,
        _ => Status::Queued,
    };
    let place = queries::Place { parent, status, terms };
    let id = queries::insert(tx, new, &place, by, now)?;
    ring(tx, wake);
    Ok(id)
}

/// Wakes the workers once this transaction is there for them to see.
pub(super) fn ring(tx: &Tx, wake: &Wake) {
    let wake = wake.clone();
    tx.after_commit(move || wake.ring());
}

/// One task.
pub fn get(conn: &Conn, id: Id<id::Task>) -> Result<Task> {
    queries::get(conn, id)?.ok_or_else(|| Error::not_found("task"))
}

/// Ends a task: its row, and the event that tells of it; what it is a part of may end with it, and what is a part of it ends
/// with it unless all went well. `error` is a code and a sentence.
pub(super) fn end(
    tx: &Tx,
    wakes: &Wakes,
    task: &Task,
    status: Status,
    changed: i64,
    error: Option<(&str, &str)>,
) -> Result<()> {
    let now = clock::now();
    queries::finish(tx, task.id, status, changed, error, now)?;
    let data = serde_json::json!({
        "kind": task.kind, "status": status.name(), "changed": changed, "duration_ms": task.started_at.map(|at| now - at),
        "target_type": task.target.0, "target_id": task.target.1, "target_name": task.target.2,
        "error": error.map(|(code, say)| serde_json::json!({"code": code, "message": say})),
    });
    outbox::emit(tx, &wakes.events, ENDED, ("task", task.id.get()), &data)?;
    if status != Status::Ok {
        cancel_children(tx, wakes, task.id)?;
    }
    match task.parent {
        Some(parent) => fold(tx, wakes, parent),
        None => Ok(()),
    }
}

/// What the event of a task's end tells.
pub struct Ended {
    /// [`super::Kind::name`].
    pub kind: String,
    /// Ended well?
    pub ok: bool,
    /// What it was about: number and name.
    pub target: (i64, String),
    /// Code and sentence, when it failed or lost its worker. A person's cancel is neither good nor a failure.
    pub failure: Option<(String, String)>,
}

impl Ended {
    /// Reads it off an event; of any other event it is nothing.
    pub fn of(event: &Event) -> Option<Ended> {
        if event.kind != ENDED {
            return None;
        }
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_string();
        let data = &event.data;
        let status = Status::parse(&text(&data["status"]))?;
        let failed = matches!(status, Status::Failed | Status::Interrupted);
        Some(Ended {
            kind: text(&data["kind"]),
            ok: status == Status::Ok,
            target: (data["target_id"].as_i64()?, text(&data["target_name"])),
            failure: failed.then(|| (text(&data["error"]["code"]), text(&data["error"]["message"]))),
        })
    }
}

/// Asks a task to end: a waiting one ends at once, a running one as soon as its worker has ended what runs remotely, one
/// that waits for its children when they have ended, which are asked, too.
pub fn cancel(tx: &Tx, wakes: &Wakes, id: Id<id::Task>, _by: Allowed<Run, Tasks>) -> Result<()> {
    ask_to_end(tx, wakes, id)
}

fn ask_to_end(tx: &Tx, wakes: &Wakes, id: Id<id::Task>) -> Result<()> {
    let task = get(tx, id)?;
    match task.status {
        status if status.is_ahead() => {
            let why = ("cancelled", "Cancelled before it began.");
            end(tx, wakes, &task, Status::Cancelled, task.changed, Some(why))?;
        }
        Status::Running | Status::WaitingChildren => {
            queries::ask_cancel(tx, id)?;
            cancel_children(tx, wakes, id)?;
        }
        ended => {
            let say = format!("Task {id} has ended already ({}).", ended.name());
            return Err(conflict("task_ended", say));
        }
    }
    ring(tx, &wakes.tasks);
    Ok(())
}

/// A task's own part is done: the end, or it waits for its children.
pub(super) fn own_part_done(tx: &Tx, wakes: &Wakes, task: &Task, changed: u32) -> Result<()> {
    if queries::children_by_status(tx, task.id)?.is_empty() {
        return end(tx, wakes, task, Status::Ok, i64::from(changed), None);
    }
    queries::set_changed(tx, task.id, i64::from(changed))?;
    queries::set_status(tx, task.id, Status::WaitingChildren)?;
    fold(tx, wakes, task.id)
}

/// Ends a task that waits for its children, if all of them have ended.
fn fold(tx: &Tx, wakes: &Wakes, parent: Id<id::Task>) -> Result<()> {
    let task = get(tx, parent)?;
    let children = queries::children_by_status(tx, parent)?;
    if task.status != Status::WaitingChildren || children.iter().any(|(status, ..)| !status.is_final()) {
        return Ok(());
    }
    let count = |wanted: &[Status]| -> i64 {
        let these = children.iter().filter(|(status, ..)| wanted.contains(status));
        these.map(|(_, n, _)| n).sum()
    };
    let all: i64 = children.iter().map(|(_, n, _)| n).sum();
    let changed = task.changed + children.iter().map(|(.., changed)| changed).sum::<i64>();
    let failed = count(&[Status::Failed, Status::Interrupted]);
    let cancelled = count(&[Status::Cancelled]);
    let (status, why) = match (task.cancel_asked, failed, cancelled) {
        (true, ..) | (_, 0, 1..) => {
            let say = format!("{cancelled} of its {all} parts were cancelled.");
            (Status::Cancelled, Some(("cancelled", say)))
        }
        (_, 0, _) => (Status::Ok, None),
        _ => {
            let say = format!("{failed} of its {all} parts failed. Each of them has a log of its own.");
            (Status::Failed, Some(("parts_failed", say)))
        }
    };
    let why = why.as_ref().map(|(code, say)| (*code, say.as_str()));
    end(tx, wakes, &task, status, changed, why)
}

/// Asks all parts of a task to end.
fn cancel_children(tx: &Tx, wakes: &Wakes, parent: Id<id::Task>) -> Result<()> {
    for child in queries::children(tx, parent)? {
        // A part may have ended with one of those before it.
        if !get(tx, child.id)?.status.is_final() {
            ask_to_end(tx, wakes, child.id)?;
        }
    }
    Ok(())
}

/// How many tasks there are in each status that occurs.
pub fn counts(conn: &Conn) -> Result<Vec<(String, i64)>> {
    queries::counts(conn)
}

/// Newest first, and how many there are in all.
pub fn list(conn: &Conn, filter: &Filter) -> Result<(Vec<Task>, i64)> {
    queries::list(conn, filter)
}

/// How long ended tasks are kept, and how much of them.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    /// What ended before goes.
    pub since: Ms,
    /// Tasks.
    pub tasks_max: i64,
    /// Lines of all their logs together.
    pub lines_max: i64,
}

/// Removes ended tasks with their logs, the oldest first, until the rest is within `keep`. Says how many rows that were.
pub fn clean_up(db: &Db, keep: Keep) -> Result<usize> {
    let surplus = db.read(|conn| queries::surplus(conn, keep.tasks_max, keep.lines_max))?;
    db.clean_up(&|tx, rows_max| queries::remove_ended(tx, keep.since, surplus, rows_max))
}

/// The newest task about this type and number that waits or runs and whose kind `fits`.
pub fn open(conn: &Conn, target: (&str, i64), fits: impl Fn(&str) -> bool) -> Result<Option<Id<id::Task>>> {
    queries::open(conn, target, fits)
}
