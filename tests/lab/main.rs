//! On real servers (see `README.md`): one program, a module a subject. Each test is `#[ignore = "lab: …"]` with the hosts it takes.

#[path = "../common/mod.rs"]
mod common;
#[path = "../fake/mod.rs"]
mod fake;

mod actions;
mod airgap;
mod certwatch;
mod channels;
mod containers;
mod workloads;
mod debians;
mod dns;
mod domains;
mod first_light;
mod glances;
mod hosts;
mod lit;
mod lived_in;
mod manual;
mod others;
mod own_network;
mod package;
mod provision;
mod push;
mod secrets;
mod services;
mod site;
mod ssh;
