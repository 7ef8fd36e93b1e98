//! What Glances 3 and 4 answer at `/api/N/all`, read into a [`Sample`]. Absent, null or impossible is "no data", never 0;
//! one bad field never costs the rest. Facts about both versions: requirements T-3 and the captures in `tests/data/glances`.

use super::json_reader::{Broken, JsonReader};
use super::layers::{self, Layer};
use crate::base::clock::{self, Ms};
use crate::base::error::{Error, Kind, Result};
use crate::base::text;
use serde::{Deserialize, Serialize};

/// One look at a server. Percentages are 0 to 100, sizes bytes, rates bytes per second.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sample {
    /// All cores together.
    pub cpu_percent: Option<f64>,
    /// Time that the CPU waited for disks.
    pub iowait_percent: Option<f64>,
    /// Time that the hypervisor gave to others.
    pub steal_percent: Option<f64>,
    /// Memory in use as Glances counts it: total less available.
    pub mem_percent: Option<f64>,
    /// See `mem_percent`.
    pub mem_used: Option<u64>,
    /// Memory built in.
    pub mem_total: Option<u64>,
    /// None also when there is no swap.
    pub swap_percent: Option<f64>,
    /// Load average, not divided by cores.
    pub load1: Option<f64>,
    /// Over five minutes.
    pub load5: Option<f64>,
    /// Over fifteen minutes.
    pub load15: Option<f64>,
    /// Logical cores.
    pub cpu_cores: Option<u32>,
    /// Since the last boot.
    pub uptime_seconds: Option<u64>,
    /// Of the file system at `/`, as `df` counts it.
    pub disk_percent: Option<f64>,
    /// Of the fullest file system, where all of them are known.
    pub disk_max_percent: Option<f64>,
    /// Where that is mounted.
    pub disk_max_mount: Option<String>,
    /// Received by all real interfaces together.
    pub net_rx: Option<f64>,
    /// Sent by them.
    pub net_tx: Option<f64>,
    /// Read from all real disks together.
    pub disk_read: Option<f64>,
    /// Written to them.
    pub disk_write: Option<f64>,
    /// As the server calls itself: text from outside, one line.
    pub hostname: Option<String>,
    /// Distribution and kernel, one line.
    pub os: Option<String>,
    /// Glances' own version; 3.x does not tell.
    pub version: Option<String>,
    /// Which API the answer has the shape of: 3 or 4.
    pub api: u8,
    /// The server's clock, when it says in which zone it is.
    pub remote_now: Option<Ms>,
    /// File systems that can fill, in the order sent; of more than [`DISKS_MAX`] the fullest.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<Disk>,
    /// Of the last sample as it is kept: what has no chart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uncharted: Option<Uncharted>,
}

/// File systems that rules judge and charts do not show.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Uncharted {
    /// How many.
    pub count: usize,
    /// Mount points of the first [`NAMED_MAX`], the fullest first.
    pub mounts: Vec<String>,
}

/// So many say which kind they are.
pub const NAMED_MAX: usize = 12;

/// File systems read of one answer, and interfaces or block devices.
pub const DISKS_MAX: usize = 512;
const FLOWS_MAX: usize = 1_024;

/// One mounted file system.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Disk {
    /// Where it is mounted: text from outside, one line.
    pub mount: String,
    /// What is mounted. Bind mounts repeat it.
    pub device: String,
    /// In use.
    pub used: Option<u64>,
    /// Of the whole file system.
    pub size: Option<u64>,
    /// What users may still write.
    pub free: Option<u64>,
    /// As `df` counts it: used of what users may use.
    pub percent: Option<f64>,
    /// The file system's type, as the server calls it.
    pub kind: String,
}

/// Keeps the fullest, in the order they were in; the root is always one of them.
pub fn keep_fullest(disks: &mut Vec<Disk>, max: usize) {
    if disks.len() <= max {
        return;
    }
    let rank = |d: &Disk| (d.mount == "/", d.percent.unwrap_or(-1.0));
    let mut order: Vec<usize> = (0..disks.len()).collect();
    order.sort_by(|a, b| {
        let (a, b) = (rank(&disks[*a]), rank(&disks[*b]));
        b.0.cmp(&a.0).then(b.1.total_cmp(&a.1))
    });
    order.truncate(max);
    let kept: std::collections::HashSet<usize> = order.into_iter().collect();
    let mut place = 0..;
    disks.retain(|_| place.next().is_some_and(|i| kept.contains(&i)));
}

