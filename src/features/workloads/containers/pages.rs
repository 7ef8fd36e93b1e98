//! Pages: all containers by server and project, one container with its log.

use super::observed::CONTAINERS as KIND;
use super::queries::{self, Container, EngineRow, Filter};
use super::{acts, api, tasks};
use crate::access::right::{Containers, Deploy, Read, may};
use crate::base::clock::Ms;
use crate::base::error::{Error, Result};
use crate::base::id::Id;
use crate::features::workloads::logs::{self, LOCAL, LogView};
use crate::form::param::{self, Param};
use crate::http::card::{COUNTER, Card, Counter, Slot};
use crate::http::menu::{self, Badge, Entry};
use crate::http::page::{self, query};
use crate::http::reply::Reply;
use crate::http::request::Method::{Get, Post};
use crate::http::route::{Ctx, Panel, Route, route};
use crate::http::view::Prepared;
use serde::Serialize;

/// Page routes.
pub const ROUTES: &[Route] = &[
    route(Get, "/containers", may(Read, Containers), list).query(LIST),
    route(Get, "/containers/{id}", may(Read, Containers), show).query(SHOW),
    route(Post, "/containers/{id}/start", may(Deploy, Containers), |ctx| {
        act(ctx, acts::START)
    })
    .takes(tasks::ACT),
    route(Post, "/containers/{id}/stop", may(Deploy, Containers), |ctx| {
        act(ctx, acts::STOP)
    })
    .takes(tasks::ACT),
    route(Post, "/containers/{id}/restart", may(Deploy, Containers), |ctx| {
        act(ctx, acts::RESTART)
    })
    .takes(tasks::ACT),
    route(Post, "/containers/{id}/option", may(Deploy, Containers), option).takes(api::CHANGE),
    route(
        Post,
        "/container-projects/{server_id}/{project}/restart",
        may(Deploy, Containers),
        |ctx| {
            let input = acts::Act::read(ctx.input()?)?;
            let server = logs::ServerRef::parse(ctx.arg(0)).ok_or_else(|| Error::not_found("project"))?;
            api::restart_all(ctx, server, ctx.arg(1), &input)?;
            Ok(Reply::see_other("/tasks"))
        },
    )
    .takes(tasks::ACT),
];

const LIST: &[Param] = &[
    param::text("server_id", 20, "Only of this server."),
    param::text("state", 20, "Only in this state."),
    param::text("project", 128, "Only of this project."),
    param::text("q", 200, "Only what has this in name, image or project."),
];

const SHOW: &[Param] = &param::joined::<10>(&[
    logs::LINES,
    &[
        param::text("period", 10, "Of the charts."),
        param::text("at", 45, "The lines around this cursor."),
    ],
]);

/// Containers on the page: more are found by the search.
const SHOWN_MAX: i64 = 1_000;

/// Menu entry.
pub const MENU: &[Entry] = &[Entry {
    path: "/containers",
    also: &["/log-search"],
    word: "containers",
    icon: "box",
    keys: "g c",
    right: may(Read, Containers),
    place: (1, 3),
    badge: |app| {
        let (total, _, bad) = app.db.read(queries::counts)?;
        Ok(Badge {
            count: Some(total.unsigned_abs()),
            state: if bad > 0 {
                menu::State::Degraded
            } else {
                menu::State::Up
            },
            affected: bad,
            ..Badge::default()
        })
    },
    ..Entry::NEW
}];

/// See [`Card`].
pub const CARDS: &[Card] = &[Card {
    name: "containers",
    slot: Slot::Counters,
    place: 8,
    right: may(Read, Containers),
    template: COUNTER,
    data: |on| {
        let (total, running, _) = on.ctx.app.db.read(queries::counts)?;
        if total == 0 {
            return Ok(None);
        }
        Ok(Some(Prepared::of(Counter {
            href: "/containers",
            value: Some(total as f64),
            foot: Some(serde_json::json!({ "running": running })),
            ..Counter::default()
        })))
    },
}];

