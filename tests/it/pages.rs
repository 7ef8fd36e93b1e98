//! Pages without scripts, over HTTP, in both languages.

use crate::common;

use common::*;
use serde_json::json;

/// Pages that somebody who is signed in can open; the server, upstream, group and domain with number 1 and task 1 exist.
const PAGES: [&str; 52] = [
    "/",
    "/audit",
    "/audit?object=server+1&q=web",
    "/servers",
    "/servers?q=web&state=unlit&tag=prod",
    "/servers/new",
    "/servers/1",
    "/servers/1/edit",
    "/servers/1/delete",
    "/servers/1/install-glances",
    "/upstreams",
    "/upstreams?q=none",
    "/upstreams/new",
    "/upstreams/1",
    "/groups",
    "/groups?edit=1",
    "/groups?delete=1",
    "/groups?kind=host",
    "/inventory",
    "/domains",
    "/domains?state=unlit&group_id=1&server_id=1&upstream_id=1&ssl=true&sort=-expiry&q=a",
    "/domains/new",
    "/domains/new?upstream_id=1&server_ids=1",
    "/domains/1",
    "/domains/1/edit",
    "/domains/1/delete",
    "/tasks",
    "/tasks?status=failed&server=1",
    "/tasks/1",
    "/alerts?state=resolved",
    "/alert-rules",
    "/alert-rules/new",
    "/alert-rules/new?watches=disk",
    "/alert-rules/new?watches=ns.mismatch",
    "/alert-rules/1",
    "/alert-rules/6",
    "/silences",
    "/silences?state=over",
    "/silences?server=web-01&kind=server.unreachable",
    "/certificates",
    "/certificates/new",
    "/notifications",
    "/notifications/log?status=dead",
    "/notifications/new",
    "/notifications/new?type=telegram",
    "/notifications/new?type=email",
    "/notifications/new?type=webhook",
    "/settings",
    "/prefs",
    "/prefs/totp",
    "/users",
    "/users/1",
];

/// A port that nobody listens on: every action ends at once, with its reason.
const NOBODY: &str = "9";
const PASSWORD: &str = "a password that must never be seen";

fn server_form<'a>(name: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut form = vec![
        ("name", name),
        ("host", "127.0.0.1"),
        ("ssh_port", NOBODY),
        ("username", "deploy"),
        ("auth_type", "password"),
        ("password", PASSWORD),
        ("ssh_key", ""),
        ("tags", "web, prod"),
        ("glances_port", NOBODY),
    ];
    for (field, value) in more {
        form.retain(|(name, _)| name != field);
        form.push((field, value));
    }
    form
}

fn add_server(browser: &mut Browser, name: &str) -> String {
    let answer = browser.post("/servers", &server_form(name, &[]));
    assert_eq!(answer.status, 303, "{}", answer.body);
    answer.header("location").to_string()
}

/// An upstream, a group and a domain on server 1.
fn add_domain(browser: &mut Browser, name: &str) {
    let form = [
        ("name", "shop-web"),
        ("targets", "10.0.0.7:8080 5\n[2001:db8::7]:80"),
        ("notes", ""),
    ];
    assert_eq!(browser.post("/upstreams", &form).header("location"), "/upstreams/1");
    assert_eq!(
        browser.post("/groups", &[("name", "Shops")]).header("location"),
        "/groups"
    );
    let form = [
        ("domain", name),
        ("upstream_id", "1"),
        ("group_id", "1"),
        ("server_ids", "1"),
        ("ssl", "true"),
        ("hsts", "on"),
        ("certificate_id", ""),
        ("ns_policy", "dnspod"),
        ("preflight", "strict"),
        ("notes", ""),
    ];
    let answer = browser.post("/domains", &form);
    assert_eq!(answer.header("location"), "/domains/1", "{}", answer.body);
}

/// What holds for every page, whatever it says.
fn check_page(path: &str, page: &Page) {
    assert_eq!(page.status, 200, "{path}: {}", page.body);
    let html = &page.body;
    for bad in [
        " style=",
        "<style",
        "javascript:",
        " onclick=",
        " onload=",
        "<script>",
        "{{",
        "{%",
        "&amp;amp;",
        "None",
    ] {
        assert!(!html.contains(bad), "{path} has {bad}");
    }
    for attribute in ["src=\"", "href=\"", "action=\""] {
        for (_, rest) in html.match_indices(attribute).map(|(i, a)| html.split_at(i + a.len())) {
            let target = &rest[..rest.find('"').unwrap()];
            assert!(
                target.starts_with(['/', '#', '?']) && !target.starts_with("//"),
                "{path}: {target}"
            );
        }
    }
    assert_eq!(html.matches("<h1").count(), 1, "{path} has one heading");
    assert!(
        page.header("content-security-policy")
            .contains("require-trusted-types-for 'script'")
    );
    for (at, _) in html.match_indices("<form method=\"post\"") {
        let form = &html[at..at + html[at..].find("</form>").unwrap()];
        assert!(form.contains("name=\"csrf\""), "{path}: a form without a token: {form}");
        assert!(form.contains("<button"), "{path}: a form that needs script: {form}");
    }
}

