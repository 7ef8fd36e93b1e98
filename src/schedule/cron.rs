//! Cron expressions: five fields (minute, hour, day of month, month, day of week) with lists, ranges, steps and English
//! names, or `@daily` and the like. Expressions that cron programs read differently (`5/15`, `50-10`) and those that
//! never match are refused with a sentence.
//!
//! When the clocks change, an expression with a fixed time of day runs once: a skipped time at the moment of the
//! change, a doubled one the first time. One whose minute or hour begins with `*` follows real time (as Debian's cron).

use crate::base::clock::{self, DAY, HOUR, MINUTE, Ms};
use crate::base::zone::{Instants, Zone};

/// Longest expression in bytes.
const LENGTH_MAX: usize = 200;
/// Days to search ahead. The rarest match: 29 February on a given weekday, across a year like 2100.
const DAYS_MAX: i64 = 41 * 366;

/// A parsed expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    minutes: Field,
    hours: Field,
    days: Field,
    months: Field,
    weekdays: Field,
}

/// Matching values of a field, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Field {
    bits: u64,
    /// Does it begin with `*`?
    star: bool,
}

impl Field {
    fn has(self, n: i64) -> bool {
        (0..64).contains(&n) && self.bits >> n & 1 == 1
    }
}

/// Allowed values of a field.
struct Rule {
    what: &'static str,
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

const RULES: [Rule; 5] = [
    Rule {
        what: "minute",
        min: 0,
        max: 59,
        names: &[],
    },
    Rule {
        what: "hour",
        min: 0,
        max: 23,
        names: &[],
    },
    Rule {
        what: "day of the month",
        min: 1,
        max: 31,
        names: &[],
    },
    Rule {
        what: "month",
        min: 1,
        max: 12,
        names: &[
            "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
        ],
    },
    // 7 is Sunday, too.
    Rule {
        what: "day of the week",
        min: 0,
        max: 7,
        names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    },
];

const SHORT: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

impl Cron {
    /// Parses an expression. The error is a sentence for its author.
    pub fn parse(text: &str) -> Result<Cron, String> {
        if text.len() > LENGTH_MAX {
            return Err(format!("A schedule has {LENGTH_MAX} characters at most."));
        }
        let lower = text.trim().to_ascii_lowercase();
        let spelt = match lower.strip_prefix('@') {
            Some(_) => {
                let known = SHORT.iter().find(|(short, _)| *short == lower).map(|(_, long)| *long);
                known.ok_or_else(|| {
                    format!(
                        "{text} is not known. There are {}.",
                        SHORT.map(|(short, _)| short).join(", ")
                    )
                })?
            }
            None => &lower,
        };
        let parts: Vec<&str> = spelt.split_ascii_whitespace().collect();
        let parts: [&str; 5] = parts.try_into().map_err(|parts: Vec<&str>| {
            format!(
                "A schedule has five fields (minute, hour, day of the month, month, day of the week), not {}.",
                parts.len()
            )
        })?;
        let mut fields = [Field { bits: 0, star: false }; 5];
        for ((field, part), rule) in fields.iter_mut().zip(parts).zip(&RULES) {
            *field = rule.read(part)?;
        }
        let [minutes, hours, days, months, mut weekdays] = fields;
        weekdays.bits = (weekdays.bits | weekdays.bits >> 7) & 0x7f;
        let cron = Cron {
            minutes,
            hours,
            days,
            months,
            weekdays,
        };
        match cron.next_after(0, &Zone::utc()) {
            Some(_) => Ok(cron),
            None => Err(format!("{text} never comes: no month has such a day.")),
        }
    }

    /// The first time after `at` (unix ms) that matches on the clocks of `zone`.
    pub fn next_after(&self, at: Ms, zone: &Zone) -> Option<Ms> {
        let today = zone.local(at).div_euclid(DAY);
        // The clocks may have been put back across midnight.
        (today - 1..today + DAYS_MAX)
            .filter(|day| self.has_day(*day))
            .find_map(|day| match self.minutes.star || self.hours.star {
                true => self.by_real_time(day, at, zone),
                false => self.at_fixed_times(day, at, zone),
            })
    }

