//! A counter that threads can wait on. Writers of rows call [`Wake::ring`]; readers wait for the counter to change,
//! then read the rows. Ringing never blocks.

use crate::base::clock::{self, Duration};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// A counter with waiters. Clones share it.
#[derive(Clone, Default)]
pub struct Wake(Arc<Inner>);

#[derive(Default)]
struct Inner {
    count: AtomicU64,
    waiting: AtomicUsize,
    lock: Mutex<()>,
    moved: Condvar,
}

impl Wake {
    /// A counter at 0.
    pub fn new() -> Wake {
        Wake::default()
    }

    /// The counter's value.
    pub fn count(&self) -> u64 {
        self.0.count.load(Ordering::SeqCst)
    }

    /// Number of waiting threads.
    pub fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::SeqCst)
    }

    /// Increments the counter and wakes all waiters.
    pub fn ring(&self) {
        self.0.count.fetch_add(1, Ordering::SeqCst);
        if self.waiting() > 0 {
            drop(self.0.lock.lock()); // so that a waiter between its check and its sleep does not miss it
            self.0.moved.notify_all();
        }
    }

    /// Waits until the counter differs from `seen`, at most `limit`. Returns the counter.
    pub fn wait(&self, seen: u64, limit: Duration) -> u64 {
        let until = clock::mono() + limit;
        self.0.waiting.fetch_add(1, Ordering::SeqCst);
        let mut guard = self.0.lock.lock().unwrap_or_else(PoisonError::into_inner);
        while self.count() == seen {
            let left = until.saturating_duration_since(clock::mono());
            if left.is_zero() {
                break;
            }
            guard = self
                .0
                .moved
                .wait_timeout(guard, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        drop(guard);
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
        self.count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_between_look_and_wait_is_not_missed() {
        let wake = Wake::new();
        let seen = wake.count();
        wake.ring();
        assert_eq!(
            wake.wait(seen, Duration::from_secs(60)),
            seen + 1,
            "would hang for a minute otherwise"
        );
    }

    #[test]
    fn everybody_who_waits_is_woken() {
        let wake = Wake::new();
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let wake = wake.clone();
                std::thread::spawn(move || wake.wait(0, Duration::from_secs(60)))
            })
            .collect();
        while wake.waiting() < 8 {
            std::thread::yield_now();
        }
        wake.ring();
        assert!(threads.into_iter().all(|t| t.join().unwrap() == 1));
    }
}
