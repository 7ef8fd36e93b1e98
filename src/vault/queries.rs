//! SQL of the keyring.

use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::db::Conn;
use rusqlite::params;

pub struct Row {
    pub id: i64,
    pub purpose: String,
    pub wrapped: Vec<u8>,
}

pub fn all(conn: &Conn) -> Result<Vec<Row>> {
    let mut statement = conn.prepare("SELECT id, purpose, wrapped FROM keyring ORDER BY id")?;
    let rows = statement.query_map([], |r| {
        Ok(Row {
            id: r.get(0)?,
            purpose: r.get(1)?,
            wrapped: r.get(2)?,
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
