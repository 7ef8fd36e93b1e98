//! A data folder that an earlier version has left is opened by this one, and everything is still in it: what the API
//! answered then stands beside the folder and is what it answers now. A field may have come; none may be lost.

use crate::{common, fake};

use common::*;
use fake::{Fake, data, http};
use lamplighter::base::clock::{self, DAY, MINUTE};
use lamplighter::base::id::Id;
use lamplighter::db::{Db, Durability, schema};
use lamplighter::features::fleet::metrics::{Disk, Polled, Recorder, Sample};
use serde_json::{Map, Value, json};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// `NAME.tar.gz` is a data folder, `NAME.json` what was answered about it (and the administrator's password).
const FOLDERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/upgrade");

fn tar(arguments: &[&str]) {
    let done = Command::new("tar").args(arguments).status().unwrap();
    assert!(done.success(), "tar {arguments:?}");
}

/// A Glances with two disks, of which one is nearly full.
fn glances() -> Fake {
    let all = data("glances/4.3.3/full/all.json");
    Fake::new(move |_, peer| {
        let mut all: Value = serde_json::from_slice(&all).unwrap();
        let disk = |(n, (mount, percent)): (usize, &(&str, f64))| {
            json!({ "device_name": format!("/dev/vd{n}"), "fs_type": "ext4", "mnt_point": mount, "size": 100_000_000_000u64,
                "used": (percent * 1e9) as u64, "free": ((100.0 - percent) * 1e9) as u64, "percent": percent })
        };
        all["fs"] = [("/", 40.0), ("/srv", 95.5)].iter().enumerate().map(disk).collect();
        let _ = peer.write_all(&http("200 OK", "application/json", &serde_json::to_vec(&all).unwrap()));
    })
}

/// Everything that the API tells of what is stored. What depends on the time of asking is left out.
fn answers(admin: &Client, metrics: &[String]) -> Map<String, Value> {
    let lists = [
        "servers",
        "groups",
        "upstreams",
        "certificates",
        "domains",
        "silences",
        "notifications",
        "alert-rules",
        "alerts",
        "tasks",
    ];
    let mut paths: Vec<String> = Vec::new();
    for list in lists {
        let path = format!("/api/{list}?limit=100");
        let all = admin.get(&path).is(200);
        let one = |item: &Value| Some(format!("/api/{list}/{}", item["id"].as_i64()?));
        paths.extend(all["items"].as_array().unwrap().iter().filter_map(one));
        paths.push(path);
    }
    paths.extend(
        [
            "/api/settings",
            "/api/notifications/deliveries",
            "/api/auth/me",
            "/api/domains/1/ns-checks",
        ]
        .map(String::from),
    );
    paths.extend(["/api/fleet", "/api/tasks/1/logs", "/api/domains/1/answers"].map(String::from));
    paths.extend(metrics.iter().cloned());
    paths
        .into_iter()
        .map(|path| (path.clone(), admin.get(&path).is(200)))
        .collect()
}

/// Fields that are not stored: how long something still lasts, how many there are, and what is said about it in words.
const NOT_STORED: &[&str] = &[
    "days_left",
    "total",
    "sentence",
    "help",
    "help_ru",
    "default",
    "min",
    "max",
    "unit",
];

/// The first thing that was answered before and is not any more.
fn lost(at: &str, before: &Value, now: &Value) -> Option<String> {
    match (before, now) {
        (Value::Object(before), Value::Object(now)) => {
            let is_builtin = before.get("builtin") == Some(&json!(true));
            let is_stored = |key: &str| !(NOT_STORED.contains(&key) || is_builtin && key == "name");
            let mut stored = before.iter().filter(|(key, _)| is_stored(key));
            stored.find_map(|(key, value)| lost(&format!("{at}.{key}"), value, now.get(key).unwrap_or(&Value::Null)))
        }
        (Value::Array(before), Value::Array(now)) => before.iter().enumerate().find_map(|(n, before)| {
            // Others may have come in between.
            let named = ["id", "key"].into_iter().find(|name| before.get(name).is_some());
            let same = match named {
                Some(name) => now.iter().find(|now| now[name] == before[name]),
                // A list of words or numbers: whatever their order is.
                None if !before.is_object() && !before.is_array() => now.iter().find(|now| *now == before),
                None => now.get(n),
            };
            lost(&format!("{at}[{n}]"), before, same.unwrap_or(&Value::Null))
        }),
        _ if before == now => None,
        _ => Some(format!("{at} was {before} and is {now}")),
    }
}

