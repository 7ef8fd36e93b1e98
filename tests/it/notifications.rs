//! Notifications at their receivers: whatever the receiver does, each arrives at least once, usually exactly once; secrets
//! never leak.

use crate::{common, fake};

use common::*;
use fake::receiver::{Post, Receiver, Turn, answer};
use fake::smtp::{LOGIN, Mail, Office, Smtp, dialogues};
use fake::{FINGERPRINT, Fake, data, telegram};
use lamplighter::access::Allowed;
use lamplighter::access::right::{Run, Tasks};
use lamplighter::base::clock::{self, DAY};
use lamplighter::base::host::Host;
use lamplighter::base::secret::Secret;
use lamplighter::base::text::{base64, unbase64};
use lamplighter::db::{Db, Durability, schema};
use lamplighter::events::wake::Wake;
use lamplighter::features::watch::notifications::Level;
use lamplighter::features::watch::notifications::render_telegram as render;
use lamplighter::features::watch::notifications::{Message, What, cut_units, units};
use lamplighter::net::dial::{Call, Security};
use lamplighter::net::get;
use lamplighter::net::http::{self, EXCUSE_MAX, Method, Proxy, Request, Route};
use lamplighter::net::policy::Policy;
use lamplighter::net::smtp::{self, Encryption, Letter};
use lamplighter::net::tls::Pin;
use lamplighter::task::{NewTask, queue};
use ring::hmac;
use serde_json::{Value, json};
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

// ---- a house with receivers --------------------------------------------------------------------------------------------

/// A daemon that may send to this machine.
fn house() -> House {
    let house = House::new();
    open(&house);
    house
}

fn open(house: &House) {
    let settings = json!({ "messages.networks": "127.0.0.0/8", "site.public_url": "https://lamplighter.example.org" });
    house.admin().put("/api/settings", &settings).is(200);
}

fn set(house: &House, key: &str, value: Value) {
    house.admin().put("/api/settings", &json!({ key: value })).is(200);
}

fn add(house: &House, endpoint: Value) -> i64 {
    let made = house.admin().post("/api/notifications", &endpoint).is(201);
    made["id"].as_i64().unwrap()
}

fn add_telegram(house: &House, api: &Receiver, chats: &[&str]) -> i64 {
    house.canary(telegram::TOKEN.split_once(':').unwrap().1);
    add(
        house,
        json!({
            "type": "telegram", "name": format!("phones {}", chats.join(" ")), "token": telegram::TOKEN, "chats": chats,
            "api_base": format!("http://127.0.0.1:{}", api.port()),
        }),
    )
}

const HMAC: &str = "a secret that nobody guesses";

fn add_webhook(house: &House, name: &str, receiver: &Receiver) -> i64 {
    let path = house.canary("hook-p4th-c4n4ry");
    house.canary(HMAC);
    add(
        house,
        json!({
            "type": "webhook", "name": name, "secret": HMAC,
            "url": format!("http://127.0.0.1:{}/{path}", receiver.port()),
        }),
    )
}

/// A webhook that takes everything.
fn hook() -> Receiver {
    Receiver::new(|_| answer("204 No Content", "", b""))
}

/// An event of another feature.
fn happens(house: &House, kind: &str, id: i64, name: &str) {
    let data =
        json!({ "name": name, "evidence": ["GET http://192.0.2.7:61208/api/4/all", "Nobody <answers> & *waits*."] });
    house
        .database("lamplighter.db")
        .execute(
            "INSERT INTO events (at, kind, target_type, target_id, data) VALUES (?1, ?2, 'server', ?3, ?4)",
            rusqlite::params![clock::now(), kind, id, data.to_string()],
        )
        .unwrap();
}

fn goes_dark(house: &House, id: i64, name: &str) {
    happens(house, "server.unreachable", id, name);
}

fn is_lit_again(house: &House, id: i64, name: &str) {
    happens(house, "server.recovered", id, name);
}

#[track_caller]
fn posts(what: &str, receiver: &Receiver, n: usize) -> Vec<Post> {
    eventually(what, || Some(receiver.posts()).filter(|p| p.len() >= n))
}

fn deliveries(house: &House, query: &str) -> Vec<Value> {
    let list = house
        .admin()
        .get(&format!("/api/notifications/deliveries?{query}"))
        .is(200);
    list["items"].as_array().unwrap().clone()
}

fn endpoint(house: &House, id: i64) -> Value {
    house.admin().get(&format!("/api/notifications/{id}")).is(200)
}

fn test(house: &House, id: i64) -> Value {
    house
        .admin()
        .post(&format!("/api/notifications/{id}/test"), &json!({}))
        .is(200)
}

// ---- what people get -----------------------------------------------------------------------------------------------------

#[test]
fn work_on_a_server_that_fails_is_told_once_a_kind_and_is_over_with_the_next_success() {
    let house = house();
    set(&house, "messages.min_interval_s", json!(0));
    let receiver = hook();
    add_webhook(&house, "ops", &receiver);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let admin = house.admin();
    let mut wanted = server("web-1", closed);
    wanted["host_key"] = json!(Door::new(1).key_line());
    let id = admin.post("/api/servers", &wanted).is(201)["id"].as_i64().unwrap();
    let fails = |action: &str| {
        let path = format!("/api/servers/{id}/{action}");
        let task = admin.post(&path, &json!({})).is(202)["task_id"].as_i64().unwrap();
        assert_eq!(house.wait_for(task)["status"], "failed");
    };
    let open = || {
        let list = admin.get("/api/alerts?state=open").is(200);
        let items = list["items"].as_array().unwrap().iter();
        let of_work = items.filter(|a| a["kind"] == "server.deploy_failed");
        of_work.cloned().collect::<Vec<_>>()
    };

    // A new server that never answered raises no alert.
    fails("check-ssh");
    fails("deploy-proxy");
    fails("deploy-proxy");
    fails("install-glances");
    eventually("one alert for each kind of work", || {
        let counts: Vec<_> = open().iter().map(|a| a["count"].as_i64().unwrap()).collect();
        (counts.len() == 2 && counts.iter().sum::<i64>() == 3).then_some(())
    });
    let first = &open()[0];
    assert_eq!(
        (&first["level"], &first["target"]["name"]),
        (&json!("ERROR"), &json!("web-1"))
    );
    let bodies = eventually("both are told", || {
        let bodies: Vec<_> = receiver.posts().into_iter().map(|p| p.body).collect();
        let told = |work: &str| bodies.iter().any(|b| b.contains(work));
        (told("Deploy reverse proxy") && told("Install Glances")).then_some(bodies)
    });
    assert!(
        bodies
            .iter()
            .all(|b| b.contains("server.deploy_failed") && b.contains("web-1")),
        "{bodies:?}"
    );

    // The success of one kind of work says nothing about the other.
    let succeeds = |kind: &str| {
        let data = json!({ "kind": kind, "status": "ok", "target_id": id, "target_name": "web-1" });
        house
            .database("lamplighter.db")
            .execute(
                "INSERT INTO events (at, kind, target_type, target_id, data) VALUES (?1, 'task.ended', 'task', 1, ?2)",
                rusqlite::params![clock::now(), data.to_string()],
            )
            .unwrap();
    };
    succeeds("server.deploy_proxy");
    eventually("the proxy's is over", || (open().len() == 1).then_some(()));
    succeeds("server.install_glances");
    eventually("both are over", || open().is_empty().then_some(()));

    // A server that let us in before and does not now: that is told.
    house
        .database("lamplighter.db")
        .execute("UPDATE servers SET facts_at = 1 WHERE id = ?1", [id])
        .unwrap();
    fails("check-ssh");
    eventually("the check is told, too", || (open().len() == 1).then_some(()));

    // This task is started by the drift check, which follows changed addresses of targets.
    let follow = NewTask {
        kind: "server.follow_names",
        target: ("server", id, "web-1"),
        input: json!({}),
    };
    let db = Db::open(
        &Path::new(house.dir()).join("lamplighter.db"),
        Durability::Normal,
        schema::STATE,
    )
    .unwrap();
    db.write(|tx| queue::enqueue(tx, &Wake::new(), &follow, Allowed::<Run, Tasks>::by_daemon()))
        .unwrap();
    eventually("it is told as well", || {
        house.last_try();
        let evidence = open().iter().map(|a| a["evidence"].to_string()).collect::<String>();
        evidence.contains("Follow names that have moved").then_some(())
    });
}

#[test]
fn a_certificate_that_cannot_be_had_is_told_as_such_and_not_as_a_failed_deploy() {
    let house = House::new();
    let admin = house.admin();
    let body = json!({ "domain": "shop.example" });
    let id = admin.post("/api/domains", &body).is(201)["id"].as_i64().unwrap();
    let ended = |kind: &str, code: &str| {
        let data = json!({
            "kind": kind, "status": "failed", "target_id": id, "target_name": "shop.example",
            "error": { "code": code, "message": "It says why." },
        });
        house
            .database("lamplighter.db")
            .execute(
                "INSERT INTO events (at, kind, target_type, target_id, data) VALUES (?1, 'task.ended', 'task', 1, ?2)",
                rusqlite::params![clock::now(), data.to_string()],
            )
            .unwrap();
    };
    let open = || {
        let list = admin.get("/api/alerts?state=open").is(200);
        let kinds = list["items"].as_array().unwrap().iter();
        let mut kinds: Vec<_> = kinds.map(|a| a["kind"].as_str().unwrap().to_string()).collect();
        kinds.sort();
        kinds
    };
    ended("domain.renew", "not_acme");
    ended("domain.deploy", "acme_rate_limited");
    eventually("the certificate", || (open() == ["certificate.failed"]).then_some(()));
    ended("domain.renew", "ssh_unreachable");
    ended("domain.deploy", "nginx_refused");
    eventually("and the deploy", || {
        (open() == ["certificate.failed", "deploy.failed"]).then_some(())
    });
}

#[test]
fn telegram_is_told_within_a_second_of_the_third_missed_poll() {
    let house = house();
    set(&house, "messages.min_interval_s", json!(0));
    let api = telegram::new();
    add_telegram(&house, &api, &["424242"]);
    let polls: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let answers = Arc::new(AtomicBool::new(false));
    let (kept, will) = (polls.clone(), answers.clone());
    let body = data("glances/4.3.3/full/all.json");
    let glances = Fake::new(move |_, peer| {
        kept.lock().unwrap().push(Instant::now());
        if will.load(Ordering::SeqCst) {
            let _ = peer.write_all(&fake::http("200 OK", "application/json", &body));
        }
    });
    let server = json!({
        "name": "web-1", "host": "127.0.0.1", "ssh_port": 9, "username": "root", "password": "some password",
        "glances_port": glances.port, "poll_interval_s": 5,
    });
    let id = house.admin().post("/api/servers", &server).is(201)["id"]
        .as_i64()
        .unwrap();
    // A poll may ask twice (another path): the third one ends with the last request before the message.
    let told = |n: usize| {
        let told = posts("the message", &api, n).remove(n - 1);
        let all = polls.lock().unwrap();
        let last = all.iter().rfind(|at| **at < told.at).copied().unwrap();
        let took = told.at - last;
        println!("third failed poll to the request at Telegram: {} ms", took.as_millis());
        assert!(took < Duration::from_secs(1), "{took:?}");
        let text = told.json()["text"].as_str().unwrap().to_string();
        println!("{text}\n");
        (told, text)
    };
    // Nobody has ever reached it: usually its Glances is not installed yet: nothing went down.
    let (_, text) = told(1);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "🟡 web-1 has never been reached: Glances does not answer");
    assert!(lines[1].starts_with("Warning, since "), "{text}");
    answers.store(true, Ordering::SeqCst);
    assert!(told(2).1.starts_with("🟢 web-1 answers for the first time\n"));
    // It was up: now it is down.
    answers.store(false, Ordering::SeqCst);
    let (told, text) = told(3);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "🟠 web-1 is down: Glances does not answer");
    assert!(
        lines[1].starts_with("Error, since ") && lines[1].ends_with(" UTC."),
        "{text}"
    );
    assert!(text.contains("closed the connection without an answer"), "{text}");
    assert!(
        text.ends_with(&format!("https://lamplighter.example.org/servers/{id}")),
        "{text}"
    );
    assert_eq!(told.json()["link_preview_options"]["is_disabled"], true);
}

