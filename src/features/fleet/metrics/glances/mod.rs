//! Parser of responses of Glances 3 and 4 at `/api/N/all` into a [`Sample`]. Absent, null or impossible values are "no
//! data", never 0; one bad field does not affect the others. Captured responses of both versions: `tests/data/glances`.

mod time;
mod flow;
mod answer;

use super::json_reader::{Broken, JsonReader};
use crate::base::clock::Ms;
use crate::base::error::{Error, Kind, Result};
use crate::base::shape::described;
use answer::Answer;
use serde::Deserialize;

described! {
    /// One answer of a server. Percentages are 0 to 100, sizes bytes, rates bytes per second.
    #[derive(Debug, Clone, Default, PartialEq, Deserialize)]
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
        /// Memory in use, bytes.
        pub mem_used: Option<u64>,
        /// Total memory, bytes.
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
        /// The server's own host name: untrusted, one line.
        pub hostname: Option<String>,
        /// Distribution and kernel, one line.
        pub os: Option<String>,
        /// Version of Glances; 3.x does not send it.
        pub version: Option<String>,
        /// API version of the response: 3 or 4.
        pub api: u8,
        /// The server's clock, if its zone is known.
        pub remote_now: Option<Ms>,
        /// Writable file systems in the order sent; of more than [`DISKS_MAX`] the fullest.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub disks: Vec<Disk>,
        /// Of a stored last sample: file systems without a chart.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub uncharted: Option<Uncharted>,
    }

    /// File systems that rules observe and charts do not show.
    #[derive(Debug, Clone, PartialEq, Deserialize)]
    pub struct Uncharted {
        /// Id.
        pub count: usize,
        /// Mount points of the first [`NAMED_MAX`], fullest first.
        pub mounts: Vec<String>,
    }
}

/// Limit of named mount points.
pub const NAMED_MAX: usize = 12;

/// Limit of file systems per response.
pub const DISKS_MAX: usize = 512;

described! {
    /// One mounted file system.
    #[derive(Debug, Clone, Default, PartialEq, Deserialize)]
    #[serde(default)]
    pub struct Disk {
        /// Mount point: untrusted, one line.
        pub mount: String,
        /// Device. Bind mounts repeat it.
        pub device: String,
        /// Used bytes.
        pub used: Option<u64>,
        /// Size in bytes.
        pub size: Option<u64>,
        /// Free bytes for users.
        pub free: Option<u64>,
        /// Percentage as in `df`: used of what users may use.
        pub percent: Option<f64>,
        /// File system type as sent.
        pub kind: String,
    }
}

/// Keeps the fullest ones in their order; always the root.
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

/// Parses a response. Errors: `glances_not_json` (with position and reason), `glances_nothing` (JSON, but not of
/// Glances).
pub fn parse(body: &[u8]) -> Result<Sample> {
    let not_json = |e: Broken| {
        let say = "The answer is not the JSON that Glances sends: it is cut short or something else.";
        Error::new(Kind::Upstream, "glances_not_json", say).log(format!("byte {}: {}", e.at, e.why))
    };
    let mut answer = Answer::default();
    if !JsonReader::new(body)
        .object(|reader, key| answer.section(reader, key))
        .map_err(not_json)?
    {
        return Err(not_json(Broken {
            at: 0,
            why: "no object",
        }));
    }
    let sample = answer.sample();
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
        // The first response after a start may lack the time or have 0 for it: unknown.
        for bent in ["bent/net-no-time.json", "bent/net-time-zero.json"] {
            assert_eq!(parse(&read(bent)).unwrap().net_rx, None, "{bent}");
        }
    }

    #[test]
    fn every_bent_answer_is_read_as_its_list_says() {
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
        // The fullest ones are kept.
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
        // A snap is always full: no alert.
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
}