#[test]
fn a_folder_of_an_earlier_version_still_holds_everything() {
    let mut folders = 0;
    for entry in std::fs::read_dir(FOLDERS).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "json") {
            folders += 1;
            goes_on(&path);
        }
    }
    assert!(folders > 0, "no folder in {FOLDERS}");
}

fn goes_on(told: &Path) {
    let folder = Folder::new();
    let packed = told.with_extension("tar.gz");
    tar(&["-xzf", packed.to_str().unwrap(), "-C", folder.path().to_str().unwrap()]);
    let told: Value = serde_json::from_slice(&std::fs::read(told).unwrap()).unwrap();
    let mut house = House::on(folder, Processes::ApiOnly, told["password"].as_str().unwrap());
    for (path, before) in told["answers"].as_object().unwrap() {
        let now = house.admin().get(path).is(200);
        assert_eq!(lost(path, before, &now), None);
    }
    // And it goes on from there: what is sealed opens, charts go on, alerts that were open end.
    house.stop();
    house.set_rooms(Processes::One);
    house.start();
    let glances = glances();
    let moved =
        "UPDATE servers SET glances_port = ?1, poll_interval_s = 1, poll_revision = poll_revision + 1 WHERE id = 1";
    house.database("lamplighter.db").execute(moved, [glances.port]).unwrap();
    eventually("it is asked with its password", || {
        let asked = |head: &String| head.contains("\r\nAuthorization: Basic bW9uaXRvcjpnbGFuY2VzLXBhc3N3b3Jk\r\n");
        glances.seen().iter().any(asked).then_some(())
    });
    eventually("its lines go on", || {
        let chart = house.admin().get("/api/servers/1/metrics?period=1h").is(200);
        let lines = chart["series"].as_array()?;
        let line = |key: &str| lines.iter().find(|line| line["key"] == key)?["points"].as_array();
        (!line("mem")?.is_empty() && !line("disk:/srv")?.is_empty()).then_some(())
    });
    // Nothing was folded into a series of another name: two years show both, before and now.
    let file = rusqlite::Connection::open(house.folder.path().join("metrics.db")).unwrap();
    let twice =
        "SELECT count(*) FROM (SELECT key, part FROM series WHERE subject = 1 GROUP BY key, part HAVING count(*) > 1)";
    let all = "SELECT count(*) FROM series WHERE subject = 1 AND key IN ('cpu', 'disk') AND unit = 'percent'";
    let count = |sql: &str| file.query_row(sql, [], |r| r.get::<_, i64>(0)).unwrap();
    assert_eq!((count(twice), count(all)), (0, 3), "cpu, / and /srv, each once");
}

