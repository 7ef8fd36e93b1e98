//! One response section by section, and its conversion to a sample.

use super::flow::{self, DISKIO, Flow, NETWORK};
use super::time::{instant, uptime};
use super::{DISKS_MAX, Disk, Sample, keep_fullest};
use crate::base::text;
use crate::features::fleet::metrics::json_reader::{Broken, JsonReader};
use crate::features::fleet::metrics::layers;

/// Limit of interfaces or block devices per response.
const FLOWS_MAX: usize = 1_024;

/// The response as sent. Of a duplicate key the last value counts.
#[derive(Default)]
pub struct Answer {
    cpu: Option<Cpu>,
    mem: Memory,
    swap: Memory,
    load: [Option<f64>; 3],
    cores: [Option<f64>; 2],
    quick_cpu: Option<f64>,
    quick_mem: Option<f64>,
    quick_swap: Option<f64>,
    uptime: Option<String>,
    now: Option<String>,
    hostname: Option<String>,
    os: [Option<String>; 2],
    version: Option<String>,
    shape_of_4: bool,
    disks: Vec<Disk>,
    interfaces: Vec<Flow>,
    devices: Vec<Flow>,
}

#[derive(Default)]
struct Cpu {
    total: Option<f64>,
    idle: Option<f64>,
    iowait: Option<f64>,
    steal: Option<f64>,
}

#[derive(Default)]
struct Memory {
    total: Option<f64>,
    available: Option<f64>,
    used: Option<f64>,
    percent: Option<f64>,
}

type ReadResult<T = ()> = std::result::Result<T, Broken>;

impl Answer {
    /// Reads one section; unknown ones are skipped.
    pub fn section(&mut self, reader: &mut JsonReader, key: &[u8]) -> ReadResult {
        match key {
            b"cpu" => {
                let mut cpu = Cpu::default();
                reader.object(|reader, key| {
                    match key {
                        b"total" => cpu.total = reader.number()?,
                        b"idle" => cpu.idle = reader.number()?,
                        b"iowait" => cpu.iowait = reader.number()?,
                        b"steal" => cpu.steal = reader.number()?,
                        b"cpucore" => self.cores[0] = reader.number()?,
                        _ => reader.skip()?,
                    }
                    // Any non-empty object counts as a response, even a wrong one: then no other path is tried.
                    self.cpu.get_or_insert_default();
                    Ok(())
                })?;
                if self.cpu.is_some() {
                    self.cpu = Some(cpu);
                }
            }
            b"mem" => self.mem = memory(reader)?,
            b"memswap" => self.swap = memory(reader)?,
            b"load" => drop(reader.object(|reader, key| {
                match key {
                    b"min1" => self.load[0] = reader.number()?,
                    b"min5" => self.load[1] = reader.number()?,
                    b"min15" => self.load[2] = reader.number()?,
                    b"cpucore" => self.cores[1] = reader.number()?,
                    _ => reader.skip()?,
                }
                Ok(())
            })?),
            b"quicklook" => drop(reader.object(|reader, key| {
                match key {
                    b"cpu" => self.quick_cpu = reader.number()?,
                    b"mem" => self.quick_mem = reader.number()?,
                    b"swap" => self.quick_swap = reader.number()?,
                    _ => reader.skip()?,
                }
                Ok(())
            })?),
            b"uptime" => self.uptime = reader.text()?,
            b"now" if reader.peek()? == b'"' => self.now = reader.text()?,
            b"now" => drop(reader.object(|reader, key| {
                self.shape_of_4 = true;
                match key {
                    b"iso" => self.now = reader.text()?,
                    _ => reader.skip()?,
                }
                Ok(())
            })?),
            b"system" => drop(reader.object(|reader, key| {
                match key {
                    b"hostname" => self.hostname = reader.text()?,
                    b"hr_name" => self.os[0] = reader.text()?,
                    b"linux_distro" => self.os[1] = reader.text()?,
                    _ => reader.skip()?,
                }
                Ok(())
            })?),
            b"version" => self.version = reader.text()?,
            b"fs" => {
                self.disks.clear();
                reader.array_of(usize::MAX, |reader| {
                    self.disks.extend(disk(reader)?);
                    if self.disks.len() >= 2 * DISKS_MAX {
                        keep_fullest(&mut self.disks, DISKS_MAX);
                    }
                    Ok(())
                })?;
                keep_fullest(&mut self.disks, DISKS_MAX);
            }
            b"network" => {
                self.interfaces.clear();
                reader.array_of(FLOWS_MAX, |reader| {
                    let (flow, shape_of_4) = flow::read(reader, &NETWORK)?;
                    self.shape_of_4 |= shape_of_4;
                    self.interfaces.push(flow);
                    Ok(())
                })?;
            }
            b"diskio" => {
                self.devices.clear();
                reader.array_of(FLOWS_MAX, |reader| {
                    self.devices.push(flow::read(reader, &DISKIO)?.0);
                    Ok(())
                })?;
            }
            _ => reader.skip()?,
        }
        Ok(())
    }

