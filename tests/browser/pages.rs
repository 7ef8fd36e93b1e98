//! The pages in a real browser, as a person meets them: no error in the console, the policy holds, the rules of
//! accessibility are kept, nothing jumps; by mouse, by keyboard, on the phone, light and dark.

use crate::{common, fake};

use common::*;
use fake::engine::Engine;
use fake::proxy;
use serde_json::{Value, json};
use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Runs steps (see `tests/browser/README.md`) and fails with what went wrong.
fn drive(steps: &str) -> String {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser/page.py");
    let driver = std::env::var("LAMPLIGHTER_BROWSER").unwrap_or_else(|_| beside.into());
    let mut child = Command::new(driver)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(steps.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    // The failed step is the last of a long list, and the problems come after it.
    let end = told.floor_char_boundary(told.len().saturating_sub(2_000));
    assert!(output.status.success(), "{}", &told[end..]);
    told
}

fn sign_in(house: &House) -> String {
    sign_in_at(house, house.address)
}

fn sign_in_at(house: &House, address: impl std::fmt::Display) -> String {
    format!(
        r##"{{"goto": "http://{address}/login"}}, {{"type": "#login", "text": "{ADMIN}"}}, {{"type": "#password", "text": "{}"}},
           {{"click": "button.pri"}}, {{"wait": "nav#nav"}}, {{"wait_js": "document.querySelector('#palette') !== null"}}"##,
        house.password
    )
}

/// Glances of a fixture on a port of its own, for as long as the test runs.
fn fake_glances() -> u16 {
    let body = include_str!("../data/glances/4.3.3/full/all.json");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream
                .write_all(head.as_bytes())
                .and_then(|()| stream.write_all(body.as_bytes()));
        }
    });
    port
}

/// Adds a server that is polled every 5 s.
fn add_server(house: &House, name: &str, glances_port: u16) {
    let port = glances_port.to_string();
    let form = [
        ("name", name),
        ("host", "127.0.0.1"),
        ("ssh_port", "9"),
        ("username", "deploy"),
        ("auth_type", "password"),
        ("password", "not a secret here"),
        ("glances_port", port.as_str()),
        ("glances_path", "/api/4/all"),
        ("poll_interval_s", "5"),
    ];
    assert_eq!(house.browser_of_admin().post("/servers", &form).status, 303);
}

/// A container that ended badly, as the collector leaves it.
fn add_container(house: &House) {
    house
        .database("lamplighter.db")
        .execute(
            "INSERT INTO containers (name, server_id, life, image, project, state, exit_code, since, troubles, created_at, seen_at)
             VALUES ('shop-web-1', 1, '', 'shop/web:2', 'shop', 'exited', 137, 1, '[\"container.died\",\"container.oom\"]', 1, 1)",
            [],
        )
        .unwrap();
}

/// A unit that was given up, as the watch leaves it, and a job that calls.
fn add_services(house: &House) {
    let admin = house.admin();
    let bot = json!({ "name": "bot", "kind": "unit", "server_id": 1, "unit": "bot", "restart_policy": "always", "tags": ["chat"] });
    admin.post("/api/services", &bot).is(201);
    let backup = json!({ "name": "backup", "kind": "heartbeat", "period_s": 86_400 });
    admin.post("/api/services", &backup).is(201);
    for more in [
        json!({ "name": "worker", "kind": "command", "server_id": 1, "command": ["/usr/bin/python3", "/srv/bot.py"], "enabled": false }),
        json!({ "name": "panel", "kind": "marzban", "base_url": "https://panel.example:8000", "username": "root",
            "password": "a panel's password", "enabled": false }),
    ] {
        admin.post("/api/services", &more).is(201);
    }
    house
        .database("lamplighter.db")
        .execute_batch(
            r#"UPDATE services SET enabled = 0 WHERE name = 'bot';
            UPDATE service_states SET state = 'failed', health = 'unhealthy', code = 'unit_failed', say = 'It ended with code 3.',
              troubles = '["service.down","service.gave_up"]', restarts = 5,
              ended = '{"result":"exit-code","exit_code":3,"signal":null,"oom":false,"asked":false,"by":"","at":1000,
                "lines":["bot begins","bot cannot go on: no token"]}'
            WHERE service_id = 1;"#,
        )
        .unwrap();
}

