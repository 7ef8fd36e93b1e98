//! Alerts: raised by events, shown, acknowledged, resolved.

use crate::common;

use common::*;
use serde_json::{Value, json};

fn add_pinned(house: &House, name: &str, door: &Door) -> i64 {
    let mut wanted = server(name, door.port);
    wanted["host_key"] = json!(door.key_line());
    house.admin().post("/api/servers", &wanted).is(201)["id"]
        .as_i64()
        .unwrap()
}

fn check(house: &House, server: i64) -> Value {
    let path = format!("/api/servers/{server}/check-ssh");
    let task = house.admin().post(&path, &json!({})).is(202)["task_id"]
        .as_i64()
        .unwrap();
    house.wait_for(task)
}

fn list(house: &House, query: &str) -> Vec<Value> {
    let list = house.admin().get(&format!("/api/alerts?{query}")).is(200);
    let items = list["items"].as_array().unwrap().clone();
    assert!(list["total"].as_u64().unwrap() as usize >= items.len());
    items
}

#[track_caller]
fn one(house: &House, query: &str) -> Value {
    eventually(&format!("one alert with {query}"), || {
        let items = list(house, query);
        (items.len() == 1).then(|| items[0].clone())
    })
}

#[test]
fn a_stolen_refresh_token_is_a_critical_alert() {
    let house = House::new();
    let first = house.sign_in(ADMIN, &house.password).json();
    let refresh = |expected: u16| {
        let body = json!({ "refresh_token": first["refresh_token"] });
        house.client().post("/api/auth/refresh", &body).is(expected)
    };
    refresh(200);
    // The grace period of ten seconds is over.
    house
        .database("lamplighter.db")
        .execute("UPDATE refresh_tokens SET used_at = used_at - 11000", [])
        .unwrap();
    refresh(401);
    let alert = one(&house, "level=CRITICAL");
    assert_eq!(
        (&alert["kind"], &alert["state"]),
        (&json!("auth.refresh_reused"), &json!("firing"))
    );
    assert_eq!((&alert["target"]["name"], &alert["count"]), (&json!(ADMIN), &json!(1)));
    let said = eventually("it is a line of the log", || {
        let said = house.said();
        let line = said.lines().find(|line| line.contains("ERROR alerts alert.raised"))?;
        Some(line.to_string())
    });
    assert!(
        said.contains("kind=auth.refresh_reused") && !said.contains(ADMIN),
        "{said}"
    );
    assert!(alert["title"].as_str().unwrap().contains("refresh token"), "{alert}");
    assert!(
        alert["evidence"].to_string().contains("127.0.0.1"),
        "from where: {alert}"
    );
    for key in ["first_at", "last_at"] {
        assert!(alert[key].as_str().unwrap().ends_with('Z'), "{alert}");
    }
    // Login and address are shown to administrators only; the alert itself to everybody, in every view.
    house
        .admin()
        .post(
            "/api/notifications",
            &json!({ "type": "webhook", "name": "hook", "url": "https://192.0.2.1/", "min_level": "CRITICAL" }),
        )
        .is(201);
    house
        .database("lamplighter.db")
        .execute("UPDATE refresh_tokens SET used_at = used_at - 11000", [])
        .unwrap();
    let again = house.sign_in(ADMIN, &house.password).json();
    for expected in [200, 401] {
        house
            .client()
            .post("/api/auth/refresh", &json!({ "refresh_token": again["refresh_token"] }))
            .is(expected);
        let db = house.database("lamplighter.db");
        db.execute("UPDATE refresh_tokens SET used_at = used_at - 11000", [])
            .unwrap();
    }
    let mut last = server("last", 9);
    last["host"] = json!("192.0.2.9");
    house.admin().post("/api/servers", &last).is(201);
    for role in ["viewer", "operator"] {
        let password = house.account(role, role);
        let page = house
            .client()
            .by(Who::cookie(&house.sign_in(role, &password), house.address));
        let sees = house.client().by(Who::bearer(&house.sign_in(role, &password)));
        let mut events = sees.stream("/api/events/stream?after=0", None);
        let mut told = String::new();
        while !told.contains("server.created") {
            told += &events.next(PATIENCE).unwrap().data;
        }
        let path = format!("/api/alerts/{}", alert["id"]);
        let seen = sees.get(&path).is(200);
        assert_eq!(
            (&seen["kind"], &seen["target"]["name"], &seen["evidence"]),
            (&json!("auth.refresh_reused"), &json!("•••"), &json!([]))
        );
        for place in ["/", "/alerts", "/notifications/log"] {
            let text = page.get(place).text();
            assert!(!text.contains(ADMIN) && !text.contains("ip: 127"), "{place}: {text}");
        }
        for place in ["/api/alerts", "/api/notifications/deliveries", &path] {
            told += &sees.get(place).text();
        }
        let live = sees.stream("/api/live?of=/api/alerts", None).next(PATIENCE).unwrap();
        told += &live.data;
        assert!(!told.contains(ADMIN) && !told.contains("127.0.0.1"), "{told}");
    }
}

