//! What time it is for the clean-up. A clock that jumps into the future (a bad battery, a bad time server) must not make
//! all samples look old: what is dropped is gone, what is kept too long costs some disk. So the clean-up goes on evenly
//! from the time that it last believed, and believes a jumped clock only when that has gone evenly for a day.

use crate::base::clock::{DAY, Duration, Instant, MINUTE, Ms};

/// See the module's documentation.
#[derive(Debug, Clone, Copy)]
pub struct RetentionClock {
    /// What was believed, and when that was.
    believed: (Ms, Instant),
    /// The clock as last seen.
    last: (Ms, Instant),
    /// Since when it has gone evenly.
    even_since: Instant,
}

/// Time servers correct smaller steps all the time.
const STEP_MAX: Ms = 5 * MINUTE;
/// A person or a time server has had this long to put a clock right.
const EVEN: Duration = Duration::from_millis(DAY as u64);

impl RetentionClock {
    /// Goes on from the time that was believed before a restart.
    pub fn new(believed: Ms, now: Ms, mono: Instant) -> RetentionClock {
        RetentionClock {
            believed: (believed.min(now), mono),
            last: (now, mono),
            even_since: mono,
        }
    }

    /// The time to clean up by: never later than `now`.
    pub fn at(&mut self, now: Ms, mono: Instant) -> Ms {
        let on = |(at, since): (Ms, Instant)| at + mono.saturating_duration_since(since).as_millis() as Ms;
        if (now - on(self.last)).abs() > STEP_MAX {
            self.even_since = mono;
        }
        self.last = (now, mono);
        if now <= on(self.believed) || mono.saturating_duration_since(self.even_since) >= EVEN {
            self.believed = (now, mono);
        }
        on(self.believed).min(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::{self, HOUR};

    const NOW: Ms = 1_800_000_000_000;

    fn later(start: Instant, ms: Ms) -> Instant {
        start + Duration::from_millis(ms as u64)
    }

    #[test]
    fn a_jump_into_the_future_is_not_believed_and_the_way_back_is() {
        let start = clock::mono();
        let mut retention = RetentionClock::new(NOW, NOW, start);
        assert_eq!(retention.at(NOW + HOUR, later(start, HOUR)), NOW + HOUR);
        let ahead = 3_650 * DAY;
        for hour in 2..20 {
            let at = retention.at(NOW + ahead + hour * HOUR, later(start, hour * HOUR));
            assert_eq!(at, NOW + hour * HOUR, "ten years at once");
        }
        assert_eq!(retention.at(NOW + 20 * HOUR, later(start, 20 * HOUR)), NOW + 20 * HOUR);
        // Back by an hour, and on from there.
        assert_eq!(retention.at(NOW + 20 * HOUR, later(start, 21 * HOUR)), NOW + 20 * HOUR);
        assert_eq!(retention.at(NOW + 21 * HOUR, later(start, 22 * HOUR)), NOW + 21 * HOUR);
    }

    #[test]
    fn a_month_switched_off_is_believed_after_a_day() {
        let start = clock::mono();
        let mut retention = RetentionClock::new(NOW - 30 * DAY, NOW, start);
        for hour in 0..24 {
            let at = retention.at(NOW + hour * HOUR, later(start, hour * HOUR));
            assert_eq!(at, NOW - 30 * DAY + hour * HOUR);
        }
        assert_eq!(retention.at(NOW + DAY, later(start, DAY)), NOW + DAY);
        // What was believed in a wrong future is not worse than the clock that has been put right.
        assert_eq!(RetentionClock::new(NOW + 900 * DAY, NOW, start).at(NOW, start), NOW);
    }
}
