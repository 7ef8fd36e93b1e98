//! The command line as an operator and a script meet it: words, exit codes, files.

use crate::common;

use common::*;
use lamplighter::cli::Command;
use lamplighter::daemon::{FEATURES, registry};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[track_caller]
fn fails(output: &Output, code: i32, word: &str) {
    let told = said(output);
    assert_eq!(output.status.code(), Some(code), "{told}");
    assert!(told.contains(word), "“{word}” is not in: {told}");
    assert!(output.stdout.is_empty(), "a failure is told on stderr: {told}");
    assert!(!told.contains("panicked"), "{told}");
}

#[track_caller]
fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", said(output)))
}

#[test]
fn every_command_explains_itself() {
    let all = run(&["--help"]);
    assert!(all.status.success());
    let all = said(&all);
    assert_eq!(said(&run::<&str>(&[])), all, "no command asks for help");
    for command in registry(FEATURES).all::<Command>() {
        assert!(all.contains(command.name), "{}", command.name);
        let help = run(&[command.name, "--help"]);
        assert!(help.status.success() && help.stderr.is_empty());
        let help = said(&help);
        for flag in command.flags {
            assert!(
                help.contains(&format!("--{}", flag.name)),
                "{} --{}",
                command.name,
                flag.name
            );
        }
    }
    assert!(all.contains("78 configuration"));
    let version = run(&["--version"]);
    assert_eq!(said(&version), format!("lamplighter {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn what_was_mistyped_is_a_usage_error() {
    for args in [
        &["sevre"][..],
        &["serve", "--lisen", "x"],
        &["serve", "more"],
        &["--listen", "127.0.0.1:0", "serve"],
        &["serve", "--listen"],
        &["status", "--json=yes"],
        &["create-admin", "--data-dir", "/nonexistent-folder/x", "--role", "king"],
    ] {
        let output = run(args);
        let code = output.status.code();
        // A folder that is not there is found before the role is read.
        assert!(
            code == Some(2) || args[0] == "create-admin" && code == Some(78),
            "{args:?}: {}",
            said(&output)
        );
    }
    fails(&run(&["sevre"]), 2, "sevre");
}

#[test]
fn a_fresh_folder_is_made_ready_and_stays_as_it_is() {
    let folder = Folder::new();
    let dir = folder.path().join("data");
    let at = dir.to_str().unwrap();
    fails(&run(&["serve", "--data-dir", at]), 78, "init-db");
    let made = run(&["init-db", "--data-dir", at, "--json"]);
    assert!(made.status.success(), "{}", said(&made));
    assert_eq!(json(&made)["ok"], true);
    assert_eq!(mode(&dir), 0o700);
    for file in ["master.key", "lamplighter.db", "metrics.db"] {
        assert_eq!(mode(&dir.join(file)), 0o600, "{file}");
    }
    let key = fs::read(dir.join("master.key")).unwrap();
    for again in ["init-db", "migrate"] {
        assert!(run(&[again, "--data-dir", at]).status.success());
    }
    assert_eq!(fs::read(dir.join("master.key")).unwrap(), key);
    let text = said(&run(&["status", "--data-dir", at]));
    assert!(text.contains("servers: 0"), "{text}");
}

#[test]
fn what_a_careless_hand_has_opened_to_others_is_closed_or_refused_at_start() {
    let house = House::empty(Processes::One, &[]);
    let dir = house.folder.path();
    for (name, open) in [("", 0o755), ("lamplighter.db", 0o644), ("metrics.db", 0o666)] {
        fs::set_permissions(dir.join(name), fs::Permissions::from_mode(open)).unwrap();
    }
    let told = run(&["status", "--data-dir", house.dir()]);
    assert!(said(&told).contains("lamplighter.db"), "{}", said(&told));
    for (name, wanted) in [("", 0o700), ("lamplighter.db", 0o600), ("metrics.db", 0o600)] {
        assert_eq!(mode(&dir.join(name)), wanted, "{name}");
    }
    // A key for TLS is somebody else's file: it is not changed, and not used either.
    let key = house.folder.file("tls.key", "x");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    for command in ["serve", "check-config"] {
        let mut command = lamplighter(&[command, "--data-dir", house.dir()]);
        command
            .env("LAMPLIGHTER_TLS_KEY_FILE", &key)
            .env("LAMPLIGHTER_TLS_CERT_FILE", &key);
        fails(&finish(command, ""), 78, "chmod 600");
    }
    assert_eq!(mode(&key), 0o644);
}

#[test]
fn a_key_that_is_wrong_missing_or_open_to_others_is_told_and_never_replaced() {
    let house = House::empty(Processes::One, &[]);
    let (dir, key) = (house.dir(), house.folder.path().join("master.key"));
    let serve = || run(&["serve", "--data-dir", dir, "--listen", "127.0.0.1:0"]);
    let good = fs::read(&key).unwrap();
    let other = run(&["encrypt-keygen"]);
    assert_eq!(other.stdout.len(), 65, "64 hex digits and a line end");
    fs::write(&key, &other.stdout).unwrap();
    fails(&serve(), 78, "does not belong to this database");
    for bad in [&b""[..], b"short", &[b'x'; 64], &[b'a'; 66], &[0xff; 31]] {
        fs::write(&key, bad).unwrap();
        fails(&serve(), 78, "is not a master key");
    }
    fs::write(&key, &good).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    fails(&serve(), 78, "chmod 600");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(&key, key.with_extension("away")).unwrap();
    fails(&serve(), 78, "cannot be read");
    for command in ["init-db", "dev"] {
        fails(&run(&[command, "--data-dir", dir]), 78, "Put the key back");
    }
    assert!(!key.exists(), "no new key for old secrets");
    fs::rename(key.with_extension("away"), &key).unwrap();
    // Elsewhere, by name; raw bytes are as good as hex.
    let raw: Vec<u8> = lamplighter::base::text::unhex(std::str::from_utf8(&good).unwrap().trim()).unwrap();
    let elsewhere = house.folder.file("raw.key", &raw);
    fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o600)).unwrap();
    let mut status = lamplighter(&["status", "--data-dir", dir]);
    status.env("LAMPLIGHTER_MASTER_KEY_FILE", &elsewhere);
    let status = finish(status, "");
    assert!(said(&status).contains("servers: 0"), "{}", said(&status));
}

