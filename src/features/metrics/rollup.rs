//! The longer ago, the coarser: every value is in five tiers, each with its own stretch of time and its own end. A tier is
//! made when values leave the hot rows, never once a night, and a value is in each of them exactly once.

use super::chunk::{Bucket, Point};
use crate::base::clock::{HOUR, MINUTE, Ms, SECOND};

/// One resolution.
pub struct Tier {
    /// In a chunk's key. Never changed once released.
    pub number: i64,
    /// Seconds that one bucket covers.
    pub bucket_s: u32,
    /// Seconds that one chunk covers: long enough to be small, short enough to be rewritten cheaply.
    pub span_s: u32,
    /// Seconds until it may go.
    pub keep_s: u32,
}

const H: u32 = 3_600;
const D: u32 = 24 * H;

/// As measured.
pub const RAW: Tier = Tier {
    number: 1,
    bucket_s: 1,
    span_s: 2 * H,
    keep_s: H,
};

/// The coarser ones, finest first (B-62).
pub const ROLLED: [Tier; 4] = [
    Tier {
        number: 2,
        bucket_s: 60,
        span_s: 6 * H,
        keep_s: D,
    },
    Tier {
        number: 3,
        bucket_s: 5 * 60,
        span_s: D,
        keep_s: 7 * D,
    },
    Tier {
        number: 4,
        bucket_s: 30 * 60,
        span_s: 7 * D,
        keep_s: 30 * D,
    },
    Tier {
        number: 5,
        bucket_s: H,
        span_s: 14 * D,
        keep_s: 365 * D,
    },
];

impl Tier {
    /// The beginning of the chunk that holds this second.
    pub fn span(&self, at: u32) -> u32 {
        at - at % self.span_s
    }
}

/// Points (rising) as buckets of so many seconds.
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

/// Both together in order of time; buckets of the same beginning are added.
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

/// Both together in order of time; of two points in the same second the newer counts.
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

/// How far back a chart looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// `1h`
    Hour,
    /// `6h`
    SixHours,
    /// `24h`
    Day,
    /// `7d`
    Week,
    /// `30d`
    Month,
}

impl Period {
    /// As it stands in a URL.
    pub fn parse(text: &str) -> Option<Period> {
        Some(match text {
            "1h" => Period::Hour,
            "6h" => Period::SixHours,
            "24h" => Period::Day,
            "7d" => Period::Week,
            "30d" => Period::Month,
            _ => return None,
        })
    }

    /// How long it is.
    pub fn length_ms(self) -> Ms {
        match self {
            Period::Hour => HOUR,
            Period::SixHours => 6 * HOUR,
            Period::Day => 24 * HOUR,
            Period::Week => 7 * 24 * HOUR,
            Period::Month => 30 * 24 * HOUR,
        }
    }

    /// What one point of the chart covers: at most 720 of them.
    pub fn step_ms(self) -> Ms {
        match self {
            Period::Hour => 5 * SECOND,
            Period::SixHours => MINUTE,
            Period::Day => 2 * MINUTE,
            Period::Week => 15 * MINUTE,
            Period::Month => HOUR,
        }
    }

    /// Where it is read from.
    pub fn tier(self) -> &'static Tier {
        match self {
            Period::Hour => &RAW,
            Period::SixHours | Period::Day => &ROLLED[0],
            Period::Week => &ROLLED[1],
            Period::Month => &ROLLED[2],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_period_has_at_most_720_points_and_a_tier_that_is_kept_so_long() {
        for text in ["1h", "6h", "24h", "7d", "30d"] {
            let period = Period::parse(text).unwrap();
            assert!(period.length_ms() / period.step_ms() <= 720, "{text}");
            assert!(i64::from(period.tier().keep_s) * SECOND >= period.length_ms(), "{text}");
            assert_eq!(
                period.step_ms() % (i64::from(period.tier().bucket_s) * SECOND),
                0,
                "{text}"
            );
        }
        for tier in ROLLED {
            assert_eq!(tier.span_s % tier.bucket_s, 0);
        }
    }

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
