//! SQL of what actions leave: results, files on their way, silences.

use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::db::Conn;
use rusqlite::{OptionalExtension, Row, params};

/// Results of a kind that are kept of a server.
const KEPT: i64 = 20;

/// What an action has brought.
#[derive(Debug)]
pub struct Found {
    pub task: Id<id::Task>,
    pub name: String,
    pub content: String,
    pub cut: bool,
    pub at: Ms,
}

fn read(r: &Row) -> rusqlite::Result<Found> {
    Ok(Found {
        task: Id::new(r.get(0)?),
        name: r.get(1)?,
        content: r.get(2)?,
        cut: r.get(3)?,
        at: r.get(4)?,
    })
}

/// Keeps a result, and of the older ones of its kind as many as may stay.
pub fn keep(conn: &Conn, server: Id<id::Server>, kind: &str, found: &Found) -> Result<()> {
    conn.execute(
        "INSERT OR REPLACE INTO action_results (task_id, server_id, kind, name, content, cut, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![found.task.get(), server.get(), kind, found.name, found.content, found.cut, found.at],
    )?;
    conn.execute(
        "DELETE FROM action_results WHERE server_id = ?1 AND kind = ?2 AND task_id NOT IN
           (SELECT task_id FROM action_results WHERE server_id = ?1 AND kind = ?2 ORDER BY at DESC, task_id DESC LIMIT ?3)",
        params![server.get(), kind, KEPT],
    )?;
    Ok(())
}

/// The result of a task on this server, of this kind.
pub fn of_task(conn: &Conn, server: Id<id::Server>, kind: &str, task: Id<id::Task>) -> Result<Option<Found>> {
    let mut statement = conn.prepare_cached(
        "SELECT task_id, name, content, cut, at FROM action_results WHERE server_id = ?1 AND kind = ?2 AND task_id = ?3",
    )?;
    Ok(statement
        .query_row(params![server.get(), kind, task.get()], read)
        .optional()?)
}

/// The newest result of this kind.
pub fn newest(conn: &Conn, server: Id<id::Server>, kind: &str) -> Result<Option<Found>> {
    let mut statement = conn.prepare_cached(
        "SELECT task_id, name, content, cut, at FROM action_results WHERE server_id = ?1 AND kind = ?2
         ORDER BY at DESC, task_id DESC LIMIT 1",
    )?;
    Ok(statement.query_row(params![server.get(), kind], read).optional()?)
}

/// The kept logs of a server without their lines, newest first; `cut` is left out.
pub fn logs(conn: &Conn, server: Id<id::Server>) -> Result<Vec<Found>> {
    let mut statement = conn.prepare_cached(
        "SELECT task_id, name, '', cut, at FROM action_results WHERE server_id = ?1 AND kind = 'logs' ORDER BY at DESC, task_id DESC",
    )?;
    let rows = statement.query_map([server.get()], read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// A new part of a file, still empty.
pub fn add_part(conn: &Conn, task: Id<id::Task>, number: usize) -> Result<i64> {
    conn.execute(
        "INSERT INTO action_file_parts (task_id, number) VALUES (?1, ?2)",
        params![task.get(), number as i64],
    )?;
    Ok(conn.last_insert_rowid())
}

pub fn set_part(conn: &Conn, row: i64, sealed: &[u8]) -> Result<()> {
    conn.execute(
        "UPDATE action_file_parts SET content = ?2 WHERE id = ?1",
        params![row, sealed],
    )?;
    Ok(())
}

/// The part with this number: its row, and what is sealed in it.
pub fn part(conn: &Conn, task: Id<id::Task>, number: usize) -> Result<Option<(i64, Vec<u8>)>> {
    let mut statement =
        conn.prepare_cached("SELECT id, content FROM action_file_parts WHERE task_id = ?1 AND number = ?2")?;
    let found = statement.query_row(params![task.get(), number as i64], |r| Ok((r.get(0)?, r.get(1)?)));
    Ok(found.optional()?)
}

pub fn forget_parts(conn: &Conn, task: Id<id::Task>) -> Result<()> {
    conn.execute("DELETE FROM action_file_parts WHERE task_id = ?1", [task.get()])?;
    Ok(())
}

pub fn keep_silence(conn: &Conn, task: Id<id::Task>, silence: Id<id::Silence>) -> Result<()> {
    conn.execute(
        "INSERT OR REPLACE INTO action_silences (task_id, silence_id) VALUES (?1, ?2)",
        params![task.get(), silence.get()],
    )?;
    Ok(())
}

/// The silence of a task.
pub fn silence(conn: &Conn, task: Id<id::Task>) -> Result<Option<Id<id::Silence>>> {
    let mut statement = conn.prepare_cached("SELECT silence_id FROM action_silences WHERE task_id = ?1")?;
    Ok(statement.query_row([task.get()], |r| r.get(0)).optional()?.map(Id::new))
}
