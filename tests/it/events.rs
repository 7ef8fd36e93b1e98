//! What happens, as a stream: in order, each once, on from where one was; and only for who may read it. And an answer
//! that is watched: told whole, then what changes of it.

use crate::common;

use common::*;
use serde_json::json;
use std::thread;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(20);

/// Something that ends in an event: a task about a new server that fails.
fn happen(house: &House, name: &str) -> i64 {
    let id = house.admin().post("/api/servers", &server(name, 1)).is(201)["id"]
        .as_i64()
        .unwrap();
    let task = house.newest_task(id, "server.look_host_key");
    house.wait_for(task);
    task
}

fn next_task(stream: &mut Sse) -> (i64, i64) {
    loop {
        let event = stream.next(SOON).expect("an event comes");
        let told = event.json();
        assert_eq!((event.name.as_str(), told["id"].as_i64()), ("event", event.id));
        if told["kind"] == "task.ended" {
            assert_eq!(told["target"]["type"], "task");
            assert!(told["ts"].as_str().unwrap().ends_with('Z') && told["data"]["kind"].is_string());
            return (event.id.unwrap(), told["target"]["id"].as_i64().unwrap());
        }
    }
}

#[test]
fn every_event_comes_once_and_in_order_also_after_a_break() {
    let mut house = House::new();
    let before = happen(&house, "before");
    let viewer = house.somebody("viewer");
    let mut stream = viewer.stream("/api/events/stream", None);
    let kind = stream
        .headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    assert!(kind.is_some_and(|(_, kind)| kind.starts_with("text/event-stream")));
    let first = happen(&house, "first");
    let (seen, task) = next_task(&mut stream);
    assert_eq!(task, first, "what was before is not told unasked");
    drop(stream);

    let second = happen(&house, "second");
    house.stop();
    house.start();
    let third = happen(&house, "third");
    let mut stream = viewer.stream("/api/events/stream", Some(seen));
    assert_eq!(
        [next_task(&mut stream).1, next_task(&mut stream).1],
        [second, third],
        "none missed, none twice"
    );
    let mut all = viewer.stream("/api/events/stream?after=0", None);
    assert_eq!(next_task(&mut all).1, before);
    // A number from another life is no reason to wait for years.
    let mut odd = viewer.stream("/api/events/stream", Some(i64::MAX));
    let fourth = happen(&house, "fourth");
    for stream in [&mut stream, &mut odd] {
        assert_eq!(next_task(stream).1, fourth);
    }
}

#[test]
fn who_signed_in_from_where_is_for_administrators() {
    let house = House::new();
    house.client().get("/api/events/stream").fails(401, "unauthorized");
    house.admin().get("/api/events/stream?after=x").fails(422, "invalid");
    let mut viewer = house.somebody("viewer").stream("/api/events/stream", None);
    let mut admin = house.admin().stream("/api/events/stream", None);
    house.sign_in(ADMIN, "not the password");
    let told = admin.next(SOON).unwrap().json();
    assert_eq!(
        (&told["kind"], &told["data"]["login"]),
        (&json!("auth.login_failed"), &json!(ADMIN))
    );
    let task = happen(&house, "web");
    assert_eq!(next_task(&mut admin).1, task);
    let mut seen = Vec::new();
    loop {
        let told = viewer.next(SOON).unwrap().json();
        seen.push(told["kind"].as_str().unwrap().to_string());
        if told["kind"] == "task.ended" {
            break;
        }
    }
    assert!(!seen.iter().any(|kind| kind.starts_with("auth.")), "{seen:?}");
}

/// Whatever answers for long, opened by one client: the streams, and a long poll that would else wait for 25 s.
struct Lasting(Vec<Sse>, thread::JoinHandle<Answer>);

impl Lasting {
    fn open(house: &House, who: &Who, task: i64) -> Lasting {
        let client = house.client().by(who.clone());
        let streams = ["events/stream", "live?of=/api/servers", &format!("tasks/{task}/stream")]
            .map(|path| client.stream(&format!("/api/{path}"), None));
        let poll = thread::spawn(move || client.get(&format!("/api/tasks/{task}/logs?after=9&wait=25")));
        Lasting(streams.into(), poll)
    }

    #[track_caller]
    fn end(self, status: u16) {
        for mut stream in self.0 {
            assert!(stream.ends());
        }
        self.1.join().unwrap().is(status);
    }
}

