//! Somebody who takes POSTs: keeps what came, and answers as usual or, for a while, as a test wants it to.

use super::{Fake, Peer, endless};
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// One request.
#[derive(Debug, Clone)]
pub struct Post {
    /// When its head had come.
    pub at: Instant,
    /// Request line and headers.
    pub head: String,
    /// As sent.
    pub body: String,
}

impl Post {
    pub fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|l| l.split_once(": "));
        lines
            .into_iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v)
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }
}

/// How one request is treated.
pub enum Turn {
    /// These bytes and the end.
    Say(Vec<u8>),
    /// Not a word for so long; then the end.
    Hang(Duration),
    /// The request is read and the connection closed.
    Cut,
    /// Byte by byte, for ever.
    Drip,
    /// A 200 with a body without end.
    Flood,
}

/// See the module's documentation.
pub struct Receiver {
    fake: Fake,
    posts: Arc<Mutex<Vec<Post>>>,
    turns: Arc<Mutex<VecDeque<Turn>>>,
}

impl Receiver {
    /// Over plain HTTP, with its usual answer.
    pub fn new(usual: impl Fn(&Post) -> Vec<u8> + Send + Sync + 'static) -> Receiver {
        Receiver::over(false, usual)
    }

    pub fn over(tls: bool, usual: impl Fn(&Post) -> Vec<u8> + Send + Sync + 'static) -> Receiver {
        let posts = Arc::new(Mutex::new(Vec::new()));
        let turns: Arc<Mutex<VecDeque<Turn>>> = Arc::default();
        let (kept, plan) = (posts.clone(), turns.clone());
        let answer = move |head: &str, peer: &mut dyn Peer| {
            let at = Instant::now();
            let mut post = Post {
                at,
                head: head.into(),
                body: String::new(),
            };
            let length = post.header("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
            let mut body = vec![0; length];
            if peer.read_exact(&mut body).is_err() {
                return;
            }
            post.body = String::from_utf8(body).unwrap();
            kept.lock().unwrap().push(post.clone());
            let turn = plan.lock().unwrap().pop_front();
            match turn {
                None => drop(peer.write_all(&usual(&post))),
                Some(Turn::Say(bytes)) => drop(peer.write_all(&bytes)),
                Some(Turn::Hang(time)) => std::thread::sleep(time),
                Some(Turn::Cut) => {}
                Some(Turn::Drip) => {
                    let _ = peer.write_all(b"HTTP/1.1 200 OK\r\nX-Drip: ");
                    endless(peer, b"x", Duration::from_millis(20));
                }
                Some(Turn::Flood) => {
                    let _ = peer.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n");
                    endless(peer, &[b'x'; 10_000], Duration::ZERO);
                }
            }
        };
        Receiver {
            fake: if tls { Fake::tls(answer) } else { Fake::new(answer) },
            posts,
            turns,
        }
    }

    pub fn port(&self) -> u16 {
        self.fake.port
    }

    /// The next requests are treated so; then it goes on as usual.
    pub fn then(&self, turns: impl IntoIterator<Item = Turn>) {
        self.turns.lock().unwrap().extend(turns);
    }

    pub fn posts(&self) -> Vec<Post> {
        self.posts.lock().unwrap().clone()
    }
}

/// An answer with a status line, headers and a body.
pub fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    out.extend_from_slice(body);
    out
}