#[test]
fn who_is_told_that_it_began_is_told_that_it_is_over_in_their_language() {
    let house = house();
    let api = telegram::new();
    let id = add_telegram(&house, &api, &["424242", "-1001234567890"]);
    house
        .admin()
        .patch(
            &format!("/api/notifications/{id}"),
            &json!({ "lang": "ru", "thread_id": "7" }),
        )
        .is(200);
    goes_dark(&house, 1, "web-1");
    posts("both chats", &api, 2);
    is_lit_again(&house, 1, "web-1");
    let all = posts("both chats again", &api, 4);
    let shown = telegram::shown(&api);
    println!("{}\n\n{}", shown[0].1, shown[3].1);
    assert!(
        shown[0]
            .1
            .starts_with("🟠 web-1 недоступен: Glances не отвечает\nОшибка, с "),
        "{}",
        shown[0].1
    );
    assert!(
        shown[3]
            .1
            .starts_with("🟢 web-1 снова работает\n«web-1 недоступен: Glances не отвечает» — "),
        "{}",
        shown[3].1
    );
    let mut chats: Vec<_> = shown.iter().map(|(chat, _)| chat.as_str()).collect();
    chats.sort_unstable();
    assert_eq!(chats, ["-1001234567890", "-1001234567890", "424242", "424242"]);
    assert!(all.iter().all(|p| p.json()["message_thread_id"] == 7));
    // Who was not told that it began is not told that it is over.
    let late = hook();
    add_webhook(&house, "late", &late);
    set(&house, "messages.min_interval_s", json!(0));
    happens(&house, "server.host_key_accepted", 1, "web-1");
    goes_dark(&house, 2, "web-2");
    let first = posts("the first for the late one", &late, 1).remove(0);
    assert_eq!(
        (&first.json()["type"], &first.json()["data"]["target"]["name"]),
        (&json!("alert.raised"), &json!("web-2"))
    );
}

#[test]
fn what_flaps_is_held_back_and_counted_and_never_left_untold() {
    // Two processes: what is written from outside is noticed at once.
    let house = House::with(Processes::Two, &[]);
    open(&house);
    let hook = hook();
    let id = add_webhook(&house, "machine", &hook);
    set(&house, "messages.min_interval_s", json!(6));
    let told = |n| {
        let all = posts("messages", &hook, n);
        assert_eq!(all.len(), n);
        let last = all[n - 1].json();
        (
            last["type"].as_str().unwrap().to_string(),
            last["data"]["held_back"].as_i64().unwrap(),
            all[n - 1].at,
        )
    };
    goes_dark(&house, 1, "web-1");
    let (_, _, first_at) = told(1);
    is_lit_again(&house, 1, "web-1");
    assert_eq!(told(2).0, "alert.resolved");
    // It begins and ends within the interval: not notified.
    goes_dark(&house, 1, "web-1");
    eventually("it is queued", || {
        (deliveries(&house, "status=queued").len() == 1).then_some(())
    });
    is_lit_again(&house, 1, "web-1");
    let held = eventually("it is held", || deliveries(&house, "status=held").first().cloned());
    assert_eq!(
        (&held["attempts"], &held["kind"]),
        (&json!(0), &json!("server.unreachable"))
    );
    // Again, and this time it stays: it is told when the interval is over, with the count of what was not.
    goes_dark(&house, 1, "web-1");
    let (kind, held, at) = told(3);
    assert_eq!((kind.as_str(), held), ("alert.raised", 1));
    assert!(at - first_at >= Duration::from_millis(5_900), "{:?}", at - first_at);
    is_lit_again(&house, 1, "web-1");
    assert_eq!(told(4).0, "alert.resolved");
    assert_eq!(endpoint(&house, id)["state"]["sent"], 4);
}

#[test]
fn each_endpoint_gets_what_it_has_subscribed_to_and_no_more() {
    let house = house();
    let server = house.admin().post("/api/servers", &server("web-1", 9)).is(201)["id"]
        .as_i64()
        .unwrap();
    house
        .admin()
        .patch(
            &format!("/api/servers/{server}"),
            &json!({ "tags": ["Prod"], "environment": "prod" }),
        )
        .is(200);
    let found = r#"UPDATE servers SET facts_at = 1, facts = '{"os_id":"debian"}'"#;
    house.database("lamplighter.db").execute(found, []).unwrap();
    let is = |field: &str, value: &str| json!({ "field": field, "op": "eq", "value": value });
    let is_debian = json!({ "all": [is("environment", "PROD"), is("facts.os_id", "debian")] });
    let all: Vec<_> = (0..8).map(|_| hook()).collect();
    let fields = [
        json!({}),
        json!({ "min_level": "CRITICAL" }),
        json!({ "events": ["host.key_changed"] }),
        json!({ "tags": ["prod"] }),
        json!({ "tags": ["test"] }),
        json!({ "events": ["server.created", "alert.acknowledged"], "enabled": false }),
        json!({ "scope": is_debian }),
        json!({ "scope": { "not": is_debian } }),
    ];
    for (n, (hook, fields)) in all.iter().zip(fields).enumerate() {
        let id = add_webhook(&house, &format!("hook {n}"), hook);
        house
            .admin()
            .patch(&format!("/api/notifications/{id}"), &fields)
            .is(200);
    }
    goes_dark(&house, server, "web-1"); // ERROR
    posts("an error", &all[0], 1);
    happens(&house, "host.key_changed", server, "web-1"); // CRITICAL
    posts("everything", &all[0], 2);
    posts("from critical on", &all[1], 1);
    posts("one kind", &all[2], 1);
    posts("one tag", &all[3], 2);
    posts("one scope", &all[6], 2);
    // An alert that somebody looks after already is not told again.
    let alerts = house.admin().get("/api/alerts?state=firing").is(200);
    for alert in alerts["items"].as_array().unwrap() {
        house
            .admin()
            .post(&format!("/api/alerts/{}/ack", alert["id"]), &json!({}))
            .is(200);
    }
    set(&house, "messages.min_interval_s", json!(0));
    goes_dark(&house, server, "web-1");
    // News are told to who wants them, and only then.
    let id = add_webhook(&house, "news", &all[5]);
    house
        .admin()
        .patch(
            &format!("/api/notifications/{id}"),
            &json!({ "events": ["server.created"], "min_level": "CRITICAL" }),
        )
        .is(200);
    happens(&house, "server.created", 9, "db-9");
    let news = posts("news", &all[5], 1).remove(0).json();
    assert_eq!(
        (&news["type"], &news["data"]["title"]),
        (&json!("server.created"), &json!("db-9 was added"))
    );
    let counts: Vec<_> = all.iter().map(|h| h.posts().len()).collect();
    assert_eq!(counts, [2, 1, 1, 2, 0, 1, 2, 0]);
    for bad in [json!(["server.*"]), json!(["x"])] {
        let answer = house
            .admin()
            .patch(&format!("/api/notifications/{id}"), &json!({ "events": bad }));
        answer.is(422);
        assert_eq!(answer.wrong_fields(), ["events"]);
    }
}

#[test]
fn an_endpoint_is_told_what_who_saved_it_last_may_see() {
    let house = house();
    let operator = house.somebody("operator");
    let (of_admin, of_operator) = (hook(), hook());
    let ids = [&of_admin, &of_operator].map(|hook| add_webhook(&house, &format!("to {}", hook.port()), hook));
    // Whatever is changed: who can change it can send it to themselves.
    let wanted = json!({ "events": ["auth.refresh_reused", "alert.acknowledged"] });
    let saved = |client: &Client, id: i64| client.patch(&format!("/api/notifications/{id}"), &wanted).is(200);
    saved(&operator, ids[0]);
    assert_eq!(saved(&house.admin(), ids[0])["saved_by"], "admin");
    assert_eq!(saved(&operator, ids[1])["saved_by"], "operator");
    let data = json!({ "login": "anna.from-sales", "ip": "203.0.113.77" });
    house
        .database("lamplighter.db")
        .execute(
            "INSERT INTO events (at, kind, target_type, target_id, data) VALUES (?1, 'auth.refresh_reused', 'user', 77, ?2)",
            rusqlite::params![clock::now(), data.to_string()],
        )
        .unwrap();
    let whole = posts("an administrator's", &of_admin, 1).remove(0).json().to_string();
    assert!(
        whole.contains("anna.from-sales") && whole.contains("203.0.113.77"),
        "{whole}"
    );
    posts("an operator's", &of_operator, 1);
    let alert = house.admin().get("/api/alerts?state=firing").is(200)["items"][0]["id"].clone();
    house
        .admin()
        .post(&format!("/api/alerts/{alert}/ack"), &json!({}))
        .is(200);
    let whole = posts("that it is looked at", &of_admin, 2).remove(1).json().to_string();
    assert!(whole.contains("anna.from-sales"), "{whole}");
    let told: String = posts("the same", &of_operator, 2)
        .iter()
        .map(|post| post.json().to_string())
        .collect();
    assert!(told.contains("A refresh token of ••• was used twice"), "{told}");
    assert!(
        !told.contains("anna") && !told.contains("203.0.113.77") && !told.contains("77,"),
        "{told}"
    );
}

#[test]
fn many_things_at_once_are_one_message_to_people_and_many_to_machines() {
    let house = house();
    let (api, hook) = (telegram::new(), hook());
    add_telegram(&house, &api, &["424242"]);
    add_webhook(&house, "machine", &hook);
    for id in 1..=40 {
        goes_dark(&house, id, &format!("web-{id}"));
    }
    posts("each for the machine", &hook, 40);
    let names = || {
        let all: String = telegram::shown(&api).into_iter().map(|(_, text)| text + "\n").collect();
        (1..=40).filter(|id| all.contains(&format!("web-{id} "))).count()
    };
    eventually("all that fit are named", || (names() >= 30).then_some(()));
    let sent = telegram::shown(&api);
    println!("{}", sent.last().unwrap().1);
    assert!(sent.len() <= 6, "{} messages", sent.len());
    assert!(sent.iter().any(|(_, text)| text.contains("things at once")));
    eventually("none is left", || {
        deliveries(&house, "status=open").is_empty().then_some(())
    });
    assert_eq!(deliveries(&house, "status=sent&limit=500").len(), 80);
}

#[test]
fn a_fleet_that_is_imported_and_not_reachable_yet_is_one_message_and_so_is_its_first_answer() {
    let house = house();
    set(&house, "poll.fail_threshold", json!(1));
    let (api, hook) = (telegram::new(), hook());
    add_telegram(&house, &api, &["424242"]);
    add_webhook(&house, "machine", &hook);
    let answers = Arc::new(AtomicBool::new(false));
    let (will, body) = (answers.clone(), data("glances/4.3.3/full/all.json"));
    let glances = Fake::new(move |_, peer| {
        if will.load(Ordering::SeqCst) {
            let _ = peer.write_all(&fake::http("200 OK", "application/json", &body));
        }
    });
    let mut document = house.admin().get("/api/fleet").is(200);
    let server = |n: usize| {
        json!({
            "name": format!("web-{n:02}"), "host": "127.0.0.1", "ssh_port": 9, "username": "root", "auth_type": "password",
            "glances_port": glances.port, "poll_interval_s": 5,
        })
    };
    document["servers"] = (1..=30).map(server).collect();
    house.admin().post("/api/fleet?mode=apply", &document).is(200);
    let all_named = |text: &str| (1..=30).all(|n| text.contains(&format!("web-{n:02} ")));
    let told = |n: usize| {
        posts("each for the machine", &hook, 30 * n);
        posts("one for people", &api, n);
        eventually("none is left", || {
            deliveries(&house, "status=open").is_empty().then_some(())
        });
        let told = telegram::shown(&api);
        assert_eq!(told.len(), n, "{told:#?}");
        println!("{}", told[n - 1].1);
        told[n - 1].1.clone()
    };
    let text = told(1);
    assert!(
        text.starts_with("🟡 30 servers have never been reached: web-"),
        "{text}"
    );
    assert!(text.lines().next().unwrap().ends_with(" and 27 more"), "{text}");
    assert!(all_named(&text), "{text}");
    answers.store(true, Ordering::SeqCst);
    let text = told(2);
    assert!(
        text.starts_with("🟢 30 servers answer for the first time: web-"),
        "{text}"
    );
    assert!(all_named(&text), "{text}");
}

