//! SQL of the public page.

use super::{Incident, Thing};
use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::db::Conn;
use rusqlite::{OptionalExtension, Row, params};

/// All things on the page, as they stand there.
pub fn things(conn: &Conn) -> Result<Vec<Thing>> {
    let mut statement = conn.prepare_cached(
        "SELECT kind, subject, name, section, position FROM status_things
         ORDER BY min(position) OVER (PARTITION BY section), section, position, name",
    )?;
    let rows = statement.query_map([], |r| {
        Ok(Thing {
            kind: r.get(0)?,
            id: r.get(1)?,
            name: r.get(2)?,
            section: r.get(3)?,
            position: r.get(4)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// How many there are.
pub fn count(conn: &Conn) -> Result<i64> {
    Ok(conn.query_row("SELECT count(*) FROM status_things", [], |r| r.get(0))?)
}

/// Adds or changes one.
pub fn put(conn: &Conn, thing: &Thing) -> Result<()> {
    conn.execute(
        "INSERT OR REPLACE INTO status_things (kind, subject, name, section, position) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![thing.kind, thing.id, thing.name, thing.section, thing.position],
    )?;
    Ok(())
}

/// Removes one; was it there?
pub fn remove(conn: &Conn, kind: &str, id: i64) -> Result<bool> {
    let removed = conn.execute(
        "DELETE FROM status_things WHERE kind = ?1 AND subject = ?2",
        params![kind, id],
    )?;
    Ok(removed > 0)
}

fn incident_of(r: &Row) -> rusqlite::Result<Incident> {
    Ok(Incident {
        id: r.get(0)?,
        title: r.get(1)?,
        began_at: r.get(2)?,
        resolved_at: r.get(3)?,
        updates: Vec::new(),
    })
}

fn with_updates(conn: &Conn, mut incident: Incident) -> Result<Incident> {
    let mut statement =
        conn.prepare_cached("SELECT at, said FROM status_updates WHERE incident_id = ?1 ORDER BY at DESC, id DESC")?;
    let rows = statement.query_map([incident.id], |r| Ok((r.get(0)?, r.get(1)?)))?;
    incident.updates = rows.collect::<rusqlite::Result<_>>()?;
    Ok(incident)
}

/// Incidents that go on, or were over not before then: these first, then the newest.
pub fn incidents(conn: &Conn, from: Ms, limit: i64) -> Result<Vec<Incident>> {
    let mut statement = conn.prepare_cached(
        "SELECT id, title, began_at, resolved_at FROM status_incidents WHERE resolved_at IS NULL OR resolved_at >= ?1
         ORDER BY resolved_at IS NOT NULL, began_at DESC, id DESC LIMIT ?2",
    )?;
    let rows = statement.query_map([from, limit], incident_of)?;
    let all: Vec<Incident> = rows.collect::<rusqlite::Result<_>>()?;
    all.into_iter().map(|one| with_updates(conn, one)).collect()
}

/// One of them.
pub fn incident(conn: &Conn, id: i64) -> Result<Option<Incident>> {
    let mut statement =
        conn.prepare_cached("SELECT id, title, began_at, resolved_at FROM status_incidents WHERE id = ?1")?;
    let found = statement.query_row([id], incident_of).optional()?;
    found.map(|one| with_updates(conn, one)).transpose()
}

/// Adds one.
pub fn begin(conn: &Conn, title: &str, at: Ms) -> Result<i64> {
    conn.execute(
        "INSERT INTO status_incidents (title, began_at) VALUES (?1, ?2)",
        params![title, at],
    )?;
    Ok(conn.last_insert_rowid())
}

/// Adds what is said; how much there is then?
pub fn say(conn: &Conn, incident: i64, at: Ms, said: &str) -> Result<i64> {
    conn.execute(
        "INSERT INTO status_updates (incident_id, at, said) VALUES (?1, ?2, ?3)",
        params![incident, at, said],
    )?;
    let count = "SELECT count(*) FROM status_updates WHERE incident_id = ?1";
    Ok(conn.query_row(count, [incident], |r| r.get(0))?)
}

/// When it was over.
pub fn resolve(conn: &Conn, incident: i64, at: Option<Ms>) -> Result<()> {
    conn.execute(
        "UPDATE status_incidents SET resolved_at = ?2 WHERE id = ?1",
        params![incident, at],
    )?;
    Ok(())
}

/// Removes one.
pub fn forget(conn: &Conn, incident: i64) -> Result<()> {
    conn.execute("DELETE FROM status_incidents WHERE id = ?1", [incident])?;
    Ok(())
}
