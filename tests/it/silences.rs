//! One notification for one cause, none under a silence, few for flapping alerts; what was suppressed and still holds is
//! notified in the end.

use crate::{common, fake};

use common::*;
use fake::receiver::{Receiver, answer};
use fake::telegram;
use lamplighter::base::clock::{self, DAY, HOUR, MINUTE, rfc3339};
use rusqlite::params;
use serde_json::{Value, json};
use std::thread;
use std::time::Duration;

/// A daemon that sends every alert to one webhook.
struct Street {
    house: House,
    hook: Receiver,
    admin: Client,
}

fn street() -> Street {
    // Two processes: what is written from outside is noticed at once.
    let house = House::with(Processes::Two, &[]);
    let admin = house.admin();
    let settings = json!({ "messages.networks": "127.0.0.0/8", "messages.min_interval_s": 0 });
    admin.put("/api/settings", &settings).is(200);
    let hook = Receiver::new(|_| answer("204 No Content", "", b""));
    let url = format!("http://127.0.0.1:{}/x", hook.port());
    let endpoint = json!({ "type": "webhook", "name": "machine", "url": url });
    admin.post("/api/notifications", &endpoint).is(201);
    Street { house, hook, admin }
}

impl Street {
    fn server(&self, name: &str) -> i64 {
        self.admin.post("/api/servers", &server(name, 9)).is(201)["id"]
            .as_i64()
            .unwrap()
    }

    fn sql(&self, sql: &str) {
        self.house.database("lamplighter.db").execute(sql, []).unwrap();
    }

    /// A domain that lies on these servers.
    fn domain(&self, name: &str, servers: &[i64]) -> i64 {
        let db = self.house.database("lamplighter.db");
        let sql = "INSERT INTO domains (domain, created_at, updated_at) VALUES (?1, 1, 1)";
        db.execute(sql, [name]).unwrap();
        let id = db.last_insert_rowid();
        for (n, server) in servers.iter().enumerate() {
            let sql = "INSERT INTO domain_sites (domain_id, server_id, position, state, name) VALUES (?1, ?2, ?3, 'live', ?4)";
            db.execute(sql, params![id, server, n as i64, name]).unwrap();
        }
        id
    }

    /// Emits an event of another feature and waits until all reactions are done.
    #[track_caller]
    fn happens(&self, kind: &str, target: (&str, i64, &str), more: Value) {
        let mut data = json!({ "name": target.2, "evidence": ["seen"] });
        data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let db = self.house.database("lamplighter.db");
        let sql = "INSERT INTO events (at, kind, target_type, target_id, data) VALUES (?1, ?2, ?3, ?4, ?5)";
        db.execute(sql, params![clock::now(), kind, target.0, target.1, data.to_string()])
            .unwrap();
        self.rest();
    }

    /// No event waits to be read, no message to be sent.
    #[track_caller]
    fn rest(&self) {
        let db = self.house.database("lamplighter.db");
        let number = |sql: &str| db.query_row(sql, [], |r| r.get::<_, i64>(0)).unwrap();
        eventually("the house is at rest", || {
            let unread = number(
                "SELECT (SELECT max(id) FROM events) - (SELECT event_id FROM event_cursors WHERE reader = 'reactor')",
            );
            let unsent = number(
                "SELECT count(*) FROM notification_queue WHERE status IN ('queued', 'sending') AND next_at <= unixepoch() * 1000 + 999",
            );
            (unread == 0 && unsent == 0).then_some(())
        });
    }

    /// Type, kind, target, level and note of all messages so far.
    fn told(&self) -> Vec<String> {
        let all = self.hook.posts();
        let said = all.iter().map(|p| {
            let all = p.json();
            let d = &all["data"];
            let text = |v: &Value| v.as_str().unwrap_or_default().to_string();
            let what = text(&all["type"]).replace("alert.", "");
            let parts = [
                what,
                text(&d["kind"]),
                text(&d["target"]["name"]),
                text(&d["level"]),
                text(&d["note"]),
            ];
            parts.join(" ").trim().to_string()
        });
        said.collect()
    }

    #[track_caller]
    fn last(&self, n: usize) -> String {
        eventually(&format!("{n} messages"), || {
            (self.hook.posts().len() >= n).then_some(())
        });
        self.rest();
        let told = self.told();
        assert_eq!(told.len(), n, "{told:#?}");
        told[n - 1].clone()
    }

