//! Health with a full disk (sign-in and reading still work) and with a damaged file.

use crate::{common, fake};

use common::*;
use fake::receiver::{Receiver, answer};
use lamplighter::daemon::FEATURES;
use lamplighter::lang::{Lang, words};
use serde_json::json;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};

const BINARY: &str = env!("CARGO_BIN_EXE_lamplighter");

/// A small disk of its own: a shell in its own mount namespace, which does what it is told.
pub struct SmallDisk {
    pub dir: Folder,
    pub shell: Daemon,
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        self.shell.tell(None); // its daemon ends with it
        self.shell.wait(PATIENCE);
    }
}

impl SmallDisk {
    /// `None` without the permission to mount.
    pub fn new(mib: u32) -> Option<SmallDisk> {
        SmallDisk::mounted("-Urm", &format!("mount -t tmpfs -o mode=700,size={mib}m small"))
    }

    /// A real file system in a file: `None` unless we are root and may mount one.
    pub fn ext4(file: &std::path::Path, mib: u32) -> Option<SmallDisk> {
        let file = file.display();
        let made = format!("truncate -s {mib}M {file} && mkfs.ext4 -q -m0 {file}");
        let made = Command::new("sh").args(["-c", &made]).status();
        if !made.is_ok_and(|s| s.success()) {
            eprintln!("NOT RUN: a real disk needs mkfs.ext4");
            return None;
        }
        SmallDisk::mounted("-m", &format!("mount -o loop {file}"))
    }

    fn mounted(unshare: &str, mount: &str) -> Option<SmallDisk> {
        let dir = Folder::new();
        let script = format!(
            "{mount} {path} && chmod 700 {path} && echo mounted now && \
             while read -r line; do eval \"$line\"; done; kill -9 $pid; wait $pid",
            path = dir.path().display(),
        );
        let mut command = Command::new("unshare");
        command.args([unshare, "sh", "-c", &script]).env_clear();
        command
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::piped());
        let probe = Command::new("unshare").args([unshare, "true"]).status();
        if !probe.is_ok_and(|s| s.success()) {
            eprintln!("NOT RUN: a full disk needs “unshare {unshare}”, which is not allowed here");
            return None;
        }
        let mut shell = Daemon::start(command);
        shell.word_after("mounted ");
        Some(SmallDisk { dir, shell })
    }

    /// Does something and waits until it is done.
    pub fn run(&mut self, line: &str, mark: &str) {
        self.shell.tell(Some(&format!("{line}; echo {mark}: $?")));
        assert_eq!(
            self.shell.word_after(&format!("{mark}: ")),
            "0",
            "{}",
            self.shell.said()
        );
    }

    /// Starts the daemon; gives its address.
    pub fn serve(&mut self) -> SocketAddr {
        let before = self.shell.said().len();
        let dir = self.dir.path().display();
        let line = format!("{BINARY} serve --data-dir {dir} --listen 127.0.0.1:0 & pid=$!");
        self.shell.tell(Some(&line));
        eventually("it listens", || {
            let said = self.shell.said();
            said[before..]
                .split_once("address=http://")?
                .1
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        })
    }
}

#[test]
fn with_a_full_disk_people_sign_in_and_read_and_health_says_why() {
    let Some(mut disk) = SmallDisk::new(32) else { return };
    let dir = disk.dir.path().display().to_string();
    let password = "a long enough password";
    disk.run(&format!("{BINARY} init-db --data-dir {dir}"), "init");
    let account = format!("{BINARY} create-admin --data-dir {dir} --login anna --password-file -");
    disk.run(&format!("echo '{password}' | {account}"), "account");
    let at = disk.serve();
    let good = Client::new(at).get("/health").is(200);
    assert_eq!([&good["database"], &good["reasons"]], [&json!("ok"), &json!(null)]);
    let sign_in =
        |at, password: &str| Client::new(at).post("/api/auth/login", &json!({ "login": "anna", "password": password }));
    let admin = Client::new(at).by(Who::bearer(&sign_in(at, password)));
    admin.post("/api/servers", &server("before", 9)).is(201);
    admin
        .put("/api/settings", &json!({ "messages.networks": "127.0.0.0/8" }))
        .is(200);
    let hook = Receiver::new(|_| answer("204 No Content", "", b""));
    let url = format!("http://127.0.0.1:{}/", hook.port());
    admin
        .post(
            "/api/notifications",
            &json!({ "type": "webhook", "name": "hook", "url": url }),
        )
        .is(201);
    let raised = |what: &str| {
        let look = || {
            let posts = hook.posts();
            let of_disk = posts.iter().map(|post| post.json());
            of_disk
                .filter(|told| told["data"]["kind"] == "controller.disk_full")
                .find(|told| told["type"] == what)
        };
        eventually(&format!("it is told: {what}"), look)
    };

    disk.run(
        &format!("dd if=/dev/zero of={dir}/ballast bs=4k 2>/dev/null || true"),
        "fill",
    );
    let mut n = 0;
    let refused = eventually("a write finds the disk full", || {
        n += 1;
        let answer = admin.post("/api/servers", &server(&format!("s{n}"), 9));
        (answer.status != 201).then_some(answer)
    });
    assert_eq!(refused.is(503)["error_code"], "own_disk_full");
    // What was kept back is not for this.
    admin.post("/api/servers", &server("no", 9)).is(503);
    let anna = Client::new(at).by(Who::bearer(&sign_in(at, password)));
    let told = anna.get("/health").is(200);
    assert_eq!([&told["status"], &told["database"]], ["degraded", "full"]);
    assert!(told["reasons"][0].as_str().unwrap().contains("is full"), "{told}");
    let alarm = raised("alert.raised");
    let alarm = &alarm["data"];
    assert_eq!(
        [&alarm["level"], &alarm["target"]["type"]],
        [&json!("CRITICAL"), &json!("controller")]
    );
    let seen = alarm["evidence"][0].as_str().unwrap();
    assert!(seen.contains(&dir) && seen.contains("free of 32.0 MiB"), "{alarm}");
    let page = Client::new(at).by(Who::cookie(&sign_in(at, password), at));
    assert!(page.get("/servers").text().contains("before"));
    assert_eq!(sign_in(at, "not this password").is(401)["error_code"], "wrong_login");

    disk.run("kill -9 $pid; wait $pid || true", "killed");
    let at = disk.serve();
    let anna = Client::new(at).by(Who::bearer(&sign_in(at, password)));
    assert_eq!(anna.get("/health").is(200)["database"], "full");
    anna.post("/api/servers", &server("no", 9)).is(503);
    let said = disk.shell.said();
    let errors = said.lines().filter(|line| line.contains(" ERROR ")).count();
    assert!(errors < 40, "a full disk is told, not shouted:\n{said}");

    disk.run(&format!("rm {dir}/ballast"), "room");
    anna.post("/api/servers", &server("after", 9)).is(201);
    let well = anna.get("/health").is(200);
    assert_eq!(well["database"], "ok", "{well}");
    let over = raised("alert.resolved");
    assert_eq!(over["data"]["alert_id"], alarm["alert_id"]);
    let open = anna.get("/api/alerts?state=open").is(200);
    assert!(!open.to_string().contains("controller.disk_full"), "{open}");
}

