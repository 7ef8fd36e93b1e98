//! Serves the streams of events on their clients' own sockets, many to a thread. Each thread goes its round at a fixed
//! pace and never waits for a client, so the cost follows the number of writes and not of events, and a stream at rest
//! costs some hundred bytes. (A thread for each stream cost three times the CPU, and its stack.)

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

/// Threads; one slow look at the database holds up a quarter of the streams.
const ROUNDS: usize = 4;

/// Buffers between us and the browser hold back the first 2 kB of an answer; a comment fills them.
const PADDING: usize = 2048;

/// Has the client hung up? Where events flow, a write tells; else it takes a look, this often.
const GLANCE: Duration = Duration::from_secs(1);

/// A round's buffer shrinks to this after a larger batch.
const KEEP: usize = 2 * BATCH;

/// Sent at first and when all is quiet, so that a page knows whether its stream gets through. An event, because browsers
/// tell their scripts nothing of comments.
const BEAT: &[u8] = b"event: beat\ndata: {}\n\n";

/// What goes out before the first event.
pub fn begin(out: &mut Vec<u8>) {
    out.extend_from_slice(b"retry: 3000\n:");
    out.resize(out.len() + PADDING, b' ');
    out.extend_from_slice(b"\n\n");
    out.extend_from_slice(BEAT);
}

/// All threads.
pub struct Rounds {
    lobbies: Vec<Arc<Lobby>>,
    threads: Mutex<Vec<thread::JoinHandle<()>>>,
    next: AtomicUsize,
}

/// Where streams come to a thread.
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

    /// From now on this stream is served.
    pub fn serve(&self, live: Live) {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let lobby = &self.lobbies[turn % self.lobbies.len()];
        let mut waiting = lobby.waiting();
        if !waiting.over {
            waiting.streams.push(live);
            lobby.came.notify_one();
        }
    }

    /// Ends at once, whoever is still there.
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
    /// Those who came; with `wait`, when somebody has come. `None`: it is over.
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
        // Who is behind catches up in the time that is left.
        while clock::mono() < until && streams.iter().any(|s| s.behind) {
            streams.retain_mut(|s| !s.behind || s.goes_on(&mut out, limits));
        }
        thread::sleep(until.saturating_duration_since(clock::mono()));
    }
}

/// Told of a stream that has ended how many bytes were sent.
pub type OnEnd = Box<dyn FnOnce(u64) + Send>;

/// A stream and its client.
pub struct Live {
    stream: Stream,
    to: StreamSocket,
    _slot: ConnectionSlot,
    told: Option<OnEnd>,
    until: Instant,
    /// When something was sent last.
    sent_at: Instant,
    bytes: u64,
    /// How far it had moved at the last look; `None`: look in any case.
    seen: Option<u64>,
    glance_at: Instant,
    /// What the client has not taken yet, and since when it takes nothing.
    rest: Vec<u8>,
    stuck: Option<Instant>,
    /// There was more than one batch.
    behind: bool,
    /// The last has been written.
    ending: bool,
}

impl Live {
    /// The answer's head and [`begin`] are sent.
    pub fn new(stream: Stream, to: StreamSocket, slot: ConnectionSlot, limits: &Limits, told: OnEnd) -> Live {
        let now = clock::mono();
        Live {
            stream,
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

    /// Its turn in the round. `out` is the round's buffer.
    fn goes_on(&mut self, out: &mut Vec<u8>, limits: &Limits) -> bool {
        out.clear();
        // A client that is gone is an end like any other.
        let goes_on = self.turn(out, limits).unwrap_or(false);
        if out.capacity() > KEEP {
            *out = Vec::new();
        }
        goes_on
    }

    fn turn(&mut self, out: &mut Vec<u8>, limits: &Limits) -> io::Result<bool> {
        let now = clock::mono();
        // Who is not signed in any more is told nothing more.
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
        // Before the look: what is written after it moves the counter and is not missed.
        let count = self.stream.moved();
        let quiet = now.saturating_duration_since(self.sent_at) >= limits.heartbeat;
        self.ending = over || now >= self.until;
        if !self.ending && (self.seen != Some(count) || quiet) {
            self.ending = self.fill(out) == Flow::End;
        }
        self.behind = out.len() >= BATCH;
        self.seen = (!self.behind).then_some(count);
        if self.ending {
            out.extend_from_slice(b": end\n\n");
        } else if out.is_empty() && quiet {
            out.extend_from_slice(BEAT);
        }
        if out.is_empty() || self.send(out, now, limits)? {
            return Ok(!self.ending);
        }
        self.behind = false;
        self.rest = out.split_off(0);
        Ok(true)
    }

    fn fill(&mut self, out: &mut Vec<u8>) -> Flow {
        // One that panics ends alone.
        let filled: Result<Flow> = catch_unwind(AssertUnwindSafe(|| self.stream.fill(out)))
            .unwrap_or_else(|_| Err(Error::internal("a stream's source panicked")));
        filled.unwrap_or_else(|e| {
            log::warning("http", "a stream failed", &[("cause", &e.to_string())]);
            Flow::End
        })
    }

    /// Sends what the client takes and leaves the rest. Is it all gone? An error when it has taken nothing for too long.
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

impl Drop for Live {
    fn drop(&mut self) {
        self.to.close();
        if let Some(told) = self.told.take() {
            told(self.bytes);
        }
    }
}
