//! Checks of the certificate that each server really serves for each domain, and of its remaining life.
//!
//! A deployed file is no proof: a web server that was not reloaded serves the old certificate. So each site is
//! requested as a browser would, often enough for certificates of an hour, too.

mod settings;
mod events;
mod evaluate;
mod queries;
mod probe;
mod watch;
mod api;
mod pages;

use crate::app::App;
use crate::base::error::Result;
use crate::base::id::Id;
use crate::db::Tx;
use crate::events::outbox::Event;
use crate::feature::Feature;

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    pages: pages::ROUTES,
    panels: pages::PANELS,
    periodic: watch::PERIODIC,
    react: Some(react),
    settings: settings::SETTINGS,
    kinds: events::KINDS,
    ..Feature::named("certwatch")
};

/// After a deploy or a renewal the certificate may have changed.
fn react(_app: &App, tx: &Tx, event: &Event) -> Result<()> {
    match event.kind.as_str() {
        "deploy.ok" | "domain.renewed" => queries::make_due(tx, Id::new(event.target_id)),
        // Results from its down time are outdated.
        "server.recovered" => queries::make_due_on(tx, Id::new(event.target_id)),
        _ => Ok(()),
    }
}
