//! Pages of upstreams. A refused form is shown again with its values.

use super::model::{self, Fields, Target};
use super::{Filter, Upstream, api};
use crate::access::right::{Edit, Read, Upstreams, may};
use crate::base::clock::Ms;
use crate::base::error::{Error, Kind, Result};
use crate::base::id::{self, Id};
use crate::form::Input;
use crate::http::page::{self, query};
use crate::http::reply::Reply;
use crate::http::request::Method::{Get, Post};
use crate::http::route::{Ctx, Route, route};
use crate::http::view::Errors;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Page routes.
pub const ROUTES: &[Route] = &[
    route(Get, "/upstreams", may(Read, Upstreams), list).query(api::LIST),
    route(Post, "/upstreams", may(Edit, Upstreams), create),
    route(Get, "/upstreams/new", may(Edit, Upstreams), new),
    route(Get, "/upstreams/{id}", may(Read, Upstreams), show),
    route(Post, "/upstreams/{id}", may(Edit, Upstreams), change),
    route(Post, "/upstreams/{id}/delete", may(Edit, Upstreams), delete),
];

/// Upstreams per page.
const PAGE: i64 = 100;

#[derive(Serialize)]
struct Row {
    id: i64,
    name: String,
    targets: Vec<Shown>,
    notes: String,
    domains: i64,
    updated_at: Ms,
}

#[derive(Serialize)]
struct Shown {
    address: String,
    weight: Option<u16>,
}

fn shown(targets: &[Target]) -> Vec<Shown> {
    let one = |t: &Target| Shown {
        address: t.address(),
        weight: t.weight,
    };
    targets.iter().map(one).collect()
}

fn row(u: Upstream) -> Row {
    Row {
        id: u.id.get(),
        targets: shown(&u.fields.targets),
        name: u.fields.name,
        notes: u.fields.notes,
        domains: u.domains,
        updated_at: u.updated_at,
    }
}

#[derive(Serialize)]
struct List<'a> {
    q: &'a str,
    items: Vec<Row>,
    total: i64,
    prev: Option<String>,
    next: Option<String>,
}

fn list(ctx: &Ctx) -> Result<Reply> {
    let q = ctx.request.param("q").unwrap_or_default();
    let offset = ctx.number("offset")?;
    let filter = Filter {
        q,
        limit: PAGE,
        offset,
        ..Filter::default()
    };
    let (rows, total) = ctx.app.db.read(|conn| super::list(conn, &filter))?;
    let at = |offset: i64| query(&[("q", q), ("offset", &offset.to_string())]);
    let content = List {
        q,
        items: rows.into_iter().map(row).collect(),
        total,
        prev: (offset > 0).then(|| at((offset - PAGE).max(0))),
        next: (offset + PAGE < total).then(|| at(offset + PAGE)),
    };
    page::show(ctx, "upstreams/list.html", content)
}

/// The form as typed or as stored.
#[derive(Default, Serialize)]
struct Form {
    name: String,
    /// One target per line, with an optional weight after it.
    targets: String,
    notes: String,
}

impl Form {
    fn of(f: &Fields) -> Form {
        let line = |t: &Target| match t.weight {
            Some(weight) => format!("{} {weight}", t.address()),
            None => t.address(),
        };
        Form {
            name: f.name.clone(),
            targets: f.targets.iter().map(line).collect::<Vec<_>>().join("\n"),
            notes: f.notes.clone(),
        }
    }

    fn typed(pairs: &[(String, String)]) -> Form {
        let value = |name: &str| {
            let pair = pairs.iter().find(|(n, _)| n == name);
            pair.map(|(_, v)| v.clone()).unwrap_or_default()
        };
        Form {
            name: value("name"),
            targets: value("targets").replace('\r', ""),
            notes: value("notes"),
        }
    }

    /// The form as API input.
    fn input(&self) -> Input {
        let lines = self.targets.lines().map(str::trim).filter(|line| !line.is_empty());
        let mut object = Map::new();
        object.insert("name".into(), self.name.as_str().into());
        object.insert("targets".into(), lines.map(target).collect());
        object.insert("notes".into(), self.notes.as_str().into());
        Input::of(model::PARAMS, object)
    }
}

/// `10.0.0.7:8080 5`: address and weight. Other lines are passed on and refused there.
fn target(line: &str) -> Value {
    match line.split_once(char::is_whitespace) {
        Some((address, weight)) => match Target::parse(address) {
            Ok(t) => json!({ "host": t.host, "port": t.port, "weight": weight.trim_start() }),
            Err(_) => line.into(),
        },
        None => line.into(),
    }
}

#[derive(Serialize)]
struct User {
    id: i64,
    name: String,
}

#[derive(Serialize)]
struct Page {
    /// `None` for a new one.
    upstream: Option<Row>,
    users: Vec<User>,
    form: Form,
    errors: Errors,
    saved: bool,
}

fn form_page(ctx: &Ctx, id: Option<Id<id::Upstream>>, typed: Option<Form>, errors: Errors) -> Result<Reply> {
    let found = ctx.app.db.read(|conn| match id {
        Some(id) => Ok(Some((super::get(conn, id)?, super::used_by(conn, id)?))),
        None => Ok(None),
    })?;
    let (upstream, users) = found.unzip();
    let kept = upstream.as_ref().map(|u| Form::of(&u.fields));
    let content = Page {
        upstream: upstream.map(row),
        users: users
            .into_iter()
            .flatten()
            .map(|(id, name)| User { id, name })
            .collect(),
        form: typed.or(kept).unwrap_or_default(),
        errors,
        saved: ctx.request.param("saved").is_some(),
    };
    page::show(ctx, "upstreams/form.html", content)
}

fn new(ctx: &Ctx) -> Result<Reply> {
    form_page(ctx, None, None, Errors::default())
}

fn show(ctx: &Ctx) -> Result<Reply> {
    form_page(ctx, Some(ctx.id(0, "upstream")?), None, Errors::default())
}

/// The form with its mistakes, or the error itself if it is not about fields.
fn again(ctx: &Ctx, id: Option<Id<id::Upstream>>, form: Form, error: Error) -> Result<Reply> {
    if error.fields.is_empty() || !matches!(error.kind, Kind::Invalid | Kind::Conflict) {
        return Err(error);
    }
    Ok(form_page(ctx, id, Some(form), Errors::of(&error))?.with_status(422))
}

fn create(ctx: &Ctx) -> Result<Reply> {
    let form = Form::typed(&ctx.request.form()?);
    let by = ctx.allowed(Edit, Upstreams)?;
    let added = model::read(form.input(), Fields::default())
        .and_then(|valid| ctx.app.db.write(|tx| super::create(ctx.app, tx, &valid, by)));
    match added {
        Ok(id) => Ok(Reply::see_other(format!("/upstreams/{id}"))),
        Err(e) => again(ctx, None, form, e),
    }
}

fn change(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "upstream")?;
    let form = Form::typed(&ctx.request.form()?);
    match api::save(
        ctx.app,
        id,
        form.input(),
        |u| u.fields.clone(),
        ctx.allowed(Edit, Upstreams)?,
    ) {
        Ok(()) => Ok(Reply::see_other(format!("/upstreams/{id}?saved=1"))),
        Err(e) => again(ctx, Some(id), form, e),
    }
}

fn delete(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "upstream")?;
    let by = ctx.allowed(Edit, Upstreams)?;
    ctx.app.db.write(|tx| super::delete(ctx.app, tx, id, by))?;
    Ok(Reply::see_other("/upstreams"))
}
