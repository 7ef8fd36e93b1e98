//! What a followed journal says: entries of systemd's journal as JSON, and where each of them stands.

use crate::base::lines::{CUT, LINE_MAX, plain};
use crate::base::text;
use crate::journal::{Level, New, Stream};
use serde_json::Value;
use std::collections::HashMap;

/// The place of an entry (`sd_journal_get_cursor(3)`): entries of one sequence have ascending numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The whole cursor.
    pub cursor: String,
    sequence: String,
    number: u64,
    /// Unix µs by the server's clock.
    pub at: u64,
}

impl Place {
    /// Reads a cursor.
    pub fn parse(cursor: &str) -> Option<Place> {
        let known = |c: char| c.is_ascii_alphanumeric() || "=;".contains(c);
        if cursor.len() > 300 || !cursor.chars().all(known) {
            return None;
        }
        let parts: HashMap<&str, &str> = cursor.split(';').filter_map(|part| part.split_once('=')).collect();
        let number = |name| u64::from_str_radix(parts.get(name)?, 16).ok();
        Some(Place {
            sequence: parts.get("s")?.to_string(),
            number: number("i")?,
            at: number("t")?,
            cursor: cursor.into(),
        })
    }

    /// Does this stand after another one? Where sequences differ, the journal was begun anew, and time decides.
    pub fn is_after(&self, other: &Place) -> bool {
        match self.sequence == other.sequence {
            true => self.number > other.number,
            false => self.at > other.at,
        }
    }
}

/// The cursor in a line of `journalctl -o json`; nothing: it is no entry. Quotes in values are escaped, so this cannot be part
/// of one.
pub fn cursor_of(line: &str) -> Option<String> {
    const KEY: &str = "\"__CURSOR\":\"";
    if !line.starts_with('{') {
        return None;
    }
    let rest = &line[line.find(KEY)? + KEY.len()..];
    Some(rest[..rest.find('"')?].to_string())
}

/// An entry.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands.
    pub place: Place,
    /// Whose it is: of which systemd (`system`, `user`), and the unit's name.
    pub of: (&'static str, String),
    priority: Option<u8>,
    text: String,
    /// Did systemd itself say it?
    by_systemd: bool,
}

impl Entry {
    /// Reads a line; nothing: it is no entry of a unit.
    pub fn parse(line: &str) -> Option<Entry> {
        let value: Value = serde_json::from_str(line).ok()?;
        let word = |name: &str| match &value[name] {
            Value::String(text) => Some(text.clone()),
            // A field that an entry has several times.
            Value::Array(all) => all.first()?.as_str().map(String::from),
            _ => None,
        };
        // What is said about a unit is its own, before the unit of who says it.
        let by_systemd = word("_PID").as_deref() == Some("1");
        let of = [
            ("system", "UNIT", by_systemd),
            ("system", "COREDUMP_UNIT", true),
            ("system", "OBJECT_SYSTEMD_UNIT", true),
            ("user", "USER_UNIT", true),
            ("user", "_SYSTEMD_USER_UNIT", true),
            ("system", "_SYSTEMD_UNIT", true),
        ];
        let (how, unit) = of
            .into_iter()
            .find_map(|(how, field, counts)| Some((how, word(field).filter(|_| counts)?)))?;
        let about_user = how == "user" && value["USER_UNIT"].is_string();
        Some(Entry {
            place: Place::parse(&word("__CURSOR")?)?,
            of: (how, unit),
            priority: word("PRIORITY").and_then(|text| text.parse().ok()),
            text: message(&value["MESSAGE"]),
            by_systemd: (by_systemd && value["UNIT"].is_string()) || about_user,
        })
    }

    /// Its lines, at this time of ours (unix ns).
    pub fn lines(&self, at: i64) -> Vec<New> {
        let level = match self.priority {
            Some(0..=2) => Level::Critical,
            Some(3) => Level::Error,
            Some(4) => Level::Warning,
            Some(7) => Level::Debug,
            // What a program writes has this priority whatever it says.
            _ => Level::Unknown,
        };
        let line = |text: &str| {
            let mut text = plain(text::cut(text, LINE_MAX));
            if self.by_systemd {
                text.insert_str(0, "systemd: ");
            }
            let own = if level == Level::Unknown {
                Level::of(&text)
            } else {
                level
            };
            if text.len() >= LINE_MAX {
                text.push_str(CUT);
            }
            New {
                at,
                stream: Stream::Stdout,
                level: own,
                text: text.into(),
            }
        };
        self.text.trim_end_matches('\n').split('\n').map(line).collect()
    }
}

