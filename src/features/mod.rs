//! What people ask for, in wings. Each wing, and in it each feature, may use only those above it. Playbooks and terminals
//! will be in the wing `automation`, integrations in one called `home`.

pub mod house;
pub mod fleet;
pub mod proxy;
pub mod workloads;
pub mod watch;
pub mod automation;
pub mod front;
