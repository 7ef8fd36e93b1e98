//! The writing half: an inbox with bounds for each subject, and one transaction after the other.

use super::chunk;
use super::line::{Line, New};
use super::queries::{self, Block, Source as Stored};
use super::tail::{TOTAL_MAX, Tail};
use super::words::Sieve;
use crate::base::clock::{DAY, Duration, Ms};
use crate::base::error::Result;
use crate::base::log;
use crate::base::parallel::lock;
use crate::base::process::{self, Cancel};
use crate::db::{Db, Tx};
use crate::events::wake::Wake;
use crate::series::Subject;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Bytes of a chunk, about.
const CHUNK: usize = 64 << 10;
/// Bytes of one subject's lines that wait to be stored, after which its collector waits.
const WAITING_MAX: usize = 1 << 20;
/// The same for all subjects together.
const ALL_WAITING_MAX: usize = 16 << 20;
/// Pause in which lines of many subjects gather for one transaction.
const GATHER: Duration = Duration::from_millis(150);

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of one subject.
    pub each: i64,
    /// Bytes in all.
    pub total: i64,
    /// Age in ms.
    pub age: Ms,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            each: 20 << 20,
            total: 1 << 30,
            age: 7 * DAY,
        }
    }
}

/// What is stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Lines.
    pub lines: i64,
    /// Bytes.
    pub bytes: i64,
}

/// The journal, on an open `journal.db`.
pub struct Journal {
    pub(super) db: Arc<Db>,
    inbox: Mutex<Inbox>,
    /// The inbox has got lines, or room.
    moved: Condvar,
    /// Held by who stores; what could not be stored is kept for the next try.
    writing: Mutex<Writing>,
    known: RwLock<Known>,
    wake: Wake,
    /// Does this process store? Else what it knows is read again whenever another one has stored.
    stores: AtomicBool,
    /// Version of the file that is known.
    version: AtomicI64,
}

#[derive(Default)]
struct Inbox {
    waiting: BTreeMap<Subject, Waiting>,
    bytes: usize,
}

#[derive(Default)]
struct Waiting {
    lines: Vec<New>,
    bytes: usize,
    mark: Option<String>,
}

#[derive(Default)]
struct Writing {
    stuck: BTreeMap<Subject, Waiting>,
    bounds: Bounds,
    /// Number of the next line.
    next: i64,
    /// How often was stored.
    round: u64,
}

/// What readers and the writer know without asking the file.
#[derive(Default)]
pub(super) struct Known {
    sources: HashMap<String, HashMap<i64, Source>>,
    usage: Usage,
}

/// A subject with lines.
pub(super) struct Source {
    /// Row id.
    pub row: i64,
    mark: String,
    last_at: i64,
    usage: Usage,
    /// Its fresh rows.
    pub fresh: Vec<Block>,
    /// Its newest lines.
    pub tail: Tail,
}

impl Known {
    /// The source of a subject.
    pub fn source(&self, subject: Subject) -> Option<&Source> {
        self.sources.get(subject.0)?.get(&subject.1)
    }

    /// Bytes of lines in memory.
    pub fn held(&self) -> usize {
        let all = self.sources.values().flat_map(HashMap::values);
        all.map(|source| source.tail.bytes()).sum()
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Source> {
        self.sources.values_mut().flat_map(HashMap::values_mut)
    }

    fn of_row(&mut self, row: i64) -> Option<&mut Source> {
        self.all().find(|source| source.row == row)
    }

    fn lose(&mut self, row: i64, block: &Block) {
        let gone = |usage: &mut Usage| {
            usage.lines -= block.count;
            usage.bytes -= block.bytes;
        };
        gone(&mut self.usage);
        if let Some(source) = self.of_row(row) {
            gone(&mut source.usage);
            source.fresh.retain(|fresh| fresh.first != block.first);
        }
    }
}

/// What a transaction has done, to be known once it is on disk.
#[derive(Default)]
struct Done {
    added: Vec<Added>,
    lost: Vec<(i64, Block)>,
}

struct Added {
    subject: Subject,
    row: i64,
    mark: Option<String>,
    lines: Vec<Line>,
    fresh: Option<Block>,
    /// Fresh rows became chunks of these sizes.
    chunks: Vec<Block>,
}

impl Journal {
    /// Its file.
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// Opens the journal: reads what it knows of the file.
    pub fn open(db: Arc<Db>) -> Result<Journal> {
        let version = db.version()?;
        let (known, next) = load(&db)?;
        let writing = Writing {
            next,
            ..Writing::default()
        };
        Ok(Journal {
            db,
            inbox: Mutex::default(),
            moved: Condvar::new(),
            writing: Mutex::new(writing),
            known: RwLock::new(known),
            wake: Wake::new(),
            stores: AtomicBool::new(false),
            version: AtomicI64::new(version),
        })
    }

