//! Allowed client addresses, rate limits, CORS; and malformed requests, which must not harm the daemon. All tests use a
//! running daemon. Client addresses other than loopback come through a trusted proxy.

use crate::common;
use crate::edge::mutant;

use common::*;
use lamplighter::base::nginx;
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

fn behind_a_proxy() -> House {
    House::with(Processes::ApiOnly, &[("LAMPLIGHTER_TRUSTED_PROXIES", "127.0.0.1")])
}

fn set(client: &Client, values: Value) -> Answer {
    client.put("/api/settings", &values)
}

fn from(client: Client, address: &str) -> Client {
    client.with("X-Forwarded-For", address)
}

#[test]
fn a_stranger_may_ask_so_often_and_pays_for_nobody_else() {
    let house = behind_a_proxy();
    let admin = house.admin();
    set(&admin, json!({ "rate.api": 5 })).is(200);
    let stranger = |address: &str| from(house.client(), address);
    // These requests are counted, refused or not, existing or not.
    let one = stranger("192.0.2.1");
    for (path, status) in [
        ("/api/servers", 401),
        ("/login", 200),
        ("/nothing", 404),
        ("/api/auth/me", 401),
    ] {
        assert_eq!(one.get(path).status, status, "{path}");
    }
    from(house.client().by(Who::Bearer("made-up".into())), "192.0.2.1")
        .get("/api/servers")
        .is(401);
    let told = one.get("/api/servers");
    told.fails(429, "too_many_requests");
    let wait: u32 = told.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=61).contains(&wait), "{wait}");
    let page = one.get("/login");
    assert_eq!(page.status, 429);
    assert!(
        page.text().contains("<html") && page.header("retry-after").is_some(),
        "{}",
        page.text()
    );
    assert_eq!(
        one.post("/api/auth/login", &json!({ "login": "x", "password": "y" }))
            .status,
        429
    );
    assert_eq!(one.get("/nothing").status, 429);
    // Requests that are not counted still work.
    let style = stranger("192.0.2.2").get("/login").text();
    let style = style
        .split('"')
        .find(|part| part.starts_with("/static/"))
        .expect("a style sheet")
        .to_string();
    for path in ["/healthz", "/health", "/api/health", &style] {
        for _ in 0..7 {
            assert_eq!(one.get(path).status, 200, "{path}");
        }
    }
    // Each address is counted separately, an IPv6 /64 as one; signed-in users have their own count.
    assert_eq!(stranger("192.0.2.3").get("/login").status, 200);
    for n in 1..=5 {
        assert_eq!(stranger(&format!("2001:db8::{n}")).get("/login").status, 200);
    }
    assert_eq!(stranger("2001:db8::ffff:6").get("/login").status, 429);
    assert_eq!(stranger("2001:db8:0:1::1").get("/login").status, 200);
    from(house.admin(), "192.0.2.1").get("/api/servers").is(200);
    // 0 means no limit, at once.
    set(&admin, json!({ "rate.api": 0 })).is(200);
    for _ in 0..20 {
        assert_eq!(one.get("/login").status, 200);
    }
    set(&admin, json!({ "rate.api": null, "rate.signed_in": -1 })).is(422);
}

#[test]
fn a_token_that_asks_too_often_is_told_to_wait_and_another_one_is_not() {
    let house = House::with(Processes::ApiOnly, &[]);
    let busy = house.somebody("viewer");
    let browser = house.sign_in(ADMIN, &house.password);
    let browser = house.client().by(Who::cookie(&browser, house.address));
    set(&house.admin(), json!({ "rate.signed_in": 15 })).is(200);
    for _ in 0..15 {
        busy.get("/api/servers").is(200);
    }
    busy.get("/api/servers").fails(429, "too_many_requests");
    busy.get("/nothing-here").fails(429, "too_many_requests");
    drop(busy.stream("/api/events/stream", None)); // a browser comes back to it by itself
    for _ in 0..15 {
        assert_eq!(browser.get("/servers").status, 200);
    }
    assert_eq!(browser.get("/servers").status, 429);
    set(&house.admin(), json!({ "rate.signed_in": 0 })).is(200);
    busy.get("/api/servers").is(200);
    assert_eq!(browser.get("/servers").status, 200);
}

