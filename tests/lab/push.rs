//! Samples pushed to a real VictoriaMetrics (Debian's package `victoria-metrics`, or `LAMPLIGHTER_VICTORIA` names the
//! program), through an outage of it, and asked back from it.

use crate::{common, fake};

use common::*;
use fake::{Fake, data, http};
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

struct Engine(Child);

impl Engine {
    fn start(port: u16, folder: &Path) -> Engine {
        let program = std::env::var("LAMPLIGHTER_VICTORIA").unwrap_or_else(|_| "victoria-metrics".into());
        let child = Command::new(&program)
            .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
            .arg(format!("-storageDataPath={}", folder.display()))
            .args([
                "-httpAuth.username=lamp",
                "-httpAuth.password=engine password 1",
                "-search.latencyOffset=0s",
                "-retentionPeriod=100y",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("{program}: {e}. apt-get install victoria-metrics"));
        let engine = Engine(child);
        let at = SocketAddr::from(([127, 0, 0, 1], port));
        eventually("the engine listens", || std::net::TcpStream::connect(at).ok());
        engine
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Every sample that the engine has of a series, in s.
fn exported(port: u16, name: &str) -> Vec<i64> {
    let authorization = lamplighter::base::text::base64(b"lamp:engine password 1");
    let client = Client::new(([127, 0, 0, 1], port).into()).with("Authorization", &format!("Basic {authorization}"));
    let text = client.get(&format!("/api/v1/export?match[]={name}")).text();
    text.lines()
        .flat_map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["timestamps"]
                .as_array()
                .unwrap()
                .clone()
        })
        .map(|at| at.as_i64().unwrap() / 1000)
        .collect()
}

#[test]
#[ignore = "lab: no host, victoria-metrics"]
fn a_victoria_metrics_gets_every_sample_through_an_outage() {
    let folder = Folder::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let engine = Engine::start(port, &folder.path().join("vm"));
    let glances = Fake::new(|_, peer| {
        let body = data("glances/4.3.3/full/all.json");
        let _ = peer.write_all(&http("200 OK", "application/json", &body));
    });
    let house = House::new();
    let admin = house.admin();
    for n in 1..=3 {
        let mut wanted = server(&format!("web \"{n}\""), 1);
        wanted["glances_port"] = json!(glances.port);
        wanted["glances_path"] = json!("/api/4/all");
        wanted["poll_interval_s"] = json!(5);
        admin.post("/api/servers", &wanted).is(201);
    }
    let secret = house.canary("engine password 1");
    admin.put("/api/exporter/push-secret", &json!({ "secret": secret }));
    let url = format!("http://127.0.0.1:{port}");
    admin
        .put("/api/settings", &json!({ "push.url": url, "push.user": "lamp" }))
        .is(200);
    let name = "lamplighter_server_memory_usage_ratio";
    eventually("samples are there", || (exported(port, name).len() >= 6).then_some(()));

    drop(engine);
    thread::sleep(Duration::from_secs(30));
    let engine = Engine::start(port, &folder.path().join("vm"));
    let metrics = house.database("metrics.db");
    let kept = || -> Vec<i64> {
        let mut statement = metrics.prepare("SELECT id & 4294967295 FROM hot ORDER BY 1").unwrap();
        statement
            .query_map([], |r| r.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect()
    };
    let all = kept();
    let newest = *all.last().unwrap();
    eventually("it has all there was", || {
        exported(port, name).iter().any(|at| *at >= newest).then_some(())
    });
    let mut there = exported(port, name);
    there.sort_unstable();
    let (first, last) = (there[0], *there.last().unwrap());
    let wanted: Vec<i64> = kept().into_iter().filter(|at| (first..=last).contains(at)).collect();
    assert_eq!(
        there, wanted,
        "each sample of the three servers once, those of the outage as well"
    );
    println!("{} samples of one series, none missing, none twice", there.len());
    drop(engine);
}

#[test]
#[ignore = "lab: no host, victoria-metrics"]
fn years_are_read_back_from_a_victoria_metrics() {
    const HOUR: i64 = 3_600;
    const DAY: i64 = 24 * HOUR;
    let folder = Folder::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let _engine = Engine::start(port, &folder.path().join("vm"));
    let house = House::new();
    let admin = house.admin();
    let secret = house.canary("engine password 1");
    admin.put("/api/exporter/push-secret", &json!({ "secret": secret }));
    let url = format!("http://127.0.0.1:{port}");
    let settings = json!({ "push.read_url": url, "push.user": "lamp" });
    admin.put("/api/settings", &settings).is(200);
    let id = admin.post("/api/servers", &server("web \"1\" \\ ü", 1)).is(201)["id"].clone();

    // Two years of a value every ten minutes that says when it was measured, without the days 100 to 160.
    let end = lamplighter::base::clock::now() / 1000 / DAY * DAY;
    let start = end - 730 * DAY;
    let times: Vec<i64> = (start..end)
        .step_by(600)
        .filter(|at| !(100 * DAY..160 * DAY).contains(&(at - start)))
        .collect();
    let day = |at: i64| (at - start) / DAY;
    let hour = |at: i64| at % DAY / HOUR;
    let line = |name: &str, more: &[(&str, &str)], value: &dyn Fn(i64) -> f64| {
        let mut metric = json!({ "__name__": name, "server": "web \"1\" \\ ü" });
        for (label, text) in more {
            metric[*label] = json!(text);
        }
        let values: Vec<f64> = times.iter().map(|at| value(*at)).collect();
        let times: Vec<i64> = times.iter().map(|at| at * 1000).collect();
        json!({ "metric": metric, "values": values, "timestamps": times }).to_string() + "\n"
    };
    let load = line("lamplighter_server_load1", &[], &|at| (day(at) * 100 + hour(at)) as f64);
    let srv = [("mountpoint", "/srv")];
    let disk = line("lamplighter_server_filesystem_usage_ratio", &srv, &|_| 0.25);
    let authorization = lamplighter::base::text::base64(b"lamp:engine password 1");
    let engine = Client::new(([127, 0, 0, 1], port).into()).with("Authorization", &format!("Basic {authorization}"));
    let body = load + &disk;
    let taken = engine.send("POST", "/api/v1/import", Some(("application/json", body.as_bytes())));
    assert_eq!(taken.status, 204);
    // The engine shows what it took a second or more later, and not all of it at once: now, so that no chart is of a half.
    assert_eq!(engine.send("GET", "/internal/force_flush", None).status, 200);

    let chart = |from: i64, to: i64| {
        let began = std::time::Instant::now();
        let chart = admin
            .get(&format!("/api/servers/{}/metrics?from={from}&to={to}", id))
            .is(200);
        assert_eq!((&chart["notice"], &chart["engine"]), (&json!(null), &json!(true)));
        (chart, began.elapsed())
    };
    /// Unix seconds, mean, least and greatest value.
    type Point = (i64, f64, f64, f64);
    let lines = |chart: &Value| -> Vec<(String, Vec<Point>)> {
        let point = |p: &Value| {
            let n = |i: usize| p[i].as_f64().unwrap();
            (n(0) as i64 / 1000, n(1), n(2), n(3))
        };
        let all = chart["series"].as_array().unwrap().iter();
        all.map(|s| {
            let points = s["points"].as_array().unwrap().iter().map(point).collect();
            (s["key"].as_str().unwrap().to_string(), points)
        })
        .collect()
    };
    let seen = eventually("the import is to be seen", || {
        let (chart, took) = chart(start, end - 1);
        let all = lines(&chart);
        (all.len() == 2 && all.iter().all(|(_, points)| points.len() > 300)).then_some((chart, took))
    });
    let (whole, took) = seen;
    let step = whole["step_s"].as_i64().unwrap();
    assert_eq!(step, 2 * DAY, "730 days are at most 720 points");
    let all = lines(&whole);
    assert_eq!(
        all.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(),
        ["disk:/srv", "load1"]
    );
    assert!(all[0].1.iter().all(|p| (p.1, p.2, p.3) == (25.0, 25.0, 25.0)));
    let load = &all[1].1;
    assert!(
        (330..=336).contains(&load.len()),
        "{} points, the gap is one",
        load.len()
    );
    for (at, mean, least, greatest) in load.iter().filter(|p| p.0 >= start && p.0 + step <= end) {
        // The gap may begin or end within a step.
        if ![98, 99, 100, 158, 159, 160].contains(&day(*at)) {
            assert_eq!(*least, (day(*at) * 100) as f64, "the first hour of its two days");
            assert_eq!(*greatest, ((day(*at) + 1) * 100 + 23) as f64, "the last one");
            assert!((mean - (*least + *greatest) / 2.0).abs() < 0.01, "{mean}");
        }
    }
    println!("two years: {} points, {took:?}", load.len());

    // Half an hour to the second: every value stands in its own step.
    let from = start + 30 * DAY + 5 * HOUR;
    let (fine, _) = chart(from, from + 1_799);
    let load = &lines(&fine).iter().find(|(key, _)| key == "load1").unwrap().1.clone();
    assert_eq!(fine["step_s"], 5);
    let there: Vec<_> = load.iter().map(|p| (p.0, p.1)).collect();
    assert_eq!(there, [(from, 3_005.0), (from + 600, 3_005.0), (from + 1_200, 3_005.0)]);
    // Another server's name finds nothing of it.
    let other = admin.post("/api/servers", &server("web", 2)).is(201)["id"].clone();
    let path = format!("/api/servers/{other}/metrics?from={start}&to={end}");
    assert_eq!(admin.get(&path).is(200)["series"], json!([]));
}
