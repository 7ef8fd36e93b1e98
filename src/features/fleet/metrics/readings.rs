//! The observation of a poll: the table below has a row for each figure that every server has; file systems add one
//! value each.

use super::glances::{Disk, NAMED_MAX, Sample, Uncharted};
use super::probe::{Outcome, Polled};
use crate::base::clock::SECOND;
use crate::base::id::Id;
use crate::features::fleet::servers::{self, POLL_FAIL_THRESHOLD};
use crate::series::{Key, Kind, Observation, Seen, Unit, Value, Whole};

/// Reads a figure from a sample; the second argument is the poll's duration in ms.
type Of = fn(&Sample, u32) -> Option<f64>;

macro_rules! figures {
    ($($key:literal $unit:ident $metric:literal $help:literal $of:expr;)*) => {
        const FIGURES: &[Of] = &[$($of),*];
        const KEYS: &[Key] = &[
            $(Key { name: $key, unit: Unit::$unit, part: "", metric: concat!("lamplighter_server_", $metric), help: $help },)*
            Key {
                name: "disk",
                unit: Unit::Percent,
                part: "mountpoint",
                metric: "lamplighter_server_filesystem_usage_ratio",
                help: "File system in use, as df counts it.",
            },
            // Observed for rules only, without exported metric.
            Key {
                name: "mount",
                unit: Unit::Percent,
                part: "mountpoint",
                metric: "",
                help: "",
            },
            Key {
                name: "cores",
                unit: Unit::Count,
                part: "",
                metric: "",
                help: "",
            },
        ];
    };
}

figures! {
    "cpu"        Percent        "cpu_usage_ratio" "CPU in use, all cores together."                   |s, _| s.cpu_percent;
    "iowait"     Percent        "cpu_iowait_ratio" "Time that the CPU waited for disks."              |s, _| s.iowait_percent;
    "mem"        Percent        "memory_usage_ratio" "Memory in use: total less available."           |s, _| s.mem_percent;
    "swap"       Percent        "swap_usage_ratio" "Swap in use."                                     |s, _| s.swap_percent;
    "load1"      Load           "load1" "Load average over one minute."                               |s, _| s.load1;
    "load5"      Load           "load5" "Load average over five minutes."                             |s, _| s.load5;
    "load15"     Load           "load15" "Load average over fifteen minutes."                         |s, _| s.load15;
    "net_rx"     BytesPerSecond "network_receive_bytes_per_second" "Received by all real interfaces." |s, _| s.net_rx;
    "net_tx"     BytesPerSecond "network_transmit_bytes_per_second" "Sent by all real interfaces."    |s, _| s.net_tx;
    "disk_read"  BytesPerSecond "disk_read_bytes_per_second" "Read from all real disks."              |s, _| s.disk_read;
    "disk_write" BytesPerSecond "disk_written_bytes_per_second" "Written to all real disks."          |s, _| s.disk_write;
    "uptime"     Seconds        "uptime_seconds" "Since the last boot."                               |s, _| s.uptime_seconds.map(|n| n as f64);
    "poll"       Milliseconds   "poll_duration_seconds" "How long the last poll took."                |_, took_ms| Some(f64::from(took_ms));
}

/// The observed kind `server`.
pub static SERVERS: Kind = Kind {
    name: "server",
    source: "glances",
    keys: KEYS,
    all: |conn| {
        let all = servers::states(conn)?.into_iter();
        Ok(all.map(|row| (row.id, row.name)).collect())
    },
    name_of: |conn, id| Ok(servers::polled(conn, Id::new(id))?.map(|polled| polled.name)),
    on: |_, servers| Ok(servers.clone()),
    fingerprint: servers::poll_fingerprint,
    silence_max: |conn, id| {
        let interval_s = servers::get(conn, Id::new(id))?.fields.poll_interval_s;
        Ok(POLL_FAIL_THRESHOLD.number(conn)? * interval_s * SECOND)
    },
};
/// Number of keys without parts; they come first.
pub const FIGURES_COUNT: usize = FIGURES.len();
/// Index of the file systems' key.
pub const DISK: usize = FIGURES_COUNT;
/// Each mount point, including repeated mounts.
const MOUNT: usize = FIGURES_COUNT + 1;
const CORES: usize = FIGURES_COUNT + 2;

/// Figures of a sample: key index and value.
pub fn figures(sample: &Sample, took_ms: u32) -> impl Iterator<Item = (usize, f64)> {
    let all = FIGURES.iter().enumerate();
    all.filter_map(move |(key, of)| Some((key, of(sample, took_ms)?)))
}

