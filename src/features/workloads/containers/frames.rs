//! What an engine sends as a log: frames with a head of eight bytes, or, of a terminal, bytes as they were written. Frames,
//! chunks and lines are independent of each other; each piece of a line begins with a time. A frame's length is whatever
//! the other side says, so only as much is kept as a line may have.

use super::model::stamp;
use crate::base::error::{Error, Kind, Result};

/// Bytes of a piece that are kept: a line's most, and its time.
pub const PIECE_MAX: usize = (16 << 10) + 64;
/// Longest frame: engines cut at 16 KiB; Podman's may have a whole line.
const FRAME_MAX: usize = 16 << 20;

/// A piece of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Was it written to stderr?
    pub stderr: bool,
    /// When, in unix ns by the server's clock; 0: it did not say.
    pub stamp: i64,
    /// Its bytes, at most [`PIECE_MAX`] of them.
    pub text: &'a [u8],
    /// Bytes that were not kept.
    pub lost: usize,
    /// Does the line end with it?
    pub ends: bool,
}

/// Splits a log into pieces.
pub struct Frames {
    /// Is it a terminal's, without frames?
    tty: bool,
    head: [u8; 8],
    head_at: usize,
    /// Bytes of the frame that are still to come.
    left: usize,
    stderr: bool,
    piece: Vec<u8>,
    lost: usize,
    stamp: i64,
}

impl Frames {
    /// Of a terminal or not.
    pub fn new(tty: bool) -> Frames {
        Frames {
            tty,
            head: [0; 8],
            head_at: 0,
            left: 0,
            stderr: false,
            piece: Vec::new(),
            lost: 0,
            stamp: 0,
        }
    }

    /// Takes the next bytes. Error `engine_frames`: these are no frames.
    pub fn push(&mut self, mut bytes: &[u8], each: &mut dyn FnMut(Piece) -> Result<()>) -> Result<()> {
        if self.tty {
            return self.take(bytes, each);
        }
        while !bytes.is_empty() {
            if self.left == 0 {
                let n = bytes.len().min(8 - self.head_at);
                self.head[self.head_at..self.head_at + n].copy_from_slice(&bytes[..n]);
                (self.head_at, bytes) = (self.head_at + n, &bytes[n..]);
                if self.head_at == 8 {
                    self.head_at = 0;
                    let [kind, a, b, c, length @ ..] = self.head;
                    self.left = u32::from_be_bytes(length) as usize;
                    if kind > 3 || [a, b, c] != [0; 3] || self.left > FRAME_MAX {
                        let say = "The engine sent a log that is not framed as it should be.";
                        return Err(
                            Error::new(Kind::Upstream, "engine_frames", say).log(format_args!("{:?}", self.head))
                        );
                    }
                    self.stderr = kind >= 2;
                }
                continue;
            }
            let n = bytes.len().min(self.left);
            self.left -= n;
            self.take(&bytes[..n], each)?;
            bytes = &bytes[n..];
            if self.left == 0 && (!self.piece.is_empty() || self.lost > 0) {
                self.give(false, each)?;
            }
        }
        Ok(())
    }

    /// The end of the log: the last piece.
    pub fn end(&mut self, each: &mut dyn FnMut(Piece) -> Result<()>) -> Result<()> {
        match self.tty && !self.piece.is_empty() {
            true => self.give(true, each),
            false => Ok(()),
        }
    }

    fn take(&mut self, mut bytes: &[u8], each: &mut dyn FnMut(Piece) -> Result<()>) -> Result<()> {
        while let Some(at) = bytes.iter().position(|b| *b == b'\n') {
            self.keep(&bytes[..at]);
            self.give(true, each)?;
            bytes = &bytes[at + 1..];
        }
        self.keep(bytes);
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8]) {
        let n = bytes.len().min(PIECE_MAX - self.piece.len());
        self.piece.extend_from_slice(&bytes[..n]);
        self.lost += bytes.len() - n;
    }

    fn give(&mut self, ends: bool, each: &mut dyn FnMut(Piece) -> Result<()>) -> Result<()> {
        let text = match stamp(&self.piece) {
            Some((at, rest)) => {
                self.stamp = at;
                rest
            }
            None => &self.piece[..],
        };
        let done = each(Piece {
            stderr: self.stderr,
            stamp: self.stamp,
            text,
            lost: self.lost,
            ends,
        });
        self.piece.clear();
        self.piece.shrink_to(1_024);
        self.lost = 0;
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/docker/");

    /// Lines of a log, whatever pieces it comes in; pieces of one stream are joined.
    fn lines(bytes: &[u8], tty: bool, step: usize) -> Result<Vec<(bool, i64, Vec<u8>)>> {
        let (mut frames, mut out) = (Frames::new(tty), Vec::new());
        let mut open = [Vec::new(), Vec::new()];
        let mut each = |piece: Piece| {
            let line: &mut Vec<u8> = &mut open[usize::from(piece.stderr)];
            line.extend_from_slice(piece.text);
            if piece.ends {
                out.push((piece.stderr, piece.stamp, std::mem::take(line)));
            }
            Ok(())
        };
        bytes.chunks(step).try_for_each(|part| frames.push(part, &mut each))?;
        frames.end(&mut each)?;
        Ok(out)
    }

    #[test]
    fn real_logs_are_the_same_lines_wherever_their_chunks_break() {
        for (file, tty, count) in [
            ("20.10.24/logs_ts_torture.bin", false, 6),
            ("20.10.24/logs_ts_nontty.bin", false, 8),
            ("podman-4.3.1/logs_tail.bin", false, 6),
            ("podman-4.3.1/logs_tty.bin", true, 4),
        ] {
            let bytes = std::fs::read(format!("{DATA}{file}")).unwrap();
            let whole = lines(&bytes, tty, bytes.len()).unwrap();
            assert_eq!(whole.len(), count, "{file}");
            assert!(whole.iter().all(|(_, at, _)| *at > 1_700_000_000_000_000_000));
            for step in [1, 3, 7, 8, 9, 1_000] {
                assert_eq!(lines(&bytes, tty, step).unwrap(), whole, "{file} by {step}");
            }
        }
        let bytes = std::fs::read(format!("{DATA}20.10.24/logs_ts_torture.bin")).unwrap();
        let whole = lines(&bytes, false, 100).unwrap();
        assert_eq!(whole[3].2.len(), 40_000, "one line of three frames");
    }

    #[test]
    fn what_is_no_log_costs_no_memory() {
        for (head, good) in [
            ([1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], false),
            ([9, 0, 0, 0, 0, 0, 0, 1], false),
            ([1, 1, 0, 0, 0, 0, 0, 1], false),
            ([1, 0, 0, 0, 0x00, 0xff, 0xff, 0xff], true),
        ] {
            let mut frames = Frames::new(false);
            let done = frames.push(&head, &mut |_| Ok(()));
            assert_eq!(done.is_ok(), good, "{head:?}");
            if good {
                for _ in 0..1_000 {
                    frames.push(&[b'x'; 1_000], &mut |_| Ok(())).unwrap();
                }
                assert!(frames.piece.capacity() < 2 * PIECE_MAX);
            }
        }
    }
}