    /// Takes up what another process has stored.
    pub(super) fn refresh(&self) -> Result<()> {
        if self.stores.load(Ordering::SeqCst) {
            return Ok(());
        }
        let version = self.db.version()?;
        if version == self.version.load(Ordering::SeqCst) {
            return Ok(());
        }
        let mut writing = lock(&self.writing);
        let (known, next) = load(&self.db)?;
        *self.known_mut() = known;
        writing.next = next;
        self.version.store(version, Ordering::SeqCst);
        Ok(())
    }

    /// The same; what cannot be read is as it was.
    fn refreshed(&self) {
        if let Err(e) = self.refresh() {
            log::warning("journal", "what was stored is not known", &[("error", &e.to_string())]);
        }
    }

    /// Changes when lines were stored, by whichever process.
    pub fn moved(&self) -> u64 {
        match self.stores.load(Ordering::SeqCst) {
            true => self.wake.count(),
            false => self.db.version().map_or(0, i64::unsigned_abs),
        }
    }

    /// Sets what is kept.
    pub fn set_bounds(&self, bounds: Bounds) {
        lock(&self.writing).bounds = bounds;
    }

    /// The mark that was handed over last with a subject's lines; empty if there is none.
    pub fn mark(&self, subject: Subject) -> String {
        let writing = lock(&self.writing);
        let inbox = lock(&self.inbox);
        let waits = [&inbox.waiting, &writing.stuck]
            .into_iter()
            .find_map(|all| all.get(&subject)?.mark.clone());
        if let Some(mark) = waits {
            return mark;
        }
        self.known()
            .source(subject)
            .map_or_else(String::new, |source| source.mark.clone())
    }

    /// The number of the newest line; 0: there is none.
    pub fn newest_id(&self) -> i64 {
        self.refreshed();
        lock(&self.writing).next - 1
    }

    /// What is stored of a subject.
    pub fn usage_of(&self, subject: Subject) -> Usage {
        self.refreshed();
        self.known()
            .source(subject)
            .map_or_else(Usage::default, |source| source.usage)
    }

    /// What is stored in all.
    pub fn usage(&self) -> Usage {
        self.refreshed();
        self.known().usage
    }

    /// Disk space of the file.
    pub fn size(&self) -> Result<crate::db::Size> {
        self.db.size()
    }

    /// Hands over lines, and the mark where their collector goes on once they are stored. Waits while too many of this
    /// subject's lines wait. Error: `cancelled` during that.
    pub fn put(&self, subject: Subject, lines: Vec<New>, mark: Option<String>, cancel: &Cancel) -> Result<()> {
        let bytes: usize = lines.iter().map(|line| line.text.len() + 16).sum();
        let mut inbox = lock(&self.inbox);
        while inbox.bytes > ALL_WAITING_MAX
            || inbox
                .waiting
                .get(&subject)
                .is_some_and(|waiting| waiting.bytes > WAITING_MAX)
        {
            if cancel.is_cancelled() {
                return Err(process::cancelled());
            }
            let (guard, _) = self
                .moved
                .wait_timeout(inbox, Duration::from_millis(100))
                .unwrap_or_else(PoisonError::into_inner);
            inbox = guard;
        }
        inbox.bytes += bytes;
        let waiting = inbox.waiting.entry(subject).or_default();
        waiting.bytes += bytes;
        waiting.lines.extend(lines);
        if mark.is_some() {
            waiting.mark = mark;
        }
        drop(inbox);
        self.moved.notify_all();
        Ok(())
    }

