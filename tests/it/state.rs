//! Thirty servers in all states: API, metrics, commands and pages show the same.

use crate::{common, fake};

use common::{House, Who, eventually, run, server};
use fake::{Fake, http};
use lamplighter::base::clock::{self, HOUR, MINUTE};
use rusqlite::params;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Condition of a server, its expected state, and whether it is silenced.
const KINDS: [(&str, &str, bool); 10] = [
    ("all well", "up", false),
    ("only a note", "up", false),
    ("its /srv is full", "degraded", false),
    ("another host key", "degraded", false),
    ("dark", "down", false),
    ("not yet there", "pending", false),
    ("dark and silenced", "down", true),
    ("a processor that stays full", "degraded", false),
    ("two alerts, one acknowledged", "degraded", false),
    ("full and silenced", "degraded", true),
];

struct Street {
    house: House,
    _glances: Fake,
    ids: Vec<i64>,
}

impl Street {
    fn new() -> Street {
        let body = json!({
            "cpu": { "total": 7.0 }, "mem": { "percent": 40.0 }, "load": { "min1": 0.1, "cpucore": 4 },
            "fs": [
                { "mnt_point": "/", "device_name": "/dev/vda1", "size": 100, "used": 20, "free": 80, "percent": 20.0 },
                { "mnt_point": "/srv", "device_name": "/dev/vdb", "size": 100, "used": 99, "free": 1, "percent": 99.0 },
            ],
        });
        let glances = Fake::new(move |_, peer| {
            let _ = peer.write_all(&http("200 OK", "application/json", body.to_string().as_bytes()));
        });
        let house = House::new();
        let ids = (0..30).map(|n| {
            let mut wanted = server(&format!("s{n:02}"), 9);
            wanted["glances_port"] = json!(if KINDS[n % 10].1 == "pending" { 9 } else { glances.port });
            wanted["poll_interval_s"] = json!(3_600);
            house.admin().post("/api/servers", &wanted).is(201)["id"]
                .as_i64()
                .unwrap()
        });
        let ids: Vec<i64> = ids.collect();
        let street = Street {
            house,
            _glances: glances,
            ids,
        };
        eventually("those that answer are lit", || {
            let lit = street.get("/api/servers?status=ok&limit=1")["total"].as_i64();
            (lit == Some(27)).then_some(())
        });
        let what = |n: usize| KINDS[n % 10].0;
        (0..30).for_each(|n| street.befall(n, what(n)));
        for n in 0..30 {
            let open = match what(n) {
                "all well" | "not yet there" => 0,
                "two alerts, one acknowledged" => 2,
                _ => 1,
            };
            let open = eventually(what(n), || street.alerts(street.ids[n], open));
            if let Some(memory) = open.iter().find(|a| a["kind"] == "metric.mem") {
                let ack = format!("/api/alerts/{}/ack", memory["id"]);
                street.house.admin().post(&ack, &json!({})).is(200);
            }
        }
        street
    }

    fn get(&self, path: &str) -> Value {
        self.house.admin().get(path).is(200)
    }

    fn befall(&self, n: usize, what: &str) {
        let (id, name) = (self.ids[n], format!("s{n:02}"));
        let db = self.house.database("lamplighter.db");
        let happens = |kind: &str, part: &str, level: &str| {
            let data = json!({
                "name": format!("{name} {part}").trim(), "kind": kind, "rule": 5, "part": part, "level": level,
                "title": format!("{name}: {kind}"), "evidence": ["seen"], "since": clock::rfc3339(clock::now() - 5 * MINUTE),
            });
            let sql = "INSERT INTO events (at, kind, target_type, target_id, data) VALUES (?1, ?2, 'server', ?3, ?4)";
            db.execute(sql, params![clock::now(), kind, id, data.to_string()])
                .unwrap();
        };
        if what.contains("silenced") {
            let silence = json!({ "server_id": id, "hours": 1 });
            self.house.admin().post("/api/silences", &silence).is(201);
        }
        match what {
            "only a note" => happens("metric.net", "", "INFO"),
            "its /srv is full" | "full and silenced" => happens("metric.disk", "/srv", "WARNING"),
            "another host key" => happens("host.key_changed", "", "CRITICAL"),
            "a processor that stays full" => happens("metric.cpu", "", "WARNING"),
            "two alerts, one acknowledged" => {
                happens("metric.disk", "/srv", "WARNING");
                happens("metric.mem", "", "ERROR");
            }
            "dark" | "dark and silenced" => {
                let sql = "UPDATE servers SET status = 'unreachable', status_since = ?2, revision = revision + 1 WHERE id = ?1";
                db.execute(sql, params![id, clock::now() - 5 * MINUTE]).unwrap();
                happens("server.unreachable", "", "ERROR");
            }
            _ => {}
        }
    }

