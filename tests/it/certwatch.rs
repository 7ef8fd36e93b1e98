//! The watch over served certificates, from outside: servers on port 443 of loopback addresses show certificates of chosen
//! ages, and the daemon's evaluation is read.

use crate::{ca, common};

use ca::{Authority, Issued, Shop};
use common::*;
use lamplighter::base::clock::{self, DAY, HOUR, MINUTE, Ms};
use rusqlite::params;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

/// Port 443 needs root or CAP_NET_BIND_SERVICE; `tests/run` runs as root.
fn may_serve() -> bool {
    let free = std::net::TcpListener::bind("127.0.0.1:443").map(drop);
    match free {
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
            eprintln!("NOT RUN: port 443 may be opened by root only");
            false
        }
        _ => true,
    }
}

/// A daemon with domains that are deployed according to its rows.
struct Street {
    house: House,
    admin: Client,
}

impl Street {
    fn new(rooms: Processes) -> Street {
        let house = House::with(rooms, &[]);
        let admin = house.admin();
        // Whether a site answers is asked by another watch, which would be counted here.
        admin
            .put("/api/settings", &json!({ "sitewatch.interval_s": 0 }))
            .is(200);
        Street { house, admin }
    }

    /// The ACME directory is that of a private CA.
    fn private_acme(&self) {
        let set = json!({ "acme.directory": "https://acme.lab.test:14000/dir" });
        self.admin.put("/api/settings", &set).is(200);
    }

    fn server(&self, name: &str, address: &str) -> i64 {
        let mut server = server(name, 9);
        server["host"] = json!(address);
        self.admin.post("/api/servers", &server).is(201)["id"].as_i64().unwrap()
    }

    /// A domain with TLS that is live on these servers.
    fn domain(&self, name: &str, servers: &[i64]) -> i64 {
        let db = self.house.database("lamplighter.db");
        db.execute(
            "INSERT INTO domains (domain, ssl, created_at, updated_at) VALUES (?1, 1, 1, 1)",
            [name],
        )
        .unwrap();
        let id = db.last_insert_rowid();
        for (n, server) in servers.iter().enumerate() {
            db.execute(
                "INSERT INTO domain_sites (domain_id, server_id, position, state, name, generation, text)
                 VALUES (?1, ?2, ?3, 'live', ?4, 1, 'listen 443 ssl; ssl_certificate /x;')",
                params![id, server, n as i64, name],
            )
            .unwrap();
        }
        id
    }

    #[track_caller]
    fn look(&self, domain: i64) -> Value {
        let at = format!("/api/domains/{domain}/certificate/check");
        self.admin.post(&at, &json!({})).is(200)
    }

    /// The domain's page.
    fn page(&self, domain: i64) -> String {
        let signed_in = self.house.sign_in(ADMIN, &self.house.password);
        let browser = self.house.client().by(Who::cookie(&signed_in, self.house.address));
        let page = browser.get(&format!("/domains/{domain}"));
        assert_eq!(page.status, 200, "{}", page.text());
        page.text()
    }

    /// Kind and level of the alerts in this state about a domain.
    fn alerts(&self, domain: i64, state: &str) -> Vec<(String, String)> {
        let list = self.admin.get(&format!("/api/alerts?state={state}&limit=500")).is(200);
        let items = list["items"].as_array().unwrap().clone();
        let text = |v: &Value| v.as_str().unwrap().to_string();
        items
            .iter()
            .filter(|a| a["target"]["type"] == "domain" && a["target"]["id"] == domain)
            .map(|a| (text(&a["kind"]), text(&a["level"])))
            .collect()
    }

    /// Waits until exactly this alert is open.
    #[track_caller]
    fn open_alert(&self, domain: i64, kind: &str, level: &str) {
        let wanted = match kind {
            "" => vec![],
            kind => vec![(kind.to_string(), level.to_string())],
        };
        // A renewal that the watch starts fails here, for nobody listens on the ssh port, and is told as such: that alert
        // has a story of its own (tests/it/notifications.rs).
        let of_watch = |alerts: Vec<(String, String)>| -> Vec<_> {
            let others = alerts.into_iter().filter(|(kind, _)| kind != "certificate.failed");
            others.collect()
        };
        eventually(&format!("{wanted:?} is open"), || {
            (of_watch(self.alerts(domain, "open")) == wanted).then_some(())
        });
    }
}

