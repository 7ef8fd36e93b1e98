//! Events of silences.

use crate::access::right::{Read, Silences, may};
use crate::kinds::EventKind;

/// Event kinds of this feature.
pub const KINDS: &[EventKind] = &[
    EventKind::news("silence.created", may(Read, Silences)),
    EventKind::news("silence.began", may(Read, Silences)),
    EventKind::news("silence.ended", may(Read, Silences)),
];
