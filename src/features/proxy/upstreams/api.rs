//! The upstreams' JSON API.

use super::model::{self, Fields, Target};
use super::{Filter, Upstream};
use crate::access::Allowed;
use crate::access::right::{Edit, Read, Upstreams, may};
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
use crate::http::route::{Ctx, LIMIT, OFFSET, Q, Route, route};

/// Routes of the JSON API.
pub const ROUTES: &[Route] = &[
    route(Get, "/api/upstreams", may(Read, Upstreams), list)
        .query(LIST)
        .gives::<List<View>>(),
    route(Post, "/api/upstreams", may(Edit, Upstreams), create)
        .takes(model::PARAMS)
        .creates::<View>(),
    route(Get, "/api/upstreams/{id}", may(Read, Upstreams), show).gives::<View>(),
    route(Put, "/api/upstreams/{id}", may(Edit, Upstreams), replace)
        .takes(model::PARAMS)
        .gives::<View>(),
    route(Patch, "/api/upstreams/{id}", may(Edit, Upstreams), change)
        .takes(model::PARAMS)
        .gives::<View>(),
    route(Delete, "/api/upstreams/{id}", may(Edit, Upstreams), remove).gives_nothing(),
];

/// Query parameters of a list.
pub const LIST: &[Param] = &[
    LIMIT,
    OFFSET,
    Q,
    param::choice("sort", &["name", "-name"], "The order."),
];

described! {
    /// An upstream as the API shows it.
    pub struct View<'a> {
        id: Id<id::Upstream>,
        name: &'a str,
        targets: &'a [Target],
        notes: &'a str,
        domains: i64,
        #[serde(skip_serializing_if = "Option::is_none")]
        used_by: Option<Vec<User>>,
        revision: i64,
        created_at: String,
        updated_at: String,
    }

    /// A domain that uses it.
    struct User {
        id: i64,
        name: String,
    }
}

/// Builds the view of an upstream.
pub fn view(u: &Upstream) -> View<'_> {
    View {
        id: u.id,
        name: &u.fields.name,
        targets: &u.fields.targets,
        notes: &u.fields.notes,
        domains: u.domains,
        used_by: None,
        revision: u.revision,
        created_at: rfc3339(u.created_at),
        updated_at: rfc3339(u.updated_at),
    }
}

fn whole(conn: &Conn, id: Id<id::Upstream>) -> Result<Reply> {
    let upstream = super::get(conn, id)?;
    let users = super::used_by(conn, id)?
        .into_iter()
        .map(|(id, name)| User { id, name });
    Reply::json(&View {
        used_by: Some(users.collect()),
        ..view(&upstream)
    })
}

/// The filter of a list's query.
pub fn filter<'a>(ctx: &Ctx<'a>) -> Result<Filter<'a>> {
    let (limit, offset) = ctx.page()?;
    Ok(Filter {
        q: ctx.param("q"),
        descending: ctx.choice("sort")? == "-name",
        limit,
        offset,
    })
}

fn list(ctx: &Ctx) -> Result<Reply> {
    let filter = filter(ctx)?;
    let (rows, total) = ctx.app.db.read(|conn| super::list(conn, &filter))?;
    let items: Vec<_> = rows.iter().map(view).collect();
    Reply::json(&List { items, total })
}

fn show(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "upstream")?;
    ctx.app.db.read(|conn| whole(conn, id))
}

fn create(ctx: &Ctx) -> Result<Reply> {
    let valid = model::read(ctx.input()?, Fields::default())?;
    let by = ctx.allowed(Edit, Upstreams)?;
    let (id, reply) = ctx.app.db.write(|tx| {
        let id = super::create(ctx.app, tx, &valid, by)?;
        Ok((id, whole(tx, id)?))
    })?;
    Ok(reply
        .with_status(201)
        .header("Location", format!("/api/upstreams/{id}")))
}

fn change(ctx: &Ctx) -> Result<Reply> {
    edit(ctx, |upstream| upstream.fields.clone())
}

/// `PUT` replaces: missing fields get their defaults.
fn replace(ctx: &Ctx) -> Result<Reply> {
    edit(ctx, |_| Fields::default())
}

fn edit(ctx: &Ctx, base: impl Fn(&Upstream) -> Fields) -> Result<Reply> {
    let id = ctx.id(0, "upstream")?;
    save(ctx.app, id, ctx.input()?, base, ctx.allowed(Edit, Upstreams)?)?;
    ctx.app.db.read(|conn| whole(conn, id))
}

/// Reads a draft over `base` and stores it, in one transaction. Error: invalid fields.
pub fn save(
    app: &App,
    id: Id<id::Upstream>,
    input: Input,
    base: impl Fn(&Upstream) -> Fields,
    by: Allowed<Edit, Upstreams>,
) -> Result<()> {
    app.db.write(|tx| {
        let old = super::get(tx, id)?;
        let valid = model::read(input, base(&old))?;
        super::update(app, tx, &old, &valid, by)
    })
}

fn remove(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "upstream")?;
    let by = ctx.allowed(Edit, Upstreams)?;
    ctx.app.db.write(|tx| super::delete(ctx.app, tx, id, by))?;
    Ok(Reply::status(204))
}
