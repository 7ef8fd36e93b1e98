//! Task pages. The page holds the newest lines; the script adds later ones.

use super::api;
use super::widgets::{Problem, glyph, step_title, task_row};
use crate::access::right::{Deploy, Read, Run, Servers, Tasks, may};
use crate::base::clock::{self, DAY, Ms};
use crate::base::error::Result;
use crate::base::id::Id;
use crate::http::card::{self, COUNTER, Card, Counter, Picture, Slot};
use crate::http::page::{self, query};
use crate::http::reply::Reply;
use crate::http::request::Method::{Get, Post};
use crate::http::route::{Ctx, Route, route};
use crate::http::view::{Prepared, hours};
use crate::task::{self, Filter, family, queue, wait};
use crate::task::{Status, StepView, Task, log};
use serde::Serialize;

/// Page routes.
pub const ROUTES: &[Route] = &[
    route(Get, "/tasks", may(Read, Tasks), list).query(api::LIST),
    route(Get, "/logs", may(Read, Tasks), old_list).query(api::LIST),
    route(Get, "/tasks/{id}", may(Read, Tasks), show),
    route(Post, "/tasks/{id}/cancel", may(Run, Tasks), cancel).in_maintenance(),
    route(Post, "/tasks/{id}/approve", may(Deploy, Servers), approve).takes(api::REFUSE),
    route(Post, "/tasks/{id}/refuse", may(Deploy, Servers), refuse).takes(api::REFUSE),
];

/// Maximum of tasks counted for the last day.
const COUNTED: i64 = 500;

/// See [`Card`].
pub const CARDS: &[Card] = &[
    Card {
        name: "tasks",
        slot: Slot::Counters,
        place: 7,
        right: may(Read, Tasks),
        template: COUNTER,
        data: |on| {
            let since = clock::now() - DAY;
            let day = on.ctx.app.db.read(|conn| queue::since(conn, since, COUNTED))?;
            let count = |fits: &dyn Fn(Status) -> bool| day.iter().filter(|(status, _)| fits(*status)).count();
            let is_bad = |status| matches!(status, Status::Failed | Status::Interrupted);
            let each = [true, false].map(|bad| {
                let of = day.iter().filter(|(status, _)| is_bad(*status) == bad);
                hours(of.map(|(_, at)| *at))
            });
            Ok(Some(Prepared::of(Counter {
                href: "/tasks",
                value: Some(day.len() as f64),
                foot: Some(serde_json::json!({
                    "ok": count(&|s| s == Status::Ok),
                    "run": count(&|s| matches!(s, Status::Running | Status::Queued)),
                    "failed": count(&is_bad),
                })),
                picture: Some(Picture::Bars {
                    counts: each.join("|"),
                    colours: "dark c1",
                }),
                ..Counter::default()
            })))
        },
    },
    Card {
        name: "tasks",
        slot: Slot::Half,
        place: 1,
        right: may(Read, Tasks),
        template: "tasks/_card.html",
        data: |on| {
            let filter = Filter {
                limit: card::ROWS as i64,
                ..Filter::default()
            };
            let (tasks, _) = on.ctx.app.db.read(|conn| queue::list(conn, &filter))?;
            let rows = tasks.into_iter().map(|t| task_row(on.ctx.web, on.locale.lang, t));
            Ok(Some(Prepared::of(rows.collect::<Vec<_>>())))
        },
    },
];

/// A task of the list and the head of a task's page.
#[derive(Serialize)]
struct View {
    id: i64,
    kind: String,
    title: String,
    glyph: &'static str,
    status: Status,
    error: Option<Problem>,
    changed: i64,
    target_name: String,
    target_href: Option<String>,
    parent: Option<i64>,
    created_by: String,
    created_at: Ms,
    started_at: Option<Ms>,
    finished_at: Option<Ms>,
    took_ms: Option<Ms>,
}

fn view(ctx: &Ctx, task: Task) -> View {
    let lang = page::lang(ctx.request, ctx.maybe_actor());
    View {
        id: task.id.get(),
        title: task::title(&ctx.web.app.registry, &task.kind, lang),
        kind: task.kind,
        glyph: glyph(task.status),
        status: task.status,
        error: task.error.map(|(code, message)| Problem { code, message }),
        changed: task.changed,
        target_href: page::place((&task.target.0, task.target.1)),
        target_name: task.target.2,
        parent: task.parent.map(Id::get),
        created_by: task.created_by,
        created_at: task.created_at,
        started_at: task.started_at,
        finished_at: task.finished_at,
        took_ms: task.finished_at.zip(task.started_at).map(|(end, start)| end - start),
    }
}

