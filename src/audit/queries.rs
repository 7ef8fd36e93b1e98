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
        "INSERT INTO audit (seq, at, actor, ip, action, object, detail, request_id, mac)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
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
        row.mac
    ])?;
    Ok(())
}

/// Calls `f` for each row in order until it says `false`.
pub fn each(conn: &Conn, mut f: impl FnMut(Row) -> bool) -> Result<()> {
    let mut statement =
        conn.prepare("SELECT seq, at, actor, ip, action, object, detail, request_id, mac FROM audit ORDER BY seq")?;
    let mut rows = statement.query([])?;
    while let Some(r) = rows.next()? {
        let row = Row {
            seq: r.get(0)?,
            at: r.get(1)?,
            actor: r.get(2)?,
            ip: r.get(3)?,
            action: r.get(4)?,
            object: r.get(5)?,
            detail: r.get(6)?,
            request_id: r.get(7)?,
            mac: r.get(8)?,
        };
        if !f(row) {
            break;
        }
    }
    Ok(())
}
