//! SQL of placements.

use super::{Failure, Key, Placement, State};
use crate::base::clock::Ms;
use crate::base::error::{Error, Result};
use crate::base::id::{self, Id};
use crate::db::Conn;
use crate::provision::site::Nginx;
use rusqlite::{OptionalExtension, params};

const COLUMNS: &str = "domain_id, server_id, wanted, state, name, generation, text, adopted, seen, code, say,
    deployed_at, looked_at, nginx";

fn read(r: &rusqlite::Row) -> rusqlite::Result<Placement> {
    let code: Option<String> = r.get(9)?;
    Ok(Placement {
        domain: Id::new(r.get(0)?),
        server: Id::new(r.get(1)?),
        wanted: r.get(2)?,
        state: State::parse(&r.get::<_, String>(3)?),
        name: r.get(4)?,
        generation: r.get(5)?,
        text: r.get(6)?,
        adopted: r.get(7)?,
        seen: r.get(8)?,
        problem: match code {
            Some(code) => Some((code, r.get::<_, Option<String>>(10)?.unwrap_or_default())),
            None => None,
        },
        deployed_at: r.get(11)?,
        looked_at: r.get(12)?,
        nginx: serde_json::from_str(&r.get::<_, String>(13)?).ok(),
    })
}

fn rows(conn: &Conn, which: &str, key: i64) -> Result<Vec<Placement>> {
    let sql = format!("SELECT {COLUMNS} FROM domain_sites WHERE {which} ORDER BY position, server_id");
    let mut statement = conn.prepare_cached(&sql)?;
    let rows = statement.query_map([key], read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn of(conn: &Conn, domain: Id<id::Domain>) -> Result<Vec<Placement>> {
    rows(conn, "domain_id = ?1", domain.get())
}

pub fn on(conn: &Conn, server: Id<id::Server>) -> Result<Vec<Placement>> {
    rows(conn, "name <> '' AND server_id = ?1", server.get())
}

pub fn nginx_on(conn: &Conn, server: Id<id::Server>) -> Result<Option<Nginx>> {
    let mut statement = conn.prepare_cached(
        "SELECT nginx FROM domain_sites WHERE server_id = ?1 AND name <> '' AND nginx <> '' ORDER BY deployed_at DESC LIMIT 1",
    )?;
    let found: Option<String> = statement.query_row([server.get()], |r| r.get(0)).optional()?;
    Ok(found.and_then(|found| serde_json::from_str(&found).ok()))
}

pub fn due(conn: &Conn, before: Ms) -> Result<Vec<Id<id::Server>>> {
    let mut statement = conn.prepare_cached(
        "SELECT server_id FROM domain_sites WHERE name <> '' GROUP BY server_id
         HAVING min(coalesce(looked_at, 0)) < ?1 ORDER BY min(coalesce(looked_at, 0))",
    )?;
    let rows = statement.query_map([before], |r| r.get(0).map(Id::new))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn insert(conn: &Conn, domain: Id<id::Domain>, server: Id<id::Server>, position: i64) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO domain_sites (domain_id, server_id, position) VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET position = ?3, wanted = 1",
    )?
    .execute(params![domain.get(), server.get(), position])?;
    Ok(())
}

pub fn want_none(conn: &Conn, domain: Id<id::Domain>) -> Result<()> {
    conn.prepare_cached("UPDATE domain_sites SET wanted = 0 WHERE domain_id = ?1")?
        .execute([domain.get()])?;
    Ok(())
}

/// Deletes unwanted placements, unless something is still on the server.
pub fn sweep(conn: &Conn, domain: Id<id::Domain>) -> Result<()> {
    conn.prepare_cached("DELETE FROM domain_sites WHERE domain_id = ?1 AND wanted = 0 AND name = ''")?
        .execute([domain.get()])?;
    Ok(())
}

pub fn mark_deployed(conn: &Conn, placement: &Placement) -> Result<()> {
    let nginx = placement.nginx.as_ref().map(serde_json::to_string).transpose();
    conn.prepare_cached(
        "UPDATE domain_sites SET state = 'live', name = ?3, generation = ?4, text = ?5, adopted = ?6, seen = NULL,
         code = NULL, say = NULL, deployed_at = ?7, looked_at = ?7, nginx = ?8,
         since = CASE WHEN state = 'live' THEN coalesce(since, ?7) ELSE ?7 END WHERE domain_id = ?1 AND server_id = ?2",
    )?
    .execute(params![
        placement.domain.get(),
        placement.server.get(),
        placement.name,
        placement.generation,
        placement.text,
        placement.adopted,
        placement.deployed_at,
        nginx.map_err(Error::internal)?.unwrap_or_default(),
    ])?;
    Ok(())
}

/// A repeated failure keeps the time of the first.
pub fn mark_failed(conn: &Conn, key: Key, failure: &Failure, at: Ms) -> Result<()> {
    conn.prepare_cached(
        "UPDATE domain_sites SET since = CASE WHEN state = 'failed' THEN coalesce(since, ?7) ELSE ?7 END, state = 'failed',
           code = ?3, say = ?4, stands = ?5, issued = ?6
         WHERE domain_id = ?1 AND server_id = ?2",
    )?
    .execute(params![
        key.0.get(),
        key.1.get(),
        failure.code,
        failure.say,
        failure.stands.name(),
        failure.issued,
        at
    ])?;
    Ok(())
}

pub fn mark_removed(conn: &Conn, key: Key) -> Result<()> {
    conn.prepare_cached(
        "UPDATE domain_sites SET state = 'none', since = NULL, name = '', text = '', adopted = 0, seen = NULL, code = NULL, say = NULL,
         deployed_at = NULL, looked_at = NULL, inside = '', inside_say = '', inside_at = NULL WHERE domain_id = ?1 AND server_id = ?2",
    )?
    .execute(params![key.0.get(), key.1.get()])?;
    Ok(())
}

pub fn mark_checked(conn: &Conn, placement: &Placement) -> Result<()> {
    let problem = placement.problem.as_ref();
    conn.prepare_cached(
        "UPDATE domain_sites SET since = CASE WHEN state = ?3 THEN since ELSE ?5 END, state = ?3, seen = ?4, looked_at = ?5,
           code = ?6, say = ?7
         WHERE domain_id = ?1 AND server_id = ?2",
    )?
    .execute(params![
        placement.domain.get(),
        placement.server.get(),
        placement.state.name(),
        placement.seen,
        placement.looked_at,
        problem.map(|p| &p.0),
        problem.map(|p| &p.1),
    ])?;
    Ok(())
}

/// Only if no other text has been put meanwhile.
pub fn inside(conn: &Conn, placement: &Placement, (inside, say): (&str, &str), at: Ms) -> Result<()> {
    conn.prepare_cached(
        "UPDATE domain_sites SET inside = ?3, inside_say = ?4, inside_at = ?5
         WHERE domain_id = ?1 AND server_id = ?2 AND generation = ?6",
    )?
    .execute(params![
        placement.domain.get(),
        placement.server.get(),
        inside,
        say,
        at,
        placement.generation
    ])?;
    Ok(())
}

pub fn make_due(conn: &Conn, server: Id<id::Server>) -> Result<()> {
    conn.prepare_cached("UPDATE domain_sites SET looked_at = NULL WHERE server_id = ?1")?
        .execute([server.get()])?;
    Ok(())
}

pub fn mark_attempted(conn: &Conn, server: Id<id::Server>, at: Ms) -> Result<()> {
    conn.prepare_cached("UPDATE domain_sites SET looked_at = ?2 WHERE server_id = ?1 AND name <> ''")?
        .execute(params![server.get(), at])?;
    Ok(())
}

pub fn is_deployed(conn: &Conn, domain: Id<id::Domain>) -> Result<bool> {
    let mut statement =
        conn.prepare_cached("SELECT EXISTS (SELECT 1 FROM domain_sites WHERE domain_id = ?1 AND name <> '')")?;
    Ok(statement.query_row([domain.get()], |r| r.get(0))?)
}
