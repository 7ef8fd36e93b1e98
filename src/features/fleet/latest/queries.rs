//! SQL of the last answers.

use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::base::id::{Id, Server};
use crate::db::Conn;
use rusqlite::{OptionalExtension, params};

/// Start of the last poll (unix ms), duration (ms), sample as JSON, sparkline.
pub type LatestRow = (Ms, u32, String, Vec<u8>);

pub fn put(
    conn: &Conn,
    server: Id<Server>,
    (at_ms, took_ms): (Ms, u32),
    sample: &str,
    spark: &[u8],
    disks: &str,
) -> Result<()> {
    conn.prepare_cached(
        "INSERT OR REPLACE INTO server_latest (server, at_ms, took_ms, sample, spark, disks) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![server.get(), at_ms, took_ms, sample, spark, disks])?;
    Ok(())
}

pub fn get(conn: &Conn, server: Id<Server>) -> Result<Option<LatestRow>> {
    let mut statement =
        conn.prepare_cached("SELECT at_ms, took_ms, sample, spark FROM server_latest WHERE server = ?1")?;
    let row = statement.query_row([server.get()], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?)));
    Ok(row.optional()?)
}

/// Passes on every server's last poll: server, start, duration, sample, disks.
/// Of every server, or of one.
pub fn samples(conn: &Conn, only: Option<i64>, mut each: impl FnMut(i64, &str)) -> Result<()> {
    let mut statement = conn.prepare_cached(match only {
        Some(_) => "SELECT server, sample FROM server_latest WHERE server = ?1",
        None => "SELECT server, sample FROM server_latest WHERE ?1 IS NULL",
    })?;
    let mut rows = statement.query([only])?;
    while let Some(r) = rows.next()? {
        each(r.get(0)?, r.get_ref(1)?.as_str().unwrap_or_default());
    }
    Ok(())
}

pub fn each(conn: &Conn, mut each: impl FnMut(i64, Ms, u32, &str, &str)) -> Result<()> {
    let mut statement = conn.prepare_cached("SELECT server, at_ms, took_ms, sample, disks FROM server_latest")?;
    let mut rows = statement.query([])?;
    while let Some(r) = rows.next()? {
        let (sample, disks) = (r.get_ref(3)?, r.get_ref(4)?);
        each(
            r.get(0)?,
            r.get(1)?,
            r.get(2)?,
            sample.as_str().unwrap_or_default(),
            disks.as_str().unwrap_or_default(),
        );
    }
    Ok(())
}

pub fn disks(conn: &Conn, server: Id<Server>) -> Result<Option<String>> {
    let mut statement = conn.prepare_cached("SELECT disks FROM server_latest WHERE server = ?1")?;
    Ok(statement.query_row([server.get()], |r| r.get(0)).optional()?)
}

pub fn forget(conn: &Conn, server: Id<Server>) -> Result<()> {
    conn.execute("DELETE FROM server_latest WHERE server = ?1", [server.get()])?;
    Ok(())
}
