//! The actions' JSON API.

use super::PART;
use super::fleet::{Fleet, SERVERS_MAX};
use super::model::{self, FILE_MAX, Work};
use super::queries;
use super::tasks::{PART_MAX, Waiting};
use crate::access::Unplaced;
use crate::access::right::{Deploy, Groups, Read, Servers, may};
use crate::app::App;
use crate::audit;
use crate::base::clock::rfc3339;
use crate::base::error::{Error, Field, Kind, Result};
use crate::base::file::Hashing;
use crate::base::id::{self, Id, Task};
use crate::base::secret::Secret;
use crate::base::shape::described;
use crate::base::text;
use crate::db::{Conn, Tx};
use crate::features::fleet::{groups, servers};
use crate::form::Input;
use crate::form::param::{self, Param};
use crate::http::reply::{Reply, TEXT};
use crate::http::request::Method::{Get, Post};
use crate::http::request::Request;
use crate::http::route::{Ctx, Route, route};
use crate::task::{NewTask, queue};
use serde_json::{Map, Value, json};
use std::io::Write;

/// Routes of the JSON API.
pub const ROUTES: &[Route] = &[
    route(Post, "/api/hosts/{id}/actions", may(Deploy, Servers), act)
        .takes(model::PARAMS)
        .starts_task(),
    route(Post, "/api/hosts/{id}/files", may(Deploy, Servers), upload)
        .query(FILE)
        .takes_bytes(FILE_MAX)
        .starts_task(),
    route(
        Get,
        "/api/hosts/{id}/actions/{task}/result",
        may(Deploy, Servers),
        result,
    )
    .gives_bytes(TEXT),
    route(Get, "/api/hosts/{id}/updates", may(Read, Servers), updates).gives::<View>(),
    route(Post, "/api/actions", may(Deploy, Servers), act_on_many)
        .asks()
        .takes(&MANY)
        .starts_task(),
    route(Post, "/api/actions/files", may(Deploy, Servers), upload_to_many)
        .asks()
        .query(&FILE_TO_MANY)
        .takes_bytes(FILE_MAX)
        .starts_task(),
];

/// Where a file goes.
const FILE: &[Param] = &[
    param::text(
        "path",
        512,
        "Where it goes: absolute, in a folder that the setting `actions.file_folders` allows.",
    ),
    param::text("mode", 5, "Octal, 644 if nothing is said."),
    param::text(
        "owner",
        70,
        "A user, or a user and a group; `root:root` if nothing is said.",
    ),
];

const WIDTH: Param = param::number(
    "width",
    1..=50,
    "After the first: so many at a time, 5 if nothing is said.",
);
const WIDTH_USUAL: i64 = 5;

/// Which servers.
const WHERE: &[Param] = &[
    param::links(
        "server_ids",
        SERVERS_MAX,
        "These servers, the first one alone and before all others.",
    ),
    param::link(
        "group_id",
        "The servers of this group of hosts, in the order of their numbers.",
    ),
    WIDTH,
];
static MANY: [Param; model::PARAMS.len() + WHERE.len()] = param::joined(&[model::PARAMS, WHERE]);

/// The same in a query, where a list is a text.
const WHERE_IN_QUERY: &[Param] = &[
    param::text(
        "server_ids",
        8_000,
        "Numbers of servers with commas between them, the first one alone and before all others.",
    ),
    param::link(
        "group_id",
        "The servers of this group of hosts, in the order of their numbers.",
    ),
    WIDTH.or(WIDTH_USUAL),
];
static FILE_TO_MANY: [Param; FILE.len() + WHERE_IN_QUERY.len()] = param::joined(&[FILE, WHERE_IN_QUERY]);

fn act(ctx: &Ctx) -> Result<Reply> {
    Reply::accepted(start(ctx, ctx.input()?)?)
}

/// Puts an action on the server of the path in. Error: invalid fields.
pub fn start(ctx: &Ctx, mut input: Input) -> Result<Id<Task>> {
    let id: Id<id::Server> = ctx.id(0, "server")?;
    let work = ctx.app.db.read(|conn| {
        let name = servers::get(conn, id)?.fields.name;
        model::read(conn, &mut input, &name)
    })?;
    input.finish(&[])?;
    let work = work.ok_or_else(|| Error::internal("an action that was checked"))?;
    enqueue(ctx, id, work, None)
}

fn upload(ctx: &Ctx) -> Result<Reply> {
    let id: Id<id::Server> = ctx.id(0, "server")?;
    ctx.app.db.read(|conn| servers::get(conn, id))?;
    Reply::accepted(enqueue(ctx, id, file(ctx)?, Some(ctx.request))?)
}

