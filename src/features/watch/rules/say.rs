//! A rule as one sentence, in each language; evidence is always English.

use super::Rule;
use super::watches::{BUSY, DISK_TREND, LOG, Series, Unit, Watches};
use crate::base::clock::{HOUR, MINUTE, Ms, SECOND};
use crate::lang::format::{bytes, duration, rate};
use crate::lang::{Lang, words};

/// Id of a text with its values.
pub fn word(lang: Lang, id: &str, values: &[(&str, &str)]) -> String {
    words::filled(words::word(lang, id, None).unwrap_or(id), values)
}

fn word_of(lang: Lang, id: &str, n: i64, values: &[(&str, &str)]) -> String {
    words::filled(words::word(lang, id, Some(n)).unwrap_or(id), values)
}

/// Display name of a rule.
pub fn name(lang: Lang, rule: &Rule) -> String {
    match rule.builtin {
        Some(_) => word(lang, &format!("kind.{}", rule.fields.watches.kind()), &[]),
        None => rule.fields.name.clone(),
    }
}

/// A value with its unit.
pub fn value(lang: Lang, unit: Unit, value: f64) -> String {
    let digits = || Unit::digits(lang, value);
    match unit {
        Unit::Percent => format!("{}\u{a0}%", digits()),
        Unit::PerCore => word(lang, "rule.per_core", &[("n", &digits())]),
        Unit::Milliseconds => word(lang, "rule.ms", &[("n", &digits())]),
        Unit::BytesPerSecond => rate(lang, value),
        Unit::Minutes => duration(lang, (value * MINUTE as f64) as Ms),
        Unit::Hours => duration(lang, (value * HOUR as f64) as Ms),
        Unit::CorePercent => format!("{}\u{a0}%", digits()),
        Unit::Bytes => bytes(lang, value),
        Unit::Count => digits(),
        Unit::Lines => word_of(lang, "rule.lines", value as i64, &[("n", &digits())]),
    }
}

fn what(lang: Lang, series: &Series, mount: &str) -> String {
    match mount {
        "" => word(lang, &format!("rule.what.{}", series.name), &[]),
        mount => word(lang, "rule.what.disk_at", &[("mount", mount)]),
    }
}

/// `Any disk above 90 % for 5 min, until 85 %; only servers with web`. `group` names a group, if it is still there.
pub fn sentence(lang: Lang, rule: &Rule, group: impl Fn(i64) -> Option<String>) -> String {
    let f = &rule.fields;
    let mut say = match f.watches {
        Watches::Event(event) => word(lang, &format!("kind.{}", event.name), &[]),
        Watches::Series(series) => {
            let limit = &f.limit;
            let id = match (series.name, limit.below, limit.for_s) {
                (DISK_TREND, ..) => "rule.trend",
                (LOG, ..) => "rule.log",
                (_, false, 0) => "rule.above",
                (_, false, _) => "rule.above_for",
                (_, true, 0) => "rule.below",
                (_, true, _) => "rule.below_for",
            };
            let values = [
                ("what", &*what(lang, series, &limit.mount)),
                ("bad", &value(lang, series.unit, limit.threshold)),
                ("fine", &value(lang, series.unit, limit.clear)),
                ("span", &duration(lang, limit.for_s * SECOND)),
                ("words", &*f.words),
            ];
            word(lang, id, &values)
        }
    };
    if rule.asks_for_busy() {
        let busy = value(lang, Unit::Percent, BUSY);
        say = word(lang, "rule.while_busy", &[("say", &say), ("busy", &busy)]);
    }
    if !f.containers.is_empty() {
        let values = [("say", &*say), ("which", &*f.containers)];
        say = word(lang, "rule.only_containers", &values);
    }
    if !f.scope.is_everything() {
        let gone = || word(lang, "rule.group_gone", &[]);
        let (id, name, what) = match (f.scope.tags(), f.scope.groups()) {
            (Some(tags), _) => ("rule.only_tags", "tags", tags.join(", ")),
            (None, Some(ids)) => {
                let names: Vec<String> = ids.iter().map(|id| group(*id).unwrap_or_else(gone)).collect();
                ("rule.only_groups", "groups", names.join(", "))
            }
            (None, None) => ("rule.only_scope", "scope", f.scope.sentence()),
        };
        say = word(lang, id, &[("say", &say), (name, &what)]);
    }
    let mut letters = say.chars();
    letters
        .next()
        .map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// The sentence for evidence: English, with plain spaces, and the rule's origin.
pub fn reason(rule: &Rule) -> String {
    let say = sentence(Lang::En, rule, |_| None).replace('\u{a0}', " ");
    match rule.builtin {
        Some(_) => format!("rule: {say}"),
        None => format!("rule “{}”: {say}", rule.fields.name),
    }
}
