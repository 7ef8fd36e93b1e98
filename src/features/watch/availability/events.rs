//! Events of availability.

use crate::access::right::{Events, Read, may};
use crate::kinds::EventKind;

/// The report of the last days.
pub const REPORT: &str = "availability.report";

/// See [`EventKind`].
pub const KINDS: &[EventKind] = &[EventKind::news(REPORT, may(Read, Events))];
