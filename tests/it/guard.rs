//! Every route with every kind of credentials: access is exactly as the route table says.

use crate::common;

use common::*;
use lamplighter::access::{Right, Role};
use lamplighter::daemon::FEATURES;
use lamplighter::http::request::Method;
use lamplighter::http::route::Route;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;

const VERBS: [Method; 5] = [Method::Get, Method::Post, Method::Put, Method::Patch, Method::Delete];

fn routes() -> Vec<&'static Route> {
    FEATURES.iter().flat_map(|f| f.routes.iter().chain(f.pages)).collect()
}

/// Every address with its verbs.
fn addresses() -> BTreeMap<&'static str, Vec<Method>> {
    let mut known: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for route in routes() {
        known.entry(route.path).or_default().push(route.method);
    }
    known
}

/// The address with a number that nothing has, so that whoever gets in changes nothing; nor does it stream without an end.
fn nowhere(path: &str) -> String {
    let parts = path.split('/').map(|p| if p.starts_with('{') { "999999" } else { p });
    let wrong = match path {
        "/api/events/stream" => "?after=never",
        "/api/log-search/stream" => "?level=never",
        _ => "",
    };
    parts.collect::<Vec<_>>().join("/") + wrong
}

/// All kinds of callers: role, if signed in, and credentials.
fn everybody(house: &House) -> Vec<(&'static str, Option<Role>, Client)> {
    let mut all = vec![("a stranger", None, house.client())];
    for role in ["viewer", "operator", "admin"] {
        let password = house.account(role, role);
        let answer = house.sign_in(role, &password);
        all.push((role, Role::parse(role), house.client().by(Who::bearer(&answer))));
        let browser = house.client().by(Who::cookie(&answer, house.address));
        all.push((role, Role::parse(role), browser));
    }
    // Programs get their tokens elsewhere; this one was a viewer a moment ago.
    let password = house.account("robot", "viewer");
    let robot = house.client().by(Who::bearer(&house.sign_in("robot", &password)));
    house
        .database("lamplighter.db")
        .execute("UPDATE users SET role = 'automation' WHERE login = 'robot'", [])
        .unwrap();
    all.push(("automation", Some(Role::Automation), robot));
    all
}

/// Addresses that end the session of who asks, or have an answer of their own for who is signed in already.
fn signs_out(path: &str) -> bool {
    path.ends_with("/logout")
}

#[test]
fn every_address_lets_in_whom_the_table_names_and_nobody_else() {
    let house = House::with(Processes::One, &[]);
    let people = everybody(&house);
    let mut asked = 0;
    for route in routes().iter().filter(|r| !signs_out(r.path)) {
        let path = nowhere(route.path);
        for (name, role, client) in &people {
            let body = (route.method != Method::Get).then_some(("application/json", &b"{}"[..]));
            let answer = client.send(route.method.name(), &path, body);
            let place = format!("{} {path} by {name}: {}", route.method.name(), answer.status);
            let is_page = !path.starts_with("/api/") && !matches!(client.who(), Who::Bearer(_));
            match role {
                None if route.right != Right::Public => {
                    // A page leads to the sign-in; a form that nobody is signed in for does not.
                    let expected = if is_page && route.method == Method::Get {
                        303
                    } else {
                        401
                    };
                    assert_eq!(answer.status, expected, "{place}");
                    if path.starts_with("/api/") {
                        assert_eq!(answer.json()["detail"], "Unauthorized", "{place}");
                    }
                    if expected == 303 {
                        let to = answer.header("location").unwrap();
                        assert!(to.starts_with("/login?next=%2F") || to == "/login", "{place} → {to}");
                    }
                }
                Some(role) if !role.may(route.right) => assert_eq!(answer.status, 403, "{place}"),
                Some(_) if route.is_dangerous => assert_eq!(answer.status, 403, "{place}"),
                _ => {
                    assert!(
                        ![401, 403, 405].contains(&answer.status) || is_door(&path),
                        "{place} {}",
                        answer.text()
                    );
                    assert!(answer.status < 500, "{place}: {}", answer.text());
                }
            }
            asked += 1;
        }
    }
    assert!(asked > 300, "{asked}: the table was not found");
}

/// Sign-in and registration say no for reasons of their own.
fn is_door(path: &str) -> bool {
    path.starts_with("/api/auth/") || ["/login", "/setup", "/invite"].contains(&path)
}

