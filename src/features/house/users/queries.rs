//! SQL of the users.

use super::model::{Filter, Member};
use crate::access::Role;
use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::base::id::{Id, User};
use crate::db::{self, Conn};
use rusqlite::{OptionalExtension, Row, params};

const MEMBER: &str = "u.id, u.login, u.email, u.role, u.disabled, u.password_hash <> '', u.created_at, u.last_login_at,
    i.expires_at, coalesce(f.confirmed_at IS NOT NULL, 0), u.projects";

const FROM: &str = "users u LEFT JOIN invites i ON i.user_id = u.id LEFT JOIN second_factors f ON f.user_id = u.id";

fn read_member(r: &Row) -> rusqlite::Result<Member> {
    Ok(Member {
        id: Id::new(r.get(0)?),
        login: r.get(1)?,
        email: r.get(2)?,
        // A role that this version does not know has no rights.
        role: Role::parse(&r.get::<_, String>(3)?).unwrap_or(Role::Automation),
        disabled: r.get(4)?,
        has_password: r.get(5)?,
        created_at: r.get(6)?,
        last_login_at: r.get(7)?,
        invited_until: r.get(8)?,
        totp: r.get(9)?,
        projects: serde_json::from_str(r.get_ref(10)?.as_str()?).unwrap_or_default(),
    })
}

pub fn member(conn: &Conn, id: Id<User>) -> Result<Option<Member>> {
    let mut statement = conn.prepare_cached(&format!("SELECT {MEMBER} FROM {FROM} WHERE u.id = ?1"))?;
    Ok(statement.query_row([id.get()], read_member).optional()?)
}

pub fn members(conn: &Conn, filter: &Filter) -> Result<(Vec<Member>, i64)> {
    let wheres = r"?1 = '%%' OR u.login LIKE ?1 ESCAPE '\' OR u.email LIKE ?1 ESCAPE '\'";
    let like = format!(
        "%{}%",
        filter.q.replace('\\', r"\\").replace('%', r"\%").replace('_', r"\_")
    );
    let total = conn
        .prepare_cached(&format!("SELECT count(*) FROM users u WHERE {wheres}"))?
        .query_row([&like], |r| r.get(0))?;
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {MEMBER} FROM {FROM} WHERE {wheres} ORDER BY u.login, u.id LIMIT ?2 OFFSET ?3"
    ))?;
    let rows = statement
        .query_map(params![like, filter.limit, filter.offset], read_member)?
        .collect::<rusqlite::Result<_>>()?;
    Ok((rows, total))
}

/// Number of administrators who can sign in, without this one.
pub fn other_admins(conn: &Conn, id: Id<User>) -> Result<i64> {
    let sql = "SELECT count(*) FROM users WHERE role = 'admin' AND disabled = 0 AND password_hash <> '' AND id <> ?1";
    Ok(conn.prepare_cached(sql)?.query_row([id.get()], |r| r.get(0))?)
}

pub fn set_role(conn: &Conn, id: Id<User>, role: &str) -> Result<()> {
    conn.execute("UPDATE users SET role = ?2 WHERE id = ?1", params![id.get(), role])?;
    Ok(())
}

pub fn set_email(conn: &Conn, id: Id<User>, email: &str) -> Result<()> {
    conn.execute("UPDATE users SET email = ?2 WHERE id = ?1", params![id.get(), email])?;
    Ok(())
}

pub fn set_projects(conn: &Conn, id: Id<User>, projects: &[i64]) -> Result<()> {
    let list = serde_json::json!(projects).to_string();
    conn.execute("UPDATE users SET projects = ?2 WHERE id = ?1", params![id.get(), list])?;
    Ok(())
}

/// The first of these that is no project.
pub fn no_project(conn: &Conn, projects: &[i64]) -> Result<Option<i64>> {
    let list = serde_json::json!(projects).to_string();
    let sql = "SELECT value FROM json_each(?1) WHERE value NOT IN (SELECT id FROM projects) LIMIT 1";
    Ok(conn.prepare_cached(sql)?.query_row([list], |r| r.get(0)).optional()?)
}

pub fn unlock(conn: &Conn, id: Id<User>, at: Ms) -> Result<()> {
    conn.execute("UPDATE users SET unlocked_at = ?2 WHERE id = ?1", params![id.get(), at])?;
    Ok(())
}

/// Deletes an account with its dependent rows; the audit keeps the name.
pub fn remove(conn: &Conn, id: Id<User>) -> Result<()> {
    conn.execute("DELETE FROM users WHERE id = ?1", [id.get()])?;
    Ok(())
}

/// Stores an invitation, replacing an earlier one.
pub fn put_invite(conn: &Conn, id: Id<User>, hash: &[u8], expires_at: Ms) -> Result<()> {
    conn.execute(
        "INSERT INTO invites (user_id, hash, expires_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (user_id) DO UPDATE SET hash = ?2, expires_at = ?3",
        params![id.get(), hash, expires_at],
    )?;
    Ok(())
}

pub fn invited(conn: &Conn, hash: &[u8], now: Ms) -> Result<Option<Id<User>>> {
    let mut statement = conn.prepare_cached("SELECT user_id FROM invites WHERE hash = ?1 AND expires_at > ?2")?;
    Ok(statement
        .query_row(params![hash, now], |r| Ok(Id::new(r.get(0)?)))
        .optional()?)
}

pub fn remove_invite(conn: &Conn, id: Id<User>) -> Result<()> {
    conn.execute("DELETE FROM invites WHERE user_id = ?1", [id.get()])?;
    Ok(())
}

/// Inserts an account without a password: nobody can sign in until [`set_hash`].
pub fn insert(conn: &Conn, login: &str, email: &str, role: &str, at: Ms) -> Result<Id<User>> {
    conn.execute(
        "INSERT INTO users (login, password_hash, email, role, created_at) VALUES (?1, '', ?2, ?3, ?4)",
        params![login, email, role, at],
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
    conn.execute("DELETE FROM confirmations WHERE user_id = ?1", [id.get()])?;
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
