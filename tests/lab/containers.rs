//! Real engines: Docker on h4, Podman on h5, over ssh. Lines are counted while the link is cut, the engine restarts, the log
//! is rotated and the container is made anew. Needs the lab (`tests/lab`), hosts h4 and h5.

use crate::common;
use crate::fake::FINGERPRINT;

use common::lab::{Hosts, ended, key, on, script};
use common::*;
use serde_json::{Value, json};

/// Docker, and an image of the shell that was made here: no registry is asked.
const DOCKER: &str = r#"export DEBIAN_FRONTEND=noninteractive
apt-get install -y --no-install-recommends docker.io >/dev/null 2>&1
mkdir -p /etc/docker && echo '{"storage-driver":"vfs","iptables":false,"bridge":"none"}' > /etc/docker/daemon.json
systemctl restart docker
cd /tmp && mkdir -p image/bin image/lib64 image/lib/x86_64-linux-gnu && cp -L /bin/sh /bin/sleep image/bin/
cp -L /lib64/ld-linux-x86-64.so.2 image/lib64/ && cp -L /lib/x86_64-linux-gnu/libc.so.6 image/lib/x86_64-linux-gnu/
tar -C /tmp/image -c . | docker import - lab:1 >/dev/null && docker version --format '{{.Server.Version}}'"#;

///
/// One container has lived there: Podman 4.3's service answers 500 to every list ("container not known") when the very first
/// one is made beside it, until it is started again.
const PODMAN: &str = r#"export DEBIAN_FRONTEND=noninteractive
apt-get install -y --no-install-recommends podman runc >/dev/null 2>&1
mkdir -p /etc/containers && printf '[engine]\nruntime="runc"\ncgroup_manager="cgroupfs"\nevents_logger="file"\n[containers]\nlog_driver="k8s-file"\ndefault_ulimits=["nofile=1024:1024","nproc=2048:2048"]\n' > /etc/containers/containers.conf
printf '[storage]\ndriver="vfs"\nrunroot="/run/containers/storage"\ngraphroot="/var/lib/containers/storage"\n' > /etc/containers/storage.conf
systemctl enable --now podman.socket
cd /tmp && mkdir -p image/bin image/lib64 image/lib/x86_64-linux-gnu && cp -L /bin/sh /bin/sleep image/bin/
cp -L /lib64/ld-linux-x86-64.so.2 image/lib64/ && cp -L /lib/x86_64-linux-gnu/libc.so.6 image/lib/x86_64-linux-gnu/
tar -C /tmp/image -c . | podman import - lab:1 >/dev/null 2>&1
podman run --rm --network host lab:1 sh -c 'exit 0' && systemctl stop podman.service; podman version --format '{{.Client.Version}}'"#;

/// Podman of the user `ops` without root, with its socket in the user's own session. Its image is that of [`PODMAN`].
const ROOTLESS: &str = r#"export DEBIAN_FRONTEND=noninteractive
apt-get install -y --no-install-recommends uidmap >/dev/null 2>&1
rm /etc/containers/storage.conf && mkdir -p /home/ops/.config/containers
printf '[storage]\ndriver="vfs"\n' > /home/ops/.config/containers/storage.conf && chown -R ops: /home/ops/.config
tar -C /tmp/image -c . > /tmp/image.tar && chmod a+r /tmp/image.tar && cd /
loginctl enable-linger ops
until [ -S /run/user/1000/systemd/private ]; do sleep 0.2; done
as_ops() { runuser -u ops -- env XDG_RUNTIME_DIR=/run/user/1000 "$@"; }
as_ops podman import /tmp/image.tar lab:1 >/dev/null 2>&1
as_ops podman run --rm --network host lab:1 sh -c 'exit 0'
as_ops systemctl --user enable --now podman.socket 2>&1
systemctl disable --now podman.socket 2>&1; rm -rf /run/podman"#;

/// A command by `ops` in the user's session.
fn as_ops(command: &str) -> String {
    on(
        "h5",
        &format!("cd / && runuser -u ops -- env XDG_RUNTIME_DIR=/run/user/1000 {command}"),
    )
}

/// Writes so many hundred lines, ten times a second.
fn talks(hundreds: u32) -> String {
    format!(
        "i=0; while [ $i -lt {hundreds} ]; do j=0; while [ $j -lt 100 ]; do j=$((j+1)); echo \"line $((i*100+j)) of many\"; done; \
         i=$((i+1)); sleep 0.09; done; sleep 100000"
    )
}

