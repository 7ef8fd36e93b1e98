//! Events of name server checks.

use super::settings;
use crate::access::right::{Domains, Events, Read, may};
use crate::base::clock::MINUTE;
use crate::kinds::{About, AlertKind, BuiltinRule, EventKind, ExplainedBy, HangsOn};

/// Event kinds of name server checks.
pub const KINDS: &[EventKind] = &[
    EventKind::alert(
        "resolver.silent",
        may(Read, Events),
        AlertKind {
            rule: BuiltinRule::new(17, "ERROR", About::Other),
            title: "The name servers that Lamplighter asks do not answer: {name}",
            resolved_by: &["resolver.recovered"],
            ..AlertKind::NEW
        },
    ),
    EventKind::streamed("resolver.recovered", may(Read, Events)),
    EventKind::alert(
        "ns.mismatch",
        may(Read, Domains),
        AlertKind {
            rule: BuiltinRule::new(11, "ERROR", About::Domain),
            title: "{name} has name servers that do not fit its policy",
            resolved_by: &["ns.recovered"],
            explained_by: ExplainedBy::Network,
            hangs_on: HangsOn::None,
            rechecked: |conn| Ok(settings::NSWATCH_INTERVAL_MIN.number(conn)? * MINUTE),
            ..AlertKind::NEW
        },
    ),
    EventKind::alert(
        "ns.resolve_failed",
        may(Read, Domains),
        AlertKind {
            rule: BuiltinRule::new(12, "WARNING", About::Domain),
            title: "The name servers of {name} cannot be looked up",
            resolved_by: &["ns.recovered", "ns.mismatch"],
            explained_by: ExplainedBy::Network,
            hangs_on: HangsOn::None,
            rechecked: |conn| Ok(settings::NSWATCH_INTERVAL_MIN.number(conn)? * MINUTE),
            ..AlertKind::NEW
        },
    ),
    EventKind::streamed("ns.recovered", may(Read, Domains)),
    EventKind::news("ns.changed", may(Read, Domains)),
];
