//! Whatever changes something leaves a row of the audit. Every route that is no GET and every command stands here: with a
//! request that changes something, or with the reason why it leaves none. (The pages' forms call the same functions.)

use crate::common;

use common::*;
use serde_json::json;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;

/// Routes that change nothing a person would be asked about.
const LEAVE_NONE: [(&str, &str); 8] = [
    (
        "POST /api/auth/refresh",
        "the next tokens of the same sign-in; one used twice leaves a row (auth.rs)",
    ),
    ("PATCH /api/auth/me", "how somebody reads: language and zone"),
    ("POST /api/domains/verify-dns", "a look"),
    ("POST /api/domains/{id}/verify-dns", "a look"),
    ("POST /api/domains/{id}/answers/check", "a look"),
    ("POST /api/domains/{id}/certificate/check", "a look"),
    ("POST /api/domains/{id}/plan", "a look"),
    ("POST /api/servers/{id}/probe-glances", "a look"),
];

/// Routes that need a real server behind them: their rows are looked at in tests/lab.
const IN_THE_LAB: [&str; 2] = ["POST /api/domains/{id}/adopt", "POST /api/domains/{id}/forget"];

struct Story {
    house: House,
    admin: Client,
    told: RefCell<BTreeSet<String>>,
}

impl Story {
    /// The request went well, and rows carry its id. Gives the JSON.
    #[track_caller]
    fn changes(&self, route: &str, answer: Answer) -> serde_json::Value {
        assert!(
            (200..300).contains(&answer.status),
            "{route}: {} {}",
            answer.status,
            answer.text()
        );
        let id = answer.header("x-request-id").unwrap();
        let db = self.house.database("lamplighter.db");
        let rows: i64 = db
            .query_row("SELECT count(*) FROM audit WHERE request_id = ?1", [id], |r| r.get(0))
            .unwrap();
        assert!(rows > 0, "{route} left no row");
        self.told.borrow_mut().insert(route.to_string());
        if answer.body.is_empty() {
            json!(null)
        } else {
            answer.json()
        }
    }

    /// A thing is made, changed in both ways and, later, deleted.
    #[track_caller]
    fn made(&self, folder: &str, body: serde_json::Value, change: serde_json::Value, again: serde_json::Value) -> i64 {
        let made = self.changes(&format!("POST {folder}"), self.admin.post(folder, &body));
        let id = made["id"].as_i64().unwrap();
        let at = format!("{folder}/{id}");
        self.changes(&format!("PATCH {folder}/{{id}}"), self.admin.patch(&at, &change));
        if !again.is_null() {
            self.changes(&format!("PUT {folder}/{{id}}"), self.admin.put(&at, &again));
        }
        id
    }

    #[track_caller]
    fn gone(&self, folder: &str, id: i64) {
        self.changes(
            &format!("DELETE {folder}/{{id}}"),
            self.admin.delete(&format!("{folder}/{id}")),
        );
    }

    fn execute(&self, sql: &str) {
        self.house.database("lamplighter.db").execute(sql, []).unwrap();
    }
}

