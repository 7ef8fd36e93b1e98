//! Events of secrets. None of them has a value.

use crate::access::right::{Read, Secrets, may};
use crate::kinds::{About, AlertKind, BuiltinRule, EventKind, ExplainedBy, HangsOn};

/// Its end is near, or it is over.
pub const EXPIRING: &str = "secret.expiring";
/// Its end is far again: ends [`EXPIRING`].
pub const RENEWED: &str = "secret.renewed";
/// Somebody was shown a value.
pub const REVEALED: &str = "secret.revealed";
/// There is a new value.
pub const ROTATED: &str = "secret.rotated";

/// Another value could not be brought to its hosts.
pub const ROTATION_FAILED: &str = "secret.rotation_failed";

/// Event kinds of secrets.
pub const KINDS: &[EventKind] = &[
    EventKind::streamed("secret.created", may(Read, Secrets)),
    EventKind::streamed("secret.changed", may(Read, Secrets)),
    EventKind::streamed("secret.deleted", may(Read, Secrets)),
    EventKind::news(REVEALED, may(Read, Secrets)),
    EventKind::news(ROTATED, may(Read, Secrets)),
    EventKind::streamed(RENEWED, may(Read, Secrets)),
    EventKind::alert(
        EXPIRING,
        may(Read, Secrets),
        AlertKind {
            rule: BuiltinRule::new(80, "WARNING", About::Other),
            title: "The secret {name} ends soon",
            resolved_by: &[RENEWED],
            explained_by: ExplainedBy::Nothing,
            hangs_on: HangsOn::None,
            ..AlertKind::NEW
        },
    ),
    EventKind::alert(
        ROTATION_FAILED,
        may(Read, Secrets),
        AlertKind {
            rule: BuiltinRule::new(81, "ERROR", About::Other),
            title: "The secret {name} could not be rotated",
            resolved_by: &[ROTATED],
            explained_by: ExplainedBy::Nothing,
            hangs_on: HangsOn::None,
            ..AlertKind::NEW
        },
    ),
];
