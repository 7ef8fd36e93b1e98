//! What happens to a busy house when its machine does not behave: it is killed, its disk cannot be written, its clock
//! jumps, files or threads are used up, it is asked to stop in the middle of everything. Longer by `tests/long proofs`.

use crate::health::SmallDisk;
use crate::{common, fake};

use common::shim::Shim;
use common::*;
use fake::Fake;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

fn integrity(house: &House) {
    for name in ["lamplighter.db", "metrics.db"] {
        let db = house.database(name);
        let said: String = db.query_row("PRAGMA integrity_check", [], |r| r.get(0)).unwrap();
        assert_eq!(said, "ok", "{name}");
    }
}

fn count(house: &House, sql: &str) -> i64 {
    house
        .database("lamplighter.db")
        .query_row(sql, [], |r| r.get(0))
        .unwrap()
}

/// Names of the files in the runtime folder, without those of the folders there: each process has another.
fn runtime_files(house: &House) -> Vec<PathBuf> {
    let run = house.folder.path().join("run");
    let name = |path: &PathBuf| {
        let inside = path.strip_prefix(&run).unwrap();
        let parts = inside.components().count();
        inside.components().skip(usize::from(parts > 1)).collect()
    };
    let mut names: Vec<PathBuf> = files(&run).iter().map(name).collect();
    names.sort();
    names
}

fn percentile(of: &mut [Duration], part: usize) -> Duration {
    of.sort();
    of[(of.len() - 1) * part / 100]
}

#[test]
fn a_house_that_is_killed_at_any_moment_goes_on_and_has_lost_nothing() {
    let times = rounds(3);
    let mut dice = Dice::new(21);
    let door = Door::new(1);
    let glances = Fake::new(|_, peer| {
        let body = r#"{"cpu":{"total":7.0},"mem":{"percent":40.0}}"#;
        let _ = peer.write_all(&fake::http("200 OK", "application/json", body.as_bytes()));
    });
    let mut house = House::new();
    house
        .admin()
        .put(
            "/api/settings",
            &json!({ "backups.at": "never", "backups.rehearse_days": 0, "backups.keep": 2 }),
        )
        .is(200);
    let mut wanted = server("web", door.port);
    wanted["host_key"] = json!(door.key_line());
    wanted["glances_port"] = json!(glances.port);
    wanted["poll_interval_s"] = json!(5);
    let id = house.admin().post("/api/servers", &wanted).is(201)["id"].clone();
    let at_rest = runtime_files(&house);
    let acknowledged = Mutex::new(BTreeSet::new());
    let number = AtomicUsize::new(0);
    let mut starts = Vec::new();
    for round in 0..times {
        let who = house.admin().who().clone();
        let (at, dir, password) = (house.address, house.dir().to_string(), house.password.clone());
        let alone = Duration::from_millis(20 + dice.roll(600) as u64);
        let run = house.folder.path().join("run");
        let left = thread::scope(|scope| {
            let (acknowledged, number, who, id) = (&acknowledged, &number, &who, &id);
            let client = move || Client::new(at).by(who.clone());
            for _ in 0..2 {
                scope.spawn(move || {
                    loop {
                        let name = format!("g{}", number.fetch_add(1, Ordering::Relaxed));
                        match client().try_post("/api/groups", &json!({ "name": name })) {
                            Some(answer) if answer.status == 201 => acknowledged.lock().unwrap().insert(name),
                            Some(answer) => panic!("{}", answer.text()),
                            None => return,
                        };
                    }
                });
            }
            scope.spawn(move || {
                let login = json!({ "login": ADMIN, "password": password });
                while Client::new(at).try_post("/api/auth/login", &login).is_some() {}
            });
            scope.spawn(move || {
                let path = format!("/api/servers/{id}/check-ssh");
                while client().try_post(&path, &json!({})).is_some() {
                    thread::sleep(Duration::from_millis(50));
                }
            });
            scope.spawn(move || while round % 2 == 0 && client().try_post("/api/backups", &json!({})).is_some() {});
            let mut rotate = (round % 3 == 0).then(|| {
                let mut command = lamplighter(&["key-rotate", "--data-dir", &dir]);
                command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
            });
            thread::sleep(alone);
            let left = working_in(&run);
            house.daemons.iter_mut().for_each(Daemon::kill);
            if let Some(rotate) = &mut rotate {
                rotate.kill().unwrap();
                rotate.wait().unwrap();
            }
            left
        });
        house.kill();
        let began = Instant::now();
        house.start();
        house.client().get("/healthz").is(200);
        starts.push(began.elapsed());
        integrity(&house);
        // What it had started is gone.
        eventually("no orphan", || {
            let now = working_in(&run);
            (!left.iter().any(|process| now.contains(process))).then_some(())
        });
        let names: BTreeSet<String> = {
            let db = house.database("lamplighter.db");
            let mut all = db.prepare("SELECT name FROM groups").unwrap();
            all.query_map([], |r| r.get(0)).unwrap().map(Result::unwrap).collect()
        };
        let lost: Vec<_> = acknowledged.lock().unwrap().difference(&names).cloned().collect();
        assert_eq!(lost, [""; 0], "round {round}");
        // A change, its event and its row of the audit are there together.
        let audited = "SELECT count(*) FROM audit WHERE action = 'group.create'";
        let told = "SELECT count(*) FROM events WHERE kind = 'group.created'";
        assert_eq!([count(&house, audited), count(&house, told)], [names.len() as i64; 2]);
    }
    eventually("no task without an owner, and nothing left of what was killed", || {
        let running = count(
            &house,
            "SELECT count(*) FROM tasks WHERE status IN ('running', 'queued')",
        );
        house.last_try();
        (running == 0 && runtime_files(&house) == at_rest).then_some(())
    });
    // A whole backup takes away what is left of the others, and what was made last goes on being known.
    let task = house.admin().post("/api/backups", &json!({})).is(202)["task_id"]
        .as_i64()
        .unwrap();
    assert_eq!(house.wait_for(task)["status"], "ok");
    let in_backups = fs::read_dir(house.folder.path().join("backups")).unwrap();
    let names: Vec<_> = in_backups
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(
        names.len() == 2 && !names.iter().any(|name| name.starts_with('.')),
        "two are kept: {names:?}"
    );
    let (median, slowest) = (percentile(&mut starts, 50), percentile(&mut starts, 100));
    eprintln!(
        "killed {times} times: {} writes were acknowledged, none is lost; started again in {median:?}, at most {slowest:?}",
        acknowledged.lock().unwrap().len(),
    );
    assert!(!acknowledged.lock().unwrap().is_empty());
    assert!(median < Duration::from_secs(2), "{median:?}");
}

