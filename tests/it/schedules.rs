//! Stored schedules: what can be scheduled, what is refused, and that tasks are enqueued when due.

use crate::common;

use common::*;
use lamplighter::base::clock;
use rusqlite::params;
use serde_json::{Value, json};

const CHECK: &str = "server.check_ssh";

fn nightly(server: i64) -> Value {
    json!({ "name": "nightly", "kind": CHECK, "target_id": server, "cron": "30 2 * * *", "time_zone": "Europe/Berlin" })
}

fn add_server(house: &House) -> i64 {
    house.admin().post("/api/servers", &server("web-1", 9)).is(201)["id"]
        .as_i64()
        .unwrap()
}

#[test]
fn a_schedule_is_kept_paused_and_removed_by_who_may_start_its_task() {
    let house = House::new();
    let (admin, server) = (house.admin(), add_server(&house));
    let (operator, viewer) = (house.somebody("operator"), house.somebody("viewer"));
    viewer.post("/api/schedules", &nightly(server)).fails(403, "forbidden");
    let made = operator.post("/api/schedules", &nightly(server)).is(201);
    assert_eq!(
        (&made["target"], &made["missed"], &made["enabled"], &made["owner"]),
        (
            &json!({ "type": "server", "id": server, "name": "web-1" }),
            &json!("skip"),
            &json!(true),
            &json!("operator")
        )
    );
    assert_eq!(made["next_run"], made["next_runs"][0]);
    assert_eq!(made["next_runs"].as_array().unwrap().len(), 3);
    let path = format!("/api/schedules/{}", made["id"]);
    assert_eq!(viewer.get("/api/schedules").is(200)["items"][0], made);

    for (field, draft) in [
        ("name", json!({ "name": "nightly" })),
        ("kind", json!({ "name": "b", "kind": "server.install_glances" })),
        ("kind", json!({ "name": "b", "kind": "no.such" })),
        ("target_id", json!({ "name": "b", "target_id": 999 })),
        ("cron", json!({ "name": "b", "cron": "30 2 * *" })),
        ("cron", json!({ "name": "b", "cron": "0 0 31 2 *" })),
        ("time_zone", json!({ "name": "b", "time_zone": "Europe/Nowhere" })),
        ("missed", json!({ "name": "b", "missed": "thrice" })),
    ] {
        let mut wanted = nightly(server);
        (wanted.as_object_mut().unwrap()).extend(draft.as_object().unwrap().clone());
        let refused = admin.post("/api/schedules", &wanted);
        refused.is(422);
        let wrong: Vec<_> = refused.wrong_fields();
        assert!(
            wrong
                .iter()
                .any(|w| *w == field || (field == "time_zone" && *w == "zone")),
            "{draft}: {wrong:?}"
        );
    }

    let mut odd = nightly(server);
    odd["colour"] = json!("red");
    admin.post("/api/schedules", &odd).fails(422, "unknown_field");

    // Off it is never due; what is not sent stays.
    let off = operator
        .patch(&path, &json!({ "enabled": false, "cron": "@daily" }))
        .is(200);
    assert_eq!(
        (&off["next_run"], &off["next_runs"], &off["cron"], &off["time_zone"]),
        (&Value::Null, &json!([]), &json!("@daily"), &json!("Europe/Berlin"))
    );
    // It can be run all the same, by who may.
    viewer.post(&format!("{path}/run"), &json!({})).fails(403, "forbidden");
    let task = operator.post(&format!("{path}/run"), &json!({})).is(202)["task_id"].clone();
    let task = admin.get(&format!("/api/tasks/{task}")).is(200);
    assert_eq!(
        (&task["kind"], &task["created_by"], &task["target"]["id"]),
        (&json!(CHECK), &json!("operator"), &json!(server))
    );
    viewer.delete(&path).fails(403, "forbidden");
    assert_eq!(operator.delete(&path).status, 204);
    operator.get(&path).fails(404, "not_found");
    let db = house.database("lamplighter.db");
    for action in ["schedule.create", "schedule.update", "schedule.run", "schedule.delete"] {
        let sql = "SELECT count(*) FROM audit WHERE action = ?1";
        let n: i64 = db.query_row(sql, [action], |r| r.get(0)).unwrap();
        assert_eq!(n, 1, "{action}");
    }
}

