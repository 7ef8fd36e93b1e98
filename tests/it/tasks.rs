//! Work in the background as it is followed from outside: live, by long poll, whole; cancelled, doubled, killed in the
//! middle. The work is real (`ssh-keyscan`, `ssh`), the server is a [`Door`] that can be told to keep it waiting.

use crate::common;

use common::*;
use lamplighter::access::Allowed;
use lamplighter::access::right::{Run, Tasks};
use lamplighter::db::{Db, Durability, schema};
use lamplighter::events::wake::Wake;
use lamplighter::task::log::{self, BYTES_MAX, Log};
use lamplighter::task::{NewTask, queue};
use serde_json::{Value, json};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

const LOOK: &str = "server.look_host_key";

/// Adds a server behind the door; gives its number.
fn add(house: &House, name: &str, door: &Door) -> i64 {
    house.admin().post("/api/servers", &server(name, door.port)).is(201)["id"]
        .as_i64()
        .unwrap()
}

/// Adds a server whose key is accepted.
fn add_pinned(house: &House, name: &str, door: &Door) -> i64 {
    let mut wanted = server(name, door.port);
    wanted["host_key"] = json!(door.key_line());
    house.admin().post("/api/servers", &wanted).is(201)["id"]
        .as_i64()
        .unwrap()
}

fn act(client: &Client, server: i64, action: &str) -> i64 {
    let answer = client.post(&format!("/api/servers/{server}/{action}"), &json!({}));
    let id = answer.is(202)["task_id"].as_i64().unwrap();
    assert_eq!(answer.header("location"), Some(&*format!("/api/tasks/{id}")));
    id
}

fn status(house: &House, task: i64) -> String {
    let task = house.admin().get(&format!("/api/tasks/{task}")).is(200);
    task["status"].as_str().unwrap().into()
}

#[track_caller]
fn reaches(house: &House, task: i64, wanted: &str) {
    eventually(&format!("task {task} is {wanted}"), || {
        (status(house, task) == wanted).then_some(())
    });
}

#[test]
fn first_contact_waits_for_a_person_who_compares() {
    let house = House::new();
    let (admin, door) = (house.admin(), Door::new(1));
    let id = add(&house, "web", &door);
    let look = house.newest_task(id, LOOK);
    let done = house.wait_for(look);
    assert_eq!(
        (&done["status"], &done["changed"], &done["error"]),
        (&json!("ok"), &json!(0), &Value::Null)
    );
    assert_eq!(done["target"], json!({ "type": "server", "id": id, "name": "web" }));
    assert_eq!(done["created_by"], ADMIN);
    let path = format!("/api/servers/{id}");
    let seen = admin.get(&path).is(200);
    assert_eq!(
        (&seen["host_key_state"], &seen["host_key_fingerprint"]),
        (&json!("pending"), &json!(door.fingerprint()))
    );

    // Until then nothing is sent.
    let check = house.wait_for(act(&admin, id, "check-ssh"));
    assert_eq!(
        (&check["status"], &check["error"]["code"]),
        (&json!("failed"), &json!("ssh_host_key_pending"))
    );
    assert_eq!(door.logins(), 0);
    let accept = |fingerprint: &str| {
        admin.post(
            &format!("{path}/accept-host-key"),
            &json!({ "fingerprint": fingerprint }),
        )
    };
    accept("SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").fails(409, "fingerprint_differs");
    accept("").is(422);
    assert_eq!(accept(&door.fingerprint()).is(200)["host_key_state"], "pinned");
    accept(&door.fingerprint()).fails(409, "no_host_key_waits");
    // Now ssh connects; the server cannot prove that it has the key, so nothing is sent.
    let check = house.wait_for(act(&admin, id, "check-ssh"));
    assert_eq!((&check["status"], door.logins()), (&json!("failed"), 1));
}

