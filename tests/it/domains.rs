//! Domains over the API: names of any script, where they are served, what refuses to be stored, and what stays when one is
//! deleted.

use crate::common;

use common::inputs::{body, inputs};
use common::*;
use lamplighter::base::clock::rfc3339;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::TcpListener;

fn at(made: &Value) -> String {
    format!("/api/domains/{}", made["id"])
}

fn total(admin: &Client) -> i64 {
    admin.get("/api/domains").is(200)["total"].as_i64().unwrap()
}

/// Two servers and an upstream, for domains to refer to.
struct Street {
    house: House,
    admin: Client,
    servers: [Value; 2],
    upstream: Value,
}

fn street() -> Street {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let servers = ["edge-1", "edge-2"].map(|n| admin.post("/api/servers", &server(n, 9)).is(201)["id"].clone());
    let upstream = json!({ "name": "web", "targets": ["10.0.0.7:80"] });
    let upstream = admin.post("/api/upstreams", &upstream).is(201)["id"].clone();
    Street {
        house,
        admin,
        servers,
        upstream,
    }
}

impl Street {
    /// As if it had been deployed: a file of this name lies on the server.
    fn lay(&self, domain: &Value, server: &Value, name: &str) {
        let done = self.house.database("lamplighter.db").execute(
            "UPDATE domain_sites SET name = ?3, state = 'live', generation = 1, deployed_at = 1 WHERE domain_id = ?1 AND server_id = ?2",
            (domain["id"].as_i64(), server.as_i64(), name),
        );
        assert_eq!(done, Ok(1));
    }

    fn sites(&self, domain: &Value) -> Vec<(i64, bool)> {
        let shown = self.admin.get(&at(domain)).is(200);
        let sites = shown["sites"].as_array().unwrap().iter();
        sites
            .map(|s| (s["server_id"].as_i64().unwrap(), s["wanted"].as_bool().unwrap()))
            .collect()
    }
}

#[test]
fn a_domain_is_added_shown_changed_and_removed() {
    let street = street();
    let admin = &street.admin;
    let group = admin.post("/api/groups", &json!({ "name": "shops" })).is(201);
    let wanted = json!({
        "domain": "Магазин.Example.", "server_ids": street.servers, "upstream_id": street.upstream,
        "group_id": group["id"], "ssl": true, "hsts": true, "ns_policy": "Suffix:dnspod.net.", "preflight": "warn",
        "notes": "first\nand second line",
    });
    let answer = admin.post("/api/domains", &wanted);
    let made = answer.is(201);
    assert_eq!(answer.header("location"), Some(&*at(&made)));
    for (field, value) in [
        ("domain", json!("xn--80aairftm.example")),
        ("domain_unicode", json!("магазин.example")),
        ("server_ids", json!(street.servers)),
        ("server_id", Value::Null),
        ("upstream", json!("web")),
        ("group", json!("shops")),
        ("certificate_id", Value::Null),
        ("ns_policy", json!("suffix:dnspod.net")),
        ("preflight", json!("warn")),
        ("state", json!("unlit")),
        ("reason", json!("not_deployed")),
        ("ns_state", json!("unknown")),
        ("removing", json!(false)),
    ] {
        assert_eq!(made[field], value, "{field}");
    }
    assert_eq!(admin.get(&at(&made)).is(200), made);
    // What is not sent stays; what was got may be sent back.
    let changed = admin.patch(&at(&made), &json!({ "notes": "new" })).is(200);
    assert_eq!(
        (&changed["server_ids"], &changed["hsts"]),
        (&made["server_ids"], &json!(true))
    );
    let back = admin.put(&at(&made), &made).is(200);
    assert_eq!((&back["notes"], &back["sites"]), (&made["notes"], &made["sites"]));
    // PUT takes defaults for what is not sent; one server may be named alone.
    let put = json!({ "domain": "other.example", "server_id": street.servers[1] });
    let put = admin.put(&at(&made), &put).is(200);
    assert_eq!(put["domain"], "other.example");
    assert_eq!(
        (&put["server_id"], &put["server_ids"]),
        (&street.servers[1], &json!([street.servers[1]]))
    );
    assert_eq!(
        (&put["ssl"], &put["upstream_id"], &put["preflight"]),
        (&json!(false), &Value::Null, &json!("strict"))
    );
    admin.put(&at(&made), &put).is(200);
    let nameless = admin.put(&at(&made), &json!({ "ssl": "maybe" }));
    nameless.is(422);
    assert_eq!(
        nameless.wrong_fields(),
        ["ssl", "domain"]
            .map(String::from)
            .into_iter()
            .rev()
            .collect::<Vec<_>>()
    );
    assert_eq!(admin.delete(&at(&made)).status, 204);
    admin.get(&at(&made)).fails(404, "not_found");
    assert_eq!(total(admin), 0);
}

