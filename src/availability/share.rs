//! Shares of time, incidents and days, of stretches. Pure.

use super::{State, Stretch};
use crate::base::clock::{DAY, Ms};

/// What a time came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weighed {
    /// Ms in which it was up.
    pub up: Ms,
    /// In which it was down.
    pub down: Ms,
    /// In which nobody knew.
    pub unknown: Ms,
    /// In which Lamplighter itself saw nothing.
    pub off: Ms,
    /// Incidents that were in it.
    pub incidents: usize,
    /// Those of them that are over.
    pub over: usize,
    /// How long these have lasted.
    pub over_ms: Ms,
}

impl Weighed {
    /// Percent of the known time in which it was up; `None`: nothing is known.
    pub fn share(&self) -> Option<f64> {
        let known = self.up + self.down;
        (known > 0).then(|| self.up as f64 / known as f64 * 100.0)
    }

    /// Mean time until it is up again, ms.
    pub fn mttr(&self) -> Option<Ms> {
        (self.over > 0).then(|| self.over_ms / self.over as Ms)
    }
}

/// How much of a time is in another one.
fn overlap((a, b): (Ms, Ms), (from, to): (Ms, Ms)) -> Ms {
    (b.min(to) - a.max(from)).max(0)
}

/// Times in the order of their beginnings, without those that lie in others.
pub fn merged(times: Vec<(Ms, Ms)>) -> Vec<(Ms, Ms)> {
    let mut out: Vec<(Ms, Ms)> = Vec::new();
    for (since, until) in times {
        match out.last_mut().filter(|last| last.1 >= since) {
            Some(last) => last.1 = last.1.max(until),
            None => out.push((since, until)),
        }
    }
    out
}

/// Those of sorted stretches that reach into a time.
fn within(all: &[Stretch], (from, to): (Ms, Ms)) -> &[Stretch] {
    let first = all.partition_point(|s| s.until.is_some_and(|until| until <= from));
    let end = all.partition_point(|s| s.since < to);
    &all[first.min(end)..end]
}

/// The incidents that reach into a time, oldest first.
pub fn incidents(all: &[Stretch], time: (Ms, Ms)) -> impl DoubleEndedIterator<Item = &Stretch> {
    within(all, time).iter().filter(|s| s.state == State::Down)
}

/// What the time from one moment to another came to, as far as the thing was there. `off` as [`super::off`] gives it.
pub fn weigh(all: &[Stretch], off: &[(Ms, Ms)], (from, to): (Ms, Ms)) -> Weighed {
    let mut out = Weighed::default();
    for s in within(all, (from, to)) {
        let time = (s.since.max(from), s.until.unwrap_or(to).min(to));
        let first = off.partition_point(|off| off.1 <= time.0);
        let unseen: Ms = off[first..]
            .iter()
            .take_while(|off| off.0 < time.1)
            .map(|off| overlap(*off, time))
            .sum();
        out.off += unseen;
        let seen = (time.1 - time.0 - unseen).max(0);
        match s.state {
            State::Up => out.up += seen,
            State::Unknown => out.unknown += seen,
            State::Down => {
                out.down += seen;
                out.incidents += 1;
                if let Some(until) = s.until {
                    out.over += 1;
                    out.over_ms += until - s.since;
                }
            }
        }
    }
    out
}

/// A day.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Day {
    /// Its beginning, unix ms, in UTC.
    pub at: Ms,
    /// What it came to.
    pub weighed: Weighed,
}

/// Below this share a day counts as bad, percent.
const BAD: f64 = 99.0;

impl Day {
    /// The lamp of the day: `lit` without any incident, `flick` with a short one, `dark` with more than that, `unlit` when
    /// nothing is known.
    pub fn lamp(&self) -> &'static str {
        match self.weighed.share() {
            None => "unlit",
            Some(_) if self.weighed.down == 0 => "lit",
            Some(share) if share >= BAD => "flick",
            Some(_) => "dark",
        }
    }
}

