//! First light: the main job on real servers, from the first `POST` to the server that goes down and comes up again. Needs the
//! lab (`tests/lab`), hosts h7 and h8.

use crate::common;

use common::*;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

fn script(name: &str, args: &[&str]) -> String {
    let lab = std::env::var_os("LAMPLIGHTER_LAB").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab"),
        PathBuf::from,
    );
    let out = Command::new(lab.join(name)).args(args).output().unwrap();
    assert!(out.status.success(), "{name} {args:?}: {}", said(&out));
    String::from_utf8(out.stdout).unwrap()
}

/// As root on the host itself, not over ssh.
fn on(host: &str, command: &str) -> String {
    script("on", &["--direct", host, "sh", "-c", command])
        .trim()
        .to_string()
}

fn key(name: &str) -> String {
    let dir = std::env::var_os("LAB_DIR").map_or("/var/tmp/lamplighter-lab".into(), PathBuf::from);
    fs::read_to_string(dir.join("keys").join(name)).unwrap()
}

fn address(host: &str) -> String {
    format!("10.77.0.1{}", &host[1..])
}

/// The hosts are shared by the stories of this file: one at a time.
static LAB: Mutex<()> = Mutex::new(());

/// A server of the lab with a clean disk. Healed when dropped.
struct Host(
    &'static str,
    #[expect(dead_code, reason = "held")] MutexGuard<'static, ()>,
);

impl Host {
    fn fresh(name: &'static str) -> Host {
        let alone = LAB.lock().unwrap_or_else(|e| e.into_inner());
        script("up", &[name, "--fresh"]);
        Host(name, alone)
    }

    fn fault(&self, what: &str) {
        script("fault", &[self.0, what]);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        script("fault", &[self.0, "heal"]);
    }
}

/// How to sign in on a lab server.
fn login(user: &str) -> Value {
    match user {
        "root" => json!({ "username": "root", "ssh_key": key("id_ed25519") }),
        "deploy" => json!({ "username": "deploy", "ssh_key": key("id_pass"), "ssh_key_passphrase": "lab-passphrase" }),
        "by-key-with-sudo" => json!({ "username": "ops", "ssh_key": key("id_rsa"), "password": "ops-pw" }),
        user => json!({ "username": user, "password": format!("{user}-pw") }),
    }
}

fn wanted(host: &str, user: &str, name: &str) -> Value {
    let mut wanted = login(user);
    wanted["name"] = json!(name);
    wanted["host"] = json!(address(host));
    wanted["poll_interval_s"] = json!(5);
    wanted
}

/// Adds a server and, after a look at its own key, accepts the one it shows.
fn add(house: &House, host: &str, user: &str, name: &str) -> i64 {
    let admin = house.admin();
    let made = admin.post("/api/servers", &wanted(host, user, name)).is(201);
    let id = made["id"].as_i64().unwrap();
    let path = format!("/api/servers/{id}");
    let pending = eventually("its host key is seen", || {
        Some(admin.get(&path).is(200)).filter(|s| s["host_key_state"] == "pending")
    });
    let own = on(host, "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub");
    let shown = pending["host_key_fingerprint"].as_str().unwrap();
    assert_eq!(own.split(' ').nth(1), Some(shown));
    let accepted = admin.post(&format!("{path}/accept-host-key"), &json!({ "fingerprint": shown }));
    assert_eq!(accepted.is(200)["host_key_state"], "pinned");
    id
}

fn start(house: &House, server: i64, action: &str, body: &Value) -> i64 {
    let answer = house.admin().post(&format!("/api/servers/{server}/{action}"), body);
    answer.is(202)["task_id"].as_i64().unwrap()
}

/// Runs an action to its end, whatever that is.
fn act(house: &House, server: i64, action: &str) -> Value {
    ended(house, start(house, server, action, &json!({})))
}

/// Installing takes longer than a story's usual patience.
fn ended(house: &House, task: i64) -> Value {
    let path = format!("/api/tasks/{task}");
    let until = Instant::now() + Duration::from_secs(300);
    loop {
        let after = house.admin().get(&format!("{path}/logs?after=999999&wait=20")).is(200);
        if !after["end"].is_null() || Instant::now() > until {
            return house.admin().get(&path).is(200);
        }
    }
}