#[test]
fn every_page_opens_in_both_languages_and_keeps_the_policy() {
    let house = House::new();
    let mut browser = house.browser_of_admin();
    assert_eq!(add_server(&mut browser, "web-01"), "/servers/1");
    browser.post("/servers/1/check-ssh", &[]);
    add_domain(&mut browser, "магазин.example");
    for lang in ["en", "ru"] {
        browser.post("/prefs", &[("lang", lang), ("back", "/")]);
        for path in PAGES {
            let page = browser.get(path);
            check_page(path, &page);
            assert!(page.has(&format!("<html lang=\"{lang}\"")), "{path}");
        }
    }
    browser.cookies.clear();
    for path in ["/login", "/login?lang=ru"] {
        check_page(path, &browser.get(path));
    }
}

#[test]
fn nobody_sees_a_page_without_signing_in_and_is_led_back_after_it() {
    let house = House::new();
    let mut browser = house.browser();
    for path in PAGES {
        let answer = browser.get(path);
        assert_eq!(answer.status, 303, "{path}");
        assert!(
            answer.header("location").starts_with("/login?next=%2F"),
            "{path}: {}",
            answer.header("location")
        );
    }
    let password = house.password.clone();
    let form = [
        ("login", ADMIN),
        ("password", password.as_str()),
        ("next", "/servers?q=a"),
        ("csrf", ""),
    ];
    assert_eq!(browser.post("/login", &form).header("location"), "/servers?q=a");
    let mut other = house.browser();
    let form = [
        ("login", ADMIN),
        ("password", password.as_str()),
        ("next", "//evil.example"),
        ("csrf", ""),
    ];
    assert_eq!(other.post("/login", &form).header("location"), "/");
}

#[test]
fn a_wrong_password_is_told_on_the_same_page_and_the_name_is_kept() {
    let house = House::new();
    let mut browser = house.browser();
    let form = [
        ("login", ADMIN),
        ("password", "a wrong guess"),
        ("next", "/"),
        ("csrf", ""),
    ];
    let page = browser.post("/login", &form);
    assert_eq!(page.status, 422);
    assert!(page.has("role=\"alert\"") && page.has(&format!("value=\"{ADMIN}\"")) && !page.has("a wrong guess"));
    assert!(browser.cookies.is_empty());
}

#[test]
fn the_first_account_is_made_with_the_token_of_the_log() {
    let mut house = House::empty(Processes::One, &[]);
    house.start();
    let mut browser = house.browser();
    assert_eq!(browser.get("/login").header("location"), "/setup");
    check_page("/setup", &browser.get("/setup"));
    let form = |token: &str| {
        [
            ("token", token),
            ("login", "m.orlova"),
            ("password", "a long enough password"),
            ("csrf", ""),
        ]
        .map(|(n, v)| (n.to_string(), v.to_string()))
    };
    let send = |browser: &mut Browser, form: &[(String, String)]| {
        let form: Vec<_> = form.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        browser.post("/setup", &form)
    };
    let refused = send(&mut browser, &form("guessed"));
    assert_eq!(refused.status, 422);
    assert!(refused.has("id=\"token-e\"") && refused.has("value=\"m.orlova\""));
    assert!(!refused.has("a long enough password"));
    let token = std::fs::read_to_string(house.folder.path().join("setup-token")).unwrap();
    assert!(house.said().contains(&token));
    assert_eq!(send(&mut browser, &form(&token)).header("location"), "/");
    assert!(browser.get("/").has("m.orlova"));
    let mut late = house.browser();
    assert_eq!(late.get("/setup").header("location"), "/login");
    assert_eq!(send(&mut late, &form(&token)).status, 403);
}

