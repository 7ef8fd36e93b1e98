//! Groups of domains over the API: their counters, and that deleting one deletes nothing in it.

use crate::common;

use common::inputs::{body, inputs};
use common::*;
use serde_json::{Value, json};

fn at(made: &Value) -> String {
    format!("/api/groups/{}", made["id"])
}

fn add(admin: &Client, name: &str) -> Value {
    admin.post("/api/groups", &json!({ "name": name })).is(201)
}

#[test]
fn a_group_is_added_renamed_and_removed() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let shops = add(&admin, "Магазины");
    assert_eq!(
        (&shops["kind"], &shops["counts"]),
        (
            &json!("domain"),
            &json!({ "domains": 0, "tls": 0, "plain": 0, "failing": 0, "hosts": 0 })
        )
    );
    let twin = admin.post("/api/groups", &json!({ "name": "Магазины" }));
    twin.fails(409, "duplicate");
    assert_eq!(twin.wrong_fields(), ["name"]);
    // The same name for another kind of things is another group.
    admin
        .post("/api/groups", &json!({ "name": "Магазины", "kind": "host" }))
        .is(201);
    let renamed = admin.patch(&at(&shops), &json!({ "name": "Shops" })).is(200);
    assert_eq!(renamed["name"], "Shops");
    assert_eq!(admin.put(&at(&shops), &renamed).is(200)["name"], "Shops");
    let other_kind = admin.patch(&at(&shops), &json!({ "kind": "host" }));
    other_kind.is(422);
    assert_eq!(other_kind.wrong_fields(), ["kind"]);
    for (query, count) in [
        ("", 2),
        ("?kind=domain", 1),
        ("?kind=host", 1),
        ("?q=shop", 1),
        ("?q=none", 0),
    ] {
        assert_eq!(
            admin.get(&format!("/api/groups{query}")).is(200)["total"],
            count,
            "{query}"
        );
    }
    admin.get("/api/groups?kind=cat").is(422);
    admin.delete(&at(&shops)).is(200);
    admin.get(&at(&shops)).fails(404, "not_found");
}

#[test]
fn the_counters_tell_what_is_in_a_group_and_what_needs_somebody() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let (shops, other) = (add(&admin, "shops"), add(&admin, "other"));
    for (name, ssl) in [("a.example", true), ("b.example", true), ("c.example", false)] {
        let wanted = json!({ "domain": name, "ssl": ssl, "group_id": shops["id"] });
        admin.post("/api/domains", &wanted).is(201);
    }
    house
        .database("lamplighter.db")
        .execute(
            "UPDATE domains SET ns_state = 'mismatch', cert_state = 'bad' WHERE domain = 'b.example'",
            [],
        )
        .unwrap();
    let counted = admin.get(&at(&shops)).is(200);
    assert_eq!(
        counted["counts"],
        json!({ "domains": 3, "tls": 2, "plain": 1, "failing": 1, "hosts": 0 })
    );
    assert_eq!(admin.get(&at(&other)).is(200)["counts"]["domains"], 0);
    // Its domains stay, and say that they are in no group.
    assert_eq!(admin.delete(&at(&shops)).is(200)["domains_freed"], 3);
    let left = admin.get("/api/domains").is(200);
    assert_eq!(left["total"], 3);
    assert!(
        left["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|d| d["group_id"].is_null())
    );
}

#[test]
fn hostile_names_are_refused_or_stay_text() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let post = |name: &Value| {
        let wanted = json!({ "name": name });
        admin.send("POST", "/api/groups", Some(("application/json", &body(&wanted))))
    };
    for bad in inputs("name", "bad") {
        let answer = post(&bad);
        match answer.status {
            422 => assert_eq!(answer.wrong_fields(), ["name"], "{bad}"),
            _ => drop(answer.fails(400, "bad_json")),
        }
        assert_eq!(admin.get("/api/groups").is(200)["total"], 0, "{bad} was stored");
    }
    let browser = house
        .client()
        .by(Who::cookie(&house.sign_in(ADMIN, &house.password), house.address));
    for odd in inputs("name", "ok").iter().chain(&inputs("name", "safe")) {
        let made = post(odd).is(201);
        assert_eq!(&made["name"], odd);
        let page = browser.get("/groups");
        assert_eq!(page.status, 200);
        let text = odd.as_str().unwrap();
        assert!(
            !text.contains('<') || !page.text().contains(text),
            "{text} stands in the page as it is"
        );
        admin.delete(&at(&made)).is(200);
    }
}

