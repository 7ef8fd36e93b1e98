//! Secrets that are put on hosts and taken away from them, on real sshd and PAM: hosts h15 and h16 of the lab
//! (`tests/lab`). After every interruption somebody logs in by hand with what Lamplighter says is good.

use crate::common;

use common::dice::{Dice, rounds};
use common::lab::{Hosts, act, address, ended, key, on, script};
use common::*;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

const HOSTS: &[&str] = &["h15", "h16"];

fn id(made: &Value) -> i64 {
    made["id"].as_i64().unwrap()
}

/// A secret that servers may use and a daemon may be asked for.
fn keep(house: &House, name: &str, kind: &str, value: &str) -> i64 {
    house.canary(value);
    let body = json!({ "name": name, "type": kind, "value": value, "scope": ["servers"] });
    id(&house.admin().post("/api/secrets", &body).is(201))
}

/// Enters a host as somebody, by a secret.
fn enter(house: &House, host: &str, user: &str, field: &str, secret: i64) -> i64 {
    let host_key = on(host, "cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub");
    let wanted = json!({
        "name": format!("{host}-{user}"), "host": address(host), "username": user, "host_key": host_key,
        field: { "secret_id": secret }, "auth_type": field,
    });
    id(&house.admin().post("/api/servers", &wanted).is(201))
}

fn reveal(house: &House, secret: i64) -> String {
    let why = json!({ "reason": "a login by hand", "password": house.password });
    let shown = house
        .admin()
        .post(&format!("/api/secrets/{secret}/reveal"), &why)
        .is(200);
    house.canary(shown["value"].as_str().unwrap())
}

fn version(house: &House, secret: i64) -> i64 {
    let now = house.admin().get(&format!("/api/secrets/{secret}")).is(200);
    now["version"].as_i64().unwrap()
}

fn rotation(house: &House, secret: i64) -> Value {
    house.admin().get(&format!("/api/secrets/{secret}/rotation")).is(200)
}