#[test]
fn a_new_key_is_never_written_over_an_old_one() {
    let folder = Folder::new();
    let path = folder.path().join("k");
    let out = path.to_str().unwrap();
    let made = run(&["encrypt-keygen", "--out", out]);
    assert!(made.status.success(), "{}", said(&made));
    let key = fs::read_to_string(&path).unwrap();
    assert_eq!((mode(&path), key.len()), (0o600, 65));
    assert!(
        !said(&made).contains(key.trim()),
        "it is in the file, not on the screen"
    );
    fails(&run(&["encrypt-keygen", "--out", out]), 78, "was not touched");
    assert_eq!(fs::read_to_string(&path).unwrap(), key);
    fails(
        &run(&["encrypt-keygen", "--out", "/nonexistent-folder/k"]),
        78,
        "cannot be written",
    );
    assert_ne!(run(&["encrypt-keygen"]).stdout, run(&["encrypt-keygen"]).stdout);
}

#[test]
fn a_file_of_a_newer_version_or_of_another_program_is_left_alone() {
    let folder = || {
        let folder = Folder::new();
        assert!(
            run(&["init-db", "--data-dir", folder.path().to_str().unwrap()])
                .status
                .success()
        );
        folder
    };
    for (file, version, word) in [
        ("lamplighter.db", 99, "newer"),
        ("metrics.db", 99, "newer"),
        ("lamplighter.db", -1, "not a Lamplighter database"),
    ] {
        let folder = folder();
        let open = || rusqlite::Connection::open(folder.path().join(file)).unwrap();
        open().pragma_update(None, "user_version", version).unwrap();
        for command in ["serve", "migrate", "status", "init-db"] {
            fails(
                &run(&[command, "--data-dir", folder.path().to_str().unwrap()]),
                78,
                word,
            );
        }
        let kept: i64 = open().pragma_query_value(None, "user_version", |r| r.get(0)).unwrap();
        assert_eq!(kept, version);
    }
    let folder = folder();
    for file in files(folder.path())
        .iter()
        .filter(|f| f.to_string_lossy().contains("lamplighter.db-"))
    {
        fs::remove_file(file).unwrap();
    }
    folder.file(
        "lamplighter.db",
        "this is no database at all, but a text of some length\n".repeat(50),
    );
    let serve = run(&["serve", "--data-dir", folder.path().to_str().unwrap()]);
    fails(&serve, 78, "lamplighter.db");
}

