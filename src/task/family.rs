//! Child tasks. A parent runs its own part first; while any child is unfinished it waits without worker or resources,
//! and ends with the last of them: failed if one of them failed. Children begin after their parent has begun, and are
//! cancelled with it. A parent that goes on ([`go_on`]) runs again when they have ended: so it puts in some, sees how they
//! went, and puts in the next.

use super::{NewTask, Task, Terms, conflict, queries, queue};
use crate::access::Allowed;
use crate::app::Wakes;
use crate::audit::By;
use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::db::{Conn, Tx};

/// Maximum nesting.
const DEPTH_MAX: usize = 3;
/// Maximum children of one task.
const CHILDREN_MAX: i64 = 1_000;

/// Enqueues a child of a task that has not ended; called by the parent's own run or by whoever enqueues the parent.
/// Errors: the parent has ended, too many children, too deep.
pub fn enqueue_child<V, N>(
    tx: &Tx,
    wakes: &Wakes,
    parent: Id<id::Task>,
    new: &NewTask,
    by: Allowed<V, N>,
) -> Result<Id<id::Task>> {
    let task = queue::get(tx, parent)?;
    put_in(tx, wakes, task, new, by.into())
}

/// The same by whoever has enqueued the parent, for what its own run puts in.
pub fn enqueue_part(tx: &Tx, wakes: &Wakes, parent: Id<id::Task>, new: &NewTask) -> Result<Id<id::Task>> {
    let task = queue::get(tx, parent)?;
    let login = task.created_by.clone();
    put_in(tx, wakes, task, new, By::part_of(&login))
}

/// When the children have ended the parent runs again instead of ending; said in the transaction that ends its own part.
pub fn go_on(tx: &Tx, parent: Id<id::Task>) -> Result<()> {
    queries::set_goes_on(tx, parent)
}

fn put_in(tx: &Tx, wakes: &Wakes, task: Task, new: &NewTask, by: By) -> Result<Id<id::Task>> {
    let parent = task.id;
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
    queue::insert(tx, &wakes.tasks, new, Some(parent), Terms::default(), by)
}

fn depth(conn: &Conn, mut task: Task) -> Result<usize> {
    let mut depth = 1;
    while let Some(parent) = task.parent {
        task = queue::get(conn, parent)?;
        depth += 1;
    }
    Ok(depth)
}

/// The children of a task in order of their ids.
pub fn children(conn: &Conn, parent: Id<id::Task>) -> Result<Vec<Task>> {
    queries::children(conn, parent)
}
