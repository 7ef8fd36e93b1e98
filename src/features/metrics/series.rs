//! What is measured: one row of [`METRICS`] a metric, and one series for each file system. Stored values are whole
//! numbers; the scale says what one of them is worth.

use super::glances::{Disk, Sample};
use crate::features::rules::{self, judge::Measured};

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// 0 to 100.
    Percent,
    /// Processes that run or wait.
    Load,
    /// Seconds.
    Seconds,
    /// Bytes in a second.
    BytesPerSecond,
    /// Milliseconds.
    Milliseconds,
}

impl Unit {
    /// What one stored step is worth. Glances gives percentages with one digit; below 100 B/s a chart shows nothing.
    pub fn step(self) -> f64 {
        match self {
            Unit::Percent => 0.1,
            Unit::Load => 0.01,
            Unit::Seconds | Unit::Milliseconds => 1.0,
            Unit::BytesPerSecond => 100.0,
        }
    }

    /// As it is stored.
    pub fn to_steps(self, value: f64) -> i64 {
        (value / self.step()).round() as i64
    }

    /// As it is shown: the digits that were stored and no more.
    pub fn of_steps(self, steps: f64) -> f64 {
        let value = steps * self.step();
        (value * 1_000.0).round() / 1_000.0
    }
}

/// One metric that every server has.
pub struct Metric {
    /// Its name everywhere: column, JSON, chart.
    pub key: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// Where it stands in a sample; the poll's own duration in ms is the second argument.
    pub of: fn(&Sample, u32) -> Option<f64>,
}

macro_rules! metrics {
    ($($key:literal $unit:ident $of:expr;)*) => { &[$(Metric { key: $key, unit: Unit::$unit, of: $of }),*] };
}

/// All of them.
pub const METRICS: &[Metric] = metrics! {
    "cpu"        Percent        |s, _| s.cpu_percent;
    "iowait"     Percent        |s, _| s.iowait_percent;
    "mem"        Percent        |s, _| s.mem_percent;
    "swap"       Percent        |s, _| s.swap_percent;
    "load1"      Load           |s, _| s.load1;
    "load5"      Load           |s, _| s.load5;
    "load15"     Load           |s, _| s.load15;
    "net_rx"     BytesPerSecond |s, _| s.net_rx;
    "net_tx"     BytesPerSecond |s, _| s.net_tx;
    "disk_read"  BytesPerSecond |s, _| s.disk_read;
    "disk_write" BytesPerSecond |s, _| s.disk_write;
    "uptime"     Seconds        |s, _| s.uptime_seconds.map(|n| n as f64);
    "poll"       Milliseconds   |_, took_ms| Some(f64::from(took_ms));
};

/// File systems kept of one server, ever: containers come and go with mounts of their own.
pub const DISKS_MAX: usize = 32;
/// In a series' key before the mount point.
pub const DISK: &str = "disk:";

/// The unit of a series by its key.
pub fn unit(key: &str) -> Unit {
    METRICS.iter().find(|m| m.key == key).map_or(Unit::Percent, |m| m.unit)
}

/// What a sample says: the key's place in [`METRICS`] and the value in steps.
pub fn values(sample: &Sample, took_ms: u32) -> impl Iterator<Item = (usize, i64)> {
    METRICS
        .iter()
        .enumerate()
        .filter_map(move |(i, m)| Some((i, m.unit.to_steps((m.of)(sample, took_ms)?))))
}

/// Each device once, by its shortest mount point: a bind mount says nothing new. Mount point and percent.
pub fn disks(sample: &Sample) -> impl Iterator<Item = (&str, f64)> {
    let all = &sample.disks;
    let known = |d: &Disk| d.percent.is_some() && !d.device.is_empty();
    let is_another = move |(i, d): (usize, &Disk)| {
        let shorter = |(o, other): (usize, &Disk)| {
            let better = (other.mount.len(), o) < (d.mount.len(), i);
            better && known(other) && other.device == d.device
        };
        !d.device.is_empty() && all.iter().enumerate().any(shorter)
    };
    let own = all.iter().enumerate().filter(move |disk| !is_another(*disk));
    own.filter_map(|(_, d)| Some((d.mount.as_str(), d.percent?)))
        .take(DISKS_MAX)
}

/// A poll's figures as the rules see them.
pub struct Figures<'a> {
    /// What the poll brought.
    pub sample: &'a Sample,
    /// How long it took.
    pub took_ms: u32,
}

impl Measured for Figures<'_> {
    /// Loads are of one core; without their number nobody knows whether they are much. Uptimes are minutes.
    fn value(&self, series: &rules::model::Series) -> Option<f64> {
        let metric = METRICS.iter().find(|m| m.key == series.key)?;
        let value = (metric.of)(self.sample, self.took_ms)?;
        match metric.unit {
            Unit::Load => Some(value / f64::from(self.sample.cpu_cores.filter(|n| *n > 0)?)),
            Unit::Seconds => Some(value / 60.0),
            _ => Some(value),
        }
    }

    fn disks(&self, each: &mut dyn FnMut(&str, f64)) {
        disks(self.sample).for_each(|(mount, percent)| each(mount, percent));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_keep_the_digits_that_glances_sends() {
        assert_eq!(Unit::Percent.of_steps(Unit::Percent.to_steps(97.9) as f64), 97.9);
        assert_eq!(Unit::Load.of_steps(Unit::Load.to_steps(5.012_207) as f64), 5.01);
        assert_eq!(Unit::BytesPerSecond.to_steps(1e15), 10_000_000_000_000);
    }

    #[test]
    fn a_device_counts_once() {
        let disk = |device: &str, mount: &str| Disk {
            mount: mount.into(),
            device: device.into(),
            percent: Some(50.0),
            ..Disk::default()
        };
        let sample = Sample {
            disks: vec![
                disk("/dev/vda", "/opt/x"),
                disk("/dev/vda", "/"),
                disk("", "/a"),
                disk("", "/b"),
            ],
            ..Sample::default()
        };
        let mounts: Vec<&str> = disks(&sample).map(|(mount, _)| mount).collect();
        assert_eq!(mounts, ["/", "/a", "/b"]);
    }

    #[test]
    fn every_series_that_a_rule_may_watch_is_measured() {
        for series in rules::model::SERIES.iter().filter(|s| !s.is_of_disks()) {
            assert!(METRICS.iter().any(|m| m.key == series.key), "{}", series.key);
        }
        let sample = Sample {
            load5: Some(6.0),
            cpu_cores: Some(4),
            uptime_seconds: Some(90),
            ..Sample::default()
        };
        let value = |sample, key: &str| {
            let series = rules::model::SERIES.iter().find(|s| s.key == key).unwrap();
            Figures { sample, took_ms: 40 }.value(series)
        };
        let [load, uptime, poll, cpu] = ["load5", "uptime", "poll", "cpu"].map(|key| value(&sample, key));
        assert_eq!((load, uptime, poll, cpu), (Some(1.5), Some(1.5), Some(40.0), None));
        assert_eq!(
            value(
                &Sample {
                    cpu_cores: None,
                    ..sample.clone()
                },
                "load5"
            ),
            None
        );
    }
}
