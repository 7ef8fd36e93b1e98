//! SQL of the leases.

use super::Lease;
use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::db::Conn;
use rusqlite::{OptionalExtension, Row, params};

const COLUMNS: &str = "l.id, l.secret_id, s.name, l.kind, l.state, l.holder, l.via, l.version, l.server_id,
    coalesce(v.name, ''), l.account, l.public_key, l.issued_at, l.expires_at, l.max_at, l.ended_at, l.tries, l.told, l.say";
const FROM: &str = "FROM leases l JOIN secrets s ON s.id = l.secret_id LEFT JOIN servers v ON v.id = l.server_id";

fn read(r: &Row) -> rusqlite::Result<Lease> {
    Ok(Lease {
        id: Id::new(r.get(0)?),
        secret: Id::new(r.get(1)?),
        secret_name: r.get(2)?,
        kind: r.get(3)?,
        state: r.get(4)?,
        holder: r.get(5)?,
        via: r.get(6)?,
        version: r.get(7)?,
        server: r.get::<_, Option<i64>>(8)?.map(Id::new),
        server_name: r.get(9)?,
        account: r.get(10)?,
        public_key: r.get(11)?,
        issued_at: r.get(12)?,
        expires_at: r.get(13)?,
        max_at: r.get(14)?,
        ended_at: r.get(15)?,
        tries: r.get(16)?,
        told: r.get(17)?,
        say: r.get(18)?,
    })
}

pub fn get(conn: &Conn, id: Id<id::Lease>) -> Result<Option<Lease>> {
    let sql = format!("SELECT {COLUMNS} {FROM} WHERE l.id = ?1");
    Ok(conn.prepare_cached(&sql)?.query_row([id.get()], read).optional()?)
}

pub fn name(conn: &Conn, id: i64) -> Result<Option<String>> {
    let sql = "SELECT s.name FROM leases l JOIN secrets s ON s.id = l.secret_id WHERE l.id = ?1";
    Ok(conn.prepare_cached(sql)?.query_row([id], |r| r.get(0)).optional()?)
}

/// The newest leases of a secret or of all, and their total. `open`: only those that are not at their end; `holder`: only
/// of whoever signed in by this.
pub fn list(
    conn: &Conn,
    secret: Option<i64>,
    open: bool,
    holder: &str,
    limit: i64,
    offset: i64,
) -> Result<(Vec<Lease>, i64)> {
    // Each condition is an index of its own.
    let wheres = match (secret.is_some(), open) {
        (true, true) => "l.secret_id = ?1 AND l.state <> 'ended'",
        (true, false) => "l.secret_id = ?1",
        (false, true) => "?1 IS NULL AND l.state <> 'ended'",
        (false, false) => "?1 IS NULL",
    };
    let wheres = format!("{wheres} AND (?2 = '' OR l.via = ?2)");
    let total = conn
        .prepare_cached(&format!("SELECT count(*) FROM leases l WHERE {wheres}"))?
        .query_row(params![secret, holder], |r| r.get(0))?;
    let sql = format!("SELECT {COLUMNS} {FROM} WHERE {wheres} ORDER BY l.id DESC LIMIT ?3 OFFSET ?4");
    let mut statement = conn.prepare_cached(&sql)?;
    let rows = statement.query_map(params![secret, holder, limit, offset], read)?;
    Ok((rows.collect::<rusqlite::Result<_>>()?, total))
}

pub fn insert(conn: &Conn, l: &Lease) -> Result<Id<id::Lease>> {
    conn.execute(
        "INSERT INTO leases (secret_id, kind, state, holder, via, version, server_id, account, public_key, issued_at,
           expires_at, max_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        params![
            l.secret.get(),
            l.kind,
            l.state,
            l.holder,
            l.via,
            l.version,
            l.server.map(Id::get),
            l.account,
            l.public_key,
            l.issued_at,
            l.expires_at,
            l.max_at
        ],
    )?;
    Ok(Id::new(conn.last_insert_rowid()))
}

