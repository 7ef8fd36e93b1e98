//! Servers as people really have them: the first law is to look who uses a thing before it is touched, never to take, delete
//! or shadow what is not ours, and always to leave a way out. Needs the lab (`tests/lab`), hosts h1 and h2.

mod common;

use common::lab::{
    Hosts, act, back_end, changes, deploy, domain, ended, fetch, get, house, on, plan, remove, script, steps, upstream,
};
use common::*;
use serde_json::json;

/// A house with h1 prepared for sites, a back end “app” and an upstream to it.
fn prepared(hosts: &Hosts) -> House {
    let house = house(hosts);
    back_end("h1", 9000, "app");
    assert_eq!(upstream(&house, "app", &["127.0.0.1:9000"]), 1);
    changes(&act(&house, "/api/servers/1/deploy-proxy", &json!({})));
    house
}

fn page(host: &str, name: &str) -> String {
    fetch(host, name, "/").map_or("nothing".into(), |(status, body)| match status {
        200 => body,
        other => other.to_string(),
    })
}

// --- no dead ends ---------------------------------------------------------------------------------------------------

#[test]
#[ignore = "lab: h1"]
fn a_file_of_ours_that_keeps_nginx_down_is_switched_off_by_whatever_is_pressed() {
    let hosts = Hosts::fresh(&["h1"], Some("web"));
    let house = prepared(&hosts);
    let (bad, good) = (
        domain(&house, "bad.alpha.test", 1, &json!({})),
        domain(&house, "good.alpha.test", 1, &json!({})),
    );
    changes(&deploy(&house, bad));
    changes(&deploy(&house, good));
    let file = "/etc/nginx/sites-available/bad.alpha.test.conf";
    let dark = || {
        on(
            "h1",
            &format!(
                "ln -sf ../sites-available/bad.alpha.test.conf /etc/nginx/sites-enabled/; sed -i 's/proxy_http_version.*/proxy_pass http:\\/\\/no-such-name.lab.test;/' {file}; ! systemctl restart nginx 2>/dev/null"
            ),
        );
        assert_eq!(page("h1", "good.alpha.test"), "nothing");
    };

    // The plan of another domain says all of it, and its deploy does it.
    dark();
    let seen = plan(&house, good);
    assert_eq!(
        (&seen["ok"], steps(&seen)),
        (&json!(true), vec!["switch_off", "start", "reload"]),
        "{seen}"
    );
    changes(&deploy(&house, good));
    assert_eq!(page("h1", "good.alpha.test"), "app");
    let told = eventually("the other domain's page says so", || {
        let shown = get(&house, bad)["sites"][0].clone();
        (shown["state"] == "drifted").then_some(shown)
    });
    assert_eq!(told["error"]["code"], "site_switched_off", "{told}");
    assert!(
        told["error"]["message"].as_str().unwrap().contains("proxy_pass"),
        "{told}"
    );

    // So does deploy-proxy, and so does the removal of the bad one.
    dark();
    assert!(changes(&act(&house, "/api/servers/1/deploy-proxy", &json!({}))) > 0);
    assert_eq!(page("h1", "good.alpha.test"), "app");
    dark();
    let path = format!("/api/domains/{bad}/deploy");
    changes(&act(&house, &path, &json!({ "overwrite": true })));
    assert_eq!(
        (page("h1", "good.alpha.test"), page("h1", "bad.alpha.test")),
        ("app".into(), "app".into())
    );

    // A certificate that is gone is not named by file and line; the site that used it is found all the same, also by its removal.
    let tls = domain(&house, "tls.alpha.test", 1, &json!({ "ssl": true }));
    changes(&deploy(&house, tls));
    let dark = || {
        on(
            "h1",
            "rm -rf /etc/letsencrypt/live/*tls.alpha.test; ln -sf /etc/nginx/sites-available/tls.alpha.test.conf /etc/nginx/sites-enabled/; ! systemctl restart nginx 2>/dev/null",
        )
    };
    dark();
    changes(&act(&house, "/api/servers/1/deploy-proxy", &json!({})));
    assert_eq!(page("h1", "good.alpha.test"), "app");
    dark();
    changes(&remove(&house, tls));
    assert_eq!(page("h1", "good.alpha.test"), "app");
    assert_eq!(
        on("h1", "ls /etc/nginx/sites-*/tls.alpha.test.conf 2>/dev/null; true"),
        ""
    );

    // A fault of somebody else is not ours to mend, and is named.
    on(
        "h1",
        "echo 'server { lisen 81; }' >/etc/nginx/sites-enabled/theirs; ! systemctl restart nginx 2>/dev/null",
    );
    let refused = deploy(&house, good);
    assert_eq!(refused["error"]["code"], "nginx_red", "{refused}");
    assert!(
        refused["error"]["message"]
            .as_str()
            .unwrap()
            .contains("sites-enabled/theirs:1"),
        "{refused}"
    );
}

