//! Administration: users, settings, secrets, tasks, schedules, events, audit, remote store.

pub mod projects;
pub mod plugins;
pub mod users;
pub mod tokens;
pub mod people;
pub mod me;
pub mod remote_store;
pub mod events;
pub mod audit;
pub mod settings;
pub mod admin;
pub mod web;
pub mod tasks;
pub mod secrets;
pub mod backups;
pub mod schedules;
