//! Stored schedules: API and page. A schedule starts a task at set times; its last result and next times are shown. The
//! service in [`crate::schedule::stored`] enqueues the tasks. Kinds of tasks that can be scheduled declare it
//! ([`task::ByClock`](crate::task::ByClock)).

mod model;
mod api;
mod pages;

use crate::access::right::{self, may};
use crate::feature::Feature;
use crate::http::menu::Entry;
use crate::schedule::stored;

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    pages: pages::ROUTES,
    services: stored::SERVICES,
    menu: MENU,
    ..Feature::named("schedules")
};

const MENU: &[Entry] = &[Entry {
    path: "/schedules",
    word: "schedules",
    icon: "clock",
    keys: "g c",
    right: may(right::Read, right::Tasks),
    place: (3, 2),
    ..Entry::NEW
}];
