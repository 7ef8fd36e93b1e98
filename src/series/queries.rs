//! SQL of the series (`metrics.db`).

use super::observation::Subject;
use super::rollup::Tier;
use super::unit::Unit;
use crate::base::error::{Error, Result};
use crate::db::Conn;
use rusqlite::{OptionalExtension, params};

/// Combines subject row and second into one key.
fn hot_id(subject: i64, at: u32) -> i64 {
    subject << 32 | i64::from(at)
}

fn chunk_id(tier: &Tier, series: u32, at: u32) -> i64 {
    tier.number << 60 | i64::from(series) << 32 | i64::from(at)
}

/// The row id of a subject, if anything is stored for it.
pub fn subject(conn: &Conn, subject: Subject) -> Result<Option<i64>> {
    let mut statement = conn.prepare_cached("SELECT id FROM subject WHERE kind = ?1 AND number = ?2")?;
    Ok(statement
        .query_row(params![subject.0, subject.1], |r| r.get(0))
        .optional()?)
}

/// Adds a subject.
pub fn add_subject(conn: &Conn, subject: Subject) -> Result<i64> {
    conn.prepare_cached("INSERT INTO subject (kind, number) VALUES (?1, ?2)")?
        .execute(params![subject.0, subject.1])?;
    // Subject ids have 31 bits.
    Some(conn.last_insert_rowid())
        .filter(|id| *id < 1 << 31)
        .ok_or_else(|| Error::internal("subject numbers are used up"))
}

