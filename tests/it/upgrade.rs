//! A data folder that an earlier version has left is opened by this one, and everything is still in it: what the API
//! answered then stands beside the folder and is what it answers now. A field may have come; none may be lost.

use crate::health::SmallDisk;
use crate::{common, fake};

use common::*;
use fake::{Fake, data, http};
use lamplighter::base::clock::{self, DAY, MINUTE};
use lamplighter::base::id::Id;
use lamplighter::db::{Db, Durability, migrate, schema};
use lamplighter::features::fleet::metrics::{Disk, Polled, Recorder, Sample};
use serde_json::{Map, Value, json};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

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

/// The folder of the earliest version, packed.
fn first() -> PathBuf {
    let mut packed: Vec<PathBuf> = std::fs::read_dir(FOLDERS).unwrap().map(|e| e.unwrap().path()).collect();
    packed.retain(|path| path.extension().is_some_and(|e| e == "gz"));
    let order = |path: &PathBuf| {
        let copy = Folder::new();
        tar(&["-xzf", path.to_str().unwrap(), "-C", copy.path().to_str().unwrap()]);
        schemas(copy.path())
    };
    packed.sort_by_key(order);
    packed.remove(0)
}

/// Unpacks it.
fn earliest() -> Folder {
    let folder = Folder::new();
    tar(&["-xzf", first().to_str().unwrap(), "-C", folder.path().to_str().unwrap()]);
    folder
}

/// Numbers of the schemas of both databases.
fn schemas(folder: &Path) -> [i64; 2] {
    schema::DATABASES.map(|database| {
        let db = rusqlite::Connection::open(folder.join(database.name)).unwrap();
        db.query_row("PRAGMA user_version", [], |r| r.get(0)).unwrap()
    })
}

fn newest() -> [i64; 2] {
    schema::DATABASES.map(|database| database.steps.len() as i64)
}

/// Files of the folder with this in their names.
fn named(folder: &Path, part: &str) -> Vec<PathBuf> {
    let mut found = files(folder);
    found.retain(|path| path.file_name().unwrap().to_str().unwrap().contains(part));
    found.sort();
    found
}

#[track_caller]
fn migrate(folder: &Path) {
    let done = run(&["migrate", "--data-dir", folder.to_str().unwrap()]);
    assert!(done.status.success(), "{}", said(&done));
}

#[test]
fn before_an_upgrade_the_databases_are_copied_and_a_copy_leads_back() {
    let folder = earliest();
    let before = schemas(folder.path());
    let file = folder.path().join("lamplighter.db");
    for round in 1..=3 {
        migrate(folder.path());
        assert_eq!(schemas(folder.path()), newest());
        let copies = named(folder.path(), "lamplighter.before-");
        assert_eq!(copies.len(), round.min(2), "two are kept: {copies:?}");
        let copy = copies.last().unwrap();
        let name = copy.file_name().unwrap().to_str().unwrap();
        let start = format!("lamplighter.before-{}-20", env!("CARGO_PKG_VERSION"));
        assert!(name.starts_with(&start), "{name}");
        assert_eq!(std::fs::metadata(copy).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(lamplighter::db::damage(copy).unwrap(), None);
        // Back: the copy takes the place of the file.
        for end in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{end}", file.display()));
        }
        std::fs::copy(copy, &file).unwrap();
        assert_eq!(schemas(folder.path())[0], before[0]);
        // A copy's name has seconds: the next one may come within this one.
        let earlier = format!("lamplighter.before-0.0.{round}-20000101T000000.db");
        std::fs::rename(copy, folder.path().join(earlier)).unwrap();
    }
    migrate(folder.path());
    // The doctor shows them; a start without an upgrade makes none.
    let copies = named(folder.path(), ".before-");
    let told = run(&["doctor", "--data-dir", folder.path().to_str().unwrap()]);
    let is_told = |copy: &PathBuf| said(&told).contains(copy.file_name().unwrap().to_str().unwrap());
    assert!(copies.iter().all(is_told), "{copies:?}: {}", said(&told));
    migrate(folder.path());
    assert_eq!(named(folder.path(), ".before-"), copies);
    let db = rusqlite::Connection::open(&file).unwrap();
    let by: String = db
        .query_row("SELECT program FROM schema_versions", [], |r| r.get(0))
        .unwrap();
    assert_eq!(by, env!("CARGO_PKG_VERSION"));
}

