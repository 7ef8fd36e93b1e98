//! The page of silences: active, planned and past ones, and the form; and a card on pages of servers and domains.

use super::model::{self, Subject};
use super::{Silence, api};
use crate::access::right::{Edit, Read, Silences, may};
use crate::base::clock::{self, Ms};
use crate::base::error::{Error, Field, Kind, Result};
use crate::base::zone::Zone;
use crate::db::Conn;
use crate::features::fleet::{groups, scope};
use crate::form::Input;
use crate::http::page::{self, query};
use crate::http::reply::Reply;
use crate::http::request::Method::{Get, Post};
use crate::http::route::{Ctx, LIMIT, OFFSET, Route, TargetPanel, route};
use crate::http::view::Errors;
use crate::kinds;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// Page routes.
pub const ROUTES: &[Route] = &[
    route(Get, "/silences", may(Read, Silences), list).query(&[LIMIT, OFFSET]),
    route(Post, "/silences", may(Edit, Silences), create).query(&[LIMIT, OFFSET]),
    route(Post, "/silences/{id}/end", may(Edit, Silences), end),
];

/// See [`TargetPanel`]; shown by `silences/_now.html`.
pub const PANELS: &[TargetPanel] = &[TargetPanel {
    slot: "silence",
    data: |ctx, target| over(ctx, "", target),
}];

/// A silence for pages.
#[derive(Serialize)]
pub struct Row {
    id: i64,
    state: String,
    targets: Vec<Target>,
    tag: String,
    /// The scope in short, where it is no tag.
    scope: String,
    kind: String,
    reason: String,
    author: String,
    starts_at: Ms,
    ends_at: Ms,
    ended_at: Option<Ms>,
    ended_by: Option<String>,
}

/// A thing that a silence is about.
#[derive(Serialize)]
struct Target {
    kind: String,
    href: Option<String>,
    name: String,
}

/// Puts a row together.
pub fn row(s: Silence) -> Row {
    let tag = api::tag(&s);
    let scope = match tag.is_empty() {
        true => s.scope.within.sentence(),
        false => String::new(),
    };
    let targets = s.scope.targets.into_iter().zip(s.names);
    Row {
        id: s.id.get(),
        targets: targets
            .map(|((kind, id), name)| Target {
                href: page::place((&kind, id)),
                kind,
                name,
            })
            .collect(),
        state: s.state,
        tag,
        scope,
        kind: s.scope.kind,
        reason: s.reason,
        author: s.author,
        starts_at: s.starts_at,
        ends_at: s.ends_at,
        ended_at: s.ended_at,
        ended_by: s.ended_by,
    }
}

#[derive(Serialize)]
struct List<'a> {
    state: &'static str,
    counts: HashMap<&'static str, i64>,
    items: Vec<Row>,
    prev: Option<String>,
    next: Option<String>,
    /// Typed or preset values.
    typed: HashMap<&'a str, &'a str>,
    errors: Errors,
    kinds: Vec<&'static str>,
    groups: Vec<(i64, String)>,
    fields: &'static [&'static str],
}

fn list(ctx: &Ctx) -> Result<Reply> {
    show(ctx, &ctx.request.query, Errors::default())
}

fn show(ctx: &Ctx, typed: &[(String, String)], errors: Errors) -> Result<Reply> {
    let (limit, offset) = ctx.page()?;
    let asked = ctx.request.param("state").unwrap_or_default();
    let state = api::STATES.into_iter().find(|s| *s == asked).unwrap_or("active");
    let (rows, counts, groups) = ctx.app.db.read(|conn| {
        let count = |state| super::list(conn, state, 1, 0).map(|(_, n)| (state, n));
        let counts = api::STATES.into_iter().map(count).collect::<Result<HashMap<_, _>>>()?;
        Ok((super::list(conn, state, limit, offset)?, counts, groups::all(conn)?))
    })?;
    let at = |offset: i64| query(&[("state", state), ("offset", &offset.to_string())]);
    let content = List {
        state,
        counts,
        items: rows.0.into_iter().map(row).collect(),
        prev: (offset > 0).then(|| at((offset - limit).max(0))),
        next: (offset + limit < rows.1).then(|| at(offset + limit)),
        typed: typed
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect(),
        errors,
        kinds: kinds::all()
            .into_iter()
            .filter(|k| k.raises().is_some())
            .map(|k| k.name)
            .collect(),
        groups: groups.into_iter().map(|g| (g.id.get(), g.fields.name)).collect(),
        fields: &scope::FIELDS,
    };
    page::show(ctx, "silences/list.html", content)
}

/// The form names things by their kinds, and its times are those of the clocks in `zone`; empty fields are not given.
fn draft(conn: &Conn, form: &[(String, String)], zone: &Zone) -> Result<Map<String, Value>> {
    let mut draft = Map::new();
    let mut unknown = Vec::new();
    for (name, value) in form {
        let value = value.trim();
        if value.is_empty() || ["csrf", "next"].contains(&name.as_str()) {
            continue;
        }
        if ["starts_at", "ends_at"].contains(&name.as_str()) && !value.ends_with('Z') {
            let at = clock::parse_utc(value).map(|local| zone.instants(local).first());
            draft.insert(name.clone(), at.map_or_else(|| value.into(), clock::rfc3339).into());
            continue;
        }
        let Some(kind) = kinds::target_kind(name) else {
            draft.insert(name.clone(), value.into());
            continue;
        };
        match ((kind.named)(conn, value)?, model::field_of(kind.name)) {
            (Some(id), "target") => drop(draft.insert("target".into(), format!("{}:{id}", kind.name).into())),
            (Some(id), column) => drop(draft.insert(column.into(), id.into())),
            (None, _) => unknown.push(Field {
                field: kind.name,
                code: "unknown",
                message: format!("There is no {} of this name.", kind.name),
            }),
        }
    }
    match unknown.is_empty() {
        true => Ok(draft),
        false => Err(Error::invalid(unknown)),
    }
}

fn create(ctx: &Ctx) -> Result<Reply> {
    let form = ctx.request.form()?;
    let zone = page::locale(ctx)?.zone;
    let draft = ctx.app.db.read(|conn| draft(conn, &form, &zone));
    match draft.and_then(|draft| api::add(ctx.app, Input::of(model::PARAMS, draft), &ctx.unplaced(Edit, Silences)?)) {
        Ok(silence) => {
            let next = form
                .iter()
                .find(|(name, _)| name == "next")
                .map(|(_, to)| page::local(to));
            let there = || format!("/silences{}", query(&[("state", silence.state.as_str())]));
            Ok(Reply::see_other(next.map_or_else(there, String::from)))
        }
        Err(e) if !e.fields.is_empty() && e.kind == Kind::Invalid => {
            Ok(show(ctx, &form, Errors::of(&e))?.with_status(422))
        }
        Err(e) => Err(e),
    }
}

fn end(ctx: &Ctx) -> Result<Reply> {
    api::stop(ctx)?;
    let form = ctx.request.form()?;
    let next = form
        .iter()
        .find(|(name, _)| name == "next")
        .map(|(_, to)| page::local(to));
    Ok(Reply::see_other(next.unwrap_or("/silences").to_string()))
}

/// The silence that covers alerts of this kind for this target.
fn over(ctx: &Ctx, kind: &str, target: (&str, i64)) -> Result<Value> {
    let silence = ctx
        .app
        .db
        .read(|conn| super::covering(ctx.app, conn, &Subject::of(conn, kind, target)?))?;
    Ok(json!(silence.map(row)))
}