/// An hour's certificate of which so many minutes are left.
fn aged(ca: &Authority, name: &str, left: Ms) -> Issued {
    let now = clock::now();
    ca.issue_chain(&[name], now + left - HOUR, now + left)
}

#[test]
fn a_certificate_of_an_hour_ages_ends_and_is_renewed() {
    if !may_serve() {
        return;
    }
    let street = Street::new(Processes::One);
    street.private_acme();
    let ca = Authority::root("Pebble Root").below("Pebble R1");
    let shop = Shop::open("127.0.1.1:443");
    let server = street.server("edge-1", "127.0.1.1");
    let name = "xn--80atjc.example";
    let domain = street.domain(name, &[server]);
    let shows = |left: Ms| {
        shop.show(name, &aged(&ca, name, left));
        let told = street.look(domain);
        let row: (String, Ms, Ms) = street
            .house
            .database("lamplighter.db")
            .query_row(
                "SELECT cert_state, cert_not_after, cert_since FROM domains WHERE id = ?1",
                [domain],
                |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)),
            )
            .unwrap();
        assert_eq!(told["state"], row.0.as_str());
        assert_eq!(told["not_after"], clock::rfc3339(row.1));
        // When its last third, its last tenth or nothing more began, whenever that was seen.
        let left_then = [("soon", 20 * MINUTE), ("urgent", 6 * MINUTE), ("bad", 0)];
        if let Some((_, left)) = left_then.iter().find(|(state, _)| *state == row.0) {
            assert_eq!(row.2, row.1 - left, "{}", row.0);
            let shown = street.admin.get(&format!("/api/domains/{domain}")).is(200);
            assert_eq!(shown["state_since"], clock::rfc3339(row.2));
        }
        row.0
    };
    assert_eq!(shows(55 * MINUTE), "ok");
    street.open_alert(domain, "", "");
    assert_eq!(shows(19 * MINUTE), "soon");
    street.open_alert(domain, "certificate.soon", "WARNING");
    assert_eq!(shows(18 * MINUTE), "soon");
    assert_eq!(shows(5 * MINUTE), "urgent");
    street.open_alert(domain, "certificate.urgent", "ERROR");
    assert_eq!(shows(-MINUTE), "bad");
    street.open_alert(domain, "certificate.bad", "CRITICAL");
    let told = street.admin.get(&format!("/api/domains/{domain}/certificate")).is(200);
    let served = &told["served"][0];
    assert_eq!(
        (&served["code"], &served["ok"]),
        (&json!("expired"), &json!(false)),
        "{told}"
    );
    assert!(served["say"].as_str().unwrap().contains("ended on"), "{told}");
    assert_eq!(shows(HOUR), "ok");
    street.open_alert(domain, "", "");
    let closed = street.alerts(domain, "resolved");
    assert_eq!(closed.len(), 3, "each state was told once: {closed:?}");
    let told = street.admin.get(&format!("/api/domains/{domain}/certificate")).is(200);
    let served = &told["served"][0];
    assert_eq!((&served["private_ca"], &served["ok"]), (&json!(true), &json!(true)));
    assert_eq!(
        (&served["issuer"], &served["names"]),
        (&json!("Pebble R1"), &json!([name]))
    );
    assert_eq!(served["key_type"], "ECDSA P-256");
    let events: Vec<String> = street
        .house
        .database("lamplighter.db")
        .prepare("SELECT kind FROM events WHERE kind LIKE 'certificate.%' ORDER BY id")
        .unwrap()
        .query_map([], |r| r.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(
        events,
        [
            "certificate.soon",
            "certificate.urgent",
            "certificate.bad",
            "certificate.good"
        ]
    );
    let alert = street.admin.get("/api/alerts?state=resolved").text();
    assert!(alert.contains("Browsers refuse окна.example"), "{alert}");
    assert_eq!(shop.said.load(Ordering::SeqCst), 0, "nothing was sent to it");
}

