//! Servers as hosts: one row under two names, and a look at each by the way it was given.

use crate::common;

use common::*;
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::thread;

fn host(name: &str, port: u16, method: &str) -> Value {
    json!({
        "name": name, "hostname": "127.0.0.1", "port": port, "username": "root", "password": "some password",
        "os_type": "linux", "environment": "prod", "tags": ["web"], "check_method": method,
    })
}

fn add(admin: &Client, wanted: &Value) -> String {
    format!("/api/hosts/{}", admin.post("/api/hosts", wanted).is(201)["id"])
}

fn look(admin: &Client, at: &str) -> Value {
    admin.post(&format!("{at}/status-check"), &json!({})).is(200)
}

/// A port that nothing listens at.
fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_host_is_a_server_under_other_names() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let made = admin.post("/api/hosts", &host("web-1", 2222, "ssh"));
    let at = made.header("location").unwrap().to_string();
    let made = made.is(201);
    assert!(!made.to_string().contains("some password"), "{made}");
    let server = admin.get(&at.replace("hosts", "servers")).is(200);
    for (ours, theirs) in [
        ("name", "name"),
        ("hostname", "host"),
        ("port", "ssh_port"),
        ("environment", "environment"),
        ("os_type", "os_type"),
        ("check_method", "check_method"),
        ("tags", "tags"),
    ] {
        assert_eq!(made[ours], server[theirs], "{ours}");
    }
    assert_eq!(
        (&made["status"], &made["last_check"], &server["status"]),
        (&json!("unknown"), &Value::Null, &json!("provisioning"))
    );
    // Both names are taken, and a change by one is seen by the other.
    let moved = admin.patch(&at, &json!({ "host": "192.0.2.7", "password": "another one" }));
    assert_eq!(moved.is(200)["hostname"], "192.0.2.7");
    admin
        .post("/api/hosts", &host("web-1", 22, "tcp"))
        .fails(409, "duplicate");
    // `PUT` gives what is not sent its default, and leaves alone what a host does not show.
    let before = admin.patch(&at.replace("hosts", "servers"), &json!({ "poll_interval_s": 45 }));
    before.is(200);
    let bare = json!({ "name": "web-1", "hostname": "192.0.2.7", "port": 2222, "username": "root" });
    let put = admin.put(&at, &bare).is(200);
    assert_eq!(
        (&put["environment"], &put["check_method"]),
        (&json!(""), &json!("none"))
    );
    assert_eq!(
        admin.get(&at.replace("hosts", "servers")).is(200)["poll_interval_s"],
        45
    );
    for (query, count) in [("?environment=prod", 0), ("?q=web", 1), ("?tag=web", 0), ("", 1)] {
        assert_eq!(
            admin.get(&format!("/api/hosts{query}")).is(200)["total"],
            count,
            "{query}"
        );
    }
    for bad in [
        json!({ "check_method": "http" }),
        json!({ "environment": "a\nb" }),
        json!({ "port": 0 }),
    ] {
        assert_eq!(admin.patch(&at, &bad).status, 422, "{bad}");
    }
    admin.delete(&at).is(204);
    admin.get(&at.replace("hosts", "servers")).fails(404, "not_found");
}

#[test]
fn a_look_tells_what_answers_and_how_long_it_took() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let greeter = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = greeter.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut guest in greeter.incoming().flatten() {
            let _ = guest.write_all(b"SSH-2.0-OpenSSH_9.6\r\n"); // whoever only connects may be gone already
        }
    });
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = mute.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut guest in mute.incoming().flatten() {
            let _ = guest.write_all(b"220 mail.example ESMTP\r\n"); // as above
        }
    });
    for (name, port, method, by, status) in [
        ("a", port, "tcp", "tcp", "up"),
        ("b", port, "ssh", "ssh", "up"),
        ("c", port, "none", "tcp", "up"),
        ("d", closed_port(), "tcp", "tcp", "down"),
        ("e", other, "ssh", "ssh", "down"),
    ] {
        let at = add(&admin, &host(name, port, method));
        let seen = look(&admin, &at);
        assert_eq!(
            (&seen["status"], &seen["method"]),
            (&json!(status), &json!(by)),
            "{name}: {seen}"
        );
        assert_eq!(seen["latency_ms"].is_f64(), status == "up", "{name}: {seen}");
        assert_eq!(seen["error"].is_null(), status == "up", "{name}: {seen}");
        let shown = admin.get(&at).is(200);
        assert_eq!(
            (&shown["status"], &shown["error"]),
            (&seen["status"], &seen["error"]),
            "{name}"
        );
        // A host's own look changes nothing of the lamp.
        let server = admin.get(&at.replace("hosts", "servers")).is(200);
        assert_eq!(server["status"], "provisioning", "{name}");
    }
    // What cannot be known is not down.
    let nameless = json!({ "hostname": "no-such-host.invalid", "password": "some password" });
    let mut wanted = host("f", 22, "tcp");
    wanted
        .as_object_mut()
        .unwrap()
        .extend(nameless.as_object().unwrap().clone());
    let seen = look(&admin, &add(&admin, &wanted));
    assert_eq!(
        (&seen["status"], &seen["latency_ms"]),
        (&json!("unknown"), &Value::Null),
        "{seen}"
    );
    // The kernel here may refuse a ping: then it says so, and the host is not called down.
    let seen = look(&admin, &add(&admin, &host("g", 22, "ping")));
    match seen["status"].as_str().unwrap() {
        "up" => assert!(seen["latency_ms"].is_f64(), "{seen}"),
        status => assert_eq!(
            (
                status,
                seen["error"].as_str().unwrap().contains("Ping is not allowed here")
            ),
            ("unknown", true),
            "{seen}"
        ),
    }
}