/// Statuses of a page, an answer of the API and a change.
fn tried(house: &House) -> [u16; 3] {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let admin = house.admin();
    let name = format!("tried-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    [
        house.client().get("/login").status,
        admin.get("/api/groups").status,
        admin.post("/api/groups", &json!({ "name": name })).status,
    ]
}

/// A house that runs within a shim from its next start on.
fn shimmed() -> (Shim, House) {
    let shim = Shim::new();
    let mut house = House::empty(Processes::One, &[]);
    house.password = house.account(ADMIN, "admin");
    shim.around(&mut house);
    (shim, house)
}

#[test]
fn a_disk_that_becomes_read_only_is_read_and_written_again_when_it_can_be() {
    let (shim, mut house) = shimmed();
    house.start();
    assert_eq!(tried(&house), [200, 200, 201]);
    shim.switch_on("readonly", "");
    for _ in 0..3 {
        assert_eq!(tried(&house), [200, 200, 503]);
    }
    let refused = house.admin().post("/api/groups", &json!({ "name": "refused" }));
    assert_eq!(refused.is(503)["error_code"], "database_failing");
    let told = house.admin().get("/health").json();
    assert_ne!(told["database"], "ok", "{told}");
    shim.switch_off("readonly");
    let began = Instant::now();
    eventually("it writes again", || (tried(&house)[2] == 201).then_some(()));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    eventually("it is well", || {
        let told = house.admin().get("/health").json();
        (told["database"] == "ok").then_some(())
    });
    integrity(&house);
    assert_eq!(count(&house, "SELECT count(*) FROM groups WHERE name = 'refused'"), 0);
}

