//! The reading half: pages of the lines of some subjects in the order of time, and what came since a number.

use super::chunk;
use super::level::Level;
use super::line::{Cursor, Line, Stream};
use super::queries::{self, Block};
use super::store::Journal;
use super::words::{Sieve, Words};
use crate::base::clock::{self, Instant};
use crate::base::error::Result;
use crate::db::Conn;
use crate::series::Subject;
use std::collections::BinaryHeap;

/// Which lines are wanted.
#[derive(Debug, Clone)]
pub struct Filter {
    /// Words in them.
    pub words: Words,
    /// At least so bad; [`Level::Unknown`]: whatever they say.
    pub level: Level,
    /// Written there.
    pub stream: Option<Stream>,
}

impl Default for Filter {
    /// Every line.
    fn default() -> Filter {
        Filter {
            words: Words::default(),
            level: Level::Unknown,
            stream: None,
        }
    }
}

impl Filter {
    /// Is this line wanted?
    pub fn fits(&self, stream: Stream, level: Level, text: &str) -> bool {
        level >= self.level && self.stream.is_none_or(|wanted| wanted == stream) && self.words.find(text)
    }

    /// Is every line wanted?
    pub fn is_empty(&self) -> bool {
        self.words.is_empty() && self.level == Level::Unknown && self.stream.is_none()
    }
}

/// Between which places lines are wanted; neither is included.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// After this place.
    pub after: Cursor,
    /// Before this place.
    pub before: Cursor,
}

impl Default for Span {
    fn default() -> Span {
        Span {
            after: Cursor::START,
            before: Cursor::END,
        }
    }
}

/// Bytes of a page: more lines are not in it.
const BYTES_MAX: usize = 2 << 20;

/// Some lines in the order of time.
#[derive(Debug, Default)]
pub struct Page {
    /// Each with its subject.
    pub lines: Vec<(Subject, Line)>,
    /// Where to go on for more; `None`: there are none.
    pub more: Option<Cursor>,
}

impl Journal {
    /// The newest lines of these subjects within a span, at most `max`, and no more than are found by `until`: then
    /// `more` says where to go on, as the `before` of the next call.
    pub fn newest(
        &self,
        subjects: &[Subject],
        filter: &Filter,
        span: Span,
        max: usize,
        until: Instant,
    ) -> Result<Page> {
        let mut page = self.page::<true>(subjects, filter, span, max, until)?;
        page.lines.reverse();
        Ok(page)
    }

    /// As [`Journal::newest`], the oldest; `more` is the `after` of the next call.
    pub fn oldest(
        &self,
        subjects: &[Subject],
        filter: &Filter,
        span: Span,
        max: usize,
        until: Instant,
    ) -> Result<Page> {
        self.page::<false>(subjects, filter, span, max, until)
    }

    /// What was stored after the line with this number, in the order of the numbers, at most the newest `max` of it, and
    /// whether older ones were left out.
    pub fn since(&self, subjects: &[Subject], after: i64, max: usize) -> Result<(Vec<(Subject, Line)>, bool)> {
        self.refresh()?;
        let (mut lines, mut far) = (Vec::new(), Vec::new());
        {
            let known = self.known();
            for subject in subjects {
                let Some(source) = known.source(*subject) else { continue };
                match source.tail.after(after) {
                    Some(tail) => lines.extend(tail.iter().map(|line| (*subject, Line::clone(line)))),
                    None => far.push(*subject),
                }
            }
        }
        let mut left_out = false;
        for subject in far {
            let (some, more) = self.stored_since(subject, after, max)?;
            left_out |= more;
            lines.extend(some);
        }
        lines.sort_by_key(|(_, line)| line.id);
        if lines.len() > max {
            left_out = true;
            lines.drain(..lines.len() - max);
        }
        Ok((lines, left_out))
    }