#[test]
fn one_name_is_one_domain_however_it_is_written() {
    let street = street();
    let admin = &street.admin;
    admin
        .post("/api/domains", &json!({ "domain": "bücher.example" }))
        .is(201);
    for twin in [
        "BÜCHER.example",
        "xn--bcher-kva.example",
        "XN--BCHER-KVA.EXAMPLE.",
        " bücher.example ",
    ] {
        let answer = admin.post("/api/domains", &json!({ "domain": twin }));
        answer.fails(409, "duplicate");
        assert_eq!(answer.wrong_fields(), ["domain"], "{twin}");
    }
    // A look-alike is another name, taken only when it is spelt out.
    let alike = "pаypal.example"; // with a Cyrillic а
    let answer = admin.post("/api/domains", &json!({ "domain": alike }));
    answer.is(422);
    assert!(answer.text().contains("look alike"), "{}", answer.text());
    let spelt = admin
        .post("/api/domains", &json!({ "domain": "xn--pypal-4ve.example" }))
        .is(201);
    assert_eq!(spelt["domain_unicode"], "xn--pypal-4ve.example");
}

#[test]
fn every_hostile_value_gets_a_field_error_and_changes_nothing() {
    let street = street();
    let admin = &street.admin;
    let good = json!({ "domain": "good.example", "server_ids": [street.servers[0]], "upstream_id": street.upstream });
    let made = admin.post("/api/domains", &good).is(201);
    let refused = |field: &str, bad: &Value| {
        for (method, path, mut wanted) in [
            ("POST", "/api/domains".to_string(), json!({ "domain": "fresh.example" })),
            ("PATCH", at(&made), json!({})),
        ] {
            wanted[field] = bad.clone();
            let answer = admin.send(method, &path, Some(("application/json", &body(&wanted))));
            match answer.status {
                422 => assert_eq!(
                    answer.wrong_fields(),
                    [field],
                    "{method} {field} {bad}: {}",
                    answer.text()
                ),
                _ => drop(answer.fails(400, "bad_json")), // bytes that are no text
            }
            assert_eq!(total(admin), 1, "{field} {bad} was stored");
        }
        assert_eq!(admin.get(&at(&made)).is(200), made, "{field} {bad} changed something");
    };
    let nasty: Vec<Value> = ["nginx_in_any_field", "shell_in_any_field"]
        .iter()
        .flat_map(|kind| inputs(kind, ""))
        .collect();
    let blank = |bad: &Value| bad.as_str().is_some_and(|t| t.trim().is_empty());
    for bad in nasty.iter().chain(&inputs("name", "bad")).filter(|bad| !blank(bad)) {
        refused("ns_policy", bad);
    }
    for bad in nasty
        .iter()
        .chain(&inputs("name", "bad"))
        .chain(&inputs("target", "bad"))
    {
        refused("domain", bad);
        refused("preflight", bad);
        for field in ["upstream_id", "group_id", "certificate_id"] {
            if bad != "" {
                refused(field, bad);
            }
        }
        refused("server_ids", &json!([bad]));
        refused("ssl", bad);
        refused("hsts", bad);
    }
    for bad in inputs("host", "bad").iter().chain(&inputs("host", "ok")) {
        let is_site = bad
            .as_str()
            .is_some_and(|t| ["host.example.net", "xn--e1afmkfd.xn--p1ai"].contains(&t));
        if !is_site {
            refused("domain", bad);
        }
    }
    for bad in inputs("port", "bad") {
        if bad.is_null() || bad == "" {
            continue; // no upstream
        }
        refused("upstream_id", &bad);
    }
    for (field, bad) in [
        ("upstream_id", json!(999)),
        ("group_id", json!(999)),
        ("certificate_id", json!(999)),
        ("server_ids", json!([street.servers[0], 999])),
        ("server_ids", json!((1..=65).collect::<Vec<_>>())),
        ("server_ids", json!({ "0": 1 })),
        ("hsts", json!(true)),
        ("notes", json!("x".repeat(2_001))),
        ("notes", json!(1)),
        ("domain", Value::Null),
        ("domain", json!(["a.example"])),
        ("preflight", Value::Null),
    ] {
        refused(field, &bad);
    }
    // A group of servers is no group of domains.
    let hosts = admin
        .post("/api/groups", &json!({ "name": "hosts", "kind": "host" }))
        .is(201);
    refused("group_id", &hosts["id"]);
    let typo = admin.post("/api/domains", &json!({ "domain": "a.example", "sll": true }));
    typo.fails(422, "unknown_field");
    let two = json!({ "domain": "a.example", "server_id": street.servers[0], "server_ids": [street.servers[1]] });
    let two = admin.post("/api/domains", &two);
    two.is(422);
    assert_eq!(two.wrong_fields(), ["server_id"]);
    // Several mistakes: all at once.
    let many = admin.post(
        "/api/domains",
        &json!({ "domain": "a b", "ssl": 1, "ns_policy": "*", "preflight": "no", "upstream_id": -1 }),
    );
    many.is(422);
    let wrong: BTreeSet<_> = many.wrong_fields().into_iter().collect();
    assert_eq!(
        wrong,
        ["domain", "ns_policy", "preflight", "ssl", "upstream_id"]
            .map(String::from)
            .into()
    );
    assert_eq!(total(admin), 1);
}

