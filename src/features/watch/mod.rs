//! What needs a person: rules, silences, alerts, the messages about them, and figures for other watchers.

pub mod rules;
pub mod notifications;
pub mod silences;
pub mod alerts;
pub mod exporter;
