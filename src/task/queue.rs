//! Enqueues, lists and cancels tasks.

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

/// Event of a task's end.
const ENDED: &str = "task.ended";

/// Enqueues a task in the transaction of its reason. Error `Conflict`: an equal task waits or runs; it names it (double
/// click).
pub fn enqueue<V, N>(tx: &Tx, wake: &Wake, new: &NewTask, by: Allowed<V, N>) -> Result<Id<id::Task>> {
    insert(tx, wake, new, None, Terms::default(), by.into())
}

/// As [`enqueue`], with conditions.
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

/// Wakes the workers after the commit.
pub(super) fn ring(tx: &Tx, wake: &Wake) {
    let wake = wake.clone();
    tx.after_commit(move || wake.ring());
}

/// One task. Error `NotFound`.
pub fn get(conn: &Conn, id: Id<id::Task>) -> Result<Task> {
    queries::get(conn, id)?.ok_or_else(|| Error::not_found("task"))
}

/// Ends a task: its row and event. Its parent may end with it; its children are cancelled unless it succeeded. `error`
/// is a code and a sentence.
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

/// Content of the event of a task's end.
pub struct Ended {
    /// [`super::Kind::name`].
    pub kind: String,
    /// Did it succeed?
    pub ok: bool,
    /// Target: id and name.
    pub target: (i64, String),
    /// Code and sentence if it failed or lost its worker; `None` also when a person cancelled it.
    pub failure: Option<(String, String)>,
}

impl Ended {
    /// Parses an event; `None` for other kinds.
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

/// Cancels a task: a waiting one ends at once, a running one when its worker has ended the remote work, a parent when
/// its children, which are cancelled too, have ended.
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

/// The task's own part is done: it ends, or waits for its children.
pub(super) fn own_part_done(tx: &Tx, wakes: &Wakes, task: &Task, changed: u32) -> Result<()> {
    if queries::children_by_status(tx, task.id)?.is_empty() {
        return end(tx, wakes, task, Status::Ok, i64::from(changed), None);
    }
    queries::set_changed(tx, task.id, i64::from(changed))?;
    queries::set_status(tx, task.id, Status::WaitingChildren)?;
    fold(tx, wakes, task.id)
}

/// Ends a parent if all its children have ended, or has it run again if it goes on.
fn fold(tx: &Tx, wakes: &Wakes, parent: Id<id::Task>) -> Result<()> {
    let task = get(tx, parent)?;
    let children = queries::children_by_status(tx, parent)?;
    if task.status != Status::WaitingChildren || children.iter().any(|(status, ..)| !status.is_final()) {
        return Ok(());
    }
    if !task.cancel_asked && queries::take_goes_on(tx, parent)? {
        ring(tx, &wakes.tasks);
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

/// Cancels all children of a task.
fn cancel_children(tx: &Tx, wakes: &Wakes, parent: Id<id::Task>) -> Result<()> {
    for child in queries::children(tx, parent)? {
        // A child may have ended with one before it.
        if !get(tx, child.id)?.status.is_final() {
            ask_to_end(tx, wakes, child.id)?;
        }
    }
    Ok(())
}

/// Number of tasks in each state that occurs.
pub fn counts(conn: &Conn) -> Result<Vec<(String, i64)>> {
    queries::counts(conn)
}

/// Of the newest tasks since then, at most so many: status and when it was put in, unix ms.
pub fn since(conn: &Conn, since: Ms, max: i64) -> Result<Vec<(Status, Ms)>> {
    queries::since(conn, since, max)
}

/// The tasks of a filter, newest first, and their total.
pub fn list(conn: &Conn, filter: &Filter) -> Result<(Vec<Task>, i64)> {
    queries::list(conn, filter)
}

/// Retention of ended tasks.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    /// Earliest end that is kept, unix ms.
    pub since: Ms,
    /// Maximum number of tasks.
    pub tasks_max: i64,
    /// Maximum lines of all logs together.
    pub lines_max: i64,
}

/// Removes ended tasks with their logs, oldest first, down to `keep`. Returns the number of rows.
pub fn clean_up(db: &Db, keep: Keep) -> Result<usize> {
    let surplus = db.read(|conn| queries::surplus(conn, keep.tasks_max, keep.lines_max))?;
    db.clean_up(&|tx, rows_max| queries::remove_ended(tx, keep.since, surplus, rows_max))
}

/// The newest waiting or running task of this target whose kind `fits`.
pub fn open(conn: &Conn, target: (&str, i64), fits: impl Fn(&str) -> bool) -> Result<Option<Id<id::Task>>> {
    queries::open(conn, target, fits)
}
