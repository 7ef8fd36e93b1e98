//! API tokens: a token has exactly its granted rights within its scopes while it is valid, and never more than its owner.

use crate::common::*;
use lamplighter::access::{Right, Role};
use lamplighter::daemon::FEATURES;
use lamplighter::http::request::Method;
use serde_json::{Value, json};

/// Two servers, a group with a domain on both, and a domain of no group on the first.
struct Fleet {
    house: House,
    admin: Client,
    one: i64,
    two: i64,
    shops: i64,
    ours: i64,
    other: i64,
}

fn fleet() -> Fleet {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let make = |path: &str, body: Value| admin.post(path, &body).is(201)["id"].as_i64().unwrap();
    let (one, two) = (
        make("/api/servers", server("alpha", 22)),
        make("/api/servers", server("bravo", 22)),
    );
    let shops = make("/api/groups", json!({ "name": "shops" }));
    let target = json!({ "host": "192.0.2.10", "port": 8080 });
    let upstream = make("/api/upstreams", json!({ "name": "back", "targets": [target] }));
    let domain =
        json!({ "domain": "shop.example", "group_id": shops, "server_ids": [one, two], "upstream_id": upstream });
    let ours = make("/api/domains", domain);
    let other = make(
        "/api/domains",
        json!({ "domain": "other.example", "server_ids": [one] }),
    );
    Fleet {
        house,
        admin,
        one,
        two,
        shops,
        ours,
        other,
    }
}

impl Fleet {
    /// A new token of this user, and a client with it.
    #[track_caller]
    fn mint(&self, by: &Client, name: &str, more: Value) -> (i64, Client) {
        let mut body = json!({ "name": name });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let minted = by.post("/api/tokens", &body).is(201);
        let token = self.house.canary(minted["token"].as_str().unwrap());
        (
            minted["id"].as_i64().unwrap(),
            self.house.client().by(Who::Bearer(token)),
        )
    }

    #[track_caller]
    fn scoped(&self, name: &str, scopes: &[String]) -> Client {
        self.mint(&self.admin, name, json!({ "scopes": scopes })).1
    }

    fn sql(&self, sql: &str) {
        self.house.database("lamplighter.db").execute(sql, []).unwrap();
    }
}

/// The names of what a list shows; its total is their number.
#[track_caller]
fn names(list: &Value, name: &str) -> Vec<String> {
    let items = list["items"].as_array().unwrap();
    assert_eq!(list["total"], items.len(), "{list}");
    items
        .iter()
        .map(|item| item[name].as_str().unwrap().to_string())
        .collect()
}

#[test]
fn a_program_may_deploy_the_domains_of_one_group_and_nothing_else() {
    let fleet = fleet();
    let (ours, other, shops) = (fleet.ours, fleet.other, fleet.shops);
    let rights = ["domains:read", "domains:deploy", "tasks:read"];
    let program = fleet.scoped("deploys", &rights.map(|right| format!("{right}@group:{shops}")));

    assert_eq!(names(&program.get("/api/domains").is(200), "domain"), ["shop.example"]);
    program.get(&format!("/api/domains/{ours}")).is(200);
    program.get(&format!("/api/domains/{other}")).fails(403, "forbidden");
    program.get("/api/domains/999").fails(403, "forbidden");
    // What is put in is theirs to follow; other tasks are not.
    assert!(fleet.admin.get("/api/tasks").is(200)["total"].as_i64().unwrap() >= 2);
    assert_eq!(program.get("/api/tasks").is(200)["total"], 0);
    let bulk = |ids: &[i64]| program.post("/api/domains/bulk", &json!({ "action": "deploy", "ids": ids }));
    bulk(&[ours, other]).fails(403, "forbidden");
    assert_eq!(program.get("/api/tasks").is(200)["total"], 0, "not a part of it");
    let task = program.post(&format!("/api/domains/{ours}/deploy"), &json!({})).is(202)["task_id"].clone();
    assert_eq!(program.get("/api/tasks").is(200)["items"][0]["id"], task);
    assert_eq!(program.get(&format!("/api/tasks/{task}/log.txt")).status, 200);
    assert_eq!(bulk(&[ours]).is(202)["refused"][0]["code"], "task_open");
    program
        .post(&format!("/api/domains/{other}/deploy"), &json!({}))
        .fails(403, "forbidden");

    // Another verb, other nouns, everything.
    program
        .patch(&format!("/api/domains/{ours}"), &json!({ "notes": "x" }))
        .fails(403, "forbidden");
    program
        .post(&format!("/api/tasks/{task}/cancel"), &json!({}))
        .fails(403, "forbidden");
    for path in [
        "/api/servers",
        "/api/groups",
        "/api/settings",
        "/api/fleet",
        "/api/alerts",
        "/servers",
        "/",
    ] {
        assert_eq!(program.get(path).status, 403, "{path}");
    }
    // No token makes, shows or withdraws tokens.
    for answer in [
        program.get("/api/tokens"),
        program.get("/api/tokens/1"),
        program.post("/api/tokens", &json!({ "name": "more", "role": "viewer" })),
        program.delete("/api/tokens/1"),
    ] {
        answer.fails(403, "token_may_not");
    }
}