#[test]
fn what_comes_near_its_last_third_is_renewed_by_the_house_but_not_tried_at_every_beat() {
    if !may_serve() {
        return;
    }
    let mut street = Street::new(Processes::One);
    street.private_acme();
    let ca = Authority::root("Pebble Root").below("Pebble R1");
    let shop = Shop::open("127.0.1.21:443");
    let server = street.server("edge-21", "127.0.1.21");
    let name = "short.example";
    let domain = street.domain(name, &[server]);
    // Each start begins with a run of the watch.
    let beat = |street: &mut Street, left: Option<Ms>| {
        if let Some(left) = left {
            shop.show(name, &aged(&ca, name, left));
            street.look(domain);
        }
        street.house.stop();
        let began = clock::now();
        street.house.start();
        let admin = street.house.admin();
        eventually("the watch has looked", || {
            let last = "SELECT last_at FROM periodic WHERE name = 'certwatch.look'";
            let db = street.house.database("lamplighter.db");
            let at: Ms = db.query_row(last, [], |r| r.get(0)).unwrap();
            (at > began).then_some(())
        });
        let tasks = admin.get("/api/tasks?kind=domain.renew").is(200)["items"].clone();
        let tasks = tasks.as_array().unwrap().clone();
        for task in &tasks {
            assert_eq!(
                (&task["created_by"], &task["target"]["id"]),
                (&json!("system"), &json!(domain))
            );
            street.house.wait_for(task["id"].as_i64().unwrap());
        }
        tasks.len()
    };
    assert_eq!(beat(&mut street, Some(26 * MINUTE)), 0, "it has time");
    assert_eq!(beat(&mut street, Some(24 * MINUTE)), 1, "before anybody is alarmed");
    assert_eq!(beat(&mut street, None), 1, "it was tried just now");
    let earlier = "UPDATE tasks SET created_at = created_at - 300000 WHERE kind = 'domain.renew'";
    street.house.database("lamplighter.db").execute(earlier, []).unwrap();
    assert_eq!(beat(&mut street, None), 2, "a twelfth of its life later");
}

#[test]
fn what_is_wrong_is_told_apart_and_alarms_when_it_is_seen_twice() {
    if !may_serve() {
        return;
    }
    let street = Street::new(Processes::One);
    let (root, now) = (Authority::root("Nobody's Root"), clock::now());
    let shop = Shop::open("127.0.1.2:443");
    let server = street.server("edge-1", "127.0.1.2");
    let good = root.issue(&["other.example"], now - DAY, now + 90 * DAY);
    let cases = [
        ("wrong-name.example", "wrong_name"),
        ("untrusted.example", "untrusted"),
        ("early.example", "not_yet_valid"),
        ("self.example", "self_signed"),
        ("no-tls.example", "no_tls"),
    ];
    shop.show("wrong-name.example", &good);
    shop.show(
        "untrusted.example",
        &root.issue(&["untrusted.example"], now - DAY, now + 90 * DAY),
    );
    shop.show(
        "early.example",
        &root.issue(&["early.example"], now + HOUR, now + 90 * DAY),
    );
    let own = Authority::root("self.example");
    shop.show("self.example", &own.issue(&["self.example"], now - DAY, now + 90 * DAY));
    let elsewhere = street.server("edge-2", "127.0.1.3"); // nobody is there
    let mut domains: Vec<_> = cases
        .iter()
        .map(|(name, code)| (street.domain(name, &[server]), *code))
        .collect();
    domains.push((street.domain("silent.example", &[elsewhere]), "unreachable"));
    for (domain, code) in &domains {
        let told = street.look(*domain);
        let served = &told["served"][0];
        assert_eq!(
            (&served["code"], &told["state"]),
            (&json!(code), &json!("unknown")),
            "{told}"
        );
        assert!(served["say"].as_str().unwrap().len() > 20, "{told}");
        let told = street.look(*domain);
        if ["no_tls", "unreachable"].contains(code) {
            assert_eq!(told["state"], "unknown", "no certificate was shown: {told}");
            street.open_alert(*domain, "", "");
            continue;
        }
        assert_eq!(told["state"], "bad", "{told}");
        street.open_alert(*domain, "certificate.bad", "ERROR");
        street.look(*domain);
    }
    let list = street.admin.get("/api/alerts?state=open").is(200);
    for alert in list["items"].as_array().unwrap() {
        assert_eq!(alert["count"], 1, "it is told when it begins: {alert}");
        assert!(alert["evidence"][0].as_str().unwrap().contains("edge-"), "{alert}");
    }
    // With an authority of this place's own, only a stranger's signature is no fault any more.
    street.private_acme();
    for ((domain, code), state) in domains.iter().zip(["bad", "ok", "bad", "bad", "unknown", "unknown"]) {
        assert_eq!(street.look(*domain)["state"], state, "{code}");
    }
    street.open_alert(domains[1].0, "", "");
}