/// The last so many days, oldest first, today as far as it is.
pub fn days(all: &[Stretch], off: &[(Ms, Ms)], count: usize, now: Ms) -> Vec<Day> {
    let today = now - now.rem_euclid(DAY);
    let day = |ago: usize| {
        let at = today - ago as Ms * DAY;
        Day {
            at,
            weighed: weigh(all, off, (at, (at + DAY).min(now))),
        }
    };
    (0..count).rev().map(day).collect()
}

/// The days as dashed lines of one lamp each: of an SVG that is one unit high and as wide as there are days.
pub fn bar(days: &[Day]) -> Vec<(&'static str, String)> {
    let mut out: Vec<(&'static str, String)> = Vec::new();
    let mut at = 0;
    for run in days.chunk_by(|a, b| a.lamp() == b.lamp()) {
        let (lamp, line) = (run[0].lamp(), format!("M{at} .5h{}", run.len()));
        at += run.len();
        match out.iter_mut().find(|(known, _)| *known == lamp) {
            Some((_, lines)) => lines.push_str(&line),
            None => out.push((lamp, line)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretches(all: &[(State, Ms)], end: Option<Ms>) -> Vec<Stretch> {
        let ends = all.iter().skip(1).map(|(_, since)| Some(*since)).chain([end]);
        let stretch = |((state, since), until): (&(State, Ms), Option<Ms>)| Stretch {
            state: *state,
            since: *since,
            until,
            cause: String::new(),
        };
        all.iter().zip(ends).map(stretch).collect()
    }

    #[test]
    fn a_share_is_of_the_time_that_is_known() {
        use State::*;
        let all = stretches(&[(Up, 1_000), (Down, 5_000), (Unknown, 6_000), (Up, 8_000)], None);
        let w = weigh(&all, &[], (0, 10_000));
        assert_eq!((w.up, w.down, w.unknown, w.off), (6_000, 1_000, 2_000, 0));
        assert_eq!((w.incidents, w.over, w.mttr()), (1, 1, Some(1_000)));
        assert!((w.share().unwrap() - 600.0 / 7.0).abs() < 1e-9);
        // What Lamplighter did not see is nobody's: neither up nor down.
        let w = weigh(&all, &[(4_000, 5_500), (9_000, 9_500)], (0, 10_000));
        assert_eq!((w.up, w.down, w.off), (4_500, 500, 2_000));
        // An incident that goes on is one, and has no length yet.
        let w = weigh(&stretches(&[(Up, 0), (Down, 500)], None), &[], (600, 1_000));
        assert_eq!((w.up, w.down, w.incidents, w.over, w.mttr()), (0, 400, 1, 0, None));
        assert_eq!(w.share(), Some(0.0));
        assert_eq!(weigh(&all, &[], (0, 900)).share(), None, "before it was there");
    }

    #[test]
    fn times_that_overlap_count_once() {
        assert_eq!(merged(vec![(1, 5), (2, 3), (5, 7), (9, 10)]), [(1, 7), (9, 10)]);
    }

    #[test]
    fn days_are_lamps_and_lamps_are_lines() {
        use State::*;
        let now = 10 * DAY + DAY / 2;
        let all = stretches(
            &[
                (Up, 7 * DAY),
                (Down, 8 * DAY),
                (Up, 8 * DAY + 60_000),
                (Down, 9 * DAY),
                (Up, 10 * DAY - 1),
            ],
            None,
        );
        let days = days(&all, &[], 5, now);
        let lamps: Vec<_> = days.iter().map(Day::lamp).collect();
        assert_eq!(lamps, ["unlit", "lit", "flick", "dark", "lit"]);
        assert_eq!(days[4].weighed.up, DAY / 2, "today, as far as it is");
        let lines = bar(&days);
        assert_eq!(lines[1], ("lit", "M1 .5h1M4 .5h1".into()));
        assert_eq!(lines.len(), 4);
    }
}
