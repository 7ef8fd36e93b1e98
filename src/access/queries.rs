//! SQL of sessions, tokens, and of user rows for sign-in.

use super::{Account, Role, SignIn};
use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::base::id::{Group, Id, Server, User};
use crate::db::Conn;
use rusqlite::{OptionalExtension, Row, params};

pub struct SessionRow {
    pub csrf: String,
    pub generation: i64,
    pub created_at: Ms,
    pub seen_at: Ms,
}

pub struct RefreshRow {
    pub family: String,
    pub generation: i64,
    pub created_at: Ms,
    pub used_at: Option<Ms>,
    pub used_by: Option<Vec<u8>>,
}

pub const ACCOUNT: &str = "u.id, u.login, u.password_hash, u.role, u.disabled, u.generation, u.lang, u.time_zone";
pub const ACCOUNT_COLUMNS: usize = 8;

pub fn read_account(r: &Row) -> rusqlite::Result<Account> {
    Ok(Account {
        id: Id::new(r.get(0)?),
        login: r.get(1)?,
        password_hash: r.get(2)?,
        // An unknown role has no rights.
        role: Role::parse(&r.get::<_, String>(3)?).unwrap_or(Role::Automation),
        disabled: r.get(4)?,
        generation: r.get(5)?,
        lang: r.get(6)?,
        time_zone: r.get(7)?,
    })
}

/// The account of a token family that has not ended.
pub fn account_of_family(conn: &Conn, id: i64, family: &str) -> Result<Option<Account>> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {ACCOUNT} FROM users u
         WHERE id = ?1 AND EXISTS (SELECT 1 FROM refresh_tokens t WHERE t.family = ?2 AND t.user_id = u.id)"
    ))?;
    Ok(statement.query_row(params![id, family], read_account).optional()?)
}

pub fn account_by_login(conn: &Conn, login: &str) -> Result<Option<Account>> {
    let mut statement = conn.prepare_cached(&format!("SELECT {ACCOUNT} FROM users u WHERE login = ?1"))?;
    Ok(statement.query_row([login], read_account).optional()?)
}

pub fn accounts(conn: &Conn) -> Result<i64> {
    Ok(conn.query_row("SELECT count(*) FROM users", [], |r| r.get(0))?)
}

pub fn set_last_login(conn: &Conn, id: Id<User>, at: Ms) -> Result<()> {
    conn.execute(
        "UPDATE users SET last_login_at = ?2 WHERE id = ?1",
        params![id.get(), at],
    )?;
    Ok(())
}

pub fn insert_session(conn: &Conn, hash: &[u8], by: &SignIn, csrf: &str, at: Ms) -> Result<()> {
    conn.execute(
        "INSERT INTO sessions (hash, user_id, generation, csrf, created_at, seen_at, ip, family)
         VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6, ?7)",
        params![
            hash,
            by.account.id.get(),
            by.account.generation,
            csrf,
            at,
            by.ip,
            by.family
        ],
    )?;
    Ok(())
}

pub fn session(conn: &Conn, hash: &[u8]) -> Result<Option<(Account, SessionRow)>> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {ACCOUNT}, s.csrf, s.generation, s.created_at, s.seen_at
         FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.hash = ?1"
    ))?;
    let row = statement.query_row([hash], |r| {
        let session = SessionRow {
            csrf: r.get(8)?,
            generation: r.get(9)?,
            created_at: r.get(10)?,
            seen_at: r.get(11)?,
        };
        Ok((read_account(r)?, session))
    });
    Ok(row.optional()?)
}

/// Addresses of the account's sessions used since then.
pub fn session_addresses(conn: &Conn, user: Id<User>, since: Ms) -> Result<Vec<String>> {
    let mut statement = conn.prepare_cached(
        "SELECT DISTINCT s.ip FROM sessions s JOIN users u ON u.id = s.user_id
         WHERE s.user_id = ?1 AND s.seen_at > ?2 AND s.generation = u.generation LIMIT 1000",
    )?;
    let rows = statement.query_map(params![user.get(), since], |r| r.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn touch_session(conn: &Conn, hash: &[u8], at: Ms) -> Result<()> {
    conn.execute("UPDATE sessions SET seen_at = ?2 WHERE hash = ?1", params![hash, at])?;
    Ok(())
}

/// `parent`: the token it replaces, unless it is the family's first.
pub fn insert_refresh(
    conn: &Conn,
    hash: &[u8],
    family: &str,
    parent: Option<&[u8]>,
    account: &Account,
    at: Ms,
) -> Result<()> {
    conn.execute(
        "INSERT INTO refresh_tokens (hash, family, parent, user_id, generation, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![hash, family, parent, account.id.get(), account.generation, at],
    )?;
    Ok(())
}

pub fn refresh(conn: &Conn, hash: &[u8]) -> Result<Option<(Account, RefreshRow)>> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {ACCOUNT}, t.family, t.generation, t.created_at, t.used_at, t.used_by
         FROM refresh_tokens t JOIN users u ON u.id = t.user_id WHERE t.hash = ?1"
    ))?;
    let row = statement.query_row([hash], |r| {
        let token = RefreshRow {
            family: r.get(8)?,
            generation: r.get(9)?,
            created_at: r.get(10)?,
            used_at: r.get(11)?,
            used_by: r.get(12)?,
        };
        Ok((read_account(r)?, token))
    });
    Ok(row.optional()?)
}

