//! Certificates of a person's own: read without trust, judged whole, kept sealed.

use crate::{ca, common};

use ca::{Authority, Issued, Shop};
use common::inputs::{body as encoded, inputs};
use common::*;
use lamplighter::base::clock::{self, DAY, HOUR};
use lamplighter::base::host::Host;
use lamplighter::base::pem;
use lamplighter::base::secret::Secret;
use lamplighter::features::proxy::certificates::{self, covers};
use lamplighter::net::dial::{Call, Security};
use lamplighter::net::policy::Policy;
use lamplighter::net::tls::{Distrust, End};
use lamplighter::net::tls_probe::{ShownChain, probe};
use lamplighter::net::x509::{Certificate, Key, Link};
use rusqlite::params;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/certs")
}

/// The text of these files, one after the other.
fn text(names: &[&str]) -> String {
    let read = |name: &&str| fs::read_to_string(folder().join(format!("{name}.pem"))).unwrap();
    names.iter().map(read).collect()
}

fn ders(text: &str) -> Vec<Vec<u8>> {
    let blocks = pem::blocks(text, 1_000).unwrap();
    blocks.iter().map(|b| b.der.reveal_for("a test").to_vec()).collect()
}

fn der(name: &str) -> Vec<u8> {
    ders(&text(&[name])).remove(0)
}

// ---- reading ---------------------------------------------------------------------------------------------------------

#[test]
fn a_certificate_says_what_openssl_reads_in_it() {
    let bytes = der("ec");
    let c = Certificate::parse(&bytes).unwrap();
    assert_eq!(
        c.names,
        [
            "shop.example",
            "*.shop.example",
            "xn--e1afmkfd.example",
            "192.0.2.7",
            "2001:db8::7"
        ]
    );
    assert_eq!(
        (c.subject.as_str(), c.issuer.as_str()),
        ("shop.example", "Lantern Trust R1")
    );
    assert_eq!(
        (c.serial.as_str(), c.key, c.is_ca),
        ("04:9a:00:e1", Key::Ecdsa(256), false)
    );
    let output = std::process::Command::new("openssl")
        .args([
            "x509",
            "-noout",
            "-fingerprint",
            "-sha256",
            "-dates",
            "-dateopt",
            "iso_8601",
            "-in",
        ])
        .arg(folder().join("ec.pem"))
        .output()
        .unwrap();
    let openssl = String::from_utf8(output.stdout).unwrap();
    let fingerprint = openssl.split("Fingerprint=").nth(1).unwrap().lines().next().unwrap();
    assert_eq!(c.sha256, fingerprint.replace(':', "").to_lowercase());
    for (mark, at) in [("notBefore=", c.not_before), ("notAfter=", c.not_after)] {
        let day = openssl.split(mark).nth(1).unwrap().lines().next().unwrap();
        let read = clock::rfc3339(at).replace('T', " ").replace(".000", "");
        assert_eq!(read, day, "{mark}");
    }
    let words = der("words");
    let c = Certificate::parse(&words).unwrap();
    assert_eq!((c.subject.as_str(), c.is_self_issued()), ("Фонарь свет", true));
    for (name, key) in [
        ("rsa", Key::Rsa(2048)),
        ("weak", Key::Rsa(1024)),
        ("ed25519", Key::Ed25519),
        ("p521", Key::Ecdsa(521)),
        ("root", Key::Ecdsa(384)),
    ] {
        assert_eq!(Certificate::parse(&der(name)).unwrap().key, key, "{name}");
    }
}

#[test]
fn every_authority_that_this_machine_trusts_can_be_read() {
    let Ok(bundle) = fs::read_to_string("/etc/ssl/certs/ca-certificates.crt") else {
        return; // a machine without the package has nothing to read
    };
    let all = ders(&bundle);
    assert!(all.len() > 50);
    for der in all {
        let c = Certificate::parse(&der).expect("a public authority");
        assert!(
            c.is_ca && !c.subject.is_empty() && c.not_after > c.not_before,
            "{}",
            c.subject
        );
    }
}