// ---- receivers that misbehave --------------------------------------------------------------------------------------------

#[test]
fn telegram_that_asks_to_wait_is_waited_for_with_everything() {
    let house = house();
    let api = telegram::new();
    let id = add_telegram(&house, &api, &["424242"]);
    let limited = String::from_utf8(data("telegram/rate_limited.json"))
        .unwrap()
        .replace("34", "3");
    let kind = "Content-Type: application/json\r\nRetry-After: 99\r\n";
    api.then([Turn::Say(answer("429 Too Many Requests", kind, limited.as_bytes()))]);
    goes_dark(&house, 1, "web-1");
    let first = posts("the first try", &api, 1).remove(0);
    eventually("it is blocked", || {
        endpoint(&house, id)["state"]["blocked_until"].is_string().then_some(())
    });
    goes_dark(&house, 2, "web-2");
    let all = posts("both, later", &api, 3);
    assert!(
        all[1].at - first.at >= Duration::from_millis(2_900),
        "{:?}",
        all[1].at - first.at
    );
    assert_eq!(all[1].body, first.body);
    let answers: Vec<_> = deliveries(&house, "")
        .iter()
        .map(|d| d["answer"].as_str().unwrap().to_string())
        .collect();
    eventually("both are sent", || {
        (deliveries(&house, "status=sent").len() == 2).then_some(())
    });
    assert!(!answers.is_empty());
}

#[test]
fn what_fails_for_now_is_tried_again_with_the_same_key_until_it_is_there() {
    let house = house();
    let hook = hook();
    add_webhook(&house, "machine", &hook);
    hook.then([
        Turn::Say(answer("500 Oops", "", b"out of order")),
        Turn::Cut,
        Turn::Say(answer("429 Slow", "Retry-After: 1\r\n", b"")),
        Turn::Say(b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n".to_vec()),
    ]);
    goes_dark(&house, 1, "web-1");
    let all = posts("the fifth try", &hook, 5);
    let keys: Vec<_> = all.iter().map(|p| p.header("webhook-id").unwrap()).collect();
    assert!(keys.iter().all(|k| *k == keys[0] && k.len() == 32), "{keys:?}");
    assert!(
        all.iter()
            .all(|p| p.body == all[0].body && p.header("idempotency-key") == Some(keys[0]))
    );
    let sent = eventually("it is sent", || deliveries(&house, "status=sent").first().cloned());
    assert_eq!((&sent["attempts"], &sent["key"]), (&json!(5), &json!(keys[0])));
    let said = house.said();
    for words in [
        "500 out of order",
        "It may have arrived all the same",
        "does not answer as a web server",
    ] {
        assert!(said.contains(words), "{words} in {said}");
    }
    // Each attempt is signed afresh, with its own time.
    for post in &all {
        let signed = format!(
            "{}.{}.{}",
            keys[0],
            post.header("webhook-timestamp").unwrap(),
            post.body
        );
        let key = hmac::Key::new(hmac::HMAC_SHA256, HMAC.as_bytes());
        let tag = post.header("webhook-signature").unwrap().strip_prefix("v1,").unwrap();
        hmac::verify(&key, signed.as_bytes(), &unbase64(tag).unwrap()).expect("the signature");
    }
}

#[test]
fn a_slow_receiver_delays_nobody_else() {
    let house = house();
    let (slow, drip, quick) = (hook(), hook(), hook());
    slow.then([Turn::Hang(Duration::from_secs(60))]);
    drip.then([Turn::Drip]);
    add_webhook(&house, "slow", &slow);
    add_webhook(&house, "drip", &drip);
    goes_dark(&house, 1, "web-1");
    posts("the slow one has begun", &slow, 1);
    posts("the dripping one has begun", &drip, 1);
    add_webhook(&house, "quick", &quick);
    for id in 2..=6 {
        goes_dark(&house, id, "another");
    }
    let began = Instant::now();
    posts("the quick one has all", &quick, 5);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!((slow.posts().len(), drip.posts().len()), (1, 1));
    // Their time is over at some point; then they get theirs, too.
    posts("the slow one has all", &slow, 7);
    posts("the dripping one has all", &drip, 7);
}

#[test]
fn what_is_refused_for_good_is_a_dead_letter_that_others_hear_of_and_that_can_be_sent_again() {
    let house = house();
    let (api, hook) = (telegram::new(), hook());
    let id = add_telegram(&house, &api, &["13"]);
    goes_dark(&house, 1, "web-1");
    let dead = eventually("it is given up", || deliveries(&house, "status=dead").first().cloned());
    assert_eq!(dead["answer"], "403 Forbidden: bot was blocked by the user");
    assert_eq!((&dead["attempts"], api.posts().len()), (&json!(1), 1));
    let firing = || {
        house.admin().get("/api/alerts?state=firing&level=WARNING").is(200)["items"]
            .as_array()
            .unwrap()
            .clone()
    };
    let alert = eventually("an alert about it", || firing().first().cloned());
    assert_eq!(
        (&alert["kind"], &alert["target"]["type"]),
        (&json!("notification.dead"), &json!("notification"))
    );
    assert!(alert["evidence"][0].as_str().unwrap().contains("blocked"), "{alert}");
    assert_eq!(endpoint(&house, id)["state"]["failing"], true);
    // The failure is notified through other endpoints, not through the failing one.
    add_webhook(&house, "machine", &hook);
    goes_dark(&house, 2, "web-2");
    posts("the other one", &hook, 1);
    eventually("both are dead", || {
        (deliveries(&house, "status=dead").len() == 2).then_some(())
    });
    assert_eq!(api.posts().len(), 2);
    let resend = |d: &Value| format!("/api/notifications/deliveries/{}/resend", d["id"]);
    // With the right chat they go out.
    house
        .admin()
        .patch(&format!("/api/notifications/{id}"), &json!({ "chats": ["424242"] }))
        .is(200);
    house
        .somebody("viewer")
        .post(&resend(&dead), &json!({}))
        .fails(403, "forbidden");
    let again = house.admin().post(&resend(&dead), &json!({})).is(200);
    assert_eq!(
        (&again["status"], &again["key"], &again["attempts"]),
        (&json!("queued"), &dead["key"], &json!(0))
    );
    // It was addressed to the old chat, and says so.
    eventually("it is dead again", || {
        (deliveries(&house, "status=dead").len() == 2).then_some(())
    });
    house.admin().post(&resend(&dead), &json!({})).is(200);
    goes_dark(&house, 3, "web-3");
    eventually("the new chat has it", || {
        telegram::shown(&api)
            .iter()
            .any(|(chat, _)| chat == "424242")
            .then_some(())
    });
    eventually("the alert is over", || firing().is_empty().then_some(()));
    assert_eq!(endpoint(&house, id)["state"]["failing"], false);
    let sent = deliveries(&house, "status=sent");
    house.admin().post(&resend(&sent[0]), &json!({})).fails(409, "not_dead");
    house
        .admin()
        .post("/api/notifications/deliveries/999/resend", &json!({}))
        .fails(404, "not_found");
}

#[test]
fn a_recipient_that_is_gone_is_one_lasting_alert_that_names_it_and_the_others_are_told() {
    let house = house();
    set(&house, "messages.min_interval_s", json!(0));
    let (api, hook) = (telegram::new(), hook());
    let id = add_telegram(&house, &api, &["13", "424242"]);
    add_webhook(&house, "machine", &hook);
    let dead = |state: &str| {
        let list = house.admin().get(&format!("/api/alerts?state={state}")).is(200);
        let items = list["items"].as_array().unwrap().iter();
        let dead = items.filter(|a| a["kind"] == "notification.dead");
        dead.cloned().collect::<Vec<_>>()
    };
    for n in 1..=6 {
        goes_dark(&house, n, &format!("web-{n}"));
        eventually("refused for the one", || {
            let rows = deliveries(&house, "status=dead");
            rows.iter()
                .any(|d| d["target"]["name"] == format!("web-{n}"))
                .then_some(())
        });
    }
    eventually("the other has all six, and hears of the one", || {
        let told: String = telegram::shown(&api).into_iter().map(|(_, text)| text).collect();
        let all = (1..=6).all(|n| told.contains(&format!("web-{n} is down")));
        (all && told.contains("Messages to phones 13 424242 (13) do not get through")).then_some(())
    });
    let told = posts("six, and one about the one", &hook, 7);
    let about: Vec<_> = (told.iter().map(Post::json))
        .filter(|p| p["data"]["kind"] == "notification.dead")
        .collect();
    assert_eq!(about.len(), 1, "{about:?}");
    assert_eq!(about[0]["data"]["target"]["recipient"], "13");
    let open = dead("open");
    assert_eq!(
        (open.len(), &open[0]["count"], &open[0]["state"]),
        (1, &json!(1), &json!("firing"))
    );
    assert_eq!(open[0]["target"]["recipient"], "13");
    assert!(dead("resolved").is_empty(), "nothing came and went");
    let state = endpoint(&house, id)["state"].clone();
    assert_eq!(
        (&state["failing"], &state["gone"][0]["recipient"]),
        (&json!(true), &json!("13")),
        "{state}"
    );
    assert!(state["last_error"].as_str().unwrap().contains("blocked"), "{state}");
    let page = house.admin().get("/notifications");
    assert!(page.text().contains("Does not reach 13"), "{}", page.text());
    // Without this chat the alert ends.
    let path = format!("/api/notifications/{id}");
    house.admin().patch(&path, &json!({ "chats": ["424242"] })).is(200);
    eventually("over", || {
        (dead("open").is_empty() && dead("resolved").len() == 1).then_some(())
    });
    let state = endpoint(&house, id)["state"].clone();
    assert_eq!(
        (&state["failing"], &state["last_error"]),
        (&json!(false), &json!(null)),
        "{state}"
    );
}

#[test]
fn a_group_that_became_a_supergroup_is_followed() {
    let house = house();
    let api = telegram::new();
    let id = add_telegram(&house, &api, &["-55", "424242"]);
    let results = test(&house, id);
    assert_eq!(results["ok"], false, "{results}");
    assert!(
        results["results"][0]["answer"].as_str().unwrap().contains("-1005555"),
        "{results}"
    );
    goes_dark(&house, 1, "web-1");
    eventually("both have it", || {
        (telegram::shown(&api)
            .iter()
            .filter(|(_, t)| t.contains("web-1"))
            .count()
            == 2)
            .then_some(())
    });
    assert_eq!(endpoint(&house, id)["chats"], json!(["-1005555", "424242"]));
    eventually("both are noted", || {
        (deliveries(&house, "status=sent").len() == 3).then_some(())
    });
}

#[test]
fn a_kill_in_the_middle_loses_nothing_and_sends_with_the_same_key() {
    let mut house = house();
    let (hook, api) = (hook(), telegram::new());
    hook.then([Turn::Hang(Duration::from_secs(30))]);
    add_webhook(&house, "machine", &hook);
    add_telegram(&house, &api, &["424242"]);
    for id in 1..=3 {
        goes_dark(&house, id, "web");
    }
    posts("the attempt under way", &hook, 1);
    house.kill();
    house.start();
    let all = posts("all of them", &hook, 4);
    let key = |p: &Post| p.header("webhook-id").unwrap().to_string();
    assert_eq!(key(&all[0]), key(&all[1]), "the copy has the key of the first");
    eventually("none is left", || {
        deliveries(&house, "status=open").is_empty().then_some(())
    });
    let mut keys: Vec<_> = hook.posts().iter().map(key).collect();
    assert_eq!(keys.len(), 4);
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 3);
    assert!(telegram::shown(&api).len() >= 3);
}

#[test]
fn kills_at_any_moment_lose_no_message() {
    let mut house = house();
    let hook = hook();
    add_webhook(&house, "machine", &hook);
    for round in 0..4 {
        for id in 0..5 {
            goes_dark(&house, 1 + round * 5 + id, "web");
        }
        thread::sleep(Duration::from_millis(300 * round as u64));
        house.kill();
        house.start();
    }
    eventually("every one is there", || {
        let mut told: Vec<_> = (hook.posts().iter())
            .map(|p| p.json()["data"]["target"]["id"].as_i64().unwrap())
            .collect();
        told.sort_unstable();
        told.dedup();
        (told == (1..=20).collect::<Vec<_>>()).then_some(())
    });
}

