//! SQL of the doctor.

use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::db::Conn;

/// Time of the newest event.
pub fn newest_event(conn: &Conn) -> Result<Option<Ms>> {
    Ok(conn.query_row("SELECT max(at) FROM events", [], |r| r.get(0))?)
}

/// Servers whose Glances anybody may read who reaches it.
pub fn open_glances(conn: &Conn) -> Result<Vec<String>> {
    names(
        conn,
        "SELECT name FROM servers WHERE glances_auth_type = 'none' AND facts_at IS NOT NULL ORDER BY name",
    )
}

/// Administrators who sign in by a password alone.
pub fn single_factor(conn: &Conn) -> Result<Vec<String>> {
    names(
        conn,
        "SELECT login FROM users u WHERE role = 'admin' AND disabled = 0 AND NOT EXISTS
         (SELECT 1 FROM second_factors f WHERE f.user_id = u.id AND f.confirmed_at IS NOT NULL) ORDER BY login",
    )
}

fn names(conn: &Conn, sql: &str) -> Result<Vec<String>> {
    let mut statement = conn.prepare(sql)?;
    let rows = statement.query_map([], |r| r.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
