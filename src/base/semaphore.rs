//! A limited number of permits, for what the whole process does or keeps only so often at once.

use std::sync::atomic::{AtomicUsize, Ordering};

/// So many permits.
pub struct Semaphore {
    most: usize,
    taken: AtomicUsize,
}

/// One of them, given back when dropped.
pub struct Permit(&'static Semaphore);

impl Semaphore {
    /// All free.
    pub const fn new(most: usize) -> Semaphore {
        Semaphore {
            most,
            taken: AtomicUsize::new(0),
        }
    }

    /// A free one; waits for none.
    pub fn take(&'static self) -> Option<Permit> {
        let one_more = |n| (n < self.most).then_some(n + 1);
        let taken = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        taken.is_ok().then(|| Permit(self)) // not then_some: a permit that nobody got would give one back
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}