#[test]
fn a_list_is_filtered_by_everything_and_found_in_both_scripts() {
    let street = street();
    let admin = &street.admin;
    let [one, two] = &street.servers;
    let group = admin.post("/api/groups", &json!({ "name": "g" })).is(201)["id"].clone();
    for wanted in [
        json!({ "domain": "bücher.example", "server_id": one, "ssl": true, "group_id": group }),
        json!({ "domain": "магазин.example", "server_ids": [one, two], "upstream_id": street.upstream }),
        json!({ "domain": "plain.example", "server_id": two, "notes": "Für alle" }),
    ] {
        admin.post("/api/domains", &wanted).is(201);
    }
    let names = |query: &str| -> Vec<String> {
        let list = admin.get(&format!("/api/domains?{query}")).is(200);
        let items = list["items"].as_array().unwrap().iter();
        items
            .map(|d| d["domain_unicode"].as_str().unwrap().to_string())
            .collect()
    };
    let all = ["plain.example", "магазин.example", "bücher.example"]; // by the stored form
    assert_eq!(names(""), all);
    assert_eq!(names("sort=-domain&limit=1"), ["bücher.example"]);
    assert_eq!(names("offset=1&limit=1"), ["магазин.example"]);
    assert_eq!(
        names(&format!("server_id={one}")),
        ["магазин.example", "bücher.example"]
    );
    assert_eq!(
        names(&format!("server_id={two}&ssl=false")),
        ["plain.example", "магазин.example"]
    );
    assert_eq!(names(&format!("upstream_id={}", street.upstream)), ["магазин.example"]);
    assert_eq!(names(&format!("group_id={group}")), ["bücher.example"]);
    assert_eq!(names("ssl=true"), ["bücher.example"]);
    assert_eq!(names("q=%D0%9C%D0%B0%D0%B3%D0%B0"), ["магазин.example"], "Мага");
    assert_eq!(names("q=B%C3%BCch"), ["bücher.example"]);
    assert_eq!(names("q=xn--bch"), ["bücher.example"]);
    assert_eq!(names("q=f%C3%BCr"), ["plain.example"]);
    assert_eq!(names("q=%25"), [""; 0]);
    assert_eq!(names("state=unlit"), all);
    assert_eq!(names("state=lit"), [""; 0]);
    assert_eq!(admin.get("/api/domains?limit=1").is(200)["total"], 3);
    assert_eq!(admin.get("/api/domains?q=example&limit=1").is(200)["total"], 3);
    for bad in [
        "limit=-1",
        "offset=-5",
        "sort=name;drop",
        "ssl=maybe",
        "state=broken",
        "group_id=x",
        "server_id=0",
    ] {
        admin.get(&format!("/api/domains?{bad}")).is(422);
    }
}

