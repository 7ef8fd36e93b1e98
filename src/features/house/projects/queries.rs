//! SQL of the projects.

use super::{Project, THINGS};
use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::db::{self, Conn};
use rusqlite::{OptionalExtension, Row, params};
use std::collections::BTreeMap;

const COLUMNS: &str = "id, name, notes, usual, created_at, updated_at";

fn read(r: &Row) -> rusqlite::Result<Project> {
    Ok(Project {
        id: Id::new(r.get(0)?),
        name: r.get(1)?,
        notes: r.get(2)?,
        usual: r.get(3)?,
        created_at: r.get(4)?,
        updated_at: r.get(5)?,
    })
}

/// One project.
pub fn find(conn: &Conn, id: Id<id::Project>) -> Result<Option<Project>> {
    let mut statement = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM projects WHERE id = ?1"))?;
    Ok(statement.query_row([id.get()], read).optional()?)
}

pub fn all(conn: &Conn) -> Result<Vec<Project>> {
    let mut statement = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM projects ORDER BY usual DESC, name"))?;
    let rows = statement.query_map([], read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Number and name of each.
pub fn names(conn: &Conn) -> Result<Vec<(i64, String)>> {
    Ok(all(conn)?
        .into_iter()
        .map(|project| (project.id.get(), project.name))
        .collect())
}

/// The one that new things belong to.
pub fn usual(conn: &Conn) -> Result<Id<id::Project>> {
    let mut statement = conn.prepare_cached("SELECT id FROM projects WHERE usual = 1")?;
    Ok(Id::new(statement.query_row([], |r| r.get(0))?))
}

pub fn set_usual(conn: &Conn, id: Id<id::Project>) -> Result<()> {
    conn.execute("UPDATE projects SET usual = 0 WHERE usual = 1 AND id <> ?1", [id.get()])?;
    conn.execute("UPDATE projects SET usual = 1 WHERE id = ?1", [id.get()])?;
    Ok(())
}

pub fn insert(conn: &Conn, name: &str, notes: &str, now: Ms) -> Result<Id<id::Project>> {
    conn.execute(
        "INSERT INTO projects (name, notes, created_at, updated_at) VALUES (?1, ?2, ?3, ?3)",
        params![name, notes, now],
    )
    .map_err(duplicate)?;
    Ok(Id::new(conn.last_insert_rowid()))
}

pub fn update(conn: &Conn, id: Id<id::Project>, name: &str, notes: &str, now: Ms) -> Result<()> {
    conn.execute(
        "UPDATE projects SET name = ?2, notes = ?3, updated_at = ?4 WHERE id = ?1",
        params![id.get(), name, notes, now],
    )
    .map_err(duplicate)?;
    Ok(())
}

pub fn remove(conn: &Conn, id: Id<id::Project>) -> Result<()> {
    conn.execute("DELETE FROM projects WHERE id = ?1", [id.get()])?;
    Ok(())
}

/// An account that sees it and not all: without its project it would see everything.
pub fn bound(conn: &Conn, id: Id<id::Project>) -> Result<Option<String>> {
    let sql = "SELECT login FROM users WHERE EXISTS (SELECT 1 FROM json_each(projects) WHERE value = ?1) LIMIT 1";
    Ok(conn
        .prepare_cached(sql)?
        .query_row([id.get()], |r| r.get(0))
        .optional()?)
}

/// How many things of each kind belong to it.
pub fn counts(conn: &Conn, id: Id<id::Project>) -> Result<BTreeMap<String, i64>> {
    let mut statement =
        conn.prepare_cached("SELECT kind, count(*) FROM project_things WHERE project_id = ?1 GROUP BY kind")?;
    let rows = statement.query_map([id.get()], |r| Ok((r.get(0)?, r.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Ids of its things by the words of [`THINGS`].
pub fn things(conn: &Conn, id: Id<id::Project>) -> Result<BTreeMap<&'static str, Vec<i64>>> {
    let mut statement = conn
        .prepare_cached("SELECT thing_id FROM project_things WHERE project_id = ?1 AND kind = ?2 ORDER BY thing_id")?;
    let mut all = BTreeMap::new();
    for (kind, word) in THINGS {
        let rows = statement.query_map(params![id.get(), kind], |r| r.get(0))?;
        all.insert(word, rows.collect::<rusqlite::Result<_>>()?);
    }
    Ok(all)
}

/// Moves a thing; `false`: there is none of this number.
pub fn put(conn: &Conn, id: Id<id::Project>, kind: &str, thing: i64) -> Result<bool> {
    let done = conn.execute(
        "UPDATE project_things SET project_id = ?1 WHERE kind = ?2 AND thing_id = ?3",
        params![id.get(), kind, thing],
    )?;
    Ok(done == 1)
}

fn duplicate(e: rusqlite::Error) -> crate::base::error::Error {
    db::on_unique_violation("name", "There is a project of this name already.".into())(e)
}
