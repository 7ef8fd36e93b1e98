//! Secrets that are kept under a name: they go in, and come out by a reveal alone.

use crate::common;

use common::*;
use lamplighter::base::clock::{self, DAY};
use lamplighter::base::random;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

fn keep(house: &House, body: Value) -> (i64, String) {
    let id = house.admin().post("/api/secrets", &body).is(201)["id"]
        .as_i64()
        .unwrap();
    (id, format!("/api/secrets/{id}"))
}

fn reveal(house: &House, at: &str) -> Value {
    let why = json!({ "reason": "a test", "password": house.password });
    house.admin().post(&format!("{at}/reveal"), &why).is(200)
}

fn rows_of(house: &House, action: &str) -> i64 {
    let db = house.database("lamplighter.db");
    let count = "SELECT count(*) FROM audit WHERE action = ?1";
    db.query_row(count, [action], |r| r.get(0)).unwrap()
}

#[test]
fn sixty_values_go_in_and_none_is_seen_anywhere() {
    let house = House::with(Processes::One, &[("LAMPLIGHTER_LOG_LEVEL", "debug")]);
    let admin = house.admin();
    let mut canaries = Vec::new();
    let mut secret = |kind: &str| {
        let value = house.canary(format!("{kind} \"$'%\\пароль-{}", random::name()));
        canaries.push(value.clone());
        value
    };
    let mut told = String::new();
    for n in 0..12 {
        let kind = ["password", "token", "text"][n % 3];
        let body = json!({ "name": format!("s{n}"), "type": kind, "value": secret(kind), "tags": ["db"] });
        let made = admin.post("/api/secrets", &body);
        told += &made.text();
        let at = format!("/api/secrets/{}", made.is(201)["id"]);
        // Changed, put in force, refused, mistyped, sent to the wrong place.
        told += &admin.patch(&at, &json!({ "value": secret("changed") })).text();
        told += &admin
            .post(&format!("{at}/rotate"), &json!({ "value": secret("next") }))
            .text();
        told += &admin
            .patch(&at, &json!({ "value": secret("refused"), "type": "private_key" }))
            .text();
        told += &admin.patch(&at, &json!({ "valeu": secret("mistyped") })).text();
        for path in ["", "/versions"] {
            told += &admin.get(&format!("{at}{path}")).text();
        }
    }
    let key = json!({ "name": "key", "type": "private_key", "value": secret("no key") });
    let refused = admin.post("/api/secrets", &key);
    refused.fails(422, "invalid");
    told += &refused.text();
    let browser = house
        .client()
        .by(Who::cookie(&house.sign_in(ADMIN, &house.password), house.address));
    for path in [
        "/secrets",
        "/secrets?q=s1",
        "/secrets/1",
        "/secrets/1/delete",
        "/",
        "/audit",
        "/settings",
    ] {
        let page = browser.get(path);
        assert_eq!(page.status, 200, "{path}");
        told += &page.text();
    }
    for path in [
        "/api/secrets",
        "/api/audit",
        "/api/audit/export?format=csv",
        "/api/events",
        "/api/fleet",
        "/metrics",
    ] {
        told += &admin.get(path).text();
    }
    // Referred to, rotated where it is referred to, leased.
    let me = json!({ "password": house.password });
    admin.post("/api/me/confirm", &me).is(204);
    let wide = json!({ "scope": ["servers"], "lessees": [format!("user:{ADMIN}")] });
    told += &admin.patch("/api/secrets/1", &wide).text();
    let mut web = server("web-1", 9);
    web["password"] = json!({ "secret_id": 1 });
    told += &admin.post("/api/servers", &web).text();
    let next = json!({ "value": secret("rotated where it is used") });
    let rotated = admin.post("/api/secrets/1/rotate", &next);
    rotated.is(200);
    told += &rotated.text();
    let apply = admin.post("/api/secrets/1/rotate-apply", &json!({}));
    let task = house.wait_for(apply.is(202)["task_id"].as_i64().unwrap());
    told += &task.to_string();
    told += &admin.get(&format!("/api/tasks/{}/log.txt", task["id"])).text();
    let ttl = json!({ "ttl_seconds": 60 });
    let given = admin.post("/api/secrets/1/lease", &ttl).is(201);
    assert_eq!(given["value"], next["value"]);
    for path in [
        "/api/leases",
        "/api/secrets/1/leases",
        "/api/secrets/1/uses",
        "/api/secrets/1/rotation",
    ] {
        let answer = admin.get(path);
        assert_eq!(answer.status, 200, "{path}");
        told += &answer.text();
    }
    for path in ["/leases", "/leases/1", "/secrets/1", "/servers/1", "/servers/1/edit"] {
        let page = browser.get(path);
        assert_eq!(page.status, 200, "{path}");
        told += &page.text();
    }
    assert!(canaries.len() >= 60);
    for canary in &canaries {
        assert_eq!(found_in(told.as_bytes(), canary), None, "an answer shows {canary}");
    }
    // Files and logs are looked at when the house falls.
}

