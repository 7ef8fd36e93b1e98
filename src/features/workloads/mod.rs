//! What runs on the servers: containers.

pub mod containers;
