//! Samples on disk. A poll is one row until about two hours' worth of a server's rows are folded into chunks, in one
//! transaction with all rollups: whatever is killed when, each poll is either whole or not there, and counted once. The
//! folding of a server is also its clean-up, so nothing ever happens to all servers at the same time.

use super::chunk::{self, Bucket, Point};
use super::glances::Sample;
use super::queries;
use super::rollup::{self, Period, RAW, ROLLED, Tier};
use super::series::{self, DISK, DISKS_MAX, METRICS, Unit};
use crate::base::clock::{Ms, SECOND};
use crate::base::error::{Error, Result};
use crate::base::id::{Id, Server};
use crate::base::{log, random};
use crate::db::{Conn, Db, Tx};
use crate::features::servers::latest::{self, Spark};
use serde::Serialize;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

/// A poll that brought a sample.
#[derive(Debug, Clone)]
pub struct Polled<'a> {
    /// Whose.
    pub server: Id<Server>,
    /// When it began, by our clock (T-39).
    pub at_ms: Ms,
    /// How long it took.
    pub took_ms: u32,
    /// What it brought.
    pub sample: &'a Sample,
}

/// Rows after which a server is folded: at least so many, and up to twice, drawn anew each time, so that servers which
/// started together do not stay together.
const FOLD_ROWS: u32 = 120;

/// Longer than twice the slowest interval: something was missed, and the line has a gap.
const SILENCE_MS: Ms = 150 * SECOND;

/// See the module's documentation.
pub struct Store {
    db: Arc<Db>,
    known: Mutex<HashMap<i64, Known>>,
}

/// What is kept in memory of a server that is being written.
struct Known {
    metrics: Vec<Option<u32>>,
    disks: Vec<(Box<str>, u32)>,
    spark: Spark,
    last_ms: Ms,
    rows: u32,
    fold_at: u32,
}

impl Store {
    /// On an open `metrics.db`.
    pub fn new(db: Arc<Db>) -> Store {
        Store {
            db,
            known: Mutex::default(),
        }
    }

    /// Keeps polls, all or (with an error) none of them.
    pub fn add(&self, polls: &[Polled]) -> Result<()> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let done = self
            .db
            .write(|tx| polls.iter().try_for_each(|poll| add(tx, &mut known, poll)));
        if done.is_err() {
            known.clear(); // it may know of rows that were rolled back
        }
        done
    }

    /// Folds and cleans up servers that are no longer polled, and forgets those that are gone (a poll may have been under
    /// way when its server was deleted). Once an hour is enough.
    pub fn tidy(&self, now: Ms, exists: impl Fn(Id<Server>) -> bool) -> Result<()> {
        for server in self.db.read(queries::servers)? {
            if !exists(Id::new(server)) {
                self.forget(Id::new(server))?;
                continue;
            }
            let last = latest::of(&self.db, [Id::new(server)])?.into_values().next();
            if last.is_none_or(|last| now - last.at_ms > i64::from(RAW.keep_s) * SECOND) {
                self.known
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .remove(&server);
                self.db.write(|tx| fold(tx, server, seconds(now)))?;
            }
        }
        Ok(())
    }

    /// Forgets a server.
    pub fn forget(&self, server: Id<Server>) -> Result<()> {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&server.get());
        self.db.write(|tx| {
            for (id, _) in queries::series(tx, server.get())? {
                for tier in ROLLED.iter().chain([&RAW]) {
                    queries::drop_chunks(tx, tier, id, u32::MAX)?;
                }
            }
            queries::drop_hot(tx, server.get())?;
            latest::forget(tx, server)?;
            queries::forget(tx, server.get())
        })
    }

    /// A server's charts. A stretch without values has no point.
    pub fn history(&self, server: Id<Server>, period: Period, now: Ms) -> Result<Vec<Series>> {
        self.db.read(|conn| history(conn, server.get(), period, now))
    }

    /// A number that was noted.
    pub fn note(&self, key: &str) -> Result<Option<i64>> {
        let text = self.db.read(|conn| queries::note(conn, key))?;
        Ok(text.and_then(|text| text.parse().ok()))
    }

    /// Notes a number for the time after a restart, or forgets it.
    pub fn set_note(&self, key: &str, value: Option<i64>) -> Result<()> {
        let text = value.map(|n| n.to_string());
        self.db.write(|tx| queries::set_note(tx, key, text.as_deref()))
    }

    /// Bytes of the file: in use, and in all.
    pub fn size(&self) -> Result<(i64, i64)> {
        self.db.read(queries::size)
    }
}

fn seconds(at_ms: Ms) -> u32 {
    u32::try_from(at_ms / SECOND).unwrap_or(0)
}