pub fn use_refresh(conn: &Conn, hash: &[u8], by: &[u8], at: Ms) -> Result<()> {
    conn.execute(
        "UPDATE refresh_tokens SET used_at = ?2, used_by = ?3 WHERE hash = ?1",
        params![hash, at, by],
    )?;
    Ok(())
}

/// Invalidates the successor of a token if it is unused. Returns whether it was.
pub fn take_back(conn: &Conn, family: &str, parent: &[u8]) -> Result<bool> {
    let used: bool = conn.query_row(
        "SELECT EXISTS (SELECT 1 FROM refresh_tokens WHERE family = ?1 AND parent = ?2 AND used_at > 0)",
        params![family, parent],
        |r| r.get(0),
    )?;
    conn.execute(
        "UPDATE refresh_tokens SET used_at = 0 WHERE family = ?1 AND parent = ?2 AND used_at IS NULL",
        params![family, parent],
    )?;
    Ok(!used)
}

/// The family of a session, valid or not.
pub fn family_of_session(conn: &Conn, hash: &[u8]) -> Result<Option<String>> {
    let mut statement = conn.prepare_cached("SELECT family FROM sessions WHERE hash = ?1")?;
    Ok(statement.query_row([hash], |r| r.get(0)).optional()?)
}

pub fn end_family(conn: &Conn, family: &str) -> Result<()> {
    conn.execute("DELETE FROM refresh_tokens WHERE family = ?1", [family])?;
    conn.execute("DELETE FROM sessions WHERE family = ?1", [family])?;
    Ok(())
}

pub fn purge(conn: &Conn, sessions_unused_since: Ms, sessions_made_before: Ms, tokens_made_before: Ms) -> Result<()> {
    conn.execute(
        "DELETE FROM sessions WHERE seen_at < ?1 OR created_at < ?2",
        params![sessions_unused_since, sessions_made_before],
    )?;
    conn.execute("DELETE FROM refresh_tokens WHERE created_at < ?1", [tokens_made_before])?;
    Ok(())
}

pub fn group_of_domain(conn: &Conn, id: i64) -> Result<Option<Id<Group>>> {
    let mut statement = conn.prepare_cached("SELECT group_id FROM domains WHERE id = ?1")?;
    let group: Option<Option<i64>> = statement.query_row([id], |r| r.get(0)).optional()?;
    Ok(group.flatten().map(Id::new))
}

/// Servers where it is, or is wanted.
pub fn servers_of_domain(conn: &Conn, id: i64) -> Result<Vec<Id<Server>>> {
    let mut statement = conn.prepare_cached("SELECT server_id FROM domain_sites WHERE domain_id = ?1")?;
    let rows = statement.query_map([id], |r| Ok(Id::new(r.get(0)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Target of a task, alert or silence, by type and id; `None`: it has no place.
pub fn target(conn: &Conn, kind: &str, id: i64) -> Result<Option<(String, i64)>> {
    let sql = match kind {
        "task" => "SELECT target_type, target_id FROM tasks WHERE id = ?1",
        "alert" => "SELECT target_type, target_id FROM alerts WHERE id = ?1",
        "silence" => {
            "SELECT CASE WHEN server_id IS NOT NULL THEN 'server' WHEN domain_id IS NOT NULL THEN 'domain' ELSE 'group' END,
               coalesce(server_id, domain_id, group_id) FROM silences
             WHERE id = ?1 AND coalesce(server_id, domain_id, group_id) IS NOT NULL"
        }
        _ => return Ok(None),
    };
    let mut statement = conn.prepare_cached(sql)?;
    Ok(statement.query_row([id], |r| Ok((r.get(0)?, r.get(1)?))).optional()?)
}

/// Number and name of the things that a scope may name.
pub fn scoped_things(conn: &Conn, kind: &str) -> Result<Vec<(i64, String)>> {
    let sql = match kind {
        "server" => "SELECT id, name FROM servers ORDER BY name LIMIT 1000",
        _ => "SELECT id, name FROM groups WHERE kind = 'domain' ORDER BY name LIMIT 1000",
    };
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn scoped_thing_exists(conn: &Conn, (kind, id): (&str, i64)) -> Result<bool> {
    let sql = match kind {
        "server" => "SELECT EXISTS (SELECT 1 FROM servers WHERE id = ?1)",
        _ => "SELECT EXISTS (SELECT 1 FROM groups WHERE id = ?1)",
    };
    Ok(conn.prepare_cached(sql)?.query_row([id], |r| r.get(0))?)
}
