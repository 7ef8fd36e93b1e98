//! Containers of this machine: a fake engine behind a socket, the daemon as it is, and what its API tells. Real engines are
//! in tests/lab.

use crate::{common, fake};

use crate::health::SmallDisk;
use common::client::Client;
use common::*;
use fake::engine::Engine;
use serde_json::{Value, json};
use std::time::Duration;

const BINARY: &str = env!("CARGO_BIN_EXE_lamplighter");

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
    fn texts(&self, query: &str) -> Vec<String> {
        let answer = self
            .admin
            .get(&format!("/api/containers/local/web/logs?tail=5000{query}"));
        if answer.status == 404 {
            return Vec::new();
        }
        let items = answer.is(200)["items"].as_array().unwrap().clone();
        items
            .iter()
            .map(|line| line["line"].as_str().unwrap().to_string())
            .collect()
    }

    fn sees(&self, what: &str, wanted: impl Fn(&[String]) -> bool) -> Vec<String> {
        eventually(what, || Some(self.texts("")).filter(|texts| wanted(texts)))
    }

    fn open_alert(&self, kind: &str) -> Option<Value> {
        let all = self.admin.get("/api/alerts?state=firing").is(200);
        all["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|alert| alert["kind"] == kind)
            .cloned()
    }
}

#[test]
fn a_log_outlives_its_container_and_goes_on_in_its_next_life() {
    let story = story();
    let (engine, admin) = (&story.engine, &story.admin);
    engine.run("web", 1);
    engine.say("web", false, r#"{"level":"info","msg":"first life"}"#);
    engine.say("web", true, "ERROR it cannot go on");
    story.sees("both lines", |texts| texts.len() == 2);
    engine.state().containers.clear();
    engine.run("web", 2);
    engine.say("web", false, "second life, \u{1b}[31mred\u{1b}[0m\u{1b}[2J");
    let texts = story.sees("the second life", |texts| texts.len() == 4);
    assert!(texts[2].starts_with("Made anew: 0202"), "{texts:?}");
    assert_eq!(texts[3], "second life, \u{1b}[31mred\u{1b}[0m");

    // Words, levels, streams; across both lives.
    assert_eq!(story.texts("&q=life").len(), 2);
    assert_eq!(story.texts("&q=life%20NOT%20second").len(), 1);
    assert_eq!(story.texts("&level=error"), ["ERROR it cannot go on"]);
    assert_eq!(story.texts("&stream=stderr").len(), 1);
    assert_eq!(story.texts("&since=1h").len(), 4);
    assert_eq!(story.texts("&until=1h").len(), 0);
    let wrong = admin.get("/api/containers/local/web/logs?q=OR");
    assert_eq!(wrong.wrong_fields(), ["q"]);
    assert_eq!(
        admin.get("/api/containers/local/web/logs?since=x").wrong_fields(),
        ["since"]
    );

    // Page by page, back and forth, and around a hit.
    let newest = admin.get("/api/containers/local/web/logs?tail=1").is(200);
    let before = newest["next"].as_str().unwrap();
    let older = admin
        .get(&format!("/api/containers/local/web/logs?before={before}"))
        .is(200);
    assert_eq!(
        (older["items"].as_array().unwrap().len(), older["next"].clone()),
        (3, Value::Null)
    );
    let first = older["items"][0]["cursor"].as_str().unwrap();
    let newer = admin
        .get(&format!("/api/containers/local/web/logs?after={first}&tail=2"))
        .is(200);
    assert_eq!(newer["items"].as_array().unwrap().len(), 2);
    assert!(newer["next"].is_string());

    // Several as one stream, for who searches; and as text.
    engine.run("db", 3);
    engine.say("db", false, "life of the data");
    let found = eventually("the other's line", || {
        let found = admin.get("/api/log-search?q=life&project=shop").is(200);
        (found["items"].as_array().unwrap().len() == 3).then_some(found)
    });
    let of: Vec<_> = found["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| l["container"].as_str().unwrap())
        .collect();
    assert_eq!(of, ["web", "web", "db"]);
    let one = admin.get("/api/log-search?containers=local/db").is(200);
    assert_eq!(one["items"].as_array().unwrap().len(), 1);
    let text = admin.get("/api/containers/local/web/log.txt").text();
    assert!(
        text.contains(" ! ERROR it cannot go on\n") && text.ends_with("second life, red\n"),
        "{text}"
    );
    // Lists that are narrowed to nothing say so, and lead back to the whole.
    let browser = &mut story.house.browser_of_admin();
    for (narrowed, all) in [
        ("/containers?q=nowhere", "href=\"/containers\">Show all"),
        ("/containers?state=gone", "href=\"/containers\">Show all"),
        ("/containers/1?q=nowhere", "href=\"/containers/1#lines\">Show all"),
        ("/tasks?status=failed", "href=\"/tasks\">Show all"),
        ("/notifications/log?status=dead", "href=\"/notifications/log\">Show all"),
    ] {
        let page = browser.get(narrowed);
        assert!(page.has("Nothing fits") && page.has(all), "{narrowed}");
    }
    let page = admin.get("/containers/1?q=first").text();
    assert!(page.contains("first life") && !page.contains("second life"), "{page}");
}

#[test]
fn lines_come_live_and_none_twice_after_the_daemon_was_killed() {
    let mut story = story();
    story.engine.run("web", 1);
    story.engine.say("web", false, "line 0");
    story.sees("the first line", |texts| texts.len() == 1);
    let mut stream = story.admin.stream("/api/containers/local/web/logs/stream", None);
    for n in 1..=3 {
        story.engine.say("web", n == 2, &format!("line {n}"));
    }
    let mut last = 0;
    for n in 1..=3 {
        let event = stream.next(Duration::from_secs(10)).unwrap();
        assert_eq!(
            (event.name.as_str(), event.json()["line"].clone()),
            ("log", json!(format!("line {n}")))
        );
        assert_eq!(event.json()["stream"], if n == 2 { "stderr" } else { "stdout" });
        last = event.id.unwrap();
    }
    drop(stream);
    for n in 4..400 {
        story.engine.say("web", n % 3 == 0, &format!("line {n}"));
        if n % 60 == 0 {
            story.house.kill();
            story.house.start();
            story.admin = story.house.admin();
        }
    }
    let texts = story.sees("all lines", |texts| texts.len() >= 400);
    let mut numbers: Vec<usize> = texts.iter().map(|text| text[5..].parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..400).collect::<Vec<_>>(), "each once");
    let mut stream = story.admin.stream("/api/containers/local/web/logs/stream", Some(last));
    assert_eq!(stream.next(Duration::from_secs(10)).unwrap().json()["line"], "line 4");
    drop(stream);
    // The link is cut, and what was written meanwhile is read once it is back.
    story.engine.cut(true);
    story.engine.say("web", false, "line 400");
    story.engine.cut(false);
    story.sees("the line of the gap", |texts| texts.len() == 401);
}

#[test]
fn an_end_is_an_alert_with_its_last_words_unless_a_person_asked_for_it() {
    let story = story();
    let (engine, admin) = (&story.engine, &story.admin);
    let secret = story.house.canary("hunter2-in-the-environment");
    engine.state().env = format!("PASSWORD={secret}");
    engine.run("web", 1);
    engine.run("db", 2);
    engine.say("web", false, "about to fall");
    story.sees("its words", |texts| texts.len() == 1);

    // Asked for by us: a task, and no alert.
    let task = admin
        .post("/api/containers/local/db/stop", &json!({ "grace_s": 2 }))
        .is(202);
    assert_eq!(story.house.wait_for(task["task_id"].as_i64().unwrap())["status"], "ok");
    eventually("it has ended", || {
        (admin.get("/api/containers/local/db").is(200)["state"] == "exited").then_some(())
    });
    // By itself.
    engine.dies("web", 3);
    let alert = eventually("the alert", || story.open_alert("container.died"));
    assert_eq!(alert["target"]["name"], "local/web", "{alert}");
    let evidence = alert["evidence"].to_string();
    assert!(
        evidence.contains("exited, code 3") && evidence.contains("about to fall"),
        "{evidence}"
    );
    let web = admin.get("/api/containers/local/web").is(200);
    assert_eq!(
        (web["exit_code"].clone(), web["troubles"][0].clone()),
        (json!(3), json!("container.died"))
    );
    let events = admin.get("/api/containers/local/web/events").is(200);
    assert_eq!(events["items"][0]["kind"], "container.died");

    let task = admin.post("/api/containers/local/web/start", &json!({})).is(202);
    story.house.wait_for(task["task_id"].as_i64().unwrap());
    eventually("the alert is over", || {
        story.open_alert("container.died").is_none().then_some(())
    });
    let again = admin.post("/api/containers/local/web/start", &json!({})).is(202);
    let again = story.house.wait_for(again["task_id"].as_i64().unwrap());
    assert_eq!(
        (again["status"].clone(), again["changed"].clone()),
        (json!("ok"), json!(0)),
        "304"
    );
    engine.with("web", |web| web.state = "paused");
    let refused = admin.post("/api/containers/local/web/stop", &json!({})).is(202);
    let refused = story.house.wait_for(refused["task_id"].as_i64().unwrap());
    assert_eq!(refused["error"]["code"], "engine_paused", "{refused}");
    assert!(story.open_alert("container.died").is_none(), "the other was asked for");

    let asked = engine.state().asked.clone();
    let id = |n: &str| n.repeat(32);
    for ask in &asked {
        let known = ["GET /_ping", "GET /version", "GET /info", "GET /containers/json?all=1"].contains(&ask.as_str())
            || ask.starts_with("GET /events?filters=")
            || [id("01"), id("02")].iter().any(|id| {
                let acts = ["start", "stop?t=2", "stop?t=10"].map(|act| format!("POST /containers/{id}/{act}"));
                ["json", "stats?", "logs?"]
                    .iter()
                    .any(|what| ask.starts_with(&format!("GET /containers/{id}/{what}")))
                    || acts.contains(ask)
            });
        assert!(known, "{ask} left towards the socket");
    }
}

#[test]
fn broken_frames_and_a_storm_of_containers_cost_nobody_elses_lines() {
    let story = story();
    let (engine, admin) = (&story.engine, &story.admin);
    engine.run("web", 255);
    engine.say("web", false, "before");
    story.sees("the line", |texts| texts.len() == 1);
    for n in 1..=200u8 {
        engine.run(&format!("job-{n}"), n);
        engine.say(&format!("job-{n}"), false, "short");
        engine.dies(&format!("job-{n}"), 0);
    }
    eventually("all of them", || {
        let all = admin.get("/api/containers?q=job-&state=exited&limit=1").is(200);
        (all["total"] == 200).then_some(())
    });
    engine.say("web", false, "after");
    story.sees("the line after", |texts| texts.len() == 2);
    assert!(story.open_alert("container.died").is_none(), "they ended well");
    eventually("their lines", || {
        let found = admin.get("/api/log-search?q=short&tail=300").is(200);
        (found["items"].as_array().unwrap().len() == 200).then_some(())
    });
    // A frame that says 4 GiB.
    engine.state().instead = Some([&[1, 0, 0, 0, 255, 255, 255, 255][..], b"x".repeat(100_000).as_slice()].concat());
    engine.run("mad", 254);
    let seen = eventually("it is seen", || {
        let answer = admin.get("/api/containers/local/mad");
        (answer.status == 200).then(|| answer.is(200))
    });
    assert_eq!(seen["log_lines"], 0);
    assert_eq!(admin.get("/health").status, 200);
}

#[test]
fn what_is_used_becomes_series_and_an_engine_that_is_gone_is_told() {
    let story = story();
    let (engine, admin) = (&story.engine, &story.admin);
    engine.run("web", 1);
    let engines = eventually("it answers", || {
        let all = admin.get("/api/container-engines").is(200);
        (all["items"][0]["state"] == "answers").then_some(all)
    });
    let of = &engines["items"][0];
    assert_eq!(
        (of["engine"].clone(), of["version"].clone(), of["server_id"].clone()),
        (json!("docker"), json!("29.0.1"), json!("local"))
    );
    let web = eventually("what it uses", || {
        let web = admin.get("/api/containers/local/web");
        (web.status == 200)
            .then(|| web.is(200))
            .filter(|web| !web["mem_used"].is_null())
    });
    assert_eq!(
        (web["mem_used"].clone(), web["pids"].clone()),
        (json!(2_000_000), json!(3))
    );
    let stats = admin.get("/api/containers/local/web/stats?period=1h").is(200);
    let keys: Vec<_> = stats["series"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["key"].as_str().unwrap().to_string())
        .collect();
    assert!(
        keys.contains(&"mem_used".to_string()) && keys.contains(&"restarts".to_string()),
        "{keys:?}"
    );
    engine.cut(true);
    eventually("it is silent", || {
        (admin.get("/api/container-engines").is(200)["items"][0]["state"] == "silent").then_some(())
    });
    // What is stored is told all the same, at once.
    assert_eq!(admin.get("/api/containers/local/web").status, 200);
    let viewer = story.house.somebody("viewer");
    assert_eq!(viewer.get("/api/containers").is(200)["total"], 1);
    viewer
        .post("/api/containers/local/web/stop", &json!({}))
        .fails(403, "forbidden");
}

#[test]
fn an_engine_that_cannot_list_is_silent_in_words_and_no_container_has_ended() {
    let story = story();
    let (engine, admin) = (&story.engine, &story.admin);
    engine.run("web", 1);
    engine.say("web", false, "line 0");
    story.sees("the line", |texts| texts.len() == 1);
    engine.state().no_list = true;
    engine.run("beside", 2);
    let is = eventually("it is said", || {
        let all = admin.get("/api/container-engines").is(200);
        (all["items"][0]["state"] == "silent").then_some(all["items"][0].clone())
    });
    assert!(
        is["say"].as_str().unwrap().contains("systemctl restart podman.service"),
        "{is}"
    );
    let web = admin.get("/api/containers/local/web").is(200);
    assert_eq!(
        (web["state"].clone(), web["restarts"].clone()),
        (json!("running"), json!(0))
    );
    engine.state().no_list = false;
    engine.say("web", false, "line 1");
    story.sees("it goes on", |texts| texts.len() == 2);
    assert!(story.open_alert("container.died").is_none());
}

#[test]
fn a_clock_that_is_off_by_an_hour_or_tells_whole_seconds_costs_no_line() {
    for (skew, podman) in [(3_600, false), (-3_600, false), (0, true), (3_600, true)] {
        let mut story = story();
        {
            let mut state = story.engine.state();
            (state.skew, state.podman) = (skew * 1_000_000_000, podman);
        }
        story.engine.run("web", 1);
        for n in 0..300 {
            story.engine.say("web", n % 5 == 0, &format!("line {n}"));
            if n % 100 == 50 {
                story.house.kill();
                story.house.start();
                story.admin = story.house.admin();
            }
            if n % 100 == 90 {
                story.engine.cut(true);
                std::thread::sleep(Duration::from_millis(50));
                story.engine.cut(false);
            }
        }
        let texts = story.sees("all lines", |texts| texts.len() >= 300);
        let mut numbers: Vec<usize> = texts.iter().map(|text| text[5..].parse().unwrap()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..300).collect::<Vec<_>>(), "each once, {skew} s");
        // Times are ours: within a minute of now.
        let recent = story.texts("&since=1m");
        assert_eq!(recent.len(), 300, "{skew} s");
        // The clock is set right in the middle.
        story.engine.state().skew = 0;
        story.house.kill();
        (300..320).for_each(|n| story.engine.say("web", false, &format!("line {n}")));
        story.house.start();
        story.admin = story.house.admin();
        story.sees("the lines after it was set", |texts| texts.len() == 320);
    }
}

