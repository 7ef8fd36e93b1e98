//! What people ask for. Each feature may use only those above it.

pub mod users;
pub mod servers;
pub mod groups;
pub mod upstreams;
pub mod certificates;
pub mod domains;
pub mod fleet;
pub mod nswatch;
pub mod certwatch;
pub mod rules;
pub mod engine;
pub mod metrics;
pub mod sitewatch;
pub mod notifications;
pub mod silences;
pub mod alerts;
pub mod events;
pub mod tasks;
pub mod health;
pub mod exporter;
pub mod audit;
pub mod settings;
pub mod home;