/// Makes a folder of this version: run it before a release, for the tests of the next ones.
/// `cargo test --test it -- --ignored --exact upgrade::makes_a_folder`, with `LAMPLIGHTER_UPGRADE=name`.
#[test]
#[ignore = "makes what the other test reads"]
fn makes_a_folder() {
    let name = std::env::var("LAMPLIGHTER_UPGRADE").expect("LAMPLIGHTER_UPGRADE is the folder's name");
    let mut house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let glances = glances();
    let mut web = server("web-1", 9);
    for (key, value) in [
        ("glances_port", json!(glances.port)),
        ("glances_auth_type", json!("basic")),
        ("glances_username", json!("monitor")),
        ("glances_password", json!("glances-password")),
        ("tags", json!(["prod", "Web"])),
        ("description", json!("the first one")),
        ("poll_interval_s", json!(5)),
    ] {
        web[key] = value;
    }
    let mut dark = server("db-1", 9);
    dark["poll_interval_s"] = json!(5);
    let ids = [web, dark, server("spare-1", 9)].map(|wanted| admin.post("/api/servers", &wanted).is(201)["id"].clone());
    let group = admin.post("/api/groups", &json!({ "name": "shops" })).is(201)["id"].clone();
    let upstream = json!({ "name": "web", "targets": ["10.0.0.7:80", "10.0.0.8:80"] });
    let upstream = admin.post("/api/upstreams", &upstream).is(201)["id"].clone();
    let text = |names: &[&str]| -> String {
        let pem = |name: &&str| String::from_utf8(data(&format!("certs/{name}.pem"))).unwrap();
        names.iter().map(pem).collect()
    };
    let own = json!({ "name": "Own", "chain": text(&["ec", "ca", "root"]), "key": text(&["ec.key"]) });
    admin.post("/api/certificates", &own).is(201);
    admin
        .post(
            "/api/domains",
            &json!({ "domain": "магазин.example", "server_ids": ids[..2], "upstream_id": upstream, "group_id": group,
                "ssl": true, "ns_policy": "suffix:dnspod.net.", "notes": "first\nsecond" }),
        )
        .is(201);
    let hook = json!({ "type": "webhook", "name": "machine", "url": "http://127.0.0.1:9/hook", "secret": "a-secret-of-the-hook" });
    admin.post("/api/notifications", &hook).is(201);
    let silence = json!({ "tag": "web", "kind": "server.unreachable", "reason": "moving", "hours": 24 * 90 });
    admin.post("/api/silences", &silence).is(201);
    let early = json!({ "name": "Early", "watches": "disk", "threshold": 60, "clear": 50, "for_s": 0, "level": "CRITICAL", "tags": ["prod"] });
    admin.post("/api/alert-rules", &early).is(201);
    let busy =
        json!({ "name": "Busy", "watches": "cpu", "threshold": 5, "clear": 4, "for_s": 86_400, "level": "INFO" });
    admin.post("/api/alert-rules", &busy).is(201);
    let changed =
        json!({ "retention.raw_hours": 12, "poll.fail_threshold": 2, "site.public_url": "https://lamps.example" });
    admin.put("/api/settings", &changed).is(200);
    admin.post("/api/exporter/token", &json!({})).is(201);
    for role in ["operator", "viewer"] {
        house.account(role, role);
    }

    // Three days of one server, then what its Glances says now.
    let now = clock::now();
    let file = house.folder.path().join("metrics.db");
    let store = Recorder::trusting(Arc::new(Db::open(&file, Durability::Normal, schema::METRICS).unwrap()));
    let disk = |mount: &str, percent: f64| Disk {
        mount: mount.into(),
        device: format!("/dev{mount}"),
        percent: Some(percent),
        ..Disk::default()
    };
    for minute in 0..3 * 24 * 60 {
        let wave = f64::from(minute % 97);
        let sample = Sample {
            cpu_percent: Some(wave),
            mem_percent: Some(50.0 + wave / 10.0),
            load1: Some(wave / 20.0),
            load5: Some(1.0),
            net_rx: Some(wave * 1_000.0),
            uptime_seconds: Some(60 * minute as u64),
            disks: vec![disk("/", 40.0), disk("/srv", 60.0 + f64::from(minute) / 200.0)],
            api: 4,
            ..Sample::default()
        };
        let polled = Polled {
            server: Id::new(1),
            at_ms: now - 3 * DAY + i64::from(minute) * MINUTE,
            took_ms: 12,
            interval_s: 60,
            sample: &sample,
        };
        store.add(&[polled]).unwrap();
    }
    drop(store);
    house.stop();
    house.set_rooms(Processes::One);
    house.start();
    let hurry = "UPDATE servers SET poll_interval_s = 1, poll_revision = poll_revision + 1 WHERE id < 3";
    house.database("lamplighter.db").execute(hurry, []).unwrap();
    let open = |kind: &str| {
        let all = house.admin().get("/api/alerts?state=open").is(200);
        all["items"].as_array().unwrap().iter().any(|a| a["kind"] == kind)
    };
    for kind in ["metric.disk", "server.unreachable"] {
        eventually(&format!("{kind} is open"), || open(kind).then_some(()));
    }
    let task = house.admin().post("/api/servers/2/check-ssh", &json!({})).is(202);
    house.wait_for(task["task_id"].as_i64().or(task["id"].as_i64()).unwrap());
    // Something is noted as waiting, and rows of polls are not folded yet.
    eventually("something waits", || {
        let waits: i64 = house
            .database("lamplighter.db")
            .query_row("SELECT count(*) FROM alert_rule_waiting", [], |r| r.get(0))
            .unwrap();
        (waits > 0).then_some(())
    });
    let slow = "UPDATE servers SET poll_interval_s = 3600, poll_revision = poll_revision + 1 WHERE id < 3";
    house.database("lamplighter.db").execute(slow, []).unwrap();
    house.stop();

    house.set_rooms(Processes::ApiOnly);
    house.start();
    let second = clock::now() / 1_000;
    // Two years are shown from what is kept longest, whenever that is asked.
    let metrics: Vec<String> = (1..=3)
        .map(|id| {
            format!(
                "/api/servers/{id}/metrics?from={}&to={second}",
                second - 2 * 365 * 86_400
            )
        })
        .collect();
    let told = json!({ "password": house.password, "answers": answers(&house.admin(), &metrics) });
    house.stop();
    let _ = std::fs::remove_file(house.folder.path().join("reserve"));
    let packed = format!("{FOLDERS}/{name}.tar.gz");
    tar(&["-czf", &packed, "-C", house.dir(), "."]);
    std::fs::write(
        format!("{FOLDERS}/{name}.json"),
        serde_json::to_string_pretty(&told).unwrap(),
    )
    .unwrap();
    house.start();
}