#[test]
fn every_route_that_changes_something_leaves_a_row() {
    let house = House::new();
    let story = Story {
        admin: house.admin(),
        house,
        told: RefCell::default(),
    };
    let (house, admin) = (&story.house, &story.admin);

    let password = house.account("anna", "viewer");
    let answer = house.sign_in("anna", &password);
    let anna = house.client().by(Who::bearer(&answer));
    story.changes("POST /api/auth/login", answer);
    story.changes("POST /api/auth/logout", anna.post("/api/auth/logout", &json!({})));
    story.changes(
        "PUT /api/settings",
        admin.put("/api/settings", &json!({ "poll.fail_threshold": 7 })),
    );

    let group = story.made(
        "/api/groups",
        json!({ "name": "one" }),
        json!({ "notes": "x" }),
        json!({ "name": "two" }),
    );
    let target = |port: u16| json!({ "name": "app", "targets": [format!("127.0.0.1:{port}")] });
    let upstream = story.made("/api/upstreams", target(81), json!({ "notes": "x" }), target(82));
    let door = Door::new(9);
    let mut again = server("web-2", door.port);
    again["description"] = json!("front");
    let web = story.made(
        "/api/servers",
        server("web-1", door.port),
        json!({ "tags": ["eu"] }),
        again,
    );
    let at = format!("/api/servers/{web}");
    eventually("its key is shown", || {
        (admin.get(&at).is(200)["host_key_fingerprint"] == door.fingerprint()).then_some(())
    });
    let accepted = admin.post(
        &format!("{at}/accept-host-key"),
        &json!({ "fingerprint": door.fingerprint() }),
    );
    story.changes("POST /api/servers/{id}/accept-host-key", accepted);
    for action in ["check-ssh", "deploy-proxy", "install-glances", "remove-glances"] {
        let started = admin.post(&format!("{at}/{action}"), &json!({}));
        let started = story.changes(&format!("POST /api/servers/{{id}}/{action}"), started);
        house.wait_for(started["task_id"].as_i64().unwrap());
    }
    story.execute(&format!(
        "INSERT INTO tasks (kind, target_type, target_id, target_name, input, status, not_before, not_after, created_by, request_id,
         created_at) VALUES ('server.check_ssh', 'server', {web}, 'web-2', '{{}}', 'waiting_window', 4000000000000,
         4100000000000, 'anna', '', 1)"
    ));
    let waiting = house.newest_task(web, "server.check_ssh");
    let cancelled = admin.post(&format!("/api/tasks/{waiting}/cancel"), &json!({}));
    story.changes("POST /api/tasks/{id}/cancel", cancelled);

    let pem = |name: &str| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/certs");
        fs::read_to_string(format!("{folder}/{name}.pem")).unwrap()
    };
    let pair = |name: &str| json!({ "name": name, "chain": pem("ec"), "key": pem("ec.key") });
    let certificate = story.made(
        "/api/certificates",
        pair("shop"),
        json!({ "name": "shop-2" }),
        pair("shop-3"),
    );
    let domain = |notes: &str| {
        json!({ "domain": "shop.example", "server_ids": [web], "upstream_id": upstream, "group_id": group,
            "preflight": "off", "notes": notes })
    };
    let shop = story.made("/api/domains", domain(""), json!({ "notes": "x" }), domain("y"));
    let at = format!("/api/domains/{shop}");
    for (route, path, body) in [
        ("POST /api/domains/{id}/deploy", format!("{at}/deploy"), json!({})),
        (
            "POST /api/domains/bulk",
            "/api/domains/bulk".into(),
            json!({ "ids": [shop], "action": "deploy" }),
        ),
        ("POST /api/domains/{id}/renew", format!("{at}/renew"), json!({})),
    ] {
        let started = story.changes(route, admin.post(&path, &body));
        for task in started["tasks"]
            .as_array()
            .into_iter()
            .flatten()
            .chain([&started["task_id"]])
        {
            if let Some(task) = task.as_i64().or(task["task_id"].as_i64()) {
                house.wait_for(task);
            }
        }
    }
    story.gone("/api/domains", shop);
    story.gone("/api/upstreams", upstream);
    story.gone("/api/certificates", certificate);
    story.gone("/api/groups", group);

    let watches = json!({ "watches": "cpu", "name": "hot", "threshold": 90, "for_s": 60 });
    let rule = story.made("/api/alert-rules", watches, json!({ "threshold": 80 }), json!(null));
    story.gone("/api/alert-rules", rule);
    let all = admin.get("/api/alert-rules").is(200);
    let builtin = all["items"].as_array().unwrap()[0]["id"].clone();
    admin
        .patch(&format!("/api/alert-rules/{builtin}"), &json!({ "enabled": false }))
        .is(200);
    let reset = admin.post(&format!("/api/alert-rules/{builtin}/reset"), &json!({}));
    story.changes("POST /api/alert-rules/{id}/reset", reset);
    story.execute(
        "INSERT INTO alerts (fingerprint, kind, level, state, target_type, target_id, target_name, title, evidence, first_at,
         last_at) VALUES ('made up', 'server.unreachable', 'ERROR', 'firing', 'server', 9, 'x', 'x', '[]', 1, 1)",
    );
    let alert = house
        .database("lamplighter.db")
        .query_row("SELECT max(id) FROM alerts", [], |r| r.get::<_, i64>(0));
    let taken = admin.post(&format!("/api/alerts/{}/ack", alert.unwrap()), &json!({}));
    story.changes("POST /api/alerts/{id}/ack", taken);
    let silence = admin.post(
        "/api/silences",
        &json!({ "server_id": web, "reason": "works", "hours": 1 }),
    );
    let silence = story.changes("POST /api/silences", silence)["id"].as_i64().unwrap();
    let ended = admin.post(&format!("/api/silences/{silence}/end"), &json!({}));
    story.changes("POST /api/silences/{id}/end", ended);

    let hook = |name: &str| json!({ "type": "webhook", "name": name, "url": "http://127.0.0.1:9/", "enabled": false });
    let endpoint = story.made(
        "/api/notifications",
        hook("ops"),
        json!({ "min_level": "ERROR" }),
        hook("ops-2"),
    );
    let tested = admin.post(&format!("/api/notifications/{endpoint}/test"), &json!({}));
    story.changes("POST /api/notifications/{id}/test", tested);
    story.execute(&format!(
        "INSERT INTO notification_queue (endpoint_id, recipient, event_id, fingerprint, key, what, kind, level, facts, status,
         created_at, since, next_at) SELECT {endpoint}, '', 1, 'made up', 'k', 'event', 'server.created', 'INFO',
         facts, 'dead', 1, 1, 1 FROM notification_queue WHERE what = 'test' LIMIT 1"
    ));
    story.gone("/api/notifications", endpoint);

    let token = admin.post("/api/exporter/token", &json!({}));
    house.canary(token.json()["token"].as_str().unwrap());
    story.changes("POST /api/exporter/token", token);
    story.changes("DELETE /api/exporter/token", admin.delete("/api/exporter/token"));
    let secret = json!({ "secret": house.canary("a-push-secret-77") });
    story.changes(
        "PUT /api/exporter/push-secret",
        admin.put("/api/exporter/push-secret", &secret),
    );
    let fleet = json!({ "lamplighter": 1, "groups": [{ "name": "from a document" }] });
    story.changes("POST /api/fleet", admin.post("/api/fleet?mode=apply", &fleet));
    story.gone("/api/servers", web);

    let mut first = House::empty(Processes::One, &[]);
    first.start();
    let token = first.daemons[0].word_after("setup_token=");
    let owner = json!({ "login": "owner", "password": first.canary("a-long-first-password-1"), "setup_token": token });
    let registered = first.client().post("/api/auth/register", &owner);
    let first = Story {
        admin: first.client(),
        house: first,
        told: RefCell::default(),
    };
    first.changes("POST /api/auth/register", registered);

    let known: BTreeSet<String> = (story.told.borrow().iter().chain(first.told.borrow().iter()))
        .cloned()
        .chain(LEAVE_NONE.map(|(route, _)| route.to_string()))
        .chain(IN_THE_LAB.map(String::from))
        .collect();
    let table = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/api.txt")).unwrap();
    let changing = table
        .lines()
        .filter(|l| ["POST ", "PUT ", "PATCH ", "DELETE "].iter().any(|m| l.starts_with(m)));
    let routes: BTreeSet<String> = changing.map(|l| l.split(" (").next().unwrap().to_string()).collect();
    let untold: Vec<_> = routes.difference(&known).collect();
    assert!(
        untold.is_empty(),
        "say here what these change, or why they leave no row: {untold:?}"
    );
    let gone: Vec<_> = known.difference(&routes).collect();
    assert!(gone.is_empty(), "these routes are not there any more: {gone:?}");
}

