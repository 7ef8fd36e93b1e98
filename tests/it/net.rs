//! HTTP clients against misbehaving servers.

use crate::fake;

use fake::{FINGERPRINT, Fake, data, endless, http};
use lamplighter::base::clock::{self, Duration, Instant};
use lamplighter::base::error::{Error, Kind, Result};
use lamplighter::base::host::Host;
use lamplighter::base::process::Cancel;
use lamplighter::base::random;
use lamplighter::base::secret::Secret;
use lamplighter::net::dial::{Call, Security};
use lamplighter::net::get;
use lamplighter::net::http::{Method, Request, Route, open, send};
use lamplighter::net::policy::Policy;
use lamplighter::net::tls::Pin;
use lamplighter::net::tls_probe::probe;
use lamplighter::net::visit::Visit;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};

struct Ask {
    host: &'static str,
    port: u16,
    security: Security,
    policy: Policy,
    patience: Duration,
}

fn of(fake: &Fake) -> Ask {
    Ask {
        host: "127.0.0.1",
        port: fake.port,
        security: Security::Plain,
        policy: Policy::Server,
        patience: Duration::from_secs(20),
    }
}

/// Status, media type and body, as both clients read them: the one for polls and the one for everything else.
fn ask(ask: Ask) -> Result<(u16, String, Vec<u8>)> {
    let host = Host::parse(ask.host).unwrap();
    let call = || Call {
        host: &host,
        port: ask.port,
        security: ask.security,
        policy: ask.policy,
        connect_max: Duration::from_secs(10),
        until: clock::mono() + ask.patience,
    };
    let silent = |e: &lamplighter::base::error::Error| {
        assert!(!e.to_string().contains("c4n4ry") && !e.to_string().contains("secret"));
    };
    let token = Secret::new("Bearer c4n4ry");
    let polled = get::get(&call(), "/secret/path?q=1", Some(&token), 1 << 20).inspect_err(silent);
    let polled = polled.map(|a| (a.status, a.content_type.clone(), a.body.to_vec()));
    let request = Request {
        method: Method::Get,
        path: &Secret::new("/secret/path?q=1"),
        content_type: "application/json",
        headers: &[("authorization", "Bearer c4n4ry".to_string())],
        body: b"",
        route: Route::Direct,
    };
    let asked = send(&call(), &request, 1 << 20).inspect_err(silent);
    let asked = asked.and_then(|a| match (a.fault, a.status) {
        (Some(fault), 200) => Err(fault),
        _ => Ok((a.status, a.content_type, a.body)),
    });
    match (&polled, &asked) {
        (Ok(polled), Ok(asked)) if polled.0 == 200 => assert_eq!(polled, asked),
        (Ok(polled), Ok(asked)) => assert_eq!((polled.0, &polled.1), (asked.0, &asked.1)),
        // `ureq` does not tell broken chunks, or a chunk that is announced too large, from chunks that end too early.
        (Err(polled), Err(asked)) if ["not_http", "too_large"].contains(&polled.code) && asked.code == "cut_short" => {}
        (Err(polled), Err(asked)) => assert_eq!(polled.code, asked.code, "{polled} / {asked}"),
        _ => panic!("{polled:?} / {asked:?}"),
    }
    polled
}

fn code(result: Result<(u16, String, Vec<u8>)>) -> &'static str {
    result.expect_err("an error").code
}