#[test]
fn redirects_floods_and_certificates_of_strangers() {
    let house = house();
    let (moved, flood) = (hook(), hook());
    let other = hook();
    let to = format!("Location: http://127.0.0.1:{}/caught?token=x\r\n", other.port());
    moved.then([Turn::Say(answer("302 Found", &to, b""))]);
    flood.then([Turn::Flood]);
    let (moved_id, flood_id) = (
        add_webhook(&house, "moved", &moved),
        add_webhook(&house, "flood", &flood),
    );
    let result = test(&house, moved_id)["results"][0].clone();
    assert_eq!(result["ok"], false);
    let said = result["answer"].as_str().unwrap();
    assert!(
        said.contains("Redirects are not followed") && !said.contains("token"),
        "{said}"
    );
    assert!(other.posts().is_empty());
    assert_eq!(test(&house, flood_id)["ok"], true, "it has said 200");
    // Its self-signed certificate is accepted only when pinned.
    let tls = Receiver::over(true, |_| answer("200 OK", "", b""));
    let url = format!("https://127.0.0.1:{}/x", tls.port());
    let id = add(&house, json!({ "type": "webhook", "name": "tls", "url": url }));
    let result = test(&house, id)["results"][0]["answer"].as_str().unwrap().to_string();
    assert!(
        result.contains("certificate") && result.contains(FINGERPRINT),
        "{result}"
    );
    assert!(tls.posts().is_empty(), "nothing was sent to a stranger");
    house
        .admin()
        .patch(
            &format!("/api/notifications/{id}"),
            &json!({ "tls_pin": FINGERPRINT, "url": url }),
        )
        .is(200);
    assert_eq!(test(&house, id)["ok"], true);
    // Without a secret nothing is signed.
    assert_eq!(tls.posts()[0].header("webhook-signature"), None);
}

#[test]
fn messages_go_to_public_addresses_unless_an_administrator_opens_a_network() {
    let house = House::new();
    let hook = hook();
    let id = add_webhook(&house, "inside", &hook);
    let result = test(&house, id)["results"][0]["answer"].as_str().unwrap().to_string();
    assert!(
        result.contains("loopback") && result.contains("messages.networks"),
        "{result}"
    );
    for host in ["169.254.169.254", "10.0.0.1", "[::ffff:127.0.0.1]", "localhost"] {
        let url = format!("http://{host}:{}/x", hook.port());
        house
            .admin()
            .patch(&format!("/api/notifications/{id}"), &json!({ "url": url }))
            .is(200);
        assert_eq!(test(&house, id)["ok"], false, "{host}");
    }
    goes_dark(&house, 1, "web-1");
    eventually("it waits", || {
        (deliveries(&house, "status=queued").first()?["attempts"].as_i64()? > 0).then_some(())
    });
    assert!(hook.posts().is_empty());
    let operator = house.somebody("operator");
    operator
        .put("/api/settings", &json!({ "messages.networks": "127.0.0.0/8" }))
        .fails(403, "forbidden");
    open(&house);
    let url = format!("http://127.0.0.1:{}/x", hook.port());
    operator
        .patch(&format!("/api/notifications/{id}"), &json!({ "url": url }))
        .is(200);
    posts("now it goes out", &hook, 1);
    for bad in [
        "10.0.0.1/8",
        "localhost",
        "::/0 ::/0 ::/0 ::/0 ::/0 ::/0 ::/0 ::/0 ::/0",
    ] {
        house
            .admin()
            .put("/api/settings", &json!({ "messages.networks": bad }))
            .is(422);
    }
}

#[test]
fn a_webhook_has_a_login_and_headers_that_are_sent_there_and_nowhere_else() {
    let house = house();
    let (hook, other) = (hook(), hook());
    let at = |receiver: &Receiver| format!("http://127.0.0.1:{}/x", receiver.port());
    let admin = house.admin();
    let (password, key) = (house.canary("pass-c4n4ry"), house.canary("k3y-c4n4ry-1234"));
    let case: Value = serde_json::from_slice(&data("field/webhook-with-login.json")).unwrap();
    let url = case["url"].as_str().unwrap();
    let url = url
        .replace("https://", "http://")
        .replace("hooks.example.org", &format!("127.0.0.1:{}", hook.port()));
    let url = url.replace(":pass@", &format!(":{password}@"));
    let id = add(
        &house,
        json!({ "type": "webhook", "name": "n8n", "url": url, "headers": format!("X-Api-Key: {key}\n") }),
    );
    let path = format!("/api/notifications/{id}");
    let shown = endpoint(&house, id);
    assert_eq!(
        (&shown["username"], &shown["has_password"], &shown["has_headers"]),
        (&json!("user"), &json!(true), &json!(true))
    );
    assert_eq!(test(&house, id)["ok"], true);
    let post = hook.posts().remove(0);
    let login = format!("Basic {}", base64(format!("user:{password}").as_bytes()));
    assert_eq!(
        (post.path(), post.header("authorization"), post.header("x-api-key")),
        ("/x", Some(&*login), Some(&*key))
    );
    // An answer that says back what it was sent holds none of it.
    hook.then([Turn::Say(answer(
        "403 Forbidden",
        "",
        format!("no: {login} {key}").as_bytes(),
    ))]);
    let said = test(&house, id)["results"][0]["answer"].as_str().unwrap().to_string();
    assert!(
        said.starts_with("403 no: ") && !said.contains(&login[6..]) && !said.contains(&*key),
        "{said}"
    );
    // Another receiver gets neither without being given them.
    let moved = admin.patch(&path, &json!({ "url": at(&other) }));
    moved.is(422);
    assert_eq!(moved.wrong_fields(), ["password", "headers"]);
    admin.patch(&path, &json!({ "url": at(&hook) })).is(200); // the same place
    admin
        .patch(
            &path,
            &json!({ "url": at(&other), "username": "", "password": null, "headers": null }),
        )
        .is(200);
    assert_eq!(test(&house, id)["ok"], true);
    let post = other.posts().remove(0);
    assert_eq!((post.header("authorization"), post.header("x-api-key")), (None, None));
    for (field, bad) in [
        ("headers", json!("Host: evil.example")),
        ("headers", json!("no colon")),
        ("headers", json!("A: b\rC: d")),
        ("username", json!("a:b")),
        ("preset", json!("slack")),
    ] {
        let answer = admin.patch(&path, &json!({ field: bad }));
        assert_eq!(
            (answer.status, answer.wrong_fields()),
            (422, vec![field.to_string()]),
            "{bad}"
        );
    }
}

