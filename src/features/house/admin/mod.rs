//! Administrators' settings beside `/api/settings`: maintenance, the banner, and the project that new things belong to.

mod model;
mod api;
mod pages;

use crate::access::right::{Read, Settings, may};
use crate::feature::Feature;
use crate::http::menu::Action;

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    pages: pages::ROUTES,
    actions: ACTIONS,
    ..Feature::named("admin")
};

const ACTIONS: &[Action] = &[Action {
    word: "admin.title",
    icon: "warn",
    path: "/admin/settings",
    right: may(Read, Settings),
}];
