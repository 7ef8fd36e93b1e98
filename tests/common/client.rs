//! A plain HTTP client: one kept-alive connection, JSON requests and answers, event streams.

use serde_json::Value;
use std::cell::RefCell;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Longest wait for an answer: a long poll takes 25 s.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// Credentials of a client.
#[derive(Clone, Default)]
pub enum Who {
    #[default]
    Nobody,
    /// With an access token.
    Bearer(String),
    /// With a session's cookie (`name=value`) and, for what changes something, its CSRF token.
    Cookie(String, String),
}

impl Who {
    /// The access token of a sign-in's answer.
    #[track_caller]
    pub fn bearer(answer: &Answer) -> Who {
        assert_eq!(answer.status, 200, "{}", answer.text());
        Who::Bearer(answer.json()["access_token"].as_str().unwrap().into())
    }

    /// The cookie of a sign-in's answer; the CSRF token is taken from a page, as a browser does.
    #[track_caller]
    pub fn cookie(answer: &Answer, at: SocketAddr) -> Who {
        let (name, value) = answer.cookie();
        let cookie = format!("{name}={value}");
        let page = Client::new(at)
            .by(Who::Cookie(cookie.clone(), String::new()))
            .get("/prefs")
            .text();
        let csrf = page.split_once("name=\"csrf\" value=\"").expect("a form").1;
        Who::Cookie(cookie, csrf.split_once('"').unwrap().0.into())
    }
}

/// See the module's documentation.
pub struct Client {
    at: SocketAddr,
    who: Who,
    extra: Vec<(String, String)>,
    kept: RefCell<Option<BufReader<TcpStream>>>,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value; the first when there are more.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e} in a {}: {}", self.status, self.text()))
    }

    /// Checks the status; gives the JSON.
    #[track_caller]
    pub fn is(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// Checks the status and the stable code of an error.
    #[track_caller]
    pub fn fails(&self, status: u16, code: &str) -> Value {
        let body = self.is(status);
        assert_eq!(body["error_code"], code, "{body}");
        assert_eq!(body["detail"] == "Unauthorized", status == 401, "{body}");
        body
    }

    /// The names of the fields that an error complains about.
    #[track_caller]
    pub fn wrong_fields(&self) -> Vec<String> {
        let body = self.json();
        let fields = body["fields"].as_array().into_iter().flatten();
        fields.map(|f| f["field"].as_str().unwrap().to_string()).collect()
    }

    /// All cookies it sets, as a browser sends them back.
    pub fn cookies(&self) -> Vec<String> {
        let lines = self
            .headers
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case("set-cookie"));
        lines
            .filter_map(|(_, line)| line.split(';').next().map(str::to_string))
            .collect()
    }

    /// Name and value of the first cookie it sets.
    #[track_caller]
    pub fn cookie(&self) -> (String, String) {
        let line = self.header("set-cookie").expect("a cookie");
        let (name, rest) = line.split_once('=').unwrap();
        (name.into(), rest.split(';').next().unwrap().into())
    }
}

impl Client {
    pub fn new(at: SocketAddr) -> Client {
        Client {
            at,
            who: Who::Nobody,
            extra: Vec::new(),
            kept: RefCell::default(),
        }
    }

    pub fn by(mut self, who: Who) -> Client {
        self.who = who;
        self
    }

    pub fn who(&self) -> &Who {
        &self.who
    }

