//! Events of actions. That one failed is told as of all work on servers.

use crate::access::right::{Read, Servers, may};
use crate::kinds::EventKind;

/// A machine was restarted and is back.
pub const REBOOTED: &str = "server.rebooted";

/// Event kinds of actions.
pub const KINDS: &[EventKind] = &[EventKind::news(REBOOTED, may(Read, Servers))];
