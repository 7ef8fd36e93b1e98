//! The projects on one page.

use super::api::{self, Counts};
use super::queries;
use crate::access::right::{Edit, Read, Settings, may};
use crate::base::error::{Kind, Result};
use crate::http::page;
use crate::http::reply::Reply;
use crate::http::request::Method::{Get, Post};
use crate::http::route::{Ctx, Route, route};
use crate::http::view::Errors;
use serde::Serialize;

/// Page routes.
pub const ROUTES: &[Route] = &[
    route(Get, "/projects", may(Read, Settings), list),
    route(Post, "/projects", may(Edit, Settings), create).takes(api::PARAMS),
    route(Post, "/projects/{id}/delete", may(Edit, Settings), delete),
];

#[derive(Serialize)]
struct Row {
    id: i64,
    name: String,
    notes: String,
    usual: bool,
    counts: Counts,
}

#[derive(Serialize)]
struct Content {
    items: Vec<Row>,
    name: String,
    notes: String,
    errors: Errors,
}

fn list(ctx: &Ctx) -> Result<Reply> {
    show(ctx, &[], Errors::default())
}

fn show(ctx: &Ctx, form: &[(String, String)], errors: Errors) -> Result<Reply> {
    let typed = |name: &str| {
        form.iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.clone())
            .unwrap_or_default()
    };
    let items = ctx.app.db.read(|conn| {
        let all = queries::all(conn)?.into_iter();
        let row = |project: super::Project| {
            Ok(Row {
                id: project.id.get(),
                counts: api::counts(conn, project.id)?,
                name: project.name,
                notes: project.notes,
                usual: project.usual,
            })
        };
        all.map(row).collect::<Result<Vec<_>>>()
    })?;
    let (name, notes) = (typed("name"), typed("notes"));
    page::show(
        ctx,
        "projects/list.html",
        Content {
            items,
            name,
            notes,
            errors,
        },
    )
}

fn create(ctx: &Ctx) -> Result<Reply> {
    match api::add(ctx.app, ctx.input()?, ctx.allowed(Edit, Settings)?) {
        Ok(_) => Ok(Reply::see_other("/projects")),
        Err(e) if !e.fields.is_empty() && matches!(e.kind, Kind::Invalid | Kind::Conflict) => {
            Ok(show(ctx, &ctx.request.form()?, Errors::of(&e))?.with_status(422))
        }
        Err(e) => Err(e),
    }
}

fn delete(ctx: &Ctx) -> Result<Reply> {
    ctx.input()?.finish(&[])?;
    api::delete(ctx)?;
    Ok(Reply::see_other("/projects"))
}
