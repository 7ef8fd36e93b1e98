//! SQL of the plugins.

use super::model::Valid;
use super::{Plugin, definition};
use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::db::{self, Conn};
use rusqlite::{OptionalExtension, Row, params};

const COLUMNS: &str =
    "id, name, definition, config, token IS NOT NULL, enabled, last_at, last_ok, last_say, created_at, updated_at";

/// `None`: of a definition that is not there any more.
fn read(r: &Row) -> rusqlite::Result<Option<Plugin>> {
    let Some(definition) = definition::of(r.get_ref(2)?.as_str()?) else {
        return Ok(None);
    };
    let last_at: Option<Ms> = r.get(6)?;
    let (ok, say) = (r.get::<_, Option<bool>>(7)?.unwrap_or_default(), r.get(8)?);
    Ok(Some(Plugin {
        id: Id::new(r.get(0)?),
        name: r.get(1)?,
        definition,
        config: serde_json::from_str(r.get_ref(3)?.as_str()?).unwrap_or_default(),
        has_token: r.get(4)?,
        enabled: r.get(5)?,
        last: last_at.map(|at| (at, ok, say)),
        created_at: r.get(9)?,
        updated_at: r.get(10)?,
    }))
}

pub fn get(conn: &Conn, id: Id<id::Plugin>) -> Result<Option<Plugin>> {
    let mut statement = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM plugins WHERE id = ?1"))?;
    Ok(statement.query_row([id.get()], read).optional()?.flatten())
}

pub fn all(conn: &Conn) -> Result<Vec<Plugin>> {
    let mut statement = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM plugins ORDER BY name"))?;
    let rows = statement.query_map([], read)?.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(rows.into_iter().flatten().collect())
}

pub fn token(conn: &Conn, id: Id<id::Plugin>) -> Result<Option<Vec<u8>>> {
    let mut statement = conn.prepare_cached("SELECT token FROM plugins WHERE id = ?1")?;
    Ok(statement.query_row([id.get()], |r| r.get(0)).optional()?.flatten())
}

/// To which project it belongs.
pub fn project(conn: &Conn, id: Id<id::Plugin>) -> Result<Option<Id<id::Project>>> {
    let mut statement =
        conn.prepare_cached("SELECT project_id FROM project_things WHERE kind = 'plugin' AND thing_id = ?1")?;
    Ok(statement.query_row([id.get()], |r| r.get(0)).optional()?.map(Id::new))
}

fn on_duplicate(e: rusqlite::Error) -> crate::base::error::Error {
    db::on_unique_violation("name", "There is a plugin of this name already.".into())(e)
}

pub fn insert(conn: &Conn, valid: &Valid, now: Ms) -> Result<Id<id::Plugin>> {
    conn.execute(
        "INSERT INTO plugins (name, definition, config, enabled, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?5)",
        params![
            valid.name,
            valid.definition.name,
            serde_json::Value::from(valid.config.clone()).to_string(),
            valid.enabled,
            now
        ],
    )
    .map_err(on_duplicate)?;
    Ok(Id::new(conn.last_insert_rowid()))
}

pub fn update(conn: &Conn, id: Id<id::Plugin>, valid: &Valid, now: Ms) -> Result<()> {
    conn.execute(
        "UPDATE plugins SET name = ?2, config = ?3, enabled = ?4, updated_at = ?5 WHERE id = ?1",
        params![
            id.get(),
            valid.name,
            serde_json::Value::from(valid.config.clone()).to_string(),
            valid.enabled,
            now
        ],
    )
    .map_err(on_duplicate)?;
    Ok(())
}

pub fn set_token(conn: &Conn, id: Id<id::Plugin>, sealed: Option<&[u8]>) -> Result<()> {
    conn.execute("UPDATE plugins SET token = ?2 WHERE id = ?1", params![id.get(), sealed])?;
    Ok(())
}

pub fn set_last(conn: &Conn, id: Id<id::Plugin>, at: Ms, ok: bool, say: &str) -> Result<()> {
    conn.execute(
        "UPDATE plugins SET last_at = ?2, last_ok = ?3, last_say = ?4 WHERE id = ?1",
        params![id.get(), at, ok, say],
    )?;
    Ok(())
}

pub fn remove(conn: &Conn, id: Id<id::Plugin>) -> Result<()> {
    conn.execute("DELETE FROM plugins WHERE id = ?1", [id.get()])?;
    Ok(())
}
