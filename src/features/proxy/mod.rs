//! What the servers serve: upstreams, certificates, domains, and the checks of what the world sees of them.

pub mod upstreams;
pub mod certificates;
pub mod domains;
pub mod nswatch;
pub mod certwatch;
pub mod sitewatch;
