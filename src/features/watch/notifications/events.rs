//! Events of deliveries.

use crate::access::right::{Notifications, Read, may};
use crate::kinds::{About, AlertKind, BuiltinRule, EventKind, ExplainedBy};

/// Event kinds of notifications.
pub const KINDS: &[EventKind] = &[
    EventKind::alert(
        "notification.dead",
        may(Read, Notifications),
        AlertKind {
            rule: BuiltinRule::new(16, "WARNING", About::Other),
            title: "Messages to {name} do not get through",
            resolved_by: &["notification.recovered"],
            part: "recipient",
            explained_by: ExplainedBy::Network,
            ..AlertKind::NEW
        },
    ),
    EventKind::streamed("notification.recovered", may(Read, Notifications)),
];