/// Does this let in, by nothing but plain ssh?
fn lets_in(host: &str, user: &str, password: Option<&str>, pem: Option<&str>) -> bool {
    let folder = Folder::new();
    let (file, ask) = (folder.path().join("key"), folder.path().join("ask"));
    fs::write(&ask, "#!/bin/sh\nprintf '%s\\n' \"$SAY\"\n").unwrap();
    fs::set_permissions(&ask, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(&file, pem.unwrap_or_default()).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let way = if pem.is_some() { "publickey" } else { "password" };
    let mut ssh = Command::new("ssh");
    ssh.args([
        "-F",
        "none",
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
    ])
    .args([
        "-o",
        "ControlPath=none",
        "-o",
        "ConnectTimeout=10",
        "-o",
        "NumberOfPasswordPrompts=1",
    ])
    .args([
        "-o",
        "IdentitiesOnly=yes",
        "-o",
        &format!("PreferredAuthentications={way}"),
    ])
    .arg("-i")
    .arg(&file)
    .args(["-l", user, &address(host), "true"])
    .env("SSH_ASKPASS", &ask)
    .env("SSH_ASKPASS_REQUIRE", "force")
    .env("SAY", password.unwrap_or_default());
    ssh.output().unwrap().status.success()
}

fn begin(house: &House, secret: i64) -> i64 {
    let at = format!("/api/secrets/{secret}/rotate-apply");
    house.admin().post(&at, &json!({})).is(202)["task_id"].as_i64().unwrap()
}

/// Until nothing works on it and nothing is unknown.
fn settled(house: &House, secret: i64) -> Value {
    let until = Instant::now() + Duration::from_secs(90);
    loop {
        let now = rotation(house, secret);
        let hosts = now["hosts"].as_array().unwrap();
        let open = |h: &&Value| h["step"] == "setting" || h["step"] == "proved" || h["good"] == "unknown";
        let tasks = house.admin().get("/api/tasks?limit=20").is(200);
        let working = tasks["items"].as_array().unwrap().iter().any(|t| {
            let kind = t["kind"].as_str().unwrap();
            kind.starts_with("rotations.") && ["queued", "running"].contains(&t["status"].as_str().unwrap())
        });
        if !working && (now["state"] != "open" || !hosts.iter().any(|h| open(&h))) {
            return now;
        }
        assert!(Instant::now() < until, "{now}");
        thread::sleep(Duration::from_millis(300));
    }
}

/// Lamplighter itself gets into all of them, whatever the rotation has come to; then brought to its end, anybody does.
fn all_is_well(house: &House, secret: i64, servers: &[i64], by_hand: &dyn Fn(&str, &str) -> bool) {
    let now = settled(house, secret);
    for server in servers {
        let task = act(house, &format!("/api/servers/{server}/check-ssh"), &json!({}));
        assert_eq!(task["status"], "ok", "{now}\n{task}");
    }
    if now["state"] == "open" {
        let task = ended(house, begin(house, secret));
        assert_eq!(task["status"], "ok", "{now}\n{task}");
    }
    let good = reveal(house, secret);
    for host in HOSTS {
        assert!(by_hand(host, &good), "{host} refuses what is said to be good: {now}");
    }
}

#[test]
#[ignore = "lab: h15, h16"]
fn a_password_is_replaced_on_its_hosts_or_is_as_before() {
    let _hosts = Hosts::fresh(HOSTS, None);
    let mut house = House::new();
    let secret = keep(&house, "ops", "password", "ops-pw");
    let servers = HOSTS.map_ids(|host| enter(&house, host, "ops", "password", secret));
    let uses = house.admin().get(&format!("/api/secrets/{secret}/uses")).is(200);
    assert_eq!(uses["total"], 2, "{uses}");
    let at = format!("/api/secrets/{secret}");
    house.admin().delete(&at).fails(409, "secret_used");
    house
        .admin()
        .post(&format!("{at}/rotate"), &json!({ "generate": "password" }))
        .fails(409, "rotate_apply_needed");
    let by_hand = |host: &str, good: &str| lets_in(host, "ops", Some(good), None);

    let began = Instant::now();
    let task = ended(&house, begin(&house, secret));
    let took = began.elapsed();
    assert_eq!(task["status"], "ok", "{task}");
    assert_eq!(version(&house, secret), 2);
    all_is_well(&house, secret, &servers, &by_hand);
    assert!(!by_hand("h15", "ops-pw"), "the old one still lets in");
    println!("FIGURE a password on two hosts: {} ms", took.as_millis());

    // What stands in the way is said in plain words, and nothing is touched.
    for (fault, heal, code) in [
        (
            "passwd -l ops",
            "passwd -u ops",
            "account_locked ssh_wrong_password sudo_password_wrong",
        ),
        (
            "echo 'ops ALL=(ALL) !ALL' >/etc/sudoers.d/zz-taken; chmod 440 /etc/sudoers.d/zz-taken",
            "rm /etc/sudoers.d/zz-taken",
            "sudo_not_allowed",
        ),
        (
            "mount --bind /etc /etc && mount -o remount,ro,bind /etc",
            "umount /etc",
            "etc_not_writable",
        ),
        (
            "sed -i '1i password requisite pam_deny.so' /etc/pam.d/chpasswd",
            "sed -i 1d /etc/pam.d/chpasswd",
            "password_refused",
        ),
    ] {
        on("h15", fault);
        let before = version(&house, secret);
        let task = ended(&house, begin(&house, secret));
        assert_eq!(task["status"], "failed", "{fault}: {task}");
        let said = task["error"]["code"].as_str().unwrap().to_string();
        assert!(code.split(' ').any(|c| c == said), "{fault}: {task}");
        assert_eq!(
            (rotation(&house, secret)["state"].clone(), version(&house, secret)),
            (json!("dropped"), before)
        );
        on("h15", heal);
        all_is_well(&house, secret, &servers, &by_hand);
    }
    script("fault", &["h15", "full", "/etc"]);
    let task = ended(&house, begin(&house, secret));
    assert_eq!(task["error"]["code"], "etc_not_writable", "{task}");
    script("fault", &["h15", "heal"]);
    all_is_well(&house, secret, &servers, &by_hand);
    let alerts = house.admin().get("/api/alerts").is(200).to_string();
    assert!(alerts.contains("secret.rotation_failed"), "{alerts}");

    interrupted(&mut house, secret, &servers, took, &by_hand);
}

/// Killed, and cut off, at moments all over a rotation.
fn interrupted(house: &mut House, secret: i64, servers: &[i64], took: Duration, by_hand: &dyn Fn(&str, &str) -> bool) {
    let (count, mut dice) = (rounds(4), Dice::new(16));
    let (mut finished, mut undone) = (0, 0);
    for round in 0..count {
        let before = version(house, secret);
        begin(house, secret);
        let step = took.as_millis() as usize / count;
        thread::sleep(Duration::from_millis((round * step + dice.roll(step.max(1))) as u64));
        let kills = round % 2 == 0;
        match kills {
            true => {
                house.kill();
                house.start();
            }
            false => {
                // Open connections are reset, new ones refused.
                script("fault", &["h16", "reject", "22"]);
                thread::sleep(Duration::from_secs(3));
                script("fault", &["h16", "heal"]);
            }
        }
        all_is_well(house, secret, servers, by_hand);
        match version(house, secret) == before {
            true => undone += 1,
            false => finished += 1,
        }
    }
    println!("FIGURE {count} interruptions: {finished} came to the new value, {undone} stayed with the old one");
}

trait MapIds {
    fn map_ids(&self, to: impl FnMut(&str) -> i64) -> Vec<i64>;
}

impl MapIds for &[&str] {
    fn map_ids(&self, mut to: impl FnMut(&str) -> i64) -> Vec<i64> {
        self.iter().map(|host| to(host)).collect()
    }
}

#[test]
#[ignore = "lab: h15, h16"]
fn a_key_is_replaced_on_its_hosts_and_what_others_have_there_stays() {
    let _hosts = Hosts::fresh(HOSTS, None);
    let mut house = House::new();
    let old = key("id_ed25519");
    let secret = keep(&house, "root key", "private_key", &old);
    let servers = HOSTS.map_ids(|host| enter(&house, host, "root", "ssh_key", secret));
    let keys = "/root/.ssh/authorized_keys";
    for host in HOSTS {
        // The options of a line belong to it, and a last line without an end is nobody's mistake.
        on(
            host,
            &format!("sed -i '1s/^/no-x11-forwarding /' {keys}; printf '# of others' >>{keys}"),
        );
    }
    let others = on("h15", &format!("sed 1d {keys}"));
    let by_hand = |host: &str, good: &str| lets_in(host, "root", None, Some(good));
    let began = Instant::now();
    let task = ended(&house, begin(&house, secret));
    let took = began.elapsed();
    assert_eq!(task["status"], "ok", "{task}");
    all_is_well(&house, secret, &servers, &by_hand);
    assert!(!by_hand("h15", &old), "the old key still lets in");
    let now = on("h15", &format!("cat {keys}"));
    assert!(now.starts_with(&others), "{now}");
    assert!(
        now.lines()
            .last()
            .unwrap()
            .starts_with("no-x11-forwarding ssh-ed25519 "),
        "{now}"
    );
    println!("FIGURE a key on two hosts: {} ms", took.as_millis());

    on("h15", "mount --bind /root /root && mount -o remount,ro,bind /root");
    let task = ended(&house, begin(&house, secret));
    assert_eq!(task["error"]["code"], "keys_not_written", "{task}");
    on("h15", "umount /root");
    all_is_well(&house, secret, &servers, &by_hand);
    interrupted(&mut house, secret, &servers, took, &by_hand);
}

#[test]
#[ignore = "lab: h15, h16"]
fn an_account_that_was_leased_goes_with_its_lease_whatever_happens() {
    let _hosts = Hosts::fresh(HOSTS, None);
    let mut house = House::new();
    let secret = keep(&house, "root key", "private_key", &key("id_ed25519"));
    let servers = HOSTS.map_ids(|host| enter(&house, host, "root", "ssh_key", secret));
    let leased = |kind: &str, account: &str| {
        let body = json!({
            "name": format!("leased {kind}"), "type": "password", "generate": "password", "lessees": ["user:anna"],
            "lease_kind": kind, "lease_servers": servers, "lease_account": account, "lease_max_s": 600,
        });
        let made = house.admin().post("/api/secrets", &body).is(201);
        format!("/api/secrets/{}", id(&made))
    };
    let (accounts, keys) = (leased("account", "sudo"), leased("key", "ops"));
    let anna = house.account("anna", "operator");
    let anna = |house: &House| house.client().by(Who::bearer(&house.sign_in("anna", &anna)));
    let wanted = json!({ "ttl_seconds": 300, "server_id": servers[1] });
    house
        .admin()
        .post(&format!("{accounts}/lease"), &wanted)
        .fails(403, "not_a_lessee");

    let given = anna(&house).post(&format!("{accounts}/lease"), &wanted).is(201);
    let (account, value) = (given["account"].as_str().unwrap(), given["value"].as_str().unwrap());
    house.canary(value);
    assert!(lets_in("h16", account, Some(value), None), "{}", given["account"]);
    assert!(on("h16", &format!("id {account}")).contains("(sudo)"));
    let by_key = anna(&house).post(&format!("{keys}/lease"), &wanted).is(201);
    let pem = house.canary(by_key["value"].as_str().unwrap());
    assert!(lets_in("h16", "ops", None, Some(&pem)));

    // Somebody works there while it ends, the host is away, and the daemon is killed.
    on(
        "h16",
        &format!("setsid -f runuser -u {account} -- sleep 1000 >/dev/null 2>&1 </dev/null"),
    );
    script("fault", &["h16", "reject", "22"]);
    let at = format!("/api/leases/{}", given["lease_id"]);
    anna(&house).delete(&at).is(204);
    anna(&house)
        .delete(&format!("/api/leases/{}", by_key["lease_id"]))
        .is(204);
    let stuck = |house: &House| {
        house
            .admin()
            .get("/api/alerts")
            .is(200)
            .to_string()
            .contains("lease.stuck")
    };
    let until = Instant::now() + Duration::from_secs(60);
    while !stuck(&house) {
        assert!(Instant::now() < until, "{}", anna(&house).get(&at).text());
        thread::sleep(Duration::from_millis(500));
    }
    house.kill();
    house.start();
    assert_eq!(anna(&house).get(&at).is(200)["state"], "ending");
    assert!(
        on("h16", &format!("id {account}")).contains(account),
        "it is still there"
    );
    script("fault", &["h16", "heal"]);
    let until = Instant::now() + Duration::from_secs(90);
    for lease in [&given, &by_key] {
        let at = format!("/api/leases/{}", lease["lease_id"]);
        loop {
            let now = anna(&house).get(&at).is(200);
            if now["state"] == "ended" {
                break;
            }
            assert!(Instant::now() < until, "{now}");
            thread::sleep(Duration::from_millis(500));
        }
    }
    let left = on(
        "h16",
        &format!("id {account} 2>&1; ls -d /home/{account} 2>&1; pgrep -f 'sleep 100[0]'; true"),
    );
    assert!(
        left.contains("no such user") && left.contains("No such file") && left.lines().count() == 2,
        "{left}"
    );
    assert!(!lets_in("h16", "ops", None, Some(&pem)));
    assert!(
        on("h16", "cat /home/ops/.ssh/authorized_keys").lines().count() >= 3,
        "the others' keys stay"
    );
}

/// How many hosts: two, or as many as `LAMPLIGHTER_ROTATE_HOSTS` says (tests/long: twenty).
fn many() -> &'static [&'static str] {
    let count = std::env::var("LAMPLIGHTER_ROTATE_HOSTS")
        .ok()
        .and_then(|n| n.parse().ok());
    match count {
        None => HOSTS,
        Some(count) => {
            let all = (1..=count).map(|n: usize| &*Box::leak(format!("h{n}").into_boxed_str()));
            Box::leak(all.collect::<Vec<_>>().into_boxed_slice())
        }
    }
}