#[test]
fn another_key_than_the_accepted_one_stops_everything() {
    let house = House::new();
    let (admin, door) = (house.admin(), Door::new(1));
    let id = add_pinned(&house, "web", &door);
    let accepted = door.fingerprint();
    door.rekey(2);
    let failed = house.wait_for(act(&admin, id, "check-ssh"));
    assert_eq!(failed["error"]["code"], "ssh_host_key_changed");
    let say = failed["error"]["message"].as_str().unwrap();
    assert!(say.contains(&accepted) && say.contains(&door.fingerprint()), "{say}");
    let seen = admin.get(&format!("/api/servers/{id}")).is(200);
    assert_eq!(
        (&seen["host_key_state"], &seen["host_key_fingerprint"]),
        (&json!("changed"), &json!(door.fingerprint()))
    );
    // From now on no login is tried.
    let logins = door.logins();
    for action in ["check-ssh", "deploy-proxy", "install-glances"] {
        let task = house.wait_for(act(&admin, id, action));
        assert_eq!(task["error"]["code"], "ssh_host_key_changed", "{action}");
    }
    assert_eq!(door.logins(), logins);
    admin
        .post(
            &format!("/api/servers/{id}/accept-host-key"),
            &json!({ "fingerprint": accepted }),
        )
        .fails(409, "fingerprint_differs");
}

#[test]
fn a_server_that_breaks_off_before_the_login_is_told_from_one_whose_shell_does() {
    let house = House::new();
    let (admin, door) = (house.admin(), Door::new(1));
    let id = add_pinned(&house, "web", &door);
    for (manner, code) in [
        (ServerBehaviour::Ancient, "ssh_too_old"),
        (ServerBehaviour::HangsUp, "ssh_closed"),
        (ServerBehaviour::Shows, "ssh_failed"), // it has the key's public half only
    ] {
        door.behave(manner);
        let task = house.wait_for(act(&admin, id, "check-ssh"));
        assert_eq!(task["error"]["code"], code, "{task}");
    }
}

