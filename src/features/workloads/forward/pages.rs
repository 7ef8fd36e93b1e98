//! The card on the settings page: how it stands with the receivers, and Loki's secret.

use super::{api, send, target};
use crate::access::right::{Edit, Settings, may};
use crate::base::error::Result;
use crate::http::reply::Reply;
use crate::http::request::Method::Post;
use crate::http::route::{Ctx, Panel, Route, route};

/// Page routes.
pub const ROUTES: &[Route] = &[route(Post, "/forward/secret", may(Edit, Settings), set_secret).takes(api::SECRET)];

/// Panels.
pub const PANELS: &[Panel] = &[Panel {
    on: "settings",
    slot: "forward",
    data: |ctx, _| {
        let of = |one: send::Standing| {
            serde_json::json!({ "receiver": one.target.name(), "place": one.place, "waiting": one.waiting, "taken": one.taken,
                "missed": one.missed, "fault": one.fault })
        };
        let all: Vec<_> = send::standing(ctx.app)?.into_iter().map(of).collect();
        let (loki, secret) = ctx
            .app
            .db
            .read(|conn| Ok((target::loki_origin(conn)?, target::has_secret(conn)?)))?;
        Ok(serde_json::json!({ "all": all, "loki": loki, "secret": secret }))
    },
}];

fn set_secret(ctx: &Ctx) -> Result<Reply> {
    api::keep_secret(ctx)?;
    Ok(Reply::see_other("/settings?saved=1#s-forwarded"))
}