#[test]
fn an_answer_is_read_whatever_its_framing() {
    let body = data("glances/3.4.0.5/full/all.json");
    type Framing = Box<dyn Fn(&[u8]) -> Vec<u8>>;
    let framings: [(&str, Framing); 4] = [
        (
            "length",
            Box::new(|b| http("200 OK", "application/json; charset=utf-8", b)),
        ),
        ("chunked", Box::new(|b| chunked(b, 1000))),
        ("tiny chunks", Box::new(|b| chunked(b, 1))),
        (
            "until closed",
            Box::new(|b| [b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n", b].concat()),
        ),
    ];
    for (name, framing) in framings {
        let bytes = framing(&body);
        let fake = Fake::new(move |_, peer| drop(peer.write_all(&bytes)));
        assert_eq!(
            ask(of(&fake)).unwrap(),
            (200, "application/json".into(), body.clone()),
            "{name}"
        );
        let head = fake.seen().remove(0);
        assert!(head.starts_with("GET /secret/path?q=1 HTTP/1.1\r\n"), "{head}");
        for line in [
            &format!("Host: 127.0.0.1:{}", fake.port),
            "Connection: close",
            "Authorization: Bearer c4n4ry",
        ] {
            assert!(head.contains(&format!("\r\n{line}\r\n")), "{line} in {head}");
        }
    }
}

fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut out = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for part in body.chunks(size) {
        write!(out, "{:X};ext=1\r\n", part.len()).unwrap();
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\nTrailer: x\r\n\r\n");
    out
}

#[test]
fn an_answer_that_drips_in_byte_by_byte_is_read_if_it_ends_in_time() {
    let fake = Fake::new(|_, peer| {
        for byte in [
            b"HTTP/1.1 100 Continue\r\n\r\n".as_slice(),
            &http("200 OK", "text/plain", b"slow"),
        ]
        .concat()
        {
            let _ = peer.write_all(&[byte]);
        }
    });
    assert_eq!(ask(of(&fake)).unwrap().2, b"slow");
}

#[test]
fn whatever_is_wrong_has_its_own_name() {
    let cases: [(&str, &[u8]); 14] = [
        ("empty", b""),
        ("cut_short", b"HTTP/1.1 200 OK\r\nContent-Le"),
        ("cut_short", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"),
        (
            "cut_short",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n",
        ),
        (
            "cut_short",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFF\r\nabc",
        ),
        ("not_http", b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n\r\n"),
        ("not_http", b"\x15\x03\x01\x00\x02\x02\x46\r\n\r\n"),
        (
            "not_http",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        ),
        (
            "not_http",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabcd\r\n",
        ),
        (
            "not_http",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
        ),
        (
            "not_http",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\n",
        ),
        (
            "encoded",
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b",
        ),
        ("too_large", b"HTTP/1.1 200 OK\r\nContent-Length: 1048577\r\n\r\n"),
        (
            "too_large",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n100001\r\n",
        ),
    ];
    for (name, bytes) in cases {
        let fake = Fake::new(move |_, peer| drop(peer.write_all(bytes)));
        assert_eq!(code(ask(of(&fake))), name, "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn no_peer_can_make_us_wait_or_grow() {
    let endings: [(&str, &[u8], &[u8]); 5] = [
        ("read_timeout", b"", b""),
        (
            "read_timeout",
            b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
            b"x",
        ),
        ("read_timeout", b"HTTP/1.1 200 OK\r\nX-Drip: ", b"x"),
        (
            "read_timeout",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"1\r\nx\r\n",
        ),
        ("read_timeout", b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
    ];
    for (name, first, drip) in endings {
        let fake = Fake::new(move |_, peer| {
            let _ = peer.write_all(first);
            match drip {
                b"" => std::thread::sleep(Duration::from_secs(5)),
                drip => endless(peer, drip, Duration::from_millis(20)),
            }
        });
        let began = Instant::now();
        assert_eq!(
            code(ask(Ask {
                patience: Duration::from_millis(400),
                ..of(&fake)
            })),
            name
        );
        assert!(
            began.elapsed() < Duration::from_secs(4),
            "the deadline is for the whole, not for each byte"
        );
    }
    // Fast and without end: the size stops it long before the time.
    let floods: [(&str, &[u8], Vec<u8>); 4] = [
        ("too_large", b"HTTP/1.1 200 OK\r\n\r\n", vec![b'x'; 60_000]),
        (
            "too_large",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            [b"EA60\r\n".as_slice(), &[b'x'; 60_000], b"\r\n"].concat(),
        ),
        (
            "not_http",
            b"HTTP/1.1 200 OK\r\n",
            b"X-More: and more and more\r\n".repeat(100),
        ),
        ("not_http", b"", b"HTTP/1.1 100 Continue\r\n\r\n".repeat(100)),
    ];
    for (name, first, flood) in floods {
        let fake = Fake::new(move |_, peer| {
            let _ = peer.write_all(first);
            endless(peer, &flood, Duration::ZERO);
        });
        assert_eq!(code(ask(of(&fake))), name);
    }
}

#[test]
fn the_page_of_an_error_is_read_as_far_as_it_helps() {
    let fake = Fake::new(|_, peer| {
        let _ = peer.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\n\r\n");
        endless(peer, &[b'x'; 1000], Duration::ZERO);
    });
    assert_eq!(ask(of(&fake)).unwrap(), (502, "text/html".into(), Vec::new()));
    let fake = Fake::new(|_, peer| drop(peer.write_all(&http("400 Bad Request", "text/html", b"why"))));
    assert_eq!(ask(of(&fake)).unwrap().2, b"why");
}

#[test]
fn no_redirect_is_followed_and_no_credential_leaves() {
    let other = Fake::new(|_, peer| drop(peer.write_all(&http("200 OK", "text/plain", b"caught"))));
    let to = format!(
        "HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:{}/\r\nContent-Length: 0\r\n\r\n",
        other.port
    );
    let fake = Fake::new(move |_, peer| drop(peer.write_all(to.as_bytes())));
    assert_eq!(ask(of(&fake)).unwrap().0, 301);
    assert!(other.seen().is_empty());
}

#[test]
fn nobody_at_home_and_no_such_name_are_told_apart() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nobody = |host, port| Ask {
        host,
        port,
        security: Security::Plain,
        policy: Policy::Server,
        patience: Duration::from_secs(20),
    };
    assert_eq!(code(ask(nobody("127.0.0.1", free))), "refused");
    assert!(["name_unknown", "name_slow"].contains(&code(ask(nobody("nobody.invalid", free)))));
    for never in [
        "169.254.169.254",
        "0.0.0.0",
        "255.255.255.255",
        "224.0.0.1",
        "::ffff:169.254.169.254",
        "fe80::1",
    ] {
        assert_eq!(code(ask(nobody(never, 80))), "address_refused", "{never}");
    }
}

#[test]
fn a_name_is_judged_by_the_address_it_leads_to() {
    let fake = Fake::new(|_, peer| drop(peer.write_all(&http("200 OK", "text/plain", b"inside"))));
    let by_name = |policy| {
        ask(Ask {
            host: "localhost",
            policy,
            ..of(&fake)
        })
    };
    assert_eq!(code(by_name(Policy::Public)), "address_refused");
    assert!(fake.seen().is_empty(), "not a byte was sent");
    assert_eq!(by_name(Policy::Server).unwrap().2, b"inside");
}

#[test]
fn a_certificate_is_trusted_by_its_pin_alone() {
    let fake = Fake::tls(|_, peer| drop(peer.write_all(&http("200 OK", "text/plain", b"sealed"))));
    let pinned = |text: &str| Security::Pinned(Pin::parse(text).unwrap());
    let right = pinned(&FINGERPRINT.to_lowercase().replace(':', ""));
    assert_eq!(
        ask(Ask {
            security: right,
            ..of(&fake)
        })
        .unwrap()
        .2,
        b"sealed"
    );
    assert_eq!(fake.seen().len(), 2, "one from each client");

    let refused = |security| -> Error { ask(Ask { security, ..of(&fake) }).expect_err("a refusal") };
    let wrong = refused(pinned(&"ab".repeat(32)));
    assert_eq!((wrong.code, wrong.kind), ("tls_certificate", Kind::Upstream));
    assert!(
        wrong.say.contains("not the pinned one") && wrong.say.contains(FINGERPRINT),
        "{}",
        wrong.say
    );

    let unknown = refused(Security::Tls);
    assert_eq!(unknown.code, "tls_certificate");
    assert!(
        unknown.say.contains(FINGERPRINT),
        "what to compare and pin: {}",
        unknown.say
    );
    assert_eq!(fake.seen().len(), 2, "no request was sent to a stranger");
}

#[test]
fn plain_and_tls_mixed_up_are_told_apart() {
    let plain = Fake::new(|_, peer| drop(peer.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")));
    // Bytes of a TLS hello hold no empty line: this server waits, as many do, until the asker gives up, or answers at once.
    let silent = code(ask(Ask {
        security: Security::Tls,
        patience: Duration::from_millis(500),
        ..of(&plain)
    }));
    assert_eq!(silent, "read_timeout");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let _ = client.unwrap().write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let answer = ask(Ask {
        security: Security::Tls,
        port,
        ..of(&plain)
    });
    assert_eq!(code(answer), "tls_not_spoken");
    let tls = Fake::tls(|_, _| {});
    assert_eq!(code(ask(of(&tls))), "tls_expected");
}

/// One server all the time, whose certificate changes: as nginx, it takes sessions up again after that.
#[derive(Debug)]
struct Renewed {
    certificates: [Arc<CertifiedKey>; 2],
    is_new: AtomicBool,
}

impl ResolvesServerCert for Renewed {
    fn resolve(&self, _: ClientHello) -> Option<Arc<CertifiedKey>> {
        Some(self.certificates[usize::from(self.is_new.load(Ordering::SeqCst))].clone())
    }
}

#[test]
fn a_look_at_a_certificate_takes_up_no_session_of_a_visit_before() {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certified = |cert: &str, key: &str| {
        let chain = vec![CertificateDer::from_pem_slice(&data(cert)).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(&data(key)).unwrap();
        Arc::new(CertifiedKey::from_der(chain, key, &provider).unwrap())
    };
    let renewed = Arc::new(Renewed {
        certificates: [
            certified("edge/cert.pem", "edge/key.pem"),
            certified("edge/cert2.pem", "edge/key2.pem"),
        ],
        is_new: AtomicBool::new(false),
    });
    let config = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(renewed.clone());
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut tcp in listener.incoming().map_while(std::result::Result::ok) {
            let mut tls = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = rustls::Stream::new(&mut tls, &mut tcp);
            let mut asked = [0; 1024];
            if stream.read(&mut asked).is_ok_and(|n| n > 0) {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            }
        }
    });
    let host = Host::parse("127.0.0.1").unwrap();
    let call = Call {
        host: &host,
        port,
        security: Security::Plain,
        policy: Policy::Server,
        connect_max: Duration::from_secs(10),
        until: clock::mono() + Duration::from_secs(20),
    };
    let shown = || probe(&call, "site.example").unwrap().leaf().to_vec();
    let leaf = |n: usize| renewed.certificates[n].cert[0].to_vec();
    // An answer that is read brings the session's ticket with it.
    let mut visit = Visit::begin(call, Some("site.example"), Duration::from_secs(5)).unwrap();
    let answer = visit.get("site.example", "/", Duration::from_secs(5), 100).unwrap();
    assert_eq!((answer.status, &*answer.body), (200, b"ok".as_slice()));
    assert_eq!(shown(), leaf(0));
    renewed.is_new.store(true, Ordering::SeqCst);
    assert_eq!(shown(), leaf(1), "today's, not that of the visit");
}

/// A server on a Unix socket of its own; the folder goes with it.
struct Socket(PathBuf);

impl Socket {
    /// Answers each connection after its request's head.
    fn new(answer: impl Fn(&str, &mut dyn Write) + Send + 'static) -> Socket {
        let dir = std::env::temp_dir().join(format!("ll-{}", &random::name()[..12]));
        std::fs::create_dir(&dir).unwrap();
        let listener = UnixListener::bind(dir.join("s")).unwrap();
        std::thread::spawn(move || {
            for mut client in listener.incoming().map_while(std::result::Result::ok) {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if client.read(&mut byte).unwrap_or(0) == 0 {
                        break;
                    }
                    head.push(byte[0]);
                }
                answer(&String::from_utf8(head).unwrap(), &mut client);
            }
        });
        Socket(dir)
    }

    fn path(&self) -> PathBuf {
        self.0.join("s")
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn host() -> Host {
    Host::parse("docker.example").unwrap()
}

fn within(host: &Host, port: u16, patience: Duration) -> Call<'_> {
    Call {
        host,
        port,
        security: Security::Plain,
        policy: Policy::Server,
        connect_max: patience,
        until: clock::mono() + patience,
    }
}

fn request<'a>(path: &'a Secret, route: Route<'a>) -> Request<'a> {
    Request {
        method: Method::Get,
        path,
        content_type: "*/*",
        headers: &[],
        body: b"",
        route,
    }
}

const LONG: Duration = Duration::from_secs(20);

#[test]
fn a_unix_socket_is_asked_as_any_server_is() {
    let (host, path) = (host(), Secret::new("/_ping?x=1"));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let server = Socket::new({
        let seen = seen.clone();
        move |head, client| {
            seen.lock().unwrap().push(head.to_string());
            let _ = client.write_all(&http("200 OK", "text/plain", b"OK"));
        }
    });
    let ask = |at: &Path| send(&within(&host, 80, LONG), &request(&path, Route::Unix(at)), 100);
    let answer = ask(&server.path()).unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"OK".as_slice()));
    let head = seen.lock().unwrap().remove(0);
    assert!(head.starts_with("GET /_ping?x=1 HTTP/1.1\r\n"), "{head}");
    assert!(head.to_lowercase().contains("\r\nhost: docker.example\r\n"), "{head}");
    assert_eq!(ask(&server.0.join("nothing")).unwrap_err().code, "refused");
    assert_eq!(ask(&server.0).unwrap_err().code, "refused", "a folder is no socket");
    assert_eq!(ask(Path::new(&"/x".repeat(60))).unwrap_err().code, "local_network");
    // One that listens and takes nobody: the queue is full at once, and the time is over.
    let deaf = UnixListener::bind(server.0.join("deaf")).unwrap();
    lamplighter::base::sys::listen_backlog(&deaf, 0).unwrap();
    let kept: Vec<_> =
        std::iter::from_fn(|| lamplighter::base::sys::connect_unix(&server.0.join("deaf")).ok()).collect();
    assert!(!kept.is_empty());
    let call = within(&host, 80, Duration::from_millis(300));
    let e = send(&call, &request(&path, Route::Unix(&server.0.join("deaf"))), 100).unwrap_err();
    assert_eq!(e.code, "connect_timeout");
}

const EVENTS: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

fn chunk(text: &str) -> Vec<u8> {
    format!("{:x}\r\n{text}\r\n", text.len()).into_bytes()
}

#[test]
fn a_stream_gives_each_piece_when_it_comes() {
    let path = Secret::new("/events");
    // The second event is sent when the first has been read.
    let (read, wait) = mpsc::channel();
    let wait = Mutex::new(wait);
    let talk = move |client: &mut dyn Write| {
        let _ = client.write_all(&[EVENTS, &chunk("id: 1\ndata: one\n"), &chunk("\n: ping\n\n")].concat());
        wait.lock().unwrap().recv_timeout(LONG).unwrap();
        let _ = client.write_all(&[chunk("event: end\ndata: two\n\n"), b"0\r\n\r\n".to_vec()].concat());
    };
    let talk = Arc::new(talk);
    let fake = Fake::new({
        let talk = talk.clone();
        move |_, mut client| talk(&mut client)
    });
    let server = Socket::new(move |_, client| talk(client));
    let (tcp_host, unix_host, socket) = (Host::parse("127.0.0.1").unwrap(), host(), server.path());
    for (host, port, route) in [
        (&tcp_host, fake.port, Route::Direct),
        (&unix_host, 80, Route::Unix(&socket)),
    ] {
        let call = within(host, port, LONG);
        let (response, mut stream) = open(&call, &request(&path, route), LONG, &Cancel::new()).unwrap();
        assert_eq!(
            (response.status, response.content_type.as_str()),
            (200, "text/event-stream")
        );
        let first = stream.event(1_000).unwrap().unwrap();
        assert_eq!(
            (first.name.as_str(), first.data.as_str(), first.id.as_str()),
            ("message", "one", "1")
        );
        read.send(()).unwrap();
        let second = stream.event(1_000).unwrap().unwrap();
        assert_eq!(
            (second.name.as_str(), second.data.as_str(), second.id.as_str()),
            ("end", "two", "1")
        );
        assert_eq!(stream.event(1_000).unwrap(), None);
    }
}

#[test]
fn a_stream_may_last_but_not_be_silent_and_is_broken_off_from_elsewhere() {
    let (host, path) = (Host::parse("127.0.0.1").unwrap(), Secret::new("/events"));
    let idle = Duration::from_millis(400);
    // Far longer than the whole call may take, and then no more.
    let fake = Fake::new(|_, client| {
        let _ = client.write_all(EVENTS);
        for n in 0..30 {
            std::thread::sleep(Duration::from_millis(30));
            let _ = client.write_all(&chunk(&format!("{n}\n")));
        }
        let mut end = [0];
        let _ = client.read(&mut end); // until the asker goes
    });
    let call = within(&host, fake.port, Duration::from_millis(700));
    let (_, mut stream) = open(&call, &request(&path, Route::Direct), idle, &Cancel::new()).unwrap();
    for n in 0..30 {
        assert_eq!(stream.line(100).unwrap(), Some(n.to_string()));
    }
    let e = stream.line(100).unwrap_err();
    assert_eq!((e.code, e.kind), ("stream_silent", Kind::Timeout));
    // Somebody has enough.
    let cancel = Cancel::new();
    let (_, mut stream) = open(
        &call_of(&host, fake.port),
        &request(&path, Route::Direct),
        LONG,
        &cancel,
    )
    .unwrap();
    assert_eq!(stream.line(100).unwrap().as_deref(), Some("0"));
    let e = std::thread::scope(|scope| {
        scope.spawn(|| cancel.cancel());
        loop {
            if let Err(e) = stream.line(100) {
                break e;
            }
        }
    });
    assert_eq!(e.code, "cancelled");
    let refused = open(
        &call_of(&host, fake.port),
        &request(&path, Route::Direct),
        LONG,
        &cancel,
    );
    assert_eq!(refused.err().unwrap().code, "cancelled");
    // A line without an end, and a body that ends too early.
    let fake = Fake::new(|_, client| {
        let _ = client.write_all(EVENTS);
        endless(client, &chunk(&"x".repeat(10_000)), Duration::ZERO);
    });
    let call = call_of(&host, fake.port);
    let (_, mut stream) = open(&call, &request(&path, Route::Direct), LONG, &Cancel::new()).unwrap();
    assert_eq!(stream.line(1 << 16).unwrap_err().code, "too_large");
    let fake = Fake::new(|_, client| drop(client.write_all(&[EVENTS, b"20\r\nhalf"].concat())));
    let call = call_of(&host, fake.port);
    let (_, mut stream) = open(&call, &request(&path, Route::Direct), LONG, &Cancel::new()).unwrap();
    assert_eq!(stream.line(100).unwrap_err().code, "cut_short");
}

fn call_of(host: &Host, port: u16) -> Call<'_> {
    within(host, port, LONG)
}