/// A text, or bytes that are none; nothing: it was too long for JSON.
fn message(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(all) => {
            let byte = |n: &Value| n.as_u64().and_then(|n| u8::try_from(n).ok());
            let bytes: Vec<u8> = all.iter().filter_map(byte).collect();
            String::from_utf8_lossy(&bytes).into_owned()
        }
        _ => "(a message that is too long to be read)".into(),
    }
}

/// How many lines of `new` are known from `old`: the end of what was seen is the beginning of what is there now. The last
/// few lines of a screen change while they are written.
pub fn known(old: &[String], new: &[String]) -> usize {
    const UNSURE: usize = 3;
    let most = old.len().min(new.len() + UNSURE);
    (0..=UNSURE.min(old.len()))
        .find_map(|unsure| {
            let sure = &old[..old.len() - unsure];
            let most = most.min(sure.len()).min(new.len());
            (1..=most).rev().find(|n| sure[sure.len() - n..] == new[..*n])
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "s=0639;i=4a2;b=aa;m=1;t=5e1;x=1";

    #[test]
    fn places_are_in_the_order_of_the_journal_and_not_of_clocks() {
        let place = |cursor: &str| Place::parse(cursor).unwrap();
        let (a, b) = (place(A), place("s=0639;i=4a3;b=aa;m=1;t=5e0;x=1"));
        assert!(
            b.is_after(&a) && !a.is_after(&b) && !a.is_after(&a),
            "the clock went back"
        );
        assert!(place("s=ffff;i=1;b=aa;m=1;t=5e2;x=1").is_after(&a), "a new journal");
        for bad in ["", "s=1;i=2", "s=1;i=2;t=$(x)", "s=1;i=zz;t=1"] {
            assert_eq!(Place::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_entry_belongs_to_the_unit_that_it_is_about() {
        let entry = |more: &str| Entry::parse(&format!(r#"{{"__CURSOR":"{A}","MESSAGE":"hello\nworld",{more}}}"#));
        let said = entry(r#""_SYSTEMD_UNIT":"bot.service","PRIORITY":"6","_PID":"77""#).unwrap();
        assert_eq!(said.of, ("system", "bot.service".into()));
        let lines = said.lines(5);
        assert_eq!(
            lines.iter().map(|line| &*line.text).collect::<Vec<_>>(),
            ["hello", "world"]
        );
        assert_eq!((lines[0].at, lines[0].level), (5, Level::Unknown));
        let about = entry(r#""_SYSTEMD_UNIT":"init.scope","UNIT":"bot.service","PRIORITY":"3","_PID":"1""#).unwrap();
        assert_eq!(about.of.1, "bot.service");
        assert_eq!(&*about.lines(0)[0].text, "systemd: hello");
        assert_eq!(about.lines(0)[0].level, Level::Error);
        let forged = entry(r#""_SYSTEMD_UNIT":"evil.service","UNIT":"bot.service","_PID":"78""#).unwrap();
        assert_eq!(forged.of.1, "evil.service", "only systemd speaks about others");
        let own = entry(r#""_SYSTEMD_UNIT":"user@1000.service","_SYSTEMD_USER_UNIT":"a.service","_PID":"9""#).unwrap();
        assert_eq!(own.of, ("user", "a.service".into()));
        assert_eq!(entry(r#""PRIORITY":"6""#), None);
    }

    #[test]
    fn bytes_and_forged_cursors_are_no_trouble() {
        let line = r#"{"MESSAGE":[104,255,10,105],"__CURSOR":"s=1;i=2;t=3","_SYSTEMD_UNIT":"a.service"}"#;
        let lines = Entry::parse(line).unwrap().lines(0);
        assert_eq!((&*lines[0].text, &*lines[1].text), ("h\u{fffd}", "i"));
        let forged = r#"{"MESSAGE":"\"__CURSOR\":\"s=9;i=9;t=9\"","__CURSOR":"s=1;i=2;t=3"}"#;
        assert_eq!(cursor_of(forged).as_deref(), Some("s=1;i=2;t=3"));
        assert_eq!(cursor_of("@ 1"), None);
    }

    #[test]
    fn a_screen_goes_on_where_it_was() {
        let lines = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
        assert_eq!(known(&lines("a b c d"), &lines("c d e f")), 2);
        assert_eq!(known(&lines("a b c d"), &lines("a b c d")), 4);
        assert_eq!(
            known(&lines("a b 10%"), &lines("a b 20% x")),
            2,
            "the last line was still written"
        );
        assert_eq!(known(&lines("a b"), &lines("x y")), 0, "cleared");
        assert_eq!(known(&[], &lines("x y")), 0);
        assert_eq!(known(&lines("a b"), &[]), 0);
    }
}
