//! SQL of the periodic work.

use super::Beat;
use crate::base::error::Result;
use crate::db::Conn;
use rusqlite::params;

pub fn put(conn: &Conn, beat: &Beat) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO periodic (name, every_ms, last_at, last_ms, error) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (name) DO UPDATE SET every_ms = ?2, last_at = ?3, last_ms = ?4, error = ?5",
    )?
    .execute(params![
        beat.name,
        beat.every_ms,
        beat.last_at,
        beat.last_ms,
        beat.error
    ])?;
    Ok(())
}

pub fn all(conn: &Conn) -> Result<Vec<Beat>> {
    let mut statement =
        conn.prepare_cached("SELECT name, every_ms, last_at, last_ms, error FROM periodic ORDER BY name")?;
    let rows = statement.query_map([], |r| {
        Ok(Beat {
            name: r.get(0)?,
            every_ms: r.get(1)?,
            last_at: r.get(2)?,
            last_ms: r.get(3)?,
            error: r.get(4)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Forgets work that this version does not do.
pub fn keep_only(conn: &Conn, names: &[&str]) -> Result<()> {
    for beat in all(conn)? {
        if !names.contains(&beat.name.as_str()) {
            conn.execute("DELETE FROM periodic WHERE name = ?1", [beat.name])?;
        }
    }
    Ok(())
}
