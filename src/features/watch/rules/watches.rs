//! What rules can watch: measured values, and events for which a feature declares a rule.

use crate::kinds::{self, About, BuiltinRule, EventKind};
use crate::lang::Lang;
use crate::lang::format::number;

/// Unit of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// 0 to 100.
    Percent,
    /// Processes that run or wait, divided by the cores.
    PerCore,
    /// Milliseconds.
    Milliseconds,
    /// Bytes per second.
    BytesPerSecond,
    /// Minutes.
    Minutes,
    /// Hours.
    Hours,
    /// Percent of one processor: 200 are two busy ones.
    CorePercent,
    /// Bytes.
    Bytes,
    /// A number of things.
    Count,
    /// Lines of a log within the rule's time.
    Lines,
}

impl Unit {
    /// Bounds of a threshold.
    pub fn bounds(self) -> std::ops::RangeInclusive<f64> {
        match self {
            Unit::Percent => 0.0..=100.0,
            Unit::PerCore => 0.0..=1_000.0,
            Unit::Milliseconds => 0.0..=60_000.0,
            Unit::BytesPerSecond => 0.0..=1e12,
            Unit::Minutes => 0.0..=1e6,
            Unit::Hours => 1.0..=720.0,
            Unit::CorePercent => 0.0..=100_000.0,
            Unit::Bytes => 0.0..=1e12,
            Unit::Count => 0.0..=1e6,
            Unit::Lines => 0.0..=10_000.0,
        }
    }

    /// Name in the API.
    pub fn name(self) -> &'static str {
        [
            "percent",
            "per_core",
            "milliseconds",
            "bytes_per_second",
            "minutes",
            "hours",
            "core_percent",
            "bytes",
            "count",
            "lines",
        ][self as usize]
    }

    /// Formats a value with at most two decimals.
    pub fn digits(lang: Lang, value: f64) -> String {
        let places = [0, 1, 2].into_iter().find(|n| {
            let scale = 10f64.powi(*n as i32);
            ((value * scale).round() - value * scale).abs() < 1e-6
        });
        number(lang, value, places.unwrap_or(2))
    }
}

/// Name of disk usage in `watches` and in alerts.
pub const DISK: &str = "disk";

/// Name of the forecast: hours until a disk is full. Evaluated periodically, not at every poll.
pub const DISK_TREND: &str = "disk_trend";

/// Name of lines with the rule's words in a container's log. Counted as they are stored, not at every observation.
pub const LOG: &str = "container_log";

/// CPU percentage (in use or waiting for disks) from which a load average is attributed to this machine, with [`IDLE`]
/// as the lower bound. A container without lxcfs shows the load of its host with its own cores and CPU.
pub const BUSY: f64 = 50.0;

/// See [`BUSY`].
pub const IDLE: f64 = 25.0;

/// A measured value.
#[derive(Debug, PartialEq)]
pub struct Series {
    /// Kind of subjects.
    pub subject: &'static str,
    /// Name in a rule.
    pub name: &'static str,
    /// Key of the observed value, except for disks.
    pub key: &'static str,
    /// Kind of its alerts.
    pub kind: &'static str,
    /// Unit.
    pub unit: Unit,
    /// Are low values bad? `None`: the rule decides.
    pub below: Option<bool>,
}

macro_rules! series {
    ($($subject:literal $name:literal $key:literal $kind:literal $unit:ident $below:expr;)*) => {
        &[$(Series { subject: $subject, name: $name, key: $key, kind: $kind, unit: Unit::$unit, below: $below }),*]
    };
}

