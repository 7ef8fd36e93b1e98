//! Row ids, each kind of row with a type of its own, so that a server's id cannot be used as a task's.

use std::fmt;
use std::marker::PhantomData;

/// The id of a row of kind `T` (a marker type, e.g. [`Server`]). Always positive.
pub struct Id<T>(i64, PhantomData<fn() -> T>);

/// Marker of servers.
pub enum Server {}
/// Marker of tasks.
pub enum Task {}
/// Marker of schedules.
pub enum Schedule {}
/// Marker of users.
pub enum User {}
/// Marker of tokens for programs.
pub enum ApiToken {}
/// Marker of alerts.
pub enum Alert {}
/// Marker of alert rules.
pub enum Rule {}
/// Marker of upstreams.
pub enum Upstream {}
/// Marker of groups.
pub enum Group {}
/// Marker of certificates.
pub enum Certificate {}
/// Marker of domains.
pub enum Domain {}
/// Marker of endpoints (recipients of notifications).
pub enum Endpoint {}
/// Marker of backups.
pub enum Backup {}
/// Marker of secrets.
pub enum Secret {}
/// A secret that was given out for a while.
pub enum Lease {}
/// Marker of projects.
pub enum Project {}
/// Marker of plugins.
pub enum Plugin {}
/// Marker of services.
pub enum Service {}
/// Marker of silences.
pub enum Silence {}
/// Marker of deliveries (one message to one endpoint).
pub enum Delivery {}

impl<T> Id<T> {
    /// Wraps an id that came from the database.
    pub const fn new(n: i64) -> Id<T> {
        Id(n, PhantomData)
    }

    /// The number.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// Reads a path segment: decimal digits without sign or leading zero, at most `i64::MAX`, not 0.
    pub fn parse(text: &str) -> Option<Id<T>> {
        let plain = !text.is_empty() && !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
        if plain { text.parse().ok().map(Id::new) } else { None }
    }
}

impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Id<T> {}
impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<T> Eq for Id<T> {}
impl<T> std::hash::Hash for Id<T> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}
impl<T> PartialOrd for Id<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Id<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}
impl<T> fmt::Display for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
impl<T> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
impl<T> serde::Serialize for Id<T> {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_i64(self.0)
    }
}