fn file(ctx: &Ctx) -> Result<Work> {
    let text = |name: &str| (name.to_string(), Value::from(ctx.param(name)));
    let draft: Map<String, Value> = ["path", "mode", "owner"].map(text).into_iter().collect();
    let mut input = Input::of(FILE, draft);
    let (mut size, mut hashing) = (0, Hashing::new(std::io::sink()));
    ctx.request.each_part(PART_MAX, &mut |part| {
        size += part.len() as u64;
        Ok(hashing.write_all(part)?)
    })?;
    let content = (size, hashing.finish());
    let file = ctx.app.db.read(|conn| model::read_file(conn, &mut input, content))?;
    input.finish(&[])?;
    Ok((model::UPLOAD_FILE, serde_json::to_value(file).map_err(Error::internal)?))
}

fn enqueue(ctx: &Ctx, id: Id<id::Server>, (kind, input): Work, content: Option<&Request>) -> Result<Id<Task>> {
    let by = ctx.allowed(Deploy, Servers)?;
    ctx.app.db.write(|tx| {
        let name = servers::get(tx, id)?.fields.name;
        let detail = input.clone();
        let target = ("server", id.get(), name.as_str());
        let task = queue::enqueue(tx, &ctx.app.wakes.tasks, &NewTask { kind, target, input }, by)?;
        keep_content(ctx.app, tx, task, content)?;
        let data = json!({ "task": task, "input": detail });
        audit::append(tx, &ctx.app.vault, by, kind, &format!("server {id} {name}"), &data)?;
        Ok(task)
    })
}

/// The body as a file's content, sealed in parts, until its task has ended.
fn keep_content(app: &App, tx: &Tx, task: Id<Task>, content: Option<&Request>) -> Result<()> {
    let Some(request) = content else { return Ok(()) };
    let mut number = 0;
    request.each_part(PART_MAX, &mut |part| {
        let row = queries::add_part(tx, task, number)?;
        let sealed = app.vault.seal(PART.at(row), &Secret::new(part))?;
        number += 1;
        queries::set_part(tx, row, &sealed)
    })
}

/// Several servers, and what they are called together.
struct Place {
    servers: Vec<Id<id::Server>>,
    group: Option<(Id<id::Group>, String)>,
}

impl Place {
    /// Those that are named, or the members of the group. Errors: invalid, not found.
    fn of(
        conn: &Conn,
        input: &mut Input,
        ids: Option<Vec<Id<id::Server>>>,
        group: Option<Id<id::Group>>,
    ) -> Result<Place> {
        let ids = ids.unwrap_or_default();
        let group = match group.map(|id| groups::get(conn, id)).transpose() {
            Err(e) if e.kind == Kind::NotFound => {
                input.wrong("group_id", "missing", "There is no such group.");
                None
            }
            found => found?,
        };
        let servers = match &group {
            Some(_) if !ids.is_empty() => {
                input.wrong("group_id", "two_places", "Say servers or a group, one of them.");
                Vec::new()
            }
            Some(group) => group.fields.members.iter().copied().map(Id::new).collect(),
            None => ids,
        };
        if servers.is_empty() && !input.has_error("group_id") && !input.has_error("server_ids") {
            let say = "Say on which servers: by server_ids, or by the group_id of a group of hosts that has members.";
            input.wrong("server_ids", "required", say);
        }
        if servers.len() > SERVERS_MAX {
            input.wrong(
                "group_id",
                "too_many",
                format!("At most {SERVERS_MAX} servers at once."),
            );
        }
        let group = group.map(|group| (group.id, group.fields.name));
        Ok(Place { servers, group })
    }

    /// What must be typed before they are restarted.
    fn confirm(&self) -> String {
        match &self.group {
            Some((_, name)) => name.clone(),
            None => format!("reboot {}", self.servers.len()),
        }
    }
}

fn act_on_many(ctx: &Ctx) -> Result<Reply> {
    Reply::accepted(start_on_many(ctx, ctx.input()?)?)
}

/// What an action on several servers takes.
pub fn params_of_many() -> &'static [Param] {
    &MANY
}

/// Puts an action on several servers in. Error: invalid fields.
pub fn start_on_many(ctx: &Ctx, mut input: Input) -> Result<Id<Task>> {
    let ids = input.links("server_ids");
    let group = input.link("group_id").flatten();
    let width = input.number("width").unwrap_or(WIDTH_USUAL);
    let (place, work) = ctx.app.db.read(|conn| {
        let place = Place::of(conn, &mut input, ids, group)?;
        let work = model::read(conn, &mut input, &place.confirm())?;
        Ok((place, work))
    })?;
    input.finish(&[])?;
    let work = work.ok_or_else(|| Error::internal("an action that was checked"))?;
    enqueue_many(ctx, &place, work, width, None)
}