#[test]
fn a_refused_form_comes_back_with_its_mistakes_and_without_its_secrets() {
    let house = House::new();
    let mut browser = house.browser_of_admin();
    let wrong = [
        ("host", "not a host"),
        ("ssh_port", "99999"),
        ("auth_type", "ssh_key"),
        ("ssh_key", "ssh-ed25519 AAAA"),
    ];
    let page = browser.post("/servers", &server_form("<b>web</b>", &wrong));
    assert_eq!(page.status, 422);
    for field in ["host", "ssh_port", "ssh_key"] {
        assert!(page.has(&format!("id=\"{field}-e\"")), "{field} is told");
        assert!(page.has(&format!("href=\"#{field}\"")), "{field} is in the summary");
    }
    assert!(page.has("value=\"not a host\"") && page.has("&lt;b&gt;web&lt;/b&gt;") && !page.has("<b>web"));
    assert!(!page.has(PASSWORD) && !page.has("ssh-ed25519 AAAA<"));
    assert!(browser.get("/servers").has("href=\"/servers/new\""));

    assert_eq!(add_server(&mut browser, "web-01"), "/servers/1");
    let twin = browser.post("/servers", &server_form("WEB-01", &[]));
    assert_eq!(twin.status, 422);
    assert!(twin.has("id=\"name-e\""));
}

#[test]
fn a_new_server_says_why_it_is_not_lit_and_each_task_why_it_failed() {
    let house = House::new();
    let mut browser = house.browser_of_admin();
    assert!(
        browser.get("/").has("aria-current=\"step\""),
        "the first run shows its steps"
    );
    let place = add_server(&mut browser, "web-01");
    let page = browser.get(&place);
    assert!(page.has("class=\"why t-unlit\"") && page.has("web-01"));
    let followed = browser.post("/servers/1/check-ssh", &[]);
    assert_eq!(followed.status, 303);
    let task = followed.header("location").to_string();
    assert!(task.starts_with("/tasks/"));
    let page = browser.wait_for(&task, |page| page.has("class=\"why t-dark\""));
    assert!(page.has("<h2>What you can do</h2>") && page.has("action=\"/servers/1/check-ssh\""));
    let text = browser.get(&format!("/api{task}/log.txt"));
    assert_eq!(text.status, 200);
    assert!(browser.get("/tasks").has("web-01"));
    let old = browser.get("/logs?status=failed");
    assert_eq!((old.status, old.header("location")), (303, "/tasks?status=failed"));
}

#[test]
fn editing_keeps_the_secrets_that_are_not_typed() {
    let house = House::new();
    let mut browser = house.browser_of_admin();
    let place = add_server(&mut browser, "web-01");
    let page = browser.get("/servers/1/edit");
    assert!(page.has("value=\"web, prod\"") && page.has("••••••••") && !page.has(PASSWORD));
    let changed = browser.post(
        &place,
        &server_form("web-02", &[("password", ""), ("description", "the shop")]),
    );
    assert_eq!(
        (changed.status, changed.header("location")),
        (303, "/servers/1"),
        "{}",
        changed.body
    );
    let page = browser.get("/servers/1");
    assert!(page.has("web-02") && page.has("the shop"));
    assert!(
        browser.get("/servers/1/edit").has("••••••••"),
        "the password is still there"
    );
    house.canary(PASSWORD);
}

#[test]
fn a_server_is_only_forgotten_when_its_name_was_typed() {
    let house = House::new();
    let mut browser = house.browser_of_admin();
    add_server(&mut browser, "web-01");
    browser.wait_for("/tasks/1", |page| !page.has("data-running"));
    let refused = browser.post("/servers/1/delete", &[("confirm", "web-02")]);
    assert_eq!(refused.status, 422);
    assert!(refused.has("aria-invalid=\"true\""));
    assert_eq!(browser.get("/servers/1").status, 200);
    assert_eq!(
        browser
            .post("/servers/1/delete", &[("confirm", "web-01")])
            .header("location"),
        "/servers"
    );
    assert_eq!(browser.get("/servers/1").status, 404);
}

#[test]
fn a_form_of_another_site_or_another_session_changes_nothing() {
    let house = House::new();
    let mut browser = house.browser_of_admin();
    for csrf in ["", "guessed"] {
        let mut form = server_form("web-01", &[]);
        form.push(("csrf", csrf));
        assert_eq!(browser.post("/servers", &form).status, 403);
    }
    let mut stranger = house.browser_of_admin();
    let page = stranger.get("/prefs");
    let token = page.between("name=\"csrf\" value=\"", "\"").unwrap().to_string();
    assert_eq!(
        browser
            .post(
                "/servers",
                &[server_form("web-01", &[]), vec![("csrf", &token)]].concat()
            )
            .status,
        403
    );
    browser.headers = vec![("Sec-Fetch-Site", "cross-site".into())];
    assert_eq!(browser.post("/servers", &server_form("web-01", &[])).status, 403);
    browser.headers.clear();
    assert!(browser.get("/servers").has("No servers yet"));
}