#[test]
fn lists_searches_and_pages_show_what_the_scope_has_and_count_no_more() {
    let fleet = fleet();
    let (one, two, shops) = (fleet.one, fleet.two, fleet.shops);
    let before = fleet.admin.get("/").text();
    assert!(before.contains("alpha") && before.contains("bravo"));
    let of_server = |right: &str, id: i64| format!("{right}@server:{id}");
    let program = fleet.scoped(
        "looks",
        &[
            of_server("servers:read", two),
            of_server("tasks:read", two),
            of_server("metrics:read", two),
            format!("domains:read@group:{shops}"),
            format!("groups:read@group:{shops}"),
            "dashboard:read".into(),
            "document:read".into(),
        ],
    );
    assert_eq!(names(&program.get("/api/servers").is(200), "name"), ["bravo"]);
    assert_eq!(names(&program.get("/api/groups").is(200), "name"), ["shops"]);
    assert_eq!(names(&program.get("/api/domains").is(200), "domain"), ["shop.example"]);
    let tasks = program.get("/api/tasks").is(200);
    assert!(
        tasks["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|t| t["target"]["id"] == two),
        "{tasks}"
    );
    assert_eq!(tasks["total"], 1);
    // Schedules are of the server that their tasks are about; they are kept by who may deploy to every server.
    for server in [one, two] {
        let name = format!("of {server}");
        fleet.admin.post("/api/schedules", &schedule(&name, server)).is(201);
    }
    let schedules = program.get("/api/schedules").is(200);
    assert_eq!(names(&schedules, "name"), [format!("of {two}")], "{schedules}");
    program.get("/api/schedules/1").fails(404, "not_found");
    program.get("/api/schedules/2").is(200);
    // Both names contain the letter.
    assert_eq!(
        fleet.admin.get("/api/search?q=a").is(200)["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|i| i["kind"] == "servers")
            .count(),
        2
    );
    let found = program.get("/api/search?q=a").is(200);
    assert!(
        !found.to_string().contains("alpha") && found.to_string().contains("bravo"),
        "{found}"
    );
    let document = program.get("/api/fleet").is(200).to_string();
    assert!(!document.contains("alpha") && !document.contains("other.example") && document.contains("bravo"));
    for (page, there) in [
        ("/", "bravo"),
        ("/servers", "bravo"),
        ("/domains", "shop.example"),
        ("/tasks", "bravo"),
    ] {
        let text = program.get(page);
        assert_eq!(text.status, 200, "{page}");
        // A long name may be broken at its dots.
        let text = text.text().replace("<wbr>", "");
        assert!(text.contains(there) && !text.contains("other.example"), "{page}");
        // The name of a server stands with a domain that is on it, and nowhere else.
        assert!(page == "/domains" || !text.contains("alpha"), "{page}");
    }
    assert_eq!(program.get(&format!("/servers/{one}")).status, 403);
    assert_eq!(program.get(&format!("/servers/{two}")).status, 200);
    // What was kept for one is not shown to the other.
    let after = fleet.admin.get("/").text();
    assert!(after.contains("alpha") && after.contains("bravo"));
    assert_eq!(fleet.admin.get("/api/servers").is(200)["total"], 2);
    assert_eq!(program.get("/api/servers").is(200)["total"], 1);
}

fn schedule(name: &str, server: i64) -> Value {
    json!({ "name": name, "kind": "server.check_ssh", "target_id": server, "cron": "@daily", "time_zone": "UTC" })
}

#[test]
fn what_a_program_makes_lies_within_its_scope() {
    let fleet = fleet();
    let (one, two, shops) = (fleet.one, fleet.two, fleet.shops);
    let of_group = fleet.scoped(
        "group",
        &[
            format!("domains:edit@group:{shops}"),
            format!("silences:edit@group:{shops}"),
        ],
    );
    let of_server = fleet.scoped(
        "server",
        &[
            format!("domains:edit@server:{one}"),
            format!("silences:edit@server:{one}"),
        ],
    );
    let domain = |by: &Client, name: &str, more: Value| {
        let mut body = json!({ "domain": name });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        by.post("/api/domains", &body)
    };
    let made = domain(
        &of_group,
        "a.example",
        json!({ "group_id": shops, "server_ids": [two] }),
    )
    .is(201)["id"]
        .clone();
    domain(&of_group, "b.example", json!({ "server_ids": [one] })).fails(403, "forbidden");
    domain(&of_server, "c.example", json!({ "server_ids": [one] })).is(201);
    for outside in [
        json!({ "server_ids": [one, two] }),
        json!({}),
        json!({ "group_id": shops }),
    ] {
        domain(&of_server, "d.example", outside).fails(403, "forbidden");
    }
    // It may be changed, but not moved out.
    let at = format!("/api/domains/{made}");
    of_group.patch(&at, &json!({ "notes": "mine" })).is(200);
    of_group
        .patch(&at, &json!({ "group_id": null }))
        .fails(403, "forbidden");
    of_server
        .patch(&at, &json!({ "notes": "mine" }))
        .fails(403, "forbidden");
    let silence = |by: &Client, of: Value| {
        let mut body = json!({ "hours": 1 });
        body.as_object_mut().unwrap().extend(of.as_object().unwrap().clone());
        by.post("/api/silences", &body)
    };
    let silent = silence(&of_server, json!({ "server_id": one })).is(201)["id"].clone();
    silence(&of_group, json!({ "group_id": shops })).is(201);
    for outside in [
        json!({ "server_id": two }),
        json!({ "everything": true }),
        json!({ "tag": "x" }),
    ] {
        silence(&of_server, outside).fails(403, "forbidden");
    }
    let end = format!("/api/silences/{silent}/end");
    of_group.post(&end, &json!({})).fails(403, "forbidden");
    of_server.post(&end, &json!({})).is(200);
    let deploys = fleet.scoped("deploys", &[format!("servers:deploy@server:{one}")]);
    deploys
        .post("/api/schedules", &schedule("nightly", one))
        .fails(403, "forbidden");
    // Servers and groups are made by who may make any.
    of_server
        .post("/api/servers", &server("new", 22))
        .fails(403, "forbidden");
    of_group
        .post("/api/groups", &json!({ "name": "new" }))
        .fails(403, "forbidden");
}

#[test]
fn a_token_ends_with_its_time_its_owner_and_its_withdrawal() {
    let fleet = fleet();
    let password = fleet.house.account("olga", "operator");
    let olga = fleet
        .house
        .client()
        .by(Who::bearer(&fleet.house.sign_in("olga", &password)));
    let (id, token) = fleet.mint(&olga, "hers", json!({ "role": "operator" }));
    token.post("/api/groups", &json!({ "name": "by a token" })).is(201);
    token.get("/api/settings").fails(403, "forbidden");
    assert_eq!(token.get("/api/auth/me").is(200)["login"], "olga");

    // Her role counts as it is now, and she herself.
    fleet.sql("UPDATE users SET role = 'viewer' WHERE login = 'olga'");
    token.get("/api/groups").is(200);
    token
        .post("/api/groups", &json!({ "name": "no more" }))
        .fails(403, "forbidden");
    fleet.sql("UPDATE users SET role = 'operator', disabled = 1 WHERE login = 'olga'");
    token.get("/api/groups").fails(401, "unauthorized");
    fleet.sql("UPDATE users SET disabled = 0 WHERE login = 'olga'");
    token.get("/api/groups").is(200);

    // Others do not see it; an administrator does, and may withdraw it.
    let shown = olga.get("/api/tokens").is(200);
    assert_eq!(shown["items"][0]["id"], id);
    assert!(
        shown["items"][0]["used_at"].is_string() && shown["items"][0]["used_ip"] == "127.0.0.1",
        "{shown}"
    );
    assert_eq!(fleet.admin.get("/api/tokens").is(200)["total"], 0);
    assert_eq!(
        fleet.admin.get("/api/tokens?all=1").is(200)["items"][0]["owner"],
        "olga"
    );
    olga.get("/api/tokens?all=1").fails(403, "forbidden");
    let (admins, _) = fleet.mint(&fleet.admin, "his", json!({ "role": "admin" }));
    olga.get(&format!("/api/tokens/{admins}")).fails(404, "not_found");
    olga.delete(&format!("/api/tokens/{admins}")).fails(404, "not_found");
    fleet.admin.delete(&format!("/api/tokens/{id}")).is(204);
    token.get("/api/groups").fails(401, "unauthorized");

    let (id, short) = fleet.mint(
        &olga,
        "short",
        json!({ "role": "viewer", "expires_at": "2999-01-01T00:00" }),
    );
    short.get("/api/groups").is(200);
    fleet.sql(&format!("UPDATE api_tokens SET expires_at = 1000 WHERE id = {id}"));
    short.get("/api/groups").fails(401, "unauthorized");
    assert_eq!(olga.get(&format!("/api/tokens/{id}")).is(200)["expired"], true);

    let told: i64 = fleet
        .house
        .database("lamplighter.db")
        .query_row(
            "SELECT sum(action = 'token.create') * 10 + sum(action = 'token.withdraw') FROM audit",
            [],
            |r| r.get(0),
        )
        .unwrap();
    assert_eq!(told, 31);
}

#[test]
fn a_token_is_taken_from_where_it_was_made_for() {
    let fleet = fleet();
    let mint = |name: &str, cidrs: Value| {
        fleet
            .mint(&fleet.admin, name, json!({ "role": "viewer", "cidrs": cidrs }))
            .1
    };
    mint("here", json!(["2001:db8::/32", "127.0.0.0/8"]))
        .get("/api/groups")
        .is(200);
    mint("there", json!(["192.0.2.0/24", "2001:db8::/32"]))
        .get("/api/groups")
        .fails(403, "token_address");
}

#[test]
fn a_draft_that_gives_too_much_or_says_nothing_is_refused() {
    let fleet = fleet();
    let password = fleet.house.account("olga", "operator");
    let olga = fleet
        .house
        .client()
        .by(Who::bearer(&fleet.house.sign_in("olga", &password)));
    for (body, wrong) in [
        (json!({ "role": "viewer" }), "name"),
        (json!({ "name": "x" }), "scopes"),
        (
            json!({ "name": "x", "role": "viewer", "scopes": ["servers:read"] }),
            "scopes",
        ),
        (json!({ "name": "x", "role": "admin" }), "role"),
        (json!({ "name": "x", "role": "king" }), "role"),
        (json!({ "name": "x", "scopes": ["settings:edit"] }), "scopes"),
        (json!({ "name": "x", "scopes": ["servers:fly"] }), "scopes"),
        (json!({ "name": "x", "scopes": ["servers:read@group:1"] }), "scopes"),
        (json!({ "name": "x", "scopes": ["servers:read@server:99"] }), "scopes"),
        (
            json!({ "name": "x", "role": "viewer", "expires_at": "1999-01-01T00:00" }),
            "expires_at",
        ),
        (
            json!({ "name": "x", "role": "viewer", "expires_at": "soon" }),
            "expires_at",
        ),
        (
            json!({ "name": "x", "role": "viewer", "cidrs": ["10.0.0.1/8"] }),
            "cidrs",
        ),
    ] {
        let answer = olga.post("/api/tokens", &body);
        assert_eq!(answer.status, 422, "{body}: {}", answer.text());
        assert_eq!(answer.wrong_fields(), [wrong], "{body}");
    }
    assert_eq!(olga.get("/api/tokens").is(200)["total"], 0);
    fleet.mint(&olga, "twice", json!({ "role": "viewer" }));
    olga.post("/api/tokens", &json!({ "name": "Twice", "role": "viewer" }))
        .fails(409, "duplicate");
    // What only looks like a token is none.
    for forged in [
        "llt_1_x_00000000",
        "llt_",
        "Bearer",
        "llt_1_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA_5d2f0a11",
    ] {
        let nobody = fleet.house.client().by(Who::Bearer(forged.into()));
        nobody.get("/api/groups").fails(401, "unauthorized");
    }
}

/// The whole table: a program of the role automation is let in nowhere, and one whose rights are all for one server that
/// does not hold the thing gets a list or a refusal.
#[test]
fn every_route_asks_a_token_for_its_right() {
    let fleet = fleet();
    let (_, automation) = fleet.mint(&fleet.admin, "runs", json!({ "role": "automation" }));
    let nothing = fleet.scoped("elsewhere", &["silences:read".into()]);
    let mut asked = 0;
    for route in FEATURES.iter().flat_map(|f| f.routes.iter().chain(f.pages)) {
        if !matches!(route.right, Right::May(..)) {
            continue;
        }
        let path = route.path.replace("{id}", "1").replace("{name…}", "x");
        let body = (route.method != Method::Get).then_some(("application/json", &b"{}"[..]));
        if !Role::Automation.may(route.right) {
            let answer = automation.send(route.method.name(), &path, body);
            assert_eq!(answer.status, 403, "{} {path}: {}", route.method.name(), answer.text());
        }
        if !path.contains("silences") {
            let answer = nothing.send(route.method.name(), &path, body);
            assert_eq!(answer.status, 403, "{} {path}: {}", route.method.name(), answer.text());
        }
        asked += 1;
    }
    assert!(asked > 100, "{asked}");
}

#[test]
fn on_its_page_a_token_is_made_shown_once_and_withdrawn() {
    let fleet = fleet();
    let mut page = fleet.house.browser_of_admin();
    assert!(page.get("/prefs").has("href=\"/tokens\""));
    assert!(page.get("/tokens").has("domains:deploy"));
    let place = format!("group:{}", fleet.shops);
    let form = |right: &'static str| {
        [
            ("name", "from a page"),
            ("role", ""),
            ("right", right),
            ("where", place.as_str()),
            ("days", "30"),
            ("cidrs", "127.0.0.1, ::1"),
        ]
    };
    let refused = page.post("/tokens", &form("settings:edit"));
    assert_eq!(refused.status, 422);
    assert!(refused.has("cannot be limited to a group"));
    let made = page.post("/tokens", &form("domains:read"));
    assert_eq!(made.status, 200);
    let token = fleet
        .house
        .canary(made.between("data-token tabindex=\"0\">", "<").unwrap());
    let program = fleet.house.client().by(Who::Bearer(token.clone()));
    assert_eq!(names(&program.get("/api/domains").is(200), "domain"), ["shop.example"]);
    let again = page.get("/tokens");
    assert!(
        again.has("from a page") && again.has(&format!("domains:read@group:{}", fleet.shops)) && !again.has(&token)
    );
    let id = fleet.admin.get("/api/tokens").is(200)["items"][0]["id"].clone();
    assert_eq!(page.post(&format!("/tokens/{id}/withdraw"), &[]).status, 303);
    program.get("/api/domains").fails(401, "unauthorized");
    assert!(page.get("/tokens").has("No tokens"));
}
