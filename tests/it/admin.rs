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

#[test]
fn who_sees_one_project_sees_and_changes_nothing_of_another() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let make = |by: &Client, list: &str, body: Value| by.post(list, &body).is(201)["id"].as_i64().unwrap();
    let shop = make(&admin, "/api/projects", json!({ "name": "shop" }));
    let group = |name: &str| json!({ "name": name });
    let secret =
        |name: &str| json!({ "name": name, "type": "token", "generate": "words", "scope": ["servers", "endpoints"] });
    let endpoint = |name: &str| json!({ "type": "webhook", "name": name, "url": "https://hooks.example/x" });
    let lists = ["groups", "secrets", "notifications"];
    let of = |name: &str| [group(name), secret(name), endpoint(name)];
    let all = |by: &Client, name: &str| -> Vec<i64> {
        let each = lists.iter().zip(of(name));
        each.map(|(list, body)| make(by, &format!("/api/{list}"), body))
            .collect()
    };
    let (theirs, ours) = (all(&admin, "hidden-one"), all(&admin, "shop-one"));
    let take = json!({ "groups": [ours[0]], "secrets": [ours[1]], "endpoints": [ours[2]] });
    admin.put(&format!("/api/projects/{shop}/things"), &take).is(200);

    let password = house.account("anna", "operator");
    let anna = house.client().by(Who::bearer(&house.sign_in("anna", &password)));
    let total = |by: &Client, list: &str| by.get(&format!("/api/{list}")).is(200)["total"].as_i64().unwrap();
    assert_eq!(
        lists.map(|list| total(&anna, list)),
        [2, 2, 2],
        "nobody has said anything"
    );
    admin
        .post("/api/me/confirm", &json!({ "password": house.password }))
        .is(204);
    let account = admin.get("/api/users?q=anna").is(200)["items"][0]["id"]
        .as_i64()
        .unwrap();
    let account = format!("/api/users/{account}");
    assert_eq!(
        admin.patch(&account, &json!({ "projects": [77] })).wrong_fields(),
        ["projects"]
    );
    let bound = admin.patch(&account, &json!({ "projects": [shop] }));
    assert_eq!(bound.is(200)["projects"], json!([shop]));

    // The same sign-in, at once.
    assert_eq!(lists.map(|list| total(&anna, list)), [1, 1, 1]);
    for ((list, hidden), own) in lists.iter().zip(&theirs).zip(&ours) {
        let (hidden, own) = (format!("/api/{list}/{hidden}"), format!("/api/{list}/{own}"));
        let refused = anna.get(&hidden).fails(403, "forbidden");
        // What is not there is refused in the same words.
        let missing = anna.get(&format!("/api/{list}/999")).fails(403, "forbidden");
        assert_eq!(refused["detail"], missing["detail"]);
        anna.patch(&hidden, &json!({ "name": "mine" })).fails(403, "forbidden");
        anna.delete(&hidden).fails(403, "forbidden");
        anna.get(&own).is(200);
        anna.patch(&own, &json!({ "name": "shop-two" })).is(200);
    }
    let hidden = format!("/api/secrets/{}", theirs[1]);
    anna.post(&format!("{hidden}/rotate"), &json!({ "generate": "words" }))
        .fails(403, "forbidden");
    anna.post(&format!("{hidden}/lease"), &json!({ "ttl_seconds": 60 }))
        .fails(403, "forbidden");
    // Nor does a value go out by being referred to.
    let by_reference = |id: i64| {
        let mut wanted = server("web-1", 22);
        wanted["host"] = json!("192.0.2.7");
        wanted["password"] = json!({ "secret_id": id });
        anna.post("/api/servers", &wanted)
    };
    assert_eq!(by_reference(theirs[1]).wrong_fields(), ["password"]);
    by_reference(ours[1]).is(201);
    let endpoint = format!("/api/notifications/{}", ours[2]);
    let url = json!({ "url": { "secret_id": theirs[1] } });
    assert_eq!(anna.patch(&endpoint, &url).wrong_fields(), ["url"]);

    // Wherever a request names it, it is as good as not there: a domain's group, what is silent, what goes by the clock.
    let as_if_missing = |at: &str, body: &dyn Fn(i64) -> Value, hidden: i64| {
        let said = |id: i64| {
            let answer = anna.post(at, &body(id));
            let json = answer.json();
            let words = json!([json["error_code"], json["detail"], json["fields"]]).to_string();
            (answer.status, words.replace(&id.to_string(), "N"))
        };
        let (hidden, missing) = (said(hidden), said(999));
        assert_eq!(hidden, missing, "{at}");
        assert!(
            [403, 404, 422].contains(&hidden.0) && !hidden.1.contains("unknown_field"),
            "{at}: {hidden:?}"
        );
    };
    let domain = |id: i64| json!({ "domain": "shop.example", "group_id": id });
    as_if_missing("/api/domains", &domain, theirs[0]);
    let made = anna.post("/api/domains", &domain(ours[0])).is(201)["id"]
        .as_i64()
        .unwrap();
    let domain = format!("/api/domains/{made}");
    let moved = anna.patch(&domain, &json!({ "group_id": theirs[0] }));
    assert_eq!(moved.wrong_fields(), ["group_id"]);
    // Where somebody else has put it, it stays.
    admin.patch(&domain, &json!({ "group_id": theirs[0] })).is(200);
    assert_eq!(
        anna.patch(&domain, &json!({ "notes": "seen" })).is(200)["group_id"],
        theirs[0]
    );
    let silent = |id: i64| json!({ "group_id": id, "hours": 1 });
    as_if_missing("/api/silences", &silent, theirs[0]);
    let beside = |id: i64| json!({ "domain_id": made, "group_id": id, "hours": 1 });
    as_if_missing("/api/silences", &beside, theirs[0]);
    anna.post("/api/silences", &beside(ours[0])).is(201);
    let scopes = |id: i64| json!({ "name": "t", "scopes": [format!("groups:read@group:{id}")] });
    as_if_missing("/api/tokens", &scopes, theirs[0]);
    let nightly = |id: i64| {
        json!({ "name": format!("rotate {id}"), "kind": "rotations.rotate", "target_id": id, "cron": "0 3 * * *",
            "time_zone": "UTC" })
    };
    as_if_missing("/api/schedules", &nightly, theirs[1]);
    let schedule = admin.post("/api/schedules", &nightly(theirs[1])).is(201)["id"]
        .as_i64()
        .unwrap();
    let schedule = format!("/api/schedules/{schedule}");
    anna.get(&schedule).fails(404, "not_found");
    anna.patch(&schedule, &json!({ "name": "mine" }))
        .fails(404, "not_found");
    anna.post(&format!("{schedule}/run"), &json!({}))
        .fails(404, "not_found");
    anna.delete(&schedule).fails(404, "not_found");
    let own = anna.post("/api/schedules", &nightly(ours[1])).is(201)["id"]
        .as_i64()
        .unwrap();
    let away = json!({ "kind": "rotations.rotate", "target_id": theirs[1] });
    assert_eq!(
        anna.patch(&format!("/api/schedules/{own}"), &away).wrong_fields(),
        ["target_id"]
    );
    anna.delete(&format!("/api/schedules/{own}")).is(204);
    let updates = |id: i64| json!({ "action": "updates", "group_id": id });
    as_if_missing("/api/actions", &updates, theirs[0]);
    let plugin =
        json!({ "name": "old list", "definition": "json-url", "config": { "url": "https://192.0.2.1/hosts" } });
    let plugin = make(&admin, "/api/plugins", plugin);
    let from = |id: i64| json!({ "plugin_id": id, "username": "root" });
    as_if_missing("/api/inventory/preview", &from, plugin);
    as_if_missing("/api/inventory/import", &from, plugin);
    let nowhere = json!({ "action": "updates", "server_ids": [999] });
    assert_eq!(anna.post("/api/actions", &nowhere).wrong_fields(), ["server_ids"]);

    // What they make belongs to their project, though it is not the default.
    let new = all(&anna, "anna-one");
    let things = admin.get(&format!("/api/projects/{shop}/things")).is(200);
    for (list, id) in ["groups", "secrets", "endpoints"].iter().zip(&new) {
        assert!(things[list].as_array().unwrap().contains(&json!(id)), "{things}");
    }
    assert_eq!(lists.map(|list| total(&anna, list)), [2, 2, 2]);
    assert_eq!(lists.map(|list| total(&admin, list)), [3, 3, 3]);

    // A token of theirs is as narrow.
    let scopes = json!({ "name": "t", "scopes": ["groups:read", "secrets:read"] });
    let token = anna.post("/api/tokens", &scopes).is(201)["token"]
        .as_str()
        .unwrap()
        .to_string();
    house.canary(&token);
    let robot = house.client().by(Who::Bearer(token));
    assert_eq!((total(&robot, "groups"), total(&robot, "secrets")), (2, 2));
    robot.get(&hidden).fails(403, "forbidden");

    // Pages show no more, and do no more.
    let mut browser = house.browser();
    browser.sign_in("anna", &password);
    for page in [
        "/groups",
        "/groups?kind=host",
        "/secrets",
        "/notifications",
        "/tasks",
        "/servers/new",
        "/domains/new",
    ] {
        let shown = browser.get(page);
        assert_eq!(shown.status, 200, "{page}");
        assert!(!shown.body.contains("hidden-one"), "{page}");
    }
    assert_eq!(browser.get(&format!("/secrets/{}", theirs[1])).status, 403);
    let removed = browser.post(&format!("/groups/{}/delete", theirs[0]), &[]);
    assert_eq!(removed.status, 403);
    let refused = browser.post("/domains", &[("domain", "not a name")]);
    assert!(
        refused.status == 422 && !refused.body.contains("hidden-one"),
        "{}",
        refused.status
    );

    // A project that somebody sees is not taken away from under them, and an administrator sees everything.
    let take = json!({ "groups": things["groups"], "secrets": things["secrets"], "endpoints": things["endpoints"] });
    admin.put("/api/projects/1/things", &take).is(200);
    let said = admin
        .delete(&format!("/api/projects/{shop}"))
        .fails(409, "project_used");
    assert!(said["detail"].as_str().unwrap().contains("anna"), "{said}");
    admin.patch(&account, &json!({ "projects": [] })).is(200);
    assert_eq!(lists.map(|list| total(&anna, list)), [3, 3, 3]);
    admin.delete(&format!("/api/projects/{shop}")).is(204);
}

