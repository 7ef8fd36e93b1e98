//! The only place that reads a clock. Wall time is unix milliseconds ([`Ms`]) and is for display and storage;
//! intervals and deadlines use the monotonic [`Instant`], which a step of the wall clock cannot bend.

pub use std::time::{Duration, Instant};
use std::time::{SystemTime, UNIX_EPOCH};

/// Unix time in milliseconds, UTC.
pub type Ms = i64;

/// Milliseconds in a second, a minute, an hour and a day.
pub const SECOND: Ms = 1_000;
/// Milliseconds in a minute.
pub const MINUTE: Ms = 60 * SECOND;
/// Milliseconds in an hour.
pub const HOUR: Ms = 60 * MINUTE;
/// Milliseconds in a day.
pub const DAY: Ms = 24 * HOUR;

/// The wall clock now. A clock set before 1970 reads as 0.
pub fn now() -> Ms {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_millis() as Ms)
}

/// The monotonic clock now.
pub fn mono() -> Instant {
    Instant::now()
}

/// `2026-01-02T03:04:05.678Z` (RFC 3339, UTC).
pub fn rfc3339(at: Ms) -> String {
    let (date, time) = (at.div_euclid(DAY), at.rem_euclid(DAY));
    let (y, m, d) = civil(date);
    format!(
        "{y:04}-{m:02}-{d:02}T{:02}:{:02}:{:02}.{:03}Z",
        time / HOUR,
        time / MINUTE % 60,
        time / SECOND % 60,
        time % SECOND
    )
}

/// `Sat, 21 Nov 2026 07:53:25 GMT` (IMF-fixdate, RFC 9110 §5.6.7).
pub fn http_date(at: Ms) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]; // 1970-01-01 was a Thursday
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (days, time) = (at.div_euclid(DAY), at.rem_euclid(DAY));
    let (y, m, d) = civil(days);
    format!(
        "{}, {d:02} {} {y:04} {:02}:{:02}:{:02} GMT",
        DAYS[days.rem_euclid(7) as usize],
        MONTHS[m as usize - 1],
        time / HOUR,
        time / MINUTE % 60,
        time / SECOND % 60
    )
}

/// Year, month and day of a count of days since 1970-01-01.
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
pub fn civil(days: i64) -> (i64, u32, u32) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let d = (doy - (153 * mp + 2) / 5 + 1) as u32;
    let m = if mp < 10 { mp + 3 } else { mp - 9 } as u32;
    (yoe + era * 400 + i64::from(m <= 2), m, d)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(951_782_399_999), "2000-02-28T23:59:59.999Z");
        assert_eq!(rfc3339(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(rfc3339(1_767_323_045_678), "2026-01-02T03:04:05.678Z");
        assert_eq!(http_date(784_111_777_000), "Sun, 06 Nov 1994 08:49:37 GMT"); // the RFC's own example
        assert_eq!(rfc3339(-1), "1969-12-31T23:59:59.999Z");
    }
}