#[test]
fn a_configuration_file_is_judged_line_by_line() {
    let folder = Folder::new();
    let file = folder.file(
        "env",
        "# a comment\nLAMPLIGHTER_LISTN=127.0.0.1:1\n\nLAMPLIGHTER_WORKERS=0\nLAMPLIGHTER_LISTEN=8080\nnonsense\n\
         LAMPLIGHTER_WORKERS=3\nLAMPLIGHTER_JSON_LOGS=maybe\nLAMPLIGHTER_TLS_CERT_FILE=/x\n",
    );
    let check = |extra: &[&str]| run(&[&["check-config", "--env-file", file.to_str().unwrap()], extra].concat());
    let told = check(&[]);
    for word in [
        "line 2",
        "LAMPLIGHTER_LISTEN",
        "line 4",
        "line 5",
        "line 6",
        "line 7",
        "twice",
        "line 8",
        "TLS_KEY_FILE",
    ] {
        fails(&told, 78, word);
    }
    fails(&run(&["serve", "--env-file", "/nonexistent"]), 78, "/nonexistent");
    fs::write(
        &file,
        "LAMPLIGHTER_LISTEN='127.0.0.1:7777'\nLAMPLIGHTER_DATA_DIR=/srv/lamp\n",
    )
    .unwrap();
    let good = check(&["--json"]);
    assert!(good.status.success(), "{}", said(&good));
    let config = json(&good)["config"].clone();
    assert_eq!(
        (&config["listen"], &config["data_dir"]),
        (&"127.0.0.1:7777".into(), &"/srv/lamp".into())
    );
    // A flag beats a variable, a variable the file.
    let mut beaten = lamplighter(&[
        "check-config",
        "--json",
        "--env-file",
        file.to_str().unwrap(),
        "--data-dir",
        "/flag",
    ]);
    beaten
        .env("LAMPLIGHTER_LISTEN", "[::1]:1")
        .env("LAMPLIGHTER_DATA_DIR", "/variable");
    let config = json(&finish(beaten, ""))["config"].clone();
    assert_eq!(
        (&config["listen"], &config["data_dir"]),
        (&"[::1]:1".into(), &"/flag".into())
    );
    for bad in ["localhost:80", "127.0.0.1", "127.0.0.1:99999", ":80"] {
        fails(&run(&["check-config", "--listen", bad]), 78, bad);
    }
    // A mistyped variable is as wrong as a mistyped line.
    for command in ["check-config", "serve"] {
        let mut mistyped = lamplighter(&[command, "--data-dir", "/flag"]);
        mistyped.env("LAMPLIGHTER_WORKER", "3");
        fails(
            &finish(mistyped, ""),
            78,
            "unknown key LAMPLIGHTER_WORKER. Did you mean LAMPLIGHTER_WORKERS?",
        );
    }
}

#[test]
fn dev_sets_up_once_and_says_its_password_once() {
    let folder = Folder::new();
    let dir = folder.path().join("var");
    let args = ["dev", "--data-dir", dir.to_str().unwrap(), "--listen", "127.0.0.1:0"];
    let mut first = Daemon::start(lamplighter(&args));
    let address = first.word_after("Lamplighter is lit: http://").parse().unwrap();
    let password = first.word_after("one-time password ");
    assert!(
        first.said().contains(&format!("--data-dir {}", dir.display())),
        "{}",
        first.said()
    );
    let login = |address, password: &str| {
        let body = serde_json::json!({ "login": "admin", "password": password });
        Client::new(address).post("/api/auth/login", &body)
    };
    let who = Who::bearer(&login(address, &password));
    Client::new(address)
        .by(who)
        .post("/api/servers", &server("kept", 9))
        .is(201);
    assert!(first.stop().success());
    for entry in files(&dir).iter().filter(|f| !f.ends_with("master.key")) {
        assert_eq!(
            found_in(&fs::read(entry).unwrap(), &password),
            None,
            "{}",
            entry.display()
        );
    }

    let mut second = Daemon::start(lamplighter(&args));
    let address = second.word_after("Lamplighter is lit: http://").parse().unwrap();
    assert!(!second.said().contains("password"), "{}", second.said());
    let who = Who::bearer(&login(address, &password));
    let kept = Client::new(address).by(who).get("/api/servers").is(200);
    assert_eq!(kept["items"][0]["name"], "kept");
    second.signal("INT");
    assert!(second.wait(PATIENCE).success(), "Ctrl-C is a proper stop");
    assert_eq!(files(&dir.join("run")), Vec::<std::path::PathBuf>::new());

    // What the README says about the fleet as a document works as it is pasted.
    let pasted = include_str!("../../README.md").lines().map(str::trim);
    let pasted: Vec<_> = pasted
        .filter(|line| line.starts_with("cargo run") && line.contains("fleet.json"))
        .collect();
    assert_eq!(pasted.len(), 2);
    for line in pasted {
        let line = line.replace("cargo run -q --release --", env!("CARGO_BIN_EXE_lamplighter"));
        let output = std::process::Command::new("sh")
            .args(["-c", &line])
            .env_clear() // as in `lamplighter()`: the tests' own variables are no keys of its configuration
            .env("PATH", "/usr/bin:/bin")
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{line}: {}", said(&output));
    }
    let fleet = fs::read_to_string(folder.path().join("fleet.json")).unwrap();
    assert!(fleet.contains("\"kept\""), "{fleet}");
}