/// Five commands by plain ssh, each on a connection of its own, eight hosts at a time.
fn plainly(hosts: &[&'static str], new: &str) -> Duration {
    let folder = Folder::new();
    let file = folder.path().join("key");
    fs::write(&file, key("id_ed25519")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let keys = "/root/.ssh/authorized_keys";
    let commands = [
        format!("test -w {keys}"),
        format!("cp -p {keys} {keys}.n && echo '{new}' >>{keys}.n && sync {keys}.n && mv {keys}.n {keys}"),
        "true".into(),
        format!("grep -vF '{new}' {keys} >{keys}.n && sync {keys}.n && chmod 600 {keys}.n && mv {keys}.n {keys}"),
        "true".into(),
    ];
    let began = Instant::now();
    let left = std::sync::Mutex::new(hosts.to_vec());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let Some(host) = left.lock().unwrap().pop() else { break };
                    for command in &commands {
                        let mut ssh = Command::new("ssh");
                        ssh.args([
                            "-F",
                            "none",
                            "-o",
                            "StrictHostKeyChecking=no",
                            "-o",
                            "UserKnownHostsFile=/dev/null",
                        ])
                        .args(["-o", "ControlPath=none", "-o", "IdentitiesOnly=yes", "-i"])
                        .arg(&file)
                        .args(["-l", "root", &address(host), command]);
                        let out = ssh.output().unwrap();
                        assert!(out.status.success(), "{host}: {command}: {}", said(&out));
                    }
                }
            });
        }
    });
    began.elapsed()
}

#[test]
#[ignore = "lab: h15, h16"]
fn a_rotation_of_keys_beside_plain_ssh() {
    let hosts = many();
    let _hosts = Hosts::fresh(hosts, None);
    let house = House::new();
    let secret = keep(&house, "root key", "private_key", &key("id_ed25519"));
    let other = json!({ "name": "other", "type": "private_key", "generate": "ed25519" });
    let other = house.admin().post("/api/secrets", &other).is(201);
    let plain = plainly(hosts, other["public_key"].as_str().unwrap());
    hosts.map_ids(|host| enter(&house, host, "root", "ssh_key", secret));
    let began = Instant::now();
    let task = ended(&house, begin(&house, secret));
    let took = began.elapsed();
    assert_eq!(task["status"], "ok", "{task}");
    println!(
        "FIGURE rotate-apply on {} hosts: {} ms; five commands by plain ssh, eight at a time: {} ms",
        hosts.len(),
        took.as_millis(),
        plain.as_millis()
    );
}