#[test]
fn the_page_has_forms_that_name_things_and_shows_what_is_next() {
    let house = House::new();
    let server = add_server(&house);
    let answer = house.sign_in(ADMIN, &house.password);
    let browser = house.client().by(Who::cookie(&answer, house.address));
    let page = browser.get("/schedules").text();
    assert!(
        page.contains("There is no schedule yet") && page.contains("href=\"/schedules\""),
        "{page}"
    );
    let form = "name=nightly&kind=server.check_ssh&target=nobody&cron=30+2+*+*+*&time_zone=&missed=once&enabled=on";
    let refused = browser.form("/schedules", form);
    assert_eq!(refused.status, 422);
    let page = refused.text();
    assert!(
        page.contains("There is none of this name") && page.contains("value=\"30 2 * * *\""),
        "{page}"
    );
    assert_eq!(browser.form("/schedules", &form.replace("nobody", "WEB-1")).status, 303);
    let page = browser.get("/schedules").text();
    for text in [
        &format!("href=\"/servers/{server}\""),
        "<code>30 2 * * *</code>",
        "Never yet",
        "/schedules/1/run",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    // A form in the row; a pause, a resumption, a removal.
    let page = browser.get("/schedules?edit=1").text();
    assert!(
        page.contains("action=\"/schedules/1\"") && page.contains("value=\"nightly\""),
        "{page}"
    );
    assert_eq!(browser.form("/schedules/1", "").status, 303);
    assert!(browser.get("/schedules").text().contains("Paused"));
    assert_eq!(browser.form("/schedules/1", "enabled=on").status, 303);
    assert!(!browser.get("/schedules").text().contains("Paused"));
    let run = browser.form("/schedules/1/run", "");
    assert_eq!(run.status, 303);
    assert!(run.header("location").is_some_and(|to| to.starts_with("/tasks/")));
    assert!(
        browser
            .get("/schedules?delete=1")
            .text()
            .contains("action=\"/schedules/1/delete\"")
    );
    assert_eq!(browser.form("/schedules/1/delete", "").status, 303);
    assert!(browser.get("/schedules").text().contains("There is no schedule yet"));
}

#[test]
fn the_clock_puts_the_task_in_and_says_so_when_its_target_is_gone() {
    let house = House::new();
    let (admin, server) = (house.admin(), add_server(&house));
    let made = admin.post("/api/schedules", &nightly(server)).is(201);
    let path = format!("/api/schedules/{}", made["id"]);
    // Its time comes (a minute ago), and the follower is woken by the next change.
    let comes = |n: i64| {
        let sql = "UPDATE schedules SET next_run = ?1 WHERE name = 'nightly'";
        house
            .database("lamplighter.db")
            .execute(sql, params![clock::now() - 60_000 - n])
            .unwrap();
        let mut other = nightly(server);
        other["name"] = json!(format!("other-{n}"));
        other["enabled"] = json!(false);
        if n == 0 {
            admin.post("/api/schedules", &other).is(201);
        } else {
            admin
                .patch("/api/schedules/2", &json!({ "missed": "once", "target_id": 2 }))
                .is(200);
        }
    };
    comes(0);
    let told = eventually("it was put in", || {
        let told = admin.get(&path).is(200);
        (told["last_result"] == "queued").then_some(told)
    });
    let task = house.wait_for(told["last_task_id"].as_i64().unwrap());
    assert_eq!((&task["kind"], &task["created_by"]), (&json!(CHECK), &json!("system")));

    let mut second = common::server("web-2", 9);
    second["host"] = json!("127.0.0.2");
    admin.post("/api/servers", &second).is(201);
    let gone = admin.delete(&format!("/api/servers/{server}"));
    assert!(gone.status < 300, "{}", gone.text());
    comes(1);
    let told = eventually("it could not", || {
        let told = admin.get(&path).is(200);
        (told["last_result"] == "failed").then_some(told)
    });
    assert_eq!(told["last_say"], "web-1 is not there any more.");
    assert_eq!(told["last_task_id"], task["id"]);
}
