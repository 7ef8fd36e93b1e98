//! `/openapi.json`. It tells nothing that is not in the program's source, so anybody may read it.

use crate::access::Right;
use crate::base::error::Result;
use crate::feature::Feature;
use crate::http::openapi;
use crate::http::reply::{Reply, to_json};
use crate::http::request::Method::Get;
use crate::http::route::{Ctx, Route, route};
use serde_json::Value;
use std::sync::Arc;

/// See [`Route`].
pub const ROUTES: &[Route] = &[route(Get, "/openapi.json", Right::Public, document).gives::<Value>()];

fn document(ctx: &Ctx) -> Result<Reply> {
    let tls = ctx.request.tls;
    let key = format!("openapi {tls}");
    let json = ctx.web.cache.get(ctx.app, &key, || {
        let features = ctx.app.registry.all::<Feature>().iter().map(|f| (f.name, f.routes));
        to_json(&openapi::document(&features.collect::<Vec<_>>(), tls))
    })?;
    Ok(Reply::json_made::<Value>(Arc::clone(&json)))
}
