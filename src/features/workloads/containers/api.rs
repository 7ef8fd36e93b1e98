//! The containers' JSON API. It only reads what the collector has stored, and never waits for an engine; acts are tasks.

use super::observed::CONTAINERS;
use super::queries::{self, Container, EngineRow};
use super::stats::Usage;
use super::{acts, tasks};
use crate::access::right::{Containers, Deploy, Read, may};
use crate::audit;
use crate::base::clock::{self, Ms, SECOND, rfc3339};
use crate::base::error::{Error, Field, Result};
use crate::base::id::{Id, Task};
use crate::base::shape::{Described, described};
use crate::features::fleet::metrics;
use crate::features::workloads::logs::{self, Live, ServerRef};
use crate::form::Input;
use crate::form::param::{self, Param};
use crate::http::reply::{List, Reply, TEXT};
use crate::http::request::Method::{Get, Patch, Post};
use crate::http::route::{Answer as Declared, Ctx, LIMIT, OFFSET, Route, route};
use crate::series::{Series, Window};
use std::collections::HashMap;

/// Routes of the JSON API.
pub const ROUTES: &[Route] = &[
    route(Get, "/api/containers", may(Read, Containers), list)
        .query(LIST)
        .gives::<List<View>>()
        .live(),
    route(Get, "/api/container-engines", may(Read, Containers), engines)
        .gives::<List<EngineView>>()
        .live(),
    route(Get, "/api/containers/{server_id}/{name}", may(Read, Containers), show)
        .gives::<View>()
        .live(),
    route(
        Patch,
        "/api/containers/{server_id}/{name}",
        may(Deploy, Containers),
        change,
    )
    .takes(CHANGE)
    .gives::<View>(),
    route(
        Get,
        "/api/containers/{server_id}/{name}/stats",
        may(Read, Containers),
        stats,
    )
    .query(PERIOD)
    .gives::<Stats>(),
    route(
        Get,
        "/api/containers/{server_id}/{name}/events",
        may(Read, Containers),
        events,
    )
    .query(EVENTS)
    .gives::<List<EventView>>(),
    route(
        Get,
        "/api/containers/{server_id}/{name}/logs",
        may(Read, Containers),
        lines,
    )
    .query(logs::LINES)
    .gives::<logs::Lines>(),
    route(
        Get,
        "/api/containers/{server_id}/{name}/log.txt",
        may(Read, Containers),
        log_text,
    )
    .query(logs::LINES)
    .gives_bytes(TEXT),
    route(
        Get,
        "/api/containers/{server_id}/{name}/logs/stream",
        may(Read, Containers),
        stream,
    )
    .query(logs::LIVE)
    .streams(logs::EVENTS),
    route(
        Post,
        "/api/containers/{server_id}/{name}/start",
        may(Deploy, Containers),
        |ctx| act(ctx, acts::START),
    )
    .takes(tasks::ACT)
    .starts_task(),
    route(
        Post,
        "/api/containers/{server_id}/{name}/stop",
        may(Deploy, Containers),
        |ctx| act(ctx, acts::STOP),
    )
    .takes(tasks::ACT)
    .starts_task(),
    route(
        Post,
        "/api/containers/{server_id}/{name}/restart",
        may(Deploy, Containers),
        |ctx| act(ctx, acts::RESTART),
    )
    .takes(tasks::ACT)
    .starts_task(),
    route(
        Post,
        "/api/container-projects/{server_id}/{project}/restart",
        may(Deploy, Containers),
        restart_project,
    )
    .takes(tasks::ACT)
    .answers(Declared::Json(202, Started::SHAPE)),
];

const LIST: &[Param] = &[
    param::text("server_id", 20, "Only of this server: its number, or `local`."),
    param::text(
        "state",
        20,
        "Only in this state; `gone` are the removed ones, `any` all.",
    ),
    param::text("project", 128, "Only of this compose project."),
    param::text("q", 200, "Only what has this in name, image or project."),
    LIMIT,
    OFFSET,
];