/// A filter above the list.
#[derive(Serialize)]
struct Facet {
    name: &'static str,
    glyph: &'static str,
    query: String,
    on: bool,
    count: i64,
}

#[derive(Serialize)]
struct List {
    query: String,
    filters: Vec<Facet>,
    /// Name of the server that the list is filtered by.
    server: Option<String>,
    items: Vec<View>,
    first: i64,
    last: i64,
    total: i64,
    prev: Option<String>,
    next: Option<String>,
}

/// The list's address in earlier versions; bookmarks keep working.
fn old_list(ctx: &Ctx) -> Result<Reply> {
    Ok(Reply::see_other(format!("/tasks{}", query(&ctx.request.query))))
}

fn list(ctx: &Ctx) -> Result<Reply> {
    let filter = api::filter(ctx)?;
    let word = |name: &str| ctx.request.param(name).unwrap_or_default();
    let (status, server) = (word("status"), word("server"));
    let (rows, total, counts) = ctx.app.db.read(|conn| {
        let (rows, total) = queue::list(conn, &filter)?;
        let count = |status| {
            let narrowed = Filter {
                status,
                target: filter.target,
                limit: 1,
                ..Filter::default()
            };
            queue::list(conn, &narrowed).map(|(_, n)| n)
        };
        let counts = [
            count(None)?,
            count(Some(Status::Running))?,
            count(Some(Status::Queued))?,
            count(Some(Status::Ok))?,
            count(Some(Status::Failed))?,
        ];
        Ok((rows, total, counts))
    })?;
    let names = [
        ("", ""),
        ("running", "run"),
        ("queued", "wait"),
        ("ok", "ok"),
        ("failed", "fail"),
    ];
    let filters = names.into_iter().zip(counts).map(|((name, glyph), count)| Facet {
        name,
        glyph,
        query: query(&[("status", name), ("server", server)]),
        on: status == name,
        count,
    });
    let at = |offset: i64| query(&[("status", status), ("server", server), ("offset", &offset.to_string())]);
    let items: Vec<_> = rows.into_iter().map(|task| view(ctx, task)).collect();
    let content = List {
        query: query(&[("status", status), ("server", server)]),
        filters: filters.collect(),
        server: filter
            .target
            .map(|_| items.first().map_or(String::new(), |k| k.target_name.clone())),
        first: filter.offset + 1,
        last: filter.offset + items.len() as i64,
        total,
        prev: (filter.offset > 0).then(|| at((filter.offset - filter.limit).max(0))),
        next: (filter.offset + filter.limit < total).then(|| at(filter.offset + filter.limit)),
        items,
    };
    page::show(ctx, "tasks/list.html", content)
}

/// A step as shown.
#[derive(Serialize)]
struct Step {
    name: String,
    title: String,
    state: String,
    glyph: &'static str,
    ms: Option<u64>,
}

/// A line of the log as shown.
#[derive(Serialize)]
struct Line {
    seq: i64,
    at: Ms,
    class: &'static str,
    text: String,
}

/// A form that starts the same task again with the same choices.
#[derive(Serialize)]
struct Again {
    href: String,
    fields: Vec<(String, String)>,
}

/// Reason of a wait.
#[derive(Serialize)]
struct Waits {
    reason: wait::Reason,
    until: Option<Ms>,
    tasks: Vec<View>,
}

#[derive(Serialize)]
struct Show {
    task: View,
    running: bool,
    steps: Vec<Step>,
    /// Number of the last line.
    seq: i64,
    /// Number of lines before the first one shown.
    earlier: i64,
    lines: Vec<Line>,
    evidence: Vec<Line>,
    again: Option<Again>,
    waiting: Option<Waits>,
    parts: Vec<View>,
    panels: serde_json::Map<String, serde_json::Value>,
}

/// Maximum lines on the page; the text file has all.
const LINES_SHOWN: i64 = 2_000;

