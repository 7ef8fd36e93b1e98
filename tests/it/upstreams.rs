//! Upstreams over the API: validation, answers, and that an upstream in use is not deleted.

use crate::common;

use common::inputs::{body, inputs};
use common::*;
use serde_json::{Value, json};

fn total(admin: &Client) -> i64 {
    admin.get("/api/upstreams").is(200)["total"].as_i64().unwrap()
}

fn at(made: &Value) -> String {
    format!("/api/upstreams/{}", made["id"])
}

#[test]
fn an_upstream_is_added_shown_changed_and_removed() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let wanted = json!({
        "name": "shop-web", "notes": "two back ends",
        "targets": ["10.0.0.7:8080", { "host": "App.Internal", "port": "3000", "weight": 5 }, "[2001:db8::7]:80"],
    });
    let answer = admin.post("/api/upstreams", &wanted);
    let made = answer.is(201);
    assert_eq!(answer.header("location"), Some(&*at(&made)));
    assert_eq!(
        made["targets"],
        json!([
            { "host": "10.0.0.7", "port": 8080, "weight": null },
            { "host": "app.internal", "port": 3000, "weight": 5 },
            { "host": "2001:db8::7", "port": 80, "weight": null },
        ])
    );
    assert_eq!((&made["used_by"], &made["domains"]), (&json!([]), &json!(0)));
    assert_eq!(admin.get(&at(&made)).is(200), made);
    // What is not sent stays; what was got may be sent back.
    let changed = admin.patch(&at(&made), &json!({ "notes": "new" })).is(200);
    assert_eq!(
        (&changed["targets"], &changed["notes"]),
        (&made["targets"], &json!("new"))
    );
    assert_eq!(admin.put(&at(&made), &made).is(200)["targets"], made["targets"]);
    // PUT takes defaults for what is not sent; some things have none.
    let bare = admin.put(&at(&made), &json!({ "notes": "only this" }));
    bare.is(422);
    assert_eq!(bare.wrong_fields(), ["name", "targets"]);
    assert_eq!(admin.delete(&at(&made)).status, 204);
    admin.get(&at(&made)).fails(404, "not_found");
    assert_eq!(total(&admin), 0);
}

#[test]
fn hostile_targets_weights_and_names_are_refused_by_field_and_nothing_is_stored() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let refused = |wanted: &Value, field: &str| {
        let answer = admin.send("POST", "/api/upstreams", Some(("application/json", &body(wanted))));
        match answer.status {
            422 => assert_eq!(answer.wrong_fields(), [field], "{wanted}"),
            _ => drop(answer.fails(400, "bad_json")), // bytes that are no text
        }
        assert_eq!(total(&admin), 0, "{wanted} was stored");
    };
    let with = |targets: Value| json!({ "name": "web", "targets": targets });
    for bad in inputs("target", "bad") {
        refused(&with(json!([bad])), "targets");
        refused(&with(json!(["10.0.0.7:80", bad])), "targets");
    }
    for bad in inputs("port", "bad") {
        refused(&with(json!([{ "host": "10.0.0.7", "port": bad }])), "targets");
    }
    for bad in inputs("weight", "bad") {
        refused(
            &with(json!([{ "host": "10.0.0.7", "port": 80, "weight": bad }])),
            "targets",
        );
    }
    for bad in inputs("host", "bad") {
        refused(&with(json!([{ "host": bad, "port": 80 }])), "targets");
    }
    for kind in ["nginx_in_any_field", "shell_in_any_field"] {
        for bad in inputs(kind, "") {
            refused(&json!({ "name": bad, "targets": ["10.0.0.7:80"] }), "name");
            refused(&with(json!([{ "host": bad, "port": 80 }])), "targets");
        }
    }
    for bad in inputs("name", "bad") {
        refused(&json!({ "name": bad, "targets": ["10.0.0.7:80"] }), "name");
    }
    let many: Vec<_> = (1..=65).map(|n| format!("10.0.0.{n}:80")).collect();
    for targets in [
        json!([]),
        json!("10.0.0.7:80"),
        json!(many),
        json!(["10.0.0.7:80", { "host": "10.0.0.7", "port": 80, "weight": 2 }]),
        json!(["[::1]:80", "[0:0:0:0:0:0:0:1]:80"]),
        json!([["10.0.0.7:80"]]),
    ] {
        refused(&with(targets), "targets");
    }
    for good in inputs("target", "ok") {
        let made = admin.post("/api/upstreams", &with(json!([good]))).is(201);
        assert_eq!(admin.delete(&at(&made)).status, 204);
    }
    for good in inputs("weight", "ok") {
        let made = admin.post(
            "/api/upstreams",
            &with(json!([{ "host": "a", "port": 80, "weight": good }])),
        );
        let made = made.is(201);
        assert_eq!(made["targets"][0]["weight"], good);
        assert_eq!(admin.delete(&at(&made)).status, 204);
    }
    admin.post("/api/upstreams", &with(json!(many[..64]))).is(201);
}

