//! Observations on disk. Each is a row until about two hours' worth of a subject's rows are folded into chunks, in one
//! transaction with all rollups: an interruption leaves each observation whole or absent, and counted once. Of two
//! values of a series in the same second the newer wins, unless the older is folded already. Folding a subject also
//! applies its retention, so the work is spread over time.

use super::chunk;
use super::fold::fold;
use super::observation::{Kind, Observation, Seen, Subject, Value};
use super::queries;
use super::retention_clock::RetentionClock;
use super::rollup::{Keep, RAW, ROLLED};
use crate::base::clock::{self, HOUR, Ms, SECOND};
use crate::base::error::Result;
use crate::base::parallel::lock;
use crate::base::random;
use crate::db::{Conn, Db, Tx};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

/// Rows after which a subject is folded: at least this many, up to twice, drawn anew each time, so that subjects that
/// started together do not fold together.
const FOLD_ROWS: u32 = 120;

/// Series per key of one subject. Containers come and go with mounts of their own: the part not seen for longest is
/// removed.
pub const PARTS_MAX: usize = 128;

/// Note: second from which rows are not folded; ignored after three days, since its owner may be gone.
const HELD: &str = "hold.from";
const HELD_MAX_S: u32 = 3 * 24 * 3_600;

/// Note: the time trusted by the clean-up.
const BELIEVED: &str = "clock.believed";

/// The store of `metrics.db`.
pub struct Store {
    db: Arc<Db>,
    writing: Mutex<Writing>,
}

/// Memory of the writer.
#[derive(Default)]
struct Writing {
    known: HashMap<Subject, Known>,
    keep: Keep,
    clock: Option<RetentionClock>,
    /// Trust the clock at once ([`Store::trusting`]).
    trusting: bool,
}

/// Memory of one subject.
struct Known {
    /// Row id of the subject.
    subject: i64,
    /// Series id of each key of its kind; 0: none yet.
    series: Box<[u32]>,
    parts: Vec<Part>,
    rows: u32,
    fold_at: u32,
}

/// A series of a key with parts.
struct Part {
    key: usize,
    name: Box<str>,
    id: u32,
    /// Second when it was last seen since start.
    seen: u32,
}

impl Store {
    /// A store on an open `metrics.db`.
    pub fn new(db: Arc<Db>) -> Store {
        Store {
            db,
            writing: Mutex::default(),
        }
    }

    /// A store that trusts every clock reading at once, for tests and benchmarks that simulate years.
    pub fn trusting(db: Arc<Db>) -> Store {
        let store = Store::new(db);
        store.writing().trusting = true;
        store
    }

    pub(super) fn db(&self) -> &Db {
        &self.db
    }