/// An upstream, a group, and two domains in states of their own.
fn add_domains(house: &House) {
    let mut admin = house.browser_of_admin();
    let upstream = [
        ("name", "shop-web"),
        ("targets", "10.0.0.7:8080 5\n[2001:db8::7]:80"),
        ("notes", ""),
    ];
    assert_eq!(admin.post("/upstreams", &upstream).status, 303);
    assert_eq!(admin.post("/groups", &[("name", "Shops")]).status, 303);
    for (name, ssl) in [
        ("магазин.northwind.example", "true"),
        ("plain.northwind.example", "false"),
    ] {
        let domain = [
            ("domain", name),
            ("upstream_id", "1"),
            ("group_id", "1"),
            ("server_ids", "1"),
            ("ssl", ssl),
        ];
        assert_eq!(admin.post("/domains", &domain).status, 303);
    }
}

#[test]
#[ignore = "browser: needs Chromium"]
fn every_page_is_clean_in_all_four_looks() {
    let house = House::new();
    add_server(&house, "lamp-01", fake_glances());
    add_server(&house, "lamp-02", 9);
    house
        .browser_of_admin()
        .wait_for("/servers/1", |page| page.has("class=\"why t-lit\""));
    house
        .browser_of_admin()
        .wait_for("/servers/2", |page| page.has("class=\"why t-dark\""));
    add_domains(&house);
    let nightly =
        serde_json::json!({ "name": "nightly", "kind": "server.check_ssh", "target_id": 1, "cron": "30 2 * * *" });
    house.admin().post("/api/schedules", &nightly).is(201);
    let token = serde_json::json!({ "name": "from a pipeline", "scopes": ["domains:deploy", "domains:read"] });
    house.admin().post("/api/tokens", &token).is(201);
    let kept = serde_json::json!({ "name": "pg-replica", "type": "private_key", "generate": "ed25519", "tags": ["db"],
        "rotation_interval_s": 30 * 86_400, "lessees": [format!("user:{ADMIN}")] });
    house.admin().post("/api/secrets", &kept).is(201);
    let bot = serde_json::json!({ "name": "bot", "type": "token", "generate": "words", "scope": ["endpoints"] });
    house.admin().post("/api/secrets", &bot).is(201);
    let said = serde_json::json!({ "type": "webhook", "name": "room", "url": "https://hooks.northwind.example/in",
        "secret": { "secret_id": 2 } });
    house.admin().post("/api/notifications", &said).is(201);
    let ttl = serde_json::json!({ "ttl_seconds": 3_600 });
    house.admin().post("/api/secrets/1/lease", &ttl).is(201);
    let rule = serde_json::json!({ "all": [{ "field": "tags", "op": "contains", "value": "prod" },
        { "not": { "field": "disk", "op": "lt", "value": 80 } }] });
    let group = serde_json::json!({ "name": "Prod and full", "rule": rule });
    assert_eq!(house.admin().post("/api/groups", &group).is(201)["id"], 2);
    let group = serde_json::json!({ "kind": "host", "name": "lamps", "server_ids": [1, 2] });
    assert_eq!(house.admin().post("/api/groups", &group).is(201)["id"], 3);
    let project = serde_json::json!({ "name": "Shops", "notes": "What customers see." });
    house.admin().post("/api/projects", &project).is(201);
    let public = json!({ "status.enabled": 1 });
    house.admin().put("/api/settings", &public).is(200);
    let plugin = serde_json::json!({ "name": "old list", "definition": "json-url",
        "config": { "url": "https://inventory.northwind.example/hosts.json" } });
    house.admin().post("/api/plugins", &plugin).is(201);
    let banner = serde_json::json!({ "banner": { "text": "The database moves on Sunday.", "level": "warning" } });
    house.admin().put("/api/admin/settings", &banner).is(200);
    add_container(&house);
    add_services(&house);
    // Pages that change while they are looked at are another story: what is to be found out is known by now.
    let (admin, mut seen) = (house.admin(), (Value::Null, Instant::now()));
    eventually("it is calm", || {
        let alerts = admin.get("/api/alerts?state=firing").is(200)["total"].clone();
        let services = admin.get("/api/services").is(200);
        let health = services["services"]
            .as_array()
            .unwrap()
            .iter()
            .map(|s| s["health"].clone());
        let now = json!([alerts, health.collect::<Vec<_>>()]);
        if now != seen.0 {
            seen = (now, Instant::now());
        }
        (seen.1.elapsed() > Duration::from_secs(4)).then_some(())
    });
    let pages = [
        "/",
        "/upstreams",
        "/upstreams/new",
        "/upstreams/1",
        "/groups",
        "/groups?edit=1",
        "/groups?delete=1",
        "/groups?kind=host",
        "/groups/2",
        "/groups/3",
        "/actions",
        "/actions?group_id=3",
        "/servers/1/actions",
        "/projects",
        "/admin/settings",
        "/plugins",
        "/inventory",
        "/domains",
        "/domains/new",
        "/domains/1",
        "/domains/1/edit",
        "/domains/1/delete",
        "/servers",
        "/servers/new",
        "/servers/1",
        "/servers/2",
        "/servers/1/edit",
        "/servers/1/delete",
        "/servers/1/install-glances",
        "/servers/1/metrics",
        "/containers",
        "/containers/1",
        "/log-search",
        "/services",
        "/services/bot",
        "/services/bot/edit",
        "/services/backup",
        "/services/worker",
        "/services/worker/edit",
        "/services/new?kind=command",
        "/services/new?kind=postgres",
        "/services/panel",
        "/marzban",
        "/services/new?kind=http",
        "/availability",
        "/availability/server/1",
        "/status-page",
        "/status",
        "/charts",
        "/charts?series=server:1:cpu&series=service:1:up&subject=server:1",
        "/tasks",
        "/tasks/1",
        "/alerts",
        "/alert-rules",
        "/alert-rules/new?watches=disk",
        "/certificates",
        "/certificates/new",
        "/settings",
        "/prefs",
        "/prefs/totp",
        "/users",
        "/users/1",
        "/tokens",
        "/audit",
        "/schedules",
        "/schedules?edit=1",
        "/backups",
        "/secrets",
        "/secrets/1",
        "/secrets/1/delete",
        "/secrets/2",
        "/notifications/1",
        "/leases",
        "/leases/1",
        "/doctor",
    ];
    for view in ["desktop", "phone"] {
        for scheme in ["light", "dark"] {
            let mut steps = format!(
                r#"[{{"view": "{view}"}}, {{"media": {{"prefers-color-scheme": "{scheme}"}}}}, {}"#,
                sign_in(&house)
            );
            for page in pages {
                steps += &format!(
                    r#", {{"goto": "http://{}{page}"}}, {{"wait_js": "document.readyState === 'complete'"}}, {{"pause": 0.3}}, {{"a11y": true}},
                    {{"wait_js": "document.documentElement.scrollWidth <= innerWidth"}}"#,
                    house.address
                );
            }
            let told = drive(&(steps + r#", {"layout_shift": 0.01}, {"clean": true}]"#));
            let rule = told
                .find("\"rule\":")
                .map(|at| &told[at..told.floor_char_boundary(at + 200)]);
            assert_eq!(rule, None, "{view} {scheme}");
        }
    }
}

#[test]
#[ignore = "browser: needs Chromium"]
fn a_container_is_read_live_and_its_alert_has_its_last_words() {
    let folder = Folder::new();
    let engine = Engine::start(folder.path());
    let socket = engine.socket.to_str().unwrap();
    let house = House::with(Processes::One, &[("LAMPLIGHTER_CONTAINERS_SOCKET", socket)]);
    engine.run("web", 1);
    engine.say("web", false, "line 0");
    let admin = house.admin();
    let id = eventually("it is listed", || {
        let web = admin.get("/api/containers/local/web");
        (web.status == 200).then(|| web.is(200)["id"].clone())
    });
    let page = format!("http://{}/containers/{id}", house.address);
    let lines = "document.querySelectorAll('#log li').length";
    let live = format!(
        r##"[{}, {{"goto": "{page}"}}, {{"wait": ".live[data-live=live]"}}, {{"wait_js": "{lines} > 0"}},
        {{"eval": "window.before = {lines}"}}, {{"wait_js": "{lines} > window.before + 3", "limit": 20}}, {{"clean": true}}]"##,
        sign_in(&house)
    );
    std::thread::scope(|scope| {
        let seen = scope.spawn(|| drive(&live));
        let mut n = 0;
        while !seen.is_finished() {
            n += 1;
            engine.say("web", false, &format!("line {n}"));
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
    });
    engine.say("web", true, "ERROR it falls");
    engine.dies("web", 3);
    eventually("its alert", || {
        let all = admin.get("/api/alerts?state=firing").is(200);
        all["items"].to_string().contains("it falls").then_some(())
    });
    // A wall of 500 more, whose later rows have longer texts: none of them moves what is above it.
    let db = house.database("lamplighter.db");
    db.execute_batch(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 499)
         INSERT INTO containers (name, life, image, project, state, since, created_at, seen_at)
         SELECT 'shop-' || i || substr('-worker-of-the-northern-orders', 1, i / 10) || '-1', '',
           substr('registry.example/shop/worker-of-the-northern-orders:2026-11', 1, 10 + i / 10), 'shop-' || (i / 10), 'gone', 1, 1, 1 FROM n",
    )
    .unwrap();
    for view in ["desktop", "phone"] {
        let fits = r#"{"wait_js": "document.documentElement.scrollWidth <= innerWidth"}"#;
        let image = "document.querySelector('tr[data-id] td:nth-child(3)').getBoundingClientRect().x";
        drive(&format!(
            r##"[{{"view": "{view}"}}, {}, {{"slow": 4}}, {{"goto": "{page}"}}, {{"wait": ".said"}}, {{"wait_text": "exited, code 3"}},
            {{"wait_text": "ERROR it falls"}}, {{"a11y": true}}, {fits}, {{"goto": "http://{at}/containers?state=gone"}},
            {{"wait_js": "document.querySelectorAll('tr[data-id]').length === 499"}}, {fits},
            {{"layout_shift": 0.01}},
            {{"eval": "document.body.style.minHeight = '9999px', window.before = {image}, document.querySelectorAll('tr[data-id] ~ tr, tbody ~ tbody').forEach(e => e.remove())"}},
            {{"wait_js": "document.querySelectorAll('tr[data-id]').length === 1 && {image} === window.before"}},
            {{"goto": "http://{at}/log-search?q=falls"}}, {{"wait_text": "ERROR it falls"}}, {{"click": "#found a.of"}},
            {{"wait": "body[data-live=container]"}}, {{"wait_text": "ERROR it falls"}}, {{"clean": true}}]"##,
            sign_in(&house),
            at = house.address
        ));
    }
}

