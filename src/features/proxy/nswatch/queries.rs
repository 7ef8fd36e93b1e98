//! SQL of name server checks. Only a domain's newest row (highest id) is ever updated.

use super::Row;
use super::check::{Check, State};
use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::base::id::{Domain, Id};
use crate::db::Conn;
use rusqlite::{OptionalExtension, params};
use std::collections::HashMap;

const COLUMNS: &str = "id, first_at, last_at, count, state, code, zone, ns, policy, say";

fn read(r: &rusqlite::Row) -> rusqlite::Result<Row> {
    let list = |text: String| serde_json::from_str(&text).unwrap_or_default();
    Ok(Row {
        id: r.get(0)?,
        first_at: r.get(1)?,
        last_at: r.get(2)?,
        count: r.get(3)?,
        check: Check {
            state: State::parse(r.get_ref(4)?.as_str()?),
            code: r.get(5)?,
            zone: r.get(6)?,
            ns: list(r.get(7)?),
            policy: r.get(8)?,
            evidence: r.get::<_, String>(9)?.lines().map(String::from).collect(),
        },
    })
}

/// The newest `limit` rows of a domain after the first `offset`, and their total.
pub fn list(conn: &Conn, domain: Id<Domain>, limit: i64, offset: i64) -> Result<(Vec<Row>, i64)> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM ns_checks WHERE domain_id = ?1 ORDER BY id DESC LIMIT ?2 OFFSET ?3"
    ))?;
    let rows = statement.query_map([domain.get(), limit, offset], read)?;
    let total = conn
        .prepare_cached("SELECT count(*) FROM ns_checks WHERE domain_id = ?1")?
        .query_row([domain.get()], |r| r.get(0))?;
    Ok((rows.collect::<rusqlite::Result<_>>()?, total))
}

/// The newest row with name servers.
pub fn last_answer(conn: &Conn, domain: Id<Domain>) -> Result<Option<Row>> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM ns_checks WHERE domain_id = ?1 AND state <> 'error' ORDER BY id DESC LIMIT 1"
    ))?;
    Ok(statement.query_row([domain.get()], read).optional()?)
}

/// Time and policy of each domain's last check.
pub fn last_checks(conn: &Conn) -> Result<HashMap<Id<Domain>, (Ms, String)>> {
    let mut statement = conn.prepare_cached(
        "SELECT domain_id, last_at, policy FROM ns_checks
         WHERE id IN (SELECT max(id) FROM ns_checks GROUP BY domain_id)",
    )?;
    let rows = statement.query_map([], |r| Ok((Id::new(r.get(0)?), (r.get(1)?, r.get(2)?))))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Inserts a new result.
pub fn insert(conn: &Conn, domain: Id<Domain>, check: &Check, at: Ms) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO ns_checks (domain_id, first_at, last_at, state, code, zone, ns, policy, say)
         VALUES (?1, ?2, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        domain.get(),
        at,
        check.state.name(),
        check.code,
        check.zone,
        serde_json::json!(check.ns).to_string(),
        check.policy,
        check.evidence.join("\n"),
    ])?;
    Ok(())
}

/// Counts a repeated result.
pub fn again(conn: &Conn, id: i64, check: &Check, at: Ms) -> Result<()> {
    conn.prepare_cached("UPDATE ns_checks SET last_at = ?2, count = count + 1, say = ?3 WHERE id = ?1")?
        .execute(params![id, at, check.evidence.join("\n")])?;
    Ok(())
}

/// Deletes rows last seen before `before`, except a domain's newest.
pub fn purge(conn: &Conn, before: Ms) -> Result<usize> {
    Ok(conn.execute(
        "DELETE FROM ns_checks WHERE last_at < ?1
         AND id NOT IN (SELECT max(id) FROM ns_checks GROUP BY domain_id)",
        [before],
    )?)
}

/// Has a name server ever answered here, or does a domain say which ones it shall have?
pub fn is_watched(conn: &Conn) -> Result<bool> {
    let mut statement = conn.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM domains WHERE ns_policy <> '')
           OR EXISTS (SELECT 1 FROM ns_checks WHERE state <> 'error')",
    )?;
    Ok(statement.query_row([], |r| r.get(0))?)
}

/// Since when our resolvers are silent, unix ms.
pub fn silent_since(conn: &Conn) -> Result<Option<Ms>> {
    let mut statement = conn.prepare_cached("SELECT since FROM ns_resolvers_silent")?;
    Ok(statement.query_row([], |r| r.get(0)).optional()?)
}

/// Records that they are silent; `false` if already recorded.
pub fn note_silence(conn: &Conn, at: Ms) -> Result<bool> {
    let sql = "INSERT OR IGNORE INTO ns_resolvers_silent (one, since) VALUES (1, ?1)";
    Ok(conn.execute(sql, [at])? == 1)
}

/// Records that they answer again.
pub fn forget_silence(conn: &Conn) -> Result<()> {
    conn.execute("DELETE FROM ns_resolvers_silent", [])?;
    Ok(())
}
