//! The web server's settings as people see and change them; what they do is the business of `http`.

use crate::feature::Feature;
use crate::http::admission;

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    settings: admission::SETTINGS,
    ..Feature::named("web")
};
