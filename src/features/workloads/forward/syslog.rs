//! Sends to a syslog receiver. A connection lasts some seconds; what it has carried counts once its end was answered. What
//! breaks before is sent again: the receiver may get lines twice, with the same number, but misses none.

use super::reading::{Named, Run};
use super::target::Place;
use crate::base::clock::{self, Duration};
use crate::base::error::Result;
use crate::base::lines::uncoloured;
use crate::journal::{Level, Stream};
use crate::net::syslog::{Message, Sender};

/// How long a connection lasts.
const LASTS: Duration = Duration::from_secs(3);
/// Bytes that one carries.
const BYTES_MAX: usize = 16 << 20;
/// How long the receiver may take for some lines, or for its end.
const PATIENCE: Duration = Duration::from_secs(20);
/// Pause before new lines are looked for.
const PAUSE: Duration = Duration::from_millis(500);
/// Lines at once.
const PART: i64 = 1_000;

/// One connection. Errors: those of [`crate::net::syslog`].
pub fn send(run: &mut Run, place: &Place) -> Result<()> {
    let mut part = run.next(PART)?;
    if part.last == run.reader.last {
        return Ok(());
    }
    let until = clock::mono() + LASTS;
    let mut sender = Sender::connect(&place.call(PATIENCE))?;
    let (mut carried, mut reader, mut out) = (0, run.reader.clone(), Vec::new());
    loop {
        out.clear();
        for (name, line) in part.named() {
            message(name, line, &mut out);
        }
        if !out.is_empty() {
            sender.send(&out, clock::mono() + PATIENCE)?;
        }
        carried += out.len();
        part.pass(&mut reader);
        if carried >= BYTES_MAX || clock::mono() >= until || run.is_stopping() {
            break;
        }
        part = run.after(reader.last, PART)?;
        if part.last == reader.last {
            run.wait(PAUSE);
        }
    }
    sender.finish(clock::mono() + PATIENCE)?;
    run.taken(reader)
}

fn message(name: &Named, line: &crate::journal::Line, out: &mut Vec<u8>) {
    let severity = match line.level {
        Level::Critical => 2,
        Level::Error => 3,
        Level::Warning => 4,
        Level::Info | Level::Unknown => 6,
        Level::Debug | Level::Trace => 7,
    };
    let message = Message {
        severity: if line.stream == Stream::Note { 5 } else { severity },
        at: line.at,
        host: &name.server,
        app: &name.name,
        kind: line.stream.name(),
        number: line.id,
        text: &uncoloured(&line.text),
    };
    message.write(out);
}