fn add(tx: &Tx, known: &mut HashMap<i64, Known>, poll: &Polled) -> Result<()> {
    let server = poll.server.get();
    let k = match known.entry(server) {
        Entry::Occupied(there) => there.into_mut(),
        Entry::Vacant(empty) => empty.insert(Known::load(tx, server)?),
    };

    let mut values = Vec::with_capacity(METRICS.len() + poll.sample.disks.len().min(DISKS_MAX));
    for (i, value) in series::values(poll.sample, poll.took_ms) {
        values.push((k.metric(tx, server, i)?, value));
    }
    for (mount, value) in series::disks(poll.sample) {
        if let Some(id) = k.disk(tx, server, mount)? {
            values.push((id, value));
        }
    }
    values.sort_unstable_by_key(|(id, _)| *id);
    queries::put_hot(tx, server, seconds(poll.at_ms), &chunk::row(&values))?;

    k.shine(poll);
    let summary = Sample {
        disks: Vec::new(),
        ..poll.sample.clone()
    };
    let sample = serde_json::to_string(&summary).map_err(Error::internal)?;
    let disks =
        serde_json::to_string(&poll.sample.disks[..poll.sample.disks.len().min(64)]).map_err(Error::internal)?;
    latest::put(tx, poll.server, (poll.at_ms, poll.took_ms), &sample, &k.spark, &disks)?;

    k.rows += 1;
    if k.rows >= k.fold_at {
        fold(tx, server, seconds(poll.at_ms))?;
        k.rows = 0;
        k.fold_at = fold_at();
    }
    Ok(())
}

fn fold_at() -> u32 {
    FOLD_ROWS + random::below(u64::from(FOLD_ROWS)) as u32
}

impl Known {
    fn load(conn: &Conn, server: i64) -> Result<Known> {
        let mut known = Known {
            metrics: vec![None; METRICS.len()],
            disks: Vec::new(),
            spark: Spark::default(),
            last_ms: 0,
            rows: queries::hot_count(conn, server)?,
            fold_at: fold_at(),
        };
        for (id, key) in queries::series(conn, server)? {
            if let Some(mount) = key.strip_prefix(DISK) {
                known.disks.push((mount.into(), id));
            } else if let Some(i) = METRICS.iter().position(|m| m.key == key) {
                known.metrics[i] = Some(id);
            }
        }
        if let Some(last) = latest::get(conn, Id::new(server))? {
            known.last_ms = last.at_ms;
            known.spark = last.spark;
        }
        Ok(known)
    }

    fn metric(&mut self, tx: &Tx, server: i64, i: usize) -> Result<u32> {
        match self.metrics[i] {
            Some(id) => Ok(id),
            None => {
                let id = queries::add_series(tx, server, METRICS[i].key)?;
                self.metrics[i] = Some(id);
                Ok(id)
            }
        }
    }

    fn disk(&mut self, tx: &Tx, server: i64, mount: &str) -> Result<Option<u32>> {
        if let Some((_, id)) = self.disks.iter().find(|(known, _)| **known == *mount) {
            return Ok(Some(*id));
        }
        if self.disks.len() >= DISKS_MAX {
            return Ok(None);
        }
        let id = queries::add_series(tx, server, &format!("{DISK}{mount}"))?;
        self.disks.push((mount.into(), id));
        Ok(Some(id))
    }

    fn shine(&mut self, poll: &Polled) {
        if self.last_ms > 0 && poll.at_ms - self.last_ms > SILENCE_MS {
            self.spark.push(None, None);
        }
        self.spark.push(poll.sample.cpu_percent, poll.sample.mem_percent);
        self.last_ms = poll.at_ms;
    }
}

/// Moves a server's hot rows into chunks of every tier and drops what is too old.
fn fold(tx: &Tx, server: i64, now: u32) -> Result<()> {
    let mut by_series: HashMap<u32, Vec<Point>> = HashMap::new();
    for (at, data) in queries::hot(tx, server, 0, u32::MAX)? {
        for (id, value) in chunk::read_row(&data).unwrap_or_default() {
            by_series.entry(id).or_default().push(Point { at, value });
        }
    }
    for (id, points) in &by_series {
        for part in points.chunk_by(|a, b| RAW.span(a.at) == RAW.span(b.at)) {
            let span = RAW.span(part[0].at);
            let old = old(queries::chunk(tx, &RAW, *id, span)?, chunk::read_points, *id);
            queries::put_chunk(tx, &RAW, *id, span, &chunk::points(&rollup::merge_points(old, part)))?;
        }
        for tier in &ROLLED {
            let new = rollup::roll(points, tier.bucket_s);
            for part in new.chunk_by(|a, b| tier.span(a.at) == tier.span(b.at)) {
                let span = tier.span(part[0].at);
                let old = old(queries::chunk(tx, tier, *id, span)?, chunk::read_buckets, *id);
                queries::put_chunk(tx, tier, *id, span, &chunk::buckets(&rollup::merge_buckets(old, part)))?;
            }
        }
    }
    queries::drop_hot(tx, server)?;
    for (id, _) in queries::series(tx, server)? {
        for tier in ROLLED.iter().chain([&RAW]) {
            // A chunk goes when its last second is too old.
            queries::drop_chunks(tx, tier, id, now.saturating_sub(tier.keep_s + tier.span_s))?;
        }
    }
    Ok(())
}

