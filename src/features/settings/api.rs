//! The settings' JSON API.

use crate::access::{Actor, Right};
use crate::app::App;
use crate::audit;
use crate::base::error::{Error, Kind, Result};
use crate::http::reply::Reply;
use crate::http::request::Method::{Get, Put};
use crate::http::route::{Ctx, Route, route};
use crate::settings::{self, TABLE, Type};
use serde::Serialize;

/// See [`Route`].
pub const ROUTES: &[Route] = &[
    route(Get, "/api/settings", Right::Administer, list),
    route(Put, "/api/settings", Right::Administer, change),
];

/// One setting as shown.
#[derive(Serialize)]
pub struct View {
    /// `section.name`.
    pub key: &'static str,
    /// What holds now.
    pub value: i64,
    /// What holds when nobody has set it.
    pub default: i64,
    /// Smallest.
    pub min: i64,
    /// Largest.
    pub max: i64,
    /// Unit, or empty.
    pub unit: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// The same in Russian.
    pub help_ru: &'static str,
}

/// Every setting with the value that holds now.
pub fn all(app: &App) -> Result<Vec<View>> {
    app.db.read(|conn| {
        let view = |s: &'static settings::Setting| {
            let Type::Number { min, max, unit } = s.kind;
            let value = settings::number(conn, s.key)?;
            Ok(View {
                key: s.key,
                value,
                default: s.default,
                min,
                max,
                unit,
                help: s.help,
                help_ru: s.help_ru,
            })
        };
        TABLE.iter().map(view).collect()
    })
}

/// Sets several at once: all or none. An empty value takes the default back.
pub fn set_all(app: &App, changes: &[(String, Option<String>)], actor: &Actor) -> Result<()> {
    app.db.write(|tx| {
        for (key, value) in changes {
            settings::set(tx, key, value.as_deref(), actor.login())?;
        }
        let detail: serde_json::Map<_, _> = changes.iter().map(|(k, v)| (k.clone(), v.clone().into())).collect();
        audit::append(
            tx,
            &app.vault,
            actor.by(),
            "settings.change",
            "settings",
            &detail.into(),
        )
    })
}

fn list(ctx: &Ctx) -> Result<Reply> {
    let items = all(ctx.app)?;
    Reply::json(&serde_json::json!({ "total": items.len(), "items": items }))
}

/// `{"poll.fail_threshold": 5, "retention.task_days": null}`: `null` takes the default back.
fn change(ctx: &Ctx) -> Result<Reply> {
    let body: serde_json::Map<String, serde_json::Value> = ctx.request.json()?;
    let mut changes = Vec::new();
    for (key, value) in body {
        let value = match value {
            serde_json::Value::Null => None,
            serde_json::Value::Number(n) => Some(n.to_string()),
            serde_json::Value::String(text) => Some(text),
            _ => {
                return Err(Error::new(
                    Kind::Malformed,
                    "bad_json",
                    "A setting is a number or null.",
                ));
            }
        };
        changes.push((key, value));
    }
    set_all(ctx.app, &changes, ctx.actor()?)?;
    list(ctx)
}
