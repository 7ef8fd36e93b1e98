//! SQL of rules and firing states.

use super::builtin::{Builtin, Fields, LEVELS, Limit};
use super::watches::Watches;
use super::{Firing, Rule, Waiting};
use crate::base::clock::{Duration, Ms};
use crate::base::error::{Error, Result};
use crate::base::id::{self, Id};
use crate::db::{self, Conn};
use crate::features::fleet::scope::Scope;
use rusqlite::{OptionalExtension, Row, params};

const COLUMNS: &str = "id, name, watches, enabled, level, scope, mount, below, threshold, clear, for_s, revision,
    created_at, updated_at, containers, words";

/// `None`: it watches something that this version does not know.
fn read(r: &Row) -> rusqlite::Result<Option<Rule>> {
    let id: i64 = r.get(0)?;
    let Some(watches) = Watches::parse(r.get_ref(2)?.as_str()?) else {
        return Ok(None);
    };
    let level = r.get_ref(4)?.as_str()?;
    Ok(Some(Rule {
        id: Id::new(id),
        builtin: Builtin::find(id),
        fields: Fields {
            name: r.get(1)?,
            watches,
            enabled: r.get(3)?,
            level: LEVELS.into_iter().find(|l| *l == level).unwrap_or("WARNING"),
            scope: Scope::stored(r.get_ref(5)?.as_str()?),
            containers: r.get(14)?,
            words: r.get(15)?,
            limit: Limit {
                mount: r.get(6)?,
                below: r.get(7)?,
                threshold: r.get(8)?,
                clear: r.get(9)?,
                for_s: r.get(10)?,
            },
        },
        revision: r.get(11)?,
        created_at: r.get(12)?,
        updated_at: r.get(13)?,
    }))
}

/// Users' rules and changed built-in rules, by id.
pub fn all(conn: &Conn) -> Result<Vec<Rule>> {
    let mut statement = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM alert_rules ORDER BY id"))?;
    let rows = statement.query_map([], read)?.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(rows.into_iter().flatten().collect())
}

pub fn get(conn: &Conn, id: Id<id::Rule>) -> Result<Option<Rule>> {
    let mut statement = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM alert_rules WHERE id = ?1"))?;
    Ok(statement.query_row([id.get()], read).optional()?.flatten())
}

/// A value that changes whenever a rule is added, changed or removed.
pub fn fingerprint(conn: &Conn) -> Result<[i64; 3]> {
    let mut statement = conn
        .prepare_cached("SELECT count(*), coalesce(sum(revision), 0), coalesce(sum(updated_at), 0) FROM alert_rules")?;
    Ok(statement.query_row([], |r| Ok([r.get(0)?, r.get(1)?, r.get(2)?]))?)
}

fn on_unique_violation(name: &str) -> impl FnOnce(rusqlite::Error) -> Error {
    let say = format!("There is a rule called “{name}” already. Give this one another name.");
    db::on_unique_violation("name", say)
}

/// Stores a rule: with a new id, or replacing the row with this id.
pub fn put(conn: &Conn, id: Option<Id<id::Rule>>, f: &Fields, at: Ms) -> Result<Id<id::Rule>> {
    let limit = &f.limit;
    conn.execute(
        "INSERT INTO alert_rules (id, name, watches, enabled, level, scope, mount, below, threshold, clear, for_s,
           created_at, updated_at, containers, words)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?12, ?13, ?14)
         ON CONFLICT (id) DO UPDATE SET name = ?2, enabled = ?4, level = ?5, scope = ?6, mount = ?7, below = ?8,
           threshold = ?9, clear = ?10, for_s = ?11, updated_at = ?12, containers = ?13, words = ?14, revision = revision + 1",
        params![
            id.map(Id::get),
            f.name,
            f.watches.name(),
            f.enabled,
            f.level,
            f.scope.text(),
            limit.mount,
            limit.below,
            limit.threshold,
            limit.clear,
            limit.for_s,
            at,
            f.containers,
            f.words
        ],
    )
    .map_err(on_unique_violation(&f.name))?;
    Ok(id.unwrap_or_else(|| Id::new(conn.last_insert_rowid())))
}

