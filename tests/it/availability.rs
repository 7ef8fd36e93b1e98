//! What of the time things could be used: shares, incidents, the file, the card, the report.

use crate::common;

use common::client::Client;
use common::*;
use serde_json::{Value, json};
use std::net::TcpListener;

fn health(admin: &Client, name: &str, wanted: &str) {
    eventually(wanted, || {
        let s = admin.get(&format!("/api/services/{name}")).is(200);
        (s["health"] == wanted).then_some(())
    });
}

fn one(admin: &Client) -> Value {
    admin.get("/api/availability/service/1").is(200)
}

#[test]
fn incidents_are_kept_with_their_cause_and_our_own_absence_is_in_no_share() {
    let mut house = House::new();
    let admin = house.admin();
    assert_eq!(admin.get("/api/availability").is(200)["total"], 0);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let door = json!({ "name": "door", "kind": "tcp", "host": "127.0.0.1", "port": at.port(), "interval_s": 10 });
    admin.post("/api/services", &door).is(201);
    health(&admin, "door", "healthy");
    let up = one(&admin);
    assert_eq!(
        (&up["state"], &up["periods"][0]["incidents"]),
        (&json!("up"), &json!(0))
    );
    drop(listener);
    admin.post("/api/services/door/check", &json!({})).is(200);
    admin.post("/api/services/door/check", &json!({})).is(200);
    health(&admin, "door", "unhealthy");
    let down = one(&admin);
    assert_eq!((&down["state"], &down["name"]), (&json!("down"), &json!("door")));
    let incident = &down["incidents"][0];
    assert_eq!(incident["until"], Value::Null);
    assert!(incident["cause"].as_str().unwrap().len() > 5, "{incident}");
    let listener = TcpListener::bind(at).unwrap();
    admin.post("/api/services/door/check", &json!({})).is(200);
    health(&admin, "door", "healthy");
    let over = one(&admin);
    assert!(over["incidents"][0]["until"].is_string(), "{over}");
    assert_eq!(over["periods"][0]["mttr_s"], over["incidents"][0]["length_s"]);
    assert!(over["periods"][0]["share"].as_f64().unwrap() < 100.0);
    assert_eq!(over["daily"].as_array().unwrap().len(), 90);

    // Stopped by a person: nobody counts it, and no incident.
    admin.patch("/api/services/door", &json!({ "enabled": false })).is(200);
    let off = one(&admin);
    assert_eq!(
        (&off["state"], &off["periods"][3]["incidents"]),
        (&json!("unknown"), &json!(1))
    );
    admin.patch("/api/services/door", &json!({ "enabled": true })).is(200);
    health(&admin, "door", "healthy");

    // Two hours in which the daemon was not there, by what it has written down last.
    let before = one(&admin)["periods"][1]["off_s"].as_i64().unwrap();
    house.kill();
    house
        .database("lamplighter.db")
        .execute_batch(
            "UPDATE availability SET since = since - 10800000, until = until - 10800000;
             UPDATE periodic SET alive_at = alive_at - 7200000, last_at = last_at - 7200000;",
        )
        .unwrap();
    house.start();
    let admin = house.admin();
    let later = one(&admin);
    let unseen = later["periods"][1]["off_s"].as_i64().unwrap() - before;
    assert!((7_190..7_400).contains(&unseen), "{unseen}: {later}");
    assert!(later["periods"][1]["up_s"].as_i64().unwrap() > 3_000);
    drop(listener);

    // As a file, as a page, as a card.
    let csv = admin.get("/api/availability?format=csv&kind=service&days=7");
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
    let text = csv.text();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[1].starts_with("service,1,door,"), "{text}");
    assert_eq!(admin.get("/api/availability?kind=domain").is(200)["total"], 0);
    admin.get("/api/availability/server/1").fails(404, "not_found");
    admin.get("/api/availability/user/1").fails(404, "not_found");
    admin.get("/api/availability?kind=user").fails(422, "invalid");
    let mut browser = house.browser_of_admin();
    for path in ["/availability", "/availability?kind=service", "/availability/service/1"] {
        let page = browser.get(path);
        assert!(
            page.status == 200 && page.has("door") && page.has("class=\"upbar\""),
            "{path}"
        );
    }
    assert!(browser.get("/services/door").has("/availability/service/1"), "the card");

    // It goes with the thing.
    admin.delete("/api/services/door").is(204);
    assert_eq!(admin.get("/api/availability").is(200)["total"], 0);
}

#[test]
fn the_report_names_the_worst_and_comes_when_it_is_due() {
    let mut house = House::new();
    let admin = house.admin();
    for n in 1..=7 {
        let job = json!({ "name": format!("job{n}"), "kind": "heartbeat", "period_s": 86_400, "enabled": false });
        admin.post("/api/services", &job).is(201);
    }
    house
        .database("lamplighter.db")
        .execute_batch(
            "DELETE FROM availability;
             INSERT INTO availability (kind, subject, since, until, state, cause)
               SELECT 'service', id, unixepoch() * 1000 - 100000000, unixepoch() * 1000 - id * 1000000, 'up', '' FROM services;
             INSERT INTO availability (kind, subject, since, state, cause)
               SELECT 'service', id, unixepoch() * 1000 - id * 1000000, iif(id < 7, 'down', 'up'), 'gone' FROM services;",
        )
        .unwrap();
    assert!(
        house.event_data("availability.report").is_empty(),
        "nobody has asked for one"
    );
    admin
        .put("/api/settings", &json!({ "availability.report": "* * * * *" }))
        .is(200);
    house
        .database("lamplighter.db")
        .execute_batch("INSERT INTO availability_report (id, at) VALUES (1, unixepoch() * 1000 - 3600000)")
        .unwrap();
    house.stop();
    house.start();
    let data = eventually("the report", || house.event_data("availability.report").pop());
    let lines = data["evidence"].as_array().unwrap();
    assert_eq!(
        lines[0],
        "7 days: 7 things, 1 of them without an incident; 6 incidents."
    );
    assert_eq!(lines.len(), 6, "the worst five: {data}");
    let first = lines[1].as_str().unwrap();
    assert!(
        (first.starts_with("service job6: 93.99") || first.starts_with("service job6: 94.00"))
            && first.contains("1 incidents, 10"),
        "{first}"
    );
}
