//! SQL of backups.

use super::Backup;
use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::db::Conn;
use rusqlite::{OptionalExtension, Row, params};

const COLUMNS: &str = "id, began_at, ended_at, path, size, encryption, error, rehearsed_at, rehearsal_error";

fn backup(r: &Row) -> rusqlite::Result<Backup> {
    Ok(Backup {
        id: Id::new(r.get(0)?),
        began_at: r.get(1)?,
        ended_at: r.get(2)?,
        path: r.get(3)?,
        size: r.get(4)?,
        encryption: r.get(5)?,
        error: r.get(6)?,
        rehearsed_at: r.get(7)?,
        rehearsal_error: r.get(8)?,
    })
}

/// All of them, the newest first.
pub fn all(conn: &Conn) -> Result<Vec<Backup>> {
    let mut statement = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM backups ORDER BY id DESC"))?;
    let rows = statement.query_map([], backup)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn get(conn: &Conn, id: Id<id::Backup>) -> Result<Option<Backup>> {
    let mut statement = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM backups WHERE id = ?1"))?;
    Ok(statement.query_row([id.get()], backup).optional()?)
}

pub fn newest_made(conn: &Conn) -> Result<Option<Backup>> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM backups WHERE ended_at IS NOT NULL AND error = '' ORDER BY id DESC LIMIT 1"
    ))?;
    Ok(statement.query_row([], backup).optional()?)
}

/// When the newest one was begun, and when any was read again.
pub fn last(conn: &Conn) -> Result<(Option<Ms>, Option<Ms>)> {
    let mut statement = conn.prepare_cached("SELECT max(began_at), max(rehearsed_at) FROM backups")?;
    Ok(statement.query_row([], |r| Ok((r.get(0)?, r.get(1)?)))?)
}

pub fn begin(conn: &Conn, path: &str, encryption: &str, at: Ms) -> Result<Id<id::Backup>> {
    conn.execute(
        "INSERT INTO backups (began_at, path, encryption) VALUES (?1, ?2, ?3)",
        params![at, path, encryption],
    )?;
    Ok(Id::new(conn.last_insert_rowid()))
}

pub fn end(conn: &Conn, id: Id<id::Backup>, size: i64, error: &str, at: Ms) -> Result<()> {
    conn.execute(
        "UPDATE backups SET ended_at = ?2, size = ?3, error = ?4 WHERE id = ?1",
        params![id.get(), at, size, error],
    )?;
    Ok(())
}

pub fn rehearsed(conn: &Conn, id: Id<id::Backup>, error: &str, at: Ms) -> Result<()> {
    conn.execute(
        "UPDATE backups SET rehearsed_at = ?2, rehearsal_error = ?3 WHERE id = ?1",
        params![id.get(), at, error],
    )?;
    Ok(())
}

pub fn remove(conn: &Conn, id: Id<id::Backup>) -> Result<()> {
    conn.execute("DELETE FROM backups WHERE id = ?1", [id.get()])?;
    Ok(())
}
