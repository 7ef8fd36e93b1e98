//! SQL of sessions, tokens, and of user rows for sign-in.

use super::{AGENT_MAX, Account, Role, Session, SignIn};
use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::base::id::{Group, Id, Project, Server, User};
use crate::base::text;
use crate::db::Conn;
use rusqlite::{OptionalExtension, Row, params};

pub struct SessionRow {
    pub csrf: String,
    pub family: String,
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

pub const ACCOUNT: &str = "u.id, u.login, u.password_hash, u.role, u.disabled, u.generation, u.lang, u.time_zone,
     u.unlocked_at, u.projects";
pub const ACCOUNT_COLUMNS: usize = 10;

/// The numbers of a list; what cannot be read is a project that is not there, so that it shows nothing.
fn projects(text: &str) -> Vec<i64> {
    serde_json::from_str(text).unwrap_or_else(|_| vec![0])
}

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
        unlocked_at: r.get(8)?,
        projects: projects(r.get_ref(9)?.as_str()?),
    })
}

/// The account of a token family that has not ended.
pub fn account_of_family(conn: &Conn, id: i64, family: &str) -> Result<Option<Account>> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {ACCOUNT} FROM users u
         WHERE id = ?1 AND EXISTS (SELECT 1 FROM refresh_tokens t
           WHERE t.family = ?2 AND t.user_id = u.id AND t.generation = u.generation)"
    ))?;
    Ok(statement.query_row(params![id, family], read_account).optional()?)
}

pub fn account_by_login(conn: &Conn, login: &str) -> Result<Option<Account>> {
    let mut statement = conn.prepare_cached(&format!("SELECT {ACCOUNT} FROM users u WHERE login = ?1"))?;
    Ok(statement.query_row([login], read_account).optional()?)
}

pub fn account_by_id(conn: &Conn, id: Id<User>) -> Result<Option<Account>> {
    let mut statement = conn.prepare_cached(&format!("SELECT {ACCOUNT} FROM users u WHERE id = ?1"))?;
    Ok(statement.query_row([id.get()], read_account).optional()?)
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
        "INSERT INTO sessions (hash, user_id, generation, csrf, created_at, seen_at, ip, agent, family)
         VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6, ?7, ?8)",
        params![
            hash,
            by.account.id.get(),
            by.account.generation,
            csrf,
            at,
            by.from.ip,
            text::one_line(by.from.agent, AGENT_MAX),
            by.family
        ],
    )?;
    Ok(())
}