#[test]
#[ignore = "browser: needs Chromium"]
fn an_action_shows_its_progress_in_a_dialog_and_the_task_page_tells_the_end() {
    let house = House::new();
    add_server(&house, "lamp-01", 9);
    house
        .browser_of_admin()
        .wait_for("/tasks/1", |page| !page.has("data-running"));
    drive(&format!(
        r##"[{}, {{"goto": "http://{}/servers/1"}}, {{"click": ".why form[data-task] button"}}, {{"wait": "#progress[open]"}},
        {{"wait_js": "document.querySelector('#pnow').textContent === 'Failed'"}},
        {{"wait_text": "refused the connection"}},
        {{"click": "#plink"}}, {{"wait_text": "SSH: connection refused"}}, {{"wait": ".why.t-dark"}}, {{"clean": true}}]"##,
        sign_in(&house),
        house.address
    ));
}

#[test]
#[ignore = "browser: needs Chromium"]
fn behind_a_proxy_that_holds_streams_back_a_task_is_followed_with_its_lines_steps_and_end() {
    let house = House::new();
    let door = Door::new(1);
    let mut wanted = server("web", door.port);
    wanted["host_key"] = serde_json::json!(door.key_line());
    let admin = house.admin();
    let id = admin.post("/api/servers", &wanted).is(201)["id"].clone();
    door.hold_logins();
    let path = format!("/api/servers/{id}/check-ssh");
    let task = admin.post(&path, &serde_json::json!({})).is(202)["task_id"]
        .as_i64()
        .unwrap();
    eventually("ssh is at the door", || (door.logins() > 0).then_some(()));
    let proxy = proxy::buffering(house.address);
    let address = format!("127.0.0.1:{}", proxy.port);
    let asked = |what: &str| {
        let part = format!("/api/tasks/{task}/{what}?");
        eventually(&part, || {
            proxy.seen().iter().any(|head| head.contains(&part)).then_some(())
        });
    };
    let steps = format!(
        r##"[{}, {{"goto": "http://{address}/tasks/{task}"}},
        {{"wait": "#steps li.bad[data-step=certbot]", "limit": 30}}, {{"wait_text": "told meanwhile"}},
        {{"wait": ".why.t-dark", "limit": 30}}, {{"wait_gone": "body[data-running]"}}, {{"clean": true}}]"##,
        sign_in_at(&house, &address),
    );
    std::thread::scope(|scope| {
        scope.spawn(|| drive(&steps));
        asked("stream");
        // The step is told by no row but its line's, so it cannot come with a page that is loaded again.
        let step = r#"{"step":1,"steps":2,"name":"certbot","title":"certbot","state":"failed","ms":5}"#;
        for (seq, source, line) in [(900, "progress", step), (901, "task", "told meanwhile")] {
            let sql = "INSERT INTO task_logs VALUES (?1, ?2, 1, 'info', ?3, '', ?4)";
            let db = house.database("lamplighter.db");
            db.execute(sql, rusqlite::params![task, seq, source, line]).unwrap();
        }
        asked("logs");
        eventually("the lines were fetched", || {
            let from = format!("/api/tasks/{task}/logs?after=901");
            proxy.seen().iter().any(|head| head.contains(&from)).then_some(())
        });
        door.open();
    });
}