#[test]
fn what_was_narrowed_to_tags_and_groups_still_is() {
    let folder = earliest();
    let file = folder.path().join("lamplighter.db");
    let tags = json!(["web", "it's \"odd\"", "Ünï"]);
    let db = rusqlite::Connection::open(&file).unwrap();
    let rule = "INSERT INTO alert_rules (id, name, watches, enabled, level, tags, groups, created_at, updated_at)
        VALUES (?1, ?1, ?2, 1, 'ERROR', ?3, ?4, 1, 1)";
    for (id, watches, tags, groups) in [
        (2001, "cpu", tags.to_string(), "[]"),
        (2002, "domain.drifted", "[]".into(), "[1]"),
        (2003, "cpu", "[]".into(), "[]"),
    ] {
        db.execute(rule, rusqlite::params![id, watches, tags, groups]).unwrap();
    }
    // Rows like those that are there, narrowed otherwise.
    let copy = |table: &str, id: i64, change: &str, value: &str| {
        db.execute_batch(&format!(
            "DROP TABLE IF EXISTS temp.one; CREATE TEMP TABLE one AS SELECT * FROM {table} LIMIT 1"
        ))
        .unwrap();
        let change = format!("UPDATE one SET id = ?1, {change}");
        db.execute(&change, rusqlite::params![id, value]).unwrap();
        db.execute(&format!("INSERT INTO {table} SELECT * FROM one"), [])
            .unwrap();
    };
    // What is sealed opens in its own row alone.
    let endpoint = "tags = ?2, token = NULL, url = NULL, secret = NULL, password = NULL, name = 'endpoint ' || ?1";
    copy("notification_endpoints", 2001, endpoint, "[]");
    let tagged = "UPDATE notification_endpoints SET tags = ?1 WHERE id = 1";
    db.execute(tagged, [tags.to_string()]).unwrap();
    let silence = "tag = ?2, ends_at = 4000000000000, kind = ''";
    copy("silences", 2001, silence, "WEB");
    copy("silences", 2002, silence, "nobody's");
    copy(
        "silences",
        2003,
        &format!("{silence}, state = 'over', ended_at = 1"),
        "web",
    );
    let tagged = "SELECT server_id FROM server_tags WHERE tag = 'web' ORDER BY server_id";
    let ids = |db: &rusqlite::Connection, sql: &str| -> Vec<i64> {
        let mut all = db.prepare(sql).unwrap();
        let rows = all.query_map([], |r| r.get(0)).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    };
    let web = ids(&db, tagged);
    assert!(!web.is_empty(), "nobody is tagged");
    drop(db);
    migrate(folder.path());
    let db = rusqlite::Connection::open(&file).unwrap();
    let silent = |id: i64| {
        ids(
            &db,
            &format!("SELECT server_id FROM silence_servers WHERE silence_id = {id}"),
        )
    };
    assert_eq!([silent(2001), silent(2002), silent(2003)], [web, vec![], vec![]]);
    assert_eq!(ids(&db, "PRAGMA foreign_key_check"), [0; 0]);
    drop(db);
    let told: Value =
        serde_json::from_slice(&std::fs::read(first().with_extension("").with_extension("json")).unwrap()).unwrap();
    let house = House::on(folder, Processes::ApiOnly, told["password"].as_str().unwrap());
    let (admin, scope) = (
        house.admin(),
        |field: &str, value: &Value| json!({ "field": field, "op": "in", "value": value }),
    );
    let none = json!(null);
    for (path, field, value, expected) in [
        ("alert-rules/2001", "tags", &tags, scope("tags", &tags)),
        ("alert-rules/2002", "groups", &json!([1]), scope("groups", &json!([1]))),
        ("alert-rules/2003", "tags", &json!([]), none.clone()),
        ("notifications/1", "tags", &tags, scope("tags", &tags)),
        ("notifications/2001", "tags", &json!([]), none),
        ("silences/2001", "tag", &json!("WEB"), scope("tags", &json!(["WEB"]))),
        (
            "silences/2002",
            "tag",
            &json!("nobody's"),
            scope("tags", &json!(["nobody's"])),
        ),
        ("silences/2003", "tag", &json!("web"), scope("tags", &json!(["web"]))),
    ] {
        let now = admin.get(&format!("/api/{path}")).is(200);
        assert_eq!((&now[field], &now["scope"]), (value, &expected), "{path}");
    }
}

