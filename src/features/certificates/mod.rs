//! A person's own certificates with their keys, for places that no ACME server reaches.

use crate::feature::Feature;

/// The feature's declaration.
pub const FEATURE: Feature = Feature::named("certificates");
