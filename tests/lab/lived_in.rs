//! Servers as people really have them: the first law is to look who uses a thing before it is touched, never to take, delete
//! or shadow what is not ours, and always to leave a way out. Needs the lab (`tests/lab`), hosts h1 and h2.

use crate::common;

use common::lab::{
    Hosts, act, address, back_end, back_end_at, changes, deploy, domain, ended, fetch, get, house, log, on, plan,
    remove, script, steps, upstream,
};
use common::*;
use serde_json::{Value, json};

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

// --- what others share is not ours ----------------------------------------------------------------------------------

#[test]
#[ignore = "lab: h1"]
fn who_answers_for_what_nobody_named_and_how_stays_as_it_was() {
    let hosts = Hosts::fresh(&["h1"], Some("web"));
    let house = prepared(&hosts);
    let shop = "/etc/nginx/sites-enabled/shop";
    on(
        "h1",
        "rm /etc/nginx/sites-enabled/default; openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 9 -subj /CN=shop -addext subjectAltName=DNS:shop.beta.test -keyout /etc/ssl/shop.key -out /etc/ssl/shop.pem 2>/dev/null",
    );
    on(
        "h1",
        &format!(
            "printf 'server {{\n listen 80;\n listen 443 ssl;\n server_name shop.beta.test;\n ssl_certificate /etc/ssl/shop.pem;\n ssl_certificate_key /etc/ssl/shop.key;\n return 200 shop;\n}}\n' >{shop}; systemctl reload nginx"
        ),
    );
    let protocol = || {
        on(
            "h1",
            "openssl s_client -connect 127.0.0.1:443 -servername shop.beta.test -alpn h2,http/1.1 </dev/null 2>/dev/null | grep -i '^ALPN'",
        )
    };
    let before = protocol();
    assert!(before.contains("http/1.1"), "{before}");

    // A name that sorts before it: the plan says what would change, and nothing does without a person's word.
    let id = domain(&house, "api.alpha.test", 1, &json!({ "ssl": true }));
    let seen = plan(&house, id);
    let faults = seen["servers"][0]["faults"].as_array().unwrap();
    let ports: Vec<_> = faults
        .iter()
        .filter(|f| f["code"] == "would_be_default")
        .map(|f| f["on"].clone())
        .collect();
    assert_eq!(ports, ["80", "443"], "{seen}");
    let refused = deploy(&house, id);
    assert_eq!(refused["error"]["code"], "would_be_default", "{refused}");
    assert_eq!(page("h1", "old-name.beta.test"), "shop");

    // Once the other file says what it is, the site is put there and nobody else notices: not even its protocol changes.
    on(
        "h1",
        &format!(
            "sed -i 's/listen 80;/listen 80 default_server;/; s/443 ssl/443 ssl default_server/' {shop}; systemctl reload nginx"
        ),
    );
    changes(&deploy(&house, id));
    assert_eq!(
        (page("h1", "old-name.beta.test"), page("h1", "10.77.0.11")),
        ("shop".into(), "shop".into())
    );
    assert_eq!(protocol(), before);
    assert_eq!(changes(&deploy(&house, id)), 0, "the second time");
    // One that sorts behind changes nothing either way.
    on(
        "h1",
        &format!("sed -i 's/ default_server//' {shop}; systemctl reload nginx"),
    );
    let behind = domain(&house, "zoo.alpha.test", 1, &json!({}));
    changes(&deploy(&house, behind));
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

// --- what others share: certificates, ports, settings ----------------------------------------------------------------

const THEIRS: &str = "/etc/nginx/sites-enabled/theirs";

/// A house with h1, on which `command` was run before; a back end of ours, one of theirs, and an upstream to ours.
fn unprepared(layer: Option<&str>, command: &str) -> (House, Hosts) {
    let hosts = Hosts::fresh(&["h1"], layer);
    on("h1", command);
    let house = house(&hosts);
    back_end("h1", 9000, "app");
    back_end("h1", 9001, "theirs");
    upstream(&house, "app", &["127.0.0.1:9000"]);
    (house, hosts)
}

/// The same, and prepared for sites.
fn lived_in(command: &str) -> (House, Hosts) {
    let (house, hosts) = unprepared(Some("web"), command);
    changes(&press(&house, "deploy-proxy"));
    (house, hosts)
}

fn press(house: &House, what: &str) -> Value {
    act(house, &format!("/api/servers/1/{what}"), &json!({}))
}

fn faults(plan: &Value) -> Vec<&str> {
    let faults = plan["servers"][0]["faults"].as_array().unwrap();
    faults.iter().map(|f| f["code"].as_str().unwrap()).collect()
}

/// nginx takes its configuration, as it would at the next start.
#[track_caller]
fn green() {
    assert_eq!(
        on("h1", "nginx -t >/dev/null 2>&1 && systemctl is-active nginx"),
        "active"
    );
}

/// A certificate by the domain's name that serves other names, for another site.
const SHARED: &str = "certbot certonly --webroot -w /var/www/html -n --agree-tos --register-unsafely-without-email \
     --server https://acme.lab.test:14000/dir --cert-name alpha.test -d www.alpha.test -d mail.alpha.test >/dev/null 2>&1
 printf 'server { listen 443 ssl; server_name www.alpha.test; ssl_certificate /etc/letsencrypt/live/alpha.test/fullchain.pem;
 ssl_certificate_key /etc/letsencrypt/live/alpha.test/privkey.pem; location / { proxy_pass http://127.0.0.1:9001; } }' \
 >/etc/nginx/sites-enabled/a-theirs; nginx -t && systemctl reload nginx";
const LIVE: &str = "/etc/letsencrypt/live";

fn names(lineage: &str) -> String {
    on(
        "h1",
        &format!("openssl x509 -in {LIVE}/{lineage}/fullchain.pem -noout -ext subjectAltName | tail -n 1"),
    )
}

#[test]
#[ignore = "lab: h1"]
fn a_certificate_that_others_share_is_neither_issued_anew_nor_deleted() {
    let (house, _hosts) = lived_in(SHARED);
    let shared = || {
        on(
            "h1",
            &format!("sha256sum <{LIVE}/alpha.test/fullchain.pem; cat /etc/letsencrypt/renewal/alpha.test.conf"),
        )
    };
    let before = shared();
    let id = domain(&house, "alpha.test", 1, &json!({ "ssl": true }));
    let seen = plan(&house, id);
    assert_eq!(
        steps(&seen),
        ["issue", "create", "enable", "default", "reload"],
        "{seen}"
    );
    assert_eq!(faults(&seen), ["lineage_foreign"], "{seen}");
    changes(&deploy(&house, id));
    assert_eq!(
        (shared(), names("lamplighter-alpha.test").as_str()),
        (before.clone(), "DNS:alpha.test")
    );
    assert_eq!(changes(&deploy(&house, id)), 0);
    assert_eq!(steps(&plan(&house, id)), [""; 0]);

    // Somebody else comes to use ours, too: it stays when the site goes, and that is said.
    on(
        "h1",
        &format!(
            "echo 'server {{ listen 8443 ssl; ssl_certificate {LIVE}/lamplighter-alpha.test/fullchain.pem; ssl_certificate_key {LIVE}/lamplighter-alpha.test/privkey.pem; }}' >>{THEIRS}; systemctl reload nginx"
        ),
    );
    let gone = remove(&house, id);
    changes(&gone);
    assert!(
        log(&house, &gone).contains(&format!("lamplighter-alpha.test is left: {THEIRS} uses it")),
        "{}",
        log(&house, &gone)
    );
    assert_eq!(
        (shared(), names("lamplighter-alpha.test").as_str()),
        (before, "DNS:alpha.test")
    );
    green();
}

#[test]
#[ignore = "lab: h1"]
fn what_an_earlier_lamplighter_has_issued_goes_on_and_goes_with_its_site_alone() {
    let (house, _hosts) = lived_in("true");
    let issue = "certbot certonly --webroot -w /var/www/lamplighter -n --agree-tos -m ops@example.org --no-eff-email \
         --server https://acme.lab.test:14000/dir --cert-name www.alpha.test -d www.alpha.test >/dev/null 2>&1";
    let id = domain(&house, "www.alpha.test", 1, &json!({ "ssl": false }));
    changes(&deploy(&house, id));
    on("h1", issue);
    let path = format!("/api/domains/{id}");
    house.admin().patch(&path, &json!({ "ssl": true })).is(200);
    let seen = plan(&house, id);
    assert_eq!(steps(&seen), ["take_over", "change", "default", "reload"], "{seen}");
    changes(&deploy(&house, id));
    assert_eq!(
        on("h1", &format!("cd {LIVE}; ls -d *test")),
        "www.alpha.test",
        "nothing was ordered"
    );

    // Another program of the server has a link to it.
    on(
        "h1",
        &format!("ln -s {LIVE}/www.alpha.test/fullchain.pem /etc/ssl/mail.pem"),
    );
    changes(&remove(&house, id));
    assert_eq!(names("www.alpha.test"), "DNS:www.alpha.test");
    on("h1", "rm /etc/ssl/mail.pem");
    let id = domain(&house, "www.alpha.test", 1, &json!({ "ssl": true }));
    changes(&deploy(&house, id));
    changes(&remove(&house, id));
    assert_eq!(
        on("h1", &format!("cd {LIVE}; ls -d *test 2>/dev/null || true")),
        "",
        "now it is nobody's"
    );
    green();
}

#[test]
#[ignore = "lab: h1, infra"]
fn no_certificate_is_ordered_into_the_void() {
    let (house, _hosts) = lived_in("true");
    let orders = || {
        on(
            "infra",
            "journalctl -u pebble --no-pager -o cat | grep -ci 'issued certificate' || true",
        )
        .parse::<u32>()
        .unwrap()
    };
    // Copied from an old server: files where certbot has links, and no renewal file.
    let copied = |lineage: &str| {
        on(
            "h1",
            &format!(
                "d={LIVE}/{lineage}; mkdir -p $d; openssl req -x509 -newkey rsa:2048 -nodes -days 60 -subj /CN=x -addext subjectAltName=DNS:www.alpha.test -keyout $d/privkey.pem -out $d/fullchain.pem 2>/dev/null; cp $d/fullchain.pem $d/cert.pem; sha256sum $d/cert.pem"
            ),
        )
    };
    let before = orders();
    let theirs = copied("www.alpha.test");
    let id = domain(&house, "www.alpha.test", 1, &json!({ "ssl": true }));
    changes(&deploy(&house, id));
    assert_eq!(orders(), before + 1);
    assert_eq!(on("h1", &format!("sha256sum {LIVE}/www.alpha.test/cert.pem")), theirs);

    // Its renewal file is lost: the watch tells, and a deploy gets another that will be renewed, once.
    on("h1", "rm /etc/letsencrypt/renewal/lamplighter-www.alpha.test.conf");
    assert_eq!(faults(&plan(&house, id)), ["lineage_leftovers", "lineage_foreign"]);
    for _ in 0..2 {
        changes(&deploy(&house, id));
    }
    assert_eq!(orders(), before + 2);
    assert_eq!(steps(&plan(&house, id)), [""; 0]);
    // Every place is taken: nothing is asked for, and what lies there is said.
    on("h1", "rm /etc/letsencrypt/renewal/lamplighter2-www.alpha.test.conf");
    copied("lamplighter3-www.alpha.test");
    let refused = deploy(&house, id);
    assert_eq!(refused["error"]["code"], "lineage_leftovers", "{refused}");
    let say = refused["error"]["message"].as_str().unwrap();
    assert!(say.contains(&format!("{LIVE}/lamplighter3-www.alpha.test")), "{say}");
    assert_eq!(orders(), before + 2);
    assert_eq!(
        fetch("h1", "www.alpha.test", "/").map(|a| a.0),
        Some(301),
        "the site goes on"
    );
    green();
}

// --- who has the port -----------------------------------------------------------------------------------------------

#[test]
#[ignore = "lab: h1"]
fn another_nginx_keeps_its_port_and_a_failed_install_leaves_nothing() {
    // Its process is called nginx, as that of a container is.
    let (house, _hosts) = unprepared(
        None,
        "cp -L $(command -v python3) /opt/nginx; mkdir -p /srv/www; echo the-container >/srv/www/index.html
         systemd-run -q --unit container /opt/nginx -m http.server 80 -d /srv/www; while ! ss -Hltn sport = :80 | grep -q .; do sleep 0.1; done",
    );
    let packages = || {
        on(
            "h1",
            "dpkg-query -W -f '${Package} ${Status}\\n'; ls -d /etc/nginx /etc/systemd/system/*/nginx.service 2>/dev/null || true",
        )
    };
    let before = packages();
    let refused = press(&house, "deploy-proxy");
    assert_eq!(refused["error"]["code"], "port_taken", "{refused}");
    let say = refused["error"]["message"].as_str().unwrap();
    assert!(say.contains("an nginx that is not the service nginx.service"), "{say}");
    let id = domain(&house, "www.alpha.test", 1, &json!({ "ssl": false }));
    assert_eq!(faults(&plan(&house, id)), ["port_taken"]);
    assert_eq!(deploy(&house, id)["error"]["code"], "port_taken");
    assert_eq!(
        (packages(), fetch("h1", "x.test", "/")),
        (before.clone(), Some((200, "the-container\n".into())))
    );

    // The port is free, and nginx does not come up all the same: at the next boot it must not try again.
    on(
        "h1",
        "systemctl stop container; d=/etc/systemd/system/nginx.service.d; mkdir $d; printf '[Service]\\nExecStartPre=/bin/false\\n' >$d/x.conf; systemctl daemon-reload",
    );
    let refused = press(&house, "deploy-proxy");
    assert_eq!(refused["status"], "failed", "{refused}");
    assert_eq!(packages(), before);
    on(
        "h1",
        "rm -r /etc/systemd/system/nginx.service.d; systemctl daemon-reload",
    );
    changes(&press(&house, "deploy-proxy"));
    green();
}

// --- settings of others ---------------------------------------------------------------------------------------------

#[test]
#[ignore = "lab: h1"]
fn what_is_set_for_all_of_certbot_is_taken_back_or_named() {
    let ini = "/etc/letsencrypt/cli.ini";
    let (house, _hosts) = lived_in(&format!(
        "printf 'pre-hook = systemctl stop nginx\\npost-hook = systemctl start nginx\\npreferred-challenges = dns\\ndomains = old.alpha.test\\nauthenticator = standalone\\n' >>{ini}"
    ));
    let id = domain(&house, "www.alpha.test", 1, &json!({ "ssl": true }));
    let seen = plan(&house, id);
    assert_eq!(faults(&seen), ["acme_settings_timer"; 4], "{seen}");
    changes(&deploy(&house, id));
    assert_eq!(names("lamplighter-www.alpha.test"), "DNS:www.alpha.test");
    assert_eq!(
        on("h1", "systemctl show -p NRestarts,ExecMainStatus --value nginx"),
        "0\n0"
    );
    let renewed = house
        .admin()
        .post(&format!("/api/domains/{id}/renew"), &json!({ "force": true }))
        .is(202)["task_id"]
        .clone();
    assert_eq!(changes(&ended(&house, renewed.as_i64().unwrap())), 1);

    on("h1", &format!("echo 'dry-run = true' >>{ini}"));
    let other = domain(&house, "other.alpha.test", 1, &json!({ "ssl": true }));
    assert!(faults(&plan(&house, other)).contains(&"acme_settings"));
    let refused = deploy(&house, other);
    assert_eq!(refused["error"]["code"], "acme_settings", "{refused}");
    let say = refused["error"]["message"].as_str().unwrap();
    assert!(say.contains(&format!("{ini}: dry-run = true")), "{say}");
    // Nothing is asked for there: it does not matter.
    assert_eq!((steps(&plan(&house, id)), changes(&deploy(&house, id))), (vec![], 0));
    green();
}

#[test]
#[ignore = "lab: h1"]
fn a_dead_package_source_and_the_words_of_a_banner_are_nothing_to_us() {
    let (first, hosts) = unprepared(
        None,
        "echo 'deb [trusted=yes] file:/srv/gone ./' >/etc/apt/sources.list.d/theirs.list; rm -rf /var/lib/apt/lists/*
         printf 'Connection refused. No route to host. Host key verification failed.\\n' >/etc/issue.net
         echo 'Banner /etc/issue.net' >>/etc/ssh/sshd_config; systemctl reload ssh",
    );
    assert!(changes(&press(&first, "deploy-proxy")) > 0);
    green();
    on("h1", "mv /root/.ssh /root/away");
    let house = house(&hosts);
    let refused = press(&house, "check-ssh");
    assert_eq!(refused["error"]["code"], "ssh_key_refused", "{refused}");
}

// --- what really runs -----------------------------------------------------------------------------------------------

#[test]
#[ignore = "lab: h1"]
fn what_runs_is_known_by_its_text_and_not_by_the_time_of_a_file() {
    let (house, _hosts) = lived_in("true");
    changes(&press(&house, "install-glances"));
    for when in ["2 years", "-2 years"] {
        on(
            "h1",
            &format!(
                "touch -d '{when}' /etc/nginx/conf.d/lamplighter*.conf /etc/nginx/lamplighter/* /etc/systemd/system/lamplighter-glances.service"
            ),
        );
        assert_eq!(changes(&press(&house, "deploy-proxy")), 0, "{when}");
        assert_eq!(changes(&press(&house, "install-glances")), 0, "{when}");
    }
    // Another text, with the old time: it counts.
    on(
        "h1",
        "sed -i 's/--disable-check-update/& /' /etc/systemd/system/lamplighter-glances.service; touch -d '-2 years' /etc/systemd/system/lamplighter-glances.service",
    );
    assert_eq!(changes(&press(&house, "install-glances")), 2);
    assert_eq!(changes(&press(&house, "install-glances")), 0);
}

// --- one name on several servers ------------------------------------------------------------------------------------

/// Addresses of a name while a story is told.
struct Named(&'static str);

impl Named {
    fn at(name: &'static str, hosts: &[&str]) -> Named {
        let named = Named(name);
        for host in hosts {
            let record = format!("{name} IN A {}", address(host));
            script("dns", &["add", "alpha.test", &record]);
        }
        named
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        script("dns", &["del", "alpha.test", &format!("^{} ", self.0)]);
    }
}

#[test]
#[ignore = "lab: h1 h2 infra"]
fn each_server_of_a_name_gets_its_certificate_whichever_is_asked() {
    let hosts = Hosts::fresh(&["h1", "h2"], Some("web"));
    let _named = Named::at("multi", &["h1", "h2"]);
    let house = house(&hosts);
    for host in ["h1", "h2"] {
        back_end(host, 9000, "app");
    }
    upstream(&house, "app", &["127.0.0.1:9000"]);
    let name = "multi.alpha.test";
    let id = domain(&house, name, 1, &json!({ "server_ids": [1, 2], "ssl": true }));
    let files = |host: &str| {
        on(
            host,
            "ls /etc/nginx/sites-enabled /etc/letsencrypt/live 2>/dev/null | grep multi || true",
        )
    };

    // No certificate is to be had: on neither server anything is left.
    on(
        "h1",
        "mkdir -p /etc/letsencrypt; echo 'dry-run = true' >>/etc/letsencrypt/cli.ini",
    );
    let refused = deploy(&house, id);
    assert_eq!(refused["error"]["code"], "acme_settings", "{refused}");
    assert_eq!((files("h1"), files("h2")), (String::new(), String::new()));
    on("h1", "sed -i /dry-run/d /etc/letsencrypt/cli.ini");

    changes(&deploy(&house, id));
    let leaf = |host: &str| {
        on(
            host,
            "sha256sum </etc/letsencrypt/live/lamplighter-multi.alpha.test/cert.pem",
        )
    };
    let first = (leaf("h1"), leaf("h2"));
    assert_eq!((page("h1", name), page("h2", name)), ("301".into(), "301".into()));
    assert_eq!(changes(&deploy(&house, id)), 0);
    // What the one has, the other answers; what nobody has, nobody looks for twice.
    let challenge = "/.well-known/acme-challenge/token";
    on("h2", &format!("echo -n here >/var/www/lamplighter{challenge}"));
    assert_eq!(fetch("h1", name, challenge), Some((200, "here".into())));
    assert_eq!(fetch("h1", name, &format!("{challenge}2")).map(|a| a.0), Some(404));

    let renewed = act(&house, &format!("/api/domains/{id}/renew"), &json!({ "force": true }));
    assert_eq!(changes(&renewed), 2);
    let now = (leaf("h1"), leaf("h2"));
    assert!(now.0 != first.0 && now.1 != first.1);

    // One server less: nobody is asked any more.
    house
        .admin()
        .patch(&format!("/api/domains/{id}"), &json!({ "server_ids": [1] }))
        .is(200);
    changes(&deploy(&house, id));
    assert!(!on("h1", "cat /etc/nginx/sites-available/multi.alpha.test.conf").contains("challenge_"));
    assert_eq!(files("h2"), "");
}

#[test]
#[ignore = "lab: h1"]
fn a_target_given_by_name_is_followed_and_harms_nobody_when_it_is_gone() {
    let hosts = Hosts::fresh(&["h1"], Some("web"));
    let house = prepared(&hosts);
    let name_is = |address: Option<&str>| {
        script("dns", &["del", "lab.test", "^back "]);
        address.map(|to| script("dns", &["add", "lab.test", &format!("back IN A {to}")]))
    };
    name_is(Some("127.0.0.2"));
    back_end_at("h1", "127.0.0.2", 9002, "old");
    back_end_at("h1", "127.0.0.3", 9002, "new");
    let by_name = upstream(&house, "by-name", &["back.lab.test:9002"]);
    on("h1", "echo '127.0.0.3 known-here.lab.test' >>/etc/hosts");
    let in_hosts = upstream(&house, "in-hosts", &["known-here.lab.test:9002"]);
    let (moving, known, other) = (
        domain(&house, "www.alpha.test", by_name, &json!({})),
        domain(&house, "known.alpha.test", in_hosts, &json!({})),
        domain(&house, "other.alpha.test", 1, &json!({})),
    );
    changes(&deploy(&house, moving));
    changes(&deploy(&house, known));
    assert_eq!(
        (page("h1", "www.alpha.test"), page("h1", "known.alpha.test")),
        ("old".into(), "new".into())
    );
    assert_eq!(
        changes(&deploy(&house, moving)) + changes(&deploy(&house, known)),
        0,
        "the second time"
    );

    name_is(Some("127.0.0.3"));
    eventually("nginx follows the name", || {
        (page("h1", "www.alpha.test") == "new").then_some(())
    });

    name_is(None);
    eventually("the name is gone", || {
        (page("h1", "www.alpha.test") == "502").then_some(())
    });
    changes(&deploy(&house, other));
    on("h1", "systemctl restart nginx");
    let pages = ["www", "known", "other"].map(|name| page("h1", &format!("{name}.alpha.test")));
    assert_eq!(pages, ["502", "new", "app"]);
    name_is(Some("127.0.0.2"));
    eventually("and back", || (page("h1", "www.alpha.test") == "old").then_some(()));
}

// --- looked where it counts -----------------------------------------------------------------------------------------

#[test]
#[ignore = "lab: h1"]
fn an_include_that_is_missing_or_double_is_said_before_anything_is_called_ready() {
    let hosts = Hosts::fresh(&["h1"], Some("web"));
    let house = house(&hosts);
    back_end("h1", 9000, "app");
    upstream(&house, "app", &["127.0.0.1:9000"]);
    let prepare = || act(&house, "/api/servers/1/deploy-proxy", &json!({}));
    let refused = |code: &str, words: &[&str]| {
        let task = prepare();
        assert_eq!(task["error"]["code"], code, "{task}");
        let say = task["error"]["message"].as_str().unwrap();
        assert!(words.iter().all(|word| say.contains(word)), "{say}");
        assert_eq!(on("h1", "ls /etc/nginx/conf.d"), on("h1", "cat /tmp/before"));
    };
    let made = |text: &str| {
        on(
            "h1",
            &format!("{text}; ls /etc/nginx/conf.d >/tmp/before; nginx -t 2>/dev/null"),
        )
    };

    // Twice: by nginx.conf and by a file of conf.d.
    on(
        "h1",
        "cp -a /etc/nginx /root/nginx; rm /etc/nginx/sites-enabled/default",
    );
    made("echo 'include /etc/nginx/sites-enabled/*;' >/etc/nginx/conf.d/00-sites.conf");
    refused(
        "nginx_read_twice",
        &[
            "nginx.conf: include /etc/nginx/sites-enabled/*;",
            "00-sites.conf: include",
        ],
    );

    // Not read, and another's file lies there that would be switched on.
    made(
        "rm /etc/nginx/conf.d/00-sites.conf; sed -i '/sites-enabled/d' /etc/nginx/nginx.conf; echo 'server { listen 81; }' >/etc/nginx/sites-enabled/old.conf",
    );
    refused(
        "nginx_not_read",
        &["/etc/nginx/sites-enabled/old.conf, which is not ours"],
    );

    // conf.d itself is not read.
    made("rm /etc/nginx/sites-enabled/old.conf; sed -i '/conf.d/d' /etc/nginx/nginx.conf");
    refused("nginx_not_read", &["/etc/nginx/conf.d/*.conf", "/etc/nginx/nginx.conf"]);

    // By the admin's own way, once: nothing of ours is added. By a pattern that passes ours over: ours is.
    on(
        "h1",
        "rm -r /etc/nginx; cp -a /root/nginx /etc/nginx; rm /etc/nginx/sites-enabled/default; sed -i '/sites-enabled/d' /etc/nginx/nginx.conf; echo 'include /etc/nginx/sites-enabled/*;' >/etc/nginx/conf.d/00-sites.conf; systemctl restart nginx",
    );
    assert!(changes(&prepare()) > 0);
    assert!(!on("h1", "cat /etc/nginx/conf.d/lamplighter.conf").contains("include"));
    let id = domain(&house, "www.alpha.test", 1, &json!({}));
    changes(&deploy(&house, id));
    assert_eq!(page("h1", "www.alpha.test"), "app");
    on(
        "h1",
        "sed -i 's/\\*;/*.vhost;/' /etc/nginx/conf.d/00-sites.conf; echo 'server { listen 81; }' >/etc/nginx/sites-enabled/theirs.vhost",
    );
    assert!(changes(&prepare()) > 0);
    assert_eq!(changes(&prepare()), 0, "the second time");
    assert_eq!(page("h1", "www.alpha.test"), "app");

    // An nginx of somebody's own, which the service runs: nothing is installed beside it.
    on("h1", "systemctl stop nginx; mkdir -p /opt/nginx; cp /usr/sbin/nginx /opt/nginx/; printf 'pid /run/nginx.pid;\nevents {}\nhttp { server { listen 80; return 200 own; } }\n' >/opt/nginx/own.conf
        mkdir -p /etc/systemd/system/nginx.service.d; printf '[Service]\nExecStartPre=\nExecStart=\nExecStart=/opt/nginx/nginx -c /opt/nginx/own.conf\n' >/etc/systemd/system/nginx.service.d/own.conf
        systemctl daemon-reload; systemctl start nginx; dpkg -l | sha256sum >/tmp/packages");
    let task = prepare();
    let say = task["error"]["message"].as_str().unwrap_or_default();
    assert!(
        say.contains("/opt/nginx/nginx") && say.contains("/opt/nginx/own.conf"),
        "{task}"
    );
    assert_eq!(page("h1", "any.alpha.test"), "own");
    // With the line that was named it is as good as any.
    on(
        "h1",
        "sed -i 's|http {|http { include /etc/nginx/conf.d/*.conf;|' /opt/nginx/own.conf; systemctl reload-or-restart nginx",
    );
    changes(&prepare());
    changes(&deploy(&house, id));
    assert_eq!(page("h1", "www.alpha.test"), "app");
}

// --- the reason, always ---------------------------------------------------------------------------------------------

/// What a refused task says; it has this code.
#[track_caller]
fn reason(task: &Value, code: &str) -> String {
    assert_eq!(task["error"]["code"], code, "{task}");
    task["error"]["message"].as_str().unwrap().to_string()
}

#[track_caller]
fn says(said: &str, words: &[&str]) {
    assert!(words.iter().all(|word| said.contains(word)), "{words:?} in: {said}");
}

#[test]
#[ignore = "lab: h1 infra"]
fn what_stands_before_a_site_or_a_challenge_is_passed_or_named() {
    let all = "/etc/nginx/conf.d/00-all.conf";
    let (house, _hosts) = lived_in(&format!(
        "echo 'u:{{PLAIN}}p' >/etc/nginx/staff; echo 'auth_basic staff; auth_basic_user_file /etc/nginx/staff; allow 192.0.2.0/24; deny all;' >{all}; systemctl reload nginx"
    ));
    // A password and a list for all of nginx are not for the ACME server.
    let id = domain(&house, "www.alpha.test", 1, &json!({ "ssl": true }));
    let done = deploy(&house, id);
    changes(&done);
    says(
        &log(&house, &done),
        &[
            "answer: 403",
            &format!("{all} holds for this site, too: auth_basic staff"),
        ],
    );
    assert_eq!(changes(&deploy(&house, id)), 0, "the second time");
    on("h1", &format!("rm {all}; systemctl reload nginx"));

    // A folder that nginx may not enter; and the clock of this server is wrong, too.
    let id = domain(&house, "folder.alpha.test", 1, &json!({ "ssl": true }));
    let shim = "/usr/local/sbin/date";
    on(
        "h1",
        &format!(
            "chmod 750 /var/www; printf '#!/bin/sh\nexec /usr/bin/date -d \"+400 days\" \"$@\"\n' >{shim}; chmod 755 {shim}"
        ),
    );
    says(
        &reason(&deploy(&house, id), "site_not_served"),
        &[
            "status 403",
            "www-data, who may not enter /var/www (drwxr-x--- root:root)",
            "Permission denied",
            "clock is 400 days ahead",
            "put back",
        ],
    );
    on("h1", &format!("chmod 755 /var/www; rm {shim}"));
    changes(&deploy(&house, id));

    // Somebody's listen line holds for all of the port.
    let id = domain(&house, "proxy.alpha.test", 1, &json!({}));
    let kept = on("h1", "sha256sum /etc/nginx/sites-*/*");
    on(
        "h1",
        &format!(
            "echo 'server {{ listen 80 proxy_protocol; server_name lb.test; return 200 lb; }}' >{THEIRS}; systemctl restart nginx"
        ),
    );
    says(
        &reason(&deploy(&house, id), "site_not_served"),
        &["PROXY protocol", THEIRS, "broken header"],
    );
    on("h1", &format!("rm {THEIRS}; systemctl restart nginx"));
    assert_eq!(on("h1", "sha256sum /etc/nginx/sites-*/*"), kept);

    // What lies between us and the file of nginx's own log.
    on(
        "h1",
        &format!(
            "echo 'server {{ listen {}:80; return 418; }}' >{THEIRS}; systemctl restart nginx",
            address("h1")
        ),
    );
    says(
        &reason(&deploy(&house, id), "site_not_served"),
        &["status 418", THEIRS, "that very address"],
    );
    green();
}

#[test]
#[ignore = "lab: h1"]
fn what_stops_a_package_is_named_and_what_does_not_stop_it_is_passed() {
    let broken = "printf '#!/bin/sh\necho it-is-broken >&2; exit 1\n' >/var/lib/dpkg/info/less.postinst; chmod 755 /var/lib/dpkg/info/less.postinst
         sed -i '/^Package: less$/,/^Status/s/^Status: .*/Status: install ok half-configured/' /var/lib/dpkg/status";
    let pin = "/etc/apt/preferences.d/no-nginx";
    let (house, _hosts) = unprepared(
        None,
        &format!(
            "rm -rf /var/cache/apt; printf 'Package: nginx*\nPin: release *\nPin-Priority: -1\n' >{pin}; dpkg -s less | grep -q ^Status; {broken}; dpkg --audit | grep -q less"
        ),
    );
    says(
        &reason(&press(&house, "deploy-proxy"), "package_barred"),
        &["nginx", pin],
    );
    // A package of somebody else that cannot be finished is told, and a folder that is missing is no full disk.
    on("h1", &format!("rm {pin}"));
    let task = press(&house, "deploy-proxy");
    changes(&task);
    says(&log(&house, &task), &["less is half-configured", "it-is-broken"]);
    assert_eq!(changes(&press(&house, "deploy-proxy")), 0);
    green();

    // A unit that somebody has forbidden to start.
    on(
        "h1",
        "systemctl stop nginx; systemctl disable -q nginx; systemctl mask -q nginx",
    );
    let said = press(&house, "deploy-proxy")["error"]["message"]
        .as_str()
        .unwrap()
        .to_string();
    says(&said, &["nginx.service", "masked"]);
}