const PERIOD: &[Param] = &[param::text("period", 10, "`1h` and longer, up to now.")];
const EVENTS: &[Param] = &[LIMIT];

described! {
    /// A container.
    pub struct View<'a> {
        id: i64,
        server_id: ServerRef,
        /// Name of the server; empty for the machine that Lamplighter runs on.
        server: &'a str,
        name: &'a str,
        /// The engine's id of its present life.
        life: &'a str,
        image: &'a str,
        /// Compose project and service, or empty.
        project: &'a str,
        service: &'a str,
        state: &'a str,
        /// `starting`, `healthy`, `unhealthy`; empty: it has no check.
        health: &'a str,
        /// Of its last end.
        exit_code: Option<i64>,
        oom: bool,
        /// Ends without a person's act.
        restarts: i64,
        /// Is it restarted when it is unhealthy: `on`, `off`, or as its `label` says?
        restart_unhealthy: &'a str,
        /// Does its label say so?
        restart_label: bool,
        /// What is an alert about it.
        troubles: &'a [String],
        /// When it came into its state.
        since: String,
        created_at: String,
        /// Percent of one processor.
        cpu_percent: Option<f64>,
        /// Percent of the memory that it may use.
        mem_percent: Option<f64>,
        mem_used: Option<u64>,
        mem_limit: Option<u64>,
        pids: Option<u64>,
        /// Stored lines of its log.
        log_lines: i64,
        log_bytes: i64,
    }

    /// A container engine.
    struct EngineView<'a> {
        id: i64,
        server_id: ServerRef,
        server: &'a str,
        /// `docker` or `podman`; empty: not known yet.
        engine: &'a str,
        version: &'a str,
        socket: &'a str,
        /// `waiting`, `answers` or `silent`.
        state: &'a str,
        /// Why it is silent.
        code: Option<&'a str>,
        say: Option<&'a str>,
        since: String,
    }

    struct Stats {
        period: &'static str,
        step_s: u32,
        /// Points further apart than twice this have a gap between them.
        interval_s: i64,
        from: String,
        to: String,
        series: Vec<Series>,
    }

    /// An event about a container.
    struct EventView<'a> {
        id: i64,
        ts: String,
        kind: &'a str,
        data: serde_json::Value,
    }

    /// Tasks were enqueued.
    struct Started {
        task_ids: Vec<Id<Task>>,
    }
}

/// What was used is told for so long after it was seen.
const FRESH: Ms = 60 * SECOND;

/// What containers used last, by their numbers.
pub fn usages(ctx: &Ctx) -> Result<HashMap<i64, Usage>> {
    ctx.app.metrics.read(|conn| queries::usages(conn, clock::now() - FRESH))
}

fn view<'a>(ctx: &Ctx, c: &'a Container, usage: Option<&Usage>) -> View<'a> {
    let usage = usage.copied().unwrap_or_default();
    let stored = ctx.app.journal.usage_of(c.subject());
    let round = |n: f64| (n * 10.0).round() / 10.0;
    View {
        id: c.id,
        server_id: ServerRef(c.server),
        server: &c.server_name,
        name: &c.name,
        life: &c.life,
        image: &c.image,
        project: &c.project,
        service: &c.service,
        state: &c.state,
        health: &c.health,
        exit_code: c.exit_code,
        oom: c.oom,
        restarts: c.restarts,
        restart_unhealthy: &c.restart_unhealthy,
        restart_label: c.restart_label,
        troubles: &c.troubles,
        since: rfc3339(c.since),
        created_at: rfc3339(c.created_at),
        cpu_percent: usage.cpu.map(round),
        mem_percent: usage.memory.map(round),
        mem_used: usage.memory_used,
        mem_limit: usage.memory_limit,
        pids: usage.pids,
        log_lines: stored.lines,
        log_bytes: stored.bytes,
    }
}

