//! Pages: all services, one service with its charts and why it stopped, and the form.

mod marzban;

use super::acts;
use super::api;
use super::follow;
use super::kinds::{self, Column, KINDS, PROBES, Place};
use super::model::{self, POLICIES};
use super::observed::SERVICES as KIND;
use super::queries::{self, Filter, Service};
use super::verdict::{Figures, Health};
use crate::access::right::{Deploy, Edit, Read, Run, Services, may};
use crate::base::clock::Ms;
use crate::base::error::{Error, Kind, Result};
use crate::base::id::{self, Id};
use crate::feature::{Hit, Source};
use crate::features::fleet::servers;
use crate::features::workloads::logs::{self, LogView};
use crate::form::Input;
use crate::form::param::{self, Param};
use crate::http::card::{COUNTER, Card, Counter, Slot};
use crate::http::menu::{self, Badge, Entry};
use crate::http::page::{self, query};
use crate::http::reply::Reply;
use crate::http::request::Method::{Get, Post};
use crate::http::route::{Ctx, Panel, Route, route};
use crate::http::view::{Errors, Prepared};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// Page routes.
pub const ROUTES: &[Route] = &[
    route(Get, "/services", may(Read, Services), list).query(LIST),
    route(Post, "/services", may(Edit, Services), create),
    route(Get, "/services/new", may(Edit, Services), new).query(NEW),
    route(Get, "/service/{id}", may(Read, Services), by_number),
    route(Get, "/services/{name}", may(Read, Services), show).query(SHOW),
    route(Get, "/services/{name}/edit", may(Edit, Services), edit),
    route(Post, "/services/{name}", may(Edit, Services), change),
    route(Post, "/services/{name}/delete", may(Edit, Services), delete),
    route(Post, "/services/{name}/check", may(Run, Services), check),
    route(Get, "/marzban", may(Read, Services), marzban::list),
    route(Get, "/marzban/{name}", may(Read, Services), marzban::users).query(USERS),
    route(Post, "/marzban/{name}", may(Deploy, Services), marzban::change),
    route(Get, "/services/{name}/clear", may(Deploy, Services), ask_clear).refuses(&[409]),
    route(Post, "/services/{name}/clear", may(Deploy, Services), clear).refuses(&[409]),
    route(Post, "/services/{name}/start", may(Deploy, Services), |ctx| {
        act(ctx, acts::START)
    }),
    route(Post, "/services/{name}/stop", may(Deploy, Services), |ctx| {
        act(ctx, acts::STOP)
    }),
    route(Post, "/services/{name}/remove-unit", may(Deploy, Services), |ctx| {
        act(ctx, acts::REMOVE_UNIT)
    }),
    route(Post, "/services/{name}/restart", may(Deploy, Services), |ctx| {
        act(ctx, acts::RESTART)
    }),
];

const LIST: &[Param] = &[
    param::text("server_id", 20, "Only on this server."),
    param::text("kind", 20, "Only of this kind."),
    param::text("health", 20, "Only with this health."),
    param::text("q", 200, "Only what has this in name, notes, tags or settings."),
];
const NEW: &[Param] = &[
    param::text("kind", 20, "What it is."),
    param::text("server_id", 20, "Where it is."),
];
const SHOW: &[Param] = &param::joined::<{ logs::LINES.len() + 2 }>(&[
    logs::LINES,
    &[
        param::text("period", 10, "Of the charts."),
        param::text("at", 45, "The lines around this cursor."),
    ],
]);

const USERS: &[Param] = &[
    param::text("status", 20, "Only in this state."),
    param::text("search", 100, "Only with this in their names or notes."),
    param::text("offset", 10, "After so many."),
];

/// Services on the page: more are found by the search.
const SHOWN_MAX: i64 = 1_000;

