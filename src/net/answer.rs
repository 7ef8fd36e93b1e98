//! Strict parser of HTTP responses from untrusted peers: HTTP/1.x only, one framing, head and body bounded, no
//! compression. Buffers are reused.

use super::dial::{self, Call, Wire};
use crate::base::error::{Error, Kind, Result};
use crate::base::parallel::lock;
use crate::base::text;
use std::io::{self, ErrorKind, Read};
use std::ops::Deref;
use std::sync::Mutex;

/// Status line and headers together.
pub(super) const HEAD_MAX: usize = 16 << 10;
/// Bytes read of a response other than 200, for its error text.
const EXCUSE_MAX: usize = 4 << 10;
/// Bytes per read; a Glances response takes two or three reads.
const STEP: usize = 32 << 10;
/// Largest buffer that is kept for reuse.
const KEEP_MAX: usize = 128 << 10;
/// Buffers kept while unused.
const BUFFERS_MAX: usize = 8;

/// A response.
#[derive(Debug)]
pub struct Answer {
    /// 200 to 599.
    pub status: u16,
    /// Media type, lower case, without parameters; empty if absent.
    pub content_type: String,
    /// Target of a redirect; one line, never followed.
    pub location: Option<String>,
    /// Decoded from its framing, nothing else.
    pub body: Body,
}

/// A body in its reused buffer.
pub struct Body {
    buffer: Buffer,
    at: usize,
    end: usize,
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer.0[self.at..self.end]
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Body({} bytes)", self.len())
    }
}

/// A reusable read buffer. Many connections wait and few read at a time, so the last one returned is still in the CPU
/// cache.
#[derive(Default)]
struct Buffer(Vec<u8>);

static BUFFERS: Mutex<Vec<Buffer>> = Mutex::new(Vec::new());

impl Buffer {
    fn take() -> Buffer {
        let mut buffers = lock(&BUFFERS);
        buffers.pop().unwrap_or_default()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.0);
        if (1..=KEEP_MAX).contains(&bytes.len()) {
            let mut buffers = lock(&BUFFERS);
            if buffers.len() < BUFFERS_MAX {
                buffers.push(Buffer(bytes));
            }
        }
    }
}

/// Head, body, and the connection if it can be reused.
pub(super) type Exchanged = (Head, Body, Option<Wire>);

/// Status line and headers.
#[derive(Debug, PartialEq)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) content_type: String,
    pub(super) location: Option<String>,
    framing: Framing,
    /// The peer allows another request on the connection.
    keeps: bool,
}

impl Head {
    pub(super) fn with(self, body: Body) -> Answer {
        Answer {
            status: self.status,
            content_type: self.content_type,
            location: self.location,
            body,
        }
    }
}

#[derive(Debug, PartialEq)]
enum Framing {
    Length(usize),
    Chunked,
    /// HTTP/1.0: until the peer closes. A truncated body is found by its parser.
    Close,
}

/// Reads one response.
pub(super) struct Input<'a> {
    call: &'a Call<'a>,
    wire: Wire,
    /// Not yet consumed is `buffer[at..end]`.
    buffer: Buffer,
    at: usize,
    end: usize,
    eof: bool,
}

