//! The watch over answers, from outside: web servers on ports 80 and 443 of loopback addresses answer as they should or not, and
//! the daemon's evaluation is read.

use crate::{common, fake};

use common::*;
use lamplighter::base::clock::{self, HOUR, MINUTE};
use rusqlite::params;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Ports below 1024 need root, as which `tests/run` runs.
fn may_serve() -> bool {
    let free = TcpListener::bind("127.0.2.250:80").map(drop);
    match free {
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
            eprintln!("NOT RUN: port 80 may be opened by root only");
            false
        }
        _ => true,
    }
}

const BODY: &str = "fedcba9876543210fedcba9876543210";
const PATH: &str = "/.well-known/lamplighter/0123456789abcdef";

/// A site's file, as far as its proof and its port go.
fn text(tls: bool) -> String {
    let tls = if tls {
        "ssl_certificate /x; ssl_certificate_key /y; "
    } else {
        ""
    };
    format!("server {{ {tls}location = {PATH} {{ return 200 \"{BODY}\\n\"; }} }}\n")
}

/// How a web server behaves.
#[derive(Clone, Copy, PartialEq)]
enum Does {
    /// As deployed; the front page is a 404, which is its owner's business.
    Answer,
    /// The same, and the front page has this status.
    Front(u16),
    /// Somebody else's page for all that is asked.
    Else,
    /// Sends everybody elsewhere.
    Redirect,
    /// No HTTP.
    Babble,
    /// Takes the connection and says nothing.
    Nothing,
}

/// A web server that keeps connections and counts.
struct Web {
    does: Arc<Mutex<Does>>,
    /// Connections, and requests over them as `METHOD host path`.
    connections: Arc<AtomicUsize>,
    asked: Arc<Mutex<Vec<String>>>,
    at: String,
    stop: Arc<AtomicBool>,
    tls: bool,
}

impl Web {
    fn open(address: &str) -> Web {
        Web::start(format!("{address}:80"), false)
    }

    fn open_tls(address: &str) -> Web {
        Web::start(format!("{address}:443"), true)
    }

    fn start(at: String, tls: bool) -> Web {
        let web = Web {
            does: Arc::new(Mutex::new(Does::Answer)),
            connections: Arc::default(),
            asked: Arc::default(),
            at,
            stop: Arc::default(),
            tls,
        };
        web.listen();
        web
    }

    fn listen(&self) {
        let listener = eventually("its port is free", || TcpListener::bind(&self.at).ok());
        self.stop.store(false, Ordering::SeqCst);
        let (does, connections) = (self.does.clone(), self.connections.clone());
        let (asked, stop, tls) = (self.asked.clone(), self.stop.clone(), self.tls);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                connections.fetch_add(1, Ordering::SeqCst);
                let (does, asked, client) = (does.clone(), asked.clone(), client.unwrap());
                std::thread::spawn(move || {
                    let _ = client.set_read_timeout(Some(Duration::from_secs(20)));
                    let _ = client.set_nodelay(true);
                    if tls {
                        let session = rustls::ServerConnection::new(fake::tls_config()).unwrap();
                        converse(rustls::StreamOwned::new(session, client), &does, &asked);
                    } else {
                        converse(client, &does, &asked);
                    }
                });
            }
        });
    }

    fn does(&self, what: Does) {
        *self.does.lock().unwrap() = what;
    }

    /// From now on connections are refused.
    fn close(&self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(&self.at); // wakes accept
        eventually("it is closed", || TcpStream::connect(&self.at).is_err().then_some(()));
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(&self.at);
    }
}

