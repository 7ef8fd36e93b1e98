//! SQL of the periodic work.

use crate::base::error::Result;
use crate::base::pulse::JobRun;
use crate::db::Conn;
use rusqlite::params;

pub fn put(conn: &Conn, beats: &[JobRun]) -> Result<()> {
    let mut statement = conn.prepare_cached(
        "INSERT INTO periodic (name, every_ms, alive_at, last_at, last_ms, error, fails) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (name) DO UPDATE SET every_ms = ?2, alive_at = ?3, last_at = ?4, last_ms = ?5, error = ?6, fails = ?7",
    )?;
    for b in beats {
        statement.execute(params![
            b.name, b.every_ms, b.alive_at, b.last_at, b.last_ms, b.error, b.fails
        ])?;
    }
    Ok(())
}

pub fn all(conn: &Conn) -> Result<Vec<JobRun>> {
    let mut statement = conn.prepare_cached(
        "SELECT name, every_ms, alive_at, last_at, last_ms, error, fails FROM periodic ORDER BY name",
    )?;
    let rows = statement.query_map([], |r| {
        Ok(JobRun {
            name: r.get(0)?,
            every_ms: r.get(1)?,
            alive_at: r.get(2)?,
            last_at: r.get(3)?,
            last_ms: r.get(4)?,
            error: r.get(5)?,
            fails: r.get(6)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Forgets work that this version does not do.
pub fn keep_only(conn: &Conn, beats: &[JobRun]) -> Result<()> {
    for old in all(conn)? {
        if !beats.iter().any(|beat| beat.name == old.name) {
            conn.execute("DELETE FROM periodic WHERE name = ?1", [old.name])?;
        }
    }
    Ok(())
}
