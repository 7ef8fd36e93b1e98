//! SQL of the settings.

use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::db::Conn;
use rusqlite::{OptionalExtension, params};

pub fn get(conn: &Conn, key: &str) -> Result<Option<String>> {
    let mut statement = conn.prepare_cached("SELECT value FROM settings WHERE key = ?1")?;
    Ok(statement.query_row([key], |r| r.get(0)).optional()?)
}

pub fn put(conn: &Conn, key: &str, value: &str, by: &str, at: Ms) -> Result<()> {
    conn.execute(
        "INSERT INTO settings (key, value, changed_at, changed_by) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (key) DO UPDATE SET value = ?2, changed_at = ?3, changed_by = ?4",
        params![key, value, at, by],
    )?;
    Ok(())
}

pub fn remove(conn: &Conn, key: &str) -> Result<()> {
    conn.execute("DELETE FROM settings WHERE key = ?1", [key])?;
    Ok(())
}