#[track_caller]
fn changes(task: &Value) -> i64 {
    assert_eq!(task["status"], "ok", "{task}");
    task["changed"].as_i64().unwrap()
}

fn show(house: &House, server: i64) -> Value {
    house.admin().get(&format!("/api/servers/{server}")).is(200)
}

#[track_caller]
fn lamp(house: &House, server: i64, status: &str) -> Value {
    eventually(&format!("the lamp is {status}"), || {
        Some(show(house, server)).filter(|s| s["status"] == status)
    })
}

fn alerts(house: &House, query: &str) -> Vec<Value> {
    house.admin().get(&format!("/api/alerts?{query}")).is(200)["items"]
        .as_array()
        .unwrap()
        .clone()
}

#[test]
#[ignore = "lab: h7"]
fn a_server_is_added_set_up_watched_lost_and_found() {
    let host = Host::fresh("h7");
    let house = House::new();
    let id = add(&house, "h7", "root", "web-7");
    assert_eq!(changes(&act(&house, id, "check-ssh")), 0);
    let facts = show(&house, id)["facts"].clone();
    assert_eq!(
        (&facts["user"], &facts["os_id"], &facts["sudo_works"]),
        (&json!("root"), &json!("debian"), &json!("yes"))
    );

    // The log is followed while it happens: steps, commands with their exit codes, an end.
    let task = start(&house, id, "deploy-proxy", &json!({}));
    let events = house.admin().stream(&format!("/api/tasks/{task}/stream"), None).rest();
    let ids: Vec<i64> = events.iter().filter_map(|e| e.id).collect();
    assert!(
        ids.iter().copied().eq(1..=ids.len() as i64),
        "every line, in order: {ids:?}"
    );
    let steps: Vec<Value> = events
        .iter()
        .filter(|e| e.name == "progress")
        .map(Event::json)
        .collect();
    for key in ["step", "steps", "name", "title", "state", "ms"] {
        assert!(steps.iter().all(|s| !s[key].is_null()), "{key}: {steps:?}");
    }
    assert!(
        events
            .iter()
            .any(|e| e.name == "log" && e.data.contains("apt-get") && e.data.contains("\"source\":\"command\""))
    );
    assert!(events.iter().any(|e| e.data.contains("rc 0 after")));
    let end = events.last().unwrap();
    assert_eq!((&*end.name, &end.json()["status"]), ("end", &json!("ok")));
    let first = ended(&house, task);
    assert!(changes(&first) > 0);
    assert!(
        first["steps"]
            .as_array()
            .unwrap()
            .iter()
            .any(|s| s["state"] == "changed"),
        "{first}"
    );
    assert_eq!(
        on("h7", "nginx -t 2>&1 && systemctl is-active nginx | tail -1")
            .lines()
            .last(),
        Some("active")
    );
    let second = act(&house, id, "deploy-proxy");
    assert_eq!(changes(&second), 0, "{second}");
    assert!(
        second["steps"]
            .as_array()
            .unwrap()
            .iter()
            .all(|s| s["state"] == "ok" || s["state"] == "skipped"),
        "{second}"
    );

    assert!(changes(&act(&house, id, "install-glances")) > 0);
    let seen = show(&house, id);
    assert_eq!(
        (&seen["glances_profile"], &seen["glances_scheme"]),
        (&json!("protected"), &json!("https"))
    );
    assert_eq!(
        (&seen["glances_auth_type"], &seen["has_glances_password"]),
        (&json!("basic"), &json!(true))
    );
    let second = act(&house, id, "install-glances");
    assert_eq!(changes(&second), 0, "{second}");
    assert_eq!(on("h7", "systemctl is-active lamplighter-glances"), "active");
    let open = on(
        "h7",
        "ss -Hltn | awk '{print $4}' | grep -v '^127\\|^\\[::1\\]' | sort -u | tr '\\n' ' '",
    );
    assert!(
        !open.contains(":61208"),
        "Glances itself is not open to the world: {open}"
    );

    // The server is up and its pages have data.
    let lit = lamp(&house, id, "ok");
    assert_eq!(lit["glances_api_version"], 3);
    let sample = eventually("a sample with a figure of the CPU", || {
        Some(show(&house, id)["last_sample"].clone()).filter(|s| s["cpu_percent"].is_f64())
    });
    for value in ["mem_percent", "disk_percent", "load1", "uptime_seconds"] {
        assert!(sample[value].as_f64().is_some_and(|v| v > 0.0), "{value}: {sample}");
    }
    let history = house.admin().get(&format!("/api/servers/{id}/metrics?period=1h"));
    history.is(200);
    house
        .admin()
        .get(&format!("/api/servers/{id}/metrics?period=2y"))
        .is(422);
    let browser = house
        .client()
        .by(Who::cookie(&house.sign_in(ADMIN, &house.password), house.address));
    for page in [
        "/".to_string(),
        "/servers".into(),
        format!("/servers/{id}"),
        format!("/tasks/{task}"),
    ] {
        let page = browser.get(&page);
        assert!(page.status == 200 && page.text().contains("web-7"), "{}", page.text());
    }

    // Dark after three polls, with an alert; lit again, and the alert is over.
    on("h7", "systemctl stop lamplighter-glances");
    let dark = lamp(&house, id, "unreachable");
    assert!(
        dark["fail_count"].as_i64().unwrap() >= 3 && dark["last_error"]["code"].is_string(),
        "{dark}"
    );
    let alert = eventually("an alert", || alerts(&house, "state=firing").pop());
    assert_eq!(
        (&alert["kind"], &alert["target"]["id"]),
        (&json!("server.unreachable"), &json!(id))
    );
    on("h7", "systemctl start lamplighter-glances");
    lamp(&house, id, "ok");
    eventually("the alert is over", || {
        let path = format!("/api/alerts/{}", alert["id"]);
        (house.admin().get(&path).is(200)["state"] == "resolved").then_some(())
    });
    drop(host);
}

