//! The edge from outside: a real edge on a loopback port with a real `tiny_http` behind it, and many kinds of clients, most
//! of them misbehaving. After every test the harness checks that nothing stays open, held or in progress.

use crate::common::{Dice, rounds};
use crate::guest;

use guest::Guest;
use lamplighter::access::Actor;
use lamplighter::base::error::{Error, Result as LampResult};
use lamplighter::base::host::Cidr;
use lamplighter::base::random;
use lamplighter::base::url::Url;
use lamplighter::events::wake::Wake;
use lamplighter::http::edge::{CONN_HEADER, Config, Edge, EdgeStats, Listener, Peers, Policy, Tls, tls_config};
use lamplighter::http::sse::{self, Flow, STREAM_HEADER, Source, Streams};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::FromRawFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use tiny_http::{Header, Request, Response, Server, StatusCode};

/// Maximum wait in a test; longer than any wait that succeeds, even on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

// ---- the setup: an edge, the inner server, a feed of events --------------------------------------------------------

struct House {
    edge: Edge,
    server: Arc<Server>,
    inside: Arc<Inside>,
    handlers: Vec<thread::JoinHandle<()>>,
    folder: PathBuf,
}

/// What the inner server knows and has seen.
struct Inside {
    peers: Peers,
    streams: Streams,
    guest: Guest,
    feed: Arc<Feed>,
    paths: Mutex<Vec<String>>,
    late: AtomicUsize,
}

const HANDLERS: usize = 8;

