//! The watch over name servers from outside: states, texts, alerts, notifications.

use crate::{common, fake};

use common::*;
use fake::dns::NameServer;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A house that asks this name server.
fn house_asking(dns: &NameServer) -> House {
    let house = House::new();
    let resolvers = json!({ "dns.resolvers": dns.address.to_string() });
    house.admin().put("/api/settings", &resolvers).is(200);
    house
}

fn add(house: &House, name: &str, policy: &str) -> i64 {
    let draft = json!({ "domain": name, "ns_policy": policy });
    house.admin().post("/api/domains", &draft).is(201)["id"]
        .as_i64()
        .unwrap()
}

fn verify(house: &House, id: i64) -> Value {
    house
        .admin()
        .post(&format!("/api/domains/{id}/verify-dns"), &json!({}))
        .is(200)
}

fn domain(house: &House, id: i64) -> Value {
    house.admin().get(&format!("/api/domains/{id}")).is(200)
}

fn history(house: &House, id: i64) -> Vec<Value> {
    let list = house.admin().get(&format!("/api/domains/{id}/ns-checks")).is(200);
    list["items"].as_array().unwrap().clone()
}

fn alerts(house: &House, query: &str) -> Vec<Value> {
    let list = house.admin().get(&format!("/api/alerts?{query}")).is(200);
    list["items"].as_array().unwrap().clone()
}

#[track_caller]
fn open_alerts(house: &House, expected: &[(&str, &str)]) -> Vec<Value> {
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    eventually(&format!("open alerts are {expected:?}"), || {
        let open = alerts(house, "state=open");
        let mut kinds: Vec<_> = open
            .iter()
            .map(|a| (a["kind"].as_str().unwrap(), a["level"].as_str().unwrap()))
            .collect();
        kinds.sort_unstable();
        (kinds == expected).then(|| open.clone())
    })
}

fn events(house: &House, kind: &str) -> Vec<Value> {
    let db = house.database("lamplighter.db");
    let mut statement = db
        .prepare("SELECT data FROM events WHERE kind = ?1 ORDER BY id")
        .unwrap();
    let rows = statement.query_map([kind], |r| r.get::<_, String>(0)).unwrap();
    rows.map(|text| serde_json::from_str(&text.unwrap()).unwrap()).collect()
}

/// Makes every check this old and restarts the watch.
fn later(house: &mut House) {
    let db = house.database("lamplighter.db");
    db.execute(
        "UPDATE ns_checks SET last_at = last_at - 3600000, first_at = first_at - 3600000",
        [],
    )
    .unwrap();
    drop(db);
    house.restart_first(true);
}

const GOOD: [&str; 2] = ["f1g1ns1.dnspod.net.", "f1g1ns2.dnspod.net."];

#[test]
fn the_watch_looks_by_itself_and_wakes_somebody_once_when_the_servers_are_foreign() {
    let dns = NameServer::of_fixtures();
    let mut house = house_asking(&dns);
    let id = add(&house, "shop-one.example", "dnspod");
    assert_eq!(domain(&house, id)["ns_state"], "unknown");
    house.restart_first(true);
    eventually("the first look", || {
        (domain(&house, id)["ns_state"] == "ok").then_some(())
    });
    open_alerts(&house, &[]);

    dns.set("shop-one.example.", json!({ "NS": [GOOD[0], "ns1.thief.example."] }));
    later(&mut house);
    let alert = open_alerts(&house, &[("ns.mismatch", "ERROR")]).remove(0);
    assert_eq!(
        alert["target"],
        json!({ "type": "domain", "id": id, "name": "shop-one.example" })
    );
    let evidence = alert["evidence"].to_string();
    assert!(
        evidence.contains("ns1.thief.example") && evidence.contains("dnspod"),
        "{evidence}"
    );
    let seen = domain(&house, id);
    assert_eq!(seen["ns_state"], "mismatch");
    assert!(seen["ns_say"].as_str().unwrap().contains("ns1.thief.example"), "{seen}");

    // Unchanged: one row counts up, and no notification is sent.
    later(&mut house);
    let rows = eventually("the second look", || {
        Some(history(&house, id)).filter(|rows| rows[0]["count"] == 2)
    });
    assert_eq!(
        rows.iter().map(|r| r["state"].as_str().unwrap()).collect::<Vec<_>>(),
        ["mismatch", "ok"]
    );
    assert!(rows[0]["first_at"].as_str() < rows[0]["last_at"].as_str());
    assert_eq!(events(&house, "ns.mismatch").len(), 1);
    assert_eq!(open_alerts(&house, &[("ns.mismatch", "ERROR")])[0]["count"], 1);
    // Not due yet: the interval is 15 minutes.
    let asked = dns.asked().len();
    house.restart_first(true);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(dns.asked().len(), asked);

    dns.set("shop-one.example.", json!({ "NS": GOOD }));
    later(&mut house);
    open_alerts(&house, &[]);
    assert_eq!(domain(&house, id)["ns_state"], "ok");
    assert_eq!(
        (events(&house, "ns.recovered").len(), events(&house, "ns.changed").len()),
        (1, 2)
    );
    assert_eq!(history(&house, id).len(), 3);
}