    fn has_day(&self, day: i64) -> bool {
        let (_, month, of_month) = clock::civil(day);
        if !self.months.has(i64::from(month)) {
            return false;
        }
        let of_month = self.days.has(i64::from(of_month));
        let of_week = self.weekdays.has((day + 4).rem_euclid(7)); // 1970-01-01 was a Thursday
        // If both day fields are given, either matches; a field with a star restricts the other one.
        match self.days.star || self.weekdays.star {
            true => of_month && of_week,
            false => of_month || of_week,
        }
    }

    fn at_fixed_times(&self, day: i64, at: Ms, zone: &Zone) -> Option<Ms> {
        let local = times(self.hours, 24).flat_map(|h| times(self.minutes, 60).map(move |m| (h, m)));
        local
            .map(|(h, m)| zone.instants(day * DAY + h * HOUR + m * MINUTE).first())
            .find(|instant| *instant > at)
    }

    fn by_real_time(&self, day: i64, at: Ms, zone: &Zone) -> Option<Ms> {
        let mut instants: Vec<Ms> = times(self.hours, 24)
            .flat_map(|h| times(self.minutes, 60).map(move |m| (h, m)))
            .flat_map(|(h, m)| match zone.instants(day * DAY + h * HOUR + m * MINUTE) {
                Instants::Skipped(_) => [None, None],
                Instants::One(instant) => [Some(instant), None],
                Instants::Two(first, second) => [Some(first), Some(second)],
            })
            .flatten()
            .filter(|instant| *instant > at)
            .collect();
        instants.sort_unstable();
        instants.first().copied()
    }
}

fn times(field: Field, end: i64) -> impl Iterator<Item = i64> + Clone {
    (0..end).filter(move |n| field.has(*n))
}

impl Rule {
    fn read(&self, text: &str) -> Result<Field, String> {
        let mut field = Field {
            bits: 0,
            star: text.starts_with('*'),
        };
        for part in text.split(',') {
            let (range, step) = match part.split_once('/') {
                Some((range, step)) => (range, Some(self.number(step, part)?)),
                None => (part, None),
            };
            let (from, to) = match range.split_once('-') {
                _ if range == "*" => (self.min, self.max),
                Some((from, to)) => {
                    let from = self.value(from, part)?;
                    let to = self.value(to, part)?;
                    // `fri-sun`: Sunday is also the seventh.
                    (from, if self.max == 7 && to == 0 && from > 0 { 7 } else { to })
                }
                None if step.is_some() => {
                    return Err(format!(
                        "“{part}”: steps go over a range, like {range}-{}/{}.",
                        self.max,
                        &part[range.len() + 1..]
                    ));
                }
                None => self.value(range, part).map(|n| (n, n))?,
            };
            if from > to {
                return Err(format!("“{part}”: the {} would end before it begins.", self.what));
            }
            let step = step.unwrap_or(1);
            if step == 0 {
                return Err(format!("“{part}”: a step of 0 goes nowhere."));
            }
            // A star is each day once: it does not count Sunday twice.
            let to = if range == "*" && self.max == 7 { 6 } else { to };
            (from..=to).step_by(step as usize).for_each(|n| field.bits |= 1 << n);
        }
        Ok(field)
    }

    /// A value of this field, as a number or by its name.
    fn value(&self, text: &str, part: &str) -> Result<u32, String> {
        if let Some(n) = self.names.iter().position(|name| *name == text) {
            return Ok(n as u32 + self.min);
        }
        let n = self.number(text, part)?;
        match (self.min..=self.max).contains(&n) {
            true => Ok(n),
            false => Err(format!(
                "“{part}”: the {} goes from {} to {}.",
                self.what, self.min, self.max
            )),
        }
    }

