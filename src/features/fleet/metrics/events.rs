//! Events of the poller.

use crate::access::right::{Events, Read, Servers, may};
use crate::kinds::{About, AlertKind, BuiltinRule, EventKind, ExplainedBy};

/// Event kinds of the poller.
pub const KINDS: &[EventKind] = &[
    EventKind::alert(
        "server.unreachable",
        may(Read, Servers),
        AlertKind {
            rule: BuiltinRule::new(1, "ERROR", About::Server),
            title: "{name} is dark: Glances does not answer",
            resolved_by: &["server.recovered"],
            explained_by: ExplainedBy::Network,
            ..AlertKind::NEW
        },
    ),
    EventKind::streamed("server.recovered", may(Read, Servers)),
    EventKind::streamed("server.lit", may(Read, Servers)),
    EventKind::news("server.moved", may(Read, Servers)),
    EventKind::alert(
        "controller.offline",
        may(Read, Events),
        AlertKind {
            rule: BuiltinRule::new(2, "CRITICAL", About::Other),
            title: "No server can be reached: Lamplighter's own network seems to be down",
            resolved_by: &["controller.online"],
            explained_by: ExplainedBy::Nothing,
            ..AlertKind::NEW
        },
    ),
    EventKind::streamed("controller.online", may(Read, Events)),
];
