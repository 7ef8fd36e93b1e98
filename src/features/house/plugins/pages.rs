//! The plugins on one page: what there is, what is used, and what it answered last.

use super::definition::{DEFINITIONS, Purpose};
use super::{api, model, queries};
use crate::access::right::{Edit, Read, Settings, may};
use crate::base::clock::Ms;
use crate::base::error::{Kind, Result};
use crate::form::Input;
use crate::http::page;
use crate::http::reply::Reply;
use crate::http::request::Method::{Get, Post};
use crate::http::route::{Ctx, Route, route};
use crate::http::view::Errors;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// Page routes.
pub const ROUTES: &[Route] = &[
    route(Get, "/plugins", may(Read, Settings), list),
    route(Post, "/plugins", may(Edit, Settings), create),
    route(Post, "/plugins/{id}/test", may(Edit, Settings), test),
    route(Post, "/plugins/{id}/delete", may(Edit, Settings), delete),
];

#[derive(Serialize)]
struct Row {
    id: i64,
    name: String,
    definition: &'static str,
    purpose: Purpose,
    config: Vec<(String, String)>,
    has_token: bool,
    runs: bool,
    last: Option<(Ms, bool, String)>,
}

#[derive(Serialize)]
struct Kinds {
    name: &'static str,
    purpose: Purpose,
    fields: &'static [&'static str],
    runs: bool,
}

#[derive(Serialize)]
struct Content {
    items: Vec<Row>,
    kinds: Vec<Kinds>,
    typed: HashMap<String, String>,
    errors: Errors,
}

fn list(ctx: &Ctx) -> Result<Reply> {
    show(ctx, HashMap::new(), Errors::default())
}

fn show(ctx: &Ctx, typed: HashMap<String, String>, errors: Errors) -> Result<Reply> {
    let items = ctx.app.db.read(queries::all)?.into_iter().map(|plugin| Row {
        id: plugin.id.get(),
        definition: plugin.definition.name,
        purpose: plugin.definition.purpose,
        runs: plugin.definition.runs,
        config: (plugin.config.iter())
            .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().into()))
            .collect(),
        has_token: plugin.has_token,
        last: plugin.last,
        name: plugin.name,
    });
    let kinds = DEFINITIONS.iter().map(|d| Kinds {
        name: d.name,
        purpose: d.purpose,
        fields: d.fields,
        runs: d.runs,
    });
    let content = Content {
        items: items.collect(),
        kinds: kinds.collect(),
        typed,
        errors,
    };
    page::show(ctx, "plugins/list.html", content)
}

fn create(ctx: &Ctx) -> Result<Reply> {
    let mut form: HashMap<String, String> = ctx.request.form()?.into_iter().collect();
    let mut draft: Map<String, Value> = Map::new();
    let mut config: Map<String, Value> = Map::new();
    for (name, value) in &form {
        let value = value.trim();
        match name.strip_prefix("config.") {
            Some(name) if !value.is_empty() => drop(config.insert(name.into(), value.into())),
            None if ["name", "definition", "token"].contains(&name.as_str()) && !value.is_empty() => {
                drop(draft.insert(name.clone(), value.into()));
            }
            _ => {}
        }
    }
    draft.insert("config".into(), config.into());
    match api::add(ctx.app, Input::of(model::PARAMS, draft), ctx.allowed(Edit, Settings)?) {
        Ok(id) => Ok(Reply::see_other(format!("/plugins#p{id}"))),
        Err(e) if !e.fields.is_empty() && matches!(e.kind, Kind::Invalid | Kind::Conflict) => {
            form.remove("token"); // no form brings a secret back
            Ok(show(ctx, form, Errors::of(&e))?.with_status(422))
        }
        Err(e) => Err(e),
    }
}

/// What came of it stands in the list.
fn test(ctx: &Ctx) -> Result<Reply> {
    let form = ctx.request.form()?;
    let secret = form
        .into_iter()
        .find(|(name, _)| name == "secret")
        .map(|(_, value)| value);
    api::tried(ctx, secret.unwrap_or_default().trim().to_string())?;
    Ok(Reply::see_other(format!("/plugins#p{}", ctx.arg(0))))
}

fn delete(ctx: &Ctx) -> Result<Reply> {
    ctx.input()?.finish(&[])?;
    api::delete(ctx)?;
    Ok(Reply::see_other("/plugins"))
}
