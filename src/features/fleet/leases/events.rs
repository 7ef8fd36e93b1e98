//! Events of leases. None of them has a value.

use crate::access::right::{Read, Secrets, may};
use crate::kinds::{About, AlertKind, BuiltinRule, EventKind, ExplainedBy, HangsOn};

/// Somebody has got one.
pub const GIVEN: &str = "lease.given";
/// It is at its end, and nothing of it is left.
pub const ENDED: &str = "lease.ended";
/// What was made for it cannot be taken away.
pub const STUCK: &str = "lease.stuck";

/// Event kinds of leases.
pub const KINDS: &[EventKind] = &[
    EventKind::news(GIVEN, may(Read, Secrets)),
    EventKind::streamed(ENDED, may(Read, Secrets)),
    EventKind::alert(
        STUCK,
        may(Read, Secrets),
        AlertKind {
            rule: BuiltinRule::new(82, "CRITICAL", About::Other),
            title: "A lease of {name} cannot be ended",
            resolved_by: &[ENDED],
            explained_by: ExplainedBy::Nothing,
            hangs_on: HangsOn::None,
            ..AlertKind::NEW
        },
    ),
];
