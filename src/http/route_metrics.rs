//! Metrics per route: number, status class, duration. Plain counters without locks.

use crate::base::clock::Duration;
use std::sync::atomic::{AtomicU64, Ordering};

/// Upper bounds of the buckets in µs; longer ones are in a last one. A page takes some ms, a request that waits for
/// another machine some seconds, a long poll half a minute.
pub const BOUNDS_US: [u64; 9] = [
    1_000, 2_500, 5_000, 10_000, 50_000, 250_000, 1_000_000, 5_000_000, 30_000_000,
];

/// The first digits of a status.
pub const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

/// Counters of a route.
#[derive(Default)]
pub struct RouteMetrics {
    classes: [AtomicU64; CLASSES.len()],
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

/// A reading of [`RouteMetrics`].
#[derive(Debug, Clone, Default)]
pub struct RouteCounts {
    /// By status class ([`CLASSES`]).
    pub classes: [u64; CLASSES.len()],
    /// By duration ([`BOUNDS_US`]); each response in one bucket.
    pub buckets: [u64; BOUNDS_US.len() + 1],
    /// Total duration.
    pub sum_us: u64,
}

impl RouteMetrics {
    /// Counts a response.
    pub fn count(&self, status: u16, took: Duration) {
        let us = took.as_micros() as u64;
        let class = usize::from(status / 100).clamp(2, 5) - 2;
        let bucket = BOUNDS_US.partition_point(|bound| *bound < us);
        self.classes[class].fetch_add(1, Ordering::Relaxed);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// The current values; concurrent updates may be partly included.
    pub fn read(&self) -> RouteCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RouteCounts {
            classes: self.classes.each_ref().map(read),
            buckets: self.buckets.each_ref().map(read),
            sum_us: read(&self.sum_us),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_in_one_class_and_one_bucket() {
        let metrics = RouteMetrics::default();
        for (status, us) in [
            (200, 1_000),
            (204, 1_001),
            (303, 0),
            (499, 30_000_001),
            (500, 30_000_000),
        ] {
            metrics.count(status, Duration::from_micros(us));
        }
        let counts = metrics.read();
        assert_eq!(counts.classes, [2, 1, 1, 1]);
        assert_eq!(counts.buckets, [2, 1, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(counts.sum_us, 60_002_002);
    }
}
