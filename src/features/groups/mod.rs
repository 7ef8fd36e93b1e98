//! Groups of domains, to look at and work on together; groups of servers come later under the same noun.

use crate::feature::Feature;

/// The feature's declaration.
pub const FEATURE: Feature = Feature::named("groups");
