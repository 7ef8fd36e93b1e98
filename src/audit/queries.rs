//! SQL of the audit.

use super::Row;
use crate::base::error::Result;
use crate::db::Conn;
use rusqlite::{OptionalExtension, params};

/// Number and MAC of the last row; `(0, [])` when there is none.
pub fn last(conn: &Conn) -> Result<(i64, Vec<u8>)> {
    let mut statement = conn.prepare_cached("SELECT seq, mac FROM audit ORDER BY seq DESC LIMIT 1")?;
    Ok(statement
        .query_row([], |r| Ok((r.get(0)?, r.get(1)?)))
        .optional()?
        .unwrap_or_default())
}

pub fn insert(conn: &Conn, row: &Row) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO audit (seq, at, actor, ip, action, object, detail, request_id, mac, client_request_id)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?
    .execute(params![
        row.seq,
        row.at,
        row.actor,
        row.ip,
        row.action,
        row.object,
        row.detail,
        row.request_id,
        row.mac,
        row.client_request_id
    ])?;
    Ok(())
}

/// Is there a row of this action?
pub fn has(conn: &Conn, action: &str) -> Result<bool> {
    Ok(
        conn.query_row("SELECT EXISTS (SELECT 1 FROM audit WHERE action = ?1)", [action], |r| {
            r.get(0)
        })?,
    )
}

/// Of the row with this number.
pub fn mac_of(conn: &Conn, seq: i64) -> Result<Option<Vec<u8>>> {
    let mut statement = conn.prepare_cached("SELECT mac FROM audit WHERE seq = ?1")?;
    Ok(statement.query_row([seq], |r| r.get(0)).optional()?)
}

/// The next rows in order.
pub fn after(conn: &Conn, seq: i64, max: usize) -> Result<Vec<Row>> {
    let mut statement = conn.prepare_cached(
        "SELECT seq, at, actor, ip, action, object, detail, request_id, mac, client_request_id FROM audit
         WHERE seq > ?1 ORDER BY seq LIMIT ?2",
    )?;
    let rows = statement.query_map(params![seq, max as i64], |r| {
        Ok(Row {
            seq: r.get(0)?,
            at: r.get(1)?,
            actor: r.get(2)?,
            ip: r.get(3)?,
            action: r.get(4)?,
            object: r.get(5)?,
            detail: r.get(6)?,
            request_id: r.get(7)?,
            mac: r.get(8)?,
            client_request_id: r.get(9)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
