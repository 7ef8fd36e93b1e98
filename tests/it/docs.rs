//! `/docs` and `/help`: pages of what the program says of itself, and lines that work when they are copied.

use crate::common::*;
use serde_json::json;
use std::process::Command;

/// The text of a piece of a page, as a browser shows it.
fn plain(html: &str) -> String {
    let text = html.replace("&quot;", "\"").replace("&#39;", "'");
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

/// All lines with curl of a page.
fn lines(page: &str) -> Vec<String> {
    let found = page.split("<pre tabindex=\"0\" id=\"c-").skip(1);
    found
        .map(|rest| plain(rest.split_once("<code>").unwrap().1.split_once("</code>").unwrap().0))
        .collect()
}

/// Of each kind one, each with the number 1.
fn furnish(house: &House) {
    let admin = house.admin();
    let make = |path: &str, body: serde_json::Value| admin.post(path, &body).is(201)["id"].as_i64().unwrap();
    let ids = [
        make("/api/servers", server("one", 22)),
        make("/api/groups", json!({ "name": "shops" })),
        make("/api/upstreams", json!({ "name": "back", "targets": ["192.0.2.8:80"] })),
        make(
            "/api/domains",
            json!({ "domain": "a.example", "upstream_id": 1, "server_ids": [1] }),
        ),
        make("/api/silences", json!({ "server_id": 1, "hours": 2, "reason": "Work" })),
        make(
            "/api/notifications",
            json!({ "type": "webhook", "name": "hook", "url": "https://hook.example/x" }),
        ),
    ];
    assert_eq!(ids, [1; 6]);
}

#[test]
fn the_lines_with_curl_work_as_they_stand() {
    let house = House::with(Processes::ApiOnly, &[]);
    furnish(&house);
    let admin = house.admin();
    let Who::Bearer(token) = admin.who() else {
        panic!("no token")
    };
    let mut browser = house.browser_of_admin();
    let overview = browser.get("/docs").body;
    let features: Vec<_> = overview
        .split("<h2 id=\"f-")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    assert!(features.len() > 15, "{features:?}");
    let mut all: Vec<String> = features
        .iter()
        .flat_map(|name| lines(&browser.get(&format!("/docs/{name}")).body))
        .collect();
    let count = all.len();
    // First what only looks, then what makes something; the rest needs something of one's own.
    let is_look = |line: &&String| !line.contains(" -X ") && !line.contains(" -N");
    let makes = [
        "/api/servers'",
        "/api/groups'",
        "/api/upstreams'",
        "/api/domains'",
        "/api/silences'",
        "/api/alert-rules'",
    ];
    let is_new = |line: &&String| line.contains(" -X POST") && makes.iter().any(|end| line.ends_with(end));
    all.sort();
    let (looks, new): (Vec<_>, Vec<_>) = (
        all.iter().filter(is_look).collect(),
        all.iter().filter(is_new).collect(),
    );
    assert!(
        count > 100 && looks.len() > 40 && new.len() == makes.len(),
        "{count} {} {}",
        looks.len(),
        new.len()
    );
    // Nothing runs here, so there is no alert, no certificate, no delivery, no schedule, no secret, no API token, no container and no service.
    let none = [
        "/api/alerts/1'",
        "/api/certificates/1'",
        "/api/schedules/1'",
        "/api/secrets/1'",
        "/api/secrets/1/versions'",
        "/api/secrets/1/uses'",
        "/api/secrets/1/rotation'",
        "/api/secrets/1/leases'",
        "/api/leases/1'",
        "/api/tokens/1'",
        "/api/plugins/1'",
        "/api/hosts/1/updates'",
        "/api/hosts/1/actions/NAME/result'",
        "/api/containers/1/NAME'",
        "/api/containers/1/NAME/events'",
        "/api/containers/1/NAME/stats'",
        "/api/containers/1/NAME/logs'",
        "/api/containers/1/NAME/log.txt'",
        "/api/containers/1/NAME/logs/stream'",
        "/api/availability/NAME/1'",
        "/api/metrics/history'",
        "/api/heartbeat'",
        "/api/services/NAME'",
        "/api/services/NAME/stats'",
        "/api/services/NAME/unit'",
        "/api/services/NAME/logs'",
        "/api/services/NAME/log.txt'",
        "/api/services/NAME/logs/stream'",
        "/api/redis/NAME/stats'",
        "/api/marzban/instances/NAME'",
        "/api/marzban/instances/NAME/users'",
    ];
    for line in looks.into_iter().chain(new) {
        let ask = line.replacen("curl", "curl -s -o /dev/null -w '%{http_code}'", 1);
        let mut shell = Command::new("sh");
        shell.args(["-c", &ask]).env("TOKEN", token);
        let status = String::from_utf8(shell.output().unwrap().stdout).unwrap();
        let expected: &[&str] = match line {
            line if none.iter().any(|end| line.ends_with(end)) => &["404"],
            line if line.contains("/health/scheduler") => &["503"],
            _ => &["200", "201"],
        };
        assert!(expected.contains(&status.as_str()), "{status}: {line}");
    }
}

#[test]
fn the_api_is_searched_and_each_feature_has_its_page_in_both_languages() {
    let house = House::with(Processes::ApiOnly, &[]);
    let mut browser = house.browser();
    assert_eq!(browser.get("/docs").status, 303);
    browser.sign_in(ADMIN, &house.password);
    let all = browser.get("/docs").body;
    assert!(all.contains("/api/servers/{id}") && all.contains("href=\"/openapi.json\""));
    let some = browser.get("/docs?q=glances_port").body;
    assert!(
        some.contains("href=\"/docs/servers#post_api_servers\"") && !some.contains("/api/groups"),
        "{some}"
    );
    let none = browser.get("/docs?q=%3Cb%3Eqq").body;
    assert!(none.contains("&lt;b&gt;qq") && !none.contains("<b>qq"), "{none}");
    assert_eq!(browser.get("/docs/nothing").status, 404);
    let page = browser.get("/docs/domains?lang=ru").body;
    for text in [
        "id=\"post_api_domains\"",
        "Добавить домен",
        "обязательно",
        "id=\"domains.View\"",
        "domains:edit",
    ] {
        assert!(page.contains(text), "{text}");
    }
    // What leads to a type finds it.
    for place in page
        .split("<a href=\"#")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
    {
        assert!(page.contains(&format!(" id=\"{place}\"")), "{place}");
    }
}

#[test]
fn the_manual_is_read_and_searched_without_a_network() {
    let house = House::with(Processes::ApiOnly, &[]);
    let mut browser = house.browser();
    assert_eq!(browser.get("/help").status, 303);
    browser.sign_in(ADMIN, &house.password);
    let contents = browser.get("/help").body;
    for chapter in [
        "readme",
        "operations",
        "security",
        "architecture",
        "glossary",
        "decisions",
        "incidents",
        "contributing",
        "changes",
    ] {
        assert!(contents.contains(&format!("href=\"/help/{chapter}\"")), "{chapter}");
        let page = browser.get(&format!("/help/{chapter}"));
        assert_eq!(page.status, 200, "{chapter}");
        for place in page
            .body
            .split("<a href=\"#")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap())
        {
            assert!(page.body.contains(&format!(" id=\"{place}\"")), "{chapter}: {place}");
        }
        assert!(!page.body.contains("**") || page.body.contains("<code>"), "{chapter}");
    }
    let security = browser.get("/help/security").body;
    assert!(
        security.contains("<h2 id=\"promises\">")
            && security.contains("<code>edge::ten_thousand_mutations_leave_no_trace</code>")
    );
    let found = browser.get("/help?q=maintainers+PRIVATE").body;
    assert!(
        found.contains("/help/security#how-to-report-a-vulnerability") && found.contains("<mark>"),
        "{found}"
    );
    let none = browser.get("/help?q=%3Cscript%3Eqq").body;
    assert!(none.contains("&lt;script&gt;qq") && !none.contains("<script>qq"));
    assert_eq!(browser.get("/help/nothing").status, 404);
}