/// Menu entry.
pub const MENU: &[Entry] = &[
    Entry {
        path: "/services",
        word: "services",
        icon: "service",
        keys: "g v",
        right: may(Read, Services),
        place: (1, 4),
        badge: |app| {
            let counts = app.db.read(api::counts)?;
            let (state, affected) = match (counts.unhealthy, counts.degraded) {
                (0, 0) => (menu::State::Up, 0),
                (0, n) => (menu::State::Degraded, n),
                (n, _) => (menu::State::Down, n),
            };
            Ok(Badge {
                count: Some(counts.total.unsigned_abs()),
                state,
                affected,
                ..Badge::default()
            })
        },
        ..Entry::NEW
    },
    Entry {
        path: "/marzban",
        word: "marzban",
        icon: "users",
        right: may(Read, Services),
        place: (1, 5),
        is_shown: |app| {
            let filter = Filter {
                kind: "marzban",
                ..Filter::default()
            };
            Ok(app.db.read(|conn| queries::list(conn, &filter))?.1 > 0)
        },
        ..Entry::NEW
    },
];

/// See [`Source`].
pub const SEARCH: &[Source] = &[Source {
    kind: "services",
    place: 4,
    right: may(Read, Services),
    list: Some("/services"),
    find: |ctx, q, limit| {
        let filter = Filter {
            q,
            limit,
            ..Filter::default()
        };
        let (rows, total) = ctx.app.db.read(|conn| queries::list(conn, &filter))?;
        let hit = |s: Service| Hit {
            detail: s.server_name,
            href: format!("/services/{}", s.fields.name),
            name: s.fields.name,
        };
        Ok((rows.into_iter().map(hit).collect(), total))
    },
}];

/// See [`Card`].
pub const CARDS: &[Card] = &[Card {
    name: "services",
    slot: Slot::Counters,
    place: 9,
    right: may(Read, Services),
    template: COUNTER,
    data: |on| {
        let counts = on.ctx.app.db.read(api::counts)?;
        if counts.total == 0 {
            return Ok(None);
        }
        Ok(Some(Prepared::of(Counter {
            href: "/services",
            value: Some(counts.total as f64),
            foot: Some(json!({ "healthy": counts.healthy + counts.degraded })),
            ..Counter::default()
        })))
    },
}];

/// A server's services on its page.
pub const PANELS: &[Panel] = &[Panel {
    on: "server",
    slot: "services",
    data: |ctx, id| {
        let filter = Filter {
            server: Some(id),
            limit: 12,
            ..Filter::default()
        };
        let (all, total) = ctx.app.db.read(|conn| queries::list(conn, &filter))?;
        if total == 0 {
            return Ok(Value::Null);
        }
        let mut figures = api::figures(ctx.app)?;
        let rows = all
            .iter()
            .map(|s| row(s, &figures.remove(&s.id.get()).unwrap_or_default()))
            .collect();
        serde_json::to_value(OfServer { rows, total }).map_err(Error::internal)
    },
}];

#[derive(Serialize)]
struct OfServer {
    rows: Vec<Row>,
    total: i64,
}

/// A service in a list.
#[derive(Serialize)]
struct Row {
    id: i64,
    name: String,
    kind: &'static str,
    server: String,
    server_id: Option<i64>,
    enabled: bool,
    tags: Vec<String>,
    /// What it is in a few words: a unit, an address.
    what: String,
    glyph: &'static str,
    state: &'static str,
    health: &'static str,
    code: String,
    say: String,
    since: Ms,
    acts: bool,
    policy: &'static str,
    restarts: i64,
    cpu: Option<f64>,
    mem: Option<u64>,
    latency: Option<f64>,
    checked_at: Option<Ms>,
    gave_up: bool,
}

fn glyph(s: &Service) -> &'static str {
    match (s.fields.enabled, s.now.health) {
        (false, _) => "unlit",
        (_, Health::Healthy) => "lit",
        (_, Health::Degraded) => "flick",
        (_, Health::Unhealthy) => "dark",
        (_, Health::Unknown) => "unlit",
    }
}