#[test]
fn an_inventory_is_read_in_from_a_plugin_and_a_broken_one_says_so() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let list = Fake::new(|_, peer| {
        let hosts = json!([{ "name": "web-1", "ip": "192.0.2.10", "port": 2222, "user": "deploy" }, { "name": "db-1", "ip": "192.0.2.11" }]);
        let _ = peer.write_all(&fake::http("200 OK", "application/json", hosts.to_string().as_bytes()));
    });
    admin
        .put("/api/settings", &json!({ "plugins.networks": "127.0.0.0/8" }))
        .is(200);
    let plugin = |name: &str, port: u16| {
        let config = json!({ "url": format!("http://127.0.0.1:{port}/hosts") });
        let body = json!({ "name": name, "definition": "json-url", "config": config });
        admin.post("/api/plugins", &body).is(201)["id"].as_i64().unwrap()
    };
    let (good, broken) = (plugin("list", list.port), plugin("broken", 9));
    let operator = house.somebody("operator");
    let wanted = json!({ "plugin_id": good, "username": "root" });
    let plan = operator.post("/api/inventory/preview", &wanted).is(200);
    assert_eq!((&plan["new"], &plan["created"]), (&json!(2), &json!([])), "{plan}");
    let row = plan["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["name"] == "web-1");
    let row = row.unwrap();
    assert_eq!(
        (&row["host"], &row["port"], &row["username"]),
        (&json!("192.0.2.10"), &json!(2222), &json!("deploy"))
    );
    let done = operator.post("/api/inventory/import", &wanted).is(200);
    assert_eq!(done["created"].as_array().unwrap().len(), 2);
    let last = admin.get(&format!("/api/plugins/{good}")).is(200)["last"].clone();
    assert_eq!((&last["ok"], &last["say"]), (&json!(true), &json!("It names 2 hosts.")));
    // A broken one says so, and everything else goes on.
    let failed = operator.post("/api/inventory/preview", &json!({ "plugin_id": broken }));
    assert!([502, 504].contains(&failed.status), "{}", failed.text());
    assert_eq!(
        admin.get(&format!("/api/plugins/{broken}")).is(200)["last"]["ok"],
        false
    );
    let text = json!({ "text": "Host web-9\n  HostName 192.0.2.19\n  User root" });
    assert_eq!(operator.post("/api/inventory/preview", &text).is(200)["new"], 1);
    let off = json!({ "enabled": false });
    admin.patch(&format!("/api/plugins/{good}"), &off).is(200);
    operator
        .post("/api/inventory/preview", &wanted)
        .fails(409, "plugin_off");
    let mut browser = house.browser_of_admin();
    let page = browser.get("/inventory");
    assert!(
        page.body.contains("broken") && !page.body.contains(">list<"),
        "those that may be asked"
    );
}

