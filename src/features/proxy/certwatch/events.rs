//! Events of served certificates: one per state of a domain; each resolves the alerts of the others. A failed issue
//! says nothing about the served certificate.

use crate::access::right::{Domains, Read, may};
use crate::kinds::{About, AlertKind, BuiltinRule, EventKind};

/// Event kinds of served certificates.
pub const KINDS: &[EventKind] = &[
    EventKind::alert(
        "certificate.soon",
        may(Read, Domains),
        AlertKind {
            rule: BuiltinRule::new(13, "WARNING", About::Domain),
            title: "The certificate of {name} is in its last third: it should have been renewed",
            resolved_by: &[
                "certificate.urgent",
                "certificate.bad",
                "certificate.good",
                "certificate.unwatched",
            ],
            ..AlertKind::NEW
        },
    ),
    EventKind::alert(
        "certificate.urgent",
        may(Read, Domains),
        AlertKind {
            rule: BuiltinRule::new(14, "ERROR", About::Domain),
            title: "The certificate of {name} is about to end",
            resolved_by: &[
                "certificate.soon",
                "certificate.bad",
                "certificate.good",
                "certificate.unwatched",
            ],
            ..AlertKind::NEW
        },
    ),
    EventKind::alert(
        "certificate.bad",
        may(Read, Domains),
        AlertKind {
            rule: BuiltinRule::new(15, "ERROR", About::Domain),
            title: "Browsers refuse {name}: its certificate is not good",
            resolved_by: &[
                "certificate.soon",
                "certificate.urgent",
                "certificate.good",
                "certificate.unwatched",
            ],
            ..AlertKind::NEW
        },
    ),
    EventKind::streamed("certificate.good", may(Read, Domains)),
    EventKind::streamed("certificate.unwatched", may(Read, Domains)),
];
