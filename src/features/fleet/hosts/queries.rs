//! SQL of the looks at hosts. Only a host's newest row (highest id) is ever updated.

use super::check::{Seen, Status, Target};
use super::facts::Facts;
use super::{Row, Snapshot};
use crate::base::clock::{DAY, Ms};
use crate::base::error::Result;
use crate::base::id::{Id, Server};
use crate::db::Conn;
use crate::features::fleet::servers::CHECK_METHODS;
use rusqlite::{OptionalExtension, params};

const COLUMNS: &str = "first_at, last_at, count, status, method, code, say, latency, latency_min, latency_max";

fn method(text: &str) -> &'static str {
    CHECK_METHODS
        .into_iter()
        .find(|m| *m == text)
        .unwrap_or(CHECK_METHODS[0])
}

fn read(r: &rusqlite::Row) -> rusqlite::Result<Row> {
    let (min, max): (Option<f64>, Option<f64>) = (r.get(8)?, r.get(9)?);
    Ok(Row {
        first_at: r.get(0)?,
        last_at: r.get(1)?,
        count: r.get(2)?,
        seen: Seen {
            status: Status::parse(r.get_ref(3)?.as_str()?),
            method: method(r.get_ref(4)?.as_str()?),
            code: r.get(5)?,
            say: r.get(6)?,
            latency_ms: r.get(7)?,
        },
        range: min.zip(max),
    })
}

/// What holds now; `None`: it was never looked at.
pub fn newest(conn: &Conn, server: Id<Server>) -> Result<Option<Row>> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM host_checks WHERE server_id = ?1 ORDER BY id DESC LIMIT 1"
    ))?;
    Ok(statement.query_row([server.get()], read).optional()?)
}

/// The newest `limit` rows of a host after the first `offset`, and their total.
pub fn list(conn: &Conn, server: Id<Server>, limit: i64, offset: i64) -> Result<(Vec<Row>, i64)> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM host_checks WHERE server_id = ?1 ORDER BY id DESC LIMIT ?2 OFFSET ?3"
    ))?;
    let rows = statement.query_map([server.get(), limit, offset], read)?;
    let total = conn
        .prepare_cached("SELECT count(*) FROM host_checks WHERE server_id = ?1")?
        .query_row([server.get()], |r| r.get(0))?;
    Ok((rows.collect::<rusqlite::Result<_>>()?, total))
}