/// A chunk that cannot be read is lost, and said so; what comes after it is kept.
fn old<T>(data: Option<Vec<u8>>, read: fn(&[u8]) -> Option<Vec<T>>, series: u32) -> Vec<T> {
    let Some(data) = data else { return Vec::new() };
    read(&data).unwrap_or_else(|| {
        log::error(
            "metrics",
            "a chunk is broken and was given up",
            &[("series", &series.to_string())],
        );
        Vec::new()
    })
}

/// One line of a chart.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Series {
    /// As in [`METRICS`], or `disk:` and a mount point.
    pub key: String,
    /// What it counts.
    pub unit: Unit,
    /// What one point covers. Two points further apart than this (and the polls' interval) have a gap between them.
    pub step_ms: Ms,
    /// Unix ms of a stretch's beginning, mean, least and greatest value.
    pub points: Vec<(Ms, f64, f64, f64)>,
}

fn history(conn: &Conn, server: i64, period: Period, now: Ms) -> Result<Vec<Series>> {
    let step = (period.step_ms() / SECOND) as u32;
    let slots = (period.length_ms() / period.step_ms()) as usize;
    let last = seconds(now) / step;
    let first = last.saturating_sub(slots as u32 - 1);
    let from = first * step;

    let known = queries::series(conn, server)?;
    let mut lines: Vec<Line> = known
        .iter()
        .map(|_| Line {
            first,
            slots: vec![None; slots],
        })
        .collect();
    let tier = period.tier();
    for ((id, _), line) in known.iter().zip(&mut lines) {
        let range = (tier.span(from), seconds(now));
        queries::chunks(conn, tier, *id, range.0, range.1, |data| line.take(tier, data, step))?;
    }
    // What is not folded yet is in no tier.
    let place: HashMap<u32, usize> = known.iter().enumerate().map(|(i, (id, _))| (*id, i)).collect();
    for (at, data) in queries::hot(conn, server, from, seconds(now))? {
        for (id, value) in chunk::read_row(&data).unwrap_or_default() {
            if let Some(i) = place.get(&id) {
                lines[*i].put(&Bucket::of(at, value), step);
            }
        }
    }
    Ok(known
        .into_iter()
        .zip(lines)
        .filter(|(_, line)| line.slots.iter().any(Option::is_some))
        .map(|((_, key), line)| line.finish(key, step))
        .collect())
}

struct Line {
    first: u32,
    slots: Vec<Option<Bucket>>,
}

impl Line {
    fn take(&mut self, tier: &Tier, data: &[u8], step: u32) {
        if tier.number == RAW.number {
            for p in chunk::read_points(data).unwrap_or_default() {
                self.put(&Bucket::of(p.at, p.value), step);
            }
        } else {
            for b in chunk::read_buckets(data).unwrap_or_default() {
                self.put(&b, step);
            }
        }
    }

    fn put(&mut self, bucket: &Bucket, step: u32) {
        let slot = (bucket.at / step)
            .checked_sub(self.first)
            .and_then(|i| self.slots.get_mut(i as usize));
        match slot {
            Some(Some(there)) => there.add(bucket),
            Some(empty) => *empty = Some(*bucket),
            None => {} // before or after what was asked for
        }
    }

    fn finish(self, key: String, step: u32) -> Series {
        let unit = series::unit(&key);
        let points = (self.first..).zip(&self.slots).filter_map(|(slot, bucket)| {
            let b = bucket.as_ref()?;
            let mean = b.sum as f64 / f64::from(b.count.max(1));
            Some((
                i64::from(slot) * i64::from(step) * SECOND,
                unit.of_steps(mean),
                unit.of_steps(b.min as f64),
                unit.of_steps(b.max as f64),
            ))
        });
        Series {
            key,
            unit,
            step_ms: i64::from(step) * SECOND,
            points: points.collect(),
        }
    }
}
