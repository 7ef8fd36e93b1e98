//! Figures for others: who may read `/metrics`, whether it is what Prometheus expects, and what is pushed.

use crate::{common, fake};

use common::*;
use fake::{Fake, data, http};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

/// Reads an exposition as strictly as Prometheus does and gives its series by name and labels.
fn series(text: &str) -> BTreeMap<String, f64> {
    let mut out = BTreeMap::new();
    let mut families = BTreeSet::new();
    let mut family = String::new();
    let is_name = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
            && !name.as_bytes()[0].is_ascii_digit()
    };
    assert!(text.ends_with('\n'), "the last line ends");
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').unwrap();
            assert!(is_name(name) && words.ends_with('.'), "{line}");
            assert!(families.insert(name.to_string()), "{name} comes twice");
            let kind = lines.next().unwrap().strip_prefix(&format!("# TYPE {name} ")).unwrap();
            assert!(["counter", "gauge", "summary", "histogram"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
            family = name.into();
            continue;
        }
        let (labelled, value) = line.rsplit_once(' ').unwrap();
        let name = labelled.split('{').next().unwrap();
        let parts = ["_sum", "_count", "_bucket"];
        let base = parts.iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name);
        assert!(
            is_name(name) && (name == family || base == family),
            "{line} stands in {family}"
        );
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
        assert!(
            out.insert(labelled.to_string(), value).is_none(),
            "{labelled} comes twice"
        );
    }
    out
}

fn glances() -> Fake {
    Fake::new(|_, peer| {
        let body = data("glances/3.4.0.5/full/all.json");
        let _ = peer.write_all(&http("200 OK", "application/json", &body));
    })
}

fn add(house: &House, name: &str, port: u16) -> i64 {
    let mut wanted = server(name, 1);
    wanted["glances_port"] = json!(port);
    wanted["poll_interval_s"] = json!(5);
    house.admin().post("/api/servers", &wanted).is(201)["id"]
        .as_i64()
        .unwrap()
}

#[test]
fn metrics_are_for_who_may_read_them() {
    let (house, glances) = (House::new(), glances());
    add(&house, "web-1", glances.port);
    let admin = house.admin();
    let read = |client: &Client| {
        let answer = client.get("/metrics");
        (answer.status, answer.text())
    };
    let servers = |(status, text): (u16, String)| {
        assert_eq!(status, 200, "{text}");
        let all = series(&text);
        assert!(all.contains_key("lamplighter_servers{state=\"up\"}"));
        assert!(all["process_resident_memory_bytes"] > 1e6 && all["process_threads"] > 3.0);
        text.contains("web-1")
    };
    eventually("the lamp is lit", || servers(read(&admin)).then_some(()));

    let nobody = house.client();
    assert!(
        !servers(read(&nobody)),
        "on this machine: Lamplighter's own figures, and no server's name"
    );
    for header in ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"] {
        let proxied = house.client().with(header, "198.51.100.7");
        assert_eq!(read(&proxied).0, 401, "through a proxy it is somebody else ({header})");
    }
    assert!(servers(read(&house.somebody("viewer"))));

    // The scraper's token: made by an administrator, shown once, and good for nothing else.
    house
        .somebody("operator")
        .post("/api/exporter/token", &json!({}))
        .fails(403, "forbidden");
    let token = house.canary(
        admin.post("/api/exporter/token", &json!({})).is(201)["token"]
            .as_str()
            .unwrap(),
    );
    let by = |token: &str| {
        house
            .client()
            .with("Authorization", &format!("Bearer {token}"))
            .with("X-Forwarded-For", "198.51.100.7")
    };
    assert!(servers(read(&by(&token))));
    by(&token).get("/api/servers").fails(401, "unauthorized");
    assert_eq!(read(&by(&token[1..])).0, 401);
    let next = house.canary(
        admin.post("/api/exporter/token", &json!({})).is(201)["token"]
            .as_str()
            .unwrap(),
    );
    assert_eq!(read(&by(&token)).0, 401, "a new one ends the old one");
    assert!(servers(read(&by(&next))));
    assert_eq!(admin.delete("/api/exporter/token").status, 204);
    assert_eq!(read(&by(&next)).0, 401);
    admin.delete("/api/exporter/token").fails(404, "not_found");

    // The same on the page of settings: shown once, and then only since when there is one.
    let answer = house.sign_in(ADMIN, &house.password);
    let browser = house.client().by(Who::cookie(&answer, house.address));
    let page = browser.form("/exporter/token", "");
    assert_eq!(page.status, 200, "{}", page.text());
    let text = page.text();
    let shown = text.split("<code>").nth(1).unwrap().split("</code>").next().unwrap();
    let shown = house.canary(shown);
    assert!(servers(read(&by(&shown))));
    let settings = browser.get("/settings").text();
    assert!(settings.contains("/exporter/token/end") && !settings.contains(&shown));
    assert_eq!(browser.form("/exporter/token/end", "").status, 303);
    assert_eq!(read(&by(&shown)).0, 401);
    assert!(!browser.get("/settings").text().contains("/exporter/token/end"));

    admin.put("/api/settings", &json!({ "exporter.local": 2 })).is(200);
    assert!(servers(read(&nobody)));
    admin.put("/api/settings", &json!({ "exporter.local": 0 })).is(200);
    assert_eq!(read(&nobody).0, 401);
    assert!(servers(read(&admin)));
}

