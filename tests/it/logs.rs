//! The daemon's log from outside: one line an event with time, level and request id, as text or as JSON, at the level that
//! was asked for; nobody forges a line, and no secret is in any.

use crate::{common, fake};

use common::*;
use lamplighter::base::log::{self, Level};
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

const LEVELS: [&str; 5] = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"];

/// `2026-11-21T14:36:08.771Z`.
fn is_time(text: &str) -> bool {
    text.len() == 24
        && text.bytes().enumerate().all(|(i, b)| match i {
            4 | 7 => b == b'-',
            10 => b == b'T',
            13 | 16 => b == b':',
            19 => b == b'.',
            23 => b == b'Z',
            _ => b.is_ascii_digit(),
        })
}

/// Something of everything that is logged; gives the ids of the requests that failed.
fn live(house: &House) -> Vec<String> {
    let admin = house.admin();
    let mut failed = Vec::new();
    let mut refused = |answer: Answer| {
        assert!((400..500).contains(&answer.status), "{}", answer.text());
        failed.push(answer.header("x-request-id").unwrap().to_string());
    };
    let wrong = house.canary("a wrong password 1");
    refused(house.sign_in(ADMIN, &wrong));
    // What somebody writes into an address, a name or a head is in no line of its own.
    refused(admin.get("/nothing%0a2026-11-21T14:36:08.771Z%20ERROR%20forged%20line"));
    refused(admin.get("/nothing%22,%22level%22:%22ERROR%22%E2%80%A8"));
    let token = house.canary("token-in-a-query-1");
    refused(admin.get(&format!("/api/nothing?token={token}")));
    let strange = admin
        .with("User-Agent", "x\tforged")
        .with("X-Request-Id", "forged id=1");
    refused(strange.get("/api/servers/77"));
    let admin = house.admin();
    // A task that fails, on a server whose password must not be told.
    let mut wanted = server("web-1", 1);
    wanted["auth_type"] = json!("password");
    wanted["password"] = json!(house.canary("a server's password 1"));
    let id = admin.post("/api/servers", &wanted).is(201)["id"].as_i64().unwrap();
    house.wait_for(house.newest_task(id, "server.look_host_key"));
    // Refused by the edge.
    let mut raw = TcpStream::connect(house.address).unwrap();
    raw.write_all(b"GET /\x01forged HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut answer = String::new();
    let _ = raw.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    failed
}

#[test]
fn json_logs_are_one_object_a_line() {
    let mut house = House::with(
        Processes::One,
        &[("JSON_LOGS", "1"), ("LAMPLIGHTER_LOG_LEVEL", "debug")],
    );
    let failed = live(&house);
    house.stop();
    let said = house.said();
    let lines: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    for line in &lines {
        assert!(line["ts"].as_str().is_some_and(is_time), "{line}");
        assert!(LEVELS.contains(&line["level"].as_str().unwrap()), "{line}");
        assert!(line["target"].is_string() && line["message"].is_string(), "{line}");
        assert!(line.as_object().unwrap().values().all(Value::is_string), "{line}");
    }
    let requests: Vec<&Value> = lines.iter().filter(|l| l["message"] == "request").collect();
    assert!(requests.len() > failed.len() + 4, "at debug, the good ones as well");
    for id in &failed {
        let of: Vec<_> = requests.iter().filter(|l| l["request_id"] == **id).collect();
        assert_eq!(of.len(), 1, "{id}");
        assert!(of[0]["status"].as_str().unwrap().starts_with('4') && of[0]["level"] == "INFO");
    }
    assert!(!said.contains("forged id"), "an id is a word");
    assert!(
        lines.iter().any(|l| l["target"] == "task" && l["task"] == "1"),
        "{said}"
    );
    assert!(
        lines.iter().any(|l| l["status"] == "400"),
        "what the edge refuses is told too: {said}"
    );
}

#[test]
fn plain_logs_are_one_line_an_event() {
    let folder = Folder::new();
    let file = folder.path().join("logs/lamplighter.log");
    let settings = [
        ("LAMPLIGHTER_LOG_LEVEL", "debug"),
        ("LAMPLIGHTER_LOG_FILE", file.to_str().unwrap()),
    ];
    let mut house = House::with(Processes::Two, &settings);
    let failed = live(&house);
    house.stop();
    let said = house.said();
    // The file has what both processes said.
    let written = fs::read_to_string(&file).unwrap();
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(String::from).collect();
        lines.sort();
        lines
    };
    let missing: Vec<String> = sorted(&written)
        .into_iter()
        .filter(|line| !said.contains(line))
        .collect();
    assert_eq!(missing, [""; 0]);
    assert!(
        failed.iter().all(|id| written.contains(id)) && written.contains(" task "),
        "{written}"
    );
    for line in said.lines() {
        let mut words = line.split(' ');
        assert!(is_time(words.next().unwrap()), "{line}");
        assert!(LEVELS.contains(&words.next().unwrap()), "{line}");
        assert!(
            words
                .next()
                .is_some_and(|target| !target.is_empty() && target != "forged"),
            "{line}"
        );
        assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
    }
    for id in &failed {
        let of = said.lines().filter(|line| line.ends_with(&format!(" request_id={id}")));
        assert_eq!(of.count(), 1, "{id}");
    }
}

