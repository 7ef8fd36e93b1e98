//! From pieces to lines: joined over pieces, cut at 16 kB, plain, with their level; and a bound of how many a container may
//! write, so that a flood costs its own log a marked gap and nobody else's lines.

use super::frames::Piece;
use super::resume::Position;
use crate::base::clock::{self, Instant};
use crate::base::lines::{CUT, LINE_MAX, plain};
use crate::journal::{Level, New, Stream};

/// Joins the pieces of both streams of one container.
#[derive(Default)]
pub struct Joiner {
    open: [Open; 2],
}

#[derive(Default)]
struct Open {
    text: Vec<u8>,
    /// The times of its pieces.
    stamps: Vec<i64>,
}

/// Pieces of one line; more are as a line that is too long.
const PIECES_MAX: usize = 1_000;

impl Joiner {
    /// Takes a piece, and gives the line that is complete with it, or as long as a line may be. `at` makes our time of the
    /// server's.
    pub fn take(&mut self, piece: &Piece, position: &mut Position, at: impl Fn(i64) -> i64) -> Option<New> {
        let was_given = position.is_mid(piece.stderr);
        let open = &mut self.open[usize::from(piece.stderr)];
        if was_given {
            position.pass(piece, !piece.ends);
            return None;
        }
        open.stamps.push(piece.stamp);
        let room = LINE_MAX + 1 - open.text.len().min(LINE_MAX);
        open.text.extend_from_slice(&piece.text[..piece.text.len().min(room)]);
        let is_long = open.text.len() > LINE_MAX || open.stamps.len() > PIECES_MAX;
        if !piece.ends && !is_long {
            return None; // the position stays before the line, which is read again if it is not completed
        }
        let stamps = std::mem::take(&mut open.stamps);
        for stamp in &stamps {
            let piece = Piece {
                stamp: *stamp,
                ..*piece
            };
            position.pass(&piece, !piece.ends);
        }
        let bytes = std::mem::take(&mut open.text);
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(LINE_MAX)]);
        let mut text = plain(text.trim_end_matches('\r'));
        if is_long {
            text.push_str(CUT);
        }
        Some(New {
            at: at(stamps[0]),
            stream: if piece.stderr { Stream::Stderr } else { Stream::Stdout },
            level: Level::of(&text),
            text: text.into(),
        })
    }
}

/// Lines a second that a container may write for ever, and how many more at once: what gathered while a link was cut is
/// no flood.
const RATE: (f64, f64) = (5_000.0, 400_000.0);
/// The same in bytes.
const BYTES: (f64, f64) = (2e6, 64e6);

/// How many lines a container may write now.
pub struct Ration {
    lines: f64,
    bytes: f64,
    at: Instant,
    left_out: u64,
}

impl Default for Ration {
    /// A full one.
    fn default() -> Ration {
        Ration {
            lines: RATE.1,
            bytes: BYTES.1,
            at: clock::mono(),
            left_out: 0,
        }
    }
}

impl Ration {
    /// At the beginning of a batch: what has come in meanwhile.
    pub fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.lines = (self.lines + passed * RATE.0).min(RATE.1);
        self.bytes = (self.bytes + passed * BYTES.0).min(BYTES.1);
    }

    /// Takes a line, or leaves it out; before the next one that is taken stands how many were left out.
    pub fn admit(&mut self, line: New, out: &mut Vec<New>) {
        let size = line.text.len() as f64;
        if self.lines < 1.0 || self.bytes < size {
            self.left_out += 1;
            return;
        }
        (self.lines, self.bytes) = (self.lines - 1.0, self.bytes - size);
        self.say(line.at, out);
        out.push(line);
    }

    /// Says what was left out so far.
    pub fn say(&mut self, at: i64, out: &mut Vec<New>) {
        if self.left_out > 0 {
            let n = std::mem::take(&mut self.left_out);
            out.push(New::note(
                at,
                format!("{n} lines left out: they came faster than they are kept."),
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Duration;

    fn piece(text: &[u8], ends: bool) -> Piece<'_> {
        Piece {
            stderr: false,
            stamp: 7,
            text,
            lost: 0,
            ends,
        }
    }

    #[test]
    fn a_line_is_joined_cut_and_plain() {
        let (mut joiner, mut position) = (Joiner::default(), Position::default());
        let mut take = |text: &[u8], ends| joiner.take(&piece(text, ends), &mut position, |at| at);
        assert_eq!(take("кони".as_bytes().split_at(3).0, false), None);
        let line = take(&[&"кони".as_bytes()[3..], b"\r"].concat(), true).unwrap();
        assert_eq!(&*line.text, "кони");
        assert_eq!(
            &*take(b"bad \xff\x1b[2J\x1b[31mred", true).unwrap().text,
            "bad \u{fffd}\u{1b}[31mred"
        );
        assert_eq!(&*take(b"", true).unwrap().text, "");
        // A line that never ends is given once, when it is as long as a line may be.
        let long = vec![b'x'; 16_000];
        assert_eq!(take(&long, false), None);
        assert!(take(&long, false).unwrap().text.ends_with(CUT));
        for _ in 0..100 {
            assert_eq!(take(&long, false), None);
        }
        assert_eq!(take(b"end", true), None);
        assert_eq!(&*take(b"next", true).unwrap().text, "next");
    }

    #[test]
    fn a_flood_is_counted_and_said_once() {
        let (mut ration, mut out) = (Ration::default(), Vec::new());
        let line = || New::note(1, "x");
        for _ in 0..400_007 {
            ration.admit(line(), &mut out);
        }
        assert_eq!(out.len(), 400_000);
        out.clear();
        ration.refill(clock::mono() + Duration::from_secs(1));
        ration.admit(line(), &mut out);
        ration.admit(line(), &mut out);
        assert!(out[0].text.starts_with("7 lines left out") && out.len() == 3);
    }
}
