//! What runs on the servers: containers, services; and where lines go on to.

pub mod containers;
pub mod services;
pub mod forward;
