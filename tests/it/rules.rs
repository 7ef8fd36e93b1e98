//! Rules of alerts: when a figure is bad, for how long, where, and how that is told; and who may say so.

use crate::{common, fake};

use common::*;
use fake::receiver::{Receiver, answer};
use fake::{Fake, data, http};
use lamplighter::base::clock::{self, HOUR, MINUTE, Ms};
use lamplighter::base::id::Id;
use lamplighter::db::{Db, Durability, schema};
use lamplighter::features::fleet::metrics::{Disk, Polled, Recorder, Sample};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

// ---- a server whose figures are as the story wants them ----------------------------------------------------------------

/// Disks by mount point and percent, the load of five minutes on two cores, and the CPU in percent.
#[derive(Clone, Default)]
struct Figures {
    disks: Vec<(&'static str, f64)>,
    load: f64,
    cpu: f64,
    silent: bool,
}

struct Machine {
    glances: Fake,
    figures: Arc<Mutex<Figures>>,
}

impl Machine {
    fn new(disks: &[(&'static str, f64)]) -> Machine {
        let figures = Arc::new(Mutex::new(Figures {
            disks: disks.to_vec(),
            load: 0.5,
            cpu: 95.0,
            silent: false,
        }));
        let (all, now) = (data("glances/4.3.3/full/all.json"), figures.clone());
        let glances = Fake::new(move |_, peer| {
            let figures = now.lock().unwrap().clone();
            if figures.silent {
                return;
            }
            let mut all: Value = serde_json::from_slice(&all).unwrap();
            let disk = |(n, (mount, percent)): (usize, &(&str, f64))| {
                json!({ "device_name": format!("/dev/vd{n}"), "fs_type": "ext4", "mnt_point": mount, "size": 100_000_000_000u64,
                    "used": (percent * 1e9) as u64, "free": ((100.0 - percent) * 1e9) as u64, "percent": percent })
            };
            all["fs"] = figures.disks.iter().enumerate().map(disk).collect();
            all["cpu"] = json!({ "total": figures.cpu, "idle": 100.0 - figures.cpu, "iowait": 0.0, "cpucore": 2 });
            all["load"] = json!({ "min1": figures.load, "min5": figures.load, "min15": figures.load, "cpucore": 2 });
            let _ = peer.write_all(&http("200 OK", "application/json", &serde_json::to_vec(&all).unwrap()));
        });
        Machine { glances, figures }
    }

    fn disks(&self, disks: &[(&'static str, f64)]) {
        self.figures.lock().unwrap().disks = disks.to_vec();
    }

    fn silent(&self, silent: bool) {
        self.figures.lock().unwrap().silent = silent;
    }

    /// Waits until it has been asked so many times more, and what came of that is known.
    fn asked(&self, times: usize) {
        let before = self.glances.seen().len();
        eventually("it is polled", || {
            (self.glances.seen().len() > before + times).then_some(())
        });
    }
}

/// Adds it, to be polled every second.
fn add(house: &House, name: &str, machine: &Machine, tags: &[&str]) -> i64 {
    let mut wanted = server(name, 9);
    wanted["glances_port"] = json!(machine.glances.port);
    wanted["tags"] = json!(tags);
    wanted["poll_interval_s"] = json!(5);
    let id = house.admin().post("/api/servers", &wanted).is(201)["id"]
        .as_i64()
        .unwrap();
    // Faster than anybody may wish for.
    let hurry = "UPDATE servers SET poll_interval_s = 1, poll_revision = poll_revision + 1 WHERE id = ?1";
    house.database("lamplighter.db").execute(hurry, [id]).unwrap();
    id
}

fn alerts(house: &House, state: &str) -> Vec<Value> {
    let list = house.admin().get(&format!("/api/alerts?state={state}")).is(200);
    list["items"].as_array().unwrap().clone()
}

/// Kind and whose, of the open ones, in order.
fn open(house: &House) -> Vec<String> {
    let called = |a: &Value| {
        format!(
            "{} {}",
            a["kind"].as_str().unwrap(),
            a["target"]["name"].as_str().unwrap()
        )
    };
    let mut all: Vec<String> = alerts(house, "open").iter().map(called).collect();
    all.sort();
    all
}

#[track_caller]
fn becomes(house: &House, expected: &[&str]) {
    eventually(&format!("open is {expected:?}, not {:?}", open(house)), || {
        (open(house) == expected).then_some(())
    });
}

/// The number of the built-in rule that watches this.
fn builtin(house: &House, watches: &str) -> String {
    let all = house.admin().get("/api/alert-rules").is(200);
    let rule = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|r| r["builtin"] == true && r["watches"] == watches);
    format!("/api/alert-rules/{}", rule.unwrap()["id"])
}

// ---- figures -------------------------------------------------------------------------------------------------------------

#[test]
fn a_disk_beyond_its_limit_is_told_after_its_time_and_until_there_is_room() {
    let (house, machine, hook) = (
        House::new(),
        Machine::new(&[("/", 40.0), ("/srv", 95.5)]),
        Receiver::new(|_| answer("204 No Content", "", b"")),
    );
    let admin = house.admin();
    admin
        .put("/api/settings", &json!({ "messages.networks": "127.0.0.0/8" }))
        .is(200);
    let url = format!("http://127.0.0.1:{}/hook", hook.port());
    admin
        .post(
            "/api/notifications",
            &json!({ "type": "webhook", "name": "hook", "url": url }),
        )
        .is(201);
    let disk = builtin(&house, "disk");
    admin.patch(&disk, &json!({ "for_s": 4 })).is(200);
    let began = clock::now();
    add(&house, "db-1", &machine, &[]);
    becomes(&house, &["metric.disk db-1 /srv"]);
    assert!(clock::now() - began >= 4_000, "it waited for its time");
    let alert = &alerts(&house, "open")[0];
    assert_eq!(alert["level"], "WARNING");
    assert_eq!(alert["title"], "db-1 /srv is nearly full");
    let evidence: Vec<&str> = alert["evidence"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e.as_str().unwrap())
        .collect();
    assert_eq!(evidence[0], "rule: Any disk above 90 % for 4 s, until 85 % or below");
    assert!(
        evidence.len() >= 4 && evidence[2..].iter().all(|line| line.ends_with("Z 95.5 %")),
        "{evidence:?}"
    );
    assert_eq!(evidence[1], "/dev/vd1 at /srv: 88.9 GiB used of 93.1 GiB, 4.2 GiB free");
    assert_eq!(alert["target"]["disk"], "/srv");
    assert_eq!(admin.get(&disk).is(200)["firing"], 1);

    // At the limit nothing changes; a second full disk is a second alert; both are told.
    machine.disks(&[("/", 93.0), ("/srv", 86.0)]);
    becomes(&house, &["metric.disk db-1 /", "metric.disk db-1 /srv"]);
    machine.disks(&[("/", 93.0), ("/srv", 85.0)]);
    becomes(&house, &["metric.disk db-1 /"]);
    machine.disks(&[("/", 10.0), ("/srv", 85.0)]);
    becomes(&house, &[]);
    let told = eventually("four messages", || Some(hook.posts()).filter(|p| p.len() == 4));
    let mut said: Vec<String> = told
        .iter()
        .map(|p| {
            let event = p.json();
            let about = &event["data"]["target"];
            format!("{} {} {}", event["type"], about["name"], about["disk"]).replace('"', "")
        })
        .collect();
    said.sort();
    assert_eq!(
        said,
        [
            "alert.raised db-1 / /",
            "alert.raised db-1 /srv /srv",
            "alert.resolved db-1 / /",
            "alert.resolved db-1 /srv /srv"
        ]
    );
    assert_eq!(alerts(&house, "resolved").len(), 2);
}

#[test]
fn a_restart_makes_nobody_wait_anew() {
    let (mut house, machine) = (House::new(), Machine::new(&[("/", 95.5)]));
    let disk = builtin(&house, "disk");
    house.admin().patch(&disk, &json!({ "for_s": 10 })).is(200);
    let id = add(&house, "db-1", &machine, &[]);
    machine.asked(3);
    house.stop();
    let stopped = clock::now();
    house.start();
    becomes(&house, &["metric.disk db-1 /"]);
    let alert = &alerts(&house, "open")[0];
    let began = clock::parse_utc(alert["first_at"].as_str().unwrap()).unwrap();
    assert!(began < stopped, "{alert}");
    assert!(alert["evidence"].as_array().unwrap().len() > 3, "{alert}");
    // What nobody has looked at for too long begins anew: three polls of a second each may be missed.
    machine.disks(&[("/", 10.0)]);
    becomes(&house, &[]);
    machine.disks(&[("/", 95.5)]);
    machine.asked(2);
    house.stop();
    let written = "UPDATE alert_rule_waiting SET seen_at = seen_at - 3000, held_ms = 9000 WHERE subject_id = ?1";
    assert_eq!(house.database("lamplighter.db").execute(written, [id]), Ok(1));
    house.start();
    let started = clock::now();
    becomes(&house, &["metric.disk db-1 /"]);
    let began = clock::parse_utc(alerts(&house, "open")[0]["first_at"].as_str().unwrap()).unwrap();
    assert!(began >= started - 1_000, "{began} {started}");
}

#[test]
fn what_shares_a_name_is_told_apart_and_what_shares_its_room_is_told_once() {
    let (house, admin) = {
        let house = House::new();
        let admin = house.admin();
        (house, admin)
    };
    admin.patch(&builtin(&house, "disk"), &json!({ "for_s": 0 })).is(200);
    let machine = |file: &str| {
        let body = data(&format!("field/{file}.json"));
        let glances = Fake::new(move |_, peer| drop(peer.write_all(&http("200 OK", "application/json", &body))));
        Machine {
            glances,
            figures: Arc::default(),
        }
    };
    let (memory, pool, images, container) = (
        machine("fs-two-tmpfs"),
        machine("fs-zfs-one-pool"),
        machine("fs-images-always-full"),
        machine("load-of-the-host-in-lxc"),
    );
    admin.patch(&builtin(&house, "load5"), &json!({ "for_s": 0 })).is(200);
    add(&house, "images", &images, &[]);
    add(&house, "lxc", &container, &[]);
    add(&house, "memory", &memory, &[]);
    add(&house, "pool", &pool, &[]);
    becomes(
        &house,
        &[
            "metric.disk memory /dev/shm",
            "metric.disk memory /srv/bb",
            "metric.disk pool /tank/ct/0",
        ],
    );
    images.asked(2);
    container.asked(2);
    assert_eq!(open(&house).len(), 3);
    let all = alerts(&house, "open");
    let of_pool = all.iter().find(|a| a["target"]["disk"] == "/tank/ct/0").unwrap();
    let line = of_pool["evidence"][1].as_str().unwrap();
    assert!(line.contains("with 11 other datasets of its pool"), "{line}");
}

#[test]
fn a_rule_holds_where_its_tags_are_and_only_as_long_as_it_is_in_force() {
    let (house, machine) = (House::new(), Machine::new(&[("/", 70.0)]));
    let admin = house.admin();
    add(&house, "web", &machine, &[]);
    let db = add(&house, "db", &machine, &["Prod"]);
    let wanted = json!({ "name": "Early", "watches": "disk", "threshold": 60, "clear": 50, "for_s": 0, "level": "CRITICAL", "tags": ["prod"] });
    let made = admin.post("/api/alert-rules", &wanted).is(201);
    let path = format!("/api/alert-rules/{}", made["id"]);
    assert_eq!(
        made["sentence"],
        "Any disk above 60 %, until 50 % or below; only servers tagged prod"
    );
    becomes(&house, &["metric.disk db /"]);
    let alert = &alerts(&house, "open")[0];
    assert_eq!(
        (&alert["level"], &alert["evidence"][0]),
        (
            &json!("CRITICAL"),
            &json!("rule “Early”: Any disk above 60 %, until 50 % or below; only servers tagged prod")
        )
    );

    admin.patch(&path, &json!({ "enabled": false })).is(200);
    becomes(&house, &[]);
    machine.asked(3);
    assert_eq!(open(&house), [""; 0]);
    admin.patch(&path, &json!({ "enabled": true })).is(200);
    becomes(&house, &["metric.disk db /"]);

    // The tag goes, and with it the alert; it comes, and so does the alert.
    let tags = |tags: Value| {
        drop(
            admin
                .patch(&format!("/api/servers/{db}"), &json!({ "tags": tags }))
                .is(200),
        )
    };
    tags(json!([]));
    becomes(&house, &[]);
    house
        .database("lamplighter.db")
        .execute("UPDATE servers SET poll_interval_s = 1", [])
        .unwrap();
    tags(json!(["prod", "x"]));
    becomes(&house, &["metric.disk db /"]);

    // Another disk, another limit, and no rule at all.
    admin.patch(&path, &json!({ "mount": "/srv" })).is(200);
    becomes(&house, &[]);
    admin.patch(&path, &json!({ "mount": "" })).is(200);
    becomes(&house, &["metric.disk db /"]);
    admin.patch(&path, &json!({ "threshold": 80 })).is(200);
    becomes(&house, &[]);
    admin.patch(&path, &json!({ "threshold": 60 })).is(200);
    becomes(&house, &["metric.disk db /"]);
    admin.delete(&path).is(204);
    becomes(&house, &[]);
    admin.delete(&format!("/api/servers/{db}")).is(204);
}

#[test]
fn a_rule_by_facts_holds_where_they_are_found() {
    let (mut house, machine) = (House::new(), Machine::new(&[("/", 70.0)]));
    let admin = house.admin();
    add(&house, "old", &machine, &[]);
    add(&house, "new", &machine, &[]);
    let find = |house: &House, os: [&str; 2]| {
        let sql = "UPDATE servers SET facts_at = 1, facts = json_object('os_version', ?2) WHERE name = ?1";
        let db = house.database("lamplighter.db");
        for (name, os) in ["old", "new"].into_iter().zip(os) {
            db.execute(sql, [name, os]).unwrap();
        }
    };
    find(&house, ["11", "12"]);
    let is_old = json!({ "field": "facts.os_version", "op": "lt", "value": 12 });
    let wanted = json!({ "name": "Old", "watches": "disk", "threshold": 60, "clear": 50, "for_s": 0, "scope": is_old });
    admin.post("/api/alert-rules", &wanted).is(201);
    becomes(&house, &["metric.disk old /"]);
    machine.asked(3);
    assert_eq!(open(&house), ["metric.disk old /"]);
    // What a check finds changes by itself: it is followed, at the latest by the clock.
    find(&house, ["12", "11"]);
    house.restart_first(true);
    becomes(&house, &["metric.disk new /"]);
}

#[test]
fn a_server_takes_what_fires_along() {
    let (house, machine) = (House::new(), Machine::new(&[("/", 99.0)]));
    house
        .admin()
        .patch(&builtin(&house, "disk"), &json!({ "for_s": 0 }))
        .is(200);
    let id = add(&house, "web", &machine, &[]);
    becomes(&house, &["metric.disk web /"]);
    house.admin().delete(&format!("/api/servers/{id}")).is(204);
    becomes(&house, &[]);
    assert_eq!(house.admin().get(&builtin(&house, "disk")).is(200)["firing"], 0);
}

#[test]
fn a_restart_neither_tells_again_nor_forgets() {
    let (mut house, machine) = (House::new(), Machine::new(&[("/", 99.0), ("/srv", 99.0)]));
    house
        .admin()
        .patch(&builtin(&house, "disk"), &json!({ "for_s": 0 }))
        .is(200);
    add(&house, "web", &machine, &[]);
    becomes(&house, &["metric.disk web /", "metric.disk web /srv"]);
    let raised = |house: &House| -> i64 {
        let sql = "SELECT count(*) FROM events WHERE kind = 'metric.disk'";
        house
            .database("lamplighter.db")
            .query_row(sql, [], |r| r.get(0))
            .unwrap()
    };
    assert_eq!(raised(&house), 2);
    house.kill();
    machine.disks(&[("/", 99.0), ("/srv", 20.0)]); // while nobody looks
    house.start();
    becomes(&house, &["metric.disk web /"]);
    machine.asked(3);
    assert_eq!(
        (raised(&house), alerts(&house, "open")[0]["count"].clone()),
        (2, json!(1))
    );
    house.stop();
    house.start();
    machine.asked(3);
    assert_eq!(open(&house), ["metric.disk web /"]);
    machine.disks(&[("/", 80.0), ("/srv", 20.0)]);
    becomes(&house, &[]);
    assert_eq!(raised(&house), 2);
}

#[test]
fn who_is_silent_has_not_made_room() {
    let (house, machine) = (House::new(), Machine::new(&[("/", 99.0)]));
    house
        .admin()
        .patch(&builtin(&house, "disk"), &json!({ "for_s": 0 }))
        .is(200);
    add(&house, "web", &machine, &[]);
    becomes(&house, &["metric.disk web /"]);
    machine.silent(true);
    becomes(&house, &["metric.disk web /", "server.unreachable web"]);
    machine.silent(false);
    becomes(&house, &["metric.disk web /"]);
    // An answer without any disk is no answer about disks, but ten of them are.
    machine.disks(&[]);
    machine.asked(5);
    assert_eq!(open(&house), ["metric.disk web /"]);
    becomes(&house, &[]);
    let last = &alerts(&house, "resolved")[0];
    assert_eq!(last["kind"], "metric.disk");
}

#[test]
fn load_is_counted_by_the_core_and_two_processes_know_the_same_rules() {
    let (house, machine) = (House::with(Processes::Two, &[]), Machine::new(&[]));
    let admin = house.admin();
    let load = builtin(&house, "load5");
    admin.patch(&load, &json!({ "for_s": 0 })).is(200);
    add(&house, "calc", &machine, &[]);
    machine.figures.lock().unwrap().load = 3.9; // two cores bear that
    machine.asked(2);
    assert_eq!(open(&house), [""; 0]);
    // A container shows the load of its host: its own CPU tells that it is not its own.
    {
        let mut figures = machine.figures.lock().unwrap();
        (figures.load, figures.cpu) = (15.2, 3.0);
    }
    machine.asked(2);
    assert_eq!(open(&house), [""; 0]);
    {
        let mut figures = machine.figures.lock().unwrap();
        (figures.load, figures.cpu) = (4.2, 95.0);
    }
    becomes(&house, &["metric.load calc"]);
    admin.patch(&load, &json!({ "threshold": 3, "clear": 2.5 })).is(200);
    becomes(&house, &[]);
    admin.post(&format!("{load}/reset"), &json!({})).is(200);
    admin.patch(&load, &json!({ "for_s": 0 })).is(200);
    becomes(&house, &["metric.load calc"]);
    admin.patch(&load, &json!({ "enabled": false })).is(200);
    becomes(&house, &[]);
}

// ---- how disks fill ------------------------------------------------------------------------------------------------------

/// Percent by the hours before now.
type Fill = fn(f64) -> f64;

/// Writes the last days of a server's disks as polls of five minutes; each gets its hours before now.
fn past(house: &House, server: i64, days: f64, disks: &[(&str, Fill)]) {
    let path = house.folder.path().join("metrics.db");
    let db = Arc::new(Db::open(&path, Durability::Normal, schema::METRICS).unwrap());
    let store = Recorder::new(db);
    let now = clock::now();
    let mut at: Ms = now - (days * 24.0 * HOUR as f64) as Ms;
    while at < now {
        let hours = (now - at) as f64 / HOUR as f64;
        let disk = |(n, (mount, fill)): (usize, &(&str, Fill))| {
            let percent = (fill(hours) * 10.0).round() / 10.0;
            Disk {
                mount: mount.to_string(),
                device: format!("/dev/vd{n}"),
                used: Some((percent * 1e9) as u64),
                size: Some(100_000_000_000),
                percent: Some(percent),
                ..Disk::default()
            }
        };
        let sample = Sample {
            cpu_percent: Some(1.0),
            api: 4,
            disks: disks.iter().enumerate().map(disk).collect(),
            ..Sample::default()
        };
        let poll = Polled {
            server: Id::new(server),
            at_ms: at,
            took_ms: 5,
            interval_s: 30,
            sample: &sample,
        };
        store.add(&[poll]).unwrap();
        at += 5 * MINUTE;
    }
}

#[test]
fn a_disk_that_fills_steadily_is_told_before_it_is_full_and_what_comes_and_goes_is_not() {
    let (mut house, machine) = (House::new(), Machine::new(&[]));
    let id = add(&house, "db", &machine, &[]);
    house.stop();
    // Not asked any more: the past is all there is.
    let sql = "UPDATE servers SET poll_interval_s = 3600, status = 'ok', glances_port = 9";
    house.database("lamplighter.db").execute(sql, []).unwrap();
    house
        .database("metrics.db")
        .execute_batch("DELETE FROM hot; DELETE FROM series;")
        .unwrap();
    past(
        &house,
        id,
        3.0,
        &[
            ("/srv", |ago| 70.0 - 2.5 * ago.min(20.0)),
            ("/copied", |ago| if ago > 3.0 { 30.0 } else { 80.0 }),
            ("/rotated", |ago| 95.0 - 3.0 * (ago % 2.0)),
            ("/daily", |ago| 60.0 + 1.5 * (24.0 - (ago + 6.0) % 24.0)),
            ("/slow", |ago| 50.0 - 0.2 * ago),
            ("/still", |_| 99.0),
        ],
    );
    house.start();
    becomes(&house, &["metric.disk_trend db /srv"]);
    let looked = |house: &House| -> i64 {
        let sql = "SELECT last_at FROM periodic WHERE name = 'metrics.filling'";
        house
            .database("lamplighter.db")
            .query_row(sql, [], |r| r.get(0))
            .unwrap_or(0)
    };
    let first = eventually("all disks have been looked at", || {
        Some(looked(&house)).filter(|at| *at > 0)
    });
    assert_eq!(open(&house), ["metric.disk_trend db /srv"]);
    let alert = &alerts(&house, "open")[0];
    assert_eq!(
        (&alert["level"], &alert["title"]),
        (&json!("ERROR"), &json!("db /srv will be full soon"))
    );
    let why = alert["evidence"][1].as_str().unwrap();
    assert!(
        why.starts_with("/srv fills by 2.3 GiB an hour and is full in 1") && why.contains(" h"),
        "{why}"
    );
    assert!(alert["evidence"].as_array().unwrap().len() >= 6, "{alert}");

    // Told once, also after a restart. And as long as nobody can tell (we were away for most of the time) it goes on.
    house.stop();
    house
        .database("metrics.db")
        .execute_batch("DELETE FROM hot; DELETE FROM chunk; DELETE FROM series;")
        .unwrap();
    past(&house, id, 0.05, &[("/srv", |_| 70.0)]);
    house.start();
    eventually("it was looked again", || (looked(&house) > first).then_some(()));
    assert_eq!(alerts(&house, "open")[0]["count"], 1);

    // Nothing was written for an hour: it has stopped.
    house.stop();
    house
        .database("metrics.db")
        .execute_batch("DELETE FROM hot; DELETE FROM chunk; DELETE FROM series;")
        .unwrap();
    past(&house, id, 1.0, &[("/srv", |ago| 72.0 - 2.5 * (ago - 2.5).max(0.0))]);
    house.start();
    becomes(&house, &[]);
}

// ---- events --------------------------------------------------------------------------------------------------------------

#[test]
fn of_an_event_the_worst_rule_that_holds_decides() {
    let house = House::new();
    let (admin, machines) = (house.admin(), [Machine::new(&[]), Machine::new(&[])]);
    let dark = builtin(&house, "server.unreachable");
    let prod =
        json!({ "name": "Prod is dark", "watches": "server.unreachable", "level": "CRITICAL", "tags": ["prod"] });
    let own = format!(
        "/api/alert-rules/{}",
        admin.post("/api/alert-rules", &prod).is(201)["id"]
    );
    add(&house, "a", &machines[0], &["prod"]);
    add(&house, "b", &machines[1], &[]);
    machines.iter().for_each(|m| m.asked(1));
    machines.iter().for_each(|m| m.silent(true));
    becomes(&house, &["server.unreachable a", "server.unreachable b"]);
    let level = |name: &str| {
        let all = alerts(&house, "open");
        all.iter().find(|a| a["target"]["name"] == name).unwrap()["level"].clone()
    };
    assert_eq!((level("a"), level("b")), (json!("CRITICAL"), json!("ERROR")));

    // Switched off, what it raised is over, unless another rule holds.
    admin.patch(&dark, &json!({ "enabled": false })).is(200);
    becomes(&house, &["server.unreachable a"]);
    admin.patch(&own, &json!({ "tags": ["other"] })).is(200);
    becomes(&house, &[]);
    machines.iter().for_each(|m| m.silent(false));
    eventually("both are lit", || {
        let list = admin.get("/api/servers").is(200);
        list["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|s| s["status"] == "ok")
            .then_some(())
    });
    machines.iter().for_each(|m| m.silent(true));
    eventually("both are dark", || {
        let list = admin.get("/api/servers").is(200);
        list["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|s| s["status"] == "unreachable")
            .then_some(())
    });
    thread::sleep(Duration::from_millis(300));
    assert_eq!(open(&house), [""; 0]);
}

#[test]
fn a_domain_is_told_of_by_its_groups_rule_and_as_bad_as_the_event_says_unless_somebody_says_otherwise() {
    let house = House::new();
    let admin = house.admin();
    let group = admin.post("/api/groups", &json!({ "name": "shops" })).is(201)["id"].clone();
    let domain = |name: &str, group: Value| {
        let made = admin
            .post("/api/domains", &json!({ "domain": name, "group_id": group }))
            .is(201);
        made["id"].as_i64().unwrap()
    };
    let (shop, blog) = (
        domain("shop.example", group.clone()),
        domain("blog.example", Value::Null),
    );
    let happens = |kind: &str, id: i64, name: &str, more: Value| {
        let mut data = more;
        data["name"] = json!(name);
        let sql = "INSERT INTO events (at, kind, target_type, target_id, data) VALUES (?1, ?2, 'domain', ?3, ?4)";
        let values = rusqlite::params![clock::now(), kind, id, data.to_string()];
        house.database("lamplighter.db").execute(sql, values).unwrap();
    };
    let level = |kind: &str| {
        let all = alerts(&house, "open");
        all.iter().find(|a| a["kind"] == kind).unwrap()["level"].clone()
    };
    admin
        .patch(&builtin(&house, "deploy.failed"), &json!({ "groups": [group] }))
        .is(200);
    happens("deploy.failed", blog, "blog.example", json!({}));
    happens("deploy.failed", shop, "shop.example", json!({}));
    becomes(&house, &["deploy.failed shop.example"]);

    let bad = builtin(&house, "certificate.bad");
    happens("certificate.bad", blog, "blog.example", json!({ "level": "CRITICAL" }));
    becomes(&house, &["certificate.bad blog.example", "deploy.failed shop.example"]);
    assert_eq!(level("certificate.bad"), "CRITICAL");
    happens("certificate.good", blog, "blog.example", json!({}));
    becomes(&house, &["deploy.failed shop.example"]);
    admin.patch(&bad, &json!({ "level": "INFO" })).is(200);
    happens("certificate.bad", blog, "blog.example", json!({ "level": "CRITICAL" }));
    becomes(&house, &["certificate.bad blog.example", "deploy.failed shop.example"]);
    assert_eq!(level("certificate.bad"), "INFO");

    // A group that is gone has no domains; the rule says so and is not suddenly everybody's.
    admin.delete(&format!("/api/groups/{group}")).is(200);
    let rule = admin.get(&builtin(&house, "deploy.failed")).is(200);
    assert_eq!(rule["sentence"], "A deploy failed; only in a group that is gone");
    happens("deploy.ok", shop, "shop.example", json!({}));
    happens("deploy.failed", shop, "shop.example", json!({}));
    happens("deploy.failed", blog, "blog.example", json!({}));
    happens("ns.resolve_failed", blog, "blog.example", json!({}));
    becomes(
        &house,
        &["certificate.bad blog.example", "ns.resolve_failed blog.example"],
    );
}

// ---- who may say so ------------------------------------------------------------------------------------------------------

#[test]
fn rules_are_read_by_all_and_changed_by_operators_and_nothing_odd_is_taken() {
    let house = House::new();
    let (admin, operator, viewer) = (house.admin(), house.somebody("operator"), house.somebody("viewer"));
    let all = viewer.get("/api/alert-rules").is(200);
    let items = all["items"].as_array().unwrap();
    assert!(
        items.len() >= 16
            && items
                .iter()
                .all(|r| r["builtin"] == true && r["changed"] == false && r["enabled"] == true)
    );
    for needed in [
        "server.unreachable",
        "disk",
        "disk_trend",
        "mem",
        "load5",
        "ns.mismatch",
        "certificate.bad",
        "deploy.failed",
        "host.key_changed",
        "controller.offline",
    ] {
        assert!(items.iter().any(|r| r["watches"] == needed), "{needed}");
    }
    let mem = builtin(&house, "mem");
    viewer.patch(&mem, &json!({ "enabled": false })).fails(403, "forbidden");
    viewer.post("/api/alert-rules", &json!({})).fails(403, "forbidden");

    // What it gives may be sent back; that is no change of what it says.
    for rule in items {
        let path = format!("/api/alert-rules/{}", rule["id"]);
        let back = operator.patch(&path, rule).is(200);
        assert_eq!((&back["sentence"], &back["changed"]), (&rule["sentence"], &json!(true)));
        assert_eq!(operator.post(&format!("{path}/reset"), &json!({})).is(200), *rule);
        operator.delete(&path).fails(409, "rule_builtin");
    }
    operator.get("/api/alert-rules/999").fails(404, "not_found");
    operator.patch(&mem, &json!({ "name": "Memory" })).fails(422, "invalid");

    let wrong = |body: Value| operator.post("/api/alert-rules", &body).wrong_fields();
    assert_eq!(wrong(json!({})), ["watches"]);
    assert_eq!(wrong(json!({ "watches": "weather" })), ["watches"]);
    assert_eq!(
        wrong(
            json!({ "watches": "cpu", "level": "LOUD", "threshold": 101, "for_s": 1.5, "direction": "sideways", "tags": "a" })
        ),
        ["name", "level", "tags", "direction", "threshold", "for_s"]
    );
    assert_eq!(
        wrong(json!({ "watches": "mem", "name": "x", "direction": "below", "threshold": 5 })),
        ["direction"]
    );
    assert_eq!(
        wrong(json!({ "watches": "disk", "name": "x", "mount": "srv" })),
        ["mount"]
    );
    assert_eq!(
        wrong(json!({ "watches": "cpu", "name": "x", "threshold": 80, "clear": 81 })),
        ["clear"]
    );
    for odd in [
        json!({ "watches": "cpu", "name": "x", "threshold": 80, "groups": [1] }),
        json!({ "watches": "ns.mismatch", "name": "x", "tags": ["a"] }),
        json!({ "watches": "ns.mismatch", "name": "x", "threshold": 1 }),
        json!({ "watches": "cpu", "name": "x", "threshold": 80, "mount": "/" }),
        json!({ "watches": "disk_trend", "name": "x", "for_s": 3 }),
        json!({ "watches": "controller.offline", "name": "x", "tags": [] }),
    ] {
        operator.post("/api/alert-rules", &odd).fails(422, "unknown_field");
    }
    let good = json!({ "watches": "net_rx", "name": "Quiet", "direction": "below", "threshold": 1000, "clear": 5000, "for_s": 3600 });
    let made = operator.post("/api/alert-rules", &good).is(201);
    assert_eq!(
        made["sentence"],
        "Received over the network below 1.0 kB/s for 1 h, until 5.0 kB/s or above"
    );
    assert!(made["id"].as_i64().unwrap() >= 1000);
    operator
        .post(
            "/api/alert-rules",
            &json!({ "watches": "cpu", "name": "quiet", "threshold": 1 }),
        )
        .fails(409, "duplicate");
    let path = format!("/api/alert-rules/{}", made["id"]);
    operator
        .patch(&path, &json!({ "watches": "net_tx" }))
        .fails(422, "invalid");
    operator
        .post(&format!("{path}/reset"), &json!({}))
        .fails(409, "rule_own");
    operator.delete(&path).is(204);
    operator.get(&path).fails(404, "not_found");

    let db = house.database("lamplighter.db");
    let count = |action: &str| -> i64 {
        let sql = "SELECT count(*) FROM audit WHERE action = ?1 AND actor = 'operator'";
        db.query_row(sql, [action], |r| r.get(0)).unwrap()
    };
    let done = ["rule.create", "rule.update", "rule.reset", "rule.delete"].map(count);
    assert_eq!(done, [1, items.len() as i64, items.len() as i64, 1]);
    drop(admin);
}

#[test]
fn a_rule_is_narrowed_in_the_language_of_groups() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let is_prod = json!({ "field": "environment", "op": "eq", "value": "prod" });
    let made = admin
        .post(
            "/api/alert-rules",
            &json!({ "watches": "cpu", "name": "busy", "threshold": 90, "scope": is_prod }),
        )
        .is(201);
    assert_eq!((&made["scope"], &made["tags"]), (&is_prod, &json!([])));
    assert!(
        made["sentence"]
            .as_str()
            .unwrap()
            .ends_with("only where environment = prod"),
        "{made}"
    );
    let at = format!("/api/alert-rules/{}", made["id"]);
    let change = |body: Value| admin.patch(&at, &body).is(200);
    // What was read is sent back: no change. One of the two words for it is: that one counts.
    assert_eq!(
        change(json!({ "scope": made["scope"], "tags": made["tags"] }))["scope"],
        is_prod
    );
    let tagged = change(json!({ "tags": ["web"] }));
    assert_eq!(
        tagged["scope"],
        json!({ "field": "tags", "op": "in", "value": ["web"] })
    );
    assert_eq!(tagged["tags"], json!(["web"]));
    assert_eq!(change(json!({ "scope": null }))["tags"], json!([]));
    let both = admin.patch(&at, &json!({ "scope": is_prod, "tags": ["db"] }));
    both.is(422);
    assert_eq!(both.wrong_fields(), ["tags"]);
}