impl House {
    fn new() -> House {
        House::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Config)) -> House {
        House::on(change, |socket| vec![Listener::plain(socket)])
    }

    fn on(change: impl FnOnce(&mut Config), listeners: impl FnOnce(TcpListener) -> Vec<Listener>) -> House {
        let folder = std::env::temp_dir().join(format!("edge-{}", random::name()));
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("http.sock");
        let server = Arc::new(Server::from_listener(UnixListener::bind(&path).unwrap(), None).unwrap());
        let mut config = Config::new(path);
        config.known = Box::new(|fields, _| fields.iter().all(|(name, _)| *name != "Stranger"));
        change(&mut config);
        let inside = Arc::new(Inside {
            peers: Peers::new(),
            streams: Streams::new(20, 8),
            guest: Guest::new(&folder),
            feed: Arc::default(),
            paths: Mutex::default(),
            late: AtomicUsize::new(0),
        });
        let handlers = (0..HANDLERS)
            .map(|_| {
                let (server, inside) = (Arc::clone(&server), Arc::clone(&inside));
                thread::spawn(move || {
                    while let Ok(request) = server.recv() {
                        inside.handle(request);
                    }
                })
            })
            .collect();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let edge =
            Edge::start(config, listeners(socket), inside.peers.clone(), inside.streams.clone()).expect("starts");
        House {
            edge,
            server,
            inside,
            handlers,
            folder,
        }
    }

    fn address(&self) -> SocketAddr {
        self.edge.addresses()[0]
    }

    fn client(&self) -> Client<TcpStream> {
        Client::new(connect(self.address()))
    }

    /// Sends these bytes on a fresh connection, says that there is no more, and reads all that comes.
    fn shout(&self, bytes: &[u8]) -> String {
        let mut socket = connect(self.address());
        // It may hang up in the middle of a long one; its answer is there all the same.
        let _ = socket.write_all(bytes);
        let _ = socket.shutdown(Shutdown::Write);
        rest(&mut socket)
    }

    fn get(&self, path: &str) -> Answer {
        self.client().ask(&format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"))
    }

    fn seen(&self, path: &str) -> usize {
        self.inside.paths.lock().unwrap().iter().filter(|p| *p == path).count()
    }

    fn refused(&self, code: &str) -> u64 {
        self.edge
            .stats()
            .refused
            .iter()
            .find(|r| r.0 == code)
            .map_or(0, |r| r.1)
    }

    /// Waits until it is so.
    fn until(&self, what: &str, so: impl Fn(&EdgeStats) -> bool) {
        eventually(what, || so(&self.edge.stats()));
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if thread::panicking() {
            return;
        }
        assert_eq!(self.get("/hello").body, b"hello", "alive at the end");
        self.edge.drain(PATIENCE);
        let end = self.edge.stats();
        assert_eq!(
            (end.connections, end.in_flight, end.buffered_bytes, end.streams),
            (0, 0, 0, 0),
            "{end:?}"
        );
        assert_eq!(self.inside.peers.count(), 0);
        assert_eq!(self.seen("/smuggled"), 0, "a request came in that nobody may send");
        for _ in &self.handlers {
            self.server.unblock();
        }
        for handler in self.handlers.drain(..) {
            handler.join().unwrap();
        }
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

impl Inside {
    fn handle(&self, mut request: Request) {
        let url = request.url().to_string();
        let (path, query) = url.split_once('?').unwrap_or((&url, ""));
        self.paths.lock().unwrap().push(path.into());
        let number = query.parse::<usize>().unwrap_or(0).min(50_000_000);
        let header = |name: &str| {
            let found = request
                .headers()
                .iter()
                .find(|h| h.field.as_str().as_str().eq_ignore_ascii_case(name));
            found.map(|h| h.value.as_str().to_string())
        };
        let plain = |text: String| Response::from_string(text).boxed();
        let answer = match path {
            "/hello" => plain("hello".into()),
            "/" | "/form" => {
                let mut body = Vec::new();
                request.as_reader().read_to_end(&mut body).unwrap();
                Response::from_data(body).boxed()
            }
            "/peer" => {
                let info = self.peers.get(&header(CONN_HEADER).unwrap()).unwrap();
                plain(format!("{} {} {}", info.peer, info.tls, info.request_id))
            }
            "/headers" => plain(
                request
                    .headers()
                    .iter()
                    .map(|h| format!("{}: {}\n", h.field, h.value))
                    .collect(),
            ),
            // tiny_http would chunk these, were it not asked as by HTTP/1.0.
            "/big" => Response::from_data(vec![b'x'; number]).boxed(),
            "/handed" => {
                let body = Arc::new(vec![b'x'; number]);
                let taken = self.peers.hand_over(&header(CONN_HEADER).unwrap(), &body);
                let left = if taken { &[][..] } else { &body[..] };
                let answer = Response::new(StatusCode(200), vec![], left, Some(number), None);
                return drop(request.respond(answer));
            }
            "/handed-short" => {
                let taken = self
                    .peers
                    .hand_over(&header(CONN_HEADER).unwrap(), &Arc::new(vec![b'x'; 3]));
                assert!(taken);
                Response::new(StatusCode(200), vec![], std::io::empty(), Some(4), None).boxed()
            }
            "/slow" => {
                thread::sleep(Duration::from_millis(number as u64));
                self.late.fetch_add(1, Ordering::SeqCst);
                plain("slow".into())
            }
            "/short" => Response::new(StatusCode(200), vec![], &b"four"[..], Some(number), None).boxed(),
            "/long" => Response::new(StatusCode(200), vec![], &b"more than one"[..], Some(1), None).boxed(),
            "/split" => plain(String::new()).with_header(raw_header("X-A", "b\r\n\r\nsplit: \n")),
            "/empty" => Response::empty(204).boxed(),
            "/same" => Response::empty(304).with_header(raw_header("ETag", "\"1\"")).boxed(),
            "/kept" => plain("kept".into())
                .with_header(raw_header("Cache-Control", "max-age=60"))
                .with_header(raw_header("Content-Security-Policy", "default-src *")),
            "/dropped" => return drop(request), // tiny_http answers 500 by itself
            "/events" => {
                let after = header("Last-Event-ID").and_then(|id| id.parse().ok()).unwrap_or(number);
                let view = View {
                    feed: Arc::clone(&self.feed),
                    next: after,
                };
                match self.streams.offer(self.guest.standing(), Box::new(view)) {
                    Ok(ticket) => plain(String::new()).with_header(raw_header(STREAM_HEADER, ticket.text())),
                    Err(e) => Response::from_string(e.code).with_status_code(503).boxed(),
                }
            }
            "/forged" => plain(String::new()).with_header(raw_header(STREAM_HEADER, "no such ticket")),
            _ => Response::from_string("none").with_status_code(404).boxed(),
        };
        // The edge may have given up on a slow one.
        let _ = request.respond(answer);
    }
}

fn raw_header(name: &str, value: &str) -> Header {
    Header::from_bytes(name, value).unwrap()
}

/// Lines that grow; "END" ends every view.
#[derive(Default)]
struct Feed {
    lines: Mutex<Vec<String>>,
    wake: Wake,
}

impl Feed {
    fn say(&self, line: impl Into<String>) {
        self.lines.lock().unwrap().push(line.into());
        self.wake.ring();
    }
}

struct View {
    feed: Arc<Feed>,
    next: usize,
}

impl Source for View {
    fn fill(&mut self, _: &Actor, out: &mut Vec<u8>) -> LampResult<Flow> {
        let lines = self.feed.lines.lock().unwrap();
        while let Some(line) = lines.get(self.next) {
            self.next += 1;
            match line.as_str() {
                "END" => return Ok(Flow::End),
                "FAIL" => return Err(Error::internal("the rows are gone")),
                "PANIC" => panic!("as a defect would"),
                _ => {}
            }
            sse::frame(out, Some(self.next as i64), "line", line);
            if out.len() >= sse::BATCH {
                break;
            }
        }
        Ok(Flow::More)
    }

    fn moved(&self) -> u64 {
        self.feed.wake.count()
    }
}

// ---- clients ---------------------------------------------------------------------------------------------------------

fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// All that comes until the other end closes, however it does.
fn rest(socket: &mut impl Read) -> String {
    let (mut all, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        match socket.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => all.extend_from_slice(&chunk[..n]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => panic!("it stays open"),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&all).into_owned()
}

fn eventually(what: &str, so: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < until, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn field(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|f| f.0.eq_ignore_ascii_case(name))
            .map(|f| f.1)
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

struct Client<S> {
    socket: S,
    buf: Vec<u8>,
}

impl<S: Read + Write> Client<S> {
    fn new(socket: S) -> Client<S> {
        Client {
            socket,
            buf: Vec::new(),
        }
    }

    fn ask(&mut self, request: &str) -> Answer {
        self.send(request);
        self.answer(request.starts_with("HEAD"))
    }

    fn send(&mut self, request: &str) {
        self.socket.write_all(request.as_bytes()).unwrap();
    }

    fn more(&mut self) -> usize {
        let mut chunk = [0; 16384];
        let n = self.socket.read(&mut chunk).expect("an answer in time");
        self.buf.extend_from_slice(&chunk[..n]);
        n
    }

    fn head(&mut self) -> Answer {
        let end = loop {
            if let Some(at) = self.buf.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(
                self.more() > 0,
                "closed before the head: {:?}",
                String::from_utf8_lossy(&self.buf)
            );
        };
        let head = String::from_utf8(self.buf.drain(..end).collect()).unwrap();
        Answer {
            status: head[9..12].parse().unwrap(),
            head,
            body: Vec::new(),
        }
    }

    fn answer(&mut self, bodiless: bool) -> Answer {
        let mut answer = self.head();
        let length = answer.field("content-length").map_or(0, |l| l.parse().unwrap());
        let length = if bodiless || answer.status == 304 { 0 } else { length };
        while self.buf.len() < length {
            assert!(self.more() > 0, "closed in the middle of the body");
        }
        answer.body = self.buf.drain(..length).collect();
        answer
    }

    /// Reads a stream up to this text, and returns all before it.
    fn up_to(&mut self, text: &str) -> String {
        let mut seen = 0;
        loop {
            if let Some(at) = self.buf[seen..].windows(text.len()).position(|w| w == text.as_bytes()) {
                return String::from_utf8(self.buf.drain(..seen + at + text.len()).collect()).unwrap();
            }
            seen = self.buf.len().saturating_sub(text.len() - 1);
            assert!(
                self.more() > 0,
                "closed before {text:?}, after {} bytes",
                self.buf.len()
            );
        }
    }

    fn at_end(&mut self) -> bool {
        self.buf.is_empty() && matches!(self.socket.read(&mut [0; 16]), Ok(0) | Err(_))
    }
}

fn events(house: &House, extra: &str) -> Client<TcpStream> {
    let mut client = house.client();
    client.send(&format!("GET /events HTTP/1.1\r\nHost: h\r\n{extra}\r\n"));
    client
}

/// Runs a story in a process of its own, when it counts threads or files, or takes them all.
fn alone(name: &str, shell: &str, story: impl FnOnce()) {
    if std::env::var("EDGE_ALONE").is_ok() {
        return story();
    }
    let done = std::process::Command::new("sh")
        .args(["-c", &format!("{shell} exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("edge::{name}"), "--nocapture", "--test-threads=1"])
        .env("EDGE_ALONE", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && said.contains("1 passed"), "{said}");
}

fn threads_and_files() -> (usize, usize) {
    let count = |folder| std::fs::read_dir(folder).unwrap().count();
    (count("/proc/self/task"), count("/proc/self/fd"))
}

// ---- good clients ----------------------------------------------------------------------------------------------------

#[test]
fn one_connection_serves_many_requests() {
    let house = House::new();
    let mut client = house.client();
    for n in 0..50 {
        let body = "y".repeat(n * 100);
        let answer = client.ask(&format!(
            "POST /form HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        assert_eq!((answer.status, answer.text()), (200, body.as_str()));
        assert_eq!(answer.field("connection"), None);
    }
    assert_eq!(house.edge.stats().accepted, 1);
}

#[test]
fn pipelined_requests_are_answered_one_after_the_other() {
    let house = House::new();
    let mut client = house.client();
    let all: String = (0..40)
        .map(|n| match n % 2 {
            0 => format!("GET /big?{n} HTTP/1.1\r\nHost: h\r\n\r\n"),
            _ => format!(
                "POST /form HTTP/1.1\r\nHost: h\r\nContent-Length: {n}\r\n\r\n{}",
                "y".repeat(n)
            ),
        })
        .collect();
    client.send(&all);
    for n in 0..40 {
        let answer = client.answer(false);
        assert_eq!((answer.status, answer.body.len()), (200, n));
    }
}

#[test]
fn every_answer_has_the_security_headers_and_an_id() {
    let house = House::new();
    for answer in [
        house.get("/hello"),
        house.get("/nothing"),
        house.get("//x\u{7f}"),
        house.get("/kept"),
    ] {
        let csp = answer.field("content-security-policy").unwrap();
        assert!(csp.starts_with("default-src 'none'") && csp.contains("require-trusted-types-for 'script'"));
        assert_eq!(
            answer.head.matches("ontent-").count(),
            answer.head.matches("Content-").count(),
            "said once"
        );
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.field(name), Some(value), "{}", answer.head);
        }
        assert_eq!(answer.field("x-request-id").map(str::len), Some(32));
        assert!(answer.field("date").unwrap().ends_with(" GMT"));
        for never in ["server", "strict-transport-security", "transfer-encoding"] {
            assert_eq!(answer.field(never), None, "{}", answer.head);
        }
    }
    assert_eq!(house.get("/hello").field("cache-control"), Some("no-store"));
    assert_eq!(house.get("/kept").field("cache-control"), Some("max-age=60"));
}

#[test]
fn a_request_has_our_id_and_a_clients_own_one_comes_back_beside_it() {
    let house = House::new();
    let own = |given: &str| {
        let answer = house.client().ask(&format!(
            "GET /peer HTTP/1.1\r\nHost: h\r\nX-Request-Id: {given}\r\n\r\n"
        ));
        let id = answer.field("x-request-id").unwrap().to_string();
        assert!(answer.text().ends_with(&id), "the handler knows the same one");
        assert!(id.len() == 32 && id != given);
        answer.field("x-client-request-id").map(String::from)
    };
    assert_eq!(own("a-1_B.2").as_deref(), Some("a-1_B.2"));
    assert_eq!(
        own(&"0".repeat(32)),
        Some("0".repeat(32)),
        "of our own look, but not ours"
    );
    for bad in ["", "a b", "a/b", &"x".repeat(65), "<x>"] {
        assert_eq!(own(bad), None, "{bad}");
    }
}

#[test]
fn who_asks_for_a_websocket_is_told_what_there_is_instead() {
    let house = House::new();
    let ask = |version: &str, protocol: &str| {
        house.client().ask(&format!(
            "GET /hello HTTP/{version}\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n"
        ))
    };
    for protocol in ["websocket", "WebSocket", "h2c, websocket"] {
        let answer = ask("1.1", protocol);
        assert_eq!((answer.status, answer.field("upgrade")), (426, Some("HTTP/1.1")));
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body["error_code"], "no_websocket");
        assert!(body["detail"].as_str().unwrap().contains("/api/events/stream"));
    }
    // An optional `Upgrade` is ignored, and HTTP/1.0 has none.
    assert_eq!(ask("1.1", "h2c").status, 200);
    assert_eq!(ask("1.0", "websocket").status, 200);
}

#[test]
fn an_error_answer_has_the_shape_of_all_errors() {
    let house = House::new();
    let answer = house
        .client()
        .ask("GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nX-Request-Id: mine\r\n\r\n");
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status, answer.field("connection")), (501, Some("close")));
    assert_eq!(body["error_code"], "transfer_encoding");
    assert_eq!(body["request_id"], answer.field("x-request-id").unwrap());
    assert!(body["detail"].as_str().unwrap().len() > 20 && body["timestamp"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn head_old_http_and_bodiless_answers() {
    let house = House::new();
    let mut client = house.client();
    let head = client.ask("HEAD /big?5000 HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!((head.status, head.field("content-length")), (200, Some("5000")));
    let empty = client.ask("GET /empty HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!((empty.status, empty.field("content-length")), (204, None));
    let same = client.ask("GET /same HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!((same.status, same.field("etag")), (304, Some("\"1\"")));
    assert_eq!(
        client.ask("GET /hello HTTP/1.1\r\nHost: h\r\n\r\n").body,
        b"hello",
        "the same connection goes on"
    );
    let old = client.ask("GET /hello HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!((old.status, old.field("connection")), (200, Some("close")));
    assert!(client.at_end());
    let mut client = house.client();
    client.ask("GET /hello HTTP/1.1\r\nHost: h\r\nConnection: x, CLOSE\r\n\r\n");
    assert!(client.at_end());
    let mut client = house.client();
    assert_eq!(
        client
            .ask("HEAD /x HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n")
            .status,
        400
    );
    assert!(client.at_end(), "no body after the head of an error");
}

#[test]
fn answers_of_any_size_arrive_whole() {
    let house = House::new();
    let mut client = house.client();
    // Through the inner socket, and past it.
    for path in ["/big", "/handed"] {
        for size in [
            0,
            1,
            1000,
            32_768,
            60_000,
            (1 << 20) - 1,
            1 << 20,
            (1 << 20) + 1,
            9_000_000,
            50_000_000,
        ] {
            let answer = client.ask(&format!("GET {path}?{size} HTTP/1.1\r\nHost: h\r\n\r\n"));
            assert_eq!((answer.status, answer.body.len()), (200, size));
            assert!(answer.body.iter().all(|b| *b == b'x'));
        }
    }
    assert_eq!(house.edge.stats().accepted, 1);
}

#[test]
fn a_client_that_waits_for_100_gets_it() {
    let house = House::new();
    let mut client = house.client();
    client.send("POST /form HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.up_to("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(client.ask("body").body, b"body");
    // Too large: refused before a byte of it is sent.
    client.send("POST /form HTTP/1.1\r\nHost: h\r\nContent-Length: 2000000\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.answer(false).status, 413);
}

#[test]
fn routes_may_take_larger_bodies() {
    let house = House::with(|config| {
        config.body_max = Box::new(|method, path| {
            if (method, path) == ("PUT", "/form") {
                3 << 20
            } else {
                10
            }
        })
    });
    let body = "z".repeat(3 << 20);
    let put = |path: &str, body: &str| {
        let text = format!(
            "PUT {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        house.client().ask(&text)
    };
    assert_eq!(put("/form", &body).body.len(), 3 << 20);
    assert_eq!(put("/form?x=1", "abc").status, 200);
    assert_eq!(put("/other", &body[..11]).status, 413);
    assert_eq!(put("/", &body[..10]).status, 200);
}

#[test]
fn what_clients_say_about_themselves_is_believed_only_from_trusted_proxies() {
    let forwarded =
        "GET /peer HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 6.6.6.6, 192.0.2.7\r\nX-Forwarded-Proto: https\r\n\r\n";
    let lying = House::new();
    let answer = lying.client().ask(forwarded);
    assert!(
        answer.text().starts_with("127.0.0.1:") && answer.text().contains(" false "),
        "{}",
        answer.text()
    );
    let proxied = House::with(|config| config.trusted_proxies = vec![Cidr::parse("127.0.0.0/8").unwrap()]);
    let answer = proxied.client().ask(forwarded);
    assert!(answer.text().starts_with("192.0.2.7:0 true "), "{}", answer.text());
    assert!(answer.field("strict-transport-security").is_some());
}

#[test]
fn headers_between_neighbours_stay_outside() {
    let house = House::new();
    let stripped = [
        "TE: chunked",
        "Trailer: X",
        "Upgrade: h2c",
        "HTTP2-Settings: x",
        "Keep-Alive: 1",
        "Proxy-Connection: x",
        "X-Lamplighter-Conn: 0123",
        "x-lamplighter-role: admin",
        "X-Forwarded-For: 1.2.3.4",
        "Forwarded: for=1.2.3.4",
        "X-Real-IP: 1.2.3.4",
        "Expect: 100-continue",
    ];
    let text = format!(
        "GET /headers HTTP/1.1\r\nHost: h\r\nAccept: kept\r\n{}\r\n\r\n",
        stripped.join("\r\n")
    );
    let answer = house.client().ask(&text);
    let seen = answer.text().to_lowercase();
    for line in stripped {
        let name = line.split(':').next().unwrap().to_lowercase();
        let ours = usize::from(name == "x-lamplighter-conn");
        assert_eq!(
            seen.lines().filter(|l| l.starts_with(&format!("{name}:"))).count(),
            ours,
            "{name}: {seen}"
        );
    }
    assert!(seen.contains("accept: kept") && !seen.contains("0123"));
}

#[test]
fn only_the_hosts_that_are_ours_are_served() {
    let ours = ["lamp.example", "127.0.0.1", "::1", "h"];
    let house = House::with(|config| config.hosts = Box::new(move |host| ours.contains(&host.as_str())));
    let status = |host: &str| {
        house
            .client()
            .ask(&format!("GET /hello HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .status
    };
    for ours in [
        "lamp.example",
        "LAMP.example:8080",
        "lamp.example.",
        "127.0.0.1:1",
        "[::1]:443",
    ] {
        assert_eq!(status(ours), 200, "{ours}");
    }
    for other in ["evil.example", "lamp.example.evil.example", "127.0.0.2", "[::2]"] {
        assert_eq!(status(other), 421, "{other}");
    }
}

// ---- bad clients -----------------------------------------------------------------------------------------------------

/// Request forms that servers interpret differently (request smuggling). `@` stands for a hidden second request.
const FORMS: &[(&str, u16)] = &[
    // The attack tables of the platform and the security report.
    (
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 60000000000\r\n\r\n@",
        413,
    ),
    (
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000000\r\n\r\n@",
        413,
    ),
    (
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000000000\r\n\r\n@",
        413,
    ),
    (
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9000000000000000000\r\n\r\n@",
        413,
    ),
    (
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 18446744073709551615\r\n\r\n@",
        413,
    ),
    (
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999999999\r\n\r\n@",
        413,
    ),
    ("GET / HTTP/2.0\r\nHost: h\r\n\r\n@", 505),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n@", 505),
    ("GET / HTTP/1.1\r\n\r\n@", 400),
    ("GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n@", 400),
    ("GET / x HTTP/1.1\r\nHost: h\r\n\r\n@", 400),
    ("GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n@", 400),
    ("GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n@", 400),
    ("GET /é HTTP/1.1\r\nHost: h\r\n\r\n@", 400),
    ("GET / HTTP/1.1\r\nHost: h\r\nX: é\r\n\r\n@", 400),
    // Content-Length.
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: abc\r\n\r\n@", 400),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n@", 400),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\n@", 400),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3x\r\n\r\n@", 400),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0x5\r\n\r\n@", 400),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5, 5\r\n\r\n@", 400),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5 5\r\n\r\n@", 400),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5.0\r\n\r\n@", 400),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1e2\r\n\r\n@", 400),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: \"5\"\r\n\r\n@", 400),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\n@", 400),
    (
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n@",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\ncontent-length: 44\r\n\r\n@",
        400,
    ),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length : 5\r\n\r\n@", 400),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length\t: 5\r\n\r\n@", 400),
    ("POST / HTTP/1.1\r\nHost: h\r\n Content-Length: 5\r\n\r\n@", 400),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length:\x0b5\r\n\r\n@", 400),
    ("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n@", 400),
    // Transfer-Encoding.
    (
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n@",
        501,
    ),
    (
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\n\r\n@",
        501,
    ),
    (
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n@",
        501,
    ),
    ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\n\r\n@", 501),
    (
        "POST / HTTP/1.1\r\nHost: h\r\nTRANSFER-ENCODING: gzip, chunked\r\n\r\n0\r\n\r\n@",
        501,
    ),
    (
        "POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n@",
        501,
    ),
    (
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n@",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n@",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n@",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\n\r\n@",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nHost: h\r\nX: y\nTransfer-Encoding: chunked\r\n\r\n@",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer\u{2d}Encoding\0: chunked\r\n\r\n@",
        400,
    ),
    (
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\n chunked\r\n\r\n@",
        400,
    ),
    // Host.
    ("GET / HTTP/1.0\r\n\r\n@", 400),
    ("GET / HTTP/1.1\r\nHost:\r\n\r\n@", 400),
    ("GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n@", 400),
    ("GET / HTTP/1.1\r\nHost: h\r\nhOST: evil\r\n\r\n@", 400),
    ("GET / HTTP/1.1\r\nHost: h, evil\r\n\r\n@", 400),
    ("GET / HTTP/1.1\r\nHost: h/x\r\n\r\n@", 400),
    ("GET / HTTP/1.1\r\nHost: u@h\r\n\r\n@", 400),
    ("GET / HTTP/1.1\r\nHost: h:80:80\r\n\r\n@", 400),
    ("GET / HTTP/1.1\r\nHost: h:http\r\n\r\n@", 400),
    ("GET / HTTP/1.1\r\nHost: -oProxyCommand=x\r\n\r\n@", 400),
    // The request line.
    ("GET /\r\nHost: h\r\n\r\n@", 400),
    ("GET / HTTP/0.9\r\nHost: h\r\n\r\n@", 505),
    ("GET / HTTP/1.2\r\nHost: h\r\n\r\n@", 505),
    ("GET / HTTP/1.10\r\nHost: h\r\n\r\n@", 400),
    ("GET / http/1.1\r\nHost: h\r\n\r\n@", 400),
    ("GET / HTTP/1.1 \r\nHost: h\r\n\r\n@", 400),
    ("GET  / HTTP/1.1\r\nHost: h\r\n\r\n@", 400),
    ("GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n@", 400),
    (" GET / HTTP/1.1\r\nHost: h\r\n\r\n@", 400),
    ("\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n@", 400),
    ("GET * HTTP/1.1\r\nHost: h\r\n\r\n@", 400),
    ("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n@", 400),
    ("GET h/ HTTP/1.1\r\nHost: h\r\n\r\n@", 400),
    ("GET /#x HTTP/1.1\r\nHost: h\r\n\r\n@", 400),
    ("CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n@", 501),
    ("TRACE / HTTP/1.1\r\nHost: h\r\n\r\n@", 501),
    ("get / HTTP/1.1\r\nHost: h\r\n\r\n@", 501),
    ("G=T / HTTP/1.1\r\nHost: h\r\n\r\n@", 400),
    (" / HTTP/1.1\r\nHost: h\r\n\r\n@", 400),
    ("\x16\x03\x01\x02@", 400),
    // Lines and names.
    ("GET / HTTP/1.1\nHost: h\n\n@", 400),
    ("GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n@", 400),
    ("GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n@", 400),
    ("GET / HTTP/1.1\r\nHost: h\r\n\n@", 400),
    ("GET / HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n@", 400),
    ("GET / HTTP/1.1\r\nHost: h\r\n: empty\r\n\r\n@", 400),
    ("GET / HTTP/1.1\r\nHost: h\r\nX y: z\r\n\r\n@", 400),
    ("GET / HTTP/1.1\r\nHost: h\r\nX(y): z\r\n\r\n@", 400),
    ("GET / HTTP/1.1\r\nX: y\r\n\tHost: h\r\n\r\n@", 400),
    ("GET / HTTP/1.1\r\nHost: h\r\nX: \x7f\r\n\r\n@", 400),
    ("GET / HTTP/1.1\r\nHost: h\r\nX: \x1b[2J\r\n\r\n@", 400),
    (
        "GET / HTTP/1.1\r\nHost: h\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n@",
        400,
    ),
    ("GET / HTTP/1.1\r\nHost: h\r\nCookie: a\r\nCookie: b\r\n\r\n@", 400),
    (
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Type: a\r\nContent-Type: b\r\n\r\n@",
        400,
    ),
    ("GET / HTTP/1.1\r\nHost: h\r\nOrigin: a\r\nOrigin: b\r\n\r\n@", 400),
    ("POST / HTTP/1.1\r\nHost: h\r\nExpect: 200-ok\r\n\r\n@", 417),
];

#[test]
fn no_form_of_request_hides_another() {
    let house = House::new();
    assert!(FORMS.len() >= 60);
    for (form, status) in FORMS {
        let hidden = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
        let said = house.shout(form.replace('@', hidden).as_bytes());
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{form:?}: {said}");
        assert_eq!(said.matches("X-Request-Id: ").count(), 1, "{form:?}: {said}");
        assert!(said.contains("Connection: close\r\n"), "{form:?}");
    }
    assert!(house.inside.paths.lock().unwrap().is_empty(), "none of them came in");
}

#[test]
fn a_body_belongs_to_its_request_whatever_it_looks_like() {
    let house = House::new();
    let hidden = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
    for head in [
        "POST /form",
        "PUT /form",
        "DELETE /form",
        "PATCH /nothing",
        "POST /hello",
    ] {
        let mut client = house.client();
        let answer = client.ask(&format!(
            "{head} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{hidden}",
            hidden.len()
        ));
        assert!(
            answer.body.is_empty()
                || answer.body == b"none"
                || answer.body == hidden.as_bytes()
                || answer.body == b"hello"
        );
        assert_eq!(client.ask("GET /hello HTTP/1.1\r\nHost: h\r\n\r\n").body, b"hello");
    }
    let short = house.shout(b"POST /form HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nonly this");
    assert_eq!(short, "", "a body that breaks off is no request");
    assert_eq!(house.seen("/form"), 3);
}

#[test]
fn heads_have_limits_and_say_so() {
    let house = House::new();
    let lots = house.shout(format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "X: y\r\n".repeat(64)).as_bytes());
    assert!(lots.starts_with("HTTP/1.1 431 "), "{lots}");
    let wide = house.shout(format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}", "y".repeat(1 << 20)).as_bytes());
    assert!(wide.is_empty() || wide.starts_with("HTTP/1.1 431 "), "{wide}");
    let long = house.shout(format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "y".repeat(4096)).as_bytes());
    assert!(long.starts_with("HTTP/1.1 414 "), "{long}");
    assert_eq!(
        (house.refused("head_too_large"), house.refused("target_too_long")),
        (2, 1)
    );
}

#[test]
fn the_answer_reaches_a_client_that_is_still_sending() {
    let house = House::new();
    for _ in 0..20 {
        let mut socket = connect(house.address());
        let head = b"POST /form HTTP/1.1\r\nHost: h\r\nContent-Length: 2000000\r\n\r\n";
        socket.write_all(&[head, &[b'x'; 30_000][..]].concat()).unwrap();
        let mut client = Client::new(socket);
        assert_eq!(client.answer(false).status, 413);
    }
}

#[test]
fn ten_thousand_mutations_leave_no_trace() {
    alone("ten_thousand_mutations_leave_no_trace", "", || {
        let house = House::with(|config| config.limits.head = PATIENCE);
        assert_eq!(house.get("/hello").status, 200);
        house.until("quiet", |s| s.connections == 0);
        let (threads, files) = threads_and_files();
        thread::scope(|scope| {
            for seed in 1..=4 {
                let house = &house;
                scope.spawn(move || {
                    let mut dice = Dice::new(seed);
                    for _ in 0..rounds(2_500) {
                        let request = mutant(&mut dice, &SEEDS);
                        let said = house.shout(&request);
                        for status in said.lines().filter_map(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)) {
                            let fine = !status.starts_with('5') || ["501", "503", "505"].contains(&status);
                            assert!(fine, "{status} for {}", request.escape_ascii());
                        }
                    }
                });
            }
        });
        house.until("quiet", |s| {
            s.connections == 0 && s.in_flight == 0 && s.buffered_bytes == 0
        });
        // The inner server keeps a few threads for five seconds; more than its own pool may not stay.
        eventually("threads and files are back to base", || {
            let now = threads_and_files();
            now.0 <= threads && now.1 <= files
        });
        let stats = house.edge.stats();
        assert!(stats.refused.len() >= 8, "the mutants are of many kinds: {stats:?}");
    });
}

const SEEDS: [&str; 6] = [
    "GET /hello HTTP/1.1\r\nHost: h\r\nAccept: */*\r\n\r\n",
    "POST /form HTTP/1.1\r\nHost: example.com:80\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello",
    "GET /big?3000 HTTP/1.1\r\nHost: [::1]\r\nCookie: a=b\r\nConnection: keep-alive\r\n\r\nGET /hello HTTP/1.1\r\nHost: h\r\n\r\n",
    "HEAD /headers HTTP/1.0\r\nHost: 127.0.0.1\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n",
    "PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    "DELETE /x%20y?q HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer x\r\nX-Request-Id: r\r\n\r\n",
];

/// One of these requests with up to five damaging changes.
pub fn mutant(dice: &mut Dice, seeds: &[&str]) -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "\r\n",
        "\n",
        "\r",
        "\0",
        " ",
        ":",
        "Transfer-Encoding: chunked\r\n",
        "Content-Length: 0\r\n",
        "Host: x\r\n",
        "HTTP/2.0",
        "\r\n\r\n",
        "\u{ff}",
        "99999999999",
        "-1",
        "%00",
        "X: y\r\n",
    ];
    let mut out = seeds[dice.roll(seeds.len())].as_bytes().to_vec();
    for _ in 0..=dice.roll(4) {
        let at = dice.roll(out.len().max(1)).min(out.len());
        match dice.roll(6) {
            0 if at < out.len() => out[at] ^= 1 << dice.roll(8),
            1 if at < out.len() => drop(out.remove(at)),
            2 => out.truncate(at),
            3 => {
                let copy = out[at..].to_vec();
                out.splice(at..at, copy);
            }
            _ => drop(out.splice(at..at, WORDS[dice.roll(WORDS.len())].bytes())),
        }
    }
    out
}

// ---- slow clients, slow handlers -----------------------------------------------------------------------------------

fn impatient(config: &mut Config) {
    let short = Duration::from_millis(700);
    let limits = &mut config.limits;
    (limits.handshake, limits.head, limits.idle, limits.body, limits.stall) = (short, short, short, short, short);
}

#[test]
fn a_dripping_head_or_body_is_cut_off() {
    let house = House::with(impatient);
    let drip = |start: &str| {
        let mut socket = connect(house.address());
        socket.write_all(start.as_bytes()).unwrap();
        let mut other = socket.try_clone().unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        let dripper = thread::spawn(move || {
            while !seen.load(Ordering::SeqCst) && other.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(20));
            }
        });
        let said = rest(&mut socket);
        over.store(true, Ordering::SeqCst);
        dripper.join().unwrap();
        said
    };
    for start in [
        "GET /",
        "GET / HTTP/1.1\r\nHost: h\r\nX: ",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n",
    ] {
        let said = drip(start);
        assert!(said.starts_with("HTTP/1.1 408 "), "{start:?}: {said}");
    }
    assert_eq!(house.refused("request_timeout"), 3);
}