/// Row id and subject id of every stored subject of a kind.
pub fn subjects(conn: &Conn, kind: &str) -> Result<Vec<(i64, i64)>> {
    let mut statement = conn.prepare_cached("SELECT id, number FROM subject WHERE kind = ?1 ORDER BY number")?;
    let rows = statement.query_map([kind], |r| Ok((r.get(0)?, r.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// A stored series.
pub struct Row {
    /// Id in the keys of its chunks.
    pub id: u32,
    /// As in [`super::Key::name`].
    pub key: String,
    /// As in [`super::Value::part`].
    pub part: String,
    /// Unit of its values.
    pub unit: Unit,
}

/// A subject's series.
pub fn series(conn: &Conn, subject: i64) -> Result<Vec<Row>> {
    let mut statement = conn.prepare_cached("SELECT id, key, part, unit FROM series WHERE subject = ?1 ORDER BY id")?;
    let rows = statement.query_map([subject], |r| {
        Ok(Row {
            id: r.get(0)?,
            key: r.get(1)?,
            part: r.get(2)?,
            unit: Unit::parse(r.get_ref(3)?.as_str()?).unwrap_or(Unit::Count),
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Adds a series.
pub fn add_series(conn: &Conn, subject: i64, (key, part): (&str, &str), unit: Unit, source: &str) -> Result<u32> {
    conn.prepare_cached("INSERT INTO series (subject, key, part, unit, source) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![subject, key, part, unit.name(), source])?;
    let id = conn.last_insert_rowid();
    // Series ids have 28 bits: 268 million series.
    u32::try_from(id)
        .ok()
        .filter(|id| *id < 1 << 28)
        .ok_or_else(|| Error::internal("series numbers are used up"))
}

/// Inserts an observation; `false` if there is one of this second.
pub fn add_hot(conn: &Conn, subject: i64, at: u32, data: &[u8]) -> Result<bool> {
    let mut statement = conn.prepare_cached("INSERT OR IGNORE INTO hot (id, data) VALUES (?1, ?2)")?;
    Ok(statement.execute(params![hot_id(subject, at), data])? == 1)
}

/// Replaces the observation of this second.
pub fn put_hot(conn: &Conn, subject: i64, at: u32, data: &[u8]) -> Result<()> {
    conn.prepare_cached("INSERT OR REPLACE INTO hot (id, data) VALUES (?1, ?2)")?
        .execute(params![hot_id(subject, at), data])?;
    Ok(())
}

/// A subject's hot rows of these seconds (both included), in order of time.
pub fn hot(conn: &Conn, subject: i64, from: u32, to: u32) -> Result<Vec<(u32, Vec<u8>)>> {
    let mut statement = conn.prepare_cached("SELECT id, data FROM hot WHERE id BETWEEN ?1 AND ?2 ORDER BY id")?;
    let rows = statement.query_map([hot_id(subject, from), hot_id(subject, to)], |r| {
        Ok((r.get::<_, i64>(0)? as u32, r.get(1)?)) // the lower half of the key
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Number of a subject's hot rows.
pub fn hot_count(conn: &Conn, subject: i64) -> Result<u32> {
    let mut statement = conn.prepare_cached("SELECT count(*) FROM hot WHERE id BETWEEN ?1 AND ?2")?;
    Ok(statement.query_row([hot_id(subject, 0), hot_id(subject, u32::MAX)], |r| r.get(0))?)
}

/// Removes a subject's hot rows before this second.
pub fn drop_hot(conn: &Conn, subject: i64, before: u32) -> Result<()> {
    conn.prepare_cached("DELETE FROM hot WHERE id BETWEEN ?1 AND ?2")?
        .execute([hot_id(subject, 0), hot_id(subject, before.saturating_sub(1))])?;
    Ok(())
}

/// The chunk whose span begins at this second.
pub fn chunk(conn: &Conn, tier: &Tier, series: u32, span: u32) -> Result<Option<Vec<u8>>> {
    let mut statement = conn.prepare_cached("SELECT data FROM chunk WHERE id = ?1")?;
    Ok(statement
        .query_row([chunk_id(tier, series, span)], |r| r.get(0))
        .optional()?)
}

/// The oldest chunk.
pub fn first_chunk(conn: &Conn, tier: &Tier, series: u32) -> Result<Option<Vec<u8>>> {
    let mut statement = conn.prepare_cached("SELECT data FROM chunk WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT 1")?;
    let all = [chunk_id(tier, series, 0), chunk_id(tier, series, u32::MAX)];
    Ok(statement.query_row(all, |r| r.get(0)).optional()?)
}

/// Start of the newest chunk's span; 0 without any.
pub fn last_chunk(conn: &Conn, tier: &Tier, series: u32) -> Result<u32> {
    let mut statement = conn.prepare_cached("SELECT max(id) FROM chunk WHERE id BETWEEN ?1 AND ?2")?;
    let all = [chunk_id(tier, series, 0), chunk_id(tier, series, u32::MAX)];
    let id: Option<i64> = statement.query_row(all, |r| r.get(0))?;
    Ok(id.unwrap_or(0) as u32) // the lower half of the key
}

/// Removes a series; its chunks must be removed before.
pub fn drop_series(conn: &Conn, series: u32) -> Result<()> {
    conn.execute("DELETE FROM series WHERE id = ?1", [series])?;
    Ok(())
}

/// The second of a subject's oldest hot row.
pub fn first_hot(conn: &Conn, subject: i64) -> Result<Option<u32>> {
    let mut statement = conn.prepare_cached("SELECT id FROM hot WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT 1")?;
    let all = [hot_id(subject, 0), hot_id(subject, u32::MAX)];
    Ok(statement
        .query_row(all, |r| r.get::<_, i64>(0))
        .optional()?
        .map(|id| id as u32))
}

/// The second of its newest hot row.
pub fn last_hot(conn: &Conn, subject: i64) -> Result<Option<u32>> {
    let mut statement = conn.prepare_cached("SELECT max(id) FROM hot WHERE id BETWEEN ?1 AND ?2")?;
    let all = [hot_id(subject, 0), hot_id(subject, u32::MAX)];
    let id: Option<i64> = statement.query_row(all, |r| r.get(0))?;
    Ok(id.map(|id| id as u32))
}

/// Inserts or replaces a chunk.
pub fn put_chunk(conn: &Conn, tier: &Tier, series: u32, span: u32, data: &[u8]) -> Result<()> {
    conn.prepare_cached("INSERT OR REPLACE INTO chunk (id, data) VALUES (?1, ?2)")?
        .execute(params![chunk_id(tier, series, span), data])?;
    Ok(())
}

/// The chunks whose spans begin within these seconds, in order of time.
pub fn chunks(conn: &Conn, tier: &Tier, series: u32, from: u32, to: u32, mut each: impl FnMut(&[u8])) -> Result<()> {
    let mut statement = conn.prepare_cached("SELECT data FROM chunk WHERE id BETWEEN ?1 AND ?2 ORDER BY id")?;
    let mut rows = statement.query([chunk_id(tier, series, from), chunk_id(tier, series, to)])?;
    while let Some(row) = rows.next()? {
        each(row.get_ref(0)?.as_blob().unwrap_or_default());
    }
    Ok(())
}

/// Removes the chunks whose spans begin before this second.
pub fn drop_chunks(conn: &Conn, tier: &Tier, series: u32, before: u32) -> Result<usize> {
    Ok(conn
        .prepare_cached("DELETE FROM chunk WHERE id >= ?1 AND id < ?2")?
        .execute([chunk_id(tier, series, 0), chunk_id(tier, series, before)])?)
}

/// Removes a subject and its series; chunks and hot rows must be removed before.
pub fn forget(conn: &Conn, subject: i64) -> Result<()> {
    conn.execute("DELETE FROM series WHERE subject = ?1", [subject])?;
    conn.execute("DELETE FROM subject WHERE id = ?1", [subject])?;
    Ok(())
}

/// The note under this key.
pub fn note(conn: &Conn, key: &str) -> Result<Option<String>> {
    let mut statement = conn.prepare_cached("SELECT value FROM note WHERE key = ?1")?;
    Ok(statement.query_row([key], |r| r.get(0)).optional()?)
}

/// Stores or removes a note.
pub fn set_note(conn: &Conn, key: &str, value: Option<&str>) -> Result<()> {
    match value {
        Some(value) => conn
            .prepare_cached("INSERT OR REPLACE INTO note (key, value) VALUES (?1, ?2)")?
            .execute([key, value])?,
        None => conn.prepare_cached("DELETE FROM note WHERE key = ?1")?.execute([key])?,
    };
    Ok(())
}
