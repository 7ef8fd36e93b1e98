//! SQL of tasks and their logs.

use super::{Filter, Line, New, Row, Status};
use crate::audit::By;
use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::base::id::{Id, Task};
use crate::db::Conn;
use rusqlite::{OptionalExtension, params};

const COLUMNS: &str =
    "id, kind, target_type, target_id, target_name, input, status, changed, steps, error_code, error_say,
    cancel_asked, created_by, created_at, started_at, finished_at";

fn read(r: &rusqlite::Row) -> rusqlite::Result<Row> {
    let code: Option<String> = r.get(9)?;
    Ok(Row {
        id: Id::new(r.get(0)?),
        kind: r.get(1)?,
        target: (r.get(2)?, r.get(3)?, r.get(4)?),
        input: r.get(5)?,
        status: Status::parse(&r.get::<_, String>(6)?).unwrap_or(Status::Interrupted),
        changed: r.get(7)?,
        steps: r.get(8)?,
        error: code
            .map(|code| Ok::<_, rusqlite::Error>((code, r.get(10)?)))
            .transpose()?,
        cancel_asked: r.get(11)?,
        created_by: r.get(12)?,
        created_at: r.get(13)?,
        started_at: r.get(14)?,
        finished_at: r.get(15)?,
    })
}

pub fn insert(conn: &Conn, new: &New, by: By, at: Ms) -> Result<Id<Task>> {
    let (kind, id, name) = new.target;
    conn.execute(
        "INSERT INTO tasks (kind, target_type, target_id, target_name, lane, input, status, created_by, request_id, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'queued', ?7, ?8, ?9)",
        params![new.kind, kind, id, name, format!("{kind}:{id}"), new.input.to_string(), by.actor, by.request_id, at],
    )?;
    Ok(Id::new(conn.last_insert_rowid()))
}

pub fn counts(conn: &Conn) -> Result<Vec<(String, i64)>> {
    let mut statement = conn.prepare_cached("SELECT status, count(*) FROM tasks GROUP BY status ORDER BY status")?;
    let rows = statement.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn get(conn: &Conn, id: Id<Task>) -> Result<Option<Row>> {
    let mut statement = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM tasks WHERE id = ?1"))?;
    Ok(statement.query_row([id.get()], read).optional()?)
}

pub fn list(conn: &Conn, filter: &Filter) -> Result<(Vec<Row>, i64)> {
    let like = format!(
        "%{}%",
        filter.q.replace('\\', r"\\").replace('%', r"\%").replace('_', r"\_")
    );
    let status = filter.status.map(Status::name);
    let (target_type, target_id) = filter.target.unwrap_or_default();
    // A condition that is not wanted still names its number, so that the same list of values fits every statement.
    let when = |wanted: bool, condition, filler| if wanted { condition } else { filler };
    let wheres = [
        when(status.is_some(), "status = ?1", "?1 IS ?1"),
        when(filter.kind.is_some(), "kind = ?2", "?2 IS ?2"),
        when(
            filter.target.is_some(),
            "target_type = ?3 AND target_id = ?4",
            "?3 IS ?3 AND ?4 IS ?4",
        ),
        when(
            !filter.q.is_empty(),
            r"(target_name LIKE ?5 ESCAPE '\' OR kind LIKE ?5 ESCAPE '\')",
            "?5 IS ?5",
        ),
    ]
    .join(" AND ");
    let values = params![status, filter.kind, target_type, target_id, like];
    let total = conn.query_row(&format!("SELECT count(*) FROM tasks WHERE {wheres}"), values, |r| {
        r.get(0)
    })?;
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM tasks WHERE {wheres} ORDER BY id DESC LIMIT ?6 OFFSET ?7"
    ))?;
    let rows = statement
        .query_map(
            params![
                status,
                filter.kind,
                target_type,
                target_id,
                like,
                filter.limit,
                filter.offset
            ],
            read,
        )?
        .collect::<rusqlite::Result<_>>()?;
    Ok((rows, total))
}

/// The oldest waiting task whose lane is free, now running.
pub fn claim(conn: &Conn, at: Ms) -> Result<Option<Row>> {
    let mut statement = conn.prepare_cached(&format!(
        "UPDATE tasks SET status = 'running', attempt = attempt + 1, started_at = ?1, steps = '[]'
         WHERE id = (SELECT t.id FROM tasks t WHERE t.status = 'queued'
                     AND NOT EXISTS (SELECT 1 FROM tasks r WHERE r.status = 'running' AND r.lane = t.lane)
                     ORDER BY t.id LIMIT 1)
         RETURNING {COLUMNS}"
    ))?;
    Ok(statement.query_row([at], read).optional()?)
}

pub fn running(conn: &Conn) -> Result<Vec<Row>> {
    let mut statement = conn.prepare(&format!("SELECT {COLUMNS} FROM tasks WHERE status = 'running'"))?;
    Ok(statement.query_map([], read)?.collect::<rusqlite::Result<_>>()?)
}

pub fn attempts(conn: &Conn, id: Id<Task>) -> Result<i64> {
    Ok(conn.query_row("SELECT attempt FROM tasks WHERE id = ?1", [id.get()], |r| r.get(0))?)
}

pub fn requeue(conn: &Conn, id: Id<Task>) -> Result<()> {
    conn.execute(
        "UPDATE tasks SET status = 'queued', started_at = NULL WHERE id = ?1",
        [id.get()],
    )?;
    Ok(())
}

