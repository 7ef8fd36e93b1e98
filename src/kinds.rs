//! Kinds of events: one row each, beside the feature that emits it. From the rows are made: who may see an event, which
//! alerts it raises and resolves, the built-in alert rules, and what a person can subscribe to. The composition root joins
//! the rows of all features before anything runs.

use crate::access::Right;
use crate::access::right::{Read, Users, may};
use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::db::Conn;
use serde_json::{Value, json};
use std::sync::{PoisonError, RwLock};

/// A kind of event.
#[derive(Debug)]
pub struct EventKind {
    /// As stored and sent: `server.unreachable`.
    pub name: &'static str,
    /// What it takes to see such an event and what is made of it: alerts, messages.
    pub right: Right,
    /// How people hear of it.
    pub told: Told,
}

/// How people hear of an event.
#[derive(Debug)]
pub enum Told {
    /// In the stream of events only.
    Streamed,
    /// By messages to those who have subscribed to it.
    News,
    /// It raises an alert.
    Alert(AlertKind),
}

/// An alert that events of a kind raise; there is one open alert for each kind and target.
#[derive(Debug)]
pub struct AlertKind {
    /// The rule that comes with the program and decides how bad it is. `None`: rules on measurements decide.
    pub rule: Option<BuiltinRule>,
    /// One sentence, with `{name}`. Empty: the event brings its own.
    pub title: &'static str,
    /// Events about the same target that end it.
    pub resolved_by: &'static [&'static str],
    /// Where several alerts of the kind may be open about one target: what each is about. Empty: there is only one.
    pub part: &'static str,
    /// What else being down explains it, so that it sends no message of its own.
    pub explained_by: ExplainedBy,
    /// How long after such a cause it takes at most until this was checked again.
    pub rechecked: fn(&Conn) -> Result<Ms>,
}

/// See [`AlertKind::rule`].
#[derive(Debug, Clone, Copy)]
pub struct BuiltinRule {
    /// Its number, below 1000. Never changed once released.
    pub id: i64,
    /// `INFO`, `WARNING`, `ERROR`, `CRITICAL`: how bad, as long as nobody says otherwise.
    pub level: &'static str,
    /// By what the rule can be narrowed.
    pub about: About,
}

/// What an event is about, and so by what a rule of it can be narrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// By tags.
    Server,
    /// By groups.
    Domain,
    /// By nothing.
    Other,
}

/// What else being down explains an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExplainedBy {
    /// Nothing, and it is told however often it comes: somebody may be breaking in just now.
    NothingEver,
    /// Nothing.
    Nothing,
    /// That Lamplighter's own network is down.
    Network,
    /// The network, or that every server is down that it is about.
    Servers,
}

impl EventKind {
    /// One that is only streamed.
    pub const fn streamed(name: &'static str, right: Right) -> EventKind {
        let told = Told::Streamed;
        EventKind { name, right, told }
    }

    /// One that people can subscribe to.
    pub const fn news(name: &'static str, right: Right) -> EventKind {
        let told = Told::News;
        EventKind { name, right, told }
    }

    /// One that raises an alert.
    pub const fn alert(name: &'static str, right: Right, alert: AlertKind) -> EventKind {
        let told = Told::Alert(alert);
        EventKind { name, right, told }
    }

    /// The alert that it raises.
    pub fn raises(&self) -> Option<&AlertKind> {
        match &self.told {
            Told::Alert(alert) => Some(alert),
            _ => None,
        }
    }

    /// Is it told by itself, without an alert?
    pub fn is_news(&self) -> bool {
        matches!(self.told, Told::News)
    }
}

impl AlertKind {
    /// To be filled by struct update.
    pub const NEW: AlertKind = AlertKind {
        rule: None,
        title: "",
        resolved_by: &[],
        part: "",
        explained_by: ExplainedBy::Servers,
        rechecked: |_| Ok(0),
    };
}

impl BuiltinRule {
    /// Shorthand for a row.
    pub const fn new(id: i64, level: &'static str, about: About) -> Option<BuiltinRule> {
        Some(BuiltinRule { id, level, about })
    }
}

static JOINED: RwLock<Vec<&'static EventKind>> = RwLock::new(Vec::new());

/// Adds the rows of features, in their order. A name that is there already stays what it was.
pub fn join(rows: impl IntoIterator<Item = &'static EventKind>) {
    let mut joined = JOINED.write().unwrap_or_else(PoisonError::into_inner);
    for row in rows {
        if joined.iter().all(|known| known.name != row.name) {
            joined.push(row);
        }
    }
}

/// All rows, in the order of the features.
pub fn all() -> Vec<&'static EventKind> {
    JOINED.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// The row of a kind.
pub fn find(name: &str) -> Option<&'static EventKind> {
    let joined = JOINED.read().unwrap_or_else(PoisonError::into_inner);
    joined.iter().copied().find(|row| row.name == name)
}

/// The alert that events of this kind raise.
pub fn alert(name: &str) -> Option<&'static AlertKind> {
    find(name)?.raises()
}

/// The kinds of alerts that an event of this kind ends.
pub fn resolved_by(event: &str) -> Vec<&'static EventKind> {
    let ends = |kind: &&EventKind| kind.raises().is_some_and(|alert| alert.resolved_by.contains(&event));
    all().into_iter().filter(ends).collect()
}

/// What it takes to see an event of this kind and what is made of it. What no feature declares is for administrators.
pub fn right_to_see(name: &str) -> Right {
    find(name).map_or(may(Read, Users), |row| row.right)
}

/// What an alert is about, for machines: type, number and name, and which part of it (its disk, its recipient).
pub fn target(kind: &str, target: (&str, i64, &str), part: &str) -> Value {
    let mut out = json!({ "type": target.0, "id": target.1, "name": target.2 });
    // A measurement's part begins with the number of its rule.
    let part = match kind.starts_with("metric.") {
        true => part.split_once(':').map_or("", |(_, part)| part),
        false => part,
    };
    let named = alert(kind).map_or("", |alert| alert.part);
    if !named.is_empty() && !part.is_empty() {
        out[named] = part.into();
    }
    out
}
