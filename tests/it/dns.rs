//! The DNS client against correct, silent, lame, truncating and hostile name servers: every scenario of the fixtures on a
//! server that misbehaves as described.

use crate::common::rounds;
use crate::fake;

use fake::dns::{CAA, NameServer};
use lamplighter::base::process::Cancel;
use lamplighter::features::proxy::domains::{self, Verdict};
use lamplighter::features::proxy::nswatch::{Check, State, check};
use lamplighter::net::dns::{Data, DnsError, Question, Resolver, Type, query};
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

fn resolver<'a>(servers: &[SocketAddr], cancel: &'a Cancel) -> Resolver<'a> {
    Resolver {
        servers: servers.to_vec(),
        until: Instant::now() + Duration::from_secs(20),
        cancel,
    }
}

fn cases() -> Vec<Value> {
    let book: Value = serde_json::from_slice(&fake::data("dns/cases.json")).unwrap();
    book["cases"].as_array().unwrap().clone()
}

/// As the form makes it, for the names of the fixtures (final dot and case are the form's business).
fn a_label(case: &Value) -> String {
    case["query"].as_str().unwrap().trim_end_matches('.').to_string()
}

fn look_at(server: &NameServer, name: &str, policy: &str) -> Check {
    check(&resolver(&[server.address], &Cancel::new()), name, policy).expect("nobody cancelled")
}

#[test]
fn every_case_of_the_fixtures_comes_to_what_it_must() {
    let server = NameServer::of_fixtures();
    let started = Instant::now();
    std::thread::scope(|scope| {
        for case in cases() {
            let server = &server;
            // Those that change from look to look have a story of their own.
            if ["flap.example", "oncefail.example"].contains(&case["domain"].as_str().unwrap()) {
                continue;
            }
            scope.spawn(move || {
                let name = a_label(&case);
                let seen = look_at(server, &name, case["policy"].as_str().unwrap());
                let expect = case["expect"].as_str().unwrap();
                let (state, code) = (seen.state, seen.code.as_str());
                let good = match expect {
                    "ok" | "ok by the substring rule of the brief; a stricter rule must be a setting" => {
                        state == State::Ok
                    }
                    "mismatch" => state == State::Mismatch,
                    "error: NXDOMAIN" => code == "nxdomain",
                    "error: SERVFAIL" => code == "servfail",
                    "error: REFUSED" => code == "refused",
                    "error: timeout" | "error: timeout (answer with the wrong id is ignored)" => code == "timeout",
                    "error: lame" => code == "lame",
                    "error: no NS" => code == "no_data",
                    "error" | "error, no endless loop" | "error (question does not match)" => state == State::Error,
                    // Several results are allowed; this is the one we chose.
                    "error or ok over TCP" | "ok or timeout, other checks not held up" => code == "timeout",
                    "error or NS of the zone cut; a CNAME is not an NS"
                    | "error or follows to the target; shown which" => {
                        code == "no_data" && seen.say().contains("alias (CNAME) of shop-one.example")
                    }
                    "error or the parent zone's NS; never \"ok\" on an empty set" => code == "nxdomain",
                    other => panic!("a new expectation: {other}"),
                };
                assert!(good, "{name}: {expect}, but {seen:?}");
                // The policy is never judged without name servers, and nothing is said without a reason.
                assert_eq!(seen.ns.is_empty(), state == State::Error, "{seen:?}");
                assert!(
                    !seen.evidence.is_empty() && seen.evidence.iter().all(|e| e.ends_with('.')),
                    "{seen:?}"
                );
            });
        }
    });
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
}

#[test]
fn the_codes_of_what_cannot_be_read_tell_what_it_was() {
    let server = NameServer::of_fixtures();
    std::thread::scope(|scope| {
        for (name, code) in [
            ("tcfail.example", "truncated"),
            ("wrongq.example", "bad_answer"),
            ("noise.example", "timeout"), // it does not even have our number
            ("ptrloop.example", "bad_answer"),
            ("loop.example", "no_data"),
        ] {
            let server = &server;
            scope.spawn(move || {
                let seen = look_at(server, name, "dnspod");
                assert_eq!(seen.code, code, "{name}: {seen:?}");
            });
        }
    });
}

