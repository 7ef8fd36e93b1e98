//! The daemon from outside: the real binary on a data folder of its own, and clients of all kinds.
//!
//! A [`House`] checks itself when it is dropped: the daemon stops on SIGTERM within 15 s (10 s by proofs.rs) and says 0, leaves no child, no
//! key file, no socket, and no value that was named as [`House::canary`] stands in any log, output or database file.
#![allow(
    dead_code,
    unused_imports,
    reason = "each test file is a crate of its own and uses its own part of this"
)]

pub mod browser;
pub mod client;
pub mod dice;
pub mod door;
pub mod inputs;
pub mod lab;
pub mod shim;

pub use browser::{Browser, Page};
pub use client::{Answer, Client, Event, Sse, Who};
pub use dice::{Dice, rounds};
pub use door::{Door, ServerBehaviour};

use lamplighter::audit;
use lamplighter::base::{random, text};
use lamplighter::db::{Db, Durability, schema};
use lamplighter::vault::{self, Vault};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// Maximum wait in a test; longer than any wait that succeeds, even on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Maximum duration of a stop.
const STOP_MAX: Duration = Duration::from_secs(15);

/// The administrator's login in every house.
pub const ADMIN: &str = "root-admin";

/// Calls `look` until it returns something; fails after the maximum wait.
#[track_caller]
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

// ---- folders and programs --------------------------------------------------------------------------------------------

/// A temporary folder, removed on drop. Its path is short, since it holds sockets.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        let path = std::env::temp_dir().join(format!("ll-{}", &random::name()[..10]));
        fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The binary with an empty environment.
pub fn lamplighter<S: AsRef<OsStr>>(args: &[S]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lamplighter"));
    command
        .args(args)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::null());
    command
}

/// Runs a command to its end.
#[track_caller]
pub fn run<S: AsRef<OsStr>>(args: &[S]) -> Output {
    run_with_input(args, "")
}

/// Runs a command with this standard input. Fails if it does not end.
#[track_caller]
pub fn run_with_input<S: AsRef<OsStr>>(args: &[S], input: &str) -> Output {
    finish(lamplighter(args), input)
}

/// The same for a command that was put together by hand.
#[track_caller]
pub fn finish(mut command: Command, input: &str) -> Output {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes()); // it may not want it
    let pid = child.id().to_string();
    let (send, ended) = mpsc::channel();
    thread::spawn(move || send.send(child.wait_with_output().unwrap()));
    ended.recv_timeout(PATIENCE).unwrap_or_else(|_| {
        let _ = Command::new("kill").args(["-9", &pid]).status();
        let output = ended
            .recv_timeout(PATIENCE)
            .map_or(String::new(), |output| said(&output));
        panic!("{command:?} did not end:\n{output}")
    })
}

