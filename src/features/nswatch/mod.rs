//! The name servers of every domain, looked at now and then and held against its policy.

pub mod policy;
pub mod look;

use crate::feature::Feature;

/// The feature's declaration.
pub const FEATURE: Feature = Feature::named("nswatch");