#[test]
#[ignore = "browser: needs Chromium"]
fn a_task_that_says_nothing_for_longer_than_the_limit_stays_on_its_stream() {
    let house = House::new();
    add_server(&house, "lamp-01", 9);
    house
        .browser_of_admin()
        .wait_for("/tasks/1", |page| !page.has("data-running"));
    // It runs and says nothing, for as long as anybody looks.
    let sql = "INSERT INTO tasks (kind, target_type, target_id, target_name, input, status, created_by, request_id, created_at)
        SELECT kind, target_type, target_id, target_name, input, 'running', created_by, request_id, created_at
        FROM tasks WHERE id = 1";
    let db = house.database("lamplighter.db");
    db.execute(sql, []).unwrap();
    let task = db.last_insert_rowid();
    // A stream is listed there when it was closed: by the page, which would begin it anew or ask in its place.
    let asked = "performance.getEntriesByType('resource').map(e => new URL(e.name).pathname)";
    drive(&format!(
        r##"[{}, {{"goto": "http://{}/tasks/{task}"}}, {{"wait": "body[data-running]"}}, {{"wait": ".live[data-live=live]"}},
        {{"wait_js": "performance.now() > 1500 * document.documentElement.dataset.heartbeat", "limit": 60}},
        {{"wait": ".live[data-live=live]"}}, {{"wait_js": "!{asked}.some(path => path.startsWith('/api/tasks/{task}/'))"}},
        {{"clean": true}}]"##,
        sign_in(&house),
        house.address
    ));
}

