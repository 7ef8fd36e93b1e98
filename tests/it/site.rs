//! A domain as an nginx file, without a server: what comes out, read back as nginx reads it, whatever goes in.

use crate::common::{Dice, rounds};
use lamplighter::base::nginx::{self, Directive, block, line};
use lamplighter::features::proxy::domains::{self, RenderedVhost, Vhost, VhostTls, render_vhost};
use lamplighter::features::proxy::upstreams::Target;
use lamplighter::provision::site::{Http2, Nginx, Proof};
use std::fs;
use std::net::IpAddr;
use std::path::Path;

const BOOKWORM: Nginx = Nginx::DEBIAN_12;

fn target(host: &str, port: u16, weight: Option<u16>) -> Target {
    Target {
        host: host.into(),
        port,
        weight,
    }
}

fn plain<'a>(domain: &'a str, upstream: &'a [Target]) -> Vhost<'a> {
    Vhost {
        domain,
        id: 7,
        generation: 3,
        upstream,
        tls: None,
        peers: &[],
        nginx: BOOKWORM,
    }
}

fn secure<'a>(domain: &'a str, upstream: &'a [Target], hsts_max_age_s: Option<i64>) -> Vhost<'a> {
    Vhost {
        tls: Some(VhostTls {
            hsts_max_age_s,
            chain: "/etc/letsencrypt/live/app.example.com/fullchain.pem",
            key: "/etc/letsencrypt/live/app.example.com/privkey.pem",
        }),
        ..plain(domain, upstream)
    }
}

fn peers() -> [IpAddr; 2] {
    ["10.0.0.7".parse().unwrap(), "fd00::7".parse().unwrap()]
}

fn one() -> Vec<Target> {
    vec![target("10.0.0.5", 8080, None)]
}

// --- golden files ---------------------------------------------------------------------------------------------------

fn golden(name: &str, site: &Vhost) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/nginx")
        .join(name);
    let made = render_vhost(site).unwrap().text;
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
    // A name is resolved when it is asked for; among several only by an nginx that can, and never what the server knows itself:
    // those are in files that the server looks up.
    let name = [target("backend.internal", 80, None)];
    golden("http-name.conf", &plain("app.example.com", &name));
    let own = Vhost {
        nginx: Nginx {
            own_names: vec!["backend.internal".into()],
            ..BOOKWORM
        },
        ..plain("app.example.com", &name)
    };
    let made = render_vhost(&own).unwrap();
    assert_eq!(made.followed, ["backend.internal:80"]);
    assert!(
        made.text
            .contains("include /etc/nginx/lamplighter/targets/backend.internal:80.conf;")
    );
    let new = Nginx::of("1.27.3", "3.5.1", false).unwrap();
    golden(
        "http-names.conf",
        &Vhost {
            nginx: new,
            ..plain("app.example.com", &several)
        },
    );
    golden("tls-listen.conf", &secure("app.example.com", &one(), None));
    let new = Nginx::of("1.26.3", "3.5.1", false).unwrap();
    golden(
        "tls-directive.conf",
        &Vhost {
            nginx: new,
            ..secure("app.example.com", &several, None)
        },
    );
    golden("tls-hsts.conf", &secure("app.example.com", &one(), Some(31_536_000)));
    golden(
        "tls-peers.conf",
        &Vhost {
            peers: &peers(),
            ..secure("app.example.com", &several, None)
        },
    );
    golden("idn.conf", &plain("xn--e1afmkfd.xn--p1ai", &one()));
}

// --- what is meant, written down a second time ----------------------------------------------------------------------

fn words(text: &str) -> Directive {
    line(text.split(' '))
}

/// A location of the proof, as it stands in `made`.
fn proof(made: &RenderedVhost) -> Directive {
    block(
        ["location", "=", &made.proof.path],
        vec![
            words("access_log off"),
            words("default_type text/plain"),
            line(["return", "200", &format!("{}\n", made.proof.body)]),
        ],
    )
}

fn challenge() -> Directive {
    block(
        ["location", "^~", "/.well-known/acme-challenge/"],
        vec![
            words("auth_basic off"),
            words("allow all"),
            words("root /var/www/lamplighter"),
            words("default_type text/plain"),
        ],
    )
}

