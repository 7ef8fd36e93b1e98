//! Events of site checks.

use crate::access::right::{Domains, Read, may};
use crate::base::id::Id;
use crate::kinds::{About, AlertKind, BuiltinRule, EventKind, HangsOn};

/// Event kinds of site checks.
pub const KINDS: &[EventKind] = &[
    EventKind::alert(
        "domain.dark",
        may(Read, Domains),
        AlertKind {
            rule: BuiltinRule::new(24, "ERROR", About::Domain),
            title: "{name} does not answer as it should",
            resolved_by: &["domain.answers", "domain.unwatched"],
            hangs_on: HangsOn::Some(|conn, id| {
                Ok(super::dark_on(conn, Id::new(id))?.into_iter().map(Id::get).collect())
            }),
            ..AlertKind::NEW
        },
    ),
    EventKind::streamed("domain.answers", may(Read, Domains)),
    EventKind::streamed("domain.unwatched", may(Read, Domains)),
];
