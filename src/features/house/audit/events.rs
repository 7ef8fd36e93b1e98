//! Events of the audit.

use crate::access::right::{Events, Read, may};
use crate::kinds::{About, AlertKind, BuiltinRule, EventKind, ExplainedBy};

/// Event kinds of this feature.
pub const KINDS: &[EventKind] = &[
    EventKind::alert(
        "audit.broken",
        may(Read, Events),
        AlertKind {
            rule: BuiltinRule::new(22, "CRITICAL", About::Other),
            title: "The audit was changed from outside: rows were altered or removed",
            resolved_by: &["audit.whole"],
            explained_by: ExplainedBy::NothingEver,
            ..AlertKind::NEW
        },
    ),
    EventKind::streamed("audit.whole", may(Read, Events)),
];
