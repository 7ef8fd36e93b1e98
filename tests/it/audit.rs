//! The audit as an auditor sees it who does not trust the daemon: rows altered, taken out, cut off, a whole day put back.

use crate::common;

use common::*;
use serde_json::json;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
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
        "DROP TRIGGER audit_is_append_only; DROP TRIGGER audit_keeps_its_rows; DROP TRIGGER audit_grows_at_its_end; {sql}"
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
    for sql in [
        "DELETE FROM audit WHERE seq = 3",
        "UPDATE audit SET actor = 'eve' WHERE seq = 3",
        "INSERT OR REPLACE INTO audit SELECT * FROM (SELECT seq, at, 'eve', ip, action, object, detail, request_id, mac,
         client_request_id, via, before, after FROM audit WHERE seq = 3)",
        "INSERT INTO audit (seq, at, actor, ip, action, object, detail, request_id, mac) VALUES (99, 0, '', '', '', '', '', '', x'')",
    ] {
        let refused = database.execute(sql, []).unwrap_err().to_string();
        assert!(refused.contains("audit rows"), "{sql}: {refused}");
    }
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
        (
            "UPDATE audit SET seq = 999 WHERE seq = 3; UPDATE audit SET seq = 3 WHERE seq = 4;
             UPDATE audit SET seq = 4 WHERE seq = 999",
            "Row 3 is not as it was written".into(),
        ),
        (
            "UPDATE audit SET after = replace(after, 'viewer', 'admin')",
            "is not as it was written".into(),
        ),
        (
            "UPDATE audit SET via = '' WHERE seq = 4",
            "Row 4 is not as it was written".into(),
        ),
        (
            "UPDATE audit SET before = '{}' WHERE seq = 4",
            "Row 4 is not as it was written".into(),
        ),
        (
            "INSERT INTO audit (seq, at, actor, ip, action, object, detail, request_id, mac)
             SELECT max(seq) + 1, 0, 'eve', '', 'x', 'x', '{}', '', mac FROM audit",
            format!("Row {} is not as it was written", last + 1),
        ),
        ("", "The triggers that keep its rows are not in the database".into()),
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

/// The last row's number and MAC as the program tells them.
fn head(house: &House) -> String {
    let (code, told) = verify(house, &[]);
    assert_eq!(code, Some(0), "{told}");
    told.trim().rsplit_once(' ').unwrap().1.to_string()
}

#[test]
fn a_head_that_was_kept_elsewhere_finds_what_the_own_key_cannot() {
    let mut house = House::new();
    house.stop();
    let early = head(&house);
    house.account("later", "viewer");
    house.account("last", "viewer");
    let late = head(&house);
    for noted in [&early, &late] {
        assert_eq!(verify(&house, &["--head", noted]).0, Some(0), "{noted}");
    }
    let (seq, mac) = late.split_once(':').unwrap();
    let next = seq.parse::<i64>().unwrap() + 1;
    let other = format!("{seq}:{}", mac.replace('0', "1").replace('a', "b"));
    for (noted, row) in [(format!("{next}:{mac}"), next), (other, next - 1)] {
        let (code, told) = verify(&house, &["--head", &noted]);
        assert!(
            code == Some(1) && told.contains(&format!("Row {row} is not the one")),
            "{told}"
        );
    }
    assert_eq!(verify(&house, &["--head", "nonsense"]).0, Some(2));
    // The journal has it: each walk over a chain that is whole says where it ends.
    house.start();
    eventually("a head in the journal", || {
        house.said().contains("the chain is whole").then_some(())
    });
}

fn rows(house: &House, action: &str) -> Vec<(String, String, String, String, String)> {
    let db = house.database("lamplighter.db");
    let mut rows = db
        .prepare("SELECT object, before, after, via, ip FROM audit WHERE action = ?1 ORDER BY seq")
        .unwrap();
    let rows = rows.query_map([action], |r| {
        Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?))
    });
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

