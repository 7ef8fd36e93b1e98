//! Where a container's log goes on. An engine can be asked for what was written at a time and later, this time included;
//! several pieces may have the same time (Podman's are whole seconds). So the position of each stream is the time of its
//! last piece and the number of pieces with that time, and as many of the answer are skipped.

use super::frames::Piece;
use super::model::EngineId;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// stdout and stderr reach the engine by two pipes: what is written to both may be out of order by this much, ns.
const SLACK: i64 = 5_000_000_000;

/// A position, stored with the lines before it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Whose log: the engine's id.
    pub life: String,
    /// Of stdout and stderr.
    at: [At; 2],
    /// The latest time that was seen, by a clock that was set back since.
    #[serde(default)]
    high: i64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct At {
    /// Unix ns of the last piece; 0: there was none.
    stamp: i64,
    /// Pieces with this time.
    pieces: u32,
    /// Was a line given whose end is still to come?
    mid: bool,
}

/// What to do with a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was there before.
    Skip,
    /// It is new.
    New,
    /// It is new, and what was read last is no longer there: some may be missing before it.
    AfterGap,
}

/// Finds the position in an answer.
#[derive(Debug)]
pub struct Resume {
    position: Position,
    /// Pieces of each stream with its position's time that were skipped; `None`: the stream is beyond its position.
    skipped: [Option<u32>; 2],
    /// Stream whose position is the latest: when it is not found, some is missing.
    latest: usize,
}

impl Position {
    /// Reads a stored one; of another life or unreadable, it is the start.
    pub fn parse(text: &str, life: &EngineId) -> Position {
        let stored = serde_json::from_str::<Position>(text).ok();
        stored
            .filter(|position| position.life == life.as_str())
            .unwrap_or_else(|| Position {
                life: life.as_str().into(),
                ..Position::default()
            })
    }

    /// To be stored.
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Has nothing been read yet?
    pub fn is_start(&self) -> bool {
        self.at == [At::default(); 2]
    }

    /// Asked for from this time on, unix ns, when the server's clock shows `now`: what was written after that was set back
    /// has earlier times than what was read, so then from the start.
    pub fn since(&self, now: i64) -> i64 {
        let last = self.at.iter().map(|at| at.stamp).max().unwrap_or(0);
        match last > now + SLACK {
            true => 0,
            false => (last - SLACK).max(0),
        }
    }

    /// The middle of a line whose beginning was given.
    pub fn is_mid(&self, stderr: bool) -> bool {
        self.at[usize::from(stderr)].mid
    }

    /// A piece has been taken; `mid`: its line was given, and goes on.
    pub fn pass(&mut self, piece: &Piece, mid: bool) {
        let at = &mut self.at[usize::from(piece.stderr)];
        at.pieces = if at.stamp == piece.stamp {
            at.pieces.saturating_add(1)
        } else {
            1
        };
        (at.stamp, at.mid) = (piece.stamp, mid);
        self.high = self.high.max(piece.stamp);
    }
}

impl Resume {
    /// Before the first piece of an answer from [`Position::since`] on.
    pub fn new(position: &Position) -> Resume {
        let of = |at: &At| (at.stamp != 0).then_some(0);
        Resume {
            skipped: [of(&position.at[0]), of(&position.at[1])],
            latest: usize::from(position.at[1].stamp > position.at[0].stamp),
            position: position.clone(),
        }
    }

    /// The next piece.
    pub fn judge(&mut self, piece: &Piece) -> Verdict {
        let n = usize::from(piece.stderr);
        let Some(skipped) = &mut self.skipped[n] else {
            return Verdict::New;
        };
        let at = self.position.at[n];
        if piece.stamp == at.stamp && *skipped < at.pieces {
            *skipped += 1;
            return Verdict::Skip;
        }
        // After the clock was set back, what was written before that has later times than the last piece.
        let was_set_back = self.position.high > at.stamp + SLACK;
        let is_older = piece.stamp < at.stamp && *skipped == 0
            || was_set_back && *skipped < at.pieces && piece.stamp <= self.position.high;
        if is_older {
            return Verdict::Skip;
        }
        let found = *skipped > 0;
        self.skipped[n] = None;
        match found || n != self.latest {
            true => Verdict::New,
            false => Verdict::AfterGap,
        }
    }
}

/// What an engine says again in one answer: Docker 20.10 does, of the lines around a rotation of the file that it follows.
#[derive(Debug, Default)]
pub struct Again {
    /// Times of each stream's last pieces.
    seen: [VecDeque<i64>; 2],
    /// Was the piece before said again?
    runs: [bool; 2],
}

