//! Nothing but two machines that see each other: the daemon on one, from its package; the other is set up from a bundle. A
//! rule in each kernel counts, and drops, whatever would go anywhere else. And servers of other systems from their
//! bundles. Needs the lab (`tests/lab`), hosts h11, h12, d13 and u24, debhelper and, for the bundles, this machine's way to mirrors.

use crate::common;
use crate::debians::two_sites;
use crate::package::{ask, done, is_up, package, put, sign_in};

use common::lab::{Hosts, act, address, back_end, changes, key, log, on};
use common::*;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

/// Packets other than between the two. What a machine says to its own cable (neighbours, routers) does not leave it.
fn shut(host: &str, other: &str) {
    let last = address(other).rsplit('.').next().unwrap().to_string();
    on(
        host,
        &format!(
            "set -e
             for ipt in iptables ip6tables; do $ipt -N GAP; $ipt -A GAP -o lo -j RETURN; done
             iptables -A GAP -d {}/32 -j RETURN
             for to in fd77::{last}/128 fe80::/10 ff02::/16; do ip6tables -A GAP -d $to -j RETURN; done
             for ipt in iptables ip6tables; do $ipt -A GAP -j DROP; $ipt -I OUTPUT 1 -j GAP; done",
            address(other)
        ),
    );
}

/// How many packets wanted to leave this machine since [`shut`].
fn left(host: &str) -> u64 {
    let rules = on(
        host,
        "for ipt in iptables ip6tables; do $ipt -nvxL GAP | awk '$3 == \"DROP\" { print $1 }'; done",
    );
    let counts: Vec<u64> = rules.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(counts.len(), 2, "{rules}");
    counts.iter().sum()
}

/// A bundle of Debian 12, made now; one of an earlier run where the mirror does not answer, and that is said.
fn bundle(folder: &Folder) -> PathBuf {
    let made = folder.path().join("bookworm.bundle");
    let own = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let mut args = vec!["bundle", "make", "--suite", "bookworm", "--out", made.to_str().unwrap()];
    if !own.contains("VERSION_CODENAME=bookworm") {
        let keys = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]";
        args.extend([
            "--source",
            &*format!("deb {keys} http://deb.debian.org/debian bookworm main").leak(),
        ]);
    }
    let out = run(&args);
    let kept = lab_dir().join("bookworm.bundle");
    if out.status.success() {
        println!("{}", said(&out).trim());
        fs::copy(&made, &kept).unwrap();
        return made;
    }
    assert!(
        kept.exists(),
        "a bundle needs a way to a mirror of Debian: {}",
        said(&out)
    );
    println!(
        "NOT MADE ANEW, the mirror does not answer; the bundle is an earlier one: {}",
        said(&out)
    );
    kept
}

fn lab_dir() -> PathBuf {
    std::env::var_os("LAB_DIR").map_or("/var/tmp/lamplighter-lab".into(), PathBuf::from)
}

/// What must be as it was: apt's own sources and lists, and no package in its cache. (Whoever asks apt as root has it write its
/// two .bin files anew when a package was installed.)
const APT: &str =
    "find /etc/apt /var/lib/apt/lists /var/cache/apt -type f ! -name lock ! -name '*.bin' -exec sha256sum {} + | sort";
const PACKAGES: &str = "dpkg-query -W -f '${Package} ${Version} ${db:Status-Status}\n' | sort";
/// What a bundle must not leave behind.
const LEFT: &str =
    "ls -d /var/cache/lamplighter-bundle /tmp/lamplighter-bundle* /run/lamplighter-job* 2>/dev/null; true";

