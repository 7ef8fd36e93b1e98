//! Events of services.

use super::nodes;
use super::state::{DELETED, DOWN, GAVE_UP, RECOVERED, RESTARTED, STOPPED};
use crate::access::right::{Read, Services, may};
use crate::kinds::{About, AlertKind, BuiltinRule, EventKind};

/// A service was added.
pub const CREATED: &str = "service.created";
/// A service was changed.
pub const CHANGED: &str = "service.changed";

const fn alert(name: &'static str, rule: i64, level: &'static str, title: &'static str) -> EventKind {
    let alert = AlertKind {
        rule: BuiltinRule::new(rule, level, About::Server),
        title,
        resolved_by: &[RECOVERED, STOPPED, DELETED],
        ..AlertKind::NEW
    };
    EventKind::alert(name, may(Read, Services), alert)
}

/// Event kinds of services. A dark server explains all of them.
pub const KINDS: &[EventKind] = &[
    alert(DOWN, 70, "ERROR", "{name} does not work"),
    alert(
        GAVE_UP,
        71,
        "CRITICAL",
        "{name} does not work however often it is started",
    ),
    EventKind::alert(
        nodes::DOWN,
        may(Read, Services),
        AlertKind {
            rule: BuiltinRule::new(72, "WARNING", About::Server),
            title: "A node of {name} is not connected",
            resolved_by: &[nodes::UP],
            part: "node",
            ..AlertKind::NEW
        },
    ),
    EventKind::streamed(nodes::UP, may(Read, Services)),
    EventKind::news(RESTARTED, may(Read, Services)),
    EventKind::streamed(RECOVERED, may(Read, Services)),
    EventKind::streamed(STOPPED, may(Read, Services)),
    EventKind::streamed(CREATED, may(Read, Services)),
    EventKind::streamed(CHANGED, may(Read, Services)),
    EventKind::streamed(DELETED, may(Read, Services)),
];
