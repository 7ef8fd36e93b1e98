//! A minimal browser: cookies and forms, no scripts.

use super::{ADMIN, House, PATIENCE};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

impl House {
    /// A browser without a session.
    pub fn browser(&self) -> Browser {
        Browser {
            at: self.address,
            cookies: BTreeMap::new(),
            headers: Vec::new(),
        }
    }

    /// A browser with a session of the administrator.
    pub fn browser_of_admin(&self) -> Browser {
        let mut browser = self.browser();
        browser.sign_in(ADMIN, &self.password);
        browser
    }
}

/// A browser without script.
pub struct Browser {
    at: SocketAddr,
    pub cookies: BTreeMap<String, String>,
    /// Sent with every request.
    pub headers: Vec<(&'static str, String)>,
}

/// A page.
pub struct Page {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Page {
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

impl Browser {
    pub fn get(&mut self, path: &str) -> Page {
        self.request("GET", path, None)
    }

    /// Sends a form; the CSRF token is taken from the preferences page unless the form has one.
    pub fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
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

    pub fn request(&mut self, method: &str, path: &str, form: Option<String>) -> Page {
        let mut stream = TcpStream::connect(self.at).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let cookies: Vec<_> = self.cookies.iter().map(|(n, v)| format!("{n}={v}")).collect();
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.at);
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
        Page {
            status,
            headers,
            body: body.to_string(),
        }
    }

    /// Reloads until the page contains the text.
    pub fn wait_for(&mut self, path: &str, good: impl Fn(&Page) -> bool) -> Page {
        let until = Instant::now() + PATIENCE;
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
