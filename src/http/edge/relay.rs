//! Relays one clean request to the inner server over a Unix socket.

use super::parse::{self, Scan};
use super::refusal::Refusal;
use crate::base::clock::{self, Duration, Instant};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Time a write to the inner server may block before checking for an early response.
const PATIENCE: Duration = Duration::from_millis(500);

/// A request in progress, then its response.
pub struct Inner {
    socket: UnixStream,
    /// Received part of the response.
    buf: Vec<u8>,
    /// End of the head in it.
    head: usize,
}

impl Inner {
    /// Sends the request and waits for the response head.
    ///
    /// Sent as HTTP/1.0, so that `tiny_http` never uses chunked encoding.
    pub fn ask(path: &Path, head: &[u8], body: &[u8], until: Instant) -> Result<Inner, Refusal> {
        let socket = UnixStream::connect(path).map_err(|_| Refusal::Inner)?;
        let mut inner = Inner {
            socket,
            buf: Vec::new(),
            head: 0,
        };
        inner.send(head, until)?;
        inner.send(body, until)?;
        let mut scan = Scan::default();
        loop {
            if let Some(end) = scan.end(&inner.buf).map_err(|_| Refusal::Internal)? {
                inner.head = end;
                return Ok(inner);
            }
            match inner.read(until) {
                Ok(0) => return Err(Refusal::Internal),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::TimedOut => return Err(Refusal::Late),
                Err(_) => return Err(Refusal::Internal),
            }
        }
    }

    /// Sends everything, or as much as the handler reads: a handler that responds without reading a large body would
    /// otherwise block both sides.
    fn send(&mut self, mut bytes: &[u8], until: Instant) -> Result<(), Refusal> {
        while !bytes.is_empty() && self.buf.is_empty() {
            let left = left(until).map_err(|_| Refusal::Late)?;
            let written = self
                .socket
                .set_write_timeout(Some(left.min(PATIENCE)))
                .and_then(|()| self.socket.write(bytes));
            match written {
                Ok(n) => bytes = &bytes[n..],
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => self.peek()?,
                // Closed for writing; it may have responded.
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    fn peek(&mut self) -> Result<(), Refusal> {
        let mut chunk = [0; 512];
        let read = self.socket.set_nonblocking(true).and_then(|()| {
            let read = self.socket.read(&mut chunk);
            self.socket.set_nonblocking(false)?;
            read
        });
        match read {
            Ok(0) => Err(Refusal::Internal),
            Ok(n) => {
                self.buf.extend_from_slice(&chunk[..n]);
                Ok(())
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(_) => Err(Refusal::Internal),
        }
    }

    /// The answer's head, read.
    pub fn answer(&self) -> Option<parse::Answer<'_>> {
        parse::answer(&self.buf[..self.head])
    }

    /// Appends the whole body, which must have `length` bytes.
    pub fn whole(&self, out: &mut Vec<u8>, length: u64, until: Instant) -> io::Result<()> {
        let begun = &self.buf[self.head..];
        out.extend_from_slice(begun);
        let more = (length + 1).saturating_sub(begun.len() as u64);
        out.reserve(more as usize); // avoids copying when it grows
        let read = Until(&self.socket, until).take(more).read_to_end(out)?;
        match (begun.len() + read) as u64 == length {
            true => Ok(()),
            false => Err(ErrorKind::InvalidData.into()),
        }
    }

    /// Reads the next part of a body of `length` bytes, of which `done` were read; appends to an empty `out`.
    pub fn part(&self, out: &mut Vec<u8>, length: u64, done: u64, until: Instant) -> io::Result<()> {
        let begun = &self.buf[self.head..];
        if done == 0 && !begun.is_empty() {
            out.extend_from_slice(begun);
        } else {
            out.resize(PART, 0);
            let n = Until(&self.socket, until).read(out)?;
            out.truncate(n);
        }
        match out.len() as u64 {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            n if done + n > length => Err(ErrorKind::InvalidData.into()),
            _ => Ok(()),
        }
    }

    /// Reads more of the response. On the heap: stack pages once used are not released.
    fn read(&mut self, until: Instant) -> io::Result<usize> {
        let have = self.buf.len();
        self.buf.resize(have + HEAD_CHUNK, 0);
        let read = Until(&self.socket, until).read(&mut self.buf[have..]);
        self.buf.truncate(have + *read.as_ref().unwrap_or(&0));
        read
    }
}

/// Usually a small response comes with its head in one read.
const HEAD_CHUNK: usize = 4 << 10;

/// Part size of a streamed body.
const PART: usize = 32 << 10;

fn left(until: Instant) -> io::Result<Duration> {
    match until.saturating_duration_since(clock::mono()) {
        left if left < Duration::from_millis(1) => Err(ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

struct Until<'a>(&'a UnixStream, Instant);

impl Read for Until<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.set_read_timeout(Some(left(self.1)?))?;
        (&mut &*self.0).read(buf).map_err(|e| match e.kind() {
            ErrorKind::WouldBlock => ErrorKind::TimedOut.into(),
            _ => e,
        })
    }
}