impl Again {
    /// Pieces that are remembered: more are not said again.
    const MAX: usize = 1_024;

    /// Was this piece in the answer before? Its time is earlier than that of the last one, and known. (A clock that was set
    /// back gives other times, to the nanosecond.)
    pub fn is(&mut self, piece: &Piece) -> bool {
        let n = usize::from(piece.stderr);
        let seen = &mut self.seen[n];
        // A run of them may go on to the last piece itself.
        let is_before = |last: &i64| piece.stamp < *last || self.runs[n] && piece.stamp == *last;
        self.runs[n] = seen.back().is_some_and(is_before) && seen.contains(&piece.stamp);
        if self.runs[n] {
            return true;
        }
        if seen.len() >= Again::MAX {
            seen.pop_front();
        }
        seen.push_back(piece.stamp);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_engine_says_again_after_a_rotation_is_known() {
        let mut again = Again::default();
        let mut take = |stamps: &[i64], stderr| -> Vec<i64> {
            let new = stamps.iter().filter(|stamp| !again.is(&piece(**stamp, stderr)));
            new.copied().collect()
        };
        assert_eq!(take(&[1, 2, 2, 3, 4, 2, 3, 4, 5], false), [1, 2, 2, 3, 4, 5]);
        assert_eq!(take(&[6, 6], false), [6, 6], "several pieces of one time");
        assert_eq!(take(&[3, 9], true), [3, 9], "another stream");
        assert_eq!(take(&[-7, -6], false), [-7, -6], "the clock was set back");
    }

    fn life() -> EngineId {
        EngineId::parse(&"ab".repeat(32)).unwrap()
    }

    fn piece(stamp: i64, stderr: bool) -> Piece<'static> {
        Piece {
            stderr,
            stamp: stamp + 1_764_473_839_000_000_000,
            text: b"",
            lost: 0,
            ends: true,
        }
    }

    /// What is taken of a log that is cut after each of its pieces, and read again from there as an engine would.
    fn read_twice(log: &[(i64, bool)]) {
        for cut in 0..=log.len() {
            let mut position = Position::parse("", &life());
            for (stamp, stderr) in &log[..cut] {
                position.pass(&piece(*stamp, *stderr), false);
            }
            let position = Position::parse(&position.text(), &life());
            let now = log.last().map_or(0, |(stamp, _)| piece(*stamp, false).stamp);
            let answer = log
                .iter()
                .enumerate()
                .filter(|(_, (stamp, _))| piece(*stamp, false).stamp >= position.since(now));
            let mut resume = Resume::new(&position);
            let new: Vec<usize> = answer
                .filter(|(_, (stamp, stderr))| resume.judge(&piece(*stamp, *stderr)) != Verdict::Skip)
                .map(|(n, _)| n)
                .collect();
            assert_eq!(new, (cut..log.len()).collect::<Vec<_>>(), "cut at {cut}");
        }
    }

    #[test]
    fn a_log_goes_on_after_its_last_piece_whatever_its_times_are() {
        const S: i64 = 1_000_000_000;
        read_twice(&[(1, false), (2, true), (3, false), (4, false), (5, true)]);
        read_twice(&[
            (0, false),
            (0, false),
            (0, true),
            (0, false),
            (S, true),
            (S, true),
            (S, false),
            (2 * S, false),
        ]);
        read_twice(&[
            (9 * S, false),
            (9 * S, true),
            (90 * S, false),
            (91 * S, true),
            (91 * S, true),
            (91 * S, true),
        ]);
        // The clock is set back by an hour.
        read_twice(&[
            (3_600 * S, false),
            (3_601 * S, false),
            (S, false),
            (2 * S, false),
            (3 * S, false),
        ]);
    }

    #[test]
    fn what_the_engine_dropped_is_a_gap() {
        let mut position = Position::parse("", &life());
        position.pass(&piece(5, false), false);
        let mut resume = Resume::new(&position);
        assert_eq!(resume.judge(&piece(7, true)), Verdict::New);
        assert_eq!(resume.judge(&piece(8, false)), Verdict::AfterGap);
        assert_eq!(resume.judge(&piece(9, false)), Verdict::New);
        let other = EngineId::parse(&"cd".repeat(32)).unwrap();
        assert!(Position::parse(&position.text(), &other).is_start());
        assert!(Position::parse("{", &life()).is_start());
    }
}
