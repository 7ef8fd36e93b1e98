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

/// A stream keeps no more memory than this for its next frames; the padding and a backlog are exceptions.
const KEEP: usize = 2 << 10;

/// The streams' pauses end on multiples of this, together: one timer interrupt for many threads saves a fifth of the
/// CPU of an event (5.1 → 4.1 µs), and a hundredth of the streams at once stands in nobody's way.
const GRID: Duration = Duration::from_millis(5);

/// Sends `head`, then the stream until its end, and returns the bytes sent. `zero` is where the grid of pauses begins.
pub fn serve(stream: &mut Stream, to: &mut Pusher, head: Vec<u8>, limits: &Limits, zero: Instant) -> u64 {
    let mut sent = Sent {
        to,
        bytes: 0,
        at: clock::mono(),
    };
    // A client that is gone is an end like any other.
    let _ = events(stream, &mut sent, head, limits, zero);
    sent.bytes
}

fn events(
    stream: &mut Stream,
    sent: &mut Sent<'_>,
    mut out: Vec<u8>,
    limits: &Limits,
    zero: Instant,
) -> io::Result<()> {
    let until = clock::mono() + limits.stream_age;
    out.extend_from_slice(b"retry: 3000\n:");
    out.resize(out.len() + PADDING, b' ');
    out.extend_from_slice(b"\n\n");
    loop {
        // Before the look: what is written after it moves the counter and is not missed.
        let seen = stream.source.wake().count();
        let now = clock::mono();
        // Who was signed out is told nothing more.
        let flow = if stream.over() || now >= until {
            Flow::End
        } else {
            stream.source.fill(&mut out).unwrap_or_else(|e| {
                log::warning("http", "a stream failed", &[("cause", &e.to_string())]);
                Flow::End
            })
        };
        if flow == Flow::End {
            out.extend_from_slice(b": end\n\n");
            return sent.send(&mut out);
        }
        if !out.is_empty() {
            let backlog = out.len() >= BATCH;
            sent.send(&mut out)?;
            if !backlog {
                thread::sleep(pause(limits.gather, clock::mono() - zero));
            }
            continue;
        }
        // Where events flow, a write tells; here it takes a look.
        if sent.to.gone() {
            return Ok(());
        }
        let quiet = now.saturating_duration_since(sent.at);
        if quiet >= limits.heartbeat {
            out.extend_from_slice(b": ping\n\n");
            sent.send(&mut out)?;
            continue;
        }
        let rest: Duration = (limits.heartbeat - quiet).min(until.saturating_duration_since(now));
        stream.source.wake().wait(seen, rest);
    }
}

/// At most `gather`, at least that without one step of the grid.
fn pause(gather: Duration, age: Duration) -> Duration {
    let past = Duration::from_nanos((age.as_nanos() % GRID.as_nanos()) as u64);
    gather.saturating_sub(past)
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
        if out.capacity() > KEEP {
            *out = Vec::new();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_end_together_and_are_never_longer_than_asked() {
        let ms = Duration::from_millis;
        for age in [0, 1, 4, 5, 12_344] {
            let end = ms(age) + pause(ms(50), ms(age));
            assert!(end.as_millis().is_multiple_of(5) && end <= ms(age) + ms(50) && end > ms(age) + ms(45));
        }
        assert_eq!(pause(ms(1), ms(4)), ms(0));
    }
}
