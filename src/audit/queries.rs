//! SQL of the audit.

use super::Row;
use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::db::Conn;
use rusqlite::types::{ToSql, Value as Stored, ValueRef};
use rusqlite::{OptionalExtension, params};
use serde_json::Value;

const COLUMNS: &str =
    "seq, at, actor, ip, action, object, detail, request_id, mac, client_request_id, via, before, after";

fn read(r: &rusqlite::Row) -> rusqlite::Result<Row> {
    Ok(Row {
        seq: r.get(0)?,
        at: r.get(1)?,
        actor: r.get(2)?,
        ip: r.get(3)?,
        action: r.get(4)?,
        object: r.get(5)?,
        detail: r.get(6)?,
        request_id: r.get(7)?,
        mac: r.get(8)?,
        client_request_id: r.get(9)?,
        via: r.get(10)?,
        before: r.get(11)?,
        after: r.get(12)?,
    })
}

/// Number and MAC of the last row; `(0, [])` when there is none.
pub fn last(conn: &Conn) -> Result<(i64, Vec<u8>)> {
    let mut statement = conn.prepare_cached("SELECT seq, mac FROM audit ORDER BY seq DESC LIMIT 1")?;
    Ok(statement
        .query_row([], |r| Ok((r.get(0)?, r.get(1)?)))
        .optional()?
        .unwrap_or_default())
}

pub fn insert(conn: &Conn, row: &Row) -> Result<()> {
    conn.prepare_cached(&format!(
        "INSERT INTO audit ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"
    ))?
    .execute(params![
        row.seq,
        row.at,
        row.actor,
        row.ip,
        row.action,
        row.object,
        row.detail,
        row.request_id,
        row.mac,
        row.client_request_id,
        row.via,
        row.before,
        row.after
    ])?;
    Ok(())
}

/// Is there a row of this action?
pub fn has(conn: &Conn, action: &str) -> Result<bool> {
    Ok(
        conn.query_row("SELECT EXISTS (SELECT 1 FROM audit WHERE action = ?1)", [action], |r| {
            r.get(0)
        })?,
    )
}

/// Of the row with this number.
pub fn mac_of(conn: &Conn, seq: i64) -> Result<Option<Vec<u8>>> {
    let mut statement = conn.prepare_cached("SELECT mac FROM audit WHERE seq = ?1")?;
    Ok(statement.query_row([seq], |r| r.get(0)).optional()?)
}

/// The row with this number.
pub fn get(conn: &Conn, seq: i64) -> Result<Option<Row>> {
    let mut statement = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM audit WHERE seq = ?1"))?;
    Ok(statement.query_row([seq], read).optional()?)
}

/// The next rows in order.
pub fn after(conn: &Conn, seq: i64, max: usize) -> Result<Vec<Row>> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM audit WHERE seq > ?1 ORDER BY seq LIMIT ?2"
    ))?;
    let rows = statement.query_map(params![seq, max as i64], read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Does SQLite keep the rows: are all triggers there, as they were made?
pub fn is_guarded(conn: &Conn) -> Result<bool> {
    let mut statement =
        conn.prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'audit'")?;
    let triggers = statement
        .query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?
        .collect::<rusqlite::Result<Vec<(String, String)>>>()?;
    let keeps = |name: &str, when: &str| {
        triggers
            .iter()
            .any(|(n, sql)| n == name && sql.contains(when) && sql.contains("RAISE(ABORT"))
    };
    Ok(keeps("audit_is_append_only", " BEFORE UPDATE ON audit BEGIN ")
        && keeps("audit_keeps_its_rows", " BEFORE DELETE ON audit BEGIN ")
        && keeps(
            "audit_grows_at_its_end",
            "WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM audit)",
        ))
}

/// One column of a row that is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    Shown(Value),
    /// As it is stored: only whether it is the same can be told.
    Sealed(Vec<u8>),
}

/// Columns of one row of a feature's table, by name. What is no text and no number is sealed; so is the hash of a password,
/// which is text. A text that is a JSON list or object is told as one.
pub fn row_of(conn: &Conn, table: &'static str, id: i64) -> Result<Option<Vec<(String, Part)>>> {
    let mut statement = conn.prepare_cached(&format!("SELECT * FROM main.{table} WHERE id = ?1"))?;
    let names: Vec<String> = statement.column_names().map(String::from).collect();
    let read = |r: &rusqlite::Row| {
        let part = |(at, name): (usize, &String)| {
            let part = match r.get_ref(at)? {
                ValueRef::Null => Part::Shown(Value::Null),
                ValueRef::Integer(n) => Part::Shown(n.into()),
                ValueRef::Real(n) => Part::Shown(n.into()),
                ValueRef::Blob(bytes) => Part::Sealed(bytes.into()),
                ValueRef::Text(bytes) if name.ends_with("_hash") => Part::Sealed(bytes.into()),
                ValueRef::Text(bytes) => Part::Shown(told(&String::from_utf8_lossy(bytes))),
            };
            Ok((name.clone(), part))
        };
        names.iter().enumerate().map(part).collect()
    };
    Ok(statement.query_row([id], read).optional()?)
}