#[test]
fn a_value_is_shown_to_who_may_says_why_and_is_still_there() {
    let house = House::new();
    let admin = house.admin();
    let value = house.canary("hunter-kept-2$'\"");
    let (id, at) = keep(&house, json!({ "name": "replica", "type": "password", "value": value }));
    let to = format!("{at}/reveal");
    let good = json!({ "reason": "lost console", "password": house.password });
    admin
        .post(&to, &json!({ "password": house.password }))
        .fails(422, "invalid");
    admin
        .post(&to, &json!({ "reason": "lost console" }))
        .fails(422, "invalid");
    // A confirmation of some minutes ago does not count here.
    admin
        .post("/api/me/confirm", &json!({ "password": house.password }))
        .is(204);
    admin
        .post(&to, &json!({ "reason": "lost console" }))
        .fails(422, "invalid");
    admin
        .post(&to, &json!({ "reason": "lost console", "password": "not it" }))
        .fails(403, "wrong_confirmation");
    let operator = house.somebody("operator");
    assert_eq!(operator.get(&at).is(200)["name"], "replica");
    operator.post(&to, &good).fails(403, "forbidden");
    house.somebody("viewer").get(&at).fails(403, "forbidden");
    let token = admin
        .post("/api/tokens", &json!({ "name": "program", "role": "admin" }))
        .is(201)["token"]
        .clone();
    let token = house.canary(token.as_str().unwrap());
    let program = house.client().with("Authorization", &format!("Bearer {token}"));
    program.post(&to, &good).fails(403, "token_may_not");
    assert_eq!(rows_of(&house, "secret.reveal"), 0);

    let answer = admin.post(&to, &good);
    let cached = answer.header("cache-control").unwrap_or_default().to_string();
    let shown = answer.is(200);
    assert_eq!(
        (&shown["value"], &shown["hide_after_s"], &shown["version"]),
        (&json!(value), &json!(30), &json!(1))
    );
    assert!(cached.contains("no-store"), "{cached}");
    assert_eq!(rows_of(&house, "secret.reveal"), 1);
    let said = admin.get("/api/audit").is(200).to_string();
    assert!(said.contains("lost console") && said.contains("replica"), "{said}");
    let told: i64 = (house.database("lamplighter.db"))
        .query_row(
            "SELECT count(*) FROM events WHERE kind = 'secret.revealed' AND target_id = ?1",
            [id],
            |r| r.get(0),
        )
        .unwrap();
    assert_eq!(told, 1);
}

