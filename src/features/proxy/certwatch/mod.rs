//! The certificate that each server really shows for each domain, and how much of its life is left.
//!
//! What is deployed is no proof: a web server that nobody reloaded shows the old certificate until it ends. So each site is
//! asked as a browser would ask, often enough that a certificate of an hour is seen to age like one of a year.

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

/// After a deploy or a renewal there may be another certificate, and a person waits to see it.
fn react(_app: &App, tx: &Tx, event: &Event) -> Result<()> {
    match event.kind.as_str() {
        "deploy.ok" | "domain.renewed" => queries::make_due(tx, Id::new(event.target_id)),
        // What was seen while it was dark is soon not true any more.
        "server.recovered" => queries::make_due_on(tx, Id::new(event.target_id)),
        _ => Ok(()),
    }
}
