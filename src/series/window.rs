//! The time range of a chart: its step, and the tier it is read from.

use super::rollup::{D, H, Keep, RAW, ROLLED, Tier};
use crate::base::clock::Duration;

/// Lengths that charts offer, as in the URL.
pub const PERIODS: [(&str, Duration); 7] = [
    ("1h", Duration::from_secs(H as u64)),
    ("6h", Duration::from_secs(6 * H as u64)),
    ("24h", Duration::from_secs(D as u64)),
    ("7d", Duration::from_secs(7 * D as u64)),
    ("30d", Duration::from_secs(30 * D as u64)),
    ("90d", Duration::from_secs(90 * D as u64)),
    ("1y", Duration::from_secs(365 * D as u64)),
];

/// Maximum points per line: more are not visible.
pub const POINTS_MAX: u32 = 720;

/// Allowed steps in seconds.
const STEPS: [u32; 19] = [
    5,
    10,
    30,
    60,
    2 * 60,
    5 * 60,
    10 * 60,
    15 * 60,
    30 * 60,
    H,
    2 * H,
    3 * H,
    4 * H,
    6 * H,
    12 * H,
    D,
    2 * D,
    7 * D,
    30 * D,
];

/// A time range of a chart: a whole number of steps, the last of which holds the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Index of the first step, counted from 1970.
    pub first: u32,
    /// Number of steps.
    pub steps: u32,
    /// Seconds per step.
    pub step_s: u32,
    /// Number of the tier to read from.
    tier: i64,
}

impl Window {
    /// A range with the finest step that gives at most [`POINTS_MAX`] points and whose tier is kept that long at `now`.
    pub fn new(from_s: u32, to_s: u32, now_s: u32, keep: &Keep) -> Window {
        let length = to_s.saturating_sub(from_s).max(1);
        let age = now_s.saturating_sub(from_s);
        let enough = |step: &&u32| length.div_ceil(**step) <= POINTS_MAX;
        // The coarsest tier that fits the step is the fastest to read, with the same result.
        let tiers = || ROLLED.iter().rev().chain([&RAW]);
        let fits = |step: u32| tiers().find(|tier| step.is_multiple_of(tier.bucket_s) && keep.of(tier) >= age);
        let found = STEPS.iter().filter(enough).find_map(|step| Some((*step, fits(*step)?)));
        // Older than all retention: what is left is in the last tier.
        let (step_s, tier) = found.unwrap_or_else(|| {
            let last = &ROLLED[ROLLED.len() - 1];
            let step = STEPS.iter().filter(enough).find(|step| **step >= last.bucket_s);
            (*step.unwrap_or(&STEPS[STEPS.len() - 1]), last)
        });
        let steps = length.div_ceil(step_s).min(POINTS_MAX);
        Window {
            first: (to_s / step_s).saturating_sub(steps - 1),
            steps,
            step_s,
            tier: tier.number,
        }
    }

    /// A range in steps of this many seconds, from the coarsest tier that has them, whatever its retention.
    pub fn of_steps(step_s: u32, from_s: u32, to_s: u32) -> Window {
        let fits = |tier: &&Tier| step_s.is_multiple_of(tier.bucket_s);
        let first = from_s / step_s;
        Window {
            first,
            steps: (to_s / step_s).saturating_sub(first).min(POINTS_MAX - 1) + 1,
            step_s,
            tier: ROLLED.iter().rev().find(fits).unwrap_or(&RAW).number,
        }
    }

    /// A range with the finest step regardless of retention, for values from a remote store; stored values come from
    /// the coarsest tier that fits.
    pub fn beyond(from_s: u32, to_s: u32) -> Window {
        Window::new(from_s, to_s, to_s, &Keep([u32::MAX; 6]))
    }

    /// The range of this length that ends now.
    pub fn last(length: Duration, now_s: u32, keep: &Keep) -> Window {
        let length = u32::try_from(length.as_secs()).unwrap_or(u32::MAX);
        Window::new(now_s.saturating_sub(length), now_s, now_s, keep)
    }

    /// The tier to read from.
    pub fn tier(&self) -> &'static Tier {
        ROLLED.iter().find(|tier| tier.number == self.tier).unwrap_or(&RAW)
    }

    /// Its first second.
    pub fn from_s(&self) -> u32 {
        self.first * self.step_s
    }

    /// The first second after it.
    pub fn to_s(&self) -> u32 {
        (self.first + self.steps).saturating_mul(self.step_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u32 = 1_800_000_123;

    #[test]
    fn every_period_has_at_most_720_points_and_a_tier_that_is_kept_so_long() {
        let steps: Vec<_> = PERIODS
            .iter()
            .map(|(name, length)| {
                let w = Window::last(*length, NOW, &Keep::default());
                assert!(w.steps <= POINTS_MAX, "{name}");
                assert!(Keep::default().of(w.tier()) >= length.as_secs() as u32, "{name}");
                assert!(
                    (w.from_s()..w.to_s()).contains(&NOW) && w.to_s() - NOW <= w.step_s,
                    "{name}"
                );
                assert_eq!(w.step_s % w.tier().bucket_s, 0, "{name}");
                (*name, w.step_s, w.steps, w.tier().bucket_s)
            })
            .collect();
        assert_eq!(
            steps,
            [
                ("1h", 5, 720, 1),
                ("6h", 60, 360, 60),
                ("24h", 120, 720, 60),
                ("7d", 900, 672, 300),
                ("30d", 3_600, 720, 3_600),
                ("90d", 10_800, 720, 3_600),
                ("1y", 86_400, 365, 86_400),
            ]
        );
        for tier in ROLLED {
            assert_eq!(tier.span_s % tier.bucket_s, 0);
        }
    }

    #[test]
    fn any_stretch_of_time_is_shown_from_what_is_still_kept() {
        let keep = Keep::default();
        // Ten minutes, a day ago: the minutes are gone, the five minutes are there.
        let w = Window::new(NOW - 26 * H, NOW - 26 * H + 600, NOW, &keep);
        assert_eq!((w.step_s, w.steps, w.tier().bucket_s), (300, 2, 300));
        // Raw values kept for two days show six hours finely; minutes kept for one hour only leave the next tier.
        let long = Keep([48 * H, D, 7 * D, 30 * D, 365 * D, 365 * D]);
        assert_eq!(Window::last(PERIODS[1].1, NOW, &long).step_s, 30);
        let short = Keep([H, H, 7 * D, 30 * D, 365 * D, 365 * D]);
        assert_eq!(Window::last(PERIODS[1].1, NOW, &short).tier().bucket_s, 300);
        // Invalid input is harmless.
        for (from, to) in [
            (0, u32::MAX),
            (0, 0),
            (NOW, NOW),
            (NOW, 5),
            (u32::MAX, u32::MAX),
            (0, 1),
        ] {
            for keep in [keep, Keep([0; 6])] {
                let w = Window::new(from, to, NOW, &keep);
                assert!((1..=POINTS_MAX).contains(&w.steps), "{from} to {to}: {w:?}");
            }
        }
    }
}