#[test]
fn a_stricter_policy_is_not_tricked_by_a_name_that_only_looks_right() {
    let server = NameServer::of_fixtures();
    for (name, policy, state) in [
        ("trick.example", "suffix:dnspod.net", State::Mismatch),
        ("shop-one.example", "suffix:dnspod.net", State::Ok),
        ("upper.example", "suffix:DNSPod.net.", State::Ok),
        ("mixed.example", "suffix:dnspod.net", State::Mismatch),
        (
            "shop-one.example",
            "exact:f1g1ns1.dnspod.net, f1g1ns2.dnspod.net",
            State::Ok,
        ),
        ("single.example", "exact:f1g1ns2.dnspod.net", State::Mismatch),
        ("foreign.example", "", State::Ok),
    ] {
        let seen = look_at(&server, name, policy);
        assert_eq!(seen.state, state, "{name} {policy}: {seen:?}");
    }
    let seen = look_at(&server, "mixed.example", "dnspod");
    assert_eq!(seen.ns, ["f1g1ns1.dnspod.net", "ns1.reg.ru"]);
    assert!(seen.say().contains("Not “dnspod”: ns1.reg.ru."), "{seen:?}");
}

#[test]
fn a_cut_answer_is_asked_again_over_tcp_and_a_whole_one_is_not() {
    let server = NameServer::of_fixtures();
    assert_eq!(look_at(&server, "many.example", "dnspod").ns.len(), 13);
    let asked = server.asked_for("many.example.");
    assert_eq!(asked.iter().map(|a| a.tcp).collect::<Vec<_>>(), [false, true]);
    look_at(&server, "shop-one.example", "dnspod");
    assert_eq!(server.asked_for("shop-one.example.").len(), 1);
    // Numbers and ports are nobody's to guess.
    for _ in 0..8 {
        look_at(&server, "shop-one.example", "dnspod");
    }
    let mut guesses: Vec<_> = server
        .asked_for("shop-one.example.")
        .iter()
        .map(|a| (a.id, a.port))
        .collect();
    guesses.sort_unstable();
    guesses.dedup();
    assert_eq!(guesses.len(), 9);
    let mut ids: Vec<_> = guesses.iter().map(|g| g.0).collect();
    ids.dedup();
    assert!(ids.len() >= 8, "{ids:?}");
}

#[test]
fn what_fails_once_is_no_news_and_a_changing_set_is() {
    let server = NameServer::of_fixtures();
    let cancel = Cancel::new();
    let question = Question {
        name: "oncefail.example",
        kind: Type::Ns,
        recursive: true,
    };
    let until = Instant::now() + Duration::from_secs(10);
    let first = query(server.address, question, until, &cancel).unwrap_err();
    assert_eq!(first.fault, DnsError::ServFail);
    assert!(query(server.address, question, until, &cancel).is_ok());
    // Within one look the second try is the answer.
    server.rule("oncefail.example.", json!({ "rcode": "SERVFAIL", "times": 1 }));
    assert_eq!(look_at(&server, "oncefail.example", "dnspod").state, State::Ok);

    let states: Vec<_> = (0..3)
        .map(|_| look_at(&server, "flap.example", "dnspod").state)
        .collect();
    assert_eq!(states, [State::Ok, State::Mismatch, State::Ok]);
}

#[test]
fn the_second_server_is_asked_when_the_first_one_fails() {
    let (bad, good) = (NameServer::of_fixtures(), NameServer::of_fixtures());
    let cancel = Cancel::new();
    for rule in [
        json!({ "rcode": "SERVFAIL" }),
        json!({ "rcode": "REFUSED" }),
        json!({ "lame": true }),
        json!({ "loop": true }),
    ] {
        bad.rule("shop-one.example.", rule.clone());
        let seen = check(
            &resolver(&[bad.address, good.address], &cancel),
            "shop-one.example",
            "dnspod",
        )
        .unwrap();
        assert_eq!(seen.state, State::Ok, "{rule}: {seen:?}");
    }
    // A refused connection is reported at once, and the other server's answer counts.
    let off = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    good.rule("shop-one.example.", json!({ "rcode": "SERVFAIL" }));
    let started = Instant::now();
    let seen = check(&resolver(&[good.address, off], &cancel), "shop-one.example", "dnspod").unwrap();
    assert_eq!(seen.code, "servfail", "{seen:?}");
    assert_eq!(seen.evidence.len(), 2, "{seen:?}");
    let seen = check(&resolver(&[off], &cancel), "shop-one.example", "dnspod").unwrap();
    assert_eq!(seen.code, "unreachable", "{seen:?}");
    assert!(started.elapsed() < Duration::from_secs(3));
    // An answer about the name itself is not asked for again.
    let seen = check(
        &resolver(&[good.address, bad.address], &cancel),
        "gone.example",
        "dnspod",
    )
    .unwrap();
    assert_eq!(
        (seen.code.as_str(), bad.asked_for("gone.example.").len()),
        ("nxdomain", 0)
    );
}

