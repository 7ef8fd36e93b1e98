//! The table of settings: API and page.

mod api;
mod pages;

use crate::access::right;
use crate::feature::Feature;
use crate::http::menu::Entry;
use crate::settings::SITE_TIME_ZONE;

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    pages: pages::ROUTES,
    settings: &[SITE_TIME_ZONE],
    menu: MENU,
    ..Feature::named("settings")
};

const MENU: &[Entry] = &[Entry {
    path: "/settings",
    word: "settings",
    icon: "sliders",
    keys: "g ,",
    right: right::may(right::Read, right::Settings),
    place: (4, 1),
    ..Entry::NEW
}];
