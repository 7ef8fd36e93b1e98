//! The form of a domain: a new one, a changed one. What is refused comes back with what was typed.

use crate::access::right::{Domains, Edit};
use crate::base::error::{Error, Kind, Result};
use crate::base::id::{self, Id};
use crate::db::Conn;
use crate::features::fleet::{groups, servers};
use crate::features::proxy::domains::model::{self, Fields, Preflight};
use crate::features::proxy::domains::{self, Domain, api};
use crate::features::proxy::upstreams;
use crate::form::Input;
use crate::http::page;
use crate::http::reply::Reply;
use crate::http::route::Ctx;
use crate::http::view::Errors;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// The form as typed or as stored.
#[derive(Serialize)]
struct Form {
    id: Option<i64>,
    /// Name before editing.
    was: String,
    values: HashMap<String, String>,
    hsts: bool,
    /// Servers to choose from: chosen ones first, in order.
    servers: Vec<Choice>,
    upstreams: Vec<(String, String)>,
    groups: Vec<(String, String)>,
    certificates: Vec<(String, String)>,
}

#[derive(Serialize)]
struct Choice {
    id: i64,
    name: String,
    host: String,
    chosen: bool,
}

/// What a form shows for these fields.
fn values(f: Option<&Fields>) -> HashMap<String, String> {
    fn number<T>(id: Option<Id<T>>) -> String {
        id.map(|id| id.to_string()).unwrap_or_default()
    }
    [
        ("domain", f.map(|f| f.domain.unicode()).unwrap_or_default()),
        ("upstream_id", number(f.and_then(|f| f.upstream_id))),
        ("group_id", number(f.and_then(|f| f.group_id))),
        ("certificate_id", number(f.and_then(|f| f.certificate_id))),
        ("ssl", f.is_some_and(|f| f.ssl).to_string()),
        ("ns_policy", f.map(|f| f.ns_policy.clone()).unwrap_or_default()),
        (
            "preflight",
            f.map_or(Preflight::default(), |f| f.preflight).name().into(),
        ),
        ("notes", f.map(|f| f.notes.clone()).unwrap_or_default()),
    ]
    .map(|(name, value)| (name.to_string(), value))
    .into()
}

/// The form of a domain, or of a new one, with the values of `typed`.
fn form(conn: &Conn, domain: Option<&Domain>, typed: Option<&[(String, String)]>) -> Result<Form> {
    let mut values = values(domain.map(|d| &d.fields));
    let mut chosen: Vec<i64> = domain
        .iter()
        .flat_map(|d| &d.fields.server_ids)
        .map(|id| id.get())
        .collect();
    let mut hsts = domain.is_some_and(|d| d.fields.hsts);
    if let Some(pairs) = typed {
        values.extend(pairs.iter().cloned());
        let ids = pairs.iter().filter(|(name, _)| name == "server_ids");
        chosen = ids.filter_map(|(_, id)| id.parse().ok()).collect();
        hsts = pairs.iter().any(|(name, _)| name == "hsts");
    }
    let mut servers: Vec<Choice> = servers::all(conn)?
        .into_iter()
        .map(|s| Choice {
            id: s.id.get(),
            name: s.fields.name,
            host: s.fields.host,
            chosen: chosen.contains(&s.id.get()),
        })
        .collect();
    servers.sort_by_key(|s| chosen.iter().position(|id| *id == s.id).unwrap_or(usize::MAX));
    let pair = |id: i64, name: String| (id.to_string(), name);
    Ok(Form {
        id: domain.map(|d| d.id.get()),
        was: domain.map(Domain::name).unwrap_or_default(),
        values,
        hsts,
        servers,
        upstreams: upstreams::all(conn)?
            .into_iter()
            .map(|u| pair(u.id.get(), u.fields.name))
            .collect(),
        groups: {
            let all = groups::of_domains(conn)?.into_iter();
            let mut all: Vec<_> = all.map(|g| pair(g.id.get(), g.fields.name)).collect();
            // One that is not seen here stays all the same: else the form would take it away.
            if let Some(id) = domain.and_then(|d| d.fields.group_id).map(Id::get)
                && !all.iter().any(|(known, _)| *known == id.to_string())
            {
                all.push(pair(id, format!("#{id}")));
            }
            all
        },
        certificates: domains::certificates(conn)?
            .into_iter()
            .map(|(id, name)| pair(id, name))
            .collect(),
    })
}

fn form_page(
    ctx: &Ctx,
    id: Option<Id<id::Domain>>,
    typed: Option<&[(String, String)]>,
    errors: Errors,
) -> Result<Reply> {
    let form = ctx.app.db.read(|conn| {
        let domain = id.map(|id| domains::get(conn, id)).transpose()?;
        form(conn, domain.as_ref(), typed)
    })?;
    page::show(
        ctx,
        "domains/form.html",
        serde_json::json!({ "form": form, "errors": errors }),
    )
}

/// A new one may be preset with an upstream, group or server of the query.
pub fn new(ctx: &Ctx) -> Result<Reply> {
    let begun: Vec<_> = ctx
        .request
        .query
        .iter()
        .filter(|(name, _)| ["upstream_id", "group_id", "server_ids"].contains(&name.as_str()))
        .cloned()
        .collect();
    form_page(ctx, None, Some(&begun), Errors::default())
}

pub fn edit(ctx: &Ctx) -> Result<Reply> {
    form_page(ctx, Some(ctx.id(0, "domain")?), None, Errors::default())
}

/// The form as API input. Unticked boxes are left out; TLS options count only with TLS.
fn input(pairs: &[(String, String)]) -> Input {
    let mut object = Map::new();
    let mut servers = Vec::new();
    let mut hsts = false;
    for (name, value) in pairs {
        match name.as_str() {
            "csrf" => {}
            "server_ids" => servers.push(Value::from(value.as_str())),
            "hsts" => hsts = true,
            _ => drop(object.insert(name.clone(), value.as_str().into())),
        }
    }
    let tls = object.get("ssl").is_some_and(|ssl| ssl == "true");
    object.insert("hsts".into(), (hsts && tls).into());
    object.insert("server_ids".into(), servers.into());
    Input::of(model::PARAMS, object)
}

/// The form with its mistakes, or the error itself if it is not about fields.
fn again(ctx: &Ctx, id: Option<Id<id::Domain>>, pairs: &[(String, String)], error: Error) -> Result<Reply> {
    if error.fields.is_empty() || !matches!(error.kind, Kind::Invalid | Kind::Conflict) {
        return Err(error);
    }
    Ok(form_page(ctx, id, Some(pairs), Errors::of(&error))?.with_status(422))
}

pub fn create(ctx: &Ctx) -> Result<Reply> {
    let pairs = ctx.request.form()?;
    match api::add(ctx.app, input(&pairs), &ctx.unplaced(Edit, Domains)?) {
        Ok(domain) => Ok(Reply::see_other(format!("/domains/{}", domain.id))),
        Err(e) => again(ctx, None, &pairs, e),
    }
}

pub fn change(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "domain")?;
    let pairs = ctx.request.form()?;
    match api::save(
        ctx.app,
        id,
        input(&pairs),
        |d| Some(d.fields.clone()),
        ctx.allowed(Edit, Domains)?,
    ) {
        Ok(_) => Ok(Reply::see_other(format!("/domains/{id}"))),
        Err(e) => again(ctx, Some(id), &pairs, e),
    }
}
