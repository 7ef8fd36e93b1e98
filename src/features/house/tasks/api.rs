//! The tasks' JSON API and the whole log as text.

use super::outcome;
use super::stream::TaskLog;
use crate::access::Standing;
use crate::access::right::{Read, Run, Tasks, may};
use crate::audit;
use crate::base::clock::{self, Duration, Instant, rfc3339};
use crate::base::error::{Error, Field, Result};
use crate::base::id::{Id, Task};
use crate::events::wake::Wake;
use crate::http::reply::Reply;
use crate::http::request::Method::{Get, Post};
use crate::http::request::Request;
use crate::http::route::{Ctx, Route, route};
use crate::task::{Filter, Line, Row, Status, log, queue};
use serde::Serialize;
use serde_json::value::RawValue;
use std::sync::atomic::{AtomicUsize, Ordering};

/// See [`Route`].
pub const ROUTES: &[Route] = &[
    route(Get, "/api/tasks", may(Read, Tasks), list).live(),
    route(Get, "/api/tasks/{id}", may(Read, Tasks), show).live(),
    route(Post, "/api/tasks/{id}/cancel", may(Run, Tasks), cancel),
    route(Get, "/api/tasks/{id}/stream", may(Read, Tasks), stream),
    route(Get, "/api/tasks/{id}/logs", may(Read, Tasks), logs),
    route(Get, "/api/tasks/{id}/log.txt", may(Read, Tasks), log_text),
];

/// Longest wait of the long-poll twin, in seconds; below the edge's limit for a handler.
const WAIT_MAX_S: i64 = 25;
/// Lines one answer holds at most.
const PAGE: usize = 1_000;
/// Long polls that may wait at the same time: each holds one of the handler threads. Others are answered at once.
const WAITING_MAX: usize = 6;
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// A task as the API shows it.
#[derive(Serialize)]
pub struct View<'a> {
    id: Id<Task>,
    kind: &'a str,
    target: Target<'a>,
    status: Status,
    changed: i64,
    steps: Option<&'a RawValue>,
    error: Option<Problem<'a>>,
    cancel_asked: bool,
    created_by: &'a str,
    created_at: String,
    started_at: Option<String>,
    finished_at: Option<String>,
}

#[derive(Serialize)]
struct Target<'a> {
    r#type: &'a str,
    id: i64,
    name: &'a str,
}

#[derive(Serialize)]
struct Problem<'a> {
    code: &'a str,
    message: &'a str,
}

/// Puts the view together.
pub fn view(row: &Row) -> View<'_> {
    View {
        id: row.id,
        kind: &row.kind,
        target: Target {
            r#type: &row.target.0,
            id: row.target.1,
            name: &row.target.2,
        },
        status: row.status,
        changed: row.changed,
        steps: serde_json::from_str(&row.steps).ok(),
        error: row.error.as_ref().map(|(code, message)| Problem { code, message }),
        cancel_asked: row.cancel_asked,
        created_by: &row.created_by,
        created_at: rfc3339(row.created_at),
        started_at: row.started_at.map(rfc3339),
        finished_at: row.finished_at.map(rfc3339),
    }
}

/// What a list's query asks for: `status`, `kind`, `server` and `q`.
pub fn filter(request: &Request) -> Result<Filter<'_>> {
    let (limit, offset) = request.page()?;
    let status = match request.param("status").filter(|t| !t.is_empty()) {
        Some(name) => Some(Status::parse(name).ok_or_else(|| {
            let message = "status is one of: queued, running, ok, failed, cancelled, interrupted.".to_string();
            Error::invalid(vec![Field {
                field: "status",
                code: "bad_choice",
                message,
            }])
        })?),
        None => None,
    };
    let server = request.number("server", 0, 1..=i64::MAX)?;
    Ok(Filter {
        status,
        kind: request.param("kind").filter(|t| !t.is_empty()),
        target: (server > 0).then_some(("server", server)),
        q: request.param("q").unwrap_or_default(),
        limit,
        offset,
    })
}

fn list(ctx: &Ctx) -> Result<Reply> {
    let filter = filter(ctx.request)?;
    let (rows, total) = ctx.app.db.read(|conn| queue::list(conn, &filter))?;
    let items = serde_json::value::to_raw_value(&rows.iter().map(view).collect::<Vec<_>>()).map_err(Error::internal)?;
    Reply::json(&serde_json::json!({ "items": items, "total": total }))
}

fn show(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "task")?;
    Reply::json(&view(&ctx.app.db.read(|conn| queue::get(conn, id))?))
}

fn cancel(ctx: &Ctx) -> Result<Reply> {
    ctx.request.input()?.finish(&[])?;
    let row = cancel_task(ctx)?;
    Ok(Reply::json(&view(&row))?.with_status(202))
}