fn show(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "task")?;
    let lang = page::lang(ctx.request, ctx.maybe_actor());
    let (task, waiting, parts, lines, seq) = ctx.app.db.read(|conn| {
        let task = queue::get(conn, id)?;
        let seq = log::last_seq(conn, id)?;
        let lines = log::after(conn, id, (seq - LINES_SHOWN).max(0), LINES_SHOWN)?;
        let waiting = wait::of(conn, &task, clock::now())?;
        Ok((task, waiting, family::children(conn, id)?, lines, seq))
    })?;
    let views = |tasks: Vec<Task>| tasks.into_iter().map(|task| view(ctx, task)).collect();
    let steps: Vec<StepView> = serde_json::from_str(&task.steps).unwrap_or_default();
    let lines: Vec<Line> = lines.into_iter().filter(|l| l.source != "progress").map(line).collect();
    let said = task.error.as_ref().map_or("", |(_, say)| say);
    let telling = |l: &&Line| l.class == "e" && l.text != said;
    let evidence = lines.iter().rev().filter(telling).take(3).map(|l| Line {
        text: l.text.clone(),
        ..*l
    });
    let content = Show {
        running: !task.status.is_final(),
        again: again(&task),
        waiting: waiting.map(|w| Waits {
            reason: w.reason,
            until: w.until,
            tasks: views(w.tasks),
        }),
        parts: views(parts),
        evidence: if task.status == Status::Failed {
            evidence.collect()
        } else {
            Vec::new()
        },
        task: view(ctx, task),
        steps: steps.iter().map(|s| step(s, step_title(s, lang))).collect(),
        seq,
        earlier: (seq - LINES_SHOWN).max(0),
        lines,
        panels: ctx.panels("task", id.get())?,
    };
    page::show(ctx, "tasks/show.html", content)
}

fn step(s: &StepView, title: String) -> Step {
    let glyph = match s.state.as_str() {
        "running" => "run",
        "ok" | "changed" => "ok",
        "failed" => "fail",
        "skipped" => "skip",
        _ => "wait",
    };
    let ms = (!matches!(s.state.as_str(), "running" | "waiting" | "skipped")).then_some(s.ms);
    Step {
        name: s.name.clone(),
        title,
        state: s.state.clone(),
        glyph,
        ms,
    }
}

/// Classes of a line; `static/js` does the same for later lines.
fn line(l: task::LogLine) -> Line {
    let class = match (l.level.as_str(), l.source.as_str(), l.stream.as_str()) {
        ("error", ..) => "e",
        ("warning", ..) => "w",
        (_, _, "stderr") => "x",
        (_, "command", _) => "cmd",
        (_, "step" | "task", _) => "st",
        _ => "",
    };
    Line {
        seq: l.seq,
        at: l.at,
        class,
        text: l.line,
    }
}

/// The form that enqueues the same task again; a task's input has no secrets.
fn again(task: &Task) -> Option<Again> {
    let action = task.kind.strip_prefix("server.")?.replace('_', "-");
    if task.target.0 != "server" || !task.status.is_final() || action == "look-host-key" {
        return None;
    }
    let input: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&task.input).ok()?;
    let mut fields = Vec::new();
    for (name, value) in input {
        match value {
            serde_json::Value::Array(all) => {
                fields.extend(all.iter().filter_map(|v| Some((name.clone(), v.as_str()?.to_string()))));
            }
            serde_json::Value::String(text) => fields.push((name, text)),
            serde_json::Value::Number(n) => fields.push((name, n.to_string())),
            _ => {}
        }
    }
    Some(Again {
        href: format!("/servers/{}/{action}", task.target.1),
        fields,
    })
}

fn cancel(ctx: &Ctx) -> Result<Reply> {
    let task = api::cancel_task(ctx)?;
    Ok(Reply::see_other(format!("/tasks/{}", task.id)))
}

fn approve(ctx: &Ctx) -> Result<Reply> {
    let task = api::approve_task(ctx)?;
    Ok(Reply::see_other(format!("/tasks/{}", task.id)))
}

fn refuse(ctx: &Ctx) -> Result<Reply> {
    let task = api::refuse_task(ctx)?;
    Ok(Reply::see_other(format!("/tasks/{}", task.id)))
}
