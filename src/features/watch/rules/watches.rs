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
    /// Name in a rule; the key of the series, except for disks.
    pub key: &'static str,
    /// Kind of its alerts.
    pub kind: &'static str,
    /// Unit.
    pub unit: Unit,
    /// Are low values bad? `None`: the rule decides.
    pub below: Option<bool>,
}

macro_rules! series {
    ($($key:literal $kind:literal $unit:ident $below:expr;)*) => {
        &[$(Series { subject: "server", key: $key, kind: $kind, unit: Unit::$unit, below: $below }),*]
    };
}

/// All measured values.
pub const SERIES: &[Series] = series! {
    "disk"       "metric.disk"       Percent        Some(false);
    "disk_trend" "metric.disk_trend" Hours          Some(true);
    "mem"        "metric.mem"        Percent        Some(false);
    "swap"       "metric.swap"       Percent        Some(false);
    "cpu"        "metric.cpu"        Percent        None;
    "iowait"     "metric.iowait"     Percent        Some(false);
    "load1"      "metric.load"       PerCore        Some(false);
    "load5"      "metric.load"       PerCore        Some(false);
    "load15"     "metric.load"       PerCore        Some(false);
    "net_rx"     "metric.net"        BytesPerSecond None;
    "net_tx"     "metric.net"        BytesPerSecond None;
    "disk_read"  "metric.disk_io"    BytesPerSecond None;
    "disk_write" "metric.disk_io"    BytesPerSecond None;
    "poll"       "metric.poll"       Milliseconds   Some(false);
    "uptime"     "metric.uptime"     Minutes        Some(true);
};

impl Series {
    /// Is there one for each disk?
    pub fn is_of_disks(&self) -> bool {
        [DISK, DISK_TREND].contains(&self.key)
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
            Watches::Series(s) => s.key,
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
            Watches::Series(_) => About::Server,
        }
    }

    /// Parses a name.
    pub fn parse(name: &str) -> Option<Watches> {
        let event = || kinds::find(name).filter(|kind| builtin_of(kind).is_some());
        let series = SERIES.iter().find(|s| s.key == name).map(Watches::Series);
        series.or_else(|| event().map(Watches::Event))
    }
}

/// The built-in rule for it.
pub fn builtin_of(kind: &EventKind) -> Option<BuiltinRule> {
    kind.raises().and_then(|alert| alert.rule)
}
