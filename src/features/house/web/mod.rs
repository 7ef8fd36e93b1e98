//! Settings of the web server; `http` applies them.

use crate::feature::Feature;
use crate::http::admission;

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    settings: admission::SETTINGS,
    ..Feature::named("web")
};
