//! The actions of a server on one page, and those of several servers on another.

use super::api;
use super::model::{self, ACTIONS};
use super::queries;
use super::settings;
use super::tasks::Waiting;
use crate::access::right::{Deploy, Servers, may};
use crate::base::clock::Ms;
use crate::base::error::{Error, Kind, Result};
use crate::base::id::{self, Id};
use crate::features::fleet::{groups, servers};
use crate::form::Input;
use crate::form::body;
use crate::form::param::Param;
use crate::http::page;
use crate::http::reply::Reply;
use crate::http::request::Method::{Get, Post};
use crate::http::route::{Ctx, OFFSET, Route, route};
use crate::http::view::Errors;
use serde::Serialize;
use serde_json::{Map, Value};

/// Page routes.
pub const ROUTES: &[Route] = &[
    route(Get, "/servers/{id}/actions", may(Deploy, Servers), show),
    route(Post, "/servers/{id}/actions", may(Deploy, Servers), act),
    route(Get, "/actions", may(Deploy, Servers), many).query(&[OFFSET]),
    route(Post, "/actions", may(Deploy, Servers), act_on_many),
];

#[derive(Serialize)]
struct Log {
    task: i64,
    name: String,
    cut: bool,
    at: Ms,
}

#[derive(Serialize)]
struct Listed {
    at: Ms,
    task: i64,
    security: usize,
    #[serde(flatten)]
    of: Waiting,
}

#[derive(Serialize)]
struct Show {
    id: i64,
    name: String,
    file_folders: String,
    log_folders: String,
    logs: Vec<Log>,
    updates: Option<Listed>,
    /// The action whose form was refused, and what was typed.
    refused: String,
    typed: Map<String, Value>,
    errors: Errors,
}

fn show(ctx: &Ctx) -> Result<Reply> {
    render(ctx, Map::new(), Errors::default())
}

fn render(ctx: &Ctx, typed: Map<String, Value>, errors: Errors) -> Result<Reply> {
    let id: Id<id::Server> = ctx.id(0, "server")?;
    let content = ctx.app.db.read(|conn| {
        let server = servers::get(conn, id)?;
        let logs = queries::logs(conn, id)?.into_iter();
        let updates = queries::newest(conn, id, "updates")?.and_then(|found| {
            let of: Waiting = serde_json::from_str(&found.content).ok()?;
            Some(Listed {
                at: found.at,
                task: found.task.get(),
                security: of.updates.iter().filter(|u| u.security).count(),
                of,
            })
        });
        Ok(Show {
            id: id.get(),
            name: server.fields.name,
            file_folders: settings::FILE_FOLDERS.text(conn)?,
            log_folders: settings::LOG_FOLDERS.text(conn)?,
            logs: logs
                .map(|found| Log {
                    task: found.task.get(),
                    name: found.name,
                    cut: found.cut,
                    at: found.at,
                })
                .collect(),
            updates,
            refused: typed.get("action").and_then(Value::as_str).unwrap_or_default().into(),
            typed,
            errors,
        })
    })?;
    page::show(ctx, "actions/server.html", content)
}

/// The fields of a form, of those that the chosen action has; those of others and empty ones are not sent.
fn draft(ctx: &Ctx, params: &'static [Param]) -> Result<Map<String, Value>> {
    let mut form = body::object(ctx.request.header("content-type"), &ctx.request.body)?;
    form.remove(body::CSRF);
    let of: &[&str] = match form.get("action").and_then(Value::as_str) {
        Some("reboot") => &["confirm"],
        Some("restart_service") => &["service"],
        Some("fetch_logs") => &["unit", "path", "lines", "since"],
        Some("updates") => &["apply"],
        _ => &[],
    };
    let places = ["action", "server_ids", "group_id", "width"];
    form.retain(|name, value| {
        let is_known = params.iter().any(|param| param.name == name);
        let is_asked = of.contains(&name.as_str()) || places.contains(&name.as_str());
        is_known && is_asked && value.as_str() != Some("")
    });
    Ok(form)
}

fn is_of_form(e: &Error) -> bool {
    !e.fields.is_empty() && e.kind == Kind::Invalid
}