#[test]
fn a_new_value_is_a_version_and_older_ones_are_kept_for_a_while() {
    let house = House::new();
    let admin = house.admin();
    let values: Vec<_> = (1..=4).map(|n| house.canary(format!("value-number-{n}"))).collect();
    let (_, at) = keep(&house, json!({ "name": "token", "type": "token", "value": values[0] }));
    admin
        .put("/api/settings", &json!({ "secrets.versions_kept": 3 }))
        .is(200);
    for value in &values[1..] {
        admin.post(&format!("{at}/rotate"), &json!({ "value": value })).is(200);
    }
    let seen = admin.get(&format!("{at}/versions")).is(200);
    let kept: Vec<_> = seen["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v["version"].clone())
        .collect();
    assert_eq!(kept, [4, 3, 2].map(|n| json!(n)));
    assert_eq!(reveal(&house, &at)["value"], json!(values[3]));
    let of = |n: i64| json!({ "reason": "x", "password": house.password, "version": n });
    assert_eq!(
        admin.post(&format!("{at}/reveal"), &of(2)).is(200)["value"],
        json!(values[1])
    );
    admin.post(&format!("{at}/reveal"), &of(1)).fails(404, "not_found");
    admin.delete(&format!("{at}/versions")).is(204);
    admin.post(&format!("{at}/reveal"), &of(3)).fails(404, "not_found");
    // The next number is not one that was there.
    let next = admin
        .post(&format!("{at}/rotate"), &json!({ "generate": "words" }))
        .is(200);
    assert_eq!((&next["version"], &next["versions"]), (&json!(5), &json!(2)));
    let made = reveal(&house, &at)["value"].as_str().unwrap().to_string();
    assert_eq!(house.canary(made).len(), 47);
    let other = json!({ "name": "TOKEN", "type": "text", "generate": "password" });
    admin.post("/api/secrets", &other).fails(409, "duplicate");
    admin.delete(&at).is(204);
    let left: i64 = (house.database("lamplighter.db"))
        .query_row("SELECT count(*) FROM secret_versions", [], |r| r.get(0))
        .unwrap();
    assert_eq!(left, 0);
}

#[test]
fn a_key_that_is_made_here_is_one_that_openssh_takes() {
    let house = House::new();
    let admin = house.admin();
    let folder = Folder::new();
    let (_, at) = keep(
        &house,
        json!({ "name": "deploy", "type": "private_key", "generate": "ed25519" }),
    );
    let shown = reveal(&house, &at);
    let pem = shown["value"].as_str().unwrap();
    for line in pem.lines().filter(|line| line.len() > 60) {
        house.canary(line);
    }
    let path = folder.path().join("key");
    fs::write(&path, pem).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let read = Command::new("ssh-keygen")
        .args(["-y", "-f"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let public = admin.get(&at).is(200)["public_key"].as_str().unwrap().to_string();
    assert_eq!(String::from_utf8(read.stdout).unwrap().trim(), public);
    // One that is given is opened: with its passphrase, which is kept, too.
    let passphrase = house.canary("of the locked key");
    let locked = folder.path().join("locked");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-C", "", "-N", &passphrase, "-f"])
        .arg(&locked)
        .status();
    assert!(made.unwrap().success());
    let pem = fs::read_to_string(&locked).unwrap();
    let mut body = json!({ "name": "locked", "type": "private_key", "value": pem });
    let refused = admin.post("/api/secrets", &body).is(422);
    assert_eq!(refused["fields"][0]["field"], "passphrase", "{refused}");
    body["passphrase"] = json!(passphrase);
    let (_, at) = keep(&house, body);
    let public = fs::read_to_string(locked.with_extension("pub")).unwrap();
    assert_eq!(admin.get(&at).is(200)["public_key"], public.trim());
    let shown = reveal(&house, &at);
    assert_eq!(
        (&shown["value"], &shown["passphrase"]),
        (&json!(pem), &json!(passphrase))
    );
}

#[test]
fn an_end_that_is_near_is_an_alert_until_it_is_far() {
    let house = House::new();
    let admin = house.admin();
    let in_days = |days: i64| json!(clock::rfc3339(clock::now() + days * DAY));
    let (_, at) = keep(
        &house,
        json!({ "name": "cert-token", "type": "token", "generate": "password", "expires_at": in_days(30) }),
    );
    assert_eq!(admin.get(&at).is(200)["state"], "ok");
    admin.patch(&at, &json!({ "expires_at": in_days(2) })).is(200);
    assert_eq!(admin.get(&at).is(200)["state"], "ending");
    let state = || -> Option<String> {
        let db = house.database("lamplighter.db");
        db.query_row("SELECT state FROM alerts WHERE kind = 'secret.expiring'", [], |r| {
            r.get(0)
        })
        .ok()
    };
    eventually("an alert", || state().filter(|s| s != "resolved"));
    admin.patch(&at, &json!({ "expires_at": null })).is(200);
    eventually("its end", || state().filter(|s| s == "resolved"));
    assert_eq!(admin.get(&at).is(200)["expires_at"], Value::Null);
    admin.patch(&at, &json!({ "expires_at": "2001-01-01T00:00" })).is(422);
}

#[test]
fn a_secret_lives_its_life_on_pages_without_script() {
    let house = House::new();
    let mut browser = house.browser_of_admin();
    let value = house.canary("typed-in-a-form-7");
    let refused = browser.post("/secrets", &[("name", ""), ("type", "token"), ("value", &value)]);
    assert!(refused.status == 422 && !refused.body.contains(&value));
    let fields = [
        ("name", "pg"),
        ("type", "token"),
        ("value", &format!("{value}\r\n")),
        ("tags", "db, shop"),
        ("rotation_days", "30"),
        ("notes", ""),
    ];
    assert_eq!(browser.post("/secrets", &fields).status, 303);
    let page = browser.get("/secrets/1");
    assert!(page.body.contains("shop") && !page.body.contains(&value));
    let reason = ("reason", "lost console");
    let wrong = browser.post("/secrets/1/reveal", &[reason, ("password", "not it")]);
    assert!(wrong.status == 422 && wrong.body.contains("lost console") && !wrong.body.contains(&value));
    // Another value out of a file, with the end of its line: it is no part of a token.
    let from_file = house.canary("out-of-a-file-8");
    let rotated = browser.post("/secrets/1/rotate", &[("value", &format!("{from_file}\n"))]);
    assert_eq!(rotated.status, 303);
    let shown = browser.post("/secrets/1/reveal", &[reason, ("password", &house.password)]);
    let text = format!("tabindex=\"0\">{from_file}</pre>");
    assert!(shown.status == 200 && shown.body.contains(&text), "{}", shown.body);
    let old = [reason, ("password", &*house.password), ("version", "1")];
    let shown = browser.post("/secrets/1/reveal", &old);
    assert!(shown.status == 200 && shown.body.contains(&value), "{}", shown.body);
    assert!(!browser.get("/secrets/1").body.contains(&value));
    let typed = [
        ("name", "pg"),
        ("tags", ""),
        ("notes", "of the replica"),
        ("rotation_days", ""),
    ];
    assert_eq!(browser.post("/secrets/1", &typed).status, 303);
    let seen = house.admin().get("/api/secrets/1").is(200);
    assert_eq!(
        (&seen["tags"], &seen["notes"], &seen["rotation_interval_s"]),
        (&json!([]), &json!("of the replica"), &Value::Null)
    );
    assert_eq!(
        browser.post("/secrets/1/rotate", &[("generate", "password")]).status,
        303
    );
    assert_eq!(browser.post("/secrets/1/forget", &[]).status, 303);
    assert_eq!(browser.post("/secrets/1/delete", &[("confirm", "other")]).status, 422);
    assert_eq!(browser.post("/secrets/1/delete", &[("confirm", "pg")]).status, 303);
    house.admin().get("/api/secrets/1").fails(404, "not_found");
}

/// A server and an endpoint have it; what they are entered with changes with it, in one transaction.
#[test]
fn places_refer_to_a_secret_and_it_is_not_deleted_unseen() {
    let house = House::new();
    let admin = house.admin();
    let (value, next) = (house.canary("first-login-4711"), house.canary("second-login-4712"));
    let (id, at) = keep(&house, json!({ "name": "login", "type": "password", "value": value }));
    let mut web = server("web-1", 9);
    web["password"] = json!({ "secret_id": id });
    // Nobody has said that servers may use it, and who says so later shows that it is still them.
    let refused = admin.post("/api/servers", &web);
    refused.fails(422, "invalid");
    assert_eq!(refused.wrong_fields(), ["password"]);
    let wider = json!({ "scope": ["servers", "endpoints"] });
    admin.patch(&at, &wider).fails(403, "confirm_required");
    house.somebody("operator").patch(&at, &wider).fails(403, "forbidden");
    admin
        .post("/api/me/confirm", &json!({ "password": house.password }))
        .is(204);
    assert_eq!(admin.patch(&at, &wider).is(200)["used"], 0);

    let made = admin.post("/api/servers", &web).is(201);
    assert_eq!(made["secret_ids"], json!({ "password": id }));
    let hook = json!({ "type": "webhook", "name": "hook", "url": "https://192.0.2.1/", "secret": { "secret_id": id } });
    admin.post("/api/notifications", &hook).is(201);
    let uses = admin.get(&format!("{at}/uses")).is(200);
    let named: Vec<_> = uses["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|u| (&u["type"], &u["field"]))
        .collect();
    assert_eq!(named.len(), 2, "{uses}");
    assert!(named.contains(&(&json!("server"), &json!("password"))), "{uses}");
    assert_eq!(admin.get(&at).is(200)["used"], 2);
    let said = admin.delete(&at).fails(409, "secret_used").to_string();
    assert!(said.contains("web-1 (password)"), "{said}");

    // What is stored at the places is no value, and stays as it is when the value is another one.
    let stored = || -> Vec<Vec<u8>> {
        let db = house.database("lamplighter.db");
        let sql =
            "SELECT password FROM servers UNION ALL SELECT secret FROM notification_endpoints WHERE secret IS NOT NULL";
        let mut statement = db.prepare(sql).unwrap();
        let rows = statement.query_map([], |r| r.get(0)).unwrap();
        rows.map(|row| row.unwrap()).collect()
    };
    let before = stored();
    admin.post(&format!("{at}/rotate"), &json!({ "value": next })).is(200);
    assert_eq!(stored(), before);
    assert!(before.iter().all(|row| row[0] == 2 && row.len() == 42), "{before:?}");
    // Moved to another row it leads nowhere.
    let other = admin.post("/api/servers", &server("web-2", 9)).is(201);
    let db = house.database("lamplighter.db");
    let copy = "UPDATE servers SET password = (SELECT password FROM servers WHERE id = ?1), auth_type = 'password',
        host_key_state = 'pinned', host_key = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ7wlmIl6p4KJJZmSjhC9T5+9nOd4vHTDUg6kP9J8h4B'
        WHERE id = ?2";
    db.execute(copy, [made["id"].as_i64(), other["id"].as_i64()]).unwrap();
    let task = admin
        .post(&format!("/api/servers/{}/check-ssh", other["id"]), &json!({}))
        .is(202);
    let ended = house.wait_for(task["task_id"].as_i64().unwrap());
    assert_eq!(ended["error"]["code"], "sealed_value", "{ended}");
    drop(db);
    admin.delete(&format!("/api/servers/{}", other["id"])).is(204);

    // A value of its own again, and nothing refers to it any more.
    let own = house.canary("a-value-of-its-own");
    let web = format!("/api/servers/{}", made["id"]);
    assert_eq!(
        admin.patch(&web, &json!({ "password": own })).is(200)["secret_ids"],
        json!({})
    );
    admin.delete("/api/notifications/1").is(204);
    admin.delete(&at).is(204);
}

/// Who stands in the list gets a copy, for a while; nobody else does, whatever they may.
#[test]
fn a_copy_is_leased_to_who_stands_in_the_list_until_its_end() {
    let house = House::new();
    let admin = house.admin();
    let value = house.canary("a-leased-value-4711");
    let (_, at) = keep(
        &house,
        json!({ "name": "pull", "type": "token", "value": value, "lessees": ["role:automation"], "lease_max_s": 120 }),
    );
    let ttl = json!({ "ttl_seconds": 100 });
    admin.post(&format!("{at}/lease"), &ttl).fails(403, "not_a_lessee");
    house
        .somebody("viewer")
        .post(&format!("{at}/lease"), &ttl)
        .fails(403, "forbidden");
    let robot = |name: &str| {
        let token = json!({ "name": name, "role": "automation" });
        let made = admin.post("/api/tokens", &token).is(201);
        let token = house.canary(made["token"].as_str().unwrap());
        house.client().with("authorization", &format!("Bearer {token}"))
    };
    let (robot, other) = (robot("deployer"), robot("another"));
    let given = robot.post(&format!("{at}/lease"), &ttl).is(201);
    assert_eq!(
        (given["value"].as_str(), given["renewable"].as_bool()),
        (Some(&*value), Some(true))
    );
    let lease = format!("/api/leases/{}", given["lease_id"]);
    assert_eq!(robot.get(&lease).is(200)["state"], "active");
    other.get(&lease).fails(404, "not_found");
    assert_eq!(other.get("/api/leases").is(200)["total"], 0);
    other.delete(&lease).fails(403, "forbidden");
    // Counted from now, and never beyond its longest.
    let longer = robot
        .post(&format!("{lease}/renew"), &json!({ "ttl_seconds": 9_999 }))
        .is(200);
    assert_eq!(longer["expires_at"], longer["max_at"]);
    robot.delete(&lease).is(204);
    robot.delete(&lease).is(204);
    eventually("it is over", || {
        Some(()).filter(|()| robot.get(&lease).is(200)["state"] == "ended")
    });
    robot.post(&format!("{lease}/renew"), &ttl).fails(409, "lease_over");
}

/// A house that is full of them.
#[test]
fn a_thousand_secrets_and_ten_thousand_leases_are_a_quick_page_and_a_quick_end() {
    let house = House::new();
    let admin = house.admin();
    keep(&house, json!({ "name": "one", "type": "token", "generate": "words" }));
    let mut db = house.database("lamplighter.db");
    let tx = db.transaction().unwrap();
    for n in 2..=1_000 {
        tx.execute(
            "INSERT INTO secrets (id, name, type, version, created_at, updated_at) VALUES (?1, ?2, 'token', 1, 0, 0)",
            rusqlite::params![n, format!("secret {n}")],
        )
        .unwrap();
        tx.execute(
            "INSERT INTO secret_versions (secret_id, number, origin, made_by, made_at) VALUES (?1, 1, 'given', 'x', 0)",
            [n],
        )
        .unwrap();
    }
    for n in 0..10_000 {
        tx.execute(
            "INSERT INTO leases (secret_id, kind, state, holder, via, version, issued_at, expires_at, max_at)
             VALUES (?1, 'copy', 'active', 'anna', 'token 1', 1, 0, ?2, ?2)",
            [1 + n % 1_000, clock::now() + if n % 2 == 0 { 0 } else { DAY }],
        )
        .unwrap();
    }
    tx.commit().unwrap();
    let ended = || -> i64 {
        let sql = "SELECT count(*) FROM leases WHERE state = 'ended'";
        house
            .database("lamplighter.db")
            .query_row(sql, [], |r| r.get(0))
            .unwrap()
    };
    eventually("half of them are over", || Some(()).filter(|()| ended() == 5_000));
    for path in [
        "/api/secrets?limit=100",
        "/api/leases?limit=100&open=1",
        "/api/secrets/7",
        "/api/secrets/7/leases",
    ] {
        let began = std::time::Instant::now();
        let answer = admin.get(path).is(200);
        println!("FIGURE {path}: {} ms", began.elapsed().as_millis());
        assert!(
            answer["total"].is_null() || answer["total"].as_i64() > Some(1),
            "{path}"
        );
    }
}

/// By the clock, within its hours; and when a copy of it comes back.
#[test]
fn another_value_comes_by_the_clock_and_when_a_leased_copy_ends() {
    let house = House::new();
    let admin = house.admin();
    let due = |name: &str, hours: &str| {
        let body = json!({ "name": name, "type": "token", "generate": "words", "plan": "rotate",
            "rotation_interval_s": 3_600, "hours": hours });
        keep(&house, body)
    };
    // Now is never within the hours that begin twelve hours from now.
    let minute = clock::now().rem_euclid(DAY) / 60_000;
    let at = |minute: i64| format!("{:02}:{:02}", minute.rem_euclid(1_440) / 60, minute.rem_euclid(60));
    let others = format!("{}-{}", at(minute + 700), at(minute + 760));
    let ((_, now), (_, later)) = (due("now", ""), due("later", &others));
    let leased = json!({ "name": "leased", "type": "token", "generate": "words", "lease_rotates": true,
        "lessees": [format!("user:{ADMIN}")] });
    let (_, leased) = keep(&house, leased);
    let ttl = json!({ "ttl_seconds": 1 });
    let given = admin.post(&format!("{leased}/lease"), &ttl).is(201);
    house.canary(given["value"].as_str().unwrap());
    let old = "UPDATE secret_versions SET made_at = made_at - 7200000 WHERE secret_id < 3";
    assert_eq!(house.database("lamplighter.db").execute(old, []).unwrap(), 2);
    let version = |at: &str| admin.get(at).is(200)["version"].as_i64().unwrap();
    eventually("another value by the clock", || {
        Some(()).filter(|()| version(&now) == 2)
    });
    eventually("another value after the lease", || {
        Some(()).filter(|()| version(&leased) == 2)
    });
    assert_eq!(version(&later), 1, "not within its hours");
    assert_ne!(reveal(&house, &leased)["value"], given["value"]);
}

/// Nobody can end it there from here any more: it ends here, and says what is left there.
#[test]
fn a_lease_whose_server_was_deleted_ends_with_a_note() {
    let house = House::new();
    let admin = house.admin();
    keep(
        &house,
        json!({ "name": "shell", "type": "password", "generate": "words" }),
    );
    let gone = admin.post("/api/servers", &server("gone", 9)).is(201)["id"].clone();
    for (kind, account, key) in [("account", "ll-abcdef", ""), ("key", "ops", "ssh-ed25519 AAAAleased")] {
        house
            .database("lamplighter.db")
            .execute(
                "INSERT INTO leases (secret_id, kind, state, holder, via, version, server_id, account, public_key, issued_at,
                   expires_at, max_at) VALUES (1, ?1, 'active', 'anna', 'token 1', 1, ?2, ?3, ?4, 0, ?5, ?5)",
                rusqlite::params![kind, gone.as_i64(), account, key, clock::now() + DAY],
            )
            .unwrap();
    }
    admin.delete("/api/secrets/1").fails(409, "secret_used");
    admin.delete(&format!("/api/servers/{gone}")).is(204);
    admin.delete("/api/secrets/1/leases").is(204);
    let said = |lease: i64| {
        eventually("it is at its end", || {
            let now = admin.get(&format!("/api/leases/{lease}")).is(200);
            Some(now["message"].as_str().unwrap().to_string()).filter(|_| now["state"] == "ended")
        })
    };
    let (account, key) = (said(1), said(2));
    assert!(account.contains("userdel -r ll-abcdef"), "{account}");
    assert!(key.contains("ssh-ed25519 AAAAleased") && key.contains("ops"), "{key}");
    // It was told once, and nothing stays red.
    eventually("the alerts are over", || {
        let sql = "SELECT count(*), count(*) FILTER (WHERE state = 'resolved') FROM alerts WHERE kind = 'lease.stuck'";
        let db = house.database("lamplighter.db");
        let all: (i64, i64) = db.query_row(sql, [], |r| Ok((r.get(0)?, r.get(1)?))).unwrap();
        Some(()).filter(|()| all == (2, 2))
    });
    admin.delete("/api/secrets/1").is(204);
}

/// In the form of a server the secret it has is chosen, stays when the form is sent, and can be taken away.
#[test]
fn a_form_shows_what_a_server_refers_to_and_can_take_it_away() {
    let house = House::new();
    let admin = house.admin();
    let body = json!({ "name": "login", "type": "password", "generate": "words", "scope": ["servers"] });
    let (id, _) = keep(&house, body);
    let mut web = server("web-1", 9);
    web["password"] = json!({ "secret_id": id });
    admin.post("/api/servers", &web).is(201);
    let mut browser = house.browser_of_admin();
    let form = browser.get("/servers/1/edit");
    assert!(
        form.body
            .contains(&format!("<option value=\"{id}\" selected>Stored secret: login")),
        "{}",
        form.body
    );
    let number = id.to_string();
    let refers = || admin.get("/api/servers/1").is(200)["secret_ids"].clone();
    let stays = [("name", "web-2"), ("password_secret_id", &*number), ("password", "")];
    assert_eq!(browser.post("/servers/1", &stays).status, 303);
    assert_eq!(refers(), json!({ "password": id }));
    let own = house.canary("a-value-typed-instead");
    let typed = [("name", "web-2"), ("password_secret_id", ""), ("password", &*own)];
    assert_eq!(browser.post("/servers/1", &typed).status, 303);
    assert_eq!(refers(), json!({}));
    assert_eq!(admin.get("/api/servers/1").is(200)["name"], "web-2");
    let fields = [
        ("name", "login"),
        ("lease_max_min", "90"),
        ("lease_rotates", "true"),
        ("rotation_days", ""),
    ];
    assert_eq!(browser.post("/secrets/1", &fields).status, 303);
    let seen = admin.get("/api/secrets/1").is(200);
    assert_eq!(
        (&seen["lease_max_s"], &seen["lease_rotates"]),
        (&json!(5_400), &json!(true))
    );
}

/// The form of an endpoint offers what is for endpoints, keeps what was chosen, and asks again where that would go elsewhere.
#[test]
fn a_form_chooses_a_secret_for_an_endpoint_and_for_the_remote_store() {
    let house = House::new();
    let admin = house.admin();
    let secret = |name: &str, scope: Value| {
        let body = json!({ "name": name, "type": "token", "generate": "words", "scope": scope });
        keep(&house, body).0
    };
    let bot = secret("bot", json!(["endpoints"]));
    let (store, other) = (
        secret("store", json!(["exporter"])),
        secret("other", json!(["servers"])),
    );
    let mut browser = house.browser_of_admin();
    let offered = |page: &str, id: i64| page.contains(&format!("<option value=\"{id}\""));
    let new = browser.get("/notifications/new?type=webhook&preset=ntfy").body;
    assert_eq!(
        [bot, store, other].map(|id| offered(&new, id)),
        [true, false, false],
        "{new}"
    );

    let number = bot.to_string();
    let url = "https://192.0.2.1";
    let wanted = [
        ("type", "webhook"),
        ("preset", "ntfy"),
        ("name", "n"),
        ("url", url),
        ("room", "r"),
        ("min_level", "INFO"),
        ("token_secret_id", &*number),
        ("token", "typed, and nothing beside a secret"),
    ];
    // What is refused comes back with the choice.
    let refused = browser.post(
        "/notifications",
        &[&wanted[..2], &[("name", "")], &wanted[3..]].concat(),
    );
    assert_eq!(refused.status, 422);
    assert!(
        refused.body.contains(&format!("<option value=\"{bot}\" selected>")),
        "{}",
        refused.body
    );
    let made = browser.post("/notifications", &wanted);
    assert_eq!(made.status, 303, "{}", made.body);
    let refers = || admin.get("/api/notifications/1").is(200)["secret_ids"].clone();
    assert_eq!(refers(), json!({ "token": bot }));
    let mut kept = vec![("name", "m"), ("url", ""), ("room", "r"), ("min_level", "INFO")];
    kept.extend([("token", ""), ("token_secret_id", &*number)]);
    assert_eq!(browser.post("/notifications/1", &kept).status, 303);
    assert_eq!(refers(), json!({ "token": bot }));
    // To another place it goes only when that is said once more.
    kept[1].1 = "https://192.0.2.2";
    let asked = browser.post("/notifications/1", &kept);
    assert_eq!(asked.status, 422);
    assert!(asked.body.contains("name=\"token_again\""), "{}", asked.body);
    kept.push(("token_again", "1"));
    assert_eq!(browser.post("/notifications/1", &kept).status, 303);
    assert_eq!(refers(), json!({ "token": bot }));

    // While it is there, the secret stays for endpoints.
    let narrow = admin.patch(&format!("/api/secrets/{bot}"), &json!({ "scope": [] }));
    let said = narrow.fails(409, "secret_used").to_string();
    assert!(said.contains("endpoint 1 (token)"), "{said}");
    let page = browser.get("/notifications/1").body;
    assert_eq!([bot, store].map(|id| offered(&page, id)), [true, false]);
    assert_eq!(
        browser
            .post(
                "/notifications/1",
                &[("name", "m"), ("room", "r"), ("token_secret_id", "")]
            )
            .status,
        303
    );
    assert_eq!(refers(), json!({}));

    // The remote store.
    let page = browser.get("/settings").body;
    assert_eq!([bot, store].map(|id| offered(&page, id)), [false, true]);
    let uses = || admin.get(&format!("/api/secrets/{store}")).is(200)["used"].clone();
    let number = store.to_string();
    for (form, used) in [
        (vec![("secret", ""), ("secret_secret_id", &*number)], 1),
        (vec![("secret", ""), ("secret_secret_id", &*number)], 1),
        (vec![("secret", ""), ("secret_secret_id", "")], 0),
    ] {
        assert_eq!(browser.post("/exporter/push-secret", &form).status, 303);
        assert_eq!(uses(), used, "{form:?}");
    }
}