#[test]
#[ignore = "browser: needs Chromium"]
fn a_lamp_is_seen_to_be_lit_and_its_charts_fill_without_a_reload() {
    let house = House::new();
    add_server(&house, "lamp-01", fake_glances());
    drive(&format!(
        r##"[{}, {{"goto": "http://{}/servers/1"}}, {{"wait": ".why.t-lit", "limit": 40}}, {{"wait": ".live[data-live=live]"}},
        {{"wait_js": "/avg/.test(document.querySelector('#c-mem canvas').getAttribute('aria-label'))", "limit": 30}},
        {{"wait_js": "!performance.getEntriesByType('resource').some(e => new URL(e.name).pathname === '/api/servers/1')"}},
        {{"clean": true}}]"##,
        sign_in(&house),
        house.address
    ));
}

#[test]
#[ignore = "browser: needs Chromium"]
fn the_first_page_becomes_the_overview_when_the_first_lamp_is_lit() {
    let house = House::new();
    add_server(&house, "lamp-01", 9);
    let sign_in = sign_in(&house);
    let steps = format!(
        r##"[{sign_in}, {{"goto": "http://{}/"}}, {{"wait": "body[data-live=welcome]"}}, {{"wait": ".live[data-live=live]"}},
        {{"eval": "fetch('/api/servers/1', {{method: 'PATCH', headers: {{'Content-Type': 'application/json', 'X-CSRF-Token': document.documentElement.dataset.csrf}}, body: '{{\"glances_port\": {}}}'}}).then(r => r.status)"}},
        {{"wait": "body[data-live=home]", "limit": 60}}, {{"wait": ".live[data-live=live]"}}, {{"clean": true}}]"##,
        house.address,
        fake_glances()
    );
    drive(&steps);
}

