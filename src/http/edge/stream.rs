//! Serves event streams on their clients' sockets, many per thread. Each thread works in rounds at a fixed pace and
//! never blocks on a client, so the cost depends on the number of writes, and an idle stream costs some hundred bytes.
//! (One thread per stream cost three times the CPU, and its stack.)

use super::client_socket::{Pushed, StreamSocket};
use super::limits::Limits;
use super::slots::ConnectionSlot;
use crate::base::clock::{self, Duration, Instant};
use crate::base::error::{Error, Result};
use crate::base::log;
use crate::http::sse::{BATCH, Flow, Stream};
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Threads; a slow database query delays a quarter of the streams.
const ROUNDS: usize = 4;

/// Proxies may buffer the first 2 kB of a response; a comment fills them.
const PADDING: usize = 2048;

/// Interval of checking for closed clients where no events are written.
const GLANCE: Duration = Duration::from_secs(1);

/// A round's buffer is shrunk to this after a large batch.
const KEEP: usize = 2 * BATCH;

/// Sent at first and when idle, so that a page knows that its stream works. An event, since scripts do not see
/// comments.
const PING: &[u8] = b"event: ping\ndata: {}\n\n";

/// How what a source gives goes to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Server-sent events, and what keeps such a stream alive.
    Events,
    /// A download in chunks: the last one tells a whole one from one that broke off.
    Chunks,
    /// A download for a client of HTTP/1.0, which ends with the connection.
    Bytes,
}

/// Appends what precedes the first event.
pub fn begin(out: &mut Vec<u8>) {
    out.extend_from_slice(b"retry: 3000\n:");
    out.resize(out.len() + PADDING, b' ');
    out.extend_from_slice(b"\n\n");
    out.extend_from_slice(PING);
}

/// All threads.
pub struct Rounds {
    lobbies: Vec<Arc<Lobby>>,
    threads: Mutex<Vec<thread::JoinHandle<()>>>,
    next: AtomicUsize,
}

/// Queue of new streams for a thread.
#[derive(Default)]
struct Lobby {
    waiting: Mutex<Waiting>,
    came: Condvar,
}

#[derive(Default)]
struct Waiting {
    streams: Vec<Live>,
    over: bool,
}

impl Rounds {
    /// Begins.
    pub fn start(limits: &Limits) -> io::Result<Rounds> {
        let rounds = Rounds {
            lobbies: (0..ROUNDS).map(|_| Arc::default()).collect(),
            threads: Mutex::default(),
            next: AtomicUsize::new(0),
        };
        for lobby in &rounds.lobbies {
            let (lobby, limits) = (Arc::clone(lobby), limits.clone());
            let thread = thread::Builder::new()
                .name("edge-streams".into())
                .spawn(move || go(&lobby, &limits))?;
            rounds.threads().push(thread);
        }
        Ok(rounds)
    }

    /// Adds a stream.
    pub fn serve(&self, live: Live) {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let lobby = &self.lobbies[turn % self.lobbies.len()];
        let mut waiting = lobby.waiting();
        if !waiting.over {
            waiting.streams.push(live);
            lobby.came.notify_one();
        }
    }

    /// Ends all streams.
    pub fn stop(&self) {
        for lobby in &self.lobbies {
            lobby.waiting().over = true;
            lobby.came.notify_one();
        }
        for thread in self.threads().drain(..) {
            let _ = thread.join();
        }
    }