#[test]
fn who_may_only_look_gets_no_buttons_and_no_way_around_them() {
    let house = House::new();
    let mut admin = house.browser_of_admin();
    add_server(&mut admin, "web-01");
    add_domain(&mut admin, "shop.example");
    let password = house.account("vera", "viewer");
    let mut vera = house.browser();
    vera.sign_in("vera", &password);
    let open = [
        "/",
        "/servers",
        "/servers/1",
        "/tasks/1",
        "/upstreams",
        "/upstreams/1",
        "/groups",
        "/groups?edit=1",
        "/groups?delete=1",
        "/groups?kind=host",
        "/inventory",
        "/domains",
        "/domains/1",
        "/silences",
    ];
    for path in open {
        let page = vera.get(path);
        check_page(path, &page);
        for button in [
            "/check-ssh\"",
            "/delete\"",
            "/servers/new\"",
            "/cancel\"",
            "\"/settings\"",
            "/domains/new\"",
            "action=\"/domains/plan\"",
            "/upstreams/new\"",
            "name=\"name\"",
            "name=\"ids\"",
        ] {
            assert!(!page.has(button), "{path} offers {button}");
        }
    }
    for path in [
        "/servers/new",
        "/servers/1/edit",
        "/settings",
        "/upstreams/new",
        "/domains/new",
        "/domains/1/edit",
        "/domains/1/delete",
    ] {
        assert_eq!(vera.get(path).status, 403, "{path}");
    }
    for path in [
        "/servers/1/check-ssh",
        "/servers/1/delete",
        "/servers",
        "/settings",
        "/upstreams",
        "/upstreams/1",
        "/upstreams/1/delete",
        "/groups",
        "/groups/1",
        "/groups/1/delete",
        "/domains",
        "/domains/1",
        "/domains/1/delete",
        "/domains/bulk",
        "/domains/plan",
        "/silences",
        "/silences/1/end",
    ] {
        let form = [("confirm", "web-01"), ("name", "x"), ("ids", "1")];
        assert_eq!(vera.post(path, &form).status, 403, "{path}");
    }
    assert_eq!(admin.get("/domains/1").status, 200);
}

#[test]
fn a_domain_is_added_renamed_moved_and_deleted_by_plain_forms() {
    let house = House::new();
    let mut browser = house.browser_of_admin();
    add_server(&mut browser, "edge-01");
    add_domain(&mut browser, "Магазин.example");
    let page = browser.get("/domains/1");
    for text in [
        "магазин.<wbr>example",
        "xn--80aairftm.example",
        "edge-01",
        "shop-web",
        "10.<wbr>0.<wbr>0.<wbr>7:8080",
        "weight 5",
    ] {
        assert!(page.has(text), "{text}: {}", page.body);
    }
    assert!(
        browser
            .get("/domains?q=%D0%9C%D0%90%D0%93%D0%90")
            .has("href=\"/domains/1\"")
    );
    assert!(browser.get("/groups").has("href=\"/domains?group_id=1&amp;ssl=true\""));
    assert!(browser.get("/upstreams/1").has("href=\"/domains/1\""));

    // What was typed comes back with its mistake, in the language of the page.
    let mut form = vec![
        ("domain", "pаypal.example"), // a Cyrillic а
        ("upstream_id", "1"),
        ("group_id", ""),
        ("server_ids", "1"),
        ("ssl", "false"),
        ("hsts", "on"),
        ("certificate_id", ""),
        ("ns_policy", "днс"),
        ("preflight", "warn"),
        ("notes", "typed <notes>"),
    ];
    let refused = browser.post("/domains/1", &form);
    assert_eq!(refused.status, 422);
    for text in [
        "look alike",
        "value=\"typed &lt;notes&gt;\"",
        "href=\"#ns_policy\"",
        "id=\"domain-e\"",
    ] {
        assert!(refused.has(text), "{text}: {}", refused.body);
    }
    // HSTS that stands in a part of the form that is folded away is not meant.
    form.retain(|(name, _)| !["domain", "ns_policy", "server_ids"].contains(name));
    form.extend([("domain", "shop.example"), ("ns_policy", "")]);
    assert_eq!(browser.post("/domains/1", &form).header("location"), "/domains/1");
    let page = browser.get("/domains/1");
    assert!(
        page.has("HTTP only") && page.has("No server is chosen."),
        "{}",
        page.body
    );

    // Deploy for many says why one cannot be; with nothing ticked nothing happens.
    let told = browser.post("/domains/bulk", &[("ids", "1")]);
    assert!(
        told.has("No deploy was put in.") && told.has("It has no server."),
        "{}",
        told.body
    );
    assert!(browser.post("/domains/bulk", &[]).has("No deploy was put in."));

    let unsure = browser.post("/domains/1/delete", &[("confirm", "shop")]);
    assert_eq!(unsure.status, 422);
    assert_eq!(browser.get("/domains/1").status, 200);
    assert_eq!(
        browser
            .post("/domains/1/delete", &[("confirm", "shop.example")])
            .header("location"),
        "/domains"
    );
    assert_eq!(browser.get("/domains/1").status, 404);
    assert_eq!(
        browser.post("/upstreams/1/delete", &[]).header("location"),
        "/upstreams"
    );
}