/// Who is looked at by itself, those first that have waited longest.
pub fn targets(conn: &Conn) -> Result<Vec<Target>> {
    let mut statement = conn.prepare_cached(
        "SELECT s.id, s.host, s.ssh_port, s.check_method FROM servers s WHERE s.check_method <> 'none'
         ORDER BY (SELECT c.last_at FROM host_checks c WHERE c.server_id = s.id ORDER BY c.id DESC LIMIT 1), s.id",
    )?;
    let rows = statement.query_map([], |r| {
        Ok(Target {
            id: r.get(0)?,
            host: r.get(1)?,
            port: r.get(2)?,
            method: method(r.get_ref(3)?.as_str()?),
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Keeps a result, unless the server is gone or somewhere else meanwhile.
pub fn keep(conn: &Conn, target: &Target, seen: &Seen, at: Ms) -> Result<()> {
    let row = params![
        target.id,
        at,
        seen.say,
        seen.latency_ms,
        seen.status.name(),
        seen.method,
        seen.code,
        target.host,
        target.port
    ];
    let same = conn
        .prepare_cached(
            "UPDATE host_checks SET last_at = ?2, count = count + 1, say = ?3, latency = ?4,
               latency_min = min(coalesce(latency_min, ?4), ?4), latency_max = max(coalesce(latency_max, ?4), ?4)
             WHERE id = (SELECT max(id) FROM host_checks WHERE server_id = ?1)
               AND status = ?5 AND method = ?6 AND code = ?7
               AND EXISTS (SELECT 1 FROM servers WHERE id = ?1 AND host = ?8 AND ssh_port = ?9)",
        )?
        .execute(row)?;
    if same == 0 {
        conn.prepare_cached(
            "INSERT INTO host_checks (server_id, first_at, last_at, status, method, code, say, latency, latency_min, latency_max)
             SELECT id, ?2, ?2, ?5, ?6, ?7, ?3, ?4, ?4, ?4 FROM servers WHERE id = ?1 AND host = ?8 AND ssh_port = ?9",
        )?
        .execute(row)?;
    }
    Ok(())
}

/// Deletes rows last seen before `before`, except a host's newest.
pub fn purge(conn: &Conn, before: Ms) -> Result<usize> {
    Ok(conn.execute(
        "DELETE FROM host_checks WHERE last_at < ?1
         AND id NOT IN (SELECT max(id) FROM host_checks GROUP BY server_id)",
        [before],
    )?)
}

fn read_facts(r: &rusqlite::Row) -> rusqlite::Result<Snapshot> {
    Ok(Snapshot {
        first_at: r.get(0)?,
        last_at: r.get(1)?,
        count: r.get(2)?,
        facts: serde_json::from_str(r.get_ref(3)?.as_str()?).unwrap_or_default(),
    })
}

/// The newest snapshots of a host after the first `offset`, and their total.
pub fn facts(conn: &Conn, server: Id<Server>, limit: i64, offset: i64) -> Result<(Vec<Snapshot>, i64)> {
    let mut statement = conn.prepare_cached(
        "SELECT first_at, last_at, count, facts FROM host_facts WHERE server_id = ?1 ORDER BY id DESC LIMIT ?2 OFFSET ?3",
    )?;
    let rows = statement.query_map([server.get(), limit, offset], read_facts)?;
    let total = conn
        .prepare_cached("SELECT count(*) FROM host_facts WHERE server_id = ?1")?
        .query_row([server.get()], |r| r.get(0))?;
    Ok((rows.collect::<rusqlite::Result<_>>()?, total))
}

/// What was found last.
pub fn newest_facts(conn: &Conn, server: Id<Server>) -> Result<Option<Snapshot>> {
    Ok(facts(conn, server, 1, 0)?.0.pop())
}

/// The newest snapshot was found again.
pub fn seen_again(conn: &Conn, server: Id<Server>, at: Ms) -> Result<()> {
    conn.prepare_cached(
        "UPDATE host_facts SET last_at = max(last_at, ?2), count = count + 1
         WHERE id = (SELECT max(id) FROM host_facts WHERE server_id = ?1)",
    )?
    .execute(params![server.get(), at])?;
    Ok(())
}

/// Keeps a new snapshot.
pub fn keep_facts(conn: &Conn, server: Id<Server>, facts: &Facts, at: Ms) -> Result<()> {
    conn.prepare_cached("INSERT INTO host_facts (server_id, first_at, last_at, facts) VALUES (?1, ?2, ?2, ?3)")?
        .execute(params![server.get(), at, serde_json::json!(facts).to_string()])?;
    Ok(())
}

/// Deletes snapshots last found before `before`, except a host's two newest: they say what has changed last.
pub fn purge_facts(conn: &Conn, before: Ms) -> Result<usize> {
    Ok(conn.execute(
        "DELETE FROM host_facts WHERE last_at < ?1 AND (SELECT count(*) FROM host_facts n
           WHERE n.server_id = host_facts.server_id AND n.id > host_facts.id) >= 2",
        [before],
    )?)
}

/// Hosts whose facts are older than `before` and that were not asked since, the oldest first: as many as a round of `every`
/// ms has to take when all are asked within a day, and one more. None without an accepted key, and none that is down.
pub fn facts_due(conn: &Conn, before: Ms, every: Ms) -> Result<Vec<(i64, String)>> {
    let mut statement = conn.prepare_cached(
        "SELECT s.id, s.name FROM servers s LEFT JOIN host_facts_asked a ON a.server_id = s.id
         WHERE s.host_key_state = 'pinned' AND s.status <> 'unreachable'
           AND max(coalesce(s.facts_at, s.created_at), coalesce(a.at, 0)) < ?1
         ORDER BY max(coalesce(s.facts_at, s.created_at), coalesce(a.at, 0)), s.id
         LIMIT (SELECT count(*) * ?2 / ?3 + 1 FROM servers)",
    )?;
    let rows = statement.query_map([before, every, DAY], |r| Ok((r.get(0)?, r.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Notes that a host was asked by the clock.
pub fn set_facts_asked(conn: &Conn, server: i64, at: Ms) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO host_facts_asked (server_id, at) VALUES (?1, ?2) ON CONFLICT (server_id) DO UPDATE SET at = ?2",
    )?
    .execute([server, at])?;
    Ok(())
}
