//! Polling of servers by Glances: responses become observations and series, missing ones make a server unreachable.

mod settings;
mod events;
mod json_reader;
mod layers;
mod glances;
mod probe;
mod readings;
mod recorder;
mod remote_read;
mod poller;
mod availability;
mod uplink;
mod outcomes;
mod service;
mod exposition;
mod api;
mod pages;

use crate::feature::Feature;
pub use api::{chart_of_subject, window};
pub use availability::{Change, step};
pub use exposition::{STATE_HELP, state_figure};
pub use glances::{Disk, Sample, parse};
pub use poller::{PollStats, Poller, THREADS};
pub use probe::{Outcome, PollAuth, PollTarget, Polled, Probed, Seen, poll, probe, security};
pub use readings::{DISK, FIGURES_COUNT, SERVERS, figures, observe, observed};
pub use recorder::Recorder;
pub use service::{offline_since, poll_stats};
pub use settings::keep;

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    pages: pages::ROUTES,
    services: service::SERVICES,
    subjects: &[&SERVERS],
    exposes: exposition::EXPOSES,
    settings: settings::SETTINGS,
    kinds: events::KINDS,
    ..Feature::named("metrics")
};
