//! The groups' JSON API.

use super::model::{self, Fields, KINDS};
use super::{Counts, Filter, Group};
use crate::access::Allowed;
use crate::access::right::{Edit, Groups, Read, may};
use crate::app::App;
use crate::base::clock::rfc3339;
use crate::base::error::{Error, Field, Result};
use crate::base::id::{self, Id};
use crate::form::Input;
use crate::http::reply::Reply;
use crate::http::request::Method::{Delete, Get, Patch, Post, Put};
use crate::http::route::{Ctx, Route, route};
use serde::Serialize;

/// See [`Route`].
pub const ROUTES: &[Route] = &[
    route(Get, "/api/groups", may(Read, Groups), list),
    route(Post, "/api/groups", may(Edit, Groups), create),
    route(Get, "/api/groups/{id}", may(Read, Groups), show),
    route(Put, "/api/groups/{id}", may(Edit, Groups), replace),
    route(Patch, "/api/groups/{id}", may(Edit, Groups), change),
    route(Delete, "/api/groups/{id}", may(Edit, Groups), remove),
];

/// A group as the API shows it.
#[derive(Serialize)]
pub struct View<'a> {
    id: Id<id::Group>,
    kind: &'static str,
    name: &'a str,
    notes: &'a str,
    counts: Counts,
    revision: i64,
    created_at: String,
    updated_at: String,
}

/// Puts the view together.
pub fn view(g: &Group) -> View<'_> {
    View {
        id: g.id,
        kind: g.fields.kind,
        name: &g.fields.name,
        notes: &g.fields.notes,
        counts: g.counts,
        revision: g.revision,
        created_at: rfc3339(g.created_at),
        updated_at: rfc3339(g.updated_at),
    }
}

fn list(ctx: &Ctx) -> Result<Reply> {
    let (limit, offset) = ctx.request.page()?;
    let word = |name: &str| ctx.request.param(name).unwrap_or_default();
    let kind = word("kind");
    if !kind.is_empty() && !KINDS.contains(&kind) {
        return Err(Error::invalid(vec![Field {
            field: "kind",
            code: "bad_choice",
            message: "kind is domain or host.".into(),
        }]));
    }
    let filter = Filter {
        kind,
        q: word("q"),
        limit,
        offset,
    };
    let (rows, total) = ctx.app.db.read(|conn| super::list(conn, &filter))?;
    let items: Vec<_> = rows.iter().map(view).collect();
    Reply::json(&serde_json::json!({ "items": items, "total": total }))
}

fn show(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "group")?;
    Reply::json(&view(&ctx.app.db.read(|conn| super::get(conn, id))?))
}

fn create(ctx: &Ctx) -> Result<Reply> {
    let group = add(ctx.app, ctx.request.input()?, ctx.allowed(Edit, Groups)?)?;
    Reply::created(format!("/api/groups/{}", group.id), &view(&group))
}

/// Reads a draft and stores it.
pub fn add(app: &App, input: Input, by: Allowed<Edit, Groups>) -> Result<Group> {
    let valid = model::read(input, Fields::default(), true)?;
    app.db.write(|tx| {
        let id = super::create(app, tx, &valid, by)?;
        super::get(tx, id)
    })
}

fn change(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "group")?;
    let base = |group: &Group| group.fields.clone();
    Reply::json(&view(&save(
        ctx.app,
        id,
        ctx.request.input()?,
        base,
        ctx.allowed(Edit, Groups)?,
    )?))
}

/// `PUT` replaces: what is not sent falls back to its default; the kind stays.
fn replace(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "group")?;
    let base = |group: &Group| Fields {
        kind: group.fields.kind,
        ..Fields::default()
    };
    Reply::json(&view(&save(
        ctx.app,
        id,
        ctx.request.input()?,
        base,
        ctx.allowed(Edit, Groups)?,
    )?))
}

/// Reads a draft over `base` and stores it, in one transaction: nobody can come in between.
pub fn save(
    app: &App,
    id: Id<id::Group>,
    input: Input,
    base: impl Fn(&Group) -> Fields,
    by: Allowed<Edit, Groups>,
) -> Result<Group> {
    app.db.write(|tx| {
        let old = super::get(tx, id)?;
        let valid = model::read(input, base(&old), false)?;
        super::update(app, tx, &old, &valid, by)?;
        super::get(tx, id)
    })
}

/// Answers how many domains are in no group now.
fn remove(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "group")?;
    let by = ctx.allowed(Edit, Groups)?;
    let freed = ctx.app.db.write(|tx| super::delete(ctx.app, tx, id, by))?;
    Reply::json(&serde_json::json!({ "domains_freed": freed }))
}