#[test]
#[ignore = "browser: needs Chromium"]
fn the_keyboard_reaches_everything_and_single_letters_can_be_switched_off() {
    let house = House::new();
    add_server(&house, "lamp-01", 9);
    drive(&format!(
        // A page that a key leads to is there before its scripts are.
        r##"[{}, {{"wait_js": "document.readyState === 'complete'"}}, {{"press": "g s"}}, {{"wait": "table.fleet"}}, {{"wait_js": "document.readyState === 'complete'"}}, {{"press": "j"}}, {{"press": "Enter"}}, {{"wait": ".why"}},
        {{"wait_js": "document.querySelector('#palette') !== null"}}, {{"press": "Control+k"}}, {{"wait": "#palette[open]"}}, {{"type": "#palette input", "text": "alerts"}}, {{"press": "Enter"}},
        {{"wait_text": "No alert is open"}}, {{"wait_js": "document.querySelector('#keylist') !== null"}}, {{"press": "?"}}, {{"wait": "#keylist[open]"}}, {{"press": "Escape"}},
        {{"wait_gone": "#keylist[open]"}},
        {{"goto": "http://{addr}/prefs"}}, {{"eval": "document.querySelector('#keys').value = 'off'"}}, {{"click": "form.panel button"}},
        {{"wait": "html[data-keys=off]"}}, {{"wait_js": "document.querySelector('#keylist') !== null"}}, {{"press": "g h"}}, {{"pause": 0.5}}, {{"wait_js": "location.pathname === '/prefs'"}},
        {{"press": "Tab"}}, {{"wait_js": "document.activeElement.className === 'skip'"}}, {{"clean": true}}]"##,
        sign_in(&house),
        addr = house.address
    ));
}

#[test]
#[ignore = "browser: needs Chromium"]
fn the_bar_over_many_domains_comes_with_the_first_tick() {
    let house = House::new();
    add_server(&house, "lamp-01", 9);
    add_domains(&house);
    drive(&format!(
        r##"[{}, {{"goto": "http://{}/domains"}}, {{"wait_js": "document.querySelector('[data-bar]').hidden"}},
        {{"click": "input[value='2'][name=ids]"}}, {{"wait": "[data-bar]:not([hidden])"}}, {{"wait_js": "document.querySelector('[data-picked]').textContent === '1'"}},
        {{"click": "[data-all]"}}, {{"wait_js": "document.querySelector('[data-picked]').textContent === '2'"}},
        {{"click": "[data-all]"}}, {{"wait_js": "document.querySelector('[data-bar]').hidden"}},
        {{"press": "j"}}, {{"press": "x"}}, {{"wait_js": "document.querySelector('[data-picked]').textContent === '1'"}}, {{"clean": true}}]"##,
        sign_in(&house),
        house.address
    ));
}

#[test]
#[ignore = "browser: needs Chromium"]
fn over_https_with_its_own_certificate_a_person_signs_in_and_follows_what_happens() {
    let mut house = House::empty(Processes::One, &[("LAMPLIGHTER_TLS", "1")]);
    house.password = house.account(ADMIN, "admin");
    house.start();
    let told = drive(&format!(
        r##"[{{"insecure": true}}, {}, {{"wait_js": "location.protocol === 'https:' && isSecureContext"}},
        {{"eval": "new Promise(done => {{ const all = new EventSource('/api/events/stream'); all.addEventListener('ping', () => {{ all.close(); done('a ping'); }}); }})"}},
        {{"wait_js": "!document.cookie.includes('lamplighter')"}}, {{"goto": "http://{}/settings"}}, {{"wait": "#s-web"}}, {{"wait": "#s-rate"}}, {{"a11y": true}}, {{"clean": true}}]"##,
        sign_in(&house),
        house.address
    ));
    assert!(told.contains("a ping"), "{told}");
}