#[test]
fn a_listed_page_may_ask_with_a_token_and_never_with_a_cookie() {
    const PANEL: &str = "https://panel.example";
    const ALLOWED: &str = "access-control-allow-origin";
    let house = House::with(Processes::ApiOnly, &[]);
    let answer = house.sign_in(ADMIN, &house.password);
    let token = || house.client().by(Who::bearer(&answer));
    let preflight = |client: Client| {
        let asks = client
            .with("Access-Control-Request-Method", "POST")
            .with("Access-Control-Request-Headers", "authorization,content-type");
        asks.send("OPTIONS", "/api/groups", None)
    };
    let group = |name: &str| json!({ "name": name });
    // Without listed origins there are no CORS headers, and cross-site changes are refused.
    let silent = preflight(house.client().with("Origin", PANEL));
    assert_eq!((silent.status, silent.header(ALLOWED)), (405, None));
    let cross = token().with("Origin", PANEL).with("Sec-Fetch-Site", "cross-site");
    cross.post("/api/groups", &group("early")).fails(403, "cross_site");
    assert_eq!(cross.get("/api/groups").header(ALLOWED), None);

    for bad in [
        "*",
        "null",
        "panel.example",
        "https://panel.example/",
        "https://*.example",
    ] {
        set(&house.admin(), json!({ "web.cors_origins": bad })).fails(422, "invalid");
    }
    set(
        &house.admin(),
        json!({ "web.cors_origins": "https://PANEL.example:443, http://10.0.0.5:3000" }),
    )
    .is(200);
    for origin in [PANEL, "http://10.0.0.5:3000"] {
        let may = preflight(house.client().with("Origin", origin));
        assert_eq!((may.status, may.header(ALLOWED)), (204, Some(origin)));
        assert!(may.header("access-control-allow-methods").unwrap().contains("DELETE"));
        assert!(
            may.header("access-control-allow-headers")
                .unwrap()
                .contains("Authorization")
        );
        assert_eq!(
            (may.header("vary"), may.header("access-control-allow-credentials")),
            (Some("Origin"), None)
        );
        let page = token().with("Origin", origin).with("Sec-Fetch-Site", "cross-site");
        let made = page.post("/api/groups", &group(&origin[..5]));
        made.is(201);
        assert_eq!(
            (made.header(ALLOWED), made.header("vary")),
            (Some(origin), Some("Origin"))
        );
        assert!(
            made.header("access-control-expose-headers")
                .unwrap()
                .contains("Retry-After")
        );
        // It may read refusals, those of the edge too, and follow streams.
        let gone = page.get("/api/groups/999");
        assert_eq!((gone.status, gone.header(ALLOWED)), (404, Some(origin)));
        let large = page.send("POST", "/api/groups", Some(("application/json", &vec![b' '; 2 << 20])));
        assert_eq!((large.status, large.header(ALLOWED)), (413, Some(origin)));
        let stream = page.stream("/api/events/stream", None);
        assert!(
            stream
                .headers
                .iter()
                .any(|(name, value)| name.eq_ignore_ascii_case(ALLOWED) && value == origin)
        );
    }
    for other in [
        "http://panel.example",
        "https://panel.example:8443",
        "https://panel.example.evil",
        "null",
    ] {
        let page = token().with("Origin", other).with("Sec-Fetch-Site", "cross-site");
        page.post("/api/groups", &group("other")).fails(403, "cross_site");
        assert_eq!(page.get("/api/groups").header(ALLOWED), None, "{other}");
        assert_eq!(preflight(house.client().with("Origin", other)).status, 405, "{other}");
    }
    // Cookies are never accepted from other origins; without credentials nothing is changed.
    let cookie = Who::cookie(&answer, house.address);
    let with_cookie = house
        .client()
        .by(cookie)
        .with("Origin", PANEL)
        .with("Sec-Fetch-Site", "cross-site");
    with_cookie
        .post("/api/groups", &group("cookie"))
        .fails(403, "cross_site");
    assert_eq!(with_cookie.get("/api/groups").header(ALLOWED), None);
    let nobody = house.client().with("Origin", PANEL);
    nobody.post("/api/groups", &group("nobody")).fails(403, "cross_site");
    let sign_in = json!({ "login": ADMIN, "password": house.password });
    nobody.post("/api/auth/login", &sign_in).fails(403, "cross_site");
    let groups = house.admin().get("/api/groups").json();
    assert_eq!(groups["total"], 2, "{groups}");
}

#[test]
fn only_from_the_addresses_that_may_come_in_anything_is_to_be_had() {
    let house = behind_a_proxy();
    let admin = |address: &str| from(house.admin(), address);
    let allow = |address: &str, list: &str| set(&admin(address), json!({ "web.allow_from": list }));
    let told = allow("192.0.2.1", "10.0.0.0/8");
    told.fails(422, "invalid");
    assert_eq!(told.wrong_fields(), ["web.allow_from"]);
    allow("10.1.2.3", "10.0.0.1/8").fails(422, "invalid");
    admin("192.0.2.1").get("/api/servers").is(200);
    allow("10.1.2.3", "10.0.0.0/8, 2001:db8::/32").is(200);
    for path in ["/api/servers", "/login", "/healthz", "/nothing"] {
        let answer = admin("192.0.2.1").get(path);
        answer.fails(403, "address_not_allowed");
        assert!(
            !answer.text().contains("10.0.0.0"),
            "who may come in is nobody else's business"
        );
        assert_ne!(admin("10.9.9.9").get(path).status, 403, "{path}");
        assert_ne!(admin("2001:db8::5").get(path).status, 403, "{path}");
    }
    // `X-Forwarded-For` is read from its last entry; this machine itself is always allowed.
    admin("10.1.1.1, 192.0.2.1")
        .get("/api/servers")
        .fails(403, "address_not_allowed");
    house.admin().get("/api/servers").is(200);
    set(&house.admin(), json!({ "web.allow_from": "" })).is(200);
    admin("192.0.2.1").get("/api/servers").is(200);
}

