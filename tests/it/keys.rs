//! Keys are replaced and no secret is lost, wherever the power goes; the master key is taken from where it may lie.

use crate::common;

use common::*;
use dice::rounds;
use lamplighter::base::secret::Secret;
use lamplighter::daemon;
use lamplighter::db::schema;
use lamplighter::vault::{self, Sealed, Vault};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

/// A value of a column: table, column, row.
type Place = (&'static str, &'static str, i64);

fn columns() -> Vec<&'static Sealed> {
    daemon::registry(daemon::FEATURES).all::<Sealed>().to_vec()
}

fn opened(folder: &Path) -> (lamplighter::db::Db, Vault) {
    let db = schema::STATE_DB.open(folder).unwrap();
    let master = vault::read_master_key(&folder.join("master.key")).unwrap();
    let vault = Vault::open(&db, &master).unwrap();
    (db, vault)
}

/// All secrets of a data folder, opened.
fn secrets(folder: &Path) -> BTreeMap<Place, Vec<u8>> {
    let (db, vault) = opened(folder);
    let mut all = BTreeMap::new();
    for of in columns() {
        let sql = format!(
            "SELECT {}, {} FROM {} WHERE {} IS NOT NULL",
            of.row, of.column, of.table, of.column
        );
        let rows: Vec<(i64, Vec<u8>)> = db
            .read(|conn| {
                let mut statement = conn.prepare(&sql).unwrap();
                let rows = statement.query_map([], |r| Ok((r.get(0)?, r.get(1)?))).unwrap();
                Ok(rows.map(|row| row.unwrap()).collect())
            })
            .unwrap();
        for (row, sealed) in rows {
            let secret = vault.open_sealed(of.at(row), &sealed).unwrap();
            all.insert((of.table, of.column, row), secret.reveal_for("a test").to_vec());
        }
    }
    all
}

/// A stopped house with something in every column that holds secrets.
fn full_house() -> House {
    let mut house = House::new();
    let admin = house.admin();
    for n in 0..3 {
        let mut wanted = server(&format!("web-{n}"), 22);
        let more = json!({ "glances_auth_type": "basic", "glances_username": "u", "glances_password": "for glances" });
        for (key, value) in more.as_object().unwrap() {
            wanted[key] = value.clone();
        }
        admin.post("/api/servers", &wanted).is(201);
    }
    let hook = json!({ "type": "webhook", "name": "hook", "url": "https://192.0.2.1/", "secret": "sixteen letters!" });
    admin.post("/api/notifications", &hook).is(201);
    let secret = json!({ "name": "replica", "type": "password", "value": "known to two" });
    admin.post("/api/secrets", &secret).is(201);
    let plugin = json!({ "name": "cmdb", "definition": "json-url", "config": { "url": "https://192.0.2.1/" }, "token": "for hosts" });
    admin.post("/api/plugins", &plugin).is(201);
    let job = json!({ "name": "backup", "kind": "heartbeat", "period_s": 86_400 });
    admin.post("/api/services", &job).is(201);
    let cache =
        json!({ "name": "cache", "kind": "redis", "host": "192.0.2.1", "password": "for the cache", "enabled": false });
    admin.post("/api/services", &cache).is(201);
    house.stop();
    let folder = house.folder.path();
    let (db, vault) = opened(folder);
    let have: Vec<_> = secrets(folder)
        .into_keys()
        .map(|(table, column, _)| (table, column))
        .collect();
    // What no story above has filled: a value at its place is all that counts here.
    for of in columns() {
        if have.contains(&(of.table, of.column)) {
            continue;
        }
        let sealed = vault
            .seal(of.at(1), &Secret::new(format!("{} {}", of.table, of.column)))
            .unwrap();
        let sql = match of.table {
            "engine" => "INSERT INTO engine VALUES (1, ?1, 0, 'test')".to_string(),
            "forward_secret" => "INSERT INTO forward_secret VALUES (1, '', ?1, 0, 'test')".to_string(),
            "second_factors" => "INSERT INTO second_factors (user_id, secret) VALUES (1, ?1)".into(),
            "certificates" => {
                "INSERT INTO certificates (id, name, chain, key, names, issuer, not_before, not_after, sha256, created_at, updated_at)
                 VALUES (1, 'c', '', ?1, '[]', '', 0, 0, '', 0, 0)"
                    .into()
            }
            "secret_rotations" if of.column == "value" => {
                "INSERT INTO secret_rotations (id, secret_id, state, value, origin, made_by, made_at)
                 VALUES (1, 1, 'done', ?1, 'given', 'test', 0)"
                    .into()
            }
            "action_file_parts" => {
                // Of any task: the servers' keys are being read.
                "INSERT INTO action_file_parts (id, task_id, number, content) SELECT 1, min(id), 0, ?1 FROM tasks".into()
            }
            table => format!("UPDATE {table} SET {} = ?1 WHERE id = 1", of.column),
        };
        db.write(|tx| Ok(tx.execute(&sql, [sealed])?))
            .unwrap_or_else(|e| panic!("{sql}: {e} {}", e.log));
    }
    drop(db);
    let filled: Vec<_> = secrets(folder)
        .into_keys()
        .map(|(table, column, _)| (table, column))
        .collect();
    assert!(
        columns().iter().all(|of| filled.contains(&(of.table, of.column))),
        "{filled:?}"
    );
    house
}

