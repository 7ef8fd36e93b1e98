//! The page of the inventory: what to read in, what that would add, and where other programs get it from.

use super::plan::{self, Plan};
use super::read::FORMATS;
use crate::access::right::{Edit, Read, Servers, may};
use crate::base::error::{Kind, Result};
use crate::features::house::plugins;
use crate::form::Input;
use crate::http::page;
use crate::http::reply::Reply;
use crate::http::request::Method::{Get, Post};
use crate::http::route::{Ctx, Route, route};
use crate::http::view::Errors;
use serde_json::{Map, Value, json};

/// Page routes.
pub const ROUTES: &[Route] = &[
    route(Get, "/inventory", may(Read, Servers), look),
    route(Post, "/inventory", may(Edit, Servers), look_first),
    route(Post, "/inventory/import", may(Edit, Servers), import),
];

/// The form as a draft: lists split at commas, empty secrets left out.
fn draft(pairs: &[(String, String)]) -> Map<String, Value> {
    let mut draft = Map::new();
    let mut names = Vec::new();
    for (name, value) in pairs {
        let value = match name.as_str() {
            "csrf" => continue,
            "names" => {
                names.push(Value::from(value.as_str()));
                continue;
            }
            "tags" => value.split(',').map(str::trim).filter(|t| !t.is_empty()).collect(),
            "ssh_key" | "password" | "ssh_key_passphrase" | "plugin_id" if value.trim().is_empty() => continue,
            // Browsers send other line ends than they show.
            "text" => Value::from(value.replace("\r\n", "\n")),
            _ => Value::from(value.as_str()),
        };
        draft.insert(name.clone(), value);
    }
    draft.insert("names".into(), Value::Array(names));
    draft
}

fn show(ctx: &Ctx, pairs: &[(String, String)], plan: Option<&Plan>, errors: Errors) -> Result<Reply> {
    let mut typed = Map::new();
    for (name, value) in pairs {
        // A secret is typed again.
        if ["text", "format", "username", "tags", "plugin_id"].contains(&name.as_str()) {
            typed.insert(name.clone(), value.as_str().into());
        }
    }
    let plugins = match ctx.allowed(Edit, Servers).is_ok() {
        true => {
            let all = ctx.app.db.read(plugins::inventories)?.into_iter();
            all.map(|(id, name)| (id.to_string(), name)).collect()
        }
        false => Vec::new(),
    };
    let content = json!({
        "plugins": plugins,
        "typed": typed, "plan": plan, "errors": errors, "formats": FORMATS,
        "added": ctx.request.param("added").and_then(|n| n.parse::<i64>().ok()),
    });
    page::show(ctx, "inventory/show.html", content)
}

fn look(ctx: &Ctx) -> Result<Reply> {
    show(ctx, &[], None, Errors::default())
}

/// What would be added, before it is.
fn look_first(ctx: &Ctx) -> Result<Reply> {
    carry_out(ctx, false)
}

fn import(ctx: &Ctx) -> Result<Reply> {
    carry_out(ctx, true)
}

fn carry_out(ctx: &Ctx, is_real: bool) -> Result<Reply> {
    let pairs = ctx.request.form()?;
    let by = ctx.allowed(Edit, Servers)?;
    let none_chosen = is_real && !pairs.iter().any(|(name, _)| name == "names");
    let done = plan::asked(ctx, Input::of(plan::PARAMS, draft(&pairs)))
        .and_then(|asked| asked.carry_out(ctx.app, by, is_real && !none_chosen));
    match done {
        Ok(plan) if plan.created.is_empty() => show(ctx, &pairs, Some(&plan), Errors::default()),
        Ok(plan) => Ok(Reply::see_other(format!("/inventory?added={}", plan.created.len()))),
        Err(e) if e.kind == Kind::Invalid && !e.fields.is_empty() => {
            Ok(show(ctx, &pairs, None, Errors::of(&e))?.with_status(422))
        }
        Err(e) => Err(e),
    }
}
