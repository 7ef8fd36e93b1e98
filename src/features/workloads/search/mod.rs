//! One search over all lines that are kept: of containers and of services, read as one stream in the order of time.

use super::containers;
use super::logs::{self, Asked, Choice, LOCAL, Live, Narrowed, Of, OfLine, ServerRef, Shown, Speaker};
use super::services;
use crate::access::right::{Containers, Read, Services, may};
use crate::base::error::{Error, Field, Result};
use crate::db::Conn;
use crate::feature::Feature;
use crate::form::param::{self, Param};
use crate::http::page;
use crate::http::reply::{Reply, TEXT};
use crate::http::request::Method::Get;
use crate::http::route::{Ctx, Route, route};
use crate::series::Subject;
use serde::Serialize;
use std::collections::HashMap;

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: ROUTES,
    pages: PAGES,
    ..Feature::named("log_search")
};

/// Routes of the JSON API.
const ROUTES: &[Route] = &[
    route(Get, "/api/log-search", may(Read, Containers), found)
        .query(SEARCH)
        .gives::<logs::Found>(),
    route(Get, "/api/log-search/log.txt", may(Read, Containers), |ctx| {
        logs::download_all(ctx, chosen(ctx)?)
    })
    .query(SEARCH)
    .gives_bytes(TEXT),
    route(Get, "/api/log-search/stream", may(Read, Containers), |ctx| {
        ctx.stream(Live::new(ctx, Wanted::read(ctx)?.choice())?)
    })
    .query(SEARCH_LIVE)
    .streams(logs::EVENTS),
];

/// Page routes.
const PAGES: &[Route] = &[route(Get, "/log-search", may(Read, Containers), search).query(SEARCH)];

const SEARCH: &[Param] = &param::joined::<{ logs::LINES.len() + OF.len() }>(&[logs::LINES, OF]);
const SEARCH_LIVE: &[Param] = &param::joined::<{ logs::LIVE.len() + OF.len() }>(&[logs::LIVE, OF]);

const OF: &[Param] = &[
    param::text("server_id", 20, "Only of this server: its number, or `local`."),
    param::text("project", 128, "Only of this compose project."),
    param::text(
        "containers",
        8_192,
        "Only of these, separated by commas: `NAME`, `SERVER/NAME` or `SERVER_ID/NAME`, with `*`.",
    ),
    param::text("services", 8_192, "Only of these services, likewise."),
];

/// Whose lines a request is about.
struct Wanted {
    server: Option<Of>,
    project: String,
    containers: Option<Vec<String>>,
    services: Option<Vec<String>>,
}

impl Wanted {
    /// Nothing said means both; one of both means no others.
    fn read(ctx: &Ctx) -> Result<Wanted> {
        let server = match ctx.param("server_id") {
            "" => None,
            text => {
                let wrong = || {
                    Error::invalid(vec![Field {
                        field: "server_id",
                        code: "bad_text",
                        message: "server_id is a server's number, or local.".into(),
                    }])
                };
                Some(ServerRef::parse(text).ok_or_else(wrong)?.0)
            }
        };
        let names = |param: &str| -> Vec<String> {
            let words = ctx.param(param).split([',', ' ']);
            words.filter(|name| !name.is_empty()).map(String::from).collect()
        };
        let (project, containers, services) =
            (ctx.param("project").to_string(), names("containers"), names("services"));
        let of_containers = !(containers.is_empty() && project.is_empty());
        let may_services = ctx.allowed(Read, Services).is_ok();
        Ok(Wanted {
            containers: (of_containers || services.is_empty()).then_some(containers),
            services: (may_services && !(of_containers && services.is_empty())).then_some(services),
            server,
            project,
        })
    }

