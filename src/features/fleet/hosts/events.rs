//! Events of hosts.

use crate::access::right::{Read, Servers, may};
use crate::kinds::EventKind;

/// A check has found something else than the one before.
pub const FACTS_CHANGED: &str = "host.facts_changed";

pub const KINDS: &[EventKind] = &[EventKind::streamed(FACTS_CHANGED, may(Read, Servers))];
