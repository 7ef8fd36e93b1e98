//! The certificates' pages. A form that is refused comes back with what was typed, except the key, and except a chain
//! that has a key in it.

use super::life::{self, Line, Renewed, Stage};
use super::model::{self, Note};
use super::{Certificate, User, api, queries, shown};
use crate::access::right::{Certificates, Edit, Read, may};
use crate::base::clock::{self, Ms};
use crate::base::error::{Error, Kind, Result};
use crate::form::Input;
use crate::http::page::{self, query};
use crate::http::reply::Reply;
use crate::http::request::Method::{Get, Post};
use crate::http::route::{Ctx, OFFSET, Route, route};
use crate::http::view::Errors;
use serde::Serialize;

/// Page routes.
pub const ROUTES: &[Route] = &[
    route(Get, "/certificates", may(Read, Certificates), list).query(&[OFFSET]),
    route(Post, "/certificates", may(Edit, Certificates), create),
    route(Get, "/certificates/new", may(Edit, Certificates), new),
    route(Get, "/certificates/{id}", may(Read, Certificates), show),
    route(Post, "/certificates/{id}", may(Edit, Certificates), change),
    route(Get, "/certificates/{id}/edit", may(Edit, Certificates), edit),
    route(Get, "/certificates/{id}/delete", may(Edit, Certificates), ask_delete),
    route(Post, "/certificates/{id}/delete", may(Edit, Certificates), delete),
];

#[derive(Serialize)]
struct Row {
    id: i64,
    name: String,
    names: Vec<String>,
    issuer: String,
    not_before: Ms,
    not_after: Ms,
    /// Remaining share, of 90.
    left: i64,
    /// `lit`, `flick` or `dark`.
    lamp: &'static str,
    state: Stage,
    sha256: String,
    used_by: Vec<Used>,
}

#[derive(Serialize)]
struct Used {
    id: i64,
    domain: String,
}

/// Name of the lamp of a stage.
pub fn lamp(stage: Stage) -> &'static str {
    match stage {
        Stage::Ok => "lit",
        Stage::Soon => "flick",
        Stage::Urgent | Stage::Over => "dark",
    }
}

fn row(c: &Certificate, users: &[User], now: Ms) -> Row {
    let state = life::stage(c.not_before, c.not_after, now);
    Row {
        id: c.id.get(),
        name: c.name.clone(),
        names: c.names.iter().map(|n| shown(n)).collect(),
        issuer: c.issuer.clone(),
        not_before: c.not_before,
        not_after: c.not_after,
        left: life::left(c.not_before, c.not_after, now, 90),
        lamp: lamp(state),
        state,
        sha256: c.sha256.clone(),
        used_by: users
            .iter()
            .map(|u| Used {
                id: u.id.get(),
                domain: u.shown(),
            })
            .collect(),
    }
}

/// Certificates on one page.
const PAGE: i64 = 100;

fn list(ctx: &Ctx) -> Result<Reply> {
    let q = ctx.request.param("q").unwrap_or_default();
    let offset = ctx.number("offset")?;
    let (found, total, users) = ctx.app.db.read(|conn| {
        let (found, total) = queries::list(conn, q, PAGE, offset)?;
        Ok((found, total, queries::all_users(conn)?))
    })?;
    let now = clock::now();
    let items: Vec<_> = found
        .iter()
        .map(|c| row(c, users.get(&c.id.get()).map_or(&[], Vec::as_slice), now))
        .collect();
    let at = |offset: i64| query(&[("q", q), ("offset", &offset.to_string())]);
    let content = serde_json::json!({
        "q": q,
        "items": items,
        "total": total,
        "prev": (offset > 0).then(|| at((offset - PAGE).max(0))),
        "next": (offset + PAGE < total).then(|| at(offset + PAGE)),
    });
    page::show(ctx, "certificates/list.html", content)
}

#[derive(Serialize)]
struct Show {
    c: Row,
    subject: String,
    serial: String,
    key_type: String,
    chain: String,
    notes: Vec<Note>,
    /// For the note about a chain that expires early.
    good_until: Option<Ms>,
    line: Line,
    unconfirmed: bool,
}

fn show(ctx: &Ctx) -> Result<Reply> {
    details(ctx, "certificates/show.html", false)
}

fn ask_delete(ctx: &Ctx) -> Result<Reply> {
    details(ctx, "certificates/delete.html", false)
}