#[test]
fn a_secrets_value_is_taken_from_a_plugin_by_who_may_reveal_it() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    house.canary("hunter2hunter2");
    let bao = vault();
    let networks = json!({ "plugins.networks": "127.0.0.0/8" });
    admin.put("/api/settings", &networks).is(200);
    let config = json!({ "url": format!("http://127.0.0.1:{}", bao.port), "mount": "secret" });
    let kv = json!({ "name": "bao", "definition": "vault-kv", "config": config, "token": "s.good" });
    let kv = admin.post("/api/plugins", &kv).is(201)["id"].clone();
    let wanted = |what: &str| json!({ "name": "db", "type": "password", "plugin_id": kv, "plugin_secret": what });
    let operator = house.somebody("operator");
    operator
        .post("/api/secrets", &wanted("app/db#password"))
        .fails(403, "forbidden");
    let nothing = admin.post("/api/secrets", &wanted("app/db#none"));
    assert_eq!(nothing.status, 502, "{}", nothing.text());
    // A plugin that is not there is a mistake in that field, whoever asks it.
    let nobodys = json!({ "name": "db", "type": "password", "plugin_id": 99, "plugin_secret": "x#y" });
    assert_eq!(admin.post("/api/secrets", &nobodys).wrong_fields(), ["plugin_id"]);
    for list in ["/api/inventory/preview", "/api/inventory/import"] {
        assert_eq!(
            admin.post(list, &json!({ "plugin_id": 99 })).wrong_fields(),
            ["plugin_id"]
        );
    }
    let unnamed = admin.post("/api/secrets", &wanted("")).wrong_fields();
    assert!(unnamed.iter().any(|field| field == "plugin_secret"), "{unnamed:?}");
    let made = admin.post("/api/secrets", &wanted("app/db#password")).is(201);
    let at = format!("/api/secrets/{}", made["id"]);
    let value = || {
        let evidence = json!({ "reason": "a look", "password": house.password });
        admin.post(&format!("{at}/reveal"), &evidence).is(200)["value"].clone()
    };
    assert_eq!(value(), "hunter2hunter2");
    // Another value here, and theirs again.
    admin
        .post(&format!("{at}/rotate"), &json!({ "generate": "password" }))
        .is(200);
    assert_ne!(value(), "hunter2hunter2");
    let again = json!({ "plugin_id": kv, "plugin_secret": "app/db#password" });
    assert_eq!(admin.post(&format!("{at}/rotate"), &again).is(200)["version"], 3);
    assert_eq!(value(), "hunter2hunter2");
}