fn pass(place: &str, asked: Option<&str>, hsts: bool) -> Directive {
    let mut lines = match asked {
        None => vec![line(["proxy_pass", &format!("http://{place}")])],
        Some(name) => vec![
            words("include /etc/nginx/lamplighter/resolver.conf"),
            line(["set", "$lamplighter_target", name]),
            words("proxy_pass http://$lamplighter_target"),
            line(["proxy_redirect", &format!("http://{name}/"), "/"]),
        ],
    };
    for text in [
        "proxy_http_version 1.1",
        "proxy_set_header Host $host",
        "proxy_set_header X-Real-IP $remote_addr",
        "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for",
        "proxy_set_header X-Forwarded-Proto $scheme",
        "proxy_set_header X-Forwarded-Host $host",
        "proxy_set_header X-Forwarded-Port $server_port",
        "proxy_set_header Upgrade $http_upgrade",
        "proxy_set_header Connection $lamplighter_connection",
    ] {
        lines.push(words(text));
    }
    lines.extend(hsts.then(|| words("proxy_hide_header Strict-Transport-Security")));
    for text in [
        "proxy_connect_timeout 10s",
        "proxy_send_timeout 60s",
        "proxy_read_timeout 300s",
        "client_max_body_size 50m",
    ] {
        lines.push(words(text));
    }
    block(["location", "/"], lines)
}

/// The whole site as nginx must see it.
fn expected(site: &Vhost, made: &RenderedVhost) -> Vec<Directive> {
    let mut out = Vec::new();
    let at = |t: &Target| match t.host.parse::<std::net::Ipv6Addr>() {
        Ok(_) => format!("[{}]:{}", t.host, t.port),
        Err(_) => format!("{}:{}", t.host, t.port),
    };
    let is_asked = |t: &Target| t.host.parse::<std::net::IpAddr>().is_err() && !site.nginx.own_names.contains(&t.host);
    let first = &site.upstream[0];
    let alone = site.upstream.len() == 1;
    let asked = (alone && is_asked(first)).then(|| at(first));
    let is_name = |t: &Target| t.host.parse::<std::net::IpAddr>().is_err();
    let is_followed = |t: &Target| {
        let among_several = site.upstream.len() > 1 && !site.nginx.resolve;
        is_name(t) && (site.nginx.own_names.contains(&t.host) || among_several)
    };
    let alone = alone && first.weight.is_none() && !is_followed(first);
    let place = match alone {
        true => at(first),
        false => format!("lamplighter_{}", site.domain),
    };
    if !alone && asked.is_none() {
        let resolves = |t: &Target| site.nginx.resolve && is_asked(t);
        let weight = |t: &Target| t.weight.map_or(String::new(), |weight| format!(":{weight}"));
        let mut lines = Vec::new();
        if site.upstream.iter().any(resolves) {
            lines.push(words(&format!("zone {place} 256k")));
            lines.push(words("include /etc/nginx/lamplighter/resolver.conf"));
        }
        lines.extend(site.upstream.iter().map(|t| {
            if is_followed(t) {
                let (host, port, weight) = (&t.host, t.port, weight(t));
                return words(&format!(
                    "include /etc/nginx/lamplighter/targets/{host}:{port}{weight}.conf"
                ));
            }
            let mut text = vec!["server".to_string(), at(t)];
            text.extend(resolves(t).then(|| "resolve".to_string()));
            text.extend(t.weight.map(|weight| format!("weight={weight}")));
            line(text)
        }));
        out.push(block(["upstream", &place], lines));
    }
    let listen = |text: &str| {
        let mut lines = vec![words(&format!("listen {text}"))];
        lines.extend(site.nginx.ipv6.then(|| words(&format!("listen [::]:{text}"))));
        lines
    };
    let mut plain = listen("80");
    plain.extend([
        line(["server_name", site.domain]),
        words("server_tokens off"),
        proof(made),
    ]);
    let mut answer = challenge();
    if !site.peers.is_empty() {
        let name = format!("lamplighter_challenge_{}", site.domain);
        let at = |ip: &IpAddr| match ip {
            IpAddr::V4(ip) => format!("server {ip}:80"),
            IpAddr::V6(ip) => format!("server [{ip}]:80"),
        };
        out.push(block(
            ["upstream", &name],
            site.peers.iter().map(|ip| words(&at(ip))).collect(),
        ));
        plain.push(block(
            ["location", "@lamplighter_challenge"],
            vec![
                words("auth_basic off"),
                words("allow all"),
                block(["if", "($http_lamplighter_challenge)"], vec![words("return 404")]),
                words(&format!("proxy_pass http://{name}")),
                words(&format!("proxy_set_header Host {}", site.domain)),
                words("proxy_set_header Lamplighter-Challenge passed"),
                words("proxy_next_upstream error timeout http_404"),
                words("proxy_connect_timeout 2s"),
                words("proxy_read_timeout 2s"),
            ],
        ));
        let inside = answer.block.as_mut().unwrap();
        inside.push(words("try_files $uri @lamplighter_challenge"));
    }
    plain.push(answer);
    let Some(tls) = &site.tls else {
        plain.push(pass(&place, asked.as_deref(), false));
        out.push(block(["server"], plain));
        return out;
    };
    plain.push(block(
        ["location", "/"],
        vec![line(["return", "301", &format!("https://{}$request_uri", site.domain)])],
    ));
    out.push(block(["server"], plain));
    let mut secure = match site.nginx.http2 {
        Http2::Off => listen("443 ssl"),
        Http2::Listen => listen("443 ssl http2"),
        Http2::Directive => [listen("443 ssl"), vec![words("http2 on")]].concat(),
    };
    secure.extend([
        line(["server_name", site.domain]),
        words("server_tokens off"),
        line(["ssl_certificate", tls.chain]),
        line(["ssl_certificate_key", tls.key]),
    ]);
    // Word for word from Mozilla's guidelines 6.0, intermediate.
    for text in [
        "ssl_protocols TLSv1.2 TLSv1.3",
        "ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305",
        "ssl_prefer_server_ciphers off",
    ] {
        secure.push(words(text));
    }
    secure.push(words(match site.nginx.mlkem {
        true => "ssl_ecdh_curve X25519MLKEM768:X25519:prime256v1:secp384r1",
        false => "ssl_ecdh_curve X25519:prime256v1:secp384r1",
    }));
    secure.push(words("ssl_session_timeout 1d"));
    secure.push(words("ssl_session_cache shared:lamplighter:10m"));
    secure.extend(site.nginx.tickets_off.then(|| words("ssl_session_tickets off")));
    secure.extend(tls.hsts_max_age_s.map(|age| {
        line([
            "add_header",
            "Strict-Transport-Security",
            &format!("max-age={age}"),
            "always",
        ])
    }));
    secure.push(proof(made));
    secure.push(pass(&place, asked.as_deref(), tls.hsts_max_age_s.is_some()));
    out.push(block(["server"], secure));
    out
}