#[test]
fn a_line_that_never_ends_is_one_line_and_the_next_ones_are_whole() {
    let story = story();
    let engine = &story.engine;
    engine.run("web", 1);
    engine.run("mad", 2);
    // 20 MB without an end, in frames of 16 KiB as the engine cuts them, then its end and one more line.
    let frame = |text: &[u8]| {
        let mut out = vec![1, 0, 0, 0];
        out.extend((text.len() as u32).to_be_bytes());
        out.extend(text);
        out
    };
    let piece = [&b"2026-11-21T05:31:50.000000001Z "[..], &b"x".repeat(16_384)].concat();
    let mut bytes = frame(&piece).repeat(1_250);
    bytes.extend(frame(b"2026-11-21T05:31:51.000000001Z end\n"));
    bytes.extend(frame(b"2026-11-21T05:31:52.000000001Z next\n"));
    engine.state().instead = Some(bytes);
    engine.run("endless", 3);
    let lines = eventually("its lines", || {
        let answer = story.admin.get("/api/containers/local/endless/logs");
        let items = (answer.status == 200).then(|| answer.is(200)["items"].as_array().unwrap().clone())?;
        (items.len() >= 2).then_some(items)
    });
    let text = |n: usize| lines[n]["line"].as_str().unwrap().to_string();
    assert!(
        text(0).ends_with("(cut)") && text(0).len() < 17_000,
        "{}",
        text(0).len()
    );
    assert_eq!((lines.len(), text(1)), (2, "next".to_string()));
    engine.state().instead = None;
    engine.run("well", 4);
    engine.say("well", false, "line 0");
    eventually("another's line", || {
        let answer = story.admin.get("/api/log-search?containers=local/well");
        (answer.status == 200 && answer.is(200)["items"].as_array().unwrap().len() == 1).then_some(())
    });
}

