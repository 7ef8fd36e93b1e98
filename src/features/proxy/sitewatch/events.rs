//! Events of site checks.

use crate::access::right::{Domains, Read, may};
use crate::kinds::{About, AlertKind, BuiltinRule, EventKind};

/// Event kinds of site checks.
pub const KINDS: &[EventKind] = &[
    EventKind::alert(
        "domain.dark",
        may(Read, Domains),
        AlertKind {
            rule: BuiltinRule::new(24, "ERROR", About::Domain),
            title: "{name} does not answer as it should",
            resolved_by: &["domain.answers", "domain.unwatched"],
            ..AlertKind::NEW
        },
    ),
    EventKind::streamed("domain.answers", may(Read, Domains)),
    EventKind::streamed("domain.unwatched", may(Read, Domains)),
];