fn details(ctx: &Ctx, template: &str, unconfirmed: bool) -> Result<Reply> {
    let id = ctx.id(0, "certificate")?;
    let (c, users) = ctx
        .app
        .db
        .read(|conn| Ok((super::get(conn, id)?, queries::users(conn, id)?)))?;
    let now = clock::now();
    let (subject, serial, key_type) = api::facts(&c)?;
    let mut notes = model::notes(&c.chain, now)?;
    if ctx.request.param("reordered").is_some() {
        notes.insert(0, model::REORDERED);
    }
    let content = Show {
        c: row(&c, &users, now),
        subject,
        serial,
        key_type,
        line: life::line(c.not_before, c.not_after, Renewed::ByHand, now),
        chain: c.chain,
        good_until: notes.iter().find_map(|note| note.good_until),
        notes,
        unconfirmed,
    };
    page::show(ctx, template, content)
}

/// The form as typed or as stored.
#[derive(Default, Serialize)]
struct Form {
    id: Option<i64>,
    /// Name before editing.
    was: String,
    name: String,
    chain: String,
}

fn form_page(ctx: &Ctx, form: Form, errors: Errors) -> Result<Reply> {
    let content = serde_json::json!({ "form": form, "errors": errors });
    page::show(ctx, "certificates/form.html", content)
}

fn new(ctx: &Ctx) -> Result<Reply> {
    form_page(ctx, Form::default(), Errors::default())
}

fn stored(ctx: &Ctx) -> Result<Form> {
    let id = ctx.id(0, "certificate")?;
    let c = ctx.app.db.read(|conn| super::get(conn, id))?;
    Ok(Form {
        id: Some(id.get()),
        was: c.name.clone(),
        name: c.name,
        chain: c.chain,
    })
}

fn edit(ctx: &Ctx) -> Result<Reply> {
    form_page(ctx, stored(ctx)?, Errors::default())
}

/// The form as API input: an empty key is left out.
fn input(pairs: &[(String, String)]) -> Input {
    let typed = pairs
        .iter()
        .filter(|(name, value)| name != "csrf" && (name != "key" || !value.trim().is_empty()));
    Input::of(
        model::PARAMS,
        typed
            .map(|(name, value)| (name.clone(), value.as_str().into()))
            .collect(),
    )
}

/// The form with its mistakes, or the error itself if it is not about fields.
fn again(ctx: &Ctx, mut form: Form, pairs: Vec<(String, String)>, error: Error) -> Result<Reply> {
    if error.fields.is_empty() || !matches!(error.kind, Kind::Invalid | Kind::Conflict) {
        return Err(error);
    }
    for (name, value) in pairs {
        match name.as_str() {
            "name" => form.name = value,
            "chain" if value.contains("PRIVATE KEY") => form.chain.clear(), // in the wrong field, but still secret
            "chain" => form.chain = value,
            _ => {}
        }
    }
    Ok(form_page(ctx, form, Errors::of(&error))?.with_status(422))
}

fn go(id: impl std::fmt::Display, reordered: bool) -> Reply {
    let told = if reordered { "?reordered=1" } else { "" };
    Reply::see_other(format!("/certificates/{id}{told}"))
}

fn create(ctx: &Ctx) -> Result<Reply> {
    let pairs = ctx.request.form()?;
    match api::add(ctx.app, input(&pairs), ctx.allowed(Edit, Certificates)?) {
        Ok((id, reordered)) => Ok(go(id, reordered)),
        Err(e) => again(ctx, Form::default(), pairs, e),
    }
}

fn change(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "certificate")?;
    let pairs = ctx.request.form()?;
    match api::save(ctx.app, id, input(&pairs), true, ctx.allowed(Edit, Certificates)?) {
        Ok(reordered) => Ok(go(id, reordered)),
        Err(e) => again(ctx, stored(ctx)?, pairs, e),
    }
}

/// Needs the certificate's name typed: the key is deleted, too.
fn delete(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "certificate")?;
    let by = ctx.allowed(Edit, Certificates)?;
    let typed = ctx.request.form()?.into_iter().find(|(name, _)| name == "confirm");
    let typed = typed.map(|(_, value)| value.trim().to_string()).unwrap_or_default();
    let deleted = ctx.app.db.write(|tx| {
        if super::get(tx, id)?.name != typed {
            return Ok(false);
        }
        super::delete(ctx.app, tx, id, by)?;
        Ok(true)
    })?;
    match deleted {
        true => Ok(Reply::see_other("/certificates")),
        false => Ok(details(ctx, "certificates/delete.html", true)?.with_status(422)),
    }
}