#[test]
fn what_proves_nothing_opens_nothing() {
    let house = House::with(Processes::ApiOnly, &[]);
    let answer = house.sign_in(ADMIN, &house.password);
    let (cookie_name, cookie) = answer.cookie();
    let word = |name: &str| answer.json()[name].as_str().unwrap().to_string();
    let (access, refresh) = (word("access_token"), word("refresh_token"));
    // Of a session that has ended.
    let ended = house.sign_in(ADMIN, &house.password);
    let old = Who::cookie(&ended, house.address);
    let signed_out = house.client().by(old.clone()).post("/api/auth/logout", &json!({}));
    assert!(signed_out.status < 300, "{}", signed_out.text());
    let unsigned = format!("{}.", access.rsplit_once('.').unwrap().0);
    let nobody = [
        Who::Bearer("nonsense".into()),
        Who::Bearer(refresh.clone()),
        Who::Bearer(cookie.clone()),
        Who::Bearer(unsigned),
        Who::bearer(&ended),
        old,
        Who::Cookie(format!("{cookie_name}={access}"), "x".into()),
        Who::Cookie(format!("{cookie_name}={refresh}"), "x".into()),
        Who::Cookie(format!("__Host-lamplighter={cookie}"), "x".into()),
        Who::Cookie(format!("{cookie_name}x={cookie}"), "x".into()),
    ];
    let mut asked = 0;
    for route in routes().iter().filter(|r| r.right != Right::Public) {
        let path = nowhere(route.path);
        for who in &nobody {
            let body = (route.method != Method::Get).then_some(("application/json", &b"{}"[..]));
            let answer = house.client().by(who.clone()).send(route.method.name(), &path, body);
            let is_page = !path.starts_with("/api/") && route.method == Method::Get && matches!(who, Who::Cookie(..));
            let expected = if is_page { 303 } else { 401 };
            assert_eq!(
                answer.status,
                expected,
                "{} {path}: {}",
                route.method.name(),
                answer.text()
            );
            if path.starts_with("/api/") {
                assert_eq!(answer.json()["detail"], "Unauthorized", "{path}");
            }
            asked += 1;
        }
    }
    assert!(asked > 1_000, "{asked}");
    // The same two, each in its own place, are good.
    assert_eq!(house.client().by(Who::Bearer(access)).get("/api/servers").status, 200);
    let browser = Who::Cookie(format!("{cookie_name}={cookie}"), String::new());
    assert_eq!(house.client().by(browser).get("/servers").status, 200);
}

#[test]
fn a_verb_that_the_table_does_not_name_is_refused_by_everybody_alike() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let stranger = house.client();
    let known = addresses();
    for (path, methods) in &known {
        for verb in VERBS.iter().filter(|v| !methods.contains(v)) {
            // Another row may fit the same address: /servers/new is also /servers/{id}.
            if known
                .iter()
                .any(|(other, has)| other != path && fits(other, path) && has.contains(verb))
            {
                continue;
            }
            for client in [&admin, &stranger] {
                let body = (*verb != Method::Get).then_some(("application/json", &b"{}"[..]));
                let answer = client.send(verb.name(), &nowhere(path), body);
                assert_eq!(answer.status, 405, "{} {path}: {}", verb.name(), answer.text());
            }
        }
    }
    for path in [
        "/nothing",
        "/api/nothing",
        "/api",
        "/api/servers/1/nothing",
        "/API/servers",
        "/servers/",
        "/api/servers/",
    ] {
        assert_eq!(admin.get(path).status, 404, "{path}");
    }
    for path in [
        "/api/servers/0",
        "/api/servers/-1",
        "/api/servers/1e3",
        "/api/servers/99999999999999999999",
        "/api/servers/%31x",
    ] {
        admin.get(path).fails(404, "not_found");
    }
    for path in [
        "/api/servers/%2e%2e/users",
        "/api/../login",
        "/api//servers",
        "/api/servers/%00",
    ] {
        assert!([400, 404].contains(&admin.get(path).status), "{path}");
    }
}

fn fits(pattern: &str, path: &str) -> bool {
    let (a, b): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
    a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| a == b || a.starts_with('{'))
}