/// Asks the task of this request to end.
pub fn cancel_task(ctx: &Ctx) -> Result<Row> {
    let id = ctx.id(0, "task")?;
    let by = ctx.allowed(Run, Tasks)?;
    let row = ctx.app.db.write(|tx| {
        queue::cancel(tx, &ctx.app.wakes, id)?;
        audit::append(
            tx,
            &ctx.app.vault,
            by,
            "task.cancel",
            &format!("task {id}"),
            &serde_json::json!({}),
        )?;
        queue::get(tx, id)
    })?;
    ctx.app.wakes.log(id).ring();
    Ok(row)
}

fn stream(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "task")?;
    ctx.app.db.read(|conn| queue::get(conn, id))?;
    let after = match ctx.request.header("last-event-id").and_then(|t| t.parse().ok()) {
        Some(seen) => seen,
        None => ctx.request.number("after", 0, 0..=i64::MAX)?,
    };
    ctx.stream(TaskLog::new(&ctx.web.app, id, after))
}

#[derive(Serialize)]
struct LineView<'a> {
    seq: i64,
    ts: String,
    level: &'a str,
    source: &'a str,
    stream: &'a str,
    line: &'a str,
}

/// The stream's twin for where streams do not get through: answers at once when there are lines after `after`, else
/// waits up to `wait` seconds for some.
fn logs(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "task")?;
    let after = ctx.request.number("after", 0, 0..=i64::MAX)?;
    let wait_s = ctx.request.number("wait", 0, 0..=3_600)?.min(WAIT_MAX_S);
    let wake = ctx.app.wakes.log(id);
    let may_wait = WAITING.fetch_add(1, Ordering::SeqCst) < WAITING_MAX;
    let until = clock::mono() + Duration::from_secs(if may_wait { wait_s as u64 } else { 0 });
    let found = wait_for_lines(ctx, id, after, &wake, until);
    WAITING.fetch_sub(1, Ordering::SeqCst);
    let (row, lines) = found?;
    let items: Vec<_> = lines
        .iter()
        .map(|l| LineView {
            seq: l.seq,
            ts: rfc3339(l.at),
            level: &l.level,
            source: &l.source,
            stream: &l.stream,
            line: &l.line,
        })
        .collect();
    let next = lines.last().map_or(after, |l| l.seq);
    // Ended only when everything has been told: a full page may have more behind it.
    let end = (row.status.is_final() && lines.len() < PAGE).then(|| outcome(&row));
    Reply::json(
        &serde_json::json!({ "items": items, "total": items.len(), "after": next, "status": row.status, "end": end }),
    )
}

fn wait_for_lines(ctx: &Ctx, id: Id<Task>, after: i64, wake: &Wake, until: Instant) -> Result<(Row, Vec<Line>)> {
    let mut standing = ctx.standing()?;
    loop {
        standing.ask()?;
        let seen = wake.count();
        let (row, lines) = ctx
            .app
            .db
            .read(|conn| Ok((queue::get(conn, id)?, log::after(conn, id, after, PAGE as i64)?)))?;
        let left = until.saturating_duration_since(clock::mono());
        if !lines.is_empty() || row.status.is_final() || left.is_zero() || ctx.app.wakes.are_over() {
            return Ok((row, lines));
        }
        wake.wait(seen, left.min(Standing::EVERY));
    }
}

/// The whole log as text, one line a line, times in UTC; also while the task runs.
fn log_text(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "task")?;
    let row = ctx.app.db.read(|conn| queue::get(conn, id))?;
    let mut out = format!(
        "Lamplighter, task {id}: {} on {} {}\ncreated {} by {}\n\n",
        row.kind,
        row.target.0,
        row.target.2,
        rfc3339(row.created_at),
        row.created_by
    );
    let mut after = 0;
    loop {
        let lines = ctx.app.db.read(|conn| log::after(conn, id, after, PAGE as i64))?;
        let Some(last) = lines.last() else { break };
        after = last.seq;
        lines.iter().for_each(|l| text_line(&mut out, l));
    }
    let error = row
        .error
        .as_ref()
        .map(|(code, say)| format!(": {say} [{code}]"))
        .unwrap_or_default();
    out.push_str(&format!("\n{}{error}\n", row.status.name()));
    let name = format!("attachment; filename=\"task-{id}.txt\"");
    Ok(Reply::text(out).header("Content-Disposition", name))
}

fn text_line(out: &mut String, l: &Line) {
    let at = rfc3339(l.at);
    if l.source == "progress" {
        let step: serde_json::Value = serde_json::from_str(&l.line).unwrap_or_default();
        out.push_str(&format!(
            "{at} == step {}/{} {}: {}\n",
            step["step"],
            step["steps"],
            step["title"].as_str().unwrap_or_default(),
            step["state"].as_str().unwrap_or_default()
        ));
        return;
    }
    let mark = match (l.source.as_str(), l.stream.as_str()) {
        ("command", "") => "$ ",
        (_, "stderr") => "! ",
        (_, "stdout") => "  ",
        _ => "# ",
    };
    out.push_str(&format!("{at} {mark}{}\n", l.line));
}