    /// The number of the newest line of these subjects.
    pub fn last(&self, subjects: &[Subject]) -> Result<i64> {
        let until = clock::mono() + clock::Duration::from_secs(5);
        let mut last = 0;
        for subject in subjects {
            let page = self.newest(&[*subject], &Filter::default(), Span::default(), 1, until)?;
            last = page.lines.first().map_or(last, |(_, line)| last.max(line.id));
        }
        Ok(last)
    }

    fn stored_since(&self, subject: Subject, after: i64, max: usize) -> Result<(Vec<(Subject, Line)>, bool)> {
        let Some(mut from) = self.blocks_of(subject) else {
            return Ok((Vec::new(), false));
        };
        let mut out = Vec::new();
        self.db.read(|conn| {
            from.add_chunks(conn)?;
            while let Some(block) = from.blocks.pop() {
                if block.of.last <= after || out.len() >= max {
                    return Ok(());
                }
                let Some(data) = block.data(conn)? else { continue };
                let mut seen = Vec::new();
                chunk::read(&data, &mut seen);
                let new = seen.iter().rev().filter(|one| one.id > after);
                out.extend(new.map(|one| (subject, one.line(&data))));
            }
            Ok(())
        })?;
        let more = out.len() > max;
        out.truncate(max);
        out.reverse();
        Ok((out, more))
    }

    /// The fresh rows of a subject, read before the snapshot: what was folded since is in a chunk of the snapshot.
    fn blocks_of(&self, subject: Subject) -> Option<From> {
        let known = self.known();
        let source = known.source(subject)?;
        let fresh = source.fresh.iter().map(|of| Place {
            of: *of,
            is_fresh: true,
        });
        Some(From {
            subject,
            row: source.row,
            blocks: fresh.collect(),
            lines: Vec::new(),
        })
    }

    fn page<const BACK: bool>(
        &self,
        subjects: &[Subject],
        filter: &Filter,
        span: Span,
        max: usize,
        until: Instant,
    ) -> Result<Page> {
        self.refresh()?;
        let mut all: Vec<From> = subjects.iter().filter_map(|subject| self.blocks_of(*subject)).collect();
        self.db.read(|conn| {
            let mut heap = BinaryHeap::with_capacity(all.len());
            for (n, from) in all.iter_mut().enumerate() {
                from.add_chunks(conn)?;
                if !BACK {
                    from.blocks.reverse();
                }
                heap.extend(from.next::<BACK>().map(|cursor| (key::<BACK>(cursor), n)));
            }
            let (mut page, mut bytes) = (Page::default(), 0);
            while let Some((top, n)) = heap.pop() {
                let at = key::<BACK>(top);
                let is_beyond = if BACK { at <= span.after } else { at >= span.before };
                if is_beyond {
                    break;
                }
                if page.lines.len() >= max || bytes >= BYTES_MAX {
                    page.more = page.lines.last().map(|(_, line)| line.cursor());
                    break;
                }
                let from = &mut all[n];
                match from.lines.pop() {
                    Some(line) => {
                        bytes += line.text.len();
                        page.lines.push((from.subject, line));
                    }
                    None if clock::mono() >= until => {
                        let id = if BACK {
                            at.id.saturating_add(1)
                        } else {
                            at.id.saturating_sub(1)
                        };
                        page.more = Some(Cursor { id, ..at });
                        break;
                    }
                    None => from.load::<BACK>(conn, filter, span)?,
                }
                heap.extend(from.next::<BACK>().map(|cursor| (key::<BACK>(cursor), n)));
            }
            Ok(page)
        })
    }
}

/// Backwards the latest comes first, forwards the earliest; twice, it is the cursor again.
fn key<const BACK: bool>(cursor: Cursor) -> Cursor {
    match BACK {
        true => cursor,
        false => Cursor {
            at: !cursor.at,
            id: !cursor.id,
        },
    }
}

/// A subject that is read.
struct From {
    subject: Subject,
    row: i64,
    /// Rows not read yet; the next one is the last.
    blocks: Vec<Place>,
    /// Wanted lines of the row that was read; the next one is the last.
    lines: Vec<Line>,
}

