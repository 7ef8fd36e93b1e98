//! The command line asks the running daemon: by the control socket, as whoever the kernel says it is, or from afar with a
//! token. Without a daemon, what only looks is answered from the databases, and what changes something is not done.

use crate::common;

use common::*;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Output;

fn api(house: &House, flags: &[&str]) -> Output {
    run(&[&["api", "--data-dir", house.dir()], flags].concat())
}

fn out(output: &Output) -> Value {
    assert!(output.status.success(), "{}", said(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_command_line_asks_the_daemon_as_the_user_that_the_kernel_says() {
    let house = House::new();
    let body = house.folder.file("body.json", r#"{"name": "made by hand"}"#);
    let post = [
        "--path",
        "/api/groups",
        "--method",
        "POST",
        "--data-file",
        body.to_str().unwrap(),
    ];
    let made = out(&api(&house, &post));
    assert_eq!(made["name"], "made by hand");
    let shown = out(&api(&house, &["--path", &format!("/api/groups/{}", made["id"])]));
    assert_eq!(shown, made);
    // The daemon did it, for a user of this machine, and the audit says so.
    let row = &house.admin().get("/api/audit?action=group.create").is(200)["items"][0];
    assert_eq!(
        (&row["actor"], &row["via"], &row["ip"]),
        (&json!("cli:root"), &json!("cli"), &json!(""))
    );
    assert_ne!(row["request_id"], "");

    // A refusal is told with its fields, and is no success.
    let again = api(&house, &post);
    assert!(
        again.status.code() == Some(1) && said(&again).contains("name"),
        "{}",
        said(&again)
    );
    let missing = api(&house, &["--path", "/api/groups/99"]);
    assert_eq!(missing.status.code(), Some(1));
    for bad in [
        &["--path", "api"][..],
        &[],
        &["--path", "/api/groups", "--method", "BREW"],
    ] {
        assert!(matches!(api(&house, bad).status.code(), Some(1 | 2)), "{bad:?}");
    }
    // It has no account: there is no password, language or session of it to change.
    let me = out(&api(&house, &["--path", "/api/auth/me"]));
    assert_eq!((&me["login"], &me["role"]), (&json!("cli:root"), &json!("admin")));
    let lang = house.folder.file("lang.json", r#"{"lang": "ru"}"#);
    let change = [
        "--path",
        "/api/auth/me",
        "--method",
        "PATCH",
        "--data-file",
        lang.to_str().unwrap(),
    ];
    let told = api(&house, &change);
    assert!(
        !told.status.success() && said(&told).contains("no account"),
        "{}",
        said(&told)
    );
    // Streams and downloads go by the network.
    let told = api(&house, &["--path", "/api/audit/export"]);
    assert!(
        !told.status.success() && said(&told).contains("--url"),
        "{}",
        said(&told)
    );
}

#[test]
fn the_command_line_never_approves() {
    let house = House::new();
    let db = house.database("lamplighter.db");
    db.execute(
        "INSERT INTO tasks (kind, target_type, target_id, target_name, input, status, approve_until, created_by, request_id,
         created_at) VALUES ('server.check_ssh', 'server', 1, 'x', '{}', 'waiting_approval', 4000000000000, 'anna', '', 1)",
        [],
    )
    .unwrap();
    let id = db.last_insert_rowid();
    let routes = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/api.txt")).unwrap();
    let path = format!("/api/tasks/{id}/approve");
    let told = api(&house, &["--path", &path, "--method", "POST"]);
    assert!(!told.status.success(), "{}", said(&told));
    if routes.contains("POST /api/tasks/{id}/approve") {
        assert!(said(&told).contains("account"), "{}", said(&told));
    }
}

#[test]
fn a_stranger_is_not_let_in_by_the_socket() {
    let house = House::new();
    let socket = house.folder.path().join("run/control.sock");
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
    let ask = |socket: &std::path::Path, request: &[u8]| {
        let mut s = UnixStream::connect(socket).unwrap();
        s.write_all(request).unwrap();
        let mut text = String::new();
        s.read_to_string(&mut text).unwrap();
        text
    };
    // A token of somebody's makes nobody else of root; what is no request is refused.
    let get = b"GET /api/auth/me HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\n\r\n";
    assert!(ask(&socket, get).contains("cli:root"));
    assert!(ask(&socket, b"nonsense\r\n\r\n").starts_with("HTTP/1.1 400 "));
    let large = b"POST /api/groups HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n";
    assert!(ask(&socket, large).starts_with("HTTP/1.1 413 "));
    // Even where the file lets somebody through, the kernel's word does not.
    if lamplighter::base::sys::uid() != 0 {
        return;
    }
    let open = |path: &std::path::Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    open(&socket, 0o666);
    let mut folder = socket.parent();
    while let Some(path) = folder.filter(|p| p.starts_with(house.folder.path())) {
        open(path, 0o755);
        folder = path.parent();
    }
    let script = "import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n\
        s.sendall(b'GET /api/auth/me HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n')\nprint(s.recv(999).decode())";
    let stranger = std::process::Command::new("python3")
        .args(["-c", script, socket.to_str().unwrap()])
        .uid(65_534)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&stranger.stdout).into_owned();
    assert!(
        told.starts_with("HTTP/1.1 403 "),
        "{told} {}",
        String::from_utf8_lossy(&stranger.stderr)
    );
    open(house.folder.path(), 0o700);
}

#[test]
fn without_a_daemon_one_may_look_and_change_nothing() {
    let mut house = House::new();
    house.admin().post("/api/groups", &json!({ "name": "kept" })).is(201);
    house.stop();
    let looked = api(&house, &["--path", "/api/groups"]);
    assert_eq!(out(&looked)["items"][0]["name"], "kept");
    let told = String::from_utf8_lossy(&looked.stderr).into_owned();
    assert!(
        told.contains("No daemon runs") && told.contains("changed last"),
        "{told}"
    );
    let export = run(&["export", "--data-dir", house.dir()]);
    let fleet = house
        .folder
        .file("fleet.json", r#"{"lamplighter": 1, "groups": [{"name": "planned"}]}"#);
    let plan = run(&[
        "apply",
        "--data-dir",
        house.dir(),
        "--plan",
        "--file",
        fleet.to_str().unwrap(),
    ]);
    assert!(
        plan.status.success() && said(&plan).contains("1 new"),
        "{}",
        said(&plan)
    );
    assert_eq!(out(&export)["groups"][0]["name"], "kept");
    let body = house.folder.file("body.json", r#"{"name": "new"}"#);
    let body = body.to_str().unwrap();
    for command in [
        &["api", "--path", "/api/groups", "--method", "POST", "--data-file", body][..],
        &["apply", "--file", body, "--yes"],
    ] {
        let told = run(&[command, &["--data-dir", house.dir()]].concat());
        assert_eq!(told.status.code(), Some(69), "{}", said(&told));
        assert!(said(&told).contains("systemctl start lamplighter"), "{}", said(&told));
    }
}

#[test]
fn from_afar_it_asks_with_a_token_from_a_file_that_only_its_owner_reads() {
    let house = House::new();
    let Who::Bearer(token) = house.admin().who().clone() else {
        panic!()
    };
    let file = house.folder.file("token", format!("{token}\n"));
    let (file, url) = (file.to_str().unwrap(), format!("http://{}", house.address));
    let ask = |flags: &[&str]| run(&[&["api", "--path", "/api/auth/me"], flags].concat());
    std::fs::set_permissions(file, PermissionsExt::from_mode(0o644)).unwrap();
    let told = ask(&["--url", &url, "--token-file", file]);
    assert!(
        !told.status.success() && said(&told).contains("chmod 600"),
        "{}",
        said(&told)
    );
    std::fs::set_permissions(file, PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(out(&ask(&["--url", &url, "--token-file", file]))["login"], ADMIN);
    assert_eq!(ask(&["--url", &url]).status.code(), Some(2));
    assert_eq!(ask(&["--url", "ftp://x", "--token-file", file]).status.code(), Some(2));
    let closed = ask(&["--url", "http://127.0.0.1:9", "--token-file", file]);
    assert_eq!(closed.status.code(), Some(69), "{}", said(&closed));
    std::fs::write(file, "not a token").unwrap();
    assert_eq!(ask(&["--url", &url, "--token-file", file]).status.code(), Some(1));
}