#[test]
fn a_silent_connection_is_closed_without_a_word() {
    let house = House::with(impatient);
    assert_eq!(rest(&mut connect(house.address())), "");
    let mut client = house.client();
    assert_eq!(client.ask("GET /hello HTTP/1.1\r\nHost: h\r\n\r\n").status, 200);
    assert_eq!(rest(&mut client.socket), "");
    assert_eq!(house.refused("request_timeout"), 0);
}

#[test]
fn slow_senders_hold_no_handler() {
    let house = House::new();
    let slow: Vec<_> = (0..3 * HANDLERS)
        .map(|_| {
            let mut socket = connect(house.address());
            socket
                .write_all(b"POST /form HTTP/1.1\r\nHost: h\r\nContent-Length: 2000\r\n\r\n")
                .unwrap();
            socket
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(house.get("/hello").status, 200);
    }
    assert_eq!(house.edge.stats().in_flight, 0);
    drop(slow);
    house.until("all gone", |s| s.connections == 0);
}

#[test]
fn slow_readers_hold_no_handler() {
    let house = House::with(impatient);
    let ask = |path: &str| {
        let mut socket = connect(house.address());
        socket
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes())
            .unwrap();
        socket
    };
    // Whole answers wait in memory, and leave it when the client is given up.
    let held = ["/big?1000000", "/handed?1000000"];
    let held: Vec<_> = (0..2 * HANDLERS).map(|n| ask(held[n % 2])).collect();
    house.until("all came in", |s| s.connections == held.len() && s.in_flight == 0);
    assert_eq!(house.get("/hello").status, 200);
    // Larger ones, and those for which there is no memory left, hold their handler, but only until the stall time.
    let large = ["/big?40000000", "/handed?40000000"];
    let large: Vec<_> = (0..2 * HANDLERS).map(|n| ask(large[n % 2])).collect();
    house.until("given up", |s| {
        s.connections == 0 && s.in_flight == 0 && s.buffered_bytes == 0
    });
    assert_eq!(house.get("/hello").status, 200);
    drop((held, large));
}

