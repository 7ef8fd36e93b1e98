//! The certificate that each server really shows for each domain, and how much of its life is left.

use crate::feature::Feature;

/// The feature's declaration.
pub const FEATURE: Feature = Feature::named("certwatch");