/// The filter of a list.
pub fn filter<'a>(ctx: &Ctx<'a>, (limit, offset): (i64, i64)) -> Result<queries::Filter<'a>> {
    let server = match ctx.param("server_id") {
        "" => None,
        text => Some(
            ServerRef::parse(text)
                .ok_or_else(|| bad("server_id", "server_id is a server's number, or local."))?
                .0,
        ),
    };
    Ok(queries::Filter {
        server,
        state: ctx.param("state"),
        project: ctx.param("project"),
        q: ctx.param("q"),
        limit,
        offset,
    })
}

fn bad(field: &'static str, message: &str) -> Error {
    Error::invalid(vec![Field {
        field,
        code: "bad_choice",
        message: message.into(),
    }])
}

fn list(ctx: &Ctx) -> Result<Reply> {
    let filter = filter(ctx, ctx.page()?)?;
    let (all, total) = ctx.app.db.read(|conn| queries::list(conn, &filter))?;
    let usages = usages(ctx)?;
    let items = all.iter().map(|one| view(ctx, one, usages.get(&one.id))).collect();
    Reply::json(&List { items, total })
}

fn engines(ctx: &Ctx) -> Result<Reply> {
    let all = ctx.app.db.read(queries::engines)?;
    fn view(row: &EngineRow) -> EngineView<'_> {
        let some = |text: &'_ str| (!text.is_empty()).then_some(());
        EngineView {
            id: row.id,
            server_id: ServerRef(row.server),
            server: &row.server_name,
            engine: &row.engine,
            version: &row.version,
            socket: &row.socket,
            state: &row.state,
            code: some(&row.code).map(|()| row.code.as_str()),
            say: some(&row.say).map(|()| row.say.as_str()),
            since: rfc3339(row.since),
        }
    }
    Reply::json(&List::whole(all.iter().map(view).collect()))
}

/// The container of the request: `{server_id}/{name}`. Error `NotFound`.
fn container(ctx: &Ctx) -> Result<Container> {
    let gone = || Error::not_found("container");
    let server = ServerRef::parse(ctx.arg(0)).ok_or_else(gone)?.0;
    ctx.app
        .db
        .read(|conn| queries::by_name(conn, server, ctx.arg(1)))?
        .ok_or_else(gone)
}

fn show(ctx: &Ctx) -> Result<Reply> {
    let c = container(ctx)?;
    Reply::json(&view(ctx, &c, usages(ctx)?.get(&c.id)))
}

/// A container's series of a period.
pub fn chart(ctx: &Ctx, id: i64) -> Result<(&'static str, Window, Vec<Series>)> {
    metrics::chart_of_subject(ctx, (CONTAINERS.name, id))
}

fn stats(ctx: &Ctx) -> Result<Reply> {
    let c = container(ctx)?;
    let (period, window, series) = chart(ctx, c.id)?;
    Reply::json(&Stats {
        period,
        step_s: window.step_s,
        interval_s: super::observed::EVERY_S,
        from: rfc3339(i64::from(window.from_s()) * SECOND),
        to: rfc3339(i64::from(window.to_s()) * SECOND),
        series,
    })
}

fn events(ctx: &Ctx) -> Result<Reply> {
    let c = container(ctx)?;
    let limit = ctx.number("limit")?;
    let rows = ctx.app.db.read(|conn| queries::events(conn, c.id, limit))?;
    let items = rows.iter().map(|(id, at, kind, data)| EventView {
        id: *id,
        ts: rfc3339(*at),
        kind,
        data: serde_json::from_str(data).unwrap_or_default(),
    });
    Reply::json(&List::whole(items.collect()))
}

fn lines(ctx: &Ctx) -> Result<Reply> {
    let asked = logs::asked(ctx, vec![container(ctx)?.speaker()])?;
    Reply::json(&asked.find(ctx.app)?.of_one())
}

fn log_text(ctx: &Ctx) -> Result<Reply> {
    logs::download(ctx, container(ctx)?.speaker())
}

