//! Domains on real servers, from the form to the request through the proxy and back again. Needs the lab (`tests/lab`),
//! hosts h1 and h2.

use crate::common;

use common::lab::{self, Hosts, add, back_end, changes, ended, fetch, fetch_tls, on};
use common::*;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const NAME: &str = "www.alpha.test";

/// A house with these hosts as servers 1, 2, …, and one upstream.
fn house(hosts: &Hosts) -> House {
    let house = House::new();
    let admin = house.admin();
    for host in hosts.0 {
        add(&admin, host, host);
        back_end(host, 9000, "first");
        back_end(host, 9001, "second");
    }
    let settings = json!({ "acme.directory": "https://acme.lab.test:14000/dir", "acme.email": "ops@example.org", "dns.resolvers": "10.77.0.2" });
    admin.put("/api/settings", &settings).is(200);
    let upstream = json!({ "name": "app", "targets": ["127.0.0.1:9000"] });
    admin.post("/api/upstreams", &upstream).is(201);
    house
}

fn domain(house: &House, fields: Value) -> i64 {
    let mut wanted = json!({ "domain": NAME, "server_ids": [1], "upstream_id": 1 });
    for (key, value) in fields.as_object().unwrap() {
        wanted[key] = value.clone();
    }
    house.admin().post("/api/domains", &wanted).is(201)["id"]
        .as_i64()
        .unwrap()
}

fn start(house: &House, id: i64, choice: Value) -> i64 {
    let answer = house.admin().post(&format!("/api/domains/{id}/deploy"), &choice);
    answer.is(202)["task_id"].as_i64().unwrap()
}

fn deploy(house: &House, id: i64) -> Value {
    ended(house, start(house, id, json!({})))
}

fn change(house: &House, path: &str, fields: Value) {
    house.admin().patch(path, &fields).is(200);
}

fn plan(house: &House, id: i64) -> Value {
    house
        .admin()
        .post(&format!("/api/domains/{id}/plan"), &json!({}))
        .is(200)
}

fn what(plan: &Value, server: usize) -> Vec<String> {
    let steps = plan["servers"][server]["steps"].as_array().unwrap();
    steps.iter().map(|s| s["what"].as_str().unwrap().to_string()).collect()
}

fn sites(host: &str) -> Vec<String> {
    on(
        host,
        "ls /etc/nginx/sites-enabled /etc/nginx/sites-available 2>/dev/null; true",
    )
    .split_whitespace()
    .filter(|w| w.ends_with(".conf"))
    .map(String::from)
    .collect()
}

/// Nothing of a deploy is left on a server: no rollback, no job, no unit. (An inspection that was killed leaves its folder on
/// the tmpfs to the next look's sweep.)
#[track_caller]
fn tidy(host: &str) {
    // systemd forgets an ended transient unit a moment after its process has gone.
    let look = || on(host, LEFT_BEHIND);
    let end = Instant::now() + Duration::from_secs(10);
    let mut left = look();
    while !left.is_empty() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(100));
        left = look();
    }
    assert_eq!(left, "", "left on {host}");
}

const LEFT_BEHIND: &str = "find /var/lib/lamplighter /run -mindepth 1 -path '*lamplighter*' ! -name '*.lock' ! -path '*lamplighter-inspect*' ! -path '*glances*' ! -path '*/cgroup/*' 2>/dev/null
         ls -d /etc/systemd/system/lamplighter-[!g]* 2>/dev/null; true";