#[test]
fn who_signed_whom_is_proved_by_the_signature_and_not_by_the_name() {
    let (leaf, ca, twin, root) = (der("ec"), der("ca"), der("twin"), der("root"));
    let read = |der| Certificate::parse(der).unwrap();
    assert_eq!(read(&leaf).link(&read(&ca)), Link::Good);
    assert_eq!(read(&ca).link(&read(&root)), Link::Good);
    assert_eq!(read(&root).link(&read(&root)), Link::Good);
    assert_eq!(read(&leaf).link(&read(&twin)), Link::BadSignature);
    assert_eq!(read(&leaf).link(&read(&root)), Link::OtherIssuer);
    let mut changed = leaf.clone();
    let at = leaf.windows(12).position(|w| w == b"shop.example").unwrap();
    changed[at] = b'S';
    assert_eq!(read(&changed).link(&read(&ca)), Link::BadSignature);
}

#[test]
fn no_damage_makes_the_reader_fall_or_hang() {
    let began = Instant::now();
    let mut dice = Dice::new(20_261_121);
    let (mut read, mut refused) = (0, 0);
    for name in ["ec", "rsa", "ca", "root", "words", "ed25519", "p521", "mail", "self"] {
        let whole = der(name);
        for cut in 0..whole.len() {
            assert!(Certificate::parse(&whole[..cut]).is_none(), "{name} cut at {cut}");
        }
        for _ in 0..rounds(20_000) {
            let mut bytes = whole.clone();
            for _ in 0..=dice.roll(3) {
                let at = dice.roll(bytes.len());
                match dice.roll(5) {
                    0 => bytes[at] = [0, 0x7f, 0x80, 0x81, 0x82, 0x84, 0xff, 0x30][dice.roll(8)],
                    1 => bytes[at] ^= 1 << dice.roll(8),
                    2 => drop(bytes.remove(at)),
                    3 => bytes.insert(at, dice.roll(256) as u8),
                    _ => {
                        let from = dice.roll(bytes.len());
                        let piece = bytes[from.min(at)..from.max(at)].to_vec();
                        bytes.splice(at..at, piece);
                    }
                }
            }
            match Certificate::parse(&bytes) {
                Some(c) => {
                    read += 1;
                    assert!(c.names.iter().all(|n| !n.contains(['\0', ' ', '/'])));
                    assert!(!c.subject.chars().chain(c.issuer.chars()).any(char::is_control));
                    c.link(&c);
                }
                None => refused += 1,
            }
        }
    }
    assert!(read > 1_000 && refused > 1_000, "{read} read, {refused} refused");
    let limit = Duration::from_secs(60) * rounds(1) as u32;
    assert!(began.elapsed() < limit, "{:?}", began.elapsed());
}

#[test]
fn no_paste_makes_the_judge_fall_and_nothing_damaged_passes() {
    let mut dice = Dice::new(7);
    let (chain, key) = (text(&["ec", "ca", "root"]), text(&["ec.key"]));
    let now = clock::now();
    let good = certificates::check_pair(&chain, &Secret::new(key.clone()), now).unwrap();
    let mut passed = 0;
    for round in 0..rounds(3_000) {
        let (mut chain, mut key) = (chain.clone().into_bytes(), key.clone().into_bytes());
        let target = if round % 3 == 0 { &mut key } else { &mut chain };
        for _ in 0..=dice.roll(2) {
            let at = dice.roll(target.len());
            match dice.roll(4) {
                0 => target[at] = b"A/+=-\n :z"[dice.roll(9)],
                1 => drop(target.remove(at)),
                2 => target.insert(at, b'Q'),
                _ => target.truncate(at.max(1)),
            }
        }
        let (chain, key) = (String::from_utf8(chain).unwrap(), String::from_utf8(key).unwrap());
        if let Ok(judged) = certificates::check_pair(&chain, &Secret::new(key), now) {
            // Damage between the blocks passes, and of a whole block, and in the topmost certificate when it no longer
            // says that it signed itself: nobody is there to vouch for that one.
            let (known, read) = (ders(&good.chain), ders(&judged.chain));
            let proved = &read[..read.len() - 1];
            // Where the paste was cut behind the first certificate, that one is the topmost.
            assert!(proved.is_empty() || judged.sha256 == good.sha256, "round {round}");
            assert_eq!(proved, &known[..proved.len()], "round {round}");
            passed += 1;
        }
    }
    assert!(passed < 1_500, "{passed} of 3000 damaged pastes passed");
}