#[test]
fn what_cannot_be_a_target_or_a_domain_yet_says_what_to_do_until_then() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let refused = |path: &str, wanted: Value| {
        let answer = admin.post(path, &wanted).is(422);
        let field = &answer["fields"][0];
        (
            field["code"].as_str().unwrap().to_string(),
            field["message"].as_str().unwrap().to_string(),
        )
    };
    for (target, code, words) in [
        ("https://10.0.0.7:8443", "target_tls", "plain HTTP, like 10.0.0.7:80"),
        (
            "http://app.internal:3000/",
            "target_link",
            "Write host:port, like app.internal:3000",
        ),
        ("10.0.0.7:80,10.0.0.8:80", "target_several", "each of them by itself"),
        ("my_app:3000", "target_container", "Publish the container's port"),
    ] {
        let (seen, say) = refused("/api/upstreams", json!({ "name": "x", "targets": ["a:1", target] }));
        assert_eq!(seen, code, "{say}");
        assert!(say.starts_with("Target 2: ") && say.contains(words), "{say}");
    }
    for typed in ["a.example, b.example", "a.example b.example", "a.example;b.example"] {
        let (seen, say) = refused("/api/domains", json!({ "domain": typed, "server_ids": [] }));
        assert_eq!(seen, "several", "{say}");
        assert!(say.contains("Add the others after this one"), "{say}");
    }
    assert_eq!(total(&admin), 0);
}

#[test]
fn two_upstreams_never_have_one_name() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let web = json!({ "name": "web", "targets": ["a:80"] });
    admin.post("/api/upstreams", &web).is(201);
    let twin = admin.post("/api/upstreams", &json!({ "name": "WEB", "targets": ["a:80"] }));
    twin.fails(409, "duplicate");
    assert_eq!(twin.wrong_fields(), ["name"]);
    assert_eq!(total(&admin), 1);
}

#[test]
fn lists_are_searched_sorted_and_paged_and_odd_questions_refused() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    for (name, target) in [
        ("web", "10.0.0.7:80"),
        ("mail", "mx.internal:25"),
        ("under_score", "10.0.0.8:80"),
    ] {
        admin
            .post("/api/upstreams", &json!({ "name": name, "targets": [target] }))
            .is(201);
    }
    let names = |query: &str| -> Vec<String> {
        let list = admin.get(&format!("/api/upstreams{query}")).is(200);
        let items = list["items"].as_array().unwrap().iter();
        items.map(|u| u["name"].as_str().unwrap().to_string()).collect()
    };
    assert_eq!(names(""), ["mail", "under_score", "web"]);
    assert_eq!(names("?sort=-name&limit=2"), ["web", "under_score"]);
    assert_eq!(names("?offset=2"), ["web"]);
    assert_eq!(names("?q=10.0.0"), ["under_score", "web"]);
    assert_eq!(names("?q=_"), ["under_score"], "a mark of LIKE is only a letter");
    assert_eq!(names("?q=internal"), ["mail"]);
    for bad in ["limit=-1", "limit=abc", "offset=-5", "sort=name;drop"] {
        admin.get(&format!("/api/upstreams?{bad}")).is(422);
    }
}

#[test]
fn an_upstream_in_use_says_by_whom_and_stays() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let web = admin
        .post("/api/upstreams", &json!({ "name": "web", "targets": ["a:80"] }))
        .is(201);
    for domain in ["пример.example", "shop.example"] {
        let wanted = json!({ "domain": domain, "upstream_id": web["id"] });
        admin.post("/api/domains", &wanted).is(201);
    }
    let shown = admin.get(&at(&web)).is(200);
    assert_eq!(shown["domains"], 2);
    let names: Vec<_> = shown["used_by"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| &d["name"])
        .collect();
    assert_eq!(names, ["shop.example", "пример.example"]);
    let refused = admin.delete(&at(&web)).fails(409, "upstream_used");
    assert!(
        refused["detail"].as_str().unwrap().contains("пример.example"),
        "{refused}"
    );
    for domain in admin.get("/api/domains").is(200)["items"].as_array().unwrap() {
        let path = format!("/api/domains/{}", domain["id"]);
        admin.patch(&path, &json!({ "upstream_id": null })).is(200);
    }
    assert_eq!(admin.delete(&at(&web)).status, 204);
}

#[test]
fn who_may_only_look_changes_nothing() {
    let house = House::with(Processes::ApiOnly, &[]);
    let web = json!({ "name": "web", "targets": ["a:80"] });
    let made = house.admin().post("/api/upstreams", &web).is(201);
    let viewer = house.somebody("viewer");
    viewer.get("/api/upstreams").is(200);
    viewer.get(&at(&made)).is(200);
    for answer in [
        viewer.post("/api/upstreams", &web),
        viewer.put(&at(&made), &web),
        viewer.patch(&at(&made), &json!({ "notes": "x" })),
        viewer.delete(&at(&made)),
    ] {
        answer.fails(403, "forbidden");
    }
    house.client().get("/api/upstreams").is(401);
    assert_eq!(house.admin().get(&at(&made)).is(200), made);
    let operator = house.somebody("operator");
    assert_eq!(operator.delete(&at(&made)).status, 204);
}