    #[track_caller]
    fn alert(&self, kind: &str, target: i64) -> Value {
        let list = self.admin.get("/api/alerts?limit=500").is(200);
        let fits = |a: &&Value| a["kind"] == kind && a["target"]["id"] == target;
        list["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(fits)
            .unwrap_or_else(|| panic!("no {kind}: {list}"))
            .clone()
    }

    fn events(&self, kind: &str) -> i64 {
        let db = self.house.database("lamplighter.db");
        db.query_row("SELECT count(*) FROM events WHERE kind = ?1", [kind], |r| r.get(0))
            .unwrap()
    }

    fn restart(&mut self) {
        self.house.kill();
        self.house.start();
    }
}

fn web(id: i64) -> (&'static str, i64, &'static str) {
    ("server", id, "web-1")
}

#[test]
fn what_hangs_on_a_dark_server_is_muted_by_it_and_what_is_still_wrong_later_is_told() {
    let mut street = street();
    let (one, two) = (street.server("web-1"), street.server("web-2"));
    let (shop, blog, wide) = (
        street.domain("shop.example", &[one]),
        street.domain("blog.example", &[one]),
        street.domain("wide.example", &[one, two]),
    );
    let nothing = json!({});
    // One of them was told of before its server went down.
    street.happens("certificate.soon", ("domain", blog, "blog.example"), nothing.clone());
    assert_eq!(street.last(1), "raised certificate.soon blog.example WARNING");
    street.happens("server.unreachable", web(one), nothing.clone());
    assert_eq!(street.last(2), "raised server.unreachable web-1 ERROR");
    let dark = street.hook.posts()[1].json()["data"].clone();
    assert_eq!(dark["hanging"], json!({ "domains": 2, "alerts": 1 }));
    assert!(
        dark["text"]
            .as_str()
            .unwrap()
            .contains("Also affected (no separate notification): 2 domains, 1 other alert."),
        "{dark}"
    );
    // Nobody serves this one any more; the other has a lit server.
    street.happens("certificate.bad", ("domain", shop, "shop.example"), nothing.clone());
    street.happens("deploy.failed", ("domain", shop, "shop.example"), nothing.clone());
    let muted = street.alert("certificate.bad", shop);
    let cause = street.alert("server.unreachable", one);
    assert_eq!(
        (&muted["state"], &muted["quiet"]["why"], &muted["quiet"]["alert_id"]),
        (&json!("firing"), &json!("muted"), &cause["id"])
    );
    let shown = street.admin.get(&format!("/api/alerts/{}", cause["id"])).is(200);
    assert_eq!(shown["hanging"], json!({ "domains": 2, "alerts": 3 }));
    street.happens("certificate.bad", ("domain", wide, "wide.example"), nothing.clone());
    assert_eq!(street.last(3), "raised certificate.bad wide.example ERROR");
    // Name servers are other people's machines, and a foreign key may be a break-in.
    street.happens("ns.mismatch", ("domain", shop, "shop.example"), nothing.clone());
    street.happens("host.key_changed", web(one), nothing.clone());
    assert_eq!(street.last(5), "raised host.key_changed web-1 CRITICAL");
    let page = street.admin.get(&format!("/servers/{one}")).text();
    assert!(
        page.contains("Also affected (no separate notification): 2 domains, 3 other alerts."),
        "{page}"
    );

    street.restart();
    // It is lit again: that is told, and what hung on it has some time to be good again by itself.
    street.happens("server.recovered", web(one), nothing.clone());
    assert_eq!(street.last(6), "resolved server.unreachable web-1 ERROR");
    let until = street.alert("certificate.bad", shop)["quiet"]["until"]
        .as_str()
        .map(String::from);
    assert!(until > Some(rfc3339(clock::now() + MINUTE)), "{until:?}");
    street.happens("certificate.good", ("domain", shop, "shop.example"), nothing.clone());
    assert_eq!(
        street.told().len(),
        6,
        "what healed meanwhile is silent: {:#?}",
        street.told()
    );
    street.sql("UPDATE alerts SET quiet_until = 1 WHERE quiet = 'muted'");
    assert_eq!(street.last(7), "raised deploy.failed shop.example ERROR cause_over");
    street.happens("deploy.ok", ("domain", shop, "shop.example"), nothing.clone());
    assert_eq!(street.last(8), "resolved deploy.failed shop.example ERROR");
    // Who was told before is told that it is over.
    street.happens("certificate.good", ("domain", blog, "blog.example"), nothing);
    assert_eq!(street.last(9), "resolved certificate.soon blog.example WARNING");
    assert_eq!(street.alert("certificate.soon", blog)["state"], "resolved");
    assert!(street.events("alert.muted") == 3 && street.events("alert.audible") == 2);
}

#[test]
fn a_dark_server_mutes_its_containers_and_a_rule_finds_them_by_its_tags() {
    let street = street();
    let (one, two) = (street.server("web-1"), street.server("web-2"));
    let container = |name: &str, server: i64| {
        let db = street.house.database("lamplighter.db");
        let sql = "INSERT INTO containers (name, server_id, life, image, state, since, created_at, seen_at)
            VALUES (?1, ?2, '', 'shop:1', 'exited', 1, 1, 1)";
        db.execute(sql, params![name, server]).unwrap();
        db.last_insert_rowid()
    };
    let (shop, mail, other) = (container("shop", one), container("mail", one), container("shop", two));
    let tags = json!({ "tags": ["prod"] });
    street.admin.patch(&format!("/api/servers/{one}"), &tags).is(200);
    let rule = json!({ "name": "Prod", "watches": "container.died", "level": "CRITICAL", "tags": ["prod"],
        "containers": "shop*" });
    street.admin.post("/api/alert-rules", &rule).is(201);
    let nothing = json!({});
    street.happens("container.died", ("container", shop, "web-1/shop"), nothing.clone());
    assert_eq!(street.last(1), "raised container.died web-1/shop CRITICAL");
    street.happens("container.died", ("container", other, "web-2/shop"), nothing.clone());
    assert_eq!(street.last(2), "raised container.died web-2/shop ERROR");

    // What was open before hangs on it from now on, and what comes later is not told.
    street.happens("server.unreachable", web(one), nothing.clone());
    assert_eq!(street.last(3), "raised server.unreachable web-1 ERROR");
    street.happens(
        "container.unhealthy",
        ("container", mail, "web-1/mail"),
        nothing.clone(),
    );
    street.happens("container.oom", ("container", other, "web-2/shop"), nothing.clone());
    assert_eq!(street.last(4), "raised container.oom web-2/shop ERROR");
    let cause = street.alert("server.unreachable", one)["id"].clone();
    for (kind, id) in [("container.died", shop), ("container.unhealthy", mail)] {
        let quiet = street.alert(kind, id)["quiet"].clone();
        assert_eq!((&quiet["why"], &quiet["alert_id"]), (&json!("muted"), &cause), "{kind}");
    }
    assert!(street.alert("container.died", other)["quiet"].is_null());
    let dark = street.admin.get(&format!("/api/alerts/{cause}")).is(200);
    assert_eq!(dark["hanging"]["alerts"], 2);
    street.happens("server.recovered", web(one), nothing.clone());
    assert_eq!(street.last(5), "resolved server.unreachable web-1 ERROR");
    street.happens("container.healthy", ("container", mail, "web-1/mail"), nothing.clone());
    street.happens("container.running", ("container", shop, "web-1/shop"), nothing);
    assert_eq!(street.last(6), "resolved container.died web-1/shop CRITICAL");
}

#[test]
fn without_a_network_of_our_own_only_that_is_told() {
    let street = street();
    let one = street.server("web-1");
    let nothing = json!({});
    street.happens("server.unreachable", web(one), nothing.clone());
    street.happens("controller.offline", ("controller", 0, "Lamplighter"), nothing.clone());
    assert_eq!(street.last(2), "raised controller.offline Lamplighter CRITICAL");
    street.happens("ns.resolve_failed", ("domain", 7, "shop.example"), nothing.clone());
    let offline = street.alert("controller.offline", 0);
    assert_eq!(street.alert("ns.resolve_failed", 7)["quiet"]["alert_id"], offline["id"]);
    assert_eq!(
        street.alert("server.unreachable", one)["quiet"]["alert_id"],
        offline["id"]
    );
    // It has nothing to do with the network.
    street.happens("auth.refresh_reused", ("user", 1, "admin"), nothing.clone());
    assert_eq!(street.last(3), "raised auth.refresh_reused admin CRITICAL");
    street.happens("controller.online", ("controller", 0, "Lamplighter"), nothing.clone());
    assert_eq!(street.last(4), "resolved controller.offline Lamplighter CRITICAL");
    // It was told before the network went, so people hear that it is over.
    street.happens("server.recovered", web(one), nothing);
    assert_eq!(street.last(5), "resolved server.unreachable web-1 ERROR");
    let until = street.alert("ns.resolve_failed", 7)["quiet"]["until"]
        .as_str()
        .map(String::from);
    assert!(
        until > Some(rfc3339(clock::now() + 15 * MINUTE)),
        "after the next look: {until:?}"
    );
}

#[test]
fn a_silence_keeps_messages_back_until_its_end_and_then_tells_what_is_left() {
    let mut street = street();
    let (one, two) = (street.server("web-1"), street.server("web-2"));
    let shop = street.domain("shop.example", &[one]);
    let nothing = json!({});
    street.happens("server.unreachable", web(one), nothing.clone());
    assert_eq!(street.last(1), "raised server.unreachable web-1 ERROR");
    let wanted = json!({ "server_id": one, "hours": 4, "reason": "new disks" });
    let (viewer, operator) = (street.house.somebody("viewer"), street.house.somebody("operator"));
    viewer.post("/api/silences", &wanted).fails(403, "forbidden");
    let made = operator.post("/api/silences", &wanted).is(201);
    assert_eq!(
        (&made["state"], &made["author"], &made["server"], &made["reason"]),
        (
            &json!("active"),
            &json!("operator"),
            &json!("web-1"),
            &json!("new disks")
        )
    );
    let target = json!({ "type": "server", "id": one, "name": "web-1" });
    assert_eq!((&made["server_id"], &made["targets"]), (&json!(one), &json!([target])));
    street.rest();
    // It goes on being seen, and says who wanted it and until when.
    let quiet = street.alert("server.unreachable", one)["quiet"].clone();
    assert_eq!((&quiet["why"], &quiet["silence_id"]), (&json!("silenced"), &made["id"]));
    assert_eq!(quiet["until"], made["ends_at"]);
    for page in ["/alerts".to_string(), format!("/servers/{one}"), "/silences".into()] {
        let html = viewer.get(&page).text();
        assert!(
            html.contains("operator") && html.contains("new disks") && !html.contains("/end\""),
            "{page}: {html}"
        );
    }
    street.happens("certificate.bad", ("domain", shop, "shop.example"), nothing.clone());
    street.happens("server.unreachable", ("server", two, "web-2"), nothing.clone());
    assert_eq!(street.last(2), "raised server.unreachable web-2 ERROR");
    street.restart();
    let end = format!("/api/silences/{}/end", made["id"]);
    viewer.post(&end, &nothing).fails(403, "forbidden");
    let over = operator.post(&end, &nothing).is(200);
    assert_eq!(
        (&over["state"], &over["ended_by"]),
        (&json!("over"), &json!("operator"))
    );
    operator.post(&end, &nothing).fails(409, "silence_over");
    // It still fires: told once more. What hangs on it stays muted.
    assert_eq!(street.last(3), "raised server.unreachable web-1 ERROR silence_over");
    assert_eq!(street.alert("certificate.bad", shop)["quiet"]["why"], "muted");

    // Under a silence, what is over is not told either.
    operator
        .post("/api/silences", &json!({ "kind": "server.unreachable", "hours": 1 }))
        .is(201);
    street.rest();
    street.happens("server.recovered", web(one), nothing.clone());
    street.happens("server.unreachable", web(one), nothing.clone());
    let active = operator.get("/api/silences?state=active").is(200);
    assert_eq!(active["total"], 1);
    // Its time is over.
    street.sql(&format!(
        "UPDATE silences SET starts_at = {}, ends_at = {}",
        clock::now() - HOUR,
        clock::now() - 1
    ));
    let both = [street.last(5), street.told()[3].clone()];
    assert!(both.iter().all(|t| t.ends_with("ERROR silence_over")), "{both:?}");
    street.happens("server.recovered", web(one), nothing);
    assert_eq!(street.last(6), "resolved server.unreachable web-1 ERROR");
    let audit: i64 = street
        .house
        .database("lamplighter.db")
        .query_row(
            "SELECT count(*) FROM audit WHERE action LIKE 'silence.%' AND actor = 'operator'",
            [],
            |r| r.get(0),
        )
        .unwrap();
    assert_eq!(audit, 3, "two made, one ended");
    for (event, n) in [("silence.created", 2), ("silence.began", 2), ("silence.ended", 2)] {
        assert_eq!(street.events(event), n, "{event}");
    }
}

#[test]
fn a_window_begins_and_ends_by_itself_and_covers_what_was_meant() {
    let street = street();
    let tagged = street.server("web-1");
    street
        .admin
        .patch(&format!("/api/servers/{tagged}"), &json!({ "tags": ["Prod"] }))
        .is(200);
    let plain = street.server("web-2");
    let group = street.admin.post("/api/groups", &json!({ "name": "shops" })).is(201)["id"].clone();
    let shop = street.domain("shop.example", &[plain]);
    street.sql(&format!("UPDATE domains SET group_id = {group} WHERE id = {shop}"));
    let nothing = json!({});
    let window = |more: Value| {
        let now = clock::now();
        let mut wanted = json!({ "starts_at": rfc3339(now + 1_500), "ends_at": rfc3339(now + DAY) });
        wanted
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let made = street.admin.post("/api/silences", &wanted).is(201);
        assert_eq!(made["state"], "waiting");
        made["id"].clone()
    };
    let of_tag = window(json!({ "tag": "prod" }));
    window(json!({ "group_id": group, "kind": "ns.mismatch" }));
    street.happens("host.key_changed", web(tagged), nothing.clone());
    assert_eq!(street.last(1), "raised host.key_changed web-1 CRITICAL");
    eventually("both have begun", || {
        let active = street.admin.get("/api/silences?state=active").is(200);
        (active["total"] == 2).then_some(())
    });
    street.happens("server.unreachable", web(tagged), nothing.clone());
    street.happens("ns.mismatch", ("domain", shop, "shop.example"), nothing.clone());
    street.happens("certificate.soon", ("domain", shop, "shop.example"), nothing.clone());
    assert_eq!(street.last(2), "raised certificate.soon shop.example WARNING");
    // A group that is gone silences nothing, a server without the tag is not meant any more.
    street.admin.delete(&format!("/api/groups/{group}"));
    assert_eq!(street.last(3), "raised ns.mismatch shop.example ERROR silence_over");
    street
        .admin
        .patch(&format!("/api/servers/{tagged}"), &json!({ "tags": [] }))
        .is(200);
    street.last(5);
    assert!(
        street.told()[3..]
            .iter()
            .all(|t| t.contains("web-1") && t.ends_with("silence_over"))
    );
    assert_eq!(
        street.admin.get(&format!("/api/silences/{of_tag}")).is(200)["state"],
        "active"
    );

    for (wrong, fields) in [
        (json!({ "hours": 1 }), "everything"),
        (json!({ "everything": true }), "ends_at"),
        (json!({ "everything": true, "hours": 2161 }), "hours"),
        (json!({ "server_id": 999, "hours": 1 }), "server_id"),
        (json!({ "target": "server:999", "hours": 1 }), "server_id"),
        (json!({ "target": "firefly:1", "hours": 1 }), "target"),
        (json!({ "target": "domain", "hours": 1 }), "target"),
        (json!({ "kind": "deploy.ok", "hours": 1 }), "kind"),
    ] {
        let refused = street.admin.post("/api/silences", &wrong);
        refused.is(422);
        assert_eq!(refused.wrong_fields(), [fields]);
    }
    // Nothing at all is told under this one.
    street
        .admin
        .post("/api/silences", &json!({ "everything": true, "hours": 1 }))
        .is(201);
    street.rest();
    street.happens("auth.refresh_reused", ("user", 1, "admin"), nothing);
    assert_eq!(street.told().len(), 5);
}

#[test]
fn what_flaps_is_told_once_and_again_when_it_is_calm() {
    let mut street = street();
    let one = street.server("web-1");
    let nothing = json!({});
    let flip = |street: &Street, kind: &str| street.happens(kind, web(one), nothing.clone());
    for _ in 0..3 {
        flip(&street, "server.unreachable");
        flip(&street, "server.recovered");
    }
    assert_eq!(street.last(6), "resolved server.unreachable web-1 ERROR");
    flip(&street, "server.unreachable");
    street.last(7);
    let seventh = street.hook.posts()[6].json()["data"].clone();
    assert_eq!(seventh["flapping"], 4);
    let text = seventh["text"].as_str().unwrap();
    println!("{text}");
    assert!(
        text.contains("It comes and goes: web-1 is down") && text.contains("Began 4 times within 30 min."),
        "{text}"
    );
    // From now on nothing, and it is one alert, across a restart.
    flip(&street, "server.recovered");
    street.restart();
    for _ in 0..3 {
        flip(&street, "server.unreachable");
        flip(&street, "server.recovered");
    }
    let open = street.admin.get("/api/alerts?state=open").is(200);
    assert_eq!(
        (&open["total"], &open["items"][0]["flapping"]),
        (&json!(1), &json!(true))
    );
    assert_eq!(street.told().len(), 7);
    // Calm and good.
    street.sql("UPDATE alerts SET changed_at = changed_at - 3600000");
    assert_eq!(street.last(8), "resolved server.unreachable web-1 ERROR");
    assert_eq!(street.admin.get("/api/alerts?state=open").is(200)["total"], 0);

    // Again, and this time it stays bad.
    street.sql("UPDATE alerts SET first_at = first_at - 3600000");
    for _ in 0..3 {
        flip(&street, "server.unreachable");
        flip(&street, "server.recovered");
    }
    flip(&street, "server.unreachable");
    street.last(15);
    street.sql("UPDATE alerts SET changed_at = changed_at - 3600000");
    assert_eq!(street.last(16), "raised server.unreachable web-1 ERROR calm");
    flip(&street, "server.recovered");
    assert_eq!(street.last(17), "resolved server.unreachable web-1 ERROR");
    assert_eq!((street.events("alert.flapping"), street.events("alert.calm")), (2, 2));

    // Nor is it flapping when a person tries again and again.
    for _ in 0..5 {
        flip(&street, "deploy.failed");
        flip(&street, "deploy.ok");
    }
    assert_eq!(street.last(27), "resolved deploy.failed web-1 ERROR");
    // Whoever stands in between does not silence the alarm by coming and going.
    for _ in 0..5 {
        flip(&street, "host.key_changed");
        flip(&street, "host.key_restored");
    }
    assert_eq!(street.last(37), "resolved host.key_changed web-1 CRITICAL");
}

#[test]
fn an_open_alert_rises_at_once_and_never_falls() {
    let street = street();
    // What is the same is told rarely; that it is worse is not the same.
    street
        .admin
        .put("/api/settings", &json!({ "messages.min_interval_s": 3600 }))
        .is(200);
    let shop = ("domain", 7, "shop.example");
    street.happens("certificate.bad", shop, json!({}));
    assert_eq!(street.last(1), "raised certificate.bad shop.example ERROR");
    let id = street.alert("certificate.bad", 7)["id"].clone();
    street.admin.post(&format!("/api/alerts/{id}/ack"), &json!({})).is(200);
    street.happens("certificate.bad", shop, json!({ "level": "CRITICAL" }));
    assert_eq!(street.last(2), "raised certificate.bad shop.example CRITICAL rose");
    let risen = street.alert("certificate.bad", 7);
    assert_eq!(
        (&risen["id"], &risen["state"], &risen["level"], &risen["acked_by"]),
        (&id, &json!("firing"), &json!("CRITICAL"), &Value::Null)
    );
    street.happens("certificate.bad", shop, json!({}));
    let now = street.alert("certificate.bad", 7);
    assert_eq!((&now["level"], &now["count"]), (&json!("CRITICAL"), &json!(3)));
    assert_eq!(street.events("alert.reopened"), 1);
    assert_eq!(street.told().len(), 2);
}

#[test]
fn a_phone_reads_why_it_is_told_now_in_its_language() {
    let street = street();
    let api = telegram::new();
    street.house.canary(telegram::TOKEN.split_once(':').unwrap().1);
    let endpoint = json!({
        "type": "telegram", "name": "phone", "token": telegram::TOKEN, "chats": ["424242"], "lang": "ru",
        "api_base": format!("http://127.0.0.1:{}", api.port()),
        "events": ["silence.began", "alert.silenced"],
    });
    street.admin.post("/api/notifications", &endpoint).is(201);
    let one = street.server("web-1");
    for name in ["a.example", "b.example"] {
        street.domain(name, &[one]);
    }
    street.happens(
        "server.unreachable",
        web(one),
        json!({ "level": "WARNING", "variant": "never" }),
    );
    let made = street
        .admin
        .post("/api/silences", &json!({ "server_id": one, "hours": 1 }))
        .is(201);
    let shown = |n: usize| {
        let all = eventually("the phone", || Some(telegram::shown(&api)).filter(|all| all.len() >= n));
        println!("{}\n", all[n - 1].1);
        all[n - 1].1.clone()
    };
    let first = shown(1);
    assert!(
        first.starts_with("🟡 web-1 ещё ни разу не отвечал: Glances недоступен\n"),
        "{first}"
    );
    assert!(
        first.contains("Также затронуто (без отдельных уведомлений): 2 домена."),
        "{first}"
    );
    assert!(shown(2).contains("Начался режим тишины: web-1"));
    assert!(shown(3).contains("web-1: тревога попала в режим тишины"));
    street
        .admin
        .post(&format!("/api/silences/{}/end", made["id"]), &json!({}))
        .is(200);
    assert!(shown(4).contains("Режим тишины закончился, а это продолжается."));
    street.happens("server.recovered", web(one), json!({}));
    assert!(shown(5).starts_with("🟢 web-1 впервые ответил\n"));
    thread::sleep(Duration::from_millis(200));
    assert_eq!(telegram::shown(&api).len(), 5);
}

#[test]
fn a_silence_may_be_narrowed_by_any_rule_and_by_a_group_of_hosts() {
    let street = street();
    let admin = &street.admin;
    let (prod, stage) = (street.server("web-1"), street.server("web-2"));
    admin
        .patch(&format!("/api/servers/{prod}"), &json!({ "environment": "prod" }))
        .is(200);
    let is_prod = json!({ "field": "environment", "op": "eq", "value": "prod" });
    let made = admin
        .post("/api/silences", &json!({ "scope": is_prod, "hours": 1 }))
        .is(201);
    assert_eq!((&made["scope"], &made["tag"]), (&is_prod, &json!("")));
    let silenced = |id: i64| !admin.get(&format!("/api/servers/{id}")).is(200)["silenced_until"].is_null();
    assert!(silenced(prod) && !silenced(stage));
    // Who comes into the scope is silent, too.
    admin
        .patch(&format!("/api/servers/{stage}"), &json!({ "environment": "prod" }))
        .is(200);
    eventually("the scope is followed", || silenced(stage).then_some(()));
    admin
        .post(&format!("/api/silences/{}/end", made["id"]), &json!({}))
        .is(200);
    assert!(!silenced(prod) && !silenced(stage));
    let group = admin
        .post("/api/groups", &json!({ "name": "web", "hosts": [stage] }))
        .is(201)["id"]
        .clone();
    admin
        .post("/api/silences", &json!({ "group_id": group, "hours": 1 }))
        .is(201);
    assert!(silenced(stage) && !silenced(prod));
    street.happens("host.key_changed", web(stage), json!({}));
    street.happens("host.key_changed", web(prod), json!({}));
    let alerts = eventually("both are raised", || {
        let alerts = admin.get("/api/alerts").is(200);
        (alerts["total"] == 2).then_some(alerts)
    });
    for alert in alerts["items"].as_array().unwrap() {
        let is_quiet = alert["target"]["id"] == stage;
        assert_eq!(!alert["quiet"].is_null(), is_quiet, "{alert}");
    }
    for bad in [
        json!({ "scope": { "field": "no such", "op": "exists" }, "hours": 1 }),
        json!({ "scope": is_prod, "tag": "web", "hours": 1 }),
        json!({ "scope": {}, "hours": 1 }),
    ] {
        admin.post("/api/silences", &bad).is(422);
    }
}