#[test]
fn a_certificate_of_ones_own_is_held_against_its_own_chain() {
    if !may_serve() {
        return;
    }
    let street = Street::new(Processes::ApiOnly);
    let now = clock::now();
    let (mine, theirs) = (Authority::root("Our Root"), Authority::root("Their Root"));
    let shop = Shop::open("127.0.1.4:443");
    let server = street.server("edge-1", "127.0.1.4");
    let domain = street.domain("shop.example", &[server]);
    let first = mine.issue_chain(&["shop.example"], now - DAY, now + 90 * DAY);
    let body = json!({ "name": "ours", "chain": first.pem(), "key": first.key_pem() });
    let certificate = street.admin.post("/api/certificates", &body).is(201)["id"].clone();
    street
        .house
        .database("lamplighter.db")
        .execute(
            "UPDATE domains SET certificate_id = ?1",
            [certificate.as_i64().unwrap()],
        )
        .unwrap();
    shop.show("shop.example", &first);
    let told = street.look(domain);
    assert_eq!(
        (&told["state"], &told["served"][0]["private_ca"]),
        (&json!("ok"), &json!(true)),
        "{told}"
    );
    assert_eq!(told["served"][0]["is_stored"], true);
    // Renewed by hand, by the same authority.
    shop.show(
        "shop.example",
        &mine.issue(&["shop.example"], now - DAY, now + 99 * DAY),
    );
    let told = street.look(domain);
    assert_eq!(
        (&told["state"], &told["served"][0]["is_stored"]),
        (&json!("ok"), &json!(false)),
        "{told}"
    );
    assert!(street.page(domain).contains("It is not the one that is stored here"));
    // Somebody else's: that the place has its own ACME server is no excuse here.
    street.private_acme();
    shop.show(
        "shop.example",
        &theirs.issue(&["shop.example"], now - DAY, now + 99 * DAY),
    );
    street.look(domain);
    let told = street.look(domain);
    assert_eq!(
        (&told["state"], &told["served"][0]["code"]),
        (&json!("bad"), &json!("untrusted")),
        "{told}"
    );
}

#[test]
fn a_chain_ends_where_its_first_certificate_ends() {
    if !may_serve() {
        return;
    }
    let street = Street::new(Processes::One);
    street.private_acme();
    let shop = Shop::open("127.0.1.8:443");
    let server = street.server("edge-1", "127.0.1.8");
    let domain = street.domain("chain.example", &[server]);
    let (now, root) = (clock::now() / 1000 * 1000, Authority::root("Lab Root"));
    let show = |end: Ms| {
        let between = root.below_until("Lab R1", end);
        shop.show(
            "chain.example",
            &between.issue_chain(&["chain.example"], now - DAY, now + 60 * DAY),
        );
        street.look(domain)
    };
    let end = now + 3 * DAY;
    let told = show(end);
    assert_eq!(
        (&told["state"], &told["days_left"]),
        (&json!("urgent"), &json!(2)),
        "{told}"
    );
    assert_eq!(told["not_after"], clock::rfc3339(end));
    let served = &told["served"][0];
    assert_eq!(
        (&served["good_until"], &served["ends_by"]),
        (&json!(clock::rfc3339(end)), &json!("Lab R1"))
    );
    assert_eq!(
        served["not_after"],
        clock::rfc3339(now + 60 * DAY),
        "its own end stays its own"
    );
    assert!(
        served["say"].as_str().unwrap().contains("“Lab R1” in its chain ends"),
        "{told}"
    );
    street.open_alert(domain, "certificate.urgent", "ERROR");
    let alert = street.admin.get("/api/alerts?state=open").text();
    assert!(alert.contains("“Lab R1” in its chain, to "), "{alert}");
    let page = street.page(domain);
    assert!(page.contains("“Lab R1” in its chain ends first"), "{page}");
    // Expired: reported without a second check.
    let told = show(now - HOUR);
    let served = &told["served"][0];
    assert_eq!(
        (&told["state"], &served["code"]),
        (&json!("bad"), &json!("issuer_expired")),
        "{told}"
    );
    street.open_alert(domain, "certificate.bad", "CRITICAL");
    assert_eq!(show(now + 900 * DAY)["state"], "ok");
    street.open_alert(domain, "", "");
}

