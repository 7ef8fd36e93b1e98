//! SQL of the alerts.

use super::Alert;
use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::db::Conn;
use rusqlite::{OptionalExtension, Row, params};

const COLUMNS: &str =
    "id, kind, level, state, target_type, target_id, target_name, title, evidence, count, first_at, last_at,
    acked_by, acked_at, resolved_at, part";

fn read(r: &Row) -> rusqlite::Result<Alert> {
    Ok(Alert {
        id: Id::new(r.get(0)?),
        kind: r.get(1)?,
        level: r.get(2)?,
        state: r.get(3)?,
        target: (r.get(4)?, r.get(5)?, r.get(6)?),
        title: r.get(7)?,
        evidence: r.get(8)?,
        count: r.get(9)?,
        first_at: r.get(10)?,
        last_at: r.get(11)?,
        acked_by: r.get(12)?,
        acked_at: r.get(13)?,
        resolved_at: r.get(14)?,
        part: r.get(15)?,
    })
}

/// What a list asks for; empty texts mean any, `state` may also be `open` (firing or acknowledged).
#[derive(Debug, Default)]
pub struct Filter<'a> {
    /// `firing`, `acknowledged`, `resolved`, or `open` for the first two.
    pub state: &'a str,
    /// `INFO`, `WARNING`, `ERROR` or `CRITICAL`.
    pub level: &'a str,
    /// Only about this server; 0: all.
    pub server: i64,
    /// Not older than this, unix ms.
    pub since: Ms,
    /// At most so many.
    pub limit: i64,
    /// Skip so many.
    pub offset: i64,
}

pub fn list(conn: &Conn, f: &Filter) -> Result<(Vec<Alert>, i64)> {
    let wheres = "(?1 = '' OR state = ?1 OR (?1 = 'open' AND state <> 'resolved')) AND (?2 = '' OR level = ?2)
        AND (?3 = 0 OR (target_type = 'server' AND target_id = ?3)) AND last_at >= ?4";
    let total = conn
        .prepare_cached(&format!("SELECT count(*) FROM alerts WHERE {wheres}"))?
        .query_row(params![f.state, f.level, f.server, f.since], |r| r.get(0))?;
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM alerts WHERE {wheres} ORDER BY state = 'resolved', last_at DESC, id DESC LIMIT ?5 OFFSET ?6"
    ))?;
    let rows = statement.query_map(params![f.state, f.level, f.server, f.since, f.limit, f.offset], read)?;
    Ok((rows.collect::<rusqlite::Result<_>>()?, total))
}

pub fn get(conn: &Conn, id: Id<id::Alert>) -> Result<Option<Alert>> {
    let mut statement = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM alerts WHERE id = ?1"))?;
    Ok(statement.query_row([id.get()], read).optional()?)
}

pub fn firing(conn: &Conn) -> Result<i64> {
    Ok(conn
        .prepare_cached("SELECT count(*) FROM alerts WHERE state = 'firing'")?
        .query_row([], |r| r.get(0))?)
}

/// One open alert has it: of this kind, from this rule and about this part, if there are several, and about this target.
fn fingerprint(kind: &str, part: &str, target: (&str, i64)) -> String {
    match part {
        "" => format!("{kind}|{}|{}", target.0, target.1),
        part => format!("{kind}|{}|{}|{part}", target.0, target.1),
    }
}

/// `what` is kind, part and level.
pub fn raise(
    conn: &Conn,
    what: (&str, &str, &str),
    target: (&str, i64, &str),
    title: &str,
    evidence: &str,
    at: Ms,
) -> Result<Alert> {
    let (kind, part, level) = what;
    let fingerprint = fingerprint(kind, part, (target.0, target.1));
    let mut statement = conn.prepare_cached(&format!(
        "INSERT INTO alerts (fingerprint, kind, level, state, target_type, target_id, target_name, title, evidence, first_at, last_at, part)
         VALUES (?1, ?2, ?3, 'firing', ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?10)
         ON CONFLICT (fingerprint) WHERE state <> 'resolved'
         DO UPDATE SET count = count + 1, last_at = ?9, evidence = ?8, title = ?7, target_name = ?6 RETURNING {COLUMNS}"
    ))?;
    let values = params![
        fingerprint,
        kind,
        level,
        target.0,
        target.1,
        target.2,
        title,
        evidence,
        at,
        part
    ];
    Ok(statement.query_row(values, read)?)
}

/// Type and number of what has an open alert of this kind that is made from an event.
pub fn open(conn: &Conn, kind: &str) -> Result<Vec<(String, i64)>> {
    let mut statement = conn.prepare_cached(
        "SELECT target_type, target_id FROM alerts WHERE kind = ?1 AND part = '' AND state <> 'resolved'",
    )?;
    let rows = statement.query_map([kind], |r| Ok((r.get(0)?, r.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Gives what is over now.
pub fn resolve(conn: &Conn, kind: &str, part: &str, target: (&str, i64), at: Ms) -> Result<Vec<Alert>> {
    let mut statement = conn.prepare_cached(&format!(
        "UPDATE alerts SET state = 'resolved', resolved_at = ?2, last_at = ?2 WHERE fingerprint = ?1 AND state <> 'resolved'
         RETURNING {COLUMNS}"
    ))?;
    let over = statement.query_map(params![fingerprint(kind, part, target), at], read)?;
    Ok(over.collect::<rusqlite::Result<_>>()?)
}

/// Gives what is over now.
pub fn resolve_all(conn: &Conn, target: (&str, i64), at: Ms) -> Result<Vec<Alert>> {
    let mut statement = conn.prepare_cached(&format!(
        "UPDATE alerts SET state = 'resolved', resolved_at = ?3, last_at = ?3
         WHERE target_type = ?1 AND target_id = ?2 AND state <> 'resolved' RETURNING {COLUMNS}"
    ))?;
    let over = statement.query_map(params![target.0, target.1, at], read)?;
    Ok(over.collect::<rusqlite::Result<_>>()?)
}

pub fn acknowledge(conn: &Conn, id: Id<id::Alert>, by: &str, at: Ms) -> Result<()> {
    conn.execute(
        "UPDATE alerts SET state = 'acknowledged', acked_by = ?2, acked_at = ?3 WHERE id = ?1",
        params![id.get(), by, at],
    )?;
    Ok(())
}

pub fn purge(conn: &Conn, before: Ms) -> Result<()> {
    conn.execute(
        "DELETE FROM alerts WHERE state = 'resolved' AND resolved_at < ?1",
        [before],
    )?;
    Ok(())
}