#[test]
#[ignore = "lab: h1"]
fn a_domain_is_planned_deployed_browsed_changed_renamed_and_removed() {
    let hosts = Hosts::fresh(&["h1"], None);
    let house = house(&hosts);
    let admin = house.admin();
    let id = domain(&house, json!({}));

    let first = plan(&house, id);
    assert_eq!(
        (&first["ok"], &first["preflight"]["checks"][0]["verdict"]),
        (&json!(true), &json!("ok")),
        "{first}"
    );
    assert_eq!(what(&first, 0), ["nginx", "create", "enable", "reload"]);
    assert!(
        first["servers"][0]["diff"]
            .as_str()
            .unwrap()
            .contains("+    server_name www.alpha.test;\n")
    );
    assert!(sites("h1").is_empty(), "a plan changes nothing");

    assert!(changes(&deploy(&house, id)) > 0);
    assert_eq!(fetch("h1", NAME, "/"), Some((200, "first".into())));
    assert_eq!(changes(&deploy(&house, id)), 0, "the second time");
    let again = plan(&house, id);
    assert_eq!((what(&again, 0), &again["servers"][0]["diff"]), (vec![], &json!("")));
    tidy("h1");

    let config = format!("/api/domains/{id}/nginx-config");
    let (here, there) = (admin.get(&config), admin.get(&format!("{config}?live=1")));
    assert_eq!(here.text(), there.text());
    assert_eq!(
        here.text().trim_end(),
        on("h1", "cat /etc/nginx/sites-available/www.alpha.test.conf")
    );

    // Two targets, one of them with three times the requests.
    let targets = json!({ "targets": ["127.0.0.1:9000", { "host": "127.0.0.1", "port": 9001, "weight": 3 }] });
    change(&house, "/api/upstreams/1", targets);
    assert_eq!(what(&plan(&house, id), 0), ["change", "reload"]);
    assert!(changes(&deploy(&house, id)) > 0);
    let words: Vec<String> = (0..40).filter_map(|_| Some(fetch("h1", NAME, "/")?.1)).collect();
    let count = |word: &str| words.iter().filter(|w| *w == word).count();
    // Each process of nginx goes around by itself, so a few may be off.
    assert_eq!(count("first") + count("second"), 40, "{words:?}");
    assert!((7..=13).contains(&count("first")), "a quarter of them: {words:?}");

    // Another name: the old site goes in the same step.
    change(
        &house,
        &format!("/api/domains/{id}"),
        json!({ "domain": "münchen.alpha.test" }),
    );
    assert_eq!(what(&plan(&house, id), 0), ["create", "enable", "remove", "reload"]);
    assert!(changes(&deploy(&house, id)) > 0);
    let punycode = "xn--mnchen-3ya.alpha.test";
    assert_eq!(sites("h1"), [format!("{punycode}.conf"), format!("{punycode}.conf")]);
    assert_eq!(fetch("h1", punycode, "/").map(|a| a.0), Some(200));
    assert_ne!(fetch("h1", NAME, "/").map(|a| a.1), Some("first".into()));

    let task = admin.delete(&format!("/api/domains/{id}")).is(202)["task_id"]
        .as_i64()
        .unwrap();
    assert!(changes(&ended(&house, task)) > 0);
    assert!(sites("h1").is_empty());
    admin.get(&format!("/api/domains/{id}")).is(404);
    tidy("h1");
}

