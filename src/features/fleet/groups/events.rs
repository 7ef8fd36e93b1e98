//! Events of groups.

use crate::access::right::{Groups, Read, may};
use crate::kinds::EventKind;

/// Event kinds of groups.
pub const KINDS: &[EventKind] = &[
    EventKind::streamed("group.created", may(Read, Groups)),
    EventKind::streamed("group.changed", may(Read, Groups)),
    EventKind::streamed("group.deleted", may(Read, Groups)),
];
