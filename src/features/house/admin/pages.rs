//! Maintenance and banner on one page.

use super::{api, model};
use crate::access::right::{Edit, Read, Settings, may};
use crate::base::clock::rfc3339;
use crate::base::error::{Kind, Result};
use crate::features::house::projects;
use crate::form::Input;
use crate::http::page;
use crate::http::reply::Reply;
use crate::http::request::Method::{Get, Post};
use crate::http::route::{Ctx, Route, route};
use crate::http::view::Errors;
use crate::notice;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// Page routes.
pub const ROUTES: &[Route] = &[
    route(Get, "/admin/settings", may(Read, Settings), show),
    route(Post, "/admin/settings", may(Edit, Settings), change).in_maintenance(),
];

#[derive(Serialize)]
struct Content {
    on: bool,
    message: String,
    pause_schedules: bool,
    text: String,
    level: String,
    until: String,
    project: i64,
    /// Number and name; one alone is not shown.
    projects: Vec<(i64, String)>,
    saved: bool,
    errors: Errors,
}

fn content(ctx: &Ctx) -> Result<Content> {
    ctx.app.db.read(|conn| {
        let notice = notice::get(conn)?;
        let banner = notice.banner.as_ref();
        Ok(Content {
            on: notice.maintenance,
            pause_schedules: notice.pause_schedules,
            text: banner.map(|b| b.text.clone()).unwrap_or_default(),
            level: banner.map_or("info", |b| b.level.name()).into(),
            until: banner.and_then(|b| b.until).map(rfc3339).unwrap_or_default(),
            message: notice.message,
            project: projects::usual(conn)?.get(),
            projects: projects::names(conn)?,
            saved: ctx.request.param("saved").is_some(),
            errors: Errors::default(),
        })
    })
}

fn show(ctx: &Ctx) -> Result<Reply> {
    page::show(ctx, "admin/settings.html", content(ctx)?)
}

fn change(ctx: &Ctx) -> Result<Reply> {
    let form: HashMap<String, String> = ctx.request.form()?.into_iter().collect();
    let typed = |name: &str| form.get(name).map_or("", |value| value.trim());
    let mut draft: Map<String, Value> = Map::new();
    draft.insert(
        "maintenance".into(),
        json!({ "on": form.contains_key("on"), "message": typed("message"), "pause_schedules": form.contains_key("pause_schedules") }),
    );
    let banner = match typed("text") {
        "" => Value::Null,
        text => json!({ "text": text, "level": typed("level"), "until": typed("until") }),
    };
    draft.insert("banner".into(), banner);
    if !typed("default_project").is_empty() {
        draft.insert("default_project".into(), typed("default_project").into());
    }
    match api::save(ctx.app, Input::of(model::PARAMS, draft), ctx.allowed(Edit, Settings)?) {
        Ok(()) => Ok(Reply::see_other("/admin/settings?saved=1")),
        Err(e) if e.kind == Kind::Invalid && !e.fields.is_empty() => {
            let content = Content {
                on: form.contains_key("on"),
                pause_schedules: form.contains_key("pause_schedules"),
                message: typed("message").into(),
                text: typed("text").into(),
                level: typed("level").into(),
                until: typed("until").into(),
                errors: Errors::of(&e),
                ..content(ctx)?
            };
            Ok(page::show(ctx, "admin/settings.html", content)?.with_status(422))
        }
        Err(e) => Err(e),
    }
}
