//! The user's own account: password, two-step sign-in, sign-ins. Only for users who are signed in themselves, never for
//! an API token.

mod agent;
mod own;
mod api;
mod pages;

use crate::feature::Feature;

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    pages: pages::ROUTES,
    ..Feature::named("me")
};