// ---- judging ---------------------------------------------------------------------------------------------------------

#[test]
fn what_would_not_serve_is_told_in_its_own_words() {
    // What, the certificates, the key; which field complains of what.
    type Case<'a> = (&'a str, &'a [&'a str], &'a str, (&'a str, &'a str));
    let cases: &[Case] = &[
        ("another's key", &["ec", "ca"], "rsa.key", ("key", "key_differs")),
        ("weak", &["weak", "ca"], "weak.key", ("key", "key_weak")),
        ("weak, and another's key", &["weak"], "ec.key", ("key", "key_weak")),
        ("P-521", &["p521", "ca"], "p521.key", ("key", "key_unusable")),
        (
            "locked, new form",
            &["ec", "ca"],
            "locked.pkcs8.key",
            ("key", "key_encrypted"),
        ),
        (
            "locked, old form",
            &["rsa", "ca"],
            "locked.pkcs1.key",
            ("key", "key_encrypted"),
        ),
        ("public key", &["ec", "ca"], "ec.public", ("key", "key_is_other")),
        ("certificate as key", &["ec", "ca"], "ec", ("key", "key_is_other")),
        (
            "key among certificates",
            &["ec", "ec.key"],
            "ec.key",
            ("chain", "chain_has_key"),
        ),
        ("request", &["request"], "ec.key", ("chain", "chain_is_request")),
        (
            "public key among certificates",
            &["ec", "ec.public"],
            "ec.key",
            ("chain", "chain_other"),
        ),
        ("no name", &["nameless", "ca"], "nameless.key", ("chain", "no_names")),
        (
            "not for servers",
            &["mail", "ca"],
            "mail.key",
            ("chain", "chain_refused"),
        ),
        (
            "signed by one that may not",
            &["below", "ec", "ca"],
            "below.key",
            ("chain", "chain_refused"),
        ),
        (
            "authority of another key",
            &["ec", "twin"],
            "ec.key",
            ("chain", "chain_bad_signature"),
        ),
        ("a gap", &["ec", "root"], "ec.key", ("chain", "chain_gap")),
        (
            "a stranger",
            &["ec", "ca", "root", "rsa"],
            "ec.key",
            ("chain", "chain_stray"),
        ),
    ];
    let now = clock::now();
    for (what, chain, key, (field, code)) in cases {
        let wrong = certificates::check_pair(&text(chain), &Secret::new(text(&[key])), now).expect_err(what);
        assert_eq!((wrong.field, wrong.code), (*field, *code), "{what}: {}", wrong.say);
        assert!(wrong.say.ends_with('.') || wrong.say.ends_with("pem"), "{}", wrong.say);
    }
}

#[test]
fn a_certificate_out_of_its_time_is_refused_or_noted() {
    let (root, now) = (Authority::root("Lab"), clock::now());
    let check_pair = |issued: &ca::Issued| certificates::check_pair(&issued.pem(), &Secret::new(issued.key_pem()), now);
    let over = check_pair(&root.issue(&["a.example"], now - 9 * DAY, now - DAY)).expect_err("expired");
    assert_eq!((over.field, over.code), ("chain", "expired"));
    let day = clock::rfc3339(now - DAY);
    assert!(over.say.contains(&day[..10]), "{}", over.say);
    let early = root.issue(&["a.example"], now + DAY, now + 9 * DAY);
    let notes = certificates::notes(&check_pair(&early).unwrap().chain, now).unwrap();
    let codes: Vec<_> = notes.iter().map(|n| n.code).collect();
    assert_eq!(codes, ["private_ca", "not_yet_valid"]);
}

