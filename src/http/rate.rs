//! Request rates: a maximum per minute that begins with the first request. In memory and bounded.

use crate::base::clock::{Duration, Instant};
use crate::base::parallel::lock;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Mutex;

/// What is counted together.
pub const WINDOW: Duration = Duration::from_secs(60);

/// Limit of callers; above it, the one with the fewest requests is dropped.
const CALLERS_MAX: usize = 10_000;

/// Counters of callers of one kind.
pub struct Windows<K> {
    of: Mutex<HashMap<K, Window>>,
}

struct Window {
    since: Instant,
    count: u32,
}

impl<K> Default for Windows<K> {
    fn default() -> Windows<K> {
        Windows { of: Mutex::default() }
    }
}

impl<K: Hash + Eq + Copy> Windows<K> {
    /// Counts a request of this caller. Above `max` it is not counted, and the error is the rest of the minute.
    pub fn admit(&self, caller: K, max: u32, now: Instant) -> Result<(), Duration> {
        let mut of = lock(&self.of);
        if of.len() >= CALLERS_MAX && !of.contains_key(&caller) {
            make_room(&mut of, now);
        }
        let begun = || Window { since: now, count: 0 };
        let window = of.entry(caller).or_insert_with(begun);
        if now.saturating_duration_since(window.since) >= WINDOW {
            *window = begun();
        }
        if window.count >= max {
            return Err(WINDOW - now.saturating_duration_since(window.since));
        }
        window.count += 1;
        Ok(())
    }
}

fn make_room<K: Hash + Eq + Copy>(of: &mut HashMap<K, Window>, now: Instant) {
    of.retain(|_, window| now.saturating_duration_since(window.since) < WINDOW);
    if of.len() >= CALLERS_MAX {
        let least = of.iter().min_by_key(|(_, window)| (window.count, window.since));
        let least = least.map(|(caller, _)| *caller);
        least.and_then(|caller| of.remove(&caller));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    #[test]
    fn so_many_in_a_minute_and_nobody_pays_for_others() {
        let (windows, start) = (Windows::default(), clock::mono());
        assert!((0..100).all(|_| windows.admit("a", 100, start).is_ok()));
        let later = start + Duration::from_secs(20);
        assert_eq!(windows.admit("a", 100, later), Err(Duration::from_secs(40)));
        assert_eq!(windows.admit("b", 100, later), Ok(()));
        assert_eq!(windows.admit("a", 101, later), Ok(()), "the bound has moved");
        assert!((0..100).all(|_| windows.admit("a", 100, start + WINDOW).is_ok()));
    }

    #[test]
    fn a_flood_of_callers_grows_nothing_and_frees_nobody_who_asked_too_much() {
        let (windows, start) = (Windows::default(), clock::mono());
        let busy = usize::MAX;
        assert!((0..5).all(|_| windows.admit(busy, 5, start).is_ok()));
        for n in 0..CALLERS_MAX + 500 {
            assert_eq!(windows.admit(n, 5, start), Ok(()));
        }
        assert_eq!(windows.of.lock().unwrap().len(), CALLERS_MAX);
        assert!(windows.admit(busy, 5, start).is_err());
        // Any of the others: which of them the flood has dropped, the order of the table decides.
        let kept = *windows.of.lock().unwrap().keys().find(|n| **n != busy).unwrap();
        assert_eq!(windows.admit(kept, 5, start + WINDOW), Ok(()));
        assert_eq!(
            windows.of.lock().unwrap().len(),
            CALLERS_MAX,
            "its own window was there"
        );
        assert_eq!(windows.admit(busy - 1, 5, start + WINDOW), Ok(()));
        assert!(windows.of.lock().unwrap().len() <= 2, "what is over makes room");
    }
}
