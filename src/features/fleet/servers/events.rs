//! Events of servers; availability events belong to the poller.

use crate::access::right::{Read, Servers, may};
use crate::kinds::{About, AlertKind, BuiltinRule, EventKind, ExplainedBy};

/// Event kinds of servers.
pub const KINDS: &[EventKind] = &[
    EventKind::alert(
        "host.key_changed",
        may(Read, Servers),
        AlertKind {
            rule: BuiltinRule::new(3, "CRITICAL", About::Server),
            title: "{name} shows another host key than the accepted one",
            resolved_by: &["server.host_key_accepted", "host.key_replaced", "host.key_restored"],
            explained_by: ExplainedBy::NothingEver,
            ..AlertKind::NEW
        },
    ),
    EventKind::streamed("server.host_key_accepted", may(Read, Servers)),
    EventKind::streamed("host.key_replaced", may(Read, Servers)),
    EventKind::streamed("host.key_restored", may(Read, Servers)),
    EventKind::alert(
        "server.deploy_failed",
        may(Read, Servers),
        AlertKind {
            rule: BuiltinRule::new(18, "ERROR", About::Server),
            title: "Work on {name} failed: its task says at which step",
            resolved_by: &["server.deploy_ok"],
            part: "work",
            ..AlertKind::NEW
        },
    ),
    EventKind::streamed("server.deploy_ok", may(Read, Servers)),
    EventKind::news("server.created", may(Read, Servers)),
    EventKind::news("server.deleted", may(Read, Servers)),
    EventKind::streamed("server.changed", may(Read, Servers)),
    EventKind::news("server.tags_changed", may(Read, Servers)),
    EventKind::streamed("server.provisioned", may(Read, Servers)),
    EventKind::streamed("server.sites_off", may(Read, Servers)),
];
