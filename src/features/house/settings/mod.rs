//! The table of settings as people see and change it.

pub mod api;
pub mod pages;

use crate::feature::Feature;
use crate::settings::SITE_TIME_ZONE;

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    pages: pages::ROUTES,
    settings: &[SITE_TIME_ZONE],
    ..Feature::named("settings")
};
