//! The exporter's card on the settings page: scrape token (shown once) and push secret.

use super::{api, push, queries};
use crate::access::right::{Edit, Exporter, may};
use crate::base::error::{Error, Kind, Result};
use crate::features::house::secrets;
use crate::form::Input;
use crate::http::page;
use crate::http::reply::Reply;
use crate::http::request::Method::Post;
use crate::http::route::{Ctx, Panel, Route, route};
use serde_json::{Map, json};

/// Page routes.
pub const ROUTES: &[Route] = &[
    route(Post, "/exporter/token", may(Edit, Exporter), new_token),
    route(Post, "/exporter/token/end", may(Edit, Exporter), drop_token),
    route(Post, "/exporter/push-secret", may(Edit, Exporter), set_push_secret),
];

/// Panels.
pub const PANELS: &[Panel] = &[Panel {
    on: "settings",
    slot: "exporter",
    data: |ctx, _| {
        let token = ctx.app.db.read(|conn| queries::get(conn, super::TOKEN))?;
        let (lag_s, secret) = push::state(ctx.app)?;
        let refers = ctx.app.db.read(api::refers)?;
        let picks = secrets::offered(ctx, api::PLACE, api::REFERENCES, &refers, &[])?;
        let token_at = token.map(|(_, at)| at);
        Ok(json!({ "token_at": token_at, "lag_s": lag_s, "secret": secret, "picks": picks }))
    },
}];

fn new_token(ctx: &Ctx) -> Result<Reply> {
    ctx.input()?.finish(&[])?;
    let token = api::make_token(ctx)?;
    page::show(ctx, "settings/token.html", json!({ "token": token }))
}

fn drop_token(ctx: &Ctx) -> Result<Reply> {
    ctx.input()?.finish(&[])?;
    match api::end_token(ctx) {
        Err(Error {
            kind: Kind::NotFound, ..
        })
        | Ok(()) => Ok(Reply::see_other("/settings?saved=1#s-prometheus")),
        Err(e) => Err(e),
    }
}

fn set_push_secret(ctx: &Ctx) -> Result<Reply> {
    let form = ctx.request.form()?;
    let typed = form.iter().find(|(name, _)| name == "secret");
    let mut draft = Map::from_iter([("secret".to_string(), json!(typed.map(|(_, value)| value)))]);
    let refers = ctx.app.db.read(api::refers)?;
    secrets::choose(&form, api::REFERENCES, &refers, &mut draft);
    // Without it the same secret stays.
    if draft.contains_key("secret") {
        api::keep_push_secret(ctx, Input::of(api::PUSH_SECRET, draft))?;
    }
    Ok(Reply::see_other("/settings?saved=1#s-prometheus"))
}
