//! A town of synthetic servers in a process of its own, and the real daemon that watches it. The town says itself how far
//! apart the polls of each host were: what the daemon thinks of that does not matter.

use super::common::House;
use super::peers::exposition;
use super::{body, body_4};
use lamplighter::base::clock::{self, Duration};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

/// How a host behaves.
#[derive(Clone, Copy, PartialEq)]
enum ServerBehaviour {
    Good,
    Hangs,
    Drips,
    Endless,
    /// Its SYN is never answered; it lives at the other port.
    BlackHole,
}

/// Every `one_in`-th host is bad, in four ways by turns. 0: none.
fn manner(n: usize, one_in: usize) -> ServerBehaviour {
    match one_in {
        0 => ServerBehaviour::Good,
        k if !n.is_multiple_of(k) => ServerBehaviour::Good,
        k => [
            ServerBehaviour::Hangs,
            ServerBehaviour::Drips,
            ServerBehaviour::Endless,
            ServerBehaviour::BlackHole,
        ][n / k % 4],
    }
}

/// Where a host lives.
pub fn address(n: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 9, (n / 250) as u8, 1 + (n % 250) as u8)
}

fn number(address: Ipv4Addr) -> usize {
    let [_, _, block, host] = address.octets();
    usize::from(block) * 250 + usize::from(host) - 1
}

// ---- the town --------------------------------------------------------------------------------------------------------

#[derive(Default)]
struct Seen {
    last: HashMap<usize, Instant>,
    /// Of the good ones, in ms.
    gaps: Vec<u32>,
    polls: usize,
}

/// The process of the town: `serve ONE_IN DELAY_MS`. It answers with real bodies of both versions after a delay of its own
/// for each host (up to twice the mean), and tells about gaps when asked.
pub fn serve(one_in: usize, delay_ms: u64) {
    let listener = Arc::new(TcpListener::bind("0.0.0.0:0").unwrap());
    lamplighter::base::sys::listen_backlog(&*listener, 4_096).unwrap();
    // A queue that is full and never emptied: the kernel drops what comes.
    let hole = TcpListener::bind("0.0.0.0:0").unwrap();
    lamplighter::base::sys::listen_backlog(&hole, 1).unwrap();
    let hole_port = hole.local_addr().unwrap().port();
    let full: Vec<_> = (0..8)
        .filter_map(|_| {
            TcpStream::connect_timeout(&([127, 0, 0, 1], hole_port).into(), Duration::from_millis(100)).ok()
        })
        .collect();
    println!("{} {hole_port}", listener.local_addr().unwrap().port());

    let json = "application/json";
    let whole = [
        (body(), json),
        (body_4(), json),
        (exposition(), "text/plain; version=0.0.4"),
    ];
    let answers: Arc<[Vec<u8>; 3]> = Arc::new(whole.map(|(body, kind)| {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        [head.into_bytes(), body].concat()
    }));
    let seen: Arc<Mutex<Seen>> = Arc::default();
    let (hanging, dripping): (Arc<Mutex<Vec<_>>>, Arc<Mutex<Vec<TcpStream>>>) = Default::default();
    for _ in 0..256 {
        let (listener, answers, seen) = (listener.clone(), answers.clone(), seen.clone());
        let (hanging, dripping) = (hanging.clone(), dripping.clone());
        let one = move || loop {
            let (mut client, _) = listener.accept().unwrap();
            let at = Instant::now();
            let std::net::SocketAddr::V4(local) = client.local_addr().unwrap() else {
                continue;
            };
            let n = number(*local.ip());
            let good = manner(n, one_in) == ServerBehaviour::Good;
            {
                let mut seen = seen.lock().unwrap();
                seen.polls += 1;
                if let Some(last) = seen.last.insert(n, at).filter(|_| good) {
                    seen.gaps.push((at - last).as_millis() as u32);
                }
            }
            match manner(n, one_in) {
                ServerBehaviour::Good | ServerBehaviour::BlackHole => {
                    let mut head = [0; 4096];
                    let _ = client.read(&mut head);
                    let scraped = head.starts_with(b"GET /metrics ");
                    if delay_ms > 0 {
                        thread::sleep(Duration::from_millis(n as u64 * 7_919 % (2 * delay_ms)));
                    }
                    let _ = client.write_all(&answers[if scraped { 2 } else { n % 2 }]);
                }
                ServerBehaviour::Hangs => hanging.lock().unwrap().push((at, client)),
                ServerBehaviour::Drips => {
                    let _ = client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n");
                    dripping.lock().unwrap().push(client);
                }
                ServerBehaviour::Endless => {
                    let _ = client.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n");
                    while client.write_all(&[b' '; 65_536]).is_ok() {}
                }
            }
        };
        thread::Builder::new().stack_size(192 << 10).spawn(one).unwrap();
    }
    thread::spawn(move || {
        loop {
            thread::sleep(Duration::from_millis(50));
            hanging
                .lock()
                .unwrap()
                .retain(|(at, _)| at.elapsed() < Duration::from_secs(20));
            dripping
                .lock()
                .unwrap()
                .retain_mut(|client| client.write_all(b" ").is_ok());
        }
    });
    for line in std::io::stdin().lines() {
        let mut seen = seen.lock().unwrap();
        if line.unwrap() == "reset" {
            seen.gaps.clear();
            seen.polls = 0;
            continue;
        }
        seen.gaps.sort_unstable();
        let at = |share: f64| {
            let last = seen.gaps.len().saturating_sub(1);
            seen.gaps.get((last as f64 * share) as usize).copied().unwrap_or(0)
        };
        println!("{} {} {} {} {}", seen.polls, at(0.5), at(0.99), at(0.999), at(1.0));
    }
    drop((full, hole));
}

