//! The newest lines in memory, for readers that follow: so many bytes in all, the least used subjects let go first.

use super::line::Line;
use std::collections::VecDeque;
use std::sync::Arc;

/// Bytes of all tails together.
pub const TOTAL_MAX: usize = 8 << 20;
/// Bytes of one tail: a flood does not push out all others.
const EACH_MAX: usize = 1 << 20;
/// What a line takes besides its text.
const OVERHEAD: usize = 80;

/// The newest lines of one subject.
#[derive(Default)]
pub struct Tail {
    lines: VecDeque<Arc<Line>>,
    bytes: usize,
    /// All lines with this number and higher ones are here.
    from: i64,
    /// When it was last written or read.
    pub used: u64,
}

impl Tail {
    /// An empty tail before a line with this number.
    pub fn new(from: i64) -> Tail {
        Tail {
            from,
            ..Tail::default()
        }
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a line that was stored.
    pub fn push(&mut self, line: Line) {
        self.bytes += line.text.len() + OVERHEAD;
        self.lines.push_back(Arc::new(line));
        while self.bytes > EACH_MAX {
            let Some(gone) = self.lines.pop_front() else { return };
            self.bytes -= gone.text.len() + OVERHEAD;
            self.from = gone.id + 1;
        }
    }

    /// Lets everything go.
    pub fn clear(&mut self) {
        if let Some(last) = self.lines.back() {
            self.from = last.id + 1;
        }
        (self.lines, self.bytes) = (VecDeque::new(), 0);
    }

    /// The lines after this number; `None`: some of them are not here.
    pub fn after(&self, id: i64) -> Option<Vec<Arc<Line>>> {
        if id + 1 < self.from {
            return None;
        }
        let at = self.lines.partition_point(|line| line.id <= id);
        Some(self.lines.range(at..).cloned().collect())
    }
}
