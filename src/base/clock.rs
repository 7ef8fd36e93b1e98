//! The only place that reads a clock. Wall time is unix milliseconds ([`Ms`]) and is for display and storage; intervals
//! and deadlines use the monotonic [`Instant`], which changes of the wall clock do not affect.

pub use std::time::{Duration, Instant};
use std::time::{SystemTime, UNIX_EPOCH};

/// Unix time in milliseconds, UTC.
pub type Ms = i64;

/// Milliseconds in a second.
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

/// Days since 1970-01-01 of a date; `None` when the date does not exist (30 February). Source: as [`civil`],
/// `days_from_civil`.
pub fn days(y: i64, m: i64, d: i64) -> Option<i64> {
    let shifted = y - i64::from(m <= 2);
    let era = shifted.div_euclid(400);
    let yoe = shifted.rem_euclid(400);
    let doy = (153 * (m + if m > 2 { -3 } else { 9 }) + 2) / 5 + d - 1;
    let days = era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468;
    (civil(days) == (y, u32::try_from(m).ok()?, u32::try_from(d).ok()?)).then_some(days)
}

/// Reads `2026-01-02T03:04`, with or without seconds, fraction and `Z`: what [`rfc3339`] writes and what `<input
/// type=datetime-local>` sends. Always UTC; `None` when it is malformed.
pub fn parse_utc(text: &str) -> Option<Ms> {
    let (date, time) = text.strip_suffix('Z').unwrap_or(text).split_once('T')?;
    let number = |part: &str, digits: usize| match part.len() == digits && part.bytes().all(|b| b.is_ascii_digit()) {
        true => part.parse::<i64>().ok(),
        false => None,
    };
    let (time, ms) = match time.split_once('.') {
        Some((time, part)) if time.len() == 8 => (time, number(part, 3)?),
        Some(_) => return None,
        None => (time, 0),
    };
    let date: Vec<&str> = date.split('-').collect();
    let [y, m, d] = date[..] else { return None };
    let time: Vec<&str> = time.split(':').collect();
    let (h, min, s) = match time[..] {
        [h, min] => (h, min, "00"),
        [h, min, s] => (h, min, s),
        _ => return None,
    };
    let days = days(number(y, 4)?, number(m, 2)?, number(d, 2)?)?;
    let (h, min, s) = (number(h, 2)?, number(min, 2)?, number(s, 2)?);
    let is_time = h < 24 && min < 60 && s < 60;
    is_time.then_some(days * DAY + h * HOUR + min * MINUTE + s * SECOND + ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read_and_what_is_no_time_cannot() {
        for at in [
            0,
            951_782_399_999,
            951_782_400_000,
            1_795_000_000_123,
            4_102_444_800_000,
        ] {
            assert_eq!(parse_utc(&rfc3339(at)), Some(at));
        }
        assert_eq!(parse_utc("2026-11-21T14:30"), parse_utc("2026-11-21T14:30:00Z"));
        for bad in [
            "",
            "T",
            "2026-11-21",
            "2026-02-29T10:00",
            "2026-13-01T10:00",
            "2026-00-01T10:00",
            "2026-11-31T10:00",
            "2026-11-21T24:00",
            "2026-11-21T10:60",
            "2026-11-21 10:00",
            "2026-11-21T10:00+02:00",
            "26-11-21T10:00",
            "2026-11-21T1:00",
            "2026-11-21T10:00:00.5Z",
            "+026-11-21T10:00",
            "2026-11-21T10:00:0é",
        ] {
            assert_eq!(parse_utc(bad), None, "{bad}");
        }
    }

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
