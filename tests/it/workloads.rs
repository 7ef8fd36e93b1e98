//! What people make of containers: rules, silences, restarts of unhealthy ones, and several logs as one stream. A fake engine
//! behind a socket; real ones are in tests/lab.

use crate::{common, fake};

use common::client::Client;
use common::*;
use fake::engine::Engine;
use serde_json::{Value, json};
use std::time::Duration;

struct Story {
    engine: Engine,
    house: House,
    admin: Client,
    _folder: Folder,
}

fn story() -> Story {
    let folder = Folder::new();
    let engine = Engine::start(folder.path());
    let socket = engine.socket.to_str().unwrap().to_string();
    let house = House::with(Processes::One, &[("LAMPLIGHTER_CONTAINERS_SOCKET", socket.as_str())]);
    let admin = house.admin();
    Story {
        engine,
        house,
        admin,
        _folder: folder,
    }
}

impl Story {
    fn alert(&self, kind: &str) -> Option<Value> {
        let all = self.admin.get("/api/alerts?state=firing").is(200);
        let mut all = all["items"].as_array().unwrap().iter();
        all.find(|alert| alert["kind"] == kind).cloned()
    }

    fn container(&self, name: &str) -> Value {
        eventually("the container", || {
            let answer = self.admin.get(&format!("/api/containers/local/{name}"));
            (answer.status == 200).then(|| answer.is(200))
        })
    }

    fn rule(&self, body: Value) -> String {
        let made = self.admin.post("/api/alert-rules", &body).is(201);
        format!("/api/alert-rules/{}", made["id"])
    }

    fn has_lines(&self, name: &str, count: i64) {
        eventually("its lines", || {
            (self.container(name)["log_lines"] == count).then_some(())
        });
    }
}

#[test]
fn a_word_that_a_log_says_too_often_is_an_alert_where_the_rule_holds() {
    let story = story();
    let (engine, admin) = (&story.engine, &story.admin);
    engine.run("web", 1);
    engine.run("db", 2);
    for name in ["web", "db"] {
        engine.say(name, false, "begins");
        story.has_lines(name, 1);
    }
    let wrong = |more: Value| {
        let mut body = json!({ "name": "x", "watches": "container_log", "threshold": 2, "for_s": 60, "words": "oops" });
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        admin.post("/api/alert-rules", &body).wrong_fields()
    };
    assert_eq!(wrong(json!({ "words": "" })), ["words"]);
    assert_eq!(wrong(json!({ "words": "OR" })), ["words"]);
    assert_eq!(wrong(json!({ "for_s": 5 })), ["for_s"]);
    assert_eq!(wrong(json!({ "containers": "exit:x" })), ["containers"]);
    let rule = story.rule(
        json!({ "name": "panics", "watches": "container_log", "words": "panic* NOT harmless",
        "threshold": 2, "for_s": 60, "containers": "web", "level": "ERROR" }),
    );
    let said = admin.get(&rule).is(200)["sentence"].as_str().unwrap().to_string();
    assert!(
        said.contains("panic* NOT harmless") && said.contains("only containers web"),
        "{said}"
    );
    std::thread::sleep(Duration::from_secs(4)); // a round of counting: what was said before a rule is not its
    for n in 1..=3 {
        engine.say("db", true, &format!("panic {n}"));
        engine.say("web", true, &format!("panicked {n}"));
        engine.say("web", true, "a harmless panic");
    }
    let alert = eventually("the alert", || story.alert("metric.container_log"));
    assert_eq!(
        (alert["target"]["name"].clone(), alert["level"].clone()),
        (json!("local/web"), json!("ERROR"))
    );
    let evidence = alert["evidence"].to_string();
    assert!(
        evidence.contains("3 lines") && evidence.contains("panicked 3"),
        "{evidence}"
    );
    assert!(evidence.contains("running"), "how it is: {evidence}");
    // A silence of the container holds back what more there is to say of it.
    let id = story.container("web")["id"].clone();
    admin
        .post(
            "/api/silences",
            &json!({ "target": format!("container:{id}"), "hours": 1 }),
        )
        .is(201);
    eventually("it is silenced", || {
        let alert = story.alert("metric.container_log")?;
        alert.to_string().contains("silenced").then_some(())
    });
    // The rule is changed, and counts what it asks for now.
    let other = json!({ "words": "quarrel", "threshold": 1, "containers": "db" });
    admin.patch(&rule, &other).is(200);
    eventually("it holds there no more", || {
        story.alert("metric.container_log").is_none().then_some(())
    });
    let alert = eventually("the other's alert", || {
        for name in ["web", "db"] {
            engine.say(name, false, "a quarrel");
        }
        story.alert("metric.container_log")
    });
    assert_eq!(alert["target"]["name"], "local/db", "{alert}");
    // What is gone, fires no more.
    engine.state().containers.retain(|one| one.name != "db");
    eventually("it is over", || {
        story.alert("metric.container_log").is_none().then_some(())
    });
}