#[test]
fn a_chain_is_put_into_order_and_every_usual_form_of_a_key_is_taken() {
    let now = clock::now();
    let check_pair =
        |chain: &[&str], key: &str| certificates::check_pair(&text(chain), &Secret::new(text(&[key])), now).unwrap();
    let right = check_pair(&["ec", "ca", "root"], "ec.key");
    assert!(!right.reordered);
    assert_eq!(ders(&right.chain), ders(&text(&["ec", "ca", "root"])));
    for mixed in [["root", "ca", "ec"], ["ca", "ec", "root"], ["ec", "root", "ca"]] {
        let judged = check_pair(&mixed, "ec.key");
        assert!(judged.reordered && judged.chain == right.chain, "{mixed:?}");
    }
    assert_eq!(
        check_pair(&["ec", "ec", "ca", "ca"], "ec.key").chain,
        check_pair(&["ec", "ca"], "ec.key").chain
    );
    for (name, key) in [
        ("ec", "ec.sec1.key"),
        ("ec", "ec.params.key"),
        ("rsa", "rsa.key"),
        ("rsa", "rsa.pkcs1.key"),
        ("ed25519", "ed25519.key"),
    ] {
        let judged = check_pair(&[name, "ca"], key);
        assert_eq!(
            pem::blocks(judged.key.reveal_text_for("a test"), 2).unwrap().len(),
            1,
            "{key}"
        );
    }
    let notes = |names: &[&str], key| {
        let notes = certificates::notes(&check_pair(names, key).chain, now).unwrap();
        notes.iter().map(|n| n.code).collect::<Vec<_>>()
    };
    assert_eq!(notes(&["self"], "self.key"), ["self_signed"]);
    assert_eq!(notes(&["ed25519", "ca"], "ed25519.key"), ["private_ca", "ed25519"]);
}

// ---- looking ---------------------------------------------------------------------------------------------------------

fn look(port: u16, name: &str) -> lamplighter::base::error::Result<ShownChain> {
    let call = Call {
        host: &Host::parse("127.0.0.1").unwrap(),
        port,
        security: Security::Plain,
        policy: Policy::Server,
        connect_max: Duration::from_secs(10),
        until: clock::mono() + Duration::from_secs(20),
    };
    probe(&call, name)
}

#[test]
fn what_a_server_shows_is_read_whatever_it_is_and_judged_as_a_browser_would() {
    let (root, now) = (Authority::root("Lab Root"), clock::now());
    let ca = root.below("Lab R1");
    let shop = Shop::open("127.0.0.1:0");
    let good = ca.issue_chain(&["good.example", "*.star.example"], now - DAY, now + DAY);
    shop.show("good.example", &good);
    shop.show("a.star.example", &good);
    shop.show("a.b.star.example", &good);
    shop.show(
        "late.example",
        &ca.issue_chain(&["late.example"], now - 9 * DAY, now - HOUR),
    );
    shop.show(
        "early.example",
        &ca.issue_chain(&["early.example"], now + HOUR, now + DAY),
    );
    shop.show("wrong.example", &good);
    shop.show("alone.example", &ca.issue(&["alone.example"], now - DAY, now + DAY));
    let told = |name: &str, extra: &[&[u8]]| {
        let seen = look(shop.port, name).unwrap();
        seen.verdict(extra, now).unwrap()
    };
    let known: &[&[u8]] = &[&root.der];
    assert_eq!(told("good.example", known), Ok(()));
    assert_eq!(told("a.star.example", known), Ok(()));
    assert_eq!(
        told("good.example", &[&ca.der]),
        Ok(()),
        "its issuer may be the one that is trusted"
    );
    assert_eq!(told("good.example", &[]), Err(Distrust::UnknownIssuer));
    assert_eq!(told("a.b.star.example", known), Err(Distrust::WrongName));
    assert_eq!(told("late.example", known), Err(Distrust::Expired));
    assert_eq!(told("early.example", known), Err(Distrust::NotYetValid));
    assert_eq!(told("wrong.example", known), Err(Distrust::WrongName));
    assert_eq!(
        told("alone.example", known),
        Err(Distrust::UnknownIssuer),
        "nobody sent what is in between"
    );
    assert_eq!(look(shop.port, "good.example").unwrap().leaf(), good.der);
    assert_eq!(look(shop.port, "nobody.example").unwrap_err().code, "tls_failed");
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(
        shop.said.load(std::sync::atomic::Ordering::SeqCst),
        0,
        "not a byte is said"
    );
    assert!(shop.visits.load(std::sync::atomic::Ordering::SeqCst) >= 10);
}