#[test]
fn who_may_only_look_changes_nothing() {
    let house = House::with(Processes::ApiOnly, &[]);
    let made = add(&house.admin(), "shops");
    let viewer = house.somebody("viewer");
    viewer.get("/api/groups").is(200);
    for answer in [
        viewer.post("/api/groups", &json!({ "name": "x" })),
        viewer.patch(&at(&made), &json!({ "name": "x" })),
        viewer.delete(&at(&made)),
    ] {
        answer.fails(403, "forbidden");
    }
    assert_eq!(house.admin().get(&at(&made)).is(200), made);
}

/// Ids of the servers of a group.
fn members(admin: &Client, at: &str) -> Vec<i64> {
    let shown = admin.get(at).is(200);
    let ids = shown["server_ids"].as_array().unwrap();
    assert_eq!(shown["counts"]["hosts"], ids.len(), "{shown}");
    ids.iter().map(|id| id.as_i64().unwrap()).collect()
}

fn host(admin: &Client, name: &str, tags: &[&str], environment: &str) -> i64 {
    let mut wanted = server(name, 9);
    wanted["tags"] = json!(tags);
    wanted["environment"] = json!(environment);
    admin.post("/api/hosts", &wanted).is(201)["id"].as_i64().unwrap()
}

#[test]
fn a_group_of_hosts_has_the_servers_that_are_said() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let (a, b) = (host(&admin, "web-1", &[], ""), host(&admin, "web-2", &[], ""));
    let made = admin
        .post("/api/groups", &json!({ "name": "web", "hosts": [b, a] }))
        .is(201);
    assert_eq!((&made["kind"], &made["type"]), (&json!("host"), &json!("static")));
    let group = at(&made);
    assert_eq!(members(&admin, &group), [a, b]);
    let same = admin.get(&group).is(200);
    assert_eq!(admin.put(&group, &same).is(200)["server_ids"], json!([a, b]));
    admin.patch(&group, &json!({ "server_ids": [b] })).is(200);
    assert_eq!(members(&admin, &group), [b]);
    let unknown = admin.patch(&group, &json!({ "server_ids": [b, 999] }));
    unknown.is(422);
    assert_eq!(
        (unknown.wrong_fields(), members(&admin, &group)),
        (vec!["server_ids".to_string()], vec![b])
    );
    // Nothing is found here, so a recalculation changes nothing; of domains there is none.
    let told = admin.post(&format!("{group}/recalculate"), &json!({})).is(200);
    assert_eq!(told, json!({ "added": [], "removed": [], "total": 1 }));
    let domains = at(&add(&admin, "shops"));
    admin
        .post(&format!("{domains}/recalculate"), &json!({}))
        .fails(409, "group_of_domains");
    assert_eq!(admin.patch(&domains, &json!({ "server_ids": [a] })).status, 422);
    // A deleted server is in no group, and a deleted group takes no server with it.
    admin.delete(&format!("/api/hosts/{b}")).is(204);
    assert_eq!(members(&admin, &group), Vec::<i64>::new());
    admin.patch(&group, &json!({ "server_ids": [a] })).is(200);
    admin.delete(&group).is(200);
    admin.get(&format!("/api/hosts/{a}")).is(200);
}