#[test]
fn a_bare_path_of_the_api_leads_to_its_one_address() {
    let house = House::with(Processes::ApiOnly, &[]);
    let token = house.sign_in(ADMIN, &house.password);
    let curl = house.client().by(Who::bearer(&token)).with("Accept", "*/*");
    let own: Vec<_> = FEATURES.iter().flat_map(|f| f.routes).collect();
    let pages: Vec<_> = FEATURES.iter().flat_map(|f| f.pages).collect();
    for row in own.iter().filter(|row| row.path.starts_with("/api/")) {
        let (whole, bare) = (nowhere(row.path), nowhere(row.path)["/api".len()..].to_string());
        let path = bare.split('?').next().unwrap();
        // What a program may mean as it stands: `/health`.
        if own
            .iter()
            .any(|other| other.method == row.method && fits(other.path, path))
        {
            continue;
        }
        let lives = pages.iter().any(|page| fits(page.path, path));
        let answer = curl.send(row.method.name(), &bare, None);
        let told = (answer.status, answer.header("location"));
        assert_eq!(told, (if lives { 307 } else { 308 }, Some(&*whole)), "{bare}");
    }
    // As pasted: method and body go along, nobody has to be known for it.
    let anybody = house.client().with("Accept", "*/*");
    let sent = json!({ "login": ADMIN, "password": house.password });
    let moved = anybody.post("/auth/login", &sent);
    assert_eq!((moved.status, moved.header("location")), (308, Some("/api/auth/login")));
    // A person sees pages, also one that is not there.
    let person = house.client().by(Who::cookie(&token, house.address));
    assert_eq!(person.get("/servers").status, 200);
    assert_eq!(person.get("/tasks/7/stream").status, 404);
    let program = house.client().with("Accept", "application/json");
    assert_eq!(
        program.get("/servers?q=a%26b").header("location"),
        Some("/api/servers?q=a%26b")
    );
}

#[test]
fn a_browser_that_another_site_drives_changes_nothing() {
    let house = House::with(Processes::ApiOnly, &[]);
    let answer = house.sign_in(ADMIN, &house.password);
    let who = Who::cookie(&answer, house.address);
    let Who::Cookie(cookie, csrf) = who.clone() else {
        unreachable!()
    };
    let no_token = Who::Cookie(cookie.clone(), String::new());
    let own = format!("http://{}", house.address);
    for route in routes().iter().filter(|r| r.method != Method::Get) {
        let path = nowhere(route.path);
        let send = |client: Client| client.send(route.method.name(), &path, Some(("application/json", b"{}")));
        for (name, value) in [
            ("Sec-Fetch-Site", "cross-site"),
            ("Sec-Fetch-Site", "same-site"),
            ("Origin", "https://evil.example"),
            ("Origin", "null"),
            ("Origin", "http://127.0.0.1.evil.example"),
        ] {
            // The CSRF token may have leaked: `Origin` and `Sec-Fetch-Site` are checked, too.
            let answer = send(house.client().by(who.clone()).with(name, value));
            assert_eq!(answer.status, 403, "{} {path} {name}: {value}", route.method.name());
        }
        for wrong in [no_token.clone(), Who::Cookie(cookie.clone(), "x".repeat(43))] {
            let answer = send(house.client().by(wrong).with("Origin", &own));
            assert_eq!(answer.status, 403, "{} {path} without its token", route.method.name());
        }
        let form = format!("csrf={}", "x".repeat(43));
        let answer = house.client().by(no_token.clone()).send(
            route.method.name(),
            &path,
            Some(("application/x-www-form-urlencoded", form.as_bytes())),
        );
        assert_eq!(answer.status, 403, "{} {path} with a wrong token", route.method.name());
    }
    // The same with everything right, once: the refusals above were not for another reason.
    let right = house
        .client()
        .by(who)
        .with("Origin", &own)
        .with("Sec-Fetch-Site", "same-origin");
    right.post("/api/servers", &server("web", 22)).is(201);
    let form = format!("csrf={csrf}&theme=dark");
    let right = house.client().by(no_token).form("/prefs", &form);
    assert_eq!(right.status, 303, "{}", right.text());
    // A page of another site may not even sign somebody in.
    let body = json!({ "login": ADMIN, "password": house.password });
    house
        .client()
        .with("Sec-Fetch-Site", "cross-site")
        .post("/api/auth/login", &body)
        .fails(403, "cross_site");
    // The token of one session is of no use in another.
    let other = house.sign_in(ADMIN, &house.password).cookie();
    let mixed = Who::Cookie(format!("{}={}", other.0, other.1), csrf);
    house
        .client()
        .by(mixed)
        .post("/api/servers", &server("mail", 22))
        .fails(403, "csrf");
}

