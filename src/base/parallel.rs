//! The same work on many things, a few at a time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a mutex holds, also after a panic of whoever held it: for what is whole between any two statements.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls `work` for each item on at most `width` threads and gives the results in the items' order. A panic of one of
/// them goes on here, after the others have ended.
pub fn map<T: Sync, R: Send>(items: &[T], width: usize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<Option<R>>> = Mutex::new(items.iter().map(|_| None).collect());
    let take_all = || {
        while let Some((n, item)) = next_of(items, &next) {
            let result = work(item);
            lock(&results)[n] = Some(result);
        }
    };
    std::thread::scope(|scope| {
        // The caller's own thread works too: one item starts no thread.
        for _ in 1..width.min(items.len()) {
            scope.spawn(take_all);
        }
        take_all();
    });
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.into_iter().flatten().collect()
}

fn next_of<'a, T>(items: &'a [T], next: &AtomicUsize) -> Option<(usize, &'a T)> {
    let n = next.fetch_add(1, Ordering::Relaxed);
    items.get(n).map(|item| (n, item))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_items_order_and_no_more_threads_work_than_said() {
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let items: Vec<usize> = (0..40).collect();
        let squares = map(&items, 4, |n| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(std::time::Duration::from_millis(1));
            now.fetch_sub(1, Ordering::SeqCst);
            n * n
        });
        assert_eq!(squares, items.iter().map(|n| n * n).collect::<Vec<_>>());
        assert!((2..=4).contains(&most.load(Ordering::SeqCst)));
        assert!(map(&[] as &[u8], 4, |_| ()).is_empty());
    }
}