#[test]
fn a_flood_of_pipelined_requests_stops_at_its_own_unread_answers() {
    let house = House::with(impatient);
    let mut socket = connect(house.address());
    let request = b"GET /big?100000 HTTP/1.1\r\nHost: h\r\n\r\n".repeat(100);
    while socket.write_all(&request).is_ok() {
        assert!(house.edge.stats().in_flight <= 1);
    }
    assert!(house.seen("/big") < 500, "{}", house.seen("/big"));
    house.until("gone", |s| s.connections == 0);
}

#[test]
fn a_handler_that_takes_too_long_is_given_up() {
    let house = House::with(|config| config.limits.handler = Duration::from_millis(500));
    let answer = house.get("/slow?3000");
    assert_eq!((answer.status, answer.text().contains("handler_timeout")), (504, true));
    assert_eq!(house.get("/hello").status, 200);
    eventually("it ends all the same", || house.inside.late.load(Ordering::SeqCst) == 1);
}

#[test]
fn a_full_house_answers_busy() {
    let house = House::with(|config| {
        config.limits.in_flight_max = 2;
        config.limits.in_flight_each_max = 2;
        config.limits.queue = Duration::from_millis(300);
    });
    let slow: Vec<_> = (0..2)
        .map(|_| {
            let mut client = house.client();
            client.send("GET /slow?4000 HTTP/1.1\r\nHost: h\r\n\r\n");
            client
        })
        .collect();
    house.until("both inside", |s| s.in_flight == 2);
    let third = house.get("/hello");
    assert_eq!((third.status, third.field("retry-after")), (503, Some("2")));
    for mut client in slow {
        assert_eq!(client.answer(false).status, 200);
    }
}