#[test]
fn a_server_that_is_wanted_no_more_is_remembered_until_its_file_is_gone() {
    let street = street();
    let admin = &street.admin;
    let [one, two] = &street.servers;
    let [a, b] = [one, two].map(|s| s.as_i64().unwrap());
    let made = json!({ "domain": "shop.example", "server_ids": [one, two], "upstream_id": street.upstream });
    let made = admin.post("/api/domains", &made).is(201);
    street.lay(&made, one, "shop.example");
    // Nothing lies on the second: it is forgotten. On the first lies a file: it must be taken off.
    admin.patch(&at(&made), &json!({ "server_ids": [] })).is(200);
    assert_eq!(street.sites(&made), [(a, false)]);
    assert_eq!(admin.get(&at(&made)).is(200)["server_ids"], json!([]));
    let both = admin.patch(&at(&made), &json!({ "server_ids": [two, one] })).is(200);
    assert_eq!(street.sites(&made), [(b, true), (a, true)], "in the order given");
    assert_eq!(both["reason"], "partly");
    // A new name does not lose the file that has the old one.
    let renamed = admin.patch(&at(&made), &json!({ "domain": "store.example" })).is(200);
    assert_eq!(
        (&renamed["sites"][1]["name"], &renamed["domain"]),
        (&json!("shop.example"), &json!("store.example"))
    );
    // A server that serves something stays.
    for id in [one, two] {
        let refused = admin.delete(&format!("/api/servers/{id}"));
        let told = refused.is(409);
        if told["error_code"] != "task_open" {
            assert_eq!(told["error_code"], "server_used", "{told}");
            assert!(told["detail"].as_str().unwrap().contains("store.example"), "{told}");
        }
    }
}

#[test]
fn a_domain_that_lies_on_a_server_is_taken_off_it_before_it_is_forgotten() {
    let street = street();
    let admin = &street.admin;
    let made = json!({ "domain": "пример.example", "server_ids": [street.servers[0]], "upstream_id": street.upstream });
    let made = admin.post("/api/domains", &made).is(201);
    street.lay(&made, &street.servers[0], "xn--e1afmkfd.example");
    let answer = admin.delete(&at(&made));
    let task = answer.is(202)["task_id"].clone();
    let task = admin.get(&format!("/api/tasks/{task}")).is(200);
    assert_eq!(
        (&task["kind"], &task["target"]["name"]),
        (&json!("domain.remove"), &json!("пример.example")),
        "{task}"
    );
    let shown = admin.get(&at(&made)).is(200);
    assert_eq!(
        (&shown["removing"], &shown["reason"]),
        (&json!(true), &json!("removing"))
    );
    admin
        .patch(&at(&made), &json!({ "notes": "x" }))
        .fails(409, "domain_removing");
    admin.delete(&at(&made)).fails(409, "task_open");
    let bulk = json!({ "ids": [made["id"]], "action": "deploy" });
    let bulk = admin.post("/api/domains/bulk", &bulk).is(202);
    assert_eq!(bulk["refused"][0]["code"], "domain_removing", "{bulk}");
    assert_eq!(total(admin), 1);
}

