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
            &json!({ "domains": 0, "tls": 0, "plain": 0, "failing": 0 })
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
        json!({ "domains": 3, "tls": 2, "plain": 1, "failing": 1 })
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