#[test]
fn only_what_matters_enough_is_said() {
    let said = |level: &str| {
        let house = House::with(Processes::One, &[("LAMPLIGHTER_LOG_LEVEL", level)]);
        live(&house);
        house.said()
    };
    let of = |said: &str, level: &str| {
        said.lines()
            .filter(|line| line.contains(&format!("Z {level} ")))
            .count()
    };
    let usual = said("info");
    assert!(of(&usual, "DEBUG") == 0 && of(&usual, "INFO") > 3 && of(&usual, "WARNING") >= 1);
    assert!(!usual.contains("status=200"), "good requests are not told");
    let all = said("debug");
    assert!(of(&all, "DEBUG") > 3 && all.contains("status=200"), "{all}");
}

#[test]
fn a_panic_is_one_line_too() {
    if std::env::var_os("LAMPLIGHTER_TEST_PANICS").is_some() {
        log::init(Level::Info, true);
        let thread = thread::Builder::new().name("http-3".into());
        let _ = thread.spawn(|| panic!("two\nlines")).unwrap().join();
        return;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "logs::a_panic_is_one_line_too", "--nocapture"])
        .env("LAMPLIGHTER_TEST_PANICS", "1")
        .env("RUST_BACKTRACE", "1")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.len(), 1, "{text}");
    let line: Value = serde_json::from_str(lines[0]).unwrap();
    assert_eq!((&line["level"], &line["thread"]), (&json!("ERROR"), &json!("http-3")));
    assert_eq!(line["what"], "two\nlines");
    assert!(line["at"].as_str().unwrap().starts_with("tests/it/logs.rs:"), "{line}");
}

#[test]
fn a_server_that_flaps_is_some_lines_and_then_none_for_a_while() {
    let house = House::new();
    let (asked, body) = (AtomicUsize::new(0), fake::data("glances/4.3.3/full/all.json"));
    // Each poll asks twice when it must: of three requests, two are in vain and are one missed poll.
    let glances = fake::Fake::new(move |_, peer| {
        if asked.fetch_add(1, Ordering::SeqCst) % 3 == 2 {
            let _ = peer.write_all(&fake::http("200 OK", "application/json", &body));
        }
    });
    let mut wanted = server("flaps", 9);
    wanted["glances_port"] = json!(glances.port);
    let id = house.admin().post("/api/servers", &wanted).is(201)["id"]
        .as_i64()
        .unwrap();
    let hurry = "UPDATE servers SET poll_interval_s = 1, poll_revision = poll_revision + 1 WHERE id = ?1";
    house.database("lamplighter.db").execute(hurry, [id]).unwrap();
    eventually("it was missed nine times", || (glances.seen().len() > 27).then_some(()));
    let said = house.said();
    let missed = said.lines().filter(|line| line.contains("a poll was missed")).count();
    assert_eq!(missed, 5, "{said}");
    assert!(said.contains("a server is up"), "{said}");
}