pub struct Lab {
    pub house: House,
    _hosts: Hosts,
}

/// Docker by root's login, Podman by a login that may open its socket through sudo only, with a password.
pub fn lab() -> Lab {
    let hosts = Hosts::fresh(&["h4", "h5"], None);
    println!("Docker {}", on("h4", DOCKER).trim());
    println!("Podman {}", on("h5", PODMAN).trim());
    let house = common::lab::house(&hosts);
    let admin = house.admin();
    let ops = json!({ "username": "ops", "password": "ops-pw", "ssh_key": key("id_ed25519") });
    admin.patch("/api/servers/2", &ops).is(200);
    for id in [1, 2] {
        // No Glances is there: a server that is called down would mute its containers.
        let wanted = json!({ "containers": "auto", "poll_interval_s": 3600 });
        admin.patch(&format!("/api/servers/{id}"), &wanted).is(200);
    }
    for (id, engine) in [(1, "docker"), (2, "podman")] {
        eventually(engine, || {
            let all = admin.get("/api/container-engines").is(200);
            let mut all = all["items"].as_array().unwrap().iter();
            all.any(|e| e["server_id"] == id && e["engine"] == engine && e["state"] == "answers")
                .then_some(())
        });
    }
    Lab { house, _hosts: hosts }
}

impl Lab {
    /// The numbers of all lines of a container, in their order, and its notes.
    fn lines(&self, server: i64, name: &str) -> (Vec<u32>, Vec<String>) {
        let admin = self.house.admin();
        let (mut numbers, mut notes, mut after) = (Vec::new(), Vec::new(), String::from("0-0"));
        loop {
            let answer = admin
                .get(&format!("/api/containers/{server}/{name}/logs?tail=5000&after={after}"))
                .is(200);
            for line in answer["items"].as_array().unwrap() {
                let text = line["line"].as_str().unwrap();
                match text.strip_prefix("line ").filter(|_| line["stream"] != "note") {
                    Some(rest) => numbers.push(rest.split(' ').next().unwrap().parse().unwrap()),
                    None => notes.push(text.to_string()),
                }
            }
            match &answer["next"] {
                Value::String(next) => after = next.clone(),
                _ => return (numbers, notes),
            }
        }
    }

    #[track_caller]
    fn has_all(&self, server: i64, name: &str, count: u32) {
        let stored = || {
            let c = self.house.admin().get(&format!("/api/containers/{server}/{name}"));
            if c.status == 200 {
                c.is(200)["log_lines"].as_u64().unwrap()
            } else {
                0
            }
        };
        // As long as more come in. Podman reads the whole file for each of our questions: its rounds take their time.
        let patience = if is_long() { 36 } else { 8 };
        let (mut before, mut still) = (0, 0);
        while before < u64::from(count) && still < patience {
            std::thread::sleep(std::time::Duration::from_secs(5));
            let now = stored();
            still = if now > before { 0 } else { still + 1 };
            before = now;
        }
        let (numbers, notes) = self.lines(server, name);
        let missing: Vec<u32> = (1..=count)
            .filter(|n| numbers.binary_search(n).is_err())
            .take(20)
            .collect();
        assert!(
            missing.is_empty(),
            "{} of {count}, not {missing:?}; {notes:?}",
            numbers.len()
        );
        assert_eq!(
            numbers,
            (1..=count).collect::<Vec<_>>(),
            "each once, in order; {notes:?}"
        );
    }
}

/// Is it the long form of these stories (`tests/long containers`)?
fn is_long() -> bool {
    std::env::var_os("LAMPLIGHTER_LONG").is_some()
}

fn pause(seconds: u64) {
    std::thread::sleep(std::time::Duration::from_secs(seconds));
}

/// What takes longer than a story's usual patience.
#[track_caller]
fn eventually_long(what: &str, done: impl Fn() -> bool) {
    for _ in 0..40 {
        if done() {
            return;
        }
        pause(4);
    }
    panic!("waited in vain: {what}");
}

/// Debian's rsyslog with a receiver over TLS, in a folder of its own.
struct Rsyslog {
    folder: Folder,
    port: u16,
    daemon: Option<std::process::Child>,
}

