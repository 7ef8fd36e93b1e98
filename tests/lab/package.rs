//! The Debian package on a fresh server: installed, used, backed up, purged, installed again, restored; the unit's sandbox as
//! shipped; its life on other systems. Needs the lab (`tests/lab`), hosts h9, h10, d13 and u24, and debhelper.

use crate::common;

use common::lab::{Hosts, address, key, on};
use common::*;
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The package of the program that these tests were built with.
pub fn package(folder: &Folder) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let built = Command::new(here.join("packaging/build-deb"))
        .args(["--binary", env!("CARGO_BIN_EXE_lamplighter")])
        .arg(folder.path())
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", said(&built));
    let files = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    files
        .into_iter()
        .find(|path| path.extension().is_some_and(|end| end == "deb"))
        .unwrap()
}

/// Puts bytes into a file of the host.
pub fn put(host: &str, path: &str, bytes: &[u8]) {
    let on = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/on");
    let mut child = Command::new(on)
        .args(["--direct", host, "sh", "-c", &format!("cat >{path}")])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    assert!(child.wait().unwrap().success());
}

/// A request to the daemon on the host, with this token.
pub fn ask(host: &str, method: &str, path: &str, token: &str, body: &Value) -> Value {
    put(host, "/root/body", body.to_string().as_bytes());
    let told = on(
        host,
        &format!(
            "curl -s -X {method} -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' \
             {} http://127.0.0.1:8080{path}",
            if method == "GET" { "" } else { "--data @/root/body" }
        ),
    );
    serde_json::from_str(&told).unwrap_or_else(|e| panic!("{method} {path}: {e}: {told}"))
}

pub fn sign_in(host: &str) -> String {
    let answer = ask(
        host,
        "POST",
        "/api/auth/login",
        "",
        &json!({ "login": "anna", "password": "a long night at sea" }),
    );
    answer["access_token"]
        .as_str()
        .unwrap_or_else(|| panic!("{answer}"))
        .into()
}

pub fn is_up(host: &str) {
    eventually("the daemon answers", || {
        on(host, "curl -s http://127.0.0.1:8080/health || true")
            .contains("\"status\":\"healthy\"")
            .then_some(())
    });
}

/// Waits for the task of an answer.
pub fn done(host: &str, token: &str, started: &Value) -> Value {
    let path = format!("/api/tasks/{}", started["task_id"]);
    eventually("the task ends", || {
        let task = ask(host, "GET", &path, token, &Value::Null);
        (!["queued", "running"].contains(&task["status"].as_str()?)).then_some(task)
    })
}

