//! What is measured: one row of [`METRICS`] a metric, and one series for each file system. Stored values are whole
//! numbers; the scale says what one of them is worth.

use super::glances::Sample;

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

/// Each device once, by its shortest mount point: a bind mount says nothing new. Mount point and value in steps.
pub fn disks(sample: &Sample) -> Vec<(&str, i64)> {
    let mut out: Vec<(&str, &str, i64)> = Vec::new();
    for disk in &sample.disks {
        let Some(percent) = disk.percent else { continue };
        let value = Unit::Percent.to_steps(percent);
        let new = (disk.device.as_str(), disk.mount.as_str(), value);
        match out
            .iter()
            .position(|(device, ..)| !device.is_empty() && *device == new.0)
        {
            Some(i) if new.1.len() < out[i].1.len() => out[i] = new,
            Some(_) => {}
            None if out.len() < DISKS_MAX => out.push(new),
            None => {}
        }
    }
    out.into_iter().map(|(_, mount, value)| (mount, value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::metrics::glances::Disk;

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
        let mounts: Vec<&str> = disks(&sample).into_iter().map(|(mount, _)| mount).collect();
        assert_eq!(mounts, ["/", "/a", "/b"]);
    }
}