#[test]
fn whatever_answers_for_long_ends_with_the_right_to_see_it() {
    let house = House::new();
    let door = Door::new(1);
    door.shut();
    let id = house.admin().post("/api/servers", &server("web", door.port)).is(201)["id"]
        .as_i64()
        .unwrap();
    let task = house.newest_task(id, "server.look_host_key");
    let database = house.database("lamplighter.db");
    let set = |what: &str| {
        let sql = format!("UPDATE users SET {what} WHERE login = 'v'");
        assert_eq!(database.execute(&sql, []).unwrap(), 1);
    };
    let password = house.account("v", "viewer");
    let lasting = || {
        let answer = house.sign_in("v", &password);
        let whos = [Who::bearer(&answer), Who::cookie(&answer, house.address)];
        whos.map(|who| Lasting::open(&house, &who, task))
    };

    let all = lasting();
    set("role = 'automation'");
    all.into_iter().for_each(|each| each.end(403));
    set("role = 'viewer'");

    let all = lasting();
    let account = |command| run(&[command, "--data-dir", house.dir(), "--login", "v"]);
    assert!(account("disable-user").status.success());
    all.into_iter().for_each(|each| each.end(401));
    assert!(account("enable-user").status.success());

    // Signed out is signed out at once, and only there.
    let sessions = [0, 1].map(|_| Who::cookie(&house.sign_in("v", &password), house.address));
    let [mine, other] = sessions.map(|who| house.client().by(who));
    let [mut told, mut still] = [&mine, &other].map(|client| client.stream("/api/events/stream", None));
    assert_eq!(mine.post("/api/auth/logout", &json!({})).status, 204);
    let after = happen(&house, "after");
    assert_eq!(next_task(&mut still).1, after);
    assert!(
        !told
            .rest()
            .iter()
            .any(|event| event.name == "event" && event.json()["target"]["id"] == after)
    );

    let all = lasting();
    let file = house.folder.file("pw", house.canary("another good password"));
    let args = [
        "reset-password",
        "--data-dir",
        house.dir(),
        "--login",
        "v",
        "--password-file",
    ];
    let reset = run(&[&args[..], &[file.to_str().unwrap()]].concat());
    assert!(reset.status.success(), "{}", said(&reset));
    std::fs::remove_file(file).unwrap();
    all.into_iter().for_each(|each| each.end(401));
    door.open();
}

#[test]
fn a_watched_answer_is_told_whole_and_then_as_it_changes() {
    let house = House::new();
    let admin = house.admin();
    let add = |name: &str| {
        admin.post("/api/servers", &server(name, 1)).is(201)["id"]
            .as_i64()
            .unwrap()
    };
    let (kept, gone) = (add("kept"), add("gone"));
    for id in [kept, gone] {
        house.wait_for(house.newest_task(id, "server.look_host_key"));
    }
    let viewer = house.somebody("viewer");
    let mut list = viewer.stream("/api/live?of=/api/servers%3Fq=e", None);
    let mut one = viewer.stream(&format!("/api/live?of=/api/servers/{kept}"), None);
    let data = |stream: &mut Sse| loop {
        let event = stream.next(SOON).expect("it moves");
        if event.name == "data" {
            return event.json();
        }
    };
    let whole = data(&mut list);
    assert_eq!(whole["items"], viewer.get("/api/servers?q=e").is(200)["items"]);
    assert_eq!((&whole["total"], &whole["gone"]), (&json!(2), &json!([])));
    assert_eq!(data(&mut one)["name"], "kept");

    admin
        .patch(&format!("/api/servers/{kept}"), &json!({ "name": "kept-on" }))
        .is(200);
    // Polls fail meanwhile, and are told as well.
    let named =
        |news: &serde_json::Value, name: &str| news["items"].as_array().unwrap().iter().any(|i| i["name"] == name);
    while !named(&data(&mut list), "kept-on") {}
    while data(&mut one)["name"] != "kept-on" {}

    admin.delete(&format!("/api/servers/{gone}")).is(204);
    let last = loop {
        let news = data(&mut list);
        if news["gone"] == json!([gone]) {
            break news;
        }
    };
    assert_eq!(last["total"], 1);
    let ping = loop {
        let event = one.event(Instant::now() + SOON).expect("a ping where nothing changes");
        if event.name == "ping" {
            break event;
        }
    };
    assert_eq!(ping.id, None);
}

#[test]
fn only_what_is_cheap_and_allowed_can_be_watched() {
    let house = House::new();
    let viewer = house.somebody("viewer");
    house
        .client()
        .get("/api/live?of=/api/servers")
        .fails(401, "unauthorized");
    viewer.get("/api/live").fails(400, "bad_address");
    viewer.get("/api/live?of=/api/../x").fails(400, "bad_address");
    viewer.get("/api/live?of=/api/nothing").fails(404, "no_such_page");
    viewer.get("/api/live?of=/api/servers/77").fails(404, "not_found");
    viewer.get("/api/live?of=/api/servers%3Flimit=0").fails(422, "invalid");
    // It would wait, on a thread that many share.
    viewer
        .get("/api/live?of=/api/tasks/1/logs%3Fwait=20")
        .fails(422, "not_live");
    viewer.get("/api/live?of=/api/events/stream").fails(422, "not_live");
    viewer
        .get("/api/live?of=/api/live%3Fof=/api/live")
        .fails(422, "not_live");
    viewer.get("/api/live?of=/servers").fails(422, "not_live");
}