// --- hash, marker, proof --------------------------------------------------------------------------------------------

#[test]
fn an_equal_body_has_an_equal_hash_whatever_the_generation() {
    let targets = one();
    let site = plain("app.example.com", &targets);
    let first = render_vhost(&site).unwrap();
    let later = render_vhost(&Vhost {
        generation: 9,
        ..site.clone()
    })
    .unwrap();
    assert_eq!((&first.hash, &first.proof), (&later.hash, &later.proof));
    assert_ne!(first.text, later.text);
    let marker = domains::marker(&later.text).unwrap();
    assert_eq!((marker.id, marker.generation, &marker.hash), (7, 9, &first.hash));
    assert!(domains::untouched(&later.text));
    assert!(!domains::untouched(&later.text.replace("10s", "11s")));
    for foreign in [
        "",
        "server {}",
        "# lamplighter domain=x generation=1 sha256=0\n",
        "# lamplighter domain=1 generation=1 sha256=00 x\n",
    ] {
        assert_eq!(domains::marker(foreign), None, "{foreign:?}");
        assert!(!domains::untouched(foreign) && domains::proof_in(foreign).is_none());
    }
}

#[test]
fn every_difference_has_a_proof_of_its_own() {
    let (one, other) = (one(), [target("10.0.0.6", 8080, None)]);
    let texts: Vec<RenderedVhost> = [
        plain("app.example.com", &one),
        plain("app2.example.com", &one),
        plain("app.example.com", &other),
        secure("app.example.com", &one, None),
        secure("app.example.com", &one, Some(1)),
        Vhost {
            nginx: Nginx {
                ipv6: false,
                ..BOOKWORM
            },
            ..plain("app.example.com", &one)
        },
    ]
    .iter()
    .map(|site| render_vhost(site).unwrap())
    .collect();
    for (n, a) in texts.iter().enumerate() {
        assert_eq!(domains::proof_in(&a.text).as_ref(), Some(&a.proof));
        assert!(
            !a.proof.path.contains(&a.proof.body[..8]),
            "an echo of the path proves nothing"
        );
        let blocks = a.text.matches("server {").count();
        assert_eq!(a.text.matches(&a.proof.path).count(), blocks, "in every server block");
        for b in &texts[n + 1..] {
            assert!(a.proof.path != b.proof.path && a.proof.body != b.proof.body && a.hash != b.hash);
        }
    }
    let dir = Proof::DIR;
    assert!(Proof::new(&format!("{dir}0123456789abcdef"), &"0".repeat(32)).is_some());
    for (path, body) in [
        ("0123456789abcde", 32),
        ("0123456789abcdeF", 32),
        ("../../../../../../", 32),
        ("0123456789abcdef", 31),
    ] {
        assert!(
            Proof::new(&format!("{dir}{path}"), &"0".repeat(body)).is_none(),
            "{path}"
        );
    }
}