    fn number(&self, text: &str, part: &str) -> Result<u32, String> {
        let is_number = !text.is_empty() && text.len() <= 4 && text.bytes().all(|b| b.is_ascii_digit());
        let number = is_number.then(|| text.parse().ok()).flatten();
        number.ok_or_else(|| format!("“{part}” is no {}.", self.what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cron(text: &str) -> Cron {
        Cron::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    /// The next `n` runs after a UTC time, in UTC, without seconds.
    fn next(text: &str, zone: &str, after: &str, n: usize) -> Vec<String> {
        let (cron, zone) = (cron(text), Zone::load(zone).unwrap());
        let mut at = clock::parse_utc(after).unwrap();
        (0..n)
            .map(|_| {
                at = cron.next_after(at, &zone).unwrap();
                clock::rfc3339(at)[..16].to_string()
            })
            .collect()
    }

    #[test]
    fn what_is_read_and_what_is_refused() {
        for (text, same) in [
            ("0 0 * * 7", "0 0 * * 0"),
            ("0 0 * * 5-7", "0 0 * * fri,sat,sun"),
            ("0 0 * * fri-SUN", "0 0 * * 5,6,0"),
            ("0 0 * * mon-fri/2", "0 0 * * 1,3,5"),
            ("*/90 * * * *", "*/60 * * * *"),
            (" 05 08\t1 jan-mar * ", "5 8 1 1-3 *"),
            ("@daily", "0 0 * * *"),
            ("@Hourly", "0 * * * *"),
            ("0-59/7 0 * * *", "0,7,14,21,28,35,42,49,56 0 * * *"),
        ] {
            assert_eq!(cron(text), cron(same), "{text}");
        }
        assert_eq!(cron("0 0 * * 0-7").weekdays.bits, 0x7f);
        assert_eq!(cron("0 0 * * */7").weekdays.bits, 1);
        for bad in [
            "",
            "* * * *",
            "* * * * * *",
            "@reboot",
            "@",
            "5/15 * * * *",
            "50-10 * * * *",
            "1,,2 * * * *",
            "*/0 * * * *",
            "? * * * *",
            "~ * * * *",
            "-5 * * * *",
            "+5 * * * *",
            "60 * * * *",
            "0 24 * * *",
            "0 0 0 * *",
            "0 0 32 * *",
            "0 0 * 13 *",
            "0 0 * 0 *",
            "0 0 * * 8",
            "0 0 L * *",
            "0 0 * * 5#2",
            "0 0 30 2 *",
            "0 0 31 4,6,9,11 *",
            "0 0 * * mond",
            "0 0 jan * *",
            "1-2-3 * * * *",
            "1/2/3 * * * *",
            "99999999999 * * * *",
            "*5 * * * *",
            "é * * * *",
        ] {
            let told = Cron::parse(bad).expect_err(bad);
            assert!(told.ends_with('.'), "{bad}: {told}");
        }
        assert!(Cron::parse(&"1,".repeat(10_000)).is_err());
    }

    #[test]
    fn days_of_the_month_and_of_the_week() {
        // 2026-11-13 is a Friday.
        let either = [
            "2026-11-06T00:00",
            "2026-11-13T00:00",
            "2026-11-20T00:00",
            "2026-11-27T00:00",
            "2026-12-04T00:00",
        ];
        assert_eq!(next("0 0 13 * 5", "UTC", "2026-11-01T00:00", 5), either);
        assert_eq!(next("0 0 13 * 5", "UTC", "2026-12-11T00:00", 1), ["2026-12-13T00:00"]);
        // With a star, both.
        assert_eq!(
            next("0 0 */10 * 5", "UTC", "2026-01-01T00:00", 3),
            ["2026-05-01T00:00", "2026-07-31T00:00", "2026-08-21T00:00"]
        );
        assert_eq!(
            next("0 0 29 2 *", "UTC", "2096-03-01T00:00", 1),
            ["2104-02-29T00:00"],
            "2100 is no leap year"
        );
        assert_eq!(
            next("59 23 31 12 *", "UTC", "2026-12-31T23:59", 1),
            ["2027-12-31T23:59"]
        );
    }

    #[test]
    fn clocks_put_forward() {
        let before = "2026-03-29T00:15"; // 01:15 in Berlin; at 02:00 it is 03:00
        assert_eq!(
            next("30 2 * * *", "Europe/Berlin", before, 2),
            ["2026-03-29T01:00", "2026-03-30T00:30"],
            "once, at the jump"
        );
        assert_eq!(
            next("0,30 2,3 * * *", "Europe/Berlin", before, 3),
            ["2026-03-29T01:00", "2026-03-29T01:30", "2026-03-30T00:00"]
        );
        assert_eq!(
            next("*/30 * * * *", "Europe/Berlin", before, 3),
            ["2026-03-29T00:30", "2026-03-29T01:00", "2026-03-29T01:30"]
        );
        assert_eq!(
            next("15 * * * *", "Europe/Berlin", before, 2),
            ["2026-03-29T01:15", "2026-03-29T02:15"]
        );
        assert_eq!(
            next("30 */2 * * *", "Europe/Berlin", "2026-03-28T23:00", 2),
            ["2026-03-28T23:30", "2026-03-29T02:30"]
        );
    }

    #[test]
    fn clocks_put_back() {
        let before = "2026-10-24T23:45"; // 01:45 in Berlin; at 03:00 it is 02:00 again
        assert_eq!(
            next("30 2 * * *", "Europe/Berlin", before, 2),
            ["2026-10-25T00:30", "2026-10-26T01:30"],
            "once, the first time"
        );
        assert_eq!(
            next("*/30 * * * *", "Europe/Berlin", before, 5),
            [
                "2026-10-25T00:00",
                "2026-10-25T00:30",
                "2026-10-25T01:00",
                "2026-10-25T01:30",
                "2026-10-25T02:00"
            ]
        );
        assert_eq!(
            next("0 * * * *", "Europe/Berlin", before, 3),
            ["2026-10-25T00:00", "2026-10-25T01:00", "2026-10-25T02:00"]
        );
        assert_eq!(
            next("30 1 * * *", "America/New_York", "2026-11-01T00:00", 2),
            ["2026-11-01T05:30", "2026-11-02T06:30"]
        );
    }

    #[test]
    fn the_next_time_is_always_later_and_always_fits() {
        let mut seed: u64 = 1;
        let mut below = |n: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % n
        };
        let zones = [
            "Europe/Berlin",
            "America/St_Johns",
            "Australia/Lord_Howe",
            "Asia/Kathmandu",
            "UTC",
        ];
        let zones = zones.map(|name| Zone::load(name).unwrap());
        let texts = [
            "*/7 * * * *",
            "13 2 * * *",
            "*/20 1-3 * * *",
            "0 0 1 */3 *",
            "30 2 * * 0",
            "5,55 1,2 * 3,4,10,11 *",
        ];
        for _ in 0..3_000 {
            let (zone, cron) = (&zones[below(5) as usize], cron(texts[below(6) as usize]));
            let at = (1_700_000_000 + below(300_000_000) as i64) * 1_000;
            let next = cron.next_after(at, zone).unwrap();
            assert!(next > at);
            // Nothing that fits lies in between, when real time counts.
            if cron.minutes.star || cron.hours.star {
                let fits = |at: Ms| {
                    let local = zone.local(at);
                    cron.has_day(local.div_euclid(DAY))
                        && cron.hours.has(local.rem_euclid(DAY) / HOUR)
                        && cron.minutes.has(local.rem_euclid(HOUR) / MINUTE)
                };
                assert!(fits(next));
                let from = at.div_euclid(MINUTE) * MINUTE + MINUTE;
                assert!((from..next).step_by(MINUTE as usize).take(3_000).all(|at| !fits(at)));
            }
        }
    }
}
