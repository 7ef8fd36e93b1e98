//! `run-api` and `run-scheduler` as two processes on one data folder behave as one.

use crate::common;

use common::*;
use serde_json::json;
use std::os::unix::net::UnixDatagram;
use std::thread;
use std::time::{Duration, Instant};

fn add_pinned(house: &House, door: &Door) -> i64 {
    let mut wanted = server("web", door.port);
    wanted["host_key"] = json!(door.key_line());
    house.admin().post("/api/servers", &wanted).is(201)["id"]
        .as_i64()
        .unwrap()
}

fn act(house: &House, server: i64, action: &str) -> i64 {
    let path = format!("/api/servers/{server}/{action}");
    house.admin().post(&path, &json!({})).is(202)["task_id"]
        .as_i64()
        .unwrap()
}

/// A running task with one log line that waits for its login.
fn task_at_the_door(house: &House, door: &Door) -> i64 {
    let id = add_pinned(house, door);
    door.rekey(2);
    house.wait_for(act(house, id, "check-ssh"));
    door.rekey(1);
    door.hold_logins();
    let before = door.logins();
    let task = act(house, id, "check-ssh");
    eventually("ssh is at the door", || (door.logins() > before).then_some(()));
    task
}

#[test]
fn an_action_runs_in_the_scheduler_and_its_log_is_live_in_the_api() {
    let house = House::with(Processes::Two, &[]);
    let door = Door::new(1);
    let task = task_at_the_door(&house, &door);
    let mut stream = house.admin().stream(&format!("/api/tasks/{task}/stream"), None);
    let first = stream.next(PATIENCE).expect("a line while the task runs");
    assert!(first.data.contains("accepted host key again"), "{first:?}");
    let running = house.admin().get(&format!("/api/tasks/{task}")).is(200);
    assert_eq!(running["status"], "running");
    // The other process writes; readers of this one are notified.
    let opened = Instant::now();
    door.open();
    let second = stream.next(PATIENCE).expect("the failure's line");
    assert!(
        opened.elapsed() < Duration::from_secs(5),
        "a hint that is lost costs a heartbeat of 15 s"
    );
    assert_eq!((second.id, &*second.name), (Some(2), "log"));
    assert_eq!(stream.rest().last().unwrap().name, "end");
    let (api, scheduler) = (house.daemons[0].said(), house.daemons[1].said());
    assert!(
        scheduler.contains("task failed") && !api.contains("task failed"),
        "{api}\n{scheduler}"
    );
    assert!(!scheduler.contains("address=http"), "only one listens");
}

#[test]
fn a_cancel_reaches_the_other_process() {
    let house = House::with(Processes::Two, &[]);
    let door = Door::new(1);
    let task = task_at_the_door(&house, &door);
    house
        .admin()
        .post(&format!("/api/tasks/{task}/cancel"), &json!({}))
        .is(202);
    assert_eq!(house.wait_for(task)["status"], "cancelled");
}

#[test]
fn the_api_may_be_restarted_or_killed_in_the_middle_of_a_task() {
    for properly in [true, false] {
        let mut house = House::with(Processes::Two, &[]);
        let door = Door::new(1);
        let task = task_at_the_door(&house, &door);
        let logins = door.logins();
        let path = format!("/api/tasks/{task}/stream");
        let mut stream = house.admin().stream(&path, None);
        let first = stream.next(PATIENCE).unwrap();
        house.restart_first(properly);
        assert_eq!(stream.rest(), [], "no end was told: the browser comes back");
        let mut again = house.admin().stream(&path, first.id);
        door.open();
        let rest = again.rest();
        assert_eq!((rest[0].id, &*rest.last().unwrap().name), (Some(2), "end"), "{rest:?}");
        let done = house.wait_for(task);
        assert_eq!(done["error"]["code"], "ssh_failed", "as without a restart");
        assert_eq!(door.logins(), logins, "nobody had to try again");
    }
}

#[test]
fn while_the_scheduler_is_away_work_waits_and_health_says_so() {
    let mut house = House::with(Processes::Two, &[]);
    let door = Door::new(1);
    eventually("a first beat", || {
        (house.client().get("/health/scheduler").status == 200).then_some(())
    });
    let mut scheduler = house.daemons.pop().unwrap();
    assert!(scheduler.stop().success());
    let id = add_pinned(&house, &door);
    let task = act(&house, id, "check-ssh");
    thread::sleep(Duration::from_millis(300));
    let waiting = house.admin().get(&format!("/api/tasks/{task}")).is(200);
    assert_eq!(waiting["status"], "queued");
    house.client().get("/health").is(200);
    let dir = house.dir().to_string();
    let mut scheduler = Daemon::start(lamplighter(&["run-scheduler", "--data-dir", &dir]));
    scheduler.word_after("daemon ready");
    house.daemons.push(scheduler);
    assert_eq!(house.wait_for(task)["status"], "failed", "nobody opens that door");
}