    fn threads(&self) -> MutexGuard<'_, Vec<thread::JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lobby {
    /// New streams; with `wait`, waits for one. `None`: stopped.
    fn arrived(&self, wait: bool) -> Option<Vec<Live>> {
        let mut waiting = self.waiting();
        while wait && waiting.streams.is_empty() && !waiting.over {
            waiting = self.came.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        (!waiting.over).then(|| std::mem::take(&mut waiting.streams))
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn go(lobby: &Lobby, limits: &Limits) {
    let mut streams = Vec::new();
    let mut out = Vec::new();
    while let Some(arrived) = lobby.arrived(streams.is_empty()) {
        let until = clock::mono() + limits.gather;
        streams.extend(arrived);
        streams.retain_mut(|s: &mut Live| s.goes_on(&mut out, limits));
        // Streams with a backlog continue in the remaining time.
        while clock::mono() < until && streams.iter().any(|s| s.behind) {
            streams.retain_mut(|s| !s.behind || s.goes_on(&mut out, limits));
        }
        thread::sleep(until.saturating_duration_since(clock::mono()));
    }
}

/// Called at the end of a stream with the number of bytes sent.
pub type OnEnd = Box<dyn FnOnce(u64) + Send>;

/// A stream and its client.
pub struct Live {
    stream: Stream,
    framing: Framing,
    to: StreamSocket,
    _slot: ConnectionSlot,
    told: Option<OnEnd>,
    until: Instant,
    /// Time of the last write.
    sent_at: Instant,
    bytes: u64,
    /// Source's counter at the last check; `None`: check in any case.
    seen: Option<u64>,
    glance_at: Instant,
    /// Unsent bytes, and since when the client takes none.
    rest: Vec<u8>,
    stuck: Option<Instant>,
    /// There was more than one batch.
    behind: bool,
    /// The last event has been written.
    ending: bool,
}

impl Live {
    /// The answer's head is sent, and for events [`begin`].
    pub fn new(
        stream: Stream,
        framing: Framing,
        to: StreamSocket,
        slot: ConnectionSlot,
        limits: &Limits,
        told: OnEnd,
    ) -> Live {
        let now = clock::mono();
        Live {
            stream,
            framing,
            to,
            _slot: slot,
            told: Some(told),
            until: now + limits.stream_age,
            sent_at: now,
            bytes: 0,
            seen: None,
            glance_at: now + GLANCE,
            rest: Vec::new(),
            stuck: None,
            behind: false,
            ending: false,
        }
    }

    /// One round for this stream. `out` is the round's buffer.
    fn goes_on(&mut self, out: &mut Vec<u8>, limits: &Limits) -> bool {
        out.clear();
        // A closed client is a normal end.
        let goes_on = self.turn(out, limits).unwrap_or(false);
        if out.capacity() > KEEP {
            *out = Vec::new();
        }
        goes_on
    }

    fn turn(&mut self, out: &mut Vec<u8>, limits: &Limits) -> io::Result<bool> {
        let now = clock::mono();
        // Ends if the client is no longer signed in.
        let over = self.stream.over();
        if self.stuck.is_some() {
            if over {
                return Ok(false);
            }
            let mut rest = std::mem::take(&mut self.rest);
            if !self.send(&mut rest, now, limits)? {
                self.rest = rest;
                return Ok(true);
            }
        }
        if self.ending {
            return Ok(false);
        }
        if now >= self.glance_at {
            self.glance_at = now + GLANCE;
            if self.to.gone() {
                return Ok(false);
            }
        }
        // Read before filling: later rows move the counter.
        let count = self.stream.moved();
        let quiet = now.saturating_duration_since(self.sent_at) >= limits.heartbeat;
        self.ending = over || now >= self.until;
        let mut is_whole = false;
        if !self.ending && (self.seen != Some(count) || quiet) {
            let filled = self.fill(out);
            self.ending = filled != Some(Flow::More);
            is_whole = filled == Some(Flow::End);
        }
        self.behind = out.len() >= BATCH;
        self.seen = (!self.behind).then_some(count);
        match self.framing {
            Framing::Events if self.ending => out.extend_from_slice(b": end\n\n"),
            Framing::Events if out.is_empty() && quiet => out.extend_from_slice(PING),
            Framing::Chunks => chunk(out, is_whole),
            Framing::Events | Framing::Bytes => {}
        }
        if out.is_empty() || self.send(out, now, limits)? {
            return Ok(!self.ending);
        }
        self.behind = false;
        self.rest = out.split_off(0);
        Ok(true)
    }

    /// `None`: it failed.
    fn fill(&mut self, out: &mut Vec<u8>) -> Option<Flow> {
        // A panic ends this stream only.
        let filled: Result<Flow> = catch_unwind(AssertUnwindSafe(|| self.stream.fill(out)))
            .unwrap_or_else(|_| Err(Error::internal("a stream's source panicked")));
        let told = |e: Error| log::warning("http", "a stream failed", &[("cause", &e.to_string())]);
        filled.map_err(told).ok()
    }

    /// Sends what the client takes and keeps the rest. Returns whether everything was sent. Error: nothing was taken
    /// for too long.
    fn send(&mut self, out: &mut Vec<u8>, now: Instant, limits: &Limits) -> io::Result<bool> {
        let before = out.len();
        let pushed = self.to.push(out)?;
        self.bytes += (before - out.len()) as u64;
        if pushed != Pushed::Nothing {
            (self.sent_at, self.stuck) = (now, None);
        }
        if pushed == Pushed::All {
            return Ok(true);
        }
        let since = *self.stuck.get_or_insert(now);
        if now.saturating_duration_since(since) >= limits.stall {
            return Err(ErrorKind::TimedOut.into());
        }
        Ok(false)
    }
}

/// Makes one chunk of what is there, and the last one behind it where that is all.
fn chunk(out: &mut Vec<u8>, is_whole: bool) {
    if !out.is_empty() {
        let size = format!("{:x}\r\n", out.len());
        out.splice(..0, size.into_bytes());
        out.extend_from_slice(b"\r\n");
    }
    if is_whole {
        out.extend_from_slice(b"0\r\n\r\n");
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.to.close();
        if let Some(told) = self.told.take() {
            told(self.bytes);
        }
    }
}