impl Rsyslog {
    fn new() -> Rsyslog {
        let folder = Folder::new();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        let dir = folder.path().display();
        let tls = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tls/selfsigned");
        let conf = format!(
            "global(workDirectory=\"{dir}\" maxMessageSize=\"32k\" defaultNetstreamDriver=\"gtls\"\n\
             defaultNetstreamDriverCAFile=\"{tls}.crt\" defaultNetstreamDriverCertFile=\"{tls}.crt\"\n\
             defaultNetstreamDriverKeyFile=\"{tls}.key\")\n\
             module(load=\"imtcp\" streamDriver.name=\"gtls\" streamDriver.mode=\"1\" streamDriver.authMode=\"anon\")\n\
             template(name=\"t\" type=\"string\" string=\"%hostname% %app-name% %msg%\\n\")\n\
             ruleset(name=\"r\") {{ action(type=\"omfile\" file=\"{dir}/out\" template=\"t\") }}\n\
             input(type=\"imtcp\" port=\"{port}\" address=\"127.0.0.1\" ruleset=\"r\")\n"
        );
        std::fs::write(folder.path().join("conf"), conf).unwrap();
        let mut rsyslog = Rsyslog {
            folder,
            port,
            daemon: None,
        };
        rsyslog.start();
        rsyslog
    }

    fn start(&mut self) {
        let at = |name: &str| self.folder.path().join(name);
        let mut command = std::process::Command::new("rsyslogd");
        command.arg("-n").arg("-f").arg(at("conf")).arg("-i").arg(at("pid"));
        self.daemon = Some(command.spawn().expect("rsyslog and rsyslog-gnutls are installed"));
    }

    /// Stops it as its service manager does.
    fn stop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let pid = daemon.id().to_string();
            let _ = std::process::Command::new("kill").arg(pid).status();
            let _ = daemon.wait();
        }
    }

    /// The numbers of all lines of a container that it has written down, once each, and how many came again.
    fn numbers(&self, host: &str, name: &str) -> (Vec<u32>, usize) {
        let text = std::fs::read_to_string(self.folder.path().join("out")).unwrap_or_default();
        let of = |line: &str| {
            let rest = line.strip_prefix(&format!("{host} {name} "))?.trim();
            rest.strip_prefix("line ")?.split(' ').next()?.parse().ok()
        };
        let all: Vec<u32> = text.lines().filter_map(of).collect();
        let once: std::collections::BTreeSet<u32> = all.iter().copied().collect();
        let again = all.len() - once.len();
        (once.into_iter().collect(), again)
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        self.stop();
    }
}

#[test]
#[ignore = "lab: h4 h5"]
fn no_line_is_lost_or_doubled_on_real_engines_whatever_breaks() {
    let mut lab = lab();
    let (hundreds, cut, kills) = if is_long() { (3_000, 60, 50) } else { (180, 4, 2) };
    let lines = hundreds * 100;
    let mut rsyslog = Rsyslog::new();
    // All of it is kept, and goes on to a receiver.
    let settings = json!({ "containers.log_mib_each": 100, "forward.syslog_pin": FINGERPRINT,
        "forward.syslog": format!("tls://127.0.0.1:{}", rsyslog.port) });
    lab.house.admin().put("/api/settings", &settings).is(200);
    pause(7);
    let talks = talks(hundreds);
    for (host, engine) in [("h4", "docker"), ("h5", "podman")] {
        on(
            host,
            &format!("{engine} run -d --network host --name talker lab:1 sh -c '{talks}'"),
        );
    }
    pause(5);
    // The link hangs, is cut, the receiver is away, and the daemon dies.
    script("fault", &["h5", "freeze"]);
    pause(cut);
    script("fault", &["h5", "heal"]);
    script("fault", &["h4", "drop", "22"]);
    rsyslog.stop();
    pause(cut);
    lab.house.kill();
    script("fault", &["h4", "heal"]);
    rsyslog.start();
    lab.house.start();
    for n in 0..kills {
        pause(if is_long() { 1 + n % 4 } else { 4 });
        lab.house.kill();
        lab.house.start();
    }
    lab.has_all(2, "talker", lines);
    lab.has_all(1, "talker", lines);
    for host in ["h4", "h5"] {
        eventually_long("the receiver has them", || {
            rsyslog.numbers(host, "talker").0.len() == lines as usize
        });
        let (numbers, again) = rsyslog.numbers(host, "talker");
        println!(
            "{host}: rsyslog has {} of {lines} lines, {again} of them came again",
            numbers.len()
        );
        assert_eq!(numbers, (1..=lines).collect::<Vec<_>>(), "it has each");
    }
    // What was made for the way through sudo is gone with it.
    lab.house.stop();
    eventually("nothing is left there", || {
        let left = on(
            "h5",
            "ls -d /run/lamplighter-relay.* 2>/dev/null; pgrep -f systemd-socket-prox[y]d; true",
        );
        if !left.is_empty() {
            println!("still there: {left}");
        }
        left.is_empty().then_some(())
    });
}

