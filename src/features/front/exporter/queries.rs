//! SQL of the exporter.

use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::db::Conn;
use rusqlite::{OptionalExtension, params};

pub fn get(conn: &Conn, name: &'static str) -> Result<Option<(Vec<u8>, Ms)>> {
    let mut statement = conn.prepare_cached("SELECT value, changed_at FROM exporter WHERE name = ?1")?;
    Ok(statement.query_row([name], |r| Ok((r.get(0)?, r.get(1)?))).optional()?)
}

pub fn put(conn: &Conn, name: &'static str, value: &[u8], at: Ms, by: &str) -> Result<()> {
    conn.execute(
        "INSERT OR REPLACE INTO exporter (name, value, changed_at, changed_by) VALUES (?1, ?2, ?3, ?4)",
        params![name, value, at, by],
    )?;
    Ok(())
}

pub fn remove(conn: &Conn, name: &'static str) -> Result<bool> {
    Ok(conn.execute("DELETE FROM exporter WHERE name = ?1", [name])? > 0)
}
