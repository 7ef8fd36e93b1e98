//! Serves one stream of events on its client's own socket. The first event goes out at once; then events gather for a
//! moment, so that the cost follows the number of writes and not of events.

use super::limits::Limits;
use super::wire::Pusher;
use crate::base::clock::{self, Duration, Instant};
use crate::base::log;
use crate::http::sse::{BATCH, Flow, Stream};
use std::io;
use std::thread;

/// Buffers between us and the browser hold back the first 2 kB of an answer; a comment fills them.
const PADDING: usize = 2048;

/// An idle stream keeps no more memory than this for its next frames.
const KEEP: usize = 4 << 10;

/// Sends `head`, then the stream until its end, and returns the bytes sent.
pub fn serve(stream: &mut Stream, to: &mut Pusher, head: Vec<u8>, limits: &Limits) -> u64 {
    let mut sent = Sent {
        to,
        bytes: 0,
        at: clock::mono(),
    };
    // A client that is gone is an end like any other.
    let _ = events(stream, &mut sent, head, limits);
    sent.bytes
}

fn events(stream: &mut Stream, sent: &mut Sent<'_>, mut out: Vec<u8>, limits: &Limits) -> io::Result<()> {
    let until = clock::mono() + limits.stream_age;
    out.extend_from_slice(b"retry: 3000\n:");
    out.resize(out.len() + PADDING, b' ');
    out.extend_from_slice(b"\n\n");
    loop {
        // Before the look: what is written after it moves the counter and is not missed.
        let seen = stream.source.wake().count();
        let flow = match stream.source.fill(&mut out) {
            Ok(flow) => flow,
            Err(e) => {
                log::warning("http", "a stream failed", &[("cause", &e.to_string())]);
                Flow::End
            }
        };
        let now = clock::mono();
        if flow == Flow::End || stream.over() || now >= until {
            out.extend_from_slice(b": end\n\n");
            return sent.send(&mut out);
        }
        if sent.to.gone() {
            return Ok(());
        }
        if !out.is_empty() {
            let backlog = out.len() >= BATCH;
            sent.send(&mut out)?;
            if !backlog {
                thread::sleep(limits.gather);
            }
            continue;
        }
        let quiet = now.saturating_duration_since(sent.at);
        if quiet >= limits.heartbeat {
            out.extend_from_slice(b": ping\n\n");
            sent.send(&mut out)?;
            continue;
        }
        out.shrink_to(KEEP);
        let rest: Duration = (limits.heartbeat - quiet).min(until.saturating_duration_since(now));
        stream.source.wake().wait(seen, rest);
    }
}

struct Sent<'a> {
    to: &'a mut Pusher,
    bytes: u64,
    at: Instant,
}

impl Sent<'_> {
    fn send(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        self.to.push(out)?;
        self.bytes += out.len() as u64;
        self.at = clock::mono();
        out.clear();
        Ok(())
    }
}
