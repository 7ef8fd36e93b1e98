//! Attention: alert rules, silences, alerts, notifications.

pub mod rules;
pub mod notifications;
pub mod silences;
pub mod alerts;
pub mod availability;
pub mod status;