fn converse(wire: impl Read + Write, does: &Mutex<Does>, asked: &Mutex<Vec<String>>) {
    let mut wire = BufReader::new(wire);
    if *does.lock().unwrap() == Does::Babble {
        let _ = wire.get_mut().write_all(b"220 mail.example ESMTP\r\n\r\n");
    }
    loop {
        let (mut first, mut host) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            match wire.read_line(&mut line) {
                Ok(n) if n > 0 => {}
                _ => return,
            }
            match line.trim_end() {
                "" => break,
                line if first.is_empty() => first = line.into(),
                line => host = line.strip_prefix("Host: ").map_or(host, String::from),
            }
        }
        let mut words = first.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        asked.lock().unwrap().push(format!("{method} {host} {path}"));
        let does = *does.lock().unwrap();
        let is_proof = path == PATH;
        let (status, more, body) = match does {
            Does::Nothing => {
                std::thread::sleep(Duration::from_secs(7));
                return;
            }
            Does::Babble => return,
            Does::Redirect => (301, "Location: https://elsewhere.example/\r\n", "moved".into()),
            Does::Else => (200, "", "Welcome to nginx!".to_string()),
            _ if is_proof => (200, "", format!("{BODY}\n")),
            Does::Front(status) => (status, "", "an error page".to_string()),
            Does::Answer => (404, "", "not found".to_string()),
        };
        let length = body.len();
        let body = if method == "HEAD" { "" } else { &body };
        let answer = format!("HTTP/1.1 {status} x\r\n{more}Content-Length: {length}\r\n\r\n{body}");
        if wire.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

struct Street {
    house: House,
    admin: Client,
}

impl Street {
    fn new(rooms: Processes, interval_s: i64) -> Street {
        let house = House::with(rooms, &[]);
        let admin = house.admin();
        let set = json!({ "sitewatch.interval_s": interval_s });
        admin.put("/api/settings", &set).is(200);
        Street { house, admin }
    }

    fn server(&self, name: &str, address: &str) -> i64 {
        let mut server = server(name, 9);
        server["host"] = json!(address);
        server["poll_interval_s"] = json!(3_600);
        self.admin.post("/api/servers", &server).is(201)["id"].as_i64().unwrap()
    }

    /// A domain that is live on these servers.
    fn domain(&self, name: &str, servers: &[i64], tls: bool) -> i64 {
        let wanted = json!({ "domain": name, "server_ids": servers, "ssl": tls });
        let id = self.admin.post("/api/domains", &wanted).is(201)["id"].as_i64().unwrap();
        let sql = "UPDATE domain_sites SET state = 'live', name = ?2, generation = 1, deployed_at = 1, looked_at = 9e15, text = ?3
            WHERE domain_id = ?1";
        self.sql(sql, params![id, name, text(tls)]);
        id
    }

    fn sql(&self, sql: &str, values: impl rusqlite::Params) -> usize {
        self.house.database("lamplighter.db").execute(sql, values).unwrap()
    }

    /// Results on the server itself since the failure began.
    fn inside(&self, domain: i64, word: &str) {
        let sql = "UPDATE domain_sites SET inside = ?2, inside_say = 'the server said ' || ?2, inside_at = ?3 WHERE domain_id = ?1";
        self.sql(sql, params![domain, word, clock::now() + HOUR]);
    }

    /// Advances by a minute.
    fn later(&self, domain: i64) {
        let sql = "UPDATE sitewatch_probes SET since = since - 60000 WHERE domain_id = ?1";
        self.sql(sql, [domain]);
    }

    #[track_caller]
    fn look(&self, domain: i64) -> Value {
        let at = format!("/api/domains/{domain}/answers/check");
        self.admin.post(&at, &json!({})).is(200)
    }

    fn get(&self, domain: i64) -> Value {
        self.admin.get(&format!("/api/domains/{domain}")).is(200)
    }

    fn page(&self, path: &str) -> String {
        let signed_in = self.house.sign_in(ADMIN, &self.house.password);
        let browser = self.house.client().by(Who::cookie(&signed_in, self.house.address));
        let page = browser.get(path);
        assert_eq!(page.status, 200, "{}", page.text());
        page.text()
    }

    /// The alerts of this kind in this state about a domain.
    fn alerts(&self, domain: i64, state: &str) -> Vec<Value> {
        let list = self.admin.get(&format!("/api/alerts?state={state}&limit=500")).is(200);
        let items = list["items"].as_array().unwrap().iter();
        let of = |a: &&Value| a["kind"] == "domain.dark" && a["target"]["id"] == domain;
        items.filter(of).cloned().collect()
    }

    fn told(&self, what: &str) -> i64 {
        let sql = "SELECT count(*) FROM events WHERE kind = ?1 AND data ->> '$.kind' = 'domain.dark' AND data ->> '$.muted' = 0";
        let db = self.house.database("lamplighter.db");
        db.query_row(sql, [what], |r| r.get(0)).unwrap()
    }
}

/// A port that drops connections: its queue is full and never emptied.
struct Full(
    #[allow(dead_code, reason = "held")] TcpListener,
    #[allow(dead_code, reason = "held")] Vec<TcpStream>,
);

#[allow(unsafe_code)]
fn full(at: &str) -> Full {
    let listener = TcpListener::bind(at).unwrap();
    // SAFETY: a socket that we own listens already; this only makes its queue shorter.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
    let address = at.parse().unwrap();
    let held = std::iter::from_fn(|| TcpStream::connect_timeout(&address, Duration::from_millis(300)).ok());
    let held: Vec<_> = held.take(8).collect();
    assert!(held.len() < 8, "it never fills");
    Full(listener, held)
}

#[test]
fn what_is_wrong_is_told_apart_when_it_is_seen_twice() {
    if !may_serve() {
        return;
    }
    let street = Street::new(Processes::ApiOnly, 60);
    let web = Web::open("127.0.2.1");
    let server = street.server("edge-1", "127.0.2.1");
    let domain = street.domain("shop.example", &[server], false);
    let state = |told: &Value| told["state"].as_str().unwrap().to_string();
    assert_eq!(state(&street.look(domain)), "ok");
    assert_eq!(street.get(domain)["reason"], "lit");
    // One connection for both questions, and nothing that a visitor could not ask.
    assert_eq!(web.connections.load(Ordering::SeqCst), 1);
    let asked = [format!("GET shop.example {PATH}"), "HEAD shop.example /".into()];
    assert_eq!(*web.asked.lock().unwrap(), asked);

    let cases = [
        (Does::Front(502), "", "backend", "answers 502 for the front page"),
        (Does::Front(503), "", "backend", "answers 503"),
        (Does::Front(504), "proved", "backend", "answers 504"),
        (Does::Else, "other", "shadowed", "answers something else"),
        (
            Does::Redirect,
            "proved",
            "shadowed",
            "sends elsewhere (301, https://elsewhere.example/)",
        ),
        (Does::Babble, "", "shadowed", "does not answer as a web server"),
        (Does::Nothing, "refused", "down", "did not answer completely in time"),
        (
            Does::Nothing,
            "proved",
            "firewalled",
            "did not answer completely in time",
        ),
    ];
    for (does, inside, wanted, said) in cases {
        web.does(does);
        street.inside(domain, inside);
        assert_eq!(state(&street.look(domain)), "ok", "one look is no news: {wanted}");
        street.later(domain);
        let told = street.look(domain);
        assert_eq!(state(&told), wanted, "{told}");
        assert!(
            told["say"][0].as_str().unwrap().starts_with("edge-1: 127.0.2.1:80"),
            "{told}"
        );
        assert!(told["say"][0].as_str().unwrap().contains(said), "{told}");
        let asked_inside = !inside.is_empty() && wanted != "backend";
        assert_eq!(told["say"][1].is_string(), asked_inside, "{told}");
        let shown = street.get(domain);
        assert_eq!(
            (&shown["state"], &shown["reason"], &shown["answer_since"]),
            (&json!("dark"), &json!(wanted), &told["since"])
        );
        let row = "/api/domains?state=dark&q=shop.example";
        assert_eq!(street.admin.get(row).is(200)["total"], 1);
        web.does(Does::Answer);
        assert_eq!(state(&street.look(domain)), "ok");
        assert_eq!(street.get(domain)["answer_say"], json!([]));
    }
    // A front page is as its owner wants it.
    for status in [200, 301, 401, 404, 500] {
        web.does(Does::Front(status));
        street.look(domain);
        assert_eq!(street.look(domain)["sites"][0]["code"], "", "{status}");
    }

    // Nothing listens.
    web.close();
    for (inside, wanted) in [("refused", "down"), ("proved", "firewalled")] {
        street.inside(domain, inside);
        street.look(domain);
        street.later(domain);
        let told = street.look(domain);
        assert_eq!(state(&told), wanted, "{told}");
        assert!(
            told["say"][0]
                .as_str()
                .unwrap()
                .contains("refuses connections on port 80"),
            "{told}"
        );
    }
    let page = street.page(&format!("/domains/{domain}"));
    for part in [
        "A firewall keeps visitors out",
        "id=\"answers\"",
        "the server said proved",
        "Check now",
        "Deploy again",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(street.page("/domains").contains("A firewall keeps visitors out"));

    // The address is unreachable.
    let full = full("127.0.2.1:80");
    for (inside, wanted) in [("", "unreachable"), ("proved", "firewalled"), ("silent", "down")] {
        street.inside(domain, inside);
        street.look(domain);
        street.later(domain);
        let told = street.look(domain);
        assert_eq!(state(&told), wanted, "{told}");
        assert_eq!(told["sites"][0]["code"], "silent", "{told}");
    }
    drop(full);

    // What a person has edited on the server is judged by its front page alone.
    web.listen();
    web.does(Does::Else);
    street.sql("UPDATE domain_sites SET state = 'drifted', code = 'site_edited'", []);
    street.look(domain);
    assert_eq!(street.look(domain)["sites"][0]["code"], "");
}

#[test]
fn with_tls_port_443_is_asked_and_the_certificate_is_another_matter() {
    if !may_serve() {
        return;
    }
    let street = Street::new(Processes::ApiOnly, 60);
    let server = street.server("edge-1", "127.0.2.2");
    let domain = street.domain("tls.example", &[server], true);
    let web = Web::open_tls("127.0.2.2");
    let told = street.look(domain);
    assert_eq!(
        told["state"], "ok",
        "it is signed by itself, which certwatch tells: {told}"
    );
    assert_eq!(web.asked.lock().unwrap()[0], format!("GET tls.example {PATH}"));
    web.does(Does::Front(502));
    street.look(domain);
    assert_eq!(street.look(domain)["state"], "backend");
    drop(web);
    let plain = Web::start("127.0.2.2:443".into(), false);
    plain.does(Does::Babble);
    street.inside(domain, "other");
    street.look(domain);
    street.later(domain);
    let told = street.look(domain);
    assert_eq!(told["state"], "shadowed", "no TLS there: {told}");
}

#[test]
fn of_several_servers_and_addresses_each_counts_as_it_should() {
    if !may_serve() {
        return;
    }
    let street = Street::new(Processes::ApiOnly, 60);
    let one = Web::open("127.0.2.3");
    let servers = [
        street.server("edge-1", "127.0.2.3"),
        street.server("edge-2", "127.0.2.4"),
    ];
    let domain = street.domain("both.example", &servers, false);
    street.inside(domain, "refused");
    street.look(domain);
    street.later(domain);
    let told = street.look(domain);
    assert_eq!(told["state"], "partly", "{told}");
    let shown = street.get(domain);
    assert_eq!(
        (&shown["state"], &shown["reason"]),
        (&json!("flick"), &json!("half_dark"))
    );
    assert!(
        shown["answer_say"][0].as_str().unwrap().starts_with("edge-2: "),
        "{shown}"
    );
    // A public address is asked as well: one that answers is enough.
    let place = format!("/api/servers/{}", servers[1]);
    let public = json!({ "public_ips": ["127.0.2.5", "127.0.2.3"] });
    street.admin.patch(&place, &public).is(200);
    assert_eq!(street.look(domain)["state"], "ok");

    // While a task works on it, nothing is judged.
    one.close();
    let upstream = json!({ "name": "app", "targets": ["127.0.0.1:9000"] });
    let upstream = street.admin.post("/api/upstreams", &upstream).is(201)["id"].clone();
    let place = format!("/api/domains/{domain}");
    street.admin.patch(&place, &json!({ "upstream_id": upstream })).is(200);
    street.admin.post(&format!("{place}/deploy"), &json!({})).is(202);
    for _ in 0..2 {
        street.look(domain);
        street.later(domain);
    }
    let told = street.look(domain);
    assert_eq!(
        (&told["state"], &told["sites"][0]["misses"]),
        (&json!("ok"), &json!(0)),
        "{told}"
    );
}

#[test]
fn many_sites_of_a_server_share_a_connection_and_its_silence() {
    if !may_serve() {
        return;
    }
    let street = Street::new(Processes::One, 3_600);
    let web = Web::open("127.0.2.6");
    let server = street.server("edge-1", "127.0.2.6");
    let domains: Vec<i64> = (0..40)
        .map(|n| street.domain(&format!("n{n}.example"), &[server], false))
        .collect();
    let count = |sql: &str| -> i64 {
        let db = street.house.database("lamplighter.db");
        db.query_row(sql, [], |r| r.get(0)).unwrap()
    };
    eventually("all were looked at", || {
        (count("SELECT count(*) FROM sitewatch_probes WHERE state = 'ok'") == 40).then_some(())
    });
    web.close();
    let before = clock::now();
    street.look(domains[0]);
    assert!(clock::now() - before < MINUTE / 4, "a refusal takes no time");
    // It answers again, and everything is asked once over few connections.
    web.listen();
    let connections = web.connections.load(Ordering::SeqCst);
    let asked = web.asked.lock().unwrap().len();
    street.sql("UPDATE domain_sites SET generation = generation + 1", []);
    eventually("all were asked again", || {
        (web.asked.lock().unwrap().len() >= asked + 80).then_some(())
    });
    let connections = web.connections.load(Ordering::SeqCst) - connections;
    assert!((3..=6).contains(&connections), "{connections} connections for 40 sites");
}

#[test]
fn one_fault_is_one_message_outlives_a_restart_and_ends_with_the_next_good_look() {
    if !may_serve() {
        return;
    }
    let mut street = Street::new(Processes::One, 1);
    let web = Web::open("127.0.2.7");
    let server = street.server("edge-1", "127.0.2.7");
    let domain = street.domain("окна.example", &[server], false);
    street.inside(domain, "refused");
    let state = |street: &Street, wanted: &str| {
        eventually(wanted, || (street.get(domain)["answer_state"] == wanted).then_some(()));
    };
    state(&street, "ok");
    let status = street.admin.get("/api/status").is(200);
    assert_eq!(status["parts"]["domains"]["lit"], 1, "{status}");

    web.close();
    state(&street, "down");
    let open = eventually("it is told", || street.alerts(domain, "open").pop());
    assert_eq!((&open["level"], &open["count"]), (&json!("ERROR"), &json!(1)), "{open}");
    assert_eq!(open["title"], "окна.example is down: its web server does not run");
    assert!(
        open["evidence"][0].as_str().unwrap().contains("refuses connections"),
        "{open}"
    );
    assert!(
        open["evidence"][1]
            .as_str()
            .unwrap()
            .contains("the server said refused"),
        "{open}"
    );
    let alerts = street.page("/alerts");
    for part in [
        "systemctl status nginx",
        "answers/check",
        &format!("/domains/{domain}/plan"),
    ] {
        assert!(alerts.contains(part), "{part}: {alerts}");
    }
    // Whoever is asked says the same.
    let status = street.admin.get("/api/status").is(200);
    assert_eq!(
        (
            &status["parts"]["domains"]["dark"],
            &status["parts"]["domains"]["state"],
            &status["state"]
        ),
        (&json!(1), &json!("down"), &json!("down")),
        "{status}"
    );
    let front = street.page("/");
    let title = front.split("<title>").nth(1).unwrap();
    assert!(title.starts_with("1 down · "), "{title:.60}");
    let metrics = street.admin.get("/metrics").text();
    assert!(metrics.contains("lamplighter_domains{state=\"dark\"} 1\n"), "{metrics}");
    let line = format!(
        "lamplighter_domain_state{{domain=\"{}\"}} 2\n",
        street.get(domain)["domain"].as_str().unwrap()
    );
    assert!(metrics.contains(&line), "{metrics}");

    // A restart changes nothing of it.
    let since = street.get(domain)["answer_since"].clone();
    assert!(since.is_string());
    street.house.restart_first(true);
    street.admin = street.house.admin();
    let after = street.get(domain);
    assert_eq!(
        (&after["answer_state"], &after["answer_since"]),
        (&json!("down"), &since)
    );
    let looked = |street: &Street| -> i64 {
        let db = street.house.database("lamplighter.db");
        db.query_row("SELECT misses FROM sitewatch_probes", [], |r| r.get(0))
            .unwrap()
    };
    let misses = looked(&street);
    eventually("it goes on looking", || (looked(&street) > misses + 1).then_some(()));
    assert_eq!(
        (street.told("alert.raised"), street.alerts(domain, "open").len()),
        (1, 1)
    );

    web.listen();
    state(&street, "ok");
    eventually("it is over", || street.alerts(domain, "open").is_empty().then_some(()));
    eventually("that is told, too", || {
        (street.told("alert.resolved") == 1).then_some(())
    });
    assert_eq!(street.get(domain)["reason"], "lit");

    // A server that is down is one message, whatever is served there.
    let sql = "UPDATE servers SET status = 'unreachable', status_since = ?2, revision = revision + 1 WHERE id = ?1";
    street.sql(sql, params![server, clock::now()]);
    let sql = "INSERT INTO events (at, kind, target_type, target_id, data) VALUES (?1, 'server.unreachable', 'server', ?2, ?3)";
    let data = json!({ "name": "edge-1", "level": "ERROR", "evidence": ["seen"] }).to_string();
    street.sql(sql, params![clock::now(), server, data]);
    web.close();
    state(&street, "down");
    let muted = eventually("it is raised", || street.alerts(domain, "open").pop());
    assert_eq!(muted["quiet"]["why"], "muted", "{muted}");
    assert_eq!(street.told("alert.raised"), 1, "nobody is told again");

    // Where no Glances ever answered, its silence says nothing about the machine.
    let young = street.server("edge-2", "127.0.2.8");
    let data = json!({ "name": "edge-2", "level": "WARNING", "variant": "never", "evidence": ["seen"] }).to_string();
    street.sql(
        "UPDATE servers SET status = 'unreachable', revision = revision + 1 WHERE id = ?1",
        [young],
    );
    street.sql(sql, params![clock::now(), young, data]);
    let shop = street.domain("shop.example", &[young], false);
    street.inside(shop, "refused");
    let told = eventually("it is raised", || street.alerts(shop, "open").pop());
    assert_eq!(
        (&told["quiet"], street.told("alert.raised")),
        (&json!(null), 2),
        "{told}"
    );

    // Switched off, nothing is known and nothing is open.
    street
        .admin
        .put("/api/settings", &json!({ "sitewatch.interval_s": 0 }))
        .is(200);
    state(&street, "unknown");
    eventually("it is over", || street.alerts(domain, "open").is_empty().then_some(()));
}

#[test]
fn viewers_read_and_only_operators_have_it_asked() {
    let street = Street::new(Processes::ApiOnly, 60);
    let domain = street
        .admin
        .post("/api/domains", &json!({ "domain": "roles.example" }))
        .is(201)["id"]
        .clone();
    let place = format!("/api/domains/{domain}/answers");
    let check = format!("{place}/check");
    let viewer = street.house.somebody("viewer");
    assert_eq!(viewer.get(&place).is(200)["sites"], json!([]));
    viewer.post(&check, &json!({})).is(403);
    let operator = street.house.somebody("operator");
    operator.post(&check, &json!({})).fails(409, "not_deployed");
    operator.post(&check, &json!({ "x": 1 })).is(422);
    operator.get("/api/domains/99/answers").is(404);
    operator.post("/api/domains/99/answers/check", &json!({})).is(404);
    street.house.client().get(&place).is(401);
}
