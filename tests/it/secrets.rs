//! Every secret that can be stored, through all its uses: it never leaks.

use crate::common;

use common::*;
use lamplighter::base::random;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Argument lists and environments of all processes, looked at as often as possible: what `ps` shows to anybody.
struct Onlooker {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
    seen: Arc<Mutex<BTreeSet<Vec<u8>>>>,
}

impl Onlooker {
    fn start() -> Onlooker {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(BTreeSet::new()));
        let (until, to) = (Arc::clone(&stop), Arc::clone(&seen));
        let thread = thread::spawn(move || {
            while !until.load(Ordering::SeqCst) {
                for entry in fs::read_dir("/proc").unwrap().map_while(Result::ok) {
                    for file in ["cmdline", "environ"] {
                        if let Ok(bytes) = fs::read(entry.path().join(file))
                            && !bytes.is_empty()
                        {
                            to.lock().unwrap().insert(bytes);
                        }
                    }
                }
                thread::sleep(Duration::from_millis(2));
            }
        });
        Onlooker {
            stop,
            thread: Some(thread),
            seen,
        }
    }

    fn stop(mut self) -> BTreeSet<Vec<u8>> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap();
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

/// A key of its own, made by the system's tool, encrypted by `passphrase` if there is one.
fn key(folder: &Folder, passphrase: &str) -> String {
    let path = folder.path().join(random::name());
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-C", "", "-N", passphrase, "-f"])
        .arg(&path)
        .status()
        .unwrap();
    assert!(made.success());
    fs::read_to_string(path).unwrap()
}

#[test]
fn the_search_finds_a_secret_in_every_form() {
    let secret = "hunter2 is a secret";
    for (form, name) in [
        ("say hunter2 is a secret now", "plain text"),
        ("Basic dXNlcjpodW50ZXIyIGlzIGEgc2VjcmV0", "base64"),
        ("eGh1bnRlcjIgaXMgYSBzZWNyZXR4", "base64"),
        ("68756e746572322069732061207365637265 74", ""),
        ("0x68756E7465723220697320612073656372657421", "hex"),
        ("q=hunter2%20is%20a%20secret&", "percent"),
        ("hunter3 is a secret", ""),
    ] {
        assert_eq!(found_in(form.as_bytes(), secret).unwrap_or_default(), name, "{form}");
    }
    assert_eq!(found_in(br"PASSWORD='it'\''s mine'", "it's mine"), Some("shell"));
}

#[test]
fn nobody_sees_a_secret_on_any_way() {
    let house = House::with(Processes::One, &[("LAMPLIGHTER_LOG_LEVEL", "debug")]);
    let keys = Folder::new();
    let (admin, door) = (house.admin(), Door::new(1));
    let browser = house
        .client()
        .by(Who::cookie(&house.sign_in(ADMIN, &house.password), house.address));
    let mut canaries: Vec<String> = Vec::new();
    let mut secret = |kind: &str| {
        // With everything in it that somebody might quote or escape, and a core that stays as it is.
        let core = house.canary(random::name());
        let value = house.canary(format!("{kind} \"$'%\\пароль-{core}"));
        canaries.extend([core, value.clone()]);
        value
    };
    // ssh-keygen gets these as arguments, so the process watcher starts after it.
    let passphrases = [secret("passphrase"), secret("passphrase")];
    let pems: Vec<String> = ["", &passphrases[0], &passphrases[1]]
        .iter()
        .map(|p| key(&keys, p))
        .collect();
    let onlooker = Onlooker::start();
    let mut told = String::new();
    let mut ids = Vec::new();

    let with = |name: &str, fields: Value| {
        let mut wanted = server(name, door.port);
        wanted.as_object_mut().unwrap().remove("password");
        wanted["host_key"] = json!(door.key_line());
        for (key, value) in fields.as_object().unwrap() {
            wanted[key] = value.clone();
        }
        wanted
    };
    let polled = json!({ "glances_port": door.port, "poll_interval_s": 5 });
    let mut servers = vec![
        with("by-password", json!({ "password": secret("password") })),
        with("by-key", json!({ "ssh_key": pems[0], "password": secret("sudo") })),
        with(
            "by-locked-key",
            json!({ "ssh_key": pems[1], "ssh_key_passphrase": passphrases[0] }),
        ),
        with(
            "basic",
            json!({ "password": secret("password"), "glances_auth_type": "basic", "glances_username": "operator", "glances_password": secret("glances") }),
        ),
        with(
            "token",
            json!({ "password": secret("password"), "glances_auth_type": "token", "glances_token": secret("token") }),
        ),
    ];
    for server in &mut servers {
        for (key, value) in polled.as_object().unwrap() {
            server[key] = value.clone();
        }
        let answer = admin.post("/api/servers", server);
        answer.is(201);
        told += &answer.text();
        ids.push(answer.json()["id"].as_i64().unwrap());
    }
    // Changed, refused, mistyped, sent to the wrong place.
    for id in &ids {
        let at = format!("/api/servers/{id}");
        told += &admin.patch(&at, &json!({ "password": secret("password") })).text();
        told += &admin
            .patch(&at, &json!({ "password": secret("refused"), "ssh_port": "x" }))
            .text();
        told += &admin.patch(&at, &json!({ "pasword": secret("mistyped") })).text();
        told += &admin.patch(&at, &json!({ "ssh_key": secret("no key") })).text();
        told += &admin
            .post(&format!("{at}/check-ssh"), &json!({ "password": secret("misplaced") }))
            .text();
        told += &admin
            .post(
                &format!("{at}/install-glances"),
                &json!({ "address": secret("misplaced") }),
            )
            .text();
    }
    let wrong = secret("wrong passphrase");
    told += &admin
        .patch(
            &format!("/api/servers/{}", ids[2]),
            &json!({ "ssh_key_passphrase": wrong }),
        )
        .text();
    told += &house
        .client()
        .post(
            "/api/auth/login",
            &json!({ "login": "admin", "password": secret("login") }),
        )
        .text();
    told += &house
        .client()
        .post("/api/auth/refresh", &json!({ "refresh_token": secret("refresh") }))
        .text();
    let form = format!(
        "login=x&password={}",
        lamplighter::base::text::percent_encode(&secret("form"))
    );
    told += &house.client().form("/login", &form).text();
    told += &house
        .client()
        .with("Authorization", "Bearer not-a-token")
        .get("/api/servers")
        .text();

    // Use: a login to every server, each failing in another way.
    for round in 0..3 {
        if round == 1 {
            door.rekey(2);
        }
        if round == 2 {
            door.rekey(1);
        }
        for id in &ids {
            let started = admin.post(&format!("/api/servers/{id}/check-ssh"), &json!({}));
            let task = house.wait_for(started.is(202)["task_id"].as_i64().unwrap());
            assert_eq!(task["status"], "failed", "{task}");
            told += &task.to_string();
            for way in ["logs", "log.txt"] {
                told += &admin.get(&format!("/api/tasks/{}/{way}", task["id"])).text();
            }
            told += &admin
                .stream(&format!("/api/tasks/{}/stream", task["id"]), None)
                .rest()
                .iter()
                .map(|e| e.data.clone())
                .collect::<String>();
            told += &browser.get(&format!("/tasks/{}", task["id"])).text();
        }
    }
    for id in &ids {
        told += &admin.get(&format!("/api/servers/{id}")).text();
        for page in ["", "/edit", "/delete", "/install-glances"] {
            told += &browser.get(&format!("/servers/{id}{page}")).text();
        }
    }
    for path in [
        "/",
        "/servers",
        "/tasks",
        "/alerts",
        "/settings",
        "/api/alerts",
        "/api/servers",
        "/nothing",
    ] {
        told += &browser.get(path).text();
    }

    let seen = onlooker.stop();
    assert!(door.logins() >= 5, "ssh was there");
    assert!(
        seen.iter()
            .any(|argv| argv.starts_with(b"ssh\0") || argv.windows(8).any(|w| w == b"HostKeyA")),
        "ssh was seen"
    );
    assert!(canaries.len() >= 2 * 20);
    for pem in &pems {
        // A key's inner lines: the first and the last stand in many.
        canaries.extend(pem.lines().filter(|l| l.len() > 40).map(String::from));
    }
    for canary in &canaries {
        assert_eq!(found_in(told.as_bytes(), canary), None, "an answer shows {canary}");
        for bytes in &seen {
            assert_eq!(found_in(bytes, canary), None, "{}", String::from_utf8_lossy(bytes));
        }
    }
    for pem in pems {
        for line in pem.lines().filter(|l| l.len() > 40) {
            house.canary(line);
        }
    }
    assert_eq!(left(&house), Vec::<String>::new(), "key files, while nobody logs in");
}

