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
    let shown = browser.post("/secrets/1/reveal", &[reason, ("password", &house.password)]);
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