pub fn set_state(conn: &Conn, id: Id<id::Lease>, state: &str, ended_at: Option<Ms>, say: &str) -> Result<()> {
    conn.execute(
        "UPDATE leases SET state = ?2, ended_at = ?3, say = ?4 WHERE id = ?1",
        params![id.get(), state, ended_at, say],
    )?;
    Ok(())
}

pub fn set_expiry(conn: &Conn, id: Id<id::Lease>, at: Ms) -> Result<()> {
    conn.execute("UPDATE leases SET expires_at = ?2 WHERE id = ?1", params![id.get(), at])?;
    Ok(())
}

/// Not ended at this try.
pub fn set_tried(conn: &Conn, id: Id<id::Lease>, next: Ms, told: i64, say: &str) -> Result<()> {
    conn.execute(
        "UPDATE leases SET state = 'ending', tries = tries + 1, next_try = ?2, told = ?3, say = ?4 WHERE id = ?1",
        params![id.get(), next, told, say],
    )?;
    Ok(())
}

/// Ends the leases of copies that are over; how many. Those of secrets that rotate then are returned as secrets.
pub fn end_copies(conn: &Conn, now: Ms) -> Result<(usize, Vec<i64>)> {
    let mut statement = conn.prepare_cached(
        "SELECT DISTINCT l.secret_id FROM leases l JOIN secrets s ON s.id = l.secret_id
         WHERE l.state <> 'ended' AND l.kind = 'copy' AND l.expires_at <= ?1 AND s.lease_rotates = 1",
    )?;
    let rotate = statement
        .query_map([now], |r| r.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut statement = conn.prepare_cached(
        "UPDATE leases SET state = 'ended', ended_at = ?1 WHERE state <> 'ended' AND kind = 'copy' AND expires_at <= ?1",
    )?;
    Ok((statement.execute([now])?, rotate))
}

/// Leases whose account or key has to go from its host now.
pub fn due(conn: &Conn, now: Ms, limit: i64) -> Result<Vec<Lease>> {
    let sql = format!(
        "SELECT {COLUMNS} {FROM} WHERE l.state IN ('active', 'ending') AND l.kind <> 'copy' AND l.expires_at <= ?1
           AND l.next_try <= ?1 ORDER BY l.expires_at LIMIT ?2"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let rows = statement.query_map([now, limit], read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// What was cut off while it was made: nobody has got it.
pub fn half_made(conn: &Conn, before: Ms) -> Result<usize> {
    Ok(conn.execute(
        "UPDATE leases SET state = 'ending', expires_at = min(expires_at, ?1) WHERE state = 'making' AND issued_at < ?1",
        [before],
    )?)
}

/// Ends all leases of a secret at once; how many.
pub fn expire_all(conn: &Conn, secret: i64, now: Ms) -> Result<usize> {
    Ok(conn.execute(
        "UPDATE leases SET expires_at = min(expires_at, ?2), next_try = 0 WHERE secret_id = ?1 AND state IN ('active', 'ending')",
        params![secret, now],
    )?)
}

pub fn expire(conn: &Conn, id: Id<id::Lease>, now: Ms) -> Result<()> {
    conn.execute(
        "UPDATE leases SET expires_at = min(expires_at, ?2), next_try = 0 WHERE id = ?1",
        params![id.get(), now],
    )?;
    Ok(())
}

/// Forgets leases that ended before then.
pub fn purge(conn: &Conn, before: Ms) -> Result<usize> {
    Ok(conn.execute("DELETE FROM leases WHERE state = 'ended' AND ended_at < ?1", [before])?)
}

pub fn set_public_key(conn: &Conn, id: Id<id::Lease>, key: &str) -> Result<()> {
    conn.execute(
        "UPDATE leases SET public_key = ?2 WHERE id = ?1",
        params![id.get(), key],
    )?;
    Ok(())
}