#[test]
fn a_chain_is_good_until_the_first_end_on_the_way_that_is_used() {
    let now = clock::now() / 1000 * 1000;
    let (soon, later, ended) = (now + 3 * DAY, now + 60 * DAY, now - DAY);
    let (root, other) = (Authority::root("Root"), Authority::root("Other Root"));
    let old_root = Authority::root_until("Old Root", soon);
    let short = root.below_until("R1", soon);
    let long = root.below("R2");
    let of = |above: &Authority, between: &[&[u8]]| Issued {
        between: between.iter().map(|der| der.to_vec()).collect(),
        ..above.issue(&["shop.example"], now - DAY, later)
    };
    let by_old_root = old_root.below("R3");
    let crossed = of(&short, &[&short.der, &other.cross(&short, now + 900 * DAY)]);
    let roots: &[&[u8]] = &[&root.der, &other.der, &old_root.der];
    let shop = Shop::open("127.0.0.1:0");
    for (story, shown, end, whose) in [
        ("its own end comes first", of(&long, &[&long.der]), later, None),
        ("the one above it", of(&short, &[&short.der]), soon, Some("R1")),
        (
            "the root",
            of(&by_old_root, &[&by_old_root.der]),
            soon,
            Some("Old Root"),
        ),
        ("there is a way round it", crossed, later, None),
        ("it is not on the way", of(&long, &[&short.der, &long.der]), later, None),
    ] {
        shop.show("shop.example", &shown);
        let seen = look(shop.port, "shop.example").unwrap();
        assert_eq!(seen.verdict(roots, now).unwrap(), Ok(()), "{story}");
        let told = seen.good_until(roots, now).unwrap().unwrap();
        assert_eq!((told.at, told.whose.as_deref()), (end, whose), "{story}");
        let after = seen.verdict(roots, end + 1_000).unwrap();
        assert!(after.is_err(), "{story}");
    }
    let gone = root.below_until("R0", ended);
    let gone_root = Authority::root_until("Gone Root", ended);
    let below = gone_root.below("R4");
    for (shown, whose) in [
        (of(&gone, &[&gone.der]), "R0"),
        (of(&below, &[&below.der]), "Gone Root"),
    ] {
        shop.show("shop.example", &shown);
        let seen = look(shop.port, "shop.example").unwrap();
        let end = End {
            at: ended,
            whose: Some(whose.into()),
        };
        let told = seen.verdict(&[&root.der, &gone_root.der], now).unwrap();
        assert_eq!(told, Err(Distrust::IssuerExpired(end)));
    }
}

#[test]
fn no_server_makes_us_wait_and_what_is_no_tls_is_told() {
    let listen = |answer: &'static [u8]| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for mut client in listener.incoming().map_while(Result::ok) {
                std::thread::spawn(move || {
                    let until = Instant::now() + Duration::from_secs(20);
                    while std::io::Write::write_all(&mut client, answer).is_ok() && Instant::now() < until {
                        std::thread::sleep(Duration::from_millis(50));
                    }
                });
            }
        });
        port
    };
    // Says nothing; begins a record and lets it drip; is no TLS at all.
    for (answer, code) in [
        (&b""[..], "read_timeout"),
        (&b"\x16\x03\x03\x40"[..], "tls_not_spoken"),
        (&b"\x16"[..], "tls_not_spoken"),
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "tls_not_spoken"),
    ] {
        let began = Instant::now();
        let host = Host::parse("127.0.0.1").unwrap();
        let call = Call {
            host: &host,
            port: listen(answer),
            security: Security::Plain,
            policy: Policy::Server,
            connect_max: Duration::from_secs(2),
            until: clock::mono() + Duration::from_secs(1),
        };
        let error = probe(&call, "shop.example").unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(5), "{answer:?}");
        assert!(
            [code, "read_timeout", "tls_failed"].contains(&error.code),
            "{answer:?}: {error}"
        );
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    assert_eq!(look(free, "shop.example").unwrap_err().code, "refused");
}

