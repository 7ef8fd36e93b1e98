//! Events of domains and deployments.

use crate::access::right::{Domains, Read, may};
use crate::kinds::{About, AlertKind, BuiltinRule, EventKind};

/// Event kinds of domains.
pub const KINDS: &[EventKind] = &[
    EventKind::alert(
        "deploy.failed",
        may(Read, Domains),
        AlertKind {
            rule: BuiltinRule::new(9, "ERROR", About::Domain),
            title: "{name} could not be deployed; what was there before is still there",
            resolved_by: &["deploy.ok"],
            ..AlertKind::NEW
        },
    ),
    EventKind::news("deploy.ok", may(Read, Domains)),
    EventKind::alert(
        "certificate.failed",
        may(Read, Domains),
        AlertKind {
            rule: BuiltinRule::new(19, "ERROR", About::Domain),
            title: "The certificate of {name} could not be issued or renewed",
            resolved_by: &["deploy.ok", "domain.renewed"],
            ..AlertKind::NEW
        },
    ),
    EventKind::streamed("domain.renewed", may(Read, Domains)),
    EventKind::alert(
        "domain.drifted",
        may(Read, Domains),
        AlertKind {
            rule: BuiltinRule::new(10, "WARNING", About::Domain),
            title: "What lies on a server for {name} is not what was put there",
            resolved_by: &["domain.healed", "deploy.ok"],
            ..AlertKind::NEW
        },
    ),
    EventKind::alert(
        "domain.left_behind",
        may(Read, Domains),
        AlertKind {
            rule: BuiltinRule::new(20, "WARNING", About::Domain),
            title: "{name} could not be taken off a server that cannot be reached; if that is gone for good, forget it there",
            resolved_by: &["domain.taken_off", "domain.site_forgotten"],
            ..AlertKind::NEW
        },
    ),
    EventKind::streamed("domain.taken_off", may(Read, Domains)),
    EventKind::news("domain.created", may(Read, Domains)),
    EventKind::news("domain.changed", may(Read, Domains)),
    EventKind::news("domain.deleted", may(Read, Domains)),
    EventKind::news("domain.healed", may(Read, Domains)),
    EventKind::news("domain.site_forgotten", may(Read, Domains)),
];