#[test]
fn the_fleets_values_are_written_as_prometheus_wants_them() {
    let (house, glances) = (House::new(), glances());
    add(&house, "web-1", glances.port);
    add(&house, "never-lit", 9);
    let admin = house.admin();
    let all = eventually("it is polled", || {
        let all = series(&admin.get("/metrics").text());
        all.contains_key("lamplighter_server_up{server=\"web-1\"}")
            .then_some(all)
    });
    let of = |name: &str| all[&format!("lamplighter_server_{name}{{server=\"web-1\"}}")];
    assert_eq!(of("up"), 1.0);
    assert_eq!(of("cpu_usage_ratio"), 0.979);
    assert!((0.0..=1.0).contains(&of("memory_usage_ratio")) && of("memory_size_bytes") > 1e8);
    assert!(of("uptime_seconds") > 0.0 && of("poll_duration_seconds") < 5.0);
    let root = "lamplighter_server_filesystem_usage_ratio{server=\"web-1\",mountpoint=\"/\"}";
    assert!((0.0..=1.0).contains(&all[root]), "{all:?}");
    assert!(
        !all.keys().any(|k| k.contains("server=\"never-lit\"")),
        "who was never seen has no values"
    );
    let without = admin.get("/metrics?fleet=0").text();
    assert!(!without.contains("web-1"));
    // What the poller notes comes with the next note.
    eventually("polls are counted", || {
        let own = series(&admin.get("/metrics?fleet=0").text());
        (own.get("lamplighter_polls_total{result=\"ok\"}").copied()? >= 1.0).then_some(())
    });
    let own = series(&without);
    assert!(own["lamplighter_database_size_bytes{database=\"state\"}"] > 4096.0);
    assert_eq!(own["lamplighter_controller_offline"], 0.0);
    assert!(own.keys().any(|k| k.starts_with("lamplighter_tasks{status=")));
}