#[test]
fn looking_changes_nothing() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let id = admin.post("/api/servers", &server("web", 22)).is(201)["id"].to_string();
    let task = house
        .newest_task(id.parse().unwrap(), "server.look_host_key")
        .to_string();
    let browser = house
        .client()
        .by(Who::cookie(&house.sign_in(ADMIN, &house.password), house.address));
    let before = contents(&house);
    assert!(before.len() > 15, "the tables were not found");
    let mut seen = 0;
    for route in routes()
        .iter()
        .filter(|r| r.method == Method::Get && !r.path.ends_with("/stream"))
    {
        for number in [&*id, &*task, "999999"] {
            let path = route.path.replace("{id}", number).replace("{version}/{name}", "x/y");
            for client in [&admin, &browser, &house.client()] {
                for method in ["GET", "HEAD"] {
                    let answer = client.send(method, &path, None);
                    assert!(
                        answer.status < 500 || path == "/health/scheduler",
                        "{method} {path}: {}",
                        answer.text()
                    );
                    assert!(method == "GET" || answer.body.is_empty());
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 200, "{seen}");
    for (table, rows) in contents(&house) {
        assert_eq!(rows, before[&table], "{table}");
    }
}

/// Every row of both files as text. (That a session was used is remembered, but only every five minutes.)
fn contents(house: &House) -> BTreeMap<String, Vec<String>> {
    let mut out = BTreeMap::new();
    for file in ["lamplighter.db", "metrics.db"] {
        let db = house.database(file);
        let mut names = db
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")
            .unwrap();
        let names: Vec<String> = names.query_map([], |r| r.get(0)).unwrap().map(Result::unwrap).collect();
        for name in names {
            let mut rows = db.prepare(&format!("SELECT * FROM \"{name}\"")).unwrap();
            let columns = rows.column_count();
            let rows = rows
                .query_map([], |r| {
                    let row: Vec<_> = (0..columns).map(|n| format!("{:?}", r.get_ref(n).unwrap())).collect();
                    Ok(row.join(" | "))
                })
                .unwrap();
            let rows: Vec<String> = rows.map(Result::unwrap).collect();
            out.insert(format!("{file} {name}"), rows);
        }
    }
    out
}

#[test]
fn a_method_that_no_route_has_is_said_as_such() {
    let house = House::new();
    let told = house.admin().send("OPTIONS", "/api/servers", None);
    let told = told.fails(405, "method_not_allowed");
    assert!(told["detail"].as_str().unwrap().contains("GET, POST"), "{told}");
}

/// A thing to send back for each resource that can be got and changed.
fn specimen(house: &House, path: &str) -> String {
    let make = |list: &str, body: serde_json::Value| {
        let made = house.admin().post(list, &body).is(201);
        format!("{list}/{}", made["id"])
    };
    let pem = |name: &str| String::from_utf8(fs::read(format!("tests/data/certs/{name}.pem")).unwrap()).unwrap();
    let list = path.strip_suffix("/{id}").unwrap_or(path);
    match list {
        "/api/settings" | "/api/auth/me" | "/api/admin/settings" => list.into(),
        "/api/projects" => make(list, json!({ "name": "Shops", "notes": "all of them" })),
        "/api/projects/{id}/things" => make("/api/projects", json!({ "name": "Banks" })) + "/things",
        "/api/plugins" => make(
            list,
            json!({ "name": "old list", "definition": "json-url", "config": { "url": "https://inventory.example/list.json" } }),
        ),
        "/api/containers/{server_id}/{name}" => {
            let sql = "INSERT INTO containers (name, life, image, project, state, since, created_at, seen_at)
                 VALUES ('web', '', 'shop:1', 'shop', 'exited', 1, 1, 1)";
            house.database("lamplighter.db").execute(sql, []).unwrap();
            "/api/containers/local/web".into()
        }
        "/api/services/{name}" => {
            let body = json!({ "name": "shop", "kind": "http", "url": "https://shop.example.com/", "enabled": false });
            house.admin().post("/api/services", &body).is(201);
            "/api/services/shop".into()
        }
        "/api/schedules" => {
            let id = house.admin().post("/api/servers", &server("nightly", 9)).is(201)["id"].clone();
            make(
                list,
                json!({ "name": "checks", "kind": "server.check_ssh", "target_id": id, "cron": "30 2 * * *" }),
            )
        }
        "/api/users" => make(
            list,
            json!({ "login": "anna", "role": "operator", "email": "anna@example.org" }),
        ),
        "/api/servers" => make(list, server("web-1", 9)),
        "/api/secrets" => make(
            list,
            json!({ "name": "replica", "type": "token", "generate": "words", "tags": ["db"], "notes": "of the database",
                "expires_at": "2999-01-02T03:04", "rotation_interval_s": 86_400 }),
        ),
        "/api/hosts" => make(list, server("host-1", 9)),
        "/api/groups" => make(list, json!({ "name": "shops", "notes": "all" })),
        "/api/upstreams" => make(
            list,
            json!({ "name": "shop", "targets": ["10.0.0.1:80", { "host": "b.example", "port": 81, "weight": 2 }] }),
        ),
        "/api/certificates" => make(list, json!({ "name": "own", "chain": pem("ec"), "key": pem("ec.key") })),
        "/api/domains" => make(list, json!({ "domain": "пример.рф" })),
        "/api/alert-rules" => make(
            list,
            json!({ "name": "databases", "watches": "disk", "threshold": 80, "for_s": 600, "tags": ["db"] }),
        ),
        "/api/notifications" => make(
            list,
            json!({
                "type": "email", "name": "office", "host": "почта.рф", "username": "alerts", "password": "some password",
                "from": "lamp@example.org", "to": ["ops@почта.рф", "anna@example.org"], "events": ["deploy.ok"], "tags": ["db"],
            }),
        ),
        other => panic!("{other} can be got and changed: give it a specimen here"),
    }
}

/// Whoever gets a thing, changes one field, and sends it back, changes that field alone.
#[test]
fn what_get_gives_put_and_patch_take_and_change_nothing() {
    let house = House::new();
    let admin = house.admin();
    let evidence = json!({ "password": house.password });
    admin.post("/api/me/confirm", &evidence).is(204);
    let mut seen = 0;
    for (path, verbs) in addresses() {
        let changing = verbs.iter().filter(|v| matches!(v, Method::Put | Method::Patch));
        let changing: Vec<_> = changing.filter(|_| verbs.contains(&Method::Get)).collect();
        if changing.is_empty() || !path.starts_with("/api/") {
            continue;
        }
        let at = specimen(&house, path);
        for verb in changing {
            let plain = |mut it: serde_json::Value| {
                let fields = it.as_object_mut().unwrap();
                fields.retain(|name, _| name != "updated_at" && name != "revision");
                it
            };
            let got = admin.get(&at).is(200);
            let body = got.to_string();
            let answer = admin.send(verb.name(), &at, Some(("application/json", body.as_bytes())));
            assert_eq!(answer.status, 200, "{} {at}: {}", verb.name(), answer.text());
            assert_eq!(plain(admin.get(&at).is(200)), plain(got), "{} {at}", verb.name());
            seen += 1;
        }
    }
    assert!(seen > 10, "{seen}: the table was not found");
    let set: i64 = (house.database("lamplighter.db"))
        .query_row("SELECT count(*) FROM settings WHERE changed_by <> 'test'", [], |r| {
            r.get(0)
        })
        .unwrap();
    assert_eq!(set, 0, "a default that was sent back is one still");
}

#[test]
fn a_foreign_name_that_means_this_address_opens_no_page() {
    let house = House::new();
    let status = |host: &str| {
        let answer = door(
            house.address,
            &format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"),
        );
        (answer[9..12].to_string(), answer)
    };
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    for ours in [
        "127.0.0.1:8080",
        "localhost",
        "192.0.2.7",
        "[2001:db8::1]:443",
        machine.trim(),
    ] {
        assert_eq!(status(ours).0, "200", "{ours}");
    }
    for other in ["rebound.example", "localhost.evil.example", "lamp.example.org"] {
        let (code, answer) = status(other);
        assert!(
            code == "421" && answer.contains("LAMPLIGHTER_ALLOWED_HOSTS"),
            "{answer}"
        );
    }
    let url = json!({ "site.public_url": "https://lamp.example.org:8443/" });
    house.admin().put("/api/settings", &url).is(200);
    assert_eq!(status("lamp.example.org:8443").0, "200");
    assert_eq!(status("rebound.example").0, "421");
}

#[test]
fn a_flood_of_bad_requests_is_told_in_a_few_short_lines() {
    let mut house = House::new();
    let path = "x".repeat(4_000);
    for n in 0..300 {
        assert_eq!(house.client().get(&format!("/{n}{path}")).status, 404);
    }
    house.stop();
    let lines: Vec<_> = house
        .said()
        .lines()
        .filter(|l| l.contains("status=404"))
        .map(String::from)
        .collect();
    assert!((1..60).contains(&lines.len()), "{} lines", lines.len());
    assert!(lines.iter().all(|line| line.len() < 500), "{lines:?}");
}

fn door(at: std::net::SocketAddr, request: &str) -> String {
    use std::io::{Read, Write};
    let mut socket = std::net::TcpStream::connect(at).unwrap();
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}
