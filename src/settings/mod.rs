//! Every setting that can change while the daemon runs: one row of one table. Page, API, validation and defaults read it
//! from here. A setting is asked for where it is used, so a change holds from the next use on.

mod queries;

use crate::base::clock;
use crate::base::error::{Error, Field, Kind, Result};
use crate::db::{Conn, Tx};

/// What a value may be.
#[derive(Debug, Clone, Copy)]
pub enum Type {
    /// A whole number between two bounds.
    Number {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
        /// `s`, `d`, `` …
        unit: &'static str,
    },
}

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// `section.name`.
    pub key: &'static str,
    /// Its type and bounds.
    pub kind: Type,
    /// What holds when nobody has set it.
    pub default: i64,
    /// One sentence.
    pub help: &'static str,
    /// The same in Russian.
    pub help_ru: &'static str,
}

macro_rules! number {
    ($key:literal, $default:literal, $min:literal..=$max:literal, $unit:literal, $help:literal, $ru:literal) => {
        Setting {
            key: $key,
            kind: Type::Number {
                min: $min,
                max: $max,
                unit: $unit,
            },
            default: $default,
            help: $help,
            help_ru: $ru,
        }
    };
}

/// All of them, in the order of the page.
pub const TABLE: &[Setting] = &[
    number!(
        "poll.fail_threshold",
        3,
        1..=20,
        "",
        "Missed polls in a row until a lamp is dark.",
        "Пропущенных опросов подряд, после которых фонарь гаснет."
    ),
    number!(
        "poll.threads_max",
        64,
        4..=512,
        "",
        "Most threads that poll at the same time; taken over at start.",
        "Наибольшее число потоков опроса; действует после перезапуска."
    ),
    number!(
        "retention.task_days",
        30,
        1..=3650,
        "d",
        "How long finished tasks and their logs are kept.",
        "Сколько хранить завершённые задачи и их журналы."
    ),
    number!(
        "retention.event_days",
        90,
        1..=3650,
        "d",
        "How long events and resolved alerts are kept.",
        "Сколько хранить события и закрытые оповещения."
    ),
    number!(
        "streams.per_user",
        8,
        1..=256,
        "",
        "Live streams one user may hold open.",
        "Сколько живых потоков может открыть один пользователь."
    ),
];

fn find(key: &str) -> Option<&'static Setting> {
    TABLE.iter().find(|s| s.key == key)
}

/// The value that holds now. An unknown key is a mistake of ours.
pub fn number(conn: &Conn, key: &'static str) -> Result<i64> {
    let setting = find(key).ok_or_else(|| Error::internal(format!("no setting {key}")))?;
    let stored = queries::get(conn, key)?;
    Ok(stored
        .and_then(|text| parse(setting, &text).ok())
        .unwrap_or(setting.default))
}

/// Sets one value after checking it; `None` takes the default back.
pub fn set(tx: &Tx, key: &str, value: Option<&str>, by: &str) -> Result<()> {
    let setting = find(key).ok_or_else(|| Error::not_found("setting"))?;
    match value {
        Some(text) => {
            let number = parse(setting, text).map_err(|message| Error {
                fields: vec![Field {
                    field: setting.key,
                    code: "bad_number",
                    message: message.clone(),
                }],
                ..Error::new(Kind::Invalid, "invalid", message)
            })?;
            queries::put(tx, key, &number.to_string(), by, clock::now())
        }
        None => queries::remove(tx, key),
    }
}

fn parse(setting: &Setting, text: &str) -> std::result::Result<i64, String> {
    let Type::Number { min, max, unit } = setting.kind;
    match text.trim().parse::<i64>() {
        Ok(n) if (min..=max).contains(&n) => Ok(n),
        _ => Err(format!(
            "{} is a whole number from {min} to {max}{}{unit}.",
            setting.key,
            if unit.is_empty() { "" } else { " " }
        )),
    }
}