fn stream(ctx: &Ctx) -> Result<Reply> {
    ctx.stream(Live::of_one(ctx, container(ctx)?.speaker())?)
}

fn act(ctx: &Ctx, kind: &'static str) -> Result<Reply> {
    let input = acts::Act::read(ctx.input()?)?;
    let c = container(ctx)?;
    Reply::accepted(start(ctx, kind, &c, &input)?)
}

/// Enqueues an act on a container.
pub fn start(ctx: &Ctx, kind: &'static str, c: &Container, input: &acts::Act) -> Result<Id<Task>> {
    let by = ctx.allowed(Deploy, Containers)?;
    ctx.app.db.write(|tx| acts::enqueue(ctx.app, tx, kind, c, input, by))
}

/// What people say of a container's restart when it is unhealthy.
pub const RESTART_UNHEALTHY: [&str; 3] = ["label", "on", "off"];

/// What a change takes.
pub const CHANGE: &[Param] = &[param::choice(
    "restart_unhealthy",
    &RESTART_UNHEALTHY,
    "Is it restarted when it is unhealthy? `label`: if its label `lamplighter.restart=unhealthy` says so.",
)
.required()];

/// Fields of the answer that may be sent back unchanged.
const READ_ONLY: &[&str] = &[
    "id",
    "server_id",
    "server",
    "name",
    "life",
    "image",
    "project",
    "service",
    "state",
    "health",
    "exit_code",
    "oom",
    "restarts",
    "restart_label",
    "troubles",
    "since",
    "created_at",
    "cpu_percent",
    "mem_percent",
    "mem_used",
    "mem_limit",
    "pids",
    "log_lines",
    "log_bytes",
];

fn change(ctx: &Ctx) -> Result<Reply> {
    let input = ctx.input()?;
    let c = container(ctx)?;
    set_restart(ctx, &c, input)?;
    show(ctx)
}

/// Stores the option of a container.
pub fn set_restart(ctx: &Ctx, c: &Container, mut input: Input) -> Result<()> {
    let by = ctx.allowed(Deploy, Containers)?;
    let option = input.choice("restart_unhealthy");
    input.finish(READ_ONLY)?;
    let Some(option) = option.filter(|option| *option != c.restart_unhealthy) else {
        return Ok(());
    };
    ctx.app.db.write(|tx| {
        queries::set_restart_unhealthy(tx, c.id, option)?;
        let object = format!("container {} {}", c.id, c.full_name());
        let detail = serde_json::json!({ "restart_unhealthy": option, "before": c.restart_unhealthy });
        audit::append(tx, &ctx.app.vault, by, "container.update", &object, &detail)?;
        Ok(())
    })
}

fn restart_project(ctx: &Ctx) -> Result<Reply> {
    let input = acts::Act::read(ctx.input()?)?;
    let server = ServerRef::parse(ctx.arg(0)).ok_or_else(|| Error::not_found("project"))?;
    let task_ids = restart_all(ctx, server, ctx.arg(1), &input)?;
    Ok(Reply::json(&Started { task_ids })?.with_status(202))
}

/// Restarts each container of a compose project that is not gone. Error `NotFound`: there is none.
pub fn restart_all(ctx: &Ctx, server: ServerRef, project: &str, input: &acts::Act) -> Result<Vec<Id<Task>>> {
    let filter = queries::Filter {
        server: Some(server.0),
        project,
        limit: 500,
        ..Default::default()
    };
    let (all, _) = ctx.app.db.read(|conn| queries::list(conn, &filter))?;
    if all.is_empty() || project.is_empty() {
        return Err(Error::not_found("project"));
    }
    let by = ctx.allowed(Deploy, Containers)?;
    ctx.app.db.write(|tx| {
        let started = all
            .iter()
            .map(|c| acts::enqueue(ctx.app, tx, acts::RESTART, c, input, by));
        started.collect()
    })
}
