//! Any series of any subjects side by side, chosen on one page. It owns no data.

mod api;
mod pages;

use crate::access::right::{Dashboard, Read, may};
use crate::feature::Feature;
use crate::http::menu::Entry;

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    pages: pages::ROUTES,
    menu: &[Entry {
        path: "/charts",
        word: "charts",
        icon: "eye",
        right: may(Read, Dashboard),
        place: (1, 5),
        ..Entry::NEW
    }],
    ..Feature::named("charts")
};
