//! The reverse proxy: upstreams, certificates, domains, and checks of how they are served.

pub mod upstreams;
pub mod certificates;
pub mod domains;
pub mod nswatch;
pub mod certwatch;
pub mod sitewatch;
