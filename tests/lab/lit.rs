//! The state of a domain is what visitors see: a web server that is stopped, a firewall, a back end that is gone, on a real server. Needs the
//! lab (`tests/lab`), host h6.

use crate::common;

use common::lab::{Hosts, act, back_end, changes, deploy, domain, get, house, on, upstream};
use common::*;
use serde_json::{Value, json};
use std::time::Instant;

/// Waits until the domain's state has this reason; returns how long that took.
#[track_caller]
fn becomes(house: &House, id: i64, reason: &str) -> Value {
    let since = Instant::now();
    loop {
        let shown = get(house, id);
        if shown["reason"] == reason {
            println!("FIGURE {reason} after {:.0} s", since.elapsed().as_secs_f64());
            return shown;
        }
        assert!(since.elapsed().as_secs() < 120, "not {reason}: {shown}");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}

fn open(house: &House) -> Vec<(String, String)> {
    let list = house.admin().get("/api/alerts?state=open&limit=500").is(200);
    let items = list["items"].as_array().unwrap().iter();
    let text = |v: &Value| v.as_str().unwrap().to_string();
    let of_domains = items.filter(|a| a["target"]["type"] == "domain");
    of_domains.map(|a| (text(&a["kind"]), text(&a["title"]))).collect()
}

fn evidence(shown: &Value) -> String {
    let lines = shown["answer_say"].as_array().unwrap().iter();
    lines.map(|line| line.as_str().unwrap()).collect::<Vec<_>>().join("\n")
}

#[test]
#[ignore = "lab: h6"]
fn a_lamp_says_what_visitors_see() {
    let hosts = Hosts::fresh(&["h6"], Some("web"));
    let house = house(&hosts);
    let admin = house.admin();
    admin
        .put("/api/settings", &json!({ "sitewatch.interval_s": 5 }))
        .is(200);
    back_end("h6", 9000, "app");
    upstream(&house, "app", &["127.0.0.1:9000"]);
    changes(&act(&house, "/api/servers/1/deploy-proxy", &json!({})));
    let plain = domain(&house, "plain.h6.lab.test", 1, &json!({}));
    let tls = domain(&house, "tls.h6.lab.test", 1, &json!({ "ssl": true }));
    for id in [plain, tls] {
        changes(&deploy(&house, id));
        eventually("it answers", || (get(&house, id)["answer_state"] == "ok").then_some(()));
        assert_eq!(get(&house, id)["reason"], "lit");
    }

    let check = format!("/api/domains/{tls}/certificate/check");
    assert_eq!(admin.post(&check, &json!({})).is(200)["state"], "ok");

    // nginx is stopped.
    on("h6", "systemctl stop nginx");
    for id in [plain, tls] {
        let shown = becomes(&house, id, "down");
        let said = evidence(&shown);
        assert!(said.contains("refuses connections on port"), "{said}");
        assert!(said.contains("nginx.service: inactive"), "{said}");
    }
    let told = eventually("both are told", || Some(open(&house)).filter(|open| open.len() == 2));
    assert!(
        told.iter().all(|(kind, _)| kind == "domain.dark"),
        "no certificate is bad: {told:?}"
    );
    for _ in 0..2 {
        let certificate = admin.post(&check, &json!({})).is(200);
        assert_eq!(certificate["state"], "ok", "{certificate}");
    }
    on("h6", "systemctl start nginx");
    for id in [plain, tls] {
        becomes(&house, id, "lit");
    }
    eventually("all is over", || open(&house).is_empty().then_some(()));

    // A firewall drops what comes from outside, then says no.
    let reject = "INPUT ! -i lo -p tcp -m multiport --dports 80,443 -j REJECT --reject-with tcp-reset";
    for (shut, open) in [
        (
            "ufw allow 22/tcp >/dev/null; ufw --force enable".to_string(),
            "ufw --force disable".to_string(),
        ),
        (format!("iptables -I {reject}"), format!("iptables -D {reject}")),
    ] {
        on("h6", &shut);
        for id in [plain, tls] {
            let said = evidence(&becomes(&house, id, "firewalled"));
            assert!(
                said.contains("Asked on the server itself") && said.contains("as it should"),
                "{said}"
            );
        }
        on("h6", &open);
        becomes(&house, plain, "lit");
        becomes(&house, tls, "lit");
    }

    // The back end is gone.
    on("h6", "systemctl stop be-9000");
    for id in [plain, tls] {
        let said = evidence(&becomes(&house, id, "backend"));
        assert!(said.contains("answers 502"), "{said}");
    }
    back_end("h6", 9000, "app");
    becomes(&house, plain, "lit");

    // Somebody else's site takes the name.
    on(
        "h6",
        "printf 'server { listen 80; server_name plain.h6.lab.test; return 200 mine; }' >/etc/nginx/sites-enabled/0-theirs; systemctl reload nginx",
    );
    let said = evidence(&becomes(&house, plain, "shadowed"));
    assert!(
        said.contains("answers something else") && said.contains("something else answers for the site"),
        "{said}"
    );
    on("h6", "rm /etc/nginx/sites-enabled/0-theirs; systemctl reload nginx");
    becomes(&house, plain, "lit");
    becomes(&house, tls, "lit");
}