/// Both outputs as one text.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A running daemon. Killed when dropped.
pub struct Daemon {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Daemon {
    pub fn start(mut command: Command) -> Daemon {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let said = Arc::new(Mutex::new(String::new()));
        listen(child.stdout.take().unwrap(), &said);
        listen(child.stderr.take().unwrap(), &said);
        Daemon { child, said }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes a line to its standard input, if that is a pipe; `None` closes it.
    pub fn tell(&mut self, line: Option<&str>) {
        match (line, &mut self.child.stdin) {
            (Some(line), Some(to)) => writeln!(to, "{line}").unwrap(),
            (_, to) => *to = None,
        }
    }

    /// Everything it has said, on both streams.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits for a line with `mark`; returns the word after it.
    #[track_caller]
    pub fn word_after(&mut self, mark: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let said = self.said();
            let rest = said.split_once(mark).map(|(_, rest)| rest);
            if let Some(word) = rest
                .filter(|r| r.contains('\n'))
                .and_then(|r| r.split_whitespace().next())
            {
                return word.into();
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the daemon ended ({status}) before it said “{mark}”:\n{said}");
            }
            assert!(Instant::now() < until, "it never said “{mark}”:\n{said}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn signal(&self, signal: &str) {
        let pid = self.pid().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", signal, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Kills it (SIGKILL).
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to stop and waits.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait(STOP_MAX)
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let until = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            if Instant::now() > until {
                panic!("still running after {limit:?}:\n{}", self.said());
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

fn listen(from: impl Read + Send + 'static, to: &Arc<Mutex<String>>) {
    let to = Arc::clone(to);
    thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            let mut to = to.lock().unwrap();
            to.push_str(&String::from_utf8_lossy(&line));
            to.push('\n');
        }
    });
}

// ---- the daemon -----------------------------------------------------------------------------------------------------

/// Its processes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Processes {
    /// `serve`
    One,
    /// `run-api` and `run-scheduler`
    Two,
    /// Only `run-api`: nothing happens in the background.
    ApiOnly,
}

/// A running Lamplighter with one administrator.
pub struct House {
    pub folder: Folder,
    pub address: SocketAddr,
    /// The administrator's password.
    pub password: String,
    rooms: Processes,
    env: Vec<(String, String)>,
    /// File mounted over `/etc/hosts`.
    names: Option<PathBuf>,
    /// `serve` or `run-api`, then `run-scheduler`.
    pub daemons: Vec<Daemon>,
    earlier: String,
    canaries: Mutex<Vec<String>>,
    /// With the time of its sign-in: a token expires after 15 minutes, a test may take longer.
    admin: Mutex<Option<(Who, Instant)>>,
}

impl House {
    pub fn new() -> House {
        House::with(Processes::One, &[])
    }

    /// With these `LAMPLIGHTER_*` variables.
    pub fn with(rooms: Processes, env: &[(&str, &str)]) -> House {
        let mut house = House::empty(rooms, env);
        house.password = house.account(ADMIN, "admin");
        house.start();
        house
    }

    /// Set up, but without an account and not started.
    pub fn empty(rooms: Processes, env: &[(&str, &str)]) -> House {
        let folder = Folder::new();
        let made = run(&["init-db", "--data-dir", folder.path().to_str().unwrap()]);
        assert!(made.status.success(), "{}", said(&made));
        // Rate limits are off: they have tests of their own (admission.rs).
        let db = rusqlite::Connection::open(folder.path().join("lamplighter.db")).unwrap();
        for rate in ["rate.api", "rate.signed_in"] {
            let set = "INSERT INTO settings (key, value, changed_at, changed_by) VALUES (?1, '0', 0, 'test')";
            db.execute(set, [rate]).unwrap();
        }
        drop(db);
        House {
            folder,
            address: ([127, 0, 0, 1], 0).into(),
            password: String::new(),
            rooms,
            env: env.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
            names: None,
            daemons: Vec::new(),
            earlier: String::new(),
            canaries: Mutex::default(),
            admin: Mutex::default(),
        }
    }

    /// On a data folder that another one has left, with the password of its administrator.
    pub fn on(folder: Folder, rooms: Processes, password: &str) -> House {
        let mut house = House {
            folder,
            address: ([127, 0, 0, 1], 0).into(),
            password: password.into(),
            rooms,
            env: Vec::new(),
            names: None,
            daemons: Vec::new(),
            earlier: String::new(),
            canaries: Mutex::default(),
            admin: Mutex::default(),
        };
        house.start();
        house
    }

    /// From the next start on it has these processes.
    pub fn set_rooms(&mut self, rooms: Processes) {
        self.rooms = rooms;
    }

    /// With these lines as its hosts file; `None` without the permission to mount.
    pub fn with_names(lines: &str) -> Option<House> {
        let probe = Command::new("unshare").args(["-Urm", "true"]).status();
        if !probe.is_ok_and(|s| s.success()) {
            eprintln!("NOT RUN: names of its own need “unshare -Urm”, which is not allowed here");
            return None;
        }
        let mut house = House::empty(Processes::One, &[]);
        house.names = Some(house.folder.file("names", lines));
        house.password = house.account(ADMIN, "admin");
        house.start();
        Some(house)
    }

