//! Who takes lines away as they are stored. The journal itself is what they wait in: a reader is a number up to which it has
//! taken all lines, so a slow one costs nothing but itself, and one that was away goes on where it was.

use super::chunk;
use super::line::Line;
use super::queries::{self, Reader};
use super::store::Journal;
use crate::base::error::Result;
use std::collections::HashMap;

/// Some lines in the order of their numbers.
#[derive(Debug, Default)]
pub struct Part {
    /// Each with the place of its subject in `subjects`.
    pub lines: Vec<(usize, Line)>,
    /// Kind and id of each subject.
    pub subjects: Vec<(String, i64)>,
    /// All lines up to this number are in it, or are no longer kept.
    pub last: i64,
    /// How many are no longer kept.
    pub missed: i64,
}

impl Journal {
    /// A reader; `None`: it has not begun.
    pub fn reader(&self, name: &str) -> Result<Option<Reader>> {
        self.db.read(|conn| queries::reader(conn, name))
    }

    /// Stores how far a reader has come; `None` forgets it.
    pub fn set_reader(&self, name: &str, reader: Option<&Reader>) -> Result<()> {
        self.db.write_reserved(|tx| match reader {
            Some(reader) => queries::put_reader(tx, name, reader),
            None => queries::remove_reader(tx, name),
        })
    }

    /// The lines of the next `max` numbers after this one. Numbers have no gaps: a line that is not there was removed.
    pub fn part(&self, after: i64, max: i64) -> Result<Part> {
        let upto = self.newest_id().min(after.saturating_add(max));
        let mut part = Part {
            last: upto.max(after),
            ..Part::default()
        };
        if upto <= after {
            return Ok(part);
        }
        self.db.read(|conn| {
            let (mut of_row, mut seen) = (HashMap::new(), Vec::new());
            queries::rows_within(conn, after, upto, &mut |row, data| {
                let next = of_row.len();
                let subject = *of_row.entry(row).or_insert(next);
                seen.clear();
                chunk::read(data, &mut seen);
                let within = seen.iter().filter(|one| one.id > after && one.id <= upto);
                part.lines.extend(within.map(|one| (subject, one.line(data))));
            })?;
            part.subjects = vec![(String::new(), 0); of_row.len()];
            for source in queries::sources(conn)? {
                if let Some(at) = of_row.get(&source.row) {
                    part.subjects[*at] = (source.kind, source.subject);
                }
            }
            Ok(())
        })?;
        part.lines.sort_by_key(|(_, line)| line.id);
        part.missed = (upto - after) - part.lines.len() as i64;
        Ok(part)
    }
}
