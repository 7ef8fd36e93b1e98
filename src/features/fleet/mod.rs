//! The servers themselves: what they are, their groups, what Glances says of them.

pub mod latest;
pub mod servers;
pub mod groups;
pub mod metrics;
