//! Servers of the lab (`tests/lab`) for tests.

use super::{Client, House, eventually, said};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

pub fn script(name: &str, args: &[&str]) -> String {
    ran(Command::new(place(name)).args(args))
}

/// Where a script of the lab is.
pub fn place(name: &str) -> PathBuf {
    let lab = std::env::var_os("LAMPLIGHTER_LAB").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab"),
        PathBuf::from,
    );
    lab.join(name)
}

fn ran(command: &mut Command) -> String {
    let out = command.output().unwrap();
    assert!(out.status.success(), "{command:?}: {}", said(&out));
    String::from_utf8(out.stdout).unwrap()
}

/// Runs a script as root on the host, not over ssh; returns its output. It must succeed.
pub fn on(host: &str, command: &str) -> String {
    script("on", &["--direct", host, "sh", "-c", command])
        .trim()
        .to_string()
}

pub fn key(name: &str) -> String {
    let dir = std::env::var_os("LAB_DIR").map_or("/var/tmp/lamplighter-lab".into(), PathBuf::from);
    fs::read_to_string(dir.join("keys").join(name)).unwrap()
}

/// h1 … h20, d11 and d13, u24.
pub fn address(host: &str) -> String {
    let above = if host.starts_with(['d', 'u']) { 20 } else { 10 };
    format!("10.77.0.{}", above + host[1..].parse::<u8>().unwrap())
}

/// The hosts are shared by the tests of a file: one test at a time.
static LAB: Mutex<()> = Mutex::new(());

/// Servers of the lab with clean disks; reset on drop.
pub struct Hosts(
    pub &'static [&'static str],
    #[expect(dead_code, reason = "held")] MutexGuard<'static, ()>,
);

impl Hosts {
    pub fn fresh(names: &'static [&'static str], layer: Option<&str>) -> Hosts {
        let alone = LAB.lock().unwrap_or_else(|e| e.into_inner());
        let mut args = names.to_vec();
        args.push("--fresh");
        args.extend(layer.iter().flat_map(|layer| ["--layer", layer]));
        script("up", &args);
        Hosts(names, alone)
    }

    /// The same; None, and said loudly, where a Debian of theirs cannot be fetched.
    pub fn fetched(names: &'static [&'static str]) -> Option<Hosts> {
        let alone = LAB.lock().unwrap_or_else(|e| e.into_inner());
        let out = Command::new(place("up")).args(names).arg("--fresh").output().unwrap();
        if out.status.code() == Some(3) {
            eprintln!("NOT RUN on {names:?}: {}", said(&out));
            return None;
        }
        assert!(out.status.success(), "{names:?}: {}", said(&out));
        Some(Hosts(names, alone))
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        self.0.iter().for_each(|host| drop(script("fault", &[host, "heal"])));
    }
}

/// An ACME server of its own beside the usual one, whose certificates live so long. Gone when dropped.
pub struct ShortLived;

impl ShortLived {
    pub const DIRECTORY: &str = "https://acme.lab.test:14010/dir";

    pub fn of(life: Duration) -> ShortLived {
        let seconds = life.as_secs();
        on(
            "infra",
            &format!(
                "systemctl stop short-lived 2>/dev/null || true; cd /run; sed 's/:1\\([45]\\)000\"/:1\\1010\"/g; s/\"certificateValidityPeriod\":[0-9]*/\"certificateValidityPeriod\":{seconds}/' \
                   /etc/lamplighter-lab/pebble.json >short-lived.json
                 systemd-run -q --collect --unit=short-lived -E PEBBLE_VA_NOSLEEP=1 -E PEBBLE_WFE_NONCEREJECT=0 -E PEBBLE_AUTHZREUSE=0 \
                   /usr/bin/pebble -config /run/short-lived.json -dnsserver 10.77.0.2:53
                 for _ in $(seq 100); do ss -Hltn 'sport = :14010' | grep -q . && exit; sleep 0.1; done; exit 1"
            ),
        );
        ShortLived
    }
}

impl Drop for ShortLived {
    fn drop(&mut self) {
        on("infra", "systemctl stop short-lived");
    }
}

/// Adds a server with its host key, so that nobody has to accept it.
pub fn add(admin: &Client, host: &str, name: &str) -> i64 {
    let host_key = on(host, "cat /etc/ssh/ssh_host_ed25519_key.pub");
    let host_key: Vec<&str> = host_key.split(' ').take(2).collect();
    let wanted = json!({
        "name": name, "host": address(host), "username": "root", "ssh_key": key("id_ed25519"),
        "host_key": host_key.join(" "),
    });
    admin.post("/api/servers", &wanted).is(201)["id"].as_i64().unwrap()
}

/// Installing takes longer than a story's usual patience.
pub fn ended(house: &House, task: i64) -> Value {
    let path = format!("/api/tasks/{task}");
    let until = Instant::now() + Duration::from_secs(300);
    loop {
        let after = house.admin().get(&format!("{path}/logs?after=999999&wait=10")).is(200);
        if !after["end"].is_null() || Instant::now() > until {
            return house.admin().get(&path).is(200);
        }
    }
}

