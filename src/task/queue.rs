//! Putting tasks in, looking at them, asking them to stop.

use super::{Filter, New, Row, Status, queries};
use crate::audit::By;
use crate::base::clock::{self, Ms};
use crate::base::error::{Error, Kind, Result};
use crate::base::id::{Id, Task};
use crate::db::{Conn, Tx};
use crate::events::wake::Wake;

/// Puts a task in, in the transaction of its reason. The lane is its target. A twin that waits or runs already is a
/// conflict that names it: a double click must not run twice.
pub fn enqueue(tx: &Tx, wake: &Wake, new: &New, by: By) -> Result<Id<Task>> {
    if let Some(twin) = open_for(tx, new.target.0, new.target.1, Some(new.kind))? {
        return Err(Error::new(
            Kind::Conflict,
            "task_open",
            format!("Task {twin} does this already. Follow it, or cancel it first."),
        ));
    }
    let id = queries::insert(tx, new, by, clock::now())?;
    let wake = wake.clone();
    tx.after_commit(move || wake.ring());
    Ok(id)
}

/// One task.
pub fn get(conn: &Conn, id: Id<Task>) -> Result<Row> {
    queries::get(conn, id)?.ok_or_else(|| Error::not_found("task"))
}

/// Asks a task to end: a waiting one ends at once, a running one as soon as its worker has ended what runs remotely.
pub fn cancel(tx: &Tx, wake: &Wake, id: Id<Task>) -> Result<()> {
    let row = get(tx, id)?;
    match row.status {
        Status::Queued => queries::finish(
            tx,
            id,
            Status::Cancelled,
            0,
            Some(("cancelled", "Cancelled before it began.")),
            clock::now(),
        )?,
        Status::Running => queries::ask_cancel(tx, id)?,
        ended => {
            return Err(Error::new(
                Kind::Conflict,
                "task_ended",
                format!("Task {id} has ended already ({}).", ended.name()),
            ));
        }
    }
    let wake = wake.clone();
    tx.after_commit(move || wake.ring());
    Ok(())
}

/// Newest first, and how many there are in all.
pub fn list(conn: &Conn, filter: &Filter) -> Result<(Vec<Row>, i64)> {
    queries::list(conn, filter)
}

/// Removes ended tasks (with their logs) that ended before `before`.
pub fn purge(tx: &Tx, before: Ms) -> Result<usize> {
    queries::purge(tx, before)
}

/// The newest task about this (of this kind, if one is given) that waits or runs.
pub fn open_for(conn: &Conn, target_type: &str, target_id: i64, kind: Option<&str>) -> Result<Option<Id<Task>>> {
    queries::open_for(conn, target_type, target_id, kind)
}
