//! The page of schedules: list and forms; works without script.

use super::{api, model};
use crate::access::right::{Deploy, Read, Servers, Tasks, may};
use crate::base::clock::{self, Ms};
use crate::base::error::{Error, Field, Kind, Result};
use crate::base::id::{self, Id};
use crate::db::Conn;
use crate::form::Input;
use crate::http::page;
use crate::http::reply::Reply;
use crate::http::request::Method::{Get, Post};
use crate::http::route::{Ctx, Route, route};
use crate::http::view::Errors;
use crate::kinds;
use crate::schedule::model::Schedule;
use crate::schedule::stored;
use crate::task;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// See [`Route`].
pub const ROUTES: &[Route] = &[
    route(Get, "/schedules", may(Read, Tasks), list),
    route(Post, "/schedules", may(Deploy, Servers), create),
    route(Post, "/schedules/{id}", may(Deploy, Servers), change),
    route(Post, "/schedules/{id}/run", may(Deploy, Servers), run),
    route(Post, "/schedules/{id}/delete", may(Deploy, Servers), delete),
];

#[derive(Serialize)]
struct Row {
    id: i64,
    name: String,
    kind: String,
    title: String,
    target: String,
    href: Option<String>,
    cron: String,
    zone: String,
    missed: &'static str,
    enabled: bool,
    owner: String,
    last_due: Option<Ms>,
    last_result: String,
    last_task: Option<i64>,
    next: Vec<Ms>,
}

#[derive(Serialize)]
struct List<'a> {
    items: Vec<Row>,
    /// Name and title of each kind of task that can be scheduled.
    kinds: Vec<(&'static str, &'static str)>,
    zone: String,
    /// Row shown as a form, and row that asks for confirmation of its deletion.
    edit: Option<i64>,
    delete: Option<i64>,
    /// Typed values of a refused form.
    typed: HashMap<&'a str, &'a str>,
    errors: Errors,
}

fn row(ctx: &Ctx, s: Schedule) -> Row {
    let lang = page::lang(ctx.request, ctx.maybe_actor());
    let f = s.fields;
    Row {
        id: s.id.get(),
        title: task::title(&ctx.app.registry, &f.kind, lang),
        href: page::place((&f.target.0, f.target.1)),
        next: model::next_runs(&f, clock::now(), api::NEXT_SHOWN),
        name: f.name,
        kind: f.kind,
        target: f.target.2,
        cron: f.cron,
        zone: f.zone,
        missed: f.missed.name(),
        enabled: f.enabled,
        owner: s.owner,
        last_due: s.last_due,
        last_result: s.last_result,
        last_task: s.last_task.map(Id::get),
    }
}

fn list(ctx: &Ctx) -> Result<Reply> {
    show(ctx, None, &[], Errors::default())
}

fn show(ctx: &Ctx, edit: Option<i64>, typed: &[(String, String)], errors: Errors) -> Result<Reply> {
    let chosen = |name: &str| Id::<id::Schedule>::parse(ctx.request.param(name)?).map(Id::get);
    let (all, empty) = ctx.app.db.read(|conn| Ok((stored::all(conn)?, model::empty(conn)?)))?;
    let lang = page::lang(ctx.request, ctx.maybe_actor());
    let kinds = model::kinds(ctx.app).into_iter();
    let content = List {
        items: all.into_iter().map(|s| row(ctx, s)).collect(),
        kinds: kinds.map(|(kind, _)| (kind.name, kind.title(lang))).collect(),
        zone: empty.zone,
        edit: edit.or_else(|| chosen("edit")),
        delete: chosen("delete"),
        typed: typed
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect(),
        errors,
    };
    page::show(ctx, "schedules/list.html", content)
}

/// Translates the form for the API: the target is given by name, and an unticked box is not sent.
fn draft(ctx: &Ctx, conn: &Conn, form: &[(String, String)]) -> Result<Input> {
    let value = |name: &str| form.iter().find(|(n, _)| n == name).map(|(_, value)| value.trim());
    let mut draft: Map<String, Value> = ["name", "kind", "cron", "time_zone", "missed"]
        .into_iter()
        .filter_map(|name| Some((name.to_string(), value(name)?.into())))
        .collect();
    draft.insert("enabled".into(), value("enabled").is_some().into());
    if let Some(name) = value("target") {
        let chosen = model::kinds(ctx.app)
            .into_iter()
            .find(|(kind, _)| Some(kind.name) == value("kind"));
        let row = chosen.and_then(|(_, by_clock)| kinds::target_kind(by_clock.target));
        let found = row.map(|row| (row.named)(conn, name)).transpose()?.flatten();
        let unknown = || {
            Error::invalid(vec![Field {
                field: "target",
                code: "unknown",
                message: "There is none of this name.".into(),
            }])
        };
        draft.insert("target_id".into(), found.ok_or_else(unknown)?.into());
    }
    Ok(Input::of(model::PARAMS, draft))
}

fn saved(ctx: &Ctx, edit: Option<i64>, save: fn(&Ctx, Input) -> Result<Schedule>) -> Result<Reply> {
    let form = ctx.request.form()?;
    let draft = ctx.app.db.read(|conn| draft(ctx, conn, &form));
    match draft.and_then(|input| save(ctx, input)) {
        Ok(_) => Ok(Reply::see_other("/schedules")),
        Err(e) if !e.fields.is_empty() && e.kind == Kind::Invalid => {
            Ok(show(ctx, edit, &form, Errors::of(&e))?.with_status(422))
        }
        Err(e) => Err(e),
    }
}

fn create(ctx: &Ctx) -> Result<Reply> {
    saved(ctx, None, api::add)
}

fn change(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id::<id::Schedule>(0, "schedule")?;
    saved(ctx, Some(id.get()), api::save)
}

fn run(ctx: &Ctx) -> Result<Reply> {
    ctx.input()?.finish(&[])?;
    Ok(Reply::see_other(format!("/tasks/{}", api::begin(ctx)?)))
}

fn delete(ctx: &Ctx) -> Result<Reply> {
    ctx.input()?.finish(&[])?;
    api::delete(ctx)?;
    Ok(Reply::see_other("/schedules"))
}
