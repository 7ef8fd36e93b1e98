//! SQL of the keyring.

use super::Sealed;
use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::db::Conn;
use rusqlite::params;

pub struct Row {
    pub id: i64,
    pub purpose: String,
    pub wrapped: Vec<u8>,
    /// The same key under the next master key, while that one replaces this one.
    pub next: Option<Vec<u8>>,
}

pub fn all(conn: &Conn) -> Result<Vec<Row>> {
    let mut statement = conn.prepare("SELECT id, purpose, wrapped, next FROM keyring ORDER BY id")?;
    let rows = statement.query_map([], |r| {
        Ok(Row {
            id: r.get(0)?,
            purpose: r.get(1)?,
            wrapped: r.get(2)?,
            next: r.get(3)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn insert(conn: &Conn, row: &Row, at: Ms) -> Result<()> {
    conn.execute(
        "INSERT INTO keyring (id, purpose, wrapped, created_at) VALUES (?1, ?2, ?3, ?4)",
        params![row.id, row.purpose, row.wrapped, at],
    )?;
    Ok(())
}

pub fn set_next(conn: &Conn, id: i64, next: &[u8]) -> Result<()> {
    conn.execute("UPDATE keyring SET next = ?2 WHERE id = ?1", params![id, next])?;
    Ok(())
}

/// What is wrapped by the next master key counts from now on; nothing where there is none.
pub fn take_next(conn: &Conn) -> Result<()> {
    conn.execute(
        "UPDATE keyring SET wrapped = next, next = NULL WHERE next IS NOT NULL",
        [],
    )?;
    Ok(())
}

pub fn remove(conn: &Conn, id: i64) -> Result<()> {
    conn.execute("DELETE FROM keyring WHERE id = ?1", [id])?;
    Ok(())
}

/// Sealed values of a column behind this row, by the rows' numbers.
pub fn sealed_after(conn: &Conn, of: &Sealed, row: i64, limit: usize) -> Result<Vec<(i64, Vec<u8>)>> {
    let Sealed {
        table,
        column,
        row: number,
        ..
    } = of;
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {number}, {column} FROM {table} WHERE {column} IS NOT NULL AND {number} > ?1 ORDER BY {number} LIMIT ?2"
    ))?;
    let rows = statement.query_map(params![row, limit as i64], |r| Ok((r.get(0)?, r.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn set_sealed(conn: &Conn, of: &Sealed, row: i64, sealed: &[u8]) -> Result<()> {
    let Sealed {
        table,
        column,
        row: number,
        ..
    } = of;
    let mut statement = conn.prepare_cached(&format!("UPDATE {table} SET {column} = ?2 WHERE {number} = ?1"))?;
    statement.execute(params![row, sealed])?;
    Ok(())
}