#[test]
#[ignore = "lab: h4 h5"]
fn a_log_goes_on_through_rotation_new_lives_and_a_new_start_of_the_engine() {
    let lab = lab();
    let (hundreds, lives) = if is_long() { (600, 10) } else { (100, 3) };
    let (count, talks) = (hundreds * 100, talks(hundreds));
    let run = "docker run -d --network host";
    on(
        "h4",
        &format!("{run} --log-opt max-size=1m --log-opt max-file=2 --name turns lab:1 sh -c '{talks}'"),
    );
    on(
        "h4",
        &format!("{run} --restart always --name stays lab:1 sh -c '{talks}'"),
    );
    for _ in 0..lives {
        for (host, engine) in [("h4", "docker"), ("h5", "podman")] {
            let anew = format!("{engine} run -d --network host --name anew lab:1 sh -c '{talks}'");
            on(host, &format!("{engine} rm -f anew >/dev/null 2>&1; {anew}"));
        }
        pause(2);
    }
    for server in [1, 2] {
        eventually_long("the last life", || lab.lines(server, "anew").0.last() == Some(&count));
        let (numbers, notes) = lab.lines(server, "anew");
        // Each life begins with 1 and counts on; the last one is whole.
        let seen = numbers.iter().filter(|n| **n == 1).count();
        let jumps = numbers.windows(2).filter(|w| w[1] != w[0] + 1 && w[1] != 1).count();
        println!(
            "server {server}: {} lines of {seen} of {lives} lives, {jumps} jumps",
            numbers.len()
        );
        assert!(
            jumps == 0 && numbers.ends_with(&(1..=count).collect::<Vec<_>>()),
            "{notes:?}"
        );
        assert!(notes.iter().any(|note| note.starts_with("Made anew")), "{notes:?}");
    }
    eventually_long("the rotated log", || lab.lines(1, "turns").0.last() == Some(&count));
    let (numbers, notes) = lab.lines(1, "turns");
    let gaps = numbers.windows(2).filter(|w| w[1] != w[0] + 1).count();
    println!(
        "rotated at 1 MB: {} of {count} lines, {gaps} gaps, notes {notes:?}",
        numbers.len()
    );
    assert!(numbers.is_sorted_by(|a, b| a < b), "each once, in order");
    assert!(numbers.len() == count as usize || !notes.is_empty(), "a gap is marked");
    // A line that is half written when Podman reads its file: who follows it there never sees "three", and "fi" of "five".
    let torn = "podman run -d --network host --name torn lab:1 sh -c 'echo one; sleep 1000' >/dev/null 2>&1; sleep 3
        f=$(podman inspect torn --format '{{.HostConfig.LogConfig.Path}}'); now() { date +%Y-%m-%dT%H:%M:%S.%N+00:00; }
        printf '%s stdout F two\n%s stdout ' $(now) $(now) >>$f; sleep 0.7; printf 'F three\n%s stdout F four\n' $(now) >>$f
        sleep 1; printf '%s stdout F fi' $(now) >>$f; sleep 0.7; printf 've\n%s stdout F six\n' $(now) >>$f";
    on("h5", torn);
    let whole = ["one", "two", "three", "four", "five", "six"];
    eventually_long("the torn lines", || {
        lab.lines(2, "torn").1.last().is_some_and(|last| last == "six")
    });
    assert_eq!(lab.lines(2, "torn").1, whole);
    // The engine is started anew: what stays begins again, and its log goes on.
    eventually_long("it has spoken", || lab.lines(1, "stays").0.last() == Some(&count));
    on("h4", "systemctl restart docker");
    eventually_long("it has spoken again", || {
        lab.lines(1, "stays").0.len() >= 2 * count as usize
    });
    let (numbers, _) = lab.lines(1, "stays");
    assert_eq!(
        numbers,
        (1..=count).chain(1..=count).collect::<Vec<_>>(),
        "each once, in order"
    );
}

