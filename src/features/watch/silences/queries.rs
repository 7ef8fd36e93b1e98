//! SQL of the silences.

use super::Silence;
use super::model::{LINKS, Scope, Valid};
use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::db::Conn;
use crate::features::fleet::scope::Scope as Within;
use rusqlite::{OptionalExtension, Row, params};
use std::collections::HashSet;

const COLUMNS: &str = "id, kind, scope, reason, author, starts_at, ends_at, state, ended_at, ended_by, created_at,
    (SELECT group_concat(target_type || ':' || target_id, ' ') FROM silence_targets t WHERE t.silence_id = q.id)";

/// Without the names of what it is about.
fn read(r: &Row) -> rusqlite::Result<Silence> {
    let targets: Option<String> = r.get(11)?;
    let targets = targets.unwrap_or_default();
    let targets = targets.split(' ').filter_map(|text| {
        let (kind, id) = text.split_once(':')?;
        Some((kind.to_string(), id.parse().ok()?))
    });
    let mut targets: Vec<_> = targets.collect();
    targets.sort_by_key(|(kind, _)| LINKS.iter().position(|(_, of)| of == kind).unwrap_or(LINKS.len()));
    Ok(Silence {
        id: Id::new(r.get(0)?),
        scope: Scope {
            kind: r.get(1)?,
            within: Within::stored(r.get_ref(2)?.as_str()?),
            targets,
        },
        names: Vec::new(),
        reason: r.get(3)?,
        author: r.get(4)?,
        starts_at: r.get(5)?,
        ends_at: r.get(6)?,
        state: r.get(7)?,
        ended_at: r.get(8)?,
        ended_by: r.get(9)?,
        created_at: r.get(10)?,
    })
}

pub fn get(conn: &Conn, id: Id<id::Silence>) -> Result<Option<Silence>> {
    let mut statement = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM silences q WHERE q.id = ?1"))?;
    Ok(statement.query_row([id.get()], read).optional()?)
}

/// Silences in this state, or in any; latest end first.
pub fn list(conn: &Conn, state: &str, limit: i64, offset: i64) -> Result<(Vec<Silence>, i64)> {
    let total = conn
        .prepare_cached("SELECT count(*) FROM silences WHERE ?1 = '' OR state = ?1")?
        .query_row([state], |r| r.get(0))?;
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM silences q WHERE ?1 = '' OR q.state = ?1
         ORDER BY coalesce(q.ended_at, q.ends_at) DESC, q.id DESC LIMIT ?2 OFFSET ?3"
    ))?;
    let rows = statement.query_map(params![state, limit, offset], read)?;
    Ok((rows.collect::<rusqlite::Result<_>>()?, total))
}

/// Silences that begin or end by now.
pub fn due(conn: &Conn, now: Ms) -> Result<Vec<Silence>> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM silences q WHERE (q.state = 'waiting' AND q.starts_at <= ?1) OR (q.state = 'active' AND q.ends_at <= ?1)
         ORDER BY q.id"
    ))?;
    let rows = statement.query_map([now], read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn insert(conn: &Conn, v: &Valid, author: &str, at: Ms) -> Result<Id<id::Silence>> {
    let s = &v.scope;
    conn.execute(
        "INSERT INTO silences (kind, scope, reason, author, starts_at, ends_at, state, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'waiting', ?7)",
        params![s.kind, s.within.text(), v.reason, author, v.starts_at, v.ends_at, at],
    )?;
    let id = conn.last_insert_rowid();
    for (kind, target) in &s.targets {
        conn.execute(
            "INSERT INTO silence_targets (silence_id, target_type, target_id) VALUES (?1, ?2, ?3)",
            params![id, kind, target],
        )?;
    }
    Ok(Id::new(id))
}

/// Keeps which servers the scope of a silence holds for.
pub fn set_servers(conn: &Conn, id: Id<id::Silence>, servers: &HashSet<i64>) -> Result<()> {
    let servers = serde_json::json!(servers).to_string();
    conn.execute(
        "DELETE FROM silence_servers WHERE silence_id = ?1 AND server_id NOT IN (SELECT value FROM json_each(?2))",
        params![id.get(), servers],
    )?;
    conn.execute(
        "INSERT OR IGNORE INTO silence_servers (silence_id, server_id)
         SELECT ?1, s.id FROM servers s WHERE s.id IN (SELECT value FROM json_each(?2))",
        params![id.get(), servers],
    )?;
    Ok(())
}

pub fn set_active(conn: &Conn, id: Id<id::Silence>) -> Result<()> {
    conn.execute("UPDATE silences SET state = 'active' WHERE id = ?1", [id.get()])?;
    Ok(())
}

pub fn set_over(conn: &Conn, id: Id<id::Silence>, at: Ms, by: Option<&str>) -> Result<()> {
    conn.execute(
        "UPDATE silences SET state = 'over', ended_at = ?2, ended_by = ?3 WHERE id = ?1",
        params![id.get(), at, by],
    )?;
    Ok(())
}

pub fn purge(conn: &Conn, before: Ms) -> Result<()> {
    conn.execute("DELETE FROM silences WHERE state = 'over' AND ended_at < ?1", [before])?;
    Ok(())
}