#[test]
fn one_failed_look_is_no_news_two_are_and_a_foreign_server_afterwards_is_another_alert() {
    let dns = NameServer::of_fixtures();
    let house = house_asking(&dns);
    let id = add(&house, "shop-one.example", "dnspod");
    assert_eq!(verify(&house, id)["ns_ok"], true);
    dns.rule("shop-one.example.", json!({ "rcode": "SERVFAIL" }));
    let answer = verify(&house, id);
    assert_eq!(
        (&answer["ns_ok"], &answer["ns_code"]),
        (&json!(false), &json!("servfail"))
    );
    assert!(answer["reason"].as_str().unwrap().contains("SERVFAIL"), "{answer}");
    assert_eq!(domain(&house, id)["ns_state"], "ok", "what was known stays known");
    // Another kind of failure is a failure, too.
    dns.rule("shop-one.example.", json!({ "rcode": "REFUSED" }));
    verify(&house, id);
    let alert = open_alerts(&house, &[("ns.resolve_failed", "WARNING")]).remove(0);
    assert!(alert["evidence"].to_string().contains("REFUSED"), "{alert}");
    assert_eq!(domain(&house, id)["ns_state"], "error");
    verify(&house, id);
    assert_eq!(events(&house, "ns.resolve_failed").len(), 1);

    dns.rule("shop-one.example.", Value::Null);
    dns.set("shop-one.example.", json!({ "NS": ["ns1.thief.example."] }));
    verify(&house, id);
    open_alerts(&house, &[("ns.mismatch", "ERROR")]);
    // While no name server answers, the mismatch stays.
    dns.rule("shop-one.example.", json!({ "nodata": true }));
    verify(&house, id);
    verify(&house, id);
    open_alerts(&house, &[("ns.mismatch", "ERROR"), ("ns.resolve_failed", "WARNING")]);
    dns.rule("shop-one.example.", Value::Null);
    dns.set("shop-one.example.", json!({ "NS": GOOD }));
    verify(&house, id);
    open_alerts(&house, &[]);
    assert_eq!(events(&house, "ns.recovered").len(), 1);
}

#[test]
fn a_set_that_flaps_is_one_alert_for_each_change() {
    let dns = NameServer::of_fixtures();
    let house = house_asking(&dns);
    let id = add(&house, "flap.example", "dnspod");
    let states: Vec<_> = (0..5).map(|_| verify(&house, id)["ns_state"].clone()).collect();
    assert_eq!(states, ["ok", "mismatch", "ok", "mismatch", "ok"]);
    open_alerts(&house, &[]);
    let resolved = eventually("both are resolved", || {
        Some(alerts(&house, "state=resolved")).filter(|a| a.len() == 2)
    });
    assert!(
        resolved.iter().all(|a| a["kind"] == "ns.mismatch" && a["count"] == 1),
        "{resolved:?}"
    );
    assert_eq!(events(&house, "ns.changed").len(), 4);
}

