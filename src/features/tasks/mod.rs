//! Tasks as people see them: lists, steps, and the log, live or whole.

pub mod api;
pub mod pages;
mod stream;

use crate::base::clock::{self, DAY};
use crate::feature::Feature;
use crate::schedule::Periodic;
use crate::settings;
use crate::task::queue;
use std::time::Duration;

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    routes: api::ROUTES,
    pages: pages::ROUTES,
    periodic: PERIODIC,
    ..Feature::named("tasks")
};

const PERIODIC: &[Periodic] = &[Periodic {
    name: "tasks.purge",
    every: Duration::from_secs(3600),
    run: |app| {
        let days = app.db.read(|conn| settings::number(conn, "retention.task_days"))?;
        app.db.write(|tx| queue::purge(tx, clock::now() - days * DAY)).map(drop)
    },
}];
