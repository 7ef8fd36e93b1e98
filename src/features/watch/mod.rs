//! What needs a person: rules, silences, alerts, the messages about them.

pub mod rules;
pub mod notifications;
pub mod silences;
pub mod alerts;
