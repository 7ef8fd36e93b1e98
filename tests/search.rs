//! One field finds everything with a name, by script and without.

mod common;

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
    assert!(
        browser
            .get("/search?q=no-such-name")
            .text()
            .contains("Nothing has this")
    );
    assert!(browser.get("/search").text().contains("name=\"q\""));
}