    /// Replaces the hosts file.
    pub fn set_names(&self, lines: &str) {
        fs::write(self.names.as_ref().unwrap(), lines).unwrap(); // the mounted file is this one, so it must stay
    }

    /// From the next start on this variable has this value.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.into(), value.into()));
    }

    pub fn dir(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }

    /// Starts its processes and waits until it answers. After a restart the address is the same.
    pub fn start(&mut self) {
        let first = self.start_first();
        self.daemons.push(first);
        if self.rooms == Processes::Two {
            let mut scheduler = self.half("run-scheduler", &[]);
            scheduler.word_after("daemon ready");
            self.daemons.push(scheduler);
        }
    }

    fn start_first(&mut self) -> Daemon {
        let command = if self.rooms == Processes::One {
            "serve"
        } else {
            "run-api"
        };
        let mut daemon = self.half(command, &["--listen", &self.address.to_string()]);
        let as_json = self.env.contains(&("JSON_LOGS".into(), "1".into()));
        let mark = if as_json { "\"address\":\"http" } else { "address=http" };
        let word = daemon.word_after(mark);
        let (_, address) = word.split_once("://").unwrap();
        self.address = address.split(['"', ',']).next().unwrap().parse().unwrap();
        daemon
    }

    fn half(&self, command: &str, flags: &[&str]) -> Daemon {
        let mut command = lamplighter(&[&[command, "--data-dir", self.dir()], flags].concat());
        command.envs(self.env.iter().map(|(k, v)| (k, v)));
        let Some(names) = &self.names else {
            return Daemon::start(command);
        };
        let script = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
        let mut inside = Command::new("unshare");
        inside.args(["-Urm", "sh", "-c", script]).arg(names);
        inside.arg(command.get_program()).args(command.get_args()).env_clear();
        inside.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        inside.envs(
            command
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?)))
                .filter(|(name, _)| *name != "PATH"),
        );
        Daemon::start(inside)
    }

    /// Starts the process of the web server again; the other one, if there is one, goes on.
    #[track_caller]
    pub fn restart_first(&mut self, properly: bool) {
        let first = &mut self.daemons[0];
        match properly {
            true => assert!(first.stop().success()),
            false => first.kill(),
        }
        self.earlier += &first.said();
        self.daemons[0] = self.start_first();
    }

    /// Kills all processes, as a power cut does.
    pub fn kill(&mut self) {
        self.daemons.iter_mut().for_each(Daemon::kill);
        self.earlier += &self.daemons.iter().map(Daemon::said).collect::<String>();
        self.daemons.clear();
    }

    /// A proper stop.
    #[track_caller]
    pub fn stop(&mut self) {
        for daemon in &mut self.daemons {
            let status = daemon.stop();
            assert!(status.success(), "stopped with {status}:\n{}", daemon.said());
        }
        thread::sleep(Duration::from_millis(20)); // the last lines on their way to us
        self.earlier += &self.daemons.iter().map(Daemon::said).collect::<String>();
        self.daemons.clear();
    }

    /// Everything its processes have said so far.
    pub fn said(&self) -> String {
        self.earlier.clone() + &self.daemons.iter().map(Daemon::said).collect::<String>()
    }

    /// Registers a secret that must not appear in any output or file.
    pub fn canary(&self, value: impl Into<String>) -> String {
        let value = value.into();
        assert!(value.len() >= 6, "too short to look for");
        self.canaries.lock().unwrap().push(value.clone());
        value
    }

    /// All values that must never be seen.
    pub fn secrets(&self) -> Vec<String> {
        self.canaries.lock().unwrap().clone()
    }

    /// Makes an account with `create-admin`; gives its password.
    pub fn account(&self, login: &str, role: &str) -> String {
        let password = self.canary(format!("pw-{}", random::name()));
        let args = ["create-admin", "--data-dir", self.dir(), "--login", login];
        let made = run_with_input(
            &[&args[..], &["--role", role, "--password-file", "-"]].concat(),
            &password,
        );
        assert!(made.status.success(), "{}", said(&made));
        password
    }

    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// Signs in over the API.
    pub fn sign_in(&self, login: &str, password: &str) -> Answer {
        let answer = self
            .client()
            .post("/api/auth/login", &json!({ "login": login, "password": password }));
        if answer.status == 200 {
            self.canary(answer.json()["access_token"].as_str().unwrap());
            self.canary(answer.json()["refresh_token"].as_str().unwrap());
            self.canary(answer.cookie().1);
        }
        answer
    }

    /// The administrator with a bearer token.
    pub fn admin(&self) -> Client {
        let mut admin = self.admin.lock().unwrap();
        if admin
            .as_ref()
            .is_none_or(|(_, at)| at.elapsed() > Duration::from_secs(600))
        {
            let who = Who::bearer(&self.sign_in(ADMIN, &self.password));
            *admin = Some((who, Instant::now()));
        }
        let (who, _) = admin.as_ref().unwrap();
        self.client().by(who.clone())
    }

    /// A new account of this role, signed in with a bearer token.
    pub fn somebody(&self, role: &str) -> Client {
        let password = self.account(role, role);
        let answer = self.sign_in(role, &password);
        assert_eq!(answer.status, 200, "{}", answer.text());
        self.client().by(Who::bearer(&answer))
    }

    /// Waits for a task's end; gives its last state.
    #[track_caller]
    pub fn wait_for(&self, task: i64) -> Value {
        let admin = self.admin();
        eventually(&format!("task {task} ends"), || {
            let task = admin.get(&format!("/api/tasks/{task}")).json();
            let status = task["status"].as_str().expect("a task").to_string();
            if task["waiting_for"]["reason"] == "retry" {
                self.last_try();
            }
            (!matches!(status.as_str(), "queued" | "running" | "waiting_children")).then_some(task)
        })
    }

    /// What waits for its next try gets it now, and it is its last one.
    pub fn last_try(&self) {
        let now =
            "UPDATE tasks SET attempt = 98, not_before = NULL WHERE status = 'queued' AND attempt > 0 AND attempt < 98";
        self.database("lamplighter.db").execute(now, []).unwrap();
    }

    /// The newest task about a server, of a kind.
    #[track_caller]
    pub fn newest_task(&self, server: i64, kind: &str) -> i64 {
        let list = self
            .admin()
            .get(&format!("/api/tasks?server={server}&kind={kind}&limit=1"))
            .json();
        list["items"][0]["id"]
            .as_i64()
            .unwrap_or_else(|| panic!("no {kind} of server {server}: {list}"))
    }

    /// The data of all events of a kind, the oldest first.
    pub fn event_data(&self, kind: &str) -> Vec<Value> {
        let db = self.database("lamplighter.db");
        let mut all = db
            .prepare("SELECT data FROM events WHERE kind = ?1 ORDER BY id")
            .unwrap();
        let rows = all.query_map([kind], |r| r.get::<_, String>(0)).unwrap();
        rows.map(|text| serde_json::from_str(&text.unwrap()).unwrap()).collect()
    }

    /// A connection to one of its databases, for what the API does not show.
    pub fn database(&self, name: &str) -> rusqlite::Connection {
        rusqlite::Connection::open(self.folder.path().join(name)).unwrap()
    }
}

