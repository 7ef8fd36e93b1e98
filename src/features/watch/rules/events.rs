//! Alerts of rules on measurements, and events of rules. `metric.cleared` names the rule that ended an alert.

use crate::access::right::{AlertRules, Read, Servers, may};
use crate::kinds::{AlertKind, EventKind};

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
    EventKind::streamed("metric.cleared", may(Read, Servers)),
    EventKind::streamed("rule.changed", may(Read, AlertRules)),
];