fn upload_to_many(ctx: &Ctx) -> Result<Reply> {
    let mut input = Input::of(WHERE_IN_QUERY, Map::new());
    let mut ids = Vec::new();
    for text in ctx
        .param("server_ids")
        .split(',')
        .map(str::trim)
        .filter(|text| !text.is_empty())
    {
        match Id::parse(text) {
            Some(id) if ids.contains(&id) => {}
            Some(id) => ids.push(id),
            None => {
                input.wrong("server_ids", "bad_id", "Each entry of server_ids is the number of one.");
                break;
            }
        }
    }
    let group = ctx.link("group_id")?;
    let place = ctx.app.db.read(|conn| Place::of(conn, &mut input, Some(ids), group))?;
    input.finish(&[])?;
    let task = enqueue_many(ctx, &place, file(ctx)?, ctx.number("width")?, Some(ctx.request))?;
    Reply::accepted(task)
}

/// The name of one of several servers. Error: invalid, where there is none.
fn named(conn: &Conn, id: Id<id::Server>) -> Result<String> {
    match servers::get(conn, id) {
        Err(e) if e.kind == Kind::NotFound => {
            let message = format!("There is no server {id}.");
            let (field, code) = ("server_ids", "missing");
            Err(Error::invalid(vec![Field { field, code, message }]))
        }
        server => Ok(server?.fields.name),
    }
}

fn enqueue_many(
    ctx: &Ctx,
    place: &Place,
    (kind, input): Work,
    width: i64,
    content: Option<&Request>,
) -> Result<Id<Task>> {
    let by: Unplaced<Deploy, Servers> = ctx.unplaced(Deploy, Servers)?;
    ctx.app.db.write(|tx| {
        let mut names = Vec::new();
        let mut proof = None;
        for id in &place.servers {
            proof = Some(by.to(tx, ("server", id.get()))?);
            names.push(named(tx, *id)?);
        }
        let by = proof.ok_or_else(|| Error::internal("no server of several"))?;
        let label = match &place.group {
            Some((_, name)) => name.clone(),
            None => text::first_of(&names, 3),
        };
        let target = match &place.group {
            Some((id, _)) => ("group", id.get(), label.as_str()),
            // The task holds none of them: its parts do.
            None => ("servers", place.servers[0].get(), label.as_str()),
        };
        let fleet = Fleet {
            kind: kind.into(),
            input: input.clone(),
            servers: place.servers.iter().map(|id| id.get()).collect(),
            width: usize::try_from(width).unwrap_or(1),
        };
        let new = NewTask {
            kind: model::FLEET,
            target,
            input: serde_json::to_value(fleet).map_err(Error::internal)?,
        };
        let task = queue::enqueue(tx, &ctx.app.wakes.tasks, &new, by)?;
        keep_content(ctx.app, tx, task, content)?;
        let data = json!({ "task": task, "kind": kind, "input": input, "servers": names });
        audit::append(tx, &ctx.app.vault, by, model::FLEET, &format!("servers {label}"), &data)?;
        Ok(task)
    })
}

/// The name is what a person saves it as; a server's name may be in any letters.
fn result(ctx: &Ctx) -> Result<Reply> {
    let (id, task) = (ctx.id(0, "server")?, ctx.id(1, "task")?);
    let found = ctx.app.db.read(|conn| {
        servers::get(conn, id)?;
        match queries::of_task(conn, id, "logs", task)? {
            Some(found) => Ok(Some(found)),
            None => queries::of_task(conn, id, "updates", task),
        }
    })?;
    let found = found.ok_or_else(|| Error::not_found("result of this task"))?;
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "._@-".contains(c) {
            c
        } else {
            '_'
        }
    };
    let name: String = found.name.chars().map(plain).collect();
    Ok(Reply::text(found.content).header("Content-Disposition", format!("attachment; filename=\"{name}\"")))
}

described! {
    /// The updates of a server when they were last listed or applied.
    struct View {
        /// When that was.
        at: String,
        /// By this task.
        task_id: Id<Task>,
        #[serde(flatten)]
        of: Waiting,
    }
}

fn updates(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "server")?;
    let found = ctx.app.db.read(|conn| {
        servers::get(conn, id)?;
        queries::newest(conn, id, "updates")
    })?;
    let found = found.ok_or_else(|| {
        let say = "The updates of this server were never listed. Do that first: the action updates.";
        Error::new(Kind::NotFound, "updates_unknown", say)
    })?;
    Reply::json(&View {
        at: rfc3339(found.at),
        task_id: found.task,
        of: serde_json::from_str(&found.content).map_err(Error::internal)?,
    })
}

/// May they ask for the members of groups?
pub fn reads_groups(ctx: &Ctx) -> bool {
    ctx.maybe_actor()
        .is_some_and(|actor| actor.role().may(may(Read, Groups)))
}
