//! SQL of the secrets.

use super::model::{Fields, LEASE_KINDS, PLANS};
use super::{Secret, Version};
use crate::base::clock::Ms;
use crate::base::error::{Error, Result};
use crate::base::id::{self, Id};
use crate::db::{self, Conn};
use rusqlite::{OptionalExtension, Row, params};

const COLUMNS: &str = "s.id, s.name, s.type, s.tags, s.notes, s.expires_at, s.rotation_interval_s, s.version, s.told,
    v.public_key, v.made_at, s.created_at, s.updated_at,
    (SELECT count(*) FROM secret_versions o WHERE o.secret_id = s.id), s.scope, s.plan, s.hours, s.lessees, s.lease_kind,
    s.lease_max_s, s.lease_servers, s.lease_account, s.lease_rotates";
const FROM: &str = "FROM secrets s JOIN secret_versions v ON v.secret_id = s.id AND v.number = s.version";

fn word(text: &str, words: &[&'static str]) -> &'static str {
    words.iter().copied().find(|w| *w == text).unwrap_or(words[0])
}

fn read(r: &Row) -> rusqlite::Result<Secret> {
    Ok(Secret {
        id: Id::new(r.get(0)?),
        fields: Fields {
            name: r.get(1)?,
            kind: r.get(2)?,
            tags: serde_json::from_str(r.get_ref(3)?.as_str()?).unwrap_or_default(),
            notes: r.get(4)?,
            expires_at: r.get(5)?,
            rotation_interval_s: r.get(6)?,
            scope: serde_json::from_str(r.get_ref(14)?.as_str()?).unwrap_or_default(),
            plan: word(r.get_ref(15)?.as_str()?, &PLANS),
            hours: r.get(16)?,
            lessees: serde_json::from_str(r.get_ref(17)?.as_str()?).unwrap_or_default(),
            lease_kind: word(r.get_ref(18)?.as_str()?, &LEASE_KINDS),
            lease_max_s: r.get(19)?,
            lease_servers: serde_json::from_str(r.get_ref(20)?.as_str()?).unwrap_or_default(),
            lease_account: r.get(21)?,
            lease_rotates: r.get(22)?,
        },
        version: r.get(7)?,
        told: r.get(8)?,
        public_key: r.get(9)?,
        rotated_at: r.get(10)?,
        created_at: r.get(11)?,
        updated_at: r.get(12)?,
        versions: r.get(13)?,
    })
}

pub fn get(conn: &Conn, id: Id<id::Secret>) -> Result<Option<Secret>> {
    let mut statement = conn.prepare_cached(&format!("SELECT {COLUMNS} {FROM} WHERE s.id = ?1"))?;
    Ok(statement.query_row([id.get()], read).optional()?)
}

/// By its name, whatever the case.
pub fn by_name(conn: &Conn, name: &str) -> Result<Option<i64>> {
    let mut statement = conn.prepare_cached("SELECT id FROM secrets WHERE name = ?1")?;
    Ok(statement.query_row([name], |r| r.get(0)).optional()?)
}

pub fn name(conn: &Conn, id: i64) -> Result<Option<String>> {
    let mut statement = conn.prepare_cached("SELECT name FROM secrets WHERE id = ?1")?;
    Ok(statement.query_row([id], |r| r.get(0)).optional()?)
}

/// A page of secrets by name, and their total. `q` is part of a name, tag or note; empty: all. `kind` empty: any.
pub fn list(conn: &Conn, q: &str, kind: &str, limit: i64, offset: i64) -> Result<(Vec<Secret>, i64)> {
    let like = format!("%{}%", q.replace('\\', r"\\").replace('%', r"\%").replace('_', r"\_"));
    let wheres = r"(?2 = '' OR s.type = ?2)
        AND (s.name LIKE ?1 ESCAPE '\' OR s.tags LIKE ?1 ESCAPE '\' OR s.notes LIKE ?1 ESCAPE '\')";
    let total = conn
        .prepare_cached(&format!("SELECT count(*) FROM secrets s WHERE {wheres}"))?
        .query_row([&like, kind], |r| r.get(0))?;
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {COLUMNS} {FROM} WHERE {wheres} ORDER BY s.name, s.id LIMIT ?3 OFFSET ?4"
    ))?;
    let rows = statement.query_map(params![like, kind, limit, offset], read)?;
    Ok((rows.collect::<rusqlite::Result<_>>()?, total))
}

/// What a form shows of a secret to choose it.
pub struct Choosable {
    pub id: i64,
    pub name: String,
    pub kind: String,
    pub scope: Vec<String>,
}

/// Secrets that are for some place, by name.
pub fn choices(conn: &Conn) -> Result<Vec<Choosable>> {
    let mut statement =
        conn.prepare_cached("SELECT id, name, type, scope FROM secrets WHERE scope <> '[]' ORDER BY name, id")?;
    let rows = statement.query_map([], |r| {
        Ok(Choosable {
            id: r.get(0)?,
            name: r.get(1)?,
            kind: r.get(2)?,
            scope: serde_json::from_str(r.get_ref(3)?.as_str()?).unwrap_or_default(),
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Secrets that end before `until`, or of whose end something was told.
pub fn ending(conn: &Conn, until: Ms) -> Result<Vec<Secret>> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {COLUMNS} {FROM} WHERE s.expires_at <= ?1 OR s.told > 0 ORDER BY s.id"
    ))?;
    let rows = statement.query_map([until], read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn tags(fields: &Fields) -> Result<String> {
    serde_json::to_string(&fields.tags).map_err(Error::internal)
}

fn taken(e: rusqlite::Error) -> Error {
    db::on_unique_violation("name", "There is a secret of this name already.".into())(e)
}

pub fn insert(conn: &Conn, f: &Fields, at: Ms) -> Result<Id<id::Secret>> {
    conn.execute(
        "INSERT INTO secrets (name, type, tags, notes, expires_at, rotation_interval_s, created_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)",
        params![
            f.name,
            f.kind,
            tags(f)?,
            f.notes,
            f.expires_at,
            f.rotation_interval_s,
            at
        ],
    )
    .map_err(taken)?;
    let id = Id::new(conn.last_insert_rowid());
    set_use(conn, id, f)?;
    Ok(id)
}

/// Who may use and lease it, and how another value comes to it.
fn set_use(conn: &Conn, id: Id<id::Secret>, f: &Fields) -> Result<()> {
    conn.execute(
        "UPDATE secrets SET scope = ?2, plan = ?3, hours = ?4, lessees = ?5, lease_kind = ?6, lease_max_s = ?7,
           lease_servers = ?8, lease_account = ?9, lease_rotates = ?10 WHERE id = ?1",
        params![
            id.get(),
            serde_json::json!(f.scope).to_string(),
            f.plan,
            f.hours,
            serde_json::json!(f.lessees).to_string(),
            f.lease_kind,
            f.lease_max_s,
            serde_json::json!(f.lease_servers).to_string(),
            f.lease_account,
            f.lease_rotates
        ],
    )?;
    Ok(())
}

pub fn update(conn: &Conn, id: Id<id::Secret>, f: &Fields, at: Ms) -> Result<()> {
    conn.execute(
        "UPDATE secrets SET name = ?2, tags = ?3, notes = ?4, expires_at = ?5, rotation_interval_s = ?6, updated_at = ?7
         WHERE id = ?1",
        params![
            id.get(),
            f.name,
            tags(f)?,
            f.notes,
            f.expires_at,
            f.rotation_interval_s,
            at
        ],
    )
    .map_err(taken)?;
    set_use(conn, id, f)
}

pub fn set_stage(conn: &Conn, id: Id<id::Secret>, told: i64) -> Result<()> {
    conn.execute("UPDATE secrets SET told = ?2 WHERE id = ?1", params![id.get(), told])?;
    Ok(())
}

pub fn remove(conn: &Conn, id: Id<id::Secret>) -> Result<()> {
    conn.execute("DELETE FROM secrets WHERE id = ?1", [id.get()])?;
    Ok(())
}

/// Adds a version, which is in force from now on; its values are put by [`set_values`]. Gives its row.
pub fn add_version(conn: &Conn, id: Id<id::Secret>, public_key: &str, origin: &str, by: &str, at: Ms) -> Result<i64> {
    conn.execute(
        "UPDATE secrets SET version = 1 + (SELECT coalesce(max(number), 0) FROM secret_versions WHERE secret_id = ?1),
         updated_at = ?2 WHERE id = ?1",
        params![id.get(), at],
    )?;
    conn.execute(
        "INSERT INTO secret_versions (secret_id, number, public_key, origin, made_by, made_at)
         SELECT id, version, ?2, ?3, ?4, ?5 FROM secrets WHERE id = ?1",
        params![id.get(), public_key, origin, by, at],
    )?;
    Ok(conn.last_insert_rowid())
}

pub fn set_values(conn: &Conn, row: i64, value: &[u8], passphrase: Option<&[u8]>) -> Result<()> {
    conn.execute(
        "UPDATE secret_versions SET value = ?2, passphrase = ?3 WHERE id = ?1",
        params![row, value, passphrase],
    )?;
    Ok(())
}

/// What is sealed of a version.
pub struct SealedValues {
    /// Row of the version.
    pub row: i64,
    pub value: Vec<u8>,
    pub passphrase: Option<Vec<u8>>,
}

pub fn values(conn: &Conn, id: Id<id::Secret>, number: i64) -> Result<Option<SealedValues>> {
    let mut statement =
        conn.prepare_cached("SELECT id, value, passphrase FROM secret_versions WHERE secret_id = ?1 AND number = ?2")?;
    let found = statement.query_row(params![id.get(), number], |r| {
        Ok(SealedValues {
            row: r.get(0)?,
            value: r.get(1)?,
            passphrase: r.get(2)?,
        })
    });
    Ok(found.optional()?)
}

/// All versions of a secret, the newest first.
pub fn versions(conn: &Conn, id: Id<id::Secret>) -> Result<Vec<Version>> {
    let mut statement = conn.prepare_cached(
        "SELECT number, public_key, origin, made_by, made_at FROM secret_versions WHERE secret_id = ?1
         ORDER BY number DESC",
    )?;
    let rows = statement.query_map([id.get()], |r| {
        Ok(Version {
            number: r.get(0)?,
            public_key: r.get(1)?,
            origin: r.get(2)?,
            made_by: r.get(3)?,
            made_at: r.get(4)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Removes all but the newest `kept`, never the one in force. How many went.
pub fn purge(conn: &Conn, id: Id<id::Secret>, kept: i64) -> Result<usize> {
    Ok(conn.execute(
        "DELETE FROM secret_versions WHERE secret_id = ?1 AND number <= (SELECT version FROM secrets WHERE id = ?1) - ?2",
        params![id.get(), kept.max(1)],
    )?)
}

/// Secrets whose value is older than it should be, that are given another one by themselves, and whose next try is due.
pub fn overdue(conn: &Conn, now: Ms) -> Result<Vec<Secret>> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {COLUMNS} {FROM} WHERE s.plan <> 'remind' AND s.rotation_interval_s IS NOT NULL AND s.next_try <= ?1
           AND v.made_at + s.rotation_interval_s * 1000 <= ?1 ORDER BY s.id"
    ))?;
    let rows = statement.query_map([now], read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn set_next_try(conn: &Conn, id: Id<id::Secret>, at: Ms) -> Result<()> {
    conn.execute("UPDATE secrets SET next_try = ?2 WHERE id = ?1", params![id.get(), at])?;
    Ok(())
}

/// Is another value on its way to hosts?
pub fn is_on_its_way(conn: &Conn, id: Id<id::Secret>) -> Result<bool> {
    let mut statement =
        conn.prepare_cached("SELECT EXISTS (SELECT 1 FROM secret_rotations WHERE secret_id = ?1 AND state = 'open')")?;
    Ok(statement.query_row([id.get()], |r| r.get(0))?)
}

/// Leases whose account or key is still on a host.
pub fn leases_on_hosts(conn: &Conn, id: Id<id::Secret>) -> Result<i64> {
    let mut statement = conn
        .prepare_cached("SELECT count(*) FROM leases WHERE secret_id = ?1 AND kind <> 'copy' AND state <> 'ended'")?;
    Ok(statement.query_row([id.get()], |r| r.get(0))?)
}