#[test]
#[ignore = "lab: h8"]
fn the_same_job_is_done_by_whoever_may_become_root() {
    let _host = Host::fresh("h8");
    let house = House::new();
    let mut ids = Vec::new();
    for (n, user) in ["ops", "deploy", "by-key-with-sudo"].into_iter().enumerate() {
        let id = add(&house, "h8", user, user);
        assert_eq!(changes(&act(&house, id, "check-ssh")), 0, "{user}");
        assert_eq!(show(&house, id)["facts"]["sudo_works"], "yes", "{user}");
        let proxy = changes(&act(&house, id, "deploy-proxy"));
        assert_eq!(proxy > 0, n == 0, "{user}: the first sets it up, the others find it");
        ids.push(id);
    }
    let open = json!({ "profile": "open" });
    let first = ended(&house, start(&house, ids[0], "install-glances", &open));
    assert!(changes(&first) > 0);
    let second = ended(&house, start(&house, ids[1], "install-glances", &open));
    assert_eq!(changes(&second), 0, "{second}");
    assert_eq!(show(&house, ids[1])["glances_profile"], "open");
    lamp(&house, ids[1], "ok");
}

#[test]
#[ignore = "lab: h8"]
fn who_may_ask_is_kept_by_the_next_installation() {
    let _host = Host::fresh("h8");
    let house = House::new();
    let id = add(&house, "h8", "ops", "web-8");
    let install = |body: Value| changes(&ended(&house, start(&house, id, "install-glances", &body)));
    let allowed = || {
        on(
            "h8",
            "grep -o 'allow [^;]*' /etc/nginx/conf.d/*glances* | cut -d' ' -f2 | tr '\\n' ' '",
        )
    };
    let list = json!(["controller", "192.0.2.0/24"]);
    assert!(install(json!({ "allow": list })) > 0);
    assert_eq!(show(&house, id)["glances_allow"], list);
    assert_eq!(allowed(), "127.0.0.0/8 ::1 10.77.0.1 192.0.2.0/24");
    lamp(&house, id, "ok");
    assert_eq!(install(json!({})), 0, "nobody had to say it again");
    // On one address without a login a firewall does the same.
    let bind = json!({ "profile": "bind", "address": address("h8") });
    assert!(install(bind) > 0);
    let rules = || {
        on(
            "h8",
            "ufw show added | grep -c \"61208.*comment 'lamplighter'\" || true",
        )
    };
    assert_eq!(rules(), "3", "two may, all others may not");
    assert_eq!(show(&house, id)["glances_bind"], address("h8"));
    lamp(&house, id, "ok");
    assert_eq!(install(json!({})), 0);
    // Back behind the login, and open to everyone who knows it.
    assert!(install(json!({ "profile": "protected", "allow": [] })) > 0);
    assert_eq!(
        (rules(), show(&house, id)["glances_bind"].clone()),
        ("0".into(), json!(""))
    );
    assert_eq!(allowed(), "");
    lamp(&house, id, "ok");
}

