//! SQL of the secrets.

use super::model::Fields;
use super::{Secret, Version};
use crate::base::clock::Ms;
use crate::base::error::{Error, Result};
use crate::base::id::{self, Id};
use crate::db::{self, Conn};
use rusqlite::{OptionalExtension, Row, params};

const COLUMNS: &str = "s.id, s.name, s.type, s.tags, s.notes, s.expires_at, s.rotation_interval_s, s.version, s.told,
    v.public_key, v.made_at, s.created_at, s.updated_at,
    (SELECT count(*) FROM secret_versions o WHERE o.secret_id = s.id)";
const FROM: &str = "FROM secrets s JOIN secret_versions v ON v.secret_id = s.id AND v.number = s.version";

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
    Ok(Id::new(conn.last_insert_rowid()))
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
    Ok(())
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