fn what(s: &Service) -> String {
    let config = &s.fields.config;
    let text = |name| kinds::text(config, name);
    match s.fields.kind.name {
        "unit" | "command" => text("unit").into(),
        "tmux" => text("session").into(),
        "http" => text("url").into(),
        "exec" => config
            .get("argv")
            .and_then(Value::as_array)
            .map(|words| words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "))
            .unwrap_or_default(),
        "heartbeat" => String::new(),
        "postgres" => text("database").into(),
        "marzban" => text("base_url").into(),
        _ => format!("{}:{}", text("host"), kinds::number(config, "port").unwrap_or_default()),
    }
}

fn row(s: &Service, figures: &Figures) -> Row {
    Row {
        id: s.id.get(),
        name: s.fields.name.clone(),
        kind: s.fields.kind.name,
        server: s.server_name.clone(),
        server_id: s.fields.server.map(Id::get),
        enabled: s.fields.enabled,
        tags: s.fields.tags.clone(),
        what: what(s),
        glyph: glyph(s),
        state: s.now.state,
        health: s.now.health.name(),
        code: s.now.code.clone(),
        say: s.now.say.clone(),
        since: s.now.since,
        acts: s.fields.kind.acts,
        policy: s.fields.restart_policy,
        restarts: s.now.restarts,
        cpu: figures.cpu,
        mem: figures.memory,
        latency: figures.latency_ms,
        checked_at: s.now.checked_at,
        gave_up: s.now.has_trouble(super::state::GAVE_UP),
    }
}

#[derive(Serialize)]
struct List {
    query: String,
    q: String,
    facets: Vec<(&'static str, bool, String, i64)>,
    rows: Vec<Row>,
    total: i64,
    /// Is the list narrowed?
    narrowed: bool,
}

fn list(ctx: &Ctx) -> Result<Reply> {
    let filter = api::filter(ctx, (SHOWN_MAX, 0))?;
    let ((all, total), counts) = ctx
        .app
        .db
        .read(|conn| Ok((queries::list(conn, &filter)?, queries::counts(conn)?)))?;
    let mut figures = api::figures(ctx.app)?;
    let param = |name: &str| ctx.request.param(name).unwrap_or_default();
    let at = |health: &str| {
        query(&[
            ("server_id", param("server_id")),
            ("kind", param("kind")),
            ("q", param("q")),
            ("health", health),
        ])
    };
    let facet = |health: &'static str, count| (health, health == filter.health, at(health), count);
    let facets = std::iter::once(facet("", counts.iter().sum())).chain(
        Health::ALL
            .iter()
            .map(|health| facet(health.name(), counts[*health as usize])),
    );
    let content = List {
        query: at(filter.health),
        q: filter.q.into(),
        facets: facets.collect(),
        rows: all
            .iter()
            .map(|s| row(s, &figures.remove(&s.id.get()).unwrap_or_default()))
            .collect(),
        total,
        narrowed: filter.server.is_some()
            || !(filter.kind.is_empty() && filter.health.is_empty() && filter.q.is_empty()),
    };
    page::show(ctx, "services/list.html", content)
}

fn by_number(ctx: &Ctx) -> Result<Reply> {
    let id: Id<id::Service> = ctx.id(0, "service")?;
    let found = ctx.app.db.read(|conn| queries::get(conn, id))?;
    let s = found.ok_or_else(|| Error::not_found("service"))?;
    Ok(Reply::see_other(format!("/services/{}", s.fields.name)))
}

#[derive(Serialize)]
struct Show {
    s: Row,
    notes: String,
    config: Vec<(String, String)>,
    interval_s: i64,
    up_after: i64,
    down_after: i64,
    max_restarts: i64,
    window_s: i64,
    delay_s: i64,
    after: Vec<String>,
    wanted: &'static str,
    period: &'static str,
    figures: Shown,
    /// Name, value, and the unit of its chart.
    custom: Vec<(String, f64, &'static str)>,
    tables: Vec<TableView>,
    /// Keys that begin with this may be removed.
    clear_prefix: Option<String>,
    ended: Option<Ended>,
    call_url: Option<String>,
    called_at: Option<Ms>,
    call: Option<queries::Call>,
    /// Of a command: its file.
    unit: Option<api::UnitFile>,
    /// Nothing: services of its kind say nothing.
    log: Option<LogView>,
    panels: Map<String, Value>,
}

/// The unit of a figure's chart, by the end of its name.
fn unit(name: &str) -> &'static str {
    match name.rsplit_once('_') {
        Some((_, "bytes")) => "B",
        Some((_, "percent")) => "%",
        _ => "",
    }
}

/// A table that the last look brought.
#[derive(Serialize)]
struct TableView {
    name: &'static str,
    columns: &'static [Column],
    rows: Vec<Vec<Value>>,
    /// It is of so many things only, of more.
    of_only: Option<i64>,
}

fn tables(s: &Service, figures: &Figures) -> Vec<TableView> {
    let view = |table: &'static kinds::Table| {
        let cells = |row: &kinds::Row| {
            let cell = |column: &Column| row.get(column.name).cloned().unwrap_or_default();
            table.columns.iter().map(cell).collect()
        };
        let found = figures.tables.get(table.name)?;
        let rows = found.iter().map(cells).collect();
        let first = found
            .first()
            .filter(|row| row.get("capped") == Some(&Value::Bool(true)));
        Some(TableView {
            of_only: first.and_then(|row| row.get("looked_at")?.as_i64()),
            name: table.name,
            columns: table.columns,
            rows,
        })
    };
    s.fields.kind.tables.iter().filter_map(view).collect()
}

#[derive(Serialize)]
struct Shown {
    pid: Option<i64>,
    uptime_s: Option<f64>,
    cpu: Option<f64>,
    memory: Option<u64>,
    memory_percent: Option<f64>,
    latency: Option<f64>,
}

#[derive(Serialize)]
struct Ended {
    at: Ms,
    say: String,
    result: String,
    by: String,
    lines: Vec<String>,
}

fn show(ctx: &Ctx) -> Result<Reply> {
    let s = api::service(ctx)?;
    let figures = api::figures_of(ctx.app, &s)?;
    let (period, ..) = api::chart(ctx, s.id.get())?;
    let after = ctx.app.db.read(|conn| {
        let found = s.fields.after.iter().map(|id| queries::get(conn, Id::new(*id)));
        Ok(found
            .collect::<Result<Vec<_>>>()?
            .into_iter()
            .flatten()
            .map(|s| s.fields.name)
            .collect())
    })?;
    let config = s.fields.config.iter().map(|(name, value)| {
        let shown = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        (name.clone(), shown)
    });
    let content = Show {
        notes: s.fields.notes.clone(),
        config: config.collect(),
        interval_s: s.fields.interval_s,
        up_after: s.fields.up_after,
        down_after: s.fields.down_after,
        max_restarts: s.fields.max_restarts,
        window_s: s.fields.window_s,
        delay_s: s.fields.delay_s,
        after,
        wanted: s.now.wanted,
        period,
        custom: figures
            .custom
            .iter()
            .map(|(name, value)| (name.clone(), *value, unit(name)))
            .collect(),
        tables: tables(&s, &figures),
        clear_prefix: api::prefix(&s).map(String::from),
        figures: Shown {
            pid: figures.pid,
            uptime_s: figures.uptime_s,
            cpu: figures.cpu,
            memory: figures.memory,
            memory_percent: figures.memory_percent,
            latency: figures.latency_ms,
        },
        ended: s.now.ended.as_ref().map(|end| Ended {
            at: end.at,
            say: end.say(),
            result: end.result.clone(),
            by: end.by.clone(),
            lines: end.lines.clone(),
        }),
        call_url: api::call_url(ctx, &s)?,
        called_at: s.now.called_at,
        call: s.now.call.clone(),
        unit: match s.fields.kind.name {
            "command" => Some(api::unit_file(ctx.app, &s)?),
            _ => None,
        },
        log: follow::speaker(&s).map(|one| LogView::of(ctx, one)).transpose()?,
        panels: ctx.panels(KIND.name, s.id.get())?,
        s: row(&s, &figures),
    };
    page::show(ctx, "services/show.html", content)
}

fn act(ctx: &Ctx, kind: &'static str) -> Result<Reply> {
    let task = api::start(ctx, kind, &api::service(ctx)?)?;
    Ok(Reply::see_other(format!("/tasks/{task}")))
}

fn check(ctx: &Ctx) -> Result<Reply> {
    let s = api::service(ctx)?;
    api::looked(ctx, &s)?;
    Ok(Reply::see_other(format!("/services/{}", s.fields.name)))
}

#[derive(Serialize)]
struct Clear {
    name: String,
    prefix: String,
    count: usize,
    /// Are these all? Then their number confirms, otherwise the prefix.
    complete: bool,
    /// Why they could not be counted.
    error: String,
}

/// Counts the keys that would be removed, and asks.
fn ask_clear(ctx: &Ctx) -> Result<Reply> {
    let s = api::service(ctx)?;
    let mut content = Clear {
        name: s.fields.name.clone(),
        prefix: api::prefix(&s).unwrap_or_default().into(),
        count: 0,
        complete: false,
        error: String::new(),
    };
    match api::counted(ctx, &s) {
        Ok((counted, _)) => (content.count, content.complete) = (counted.keys, counted.is_all),
        Err(e) if matches!(e.kind, Kind::Upstream | Kind::Timeout) => content.error = e.say,
        Err(e) => return Err(e),
    }
    page::show(ctx, "services/clear.html", content)
}

fn clear(ctx: &Ctx) -> Result<Reply> {
    let s = api::service(ctx)?;
    let form = ctx.request.form()?;
    let confirm = form
        .iter()
        .find(|(name, _)| name == "confirm")
        .map_or("", |(_, value)| value);
    let task = api::cleared(ctx, &s, confirm)?;
    Ok(Reply::see_other(format!("/tasks/{task}")))
}

fn delete(ctx: &Ctx) -> Result<Reply> {
    let (s, by) = (api::service(ctx)?, ctx.allowed(Edit, Services)?);
    ctx.app.db.write(|tx| super::delete(ctx.app, tx, s.id, by))?;
    Ok(Reply::see_other("/services"))
}

// ---- the form --------------------------------------------------------------------------------------------------------

/// A kind to choose.
#[derive(Serialize)]
struct KindView {
    name: &'static str,
    on: bool,
}

#[derive(Serialize)]
struct Form {
    /// Name of the service that is changed; empty: a new one.
    old: String,
    kind: &'static str,
    kinds: Vec<KindView>,
    fields: &'static [&'static str],
    has_password: bool,
    /// Is a password stored?
    keeps_password: bool,
    acts: bool,
    /// `server`: it must be on one; `anywhere`; `nowhere`.
    place: &'static str,
    servers: Vec<(i64, String)>,
    others: Vec<(i64, String, bool)>,
    policies: [&'static str; 3],
    probes: [&'static str; 2],
    /// As typed or stored, by name.
    typed: HashMap<String, String>,
    errors: Errors,
}

fn form(
    ctx: &Ctx,
    kind: &'static kinds::Kind,
    old: Option<&Service>,
    typed: HashMap<String, String>,
    after: &[i64],
    errors: Errors,
) -> Result<Reply> {
    let (all, servers) = ctx.app.db.read(|conn| Ok((queries::all(conn)?, servers::all(conn)?)))?;
    let others = all.into_iter().filter(|s| old.is_none_or(|old| old.id != s.id));
    let content = Form {
        old: old.map(|s| s.fields.name.clone()).unwrap_or_default(),
        kind: kind.name,
        kinds: KINDS
            .iter()
            .map(|one| KindView {
                name: one.name,
                on: one.name == kind.name,
            })
            .collect(),
        fields: kind.fields,
        has_password: kind.has_password,
        keeps_password: old.is_some_and(|s| s.has_password),
        acts: kind.acts,
        place: match kind.place {
            Place::Server => "server",
            Place::Anywhere => "anywhere",
            Place::Nowhere => "nowhere",
        },
        servers: servers.into_iter().map(|s| (s.id.get(), s.fields.name)).collect(),
        others: others
            .map(|s| (s.id.get(), s.fields.name, after.contains(&s.id.get())))
            .collect(),
        policies: POLICIES,
        probes: PROBES,
        typed,
        errors,
    };
    page::show(ctx, "services/form.html", content)
}

fn new(ctx: &Ctx) -> Result<Reply> {
    let kind = kinds::of(ctx.param("kind")).unwrap_or(&kinds::UNIT);
    let mut typed = stored(&model::Fields::new(kind));
    typed.insert("server_id".into(), ctx.param("server_id").into());
    form(ctx, kind, None, typed, &[], Errors::default())
}

fn edit(ctx: &Ctx) -> Result<Reply> {
    let s = api::service(ctx)?;
    form(
        ctx,
        s.fields.kind,
        Some(&s),
        stored(&s.fields),
        &s.fields.after,
        Errors::default(),
    )
}

/// The fields of a service as they stand in the form.
fn stored(f: &model::Fields) -> HashMap<String, String> {
    let mut out: HashMap<String, String> = HashMap::new();
    let mut put = |name: &str, value: String| drop(out.insert(name.into(), value));
    put("name", f.name.clone());
    put("server_id", f.server.map(|id| id.to_string()).unwrap_or_default());
    put("enabled", if f.enabled { "on" } else { "" }.into());
    put("tags", f.tags.join(", "));
    put("notes", f.notes.clone());
    for (name, number) in [
        ("interval_s", f.interval_s),
        ("up_after", f.up_after),
        ("down_after", f.down_after),
        ("max_restarts", f.max_restarts),
        ("window_s", f.window_s),
        ("delay_s", f.delay_s),
    ] {
        put(name, number.to_string());
    }
    put("restart_policy", f.restart_policy.into());
    for (name, value) in &f.config {
        match (name.as_str(), value) {
            ("probe", Value::Object(probe)) => {
                for (name, value) in probe {
                    put(&format!("probe_{name}"), plain(value));
                }
            }
            ("json", Value::Array(conditions)) => {
                let line = |c: &Value| {
                    let word = |key: &str| c[key].as_str().unwrap_or_default().to_string();
                    format!("{} {} {}", word("path"), word("op"), c["value"])
                };
                put("json", conditions.iter().map(line).collect::<Vec<_>>().join("\n"));
            }
            ("argv", Value::Array(words)) => put("argv", words.iter().map(plain).collect::<Vec<_>>().join("\n")),
            ("environment", Value::Object(all)) => {
                let lines = all.iter().map(|(name, value)| format!("{name}={}", plain(value)));
                put("environment", lines.collect::<Vec<_>>().join("\n"));
            }
            (name, value) => put(name, plain(value)),
        }
    }
    out
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "on".into(),
        Value::Bool(false) | Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// The form as API input for a service of this kind.
fn draft(kind: &kinds::Kind, typed: &HashMap<String, String>, after: &[String], password: Option<&str>) -> Input {
    let text = |name: &str| typed.get(name).map_or("", |value| value.trim()).to_string();
    let lines = |name: &str| -> Vec<String> {
        let text = text(name);
        text.lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(String::from)
            .collect()
    };
    let mut out = Map::new();
    let mut put = |name: &str, value: Value| drop(out.insert(name.into(), value));
    put("name", text("name").into());
    put("kind", kind.name.into());
    if kind.place != Place::Nowhere {
        put("server_id", text("server_id").into());
    }
    put("enabled", (text("enabled") == "on").into());
    let tags: Vec<String> = text("tags")
        .split(',')
        .map(str::trim)
        .filter(|tag| !tag.is_empty())
        .map(String::from)
        .collect();
    put("tags", tags.into());
    put("notes", text("notes").into());
    for name in ["interval_s", "up_after", "down_after"] {
        put(name, text(name).into());
    }
    if kind.acts {
        for name in ["restart_policy", "max_restarts", "window_s", "delay_s"] {
            put(name, text(name).into());
        }
        put("after", after.to_vec().into());
    }
    for name in kind.fields {
        match *name {
            "argv" => put(name, lines(name).into()),
            "environment" => put(name, variables(&lines(name))),
            "json" => put(name, lines(name).iter().map(|line| condition(line)).collect()),
            "tls" | "user_unit" => put(name, (text(name) == "on").into()),
            "probe" => put(name, probe(&text)),
            name => put(name, text(name).into()),
        }
    }
    if let Some(password) = password.filter(|password| !password.is_empty()) {
        put("password", password.into());
    }
    Input::of(model::PARAMS, out)
}

/// Lines `NAME=value`; one without `=` is a name that is refused.
fn variables(lines: &[String]) -> Value {
    let pairs = lines.iter().map(|line| match line.split_once('=') {
        Some((name, value)) => (name.trim().to_string(), Value::from(value)),
        None => (line.clone(), Value::Null),
    });
    pairs.collect::<Map<_, _>>().into()
}

/// `status == "ok"`: path, comparison, value; a word that is no JSON is a text.
fn condition(line: &str) -> Value {
    let mut words = line.splitn(3, char::is_whitespace);
    let (path, op) = (words.next().unwrap_or_default(), words.next().unwrap_or("exists"));
    let value: Option<Value> = words
        .next()
        .map(|text| serde_json::from_str(text).unwrap_or_else(|_| text.into()));
    json!({ "path": path, "op": op, "value": value })
}

fn probe(text: &dyn Fn(&str) -> String) -> Value {
    let kind = text("probe_kind");
    let Some(row) = kinds::of(&kind).filter(|row| PROBES.contains(&row.name)) else {
        return Value::Null;
    };
    let mut out = Map::new();
    out.insert("kind".into(), row.name.into());
    for name in row.fields {
        let value = text(&format!("probe_{name}"));
        if !value.is_empty() && *name != "json" {
            out.insert((*name).into(), value.into());
        }
    }
    out.into()
}

/// Pairs of a form: those of text by name, the chosen others, the password.
type Typed = (HashMap<String, String>, Vec<String>, Option<String>);

fn typed(ctx: &Ctx) -> Result<Typed> {
    let (mut fields, mut after, mut password) = (HashMap::new(), Vec::new(), None);
    for (name, value) in ctx.request.form()? {
        match name.as_str() {
            "after" => after.push(value),
            "password" => password = Some(value), // no form brings a secret back
            _ => drop(fields.insert(name, value.replace('\r', ""))),
        }
    }
    Ok((fields, after, password))
}

fn refused(
    ctx: &Ctx,
    kind: &'static kinds::Kind,
    old: Option<&Service>,
    (fields, after, _): Typed,
    e: Error,
) -> Result<Reply> {
    if e.fields.is_empty() || !matches!(e.kind, Kind::Invalid | Kind::Conflict) {
        return Err(e);
    }
    let after: Vec<i64> = after.iter().filter_map(|id| id.parse().ok()).collect();
    Ok(form(ctx, kind, old, fields, &after, Errors::of(&e))?.with_status(422))
}

fn create(ctx: &Ctx) -> Result<Reply> {
    let typed = typed(ctx)?;
    let kind = typed
        .0
        .get("kind")
        .and_then(|name| kinds::of(name))
        .unwrap_or(&kinds::UNIT);
    let input = draft(kind, &typed.0, &typed.1, typed.2.as_deref());
    let by = ctx.allowed(Edit, Services)?;
    let made = ctx.app.db.write(|tx| {
        let id = super::create(ctx.app, tx, input, by)?;
        queries::get(tx, id)?.ok_or_else(|| Error::not_found("service"))
    });
    match made {
        Ok(s) => Ok(Reply::see_other(format!("/services/{}", s.fields.name))),
        Err(e) => refused(ctx, kind, None, typed, e),
    }
}

fn change(ctx: &Ctx) -> Result<Reply> {
    let s = api::service(ctx)?;
    let typed = typed(ctx)?;
    let input = draft(s.fields.kind, &typed.0, &typed.1, typed.2.as_deref());
    let by = ctx.allowed(Edit, Services)?;
    let made = ctx.app.db.write(|tx| {
        super::update(ctx.app, tx, s.id, input, by)?;
        queries::get(tx, s.id)?.ok_or_else(|| Error::not_found("service"))
    });
    match made {
        Ok(s) => Ok(Reply::see_other(format!("/services/{}", s.fields.name))),
        Err(e) => refused(ctx, s.fields.kind, Some(&s), typed, e),
    }
}
