//! Putting tasks in, looking at them, asking them to stop.

use super::{Filter, New, Row, Status, queries};
use crate::access::Allowed;
use crate::app::Wakes;
use crate::base::clock::{self, Ms};
use crate::base::error::{Error, Kind, Result};
use crate::base::id::{Id, Task};
use crate::db::{Conn, Db, Tx};
use crate::events::outbox::{self, Event};
use crate::events::wake::Wake;

/// The event of a task's end.
const ENDED: &str = "task.ended";

/// Puts a task in, in the transaction of its reason. The lane is its target. A twin that waits or runs already is a
/// conflict that names it: a double click must not run twice.
pub fn enqueue<V, N>(tx: &Tx, wake: &Wake, new: &New, by: Allowed<V, N>) -> Result<Id<Task>> {
    if let Some(twin) = open(tx, (new.target.0, new.target.1), |kind| kind == new.kind)? {
        return Err(Error::new(
            Kind::Conflict,
            "task_open",
            format!("Task {twin} does this already. Follow it, or cancel it first."),
        ));
    }
    let id = queries::insert(tx, new, by.into(), clock::now())?;
    let wake = wake.clone();
    tx.after_commit(move || wake.ring());
    Ok(id)
}

/// One task.
pub fn get(conn: &Conn, id: Id<Task>) -> Result<Row> {
    queries::get(conn, id)?.ok_or_else(|| Error::not_found("task"))
}

/// Ends a task: its row, and the event that tells of it. `error` is a code and a sentence.
pub(super) fn end(
    tx: &Tx,
    wakes: &Wakes,
    row: &Row,
    status: Status,
    changed: u32,
    error: Option<(&str, &str)>,
) -> Result<()> {
    let now = clock::now();
    queries::finish(tx, row.id, status, i64::from(changed), error, now)?;
    let data = serde_json::json!({
        "kind": row.kind, "status": status.name(), "changed": changed, "duration_ms": row.started_at.map(|at| now - at),
        "target_type": row.target.0, "target_id": row.target.1, "target_name": row.target.2,
        "error": error.map(|(code, say)| serde_json::json!({"code": code, "message": say})),
    });
    outbox::emit(tx, &wakes.events, ENDED, ("task", row.id.get()), &data)
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

/// Asks a task to end: a waiting one ends at once, a running one as soon as its worker has ended what runs remotely.
pub fn cancel(tx: &Tx, wakes: &Wakes, id: Id<Task>) -> Result<()> {
    let row = get(tx, id)?;
    match row.status {
        Status::Queued => {
            let why = ("cancelled", "Cancelled before it began.");
            end(tx, wakes, &row, Status::Cancelled, 0, Some(why))?;
        }
        Status::Running => queries::ask_cancel(tx, id)?,
        ended => {
            return Err(Error::new(
                Kind::Conflict,
                "task_ended",
                format!("Task {id} has ended already ({}).", ended.name()),
            ));
        }
    }
    let wake = wakes.tasks.clone();
    tx.after_commit(move || wake.ring());
    Ok(())
}

/// How many tasks there are in each status that occurs.
pub fn counts(conn: &Conn) -> Result<Vec<(String, i64)>> {
    queries::counts(conn)
}

/// Newest first, and how many there are in all.
pub fn list(conn: &Conn, filter: &Filter) -> Result<(Vec<Row>, i64)> {
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
pub fn open(conn: &Conn, target: (&str, i64), fits: impl Fn(&str) -> bool) -> Result<Option<Id<Task>>> {
    queries::open(conn, target, fits)
}
