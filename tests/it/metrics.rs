//! Metrics from the poll to the chart: Glances servers of all kinds, and a store that is killed.

use crate::fake;

use fake::{Fake, Peer, data, endless, http};
use lamplighter::base::clock::{DAY, Duration, HOUR, Instant, MINUTE, Ms};
use lamplighter::base::error::{self, Result};
use lamplighter::base::host::Host;
use lamplighter::base::id::{Id, Server};
use lamplighter::base::random;
use lamplighter::base::secret::Secret;
use lamplighter::db::{Db, Durability, schema};
use lamplighter::features::fleet::latest;
use lamplighter::features::fleet::metrics::{
    self, Disk, Outcome, PollAuth, PollTarget, Polled, Poller, Recorder, Sample,
};
use lamplighter::features::fleet::servers::Availability;
use lamplighter::net::dial::Security;
use lamplighter::schedule::pool::Bounds;
use lamplighter::series::rollup::ROLLED;
use lamplighter::series::window::PERIODS;
use lamplighter::series::{Keep, Key, Kind, Observation, Seen, Series, Store, Subject, Unit, Value, Window, chunk};
use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

// --- the wire ---------------------------------------------------------------------------------------------------------

/// A Glances of this version: its API's one path, everything else is its 404.
fn glances(version: &'static str) -> Fake {
    Fake::new(move |head, peer| answer(version, head, peer))
}