#[test]
fn a_deploy_of_many_shows_first_what_it_would_do_and_a_used_server_lists_its_users() {
    let house = House::new();
    let mut browser = house.browser_of_admin();
    add_server(&mut browser, "edge-01");
    add_domain(&mut browser, "shop.example");
    let second = [
        ("domain", "blog.example"),
        ("upstream_id", "1"),
        ("server_ids", "1"),
        ("ssl", "false"),
        ("preflight", "off"),
    ];
    assert_eq!(browser.post("/domains", &second).header("location"), "/domains/2");

    // Every deploy begins on the page that shows what it would do.
    assert!(browser.get("/domains").has("action=\"/domains/plan\""));
    let page = browser.get("/domains/1");
    assert!(page.has("href=\"/domains/1/plan\"") && !page.has("/domains/1/deploy"));
    let one = browser.post("/domains/plan", &[("ids", "2")]);
    assert_eq!(one.header("location"), "/domains/2/plan");

    // The server's host key was never accepted: both would stop, for the one reason, with the way to mend it.
    let plan = browser.post("/domains/plan", &[("ids", "1"), ("ids", "2"), ("ids", "99")]);
    assert_eq!(plan.status, 200, "{}", plan.body);
    for text in [
        "Plan for 2 domains",
        "Would stop",
        "href=\"/domains/1/plan\"",
        "href=\"/domains/2/plan\"",
        "<a class=\"btn sm\" href=\"/servers/1\">Open edge-01</a>",
        "None of these deploys can begin.",
    ] {
        assert!(plan.has(text), "{text}: {}", plan.body);
    }
    assert!(!plan.has("action=\"/domains/bulk\""), "{}", plan.body);
    assert_eq!(
        house.admin().get("/api/tasks?kind=domain.deploy").is(200)["total"],
        0,
        "a plan puts no deploy in"
    );

    // What is used is not deleted by its name alone: the page lists the users, and asks whether they are to be forgotten.
    let ask = browser.get("/servers/1/delete");
    for text in ["It serves 2 domains.", "href=\"/domains/1\"", "href=\"/domains/2\""] {
        assert!(ask.has(text), "{text}: {}", ask.body);
    }
    assert!(ask.has("name=\"forget\""));
    assert_eq!(browser.post("/servers/1/delete", &[("confirm", "edge-01")]).status, 409);
    for id in ["1", "2"] {
        let name = ["shop.example", "blog.example"][usize::from(id == "2")];
        browser.post(&format!("/domains/{id}/delete"), &[("confirm", name)]);
    }
    assert!(!browser.get("/servers/1/delete").has("name=\"forget\""));
}