    /// Stores what was handed over, again and again, until cancelled, and then once more. `failed` hears of each try.
    pub fn write_until(&self, cancel: &Cancel, failed: &mut dyn FnMut(Option<crate::base::error::Error>)) {
        loop {
            let over = cancel.is_cancelled();
            let mut inbox = lock(&self.inbox);
            let is_stuck = !over && inbox.waiting.is_empty();
            if is_stuck {
                let (guard, _) = self
                    .moved
                    .wait_timeout(inbox, Duration::from_millis(200))
                    .unwrap_or_else(PoisonError::into_inner);
                inbox = guard;
            }
            let has_lines = !inbox.waiting.is_empty() || !lock(&self.writing).stuck.is_empty();
            drop(inbox);
            if has_lines {
                if !over {
                    cancel.wait(GATHER);
                }
                let done = self.commit();
                if done.is_err() && !over {
                    cancel.wait(Duration::from_secs(1));
                }
                failed(done.err());
            }
            if over {
                return;
            }
        }
    }

    /// Stores what was handed over. Error: nothing of it is stored; it is tried again with the next call.
    pub fn commit(&self) -> Result<()> {
        self.refresh()?;
        self.stores.store(true, Ordering::SeqCst);
        let mut writing = lock(&self.writing);
        if writing.stuck.is_empty() {
            let mut inbox = lock(&self.inbox);
            writing.stuck = std::mem::take(&mut inbox.waiting);
            inbox.bytes = 0;
            drop(inbox);
            self.moved.notify_all();
        }
        if writing.stuck.is_empty() {
            return Ok(());
        }
        let done = {
            let known = self.known();
            self.db.write(|tx| store(tx, &writing, &known))?
        };
        writing.round += 1;
        writing.stuck.clear();
        let newest = done.added.iter().filter_map(|added| Some(added.lines.last()?.id)).max();
        writing.next = newest.map_or(writing.next, |id| id + 1);
        apply(&mut self.known_mut(), done, writing.round);
        drop(writing);
        self.wake.ring();
        Ok(())
    }

    /// Removes what is too old, by this time. Called now and then.
    pub fn tidy(&self, now: Ms) -> Result<()> {
        let writing = lock(&self.writing);
        let before = (now - writing.bounds.age).saturating_mul(1_000_000);
        loop {
            let old: Vec<(i64, Block)> = {
                let mut known = self.known_mut();
                let of = |source: &mut Source| {
                    let (row, fresh) = (source.row, source.fresh.iter());
                    fresh
                        .take_while(|block| block.to_at < before)
                        .map(|block| (row, *block))
                        .collect::<Vec<_>>()
                };
                known.all().flat_map(of).take(500).collect()
            };
            let lost = self.db.write_reserved(|tx| {
                let mut lost = old.clone();
                old.iter()
                    .try_for_each(|(_, block)| queries::remove_fresh(tx, block.first))?;
                while lost.len() < 100 && queries::oldest_at(tx)?.is_some_and(|at| at < before) {
                    lost.extend(queries::remove_oldest(tx, 0)?);
                }
                Ok(lost)
            })?;
            let is_last = lost.len() < 100;
            let mut known = self.known_mut();
            lost.iter().for_each(|(row, block)| known.lose(*row, block));
            if is_last {
                return Ok(());
            }
        }
    }

    /// Removes a subject with its lines.
    pub fn forget(&self, subject: Subject) -> Result<()> {
        let mut writing = lock(&self.writing);
        writing.stuck.remove(&subject);
        let mut inbox = lock(&self.inbox);
        if let Some(gone) = inbox.waiting.remove(&subject) {
            inbox.bytes = inbox.bytes.saturating_sub(gone.bytes);
        }
        drop(inbox);
        let row = self.known().source(subject).map(|source| source.row);
        let Some(row) = row else {
            return Ok(());
        };
        self.db.write_reserved(|tx| queries::remove_source(tx, row))?;
        let mut known = self.known_mut();
        if let Some(gone) = known.sources.get_mut(subject.0).and_then(|all| all.remove(&subject.1)) {
            known.usage.lines -= gone.usage.lines;
            known.usage.bytes -= gone.usage.bytes;
        }
        Ok(())
    }

