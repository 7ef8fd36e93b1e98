//! Real engines: Docker on h4, Podman on h5, over ssh. Lines are counted while the link is cut, the engine restarts, the log
//! is rotated and the container is made anew. Needs the lab (`tests/lab`), hosts h4 and h5.

use crate::common;

use common::lab::{Hosts, on, script};
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

pub fn lab() -> Lab {
    let hosts = Hosts::fresh(&["h4", "h5"], None);
    println!("Docker {}", on("h4", DOCKER).trim());
    println!("Podman {}", on("h5", PODMAN).trim());
    let house = common::lab::house(&hosts);
    let admin = house.admin();
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
        let all = || {
            let c = self.house.admin().get(&format!("/api/containers/{server}/{name}"));
            (c.status == 200 && c.is(200)["log_lines"].as_u64().unwrap() >= u64::from(count)).then_some(())
        };
        for _ in 0..8 {
            if all().is_some() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_secs(5));
        }
        let (numbers, notes) = self.lines(server, name);
        assert_eq!(numbers.len(), count as usize, "{notes:?}");
        assert_eq!(
            numbers,
            (1..=count).collect::<Vec<_>>(),
            "each once, in order; {notes:?}"
        );
    }
}

#[test]
#[ignore = "lab: h4 h5"]
fn no_line_is_lost_or_doubled_on_real_engines_whatever_breaks() {
    let mut lab = lab();
    on(
        "h4",
        &format!(
            "docker run -d --network host --name talker lab:1 sh -c '{}'",
            talks(400)
        ),
    );
    on(
        "h5",
        &format!(
            "podman run -d --network host --name talker lab:1 sh -c '{}'",
            talks(400)
        ),
    );
    std::thread::sleep(std::time::Duration::from_secs(8));
    // The link is cut for a while, and the daemon dies.
    script("fault", &["h4", "drop", "22"]);
    std::thread::sleep(std::time::Duration::from_secs(10));
    lab.house.kill();
    script("fault", &["h4", "heal"]);
    lab.house.start();
    std::thread::sleep(std::time::Duration::from_secs(8));
    lab.house.kill();
    lab.house.start();
    lab.has_all(2, "talker", 40_000);
    lab.has_all(1, "talker", 40_000);
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