#[test]
fn many_are_deployed_at_once_and_who_cannot_be_says_why() {
    let street = street();
    let admin = &street.admin;
    let [one, _] = &street.servers;
    let ids: Vec<Value> = [
        json!({ "domain": "ready.example", "server_id": one, "upstream_id": street.upstream }),
        json!({ "domain": "nowhere.example", "upstream_id": street.upstream }),
        json!({ "domain": "empty.example", "server_id": one }),
    ]
    .iter()
    .map(|wanted| admin.post("/api/domains", wanted).is(201)["id"].clone())
    .collect();
    let mut asked = ids.clone();
    asked.extend([ids[0].clone(), json!(999)]);
    let bulk = admin
        .post("/api/domains/bulk", &json!({ "ids": asked, "action": "deploy" }))
        .is(202);
    let started: Vec<_> = bulk["tasks"].as_array().unwrap().iter().map(|t| &t["id"]).collect();
    assert_eq!(started, [&ids[0]]);
    let codes: Vec<_> = bulk["refused"].as_array().unwrap().iter().map(|r| &r["code"]).collect();
    assert_eq!(codes, ["no_server", "no_upstream", "not_found"]);
    assert_eq!(bulk["refused"][0]["name"], "nowhere.example");
    let twice = admin
        .post("/api/domains/bulk", &json!({ "ids": [ids[0]], "action": "deploy" }))
        .is(202);
    assert_eq!(twice["refused"][0]["code"], "task_open");
    for (bad, field) in [
        (json!({ "ids": [], "action": "deploy" }), "ids"),
        (json!({ "ids": [0], "action": "deploy" }), "ids"),
        (json!({ "ids": ["1; drop"], "action": "deploy" }), "ids"),
        (json!({ "action": "deploy" }), "ids"),
        (json!({ "ids": [1], "action": "destroy" }), "action"),
        (json!({ "ids": [1] }), "action"),
    ] {
        let answer = admin.post("/api/domains/bulk", &bad);
        answer.is(422);
        assert_eq!(answer.wrong_fields(), [field], "{bad}");
    }
}

#[test]
fn what_the_watches_push_shows_and_disturbs_nobody_who_edits() {
    use lamplighter::base::id::Id;
    use lamplighter::db::{Db, Durability, schema};
    use lamplighter::features::proxy::domains;

    let street = street();
    let admin = &street.admin;
    let wanted = json!({ "domain": "a.example", "server_ids": [street.servers[0]], "ssl": true });
    let made = admin.post("/api/domains", &wanted).is(201);
    street.lay(&made, &street.servers[0], "a.example");
    let db = Db::open(
        &std::path::Path::new(street.house.dir()).join("lamplighter.db"),
        Durability::Full,
        schema::STATE,
    );
    let (db, id) = (db.unwrap(), Id::new(made["id"].as_i64().unwrap()));
    let push = |answers: &str, ns: &str, cert: &'static str, since: Option<i64>, at: i64| {
        db.write(|tx| {
            domains::set_answers(tx, id, answers, &["it said".into()], Some(3_000))?;
            domains::set_ns_status(tx, id, ns, "ns said", at)?;
            let cert = domains::CertStatus {
                state: cert,
                say: "cert said",
                not_after: Some(2_000),
                since,
            };
            domains::set_cert_status(tx, id, &cert, at)
        })
        .unwrap();
    };
    // Since it is so, not since it was looked at.
    for (at_s, (answers, ns, cert, reason, state, since_s)) in (1..).zip([
        ("unknown", "ok", "ok", "lit", "lit", 0),
        ("ok", "mismatch", "ok", "ns_mismatch", "flick", 2),
        ("ok", "mismatch", "ok", "ns_mismatch", "flick", 2),
        ("ok", "error", "soon", "ns_error", "flick", 4),
        ("ok", "ok", "soon", "cert_soon", "flick", 4),
        ("ok", "mismatch", "urgent", "cert_urgent", "flick", 6),
        ("partly", "mismatch", "urgent", "half_dark", "flick", 3),
        ("partly", "mismatch", "bad", "cert_bad", "dark", 8),
        ("partly", "mismatch", "bad", "cert_bad", "dark", 8),
        ("backend", "mismatch", "bad", "backend", "dark", 3),
        ("shadowed", "mismatch", "bad", "shadowed", "dark", 3),
        ("firewalled", "mismatch", "bad", "firewalled", "dark", 3),
        ("unreachable", "mismatch", "bad", "unreachable", "dark", 3),
        ("down", "mismatch", "bad", "down", "dark", 3),
    ]) {
        push(answers, ns, cert, None, at_s * 1_000);
        let shown = admin.get(&at(&made)).is(200);
        assert_eq!(
            (&shown["reason"], &shown["state"]),
            (&json!(reason), &json!(state)),
            "{ns} {cert}"
        );
        if since_s > 0 {
            assert_eq!(shown["state_since"], rfc3339(since_s * 1_000), "{shown}");
        }
        assert_eq!(shown["revision"], made["revision"]);
        assert_eq!(
            (&shown["ns_say"], &shown["cert_say"]),
            (&json!("ns said"), &json!("cert said"))
        );
        assert_eq!(admin.get(&format!("/api/domains?state={state}")).is(200)["total"], 1);
    }
    admin.patch(&at(&made), &json!({ "notes": "still mine" })).is(200);
    // The certificate itself may know it better.
    push("ok", "ok", "bad", Some(500), 20_000);
    assert_eq!(admin.get(&at(&made)).is(200)["state_since"], rfc3339(500));
}