    fn writing(&self) -> MutexGuard<'_, Writing> {
        lock(&self.writing)
    }

    /// Sets the retention of the tiers.
    pub fn set_keep(&self, keep: Keep) {
        self.writing().keep = keep;
    }

    /// Keeps rows of this second and later from folding, for at most three days; `None` ends that. For readers of raw
    /// observations ([`Store::rows`]) in any process.
    pub fn hold_from(&self, second: Option<u32>) -> Result<()> {
        self.set_note(HELD, second.map(i64::from))
    }

    /// Stores observations and, in the same transaction, what `also` writes. Error: nothing is stored.
    pub fn add(&self, seen: &[Observation], also: impl FnOnce(&Tx) -> Result<()>) -> Result<()> {
        let mut writing = self.writing();
        let done = self.db.write(|tx| {
            seen.iter().try_for_each(|one| writing.add(tx, one))?;
            also(tx)
        });
        if done.is_err() {
            writing.known.clear(); // it may refer to rows that were rolled back
        }
        done
    }

    /// The id of every stored subject of a kind.
    pub fn subjects(&self, kind: &str) -> Result<Vec<i64>> {
        let all = self.db.read(|conn| queries::subjects(conn, kind))?;
        Ok(all.into_iter().map(|(_, number)| number).collect())
    }

    /// Folds and cleans up subjects of a kind that are no longer observed; called once an hour.
    pub fn tidy(&self, kind: &'static str, now: Ms) -> Result<()> {
        for (subject, number) in self.db.read(|conn| queries::subjects(conn, kind))? {
            let last = self.db.read(|conn| queries::last_hot(conn, subject))?;
            if last.is_none_or(|last| (now - i64::from(last) * SECOND).abs() > HOUR) {
                let mut writing = self.writing();
                writing.known.remove(&(kind, number));
                self.db.write(|tx| writing.fold(tx, subject, now).map(drop))?;
            }
        }
        let mut writing = self.writing();
        self.db.write(|tx| {
            let believed = writing.believed(tx, now)?;
            queries::set_note(tx, BELIEVED, Some(&believed.to_string()))
        })
    }

    /// Removes a subject and, in the same transaction, what `also` removes.
    pub fn forget(&self, subject: Subject, also: impl FnOnce(&Tx) -> Result<()>) -> Result<()> {
        self.writing().known.remove(&subject);
        self.db.write(|tx| {
            if let Some(row) = queries::subject(tx, subject)? {
                for series in queries::series(tx, row)? {
                    drop_chunks(tx, series.id, |_| u32::MAX)?;
                }
                queries::drop_hot(tx, row, u32::MAX)?;
                queries::forget(tx, row)?;
            }
            also(tx)
        })
    }
}

fn seconds(at_ms: Ms) -> u32 {
    u32::try_from(at_ms / SECOND).unwrap_or(0)
}

/// Removes a series' chunks that begin before the second that `before` gives for their tier.
fn drop_chunks(tx: &Tx, series: u32, before: impl Fn(&super::rollup::Tier) -> u32) -> Result<()> {
    for tier in ROLLED.iter().chain([&RAW]) {
        queries::drop_chunks(tx, tier, series, before(tier))?;
    }
    Ok(())
}

impl Writing {
    fn add(&mut self, tx: &Tx, seen: &Observation) -> Result<()> {
        let Seen::Values(values) = &seen.seen else {
            return Ok(());
        };
        let (subject, at) = (seen.subject(), seconds(seen.at_ms));
        let known = match self.known.entry(subject) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(empty) => empty.insert(Known::load(tx, seen.kind, subject)?),
        };
        let mut row = Vec::with_capacity(values.len());
        for value in values.iter().filter(|value| value.is_kept) {
            let steps = seen.kind.keys[value.key].unit.to_steps(value.value);
            row.push((known.series(tx, seen.kind, value, at)?, steps));
        }
        row.sort_unstable_by_key(|(id, _)| *id);
        if !queries::add_hot(tx, known.subject, at, &chunk::row(&row))? {
            merge(tx, known.subject, at, row)?;
        }
        known.rows += 1;
        if known.rows >= known.fold_at {
            let row = known.subject;
            let left = self.fold(tx, row, seen.at_ms)?;
            if let Some(known) = self.known.get_mut(&subject) {
                known.rows = left;
                known.fold_at = left + fold_at();
            }
        }
        Ok(())
    }

    /// The time to clean up by.
    fn believed(&mut self, conn: &Conn, now: Ms) -> Result<Ms> {
        if self.trusting {
            return Ok(now);
        }
        let mono = clock::mono();
        let retention = match &mut self.clock {
            Some(retention) => retention,
            None => {
                let noted = queries::note(conn, BELIEVED)?.and_then(|text| text.parse().ok());
                self.clock.insert(RetentionClock::new(noted.unwrap_or(now), now, mono))
            }
        };
        Ok(retention.at(now, mono))
    }

    /// Moves a subject's rows into chunks of every tier and applies retention. Returns how many rows were held back.
    fn fold(&mut self, tx: &Tx, subject: i64, now: Ms) -> Result<u32> {
        let held = queries::note(tx, HELD)?.and_then(|text| text.parse::<u32>().ok());
        let before = held.map_or(u32::MAX, |held| held.max(seconds(now).saturating_sub(HELD_MAX_S)));
        let now = seconds(self.believed(tx, now)?);
        fold(tx, subject, before)?;
        for series in queries::series(tx, subject)? {
            // A chunk is removed when its last second is too old.
            drop_chunks(tx, series.id, |tier| {
                now.saturating_sub(self.keep.of(tier).saturating_add(tier.span_s))
            })?;
        }
        queries::hot_count(tx, subject)
    }
}