impl<'a> Input<'a> {
    pub(super) fn new(call: &'a Call<'a>, wire: Wire) -> Input<'a> {
        Input {
            call,
            wire,
            buffer: Buffer::default(),
            at: 0,
            end: 0,
            eof: false,
        }
    }

    /// Head, body, and the connection if nothing is left on it and it can be reused.
    pub(super) fn answer(mut self, body_max: usize) -> Result<Exchanged> {
        let head = self.head()?;
        let max = if head.status == 200 { body_max } else { EXCUSE_MAX };
        let (at, end, whole) = match self.body(&head, max) {
            // The status is enough; a long or malformed error page is no failure.
            Err(_) if head.status != 200 => (0, 0, false),
            body => {
                let (at, end) = body?;
                // Chunked responses end the connection: common peers do not send them here.
                (at, end, matches!(head.framing, Framing::Length(_)) && end == self.end)
            }
        };
        let again = head.keeps && whole && !self.eof;
        let buffer = self.buffer;
        Ok((head, Body { buffer, at, end }, again.then_some(self.wire)))
    }

    /// The response to a HEAD, which has no body; and the connection, as above.
    pub(super) fn lone_head(mut self) -> Result<(Head, Option<Wire>)> {
        let head = self.head()?;
        let again = head.keeps && self.at == self.end && !self.eof;
        Ok((head, again.then_some(self.wire)))
    }

    fn head(&mut self) -> Result<Head> {
        loop {
            let mut searched = self.at;
            let end = loop {
                match find_head_end(&self.buffer.0[searched..self.end]) {
                    Some(n) => break searched + n,
                    None if self.end - self.at > HEAD_MAX => return Err(self.broken("sends endless headers")),
                    None if self.eof => return Err(self.ended()),
                    None => {
                        searched = self.end.saturating_sub(3).max(self.at);
                        self.fill()?;
                    }
                }
            };
            let head = parse_head(&self.buffer.0[self.at..end]).map_err(|what| self.refused(what))?;
            self.at = end;
            // 1xx responses precede the real one; all together are bounded by HEAD_MAX.
            if head.status >= 200 {
                return Ok(head);
            }
            if self.at > HEAD_MAX {
                return Err(self.broken("sends endless headers"));
            }
        }
    }

    fn body(&mut self, head: &Head, max: usize) -> Result<(usize, usize)> {
        match head.framing {
            Framing::Length(n) if n > max => Err(self.too_large(max)),
            Framing::Length(n) => {
                let start = self.at;
                self.need(n)?;
                Ok((start, start + n))
            }
            Framing::Close => {
                while !self.eof {
                    if self.end - self.at > max {
                        return Err(self.too_large(max));
                    }
                    self.fill()?;
                }
                Ok((self.at, self.end))
            }
            Framing::Chunked => self.chunks(max),
        }
    }

    fn chunks(&mut self, max: usize) -> Result<(usize, usize)> {
        let start = self.at;
        let mut out = start; // decoded bytes grow here, always behind the undecoded ones
        loop {
            let size = self.chunk_size()?;
            if size == 0 {
                return Ok((start, out)); // trailers are not read: the connection ends here
            }
            if out - start + size > max {
                return Err(self.too_large(max));
            }
            self.need(size + 2)?;
            if self.buffer.0[self.at + size..][..2] != *b"\r\n" {
                return Err(self.broken("sends broken chunks"));
            }
            self.buffer.0.copy_within(self.at..self.at + size, out);
            out += size;
            self.at += size + 2;
            // Chunk headers larger than their content must not fill the memory: decoded bytes are compacted.
            if self.at - out > STEP {
                self.buffer.0.copy_within(self.at..self.end, out);
                self.end -= self.at - out;
                self.at = out;
            }
        }
    }

    fn chunk_size(&mut self) -> Result<usize> {
        const LINE_MAX: usize = 256; // extensions are allowed by the standard but not used in practice
        loop {
            let line = &self.buffer.0[self.at..self.end];
            if let Some(n) = line.windows(2).take(LINE_MAX).position(|w| w == b"\r\n") {
                let digits = line[..n].split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
                let size = (digits.len() <= 8 && !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit))
                    .then(|| {
                        std::str::from_utf8(digits)
                            .ok()
                            .and_then(|d| usize::from_str_radix(d, 16).ok())
                    })
                    .flatten();
                self.at += n + 2;
                return size.ok_or_else(|| self.broken("sends broken chunks"));
            }
            if line.len() > LINE_MAX {
                return Err(self.broken("sends broken chunks"));
            }
            self.need(line.len() + 1)?;
        }
    }

    /// Reads until `n` bytes are buffered.
    fn need(&mut self, n: usize) -> Result<()> {
        while self.end - self.at < n {
            if self.eof {
                return Err(self.ended());
            }
            self.fill()?;
        }
        Ok(())
    }

    fn fill(&mut self) -> Result<()> {
        if self.end == 0 {
            self.wire.wait().map_err(|e| dial::explain(self.call, &e))?;
            self.buffer = Buffer::take();
        }
        if self.buffer.0.len() < self.end + STEP / 2 {
            self.buffer.0.resize(self.end + STEP, 0);
        }
        match read(&mut self.wire, &mut self.buffer.0[self.end..]) {
            Ok(0) => self.eof = true,
            Ok(n) => self.end += n,
            Err(e) => return Err(dial::explain(self.call, &e)),
        }
        Ok(())
    }

    fn whom(&self) -> String {
        format!("{}:{}", self.call.host.in_url(), self.call.port)
    }

    fn broken(&self, what: &str) -> Error {
        Error::new(
            Kind::Upstream,
            "not_http",
            format!("{} {what}: that is no web server we can talk to.", self.whom()),
        )
    }

    fn refused(&self, (code, what): (&'static str, &str)) -> Error {
        Error::new(Kind::Upstream, code, format!("{} {what}.", self.whom()))
    }

    fn ended(&self) -> Error {
        let (code, what) = match &self.buffer.0[..self.end] {
            [] => ("empty", "closed the connection without an answer"),
            // A TLS alert: the peer expects TLS.
            [0x15, 0x03, ..] => ("tls_expected", "speaks TLS on this port. Set the scheme to https"),
            _ => ("cut_short", "closed the connection in the middle of its answer"),
        };
        self.refused((code, what))
    }

    fn too_large(&self, max: usize) -> Error {
        let say = format!("{} answers with more than {} MiB.", self.whom(), max >> 20);
        Error::new(Kind::Upstream, "too_large", say)
    }
}

fn read(wire: &mut Wire, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match wire.read(into) {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            // TLS closed without close_notify; the framing shows whether something is missing.
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(0),
            other => return other,
        }
    }
}