fn told(text: &str) -> Value {
    let json = text.starts_with(['[', '{']).then(|| serde_json::from_str(text).ok());
    json.flatten().unwrap_or_else(|| text.into())
}

// ---- looking for rows -------------------------------------------------------------------------------------------------

/// Which rows are wanted; what is empty asks for nothing.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Login, `system`, `cli:root`.
    pub actor: String,
    /// `server.create`.
    pub action: String,
    /// `server`, or `server 5`; a slash or colon between them will do.
    pub object: String,
    /// Address.
    pub ip: String,
    /// Not before this.
    pub since: Option<Ms>,
    /// Before this.
    pub until: Option<Ms>,
    /// Part of any text of the row.
    pub q: String,
}

/// Where a page ends: the next begins behind it. Written as `1700000000000.1234`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    at: Ms,
    seq: i64,
}

impl Cursor {
    /// Reads what [`Display`](std::fmt::Display) writes.
    pub fn parse(text: &str) -> Option<Cursor> {
        let (at, seq) = text.split_once('.')?;
        Some(Cursor {
            at: at.parse().ok()?,
            seq: seq.parse().ok()?,
        })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.at, self.seq)
    }
}

/// Some rows, the newest first.
pub struct Page {
    /// As many as were asked for, or fewer at the end.
    pub rows: Vec<Row>,
    /// Where more are.
    pub next: Option<Cursor>,
}

/// One filter: a column, its index, what one of its matches costs when the others are asked of it, and the value.
type Given = (&'static str, &'static str, i64, String);

/// Of an index that has the other filters' columns.
const COVERED: i64 = 1;
/// Of one whose rows are read for them.
const READ: i64 = 20;
/// Filters are compared up to this cost.
const COST_MAX: i64 = 10_000;

/// The rows that fit behind `from`, the newest first, `limit` at most.
pub fn page(conn: &Conn, filter: &Filter, from: Option<Cursor>, limit: usize) -> Result<Page> {
    let mut given: Vec<Given> = Vec::new();
    let object = filter.object.replace(['/', ':'], " ");
    let mut words = object.split_whitespace();
    match (words.next(), words.next()) {
        (Some(kind), Some(id)) => given.push(("object_ref", "audit_object_ref", READ, format!("{kind} {id}"))),
        (Some(kind), None) => given.push(("object_kind", "audit_object_kind", READ, kind.into())),
        _ => {}
    }
    for (column, index, cost, value) in [
        ("action", "audit_action", COVERED, &filter.action),
        ("actor", "audit_actor", COVERED, &filter.actor),
        ("ip", "audit_ip", READ, &filter.ip),
    ] {
        if !value.is_empty() {
            given.push((column, index, cost, value.clone()));
        }
    }
    let since = filter.since.unwrap_or(Ms::MIN);
    let until = filter.until.map_or(Ms::MAX, |until| until.saturating_sub(1));
    let from = from.unwrap_or(Cursor {
        at: until,
        seq: i64::MAX,
    });
    let until = until.min(from.at);

    let index = cheapest(conn, &given, since, until)?;
    let mut wheres = String::from("at BETWEEN ?1 AND ?2 AND (at < ?3 OR seq < ?4)");
    let mut values: Vec<Stored> = [since, until, from.at, from.seq].map(Stored::Integer).into();
    for (column, _, _, value) in given {
        values.push(Stored::Text(value));
        wheres.push_str(&format!(" AND {column} = ?{}", values.len()));
    }
    let sql = format!("SELECT {COLUMNS} FROM audit INDEXED BY {index} WHERE {wheres} ORDER BY at DESC, seq DESC");
    let mut statement = conn.prepare_cached(&sql)?;
    let values: Vec<&dyn ToSql> = values.iter().map(|v| v as &dyn ToSql).collect();
    let mut found = statement.query(&values[..])?;
    let needle = Needle::new(&filter.q);
    let mut rows = Vec::new();
    while rows.len() <= limit
        && let Some(r) = found.next()?
    {
        if needle.as_ref().map_or(Ok(true), |needle| needle.stands_in(r))? {
            rows.push(read(r)?);
        }
    }
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|row| Cursor {
        at: row.at,
        seq: row.seq,
    });
    Ok(Page { rows, next })
}

