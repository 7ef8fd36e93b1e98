//! What the edge costs: plain requests through edge and `tiny_http`, and live streams to many clients. The clients run
//! in a second process, so that the CPU and memory printed are the server's alone.
//!
//! `cargo bench --bench edge`

#[path = "../common/guest.rs"]
mod guest;

use guest::Guest;
use lamplighter::access::Actor;
use lamplighter::base::error::Result as LampResult;
use lamplighter::events::wake::Wake;
use lamplighter::http::edge::{Config, Edge, Listener, Peers};
use lamplighter::http::sse::{self, Flow, STREAM_HEADER, Source, Streams};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};
use tiny_http::{Header, Response, Server};

const CLIENTS: usize = 500;
const PER_SECOND: u64 = 100;
const SECONDS: u64 = 10;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["plain", address, path, seconds] => plain_client(address, path, seconds.parse().unwrap()),
        ["listen", address, count] => listeners(address, count.parse().unwrap()),
        ["stall", address, count] => stalled(address, count.parse().unwrap()),
        _ => server(),
    }
}

// ---- the server --------------------------------------------------------------------------------------------------

fn server() {
    lamplighter::base::sys::few_heaps(); // as the daemon does
    let folder = std::env::temp_dir().join(format!("edge-bench-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let socket = folder.join("http.sock");
    let guest = Arc::new(Guest::new(&folder));
    let inner = Arc::new(Server::from_listener(UnixListener::bind(&socket).unwrap(), None).unwrap());
    let streams = Streams::new(1000, 1000);
    let feed = Arc::new(Feed::default());
    for _ in 0..16 {
        let (inner, streams) = (Arc::clone(&inner), streams.clone());
        let (guest, feed) = (Arc::clone(&guest), Arc::clone(&feed));
        thread::spawn(move || handle(&inner, &streams, &guest, &feed));
    }
    let mut config = Config::new(socket.clone());
    config.limits.connections_max = 1000;
    let listener = Listener::plain(TcpListener::bind("127.0.0.1:0").unwrap());
    let edge = Edge::start(config, vec![listener], Peers::new(), streams.clone()).unwrap();
    let address = edge.addresses()[0].to_string();

    for path in ["/1000", "/60000"] {
        let cpu = cpu();
        let said = done(child(&["plain", &address, path, "3"]));
        let requests: f64 = said.split(' ').next().unwrap().parse().unwrap();
        let each = (self::cpu() - cpu).as_micros() as f64 / requests;
        println!("plain {path} bytes, one kept-alive connection: {said}, server CPU {each:.0} µs a request");
    }

    let empty = rss_kb();
    let mut crowd = child(&["listen", &address, &CLIENTS.to_string()]);
    wait(|| edge.stats().streams == CLIENTS);
    thread::sleep(Duration::from_millis(500));
    println!(
        "{CLIENTS} idle streams: {} kB, {:.1} kB each, {} threads",
        rss_kb(),
        (rss_kb() - empty) as f64 / CLIENTS as f64,
        threads()
    );
    let cpu_before = cpu();
    talk(&feed);
    let each = (cpu() - cpu_before).as_secs_f64() * 1e6 / (CLIENTS as u64 * PER_SECOND * SECONDS) as f64;
    println!(
        "{CLIENTS} clients × {PER_SECOND}/s: server CPU {each:.2} µs an event, {:.1} kB each",
        (rss_kb() - empty) as f64 / CLIENTS as f64
    );
    crowd.stdin.take().unwrap().write_all(b"stop\n").unwrap();
    println!("  {}", done(crowd));
    wait(|| edge.stats().connections == 0);

    let base = (threads(), files());
    let mut stalled = child(&["stall", &address, "100"]);
    let mut crowd = child(&["listen", &address, &(CLIENTS - 100).to_string()]);
    wait(|| edge.stats().streams == CLIENTS);
    let served = edge.stats().streams_served;
    let guests = thread::spawn({
        let address = address.clone();
        move || {
            for _ in 0..20 * SECONDS {
                let mut guest = open(&address);
                let _ = guest.read(&mut [0; 1000]);
                thread::sleep(Duration::from_millis(50));
            }
        }
    });
    talk(&feed);
    guests.join().unwrap();
    println!(
        "{} healthy, 100 stalled, {} came and went:",
        CLIENTS - 100,
        edge.stats().streams_served - served
    );
    crowd.stdin.take().unwrap().write_all(b"stop\n").unwrap();
    println!("  {}", done(crowd));
    stalled.stdin.take().unwrap().write_all(b"stop\n").unwrap();
    done(stalled);
    wait(|| edge.stats().connections == 0 && edge.stats().streams == 0);
    wait(|| threads() <= base.0 && files() <= base.1);
    println!("  all back to base: {} threads, {} files", threads(), files());
    std::fs::remove_dir_all(folder).unwrap();
}

fn handle(inner: &Server, streams: &Streams, guest: &Guest, feed: &Arc<Feed>) {
    while let Ok(request) = inner.recv() {
        let answer = match request.url()[1..].parse() {
            Ok(size) => Response::from_data(vec![b'x'; size]),
            Err(_) => {
                let next = feed.lines.lock().unwrap().len();
                let source = View {
                    feed: Arc::clone(feed),
                    next,
                };
                let ticket = streams.offer(guest.standing(), Box::new(source)).unwrap();
                Response::from_data([]).with_header(Header::from_bytes(STREAM_HEADER, ticket.text()).unwrap())
            }
        };
        let _ = request.respond(answer);
    }
}

#[derive(Default)]
struct Feed {
    lines: Mutex<Vec<Arc<str>>>,
    wake: Wake,
}

struct View {
    feed: Arc<Feed>,
    next: usize,
}

impl Source for View {
    fn fill(&mut self, _: &Actor, out: &mut Vec<u8>) -> LampResult<Flow> {
        let lines: Vec<Arc<str>> = self.feed.lines.lock().unwrap()[self.next..].to_vec();
        for line in &lines {
            self.next += 1;
            sse::frame(out, Some(self.next as i64), "log", line);
        }
        Ok(Flow::More)
    }

    fn moved(&self) -> u64 {
        self.feed.wake.count()
    }
}

/// Says [`PER_SECOND`] lines for [`SECONDS`], evenly.
fn talk(feed: &Feed) {
    let start = Instant::now();
    for n in 0..PER_SECOND * SECONDS {
        let at = start + Duration::from_micros(n * 1_000_000 / PER_SECOND);
        thread::sleep(at.saturating_duration_since(Instant::now()));
        let line = format!(
            r#"{{"t":{},"n":{n},"stream":"stdout","text":"Setting up libc-bin (2.36-9+deb12u10) and so on"}}"#,
            micros()
        );
        feed.lines.lock().unwrap().push(line.into());
        feed.wake.ring();
    }
    thread::sleep(Duration::from_millis(200));
}

// ---- the clients -------------------------------------------------------------------------------------------------

fn plain_client(address: &str, path: &str, seconds: u64) {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_nodelay(true).unwrap();
    let (mut times, mut buf) = (Vec::new(), vec![0; 1 << 20]);
    let size: usize = path[1..].parse().unwrap();
    let start = Instant::now();
    while start.elapsed().as_secs() < seconds {
        let began = Instant::now();
        socket
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes())
            .unwrap();
        let (mut have, mut want) = (0, usize::MAX);
        while have < want {
            have += socket.read(&mut buf[have..]).unwrap();
            if want == usize::MAX
                && let Some(end) = buf[..have].windows(4).position(|w| w == b"\r\n\r\n")
            {
                want = end + 4 + size;
            }
        }
        times.push(began.elapsed());
    }
    let n = times.len();
    times.sort();
    println!(
        "{n} requests, {} rps, p50 {:?}, p99 {:?}",
        n as u64 / seconds,
        times[n / 2],
        times[n * 99 / 100]
    );
}

fn open(address: &str) -> TcpStream {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.write_all(b"GET /events HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    socket
}

/// Many clients; each measures how old an event is when it arrives.
fn listeners(address: &str, count: usize) {
    let clients: Vec<_> = (0..count)
        .map(|_| {
            let socket = open(address);
            let handle = socket.try_clone().unwrap();
            let reader = thread::Builder::new().stack_size(64 << 10);
            (handle, reader.spawn(move || ages(socket)).unwrap())
        })
        .collect();
    std::io::stdin().lock().read_line(&mut String::new()).unwrap();
    let (mut all, mut whole) = (Vec::new(), 0);
    for (socket, reader) in clients {
        let _ = socket.shutdown(std::net::Shutdown::Both);
        let (mut ages, numbers) = reader.join().unwrap();
        // Each line once and in its order, from the first to the last.
        whole += usize::from(numbers.iter().copied().eq(0..PER_SECOND * SECONDS));
        all.append(&mut ages);
    }
    let n = all.len();
    all.sort();
    println!(
        "{n} events arrived, {whole} of {count} clients have each once and in order; age p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
        all[n / 2] as f64 / 1e3,
        all[n * 99 / 100] as f64 / 1e3,
        all[n - 1] as f64 / 1e3
    );
}

/// How old each event was, and its number.
fn ages(socket: TcpStream) -> (Vec<u64>, Vec<u64>) {
    let (mut ages, mut numbers) = (Vec::new(), Vec::new());
    for line in BufReader::with_capacity(4096, socket).lines().map_while(Result::ok) {
        if let Some(rest) = line.strip_prefix(r#"data: {"t":"#) {
            let mut parts = rest.split(',');
            let sent: u64 = parts.next().unwrap().parse().unwrap();
            ages.push(micros().saturating_sub(sent));
            numbers.push(parts.next().unwrap()[4..].parse().unwrap());
        }
    }
    (ages, numbers)
}

/// Clients that never read.
fn stalled(address: &str, count: usize) {
    let sockets: Vec<_> = (0..count).map(|_| open(address)).collect();
    std::io::stdin().lock().read_line(&mut String::new()).unwrap();
    drop(sockets);
}

// ---- tools -------------------------------------------------------------------------------------------------------

fn child(args: &[&str]) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn done(child: Child) -> String {
    String::from_utf8(child.wait_with_output().unwrap().stdout)
        .unwrap()
        .trim()
        .to_string()
}

fn wait(so: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !so() {
        assert!(Instant::now() < until, "waited in vain");
        thread::sleep(Duration::from_millis(10));
    }
}

fn micros() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_micros() as u64
}

/// User and system time of this process; the kernel counts in hundredths of a second.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap().split_whitespace().collect();
    Duration::from_millis(10 * (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()))
}

/// Memory of our own: what is read of the program's file is shared by all clients.
fn rss_kb() -> usize {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

fn files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}