    /// Sends this header with every request.
    pub fn with(mut self, name: &str, value: &str) -> Client {
        self.extra.push((name.into(), value.into()));
        self
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None)
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, Some(("application/json", body.to_string().as_bytes())))
    }

    pub fn put(&self, path: &str, body: &Value) -> Answer {
        self.send("PUT", path, Some(("application/json", body.to_string().as_bytes())))
    }

    pub fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send("PATCH", path, Some(("application/json", body.to_string().as_bytes())))
    }

    pub fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, None)
    }

    /// An HTML form, already encoded.
    pub fn form(&self, path: &str, body: &str) -> Answer {
        self.send(
            "POST",
            path,
            Some(("application/x-www-form-urlencoded", body.as_bytes())),
        )
    }

    /// For a server that may be killed during the request.
    pub fn try_post(&self, path: &str, body: &Value) -> Option<Answer> {
        let bytes = body.to_string();
        let request = self.request("POST", path, Some(("application/json", bytes.as_bytes())));
        let mut socket = TcpStream::connect(self.at).ok()?;
        socket.set_read_timeout(Some(ANSWER_MAX)).ok()?;
        socket.write_all(&request).ok()?;
        self.read(BufReader::new(socket), "POST").ok()
    }

    /// One request; a connection that was kept and has been closed meanwhile is opened afresh.
    #[track_caller]
    pub fn send(&self, method: &str, path: &str, body: Option<(&str, &[u8])>) -> Answer {
        let request = self.request(method, path, body);
        let kept = self.kept.borrow_mut().take();
        if let Some(mut kept) = kept
            && kept.get_mut().write_all(&request).is_ok()
            && let Ok(answer) = self.read(kept, method)
        {
            return answer;
        }
        let mut fresh = BufReader::new(connect(self.at));
        // A refusal may come, and the connection be closed, before all of the body is sent.
        let _ = fresh.get_mut().write_all(&request);
        self.read(fresh, method)
            .unwrap_or_else(|e| panic!("{method} {path}: no answer: {e}"))
    }

    fn request(&self, method: &str, path: &str, body: Option<(&str, &[u8])>) -> Vec<u8> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.at);
        match &self.who {
            Who::Nobody => {}
            Who::Bearer(token) => head += &format!("Authorization: Bearer {token}\r\n"),
            Who::Cookie(cookie, csrf) => {
                head += &format!("Cookie: {cookie}\r\n");
                if !csrf.is_empty() && method != "GET" {
                    head += &format!("X-CSRF-Token: {csrf}\r\n");
                }
            }
        }
        let is_said = self.extra.iter().any(|(name, _)| name.eq_ignore_ascii_case("accept"));
        if !path.starts_with("/api") && !is_said {
            head += "Accept: text/html\r\n"; // a page is wanted, and not what a program is sent to
        }
        for (name, value) in &self.extra {
            head += &format!("{name}: {value}\r\n");
        }
        if let Some((kind, bytes)) = body {
            head += &format!("Content-Type: {kind}\r\nContent-Length: {}\r\n", bytes.len());
        }
        let mut request = (head + "\r\n").into_bytes();
        request.extend_from_slice(body.map_or(&[], |(_, bytes)| bytes));
        request
    }

    fn read(&self, mut from: BufReader<TcpStream>, method: &str) -> std::io::Result<Answer> {
        let (status, headers) = read_head(&mut from)?;
        let mut answer = Answer {
            status,
            headers,
            body: Vec::new(),
        };
        let length = answer.header("content-length").map(|n| n.parse::<usize>().unwrap());
        if method != "HEAD" && status != 204 && status != 304 {
            match (length, answer.header("transfer-encoding")) {
                (Some(length), None) => {
                    answer.body.resize(length, 0);
                    from.read_exact(&mut answer.body)?;
                }
                (None, Some("chunked")) => answer.body = chunks(&mut from)?,
                _ => return Err(std::io::Error::other("an answer without a length")),
            }
        }
        if answer.header("connection") != Some("close") {
            *self.kept.borrow_mut() = Some(from);
        }
        Ok(answer)
    }

    /// A live stream, from the line after `last` on.
    #[track_caller]
    pub fn stream(&self, path: &str, last: Option<i64>) -> Sse {
        let mut client = Client::new(self.at).by(self.who.clone());
        client.extra.clone_from(&self.extra);
        client.extra.push(("Accept".into(), "text/event-stream".into()));
        client
            .extra
            .extend(last.map(|id| ("Last-Event-ID".to_string(), id.to_string())));
        let mut socket = connect(self.at);
        socket.write_all(&client.request("GET", path, None)).unwrap();
        let mut from = BufReader::new(socket);
        let (status, headers) = read_head(&mut from).unwrap();
        assert_eq!(status, 200, "{headers:?}");
        Sse {
            from,
            headers,
            line: Vec::new(),
        }
    }
}

