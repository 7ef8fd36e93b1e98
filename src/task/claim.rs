//! Which task begins next: the oldest whose resources are all free and whose class has a place. What an older one waits for
//! is not given to a younger one, so that whoever needs many resources is not passed by for ever.

use super::queries::{self, BETWEEN, Candidate};
use super::{Class, Kind, Resource, Task};
use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::db::{Conn, Tx};
use std::collections::{HashMap, HashSet};

/// How many workers the classes may have at the same time. A long task never takes the last ones, which are for what is done
/// in seconds; with a single worker there is nothing to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClassLimits {
    long: usize,
    long_and_standard: usize,
}

impl ClassLimits {
    /// For so many workers: a quarter of them takes nothing long, one only what is quick.
    pub fn of(workers: usize) -> ClassLimits {
        ClassLimits {
            long: workers.saturating_sub(workers.div_ceil(4)).max(1),
            long_and_standard: workers.saturating_sub(1).max(1),
        }
    }
}

/// What is taken, while the queue is gone through from its head.
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

    /// May this one begin? If not, but for its resources, they are kept for it.
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

/// The next task, now running.
pub(super) fn next(tx: &Tx, kinds: &HashMap<&str, &Kind>, limits: ClassLimits, now: Ms) -> Result<Option<Task>> {
    let class = |kind: &str| kinds.get(kind).map_or(Class::Quick, |kind| kind.class); // an unknown one fails at once
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
        // What it is about may be on other servers by now.
        let fresh = declare(tx, &task, kind)?;
        if fresh == known || board.offer(class, fresh.split(BETWEEN)) {
            return queries::begin(tx, task.id, now).map(Some);
        }
    }
    Ok(None)
}

/// Finds out what a task needs, and writes it down.
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

/// The tasks that this one waits for: those that hold one of its resources, and older ones that wait for one of them, too.
pub(super) fn blockers(conn: &Conn, id: Id<id::Task>, now: Ms) -> Result<Vec<Task>> {
    queries::blockers(conn, id, now)
}