/// The observation of a successful poll.
pub fn observe<'a>(poll: &Polled<'a>) -> Observation<'a> {
    let sample = poll.sample;
    let value = |key, value| Value {
        key,
        part: "",
        value,
        is_kept: key < FIGURES_COUNT,
        of: None,
    };
    let all = figures(sample, poll.took_ms).map(|(key, number)| value(key, number));
    let mut values: Vec<Value> = Vec::with_capacity(FIGURES_COUNT + 1 + 2 * sample.disks.len());
    values.extend(all);
    values.extend(sample.cpu_cores.map(|n| value(CORES, f64::from(n))));
    let mut all = file_systems(sample);
    all.sort_by(|a, b| b.percent.total_cmp(&a.percent));
    values.extend(all.iter().enumerate().map(|(n, one)| Value {
        part: &one.disk.mount,
        is_kept: n < CHARTED_MAX,
        of: Some(whole(one.disk, one.datasets)),
        ..value(DISK, one.percent)
    }));
    values.extend(sample.disks.iter().filter_map(|disk| {
        Some(Value {
            part: &disk.mount,
            of: Some(whole(disk, 1)),
            ..value(MOUNT, disk.percent?)
        })
    }));
    Observation {
        kind: &SERVERS,
        id: poll.server.get(),
        at_ms: poll.at_ms,
        seen: Seen::Values(values),
    }
}

/// The observation of any outcome.
pub fn observed(outcome: &Outcome) -> Observation<'_> {
    match outcome.polled() {
        Some(poll) => observe(&poll),
        None => Observation {
            kind: &SERVERS,
            id: outcome.server.get(),
            at_ms: outcome.at_ms,
            seen: Seen::Missed(outcome.fail_threshold),
        },
    }
}

fn whole(disk: &Disk, sharers: usize) -> Whole<'_> {
    Whole {
        name: &disk.device,
        size: disk.size,
        used: disk.used,
        free: disk.free,
        sharers,
    }
}

/// Limit of charted file systems per poll: the fullest.
pub const CHARTED_MAX: usize = 32;
/// A file system for charts and rules.
#[derive(Debug, Clone, Copy)]
struct FileSystem<'a> {
    /// Its shortest mount point represents it.
    disk: &'a Disk,
    /// As `df`; for a pool including all its datasets.
    percent: f64,
    /// Number of datasets of one pool that it represents.
    datasets: usize,
}

/// Each file system once: bind mounts are repeats, and datasets that share free space fill together.
fn file_systems(sample: &Sample) -> Vec<FileSystem<'_>> {
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
    // In the order sent: they are adjacent.
    groups.sort_by_key(|g| std::ptr::from_ref(g[0]));
    groups.iter().filter_map(|group| file_system(group)).collect()
}

fn file_system<'a>(group: &[&'a Disk]) -> Option<FileSystem<'a>> {
    let disk = *group.first()?;
    let own = disk.percent?;
    let used = group.iter().filter_map(|d| d.used).fold(0, u64::saturating_add) as f64;
    let both = used + disk.free.unwrap_or(0) as f64;
    let percent = match group.len() {
        1 => own,
        _ if both > 0.0 => (1_000.0 * used / both).round() / 10.0,
        _ => own,
    };
    Some(FileSystem {
        disk,
        percent,
        datasets: group.len(),
    })
}

/// Is it the same file system mounted twice? The name alone does not decide: every tmpfs has the same. A block device
/// does, except that a quota changes the size, and concurrent writes make values differ slightly.
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

/// Are they datasets of one ZFS pool that share free space? A quota makes it separate.
fn shares(a: &Disk, b: &Disk) -> bool {
    fn pool(d: &Disk) -> Option<&str> {
        d.device.split('/').next()
    }
    a.kind == "zfs" && b.kind == "zfs" && a.free.is_some() && a.free == b.free && pool(a) == pool(b)
}

/// File systems of an observation that are not charted.
pub fn uncharted(seen: &Observation) -> Option<Uncharted> {
    let rest = || seen.values().iter().filter(|value| value.key == DISK && !value.is_kept);
    let uncharted = Uncharted {
        count: rest().count(),
        mounts: rest().take(NAMED_MAX).map(|value| value.part.to_string()).collect(),
    };
    Some(uncharted).filter(|u| u.count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let mounts: Vec<&str> = file_systems(&sample).iter().map(|j| j.disk.mount.as_str()).collect();
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
        let mounts: Vec<&str> = file_systems(&sample).iter().map(|j| j.disk.mount.as_str()).collect();
        assert_eq!(mounts, ["/", "/quota", "/run", "/tmp"]);
    }
}
