//! Metrics for other systems: `/metrics` in Prometheus' text format, and samples pushed to a remote store with
//! VictoriaMetrics' import API. Both use the same names.

mod settings;
mod queries;
mod observed;
mod push;
mod own;
mod api;
mod pages;

use crate::feature::Feature;
use crate::schedule::{Periodic, Work};
use std::time::Duration;

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    pages: pages::ROUTES,
    panels: pages::PANELS,
    periodic: PERIODIC,
    settings: settings::SETTINGS,
    ..Feature::named("exporter")
};

const PERIODIC: &[Periodic] = &[Periodic {
    name: "exporter.push",
    every: Duration::from_secs(15),
    run: Work::Long(push::run),
}];

/// Key of the token's row.
const TOKEN: &str = "token";
