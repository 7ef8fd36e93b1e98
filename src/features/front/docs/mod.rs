//! The description of the API: `/openapi.json` for programs, `/docs` for people, both made from the route table.

mod api;
mod describe;
mod pages;

use crate::access::Right;
use crate::feature::Feature;
use crate::http::menu::Entry;

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    pages: pages::ROUTES,
    menu: MENU,
    ..Feature::named("docs")
};

const MENU: &[Entry] = &[Entry {
    path: "/docs",
    word: "docs",
    icon: "plug",
    keys: "g p",
    right: Right::SignedIn,
    place: (5, 2),
    ..Entry::NEW
}];
