//! Is it alive? `/health` and its aliases for load balancers and humans, `/health/scheduler` for the background work.

use crate::access::Right;
use crate::app::App;
use crate::base::clock::{self, rfc3339};
use crate::base::error::Result;
use crate::feature::Feature;
use crate::http::reply::Reply;
use crate::http::request::Method::Get;
use crate::http::route::{Ctx, Route, route};
use crate::schedule::{self, Beat};

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    routes: ROUTES,
    ..Feature::named("health")
};

const ROUTES: &[Route] = &[
    route(Get, "/health", Right::Public, health),
    route(Get, "/healthz", Right::Public, health),
    route(Get, "/api/health", Right::Public, health),
    route(Get, "/health/scheduler", Right::Public, scheduler),
];

/// Healthy means: a query was answered. Nobody needs to be signed in, so nothing else is told.
fn health(ctx: &Ctx) -> Result<Reply> {
    let db = ctx.app.db.read(crate::access::accounts).is_ok();
    let body = serde_json::json!({
        "status": if db { "healthy" } else { "unhealthy" },
        "version": env!("CARGO_PKG_VERSION"),
        "uptime": ctx.app.started.elapsed().as_secs(),
        "timestamp": rfc3339(clock::now()),
    });
    Ok(Reply::json(&body)?.with_status(if db { 200 } else { 503 }))
}

/// The beats of the background work, in whichever process it runs; 503 when one is late or there is none.
pub fn beats(app: &App) -> Result<(Vec<Beat>, bool)> {
    let beats = app.db.read(schedule::beats)?;
    let now = clock::now();
    let good = !beats.is_empty() && beats.iter().all(|b| !b.is_late(now));
    Ok((beats, good))
}

fn scheduler(ctx: &Ctx) -> Result<Reply> {
    let (beats, good) = beats(ctx.app)?;
    let now = clock::now();
    let items: Vec<_> = beats
        .iter()
        .map(|b| {
            serde_json::json!({
                "name": b.name, "every_s": b.every_ms / 1000, "age_s": (now - b.last_at) / 1000, "took_ms": b.last_ms,
                "late": b.is_late(now), "failed": b.error.is_some(),
            })
        })
        .collect();
    let body = serde_json::json!({ "status": if good { "healthy" } else { "unhealthy" }, "items": items, "total": items.len() });
    Ok(Reply::json(&body)?.with_status(if good { 200 } else { 503 }))
}
