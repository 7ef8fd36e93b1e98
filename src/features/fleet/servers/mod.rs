//! Servers: how to reach them, whether to trust them, and the work done on them over ssh.
//!
//! Nothing is sent to a server whose host key nobody has accepted. A changed key stops everything and raises an alert.
//! Secrets are write-only: they are sealed when they come in and opened only for the connection that needs them.

mod settings;
mod events;
mod model;
mod server;
mod queries;
mod target;
mod secrets;
mod host_key;
mod connection;
mod tasks;
mod changes;
mod section;
mod commands;
mod api;
mod pages;

use crate::access::right;
use crate::availability;
use crate::base::clock::Ms;
use crate::base::error::{Error, Result};
use crate::base::id::{self, Id};
use crate::db::{Conn, Tx};
use crate::feature::Feature;
use crate::feature::{Hit, Source};
use crate::http::menu::{self, Action, Badge, Entry};

pub use api::{REMOVAL, add, check_key, draft, remove, save};
pub use changes::{create, delete, fresh, serves, update};
pub use connection::{SITES_OFF, ServerConnection};
pub use host_key::accept_host_key;
pub use model::{CHECK_METHODS, Fields, PARAMS};
pub use pages::{Known, known, words};
pub use queries::{
    Company, Counts, Filter, StateRow, alerts_changed, by_name, company, counts, names, poll_fingerprint, polled,
    states, tags,
};
pub use secrets::secret;
pub use server::{Alerts, Availability, HostKeyState, Polled, Server, State, Worst};
pub use settings::POLL_FAIL_THRESHOLD;
pub use target::related;
pub use tasks::{CHECK_SSH, DEPLOY_PROXY, connect, emit_work_ended};

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    pages: pages::ROUTES,
    cards: pages::CARDS,
    tasks: tasks::TASKS,
    commands: commands::COMMANDS,
    react: Some(tasks::react),
    sections: &[section::SECTION],
    settings: settings::SETTINGS,
    kinds: events::KINDS,
    menu: MENU,
    actions: ACTIONS,
    search: SEARCH,
    sealed: secrets::SEALED,
    targets: &[target::TARGET],
    ..Feature::named("servers")
};

const MENU: &[Entry] = &[Entry {
    path: "/servers",
    word: "servers",
    icon: "server",
    keys: "g s",
    right: right::may(right::Read, right::Servers),
    place: (1, 2),
    dock: "servers",
    badge: |app| {
        let counts = app.db.read(counts)?;
        let faults = [
            (State::Down, menu::State::Down),
            (State::Degraded, menu::State::Degraded),
        ]
        .into_iter();
        let worst = faults
            .map(|(of, state)| (state, counts.loud[of as usize]))
            .find(|(_, n)| *n > 0);
        let (state, affected) = worst.unwrap_or_default();
        Ok(Badge {
            count: Some(counts.total as u64),
            state,
            affected,
            ..Badge::default()
        })
    },
    ..Entry::NEW
}];

const ACTIONS: &[Action] = &[Action {
    word: "servers.add",
    icon: "plus",
    path: "/servers/new",
    right: right::may(right::Edit, right::Servers),
}];

const SEARCH: &[Source] = &[Source {
    kind: "servers",
    place: 1,
    right: right::may(right::Read, right::Servers),
    list: Some("/servers"),
    find: |ctx, q, limit| {
        let filter = Filter {
            q,
            limit,
            ..Default::default()
        };
        let (rows, all) = ctx.app.db.read(|conn| list(conn, &filter))?;
        let hit = |s: Server| Hit {
            name: s.fields.name,
            detail: s.fields.host,
            href: format!("/servers/{}", s.id),
        };
        Ok((rows.into_iter().map(hit).collect(), all))
    },
}];

/// One server. Error `NotFound`.
pub fn get(conn: &Conn, id: Id<id::Server>) -> Result<Server> {
    queries::get(conn, id)?.ok_or_else(|| Error::not_found("server"))
}

/// A page of servers and their total.
pub fn list(conn: &Conn, filter: &Filter) -> Result<(Vec<Server>, i64)> {
    queries::list(conn, filter)
}

/// Every server by name.
pub fn all(conn: &Conn) -> Result<Vec<Server>> {
    queries::all(conn)
}

/// Set by `metrics`: result of the last polls.
pub fn set_availability(tx: &Tx, id: Id<id::Server>, now: &Availability) -> Result<()> {
    queries::set_availability(tx, id, now)?;
    let state = match now.status {
        "ok" => availability::State::Up,
        "unreachable" => availability::State::Down,
        _ => availability::State::Unknown,
    };
    let say = now.error.as_ref().map_or("", |(_, say)| say);
    availability::record(tx, ("server", id.get()), state, now.since, say)
}

/// Set by `metrics`: addresses of the server's name and, if they indicate another machine, a sentence.
pub fn set_addresses(tx: &Tx, id: Id<id::Server>, addresses: &str, moved: Option<&(Ms, String)>) -> Result<()> {
    queries::set_addresses(tx, id, addresses)?;
    moved.map_or(Ok(()), |(at, seen)| queries::set_moved(tx, id, *at, seen))
}

/// Set by `metrics`: API version and path that answered.
pub fn set_glances_seen(tx: &Tx, id: Id<id::Server>, api: i64, path: &str) -> Result<()> {
    queries::set_glances_seen(tx, id, api, path)
}