#[test]
fn a_second_of_a_kind_is_refused_and_harms_nobody() {
    let house = House::with(Processes::Two, &[]);
    let door = Door::new(1);
    let task = task_at_the_door(&house, &door);
    for command in ["run-scheduler", "run-api", "serve", "dev"] {
        let mut second = lamplighter(&[command, "--data-dir", house.dir()]);
        second.env("LAMPLIGHTER_LISTEN", "127.0.0.1:0");
        let second = finish(second, "");
        assert_eq!(second.status.code(), Some(75), "{command}: {}", said(&second));
        assert!(said(&second).contains("Stop it first"), "{}", said(&second));
    }
    for command in ["status", "init-db", "migrate"] {
        let beside = run(&[command, "--data-dir", house.dir()]);
        assert!(
            beside.status.code().is_some_and(|c| c < 5),
            "{command}: {}",
            said(&beside)
        );
    }
    house.account("beside", "viewer");
    house.client().get("/health").is(200);
    let running = house.admin().get(&format!("/api/tasks/{task}")).is(200);
    assert_eq!(running["status"], "running");
    door.open();
    let done = house.wait_for(task);
    assert_eq!(done["error"]["code"], "ssh_failed", "as if nobody had come: {done}");
}

#[test]
fn a_daemon_that_cannot_listen_begins_no_work() {
    let mut house = House::with(Processes::ApiOnly, &[]);
    let door = Door::new(1);
    let id = add_pinned(&house, &door);
    let task = act(&house, id, "check-ssh");
    let taken = house.address.to_string();
    house.stop();
    let _holder = std::net::TcpListener::bind(&taken).unwrap();
    for _ in 0..4 {
        let failed = run(&["serve", "--data-dir", house.dir(), "--listen", &taken]);
        assert_eq!(failed.status.code(), Some(78), "{}", said(&failed));
        assert!(said(&failed).contains("Cannot listen on"), "{}", said(&failed));
    }
    drop(_holder);
    let mut whole = Daemon::start(lamplighter(&["serve", "--data-dir", house.dir(), "--listen", &taken]));
    whole.word_after("address=http://");
    house.daemons.push(whole);
    assert_eq!(
        house.wait_for(task)["error"]["code"],
        "ssh_failed",
        "not given up as interrupted"
    );
}

#[test]
fn a_daemon_whose_door_is_dead_ends_to_be_started_again() {
    let mut house = House::new();
    // No more file descriptors: no connection is accepted, and the daemon cannot reach its own inner server.
    let pid = house.daemons[0].pid().to_string();
    let limited = std::process::Command::new("prlimit")
        .args(["--pid", &pid, "--nofile=8:8"])
        .status()
        .unwrap();
    assert!(limited.success());
    // Three failed checks, 10 s apart.
    let ended = house.daemons[0].wait(2 * PATIENCE);
    assert_eq!(ended.code(), Some(70), "{}", house.daemons[0].said());
    assert!(
        house.daemons[0]
            .said()
            .contains("giving up; the service manager restarts the daemon")
    );
    house.kill();
    house.start();
    house.client().get("/healthz").is(200);
}

#[test]
fn the_compiler_is_told_to_name_no_folder_of_the_machine() {
    let home = Folder::new();
    let folder = home.path().join("registry/src/index.example-0123");
    std::fs::create_dir_all(&folder).unwrap();
    let wrapper = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/rustc");
    let asked = std::process::Command::new(wrapper)
        .args(["echo", "--crate-name", "a b"])
        .env("CARGO_HOME", home.path())
        .output()
        .unwrap();
    let wanted = format!("--crate-name a b --remap-path-prefix {}/=\n", folder.display());
    assert_eq!(String::from_utf8(asked.stdout).unwrap(), wanted);
}

/// What a service manager would hear.
struct Manager {
    socket: UnixDatagram,
    folder: Folder,
}

impl Manager {
    fn new() -> Manager {
        let folder = Folder::new();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        Manager { socket, folder }
    }

    fn path(&self) -> String {
        self.folder.path().join("notify").to_str().unwrap().into()
    }

    /// The next message; nothing when none comes in that time.
    fn hears(&self, within: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(within)).unwrap();
        let mut buffer = [0; 200];
        let length = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    fn forget(&self) {
        while self.hears(Duration::from_millis(1)).is_some() {}
    }
}

#[test]
fn the_service_manager_is_told_and_hears_the_watchdog_only_while_writes_reach_the_disk() {
    for rooms in [Processes::One, Processes::Two] {
        let manager = Manager::new();
        let path = manager.path();
        let mut house = House::with(rooms, &[("NOTIFY_SOCKET", &path), ("WATCHDOG_USEC", "900000")]);
        assert_eq!(manager.hears(PATIENCE).as_deref(), Some("READY=1"));
        let after = |word: &str| eventually(word, || (manager.hears(PATIENCE)? == word).then_some(()));
        after("WATCHDOG=1");
        // Somebody holds the database for longer than a writer waits.
        let db = house.database("lamplighter.db");
        db.execute_batch("BEGIN IMMEDIATE").unwrap();
        thread::sleep(Duration::from_millis(400)); // a round that was just good
        manager.forget();
        assert_eq!(manager.hears(Duration::from_secs(3)), None, "no write, no word");
        db.execute_batch("ROLLBACK").unwrap();
        after("WATCHDOG=1");
        house.stop();
        after("STOPPING=1");
    }
}