pub fn session(conn: &Conn, hash: &[u8]) -> Result<Option<(Account, SessionRow)>> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {ACCOUNT}, s.csrf, s.generation, s.created_at, s.seen_at, s.family
         FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.hash = ?1"
    ))?;
    let row = statement.query_row([hash], |r| {
        let session = SessionRow {
            csrf: r.get(ACCOUNT_COLUMNS)?,
            generation: r.get(ACCOUNT_COLUMNS + 1)?,
            created_at: r.get(ACCOUNT_COLUMNS + 2)?,
            seen_at: r.get(ACCOUNT_COLUMNS + 3)?,
            family: r.get(ACCOUNT_COLUMNS + 4)?,
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

/// `parent`: the token it is given for, if it is not the family's first.
pub fn insert_refresh(conn: &Conn, hash: &[u8], of: &SignIn, parent: Option<&[u8]>, at: Ms) -> Result<()> {
    conn.execute(
        "INSERT INTO refresh_tokens (hash, family, parent, user_id, generation, created_at, ip, agent)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            hash,
            of.family,
            parent,
            of.account.id.get(),
            of.account.generation,
            at,
            of.from.ip,
            text::one_line(of.from.agent, AGENT_MAX)
        ],
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
            family: r.get(ACCOUNT_COLUMNS)?,
            generation: r.get(ACCOUNT_COLUMNS + 1)?,
            created_at: r.get(ACCOUNT_COLUMNS + 2)?,
            used_at: r.get(ACCOUNT_COLUMNS + 3)?,
            used_by: r.get(ACCOUNT_COLUMNS + 4)?,
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
    conn.execute("DELETE FROM confirmations WHERE family = ?1", [family])?;
    Ok(())
}

/// Whose sessions and tokens of before are good no more.
pub fn grow_generation(conn: &Conn, user: Id<User>) -> Result<()> {
    conn.execute(
        "UPDATE users SET generation = generation + 1 WHERE id = ?1",
        [user.get()],
    )?;
    Ok(())
}

/// This one of a user's families goes on, all others end.
pub fn keep_family(conn: &Conn, user: Id<User>, family: &str) -> Result<()> {
    for table in ["sessions", "refresh_tokens", "confirmations"] {
        conn.execute(
            &format!("DELETE FROM {table} WHERE user_id = ?1 AND family <> ?2"),
            params![user.get(), family],
        )?;
    }
    for table in ["sessions", "refresh_tokens"] {
        conn.execute(
            &format!("UPDATE {table} SET generation = (SELECT generation FROM users WHERE id = ?1) WHERE user_id = ?1"),
            [user.get()],
        )?;
    }
    Ok(())
}

pub fn is_family_of(conn: &Conn, user: Id<User>, family: &str) -> Result<bool> {
    Ok(conn.query_row(
        "SELECT EXISTS (SELECT 1 FROM sessions WHERE family = ?2 AND user_id = ?1)
           OR EXISTS (SELECT 1 FROM refresh_tokens WHERE family = ?2 AND user_id = ?1)",
        params![user.get(), family],
        |r| r.get(0),
    )?)
}

/// Sessions unused since, sessions made before, tokens made before: what is older has ended.
pub type Since = (Ms, Ms, Ms);

/// Rows of sessions and tokens of an account that go on, the last used first; of one family there may be several.
pub fn sign_ins(conn: &Conn, user: Id<User>, (unused, made, token): Since) -> Result<Vec<Session>> {
    let mut statement = conn.prepare_cached(
        "SELECT s.family, s.created_at, s.seen_at, s.ip, s.agent FROM sessions s JOIN users u ON u.id = s.user_id
         WHERE s.user_id = ?1 AND s.seen_at > ?2 AND s.created_at > ?3 AND s.generation = u.generation
         UNION ALL
         SELECT t.family, t.created_at, t.created_at, t.ip, t.agent FROM refresh_tokens t JOIN users u ON u.id = t.user_id
         WHERE t.user_id = ?1 AND t.created_at > ?4 AND t.generation = u.generation
         ORDER BY 3 DESC, 1 LIMIT 20000",
    )?;
    let rows = statement.query_map(params![user.get(), unused, made, token], |r| {
        Ok(Session {
            family: r.get(0)?,
            created_at: r.get(1)?,
            seen_at: r.get(2)?,
            ip: r.get(3)?,
            agent: r.get(4)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn purge(conn: &Conn, (unused, made, token): Since, confirmed_before: Ms) -> Result<()> {
    conn.execute(
        "DELETE FROM sessions WHERE seen_at < ?1 OR created_at < ?2",
        params![unused, made],
    )?;
    conn.execute("DELETE FROM refresh_tokens WHERE created_at < ?1", [token])?;
    conn.execute("DELETE FROM confirmations WHERE at < ?1", [confirmed_before])?;
    Ok(())
}

pub fn confirmed_at(conn: &Conn, family: &str) -> Result<Option<Ms>> {
    let mut statement = conn.prepare_cached("SELECT at FROM confirmations WHERE family = ?1")?;
    Ok(statement.query_row([family], |r| r.get(0)).optional()?)
}

pub fn put_confirmation(conn: &Conn, family: &str, user: Id<User>, at: Ms) -> Result<()> {
    conn.execute(
        "INSERT INTO confirmations (family, user_id, at) VALUES (?1, ?2, ?3) ON CONFLICT (family) DO UPDATE SET at = ?3",
        params![family, user.get(), at],
    )?;
    Ok(())
}

/// See `second_factors`.
pub struct SecondFactor {
    pub secret: Vec<u8>,
    pub is_confirmed: bool,
    pub last_step: i64,
}

pub fn second_factor(conn: &Conn, user: Id<User>) -> Result<Option<SecondFactor>> {
    let mut statement = conn
        .prepare_cached("SELECT secret, confirmed_at IS NOT NULL, last_step FROM second_factors WHERE user_id = ?1")?;
    let row = statement.query_row([user.get()], |r| {
        Ok(SecondFactor {
            secret: r.get(0)?,
            is_confirmed: r.get(1)?,
            last_step: r.get(2)?,
        })
    });
    Ok(row.optional()?)
}

/// In place of one that was not confirmed.
pub fn put_second_factor(conn: &Conn, user: Id<User>, secret: &[u8]) -> Result<()> {
    conn.execute(
        "INSERT INTO second_factors (user_id, secret) VALUES (?1, ?2)
         ON CONFLICT (user_id) DO UPDATE SET secret = ?2, confirmed_at = NULL, last_step = 0",
        params![user.get(), secret],
    )?;
    Ok(())
}

pub fn confirm_second_factor(conn: &Conn, user: Id<User>, step: i64, at: Ms) -> Result<()> {
    conn.execute(
        "UPDATE second_factors SET confirmed_at = ?3, last_step = ?2 WHERE user_id = ?1",
        params![user.get(), step, at],
    )?;
    Ok(())
}

pub fn use_step(conn: &Conn, user: Id<User>, step: i64) -> Result<()> {
    conn.execute(
        "UPDATE second_factors SET last_step = ?2 WHERE user_id = ?1",
        params![user.get(), step],
    )?;
    Ok(())
}

pub fn remove_second_factor(conn: &Conn, user: Id<User>) -> Result<bool> {
    Ok(conn.execute("DELETE FROM second_factors WHERE user_id = ?1", [user.get()])? > 0)
}

pub fn insert_recovery_code(conn: &Conn, user: Id<User>, tag: &[u8]) -> Result<()> {
    conn.execute(
        "INSERT INTO recovery_codes (user_id, tag) VALUES (?1, ?2)",
        params![user.get(), tag],
    )?;
    Ok(())
}

/// Was it there, unused?
pub fn use_recovery_code(conn: &Conn, user: Id<User>, tag: &[u8], at: Ms) -> Result<bool> {
    let used = conn.execute(
        "UPDATE recovery_codes SET used_at = ?3 WHERE user_id = ?1 AND tag = ?2 AND used_at IS NULL",
        params![user.get(), tag, at],
    )?;
    Ok(used > 0)
}

pub fn recovery_codes_left(conn: &Conn, user: Id<User>) -> Result<i64> {
    let sql = "SELECT count(*) FROM recovery_codes WHERE user_id = ?1 AND used_at IS NULL";
    Ok(conn.prepare_cached(sql)?.query_row([user.get()], |r| r.get(0))?)
}

pub fn remove_recovery_codes(conn: &Conn, user: Id<User>) -> Result<()> {
    conn.execute("DELETE FROM recovery_codes WHERE user_id = ?1", [user.get()])?;
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

/// The server that it runs on; `None`: the machine of Lamplighter, or there is no such container.
pub fn server_of_container(conn: &Conn, id: i64) -> Result<Option<Id<Server>>> {
    let mut statement = conn.prepare_cached("SELECT server_id FROM main.containers WHERE id = ?1")?;
    let server: Option<Option<i64>> = statement.query_row([id], |r| r.get(0)).optional()?;
    Ok(server.flatten().map(Id::new))
}

/// The service of this name.
pub fn service_called(conn: &Conn, name: &str) -> Result<Option<i64>> {
    let mut statement = conn.prepare_cached("SELECT id FROM main.services WHERE name = ?1")?;
    Ok(statement.query_row([name], |r| r.get(0)).optional()?)
}

/// The server that a service is on; `None`: it is on none, or there is no such service.
pub fn server_of_service(conn: &Conn, id: i64) -> Result<Option<Id<Server>>> {
    let mut statement = conn.prepare_cached("SELECT server_id FROM main.services WHERE id = ?1")?;
    let server: Option<Option<i64>> = statement.query_row([id], |r| r.get(0)).optional()?;
    Ok(server.flatten().map(Id::new))
}

/// The project that a group, a secret or an endpoint belongs to; `None`: there is no such thing.
pub fn project_of(conn: &Conn, kind: &str, id: i64) -> Result<Option<Id<Project>>> {
    let mut statement =
        conn.prepare_cached("SELECT project_id FROM main.project_things WHERE kind = ?1 AND thing_id = ?2")?;
    let project = statement.query_row(params![kind, id], |r| r.get(0)).optional()?;
    Ok(project.map(Id::new))
}

/// From now on it belongs to that project.
pub fn set_project(conn: &Conn, (kind, id): (&str, i64), project: i64) -> Result<()> {
    conn.execute(
        "UPDATE project_things SET project_id = ?3 WHERE kind = ?1 AND thing_id = ?2",
        params![kind, id, project],
    )?;
    Ok(())
}

/// The secret of a lease, and the endpoint of a delivery.
pub fn owner(conn: &Conn, kind: &str, id: i64) -> Result<Option<i64>> {
    let sql = match kind {
        "lease" => "SELECT secret_id FROM main.leases WHERE id = ?1",
        _ => "SELECT endpoint_id FROM main.notification_queue WHERE id = ?1",
    };
    Ok(conn.prepare_cached(sql)?.query_row([id], |r| r.get(0)).optional()?)
}

/// Target of a task, alert or silence, by type and id; `None`: it has no place.
pub fn target(conn: &Conn, kind: &str, id: i64) -> Result<Option<(String, i64)>> {
    let sql = match kind {
        "task" => "SELECT target_type, target_id FROM tasks WHERE id = ?1",
        "alert" => "SELECT target_type, target_id FROM alerts WHERE id = ?1",
        "silence" => {
            // Of several the server, else the domain, else the group.
            "SELECT target_type, target_id FROM silence_targets WHERE silence_id = ?1
             ORDER BY target_type <> 'server', target_type LIMIT 1"
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
