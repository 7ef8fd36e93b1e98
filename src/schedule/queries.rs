//! SQL of periodic work and of schedules.

use super::model::{Fields, Missed, Schedule};
use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::base::pulse::JobRun;
use crate::db::Conn;
use rusqlite::params;

pub fn put(conn: &Conn, job_runs: &[JobRun]) -> Result<()> {
    let mut statement = conn.prepare_cached(
        "INSERT INTO periodic (name, every_ms, alive_at, last_at, last_ms, error, fails) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (name) DO UPDATE SET every_ms = ?2, alive_at = ?3, last_at = ?4, last_ms = ?5, error = ?6, fails = ?7",
    )?;
    for b in job_runs {
        statement.execute(params![
            b.name, b.every_ms, b.alive_at, b.last_at, b.last_ms, b.error, b.fails
        ])?;
    }
    Ok(())
}

pub fn all(conn: &Conn) -> Result<Vec<JobRun>> {
    let mut statement = conn.prepare_cached(
        "SELECT name, every_ms, alive_at, last_at, last_ms, error, fails FROM periodic ORDER BY name",
    )?;
    let rows = statement.query_map([], |r| {
        Ok(JobRun {
            name: r.get(0)?,
            every_ms: r.get(1)?,
            alive_at: r.get(2)?,
            last_at: r.get(3)?,
            last_ms: r.get(4)?,
            error: r.get(5)?,
            fails: r.get(6)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Removes jobs that this version does not have.
pub fn keep_only(conn: &Conn, job_runs: &[JobRun]) -> Result<()> {
    for old in all(conn)? {
        if !job_runs.iter().any(|job| job.name == old.name) {
            conn.execute("DELETE FROM periodic WHERE name = ?1", [old.name])?;
        }
    }
    Ok(())
}

const SCHEDULE: &str = "id, name, kind, target_type, target_id, target_name, input, cron, zone, missed, enabled, owner,
    last_due, last_result, last_say, last_task, next_run";

pub fn schedules(conn: &Conn) -> Result<Vec<Schedule>> {
    let mut statement = conn.prepare_cached(&format!("SELECT {SCHEDULE} FROM schedules ORDER BY name"))?;
    let rows = statement.query_map([], |r| {
        Ok(Schedule {
            id: Id::new(r.get(0)?),
            fields: Fields {
                name: r.get(1)?,
                kind: r.get(2)?,
                target: (r.get(3)?, r.get(4)?, r.get(5)?),
                input: serde_json::from_str(&r.get::<_, String>(6)?).unwrap_or_default(),
                cron: r.get(7)?,
                zone: r.get(8)?,
                missed: Missed::parse(&r.get::<_, String>(9)?).unwrap_or(Missed::Skip),
                enabled: r.get(10)?,
            },
            owner: r.get(11)?,
            last_due: r.get(12)?,
            last_result: r.get(13)?,
            last_say: r.get(14)?,
            last_task: r.get::<_, Option<i64>>(15)?.map(Id::new),
            next_run: r.get(16)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn insert_schedule(conn: &Conn, f: &Fields, owner: &str, next: Option<Ms>, at: Ms) -> Result<Id<id::Schedule>> {
    conn.execute(
        "INSERT INTO schedules (name, kind, target_type, target_id, target_name, input, cron, zone, missed, enabled, owner,
                                next_run, changed_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        params![
            f.name, f.kind, f.target.0, f.target.1, f.target.2, f.input.to_string(), f.cron, f.zone, f.missed.name(),
            f.enabled, owner, next, at
        ],
    )?;
    Ok(Id::new(conn.last_insert_rowid()))
}

pub fn update_schedule(
    conn: &Conn,
    id: Id<id::Schedule>,
    f: &Fields,
    owner: &str,
    next: Option<Ms>,
    at: Ms,
) -> Result<()> {
    conn.execute(
        "UPDATE schedules SET name = ?2, kind = ?3, target_type = ?4, target_id = ?5, target_name = ?6, input = ?7, cron = ?8,
                zone = ?9, missed = ?10, enabled = ?11, owner = ?12, next_run = ?13, changed_at = ?14 WHERE id = ?1",
        params![
            id.get(), f.name, f.kind, f.target.0, f.target.1, f.target.2, f.input.to_string(), f.cron, f.zone,
            f.missed.name(), f.enabled, owner, next, at
        ],
    )?;
    Ok(())
}

pub fn remove_schedule(conn: &Conn, id: Id<id::Schedule>) -> Result<()> {
    conn.execute("DELETE FROM schedules WHERE id = ?1", [id.get()])?;
    Ok(())
}

pub fn set_next_run(conn: &Conn, id: Id<id::Schedule>, next: Option<Ms>) -> Result<()> {
    conn.execute(
        "UPDATE schedules SET next_run = ?2 WHERE id = ?1",
        params![id.get(), next],
    )?;
    Ok(())
}

/// Records how a due time was handled: task, result and reason, and the next due time.
pub fn set_dealt_with(
    conn: &Conn,
    id: Id<id::Schedule>,
    due: Ms,
    task: Option<Id<id::Task>>,
    (result, say): (&str, &str),
    next: Option<Ms>,
) -> Result<()> {
    conn.execute(
        "UPDATE schedules SET last_due = ?2, last_task = coalesce(?3, last_task), last_result = ?4, last_say = ?5, next_run = ?6
         WHERE id = ?1",
        params![id.get(), due, task.map(Id::get), result, say, next],
    )?;
    Ok(())
}