#[test]
fn a_name_without_name_servers_belongs_to_the_zone_above_it() {
    let server = NameServer::of_fixtures();
    server.set("app.shop-one.example.", json!({ "A": ["198.51.100.10"] }));
    server.set("deep.under.app.shop-one.example.", json!({ "A": ["198.51.100.10"] }));
    server.set("own.shop-one.example.", json!({ "NS": ["ns1.other.example."] }));
    server.set("web.own.shop-one.example.", json!({ "CNAME": ["gone.example."] }));
    let seen = look_at(&server, "deep.under.app.shop-one.example", "dnspod");
    assert_eq!(
        (seen.state, seen.zone.as_str()),
        (State::Ok, "shop-one.example"),
        "{seen:?}"
    );
    // The SOA record tells where the zone begins: two questions are enough.
    assert_eq!(server.asked().len(), 2, "{:?}", server.asked());
    let seen = look_at(&server, "app.shop-one.example", "foreign");
    assert_eq!((seen.state, seen.zone.as_str()), (State::Mismatch, "shop-one.example"));
    let seen = look_at(&server, "own.shop-one.example", "dnspod");
    assert_eq!(
        (seen.state, seen.ns.as_slice()),
        (State::Mismatch, &["ns1.other.example".to_string()][..])
    );
    // An alias into nothing still lies in its own zone.
    let seen = look_at(&server, "web.own.shop-one.example", "");
    assert_eq!(
        (seen.state, seen.zone.as_str()),
        (State::Ok, "own.shop-one.example"),
        "{seen:?}"
    );
    assert!(seen.say().contains("alias (CNAME) of gone.example"), "{seen:?}");
    // The servers of a top-level domain are never taken for a domain's.
    assert!(server.asked().iter().all(|a| a.name != "example."));
}

#[test]
fn addresses_are_found_through_aliases_and_both_kinds_count() {
    let server = NameServer::of_fixtures();
    let cancel = Cancel::new();
    let dns = resolver(&[server.address], &cancel);
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    server.set(
        "both.example.",
        json!({ "A": ["198.51.100.50", "198.51.100.51"], "AAAA": ["2001:db8::50"] }),
    );
    server.set("six.example.", json!({ "AAAA": ["2001:db8::51"] }));
    server.set("one.example.", json!({ "CNAME": ["two.example."] }));
    server.set("two.example.", json!({ "CNAME": ["both.example."] }));
    server.set("bare.example.", json!({ "NS": ["ns1.example."] }));
    server.set("ping.example.", json!({ "CNAME": ["pong.example."] }));
    server.set("pong.example.", json!({ "CNAME": ["ping.example."] }));
    server.set("lost.example.", json!({ "CNAME": ["gone.example."] }));

    let both = [ip("198.51.100.50"), ip("198.51.100.51"), ip("2001:db8::50")];
    let found = dns.addresses("both.example").unwrap();
    assert_eq!(
        (found.ips.as_slice(), found.aliases.len(), &found.missing),
        (&both[..], 0, &None)
    );
    let found = dns.addresses("one.example").unwrap();
    assert_eq!(
        (found.ips.as_slice(), found.aliases.as_slice()),
        (&both[..], &["two.example".to_string(), "both.example".into()][..])
    );
    assert_eq!(dns.addresses("six.example").unwrap().ips, [ip("2001:db8::51")]);
    let fault = |name: &str| dns.addresses(name).unwrap_err().fault;
    assert_eq!(fault("bare.example"), DnsError::NoData);
    assert_eq!(fault("gone.example"), DnsError::NxDomain);
    assert_eq!(fault("lost.example"), DnsError::NxDomain);
    assert_eq!(fault("ping.example"), DnsError::BadAnswer);
    assert_eq!(fault("loop.example"), DnsError::BadAnswer);
    assert_eq!(fault("broken.example"), DnsError::ServFail);
    let chain = |n: u32| format!("c{n}.example.");
    for n in 0..20 {
        server.set(&chain(n), json!({ "CNAME": [chain(n + 1)] }));
    }
    assert_eq!(fault("c0.example"), DnsError::BadAnswer);
    assert!(
        dns.addresses("lost.example")
            .unwrap_err()
            .to_string()
            .contains("alias (CNAME) of gone.example")
    );
}

