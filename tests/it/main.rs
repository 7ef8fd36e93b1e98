//! What needs neither servers nor a browser: one program, a module a subject.

#[path = "../ca/mod.rs"]
mod ca;
#[path = "../common/mod.rs"]
mod common;
#[path = "../fake/mod.rs"]
mod fake;
#[path = "../common/guest.rs"]
mod guest;

mod admin;
mod admission;
mod alerts;
mod api;
mod audit;
mod audited;
mod control;
mod auth;
mod backups;
mod bundle;
mod certificates;
mod certwatch;
mod cli;
mod containers;
mod dns;
mod domains;
mod edge;
mod events;
mod exporter;
mod feature;
mod forward;
mod doctor;
mod document;
mod docs;
mod groups;
mod guard;
mod health;
mod hosts;
mod inventory;
mod keys;
mod kept;
mod laws;
mod logs;
mod metrics;
mod net;
mod notifications;
mod nswatch;
mod pages;
mod parsers;
mod power;
mod processes;
mod proofs;
mod provision;
mod retention;
mod rights;
mod rules;
mod schedules;
mod schema;
mod schemathesis;
mod search;
mod secrets;
mod servers;
mod sessions;
mod settings;
mod silences;
mod site;
mod sitewatch;
mod ssh;
mod state;
mod tasks;
mod tls;
mod tokens;
mod upgrade;
mod upstreams;
mod users;
mod workloads;
mod zones;
