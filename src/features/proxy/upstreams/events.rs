//! Events of upstreams.

use crate::access::right::{Read, Upstreams, may};
use crate::kinds::EventKind;

/// See [`EventKind`].
pub const KINDS: &[EventKind] = &[
    EventKind::streamed("upstream.created", may(Read, Upstreams)),
    EventKind::streamed("upstream.changed", may(Read, Upstreams)),
    EventKind::streamed("upstream.deleted", may(Read, Upstreams)),
];