fn find_head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|w| w == b"\r\n\r\n").map(|n| n + 4)
}

/// The error is a code and the end of the sentence "host …".
pub(super) fn parse_head(bytes: &[u8]) -> std::result::Result<Head, (&'static str, &'static str)> {
    const NOT_HTTP: (&str, &str) = ("not_http", "does not answer as a web server");
    let text = bytes.strip_suffix(b"\r\n\r\n").ok_or(NOT_HTTP)?;
    let mut lines = text.split(|b| *b == b'\n').map(|l| l.strip_suffix(b"\r").unwrap_or(l));
    let status = match lines.next() {
        Some([b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0' | b'1', b' ', code @ ..]) => code,
        _ => return Err(NOT_HTTP),
    };
    let status = match status {
        [a @ b'1'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9']
        | [a @ b'1'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9', b' ', ..] => {
            u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0')
        }
        _ => return Err(NOT_HTTP),
    };
    let mut head = Head {
        status,
        content_type: String::new(),
        location: None,
        framing: Framing::Close,
        keeps: bytes.starts_with(b"HTTP/1.1"),
    };
    let (mut length, mut chunked) = (None, false);
    for line in lines {
        let colon = line.iter().position(|b| *b == b':').ok_or(NOT_HTTP)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.is_empty() || name.iter().any(|b| !b.is_ascii_graphic()) || value.contains(&0) {
            return Err(NOT_HTTP);
        }
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted.as_bytes());
        if is("content-length") {
            let n = std::str::from_utf8(value)
                .ok()
                .filter(|v| !v.is_empty() && v.bytes().all(|b| b.is_ascii_digit()));
            let n = n
                .and_then(|n| n.parse::<u64>().ok())
                .and_then(|n| usize::try_from(n).ok())
                .ok_or(NOT_HTTP)?;
            if length.replace(n).is_some_and(|before| before != n) {
                return Err(NOT_HTTP);
            }
        } else if is("transfer-encoding") {
            if chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(("encoded", "encodes its answer in a way that was not asked for"));
            }
            chunked = true;
        } else if is("content-encoding") {
            // Glances 3.x sends `identity`. Other encodings were not requested and may be decompression bombs.
            if !value.is_empty() && !value.eq_ignore_ascii_case(b"identity") {
                return Err(("encoded", "compresses its answer though that was not asked for"));
            }
        } else if is("content-type") {
            let kind = value.split(|b| *b == b';').next().unwrap_or_default();
            head.content_type = text::one_line(&String::from_utf8_lossy(kind), 100).to_ascii_lowercase();
        } else if is("location") {
            head.location = Some(text::one_line(&String::from_utf8_lossy(value), 200));
        } else if is("connection") {
            head.keeps &= !value.eq_ignore_ascii_case(b"close");
        }
    }
    head.framing = match (chunked, length) {
        (true, Some(_)) => return Err(("not_http", "frames its answer in two ways at once")),
        (true, None) => Framing::Chunked,
        (false, Some(n)) => Framing::Length(n),
        (false, None) => Framing::Close,
    };
    if matches!(status, 204 | 304) {
        head.framing = Framing::Length(0);
    }
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> std::result::Result<Head, &'static str> {
        parse_head(text.as_bytes()).map_err(|(code, _)| code)
    }

    #[test]
    fn heads_are_read_strictly() {
        let plain =
            head("HTTP/1.1 200 OK\r\nContent-Type: Application/JSON; charset=utf-8\r\ncontent-LENGTH:  12 \r\n\r\n")
                .unwrap();
        assert_eq!((plain.status, plain.content_type.as_str()), (200, "application/json"));
        assert_eq!(plain.framing, Framing::Length(12));
        assert_eq!(head("HTTP/1.0 200\r\n\r\n").unwrap().framing, Framing::Close);
        assert_eq!(
            head("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                .unwrap()
                .framing,
            Framing::Chunked
        );
        assert_eq!(
            head("HTTP/1.1 204 x\r\nContent-Length: 9\r\n\r\n").unwrap().framing,
            Framing::Length(0)
        );
        for (bad, code) in [
            ("SSH-2.0-OpenSSH_9.2\r\n\r\n", "not_http"),
            ("HTTP/2 200 OK\r\n\r\n", "not_http"),
            ("HTTP/1.1 2000 OK\r\n\r\n", "not_http"),
            ("HTTP/1.1 099 OK\r\n\r\n", "not_http"),
            ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "not_http"),
            ("HTTP/1.1 200 OK\r\n folded: x\r\n\r\n", "not_http"),
            ("HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n", "not_http"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n", "not_http"),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
                "not_http",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
                "not_http",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
                "not_http",
            ),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "encoded"),
            ("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n", "encoded"),
        ] {
            assert_eq!(head(bad), Err(code), "{bad:?}");
        }
    }
}