#[test]
fn the_list_is_filtered_and_counts() {
    let house = House::new();
    let (admin, door) = (house.admin(), Door::new(1));
    let (web, mail) = (add(&house, "web", &door), add(&house, "mail", &door));
    for id in [web, mail] {
        house.wait_for(house.newest_task(id, LOOK));
    }
    let failed = act(&admin, web, "check-ssh");
    house.wait_for(failed);
    let list = |query: &str| admin.get(&format!("/api/tasks?{query}")).is(200);
    let ids = |list: &Value| -> Vec<i64> {
        list["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|t| t["id"].as_i64().unwrap())
            .collect()
    };
    assert_eq!(list("")["total"], 3);
    assert_eq!(ids(&list("")), [3, 2, 1], "newest first");
    assert_eq!(ids(&list("status=failed")), [failed]);
    assert_eq!(list("status=ok")["total"], 2);
    assert_eq!(list(&format!("server={mail}"))["total"], 1);
    assert_eq!(list(&format!("kind={LOOK}"))["total"], 2);
    assert_eq!(list("q=mail")["total"], 1);
    assert_eq!(list("q=check_ssh")["total"], 1);
    assert_eq!(ids(&list("limit=1&offset=1")), [2]);
    for bad in ["status=done", "server=x", "limit=0", "offset=-1"] {
        admin.get(&format!("/api/tasks?{bad}")).is(422);
    }
    for path in ["", "/logs", "/log.txt", "/stream"] {
        admin.get(&format!("/api/tasks/99{path}")).fails(404, "not_found");
    }
}

#[test]
fn a_log_is_followed_live_taken_up_again_and_read_whole() {
    let house = House::new();
    let (admin, door) = (house.admin(), Door::new(1));
    let id = add_pinned(&house, "web", &door);
    door.rekey(2);
    house.wait_for(act(&admin, id, "check-ssh"));
    door.rekey(1);
    door.hold_logins();
    // The accepted key is back: the task says so and goes on to log in, where it is kept waiting.
    let task = act(&admin, id, "check-ssh");
    let path = format!("/api/tasks/{task}");
    let mut stream = admin.stream(&format!("{path}/stream"), None);
    let header = |name: &str| {
        stream
            .headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.clone())
    };
    assert!(header("content-type").unwrap().starts_with("text/event-stream"));
    assert_eq!(header("x-accel-buffering").unwrap(), "no");
    let first = stream.next(PATIENCE).expect("a line while the task runs");
    assert_eq!((first.id, &*first.name), (Some(1), "log"));
    let line = first.json();
    assert!(
        line["line"].as_str().unwrap().contains("accepted host key again"),
        "{line}"
    );
    for key in ["ts", "level", "source", "stream"] {
        assert!(line[key].is_string(), "{key} of {line}");
    }
    assert_eq!(status(&house, task), "running");
    let poll = admin.get(&format!("{path}/logs?after=0&wait=20")).is(200);
    assert_eq!(
        (&poll["after"], &poll["end"], &poll["items"][0]["line"]),
        (&json!(1), &Value::Null, &line["line"])
    );
    assert!(
        admin
            .get(&format!("{path}/log.txt"))
            .text()
            .contains("accepted host key again")
    );

    // Who waits for more gets it when it comes, by the stream and by the long poll.
    let waits = {
        let admin = house.admin();
        let path = path.clone();
        thread::spawn(move || admin.get(&format!("{path}/logs?after=1&wait=25")).is(200))
    };
    thread::sleep(Duration::from_millis(300));
    assert!(!waits.is_finished());
    door.open();
    let more = waits.join().unwrap();
    assert_eq!(more["items"][0]["seq"], 2, "{more}");
    let rest = stream.rest();
    let (end, lines) = rest.split_last().unwrap();
    assert!(lines.iter().all(|e| e.name == "log") && !lines.is_empty(), "{rest:?}");
    assert_eq!((&*end.name, end.id), ("end", None));
    let outcome = end.json();
    assert_eq!((&outcome["status"], &outcome["rc"]), (&json!("failed"), &json!(1)));
    assert!(
        outcome["duration_ms"].is_i64() && outcome["error"]["code"].is_string(),
        "{outcome}"
    );

    // A reader that comes back gets what it has not seen, then the end.
    for mut again in [
        admin.stream(&format!("{path}/stream"), Some(1)),
        admin.stream(&format!("{path}/stream?after=1"), None),
    ] {
        assert_eq!(again.rest(), rest);
    }
    let whole = admin.stream(&format!("{path}/stream"), None).rest();
    assert_eq!((whole.len(), &whole[0]), (rest.len() + 1, &first));
    assert_eq!(
        admin.stream(&format!("{path}/stream"), Some(999)).rest(),
        std::slice::from_ref(end)
    );
    let all = admin.get(&format!("{path}/logs?after=0")).is(200);
    assert_eq!((&all["total"], &all["end"]), (&json!(whole.len() - 1), &outcome));
    let text = admin.get(&format!("{path}/log.txt"));
    assert_eq!(text.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(
        text.header("content-disposition"),
        Some(&*format!("attachment; filename=\"task-{task}.txt\""))
    );
    assert!(text.text().trim_end().ends_with(']'), "{}", text.text());
}

#[test]
fn one_user_holds_only_so_many_streams() {
    let house = House::new();
    let (admin, door) = (house.admin(), Door::new(1));
    door.shut();
    let id = add(&house, "web", &door);
    let path = format!("/api/tasks/{}/stream", house.newest_task(id, LOOK));
    let held: Vec<_> = (0..8).map(|_| admin.stream(&path, None)).collect();
    let refused = admin.get(&path);
    refused.fails(429, "too_many_streams_of_user");
    assert!(refused.header("retry-after").is_some());
    house.somebody("viewer").stream(&path, None); // others are not concerned
    drop(held);
    eventually("a place is free", || {
        (admin.send("HEAD", &path, None).status != 429).then_some(())
    });
    door.open();
}

#[test]
fn a_double_click_runs_once() {
    let house = House::new();
    let (admin, door) = (house.admin(), Door::new(1));
    door.shut();
    let id = add(&house, "web", &door);
    let check = act(&admin, id, "check-ssh");
    let twin = admin
        .post(&format!("/api/servers/{id}/check-ssh"), &json!({}))
        .fails(409, "task_open");
    assert!(
        twin["detail"].as_str().unwrap().contains(&format!("Task {check} ")),
        "{twin}"
    );
    let all: Vec<u16> = thread::scope(|scope| {
        let clicks: Vec<_> = (0..10)
            .map(|_| {
                scope.spawn(|| {
                    house
                        .admin()
                        .post(&format!("/api/servers/{id}/deploy-proxy"), &json!({}))
                        .status
                })
            })
            .collect();
        clicks.into_iter().map(|c| c.join().unwrap()).collect()
    });
    assert_eq!(all.iter().filter(|s| **s == 202).count(), 1, "{all:?}");
    // A server with a running task is not removed.
    admin.delete(&format!("/api/servers/{id}")).fails(409, "task_open");
    for task in [check, check + 1] {
        admin.post(&format!("/api/tasks/{task}/cancel"), &json!({})).is(202);
    }
    door.open();
}

#[test]
fn a_waiting_task_is_cancelled_at_once_and_a_running_one_soon() {
    let house = House::new();
    let (admin, door) = (house.admin(), Door::new(1));
    let id = add_pinned(&house, "web", &door);
    door.hold_logins();
    let cancel = |task: i64| admin.post(&format!("/api/tasks/{task}/cancel"), &json!({}));
    let running = act(&admin, id, "check-ssh");
    eventually("ssh is at the door", || (door.logins() > 0).then_some(()));
    let waiting = act(&admin, id, "deploy-proxy");
    assert_eq!(status(&house, waiting), "queued", "one at a time on a server");
    assert_eq!(cancel(waiting).is(202)["status"], "cancelled");
    assert_eq!(cancel(running).is(202)["cancel_asked"], true);
    let ended = house.wait_for(running);
    assert_eq!(
        (&ended["status"], &ended["error"]["code"]),
        (&json!("cancelled"), &json!("cancelled"))
    );
    assert_eq!(door.waiting(), 1, "the door has let nobody go: ssh was ended");
    for task in [waiting, running] {
        cancel(task).fails(409, "task_ended");
    }
    cancel(999).fails(404, "not_found");
    let never = admin.get(&format!("/api/tasks/{waiting}")).is(200);
    assert_eq!(never["started_at"], Value::Null);
    house
        .somebody("viewer")
        .post(&format!("/api/tasks/{running}/cancel"), &json!({}))
        .fails(403, "forbidden");
}

#[test]
fn a_look_at_a_silent_server_can_be_cancelled_too() {
    let house = House::new();
    let (admin, door) = (house.admin(), Door::new(1));
    door.shut();
    let id = add(&house, "web", &door);
    let look = house.newest_task(id, LOOK);
    eventually("ssh-keyscan is at the door", || (door.waiting() > 0).then_some(()));
    admin.post(&format!("/api/tasks/{look}/cancel"), &json!({})).is(202);
    assert_eq!(house.wait_for(look)["status"], "cancelled");
}

#[test]
fn a_stop_does_not_wait_for_a_silent_server_and_the_work_goes_on_at_the_next_start() {
    let mut house = House::new();
    let door = Door::new(1);
    door.shut();
    let id = add(&house, "web", &door);
    let look = house.newest_task(id, LOOK);
    reaches(&house, look, "running");
    house.stop();
    door.open();
    house.start();
    let done = house.wait_for(look);
    assert_eq!(done["status"], "ok", "{done}");
    let seen = house.admin().get(&format!("/api/servers/{id}")).is(200);
    assert_eq!(seen["host_key_state"], "pending");
}

#[test]
fn a_stop_does_not_wait_for_readers() {
    let mut house = House::new();
    let door = Door::new(1);
    let id = add_pinned(&house, "web", &door);
    door.hold_logins();
    let task = act(&house.admin(), id, "check-ssh");
    eventually("ssh is at the door", || (door.logins() > 0).then_some(()));
    let admin = house.admin();
    let mut stream = admin.stream(&format!("/api/tasks/{task}/stream"), None);
    let polls: Vec<_> = (0..4)
        .map(|_| {
            let who = admin.who().clone();
            let at = house.address;
            thread::spawn(move || {
                Client::new(at)
                    .by(who)
                    .get(&format!("/api/tasks/{task}/logs?after=99&wait=25"))
                    .status
            })
        })
        .collect();
    thread::sleep(Duration::from_millis(300));
    house.stop();
    assert_eq!(stream.rest(), [], "not ended, only interrupted");
    for poll in polls {
        assert!([200, 503].contains(&poll.join().unwrap()));
    }
    door.open();
    house.start();
    assert_eq!(house.wait_for(task)["error"]["code"], "ssh_failed", "it went on");
}

#[test]
fn a_task_that_was_killed_runs_again_but_not_for_ever() {
    let mut house = House::new();
    let door = Door::new(1);
    door.shut();
    let id = add(&house, "web", &door);
    let look = house.newest_task(id, LOOK);
    reaches(&house, look, "running");
    house.kill();
    house.start();
    reaches(&house, look, "running");
    house.kill();
    door.open();
    house.start();
    let done = house.wait_for(look);
    assert_eq!(done["status"], "ok", "killed twice, done at the third try: {done}");

    door.shut();
    let check = act(&house.admin(), id, "check-ssh");
    for _ in 0..3 {
        reaches(&house, check, "running");
        house.kill();
        house.start();
    }
    let given_up = house.wait_for(check);
    assert_eq!(
        (&given_up["status"], &given_up["error"]["code"]),
        (&json!("interrupted"), &json!("interrupted"))
    );
    let end = house.admin().stream(&format!("/api/tasks/{check}/stream"), None).rest();
    assert_eq!(end.last().unwrap().json()["status"], "interrupted");
    door.open();
}

#[test]
fn what_goes_on_when_its_parts_have_ended_does_so_after_a_kill_too() {
    let mut house = House::new();
    let door = Door::new(1);
    let (first, second) = (add_pinned(&house, "first", &door), add_pinned(&house, "second", &door));
    door.shut();
    let wanted = json!({ "action": "updates", "server_ids": [first, second] });
    let all = house.admin().post("/api/actions", &wanted).is(202)["task_id"]
        .as_i64()
        .unwrap();
    let parts = |house: &House| -> Vec<i64> {
        let task = house.admin().get(&format!("/api/tasks/{all}")).is(200);
        let parts = task["children"].as_array().into_iter().flatten();
        parts.map(|part| part["id"].as_i64().unwrap()).collect()
    };
    let canary = eventually("the first part is put in", || parts(&house).first().copied());
    reaches(&house, canary, "running");
    house.kill();
    house.start();
    // Its part runs again; it waits, and has put in nobody else.
    reaches(&house, canary, "running");
    assert_eq!(
        (status(&house, all).as_str(), parts(&house)),
        ("waiting_children", vec![canary])
    );
    door.open();
    // The login fails there: it goes on, sees that, and says which server was left.
    let done = house.wait_for(all);
    assert_eq!(
        (&done["status"], &done["error"]["code"]),
        (&json!("failed"), &json!("stopped_on_red")),
        "{done}"
    );
    let said = done["error"]["message"].as_str().unwrap();
    assert!(said.contains("first") && said.contains("1 of 2"), "{said}");
    assert_eq!(parts(&house), [canary]);
}

#[test]
fn what_was_acknowledged_is_there_after_twenty_power_cuts() {
    let mut house = House::with(Processes::One, &[]);
    let who = house.admin().who().clone();
    let mut acknowledged = Vec::new();
    for cut in 0..20 {
        let at = house.address;
        let who = who.clone();
        let (first, began) = mpsc::channel();
        let writer = thread::spawn(move || {
            let mut names = Vec::new();
            for n in 0.. {
                let name = format!("srv-{cut}-{n}");
                let client = Client::new(at).by(who.clone());
                // The kill may come during a request: without an answer nothing is guaranteed.
                match client.try_post("/api/servers", &server(&name, 9)) {
                    Some(answer) => drop(answer.is(201)),
                    None => break,
                }
                names.push(name);
                let _ = first.send(());
            }
            names
        });
        // Waits for the first one, which may take long on a slow machine.
        began.recv_timeout(PATIENCE).unwrap();
        thread::sleep(Duration::from_millis(7 * cut));
        house.kill();
        acknowledged.extend(writer.join().unwrap());
        house.start();
    }
    assert!(acknowledged.len() >= 20, "{}", acknowledged.len());
    let admin = house.admin();
    for name in &acknowledged {
        let found = admin.get(&format!("/api/servers?q={name}")).is(200);
        let names: Vec<_> = found["items"].as_array().unwrap().iter().map(|s| &s["name"]).collect();
        assert!(names.contains(&&json!(name)), "{name} is lost");
    }
    for file in ["lamplighter.db", "metrics.db"] {
        let good: String = house
            .database(file)
            .query_row("PRAGMA integrity_check", [], |r| r.get(0))
            .unwrap();
        assert_eq!(good, "ok");
    }
    eventually("no task runs for ever", || {
        let open = admin.get("/api/tasks?status=running").is(200)["total"]
            .as_i64()
            .unwrap()
            + admin.get("/api/tasks?status=queued").is(200)["total"].as_i64().unwrap();
        (open == 0).then_some(())
    });
}

#[test]
fn signing_out_ends_the_live_views() {
    let house = House::new();
    let door = Door::new(1);
    let id = add_pinned(&house, "web", &door);
    door.hold_logins();
    let task = act(&house.admin(), id, "check-ssh");
    let browser = house
        .client()
        .by(Who::cookie(&house.sign_in(ADMIN, &house.password), house.address));
    let mut stream = browser.stream(&format!("/api/tasks/{task}/stream"), None);
    assert_eq!(status(&house, task), "running");
    browser.post("/api/auth/logout", &json!({})).is(204);
    door.open();
    house.wait_for(task);
    assert!(
        stream.rest().iter().all(|e| e.name != "end"),
        "it ended before the task did"
    );
}

#[test]
fn a_server_that_talks_without_end_fills_neither_disk_nor_memory() {
    let folder = Folder::new();
    let db = Arc::new(Db::open(&folder.path().join("a.db"), Durability::Normal, schema::STATE).unwrap());
    let new = NewTask {
        kind: LOOK,
        target: ("server", 1, "web"),
        input: json!({}),
    };
    let by = Allowed::<Run, Tasks>::by_daemon();
    let task = db.write(|tx| queue::enqueue(tx, &Wake::new(), &new, by)).unwrap();
    let flood = "y".repeat(16 << 10);
    // Twice: a task that runs again goes on where it stopped.
    for _ in 0..2 {
        let log = Log::start(db.clone(), Wake::new(), task).unwrap();
        for _ in 0..800 {
            log.line("info", "ssh", "stdout", &flood);
        }
        log.say("the end");
    }
    let lines = db.read(|conn| log::after(conn, task, 0, 100_000)).unwrap();
    let bytes: usize = lines.iter().map(|l| l.line.len()).sum();
    assert!(bytes as i64 <= BYTES_MAX + flood.len() as i64 + 1_000, "{bytes}");
    let told: Vec<_> = lines.iter().filter(|l| l.source == "task").map(|l| &*l.line).collect();
    assert!(
        told.len() == 3 && told[1].contains("full") && told[2] == "the end",
        "{told:?}"
    );
}

#[test]
fn deploys_that_share_a_server_wait_for_each_other_and_others_do_not() {
    let house = House::new();
    let (admin, doors) = (house.admin(), [Door::new(1), Door::new(2)]);
    doors.iter().for_each(Door::hold_logins);
    let servers: Vec<i64> = (0..2)
        .map(|n| add_pinned(&house, &format!("edge-{n}"), &doors[n]))
        .collect();
    let upstream = json!({ "name": "web", "targets": ["10.0.0.7:80"] });
    let upstream = admin.post("/api/upstreams", &upstream).is(201)["id"].clone();
    let deploy = |name: &str, servers: &[i64]| {
        let wanted = json!({ "domain": name, "server_ids": servers, "upstream_id": upstream, "preflight": "off" });
        let domain = admin.post("/api/domains", &wanted).is(201)["id"].clone();
        let path = format!("/api/domains/{domain}/deploy");
        admin.post(&path, &json!({})).is(202)["task_id"].as_i64().unwrap()
    };
    let (one, other) = (deploy("a.example", &servers[..1]), deploy("b.example", &servers[1..]));
    reaches(&house, one, "running");
    reaches(&house, other, "running");
    eventually("both are at their servers", || {
        doors.iter().all(|door| door.logins() > 0).then_some(())
    });
    let both = deploy("c.example", &servers);
    let shown = || admin.get(&format!("/api/tasks/{both}")).is(200);
    eventually("it waits for them", || {
        let waits = shown()["waiting_for"].clone();
        let ids: Vec<_> = waits["tasks"].as_array()?.iter().map(|t| t["id"].as_i64()).collect();
        (waits["reason"] == "tasks" && ids == [Some(one), Some(other)]).then_some(())
    });
    assert_eq!(shown()["status"], "queued");
    let browser = house
        .client()
        .by(Who::cookie(&house.sign_in(ADMIN, &house.password), house.address));
    let page = browser.get(&format!("/tasks/{both}")).text();
    assert!(
        page.contains("These tasks work on") && page.contains(&format!("/tasks/{other}")),
        "{page}"
    );

    doors.iter().for_each(Door::open);
    let ended = [one, other, both].map(|id| house.wait_for(id));
    let at = |task: &Value, field: &str| task[field].as_str().unwrap().to_string();
    for before in &ended[..2] {
        assert!(at(before, "finished_at") <= at(&ended[2], "started_at"), "{ended:?}");
    }
    assert_eq!(ended[2]["waiting_for"], Value::Null);
}

/// A task that another person is to approve, as a feature puts it in with these terms.
fn to_be_approved(house: &House, server: i64, by: &str) -> i64 {
    let db = house.database("lamplighter.db");
    let sql = "INSERT INTO tasks (kind, target_type, target_id, target_name, input, status, approve_until, created_by,
               request_id, created_at) VALUES (?1, 'server', ?2, 'web', '{}', 'waiting_approval', 9000000000000, ?3, 'r', 1)";
    db.execute(sql, rusqlite::params![LOOK, server, by]).unwrap();
    db.last_insert_rowid()
}