#[test]
fn without_a_policy_only_a_change_is_told() {
    let dns = NameServer::of_fixtures();
    let house = house_asking(&dns);
    let id = add(&house, "foreign.example", "");
    assert_eq!(verify(&house, id)["ns_ok"], true);
    // The order of an answer is no change, and neither is a failure between two equal answers.
    dns.set("foreign.example.", json!({ "NS": ["NS2.reg.ru.", "ns1.REG.ru."] }));
    verify(&house, id);
    dns.rule("foreign.example.", json!({ "rcode": "SERVFAIL" }));
    verify(&house, id);
    dns.rule("foreign.example.", Value::Null);
    verify(&house, id);
    assert_eq!(events(&house, "ns.changed"), Vec::<Value>::new());
    dns.set("foreign.example.", json!({ "NS": ["ns1.other.example."] }));
    let answer = verify(&house, id);
    assert_eq!(
        (&answer["ns_ok"], &answer["ns"]),
        (&json!(true), &json!(["ns1.other.example"]))
    );
    let changed = events(&house, "ns.changed").remove(0);
    assert_eq!(changed["name"], "foreign.example");
    let evidence = changed["evidence"].to_string();
    assert!(
        evidence.contains("ns1.reg.ru, ns2.reg.ru") && evidence.contains("ns1.other.example"),
        "{evidence}"
    );
    open_alerts(&house, &[]);
    // A policy is held against at the next look, and another name is another story.
    let path = format!("/api/domains/{id}");
    house
        .admin()
        .patch(&path, &json!({ "ns_policy": "suffix:reg.ru" }))
        .is(200);
    assert_eq!(verify(&house, id)["ns_ok"], false);
    house
        .admin()
        .patch(&path, &json!({ "domain": "shop-one.example", "ns_policy": "" }))
        .is(200);
    assert_eq!(verify(&house, id)["ns_ok"], true);
    assert_eq!(events(&house, "ns.changed").len(), 1);
    open_alerts(&house, &[]);
}

#[test]
fn a_changed_policy_is_looked_at_soon_and_a_deleted_domain_takes_its_alert_along() {
    let dns = NameServer::of_fixtures();
    let mut house = house_asking(&dns);
    let id = add(&house, "foreign.example", "");
    verify(&house, id);
    house
        .admin()
        .patch(&format!("/api/domains/{id}"), &json!({ "ns_policy": "dnspod" }))
        .is(200);
    house.restart_first(true); // a beat, though the last look is a moment old
    open_alerts(&house, &[("ns.mismatch", "ERROR")]);
    assert_eq!(house.admin().delete(&format!("/api/domains/{id}")).status, 204);
    open_alerts(&house, &[]);
    house
        .admin()
        .get(&format!("/api/domains/{id}/ns-checks"))
        .fails(404, "not_found");
}

#[test]
fn a_look_on_demand_tells_addresses_name_servers_and_what_is_wrong() {
    let dns = NameServer::of_fixtures();
    let house = house_asking(&dns);
    let admin = house.admin();
    let door = Door::new(1);
    let mut draft = server("web", door.port);
    draft["public_ips"] = json!(["198.51.100.10", "2001:db8::10"]);
    let server = admin.post("/api/servers", &draft).is(201)["id"].clone();
    let draft = json!({ "domain": "shop-one.example", "ns_policy": "dnspod", "server_ids": [server] });
    let id = admin.post("/api/domains", &draft).is(201)["id"].as_i64().unwrap();
    let answer = verify(&house, id);
    let expected = json!({
        "id": id, "domain": "shop-one.example", "ok": true, "addresses": ["198.51.100.10"],
        "expected": ["198.51.100.10", "2001:db8::10"], "ns": ["f1g1ns1.dnspod.net", "f1g1ns2.dnspod.net"],
        "zone": "shop-one.example", "policy": "dnspod", "ns_ok": true, "ns_state": "ok", "ns_code": "ok", "reason": "",
        "evidence": ["shop-one.example: 198.51.100.10.", "Name servers of shop-one.example: f1g1ns1.dnspod.net, f1g1ns2.dnspod.net."],
    });
    assert_eq!(answer, expected);
    // IPv6 is tried first: one old address is enough.
    dns.set(
        "shop-one.example.",
        json!({ "NS": GOOD, "A": ["198.51.100.10"], "AAAA": ["2001:db8::99"] }),
    );
    let answer = verify(&house, id);
    assert_eq!((&answer["ok"], &answer["ns_ok"]), (&json!(false), &json!(true)));
    assert!(answer["reason"].as_str().unwrap().contains("2001:db8::99"), "{answer}");
    dns.remove("shop-one.example.");
    let answer = verify(&house, id);
    assert_eq!(
        (&answer["ok"], &answer["addresses"], &answer["ns_code"]),
        (&json!(false), &json!([]), &json!("nxdomain"))
    );
    assert!(
        answer["reason"].as_str().unwrap().contains("does not exist"),
        "{answer}"
    );

    let path = format!("/api/domains/{id}/verify-dns");
    house.somebody("viewer").post(&path, &json!({})).fails(403, "forbidden");
    admin
        .post("/api/domains/999/verify-dns", &json!({}))
        .fails(404, "not_found");
    admin.post(&path, &json!({ "now": true })).is(422);
}

