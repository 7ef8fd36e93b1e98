//! How a thing stands in the database at a moment, and what is different between two moments. What is sealed is told as
//! changed and never shown; every text goes through [`base::redact`](crate::base::redact).

use super::queries::{self, Part};
use crate::base::clock;
use crate::base::error::Result;
use crate::base::redact::{MASK, Scrub};
use crate::base::text;
use crate::db::Conn;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The columns of a row, and what hangs on it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Snapshot {
    parts: BTreeMap<String, Part>,
    is_there: bool,
}

/// Columns that say how a row is kept and not what it says.
const KEPT: [&str; 6] = [
    "id",
    "revision",
    "poll_revision",
    "generation",
    "created_at",
    "updated_at",
];

/// A name with one of these is of a secret. (`token_id` and the like do not occur.)
const SECRETS: [&str; 6] = ["password", "passphrase", "secret", "token", "hash", "private_key"];

/// Of one text, in bytes; a certificate's chain has more.
const TEXT_MAX: usize = 2_000;

impl Snapshot {
    /// Nothing: before a thing is made, after it is gone.
    pub fn none() -> Snapshot {
        Snapshot::default()
    }

    /// The row of this number; nothing where there is none.
    pub fn of(conn: &Conn, table: &'static str, id: i64) -> Result<Snapshot> {
        let Some(columns) = queries::row_of(conn, table, id)? else {
            return Ok(Snapshot::none());
        };
        let told = columns.into_iter().filter(|(name, _)| !KEPT.contains(&name.as_str()));
        Ok(Snapshot {
            parts: told.collect(),
            is_there: true,
        })
    }

    /// Of values that stand in no row of their own.
    pub fn of_values(values: impl IntoIterator<Item = (String, Value)>) -> Snapshot {
        let told = values.into_iter().map(|(name, value)| (name, Part::Shown(value)));
        Snapshot {
            parts: told.collect(),
            is_there: true,
        }
    }

    /// The same with what hangs on the row.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Snapshot {
        if self.is_there {
            self.parts.insert(name.into(), Part::Shown(value.into()));
        }
        self
    }

    /// The same without columns of such names.
    pub fn without(mut self, is_left_out: impl Fn(&str) -> bool) -> Snapshot {
        self.parts.retain(|name, _| !is_left_out(name));
        self
    }

    /// Is there anything?
    pub fn is_there(&self) -> bool {
        self.is_there
    }

    /// What is different from the other one, as a JSON object; empty where nothing is there.
    fn unlike(&self, other: &Snapshot) -> String {
        if !self.is_there {
            return String::new();
        }
        let different = self.parts.iter().filter(|(name, part)| match other.is_there {
            true => other.parts.get(*name) != Some(part),
            // Of a new thing, or one that is gone, what is left empty says nothing.
            false => !part.is_empty(),
        });
        let shown = different.map(|(name, part)| (name.clone(), part.shown(name)));
        Value::Object(shown.collect::<Map<_, _>>()).to_string()
    }
}

impl Part {
    fn is_empty(&self) -> bool {
        match self {
            Part::Shown(Value::Null) => true,
            Part::Shown(Value::String(text)) => text.is_empty(),
            Part::Shown(Value::Array(all)) => all.is_empty(),
            Part::Shown(Value::Object(all)) => all.is_empty(),
            Part::Shown(_) => false,
            Part::Sealed(bytes) => bytes.is_empty(),
        }
    }

    fn shown(&self, name: &str) -> Value {
        match self {
            // Columns of times are unix ms.
            Part::Shown(Value::Number(ms)) if name.ends_with("_at") && ms.is_i64() => {
                clock::rfc3339(ms.as_i64().unwrap_or_default()).into()
            }
            Part::Shown(value) => mask(name, value),
            Part::Sealed(_) => MASK.into(),
        }
    }
}

/// Before and after, each with what is different in the other.
pub(super) fn difference([before, after]: [&Snapshot; 2]) -> [String; 2] {
    [before.unlike(after), after.unlike(before)]
}

/// The same without secrets, by the names of its members and by how texts look.
pub(super) fn masked(value: &Value) -> Value {
    mask("", value)
}

fn mask(name: &str, value: &Value) -> Value {
    match value {
        Value::String(text) if !text.is_empty() && is_secret(name) => MASK.into(),
        Value::String(text) => {
            let mut scrub = Scrub::new();
            let lines: Vec<_> = text.split('\n').map(|line| scrub.line(line)).collect();
            let whole = lines.join("\n");
            match whole.len() > TEXT_MAX {
                true => format!("{}…", text::cut(&whole, TEXT_MAX)).into(),
                false => whole.into(),
            }
        }
        Value::Array(all) => all.iter().map(|item| mask(name, item)).collect(),
        Value::Object(all) => {
            let members = all.iter().map(|(name, value)| (name.clone(), mask(name, value)));
            Value::Object(members.collect())
        }
        _ => value.clone(),
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRETS.iter().any(|secret| name.contains(secret))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(pairs: &[(&str, Part)]) -> Snapshot {
        let parts = pairs.iter().map(|(name, part)| (name.to_string(), part.clone()));
        Snapshot {
            parts: parts.collect(),
            is_there: true,
        }
    }

    #[test]
    fn what_is_different_is_told_and_secrets_are_not() {
        let shown = |value: Value| Part::Shown(value);
        let (old, new) = (Part::Sealed(vec![1]), Part::Sealed(vec![2]));
        let before = of(&[
            ("name", shown(json!("web"))),
            ("notes", shown(json!("same"))),
            ("password", old.clone()),
            ("ssh_key", old.clone()),
            ("push_token", shown(json!("abc"))),
        ]);
        let after = of(&[
            ("name", shown(json!("web-1"))),
            ("notes", shown(json!("same"))),
            ("password", new),
            ("ssh_key", old),
            ("push_token", shown(json!("xyz"))),
        ]);
        assert_eq!(
            difference([&before, &after]),
            [
                r#"{"name":"web","password":"•••","push_token":"•••"}"#,
                r#"{"name":"web-1","password":"•••","push_token":"•••"}"#
            ]
        );
        assert_eq!(difference([&before, &before]), ["{}", "{}"]);
        let new = of(&[
            ("name", shown(json!("x"))),
            ("tags", shown(json!([]))),
            ("at", shown(json!(null))),
        ]);
        assert_eq!(difference([&Snapshot::none(), &new]), ["", r#"{"name":"x"}"#]);
        assert_eq!(difference([&new, &Snapshot::none()]), [r#"{"name":"x"}"#, ""]);
    }

    #[test]
    fn a_text_that_looks_like_a_secret_is_masked_wherever_it_stands() {
        let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n-----END OPENSSH PRIVATE KEY-----";
        let told = masked(&json!({ "notes": [format!("see\n{key}\nthere")], "Password": "hunter2", "set": true }));
        assert_eq!(
            told,
            json!({ "notes": ["see\n•••\n•••\n•••\nthere"], "Password": "•••", "set": true })
        );
        assert!(masked(&json!("x".repeat(5_000))).to_string().len() < 2_010);
    }
}
