//! SQL of tasks and their logs.

use super::{Filter, LogLine, NewTask, Status, Task, Terms};
use crate::audit::By;
use crate::base::clock::Ms;
use crate::base::error::{Error, Result};
use crate::base::id::{self, Id};
use crate::db::Conn;
use rusqlite::{OptionalExtension, params};

const COLUMNS: &str = "id, kind, target_type, target_id, target_name, parent_id, input, status, approve_until, not_before,
    not_after, decided_by, changed, steps, error_code, error_say, attempt, cancel_asked, created_by, created_at, started_at,
    finished_at";

fn read(r: &rusqlite::Row) -> rusqlite::Result<Task> {
    let code: Option<String> = r.get(14)?;
    Ok(Task {
        id: Id::new(r.get(0)?),
        kind: r.get(1)?,
        target: (r.get(2)?, r.get(3)?, r.get(4)?),
        parent: r.get::<_, Option<i64>>(5)?.map(Id::new),
        input: r.get(6)?,
        status: Status::parse(&r.get::<_, String>(7)?).unwrap_or(Status::Interrupted),
        approve_until: r.get(8)?,
        not_before: r.get(9)?,
        not_after: r.get(10)?,
        decided_by: r.get(11)?,
        changed: r.get(12)?,
        steps: r.get(13)?,
        error: code
            .map(|code| Ok::<_, rusqlite::Error>((code, r.get(15)?)))
            .transpose()?,
        attempt: r.get(16)?,
        cancel_asked: r.get(17)?,
        created_by: r.get(18)?,
        created_at: r.get(19)?,
        started_at: r.get(20)?,
        finished_at: r.get(21)?,
    })
}

