//! The fleet as one document: written out, planned, read in somewhere else, and read in again without a change.

use crate::common;

use common::*;
use serde_json::{Value, json};

fn apply(house: &House, text: &str, flags: &[&str]) -> (bool, String, String) {
    let file = house.folder.file("fleet.json", text);
    let mut args = vec!["apply", "--data-dir", house.dir(), "--file", file.to_str().unwrap()];
    args.extend(flags);
    let out = run(&args);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (out.status.success(), text(&out.stdout), text(&out.stderr))
}

fn export(house: &House) -> String {
    let out = run(&["export", "--data-dir", house.dir()]);
    assert!(out.status.success(), "{}", said(&out));
    String::from_utf8(out.stdout).unwrap()
}

/// A house with one of each.
fn full() -> House {
    let house = House::new();
    let admin = house.admin();
    let mut web = server("web-1", 22);
    web["tags"] = json!(["edge"]);
    web["password"] = json!(house.canary("the-stored-password-7"));
    admin.post("/api/servers", &web).is(201);
    admin
        .post(
            "/api/upstreams",
            &json!({ "name": "app", "targets": ["10.0.0.7:80", "[2001:db8::7]:81"] }),
        )
        .is(201);
    admin
        .post("/api/groups", &json!({ "name": "Shops", "notes": "those that sell" }))
        .is(201);
    let domain = json!({
        "domain": "münchen.example", "server_ids": [1], "upstream_id": 1, "group_id": 1, "ssl": true, "hsts": true,
        "ns_policy": "suffix:example.net", "preflight": "warn", "notes": "first",
    });
    admin.post("/api/domains", &domain).is(201);
    let shop = json!({
        "name": "shop", "kind": "http", "url": "https://shop.example/", "username": "look", "password": house.canary("its-password-9"),
        "json": [{ "path": "queue", "op": "<", "value": 5 }], "enabled": false,
    });
    admin.post("/api/services", &shop).is(201);
    let bot = json!({
        "name": "bot", "kind": "command", "server_id": 1, "command": ["/usr/bin/bot", "run"], "environment": { "TZ": "UTC" },
        "after": [1], "restart_policy": "always", "enabled": false,
    });
    admin.post("/api/services", &bot).is(201);
    house
}

#[test]
fn a_fleet_moves_to_another_house_and_a_second_time_changes_nothing() {
    let (old, new) = (full(), House::new());
    let document = export(&old);
    assert!(!document.contains("the-stored-password-7"), "no secret is in it");
    let read: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(read["domains"][0]["servers"], json!(["web-1"]));
    let services = &read["services"];
    assert_eq!(
        (&services[0]["name"], &services[1]["name"]),
        (&json!("shop"), &json!("bot")),
        "in the order of their needs"
    );
    assert_eq!(
        (&services[1]["server"], &services[1]["after"]),
        (&json!("web-1"), &json!(["shop"]))
    );
    assert!(!document.contains("its-password-9"), "no secret is in it");
    assert_eq!(old.admin().get("/api/fleet").is(200), read, "the API gives the same");

    let (ok, plan, why) = apply(&new, &document, &["--plan"]);
    assert!(ok, "{why}");
    assert!(
        plan.contains("+      \"domain\": \"münchen.example\",") && plan.contains("Plan: 6 new, 0 changed"),
        "{plan}"
    );
    assert_eq!(
        new.admin().get("/api/servers").is(200)["total"],
        0,
        "a plan changes nothing"
    );

    let (ok, done, why) = apply(&new, &document, &["--yes"]);
    assert!(ok, "{why}");
    assert_eq!(
        done.replace("Applied", "Plan"),
        plan,
        "what happens is what was planned"
    );
    assert_eq!(export(&new), document);
    let (_, again, _) = apply(&new, &document, &["--yes"]);
    assert!(
        again.contains("Applied: 0 new, 0 changed, 6 as they should be"),
        "{again}"
    );

    // A change is planned as a difference and leaves the rest alone.
    let changed = document
        .replace("\"ssl\": true", "\"ssl\": false")
        .replace("\"hsts\": true", "\"hsts\": false");
    let (_, plan, _) = apply(&new, &changed, &["--plan"]);
    assert!(
        plan.contains("-      \"hsts\": true,\n") && plan.contains("0 new, 1 changed"),
        "{plan}"
    );
    let (ok, _, why) = apply(&new, &changed, &["--yes"]);
    assert!(ok, "{why}");
    assert_eq!(export(&new), changed);

    // What the document does not name stays.
    let (_, told, _) = apply(&new, "{\"lamplighter\": 1}", &["--yes"]);
    assert!(told.contains("6 not in the document (they stay)"), "{told}");
    assert_eq!(export(&new), changed);
}

#[test]
fn a_mistake_anywhere_in_the_document_changes_nothing_and_is_named() {
    let house = full();
    let before = export(&house);
    for (from, to, told) in [
        (
            "\"host\": \"127.0.0.1\"",
            "\"host\": \"-oProxyCommand=x\"",
            "servers[0] “web-1”: host",
        ),
        ("\"port\": 80", "\"port\": 0", "upstreams[0] “app”: targets"),
        ("\"upstream\": \"app\"", "\"upstream\": \"nowhere\"", "“nowhere”"),
        ("\"web-1\"\n", "\"web-9\"\n", "“web-9”"),
        ("\"domains\": [", "\"domainz\": [", "domainz"),
        ("\"lamplighter\": 1", "\"lamplighter\": 2", "version 2"),
        ("\"preflight\": \"warn\"", "\"preflight\": \"never\"", "preflight"),
    ] {
        let wrong = before.replacen(from, to, 1);
        assert_ne!(wrong, before, "{from} is in the document");
        let (ok, _, why) = apply(&house, &wrong, &["--yes"]);
        assert!(!ok && why.contains(told), "{to}: {why}");
        assert_eq!(export(&house), before, "{to}");
    }
    let (ok, _, why) = apply(&house, &before, &[]);
    assert!(!ok && why.contains("--plan"), "{why}");
}

#[test]
fn only_an_administrator_reads_a_document_in() {
    let house = full();
    let document: Value = serde_json::from_str(&export(&house)).unwrap();
    for (role, status) in [("viewer", 403), ("operator", 403)] {
        let answer = house.somebody(role).post("/api/fleet?mode=apply", &document);
        assert_eq!(answer.status, status, "{role}");
    }
    let told = house.admin().post("/api/fleet", &document).is(200);
    assert_eq!(
        (&told["applied"], &told["same"], &told["diff"]),
        (&json!(false), &json!(6), &json!(""))
    );
}
