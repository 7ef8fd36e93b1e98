//! What can be watched: figures of what is observed, and events that a feature declares a rule for.

use crate::kinds::{self, About, BuiltinRule, EventKind};
use crate::lang::Lang;
use crate::lang::format::number;

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// 0 to 100.
    Percent,
    /// Processes that run or wait, divided by the cores.
    PerCore,
    /// Milliseconds.
    Milliseconds,
    /// Bytes in a second.
    BytesPerSecond,
    /// Minutes.
    Minutes,
    /// Hours.
    Hours,
}

impl Unit {
    /// Within these a threshold is.
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

    /// For the API.
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

    /// A value as people write it: the digits it has, two at most.
    pub fn digits(lang: Lang, value: f64) -> String {
        let places = [0, 1, 2].into_iter().find(|n| {
            let scale = 10f64.powi(*n as i32);
            ((value * scale).round() - value * scale).abs() < 1e-6
        });
        number(lang, value, places.unwrap_or(2))
    }
}

/// In a rule's `watches` and in the disks' alerts.
pub const DISK: &str = "disk";

/// How long until a disk is full, by how it filled in the last hours; looked at now and then, not at every poll.
pub const DISK_TREND: &str = "disk_trend";

/// Percent of the CPU in use or waiting for disks from which on a load is this machine's own, and below which it is not
/// any more. A container without lxcfs shows the load of its host beside its own cores and its own CPU.
pub const BUSY: f64 = 50.0;

/// See [`BUSY`].
pub const IDLE: f64 = 25.0;

/// One thing that is observed.
#[derive(Debug, PartialEq)]
pub struct Series {
    /// Of which kind of subjects.
    pub subject: &'static str,
    /// Its name in a rule; as in the charts, except for the disks.
    pub key: &'static str,
    /// The alert's kind.
    pub kind: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// Is too little a fault? `None`: both can be.
    pub below: Option<bool>,
}

macro_rules! series {
    ($($key:literal $kind:literal $unit:ident $below:expr;)*) => {
        &[$(Series { subject: "server", key: $key, kind: $kind, unit: Unit::$unit, below: $below }),*]
    };
}

/// All of them.
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
    /// One for each disk?
    pub fn is_of_disks(&self) -> bool {
        [DISK, DISK_TREND].contains(&self.key)
    }
}

/// What a rule watches.
#[derive(Debug, Clone, Copy)]
pub enum Watches {
    /// An event.
    Event(&'static EventKind),
    /// A figure.
    Series(&'static Series),
}

impl Watches {
    /// Its name in a rule.
    pub fn name(self) -> &'static str {
        match self {
            Watches::Event(e) => e.name,
            Watches::Series(s) => s.key,
        }
    }

    /// The alert's kind.
    pub fn kind(self) -> &'static str {
        match self {
            Watches::Event(e) => e.name,
            Watches::Series(s) => s.kind,
        }
    }

    /// By what a rule of it can be narrowed.
    pub fn about(self) -> About {
        match self {
            Watches::Event(e) => builtin_of(e).map_or(About::Other, |rule| rule.about),
            Watches::Series(_) => About::Server,
        }
    }

    /// Reads a name.
    pub fn parse(name: &str) -> Option<Watches> {
        let event = || kinds::find(name).filter(|kind| builtin_of(kind).is_some());
        let series = SERIES.iter().find(|s| s.key == name).map(Watches::Series);
        series.or_else(|| event().map(Watches::Event))
    }
}

/// The rule that comes with the program for it.
pub fn builtin_of(kind: &EventKind) -> Option<BuiltinRule> {
    kind.raises().and_then(|alert| alert.rule)
}