#[track_caller]
pub fn changes(task: &Value) -> i64 {
    assert_eq!(task["status"], "ok", "{task}");
    task["changed"].as_i64().unwrap()
}

/// Asks a web server for a page by this name; status and body. None: it does not answer, or answers nonsense.
pub fn fetch(host: &str, name: &str, path: &str) -> Option<(u16, String)> {
    use std::io::{Read, Write};
    let at = format!("{}:80", address(host)).parse().unwrap();
    let mut wire = std::net::TcpStream::connect_timeout(&at, Duration::from_secs(3)).ok()?;
    wire.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    let ask = format!("GET {path} HTTP/1.0\r\nHost: {name}\r\nConnection: close\r\n\r\n");
    wire.write_all(ask.as_bytes()).ok()?;
    let mut text = String::new();
    wire.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_string()))
}

/// Status and body over TLS, as a machine that trusts the ACME server's root sees them.
pub fn fetch_tls(host: &str, name: &str) -> (String, String) {
    let shown = on(
        host,
        &format!(
            "curl -sk https://10.77.0.2:15000/roots/0 -o /tmp/root.pem
             curl -s --cacert /tmp/root.pem --resolve {name}:443:{} -w '\\n%{{http_code}}' https://{name}/; true",
            address(host)
        ),
    );
    let (body, status) = shown.rsplit_once('\n').unwrap_or(("", &shown));
    (status.into(), body.into())
}

/// A back end on the server that answers everything with `word`.
pub fn back_end(host: &str, port: u16, word: &str) {
    back_end_at(host, "127.0.0.1", port, word);
}

/// The same on another address of it.
pub fn back_end_at(host: &str, at: &str, port: u16, word: &str) {
    let unit = match at {
        "127.0.0.1" => format!("be-{port}"),
        at => format!("be-{port}-{at}"),
    };
    let answer = format!("HTTP/1.0 200 OK\\r\\nContent-Type: text/plain\\r\\n\\r\\n{word}");
    on(
        host,
        &format!(
            "systemctl is-active -q {unit} || systemd-run -q --unit {unit} python3 -c '
import socketserver
class H(socketserver.StreamRequestHandler):
    def handle(self):
        while self.rfile.readline().strip(): pass
        self.wfile.write(b\"{answer}\")
socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer((\"{at}\", {port}), H).serve_forever()'"
        ),
    );
    eventually("the back end listens", || {
        let open = on(host, &format!("ss -Hltn src {at}:{port}"));
        (!open.is_empty()).then_some(())
    });
}

/// A daemon with these hosts as servers 1, 2, …, and the lab's name servers and ACME server.
pub fn house(hosts: &Hosts) -> House {
    let house = House::new();
    let admin = house.admin();
    for host in hosts.0 {
        add(&admin, host, host);
    }
    let settings = json!({ "acme.directory": "https://acme.lab.test:14000/dir", "acme.email": "ops@example.org", "dns.resolvers": "10.77.0.2" });
    admin.put("/api/settings", &settings).is(200);
    house
}

/// Adds an upstream.
pub fn upstream(house: &House, name: &str, targets: &[&str]) -> i64 {
    let wanted = json!({ "name": name, "targets": targets });
    house.admin().post("/api/upstreams", &wanted).is(201)["id"]
        .as_i64()
        .unwrap()
}

/// Adds a domain on server 1.
pub fn domain(house: &House, name: &str, upstream: i64, more: &Value) -> i64 {
    let mut wanted = json!({ "domain": name, "server_ids": [1], "upstream_id": upstream });
    for (key, value) in more.as_object().into_iter().flatten() {
        wanted[key] = value.clone();
    }
    house.admin().post("/api/domains", &wanted).is(201)["id"]
        .as_i64()
        .unwrap()
}

/// Posts to a path that answers with a task, and waits for its end.
#[track_caller]
pub fn act(house: &House, path: &str, body: &Value) -> Value {
    let task = house.admin().post(path, body).is(202)["task_id"].as_i64().unwrap();
    ended(house, task)
}

#[track_caller]
pub fn deploy(house: &House, domain: i64) -> Value {
    act(house, &format!("/api/domains/{domain}/deploy"), &json!({}))
}

#[track_caller]
pub fn remove(house: &House, domain: i64) -> Value {
    let answer = house.admin().delete(&format!("/api/domains/{domain}"));
    ended(house, answer.is(202)["task_id"].as_i64().unwrap())
}

#[track_caller]
pub fn plan(house: &House, domain: i64) -> Value {
    let path = format!("/api/domains/{domain}/plan");
    house.admin().post(&path, &json!({})).is(200)
}

/// What a plan would do on its first server.
pub fn steps(plan: &Value) -> Vec<&str> {
    let steps = plan["servers"][0]["steps"].as_array().unwrap();
    steps.iter().map(|s| s["what"].as_str().unwrap()).collect()
}

pub fn get(house: &House, domain: i64) -> Value {
    house.admin().get(&format!("/api/domains/{domain}")).is(200)
}

/// The log of a task as text.
pub fn log(house: &House, task: &Value) -> String {
    let path = format!("/api/tasks/{}/log.txt", task["id"]);
    house.admin().get(&path).text().to_string()
}
