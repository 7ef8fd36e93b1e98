//! A counting semaphore without waiting, for process-wide limits.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A fixed number of permits.
pub struct Semaphore {
    most: usize,
    taken: AtomicUsize,
}

/// One permit, returned on drop.
pub struct Permit(&'static Semaphore);

impl Semaphore {
    /// A semaphore with `most` permits.
    pub const fn new(most: usize) -> Semaphore {
        Semaphore {
            most,
            taken: AtomicUsize::new(0),
        }
    }

    /// A permit, or `None` if all are taken; never waits.
    pub fn take(&'static self) -> Option<Permit> {
        let one_more = |n| (n < self.most).then_some(n + 1);
        let taken = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        taken.is_ok().then(|| Permit(self)) // not then_some: it would build a permit that returns one on drop
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}