/// The town from outside.
pub struct Town {
    child: Child,
    say: ChildStdin,
    hear: BufReader<ChildStdout>,
    pub port: u16,
    hole: u16,
    one_in: usize,
}

impl Town {
    pub fn start(one_in: usize, delay_ms: u64) -> Town {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["serve", &one_in.to_string(), &delay_ms.to_string()])
            .stdout(Stdio::piped())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut hear = BufReader::new(child.stdout.take().unwrap());
        let say = child.stdin.take().unwrap();
        let mut line = String::new();
        hear.read_line(&mut line).unwrap();
        let (port, hole) = line.trim().split_once(' ').unwrap();
        let (port, hole) = (port.parse().unwrap(), hole.parse().unwrap());
        Town {
            child,
            say,
            hear,
            port,
            hole,
            one_in,
        }
    }

    pub fn reset(&mut self) {
        self.say.write_all(b"reset\n").unwrap();
    }

    /// Polls, then the gaps of the good ones in ms: median, p99, p99.9, greatest.
    pub fn report(&mut self) -> [u32; 5] {
        self.say.write_all(b"report\n").unwrap();
        let mut line = String::new();
        self.hear.read_line(&mut line).unwrap();
        let figures: Vec<u32> = line.split_whitespace().map(|n| n.parse().unwrap()).collect();
        figures.try_into().unwrap()
    }
}

impl Drop for Town {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// ---- the daemon ------------------------------------------------------------------------------------------------------

/// CPU seconds and memory in MB (now, greatest) of a process.
pub fn usage(pid: u32) -> (f64, f64, f64) {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let cpu = (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mb = |key: &str| {
        let line = status.lines().find(|l| l.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    };
    (cpu, mb("VmRSS"), mb("VmHWM"))
}

pub fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap();
    text.split(' ').next().unwrap().to_string()
}

/// What one run showed.
pub struct Run {
    pub rss_mb: f64,
}

/// The real daemon with so many servers at 30 s, for so long after everybody has been polled once.
pub fn watch(servers: usize, one_in: usize, seconds: u64) -> Run {
    let mut town = Town::start(one_in, 100);
    let mut house = House::new();
    house.stop();
    add(&house, &town, servers);
    house.start();
    let pid = house.daemons[0].pid();
    // The first round, and the next two for the bad ones to be known as down.
    thread::sleep(Duration::from_secs(if one_in > 0 { 100 } else { 40 }));
    town.reset();
    let (before, ..) = usage(pid);
    let began = Instant::now();
    thread::sleep(Duration::from_secs(seconds));
    let ((cpu, rss, peak), [polls, p50, p99, p999, most]) = (usage(pid), town.report());
    let took = began.elapsed().as_secs_f64();
    let share = |ms: u32| f64::from(ms) / 30_000.0;
    println!(
        "{servers} servers at 30 s{}, {took:.0} s (load {}): {polls} polls, {:.1}/s; gap p50 {:.3} p99 {:.3} p99.9 {:.3} max {:.3} × interval",
        if one_in > 0 {
            format!(", one in {one_in} hangs, drips, floods or is a black hole")
        } else {
            String::new()
        },
        load(),
        f64::from(polls) / took,
        share(p50),
        share(p99),
        share(p999),
        share(most),
    );
    println!(
        "  {:.3} CPU-s per 1000 polls, RSS {rss:.1} MB, peak {peak:.1} MB",
        (cpu - before) / f64::from(polls) * 1000.0
    );
    let db = house.database("lamplighter.db");
    let count = |sql: &str| -> i64 { db.query_row(sql, [], |r| r.get(0)).unwrap() };
    println!(
        "  lamps: {} lit, {} dark, {} other",
        count("SELECT count(*) FROM servers WHERE status = 'ok'"),
        count("SELECT count(*) FROM servers WHERE status = 'unreachable'"),
        count("SELECT count(*) FROM servers WHERE status = 'provisioning'")
    );
    let files: Vec<String> = ["lamplighter.db", "metrics.db"]
        .iter()
        .map(|name| {
            let bytes = std::fs::metadata(house.folder.path().join(name)).unwrap().len();
            format!("{name} {:.1} MB", bytes as f64 / 1e6)
        })
        .collect();
    println!("  {}", files.join(", "));
    Run { rss_mb: rss }
}

/// Straight into the table: what an API call for each would cost is another figure.
fn add(house: &House, town: &Town, servers: usize) {
    let mut db = house.database("lamplighter.db");
    let tx = db.transaction().unwrap();
    let now = clock::now();
    for n in 0..servers {
        let port = if manner(n, town.one_in) == ServerBehaviour::BlackHole {
            town.hole
        } else {
            town.port
        };
        let path = ["/api/3/all", "/api/4/all"][n % 2];
        tx.execute(
            "INSERT INTO servers (name, host, ssh_port, username, auth_type, glances_scheme, glances_port, glances_path,
               glances_auth_type, poll_interval_s, status_since, created_at, updated_at)
             VALUES (?1, ?2, 22, 'root', 'ssh_key', 'http', ?3, ?4, 'none', 30, ?5, ?5, ?5)",
            rusqlite::params![format!("host-{n:05}"), address(n).to_string(), port, path, now],
        )
        .unwrap();
    }
    tx.commit().unwrap();
}
