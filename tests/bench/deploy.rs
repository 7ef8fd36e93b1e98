//! A domain's deploy against `ansible-playbook` (pipelining, no facts, its own kept connection) doing the same steps on the
//! same server in turn; and one domain on twenty servers against plain ssh, eight at a time over connections that are kept
//! open like ours, both with the very script that a deploy runs there and with the five lines that a person would write.
//! Prints figures, judges nothing. Needs root, the lab and ansible-core: `cargo bench --bench deploy`;
//! LAMPLIGHTER_HOSTS="h1 h2 h6" says which hosts of the lab.

#[path = "../common/mod.rs"]
mod common;

use common::lab::{add, address, back_end, changes, ended, key, script};
use common::{Folder, House};
use lamplighter::base::process::Cancel;
use lamplighter::features::proxy::domains::{Vhost, render_vhost};
use lamplighter::features::proxy::upstreams::Target;
use lamplighter::provision::site::{Apply, Certificate, Nginx, apply};
use lamplighter::schedule::fan_out::FanOut;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const ROUNDS: usize = 5;
/// What the deploy uses, too.
const WIDTH: usize = 8;

fn main() {
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let twenty = || (1..=20).map(|n| format!("h{n}")).collect::<Vec<_>>().join(" ");
    let hosts = std::env::var("LAMPLIGHTER_HOSTS").unwrap_or_else(|_| twenty());
    let hosts: Vec<&str> = hosts.split_whitespace().collect();
    let mut up = hosts.clone();
    up.extend(["--fresh", "--layer", "web"]);
    script("up", &up);
    let house = House::new();
    let admin = house.admin();
    for host in &hosts {
        let id = add(&admin, host, host);
        back_end(host, 9000, "first");
        let task = admin
            .post(&format!("/api/servers/{id}/deploy-proxy"), &json!({}))
            .is(202);
        changes(&ended(&house, task["task_id"].as_i64().unwrap()));
    }
    let upstream = json!({ "name": "app", "targets": ["127.0.0.1:9000"] });
    admin.post("/api/upstreams", &upstream).is(201);

    let play = Playbook::new(&hosts);
    // `-- one` or `-- many` for half of it.
    let wanted = |what: &str| {
        let mut named = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).peekable();
        named.peek().is_none() || named.any(|arg| arg == what)
    };
    if wanted("one") {
        one_server(&house, &play, hosts[0]);
    }
    if wanted("many") {
        many_servers(&house, &play, &hosts);
    }
}

fn one_server(house: &House, play: &Playbook, host: &str) {
    let (mut ours, mut theirs) = (Times::default(), Times::default());
    for round in 0..ROUNDS {
        let id = domain(house, &format!("ours-{round}.alpha.test"), &[1]);
        ours.first.push(deploy(house, id, true));
        ours.again.push(deploy(house, id, false));
        let name = format!("theirs-{round}.alpha.test");
        theirs.first.push(play.run(&name, &[host]));
        theirs.again.push(play.run(&name, &[host]));
    }
    for (what, ours, theirs) in [
        ("first deploy, plain HTTP", &mut ours.first, &mut theirs.first),
        ("no change, warm connection", &mut ours.again, &mut theirs.again),
    ] {
        let (ours, theirs) = (median(ours), median(theirs));
        let times = theirs.as_secs_f64() / ours.as_secs_f64();
        println!("{what}: {ours:?}, ansible {theirs:?}: {times:.1} times");
    }
}

fn many_servers(house: &House, play: &Playbook, hosts: &[&str]) {
    let ids: Vec<i64> = (1..=hosts.len() as i64).collect();
    let (mut ours, mut same, mut five) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let id = domain(house, &format!("all-{round}.alpha.test"), &ids);
        let times = (
            deploy(house, id, true),
            play.plain(hosts, &deploy_script(&format!("same-{round}.alpha.test"))),
            play.plain(hosts, &five_lines(&format!("five-{round}.alpha.test"))),
        );
        // The first round opens the connections.
        if round > 0 {
            ours.push(times.0);
            same.push(times.1);
            five.push(times.2);
        }
    }
    let (n, ours) = (hosts.len(), median(&mut ours));
    for (what, plain) in [("the same script", &mut same), ("five lines", &mut five)] {
        let plain = median(plain);
        let times = ours.as_secs_f64() / plain.as_secs_f64();
        println!("{n} servers at once: {ours:?}, {what} by plain ssh {WIDTH} at a time {plain:?}: {times:.2} times");
    }
}

