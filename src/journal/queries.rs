//! SQL of the journal (`journal.db`).

use crate::base::error::Result;
use crate::db::Conn;
use rusqlite::{OptionalExtension, params};

/// A stored source.
pub struct Source {
    /// Row id.
    pub row: i64,
    /// Kind of its subject.
    pub kind: String,
    /// Id of its subject.
    pub subject: i64,
    /// As in [`super::Journal::mark`].
    pub mark: String,
    /// Unix ns of its newest line.
    pub last_at: i64,
}

/// All sources.
pub fn sources(conn: &Conn) -> Result<Vec<Source>> {
    let mut statement = conn.prepare_cached("SELECT id, kind, subject, mark, last_at FROM sources ORDER BY id")?;
    let rows = statement.query_map([], |r| {
        Ok(Source {
            row: r.get(0)?,
            kind: r.get(1)?,
            subject: r.get(2)?,
            mark: r.get(3)?,
            last_at: r.get(4)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Adds a source.
pub fn add_source(conn: &Conn, kind: &str, subject: i64) -> Result<i64> {
    conn.prepare_cached("INSERT INTO sources (kind, subject) VALUES (?1, ?2)")?
        .execute(params![kind, subject])?;
    Ok(conn.last_insert_rowid())
}

/// Sets the time of a source's newest line and, if given, its mark.
pub fn set_source(conn: &Conn, row: i64, last_at: i64, mark: Option<&str>) -> Result<()> {
    conn.prepare_cached("UPDATE sources SET last_at = ?2, mark = coalesce(?3, mark) WHERE id = ?1")?
        .execute(params![row, last_at, mark])?;
    Ok(())
}

/// Removes a source with all its lines.
pub fn remove_source(conn: &Conn, row: i64) -> Result<()> {
    for table in ["fresh", "chunks"] {
        conn.execute(&format!("DELETE FROM {table} WHERE source = ?1"), [row])?;
    }
    conn.execute("DELETE FROM sources WHERE id = ?1", [row])?;
    Ok(())
}

/// A stored row of lines, without them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Number of its first line.
    pub first: i64,
    /// Number of its last line.
    pub last: i64,
    /// Number of lines.
    pub count: i64,
    /// Unix ns of its first line.
    pub from_at: i64,
    /// Unix ns of its last line.
    pub to_at: i64,
    /// What it takes.
    pub bytes: i64,
}

/// The number of the newest line that there was; 0: there was none. What a reader has taken may be gone.
pub fn newest(conn: &Conn) -> Result<i64> {
    let sql = "SELECT max(coalesce((SELECT max(last) FROM fresh), 0), coalesce((SELECT max(last) FROM chunks), 0),
                          coalesce((SELECT max(last) FROM readers), 0))";
    Ok(conn.query_row(sql, [], |r| r.get(0))?)
}

/// Adds lines as they came.
pub fn add_fresh(conn: &Conn, source: i64, block: &Block, data: &[u8]) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO fresh (first, source, last, count, from_at, to_at, bytes, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        block.first,
        source,
        block.last,
        block.count,
        block.from_at,
        block.to_at,
        block.bytes,
        data
    ])?;
    Ok(())
}

/// All fresh rows with their sources, in their order.
pub fn all_fresh(conn: &Conn) -> Result<Vec<(i64, Block)>> {
    let mut statement =
        conn.prepare_cached("SELECT first, last, count, from_at, to_at, bytes, source FROM fresh ORDER BY first")?;
    let rows = statement.query_map([], |r| Ok((r.get(6)?, block(r)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn block(r: &rusqlite::Row) -> rusqlite::Result<Block> {
    Ok(Block {
        first: r.get(0)?,
        last: r.get(1)?,
        count: r.get(2)?,
        from_at: r.get(3)?,
        to_at: r.get(4)?,
        bytes: r.get(5)?,
    })
}

/// The lines of a fresh row; `None`: they are in a chunk, or gone.
pub fn fresh(conn: &Conn, first: i64) -> Result<Option<Vec<u8>>> {
    let mut statement = conn.prepare_cached("SELECT data FROM fresh WHERE first = ?1")?;
    Ok(statement.query_row([first], |r| r.get(0)).optional()?)
}

/// Removes a fresh row.
pub fn remove_fresh(conn: &Conn, first: i64) -> Result<()> {
    conn.prepare_cached("DELETE FROM fresh WHERE first = ?1")?
        .execute([first])?;
    Ok(())
}

/// Adds a chunk.
pub fn add_chunk(conn: &Conn, source: i64, block: &Block, words: &[u8], data: &[u8]) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO chunks (first, source, last, count, from_at, to_at, bytes, words, data)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute(params![
        block.first,
        source,
        block.last,
        block.count,
        block.from_at,
        block.to_at,
        block.bytes,
        words,
        data
    ])?;
    Ok(())
}

/// The chunks of a source in their order.
pub fn chunks(conn: &Conn, source: i64) -> Result<Vec<Block>> {
    let mut statement = conn.prepare_cached(
        "SELECT first, last, count, from_at, to_at, bytes FROM chunks INDEXED BY chunks_source
         WHERE source = ?1 ORDER BY last",
    )?;
    let rows = statement.query_map([source], block)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Lines and bytes in the chunks of each source.
pub fn sums(conn: &Conn) -> Result<Vec<(i64, i64, i64)>> {
    let mut statement = conn
        .prepare_cached("SELECT source, sum(count), sum(bytes) FROM chunks INDEXED BY chunks_source GROUP BY source")?;
    let rows = statement.query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The words of a chunk; `None`: it is gone.
pub fn words(conn: &Conn, first: i64) -> Result<Option<Vec<u8>>> {
    let mut statement = conn.prepare_cached("SELECT words FROM chunks WHERE first = ?1")?;
    Ok(statement.query_row([first], |r| r.get(0)).optional()?)
}

/// The lines of a chunk; `None`: it is gone.
pub fn chunk(conn: &Conn, first: i64) -> Result<Option<Vec<u8>>> {
    let mut statement = conn.prepare_cached("SELECT data FROM chunks WHERE first = ?1")?;
    Ok(statement.query_row([first], |r| r.get(0)).optional()?)
}

/// Removes the chunk whose newest line is the oldest, of one source or (0) of all. Returns its source and itself.
pub fn remove_oldest(conn: &Conn, source: i64) -> Result<Option<(i64, Block)>> {
    let oldest = match source {
        0 => "SELECT first FROM chunks ORDER BY to_at LIMIT 1",
        _ => "SELECT first FROM chunks INDEXED BY chunks_source WHERE source = ?1 ORDER BY last LIMIT 1",
    };
    let mut statement = conn.prepare_cached(&format!(
        "DELETE FROM chunks WHERE first = ({oldest}) AND ?1 = ?1
         RETURNING first, last, count, from_at, to_at, bytes, source"
    ))?;
    Ok(statement
        .query_row([source], |r| Ok((r.get(6)?, block(r)?)))
        .optional()?)
}

/// The time of the newest line of the oldest chunk, unix ns.
pub fn oldest_at(conn: &Conn) -> Result<Option<i64>> {
    Ok(conn.query_row("SELECT min(to_at) FROM chunks", [], |r| r.get(0))?)
}

/// A reader, as it is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reader {
    /// Where it takes them.
    pub place: String,
    /// Number of the last line that it has taken.
    pub last: i64,
    /// Lines that it has taken.
    pub taken: i64,
    /// Lines that were no longer kept when it came to them.
    pub missed: i64,
    /// Why it takes none now; empty: it takes them.
    pub fault: String,
    /// Since when, unix ms.
    pub since: i64,
    /// Was that an event?
    pub told: bool,
}

/// A reader; `None`: it has not begun.
pub fn reader(conn: &Conn, name: &str) -> Result<Option<Reader>> {
    let mut statement =
        conn.prepare_cached("SELECT place, last, taken, missed, fault, since, told FROM readers WHERE name = ?1")?;
    let row = statement.query_row([name], |r| {
        Ok(Reader {
            place: r.get(0)?,
            last: r.get(1)?,
            taken: r.get(2)?,
            missed: r.get(3)?,
            fault: r.get(4)?,
            since: r.get(5)?,
            told: r.get(6)?,
        })
    });
    Ok(row.optional()?)
}

/// Stores a reader.
pub fn put_reader(conn: &Conn, name: &str, reader: &Reader) -> Result<()> {
    conn.prepare_cached(
        "INSERT OR REPLACE INTO readers (name, place, last, taken, missed, fault, since, told)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        name,
        reader.place,
        reader.last,
        reader.taken,
        reader.missed,
        reader.fault,
        reader.since,
        reader.told
    ])?;
    Ok(())
}

/// Forgets a reader.
pub fn remove_reader(conn: &Conn, name: &str) -> Result<()> {
    conn.execute("DELETE FROM readers WHERE name = ?1", [name])?;
    Ok(())
}

/// Source and lines of all rows with lines whose numbers are after one and up to another.
pub fn rows_within(conn: &Conn, after: i64, upto: i64, each: &mut dyn FnMut(i64, &[u8])) -> Result<()> {
    let mut statement = conn.prepare_cached(
        "SELECT source, data FROM fresh WHERE last > ?1 AND first <= ?2
         UNION ALL
         SELECT source, data FROM chunks WHERE first IN
           (SELECT first FROM chunks INDEXED BY chunks_last WHERE last > ?1 AND first <= ?2)",
    )?;
    let mut rows = statement.query([after, upto])?;
    while let Some(row) = rows.next()? {
        each(row.get(0)?, row.get_ref(1)?.as_blob().unwrap_or_default());
    }
    Ok(())
}
