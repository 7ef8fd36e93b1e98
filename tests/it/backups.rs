//! A house is backed up while it works, burns down, and is the same again on another machine.

use crate::common;

use common::*;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs a command on this house's data; fails when it does.
#[track_caller]
fn did(house: &House, args: &[&str]) -> Value {
    let out = run(&[args, &["--json", "--data-dir", house.dir()]].concat());
    assert!(out.status.success(), "{args:?}: {}", said(&out));
    serde_json::from_slice(&out.stdout).unwrap()
}

/// A passphrase in a file of its owner's.
fn passphrase(folder: &Folder, text: &str) -> String {
    let path = folder.file(&format!("passphrase-{}", text.len()), text);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().into()
}

/// Puts the backup onto an empty folder with this key, and gives what was said.
fn restored(into: &Folder, key: &Path, more: &[&str]) -> (Option<i32>, String) {
    fs::copy(key, into.path().join("master.key")).unwrap();
    let dir = into.path().to_str().unwrap();
    let out = run(&[&["restore", "--data-dir", dir], more].concat());
    (out.status.code(), said(&out))
}

#[test]
fn a_house_that_is_backed_up_while_it_works_is_the_same_on_another_machine() {
    let house = House::new();
    let admin = house.admin();
    for name in ["before", "also-before"] {
        admin.post("/api/groups", &json!({ "name": name })).is(201);
    }
    let folder = Folder::new();
    let file = folder.path().join("house.tar");
    let file = file.to_str().unwrap();
    let manifest = did(&house, &["backup", "--out", file]);
    admin.post("/api/groups", &json!({ "name": "after" })).is(201);

    // Any tar opens it, nobody else may read it, and the key is not inside.
    let names = Command::new("tar").args(["-tf", file]).output().unwrap();
    assert_eq!(said(&names), "manifest.json\nlamplighter.db\nmetrics.db\n");
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    assert!(manifest["audit_head"][0].as_i64().unwrap() > 2);

    let again = run(&["backup", "--data-dir", house.dir(), "--out", file]);
    assert!(said(&again).contains("is there already"), "{}", said(&again));
    let checked = run(&["verify-backup", "--file", file]);
    assert!(checked.status.success(), "{}", said(&checked));

    let other = Folder::new();
    let (code, say) = restored(&other, &house.folder.path().join("master.key"), &["--file", file]);
    assert_eq!(code, Some(0), "{say}");
    let dir = other.path().to_str().unwrap();
    let whole = run(&["verify-audit", "--data-dir", dir]);
    assert!(whole.status.success(), "{}", said(&whole));
    let db = rusqlite::Connection::open(other.path().join("lamplighter.db")).unwrap();
    let groups: Vec<String> = db
        .prepare("SELECT name FROM groups ORDER BY name")
        .unwrap()
        .query_map([], |r| r.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(groups, ["also-before", "before"]);
    let (code, say) = restored(&other, &house.folder.path().join("master.key"), &["--file", file]);
    assert!(
        code == Some(1) && say.contains("only restored into an empty folder"),
        "{code:?} {say}"
    );
}

#[test]
fn a_backup_for_a_passphrase_opens_with_it_alone() {
    let house = House::new();
    let folder = Folder::new();
    let right = passphrase(&folder, "a long night at sea");
    let wrong = passphrase(&folder, "a short one");
    let file = folder.path().join("house.age");
    let file = file.to_str().unwrap();
    did(&house, &["backup", "--out", file, "--passphrase-file", &right]);
    assert!(
        !fs::read(file).unwrap().windows(15).any(|w| w == b"SQLite format 3"),
        "not in clear"
    );
    let key = house.folder.path().join("master.key");
    for (more, wanted) in [
        (vec!["--file", file], "This backup is encrypted"),
        (vec!["--file", file, "--passphrase-file", &wrong], "not the passphrase"),
    ] {
        let other = Folder::new();
        let (code, say) = restored(&other, &key, &more);
        assert!(code == Some(1) && say.contains(wanted), "{code:?} {say}");
        assert_eq!(
            fs::read_dir(other.path()).unwrap().count(),
            1,
            "only the key: nothing is half restored"
        );
    }
    let other = Folder::new();
    let (code, say) = restored(&other, &key, &["--file", file, "--passphrase-file", &right]);
    assert_eq!(code, Some(0), "{say}");
}

#[test]
fn a_backup_for_a_public_key_is_opened_by_age() {
    let house = House::new();
    let folder = Folder::new();
    let identity = folder.path().join("identity");
    let made = Command::new("age-keygen")
        .arg("-o")
        .arg(&identity)
        .output()
        .expect("age: tests/run installs it");
    let told = said(&made);
    let public = told.trim().strip_prefix("Public key: ").unwrap();
    let file = folder.path().join("house.age");
    did(
        &house,
        &[
            "backup",
            "--out",
            file.to_str().unwrap(),
            "--recipient",
            public,
            "--with-key",
        ],
    );

    let mut age = Command::new("age");
    age.args(["--decrypt", "--identity"])
        .args([&identity, &file])
        .stdout(Stdio::piped());
    let opened = age.spawn().unwrap().wait_with_output().unwrap();
    assert!(opened.status.success());
    let plain = folder.file("house.tar", &opened.stdout);
    // The key was asked for and is inside: an empty folder is enough.
    let other = Folder::new();
    let dir = other.path().to_str().unwrap();
    let out = run(&["restore", "--data-dir", dir, "--file", plain.to_str().unwrap()]);
    assert!(out.status.success(), "{}", said(&out));
    assert_eq!(
        fs::read(other.path().join("master.key")).unwrap(),
        fs::read(house.folder.path().join("master.key")).unwrap()
    );
}

#[test]
fn a_damaged_backup_or_one_of_another_key_is_refused_and_nothing_is_left() {
    let house = House::new();
    let folder = Folder::new();
    let path = folder.path().join("house.tar");
    did(&house, &["backup", "--out", path.to_str().unwrap()]);
    let good = fs::read(&path).unwrap();
    let key = house.folder.path().join("master.key");
    let other_key = Folder::new();
    let made = other_key.path().join("k");
    assert!(
        run(&["encrypt-keygen", "--out", made.to_str().unwrap()])
            .status
            .success()
    );

    let refused = |bytes: &[u8], key: &Path, wanted: &str| {
        let file = folder.file("damaged.tar", bytes);
        let other = Folder::new();
        let (code, say) = restored(&other, key, &["--file", file.to_str().unwrap()]);
        assert!(code.is_some_and(|c| c != 0) && say.contains(wanted), "{code:?} {say}");
        assert_eq!(fs::read_dir(other.path()).unwrap().count(), 1, "only the key: {say}");
    };
    refused(&good, &made, "does not belong to this database");
    let mut dice = dice::Dice::new(13);
    for _ in 0..8 {
        let mut changed = good.clone();
        // In a file's content or head: what fills up a block says nothing.
        let at = 512 * 3 + dice.roll(good.len() - 512 * 6);
        changed[at] ^= 1 << dice.roll(8);
        if changed != good {
            refused(&changed, &key, "This is no whole backup");
        }
        refused(&good[..dice.roll(good.len() - 1024)], &key, "This is no whole backup");
    }
    refused(b"", &key, "This is no whole backup");
    refused(&good[512..], &key, "This is no whole backup");
}

#[test]
fn backups_are_made_on_demand_listed_rehearsed_and_the_oldest_removed() {
    let house = House::new();
    let admin = house.admin();
    let folder = house.folder.path().join("copies");
    let set = json!({ "backups.folder": folder, "backups.keep": 2, "backups.at": "never", "backups.rehearse_days": 0 });
    admin.put("/api/settings", &set).is(200);
    let make = || {
        let task = admin.post("/api/backups", &json!({})).is(202)["task_id"]
            .as_i64()
            .unwrap();
        house.wait_for(task)
    };
    for _ in 0..3 {
        let done = make();
        assert_eq!(done["status"], "ok", "{done}");
    }
    let all = admin.get("/api/backups").is(200);
    let items = all["items"].as_array().unwrap();
    assert_eq!(items.len(), 2, "{all}");
    assert_eq!(
        fs::read_dir(&folder).unwrap().count(),
        2,
        "the file of the oldest is gone, and nothing else is left"
    );
    let newest = &items[0];
    assert_eq!(
        (&newest["encryption"], &newest["error"], &newest["rehearsed_at"]),
        (&json!("none"), &Value::Null, &Value::Null)
    );
    let path = newest["path"].as_str().unwrap().to_string();
    assert_eq!(newest["size"].as_u64().unwrap(), fs::metadata(&path).unwrap().len());

    let rehearse = format!("/api/backups/{}/rehearse", newest["id"]);
    let task = admin.post(&rehearse, &json!({})).is(202)["task_id"].as_i64().unwrap();
    assert_eq!(house.wait_for(task)["status"], "ok");
    assert!(admin.get("/api/backups").is(200)["items"][0]["rehearsed_at"].is_string());

    // A file that has rotted is found, and told of until one is read again.
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let task = admin.post(&rehearse, &json!({})).is(202)["task_id"].as_i64().unwrap();
    assert_eq!(house.wait_for(task)["status"], "failed");
    let open = |kind: &str| admin.get("/api/alerts").is(200).to_string().contains(kind);
    eventually("an alert of it", || open("backup.unreadable").then_some(()));
    make();
    let page = {
        let mut browser = house.browser();
        browser.sign_in(ADMIN, &house.password);
        browser.get("/backups")
    };
    assert!(page.status == 200 && page.body.contains(&path), "{}", page.body);
}

#[test]
fn a_backup_that_fails_raises_an_alert_and_the_next_one_ends_it() {
    let house = House::new();
    let admin = house.admin();
    let folder = Folder::new();
    let blocked = folder.file("no-folder", "");
    admin
        .put(
            "/api/settings",
            &json!({ "backups.folder": blocked, "backups.at": "never" }),
        )
        .is(200);
    let make = || {
        let task = admin.post("/api/backups", &json!({})).is(202)["task_id"]
            .as_i64()
            .unwrap();
        house.wait_for(task)
    };
    assert_eq!(make()["status"], "failed");
    let open = || {
        let alerts = admin.get("/api/alerts?state=firing").is(200);
        alerts["items"].to_string().contains("backup.failed")
    };
    eventually("an alert", || open().then_some(()));
    assert!(admin.get("/api/backups").is(200)["items"][0]["error"].is_string());
    let recipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    let good = json!({ "backups.folder": folder.path().join("good"), "backups.recipient": recipient });
    admin.put("/api/settings", &good).is(200);
    assert_eq!(make()["status"], "ok");
    eventually("it is over", || (!open()).then_some(()));
    let newest = admin.get("/api/backups").is(200)["items"][0].clone();
    assert_eq!(newest["encryption"], "recipient");
    // Whose private key is not here is not read here.
    admin
        .post(&format!("/api/backups/{}/rehearse", newest["id"]), &json!({}))
        .fails(409, "backup_for_a_key");
}

#[test]
fn backups_by_the_schedule_may_be_for_a_passphrase_and_are_read_again_with_it() {
    let house = House::new();
    let admin = house.admin();
    let elsewhere = Folder::new();
    let secret = house.canary("the passphrase of the schedule");
    let file = passphrase(&elsewhere, &secret);
    admin
        .put(
            "/api/settings",
            &json!({ "backups.at": "never", "backups.passphrase_file": file }),
        )
        .is(200);
    let ends = |path: &str| {
        let task = admin.post(path, &json!({})).is(202)["task_id"].as_i64().unwrap();
        house.wait_for(task)["status"].clone()
    };
    let newest = || admin.get("/api/backups").is(200)["items"][0].clone();
    assert_eq!(ends("/api/backups"), "ok");
    let made = newest();
    assert_eq!(made["encryption"], "passphrase");
    assert_eq!(ends(&format!("/api/backups/{}/rehearse", made["id"])), "ok");
    let checked = run(&[
        "verify-backup",
        "--file",
        made["path"].as_str().unwrap(),
        "--passphrase-file",
        &file,
    ]);
    assert!(checked.status.success(), "{}", said(&checked));
    // A file that others may read, or that is gone, makes none: nothing is written in clear instead.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(ends("/api/backups"), "failed");
    assert!(
        newest()["error"].as_str().unwrap().contains("can be read by others"),
        "{}",
        newest()
    );
    fs::remove_file(&file).unwrap();
    assert_eq!(ends("/api/backups"), "failed");
    let folder = house.folder.path().join("backups");
    assert_eq!(fs::read_dir(folder).unwrap().count(), 1, "the first one alone");
}

#[test]
fn a_due_backup_is_made_by_itself_and_an_old_one_is_told_of() {
    let mut house = House::new();
    house
        .admin()
        .put(
            "/api/settings",
            &json!({ "backups.at": "* * * * *", "backups.age_max_hours": 1 }),
        )
        .is(200);
    house.stop();
    // The last one was begun long ago.
    let insert = "INSERT INTO backups (began_at, ended_at, path, encryption) VALUES (1, 2, '/nowhere/x', 'none')";
    house.database("lamplighter.db").execute(insert, []).unwrap();
    house.start();
    let admin = house.admin();
    let made = eventually("a backup by itself", || {
        let all = admin.get("/api/backups").is(200);
        all["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|b| b["size"].as_u64() > Some(0))
            .cloned()
    });
    assert!(made["path"].as_str().unwrap().starts_with(house.dir()));
    let events = house.database("lamplighter.db");
    let count = |kind: &str| -> i64 {
        let sql = "SELECT count(*) FROM events WHERE kind = ?1";
        events.query_row(sql, [kind], |r| r.get(0)).unwrap()
    };
    assert_eq!((count("backup.old"), count("backup.made")), (1, 1));
}
