//! Watching: what Glances says becomes samples, samples become series, silence becomes a dark lamp.

mod settings;
pub mod pull;
mod kinds;
pub mod glances;
pub mod lamp;
pub mod probe;
pub mod readings;
pub mod recorder;
mod afar;
pub mod poll;
mod ownnet;
mod watch;
mod filling;
mod api;
mod pages;

use crate::feature::Feature;
pub use poll::Doing;
pub use settings::keep;
pub use watch::{doing, offline_since};

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    pages: pages::ROUTES,
    periodic: filling::PERIODIC,
    services: watch::SERVICES,
    settings: settings::SETTINGS,
    ..Feature::named("metrics")
};