    /// The subjects of a kind with lines.
    pub fn subjects(&self, kind: &str) -> Vec<i64> {
        let known = self.known();
        known
            .sources
            .get(kind)
            .map_or_else(Vec::new, |all| all.keys().copied().collect())
    }

    /// How many subjects of a kind have lines, and the highest number of one: changes when there is another one.
    pub fn extent(&self, kind: &str) -> (usize, i64) {
        let known = self.known();
        let all = known.sources.get(kind);
        all.map_or((0, 0), |all| (all.len(), all.keys().copied().max().unwrap_or(0)))
    }

    pub(super) fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_mut(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the file knows: its sources and the number of the next line.
fn load(db: &Db) -> Result<(Known, i64)> {
    let mut known = Known::default();
    let next = db.read(|conn| {
        let mut rows = HashMap::new();
        for stored in queries::sources(conn)? {
            let Stored {
                row,
                kind,
                subject,
                mark,
                last_at,
            } = stored;
            rows.insert(row, (kind.clone(), subject));
            let source = Source {
                row,
                mark,
                last_at,
                usage: Usage::default(),
                fresh: Vec::new(),
                tail: Tail::default(),
            };
            known.sources.entry(kind).or_default().insert(subject, source);
        }
        let sums = queries::sums(conn)?
            .into_iter()
            .map(|(row, lines, bytes)| (row, Usage { lines, bytes }, None));
        let fresh = queries::all_fresh(conn)?.into_iter().map(|(row, block)| {
            let usage = Usage {
                lines: block.count,
                bytes: block.bytes,
            };
            (row, usage, Some(block))
        });
        for (row, usage, fresh) in sums.chain(fresh) {
            let Some((kind, subject)) = rows.get(&row) else {
                continue;
            };
            if let Some(source) = known.sources.get_mut(kind).and_then(|all| all.get_mut(subject)) {
                known.usage.lines += usage.lines;
                known.usage.bytes += usage.bytes;
                source.usage.lines += usage.lines;
                source.usage.bytes += usage.bytes;
                source.fresh.extend(fresh);
            }
        }
        Ok(queries::newest(conn)? + 1)
    })?;
    known.all().for_each(|source| source.tail = Tail::new(next));
    Ok((known, next))
}

fn store(tx: &Tx, writing: &Writing, known: &Known) -> Result<Done> {
    let (mut done, mut next, mut total) = (Done::default(), writing.next, known.usage.bytes);
    for (subject, waiting) in &writing.stuck {
        let source = known.source(*subject);
        let row = match source {
            Some(source) => source.row,
            None => queries::add_source(tx, subject.0, subject.1)?,
        };
        let mut last_at = source.map_or(0, |source| source.last_at);
        let lines: Vec<Line> = waiting
            .lines
            .iter()
            .map(|new| {
                last_at = last_at.max(new.at);
                next += 1;
                Line {
                    id: next - 1,
                    at: last_at,
                    stream: new.stream,
                    level: new.level,
                    text: new.text.clone(),
                }
            })
            .collect();
        queries::set_source(tx, row, last_at, waiting.mark.as_deref())?;
        let mut added = Added {
            subject: *subject,
            row,
            mark: waiting.mark.clone(),
            lines,
            fresh: None,
            chunks: Vec::new(),
        };
        let mut bytes = source.map_or(0, |source| source.usage.bytes);
        let before = bytes;
        let fresh = source.map_or(&[][..], |source| &source.fresh);
        let fresh_bytes: i64 = fresh.iter().map(|block| block.bytes).sum();
        let size: usize = added.lines.iter().map(|line| line.text.len() + 16).sum();
        if fresh_bytes as usize + size >= CHUNK {
            added.chunks = fold(tx, row, fresh, &added.lines)?;
            bytes += added.chunks.iter().map(|block| block.bytes).sum::<i64>() - fresh_bytes;
        } else if !added.lines.is_empty() {
            let block = add_fresh(tx, row, &added.lines)?;
            bytes += block.bytes;
            added.fresh = Some(block);
        }
        done.added.push(added);
        total += bytes - before;
        while bytes > writing.bounds.each {
            let Some((row, block)) = queries::remove_oldest(tx, row)? else {
                break;
            };
            bytes -= block.bytes;
            total -= block.bytes;
            done.lost.push((row, block));
        }
    }
    while total > writing.bounds.total {
        let Some((row, block)) = queries::remove_oldest(tx, 0)? else {
            break;
        };
        total -= block.bytes;
        done.lost.push((row, block));
    }
    Ok(done)
}

fn add_fresh(tx: &Tx, row: i64, lines: &[Line]) -> Result<Block> {
    let mut packed = Packed::default();
    lines.iter().for_each(|line| packed.push(line));
    let block = packed.block();
    queries::add_fresh(tx, row, &block, &packed.data)?;
    Ok(block)
}

/// Makes chunks of a source's fresh rows and these lines.
fn fold(tx: &Tx, row: i64, fresh: &[Block], lines: &[Line]) -> Result<Vec<Block>> {
    let (mut packed, mut out) = (Packed::default(), Vec::new());
    let mut add = |line: &Line| -> Result<()> {
        packed.push(line);
        match packed.data.len() >= CHUNK {
            true => {
                out.push(std::mem::take(&mut packed).store(tx, row)?);
                Ok(())
            }
            false => Ok(()),
        }
    };
    for block in fresh {
        let data = queries::fresh(tx, block.first)?.unwrap_or_default();
        let mut seen = Vec::new();
        chunk::read(&data, &mut seen);
        seen.into_iter().try_for_each(|one| add(&one.line(&data)))?;
        queries::remove_fresh(tx, block.first)?;
    }
    lines.iter().try_for_each(&mut add)?;
    if packed.count > 0 {
        out.push(packed.store(tx, row)?);
    }
    Ok(out)
}

/// Lines on their way into a row.
#[derive(Default)]
struct Packed {
    data: Vec<u8>,
    count: i64,
    first: (i64, i64),
    last: (i64, i64),
    words: Sieve<'static>,
}

impl Packed {
    fn push(&mut self, line: &Line) {
        chunk::push(&mut self.data, self.last, line);
        self.last = (line.id, line.at);
        if self.count == 0 {
            self.first = self.last;
        }
        self.count += 1;
    }

    fn block(&self) -> Block {
        Block {
            first: self.first.0,
            last: self.last.0,
            count: self.count,
            from_at: self.first.1,
            to_at: self.last.1,
            bytes: self.data.len() as i64,
        }
    }

    fn store(mut self, tx: &Tx, row: i64) -> Result<Block> {
        let mut seen = Vec::new();
        chunk::read(&self.data, &mut seen);
        seen.iter().for_each(|one| self.words.add(one.text(&self.data)));
        let mut block = self.block();
        block.bytes += self.words.bytes().len() as i64;
        queries::add_chunk(tx, row, &block, self.words.bytes(), &self.data)?;
        Ok(block)
    }
}

fn apply(known: &mut Known, done: Done, round: u64) {
    for added in done.added {
        let all = known.sources.entry(added.subject.0.into()).or_default();
        let source = all.entry(added.subject.1).or_insert_with(|| Source {
            row: added.row,
            mark: String::new(),
            last_at: 0,
            usage: Usage::default(),
            fresh: Vec::new(),
            tail: Tail::new(0),
        });
        if let Some(mark) = added.mark {
            source.mark = mark;
        }
        let mut bytes: i64 = added.chunks.iter().chain(&added.fresh).map(|block| block.bytes).sum();
        if !added.chunks.is_empty() {
            bytes -= source.fresh.iter().map(|block| block.bytes).sum::<i64>();
            source.fresh = Vec::new();
        }
        source.fresh.extend(added.fresh);
        source.last_at = added.lines.last().map_or(source.last_at, |line| line.at);
        let lines = added.lines.len() as i64;
        source.tail.used = round;
        added.lines.into_iter().for_each(|line| source.tail.push(line));
        source.usage.lines += lines;
        source.usage.bytes += bytes;
        known.usage.lines += lines;
        known.usage.bytes += bytes;
    }
    done.lost.iter().for_each(|(row, block)| known.lose(*row, block));
    let mut held = known.held();
    while held > TOTAL_MAX {
        let least = known
            .all()
            .filter(|source| source.tail.bytes() > 0)
            .min_by_key(|source| source.tail.used);
        let Some(least) = least else { return };
        held -= least.tail.bytes();
        least.tail.clear();
    }
}