impl House {
    fn audit(&self) -> Result<i64, audit::Broken> {
        let db = Db::open(
            &self.folder.path().join("lamplighter.db"),
            Durability::Full,
            schema::STATE,
        )
        .unwrap();
        let master = vault::read_master_key(&self.folder.path().join("master.key")).unwrap();
        let vault = Vault::open(&db, &master).unwrap();
        audit::verify(&db, &vault, None).unwrap().map(|head| head.seq)
    }
}

/// Fields of a new server; nothing listens on its Glances port, and its poll interval is one hour.
pub fn server(name: &str, port: u16) -> Value {
    json!({
        "name": name, "host": "127.0.0.1", "ssh_port": port, "username": "root", "password": "some password",
        "glances_port": 9, "poll_interval_s": 3600,
    })
}

impl Drop for House {
    fn drop(&mut self) {
        if thread::panicking() {
            let said = self.said();
            let from = said.len().saturating_sub(4_000);
            eprintln!(
                "---- the house said last ----\n{}",
                String::from_utf8_lossy(&said.as_bytes()[from..])
            );
            return;
        }
        self.stop();
        assert!(!self.said().contains("panicked"), "{}", self.said());
        let run = self.folder.path().join("run");
        let left = files(&run);
        assert_eq!(left, Vec::<PathBuf>::new(), "left in the runtime folder");
        assert_eq!(working_in(&run), Vec::<String>::new(), "processes left");
        let mut places: Vec<(String, Vec<u8>)> = vec![("what it said".into(), self.said().into_bytes())];
        for file in files(self.folder.path()) {
            // Except the master key file and the 8 MiB reserve of zeros, no file may contain a secret.
            if !file.ends_with("master.key") && !file.ends_with("reserve") {
                places.push((file.display().to_string(), fs::read(&file).unwrap()));
            }
        }
        assert!(self.audit().is_ok(), "{:?}", self.audit());
        let canaries = std::mem::take(&mut *self.canaries.lock().unwrap());
        for canary in &canaries {
            for (place, bytes) in &places {
                if let Some(form) = found_in(bytes, canary) {
                    panic!("a secret is in {place}, as {form}");
                }
            }
        }
    }
}

