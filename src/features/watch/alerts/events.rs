//! Events of alerts.

use super::told::{OVER, RAISED};
use crate::access::right::{Alerts, Read, may};
use crate::kinds::{About, AlertKind, BuiltinRule, EventKind, ExplainedBy};

/// Event kinds of alerts.
pub const KINDS: &[EventKind] = &[
    EventKind::alert(
        RAISED,
        may(Read, Alerts),
        AlertKind {
            rule: BuiltinRule::new(95, "INFO", About::Other),
            title: "{name}: a program reports trouble",
            resolved_by: &[OVER],
            part: "service",
            explained_by: ExplainedBy::Nothing,
            ..AlertKind::NEW
        },
    ),
    EventKind::streamed(OVER, may(Read, Alerts)),
    EventKind::streamed("alert.raised", may(Read, Alerts)),
    EventKind::streamed("alert.flapping", may(Read, Alerts)),
    EventKind::streamed("alert.resolved", may(Read, Alerts)),
    EventKind::news("alert.acknowledged", may(Read, Alerts)),
    EventKind::news("alert.reopened", may(Read, Alerts)),
    EventKind::news("alert.muted", may(Read, Alerts)),
    EventKind::news("alert.silenced", may(Read, Alerts)),
    EventKind::news("alert.audible", may(Read, Alerts)),
    EventKind::news("alert.calm", may(Read, Alerts)),
];
