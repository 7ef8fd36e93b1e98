//! A limited number of places, for what the whole process does or keeps only so often at once.

use std::sync::atomic::{AtomicUsize, Ordering};

/// So many places.
pub struct Places {
    most: usize,
    taken: AtomicUsize,
}

/// One of them, free again when dropped.
pub struct Place(&'static Places);

impl Places {
    /// All free.
    pub const fn new(most: usize) -> Places {
        Places {
            most,
            taken: AtomicUsize::new(0),
        }
    }

    /// A free one; waits for none.
    pub fn take(&'static self) -> Option<Place> {
        let one_more = |n| (n < self.most).then_some(n + 1);
        let taken = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        taken.is_ok().then(|| Place(self)) // not then_some: a place that nobody got would give one back
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}