#[test]
fn a_group_by_rule_finds_its_members_and_keeps_finding_them() {
    let house = House::new();
    let admin = house.admin();
    let (a, b) = (
        host(&admin, "web-1", &["Web"], "prod"),
        host(&admin, "web-2", &["web"], "stage"),
    );
    let db = host(&admin, "db-1", &["db"], "prod");
    let is = |field: &str, op: &str, value: Value| json!({ "field": field, "op": op, "value": value });
    let web = is("tags", "contains", json!("web"));
    let prod = json!({ "all": [web, is("environment", "eq", json!("prod"))] });
    let looked = admin.post("/api/groups/preview", &json!({ "rule": web })).is(200);
    assert_eq!(
        looked,
        json!({ "items": [{ "id": a, "name": "web-1" }, { "id": b, "name": "web-2" }], "total": 2 })
    );
    let made = admin
        .post("/api/groups", &json!({ "name": "web in prod", "rule_json": prod }))
        .is(201);
    assert_eq!(
        (&made["kind"], &made["type"], &made["rule"]),
        (&json!("host"), &json!("dynamic"), &prod)
    );
    let group = at(&made);
    assert_eq!(members(&admin, &group), [a]);
    assert_eq!(admin.put(&group, &made).is(200)["rule"], prod);
    // A server that is changed, or new, comes in or goes out by itself.
    let comes = |ids: &[i64]| {
        eventually("the rule is followed", || {
            (members(&admin, &group) == ids).then_some(())
        })
    };
    admin
        .patch(&format!("/api/hosts/{b}"), &json!({ "environment": "prod" }))
        .is(200);
    comes(&[a, b]);
    admin
        .patch(&format!("/api/servers/{a}"), &json!({ "tags": [] }))
        .is(200);
    comes(&[b]);
    let new = host(&admin, "web-3", &["web"], "prod");
    comes(&[b, new]);
    // What is found out about servers is asked for, too.
    house
        .database("lamplighter.db")
        .execute(
            "UPDATE servers SET facts = '{\"os\":\"debian 12\"}' WHERE id = ?1",
            [db],
        )
        .unwrap();
    admin
        .patch(&group, &json!({ "rule": is("facts.os", "glob", json!("debian *")) }))
        .is(200);
    assert_eq!(members(&admin, &group), [db]);
    house
        .database("lamplighter.db")
        .execute("UPDATE servers SET facts = '{\"os\":\"debian 12\"}' WHERE id = ?1", [a])
        .unwrap();
    let told = admin.post(&format!("{group}/recalculate"), &json!({})).is(200);
    assert_eq!(told, json!({ "added": [a], "removed": [], "total": 2 }));
    // A group that is made static keeps whom it has.
    admin.patch(&group, &json!({ "type": "static" })).is(200);
    assert_eq!(members(&admin, &group), [a, db]);
}

#[test]
fn a_bad_rule_is_refused_and_says_why() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let good = json!({ "field": "name", "op": "prefix", "value": "web" });
    let deep = (0..5).fold(good.clone(), |rule, _| json!({ "not": rule }));
    for bad in [
        json!({ "field": "password", "op": "exists" }),
        json!({ "field": "name", "op": "regex", "value": "^(a+)+$" }),
        json!({ "any": [] }),
        json!("{"),
        json!([good]),
        deep,
    ] {
        for (path, body) in [
            ("/api/groups", json!({ "name": "x", "rule": bad })),
            ("/api/groups/preview", json!({ "rule": bad })),
        ] {
            let answer = admin.post(path, &body);
            answer.is(422);
            assert_eq!(answer.wrong_fields(), ["rule"], "{path} {bad}");
        }
    }
    for bad in [
        json!({ "name": "x", "type": "dynamic" }),
        json!({ "name": "x", "type": "static", "rule": good }),
        json!({ "name": "x", "kind": "domain", "rule": good }),
        json!({ "name": "x", "server_ids": [999] }),
    ] {
        assert_eq!(admin.post("/api/groups", &bad).status, 422, "{bad}");
    }
}

#[test]
fn whoever_may_not_read_servers_asks_for_none_by_a_rule() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    host(&admin, "web-1", &["web"], "");
    let made = admin.post(
        "/api/tokens",
        &json!({ "name": "groups", "scopes": ["groups:edit", "groups:read"] }),
    );
    let token = made.is(201)["token"].as_str().unwrap().to_string();
    let program = house.client().by(Who::Bearer(token));
    let rule = json!({ "field": "name", "op": "prefix", "value": "web" });
    program.post("/api/groups/preview", &json!({ "rule": rule })).is(403);
    program
        .post("/api/groups", &json!({ "name": "x", "rule": rule }))
        .is(403);
    program
        .post("/api/groups", &json!({ "name": "x", "server_ids": [1] }))
        .is(403);
    program.post("/api/groups", &json!({ "name": "x" })).is(201);
}

