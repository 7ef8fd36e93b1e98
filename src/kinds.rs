//! Event kinds: one row each, beside the feature that emits it. The rows decide who may see an event, which alerts it
//! raises and resolves, the built-in alert rules, and what can be subscribed to. The composition root joins the rows of
//! all features at start.

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
    /// Right needed to see such an event and what is made of it: alerts, notifications.
    pub right: Right,
    /// How it is delivered.
    pub delivery: Delivery,
}

/// How an event is delivered to people.
#[derive(Debug)]
pub enum Delivery {
    /// In the stream of events only.
    Streamed,
    /// As a notification to subscribers.
    News,
    /// It raises an alert.
    Alert(AlertKind),
}

/// An alert that events of a kind raise; there is one open alert for each kind and target.
#[derive(Debug)]
pub struct AlertKind {
    /// The built-in rule that decides its level. `None`: rules on measurements do.
    pub rule: Option<BuiltinRule>,
    /// Title with `{name}`. Empty: the event brings its own.
    pub title: &'static str,
    /// Events about the same target that end it.
    pub resolved_by: &'static [&'static str],
    /// Where several alerts of the kind may be open for one target: what distinguishes them. Empty: there is only one.
    pub part: &'static str,
    /// What else being down explains it, so that no separate notification is sent.
    pub explained_by: ExplainedBy,
    /// On which of the servers that its target stands on it hangs.
    pub hangs_on: HangsOn,
    /// Maximum time after the end of such a cause until the condition is checked again.
    pub rechecked: fn(&Conn) -> Result<Ms>,
}

/// The built-in rule of an alert kind ([`AlertKind::rule`]).
#[derive(Debug, Clone, Copy)]
pub struct BuiltinRule {
    /// Rule id, below 1000. Never changed once released.
    pub id: i64,
    /// Default level: `INFO`, `WARNING`, `ERROR`, `CRITICAL`.
    pub level: &'static str,
    /// What the rule can be narrowed by.
    pub about: About,
}

/// The subject of an event, which decides what a rule of it can be narrowed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// A server: narrowed by a scope, or by tags.
    Server,
    /// A domain: narrowed by a scope, or by groups.
    Domain,
    /// A container: narrowed by its server's tags, by name, project and exit code.
    Container,
    /// Anything else: not narrowed.
    Other,
}

/// What explains an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExplainedBy {
    /// Nothing, and it is always notified: it may be an attack.
    NothingEver,
    /// Nothing.
    Nothing,
    /// Lamplighter's own network being down.
    Network,
    /// The network, or all servers of the subject being down.
    Servers,
}

/// See [`AlertKind::hangs_on`].
#[derive(Debug, Clone, Copy)]
pub enum HangsOn {
    /// On all of them.
    All,
    /// On none: it is about machines of other people.
    None,
    /// On these, for the target with this number; on all when there are none.
    Some(fn(&Conn, i64) -> Result<Vec<i64>>),
}

/// A kind of things that events, alerts, tasks and silences are about: one row of the feature that keeps them.
#[derive(Debug)]
pub struct TargetKind {
    /// As stored with events, tasks and silences: `server`.
    pub name: &'static str,
    /// What stands before the number in the address of one's page: `/servers/`.
    pub page: &'static str,
    /// The name of one; nothing when it is gone.
    pub name_of: fn(&Conn, i64) -> Result<Option<String>>,
    /// The one that a person calls so.
    pub named: fn(&Conn, &str) -> Result<Option<i64>>,
    /// Itself, what it stands on and what it belongs to. A silence of one of these is a silence of it; where it stands on
    /// several of a kind, of all of them.
    pub related: fn(&Conn, i64) -> Result<Vec<Related>>,
}

/// See [`TargetKind::related`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Related {
    /// [`TargetKind::name`].
    pub kind: &'static str,
    /// Its number.
    pub id: i64,
}

impl Related {
    /// A thing by its kind and number.
    pub fn to(kind: &'static str, id: i64) -> Related {
        Related { kind, id }
    }
}

impl EventKind {
    /// A kind that is only streamed.
    pub const fn streamed(name: &'static str, right: Right) -> EventKind {
        let delivery = Delivery::Streamed;
        EventKind { name, right, delivery }
    }

    /// A kind that can be subscribed to.
    pub const fn news(name: &'static str, right: Right) -> EventKind {
        let delivery = Delivery::News;
        EventKind { name, right, delivery }
    }

    /// A kind that raises an alert.
    pub const fn alert(name: &'static str, right: Right, alert: AlertKind) -> EventKind {
        let delivery = Delivery::Alert(alert);
        EventKind { name, right, delivery }
    }

    /// The alert that it raises.
    pub fn raises(&self) -> Option<&AlertKind> {
        match &self.delivery {
            Delivery::Alert(alert) => Some(alert),
            _ => None,
        }
    }

    /// Is it notified by itself, without an alert?
    pub fn is_news(&self) -> bool {
        matches!(self.delivery, Delivery::News)
    }
}

impl AlertKind {
    /// Defaults for struct update.
    pub const NEW: AlertKind = AlertKind {
        rule: None,
        title: "",
        resolved_by: &[],
        part: "",
        explained_by: ExplainedBy::Servers,
        hangs_on: HangsOn::All,
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

/// Adds the rows of features, in their order. A known name keeps its first row.
pub fn join(rows: impl IntoIterator<Item = &'static EventKind>) {
    let mut joined = JOINED.write().unwrap_or_else(PoisonError::into_inner);
    for row in rows {
        if joined.iter().all(|known| known.name != row.name) {
            joined.push(row);
        }
    }
}

static TARGETS: RwLock<Vec<&'static TargetKind>> = RwLock::new(Vec::new());

/// As [`join`], of kinds of targets.
pub fn join_targets(rows: impl IntoIterator<Item = &'static TargetKind>) {
    let mut joined = TARGETS.write().unwrap_or_else(PoisonError::into_inner);
    for row in rows {
        if joined.iter().all(|known| known.name != row.name) {
            joined.push(row);
        }
    }
}

/// The row of a kind of targets.
pub fn target_kind(name: &str) -> Option<&'static TargetKind> {
    let joined = TARGETS.read().unwrap_or_else(PoisonError::into_inner);
    joined.iter().copied().find(|row| row.name == name)
}

/// A thing with what it stands on and belongs to; nothing of a kind that nobody keeps.
pub fn related(conn: &Conn, target: (&str, i64)) -> Result<Vec<Related>> {
    match target_kind(target.0) {
        Some(row) => (row.related)(conn, target.1),
        None => Ok(Vec::new()),
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

/// The alert kinds that an event of this kind resolves.
pub fn resolved_by(event: &str) -> Vec<&'static EventKind> {
    let ends = |kind: &&EventKind| kind.raises().is_some_and(|alert| alert.resolved_by.contains(&event));
    all().into_iter().filter(ends).collect()
}

/// Right needed to see events of this kind and what is made of them. Undeclared kinds are for administrators.
pub fn right_to_see(name: &str) -> Right {
    find(name).map_or(may(Read, Users), |row| row.right)
}

/// The subject of an alert, for machines: type, id and name, and the part (disk, recipient).
pub fn target(kind: &str, target: (&str, i64, &str), part: &str) -> Value {
    let mut out = json!({ "type": target.0, "id": target.1, "name": target.2 });
    // A measurement's part begins with the id of its rule.
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
