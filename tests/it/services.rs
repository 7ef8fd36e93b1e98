//! Services that are looked at from here: pages, ports, jobs that call. Units and sessions on real servers are in tests/lab.

use crate::common;
use crate::fake::marzban::Marzban;

use common::client::Client;
use common::*;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;

/// A page that answers what it is told to.
struct Page {
    at: SocketAddr,
    answer: Arc<Mutex<(u16, String)>>,
}

impl Page {
    fn start() -> Page {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (at, answer) = (
            listener.local_addr().unwrap(),
            Arc::new(Mutex::new((200, String::new()))),
        );
        let told = answer.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut lines = BufReader::new(&stream).lines();
                while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
                let (status, body) = told.lock().unwrap().clone();
                let _ = write!(
                    &stream,
                    "HTTP/1.1 {status} x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
            }
        });
        Page { at, answer }
    }

    fn says(&self, status: u16, body: &str) {
        *self.answer.lock().unwrap() = (status, body.into());
    }
}

/// A Redis that holds these keys, and is in a mood.
struct Redis {
    at: SocketAddr,
    keys: Arc<Mutex<Vec<String>>>,
    mood: Arc<Mutex<&'static str>>,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Redis {
    fn start(keys: &[&str]) -> Redis {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let redis = Redis {
            at: listener.local_addr().unwrap(),
            keys: Arc::new(Mutex::new(keys.iter().map(|key| key.to_string()).collect())),
            mood: Arc::new(Mutex::new("")),
            heard: Arc::default(),
        };
        let (keys, mood, heard) = (redis.keys.clone(), redis.mood.clone(), redis.heard.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (keys, mood, heard) = (keys.clone(), mood.clone(), heard.clone());
                thread::spawn(move || while Redis::answer(&stream, &keys, *mood.lock().unwrap(), &heard).is_some() {});
            }
        });
        redis
    }

    fn command(stream: &std::net::TcpStream) -> Option<Vec<String>> {
        // Byte by byte: nothing of the next command may be read.
        let line = || {
            let mut line = Vec::new();
            for byte in std::io::Read::bytes(stream) {
                match byte.ok()? {
                    b'\n' => return String::from_utf8(line).ok(),
                    b'\r' => {}
                    byte => line.push(byte),
                }
            }
            None
        };
        let count: usize = line()?.strip_prefix('*')?.parse().ok()?;
        (0..count).map(|_| line().and_then(|_| line())).collect()
    }

    fn answer(
        mut stream: &std::net::TcpStream,
        keys: &Mutex<Vec<String>>,
        mood: &str,
        heard: &Mutex<Vec<String>>,
    ) -> Option<()> {
        let words = Redis::command(stream)?;
        heard.lock().unwrap().push(words.join(" "));
        let list = |all: &[String]| {
            let each: String = all.iter().map(|key| format!("${}\r\n{key}\r\n", key.len())).collect();
            format!("*{}\r\n{each}", all.len())
        };
        let mut keys = keys.lock().unwrap();
        let said = match (mood, words[0].as_str()) {
            ("loading", _) => "-LOADING Redis is loading the dataset in memory\r\n".into(),
            ("locked", "AUTH") if words[1] == "Ge-heim-4" => "+OK\r\n".into(),
            ("locked", "AUTH") => "-WRONGPASS invalid username-password pair or user is disabled.\r\n".into(),
            ("silent", _) => return Redis::command(stream).map(drop), // until the other end has had enough
            ("guest", "SCAN" | "SLOWLOG") => "-NOPERM this user has no permissions to run the command\r\n".into(),
            (_, "PING") => "+PONG\r\n".into(),
            (_, "INFO") => {
                let info = format!(
                    "role:master\r\nused_memory:4096\r\ndb0:keys={},expires=0\r\n",
                    keys.len()
                );
                format!("${}\r\n{info}\r\n", info.len())
            }
            (_, "SLOWLOG") => {
                "*1\r\n*6\r\n:1\r\n:1700000000\r\n:25000\r\n*3\r\n$3\r\nSET\r\n$9\r\nuser:4711\r\n$9\r\nits-value\r\n\
                               $9\r\n127.0.0.1\r\n$0\r\n\r\n"
                    .into()
            }
            (_, "SCAN") => {
                // Two parts, and an empty answer between them.
                let begins = words
                    .get(5)
                    .map_or(String::new(), |p| p.strip_suffix('*').unwrap().replace('\\', ""));
                let found = keys.iter().filter(|key| key.starts_with(&begins)).cloned();
                let (even, odd): (Vec<String>, Vec<String>) =
                    found.partition(|key| key.bytes().map(u32::from).sum::<u32>() % 2 == 0);
                match words[1].as_str() {
                    "0" => format!("*2\r\n$1\r\n7\r\n{}", list(&even)),
                    "7" => format!("*2\r\n$1\r\n9\r\n{}", list(&[])),
                    _ => format!("*2\r\n$1\r\n0\r\n{}", list(&odd)),
                }
            }
            (_, "UNLINK") => {
                let before = keys.len();
                keys.retain(|key| !words[1..].contains(key));
                format!(":{}\r\n", before - keys.len())
            }
            _ => "-ERR unknown command\r\n".into(),
        };
        stream.write_all(said.as_bytes()).ok()
    }
}