#[test]
fn whom_a_text_asks_and_its_pair_are_read_from_it() {
    let (one, peers) = (one(), peers());
    let site = Vhost {
        peers: &peers,
        ..secure("app.example.com", &one, None)
    };
    let text = render_vhost(&site).unwrap().text;
    assert_eq!(domains::peers_in(&text), peers);
    let tls = site.tls.as_ref().unwrap();
    assert_eq!(domains::pair_in(&text), Some((tls.chain.into(), tls.key.into())));
    let text = render_vhost(&plain("app.example.com", &one)).unwrap().text;
    assert_eq!((domains::peers_in(&text), domains::pair_in(&text)), (vec![], None));
}

#[test]
fn versions_decide_the_syntax() {
    let of = |nginx: &str, openssl: &str| {
        Nginx::of(nginx, openssl, true).map(|n| (n.http2 == Http2::Directive, n.tickets_off, n.mlkem))
    };
    assert_eq!(of("1.18.0", "1.1.1"), Some((false, true, false)));
    assert_eq!(of("1.22.1", "3.0.17"), Some((false, true, false)));
    assert_eq!(of("1.23.2", "3.4.9"), Some((false, false, false)));
    assert_eq!(of("1.25.0", "3.5.0"), Some((false, false, true)));
    assert_eq!(of("1.25.1", "3.5"), Some((true, false, true)));
    assert_eq!(of("1.26.3", ""), Some((true, false, false)));
    assert_eq!(of("2.0", "4.0.0-beta1"), Some((true, false, true)));
    for bad in ["", "1", "x.y.z", "-1.2.3", "99999999999.1.1"] {
        assert_eq!(of(bad, "3.0.0"), None, "{bad}");
    }
}

// --- reading --------------------------------------------------------------------------------------------------------

#[test]
fn words_are_cut_as_nginx_cuts_them() {
    for (text, read) in [
        ("a b;", line(["a", "b"])),
        ("a\t\r\n b ; # c;\n", line(["a", "b"])),
        ("a 'b ; } c' \"d\\\"e\";", line(["a", "b ; } c", "d\"e"])),
        ("a \"x\\n\\t\\\\\\q\" y\\ z;", line(["a", "x\n\t\\\\q", "y\\ z"])),
        ("a ${b}c;", line(["a", "${b}c"])),
        ("a b#c d\"e;", line(["a", "b#c", "d\"e"])),
        ("a \"\" '';", line(["a", "", ""])),
        ("a{b;c{}}", block(["a"], vec![line(["b"]), block(["c"], vec![])])),
        (
            "if ($x = \"y\") { a; }",
            block(["if", "($x", "=", "y", ")"], vec![line(["a"])]),
        ),
        ("a b}c;", line(["a", "b}c"])),
    ] {
        assert_eq!(nginx::parse(text), Ok(vec![read]), "{text}");
    }
    assert_eq!(nginx::parse("# nothing"), Ok(vec![]));
    for (text, at) in [
        ("a", 1),
        ("a\nb", 2),
        (";", 1),
        ("{", 1),
        ("a {\n b;\n", 3),
        ("a;\n}", 2),
        ("a { b }", 1),
        ("a \"b", 1),
        ("a \"b\"c;", 1),
    ] {
        assert_eq!(nginx::parse(text).map_err(|e| e.line), Err(at), "{text}");
    }
    let deep = |n: usize| format!("{}{}", "a{".repeat(n), "}".repeat(n));
    assert!(nginx::parse(&deep(nginx::DEPTH_MAX)).is_ok());
    assert!(nginx::parse(&deep(nginx::DEPTH_MAX + 1)).is_err());
    assert!(nginx::parse(&"a;".repeat(nginx::SIZE_MAX / 2 + 1)).is_err());
}

