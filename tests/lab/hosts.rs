//! Hosts on real servers: their facts and what has changed, looks of each kind, a group that fills itself, an inventory that
//! ssh and Ansible understand. Needs the lab (`tests/lab`), hosts h1 and h2.

use crate::common;

use common::lab::{Hosts, act, add, address, on};
use common::*;
use serde_json::{Value, json};
use std::process::Command;

fn check(house: &House, server: i64) -> Value {
    act(house, &format!("/api/servers/{server}/check-ssh"), &json!({}))
}

fn host(house: &House, server: i64) -> Value {
    house.admin().get(&format!("/api/hosts/{server}")).is(200)
}

#[test]
#[ignore = "lab: needs h1 and h2"]
fn facts_of_real_hosts_are_kept_compared_and_grouped_by() {
    let hosts = Hosts::fresh(&["h1", "h2"], None);
    let house = House::new();
    let admin = house.admin();
    let (web, db) = (add(&admin, "h1", "web-1"), add(&admin, "h2", "db-1"));
    for (server, tag) in [(web, "web"), (db, "db")] {
        admin
            .patch(&format!("/api/servers/{server}"), &json!({ "tags": [tag] }))
            .is(200);
        assert_eq!(check(&house, server)["status"], "ok");
    }
    let facts = host(&house, web)["facts_snapshot"].clone();
    let word = |name: &str| {
        facts[name]
            .as_str()
            .unwrap_or_else(|| panic!("no {name}: {facts}"))
            .to_string()
    };
    assert_eq!(word("kernel"), on("h1", "uname -r"));
    assert_eq!(word("boot_id"), on("h1", "cat /proc/sys/kernel/random/boot_id"));
    assert_eq!(word("virtualization"), on("h1", "systemd-detect-virt || true"));
    assert!(word("addresses").contains(&address("h1")), "{facts}");
    assert_eq!(word("reboot_needed"), "no");

    // What waits is counted as apt counts it, and nothing was locked or written for it.
    let waits = on(
        "h1",
        "LC_ALL=C apt-get -s --with-new-pkgs upgrade | grep -c ^Inst || true",
    );
    if facts["updates"].is_string() {
        assert_eq!(word("updates"), waits);
    }

    // Something changes there: the difference is told, and only that.
    on("h1", "touch /run/reboot-required; ip addr add 10.99.0.7/32 dev lo");
    assert_eq!(check(&house, web)["status"], "ok");
    let at = format!("/api/hosts/{web}/facts");
    let newest = eventually("the difference is kept", || {
        let all = admin.get(&at).is(200);
        (all["total"] == 2).then(|| all["items"][0].clone())
    });
    let changed: Vec<_> = newest["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["fact"].as_str().unwrap())
        .collect();
    assert_eq!(changed, ["addresses", "reboot_needed"], "{newest}");

    // A group by a fact has it, and loses it when the fact goes.
    let rule = json!({ "field": "facts.reboot_needed", "op": "eq", "value": "yes" });
    let group = admin
        .post("/api/groups", &json!({ "name": "to reboot", "rule": rule }))
        .is(201);
    let members = || admin.get(&format!("/api/groups/{}", group["id"])).is(200)["server_ids"].clone();
    assert_eq!(members(), json!([web]));
    on("h1", "rm /run/reboot-required; ip addr del 10.99.0.7/32 dev lo");
    assert_eq!(check(&house, web)["status"], "ok");
    eventually("it goes out", || (members() == json!([])).then_some(()));
    drop(hosts);
}

#[test]
#[ignore = "lab: needs h1 and h2"]
fn a_group_of_web_servers_with_full_disks_fills_itself() {
    let hosts = Hosts::fresh(&["h1", "h2"], None);
    let house = House::new();
    let admin = house.admin();
    let mut ids = Vec::new();
    for name in ["h1", "h2"] {
        // What Glances would say, from the disk that is really there.
        on(
            name,
            r#"cat >/root/glances.py <<'PY'
import json, os
from http.server import BaseHTTPRequestHandler, HTTPServer
class H(BaseHTTPRequestHandler):
    def do_GET(self):
        s = os.statvfs('/')
        size, free = s.f_blocks * s.f_frsize, s.f_bavail * s.f_frsize
        used = size - s.f_bfree * s.f_frsize
        try: percent = float(open('/root/percent').read())
        except OSError: percent = 100 * used / (used + free)
        body = json.dumps({'cpu': {'total': 3.0}, 'mem': {'percent': 20.0, 'total': 1000, 'used': 200},
            'load': {'min1': 0.1, 'min5': 0.1, 'min15': 0.1, 'cpucore': 2}, 'system': {'hostname': 'x'},
            'fs': [{'mnt_point': '/', 'device_name': '/dev/x', 'fs_type': 'ext4', 'size': size, 'used': used, 'free': free, 'percent': percent}]}).encode()
        self.send_response(200); self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(body))); self.end_headers(); self.wfile.write(body)
    def log_message(self, *a): pass
HTTPServer(('', 61208), H).serve_forever()
PY
echo 20 >/root/percent
systemd-run -q --unit fake-glances python3 /root/glances.py"#,
        );
        let id = add(&admin, name, name);
        let change = json!({ "tags": ["web"], "poll_interval_s": 5 });
        admin.patch(&format!("/api/servers/{id}"), &change).is(200);
        ids.push(id);
    }
    let is = |field: &str, op: &str, value: Value| json!({ "field": field, "op": op, "value": value });
    let rule = json!({ "all": [is("tags", "contains", json!("web")), is("disk", "gt", json!(80))] });
    let group = admin
        .post("/api/groups", &json!({ "name": "web and full", "rule": rule }))
        .is(201);
    let at = format!("/api/groups/{}", group["id"]);
    let disk = |id: i64| admin.get(&format!("/api/servers/{id}")).is(200)["last_sample"]["disk_max_percent"].as_f64();
    eventually("both are polled", || {
        ids.iter().all(|id| disk(*id) == Some(20.0)).then_some(())
    });
    assert_eq!(admin.get(&at).is(200)["server_ids"], json!([]));
    on("h2", "echo 93 >/root/percent");
    eventually("the poll sees it", || (disk(ids[1]) == Some(93.0)).then_some(()));
    let found = admin.post("/api/groups/preview", &json!({ "rule": rule })).is(200);
    assert_eq!(found["items"][0]["id"], ids[1]);
    // By itself: any change of a server looks at it, and otherwise the clock.
    admin
        .patch(
            &format!("/api/servers/{}", ids[1]),
            &json!({ "description": "looked at" }),
        )
        .is(200);
    eventually("it fills itself", || {
        (admin.get(&at).is(200)["server_ids"] == json!([ids[1]])).then_some(())
    });
    on("h2", "echo 30 >/root/percent");
    eventually("the poll sees it", || (disk(ids[1]) == Some(30.0)).then_some(()));
    let told = admin.post(&format!("{at}/recalculate"), &json!({})).is(200);
    assert_eq!(told["removed"], json!([ids[1]]));
    drop(hosts);
}

