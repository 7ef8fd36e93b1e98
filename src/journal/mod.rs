//! The journal: what was said, line by line, by any subject: a container, a service. A collector [puts](Journal::put) lines
//! with the mark where it goes on; one transaction stores both, so neither a crash nor a kill loses or doubles a line that
//! somebody has read. Readers see only what is stored, and never wait for who collects.
//!
//! Lines have numbers in the order in which they came, and times that never run backwards within a subject. The newest
//! stand in rows, older ones in chunks of 64 KiB with a filter of their words, so that a rare word is found without reading
//! all. Bounds: bytes of a subject, bytes in all, age. The newest lines are also in memory, 8 MB of them in all.

mod level;
mod line;
mod words;
mod chunk;
mod queries;
mod tail;
mod store;
mod read;
mod readers;

pub use level::Level;
pub use line::{Cursor, Line, New, Stream};
pub use queries::Reader;
pub use read::{Filter, Page, Span};
pub use readers::Part;
pub use store::{Bounds, Journal, Usage};
pub use words::Words;