// --- fuzz -----------------------------------------------------------------------------------------------------------

/// What nginx, a shell or a URL might misread.
trait Bend {
    /// A good value, bent in up to three places by pieces that mean something to nginx, a shell or a URL.
    fn bend(&mut self, good: &str) -> String;
}

impl Bend for Dice {
    fn bend(&mut self, good: &str) -> String {
        const PIECES: &[&str] = &[
            ";",
            "{",
            "}",
            "#",
            "\"",
            "'",
            "\\",
            " ",
            "\t",
            "\n",
            "\r\n",
            "\0",
            "$",
            "${x}",
            "$host",
            "..",
            "/",
            "-",
            "_",
            "*",
            ":",
            "[",
            "]",
            "@",
            "%0a",
            "&",
            "|",
            "`id`",
            "$(id)",
            "é",
            "\u{202e}",
            "xn--",
            "weight=0",
            "; return 200 x",
            "\";}",
            "server{",
            "include /etc/passwd;",
            ".",
            "A",
            "0",
            "999999",
            "127.1",
            "::1",
            "%25",
        ];
        let mut text: Vec<char> = good.chars().collect();
        // Half of them stay good, or nothing would ever get through.
        let times = [0, self.roll(4)][self.roll(2)];
        for _ in 0..times {
            let at = self.roll(text.len() + 1);
            match self.roll(4) {
                0 if !text.is_empty() => drop(text.remove(at.min(text.len() - 1))),
                1 => text.truncate(at),
                _ => drop(text.splice(at..at, self.pick(PIECES).chars())),
            }
        }
        text.into_iter().collect()
    }
}

#[test]
fn whatever_comes_in_is_refused_or_means_exactly_itself() {
    let mut dice = Dice::new(0x5eed_0001);
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..rounds(50_000) {
        let good = dice.pick(&["app.example.com", "xn--e1afmkfd.xn--p1ai", "a.b.c.d.example.org"]);
        let domain = dice.bend(good);
        let mut upstream = Vec::new();
        for _ in 0..=dice.roll(3) {
            let good = dice.pick(&["10.0.0.5", "fd00::5", "backend.internal", "::1", "localhost"]);
            let weight = [None, Some(dice.roll(4) as u16)][dice.roll(2)];
            upstream.push(target(&dice.bend(good), dice.roll(65_536) as u16, weight));
        }
        let (chain, key) = (
            dice.bend("/etc/ssl/a/fullchain.pem"),
            dice.bend("/etc/ssl/a/privkey.pem"),
        );
        let tls = (dice.roll(2) == 1).then(|| VhostTls {
            hsts_max_age_s: [None, Some(dice.roll(100_000) as i64 - 10)][dice.roll(2)],
            chain: &chain,
            key: &key,
        });
        let site = Vhost {
            domain: &domain,
            id: dice.roll(1000) as i64,
            generation: dice.roll(1000) as i64,
            upstream: &upstream,
            tls,
            peers: &peers()[..dice.roll(3)],
            nginx: Nginx {
                http2: [Http2::Listen, Http2::Directive, Http2::Off][dice.roll(3)],
                tickets_off: dice.roll(2) == 1,
                mlkem: dice.roll(2) == 1,
                ipv6: dice.roll(2) == 1,
                resolve: dice.roll(2) == 1,
                own_names: upstream
                    .iter()
                    .filter(|_| dice.roll(2) == 1)
                    .map(|t| t.host.clone())
                    .collect(),
            },
        };
        match render_vhost(&site) {
            Ok(made) => {
                taken += 1;
                let (_, body) = made.text.split_once('\n').unwrap();
                assert_eq!(nginx::parse(body), Ok(expected(&site, &made)), "{site:?}");
                assert!(domains::untouched(&made.text));
            }
            Err(e) => {
                refused += 1;
                assert_eq!(e.code, "internal");
            }
        }
    }
    println!("{taken} taken, {refused} refused");
    assert!(
        taken > 5_000 && refused > 10_000,
        "both ways are tried: {taken} {refused}"
    );
}

