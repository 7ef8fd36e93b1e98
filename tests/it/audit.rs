//! The audit as an auditor sees it who does not trust the daemon: rows altered, taken out, cut off, a whole day put back.

use crate::common;

use common::*;
use serde_json::json;
use std::fs;
use std::path::PathBuf;

/// Asks `verify-audit`; the exit code and what it said.
fn verify(house: &House, flags: &[&str]) -> (Option<i32>, String) {
    let out = run(&[&["verify-audit", "--data-dir", house.dir()], flags].concat());
    (out.status.code(), said(&out))
}

#[track_caller]
fn broken(house: &House, wanted: &str) {
    let (code, said) = verify(house, &[]);
    assert!(code == Some(1) && said.contains(wanted), "{code:?} {said}");
}

/// As a thief with the file would, who knows how to drop triggers. Gives the rows as they were.
fn meddle(house: &House, sql: &str) -> Vec<u8> {
    let path = house.folder.path().join("lamplighter.db");
    let db = house.database("lamplighter.db");
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let before = fs::read(path).unwrap();
    db.execute_batch(&format!(
        "DROP TRIGGER IF EXISTS audit_is_append_only; DROP TRIGGER IF EXISTS audit_keeps_its_rows; {sql}"
    ))
    .unwrap();
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    before
}

fn put_back(house: &House, bytes: &[u8]) {
    let path = house.folder.path().join("lamplighter.db");
    for ending in ["db-wal", "db-shm"] {
        let _ = fs::remove_file(path.with_extension(ending));
    }
    fs::write(path, bytes).unwrap();
}

#[test]
fn what_a_client_called_its_request_stands_in_the_row_and_is_sealed_with_it() {
    let mut house = House::new();
    let named = house.admin().with("X-Request-Id", "deploy-2026-11-29.7");
    named.post("/api/groups", &json!({ "name": "one" })).is(201);
    house.admin().post("/api/groups", &json!({ "name": "two" })).is(201);
    let rows = |house: &House| -> Vec<(String, String)> {
        let db = house.database("lamplighter.db");
        let mut rows = db
            .prepare("SELECT request_id, client_request_id FROM audit WHERE action = 'group.create' ORDER BY seq")
            .unwrap();
        let rows = rows.query_map([], |r| Ok((r.get(0)?, r.get(1)?))).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    };
    let both = rows(&house);
    assert_eq!([&*both[0].1, &*both[1].1], ["deploy-2026-11-29.7", ""]);
    assert!(
        both.iter().all(|(ours, theirs)| !ours.is_empty() && ours != theirs),
        "{both:?}"
    );
    house.stop();
    assert_eq!(verify(&house, &[]).0, Some(0));
    for sql in [
        "client_request_id = '' WHERE client_request_id <> ''",
        "client_request_id = 'x' WHERE seq = 2",
    ] {
        let before = meddle(&house, &format!("UPDATE audit SET {sql}"));
        broken(&house, "is not as it was written");
        put_back(&house, &before);
    }
}

#[test]
fn what_was_done_to_the_audit_is_told() {
    let mut house = House::new();
    for n in 0..4 {
        house.account(&format!("user-{n}"), "viewer");
    }
    let database = house.database("lamplighter.db");
    assert!(
        database.execute("DELETE FROM audit WHERE seq = 3", []).is_err(),
        "the honest are told"
    );
    drop(database);
    house.stop();
    let (code, told) = verify(&house, &[]);
    assert!(code == Some(0) && told.contains("whole"), "{told}");
    let last = house
        .database("lamplighter.db")
        .query_row("SELECT max(seq) FROM audit", [], |r| r.get::<_, i64>(0));
    let last = last.unwrap();

    for (sql, wanted) in [
        (
            "UPDATE audit SET actor = 'eve' WHERE seq = 3",
            "Row 3 is not as it was written".to_string(),
        ),
        ("DELETE FROM audit WHERE seq = 3", "Row 3 is missing".into()),
        ("DELETE FROM audit WHERE seq < 3", "Rows 1 to 2 are missing".into()),
        (
            "DELETE FROM audit WHERE seq > 3",
            format!("Rows 4 to {last} are missing at the end"),
        ),
        ("DELETE FROM audit", format!("Rows 1 to {last} are missing at the end")),
    ] {
        let before = meddle(&house, sql);
        broken(&house, &wanted);
        put_back(&house, &before);
        assert_eq!(verify(&house, &[]).0, Some(0));
    }

    // Rows are cut off and life goes on: the numbers are the same, the rows are not.
    let before = meddle(&house, &format!("DELETE FROM audit WHERE seq = {last}"));
    house.account("later", "viewer");
    broken(&house, &format!("Rows up to {last} were removed"));
    house.start();
    let alerts = eventually("an alert", || {
        let list = house.admin().get("/api/alerts").is(200);
        let mut items = list["items"].as_array().unwrap().iter();
        items.find(|a| a["kind"] == "audit.broken").cloned()
    });
    assert_eq!(
        (&alerts["level"], &alerts["state"]),
        (&json!("CRITICAL"), &json!("firing"))
    );
    house.stop();
    put_back(&house, &before);
}

#[test]
fn a_backup_put_back_is_told_until_somebody_says_so() {
    let mut house = House::new();
    house.stop();
    let day = meddle(&house, "");
    let head: PathBuf = house.folder.path().join("lamplighter.audit-head");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&head).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    house.account("since-then", "viewer");
    put_back(&house, &day);
    broken(&house, "missing at the end");
    let (code, told) = verify(&house, &["--accept"]);
    assert!(code == Some(0) && told.contains("noted"), "{told}");
    assert_eq!(verify(&house, &[]).0, Some(0));

    // Nor does it help to take the file away, or to write another.
    fs::write(&head, "00000000000000000002 aa bb\n").unwrap();
    broken(&house, "is not ours");
    fs::remove_file(&head).unwrap();
    broken(&house, "is missing");
    house.account("unseen", "viewer");
    broken(&house, "is missing");
    assert_eq!(verify(&house, &["--accept"]).0, Some(0));
}
