//! The public page of how things are, and what programs tell.

use crate::common;

use common::client::Client;
use common::*;
use serde_json::{Value, json};

/// A page as anybody gets it: status, headers, text.
fn anybody(house: &House, headers: &[(&str, &str)]) -> common::client::Answer {
    let asks = headers
        .iter()
        .fold(house.client(), |asks, (name, value)| asks.with(name, value));
    asks.get("/status")
}

#[test]
fn the_public_page_shows_what_was_chosen_and_nothing_else() {
    let house = House::new();
    let admin = house.admin();
    let secret_name = "inner-db-17";
    for name in [secret_name, "hidden-one"] {
        let job = json!({ "name": name, "kind": "heartbeat", "period_s": 86_400, "enabled": false });
        admin.post("/api/services", &job).is(201);
    }
    house
        .database("lamplighter.db")
        .execute_batch(
            "DELETE FROM availability;
             INSERT INTO availability (kind, subject, since, until, state, cause) VALUES
               ('service', 1, unixepoch() * 1000 - 864000000, unixepoch() * 1000 - 3600000, 'up', ''),
               ('service', 1, unixepoch() * 1000 - 3600000, NULL, 'down', 'refused by 10.9.8.7'),
               ('service', 2, unixepoch() * 1000 - 864000000, NULL, 'up', '');",
        )
        .unwrap();
    let shop = json!({ "name": "Shop & orders", "section": "Web", "position": 1 });
    admin.put("/api/status-page/things/service/1", &shop).is(204);
    admin
        .put("/api/status-page/things/service/9", &shop)
        .fails(404, "not_found");
    admin
        .put("/api/status-page/things/user/1", &shop)
        .fails(404, "not_found");
    admin
        .put("/api/status-page/things/service/1", &json!({ "name": " " }))
        .fails(422, "invalid");

    // Off: there is no such page, for anybody.
    assert_eq!(anybody(&house, &[("accept", "text/html")]).status, 404);
    admin
        .put(
            "/api/settings",
            &json!({ "status.enabled": 1, "status.title": "Our things" }),
        )
        .is(200);
    let page = anybody(&house, &[("accept", "text/html"), ("accept-language", "en")]);
    let text = page.text();
    assert_eq!(page.status, 200, "{text}");
    assert_eq!(page.header("cache-control"), Some("public, max-age=30"));
    assert_eq!(page.header("vary"), Some("Accept-Language"));
    for shown in [
        "Our things",
        "Shop &amp; orders",
        "Web",
        "class=\"upbar\"",
        "does not work",
        "99.5",
    ] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
    let inside = [
        secret_name,
        "hidden-one",
        "10.9.8.7",
        "refused",
        "service/1",
        "csrf",
        "Lamplighter",
        "app.js",
    ];
    for hidden in inside {
        assert!(!text.contains(hidden), "{hidden}: {text}");
    }
    assert!(page.cookies().is_empty(), "whoever reads it is nobody");

    // Who has it already is told so; another language is another page; who is signed in gets the same.
    let tag = page.header("etag").unwrap().to_string();
    let again = anybody(
        &house,
        &[
            ("accept", "text/html"),
            ("accept-language", "en"),
            ("if-none-match", &tag),
        ],
    );
    assert_eq!((again.status, again.text().as_str()), (304, ""));
    let russian = anybody(&house, &[("accept", "text/html"), ("accept-language", "ru")]);
    assert!(russian.text().contains("lang=\"ru\"") && russian.header("etag") != Some(&*tag));
    let mut browser = house.browser_of_admin();
    let own = browser.get("/status?lang=en");
    assert!(own.has("Shop &amp; orders") && !own.has(secret_name) && !own.has("csrf"));

    // Incidents by hand: begun, told more, over, removed.
    let slow = json!({ "title": "Orders are slow", "text": "We look into it.\nSorry." });
    let incident = admin.post("/api/status-page/incidents", &slow).is(201);
    let path = format!("/api/status-page/incidents/{}", incident["id"]);
    let text = || anybody(&house, &[("accept", "text/html"), ("accept-language", "en")]).text();
    assert!(text().contains("Orders are slow") && text().contains("We look into it."));
    let more = admin.post(
        &format!("{path}/updates"),
        &json!({ "text": "A disk was full.", "resolved": true }),
    );
    let more = more.is(200);
    assert!(more["resolved_at"].is_string() && more["updates"][0]["text"] == "A disk was full.");
    assert!(text().contains("resolved") && text().contains("A disk was full."));
    let edit = browser.get("/status-page");
    assert!(edit.has("Orders are slow") && edit.has(secret_name) && edit.has("service:2"));
    let posted = browser.post(
        "/status-page/things",
        &[
            ("thing", "service:2"),
            ("name", "Second"),
            ("section", ""),
            ("position", "2"),
        ],
    );
    assert_eq!(posted.status, 303);
    assert_eq!(admin.get("/api/status-page").is(200)["things"][1]["name"], "Second");
    admin.delete(&path).is(204);
    admin.delete(&path).fails(404, "not_found");
    assert!(!text().contains("Orders are slow"));

    // Operators look after no public page; and what is gone is not on it.
    let operator = house.somebody("operator");
    operator.get("/api/status-page").fails(403, "forbidden");
    admin.delete(&format!("/api/services/{secret_name}")).is(204);
    assert_eq!(
        admin.get("/api/status-page").is(200)["things"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

fn open(admin: &Client, service: &str) -> Option<Value> {
    let all = admin.get("/api/alerts?state=open").is(200);
    let all = all["items"].as_array().unwrap().clone();
    all.into_iter()
        .find(|alert| alert["kind"] == "program.alert" && alert["target"]["service"] == service)
}

#[test]
fn a_program_tells_of_trouble_once_and_when_it_is_over() {
    let house = House::new();
    let admin = house.admin();
    let token = json!({ "name": "nightly", "scopes": ["alerts:run"] });
    let token = admin.post("/api/tokens", &token).is(201)["token"]
        .as_str()
        .unwrap()
        .to_string();
    let program = house.client().with("authorization", &format!("Bearer {token}"));
    let tell = |level: &str, service: &str, message: &str| {
        program.post(
            "/api/alerts",
            &json!({ "level": level, "service": service, "message": message }),
        )
    };
    // Over before it began: nothing.
    tell("ok", "billing", "").is(204);
    tell("warning", "billing", "42 invoices wait.").is(204);
    tell("WARNING", "billing", "43 invoices wait.").is(204);
    tell("error", "mail", "The queue is full.").is(204);
    let alert = eventually("both told", || open(&admin, "billing").filter(|a| a["count"] == 2));
    assert_eq!(
        (&alert["level"], &alert["state"]),
        (&json!("WARNING"), &json!("firing"))
    );
    assert_eq!(alert["title"], "billing: a program reports trouble");
    assert_eq!(alert["evidence"][0], "43 invoices wait.");
    assert_eq!(alert["evidence"][1].as_str().unwrap().matches("Told by").count(), 1);
    assert_eq!(house.event_data("program.over").len(), 0);

    // It rises, and ends by one word, also when both come at once; the other one goes on.
    tell("critical", "billing", "None can be sent.").is(204);
    tell("resolved", "billing", "All were sent.").is(204);
    eventually("it is over", || open(&admin, "billing").is_none().then_some(()));
    let over = admin.get("/api/alerts?state=resolved").is(200);
    assert_eq!(over["items"][0]["level"], "CRITICAL");
    assert_eq!(open(&admin, "mail").unwrap()["level"], "ERROR");

    for (level, service) in [("bad", "x"), ("", "x"), ("error", ""), ("error", "a\nb")] {
        tell(level, service, "").fails(422, "invalid");
    }
    tell("error", &"x".repeat(101), "").fails(422, "invalid");
    program.get("/api/alerts").fails(403, "forbidden");
    let viewer = house.somebody("viewer");
    viewer
        .post("/api/alerts", &json!({ "level": "error", "service": "x" }))
        .fails(403, "forbidden");
}