#[test]
fn the_names_of_a_certificate_are_read_as_browsers_read_them() {
    let (root, now) = (Authority::root("Lab"), clock::now());
    let shop = Shop::open("127.0.0.1:0");
    let names = [
        "a.example",
        "*.star.example",
        "xn--e1afmkfd.example",
        "*.xn--e1afmkfd.example",
    ];
    let issued = root.issue(&names, now - DAY, now + DAY);
    let read = Certificate::parse(&issued.der).unwrap();
    for asked in [
        "a.example",
        "b.example",
        "x.star.example",
        "star.example",
        "x.y.star.example",
        "xn--e1afmkfd.example",
        "xn--80a.xn--e1afmkfd.example",
        "www.a.example",
        "example",
    ] {
        shop.show(asked, &issued);
        let verdict = look(shop.port, asked).unwrap().verdict(&[&root.der], now).unwrap();
        assert_eq!(covers(&read.names, asked), verdict.is_ok(), "{asked}: {verdict:?}");
    }
}

// ---- the store -------------------------------------------------------------------------------------------------------

/// The lines of a key that must never be seen.
fn hide(house: &House, key: &str) {
    for line in key.lines().filter(|l| !l.starts_with("---") && l.len() > 30) {
        house.canary(line);
    }
}

fn body(name: &str, chain: &str, key: &str) -> Value {
    json!({ "name": name, "chain": chain, "key": key })
}

