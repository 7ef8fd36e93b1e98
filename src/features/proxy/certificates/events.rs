//! Events of uploaded certificates.

use crate::access::right::{Certificates, Read, may};
use crate::kinds::EventKind;

/// Event kinds of certificates.
pub const KINDS: &[EventKind] = &[
    EventKind::streamed("certificate.created", may(Read, Certificates)),
    EventKind::streamed("certificate.changed", may(Read, Certificates)),
    EventKind::streamed("certificate.deleted", may(Read, Certificates)),
];