    fn find(&self, conn: &Conn) -> Result<Vec<Speaker>> {
        let is_named = |one: &Speaker, names: &[String]| {
            let address = one.server.map(|id| format!("{id}/{}", one.name));
            let called = [Some(one.name.clone()), Some(one.full_name()), address];
            let fits = |name: &String| called.iter().flatten().any(|called| containers::matches(name, called));
            names.is_empty() || names.iter().any(fits)
        };
        let mut all = Vec::new();
        if let Some(names) = &self.containers {
            let found = containers::speakers(conn, self.server, &self.project)?;
            all.extend(found.into_iter().filter(|one| is_named(one, names)));
        }
        if let Some(names) = &self.services {
            let found = services::speakers(conn)?.into_iter();
            let here = found.filter(|one| self.server.is_none_or(|server| server == one.server));
            all.extend(here.filter(|one| is_named(one, names)));
        }
        Ok(all)
    }

    fn choice(self) -> Choice {
        Box::new(move |conn| self.find(conn))
    }
}

fn chosen(ctx: &Ctx) -> Result<Vec<Speaker>> {
    let wanted = Wanted::read(ctx)?;
    ctx.app.db.read(|conn| wanted.find(conn))
}

fn found(ctx: &Ctx) -> Result<Reply> {
    let asked = logs::asked(ctx, chosen(ctx)?)?;
    Reply::json(&asked.find(ctx.app)?.of_many(&asked.of))
}

#[derive(Serialize)]
struct Search {
    narrowed: Narrowed,
    server_id: String,
    project: String,
    containers: String,
    services: String,
    lines: Vec<Shown>,
    /// Do new lines come in?
    running: bool,
    live: String,
    last: i64,
    older: Option<String>,
    back: bool,
    /// The same choice without a place.
    newest: String,
    download: String,
    /// Servers with containers or services: in addresses, and their names.
    servers: Vec<(String, String)>,
}

fn search(ctx: &Ctx) -> Result<Reply> {
    let narrowed = Narrowed::of(ctx);
    let asked: Asked = logs::asked(ctx, chosen(ctx)?)?;
    let answer = asked.find(ctx.app)?;
    let by_subject: HashMap<Subject, &Speaker> = asked.of.iter().map(|one| (one.subject, one)).collect();
    let lines = answer.lines.iter().filter_map(|(subject, line)| {
        let one = by_subject.get(subject)?;
        let page = match subject.0 == services::SERVICES.name {
            true => format!("/services/{}", one.name),
            false => format!("/containers/{}", subject.1),
        };
        let of = OfLine {
            href: format!("{page}?at={}#L{}", line.cursor().text(), line.id),
            name: one.full_name(),
        };
        Some(logs::line_view(line, Some(of)))
    });
    let choice = ["server_id", "project", "containers", "services"].map(|name| (name, ctx.param(name)));
    let with = |more: &[(&'static str, &str)]| narrowed.query(&[&choice[..], more].concat());
    let running = logs::is_live(ctx);
    let [server_id, project, containers, services] = choice.map(|(_, value)| value.to_string());
    let content = Search {
        server_id,
        project,
        containers,
        services,
        lines: lines.collect(),
        running,
        live: narrowed.live(&choice),
        last: answer.last(),
        older: answer.next().map(|cursor| with(&[("before", &cursor)])),
        back: !running,
        newest: with(&[]),
        download: format!("/api/log-search/log.txt{}", with(&[("tail", "5000")])),
        servers: ctx.app.db.read(servers)?,
        narrowed,
    };
    page::show(ctx, "logs/search.html", content)
}

/// Where somebody speaks.
fn servers(conn: &Conn) -> Result<Vec<(String, String)>> {
    let all = [containers::speakers(conn, None, "")?, services::speakers(conn)?].concat();
    let mut out: Vec<(String, String)> = all
        .into_iter()
        .map(|one| match one.server {
            Some(id) => (id.to_string(), one.server_name),
            None => (LOCAL.to_string(), String::new()),
        })
        .collect();
    out.sort_by(|a, b| a.1.cmp(&b.1));
    out.dedup();
    Ok(out)
}
