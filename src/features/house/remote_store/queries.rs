//! SQL of the remote store.

use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::db::Conn;
use rusqlite::{OptionalExtension, params};

pub fn secret(conn: &Conn) -> Result<Option<Vec<u8>>> {
    let mut statement = conn.prepare_cached("SELECT secret FROM engine")?;
    Ok(statement.query_row([], |r| r.get(0)).optional()?)
}

pub fn put_secret(conn: &Conn, sealed: &[u8], at: Ms, by: &str) -> Result<()> {
    conn.execute(
        "INSERT OR REPLACE INTO engine (one, secret, changed_at, changed_by) VALUES (1, ?1, ?2, ?3)",
        params![sealed, at, by],
    )?;
    Ok(())
}

pub fn forget_secret(conn: &Conn) -> Result<()> {
    conn.execute("DELETE FROM engine", [])?;
    Ok(())
}
