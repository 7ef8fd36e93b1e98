//! What people do to servers, on real ones: services, logs, files, updates, restarts, and all of it on several. Needs the
//! lab (`tests/lab`), hosts h16, h17 and h18.

use crate::common;

use common::lab::{Hosts, act, changes, ended, house, log, on};
use common::*;
use serde_json::{Value, json};
use std::time::Instant;

#[track_caller]
fn fails(task: &Value, code: &str) -> String {
    assert_eq!(
        (&task["status"], &task["error"]["code"]),
        (&json!("failed"), &json!(code)),
        "{task}"
    );
    task["error"]["message"].as_str().unwrap().to_string()
}

/// Puts bytes on the first server and waits for the task.
#[track_caller]
fn put(house: &House, query: &str, bytes: &[u8]) -> Value {
    let path = format!("/api/hosts/1/files?{query}");
    let sent = house
        .admin()
        .send("POST", &path, Some(("application/octet-stream", bytes)));
    ended(house, sent.is(202)["task_id"].as_i64().unwrap())
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut dice = common::dice::Dice::new(7);
    (0..bytes).map(|_| dice.roll(256) as u8).collect()
}

fn sum(host: &str, path: &str) -> String {
    on(host, &format!("sha256sum <{path} | cut -d' ' -f1"))
}

#[test]
#[ignore = "lab: h16"]
fn a_service_is_restarted_only_when_it_will_come_up_again() {
    let hosts = Hosts::fresh(&["h16"], Some("web"));
    let house = house(&hosts);
    let restart = |service: &str| {
        let wanted = json!({ "action": "restart_service", "service": service });
        act(&house, "/api/hosts/1/actions", &wanted)
    };
    let pid = || on("h16", "systemctl show -p MainPID --value nginx");
    on("h16", "systemctl start nginx");
    let before = pid();
    assert_eq!(changes(&restart("nginx")), 1);
    let after = pid();
    assert_ne!(before, after);
    // A configuration that it does not take: it runs on.
    on("h16", "echo 'lisen 81;' >/etc/nginx/conf.d/bad.conf");
    fails(&restart("nginx"), "service_config");
    assert_eq!(pid(), after);
    on("h16", "rm /etc/nginx/conf.d/bad.conf");
    fails(&restart("no-such-thing"), "service_unknown");
    on(
        "h16",
        "printf '[Service]\\nExecStart=/bin/sh -c \"echo it was the moon; sleep 1; exit 3\"\\n' >/etc/systemd/system/dies.service
         systemctl daemon-reload",
    );
    let dead = restart("dies");
    fails(&dead, "step_failed");
    assert!(log(&house, &dead).contains("it was the moon"), "{}", log(&house, &dead));
    on(
        "h16",
        "systemctl mask --now dies 2>/dev/null; rm -f /etc/systemd/system/dies.service; systemctl mask dies",
    );
    fails(&restart("dies"), "service_masked");
}

#[test]
#[ignore = "lab: h16"]
fn a_log_comes_whole_or_its_end_and_leads_nowhere_else() {
    let hosts = Hosts::fresh(&["h16"], Some("web"));
    let house = house(&hosts);
    let admin = house.admin();
    let fetch = |more: Value| {
        let mut wanted = json!({ "action": "fetch_logs" });
        for (key, value) in more.as_object().unwrap() {
            wanted[key] = value.clone();
        }
        act(&house, "/api/hosts/1/actions", &wanted)
    };
    let text = |task: &Value| {
        let answer = admin.get(&format!("/api/hosts/1/actions/{}/result", task["id"]));
        assert_eq!(answer.status, 200);
        answer.text()
    };
    let token = house.canary("a-token-of-somebody-0123456789");
    on(
        "h16",
        &format!(
            "echo 'first' >/var/log/app.log; seq 1000 | sed 's/^/line /' >>/var/log/app.log
             echo 'GET / Authorization: Bearer {token}' >>/var/log/app.log; gzip -k /var/log/app.log
             ln -s /etc/shadow /var/log/shadow; logger -t app 'a word for the journal'; systemctl restart nginx"
        ),
    );
    let whole = text(&fetch(json!({ "path": "/var/log/app.log", "lines": 2000 })));
    assert!(
        whole.starts_with("first\nline 1\n") && whole.contains("line 1000"),
        "{whole}"
    );
    assert!(whole.contains("Bearer •••") && !whole.contains(&token), "{whole}");
    let end = text(&fetch(json!({ "path": "/var/log/app.log.gz", "lines": 3 })));
    assert!(end.starts_with("line 999\nline 1000\n"), "{end}");
    let journal = text(&fetch(json!({ "unit": "nginx", "since": "-1h" })));
    assert!(journal.contains("nginx"), "{journal}");
    fails(&fetch(json!({ "path": "/var/log/shadow" })), "path_not_allowed");
    fails(&fetch(json!({ "path": "/var/log/none" })), "log_missing");
    fails(&fetch(json!({ "unit": "no-such-thing" })), "log_missing");
    let outside = json!({ "action": "fetch_logs", "path": "/etc/shadow" });
    assert_eq!(admin.post("/api/hosts/1/actions", &outside).wrong_fields(), ["path"]);
    // What is longer than may be kept has its end only.
    admin.put("/api/settings", &json!({ "actions.log_kib": 16 })).is(200);
    on("h16", "seq 100000 >/var/log/long.log");
    let long = fetch(json!({ "path": "/var/log/long.log", "lines": 50000 }));
    let kept = text(&long);
    assert!(kept.len() <= 16 << 10 && kept.ends_with("100000\n"), "{}", kept.len());
}

