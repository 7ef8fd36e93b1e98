//! SQL of the groups.

use super::model::{Fields, KINDS};
use super::{Counts, Group};
use crate::base::clock::Ms;
use crate::base::error::{Error, Result};
use crate::base::id::{self, Id};
use crate::db::{self, Conn};
use rusqlite::{OptionalExtension, Row, params};

/// A domain fails if its certificate, name servers, answers or one of its sites need attention.
const COLUMNS: &str = "g.id, g.kind, g.name, g.notes, g.revision, g.created_at, g.updated_at, count(d.id),
    coalesce(sum(d.ssl), 0),
    coalesce(sum(d.cert_state IN ('urgent', 'bad') OR d.ns_state IN ('mismatch', 'error')
      OR d.answer_state NOT IN ('unknown', 'ok') OR EXISTS (SELECT 1
      FROM main.domain_sites s WHERE s.domain_id = d.id AND s.state IN ('failed', 'drifted'))), 0),
    g.rule, (SELECT count(*) FROM group_members m WHERE m.group_id = g.id)";

const FROM: &str = "groups g LEFT JOIN main.domains d ON d.group_id = g.id";

fn read(r: &Row) -> rusqlite::Result<Group> {
    let kind = r.get_ref(1)?.as_str()?;
    let (domains, tls): (i64, i64) = (r.get(7)?, r.get(8)?);
    Ok(Group {
        id: Id::new(r.get(0)?),
        fields: Fields {
            kind: KINDS.into_iter().find(|k| *k == kind).unwrap_or(KINDS[0]),
            name: r.get(2)?,
            notes: r.get(3)?,
            rule: serde_json::from_str(r.get_ref(10)?.as_str()?).ok(), // an empty text: none
            members: Vec::new(),
        },
        counts: Counts {
            domains,
            tls,
            plain: domains - tls,
            failing: r.get(9)?,
            hosts: r.get(11)?,
        },
        revision: r.get(4)?,
        created_at: r.get(5)?,
        updated_at: r.get(6)?,
    })
}

pub fn get(conn: &Conn, id: Id<id::Group>) -> Result<Option<Group>> {
    let mut statement = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM {FROM} WHERE g.id = ?1 GROUP BY g.id"))?;
    let Some(mut group) = statement.query_row([id.get()], read).optional()? else {
        return Ok(None);
    };
    group.fields.members = members(conn, id)?;
    Ok(Some(group))
}

/// Ids of the servers in a group, in order.
pub fn members(conn: &Conn, id: Id<id::Group>) -> Result<Vec<i64>> {
    let mut statement =
        conn.prepare_cached("SELECT server_id FROM group_members WHERE group_id = ?1 ORDER BY server_id")?;
    Ok(statement
        .query_map([id.get()], |r| r.get(0))?
        .collect::<rusqlite::Result<_>>()?)
}

/// Puts servers into a group. Gives how many of them exist.
pub fn add_members(conn: &Conn, id: Id<id::Group>, servers: &[i64]) -> Result<usize> {
    let servers = serde_json::json!(servers).to_string();
    conn.prepare_cached(
        "INSERT OR IGNORE INTO group_members (group_id, server_id)
         SELECT ?1, s.id FROM servers s WHERE s.id IN (SELECT value FROM json_each(?2))",
    )?
    .execute(params![id.get(), servers])
    .map_err(Error::from)
}

/// Takes servers out of a group.
pub fn remove_members(conn: &Conn, id: Id<id::Group>, servers: &[i64]) -> Result<()> {
    let servers = serde_json::json!(servers).to_string();
    conn.prepare_cached(
        "DELETE FROM group_members WHERE group_id = ?1 AND server_id IN (SELECT value FROM json_each(?2))",
    )?
    .execute(params![id.get(), servers])?;
    Ok(())
}

/// Ids and rules of all groups that have one.
pub fn rules(conn: &Conn) -> Result<Vec<(i64, String)>> {
    let mut statement = conn.prepare_cached("SELECT id, rule FROM groups WHERE rule <> '' ORDER BY id")?;
    Ok(statement
        .query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?)
}

/// By its name, whatever the case.
pub fn by_name(conn: &Conn, name: &str) -> Result<Option<Id<id::Group>>> {
    let mut statement = conn.prepare_cached("SELECT id FROM groups WHERE kind = 'domain' AND name = ?1")?;
    Ok(statement.query_row([name], |r| r.get(0)).optional()?.map(Id::new))
}

/// Filter of a list; empty texts mean any.
#[derive(Debug, Default)]
pub struct Filter<'a> {
    /// `domain` or `host`.
    pub kind: &'a str,
    /// Part of the name or the notes.
    pub q: &'a str,
    /// Page size.
    pub limit: i64,
    /// Rows to skip.
    pub offset: i64,
}

pub fn list(conn: &Conn, filter: &Filter) -> Result<(Vec<Group>, i64)> {
    let wheres = r"(?1 = '' OR g.kind = ?1) AND (?2 = '%%' OR g.name LIKE ?2 ESCAPE '\' OR g.notes LIKE ?2 ESCAPE '\')";
    let like = format!(
        "%{}%",
        filter.q.replace('\\', r"\\").replace('%', r"\%").replace('_', r"\_")
    );
    let total = conn
        .prepare_cached(&format!("SELECT count(*) FROM groups g WHERE {wheres}"))?
        .query_row(params![filter.kind, like], |r| r.get(0))?;
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM {FROM} WHERE {wheres} GROUP BY g.id ORDER BY g.name, g.id LIMIT ?3 OFFSET ?4"
    ))?;
    let rows = statement
        .query_map(params![filter.kind, like, filter.limit, filter.offset], read)?
        .collect::<rusqlite::Result<_>>()?;
    Ok((rows, total))
}

fn on_unique_violation(name: &str) -> impl FnOnce(rusqlite::Error) -> Error {
    db::on_unique_violation(
        "name",
        format!("There is a group called “{name}” already. Give this one another name."),
    )
}

/// As stored.
fn rule(f: &Fields) -> String {
    f.rule
        .as_ref()
        .map(|rule| serde_json::json!(rule).to_string())
        .unwrap_or_default()
}

pub fn insert(conn: &Conn, f: &Fields, at: Ms) -> Result<Id<id::Group>> {
    conn.execute(
        "INSERT INTO groups (kind, name, notes, created_at, updated_at, rule) VALUES (?1, ?2, ?3, ?4, ?4, ?5)",
        params![f.kind, f.name, f.notes, at, rule(f)],
    )
    .map_err(on_unique_violation(&f.name))?;
    Ok(Id::new(conn.last_insert_rowid()))
}

pub fn update(conn: &Conn, id: Id<id::Group>, f: &Fields, at: Ms) -> Result<()> {
    conn.execute(
        "UPDATE groups SET name = ?2, notes = ?3, updated_at = ?4, rule = ?5, revision = revision + 1 WHERE id = ?1",
        params![id.get(), f.name, f.notes, at, rule(f)],
    )
    .map_err(on_unique_violation(&f.name))?;
    Ok(())
}

/// Removes a group; its domains stay, without group.
pub fn remove(conn: &Conn, id: Id<id::Group>) -> Result<()> {
    conn.execute("DELETE FROM groups WHERE id = ?1", [id.get()])?;
    Ok(())
}
