//! Alerts of rules on measurements, and events of rules. `metric.cleared` names the rule that ended an alert.

use crate::access::right::{AlertRules, Containers, Read, Servers, Services, may};
use crate::kinds::{AlertKind, EventKind};

const fn of_container(name: &'static str) -> EventKind {
    EventKind::alert(name, may(Read, Containers), AlertKind::NEW)
}

const fn of_service(name: &'static str) -> EventKind {
    EventKind::alert(name, may(Read, Services), AlertKind::NEW)
}

/// Event kinds of rules.
pub const KINDS: &[EventKind] = &[
    EventKind::alert(
        "metric.disk",
        may(Read, Servers),
        AlertKind {
            part: "disk",
            ..AlertKind::NEW
        },
    ),
    EventKind::alert(
        "metric.disk_trend",
        may(Read, Servers),
        AlertKind {
            part: "disk",
            ..AlertKind::NEW
        },
    ),
    EventKind::alert("metric.mem", may(Read, Servers), AlertKind { ..AlertKind::NEW }),
    EventKind::alert("metric.swap", may(Read, Servers), AlertKind { ..AlertKind::NEW }),
    EventKind::alert("metric.cpu", may(Read, Servers), AlertKind { ..AlertKind::NEW }),
    EventKind::alert("metric.iowait", may(Read, Servers), AlertKind { ..AlertKind::NEW }),
    EventKind::alert("metric.load", may(Read, Servers), AlertKind { ..AlertKind::NEW }),
    EventKind::alert("metric.net", may(Read, Servers), AlertKind { ..AlertKind::NEW }),
    EventKind::alert("metric.disk_io", may(Read, Servers), AlertKind { ..AlertKind::NEW }),
    EventKind::alert("metric.poll", may(Read, Servers), AlertKind { ..AlertKind::NEW }),
    EventKind::alert("metric.uptime", may(Read, Servers), AlertKind { ..AlertKind::NEW }),
    of_container("metric.container_cpu"),
    of_container("metric.container_mem"),
    of_container("metric.container_net"),
    of_container("metric.container_io"),
    of_container("metric.container_pids"),
    of_container("metric.container_ends"),
    of_container("metric.container_unhealthy"),
    of_container("metric.container_log"),
    of_service("metric.service_cpu"),
    of_service("metric.service_mem"),
    of_service("metric.service_latency"),
    of_service("metric.service_restarts"),
    of_service("metric.service_uptime"),
    EventKind::streamed("metric.cleared", may(Read, Servers)),
    EventKind::streamed("rule.changed", may(Read, AlertRules)),
];
