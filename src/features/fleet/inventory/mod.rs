//! The fleet as an inventory: read in from `ssh_config`, Ansible or CSV with a look before, and given to Ansible, ssh and
//! Prometheus. What is read in are servers like all others; no secret goes out.

mod read;
mod export;
mod plan;
mod api;
mod pages;
mod commands;

use crate::access::right::{Edit, Servers, may};
use crate::feature::Feature;
use crate::http::menu::Action;

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    pages: pages::ROUTES,
    actions: ACTIONS,
    commands: commands::COMMANDS,
    ..Feature::named("inventory")
};

const ACTIONS: &[Action] = &[Action {
    word: "inventory.title",
    icon: "server",
    path: "/inventory",
    right: may(Edit, Servers),
}];