#[test]
fn bodies_share_one_store() {
    let house = House::with(|config| config.limits.buffered_max = 300_000);
    let mut held = connect(house.address());
    held.write_all(b"POST /form HTTP/1.1\r\nHost: h\r\nContent-Length: 250000\r\n\r\n")
        .unwrap();
    held.write_all(&[b'x'; 200_000]).unwrap();
    house.until("held", |s| s.buffered_bytes == 200_000);
    let said = house.shout(
        &[
            b"POST /form HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n".to_vec(),
            vec![b'y'; 200_000],
        ]
        .concat(),
    );
    assert!(said.starts_with("HTTP/1.1 503 "), "{said}");
    // An answer that finds no room is streamed instead.
    assert_eq!(house.get("/big?500000").body.len(), 500_000);
    drop(held);
    house.until("given back", |s| s.buffered_bytes == 0);
}

#[test]
fn a_handler_that_ignores_a_large_body_is_not_waited_for() {
    let house = House::with(|config| config.body_max = Box::new(|_, _| 8 << 20));
    let head = format!(
        "POST /big?6000000 HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n",
        8 << 20
    );
    let mut client = house.client();
    client.send(&(head + &"x".repeat(8 << 20)));
    assert_eq!(client.answer(false).body.len(), 6_000_000);
}