/// Files of logins that are still there.
fn left(house: &House) -> Vec<String> {
    let all = files(&house.folder.path().join("run"));
    let left = all.iter().filter(|f| is_of_a_login(f));
    left.map(|f| f.display().to_string()).collect()
}

fn is_of_a_login(file: &Path) -> bool {
    file.components()
        .any(|c| ["files", "ask"].iter().any(|name| c.as_os_str() == *name))
}

/// The next sealed column has an answer here before it has a user: where is its secret sent, and what happens when that place
/// changes? The stories themselves are in the tests named beside.
#[test]
fn for_every_sealed_column_it_is_known_where_its_secret_may_be_sent() {
    let known = [
        ("servers", "password", "servers"),
        ("servers", "ssh_key", "is sent nowhere: it signs"),
        ("servers", "ssh_key_passphrase", "is sent nowhere: it opens the key"),
        ("servers", "glances_password", "servers"),
        ("servers", "glances_token", "servers"),
        ("certificates", "key", "goes to servers that an operator deploys to"),
        ("notification_endpoints", "token", "notifications"),
        ("notification_endpoints", "url", "notifications"),
        ("notification_endpoints", "secret", "is sent nowhere: it signs"),
        ("notification_endpoints", "password", "notifications"),
        ("engine", "secret", "exporter"),
        ("forward_secret", "secret", "forward"),
        ("secret_versions", "value", "is shown to who may reveal it (kept.rs)"),
        ("secret_rotations", "value", "goes to the hosts that have the secret"),
        ("secret_rotations", "passphrase", "is sent nowhere: it opens the key"),
        (
            "secret_versions",
            "passphrase",
            "is shown to who may reveal it (kept.rs)",
        ),
        ("second_factors", "secret", "is sent nowhere: codes are made from it"),
        ("plugins", "token", "plugins"),
        ("services", "password", "services"),
        ("services", "token", "services"),
        (
            "action_file_parts",
            "content",
            "goes to the servers that an operator puts the file on (lab/actions.rs)",
        ),
    ];
    let schema = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("sql/schema.sql")).unwrap();
    let (mut table, mut sealed) = (String::new(), BTreeSet::new());
    for line in schema.lines() {
        if let Some(rest) = line.strip_prefix("CREATE TABLE ") {
            table = rest.split([' ', '(']).next().unwrap().trim_matches('"').into();
        }
        if line.contains("BLOB") && line.contains("-- sealed") {
            sealed.insert((table.clone(), line.split_whitespace().next().unwrap().to_string()));
        }
    }
    let known: BTreeSet<_> = known.iter().map(|(t, c, _)| (t.to_string(), c.to_string())).collect();
    assert_eq!(sealed, known);
}
