//! The groups' JSON API.

use super::members;
use super::model::{self, Fields, KINDS, RULE};
use super::{Counts, Filter, Group};
use crate::access::Allowed;
use crate::access::right::{Edit, Groups, Read, Servers, may};
use crate::app::App;
use crate::base::clock::rfc3339;
use crate::base::error::{Error, Result};
use crate::base::id::{self, Id};
use crate::base::shape::described;
use crate::features::fleet::scope::{self, parse};
use crate::form::Input;
use crate::form::param::{self, Param};
use crate::http::reply::{List, Reply};
use crate::http::request::Method::{Delete, Get, Patch, Post, Put};
use crate::http::route::{Ctx, LIMIT, OFFSET, Q, Route, route};
use serde_json::{Map, Value};

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
    route(Post, "/api/groups/preview", may(Edit, Groups), preview)
        .takes(PREVIEW)
        .gives::<List<Found>>(),
    route(Post, "/api/groups/{id}/recalculate", may(Edit, Groups), recalculate)
        .takes(&[])
        .gives::<Changed>(),
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
        /// Of hosts: whether its members are said or found.
        #[serde(rename = "type")]
        type_name: &'static str,
        /// Of hosts, when they are found.
        rule: Option<&'a Map<String, Value>>,
        /// Of hosts: its servers; not in lists.
        #[serde(skip_serializing_if = "Option::is_none")]
        server_ids: Option<&'a [i64]>,
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
        type_name: g.fields.type_name(),
        rule: g.fields.rule.as_ref(),
        server_ids: Some(&g.fields.members),
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
    let without_members = |group| View {
        server_ids: None,
        ..view(group)
    };
    let items: Vec<_> = rows.iter().map(without_members).collect();
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

const PREVIEW: &[Param] = &[RULE.required()];

/// Most servers of a preview.
const PREVIEW_MAX: usize = 100;

described! {
    /// A server that a rule finds.
    struct Found {
        id: i64,
        name: String,
    }

    /// What a recalculation has changed: ids of servers.
    struct Changed {
        added: Vec<i64>,
        removed: Vec<i64>,
        /// Members now.
        total: i64,
    }
}

/// The first servers by name that a rule would find, of those that the caller may see.
fn preview(ctx: &Ctx) -> Result<Reply> {
    let mut input = ctx.input()?;
    let rule = input.object("rule").flatten().map(|rule| parse(&rule));
    match &rule {
        Some(Err(say)) => input.wrong("rule", "bad_rule", say),
        None if !input.has_error("rule") => input.wrong("rule", "required", "Give a rule."),
        _ => {}
    }
    input.finish(&[])?;
    ctx.allowed(Edit, Groups)?.also(Read, Servers)?;
    let Some(Ok(rule)) = rule else {
        return Err(Error::internal("a rule that was checked"));
    };
    let found = (ctx.app.db).read(|conn| scope::matching(ctx.app, conn, &rule, None))?;
    let total = found.len() as i64;
    let items = found.into_iter().take(PREVIEW_MAX).map(|(id, name)| Found { id, name });
    Reply::json(&List {
        items: items.collect::<Vec<_>>(),
        total,
    })
}

fn recalculate(ctx: &Ctx) -> Result<Reply> {
    ctx.input()?.finish(&[])?;
    let id = ctx.id(0, "group")?;
    ctx.allowed(Edit, Groups)?.also(Read, Servers)?;
    let change = ctx.app.db.write(|tx| members::again(ctx.app, tx, id))?;
    Reply::json(&Changed {
        added: change.added,
        removed: change.removed,
        total: change.total,
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