#[test]
fn equal_results_are_one_row_and_another_one_begins_a_new_one() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = add(&admin, &host("web-1", listener.local_addr().unwrap().port(), "tcp"));
    for _ in 0..3 {
        assert_eq!(look(&admin, &at)["status"], "up");
    }
    drop(listener);
    assert_eq!(look(&admin, &at)["status"], "down");
    let history = admin.get(&format!("{at}/checks")).is(200);
    let told: Vec<_> = history["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| (run["status"].as_str().unwrap(), run["count"].as_i64().unwrap()))
        .collect();
    assert_eq!((told, &history["total"]), (vec![("down", 1), ("up", 3)], &json!(2)));
    assert_eq!(history["items"][0]["code"], "refused");
    let latency = &history["items"][1];
    let ms = |name: &str| latency[name].as_f64().unwrap();
    assert!(
        ms("latency_min_ms") <= ms("latency_ms") && ms("latency_ms") <= ms("latency_max_ms"),
        "{latency}"
    );
    admin.get("/api/hosts/999/checks").fails(404, "not_found");
}

#[test]
fn who_has_a_method_is_looked_at_by_itself_and_the_others_are_left_alone() {
    let mut house = House::new();
    let admin = house.admin();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (looked_at, alone) = (
        add(&admin, &host("web-1", port, "tcp")),
        add(&admin, &host("web-2", port, "none")),
    );
    house.restart_first(true); // every job runs at start, too
    let admin = house.admin();
    eventually("the host was looked at", || {
        (admin.get(&looked_at).is(200)["status"] == "up").then_some(())
    });
    assert_eq!(admin.get(&alone).is(200)["status"], "unknown");
}

#[test]
fn what_checks_find_is_kept_and_what_has_changed_is_told() {
    let mut house = House::new();
    let door = Door::new(9);
    let admin = house.admin();
    let id = admin.post("/api/servers", &server("web-1", door.port)).is(201)["id"]
        .as_i64()
        .unwrap();
    let at = format!("/api/hosts/{id}");
    let first_look = house.newest_task(id, "server.look_host_key");
    house.wait_for(first_look);
    let found = |facts: Value| {
        let sql = "UPDATE servers SET facts = ?1, facts_at = ?2";
        let now = lamplighter::base::clock::now();
        let db = house.database("lamplighter.db");
        db.execute(sql, rusqlite::params![facts.to_string(), now]).unwrap();
        let ended = json!({ "kind": "server.check_ssh", "status": "ok", "target_id": id, "target_name": "web-1" });
        let sql =
            "INSERT INTO events (at, kind, target_type, target_id, data) VALUES (?1, 'task.ended', 'task', 999, ?2)";
        db.execute(sql, rusqlite::params![now, ended.to_string()]).unwrap();
    };
    let snapshots = |count: i64| {
        eventually("a snapshot is kept", || {
            let all = admin.get(&format!("{at}/facts")).is(200);
            (all["total"] == count).then_some(all["items"].clone())
        })
    };
    found(json!({ "kernel": "6.1.0-9", "uptime_s": "9", "disk_1": "ext4 100 40 /", "updates": "3" }));
    let first = snapshots(1);
    assert_eq!(
        first[0]["facts"],
        json!({ "kernel": "6.1.0-9", "disk /": "ext4 100 KiB", "updates": "3" })
    );
    assert_eq!(first[0]["changes"], json!([]));
    // What never rests is no difference.
    found(json!({ "kernel": "6.1.0-9", "uptime_s": "99", "disk_1": "ext4 100 41 /", "updates": "3" }));
    eventually("the same was found", || {
        (admin.get(&format!("{at}/facts")).is(200)["items"][0]["count"] == 2).then_some(())
    });
    found(json!({ "kernel": "6.1.0-10", "uptime_s": "1", "disk_1": "ext4 100 41 /", "reboot_needed": "no" }));
    let two = snapshots(2);
    let change = |fact: &str, before: Value, after: Value| json!({ "fact": fact, "before": before, "after": after });
    assert_eq!(
        two[0]["changes"],
        json!([
            change("kernel", json!("6.1.0-9"), json!("6.1.0-10")),
            change("reboot_needed", Value::Null, json!("no")),
            change("updates", json!("3"), Value::Null),
        ])
    );
    let told = house.event_data("host.facts_changed");
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[1]["evidence"][0], "kernel: 6.1.0-9 → 6.1.0-10");
    let mut browser = house.browser();
    browser.sign_in(ADMIN, &house.password);
    let page = browser.get(&format!("/servers/{id}"));
    assert!(
        page.has("<del>6.<wbr>1.<wbr>0-9</del>") && page.has("<ins>6.<wbr>1.<wbr>0-10</ins>"),
        "{}",
        page.body
    );

    // Whoever was not asked for a day is asked by the clock, and not again because no answer came.
    let checks = |house: &House| {
        let tasks = house
            .admin()
            .get(&format!("/api/tasks?kind=server.check_ssh&server={id}"))
            .is(200);
        tasks["total"].as_i64().unwrap()
    };
    assert_eq!(checks(&house), 0);
    house
        .database("lamplighter.db")
        .execute_batch("UPDATE servers SET host_key_state = 'pinned', facts_at = facts_at - 90000000")
        .unwrap();
    house.restart_first(true);
    eventually("it is asked", || (checks(&house) == 1).then_some(()));
    let task = house.newest_task(id, "server.check_ssh");
    house.wait_for(task);
    house.restart_first(true);
    eventually("the clock has come round", || {
        let health = house.admin().get("/health/scheduler").json();
        health.to_string().contains("hosts.facts").then_some(())
    });
    assert_eq!(checks(&house), 1);
}

