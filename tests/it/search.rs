//! Search over everything that has a name, with and without scripts.

use crate::common;

use common::*;
use serde_json::{Value, json};

#[test]
fn everything_with_a_name_is_found() {
    let house = House::new();
    let admin = house.admin();
    let id = admin.post("/api/servers", &server("shop-web", 1)).is(201)["id"].clone();
    admin
        .post("/api/groups", &json!({ "name": "Shop <b>", "kind": "domain" }))
        .is(201);
    let upstream = json!({ "name": "shop-upstream", "targets": [{ "host": "10.0.0.7", "port": 8080 }] });
    admin.post("/api/upstreams", &upstream).is(201);
    admin.post("/api/domains", &json!({ "domain": "shop.example" })).is(201);
    admin.post("/api/servers", &server("other", 2)).is(201);
    let task = house.newest_task(id.as_i64().unwrap(), "server.look_host_key");
    let found = |who: &Client, q: &str| -> Vec<(String, String)> {
        let list = who.get(&format!("/api/search?q={q}")).is(200);
        let word = |v: &Value| v.as_str().unwrap().to_string();
        let items = list["items"].as_array().unwrap().iter();
        items.map(|i| (word(&i["kind"]), word(&i["href"]))).collect()
    };
    let kinds = |all: &[(String, String)]| all.iter().map(|(kind, _)| kind.clone()).collect::<Vec<_>>();
    let all = found(&admin, "SHOP");
    assert_eq!(
        kinds(&all),
        ["servers", "domains", "upstreams", "groups", "tasks"],
        "{all:?}"
    );
    assert_eq!(kinds(&found(&house.somebody("viewer"), "shop")), kinds(&all));
    for (kind, href) in &all {
        let path = href.split('#').next().unwrap();
        assert_eq!(admin.get(&format!("/api{path}")).status, 200, "{kind}: {href}");
    }
    assert!(found(&admin, &format!("%23{task}")).contains(&("tasks".into(), format!("/tasks/{task}"))));
    assert_eq!(found(&admin, "10.0.0.7"), [("upstreams".to_string(), all[2].1.clone())]);
    for nothing in ["", "%20", "%25", "no-such-name"] {
        assert_eq!(found(&admin, nothing), [], "{nothing}");
    }
    house.client().get("/api/search?q=shop").fails(401, "unauthorized");

    let answer = house.sign_in(ADMIN, &house.password);
    let browser = house.client().by(Who::cookie(&answer, house.address));
    let page = browser.get("/search?q=shop").text().replace("&#x2f;", "/");
    for (_, href) in &all {
        assert!(page.contains(&format!("href=\"{href}\"")), "{href}");
    }
    assert!(page.contains("Shop &lt;b&gt;") && !page.contains("<b>\u{200b}</a>"));
    assert!(browser.get("/search?q=no-such-name").text().contains("No matches"));
    assert!(browser.get("/search").text().contains("name=\"q\""));
}

#[test]
fn a_search_tells_that_there_are_more_than_it_shows() {
    let house = House::new();
    let admin = house.admin();
    for n in 1..=11 {
        admin.post("/api/servers", &server(&format!("many-{n:02}"), n)).is(201);
    }
    for n in 1..=8 {
        admin
            .post("/api/groups", &json!({ "name": format!("many {n}"), "kind": "domain" }))
            .is(201);
    }
    let list = admin.get("/api/search?q=many").is(200);
    let of = |kind: &str| {
        list["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|i| i["kind"] == kind)
            .count()
    };
    assert_eq!((of("servers"), of("groups"), of("tasks")), (8, 8, 8), "{list}");
    // Every server has a task that looks at its host key.
    assert_eq!(list["more"], json!({ "servers": 11, "tasks": 11 }));
    assert_eq!(list["total"], 30);
    let one = admin.get("/api/search?q=many-07").is(200);
    assert_eq!((&one["total"], &one["more"]), (&json!(2), &json!({})));

    let answer = house.sign_in(ADMIN, &house.password);
    let browser = house.client().by(Who::cookie(&answer, house.address));
    let page = browser.get("/search?q=many").text();
    assert!(
        page.contains("The first 8 of 11.") && page.contains("href=\"/servers?q=many\""),
        "{page}"
    );
    assert!(!browser.get("/search?q=many-07").text().contains("The first"));
}

#[test]
fn a_list_of_servers_in_which_nothing_fits_keeps_its_box() {
    let house = House::new();
    let admin = house.admin();
    let answer = house.sign_in(ADMIN, &house.password);
    let browser = house.client().by(Who::cookie(&answer, house.address));
    let empty = browser.get("/servers?q=zzz").text();
    assert!(empty.contains("No servers yet"), "{empty}");
    admin.post("/api/servers", &server("web", 1)).is(201);
    for question in ["q=zzz", "tag=zzz", "q=web&tag=zzz", "state=dark"] {
        let page = browser.get(&format!("/servers?{question}")).text();
        assert!(
            page.contains("No server matches this filter") && !page.contains("No servers yet"),
            "{question}"
        );
        assert!(
            page.contains("name=\"q\"") && page.contains("show all 1"),
            "{question}: {page}"
        );
    }
}