#[test]
fn want_of_memory_is_told_as_such() {
    let story = story();
    story.engine.run("web", 1);
    story.engine.say("web", false, "allocating");
    story.sees("its line", |texts| texts.len() == 1);
    story.engine.has_no_memory("web");
    let alert = eventually("the alert", || story.open_alert("container.oom"));
    let evidence = alert["evidence"].to_string();
    assert!(
        evidence.contains("code 137, for want of memory") && evidence.contains("allocating"),
        "{evidence}"
    );
    eventually("its state", || {
        (story.admin.get("/api/containers/local/web").is(200)["oom"] == true).then_some(())
    });
}

#[test]
fn containers_that_begin_and_end_every_second_cost_nobody_elses_lines() {
    let story = story();
    let (engine, admin) = (&story.engine, &story.admin);
    engine.run("web", 255);
    for second in 0..5u8 {
        for n in 0..200u8 {
            let name = format!("job-{n}");
            match second {
                0 => engine.run(&name, n),
                _ => engine.again(&name),
            }
            engine.say(&name, false, &format!("job {second}"));
            engine.dies(&name, 0);
        }
        engine.say("web", false, &format!("line {second}"));
        std::thread::sleep(Duration::from_secs(1));
    }
    story.sees("all lines of the other", |texts| texts.len() == 5);
    eventually("the words of all of their lives", || {
        let found = admin.get("/api/log-search?q=job&tail=2000").is(200);
        (found["items"].as_array().unwrap().len() == 1_000).then_some(())
    });
    assert_eq!(admin.get("/health").status, 200);
    assert!(story.open_alert("containers.silent").is_none());
}