#[derive(Default)]
struct Times {
    first: Vec<Duration>,
    again: Vec<Duration>,
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn domain(house: &House, name: &str, servers: &[i64]) -> i64 {
    let wanted = json!({ "domain": name, "server_ids": servers, "upstream_id": 1, "preflight": "off" });
    house.admin().post("/api/domains", &wanted).is(201)["id"]
        .as_i64()
        .unwrap()
}

fn deploy(house: &House, id: i64, is_new: bool) -> Duration {
    let began = Instant::now();
    let answer = house.admin().post(&format!("/api/domains/{id}/deploy"), &json!({}));
    let task: Value = ended(house, answer.is(202)["task_id"].as_i64().unwrap());
    let took = began.elapsed();
    assert_eq!(changes(&task) > 0, is_new, "{task}");
    took
}

/// The same steps: file, link, test, reload, a request through the proxy.
const PLAY: &str = r#"
- hosts: web
  gather_facts: false
  tasks:
    - ansible.builtin.copy:
        content: "{{ site }}"
        dest: "/etc/nginx/sites-available/{{ name }}.conf"
      notify: reload
    - ansible.builtin.file:
        src: "/etc/nginx/sites-available/{{ name }}.conf"
        dest: "/etc/nginx/sites-enabled/{{ name }}.conf"
        state: link
      notify: reload
    - ansible.builtin.command: nginx -t
      changed_when: false
    - ansible.builtin.meta: flush_handlers
    - ansible.builtin.uri:
        url: "http://127.0.0.1/"
        headers: { Host: "{{ name }}" }
  handlers:
    - name: reload
      ansible.builtin.service: { name: nginx, state: reloaded }
"#;

/// What a deploy runs on a server: test, rollback, swap, reload, proof.
fn deploy_script(name: &str) -> String {
    let upstream = [Target {
        host: "127.0.0.1".into(),
        port: 9000,
        weight: None,
    }];
    let site = Vhost {
        domain: name,
        id: 1,
        generation: 1,
        upstream: &upstream,
        peers: &[],
        tls: None,
        nginx: Nginx::DEBIAN_12,
    };
    let rendered = render_vhost(&site).unwrap();
    let wish = Apply {
        name,
        text: &rendered.text,
        proof: &rendered.proof,
        target_names: &[],
        followed: &[],
        certificate: Certificate::None,
        expect: None,
        old_name: None,
        old_expect: None,
        shadow: false,
    };
    let script = apply(&wish)
        .unwrap()
        .script("nonce", &lamplighter::provision::Debs::Own)
        .unwrap();
    script.reveal_text_for("a benchmark").to_string()
}

/// What a person would write: file, link, test, reload, request.
fn five_lines(name: &str) -> String {
    format!(
        "set -e; cat >/etc/nginx/sites-available/{name}.conf <<'X'\n{}X\nln -sf /etc/nginx/sites-available/{name}.conf /etc/nginx/sites-enabled/{name}.conf\nnginx -t\nsystemctl reload nginx\nsleep 0.1\nbash -c 'exec 3<>/dev/tcp/127.0.0.1/80; printf \"GET / HTTP/1.0\\r\\nHost: {name}\\r\\n\\r\\n\" >&3; cat <&3'\n",
        Playbook::site(name)
    )
}

struct Playbook {
    folder: Folder,
    key: PathBuf,
}

impl Playbook {
    fn new(hosts: &[&str]) -> Playbook {
        let folder = Folder::new();
        let key_file = folder.file("key", key("id_ed25519"));
        std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(0o600)).unwrap();
        folder.file("play.yml", PLAY);
        let inventory: String = hosts
            .iter()
            .map(|host| format!("{host} ansible_host={}\n", address(host)))
            .collect();
        folder.file("hosts", format!("[web]\n{inventory}"));
        folder.file(
            "ansible.cfg",
            "[defaults]\nhost_key_checking=False\nforks=8\ninterpreter_python=/usr/bin/python3\n[ssh_connection]\npipelining=True\nssh_args=-o ControlMaster=auto -o ControlPersist=600s\n",
        );
        Playbook { folder, key: key_file }
    }

    fn site(name: &str) -> String {
        format!(
            "server {{\n    listen 80;\n    server_name {name};\n    location / {{\n        proxy_pass http://127.0.0.1:9000;\n        proxy_set_header Host $host;\n    }}\n}}\n"
        )
    }

    fn run(&self, name: &str, hosts: &[&str]) -> Duration {
        let vars = json!({ "name": name, "site": Playbook::site(name) }).to_string();
        let began = Instant::now();
        let out = Command::new("ansible-playbook")
            .current_dir(self.path())
            .env("HOME", self.path())
            .args(["-i", "hosts", "-u", "root", "--private-key"])
            .arg(&self.key)
            .args(["-l", &hosts.join(","), "-e", &vars, "play.yml"])
            .output()
            .expect("ansible-playbook");
        let took = began.elapsed();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
        took
    }

    /// One script on each server over plain ssh, some at a time.
    fn plain(&self, hosts: &[&str], script: &str) -> Duration {
        let file = self.folder.file("plain.sh", script);
        let began = Instant::now();
        let fan = FanOut {
            name: "plain",
            width: WIDTH,
            begin_until: None,
            cancel: &Cancel::new(),
        };
        fan.run(hosts, |host| {
            let out = self.ssh(host, &file).output().unwrap();
            assert!(out.status.success(), "{host}: {}", common::said(&out));
        });
        began.elapsed()
    }

    fn ssh(&self, host: &str, script: &Path) -> Command {
        let mut ssh = Command::new("ssh");
        let options = "-F none -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o ControlMaster=auto -o ControlPersist=600";
        ssh.args(options.split(' '))
            .arg("-o")
            .arg(format!("ControlPath={}/%C", self.path().display()))
            .arg("-i")
            .arg(&self.key)
            .args(["-l", "root", "--", &address(host), "sh", "-s"])
            .stdin(std::fs::File::open(script).unwrap());
        ssh
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}
