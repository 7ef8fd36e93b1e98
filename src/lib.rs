//! Lamplighter looks after a fleet of Debian and Ubuntu servers over the system `ssh`.
//!
//! The order of the modules below is the import law: a module may use only those declared above it
//! (`tests/it/laws.rs`). Machines come first (components that exist once and have no URL), features last (what users
//! see, with URLs).
#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod base;
pub mod lang;
pub mod form;
pub mod rule;
pub mod db;
pub mod events;
pub mod vault;
pub mod net;
pub mod ssh;
pub mod provision;
pub mod audit;
pub mod settings;
pub mod notice;
pub mod series;
pub mod availability;
pub mod journal;
pub mod access;
pub mod kinds;
pub mod app;
pub mod backup;
pub mod task;
pub mod schedule;
pub mod http;
pub mod cli;
pub mod section;
pub mod feature;
pub mod features;
pub mod daemon;

/// The manual: the same text here and in the package.
pub mod manual {
    #[doc = include_str!("manual/operations.md")]
    pub mod operations {}
    #[doc = include_str!("manual/hosts.md")]
    pub mod hosts {}
    #[doc = include_str!("manual/security.md")]
    pub mod security {}
    #[doc = include_str!("manual/architecture.md")]
    pub mod architecture {}
    #[doc = include_str!("manual/glossary.md")]
    pub mod glossary {}
    #[doc = include_str!("manual/rights.md")]
    pub mod rights {}
    #[doc = include_str!("manual/decisions.md")]
    pub mod decisions {}
    #[doc = include_str!("manual/incidents.md")]
    pub mod incidents {}
    #[doc = include_str!("manual/contributing.md")]
    pub mod contributing {}
    #[doc = include_str!("manual/changes.md")]
    pub mod changes {}
}