#[test]
fn a_preflight_wants_every_address_to_be_a_servers() {
    let server = NameServer::of_fixtures();
    let cancel = Cancel::new();
    let until = Instant::now() + Duration::from_secs(20);
    let ip = |text: &Value| text.as_str().unwrap().parse::<IpAddr>().unwrap();
    let book: Value = serde_json::from_slice(&fake::data("dns/cases.json")).unwrap();
    lamplighter::daemon::registry(lamplighter::daemon::FEATURES); // the words of the reports
    for (n, case) in book["a_checks"].as_array().unwrap().iter().enumerate() {
        let name = format!("a{n}.example");
        server.set(&format!("{name}."), json!({ "A": case["answers"] }));
        let report =
            domains::check_addresses(&[server.address], &name, &[ip(&case["server_ip"])], until, &cancel).unwrap();
        let expect = case["expect"].as_str().unwrap();
        let good = match expect {
            "pass" => report.verdict() == Verdict::Ok,
            e if e.contains("fail") => report.verdict() == Verdict::Bad,
            other => panic!("a new expectation: {other}"),
        };
        assert!(good, "{case}: {report:?}");
        let found: Vec<_> = case["answers"].as_array().unwrap().iter().map(ip).collect();
        assert_eq!(report.addresses, found);
        assert!(
            report.lines().iter().all(|line| line.contains(&name)),
            "{:?}",
            report.lines()
        );
    }
}

#[test]
fn rules_about_certificates_are_those_of_the_nearest_name() {
    let server = NameServer::of_fixtures();
    let cancel = Cancel::new();
    let dns = resolver(&[server.address], &cancel);
    server.set(
        "ca.example.",
        json!({ "NS": ["ns1.example."], "CAA": ["0 issue letsencrypt.org; accounturi=x", "128 tbs unknown"] }),
    );
    server.set("www.ca.example.", json!({ "A": ["198.51.100.60"] }));
    server.set("own.ca.example.", json!({ "CAA": ["0 issue ;"] }));
    let found = dns.authorities("www.ca.example").unwrap();
    assert_eq!((found.at.as_str(), found.rules.len()), ("ca.example", 2));
    assert_eq!(
        (found.rules[0].tag.as_str(), found.rules[0].value.as_str()),
        ("issue", "letsencrypt.org; accounturi=x")
    );
    assert!(!found.rules[0].critical && found.rules[1].critical);
    assert_eq!(dns.authorities("own.ca.example").unwrap().at, "own.ca.example");
    assert!(dns.authorities("shop-one.example").unwrap().rules.is_empty());
    assert_eq!(dns.authorities("broken.example").unwrap_err().fault, DnsError::ServFail);
    assert!(server.asked().iter().all(|a| a.kind == CAA));
}

#[test]
fn without_recursion_only_the_servers_own_word_counts() {
    let server = NameServer::of_fixtures();
    let cancel = Cancel::new();
    let until = Instant::now() + Duration::from_secs(10);
    let ask = |name| {
        query(
            server.address,
            Question {
                name,
                kind: Type::Ns,
                recursive: false,
            },
            until,
            &cancel,
        )
    };
    let answer = ask("shop-one.example").unwrap();
    assert!(answer.authoritative && answer.records.len() == 2);
    assert!(matches!(&answer.records[0].data, Data::Ns(host) if host == "f1g1ns1.dnspod.net"));
    assert_eq!(ask("lame.example").unwrap_err().fault, DnsError::Lame);
    // The same answer without the AA flag is not authoritative.
    server.spoil(|bytes| bytes[2] &= !0x04);
    assert_eq!(ask("shop-one.example").unwrap_err().fault, DnsError::Lame);
}

