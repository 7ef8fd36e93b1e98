//! Servers as hosts: the same rows under the names that inventories use, and a look at each once a minute by the way it
//! was given (`check_method`). What is seen stands apart from the lamp: it raises no alert and changes no state.
//!
//! Consecutive equal results are one row; the newest row of a host is what holds now. The facts that checks over ssh find
//! are kept the same way, so that it can be told what has changed and when; once a day each host is asked for them.

mod events;
mod check;
mod facts;
mod queries;
mod snapshots;
mod periodic;
mod api;
mod pages;

use crate::base::clock::Ms;
use crate::feature::Feature;
use check::Seen;

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    periodic: periodic::PERIODIC,
    kinds: events::KINDS,
    panels: pages::PANELS,
    react: Some(snapshots::react),
    ..Feature::named("hosts")
};

/// Consecutive equal facts.
#[derive(Debug, Clone)]
struct Snapshot {
    /// First time, unix ms.
    first_at: Ms,
    /// Last time, unix ms.
    last_at: Ms,
    /// Number of times.
    count: i64,
    /// What was found.
    facts: facts::Facts,
}

/// Consecutive equal results.
#[derive(Debug, Clone)]
struct Row {
    /// First time, unix ms.
    first_at: Ms,
    /// Last time, unix ms.
    last_at: Ms,
    /// Number of times.
    count: i64,
    /// The result of the last time.
    seen: Seen,
    /// Shortest and longest answer in ms.
    range: Option<(f64, f64)>,
}
