//! What watching costs: CPU and memory of polls, how evenly they come, bytes of samples, time of queries. Prints figures,
//! judges nothing. `cargo bench --bench poll` takes about ten minutes. Parts of it, after `--`:
//! `quick` (what needs no real pace) · `fleet SERVERS SECONDS` · `rogues SERVERS SECONDS` · `ceiling` · `year SERVERS` ·
//! `disk` (with peers) · `peers SERVERS SECONDS`. The machine's load stands beside each figure that depends on it.

#[path = "../common/mod.rs"]
mod common;
#[path = "poll_fleet.rs"]
mod fleet;
#[path = "poll_peers.rs"]
mod peers;
#[path = "poll_store.rs"]
mod stored;

use fleet::Town;
use lamplighter::app::App;
use lamplighter::base::clock::{self, Duration, Ms};
use lamplighter::base::config::Config;
use lamplighter::base::host::Host;
use lamplighter::base::id::Id;
use lamplighter::base::{random, sys};
use lamplighter::daemon::{FEATURES, registry};
use lamplighter::db::{Db, Durability, schema};
use lamplighter::features::fleet::latest;
use lamplighter::features::fleet::metrics::{
    self, Disk, Outcome, PollAuth, PollTarget, Polled, Poller, Recorder, SERVERS, Sample, THREADS, observe,
};
use lamplighter::features::watch::rules::{self, Evaluator, Rule};
use lamplighter::net::dial::Security;
use lamplighter::series::window::PERIODS;
use lamplighter::series::{Keep, Value, Window, chunk};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let word = args.first().map_or("", String::as_str);
    let number = |n: usize, default: usize| args.get(n).map_or(default, |a| a.parse().unwrap());
    match word {
        "serve" => return fleet::serve(number(1, 0), number(2, 0) as u64),
        "fleet" => {
            fleet::watch(number(1, 10_000), 0, number(2, 120) as u64);
            return;
        }
        "rogues" => return rogues(number(1, 2_000), number(2, 120) as u64),
        "ceiling" => return ceiling(),
        "year" => return stored::year(&Folder::new(), number(1, 1_000)),
        "disk" => {
            let folder = Folder::new();
            let tracks = stored::disk(&folder, &metrics::parse(&body()).unwrap());
            return peers::disk(&folder, &tracks);
        }
        "peers" => {
            let (servers, seconds) = (number(1, 2_000), number(2, 60) as u64);
            fleet::watch(servers, 0, seconds);
            return peers::scrape(servers, seconds);
        }
        _ => {}
    }
    sys::few_heaps(); // as the daemon does
    let body = body();
    println!("body {} kB (load {})", body.len() / 1000, fleet::load());
    let each = time(2_000, || drop(metrics::parse(&body).unwrap()));
    println!("parse: {:.0} µs", each * 1e6);

    println!("CPU-s per 1000 requests in a tight loop, parsed, nothing stored:");
    let town = Town::start(0, 0);
    sockets(town.port);
    ours(town.port);
    through_ureq(town.port);
    drop(town);

    let folder = Folder::new();
    judging(&folder, &body);
    storing(&folder, &body);
    queries(&folder);
    let tracks = stored::disk(&folder, &metrics::parse(&body).unwrap());
    peers::disk(&folder, &tracks);
    drop(tracks);
    stored::year(&folder, if word == "quick" { 50 } else { 1_000 });
    ceiling();
    if word != "quick" {
        fleet::watch(10_000, 0, 120);
        fleet::watch(5_000, 0, 60);
        rogues(2_000, 120);
        peers::scrape(5_000, 60);
    }
}

fn rogues(servers: usize, seconds: u64) {
    let alone = fleet::watch(servers, 0, seconds);
    let with = fleet::watch(servers, 20, seconds);
    println!(
        "  memory with the bad ones: {:.2} × of that without",
        with.rss_mb / alone.rss_mb
    );
}

/// A real answer of Glances 3.4 with as many processes as make it 44 kB (a server with some 90 of them).
fn body() -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/glances/3.4.0.5/full/all.json");
    let mut all: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let one = all["processlist"][0].clone();
    while serde_json::to_string(&all).unwrap().len() < 44_000 {
        all["processlist"].as_array_mut().unwrap().push(one.clone());
    }
    serde_json::to_vec(&all).unwrap()
}

