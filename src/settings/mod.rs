//! Settings that can change while the daemon runs: each is one row beside the feature that reads it. Page, API,
//! validation and defaults are made from the rows. A setting is read at each use, so a change takes effect at the next
//! one.

pub mod check;
mod queries;

use crate::base::clock;
use crate::base::error::{Error, Field, Kind, Result};
use crate::base::shape::{Described, Shape};
use crate::base::text::unseen;
use crate::base::zone::Zone;
use crate::db::{Conn, Tx};
use crate::lang::{Lang, words};
use std::fmt;

/// Type, bounds and default of a setting.
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
        /// Default.
        default: i64,
    },
    /// Text on one line.
    Text {
        /// Longest, in bytes.
        max: usize,
        /// Default.
        default: &'static str,
        /// Validates and normalizes; the error is a sentence. Gets neither control characters nor outer spaces.
        check: fn(&str) -> std::result::Result<String, String>,
    },
}

/// One setting; `setting.KEY` in the catalogue is its name, `setting.KEY.help` its description.
#[derive(Debug)]
pub struct Setting {
    /// `section.name`.
    pub key: &'static str,
    /// Its type, bounds and default.
    pub kind: Type,
}

/// A setting's value. In JSON a number or a string.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(untagged)]
pub enum Value {
    /// Of [`Type::Number`].
    Number(i64),
    /// Of [`Type::Text`].
    Text(String),
}

impl Described for Value {
    const SHAPE: &'static Shape = &Shape::Scalar;
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Number(n) => n.fmt(f),
            Value::Text(text) => f.write_str(text),
        }
    }
}

impl Setting {
    /// A number setting with these bounds.
    pub const fn of_number(key: &'static str, (min, max): (i64, i64), default: i64, unit: &'static str) -> Setting {
        let kind = Type::Number {
            min,
            max,
            unit,
            default,
        };
        Setting { key, kind }
    }

    /// A text setting of at most so many bytes; see [`Type::Text`].
    pub const fn of_text(
        key: &'static str,
        max: usize,
        default: &'static str,
        check: fn(&str) -> std::result::Result<String, String>,
    ) -> Setting {
        let kind = Type::Text { max, default, check };
        Setting { key, kind }
    }

    /// Its description.
    pub fn help(&self, lang: Lang) -> &'static str {
        words::word(lang, &format!("setting.{}.help", self.key), None).unwrap_or(self.key)
    }

    /// The current value.
    pub fn value(&self, conn: &Conn) -> Result<Value> {
        let stored = queries::get(conn, self.key)?;
        // A stored value that is no longer valid counts as unset.
        Ok(stored
            .and_then(|text| self.parse(&text).ok())
            .unwrap_or_else(|| self.default()))
    }

    /// The current number.
    pub fn number(&self, conn: &Conn) -> Result<i64> {
        match self.value(conn)? {
            Value::Number(n) => Ok(n),
            Value::Text(_) => Err(Error::internal(format!("{} is no number", self.key))),
        }
    }

    /// The current text.
    pub fn text(&self, conn: &Conn) -> Result<String> {
        match self.value(conn)? {
            Value::Text(text) => Ok(text),
            Value::Number(_) => Err(Error::internal(format!("{} is no text", self.key))),
        }
    }

    /// The default.
    pub fn default(&self) -> Value {
        match self.kind {
            Type::Number { default, .. } => Value::Number(default),
            Type::Text { default, .. } => Value::Text(default.into()),
        }
    }

    fn parse(&self, text: &str) -> std::result::Result<Value, String> {
        let text = text.trim();
        match self.kind {
            Type::Number { min, max, unit, .. } => match text.parse::<i64>() {
                Ok(n) if (min..=max).contains(&n) => Ok(Value::Number(n)),
                _ => Err(format!(
                    "{} is a whole number from {min} to {max}{}{unit}.",
                    self.key,
                    if unit.is_empty() { "" } else { " " }
                )),
            },
            Type::Text { max, .. } if text.len() > max => Err(format!(
                "{} may have at most {max} bytes; this has {}.",
                self.key,
                text.len()
            )),
            Type::Text { .. } if text.contains(|c: char| c.is_control() || unseen(c)) => Err(format!(
                "{} is one line without control or invisible characters.",
                self.key
            )),
            Type::Text { check, .. } => check(text).map(Value::Text),
        }
    }
}

/// The time zone of this installation. Used by several machines, so it stands here.
pub const SITE_TIME_ZONE: Setting = Setting::of_text("site.time_zone", 64, "", check::time_zone);

/// The address of this installation that people are told; empty while it is not set. Used by several machines, too.
pub const SITE_PUBLIC_URL: Setting = Setting::of_text(
    "site.public_url",
    300, // room for a long name and a path
    "",
    check::base_url,
);

/// The time zone of this installation: the setting, else the machine's.
pub fn time_zone(conn: &Conn) -> Result<Zone> {
    Ok(Zone::load_or_system(&SITE_TIME_ZONE.text(conn)?))
}

/// Validates and stores one value; `None` restores the default. Returns whether the effective value changed; sending
/// the default back does not store it.
pub fn set(tx: &Tx, setting: &'static Setting, value: Option<&str>, by: &str) -> Result<bool> {
    let before = setting.value(tx)?;
    match value {
        Some(text) => {
            let value = setting.parse(text).map_err(|message| Error {
                fields: vec![Field {
                    field: setting.key,
                    code: match setting.kind {
                        Type::Number { .. } => "bad_number",
                        Type::Text { .. } => "bad_text",
                    },
                    message: message.clone(),
                }],
                ..Error::new(Kind::Invalid, "invalid", message)
            })?;
            if value != before {
                queries::put(tx, setting.key, &value.to_string(), by, clock::now())?;
            }
            Ok(value != before)
        }
        None => {
            queries::remove(tx, setting.key)?;
            Ok(setting.default() != before)
        }
    }
}