/// A server's containers on its page.
pub const PANELS: &[Panel] = &[Panel {
    on: "server",
    slot: "containers",
    data: |ctx, id| {
        let filter = Filter {
            server: Some(Some(Id::new(id))),
            limit: 12,
            ..Filter::default()
        };
        let ((all, total), engines) = ctx
            .app
            .db
            .read(|conn| Ok((queries::list(conn, &filter)?, queries::engines(conn)?)))?;
        let engine = engines.into_iter().find(|row| row.server == Some(Id::new(id)));
        if total == 0 && engine.is_none() {
            return Ok(serde_json::Value::Null);
        }
        let usages = api::usages(ctx)?;
        let rows = all.iter().map(|one| row(one, usages.get(&one.id))).collect();
        serde_json::to_value(OfServer {
            rows,
            total,
            engine: engine.map(engine_view),
        })
        .map_err(Error::internal)
    },
}];

#[derive(Serialize)]
struct OfServer {
    rows: Vec<Row>,
    total: i64,
    engine: Option<EngineView>,
}

/// A container in a list.
#[derive(Serialize)]
struct Row {
    id: i64,
    name: String,
    server: String,
    server_id: Option<i64>,
    project: String,
    image: String,
    glyph: &'static str,
    state: String,
    health: String,
    troubles: Vec<String>,
    exit_code: Option<i64>,
    cpu: Option<f64>,
    mem: Option<f64>,
    mem_used: Option<u64>,
    restarts: i64,
    since: Ms,
}

fn row(c: &Container, usage: Option<&super::stats::Usage>) -> Row {
    let usage = usage.copied().unwrap_or_default();
    Row {
        id: c.id,
        name: c.name.clone(),
        server: c.server_name.clone(),
        server_id: c.server.map(Id::get),
        project: c.project.clone(),
        image: c.image.clone(),
        glyph: glyph(c),
        state: c.state.clone(),
        health: c.health.clone(),
        troubles: c.troubles.clone(),
        exit_code: c.exit_code.filter(|_| c.state == "exited"),
        cpu: usage.cpu,
        mem: usage.memory,
        mem_used: usage.memory_used,
        restarts: c.restarts,
        since: c.since,
    }
}

/// The server of a container in addresses.
fn server_ref(c: &Container) -> String {
    c.server.map_or(LOCAL.to_string(), |id| id.to_string())
}

fn glyph(c: &Container) -> &'static str {
    match c.state.as_str() {
        _ if c.troubles.iter().any(|kind| kind == super::state::DIED) => "dark",
        _ if !c.troubles.is_empty() => "flick",
        "running" if c.health != "unhealthy" => "lit",
        "running" => "flick",
        _ => "unlit",
    }
}

/// An engine above a list.
#[derive(Serialize)]
struct EngineView {
    server: String,
    engine: String,
    version: String,
    state: String,
    code: String,
    say: String,
}

fn engine_view(row: EngineRow) -> EngineView {
    EngineView {
        server: row.server_name,
        engine: row.engine,
        version: row.version,
        state: row.state,
        code: row.code,
        say: row.say,
    }
}

