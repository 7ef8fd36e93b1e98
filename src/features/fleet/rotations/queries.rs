//! SQL of the rotations.

use super::{Good, Host, Rotation, Step};
use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::db::Conn;
use crate::vault::reference::{self, Part};
use rusqlite::{OptionalExtension, Row, params};

const COLUMNS: &str = "id, state, public_key, origin, made_by, made_at, ended_at";

fn read(r: &Row) -> rusqlite::Result<Rotation> {
    Ok(Rotation {
        id: r.get(0)?,
        state: r.get(1)?,
        public_key: r.get(2)?,
        origin: r.get(3)?,
        made_by: r.get(4)?,
        made_at: r.get(5)?,
        ended_at: r.get(6)?,
    })
}

/// The rotation of this secret that is not at its end.
pub fn open(conn: &Conn, secret: Id<id::Secret>) -> Result<Option<Rotation>> {
    let sql = format!("SELECT {COLUMNS} FROM secret_rotations WHERE secret_id = ?1 AND state = 'open'");
    Ok(conn.prepare_cached(&sql)?.query_row([secret.get()], read).optional()?)
}

/// The newest rotation of this secret.
pub fn newest(conn: &Conn, secret: Id<id::Secret>) -> Result<Option<Rotation>> {
    let sql = format!("SELECT {COLUMNS} FROM secret_rotations WHERE secret_id = ?1 ORDER BY id DESC LIMIT 1");
    Ok(conn.prepare_cached(&sql)?.query_row([secret.get()], read).optional()?)
}