#[test]
fn use_beyond_a_limit_is_an_alert_and_a_rule_leaves_out_what_it_names() {
    let story = story();
    let (engine, admin) = (&story.engine, &story.admin);
    engine.run("web", 1);
    engine.run("db", 2);
    engine.say("web", false, "eats memory");
    story.rule(
        json!({ "name": "fat", "watches": "container_mem_used", "threshold": 1_000_000, "for_s": 0,
        "containers": "-db" }),
    );
    let alert = eventually("the alert", || story.alert("metric.container_mem"));
    assert_eq!(alert["target"]["name"], "local/web", "{alert}");
    let evidence = alert["evidence"].to_string();
    assert!(
        evidence.contains("running; image shop:1") && evidence.contains("eats memory"),
        "{evidence}"
    );
    let metrics = admin.get("/metrics").text();
    for metric in ["memory_used_bytes", "pids", "recent_ends"] {
        let line = format!("lamplighter_container_{metric}{{container=\"local/web\"}}");
        assert!(metrics.contains(&line), "{line} is not in {metrics}");
    }
    // Ends with this code are no alert.
    let builtin = admin.get("/api/alert-rules").is(200);
    let mut all = builtin["items"].as_array().unwrap().iter();
    let died = all.find(|rule| rule["watches"] == "container.died").unwrap();
    admin
        .patch(
            &format!("/api/alert-rules/{}", died["id"]),
            &json!({ "containers": "-exit:143" }),
        )
        .is(200);
    engine.dies("web", 143);
    engine.dies("db", 1);
    let alert = eventually("the other's end", || story.alert("container.died"));
    assert_eq!(alert["target"]["name"], "local/db", "{alert}");
    let troubles = story.container("web")["troubles"].to_string();
    assert!(
        troubles.contains("container.died"),
        "it is known all the same: {troubles}"
    );
}

#[test]
fn what_is_unhealthy_is_restarted_and_given_up_and_what_a_person_stopped_is_left() {
    let story = story();
    let (engine, admin) = (&story.engine, &story.admin);
    let settings = json!({ "containers.unhealthy_s": 0, "containers.heal_count": 1 });
    admin.put("/api/settings", &settings).is(200);
    engine.run("web", 1);
    engine.run("db", 2);
    engine.with("web", |web| (web.restart, web.health) = ("unhealthy", "healthy"));
    engine.with("db", |db| db.health = "unhealthy");
    eventually("both are seen", || {
        let (web, db) = (story.container("web"), story.container("db"));
        (web["restart_label"] == true && db["health"] == "unhealthy").then_some(())
    });
    engine.with("web", |web| web.health = "unhealthy");
    let restarts = |name: &str| {
        let id = engine.with(name, |one| one.id.clone());
        let asked = engine.state().asked.clone();
        let wanted = format!("POST /containers/{id}/restart");
        asked.iter().filter(|ask| ask.starts_with(&wanted)).count()
    };
    eventually("its restart", || (restarts("web") == 1).then_some(()));
    eventually("it starts", || {
        (story.container("web")["health"] == "starting").then_some(())
    });
    engine.with("web", |web| web.health = "unhealthy");
    let alert = eventually("it is given up", || story.alert("container.gave_up"));
    assert_eq!(alert["level"], "CRITICAL", "{alert}");
    assert_eq!((restarts("web"), restarts("db")), (1, 0));
    assert!(story.alert("container.died").is_none(), "its restart is no end");
    let audit = admin.get("/api/audit?action=container.restart").is(200);
    assert_eq!(audit["items"][0]["actor"], "system", "{audit}");
    engine.with("web", |web| web.health = "healthy");
    eventually("it is over", || {
        story.alert("container.gave_up").is_none().then_some(())
    });
    // What people say of it counts more than its label, and their stop more than all.
    let path = "/api/containers/local/db";
    assert_eq!(
        admin
            .patch(path, &json!({ "restart_unhealthy": "maybe" }))
            .wrong_fields(),
        ["restart_unhealthy"]
    );
    story
        .house
        .somebody("viewer")
        .patch(path, &json!({ "restart_unhealthy": "on" }))
        .fails(403, "forbidden");
    let stop = admin.post(&format!("{path}/stop"), &json!({ "grace_s": 1 })).is(202);
    story.house.wait_for(stop["task_id"].as_i64().unwrap());
    admin.patch(path, &json!({ "restart_unhealthy": "on" })).is(200);
    std::thread::sleep(Duration::from_secs(5)); // two lists
    assert_eq!(restarts("db"), 0);
}