fn did(folder: &Path, command: &[&str]) -> String {
    let out = run(&[command, &["--data-dir", folder.to_str().unwrap()]].concat());
    assert!(out.status.success(), "{command:?}: {}", said(&out));
    said(&out)
}

fn key_numbers(folder: &Path) -> Vec<i64> {
    let db = rusqlite::Connection::open(folder.join("lamplighter.db")).unwrap();
    let mut statement = db
        .prepare("SELECT id FROM keyring WHERE purpose = 'secrets' ORDER BY id")
        .unwrap();
    let numbers = statement.query_map([], |r| r.get(0)).unwrap();
    numbers.map(|n| n.unwrap()).collect()
}

/// Values anywhere in the database that look sealed by this key: version, number, nonce, tag.
fn sealed_by(folder: &Path, number: u32) -> Vec<String> {
    let db = rusqlite::Connection::open(folder.join("lamplighter.db")).unwrap();
    let mut statement = db
        .prepare(
            "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c
             WHERE t.type = 'table' AND c.type = 'BLOB' AND t.name <> 'keyring'",
        )
        .unwrap();
    let all: Vec<(String, String)> = statement
        .query_map([], |r| Ok((r.get(0)?, r.get(1)?)))
        .unwrap()
        .map(|row| row.unwrap())
        .collect();
    let head = [&[1][..], &number.to_be_bytes()].concat();
    let holds = |(table, column): &(String, String)| {
        let sql = format!("SELECT count(*) FROM {table} WHERE substr({column}, 1, 5) = ?1 AND length({column}) >= 33");
        db.query_row(&sql, [&head], |r| r.get::<_, i64>(0)).unwrap() > 0
    };
    let found = all.iter().filter(|place| holds(place));
    found.map(|(table, column)| format!("{table}.{column}")).collect()
}