#[test]
#[ignore = "lab: h1"]
fn what_somebody_else_changes_is_seen_shown_and_never_overwritten_silently() {
    let hosts = Hosts::fresh(&["h1"], Some("web"));
    let house = house(&hosts);
    let admin = house.admin();
    let id = domain(&house, json!({}));
    let path = format!("/api/domains/{id}");
    changes(&deploy(&house, id));
    let file = "/etc/nginx/sites-available/www.alpha.test.conf";
    on("h1", &format!("sed -i 's/300s/301s/' {file}"));

    let seen = plan(&house, id);
    assert_eq!(seen["ok"], false);
    assert_eq!(seen["servers"][0]["faults"][0]["code"], "site_edited");
    let refused = deploy(&house, id);
    assert_eq!(refused["error"]["code"], "site_edited", "{refused}");
    assert!(on("h1", &format!("cat {file}")).contains("301s"));

    // The watch finds it too, says where, and raises an alert.
    let drifted = look(&house, id);
    assert_eq!(drifted["sites"][0]["state"], "drifted", "{drifted}");
    let say = drifted["sites"][0]["error"]["message"].as_str().unwrap().to_string();
    assert!(say.contains(file) && say.contains("line "), "{say}");
    let open = || {
        admin.get("/api/alerts?state=open").is(200)["items"]
            .as_array()
            .unwrap()
            .clone()
    };
    let kinds = || {
        open()
            .iter()
            .map(|a| a["kind"].as_str().unwrap().to_string())
            .collect::<Vec<_>>()
    };
    eventually("an alert tells of it", || {
        kinds().contains(&"domain.drifted".into()).then_some(())
    });

    // Accepted: then it is as it should be, and the next deploy asks again.
    admin.post(&format!("{path}/adopt"), &json!({ "server_id": 1 })).is(204);
    eventually("the alert is over", || {
        (!kinds().contains(&"domain.drifted".into())).then_some(())
    });
    assert_eq!(look(&house, id)["sites"][0]["state"], "live");
    assert_eq!(plan(&house, id)["servers"][0]["faults"][0]["code"], "site_adopted");

    let back = ended(&house, start(&house, id, json!({ "overwrite": true })));
    assert!(changes(&back) > 0);
    assert!(on("h1", &format!("cat {file}")).contains("300s"));
    assert_eq!(changes(&deploy(&house, id)), 0);

    // Gone altogether, and only its link gone.
    on("h1", &format!("rm {file}"));
    assert_eq!(look(&house, id)["sites"][0]["error"]["code"], "site_lost");
    changes(&ended(&house, start(&house, id, json!({ "overwrite": true }))));
    on("h1", "rm /etc/nginx/sites-enabled/www.alpha.test.conf");
    assert_eq!(look(&house, id)["sites"][0]["error"]["code"], "site_off");
    changes(&deploy(&house, id));
    assert_eq!(fetch("h1", NAME, "/").map(|a| a.0), Some(200));
    eventually("a good deploy ends the alert", || {
        (!kinds().contains(&"domain.drifted".into())).then_some(())
    });
}