#[test]
fn a_certificate_is_added_shown_changed_and_forgotten_and_its_key_never_comes_back() {
    let house = House::with(Processes::One, &[("LAMPLIGHTER_LOG_LEVEL", "debug")]);
    let admin = house.admin();
    let (chain, key) = (text(&["ec", "ca", "root"]), text(&["ec.key"]));
    hide(&house, &key);
    hide(&house, &text(&["rsa.key"]));
    let made = admin.post("/api/certificates", &body("Shops", &text(&["root", "ca", "ec"]), &key));
    let made_json = made.is(201);
    assert_eq!(made_json["notes"][0]["code"], "reordered", "{made_json}");
    assert_eq!(made_json["notes"][1]["code"], "private_ca", "{made_json}");
    let at = format!("/api/certificates/{}", made_json["id"]);
    assert_eq!(made.header("location"), Some(at.as_str()));
    let shown = admin.get(&at);
    let shown = shown.is(200);
    assert_eq!(shown["names"][1], "*.shop.example");
    assert_eq!(
        (&shown["issuer"], &shown["key_type"]),
        (&json!("Lantern Trust R1"), &json!("ECDSA P-256"))
    );
    assert_eq!(
        (&shown["serial"], &shown["state"]),
        (&json!("04:9a:00:e1"), &json!("ok"))
    );
    assert_eq!(ders(shown["chain"].as_str().unwrap()), ders(&chain));
    assert!(shown["days_left"].as_i64().unwrap() > 30_000 && shown["has_key"] == true);
    assert!(shown.get("key").is_none() && shown["used_by"] == json!([]));

    // What was got may be sent back; the key stays.
    let mut again = shown.clone();
    again["name"] = json!("Shops and more");
    assert_eq!(admin.put(&at, &again).is(200)["name"], "Shops and more");
    assert_eq!(admin.patch(&at, &json!({ "name": "Shops" })).is(200)["name"], "Shops");
    // A new pair, a half of one, and what is missing.
    let rsa = (text(&["rsa", "ca"]), text(&["rsa.key"]));
    let refused = admin.patch(&at, &json!({ "chain": rsa.0 }));
    assert_eq!(
        refused.is(422)["fields"][0]["code"],
        "stored_key_differs",
        "{}",
        refused.text()
    );
    let changed = admin.put(&at, &body("Shops", &rsa.0, &rsa.1));
    assert_eq!(changed.is(200)["names"], json!(["rsa.example"]));
    let missing = admin.post("/api/certificates", &json!({}));
    let fields: Vec<_> = missing.is(422)["fields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["field"].clone())
        .collect();
    assert_eq!(fields, ["name", "chain", "key"]);
    admin.put(&at, &json!({ "name": "x" })).is(422);
    admin.patch(&at, &json!({ "key": null })).is(422);
    let twin = admin.post("/api/certificates", &body("sHOPS", &chain, &key));
    assert_eq!(twin.is(409)["fields"][0]["code"], "duplicate", "{}", twin.text());
    assert_eq!(admin.get("/api/certificates?q=rsa.ex").is(200)["total"], 1);
    assert_eq!(admin.get("/api/certificates?q=%25").is(200)["total"], 0);

    // What is opened for a server is the key that was given, in one block.
    let sealed: Vec<u8> = house
        .database("lamplighter.db")
        .query_row("SELECT key FROM certificates", [], |r| r.get(0))
        .unwrap();
    assert!(sealed.len() > 1_000 && sealed[0] == 1);
    admin.delete(&at).is(204);
    admin.get(&at).is(404);
    let left: i64 = house
        .database("lamplighter.db")
        .query_row("SELECT count(*) FROM certificates", [], |r| r.get(0))
        .unwrap();
    assert_eq!(left, 0);
    let told: Vec<String> = house
        .database("lamplighter.db")
        .prepare("SELECT action FROM audit WHERE action LIKE 'certificate.%' ORDER BY seq")
        .unwrap()
        .query_map([], |r| r.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(told.first().unwrap(), "certificate.create");
    assert_eq!(told.last().unwrap(), "certificate.delete");
    assert_eq!(told.len(), 5);
}

#[test]
fn a_certificate_that_a_domain_is_served_with_stays_and_keeps_covering_it() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let made = admin.post(
        "/api/certificates",
        &body("Shops", &text(&["ec", "ca"]), &text(&["ec.key"])),
    );
    let id = made.is(201)["id"].as_i64().unwrap();
    house
        .database("lamplighter.db")
        .execute(
            "INSERT INTO domains (domain, ssl, certificate_id, created_at, updated_at) VALUES ('xn--e1afmkfd.example', 1, ?1, 1, 1)",
            params![id],
        )
        .unwrap();
    let at = format!("/api/certificates/{id}");
    assert_eq!(
        admin.get(&at).is(200)["used_by"],
        json!([{ "id": 1, "domain": "xn--e1afmkfd.example" }])
    );
    assert_eq!(
        admin.get("/api/certificates").is(200)["items"][0]["used_by"][0]["id"],
        1
    );
    let kept = admin.delete(&at);
    assert_eq!(kept.is(409)["error_code"], "in_use");
    assert!(kept.text().contains("пример.example"), "{}", kept.text());
    let other = admin.put(&at, &body("Shops", &text(&["rsa", "ca"]), &text(&["rsa.key"])));
    assert_eq!(other.is(422)["fields"][0]["code"], "not_covering");
    assert_eq!(admin.get(&at).is(200)["key_type"], "ECDSA P-256", "nothing was changed");
}

#[test]
fn a_domain_takes_no_certificate_that_is_not_for_it() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let made = admin.post(
        "/api/certificates",
        &body("Shops", &text(&["ec", "ca"]), &text(&["ec.key"])),
    );
    let id = made.is(201)["id"].clone();
    let domain = |name: &str| json!({ "domain": name, "ssl": true, "certificate_id": id });
    for good in ["shop.example", "www.shop.example", "пример.example"] {
        admin.post("/api/domains", &domain(good)).is(201);
    }
    for bad in ["a.b.shop.example", "shop.example.org", "пример.shop.org"] {
        let refused = admin.post("/api/domains", &domain(bad));
        assert_eq!(refused.is(422)["fields"][0]["code"], "not_covering", "{bad}");
        assert_eq!(refused.wrong_fields(), ["certificate_id"]);
    }
    let mut moved = domain("shop.example");
    moved["domain"] = json!("else.example");
    admin.put("/api/domains/1", &moved).is(422);
    assert_eq!(
        admin.get("/api/certificates/1").is(200)["used_by"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
}

#[test]
fn nothing_odd_is_stored_whatever_field_it_comes_in() {
    let house = House::with(Processes::ApiOnly, &[]);
    let admin = house.admin();
    let good = body("Shops", &text(&["ec", "ca"]), &text(&["ec.key"]));
    admin.post("/api/certificates", &good).is(201);
    let before = admin.get("/api/certificates/1").text();
    let odd = ["nginx_in_any_field", "shell_in_any_field", "secret_values"];
    let odd = odd.iter().flat_map(|of| inputs(of, ""));
    let names = inputs("name", "bad");
    let mut tried = 0;
    for (field, value) in odd
        .flat_map(|v| [("chain", v.clone()), ("key", v)])
        .chain(names.into_iter().map(|v| ("name", v)))
    {
        let mut wanted = json!({});
        wanted[field] = value;
        let answer = admin.send(
            "PATCH",
            "/api/certificates/1",
            Some(("application/json", &encoded(&wanted))),
        );
        assert!([400, 422].contains(&answer.status), "{wanted}: {}", answer.text());
        if answer.status == 422 {
            assert_eq!(answer.wrong_fields(), [field], "{wanted}");
        }
        tried += 1;
    }
    assert!(tried > 60, "{tried}");
    assert_eq!(admin.get("/api/certificates/1").text(), before);
}

#[test]
fn viewers_look_and_only_operators_change() {
    let house = House::with(Processes::ApiOnly, &[]);
    let new = body("Shops", &text(&["ec", "ca"]), &text(&["ec.key"]));
    let operator = house.somebody("operator");
    operator.post("/api/certificates", &new).is(201);
    let viewer = house.somebody("viewer");
    viewer.get("/api/certificates").is(200);
    assert!(!viewer.get("/api/certificates/1").text().contains("PRIVATE KEY"));
    viewer.post("/api/certificates", &new).is(403);
    viewer.put("/api/certificates/1", &new).is(403);
    viewer.patch("/api/certificates/1", &json!({ "name": "x" })).is(403);
    viewer.delete("/api/certificates/1").is(403);
    house.client().get("/api/certificates").is(401);
    operator.delete("/api/certificates/1").is(204);
}

#[test]
fn a_refused_form_shows_no_key_in_whichever_field_it_was() {
    let house = House::with(Processes::ApiOnly, &[]);
    let browser = house
        .client()
        .by(Who::cookie(&house.sign_in(ADMIN, &house.password), house.address));
    let (chain, key) = (text(&["ec", "ca"]), text(&["ec.key"]));
    hide(&house, &key);
    let encode = lamplighter::base::text::percent_encode;
    let secret = key.lines().nth(1).unwrap();
    for (chain, key) in [(format!("{chain}{key}"), key.clone()), (text(&["rsa"]), key.clone())] {
        let form = format!("name=Shops&chain={}&key={}", encode(&chain), encode(&key));
        let page = browser.form("/certificates", &form);
        assert_eq!(page.status, 422);
        assert!(page.text().contains("Shops") && !page.text().contains(secret));
    }
    let form = format!("name=Shops&chain={}&key={}", encode(&text(&["ca", "ec"])), encode(&key));
    let page = browser.form("/certificates", &form);
    assert_eq!(
        (page.status, page.header("location")),
        (303, Some("/certificates/1?reordered=1"))
    );
    for page in [
        "/certificates",
        "/certificates/1",
        "/certificates/1/edit",
        "/certificates/1/delete",
    ] {
        let page = browser.get(page);
        assert_eq!(page.status, 200, "{}", page.text());
        assert!(!page.text().contains(secret) && !page.text().contains("PRIVATE KEY-----\n"));
    }
}