/// The index by which the fewest rows are looked at.
fn cheapest(conn: &Conn, given: &[Given], since: Ms, until: Ms) -> Result<&'static str> {
    if let [(_, only, ..)] = given {
        return Ok(only);
    }
    let of = |name: &str| given.iter().find(|(column, ..)| *column == name);
    let both = of("actor").zip(of("action"));
    let pair = both.map(|(actor, action)| ("audit_actor_action", COVERED, vec![actor, action]));
    let single = given.iter().map(|one| (one.1, one.2, vec![one]));
    let mut best = ("audit_at", i64::MAX);
    for (index, each, filters) in pair.into_iter().chain(single) {
        let mut wheres = String::from("at BETWEEN ?1 AND ?2");
        let mut values: Vec<&dyn ToSql> = vec![&since, &until];
        for (column, _, _, value) in filters {
            values.push(value);
            wheres.push_str(&format!(" AND {column} = ?{}", values.len()));
        }
        let most = COST_MAX / each;
        let sql = format!("SELECT count(*) FROM (SELECT 1 FROM audit INDEXED BY {index} WHERE {wheres} LIMIT {most})");
        let count: i64 = conn.prepare_cached(&sql)?.query_row(&values[..], |r| r.get(0))?;
        // Of those that leave too many, one with the others' columns.
        if count * each + each < best.1 {
            best = (index, count * each + each);
        }
    }
    Ok(best.0)
}

/// Columns that a search looks in, by their places in [`COLUMNS`]; the longest first.
const SEARCHED: [usize; 10] = [5, 6, 11, 12, 2, 4, 3, 10, 7, 9];

/// What is searched for, in small letters of whatever alphabet.
struct Needle {
    text: String,
    chars: Vec<char>,
}

impl Needle {
    /// `None`: nothing is searched for.
    fn new(q: &str) -> Option<Needle> {
        let text = q.trim().to_lowercase();
        let chars = text.chars().collect();
        (!text.is_empty()).then_some(Needle { text, chars })
    }

    fn stands_in(&self, r: &rusqlite::Row) -> rusqlite::Result<bool> {
        for at in SEARCHED {
            if let ValueRef::Text(bytes) = r.get_ref(at)?
                && self.is_in(bytes)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_in(&self, bytes: &[u8]) -> bool {
        if self.text.is_ascii() {
            return self.is_in_ascii(bytes);
        }
        !bytes.is_ascii() && self.is_in_chars(&String::from_utf8_lossy(bytes))
    }

    fn is_in_ascii(&self, bytes: &[u8]) -> bool {
        let needle = self.text.as_bytes();
        let (small, large) = (needle[0], needle[0].to_ascii_uppercase());
        let begins = bytes.iter().enumerate().filter(|(_, b)| **b == small || **b == large);
        begins
            .filter_map(|(at, _)| bytes.get(at..at + needle.len()))
            .any(|part| part.eq_ignore_ascii_case(needle))
    }

    fn is_in_chars(&self, text: &str) -> bool {
        let mut begins = (text.char_indices()).filter(|(_, c)| c.to_lowercase().next() == Some(self.chars[0]));
        begins.any(|(at, _)| {
            let rest = text[at..].chars().flat_map(char::to_lowercase);
            rest.take(self.chars.len()).eq(self.chars.iter().copied())
        })
    }
}

/// Values to choose from.
const CHOICES_MAX: i64 = 500;

/// Every value of an indexed column, without reading every row.
fn distinct(conn: &Conn, column: &str) -> Result<Vec<String>> {
    let mut statement = conn.prepare_cached(&format!(
        "WITH RECURSIVE v(x) AS (
           SELECT min({column}) FROM audit
           UNION ALL SELECT (SELECT min({column}) FROM audit WHERE {column} > v.x) FROM v WHERE v.x IS NOT NULL
         ) SELECT x FROM v WHERE x IS NOT NULL LIMIT {CHOICES_MAX}"
    ))?;
    let rows = statement.query_map([], |r| r.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Every action that stands there.
pub fn actions(conn: &Conn) -> Result<Vec<String>> {
    distinct(conn, "action")
}

/// Everybody who stands there.
pub fn actors(conn: &Conn) -> Result<Vec<String>> {
    distinct(conn, "actor")
}

/// Every kind of thing.
pub fn object_kinds(conn: &Conn) -> Result<Vec<String>> {
    distinct(conn, "object_kind")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_finds_parts_in_whatever_case_and_has_no_wildcards() {
        let found = |q: &str, text: &str| Needle::new(q).unwrap().is_in(text.as_bytes());
        for (q, text) in [
            ("web", "the WEB-1"),
            ("EB-1", "web-1"),
            ("100%_ok", "is 100%_OK"),
            ("заметка", "ЗАМЕТКА 4"),
            ("ЗАМЕТКА", "Заметка"),
            ("тКа 4", "см. Заметка 4!"),
            ("магазин shop", "Магазин SHOP"),
            ("shop", "магазин Shop"),
            (" x ", "ax"),
        ] {
            assert!(found(q, text), "{q} in {text}");
        }
        for (q, text) in [
            ("web-1", "web-"),
            ("w_b", "web"),
            ("%", "web"),
            ("заметка", "Заметк"),
            ("я", ""),
            ("web", ""),
        ] {
            assert!(!found(q, text), "{q} in {text}");
        }
        assert!(Needle::new("  ").is_none());
    }
}
