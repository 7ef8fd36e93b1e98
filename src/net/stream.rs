//! Streamed responses: lines (logs, JSON lines) or server-sent events. Each item is bounded in size, the time between
//! two parts is limited; the caller decides how long to read, and can abort.

use crate::base::error::Result;

/// A source of bytes.
pub trait Bytes {
    /// Reads the next bytes; 0 at the end. Error: the connection.
    fn read(&mut self, into: &mut [u8]) -> Result<usize>;
    /// The error of an item that is longer than `max`.
    fn too_large(&self, max: usize) -> crate::base::error::Error;
}

/// Bytes per read.
const STEP: usize = 16 << 10;

/// Splits a source into items.
pub struct Stream<S> {
    source: S,
    /// Read and not yet returned: `buffer[at..]`.
    buffer: Vec<u8>,
    at: usize,
    eof: bool,
    /// A CR has just ended a line: the LF of CRLF ends nothing.
    after_cr: bool,
    /// The id of the last event that had one.
    id: String,
}

/// A server-sent event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// Its name; `message` where none was given.
    pub name: String,
    /// Its lines, joined by LF.
    pub data: String,
    /// The last id that was given, with this event or before.
    pub id: String,
}

impl<S: Bytes> Stream<S> {
    pub(super) fn new(source: S) -> Stream<S> {
        Stream {
            source,
            buffer: Vec::new(),
            at: 0,
            eof: false,
            after_cr: false,
            id: String::new(),
        }
    }

