//! Resolutions: every value is in six tiers, each with its own bucket length and retention. Tiers are updated when
//! values leave the hot rows, not by a nightly job, and each value is in each tier exactly once.

use super::chunk::{Bucket, Point};

/// One resolution.
pub struct Tier {
    /// Number in a chunk's key. Never changed once released.
    pub number: i64,
    /// Seconds per bucket.
    pub bucket_s: u32,
    /// Seconds per chunk: long enough to compress well, short enough to be rewritten cheaply.
    pub span_s: u32,
}

pub(super) const H: u32 = 3_600;
pub(super) const D: u32 = 24 * H;

/// As measured.
pub const RAW: Tier = Tier {
    number: 1,
    bucket_s: 1,
    span_s: 2 * H,
};

/// The coarser ones, finest first.
pub const ROLLED: [Tier; 5] = [
    Tier {
        number: 2,
        bucket_s: 60,
        span_s: 6 * H,
    },
    Tier {
        number: 3,
        bucket_s: 5 * 60,
        span_s: D,
    },
    Tier {
        number: 4,
        bucket_s: 30 * 60,
        span_s: 7 * D,
    },
    Tier {
        number: 5,
        bucket_s: H,
        span_s: 14 * D,
    },
    // A year of hours is 8 760 buckets per line; a year of days is read in a millisecond.
    Tier {
        number: 6,
        bucket_s: D,
        span_s: 360 * D,
    },
];

/// Retention of each tier in seconds, finest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep(pub(super) [u32; 6]);

impl Default for Keep {
    /// The defaults.
    fn default() -> Keep {
        Keep([H, D, 7 * D, 30 * D, 365 * D, 365 * D])
    }
}

impl Keep {
    /// Seconds for each tier, finest first.
    pub fn new(tiers: [u32; 6]) -> Keep {
        Keep(tiers)
    }

    /// The longest retention in seconds.
    pub fn longest(&self) -> u32 {
        self.0.into_iter().max().unwrap_or(0)
    }

    /// The retention of this tier in seconds.
    pub fn of(&self, tier: &Tier) -> u32 {
        self.0[tier.number as usize - 1]
    }
}

impl Tier {
    /// Start of the chunk that holds this second.
    pub fn span(&self, at: u32) -> u32 {
        at - at % self.span_s
    }
}

/// Aggregates points (ascending) into buckets of `bucket_s` seconds.
pub fn roll(points: &[Point], bucket_s: u32) -> Vec<Bucket> {
    let mut out: Vec<Bucket> = Vec::new();
    for p in points {
        let new = Bucket::of(p.at - p.at % bucket_s, p.value);
        match out.last_mut() {
            Some(last) if last.at == new.at => last.add(&new),
            _ => out.push(new),
        }
    }
    out
}

/// Merges in order of time; buckets of the same start are added.
pub fn merge_buckets(mut old: Vec<Bucket>, new: &[Bucket]) -> Vec<Bucket> {
    old.extend_from_slice(new);
    old.sort_by_key(|b| b.at);
    old.dedup_by(|later, kept| {
        let same = later.at == kept.at;
        if same {
            kept.add(later);
        }
        same
    });
    old
}

/// Merges in order of time; of two points in the same second the newer one wins.
pub fn merge_points(mut old: Vec<Point>, new: &[Point]) -> Vec<Point> {
    old.extend_from_slice(new);
    old.sort_by_key(|p| p.at);
    old.dedup_by(|later, kept| {
        let same = later.at == kept.at;
        if same {
            *kept = *later;
        }
        same
    });
    old
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rolling_in_parts_is_rolling_at_once() {
        let points: Vec<Point> = (0..500)
            .map(|i| Point {
                at: 1_000_000 + 7 * i,
                value: i64::from(i * i % 97),
            })
            .collect();
        for cut in [0, 1, 250, 499, 500] {
            let merged = merge_buckets(roll(&points[..cut], 60), &roll(&points[cut..], 60));
            assert_eq!(merged, roll(&points, 60), "cut at {cut}");
        }
        assert_eq!(roll(&points, 60).iter().map(|b| b.count).sum::<u32>(), 500);
    }

    #[test]
    fn the_newer_of_two_in_a_second_counts() {
        let p = |at, value| Point { at, value };
        assert_eq!(
            merge_points(vec![p(1, 1), p(3, 3)], &[p(2, 2), p(3, 9)]),
            [p(1, 1), p(2, 2), p(3, 9)]
        );
    }
}
