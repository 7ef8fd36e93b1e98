//! Actions on servers: restart the machine or a service, fetch a log, put a file there, list and apply updates. Each is a
//! task under its server's lock. On several servers ([`fleet`]) the first one goes alone, and the rest only after it went
//! well; whatever fails stops what has not begun.
//!
//! People choose from these actions and their values, never a command: scripts are constants ([`crate::provision::acts`]).

mod settings;
mod events;
mod model;
mod queries;
mod work;
mod reboot;
mod fleet;
mod tasks;
mod api;
mod pages;

use crate::access::right::{Deploy, Servers, may};
use crate::feature::Feature;
use crate::http::menu::Entry;
use crate::vault::Sealed;

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    pages: pages::ROUTES,
    menu: MENU,
    tasks: tasks::TASKS,
    settings: settings::SETTINGS,
    kinds: events::KINDS,
    sealed: &[PART],
    react: Some(tasks::react),
    ..Feature::named("actions")
};

/// A piece of a file on its way.
const PART: Sealed = Sealed::column("action_file_parts", "content");

const MENU: &[Entry] = &[Entry {
    path: "/actions",
    word: "actions",
    icon: "bolt",
    keys: "g x",
    right: may(Deploy, Servers),
    place: (3, 3),
    ..Entry::NEW
}];