#[test]
fn a_group_may_ask_for_figures_updates_and_certificates() {
    let house = House::new();
    let admin = house.admin();
    let (full, idle) = (host(&admin, "web-1", &["web"], ""), host(&admin, "web-2", &["web"], ""));
    let db = host(&admin, "db-1", &["db"], "");
    let is = |field: &str, op: &str, value: Value| json!({ "field": field, "op": op, "value": value });
    let group = admin
        .post(
            "/api/groups",
            &json!({ "name": "full", "rule": { "all": [is("tags", "contains", json!("web")), is("disk", "gt", json!(80))] } }),
        )
        .is(201);
    let group = at(&group);
    assert_eq!(members(&admin, &group), Vec::<i64>::new(), "nobody was polled");
    for (server, disk) in [(full, 91.5), (idle, 40.0), (db, 99.0)] {
        house
            .database("metrics.db")
            .execute(
                "INSERT INTO server_latest (server, at_ms, took_ms, sample, spark, disks) VALUES (?1, 1, 1, ?2, x'', '[]')",
                rusqlite::params![server, json!({ "disk_max_percent": disk }).to_string()],
            )
            .unwrap();
    }
    let told = admin.post(&format!("{group}/recalculate"), &json!({})).is(200);
    assert_eq!(told, json!({ "added": [full], "removed": [], "total": 1 }));
    // Of a certificate, its days; of updates, how many wait.
    let domain = admin.post("/api/domains", &json!({ "domain": "a.example" })).is(201)["id"].clone();
    let state = house.database("lamplighter.db");
    let soon = lamplighter::base::clock::now() + 9 * 86_400_000 + 1_000_000;
    state.execute("UPDATE domains SET cert_not_after = ?1", [soon]).unwrap();
    state
        .execute(
            "INSERT INTO domain_sites (domain_id, server_id, position) VALUES (?1, ?2, 0)",
            rusqlite::params![domain.as_i64(), idle],
        )
        .unwrap();
    state
        .execute(
            "UPDATE servers SET facts = '{\"updates\":\"7\"}', glances_api = 3 WHERE id = ?1",
            [db],
        )
        .unwrap();
    let found = |rule: Value| {
        let looked = admin.post("/api/groups/preview", &json!({ "rule": rule })).is(200);
        let ids = looked["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|host| host["id"].as_i64().unwrap());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(found(is("cert_days", "lt", json!(14))), [idle]);
    assert_eq!(found(is("cert_days", "lt", json!(9))), Vec::<i64>::new());
    assert_eq!(found(is("updates", "gt", json!(0))), [db]);
    assert_eq!(found(is("glances", "lt", json!(4))), [db]);
    assert_eq!(found(is("status", "eq", json!("unknown"))).len(), 3);
    // Groups are no field of groups: they would ask for each other.
    admin
        .post(
            "/api/groups/preview",
            &json!({ "rule": is("groups", "in", json!([1])) }),
        )
        .is(422);
}

#[test]
fn whoever_changes_tags_is_heard() {
    let house = House::new();
    let admin = house.admin();
    let web = host(&admin, "web-1", &["web", "old"], "");
    let change = |tags: Value| {
        admin
            .patch(&format!("/api/hosts/{web}"), &json!({ "tags": tags }))
            .is(200)
    };
    change(json!(["eu", "web"]));
    change(json!(["web", "eu"]));
    let told = house.event_data("server.tags_changed");
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(
        (&told[0]["added"], &told[0]["removed"]),
        (&json!(["eu"]), &json!(["old"]))
    );
}

#[test]
fn a_group_of_hosts_is_made_and_changed_on_its_page() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let web = host(&admin, "web-1", &["web"], "");
    let mut browser = house.browser();
    browser.sign_in(ADMIN, &house.password);
    let list = browser.get("/groups?kind=host");
    assert!(
        list.has("name=\"rule\"") && list.has("data-preview=\"/groups/preview\""),
        "{}",
        list.body
    );
    let rule = json!({ "field": "tags", "op": "contains", "value": "web" }).to_string();
    let wrong = browser.post(
        "/groups",
        &[
            ("kind", "host"),
            ("name", "web"),
            ("type", "dynamic"),
            ("rule", "{\"field\":1}"),
        ],
    );
    assert!(wrong.status == 422 && wrong.has("id=\"rule-e\""), "{}", wrong.body);
    let made = browser.post(
        "/groups",
        &[("kind", "host"), ("name", "web"), ("type", "dynamic"), ("rule", &rule)],
    );
    assert_eq!(made.status, 303);
    let page = browser.get("/groups/1");
    assert!(
        page.has("tags contains web") && page.has(&format!("href=\"/servers/{web}\"")),
        "{}",
        page.body
    );
    assert_eq!(browser.post("/groups/1/recalculate", &[]).status, 303);
    let wrong = browser.post(
        "/groups/1",
        &[("name", "web"), ("type", "static"), ("servers", "web-9")],
    );
    assert!(wrong.status == 422 && wrong.has("id=\"servers-e\""));
    let named = browser.post(
        "/groups/1",
        &[("name", "some"), ("type", "static"), ("servers", "web-1\r\n")],
    );
    assert_eq!(named.status, 303);
    let group = admin.get("/api/groups/1").is(200);
    assert_eq!(
        (&group["type"], &group["server_ids"]),
        (&json!("static"), &json!([web]))
    );
    assert_eq!(browser.post("/groups/1/delete", &[]).status, 303);
    admin.get("/api/groups/1").is(404);
}