/// The domain after a look at its servers that began now.
fn look(house: &House, id: i64) -> Value {
    let before = lamplighter::base::clock::rfc3339(lamplighter::base::clock::now());
    house
        .database("lamplighter.db")
        .execute("UPDATE domain_sites SET looked_at = 0", [])
        .unwrap();
    // The watch beats three times a minute.
    let until = Instant::now() + Duration::from_secs(90);
    loop {
        let domain = house.admin().get(&format!("/api/domains/{id}")).is(200);
        if domain["sites"][0]["looked_at"].as_str().is_some_and(|at| *at > *before) {
            return domain;
        }
        assert!(Instant::now() < until, "nobody looked: {domain}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
#[ignore = "lab: h1"]
fn a_certificate_is_had_from_an_acme_server_and_a_failure_leaves_the_site_as_it_was() {
    let hosts = Hosts::fresh(&["h1"], Some("web"));
    let house = house(&hosts);
    let admin = house.admin();
    let id = domain(&house, json!({}));
    changes(&deploy(&house, id));
    let path = format!("/api/domains/{id}");

    // A name that leads elsewhere: the name servers are asked before any server is touched.
    let elsewhere = domain(&house, json!({ "domain": "www.beta.test", "ssl": true }));
    let refused = deploy(&house, elsewhere);
    assert_eq!(refused["error"]["code"], "preflight", "{refused}");
    // Without asking them it is the ACME server who says no, and nothing is left behind.
    change(
        &house,
        &format!("/api/domains/{elsewhere}"),
        json!({ "preflight": "off" }),
    );
    let refused = deploy(&house, elsewhere);
    assert_eq!(refused["status"], "failed", "{refused}");
    assert!(
        refused["error"]["code"].as_str().unwrap().starts_with("acme_"),
        "{refused}"
    );
    assert_eq!(sites("h1").len(), 2, "only the other one");
    let left = admin.get(&format!("/api/domains/{elsewhere}")).is(200)["sites"][0].clone();
    assert_eq!(
        (&left["stands"], &left["certificate_issued"]),
        (&json!("empty"), &json!(false)),
        "{left}"
    );

    change(&house, &path, json!({ "ssl": true, "hsts": true }));
    assert_eq!(what(&plan(&house, id), 0), ["issue", "change", "default", "reload"]);
    assert!(changes(&deploy(&house, id)) > 0);
    assert_eq!(fetch("h1", NAME, "/").map(|a| a.0), Some(301));
    let root = "curl -sk https://10.77.0.2:15000/roots/0 -o /tmp/root.pem 2>/dev/null || python3 -c 'import ssl,urllib.request; open(\"/tmp/root.pem\",\"wb\").write(urllib.request.urlopen(\"https://10.77.0.2:15000/roots/0\",context=ssl._create_unverified_context()).read())'";
    on("h1", root);
    let shown = on(
        "h1",
        "printf 'GET / HTTP/1.0\\r\\nHost: www.alpha.test\\r\\n\\r\\n' | timeout 10 openssl s_client -quiet -connect 10.77.0.11:443 -servername www.alpha.test -verify_hostname www.alpha.test -verify_return_error -CAfile /tmp/root.pem 2>/dev/null",
    );
    assert!(
        shown.contains("Strict-Transport-Security: max-age=31536000") && shown.ends_with("first"),
        "{shown}"
    );
    assert_eq!(changes(&deploy(&house, id)), 0);
    tidy("h1");

    // Renewal is certbot's; asked for at once it happens at once.
    let sum = || {
        on(
            "h1",
            "sha256sum </etc/letsencrypt/live/lamplighter-www.alpha.test/fullchain.pem",
        )
    };
    let before = sum();
    let task = admin.post(&format!("{path}/renew"), &json!({ "force": true })).is(202)["task_id"]
        .as_i64()
        .unwrap();
    changes(&ended(&house, task));
    assert_ne!(sum(), before);
}

/// How long the certificates of this story live. By hand: LAMPLIGHTER_LIFE_S=3600.
fn life() -> Duration {
    let wanted = std::env::var("LAMPLIGHTER_LIFE_S").ok().and_then(|s| s.parse().ok());
    Duration::from_secs(wanted.unwrap_or(240))
}

#[test]
#[ignore = "lab: h8, infra"]
fn a_short_lived_certificate_is_renewed_when_its_share_of_life_says_so() {
    let hosts = Hosts::fresh(&["h8"], Some("web"));
    let _acme = lab::ShortLived::of(life());
    let house = house(&hosts);
    let settings = json!({ "acme.directory": lab::ShortLived::DIRECTORY });
    house.admin().put("/api/settings", &settings).is(200);
    let secure = |name: &str| domain(&house, json!({ "domain": name, "ssl": true }));
    let (name, other) = ("life.h8.lab.test", "other.h8.lab.test");
    let id = secure(name);
    assert!(changes(&deploy(&house, id)) > 0);
    // The watch knows nothing of this one any more: it is left to certbot's own timer.
    let alone = secure(other);
    assert!(changes(&deploy(&house, alone)) > 0);
    change(&house, &format!("/api/domains/{alone}"), json!({ "ssl": false }));

    // An hour outlives a token.
    let admin = || house.admin();
    let served = || admin().get(&format!("/api/domains/{id}/certificate")).is(200)["served"][0].clone();
    let first = eventually("the watch has looked", || {
        Some(served()).filter(|seen| seen["ok"] == true)
    });
    let times = || -> (i64, i64) {
        let sql = "SELECT not_before, not_after FROM certwatch_served WHERE domain_id = ?1";
        let row = house
            .database("lamplighter.db")
            .query_row(sql, [id], |r| Ok((r.get(0)?, r.get(1)?)));
        row.unwrap()
    };
    let (begin, end) = times();
    assert!(((end - begin) / 1000 - life().as_secs() as i64).abs() <= 60, "{first}");
    let line = |name: &str| {
        on(
            "h8",
            &format!(
                "grep -c '^renew_before_expiry = [0-9]* seconds$' /etc/letsencrypt/renewal/lamplighter-{name}.conf"
            ),
        )
    };
    assert_eq!((line(name), line(other)), ("1".into(), "1".into()));
    // What certbot's timer starts. Without that line it would renew at once, for less than 30 days are left.
    let on_disk = |name: &str| {
        on(
            "h8",
            &format!("sha256sum </etc/letsencrypt/live/lamplighter-{name}/fullchain.pem"),
        )
    };
    let timer = || on("h8", "systemctl start certbot.service");
    let (of_name, of_other) = (on_disk(name), on_disk(other));
    timer();
    assert_eq!(
        (on_disk(name), on_disk(other)),
        (of_name, of_other.clone()),
        "too early"
    );

    let renewed = {
        let until = Instant::now() + life();
        loop {
            let seen = served();
            if seen["serial"] != first["serial"] {
                break seen;
            }
            assert!(Instant::now() < until, "nobody renewed it: {seen}");
            std::thread::sleep(life() / 400);
        }
    };
    let (whole, left) = (end - begin, end - times().0);
    println!("FIGURE renewed with {left} of {whole} ms left");
    assert!(
        left > 0 && left <= whole * 5 / 12 + 2_000,
        "{left} of {whole} ms were left"
    );
    assert_eq!(renewed["ok"], true, "{renewed}");
    let admin = admin();
    let task = &admin.get("/api/tasks?kind=domain.renew").is(200)["items"][0];
    assert_eq!(
        (&task["status"], &task["changed"], &task["created_by"]),
        (&json!("ok"), &json!(1), &json!("system")),
        "{task}"
    );
    let page = admin.get(&format!("/domains/{id}")).text();
    for shown in [
        renewed["serial"].as_str().unwrap(),
        renewed["not_after"].as_str().unwrap(),
    ] {
        assert!(page.contains(shown), "{shown} is not on the page");
    }
    // Looked at twelve times in its life it is renewed before anybody would worry; what the beat of a minute lets through
    // for shorter ones is over.
    let alerts = |state: &str| {
        let all = admin.get(&format!("/api/alerts?state={state}")).is(200)["items"].clone();
        let about = |alert: &&Value| alert["kind"].as_str().unwrap().starts_with("certificate.");
        all.as_array().unwrap().iter().filter(about).count()
    };
    eventually("no alert stays", || (alerts("open") == 0).then_some(()));
    if life() >= Duration::from_secs(12 * 60) {
        assert_eq!(alerts("resolved"), 0);
    }

    // The other one is due as well: certbot's own timer renews it, tells nginx, and lets the fresh one alone.
    assert_eq!(on_disk(other), of_other);
    let of_name = on_disk(name);
    timer();
    assert_ne!(on_disk(other), of_other);
    assert_eq!(on_disk(name), of_name);
    let leaf = |what: &str| format!("{what} | openssl x509 -noout -serial");
    let connect =
        format!("timeout 10 openssl s_client -connect 10.77.0.18:443 -servername {other} </dev/null 2>/dev/null");
    let disk = on(
        "h8",
        &leaf(&format!("cat /etc/letsencrypt/live/lamplighter-{other}/cert.pem")),
    );
    eventually("nginx serves it", || (on("h8", &leaf(&connect)) == disk).then_some(()));
}

#[test]
#[ignore = "lab: h1, h2"]
fn several_servers_are_served_one_first_and_the_first_failure_stops_the_rest() {
    let hosts = Hosts::fresh(&["h1", "h2"], Some("web"));
    let house = house(&hosts);
    let id = domain(&house, json!({ "server_ids": [1, 2], "preflight": "warn" }));
    on("h1", "echo 'oops;' >/etc/nginx/conf.d/broken.conf");
    let seen = plan(&house, id);
    assert_eq!(seen["servers"][0]["faults"][0]["code"], "nginx_red");
    assert_eq!(seen["servers"][0]["canary"], true);
    let red = deploy(&house, id);
    assert_eq!(red["error"]["code"], "nginx_red", "{red}");
    assert!(red["error"]["message"].as_str().unwrap().starts_with("h1: "), "{red}");
    assert!(sites("h1").is_empty() && sites("h2").is_empty(), "nobody was touched");

    on("h1", "rm /etc/nginx/conf.d/broken.conf");
    assert!(changes(&deploy(&house, id)) > 0);
    for host in hosts.0 {
        assert_eq!(fetch(host, NAME, "/"), Some((200, "first".into())));
    }
    assert_eq!(changes(&deploy(&house, id)), 0);

    // Off one of them again.
    change(&house, &format!("/api/domains/{id}"), json!({ "server_ids": [2] }));
    assert!(changes(&deploy(&house, id)) > 0);
    assert!(sites("h1").is_empty());
    assert_eq!(fetch("h2", NAME, "/"), Some((200, "first".into())));
    house.admin().delete("/api/servers/2").fails(409, "server_used");
}

/// The whole story of a domain, by script.
#[test]
#[ignore = "lab: h6, h7, infra"]
fn two_servers_serve_five_domains_and_whatever_breaks_is_told_and_put_back() {
    let hosts = Hosts::fresh(&["h6", "h7"], Some("web"));
    let house = house(&hosts);
    let admin = house.admin();
    let two = json!({ "name": "two", "targets": ["127.0.0.1:9000", "127.0.0.1:9001"] });
    admin.post("/api/upstreams", &two).is(201);
    let idn = domain(&house, json!({ "domain": "почта.h6.lab.test" }));
    let pair = domain(&house, json!({ "domain": "pair.h6.lab.test", "upstream_id": 2 }));
    let shop = domain(&house, json!({ "domain": "shop.h6.lab.test", "ssl": true }));
    let mail = domain(
        &house,
        json!({ "domain": "mail.h7.lab.test", "ssl": true, "server_ids": [2] }),
    );
    let both = domain(&house, json!({ "domain": "both.h6.lab.test", "server_ids": [1, 2] }));
    let all = [idn, pair, shop, mail, both];

    let all_is_well = |said: &str| {
        let here = |host: &str, name: &str| fetch(host, name, "/");
        let first = Some((200, "first".to_string()));
        assert_eq!(here("h6", "xn--80a1acny.h6.lab.test"), first, "{said}");
        let words: Vec<_> = (0..12)
            .filter_map(|_| Some(here("h6", "pair.h6.lab.test")?.1))
            .collect();
        assert!(
            words.contains(&"first".into()) && words.contains(&"second".into()),
            "{said}: {words:?}"
        );
        for (host, name) in [("h6", "shop.h6.lab.test"), ("h7", "mail.h7.lab.test")] {
            assert_eq!(fetch_tls(host, name), ("200".into(), "first".into()), "{said}: {name}");
            assert_eq!(here(host, name).map(|a| a.0), Some(301), "{said}: {name}");
        }
        for host in hosts.0 {
            assert_eq!(here(host, "both.h6.lab.test"), first, "{said}: {host}");
        }
    };
    for id in all {
        let planned = plan(&house, id);
        assert_eq!(planned["ok"], true, "{planned}");
        assert!(changes(&deploy(&house, id)) > 0);
    }
    all_is_well("deployed");
    for id in all {
        assert_eq!(changes(&deploy(&house, id)), 0);
    }
    // The page of a server lists what it serves.
    let page = admin.get("/servers/1").text();
    let listed = |id: &i64| page.contains(&format!("href=\"/domains/{id}\""));
    assert_eq!(
        all.iter().map(listed).collect::<Vec<_>>(),
        [true, true, true, false, true]
    );

    // What breaks on a server: the code that the plan names, whether a person must allow it to be overwritten.
    let site = |name: &str| format!("/etc/nginx/sites-available/{name}.conf");
    let link = |name: &str| format!("/etc/nginx/sites-enabled/{name}.conf");
    let live = |name: &str| format!("/etc/letsencrypt/live/lamplighter-{name}");
    for (id, server, host, harm, fault, overwrite) in [
        (
            idn,
            0,
            "h6",
            format!("sed -i 's/50m/51m/' {}", site("xn--80a1acny.h6.lab.test")),
            "site_edited",
            true,
        ),
        (
            pair,
            0,
            "h6",
            format!("rm {}", site("pair.h6.lab.test")),
            "nginx_red",
            false,
        ),
        (shop, 0, "h6", format!("rm {}", link("shop.h6.lab.test")), "", false),
        (
            shop,
            0,
            "h6",
            format!(
                "cd {} && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=other -keyout privkey.pem -out fullchain.pem 2>/dev/null",
                live("shop.h6.lab.test")
            ),
            "",
            false,
        ),
        (
            mail,
            0,
            "h7",
            format!("rm -r {}", live("mail.h7.lab.test")),
            "nginx_red",
            false,
        ),
        (
            both,
            1,
            "h7",
            format!("echo >>{}", site("both.h6.lab.test")),
            "site_edited",
            true,
        ),
    ] {
        on(host, &format!("{harm}; systemctl reload nginx; true"));
        let planned = plan(&house, id);
        let place = &planned["servers"][server];
        assert!(!place["steps"].as_array().unwrap().is_empty(), "{harm}: {planned}");
        let found = place["faults"][0]["code"].as_str().unwrap_or_default();
        assert_eq!(found, fault, "{harm}: {planned}");
        if overwrite {
            assert_eq!(deploy(&house, id)["error"]["code"], fault);
        }
        let put_back = ended(&house, start(&house, id, json!({ "overwrite": overwrite })));
        assert!(changes(&put_back) > 0, "{harm}: {put_back}");
        all_is_well(&harm);
    }

    // What stands in the way of a change: it is refused, and everything answers as before.
    change(&house, "/api/upstreams/1", json!({ "targets": ["127.0.0.1:9001"] }));
    let theirs = "/etc/nginx/conf.d/theirs.conf";
    for (harm, mend, code) in [
        (format!("echo 'oops;' >{theirs}"), format!("rm {theirs}"), "nginx_red"),
        (
            format!("echo 'server {{ listen 10.77.0.17:80; server_name both.h6.lab.test; }}' >{theirs}"),
            format!("rm {theirs}"),
            "foreign_site",
        ),
        (
            "systemctl stop nginx; systemd-run -q --unit taker python3 -m http.server 80; sleep 1".into(),
            "systemctl stop taker; systemctl start nginx".into(),
            "port_taken",
        ),
    ] {
        on("h7", &harm);
        // The first server is served before the second one says no.
        let refused = deploy(&house, both);
        assert_eq!(refused["error"]["code"], code, "{harm}: {refused}");
        assert!(
            refused["error"]["message"].as_str().unwrap().starts_with("h7: "),
            "{refused}"
        );
        on("h7", &mend);
        assert_eq!(
            fetch("h6", "both.h6.lab.test", "/"),
            Some((200, "second".into())),
            "{harm}"
        );
        assert_eq!(
            fetch("h7", "both.h6.lab.test", "/"),
            Some((200, "first".into())),
            "{harm}"
        );
    }
    change(
        &house,
        "/api/upstreams/1",
        json!({ "targets": ["nowhere.lab.test:9000"] }),
    );
    for id in [idn, mail] {
        assert_eq!(deploy(&house, id)["error"]["code"], "target_unresolved");
    }
    change(&house, "/api/upstreams/1", json!({ "targets": ["127.0.0.1:9000"] }));
    for id in all {
        changes(&deploy(&house, id));
    }
    all_is_well("mended");
    hosts.0.iter().for_each(|host| tidy(host));
}

/// Asks for the site all the time. Every answer must be one of the back ends'.
struct Visitor {
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    thread: Option<std::thread::JoinHandle<Vec<String>>>,
}

impl Visitor {
    fn comes(host: &'static str) -> Visitor {
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let told = stop.clone();
        let visit = move || {
            let mut odd = Vec::new();
            while !told.load(std::sync::atomic::Ordering::SeqCst) {
                match fetch(host, NAME, "/") {
                    Some((200, word)) if word == "first" || word == "second" => {}
                    other => odd.push(format!("{other:?}")),
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            odd
        };
        Visitor {
            stop,
            thread: Some(std::thread::spawn(visit)),
        }
    }

    #[track_caller]
    fn leaves(mut self) {
        self.stop.store(true, std::sync::atomic::Ordering::SeqCst);
        let odd = self.thread.take().unwrap().join().unwrap();
        assert!(odd.is_empty(), "a visitor saw {odd:?}");
    }
}

#[test]
#[ignore = "lab: h1"]
fn a_daemon_that_is_killed_at_any_step_leaves_the_old_site_or_the_new_one() {
    let hosts = Hosts::fresh(&["h1"], Some("web"));
    let mut house = house(&hosts);
    let id = domain(&house, json!({}));
    let all: Vec<String> = deploy(&house, id)["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["name"].as_str().unwrap().into())
        .collect();
    assert!(all.len() > 8, "{all:?}");
    let mut port = 9000;
    let mut cut_short = 0;
    for step in &all {
        for _ in 0..rounds(2) {
            port = 9000 + (port + 1) % 2;
            change(
                &house,
                "/api/upstreams/1",
                json!({ "targets": [format!("127.0.0.1:{port}")] }),
            );
            let visitor = Visitor::comes("h1");
            let task = start(&house, id, json!({}));
            let mut stream = house.admin().stream(&format!("/api/tasks/{task}/stream"), None);
            while let Some(event) = stream.next(Duration::from_secs(60)) {
                if event.name == "end" || (event.name == "progress" && event.json()["name"] == step.as_str()) {
                    break;
                }
            }
            drop(stream);
            house.kill();
            house.start();
            let done = ended(&house, task);
            assert_eq!(done["status"], "ok", "killed at {step}: {done}");
            cut_short += usize::from(done["started_at"] != done["created_at"]);
            visitor.leaves();
            let word = if port == 9000 { "first" } else { "second" };
            assert_eq!(fetch("h1", NAME, "/"), Some((200, word.into())), "killed at {step}");
            tidy("h1");
        }
    }
    assert!(cut_short > 0, "no kill came in time");
}

#[test]
#[ignore = "lab: h1"]
fn a_link_that_drops_in_the_middle_is_no_harm_and_two_deploys_at_once_take_turns() {
    let hosts = Hosts::fresh(&["h1"], Some("web"));
    let house = house(&hosts);
    let id = domain(&house, json!({}));
    changes(&deploy(&house, id));
    let second = json!({ "targets": ["127.0.0.1:9001"] });
    change(&house, "/api/upstreams/1", second);
    let visitor = Visitor::comes("h1");
    let task = start(&house, id, json!({}));
    let mut stream = house.admin().stream(&format!("/api/tasks/{task}/stream"), None);
    while let Some(event) = stream.next(Duration::from_secs(60)) {
        if event.name == "end" || (event.name == "progress" && event.json()["name"] == "site_tested") {
            break;
        }
    }
    drop(stream);
    lab::script("fault", &["h1", "drop", "22"]);
    let cut = ended(&house, task);
    lab::script("fault", &["h1", "heal"]);
    if cut["status"] != "ok" {
        assert!(cut["error"]["code"].as_str().unwrap().starts_with("ssh_"), "{cut}");
    }
    eventually("it is deployed over a new connection", || {
        Some(deploy(&house, id)).filter(|task| task["status"] == "ok")
    });
    visitor.leaves();
    assert_eq!(fetch("h1", NAME, "/"), Some((200, "second".into())));
    tidy("h1");

    // Two domains on one server at the same moment.
    let other = domain(&house, json!({ "domain": "other.alpha.test" }));
    change(&house, "/api/upstreams/1", json!({ "targets": ["127.0.0.1:9000"] }));
    let both = [start(&house, id, json!({})), start(&house, other, json!({}))];
    for task in both {
        assert!(changes(&ended(&house, task)) > 0);
    }
    for name in [NAME, "other.alpha.test"] {
        assert_eq!(fetch("h1", name, "/"), Some((200, "first".into())), "{name}");
    }
    tidy("h1");
}