#[test]
#[ignore = "lab: h8"]
fn glances_4_is_found_though_the_path_says_3() {
    let _host = Host::fresh("h8");
    on(
        "h8",
        "export DEBIAN_FRONTEND=noninteractive; apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null 2>&1 \
         && python3 -m venv /opt/g4 && /opt/g4/bin/pip -q install --no-index --find-links /srv/labwheels 'glances[web]' \
         && systemd-run -q --unit=glances4 /opt/g4/bin/glances -w -B 0.0.0.0 -p 61208 --disable-check-update",
    );
    let house = House::new();
    let id = add(&house, "h8", "root", "web-8");
    assert_eq!(show(&house, id)["glances_path"], "/api/3/all");
    let lit = lamp(&house, id, "ok");
    assert_eq!(
        (&lit["glances_api_version"], &lit["glances_path"]),
        (&json!(4), &json!("/api/3/all"))
    );
    eventually("a sample with a figure of the CPU", || {
        let sample = show(&house, id)["last_sample"].clone();
        sample["cpu_percent"].as_f64().map(|_| assert_eq!(sample["api"], 4))
    });
    let probe = house
        .admin()
        .post(&format!("/api/servers/{id}/probe-glances"), &json!({}));
    assert_eq!(probe.status, 200, "{}", probe.text());
}

#[test]
#[ignore = "lab: h8"]
fn every_failure_has_its_own_words_and_leaves_nothing_half_done() {
    let host = Host::fresh("h8");
    let house = House::new();
    let admin = house.admin();
    let before = on(
        "h8",
        "find /etc /usr/local /opt -type f | sort | xargs sha256sum | sha256sum; dpkg-query -W | sha256sum",
    );
    let mut words = Vec::new();
    let mut fails = |id: i64, code: &str| {
        for action in ["check-ssh", "deploy-proxy", "install-glances"] {
            let task = act(&house, id, action);
            assert_eq!(
                (&task["status"], &task["error"]["code"]),
                (&json!("failed"), &json!(code)),
                "{action}: {task}"
            );
            assert_eq!(task["changed"], 0);
            words.push((code.to_string(), task["error"]["message"].as_str().unwrap().to_string()));
        }
    };
    let patch = |id: i64, change: Value| admin.patch(&format!("/api/servers/{id}"), &change);

    let ops = add(&house, "h8", "ops", "ops");
    patch(ops, json!({ "password": "not the password" })).is(200);
    fails(ops, "ssh_wrong_password");
    patch(ops, json!({ "password": "ops-pw" })).is(200);

    let root = add(&house, "h8", "root", "root");
    patch(root, json!({ "ssh_key": key("id_wrong") })).is(200);
    fails(root, "ssh_key_refused");
    let wrong = patch(
        root,
        json!({ "ssh_key": key("id_pass"), "ssh_key_passphrase": "not the passphrase" }),
    );
    wrong.is(422);
    assert_eq!(wrong.json()["fields"][0]["code"], "ssh_wrong_passphrase");
    patch(root, json!({ "ssh_key": key("id_ed25519") })).is(200);

    // The port of another machine's service, of nothing, and of nobody.
    patch(
        root,
        json!({ "ssh_port": 23, "host_key": format!("ssh-ed25519 {}", host_key("h8")) }),
    )
    .is(200);
    fails(root, "ssh_refused");
    patch(
        root,
        json!({ "ssh_port": 22, "host_key": format!("ssh-ed25519 {}", host_key("h8")) }),
    )
    .is(200);
    host.fault("unplug");
    fails(root, "ssh_no_route");
    script("fault", &["h8", "heal"]);

    // No sudo at all, and sudo with a password that nobody gave.
    let plain = add(&house, "h8", "plain", "plain");
    let looked = act(&house, plain, "check-ssh");
    assert_eq!(looked["status"], "ok", "looking needs no root: {looked}");
    let facts = show(&house, plain)["facts"].clone();
    assert_eq!(facts["sudo_works"], "no");
    assert!(facts["sudo_problem"].as_str().unwrap().contains("sudo"), "{facts}");
    for action in ["deploy-proxy", "install-glances"] {
        let refused = act(&house, plain, action);
        assert_eq!(refused["error"]["code"], "sudo_not_allowed", "{action}: {refused}");
    }
    let keyed = add(&house, "h8", "by-key-with-sudo", "keyed");
    patch(keyed, json!({ "password": null })).is(200);
    assert_eq!(
        act(&house, keyed, "deploy-proxy")["error"]["code"],
        "sudo_password_needed"
    );
    patch(keyed, json!({ "password": "not the password" })).is(200);
    assert_eq!(
        act(&house, keyed, "deploy-proxy")["error"]["code"],
        "sudo_password_wrong"
    );

    host.fault("rekey");
    fails(root, "ssh_host_key_changed");
    assert_eq!(show(&house, root)["host_key_state"], "changed");
    eventually("a critical alert", || {
        alerts(&house, "level=CRITICAL&state=firing").pop()
    });

    words.sort();
    words.dedup_by(|a, b| a.0 == b.0);
    words.dedup_by(|a, b| a.1 == b.1);
    assert_eq!(words.len(), 5, "each its own sentence: {words:#?}");
    // Its host keys are new, by our own hand; the rest is as it was.
    let after = on(
        "h8",
        "find /etc /usr/local /opt -type f | sort | xargs sha256sum | sha256sum; dpkg-query -W | sha256sum",
    );
    assert_eq!(after.lines().nth(1), before.lines().nth(1), "packages");
    assert_eq!(
        on(
            "h8",
            "ls -d /etc/nginx /etc/systemd/system/lamplighter* 2>/dev/null || true"
        ),
        ""
    );
    assert_eq!(on("h8", "ls -d /run/lamplighter* 2>/dev/null || true"), "");
}

