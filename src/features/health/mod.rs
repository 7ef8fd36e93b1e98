//! Is it alive? `/health` and its aliases for load balancers and humans, `/health/scheduler` for the background work.

use crate::access::Right;
use crate::app::App;
use crate::base::clock::{self, Duration, rfc3339};
use crate::base::error::{Error, Result};
use crate::base::{log, sys};
use crate::feature::Feature;
use crate::http::reply::Reply;
use crate::http::request::Method::Get;
use crate::http::route::{Ctx, Panel, Route, route};
use crate::schedule::{self, Beat, Periodic, Work};
use serde::Serialize;

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    routes: ROUTES,
    panels: PANELS,
    periodic: PERIODIC,
    ..Feature::named("health")
};

const PANELS: &[Panel] = &[Panel {
    on: "settings",
    slot: "storage",
    data: |ctx, _| serde_json::to_value(storage_of(ctx.app)?).map_err(Error::internal),
}];

const PERIODIC: &[Periodic] = &[Periodic {
    name: "databases.shrink",
    every: Duration::from_secs(3600),
    run: Work::Short(|app| {
        for db in [&app.db, &app.metrics] {
            let bytes = db.shrink()?;
            if bytes > 0 {
                let name = db.path().display().to_string();
                log::info(
                    "db",
                    "gave room back",
                    &[("file", &name), ("bytes", &bytes.to_string())],
                );
            }
        }
        Ok(())
    }),
}];

const ROUTES: &[Route] = &[
    route(Get, "/health", Right::Public, health),
    route(Get, "/healthz", Right::Public, health),
    route(Get, "/api/health", Right::Public, health),
    route(Get, "/health/scheduler", Right::Public, scheduler),
    route(Get, "/api/health/storage", Right::Read, storage),
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

/// What Lamplighter takes of its own machine's disk, in bytes.
#[derive(Serialize)]
pub struct Storage {
    databases: Vec<Database>,
    /// Left on the disk that they lie on, for this user.
    disk_free: Option<u64>,
    /// The whole disk.
    disk_size: Option<u64>,
}

#[derive(Serialize)]
struct Database {
    name: String,
    /// With its write-ahead log.
    bytes: i64,
    /// Of that, empty: it is filled again or given back.
    empty: i64,
}

/// See [`Storage`].
pub fn storage_of(app: &App) -> Result<Storage> {
    let databases = [&app.db, &app.metrics].map(|db| {
        let size = db.size()?;
        let name = db.path().file_name().unwrap_or_default();
        Ok(Database {
            name: name.to_string_lossy().into_owned(),
            bytes: size.file + size.wal,
            empty: size.free,
        })
    });
    let disk = sys::disk(&app.config.data_dir).ok();
    Ok(Storage {
        databases: databases.into_iter().collect::<Result<_>>()?,
        disk_free: disk.map(|(free, _)| free),
        disk_size: disk.map(|(_, size)| size),
    })
}

fn storage(ctx: &Ctx) -> Result<Reply> {
    Reply::json(&storage_of(ctx.app)?)
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
