//! Lines, where they came from, and cursors between them.

use super::level::Level;

/// Where a line was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stream {
    /// `stdout`
    Stdout = 0,
    /// `stderr`
    Stderr = 1,
    /// `note`: said by the collector, such as that lines are missing here.
    Note = 2,
}

impl Stream {
    /// Names, in the order of the values.
    pub const NAMES: [&'static str; 3] = ["stdout", "stderr", "note"];

    /// Its name.
    pub fn name(self) -> &'static str {
        Stream::NAMES[self as usize]
    }

    /// The stream of a name.
    pub fn parse(name: &str) -> Option<Stream> {
        let all = [Stream::Stdout, Stream::Stderr, Stream::Note];
        all.into_iter().find(|stream| stream.name() == name)
    }

    /// The stream of a stored value.
    pub fn of_number(n: u8) -> Stream {
        match n {
            0 => Stream::Stdout,
            1 => Stream::Stderr,
            _ => Stream::Note,
        }
    }
}

/// A line to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct New {
    /// Unix ns by our clock.
    pub at: i64,
    /// Where it was written to.
    pub stream: Stream,
    /// How bad it is.
    pub level: Level,
    /// Plain text ([`crate::base::lines::plain`]) without its end.
    pub text: Box<str>,
}

impl New {
    /// A line of the collector itself.
    pub fn note(at: i64, text: impl Into<Box<str>>) -> New {
        New {
            at,
            stream: Stream::Note,
            level: Level::Unknown,
            text: text.into(),
        }
    }
}

/// A stored line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its number; unique and ascending over all subjects in the order of storing.
    pub id: i64,
    /// Unix ns. Within a subject never before that of the line before.
    pub at: i64,
    /// Where it was written to.
    pub stream: Stream,
    /// How bad it is.
    pub level: Level,
    /// Its text.
    pub text: Box<str>,
}

impl Line {
    /// Its place in the order of time.
    pub fn cursor(&self) -> Cursor {
        Cursor {
            at: self.at,
            id: self.id,
        }
    }
}

/// A place between lines in the order of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// As [`Line::at`].
    pub at: i64,
    /// As [`Line::id`].
    pub id: i64,
}

impl Cursor {
    /// Before all lines.
    pub const START: Cursor = Cursor {
        at: i64::MIN,
        id: i64::MIN,
    };
    /// After all lines.
    pub const END: Cursor = Cursor {
        at: i64::MAX,
        id: i64::MAX,
    };

    /// As in an address: `1764473839123456789-4711`.
    pub fn text(self) -> String {
        format!("{}-{}", self.at, self.id)
    }

    /// Reads that.
    pub fn parse(text: &str) -> Option<Cursor> {
        let (at, id) = text.split_once('-')?;
        let digits = |t: &str| (1..=19).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_digit());
        match digits(at) && digits(id) {
            true => Some(Cursor {
                at: at.parse().ok()?,
                id: id.parse().ok()?,
            }),
            false => None,
        }
    }
}