#[test]
fn a_deploy_that_fails_has_failed_since_the_first_time_over_restarts() {
    let mut house = House::new();
    let admin = house.admin();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut wanted = server("edge-1", closed);
    wanted["host_key"] = json!(Door::new(1).key_line());
    let edge = admin.post("/api/servers", &wanted).is(201)["id"].clone();
    let upstream = json!({ "name": "web", "targets": ["10.0.0.7:80"] });
    let upstream = admin.post("/api/upstreams", &upstream).is(201)["id"].clone();
    let wanted = json!({ "domain": "a.example", "server_id": edge, "upstream_id": upstream, "preflight": "off" });
    let made = admin.post("/api/domains", &wanted).is(201);
    let fails = |house: &House| {
        let task = house.admin().post(&format!("{}/deploy", at(&made)), &json!({})).is(202);
        let ended = house.wait_for(task["task_id"].as_i64().unwrap());
        assert_eq!(ended["status"], "failed", "{ended}");
        let shown = house.admin().get(&at(&made)).is(200);
        assert_eq!(shown["reason"], "never_worked", "{shown}");
        assert_eq!(shown["sites"][0]["state_since"], shown["state_since"]);
        shown["state_since"].as_str().unwrap().to_string()
    };
    let first = fails(&house);
    assert!(first.as_str() > made["created_at"].as_str().unwrap(), "{first}");
    assert_eq!(fails(&house), first);
    house.stop();
    house.start();
    assert_eq!(fails(&house), first);
    let page = house.browser_of_admin().get(&at(&made).replace("/api", ""));
    assert!(!page.has("Not recorded") && page.has(&first[11..16]), "{}", page.body);
}

#[test]
fn who_may_only_look_changes_nothing() {
    let street = street();
    let made = street
        .admin
        .post("/api/domains", &json!({ "domain": "a.example" }))
        .is(201);
    let viewer = street.house.somebody("viewer");
    viewer.get("/api/domains").is(200);
    viewer.get(&at(&made)).is(200);
    for answer in [
        viewer.post("/api/domains", &json!({ "domain": "b.example" })),
        viewer.put(&at(&made), &json!({ "domain": "b.example" })),
        viewer.patch(&at(&made), &json!({ "notes": "x" })),
        viewer.delete(&at(&made)),
        viewer.post("/api/domains/bulk", &json!({ "ids": [made["id"]], "action": "deploy" })),
    ] {
        answer.fails(403, "forbidden");
    }
    street.house.client().get("/api/domains").is(401);
    assert_eq!(street.admin.get(&at(&made)).is(200), made);
}