#[test]
fn a_cache_is_understood_and_keys_go_only_below_its_prefix_when_that_is_confirmed() {
    let keys = [
        "cache:1",
        "cache:2",
        "cache:3",
        "cachet:1",
        "user:4711:token",
        "secret-of-somebody",
    ];
    let (house, redis) = (House::new(), Redis::start(&keys));
    let admin = house.admin();
    let body =
        json!({ "name": "cache", "kind": "redis", "host": "127.0.0.1", "port": redis.at.port(), "interval_s": 10 });
    admin.post("/api/services", &body).is(201);
    let well = becomes(&admin, "cache", "healthy");
    assert_eq!(well["custom_metrics"]["keys"], 6.0);
    let stats = admin.get("/api/redis/cache/stats").is(200);
    assert_eq!(stats, admin.get("/api/redis/1/stats").is(200), "by its number as well");
    assert_eq!(stats["slow_log"][0]["command"], "SET user:…");
    let patterns = stats["key_patterns"].as_array().unwrap();
    let told: Vec<_> = patterns
        .iter()
        .map(|row| (row["prefix"].as_str().unwrap(), row["keys"].as_i64().unwrap()))
        .collect();
    assert_eq!(told, [("cache:", 3), ("", 1), ("cachet:", 1), ("user:", 1)]);
    let page = house.browser_of_admin().get("/services/cache").body;
    assert!(page.contains("SET user:…") && page.contains("cachet:"), "{page}");
    for secret in ["4711", "secret-of-somebody", "its-value"] {
        assert!(
            !page.contains(secret) && !stats.to_string().contains(secret),
            "{secret}"
        );
    }

    // Without a prefix nothing may go; with one it is counted first.
    let clear = |confirm: Value| admin.post("/api/redis/cache/clear", &json!({ "confirm": confirm }));
    admin
        .post("/api/redis/cache/clear", &json!({}))
        .fails(409, "clear_no_prefix");
    admin
        .patch("/api/services/cache", &json!({ "clear_prefix": "cache:" }))
        .is(200);
    for counted in [
        admin.post("/api/redis/cache/clear", &json!({})),
        clear(json!(false)),
        clear(json!(null)),
    ] {
        assert_eq!(
            counted.is(200),
            json!({ "count": 3, "complete": true, "prefix": "cache:" })
        );
    }
    for confirm in [json!(4), json!("cache"), json!(true), json!("")] {
        clear(confirm).fails(409, "clear_not_confirmed");
    }
    clear(json!([3])).fails(422, "invalid");
    house
        .somebody("viewer")
        .post("/api/redis/cache/clear", &json!({ "confirm": 3 }))
        .fails(403, "forbidden");
    assert_eq!(redis.keys.lock().unwrap().len(), 6);
    let mut browser = house.browser_of_admin();
    let asked = browser.get("/services/cache/clear").body;
    assert!(asked.contains(r#"name="confirm" value="3""#), "{asked}");
    let started = clear(json!(3)).is(202);
    let ended = house.wait_for(started["task_id"].as_i64().unwrap());
    assert_eq!(
        (&ended["status"], &ended["changed"]),
        (&json!("ok"), &json!(3)),
        "{ended}"
    );
    assert_eq!(
        *redis.keys.lock().unwrap(),
        ["cachet:1", "user:4711:token", "secret-of-somebody"]
    );
    let heard = redis.heard.lock().unwrap().join("\n");
    for never in ["KEYS", "FLUSH", "GET user", "DEL"] {
        assert!(!heard.contains(never), "{never}: {heard}");
    }

    // A prefix means itself, and the command line does the same.
    *redis.keys.lock().unwrap() = vec!["a*:1".into(), "ab:1".into()];
    admin
        .patch("/api/services/cache", &json!({ "clear_prefix": "a*" }))
        .is(200);
    let cli = |args: &[&str]| {
        let out = run(&[args, &["--data-dir", house.dir()]].concat());
        (out.status.code().unwrap(), said(&out))
    };
    let (code, counted) = cli(&["cache-clear", "cache"]);
    assert!(code == 0 && counted.contains("1 keys begin with “a*”"), "{counted}");
    let (code, done) = cli(&["cache-clear", "cache", "--confirm", "1"]);
    assert!(code == 0 && done.contains("Done."), "{done}");
    assert_eq!(*redis.keys.lock().unwrap(), ["ab:1"]);
    assert!(
        redis
            .heard
            .lock()
            .unwrap()
            .iter()
            .any(|line| line.ends_with(r"MATCH a\**"))
    );
    let (code, stats) = cli(&["cache-stats", "cache"]);
    assert!(
        code == 0 && stats.contains("memory_bytes") && stats.contains("SET user:…"),
        "{stats}"
    );
    // Another kind is no cache.
    admin
        .post(
            "/api/services",
            &json!({ "name": "port", "kind": "tcp", "host": "127.0.0.1", "port": redis.at.port() }),
        )
        .is(201);
    admin.get("/api/redis/port/stats").fails(404, "not_found");
}

#[test]
fn a_panel_tells_nodes_and_users_and_nothing_secret() {
    let (house, panel) = (House::new(), Marzban::start("Pa:nel & 7"));
    let admin = house.admin();
    let mut browser = house.browser_of_admin();
    assert!(
        !browser.get("/services").body.contains(r#"href="/marzban""#),
        "there is none"
    );
    let (right, wrong) = (house.canary("Pa:nel & 7"), house.canary("not-Pa:nel & 7"));
    let body = json!({ "name": "vpn", "kind": "marzban", "base_url": panel.url() + "/", "username": "admin", "password": right,
        "interval_s": 3600, "down_after": 1 });
    admin.post("/api/services", &body).is(201);
    let seen = becomes(&admin, "vpn", "degraded");
    assert!(
        seen["health_message"]
            .as_str()
            .unwrap()
            .starts_with("DE node is error: [Errno 111]"),
        "{seen}"
    );
    let one = admin.get("/api/marzban/instances/vpn").is(200);
    assert_eq!(admin.get("/api/marzban/instances").is(200)["instances"][0], one);
    assert_eq!(
        (&one["users"]["total"], &one["users"]["active"]),
        (&json!(5.0), &json!(3.0))
    );
    let nodes: Vec<_> = one["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n["name"].as_str().unwrap())
        .collect();
    assert_eq!(nodes, ["Master", "DE node", "Нидерланды-2"]);
    let stats = admin.get("/api/users/stats").is(200);
    assert_eq!((&stats["users"]["total"], &stats["seen"]), (&json!(5.0), &json!(1)));

    // One login serves many looks; one that has run out is renewed once.
    let looks = || {
        let seen = admin.post("/api/services/vpn/check", &json!({})).is(200);
        (
            seen["health"].as_str().unwrap().to_string(),
            seen["health_code"].as_str().unwrap().to_string(),
        )
    };
    let is = |health: &str, code: &str| (health.to_string(), code.to_string());
    assert_eq!(looks(), is("degraded", "marzban_node"));
    assert_eq!(panel.state().logins, 1);
    panel.state().expired = true;
    assert_eq!(looks(), is("degraded", "marzban_node"));
    assert_eq!(panel.state().logins, 2);
    for node in panel.state().nodes.as_array_mut().unwrap() {
        node["status"] = json!("connected");
    }
    assert_eq!(looks(), is("healthy", ""));
    panel.state().broken = true;
    assert_eq!(looks(), is("unhealthy", "marzban_error"));
    assert!(
        service(&admin, "vpn")["health_message"]
            .as_str()
            .unwrap()
            .ends_with("500: Internal Server Error")
    );
    panel.state().broken = false;
    admin.patch("/api/services/vpn", &json!({ "password": wrong })).is(200);
    assert_eq!(looks(), is("unhealthy", "marzban_password"));
    admin.patch("/api/services/vpn", &json!({ "password": right })).is(200);
    assert_eq!(looks(), is("healthy", ""));

    // Users: by state, changed, and nothing of them that is a secret.
    let users = admin.get("/api/marzban/instances/vpn/users?status=limited").is(200);
    assert_eq!(
        (&users["total"], &users["users"][0]["username"]),
        (&json!(1), &json!("ivan_petrov"))
    );
    admin
        .get("/api/marzban/instances/vpn/users?status=zombie")
        .fails(422, "invalid");
    let user = |name: &str| format!("/api/marzban/instances/vpn/users/{name}");
    let changed = admin
        .patch(
            &user("anna.k"),
            &json!({ "enabled": true, "expires_at": "2027-01-02T03:04Z" }),
        )
        .is(200);
    assert_eq!(
        (&changed["status"], &changed["expires_at"]),
        (&json!("active"), &json!("2027-01-02T03:04:00.000Z"))
    );
    let changed = admin.patch(&user("anna.k"), &json!({ "expires_at": "" })).is(200);
    assert_eq!(changed["expires_at"], Value::Null);
    let reset = admin.post(&(user("ivan_petrov") + "/reset"), &json!({})).is(200);
    assert_eq!(reset["used_bytes"], 0.0);
    admin
        .patch(&user("ghost"), &json!({ "enabled": false }))
        .fails(404, "marzban_missing");
    admin.patch(&user("anna.k"), &json!({})).fails(422, "invalid");
    admin
        .patch(&user("anna.k"), &json!({ "expires_at": "soon" }))
        .fails(422, "invalid");
    let viewer = house.somebody("viewer");
    viewer
        .patch(&user("anna.k"), &json!({ "enabled": false }))
        .fails(403, "forbidden");
    assert!(browser.get("/services").body.contains(r#"href="/marzban""#));
    let (page, list) = (
        browser.get("/marzban").body,
        browser.get("/marzban/vpn?status=active").body,
    );
    assert!(
        page.contains("Нидерланды-2") && list.contains("anna.k") && !list.contains("hold_1"),
        "{page}{list}"
    );
    let (code, table) = {
        let out = run(&["marzban-list", "--data-dir", house.dir()]);
        (out.status.code().unwrap(), said(&out))
    };
    assert!(
        code == 0 && table.contains("DE node") && table.contains("users 5"),
        "{table}"
    );
    let told = admin.get("/api/marzban/instances/vpn/users").is(200).to_string() + &list;
    for file in files(std::path::Path::new(house.dir())) {
        let bytes = std::fs::read(&file).unwrap_or_default();
        for secret in ["AXGvwPNHaEIjyn3Gc", "/sub/aXZh", "тариф", "token-1-of-the-panel"] {
            assert_eq!(found_in(&bytes, secret), None, "{}", file.display());
            assert!(!told.contains(secret), "{secret}");
        }
    }
}

#[test]
fn a_cache_that_loads_refuses_or_is_silent_says_so() {
    let (house, redis) = (House::new(), Redis::start(&["a:1"]));
    let admin = house.admin();
    let looks = |mood: &'static str| {
        *redis.mood.lock().unwrap() = mood;
        let seen = admin.post("/api/services/cache/check", &json!({})).is(200);
        (
            seen["health"].as_str().unwrap().to_string(),
            seen["health_code"].as_str().unwrap().to_string(),
        )
    };
    let is = |health: &str, code: &str| (health.to_string(), code.to_string());
    let body = json!({
        "name": "cache", "kind": "redis", "host": "127.0.0.1", "port": redis.at.port(), "interval_s": 3600, "down_after": 1,
        "clear_prefix": "a:",
    });
    admin.post("/api/services", &body).is(201);
    becomes(&admin, "cache", "healthy");
    assert_eq!(looks("loading"), is("degraded", "redis_loading"));
    let refused = admin
        .post("/api/redis/cache/clear", &json!({}))
        .fails(502, "redis_refused");
    assert!(refused["detail"].as_str().unwrap().contains("loading"), "{refused}");
    let asked = house.browser_of_admin().get("/services/cache/clear").body;
    assert!(
        asked.contains("It is loading its data.") && !asked.contains("name=\"confirm\""),
        "{asked}"
    );
    assert_eq!(
        looks("guest"),
        is("healthy", ""),
        "who may not ask for more is told the rest"
    );
    assert_eq!(looks("silent"), is("unhealthy", "redis_slow"));
    let wrong = house.canary("not-Ge-heim-4");
    admin
        .patch("/api/services/cache", &json!({ "password": wrong }))
        .is(200);
    assert_eq!(looks("locked"), is("unhealthy", "redis_password"));
    let right = house.canary("Ge-heim-4");
    admin
        .patch("/api/services/cache", &json!({ "password": right }))
        .is(200);
    assert_eq!(looks("locked"), is("healthy", ""));
}

fn service(admin: &Client, name: &str) -> Value {
    admin.get(&format!("/api/services/{name}")).is(200)
}

fn becomes(admin: &Client, name: &str, health: &str) -> Value {
    eventually(health, || Some(service(admin, name)).filter(|s| s["health"] == health))
}

fn alert(admin: &Client, kind: &str) -> Option<Value> {
    let all = admin.get("/api/alerts?state=firing").is(200);
    all["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|alert| alert["kind"] == kind)
        .cloned()
}

#[test]
fn a_page_is_looked_at_told_down_and_told_up_again() {
    let (house, page) = (House::new(), Page::start());
    let admin = house.admin();
    page.says(200, r#"{"status":"ok","queue":{"length":3}}"#);
    let made = admin.post(
        "/api/services",
        &json!({
            "name": "shop", "kind": "http", "url": format!("http://{}/health", page.at), "interval_s": 10, "tags": ["web"],
            "json": [{ "path": "status", "op": "==", "value": "ok" }, { "path": "queue.length", "op": "<", "value": 100 }],
        }),
    );
    assert_eq!(made.header("location"), Some("/api/services/shop"));
    assert_eq!(made.is(201)["health"], "unknown");
    let well = becomes(&admin, "shop", "healthy");
    assert_eq!(
        (&well["custom_metrics"]["queue.length"], &well["state"]),
        (&json!(3.0), &json!("running"))
    );
    assert!(well["latency_ms"].as_f64().unwrap() > 0.0);

    // Two bad looks decide, and the second does not wait for its interval.
    page.says(200, r#"{"status":"ok","queue":{"length":500}}"#);
    let down = becomes(&admin, "shop", "unhealthy");
    assert_eq!(down["health_message"], "queue.length < 100 is expected; it is 500.");
    let told = eventually("the alert", || alert(&admin, "service.down"));
    assert_eq!(
        (&told["title"], &told["level"]),
        (&json!("shop does not work"), &json!("ERROR"))
    );
    assert_eq!(admin.get("/api/status").is(200)["status"], "unhealthy");
    page.says(200, r#"{"status":"ok","queue":{"length":1}}"#);
    becomes(&admin, "shop", "healthy");
    eventually("the alert is over", || {
        alert(&admin, "service.down").is_none().then_some(())
    });

    // Figures are in the charts and in the export; the page shows them.
    let stats = admin.get("/api/services/shop/stats").is(200);
    let keys: Vec<_> = stats["series"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["key"].as_str().unwrap())
        .collect();
    assert!(
        keys.contains(&"up") && keys.contains(&"custom:queue.length"),
        "{keys:?}"
    );
    let one = admin
        .get("/api/metrics/history?service=shop&metric=latency&period=1h")
        .is(200);
    let [latency] = one["series"].as_array().unwrap().as_slice() else {
        panic!("{one}")
    };
    assert!(latency["key"] == "latency" && !latency["points"].as_array().unwrap().is_empty());
    admin.get("/api/metrics/history?service=none").fails(404, "not_found");
    let chosen = "series=service:1:latency&series=service:1:custom:queue.length&series=service:9:up";
    let charts = admin.get(&format!("/api/charts?{chosen}")).is(200);
    let keys: Vec<_> = charts["series"].as_array().unwrap().iter().map(|s| &s["key"]).collect();
    assert_eq!(keys, ["s0", "s1"], "what is not there is left out");
    admin.get("/api/charts?series=service:1").fails(422, "invalid");
    admin
        .get(&format!("/api/charts?{}", ["series=service:1:up"; 13].join("&")))
        .fails(422, "invalid");
    let mut browser = house.browser_of_admin();
    let shown = browser.get(&format!("/charts?{chosen}&subject=service:1&period=6h"));
    assert!(shown.has("data-series=\"s1\"") && shown.has("value=\"service:1:latency\""));
    for path in [
        "/services",
        "/services/shop",
        "/services/shop/edit",
        "/services/new?kind=http",
    ] {
        assert_eq!(browser.get(path).status, 200, "{path}");
    }
    assert!(browser.get("/services").body.contains("shop"));

    // What is switched off says nothing any more.
    page.says(500, "");
    becomes(&admin, "shop", "unhealthy");
    let off = admin.patch("/api/services/shop", &json!({ "enabled": false })).is(200);
    assert_eq!(
        (&off["health"], &off["health_code"]),
        (&json!("unknown"), &json!("off"))
    );
    eventually("the alert is over", || {
        alert(&admin, "service.down").is_none().then_some(())
    });
    admin.delete("/api/services/shop").is(204);
    admin.get("/api/services/shop").fails(404, "not_found");
}

#[test]
fn an_operator_reaches_private_addresses_only_where_they_are_opened() {
    let (house, page) = (House::new(), Page::start());
    let (admin, operator) = (house.admin(), house.somebody("operator"));
    let tcp = |name: &str| json!({ "name": name, "kind": "tcp", "host": "127.0.0.1", "port": page.at.port(), "interval_s": 10 });
    operator.post("/api/services", &tcp("theirs")).is(201);
    let refused = eventually("a look", || {
        Some(service(&operator, "theirs")).filter(|s| !s["checked_at"].is_null())
    });
    assert_eq!(
        (&refused["health"], &refused["health_code"]),
        (&json!("unknown"), &json!("address_refused"))
    );
    admin
        .put("/api/settings", &json!({ "services.networks": "127.0.0.0/8" }))
        .is(200);
    let seen = admin.post("/api/services/theirs/check", &json!({})).is(200);
    assert_eq!(seen["health"], "healthy");
    // Our own doors are never looked at.
    let own = json!({ "name": "own", "kind": "tcp", "host": "127.0.0.1", "port": house.address.port() });
    admin.post("/api/services", &own).is(201);
    let own = admin.post("/api/services/own/check", &json!({})).is(200);
    assert_eq!(own["health"], "unknown", "{own}");
    house
        .somebody("viewer")
        .post("/api/services", &tcp("x"))
        .fails(403, "forbidden");
}

#[test]
fn a_job_that_calls_is_due_late_and_bad() {
    let house = House::new();
    let admin = house.admin();
    let made = admin.post(
        "/api/services",
        &json!({ "name": "backup", "kind": "heartbeat", "period_s": 60, "grace_s": 0, "interval_s": 10 }),
    );
    let url = made.is(201)["call_url"].as_str().unwrap().to_string();
    assert_eq!(
        house.somebody("viewer").get("/api/services/backup").is(200)["call_url"],
        Value::Null
    );
    let anybody = Client::new(house.address);
    anybody.get("/api/heartbeat?token=no-such").fails(404, "not_found");
    assert_eq!(anybody.get(&url).status, 204);
    let well = admin.post("/api/services/backup/check", &json!({})).is(200);
    assert_eq!(well["health"], "healthy");

    assert_eq!(anybody.get(&format!("{url}&what=start")).status, 204);
    let said = ("text/plain", "no space left\n".as_bytes());
    assert_eq!(anybody.send("POST", &format!("{url}&exit=2"), Some(said)).status, 204);
    becomes(&admin, "backup", "unhealthy");
    let page = house.browser_of_admin().get("/services/backup").body;
    assert!(page.contains("no space left") && page.contains(&url), "{page}");
    assert_eq!(anybody.get(&url).status, 204);
    becomes(&admin, "backup", "healthy");
    house
        .database("lamplighter.db")
        .execute("UPDATE service_states SET called_at = called_at - 61000", [])
        .unwrap();
    let late = becomes(&admin, "backup", "unhealthy");
    assert_eq!(late["health_code"], "late");
    // The token is nowhere but in its sealed column.
    let token = url.rsplit('=').next().unwrap();
    for file in files(std::path::Path::new(house.dir())) {
        let bytes = std::fs::read(&file).unwrap_or_default();
        assert_eq!(found_in(&bytes, token), None, "{}", file.display());
    }
}

#[test]
fn the_command_line_tells_by_its_code_and_a_monitor_cannot_be_started() {
    let (house, page) = (House::new(), Page::start());
    let admin = house.admin();
    admin
        .post(
            "/api/services",
            &json!({ "name": "shop", "kind": "http", "url": format!("http://{}/", page.at), "interval_s": 10 }),
        )
        .is(201);
    becomes(&admin, "shop", "healthy");
    let cli = |args: &[&str]| {
        let out = run(&[args, &["--data-dir", house.dir()]].concat());
        (out.status.code().unwrap(), said(&out))
    };
    let (code, table) = cli(&["svc-status"]);
    assert!(
        code == 0 && table.contains("healthy") && table.contains("shop"),
        "{code} {table}"
    );
    let (code, told) = cli(&["svc-metrics", "shop"]);
    assert!(code == 0 && told.contains("shop latency_ms "), "{told}");
    page.says(503, "");
    becomes(&admin, "shop", "unhealthy");
    let (code, table) = cli(&["svc-status", "shop"]);
    assert!(
        code == 4 && table.contains("It answers 503; 200-399 is expected."),
        "{code} {table}"
    );
    let (_, json) = cli(&["svc-status", "--json"]);
    assert_eq!(
        serde_json::from_str::<Value>(&json).unwrap()["services"][0]["name"],
        "shop"
    );
    page.says(200, "");
    assert_eq!(cli(&["svc-health", "shop"]).0, 0);
    admin
        .post("/api/services/shop/start", &json!({}))
        .fails(409, "service_only_looked_at");
    assert_ne!(cli(&["svc-restart", "shop"]).0, 0);
}

#[test]
fn a_rule_on_a_services_figures_is_an_alert_about_that_service() {
    let page = Page::start();
    page.says(200, "well");
    let house = House::new();
    let admin = house.admin();
    let url = format!("http://{}/", page.at);
    admin
        .post(
            "/api/services",
            &json!({ "name": "slow", "kind": "http", "url": url, "interval_s": 10 }),
        )
        .is(201);
    let rule =
        json!({ "name": "slow answers", "watches": "service_latency", "threshold": 0, "for_s": 0, "level": "ERROR" });
    admin.post("/api/alert-rules", &rule).is(201);
    let alert = eventually("an alert", || {
        let all = admin.get("/api/alerts?state=firing").is(200);
        all["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|alert| alert["kind"] == "metric.service_latency")
            .cloned()
    });
    assert_eq!(
        (&alert["target"]["type"], &alert["target"]["name"]),
        (&json!("service"), &json!("slow"))
    );
    assert_eq!(alert["level"], "ERROR");
}

#[test]
fn a_file_of_services_is_read_in_whole_or_not_at_all() {
    let house = House::new();
    let admin = house.admin();
    let shop = json!({ "name": "shop", "kind": "tcp", "host": "127.0.0.1", "port": 80, "enabled": false });
    admin.post("/api/services", &shop).is(201);
    let import = |file: &Value, apply: bool| {
        let told = admin
            .post("/api/services/import", &json!({ "file": file, "apply": apply }))
            .is(200);
        let items = told["items"].as_array().unwrap().iter();
        let actions: std::collections::BTreeMap<String, String> = items
            .map(|item| {
                (
                    item["path"].as_str().unwrap().into(),
                    item["action"].as_str().unwrap().into(),
                )
            })
            .collect();
        (told["applied"] == true, actions)
    };
    let file = json!({
        "services": { "shop": { "interval_s": 20 }, "mail": { "kind": "tcp", "host": "127.0.0.1", "port": 25, "enabled": false } },
        "monitoring": {
            "web_dashboard": { "enabled": true, "auth_enabled": true },
            "alerts": { "telegram_enabled": false, "admin_chat_ids": [] },
        },
        "logging": { "level": "debug" },
    });
    let wanted = |path: &str| match path {
        "services.shop" => "update",
        "services.mail" => "create",
        "logging.level" => "elsewhere",
        _ => "same",
    };
    let (applied, actions) = import(&file, false);
    assert!(!applied && actions.len() == 7, "{actions:?}");
    for (path, action) in &actions {
        assert_eq!(action, wanted(path), "{path}");
    }
    assert_eq!(service(&admin, "shop")["interval_s"], 30, "nothing was done yet");
    admin.get("/api/services/mail").is(404);
    assert!(import(&file, true).0);
    assert_eq!(service(&admin, "shop")["interval_s"], 20);
    assert_eq!(service(&admin, "mail")["config"]["port"], 25);
    // One thing that cannot be taken, and nothing is.
    for bad in [
        json!({ "services": { "shop": { "interval_s": 40 }, "bot": { "kind": "unit" } } }),
        json!({ "services": { "shop": { "interval_s": 40 } }, "monitoring": { "web_dashboard": { "port": 8080 } } }),
        json!({ "services": { "shop": { "interval_s": 40 } }, "monitoring": { "web_dashboard": { "auth_enabled": false } } }),
        json!({ "services": { "shop": { "interval_s": 40 } }, "anything": 1 }),
    ] {
        let (applied, actions) = import(&bad, true);
        assert!(
            !applied && actions.values().any(|action| action == "refused"),
            "{bad}: {actions:?}"
        );
        assert_eq!(service(&admin, "shop")["interval_s"], 20, "{bad}");
    }
    // The command line says the same.
    let path = house.folder.file("services.json", file.to_string());
    let out = run(&[
        "svc-import",
        "--file",
        path.to_str().unwrap(),
        "--plan",
        "--data-dir",
        house.dir(),
    ]);
    assert!(said(&out).contains("update     services.shop"), "{}", said(&out));
}