/// All files below a folder, sockets included.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            out.extend(files(&entry.path()));
        } else {
            out.push(entry.path());
        }
    }
    out
}

/// Processes that work in this folder or below: that is where `ssh` is started.
pub fn working_in(dir: &Path) -> Vec<String> {
    let mut out = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().map_while(Result::ok) {
        if fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(dir)) {
            let argv = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            out.push(format!("{} {}", entry.path().display(), String::from_utf8_lossy(&argv)));
        }
    }
    out
}

/// Form in which the bytes contain a secret, if they do: plain, base64 (at any offset), hex or percent-encoded.
pub fn found_in(bytes: &[u8], secret: &str) -> Option<&'static str> {
    let holds = |form: &str| {
        let form = form.as_bytes();
        !form.is_empty() && memmem(bytes, form)
    };
    if holds(secret) {
        return Some("plain text");
    }
    let raw = secret.as_bytes();
    for coder in [text::base64 as fn(&[u8]) -> String, text::base64url] {
        for shift in 0..3 {
            let coded = coder(&[&vec![0; shift][..], raw].concat());
            // Characters that depend on neighbouring bytes are left out.
            let inner = (shift * 4).div_ceil(3)..(shift + raw.len()) * 4 / 3;
            if coded.get(inner).is_some_and(|form| form.len() >= 8 && holds(form)) {
                return Some("base64");
            }
        }
    }
    if holds(&text::hex(raw)) || holds(&text::hex(raw).to_uppercase()) {
        return Some("hex");
    }
    let percent = text::percent_encode(secret);
    if percent != secret && (holds(&percent) || holds(&percent.to_lowercase())) {
        return Some("percent");
    }
    let quoted = secret.replace('\'', r"'\''");
    if quoted != secret && holds(&quoted) {
        return Some("shell");
    }
    None
}

fn memmem(bytes: &[u8], part: &[u8]) -> bool {
    let first = part[0];
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|b| *b == first) {
        let at = from + at;
        if bytes[at..].starts_with(part) {
            return true;
        }
        from = at + 1;
    }
    false
}
