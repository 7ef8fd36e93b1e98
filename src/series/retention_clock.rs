//! The time for retention. A clock that jumps into the future (bad battery, bad time server) must not make all samples
//! look old: removed data is lost, data kept too long only costs disk. So retention continues steadily from the last
//! trusted time, and trusts a jumped clock only after it has run steadily for a day.

use crate::base::clock::{DAY, Duration, Instant, MINUTE, Ms};

/// The trusted time of the clean-up.
#[derive(Debug, Clone, Copy)]
pub struct RetentionClock {
    /// The trusted time, and when it was taken.
    believed: (Ms, Instant),
    /// The clock's last reading.
    last: (Ms, Instant),
    /// Since when it has run steadily.
    even_since: Instant,
}

/// Steps smaller than this are usual corrections by time servers.
const STEP_MAX: Ms = 5 * MINUTE;
/// Time a jumped clock must run steadily before it is trusted.
const EVEN: Duration = Duration::from_millis(DAY as u64);

impl RetentionClock {
    /// Continues from the time trusted before a restart.
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
        // A trusted time in the future is corrected when the clock is set back.
        assert_eq!(RetentionClock::new(NOW + 900 * DAY, NOW, start).at(NOW, start), NOW);
    }
}
