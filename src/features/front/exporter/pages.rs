//! The exporter's card on the settings page: scrape token (shown once) and push secret.

use super::{api, push, queries};
use crate::access::right::{Edit, Exporter, may};
use crate::base::error::{Error, Kind, Result};
use crate::http::page;
use crate::http::reply::Reply;
use crate::http::request::Method::Post;
use crate::http::route::{Ctx, Panel, Route, route};

/// Page routes.
pub const ROUTES: &[Route] = &[
    route(Post, "/exporter/token", may(Edit, Exporter), new_token),
    route(Post, "/exporter/token/end", may(Edit, Exporter), drop_token),
    route(Post, "/exporter/push-secret", may(Edit, Exporter), set_push_secret).takes(api::PUSH_SECRET),
];

/// Panels.
pub const PANELS: &[Panel] = &[Panel {
    on: "settings",
    slot: "exporter",
    data: |ctx, _| {
        let token = ctx.app.db.read(|conn| queries::get(conn, super::TOKEN))?;
        let (lag_s, secret) = push::state(ctx.app)?;
        Ok(serde_json::json!({ "token_at": token.map(|(_, at)| at), "lag_s": lag_s, "secret": secret }))
    },
}];

fn new_token(ctx: &Ctx) -> Result<Reply> {
    ctx.input()?.finish(&[])?;
    let token = api::make_token(ctx)?;
    page::show(ctx, "settings/token.html", serde_json::json!({ "token": token }))
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
    api::keep_push_secret(ctx)?;
    Ok(Reply::see_other("/settings?saved=1#s-prometheus"))
}