    /// The open alerts about a server, once they are so many.
    fn alerts(&self, id: i64, wanted: usize) -> Option<Vec<Value>> {
        let open = self.get(&format!("/api/alerts?state=open&server={id}&limit=500"));
        let open = open["items"].as_array().unwrap().clone();
        (open.len() == wanted).then_some(open)
    }
}

/// The value of an attribute or a text between two marks, from `at` on.
fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let from = text.find(start).unwrap_or_else(|| panic!("no {start} in {text}")) + start.len();
    let to = text[from..].find(end);
    &text[from..from + to.unwrap_or_else(|| panic!("no {end} behind {start}: {:.200}", &text[from..]))]
}

#[test]
fn whoever_says_how_thirty_servers_are_says_the_same() {
    let street = Street::new();
    let (house, admin) = (&street.house, street.house.admin());
    let lamp = |state: &str| match state {
        "up" => "lit",
        "degraded" => "flick",
        "down" => "dark",
        _ => "unlit",
    };
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    for n in 0..30 {
        *counts.entry(KINDS[n % 10].1).or_default() += 1;
    }
    assert_eq!(
        counts,
        BTreeMap::from([("degraded", 15), ("down", 6), ("pending", 3), ("up", 6)])
    );

    // The API: each server alone, the list, and the list asked by state.
    let list = street.get("/api/servers?limit=500");
    for (n, row) in list["items"].as_array().unwrap().iter().enumerate() {
        let (what, state, silenced) = KINDS[n % 10];
        assert_eq!(row["state"], state, "{what}: {row}");
        assert_eq!(row["silenced_until"].is_string(), silenced, "{what}");
        assert_eq!(
            row["last_sample"]["disk_max_mount"].as_str(),
            Some("/srv").filter(|_| state != "pending")
        );
        assert_eq!(
            street.get(&format!("/api/servers/{}", row["id"]))["state"],
            state,
            "{what}"
        );
    }
    for (state, n) in &counts {
        assert_eq!(street.get(&format!("/api/servers?state={state}"))["total"], *n);
    }
    let overall = street.get("/api/status");
    let servers = &overall["parts"]["servers"];
    assert_eq!(
        (&overall["state"], &overall["status"]),
        (&json!("down"), &json!("unhealthy"))
    );
    for (state, n) in &counts {
        assert_eq!(servers[*state], *n, "{overall}");
    }
    assert_eq!(servers["silenced"], 6);
    assert_eq!(overall["parts"]["lamplighter"]["state"], "up", "{overall}");
    assert_eq!(
        overall["alerts_open"],
        street.get("/api/alerts?state=open&limit=1")["total"]
    );

    // The metrics.
    let metrics = admin.get("/metrics").text();
    for (state, n) in &counts {
        let line = format!("lamplighter_servers{{state=\"{state}\"}} {n}\n");
        assert!(metrics.contains(&line), "{line}");
    }
    for (n, (what, state, silenced)) in (0..30).map(|n| (n, KINDS[n % 10])) {
        let number = ["up", "degraded", "down"].iter().position(|s| *s == state);
        let name = format!("lamplighter_server_state{{server=\"s{n:02}\"}} ");
        assert_eq!(metrics.contains(&name), number.is_some(), "{what}");
        assert!(
            number.is_none_or(|number| metrics.contains(&format!("{name}{number}\n"))),
            "{what}"
        );
        let name = format!("lamplighter_server_silenced{{server=\"s{n:02}\"}} 1\n");
        assert_eq!(metrics.contains(&name), silenced, "{what}");
    }
    assert!(metrics.contains("lamplighter_state{part=\"all\"} 2\n"));

    // The commands.
    let status = run(&["status", "--data-dir", house.dir(), "--json"]);
    let said: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status.status.code(), Some(4));
    for key in ["state", "status", "parts", "alerts_open", "alerts_firing"] {
        assert_eq!(said[key], overall[key], "{key}");
    }
    let said = String::from_utf8(run(&["status", "--data-dir", house.dir()]).stdout).unwrap();
    assert!(
        said.starts_with("unhealthy\nservers: 6 up, 15 degraded, 6 down, 3 pending; 6 of all 30 silenced\n"),
        "{said}"
    );
    let health = run(&["health", "--listen", &house.address.to_string()]);
    assert_eq!(
        health.status.code(),
        Some(0),
        "Lamplighter itself is well, as the part says"
    );

    // The pages: title and icon, the wall, the table, each server's own.
    let reader = house.client().by(Who::cookie(
        &house.sign_in(common::ADMIN, &house.password),
        house.address,
    ));
    let page = |path: &str| {
        let answer = reader.get(path);
        assert_eq!(answer.status, 200, "{path}");
        answer.text()
    };
    let home = page("/");
    assert!(
        between(&home, "<title>", "</title>").starts_with("3 down · "),
        "what is silenced needs nobody"
    );
    assert!(between(&home, "rel=\"icon\" href=\"", "\"").ends_with("icon-down.svg"));
    assert!(home.contains("6 of 30 lamps are lit.") && home.contains("6 down, 15 degraded, 6 silenced."));
    assert!(between(&home, "data-v=\"disk\">", "<") == "99" && home.contains(" /srv</span>"));
    let table = page("/servers");
    for (state, n) in &counts {
        assert!(table.contains(&format!("data-n=\"{}\">{n}<", lamp(state))), "{state}");
    }
    for (n, id) in street.ids.iter().enumerate() {
        let (what, state, silenced) = KINDS[n % 10];
        let class = format!("s-{}{}", lamp(state), if silenced { " hush" } else { "" });
        let on_wall = format!("<a class=\"{class}\" href=\"/servers/{id}\"");
        assert!(home.contains(&on_wall), "{what}");
        let rows = between(&table, &format!("<tr data-id=\"{id}\""), "</table>");
        let row = rows.split("<tr").next().unwrap(); // a row's end tag is not sent
        assert!(
            row.contains(&format!("<td data-state class=\"{class}\">")),
            "{what}: {row}"
        );
        assert_eq!(row.contains("Silenced"), silenced, "{what}: {row}");
        let own = page(&format!("/servers/{id}"));
        assert!(own.contains(&format!("class=\"why t-{}\"", lamp(state))), "{what}");
        assert_eq!(own.contains("id=\"silenced\""), silenced, "{what}");
        let open = street.get(&format!("/api/servers/{id}"))["alerts"]["open"]
            .as_i64()
            .unwrap();
        let told = ["", "1 alert is open.", "2 alerts are open."][open as usize];
        let told_there = own.contains("id=\"open\"") && own.contains(told);
        assert_eq!(told_there, open > 0, "{what}");
        // The state's beginning is the same in the API, the table and the page: five minutes ago.
        if ["degraded", "down"].contains(&state) {
            let since = street.get(&format!("/api/servers/{id}"))["state_since"]
                .as_str()
                .unwrap()
                .to_string();
            let age = clock::now() - clock::parse_utc(&since).unwrap();
            assert!((5 * MINUTE..HOUR).contains(&age), "{what}: {since}");
            assert!(
                row.contains(&since) && own.contains(&format!("datetime=\"{since}\"")),
                "{what}: {row}"
            );
        }
    }
    // A silence that ends and an alert that is over change all of them; a restart changes none.
    let before = street.get("/api/status")["parts"].clone();
    let mut street = street;
    street.house.stop();
    street.house.start();
    assert_eq!(street.get("/api/status")["parts"]["servers"], before["servers"]);
}