pub fn finish(
    conn: &Conn,
    id: Id<Task>,
    status: Status,
    changed: i64,
    error: Option<(&str, &str)>,
    at: Ms,
) -> Result<()> {
    let (code, say) = error.unzip();
    conn.execute(
        "UPDATE tasks SET status = ?2, changed = ?3, error_code = ?4, error_say = ?5, finished_at = ?6 WHERE id = ?1",
        params![id.get(), status.name(), changed, code, say, at],
    )?;
    Ok(())
}

pub fn ask_cancel(conn: &Conn, id: Id<Task>) -> Result<()> {
    conn.execute("UPDATE tasks SET cancel_asked = 1 WHERE id = ?1", [id.get()])?;
    Ok(())
}

pub fn cancel_asked(conn: &Conn) -> Result<Vec<Id<Task>>> {
    let mut statement = conn.prepare_cached("SELECT id FROM tasks WHERE status = 'running' AND cancel_asked = 1")?;
    Ok(statement
        .query_map([], |r| Ok(Id::new(r.get(0)?)))?
        .collect::<rusqlite::Result<_>>()?)
}

pub fn is_cancel_asked(conn: &Conn, id: Id<Task>) -> Result<bool> {
    Ok(conn.query_row("SELECT cancel_asked FROM tasks WHERE id = ?1", [id.get()], |r| r.get(0))?)
}

pub fn set_steps(conn: &Conn, id: Id<Task>, json: &str) -> Result<()> {
    conn.prepare_cached("UPDATE tasks SET steps = ?2 WHERE id = ?1")?
        .execute(params![id.get(), json])?;
    Ok(())
}

pub fn last_seq(conn: &Conn, id: Id<Task>) -> Result<i64> {
    Ok(conn.query_row(
        "SELECT coalesce(max(seq), 0) FROM task_logs WHERE task_id = ?1",
        [id.get()],
        |r| r.get(0),
    )?)
}

/// Number of the last line and the bytes of all lines.
pub fn log_size(conn: &Conn, id: Id<Task>) -> Result<(i64, i64)> {
    Ok(conn.query_row(
        "SELECT coalesce(max(seq), 0), coalesce(sum(octet_length(line)), 0) FROM task_logs WHERE task_id = ?1",
        [id.get()],
        |r| Ok((r.get(0)?, r.get(1)?)),
    )?)
}

pub fn insert_line(conn: &Conn, id: Id<Task>, seq: i64, line: &Line) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO task_logs (task_id, seq, at, level, source, stream, line) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        id.get(),
        seq,
        line.at,
        line.level,
        line.source,
        line.stream,
        line.line
    ])?;
    Ok(())
}

pub fn lines(conn: &Conn, id: Id<Task>, after: i64, limit: i64) -> Result<Vec<Line>> {
    let mut statement = conn.prepare_cached(
        "SELECT seq, at, level, source, stream, line FROM task_logs WHERE task_id = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
    )?;
    let rows = statement.query_map(params![id.get(), after, limit], |r| {
        Ok(Line {
            seq: r.get(0)?,
            at: r.get(1)?,
            level: r.get(2)?,
            source: r.get(3)?,
            stream: r.get(4)?,
            line: r.get(5)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The newest of the ended tasks that are too many, or whose logs are; 0 when none are.
pub fn surplus(conn: &Conn, tasks_max: i64, lines_max: i64) -> Result<i64> {
    let mut statement = conn.prepare_cached(
        // A log's lines are numbered without a gap: its last number is its length, found without reading it.
        "SELECT id, (SELECT coalesce(max(seq), 0) FROM task_logs WHERE task_id = tasks.id)
         FROM tasks WHERE finished_at IS NOT NULL ORDER BY id DESC",
    )?;
    let mut rows = statement.query([])?;
    let (mut tasks, mut lines) = (0, 0);
    while let Some(r) = rows.next()? {
        tasks += 1;
        lines += r.get::<_, i64>(1)?;
        if tasks > tasks_max || lines > lines_max {
            return Ok(r.get(0)?);
        }
    }
    Ok(0)
}

/// Removes at most so many rows of tasks that ended before `since` or are not newer than task `surplus`; says how many. Of
/// a long log a part may go first: its task is the last to go.
pub fn remove_ended(conn: &Conn, since: Ms, surplus: i64, rows_max: usize) -> Result<usize> {
    let mut oldest = conn.prepare_cached(
        "SELECT id FROM tasks WHERE finished_at IS NOT NULL AND (finished_at < ?1 OR id <= ?2) ORDER BY id LIMIT 1",
    )?;
    let mut lines = conn.prepare_cached(
        "DELETE FROM task_logs WHERE task_id = ?1 AND seq < (SELECT min(seq) FROM task_logs WHERE task_id = ?1) + ?2",
    )?;
    let mut task = conn.prepare_cached("DELETE FROM tasks WHERE id = ?1")?;
    let mut removed = 0;
    while removed < rows_max {
        let Some(id) = oldest.query_row([since, surplus], |r| r.get::<_, i64>(0)).optional()? else {
            break;
        };
        let room = rows_max - removed;
        let n = lines.execute(params![id, room as i64])?;
        removed += n;
        if n < room {
            removed += task.execute([id])?;
        }
    }
    Ok(removed)
}

pub fn open(conn: &Conn, target: (&str, i64), fits: impl Fn(&str) -> bool) -> Result<Option<Id<Task>>> {
    let mut statement = conn.prepare_cached(
        "SELECT id, kind FROM tasks WHERE target_type = ?1 AND target_id = ?2 AND status IN ('queued','running')
         ORDER BY id DESC",
    )?;
    let mut rows = statement.query(params![target.0, target.1])?;
    while let Some(r) = rows.next()? {
        if fits(r.get_ref(1)?.as_str().unwrap_or_default()) {
            return Ok(Some(Id::new(r.get(0)?)));
        }
    }
    Ok(None)
}
