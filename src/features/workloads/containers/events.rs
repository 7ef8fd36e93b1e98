//! Events of containers and of their engines.

use super::collect::{ANSWERS, SILENT};
use super::state::{CALM, DIED, GAVE_UP, HEALS, HEALTHY, LOOPS, OOM, REMOVED, RUNNING, UNHEALTHY};
use crate::access::right::{Containers, Read, may};
use crate::kinds::{About, AlertKind, BuiltinRule, EventKind};

const fn alert(
    name: &'static str,
    rule: i64,
    level: &'static str,
    title: &'static str,
    by: &'static [&'static str],
) -> EventKind {
    let alert = AlertKind {
        rule: BuiltinRule::new(rule, level, About::Container),
        title,
        resolved_by: by,
        ..AlertKind::NEW
    };
    EventKind::alert(name, may(Read, Containers), alert)
}

/// Event kinds of containers. A dark server explains all of them.
pub const KINDS: &[EventKind] = &[
    alert(DIED, 60, "ERROR", "{name} ended by itself", &[RUNNING, REMOVED]),
    alert(
        OOM,
        61,
        "ERROR",
        "{name} was ended for want of memory",
        &[CALM, REMOVED],
    ),
    alert(LOOPS, 62, "ERROR", "{name} ends again and again", &[CALM, REMOVED]),
    alert(UNHEALTHY, 63, "WARNING", "{name} is unhealthy", &[HEALTHY, REMOVED]),
    alert(
        GAVE_UP,
        64,
        "CRITICAL",
        "{name} stays unhealthy however often it is restarted",
        &[HEALTHY, REMOVED],
    ),
    EventKind::alert(
        SILENT,
        may(Read, Containers),
        AlertKind {
            rule: BuiltinRule::new(65, "ERROR", About::Server),
            title: "The container engine of {name} does not answer",
            resolved_by: &[ANSWERS],
            ..AlertKind::NEW
        },
    ),
    EventKind::streamed(RUNNING, may(Read, Containers)),
    EventKind::streamed(HEALTHY, may(Read, Containers)),
    EventKind::streamed(CALM, may(Read, Containers)),
    EventKind::streamed(REMOVED, may(Read, Containers)),
    EventKind::streamed(HEALS, may(Read, Containers)),
    EventKind::streamed(ANSWERS, may(Read, Containers)),
];
