//! SQL of the keyring.

use super::Sealed;
use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::db::Conn;
use rusqlite::{OptionalExtension, params};

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

/// What is sealed of a secret: the row, and its parts.
pub struct Referred {
    pub row: i64,
    pub value: Vec<u8>,
    pub passphrase: Option<Vec<u8>>,
}

fn referred(r: &rusqlite::Row) -> rusqlite::Result<Referred> {
    Ok(Referred {
        row: r.get(0)?,
        value: r.get(1)?,
        passphrase: r.get(2)?,
    })
}

/// The version of a secret that is in force.
pub fn in_force(conn: &Conn, secret: i64) -> Result<Option<Referred>> {
    let mut statement = conn.prepare_cached(
        "SELECT v.id, v.value, v.passphrase FROM secrets s
         JOIN secret_versions v ON v.secret_id = s.id AND v.number = s.version WHERE s.id = ?1",
    )?;
    Ok(statement.query_row([secret], referred).optional()?)
}

/// The value of a secret that is on its way, where this server's login has it already.
pub fn candidate(conn: &Conn, secret: i64, server: i64) -> Result<Option<Referred>> {
    let mut statement = conn.prepare_cached(
        "SELECT r.id, r.value, r.passphrase FROM secret_rotations r
         JOIN secret_rotation_hosts h ON h.rotation_id = r.id
         JOIN servers s ON s.id = h.server_id AND s.username = h.account
         WHERE r.secret_id = ?1 AND r.state = 'open' AND h.server_id = ?2 AND h.good = 'new' AND r.value IS NOT NULL",
    )?;
    Ok(statement.query_row([secret, server], referred).optional()?)
}

/// Number and head of all references in a column.
pub fn references(conn: &Conn, of: &Sealed) -> Result<Vec<(i64, Vec<u8>)>> {
    let Sealed {
        table,
        column,
        row: number,
        ..
    } = of;
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {number}, substr({column}, 1, 10) FROM {table} WHERE substr({column}, 1, 1) = x'02' ORDER BY {number}"
    ))?;
    let rows = statement.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