/// Reads an answer. Errors: `glances_not_json` (with where and why), `glances_nothing` (JSON, but not Glances').
pub fn parse(body: &[u8]) -> Result<Sample> {
    let not_json = |e: Broken| {
        let say = "The answer is not the JSON that Glances sends: it is cut short or something else.";
        Error::new(Kind::Upstream, "glances_not_json", say).log(format!("byte {}: {}", e.at, e.why))
    };
    let mut raw = Raw::default();
    if !JsonReader::new(body)
        .object(|reader, key| raw.section(reader, key))
        .map_err(not_json)?
    {
        return Err(not_json(Broken {
            at: 0,
            why: "no object",
        }));
    }
    let sample = raw.sample();
    let known = [
        sample.cpu_percent,
        sample.mem_percent,
        sample.load1,
        sample.disk_percent,
    ]
    .iter()
    .any(Option::is_some)
        || sample.uptime_seconds.is_some()
        || sample.mem_total.is_some()
        || !sample.disks.is_empty();
    if !known {
        let say =
            "The answer is JSON but holds nothing that Glances sends at /api/3/all or /api/4/all. Check port and path.";
        return Err(Error::new(Kind::Upstream, "glances_nothing", say));
    }
    Ok(sample)
}

/// The answer as sent, before any judgement. Of a key that comes twice the last one counts.
#[derive(Default)]
struct Raw {
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

/// What flows in two directions through an interface or a disk.
#[derive(Default)]
struct Flow {
    name: String,
    seconds: Option<f64>,
    since: [Option<f64>; 2],
    rate: [Option<f64>; 2],
}

type ReadResult = std::result::Result<(), Broken>;

impl Raw {
    fn section(&mut self, reader: &mut JsonReader, key: &[u8]) -> ReadResult {
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
                    // An object with anything in it is an answer, even a wrong one: then nothing else is asked.
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
                    let (flow, shape_of_4) = flow(reader, &NETWORK)?;
                    self.shape_of_4 |= shape_of_4;
                    self.interfaces.push(flow);
                    Ok(())
                })?;
            }
            b"diskio" => {
                self.devices.clear();
                reader.array_of(FLOWS_MAX, |reader| {
                    self.devices.push(flow(reader, &DISKIO)?.0);
                    Ok(())
                })?;
            }
            _ => reader.skip()?,
        }
        Ok(())
    }

    fn sample(self) -> Sample {
        let cpu = match self.cpu {
            // The second answer of a fresh 4.x: nothing has been measured yet. `percpu` then says 100, so it is no way out.
            Some(Cpu {
                total: Some(0.0),
                idle: Some(0.0),
                ..
            }) => Cpu::default(),
            Some(cpu) => cpu,
            // Plugin switched off: the summary has it still. Its 0 is the one of the case above.
            None => Cpu {
                total: self.quick_cpu.filter(|p| *p != 0.0),
                ..Cpu::default()
            },
        };
        let (net_rx, net_tx) = sum(&self.interfaces, layers::interface);
        let (disk_read, disk_write) = sum(&self.devices, layers::device);
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

fn memory(reader: &mut JsonReader) -> std::result::Result<Memory, Broken> {
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
            return None; // of nothing there is no share
        }
        self.percent
            .or_else(|| Some(100.0 * self.used()? / total?))
            .and_then(percent)
    }
}

fn disk(reader: &mut JsonReader) -> std::result::Result<Option<Disk>, Broken> {
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
    // df's way: what is reserved for root counts neither as used nor as free. So the sent value first.
    let counted = || Some(100.0 * disk.used? as f64 / (disk.used?.checked_add(disk.free?).filter(|n| *n > 0)?) as f64);
    disk.percent = sent.or_else(counted).and_then(percent).filter(|_| disk.size != Some(0));
    Ok((!disk.mount.is_empty() && !is_image(&disk, read_only)).then_some(disk))
}

/// Full by nature and for ever: read-only with nothing free. Older versions do not send the options; then the type says
/// that nobody writes there.
fn is_image(disk: &Disk, read_only: bool) -> bool {
    /// Types that the kernel or FUSE can only read.
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
    /// May be written on some media: only when nothing is free.
    const DISCS: [&str; 1] = ["udf"];
    let kind = disk.kind.to_ascii_lowercase();
    let left = || disk.size?.checked_sub(disk.used?);
    let nothing_free = disk.free.or_else(left) == Some(0);
    let by_type = WRITTEN_ONCE.contains(&kind.as_str()) || kind.ends_with(".appimage");
    by_type || disk.mount.starts_with("/snap/") || nothing_free && (read_only || DISCS.contains(&kind.as_str()))
}

