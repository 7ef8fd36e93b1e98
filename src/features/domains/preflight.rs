//! What the name servers say of a domain before it is deployed.

use crate::app::App;
use crate::base::process::Cancel;
use std::net::IpAddr;

/// What was asked and answered.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Report {}

impl Report {
    /// The first thing that is wrong, in a sentence.
    pub fn first_bad(&self) -> Option<String> {
        None
    }

    /// All of it, for a log.
    pub fn lines(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Asks the name servers.
pub fn look(_app: &App, _name: &str, _expected: &[IpAddr], _cancel: &Cancel) -> Report {
    Report {}
}