#[test]
fn broken_answers_from_inside_never_reach_a_client_as_whole() {
    let house = House::new();
    for path in ["/short?10", "/long", "/split", "/forged", "/handed-short"] {
        let answer = house.get(path);
        assert_eq!(answer.status, 500, "{path}");
        assert!(
            answer.text().contains("\"error_code\":\"internal\"") && !answer.head.contains("split"),
            "{path}"
        );
    }
    assert_eq!(house.get("/dropped").status, 500);
    // Too large to be held back: it breaks off short of its length.
    let said = house.shout(b"GET /short?2000000 HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(
        said.contains("Content-Length: 2000000\r\n") && said.ends_with("\r\n\r\nfour"),
        "{said}"
    );
}

#[test]
fn without_an_inner_server_it_is_503() {
    let house = House::new();
    std::fs::rename(house.folder.join("http.sock"), house.folder.join("away")).unwrap();
    let answer = house.get("/hello");
    assert_eq!((answer.status, answer.field("retry-after")), (503, Some("2")));
    std::fs::rename(house.folder.join("away"), house.folder.join("http.sock")).unwrap();
}

// ---- too many clients ------------------------------------------------------------------------------------------------

#[test]
fn a_newcomer_takes_the_longest_idle_seat_or_is_told_to_wait() {
    let house = House::with(|config| config.limits.connections_max = 4);
    let mut idle = house.client();
    assert_eq!(idle.ask("GET /hello HTTP/1.1\r\nHost: h\r\n\r\n").status, 200);
    let mut sending = connect(house.address());
    sending
        .write_all(b"POST /form HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n1")
        .unwrap();
    house.until("it has begun", |s| s.buffered_bytes == 1);
    let slow = || {
        let inside = house.edge.stats().in_flight;
        let mut client = house.client();
        client.send("GET /slow?4000 HTTP/1.1\r\nHost: h\r\n\r\n");
        house.until("inside", |s| s.in_flight == inside + 1);
        client
    };
    let mut busy = vec![slow(), slow()];
    busy.push(slow());
    assert_eq!(rest(&mut idle.socket), "", "the idle one went first");
    busy.push(slow());
    assert_eq!(rest(&mut sending), "", "then the one that kept us waiting");
    assert_eq!(house.edge.stats().evicted, 2);
    let sixth = Client::new(connect(house.address())).answer(false);
    assert_eq!((sixth.status, sixth.field("retry-after")), (503, Some("2")));
    for mut client in busy {
        assert_eq!(client.answer(false).body, b"slow", "and the busy ones are served");
    }
    house.until("gone", |s| s.connections == 0);
}

/// A connection that comes from this address of the loopback network.
fn connect_from(source: &str, address: SocketAddr) -> TcpStream {
    let domain = libc::AF_INET;
    let source: Ipv4Addr = source.parse().unwrap();
    let at = |ip: Ipv4Addr, port: u16| libc::sockaddr_in {
        sin_family: domain as libc::sa_family_t,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from(ip).to_be(),
        },
        sin_zero: [0; 8],
    };
    let (from, to) = (at(source, 0), at(Ipv4Addr::LOCALHOST, address.port()));
    let size = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    // SAFETY: both addresses outlive their calls and have the size given; the descriptor is owned by nobody else.
    unsafe {
        let fd = libc::socket(domain, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        assert!(fd >= 0);
        let socket = TcpStream::from_raw_fd(fd);
        assert_eq!(libc::bind(fd, (&raw const from).cast(), size), 0);
        assert_eq!(libc::connect(fd, (&raw const to).cast(), size), 0);
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }
}

#[test]
fn one_address_that_fills_the_house_with_silence_pays_for_its_own_newcomers() {
    let (house, _, address) = tls_house(|config| config.limits.connections_max = 16);
    let mut kept = house.client();
    assert_eq!(kept.ask("GET /hello HTTP/1.1\r\nHost: h\r\n\r\n").status, 200);
    let strangers: Vec<_> = (0..60)
        .map(|n| {
            let (door, word): (_, &[u8]) = match n % 3 {
                0 => (address, &[22, 3, 1, 2, 0, 1]),
                1 => (house.address(), b"GET /hello HTTP/1.1\r\nHos"),
                _ => (
                    house.address(),
                    b"POST /form HTTP/1.1\r\nHost: h\r\nContent-Length: 60000\r\n\r\nx",
                ),
            };
            let mut socket = connect_from("127.0.0.2", door);
            let _ = socket.write_all(word); // it may have been ended already, for the next one
            socket
        })
        .collect();
    house.until("all came", |s| s.accepted >= 61);
    for _ in 0..5 {
        assert_eq!(house.get("/hello").body, b"hello", "a newcomer of another address");
        let mut secure = tls_client(address, CERT, rustls::ALL_VERSIONS);
        assert_eq!(secure.ask("GET /hello HTTP/1.1\r\nHost: h\r\n\r\n").body, b"hello");
    }
    let again = kept.ask("GET /hello HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(again.status, 200, "who was there before kept the seat");
    drop(strangers);
}

#[test]
fn one_address_gets_a_share_of_the_places_inside_and_of_the_memory() {
    let house = House::with(|config| {
        config.limits.in_flight_max = 4;
        config.limits.in_flight_each_max = 3;
        config.limits.buffered_max = 300_000;
        config.limits.buffered_each_max = 200_000;
    });
    let slow: Vec<_> = (0..6)
        .map(|_| {
            let mut client = Client::new(connect_from("127.0.0.2", house.address()));
            client.send("GET /slow?500 HTTP/1.1\r\nHost: h\r\n\r\n");
            client
        })
        .collect();
    house.until("its share is taken", |s| s.in_flight == 3);
    assert_eq!(house.get("/hello").body, b"hello", "there is a place for others");
    for mut client in slow {
        assert_eq!(client.answer(false).status, 200, "its own wait for one another");
    }
    let mut greedy = connect_from("127.0.0.2", house.address());
    let head = "POST /form HTTP/1.1\r\nHost: h\r\nContent-Length: 250000\r\n\r\n";
    let _ = greedy.write_all(format!("{head}{}", "x".repeat(249_999)).as_bytes());
    assert!(rest(&mut greedy).starts_with("HTTP/1.1 503 "));
    let body = "y".repeat(100_000);
    let text = format!("POST /form HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n{body}");
    assert_eq!(house.client().ask(&text).text(), body);
}

#[test]
fn a_large_body_is_taken_only_of_who_is_known() {
    let house = House::new();
    let ask = |length: usize, more: &str| {
        let text = format!("POST /form HTTP/1.1\r\nHost: h\r\n{more}Content-Length: {length}\r\n\r\n");
        let said = house.shout(format!("{text}{}", "x".repeat(length)).as_bytes());
        said[9..12].to_string()
    };
    assert_eq!(ask(64 << 10, "Stranger: 1\r\n"), "200");
    assert_eq!(ask((64 << 10) + 1, "Stranger: 1\r\n"), "401");
    assert_eq!(ask(1 << 20, ""), "200");
}

#[test]
fn two_hundred_kept_alive_connections_are_all_served() {
    let house = House::new();
    let mut clients: Vec<_> = (0..200).map(|_| house.client()).collect();
    for _ in 0..2 {
        for client in &mut clients {
            client.send("GET /hello HTTP/1.1\r\nHost: h\r\n\r\n");
        }
        for client in &mut clients {
            assert_eq!(client.answer(false).body, b"hello");
        }
    }
}

#[test]
fn it_outlives_a_lack_of_files() {
    alone("it_outlives_a_lack_of_files", "ulimit -n 128;", || {
        let house = House::new();
        assert_eq!(house.get("/hello").status, 200);
        house.until("quiet", |s| s.connections == 0);
        let (mut hog, mut late) = (Vec::new(), Vec::new());
        let until = Instant::now() + PATIENCE;
        while house.edge.stats().accept_errors == 0 {
            assert!(Instant::now() < until, "never: accept fails");
            while let Ok(file) = std::fs::File::open("/dev/null") {
                hog.push(file);
            }
            hog.pop();
            late.extend(TcpStream::connect(house.address())); // takes the last file there is
            thread::sleep(Duration::from_millis(5));
        }
        drop(hog);
        for socket in late {
            let answer = Client::new(socket).ask("GET /hello HTTP/1.1\r\nHost: h\r\n\r\n");
            assert_eq!(answer.body, b"hello", "who waited is served");
        }
    });
}

// ---- streams ---------------------------------------------------------------------------------------------------------

#[test]
fn a_stream_begins_with_padding_and_follows_the_feed_to_its_end() {
    let house = House::new();
    house.inside.feed.say("one");
    let mut client = events(&house, "");
    let head = client.head();
    assert_eq!(
        (head.status, head.field("content-type")),
        (200, Some("text/event-stream; charset=utf-8"))
    );
    assert_eq!(
        (head.field("x-accel-buffering"), head.field("cache-control")),
        (Some("no"), Some("no-store"))
    );
    assert_eq!(
        (head.field("content-length"), head.field("connection")),
        (None, Some("close"))
    );
    assert!(head.field("content-security-policy").is_some() && head.field("x-lamplighter-stream").is_none());
    let start = client.up_to("data: one\n\n");
    assert!(start.starts_with("retry: 3000\n:") && start.len() > 2048, "{start}");
    assert!(start.ends_with("id: 1\nevent: line\ndata: one\n\n"));
    for n in 2..200 {
        house.inside.feed.say(format!("line {n}"));
    }
    let lines = client.up_to("data: line 199\n\n");
    assert_eq!(lines.matches("event: line").count(), 198, "none missed, none twice");
    house.inside.feed.say("END");
    client.up_to(": end\n\n");
    assert!(client.at_end());
    house.until("the place is free", |s| s.streams == 0 && s.connections == 0);
}

#[test]
fn a_browser_that_comes_back_gets_what_it_missed() {
    let house = House::new();
    for n in 1..=9 {
        house.inside.feed.say(format!("{n}"));
    }
    let mut client = events(&house, "Last-Event-ID: 6\r\n");
    client.head();
    assert!(
        client
            .up_to("data: 9\n\n")
            .ends_with("id: 7\nevent: line\ndata: 7\n\nid: 8\nevent: line\ndata: 8\n\nid: 9\nevent: line\ndata: 9\n\n")
    );
}

#[test]
fn a_quiet_stream_beats_and_an_old_one_ends() {
    let house = House::with(|config| {
        config.limits.heartbeat = Duration::from_millis(50);
        config.limits.stream_age = Duration::from_millis(1500);
    });
    let mut client = events(&house, "");
    let ping = "event: ping\ndata: {}\n\n";
    client.up_to(&ping.repeat(3));
    client.up_to(": end\n\n");
    assert!(client.at_end());
}

#[test]
fn only_the_head_of_a_stream_for_who_asks_only_for_that() {
    let house = House::new();
    let said = house.shout(b"HEAD /events HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(
        said.contains("text/event-stream") && said.ends_with("\r\n\r\n"),
        "{said}"
    );
    house.until("nothing is kept", |s| s.streams == 0);
}

#[test]
fn who_hangs_up_frees_the_place() {
    let house = House::with(|config| config.limits.heartbeat = Duration::from_millis(50));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let mut client = events(&house, "");
            client.head();
            client
        })
        .collect();
    let ninth = events(&house, "").answer(false);
    assert_eq!((ninth.status, ninth.text()), (503, "too_many_streams_of_user"));
    drop(clients);
    house.until("all free", |s| s.streams == 0 && s.connections == 0);
    assert_eq!(events(&house, "").head().status, 200);
    house.until("and again", |s| s.streams == 0);
}