#[test]
fn a_proxy_that_nobody_named_brings_nobody_in() {
    let house = House::with(Processes::ApiOnly, &[]);
    set(&house.admin(), json!({ "web.allow_from": "10.0.0.0/8" })).is(200);
    // A local proxy's client counts, not the proxy's own address.
    let odd = house.client().with("Via", "1.1 somebody");
    odd.get("/login").fails(403, "address_not_allowed");
    assert_eq!(house.client().get("/login").status, 200);
}

#[test]
fn the_shipped_site_for_nginx_says_what_lamplighter_needs() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/nginx.conf")).unwrap();
    let plain = nginx::print(&nginx::parse(&text).unwrap());
    for line in [
        "proxy_set_header X-Forwarded-For $remote_addr;", // never what the client says of itself
        "proxy_set_header X-Forwarded-Proto $scheme;",
        "proxy_set_header Host $host;",
        "proxy_buffering off;",
        "proxy_http_version 1.1;",
        "ssl_protocols TLSv1.2 TLSv1.3;",
    ] {
        assert_eq!(plain.matches(line).count(), 1, "{line}");
    }
    let named = text.lines().filter(|line| line.contains("LAMPLIGHTER_")).count();
    assert_eq!(named, 2, "what to configure stands at its head");
}

#[test]
fn ten_thousand_mangled_requests_leave_the_daemon_as_it_was() {
    let house = House::with(Processes::ApiOnly, &[]);
    let answer = house.sign_in(ADMIN, &house.password);
    let token = answer.json()["access_token"].as_str().unwrap().to_string();
    let (name, cookie) = answer.cookie();
    house.admin().post("/api/groups", &json!({ "name": "kept" })).is(201);
    let body = r#"{"name":"web","host":"10.0.0.1","username":"root","password":"some password"}"#;
    let seeds = [
        "GET /login HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n\r\n".to_string(),
        format!("GET /api/groups?limit=5&q=a%20b HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"),
        format!("GET /groups HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {name}={cookie}\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        format!(
            "POST /api/servers HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ),
        format!("PATCH /api/groups/1 HTTP/1.1\r\nHost: [::1]\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{{\"notes\":\"x\"}}"),
        "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 18\r\n\r\nlogin=a&password=b".to_string(),
        "OPTIONS /api/servers HTTP/1.1\r\nHost: localhost\r\nOrigin: https://a.example\r\nAccess-Control-Request-Method: GET\r\n\r\n".to_string(),
    ];
    let seeds: Vec<&str> = seeds.iter().map(String::as_str).collect();
    let pid = house.daemons[0].pid();
    let threads_and_files = || ["task", "fd"].map(|what| fs::read_dir(format!("/proc/{pid}/{what}")).unwrap().count());
    // The first round opens whatever stays open.
    mangle(&house, &seeds, 100);
    let before = threads_and_files();
    mangle(&house, &seeds, rounds(2_500));
    house.client().get("/healthz").is(200);
    assert_eq!(house.admin().get("/api/groups/1").is(200)["name"], "kept");
    eventually("threads and files are back", || {
        let now = threads_and_files();
        // Up to four more readers of the database may stay open, each with up to three files.
        (now[0] <= before[0] && now[1] <= before[1] + 12).then_some(())
    });
    let mut status = String::new();
    fs::File::open(format!("/proc/{pid}/status"))
        .unwrap()
        .read_to_string(&mut status)
        .unwrap();
    let kb = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kb: u64 = kb.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kb < 200_000, "{kb} kB");
}

/// Sends this many from each of four clients in parallel; no answer may be a 5xx.
fn mangle(house: &House, seeds: &[&str], count: usize) {
    thread::scope(|scope| {
        for seed in 1..=4 {
            scope.spawn(move || {
                let mut dice = Dice::new(seed);
                for _ in 0..count {
                    let request = mutant(&mut dice, seeds);
                    let mut socket = TcpStream::connect(house.address).unwrap();
                    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
                    // It may close the connection in the middle.
                    let _ = socket.write_all(&request);
                    let _ = socket.shutdown(Shutdown::Write);
                    let mut said = Vec::new();
                    let _ = socket.read_to_end(&mut said);
                    let said = String::from_utf8_lossy(&said);
                    for status in said.lines().filter_map(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)) {
                        let fine = !status.starts_with('5') || ["501", "503", "505"].contains(&status);
                        assert!(fine, "{status} for {}", request.escape_ascii());
                    }
                }
            });
        }
    });
}