#[test]
#[ignore = "lab: h16"]
fn a_file_is_put_in_its_place_whole_or_the_old_one_stays() {
    let hosts = Hosts::fresh(&["h16"], Some("web"));
    let house = house(&hosts);
    let (small, large) = (b"port = 1\n".to_vec(), noise(1_300_000));
    let where_ = "path=/srv/app.bin&mode=0640&owner=www-data:www-data";
    assert_eq!(changes(&put(&house, where_, &small)), 1);
    assert_eq!(
        on("h16", "stat -c '%a %U:%G %s' /srv/app.bin"),
        "640 www-data:www-data 9"
    );
    // A longer one in its place; the old one is kept. Once more nothing is left to do.
    let done = put(&house, where_, &large);
    assert_eq!(changes(&done), 2, "{}", log(&house, &done));
    assert_eq!(on("h16", "cat /var/backups/lamplighter-files/srv/app.bin"), "port = 1");
    let placed = sum("h16", "/srv/app.bin");
    assert_eq!(changes(&put(&house, where_, &large)), 0);
    assert_eq!(sum("h16", "/srv/app.bin"), placed);
    assert_eq!(on("h16", "stat -c %s /srv/app.bin"), "1300000");
    assert_eq!(changes(&put(&house, "path=/srv/empty", b"")), 1);
    // Nothing of it stays here.
    let parts = house.database("lamplighter.db");
    let left: i64 = eventually("the parts are gone", || {
        let n = parts
            .query_row("SELECT count(*) FROM action_file_parts", [], |r| r.get(0))
            .unwrap();
        (n == 0).then_some(n)
    });
    assert_eq!((left, &*on("h16", "ls /var/cache/lamplighter-upload")), (0, ""));

    // Where it cannot be written, and where it has no room, the old one stays.
    on(
        "h16",
        "mkdir /srv/ro /srv/full; mount -t tmpfs -o size=1m,mode=755 none /srv/ro; echo old >/srv/ro/f; mount -o remount,ro /srv/ro
         mount -t tmpfs -o size=1m,mode=755 none /srv/full; echo old >/srv/full/f",
    );
    fails(&put(&house, "path=/srv/ro/f", &small), "write_failed");
    fails(&put(&house, "path=/srv/full/f", &large), "disk_full");
    // By df there is room, by the disk there are no more files.
    on(
        "h16",
        "mkdir /srv/inodes; mount -t tmpfs -o size=1m,nr_inodes=3,mode=755 none /srv/inodes; echo old >/srv/inodes/f; touch /srv/inodes/g",
    );
    fails(&put(&house, "path=/srv/inodes/f", &small), "disk_full");
    assert_eq!(
        on(
            "h16",
            "cat /srv/ro/f /srv/full/f /srv/inodes/f; ls -A /srv/ro /srv/full"
        ),
        "old\nold\nold\n/srv/full:\nf\n\n/srv/ro:\nf"
    );
    // Somebody changes it the moment it is there: it does not read as it was sent, so the old one comes back.
    on(
        "h16",
        "echo old >/srv/race; systemd-run -q --unit race sh -c 'while read -r l </srv/race && [ \"$l\" = old ]; do :; done; echo x >>/srv/race'",
    );
    let lost = put(&house, "path=/srv/race", &small);
    on("h16", "systemctl stop race 2>/dev/null || true");
    fails(&lost, "step_failed");
    assert_eq!(on("h16", "cat /srv/race"), "old", "{}", log(&house, &lost));

    // Not where others could lead root astray, nor out of the allowed folders.
    on(
        "h16",
        "mkdir /srv/theirs; chown plain /srv/theirs; ln -s /etc /srv/etc; ln -s /etc/motd /srv/link",
    );
    fails(&put(&house, "path=/srv/theirs/f", &small), "folder_unsafe");
    fails(&put(&house, "path=/srv/etc/f", &small), "path_not_allowed");
    fails(&put(&house, "path=/srv/link", &small), "not_a_file");
    fails(&put(&house, "path=/srv/none/f", &small), "folder_missing");
    fails(&put(&house, "path=/srv/f&owner=nobody-here", &small), "owner_unknown");
    let admin = house.admin();
    for bad in [
        "path=/etc/passwd",
        "path=/srv/../etc/f",
        "path=/srv/f&mode=4755",
        "path=/srv/f&owner=a;b",
        "",
    ] {
        let sent = admin.send(
            "POST",
            &format!("/api/hosts/1/files?{bad}"),
            Some(("application/octet-stream", b"x")),
        );
        assert_eq!(sent.status, 422, "{bad}: {}", sent.text());
    }
    let long = vec![0; (10 << 20) + 1];
    let sent = admin.send(
        "POST",
        "/api/hosts/1/files?path=/srv/f",
        Some(("application/octet-stream", &long)),
    );
    assert_eq!(sent.status, 413, "{}", sent.text());
}