#[test]
#[ignore = "lab: h11 h12"]
fn two_machines_that_see_nobody_else() {
    let _hosts = Hosts::fresh(&["h11", "h12"], None);
    let (house, other) = ("h11", "h12");
    let folder = Folder::new();
    put(house, "/root/lamplighter.deb", &fs::read(package(&folder)).unwrap());
    put(house, "/root/bookworm.bundle", &fs::read(bundle(&folder)).unwrap());
    // There are no name servers either: resolv.conf(5) then means one on the machine itself, and nobody listens there.
    for host in [house, other] {
        on(host, "echo '# none here' >/etc/resolv.conf");
    }
    shut(house, other);
    shut(other, house);

    on(
        house,
        "DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends /root/lamplighter.deb",
    );
    is_up(house);
    on(
        house,
        "printf 'a long night at sea' | lamplighter create-admin --login anna --password-file -",
    );
    let token = sign_in(house);
    let api = |method: &str, path: &str, body: &Value| ask(house, method, path, &token, body);
    let does = |path: &str, body: &Value| done(house, &token, &api("POST", path, body));
    let host_key = on(other, "cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub");
    let wanted = json!({
        "name": "web", "host": address(other), "username": "root", "ssh_key": key("id_ed25519"), "host_key": host_key,
        "packages": "bundle", "poll_interval_s": 5,
    });
    let server = api("POST", "/api/servers", &wanted)["id"].clone();
    let at = |what: &str| format!("/api/servers/{server}/{what}");
    let told = |task: &Value| api("GET", &format!("/api/tasks/{}/logs", task["id"]), &Value::Null).to_string();
    assert_eq!(does(&at("check-ssh"), &json!({}))["status"], "ok");

    // Without a bundle, and with one of another release: a clear no, before anything was changed.
    let before = (on(other, APT), on(other, PACKAGES));
    let refused = does(&at("deploy-proxy"), &json!({}));
    assert_eq!(refused["error"]["code"], "no_bundle", "{refused}");
    on(house, "lamplighter bundle add --file /root/bookworm.bundle");
    let kept = "/var/lib/lamplighter/bundles";
    assert_eq!(on(house, &format!("stat -c %U:%a {kept}/*")), "lamplighter:600");
    on(
        house,
        &format!("mv {kept}/bookworm-amd64.bundle {kept}/trixie-amd64.bundle"),
    );
    let refused = does(&at("deploy-proxy"), &json!({}));
    assert_eq!(refused["error"]["code"], "no_bundle", "{refused}");
    assert_eq!(
        (on(other, APT), on(other, PACKAGES), on(other, LEFT)),
        (before.0.clone(), before.1, String::new())
    );
    on(
        house,
        &format!("mv {kept}/trixie-amd64.bundle {kept}/bookworm-amd64.bundle"),
    );

    // nginx and Glances, twice; the second time there is nothing to bring.
    for (what, body) in [
        ("deploy-proxy", json!({})),
        ("install-glances", json!({ "profile": "protected" })),
    ] {
        let first = does(&at(what), &body);
        assert_eq!(first["status"], "ok", "{what}: {}", told(&first));
        assert!(first["changed"].as_i64() > Some(0), "{first}");
        assert!(
            told(&first).contains("Packages come from the bundle bookworm amd64"),
            "{}",
            told(&first)
        );
        assert_eq!(
            (on(other, APT), on(other, LEFT)),
            (before.0.clone(), String::new()),
            "{what}"
        );
        // What a job that was cut off has left goes with the next one.
        on(other, "mkdir -p /var/cache/lamplighter-bundle/0123/repo");
        let second = does(&at(what), &body);
        assert_eq!(on(other, LEFT), "");
        assert_eq!(
            (&second["status"], &second["changed"]),
            (&json!("ok"), &json!(0)),
            "{what}: {}",
            told(&second)
        );
        assert!(!told(&second).contains("come from the bundle"), "{}", told(&second));
    }
    let lit = eventually("the lamp is lit", || {
        let seen = api("GET", &format!("/api/servers/{server}"), &Value::Null);
        (seen["status"] == "ok" && seen["last_sample"]["mem_percent"].is_f64()).then_some(seen)
    });
    println!(
        "Glances {} by {}",
        lit["facts"]["glances_version"], lit["facts"]["glances_from"]
    );

    // A site with a certificate that somebody has brought.
    on(
        house,
        "cd /root && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 300 -subj /CN=intra.test \
         -addext subjectAltName=DNS:intra.test -keyout key.pem -out cert.pem 2>/dev/null",
    );
    back_end(other, 9000, "app");
    let text = |file: &str| on(house, &format!("cat /root/{file}")) + "\n";
    let pair = json!({ "name": "intra", "chain": text("cert.pem"), "key": text("key.pem") });
    let certificate = api("POST", "/api/certificates", &pair)["id"].clone();
    assert!(certificate.is_i64(), "{certificate}");
    let upstream = api(
        "POST",
        "/api/upstreams",
        &json!({ "name": "app", "targets": ["127.0.0.1:9000"] }),
    )["id"]
        .clone();
    let wanted = json!({
        "domain": "intra.test", "server_ids": [server], "upstream_id": upstream, "ssl": true, "certificate_id": certificate,
        "preflight": "off",
    });
    let domain = api("POST", "/api/domains", &wanted);
    assert!(domain["id"].is_i64(), "{domain}");
    let deployed = does(&format!("/api/domains/{}/deploy", domain["id"]), &json!({}));
    assert_eq!(deployed["status"], "ok", "{}", told(&deployed));
    let page = format!(
        "curl -sS --cacert /root/cert.pem --resolve intra.test:443:{} https://intra.test/",
        address(other)
    );
    assert_eq!(on(house, &page), "app");

    // The machine by itself: what it does now and then, and what it thinks of its own health.
    for (path, body) in [
        (format!("/api/domains/{}/certificate/check", domain["id"]), json!({})),
        (format!("/api/domains/{}/verify-dns", domain["id"]), json!({})),
    ] {
        println!("{path}: {}", api("POST", &path, &body));
    }
    on(house, "systemctl restart lamplighter");
    is_up(house);
    std::thread::sleep(std::time::Duration::from_secs(20));
    let doctor = on(house, "lamplighter doctor; true");
    println!("{doctor}");
    assert!(!doctor.contains("FAILURE"), "{doctor}");
    let token = sign_in(house);
    let alerts = ask(house, "GET", "/api/alerts?state=firing", &token, &Value::Null);
    assert_eq!(alerts["items"], json!([]), "{alerts}");

    let counted = (left(house), left(other));
    println!("packets that wanted to leave: {counted:?}");
    assert_eq!(counted, (0, 0));
    // The rule does count: one packet, seen.
    on(
        house,
        "timeout 1 bash -c 'exec 3<>/dev/udp/192.0.2.1/53; echo x >&3' 2>/dev/null; true",
    );
    assert_eq!(left(house), 1);
}

