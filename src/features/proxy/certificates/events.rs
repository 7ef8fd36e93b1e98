//! Events of certificates that people have brought.

use crate::access::right::{Certificates, Read, may};
use crate::kinds::EventKind;

/// See [`EventKind`].
pub const KINDS: &[EventKind] = &[
    EventKind::streamed("certificate.created", may(Read, Certificates)),
    EventKind::streamed("certificate.changed", may(Read, Certificates)),
    EventKind::streamed("certificate.deleted", may(Read, Certificates)),
];
