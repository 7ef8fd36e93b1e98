//! Formats of numbers, sizes, durations and times in each language.

use super::{Lang, Locale};
use crate::base::clock::{self, DAY, HOUR, MINUTE, Ms, SECOND};
use crate::base::zone::Zone;
use std::fmt::Write;

/// A number with the language's grouping and decimal sign.
pub fn number(lang: Lang, value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    let (sign, text) = text.strip_prefix('-').map_or(("", text.as_str()), |rest| ("-", rest));
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let (group, point) = match lang {
        Lang::En => (',', '.'),
        Lang::Ru => ('\u{a0}', ','),
    };
    let mut out = String::from(sign);
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i) % 3 == 0 {
            out.push(group);
        }
        out.push(digit);
    }
    if !rest.is_empty() {
        let _ = write!(out, "{point}{rest}");
    }
    out
}

/// `63 %`, below ten `6.3 %`.
pub fn percent(lang: Lang, value: f64) -> String {
    format!("{}\u{a0}%", number(lang, value, usize::from(value < 9.95)))
}

/// `41 MB/s`: powers of 1000, as usual for networks.
pub fn rate(lang: Lang, value: f64) -> String {
    let units = match lang {
        Lang::En => ["B/s", "kB/s", "MB/s", "GB/s"],
        Lang::Ru => ["Б/с", "кБ/с", "МБ/с", "ГБ/с"],
    };
    let (value, at) = scaled(value, 1000.0, units.len());
    format!(
        "{}\u{a0}{}",
        number(lang, value, usize::from(at > 0 && value < 9.95)),
        units[at]
    )
}

/// The value in the largest unit in which it is at least one, and the index of the unit.
fn scaled(value: f64, base: f64, units: usize) -> (f64, usize) {
    let (mut value, mut at) = (value.max(0.0), 0);
    while value >= base - 0.5 && at + 1 < units {
        value /= base;
        at += 1;
    }
    (value, at)
}

/// `31.3 GiB`: powers of 1024, three figures.
pub fn bytes(lang: Lang, value: f64) -> String {
    let units = match lang {
        Lang::En => ["B", "KiB", "MiB", "GiB", "TiB", "PiB"],
        Lang::Ru => ["Б", "КиБ", "МиБ", "ГиБ", "ТиБ", "ПиБ"],
    };
    let (value, at) = scaled(value, 1024.0, units.len());
    let digits = usize::from(at > 0 && value < 99.95);
    format!("{}\u{a0}{}", number(lang, value, digits), units[at])
}

fn unit(lang: Lang, at: usize) -> &'static str {
    match lang {
        Lang::En => ["s", "min", "h", "d"][at],
        Lang::Ru => ["с", "мин", "ч", "д"][at],
    }
}

/// A duration: `0.6 s`, `24 s`, `1 min 44 s`, `2 h 5 min`, `41 d`.
pub fn duration(lang: Lang, ms: Ms) -> String {
    let u = |at| unit(lang, at);
    let two = |a: Ms, ua, b: Ms, ub| match b {
        0 => format!("{a}\u{a0}{ua}"),
        b => format!("{a}\u{a0}{ua} {b}\u{a0}{ub}"),
    };
    match ms.max(0) {
        ms if ms < 10 * SECOND && ms % SECOND != 0 => format!("{}\u{a0}{}", number(lang, ms as f64 / 1000.0, 1), u(0)),
        ms if ms < 90 * SECOND => format!("{}\u{a0}{}", ms / SECOND, u(0)),
        ms if ms < HOUR => two(ms / MINUTE, u(1), ms % MINUTE / SECOND, u(0)),
        ms if ms < 2 * DAY => two(ms / HOUR, u(2), ms % HOUR / MINUTE, u(1)),
        ms => format!("{}\u{a0}{}", number(lang, (ms / DAY) as f64, 0), u(3)),
    }
}

/// An age in one unit, rounded as the pages' script does.
pub fn words_of_age(lang: Lang, ms: Ms, ago: bool) -> String {
    let s = (ms.max(0) as f64 / 1000.0).round();
    let (value, at) = match s {
        s if s < 90.0 => (s, 0),
        s if s < 5_400.0 => ((s / 60.0).round(), 1),
        s if s < 172_800.0 => ((s / 3_600.0).round(), 2),
        s => ((s / 86_400.0).round(), 3),
    };
    let text = format!("{}\u{a0}{}", number(lang, value, 0), unit(lang, at));
    match (ago, lang) {
        (false, _) => text,
        (true, Lang::En) => text + " ago",
        (true, Lang::Ru) => text + " назад",
    }
}

/// Time of day: `14:29:40`.
pub fn time_of_day(zone: &Zone, at: Ms) -> String {
    let s = zone.local(at).rem_euclid(DAY) / SECOND;
    format!("{:02}:{:02}:{:02}", s / 3_600, s / 60 % 60, s % 60)
}

/// Date: `12 Mar 2026`.
pub fn day(on: &Locale, at: Ms) -> String {
    let (year, month, day) = clock::civil(on.zone.local(at).div_euclid(DAY));
    let names = match on.lang {
        Lang::En => [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ],
        Lang::Ru => [
            "янв.",
            "февр.",
            "мар.",
            "апр.",
            "мая",
            "июн.",
            "июл.",
            "авг.",
            "сент.",
            "окт.",
            "нояб.",
            "дек.",
        ],
    };
    format!("{day}\u{a0}{}\u{a0}{year}", names[month as usize - 1])
}

/// Time of day, with the date if it is not today.
pub fn moment(on: &Locale, at: Ms) -> String {
    let day_of = |at: Ms| on.zone.local(at).div_euclid(DAY);
    match day_of(at) == day_of(clock::now()) {
        true => time_of_day(&on.zone, at),
        false => moment_long(on, at),
    }
}

/// Date and time of day.
pub fn moment_long(on: &Locale, at: Ms) -> String {
    format!("{}, {}", day(on, at), time_of_day(&on.zone, at))
}

/// As [`moment_long`] with the offset from UTC, where the zone is not clear from the context: `…, 14:29:40 UTC+3`.
pub fn instant(on: &Locale, at: Ms) -> String {
    format!("{} {}", moment_long(on, at), on.zone.label(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_language_does() {
        assert_eq!(number(Lang::En, 1234.5, 1), "1,234.5");
        assert_eq!(number(Lang::Ru, -1234.5, 1), "-1\u{a0}234,5");
        assert_eq!(bytes(Lang::En, 33_608_761_344.0), "31.3\u{a0}GiB");
        assert_eq!(bytes(Lang::Ru, 0.0), "0\u{a0}Б");
        assert_eq!(rate(Lang::En, 41_200_000.0), "41\u{a0}MB/s");
        assert_eq!(percent(Lang::Ru, 6.26), "6,3\u{a0}%");
        assert_eq!(percent(Lang::En, 63.2), "63\u{a0}%");
        for (ms, text) in [
            (600, "0.6 s"),
            (24_000, "24 s"),
            (104_000, "1 min 44 s"),
            (7_500_000, "2 h 5 min"),
            (41 * DAY, "41 d"),
        ] {
            assert_eq!(duration(Lang::En, ms).replace('\u{a0}', " "), text);
        }
        assert_eq!(
            words_of_age(Lang::Ru, 27 * MINUTE, true).replace('\u{a0}', " "),
            "27 мин назад"
        );
    }
}