#[test]
fn a_row_says_what_stood_before_and_after_and_no_secret() {
    let house = House::new();
    let admin = house.admin();
    let server = json!({ "name": "web-1", "host": "192.0.2.7", "username": "root", "password": "correct-horse-1",
        "tags": ["prod"], "description": "Authorization: Bearer abcdefghijklmnop" });
    let id = admin.post("/api/servers", &server).is(201)["id"].as_i64().unwrap();
    let made = &rows(&house, "server.create")[0];
    assert_eq!((made.0.as_str(), made.1.as_str()), (&*format!("server {id} web-1"), ""));
    let after: serde_json::Value = serde_json::from_str(&made.2).unwrap();
    assert_eq!(
        (&after["host"], &after["tags"]),
        (&json!("192.0.2.7"), &json!(["prod"]))
    );
    assert_eq!(after["password"], "•••");
    assert!(!made.2.contains("abcdefghijklmnop"), "{}", made.2);

    let change = json!({ "ssh_port": 2222, "password": "correct-horse-2", "tags": ["prod", "eu"] });
    admin.patch(&format!("/api/servers/{id}"), &change).is(200);
    let changed = &rows(&house, "server.update")[0];
    let [before, after] = [&changed.1, &changed.2].map(|t| serde_json::from_str::<serde_json::Value>(t).unwrap());
    assert_eq!(before, json!({ "ssh_port": 22, "tags": ["prod"], "password": "•••" }));
    assert_eq!(
        after,
        json!({ "ssh_port": 2222, "tags": ["prod", "eu"], "password": "•••" })
    );
    assert!(
        changed.3.starts_with("sign-in ") && changed.4 == "127.0.0.1",
        "{changed:?}"
    );

    // What changes nothing leaves no row.
    admin
        .patch(&format!("/api/servers/{id}"), &json!({ "ssh_port": 2222 }))
        .is(200);
    assert_eq!(rows(&house, "server.update").len(), 1);
    admin.put("/api/settings", &json!({ "poll.fail_threshold": 5 })).is(200);
    let set = &rows(&house, "settings.change")[0];
    assert!(
        set.1.contains("poll.fail_threshold") && set.2 == r#"{"poll.fail_threshold":5}"#,
        "{set:?}"
    );
    // Who has the data folder is known by their name on this machine.
    let db = house.database("lamplighter.db");
    let cli: String = db
        .query_row(
            "SELECT actor FROM audit WHERE action = 'user.create' LIMIT 1",
            [],
            |r| r.get(0),
        )
        .unwrap();
    assert_eq!(cli, "cli:root");
}

#[test]
fn rows_are_found_by_who_what_when_and_from_where() {
    let house = House::new();
    let admin = house.admin();
    let ids: Vec<i64> = (0..5)
        .map(|n| {
            let group = json!({ "name": format!("group-{n}"), "notes": format!("Заметка {n} 100%_ok") });
            admin.post("/api/groups", &group).is(201)["id"].as_i64().unwrap()
        })
        .collect();
    house
        .somebody("operator")
        .delete(&format!("/api/groups/{}", ids[1]))
        .is(200);
    let found = |query: &str| -> Vec<String> {
        let list = admin.get(&format!("/api/audit?{query}")).is(200);
        let items = list["items"].as_array().unwrap().iter();
        items
            .map(|r| {
                format!(
                    "{} {} {}",
                    r["actor"].as_str().unwrap(),
                    r["action"].as_str().unwrap(),
                    r["object"]["name"].as_str().unwrap()
                )
            })
            .collect()
    };
    assert_eq!(found("action=group.delete"), ["operator group.delete group-1"]);
    assert_eq!(found("actor=operator").len(), 2, "signed in, and deleted");
    assert_eq!(found("object=group").len(), 6);
    for spelt in ["group%20", "group/", "group:"] {
        let of_one = found(&format!("object={spelt}{}", ids[1]));
        assert_eq!(
            of_one,
            ["operator group.delete group-1", "root-admin group.create group-1"]
        );
    }
    assert_eq!(found("ip=127.0.0.1&action=group.create&actor=root-admin").len(), 5);
    assert_eq!(found("ip=192.0.2.1"), [""; 0]);
    // Part of any text, whatever its case, with no wildcard of its own.
    assert_eq!(found("q=GROUP-3"), ["root-admin group.create group-3"]);
    assert_eq!(
        found("q=%D0%B7%D0%B0%D0%BC%D0%B5%D1%82%D0%BA%D0%B0%204"),
        ["root-admin group.create group-4"]
    );
    assert_eq!(found("q=100%25_ok").len(), 6);
    assert_eq!(found("q=%25%25"), [""; 0]);
    // Times are UTC, or unix ms; the first bound is in, the last is not.
    let all = admin.get("/api/audit?limit=500").is(200);
    let third = &all["items"][2];
    let ts = third["ts"].as_str().unwrap();
    let [since, until] = ["since", "until"].map(|bound| found(&format!("{bound}={ts}&limit=500")).len());
    assert_eq!(since + until, all["items"].as_array().unwrap().len());
    assert!(since >= 3);
    assert_eq!(found("until=1000"), [""; 0]);
    assert_eq!(admin.get("/api/audit?since=yesterday").wrong_fields(), ["since"]);
    assert_eq!(admin.get("/api/audit?cursor=x").wrong_fields(), ["cursor"]);

    // Page after page is the whole, each row once.
    let (mut seen, mut next) = (Vec::new(), String::new());
    loop {
        let page = admin.get(&format!("/api/audit?limit=2&cursor={next}")).is(200);
        seen.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|r| r["id"].as_i64().unwrap()),
        );
        match page["next"].as_str() {
            Some(more) => next = more.into(),
            None => break,
        }
    }
    let rows = house
        .database("lamplighter.db")
        .query_row("SELECT max(seq) FROM audit", [], |r| r.get::<_, i64>(0));
    let wanted: Vec<i64> = (1..=rows.unwrap()).rev().collect();
    assert_eq!(seen, wanted);
    let one = admin.get(&format!("/api/audit/{}", third["id"])).is(200);
    assert_eq!(&one, third);
    admin.get("/api/audit/99999").fails(404, "not_found");
}