    /// The next bytes as they come, 0 at the end: for other framings.
    pub fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        let ready = &self.buffer[self.at..];
        if ready.is_empty() {
            return self.source.read(into);
        }
        let n = ready.len().min(into.len());
        into[..n].copy_from_slice(&ready[..n]);
        self.at += n;
        Ok(n)
    }

    /// The next line without its end (LF, CRLF or CR), of at most `max` bytes; `None` at the end. Broken UTF-8 is read as
    /// U+FFFD. Errors: those of the source, `too_large`.
    pub fn line(&mut self, max: usize) -> Result<Option<String>> {
        let mut searched = self.at;
        loop {
            let found = self.buffer[searched..].iter().position(|b| matches!(b, b'\n' | b'\r'));
            let end = found.map_or(self.buffer.len(), |n| searched + n);
            if end - self.at > max {
                return Err(self.source.too_large(max));
            }
            if found.is_some() || self.eof {
                let line = String::from_utf8_lossy(&self.buffer[self.at..end]).into_owned();
                let ended_by = self.buffer.get(end).copied();
                self.at = (end + 1).min(self.buffer.len());
                let after_cr = std::mem::replace(&mut self.after_cr, ended_by == Some(b'\r'));
                match (line.is_empty(), ended_by) {
                    (true, None) => return Ok(None),
                    (true, Some(b'\n')) if after_cr => searched = self.at,
                    _ => return Ok(Some(line)),
                }
                continue;
            }
            self.buffer.drain(..self.at);
            (self.at, searched) = (0, self.buffer.len());
            self.buffer.resize(searched + STEP, 0);
            let read = self.source.read(&mut self.buffer[searched..]);
            let n = *read.as_ref().unwrap_or(&0);
            self.buffer.truncate(searched + n);
            self.eof = read? == 0;
        }
    }

    /// The next event of a `text/event-stream` (HTML standard, 9.2), of at most `max` bytes in all its lines; `None` at
    /// the end. Comments (keep-alives) are skipped.
    pub fn event(&mut self, max: usize) -> Result<Option<Event>> {
        let (mut event, mut size, mut has_data) = (Event::default(), 0, false);
        while let Some(line) = self.line(max)? {
            let line = line.trim_start_matches('\u{feff}');
            size += line.len();
            if size > max {
                return Err(self.source.too_large(max));
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "" if line.is_empty() && has_data => {
                    event.data.pop();
                    event.id = self.id.clone();
                    if event.name.is_empty() {
                        event.name = "message".into();
                    }
                    return Ok(Some(event));
                }
                "" if line.is_empty() => (event, size) = (Event::default(), 0), // an event without data is ignored
                "" => size -= line.len(),
                "data" => {
                    has_data = true;
                    event.data.extend([value, "\n"]);
                }
                "event" => event.name = value.to_string(),
                "id" if !value.contains('\0') => self.id = value.to_string(),
                _ => {}
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error::{Error, Kind};
    use std::collections::VecDeque;

    /// A source that returns these parts.
    struct Pieces(VecDeque<Vec<u8>>);

    impl Bytes for Pieces {
        fn read(&mut self, into: &mut [u8]) -> Result<usize> {
            let piece = self.0.pop_front().unwrap_or_default();
            into[..piece.len()].copy_from_slice(&piece);
            Ok(piece.len())
        }

        fn too_large(&self, _: usize) -> Error {
            Error::new(Kind::Upstream, "too_large", "too large")
        }
    }

    fn of(pieces: &[&str]) -> Stream<Pieces> {
        Stream::new(Pieces(pieces.iter().map(|p| p.as_bytes().to_vec()).collect()))
    }

    fn lines(pieces: &[&str]) -> Vec<String> {
        let mut stream = of(pieces);
        std::iter::from_fn(|| stream.line(100).unwrap()).collect()
    }

    #[test]
    fn every_line_end_ends_one_line_wherever_the_pieces_break() {
        for pieces in [
            &["a\n\nb\nc"][..],
            &["a\r\n\r\nb\r\nc\r\n"],
            &["a\r", "\n\r", "\nb\r", "c"],
            &["a\n", "\n", "b", "\r", "c", "\n"],
        ] {
            assert_eq!(lines(pieces), ["a", "", "b", "c"], "{pieces:?}");
        }
        assert!(lines(&[]).is_empty());
        let mut stream = of(&["line\nre", "st"]);
        assert_eq!(stream.line(100).unwrap().as_deref(), Some("line"));
        let mut rest = [0; 10];
        assert_eq!(stream.read(&mut rest).unwrap(), 2);
        assert_eq!(stream.read(&mut rest[2..]).unwrap(), 2);
        assert_eq!(&rest[..4], b"rest");
    }

    #[test]
    fn a_piece_is_bounded() {
        let long = "x".repeat(101);
        assert_eq!(of(&[&long]).line(100).unwrap_err().code, "too_large");
        assert_eq!(of(&[&long, "\n"]).line(100).unwrap_err().code, "too_large");
        assert_eq!(of(&[&long[..100], "\n"]).line(100).unwrap().unwrap().len(), 100);
        let many = "data: 1234\n".repeat(20);
        assert_eq!(of(&[&many]).event(100).unwrap_err().code, "too_large");
        let pings = format!("{}data: x\n\n", ": ping\n".repeat(100));
        assert_eq!(of(&[&pings]).event(100).unwrap().unwrap().data, "x");
    }

    #[test]
    fn events_are_read_as_browsers_read_them() {
        let mut stream = of(&[
            "\u{feff}: hello\n\nid: 7\nevent: add\ndata: one\ndata:two\r\ndata:  three\n\n",
            "event: never\n\ndata\n\nid: 8\nid: a\0b\nretry: 5\nnonsense\ndata: last\n",
            "\ndata: cut off",
        ]);
        let event = |name: &str, data: &str, id: &str| Event {
            name: name.into(),
            data: data.into(),
            id: id.into(),
        };
        assert_eq!(stream.event(100).unwrap(), Some(event("add", "one\ntwo\n three", "7")));
        assert_eq!(stream.event(100).unwrap(), Some(event("message", "", "7")));
        assert_eq!(stream.event(100).unwrap(), Some(event("message", "last", "8")));
        assert_eq!(stream.event(100).unwrap(), None);
    }
}
