//! SQL of the upstreams.

use super::Upstream;
use super::model::{Fields, Target};
use crate::base::clock::Ms;
use crate::base::error::{Error, Result};
use crate::base::id::{self, Id};
use crate::db::{self, Conn};
use rusqlite::{OptionalExtension, Row, params};
use std::collections::HashMap;

const COLUMNS: &str = "u.id, u.name, u.notes, u.revision, u.created_at, u.updated_at,
    (SELECT count(*) FROM domains d WHERE d.upstream_id = u.id)";

fn read(r: &Row) -> rusqlite::Result<Upstream> {
    Ok(Upstream {
        id: Id::new(r.get(0)?),
        fields: Fields {
            name: r.get(1)?,
            targets: Vec::new(),
            notes: r.get(2)?,
        },
        revision: r.get(3)?,
        created_at: r.get(4)?,
        updated_at: r.get(5)?,
        domains: r.get(6)?,
    })
}

fn read_target(r: &Row) -> rusqlite::Result<Target> {
    Ok(Target {
        host: r.get(0)?,
        port: r.get(1)?,
        weight: r.get(2)?,
    })
}

pub fn get(conn: &Conn, id: Id<id::Upstream>) -> Result<Option<Upstream>> {
    let mut statement = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM upstreams u WHERE u.id = ?1"))?;
    let Some(mut upstream) = statement.query_row([id.get()], read).optional()? else {
        return Ok(None);
    };
    let mut statement = conn
        .prepare_cached("SELECT host, port, weight FROM upstream_targets WHERE upstream_id = ?1 ORDER BY position")?;
    upstream.fields.targets = statement
        .query_map([id.get()], read_target)?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Some(upstream))
}

/// Filter of a list.
pub fn by_name(conn: &Conn, name: &str) -> Result<Option<Id<id::Upstream>>> {
    let mut statement = conn.prepare_cached("SELECT id FROM upstreams WHERE name = ?1")?;
    Ok(statement.query_row([name], |r| r.get(0)).optional()?.map(Id::new))
}

/// Filter of a list.
#[derive(Debug, Default)]
pub struct Filter<'a> {
    /// Rows to skip.
    pub q: &'a str,
    /// Descending order.
    pub descending: bool,
    /// Limit.
    pub limit: i64,
    /// Rows to skip.
    pub offset: i64,
}

pub fn list(conn: &Conn, filter: &Filter) -> Result<(Vec<Upstream>, i64)> {
    let wheres = r"(?1 = '%%' OR u.name LIKE ?1 ESCAPE '\' OR u.notes LIKE ?1 ESCAPE '\' OR EXISTS (SELECT 1
        FROM upstream_targets t WHERE t.upstream_id = u.id AND t.host LIKE ?1 ESCAPE '\'))";
    let like = format!(
        "%{}%",
        filter.q.replace('\\', r"\\").replace('%', r"\%").replace('_', r"\_")
    );
    let total = conn
        .prepare_cached(&format!("SELECT count(*) FROM upstreams u WHERE {wheres}"))?
        .query_row([&like], |r| r.get(0))?;
    let order = if filter.descending { "DESC" } else { "ASC" };
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM upstreams u WHERE {wheres} ORDER BY u.name {order}, u.id LIMIT ?2 OFFSET ?3"
    ))?;
    let mut rows: Vec<Upstream> = statement
        .query_map(params![like, filter.limit, filter.offset], read)?
        .collect::<rusqlite::Result<_>>()?;
    let mut targets = targets(conn, rows.iter().map(|u| u.id))?;
    for row in &mut rows {
        row.fields.targets = targets.remove(&row.id.get()).unwrap_or_default();
    }
    Ok((rows, total))
}

/// Loads the targets of these upstreams in one query.
fn targets(conn: &Conn, ids: impl Iterator<Item = Id<id::Upstream>>) -> Result<HashMap<i64, Vec<Target>>> {
    let ids = serde_json::json!(ids.collect::<Vec<_>>()).to_string();
    let mut statement = conn.prepare_cached(
        "SELECT host, port, weight, upstream_id FROM upstream_targets
         WHERE upstream_id IN (SELECT value FROM json_each(?1)) ORDER BY upstream_id, position",
    )?;
    let mut out: HashMap<i64, Vec<Target>> = HashMap::new();
    for row in statement.query_map([ids], |r| Ok((r.get(3)?, read_target(r)?)))? {
        let (upstream, target) = row?;
        out.entry(upstream).or_default().push(target);
    }
    Ok(out)
}

fn on_unique_violation(name: &str) -> impl FnOnce(rusqlite::Error) -> Error {
    db::on_unique_violation(
        "name",
        format!("There is an upstream called “{name}” already. Give this one another name."),
    )
}

pub fn insert(conn: &Conn, f: &Fields, at: Ms) -> Result<Id<id::Upstream>> {
    conn.execute(
        "INSERT INTO upstreams (name, notes, created_at, updated_at) VALUES (?1, ?2, ?3, ?3)",
        params![f.name, f.notes, at],
    )
    .map_err(on_unique_violation(&f.name))?;
    let id = Id::new(conn.last_insert_rowid());
    set_targets(conn, id, &f.targets)?;
    Ok(id)
}

pub fn update(conn: &Conn, id: Id<id::Upstream>, f: &Fields, at: Ms) -> Result<()> {
    conn.execute(
        "UPDATE upstreams SET name = ?2, notes = ?3, updated_at = ?4, revision = revision + 1 WHERE id = ?1",
        params![id.get(), f.name, f.notes, at],
    )
    .map_err(on_unique_violation(&f.name))?;
    set_targets(conn, id, &f.targets)
}

fn set_targets(conn: &Conn, id: Id<id::Upstream>, targets: &[Target]) -> Result<()> {
    conn.execute("DELETE FROM upstream_targets WHERE upstream_id = ?1", [id.get()])?;
    let mut statement = conn.prepare_cached(
        "INSERT INTO upstream_targets (upstream_id, position, host, port, weight) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for (position, t) in targets.iter().enumerate() {
        statement.execute(params![id.get(), position as i64, t.host, t.port, t.weight])?;
    }
    Ok(())
}

pub fn remove(conn: &Conn, id: Id<id::Upstream>) -> Result<()> {
    conn.execute("DELETE FROM upstreams WHERE id = ?1", [id.get()])?;
    Ok(())
}

/// Number and stored name of the domains that send their requests here.
pub fn used_by(conn: &Conn, id: Id<id::Upstream>) -> Result<Vec<(i64, String)>> {
    let mut statement = conn.prepare_cached("SELECT id, domain FROM domains WHERE upstream_id = ?1 ORDER BY domain")?;
    Ok(statement
        .query_map([id.get()], |r| Ok((r.get(0)?, r.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?)
}