#[test]
fn a_task_is_approved_or_refused_by_another_person() {
    let (house, door) = (House::new(), Door::new(1));
    let (admin, server) = (house.admin(), add(&house, "web", &door));
    let looked = admin.get("/api/tasks").is(200)["items"].as_array().unwrap().clone();
    looked
        .iter()
        .for_each(|task| drop(house.wait_for(task["id"].as_i64().unwrap())));
    let (operator, viewer) = (house.somebody("operator"), house.somebody("viewer"));

    let id = to_be_approved(&house, server, "operator");
    let told = admin.get(&format!("/api/tasks/{id}")).is(200);
    assert_eq!(
        (&told["status"], &told["waiting_for"]["reason"], &told["created_by"]),
        (&json!("waiting_approval"), &json!("approval"), &json!("operator"))
    );
    let approve = format!("/api/tasks/{id}/approve");
    viewer.post(&approve, &json!({})).fails(403, "forbidden");
    operator.post(&approve, &json!({})).fails(403, "own_approval");
    let token = admin
        .post("/api/tokens", &json!({ "name": "program", "role": "operator" }))
        .is(201)["token"]
        .clone();
    let program = house.client().by(Who::Bearer(token.as_str().unwrap().into()));
    program.post(&approve, &json!({})).fails(403, "token_may_not");
    let page = |who: &Client| who.get(&format!("/tasks/{id}")).text();
    let answer = house.sign_in(ADMIN, &house.password);
    let browser = house.client().by(Who::cookie(&answer, house.address));
    let shown = page(&browser);
    assert!(
        shown.contains("operator has asked for it") && shown.contains(&format!("/tasks/{id}/approve\"")),
        "{shown}"
    );
    assert!(!page(&viewer).contains("/approve\"") && !page(&operator).contains("/approve\""));
    assert_eq!(admin.post(&approve, &json!({})).is(200)["decided_by"], ADMIN);
    assert_ne!(house.wait_for(id)["status"], "cancelled");
    admin.post(&approve, &json!({})).fails(409, "task_not_waiting");

    // By the page's form, with a reason.
    let id = to_be_approved(&house, server, "operator");
    let refuse = format!("/tasks/{id}/refuse");
    assert_eq!(browser.form(&refuse, "reason=not+at+noon").status, 303);
    let told = admin.get(&format!("/api/tasks/{id}")).is(200);
    assert_eq!(
        (&told["status"], &told["error"]["code"]),
        (&json!("cancelled"), &json!("approval_refused"))
    );
    assert!(told["error"]["message"].as_str().unwrap().ends_with("not at noon"));
    let audited = |action: &str| {
        let sql = "SELECT count(*) FROM audit WHERE action = ?1";
        let db = house.database("lamplighter.db");
        db.query_row(sql, [action], |r| r.get::<_, i64>(0)).unwrap()
    };
    assert_eq!((audited("task.approve"), audited("task.refuse")), (1, 1));
}

#[test]
fn what_nobody_waits_for_is_tried_again_when_a_server_does_not_answer() {
    let (house, door) = (House::new(), Door::new(1));
    let server = add_pinned(&house, "web", &door);
    drop(door);
    let db = house.database("lamplighter.db");
    let sql = "INSERT INTO tasks (kind, target_type, target_id, target_name, input, status, created_by, request_id, created_at)
               VALUES ('server.follow_names', 'server', ?1, 'web', '{}', 'queued', 'system', 'r', 1)";
    db.execute(sql, [server]).unwrap();
    let id = db.last_insert_rowid();
    let task = eventually("the first try", || {
        let task = house.admin().get(&format!("/api/tasks/{id}")).is(200);
        (task["attempt"] == 1 && task["status"] != "running").then_some(task)
    });
    assert_eq!(
        (&task["status"], &task["waiting_for"]["reason"]),
        (&json!("queued"), &json!("retry")),
        "{task}"
    );
    assert!(task["error"]["code"].as_str().unwrap().starts_with("ssh_"), "{task}");
    assert!(task["waiting_for"]["until"].is_string());
    house
        .admin()
        .post(&format!("/api/tasks/{id}/cancel"), &json!({}))
        .is(202);
}
