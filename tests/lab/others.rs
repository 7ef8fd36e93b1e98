//! Servers as people have them, and everybody else on them: as in `lived_in`, on hosts h4 and h5 of the lab (`tests/lab`).

use crate::common;

use common::lab::{
    Hosts, act, add, address, back_end, back_end_at, changes, deploy, domain, fetch, get, house, on, plan, remove,
    script, steps, upstream,
};
use common::*;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

// --- one by one -----------------------------------------------------------------------------------------------------

/// Each is a fresh host and a script of `tests/data/field/servers`, whose head says what is right: how the deploy ends
/// (`deploy: ok`, or the codes it may be refused with), what the plan `tells`, and which `others` are served there.
#[test]
#[ignore = "lab: h4, h5 and infra"]
fn whatever_a_server_is_like_nothing_of_others_is_taken_or_changed() {
    const HOSTS: [&str; 2] = ["h4", "h5"];
    let _hosts = Hosts::fresh(&HOSTS, Some("web"));
    let only = std::env::var("LAMPLIGHTER_STATES").unwrap_or_default();
    let left: Vec<State> = State::all().into_iter().filter(|s| s.name.contains(&only)).collect();
    assert!(left.len() >= 30 || !only.is_empty(), "{}", left.len());
    let (left, wrong) = (Mutex::new(left), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for host in HOSTS {
            let (left, wrong) = (&left, &wrong);
            scope.spawn(move || {
                let bed = Bed::new(host);
                loop {
                    let Some(state) = left.lock().unwrap().pop() else { break };
                    let since = Instant::now();
                    let found = bed.live_through(&state);
                    println!("FIGURE {}: {} ms", state.name, since.elapsed().as_millis());
                    found.iter().for_each(|say| println!("WRONG {}: {say}", state.name));
                    wrong
                        .lock()
                        .unwrap()
                        .extend(found.iter().map(|say| format!("{}: {say}", state.name)));
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// A kind of server.
struct State {
    name: String,
    script: String,
    /// `ok` and codes.
    deploy: Vec<String>,
    /// Codes of the plan's faults.
    tells: Vec<String>,
    others: Vec<String>,
    tls: bool,
    /// Sites are read before conf.d: where nobody else is on the socket, ours is the first.
    is_first: bool,
}

impl State {
    fn all() -> Vec<State> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/field/servers");
        let mut files: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|f| f.unwrap().path()).collect();
        files.sort();
        files.reverse(); // they are taken from the end
        files.iter().map(|file| State::read(file)).collect()
    }

    fn read(file: &Path) -> State {
        let script = fs::read_to_string(file).unwrap();
        let words = |key: &str, end: char| -> Vec<String> {
            let head = script
                .lines()
                .find_map(|line| line.strip_prefix(key))
                .unwrap_or_default();
            let words = head.split(end).map(str::trim).filter(|word| !word.is_empty());
            words.map(String::from).collect()
        };
        State {
            name: file.file_stem().unwrap().to_string_lossy().into_owned(),
            deploy: words("# deploy: ", '|'),
            tells: words("# tells: ", ' '),
            others: words("# others: ", ' '),
            tls: words("# tls: ", ' ').is_empty(),
            is_first: !words("# first: ", ' ').is_empty(),
            script,
        }
    }
}

/// What the scripts have: H and A are the host and its address, D is the domain that is deployed.
const WORDS: &str = r#"set -eu
D=app.$H.lab.test ENABLED=/etc/nginx/sites-enabled CONF=/etc/nginx/nginx.conf ACME=https://acme.lab.test:14000/dir
TLS='ssl_certificate /etc/ssl/own.pem; ssl_certificate_key /etc/ssl/own.key;'
pair() { openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 9 -subj /CN=own -keyout /etc/ssl/own.key -out /etc/ssl/own.pem 2>/dev/null; }
# site NAME TEXT: a site of somebody else in a file of this name.
site() { printf 'server { server_name %s.%s.lab.test; %s\n location / { return 200 "%s"; } }\n' "${1%.*}" "$H" "$2" "$1" >"$ENABLED/$1"; }
"#;

/// A host, and a house that has it as server 1.
struct Bed {
    host: &'static str,
    name: String,
    house: House,
}

impl Bed {
    fn new(host: &'static str) -> Bed {
        let house = House::new();
        add(&house.admin(), host, host);
        let settings = json!({ "acme.directory": "https://acme.lab.test:14000/dir", "acme.email": "ops@example.org", "dns.resolvers": "10.77.0.2" });
        house.admin().put("/api/settings", &settings).is(200);
        upstream(&house, "app", &["127.0.0.1:9000"]);
        let name = format!("app.{host}.lab.test");
        Bed { host, name, house }
    }

    /// What was not as it should be.
    fn live_through(&self, state: &State) -> Vec<String> {
        let mut wrong = Vec::new();
        script("up", &[self.host, "--fresh", "--layer", "web"]);
        let reload = "if nginx -t 2>/dev/null; then systemctl -q is-active nginx && systemctl restart nginx; fi; true";
        let prepare = format!(
            "H={} A={}\n{WORDS}{}\n{reload}",
            self.host,
            address(self.host),
            state.script
        );
        on(self.host, &prepare);
        back_end(self.host, 9000, "app");
        let before = self.seen(state);

        act(&self.house, "/api/servers/1/deploy-proxy", &json!({}));
        let id = domain(&self.house, &self.name, 1, &json!({ "ssl": state.tls }));
        let plan = plan(&self.house, id);
        let told = faults(&plan);
        let done = act(&self.house, &format!("/api/domains/{id}/deploy"), &json!({}));
        let code = done["error"]["code"].as_str().unwrap_or("ok");
        if !state.deploy.iter().any(|right| right == code) {
            wrong.push(format!("the deploy ended with {code}: {done}\n{plan}"));
        }
        let missing: Vec<_> = state.tells.iter().filter(|code| !told.contains(*code)).collect();
        if !missing.is_empty() {
            wrong.push(format!("the plan does not tell {missing:?}: {plan}"));
        }
        if (plan["ok"] == json!(false)) && code == "ok" {
            wrong.push(format!("the plan would not, the deploy did: {plan}"));
        }
        if code == "ok" {
            let page = fetch(self.host, &self.name, "/");
            let right = match state.tls {
                true => page.as_ref().is_some_and(|(status, _)| *status == 301),
                false => page.as_ref().is_some_and(|(_, body)| body == "app"),
            };
            if !right {
                wrong.push(format!("the site answers {page:?}"));
            }
            // Where nobody listened before, our back end is no answer either.
            let now = self.answers(state);
            for (was, is) in before.answers.iter().zip(&now) {
                let opened = was.ends_with(": nothing") && (state.is_first || !is.ends_with(" app"));
                if was != is && !opened {
                    wrong.push(format!("while it is there: {was} became {is}"));
                }
            }
            let gone = remove(&self.house, id);
            if gone["status"] != "ok" {
                wrong.push(format!("it could not be removed: {gone}"));
            }
        } else {
            self.house.admin().delete(&format!("/api/domains/{id}")).is(204);
        }
        wrong.extend(differs("in the end", &before, &self.seen(state)));
        wrong
    }

    fn seen(&self, state: &State) -> Seen {
        let lines = |command: &str| on(self.host, command).lines().map(String::from).collect::<Vec<_>>();
        let ours = format!(
            "/conf.d/lamplighter|/nginx/lamplighter/|/sites-(available|enabled)/{}.conf|/letsencrypt/(accounts|csr|keys)/|/lamplighter-{}[./]|/lamplighter-{}.conf|/live/README",
            self.name, self.name, self.name
        );
        Seen {
            answers: self.answers(state),
            files: lines(&format!(
                "for at in /etc /var/www /srv/nginx /srv/www; do [ -e $at ] || continue; find $at -type f -exec sha256sum {{}} +; find $at -printf '%m %u %y %p %l\\n'; done | grep -vE '{ours}' | sort"
            )),
            state: lines(
                "echo \"nginx -t says $(nginx -t >/dev/null 2>&1; echo $?)\"; echo \"nginx is $(systemctl is-active nginx)\"
                 systemctl list-unit-files --no-legend --state=enabled | awk '{ print $1, \"enabled\" }'; dpkg-query -W -f '${Package} ${db:Status-Status}\\n'",
            ),
        }
    }

    /// What others on this server say, and to names that nobody has.
    fn answers(&self, state: &State) -> Vec<String> {
        let at = address(self.host);
        let named = state.others.iter().map(|other| match other.as_str() {
            "localhost" => other.clone(),
            name => format!("{name}.{}.lab.test", self.host),
        });
        let names: Vec<String> = named.chain(["nobody.lab.test".into(), at.clone()]).collect();
        let out = Command::new("python3")
            .args(["-c", ASK, &at])
            .args(&names)
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", said(&out));
        String::from_utf8_lossy(&out.stdout).lines().map(String::from).collect()
    }
}

/// Asks an address under each name, by both schemes and with old versions of TLS, too.
const ASK: &str = r#"
import hashlib, socket, ssl, sys, warnings
warnings.simplefilter("ignore")
at, names = sys.argv[1], sys.argv[2:]

def ask(wire, name):
    wire.sendall(f"GET / HTTP/1.0\r\nHost: {name}\r\n\r\n".encode())
    got = b""
    while part := wire.recv(65536):
        got += part
    head, _, body = got.decode("latin-1").partition("\r\n\r\n")
    lines = head.split("\r\n")
    where = [line for line in lines if line.lower().startswith("location")]
    return " ".join([lines[0], *where, " ".join(body.split())])[:300] if got else "hangs up"

def plain(name):
    with socket.create_connection((at, 80), 5) as wire:
        return ask(wire, name)

def secure(name, newest):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, newest
    context.set_ciphers("ALL:@SECLEVEL=0")
    said = []
    for protocols in (["h2", "http/1.1"], ["http/1.1"]):
        context.set_alpn_protocols(protocols)
        with socket.create_connection((at, 443), 5) as wire, context.wrap_socket(wire, server_hostname=name) as wire:
            said += [wire.version(), str(wire.selected_alpn_protocol())]
            if len(protocols) == 1:
                said += [hashlib.sha256(wire.getpeercert(True)).hexdigest()[:12], ask(wire, name)]
    return " ".join(said)

def told(what, name, asked, *more):
    try:
        said = asked(name, *more)
    except (ConnectionRefusedError, socket.timeout) as e:
        said = "nothing"
    except OSError as e:
        said = f"refuses, {getattr(e, 'reason', e)}"
    print(f"{what} {name}: {said}")

for name in names:
    told("http", name, plain)
    for newest in (ssl.TLSVersion.MAXIMUM_SUPPORTED, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_1):
        told(f"https up to {newest.name}", name, secure, newest)
"#;

#[derive(Debug, PartialEq)]
struct Seen {
    answers: Vec<String>,
    files: Vec<String>,
    state: Vec<String>,
}

fn differs(when: &str, before: &Seen, after: &Seen) -> Vec<String> {
    let lost = |a: &[String], b: &[String]| -> Vec<String> { a.iter().filter(|l| !b.contains(l)).cloned().collect() };
    // An empty folder of certbot's or ours may stay.
    let stay = |line: &String| before.files.contains(line) || !line.contains(" root d ");
    let after = &Seen {
        answers: after.answers.clone(),
        files: after.files.iter().filter(|line| stay(line)).cloned().collect(),
        state: after.state.clone(),
    };
    let parts = [
        (&before.answers, &after.answers),
        (&before.files, &after.files),
        (&before.state, &after.state),
    ];
    let parts = parts.iter().filter(|(was, is)| was != is);
    parts
        .map(|(was, is)| format!("{when}: {:#?} became {:#?}", lost(was, is), lost(is, was)))
        .collect()
}

fn faults(plan: &Value) -> Vec<String> {
    let faults = plan["servers"][0]["faults"].as_array().unwrap();
    faults.iter().map(|f| f["code"].as_str().unwrap().to_string()).collect()
}

// --- who answers for what nobody named ------------------------------------------------------------------------------

const SHOP: &str = "/etc/nginx/sites-enabled/shop";

fn house_on_h4(hosts: &Hosts) -> House {
    let house = house(hosts);
    hosts.0.iter().for_each(|host| back_end(host, 9000, "app"));
    upstream(&house, "app", &["127.0.0.1:9000"]);
    house
}

/// What a name that nobody serves, and the bare address, get on port 80 and on 443.
fn strangers() -> Vec<String> {
    let at = address("h4");
    let ask = |scheme: &str, name: &str| {
        let port = if scheme == "http" { 80 } else { 443 };
        let to = format!("{name}:{port}:{at}");
        let url = format!("{scheme}://{name}/");
        let out = Command::new("curl")
            .args([
                "-sk",
                "-m",
                "4",
                "-w",
                "%{http_code}",
                "-o",
                "/dev/null",
                "--resolve",
                &to,
                &url,
            ])
            .output()
            .unwrap();
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let names = ["nobody.lab.test", &at];
    ["http", "https"]
        .iter()
        .flat_map(|scheme| names.map(|name| ask(scheme, name)))
        .collect()
}

#[test]
#[ignore = "lab: h4 and infra"]
fn where_we_are_alone_nobody_is_sent_to_a_back_end_he_did_not_name() {
    let hosts = Hosts::fresh(&["h4"], Some("web"));
    on("h4", "rm /etc/nginx/sites-enabled/default; systemctl reload nginx");
    let house = house_on_h4(&hosts);
    let ours = "/etc/nginx/conf.d/lamplighter-default.conf";
    let listens = || {
        on(
            "h4",
            &format!("grep -o 'listen .*' {ours} 2>/dev/null | tr '\\n' ' '; true"),
        )
    };
    let (first, second) = (
        domain(&house, "one.h4.lab.test", 1, &json!({})),
        domain(&house, "two.h4.lab.test", 1, &json!({ "ssl": true })),
    );
    assert_eq!(
        steps(&plan(&house, first)),
        ["nginx", "create", "enable", "default", "reload"]
    );
    changes(&deploy(&house, first));
    assert_eq!(strangers(), ["404", "404", "000", "000"]);
    changes(&deploy(&house, second));
    // Port 443 rejects the handshake: a name that nobody serves has no certificate either.
    assert_eq!(strangers(), ["404", "404", "000", "000"]);
    assert_eq!(
        listens(),
        "listen 80; listen [::]:80; listen 443 ssl; listen [::]:443 ssl;"
    );
    let again = [deploy(&house, first), deploy(&house, second)];
    assert_eq!(again.map(|task| changes(&task)), [0, 0]);
    assert_eq!(changes(&act(&house, "/api/servers/1/deploy-proxy", &json!({}))), 0);

    // Somebody else comes, who would be read first: the port is his.
    on(
        "h4",
        &format!(
            "printf 'server {{ listen 80; server_name shop.h4.lab.test; return 200 shop; }}' >{SHOP}; mv {SHOP} /etc/nginx/sites-enabled/a-shop; systemctl reload nginx"
        ),
    );
    assert_eq!(strangers()[0], "404");
    let third = domain(&house, "three.h4.lab.test", 1, &json!({}));
    let seen = plan(&house, third);
    assert!(steps(&seen).contains(&"default_gone"), "{seen}");
    changes(&deploy(&house, third));
    assert_eq!(strangers(), ["200", "200", "000", "000"]);
    assert_eq!(listens(), "listen [::]:80; listen 443 ssl; listen [::]:443 ssl;");

    // With the last of our sites on a port it goes, too.
    for id in [second, first, third] {
        changes(&remove(&house, id));
    }
    assert_eq!(listens(), "");
    assert_eq!(on("h4", &format!("ls {ours} 2>&1 | grep -c 'No such'")), "1");
    assert_eq!(strangers(), ["200", "200", "000", "000"]);
}

#[test]
#[ignore = "lab: h4"]
fn whoever_is_answered_otherwise_because_of_a_deploy_gets_it_taken_back() {
    let hosts = Hosts::fresh(&["h4"], Some("web"));
    let link = "/etc/nginx/sites-enabled/zoo.h4.lab.test.conf";
    // No look at the configuration can foresee it.
    on(
        "h4",
        &format!(
            "rm /etc/nginx/sites-enabled/default; printf 'server {{ listen 80 default_server; server_name shop.h4.lab.test; if (-e {link}) {{ return 410; }} return 200 shop; }}' >{SHOP}; systemctl reload nginx"
        ),
    );
    let house = house_on_h4(&hosts);
    let before = strangers();
    let id = domain(&house, "zoo.h4.lab.test", 1, &json!({}));
    assert_eq!(plan(&house, id)["ok"], true);
    let refused = deploy(&house, id);
    assert_eq!(refused["error"]["code"], "neighbour_changed", "{refused}");
    let say = refused["error"]["message"].as_str().unwrap();
    assert!(say.contains("“status 200”") && say.contains("“status 410”"), "{say}");
    assert_eq!(
        (strangers(), on("h4", &format!("ls {link} 2>/dev/null || true"))),
        (before, String::new())
    );
    assert_eq!(get(&house, id)["sites"][0]["stands"], "empty", "{}", get(&house, id));
}

// --- one name on several servers ------------------------------------------------------------------------------------

#[test]
#[ignore = "lab: h4, h5 and infra"]
fn a_server_that_is_dead_keeps_nobody_else_from_being_served() {
    let hosts = Hosts::fresh(&["h4", "h5"], Some("web"));
    let house = house_on_h4(&hosts);
    let name = "shared.alpha.test";
    let leads_to = |host: &str| {
        script("dns", &["del", "alpha.test", "^shared "]);
        script("dns", &["add", "alpha.test", &format!("shared IN A {}", address(host))]);
    };
    let dead = || {
        script("fault", &["h5", "no-sshd"]);
        on("h5", "pkill -9 sshd; true");
    };
    dead();
    leads_to("h5");
    let more = json!({ "server_ids": [2, 1], "ssl": true, "preflight": "off" });
    let id = domain(&house, name, 1, &more);
    let seen = plan(&house, id);
    assert_eq!(seen["ok"], true, "{seen}");
    let fault = &seen["servers"][0]["faults"][0];
    assert_eq!(
        (&seen["servers"][0]["server_id"], &fault["level"]),
        (&json!(2), &json!("warn")),
        "{seen}"
    );

    // The name leads to the dead one alone: nobody can be issued a certificate, and the reason says why.
    let refused = deploy(&house, id);
    assert_eq!(refused["error"]["code"], "acme_wrong_address", "{refused}");
    let say = refused["error"]["message"].as_str().unwrap();
    assert!(
        say.contains("h5") && say.contains("take that address out of the name"),
        "{say}"
    );
    assert_eq!(on("h4", "ls /etc/nginx/sites-enabled | grep -c shared || true"), "0");

    leads_to("h4");
    let incomplete = deploy(&house, id);
    assert_eq!(incomplete["error"]["code"], "incomplete", "{incomplete}");
    assert!(
        incomplete["error"]["message"].as_str().unwrap().contains("h5"),
        "{incomplete}"
    );
    assert_eq!(fetch("h4", name, "/").map(|a| a.0), Some(301));
    assert_eq!(get(&house, id)["reason"], "incomplete");

    // It comes back, and dies again: the renewal leaves it out, too.
    script("fault", &["h5", "heal"]);
    changes(&deploy(&house, id));
    assert_eq!(get(&house, id)["reason"], "lit");
    let leaf = || {
        on(
            "h4",
            "sha256sum </etc/letsencrypt/live/lamplighter-shared.alpha.test/cert.pem",
        )
    };
    let before = leaf();
    dead();
    let renewed = act(&house, &format!("/api/domains/{id}/renew"), &json!({ "force": true }));
    assert_eq!(renewed["error"]["code"], "incomplete", "{renewed}");
    assert_ne!(leaf(), before);
    script("dns", &["del", "alpha.test", "^shared "]);
}

// --- names of targets -----------------------------------------------------------------------------------------------

/// The lab's nginx cannot follow several names by itself.
#[test]
#[ignore = "lab: h4"]
fn several_names_and_the_name_servers_are_followed_and_none_keeps_nginx_down() {
    let hosts = Hosts::fresh(&["h4"], Some("web"));
    let house = house_on_h4(&hosts);
    let admin = house.admin();
    let name_is = |name: &str, address: Option<&str>| {
        script("dns", &["del", "lab.test", &format!("^{name} ")]);
        address.map(|to| script("dns", &["add", "lab.test", &format!("{name} IN A {to}")]))
    };
    back_end_at("h4", "127.0.0.2", 9002, "old");
    back_end_at("h4", "127.0.0.3", 9002, "new");
    name_is("one", Some("127.0.0.2"));
    name_is("two", Some("127.0.0.2"));
    let by_names = upstream(&house, "by-names", &["one.lab.test:9002", "two.lab.test:9002"]);
    on("h4", "echo '127.0.0.3 known-here.lab.test' >>/etc/hosts");
    let in_hosts = upstream(&house, "in-hosts", &["known-here.lab.test:9002"]);
    let (several, known) = (
        domain(&house, "several.h4.lab.test", by_names, &json!({})),
        domain(&house, "known.h4.lab.test", in_hosts, &json!({})),
    );
    let seen = plan(&house, several);
    assert!(faults(&seen).contains(&"resolved_once".to_string()), "{seen}");
    for id in [several, known] {
        changes(&deploy(&house, id));
        assert_eq!(changes(&deploy(&house, id)), 0);
    }
    let page = |name: &str| fetch("h4", &format!("{name}.h4.lab.test"), "/").map(|a| a.1);
    assert_eq!(
        (page("several").as_deref(), page("known").as_deref()),
        (Some("old"), Some("new"))
    );
    // The watch over files beats three times a minute.
    let look = || {
        let due = "UPDATE domain_sites SET looked_at = 0";
        house.database("lamplighter.db").execute(due, []).unwrap();
    };
    let follows = || {
        let found = admin.get("/api/tasks?kind=server.follow_names").is(200);
        found["total"].as_i64().unwrap()
    };

    // Both move: the look at the server notices it, and a task says what it did.
    name_is("one", Some("127.0.0.3"));
    name_is("two", Some("127.0.0.3"));
    eventually("the old answer is forgotten", || {
        (on("h4", "getent hosts one.lab.test two.lab.test")
            .matches("127.0.0.3")
            .count()
            == 2)
            .then_some(())
    });
    look();
    eventually("nginx follows the names", || {
        (page("several").as_deref() == Some("new")).then_some(())
    });
    assert_eq!(follows(), 1);

    // The server asks another name server from now on.
    on("h4", "sed -i 's/10.77.0.2/10.77.0.3/' /etc/resolv.conf");
    look();
    eventually("nginx asks it, too", || {
        on(
            "h4",
            "grep -o 'resolver 10.77.0.3' /etc/nginx/lamplighter/resolver.conf || true",
        )
        .contains("10.77.0.3")
        .then_some(())
    });
    eventually("its task is done", || (follows() == 2).then_some(()));

    // One is gone, and the server starts again: everybody is served, and it is said.
    name_is("two", None);
    on("h4", "sed -i /known-here/d /etc/hosts");
    eventually("the name is gone", || {
        on("h4", "getent hosts two.lab.test || echo gone")
            .contains("gone")
            .then_some(())
    });
    look();
    on("h4", "systemctl restart nginx");
    assert_eq!(
        (page("several").as_deref(), page("known").as_deref()),
        (Some("new"), Some("new"))
    );
    let told = eventually("the domain's page says so", || {
        let shown = get(&house, several)["sites"][0].clone();
        (shown["state"] == "drifted").then_some(shown)
    });
    assert_eq!(told["error"]["code"], "target_lost", "{told}");

    for id in [several, known] {
        changes(&remove(&house, id));
    }
    assert_eq!(on("h4", "ls /etc/nginx/lamplighter"), "resolver.conf");
    name_is("one", None);
}