#[test]
fn many_are_verified_at_once_and_a_silent_one_holds_up_nobody() {
    let dns = NameServer::of_fixtures();
    let house = house_asking(&dns);
    let admin = house.admin();
    let names = [
        "shop-one.example",
        "silent.example",
        "mixed.example",
        "кириллица.рф",
        "gone.example",
        "Bücher.example",
    ];
    let mut ids: Vec<i64> = names.iter().map(|name| add(&house, name, "dnspod")).collect();
    ids.push(999);
    let started = Instant::now();
    let answer = admin.post("/api/domains/verify-dns", &json!({ "ids": ids })).is(200);
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    let items = answer["items"].as_array().unwrap();
    assert_eq!(items.iter().map(|i| i["id"].as_i64().unwrap()).collect::<Vec<_>>(), ids);
    let codes: Vec<_> = items.iter().map(|i| i["ns_code"].as_str().unwrap_or("-")).collect();
    assert_eq!(codes, ["ok", "timeout", "mismatch", "ok", "nxdomain", "ok", "-"]);
    assert_eq!(items[6]["error_code"], "not_found");
    for bad in [
        json!({}),
        json!({ "ids": [] }),
        json!({ "ids": "x" }),
        json!({ "ids": (1..=201).collect::<Vec<_>>() }),
    ] {
        let answer = admin.post("/api/domains/verify-dns", &bad);
        answer.is(422);
        assert_eq!(answer.wrong_fields(), ["ids"], "{bad}");
    }
}

#[test]
fn a_beat_with_silent_names_in_it_sees_all_the_others_at_once() {
    let dns = NameServer::of_fixtures();
    let mut house = house_asking(&dns);
    for n in 0..4 {
        let name = format!("silent{n}.example");
        dns.rule(&format!("{name}."), json!({ "drop": "all" }));
        add(&house, &name, "");
    }
    for n in 0..12 {
        dns.set(&format!("n{n}.example."), json!({ "NS": ["ns1.example."] }));
        add(&house, &format!("n{n}.example"), "");
    }
    house.restart_first(true);
    let seen = |house: &House, state: &str| -> i64 {
        let db = house.database("lamplighter.db");
        let sql = "SELECT count(*) FROM ns_checks WHERE state = ?1";
        db.query_row(sql, [state], |r| r.get(0)).unwrap()
    };
    // The silent ones were first, and none of them is finished.
    eventually("the twelve", || (seen(&house, "ok") == 12).then_some(()));
    assert_eq!(seen(&house, "error"), 0);
    // The four are still waited for; a stop does not wait for them.
    let started = Instant::now();
    house.stop();
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    house.start();
}

#[test]
fn history_is_forgotten_in_time_but_never_the_newest_result() {
    let dns = NameServer::of_fixtures();
    let mut house = house_asking(&dns);
    let id = add(&house, "flap.example", "dnspod");
    for _ in 0..3 {
        verify(&house, id);
    }
    let path = format!("/api/domains/{id}/ns-checks");
    let page = house.admin().get(&format!("{path}?limit=1&offset=1")).is(200);
    assert_eq!(
        (&page["total"], &page["items"][0]["state"]),
        (&json!(3), &json!("mismatch"))
    );
    assert_eq!(page["items"][0]["ns"], json!(["ns1.foreign.example"]));
    let year = 366 * 86_400_000_i64;
    let db = house.database("lamplighter.db");
    db.execute(
        "UPDATE ns_checks SET first_at = first_at - ?1, last_at = last_at - ?1",
        [year],
    )
    .unwrap();
    db.execute("UPDATE domains SET removing = 1", []).unwrap(); // so that nobody looks now
    drop(db);
    house.restart_first(true);
    let rows = eventually("two are forgotten", || {
        Some(history(&house, id)).filter(|rows| rows.len() == 1)
    });
    assert_eq!(rows[0]["state"], "ok");
}