/// Containers of one project of one server.
#[derive(Serialize)]
struct Group {
    server: String,
    server_id: Option<i64>,
    /// Server in addresses.
    server_ref: String,
    project: String,
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct List {
    query: String,
    q: String,
    states: Vec<(&'static str, bool, String)>,
    engines: Vec<EngineView>,
    groups: Vec<Group>,
    total: i64,
    shown: usize,
    log_bytes: i64,
}

/// States that a list can be narrowed to; empty: all but the removed ones.
const FACETS: [&str; 4] = ["", "running", "exited", "gone"];

fn list(ctx: &Ctx) -> Result<Reply> {
    let filter = api::filter(ctx, (SHOWN_MAX, 0))?;
    let ((all, total), engines) = ctx
        .app
        .db
        .read(|conn| Ok((queries::list(conn, &filter)?, queries::engines(conn)?)))?;
    let usages = api::usages(ctx)?;
    let mut groups: Vec<Group> = Vec::new();
    for one in &all {
        let server_id = one.server.map(Id::get);
        let is_same = |group: &Group| group.server_id == server_id && group.project == one.project;
        if !groups.last().is_some_and(is_same) {
            groups.push(Group {
                server: one.server_name.clone(),
                server_id,
                server_ref: server_ref(one),
                project: one.project.clone(),
                rows: Vec::new(),
            });
        }
        if let Some(group) = groups.last_mut() {
            group.rows.push(row(one, usages.get(&one.id)));
        }
    }
    let param = |name: &str| ctx.request.param(name).unwrap_or_default();
    let at = |state: &str| {
        query(&[
            ("server_id", param("server_id")),
            ("project", param("project")),
            ("q", param("q")),
            ("state", state),
        ])
    };
    page::show(
        ctx,
        "containers/list.html",
        List {
            query: at(filter.state),
            q: filter.q.into(),
            states: FACETS.map(|state| (state, state == filter.state, at(state))).into(),
            engines: engines.into_iter().map(engine_view).collect(),
            shown: all.len(),
            groups,
            total,
            log_bytes: ctx.app.journal.usage().bytes,
        },
    )
}

/// Something that happened, in the list beside the log.
#[derive(Serialize)]
struct EventView {
    at: Ms,
    kind: String,
    glyph: &'static str,
}

#[derive(Serialize)]
struct Show {
    c: Row,
    /// Server in addresses of the API.
    server_ref: String,
    life: String,
    service: String,
    usage: Used,
    period: String,
    #[serde(flatten)]
    log: LogView,
    /// What the container's page says of restarts.
    restart_unhealthy: String,
    restart_label: bool,
    /// Server and name.
    full_name: String,
    events: Vec<EventView>,
    panels: serde_json::Map<String, serde_json::Value>,
}

#[derive(Serialize)]
struct Used {
    pids: Option<u64>,
    mem_limit: Option<u64>,
}

/// Events beside a log.
const EVENTS_SHOWN: i64 = 60;

fn container(ctx: &Ctx) -> Result<Container> {
    let id: Id<KindOfContainer> = ctx.id(0, "container")?;
    let found = ctx.app.db.read(|conn| queries::get(conn, id.get()))?;
    found.ok_or_else(|| Error::not_found("container"))
}

/// Marker of containers.
enum KindOfContainer {}

fn show(ctx: &Ctx) -> Result<Reply> {
    let c = container(ctx)?;
    let usages = api::usages(ctx)?;
    let usage = usages.get(&c.id).copied().unwrap_or_default();
    let events = ctx.app.db.read(|conn| queries::events(conn, c.id, EVENTS_SHOWN))?;
    let events = events.into_iter().map(|(_, at, kind, _)| EventView {
        at,
        glyph: if kinds_alert(&kind) { "dark" } else { "lit" },
        kind,
    });
    let server_ref = server_ref(&c);
    let content = Show {
        server_ref: server_ref.clone(),
        life: c.life.chars().take(12).collect(),
        service: c.service.clone(),
        usage: Used {
            pids: usage.pids,
            mem_limit: usage.memory_limit,
        },
        period: match ctx.param("period") {
            "" => "1h".into(),
            period => period.into(),
        },
        log: LogView::of(ctx, c.speaker())?,
        restart_unhealthy: c.restart_unhealthy.clone(),
        restart_label: c.restart_label,
        full_name: c.full_name(),
        events: events.collect(),
        panels: ctx.panels(KIND.name, c.id)?,
        c: row(&c, Some(&usage)),
    };
    page::show(ctx, "containers/show.html", content)
}

fn kinds_alert(kind: &str) -> bool {
    crate::kinds::alert(kind).is_some()
}

fn act(ctx: &Ctx, kind: &'static str) -> Result<Reply> {
    let input = acts::Act::read(ctx.input()?)?;
    let task = api::start(ctx, kind, &container(ctx)?, &input)?;
    Ok(Reply::see_other(format!("/tasks/{task}")))
}

fn option(ctx: &Ctx) -> Result<Reply> {
    let c = container(ctx)?;
    api::set_restart(ctx, &c, ctx.input()?)?;
    Ok(Reply::see_other(format!("/containers/{}", c.id)))
}
