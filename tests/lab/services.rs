//! Services on a real server: units that crash, are stopped by people, run and do not work; programs that look, ports. Needs
//! the lab (`tests/lab`), host h17.

use crate::common;

use common::client::Client;
use common::lab::{Hosts, add, on, script};
use common::*;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A bot that ends with code 3 while `/run/crash` is there, and says so; and one whose port can be dead.
const BOTS: &str = r#"cat >/usr/local/bin/bot <<'SH'
#!/bin/sh
echo "bot begins"
while [ ! -e /run/crash ]; do sleep 0.2; done
echo "bot cannot go on" >&2
exit 3
SH
cat >/usr/local/bin/app <<'PY'
#!/usr/bin/python3
import os, time
from http.server import BaseHTTPRequestHandler, HTTPServer
class H(BaseHTTPRequestHandler):
    def do_GET(self):
        good = not os.path.exists('/run/app-red')
        self.send_response(200 if good else 503); self.send_header('Content-Length', '0'); self.end_headers()
    def log_message(self, *a): pass
try: os.unlink('/run/app-red')
except OSError: pass
HTTPServer(('127.0.0.1', 8080), H).serve_forever()
PY
mkdir -p /usr/local/lib/lamplighter/checks
printf '#!/bin/sh\ncat /run/check-out\nexit $(cat /run/check-rc)\n' >/usr/local/lib/lamplighter/checks/load
chmod +x /usr/local/bin/bot /usr/local/bin/app /usr/local/lib/lamplighter/checks/load
echo 0 >/run/check-rc; echo 'OK | load=0.5' >/run/check-out
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends redis-server tmux >/dev/null 2>&1
for name in bot app; do printf '[Service]\nExecStart=/usr/local/bin/%s\n' $name >/etc/systemd/system/$name.service; done
systemctl daemon-reload; systemctl start bot app"#;

fn service(admin: &Client, name: &str) -> Value {
    admin.get(&format!("/api/services/{name}")).is(200)
}

