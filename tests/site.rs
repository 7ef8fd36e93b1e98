//! A domain as an nginx file, without a server: what comes out, read back as nginx reads it, whatever goes in.

use lamplighter::base::text::base64;
use lamplighter::features::domains::nginx::{self, Directive, block, line};
use lamplighter::features::domains::site::{self, Rendered, Site, Target, Tls, render};
use lamplighter::provision::site::{Http2, Nginx, Proof};
use std::fs;
use std::path::Path;

const BOOKWORM: Nginx = Nginx {
    http2: Http2::Listen,
    tickets_off: true,
    mlkem: false,
    ipv6: true,
};

fn target(host: &str, port: u16, weight: Option<u16>) -> Target {
    Target {
        host: host.into(),
        port,
        weight,
    }
}

fn plain<'a>(domain: &'a str, upstream: &'a [Target]) -> Site<'a> {
    Site {
        domain,
        id: 7,
        generation: 3,
        upstream,
        tls: None,
        nginx: BOOKWORM,
    }
}

fn secure<'a>(domain: &'a str, upstream: &'a [Target], hsts_max_age_s: Option<i64>) -> Site<'a> {
    Site {
        tls: Some(Tls {
            hsts_max_age_s,
            chain: "/etc/letsencrypt/live/app.example.com/fullchain.pem",
            key: "/etc/letsencrypt/live/app.example.com/privkey.pem",
        }),
        ..plain(domain, upstream)
    }
}

fn one() -> Vec<Target> {
    vec![target("10.0.0.5", 8080, None)]
}

// --- golden files ---------------------------------------------------------------------------------------------------

fn golden(name: &str, site: &Site) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/nginx")
        .join(name);
    let made = render(site).unwrap().text;
    if std::env::var_os("LAMPLIGHTER_ACCEPT").is_some() {
        fs::write(&path, &made).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        made, kept,
        "{name} changed: look at it, then run with LAMPLIGHTER_ACCEPT=1"
    );
}

#[test]
fn every_kind_of_site_has_its_file() {
    golden("http.conf", &plain("app.example.com", &one()));
    let several = [
        target("10.0.0.5", 8080, Some(3)),
        target("fd00::5", 8080, None),
        target("backend.internal", 80, Some(1)),
    ];
    golden("http-several.conf", &plain("app.example.com", &several));
    golden("tls-listen.conf", &secure("app.example.com", &one(), None));
    let new = Nginx::of("1.26.3", "3.5.1", false).unwrap();
    golden(
        "tls-directive.conf",
        &Site {
            nginx: new,
            ..secure("app.example.com", &several, None)
        },
    );
    golden("tls-hsts.conf", &secure("app.example.com", &one(), Some(31_536_000)));
    golden("idn.conf", &plain("xn--e1afmkfd.xn--p1ai", &one()));
}
