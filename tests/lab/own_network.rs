//! The controller's own cable, pulled for real: a network namespace behind a pair of virtual interfaces is the whole fleet.
//! Needs root, no lab host.

use crate::{common, fake};

use common::*;
use fake::{Fake, data, http};
use serde_json::{Value, json};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

const NET: &str = "10.213.7";

/// The namespace and the cable; both are gone when dropped.
struct Cable {
    name: String,
}

fn ip(args: &str) {
    let done = Command::new("ip").args(args.split(' ')).output().unwrap();
    assert!(
        done.status.success(),
        "ip {args}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}

impl Cable {
    fn new() -> Cable {
        let cable = Cable {
            name: format!("lamp{}", std::process::id()),
        };
        let name = &cable.name;
        ip(&format!("netns add {name}"));
        ip(&format!("link add {name} type veth peer name fleet netns {name}"));
        for host in 2..=4 {
            ip(&format!("-n {name} address add {NET}.{host}/24 dev fleet"));
        }
        ip(&format!("address add {NET}.1/24 dev {name}"));
        ip(&format!("link set {name} up"));
        cable.plug();
        cable
    }

    fn plug(&self) {
        ip(&format!("-n {} link set fleet up", self.name));
    }

    /// At the far end: our side keeps its address and its route, and hears nothing.
    fn pull(&self) {
        ip(&format!("-n {} link set fleet down", self.name));
    }

    /// A Glances that listens on the other side.
    fn glances(&self) -> Fake {
        let path = format!("/run/netns/{}", self.name);
        let inside = thread::spawn(move || {
            let there = File::open(path).unwrap();
            // SAFETY: a plain system call on a descriptor that is open; it moves this thread only, which ends here, and
            // sockets made by it stay on the other side.
            assert_eq!(unsafe { libc::setns(there.as_raw_fd(), libc::CLONE_NEWNET) }, 0);
            Fake::everywhere(|_, peer| {
                let body = data("glances/3.4.0.5/full/all.json");
                let _ = peer.write_all(&http("200 OK", "application/json", &body));
            })
        });
        inside.join().unwrap()
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["link", "del", &self.name]).output();
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}

#[test]
#[ignore = "lab: no host, a network namespace"]
fn a_pulled_cable_is_one_alert_and_darkens_nobody() {
    let cable = Cable::new();
    let glances = cable.glances();
    let mut house = House::new();
    for host in 2..=4 {
        let mut wanted = server(&format!("h{host}"), 22);
        wanted["host"] = json!(format!("{NET}.{host}"));
        wanted["glances_port"] = json!(glances.port);
        wanted["poll_interval_s"] = json!(5);
        house.admin().post("/api/servers", &wanted).is(201);
    }
    let lamps = |house: &House| -> Vec<String> {
        let list = house.admin().get("/api/servers").is(200);
        let status = |s: &Value| s["status"].as_str().unwrap().to_string();
        list["items"].as_array().unwrap().iter().map(status).collect()
    };
    let all = |status: &str| vec![status.to_string(); 3];
    let alerts = |house: &House| -> Vec<(String, String, String, i64)> {
        let list = house.admin().get("/api/alerts").is(200);
        let text = |a: &Value, key: &str| a[key].as_str().unwrap().to_string();
        let row = |a: &Value| {
            (
                text(a, "kind"),
                text(a, "level"),
                text(a, "state"),
                a["count"].as_i64().unwrap(),
            )
        };
        list["items"].as_array().unwrap().iter().map(row).collect()
    };
    let offline = |state: &str| vec![("controller.offline".into(), "CRITICAL".into(), state.to_string(), 1)];
    eventually("all are lit", || (lamps(&house) == all("ok")).then_some(()));

    cable.pull();
    let pulled = Instant::now();
    eventually("it is told", || (alerts(&house) == offline("firing")).then_some(()));
    println!("told after {:.1} s", pulled.elapsed().as_secs_f64());
    // Longer than three rounds of polls with their deadlines.
    thread::sleep(Duration::from_secs(30));
    assert_eq!(lamps(&house), all("ok"), "silence is no darkness now");
    assert_eq!(alerts(&house), offline("firing"), "one alert, told once");
    let alert = house.admin().get("/api/alerts").is(200)["items"][0].clone();
    println!("{}: {}", alert["title"], alert["evidence"]);
    assert!(alert["evidence"].to_string().contains("3 of 3 servers"), "{alert}");

    // A new process comes up in the middle of it and knows.
    house.stop();
    house.start();
    thread::sleep(Duration::from_secs(25));
    assert_eq!(lamps(&house), all("ok"));
    assert_eq!(alerts(&house), offline("firing"));

    cable.plug();
    let plugged = Instant::now();
    eventually("it is over", || (alerts(&house) == offline("resolved")).then_some(()));
    println!("over after {:.1} s", plugged.elapsed().as_secs_f64());
    assert_eq!(lamps(&house), all("ok"));
    // Afterwards silence means what it says again.
    drop(glances);
    ip(&format!("-n {} address del {NET}.4/24 dev fleet", cable.name));
    eventually("who is gone is dark", || {
        lamps(&house).contains(&"unreachable".to_string()).then_some(())
    });
}
