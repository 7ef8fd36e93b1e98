//! Services that are looked at from here: pages, ports, jobs that call. Units and sessions on real servers are in tests/lab.

use crate::common;

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
    admin.post("/api/services", &json!({ "name": "slow", "kind": "http", "url": url, "interval_s": 10 })).is(201);
    let rule = json!({ "name": "slow answers", "watches": "service_latency", "threshold": 0, "for_s": 0, "level": "ERROR" });
    admin.post("/api/alert-rules", &rule).is(201);
    let alert = eventually("an alert", || {
        let all = admin.get("/api/alerts?state=firing").is(200);
        all["items"].as_array().unwrap().iter().find(|alert| alert["kind"] == "metric.service_latency").cloned()
    });
    assert_eq!((&alert["target"]["type"], &alert["target"]["name"]), (&json!("service"), &json!("slow")));
    assert_eq!(alert["level"], "ERROR");
}