fn answer(version: &str, head: &str, peer: &mut dyn Peer) {
    let path = head.split(' ').nth(1).unwrap_or_default();
    let out = match (path == format!("/api/{}/all", &version[..1]), &version[..1]) {
        (true, _) => http(
            "200 OK",
            "application/json",
            &data(&format!("glances/{version}/full/all.json")),
        ),
        (false, "3") => http(
            "404 Not Found",
            "text/html",
            b"<html><h1>Error: 404 Not Found</h1></html>",
        ),
        (false, _) => http("404 Not Found", "application/json", br#"{"detail":"Not Found"}"#),
    };
    let _ = peer.write_all(&out);
}

fn target(fake: &Fake) -> PollTarget {
    PollTarget {
        server: Id::new(7),
        revision: 1,
        security: Security::Plain,
        host: Host::parse("127.0.0.1").unwrap(),
        port: fake.port,
        policy: lamplighter::net::policy::Policy::Server,
        path: "/api/3/all".into(),
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

fn paths(fake: &Fake) -> Vec<String> {
    fake.seen()
        .iter()
        .map(|head| head.split(' ').nth(1).unwrap().to_string())
        .collect()
}

#[test]
fn a_glances_4_behind_the_default_path_is_found_and_remembered() {
    let fake = glances("4.3.3");
    let mut target = target(&fake);
    let first = metrics::poll(&mut target);
    let seen = first.result.as_ref().unwrap();
    assert_eq!(
        (seen.path.as_str(), seen.sample.api, seen.sample.version.as_deref()),
        ("/api/4/all", 4, Some("4.3.3"))
    );
    assert_eq!(seen.sample.hostname.as_deref(), Some("web-01.example.net"));
    assert!(first.skew_ms().is_some());
    metrics::poll(&mut target).result.unwrap();
    assert_eq!(
        paths(&fake),
        ["/api/3/all", "/api/4/all", "/api/4/all"],
        "the second poll goes straight there"
    );
    assert_eq!(target.path, "/api/3/all", "the person's path stays");

    let probed = metrics::probe(&target).unwrap();
    assert_eq!(
        probed.say,
        "Nothing is at /api/3/all, but /api/4/all works: Glances 4.3.3. Lamplighter uses that."
    );
}

#[test]
fn nothing_outside_of_the_given_prefix_is_asked() {
    // A proxy with box-a below /a/ and another machine at its root.
    let fake = Fake::new(|head, peer| {
        let out = match head.split(' ').nth(1).unwrap_or_default() {
            "/a/api/4/all" | "/api/4/all" => http("200 OK", "application/json", &data("field/ok.json")),
            _ => http("404 Not Found", "text/html", b""),
        };
        let _ = peer.write_all(&out);
    });
    let poll = |path: &str, seen: Option<&str>| {
        let before = fake.seen().len();
        let mut target = PollTarget {
            path: path.into(),
            path_seen: seen.map(str::to_string),
            ..target(&fake)
        };
        let found = metrics::poll(&mut target)
            .result
            .map(|seen| seen.path)
            .unwrap_or_default();
        (found, paths(&fake).split_off(before).join(" "))
    };
    let a = || "/a/api/4/all".to_string();
    assert_eq!(poll("/a/api/3/all", None), (a(), format!("/a/api/3/all {}", a())));
    assert_eq!(poll("/a/", None), (a(), format!("/a/ {}", a())));
    assert_eq!(poll("/a", None), (a(), format!("/a {}", a())));
    assert_eq!(poll("/a/api/", None), (a(), format!("/a/api/ {}", a())));
    // What was remembered from elsewhere is forgotten.
    assert_eq!(poll("/a/api/3/all", Some("/api/4/all")).0, a());
    assert_eq!(
        poll("/b/api/3/all", Some("/api/4/all")),
        (String::new(), "/b/api/3/all /b/api/4/all".into())
    );
    assert_eq!(
        poll("/api/b", None),
        (String::new(), "/api/b /api/b/api/4/all /api/b/api/3/all".into())
    );
}

#[test]
fn bytes_are_counted_once_where_layers_lie_above_each_other() {
    let seen = |file: &str| metrics::parse(&data(&format!("field/{file}.json"))).unwrap();
    assert_eq!(seen("net-bond-lacp").net_rx, Some(100e6));
    assert_eq!(seen("net-vlan-bridge").net_rx, Some(100e6));
    assert_eq!(seen("diskio-zvol-drbd").disk_read, Some(50e6));
    assert_eq!(seen("ok").net_rx, Some(1_000.0), "no loopback");
    // Who has nothing else keeps the lowest of what there is.
    let only = |names: &[&str]| {
        let one = |name: &&str| format!(r#"{{"interface_name":"{name}","bytes_recv_rate_per_sec":7.0}}"#);
        let all: Vec<String> = names.iter().map(one).collect();
        let body = format!(r#"{{"uptime":"1:00:00","network":[{}]}}"#, all.join(","));
        metrics::parse(body.as_bytes()).unwrap().net_rx
    };
    assert_eq!(only(&["lo", "veth0"]), Some(7.0));
    assert_eq!(only(&["lo", "bond0", "bond0.20"]), Some(7.0));
    assert_eq!(only(&["lo", "eth1.20"]), Some(7.0), "a VLAN given to a container");
    assert_eq!(only(&["lo"]), None);
    let disks = |names: &[&str]| {
        let one = |name: &&str| format!(r#"{{"disk_name":"{name}","read_bytes_rate_per_sec":7.0}}"#);
        let all: Vec<String> = names.iter().map(one).collect();
        let body = format!(r#"{{"uptime":"1:00:00","diskio":[{}]}}"#, all.join(","));
        metrics::parse(body.as_bytes()).unwrap().disk_read
    };
    assert_eq!(disks(&["sda", "md0", "dm-0"]), Some(7.0));
    assert_eq!(
        disks(&["md0", "dm-0", "dm-1"]),
        Some(7.0),
        "LVM on an array whose disks are not seen"
    );
    assert_eq!(disks(&["dm-0", "dm-1"]), Some(14.0), "two volumes are all that is seen");
}

#[test]
fn who_goes_dark_is_looked_at_from_the_other_doors() {
    let fake = Fake::new(|_, peer| drop(peer.write_all(&http("404 Not Found", "text/html", b""))));
    let sshd = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = sshd.local_addr().unwrap().port();
    let mut target = PollTarget {
        ssh: (Host::parse("127.0.0.1").unwrap(), port),
        ..target(&fake)
    };
    let mut look = || metrics::poll(&mut target).host;
    assert_eq!((look(), look()), (None, None));
    let seen = look().expect("the third miss makes it dark");
    assert!(
        seen.contains(&format!("Z ssh port {port} answers, web port 80 ")),
        "{seen}"
    );
    assert_eq!((0..9).filter_map(|_| look()).count(), 0);
    assert!(look().is_some(), "now and then it is looked at again");
}

#[test]
fn what_is_read_only_with_nothing_free_cannot_fill() {
    let sample = metrics::parse(&data("field/fs-images-always-full.json")).unwrap();
    let mounts: Vec<&str> = sample.disks.iter().map(|d| d.mount.as_str()).collect();
    assert_eq!(mounts, ["/"]);
}

#[test]
fn a_downgrade_is_noticed() {
    let fake = glances("3.3.1.1");
    let mut target = PollTarget {
        path_seen: Some("/api/4/all".into()),
        ..target(&fake)
    };
    let seen = metrics::poll(&mut target).result.unwrap();
    assert_eq!((seen.path.as_str(), seen.sample.api), ("/api/3/all", 3));
    assert_eq!(target.path_seen, None);
    assert_eq!(
        metrics::probe(&target).unwrap().say,
        "Glances 3.x answers at /api/3/all."
    );
}

#[test]
fn credentials_are_sent_as_the_server_wants_them() {
    let fake = Fake::new(|head, peer| {
        // What nginx and both Glances compare with: base64 of UTF-8 "monitor:pa:ss wörd".
        if head.contains("\r\nAuthorization: Basic bW9uaXRvcjpwYTpzcyB3w7ZyZA==\r\n")
            || head.contains("\r\nAuthorization: Bearer t0ken\r\n")
        {
            return answer("3.4.0.5", head, peer);
        }
        let _ = peer.write_all(&http(
            "401 Unauthorized",
            "text/html",
            &data("glances/behind-nginx/noauth.html"),
        ));
    });
    let basic = |password: &str| PollAuth::Basic {
        user: "monitor".into(),
        password: Secret::new(password),
    };
    let poll = |auth| metrics::poll(&mut PollTarget { auth, ..target(&fake) }).result;
    assert!(poll(basic("pa:ss wörd")).is_ok());
    assert!(poll(PollAuth::Token(Secret::new("t0ken"))).is_ok());
    for (auth, words) in [
        (PollAuth::None, "asks for a password"),
        (basic("wr0ng"), "does not accept this user and password"),
        (PollAuth::Token(Secret::new("wr0ng")), "does not accept this token"),
    ] {
        let e = poll(auth).unwrap_err();
        assert_eq!((e.code, e.kind), ("glances_auth", error::Kind::Upstream));
        assert!(e.say.contains(words) && !e.to_string().contains("wr0ng"), "{e}");
    }
    let line_break = poll(PollAuth::Token(Secret::new("a\r\nX-Evil: 1"))).unwrap_err();
    assert_eq!(line_break.code, "bad_request");
}

#[test]
fn a_tls_connection_is_kept_and_its_end_in_between_is_nobodys_failure() {
    let asked = Arc::new(Mutex::new(0));
    let (count, whole) = (asked.clone(), data("glances/3.4.0.5/full/all.json"));
    let fake = Fake::tls(move |_, peer| {
        // Three answers a connection: then the first connection is closed, and from the second on it falls silent.
        for n in 0.. {
            *count.lock().unwrap() += 1;
            if peer
                .write_all(&http("200 OK", "application/json", &whole))
                .and_then(|()| peer.flush())
                .is_err()
            {
                return;
            }
            let closes = *count.lock().unwrap() <= 3;
            if n == 2 && closes {
                return;
            }
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") {
                match peer.read(&mut byte) {
                    Ok(1) => head.push(byte[0]),
                    _ => return,
                }
            }
            if n == 2 {
                std::thread::sleep(Duration::from_secs(20));
                return;
            }
        }
    });
    let mut target = PollTarget {
        security: metrics::security("https", fake::FINGERPRINT).unwrap(),
        ..target(&fake)
    };
    let mut poll = || {
        let outcome = metrics::poll(&mut target);
        assert_eq!(
            outcome.result.as_ref().map(|s| s.sample.cpu_percent).unwrap(),
            Some(97.9)
        );
        outcome.took_ms
    };
    for _ in 0..3 {
        poll();
    }
    assert_eq!(fake.seen().len(), 1, "one connection for three polls");
    assert!(fake.seen()[0].contains("Connection: keep-alive"));
    for _ in 0..3 {
        poll();
    }
    assert_eq!(
        fake.seen().len(),
        2,
        "it was closed in between, and a new one was made within the poll"
    );
    assert!(
        poll() >= 1_900,
        "a connection that was forgotten is given up in time for a new one"
    );
    assert_eq!((fake.seen().len(), *asked.lock().unwrap()), (3, 7));
}

#[test]
fn every_way_to_fail_has_its_own_sentence() {
    let html = |name: &str| data(&format!("glances/behind-nginx/{name}.html"));
    let redirect =
        b"HTTP/1.1 301 Moved Permanently\r\nLocation: https://mon.example.net/api/3/all\r\nContent-Length: 0\r\n\r\n";
    let cases: Vec<(&str, &str, Vec<u8>)> = vec![
        (
            "glances_redirect",
            "https://mon.example.net/api/3/all",
            redirect.to_vec(),
        ),
        (
            "glances_wants_tls",
            "https",
            http("400 Bad Request", "text/html", &html("plain_to_tls")),
        ),
        (
            "glances_proxy",
            "502",
            http("502 Bad Gateway", "text/html", &html("bad_gateway")),
        ),
        (
            "glances_proxy",
            "504",
            http("504 Gateway Time-out", "text/html", &html("gateway_timeout")),
        ),
        ("glances_forbidden", "403", http("403 Forbidden", "text/html", b"no")),
        (
            "glances_path",
            "/api/3/all (404)",
            http(
                "404 Not Found",
                "application/json",
                &data("glances/bent/detail-404.json"),
            ),
        ),
        (
            "glances_html",
            "web page",
            http("200 OK", "text/html", &data("glances/bent/html-login.html")),
        ),
        (
            "glances_html",
            "web page",
            http("200 OK", "application/json", b"\n<!doctype html>"),
        ),
        (
            "glances_nothing",
            "nothing that Glances sends",
            http("200 OK", "application/json", &data("glances/behind-nginx/http1.json")),
        ),
        (
            "glances_not_json",
            "cut short",
            http("200 OK", "application/json", &data("glances/bent/truncated.json")),
        ),
        ("glances_status", "429", http("429 Slow", "text/plain", b"")),
        (
            "encoded",
            "compresses",
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n".to_vec(),
        ),
        (
            "too_large",
            "4 MiB",
            b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n".to_vec(),
        ),
        (
            "not_http",
            "no web server",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nboo\r\n".to_vec(),
        ),
        ("empty", "without an answer", Vec::new()),
    ];
    for (code, words, bytes) in cases {
        let fake = Fake::new(move |_, peer| drop(peer.write_all(&bytes)));
        let outcome = metrics::poll(&mut target(&fake));
        let e = outcome.result.expect_err(code);
        assert_eq!(e.code, code, "{e}");
        assert!(e.say.contains(words) && e.say.starts_with("127.0.0.1:"), "{}", e.say);
    }
}

#[test]
fn a_poll_tries_once_more_when_the_line_broke() {
    let broken = AtomicBool::new(false);
    let fake = Fake::new(move |head, peer| {
        if broken.swap(true, Ordering::SeqCst) {
            answer("3.4.0.5", head, peer);
        }
    });
    assert!(metrics::poll(&mut target(&fake)).result.is_ok());
    assert_eq!(fake.seen().len(), 2);
    // So does one whose server failed for once, with whatever said so.
    let failed = AtomicBool::new(false);
    let restarting = Fake::new(move |head, peer| {
        if failed.swap(true, Ordering::SeqCst) {
            return answer("3.4.0.5", head, peer);
        }
        let _ = peer.write_all(&http("503 Service Unavailable", "text/html", b""));
    });
    let outcome = metrics::poll(&mut target(&restarting));
    assert_eq!(
        (outcome.result.is_ok(), outcome.tries, restarting.seen().len()),
        (true, 2, 2)
    );
    let slept = AtomicBool::new(false);
    let slow = Fake::new(move |head, peer| {
        if !slept.swap(true, Ordering::SeqCst) {
            std::thread::sleep(Duration::from_secs(6)); // longer than a try may take
        }
        answer("3.4.0.5", head, peer);
    });
    let outcome = metrics::poll(&mut target(&slow));
    assert_eq!((outcome.result.is_ok(), outcome.tries), (true, 2));
    let wrong = Fake::new(|_, peer| drop(peer.write_all(&http("401 No", "text/html", b""))));
    assert!(metrics::poll(&mut target(&wrong)).result.is_err());
    assert_eq!(wrong.seen().len(), 1, "a wrong password is wrong the second time too");
}

// --- the pool ---------------------------------------------------------------------------------------------------------

#[derive(Default)]
struct Lamps {
    lamps: HashMap<i64, Availability>,
    /// Server, new status, code.
    changes: Vec<(i64, &'static str, Option<String>)>,
    polls: HashMap<i64, usize>,
}

impl Lamps {
    fn take(&mut self, batch: &[Outcome]) {
        for outcome in batch {
            let server = outcome.server.get();
            *self.polls.entry(server).or_default() += 1;
            let fresh = Availability {
                status: "provisioning",
                since: 0,
                fail_count: 0,
                missed_since: None,
                error: None,
                host: None,
            };
            let before = self.lamps.get(&server).cloned().unwrap_or(fresh);
            let result = outcome.result.as_ref().map(drop);
            let (after, change) = metrics::step(&before, result, outcome.at_ms, outcome.fail_threshold);
            let code = after.error.clone().map(|(code, _)| code);
            self.changes.extend(change.map(|c| (server, c.to, code)));
            self.lamps.insert(server, after);
        }
    }
}

/// Handles outcomes as a poller does: stores samples, updates availability.
fn taker(store: Recorder, lamps: &Arc<Mutex<Lamps>>) -> impl Fn(Vec<Outcome>) -> Result<()> + Send + Sync + 'static {
    let lamps = lamps.clone();
    move |batch| {
        let polls: Vec<Polled> = batch.iter().filter_map(Outcome::polled).collect();
        store.add(&polls)?;
        lamps.lock().unwrap().take(&batch);
        Ok(())
    }
}

/// Waits for something that must happen; the minute is for a machine that is busy with other things.
fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "it did not come: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn hanging_hosts_hold_their_own_threads_and_nobody_elses() {
    let good = glances("3.4.0.5");
    let hanging = Fake::new(|_, _| std::thread::sleep(Duration::from_secs(30)));
    let dripping = Fake::new(|_, peer| {
        let _ = peer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
        endless(peer, b"x", Duration::from_millis(50));
    });
    let folder = Folder::new();
    let lamps: Arc<Mutex<Lamps>> = Arc::default();
    let poller = Poller::start(taker(folder.store(), &lamps), Bounds { min: 2, max: 16 }).unwrap();
    let often = |server: i64, fake: &Fake| PollTarget {
        server: Id::new(server),
        interval: Duration::from_millis(200),
        fail_threshold: 1,
        ..target(fake)
    };
    // Three bad ones for each thread of the beginning.
    let mut targets: Vec<_> = (1..=3)
        .flat_map(|i| [often(100 + i, &hanging), often(200 + i, &dripping)])
        .collect();
    targets.extend((1..=4).map(|i| often(i, &good)));
    poller.set_targets(targets);

    eventually("the good ones go round and round", || {
        let lamps = lamps.lock().unwrap();
        (1..=4)
            .all(|server| lamps.polls.get(&server).is_some_and(|n| *n >= 10))
            .then_some(())
    });
    assert!(poller.figures().threads > 6, "{:?}", poller.figures());
    eventually("the bad ones are told", || {
        let lamps = lamps.lock().unwrap();
        (101..=103)
            .chain(201..=203)
            .all(|s| lamps.changes.contains(&(s, "unreachable", Some("read_timeout".into()))))
            .then_some(())
    });
    poller.stop();
    let latest = folder.latest(1..=300);
    assert_eq!(latest.len(), 4);
    assert!(latest[&ONE].sample.get().contains("\"cpu_percent\":97.9"));
}

/// Every way of being a bad host that costs its slot its deadline, or less, and nothing else. With the code it is told by.
fn rogues() -> Vec<(&'static str, Fake)> {
    let says = |bytes: &'static [u8]| Fake::new(move |_, peer| drop(peer.write_all(bytes)));
    let head = |head: &'static [u8], piece: &'static [u8], pause: u64| {
        Fake::new(move |_, peer| {
            let _ = peer.write_all(head);
            endless(peer, piece, Duration::from_millis(pause));
        })
    };
    static LOUD: [u8; 65_536] = [b'x'; 65_536];
    vec![
        (
            "read_timeout",
            Fake::new(|_, _| std::thread::sleep(Duration::from_secs(30))),
        ),
        ("read_timeout", head(b"", b"H", 100)), // drips a head
        ("read_timeout", head(b"HTTP/1.1 200 OK\r\nX-A: ", b"a", 50)), // a header without end
        (
            "read_timeout",
            head(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b" ", 50),
        ), // drips a body
        (
            "read_timeout",
            head(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                b"1\r\n \r\n",
                50,
            ),
        ),
        ("not_http", head(b"HTTP/1.1 200 OK\r\nX-A: ", &LOUD, 0)),
        ("not_http", head(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0)),
        ("too_large", head(b"HTTP/1.1 200 OK\r\n\r\n", &LOUD, 0)), // without length and without end
        (
            "too_large",
            says(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n"),
        ),
        (
            "too_large",
            head(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                b"8\r\nxxxxxxxx\r\n",
                0,
            ),
        ),
        (
            "encoded",
            says(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08"),
        ),
        (
            "encoded",
            says(b"HTTP/1.1 200 OK\r\nContent-Encoding: br, gzip\r\n\r\n"),
        ),
        ("encoded", says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n")),
        (
            "glances_failed",
            says(b"HTTP/1.1 500 Oh\r\nContent-Length: 50000000\r\n\r\nx"),
        ),
        ("not_http", says(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n\r\n")),
        ("glances_not_json", says(b"HTTP/1.1 200 OK\r\n\r\n\x00\xff\xfe{{{{[[[[")),
        ("empty", says(b"")),
    ]
}

#[test]
fn a_fleet_with_every_kind_of_rogue_polls_the_good_ones_as_if_they_were_alone() {
    let good = glances("4.3.3");
    let rogues = rogues();
    let refuses = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port(); // closed again
    let folder = Folder::new();
    let lamps: Arc<Mutex<Lamps>> = Arc::default();
    // Fewer threads than hosts that hang: those get half of them, and wait for each other.
    let poller = Poller::start(taker(folder.store(), &lamps), Bounds { min: 2, max: 8 }).unwrap();
    let often = |server: i64, port: u16| PollTarget {
        server: Id::new(server),
        interval: Duration::from_millis(500),
        fail_threshold: 2,
        port,
        policy: lamplighter::net::policy::Policy::Server,
        ..target(&good)
    };
    let mut targets: Vec<_> = (1..=4).map(|i| often(i, good.port)).collect();
    targets.push(often(99, refuses));
    targets.extend((100..).zip(&rogues).map(|(server, (_, fake))| often(server, fake.port)));
    targets.extend(
        (200..)
            .zip(rogues.iter().take(5))
            .map(|(server, (_, fake))| often(server, fake.port)),
    );
    let all = targets.len();
    poller.set_targets(targets);

    eventually("each rogue is told by its name", || {
        let lamps = lamps.lock().unwrap();
        let told = |server: i64, code: &str| lamps.changes.contains(&(server, "unreachable", Some(code.into())));
        let each = (100..).zip(&rogues).all(|(server, (code, _))| told(server, code));
        (each && told(99, "refused")).then_some(())
    });
    // By now the ten that hang have been sorted out (on a busy machine one that floods may be slow as well), and hold at
    // most their half of the threads.
    let figures = poller.figures();
    assert!(figures.items == all && (10..=13).contains(&figures.slow), "{figures:?}");
    let polls = |lamps: &Lamps| (1..=4).map(|server| lamps.polls[&server]).min().unwrap();
    let before = polls(&lamps.lock().unwrap());
    std::thread::sleep(Duration::from_secs(10));
    let rounds = polls(&lamps.lock().unwrap()) - before;
    // 20 rounds in ten seconds; alone on four threads with ten that hang for 5 s they would have had two or three. The
    // rest is for a machine that is busy with other things.
    assert!(rounds >= 12, "{rounds} rounds of the good ones in ten seconds");
    poller.stop();
    assert!(folder.latest(1..=300).len() == 4, "nothing of a rogue was stored");
}

#[test]
fn a_dark_host_is_asked_less_often_and_its_return_is_noticed_within_two_intervals() {
    let works = Arc::new(AtomicBool::new(false));
    let switch = works.clone();
    let steady = glances("3.4.0.5");
    let fake = Fake::new(move |head, peer| match switch.load(Ordering::SeqCst) {
        true => answer("3.4.0.5", head, peer),
        false => drop(peer.write_all(&http("502 Bad Gateway", "text/html", b""))),
    });
    let lamps: Arc<Mutex<Lamps>> = Arc::default();
    let folder = Folder::new();
    let poller = Poller::start(taker(folder.store(), &lamps), Bounds { min: 2, max: 4 }).unwrap();
    let every = |server: i64, fake: &Fake| PollTarget {
        server: Id::new(server),
        interval: Duration::from_millis(400),
        ..target(fake)
    };
    poller.set_targets(vec![every(1, &steady), every(2, &fake)]);
    // The steady one's polls are the clock: what holds for their number holds on a slow machine too.
    let asked = |fake: &Fake| fake.seen().len();
    // Three polls of two tries each; of a host that is down there is only one.
    eventually("it is dark", || (asked(&fake) >= 6).then_some(()));
    let (ticks, tries) = (asked(&steady), asked(&fake));
    eventually("twenty rounds", || (asked(&steady) >= ticks + 20).then_some(()));
    let more = asked(&fake) - tries;
    assert!((9..=11).contains(&more), "{more} polls in twenty rounds");
    works.store(true, Ordering::SeqCst);
    let (ticks, tries) = (asked(&steady), asked(&fake));
    eventually("it is asked again", || (asked(&fake) > tries).then_some(()));
    let rounds = asked(&steady) - ticks;
    assert!(rounds <= 3, "its return was noticed after {rounds} rounds");
    // From then on it is treated as the others.
    let (ticks, tries) = (asked(&steady), asked(&fake));
    eventually("ten rounds", || (asked(&steady) >= ticks + 10).then_some(()));
    assert!((9..=11).contains(&(asked(&fake) - tries)));
    eventually("it is lit", || {
        (lamps.lock().unwrap().lamps.get(&2)?.status == "ok").then_some(())
    });
    poller.stop();
}

#[test]
fn a_lamp_goes_dark_after_three_and_is_lit_by_one() {
    let works = Arc::new(AtomicBool::new(true));
    let switch = works.clone();
    let fake = Fake::new(move |head, peer| {
        if switch.load(Ordering::SeqCst) {
            answer("4.0.8", head, peer);
        } else {
            let _ = peer.write_all(&http("502 Bad Gateway", "text/html", b"<html>"));
        }
    });
    let folder = Folder::new();
    let lamps: Arc<Mutex<Lamps>> = Arc::default();
    let poller = Poller::start(taker(folder.store(), &lamps), Bounds { min: 1, max: 2 }).unwrap();
    poller.set_targets(vec![PollTarget {
        interval: Duration::from_millis(50),
        ..target(&fake)
    }]);
    let changes = |n: usize| {
        eventually("the lamp changes", || {
            Some(lamps.lock().unwrap().changes.clone()).filter(|changes| changes.len() >= n)
        })
    };
    assert_eq!(changes(1), [(7, "ok", None)]);
    works.store(false, Ordering::SeqCst);
    assert_eq!(changes(2)[1], (7, "unreachable", Some("glances_proxy".into())));
    assert!(lamps.lock().unwrap().lamps[&7].fail_count >= 3);
    works.store(true, Ordering::SeqCst);
    assert_eq!(changes(3)[2], (7, "ok", None));

    // Off the list: no more polls, also not of the one that was under way.
    poller.set_targets(Vec::new());
    eventually("nothing runs", || (poller.figures().busy == 0).then_some(()));
    let before = fake.seen().len();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(fake.seen().len(), before);
    poller.stop();
}

// --- the store --------------------------------------------------------------------------------------------------------

struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        let path = std::env::temp_dir().join(format!("lamplighter-test-{}", random::name()));
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("metrics.db")
    }

    fn db(&self) -> Db {
        Db::open(&self.file(), Durability::Normal, schema::METRICS).unwrap()
    }

    fn latest(&self, servers: std::ops::RangeInclusive<i64>) -> HashMap<Id<Server>, latest::Latest> {
        latest::of(&self.db(), servers.map(Id::new)).unwrap()
    }

    fn store(&self) -> Recorder {
        open(&self.file())
    }
}

fn open(path: &std::path::Path) -> Recorder {
    Recorder::trusting(Arc::new(Db::open(path, Durability::Normal, schema::METRICS).unwrap()))
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// 2027-01-15 08:00 UTC, in ms.
const T0: Ms = 1_800_000_000_000;
const ONE: Id<Server> = Id::new(1);
const TWO: Id<Server> = Id::new(2);

/// A server as a subject of series.
fn subject(server: Id<Server>) -> Subject {
    ("server", server.get())
}

fn cpu(percent: f64) -> Sample {
    Sample {
        cpu_percent: Some(percent),
        mem_percent: Some(50.0),
        api: 3,
        ..Sample::default()
    }
}

fn put(store: &Recorder, server: Id<Server>, at_ms: Ms, sample: &Sample) {
    store
        .add(&[Polled {
            server,
            at_ms,
            took_ms: 12,
            interval_s: 30,
            sample,
        }])
        .unwrap();
}

fn window(period: &str, now: Ms) -> Window {
    let (_, length) = PERIODS.iter().find(|(name, _)| *name == period).unwrap();
    Window::last(*length, (now / 1000) as u32, &Keep::default())
}

fn line(store: &Recorder, key: &str, period: &str, now: Ms) -> Vec<(Ms, f64, f64, f64)> {
    let all: Vec<Series> = store.history(subject(ONE), &window(period, now)).unwrap();
    all.into_iter()
        .find(|s| s.key == key)
        .map(|s| s.points)
        .unwrap_or_default()
}

/// What a chart must show, worked out from all samples at once.
fn chart(all: &[(Ms, f64)], period: &str, now: Ms) -> Vec<(Ms, f64, f64, f64)> {
    let window = window(period, now);
    let (step, first) = (Ms::from(window.step_s) * 1000, Ms::from(window.first));
    let mut slots: BTreeMap<Ms, Vec<f64>> = BTreeMap::new();
    for (at, value) in all.iter().filter(|(at, _)| *at / step >= first && *at <= now) {
        slots.entry(at / step * step).or_default().push(*value);
    }
    slots
        .into_iter()
        .map(|(at, values)| {
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let (min, max) = values
                .iter()
                .fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(*v), b.max(*v)));
            (at, mean, min, max)
        })
        .collect()
}

fn assert_same(got: &[(Ms, f64, f64, f64)], wanted: &[(Ms, f64, f64, f64)], what: &str) {
    assert_eq!(got.len(), wanted.len(), "{what}");
    for (g, w) in got.iter().zip(wanted) {
        let close = |a: f64, b: f64| (a - b).abs() < 0.002;
        assert!(
            g.0 == w.0 && close(g.1, w.1) && close(g.2, w.2) && close(g.3, w.3),
            "{what}: {g:?}, should be {w:?}"
        );
    }
}

#[test]
fn every_chart_shows_exactly_what_was_measured_through_gaps_and_restarts() {
    let folder = Folder::new();
    let mut store = folder.store();
    let mut all: Vec<(Ms, f64)> = Vec::new();
    let days = 9;
    let mut at = T0 - days * DAY;
    while at < T0 {
        let value = random::below(1001) as f64 / 10.0;
        put(&store, ONE, at, &cpu(value));
        all.push((at, value));
        at += match random::below(2_000) {
            0 => 5 * HOUR, // down for a while
            1 => {
                store = folder.store(); // a new process
                30_000
            }
            _ => 60_000 + random::below(2_000) as Ms, // 60 s and the jitter of a busy machine
        };
    }
    // Whole seconds are kept.
    let all: Vec<(Ms, f64)> = all.into_iter().map(|(at, v)| (at / 1000 * 1000, v)).collect();
    for (period, _) in PERIODS {
        assert_same(&line(&store, "cpu", period, T0), &chart(&all, period, T0), period);
    }
    // What is too old for its tier is gone: raw values are kept for an hour (and the rest of their chunk).
    let db = rusqlite::Connection::open(folder.file()).unwrap();
    let raw: i64 = db
        .query_row("SELECT count(*) FROM chunk WHERE id >> 60 = 1", [], |r| r.get(0))
        .unwrap();
    let series: i64 = db.query_row("SELECT count(*) FROM series", [], |r| r.get(0)).unwrap();
    assert!(raw <= 5 * series, "{raw} raw chunks of {series} series");
    assert!(folder.db().size().unwrap().file < 1_000_000);
}

#[test]
fn late_double_and_unknown_values_do_no_harm() {
    let folder = Folder::new();
    let store = folder.store();
    let none = Sample {
        mem_percent: Some(1.0),
        ..Sample::default()
    };
    // In disorder, one second twice, and one poll without a CPU value.
    for (minute, value) in [(5, 50.0), (1, 10.0), (3, 30.0), (1, 20.0)] {
        put(&store, ONE, T0 + minute * MINUTE, &cpu(value));
    }
    put(&store, ONE, T0 + 4 * MINUTE, &none);
    let got = line(&store, "cpu", "1h", T0 + 6 * MINUTE);
    let short: Vec<_> = got.iter().map(|(at, mean, ..)| ((at - T0) / MINUTE, *mean)).collect();
    assert_eq!(
        short,
        [(1, 20.0), (3, 30.0), (5, 50.0)],
        "of two in one second the newer counts; unknown is a gap"
    );
    // The clock stepping back makes older values, and they are counted once as well.
    for n in 0..600 {
        put(
            &store,
            ONE,
            T0 + (n % 300) * 30_000 + if n < 300 { 0 } else { 7_000 },
            &cpu(40.0),
        );
    }
    // The four of the beginning fell on the same seconds.
    assert_eq!(counted(&folder, ROLLED[0].number, "cpu"), 600, "each second once");
}

#[test]
fn what_was_folded_already_is_not_counted_again() {
    let folder = Folder::new();
    let store = folder.store();
    // The same hundred seconds twice, as after a restored clock: the first are folded when the second come.
    for _ in 0..2 {
        for n in 0..100 {
            put(&store, ONE, T0 + n * 30_000, &cpu(40.0));
        }
        store.tidy(T0 + 2 * HOUR, |_| true).unwrap(); // folds whoever was not heard of for an hour
    }
    for tier in &ROLLED {
        assert_eq!(counted(&folder, tier.number, "cpu"), 100, "tier {}", tier.number);
    }
}

#[test]
fn a_clock_that_jumps_ahead_takes_nothing_with_it() {
    let folder = Folder::new();
    let store = Recorder::new(Arc::new(folder.db())); // one that does not believe everything
    for n in 0..400 {
        put(&store, ONE, T0 + n * 30_000, &cpu(40.0));
    }
    let before = line(&store, "cpu", "6h", T0 + 400 * 30_000).len();
    // Ten years ahead for five hours, with the hourly clean-up and a restart in it; then back.
    let ahead = T0 + 3_650 * DAY;
    for n in 0..600 {
        put(&store, ONE, ahead + n * 30_000, &cpu(90.0));
    }
    store.tidy(ahead + 5 * HOUR, |_| true).unwrap();
    drop(store);
    let store = Recorder::new(Arc::new(folder.db()));
    for n in 600..900 {
        put(&store, ONE, ahead + n * 30_000, &cpu(90.0));
    }
    store.tidy(ahead + 12 * HOUR, |_| true).unwrap();
    for n in 400..500 {
        put(&store, ONE, T0 + n * 30_000, &cpu(40.0));
    }
    let now = T0 + 500 * 30_000;
    let after = line(&store, "cpu", "6h", now);
    assert!(
        before >= 200 && after.len() >= before + 45,
        "{before}, then {}",
        after.len()
    );
    assert!(
        after.iter().all(|(_, mean, ..)| *mean == 40.0),
        "the future is not shown"
    );
}

#[test]
fn how_long_values_are_kept_is_a_setting() {
    let folder = Folder::new();
    let store = folder.store();
    let fill = |from: Ms| {
        for n in 0..12 * 120 {
            put(&store, ONE, from + n * 30_000, &cpu(40.0));
        }
    };
    let raw = || -> i64 {
        let db = rusqlite::Connection::open(folder.file()).unwrap();
        db.query_row("SELECT count(*) FROM chunk WHERE id >> 60 = 1", [], |r| r.get(0))
            .unwrap()
    };
    fill(T0);
    let short = raw();
    {
        let conn = rusqlite::Connection::open_in_memory().unwrap();
        conn.execute_batch("CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT); INSERT INTO settings VALUES ('retention.raw_hours', '48')")
            .unwrap();
        store.set_keep(metrics::keep(&conn).unwrap());
    }
    fill(T0 + DAY);
    assert!(raw() >= short + 9, "{short}, then {}", raw());
}

#[test]
fn a_file_whose_servers_are_gone_gives_its_room_back() {
    let folder = Folder::new();
    let store = folder.store();
    let disks = |n: i64| Disk {
        mount: format!("/mnt/with/a/long/name/{n}"),
        device: format!("/dev/{n}"),
        percent: Some(10.0),
        ..Disk::default()
    };
    let sample = Sample {
        disks: (0..30).map(disks).collect(),
        ..cpu(1.0)
    };
    for server in 1..=400 {
        for n in 0..30 {
            put(&store, Id::new(server), T0 + n * 30_000, &sample);
        }
    }
    let db = folder.db();
    let full = db.size().unwrap();
    assert_eq!(db.shrink().unwrap(), 0, "there is nothing to give back");
    store.tidy(T0, |id| id.get() <= 40).unwrap();
    let emptied = db.size().unwrap();
    assert!(emptied.free > full.file / 2, "{emptied:?}");
    let given = db.shrink().unwrap();
    let shrunk = db.size().unwrap();
    assert_eq!(given, emptied.file - shrunk.file);
    assert!(
        shrunk.file < full.file / 4 && shrunk.free * 10 < shrunk.file,
        "{full:?}, then {shrunk:?}"
    );
    let on_disk = std::fs::metadata(folder.file()).unwrap().len();
    assert_eq!(on_disk, shrunk.file as u64, "also for the file system");
    assert_eq!(folder.latest(1..=400).len(), 40);
    assert_eq!(
        line(&store, "cpu", "1h", T0 + 20 * MINUTE).len(),
        30,
        "what stays is whole"
    );
}

#[test]
fn rows_that_somebody_has_yet_to_read_stay_as_they_are() {
    let folder = Folder::new();
    let store = folder.store();
    let held = (T0 / 1000) as u32 + 100 * 30;
    store.hold_from(Some(held)).unwrap();
    for n in 0..500 {
        put(&store, ONE, T0 + n * 30_000, &cpu(40.0));
    }
    let hot = || -> i64 {
        let db = rusqlite::Connection::open(folder.file()).unwrap();
        db.query_row("SELECT count(*) FROM hot", [], |r| r.get(0)).unwrap()
    };
    assert_eq!(hot(), 400);
    assert_eq!(counted(&folder, ROLLED[0].number, "cpu"), 500);
    assert_eq!(
        store.rows(subject(ONE), held + 30, held + 90).unwrap()[0].points.len(),
        2,
        "and may be read"
    );
    store.hold_from(None).unwrap();
    for n in 500..800 {
        put(&store, ONE, T0 + n * 30_000, &cpu(40.0));
    }
    assert!(hot() < 240, "{}", hot());
    assert_eq!(counted(&folder, ROLLED[0].number, "cpu"), 800);
}

/// How many values of ONE's series a tier and the hot rows hold together.
fn counted(folder: &Folder, tier: i64, key: &str) -> u32 {
    let db = rusqlite::Connection::open(folder.file()).unwrap();
    let series: i64 = db
        .query_row("SELECT id FROM series WHERE subject = 1 AND key = ?1", [key], |r| {
            r.get(0)
        })
        .unwrap();
    let blobs = |sql: &str| -> Vec<Vec<u8>> {
        let mut statement = db.prepare(sql).unwrap();
        statement
            .query_map([], |r| r.get(0))
            .unwrap()
            .map(std::result::Result::unwrap)
            .collect()
    };
    let folded = blobs(&format!(
        "SELECT data FROM chunk WHERE id >> 60 = {tier} AND (id >> 32) & 268435455 = {series}"
    ));
    let hot = blobs("SELECT data FROM hot WHERE id >> 32 = 1");
    folded
        .iter()
        .flat_map(|data| chunk::read_buckets(data).unwrap())
        .map(|b| b.count)
        .sum::<u32>()
        + hot
            .iter()
            .flat_map(|data| chunk::read_row(data).unwrap())
            .filter(|(id, _)| i64::from(*id) == series)
            .count() as u32
}

#[test]
fn the_last_poll_is_ready_for_lists() {
    let folder = Folder::new();
    let store = folder.store();
    for i in 0..70 {
        let gap = if i > 65 { 10 * MINUTE } else { 0 };
        put(&store, ONE, T0 + i * 30_000 + gap, &cpu(i as f64));
    }
    let disks = vec![Disk {
        mount: "/".into(),
        percent: Some(22.1),
        ..Disk::default()
    }];
    let last = Sample {
        disks: disks.clone(),
        hostname: Some("web-1".into()),
        ..Sample::default()
    };
    put(&store, ONE, T0 + 2 * HOUR, &last);
    let latest = folder.latest(1..=2); // as another process sees it
    assert_eq!(latest.len(), 1, "who was never reached is left out");
    let latest = &latest[&ONE];
    assert_eq!((latest.at_ms, latest.took_ms), (T0 + 2 * HOUR, 12));
    let cpus: Vec<_> = latest.spark.cpu().points().collect();
    assert_eq!(cpus.len(), 60);
    assert_eq!(
        cpus[cpus.len() - 2..],
        [None, None],
        "silence is a gap, and so is what was not measured"
    );
    assert_eq!(cpus[cpus.len() - 3], Some(69));
    assert_eq!(cpus[cpus.len() - 7], None, "ten minutes without a poll");
    let json: serde_json::Value = serde_json::from_str(latest.sample.get()).unwrap();
    assert_eq!(json["hostname"], "web-1");
    assert!(json["cpu_percent"].is_null() && json.get("disks").is_none());
    let mem = serde_json::to_value(latest.spark.mem()).unwrap();
    assert_eq!(mem.as_array().unwrap().len(), 60);
    let kept = latest::disks(&folder.db(), ONE).unwrap().unwrap();
    assert_eq!(serde_json::from_str::<Vec<Disk>>(kept.get()).unwrap(), disks);
}

#[test]
fn a_line_of_a_server_that_is_polled_once_an_hour_has_no_gaps() {
    let folder = Folder::new();
    let store = folder.store();
    let sample = cpu(7.0);
    let poll = |hour: Ms| Polled {
        server: ONE,
        at_ms: T0 + hour * HOUR,
        took_ms: 1,
        interval_s: 3_600,
        sample: &sample,
    };
    for hour in [0, 1, 2, 5] {
        store.add(&[poll(hour)]).unwrap();
    }
    let latest = &folder.latest(1..=1)[&ONE];
    let seven = Some(7);
    let cpus: Vec<_> = latest.spark.cpu().points().collect();
    assert_eq!(
        cpus,
        [seven, seven, seven, None, seven],
        "only two missed polls are a gap"
    );
}

static CONTAINERS: Kind = Kind {
    name: "container",
    source: "docker",
    keys: &[
        Key {
            name: "mem",
            unit: Unit::Bytes,
            part: "",
            metric: "lamplighter_container_memory_bytes",
            help: "Memory in use.",
        },
        Key {
            name: "net",
            unit: Unit::BytesPerSecond,
            part: "interface",
            metric: "lamplighter_container_network_bytes_per_second",
            help: "Received and sent.",
        },
    ],
    all: |_| Ok(Vec::new()),
    name_of: |_, _| Ok(None),
    on: |_, _| Ok(Default::default()),
    fingerprint: |_| Ok((0, 0)),
    silence_max: |_, _| Ok(0),
};

#[test]
fn anything_that_is_observed_has_series_and_none_is_taken_for_anothers() {
    let folder = Folder::new();
    let store = folder.store();
    let look = |id: i64, at_ms: Ms, seen: &[(usize, &'static str, f64)]| {
        let value = |(key, part, value): &(usize, &'static str, f64)| Value {
            key: *key,
            part,
            value: *value,
            is_kept: true,
            of: None,
        };
        let seen = Seen::Values(seen.iter().map(value).collect());
        let one = Observation {
            kind: &CONTAINERS,
            id,
            at_ms,
            seen,
        };
        Store::add(&store, &[one], |_| Ok(())).unwrap();
    };
    // The server 1 and the container 1, through several foldings.
    for n in 0..300 {
        put(&store, ONE, T0 + n * 30_000, &cpu(40.0));
        look(1, T0 + n * 30_000, &[(0, "", 5e9 + n as f64), (1, "eth0", 300.0)]);
    }
    // Two who look in the same second add to each other; of the same figure the newer counts.
    look(2, T0, &[(0, "", 7.0)]);
    look(2, T0 + 1, &[(1, "eth0", 100.0)]);
    look(2, T0 + 2, &[(1, "eth1", 200.0), (0, "", 8.0)]);
    let lines = |subject: Subject| -> Vec<(String, usize, f64)> {
        let all = store.history(subject, &window("6h", T0 + 300 * 30_000)).unwrap();
        let last = |s: &Series| s.points.last().map_or(0.0, |p| p.3);
        all.iter().map(|s| (s.key.clone(), s.points.len(), last(s))).collect()
    };
    assert_eq!(
        lines(("container", 1)),
        [("mem".into(), 150, 5e9 + 299.0), ("net:eth0".into(), 150, 300.0)]
    );
    assert_eq!(
        lines(("container", 2)),
        [
            ("mem".into(), 1, 8.0),
            ("net:eth0".into(), 1, 100.0),
            ("net:eth1".into(), 1, 200.0)
        ]
    );
    assert!(
        lines(("server", 1))
            .iter()
            .all(|(key, ..)| ["cpu", "mem", "poll"].contains(&&**key))
    );
    assert_eq!(lines(("server", 2)), []);
    // The tidying of servers that are gone takes no container along.
    store.tidy(T0 + DAY, |_| false).unwrap();
    assert_eq!((lines(("server", 1)).len(), lines(("container", 1)).len()), (0, 2));
    Store::forget(&store, ("container", 1), |_| Ok(())).unwrap();
    assert_eq!((lines(("container", 1)).len(), lines(("container", 2)).len()), (0, 3));
}

#[test]
fn disks_have_charts_of_their_own_up_to_a_limit() {
    let folder = Folder::new();
    let store = folder.store();
    for round in 0..10 {
        let disk = |n: i64| Disk {
            mount: format!("/mnt/{round}-{n}"),
            device: format!("/dev/{n}"),
            percent: Some(10.0),
            ..Disk::default()
        };
        let sample = Sample {
            disks: (0..10).map(disk).collect(),
            ..cpu(1.0)
        };
        put(&store, ONE, T0 + round * 30_000, &sample);
    }
    let all = store.history(subject(ONE), &window("1h", T0 + HOUR / 2)).unwrap();
    assert_eq!(all.iter().filter(|s| s.key.starts_with("disk:")).count(), 100);
    assert!(all.iter().any(|s| s.key == "disk:/mnt/0-3" && s.points[0].1 == 10.0));
    let whole = json_of(&folder, ONE);
    assert!(whole.get("uncharted").is_none(), "{whole}");

    // Of one poll the fullest, in whatever order they are sent.
    let disk = |n: i64| Disk {
        mount: format!("/srv/{n}"),
        device: format!("/dev/{n}"),
        percent: Some(if n == 49 { 99.0 } else { n as f64 }),
        ..Disk::default()
    };
    let sample = Sample {
        disks: (0..50).map(disk).collect(),
        ..cpu(1.0)
    };
    put(&store, TWO, T0, &sample);
    let all = store.history(subject(TWO), &window("1h", T0 + HOUR / 2)).unwrap();
    let keys: Vec<&str> = all.iter().filter_map(|s| s.key.strip_prefix("disk:/srv/")).collect();
    assert_eq!(keys.len(), 32);
    assert!(
        keys.contains(&"49") && keys.contains(&"18") && !keys.contains(&"17"),
        "{keys:?}"
    );
    // The others are named, the fullest first.
    let uncharted = &json_of(&folder, TWO)["uncharted"];
    assert_eq!(
        (&uncharted["count"], uncharted["mounts"].as_array().unwrap().len()),
        (&18.into(), 12)
    );
    assert_eq!(uncharted["mounts"][0], "/srv/17");
}

/// A server's last sample as the API gives it.
fn json_of(folder: &Folder, server: Id<Server>) -> serde_json::Value {
    let latest = latest::of(&folder.db(), [server]).unwrap().remove(&server).unwrap();
    serde_json::from_str(latest.sample.get()).unwrap()
}

#[test]
fn of_disks_that_come_and_go_the_one_not_seen_for_longest_makes_room() {
    let folder = Folder::new();
    let mut store = folder.store();
    let disk = |mount: String| Disk {
        device: mount.clone(),
        mount,
        percent: Some(10.0),
        ..Disk::default()
    };
    let poll = |store: &Recorder, round: i64| {
        // One stays; each round has 20 new ones.
        let mut disks: Vec<Disk> = (0..20).map(|n| disk(format!("/mnt/{round}-{n}"))).collect();
        disks.push(disk("/data".into()));
        put(store, ONE, T0 + round * 30_000, &Sample { disks, ..cpu(1.0) });
    };
    let charted = |store: &Recorder| -> Vec<String> {
        let all = store.history(subject(ONE), &window("1h", T0 + HOUR / 2)).unwrap();
        all.into_iter()
            .filter_map(|s| s.key.strip_prefix("disk:").map(String::from))
            .collect()
    };
    (0..6).for_each(|round| poll(&store, round));
    assert_eq!(charted(&store).len(), 121);
    store = folder.store(); // a restart: when they were seen is known by what is kept of them
    (6..9).for_each(|round| poll(&store, round));
    let kept = charted(&store);
    assert_eq!(kept.len(), 128, "{kept:?}");
    let of = |round: i64| kept.iter().filter(|m| m.starts_with(&format!("/mnt/{round}-"))).count();
    assert!(
        kept.contains(&"/data".into()) && (6..9).all(|round| of(round) == 20),
        "{kept:?}"
    );
    let data = store.history(subject(ONE), &window("1h", T0 + HOUR / 2)).unwrap();
    let data = data.iter().find(|s| s.key == "disk:/data").unwrap();
    assert_eq!(
        data.points
            .iter()
            .map(|(at, ..)| at)
            .collect::<std::collections::BTreeSet<_>>()
            .len(),
        9
    );
    let db = rusqlite::Connection::open(folder.file()).unwrap();
    let strays = "SELECT count(*) FROM chunk WHERE (id >> 32) & 0xfffffff NOT IN (SELECT id FROM series)";
    assert_eq!(
        db.query_row(strays, [], |r| r.get(0)),
        Ok(0),
        "nothing of the others is left"
    );
}

#[test]
fn who_is_gone_is_forgotten_and_who_is_dark_is_tidied() {
    let folder = Folder::new();
    let store = folder.store();
    for server in 1..=3 {
        for i in 0..50 {
            put(&store, Id::new(server), T0 + i * 30_000, &cpu(5.0));
        }
    }
    store.forget(Id::new(2)).unwrap();
    put(&store, Id::new(2), T0 + HOUR, &cpu(5.0)); // it was under way
    store.tidy(T0 + 2 * HOUR, |id| id.get() != 2).unwrap();
    let db = rusqlite::Connection::open(folder.file()).unwrap();
    let count = |sql: &str| -> i64 { db.query_row(sql, [], |r| r.get(0)).unwrap() };
    assert_eq!(count("SELECT count(*) FROM hot"), 0, "all folded");
    assert_eq!(count("SELECT count(DISTINCT subject) FROM series"), 2);
    assert_eq!(count("SELECT count(*) FROM server_latest"), 2);
    assert_eq!(line(&store, "cpu", "24h", T0 + 2 * HOUR).len(), 13);
    store.tidy(T0 + 400 * DAY, |_| true).unwrap();
    assert!(
        count("SELECT count(*) FROM chunk") <= 2 * 3,
        "a year later a chunk of days is left of each series"
    );
    store.tidy(T0 + 800 * DAY, |_| true).unwrap();
    assert_eq!(count("SELECT count(*) FROM chunk"), 0, "and then nothing");
}

#[test]
fn a_failed_write_leaves_nothing_half_done() {
    let folder = Folder::new();
    let store = folder.store();
    put(&store, ONE, T0, &cpu(1.0));
    let db = rusqlite::Connection::open(folder.file()).unwrap();
    db.execute_batch(
        "CREATE TRIGGER full BEFORE INSERT ON server_latest WHEN NEW.server = 3 BEGIN SELECT RAISE(FAIL, 'full'); END",
    )
    .unwrap();
    let samples = [cpu(2.0), cpu(3.0)];
    let batch: Vec<Polled> = [2, 3]
        .iter()
        .zip(&samples)
        .map(|(n, sample)| Polled {
            server: Id::new(*n),
            at_ms: T0 + MINUTE,
            took_ms: 1,
            interval_s: 30,
            sample,
        })
        .collect();
    assert!(store.add(&batch).is_err());
    assert_eq!(
        db.query_row("SELECT count(DISTINCT subject) FROM series", [], |r| r.get::<_, i64>(0))
            .unwrap(),
        1
    );
    db.execute_batch("DROP TRIGGER full").unwrap();
    store.add(&batch).unwrap();
    assert_eq!(folder.latest(1..=3).len(), 3);
    assert_eq!(
        store
            .history(subject(Id::new(2)), &window("1h", T0 + 2 * MINUTE))
            .unwrap()[0]
            .points
            .len(),
        1
    );
}

// --- the kill ---------------------------------------------------------------------------------------------------------

/// Not a test: the process that [`a_killed_process_loses_nothing_it_has_acknowledged`] kills.
#[test]
#[ignore = "started by another test"]
fn writes_until_killed() {
    let Some(path) = std::env::var_os("LAMPLIGHTER_TEST_DB") else {
        return;
    };
    let start: i64 = std::env::var("LAMPLIGHTER_TEST_START").unwrap().parse().unwrap();
    let store = open(path.as_ref());
    for n in start.. {
        put(&store, ONE, T0 + n * 30_000, &cpu(1.0));
        println!("{n}");
    }
}

#[test]
fn a_killed_process_loses_nothing_it_has_acknowledged() {
    let folder = Folder::new();
    let mut next = 0;
    for _ in 0..4 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "metrics::writes_until_killed", "--ignored", "--nocapture"])
            .env("LAMPLIGHTER_TEST_DB", folder.file())
            .env("LAMPLIGHTER_TEST_START", next.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(std::result::Result::ok);
        let mut acknowledged = lines.filter_map(|l| l.parse::<i64>().ok());
        // Somewhere around a folding, and then wherever the kill falls.
        let enough = 110 + random::below(200) as usize;
        let mut last = acknowledged.by_ref().take(enough).last().expect("it writes");
        child.kill().unwrap();
        last = acknowledged.last().unwrap_or(last);
        child.wait().unwrap();
        let kept = i64::from(counted(&folder, ROLLED[0].number, "cpu"));
        assert!(
            kept == last + 1 || kept == last + 2,
            "{kept} kept, {} acknowledged",
            last + 1
        );
        for tier in &ROLLED {
            assert_eq!(
                i64::from(counted(&folder, tier.number, "cpu")),
                kept,
                "tier {}",
                tier.number
            );
        }
        next = kept;
    }
    assert!(next > 400);
}