#[test]
fn a_source_that_fails_ends_its_streams_so_that_browsers_come_back() {
    let house = House::new();
    for (failure, from) in [("FAIL", 0), ("PANIC", 2)] {
        let mut clients: Vec<_> = (0..8)
            .map(|_| events(&house, &format!("Last-Event-ID: {from}\r\n")))
            .collect();
        clients.iter_mut().for_each(|c| drop(c.head()));
        house.inside.feed.say("one");
        clients.iter_mut().for_each(|c| drop(c.up_to("data: one\n\n")));
        house.inside.feed.say(failure);
        for client in &mut clients {
            client.up_to(": end\n\n");
            assert!(client.at_end());
        }
    }
}

#[test]
fn a_stalled_client_costs_only_itself() {
    let house = House::with(impatient);
    let mut stalled = events(&house, "");
    stalled.head();
    let mut healthy = events(&house, "");
    healthy.head();
    let feed = Arc::clone(&house.inside.feed);
    let talker = thread::spawn(move || {
        for _ in 0..2000 {
            feed.say("x".repeat(10_000));
        }
        feed.say("last");
    });
    let all = healthy.up_to("data: last\n\n");
    assert_eq!(all.matches("event: line").count(), 2001);
    talker.join().unwrap();
    house.until("the stalled one is given up", |s| s.streams == 1);
    drop((healthy, stalled));
    house.inside.feed.say("END");
    house.until("all free", |s| s.streams == 0);
}

// ---- the end ---------------------------------------------------------------------------------------------------------

#[test]
fn a_drain_ends_the_idle_and_lets_the_busy_finish() {
    let house = House::new();
    let mut idle = house.client();
    assert_eq!(idle.ask("GET /hello HTTP/1.1\r\nHost: h\r\n\r\n").status, 200);
    let mut stream = events(&house, "");
    stream.head();
    let mut busy = house.client();
    busy.send("GET /slow?1000 HTTP/1.1\r\nHost: h\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n");
    house.until("inside", |s| s.in_flight == 1 && s.streams == 1);
    let address = house.address();
    thread::scope(|scope| {
        let drain = scope.spawn(|| house.edge.drain(PATIENCE));
        stream.up_to(": end\n\n");
        assert!(stream.at_end() && idle.at_end());
        let answer = busy.answer(false);
        assert_eq!((answer.text(), answer.field("connection")), ("slow", Some("close")));
        assert!(busy.at_end(), "nothing more on this connection");
        assert_eq!(drain.join().unwrap(), 0);
    });
    assert!(TcpStream::connect(address).is_err(), "the door is shut");
    finished(house);
}

#[test]
fn a_drain_cuts_who_takes_too_long() {
    let house = House::new();
    let mut busy = house.client();
    busy.send("GET /slow?3000 HTTP/1.1\r\nHost: h\r\n\r\n");
    house.until("inside", |s| s.in_flight == 1);
    assert_eq!(house.edge.drain(Duration::from_millis(200)), 1);
    assert!(busy.at_end());
    eventually("the handler has ended", || {
        house.inside.late.load(Ordering::SeqCst) == 1
    });
    // The place inside is given back first, then the memory, then the seat.
    house.until("left", |s| (s.connections, s.in_flight, s.buffered_bytes) == (0, 0, 0));
    finished(house);
}

/// For tests that stop the edge themselves: the harness cannot make its last request.
fn finished(house: House) {
    let end = house.edge.stats();
    assert_eq!(
        (end.connections, end.in_flight, end.buffered_bytes, end.streams),
        (0, 0, 0, 0),
        "{end:?}"
    );
    assert_eq!(house.seen("/smuggled"), 0);
    std::fs::remove_dir_all(&house.folder).unwrap();
    std::mem::forget(house);
}

// ---- TLS -------------------------------------------------------------------------------------------------------------

const CERT: &[u8] = include_bytes!("../data/edge/cert.pem");
const KEY: &[u8] = include_bytes!("../data/edge/key.pem");
const CERT_2: &[u8] = include_bytes!("../data/edge/cert2.pem");
const KEY_2: &[u8] = include_bytes!("../data/edge/key2.pem");

type TlsClient = Client<rustls::StreamOwned<rustls::ClientConnection, TcpStream>>;

