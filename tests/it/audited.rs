//! Whatever changes something leaves a row of the audit. Every route that is no GET and every command stands here: with a
//! request that changes something, or with the reason why it leaves none. (The pages' forms call the same functions.)

use crate::common;
use crate::fake::marzban::Marzban;

use common::*;
use serde_json::json;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;

/// Routes that change nothing a person would be asked about.
const LEAVE_NONE: [(&str, &str); 15] = [
    ("POST /api/inventory/preview", "a look"),
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
    ("POST /api/hosts/{id}/status-check", "a look"),
    ("POST /api/services/{name}/check", "a look"),
    (
        "POST /api/heartbeat",
        "a call of whoever has the token; nobody signed in",
    ),
    ("POST /api/alerts", "an alert, which names who has told of it"),
    ("POST /api/groups/preview", "a look"),
    (
        "POST /api/groups/{id}/recalculate",
        "what the rule says, and what is done every five minutes",
    ),
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

/// A secret from its first value to its last.
fn kept_secrets(story: &Story) {
    let (house, admin) = (&story.house, &story.admin);
    let value = house.canary("kept-secret-4711");
    let body = json!({ "name": "replica", "type": "password", "value": value });
    let id = story.made("/api/secrets", body, json!({ "notes": "x" }), json!(null));
    let at = format!("/api/secrets/{id}");
    let made = json!({ "generate": "password" });
    story.changes(
        "POST /api/secrets/{id}/rotate",
        admin.post(&format!("{at}/rotate"), &made),
    );
    let why = json!({ "reason": "a look", "password": house.password });
    story.changes(
        "POST /api/secrets/{id}/reveal",
        admin.post(&format!("{at}/reveal"), &why),
    );
    story.changes(
        "DELETE /api/secrets/{id}/versions",
        admin.delete(&format!("{at}/versions")),
    );
    leased_secret(story, &at);
    rotated_on_hosts(story, &at);
    story.gone("/api/secrets", id);
}

/// Given out, made longer, ended: alone, and with all others.
fn leased_secret(story: &Story, at: &str) {
    let (house, admin) = (&story.house, &story.admin);
    let me = json!({ "password": house.password });
    admin.post("/api/me/confirm", &me).is(204);
    let list = json!({ "lessees": [format!("user:{ADMIN}")], "scope": ["servers"] });
    story.changes("PATCH /api/secrets/{id}", admin.patch(at, &list));
    let ttl = json!({ "ttl_seconds": 60 });
    let lease = story.changes("POST /api/secrets/{id}/lease", admin.post(&format!("{at}/lease"), &ttl));
    house.canary(lease["value"].as_str().unwrap());
    let one = format!("/api/leases/{}", lease["lease_id"]);
    story.changes(
        "POST /api/leases/{id}/renew",
        admin.post(&format!("{one}/renew"), &json!({ "ttl_seconds": 90 })),
    );
    story.changes("DELETE /api/leases/{id}", admin.delete(&one));
    story.changes("DELETE /api/secrets/{id}/leases", admin.delete(&format!("{at}/leases")));
}

/// Sent on its way to a host that nobody answers at, and dropped.
fn rotated_on_hosts(story: &Story, at: &str) {
    let (house, admin) = (&story.house, &story.admin);
    let host = admin.post("/api/servers", &server("rotated", 9)).is(201)["id"].clone();
    let hosts = json!({ "server_ids": [host], "account": "deploy" });
    let begun = story.changes(
        "POST /api/secrets/{id}/rotate-apply",
        admin.post(&format!("{at}/rotate-apply"), &hosts),
    );
    house.wait_for(begun["task_id"].as_i64().unwrap());
    story.execute("UPDATE secret_rotations SET state = 'open', value = x'00'");
    story.execute("UPDATE secret_rotation_hosts SET step = 'failed'");
    let left = story.changes(
        "POST /api/secrets/{id}/rotation/leave-out",
        admin.post(&format!("{at}/rotation/leave-out"), &json!({ "server_id": host })),
    );
    assert_eq!(left["hosts"][0]["left_out"], true, "{left}");
    let other = json!({ "server_id": 9_999 });
    admin
        .post(&format!("{at}/rotation/leave-out"), &other)
        .fails(404, "not_found");
    story.changes(
        "DELETE /api/secrets/{id}/rotation",
        admin.delete(&format!("{at}/rotation")),
    );
    admin.delete(&format!("/api/servers/{host}")).is(204);
}

/// Accounts with all that is theirs.
fn people(story: &Story) {
    let (house, admin) = (&story.house, &story.admin);
    let shown = json!({ "password": house.password });
    story.changes("POST /api/me/confirm", admin.post("/api/me/confirm", &shown));
    let link = |made: &serde_json::Value| {
        let url = made["invite_url"].as_str().unwrap();
        house.canary(url.split_once("token=").unwrap().1);
    };
    let new = json!({ "login": "bert", "role": "viewer" });
    let bert = story.changes("POST /api/users", admin.post("/api/users", &new));
    link(&bert);
    let at = format!("/api/users/{}", bert["id"]);
    let change = json!({ "role": "operator", "email": "bert@example.org" });
    story.changes("PATCH /api/users/{id}", admin.patch(&at, &change));
    let fresh = admin.post(&format!("{at}/invite"), &json!({}));
    link(&story.changes("POST /api/users/{id}/invite", fresh));
    let ended = admin.delete(&format!("{at}/sessions"));
    story.changes("DELETE /api/users/{id}/sessions", ended);
    story.changes("DELETE /api/users/{id}", admin.delete(&at));

    let password = house.account("carl", "operator");
    let carl = || house.client().by(Who::bearer(&house.sign_in("carl", &password)));
    let codes = |answer: serde_json::Value| {
        for code in answer["recovery_codes"].as_array().unwrap() {
            house.canary(code.as_str().unwrap());
        }
    };
    let with_totp = |carl: &Client| {
        let begun = story.changes("POST /api/me/totp", carl.post("/api/me/totp", &json!({})));
        let secret = house.canary(begun["secret"].as_str().unwrap());
        let code = json!({ "code": crate::sessions::code(&secret, -1) });
        codes(story.changes("POST /api/me/totp/confirm", carl.post("/api/me/totp/confirm", &code)));
    };
    let first = carl();
    with_totp(&first);
    let id = first.get("/api/auth/me").is(200)["id"].clone();
    let reset = admin.delete(&format!("/api/users/{id}/totp"));
    story.changes("DELETE /api/users/{id}/totp", reset);
    let (first, _, _) = (carl(), carl(), carl());
    with_totp(&first);
    let listed = first.get("/api/me/sessions").is(200);
    let mut all = listed["items"].as_array().unwrap().iter();
    let other = all.find(|s| s["current"] == false).unwrap()["id"].as_str().unwrap();
    let one = first.delete(&format!("/api/me/sessions/{other}"));
    story.changes("DELETE /api/me/sessions/{id}", one);
    story.changes("DELETE /api/me/sessions", first.delete("/api/me/sessions"));
    first.post("/api/me/confirm", &json!({ "password": password })).is(204);
    let fresh = first.post("/api/me/totp/recovery-codes", &json!({}));
    codes(story.changes("POST /api/me/totp/recovery-codes", fresh));
    story.changes("DELETE /api/me/totp", first.delete("/api/me/totp"));
    let new = json!({ "old": password, "new": house.canary("carl walks at noon") });
    story.changes("POST /api/me/password", first.post("/api/me/password", &new));

    let token = admin.post("/api/tokens", &json!({ "name": "backup", "scopes": ["groups:edit"] }));
    let token = story.changes("POST /api/tokens", token);
    let program = house.canary(token["token"].as_str().unwrap());
    let made = (house.client().by(Who::Bearer(program))).post("/api/groups", &json!({ "name": "by a program" }));
    story.changes("POST /api/groups", made);
    let row = &admin.get("/api/audit?action=group.create").is(200)["items"][0];
    let via = format!("token {} backup", token["id"]);
    assert_eq!((&row["actor"], &row["via"]), (&json!(ADMIN), &json!(via)));
    let withdrawn = admin.delete(&format!("/api/tokens/{}", token["id"]));
    story.changes("DELETE /api/tokens/{id}", withdrawn);
}

#[test]
fn no_secret_of_anything_stands_in_a_row() {
    let house = House::with(Processes::ApiOnly, &[]);
    let story = Story {
        admin: house.admin(),
        house,
        told: RefCell::default(),
    };
    let (house, admin) = (&story.house, &story.admin);
    people(&story);
    let secret = |what: &str| house.canary(format!("{what}-{}", lamplighter::base::random::name()));
    let make = |path: &str, body: serde_json::Value| {
        let made = admin.post(path, &body).is(201);
        format!("{path}/{}", made["id"])
    };
    let data = |name: &str| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data");
        fs::read_to_string(format!("{folder}/{name}")).unwrap()
    };
    let key = |name: &str| {
        let pem = data(name);
        house.canary(pem.lines().nth(1).unwrap());
        pem
    };

    let host = |name: &str| json!({ "name": name, "host": "192.0.2.7", "username": "root" });
    let with = |mut body: serde_json::Value, more: serde_json::Value| {
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let known = json!({ "password": secret("login"), "glances_auth_type": "basic", "glances_username": "g", "glances_password": secret("glances") });
    let by_password = make("/api/servers", with(host("one"), known));
    let keyed = json!({ "auth_type": "ssh_key", "ssh_key": key("ssh-keys/ed25519"), "password": secret("sudo"),
        "glances_auth_type": "token", "glances_token": secret("glances-token") });
    let by_key = make("/api/servers", with(host("two"), keyed));
    let new = json!({ "password": secret("login"), "description": "front" });
    admin.patch(&by_password, &new).is(200);

    let pair = json!({ "name": "shop", "chain": data("certs/ec.pem"), "key": key("certs/ec.key.pem") });
    let certificate = make("/api/certificates", pair);
    let hook = json!({ "type": "webhook", "name": "hook", "enabled": false, "secret": secret("hook"),
        "url": format!("http://user:{}@127.0.0.1:9/{}", secret("proxy"), secret("path")),
        "headers": format!("X-Api-Key: {}", secret("header")) });
    let bot = format!("123456:{}", secret("bot"));
    let endpoints = [
        make("/api/notifications", hook),
        make(
            "/api/notifications",
            json!({ "type": "slack", "name": "team", "url": format!("https://hooks.slack.com/services/{}", secret("slack")) }),
        ),
        make(
            "/api/notifications",
            json!({ "type": "telegram", "name": "us", "token": bot, "chats": ["-1001"] }),
        ),
        make(
            "/api/notifications",
            json!({ "type": "email", "name": "mail", "host": "mail.example.org", "username": "u",
            "password": secret("mail"), "from": "a@example.org", "to": ["b@example.org"] }),
        ),
    ];
    admin.patch(&endpoints[0], &json!({ "secret": secret("hook") })).is(200);
    let exporter = admin.post("/api/exporter/token", &json!({})).json();
    house.canary(exporter["token"].as_str().unwrap());
    admin
        .put("/api/exporter/push-secret", &json!({ "secret": secret("push") }))
        .is(204);
    for path in [&by_password, &by_key, &certificate].into_iter().chain(&endpoints) {
        let gone = admin.delete(path);
        assert!((200..300).contains(&gone.status), "{path}: {}", gone.text());
    }
    // A secret that somebody has put where none belongs.
    make(
        "/api/groups",
        json!({ "name": "notes", "notes": format!("Authorization: Bearer {}", secret("note")) }),
    );

    let browser = house
        .client()
        .by(Who::cookie(&house.sign_in(ADMIN, &house.password), house.address));
    let mut page = browser.get("/audit").text();
    page.push_str(&browser.get("/audit?object=server").text());
    let [csv, list] = ["csv", "json"].map(|format| admin.get(&format!("/api/audit/export?format={format}")).text());
    assert!([&csv, &list, &page].iter().all(|text| text.contains("•••")));
    let secrets = house.secrets();
    assert!(secrets.len() > 40, "{}", secrets.len());
    for (place, text) in [("page", page), ("csv", csv), ("json", list)] {
        for secret in &secrets {
            assert_eq!(found_in(text.as_bytes(), secret), None, "in {place}: {secret}");
        }
    }
    // What is taken from the note on its way to the audit stands in the note itself.
    house
        .database("lamplighter.db")
        .execute("UPDATE groups SET notes = ''", [])
        .unwrap();
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

    people(&story);

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
    let mut again = server("host-2", door.port);
    again["environment"] = json!("prod");
    let host = story.made(
        "/api/hosts",
        server("host-1", door.port),
        json!({ "os_type": "linux" }),
        again,
    );
    story.gone("/api/hosts", host);
    let text = "name,host,username\nread in,192.0.2.99,root\n";
    let read_in = admin.post("/api/inventory/import", &json!({ "text": text }));
    let read_in = story.changes("POST /api/inventory/import", read_in);
    story.gone("/api/servers", read_in["created"][0].as_i64().unwrap());
    let at = format!("/api/servers/{web}");
    eventually("its key is shown", || {
        (admin.get(&at).is(200)["host_key_fingerprint"] == door.fingerprint()).then_some(())
    });
    let accepted = admin.post(
        &format!("{at}/accept-host-key"),
        &json!({ "fingerprint": door.fingerprint() }),
    );
    story.changes("POST /api/servers/{id}/accept-host-key", accepted);
    let said = json!({ "banner": { "text": "Updates tonight.", "level": "info" } });
    story.changes("PUT /api/admin/settings", admin.put("/api/admin/settings", &said));
    let project = story.made(
        "/api/projects",
        json!({ "name": "shop" }),
        json!({ "notes": "of the shop" }),
        json!(null),
    );
    let plugin = json!({ "name": "file", "definition": "file", "config": { "path": "/etc/lamplighter/plugins/x" } });
    let plugin = story.made(
        "/api/plugins",
        plugin,
        json!({ "enabled": false }),
        json!({ "enabled": true }),
    );
    let tried = admin.post(&format!("/api/plugins/{plugin}/test"), &json!({}));
    story.changes("POST /api/plugins/{id}/test", tried);
    let moved = admin.put(
        &format!("/api/projects/{project}/things"),
        &json!({ "plugins": [plugin] }),
    );
    story.changes("PUT /api/projects/{id}/things", moved);
    story.gone("/api/plugins", plugin);
    story.gone("/api/projects", project);
    let of_hosts = at.replace("servers", "hosts");
    let list = json!({ "action": "updates" });
    let bytes = Some(("application/octet-stream", &b"x"[..]));
    for (route, sent) in [
        (
            "POST /api/hosts/{id}/actions",
            admin.post(&format!("{of_hosts}/actions"), &list),
        ),
        (
            "POST /api/hosts/{id}/files",
            admin.send("POST", &format!("{of_hosts}/files?path=/srv/f"), bytes),
        ),
        (
            "POST /api/actions",
            admin.post("/api/actions", &json!({ "action": "updates", "server_ids": [web] })),
        ),
    ] {
        let started = story.changes(route, sent);
        let task = format!("/api/tasks/{}", started["task_id"]);
        eventually("it ends", || {
            (!admin.get(&task).is(200)["finished_at"].is_null()).then_some(())
        });
    }
    let many = admin.send(
        "POST",
        &format!("/api/actions/files?path=/srv/f&server_ids={web}"),
        bytes,
    );
    let started = story.changes("POST /api/actions/files", many);
    house.wait_for(started["task_id"].as_i64().unwrap());
    for action in ["check-ssh", "deploy-proxy", "install-glances", "remove-glances"] {
        // Nobody but us takes ours away.
        story.execute("UPDATE servers SET glances_profile = 'open'");
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

    story.execute(
        "INSERT INTO containers (name, life, image, project, state, since, created_at, seen_at)
         VALUES ('web', '', 'shop:1', 'shop', 'exited', 1, 1, 1)",
    );
    let changed = admin.patch("/api/containers/local/web", &json!({ "restart_unhealthy": "on" }));
    story.changes("PATCH /api/containers/{server_id}/{name}", changed);
    for act in ["start", "stop", "restart"] {
        let started = admin.post(&format!("/api/containers/local/web/{act}"), &json!({}));
        let started = story.changes(&format!("POST /api/containers/{{server_id}}/{{name}}/{act}"), started);
        house.wait_for(started["task_id"].as_i64().unwrap());
    }
    let started = admin.post("/api/container-projects/local/shop/restart", &json!({ "grace_s": 1 }));
    let started = story.changes("POST /api/container-projects/{server_id}/{project}/restart", started);
    house.wait_for(started["task_ids"][0].as_i64().unwrap());

    let unit = json!({ "name": "bot", "kind": "unit", "server_id": web, "unit": "bot", "enabled": false });
    let made = admin.post("/api/services", &unit);
    story.changes("POST /api/services", made);
    let changed = admin.patch("/api/services/bot", &json!({ "notes": "of the shop" }));
    story.changes("PATCH /api/services/{name}", changed);
    let changed = admin.put("/api/services/bot", &json!({ "notes": "of the shops" }));
    story.changes("PUT /api/services/{name}", changed);
    for act in ["start", "stop", "restart"] {
        let started = admin.post(&format!("/api/services/bot/{act}"), &json!({}));
        let started = story.changes(&format!("POST /api/services/{{name}}/{act}"), started);
        house.wait_for(started["task_id"].as_i64().unwrap());
    }
    let unit =
        json!({ "name": "own", "kind": "command", "server_id": web, "command": ["/bin/true"], "enabled": false });
    admin.post("/api/services", &unit).is(201);
    let started = story.changes(
        "POST /api/services/{name}/remove-unit",
        admin.post("/api/services/own/remove-unit", &json!({})),
    );
    house.wait_for(started["task_id"].as_i64().unwrap());
    let on = admin.put("/api/status-page/things/service/1", &json!({ "name": "Bot" }));
    story.changes("PUT /api/status-page/things/{kind}/{id}", on);
    let off = admin.delete("/api/status-page/things/service/1");
    story.changes("DELETE /api/status-page/things/{kind}/{id}", off);
    let begun = admin.post(
        "/api/status-page/incidents",
        &json!({ "title": "Slow", "text": "We look into it." }),
    );
    let incident = story.changes("POST /api/status-page/incidents", begun)["id"]
        .as_i64()
        .unwrap();
    let said = json!({ "text": "It is over.", "resolved": true });
    let said = admin.post(&format!("/api/status-page/incidents/{incident}/updates"), &said);
    story.changes("POST /api/status-page/incidents/{id}/updates", said);
    let gone = admin.delete(&format!("/api/status-page/incidents/{incident}"));
    story.changes("DELETE /api/status-page/incidents/{id}", gone);
    let cache =
        json!({ "name": "cache", "kind": "redis", "host": "192.0.2.1", "clear_prefix": "cache:", "enabled": false });
    admin.post("/api/services", &cache).is(201);
    let started = admin.post("/api/redis/cache/clear", &json!({ "confirm": "cache:" }));
    let started = story.changes("POST /api/redis/{name}/clear", started);
    house.wait_for(started["task_id"].as_i64().unwrap());
    let panel = Marzban::start("for the panel");
    let vpn = json!({ "name": "vpn", "kind": "marzban", "base_url": panel.url(), "username": "admin", "password": "for the panel",
        "enabled": false });
    admin.post("/api/services", &vpn).is(201);
    let user = "/api/marzban/instances/vpn/users/anna.k";
    let changed = admin.patch(user, &json!({ "enabled": true }));
    story.changes("PATCH /api/marzban/instances/{name}/users/{user}", changed);
    let reset = admin.post(&format!("{user}/reset"), &json!({}));
    story.changes("POST /api/marzban/instances/{name}/users/{user}/reset", reset);
    let file = json!({ "services": { "bot": { "max_restarts": 3 } } });
    story.changes(
        "POST /api/services/import",
        admin.post("/api/services/import", &json!({ "file": file, "apply": true })),
    );
    let removed = admin.delete("/api/services/bot");
    story.changes("DELETE /api/services/{name}", removed);

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
    let rule = story.made("/api/alert-rules", watches, json!({ "name": "hotter" }), json!(null));
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
         replace(facts, 'test', 'event'), 'dead', 1, 1, 1 FROM notification_queue WHERE what = 'test' LIMIT 1"
    ));
    let delivery = house
        .database("lamplighter.db")
        .query_row("SELECT max(id) FROM notification_queue", [], |r| r.get::<_, i64>(0))
        .unwrap();
    let again = admin.post(&format!("/api/notifications/deliveries/{delivery}/resend"), &json!({}));
    story.changes("POST /api/notifications/deliveries/{id}/resend", again);
    story.gone("/api/notifications", endpoint);

    kept_secrets(&story);

    let token = admin.post("/api/exporter/token", &json!({}));
    house.canary(token.json()["token"].as_str().unwrap());
    story.changes("POST /api/exporter/token", token);
    story.changes("DELETE /api/exporter/token", admin.delete("/api/exporter/token"));
    let secret = json!({ "secret": house.canary("a-push-secret-77") });
    story.changes(
        "PUT /api/exporter/push-secret",
        admin.put("/api/exporter/push-secret", &secret),
    );
    let loki = json!({ "forward.loki": "http://127.0.0.1:9" });
    admin.put("/api/settings", &loki).is(200);
    let secret = json!({ "secret": house.canary("a-loki-secret-78") });
    story.changes("PUT /api/forward/secret", admin.put("/api/forward/secret", &secret));
    let fleet = json!({ "lamplighter": 1, "groups": [{ "name": "from a document" }] });
    story.changes("POST /api/fleet", admin.post("/api/fleet?mode=apply", &fleet));
    let nightly = json!({ "name": "nightly", "kind": "server.check_ssh", "target_id": web, "cron": "30 2 * * *" });
    let schedule = story.made(
        "/api/schedules",
        nightly,
        json!({ "enabled": false }),
        serde_json::Value::Null,
    );
    let run = admin.post(&format!("/api/schedules/{schedule}/run"), &json!({}));
    let run = story.changes("POST /api/schedules/{id}/run", run);
    house.wait_for(run["task_id"].as_i64().unwrap());
    story.gone("/api/schedules", schedule);
    let backup = story.changes("POST /api/backups", admin.post("/api/backups", &json!({})));
    house.wait_for(backup["task_id"].as_i64().unwrap());
    let backup = admin.get("/api/backups").is(200)["items"][0]["id"].clone();
    let again = admin.post(&format!("/api/backups/{backup}/rehearse"), &json!({}));
    let again = story.changes("POST /api/backups/{id}/rehearse", again);
    house.wait_for(again["task_id"].as_i64().unwrap());
    for act in ["approve", "refuse"] {
        story.execute(
            "INSERT INTO tasks (kind, target_type, target_id, target_name, input, status, approve_until, created_by,
             request_id, created_at) VALUES ('server.check_ssh', 'server', 9, 'x', '{}', 'waiting_approval', 9000000000000,
             'somebody', 'r', 1)",
        );
        let task: i64 = (house
            .database("lamplighter.db")
            .query_row("SELECT max(id) FROM tasks", [], |r| r.get(0)))
        .unwrap();
        let decided = admin.post(&format!("/api/tasks/{task}/{act}"), &json!({}));
        story.changes(&format!("POST /api/tasks/{{id}}/{act}"), decided);
    }
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
    let words = fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/features/house/audit/words.txt"
    ))
    .unwrap();
    let db = house.database("lamplighter.db");
    let mut actions = db.prepare("SELECT DISTINCT action FROM audit").unwrap();
    let actions = actions.query_map([], |r| r.get::<_, String>(0)).unwrap();
    for action in actions.map(Result::unwrap) {
        assert!(
            words.contains(&format!("\naudit.act.{action}\n")),
            "{action} has no words"
        );
    }

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
        ("unlock", vec!["--login", "anna"], "user.unlock"),
    ];
    let newest_of = |folder: &Folder| -> (String, String, String) {
        let db = rusqlite::Connection::open(folder.path().join("lamplighter.db")).unwrap();
        let sql = "SELECT actor, action, via FROM audit ORDER BY seq DESC LIMIT 1";
        db.query_row(sql, [], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))
            .unwrap()
    };
    let newest = |house: &House| newest_of(&house.folder);
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
    let bundle = crate::bundle::small(&house.folder).display().to_string();
    for (command, flags) in [
        ("bundle-add", ["--file", &*bundle].to_vec()),
        ("bundle-remove", vec!["--suite", "bookworm", "--arch", "amd64"]),
    ] {
        let out = run(&[&[command, "--data-dir", house.dir()], &flags[..]].concat());
        assert!(out.status.success(), "{command}: {}", said(&out));
        assert_eq!(
            newest(&house),
            ("cli:root".into(), command.replace('-', "."), "cli".into())
        );
        told.insert(command.into());
    }
    house.stop();
    fs::remove_file(house.folder.path().join("lamplighter.audit-head")).unwrap();
    let out = run(&["verify-audit", "--data-dir", house.dir(), "--accept"]);
    assert!(out.status.success(), "{}", said(&out));
    assert_eq!(newest(&house), ("cli:root".into(), "audit.accept".into(), "cli".into()));
    told.insert("verify-audit".into());

    let backup = house.folder.path().join("house.tar").display().to_string();
    for (command, flags, action) in [
        ("key-rotate", vec![], "key.rotate"),
        ("key-reseal", vec![], "key.reseal"),
        ("backup", vec!["--out", &*backup], "backup.make"),
    ] {
        let out = run(&[&[command, "--data-dir", house.dir()], &flags[..]].concat());
        assert!(out.status.success(), "{command}: {}", said(&out));
        assert_eq!(newest(&house), ("cli:root".into(), action.into(), "cli".into()));
        told.insert(command.into());
    }
    let fresh = Folder::new();
    let key = |folder: &Folder| folder.path().join("master.key");
    fs::copy(key(&house.folder), key(&fresh)).unwrap();
    let dir = fresh.path().to_str().unwrap();
    let out = run(&["restore", "--data-dir", dir, "--file", &backup]);
    assert!(out.status.success(), "{}", said(&out));
    let restored = ("cli:root".into(), "backup.restore".into(), "cli".into());
    assert_eq!(newest_of(&fresh), restored);
    told.insert("restore".into());

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
const COMMANDS_LEAVE_NONE: [&str; 32] = [
    "inventory",
    "inventory-import", // as the route that it asks
    "dev",              // `init-db` and `create-admin` in one
    "serve",
    "run-api",
    "run-scheduler",
    "check-config",
    "encrypt-keygen",
    "init-db",
    "migrate",
    "health",
    "status",
    "tls-certificate",
    "export",
    "api", // as the route that it asks
    "doctor",
    "containers",
    "logs",
    "svc-status",
    "svc-health",
    "svc-metrics",
    "svc-import",
    "svc-start", // as the routes that they ask
    "svc-stop",
    "svc-restart",
    "marzban-list",
    "cache-stats",
    "cache-clear",
    "verify-backup",
    "packaging-files",
    "bundle-make", // on another machine, without databases
    "bundle-show",
];