fn connect(at: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(at).unwrap_or_else(|e| panic!("{at}: {e}"));
    socket.set_read_timeout(Some(ANSWER_MAX)).unwrap();
    socket.set_nodelay(true).unwrap();
    socket
}

/// A body in chunks up to the last one, which tells that it is whole (RFC 9112 §7.1).
fn chunks(from: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        from.read_line(&mut line)?;
        let size = usize::from_str_radix(line.trim_end(), 16).map_err(|_| ErrorKind::UnexpectedEof)?;
        let mut chunk = vec![0; size + 2];
        from.read_exact(&mut chunk)?;
        assert!(chunk.ends_with(b"\r\n"));
        if size == 0 {
            return Ok(body);
        }
        body.extend_from_slice(&chunk[..size]);
    }
}

fn read_head(from: &mut impl BufRead) -> std::io::Result<(u16, Vec<(String, String)>)> {
    let mut line = || {
        let mut line = String::new();
        match from.read_line(&mut line)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok::<_, std::io::Error>(line.trim_end().to_string()),
        }
    };
    let status = line()?;
    let status = status.split(' ').nth(1).and_then(|n| n.parse().ok());
    let mut headers = Vec::new();
    loop {
        let header = line()?;
        match header.split_once(':') {
            Some((name, value)) => headers.push((name.to_string(), value.trim().to_string())),
            None => break,
        }
    }
    Ok((status.ok_or(ErrorKind::InvalidData)?, headers))
}

/// One event of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    pub id: Option<i64>,
    pub name: String,
    pub data: String,
}

impl Event {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

/// An open stream.
pub struct Sse {
    from: BufReader<TcpStream>,
    pub headers: Vec<(String, String)>,
    line: Vec<u8>,
}

impl Sse {
    /// The next event except pings; `None` at the stream's end, or when nothing comes within `limit`.
    pub fn next(&mut self, limit: Duration) -> Option<Event> {
        let until = Instant::now() + limit;
        std::iter::from_fn(|| self.event(until)).find(|event| event.name != "ping")
    }

    /// The next one, whatever it is.
    pub fn event(&mut self, until: Instant) -> Option<Event> {
        let mut event = Event::default();
        loop {
            let line = self.next_line(until)?;
            match line.split_once(": ").unwrap_or((&line, "")) {
                ("", "") if event != Event::default() => return Some(event),
                ("id", id) => event.id = id.parse().ok(),
                ("event", name) => event.name = name.into(),
                ("data", data) => {
                    let gap = if event.data.is_empty() { "" } else { "\n" };
                    event.data += &(gap.to_string() + data);
                }
                _ => {}
            }
        }
    }

    /// Everything up to the stream's own end.
    pub fn rest(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.next(ANSWER_MAX)).collect()
    }

    /// Does it end by itself?
    pub fn ends(&mut self) -> bool {
        self.from.get_ref().set_read_timeout(Some(ANSWER_MAX)).unwrap();
        self.from.read_to_end(&mut Vec::new()).is_ok()
    }

    fn next_line(&mut self, until: Instant) -> Option<String> {
        loop {
            let left = until.checked_duration_since(Instant::now())?;
            let left = left.max(Duration::from_millis(1));
            self.from.get_ref().set_read_timeout(Some(left)).unwrap();
            match self.from.read_until(b'\n', &mut self.line) {
                Ok(_) if self.line.ends_with(b"\n") => {
                    let line = std::mem::take(&mut self.line);
                    return Some(String::from_utf8(line).unwrap().trim_end().to_string());
                }
                Ok(_) => return None, // the end
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return None,
            }
        }
    }
}
