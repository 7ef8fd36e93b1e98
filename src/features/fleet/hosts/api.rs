//! The hosts' JSON API: `/api/servers` under the names of inventories.

use super::check::{self, Seen, Status, Target};
use super::facts::changes;
use super::{Row, queries};
use crate::access::right::{Edit, Read, Run, Servers, may};
use crate::app::App;
use crate::base::clock::{self, rfc3339};
use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::base::shape::{Stored, described};
use crate::features::fleet::servers::{self, CHECK_METHODS, Fields, Filter, Server};
use crate::form::Input;
use crate::form::param::{self, Param};
use crate::http::reply::{List, Reply};
use crate::http::request::Method::{Delete, Get, Patch, Post, Put};
use crate::http::route::{Ctx, LIMIT, OFFSET, Q, Route, route};
use std::collections::BTreeMap;

/// Routes of the JSON API.
pub const ROUTES: &[Route] = &[
    route(Get, "/api/hosts", may(Read, Servers), list)
        .query(LIST)
        .gives::<List<View>>(),
    route(Post, "/api/hosts", may(Edit, Servers), create)
        .takes(&PARAMS)
        .creates::<View>(),
    route(Get, "/api/hosts/{id}", may(Read, Servers), show).gives::<View>(),
    route(Put, "/api/hosts/{id}", may(Edit, Servers), replace)
        .takes(&PARAMS)
        .gives::<View>(),
    route(Patch, "/api/hosts/{id}", may(Edit, Servers), change)
        .takes(&PARAMS)
        .gives::<View>(),
    route(Delete, "/api/hosts/{id}", may(Edit, Servers), servers::remove)
        .query(servers::REMOVAL)
        .gives_nothing(),
    route(Post, "/api/hosts/{id}/status-check", may(Run, Servers), status_check)
        .takes(&[])
        .gives::<Looked>()
        .asks_others(),
    route(Get, "/api/hosts/{id}/checks", may(Read, Servers), history)
        .query(&[LIMIT, OFFSET])
        .gives::<List<RunView>>(),
    route(Get, "/api/hosts/{id}/facts", may(Read, Servers), facts)
        .query(&[LIMIT, OFFSET])
        .gives::<List<FactsView>>(),
];

const LIST: &[Param] = &[
    LIMIT,
    OFFSET,
    Q,
    param::text("tag", 64, "Only with this tag."),
    param::text("environment", 64, "Only of this environment."),
];

const NAMES: &[Param] = &[
    param::text("hostname", 4_096, "Another word for `host`.").alias_of("host"),
    param::number("port", 1..=65535, "Another word for `ssh_port`.").alias_of("ssh_port"),
];

static PARAMS: [Param; servers::PARAMS.len() + NAMES.len()] = param::joined(&[servers::PARAMS, NAMES]);

described! {
    /// A server as a host. What it has of its own beside this stands in `/api/servers/{id}`.
    struct View<'a> {
        id: Id<id::Server>,
        name: &'a str,
        hostname: &'a str,
        port: u16,
        username: &'a str,
        auth_type: &'static str,
        has_password: bool,
        has_ssh_key: bool,
        os_type: &'a str,
        environment: &'a str,
        tags: &'a [String],
        description: &'a str,
        /// By its own look, apart from the lamp.
        status: Status,
        /// Since when it is so.
        status_since: Option<String>,
        last_check: Option<String>,
        check_method: &'static str,
        /// Of the last look.
        latency_ms: Option<f64>,
        /// Why it is not up.
        error: Option<&'a str>,
        facts_snapshot: Option<Stored<'a, BTreeMap<String, String>>>,
        facts_at: Option<String>,
        created_at: String,
        updated_at: String,
    }
}

fn view<'a>(s: &'a Server, now: Option<&'a Row>) -> View<'a> {
    let f: &Fields = &s.fields;
    View {
        id: s.id,
        name: &f.name,
        hostname: &f.host,
        port: f.ssh_port,
        username: &f.username,
        auth_type: f.auth_type.name(),
        has_password: s.has.password,
        has_ssh_key: s.has.ssh_key,
        os_type: &f.os_type,
        environment: &f.environment,
        tags: &f.tags,
        description: &f.description,
        status: now.map_or(Status::Unknown, |row| row.seen.status),
        status_since: now.map(|row| rfc3339(row.first_at)),
        last_check: now.map(|row| rfc3339(row.last_at)),
        check_method: f.check_method,
        latency_ms: now.and_then(|row| row.seen.latency_ms),
        error: now.map(|row| row.seen.say.as_str()).filter(|say| !say.is_empty()),
        facts_snapshot: Stored::parse(&s.facts),
        facts_at: s.facts_at.map(rfc3339),
        created_at: rfc3339(s.created_at),
        updated_at: rfc3339(s.updated_at),
    }
}

fn list(ctx: &Ctx) -> Result<Reply> {
    let (limit, offset) = ctx.page()?;
    let filter = Filter {
        q: ctx.param("q"),
        tag: ctx.param("tag"),
        environment: ctx.param("environment"),
        limit,
        offset,
        ..Filter::default()
    };
    let (rows, total) = ctx.app.db.read(|conn| {
        let (servers, total) = servers::list(conn, &filter)?;
        let rows = servers.into_iter().map(|server| {
            let now = queries::newest(conn, server.id)?;
            Ok((server, now))
        });
        Ok((rows.collect::<Result<Vec<_>>>()?, total))
    })?;
    let items: Vec<_> = rows.iter().map(|(server, now)| view(server, now.as_ref())).collect();
    Reply::json(&List { items, total })
}

