//! Times as Python writes them.

use crate::base::clock::{self, Ms};

/// `0:10:08`, `1 day, 2:51:02`, `413 days, 6:07:24`: Python's timedelta, never localised.
pub fn uptime(text: &str) -> Option<u64> {
    let (days, time) = match text.split_once(" day") {
        Some((days, rest)) => (
            days.parse().ok()?,
            rest.strip_prefix('s').unwrap_or(rest).strip_prefix(", ")?,
        ),
        None => (0, text),
    };
    let mut parts = time.split('.').next()?.split(':').map(|p| p.parse::<u64>().ok());
    let (h, m, s) = (parts.next()??, parts.next()??, parts.next()??);
    let plausible = days < 100_000 && h < 24 && m < 60 && s < 60 && parts.next().is_none();
    plausible.then_some(((days * 24 + h) * 60 + m) * 60 + s)
}

/// `2026-11-21T04:54:43+00:00` (4.x) and `2026-11-21 04:54:33 UTC` (3.x, when the server keeps UTC). A time without a zone
/// that can be reckoned with says nothing.
pub fn instant(text: &str) -> Option<Ms> {
    let number = |range: std::ops::Range<usize>| -> Option<i64> {
        let digits = text.get(range)?;
        digits
            .bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| digits.parse().ok())?
    };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (h, m, s) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let days = clock::days(year, month, day)?;
    if h > 23 || m > 59 || s > 60 {
        return None;
    }
    let fraction = text
        .get(19..)?
        .trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let zone_minutes = match fraction.trim() {
        "Z" | "UTC" | "GMT" => 0,
        zone => {
            let b = zone.as_bytes();
            let sign = match b.first()? {
                b'+' => 1,
                b'-' => -1,
                _ => return None,
            };
            let two = |i: usize| zone.get(i..i + 2)?.parse::<i64>().ok();
            sign * (two(1)? * 60 + two(if b.get(3) == Some(&b':') { 4 } else { 3 })?)
        }
    };
    Some(days * clock::DAY + h * clock::HOUR + (m - zone_minutes) * clock::MINUTE + s * clock::SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptimes_are_pythons() {
        assert_eq!(uptime("0:10:08"), Some(608));
        assert_eq!(uptime("413 days, 6:07:24"), Some(413 * 86_400 + 22_044));
        for odd in [
            "",
            "1 jour, 2:00:00",
            "25:00:00",
            "0:60:00",
            "1:2",
            "-1 day, 2:00:00",
            "99999999999 days, 0:00:00",
        ] {
            assert_eq!(uptime(odd), None, "{odd}");
        }
    }

    #[test]
    fn clocks_without_a_zone_say_nothing() {
        assert_eq!(instant("2000-02-29T00:00:00+00:00"), Some(951_782_400_000));
        assert_eq!(instant("2000-02-29T05:30:00.123456+05:30"), Some(951_782_400_000));
        assert_eq!(instant("2000-02-28 19:00:00-0500"), Some(951_782_400_000));
        assert_eq!(instant("2000-02-29 00:00:00 UTC"), Some(951_782_400_000));
        for odd in [
            "2000-02-29 00:00:00 MSK",
            "2000-02-29 00:00:00",
            "2000-13-01 00:00:00 UTC",
            "вчера",
            "",
        ] {
            assert_eq!(instant(odd), None, "{odd}");
        }
    }
}
