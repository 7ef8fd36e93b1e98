//! Domains: a name, where it is served and from what; planned, deployed, proved or put back.

pub mod nginx;
pub mod site;
pub mod sites;

use crate::feature::Feature;

/// The feature's declaration.
pub const FEATURE: Feature = Feature::named("domains");
