//! What runs on the servers: containers, services; what they say; and where their lines go on to.

pub mod logs;
pub mod containers;
pub mod services;
pub mod search;
pub mod forward;
