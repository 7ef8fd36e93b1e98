//! A daemon of its own for a test file, and the plainest possible browser: no script, cookies, forms.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// `lamplighter dev` in a fresh folder on a free port. Ends with the test; looks for panics in its log then.
pub struct Daemon {
    child: Child,
    pub dir: PathBuf,
    /// `127.0.0.1:port`
    pub addr: String,
    /// The one-time password of `admin`.
    pub password: String,
}

fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lamplighter"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LAMPLIGHTER_")) {
        command.env_remove(name);
    }
    command
}

fn fresh_dir(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("lamplighter-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

impl Daemon {
    /// With the administrator that `dev` makes.
    pub fn dev(name: &str) -> Daemon {
        let dir = fresh_dir(name);
        Daemon::start(dir, "dev")
    }

    /// Without any account: the setup page is open.
    pub fn without_accounts(name: &str) -> Daemon {
        let dir = fresh_dir(name);
        let made = binary().arg("init-db").arg("--data-dir").arg(&dir).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        Daemon::start(dir, "serve")
    }

    fn start(dir: PathBuf, command: &str) -> Daemon {
        let log = std::fs::File::create(dir.join("log")).unwrap();
        let mut child = binary()
            .args([command, "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(&dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let (addr, password) = match command {
            "dev" => told(&mut out),
            _ => (logged(&mut child, &dir.join("log")), String::new()),
        };
        // Nobody reads on; what it still says must not block it.
        std::thread::spawn(move || drop(out.read_to_end(&mut Vec::new())));
        Daemon {
            child,
            dir,
            addr,
            password,
        }
    }

    /// Adds an account with the command a person would use.
    pub fn account(&self, login: &str, password: &str, role: &str) {
        let file = self.dir.join("password");
        std::fs::write(&file, password).unwrap();
        let made = binary()
            .args(["create-admin", "--login", login, "--role", role, "--password-file"])
            .arg(&file)
            .arg("--data-dir")
            .arg(&self.dir)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        std::fs::remove_file(&file).unwrap();
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap()
    }

    /// A browser that has signed in as `admin`.
    pub fn admin(&self) -> Browser<'_> {
        let mut browser = self.browser();
        browser.sign_in("admin", &self.password.clone());
        browser
    }

    pub fn browser(&self) -> Browser<'_> {
        Browser {
            daemon: self,
            cookies: BTreeMap::new(),
            headers: Vec::new(),
        }
    }

    /// Every file of the data folder that holds `needle`.
    pub fn files_with(&self, needle: &str) -> Vec<PathBuf> {
        fn walk(dir: &Path, needle: &[u8], out: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    walk(&path, needle, out);
                } else if std::fs::read(&path).is_ok_and(|b| b.windows(needle.len()).any(|w| w == needle)) {
                    out.push(path);
                }
            }
        }
        let mut out = Vec::new();
        walk(&self.dir, needle.as_bytes(), &mut out);
        out
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let panicked = std::fs::read_to_string(self.dir.join("log")).is_ok_and(|log| log.contains("panicked"));
        let log = self.dir.join("log");
        if panicked && !std::thread::panicking() {
            panic!(
                "the daemon panicked: {}",
                std::fs::read_to_string(log).unwrap_or_default()
            );
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// What `dev` says: address and password.
fn told(out: &mut impl BufRead) -> (String, String) {
    let (mut addr, mut password, mut line) = (String::new(), String::new(), String::new());
    while addr.is_empty() || password.is_empty() {
        line.clear();
        assert!(
            out.read_line(&mut line).unwrap() > 0,
            "dev ended without an address and a password"
        );
        if let Some((_, rest)) = line.split_once("http://") {
            addr = rest.trim().to_string();
        }
        if let Some((_, rest)) = line.split_once("one-time password ") {
            password = rest.trim().to_string();
        }
    }
    (addr, password)
}

/// The address that `serve` writes into its log.
fn logged(child: &mut Child, log: &Path) -> String {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        if let Some((_, rest)) = text.split_once("address=http://") {
            return rest.split_whitespace().next().unwrap_or_default().to_string();
        }
        let ended = child.try_wait().unwrap();
        assert!(
            ended.is_none() && Instant::now() < until,
            "the daemon did not start: {text}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A browser without script.
pub struct Browser<'a> {
    daemon: &'a Daemon,
    pub cookies: BTreeMap<String, String>,
    /// Sent with every request.
    pub headers: Vec<(&'static str, String)>,
}

/// An answer.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }

    /// The text between two marks, without the marks.
    pub fn between(&self, start: &str, end: &str) -> Option<&str> {
        let (_, rest) = self.body.split_once(start)?;
        rest.split_once(end).map(|(inner, _)| inner)
    }

    pub fn has(&self, text: &str) -> bool {
        self.body.contains(text)
    }
}

impl Browser<'_> {
    pub fn get(&mut self, path: &str) -> Answer {
        self.request("GET", path, None)
    }

    /// Sends a form; the CSRF token is taken from the preferences page unless the form has one.
    pub fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut fields: Vec<(String, String)> = fields.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        if !fields.iter().any(|(n, _)| n == "csrf") {
            let page = self.get("/prefs");
            let token = page
                .between("name=\"csrf\" value=\"", "\"")
                .unwrap_or_default()
                .to_string();
            fields.push(("csrf".into(), token));
        }
        let body: Vec<_> = fields
            .iter()
            .map(|(n, v)| format!("{}={}", encode(n), encode(v)))
            .collect();
        self.request("POST", path, Some(body.join("&")))
    }

    pub fn sign_in(&mut self, login: &str, password: &str) {
        let answer = self.post(
            "/login",
            &[("login", login), ("password", password), ("csrf", ""), ("next", "/")],
        );
        assert_eq!(
            (answer.status, answer.header("location")),
            (303, "/"),
            "{}",
            answer.body
        );
    }

    pub fn request(&mut self, method: &str, path: &str, form: Option<String>) -> Answer {
        let mut stream = TcpStream::connect(&self.daemon.addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let cookies: Vec<_> = self.cookies.iter().map(|(n, v)| format!("{n}={v}")).collect();
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n",
            self.daemon.addr
        );
        if !cookies.is_empty() {
            head += &format!("Cookie: {}\r\n", cookies.join("; "));
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        let body = form.unwrap_or_default();
        if method == "POST" {
            let kind = "application/x-www-form-urlencoded";
            head += &format!("Content-Type: {kind}\r\nContent-Length: {}\r\n", body.len());
        }
        stream.write_all(format!("{head}\r\n{body}").as_bytes()).unwrap();
        let mut raw = Vec::new();
        stream.read_to_end(&mut raw).unwrap();
        let raw = String::from_utf8(raw).unwrap();
        let (head, body) = raw.split_once("\r\n\r\n").unwrap_or((&raw, ""));
        let mut lines = head.lines();
        let status = lines
            .next()
            .and_then(|l| l.split(' ').nth(1))
            .and_then(|s| s.parse().ok())
            .unwrap_or(0);
        let headers: Vec<(String, String)> = lines
            .filter_map(|l| l.split_once(": "))
            .map(|(n, v)| (n.to_ascii_lowercase(), v.to_string()))
            .collect();
        for (_, value) in headers.iter().filter(|(n, _)| n == "set-cookie") {
            let (name, rest) = value.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap_or_default();
            match value {
                "" => drop(self.cookies.remove(name)),
                value => drop(self.cookies.insert(name.into(), value.into())),
            }
        }
        Answer {
            status,
            headers,
            body: body.to_string(),
        }
    }

    /// Asks again until the page says so.
    pub fn wait_for(&mut self, path: &str, good: impl Fn(&Answer) -> bool) -> Answer {
        let until = Instant::now() + Duration::from_secs(40);
        loop {
            let answer = self.get(path);
            if good(&answer) {
                return answer;
            }
            assert!(Instant::now() < until, "{path} never became so: {}", answer.body);
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, b| {
        match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => out.push(b as char),
            b => out += &format!("%{b:02X}"),
        }
        out
    })
}