#[test]
#[ignore = "lab: h9 h10"]
fn a_house_from_the_package_is_the_same_after_a_purge_and_a_restore() {
    let hosts = Hosts::fresh(&["h9", "h10"], None);
    let host = hosts.0[0];
    let folder = Folder::new();
    put(host, "/root/lamplighter.deb", &fs::read(package(&folder)).unwrap());
    let install =
        "DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends --reinstall /root/lamplighter.deb";
    let told = on(host, install);
    assert!(told.contains("create-admin --login"), "{told}");
    is_up(host);
    assert_eq!(on(host, "systemctl is-enabled lamplighter"), "enabled");
    // What the sandbox is worth, by systemd's own count.
    let shown = on(
        host,
        "systemd-analyze security --no-pager lamplighter.service | tail -n1",
    );
    let score = shown
        .split(": ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next()?.parse::<f64>().ok());
    assert!(score.is_some_and(|score| score <= 1.2), "{shown}");
    assert_eq!(
        on(
            host,
            "stat -c '%a %U:%G' /etc/lamplighter /etc/lamplighter/master.key /var/lib/lamplighter"
        ),
        "750 root:lamplighter\n640 root:lamplighter\n700 lamplighter:lamplighter"
    );

    // As root, on the daemon's data: what it leaves belongs to the daemon.
    on(
        host,
        "printf 'a long night at sea' | lamplighter create-admin --login anna --password-file -",
    );
    let strangers = "find /var/lib/lamplighter ! -user lamplighter";
    assert_eq!(on(host, strangers), "");
    let token = sign_in(host);
    let other = hosts.0[1];
    let host_key = on(other, "cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub");
    let wanted = json!({ "name": "web", "host": address(other), "username": "root", "ssh_key": key("id_ed25519"), "host_key": host_key });
    let server = ask(host, "POST", "/api/servers", &token, &wanted)["id"].clone();
    let checked = ask(
        host,
        "POST",
        &format!("/api/servers/{server}/check-ssh"),
        &token,
        &json!({}),
    );
    assert_eq!(done(host, &token, &checked)["status"], "ok", "ssh works in the sandbox");
    let proxy = ask(
        host,
        "POST",
        &format!("/api/servers/{server}/deploy-proxy"),
        &token,
        &json!({}),
    );
    assert_eq!(done(host, &token, &proxy)["status"], "ok");

    let made = ask(host, "POST", "/api/backups", &token, &json!({}));
    assert_eq!(done(host, &token, &made)["status"], "ok");
    let all = ask(host, "GET", "/api/backups", &token, &Value::Null);
    let file = all["items"][0]["path"].as_str().unwrap().to_string();
    assert!(file.starts_with("/var/backups/lamplighter/"), "{file}");
    on(host, "lamplighter key rotate && systemctl restart lamplighter");
    is_up(host);
    assert_eq!(on(host, strangers), "");
    assert_eq!(
        on(host, "stat -c '%a %U:%G' /etc/lamplighter/master.key"),
        "640 root:lamplighter"
    );
    let before = ask(host, "GET", "/api/servers", &sign_in(host), &Value::Null);

    // The key of the backup is the one from before the rotation; of a later backup the present one.
    let token = sign_in(host);
    let made = ask(host, "POST", "/api/backups", &token, &json!({}));
    assert_eq!(done(host, &token, &made)["status"], "ok");
    let file = ask(host, "GET", "/api/backups", &token, &Value::Null)["items"][0]["path"]
        .as_str()
        .unwrap()
        .to_string();
    on(host, "cp -p /etc/lamplighter/master.key /root/");

    // The same again, the removal, the purge: nothing of the house is left but the backups.
    on(host, install);
    is_up(host);
    on(
        host,
        "apt-get remove -y lamplighter && test -e /var/lib/lamplighter/lamplighter.db && apt-get purge -y lamplighter",
    );
    assert_eq!(
        on(
            host,
            "ls -d /var/lib/lamplighter /etc/lamplighter /run/lamplighter 2>/dev/null || true"
        ),
        ""
    );
    assert_eq!(on(host, &format!("ls {file}")), file);

    on(host, install);
    on(
        host,
        "systemctl stop lamplighter && rm -rf /var/lib/lamplighter/* && cat /root/master.key >/etc/lamplighter/master.key",
    );
    on(host, &format!("lamplighter restore --file {file}"));
    assert_eq!(on(host, strangers), "");
    on(host, "systemctl start lamplighter");
    is_up(host);
    let token = sign_in(host);
    assert_eq!(
        ask(host, "GET", "/api/servers", &token, &Value::Null)["items"][0]["name"],
        before["items"][0]["name"]
    );
    let checked = ask(
        host,
        "POST",
        &format!("/api/servers/{server}/check-ssh"),
        &token,
        &json!({}),
    );
    assert_eq!(done(host, &token, &checked)["status"], "ok", "its secrets open");
}

#[test]
#[ignore = "lab: h9"]
fn a_daemon_that_hangs_is_started_again_by_the_watchdog() {
    let hosts = Hosts::fresh(&["h9"], None);
    let host = hosts.0[0];
    let folder = Folder::new();
    put(host, "/root/lamplighter.deb", &fs::read(package(&folder)).unwrap());
    on(
        host,
        "DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends /root/lamplighter.deb",
    );
    on(host, "mkdir -p /etc/systemd/system/lamplighter.service.d");
    put(
        host,
        "/etc/systemd/system/lamplighter.service.d/soon.conf",
        b"[Service]\nWatchdogSec=6s\n",
    );
    on(host, "systemctl daemon-reload && systemctl restart lamplighter");
    is_up(host);
    let pid = || on(host, "systemctl show -p MainPID --value lamplighter");
    let before = pid();
    on(host, &format!("kill -STOP {before}"));
    eventually("another process", || {
        let now = pid();
        (now != before && now != "0").then_some(())
    });
    is_up(host);
}

/// The same package with a higher version.
fn newer(folder: &Folder, deb: &Path) -> PathBuf {
    let (tree, next) = (folder.path().join("tree"), folder.path().join("newer.deb"));
    let script = "dpkg-deb --raw-extract \"$1\" \"$2\" && sed -i 's/^Version: .*/&+next/' \"$2/DEBIAN/control\" \
                  && dpkg-deb -Zgzip --root-owner-group --build \"$2\" \"$3\"";
    let made = Command::new("sh")
        .args(["-c", script, "sh"])
        .args([deb, &tree, &next])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", said(&made));
    next
}

/// Installed, upgraded, removed, installed again, purged, installed anew.
fn lives_and_dies(hosts: &Hosts) {
    let host = hosts.0[0];
    let folder = Folder::new();
    let deb = package(&folder);
    put(host, "/root/lamplighter.deb", &fs::read(&deb).unwrap());
    put(host, "/root/newer.deb", &fs::read(newer(&folder, &deb)).unwrap());
    let install = |file: &str| {
        on(
            host,
            &format!("DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends /root/{file}.deb 2>&1"),
        )
    };
    let shown = |property: &str| on(host, &format!("systemctl show -p {property} --value lamplighter"));
    let key = || on(host, "sha256sum /etc/lamplighter/master.key");
    let groups = |token: &str| ask(host, "GET", "/api/groups", token, &Value::Null)["total"].clone();
    println!(
        "{}",
        on(
            host,
            "sed -n s/^PRETTY_NAME=//p /etc/os-release; ldd --version | head -n1"
        )
    );

    assert!(install("lamplighter").contains("create-admin --login"));
    is_up(host);
    on(
        host,
        "printf 'a long night at sea' | lamplighter create-admin --login anna --password-file -",
    );
    ask(host, "POST", "/api/groups", &sign_in(host), &json!({ "name": "shops" }));
    let doctor = on(host, "lamplighter doctor; true");
    assert!(!doctor.contains("FAILURE"), "{doctor}");
    let (made, pid) = (key(), shown("MainPID"));

    let told = install("newer");
    assert!(!told.contains("create-admin --login"), "{told}");
    is_up(host);
    assert!(on(host, "dpkg-query -W lamplighter").ends_with("+next"));
    assert_ne!(shown("MainPID"), pid, "the new program runs");
    assert_eq!((key(), groups(&sign_in(host))), (made.clone(), json!(1)));

    on(host, "apt-get remove -y lamplighter 2>&1");
    assert_eq!(
        on(
            host,
            "ls /usr/bin/lamplighter 2>/dev/null; pgrep -x lamplighter; systemctl is-failed lamplighter | grep -x failed; true"
        ),
        ""
    );
    assert_eq!(key(), made);
    install("newer");
    is_up(host);
    assert_eq!(groups(&sign_in(host)), json!(1));

    on(host, "apt-get purge -y lamplighter 2>&1");
    let left = "ls -d /var/lib/lamplighter /etc/lamplighter /run/lamplighter* /usr/bin/lamplighter /usr/share/doc/lamplighter \
                /usr/lib/systemd/system/lamplighter* /etc/systemd/system/*/lamplighter* 2>/dev/null; true";
    assert_eq!(on(host, left), "");
    assert!(install("lamplighter").contains("create-admin --login"));
    is_up(host);
    assert_ne!(key(), made, "a house of its own");
}

#[test]
#[ignore = "lab: h9"]
fn the_package_lives_and_dies_on_debian_12() {
    lives_and_dies(&Hosts::fresh(&["h9"], None));
}

#[test]
#[ignore = "lab: d13"]
fn the_package_lives_and_dies_on_debian_13() {
    let Some(hosts) = Hosts::fetched(&["d13"]) else { return };
    lives_and_dies(&hosts);
}

#[test]
#[ignore = "lab: u24"]
fn the_package_lives_and_dies_on_ubuntu() {
    let Some(hosts) = Hosts::fetched(&["u24"]) else { return };
    lives_and_dies(&hosts);
}