/// A bundle for another release, made here; `None` where its mirror does not answer, and that is said.
fn bundle_of(folder: &Folder, suite: &str, source: &str) -> Option<PathBuf> {
    let made = folder.path().join(format!("{suite}.bundle"));
    let out = run(&[
        "bundle",
        "make",
        "--suite",
        suite,
        "--source",
        source,
        "--out",
        made.to_str().unwrap(),
    ]);
    if !out.status.success() && said(&out).contains("lists cannot be read") {
        println!("NOT RUN, there is no bundle for {suite}: {}", said(&out));
        return None;
    }
    assert!(out.status.success(), "{}", said(&out));
    println!("{}", said(&out).trim());
    Some(made)
}

/// A server that has lost its package sources gets nginx and Glances all the same.
fn set_up_from_a_bundle(hosts: &Hosts, suite: &str, source: &str) {
    let host = hosts.0[0];
    let folder = Folder::new();
    let Some(bundle) = bundle_of(&folder, suite, source) else {
        return;
    };
    let house = common::lab::house(hosts);
    let added = run(&[
        "bundle",
        "add",
        "--data-dir",
        house.dir(),
        "--file",
        bundle.to_str().unwrap(),
    ]);
    assert!(added.status.success(), "{}", said(&added));
    on(
        host,
        "rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/* /srv/labrepo /var/lib/apt/lists/*",
    );
    let task = |what: &str| act(&house, &format!("/api/servers/1/{what}"), &json!({}));
    changes(&task("check-ssh"));
    let refused = task("deploy-proxy");
    assert_eq!(refused["error"]["code"], "package_missing", "{}", log(&house, &refused));
    house
        .admin()
        .patch("/api/servers/1", &json!({ "packages": "bundle" }))
        .is(200);
    for what in ["deploy-proxy", "install-glances"] {
        let first = task(what);
        assert!(changes(&first) > 0, "{what}: {}", log(&house, &first));
        let second = task(what);
        assert_eq!(changes(&second), 0, "{what}, the second time: {}", log(&house, &second));
        assert_eq!(on(host, LEFT), "");
    }
    eventually("the lamp is lit", || {
        let seen = house.admin().get("/api/servers/1").is(200);
        (seen["status"] == "ok" && seen["last_sample"]["mem_percent"].is_f64()).then_some(())
    });
    // certbot, and ufw: they come from the bundle, too, and only where they are asked for.
    let installed = |name: &str| {
        let status = format!("dpkg-query -W -f '${{db:Status-Status}}' {name} 2>/dev/null; true");
        on(host, &status) == "installed"
    };
    assert!(!installed("certbot") && !installed("ufw"));
    let secure = common::lab::upstream(&house, "secure", &["127.0.0.1:9000"]);
    let name = format!("plan-{host}.alpha.test");
    let planned = common::lab::domain(&house, &name, secure, &json!({ "ssl": true, "preflight": "off" }));
    let plan = common::lab::plan(&house, planned);
    assert!(common::lab::steps(&plan).contains(&"certbot_bundled"), "{plan}");
    two_sites(&house, host);
    assert!(installed("certbot"));
    let bind = json!({ "profile": "bind", "address": address(host), "allow": ["controller"] });
    let walled = act(&house, "/api/servers/1/install-glances", &bind);
    assert!(changes(&walled) > 0, "{}", log(&house, &walled));
    assert!(installed("ufw"));
    assert_eq!(on(host, LEFT), "");
    println!("{host}: {}", house.admin().get("/api/servers/1").is(200)["facts"]);
}

#[test]
#[ignore = "lab: d13"]
fn debian_13_has_a_bundle_of_its_own() {
    let Some(hosts) = Hosts::fetched(&["d13"]) else { return };
    set_up_from_a_bundle(&hosts, "trixie", "deb http://deb.debian.org/debian trixie main");
}

#[test]
#[ignore = "lab: u24"]
fn ubuntu_has_a_bundle_of_its_own() {
    let Some(hosts) = Hosts::fetched(&["u24"]) else { return };
    let keys = lab_dir().join("ubuntu.gpg");
    let source = format!(
        "deb [signed-by={}] http://archive.ubuntu.com/ubuntu noble main universe",
        keys.display()
    );
    set_up_from_a_bundle(&hosts, "noble", &source);
}
