//! What is measured: one row of [`METRICS`] a metric, and one series for each file system. Stored values are whole
//! numbers; the scale says what one of them is worth.

use super::glances::{Disk, NAMED_MAX, Sample, Uncharted};
use crate::features::watch::rules;
use crate::features::watch::rules::judge::{self, Measured};
use std::cell::OnceCell;

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

/// File systems charted of one poll: the fullest.
pub const CHARTED_MAX: usize = 32;
/// File systems with a chart, of one server. Containers come and go with mounts of their own: who was not seen for longest
/// makes room.
pub const DISKS_MAX: usize = 128;
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

/// A file system as it is judged and charted.
#[derive(Debug, Clone, Copy)]
pub struct Judged<'a> {
    /// Its shortest mount point stands for it.
    pub disk: &'a Disk,
    /// As `df` counts it; of a pool, of all that its datasets hold.
    pub percent: f64,
    /// Datasets of one pool that stand behind it.
    pub datasets: usize,
}

/// Each file system once: a bind mount says nothing new, and datasets that share what is free fill together.
pub fn disks(sample: &Sample) -> Vec<Judged<'_>> {
    let mut order: Vec<&Disk> = sample.disks.iter().filter(|d| d.percent.is_some()).collect();
    order.sort_by_key(|d| d.mount.len());
    let mut groups: Vec<Vec<&Disk>> = Vec::new();
    for disk in order {
        if groups.iter().flatten().any(|d| is_same(d, disk)) {
            continue;
        }
        match groups.iter_mut().find(|g| shares(g[0], disk)) {
            Some(group) => group.push(disk),
            None => groups.push(vec![disk]),
        }
    }
    // In the order sent: they lie in one slice.
    groups.sort_by_key(|g| std::ptr::from_ref(g[0]));
    groups.iter().filter_map(|group| judged(group)).collect()
}

fn judged<'a>(group: &[&'a Disk]) -> Option<Judged<'a>> {
    let disk = *group.first()?;
    let own = disk.percent?;
    let used = group.iter().filter_map(|d| d.used).fold(0, u64::saturating_add) as f64;
    let both = used + disk.free.unwrap_or(0) as f64;
    let percent = match group.len() {
        1 => own,
        _ if both > 0.0 => (1_000.0 * used / both).round() / 10.0,
        _ => own,
    };
    Some(Judged {
        disk,
        percent,
        datasets: group.len(),
    })
}

/// Is it the same file system, mounted twice? A name alone is none: every tmpfs is called so. A block device is one, but a
/// quota of its folder makes another size, and while somebody writes two looks are never quite equal.
fn is_same(a: &Disk, b: &Disk) -> bool {
    if a.device.is_empty() || a.device != b.device || a.size != b.size {
        return false;
    }
    let grain = if a.device.starts_with("/dev/") {
        a.size.unwrap_or(0) / 1_000
    } else {
        0
    };
    let near = |a: Option<u64>, b: Option<u64>| match (a, b) {
        (Some(a), Some(b)) => a.abs_diff(b) <= grain,
        (a, b) => a == b,
    };
    near(a.used, b.used) && near(a.free, b.free) && (a.used.is_some() || a.percent == b.percent)
}

/// Are they datasets of one ZFS pool that share what is free? One with a quota of its own has its own.
fn shares(a: &Disk, b: &Disk) -> bool {
    fn pool(d: &Disk) -> Option<&str> {
        d.device.split('/').next()
    }
    a.kind == "zfs" && b.kind == "zfs" && a.free.is_some() && a.free == b.free && pool(a) == pool(b)
}

/// Those that are charted, the fullest, and the others.
pub fn charted(sample: &Sample) -> (Vec<Judged<'_>>, Option<Uncharted>) {
    let mut all = disks(sample);
    all.sort_by(|a, b| b.percent.total_cmp(&a.percent));
    let rest = all.split_off(all.len().min(CHARTED_MAX));
    let uncharted = Uncharted {
        count: rest.len(),
        mounts: rest.iter().take(NAMED_MAX).map(|j| j.disk.mount.clone()).collect(),
    };
    (all, Some(uncharted).filter(|u| u.count > 0))
}

/// A poll's figures as the rules see them.
pub struct Figures<'a> {
    /// What the poll brought.
    pub sample: &'a Sample,
    /// How long it took.
    pub took_ms: u32,
    /// What [`disks`] makes of it: the same for all rules.
    judged: OnceCell<Vec<Judged<'a>>>,
}

impl<'a> Figures<'a> {
    /// Of a poll.
    pub fn of(sample: &'a Sample, took_ms: u32) -> Figures<'a> {
        Figures {
            sample,
            took_ms,
            judged: OnceCell::new(),
        }
    }
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

    fn disks(&self, mount: &str, each: &mut dyn FnMut(judge::Disk<'_>)) {
        fn facts(disk: &Disk, percent: f64, datasets: usize) -> judge::Disk<'_> {
            judge::Disk {
                mount: disk.mount.as_str().into(),
                device: disk.device.as_str().into(),
                percent,
                size: disk.size,
                used: disk.used,
                free: disk.free,
                datasets,
            }
        }
        if mount.is_empty() {
            let judged = self.judged.get_or_init(|| disks(self.sample));
            judged.iter().for_each(|j| each(facts(j.disk, j.percent, j.datasets)));
        } else if let Some(disk) = self.sample.disks.iter().find(|d| d.mount == mount)
            && let Some(percent) = disk.percent
        {
            each(facts(disk, percent, 1));
        }
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
        let mounts: Vec<&str> = disks(&sample).iter().map(|j| j.disk.mount.as_str()).collect();
        assert_eq!(mounts, ["/", "/a", "/b"]);
        // A block device while somebody writes; a folder of it with a quota; two of the same name in memory.
        let sized = |device: &str, mount: &str, size: u64, used: u64| Disk {
            size: Some(size),
            used: Some(used),
            free: Some(size - used),
            ..disk(device, mount)
        };
        let sample = Sample {
            disks: vec![
                sized("/dev/vda", "/", 1_000_000, 500_000),
                sized("/dev/vda", "/bind", 1_000_000, 500_400),
                sized("/dev/vda", "/quota", 10_000, 500),
                sized("tmpfs", "/run", 1_000_000, 1),
                sized("tmpfs", "/tmp", 1_000_000, 2),
                sized("tmpfs", "/tmp/again", 1_000_000, 2),
            ],
            ..Sample::default()
        };
        let mounts: Vec<&str> = disks(&sample).iter().map(|j| j.disk.mount.as_str()).collect();
        assert_eq!(mounts, ["/", "/quota", "/run", "/tmp"]);
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
            Figures::of(sample, 40).value(series)
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
