//! Tasks that are parts of another. A parent runs its own part first; while any child is not done it waits, holds neither
//! worker nor resource, and ends with the last of them: as failed when one of them failed. Children begin once their parent
//! has begun, and are cancelled with it.

use super::{NewTask, Task, Terms, conflict, queries, queue};
use crate::access::Allowed;
use crate::app::Wakes;
use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::db::{Conn, Tx};

/// Parts of parts of a task, at most.
const DEPTH_MAX: usize = 3;
/// Parts of one task, at most.
const CHILDREN_MAX: i64 = 1_000;

/// Puts a task in as a part of one that has not ended. Its parent's own run may do this, or whoever puts the parent in.
pub fn enqueue_child<V, N>(
    tx: &Tx,
    wakes: &Wakes,
    parent: Id<id::Task>,
    new: &NewTask,
    by: Allowed<V, N>,
) -> Result<Id<id::Task>> {
    let task = queue::get(tx, parent)?;
    if task.status.is_final() || task.cancel_asked {
        return Err(conflict(
            "task_ended",
            format!("Task {parent} has ended already, or is about to."),
        ));
    }
    let siblings: i64 = queries::children_by_status(tx, parent)?.iter().map(|(_, n, _)| n).sum();
    if siblings >= CHILDREN_MAX || depth(tx, task)? >= DEPTH_MAX {
        let say = format!("Task {parent} cannot have a further part: {CHILDREN_MAX} at most, {DEPTH_MAX} levels deep.");
        return Err(conflict("task_too_large", say));
    }
    queue::insert(tx, &wakes.tasks, new, Some(parent), Terms::default(), by.into())
}

fn depth(conn: &Conn, mut task: Task) -> Result<usize> {
    let mut depth = 1;
    while let Some(parent) = task.parent {
        task = queue::get(conn, parent)?;
        depth += 1;
    }
    Ok(depth)
}

/// The parts of a task, in the order they were put in.
pub fn children(conn: &Conn, parent: Id<id::Task>) -> Result<Vec<Task>> {
    queries::children(conn, parent)
}
