//! Periodic checks of every site: from outside, each minute, at the addresses of its servers, for its proof
//! ([`crate::provision::site::Proof`]) and its front page; and on the server itself, by the drift check. Together they
//! distinguish a web server that is down, a firewall, an answer of another site, and a backend that is down.

mod settings;
mod events;
mod evaluate;
mod queries;
mod probe;
mod watch;
mod api;
mod pages;

use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::db::Conn;
use crate::feature::Feature;

pub use watch::{DARK, THREADS_MAX};

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    pages: pages::ROUTES,
    panels: pages::PANELS,
    services: watch::SERVICES,
    settings: settings::SETTINGS,
    kinds: events::KINDS,
    ..Feature::named("sitewatch")
};

/// The servers on which a domain fails.
pub fn dark_on(conn: &Conn, domain: Id<id::Domain>) -> Result<Vec<Id<id::Server>>> {
    let placements = queries::placements(conn, domain)?;
    let bad = placements.iter().filter(|placement| placement.known.state.is_bad());
    Ok(bad.map(|placement| placement.server).collect())
}