#[test]
fn from_the_pages_it_is_one_form_without_script() {
    let dns = NameServer::of_fixtures();
    let house = house_asking(&dns);
    let id = add(&house, "mixed.example", "dnspod");
    let client = house
        .client()
        .by(Who::cookie(&house.sign_in(ADMIN, &house.password), house.address));
    let token = client.get("/prefs").text();
    let token = token
        .split_once("name=\"csrf\" value=\"")
        .unwrap()
        .1
        .split_once('"')
        .unwrap()
        .0;
    let answer = client.form(&format!("/domains/{id}/verify-dns"), &format!("csrf={token}"));
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, Some(format!("/domains/{id}#nameservers").as_str()))
    );
    assert_eq!(history(&house, id).len(), 1);
    let page = client.get(&format!("/domains/{id}")).text();
    let (_, card) = page
        .split_once("id=\"nameservers\"")
        .expect("the card on the domain's page");
    for text in [
        "1 of 2 does not fit",
        "reg.<wbr>ru",
        "Check again",
        "Each must have <code>dnspod</code> in its name",
    ] {
        assert!(card.contains(text), "{text}: {card}");
    }
    // Several from the list: one page tells of all.
    let other = add(&house, "shop-one.example", "dnspod");
    let form = format!("csrf={token}&q=&ids={id}&ids={other}&ids=999");
    let page = client.form("/domains/verify-dns", &form);
    assert_eq!(page.status, 200);
    for text in [
        "2 of 3 are not as they must be",
        "1 of 2 does not fit the policy",
        "ns1.reg.ru",
        "There is nothing at this address",
    ] {
        assert!(page.text().contains(text), "{text}: {}", page.text());
    }
    let answer = client.form("/domains/verify-dns", &format!("csrf={token}&ids=x"));
    assert_eq!((answer.status, answer.header("location")), (303, Some("/domains")));
}

#[test]
fn silent_resolvers_are_one_alert_and_no_word_about_any_domain() {
    let dns = NameServer::of_fixtures();
    let mut house = house_asking(&dns);
    let ids = ["shop-one.example", "n1.example", "n2.example"].map(|name| {
        dns.set(&format!("{name}."), json!({ "NS": GOOD }));
        add(&house, name, "dnspod")
    });
    for id in ids {
        assert_eq!(verify(&house, id)["ns_ok"], true);
    }
    // A port where nothing listens: refused at once, as by a name server that is down.
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let asking = |address: String| json!({ "dns.resolvers": address });
    house.admin().put("/api/settings", &asking(nobody.to_string())).is(200);
    for id in ids.into_iter().chain(ids) {
        let answer = verify(&house, id);
        assert_eq!(
            (&answer["ns_ok"], &answer["ns_code"]),
            (&json!(false), &json!("unreachable"))
        );
    }
    let alert = open_alerts(&house, &[("resolver.silent", "ERROR")]).remove(0);
    assert!(
        alert["title"].as_str().unwrap().contains(&nobody.to_string()),
        "{alert}"
    );
    assert!(alert["evidence"].to_string().contains("NS of ."), "{alert}");
    later(&mut house);
    open_alerts(&house, &[("resolver.silent", "ERROR")]);
    for id in ids {
        assert_eq!(domain(&house, id)["ns_state"], "ok", "what was known stays known");
        assert_eq!(history(&house, id).len(), 1);
    }
    assert_eq!(events(&house, "resolver.silent").len(), 1);
    // The name servers answer again.
    house
        .admin()
        .put("/api/settings", &asking(dns.address.to_string()))
        .is(200);
    later(&mut house);
    open_alerts(&house, &[]);
    assert_eq!(events(&house, "resolver.recovered").len(), 1);
}
