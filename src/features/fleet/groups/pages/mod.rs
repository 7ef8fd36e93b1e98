//! The groups on one page with a tab for each kind: counters, and forms in the rows that work without script. A group of
//! hosts has a page of its own, with its rule.

mod of_hosts;

use super::{Counts, Filter, Group, api, model};
use crate::access::right::{Edit, Groups, Read, may};
use crate::base::error::{Error, Kind, Result};
use crate::base::id::{self, Id};
use crate::features::fleet::scope;
use crate::http::page::{self, query};
use crate::http::reply::Reply;
use crate::http::request::Method::{Get, Post};
use crate::http::route::{Ctx, Route, route};
use crate::http::view::Errors;
use of_hosts::Form;
use serde::Serialize;

/// Page routes.
pub const ROUTES: &[Route] = &[
    route(Get, "/groups", may(Read, Groups), list),
    route(Post, "/groups", may(Edit, Groups), create).takes(model::PARAMS),
    route(Get, "/groups/{id}", may(Read, Groups), of_hosts::show),
    route(Post, "/groups/{id}", may(Edit, Groups), change).takes(model::PARAMS),
    route(
        Post,
        "/groups/{id}/recalculate",
        may(Edit, Groups),
        of_hosts::recalculate,
    ),
    route(Post, "/groups/{id}/delete", may(Edit, Groups), delete),
];

/// Maximum groups on the page; others are found by searching.
const SHOWN_MAX: i64 = 500;

#[derive(Serialize)]
struct Row {
    id: i64,
    name: String,
    notes: String,
    counts: Counts,
    type_name: &'static str,
    /// In short; empty when members are said.
    rule: String,
}

#[derive(Serialize)]
struct List<'a> {
    kind: &'static str,
    /// Number of groups of domains and of hosts.
    totals: [i64; 2],
    /// The new group of hosts.
    form: Form,
    fields: &'static [&'static str],
    q: &'a str,
    items: Vec<Row>,
    total: i64,
    /// The row shown as a form, and the one that asks for confirmation of its deletion.
    edit: Option<i64>,
    delete: Option<i64>,
    /// Number of domains that were in a deleted group.
    freed: Option<i64>,
    /// Name in the refused form.
    name: String,
    notes: String,
    errors: Errors,
}

/// A refused form: its row (`None`: a new one), its values, and the mistakes.
struct Refused {
    row: Option<Id<id::Group>>,
    pairs: Vec<(String, String)>,
    errors: Errors,
}

fn list(ctx: &Ctx) -> Result<Reply> {
    show(ctx, None)
}

fn show(ctx: &Ctx, refused: Option<Refused>) -> Result<Reply> {
    let word = |name: &str| ctx.request.param(name).unwrap_or_default();
    let chosen = |name: &str| Id::<id::Group>::parse(word(name)).map(Id::get);
    let new_host = refused
        .as_ref()
        .is_some_and(|r| r.pairs.iter().any(|(n, v)| n == "kind" && v == "host"));
    let kind = match word("kind") == "host" || new_host {
        true => model::KINDS[1],
        false => model::KINDS[0],
    };
    let filter = Filter {
        kind,
        q: word("q"),
        limit: SHOWN_MAX,
        offset: 0,
    };
    let ((rows, total), totals) = ctx.app.db.read(|conn| {
        let count = |kind| {
            let of_kind = Filter {
                kind,
                limit: 1,
                ..Filter::default()
            };
            super::list(conn, &of_kind).map(|(_, total)| total)
        };
        Ok((
            super::list(conn, &filter)?,
            [count(model::KINDS[0])?, count(model::KINDS[1])?],
        ))
    })?;
    let typed = |name: &str| {
        let pairs = refused.iter().flat_map(|r| &r.pairs);
        pairs
            .filter(|(n, _)| n == name)
            .map(|(_, v)| v.clone())
            .next()
            .unwrap_or_default()
    };
    let row = |g: Group| Row {
        id: g.id.get(),
        name: g.fields.name,
        notes: g.fields.notes,
        counts: g.counts,
        type_name: if g.fields.rule.is_some() {
            model::TYPES[1]
        } else {
            model::TYPES[0]
        },
        rule: g
            .fields
            .rule
            .map(|rule| scope::sentence(&rule, true))
            .unwrap_or_default(),
    };
    let content = List {
        kind,
        totals,
        form: refused
            .as_ref()
            .map_or_else(Form::fresh, |refused| Form::typed(&refused.pairs)),
        fields: &scope::FIELDS,
        q: filter.q,
        items: rows.into_iter().map(row).collect(),
        total,
        edit: match &refused {
            Some(refused) => refused.row.map(Id::get),
            None => chosen("edit"),
        },
        delete: chosen("delete"),
        freed: word("freed").parse().ok(),
        name: typed("name"),
        notes: typed("notes"),
        errors: refused.map(|r| r.errors).unwrap_or_default(),
    };
    page::show(ctx, "groups/list.html", content)
}

/// The page with the form's mistakes, or the error itself if it is not about fields.
fn again(ctx: &Ctx, row: Option<Id<id::Group>>, pairs: Vec<(String, String)>, error: Error) -> Result<Reply> {
    if error.fields.is_empty() || !matches!(error.kind, Kind::Invalid | Kind::Conflict) {
        return Err(error);
    }
    let errors = Errors::of(&error);
    Ok(show(ctx, Some(Refused { row, pairs, errors }))?.with_status(422))
}

fn create(ctx: &Ctx) -> Result<Reply> {
    let pairs = ctx.request.form()?;
    if pairs.iter().any(|(name, value)| name == "kind" && value == "host") {
        let input = ctx.app.db.read(|conn| of_hosts::input(conn, &pairs));
        return match input.and_then(|input| api::add(ctx.app, input, ctx.allowed(Edit, Groups)?)) {
            Ok(group) => Ok(Reply::see_other(format!("/groups/{}", group.id))),
            Err(e) => again(ctx, None, pairs, e),
        };
    }
    match api::add(ctx.app, ctx.input()?, ctx.allowed(Edit, Groups)?) {
        Ok(_) => Ok(Reply::see_other("/groups")),
        Err(e) => again(ctx, None, pairs, e),
    }
}

fn change(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "group")?;
    if ctx.app.db.read(|conn| super::get(conn, id))?.fields.kind == model::KINDS[1] {
        return of_hosts::change(ctx, id);
    }
    match api::save(
        ctx.app,
        id,
        ctx.input()?,
        |g| g.fields.clone(),
        ctx.allowed(Edit, Groups)?,
    ) {
        Ok(_) => Ok(Reply::see_other("/groups")),
        Err(e) => again(ctx, Some(id), ctx.request.form()?, e),
    }
}

fn delete(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "group")?;
    let by = ctx.allowed(Edit, Groups)?;
    let (kind, freed) = ctx.app.db.write(|tx| {
        let kind = super::get(tx, id)?.fields.kind;
        Ok((kind, super::delete(ctx.app, tx, id, by)?))
    })?;
    if kind == model::KINDS[1] {
        return Ok(Reply::see_other("/groups?kind=host"));
    }
    Ok(Reply::see_other(format!(
        "/groups{}",
        query(&[("freed", freed.to_string())])
    )))
}
