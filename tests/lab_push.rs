//! Samples pushed to a real VictoriaMetrics (Debian's package `victoria-metrics`, or `LAMPLIGHTER_VICTORIA` names the
//! program), through an outage of it, and asked back from it.

mod common;
mod fake;

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