/// What a file for a host comes through by: a file without a name, and parts that are sealed one by one.
#[test]
fn a_file_for_a_host_is_never_held_whole_and_who_breaks_off_leaves_nothing() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let hosts: Vec<_> = (1..=9)
        .map(|n| add(&admin, &host(&format!("web-{n}"), 22, "none")))
        .collect();
    let bytes: Vec<u8> = (0..10_u32 << 20)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let path = |n: usize| format!("{}/files?path=/srv/f", hosts[n]);
    let send = |n: usize, bytes: &[u8]| {
        house
            .admin()
            .send("POST", &path(n), Some(("application/octet-stream", bytes)))
    };
    send(0, b"small").is(202);
    let pid = house.daemons[0].pid();
    let peak_kb = || -> u64 {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    send(1, &bytes[..2 << 20]).is(202);
    let before = peak_kb();
    thread::scope(|scope| {
        for n in 2..8 {
            let (send, bytes) = (&send, &bytes);
            scope.spawn(move || send(n, bytes).is(202));
        }
    });
    let grown = peak_kb() - before;
    assert!(grown < 30_000, "six files of 10 MiB took {grown} kB");
    send(8, &[&bytes[..], b"x"].concat()).fails(413, "body_too_large");

    // What is kept is what was sent.
    let db = house.database("lamplighter.db");
    let count = |sql: &str| -> i64 { db.query_row(sql, [], |r| r.get(0)).unwrap() };
    let sum = lamplighter::base::text::hex(&lamplighter::base::text::sha256(&bytes));
    let whole = format!(
        "SELECT count(*) FROM tasks WHERE input ->> 'sha256' = '{sum}' AND input ->> 'size' = {}",
        bytes.len()
    );
    assert_eq!(count(&whole), 6);
    let parts = "SELECT count(*) FROM action_file_parts WHERE length(content) > 524288";
    assert_eq!(count(parts), 6 * 20 + 4);

    // Broken off in the middle: no name of it is anywhere, and the place that it took is free again.
    let tasks = count("SELECT count(*) FROM tasks");
    let names = || -> Vec<String> {
        let all = fs::read_dir(house.folder.path()).unwrap();
        let mut names: Vec<_> = all.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let without_name = || {
        let all = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let targets = all.filter_map(|fd| fs::read_link(fd.unwrap().path()).ok());
        let data = house.folder.path().to_path_buf();
        targets
            .filter(|t| t.starts_with(&data) && t.to_string_lossy().ends_with("(deleted)"))
            .count()
    };
    let (known, bearer) = (
        names(),
        house.sign_in(ADMIN, &house.password).json()["access_token"].clone(),
    );
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/octet-stream\r\n\
         Content-Length: {}\r\n\r\n",
        path(8),
        house.address,
        bearer.as_str().unwrap(),
        bytes.len()
    );
    let mut socket = TcpStream::connect(house.address).unwrap();
    socket.write_all(head.as_bytes()).unwrap();
    socket.write_all(&bytes[..5 << 20]).unwrap();
    eventually("it is on its way", || (without_name() == 1).then_some(()));
    assert_eq!(names(), known);
    drop(socket);
    eventually("it is gone", || (without_name() == 0).then_some(()));
    assert_eq!(count("SELECT count(*) FROM tasks"), tasks);
}