pub fn remove(conn: &Conn, id: Id<id::Rule>) -> Result<()> {
    conn.execute("DELETE FROM alert_rules WHERE id = ?1", [id.get()])?;
    Ok(())
}

/// Reads a row that begins with rule, subject id, part and revision.
fn read_firing(r: &Row, kind: &'static str) -> rusqlite::Result<Firing> {
    Ok(Firing {
        rule: Id::new(r.get(0)?),
        subject: (kind, r.get(1)?),
        part: r.get::<_, String>(2)?.into(),
        revision: r.get(3)?,
    })
}

/// Firing states of a kind of subjects; only of this rule and this subject, if given.
pub fn firing(conn: &Conn, kind: &'static str, rule: Option<Id<id::Rule>>, id: Option<i64>) -> Result<Vec<Firing>> {
    let mut statement = conn.prepare_cached(
        "SELECT rule_id, subject_id, part, revision FROM alert_rule_firing
         WHERE subject_kind = ?1 AND (?2 IS NULL OR rule_id = ?2) AND (?3 IS NULL OR subject_id = ?3)",
    )?;
    let rows = statement.query_map(params![kind, rule.map(Id::get), id], |r| read_firing(r, kind))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Number of firing states of each rule.
pub fn counts(conn: &Conn) -> Result<Vec<(i64, i64)>> {
    let mut statement = conn.prepare_cached("SELECT rule_id, count(*) FROM alert_rule_firing GROUP BY rule_id")?;
    let rows = statement.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Stores a firing state; false: it was stored already.
pub fn set_firing(conn: &Conn, f: &Firing) -> Result<bool> {
    let mut statement = conn.prepare_cached(
        "INSERT OR IGNORE INTO alert_rule_firing (rule_id, subject_kind, subject_id, part, revision)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let (kind, id) = f.subject;
    Ok(statement.execute(params![f.rule.get(), kind, id, f.part, f.revision])? == 1)
}

/// Removes a firing state; false: there was none.
pub fn clear_firing(conn: &Conn, f: &Firing) -> Result<bool> {
    let mut statement = conn.prepare_cached(
        "DELETE FROM alert_rule_firing WHERE rule_id = ?1 AND subject_kind = ?2 AND subject_id = ?3 AND part = ?4",
    )?;
    let (kind, id) = f.subject;
    Ok(statement.execute(params![f.rule.get(), kind, id, f.part])? == 1)
}

/// Stored pending states of a kind of subjects.
pub fn waiting(conn: &Conn, kind: &'static str) -> Result<Vec<Waiting>> {
    let mut statement = conn.prepare_cached(
        "SELECT rule_id, subject_id, part, revision, held_ms, seen_at, readings FROM alert_rule_waiting
         WHERE subject_kind = ?1",
    )?;
    let rows = statement.query_map([kind], |r| {
        Ok(Waiting {
            firing: read_firing(r, kind)?,
            held: Duration::from_millis(r.get::<_, i64>(4)?.max(0) as u64),
            seen_at: r.get(5)?,
            values: serde_json::from_str(&r.get::<_, String>(6)?).unwrap_or_default(),
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Replaces the stored pending states of a kind of subjects.
pub fn set_waiting(conn: &Conn, kind: &str, all: &[Waiting]) -> Result<()> {
    conn.prepare_cached("DELETE FROM alert_rule_waiting WHERE subject_kind = ?1")?
        .execute([kind])?;
    let mut statement = conn.prepare_cached(
        "INSERT INTO alert_rule_waiting (rule_id, subject_kind, subject_id, part, revision, held_ms, seen_at, readings)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for w in all {
        let f = &w.firing;
        statement.execute(params![
            f.rule.get(),
            kind,
            f.subject.1,
            f.part,
            f.revision,
            w.held.as_millis() as i64,
            w.seen_at,
            serde_json::json!(w.values).to_string()
        ])?;
    }
    Ok(())
}
