//! SQL of the events.

use super::Event;
use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::db::Conn;
use rusqlite::{OptionalExtension, params};

pub fn insert(conn: &Conn, at: Ms, kind: &str, target: (&str, i64), data: &str) -> Result<()> {
    conn.prepare_cached("INSERT INTO events (at, kind, target_type, target_id, data) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![at, kind, target.0, target.1, data])?;
    Ok(())
}

pub fn after(conn: &Conn, after: i64, limit: usize) -> Result<Vec<Event>> {
    let mut statement = conn.prepare_cached(
        "SELECT id, at, kind, target_type, target_id, data FROM events WHERE id > ?1 ORDER BY id LIMIT ?2",
    )?;
    let rows = statement.query_map(params![after, limit as i64], |r| {
        Ok(Event {
            id: r.get(0)?,
            at: r.get(1)?,
            kind: r.get(2)?,
            target_type: r.get(3)?,
            target_id: r.get(4)?,
            data: serde_json::from_str(&r.get::<_, String>(5)?).unwrap_or_default(),
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn cursor(conn: &Conn, reader: &str) -> Result<i64> {
    let mut statement = conn.prepare_cached("SELECT event_id FROM event_cursors WHERE reader = ?1")?;
    match statement.query_row([reader], |r| r.get(0)).optional()? {
        Some(id) => Ok(id),
        None => newest(conn),
    }
}

pub fn newest(conn: &Conn) -> Result<i64> {
    let mut statement = conn.prepare_cached("SELECT coalesce(max(id), 0) FROM events")?;
    Ok(statement.query_row([], |r| r.get(0))?)
}

pub fn newest_of(conn: &Conn, kinds: [&str; 2]) -> Result<Option<String>> {
    let mut statement =
        conn.prepare_cached("SELECT kind FROM events WHERE kind IN (?1, ?2) ORDER BY id DESC LIMIT 1")?;
    Ok(statement.query_row(kinds, |r| r.get(0)).optional()?)
}

pub fn set_cursor(conn: &Conn, reader: &str, event: i64) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO event_cursors (reader, event_id) VALUES (?1, ?2) ON CONFLICT (reader) DO UPDATE SET event_id = ?2",
    )?
    .execute(params![reader, event])?;
    Ok(())
}

/// Ids have no gaps: the newest `keep` are those above the last id less `keep`.
pub fn remove_old(conn: &Conn, since: Ms, keep: i64, rows_max: usize) -> Result<usize> {
    let mut statement = conn.prepare_cached(
        "DELETE FROM events WHERE id IN (
           SELECT id FROM events WHERE (at < ?1 OR id <= (SELECT max(id) FROM events) - ?2)
           AND id <= (SELECT coalesce(min(event_id), 0) FROM event_cursors) ORDER BY id LIMIT ?3)",
    )?;
    Ok(statement.execute(params![since, keep, rows_max as i64])?)
}