#[test]
fn every_command_that_changes_something_leaves_a_row() {
    let mut house = House::new();
    let password = "a-long-password-for-anna-1";
    let file = house.folder.file("password", password);
    let made = [
        ("create-admin", vec!["--login", "anna"], "user.create"),
        ("reset-password", vec!["--login", "anna"], "user.set_password"),
        ("disable-user", vec!["--login", "anna"], "user.disable"),
        ("enable-user", vec!["--login", "anna"], "user.enable"),
    ];
    let newest = |house: &House| -> (String, String, String) {
        let db = house.database("lamplighter.db");
        let sql = "SELECT actor, action, via FROM audit ORDER BY seq DESC LIMIT 1";
        db.query_row(sql, [], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))
            .unwrap()
    };
    let mut told: BTreeSet<String> = COMMANDS_LEAVE_NONE.iter().map(|c| c.to_string()).collect();
    let file = file.to_str().unwrap().to_string();
    for (command, mut flags, action) in made {
        if command.ends_with("password") || command.starts_with("create") {
            flags.extend(["--password-file", &file]);
        }
        let out = run(&[&[command, "--data-dir", house.dir()], &flags[..]].concat());
        assert!(out.status.success(), "{command}: {}", said(&out));
        assert_eq!(newest(&house), ("cli:root".into(), action.into(), "cli".into()));
        told.insert(command.into());
    }
    let document = house.folder.file(
        "fleet.json",
        r#"{"lamplighter": 1, "groups": [{"name": "by the command line"}]}"#,
    );
    let out = run(&[
        "apply",
        "--data-dir",
        house.dir(),
        "--file",
        document.to_str().unwrap(),
        "--yes",
    ]);
    assert!(out.status.success(), "{}", said(&out));
    assert_eq!(newest(&house), ("cli:root".into(), "group.create".into(), "cli".into()));
    told.insert("apply".into());
    house.stop();
    fs::remove_file(house.folder.path().join("lamplighter.audit-head")).unwrap();
    let out = run(&["verify-audit", "--data-dir", house.dir(), "--accept"]);
    assert!(out.status.success(), "{}", said(&out));
    assert_eq!(newest(&house), ("cli:root".into(), "audit.accept".into(), "cli".into()));
    told.insert("verify-audit".into());

    let help = said(&run(&["--help"]));
    let list = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let commands: BTreeSet<String> = list
        .lines()
        .map(|l| l.split_whitespace().next().unwrap().to_string())
        .collect();
    assert_eq!(
        commands, told,
        "say here what a command changes, or why it leaves no row"
    );
}

/// Commands that change nothing in the databases, or only what the program keeps for itself.
const COMMANDS_LEAVE_NONE: [&str; 12] = [
    "dev", // `init-db` and `create-admin` in one
    "serve",
    "run-api",
    "run-scheduler",
    "check-config",
    "encrypt-keygen",
    "init-db",
    "migrate",
    "health",
    "status",
    "export",
    "api", // as the route that it asks
];
