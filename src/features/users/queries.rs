//! SQL of the users.

use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::base::id::{Id, User};
use crate::db::{self, Conn};
use rusqlite::params;

pub fn insert(conn: &Conn, login: &str, hash: &str, role: &str, at: Ms) -> Result<Id<User>> {
    conn.execute(
        "INSERT INTO users (login, password_hash, role, created_at) VALUES (?1, ?2, ?3, ?4)",
        params![login, hash, role, at],
    )
    .map_err(db::told_duplicate(
        "login",
        format!("There is an account “{login}” already."),
    ))?;
    Ok(Id::new(conn.last_insert_rowid()))
}

pub fn set_password(conn: &Conn, id: Id<User>, hash: &str) -> Result<()> {
    conn.execute(
        "UPDATE users SET password_hash = ?2, generation = generation + 1 WHERE id = ?1",
        params![id.get(), hash],
    )?;
    conn.execute("DELETE FROM sessions WHERE user_id = ?1", [id.get()])?;
    conn.execute("DELETE FROM refresh_tokens WHERE user_id = ?1", [id.get()])?;
    Ok(())
}

pub fn set_lang(conn: &Conn, id: Id<User>, lang: &str) -> Result<()> {
    conn.execute("UPDATE users SET lang = ?2 WHERE id = ?1", params![id.get(), lang])?;
    Ok(())
}
