//! Maintenance, banner, projects, plugins: what administrators set, and what everybody sees of it.

use crate::common;
use crate::fake::{self, Fake};

use common::*;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn in_maintenance_everybody_looks_and_nobody_changes() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let operator = house.somebody("operator");
    let shown = admin.get("/api/admin/settings").is(200);
    assert_eq!(
        shown,
        json!({ "maintenance": { "on": false, "message": "", "pause_schedules": false }, "banner": null, "default_project": 1 })
    );
    operator.get("/api/admin/settings").fails(403, "forbidden");
    operator
        .put("/api/admin/settings", &json!({ "maintenance": { "on": true } }))
        .fails(403, "forbidden");
    let on = json!({ "maintenance": { "on": true, "message": "The database moves." } });
    admin.put("/api/admin/settings", &on).is(200);
    // Looks are allowed; changes and runs are not, whoever asks and by whichever way.
    operator.get("/api/servers").is(200);
    let refused = operator.post("/api/servers", &server("web-1", 22));
    assert_eq!(refused.header("retry-after"), Some("5"));
    let refused = refused.fails(503, "maintenance");
    assert!(
        refused["detail"].as_str().unwrap().contains("The database moves."),
        "{refused}"
    );
    admin
        .post("/api/groups", &json!({ "name": "x" }))
        .fails(503, "maintenance");
    admin
        .put("/api/settings", &json!({ "retention.task_days": 9 }))
        .fails(503, "maintenance");
    let mut browser = house.browser_of_admin();
    let page = browser.get("/servers");
    assert!(page.body.contains("Maintenance") && page.body.contains("The database moves."));
    assert_eq!(browser.post("/groups", &[("name", "x")]).status, 503);
    // Signing in and one's own account go on, and so does the way out.
    let password = house.account("later", "viewer");
    house.sign_in("later", &password).is(200);
    operator.patch("/api/auth/me", &json!({ "lang": "ru" })).is(200);
    let known = house.client().get("/api/admin/settings/public").is(200);
    assert_eq!(
        known["maintenance"],
        json!({ "on": true, "message": "The database moves." })
    );
    admin
        .put("/api/admin/settings", &json!({ "maintenance": { "on": false } }))
        .is(200);
    admin.post("/api/groups", &json!({ "name": "x" })).is(201);
    let kept = admin.get("/api/admin/settings").is(200);
    assert_eq!(
        kept["maintenance"]["message"], "The database moves.",
        "what is left out stays"
    );
    assert_eq!(
        house.client().get("/api/admin/settings/public").is(200)["maintenance"]["message"],
        ""
    );
}

#[test]
fn a_banner_is_on_every_page_until_its_end() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let mut browser = house.browser_of_admin();
    let text = "Updates <tonight> at 22:00.";
    let banner = |until: Value| json!({ "banner": { "text": text, "level": "critical", "until": until } });
    admin.put("/api/admin/settings", &banner(Value::Null)).is(200);
    for path in ["/admin/settings", "/projects", "/plugins", "/actions"] {
        assert_eq!(browser.get(path).status, 200, "{path}");
    }
    for path in ["/", "/servers", "/settings", "/admin/settings", "/no/such/page"] {
        let page = browser.get(path).body;
        assert!(
            page.contains("Updates &lt;tonight&gt; at 22:00.") && page.contains("data-banner=\"critical\""),
            "{path}"
        );
    }
    assert!(
        house.browser().get("/login").body.contains("Updates &lt;tonight&gt;"),
        "before signing in"
    );
    assert_eq!(
        house.client().get("/api/admin/settings/public").is(200)["banner"]["level"],
        "critical"
    );
    for bad in [
        banner(json!("2020-01-01T00:00")),
        banner(json!("tomorrow")),
        json!({ "banner": { "text": "a\nb" } }),
        json!({ "banner": { "text": "x", "level": "loud" } }),
        json!({ "banner": { "words": "x" } }),
        json!({ "maintenance": { "on": "perhaps" } }),
        json!({ "default_project": 99 }),
    ] {
        assert_eq!(admin.put("/api/admin/settings", &bad).status, 422, "{bad}");
    }
    // Over: its row is there, and nobody is told.
    admin
        .put("/api/admin/settings", &banner(json!("2099-01-01T00:00")))
        .is(200);
    house
        .database("lamplighter.db")
        .execute("UPDATE site_notice SET banner_until = 1", [])
        .unwrap();
    assert_eq!(
        house.client().get("/api/admin/settings/public").is(200)["banner"],
        Value::Null
    );
    let off = browser.post("/admin/settings", &[("message", ""), ("text", ""), ("level", "info")]);
    assert_eq!(off.status, 303);
    assert_eq!(admin.get("/api/admin/settings").is(200)["banner"], Value::Null);
}