#[test]
fn a_deploy_that_failed_tells_what_is_on_each_server_now() {
    let house = House::new();
    let mut browser = house.browser_of_admin();
    add_server(&mut browser, "edge-1");
    add_server(&mut browser, "edge-2");
    let admin = house.admin();
    let wanted = json!({ "domain": "shop.example", "server_ids": [1, 2], "preflight": "off" });
    let upstream = json!({ "name": "web", "targets": ["10.0.0.7:80"] });
    let upstream = admin.post("/api/upstreams", &upstream).is(201)["id"].clone();
    let id = admin.post("/api/domains", &wanted).is(201)["id"].clone();
    let domain = format!("/api/domains/{id}");
    admin.patch(&domain, &json!({ "upstream_id": upstream })).is(200);
    let task = admin.post(&format!("{domain}/deploy"), &json!({})).is(202)["task_id"]
        .as_i64()
        .unwrap();
    assert_eq!(house.wait_for(task)["status"], "failed");
    let sites = admin.get(&domain).is(200)["sites"].clone();
    let told = |n: usize| (sites[n]["state"].as_str().unwrap(), sites[n]["stands"].as_str());
    assert_eq!(
        (told(0), told(1)),
        (("failed", Some("untouched")), ("none", None)),
        "{sites}"
    );
    let place = format!("/tasks/{task}");
    let page = browser.get(&place);
    assert!(page.has("What is on the servers now"), "{}", page.body);
    assert_eq!(page.body.matches("Nothing of this domain, as before.").count(), 2);

    // As two jobs may have told: one put everything back after it had got a certificate, one was through.
    let db = house.database("lamplighter.db");
    for (server, row) in [
        (
            1,
            "name = 'shop.example', state = 'failed', stands = 'back', issued = 1, deployed_at = 1",
        ),
        (2, "name = 'shop.example', state = 'live', deployed_at = 9e15"),
    ] {
        let sql = format!("UPDATE domain_sites SET {row} WHERE server_id = {server}");
        db.execute(&sql, []).unwrap();
    }
    let page = browser.get(&place);
    for words in [
        "The file that was there before is back, and the site answers.",
        "A certificate was issued and stays there for the next try.",
        "The new file is there, and the site answers.",
    ] {
        assert!(page.has(words), "{words}: {}", page.body);
    }
    assert!(
        browser
            .get(&format!("/domains/{id}"))
            .has("A certificate was issued and stays")
    );
    db.execute("UPDATE tasks SET status = 'ok' WHERE id = ?1", [task])
        .unwrap();
    assert!(!browser.get(&place).has("What is on the servers now"), "all went well");
}