/// ext4 in a file. Filled to the last byte it is read, and written again once there is room. When its errors make the
/// kernel stop all writing, it is read until it is repaired, and what was acknowledged is there.
#[test]
#[ignore = "mounts a real file system: tests/long proofs"]
fn a_real_disk_that_is_full_or_breaks_loses_nothing_that_was_acknowledged() {
    const BINARY: &str = env!("CARGO_BIN_EXE_lamplighter");
    let outside = Folder::new();
    let file = outside.path().join("disk");
    let Some(mut disk) = SmallDisk::ext4(&file, 96) else {
        return;
    };
    let dir = disk.dir.path().display().to_string();
    let password = "a long enough password";
    disk.run(&format!("{BINARY} init-db --data-dir {dir}/d"), "init");
    let account = format!("{BINARY} create-admin --data-dir {dir}/d --login {ADMIN} --password-file -");
    disk.run(&format!("echo '{password}' | {account}"), "account");
    let serve = |disk: &mut SmallDisk| {
        let before = disk.shell.said().len();
        let line = format!("{BINARY} serve --data-dir {dir}/d --listen 127.0.0.1:0 & pid=$!");
        disk.shell.tell(Some(&line));
        eventually("it listens", || {
            let said = disk.shell.said();
            let (_, rest) = said[before..].split_once("address=http://")?;
            rest.split_whitespace().next()?.parse().ok()
        })
    };
    let client = |at| {
        let login = json!({ "login": ADMIN, "password": password });
        Client::new(at).by(Who::bearer(&Client::new(at).post("/api/auth/login", &login)))
    };
    let mut acknowledged = Vec::new();
    let mut write = |admin: &Client| {
        let name = format!("group-{}", acknowledged.len());
        let status = admin.post("/api/groups", &json!({ "name": name })).status;
        if status == 201 {
            acknowledged.push(name);
        }
        status
    };
    let at = serve(&mut disk);
    let admin = client(at);
    (0..20).for_each(|_| assert_eq!(write(&admin), 201));

    disk.run(&format!("dd if=/dev/zero of={dir}/ballast bs=4k 2>/dev/null || true; dd if=/dev/zero of={dir}/rest bs=1 2>/dev/null || true"), "fill");
    eventually("it is refused", || (write(&admin) == 503).then_some(()));
    for _ in 0..5 {
        assert_eq!([admin.get("/api/groups").status, write(&admin)], [200, 503]);
    }
    client(at).get("/api/servers").is(200); // somebody signs in
    disk.run(&format!("rm {dir}/ballast {dir}/rest"), "room");
    let began = Instant::now();
    eventually("it writes again", || (write(&admin) == 201).then_some(()));
    let after_full = began.elapsed();

    (0..20).for_each(|_| assert_eq!(write(&admin), 201));
    disk.run(&format!("mount -o remount,abort {dir}"), "broken");
    eventually("it is refused again", || (write(&admin) == 503).then_some(()));
    for _ in 0..5 {
        let statuses = [
            admin.get("/api/groups").status,
            admin.get("/api/servers").status,
            write(&admin),
        ];
        assert_eq!(statuses, [200, 200, 503]);
    }
    let told = admin.get("/health").json();
    assert_ne!(told["database"], "ok", "{told}");
    disk.run("kill -TERM $pid; wait $pid || true", "stopped");
    disk.run(
        &format!(
            "umount {dir} && {{ e2fsck -fy {} >/dev/null; test $? -le 1; }}",
            file.display()
        ),
        "repaired",
    );
    disk.run(&format!("mount -o loop {} {dir}", file.display()), "again");
    let at = serve(&mut disk);
    let admin = client(at);
    assert_eq!(write(&admin), 201);
    let all = admin.get("/api/groups?limit=100").is(200);
    let names: BTreeSet<&str> = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|g| g["name"].as_str())
        .collect();
    let lost: Vec<_> = acknowledged.iter().filter(|name| !names.contains(&***name)).collect();
    assert!(lost.is_empty(), "{lost:?}");
    disk.run(&format!("{BINARY} verify-audit --data-dir {dir}/d"), "checked");
    disk.run("kill -TERM $pid; wait $pid", "stopped for good");
    disk.run(
        &format!("{BINARY} doctor --data-dir {dir}/d | grep -q '^ok *Integrity'"),
        "sound",
    );
    eprintln!(
        "a real disk: {} writes acknowledged, none lost; written again {after_full:?} after there was room",
        names.len()
    );
}