#[test]
fn things_belong_to_a_project_and_new_ones_to_the_default() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let group = |name: &str| {
        admin.post("/api/groups", &json!({ "name": name })).is(201)["id"]
            .as_i64()
            .unwrap()
    };
    let first = group("a");
    let shop = admin.post("/api/projects", &json!({ "name": "shop" })).is(201)["id"]
        .as_i64()
        .unwrap();
    admin
        .post("/api/projects", &json!({ "name": "SHOP" }))
        .fails(409, "duplicate");
    let things = |id: i64| admin.get(&format!("/api/projects/{id}/things")).is(200);
    assert_eq!(things(1)["groups"], json!([first]));
    let moved = admin.put(&format!("/api/projects/{shop}/things"), &json!({ "groups": [first] }));
    assert_eq!(
        (&moved.is(200)["groups"], &things(1)["groups"]),
        (&json!([first]), &json!([]))
    );
    let nothing = json!({ "groups": [first], "secrets": [77] });
    admin.put("/api/projects/1/things", &nothing).fails(404, "not_found");
    assert_eq!(things(shop)["groups"], json!([first]), "all or nothing");
    admin
        .put("/api/admin/settings", &json!({ "default_project": shop }))
        .is(200);
    let second = group("b");
    assert_eq!(things(shop)["groups"], json!([first, second]));
    admin
        .delete(&format!("/api/projects/{shop}"))
        .fails(409, "project_usual");
    admin
        .put("/api/admin/settings", &json!({ "default_project": 1 }))
        .is(200);
    admin
        .delete(&format!("/api/projects/{shop}"))
        .fails(409, "project_used");
    admin.delete(&format!("/api/groups/{first}")).is(200);
    admin
        .put("/api/projects/1/things", &json!({ "groups": [second] }))
        .is(200);
    admin.delete(&format!("/api/projects/{shop}")).is(204);
    assert_eq!(admin.get("/api/projects").is(200)["total"], 1);
}

/// OpenBao as far as it is asked: a token, a KV engine of version 2 at `secret/`, its words when it refuses.
fn vault() -> Fake {
    Fake::new(|head, peer| {
        let path = head.split(' ').nth(1).unwrap();
        let token = head.lines().find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("x-vault-token: ")
                .map(String::from)
        });
        let (status, body) = match (token.as_deref(), path) {
            (Some("s.good"), "/v1/auth/token/lookup-self") => {
                ("200 OK", json!({ "data": { "ttl": 3600, "policies": ["read"] } }))
            }
            (Some("s.good"), "/v1/secret/data/app/db") => (
                "200 OK",
                json!({ "data": { "data": { "password": "hunter2hunter2", "port": 5432 }, "metadata": { "version": 3 } } }),
            ),
            (Some("s.good"), _) => ("404 Not Found", json!({ "errors": [] })),
            _ => ("403 Forbidden", json!({ "errors": ["permission denied"] })),
        };
        let _ = peer.write_all(&fake::http(status, "application/json", body.to_string().as_bytes()));
    })
}