#[test]
fn a_server_says_what_has_no_chart_and_whose_load_it_shows() {
    let house = House::new();
    let mut browser = house.browser_of_admin();
    add_server(&mut browser, "edge-1");
    let (main, metrics) = (house.database("lamplighter.db"), house.database("metrics.db"));
    let facts = r#"{"container":"lxc","load":"host"}"#;
    main.execute("UPDATE servers SET facts = ?1, facts_at = 1 WHERE id = 1", [facts])
        .unwrap();
    let sample = r#"{"ts":"2027-01-15T08:00:00.000Z","took_ms":9,"load1":15.2,"uncharted":{"count":18,"mounts":["/srv/17","/srv/16"]}}"#;
    let row = "INSERT OR REPLACE INTO server_latest VALUES (1, 1800000000000, 9, ?1, x'', '[]')";
    metrics.execute(row, [sample]).unwrap();
    let page = browser.get("/servers/1");
    for words in [
        "The load is that of the host",
        "18 more file systems",
        "/srv/17, /srv/16, …",
        "lxc",
    ] {
        assert!(page.has(words), "{words}: {}", page.body);
    }
    let admin = house.admin();
    assert_eq!(admin.get("/api/servers/1").is(200)["facts"]["load"], "host");
    assert_eq!(admin.get("/api/servers/1/metrics").is(200)["uncharted"]["count"], 18);
    // With the own load of a container, or of a machine, there is nothing to say.
    main.execute(r#"UPDATE servers SET facts = '{"container":"lxc","load":"own"}'"#, [])
        .unwrap();
    assert!(!browser.get("/servers/1").has("The load is that of the host"));
}

#[test]
fn an_error_keeps_menu_and_search_for_who_is_signed_in() {
    let house = House::new();
    let lost = house.browser_of_admin().get("/domains/7");
    assert_eq!(lost.status, 404);
    for text in ["<nav id=\"nav\"", "href=\"/servers\"", "href=\"/search\""] {
        assert!(lost.has(text), "{text}: {}", lost.body);
    }
    let stranger = house.browser().get("/no/such/page");
    assert_eq!(stranger.status, 404);
    assert!(
        !stranger.has("<nav id=\"nav\"") && !stranger.has("href=\"/servers\""),
        "{}",
        stranger.body
    );
}

#[test]
fn groups_are_made_renamed_and_deleted_in_their_list() {
    let house = House::new();
    let mut browser = house.browser_of_admin();
    add_server(&mut browser, "edge-01");
    add_domain(&mut browser, "shop.example");
    let twin = browser.post("/groups", &[("name", "SHOPS"), ("notes", "kept <b>")]);
    assert_eq!(twin.status, 422);
    assert!(
        twin.has("This name is taken already.") && twin.has("value=\"kept &lt;b&gt;\""),
        "{}",
        twin.body
    );
    assert_eq!(browser.post("/groups", &[("name", "Other")]).status, 303);
    let clash = browser.post("/groups/1", &[("name", "Other"), ("notes", "")]);
    assert_eq!(clash.status, 422);
    assert!(
        clash.has("action=\"/groups/1\"") && clash.has("id=\"name-e\""),
        "{}",
        clash.body
    );
    assert_eq!(
        browser.post("/groups/1", &[("name", "Stores"), ("notes", "")]).status,
        303
    );
    assert!(browser.get("/groups").has(">Stores</a>"));
    assert!(browser.get("/groups?delete=1").has("1 domain will be in no group"));
    assert_eq!(
        browser.post("/groups/1/delete", &[]).header("location"),
        "/groups?freed=1"
    );
    assert!(browser.get("/groups?freed=1").has("1 domain is in no group now."));
    assert_eq!(browser.get("/domains/1").status, 200);
}

#[test]
fn a_rule_of_alerts_is_added_changed_and_switched_by_plain_forms() {
    let house = House::new();
    let mut browser = house.browser_of_admin();
    assert!(browser.get("/alerts").has("href=\"/alert-rules\""));
    assert_eq!(browser.get("/alert-rules/new?watches=weather").status, 404);
    let form = [
        ("watches", "disk"),
        ("name", "Database <b>"),
        ("level", "ERROR"),
        ("mount", "srv"),
        ("threshold", "70,5"),
        ("clear", "80"),
        ("for_s", "60"),
        ("tags", "db, prod"),
        ("enabled", "on"),
    ];
    let bad = browser.post("/alert-rules", &form);
    assert_eq!(bad.status, 422);
    for kept in [
        "id=\"mount-e\"",
        "id=\"clear-e\"",
        "value=\"Database &lt;b&gt;\"",
        "value=\"70,5\"",
        "value=\"db, prod\"",
    ] {
        assert!(bad.has(kept), "{kept}: {}", bad.body);
    }
    let good = form.map(|(name, value)| match name {
        "mount" => (name, "/srv"),
        "clear" => (name, ""),
        _ => (name, value),
    });
    assert_eq!(browser.post("/alert-rules", &good).header("location"), "/alert-rules");
    let list = browser.get("/alert-rules");
    let sentence =
        "Disk /srv above 70.5\u{a0}% for 60\u{a0}s, until 70.5\u{a0}% or below; only servers tagged db, prod";
    assert!(list.has(sentence) && list.has("Database &lt;b&gt;"), "{}", list.body);

    // A built-in one is changed, switched off, and what it was.
    let memory = |browser: &mut Browser| browser.get("/alert-rules/7");
    assert!(memory(&mut browser).has("value=\"90\"") && !memory(&mut browser).has("/alert-rules/7/reset"));
    let form = [
        ("level", "WARNING"),
        ("threshold", "95"),
        ("clear", "90"),
        ("for_s", "600"),
        ("tags", ""),
    ];
    assert_eq!(browser.post("/alert-rules/7", &form).status, 303);
    let page = memory(&mut browser);
    assert!(
        page.has("value=\"95\"") && page.has("/alert-rules/7/reset"),
        "{}",
        page.body
    );
    assert!(
        !page.has("name=\"enabled\" value=\"on\" checked"),
        "a box that is not ticked is off"
    );
    browser.post("/alert-rules/7/switch", &[("enabled", "on")]);
    assert!(memory(&mut browser).has("name=\"enabled\" value=\"on\" checked"));
    assert_eq!(browser.post("/alert-rules/7/reset", &[]).status, 303);
    assert!(memory(&mut browser).has("value=\"90\""));

    assert_eq!(browser.post("/alert-rules/7/delete", &[]).status, 409);
    assert_eq!(browser.post("/alert-rules/1000/delete", &[]).status, 303);
    assert_eq!(browser.get("/alert-rules/1000").status, 404);
}

#[test]
fn preferences_hold_and_lead_back_to_this_server_only() {
    let house = House::new();
    let mut browser = house.browser_of_admin();
    let answer = browser.post(
        "/prefs",
        &[("theme", "dark"), ("keys", "off"), ("back", "/servers?q=a")],
    );
    assert_eq!(answer.header("location"), "/servers?q=a");
    let page = browser.get("/");
    assert!(page.has("data-theme=\"dark\"") && page.has("data-keys=\"off\""));
    for away in ["//evil.example", "https://evil.example", "/\\evil.example"] {
        assert_eq!(
            browser
                .post("/prefs", &[("theme", "auto"), ("back", away)])
                .header("location"),
            "/"
        );
    }
    assert_eq!(browser.post("/prefs", &[("theme", "pink"), ("back", "/")]).status, 422);
}

#[test]
fn settings_are_saved_together_or_not_at_all() {
    let house = House::new();
    let mut browser = house.browser_of_admin();
    let saved = browser.post("/settings", &[("poll.fail_threshold", "5"), ("poll.threads_max", "32")]);
    assert_eq!(saved.header("location"), "/settings?saved=1");
    let refused = browser.post(
        "/settings",
        &[("poll.fail_threshold", "7"), ("poll.threads_max", "zero")],
    );
    assert_eq!(refused.status, 422);
    assert!(refused.has("id=\"poll.threads_max-e\"") && refused.has("value=\"zero\""));
    assert!(browser.get("/settings").has("name=\"poll.fail_threshold\" value=\"5\""));
}

#[test]
fn what_does_not_exist_is_told_as_a_page_with_the_requests_number() {
    let house = House::new();
    let mut browser = house.browser_of_admin();
    for path in ["/nothing", "/servers/999", "/tasks/0", "/static/0/app.js"] {
        let page = browser.get(path);
        assert_eq!(page.status, 404, "{path}");
        assert!(page.has("<h1") && page.has(page.header("x-request-id")), "{path}");
    }
    let api = browser.get("/api/servers/999");
    assert!(api.has("\"error_code\":\"not_found\""));
}

#[test]
fn the_files_of_a_page_are_kept_for_ever() {
    let house = House::new();
    let mut browser = house.browser();
    let page = browser.get("/login");
    let style = page.between("rel=\"stylesheet\" href=\"", "\"").unwrap().to_string();
    let file = browser.get(&style);
    assert_eq!(
        (file.status, file.header("content-type")),
        (200, "text/css; charset=utf-8")
    );
    assert!(file.header("cache-control").contains("immutable"));
}

#[test]
fn a_silence_is_made_and_ended_by_plain_forms() {
    let house = House::new();
    let mut browser = house.browser_of_admin();
    add_server(&mut browser, "web-01");
    add_domain(&mut browser, "магазин.example");
    // From the server's page, by its menu.
    let page = browser.get("/servers/1");
    assert!(
        page.has("action=\"/silences\"") && page.has("name=\"server_id\" value=\"1\"") && !page.has("id=\"silenced\"")
    );
    let form = [("server_id", "1"), ("next", "/servers/1"), ("hours", "4")];
    assert_eq!(browser.post("/silences", &form).header("location"), "/servers/1");
    let page = browser.get("/servers/1");
    assert!(page.has("id=\"silenced\"") && page.has("action=\"/silences/1/end\""));
    let away = [("kind", "ns.mismatch"), ("next", "//evil.example"), ("hours", "1")];
    assert_eq!(browser.post("/silences", &away).header("location"), "/");

    // The long form names things; what was typed comes back with its mistakes.
    let mut form = vec![
        ("server", "no-such"),
        ("domain", ""),
        ("tag", "<b>"),
        ("kind", ""),
        ("reason", "kept \"words\""),
        ("hours", ""),
        ("starts_at", ""),
        ("ends_at", "1999-01-01T00:00"),
    ];
    let refused = browser.post("/silences", &form);
    assert_eq!(refused.status, 422);
    assert!(refused.has("id=\"server-e\"") && refused.has("value=\"no-such\"") && !refused.has("<b>\""));
    form[0].1 = "";
    form[1].1 = "Магазин.example";
    let refused = browser.post("/silences", &form);
    assert!(
        refused.has("id=\"ends_at-e\"") && refused.has("kept &quot;words&quot;"),
        "{}",
        refused.body
    );
    check_page("/silences", &Page { status: 200, ..refused });
    form[2].1 = "";
    form[5].1 = "24";
    form[7].1 = "";
    assert_eq!(
        browser.post("/silences", &form).header("location"),
        "/silences?state=active"
    );
    let page = browser.get("/silences");
    check_page("/silences", &page);
    assert!(page.has("магазин.<wbr>example") && page.has("kept &quot;words&quot;") && page.has(">web-01<"));
    assert_eq!(browser.post("/silences/1/end", &[]).header("location"), "/silences");
    assert!(!browser.get("/servers/1").has("id=\"silenced\""));
    // On the domain's page the one that was made for it, and the way to another.
    let page = browser.get("/domains/1");
    check_page("/domains/1", &page);
    assert!(
        page.has("id=\"silenced\"") && page.has("kept &quot;words&quot;"),
        "{}",
        page.body
    );
    assert!(page.has("name=\"domain_id\" value=\"1\""));
    let form = [("domain_id", "1"), ("next", "/domains/1"), ("hours", "4")];
    assert_eq!(browser.post("/silences", &form).header("location"), "/domains/1");
    for lang in ["en", "ru"] {
        browser.post("/prefs", &[("lang", lang), ("back", "/")]);
        check_page("/silences?state=over", &browser.get("/silences?state=over"));
        check_page("/silences", &browser.get("/silences"));
    }
}