#[test]
fn names_that_dns_has_no_room_for_are_not_asked() {
    let server = NameServer::default();
    let cancel = Cancel::new();
    let dns = resolver(&[server.address], &cancel);
    for name in [
        format!("{}.example", "a".repeat(70)),
        vec!["a".repeat(60); 5].join("."),
        "a..example".into(),
    ] {
        assert_eq!(
            dns.ask(&name, Type::A).unwrap_err().fault,
            DnsError::BadAnswer,
            "{name}"
        );
    }
    assert_eq!(server.asked(), []);
}

#[test]
fn a_pulled_cord_and_a_deadline_end_every_wait() {
    let server = NameServer::of_fixtures();
    let cancel = Cancel::new();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let started = Instant::now();
            (
                check(&resolver(&[server.address], &cancel), "silent.example", "dnspod"),
                started.elapsed(),
            )
        });
        std::thread::sleep(Duration::from_millis(300));
        cancel.cancel();
        let (seen, took) = waiting.join().unwrap();
        assert!(seen.is_none() && took < Duration::from_secs(2), "{took:?}");
    });
    let cancel = Cancel::new();
    for name in ["silent.example", "tcfail.example", "slow.example"] {
        let started = Instant::now();
        let dns = Resolver {
            until: started + Duration::from_millis(500),
            ..resolver(&[server.address; 3], &cancel)
        };
        assert!(dns.name_servers(name).is_err());
        assert!(
            started.elapsed() < Duration::from_millis(2500),
            "{name}: {:?}",
            started.elapsed()
        );
    }
}

/// Answers changed in some places, cut or grown, over real sockets: nothing panics, nothing hangs. (Many more of them are
/// read without sockets in the module's own test.)
#[test]
fn spoiled_answers_are_refused_or_read_and_never_more() {
    let server = NameServer::of_fixtures();
    server.set("all.example.", json!({
        "NS": ["ns1.example.", "ns2.example."], "A": ["198.51.100.70"], "AAAA": ["2001:db8::70"], "CAA": ["0 issue ca.example"],
    }));
    let seed = Arc::new(Mutex::new(0x2545_f491_4f6c_dd1d_u64));
    server.spoil(move |bytes| {
        let mut state = seed.lock().unwrap();
        let mut below = |n: usize| {
            *state ^= *state << 13;
            *state ^= *state >> 7;
            *state ^= *state << 17;
            (*state % n.max(1) as u64) as usize
        };
        match below(12) {
            0 => bytes.truncate(below(bytes.len())),
            1 => bytes.extend(vec![0xc0; below(600)]),
            _ => {}
        }
        // The number and the question stay, mostly: else nobody would read on.
        let from = if below(8) == 0 { 0 } else { 2 };
        for _ in 0..below(6) {
            if bytes.len() > from {
                let at = from + below(bytes.len() - from);
                bytes[at] = match below(4) {
                    0 => 0xc0 | bytes[at],
                    1 => 0,
                    2 => 0xff,
                    _ => below(256) as u8,
                };
            }
        }
    });
    let cancel = Cancel::new();
    let (mut read, mut refused) = (0, 0);
    for n in 0..rounds(400) {
        let kind = [Type::A, Type::Aaaa, Type::Ns, Type::Caa][n % 4];
        let name = ["all.example", "www.alias.example", "many.example", "gone.example"][n / 4 % 4];
        let until = Instant::now() + Duration::from_millis(5);
        match query(
            server.address,
            Question {
                name,
                kind,
                recursive: true,
            },
            until,
            &cancel,
        ) {
            Ok(answer) => {
                read += 1;
                assert!(answer.records.len() <= 256 && answer.records.iter().all(|r| r.owner.len() <= 1024));
            }
            Err(failure) => {
                refused += 1;
                assert!(failure.to_string().len() < 2_000, "{failure}");
            }
        }
    }
    let answers = read + refused;
    assert!(
        read > answers / 10 && refused > answers / 10,
        "{read} read, {refused} refused: the test tests nothing"
    );
}