#[test]
fn a_changed_host_key_is_raised_once_acknowledged_once_and_over_when_the_key_is_back() {
    let house = House::new();
    let (admin, door) = (house.admin(), Door::new(1));
    let id = add_pinned(&house, "web", &door);
    let accepted = door.fingerprint();
    door.rekey(2);
    check(&house, id);
    let alert = one(&house, "state=open");
    assert_eq!(
        (&alert["kind"], &alert["level"]),
        (&json!("host.key_changed"), &json!("CRITICAL"))
    );
    assert_eq!(alert["target"], json!({ "type": "server", "id": id, "name": "web" }));
    let evidence = alert["evidence"].to_string();
    assert!(
        evidence.contains(&accepted) && evidence.contains(&door.fingerprint()),
        "{evidence}"
    );
    let status = run(&["status", "--data-dir", house.dir()]);
    assert_eq!(status.status.code(), Some(3), "{}", said(&status));

    let path = format!("/api/alerts/{}", alert["id"]);
    let ack = format!("{path}/ack");
    house.somebody("viewer").post(&ack, &json!({})).fails(403, "forbidden");
    let seen = house.somebody("operator").post(&ack, &json!({})).is(200);
    assert_eq!(
        (&seen["state"], &seen["acked_by"]),
        (&json!("acknowledged"), &json!("operator"))
    );
    assert!(seen["acked_at"].is_string());
    admin.post(&ack, &json!({})).fails(409, "alert_not_firing");

    // A repetition: no second alert, and the acknowledgement stays.
    check(&house, id);
    let again = eventually("it is counted", || {
        Some(admin.get(&path).is(200)).filter(|a| a["count"] == 2)
    });
    assert_eq!(again["state"], "acknowledged");
    assert_eq!(list(&house, "").len(), 1);

    door.rekey(1);
    check(&house, id);
    let over = eventually("it is resolved", || {
        Some(admin.get(&path).is(200)).filter(|a| a["state"] == "resolved")
    });
    assert!(over["resolved_at"].is_string());
    admin.post(&ack, &json!({})).fails(409, "alert_not_firing");
    admin.get("/api/alerts/999").fails(404, "not_found");
    admin.post("/api/alerts/999/ack", &json!({})).fails(404, "not_found");

    // The next time is a new alert; accepting the new key ends that, too.
    door.rekey(3);
    check(&house, id);
    let next = one(&house, "state=firing");
    assert_ne!(next["id"], alert["id"]);
    let accept = json!({ "fingerprint": door.fingerprint() });
    admin
        .post(&format!("/api/servers/{id}/accept-host-key"), &accept)
        .is(200);
    eventually("it is resolved", || list(&house, "state=open").is_empty().then_some(()));
    assert_eq!(list(&house, "state=resolved").len(), 2);
}

#[test]
fn a_server_takes_its_alerts_along_and_lists_are_filtered() {
    let house = House::new();
    let (admin, door) = (house.admin(), Door::new(1));
    let ids: Vec<i64> = ["a", "b", "c"]
        .iter()
        .map(|name| add_pinned(&house, name, &door))
        .collect();
    door.rekey(2);
    for id in &ids {
        check(&house, *id);
    }
    eventually("three alerts", || {
        (list(&house, "state=firing").len() == 3).then_some(())
    });
    one(&house, &format!("server={}", ids[1]));
    assert_eq!(list(&house, "level=WARNING"), Vec::<Value>::new());
    assert_eq!(list(&house, "limit=2").len(), 2);
    assert_eq!(list(&house, "limit=2&offset=2").len(), 1);
    assert_eq!(list(&house, "since=1").len(), 3);
    assert_eq!(list(&house, "since=99999999999999").len(), 0);
    for bad in ["state=new", "level=critical", "server=x", "since=never", "limit=0"] {
        let answer = admin.get(&format!("/api/alerts?{bad}"));
        answer.is(422);
        assert_eq!(answer.wrong_fields(), [bad.split_once('=').unwrap().0]);
    }
    assert_eq!(admin.delete(&format!("/api/servers/{}", ids[0])).status, 204);
    eventually("two are left", || (list(&house, "state=open").len() == 2).then_some(()));
    assert_eq!(one(&house, "state=resolved")["target"]["name"], "a");
}