#[test]
fn the_service_manager_is_asked_for_time_before_an_upgrade_and_only_then() {
    let folder = earliest();
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_nonblocking(true).unwrap();
    let hears = || {
        let mut migrate = lamplighter(&["migrate", "--data-dir", folder.path().to_str().unwrap()]);
        migrate.env("NOTIFY_SOCKET", &path);
        let done = finish(migrate, "");
        assert!(done.status.success(), "{}", said(&done));
        let mut buffer = [0; 200];
        let length = manager.recv(&mut buffer).unwrap_or(0);
        while manager.recv(&mut [0; 200]).is_ok() {}
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    assert_eq!(hears(), "EXTEND_TIMEOUT_USEC=3600000000");
    assert_eq!(hears(), "");
}

#[test]
fn an_upgrade_without_room_for_the_copies_is_refused_and_changes_nothing() {
    let Some(mut disk) = SmallDisk::new(12) else { return };
    let from = earliest();
    let dir = disk.dir.path().display().to_string();
    disk.run(
        &format!(
            "cp {}/*.db {}/master.key {dir}",
            from.path().display(),
            from.path().display()
        ),
        "filled",
    );
    let binary = env!("CARGO_BIN_EXE_lamplighter");
    let refused = format!(
        "{binary} migrate --data-dir {dir} >{dir}/said 2>&1; test $? = 78 && cat {dir}/said && grep -q 'MB of free disk' {dir}/said"
    );
    disk.run(&refused, "refused");
    for file in ["lamplighter.db", "metrics.db"] {
        disk.run(&format!("cmp {dir}/{file} {}/{file}", from.path().display()), file);
    }
    disk.run(&format!("test -z \"$(ls {dir} | grep before)\""), "nothing");
}

#[test]
fn a_folder_of_a_newer_version_is_refused_in_words_and_not_touched() {
    let mut house = House::with(Processes::ApiOnly, &[]);
    house.stop();
    let db = house.database("lamplighter.db");
    let newer = "PRAGMA user_version = 900; INSERT INTO schema_versions VALUES (900, '7.8.9', 0);";
    db.execute_batch(newer).unwrap();
    drop(db);
    let before = std::fs::read(house.folder.path().join("lamplighter.db")).unwrap();
    for command in ["serve", "run-scheduler", "migrate", "status", "backup"] {
        let out = house.folder.path().join("never.tar").display().to_string();
        let mut args = vec![command, "--data-dir", house.dir()];
        if command == "backup" {
            args.extend(["--out", &out]);
        }
        let refused = run(&args);
        let said = said(&refused);
        assert_eq!(refused.status.code(), Some(78), "{command}: {said}");
        for part in [
            "a newer Lamplighter (7.8.9, schema 900)",
            "restore",
            "backup",
            "Nothing was changed",
        ] {
            assert!(said.contains(part), "{command}: {said}");
        }
    }
    assert!(std::fs::read(house.folder.path().join("lamplighter.db")).unwrap() == before);
    let back = format!(
        "DELETE FROM schema_versions WHERE schema = 900; PRAGMA user_version = {};",
        newest()[0]
    );
    house.database("lamplighter.db").execute_batch(&back).unwrap();
    house.start();
}

#[test]
fn an_upgrade_that_is_killed_leaves_each_file_as_before_or_as_after() {
    let whole = earliest();
    let before = schemas(whole.path());
    let dump =
        |folder: &Path, name: &str| migrate::dump(&rusqlite::Connection::open(folder.join(name)).unwrap()).unwrap();
    let names = schema::DATABASES.map(|database| database.name);
    let old = names.map(|name| dump(whole.path(), name));
    let began = Instant::now();
    migrate(whole.path());
    let took = began.elapsed().as_micros() as usize;
    let new = names.map(|name| dump(whole.path(), name));
    let mut dice = Dice::new(31);
    let mut seen = [0; 2];
    for _ in 0..rounds(5) {
        let folder = earliest();
        let mut child = lamplighter(&["migrate", "--data-dir", folder.path().to_str().unwrap()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_micros((took / 2 + dice.roll(took)) as u64));
        child.kill().unwrap();
        child.wait().unwrap();
        for (n, version) in schemas(folder.path()).into_iter().enumerate() {
            let is_new = version == newest()[n];
            assert!(is_new || version == before[n], "{} is of schema {version}", names[n]);
            assert!(
                dump(folder.path(), names[n]) == if is_new { &*new[n] } else { &*old[n] },
                "{}",
                names[n]
            );
            seen[usize::from(is_new)] += 1;
            let db = rusqlite::Connection::open(folder.path().join(names[n])).unwrap();
            let said: String = db.query_row("PRAGMA integrity_check", [], |r| r.get(0)).unwrap();
            assert_eq!(said, "ok");
        }
        migrate(folder.path());
        assert_eq!(schemas(folder.path()), newest());
        assert_eq!(named(folder.path(), "unfinished"), [""; 0].map(PathBuf::from));
        assert!(named(folder.path(), "lamplighter.before-").len() <= 2);
    }
    eprintln!(
        "killed upgrades: {} files were as before, {} as after",
        seen[0], seen[1]
    );
}

#[test]
fn every_release_has_its_folder() {
    let changes = include_str!("../../src/manual/changes.md");
    let is_version = |word: &&str| word.split('.').count() == 3 && word.split('.').all(|n| n.parse::<u32>().is_ok());
    let headings = changes.lines().filter_map(|line| line.strip_prefix("## "));
    let released: Vec<&str> = headings
        .filter_map(|title| title.split(' ').next().filter(is_version))
        .collect();
    let missing = |version: &&&str| {
        let is_there = |end: &str| Path::new(FOLDERS).join(format!("{version}.{end}")).exists();
        !(is_there("tar.gz") && is_there("json"))
    };
    let missing: Vec<_> = released.iter().filter(missing).collect();
    assert!(
        missing.is_empty(),
        "{missing:?}: see “Before a release” in contributing.md"
    );
    let current = env!("CARGO_PKG_VERSION");
    let is_coming = changes.contains(&format!("{current} is not released yet"));
    assert!(
        released.contains(&current) != is_coming,
        "changes.md has a heading “## {current}”, or says that {current} is not released yet"
    );
}

/// Makes a folder of this version, for the tests of the next ones: see “Before a release” in contributing.md.
#[test]
#[ignore = "makes what the other test reads"]
fn makes_a_folder() {
    let name = env!("CARGO_PKG_VERSION");
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
