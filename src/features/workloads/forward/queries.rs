//! SQL of the secret.

use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::db::Conn;
use rusqlite::{OptionalExtension, params};

/// Its place, and itself, sealed.
pub fn secret(conn: &Conn) -> Result<Option<(String, Vec<u8>)>> {
    let mut statement = conn.prepare_cached("SELECT place, secret FROM forward_secret")?;
    Ok(statement.query_row([], |r| Ok((r.get(0)?, r.get(1)?))).optional()?)
}

pub fn put_secret(conn: &Conn, place: &str, sealed: &[u8], at: Ms, by: &str) -> Result<()> {
    conn.execute(
        "INSERT OR REPLACE INTO forward_secret (one, place, secret, changed_at, changed_by) VALUES (1, ?1, ?2, ?3, ?4)",
        params![place, sealed, at, by],
    )?;
    Ok(())
}

pub fn forget_secret(conn: &Conn) -> Result<()> {
    conn.execute("DELETE FROM forward_secret", [])?;
    Ok(())
}