/// The names of a flow's fields: its name, then for each direction the amounts of 3.x and 4.x and the rate of 4.x.
struct Names {
    name: &'static [u8],
    since_3: [&'static [u8]; 2],
    since_4: [&'static [u8]; 2],
    rate: [&'static [u8]; 2],
}

const NETWORK: Names = Names {
    name: b"interface_name",
    since_3: [b"rx", b"tx"],
    since_4: [b"bytes_recv", b"bytes_sent"],
    rate: [b"bytes_recv_rate_per_sec", b"bytes_sent_rate_per_sec"],
};

const DISKIO: Names = Names {
    name: b"disk_name",
    since_3: [b"read_bytes", b"write_bytes"],
    since_4: [b"read_bytes", b"write_bytes"],
    rate: [b"read_bytes_rate_per_sec", b"write_bytes_rate_per_sec"],
};

fn flow(reader: &mut JsonReader, names: &Names) -> std::result::Result<(Flow, bool), Broken> {
    let mut flow = Flow::default();
    let mut shape_of_4 = false;
    reader.object(|reader, key| {
        if key == names.name {
            flow.name = reader.text()?.unwrap_or_default();
        } else if key == b"time_since_update" {
            flow.seconds = reader.number()?;
        } else if let Some(i) = (0..2).find(|i| key == names.since_3[*i] || key == names.since_4[*i]) {
            shape_of_4 |= key == names.since_4[i];
            flow.since[i] = reader.number()?;
        } else if let Some(i) = (0..2).find(|i| key == names.rate[*i]) {
            flow.rate[i] = reader.number()?;
        } else {
            reader.skip()?;
        }
        Ok(())
    })?;
    Ok((flow, shape_of_4))
}

impl Flow {
    /// 4.x says the rate; 3.x says the bytes since its last update and how long ago that was.
    fn rate(&self, i: usize) -> Option<f64> {
        let counted = || Some(self.since[i]? / self.seconds.filter(|s| *s > 0.0)?);
        self.rate[i].or_else(counted).filter(|r| (0.0..1e15).contains(r))
    }
}

/// Both directions of the lowest layer that is seen; a direction that nobody knows is not known.
fn sum(all: &[Flow], layer: fn(&str, &[&str]) -> Layer) -> (Option<f64>, Option<f64>) {
    let names: Vec<&str> = all.iter().map(|f| f.name.as_str()).collect();
    let of: Vec<Layer> = names.iter().map(|name| layer(name, &names)).collect();
    let lowest = of.iter().min().filter(|layer| **layer < Layer::Inside);
    let sum = |i: usize| {
        let counted = all.iter().zip(&of).filter(|(_, layer)| Some(*layer) == lowest);
        counted
            .filter_map(|(f, _)| f.rate(i))
            .fold(None, |sum, r| Some(sum.unwrap_or(0.0) + r))
    };
    (sum(0), sum(1))
}

/// Above 100 is rounding or hyper-threading; below 0 is nonsense.
fn percent(n: f64) -> Option<f64> {
    (n >= 0.0).then(|| n.min(100.0))
}

/// Whole bytes below 2^53, where floats are exact.
fn bytes(n: f64) -> Option<u64> {
    (0.0..9_007_199_254_740_992.0).contains(&n).then_some(n as u64)
}

/// `0:10:08`, `1 day, 2:51:02`, `413 days, 6:07:24`: Python's timedelta, never localised.
fn uptime(text: &str) -> Option<u64> {
    let (days, time) = match text.split_once(" day") {
        Some((days, rest)) => (
            days.parse().ok()?,
            rest.strip_prefix('s').unwrap_or(rest).strip_prefix(", ")?,
        ),
        None => (0, text),
    };
    let mut parts = time.split('.').next()?.split(':').map(|p| p.parse::<u64>().ok());
    let (h, m, s) = (parts.next()??, parts.next()??, parts.next()??);
    let plausible = days < 100_000 && h < 24 && m < 60 && s < 60 && parts.next().is_none();
    plausible.then_some(((days * 24 + h) * 60 + m) * 60 + s)
}

/// `2026-11-21T04:54:43+00:00` (4.x) and `2026-11-21 04:54:33 UTC` (3.x, when the server keeps UTC). A time without a zone
/// that can be reckoned with says nothing.
fn instant(text: &str) -> Option<Ms> {
    let number = |range: std::ops::Range<usize>| -> Option<i64> {
        let digits = text.get(range)?;
        digits
            .bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| digits.parse().ok())?
    };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (h, m, s) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let days = clock::days(year, month, day)?;
    if h > 23 || m > 59 || s > 60 {
        return None;
    }
    let fraction = text
        .get(19..)?
        .trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let zone_minutes = match fraction.trim() {
        "Z" | "UTC" | "GMT" => 0,
        zone => {
            let b = zone.as_bytes();
            let sign = match b.first()? {
                b'+' => 1,
                b'-' => -1,
                _ => return None,
            };
            let two = |i: usize| zone.get(i..i + 2)?.parse::<i64>().ok();
            sign * (two(1)? * 60 + two(if b.get(3) == Some(&b':') { 4 } else { 3 })?)
        }
    };
    Some(days * clock::DAY + h * clock::HOUR + (m - zone_minutes) * clock::MINUTE + s * clock::SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::path::PathBuf;

    fn data(path: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("tests/data/glances")
            .join(path)
    }

    fn read(path: &str) -> Vec<u8> {
        std::fs::read(data(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    fn close(a: Option<f64>, b: &Value) -> bool {
        match (a, b.as_f64()) {
            (None, None) => true,
            (Some(a), Some(b)) => (a - b).abs() < 1e-3,
            _ => false,
        }
    }

    #[test]
    fn every_captured_answer_is_read_as_its_record_says() {
        let mut seen = 0;
        for version in ["3.1.7", "3.3.1.1", "3.4.0.5", "4.0.8", "4.3.3"] {
            for variant in std::fs::read_dir(data(version)).unwrap() {
                let name = format!("{version}/{}", variant.unwrap().file_name().to_string_lossy());
                let Ok(wanted) = std::fs::read(data(&format!("{name}/_expected.json"))) else {
                    continue;
                };
                let wanted: Value = serde_json::from_slice(&wanted).unwrap();
                let sample = parse(&read(&format!("{name}/all.json"))).unwrap();
                for (what, got) in [
                    ("cpu_percent", sample.cpu_percent),
                    ("cpu_cores", sample.cpu_cores.map(f64::from)),
                    ("mem_percent", sample.mem_percent),
                    ("mem_total", sample.mem_total.map(|n| n as f64)),
                    ("mem_used", sample.mem_used.map(|n| n as f64)),
                    ("load1", sample.load1),
                    ("load5", sample.load5),
                    ("load15", sample.load15),
                    ("uptime_seconds", sample.uptime_seconds.map(|n| n as f64)),
                ] {
                    assert!(
                        close(got, &wanted[what]),
                        "{name} {what}: {got:?}, should be {}",
                        wanted[what]
                    );
                }
                let swap = if wanted["swap_total"] == 0 {
                    &Value::Null
                } else {
                    &wanted["swap_percent"]
                };
                assert!(
                    close(sample.swap_percent, swap),
                    "{name} swap {:?}",
                    sample.swap_percent
                );
                assert!(close(sample.disk_percent, &wanted["root_fs"]["percent"]), "{name} root");
                assert_eq!(sample.hostname.as_deref(), wanted["hostname"].as_str());
                let mounts: Vec<&str> = sample.disks.iter().map(|d| d.mount.as_str()).collect();
                assert_eq!(Value::from(mounts), wanted["fs_real"], "{name}");
                assert_eq!(sample.api.to_string(), version[..1], "{name}");
                assert_eq!(sample.version.as_deref(), (sample.api == 4).then_some(version));
                assert!(sample.remote_now.is_some(), "{name}");
                seen += 1;
            }
        }
        assert!(seen >= 17, "only {seen}");
    }

    #[test]
    fn rates_come_from_either_version() {
        let old = parse(&read("3.4.0.5/full/all.json")).unwrap();
        // vethpeer, veth… and br-… count what eth0 and vp2 counted.
        assert!((old.net_rx.unwrap() - 43.551).abs() < 1e-3 && (old.net_tx.unwrap() - 48.995).abs() < 1e-3);
        let new = parse(&read("4.3.3/steady/all.json")).unwrap();
        assert_eq!((new.net_rx, new.net_tx), (Some(0.0), Some(9.0)));
        assert_eq!(new.disk_write, Some(697_731.0));
        // The first answer after a start may lack the time or have 0 for it: then nobody knows.
        for bent in ["bent/net-no-time.json", "bent/net-time-zero.json"] {
            assert_eq!(parse(&read(bent)).unwrap().net_rx, None, "{bent}");
        }
    }

    #[test]
    fn every_bent_answer_is_judged_as_its_list_says() {
        let cases: Value = serde_json::from_slice(&read("bent/_cases.json")).unwrap();
        let cases = cases["cases"].as_array().unwrap();
        assert!(cases.len() >= 60);
        for case in cases.iter().filter(|c| c["status"] == 200) {
            let name = case["name"].as_str().unwrap();
            let result = parse(&read(&format!("bent/{}", case["file"].as_str().unwrap())));
            let status = case["expect"]["status"].as_str().unwrap();
            match &result {
                Ok(_) => assert!(status.contains("ok") || status == "no crash", "{name} was taken"),
                Err(e) => assert!(status != "ok", "{name}: {e}"),
            }
            let sample = result.unwrap_or_default();
            let is = |key: &str, got: Option<f64>| match &case["expect"][key] {
                Value::Null if case["expect"].get(key).is_none() => true,
                Value::String(words) if words.starts_with("null") && !words.contains(" or ") => got.is_none(),
                Value::String(_) => got.is_none_or(|n| (0.0..=1e17).contains(&n)),
                value => close(got, value),
            };
            assert!(is("cpu", sample.cpu_percent), "{name}: cpu {:?}", sample.cpu_percent);
            assert!(is("mem", sample.mem_percent), "{name}: mem {:?}", sample.mem_percent);
            assert!(is("load", sample.load1) && is("load1", sample.load1), "{name}: load");
            assert!(
                is("mem_total", sample.mem_total.map(|n| n as f64)),
                "{name}: {:?}",
                sample.mem_total
            );
            assert!(
                is("uptime_seconds", sample.uptime_seconds.map(|n| n as f64)),
                "{name}: uptime"
            );
            assert!(is("disk", sample.disk_percent), "{name}: disk");
            let texts = [&sample.hostname, &sample.os]
                .into_iter()
                .flatten()
                .chain(sample.disks.iter().map(|d| &d.mount));
            for text in texts {
                assert!(
                    text.len() <= 256 && !text.contains(char::is_control),
                    "{name}: {text:?}"
                );
            }
            assert!(sample.disks.len() <= 512);
        }
        // None of the fullest is lost behind others.
        let many = |at: usize| {
            let disk = |n| {
                format!(
                    r#"{{"mnt_point":"/d{n}","device_name":"d{n}","percent":{}}}"#,
                    if n == at { 99 } else { 3 }
                )
            };
            let disks: Vec<String> = (0..3_000).map(disk).collect();
            parse(format!(r#"{{"fs":[{}]}}"#, disks.join(",")).as_bytes())
                .unwrap()
                .disks
        };
        for at in [0, 511, 512, 1_500, 2_999] {
            let disks = many(at);
            assert!(
                disks.len() == DISKS_MAX && disks.iter().any(|d| d.percent == Some(99.0)),
                "{at}"
            );
        }
        // A snap is full by nature: nothing to raise an alarm about.
        assert_eq!(parse(&read("bent/fs-only-snaps.json")).unwrap().disks, []);
        // Python's NaN in one field costs that field.
        let nan = parse(&read("bent/nan.json")).unwrap();
        assert!(nan.cpu_percent.is_none() && nan.mem_percent.is_some());
    }

    #[test]
    fn one_part_of_glances_is_not_glances() {
        let e = parse(&read("behind-nginx/http1.json")).unwrap_err(); // /api/3/load
        assert_eq!(e.code, "glances_nothing");
        assert!(parse(&read("behind-nginx/ok.json")).is_ok());
        assert_eq!(parse(b"<html>").unwrap_err().code, "glances_not_json");
    }

    #[test]
    fn uptimes_are_pythons() {
        assert_eq!(uptime("0:10:08"), Some(608));
        assert_eq!(uptime("413 days, 6:07:24"), Some(413 * 86_400 + 22_044));
        for odd in [
            "",
            "1 jour, 2:00:00",
            "25:00:00",
            "0:60:00",
            "1:2",
            "-1 day, 2:00:00",
            "99999999999 days, 0:00:00",
        ] {
            assert_eq!(uptime(odd), None, "{odd}");
        }
    }

    #[test]
    fn clocks_without_a_zone_say_nothing() {
        assert_eq!(instant("2000-02-29T00:00:00+00:00"), Some(951_782_400_000));
        assert_eq!(instant("2000-02-29T05:30:00.123456+05:30"), Some(951_782_400_000));
        assert_eq!(instant("2000-02-28 19:00:00-0500"), Some(951_782_400_000));
        assert_eq!(instant("2000-02-29 00:00:00 UTC"), Some(951_782_400_000));
        for odd in [
            "2000-02-29 00:00:00 MSK",
            "2000-02-29 00:00:00",
            "2000-13-01 00:00:00 UTC",
            "вчера",
            "",
        ] {
            assert_eq!(instant(odd), None, "{odd}");
        }
    }
}
