//! The tasks' JSON API and the whole log as text.

use super::stream::{self as feed, TaskLog};
use super::{Outcome, outcome};
use crate::access::Standing;
use crate::access::right::{Deploy, Read, Run, Servers, Tasks, may};
use crate::audit;
use crate::base::clock::{self, Duration, Instant, rfc3339};
use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::base::shape::{Described, Stored, described};
use crate::db::{Conn, Tx};
use crate::events::wake::Wake;
use crate::form::param::{self, Param};
use crate::http::reply::{List, Reply, TEXT};
use crate::http::request::Method::{Get, Post};
use crate::http::route::{Answer, Ctx, LIMIT, OFFSET, Q, Route, route};
use crate::task::wait::Approver;
use crate::task::{Filter, LogLine, Status, StepView, Task, family, log, queue, wait};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Routes of the JSON API.
pub const ROUTES: &[Route] = &[
    route(Get, "/api/tasks", may(Read, Tasks), list)
        .query(LIST)
        .gives::<List<View>>()
        .live(),
    route(Get, "/api/tasks/{id}", may(Read, Tasks), show)
        .gives::<View>()
        .live(),
    route(Post, "/api/tasks/{id}/cancel", may(Run, Tasks), cancel)
        .in_maintenance()
        .takes(&[])
        .answers(Answer::Json(202, View::SHAPE)),
    route(Post, "/api/tasks/{id}/approve", may(Deploy, Servers), approve)
        .takes(&[])
        .gives::<View>(),
    route(Post, "/api/tasks/{id}/refuse", may(Deploy, Servers), refuse)
        .takes(REFUSE)
        .gives::<View>(),
    route(Get, "/api/tasks/{id}/stream", may(Read, Tasks), stream)
        .query(STREAM)
        .streams(feed::EVENTS),
    route(Get, "/api/tasks/{id}/logs", may(Read, Tasks), logs)
        .query(LOGS)
        .gives::<Logs>(),
    route(Get, "/api/tasks/{id}/log.txt", may(Read, Tasks), log_text).gives_bytes(TEXT),
];

/// Longest wait of a long poll in seconds; below the edge's limit for a handler.
const WAIT_MAX_S: i64 = 25;
/// Maximum lines of one answer.
const PAGE: usize = 1_000;
/// Maximum of concurrent long polls: each holds a handler thread. Others are answered at once.
const WAITING_MAX: usize = 6;
static WAITING: AtomicUsize = AtomicUsize::new(0);

described! {
    /// A task in the API.
    struct View<'a> {
        id: Id<id::Task>,
        kind: &'a str,
        target: Target<'a>,
        status: Status,
        changed: i64,
        steps: Option<Stored<'a, Vec<StepView>>>,
        error: Option<Problem<'a>>,
        cancel_asked: bool,
        /// Number of tries.
        attempt: i64,
        /// Parent task.
        parent_id: Option<Id<id::Task>>,
        /// Login of whoever approved or refused it.
        decided_by: Option<&'a str>,
        created_by: &'a str,
        created_at: String,
        started_at: Option<String>,
        finished_at: Option<String>,
        /// Why it has not begun or not ended.
        waiting_for: Option<WaitingFor>,
        /// Child tasks; empty in a list.
        children: Vec<Other>,
    }

    /// Reason of a wait.
    struct WaitingFor {
        reason: wait::Reason,
        /// End of the wait.
        until: Option<String>,
        tasks: Vec<Other>,
    }

    /// Summary of another task.
    struct Other {
        id: Id<id::Task>,
        kind: String,
        /// Name of its target.
        name: String,
        status: Status,
    }

    struct Target<'a> {
        r#type: &'a str,
        id: i64,
        name: &'a str,
    }

    struct Problem<'a> {
        code: &'a str,
        message: &'a str,
    }
}

/// Builds the view of a task.
fn view(task: &Task) -> View<'_> {
    View {
        id: task.id,
        kind: &task.kind,
        target: Target {
            r#type: &task.target.0,
            id: task.target.1,
            name: &task.target.2,
        },
        status: task.status,
        changed: task.changed,
        steps: Stored::parse(&task.steps),
        error: task.error.as_ref().map(|(code, message)| Problem { code, message }),
        cancel_asked: task.cancel_asked,
        attempt: task.attempt,
        parent_id: task.parent,
        decided_by: task.decided_by.as_deref(),
        created_by: &task.created_by,
        created_at: rfc3339(task.created_at),
        started_at: task.started_at.map(rfc3339),
        finished_at: task.finished_at.map(rfc3339),
        waiting_for: None,
        children: Vec::new(),
    }
}

