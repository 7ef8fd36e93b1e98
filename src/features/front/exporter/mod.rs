//! Figures for others: `/metrics` in Prometheus' text format, and samples pushed to an engine that speaks VictoriaMetrics'
//! import, for who keeps more than one machine can. Both give the same names.

mod settings;
mod queries;
mod text;
mod fleet;
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

/// The row of the table.
const TOKEN: &str = "token";
