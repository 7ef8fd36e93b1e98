//! Events of upstreams.

use crate::access::right::{Read, Upstreams, may};
use crate::kinds::EventKind;

/// Event kinds of this feature.
pub const KINDS: &[EventKind] = &[
    EventKind::streamed("upstream.created", may(Read, Upstreams)),
    EventKind::streamed("upstream.changed", may(Read, Upstreams)),
    EventKind::streamed("upstream.deleted", may(Read, Upstreams)),
];
