//! The projects' JSON API.

use super::{Project, THINGS, queries};
use crate::access::Allowed;
use crate::access::right::{Edit, Read, Settings, may};
use crate::app::App;
use crate::base::clock::rfc3339;
use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::base::shape::described;
use crate::db::Conn;
use crate::form::Input;
use crate::form::param::{self, Param};
use crate::http::reply::{List, Reply};
use crate::http::request::Method::{Delete, Get, Patch, Post, Put};
use crate::http::route::{Ctx, Route, route};
use std::collections::BTreeMap;

/// Routes of the JSON API.
pub const ROUTES: &[Route] = &[
    route(Get, "/api/projects", may(Read, Settings), list).gives::<List<View>>(),
    route(Post, "/api/projects", may(Edit, Settings), create)
        .takes(PARAMS)
        .creates::<View>(),
    route(Get, "/api/projects/{id}", may(Read, Settings), show).gives::<View>(),
    route(Patch, "/api/projects/{id}", may(Edit, Settings), change)
        .takes(PARAMS)
        .gives::<View>(),
    route(Delete, "/api/projects/{id}", may(Edit, Settings), remove).gives_nothing(),
    route(Get, "/api/projects/{id}/things", may(Read, Settings), things).gives::<Things>(),
    route(Put, "/api/projects/{id}/things", may(Edit, Settings), take)
        .takes(TAKES)
        .gives::<Things>(),
];

/// What a project takes.
pub const PARAMS: &[Param] = &[
    param::name("name", "What people call it; unique.").required(),
    param::text("notes", 2_000, "Free words."),
];

/// Most things of a kind at once.
const TAKEN_MAX: usize = 5_000;

const TAKES: &[Param] = &[
    param::links("groups", TAKEN_MAX, "Groups that belong to it from now on."),
    param::links("secrets", TAKEN_MAX, "Secrets that belong to it from now on."),
    param::links(
        "endpoints",
        TAKEN_MAX,
        "Notification endpoints that belong to it from now on.",
    ),
    param::links("plugins", TAKEN_MAX, "Plugins that belong to it from now on."),
];

described! {
    /// A project.
    struct View {
        id: Id<id::Project>,
        name: String,
        notes: String,
        /// Do new things belong to it?
        is_default: bool,
        counts: Counts,
        created_at: String,
        updated_at: String,
    }

    /// How many things belong to a project.
    #[derive(Default)]
    pub struct Counts {
        pub groups: i64,
        pub secrets: i64,
        pub endpoints: i64,
        pub plugins: i64,
    }

    /// The ids of what belongs to a project.
    struct Things {
        groups: Vec<i64>,
        secrets: Vec<i64>,
        endpoints: Vec<i64>,
        plugins: Vec<i64>,
    }
}

/// How many things belong to it.
pub fn counts(conn: &Conn, id: Id<id::Project>) -> Result<Counts> {
    let counts = queries::counts(conn, id)?;
    let of = |kind: &str| counts.get(kind).copied().unwrap_or_default();
    Ok(Counts {
        groups: of("group"),
        secrets: of("secret"),
        endpoints: of("endpoint"),
        plugins: of("plugin"),
    })
}

fn view(conn: &Conn, project: Project) -> Result<View> {
    Ok(View {
        id: project.id,
        counts: counts(conn, project.id)?,
        name: project.name,
        notes: project.notes,
        is_default: project.usual,
        created_at: rfc3339(project.created_at),
        updated_at: rfc3339(project.updated_at),
    })
}

fn list(ctx: &Ctx) -> Result<Reply> {
    let items = ctx.app.db.read(|conn| {
        let all = queries::all(conn)?.into_iter();
        all.map(|project| view(conn, project)).collect::<Result<Vec<_>>>()
    })?;
    Reply::json(&List::whole(items))
}

fn shown(app: &App, id: Id<id::Project>) -> Result<View> {
    app.db.read(|conn| view(conn, super::get(conn, id)?))
}

fn show(ctx: &Ctx) -> Result<Reply> {
    Reply::json(&shown(ctx.app, ctx.id(0, "project")?)?)
}

/// Reads name and notes over those of `base`. Error: invalid fields.
fn read(mut input: Input, base: Option<&Project>) -> Result<(String, String)> {
    let name = input.name("name").or_else(|| base.map(|project| project.name.clone()));
    let notes = input
        .text("notes")
        .or_else(|| base.map(|project| project.notes.clone()));
    if name.is_none() && !input.has_error("name") {
        input.wrong("name", "required", "Give the project a name.");
    }
    input.finish(&["id", "is_default", "counts", "created_at", "updated_at"])?;
    Ok((name.unwrap_or_default(), notes.unwrap_or_default()))
}

/// Adds a project. Error: invalid fields.
pub fn add(app: &App, input: Input, by: Allowed<Edit, Settings>) -> Result<Id<id::Project>> {
    let (name, notes) = read(input, None)?;
    app.db.write(|tx| super::create(app, tx, &name, &notes, by))
}

fn create(ctx: &Ctx) -> Result<Reply> {
    let id = add(ctx.app, ctx.input()?, ctx.allowed(Edit, Settings)?)?;
    Reply::created(format!("/api/projects/{id}"), &shown(ctx.app, id)?)
}

fn change(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "project")?;
    let (input, by) = (ctx.input()?, ctx.allowed(Edit, Settings)?);
    ctx.app.db.write(|tx| {
        let (name, notes) = read(input, Some(&super::get(tx, id)?))?;
        super::update(ctx.app, tx, id, &name, &notes, by)
    })?;
    Reply::json(&shown(ctx.app, id)?)
}

fn remove(ctx: &Ctx) -> Result<Reply> {
    delete(ctx)?;
    Ok(Reply::status(204))
}

/// Deletes the project of the path.
pub fn delete(ctx: &Ctx) -> Result<()> {
    let (id, by) = (ctx.id(0, "project")?, ctx.allowed(Edit, Settings)?);
    ctx.app.db.write(|tx| super::delete(ctx.app, tx, id, by))
}

fn things(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "project")?;
    let mut all = ctx.app.db.read(|conn| {
        super::get(conn, id)?;
        queries::things(conn, id)
    })?;
    let mut of = |word: &str| all.remove(word).unwrap_or_default();
    Reply::json(&Things {
        groups: of("groups"),
        secrets: of("secrets"),
        endpoints: of("endpoints"),
        plugins: of("plugins"),
    })
}

fn take(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "project")?;
    let (mut input, by) = (ctx.input()?, ctx.allowed(Edit, Settings)?);
    let mut taken: BTreeMap<&'static str, Vec<i64>> = BTreeMap::new();
    for (kind, word) in THINGS {
        if let Some(ids) = input.links::<()>(word) {
            taken.insert(kind, ids.into_iter().map(Id::get).collect());
        }
    }
    input.finish(&[])?;
    ctx.app.db.write(|tx| super::take(ctx.app, tx, id, &taken, by))?;
    things(ctx)
}