/// Writes over the first page of a table or index.
fn damage(house: &House, file: &str, name: &str) {
    let at = |sql: &str| -> u64 {
        let found = house.database(file).query_row(sql, [], |r| r.get::<_, i64>(0));
        found.unwrap() as u64
    };
    let root = at(&format!("SELECT rootpage FROM sqlite_schema WHERE name = '{name}'"));
    let size = at("PRAGMA page_size");
    let path = house.folder.path().join(file);
    let bytes = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    bytes.write_all_at(&[0xAA; 512], (root - 1) * size).unwrap();
}

#[test]
fn a_damaged_file_is_found_and_told() {
    for (file, table, code, status) in [
        ("metrics.db", "hot", 200, "degraded"),
        ("lamplighter.db", "silences", 503, "unhealthy"),
    ] {
        let mut house = House::new();
        house.client().get("/health").is(200);
        house.stop();
        damage(&house, file, table);
        house.start();
        let told = eventually("the damage is found", || {
            let told = house.admin().get("/health");
            (told.json()["status"] == status).then_some(told)
        });
        assert_eq!(told.is(code)["database"], "damaged");
        let scheduler = house.client().get("/health/scheduler");
        assert!(scheduler.is(503)["items"].to_string().contains("\"failed\":true"));
        let why = told.json()["reasons"][0].to_string();
        assert!(why.contains(file) && why.contains("is damaged"), "{why}");
        let asked = run(&["health", "--listen", &house.address.to_string()]);
        assert_eq!(
            asked.status.code(),
            Some(if code == 200 { 3 } else { 4 }),
            "{}",
            said(&asked)
        );
    }
}

#[test]
fn all_periodic_work_has_a_name_for_people() {
    words::join(FEATURES.iter().map(|feature| feature.words));
    let unnamed = |name: &&str| words::word(Lang::En, &format!("beat.{name}"), None).is_none();
    let services = FEATURES.iter().flat_map(|f| f.services).map(|service| service.name);
    let periodic = FEATURES.iter().flat_map(|f| f.periodic).map(|work| work.name);
    let work = services.chain(periodic);
    assert_eq!(work.filter(unnamed).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn work_that_fails_again_and_again_is_not_healthy() {
    let house = House::new();
    let admin = house.admin();
    let is = |status: &str| {
        eventually(status, || {
            let told = admin.get("/health").is(200);
            (told["status"] == status).then(|| told["reasons"].to_string())
        })
    };
    is("healthy");
    // The periodic work of one and the thread of the other find nothing to work with.
    let tables = ["silences", "notification_queue"];
    let db = house.database("lamplighter.db");
    let rename = |from: &str, to: &str| {
        let sql = format!("PRAGMA legacy_alter_table=ON; ALTER TABLE {from} RENAME TO {to}");
        db.execute_batch(&sql).unwrap();
    };
    tables.iter().for_each(|table| rename(table, &format!("{table}_gone")));
    let both = [
        "Begin and end of silences: it has failed",
        "Sending of messages: it has failed",
    ];
    eventually("both are told", || {
        let why = admin.get("/health").json()["reasons"].to_string();
        both.iter().all(|work| why.contains(work)).then_some(())
    });
    let scheduler = house.client().get("/health/scheduler");
    assert_eq!(scheduler.is(503)["status"], "unhealthy");
    rename("silences_gone", "silences"); // every page reads them
    let page = admin.get("/settings").text();
    assert!(
        page.contains("Sending of messages") && page.contains("in a row"),
        "{page}"
    );
    rename("notification_queue_gone", "notification_queue");
    is("healthy");
}
