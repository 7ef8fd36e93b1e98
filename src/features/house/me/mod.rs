//! What somebody does with their own account: password, second factor, sign-ins. Only who has signed in themselves does it,
//! never a program's token.

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
