//! SQL of the certificates.

use super::model::CheckedPair;
use super::{Certificate, User};
use crate::base::clock::Ms;
use crate::base::error::{Error, Result};
use crate::base::id::{self, Id};
use crate::db::{self, Conn};
use rusqlite::{OptionalExtension, Row, params};
use std::collections::HashMap;

// Without the key, which has its own query.
const COLUMNS: &str = "id, name, chain, names, issuer, not_before, not_after, sha256, revision, created_at, updated_at";

fn read(r: &Row) -> rusqlite::Result<Certificate> {
    Ok(Certificate {
        id: Id::new(r.get(0)?),
        name: r.get(1)?,
        chain: r.get(2)?,
        names: serde_json::from_str(r.get_ref(3)?.as_str()?).unwrap_or_default(),
        issuer: r.get(4)?,
        not_before: r.get(5)?,
        not_after: r.get(6)?,
        sha256: r.get(7)?,
        revision: r.get(8)?,
        created_at: r.get(9)?,
        updated_at: r.get(10)?,
    })
}

pub fn get(conn: &Conn, id: Id<id::Certificate>) -> Result<Option<Certificate>> {
    let mut statement = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM certificates WHERE id = ?1"))?;
    Ok(statement.query_row([id.get()], read).optional()?)
}

pub fn all(conn: &Conn) -> Result<Vec<Certificate>> {
    let mut statement = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM certificates ORDER BY name, id"))?;
    Ok(statement.query_map([], read)?.collect::<rusqlite::Result<_>>()?)
}

/// A page of certificates, earliest expiry first, and their total. `q` is part of a name; empty: all.
pub fn list(conn: &Conn, q: &str, limit: i64, offset: i64) -> Result<(Vec<Certificate>, i64)> {
    let like = format!("%{}%", q.replace('\\', r"\\").replace('%', r"\%").replace('_', r"\_"));
    let wheres = r"name LIKE ?1 ESCAPE '\' OR names LIKE ?1 ESCAPE '\' OR issuer LIKE ?1 ESCAPE '\'";
    let total = conn
        .prepare_cached(&format!("SELECT count(*) FROM certificates WHERE {wheres}"))?
        .query_row([&like], |r| r.get(0))?;
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM certificates WHERE {wheres} ORDER BY not_after, id LIMIT ?2 OFFSET ?3"
    ))?;
    let rows = statement.query_map(params![like, limit, offset], read)?;
    Ok((rows.collect::<rusqlite::Result<_>>()?, total))
}

fn user(r: &Row) -> rusqlite::Result<User> {
    Ok(User {
        id: Id::new(r.get(0)?),
        domain: r.get(1)?,
    })
}

/// By its name, whatever the case.
pub fn by_name(conn: &Conn, name: &str) -> Result<Option<Id<id::Certificate>>> {
    let mut statement = conn.prepare_cached("SELECT id FROM certificates WHERE name = ?1")?;
    Ok(statement.query_row([name], |r| r.get(0)).optional()?.map(Id::new))
}

/// The domains that are served with one. The foreign key is ours to follow; what domains are is not.
pub fn users(conn: &Conn, id: Id<id::Certificate>) -> Result<Vec<User>> {
    let mut statement =
        conn.prepare_cached("SELECT id, domain FROM domains WHERE certificate_id = ?1 ORDER BY domain")?;
    Ok(statement
        .query_map([id.get()], user)?
        .collect::<rusqlite::Result<_>>()?)
}

/// The same for all certificates.
pub fn all_users(conn: &Conn) -> Result<HashMap<i64, Vec<User>>> {
    let mut statement = conn.prepare_cached(
        "SELECT id, domain, certificate_id FROM domains WHERE certificate_id IS NOT NULL ORDER BY domain",
    )?;
    let mut out: HashMap<i64, Vec<User>> = HashMap::new();
    for row in statement.query_map([], |r| Ok((r.get(2)?, user(r)?)))? {
        let (certificate, user) = row?;
        out.entry(certificate).or_default().push(user);
    }
    Ok(out)
}

fn on_unique_violation(name: &str) -> impl FnOnce(rusqlite::Error) -> Error {
    db::on_unique_violation(
        "name",
        format!("There is a certificate called “{name}” already. Give this one another name."),
    )
}

fn json(names: &[String]) -> String {
    serde_json::to_string(names).unwrap_or_else(|_| "[]".into())
}

pub fn insert(conn: &Conn, name: &str, c: &CheckedPair, at: Ms) -> Result<Id<id::Certificate>> {
    conn.execute(
        "INSERT INTO certificates (name, chain, names, issuer, not_before, not_after, sha256, created_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8)",
        params![
            name,
            c.chain,
            json(&c.names),
            c.issuer,
            c.not_before,
            c.not_after,
            c.sha256,
            at
        ],
    )
    .map_err(on_unique_violation(name))?;
    Ok(Id::new(conn.last_insert_rowid()))
}

pub fn rename(conn: &Conn, id: Id<id::Certificate>, name: &str, at: Ms) -> Result<()> {
    conn.execute(
        "UPDATE certificates SET name = ?2, updated_at = ?3, revision = revision + 1 WHERE id = ?1",
        params![id.get(), name, at],
    )
    .map_err(on_unique_violation(name))?;
    Ok(())
}

pub fn update(conn: &Conn, id: Id<id::Certificate>, c: &CheckedPair, at: Ms) -> Result<()> {
    conn.execute(
        "UPDATE certificates SET chain = ?2, names = ?3, issuer = ?4, not_before = ?5, not_after = ?6, sha256 = ?7,
           updated_at = ?8, revision = revision + 1 WHERE id = ?1",
        params![
            id.get(),
            c.chain,
            json(&c.names),
            c.issuer,
            c.not_before,
            c.not_after,
            c.sha256,
            at
        ],
    )?;
    Ok(())
}

pub fn sealed_key(conn: &Conn, id: Id<id::Certificate>) -> Result<Option<Vec<u8>>> {
    let mut statement = conn.prepare_cached("SELECT key FROM certificates WHERE id = ?1")?;
    Ok(statement.query_row([id.get()], |r| r.get(0)).optional()?.flatten())
}

pub fn set_key(conn: &Conn, id: Id<id::Certificate>, sealed: &[u8]) -> Result<()> {
    conn.execute(
        "UPDATE certificates SET key = ?2 WHERE id = ?1",
        params![id.get(), sealed],
    )?;
    Ok(())
}

pub fn remove(conn: &Conn, id: Id<id::Certificate>) -> Result<()> {
    conn.execute("DELETE FROM certificates WHERE id = ?1", [id.get()])?;
    Ok(())
}