/// Hosts of the last rotation that came to its end: server and account.
pub fn hosts_before(conn: &Conn, secret: Id<id::Secret>) -> Result<Vec<(i64, String)>> {
    let mut statement = conn.prepare_cached(
        "SELECT h.server_id, h.account FROM secret_rotation_hosts h JOIN servers s ON s.id = h.server_id
         WHERE h.rotation_id = (SELECT max(id) FROM secret_rotations WHERE secret_id = ?1 AND state = 'done')
         ORDER BY h.place",
    )?;
    let rows = statement.query_map([secret.get()], |r| Ok((r.get(0)?, r.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Secrets with an open rotation that needs somebody: a host of which it is not known what is good, or one that is not
/// at its end although the new value is good there; or all are at their end.
pub fn untidy(conn: &Conn, now: Ms) -> Result<Vec<Id<id::Secret>>> {
    let mut statement = conn.prepare_cached(
        "SELECT r.secret_id FROM secret_rotations r WHERE r.state = 'open' AND (
           EXISTS (SELECT 1 FROM secret_rotation_hosts h WHERE h.rotation_id = r.id AND h.next_try <= ?1
             AND (h.step IN ('setting', 'proved') OR h.good = 'unknown'))
           OR NOT EXISTS (SELECT 1 FROM secret_rotation_hosts h WHERE h.rotation_id = r.id AND h.step <> 'done')
           OR NOT EXISTS (SELECT 1 FROM secret_rotation_hosts h WHERE h.rotation_id = r.id AND h.good <> 'old'))",
    )?;
    let rows = statement.query_map([now], |r| Ok(Id::new(r.get(0)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn insert(conn: &Conn, secret: Id<id::Secret>, public_key: &str, origin: &str, by: &str, at: Ms) -> Result<i64> {
    conn.execute(
        "INSERT INTO secret_rotations (secret_id, state, public_key, origin, made_by, made_at)
         VALUES (?1, 'open', ?2, ?3, ?4, ?5)",
        params![secret.get(), public_key, origin, by, at],
    )?;
    Ok(conn.last_insert_rowid())
}

pub fn set_values(conn: &Conn, id: i64, value: &[u8], passphrase: Option<&[u8]>) -> Result<()> {
    conn.execute(
        "UPDATE secret_rotations SET value = ?2, passphrase = ?3 WHERE id = ?1",
        params![id, value, passphrase],
    )?;
    Ok(())
}

/// A sealed value, and the sealed passphrase of a key that has one.
pub type SealedValue = (Vec<u8>, Option<Vec<u8>>);

/// What is sealed of the new value.
pub fn values(conn: &Conn, id: i64) -> Result<Option<SealedValue>> {
    let mut statement =
        conn.prepare_cached("SELECT value, passphrase FROM secret_rotations WHERE id = ?1 AND value IS NOT NULL")?;
    Ok(statement.query_row([id], |r| Ok((r.get(0)?, r.get(1)?))).optional()?)
}

/// It is at its end: the value is a version, or nothing.
pub fn close(conn: &Conn, id: i64, state: &str, at: Ms) -> Result<()> {
    conn.execute(
        "UPDATE secret_rotations SET state = ?2, ended_at = ?3, value = NULL, passphrase = NULL WHERE id = ?1",
        params![id, state, at],
    )?;
    Ok(())
}

pub fn add_host(conn: &Conn, rotation: i64, place: usize, server: (i64, &str), account: &str, at: Ms) -> Result<()> {
    conn.execute(
        "INSERT OR IGNORE INTO secret_rotation_hosts (rotation_id, place, server_id, server_name, account, step, good, at)
         VALUES (?1, ?2, ?3, ?4, ?5, 'waiting', 'old', ?6)",
        params![rotation, place as i64, server.0, server.1, account, at],
    )?;
    Ok(())
}

/// Hosts of a rotation in their order; those whose server is gone are not there any more.
pub fn hosts(conn: &Conn, rotation: i64) -> Result<Vec<Host>> {
    let mut statement = conn.prepare_cached(
        "SELECT h.server_id, h.server_name, h.account, h.step, h.good, h.code, h.say, h.next_try, h.at
         FROM secret_rotation_hosts h JOIN servers s ON s.id = h.server_id WHERE h.rotation_id = ?1 ORDER BY h.place",
    )?;
    let rows = statement.query_map([rotation], |r| {
        Ok(Host {
            server: Id::new(r.get(0)?),
            name: r.get(1)?,
            account: r.get(2)?,
            step: Step::parse(r.get_ref(3)?.as_str()?),
            good: Good::parse(r.get_ref(4)?.as_str()?),
            code: r.get(5)?,
            say: r.get(6)?,
            next_try: r.get(7)?,
            at: r.get(8)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn set_host(conn: &Conn, rotation: i64, h: &Host) -> Result<()> {
    conn.execute(
        "UPDATE secret_rotation_hosts SET step = ?4, good = ?5, code = ?6, say = ?7, next_try = ?8, at = ?9
         WHERE rotation_id = ?1 AND server_id = ?2 AND account = ?3",
        params![
            rotation,
            h.server.get(),
            h.account,
            h.step.name(),
            h.good.name(),
            h.code,
            h.say,
            h.next_try,
            h.at
        ],
    )?;
    Ok(())
}

/// Forgets hosts whose servers were deleted.
pub fn forget_gone(conn: &Conn, rotation: i64) -> Result<usize> {
    Ok(conn.execute(
        "DELETE FROM secret_rotation_hosts WHERE rotation_id = ?1 AND server_id NOT IN (SELECT id FROM servers)",
        [rotation],
    )?)
}

/// Forgets rotations that ended before then, but for each secret's last one.
pub fn purge(conn: &Conn, before: Ms) -> Result<usize> {
    Ok(conn.execute(
        "DELETE FROM secret_rotations WHERE state <> 'open' AND ended_at < ?1
           AND id NOT IN (SELECT max(id) FROM secret_rotations WHERE state = 'done' GROUP BY secret_id)",
        [before],
    )?)
}

/// Servers whose login is this secret.
pub fn entered_with(conn: &Conn, secret: Id<id::Secret>) -> Result<Vec<i64>> {
    let head = reference::head(secret.get(), Part::Value);
    let mut statement = conn.prepare_cached(
        "SELECT id FROM servers WHERE substr(password, 1, 10) = ?1 OR substr(ssh_key, 1, 10) = ?1 ORDER BY id",
    )?;
    let rows = statement.query_map([head], |r| r.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
