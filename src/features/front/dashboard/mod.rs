//! The first page: the state of the fleet in a sentence, the wall of lamps, what needs a person. It owns no data.

mod search;
pub mod pages;

use crate::feature::Feature;

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: search::ROUTES,
    pages: pages::ROUTES,
    ..Feature::named("home")
};