#[test]
#[ignore = "lab: h1, h2"]
fn a_server_that_burned_down_is_moved_away_from_and_forgotten() {
    let hosts = Hosts::fresh(&["h1", "h2"], Some("web"));
    let house = house(&hosts);
    let admin = house.admin();
    ["h1", "h2"].iter().for_each(|host| back_end(host, 9000, host));
    upstream(&house, "app", &["127.0.0.1:9000"]);
    let on_second = json!({ "server_ids": [2], "preflight": "off" });
    let id = domain(&house, "moved.alpha.test", 1, &on_second);
    let lost = domain(&house, "lost.alpha.test", 1, &on_second);
    let other = domain(&house, "other.alpha.test", 1, &on_second);
    for id in [id, lost, other] {
        changes(&deploy(&house, id));
    }
    script("fault", &["h2", "no-sshd"]);
    on("h2", "pkill -9 sshd; true");

    // It moves; what is left there is told, and the plan is no obstacle.
    let path = format!("/api/domains/{id}");
    admin.patch(&path, &json!({ "server_ids": [1] })).is(200);
    assert_eq!(plan(&house, id)["ok"], true);
    assert!(changes(&deploy(&house, id)) > 0);
    assert_eq!(page("h1", "moved.alpha.test"), "h1");
    let told = || {
        let open = admin.get("/api/alerts?state=open").is(200);
        let kinds = open["items"].as_array().unwrap().iter().map(|a| a["kind"].clone());
        kinds.filter(|kind| kind == "domain.left_behind").count()
    };
    eventually("an alert says what is left", || (told() == 1).then_some(()));

    // Forgotten there, by itself.
    admin
        .post(&format!("{path}/forget"), &json!({ "server_id": 2 }))
        .is(204);
    assert_eq!(get(&house, id)["reason"], "lit");
    eventually("the alert is over", || (told() == 0).then_some(()));

    // A domain is taken off where that can be done, and says what to do where not.
    let refused = remove(&house, lost);
    assert!(
        refused["error"]["message"]
            .as_str()
            .unwrap()
            .contains("forgotten there"),
        "{refused}"
    );
    let again = admin.delete(&format!("/api/domains/{lost}?forget=1")).is(202);
    changes(&ended(&house, again["task_id"].as_i64().unwrap()));
    admin.get(&format!("/api/domains/{lost}")).is(404);

    // And the server with all that is still on it.
    admin.delete("/api/servers/2").fails(409, "server_used");
    admin.delete("/api/servers/2?forget=1").is(204);
    assert_eq!(get(&house, other)["sites"], json!([]));
    let db = house.database("lamplighter.db");
    for action in ["domain.forget_site", "server.forget"] {
        let sql = "SELECT count(*) FROM audit WHERE action = ?1";
        let count: i64 = db.query_row(sql, [action], |r| r.get(0)).unwrap();
        assert_eq!(count, 1, "{action}");
    }
}
