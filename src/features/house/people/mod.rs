//! Accounts, for administrators: invite by a link, change role, disable, remove.

mod model;
mod api;
mod pages;

use crate::access::right;
use crate::feature::Feature;
use crate::http::menu::Entry;

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    pages: pages::ROUTES,
    menu: MENU,
    ..Feature::named("people")
};

const MENU: &[Entry] = &[Entry {
    path: "/users",
    word: "users",
    icon: "users",
    keys: "g p",
    right: right::may(right::Read, right::Users),
    place: (4, 2),
    ..Entry::NEW
}];
