//! What runs on the servers: containers; and where their lines go on to.

pub mod containers;
pub mod forward;
