//! The watch over certificates on a real nginx with a chain of a real ACME server: issued, renewed without a reload,
//! reloaded, gone. Needs the lab (`tests/lab`), host h6 and infra.

use crate::common;

use common::lab::{Hosts, address, on};
use common::*;
use serde_json::{Value, json};

const NAME: &str = "watch.h6.lab.test";

/// Has certbot issue, or renew before its time.
fn certbot(more: &str) {
    on(
        "h6",
        &format!(
            "export REQUESTS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt; certbot certonly --webroot -w /var/www/lamplighter -n \
             --agree-tos --register-unsafely-without-email --server https://acme.lab.test:14000/dir --cert-name {NAME} \
             -d {NAME} {more} >/tmp/certbot.log 2>&1 || {{ cat /tmp/certbot.log >&2; exit 1; }}"
        ),
    );
}

fn nginx(tls: &str) {
    let site = format!(
        "server {{ listen 80; listen [::]:80; server_name {NAME}; location / {{ root /var/www/lamplighter; }} }} {tls}"
    );
    on(
        "h6",
        &format!(
            "mkdir -p /var/www/lamplighter; echo '{site}' > /etc/nginx/sites-enabled/watch.conf; \
             systemctl start nginx && nginx -t 2>/dev/null && systemctl reload nginx"
        ),
    );
}

#[test]
#[ignore = "lab: h6"]
fn what_nginx_really_shows_is_seen_not_what_lies_on_its_disk() {
    let _hosts = Hosts::fresh(&["h6"], Some("web"));
    nginx("");
    certbot("");
    let live = format!("/etc/letsencrypt/live/{NAME}");
    let tls = format!(
        "server {{ listen 443 ssl http2; listen [::]:443 ssl http2; server_name {NAME}; ssl_certificate {live}/fullchain.pem; \
         ssl_certificate_key {live}/privkey.pem; return 204; }}"
    );
    nginx(&tls);

    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let mut server = server("edge", 22);
    server["host"] = json!(address("h6"));
    let id = admin.post("/api/servers", &server).is(201)["id"].clone();
    let body = json!({ "domain": NAME, "ssl": true, "server_ids": [id] });
    let domain = admin.post("/api/domains", &body).is(201)["id"].clone();
    house
        .database("lamplighter.db")
        .execute(
            "UPDATE domain_sites SET state = 'live', name = ?1, text = 'ssl_certificate x;'",
            [NAME],
        )
        .unwrap();
    let place = format!("/api/domains/{domain}/certificate/check");
    let look = || -> Value { admin.post(&place, &json!({})).is(200) };
    let serial = |told: &Value| told["served"][0]["serial"].as_str().unwrap().to_string();

    // Nobody outside knows this authority.
    let told = look();
    assert_eq!(told["served"][0]["code"], "untrusted", "{told}");
    let set = json!({ "acme.directory": "https://acme.lab.test:14000/dir" });
    admin.put("/api/settings", &set).is(200);
    let told = look();
    let served = &told["served"][0];
    assert_eq!(
        (&told["state"], &served["private_ca"]),
        (&json!("ok"), &json!(true)),
        "{told}"
    );
    assert!(
        served["issuer"].as_str().unwrap().starts_with("Pebble Intermediate"),
        "{told}"
    );
    assert_eq!(served["names"], json!([NAME]));
    let on_disk = format!("openssl x509 -noout -serial -in {live}/cert.pem | cut -d= -f2 | tr A-F a-f");
    let first = serial(&told);
    assert_eq!(
        first.replace(':', "").trim_start_matches('0'),
        on("h6", &on_disk).trim_start_matches('0')
    );

    // Renewed, and nobody told nginx.
    certbot("--force-renewal");
    assert_ne!(first.replace(':', ""), on("h6", &on_disk));
    assert_eq!(serial(&look()), first, "nginx shows what it has read");
    on("h6", "systemctl reload nginx");
    let renewed = eventually("the new one is shown", || {
        let told = look();
        (serial(&told) != first).then_some(told)
    });
    assert_eq!(renewed["state"], "ok");

    // Another name's certificate, then nobody at home.
    nginx(
        &tls.replace(NAME, "default.lab.test")
            .replace("default.lab.test/", &format!("{NAME}/")),
    );
    assert_eq!(
        look()["state"],
        "ok",
        "the only certificate there is shown to everybody"
    );
    on("h6", "systemctl stop nginx");
    assert_eq!(look()["state"], "ok");
    let gone = look();
    assert_eq!(
        (&gone["state"], &gone["served"][0]["code"]),
        (&json!("ok"), &json!("unreachable")),
        "a web server that does not run has no bad certificate: {gone}"
    );
    assert_eq!(serial(&gone), serial(&renewed), "what was seen last is still told");
    on("h6", "systemctl start nginx");
    assert_eq!(look()["state"], "ok");
}
