//! The settings page: one panel per section, one row per setting.

use super::api;
use crate::access::right::{Edit, Read, Settings, may};
use crate::base::error::{Kind, Result};
use crate::http::page;
use crate::http::reply::Reply;
use crate::http::request::Method::{Get, Post};
use crate::http::route::{Ctx, Route, route};
use crate::http::view::Errors;
use crate::lang::Lang;
use serde::Serialize;
use std::collections::HashMap;

/// Page routes.
pub const ROUTES: &[Route] = &[
    route(Get, "/settings", may(Read, Settings), list),
    route(Post, "/settings", may(Edit, Settings), change),
];

#[derive(Serialize)]
struct Section {
    name: &'static str,
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    key: &'static str,
    /// Stored value, or the refused input.
    value: String,
    default: String,
    kind: api::Kind,
    help: &'static str,
}

fn sections(ctx: &Ctx, typed: &HashMap<String, String>) -> Result<Vec<Section>> {
    let lang = page::lang(ctx.request, ctx.maybe_actor());
    let mut sections: Vec<Section> = Vec::new();
    for s in api::all(ctx.app)? {
        let name = s.key.split_once('.').map_or(s.key, |(section, _)| section);
        let row = Row {
            key: s.key,
            value: typed.get(s.key).cloned().unwrap_or_else(|| s.value.to_string()),
            default: s.default.to_string(),
            kind: s.kind,
            help: if lang == Lang::Ru { s.help_ru } else { s.help },
        };
        match sections.iter_mut().find(|section| section.name == name) {
            Some(section) => section.rows.push(row),
            None => sections.push(Section { name, rows: vec![row] }),
        }
    }
    Ok(sections)
}

#[derive(Serialize)]
struct Content {
    sections: Vec<Section>,
    errors: Errors,
    saved: bool,
    panels: serde_json::Map<String, serde_json::Value>,
}

fn list(ctx: &Ctx) -> Result<Reply> {
    let saved = ctx.request.param("saved").is_some();
    let content = Content {
        sections: sections(ctx, &HashMap::new())?,
        errors: Errors::default(),
        saved,
        panels: ctx.panels("settings", 0)?,
    };
    page::show(ctx, "settings/list.html", content)
}

fn change(ctx: &Ctx) -> Result<Reply> {
    let typed: HashMap<_, _> = ctx
        .request
        .form()?
        .into_iter()
        .filter(|(name, _)| name != "csrf")
        .collect();
    let changes: Vec<_> = typed
        .iter()
        .map(|(key, value)| (key.clone(), Some(value.trim().to_string()).filter(|v| !v.is_empty())))
        .collect();
    match api::set_all(ctx.app, &changes, ctx.allowed(Edit, Settings)?) {
        Ok(()) => Ok(Reply::see_other("/settings?saved=1")),
        Err(e) if e.kind == Kind::Invalid => {
            let content = Content {
                sections: sections(ctx, &typed)?,
                errors: Errors::of(&e),
                saved: false,
                panels: ctx.panels("settings", 0)?,
            };
            Ok(page::show(ctx, "settings/list.html", content)?.with_status(422))
        }
        Err(e) => Err(e),
    }
}