fn host_key(host: &str) -> String {
    let line = on(host, "cat /etc/ssh/ssh_host_ed25519_key.pub");
    line.split(' ').nth(1).unwrap().to_string()
}

#[test]
#[ignore = "lab: h8"]
fn a_running_installation_is_cancelled_on_the_server_too() {
    let _host = Host::fresh("h8");
    let house = House::new();
    let id = add(&house, "h8", "root", "web-8");
    // Somebody else holds the package system: ours waits for it.
    on(
        "h8",
        "systemd-run -q --unit=updates python3 -c 'import fcntl, time; f = open(\"/var/lib/dpkg/lock-frontend\", \"w\"); \
         fcntl.lockf(f, fcntl.LOCK_EX); time.sleep(600)' && sleep 1",
    );
    let task = start(&house, id, "deploy-proxy", &json!({}));
    let mut stream = house.admin().stream(&format!("/api/tasks/{task}/stream"), None);
    while !stream
        .next(PATIENCE)
        .expect("it says that it waits")
        .data
        .contains("waiting for the package system")
    {}
    house
        .admin()
        .post(&format!("/api/tasks/{task}/cancel"), &json!({}))
        .is(202);
    assert_eq!(ended(&house, task)["status"], "cancelled");
    eventually("nothing of ours runs there", || {
        let left = on("h8", "grep -lsFz LAMPLIGHTER_JOB= /proc/[0-9]*/environ || true");
        left.is_empty().then_some(())
    });
    on("h8", "systemctl stop updates");
    assert!(
        changes(&act(&house, id, "deploy-proxy")) > 0,
        "and it can be begun again"
    );
}

#[test]
#[ignore = "lab: h8"]
fn an_installation_survives_the_end_of_the_daemon() {
    let _host = Host::fresh("h8");
    let mut house = House::new();
    let id = add(&house, "h8", "deploy", "web-8");
    let task = start(&house, id, "deploy-proxy", &json!({}));
    let mut stream = house.admin().stream(&format!("/api/tasks/{task}/stream"), None);
    while !stream.next(PATIENCE).expect("it installs").data.contains("apt-get") {}
    house.kill();
    house.start();
    let again = ended(&house, task);
    assert_eq!(again["status"], "ok", "{again}");
    assert_eq!(changes(&act(&house, id, "deploy-proxy")), 0);
    assert_eq!(
        on("h8", "dpkg --audit; systemctl is-active nginx").lines().last(),
        Some("active")
    );
}