#[test]
#[ignore = "lab: h4 h5"]
fn who_may_not_open_the_socket_is_told_the_command_that_mends_it() {
    let lab = lab();
    let admin = lab.house.admin();
    let said = |id: i64| {
        let task = admin.post(&format!("/api/servers/{id}/check-ssh"), &json!({})).is(202);
        let task = task["task_id"].as_i64().unwrap();
        assert_eq!(ended(&lab.house, task)["status"], "ok");
        admin.get(&format!("/api/tasks/{task}/logs")).text()
    };
    assert!(said(1).contains("Containers: by the socket /run/docker.sock."));
    let podman = said(2);
    let through = "Containers: by the socket /run/podman/podman.sock, through sudo.";
    assert!(podman.contains(through), "{podman}");
    let plain = json!({ "username": "plain", "ssh_key": key("id_ed25519") });
    admin.patch("/api/servers/1", &plain).is(200);
    let docker = said(1);
    assert!(docker.contains("usermod -aG docker plain"), "{docker}");
    let engine = |state: &str| {
        let all = admin.get("/api/container-engines").is(200);
        let mut all = all["items"].as_array().unwrap().iter().cloned();
        all.find(|e| e["server_id"] == 1 && e["state"] == state)
    };
    let is = eventually("it is said of the engine, too", || engine("silent"));
    assert!(is["say"].as_str().unwrap().contains("usermod -aG docker plain"), "{is}");
    if !is_long() {
        return; // the connection that knows nothing of the group must end first
    }
    on("h4", "usermod -aG docker plain");
    eventually_long("it answers", || engine("answers").is_some());
}

#[test]
#[ignore = "lab: h4 h5"]
fn an_end_is_told_with_its_last_words_and_the_next_life_goes_on() {
    let lab = lab();
    let admin = lab.house.admin();
    for (host, engine) in [("h4", "docker"), ("h5", "podman")] {
        on(
            host,
            &format!(
                "{engine} run -d --network host --name web lab:1 sh -c 'echo line 1 of the first; sleep 8; echo ERROR it falls >&2; exit 3'"
            ),
        );
    }
    for server in [1, 2] {
        let alert = eventually("its end", || {
            let all = admin.get("/api/alerts?state=firing").is(200);
            let mut all = all["items"].as_array().unwrap().iter().cloned();
            let of = format!("h{}/web", 3 + server);
            all.find(|a| a["kind"] == "container.died" && a["target"]["name"] == of)
        });
        assert!(alert["evidence"].to_string().contains("ERROR it falls"), "{alert}");
    }
    for (host, engine) in [("h4", "docker"), ("h5", "podman")] {
        on(
            host,
            &format!(
                "{engine} rm web; {engine} run -d --network host --name web lab:1 sh -c 'echo line 2 of the second; sleep 1000'"
            ),
        );
    }
    for server in [1, 2] {
        eventually("both lives", || {
            let found = admin.get(&format!("/api/log-search?q=line&server_id={server}")).is(200);
            (found["items"].as_array().unwrap().len() == 2).then_some(())
        });
        let task = admin
            .post(&format!("/api/containers/{server}/web/stop"), &json!({ "grace_s": 1 }))
            .is(202);
        let task = lab.house.wait_for(task["task_id"].as_i64().unwrap());
        assert_eq!(task["status"], "ok", "{task}");
        eventually("it is stopped", || {
            (admin.get(&format!("/api/containers/{server}/web")).is(200)["state"] == "exited").then_some(())
        });
    }
    std::thread::sleep(std::time::Duration::from_secs(8));
    let all = admin.get("/api/alerts?state=firing").is(200);
    let died = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|a| a["kind"] == "container.died")
        .count();
    assert_eq!(died, 0, "a person asked for it");
}