pub fn since(conn: &Conn, since: Ms, max: i64) -> Result<Vec<(Status, Ms)>> {
    let mut statement =
        conn.prepare_cached("SELECT status, created_at FROM tasks WHERE created_at >= ?1 ORDER BY id DESC LIMIT ?2")?;
    let rows = statement.query_map(params![since, max], |r| {
        let status = Status::parse(&r.get::<_, String>(0)?).unwrap_or(Status::Interrupted);
        Ok((status, r.get(1)?))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Where a new task stands and what it belongs to.
pub struct Place {
    pub parent: Option<Id<id::Task>>,
    pub status: Status,
    pub terms: Terms,
}

pub fn insert(conn: &Conn, new: &NewTask, place: &Place, by: By, at: Ms) -> Result<Id<id::Task>> {
    let (kind, id, name) = new.target;
    let (from, to) = place.terms.window.unzip();
    conn.execute(
        "INSERT INTO tasks (kind, target_type, target_id, target_name, parent_id, input, status, approve_until, not_before,
                            not_after, created_by, request_id, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        params![
            new.kind,
            kind,
            id,
            name,
            place.parent.map(Id::get),
            new.input.to_string(),
            place.status.name(),
            place.terms.approve_until,
            from,
            to,
            by.actor,
            by.request_id,
            at
        ],
    )?;
    Ok(Id::new(conn.last_insert_rowid()))
}

pub fn counts(conn: &Conn) -> Result<Vec<(String, i64)>> {
    let mut statement = conn.prepare_cached("SELECT status, count(*) FROM tasks GROUP BY status ORDER BY status")?;
    let rows = statement.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn get(conn: &Conn, id: Id<id::Task>) -> Result<Option<Task>> {
    let mut statement = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM tasks WHERE id = ?1"))?;
    Ok(statement.query_row([id.get()], read).optional()?)
}

pub fn list(conn: &Conn, filter: &Filter) -> Result<(Vec<Task>, i64)> {
    let like = format!(
        "%{}%",
        filter.q.replace('\\', r"\\").replace('%', r"\%").replace('_', r"\_")
    );
    let status = filter.status.map(Status::name);
    let (target_type, target_id) = filter.target.unwrap_or_default();
    let parent = filter.parent.map(Id::get);
    // An unused condition still names its parameter, so that the same list of values fits every statement.
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
        when(parent.is_some(), "parent_id = ?6", "?6 IS ?6"),
    ]
    .join(" AND ");
    let values = params![status, filter.kind, target_type, target_id, like, parent];
    let total = conn.query_row(&format!("SELECT count(*) FROM tasks WHERE {wheres}"), values, |r| {
        r.get(0)
    })?;
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM tasks WHERE {wheres} ORDER BY id DESC LIMIT ?7 OFFSET ?8"
    ))?;
    let rows = statement
        .query_map(
            params![
                status,
                filter.kind,
                target_type,
                target_id,
                like,
                parent,
                filter.limit,
                filter.offset
            ],
            read,
        )?
        .collect::<rusqlite::Result<_>>()?;
    Ok((rows, total))
}

/// A task while the queue is scanned.
pub struct Candidate {
    pub id: Id<id::Task>,
    pub kind: String,
    pub target: (String, i64),
    /// Resources, if determined.
    pub locks: Option<String>,
}

/// Separator in [`Candidate::locks`].
pub const BETWEEN: char = ' ';

/// Queued tasks that may begin as far as they and their parents are concerned, oldest first.
pub fn candidates(conn: &Conn, now: Ms) -> Result<Vec<Candidate>> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT t.id, t.kind, t.target_type, t.target_id, {LOCKS} FROM tasks t LEFT JOIN tasks p ON p.id = t.parent_id
         WHERE t.status = 'queued' AND coalesce(t.not_before, 0) <= ?1 AND coalesce(t.not_after, ?1 + 1) > ?1
           AND (t.parent_id IS NULL OR p.status IN ('running', 'waiting_children'))
         ORDER BY t.id"
    ))?;
    let rows = statement.query_map([now], |r| {
        Ok(Candidate {
            id: Id::new(r.get(0)?),
            kind: r.get(1)?,
            target: (r.get(2)?, r.get(3)?),
            locks: r.get(4)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// A task's resources in order, as one text; NULL if not determined.
const LOCKS: &str = "(SELECT group_concat(resource, ' ') FROM task_locks WHERE task_id = t.id)";

/// Kind and resources of each running task.
pub fn held(conn: &Conn) -> Result<Vec<(String, String)>> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT t.kind, coalesce({LOCKS}, '') FROM tasks t WHERE t.status = 'running'"
    ))?;
    let rows = statement.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn set_locks(conn: &Conn, id: Id<id::Task>, locks: &[String]) -> Result<()> {
    conn.prepare_cached("DELETE FROM task_locks WHERE task_id = ?1")?
        .execute([id.get()])?;
    let mut insert = conn.prepare_cached("INSERT INTO task_locks (task_id, resource) VALUES (?1, ?2)")?;
    for lock in locks {
        insert.execute(params![id.get(), lock])?;
    }
    Ok(())
}

/// Holders of this task's resources, and older waiters for them.
pub fn blockers(conn: &Conn, id: Id<id::Task>, now: Ms) -> Result<Vec<Task>> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM tasks WHERE id IN (
             SELECT theirs.task_id FROM task_locks mine JOIN task_locks theirs ON theirs.resource = mine.resource
             WHERE mine.task_id = ?1 AND theirs.task_id <> ?1)
           AND (status = 'running' OR status = 'queued' AND id < ?1 AND coalesce(not_before, 0) <= ?2)
         ORDER BY id LIMIT 20"
    ))?;
    let rows = statement.query_map([id.get(), now], read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Marks a task as running.
pub fn begin(conn: &Conn, id: Id<id::Task>, at: Ms) -> Result<Task> {
    let mut statement = conn.prepare_cached(&format!(
        "UPDATE tasks SET status = 'running', attempt = attempt + 1, started_at = ?2, steps = '[]', not_before = NULL,
                error_code = NULL, error_say = NULL
         WHERE id = ?1 RETURNING {COLUMNS}"
    ))?;
    Ok(statement.query_row([id.get(), at], read)?)
}

pub fn running(conn: &Conn) -> Result<Vec<Task>> {
    let mut statement = conn.prepare(&format!("SELECT {COLUMNS} FROM tasks WHERE status = 'running'"))?;
    Ok(statement.query_map([], read)?.collect::<rusqlite::Result<_>>()?)
}

/// Queues a task again, not before `not_before`; `error` is the failure of its last try.
pub fn requeue(conn: &Conn, id: Id<id::Task>, not_before: Option<Ms>, error: Option<&Error>) -> Result<()> {
    let (code, say) = error.map(|e| (e.code, &e.say)).unzip();
    conn.execute(
        "UPDATE tasks SET status = 'queued', started_at = NULL, not_before = ?2, error_code = ?3, error_say = ?4 WHERE id = ?1",
        params![id.get(), not_before, code, say],
    )?;
    Ok(())
}

/// Sets a state that is not final.
pub fn set_status(conn: &Conn, id: Id<id::Task>, status: Status) -> Result<()> {
    conn.execute(
        "UPDATE tasks SET status = ?2 WHERE id = ?1",
        params![id.get(), status.name()],
    )?;
    Ok(())
}

/// Records an approval or refusal.
pub fn set_decided(conn: &Conn, id: Id<id::Task>, by: &str, at: Ms) -> Result<()> {
    conn.execute(
        "UPDATE tasks SET decided_by = ?2, decided_at = ?3 WHERE id = ?1",
        params![id.get(), by, at],
    )?;
    Ok(())
}

/// Tasks whose wait is over: not approved in time, a time window that has begun, or ended before they began.
pub fn overdue(conn: &Conn, now: Ms) -> Result<Vec<Task>> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM tasks WHERE status IN ('waiting_approval', 'waiting_window', 'queued')
           AND (status = 'waiting_approval' AND approve_until <= ?1 OR status = 'waiting_window' AND not_before <= ?1
                OR not_after <= ?1)
         ORDER BY id"
    ))?;
    let rows = statement.query_map([now], read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The children of a task.
pub fn children(conn: &Conn, parent: Id<id::Task>) -> Result<Vec<Task>> {
    let mut statement =
        conn.prepare_cached(&format!("SELECT {COLUMNS} FROM tasks WHERE parent_id = ?1 ORDER BY id"))?;
    let rows = statement.query_map([parent.get()], read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Number of children in each state, and their changes.
pub fn children_by_status(conn: &Conn, parent: Id<id::Task>) -> Result<Vec<(Status, i64, i64)>> {
    let mut statement = conn.prepare_cached(
        "SELECT status, count(*), sum(changed) FROM tasks WHERE parent_id = ?1 GROUP BY status ORDER BY status",
    )?;
    let rows = statement.query_map([parent.get()], |r| {
        let status = Status::parse(&r.get::<_, String>(0)?).unwrap_or(Status::Interrupted);
        Ok((status, r.get(1)?, r.get(2)?))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn finish(
    conn: &Conn,
    id: Id<id::Task>,
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
    conn.execute("DELETE FROM task_locks WHERE task_id = ?1", [id.get()])?;
    Ok(())
}

/// See [`super::family::go_on`].
pub fn set_goes_on(conn: &Conn, id: Id<id::Task>) -> Result<()> {
    conn.execute("UPDATE tasks SET goes_on = 1 WHERE id = ?1", [id.get()])?;
    Ok(())
}

/// Queues a parent that goes on, once; its tries count anew. `false`: it does not go on.
pub fn take_goes_on(conn: &Conn, id: Id<id::Task>) -> Result<bool> {
    let done = conn.execute(
        "UPDATE tasks SET goes_on = 0, status = 'queued', attempt = 0 WHERE id = ?1 AND goes_on = 1",
        [id.get()],
    )?;
    Ok(done == 1)
}

/// Changes of a parent's own part.
pub fn set_changed(conn: &Conn, id: Id<id::Task>, changed: i64) -> Result<()> {
    conn.execute("UPDATE tasks SET changed = ?2 WHERE id = ?1", [id.get(), changed])?;
    Ok(())
}

pub fn ask_cancel(conn: &Conn, id: Id<id::Task>) -> Result<()> {
    conn.execute("UPDATE tasks SET cancel_asked = 1 WHERE id = ?1", [id.get()])?;
    Ok(())
}

pub fn cancel_asked(conn: &Conn) -> Result<Vec<Id<id::Task>>> {
    let mut statement = conn.prepare_cached("SELECT id FROM tasks WHERE status = 'running' AND cancel_asked = 1")?;
    Ok(statement
        .query_map([], |r| Ok(Id::new(r.get(0)?)))?
        .collect::<rusqlite::Result<_>>()?)
}

pub fn is_cancel_asked(conn: &Conn, id: Id<id::Task>) -> Result<bool> {
    Ok(conn.query_row("SELECT cancel_asked FROM tasks WHERE id = ?1", [id.get()], |r| r.get(0))?)
}

pub fn set_steps(conn: &Conn, id: Id<id::Task>, json: &str) -> Result<()> {
    conn.prepare_cached("UPDATE tasks SET steps = ?2 WHERE id = ?1")?
        .execute(params![id.get(), json])?;
    Ok(())
}

pub fn last_seq(conn: &Conn, id: Id<id::Task>) -> Result<i64> {
    Ok(conn.query_row(
        "SELECT coalesce(max(seq), 0) FROM task_logs WHERE task_id = ?1",
        [id.get()],
        |r| r.get(0),
    )?)
}

/// Number of the last line, and bytes of all lines.
pub fn log_size(conn: &Conn, id: Id<id::Task>) -> Result<(i64, i64)> {
    Ok(conn.query_row(
        "SELECT coalesce(max(seq), 0), coalesce(sum(octet_length(line)), 0) FROM task_logs WHERE task_id = ?1",
        [id.get()],
        |r| Ok((r.get(0)?, r.get(1)?)),
    )?)
}

pub fn insert_line(conn: &Conn, id: Id<id::Task>, seq: i64, line: &LogLine) -> Result<()> {
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

pub fn lines(conn: &Conn, id: Id<id::Task>, after: i64, limit: i64) -> Result<Vec<LogLine>> {
    let mut statement = conn.prepare_cached(
        "SELECT seq, at, level, source, stream, line FROM task_logs WHERE task_id = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
    )?;
    let rows = statement.query_map(params![id.get(), after, limit], |r| {
        Ok(LogLine {
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

/// The newest ended task beyond the limits of tasks or log lines; 0 without any.
pub fn surplus(conn: &Conn, tasks_max: i64, lines_max: i64) -> Result<i64> {
    let mut statement = conn.prepare_cached(
        // Line numbers have no gaps: the last number is the length.
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

/// Removes at most so many rows of tasks that ended before `since` or are not newer than `surplus`; returns how many.
/// Part of a long log may be removed first; its task is removed last.
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

pub fn open(conn: &Conn, target: (&str, i64), fits: impl Fn(&str) -> bool) -> Result<Option<Id<id::Task>>> {
    let mut statement = conn.prepare_cached(
        "SELECT id, kind FROM tasks WHERE target_type = ?1 AND target_id = ?2 AND finished_at IS NULL
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
