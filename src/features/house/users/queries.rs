//! SQL of the users.

use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::base::id::{Id, User};
use crate::db::{self, Conn};
use rusqlite::params;

/// Sign-in is not possible before [`set_hash`].
pub fn insert(conn: &Conn, login: &str, role: &str, at: Ms) -> Result<Id<User>> {
    conn.execute(
        "INSERT INTO users (login, password_hash, role, created_at) VALUES (?1, '', ?2, ?3)",
        params![login, role, at],
    )
    .map_err(db::on_unique_violation(
        "login",
        format!("There is an account “{login}” already."),
    ))?;
    Ok(Id::new(conn.last_insert_rowid()))
}

pub fn set_hash(conn: &Conn, id: Id<User>, hash: &str) -> Result<()> {
    conn.execute(
        "UPDATE users SET password_hash = ?2 WHERE id = ?1",
        params![id.get(), hash],
    )?;
    Ok(())
}

pub fn hashes(conn: &Conn) -> Result<Vec<(Id<User>, String)>> {
    let mut statement = conn.prepare("SELECT id, password_hash FROM users")?;
    let rows = statement.query_map([], |r| Ok((Id::new(r.get(0)?), r.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn end_sign_ins(conn: &Conn, id: Id<User>) -> Result<()> {
    conn.execute("UPDATE users SET generation = generation + 1 WHERE id = ?1", [id.get()])?;
    conn.execute("DELETE FROM sessions WHERE user_id = ?1", [id.get()])?;
    conn.execute("DELETE FROM refresh_tokens WHERE user_id = ?1", [id.get()])?;
    Ok(())
}

pub fn set_disabled(conn: &Conn, id: Id<User>, disabled: bool) -> Result<()> {
    conn.execute(
        "UPDATE users SET disabled = ?2 WHERE id = ?1",
        params![id.get(), disabled],
    )?;
    Ok(())
}

pub fn set_time_zone(conn: &Conn, id: Id<User>, name: &str) -> Result<()> {
    conn.execute("UPDATE users SET time_zone = ?2 WHERE id = ?1", params![id.get(), name])?;
    Ok(())
}

pub fn set_lang(conn: &Conn, id: Id<User>, lang: &str) -> Result<()> {
    conn.execute("UPDATE users SET lang = ?2 WHERE id = ?1", params![id.get(), lang])?;
    Ok(())
}
