//! The same values and the same number of targets with Prometheus and VictoriaMetrics, side by side with ours. Who is not
//! installed is said to be absent.

use super::Folder;
use super::fleet::{self, Town};
use lamplighter::base::clock::Duration;
use lamplighter::features::fleet::metrics::SERVERS;
use lamplighter::series;
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

/// One series: its server, its key, unix seconds and values.
pub type Track = (i64, String, Vec<(u32, f64)>);

const ENGINES: [(&str, &str); 2] = [("Prometheus", "prometheus"), ("VictoriaMetrics", "victoria-metrics")];

fn version(program: &str) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let word = text
        .split(['\n', ' ', ','])
        .find(|w| w.contains(|c: char| c.is_ascii_digit()));
    Some(word.unwrap_or("").to_string())
}

/// Name of a series and its labels, as we export it.
fn labels((server, key, _): &Track) -> String {
    let (key, part) = series::split(key);
    let key = &SERVERS.keys[SERVERS.place(key).expect("every series has a key")];
    let part = match part {
        "" => String::new(),
        part => format!(",{}=\"{part}\"", key.part),
    };
    format!("{}{{server=\"host-{server}\"{part}}}", key.metric)
}

fn bytes_below(path: &Path, only: &str) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => bytes_below(&entry.path(), only),
            Ok(meta) if entry.path().to_string_lossy().contains(only) => meta.len(),
            _ => 0,
        })
        .sum()
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(mut command: Command, port: u16) -> Running {
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let running = Running(child);
    let until = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < until, "it does not listen");
        thread::sleep(Duration::from_millis(50));
    }
    running
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn ask(port: u16, method: &str, path: &str, body: &[u8]) {
    let mut peer = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    peer.write_all(head.as_bytes()).unwrap();
    peer.write_all(body).unwrap();
    let mut answer = String::new();
    peer.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 2"), "{path}: {answer}");
}

/// Bytes of a value on the disk.
pub fn disk(folder: &Folder, tracks: &[Track]) {
    let n: usize = tracks.iter().map(|(.., points)| points.len()).sum();
    let each = |bytes: u64| bytes as f64 / n as f64;
    println!("the same {n} values with others:");
    match version("promtool") {
        None => println!("  Prometheus: absent"),
        Some(version) => {
            let mut text = String::new();
            let mut order: Vec<&Track> = tracks.iter().collect();
            order.sort_by_key(|track| labels(track));
            for track in order {
                let labels = labels(track);
                for (at, value) in &track.2 {
                    let _ = writeln!(text, "{labels} {value} {at}");
                }
            }
            text.push_str("# EOF\n");
            let (file, blocks) = (folder.0.join("all.om"), folder.0.join("blocks"));
            std::fs::write(&file, text).unwrap();
            let output = Command::new("promtool")
                .args(["tsdb", "create-blocks-from", "openmetrics"])
                .args([&file, &blocks])
                .output()
                .unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            println!(
                "  Prometheus {version}: {:.2} bytes each in chunks alone, {:.2} with the index (blocks of two hours)",
                each(bytes_below(&blocks, "/chunks/")),
                each(bytes_below(&blocks, ""))
            );
            let _ = std::fs::remove_file(file);
        }
    }
    match version("victoria-metrics") {
        None => println!("  VictoriaMetrics: absent"),
        Some(version) => {
            let (port, data) = (free_port(), folder.0.join("vm"));
            let mut command = Command::new("victoria-metrics");
            command
                .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
                .arg(format!("-storageDataPath={}", data.display()))
                .arg("-retentionPeriod=100y");
            let running = start(command, port);
            for part in tracks.chunks(50) {
                let lines: String = part.iter().map(import_line).collect();
                ask(port, "POST", "/api/v1/import", lines.as_bytes());
            }
            ask(port, "GET", "/internal/force_flush", b"");
            ask(port, "GET", "/internal/force_merge", b"");
            thread::sleep(Duration::from_secs(15)); // parts that were merged are removed a little later
            drop(running);
            assert!(bytes_below(&data.join("data"), "") > 0, "nothing was taken");
            println!(
                "  VictoriaMetrics {version}: {:.2} bytes each in data alone, {:.2} with the index (merged)",
                each(bytes_below(&data.join("data"), "")),
                each(bytes_below(&data, ""))
            );
        }
    }
}