/// Adds the reason of the wait and, for a single task, its children.
fn view_with<'a>(conn: &Conn, task: &'a Task, alone: bool) -> Result<View<'a>> {
    let others = |tasks: Vec<Task>| tasks.into_iter().map(other).collect();
    let waiting = wait::of(conn, task, clock::now())?;
    let children = match alone {
        true => family::children(conn, task.id)?,
        false => Vec::new(),
    };
    Ok(View {
        waiting_for: waiting.map(|w| WaitingFor {
            reason: w.reason,
            until: w.until.map(rfc3339),
            tasks: others(w.tasks),
        }),
        children: others(children),
        ..view(task)
    })
}

fn other(task: Task) -> Other {
    Other {
        id: task.id,
        kind: task.kind,
        name: task.target.2,
        status: task.status,
    }
}

/// Query parameters of a list.
pub const LIST: &[Param] = &[
    LIMIT,
    OFFSET,
    Q,
    param::choice("status", Status::WORDS, "Only those that stand so."),
    param::text("kind", 100, "Only of this kind."),
    param::number("server", 1..=i64::MAX, "Only about this server."),
    param::number("parent", 1..=i64::MAX, "Only parts of this task."),
];

/// Parameters of a refusal.
pub const REFUSE: &[Param] = &[param::text("reason", 500, "Why, for whoever asked for the task.")];

const AFTER: Param = param::number("after", 0..=i64::MAX, "Only lines behind this one.");
const STREAM: &[Param] = &[AFTER];
const LOGS: &[Param] = &[
    AFTER,
    param::number(
        "wait",
        0..=3_600,
        "How long to wait for a line, in seconds; 25 at most.",
    ),
];

/// The filter of a list's query.
pub fn filter<'a>(ctx: &Ctx<'a>) -> Result<Filter<'a>> {
    let (limit, offset) = ctx.page()?;
    let (server, parent) = (ctx.number("server")?, ctx.number("parent")?);
    Ok(Filter {
        status: Status::parse(ctx.choice("status")?),
        kind: Some(ctx.param("kind")).filter(|kind| !kind.is_empty()),
        target: (server > 0).then_some(("server", server)),
        parent: (parent > 0).then(|| Id::new(parent)),
        q: ctx.param("q"),
        limit,
        offset,
    })
}

fn list(ctx: &Ctx) -> Result<Reply> {
    let filter = filter(ctx)?;
    ctx.app.db.read(|conn| {
        let (tasks, total) = queue::list(conn, &filter)?;
        let views = tasks.iter().map(|task| view_with(conn, task, false));
        let items = views.collect::<Result<Vec<_>>>()?;
        Reply::json(&List { items, total })
    })
}

fn show(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "task")?;
    ctx.app
        .db
        .read(|conn| Reply::json(&view_with(conn, &queue::get(conn, id)?, true)?))
}

fn cancel(ctx: &Ctx) -> Result<Reply> {
    ctx.input()?.finish(&[])?;
    let task = cancel_task(ctx)?;
    Ok(Reply::json(&view(&task))?.with_status(202))
}

