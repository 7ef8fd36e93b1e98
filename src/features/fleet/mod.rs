//! The fleet: servers, their groups, and their metrics.

pub mod latest;
pub mod servers;
pub mod scope;
pub mod hosts;
pub mod groups;
pub mod inventory;
pub mod metrics;
pub mod rotations;
pub mod leases;