#[test]
#[ignore = "browser: needs Chromium"]
fn the_theme_is_switched_at_once_and_kept() {
    let house = House::new();
    drive(&format!(
        r##"[{}, {{"click": "[data-theme-form] button"}}, {{"wait": "html[data-theme=light]"}},
        {{"click": "[data-theme-form] button"}}, {{"wait": "html[data-theme=dark]"}}, {{"pause": 0.3}}, {{"reload": true}},
        {{"wait": "html[data-theme=dark]"}}, {{"clean": true}}]"##,
        sign_in(&house)
    ));
}

/// Chooses a file of these bytes (a JavaScript expression) in the form of a secret.
fn choose_file(bytes: &str) -> String {
    format!(
        r##"{{"eval": "(() => {{ const all = new DataTransfer(); all.items.add(new File([{bytes}], 'f')); const pick = document.querySelector('#file'); pick.files = all.files; pick.dispatchEvent(new Event('change')); }})()"}}"##
    )
}

/// The value goes with the form and never onto the page; what is no text, or too much of it, is not taken.
#[test]
#[ignore = "browser: needs Chromium"]
fn a_secret_comes_out_of_a_file_and_an_endpoint_has_it() {
    let house = House::new();
    let value = house.canary("out-of-a-file-4711");
    let at = format!("http://{}", house.address);
    let shown = |what: &str| format!(r#"{{"wait_js": "!document.querySelector('[data-bad={what}]').hidden"}}"#);
    let key = r"'-----BEGIN OPENSSH PRIVATE KEY-----\\nx'";
    drive(&format!(
        r##"[{}, {{"goto": "{at}/secrets"}}, {}, {}, {}, {}, {{"wait_js": "!document.querySelector('#value').disabled"}},
        {}, {{"wait_js": "document.querySelector('#type').value === 'private_key'"}},
        {{"eval": "document.querySelector('#type').value = 'token'"}}, {},
        {{"wait_js": "document.querySelector('#value').disabled && !document.querySelector('[data-bad]:not([hidden])')"}},
        {{"wait_js": "!document.body.innerHTML.includes('{value}')"}},
        {{"type": "#name", "text": "bot"}}, {{"type": "#scope", "text": "endpoints"}}, {{"click": "#new button.pri"}},
        {{"wait_text": "Values that are kept"}}, {{"wait_js": "!document.documentElement.outerHTML.includes('{value}')"}},
        {{"goto": "{at}/notifications/new?type=webhook"}}, {{"type": "#name", "text": "room"}},
        {{"type": "#url", "text": "https://192.0.2.1/in"}},
        {{"eval": "document.querySelector('[name=secret_secret_id]').value = '1'"}},
        {{"wait_js": "getComputedStyle(document.querySelector('#secret').parentNode).display === 'none'"}},
        {{"click": "form button.pri"}}, {{"wait_text": "Does it work?"}}, {{"clean": true}}]"##,
        sign_in(&house),
        choose_file("new Uint8Array(40000)"),
        shown("large"),
        choose_file("new Uint8Array([255, 254, 0])"),
        shown("bytes"),
        choose_file(key),
        choose_file(&format!(r"'{value}\\n'")),
    ));
    let admin = house.admin();
    let seen = admin.get("/api/notifications/1").is(200);
    assert_eq!(seen["secret_ids"], serde_json::json!({ "secret": 1 }));
    let why = serde_json::json!({ "reason": "a test", "password": house.password });
    assert_eq!(admin.post("/api/secrets/1/reveal", &why).is(200)["value"], *value);
}

/// Puts the code that an authenticator shows so many steps from now into a field; made here by the browser's own means.
fn type_code(field: &str, steps: i32) -> String {
    format!(
        r##"{{"eval": "(async () => {{ const base = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'; const bits = [...sessionStorage.secret].map(c => base.indexOf(c).toString(2).padStart(5, '0')).join(''); const key = new Uint8Array(bits.match(/.{{8}}/g).map(b => parseInt(b, 2))); const k = await crypto.subtle.importKey('raw', key, {{name: 'HMAC', hash: 'SHA-1'}}, false, ['sign']); const m = new DataView(new ArrayBuffer(8)); m.setUint32(4, Math.floor(Date.now() / 30000) + {steps}); const h = new Uint8Array(await crypto.subtle.sign('HMAC', k, m)); const o = h[19] & 15; const n = ((h[o] & 127) << 24 | h[o + 1] << 16 | h[o + 2] << 8 | h[o + 3]) % 1000000; document.querySelector('{field}').value = String(n).padStart(6, '0'); }})()"}}"##
    )
}