#[test]
fn several_logs_are_one_stream_that_takes_in_who_comes_later() {
    let story = story();
    let (engine, admin) = (&story.engine, &story.admin);
    engine.run("web", 1);
    engine.run("other", 9);
    engine.with("other", |one| one.project = "");
    engine.say("web", false, "old");
    engine.say("other", false, "old");
    story.has_lines("web", 1);
    story.has_lines("other", 1);
    let mut project = admin.stream("/api/log-search/stream?project=shop&q=news", None);
    let mut named = admin.stream("/api/log-search/stream?containers=local/w*,worker", None);
    engine.say("web", false, "news of web");
    engine.say("other", false, "news of nobody");
    engine.run("worker", 3);
    engine.say("worker", true, "news of a new one");
    story.has_lines("web", 2);
    engine.run("web", 4); // made anew
    engine.say("web", false, "news of its second life");
    let seen = |stream: &mut common::client::Sse, count: usize| {
        let mut out = Vec::new();
        while out.len() < count {
            let event = stream.next(Duration::from_secs(15)).expect("a line");
            let line = event.json();
            if line["stream"] != "note" {
                out.push((
                    line["container"].as_str().unwrap().to_string(),
                    line["line"].as_str().unwrap().to_string(),
                ));
            }
        }
        out.sort();
        out
    };
    let of = |name: &str, text: &str| (name.to_string(), text.to_string());
    let wanted = [
        of("web", "news of its second life"),
        of("web", "news of web"),
        of("worker", "news of a new one"),
    ];
    assert_eq!(seen(&mut project, 3), wanted);
    assert_eq!(seen(&mut named, 3), wanted);
    let text = admin.get("/api/log-search/log.txt?project=shop&q=news").text();
    assert!(
        text.contains("local/worker ") && text.contains(" ! news of a new one\n"),
        "{text}"
    );
    assert!(!text.contains("nobody"), "{text}");
    let page = admin.get("/log-search?project=shop&q=news").text();
    assert!(
        page.contains("data-running") && page.contains("news of a new one"),
        "{page}"
    );
    let hit = admin.get("/api/log-search?q=second").is(200)["items"][0].clone();
    let id = story.container("web")["id"].clone();
    let page = admin
        .get(&format!("/containers/{id}?at={}", hit["cursor"].as_str().unwrap()))
        .text();
    assert!(page.contains("news of web"), "a hit in its context: {page}");
}

#[test]
fn the_command_line_lists_containers_and_reads_and_follows_a_log() {
    let story = story();
    let (engine, dir) = (&story.engine, story.house.dir().to_string());
    engine.run("web", 1);
    engine.run("db", 2);
    engine.with("db", |db| db.health = "unhealthy");
    for text in ["one panic", "two", "three panics"] {
        engine.say("web", false, text);
    }
    story.has_lines("web", 3);
    let asks = |flags: &[&str]| run(&[flags, &["--data-dir", &dir]].concat());
    let tells = |flags: &[&str]| {
        let output = asks(flags);
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    };
    let refused = |flags: &[&str], word: &str| {
        let output = asks(flags);
        assert!(
            !output.status.success() && said(&output).contains(word),
            "{flags:?}: {}",
            said(&output)
        );
    };
    for of in [
        &["containers"][..],
        &["containers", "--server", "local"],
        &["containers", "-s", "local"],
    ] {
        let all = tells(of);
        assert!(
            all.contains("local/web ") && all.contains("running (unhealthy)"),
            "{all}"
        );
    }
    story.admin.post("/api/servers", &server("lamp", 9)).is(201);
    assert_eq!(tells(&["containers", "--server", "lamp"]), "No containers.\n");
    refused(&["containers", "--server", "nobody"], "server");
    let texts = |flags: &[&str]| {
        let all = tells(flags);
        let text = |line: &str| line.split_once(' ').unwrap().1.to_string();
        all.lines().map(text).collect::<Vec<_>>()
    };
    assert_eq!(texts(&["logs", "web"]), ["one panic", "two", "three panics"]);
    assert_eq!(
        texts(&["logs", "web", "-q", "panic*", "--since", "10m"]),
        ["one panic", "three panics"]
    );
    assert_eq!(
        texts(&["logs", "web", "--tail", "1", "--server", "local"]),
        ["three panics"]
    );
    refused(&["logs", "wob"], "container");
    refused(&["logs", "web", "-q", "OR"], "OR stands between two words");
    // Two flags begin with this letter.
    refused(&["logs", "web", "-s", "local"], "Unknown flag -s");

    let mut follows = lamplighter(&["logs", "web", "-f", "-q", "panic*", "--data-dir", &dir]);
    let mut follows = follows.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(follows.stdout.take().unwrap()));
    let mut next = || lines.next().unwrap().unwrap();
    assert!(next().ends_with(" one panic") && next().ends_with(" three panics"));
    engine.say("web", true, "four, no more");
    engine.say("web", true, "five panics");
    assert!(next().ends_with(" five panics"));
    follows.kill().unwrap();
    follows.wait().unwrap();
}