fn import_line(track: &Track) -> String {
    let labels = labels(track);
    let (name, rest) = labels.split_once('{').unwrap();
    let rest = rest
        .trim_end_matches('}')
        .replace("=\"", "\":\"")
        .replace(",mountpoint", ",\"mountpoint");
    let list = |items: Vec<String>| items.join(",");
    let values = list(track.2.iter().map(|(_, v)| v.to_string()).collect());
    // The bench's clock is ahead, and what lies in the future is not taken.
    let times = list(
        track
            .2
            .iter()
            .map(|(at, _)| format!("{}000", at - 365 * 86_400))
            .collect(),
    );
    format!("{{\"metric\":{{\"__name__\":\"{name}\",\"{rest}}},\"values\":[{values}],\"timestamps\":[{times}]}}\n")
}

/// The same number of targets every 30 s: theirs give sixteen values as text, ours the whole answer of Glances.
pub fn scrape(servers: usize, seconds: u64) {
    for (name, program) in ENGINES {
        let Some(version) = version(program) else {
            println!("{name}: absent");
            continue;
        };
        let folder = Folder::new();
        let mut town = Town::start(0, 100);
        let targets: Vec<String> = (0..servers)
            .map(|n| format!("'{}:{}'", fleet::address(n), town.port))
            .collect();
        let config = folder.0.join("scrape.yml");
        let yaml = format!(
            "global: {{scrape_interval: 30s}}\nscrape_configs:\n- job_name: town\n  static_configs:\n  - targets: [{}]\n",
            targets.join(",")
        );
        std::fs::write(&config, yaml).unwrap();
        let (port, data) = (free_port(), folder.0.join("data"));
        let mut command = Command::new(program);
        match program {
            "prometheus" => command
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--storage.tsdb.path={}", data.display()))
                .arg(format!("--web.listen-address=127.0.0.1:{port}")),
            _ => command
                .arg(format!("-promscrape.config={}", config.display()))
                .arg(format!("-storageDataPath={}", data.display()))
                .arg(format!("-httpListenAddr=127.0.0.1:{port}")),
        };
        let running = start(command, port);
        thread::sleep(Duration::from_secs(40)); // as ours: the first round
        town.reset();
        let (before, ..) = fleet::usage(running.0.id());
        thread::sleep(Duration::from_secs(seconds));
        let ((cpu, rss, peak), [polls, ..]) = (fleet::usage(running.0.id()), town.report());
        println!(
            "{name} {version}, {servers} targets of 16 values at 30 s, {seconds} s (load {}): {:.3} CPU-s per 1000 scrapes, RSS {rss:.1} MB, peak {peak:.1} MB",
            fleet::load(),
            (cpu - before) / f64::from(polls.max(1)) * 1000.0
        );
    }
}

/// What a target says when it is scraped.
pub fn exposition() -> Vec<u8> {
    let mut out = String::new();
    for (n, name) in SERVERS.keys.iter().take(13).enumerate() {
        let _ = writeln!(out, "# TYPE {0} gauge\n{0} {1}", name.metric, 0.37 + n as f64);
    }
    let disk = SERVERS.keys[13].metric;
    let _ = writeln!(out, "# TYPE {disk} gauge");
    for mount in ["/", "/srv/data", "/var/lib/docker"] {
        let _ = writeln!(out, "{disk}{{mountpoint=\"{mount}\"}} 0.25");
    }
    out.into_bytes()
}