fn show(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "server")?;
    show_host(ctx.app, &ctx.app.db.read(|conn| servers::get(conn, id))?)
}

fn show_host(app: &App, server: &Server) -> Result<Reply> {
    let now = app.db.read(|conn| queries::newest(conn, server.id))?;
    Reply::json(&view(server, now.as_ref()))
}

/// The body under the servers' names.
fn input(ctx: &Ctx) -> Result<Input> {
    let mut input = ctx.input()?;
    input.known_as("hostname", "host");
    input.known_as("port", "ssh_port");
    Ok(input)
}

fn create(ctx: &Ctx) -> Result<Reply> {
    let server = servers::add(ctx.app, input(ctx)?, ctx.allowed(Edit, Servers)?)?;
    Ok(show_host(ctx.app, &server)?
        .with_status(201)
        .header("Location", format!("/api/hosts/{}", server.id)))
}

fn change(ctx: &Ctx) -> Result<Reply> {
    edit(ctx, |server| server.fields.clone())
}

/// `PUT` replaces what a host shows; missing fields get their defaults. What only `/api/servers` shows stays.
fn replace(ctx: &Ctx) -> Result<Reply> {
    edit(ctx, |server| Fields {
        ssh_port: Fields::default().ssh_port,
        tags: Vec::new(),
        description: String::new(),
        environment: String::new(),
        os_type: String::new(),
        check_method: CHECK_METHODS[0],
        ..server.fields.clone()
    })
}

fn edit(ctx: &Ctx, base: impl Fn(&Server) -> Fields) -> Result<Reply> {
    let id = ctx.id(0, "server")?;
    let server = servers::save(ctx.app, id, input(ctx)?, base, ctx.allowed(Edit, Servers)?)?;
    show_host(ctx.app, &server)
}

described! {
    /// What a look has found.
    struct Looked<'a> {
        status: Status,
        /// The host's own; `tcp` for one that is not looked at by itself.
        method: &'static str,
        /// From the look-up of its name to the answer.
        latency_ms: Option<f64>,
        /// Why it is not up.
        error: Option<&'a str>,
    }
}

fn status_check(ctx: &Ctx) -> Result<Reply> {
    ctx.input()?.finish(&[])?;
    let id = ctx.id(0, "server")?;
    let server = ctx.app.db.read(|conn| servers::get(conn, id))?;
    let target = Target {
        id: server.id.get(),
        method: match server.fields.check_method {
            "none" => "tcp",
            method => method,
        },
        host: server.fields.host,
        port: server.fields.ssh_port,
    };
    let seen: Seen = ctx.outbound(move |app| {
        let seen = check::look(&target);
        app.db.write(|tx| queries::keep(tx, &target, &seen, clock::now()))?;
        Ok(seen)
    })?;
    Reply::json(&Looked {
        status: seen.status,
        method: seen.method,
        latency_ms: seen.latency_ms,
        error: Some(seen.say.as_str()).filter(|say| !say.is_empty()),
    })
}

described! {
    /// Equal results in a row.
    struct RunView<'a> {
        first_at: String,
        last_at: String,
        /// How often in a row.
        count: i64,
        status: Status,
        method: &'static str,
        /// Why it was not up; empty when it was.
        code: &'a str,
        /// The same as a sentence.
        message: &'a str,
        latency_ms: Option<f64>,
        latency_min_ms: Option<f64>,
        latency_max_ms: Option<f64>,
    }
}

fn history(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "server")?;
    let (limit, offset) = ctx.page()?;
    let (rows, total) = ctx.app.db.read(|conn| {
        servers::get(conn, id)?;
        queries::list(conn, id, limit, offset)
    })?;
    let items = rows.iter().map(|row| RunView {
        first_at: rfc3339(row.first_at),
        last_at: rfc3339(row.last_at),
        count: row.count,
        status: row.seen.status,
        method: row.seen.method,
        code: &row.seen.code,
        message: &row.seen.say,
        latency_ms: row.seen.latency_ms,
        latency_min_ms: row.range.map(|(min, _)| min),
        latency_max_ms: row.range.map(|(_, max)| max),
    });
    Reply::json(&List {
        items: items.collect::<Vec<_>>(),
        total,
    })
}

described! {
    /// Equal facts in a row.
    struct FactsView<'a> {
        first_at: String,
        last_at: String,
        /// How often in a row.
        count: i64,
        facts: &'a BTreeMap<String, String>,
        /// What differs from the snapshot before; empty for the first.
        changes: Vec<ChangeView>,
    }

    /// A fact that came, went or is another.
    struct ChangeView {
        fact: String,
        /// Nothing: it came.
        before: Option<String>,
        /// Nothing: it went.
        after: Option<String>,
    }
}

/// Snapshots, the newest first. One more is read, so that the last one shown knows the one before it.
fn facts(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "server")?;
    let (limit, offset) = ctx.page()?;
    let (rows, total) = ctx.app.db.read(|conn| {
        servers::get(conn, id)?;
        queries::facts(conn, id, limit + 1, offset)
    })?;
    let items = rows.iter().enumerate().take(limit as usize).map(|(n, row)| FactsView {
        first_at: rfc3339(row.first_at),
        last_at: rfc3339(row.last_at),
        count: row.count,
        facts: &row.facts,
        changes: (rows.get(n + 1).into_iter())
            .flat_map(|before| changes(&before.facts, &row.facts))
            .map(|change| ChangeView {
                fact: change.fact,
                before: change.before,
                after: change.after,
            })
            .collect(),
    });
    Reply::json(&List {
        items: items.collect::<Vec<_>>(),
        total,
    })
}