    /// Converts to a sample, where values are plausible.
    pub fn sample(self) -> Sample {
        let cpu = match self.cpu {
            // The second response of a fresh 4.x has no measurements yet. `percpu` then says 100, so it cannot be used
            // either.
            Some(Cpu {
                total: Some(0.0),
                idle: Some(0.0),
                ..
            }) => Cpu::default(),
            Some(cpu) => cpu,
            // Plugin disabled: the summary has the value. Its 0 is the case above.
            None => Cpu {
                total: self.quick_cpu.filter(|p| *p != 0.0),
                ..Cpu::default()
            },
        };
        let (net_rx, net_tx) = flow::sum(&self.interfaces, layers::interface);
        let (disk_read, disk_write) = flow::sum(&self.devices, layers::device);
        let mem_total = self.mem.total.and_then(bytes).filter(|n| *n > 0);
        let no_swap = self.swap.total == Some(0.0);
        let [os, distribution] = self.os;
        Sample {
            cpu_percent: cpu.total.and_then(percent),
            iowait_percent: cpu.iowait.filter(|_| cpu.total.is_some()).and_then(percent),
            steal_percent: cpu.steal.filter(|_| cpu.total.is_some()).and_then(percent),
            mem_percent: self.mem.percent().or(self.quick_mem.and_then(percent)),
            mem_used: self.mem.used().and_then(bytes),
            mem_total,
            swap_percent: self
                .swap
                .percent()
                .or(self.quick_swap.and_then(percent))
                .filter(|_| !no_swap),
            load1: self.load[0].filter(|n| (0.0..1e6).contains(n)),
            load5: self.load[1].filter(|n| (0.0..1e6).contains(n)),
            load15: self.load[2].filter(|n| (0.0..1e6).contains(n)),
            cpu_cores: self
                .cores
                .iter()
                .flatten()
                .find(|n| (1.0..65_536.0).contains(*n))
                .map(|n| *n as u32),
            uptime_seconds: self.uptime.as_deref().and_then(uptime),
            disk_percent: self.disks.iter().find(|d| d.mount == "/").and_then(|d| d.percent),
            disk_max_percent: None,
            disk_max_mount: None,
            net_rx,
            net_tx,
            disk_read,
            disk_write,
            hostname: self.hostname.filter(|t| !t.is_empty()),
            os: os.or(distribution).filter(|t| !t.is_empty()),
            api: if self.shape_of_4 || self.version.is_some() {
                4
            } else {
                3
            },
            version: self.version.map(|v| text::one_line(&v, 20)).filter(|t| !t.is_empty()),
            remote_now: self.now.as_deref().and_then(instant),
            disks: self.disks,
            uncharted: None,
        }
    }
}

fn memory(reader: &mut JsonReader) -> ReadResult<Memory> {
    let mut memory = Memory::default();
    reader.object(|reader, key| {
        match key {
            b"total" => memory.total = reader.number()?,
            b"available" => memory.available = reader.number()?,
            b"used" => memory.used = reader.number()?,
            b"percent" => memory.percent = reader.number()?,
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    Ok(memory)
}

impl Memory {
    fn used(&self) -> Option<f64> {
        self.used.or_else(|| Some(self.total? - self.available?))
    }

    fn percent(&self) -> Option<f64> {
        let total = self.total.filter(|t| *t > 0.0);
        if self.total.is_some() && total.is_none() {
            return None; // no share of nothing
        }
        self.percent
            .or_else(|| Some(100.0 * self.used()? / total?))
            .and_then(percent)
    }
}

fn disk(reader: &mut JsonReader) -> ReadResult<Option<Disk>> {
    let mut disk = Disk::default();
    let (mut read_only, mut sent) = (false, None);
    reader.object(|reader, key| {
        match key {
            b"mnt_point" => disk.mount = reader.text()?.unwrap_or_default(),
            b"device_name" => disk.device = reader.text()?.unwrap_or_default(),
            b"fs_type" => disk.kind = reader.text()?.unwrap_or_default(),
            b"options" => read_only = reader.text()?.is_some_and(|all| all.split(',').any(|o| o == "ro")),
            b"size" => disk.size = reader.number()?.and_then(bytes),
            b"used" => disk.used = reader.number()?.and_then(bytes),
            b"free" => disk.free = reader.number()?.and_then(bytes),
            b"percent" => sent = reader.number()?,
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    // As df: space reserved for root counts neither as used nor as free. So the sent value comes first.
    let counted = || Some(100.0 * disk.used? as f64 / (disk.used?.checked_add(disk.free?).filter(|n| *n > 0)?) as f64);
    disk.percent = sent.or_else(counted).and_then(percent).filter(|_| disk.size != Some(0));
    Ok((!disk.mount.is_empty() && !is_image(&disk, read_only)).then_some(disk))
}

/// Always full: read-only file systems with nothing free. Older versions do not send the mount options; then the type
/// decides.
fn is_image(disk: &Disk, read_only: bool) -> bool {
    /// File system types that are read-only.
    const WRITTEN_ONCE: [&str; 9] = [
        "squashfs",
        "iso9660",
        "erofs",
        "cramfs",
        "romfs",
        "cd9660",
        "cdfs",
        "fuse.squashfuse",
        "fuse.snapfuse",
    ];
    /// Types that may be writable: only if nothing is free.
    const DISCS: [&str; 1] = ["udf"];
    let kind = disk.kind.to_ascii_lowercase();
    let left = || disk.size?.checked_sub(disk.used?);
    let nothing_free = disk.free.or_else(left) == Some(0);
    let by_type = WRITTEN_ONCE.contains(&kind.as_str()) || kind.ends_with(".appimage");
    by_type || disk.mount.starts_with("/snap/") || nothing_free && (read_only || DISCS.contains(&kind.as_str()))
}

/// Values above 100 come from rounding or hyper-threading; negative ones are invalid.
fn percent(n: f64) -> Option<f64> {
    (n >= 0.0).then(|| n.min(100.0))
}

/// Whole bytes below 2^53, where floats are exact.
fn bytes(n: f64) -> Option<u64> {
    (0.0..9_007_199_254_740_992.0).contains(&n).then_some(n as u64)
}