/// All measured values.
pub const SERIES: &[Series] = series! {
    "server" "disk"       "disk"       "metric.disk"       Percent        Some(false);
    "server" "disk_trend" "disk_trend" "metric.disk_trend" Hours          Some(true);
    "server" "mem"        "mem"        "metric.mem"        Percent        Some(false);
    "server" "swap"       "swap"       "metric.swap"       Percent        Some(false);
    "server" "cpu"        "cpu"        "metric.cpu"        Percent        None;
    "server" "iowait"     "iowait"     "metric.iowait"     Percent        Some(false);
    "server" "load1"      "load1"      "metric.load"       PerCore        Some(false);
    "server" "load5"      "load5"      "metric.load"       PerCore        Some(false);
    "server" "load15"     "load15"     "metric.load"       PerCore        Some(false);
    "server" "net_rx"     "net_rx"     "metric.net"        BytesPerSecond None;
    "server" "net_tx"     "net_tx"     "metric.net"        BytesPerSecond None;
    "server" "disk_read"  "disk_read"  "metric.disk_io"    BytesPerSecond None;
    "server" "disk_write" "disk_write" "metric.disk_io"    BytesPerSecond None;
    "server" "poll"       "poll"       "metric.poll"       Milliseconds   Some(false);
    "server" "uptime"     "uptime"     "metric.uptime"     Minutes        Some(true);
    "container" "container_cpu"       "cpu"       "metric.container_cpu"       CorePercent    None;
    "container" "container_mem"       "mem"       "metric.container_mem"       Percent        Some(false);
    "container" "container_mem_used"  "mem_used"  "metric.container_mem"       Bytes          None;
    "container" "container_net_rx"    "net_rx"    "metric.container_net"       BytesPerSecond None;
    "container" "container_net_tx"    "net_tx"    "metric.container_net"       BytesPerSecond None;
    "container" "container_blk_read"  "blk_read"  "metric.container_io"        BytesPerSecond None;
    "container" "container_blk_write" "blk_write" "metric.container_io"        BytesPerSecond None;
    "container" "container_pids"      "pids"      "metric.container_pids"      Count          None;
    "container" "container_ends"      "ends"      "metric.container_ends"      Count          Some(false);
    "container" "container_unhealthy" "unhealthy" "metric.container_unhealthy" Minutes        Some(false);
    "container" "container_log"       "log"       "metric.container_log"       Lines          Some(false);
    "service" "service_cpu"      "cpu"      "metric.service_cpu"      CorePercent  None;
    "service" "service_mem"      "mem"      "metric.service_mem"      Percent      Some(false);
    "service" "service_mem_used" "mem_used" "metric.service_mem"      Bytes        None;
    "service" "service_latency"  "latency"  "metric.service_latency"  Milliseconds Some(false);
    "service" "service_restarts" "restarts" "metric.service_restarts" Count        Some(false);
    "service" "service_uptime"   "uptime"   "metric.service_uptime"   Minutes      Some(true);
};

impl Series {
    /// Is there one for each disk?
    pub fn is_of_disks(&self) -> bool {
        [DISK, DISK_TREND].contains(&self.name)
    }

    /// Is it measured at every observation?
    pub fn is_observed(&self) -> bool {
        ![DISK_TREND, LOG].contains(&self.name)
    }
}

/// What a rule watches.
#[derive(Debug, Clone, Copy)]
pub enum Watches {
    /// An event.
    Event(&'static EventKind),
    /// A measured value.
    Series(&'static Series),
}

impl Watches {
    /// Name in a rule.
    pub fn name(self) -> &'static str {
        match self {
            Watches::Event(e) => e.name,
            Watches::Series(s) => s.name,
        }
    }

    /// Kind of its alerts.
    pub fn kind(self) -> &'static str {
        match self {
            Watches::Event(e) => e.name,
            Watches::Series(s) => s.kind,
        }
    }

    /// Filter that a rule of it may have.
    pub fn about(self) -> About {
        match self {
            Watches::Event(e) => builtin_of(e).map_or(About::Other, |rule| rule.about),
            Watches::Series(s) if s.subject == "container" => About::Container,
            Watches::Series(_) => About::Server,
        }
    }

    /// Parses a name.
    pub fn parse(name: &str) -> Option<Watches> {
        let event = || kinds::find(name).filter(|kind| builtin_of(kind).is_some());
        let series = SERIES.iter().find(|s| s.name == name).map(Watches::Series);
        series.or_else(|| event().map(Watches::Event))
    }
}

/// The built-in rule for it.
pub fn builtin_of(kind: &EventKind) -> Option<BuiltinRule> {
    kind.raises().and_then(|alert| alert.rule)
}