#[test]
fn keys_are_replaced_and_every_secret_opens_as_before() {
    let mut house = full_house();
    let folder = house.folder.path().to_path_buf();
    let before = secrets(&folder);
    let old_key = fs::read(folder.join("master.key")).unwrap();

    house.start();
    let said = did(&folder, &["key", "rotate"]);
    assert!(said.contains("A new master key"), "{said}");
    assert_ne!(fs::read(folder.join("master.key")).unwrap(), old_key);
    // The running daemon needs the master key no more; the next one takes the new one.
    house.admin().get("/api/servers").is(200);
    let refused = run(&["key-reseal", "--data-dir", house.dir()]);
    assert_eq!(refused.status.code(), Some(75), "{}", common::said(&refused));
    house.stop();
    assert_eq!(secrets(&folder), before);

    assert_eq!(
        (key_numbers(&folder), sealed_by(&folder, 1).len()),
        (vec![1], columns().len())
    );
    did(&folder, &["key", "reseal"]);
    assert_eq!(key_numbers(&folder), [5]);
    assert_eq!(sealed_by(&folder, 1), [""; 0], "a column with secrets is not declared");
    assert_eq!(secrets(&folder), before);
    did(&folder, &["verify-audit"]);

    // The old key opens nothing any more.
    let new_key = fs::read(folder.join("master.key")).unwrap();
    fs::write(folder.join("master.key"), old_key).unwrap();
    let refused = run(&["status", "--data-dir", house.dir()]);
    assert_eq!(refused.status.code(), Some(78), "{}", common::said(&refused));
    fs::write(folder.join("master.key"), new_key).unwrap();
}

fn copied(from: &Path) -> Folder {
    let to = Folder::new();
    for name in ["lamplighter.db", "metrics.db", "lamplighter.audit-head", "master.key"] {
        fs::copy(from.join(name), to.path().join(name)).unwrap();
    }
    to
}

#[test]
fn a_change_of_keys_that_is_killed_anywhere_loses_no_secret() {
    let house = full_house();
    let before = secrets(house.folder.path());
    let mut dice = dice::Dice::new(40);
    for command in ["key-rotate", "key-reseal"] {
        let whole = copied(house.folder.path());
        let began = Instant::now();
        did(whole.path(), &[command]);
        let took = began.elapsed().as_micros() as usize;
        for _ in 0..rounds(6) {
            let folder = copied(house.folder.path());
            let mut child = lamplighter(&[command, "--data-dir", folder.path().to_str().unwrap()])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            thread::sleep(Duration::from_micros(dice.roll(took) as u64));
            child.kill().unwrap();
            child.wait().unwrap();
            assert_eq!(secrets(folder.path()), before, "{command} was killed");
            // Run again it comes to its end.
            did(folder.path(), &[command]);
            assert_eq!(
                (secrets(folder.path()), key_numbers(folder.path()).len()),
                (before.clone(), 1)
            );
        }
        eprintln!("{command}: killed {} times, no secret is lost", rounds(6));
    }
}

#[test]
fn the_master_key_may_come_from_the_environment_which_is_warned_about() {
    let mut house = full_house();
    let folder = house.folder.path().to_path_buf();
    let digits = fs::read_to_string(folder.join("master.key"))
        .unwrap()
        .trim()
        .to_string();
    fs::rename(folder.join("master.key"), folder.join("elsewhere")).unwrap();
    let without = run(&["status", "--data-dir", house.dir()]);
    assert_eq!(without.status.code(), Some(78), "{}", said(&without));
    house.set_env("ENV_MASTER_KEY", &digits);
    house.start();
    assert!(house.said().contains("Put it into a file"), "{}", house.said());
    assert!(!house.said().contains(&digits));
    house.stop();
    let mut rotate = lamplighter(&["key-rotate", "--data-dir", house.dir()]);
    rotate.env("ENV_MASTER_KEY", &digits);
    let refused = finish(rotate, "");
    assert_eq!(refused.status.code(), Some(78), "{}", said(&refused));
    // As systemd passes it: a folder with the file, named by a variable.
    let credentials = Folder::new();
    fs::rename(folder.join("elsewhere"), credentials.path().join("lamplighter.key")).unwrap();
    house.set_env("ENV_MASTER_KEY", &"0".repeat(64));
    house.set_env("CREDENTIALS_DIRECTORY", credentials.path().to_str().unwrap());
    house.start();
    house.stop();
    fs::rename(credentials.path().join("lamplighter.key"), folder.join("master.key")).unwrap();
}
