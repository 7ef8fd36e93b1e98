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
