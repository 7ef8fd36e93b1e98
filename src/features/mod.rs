//! What people ask for, in wings. Each wing, and in it each feature, may use only those above it. Containers and services
//! will be a wing `workloads` below `proxy`, playbooks and terminals `automation` below that, integrations `home`.

pub mod house;
pub mod fleet;
pub mod proxy;
pub mod watch;
pub mod front;
