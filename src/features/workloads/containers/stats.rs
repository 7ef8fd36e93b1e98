//! What a container uses, from two samples of its counters.

use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

macro_rules! read {
    ($($(#[$doc:meta])* $name:ident { $($field:ident : $type:ty,)* })*) => {
        $($(#[$doc])* #[derive(Debug, Default, Deserialize)] struct $name {
            $(#[serde(default, deserialize_with = "or_default")] $field: $type,)*
        })*
    };
}

read! {
    Raw {
        cpu_stats: RawCpu,
        memory_stats: RawMemory,
        networks: BTreeMap<String, RawNetwork>,
        blkio_stats: RawBlocks,
        pids_stats: RawPids,
    }
    RawCpu { cpu_usage: RawUsage, system_cpu_usage: u64, online_cpus: u32, }
    RawUsage { total_usage: u64, percpu_usage: Vec<u64>, }
    RawMemory { usage: u64, limit: u64, stats: RawMemoryStats, }
    RawMemoryStats { inactive_file: u64, total_inactive_file: Option<u64>, }
    RawNetwork { rx_bytes: u64, tx_bytes: u64, }
    RawBlocks { io_service_bytes_recursive: Vec<RawBlock>, }
    RawBlock { op: String, value: u64, }
    RawPids { current: u64, }
}

/// Counters of one container at one time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    cpu: u64,
    system: u64,
    cpus: u32,
    net: Option<(u64, u64)>,
    blocks: Option<(u64, u64)>,
    memory: Option<(u64, u64)>,
    pids: Option<u64>,
}

/// What it uses. `None`: not known.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// Percent of one processor, as `docker stats` counts: 200 are two busy ones.
    pub cpu: Option<f64>,
    /// Percent of the memory that it may use.
    pub memory: Option<f64>,
    /// Bytes of memory in use, without files that can be dropped.
    pub memory_used: Option<u64>,
    /// Bytes of memory that it may use.
    pub memory_limit: Option<u64>,
    /// Bytes a second received and sent.
    pub net: Option<(f64, f64)>,
    /// Bytes a second read from and written to disks.
    pub blocks: Option<(f64, f64)>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

impl Counters {
    /// Reads an answer; `None`: there is none, as of a container that does not run. `cpus`: the server's processors, where
    /// the answer does not say.
    pub fn read(body: &[u8], cpus: u32) -> Option<Counters> {
        let raw: Raw = serde_json::from_slice(body).ok()?;
        let usage = &raw.cpu_stats.cpu_usage;
        if usage.total_usage == 0 {
            return None;
        }
        let own = [raw.cpu_stats.online_cpus, usage.percpu_usage.len() as u32, cpus];
        let sum = |of: &dyn Fn(&RawNetwork) -> u64| raw.networks.values().map(of).fold(0, u64::saturating_add);
        let op = |op: &str| {
            let all = raw.blkio_stats.io_service_bytes_recursive.iter();
            all.filter(|block| block.op.eq_ignore_ascii_case(op))
                .fold(0, |n: u64, block| n.saturating_add(block.value))
        };
        let memory = &raw.memory_stats;
        let cache = memory.stats.total_inactive_file.unwrap_or(memory.stats.inactive_file);
        Some(Counters {
            cpu: usage.total_usage,
            system: raw.cpu_stats.system_cpu_usage,
            cpus: own.into_iter().find(|n| *n > 0).unwrap_or(0),
            net: (!raw.networks.is_empty()).then(|| (sum(&|n| n.rx_bytes), sum(&|n| n.tx_bytes))),
            blocks: (!raw.blkio_stats.io_service_bytes_recursive.is_empty()).then(|| (op("read"), op("write"))),
            memory: (memory.usage > 0).then(|| (memory.usage.saturating_sub(cache), memory.limit)),
            pids: Some(raw.pids_stats.current).filter(|n| *n > 0),
        })
    }

    /// What was used since an earlier sample, `seconds` ago.
    pub fn since(&self, before: Option<&Counters>, seconds: f64) -> Usage {
        let rate = |now: u64, then: u64| now.checked_sub(then).map(|n| n as f64 / seconds);
        let both = |now: Option<(u64, u64)>, then: Option<(u64, u64)>| {
            let (now, then) = (now?, then?);
            Some((rate(now.0, then.0)?, rate(now.1, then.1)?))
        };
        let before = before.filter(|_| seconds > 0.0);
        let cpu = before.and_then(|before| {
            let used = self.cpu.checked_sub(before.cpu)? as f64;
            let system = self.system.checked_sub(before.system).filter(|n| *n > 0)? as f64;
            let percent = used / system * f64::from(self.cpus) * 100.0;
            // The counters are not read at one instant.
            Some(percent.min(f64::from(self.cpus) * 100.0)).filter(|_| self.cpus > 0)
        });
        let limit = self.memory.map(|(_, limit)| limit).filter(|limit| *limit > 0);
        let used = self.memory.map(|(used, _)| used);
        Usage {
            cpu,
            memory: used
                .zip(limit)
                .map(|(used, limit)| (used as f64 / limit as f64 * 100.0).min(100.0)),
            memory_used: used,
            memory_limit: limit,
            net: before.and_then(|before| both(self.net, before.net)),
            blocks: before.and_then(|before| both(self.blocks, before.blocks)),
            pids: self.pids,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(file: &str) -> Vec<u8> {
        std::fs::read(format!("{}/tests/data/docker/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    #[test]
    fn one_sample_tells_no_rates_and_what_does_not_run_nothing() {
        let one = Counters::read(&data("20.10.24/stats_oneshot_running.json"), 4).unwrap();
        let usage = one.since(None, 15.0);
        assert_eq!((usage.cpu, usage.net, usage.memory_used), (None, None, Some(856_064)));
        assert_eq!(
            (usage.memory_limit, usage.pids, one.cpus),
            (Some(67_108_864), Some(2), 2)
        );
        assert_eq!(Counters::read(&data("20.10.24/stats_oneshot_stopped.json"), 4), None);
        assert_eq!(Counters::read(&data("podman-4.3.1/stats_dead.txt"), 4), None);
        assert_eq!(
            Counters::read(&data("20.10.24/stats_oneshot_hostnet.json"), 4)
                .unwrap()
                .net,
            None
        );
        let podman = Counters::read(&data("podman-4.3.1/stats_oneshot.json"), 4).unwrap();
        assert_eq!((podman.cpus, podman.memory), (4, None));
    }

    #[test]
    fn two_samples_tell_what_was_used_and_a_counter_that_went_back_nothing() {
        let then = Counters::read(&data("20.10.24/stats_oneshot_running.json"), 4).unwrap();
        let mut now = then;
        now.cpu += 1_500_000_000;
        now.system += 30_000_000_000;
        now.net = then.net.map(|(rx, tx)| (rx + 1_500, tx + 15));
        let usage = now.since(Some(&then), 15.0);
        assert_eq!((usage.cpu, usage.net), (Some(10.0), Some((100.0, 1.0))));
        let back = then.since(Some(&now), 15.0);
        assert_eq!((back.cpu, back.net), (None, None));
        for file in [
            "stats_cgroup2",
            "stats_no_online_cpus",
            "stats_windows",
            "stats_counter_went_back",
        ] {
            let one = Counters::read(&data(&format!("newer-shapes/{file}.json")), 4);
            if let (Some(one), "stats_cgroup2") = (one, file) {
                let usage = one.since(None, 0.0);
                assert_eq!(
                    (usage.memory_used, usage.memory_limit),
                    (Some(550_502_400), Some(2_147_483_648))
                );
                assert_eq!(
                    (one.net, one.blocks, usage.pids),
                    (Some((9_979, 1_338)), Some((73_728, 4_096)), Some(14))
                );
            }
        }
    }
}
