//! SQL of the silences.

use super::Silence;
use super::model::{Scope, Valid};
use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::base::idn::DomainName;
use crate::db::Conn;
use rusqlite::{OptionalExtension, Row, params};

const COLUMNS: &str =
    "q.id, q.kind, q.tag, q.server_id, q.domain_id, q.group_id, s.name, d.domain, g.name, q.reason, q.author,
    q.starts_at, q.ends_at, q.state, q.ended_at, q.ended_by, q.created_at";
const FROM: &str =
    "silences q LEFT JOIN main.servers s ON s.id = q.server_id LEFT JOIN main.domains d ON d.id = q.domain_id
    LEFT JOIN main.groups g ON g.id = q.group_id";

fn read(r: &Row) -> rusqlite::Result<Silence> {
    let domain: Option<String> = r.get(7)?;
    let domain = domain.map(|name| DomainName::parse(&name).map_or(name, |d| d.unicode()));
    Ok(Silence {
        id: Id::new(r.get(0)?),
        scope: Scope {
            kind: r.get(1)?,
            tag: r.get(2)?,
            server: r.get::<_, Option<i64>>(3)?.map(Id::new),
            domain: r.get::<_, Option<i64>>(4)?.map(Id::new),
            group: r.get::<_, Option<i64>>(5)?.map(Id::new),
        },
        names: [r.get(6)?, domain, r.get(8)?],
        reason: r.get(9)?,
        author: r.get(10)?,
        starts_at: r.get(11)?,
        ends_at: r.get(12)?,
        state: r.get(13)?,
        ended_at: r.get(14)?,
        ended_by: r.get(15)?,
        created_at: r.get(16)?,
    })
}

pub fn get(conn: &Conn, id: Id<id::Silence>) -> Result<Option<Silence>> {
    let mut statement = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM {FROM} WHERE q.id = ?1"))?;
    Ok(statement.query_row([id.get()], read).optional()?)
}

/// Silences in this state, or in any; latest end first.
pub fn list(conn: &Conn, state: &str, limit: i64, offset: i64) -> Result<(Vec<Silence>, i64)> {
    let total = conn
        .prepare_cached("SELECT count(*) FROM silences WHERE ?1 = '' OR state = ?1")?
        .query_row([state], |r| r.get(0))?;
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM {FROM} WHERE ?1 = '' OR q.state = ?1
         ORDER BY coalesce(q.ended_at, q.ends_at) DESC, q.id DESC LIMIT ?2 OFFSET ?3"
    ))?;
    let rows = statement.query_map(params![state, limit, offset], read)?;
    Ok((rows.collect::<rusqlite::Result<_>>()?, total))
}

/// Silences that begin or end by now.
pub fn due(conn: &Conn, now: Ms) -> Result<Vec<Silence>> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM {FROM} WHERE (q.state = 'waiting' AND q.starts_at <= ?1) OR (q.state = 'active' AND q.ends_at <= ?1)
         ORDER BY q.id"
    ))?;
    let rows = statement.query_map([now], read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn insert(conn: &Conn, v: &Valid, author: &str, at: Ms) -> Result<Id<id::Silence>> {
    let s = &v.scope;
    conn.execute(
        "INSERT INTO silences (kind, tag, server_id, domain_id, group_id, reason, author, starts_at, ends_at, state, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 'waiting', ?10)",
        params![
            s.kind,
            s.tag,
            s.server.map(Id::get),
            s.domain.map(Id::get),
            s.group.map(Id::get),
            v.reason,
            author,
            v.starts_at,
            v.ends_at,
            at
        ],
    )?;
    Ok(Id::new(conn.last_insert_rowid()))
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