/// What ntfy, Gotify, Discord and a Matrix home server check of a request, and what they answer.
fn preset_receiver() -> Receiver {
    Receiver::new(|post| {
        let (verb, body) = (post.head.split(' ').next().unwrap(), post.json());
        let json = "Content-Type: application/json\r\n";
        let yes = |text: &str| answer("200 OK", json, text.as_bytes());
        let no = |status: &str, text: &str| answer(status, json, text.as_bytes());
        let text = |name: &str| body[name].as_str().is_some_and(|t| !t.is_empty());
        match (verb, post.path()) {
            ("POST", "/") if post.header("authorization") != Some("Bearer tk_c4n4ry-ntfy") => {
                no("403 Forbidden", r#"{"code":40301,"http":403,"error":"forbidden"}"#)
            }
            ("POST", "/") if !text("topic") || !(1..=5).contains(&body["priority"].as_i64().unwrap_or(3)) => no(
                "400 Bad Request",
                r#"{"code":40024,"http":400,"error":"invalid request"}"#,
            ),
            ("POST", "/") => yes(r#"{"id":"hwQ2YpKdmg","event":"message","topic":"lamps"}"#),
            ("POST", "/gotify/message") if post.header("x-gotify-key") == Some("A.c4n4ry-gotify") => {
                match text("message") {
                    true => yes(r#"{"id":25,"appid":5}"#),
                    false => no("400 Bad Request", r#"{"error":"Bad Request","errorCode":400}"#),
                }
            }
            ("POST", "/gotify/message") => no("401 Unauthorized", r#"{"error":"Unauthorized","errorCode":401}"#),
            ("POST", "/api/webhooks/1/discord-c4n4ry") => {
                let embed = &body["embeds"][0];
                let fits = |name: &str, max| {
                    embed[name]
                        .as_str()
                        .is_some_and(|t| (1..=max).contains(&t.chars().count()))
                };
                let link = embed
                    .get("url")
                    .is_none_or(|u| u.as_str().is_some_and(|u| u.starts_with("http")));
                match fits("title", 256) && fits("description", 4096) && link {
                    true => answer("204 No Content", "", b""),
                    false => no("400 Bad Request", r#"{"embeds":["0"]}"#),
                }
            }
            ("PUT", path) => {
                match path.strip_prefix("/_matrix/client/v3/rooms/%21abc%3Aexample.org/send/m.room.message/") {
                    Some(id) if id.len() > 8 && body["msgtype"] == "m.text" && text("body") => {
                        match post.header("authorization") {
                            Some("Bearer syt_c4n4ry") => yes(r#"{"event_id":"$YUwRidLecu"}"#),
                            _ => no(
                                "401 Unauthorized",
                                r#"{"errcode":"M_UNKNOWN_TOKEN","error":"Unrecognised access token"}"#,
                            ),
                        }
                    }
                    _ => no(
                        "404 Not Found",
                        r#"{"errcode":"M_UNRECOGNIZED","error":"Unrecognized request"}"#,
                    ),
                }
            }
            _ => no("404 Not Found", "{}"),
        }
    })
}

#[test]
fn receivers_with_words_of_their_own_are_told_in_them() {
    let house = house();
    set(&house, "messages.min_interval_s", json!(0));
    let receiver = preset_receiver();
    let at = |path: &str| format!("http://127.0.0.1:{}{path}", receiver.port());
    let room = "!abc:example.org";
    for fields in [
        json!({ "preset": "ntfy", "url": at(""), "room": "lamps", "token": house.canary("tk_c4n4ry-ntfy") }),
        json!({ "preset": "gotify", "url": at("/gotify/"), "token": house.canary("A.c4n4ry-gotify") }),
        json!({ "preset": "discord", "url": at(&format!("/api/webhooks/1/{}", house.canary("discord-c4n4ry"))) }),
        json!({ "preset": "matrix", "url": at(""), "room": room, "token": house.canary("syt_c4n4ry") }),
    ] {
        let mut fields = fields;
        (fields["type"], fields["name"]) = ("webhook".into(), fields["preset"].clone());
        let id = add(&house, fields.clone());
        let result = test(&house, id);
        assert_eq!(result["ok"], true, "{fields}: {result}");
        let got = endpoint(&house, id);
        let put = house.admin().put(&format!("/api/notifications/{id}"), &got);
        assert_eq!(put.status, 200, "{}", put.text());
        let page = house.admin().get(&format!(
            "/notifications/new?type=webhook&preset={}",
            fields["preset"].as_str().unwrap()
        ));
        assert_eq!(page.status, 200);
    }
    let before = receiver.posts().len();
    goes_dark(&house, 1, "web_1 *x*");
    let told = posts("all four", &receiver, before + 4).split_off(before);
    let find = |path: &str| told.iter().find(|p| p.path().starts_with(path)).unwrap().json();
    let ntfy = told.iter().find(|p| p.path() == "/").unwrap().json();
    assert_eq!((&ntfy["topic"], &ntfy["priority"]), (&json!("lamps"), &json!(4)));
    assert_eq!(ntfy["title"], "🟠 web_1 *x* is down: Glances does not answer");
    assert_eq!(ntfy["click"], "https://lamplighter.example.org/servers/1");
    assert!(ntfy["message"].as_str().unwrap().starts_with("Error, since "), "{ntfy}");
    assert_eq!(find("/gotify")["priority"], 7);
    assert_eq!(
        find("/api/webhooks")["embeds"][0]["title"],
        "🟠 web\\_1 \\*x\\* is down: Glances does not answer"
    );
    assert!(find("/_matrix")["body"].as_str().unwrap().contains("web_1 *x* is down"));
    // Without our own address there is no link, and no empty one either.
    house
        .admin()
        .put("/api/settings", &json!({ "site.public_url": null }))
        .is(200);
    let before = receiver.posts().len();
    is_lit_again(&house, 1, "web_1 *x*");
    let told = posts("and that it is over", &receiver, before + 4).split_off(before);
    assert!(
        told.iter().all(|p| !p.body.contains("http") && !p.body.contains("{}")),
        "{told:?}"
    );
    eventually("each was taken", || {
        let sent = deliveries(&house, "status=sent&limit=50");
        (sent.iter().filter(|d| d["what"] != "test").count() == 8).then_some(())
    });
    for (field, bad) in [
        ("room", json!({ "preset": "ntfy", "url": at("") })),
        ("url", json!({ "preset": "ntfy", "url": at("/lamps"), "room": "lamps" })),
        ("token", json!({ "preset": "gotify", "url": at("") })),
    ] {
        let mut bad = bad;
        (bad["type"], bad["name"]) = ("webhook".into(), "bad".into());
        let answer = house.admin().post("/api/notifications", &bad);
        assert_eq!(
            (answer.status, answer.wrong_fields()),
            (422, vec![field.to_string()]),
            "{}",
            answer.text()
        );
    }
}

// ---- the channels' own rules ---------------------------------------------------------------------------------------------

#[test]
fn the_bot_api_s_answers_are_understood_and_its_token_is_told_to_nobody() {
    let house = house();
    let api = telegram::new();
    let id = add_telegram(&house, &api, &["424242"]);
    let path = format!("/api/notifications/{id}");
    let says = |change: Value| {
        house.admin().patch(&path, &change).is(200);
        let results = test(&house, id);
        results["results"][0]["answer"].as_str().unwrap().to_string()
    };
    assert_eq!(says(json!({})), "200 ok, message 101");
    assert_eq!(says(json!({ "chats": ["1"] })), "400 Bad Request: chat not found");
    assert_eq!(says(json!({ "chats": ["@our_alerts"] })), "200 ok, message 101");
    assert_eq!(says(json!({ "token": "999:AAAA" })), "401 Unauthorized");
    house.admin().patch(&path, &json!({ "token": telegram::TOKEN })).is(200);
    // An answer that says back what it was asked.
    let echo = |p: &str| {
        answer(
            "404 Not Found",
            "Content-Type: text/plain\r\n",
            format!("no such path: {p}").as_bytes(),
        )
    };
    api.then([Turn::Say(echo(&format!("/bot{}/sendMessage", telegram::TOKEN)))]);
    assert_eq!(says(json!({})), "404 no such path: /bot•••/sendMessage");
    // What a captive portal says is no message sent.
    api.then([Turn::Say(answer(
        "200 OK",
        "Content-Type: text/html\r\n",
        b"<html>Welcome to Hotel WiFi</html>",
    ))]);
    assert!(says(json!({})).contains("not an answer of the Bot API"));
    api.then([Turn::Say(answer(
        "502 Bad Gateway",
        "Content-Type: text/html\r\n",
        b"<html>502</html>",
    ))]);
    assert_eq!(says(json!({})), "502 (a web page)");
    // Each mode is escaped so that the API takes it and shows the same.
    for mode in ["none", "html", "markdown"] {
        house
            .admin()
            .patch(
                &path,
                &json!({ "parse_mode": mode, "name": "<a> & *b_c* `d` \\ [e](f) #1. 5 > 3!" }),
            )
            .is(200);
        assert_eq!(test(&house, id)["ok"], true, "{mode}");
        assert!(
            telegram::shown(&api)
                .last()
                .unwrap()
                .1
                .contains("“<a> & *b_c* `d` \\ [e](f) #1. 5 > 3!”"),
            "{mode}"
        );
    }
    for (field, bad) in [
        ("token", json!("nonsense")),
        ("token", json!("1:a b")),
        ("token", json!(null)),
        ("chats", json!([])),
        ("chats", json!(["chat"])),
        ("chats", json!(["-0"])),
        ("thread_id", json!("-1")),
        ("api_base", json!("api.telegram.org")),
        ("api_base", json!("https://user@api.telegram.org")),
        ("proxy", json!("socks5://x:1")),
        ("proxy", json!("http://user:password@x:1")),
        ("parse_mode", json!("Markdown")),
        ("min_level", json!("LOUD")),
        ("lang", json!("de")),
        ("name", json!("")),
    ] {
        let answer = house.admin().patch(&path, &json!({ field: bad }));
        answer.is(422);
        assert_eq!(answer.wrong_fields(), [field], "{bad}");
        assert!(
            !answer.text().contains("nonsense"),
            "a mistyped secret comes back: {}",
            answer.text()
        );
    }
    house
        .admin()
        .patch(&path, &json!({ "url": "https://x/" }))
        .fails(422, "unknown_field");
    let shown = endpoint(&house, id);
    assert_eq!(
        (&shown["has_token"], &shown["has_password"]),
        (&json!(true), &json!(false))
    );
    // What the API gives may be sent back, and changes nothing.
    let mut again = house.admin().put(&path, &shown).is(200);
    again["updated_at"] = shown["updated_at"].clone();
    assert_eq!(again, shown);
}

#[test]
fn slack_s_answers_are_understood_and_its_markup_is_escaped() {
    let house = house();
    let slack = Receiver::new(|_| answer("200 OK", "Content-Type: text/html\r\n", b"ok"));
    let secret = house.canary("services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX");
    let url = format!("http://127.0.0.1:{}/{secret}", slack.port());
    let id = add(&house, json!({ "type": "slack", "name": "team", "url": url }));
    assert_eq!(
        endpoint(&house, id)["address"],
        format!("http://127.0.0.1:{}", slack.port())
    );
    goes_dark(&house, 1, "web_1 <!channel>");
    let text = posts("the message", &slack, 1)[0].json()["text"]
        .as_str()
        .unwrap()
        .to_string();
    println!("{text}");
    assert!(
        text.starts_with("🟠 *web_1 &lt;!channel&gt; is down: Glances does not answer*\n"),
        "{text}"
    );
    assert!(text.contains("`Nobody &lt;answers&gt; &amp; *waits*.`"), "{text}");
    assert!(text.ends_with("<https://lamplighter.example.org/servers/1>"), "{text}");
    let index: Value = serde_json::from_slice(&data("slack/_index.json")).unwrap();
    for case in index["requests"].as_array().unwrap() {
        let (name, status) = (case["name"].as_str().unwrap(), case["status"].as_u64().unwrap());
        let body = data(&format!("slack/{}", case["file"].as_str().unwrap()));
        let retry = case["headers"]["Retry-After"]
            .as_str()
            .map_or(String::new(), |s| format!("Retry-After: {s}\r\n"));
        slack.then([Turn::Say(answer(
            &format!("{status} X"),
            &format!("Content-Type: text/html\r\n{retry}"),
            &body,
        ))]);
        set(&house, "messages.min_interval_s", json!(0));
        let n = slack.posts().len();
        goes_dark(&house, 100 + n as i64, name);
        posts(name, &slack, n + 1);
        let row = |status: &str| {
            let rows = deliveries(&house, &format!("status={status}"));
            rows.into_iter()
                .find(|d| d["target"]["name"] == name && (status != "queued" || d["attempts"] != 0))
        };
        let wanted = match name {
            "ok" => "sent",
            "rollup" | "rate_limited" => "queued",
            _ => "dead",
        };
        let row = eventually(&format!("{name} is {wanted}"), || row(wanted));
        assert!(
            row["answer"].as_str().unwrap().starts_with(&status.to_string()),
            "{row}"
        );
        if wanted == "queued" {
            eventually("it is sent after all", || {
                deliveries(&house, "status=open").is_empty().then_some(())
            });
        }
    }
}

#[test]
fn what_speaks_like_slack_is_told_once_unless_it_says_no_and_a_doubt_is_repeated_twice() {
    let house = house();
    set(&house, "messages.min_interval_s", json!(0));
    let slack = Receiver::new(|_| answer("200 OK", "", b"ok"));
    add(
        &house,
        json!({ "type": "slack", "name": "team", "url": format!("http://127.0.0.1:{}/x", slack.port()) }),
    );
    let cases: Vec<Value> = serde_json::from_slice(&data("field/slack-compatible-answers.json")).unwrap();
    for (n, case) in cases.iter().enumerate() {
        let (who, expect) = (case["who"].as_str().unwrap(), case["expect"].as_str().unwrap());
        let head = format!("Content-Type: {}\r\n", case["content_type"].as_str().unwrap());
        let says = || Turn::Say(answer("200 OK", &head, case["body"].as_str().unwrap().as_bytes()));
        let (times, wanted) = match expect {
            "sent once" => (1, "sent"),
            "not sent" => (1, "dead"),
            _ => (3, "dead"),
        };
        let before = slack.posts().len();
        slack.then((0..times).map(|_| says()));
        goes_dark(&house, 100 + n as i64, who);
        let find = || deliveries(&house, "").into_iter().find(|d| d["target"]["name"] == who);
        let row = eventually(who, || find().filter(|d| d["status"] == wanted));
        assert_eq!(
            (slack.posts().len() - before, row["attempts"].as_u64().unwrap()),
            (times, times as u64),
            "{row}"
        );
        assert_eq!(row["doubtful"], times == 3, "{row}");
        assert_eq!(
            row["answer"].as_str().unwrap().starts_with("Doubtful"),
            times == 3,
            "{row}"
        );
    }
    // What was refused for the time being before has left no copy: the doubts alone are counted.
    let no = || Turn::Say(answer("503 Service Unavailable", "", b""));
    let maybe = || Turn::Say(answer("200 OK", "Content-Type: text/html\r\n", b"<html>"));
    slack.then([no(), no(), no(), maybe(), maybe(), maybe()]);
    let before = slack.posts().len();
    goes_dark(&house, 99, "late");
    let row = eventually("the third doubt is the last", || {
        // Saved again, what waits is tried at once.
        house
            .admin()
            .patch("/api/notifications/1", &json!({ "enabled": true }))
            .is(200);
        let dead = deliveries(&house, "status=dead");
        dead.into_iter().find(|d| d["target"]["name"] == "late")
    });
    assert_eq!((&row["attempts"], &row["doubtful"]), (&json!(6), &json!(true)), "{row}");
    assert_eq!(slack.posts().len() - before, 6);
}

#[test]
fn a_stored_secret_is_not_sent_to_an_address_that_it_was_not_given_for() {
    let house = house();
    let admin = house.admin();
    let pin = "ab".repeat(32);
    let telegram = json!({
        "type": "telegram", "name": "t", "token": telegram::TOKEN, "chats": ["1"], "proxy": "http://192.0.2.1:3128",
        "proxy_user": "u", "password": "proxy-s3cret",
    });
    let email = json!({
        "type": "email", "name": "e", "host": "mail.example.org", "username": "u", "password": "mail-s3cret",
        "from": "a@example.org", "to": ["b@example.org"],
    });
    let url = "https://hooks.example.org/s3cret";
    for (made, moves) in [
        (
            telegram,
            vec![
                (json!({ "api_base": "https://api.example.net" }), "token"),
                (json!({ "tls_pin": pin }), "token"),
                (json!({ "proxy": "http://192.0.2.2:3128" }), "password"),
            ],
        ),
        (
            email,
            vec![
                (json!({ "host": "mail.example.net" }), "password"),
                (json!({ "port": 2525 }), "password"),
                (json!({ "tls_pin": pin }), "password"),
            ],
        ),
        (
            json!({ "type": "slack", "name": "s", "url": url }),
            vec![(json!({ "tls_pin": pin }), "url")],
        ),
        (
            json!({ "type": "webhook", "name": "w", "url": url }),
            vec![(json!({ "tls_pin": pin }), "url")],
        ),
    ] {
        let secret = |column: &str| made[column].clone();
        let path = format!("/api/notifications/{}", add(&house, made.clone()));
        for (change, column) in moves {
            let shown = admin.get(&path).is(200);
            let refused = admin.patch(&path, &change);
            refused.is(422);
            assert_eq!(refused.wrong_fields(), [column], "{change}");
            let mut whole = shown.clone();
            whole
                .as_object_mut()
                .unwrap()
                .extend(change.as_object().unwrap().clone());
            let refused = admin.put(&path, &whole);
            refused.is(422);
            assert_eq!(refused.wrong_fields(), [column], "{change}");
            assert_eq!(admin.get(&path).is(200), shown, "nothing has changed");
            let mut given = change.clone();
            given[column] = secret(column);
            admin.patch(&path, &given).is(200);
        }
        if made["type"] == "telegram" {
            let without = admin.patch(&path, &json!({ "proxy": "" })).is(200);
            assert_eq!(without["has_password"], false, "what is sent nowhere is forgotten");
        }
    }
}

#[test]
fn the_general_topic_is_named_by_no_number() {
    let house = house();
    let api = Receiver::new(|_| {
        answer(
            "200 OK",
            "Content-Type: application/json\r\n",
            b"{\"ok\":true,\"result\":true}",
        )
    });
    let case: Value = serde_json::from_slice(&data("field/telegram-general-topic.json")).unwrap();
    let mut endpoint = case["endpoint"].clone();
    endpoint["api_base"] = format!("http://127.0.0.1:{}", api.port()).into();
    let id = add(&house, endpoint);
    let topic = |id| {
        assert_eq!(test(&house, id)["ok"], true);
        api.posts().last().unwrap().json()["message_thread_id"].clone()
    };
    assert_eq!(topic(id), json!(null));
    for given in [json!("7"), json!(7)] {
        house
            .admin()
            .patch(&format!("/api/notifications/{id}"), &json!({ "thread_id": given }))
            .is(200);
        assert_eq!(topic(id), 7);
    }
}

#[test]
fn a_mail_is_handed_over_encrypted_and_reads_as_it_should() {
    let house = house();
    let office = Office::new();
    let password = house.canary("s3cret");
    assert_eq!(password, LOGIN.1);
    let fields = json!({
        "type": "email", "name": "office", "lang": "ru", "host": "127.0.0.1", "port": office.port, "username": LOGIN.0,
        "password": password, "from": "lamp@example.org", "to": ["ops@example.org", "gone@example.org"],
        "tls_pin": FINGERPRINT,
    });
    let id = add(&house, fields);
    let results = test(&house, id);
    assert_eq!(
        (&results["results"][0]["ok"], &results["results"][1]["ok"]),
        (&json!(true), &json!(false)),
        "{results}"
    );
    assert_eq!(results["results"][0]["answer"], "250 2.0.0 queued as 4F00BA");
    assert!(
        results["results"][1]["answer"]
            .as_str()
            .unwrap()
            .contains("550 5.1.1 no such user"),
        "{results}"
    );
    goes_dark(&house, 1, "web-1");
    let mail = eventually("the mail", || office.mails().get(1).cloned());
    assert_eq!(
        (mail.from.as_str(), mail.to.as_str()),
        ("lamp@example.org", "ops@example.org")
    );
    println!("{}", mail.text);
    assert!(mail.text.is_ascii() && mail.text.lines().all(|l| l.len() <= 76));
    let (head, body) = mail.text.split_once("\r\n\r\n").unwrap();
    for line in [
        "From: Lamplighter <lamp@example.org>",
        "To: <ops@example.org>",
        "MIME-Version: 1.0",
        "Auto-Submitted: auto-generated",
        "Content-Language: ru",
    ] {
        assert!(head.contains(line), "{line}");
    }
    let body = String::from_utf8(unbase64(&body.replace("\r\n", "")).unwrap()).unwrap();
    println!("{body}");
    assert!(
        body.starts_with("🟠 web-1 недоступен: Glances не отвечает\r\nОшибка, с "),
        "{body}"
    );
    let dead = eventually("the other one is dead", || {
        deliveries(&house, "status=dead")
            .into_iter()
            .find(|d| d["recipient"] == "gone@example.org" && d["what"] == "raised")
    });
    assert!(dead["answer"].as_str().unwrap().contains("550"), "{dead}");
    // That it is over belongs to that it began: programs show both as one thread.
    is_lit_again(&house, 1, "web-1");
    let header = |mail: &Mail, name: &str| {
        let line = mail.text.lines().find_map(|l| l.strip_prefix(&format!("{name}: ")));
        line.map(String::from)
    };
    let over = eventually("the other mail", || {
        let mails = office.mails();
        mails.into_iter().find(|m| header(m, "References").is_some())
    });
    let began = header(&mail, "Message-ID").unwrap();
    assert_eq!(
        (header(&mail, "References"), header(&mail, "In-Reply-To")),
        (None, None)
    );
    assert_ne!(header(&over, "Message-ID").unwrap(), began);
    assert_eq!(header(&over, "References").as_ref(), Some(&began), "{}", over.text);
    assert_eq!(header(&over, "In-Reply-To").as_ref(), Some(&began));
    let path = format!("/api/notifications/{id}");
    let answer = house.admin().patch(&path, &json!({ "encryption": "none" }));
    answer.is(422);
    assert_eq!(answer.wrong_fields(), ["encryption"], "a password in clear text");
    house
        .admin()
        .patch(&path, &json!({ "password": "wrong-s3cr3t" }))
        .is(200);
    let told = test(&house, id)["results"][0]["answer"].as_str().unwrap().to_string();
    assert!(told.contains("535") && told.contains("password is wrong"), "{told}");
    for (field, bad) in [
        ("from", json!("lamp@example.org\r\nBcc: x@example.net")),
        ("from", json!("Lamp <lamp@example.org>")),
        ("to", json!(["a@example.org>, <b@example.net"])),
        ("to", json!([])),
        ("host", json!("mail server")),
        ("port", json!(0)),
        ("username", json!("a\r\nb")),
    ] {
        let answer = house.admin().patch(&path, &json!({ field: bad }));
        answer.is(422);
        assert_eq!(answer.wrong_fields(), [field], "{bad}");
    }
}

/// The code of a failure, whether it is final, and whether the mail may be there all the same.
type Fate = Result<String, (&'static str, bool, bool)>;

fn send_mail(port: u16, encryption: Encryption, login: bool, to: &str, patience: Duration) -> Fate {
    let host = Host::parse("127.0.0.1").unwrap();
    let password = Secret::new(LOGIN.1);
    let call = Call {
        host: &host,
        port,
        security: Security::Pinned(Pin::parse(FINGERPRINT).unwrap()),
        policy: Policy::Server,
        connect_max: Duration::from_secs(5),
        until: clock::mono() + patience,
    };
    let letter = Letter {
        encryption,
        hello: Some("lamplighter.example.org"),
        machine: "web-1",
        login: login.then_some((LOGIN.0, &password)),
        from: "lamplighter@example.org",
        to,
        message: "Subject: x\n\n.hidden dot\n",
    };
    smtp::send(&call, &letter).map_err(|e| {
        let shown = format!("{} {}", e.error, base64(LOGIN.1.as_bytes()));
        assert!(!e.error.to_string().contains(LOGIN.1), "{shown}");
        (e.error.code, e.is_final, e.is_unknown)
    })
}

#[test]
fn every_recorded_mail_dialogue_ends_as_it_must() {
    let patience = Duration::from_secs(10);
    for (name, dialogue) in dialogues() {
        let server = Smtp::playing(dialogue);
        let to = if name == "one-of-two-rcpt" {
            "gone@example.org"
        } else {
            "ops@example.org"
        };
        let login = !name.starts_with("auth-required");
        let fate = send_mail(server.port, Encryption::StartTls, login, to, patience);
        let wanted: Fate = match name.as_str() {
            "starttls-auth-plain-ok" | "multi-line-banner" => Ok("250 2.0.0 Ok: queued as 4F00BA".into()),
            "no-starttls-offered" | "ehlo-not-known" => Err(("smtp_no_tls", false, false)),
            "starttls-454" | "greylist-451" | "data-421" => Err(("smtp_refused", false, false)),
            "auth-535" => continue, // with its own password, below
            "auth-required-530" => Err(("smtp_login", true, false)),
            "rcpt-550" | "one-of-two-rcpt" | "data-552" => Err(("smtp_refused", true, false)),
            "drop-in-data" => continue, // below: who waits for its answer is told that it is unknown
            other => panic!("an unknown dialogue {other}"),
        };
        assert_eq!(fate, wanted, "{name}");
        let heard = server.heard().join("\n");
        if matches!(wanted, Err(("smtp_no_tls", ..))) || name == "starttls-454" {
            assert!(
                !heard.contains("AUTH") && !heard.contains("MAIL") && !heard.contains("RCPT"),
                "{name}: {heard}"
            );
        }
        if wanted.is_ok() {
            assert!(heard.contains("Subject: x\r\n\r\n.hidden dot\r\n"), "{name}: {heard}");
            assert!(heard.contains("MAIL FROM:<lamplighter@example.org> SIZE="), "{heard}");
        }
    }
    let find = |wanted: &str| dialogues().into_iter().find(|(name, _)| name == wanted).unwrap().1;
    // Where plain text is allowed, these two work.
    for name in ["no-starttls-offered", "ehlo-not-known"] {
        let server = Smtp::playing(find(name));
        assert!(
            send_mail(server.port, Encryption::Plain, false, "ops@example.org", patience).is_ok(),
            "{name}"
        );
        let heard = server.heard().join("\n");
        assert_eq!(heard.contains("SIZE="), name == "no-starttls-offered", "{heard}");
        let no_login = send_mail(server.port, Encryption::Plain, true, "ops@example.org", patience);
        assert_eq!(no_login, Err(("smtp_no_tls", true, false)), "a password in clear text");
    }
    let wrong: Vec<_> = (find("auth-535").into_iter())
        .map(|(client, line)| {
            (
                client,
                line.replace("AGFsZXJ0cwB3cm9uZw==", &base64(b"\0alerts\0s3cret")),
            )
        })
        .collect();
    let server = Smtp::playing(wrong);
    let fate = send_mail(server.port, Encryption::StartTls, true, "ops@example.org", patience);
    assert_eq!(fate, Err(("smtp_login", true, false)));
    let server = Smtp::playing(find("drop-in-data"));
    let fate = send_mail(
        server.port,
        Encryption::StartTls,
        true,
        "ops@example.org",
        Duration::from_secs(2),
    );
    assert_eq!(fate, Err(("read_timeout", false, true)));
}

#[test]
fn each_way_to_sign_in_that_is_offered_is_tried() {
    let good = dialogues()
        .into_iter()
        .find(|(name, _)| name == "starttls-auth-plain-ok")
        .unwrap()
        .1;
    let at = good
        .iter()
        .position(|(_, line)| line.starts_with("AUTH PLAIN"))
        .unwrap();
    let (both, user, password) = (base64(b"\0alerts\0s3cret"), base64(b"alerts"), base64(b"s3cret"));
    let plain = format!("> AUTH PLAIN {both}");
    let login = [
        "> AUTH LOGIN",
        "< 334 VXNlcm5hbWU6",
        &format!("> {user}"),
        "< 334 UGFzc3dvcmQ6",
        &format!("> {password}"),
    ]
    .join("\n");
    let goes = |said: &[&str]| {
        let lines = said.join("\n");
        let lines = lines.lines().map(|l| (l.starts_with('>'), l[2..].to_string()));
        let dialogue = good[..at]
            .iter()
            .cloned()
            .chain(lines)
            .chain(good[at + 2..].iter().cloned());
        let server = Smtp::playing(dialogue.collect());
        send_mail(
            server.port,
            Encryption::StartTls,
            true,
            "ops@example.org",
            Duration::from_secs(10),
        )
        .map(drop)
    };
    for no in [
        "504 5.5.4 Unrecognized authentication type",
        "535 5.7.8 no",
        "553 5.3.0 Auth failure",
    ] {
        assert_eq!(goes(&[&plain, &format!("< {no}"), &login, "< 235 ok"]), Ok(()), "{no}");
    }
    assert_eq!(goes(&[&plain, "< 334 ", &format!("> {both}"), "< 235 ok"]), Ok(()));
    let twice = goes(&[
        &plain,
        "< 334 ",
        &format!("> {both}"),
        "< 334 ",
        "> *",
        "< 501 cancelled",
        &login,
        "< 235 ok",
    ]);
    assert_eq!(twice, Ok(()));
    // Only when none works is the password to blame; not when no way is known at all, nor for the moment.
    let wrong = Err(("smtp_login", true, false));
    assert_eq!(goes(&[&plain, "< 504 unknown", &login, "< 535 5.7.8 no"]), wrong);
    assert_eq!(
        goes(&[&plain, "< 535 5.7.8 no", "> AUTH LOGIN", "< 504 unknown"]),
        wrong
    );
    assert_eq!(
        goes(&[&plain, "< 504 unknown", "> AUTH LOGIN", "< 504 unknown"]),
        Err(("smtp_refused", true, false))
    );
    assert_eq!(
        goes(&[&plain, "< 454 4.7.0 later"]),
        Err(("smtp_refused", false, false))
    );
}

#[test]
fn a_mail_server_is_greeted_with_a_name_that_it_can_take() {
    let house = house();
    let plain = dialogues()
        .into_iter()
        .find(|(name, _)| name == "no-starttls-offered")
        .unwrap()
        .1;
    let server = Smtp::playing(plain);
    let id = add(
        &house,
        json!({
            "type": "email", "name": "relay", "host": "127.0.0.1", "port": server.port, "encryption": "none",
            "from": "lamplighter@example.org", "to": ["ops@example.org"],
        }),
    );
    let greeting = |public: &str, name: &str| {
        let settings = json!({ "site.public_url": public, "messages.mail_name": name });
        house.admin().put("/api/settings", &settings).is(200);
        assert_eq!(test(&house, id)["ok"], true);
        let heard = server.heard();
        let greeting = heard.iter().rev().find_map(|l| l.strip_prefix("EHLO "));
        greeting.unwrap().to_string()
    };
    assert_eq!(greeting("http://192.0.2.7:8080", ""), "[192.0.2.7]");
    assert_eq!(greeting("http://[2001:db8::7]:8080", ""), "[IPv6:2001:db8::7]");
    assert_eq!(greeting("https://lamp.example.org", ""), "lamp.example.org");
    assert_eq!(
        greeting("https://lamp.example.org", "out.example.net"),
        "out.example.net"
    );
    assert_eq!(greeting("", "2001:db8::1"), "[IPv6:2001:db8::1]");
    // Nothing is known: this machine's own name, or on a wire where that is none the address.
    for public in ["", "http://localhost:8080"] {
        let own = greeting(public, "");
        assert!(own != "localhost" && !own.is_empty(), "{own}");
        let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert!(own.starts_with(hostname.trim()) || own.starts_with('['), "{own}");
    }
}

#[test]
fn addresses_may_be_in_any_script() {
    let house = house();
    let office = Office::new();
    let id = add(
        &house,
        json!({
            "type": "email", "name": "почта", "host": "127.0.0.1", "port": office.port, "username": LOGIN.0,
            "password": LOGIN.1, "from": "lamp@пример.рф", "to": ["ops@ПОЧТА.рф", "пётр@почта.рф"], "tls_pin": FINGERPRINT,
        }),
    );
    assert_eq!(endpoint(&house, id)["to"], json!(["ops@почта.рф", "пётр@почта.рф"]));
    let results = test(&house, id)["results"].clone();
    assert_eq!(
        (&results[0]["ok"], &results[1]["ok"]),
        (&json!(true), &json!(false)),
        "{results}"
    );
    let why = results[1]["answer"].as_str().unwrap();
    assert!(why.contains("SMTPUTF8") && why.contains("пётр@"), "{why}");
    let mail = &office.mails()[0];
    assert_eq!(
        (&*mail.from, &*mail.to),
        ("lamp@xn--e1afmkfd.xn--p1ai", "ops@xn--80a1acny.xn--p1ai")
    );
    assert!(mail.text.is_ascii());
    // Who offers to take it gets it.
    let offers = dialogues()
        .into_iter()
        .find(|(name, _)| name == "starttls-auth-plain-ok")
        .unwrap()
        .1;
    let offers = offers
        .into_iter()
        .map(|(of, line)| (of, line.replace("ENHANCEDSTATUSCODES", "SMTPUTF8")));
    let server = Smtp::playing(offers.collect());
    let to = "пётр@xn--80a1acny.xn--p1ai";
    assert!(send_mail(server.port, Encryption::StartTls, true, to, Duration::from_secs(10)).is_ok());
    let heard = server.heard().join("\n");
    assert!(
        heard.contains("BODY=8BITMIME SMTPUTF8") && heard.contains(&format!("RCPT TO:<{to}>")),
        "{heard}"
    );
    let hook = add(
        &house,
        json!({ "type": "webhook", "name": "hook", "url": "https://hö.example/x" }),
    );
    assert_eq!(endpoint(&house, hook)["address"], "https://xn--h-1ga.example");
    let mut wanted = server_in_its_script();
    let made = house.admin().post("/api/servers", &wanted).is(201);
    assert_eq!(made["host"], "xn--80azckq6c.xn--p1ai");
    assert!(
        house
            .admin()
            .get(&format!("/servers/{}", made["id"]))
            .text()
            .contains("фонарь.рф")
    );
    wanted["name"] = "look-alike".into();
    wanted["host"] = "pаypal.com".into(); // with a Cyrillic а
    house.admin().post("/api/servers", &wanted).is(422);
}

fn server_in_its_script() -> Value {
    let mut wanted = server("lamp", 22);
    wanted["host"] = "фонарь.рф".into();
    wanted
}

#[test]
fn a_mail_server_that_attacks_gets_nothing() {
    let line = |client: bool, text: &str| (client, text.to_string());
    let ehlo = [
        line(false, "220 x"),
        line(true, "EHLO x"),
        line(false, "250-x"),
        line(false, "250 STARTTLS"),
        line(true, "STARTTLS"),
    ];
    let cases: Vec<(&str, Vec<(bool, String)>)> = vec![
        // CVE-2011-0411: words put behind the reply, to be taken for the server's own.
        (
            "smtp_injected",
            [&ehlo[..], &[line(false, "220 go\r\n250 AUTH PLAIN")]].concat(),
        ),
        ("smtp_not_spoken", vec![line(false, "HTTP/1.1 400 Bad Request")]),
        ("smtp_not_spoken", vec![line(false, &"220-more\r\n".repeat(100))]),
        (
            "smtp_not_spoken",
            vec![line(false, &format!("220 {}", "x".repeat(10_000)))],
        ),
        ("smtp_not_spoken", vec![line(false, "220-a\r\n250 b")]),
        ("smtp_not_spoken", vec![line(false, "999 hello")]),
        ("smtp_refused", vec![line(false, "554 go away")]),
    ];
    for (code, dialogue) in cases {
        let server = Smtp::playing(dialogue);
        let fate = send_mail(
            server.port,
            Encryption::StartTls,
            true,
            "ops@example.org",
            Duration::from_secs(5),
        );
        assert_eq!(fate.unwrap_err().0, code);
        assert!(!server.heard().join("").contains("AUTH"));
    }
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let began = Instant::now();
    let fate = send_mail(
        silent.local_addr().unwrap().port(),
        Encryption::StartTls,
        true,
        "a@b",
        Duration::from_secs(1),
    );
    assert_eq!(fate, Err(("read_timeout", false, false)));
    assert!(began.elapsed() < Duration::from_secs(3));
}

#[test]
fn a_proxy_makes_the_tunnel_and_never_sees_the_path() {
    let target = Receiver::over(true, |_| answer("200 OK", "", b"through"));
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = seen.clone();
    let to = target.port();
    // As much of a proxy as it takes: it reads CONNECT, answers, and copies both ways.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy_port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        use std::io::{Read, Write};
        for mut client in listener.incoming().map_while(Result::ok) {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if client.read(&mut byte).unwrap_or(0) == 0 {
                    break;
                }
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap();
            kept.lock().unwrap().push(head.clone());
            if !head.contains("Proxy-Authorization: Basic dTpw\r\n") {
                let _ = client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
                continue;
            }
            let mut upstream = std::net::TcpStream::connect(("127.0.0.1", to)).unwrap();
            client
                .write_all(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n")
                .unwrap();
            let (mut from, mut back) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
            thread::spawn(move || std::io::copy(&mut from, &mut upstream));
            thread::spawn(move || std::io::copy(&mut back, &mut client));
        }
    });
    let host = Host::parse("127.0.0.1").unwrap();
    let send = |authorization: Option<Secret>, policy: Policy| {
        let call = Call {
            host: &host,
            port: to,
            security: Security::Pinned(Pin::parse(FINGERPRINT).unwrap()),
            policy,
            connect_max: Duration::from_secs(5),
            until: clock::mono() + Duration::from_secs(10),
        };
        let proxy = Proxy {
            host: Host::parse("127.0.0.1").unwrap(),
            port: proxy_port,
            authorization,
        };
        let request = Request {
            method: Method::Post,
            path: &Secret::new("/bot1:secret/sendMessage"),
            content_type: "application/json",
            headers: &[],
            body: b"{}",
            route: Route::Proxy(&proxy),
        };
        http::send(&call, &request, EXCUSE_MAX)
    };
    let said = send(Some(get::basic("u", &Secret::new("p"))), Policy::Server).unwrap();
    assert_eq!((said.status, said.body.as_slice()), (200, b"through".as_slice()));
    assert_eq!(target.posts()[0].path(), "/bot1:secret/sendMessage");
    assert!(seen.lock().unwrap()[0].starts_with(&format!("CONNECT 127.0.0.1:{to} HTTP/1.1\r\n")));
    assert_eq!(send(None, Policy::Server).unwrap_err().code, "proxy_login");
    assert_eq!(send(None, Policy::Public).unwrap_err().code, "address_refused");
    assert!(!seen.lock().unwrap().join("").contains("secret"));
}

// ---- the endpoint of the environment, clean-up, pages --------------------------------------------------------------------

#[test]
fn the_environment_makes_an_endpoint_until_a_person_changes_it() {
    let api = telegram::new();
    let (token, other) = ("7:an-environment-token-c4n4ry", "8:another-environment-token");
    let env = [
        ("TELEGRAM_BOT_TOKEN", token),
        ("TELEGRAM_CHAT_ID", "424242, -1001234567890"),
    ];
    let mut house = House::with(Processes::One, &env);
    house.canary(token);
    house.canary(other);
    open(&house);
    let all = |house: &House| {
        house.admin().get("/api/notifications").is(200)["items"]
            .as_array()
            .unwrap()
            .clone()
    };
    let seeded = all(&house)[0].clone();
    assert_eq!(
        (&seeded["type"], &seeded["from_environment"], &seeded["has_token"]),
        (&json!("telegram"), &json!(true), &json!(true))
    );
    assert_eq!(seeded["chats"], json!(["424242", "-1001234567890"]));
    // It follows the environment …
    house.set_env("TELEGRAM_BOT_TOKEN", other);
    house.set_env("LAMPLIGHTER_TELEGRAM_CHAT_ID", "777");
    house.set_env("TELEGRAM_CHAT_ID", "777");
    house.restart_first(true);
    let followed = all(&house)[0].clone();
    assert_eq!((&followed["chats"], &followed["id"]), (&json!(["777"]), &seeded["id"]));
    // … until somebody says something else.
    let path = format!("/api/notifications/{}", seeded["id"]);
    let base = format!("http://127.0.0.1:{}", api.port());
    let own = json!({ "chats": ["424242"], "token": telegram::TOKEN, "api_base": base });
    house.admin().patch(&path, &own).is(200);
    house.restart_first(true);
    let kept = all(&house)[0].clone();
    assert_eq!(
        (&kept["chats"], &kept["from_environment"]),
        (&json!(["424242"]), &json!(false))
    );
    assert_eq!(
        test(&house, seeded["id"].as_i64().unwrap())["ok"],
        true,
        "with the token of the page"
    );
    // What was removed does not come back.
    assert_eq!(house.admin().delete(&path).status, 204);
    house.restart_first(true);
    assert_eq!(all(&house), Vec::<Value>::new());
    let alone = finish(
        {
            let mut command = lamplighter(&["check-config", "--data-dir", house.dir()]);
            command.env("TELEGRAM_BOT_TOKEN", token);
            command
        },
        "",
    );
    assert_eq!(alone.status.code(), Some(78));
    assert!(
        said(&alone).contains("TELEGRAM_CHAT_ID") && !said(&alone).contains(token),
        "{}",
        said(&alone)
    );
}

#[test]
fn two_processes_send_once() {
    let house = House::with(Processes::Two, &[]);
    open(&house);
    let hook = hook();
    let id = add_webhook(&house, "machine", &hook);
    assert_eq!(test(&house, id)["ok"], true);
    for id in 1..=5 {
        goes_dark(&house, id, "web");
    }
    posts("all", &hook, 6);
    thread::sleep(Duration::from_millis(500));
    assert_eq!(hook.posts().len(), 6);
}

#[test]
fn old_deliveries_are_cleaned_up_and_what_is_too_old_is_given_up() {
    let mut house = house();
    let hook = hook();
    let id = add_webhook(&house, "machine", &hook);
    goes_dark(&house, 1, "web-1");
    posts("it", &hook, 1);
    eventually("it is sent", || {
        (deliveries(&house, "status=sent").len() == 1).then_some(())
    });
    hook.then([
        Turn::Say(answer("503 X", "", b"later")),
        Turn::Say(answer("503 X", "", b"later")),
    ]);
    goes_dark(&house, 2, "web-2");
    eventually("it waits", || {
        (deliveries(&house, "status=queued").first()?["attempts"].as_i64()? > 0).then_some(())
    });
    let db = house.database("lamplighter.db");
    db.execute(
        "UPDATE notification_queue SET since = since - 25 * 3600000 WHERE status = 'queued'",
        [],
    )
    .unwrap();
    let dead = eventually("it is given up", || deliveries(&house, "status=dead").first().cloned());
    assert!(
        dead["answer"]
            .as_str()
            .unwrap()
            .starts_with("Given up: too old. The last answer was: 503"),
        "{dead}"
    );
    db.execute(
        "UPDATE notification_queue SET ended_at = ended_at - ?1 WHERE status = 'sent'",
        [31 * DAY],
    )
    .unwrap();
    drop(db);
    house.restart_first(true);
    eventually("the old one is gone", || {
        (deliveries(&house, "").len() == 1).then_some(())
    });
    assert_eq!(house.admin().delete(&format!("/api/notifications/{id}")).status, 204);
    assert_eq!(deliveries(&house, ""), Vec::<Value>::new());
}

#[test]
fn the_pages_work_without_script_in_both_languages() {
    let house = house();
    let api = telegram::new();
    let signed_in = house.sign_in(ADMIN, &house.password);
    let who = Who::cookie(&signed_in, house.address);
    let browser = house.client().by(who);
    house.canary(telegram::TOKEN.split_once(':').unwrap().1);
    let form = |token: &str, chats: &str| {
        format!(
            "type=telegram&name=On+call&lang=en&token={token}&chats={chats}&thread_id=&parse_mode=html&api_base=http%3A%2F%2F127.0.0.1%3A{}&proxy=&proxy_user=&password=&tls_pin=&min_level=WARNING&tags=&enabled=on&events=server.unreachable&events=deploy.ok",
            api.port()
        )
    };
    for kind in ["telegram", "email", "slack", "webhook"] {
        let page = browser.get(&format!("/notifications/new?type={kind}"));
        assert_eq!(page.status, 200, "{}", page.text());
    }
    assert_eq!(browser.get("/notifications/new?type=pigeon").status, 404);
    let refused = browser.form("/notifications", &form("nonsense-c4n4ry", ""));
    assert_eq!(refused.status, 422);
    let text = refused.text();
    assert!(
        text.contains("Give at least one chat") && text.contains("@BotFather gave it"),
        "{text}"
    );
    assert!(!text.contains("nonsense-c4n4ry") && text.contains("value=\"On call\""));
    let made = browser.form("/notifications", &form(telegram::TOKEN, "424242%2C+1"));
    assert_eq!(made.status, 303, "{}", made.text());
    let at = made.header("location").unwrap().to_string();
    let shown = browser.get(&at).text();
    assert!(
        shown.contains("value=\"424242, 1\"") && shown.contains("name=\"events\" value=\"deploy.ok\" checked"),
        "{shown}"
    );
    let tested = browser.form(&format!("{at}/test"), "");
    assert_eq!(tested.status, 303, "{}", tested.text());
    let result = browser.get(tested.header("location").unwrap()).text();
    assert!(
        result.contains("200 ok, message 101") && result.contains("400 Bad Request: chat not found"),
        "{result}"
    );
    // A form without the secret keeps it; an unticked box switches off.
    let kept = browser.form(&at, &form("", "424242").replace("&enabled=on", ""));
    assert_eq!(kept.status, 303, "{}", kept.text());
    let id: i64 = at.rsplit('/').next().unwrap().parse().unwrap();
    let now = endpoint(&house, id);
    assert_eq!(
        (&now["enabled"], &now["has_token"], &now["events"]),
        (&json!(false), &json!(true), &json!(["server.unreachable", "deploy.ok"]))
    );
    browser.form(&at, &form("", "13"));
    goes_dark(&house, 1, "web-1");
    eventually("a dead letter", || {
        deliveries(&house, "status=dead")
            .into_iter()
            .find(|d| d["what"] == "raised")
    });
    let log = browser.get("/notifications/log?status=dead").text();
    assert!(
        log.contains("bot was blocked by the user") && log.contains("/resend\""),
        "{log}"
    );
    let resend = log
        .split("action=\"")
        .find(|p| p.contains("/resend\""))
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    assert_eq!(browser.form(resend, "").status, 303);
    for lang in ["ru", "en"] {
        browser.form("/prefs", &format!("lang={lang}&back=/"));
        for path in [
            "/notifications",
            "/notifications/log",
            "/notifications/log?status=dead",
            &at,
            &format!("{at}/delete"),
        ] {
            let page = browser.get(path);
            assert_eq!(page.status, 200, "{path}");
            assert!(page.text().contains(&format!("<html lang=\"{lang}\"")), "{path}");
            assert!(!page.text().contains(telegram::TOKEN));
        }
    }
    let viewer = {
        let password = house.account("looker", "viewer");
        let answer = house.sign_in("looker", &password);
        house.client().by(Who::cookie(&answer, house.address))
    };
    assert_eq!(
        (viewer.get("/notifications").status, viewer.get(&at).status),
        (200, 403)
    );
    assert_eq!(browser.form(&format!("{at}/delete"), "").status, 303);
    assert_eq!(browser.get(&at).status, 404);
}

#[test]
fn settings_of_an_endpoint_are_checked_and_its_secrets_only_go_in() {
    let house = house();
    let admin = house.admin();
    let hook = hook();
    let id = add_webhook(&house, "machine", &hook);
    let shown = endpoint(&house, id);
    assert_eq!((&shown["has_url"], &shown["has_secret"]), (&json!(true), &json!(true)));
    assert!(!shown.to_string().contains("c4n4ry") && !shown.to_string().contains(HMAC));
    // What the API gives may be sent back.
    assert_eq!(
        admin.put(&format!("/api/notifications/{id}"), &shown).is(200)["name"],
        "machine"
    );
    admin
        .post("/api/notifications", &json!({ "type": "pigeon", "name": "x" }))
        .is(422);
    admin.post("/api/notifications", &json!({ "name": "x" })).is(422);
    let taken = json!({ "type": "webhook", "name": "MACHINE", "url": "https://example.org/x" });
    admin.post("/api/notifications", &taken).fails(409, "duplicate");
    for (field, bad) in [
        ("url", "example.org"),
        ("url", "https://u:p4ssw0rd@/"),
        ("secret", "short"),
        ("tls_pin", "ab"),
    ] {
        let answer = admin.patch(&format!("/api/notifications/{id}"), &json!({ field: bad }));
        answer.is(422);
        assert_eq!(answer.wrong_fields(), [field]);
        assert!(!answer.text().contains("p4ssw0rd"), "{}", answer.text());
    }
    admin
        .patch(&format!("/api/notifications/{id}"), &json!({ "url": null }))
        .is(422);
    admin
        .patch(&format!("/api/notifications/{id}"), &json!({ "secret": null }))
        .is(200);
    assert_eq!(endpoint(&house, id)["has_secret"], false);
    let viewer = house.somebody("viewer");
    viewer.get("/api/notifications").is(200);
    viewer.post("/api/notifications", &taken).fails(403, "forbidden");
    viewer
        .post(&format!("/api/notifications/{id}/test"), &json!({}))
        .fails(403, "forbidden");
    for n in 1..32 {
        add(
            &house,
            json!({ "type": "slack", "name": format!("s{n}"), "url": "https://example.org/x" }),
        );
    }
    let full = json!({ "type": "slack", "name": "one more", "url": "https://example.org/x" });
    admin.post("/api/notifications", &full).fails(409, "too_many_endpoints");
    for bad in ["status=odd", "endpoint=x", "limit=0"] {
        admin.get(&format!("/api/notifications/deliveries?{bad}")).is(422);
    }
    admin.get("/api/notifications/999").fails(404, "not_found");
    admin
        .post("/api/notifications/999/test", &json!({}))
        .fails(404, "not_found");
}

// ---- any text at all -----------------------------------------------------------------------------------------------------

/// What a markup or a length might break at.
trait Text {
    fn text(&mut self, length_max: usize) -> String;
}

impl Text for Dice {
    fn text(&mut self, length_max: usize) -> String {
        const PIECES: [&str; 28] = [
            "a",
            "Z",
            " ",
            "🚨",
            "👩‍👩‍👧",
            "é",
            "й",
            "漢",
            "<",
            ">",
            "&",
            "&amp;",
            "</b>",
            "<b>",
            "*",
            "_",
            "`",
            "\\",
            "[x](y)",
            ".",
            "!",
            "#",
            "~",
            "|",
            "-",
            "1.",
            "\u{10ffff}",
            "=",
        ];
        let n = self.roll(length_max);
        (0..n).map(|_| PIECES[self.roll(PIECES.len())]).collect()
    }
}

#[test]
fn no_text_breaks_the_markup_or_the_length() {
    let mut dice = Dice::new(1);
    let mut cut = 0;
    for round in 0..rounds(3_000) {
        let long = if round % 10 == 0 { 4_000 } else { 60 };
        let message = Message {
            mark: "🔴",
            tag: "CRITICAL",
            title: dice.text(long),
            lines: (0..dice.roll(4)).map(|_| dice.text(long)).collect(),
            evidence: (0..dice.roll(12)).map(|_| dice.text(long)).collect(),
            link: (dice.roll(2) == 0).then(|| format!("https://lamp.example.org/{}", dice.roll(1_000))),
        };
        let fitted = message.fit(4_096).plain();
        assert!(units(&fitted) <= 4_096);
        let whole = units(&message.plain()) <= 4_096;
        assert_eq!(whole, fitted == message.plain(), "cut without need, or not at all");
        cut += usize::from(!whole);
        for mode in ["none", "html", "markdown"] {
            let (text, name) = render(&message, mode);
            let mut body = json!({ "text": text });
            if let Some(name) = name {
                body["parse_mode"] = name.into();
            }
            let shown = telegram::plain(&body).unwrap_or_else(|e| panic!("{mode}: {e}\n{text}"));
            assert_eq!(shown, fitted, "{mode}");
        }
        let (text, max) = (dice.text(50), dice.roll(60));
        let short = cut_units(&text, max);
        assert!(units(&short) <= max);
        assert!(text.starts_with(short.trim_end_matches('…')));
    }
    assert!(cut > 50, "only {cut} were too long");
    let exact = |n: usize| "x".repeat(n);
    assert_eq!(cut_units(&exact(4_096), 4_096), exact(4_096));
    assert_eq!(cut_units("🚨🚨", 3), "🚨…");
    assert_eq!(cut_units("🚨🚨", 2), "…");
    assert_eq!((cut_units("ab", 0).as_str(), units("🚨")), ("", 2));
    assert_eq!((Level::parse("ERROR"), What::Test.name()), (Some(Level::Error), "test"));
}