#[test]
#[ignore = "browser: needs Chromium"]
fn a_second_user_is_invited_has_two_steps_and_ends_a_sign_in_elsewhere() {
    let house = House::new();
    let (addr, password) = (house.address, "anna walks at noon");
    // Invited by a form, accepted by the link; an operator may not see the users.
    drive(&format!(
        r##"[{}, {{"goto": "http://{addr}/users"}}, {{"type": "#login", "text": "anna"}}, {{"eval": "document.querySelector('#role').value = 'operator'"}},
        {{"click": "form.panel button.pri"}}, {{"wait": "#link"}}, {{"a11y": true}}, {{"eval": "location = document.querySelector('#link').textContent"}},
        {{"wait_text": "Your login is anna"}}, {{"a11y": true}}, {{"type": "#password", "text": "{password}"}}, {{"click": "button.pri"}}, {{"wait": "nav#nav"}},
        {{"wait_js": "!document.querySelector('nav#nav a[href=\"/users\"]')"}}, {{"clean": true}}]"##,
        sign_in(&house)
    ));
    let elsewhere = house.client().by(Who::bearer(&house.sign_in("anna", password)));
    elsewhere.get("/api/auth/me").is(200);
    let first = format!(
        r##"{{"goto": "http://{addr}/login"}}, {{"type": "#login", "text": "anna"}}, {{"type": "#password", "text": "{password}"}}, {{"click": "button.pri"}}"##
    );
    drive(&format!(
        r##"[{first}, {{"wait": "nav#nav"}}, {{"goto": "http://{addr}/prefs"}}, {{"wait_text": "this one"}}, {{"a11y": true}},
        {{"click": "form[action='/prefs/sessions/end'] button"}}, {{"wait_text": "All other sign-ins have ended"}},
        {{"click": "form[action='/prefs/totp'] button"}}, {{"wait": "svg.qr"}}, {{"a11y": true}},
        {{"eval": "sessionStorage.secret = document.querySelector('#secret').textContent.trim()"}}, {}, {{"click": "form.panel button.pri"}},
        {{"wait": "#codes li"}}, {{"wait_js": "document.querySelectorAll('#codes li').length === 10"}}, {{"a11y": true}},
        {{"goto": "http://{addr}/prefs"}}, {{"eval": "document.querySelector('form[action=\"/logout\"]').submit()"}}, {{"wait": "#login"}},
        {first}, {{"wait": "#totp"}}, {{"a11y": true}}, {}, {{"click": "button.pri"}}, {{"wait": "nav#nav"}}, {{"clean": true}}]"##,
        type_code("#code", 0),
        type_code("#totp", 1)
    ));
    elsewhere.get("/api/auth/me").fails(401, "unauthorized");
    // What is dangerous asks in a dialog, and goes on with what was asked.
    drive(&format!(
        r##"[{}, {{"goto": "http://{addr}/users"}}, {{"click": "a[href='/users/2']"}}, {{"wait": "form[data-confirm]"}}, {{"a11y": true}},
        {{"wait_js": "document.querySelector('#palette') !== null"}}, {{"click": "form[action='/users/2/totp/reset'] button"}}, {{"wait": "#confirm[open]"}}, {{"a11y": true}},
        {{"type": "#confirm_password", "text": "not it"}}, {{"click": "#confirm button.pri"}}, {{"wait_text": "This is not your password"}},
        {{"eval": "document.querySelector('#confirm_password').value = ''"}}, {{"type": "#confirm_password", "text": "{}"}}, {{"click": "#confirm button.pri"}},
        {{"wait_text": "Two-step sign-in is off for it"}}, {{"click": "form[action='/users/2/disable'] button"}}, {{"wait_text": "all its sign-ins have ended"}}]"##,
        sign_in(&house),
        house.password
    ));
    house.sign_in("anna", password).fails(401, "wrong_login");
}
