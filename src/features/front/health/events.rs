//! Events of Lamplighter's own machine.

use crate::access::right::{Events, Read, may};
use crate::kinds::{About, AlertKind, BuiltinRule, EventKind};

/// Event kinds of Lamplighter's own machine.
pub const KINDS: &[EventKind] = &[
    EventKind::alert(
        "controller.disk_full",
        may(Read, Events),
        AlertKind {
            rule: BuiltinRule::new(23, "ERROR", About::Other),
            title: "The disk that Lamplighter's data lies on is full, or nearly",
            resolved_by: &["controller.disk_room"],
            ..AlertKind::NEW
        },
    ),
    EventKind::streamed("controller.disk_room", may(Read, Events)),
];