#[test]
fn a_full_disk_of_the_store_loses_no_line() {
    let Some(mut disk) = SmallDisk::new(32) else { return };
    let folder = Folder::new();
    let engine = Engine::start(folder.path());
    let dir = disk.dir.path().display().to_string();
    let password = "a long enough password";
    disk.run(&format!("{BINARY} init-db --data-dir {dir}"), "init");
    let account = format!("{BINARY} create-admin --data-dir {dir} --login anna --password-file -");
    disk.run(&format!("echo '{password}' | {account}"), "account");
    disk.run(
        &format!("export LAMPLIGHTER_CONTAINERS_SOCKET={}", engine.socket.display()),
        "socket",
    );
    let at = disk.serve();
    let signed_in = Client::new(at).post("/api/auth/login", &json!({ "login": "anna", "password": password }));
    let admin = Client::new(at).by(Who::bearer(&signed_in));
    let texts = || {
        let (mut texts, mut after) = (Vec::new(), String::from("0-0"));
        loop {
            let answer = admin.get(&format!("/api/containers/local/web/logs?tail=5000&after={after}"));
            if answer.status != 200 {
                return texts;
            }
            let answer = answer.is(200);
            let items = answer["items"].as_array().unwrap().iter();
            texts.extend(items.map(|line| line["line"].as_str().unwrap().to_string()));
            match answer["next"].as_str() {
                Some(next) => after = next.into(),
                None => return texts,
            }
        }
    };
    engine.run("web", 1);
    engine.say("web", false, "line 0");
    eventually("the first line", || (texts().len() == 1).then_some(()));
    disk.run(
        &format!("dd if=/dev/zero of={dir}/ballast bs=4k 2>/dev/null || true"),
        "fill",
    );
    let text = "x".repeat(500);
    for n in 1..12_000 {
        engine.say("web", false, &format!("line {n} {text}"));
    }
    std::thread::sleep(Duration::from_secs(4));
    let told = texts().len();
    assert!(told < 12_000, "there was no room for it: {told}");
    assert_eq!(admin.get("/api/containers").status, 200, "and nobody waits");
    disk.run(&format!("rm {dir}/ballast"), "free");
    let all = eventually("all lines", || Some(texts()).filter(|all| all.len() >= 12_000));
    let numbers: Vec<usize> = all
        .iter()
        .map(|text| text.split(' ').nth(1).unwrap().parse().unwrap())
        .collect();
    assert_eq!(numbers, (0..12_000).collect::<Vec<_>>(), "each once, in order");
}