#[test]
fn requests_are_counted_by_route_and_nobody_can_make_up_another() {
    let house = House::new();
    let admin = house.admin();
    let read = || series(&admin.get("/metrics?fleet=0").text());
    let before = read();
    let door = admin.post("/api/servers", &server("web-1", 1)).is(201)["id"].clone();
    for _ in 0..7 {
        admin.get(&format!("/api/servers/{door}")).is(200);
    }
    admin.get("/api/servers/77").fails(404, "not_found");
    for n in 0..300 {
        let path = ["/made/up", "/api/nothing", "/api/servers/x/y/z"][n % 3];
        assert_eq!(admin.get(&format!("{path}/{n}?a=\"b")).status, 404);
    }
    admin.delete("/metrics").fails(405, "method_not_allowed");
    let after = read();
    let requests = |labels: &str| after[&format!("lamplighter_http_requests_total{{{labels}}}")];
    let of_server = "method=\"GET\",route=\"/api/servers/{id}\"";
    assert_eq!(requests(&format!("{of_server},status=\"2xx\"")), 7.0);
    assert_eq!(requests(&format!("{of_server},status=\"4xx\"")), 1.0);
    assert_eq!(requests("method=\"POST\",route=\"/api/servers\",status=\"2xx\""), 1.0);
    assert_eq!(requests("method=\"other\",route=\"other\",status=\"4xx\""), 301.0);
    // Ours only: what was asked for is in no label.
    let names: BTreeSet<_> = after.keys().filter(|k| !before.contains_key(*k)).collect();
    assert!(
        names.len() < 60 && !names.iter().any(|k| k.contains("made") || k.contains("nothing")),
        "{names:?}"
    );

    let took = |part: &str| after[&format!("lamplighter_http_request_duration_seconds_{part}")];
    assert_eq!(took(&format!("count{{{of_server}}}")), 8.0);
    assert!((0.0..10.0).contains(&took(&format!("sum{{{of_server}}}"))));
    let bounds = [
        "0.001", "0.0025", "0.005", "0.01", "0.05", "0.25", "1", "5", "30", "+Inf",
    ];
    let buckets = bounds.map(|le| took(&format!("bucket{{{of_server},le=\"{le}\"}}")));
    assert!(buckets.is_sorted() && buckets[9] == 8.0, "{buckets:?}");

    // What is turned away at the door comes to no route.
    let mut raw = std::net::TcpStream::connect(house.address).unwrap();
    raw.write_all(b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n").unwrap();
    let mut answer = String::new();
    let _ = raw.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    let own = read();
    assert!(
        own.iter()
            .any(|(k, n)| k.starts_with("lamplighter_http_refused_total{") && *n >= 1.0)
    );
    assert!(own["lamplighter_http_connections"] >= 1.0 && own["lamplighter_http_requests_in_flight"] >= 1.0);
    assert_eq!(own["lamplighter_stream_clients"], 0.0);
    assert_eq!(own["lamplighter_messages_waiting"], 0.0);
    for status in ["queued", "running", "failed"] {
        assert!(
            own.contains_key(&format!("lamplighter_tasks{{status=\"{status}\"}}")),
            "{status}"
        );
    }
}

/// The judge of Prometheus itself, where it is installed.
#[test]
fn promtool_has_nothing_to_say() {
    let house = House::new();
    let admin = house.admin();
    let glances = glances();
    add(&house, "web-1", glances.port);
    eventually("it is polled", || {
        admin.get("/metrics").text().contains("server=\"web-1\"").then_some(())
    });
    let text = admin.get("/metrics").text();
    let Ok(mut child) = std::process::Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
    else {
        println!(
            "promtool is not installed: {} lines were read by our own reader only",
            series(&text).len()
        );
        return;
    };
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

/// An engine that takes (or refuses) what is pushed: heads and bodies.
struct Engine {
    port: u16,
    requests: Arc<Mutex<Vec<(String, String)>>>,
    refuses: Arc<Mutex<bool>>,
}

impl Engine {
    fn new() -> Engine {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let engine = Engine {
            port: listener.local_addr().unwrap().port(),
            requests: Arc::default(),
            refuses: Arc::default(),
        };
        let (requests, refuses) = (engine.requests.clone(), engine.refuses.clone());
        thread::spawn(move || {
            for client in listener.incoming() {
                let mut client = client.unwrap();
                let mut bytes = Vec::new();
                let head = loop {
                    let mut byte = [0];
                    if client.read(&mut byte).unwrap_or(0) == 0 {
                        break String::new();
                    }
                    bytes.push(byte[0]);
                    if bytes.ends_with(b"\r\n\r\n") {
                        break String::from_utf8(bytes).unwrap();
                    }
                };
                let length = head
                    .lines()
                    .filter_map(|l| l.split_once(": "))
                    .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                    .map_or("0", |(_, length)| length);
                let mut body = vec![0; length.parse().unwrap()];
                client.read_exact(&mut body).unwrap();
                let refuse = *refuses.lock().unwrap();
                if !refuse {
                    requests.lock().unwrap().push((head, String::from_utf8(body).unwrap()));
                }
                let status = if refuse { "503 Busy" } else { "204 No Content" };
                let _ = client.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes());
            }
        });
        engine
    }

    /// The times of one series' samples in the order they came, in s.
    fn times(&self, name: &str) -> Vec<i64> {
        let requests = self.requests.lock().unwrap();
        let lines = requests.iter().flat_map(|(_, body)| body.lines());
        lines
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .filter(|line| line["metric"]["__name__"] == name)
            .flat_map(|line| line["timestamps"].as_array().unwrap().clone())
            .map(|at| at.as_i64().unwrap() / 1000)
            .collect()
    }
}

#[test]
fn what_is_pushed_waits_for_the_engine_and_goes_once() {
    let (mut house, glances, engine) = (House::new(), glances(), Engine::new());
    add(&house, "web-1", glances.port);
    let admin = house.admin();
    let secret = house.canary("push password 1");
    let basic = house.canary(lamplighter::base::text::base64(format!("lamp:{secret}").as_bytes()));
    let wrong = json!({ "push.url": "http://u:p@vm" });
    admin.put("/api/settings", &wrong).fails(422, "invalid");
    let url = format!("http://127.0.0.1:{}/insert/0/prometheus/", engine.port);
    admin
        .put("/api/settings", &json!({ "push.url": url, "push.user": "lamp" }))
        .is(200);
    assert_eq!(
        admin
            .put("/api/exporter/push-secret", &json!({ "secret": secret }))
            .status,
        204
    );
    let cpu = "lamplighter_server_cpu_usage_ratio";
    eventually("the first samples come", || {
        (!engine.times(cpu).is_empty()).then_some(())
    });
    {
        let requests = engine.requests.lock().unwrap();
        let head = &requests[0].0;
        assert!(
            head.starts_with("POST /insert/0/prometheus/api/v1/import HTTP/1.1\r\n"),
            "{head}"
        );
        assert!(head.contains(&format!("authorization: Basic {basic}\r\n")), "{head}");
        assert!(requests[0].1.contains("\"server\":\"web-1\"") && requests[0].1.contains("0.979"));
    }
    // An outage, with a restart in the middle of it.
    *engine.refuses.lock().unwrap() = true;
    thread::sleep(std::time::Duration::from_secs(20));
    house.stop();
    house.start();
    let before = engine.times(cpu).len();
    *engine.refuses.lock().unwrap() = false;
    eventually("it is caught up on", || {
        (engine.times(cpu).len() >= before + 4).then_some(())
    });
    let metrics = house.database("metrics.db");
    let mut statement = metrics.prepare("SELECT id & 4294967295 FROM hot ORDER BY id").unwrap();
    let kept: Vec<i64> = statement
        .query_map([], |r| r.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let pushed = engine.times(cpu);
    let once: BTreeSet<i64> = pushed.iter().copied().collect();
    assert_eq!(once.len(), pushed.len(), "none twice");
    let (first, last) = (pushed[0], *pushed.last().unwrap());
    let wanted: Vec<i64> = kept.into_iter().filter(|at| (first..=last).contains(at)).collect();
    assert_eq!(pushed, wanted, "all of them, in order");
    let own = series(&house.admin().get("/metrics").text());
    assert!(own["lamplighter_push_samples_total"] > 20.0 && own["lamplighter_push_failures_total"] >= 1.0);
    house.admin().put("/api/settings", &json!({ "push.url": "" })).is(200);
}

#[test]
fn what_containers_use_is_pushed_under_their_names() {
    let (folder, engine) = (Folder::new(), Engine::new());
    let docker = fake::engine::Engine::start(folder.path());
    let socket = docker.socket.to_str().unwrap();
    let house = House::with(Processes::One, &[("LAMPLIGHTER_CONTAINERS_SOCKET", socket)]);
    let url = format!("http://127.0.0.1:{}/", engine.port);
    house.admin().put("/api/settings", &json!({ "push.url": url })).is(200);
    docker.run("web", 1);
    for name in ["memory_used_bytes", "pids", "restarts"] {
        let name = format!("lamplighter_container_{name}");
        eventually(&name, || (!engine.times(&name).is_empty()).then_some(()));
    }
    let requests = engine.requests.lock().unwrap();
    let mut lines = requests.iter().flat_map(|(_, body)| body.lines());
    let memory = lines
        .find(|line| line.contains("lamplighter_container_memory_used_bytes"))
        .unwrap();
    assert!(
        memory.contains("\"container\":\"local/web\"") && memory.contains("2000000"),
        "{memory}"
    );
}

#[test]
fn the_engine_s_secret_goes_to_no_place_that_it_was_not_given_for() {
    let house = House::new();
    let admin = house.admin();
    let (home, away) = ("http://192.0.2.5:8428", "http://192.0.2.6:8428");
    for (change, kept) in [
        (json!({ "push.url": format!("{home}/insert") }), true),
        (json!({ "push.read_url": home }), true),
        (json!({ "push.read_url": away }), false),
        (json!({ "push.url": away }), false),
        (json!({ "push.url": "https://192.0.2.5:8428" }), false),
        (json!({ "push.url": null }), false),
    ] {
        admin
            .put("/api/settings", &json!({ "push.url": home, "push.read_url": null }))
            .is(200);
        admin
            .put("/api/exporter/push-secret", &json!({ "secret": "an engine's s3cret" }))
            .is(204);
        admin.put("/api/settings", &change).is(200);
        let sealed: i64 = house
            .database("lamplighter.db")
            .query_row("SELECT count(*) FROM engine", [], |r| r.get(0))
            .unwrap();
        assert_eq!(sealed == 1, kept, "{change}");
    }
}

/// Values that only an engine has: `at` in unix seconds of each step's end.
fn range(name: &str, values: impl Fn(i64) -> Option<f64>, from: i64, to: i64, step: i64) -> String {
    let parts = ["avg_over_time", "min_over_time", "max_over_time"].map(|part| {
        let times = (from..=to).step_by(step as usize);
        let values: Vec<String> = times
            .filter_map(|at| values(at).map(|v| format!("[{at},\"{v}\"]")))
            .collect();
        let metric = json!({ "__name__": name, "server": "old \"1\"", "rollup": part });
        format!("{{\"metric\":{metric},\"values\":[{}]}}", values.join(","))
    });
    format!(
        "{{\"status\":\"success\",\"data\":{{\"resultType\":\"matrix\",\"result\":[{}]}}}}",
        parts.join(",")
    )
}

fn asked(path: &str, name: &str) -> i64 {
    let (_, rest) = path
        .split_once(&format!("&{name}="))
        .unwrap_or_else(|| panic!("no {name} in {path}"));
    rest.trim_end_matches(" HTTP/1.1")
        .split(['&', 's'])
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
fn long_charts_come_from_the_engine_and_its_silence_is_told() {
    let house = House::new();
    let admin = house.admin();
    let secret = house.canary("engine password 2");
    let basic = house.canary(lamplighter::base::text::base64(format!("lamp:{secret}").as_bytes()));
    let manner = Arc::new(Mutex::new("good"));
    let requests: Arc<Mutex<Vec<String>>> = Arc::default();
    let engine = {
        let (manner, requests) = (manner.clone(), requests.clone());
        Fake::new(move |head, peer| {
            requests.lock().unwrap().push(head.to_string());
            let path = head.lines().next().unwrap();
            let (from, to, step) = (asked(path, "start"), asked(path, "end"), asked(path, "step"));
            // Every tenth is a gap, so that gaps are seen to stay gaps.
            let good = || {
                let value = |at: i64| (at / step % 10 != 0).then_some(0.25);
                range("lamplighter_server_cpu_usage_ratio", value, from, to, step).into_bytes()
            };
            let json = "application/json";
            let manner = *manner.lock().unwrap();
            match manner {
                "good" => drop(peer.write_all(&http("200 OK", json, &good()))),
                "refuses" => drop(peer.write_all(&http("422 No", json, b"{\"error\":\"bad\\nquery\"}"))),
                "odd" => drop(peer.write_all(&http("200 OK", "text/html", b"<h1>Sign in</h1>"))),
                "endless" => while peer.write_all(&[b'['; 65_536]).is_ok() {},
                "huge" => {
                    let _ = peer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 900000000\r\n\r\n");
                    while peer.write_all(&[b' '; 65_536]).is_ok() {}
                }
                _ => thread::sleep(std::time::Duration::from_secs(20)),
            }
        })
    };
    let id = add(&house, "old \"1\"", 9);
    house
        .database("lamplighter.db")
        .execute("UPDATE servers SET created_at = created_at - 1000 * 86400000", [])
        .unwrap();
    let chart = |period: &str| admin.get(&format!("/api/servers/{id}/metrics?period={period}")).is(200);

    // Nobody has named an engine: an empty chart, and nothing to explain.
    let alone = chart("1y");
    assert_eq!((&alone["engine"], &alone["notice"]), (&json!(false), &json!(null)));
    admin.put("/api/exporter/push-secret", &json!({ "secret": secret }));
    let read_url = |url: &str| admin.put("/api/settings", &json!({ "push.read_url": url, "push.user": "lamp" }));
    read_url("http://u:p@vm").fails(422, "invalid");
    read_url(&format!("http://127.0.0.1:{}/select/0/prometheus/", engine.port)).is(200);

    for period in ["1y", "90d", "24h"] {
        let chart = chart(period);
        assert_eq!(
            (&chart["engine"], &chart["notice"]),
            (&json!(true), &json!(null)),
            "{period}"
        );
        let (step, cpu) = (chart["step_s"].as_i64().unwrap(), &chart["series"][0]);
        assert_eq!(
            (&cpu["key"], chart["series"].as_array().unwrap().len()),
            (&json!("cpu"), 1)
        );
        let points = cpu["points"].as_array().unwrap();
        assert!((300..=720).contains(&points.len()), "{period}: {}", points.len());
        assert!(points.iter().all(|p| p[1] == 25.0 && p[2] == 25.0 && p[3] == 25.0));
        let at = |p: &serde_json::Value| p[0].as_i64().unwrap() / 1000;
        // The engine's time is the end of a step, ours its beginning.
        assert!(points.iter().all(|p| at(p) % step == 0 && (at(p) / step + 1) % 10 != 0));
    }
    {
        let requests = requests.lock().unwrap();
        let head = &requests[0];
        assert!(
            head.starts_with("GET /select/0/prometheus/api/v1/query_range?query=aggr_over_time"),
            "{head}"
        );
        assert!(head.contains(&format!("authorization: Basic {basic}\r\n")), "{head}");
        assert!(
            head.contains("server%3D%22old%20%5C%221%5C%22%22%7D"),
            "the name keeps its quotes: {head}"
        );
    }
    // A person sees where it comes from.
    let answer = house.sign_in(ADMIN, &house.password);
    let browser = house.client().by(Who::cookie(&answer, house.address));
    let page = |period: &str| browser.get(&format!("/servers/{id}/metrics?period={period}")).text();
    assert!(page("1y").contains("comes from the engine"));

    // However it fails, the chart is answered soon with what is there, and says so; then it is left alone for a while.
    let rested = || {
        let metrics = house.database("metrics.db");
        metrics
            .execute("DELETE FROM note WHERE key = 'engine.rests'", [])
            .unwrap();
    };
    for (bad, say) in [
        ("refuses", "422"),
        ("odd", "something else"),
        ("endless", ""),
        ("huge", ""),
        ("hangs", ""),
    ] {
        *manner.lock().unwrap() = bad;
        let began = std::time::Instant::now();
        let chart = chart("1y");
        assert!(began.elapsed().as_secs() < 10, "{bad} took {:?}", began.elapsed());
        let notice = chart["notice"].as_str().unwrap_or_else(|| panic!("{bad}: {chart}"));
        assert!(notice.contains(say) && notice.contains("127.0.0.1"), "{bad}: {notice}");
        assert_eq!(chart["engine"], false);
        let asked_so_far = requests.lock().unwrap().len();
        assert!(page("1y").contains("did not help"), "{bad}");
        assert_eq!(requests.lock().unwrap().len(), asked_so_far, "{bad}: it is left alone");
        rested();
    }
    // A crowd before an engine that hangs does not delay the daemon.
    let crowd: Vec<_> = (0..24).map(|_| house.admin()).collect();
    thread::scope(|scope| {
        for client in crowd {
            scope.spawn(move || client.get(&format!("/api/servers/{id}/metrics?period=1y")).is(200));
        }
        thread::sleep(std::time::Duration::from_millis(500));
        let began = std::time::Instant::now();
        admin.get("/api/servers").is(200);
        assert!(began.elapsed().as_millis() < 2_000, "{:?}", began.elapsed());
    });
    *manner.lock().unwrap() = "good";
    rested();
    let again = chart("1y");
    assert_eq!(again["notice"], json!(null), "it is asked again");
    read_url("http://169.254.169.254").is(200);
    let notice = chart("1y")["notice"].clone();
    assert!(notice.as_str().unwrap().contains("metadata"), "{notice}");
    read_url("").is(200);
    assert_eq!(chart("1y")["notice"], json!(null));
}