#[test]
fn threads_that_cannot_be_made_are_missed_and_come_back() {
    let (shim, mut house) = shimmed();
    house.start();
    assert_eq!(tried(&house), [200, 200, 201]);
    let door = Door::new(1);
    let mut wanted = server("web", door.port);
    wanted["host_key"] = json!(door.key_line());
    let admin = house.admin(); // and its connection, which has its thread
    let id = admin.post("/api/servers", &wanted).is(201)["id"].clone();
    shim.switch_on("no-threads", "");
    // Whatever needs a thread: connections, streams, a task with its ssh.
    let task = admin.post(&format!("/api/servers/{id}/check-ssh"), &json!({})).is(202)["task_id"].as_i64();
    let crowd: Vec<_> = (0..50).map(|_| TcpStream::connect(house.address).unwrap()).collect();
    for mut one in &crowd {
        let _ = one.write_all(b"GET /login HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    }
    thread::sleep(Duration::from_secs(2)); // as long as a pause of whatever is tried again
    drop(crowd);
    shim.switch_off("no-threads");
    let began = Instant::now();
    eventually("it is there again", || (tried(&house) == [200, 200, 201]).then_some(()));
    let took = began.elapsed();
    eprintln!("threads used up: there again after {took:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(house.daemons[0].is_running());
    let ended = house.wait_for(task.unwrap());
    assert_eq!(ended["status"], "failed", "nobody opens that door: {ended}");
}

fn limit_files(house: &House, soft: &str) {
    let pid = house.daemons[0].pid().to_string();
    let set = Command::new("prlimit")
        .args(["--pid", &pid, &format!("--nofile={soft}:")])
        .status();
    assert!(set.unwrap().success());
}

#[test]
fn files_that_cannot_be_opened_are_missed_and_come_back() {
    let house = House::new();
    assert_eq!(tried(&house), [200, 200, 201]);
    limit_files(&house, "8");
    let until = Instant::now() + Duration::from_secs(3);
    let mut refused = 0;
    while Instant::now() < until {
        // It has no file for a new connection: nothing is answered, or not in time.
        let mut one = TcpStream::connect(house.address).unwrap();
        one.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let _ = one.write_all(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
        refused += i32::from(!std::io::Read::read(&mut one, &mut [0; 20]).is_ok_and(|n| n > 0));
    }
    assert!(refused > 0, "it had files left");
    limit_files(&house, "1024");
    let began = Instant::now();
    eventually("it is there again", || {
        let answer = house.client().with("Connection", "close").get("/healthz");
        (answer.status == 200 && tried(&house) == [200, 200, 201]).then_some(())
    });
    let took = began.elapsed();
    eprintln!("files used up: there again after {took:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    integrity(&house);
}

#[test]
#[ignore = "waits for whom it gives up: tests/long proofs"]
fn a_stop_in_the_middle_of_everything_takes_ten_seconds_at_most() {
    // A Glances that never answers, and a server that keeps a login waiting.
    let silent = Fake::new(|_, _| thread::sleep(Duration::from_secs(120)));
    let door = Door::new(1);
    let mut house = House::new();
    let mut wanted = server("web", door.port);
    wanted["host_key"] = json!(door.key_line());
    wanted["glances_port"] = json!(silent.port);
    wanted["poll_interval_s"] = json!(5);
    let id = house.admin().post("/api/servers", &wanted).is(201)["id"].clone();
    door.hold_logins();
    let before = door.logins();
    house
        .admin()
        .post(&format!("/api/servers/{id}/check-ssh"), &json!({}))
        .is(202);
    eventually("ssh is at the door", || (door.logins() > before).then_some(()));
    eventually("it is asked", || (!silent.seen().is_empty()).then_some(()));
    let admin = house.admin();
    let mut streams: Vec<Sse> = (0..8)
        .map(|_| admin.stream("/api/live?of=/api/servers%3Flimit=200", None))
        .collect();
    streams.iter_mut().for_each(|stream| drop(stream.next(PATIENCE)));
    // Half a request, and a reader who does not read.
    let mut slow: Vec<TcpStream> = (0..8).map(|_| TcpStream::connect(house.address).unwrap()).collect();
    for one in &mut slow {
        let head = "POST /api/auth/login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 600\r\n\r\n{";
        one.write_all(head.as_bytes()).unwrap();
    }
    // A handler that waits for another machine, and a backup.
    admin
        .put("/api/settings", &json!({ "messages.networks": "127.0.0.0/8" }))
        .is(200);
    let url = format!("http://127.0.0.1:{}/", silent.port);
    let hook = admin.post(
        "/api/notifications",
        &json!({ "type": "webhook", "name": "hook", "url": url }),
    );
    let test = format!("/api/notifications/{}/test", hook.is(201)["id"]);
    let (at, who, asked) = (house.address, admin.who().clone(), silent.seen().len());
    let waits = thread::spawn(move || drop(Client::new(at).by(who).try_post(&test, &json!({}))));
    eventually("the hook is asked", || (silent.seen().len() > asked).then_some(()));
    admin.post("/api/backups", &json!({})).is(202);
    let began = Instant::now();
    house.stop();
    let took = began.elapsed();
    eprintln!("a busy stop took {took:?}");
    waits.join().unwrap();
    assert!(took <= Duration::from_secs(10), "{took:?}");
    house.start();
    integrity(&house);
    door.open();
}

fn cpu_ms(house: &House) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", house.daemons[0].pid())).unwrap();
    let rest = stat.rsplit_once(") ").unwrap().1;
    let ticks = |n: usize| rest.split(' ').nth(n).unwrap().parse::<u64>().unwrap();
    (ticks(11) + ticks(12)) * 10 // user and system, of 10 ms each
}

#[test]
#[ignore = "takes minutes: tests/long proofs"]
fn a_clock_that_jumps_a_day_starts_no_storm() {
    const DAY: i64 = 86_400;
    let (shim, mut house) = shimmed();
    shim.switch_on("clock", "0");
    house.start();
    let admin = house.admin();
    let door = Door::new(1);
    let mut wanted = server("web", door.port);
    wanted["host_key"] = json!(door.key_line());
    let id = admin.post("/api/servers", &wanted).is(201)["id"].clone();
    // A backup each day at a time that has just passed, so that the next one is a day away; and a check each minute.
    let now = lamplighter::base::clock::rfc3339(lamplighter::base::clock::now());
    let daily = format!("{} {} * * *", &now[14..16], &now[11..13]);
    admin
        .put(
            "/api/settings",
            &json!({ "backups.at": daily, "backups.rehearse_days": 0, "site.time_zone": "UTC" }),
        )
        .is(200);
    let schedule = json!({ "name": "checks", "kind": "server.check_ssh", "target_id": id, "cron": "* * * * *", "time_zone": "UTC" });
    let made = admin.post("/api/schedules", &schedule);
    assert_eq!(made.status, 201, "{}", made.text());
    let seen = |house: &House| {
        [
            count(house, "SELECT count(*) FROM backups"),
            count(house, "SELECT count(*) FROM tasks WHERE kind LIKE '%check%'"),
            count(house, "SELECT count(*) FROM alerts"),
            count(house, "SELECT count(*) FROM events"),
        ]
    };
    for (ahead, what) in [
        (DAY, "a day ahead"),
        (0, "a day back"),
        (-DAY, "a day behind"),
        (0, "right again"),
    ] {
        let before = seen(&house);
        let cpu = cpu_ms(&house);
        shim.switch_on("clock", &ahead.to_string());
        // Two rounds of whatever happens each minute.
        thread::sleep(Duration::from_secs(125));
        let after = seen(&house);
        let more: Vec<i64> = after.iter().zip(before).map(|(after, before)| after - before).collect();
        let busy = cpu_ms(&house) - cpu;
        let [backups, checks, alerts, events] = more[..] else {
            unreachable!()
        };
        eprintln!(
            "{what}: {backups} backups, {checks} checks, {alerts} alerts, {events} events, {busy} ms CPU in 125 s"
        );
        assert!(
            backups <= 1 && checks <= 4 && alerts <= 4 && events <= 60,
            "{what}: {more:?}"
        );
        assert!(busy < 12_500, "{what}: a tenth of a processor at rest");
        // Whoever signs in now is in.
        let fresh = Client::new(house.address).by(Who::bearer(&house.sign_in(ADMIN, &house.password)));
        fresh.get("/api/servers").is(200);
        assert!(house.daemons[0].is_running());
        if ahead == DAY {
            assert_eq!(backups, 1, "the missed one is made up for, once");
        }
    }
    drop(admin);
    let health: Value = house.client().get("/health").json();
    eprintln!("health afterwards: {}", health["status"]);
    integrity(&house);
}