#[test]
fn the_audit_is_for_administrators() {
    let house = House::new();
    let operator = house.somebody("operator");
    for path in ["/api/audit", "/api/audit/1", "/api/audit/export"] {
        operator.get(path).fails(403, "forbidden");
        house.client().get(path).fails(401, "unauthorized");
    }
    // A token shows it when it was made for that, and not because its owner may see it.
    let admin = house.admin();
    let program = |scopes: serde_json::Value| {
        let body = json!({ "name": scopes.to_string(), "scopes": scopes });
        let token = admin.post("/api/tokens", &body).is(201)["token"].clone();
        house.client().by(Who::Bearer(house.canary(token.as_str().unwrap())))
    };
    let (reader, other) = (
        program(json!(["audit:read"])),
        program(json!(["servers:read", "users:read"])),
    );
    for path in ["/api/audit", "/api/audit/1", "/api/audit/export?format=json"] {
        assert_eq!(reader.get(path).status, 200, "{path}");
        other.get(path).fails(403, "forbidden");
    }
    reader.get("/api/servers").fails(403, "forbidden");
    // Its rows are about everything: there is no part of them for one group or server.
    for scope in ["audit:read@group:1", "audit:read@server:1", "audit:edit"] {
        let refused = admin.post("/api/tokens", &json!({ "name": "x", "scopes": [scope] }));
        assert_eq!(refused.wrong_fields(), ["scopes"], "{scope}");
    }
}

#[test]
fn files_have_every_row_that_fits_and_no_formula() {
    let house = House::new();
    let admin = house.admin();
    let notes = "x".repeat(1_500);
    for n in 0..60 {
        admin
            .post(
                "/api/groups",
                &json!({ "name": format!("=cmd|' /C calc'!A{n}"), "notes": notes }),
            )
            .is(201);
    }
    let csv = admin.get("/api/audit/export?action=group.create");
    assert_eq!(csv.status, 200);
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
    assert!(
        csv.header("content-disposition")
            .unwrap()
            .starts_with("attachment; filename=\"audit-")
    );
    let text = csv.text();
    let lines: Vec<&str> = text.trim_end().split("\r\n").collect();
    assert_eq!(lines.len(), 61);
    assert!(lines[0].starts_with("id,time,actor,via,ip,action,object,before,after"));
    for line in &lines[1..] {
        assert!(
            line.contains(",group.create,group ") && !line.contains(",="),
            "{}",
            &line[..200]
        );
    }
    let json = admin.get("/api/audit/export?format=json");
    let rows = json.json();
    let listed = admin.get("/api/audit?limit=500").is(200);
    assert_eq!(
        rows.as_array().unwrap().len(),
        listed["items"].as_array().unwrap().len()
    );
    assert_eq!(rows[0], listed["items"][0]);
    assert_eq!(
        admin.get("/api/audit/export?format=json&actor=nobody-9").json(),
        json!([])
    );
    assert_eq!(admin.get("/api/audit/export?format=xml").wrong_fields(), ["format"]);
    // A client of HTTP/1.0 gets the same bytes without chunks, up to the end of the connection.
    let Who::Bearer(token) = admin.who() else { panic!() };
    let mut socket = TcpStream::connect(house.address).unwrap();
    let path = "/api/audit/export?format=json&action=group.create";
    write!(
        socket,
        "GET {path} HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
    )
    .unwrap();
    let mut raw = String::new();
    socket.read_to_string(&mut raw).unwrap();
    let (head, body) = raw.split_once("\r\n\r\n").unwrap();
    assert!(!head.contains("chunked"), "{head}");
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(body)
            .unwrap()
            .as_array()
            .unwrap()
            .len(),
        60
    );
}