#[test]
fn plugins_are_asked_by_a_button_and_never_show_a_secret() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    house.canary("hunter2hunter2");
    let kinds = admin.get("/api/plugins/definitions").is(200);
    assert_eq!(kinds["total"], 4);
    let bao = vault();
    let url = format!("http://127.0.0.1:{}", bao.port);
    let add = |body: Value| admin.post("/api/plugins", &body).is(201)["id"].as_i64().unwrap();
    let test = |id: i64, secret: &str| {
        admin
            .post(&format!("/api/plugins/{id}/test"), &json!({ "secret": secret }))
            .is(200)
    };
    let wanted = |token: &str, name: &str| json!({ "name": name, "definition": "vault-kv", "config": { "url": url, "mount": "secret" }, "token": token });
    let kv = add(wanted("s.good", "bao"));
    // Not in a private network before an administrator says so.
    let refused = test(kv, "");
    assert!(
        refused["ok"] == false && refused["say"].as_str().unwrap().contains("loopback"),
        "{refused}"
    );
    assert!(bao.seen().is_empty());
    admin
        .put("/api/settings", &json!({ "plugins.networks": "127.0.0.0/8" }))
        .is(200);
    assert_eq!(test(kv, "")["say"], "The token is good for another 3600 s.");
    let found = test(kv, "app/db#password");
    assert_eq!(
        (&found["ok"], &found["say"]),
        (&json!(true), &json!("“app/db#password” is there: 14 bytes."))
    );
    for (what, word) in [
        ("app/db#port", "no text"),
        ("app/db#user", "has no"),
        ("other#x", "status 404"),
    ] {
        let seen = test(kv, what);
        assert!(
            seen["ok"] == false && seen["say"].as_str().unwrap().contains(word),
            "{seen}"
        );
    }
    let bad = add(wanted("s.bad", "other bao"));
    assert!(test(bad, "")["say"].as_str().unwrap().contains("permission denied"));
    let shown = admin.get(&format!("/api/plugins/{bad}")).is(200);
    assert_eq!(
        (&shown["has_token"], &shown["last"]["ok"], &shown["project_id"]),
        (&json!(true), &json!(false), &json!(1))
    );
    assert!(!shown.to_string().contains("s.bad"));
    // The token is not sent to another place than it was given for.
    let moved = json!({ "config": { "url": "http://127.0.0.1:1", "mount": "secret" } });
    assert_eq!(
        admin.patch(&format!("/api/plugins/{bad}"), &moved).wrong_fields(),
        ["token"]
    );

    let cmdb = Fake::new(|_, peer| {
        let body = json!({ "web": { "hosts": ["web-1"] }, "_meta": { "hostvars": { "web-2": {}, "web-1": {} } } });
        let _ = peer.write_all(&fake::http("200 OK", "application/json", body.to_string().as_bytes()));
    });
    let url = format!("http://127.0.0.1:{}/hosts", cmdb.port);
    let hosts = add(json!({ "name": "cmdb", "definition": "json-url", "config": { "url": url }, "token": "t0ken" }));
    let seen = test(hosts, "");
    assert_eq!(
        (&seen["say"], &seen["hosts"]),
        (&json!("It names 2 hosts."), &json!(["web-1", "web-2"]))
    );
    assert!(
        cmdb.seen()[0]
            .to_ascii_lowercase()
            .contains("authorization: bearer t0ken")
    );

    let folder = house.folder.path().join("plugins");
    fs::create_dir(&folder).unwrap();
    let file = folder.join("secrets.json");
    fs::write(&file, r#"{"db":"fourteen bytes"}"#).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let by_file = add(json!({ "name": "file", "definition": "file", "config": { "path": file } }));
    assert_eq!(
        test(by_file, "db")["ok"],
        false,
        "it lies outside of the folder for plugins"
    );
    admin.put("/api/settings", &json!({ "plugins.folder": folder })).is(200);
    assert_eq!(test(by_file, "db")["say"], "“db” is there: 14 bytes.");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(test(by_file, "db")["ok"], false, "anybody may have written it");

    let exec =
        add(json!({ "name": "own", "definition": "exec", "config": { "program": "/etc/lamplighter/plugins/x" } }));
    admin
        .post(&format!("/api/plugins/{exec}/test"), &json!({}))
        .fails(409, "plugin_no_runner");
    for bad in [
        json!({ "name": "x" }),
        json!({ "name": "x", "definition": "elf" }),
        json!({ "name": "x", "definition": "json-url" }),
        json!({ "name": "x", "definition": "json-url", "config": { "url": "ftp://x" } }),
        json!({ "name": "x", "definition": "json-url", "config": { "url": "http://x", "more": "y" } }),
        json!({ "name": "x", "definition": "file", "config": { "path": "/etc/../x" } }),
        json!({ "name": "x", "definition": "file", "config": { "path": "/x" }, "token": "t" }),
        json!({ "name": "x", "definition": "vault-kv", "config": { "url": "http://x" } }),
        json!({ "name": "x", "definition": "vault-kv", "config": { "url": "http://x", "mount": "a?b" } }),
    ] {
        assert_eq!(admin.post("/api/plugins", &bad).status, 422, "{bad}");
    }
    let mut browser = house.browser_of_admin();
    let page = browser.get("/plugins").body;
    assert!(
        page.contains("cmdb") && page.contains("runner for programs of others comes later"),
        "{page}"
    );
    assert!(!page.contains("hunter2") && !page.contains("t0ken"));
    house.somebody("operator").get("/api/plugins").fails(403, "forbidden");
}
