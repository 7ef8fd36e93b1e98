//! The groups' JSON API.

use super::model::{self, Fields, KINDS};
use super::{Counts, Filter, Group};
use crate::access::Allowed;
use crate::access::right::{Edit, Groups, Read, may};
use crate::app::App;
use crate::base::clock::rfc3339;
use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::base::shape::described;
use crate::form::Input;
use crate::form::param::{self, Param};
use crate::http::reply::{List, Reply};
use crate::http::request::Method::{Delete, Get, Patch, Post, Put};
use crate::http::route::{Ctx, LIMIT, OFFSET, Q, Route, route};

/// Routes of the JSON API.
pub const ROUTES: &[Route] = &[
    route(Get, "/api/groups", may(Read, Groups), list)
        .query(LIST)
        .gives::<List<View>>(),
    route(Post, "/api/groups", may(Edit, Groups), create)
        .takes(model::PARAMS)
        .creates::<View>(),
    route(Get, "/api/groups/{id}", may(Read, Groups), show).gives::<View>(),
    route(Put, "/api/groups/{id}", may(Edit, Groups), replace)
        .takes(model::PARAMS)
        .gives::<View>(),
    route(Patch, "/api/groups/{id}", may(Edit, Groups), change)
        .takes(model::PARAMS)
        .gives::<View>(),
    route(Delete, "/api/groups/{id}", may(Edit, Groups), remove).gives::<Freed>(),
];

const LIST: &[Param] = &[
    LIMIT,
    OFFSET,
    Q,
    param::choice("kind", &KINDS, "Only groups of these things."),
];

described! {
    /// A group as the API shows it.
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
}

/// Builds the view of a group.
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
    let (limit, offset) = ctx.page()?;
    let filter = Filter {
        kind: ctx.choice("kind")?,
        q: ctx.param("q"),
        limit,
        offset,
    };
    let (rows, total) = ctx.app.db.read(|conn| super::list(conn, &filter))?;
    let items: Vec<_> = rows.iter().map(view).collect();
    Reply::json(&List { items, total })
}

fn show(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "group")?;
    Reply::json(&view(&ctx.app.db.read(|conn| super::get(conn, id))?))
}

fn create(ctx: &Ctx) -> Result<Reply> {
    let group = add(ctx.app, ctx.input()?, ctx.allowed(Edit, Groups)?)?;
    Reply::created(format!("/api/groups/{}", group.id), &view(&group))
}

/// Reads a draft and stores it. Error: invalid fields.
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
        ctx.input()?,
        base,
        ctx.allowed(Edit, Groups)?,
    )?))
}

/// `PUT` replaces: missing fields get their defaults; the kind stays.
fn replace(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "group")?;
    let base = |group: &Group| Fields {
        kind: group.fields.kind,
        ..Fields::default()
    };
    Reply::json(&view(&save(
        ctx.app,
        id,
        ctx.input()?,
        base,
        ctx.allowed(Edit, Groups)?,
    )?))
}

/// Reads a draft over `base` and stores it, in one transaction.
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

described! {
    /// Result of a removal.
    struct Freed {
        /// Domains that were in the group.
        domains_freed: i64,
    }
}

fn remove(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "group")?;
    let by = ctx.allowed(Edit, Groups)?;
    let freed = ctx.app.db.write(|tx| super::delete(ctx.app, tx, id, by))?;
    Reply::json(&Freed { domains_freed: freed })
}
