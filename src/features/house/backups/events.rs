//! Events of backups.

use crate::access::right::{Events, Read, may};
use crate::kinds::{About, AlertKind, BuiltinRule, EventKind, ExplainedBy};

/// It was made: ends what follows.
pub const MADE: &str = "backup.made";
/// It failed.
pub const FAILED: &str = "backup.failed";
/// There is none that is new enough.
pub const OLD: &str = "backup.old";
/// It was read again.
pub const READABLE: &str = "backup.readable";
/// It could not be.
pub const UNREADABLE: &str = "backup.unreadable";

/// Event kinds of backups.
pub const KINDS: &[EventKind] = &[
    EventKind::streamed(MADE, may(Read, Events)),
    EventKind::alert(
        FAILED,
        may(Read, Events),
        alert(40, "ERROR", "A backup of Lamplighter failed", &[MADE]),
    ),
    EventKind::alert(
        OLD,
        may(Read, Events),
        alert(41, "WARNING", "There is no recent backup of Lamplighter", &[MADE]),
    ),
    EventKind::streamed(READABLE, may(Read, Events)),
    EventKind::alert(
        UNREADABLE,
        may(Read, Events),
        alert(
            42,
            "CRITICAL",
            "A backup of Lamplighter cannot be read again",
            &[READABLE],
        ),
    ),
];

const fn alert(rule: i64, level: &'static str, title: &'static str, resolved_by: &'static [&'static str]) -> AlertKind {
    AlertKind {
        rule: BuiltinRule::new(rule, level, About::Other),
        title,
        resolved_by,
        explained_by: ExplainedBy::Nothing,
        ..AlertKind::NEW
    }
}