#[test]
fn no_text_confuses_the_reader_and_what_it_reads_it_can_write() {
    let mut dice = Dice::new(0x5eed_0002);
    let texts: Vec<String> = ["http.conf", "http-several.conf", "tls-hsts.conf"]
        .iter()
        .map(|name| {
            fs::read_to_string(
                Path::new(env!("CARGO_MANIFEST_DIR"))
                    .join("tests/data/nginx")
                    .join(name),
            )
            .unwrap()
        })
        .collect();
    let mut read = 0;
    for _ in 0..rounds(50_000) {
        let whole = &texts[dice.roll(texts.len())];
        let from = whole.floor_char_boundary(dice.roll(whole.len()));
        let piece = &whole[from..whole.floor_char_boundary((from + dice.roll(400)).min(whole.len()))];
        let text = dice.bend(piece);
        if let Ok(tree) = nginx::parse(&text) {
            read += 1;
            assert_eq!(nginx::parse(&nginx::print(&tree)).as_ref(), Ok(&tree), "{text:?}");
        }
    }
    assert!(read > 1_000, "{read}");
}

#[test]
fn any_word_is_written_so_that_it_is_read_again() {
    let mut dice = Dice::new(0x5eed_0003);
    for _ in 0..rounds(20_000) {
        let words: Vec<String> = (0..=dice.roll(3)).map(|_| dice.bend("a b")).collect();
        let tree = vec![block(words.clone(), vec![line(words)])];
        assert_eq!(nginx::parse(&nginx::print(&tree)).as_ref(), Ok(&tree));
    }
}

#[test]
fn what_a_person_must_not_type_is_no_site() {
    let all: serde_json::Value = serde_json::from_str(
        &fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/bad-inputs/inputs.json")).unwrap(),
    )
    .unwrap();
    let targets = one();
    let mut tried = 0;
    for list in all.as_object().unwrap().values().filter_map(|v| v.as_array()) {
        for text in list.iter().filter_map(|v| v.as_str()) {
            tried += 1;
            // Some of them are good host names, just not what that list asks for: then they mean themselves.
            let site = plain(text, &targets);
            if let Ok(made) = render_vhost(&site) {
                let (_, body) = made.text.split_once('\n').unwrap();
                assert_eq!(nginx::parse(body), Ok(expected(&site, &made)), "{text:?}");
            }
            let upstream = [target(text, 80, None)];
            let site = plain("app.example.com", &upstream);
            if let Ok(made) = render_vhost(&site) {
                let (_, body) = made.text.split_once('\n').unwrap();
                assert_eq!(nginx::parse(body), Ok(expected(&site, &made)), "{text:?}");
            }
        }
    }
    println!("{tried} tried");
    for bad in [
        target("10.0.0.5", 0, None),
        target("10.0.0.5", 80, Some(0)),
        target("[::1]", 80, None),
    ] {
        assert!(
            render_vhost(&plain("app.example.com", std::slice::from_ref(&bad))).is_err(),
            "{bad:?}"
        );
    }
    for bad in [
        "10.0.0.5",
        "localhost",
        "App.example.com",
        "app.example.com.",
        "*.example.com",
        "a b.example.com",
        "",
    ] {
        assert!(render_vhost(&plain(bad, &targets)).is_err(), "{bad:?}");
    }
    assert!(render_vhost(&plain("app.example.com", &[])).is_err());
    assert!(render_vhost(&secure("app.example.com", &targets, Some(-1))).is_err());
}
