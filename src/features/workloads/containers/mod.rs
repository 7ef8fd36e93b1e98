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
mod chosen;
mod acts;
mod state;
mod follow;
mod relay;
mod collect;
mod events;
mod tasks;
mod api;
mod pages;
mod commands;

use crate::app::App;
use crate::base::clock;
use crate::base::error::{Error, Result};
use crate::db::Conn;
use crate::feature::Feature;
use crate::features::workloads::logs::{Of, Speaker};
use std::collections::HashSet;

pub use choice::matches;
pub use chosen::Chosen;
pub use follow::Skew;
pub use lines::Ration;
pub use observed::CONTAINERS;
pub use settings::bounds;

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

/// Who may have lines: containers of a server, of a compose project (empty: of any), also those that are gone.
pub fn speakers(conn: &Conn, server: Option<Of>, project: &str) -> Result<Vec<Speaker>> {
    let filter = queries::Filter {
        server,
        state: "any",
        project,
        limit: SPEAKERS_MAX,
        ..Default::default()
    };
    let (all, _) = queries::list(conn, &filter)?;
    Ok(all.iter().map(queries::Container::speaker).collect())
}

/// Containers of one stream or search.
const SPEAKERS_MAX: i64 = 2_000;

/// Numbers of the containers that a text chooses; see [`Chosen`].
pub fn chosen(conn: &Conn, text: &str) -> Result<HashSet<i64>> {
    let chosen = Chosen::parse(text).map_err(Error::internal)?;
    let filter = queries::Filter {
        state: "any",
        limit: i64::MAX,
        ..Default::default()
    };
    let (all, _) = queries::list(conn, &filter)?;
    Ok(all.iter().filter(|one| chosen.takes(one)).map(|one| one.id).collect())
}

/// Does a text choose this container? See [`Chosen`]. One that is not known any more is not chosen but by everything.
pub fn is_chosen(conn: &Conn, id: i64, text: &str) -> Result<bool> {
    if text.is_empty() {
        return Ok(true);
    }
    let chosen = Chosen::parse(text).map_err(Error::internal)?;
    Ok(queries::get(conn, id)?.is_some_and(|one| chosen.takes(&one)))
}

/// How a container is, and what it said in the last minute.
pub fn evidence(app: &App, conn: &Conn, id: i64) -> Result<Vec<String>> {
    let Some(one) = queries::get(conn, id)? else {
        return Ok(Vec::new());
    };
    state::evidence(app, &one, clock::now())
}