#[test]
#[ignore = "lab: h16"]
fn updates_are_listed_and_applied_as_the_servers_own_apt_has_them() {
    let hosts = Hosts::fresh(&["h16"], None);
    let house = house(&hosts);
    let admin = house.admin();
    admin.get("/api/hosts/1/updates").fails(404, "updates_unknown");
    on(
        "h16",
        "set -e; cd /srv
         make() { # NAME VERSION FOLDER
           mkdir -p t/DEBIAN $3; printf 'Package: %s\\nVersion: %s\\nArchitecture: all\\nMaintainer: lab\\nDescription: lab\\n' $1 $2 >t/DEBIAN/control
           dpkg-deb -b t $3/$1_$2_all.deb >/dev/null; rm -r t; }
         list() { # FOLDER LABEL SUITE
           cd /srv/$1; : >Packages
           for deb in *.deb; do dpkg-deb -f $deb; echo Filename: ./$deb; echo Size: $(stat -c %s $deb); echo SHA256: $(sha256sum <$deb | cut -d' ' -f1); echo; done >>Packages
           printf 'Origin: Debian\\nLabel: %s\\nSuite: %s\\nCodename: lab\\nVersion: 12\\nSHA256:\\n %s %s Packages\\n' $2 $3 $(sha256sum <Packages | cut -d' ' -f1) $(stat -c %s Packages) >Release
           cd /srv; echo \"deb [trusted=yes] file:/srv/$1 ./\" >/etc/apt/sources.list.d/$1.list; }
         make thing 1.0 old; make other 1.0 old; dpkg -i old/*.deb >/dev/null
         make thing 1.1 sec; make other 2.0 new; list sec Debian-Security stable-security; list new Debian stable
         touch /run/reboot-required; echo linux-base >/run/reboot-required.pkgs",
    );
    let version = |name: &str| on("h16", &format!("dpkg-query -W -f '${{Version}}' {name}"));
    let updates = |more: Value| {
        let mut wanted = json!({ "action": "updates" });
        if !more.is_null() {
            wanted["apply"] = more;
        }
        let task = act(&house, "/api/hosts/1/actions", &wanted);
        let n = changes(&task);
        (n, log(&house, &task), admin.get("/api/hosts/1/updates").is(200))
    };
    let names = |listed: &Value| -> Vec<(String, bool)> {
        let all = listed["updates"].as_array().unwrap().iter();
        all.map(|u| (u["package"].as_str().unwrap().into(), u["security"].as_bool().unwrap()))
            .collect()
    };
    let (n, said, listed) = updates(Value::Null);
    assert_eq!(
        names(&listed),
        [("other".into(), false), ("thing".into(), true)],
        "{said}"
    );
    assert_eq!(
        (n, version("thing"), &listed["reboot"]),
        (0, "1.0".into(), &json!(true)),
        "a list changes nothing"
    );
    assert_eq!(
        (&listed["reboot_for"], &listed["needrestart"]),
        (&json!(["linux-base"]), &Value::Null)
    );
    let (n, _, listed) = updates(json!("security"));
    assert_eq!((n, version("thing"), version("other")), (1, "1.1".into(), "1.0".into()));
    assert_eq!(
        (names(&listed), &listed["applied"]),
        (vec![("other".into(), false)], &json!(1))
    );
    let (n, _, listed) = updates(json!("all"));
    assert_eq!((n, version("other"), names(&listed)), (1, "2.0".into(), vec![]));
    assert_eq!(updates(json!("all")).0, 0);
}

#[test]
#[ignore = "lab: h16 h17 h18"]
fn a_group_follows_its_first_server_and_stops_at_the_first_that_fails() {
    let hosts = Hosts::fresh(&["h16", "h17", "h18"], None);
    let house = house(&hosts);
    let admin = house.admin();
    for host in ["h16", "h17", "h18"] {
        on(
            host,
            "printf '[Service]\\nExecStart=/bin/sleep 1000\\n' >/etc/systemd/system/app.service; systemctl daemon-reload; systemctl start app",
        );
    }
    let pids = || ["h16", "h17", "h18"].map(|host| on(host, "systemctl show -p MainPID --value app"));
    let group = json!({ "kind": "host", "name": "apps", "server_ids": [1, 2, 3] });
    let group = admin.post("/api/groups", &group).is(201)["id"].as_i64().unwrap();
    let restart = json!({ "action": "restart_service", "service": "app", "group_id": group, "width": 1 });
    let before = pids();
    let task = act(&house, "/api/actions", &restart);
    assert_eq!(changes(&task), 3, "{task}");
    let after = pids();
    assert!(before.iter().zip(&after).all(|(a, b)| a != b), "{before:?} {after:?}");
    assert_eq!(task["children"].as_array().unwrap().len(), 3);
    // The second one fails: the third is left as it is.
    on("h17", "rm /etc/systemd/system/app.service; systemctl daemon-reload");
    let task = act(&house, "/api/actions", &restart);
    let said = fails(&task, "stopped_on_red");
    assert!(said.contains("h17") && said.contains("1 of 3"), "{said}");
    let last = pids();
    assert!(last[0] != after[0] && last[2] == after[2], "{last:?} {after:?}");
    // The first one fails: nobody else begins.
    let servers = json!({ "action": "restart_service", "service": "app", "server_ids": [2, 1, 3] });
    let said = fails(&act(&house, "/api/actions", &servers), "stopped_on_red");
    assert!(said.contains("2 of 3"), "{said}");
    assert_eq!(
        (pids()[0].clone(), pids()[2].clone()),
        (last[0].clone(), last[2].clone())
    );
    // A file for all of them, by one content.
    let path = format!("/api/actions/files?path=/srv/one.conf&group_id={group}");
    let sent = admin.send("POST", &path, Some(("application/octet-stream", b"one\n")));
    assert_eq!(changes(&ended(&house, sent.is(202)["task_id"].as_i64().unwrap())), 3);
    for host in ["h16", "h17", "h18"] {
        assert_eq!(on(host, "cat /srv/one.conf"), "one");
    }
}

#[test]
#[ignore = "lab: h16 h17"]
fn machines_are_restarted_one_first_and_are_waited_for_until_their_lamps_are_lit() {
    let hosts = Hosts::fresh(&["h16", "h17"], Some("web"));
    on(
        "h16",
        "printf '[Service]\\nExecStart=/usr/bin/glances -w\\n[Install]\\nWantedBy=multi-user.target\\n' >/etc/systemd/system/g.service
         systemctl daemon-reload; systemctl -q enable --now g",
    );
    let house = house(&hosts);
    let admin = house.admin();
    admin.patch("/api/servers/1", &json!({ "poll_interval_s": 5 })).is(200);
    eventually("its lamp is lit", || {
        (admin.get("/api/servers/1").is(200)["status"] == "ok").then_some(())
    });
    let untyped = json!({ "action": "reboot", "confirm": "h17" });
    assert_eq!(admin.post("/api/hosts/1/actions", &untyped).wrong_fields(), ["confirm"]);
    let boots = || ["h16", "h17"].map(|host| on(host, "cat /proc/sys/kernel/random/boot_id"));
    let (before, since) = (boots(), Instant::now());
    let wanted = json!({ "action": "reboot", "server_ids": [1, 2], "confirm": "reboot 2" });
    let task = admin.post("/api/actions", &wanted).is(202)["task_id"].as_i64().unwrap();
    // Silent while it is away.
    let silence = eventually("a silence", || {
        let active = admin.get("/api/silences?state=active").is(200);
        active["items"].get(0).cloned()
    });
    assert_eq!(silence["server_id"], 1, "{silence}");
    let task = ended(&house, task);
    assert_eq!(changes(&task), 2, "{task}");
    let after = boots();
    assert!(before.iter().zip(&after).all(|(a, b)| a != b), "{before:?} {after:?}");
    let parts: Vec<i64> = task["children"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["id"].as_i64().unwrap())
        .collect();
    let said = log(&house, &json!({ "id": parts[0] }));
    assert!(
        said.contains("Back by ssh after") && said.contains("lamp is lit again"),
        "{said}"
    );
    let other = log(&house, &json!({ "id": parts[1] }));
    assert!(other.contains("nobody waits for it"), "{other}");
    println!(
        "FIGURE two machines restarted, one after the other: {:.0} s",
        since.elapsed().as_secs_f64()
    );
    eventually("the silences are lifted", || {
        (admin.get("/api/silences?state=active").is(200)["total"] == 0).then_some(())
    });
}