fn becomes(what: &str, admin: &Client, name: &str, is: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + Duration::from_secs(90);
    loop {
        let seen = service(admin, name);
        if is(&seen) {
            return seen;
        }
        assert!(Instant::now() < until, "{what}: {seen}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn is_healthy(s: &Value) -> bool {
    s["health"] == "healthy"
}

fn alerts(admin: &Client, state: &str) -> Vec<String> {
    let all = admin.get(&format!("/api/alerts?state={state}")).is(200);
    let all = all["items"].as_array().unwrap().iter();
    all.map(|alert| {
        format!(
            "{} {}",
            alert["kind"].as_str().unwrap(),
            alert["target"]["name"].as_str().unwrap()
        )
    })
    .collect()
}

#[test]
#[ignore = "lab: needs h17"]
fn what_stops_is_explained_started_again_given_up_and_left_where_a_person_stopped_it() {
    let hosts = Hosts::fresh(&["h17"], Some("web"));
    on("h17", BOTS);
    let house = House::new();
    let admin = house.admin();
    let server = add(&admin, "h17", "h17");
    let add = |body: Value| {
        let mut body = body;
        body["interval_s"] = json!(10);
        if body["server_id"].is_null() {
            body["server_id"] = json!(server);
        }
        admin.post("/api/services", &body).is(201)
    };
    add(json!({ "name": "bot", "kind": "unit", "unit": "bot", "restart_policy": "on-failure", "max_restarts": 2 }));
    let probe = json!({ "kind": "http", "url": "http://127.0.0.1:8080/" });
    add(json!({ "name": "app", "kind": "unit", "unit": "app", "restart_policy": "always", "probe": probe }));
    add(json!({ "name": "web", "kind": "tcp", "host": "127.0.0.1", "port": 8080 }));
    add(json!({ "name": "nobody", "kind": "tcp", "host": "127.0.0.1", "port": 9 }));
    add(json!({ "name": "load", "kind": "exec", "argv": ["/usr/local/lib/lamplighter/checks/load"] }));
    add(json!({ "name": "ssh", "kind": "unit", "unit": "ssh" }));
    add(json!({ "name": "cache", "kind": "redis", "host": "127.0.0.1" }));
    let chat =
        json!({ "name": "chat", "kind": "tmux", "session": "chat", "user": "deploy", "command": "/usr/local/bin/bot" });
    add(chat);
    for name in ["bot", "app", "web", "load", "ssh", "cache"] {
        becomes("all is well", &admin, name, is_healthy);
    }
    let bot = service(&admin, "bot");
    assert_eq!(
        bot["pid"].to_string(),
        on("h17", "systemctl show -p MainPID --value bot")
    );
    assert!(bot["memory_mb"].as_f64().unwrap() > 0.0, "{bot}");
    assert_eq!(service(&admin, "load")["custom_metrics"]["load"], 0.5);
    let nobody = becomes("nothing listens", &admin, "nobody", |s| s["health"] == "unhealthy");
    assert_eq!(nobody["health_message"], "Nothing listens at that port.");

    // Redis: its figures, its refusal, its password, its end.
    assert!(
        service(&admin, "cache")["custom_metrics"]["memory_bytes"]
            .as_f64()
            .unwrap()
            > 0.0
    );
    on("h17", "redis-cli config set requirepass Geheim-7 >/dev/null");
    let refused = becomes("it wants a password", &admin, "cache", |s| s["health"] == "unhealthy");
    assert_eq!(refused["health_code"], "redis_password");
    let password = house.canary("Geheim-7");
    admin
        .patch("/api/services/cache", &json!({ "password": password }))
        .is(200);
    becomes("it has one", &admin, "cache", is_healthy);
    // Keys below its prefix go when their number is confirmed, and no others; what is slow is told without its words.
    let redis = |command: &str| on("h17", &format!("redis-cli -a Geheim-7 --no-auth-warning {command}"));
    redis("config set slowlog-log-slower-than 0 >/dev/null");
    on(
        "h17",
        "for n in $(seq 1 2500); do echo \"SET cache[*]:$n x\"; done | redis-cli -a Geheim-7 --no-auth-warning >/dev/null",
    );
    redis("mset 'cache*:1' x user:4711 its-value >/dev/null");
    admin
        .patch("/api/services/cache", &json!({ "clear_prefix": "cache[*]:" }))
        .is(200);
    let counted = admin.post("/api/redis/cache/clear", &json!({})).is(200);
    assert_eq!(counted["count"], 2_500, "{counted}");
    let started = admin
        .post("/api/redis/cache/clear", &json!({ "confirm": 2_500 }))
        .is(202);
    let ended = house.wait_for(started["task_id"].as_i64().unwrap());
    assert_eq!(
        (&ended["status"], &ended["changed"]),
        (&json!("ok"), &json!(2_500)),
        "{ended}"
    );
    assert_eq!(redis("dbsize"), "2");
    admin.post("/api/services/cache/check", &json!({})).is(200);
    let stats = admin.get("/api/redis/cache/stats").is(200);
    assert!(
        stats["slow_log"].to_string().contains("SCAN …") && !stats.to_string().contains("4711"),
        "{stats}"
    );
    assert!(stats["metrics"]["saved_s_ago"].is_number(), "{stats}");
    on("h17", "systemctl stop redis-server");
    let gone = becomes("it is gone", &admin, "cache", |s| s["health"] == "unhealthy");
    assert_eq!(gone["health_code"], "refused", "{gone}");

    // A session of tmux of another user: started, seen, stopped.
    let seen = becomes("no session", &admin, "chat", |s| s["health"] == "unhealthy");
    assert_eq!(seen["health_code"], "session_gone");
    let act = |name: &str, what: &str| {
        let started = admin.post(&format!("/api/services/{name}/{what}"), &json!({})).is(202);
        let ended = house.wait_for(started["task_id"].as_i64().unwrap());
        assert_eq!(ended["status"], "ok", "{what} {name}: {ended}");
    };
    act("chat", "start");
    let chat = becomes("it runs", &admin, "chat", is_healthy);
    let pane = on("h17", "runuser -u deploy -- tmux list-panes -t =chat -F '#{pane_pid}'");
    assert_eq!(chat["pid"].to_string(), pane);
    act("chat", "stop");
    assert_eq!(
        on(
            "h17",
            "runuser -u deploy -- tmux has-session -t =chat 2>/dev/null || echo none"
        ),
        "none"
    );
    assert_eq!(service(&admin, "chat")["wanted"], "stopped");

    // It crashes once: told, explained, started again.
    on("h17", "touch /run/crash; sleep 1; rm /run/crash");
    let again = becomes("it was started again", &admin, "bot", |s| {
        s["restart_count"] == 1 && is_healthy(s)
    });
    assert_eq!(
        (&again["stopped"]["exit_code"], &again["stopped"]["asked"]),
        (&json!(3), &json!(false))
    );
    let lines = again["stopped"]["lines"].to_string();
    assert!(lines.contains("bot cannot go on"), "{lines}");
    eventually("its alert is over", || {
        alerts(&admin, "resolved")
            .contains(&"service.down bot".into())
            .then_some(())
    });

    // It crashes whenever it is started: given up, once.
    on("h17", "touch /run/crash");
    becomes("it is given up", &admin, "bot", |s| {
        s["troubles"].to_string().contains("gave_up")
    });
    eventually("a critical alert", || {
        alerts(&admin, "firing")
            .contains(&"service.gave_up bot".into())
            .then_some(())
    });
    let starts = on("h17", "journalctl -u bot -o cat | grep -c 'bot begins'");
    std::thread::sleep(Duration::from_secs(15));
    assert_eq!(
        on("h17", "journalctl -u bot -o cat | grep -c 'bot begins'"),
        starts,
        "nobody starts it any more"
    );
    // A person does.
    on("h17", "rm /run/crash");
    act("bot", "start");
    becomes("it is well at once", &admin, "bot", is_healthy);
    eventually("no alert of it stays", || {
        (!alerts(&admin, "firing").iter().any(|alert| alert.ends_with(" bot"))).then_some(())
    });

    // Somebody stops it on the server: that is respected, and no alert.
    on("h17", "systemctl stop bot");
    let left = becomes("it is left", &admin, "bot", |s| s["wanted"] == "stopped");
    assert_eq!(
        (&left["health"], &left["stopped"]["asked"]),
        (&json!("unknown"), &json!(true))
    );
    std::thread::sleep(Duration::from_secs(12));
    assert_eq!(on("h17", "systemctl is-active bot || true"), "inactive");
    assert!(!alerts(&admin, "firing").iter().any(|alert| alert.ends_with(" bot")));

    // It runs and does not work: restarted, and the same process no more.
    let before = on("h17", "systemctl show -p InvocationID --value app");
    on("h17", "touch /run/app-red");
    becomes("it is restarted", &admin, "app", |s| {
        s["restart_count"] == 1 && is_healthy(s)
    });
    assert_ne!(on("h17", "systemctl show -p InvocationID --value app"), before);

    // A program's words.
    on(
        "h17",
        "echo 2 >/run/check-rc; echo 'CRITICAL - too much' >/run/check-out",
    );
    let load = becomes("the program says so", &admin, "load", |s| s["health"] == "unhealthy");
    assert_eq!(load["health_message"], "CRITICAL - too much");

    // The link is cut: nothing is known, and nothing is told.
    let firing = alerts(&admin, "firing");
    script("fault", &["h17", "drop"]);
    for name in ["app", "web", "ssh"] {
        becomes("it is unknown", &admin, name, |s| s["health"] == "unknown");
    }
    let now = alerts(&admin, "firing");
    assert!(
        now.iter()
            .filter(|alert| alert.starts_with("service."))
            .all(|alert| firing.contains(alert)),
        "{now:?}"
    );
    script("fault", &["h17", "heal"]);
    becomes("it is seen again", &admin, "ssh", is_healthy);
    drop(hosts);
}

/// A unit and a session of tmux that count.
const COUNTERS: &str = r#"DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends tmux >/dev/null 2>&1
cat >/usr/local/bin/counter <<'SH'
#!/bin/sh
n=0; while n=$((n + 1)); do echo "count $n"; [ $((n % 10)) != 0 ] || echo "ERROR tenth $n" >&2; sleep 0.05; done
SH
chmod +x /usr/local/bin/counter
printf '[Service]\nExecStart=/usr/local/bin/counter\n' >/etc/systemd/system/counter.service
ln -sf /etc/systemd/system/counter.service /etc/systemd/system/teller.service
systemctl daemon-reload; systemctl start counter
runuser -u deploy -- tmux new-session -d -s talk 'n=0; while n=$((n + 1)); do echo "said $n"; sleep 0.2; done'"#;

/// The numbers after a word in what is stored, in their order.
fn numbers(admin: &Client, name: &str, word: &str) -> Vec<u64> {
    let mut out = Vec::new();
    let mut after = "0-0".to_string();
    loop {
        let page = admin
            .get(&format!("/api/services/{name}/logs?lines=5000&after={after}"))
            .is(200);
        let items = page["items"].as_array().unwrap();
        let Some(last) = items.last() else { return out };
        after = last["cursor"].as_str().unwrap().into();
        let lines = items.iter().filter_map(|line| line["line"].as_str());
        out.extend(lines.filter_map(|line| line.strip_prefix(word)?.trim().parse::<u64>().ok()));
    }
}

/// At least so many lines, each once and in order.
#[track_caller]
fn whole(what: &str, seen: &[u64], least: usize) {
    assert!(seen.len() >= least, "{what}: {} lines", seen.len());
    for pair in seen.windows(2) {
        assert_eq!(pair[1], pair[0] + 1, "{what}");
    }
}

#[test]
#[ignore = "lab: needs h17"]
fn what_units_and_sessions_say_is_kept_once_whatever_breaks() {
    let hosts = Hosts::fresh(&["h17"], Some("web"));
    on("h17", COUNTERS);
    let mut house = House::new();
    let admin = house.admin();
    let server = add(&admin, "h17", "h17");
    let put = |body: Value| admin.post("/api/services", &body).is(201);
    put(json!({ "name": "counter", "kind": "unit", "unit": "counter", "server_id": server }));
    put(json!({ "name": "alias", "kind": "unit", "unit": "teller", "server_id": server }));
    put(json!({ "name": "talk", "kind": "tmux", "session": "talk", "user": "deploy", "server_id": server }));
    for (name, word) in [("counter", "count "), ("alias", "count "), ("talk", "said ")] {
        eventually(name, || (numbers(&admin, name, word).len() > 40).then_some(()));
    }
    let mut live = admin.stream("/api/services/counter/logs/stream?level=error", None);
    let line = live.next(Duration::from_secs(20)).expect("an error as it comes").json();
    assert!(line["line"].as_str().unwrap().starts_with("ERROR tenth"), "{line}");
    drop(live);
    // The daemon is killed, the link cut, the server's journal rotated and its old files removed.
    house.kill();
    std::thread::sleep(Duration::from_secs(4));
    house.start();
    let admin = house.admin();
    eventually("it goes on", || {
        let last = numbers(&admin, "counter", "count ").last().copied()?;
        std::thread::sleep(Duration::from_secs(1));
        (numbers(&admin, "counter", "count ").last().copied()? > last).then_some(())
    });
    script("fault", &["h17", "drop"]);
    std::thread::sleep(Duration::from_secs(20));
    on(
        "h17",
        "journalctl --rotate -q; journalctl --vacuum-files=2 -q 2>/dev/null",
    );
    script("fault", &["h17", "heal"]);
    let now = || {
        on(
            "h17",
            "journalctl -u counter -o cat -n 20 | grep -o 'count [0-9]*' | tail -n 1 | cut -d' ' -f2",
        )
    };
    let wanted: u64 = now().parse().unwrap();
    let until = Instant::now() + Duration::from_secs(150);
    while numbers(&admin, "counter", "count ")
        .last()
        .is_none_or(|last| *last < wanted + 20)
    {
        assert!(Instant::now() < until, "it does not go on");
        std::thread::sleep(Duration::from_secs(1));
    }
    for (name, word, least) in [
        ("counter", "count ", 400),
        ("alias", "count ", 400),
        ("talk", "said ", 100),
    ] {
        let seen = numbers(&admin, name, word);
        whole(name, &seen, least);
        println!("{name}: {} lines, each once", seen.len());
    }
    // systemd's own words, one search over all, the command line.
    on("h17", "systemctl stop counter");
    eventually("systemd's word", || {
        let page = admin.get("/api/log-search?q=Stopped&services=counter").is(200);
        let items = page["items"].as_array().unwrap();
        items
            .iter()
            .any(|line| line["service"] == "counter" && line["line"].as_str().unwrap().starts_with("systemd: "))
            .then_some(())
    });
    let said = house.said();
    assert!(!said.contains("panicked"), "{said}");
    drop(hosts);
}

/// A unit of somebody else's under a name that ours would have, and the program that ours run.
const WORKER: &str = r#"printf '[Service]\nExecStart=/bin/sleep 1000\n' >/etc/systemd/system/lamplighter-foreign.service
cat >/usr/local/bin/worker <<'SH'
#!/bin/sh
[ "$1" != fail ] || { echo "worker cannot"; exit 1; }
echo "worker runs with $GREETING as $(id -un)"
while sleep 1; do :; done
SH
chmod +x /usr/local/bin/worker; useradd -r -m worker 2>/dev/null; systemctl daemon-reload"#;

#[test]
#[ignore = "lab: needs h17"]
fn a_unit_of_ours_is_written_kept_put_back_and_taken_away_and_none_of_others_is_touched() {
    let hosts = Hosts::fresh(&["h17"], Some("web"));
    on("h17", WORKER);
    let house = House::new();
    let admin = house.admin();
    let server = add(&admin, "h17", "h17");
    let token = house.canary("t0ken $of \"the\" worker");
    let body = |name: &str| {
        json!({
            "name": name, "kind": "command", "server_id": server, "command": ["/usr/local/bin/worker", "100%", "$HOME"],
            "user": "worker", "directory": "/home/worker", "environment": { "GREETING": "five % and $x" },
            "password": format!("TOKEN={token}"), "memory_limit_mb": 64, "restart_policy": "always", "interval_s": 10,
        })
    };
    let act = |name: &str, what: &str| {
        let started = admin.post(&format!("/api/services/{name}/{what}"), &json!({})).is(202);
        house.wait_for(started["task_id"].as_i64().unwrap())
    };
    // Somebody else's unit has that name.
    admin.post("/api/services", &body("foreign")).is(201);
    let refused = act("foreign", "start");
    assert_eq!(refused["error"]["code"], "unit_not_ours", "{refused}");
    assert!(on("h17", "cat /etc/systemd/system/lamplighter-foreign.service").contains("sleep 1000"));
    // Ours is planned, written, started.
    admin.post("/api/services", &body("Worker")).is(201);
    let plan = admin.get("/api/services/Worker/unit").is(200);
    assert_eq!(
        (&plan["unit"], &plan["is_there"]),
        (&json!("lamplighter-worker.service"), &json!(false))
    );
    assert_eq!(plan["secrets"], json!(["TOKEN"]));
    let done = act("Worker", "start");
    assert_eq!(done["status"], "ok", "{done}");
    let shown =
        "systemctl show -p Restart,RestartUSec,User,MemoryMax,UnitFileState,NoNewPrivileges lamplighter-worker | sort";
    let shown = on("h17", shown);
    for line in [
        "MemoryMax=67108864",
        "NoNewPrivileges=yes",
        "Restart=always",
        "RestartUSec=1s",
        "UnitFileState=enabled",
        "User=worker",
    ] {
        assert!(shown.lines().any(|have| have == line), "{line}: {shown}");
    }
    let pid = |name: &str| on("h17", &format!("systemctl show -p MainPID --value lamplighter-{name}"));
    let environment = on("h17", &format!("tr '\\0' '\\n' </proc/{}/environ", pid("worker")));
    assert!(
        environment.lines().any(|line| line == format!("TOKEN={token}")),
        "the secret is there"
    );
    assert!(environment.lines().any(|line| line == "GREETING=five % and $x"));
    let argv = on("h17", &format!("tr '\\0' ' ' </proc/{}/cmdline", pid("worker")));
    assert!(argv.ends_with("/usr/local/bin/worker 100% $HOME"), "{argv}");
    assert_eq!(
        on(
            "h17",
            "stat -c '%a %U' /etc/lamplighter-services/lamplighter-worker.service.env"
        ),
        "600 root"
    );
    becomes("it runs", &admin, "Worker", is_healthy);
    eventually("its log", || {
        let page = admin.get("/api/services/Worker/logs?q=worker").is(200);
        page["items"]
            .to_string()
            .contains("worker runs with five % and $x as worker")
            .then_some(())
    });
    // systemd itself keeps it.
    let before = pid("worker");
    on("h17", &format!("kill -9 {before}"));
    eventually("systemd has started it again", || {
        let now = pid("worker");
        (now != before && now != "0").then_some(())
    });
    assert_eq!(act("Worker", "start")["changed"], json!(0), "nothing is to be done");
    // What does not start is not left there: the unit before is back, and runs.
    let text = "cat /etc/systemd/system/lamplighter-worker.service";
    let good = on("h17", text);
    admin
        .patch(
            "/api/services/Worker",
            &json!({ "argv": ["/usr/local/bin/worker", "fail"] }),
        )
        .is(200);
    assert_eq!(admin.get("/api/services/Worker/unit").is(200)["changed"], true);
    let failed = act("Worker", "restart");
    assert_eq!(failed["status"], "failed", "{failed}");
    assert_eq!(on("h17", text), good);
    eventually("it runs as before", || {
        (on("h17", "systemctl is-active lamplighter-worker || true") == "active").then_some(())
    });
    // It is not left behind unseen.
    assert_eq!(
        admin.delete("/api/services/Worker").is(409)["error_code"],
        "service_unit_there"
    );
    let gone = act("Worker", "remove-unit");
    assert_eq!(gone["status"], "ok", "{gone}");
    assert_eq!(
        on(
            "h17",
            "ls /etc/systemd/system/lamplighter-worker.service /etc/lamplighter-services 2>/dev/null || true"
        ),
        ""
    );
    admin.delete("/api/services/Worker").is(204);
    assert!(on("h17", "ls /etc/systemd/system").contains("lamplighter-foreign.service"));
    drop(hosts);
}

/// PostgreSQL with a role that may look, seven places for ordinary users, and a psql that notes how it was called.
const POSTGRES: &str = r#"DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >/dev/null 2>&1
cd /
runuser -u postgres -- psql -q <<'SQL'
ALTER SYSTEM SET max_connections = 10;
ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements';
CREATE ROLE mon LOGIN PASSWORD 'Ge:heim''9';
GRANT pg_monitor TO mon;
CREATE DATABASE shop;
SQL
systemctl restart postgresql@15-main
runuser -u postgres -- psql -q shop <<'SQL'
CREATE EXTENSION pg_stat_statements;
CREATE TABLE orders (n int, who text) WITH (autovacuum_enabled = off);
INSERT INTO orders SELECT n, 'x' FROM generate_series(1, 500) n;
DELETE FROM orders WHERE n <= 100;
SELECT count(*) FROM orders WHERE who = 'somebody-secret';
SQL
cat >/usr/local/bin/psql <<'SH'
#!/bin/sh
{ echo "$@"; env; } >>/run/psql.seen
exec /usr/bin/psql "$@"
SH
chmod +x /usr/local/bin/psql; touch /run/psql.seen; chmod 666 /run/psql.seen"#;

#[test]
#[ignore = "lab: needs h17"]
fn a_database_is_asked_by_psql_and_says_why_it_does_not_answer() {
    let hosts = Hosts::fresh(&["h17"], Some("web"));
    let house = House::new();
    let admin = house.admin();
    let server = add(&admin, "h17", "h17");
    let add = |name: &str, more: Value| {
        let mut body =
            json!({ "name": name, "kind": "postgres", "server_id": server, "database": "shop", "interval_s": 10 });
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        admin.post("/api/services", &body).is(201)
    };
    add("shop", json!({}));
    let missing = becomes("there is no psql", &admin, "shop", |s| s["health_code"] == "no_psql");
    assert_eq!(missing["health"], "unknown");
    on("h17", POSTGRES);
    becomes("it is asked as postgres", &admin, "shop", is_healthy);
    let shop = becomes("its dead rows", &admin, "shop", |s| !s["tables"]["dead_rows"].is_null());
    let figure = |s: &Value, name: &str| s["custom_metrics"][name].as_f64().unwrap_or(-1.0);
    assert!(figure(&shop, "size_bytes") > 1e6, "{shop}");
    assert_eq!(
        (figure(&shop, "connections_max"), figure(&shop, "replicas")),
        (7.0, 0.0)
    );
    let dead = &shop["tables"]["dead_rows"][0];
    assert_eq!(
        (&dead["table"], &dead["dead_rows"]),
        (&json!("public.orders"), &json!(100))
    );
    let queries = shop["tables"]["slow_queries"].to_string();
    assert!(
        queries.contains("DELETE FROM orders WHERE n <= $1") && !queries.contains("somebody-secret"),
        "{queries}"
    );
    assert!(shop["latency_ms"].as_f64().unwrap() > 0.0);

    // With a password, which nobody there sees.
    let (wrong, right) = (house.canary("not-Geheim-9"), house.canary("Ge:heim'9"));
    add(
        "mon",
        json!({ "host": "127.0.0.1", "username": "mon", "password": wrong }),
    );
    let refused = becomes("a wrong password", &admin, "mon", |s| s["health"] == "unhealthy");
    assert_eq!(refused["health_code"], "postgres_password", "{refused}");
    admin.patch("/api/services/mon", &json!({ "password": right })).is(200);
    becomes("the right one", &admin, "mon", is_healthy);
    let seen = on("h17", "cat /run/psql.seen");
    assert!(seen.contains("user='mon'") && !seen.contains("eheim"), "{seen}");
    add("nosuch", json!({ "database": "nosuch" }));
    let nosuch = becomes("no such database", &admin, "nosuch", |s| s["health"] == "unhealthy");
    assert_eq!(nosuch["health_code"], "postgres_missing");
    admin.delete("/api/services/nosuch").is(204);

    // All places are taken: an ordinary role gets none, and who gets in says so.
    on(
        "h17",
        r#"for n in $(seq 1 16); do
             (PGPASSWORD="Ge:heim'9" setsid /usr/bin/psql -qh 127.0.0.1 -U mon shop -c 'SELECT pg_sleep(300)' >/dev/null 2>&1 &)
             sleep 0.4 # a look may have one of the seven places for a moment
           done"#,
    );
    let full = becomes("it is full", &admin, "mon", |s| s["health"] == "unhealthy");
    assert_eq!(full["health_code"], "postgres_full", "{full}");
    let full = becomes("it is nearly full", &admin, "shop", |s| s["health"] == "degraded");
    assert_eq!(full["health_code"], "postgres_full", "{full}");
    assert!(figure(&full, "oldest_transaction_s") > 0.0);
    on(
        "h17",
        r#"cd /; runuser -u postgres -- /usr/bin/psql -qc "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'mon'""#,
    );
    becomes("there is room again", &admin, "mon", is_healthy);

    // Stopped, then up but taking no connections, then well.
    on("h17", "systemctl stop postgresql@15-main");
    let gone = becomes("it is stopped", &admin, "mon", |s| s["health"] == "unhealthy");
    assert_eq!(gone["health_code"], "refused", "{gone}");
    let main = "/var/lib/postgresql/15/main";
    on(
        "h17",
        &format!(
            "echo 'hot_standby = off' >>/etc/postgresql/15/main/postgresql.conf; runuser -u postgres touch {main}/standby.signal
             systemctl start postgresql@15-main"
        ),
    );
    let starting = becomes("it takes nobody yet", &admin, "mon", |s| s["health"] == "degraded");
    assert_eq!(starting["health_code"], "postgres_starting", "{starting}");
    on(
        "h17",
        &format!(
            "sed -i '/^hot_standby/d' /etc/postgresql/15/main/postgresql.conf; rm {main}/standby.signal
             systemctl restart postgresql@15-main"
        ),
    );
    becomes("it is well", &admin, "mon", is_healthy);
    drop(hosts);
}