/// Cancels the task of this request.
pub fn cancel_task(ctx: &Ctx) -> Result<Task> {
    let id = ctx.id(0, "task")?;
    let by = ctx.allowed(Run, Tasks)?;
    let task = ctx.app.db.write(|tx| {
        queue::cancel(tx, &ctx.app.wakes, id, by)?;
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
    Ok(task)
}

fn approve(ctx: &Ctx) -> Result<Reply> {
    Reply::json(&view(&approve_task(ctx)?))
}

fn refuse(ctx: &Ctx) -> Result<Reply> {
    Reply::json(&view(&refuse_task(ctx)?))
}

/// Approves the task of this request.
pub fn approve_task(ctx: &Ctx) -> Result<Task> {
    ctx.input()?.finish(&["reason"])?; // the page has one form for both
    decide(ctx, |tx, id, by| wait::approve(ctx.app, tx, id, by))
}

/// Refuses the task of this request: it ends.
pub fn refuse_task(ctx: &Ctx) -> Result<Task> {
    let mut input = ctx.input()?;
    let why = input.text("reason").unwrap_or_default();
    input.finish(&[])?;
    decide(ctx, |tx, id, by| wait::refuse(ctx.app, tx, id, &why, by))
}

fn decide(ctx: &Ctx, decide: impl FnOnce(&Tx, Id<id::Task>, Approver) -> Result<()>) -> Result<Task> {
    let id = ctx.id(0, "task")?;
    ctx.actor()?.sign_in()?; // a person decides: neither a token of theirs nor the command line
    let by = ctx.allowed(Deploy, Servers)?;
    let task = ctx.app.db.write(|tx| {
        decide(tx, id, by)?;
        queue::get(tx, id)
    })?;
    ctx.app.wakes.log(id).ring();
    Ok(task)
}

fn stream(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "task")?;
    ctx.app.db.read(|conn| queue::get(conn, id))?;
    let after = match ctx.request.header("last-event-id").and_then(|t| t.parse().ok()) {
        Some(seen) => seen,
        None => ctx.number("after")?,
    };
    ctx.stream(TaskLog::new(&ctx.web.app, id, after))
}

described! {
    struct LineView<'a> {
        seq: i64,
        ts: String,
        level: &'a str,
        source: &'a str,
        stream: &'a str,
        line: &'a str,
    }

    /// Lines of a task's log.
    struct Logs<'a> {
        items: Vec<LineView<'a>>,
        /// Number of lines.
        total: usize,
        /// Number of the last line: `after` of the next request.
        after: i64,
        status: Status,
        /// Outcome, once every line was sent.
        end: Option<Outcome<'a>>,
    }
}

/// Long poll as an alternative to the stream: answers at once if there are lines after `after`, else waits up to `wait`
/// seconds for some.
fn logs(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "task")?;
    let after = ctx.number("after")?;
    let wait_s = ctx.number("wait")?.min(WAIT_MAX_S);
    let wake = ctx.app.wakes.log(id);
    let may_wait = WAITING.fetch_add(1, Ordering::SeqCst) < WAITING_MAX;
    let until = clock::mono() + Duration::from_secs(if may_wait { wait_s as u64 } else { 0 });
    let found = wait_for_lines(ctx, id, after, &wake, until);
    WAITING.fetch_sub(1, Ordering::SeqCst);
    let (task, lines) = found?;
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
    // The end comes after all lines: a full page may have more after it.
    let end = (task.status.is_final() && lines.len() < PAGE).then(|| outcome(&task));
    Reply::json(&Logs {
        total: items.len(),
        items,
        after: next,
        status: task.status,
        end,
    })
}

fn wait_for_lines(
    ctx: &Ctx,
    id: Id<id::Task>,
    after: i64,
    wake: &Wake,
    until: Instant,
) -> Result<(Task, Vec<LogLine>)> {
    let mut standing = ctx.standing()?;
    loop {
        standing.ask()?;
        let seen = wake.count();
        let (task, lines) = ctx
            .app
            .db
            .read(|conn| Ok((queue::get(conn, id)?, log::after(conn, id, after, PAGE as i64)?)))?;
        let left = until.saturating_duration_since(clock::mono());
        if !lines.is_empty() || task.status.is_final() || left.is_zero() || ctx.app.wakes.are_over() {
            return Ok((task, lines));
        }
        wake.wait(seen, left.min(Standing::EVERY));
    }
}

/// The whole log as text, times in UTC; also while the task runs.
fn log_text(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "task")?;
    let task = ctx.app.db.read(|conn| queue::get(conn, id))?;
    let mut out = format!(
        "Lamplighter, task {id}: {} on {} {}\ncreated {} by {}\n\n",
        task.kind,
        task.target.0,
        task.target.2,
        rfc3339(task.created_at),
        task.created_by
    );
    let mut after = 0;
    loop {
        let lines = ctx.app.db.read(|conn| log::after(conn, id, after, PAGE as i64))?;
        let Some(last) = lines.last() else { break };
        after = last.seq;
        lines.iter().for_each(|l| text_line(&mut out, l));
    }
    let error = task
        .error
        .as_ref()
        .map(|(code, say)| format!(": {say} [{code}]"))
        .unwrap_or_default();
    out.push_str(&format!("\n{}{error}\n", task.status.name()));
    let name = format!("attachment; filename=\"task-{id}.txt\"");
    Ok(Reply::text(out).header("Content-Disposition", name))
}

fn text_line(out: &mut String, l: &LogLine) {
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