/// Docker without root needs `rootlesskit`, which Debian 12 does not have.
#[test]
#[ignore = "lab: h4 h5"]
fn podman_of_a_user_without_root_is_found_and_its_logs_are_followed() {
    let mut lab = lab();
    let admin = lab.house.admin();
    println!("{}", on("h5", ROOTLESS));
    let task = admin.post("/api/servers/2/check-ssh", &json!({})).is(202);
    let task = task["task_id"].as_i64().unwrap();
    assert_eq!(ended(&lab.house, task)["status"], "ok");
    let said = admin.get(&format!("/api/tasks/{task}/logs")).text();
    let socket = "/run/user/1000/podman/podman.sock";
    assert!(said.contains(&format!("Containers: by the socket {socket}.")), "{said}");
    eventually_long("its engine answers there", || {
        let all = admin.get("/api/container-engines").is(200);
        let mut all = all["items"].as_array().unwrap().iter();
        all.any(|e| e["server_id"] == 2 && e["state"] == "answers" && e["socket"] == socket)
    });
    let talks = talks(30);
    as_ops(&format!(
        "podman run -d --network host --name talker lab:1 sh -c '{talks}'"
    ));
    pause(1);
    lab.house.kill();
    lab.house.start();
    lab.has_all(2, "talker", 3_000);
    let task = lab
        .house
        .admin()
        .post("/api/containers/2/talker/stop", &json!({ "grace_s": 1 }))
        .is(202);
    let task = lab.house.wait_for(task["task_id"].as_i64().unwrap());
    assert_eq!(task["status"], "ok", "{task}");
    assert_eq!(as_ops("podman ps -q"), "");
}

/// CPU of Docker and sshd on h4 so far, ms; what has ended counts with who waited for it.
fn cpu_there() -> f64 {
    let ticks = on(
        "h4",
        "cat /proc/[0-9]*/stat 2>/dev/null | awk '$2 ~ /^.(sshd|docker|dockerd|containerd).$/ { n += $14 + $15 + $16 + $17 } END { print n + 0 }'",
    );
    ticks.parse::<f64>().unwrap() * 10.0
}

/// CPU of the house and of its ssh so far, ms.
fn cpu_here(house: &House) -> f64 {
    let (own, folder) = (house.daemons[0].pid(), house.folder.path().display().to_string());
    let mut ticks = 0.0;
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        let (head, rest) = stat.rsplit_once(") ").unwrap();
        let fields: Vec<&str> = rest.split(' ').collect();
        let is_own = fields[1] == own.to_string() || head.starts_with(&format!("{own} "));
        let ssh = || std::fs::read_to_string(entry.path().join("cmdline")).is_ok_and(|line| line.contains(&folder));
        if is_own || head.ends_with("(ssh") && ssh() {
            ticks += fields[11..15].iter().map(|n| n.parse::<f64>().unwrap()).sum::<f64>();
        }
    }
    ticks * 10.0
}

/// Prints; judges that both have read all of it.
#[test]
#[ignore = "lab: h4 h5"]
fn what_following_costs_beside_docker_logs_through_plain_ssh() {
    let lab = lab();
    let hundreds = if is_long() { 600 } else { 50 };
    let (lines, talks) = (hundreds * 100, talks(hundreds));
    let follow = json!({ "containers.follow": "* -plain" });
    lab.house.admin().put("/api/settings", &follow).is(200);
    pause(7);
    let run = |name: &str| {
        on(
            "h4",
            &format!("docker run -d --network host --name {name} lab:1 sh -c '{talks}'"),
        )
    };
    let (here, there) = (cpu_here(&lab.house), cpu_there());
    run("ours");
    lab.has_all(1, "ours", lines);
    let (here, there) = (cpu_here(&lab.house) - here, cpu_there() - there);
    println!(
        "{lines} lines followed and stored by us: {:.0} µs CPU a line here, {:.0} there",
        here * 1e3 / f64::from(lines),
        there * 1e3 / f64::from(lines)
    );

    let before = cpu_there();
    run("plain");
    let plainly = common::lab::place("on").display().to_string();
    // Nothing ends it but the time; it has read all by then.
    let count = format!(
        "TIMEFORMAT='cpu %3U %3S'; time (timeout -s INT {} {plainly} h4 'docker logs -f plain' | wc -l)",
        hundreds / 10 + hundreds / 20 + 10
    );
    let told = std::process::Command::new("bash")
        .arg("-c")
        .arg(count)
        .output()
        .unwrap();
    let (counted, cpu) = (
        String::from_utf8(told.stdout).unwrap(),
        String::from_utf8(told.stderr).unwrap(),
    );
    assert_eq!(counted.trim(), lines.to_string(), "{cpu}");
    let seconds: f64 = cpu
        .lines()
        .filter_map(|line| line.strip_prefix("cpu "))
        .flat_map(|line| line.split(' ').map(|n| n.parse::<f64>().unwrap()).collect::<Vec<_>>())
        .sum();
    println!(
        "{lines} lines by `docker logs -f` through plain ssh to nowhere: {:.0} µs CPU a line here, {:.0} there",
        seconds * 1e6 / f64::from(lines),
        (cpu_there() - before) * 1e3 / f64::from(lines)
    );
}
