//! SQL of availability.

use super::{State, Stretch, Subject};
use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::db::Conn;
use rusqlite::{OptionalExtension, params};

/// Since when a thing is how, as far as it was ever told.
pub fn open(conn: &Conn, (kind, id): (&str, i64)) -> Result<Option<(Ms, State)>> {
    let mut statement = conn.prepare_cached(
        "SELECT since, state FROM main.availability WHERE kind = ?1 AND subject = ?2 ORDER BY since DESC LIMIT 1",
    )?;
    let row = statement.query_row(params![kind, id], |r| {
        Ok((r.get(0)?, State::parse(&r.get::<_, String>(1)?)))
    });
    Ok(row.optional()?)
}

/// A new stretch begins.
pub fn begin(conn: &Conn, (kind, id): (&str, i64), since: Ms, state: State, cause: &str) -> Result<()> {
    conn.prepare_cached("INSERT INTO availability (kind, subject, since, state, cause) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![kind, id, since, state.name(), cause])?;
    Ok(())
}

/// The stretch that began then ends.
pub fn end(conn: &Conn, (kind, id): (&str, i64), since: Ms, until: Ms) -> Result<()> {
    conn.prepare_cached("UPDATE availability SET until = ?4 WHERE kind = ?1 AND subject = ?2 AND since = ?3")?
        .execute(params![kind, id, since, until])?;
    Ok(())
}

/// The stretch that began then is another one.
pub fn change(conn: &Conn, (kind, id): (&str, i64), since: Ms, state: State, cause: &str) -> Result<()> {
    conn.prepare_cached(
        "UPDATE availability SET state = ?4, cause = ?5 WHERE kind = ?1 AND subject = ?2 AND since = ?3",
    )?
    .execute(params![kind, id, since, state.name(), cause])?;
    Ok(())
}

/// See [`super::subjects`].
pub fn subjects(conn: &Conn, kind: &str, id: Option<i64>, from: Ms) -> Result<Vec<Subject>> {
    let mut statement = conn.prepare_cached(
        "SELECT kind, subject, since, until, state, cause FROM availability
         WHERE (?1 = '' OR kind = ?1) AND (?2 IS NULL OR subject = ?2) AND (until IS NULL OR until > ?3)
         ORDER BY kind, subject, since",
    )?;
    let rows = statement.query_map(params![kind, id, from], |r| {
        let stretch = Stretch {
            since: r.get(2)?,
            until: r.get(3)?,
            state: State::parse(&r.get::<_, String>(4)?),
            cause: r.get(5)?,
        };
        Ok((r.get::<_, String>(0)?, r.get::<_, i64>(1)?, stretch))
    })?;
    let mut out: Vec<Subject> = Vec::new();
    for row in rows {
        let (kind, id, stretch) = row?;
        match out.last_mut().filter(|last| (&last.kind, last.id) == (&kind, id)) {
            Some(last) => last.stretches.push(stretch),
            None => out.push(Subject {
                kind,
                id,
                stretches: vec![stretch],
            }),
        }
    }
    Ok(out)
}

/// Stores when nothing was seen.
pub fn put_off(conn: &Conn, since: Ms, until: Ms) -> Result<()> {
    conn.execute(
        "INSERT INTO availability_off (since, until) VALUES (?1, ?2) ON CONFLICT (since) DO UPDATE SET until = max(until, ?2)",
        params![since, until],
    )?;
    Ok(())
}

/// When nothing was seen, from then on.
pub fn off(conn: &Conn, from: Ms) -> Result<Vec<(Ms, Ms)>> {
    let mut statement =
        conn.prepare_cached("SELECT since, until FROM availability_off WHERE until > ?1 ORDER BY since")?;
    let rows = statement.query_map([from], |r| Ok((r.get(0)?, r.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Removes what has ended before then; returns how much.
pub fn remove_old(conn: &Conn, before: Ms, rows_max: usize) -> Result<usize> {
    let old = conn.execute(
        "DELETE FROM availability WHERE (kind, subject, since) IN
           (SELECT kind, subject, since FROM availability WHERE until < ?1 LIMIT ?2)",
        params![before, rows_max as i64],
    )?;
    conn.execute("DELETE FROM availability_off WHERE until < ?1", [before])?;
    Ok(old)
}

/// When the report was made last.
pub fn reported_at(conn: &Conn) -> Result<Option<Ms>> {
    let row = conn.query_row("SELECT at FROM availability_report", [], |r| r.get(0));
    Ok(row.optional()?)
}

/// The report was made.
pub fn set_reported_at(conn: &Conn, at: Ms) -> Result<()> {
    conn.execute(
        "INSERT OR REPLACE INTO availability_report (id, at) VALUES (1, ?1)",
        [at],
    )?;
    Ok(())
}