#[test]
#[ignore = "lab: needs h1 and h2"]
fn ssh_takes_the_exported_inventory_and_only_the_accepted_key() {
    let hosts = Hosts::fresh(&["h1", "h2"], None);
    let house = House::new();
    let admin = house.admin();
    let web = add(&admin, "h1", "web-1");
    for method in ["ping", "tcp", "ssh"] {
        admin
            .patch(&format!("/api/hosts/{web}"), &json!({ "check_method": method }))
            .is(200);
        let looked = admin
            .post(&format!("/api/hosts/{web}/status-check"), &json!({}))
            .is(200);
        let is_up = looked["status"] == "up" || method == "ping" && looked["status"] == "unknown";
        assert!(is_up && looked["method"] == method, "{looked}");
    }
    let of = |flag: &str| {
        let out = run(&["inventory", "--data-dir", house.dir(), flag]);
        assert!(out.status.success(), "{}", said(&out));
        out.stdout
    };
    let known = house.folder.file("known", of("--known-hosts"));
    let out = run(&[
        "inventory",
        "--data-dir",
        house.dir(),
        "--ssh-config",
        "--known-hosts-file",
        known.to_str().unwrap(),
    ]);
    let config = house.folder.file("config", out.stdout);
    let key = house.folder.file("id", common::lab::key("id_ed25519"));
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&key, mode).unwrap();
    let ssh = || {
        let mut ssh = Command::new("ssh");
        ssh.arg("-F")
            .arg(&config)
            .arg("-i")
            .arg(&key)
            .args(["-o", "BatchMode=yes", "web-1", "uname -n"]);
        ssh.output().unwrap()
    };
    let told = ssh();
    assert!(told.status.success(), "{}", said(&told));
    assert_eq!(String::from_utf8_lossy(&told.stdout).trim(), on("h1", "uname -n"));
    common::lab::script("fault", &["h1", "rekey"]);
    let refused = ssh();
    assert!(
        !refused.status.success() && said(&refused).contains("HOST IDENTIFICATION HAS CHANGED"),
        "{}",
        said(&refused)
    );
    common::lab::script("fault", &["h1", "heal"]);
    // Ansible asks a script; where it is installed, it is Ansible that is asked.
    let program = format!(
        "#!/bin/sh\nexec env -i {} inventory --data-dir {} \"$@\"\n",
        env!("CARGO_BIN_EXE_lamplighter"),
        house.dir()
    );
    let script = house.folder.file("fleet", program);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&script, mode).unwrap();
    let ansible = Command::new("ansible-inventory")
        .arg("-i")
        .arg(&script)
        .arg("--list")
        .env("ANSIBLE_HOME", house.folder.path().join("ansible"))
        .output();
    let out = ansible.unwrap_or_else(|_| {
        eprintln!("NOT RUN: Ansible is not installed, the script alone is asked");
        Command::new(&script).arg("--list").output().unwrap()
    });
    assert!(out.status.success(), "{}", said(&out));
    let list: Value = serde_json::from_slice(&out.stdout).unwrap();
    let vars = &list["_meta"]["hostvars"]["web-1"];
    assert_eq!(
        (&vars["ansible_host"], &vars["ansible_user"]),
        (&json!(address("h1")), &json!("root")),
        "{}",
        said(&out)
    );
    drop(hosts);
}
