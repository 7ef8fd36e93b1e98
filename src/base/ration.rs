//! Rate limiting of log lines: for each subject some at once, then one per interval that tells how many were
//! suppressed.

use super::clock::{Duration, Instant};
use super::parallel::lock;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Mutex;

/// State of one subject.
#[derive(Default)]
pub struct Ration {
    /// Tokens used.
    used: u32,
    /// When a token was last given back.
    since: Option<Instant>,
    left_out: u64,
}

impl Ration {
    /// May a line be written, with `max` at once and one more after each `every`? `Some` holds how many were suppressed
    /// since.
    pub fn next(&mut self, max: u32, every: Duration, now: Instant) -> Option<u64> {
        let since = *self.since.get_or_insert(now);
        let back = (now - since).as_secs() / every.as_secs();
        self.since = Some(since + every * back as u32);
        self.used = self.used.saturating_sub(back as u32);
        if self.used == max {
            self.left_out += 1;
            return None;
        }
        self.used += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

/// State of many subjects.
pub struct Rations<K> {
    max: u32,
    every: Duration,
    of: Mutex<HashMap<K, Ration>>,
}

/// Limit of subjects; the one idle longest is dropped.
const THINGS_MAX: usize = 2_000;

impl<K: Hash + Eq + Copy> Rations<K> {
    /// `max` lines about each subject at once, and one more after each `every`.
    pub fn new(max: u32, every: Duration) -> Rations<K> {
        Rations {
            max,
            every,
            of: Mutex::default(),
        }
    }

    /// May a line about `thing` be written now? As [`Ration::next`].
    pub fn next(&self, thing: K, now: Instant) -> Option<u64> {
        let mut of = lock(&self.of);
        if of.len() >= THINGS_MAX && !of.contains_key(&thing) {
            let oldest = of
                .iter()
                .min_by_key(|(_, ration)| ration.since)
                .map(|(thing, _)| *thing);
            oldest.and_then(|thing| of.remove(&thing));
        }
        of.entry(thing).or_default().next(self.max, self.every, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    #[test]
    fn a_flood_is_told_now_and_then_with_its_count_and_nobody_elses_line_is_lost() {
        let (every, start) = (Duration::from_secs(60), clock::mono());
        let rations = Rations::new(60, every);
        let told = (0..1_000).filter_map(|_| rations.next("a", start)).collect::<Vec<_>>();
        assert_eq!(told, [0; 60]);
        assert_eq!(rations.next("b", start), Some(0));
        assert_eq!(rations.next("a", start + every), Some(940));
        assert_eq!(rations.next("a", start + every), None);
        assert_eq!(rations.next("a", start + 2 * every), Some(1));
        let rested = start + 90 * every;
        assert_eq!((0..1_000).filter_map(|_| rations.next("a", rested)).count(), 60);
    }

    #[test]
    fn a_flood_of_things_grows_nothing() {
        let (rations, start) = (Rations::new(1, Duration::from_secs(1)), clock::mono());
        for n in 0..3 * THINGS_MAX {
            assert_eq!(rations.next(n, start), Some(0));
        }
        assert_eq!(rations.of.lock().unwrap().len(), THINGS_MAX);
    }
}
