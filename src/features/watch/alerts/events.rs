//! Events of alerts.

use crate::access::right::{Alerts, Read, may};
use crate::kinds::EventKind;

/// Event kinds of alerts.
pub const KINDS: &[EventKind] = &[
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