struct Place {
    of: Block,
    is_fresh: bool,
}

impl Place {
    fn data(&self, conn: &Conn) -> Result<Option<Vec<u8>>> {
        match self.is_fresh {
            true => queries::fresh(conn, self.of.first),
            false => queries::chunk(conn, self.of.first),
        }
    }
}

impl From {
    /// Adds the chunks, which are older than the fresh rows, or hold them.
    fn add_chunks(&mut self, conn: &Conn) -> Result<()> {
        let chunks = queries::chunks(conn, self.row)?;
        let folded = chunks.last().map_or(0, |last| last.last);
        self.blocks.retain(|block| block.of.first > folded);
        let chunks = chunks.into_iter().map(|of| Place { of, is_fresh: false });
        self.blocks.splice(..0, chunks);
        Ok(())
    }

    /// Where its next line is at the soonest.
    fn next<const BACK: bool>(&self) -> Option<Cursor> {
        if let Some(line) = self.lines.last() {
            return Some(line.cursor());
        }
        let block = self.blocks.last()?.of;
        Some(match BACK {
            true => Cursor {
                at: block.to_at,
                id: block.last,
            },
            false => Cursor {
                at: block.from_at,
                id: block.first,
            },
        })
    }

    /// Reads the next row.
    fn load<const BACK: bool>(&mut self, conn: &Conn, filter: &Filter, span: Span) -> Result<()> {
        let Some(block) = self.blocks.pop() else { return Ok(()) };
        let (first, last) = (
            Cursor {
                at: block.of.from_at,
                id: block.of.first,
            },
            Cursor {
                at: block.of.to_at,
                id: block.of.last,
            },
        );
        if first >= span.before || last <= span.after {
            return Ok(());
        }
        if !block.is_fresh && !filter.words.is_empty() {
            let words = queries::words(conn, block.of.first)?.unwrap_or_default();
            if !filter.words.may_find(&Sieve::stored(&words)) {
                return Ok(());
            }
        }
        let Some(data) = block.data(conn)? else { return Ok(()) };
        let mut seen = Vec::new();
        chunk::read(&data, &mut seen);
        let wanted = seen.iter().filter(|one| {
            let at = Cursor { at: one.at, id: one.id };
            at > span.after && at < span.before && filter.fits(one.stream, one.level, one.text(&data))
        });
        self.lines = wanted.map(|one| one.line(&data)).collect();
        if !BACK {
            self.lines.reverse();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Duration;
    use crate::base::process::Cancel;
    use crate::db::schema;
    use crate::journal::{Bounds, New};
    use std::path::PathBuf;
    use std::sync::Arc;

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Folder {
            let path = std::env::temp_dir().join(format!("journal-{}", crate::base::random::name()));
            std::fs::create_dir(&path).unwrap();
            Folder(path)
        }

        fn open(&self) -> Journal {
            Journal::open(Arc::new(schema::JOURNAL_DB.open(&self.0).unwrap())).unwrap()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    const A: Subject = ("container", 1);
    const B: Subject = ("container", 2);

    fn soon() -> Instant {
        clock::mono() + Duration::from_secs(20)
    }

    fn put(journal: &Journal, subject: Subject, at: std::ops::Range<i64>, word: &str) {
        let line = |at: i64| New {
            at,
            stream: Stream::Stdout,
            level: Level::of_number((at % 7) as u8),
            text: format!("{word} {at} of a line that is as long as most of them are in the end").into(),
        };
        let mark = at.end.to_string();
        journal
            .put(subject, at.map(line).collect(), Some(mark), &Cancel::new())
            .unwrap();
    }

    fn texts(page: &Page) -> Vec<String> {
        let short = |line: &Line| line.text.split(" of").next().unwrap_or_default().to_string();
        page.lines.iter().map(|(_, line)| short(line)).collect()
    }

    #[test]
    fn lines_of_many_come_in_the_order_of_time_page_after_page_and_each_once() {
        let folder = Folder::new();
        let journal = folder.open();
        for at in 0..40 {
            put(&journal, A, at * 200..at * 200 + 100, "a");
            put(&journal, B, at * 200 + 50..at * 200 + 150, "b");
            journal.commit().unwrap();
        }
        assert_eq!(journal.usage().lines, 8_000);
        let all = [A, B];
        let (mut before, mut seen) = (Cursor::END, Vec::new());
        loop {
            let span = Span {
                before,
                ..Span::default()
            };
            let page = journal.newest(&all, &Filter::default(), span, 333, soon()).unwrap();
            seen.splice(
                ..0,
                page.lines.iter().map(|(_, line)| line.cursor()).collect::<Vec<_>>(),
            );
            match page.more {
                Some(cursor) => before = cursor,
                None => break,
            }
        }
        assert!(seen.is_sorted() && seen.len() == 8_000);
        let (mut after, mut again) = (Cursor::START, Vec::new());
        loop {
            let span = Span {
                after,
                ..Span::default()
            };
            let page = journal.oldest(&all, &Filter::default(), span, 777, soon()).unwrap();
            again.extend(page.lines.iter().map(|(_, line)| line.cursor()));
            match page.more {
                Some(cursor) => after = cursor,
                None => break,
            }
        }
        assert_eq!(seen, again);
        drop(journal);
        let journal = folder.open();
        assert_eq!((journal.usage().lines, journal.mark(A)), (8_000, "7900".to_string()));
        let find = |words: &str| {
            let words = Words::parse(words).unwrap();
            let filter = Filter {
                words,
                ..Filter::default()
            };
            texts(&journal.newest(&all, &filter, Span::default(), 5, soon()).unwrap())
        };
        assert_eq!(find("\"A 4203 \""), ["a 4203"]);
        assert_eq!(find("4260"), ["a 4260", "b 4260"]);
        assert_eq!(find("b 4203"), [""; 0]);
    }

    #[test]
    fn who_follows_gets_what_came_since_from_memory_or_from_the_file() {
        let folder = Folder::new();
        let journal = folder.open();
        put(&journal, A, 0..3_000, "a");
        journal.commit().unwrap();
        let last = journal.last(&[A, B]).unwrap();
        put(&journal, B, 0..2, "b");
        put(&journal, A, 3_000..3_001, "a");
        journal.commit().unwrap();
        let ids = |journal: &Journal, after| {
            let (lines, left_out) = journal.since(&[A, B], after, 100).unwrap();
            (lines.into_iter().map(|(_, line)| line.id).collect::<Vec<_>>(), left_out)
        };
        assert_eq!(ids(&journal, last), ((last + 1..=last + 3).collect(), false));
        assert_eq!(ids(&journal, last + 3).0, [0; 0]);
        drop(journal);
        let journal = folder.open();
        assert_eq!(
            ids(&journal, last),
            ((last + 1..=last + 3).collect(), false),
            "from the file"
        );
        let (many, left_out) = ids(&journal, 0);
        assert!(left_out && many.len() == 100 && many.is_sorted());
    }

    #[test]
    fn bounds_let_the_oldest_go_and_time_never_runs_back() {
        let folder = Folder::new();
        let journal = folder.open();
        journal.set_bounds(Bounds {
            each: 1 << 20,
            total: 1 << 20,
            age: 1_000,
        });
        for n in 0..10 {
            put(&journal, A, n * 3_000..(n + 1) * 3_000, "a");
            journal.commit().unwrap();
        }
        let usage = journal.usage();
        assert!(usage.bytes <= 1 << 20 && usage.lines < 30_000 && usage == journal.usage_of(A));
        put(&journal, B, 0..3_000, "b");
        journal.commit().unwrap();
        assert!(journal.usage().bytes <= 1 << 20, "the oldest of all went");
        put(&journal, A, 5..6, "late");
        journal.commit().unwrap();
        let page = journal
            .newest(&[A], &Filter::default(), Span::default(), 2, soon())
            .unwrap();
        assert_eq!(texts(&page)[1], "late 5");
        assert_eq!(page.lines[0].1.at, page.lines[1].1.at);
        journal.tidy(2_000_000).unwrap();
        assert_eq!(journal.usage(), Default::default());
        journal.forget(A).unwrap();
        assert_eq!(folder.open().usage(), Default::default());
        assert_eq!(folder.open().subjects("container"), [2]);
    }

    #[test]
    fn a_search_that_takes_too_long_says_where_to_go_on() {
        let folder = Folder::new();
        let journal = folder.open();
        put(&journal, A, 0..9_000, "a");
        journal.commit().unwrap();
        let filter = Filter {
            words: Words::parse("line").unwrap(),
            level: Level::Critical,
            stream: None,
        };
        let (mut span, mut found, mut rounds) = (Span::default(), 0, 0);
        loop {
            let page = journal.newest(&[A], &filter, span, 1_000_000, clock::mono()).unwrap();
            (found, rounds) = (found + page.lines.len(), rounds + 1);
            match page.more {
                Some(before) if rounds < 3 => span.before = before,
                Some(_) | None => break,
            }
        }
        assert_eq!(
            (found, rounds),
            (0, 3),
            "without time nothing is read, and nothing is lost"
        );
        let page = journal.newest(&[A], &filter, span, 1_000_000, soon()).unwrap();
        assert_eq!(page.lines.len(), (0..9_000).filter(|n| n % 7 == 6).count());
    }

    #[test]
    fn who_takes_lines_away_gets_each_once_and_hears_how_many_are_gone() {
        let folder = Folder::new();
        let journal = folder.open();
        for at in 0..20 {
            put(&journal, A, at * 500..at * 500 + 500, "a");
            put(&journal, B, at..at + 1, "b");
            journal.commit().unwrap();
        }
        let all = |journal: &Journal| {
            let (mut last, mut ids, mut missed) = (0, Vec::new(), 0);
            loop {
                let part = journal.part(last, 700).unwrap();
                if part.last == last {
                    return (ids, missed);
                }
                (last, missed) = (part.last, missed + part.missed);
                let of = |(subject, line): &(usize, Line)| (part.subjects[*subject].1, line.id);
                ids.extend(part.lines.iter().map(of));
            }
        };
        let (ids, missed) = all(&journal);
        assert_eq!((ids.len(), missed), (10_020, 0));
        assert!(ids.is_sorted_by_key(|(_, id)| *id) && ids.iter().filter(|(of, _)| *of == B.1).count() == 20);
        journal.set_bounds(Bounds {
            each: 256 << 10,
            ..Bounds::default()
        });
        put(&journal, A, 10_000..10_500, "a");
        journal.commit().unwrap();
        let (ids, missed) = all(&journal);
        assert!(missed > 0 && ids.len() as i64 + missed == 10_520, "{missed}");
        // A number is never given twice, even when all lines are gone.
        let reader = crate::journal::Reader {
            last: 10_520,
            ..Default::default()
        };
        journal.set_reader("x", Some(&reader)).unwrap();
        journal.forget(A).unwrap();
        journal.forget(B).unwrap();
        drop(journal);
        let journal = folder.open();
        assert_eq!(journal.reader("x").unwrap(), Some(reader));
        put(&journal, A, 0..1, "new");
        journal.commit().unwrap();
        assert_eq!(journal.part(10_520, 10).unwrap().lines.len(), 1);
    }

    #[test]
    fn the_newest_lines_in_memory_have_a_bound() {
        let folder = Folder::new();
        let journal = folder.open();
        for id in 0..40 {
            put(&journal, ("container", id), 0..6_000, "a");
            journal.commit().unwrap();
            let held = journal.known().held();
            assert!(held <= 8 << 20, "{held}");
        }
        assert!(journal.known().held() > 6 << 20);
        let (lines, _) = journal
            .since(&[("container", 0), ("container", 39)], 0, 100_000)
            .unwrap();
        assert_eq!(lines.len(), 12_000, "what was let go is read from the file");
    }
}
