//! What every house needs: people, settings, tasks, events, the audit, the remote store of figures.

pub mod users;
pub mod remote_store;
pub mod events;
pub mod audit;
pub mod settings;
pub mod web;
pub mod tasks;
