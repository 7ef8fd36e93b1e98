//! Stored schedules as people see them: which task is put in when, what came of it last, and when it comes next. They are
//! followed by [`crate::schedule::stored`]. What can be chosen is what kinds of tasks declare ([`task::ByClock`]).

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
