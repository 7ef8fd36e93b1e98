//! Containers on any server, without an agent: over the ssh that is there, by Docker's or Podman's socket. A collector
//! ([`collect`]) follows what happens and what is written; lines are in the journal and figures in the series, so that the
//! API only reads and never waits for an engine, and a log outlives its container. History belongs to a name on a server: a
//! container that is made anew goes on with it.

mod model;
mod choice;
mod settings;
mod engine;
mod frames;
mod resume;
mod lines;
mod stats;
mod queries;
mod observed;
mod state;
mod words_alert;
mod follow;
mod relay;
mod collect;
mod events;
mod tasks;
mod logs;
mod api;
mod pages;
mod commands;

use crate::feature::Feature;

pub use observed::CONTAINERS;

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    pages: pages::ROUTES,
    cards: pages::CARDS,
    panels: pages::PANELS,
    menu: pages::MENU,
    commands: commands::COMMANDS,
    tasks: tasks::TASKS,
    services: collect::SERVICES,
    settings: settings::SETTINGS,
    kinds: events::KINDS,
    targets: &[observed::TARGET],
    subjects: &[&CONTAINERS],
    ..Feature::named("containers")
};
