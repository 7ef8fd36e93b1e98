//! The watch against a real authoritative server: an nsd of our own on the lab's infra, at a port of its own, so that it
//! may be changed, stopped and cut off while others use the lab's.

use crate::{common, fake};

use common::*;
use lamplighter::base::process::Cancel;
use lamplighter::features::proxy::nswatch::{Check, State, check};
use lamplighter::net::dns::{DnsError, Question, Resolver, Type, query};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const ADDRESS: &str = "10.77.0.2";

fn lab() -> PathBuf {
    std::env::var_os("LAMPLIGHTER_LAB")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab"), Into::into)
}

#[track_caller]
fn succeed(command: &mut Command) {
    let out = command.output().unwrap();
    assert!(
        out.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
}

/// Zones by name: what stands in their files behind the SOA record.
type Zones = BTreeMap<String, String>;

/// An nsd; it is gone when dropped.
struct Nsd {
    port: u16,
}

impl Nsd {
    /// Each test has a port of its own.
    fn start(port: u16, zones: &Zones) -> Nsd {
        let nsd = Nsd { port };
        nsd.stop();
        nsd.serve(zones);
        nsd
    }

    fn dir(&self) -> String {
        format!("/run/lab-nsd-{}", self.port)
    }

    fn on(&self, script: &str) {
        succeed(Command::new(lab().join("on")).args(["--direct", "infra", "sh", "-ec", script]));
    }

    /// Serves exactly these zones from now on.
    fn serve(&self, zones: &Zones) {
        let (dir, port) = (self.dir(), self.port);
        let mut conf = format!(
            "server:\n  ip-address: {ADDRESS}@{port}\n  zonesdir: {dir}\n  pidfile: {dir}/pid\n  username: \"\"\n  database: \"\"\n\
             \x20 xfrdfile: \"\"\n  zonelistfile: {dir}/list\n  xfrdir: {dir}\n  rrl-ratelimit: 0\n  logfile: {dir}/log\n\
             remote-control:\n  control-enable: no\n"
        );
        let mut script = format!("rm -rf {dir}; mkdir {dir}; cd {dir}\n");
        for (n, (name, text)) in zones.iter().enumerate() {
            write!(conf, "zone:\n  name: {name}\n  zonefile: {n}\n").unwrap();
            write!(
                script,
                "cat >{n} <<'END'\n$ORIGIN {name}\n$TTL 5\n@ IN SOA ns.lab.test. admin.lab.test. 1 60 60 600 5\n{text}\nEND\n\
                 nsd-checkzone {name} {n} >/dev/null\n"
            )
            .unwrap();
        }
        write!(script, "cat >conf <<'END'\n{conf}END\nnsd -c {dir}/conf\n").unwrap();
        self.stop();
        self.on(&script);
        let cancel = Cancel::new();
        let question = Question {
            name: "up.example",
            kind: Type::A,
            recursive: true,
        };
        eventually("nsd answers", || {
            let until = Instant::now() + Duration::from_secs(1);
            let answer = query(self.address(), question, until, &cancel);
            let silent = |fault| matches!(fault, DnsError::Timeout | DnsError::Unreachable);
            (!answer.is_err_and(|failure| silent(failure.fault))).then_some(())
        });
    }

    fn stop(&self) {
        // Only the one whose number stands in our own file, and only if it is an nsd.
        self.on(&format!(
            "pid=$(cat {0}/pid 2>/dev/null || true)
             if [ -n \"$pid\" ] && grep -q nsd /proc/$pid/comm 2>/dev/null; then
               kill $pid; while kill -0 $pid 2>/dev/null; do sleep 0.05; done
             fi
             rm -rf {0}",
            self.dir()
        ));
    }

    fn address(&self) -> SocketAddr {
        format!("{ADDRESS}:{}", self.port).parse().unwrap()
    }

    fn check(&self, name: &str, policy: &str) -> Check {
        let cancel = Cancel::new();
        let resolver = Resolver {
            servers: vec![self.address()],
            until: Instant::now() + Duration::from_secs(20),
            cancel: &cancel,
        };
        check(&resolver, name, policy).unwrap()
    }

    /// Packets to our port vanish while the answer lives.
    fn cut(&self, protocol: &'static str) -> Cut {
        Cut::rule("-I", protocol, self.port);
        Cut {
            protocol,
            port: self.port,
        }
    }
}

impl Drop for Nsd {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Cut {
    protocol: &'static str,
    port: u16,
}

impl Cut {
    fn rule(what: &str, protocol: &str, port: u16) {
        let port = port.to_string();
        succeed(
            Command::new("ip")
                .args(["netns", "exec", "rlab-infra", "iptables", "-w", "5", what, "INPUT"])
                .args(["-p", protocol, "--dport", &port, "-j", "DROP"]),
        );
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        Cut::rule("-D", self.protocol, self.port);
    }
}

/// The fixtures as real zones: each name with name servers is one, and all the others stand in the zone of their TLD.
fn fixtures() -> Zones {
    let zone: Value = serde_json::from_slice(&fake::data("dns/zone.json")).unwrap();
    let mut zones = Zones::new();
    for top in ["example.", "xn--p1ai."] {
        zones.insert(top.into(), "@ IN NS a.nic.example.\n".into());
    }
    for (name, records) in zone.as_object().unwrap() {
        let mut text = String::new();
        for kind in ["NS", "A", "CNAME"] {
            for value in records[kind].as_array().into_iter().flatten() {
                writeln!(text, "{name} IN {kind} {}", value.as_str().unwrap()).unwrap();
            }
        }
        let top = name.trim_end_matches('.').rsplit('.').next().unwrap().to_string() + ".";
        match records["NS"].is_array() {
            true => drop(zones.insert(name.clone(), text)),
            false => zones.get_mut(&top).unwrap().push_str(&text),
        }
    }
    zones
}

#[test]
#[ignore = "lab: infra"]
fn the_fixtures_hold_on_a_real_server() {
    let nsd = Nsd::start(5354, &fixtures());
    let book: Value = serde_json::from_slice(&fake::data("dns/cases.json")).unwrap();
    let mut judged = 0;
    for case in book["cases"].as_array().unwrap() {
        let expect = case["expect"].as_str().unwrap();
        // Its rule is what a real server does by itself (13 name servers), or there is none.
        if !case["rule"].is_null() && case["domain"] != "many.example" && case["domain"] != "partial.example" {
            continue;
        }
        let name = case["query"].as_str().unwrap().trim_end_matches('.');
        let seen = nsd.check(name, "dnspod");
        let good = match expect {
            e if e.starts_with("ok") => seen.state == State::Ok,
            "mismatch" => seen.state == State::Mismatch,
            "error: NXDOMAIN" => seen.code == "nxdomain",
            "error or the parent zone's NS; never \"ok\" on an empty set" => seen.code == "nxdomain",
            e if e.starts_with("error or") => seen.code == "no_data" && seen.say().contains("alias (CNAME)"),
            other => panic!("a new expectation: {other}"),
        };
        assert!(good, "{name}: {expect}, but {seen:?}");
        judged += 1;
    }
    assert!(judged >= 15, "{judged}");
}

#[test]
#[ignore = "lab: infra"]
fn zones_cuts_and_size_are_as_in_the_field() {
    let mut zones = fixtures();
    let many: Vec<_> = (0..60)
        .map(|n| format!("@ IN NS name-server-number-{n}.a-long-name-of-a-hoster-{n}.example."))
        .collect();
    zones.insert("huge.example.".into(), many.join("\n"));
    zones.insert(
        "zone.example.".into(),
        "@ IN NS ns1.good.example.\nwww IN A 192.0.2.1\na.b.c IN A 192.0.2.1\nsub IN NS ns1.sub.example.\naway IN NS ns1.away.example.\n\
         alias IN CNAME www\nout IN CNAME www.shop-one.example.\n@ IN CAA 0 issue \"letsencrypt.org\"\n"
            .into(),
    );
    zones.insert(
        "sub.zone.example.".into(),
        "@ IN NS ns1.sub.example.\nwww IN A 192.0.2.2\n".into(),
    );
    let nsd = Nsd::start(5355, &zones);

    // The zone above a name, through empty names between, and the nearest one where there are two.
    for (name, zone) in [
        ("www.zone.example", "zone.example"),
        ("a.b.c.zone.example", "zone.example"),
        ("b.c.zone.example", "zone.example"),
        ("www.sub.zone.example", "sub.zone.example"),
        ("sub.zone.example", "sub.zone.example"),
        ("alias.zone.example", "zone.example"),
    ] {
        let seen = nsd.check(name, "");
        assert_eq!((seen.state, seen.zone.as_str()), (State::Ok, zone), "{name}: {seen:?}");
    }
    // Handed on to servers that are not this one, and not this one's business at all.
    assert_eq!(nsd.check("away.zone.example", "").code, "lame");
    assert_eq!(nsd.check("www.away.zone.example", "").code, "lame");
    assert_eq!(nsd.check("elsewhere.invalid.test", "").code, "refused");
    assert_eq!(nsd.check("none.zone.example", "").code, "nxdomain");

    let cancel = Cancel::new();
    let resolver = || Resolver {
        servers: vec![nsd.address()],
        until: Instant::now() + Duration::from_secs(20),
        cancel: &cancel,
    };
    let found = resolver().addresses("out.zone.example").unwrap_err();
    assert_eq!(
        found.fault,
        DnsError::NxDomain,
        "www.shop-one.example does not exist: {found}"
    );
    let found = resolver().addresses("alias.zone.example").unwrap();
    assert_eq!(
        (found.ips.len(), found.aliases.as_slice()),
        (1, &["www.zone.example".to_string()][..])
    );
    let rules = resolver().authorities("www.zone.example").unwrap();
    assert_eq!(
        (rules.at.as_str(), rules.rules[0].value.as_str()),
        ("zone.example", "letsencrypt.org")
    );

    // 60 name servers do not fit into a datagram.
    assert_eq!(nsd.check("huge.example", "name-server").ns.len(), 60);
    let cut = nsd.cut("tcp");
    let seen = nsd.check("huge.example", "name-server");
    assert_eq!((seen.code.as_str(), seen.ns.len()), ("truncated", 0), "{seen:?}");
    assert_eq!(nsd.check("shop-one.example", "dnspod").state, State::Ok);
    drop(cut);
    let cut = nsd.cut("udp");
    assert_eq!(nsd.check("shop-one.example", "dnspod").code, "timeout");
    drop(cut);
    assert_eq!(nsd.check("shop-one.example", "dnspod").state, State::Ok);
    nsd.stop();
    assert_eq!(nsd.check("shop-one.example", "dnspod").code, "unreachable");
}

#[test]
#[ignore = "lab: infra"]
fn a_moved_domain_a_stopped_server_and_the_way_back_as_people_are_told() {
    let mut zones = fixtures();
    let nsd = Nsd::start(5356, &zones);
    let house = House::new();
    let admin = house.admin();
    admin
        .put("/api/settings", &json!({ "dns.resolvers": nsd.address().to_string() }))
        .is(200);
    let draft = json!({ "domain": "shop-one.example", "ns_policy": "suffix:dnspod.net" });
    let id = admin.post("/api/domains", &draft).is(201)["id"].as_i64().unwrap();
    let verify = || admin.post(&format!("/api/domains/{id}/verify-dns"), &json!({})).is(200);
    let open = |kinds: &[&str]| {
        eventually(&format!("open alerts: {kinds:?}"), || {
            let list = admin.get("/api/alerts?state=open").is(200);
            let mut open: Vec<_> = list["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|a| a["kind"].as_str().unwrap())
                .collect();
            open.sort_unstable();
            (open == kinds).then_some(())
        });
    };
    let answer = verify();
    assert_eq!(
        (&answer["ns_ok"], &answer["addresses"]),
        (&json!(true), &json!(["198.51.100.10"]))
    );

    let good = zones.insert(
        "shop-one.example.".into(),
        "@ IN NS ns1.dnspod.net.evil.example.\n@ IN A 198.51.100.10\n".into(),
    );
    nsd.serve(&zones);
    assert_eq!(verify()["ns_state"], "mismatch");
    open(&["ns.mismatch"]);

    zones.insert("shop-one.example.".into(), good.unwrap());
    nsd.serve(&zones);
    assert_eq!(verify()["ns_state"], "ok");
    open(&[]);

    nsd.stop();
    for _ in 0..2 {
        // A kernel tells only one asker in a second that nobody listens: the others hear nothing.
        let code = verify()["ns_code"].clone();
        assert!(code == "unreachable" || code == "timeout", "{code}");
    }
    // It says nothing about anything: that is no fault of the domain.
    open(&["resolver.silent"]);
    let domain = admin.get(&format!("/api/domains/{id}")).is(200);
    assert_eq!(domain["ns_state"], "ok");
    nsd.serve(&zones);
    assert_eq!(verify()["ns_state"], "ok");
    open(&[]);

    zones.remove("shop-one.example.");
    nsd.serve(&zones);
    for _ in 0..2 {
        assert_eq!(verify()["ns_code"], "nxdomain");
    }
    open(&["ns.resolve_failed"]);
    let history = admin.get(&format!("/api/domains/{id}/ns-checks")).is(200);
    let mut states: Vec<_> = history["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["state"].as_str().unwrap())
        .collect();
    states.dedup();
    assert_eq!(states, ["error", "ok", "mismatch", "ok"]);
}