fn tls_client(address: SocketAddr, cert: &[u8], versions: &[&'static rustls::SupportedProtocolVersion]) -> TlsClient {
    use rustls::pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(rustls::pki_types::CertificateDer::from_pem_slice(cert).unwrap())
        .unwrap();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = rustls::ClientConnection::new(Arc::new(config), "lamp.test".try_into().unwrap()).unwrap();
    Client::new(rustls::StreamOwned::new(client, connect(address)))
}

/// A plain listener first (for the harness's own checks), a TLS one second.
fn tls_house(change: impl FnOnce(&mut Config)) -> (House, Arc<Tls>, SocketAddr) {
    let tls = Tls::new(tls_config(CERT, KEY).unwrap());
    let door = Arc::clone(&tls);
    let house = House::on(change, |socket| {
        let second = TcpListener::bind("127.0.0.1:0").unwrap();
        vec![Listener::plain(socket), Listener::tls(second, door).unwrap()]
    });
    let address = house.edge.addresses()[1];
    (house, tls, address)
}

#[test]
fn everything_works_over_tls_too() {
    let (house, tls, address) = tls_house(|_| {});
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut client = tls_client(address, CERT, &[version]);
        let peer = client.ask("GET /peer HTTP/1.1\r\nHost: lamp.test\r\n\r\n");
        assert!(peer.text().contains(" true ") && peer.field("strict-transport-security") == Some("max-age=0"));
        for path in ["/big", "/handed"] {
            let large = client.ask(&format!("GET {path}?3000000 HTTP/1.1\r\nHost: h\r\n\r\n"));
            assert_eq!(large.body.len(), 3_000_000);
        }
        let body = "b".repeat(500_000);
        let post = format!(
            "POST /form HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        assert_eq!(client.ask(&post).text(), body);
        client.send("GET /events HTTP/1.1\r\nHost: h\r\n\r\n");
        client.head();
        house.inside.feed.say("secretly");
        client.up_to("data: secretly\n\n");
        // More than the client takes at once.
        for _ in 0..400 {
            house.inside.feed.say("x".repeat(10_000));
        }
        house.inside.feed.say("at last");
        thread::sleep(Duration::from_millis(300));
        let all = client.up_to("data: at last\n\n");
        assert_eq!(all.matches("x\n\n").count(), 400);
    }
    house.inside.feed.say("END");
    house.until("streams end", |s| s.streams == 0);
    // A renewed certificate is shown from the next connection on.
    tls.swap(tls_config(CERT_2, KEY_2).unwrap());
    assert_eq!(
        tls_client(address, CERT_2, rustls::ALL_VERSIONS)
            .ask("GET /hello HTTP/1.1\r\nHost: h\r\n\r\n")
            .status,
        200
    );
    assert!(tls_config(CERT, KEY_2).is_err() && tls_config(b"", KEY).is_err() && tls_config(CERT, b"junk").is_err());
}

#[test]
fn who_does_not_speak_tls_is_cut_off() {
    let (house, _, address) = tls_house(impatient);
    assert_eq!(rest(&mut connect(address)), "", "silent");
    let mut other = connect(address);
    other.write_all(b"\x05\x01\x00 hello\r\n\r\n").unwrap();
    assert!(!rest(&mut other).contains("hello"));
    let mut half = connect(address);
    half.write_all(&[22, 3, 1, 2, 0, 1]).unwrap();
    rest(&mut half);
    house.until("counted", |s| s.handshake_errors == 3);
}

#[test]
fn who_speaks_http_at_a_tls_door_is_sent_to_https() {
    let public = Arc::new(Policy {
        public: Some(Url::parse("https://lamp.example").unwrap()),
        hsts_s: 86_400,
        ..Policy::default()
    });
    let policy = |config: &mut Config| config.policy = Box::new(move || Arc::clone(&public));
    let tls = Tls::own(tls_config(CERT, KEY).unwrap());
    let house = House::on(policy, |socket| {
        let [second, third] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        vec![
            Listener::plain(socket),
            Listener::tls(second, tls).unwrap(),
            Listener::redirect(third, 443),
        ]
    });
    let (both, only) = (house.edge.addresses()[1], house.edge.addresses()[2]);
    let ask = |at, request: &str| Client::new(connect(at)).ask(request);
    for (at, method, host, target, place) in [
        (
            both,
            "GET",
            "h:80",
            "/a?b=%2F",
            format!("https://h:{}/a?b=%2F", both.port()),
        ),
        (both, "POST", "[::1]", "/", format!("https://[::1]:{}/", both.port())),
        (both, "GET", "lamp.example", "/x", "https://lamp.example/x".into()),
        (only, "GET", "10.0.0.1", "/x", "https://10.0.0.1/x".into()),
        (
            only,
            "DELETE",
            "lamp.example:80",
            "//evil",
            "https://lamp.example//evil".into(),
        ),
    ] {
        let answer = ask(at, &format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(
            (answer.status, answer.field("location")),
            (308, Some(&*place)),
            "{host}"
        );
        assert_eq!(answer.field("connection"), Some("close"));
        assert!(answer.field("strict-transport-security").is_none() && answer.body.is_empty());
    }
    // What is no request is refused here, too, and nothing of it comes inside.
    assert_eq!(ask(both, "GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n").status, 400);
    assert_eq!(ask(only, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").status, 400);
    assert_eq!(house.seen("/a"), 0);
    // A certificate of our own making binds no browser to it.
    let mut own = tls_client(both, CERT, rustls::ALL_VERSIONS);
    let hello = own.ask("GET /peer HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(hello.text().contains(" true ") && hello.field("strict-transport-security").is_none());
}

#[test]
fn who_may_not_come_in_is_turned_away_before_the_first_word() {
    // Loopback is always let in: this machine's own address is somebody else's.
    let own = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    });
    let Ok(own) = own.map(|own| own.ip()) else {
        eprintln!("NOT RUN: this machine has no address but loopback");
        return;
    };
    let policy = Arc::new(Policy {
        allow_from: vec![Cidr::parse("203.0.113.0/24").unwrap()],
        ..Policy::default()
    });
    let tls = Tls::new(tls_config(CERT, KEY).unwrap());
    let house = House::on(
        |config| config.policy = Box::new(move || Arc::clone(&policy)),
        |socket| {
            let [second, third] = [(); 2].map(|()| TcpListener::bind((own, 0)).unwrap());
            vec![
                Listener::plain(socket),
                Listener::plain(second),
                Listener::tls(third, tls).unwrap(),
            ]
        },
    );
    let [plain, secret] = [1, 2].map(|n| house.edge.addresses()[n]);
    let said = rest(&mut connect(plain));
    assert!(
        said.starts_with("HTTP/1.1 403 ") && said.contains("address_not_allowed"),
        "{said}"
    );
    assert_eq!(rest(&mut connect(secret)), "");
    assert_eq!(house.refused("address_not_allowed"), 2);
    assert_eq!(house.get("/hello").status, 200);
}

#[test]
fn slow_handshakes_hold_nobody_up() {
    let (house, _, address) = tls_house(|config| {
        config.limits.connections_max = 40;
        config.limits.handshake = PATIENCE;
    });
    // More than there are places, silent or in the middle of their first word.
    let slow: Vec<_> = (0..60)
        .map(|n| {
            let mut socket = connect(address);
            // It may be put out at once, for a newcomer.
            let _ = socket.write_all(&[22, 3, 1, 2, 0, 1][..n % 6]);
            socket
        })
        .collect();
    for _ in 0..3 {
        let mut client = tls_client(address, CERT, rustls::ALL_VERSIONS);
        assert_eq!(client.ask("GET /hello HTTP/1.1\r\nHost: h\r\n\r\n").status, 200);
    }
    assert!(house.edge.stats().evicted > 20, "{:?}", house.edge.stats());
    drop(slow);
}

#[test]
fn a_tls_stream_notices_its_client_leaving() {
    let (house, _, address) = tls_house(|config| config.limits.heartbeat = Duration::from_millis(50));
    let mut polite = tls_client(address, CERT, rustls::ALL_VERSIONS);
    polite.send("GET /events HTTP/1.1\r\nHost: h\r\n\r\n");
    polite.head();
    let mut rude = tls_client(address, CERT, rustls::ALL_VERSIONS);
    rude.send("GET /events HTTP/1.1\r\nHost: h\r\n\r\n");
    rude.head();
    polite.socket.conn.send_close_notify();
    polite.socket.flush().unwrap();
    house.until("it heard the goodbye", |s| s.streams == 1);
    drop(rude);
    house.until("and the silence", |s| s.streams == 0);
}