/// Merges two observations of one second: for a series in both, the newer value wins.
fn merge(tx: &Tx, subject: i64, at: u32, row: Vec<(u32, i64)>) -> Result<()> {
    let mut both = BTreeMap::new();
    for (_, data) in queries::hot(tx, subject, at, at)? {
        both.extend(chunk::read_row(&data).unwrap_or_default());
    }
    both.extend(row);
    let both: Vec<(u32, i64)> = both.into_iter().collect();
    queries::put_hot(tx, subject, at, &chunk::row(&both))
}

fn fold_at() -> u32 {
    FOLD_ROWS + random::below(u64::from(FOLD_ROWS)) as u32
}

impl Known {
    fn load(tx: &Tx, kind: &Kind, subject: Subject) -> Result<Known> {
        let row = match queries::subject(tx, subject)? {
            Some(row) => row,
            None => queries::add_subject(tx, subject)?,
        };
        let mut known = Known {
            subject: row,
            series: vec![0; kind.keys.len()].into(),
            parts: Vec::new(),
            rows: queries::hot_count(tx, row)?,
            fold_at: fold_at(),
        };
        for series in queries::series(tx, row)? {
            let Some(key) = kind.place(&series.key) else { continue };
            if series.part.is_empty() {
                known.series[key] = series.id;
            } else {
                known.parts.push(Part {
                    key,
                    name: series.part.into(),
                    id: series.id,
                    seen: 0,
                });
            }
        }
        Ok(known)
    }

    /// The series of a value; added if there is none.
    fn series(&mut self, tx: &Tx, kind: &Kind, value: &Value, now: u32) -> Result<u32> {
        let key = &kind.keys[value.key];
        let add = || queries::add_series(tx, self.subject, (key.name, value.part), key.unit, kind.source);
        if value.part.is_empty() {
            if self.series[value.key] == 0 {
                self.series[value.key] = add()?;
            }
            return Ok(self.series[value.key]);
        }
        let mut parts = self.parts.iter_mut();
        if let Some(part) = parts.find(|part| part.key == value.key && *part.name == *value.part) {
            part.seen = now;
            return Ok(part.id);
        }
        while self.parts.iter().filter(|part| part.key == value.key).count() >= PARTS_MAX {
            self.let_go(tx, value.key)?;
        }
        let id = queries::add_series(tx, self.subject, (key.name, value.part), key.unit, kind.source)?;
        self.parts.push(Part {
            key: value.key,
            name: value.part.into(),
            id,
            seen: now,
        });
        Ok(id)
    }

    /// Removes the part of a key that was not seen for longest, with its history.
    fn let_go(&mut self, tx: &Tx, key: usize) -> Result<()> {
        // Rows of whole observations cannot be dropped for one series.
        fold(tx, self.subject, u32::MAX)?;
        self.rows = 0;
        let mut oldest = (0, (u32::MAX, u32::MAX));
        for (place, part) in self.parts.iter().enumerate().filter(|(_, part)| part.key == key) {
            let seen = (part.seen, queries::last_chunk(tx, &RAW, part.id)?);
            if seen < oldest.1 {
                oldest = (place, seen);
            }
        }
        let gone = self.parts.swap_remove(oldest.0);
        drop_chunks(tx, gone.id, |_| u32::MAX)?;
        queries::drop_series(tx, gone.id)
    }
}
