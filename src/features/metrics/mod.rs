//! Watching: what Glances says becomes samples, samples become series, silence becomes a dark lamp.

pub mod pull;
pub mod glances;
