//! Upstreams: where a proxy sends requests, one or several targets.

use crate::feature::Feature;

/// The feature's declaration.
pub const FEATURE: Feature = Feature::named("upstreams");
