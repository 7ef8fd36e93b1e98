//! Selects the next task: the oldest whose resources are free and whose class has capacity. Resources that an older
//! task waits for are not given to younger ones, so that a task with many resources is not starved.

use super::queries::{self, BETWEEN, Candidate};
use super::{Class, Kind, Resource, Task};
use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::db::{Conn, Tx};
use std::collections::{HashMap, HashSet};

/// Worker limits per class. Long tasks leave some workers for quick ones; with a single worker there is nothing to
/// reserve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClassLimits {
    long: usize,
    long_and_standard: usize,
}

impl ClassLimits {
    /// Limits for so many workers: a quarter of them takes no long task, one only quick ones.
    pub fn of(workers: usize) -> ClassLimits {
        ClassLimits {
            long: workers.saturating_sub(workers.div_ceil(4)).max(1),
            long_and_standard: workers.saturating_sub(1).max(1),
        }
    }
}

/// State while the queue is scanned from its head.
struct Board {
    limits: ClassLimits,
    long: usize,
    standard: usize,
    taken: HashSet<String>,
}

impl Board {
    fn count(&mut self, class: Class) {
        match class {
            Class::Quick => {}
            Class::Standard => self.standard += 1,
            Class::Long => self.long += 1,
        }
    }

    fn has_capacity(&self, class: Class) -> bool {
        let both = self.long + self.standard < self.limits.long_and_standard;
        match class {
            Class::Quick => true,
            Class::Standard => both,
            Class::Long => both && self.long < self.limits.long,
        }
    }

    /// May this task begin? If only its resources are missing, they are reserved for it.
    fn offer<'a>(&mut self, class: Class, locks: impl Iterator<Item = &'a str> + Clone) -> bool {
        if !self.has_capacity(class) {
            return false;
        }
        let is_free = locks.clone().all(|lock| !self.taken.contains(lock));
        if !is_free {
            self.taken.extend(locks.map(String::from));
        }
        is_free
    }
}

/// Claims the next task.
pub(super) fn next(tx: &Tx, kinds: &HashMap<&str, &Kind>, limits: ClassLimits, now: Ms) -> Result<Option<Task>> {
    let class = |kind: &str| kinds.get(kind).map_or(Class::Quick, |kind| kind.class); // an unknown kind fails at once
    let queued = queries::candidates(tx, now)?;
    if queued.is_empty() {
        return Ok(None);
    }
    let mut board = Board {
        limits,
        long: 0,
        standard: 0,
        taken: HashSet::new(),
    };
    for (kind, locks) in queries::held(tx)? {
        board.count(class(&kind));
        board.taken.extend(locks.split(BETWEEN).map(String::from));
    }
    for task in queued {
        let class = class(&task.kind);
        let kind = kinds.get(&*task.kind).copied();
        let known = match task.locks.clone() {
            Some(known) => known,
            None => declare(tx, &task, kind)?,
        };
        if !board.offer(class, known.split(BETWEEN)) {
            continue;
        }
        // Its target may be on other servers by now.
        let fresh = declare(tx, &task, kind)?;
        if fresh == known || board.offer(class, fresh.split(BETWEEN)) {
            return queries::begin(tx, task.id, now).map(Some);
        }
    }
    Ok(None)
}

/// Determines and stores the resources of a task.
fn declare(tx: &Tx, task: &Candidate, kind: Option<&Kind>) -> Result<String> {
    let (of, id) = &task.target;
    let more = kind.map_or(Ok(Vec::new()), |kind| (kind.locks)(tx, *id))?;
    let mut locks: Vec<String> = more.iter().map(Resource::to_string).collect();
    locks.push(format!("{of}:{id}"));
    locks.sort();
    locks.dedup();
    let text = locks.join(&BETWEEN.to_string());
    if task.locks.as_ref() != Some(&text) {
        queries::set_locks(tx, task.id, &locks)?;
    }
    Ok(text)
}

/// The tasks that this one waits for: holders of its resources, and older tasks waiting for them.
pub(super) fn blockers(conn: &Conn, id: Id<id::Task>, now: Ms) -> Result<Vec<Task>> {
    queries::blockers(conn, id, now)
}