#[test]
fn the_worst_of_several_servers_decides_and_differences_are_told() {
    if !may_serve() {
        return;
    }
    let street = Street::new(Processes::ApiOnly);
    street.private_acme();
    let ca = Authority::root("Lab");
    let (one, two) = (Shop::open("127.0.1.5:443"), Shop::open("127.0.1.6:443"));
    let servers = [
        street.server("edge-1", "127.0.1.5"),
        street.server("edge-2", "127.0.1.6"),
    ];
    let domain = street.domain("both.example", &servers);
    let (fresh, old) = (
        aged(&ca, "both.example", 50 * MINUTE),
        aged(&ca, "both.example", 10 * MINUTE),
    );
    one.show("both.example", &fresh);
    two.show("both.example", &old);
    let told = street.look(domain);
    assert_eq!(
        (&told["state"], &told["same_everywhere"]),
        (&json!("soon"), &json!(false)),
        "{told}"
    );
    assert!(told["say"].as_str().unwrap().starts_with("edge-2: "), "{told}");
    let page = street.page(domain);
    for part in [
        "id=\"certificate\"",
        "class=\"cert\"",
        "The servers show different",
        "edge-2",
        "To be renewed",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    two.show("both.example", &fresh);
    let told = street.look(domain);
    assert_eq!(
        (&told["state"], &told["same_everywhere"]),
        (&json!("ok"), &json!(true)),
        "{told}"
    );
    // That no certificate is shown says nothing about the one that was: another watch tells of it.
    two.hide("both.example");
    assert_eq!(street.look(domain)["state"], "ok");
    let told = street.look(domain);
    assert_eq!(
        (&told["state"], &told["served"][1]["code"]),
        (&json!("ok"), &json!("no_tls")),
        "{told}"
    );
    assert_eq!(
        told["served"][1]["serial"], told["served"][0]["serial"],
        "the last one seen is kept"
    );
    // A server's public addresses are asked before the one it is managed by.
    let admin = &street.admin;
    let place = format!("/api/servers/{}", servers[1]);
    admin.patch(&place, &json!({ "public_ips": ["127.0.1.5"] })).is(200);
    let told = street.look(domain);
    assert_eq!(told["state"], "ok");
    assert!(
        told["served"][1]["say"].as_str().unwrap().starts_with("127.0.1.5 "),
        "{told}"
    );
    // The overview has what ends soon.
    let all = admin.get("/api/certificates/served").is(200);
    assert_eq!(
        (&all["total"], &all["items"][0]["domain"]["domain"]),
        (&json!(2), &json!("both.example"))
    );
    assert_eq!(admin.get("/api/certificates/served?days=1").is(200)["total"], 2);
    assert_eq!(admin.get("/api/certificates/served?days=0").is(200)["total"], 0);
    admin.get("/api/certificates/served?days=x").is(422);
}

#[test]
fn the_watch_looks_by_itself_and_forgets_what_is_not_served_any_more() {
    if !may_serve() {
        return;
    }
    let mut street = Street::new(Processes::One);
    street.private_acme();
    let ca = Authority::root("Lab");
    let shop = Shop::open("127.0.1.7:443");
    let server = street.server("edge-1", "127.0.1.7");
    let domain = street.domain("alone.example", &[server]);
    shop.show("alone.example", &aged(&ca, "alone.example", 4 * MINUTE));
    // Not served with TLS yet: the file that lies there says nothing of a certificate.
    let waits = street.domain("waits.example", &[server]);
    let db = street.house.database("lamplighter.db");
    db.execute(
        "UPDATE domain_sites SET text = 'listen 80;' WHERE domain_id = ?1",
        [waits],
    )
    .unwrap();
    street.house.restart_first(true); // the first beat comes at the start
    let state = |domain: i64| -> String {
        let row = db.query_row("SELECT cert_state FROM domains WHERE id = ?1", [domain], |r| r.get(0));
        row.unwrap()
    };
    eventually("the watch has looked", || (state(domain) == "urgent").then_some(()));
    street.open_alert(domain, "certificate.urgent", "ERROR");
    assert_eq!(state(waits), "unknown");
    street
        .admin
        .post(&format!("/api/domains/{waits}/certificate/check"), &json!({}))
        .fails(409, "not_served");

    // A deploy makes it look again.
    let rows = "SELECT looked_at FROM certwatch_served WHERE domain_id = ?1";
    let looked_at = || -> Ms { db.query_row(rows, [domain], |r| r.get(0)).unwrap() };
    assert!(looked_at() > 0);
    db.execute(
        "INSERT INTO events (at, kind, target_type, target_id, data) VALUES (1, 'deploy.ok', 'domain', ?1, '{}')",
        [domain],
    )
    .unwrap();
    let visits = shop.visits.load(Ordering::SeqCst);
    eventually("the next beat will look", || {
        (looked_at() == 0 || shop.visits.load(Ordering::SeqCst) > visits).then_some(())
    });

    db.execute("UPDATE domains SET ssl = 0 WHERE id = ?1", [domain])
        .unwrap();
    street.house.restart_first(true);
    eventually("nothing is known of it", || (state(domain) == "unknown").then_some(()));
    street.open_alert(domain, "", "");
    assert!(!street.page(domain).contains("id=\"certificate\""), "no TLS, no card");
    let rows: i64 = db
        .query_row("SELECT count(*) FROM certwatch_served", [], |r| r.get(0))
        .unwrap();
    assert_eq!(rows, 0);
}

#[test]
fn viewers_read_and_only_operators_have_it_looked_at() {
    let street = Street::new(Processes::ApiOnly);
    let domain = street.domain("roles.example", &[]);
    let (place, check) = (
        format!("/api/domains/{domain}/certificate"),
        format!("/api/domains/{domain}/certificate/check"),
    );
    let viewer = street.house.somebody("viewer");
    assert_eq!(viewer.get(&place).is(200)["served"], json!([]));
    viewer.get("/api/certificates/served").is(200);
    viewer.post(&check, &json!({})).is(403);
    let operator = street.house.somebody("operator");
    operator.post(&check, &json!({})).fails(409, "not_served");
    operator.post(&check, &json!({ "x": 1 })).is(422);
    operator.get("/api/domains/99/certificate").is(404);
    operator.post("/api/domains/99/certificate/check", &json!({})).is(404);
    street.house.client().get(&place).is(401);
}

#[test]
fn what_a_server_showed_while_it_was_dark_is_looked_at_again_when_it_is_lit() {
    let street = Street::new(Processes::Two);
    let (dark, other) = (street.server("dark", "127.0.0.1"), street.server("other", "127.0.0.1"));
    let domain = street.domain("shop.example", &[dark, other]);
    let db = street.house.database("lamplighter.db");
    let now = clock::now();
    for server in [dark, other] {
        db.execute(
            "INSERT OR REPLACE INTO certwatch_served (domain_id, server_id, looked_at, code, misses)
             VALUES (?1, ?2, ?3, 'unreachable', 2)",
            params![domain, server, now],
        )
        .unwrap();
    }
    let looked_at = |server: i64| -> Ms {
        let sql = "SELECT looked_at FROM certwatch_served WHERE server_id = ?1";
        db.query_row(sql, [server], |r| r.get(0)).unwrap()
    };
    db.execute(
        "INSERT INTO events (at, kind, target_type, target_id, data) VALUES (?1, 'server.recovered', 'server', ?2, '{}')",
        params![now, dark],
    )
    .unwrap();
    eventually("it is due, or was just looked at", || {
        (looked_at(dark) != now).then_some(())
    });
    assert_eq!(looked_at(other), now, "nothing is new about the other one");
}