fn act(ctx: &Ctx) -> Result<Reply> {
    let form = draft(ctx, model::PARAMS)?;
    match api::start(ctx, Input::of(model::PARAMS, form.clone())) {
        Ok(task) => Ok(Reply::see_other(format!("/tasks/{task}"))),
        Err(e) if is_of_form(&e) => Ok(render(ctx, form, Errors::of(&e))?.with_status(422)),
        Err(e) => Err(e),
    }
}

#[derive(Serialize)]
struct Row {
    id: i64,
    name: String,
    host: String,
    tags: Vec<String>,
    state: &'static str,
    picked: bool,
}

#[derive(Serialize)]
struct Many {
    q: String,
    tag: String,
    /// The group whose members are shown, and its name.
    group: Option<(i64, String)>,
    groups: Vec<(i64, String)>,
    rows: Vec<Row>,
    total: i64,
    file_folders: String,
    actions: [&'static str; 4],
    typed: Map<String, Value>,
    errors: Errors,
}

/// Servers on the page; more are found by searching, or by their group.
const SHOWN_MAX: i64 = 500;

fn many(ctx: &Ctx) -> Result<Reply> {
    render_many(ctx, Map::new(), Errors::default())
}

fn render_many(ctx: &Ctx, typed: Map<String, Value>, errors: Errors) -> Result<Reply> {
    let word = |name: &str| ctx.request.param(name).unwrap_or_default();
    let asked = typed
        .get("group_id")
        .and_then(Value::as_str)
        .unwrap_or(word("group_id"));
    let (asked, reads_groups) = (Id::<id::Group>::parse(asked), api::reads_groups(ctx));
    let picked: Vec<String> = match typed.get("server_ids") {
        Some(Value::Array(all)) => all.iter().filter_map(|one| one.as_str().map(String::from)).collect(),
        Some(Value::String(one)) => vec![one.clone()],
        _ => Vec::new(),
    };
    let content = ctx.app.db.read(|conn| {
        let group = asked
            .filter(|_| reads_groups)
            .map(|id| groups::get(conn, id))
            .transpose()?;
        let filter = servers::Filter {
            q: word("q"),
            tag: word("tag"),
            limit: SHOWN_MAX,
            ..servers::Filter::default()
        };
        let (found, total) = servers::list(conn, &filter)?;
        let (found, total) = match &group {
            Some(group) => {
                let members = &group.fields.members;
                let of: Vec<_> = servers::all(conn)?
                    .into_iter()
                    .filter(|s| members.contains(&s.id.get()))
                    .collect();
                let total = of.len() as i64;
                (of, total)
            }
            None => (found, total),
        };
        let all = groups::Filter {
            kind: "host",
            limit: i64::MAX,
            ..groups::Filter::default()
        };
        let all = if reads_groups {
            groups::list(conn, &all)?.0
        } else {
            Vec::new()
        };
        Ok(Many {
            q: filter.q.into(),
            tag: filter.tag.into(),
            group: group.map(|group| (group.id.get(), group.fields.name)),
            groups: all
                .into_iter()
                .map(|group| (group.id.get(), group.fields.name))
                .collect(),
            rows: found
                .into_iter()
                .map(|s| Row {
                    id: s.id.get(),
                    picked: picked.contains(&s.id.to_string()),
                    state: s.availability.status,
                    name: s.fields.name,
                    host: s.fields.host,
                    tags: s.fields.tags,
                })
                .collect(),
            total,
            file_folders: settings::FILE_FOLDERS.text(conn)?,
            actions: ACTIONS,
            typed,
            errors,
        })
    })?;
    page::show(ctx, "actions/many.html", content)
}

fn act_on_many(ctx: &Ctx) -> Result<Reply> {
    let form = draft(ctx, api::params_of_many())?;
    match api::start_on_many(ctx, Input::of(api::params_of_many(), form.clone())) {
        Ok(task) => Ok(Reply::see_other(format!("/tasks/{task}"))),
        Err(e) if is_of_form(&e) => Ok(render_many(ctx, form, Errors::of(&e))?.with_status(422)),
        Err(e) => Err(e),
    }
}