#[test]
fn a_first_start_that_fails_has_not_swallowed_the_password() {
    let folder = Folder::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let failed = run(&[
        "dev",
        "--data-dir",
        folder.path().to_str().unwrap(),
        "--listen",
        &listen,
    ]);
    assert_eq!(failed.status.code(), Some(78), "{}", said(&failed));
    assert!(said(&failed).contains("Cannot listen on"), "{}", said(&failed));
    assert!(
        said(&failed).contains("one-time password "),
        "or nobody could ever sign in: {}",
        said(&failed)
    );
}

#[test]
fn health_and_status_tell_scripts_how_it_is() {
    let mut house = House::with(Processes::Two, &[]);
    let listen = house.address.to_string();
    let health = |extra: &[&str]| run(&[&["health", "--listen", &listen], extra].concat());
    let good = eventually("a first beat", || {
        Some(health(&["--json"])).filter(|h| h.status.success())
    });
    assert_eq!(json(&good)["status"], "healthy");
    assert_eq!(said(&health(&[])), "healthy\n");
    let dir = house.dir().to_string();
    let status = || run(&["status", "--data-dir", &dir, "--json"]);
    let good = status();
    assert_eq!(
        (good.status.code(), &json(&good)["status"]),
        (Some(0), &"healthy".into())
    );
    house.admin().post("/api/servers", &server("dark", 9)).is(201);
    assert_eq!(json(&status())["parts"]["servers"]["pending"], 1);
    let db = house.database("lamplighter.db");
    db.execute("UPDATE servers SET status = 'unreachable'", []).unwrap();
    assert_eq!(
        (status().status.code(), &json(&status())["status"]),
        (Some(4), &"unhealthy".into()),
        "the worst of its parts"
    );
    db.execute("UPDATE servers SET status = 'ok'", []).unwrap();
    assert_eq!(status().status.code(), Some(0));
    // The scheduler's heart has stood still for long.
    db.execute("UPDATE periodic SET alive_at = alive_at - 86400000 * 30", [])
        .unwrap();
    let mut scheduler = house.daemons.pop().unwrap();
    assert!(scheduler.stop().success());
    db.execute("UPDATE periodic SET alive_at = 0", []).unwrap();
    for bad in [status(), health(&["--json"])] {
        assert_eq!(
            (bad.status.code(), &json(&bad)["status"]),
            (Some(3), &"degraded".into())
        );
    }
    house.stop();
    let gone = health(&[]);
    fails(&gone, 69, "does not answer");
}

#[test]
fn passwords_are_read_from_files_or_standard_input_and_never_from_arguments() {
    let mut house = House::empty(Processes::One, &[]);
    let password = house.canary("correct horse battery staple");
    let file = house.folder.file("pw", format!("{password}\r\n"));
    let dir = house.dir().to_string();
    let args = |login: &'static str| vec!["create-admin", "--data-dir", &dir, "--login", login, "--json"];
    let made = run(&[&args("by-file")[..], &["--password-file", file.to_str().unwrap()]].concat());
    assert_eq!(json(&made)["ok"], true, "{}", said(&made));
    let made = run_with_input(&[&args("by-input")[..], &["--password-file", "-"]].concat(), &password);
    assert_eq!(json(&made)["ok"], true, "{}", said(&made));
    fs::remove_file(&file).unwrap();
    fails(
        &run(&[&args("x")[..], &["--password", "secret-on-the-line"]].concat()),
        2,
        "--password",
    );
    let missing = run(&[&args("x")[..], &["--password-file", "/nonexistent"]].concat());
    assert!([1, 2].contains(&missing.status.code().unwrap()), "{}", said(&missing));
    let args = [
        "reset-password",
        "--data-dir",
        &dir,
        "--login",
        "nobody",
        "--password-file",
        "-",
    ];
    fails(&run_with_input(&args, &password), 1, "nobody");
    house.start();
    for login in ["by-file", "by-input"] {
        house.sign_in(login, &password).is(200);
    }
}