/// The same of Glances 4.3.
fn body_4() -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/glances/4.3.3/full/all.json");
    let mut all: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let one = all["processlist"][0].clone();
    while serde_json::to_string(&all).unwrap().len() < 44_000 {
        all["processlist"].as_array_mut().unwrap().push(one.clone());
    }
    serde_json::to_vec(&all).unwrap()
}

/// Seconds of one call.
fn time(n: u32, mut f: impl FnMut()) -> f64 {
    let started = Instant::now();
    for _ in 0..n {
        f();
    }
    started.elapsed().as_secs_f64() / f64::from(n)
}

/// CPU seconds of this process, ended threads included.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after = stat.rsplit(") ").next().unwrap();
    let fields: Vec<&str> = after.split(' ').collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn memory(key: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

fn target(server: i64, port: u16) -> PollTarget {
    PollTarget {
        server: Id::new(server),
        revision: 1,
        security: Security::Plain,
        host: Host::parse(&format!("127.9.{}.{}", server / 250, 1 + server % 250)).unwrap(),
        port,
        policy: lamplighter::net::policy::Policy::Server,
        path: format!("/api/{}/all", 3 + server % 2),
        path_seen: None,
        auth: PollAuth::None,
        interval: Duration::from_secs(30),
        fail_threshold: 3,
        misses: 0,
        ssh: (Host::parse("127.0.0.1").unwrap(), 9),
        far: false,
        line: Default::default(),
        meant: Vec::new(),
    }
}

const LOOP: usize = 4_000;

fn report(what: &str, before: f64) {
    println!("  {what:8} {:.3}", (cpu() - before) / LOOP as f64 * 1000.0);
}

fn sockets(port: u16) {
    let before = cpu();
    let mut buffer = Vec::new();
    for _ in 0..LOOP {
        buffer.clear();
        let mut s = TcpStream::connect(("127.0.0.1", port)).unwrap();
        s.write_all(b"GET /api/3/all HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .unwrap();
        s.read_to_end(&mut buffer).unwrap();
        let at = buffer.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        metrics::parse(&buffer[at..]).unwrap();
    }
    report("sockets", before);
}

fn ours(port: u16) {
    let before = cpu();
    let mut target = target(1, port);
    for _ in 0..LOOP {
        assert!(metrics::poll(&mut target).result.is_ok());
    }
    report("ours", before);
}

fn through_ureq(port: u16) {
    let config = ureq::Agent::config_builder()
        .proxy(None)
        .max_redirects(0)
        .http_status_as_error(false)
        .input_buffer_size(16 << 10)
        .output_buffer_size(16 << 10)
        .max_idle_connections(0)
        .accept_encoding("")
        .timeout_connect(Some(Duration::from_secs(3)))
        .timeout_recv_body(Some(Duration::from_secs(5)))
        .build();
    let agent: ureq::Agent = config.into();
    let before = cpu();
    for _ in 0..LOOP {
        let mut answer = agent.get(format!("http://127.0.0.1:{port}/api/3/all")).call().unwrap();
        let body = answer.body_mut().with_config().limit(4 << 20).read_to_vec().unwrap();
        metrics::parse(&body).unwrap();
    }
    report("ureq", before);
}

struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        let path = std::env::temp_dir().join(format!("lamplighter-bench-{}", random::name()));
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn db(&self, name: &str) -> Arc<Db> {
        Arc::new(Db::open(&self.0.join(name), Durability::Normal, schema::METRICS).unwrap())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A server's day as it might be: load in waves, noise, a disk that fills.
fn sample(base: &Sample, server: i64, at: Ms) -> Sample {
    let minute = (at / 60_000 + server * 97) as f64;
    let noise = |n: u64| random::below(n) as f64 / n as f64 - 0.5;
    let cpu = 20.0 + 15.0 * (minute / 240.0).sin() + 8.0 * noise(1000);
    let percent = |p: f64| Some((p.clamp(0.0, 100.0) * 10.0).round() / 10.0);
    let mut s = Sample {
        cpu_percent: percent(cpu),
        iowait_percent: percent(if random::below(4) == 0 { 0.6 + noise(10) } else { 0.0 }),
        mem_percent: percent(60.0 + 5.0 * (minute / 700.0).sin() + 0.4 * noise(100)),
        swap_percent: Some(3.1),
        load1: Some(cpu / 25.0 + 0.3 * noise(100)),
        load5: Some(cpu / 25.0),
        load15: Some(0.8 + (minute / 300.0).sin() / 3.0),
        net_rx: Some(40_000.0 + 20_000.0 * noise(1000) + 300.0 * cpu),
        net_tx: Some(90_000.0 + 40_000.0 * noise(1000)),
        disk_read: Some(if random::below(5) == 0 {
            60_000.0 * (0.5 + noise(100))
        } else {
            0.0
        }),
        disk_write: Some(200_000.0 + 100_000.0 * noise(1000)),
        uptime_seconds: Some((at / 1000) as u64 - 1_700_000_000),
        ..base.clone()
    };
    s.disks = ["/", "/srv/data", "/var/lib/docker"]
        .iter()
        .enumerate()
        .map(|(i, mount)| Disk {
            mount: mount.to_string(),
            device: format!("/dev/vd{i}"),
            percent: percent(30.0 + 10.0 * i as f64 + minute.rem_euclid(40_000.0) / 2_000.0),
            ..Disk::default()
        })
        .collect();
    s
}

/// A poll made an observation, and that held against the built-in rules: as it mostly is, and with two disks that wait for their time.
fn judging(folder: &Folder, body: &[u8]) {
    let config = Config::load(
        &[("DATA_DIR", folder.0.join("house").display().to_string())],
        None,
        &Default::default(),
    )
    .unwrap();
    let app = App::open(config, Arc::new(registry(FEATURES))).unwrap();
    let full = metrics::parse(body).unwrap();
    let usual = sample(&full, 1, NOW);
    for (what, sample) in [("ordinary", &usual), ("two full disks", &full)] {
        let mut evaluator = Evaluator::default();
        let rules = app
            .db
            .read(|conn| rules::in_force(&app, conn, &SERVERS, Rule::is_of_observations));
        evaluator.set(rules.unwrap(), Vec::new(), clock::mono());
        let poll = Polled {
            server: Id::new(1),
            at_ms: NOW,
            took_ms: 40,
            interval_s: 30,
            sample,
        };
        let (mut fires, now) = (Vec::new(), clock::mono());
        let made = time(100_000, || drop(observe(&poll)));
        let seen = observe(&poll);
        let each = time(100_000, || evaluator.evaluate(&seen, now, &mut fires));
        println!(
            "rules, {what}: {:.2} µs a poll, {} fire (its observation of {} values is made in {:.2} µs, once for all)",
            each * 1e6,
            fires.len(),
            seen.values().len(),
            made * 1e6
        );
    }
}

const NOW: Ms = 1_800_000_000_000;

fn storing(folder: &Folder, body: &[u8]) {
    let base = metrics::parse(body).unwrap();
    // Many servers in random order, as they come.
    let store = Recorder::trusting(folder.db("order.db"));
    let samples: Vec<Sample> = (0..1000).map(|s| sample(&base, s, NOW)).collect();
    let (rounds, before) = (24, cpu());
    for round in 0..rounds {
        for batch in 0..30 {
            let polls: Vec<Polled> = (0..33)
                .map(|i| {
                    let server = (batch * 33 + i) * 7 % 1000;
                    let at_ms = NOW + round * 30_000 + batch * 1_000;
                    Polled {
                        server: Id::new(server + 1),
                        at_ms,
                        took_ms: 40,
                        interval_s: 30,
                        sample: &samples[server as usize],
                    }
                })
                .collect();
            store.add(&polls).unwrap();
        }
    }
    println!(
        "storing in random order: {:.3} CPU-s per 1000 polls",
        (cpu() - before) / (rounds * 990) as f64 * 1000.0
    );

    // A month of a few servers, all foldings included.
    let store = Recorder::trusting(folder.db("month.db"));
    let (servers, days) = (4i64, 31i64);
    let (before, mut polls) = (cpu(), 0);
    for i in 0..days * 24 * 120 {
        let at_ms = NOW - days * clock::DAY + i * 30_000;
        for server in 1..=servers {
            let s = sample(&base, server, at_ms);
            store
                .add(&[Polled {
                    server: Id::new(server),
                    at_ms,
                    took_ms: 40 + random::below(20) as u32,
                    interval_s: 30,
                    sample: &s,
                }])
                .unwrap();
            polls += 1;
        }
    }
    println!(
        "a month, folded: {:.3} CPU-s per 1000 polls (making the samples included)",
        (cpu() - before) / polls as f64 * 1000.0
    );
    let size = folder.db("month.db").size().unwrap();
    println!(
        "a month of {servers} servers: {} kB in use, {} kB file ({} kB a server)",
        (size.file - size.free) / 1000,
        size.file / 1000,
        (size.file - size.free) / 1000 / servers
    );

    // The raw tier alone, as if all of a day were kept in it.
    let mut columns: Vec<Vec<chunk::Point>> = Vec::new();
    for i in 0..2_880i64 {
        let at_ms = NOW + i * 30_000 + random::below(40) as i64;
        let s = sample(&base, 1, at_ms);
        let poll = Polled {
            server: Id::new(1),
            at_ms,
            took_ms: 40,
            interval_s: 30,
            sample: &s,
        };
        let seen = observe(&poll);
        let steps = |value: &Value| seen.kind.keys[value.key].unit.to_steps(value.value);
        let values = seen.values().iter().filter(|value| value.is_kept).map(steps);
        for (n, value) in values.enumerate() {
            columns.resize(columns.len().max(n + 1), Vec::new());
            columns[n].push(chunk::Point {
                at: (at_ms / 1000) as u32,
                value,
            });
        }
    }
    let bytes: usize = columns
        .iter()
        .flat_map(|c| c.chunks(240))
        .map(|part| chunk::points(part).len() + 12)
        .sum();
    println!(
        "raw: {:.2} bytes a value (key and row head counted as 12)",
        bytes as f64 / columns.iter().map(Vec::len).sum::<usize>() as f64
    );
}

fn queries(folder: &Folder) {
    let store = Recorder::trusting(folder.db("month.db"));
    for (name, length) in PERIODS {
        let window = Window::last(length, (NOW / 1000) as u32, &Keep::default());
        let mut points = 0;
        let each = time(50, || {
            let all = store.history(("server", 2), &window).unwrap();
            points = all.iter().map(|s| s.points.len()).max().unwrap_or(0);
        });
        println!("history {name:3}: {:.2} ms, {points} points a series", each * 1e3);
    }
    let (now, mut lines) = ((NOW / 1000) as u32, 0);
    let each = time(200, || {
        lines = store
            .history_of(("server", 2), "disk", &Window::of_steps(600, now - 6 * 3_600, now))
            .unwrap()
            .len();
    });
    println!("how a server's {lines} disks filled in 6 h: {:.2} ms", each * 1e3);
    let db = folder.db("order.db");
    let mut bytes = 0;
    let each = time(200, || {
        let all = latest::of(&db, (1..=200).map(Id::new)).unwrap();
        bytes = all
            .values()
            .map(|l| l.sample.get().len() + serde_json::to_string(&l.spark.cpu()).unwrap().len())
            .sum();
    });
    println!(
        "last polls of 200 servers, ready for JSON: {:.2} ms, {} kB",
        each * 1e3,
        bytes / 1000
    );
}

/// As many polls as two cores can do, answers made on the same two cores included.
fn ceiling() {
    sys::few_heaps();
    let (town, folder) = (Town::start(0, 0), Folder::new());
    let count = Arc::new(AtomicUsize::new(0));
    let (recorder, counted) = (Recorder::new(folder.db("ceiling.db")), count.clone());
    let take = move |batch: Vec<Outcome>| {
        let polls: Vec<Polled> = batch.iter().filter_map(Outcome::polled).collect();
        counted.fetch_add(polls.len(), Ordering::Relaxed);
        recorder.add(&polls)
    };
    let poller = Poller::start(take, THREADS).unwrap();
    let often = |server: i64| PollTarget {
        interval: Duration::from_millis(200),
        ..target(server, town.port)
    };
    poller.set_targets((1..=2_000).map(often).collect());
    std::thread::sleep(Duration::from_secs(3));
    let (before, first, began) = (cpu(), count.load(Ordering::Relaxed), Instant::now());
    std::thread::sleep(Duration::from_secs(15));
    let polls = count.load(Ordering::Relaxed) - first;
    println!(
        "ceiling: {:.0} polls/s stored, {:.3} CPU-s per 1000 polls, RSS {:.1} MB, {} threads (load {})",
        polls as f64 / began.elapsed().as_secs_f64(),
        (cpu() - before) / polls as f64 * 1000.0,
        memory("VmRSS"),
        poller.figures().threads,
        fleet::load()
    );
    poller.stop();
}
