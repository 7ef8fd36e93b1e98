//! Samples on disk. A poll is one row until about two hours' worth of a server's rows are folded into chunks, in one
//! transaction with all rollups: whatever is killed when, each poll is either whole or not there, and counted once. Of two
//! polls in the same second the newer counts, unless the older one is folded already. The folding of a server is also its
//! clean-up, so nothing ever happens to all servers at the same time.

use super::age::Age;
use super::chunk::{self, Bucket, Point};
use super::glances::{self, Sample};
use super::queries;
use super::rollup::{self, Keep, RAW, ROLLED, Tier, Window};
use super::series::{self, CHARTED_MAX, DISK, DISKS_MAX, METRICS, Unit};
use crate::base::clock::{self, Ms, SECOND};
use crate::base::error::{Error, Result};
use crate::base::id::{Id, Server};
use crate::base::{log, random};
use crate::db::{Conn, Db, Tx};
use crate::features::fleet::servers::latest::{self, Spark};
use serde::Serialize;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

/// File systems of the last poll kept for pages and programs: the fullest.
const SHOWN_MAX: usize = 64;

/// Longer than twice the slowest interval: something was missed, and the line has a gap.
const SILENCE_MS: Ms = 150 * SECOND;

/// One series as it was polled.
#[derive(Debug, Clone, PartialEq)]
pub struct Track {
    /// As in [`METRICS`], or `disk:` and a mount point.
    pub key: String,
    /// Unix seconds and value.
    pub points: Vec<(u32, f64)>,
}

/// Where it is noted from when on polls are not folded, and how long that may be: whoever wanted them may be gone.
const HELD: &str = "hold.from";
const HELD_MAX_S: u32 = 3 * 24 * 3_600;

/// Where the time is noted that the clean-up believes.
const BELIEVED: &str = "clock.believed";

/// See the module's documentation.
pub struct Store {
    db: Arc<Db>,
    writing: Mutex<Writing>,
}

/// What the one who writes keeps in memory.
#[derive(Default)]
struct Writing {
    known: HashMap<i64, Known>,
    keep: Keep,
    age: Option<Age>,
    /// See [`Store::trusting`].
    trusting: bool,
}

/// A file system's series.
struct DiskSeries {
    mount: Box<str>,
    id: u32,
    /// The second when it was polled last since the start.
    seen: u32,
}

/// What is kept in memory of a server that is being written.
struct Known {
    metrics: Vec<Option<u32>>,
    disks: Vec<DiskSeries>,
    spark: Spark,
    last_ms: Ms,
    /// As the server calls itself.
    hostname: Option<String>,
    rows: u32,
    fold_at: u32,
}

impl Store {
    /// On an open `metrics.db`.
    pub fn new(db: Arc<Db>) -> Store {
        Store {
            db,
            writing: Mutex::default(),
        }
    }

    /// Believes every time at once, for stories and benchmarks that tell of years in seconds.
    pub fn trusting(db: Arc<Db>) -> Store {
        let store = Store::new(db);
        store.writing().trusting = true;
        store
    }

    fn writing(&self) -> MutexGuard<'_, Writing> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the tiers are kept from now on.
    pub fn set_keep(&self, keep: Keep) {
        self.writing().keep = keep;
    }

    /// Polls of this second and later are not folded, for three days at most; `None` ends that. It is for who reads polls
    /// as they came ([`Store::polls`]), in whichever process.
    pub fn hold_from(&self, second: Option<u32>) -> Result<()> {
        self.set_note(HELD, second.map(i64::from))
    }

    /// What a server measured in these seconds (the first included, the last not), as far as it is not folded yet.
    pub fn polls(&self, server: i64, from: u32, to: u32) -> Result<Vec<Track>> {
        self.db.read(|conn| {
            let rows = queries::hot(conn, server, from, to.saturating_sub(1))?;
            if rows.is_empty() {
                return Ok(Vec::new());
            }
            let known = queries::series(conn, server)?;
            let place: HashMap<u32, usize> = known.iter().enumerate().map(|(i, (id, _))| (*id, i)).collect();
            let of = |(_, key)| Track {
                key,
                points: Vec::new(),
            };
            let mut tracks: Vec<Track> = known.into_iter().map(of).collect();
            for (at, data) in rows {
                for (id, steps) in chunk::read_row(&data).unwrap_or_default() {
                    if let Some(track) = place.get(&id).and_then(|i| tracks.get_mut(*i)) {
                        let value = series::unit(&track.key).of_steps(steps as f64);
                        track.points.push((at, value));
                    }
                }
            }
            tracks.retain(|track| !track.points.is_empty());
            Ok(tracks)
        })
    }

    /// A text that was noted.
    pub fn note_text(&self, key: &str) -> Result<Option<String>> {
        self.db.read(|conn| queries::note(conn, key))
    }

    /// Notes a text.
    pub fn set_note_text(&self, key: &str, text: &str) -> Result<()> {
        self.db.write(|tx| queries::set_note(tx, key, Some(text)))
    }

    /// Keeps polls, all or (with an error) none of them.
    pub fn add(&self, polls: &[Polled]) -> Result<()> {
        let mut writing = self.writing();
        let done = self
            .db
            .write(|tx| polls.iter().try_for_each(|poll| writing.add(tx, poll)));
        if done.is_err() {
            writing.known.clear(); // it may know of rows that were rolled back
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
            if last.is_none_or(|last| (now - last.at_ms).abs() > clock::HOUR) {
                let mut writing = self.writing();
                writing.known.remove(&server);
                self.db.write(|tx| writing.fold(tx, server, now).map(drop))?;
            }
        }
        let mut writing = self.writing();
        self.db.write(|tx| {
            let believed = writing.believed(tx, now)?;
            queries::set_note(tx, BELIEVED, Some(&believed.to_string()))
        })
    }

    /// Forgets a server.
    pub fn forget(&self, server: Id<Server>) -> Result<()> {
        self.writing().known.remove(&server.get());
        self.db.write(|tx| {
            for (id, _) in queries::series(tx, server.get())? {
                for tier in ROLLED.iter().chain([&RAW]) {
                    queries::drop_chunks(tx, tier, id, u32::MAX)?;
                }
            }
            queries::drop_hot(tx, server.get(), u32::MAX)?;
            latest::forget(tx, server)?;
            queries::forget(tx, server.get())
        })
    }

    /// A server's charts. A stretch without values has no point.
    pub fn history(&self, server: Id<Server>, window: &Window) -> Result<Vec<Series>> {
        self.db.read(|conn| history(conn, server.get(), window, |_| true))
    }

    /// The same of its disks alone.
    pub fn disks(&self, server: Id<Server>, window: &Window) -> Result<Vec<Series>> {
        self.db
            .read(|conn| history(conn, server.get(), window, |key| key.starts_with(DISK)))
    }

    /// Since when anything is kept of a server, in unix seconds; nothing when there is nothing.
    pub fn since(&self, server: Id<Server>) -> Result<Option<u32>> {
        self.db.read(|conn| since(conn, server.get()))
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
}

fn seconds(at_ms: Ms) -> u32 {
    u32::try_from(at_ms / SECOND).unwrap_or(0)
}

impl Writing {
    fn add(&mut self, tx: &Tx, poll: &Polled) -> Result<()> {
        let server = poll.server.get();
        let k = match self.known.entry(server) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(empty) => empty.insert(Known::load(tx, server)?),
        };

        let mut values = Vec::with_capacity(METRICS.len() + poll.sample.disks.len().min(CHARTED_MAX));
        for (i, value) in series::values(poll.sample, poll.took_ms) {
            values.push((k.metric(tx, server, i)?, value));
        }
        let (charted, uncharted) = series::charted(poll.sample);
        for judged in &charted {
            let id = k.disk(tx, server, &judged.disk.mount, seconds(poll.at_ms))?;
            values.push((id, Unit::Percent.to_steps(judged.percent)));
        }
        values.sort_unstable_by_key(|(id, _)| *id);
        queries::put_hot(tx, server, seconds(poll.at_ms), &chunk::row(&values))?;

        k.name(poll);
        k.shine(poll);
        let fullest = charted.first();
        let summary = Sample {
            disk_max_percent: fullest.map(|f| f.percent),
            disk_max_mount: fullest.map(|f| f.disk.mount.clone()),
            disks: Vec::new(),
            uncharted,
            ..poll.sample.clone()
        };
        let sample = serde_json::to_string(&summary).map_err(Error::internal)?;
        let mut disks = poll.sample.disks.clone();
        glances::keep_fullest(&mut disks, SHOWN_MAX);
        let disks = serde_json::to_string(&disks).map_err(Error::internal)?;
        latest::put(tx, poll.server, (poll.at_ms, poll.took_ms), &sample, &k.spark, &disks)?;

        k.rows += 1;
        if k.rows >= k.fold_at {
            let left = self.fold(tx, server, poll.at_ms)?;
            if let Some(k) = self.known.get_mut(&server) {
                k.rows = left;
                k.fold_at = left + fold_at();
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
        let age = match &mut self.age {
            Some(age) => age,
            None => {
                let noted = queries::note(conn, BELIEVED)?.and_then(|text| text.parse().ok());
                self.age.insert(Age::new(noted.unwrap_or(now), now, mono))
            }
        };
        Ok(age.at(now, mono))
    }

    /// Moves a server's hot rows into chunks of every tier and drops what is too old. Says how many rows were held back.
    fn fold(&mut self, tx: &Tx, server: i64, now: Ms) -> Result<u32> {
        let held = queries::note(tx, HELD)?.and_then(|text| text.parse::<u32>().ok());
        let before = held.map_or(u32::MAX, |held| held.max(seconds(now).saturating_sub(HELD_MAX_S)));
        let now = seconds(self.believed(tx, now)?);
        fold(tx, server, before)?;
        for (id, _) in queries::series(tx, server)? {
            for tier in ROLLED.iter().chain([&RAW]) {
                // A chunk goes when its last second is too old.
                queries::drop_chunks(
                    tx,
                    tier,
                    id,
                    now.saturating_sub(self.keep.of(tier).saturating_add(tier.span_s)),
                )?;
            }
        }
        queries::hot_count(tx, server)
    }
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
            hostname: None,
            rows: queries::hot_count(conn, server)?,
            fold_at: fold_at(),
        };
        for (id, key) in queries::series(conn, server)? {
            if let Some(mount) = key.strip_prefix(DISK) {
                known.disks.push(DiskSeries {
                    mount: mount.into(),
                    id,
                    seen: 0,
                });
            } else if let Some(i) = METRICS.iter().position(|m| m.key == key) {
                known.metrics[i] = Some(id);
            }
        }
        if let Some(last) = latest::get(conn, Id::new(server))? {
            known.last_ms = last.at_ms;
            known.spark = last.spark;
            let sample: Sample = serde_json::from_str(last.sample.get()).unwrap_or_default();
            known.hostname = sample.hostname;
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

    fn disk(&mut self, tx: &Tx, server: i64, mount: &str, now: u32) -> Result<u32> {
        if let Some(disk) = self.disks.iter_mut().find(|disk| *disk.mount == *mount) {
            disk.seen = now;
            return Ok(disk.id);
        }
        while self.disks.len() >= DISKS_MAX {
            self.let_go(tx, server)?;
        }
        let id = queries::add_series(tx, server, &format!("{DISK}{mount}"))?;
        self.disks.push(DiskSeries {
            mount: mount.into(),
            id,
            seen: now,
        });
        Ok(id)
    }

    /// Forgets the disk that was not seen for longest, with its history.
    fn let_go(&mut self, tx: &Tx, server: i64) -> Result<()> {
        // What is in rows of whole polls cannot be dropped for one series.
        fold(tx, server, u32::MAX)?;
        self.rows = 0;
        let mut oldest = (0, (u32::MAX, u32::MAX));
        for (place, disk) in self.disks.iter().enumerate() {
            let seen = (disk.seen, queries::last_chunk(tx, &RAW, disk.id)?);
            if seen < oldest.1 {
                oldest = (place, seen);
            }
        }
        let gone = self.disks.swap_remove(oldest.0);
        for tier in ROLLED.iter().chain([&RAW]) {
            queries::drop_chunks(tx, tier, gone.id, u32::MAX)?;
        }
        queries::drop_series(tx, gone.id)
    }

    /// A host name that changes between two polls is told: it may be another machine that answers now.
    fn name(&mut self, poll: &Polled) {
        let Some(now) = &poll.sample.hostname else { return };
        if self.hostname.as_ref() == Some(now) {
            return;
        }
        if let Some(before) = self.hostname.replace(now.clone()) {
            let server = poll.server.to_string();
            let fields = [("server", server.as_str()), ("before", &before), ("now", now)];
            log::warning(
                "metrics",
                "a server calls itself by another name than at its last poll",
                &fields,
            );
        }
    }

    fn shine(&mut self, poll: &Polled) {
        if self.last_ms > 0 && poll.at_ms - self.last_ms > SILENCE_MS {
            self.spark.push(None, None);
        }
        self.spark.push(poll.sample.cpu_percent, poll.sample.mem_percent);
        self.last_ms = poll.at_ms;
    }
}

/// Moves a server's hot rows of before this second into chunks of every tier.
fn fold(tx: &Tx, server: i64, before: u32) -> Result<()> {
    let mut by_series: HashMap<u32, Vec<Point>> = HashMap::new();
    for (at, data) in queries::hot(tx, server, 0, before.saturating_sub(1))? {
        for (id, value) in chunk::read_row(&data).unwrap_or_default() {
            by_series.entry(id).or_default().push(Point { at, value });
        }
    }
    for (id, mut points) in by_series {
        let mut chunks = Vec::new();
        for part in points.chunk_by(|a, b| RAW.span(a.at) == RAW.span(b.at)) {
            let span = RAW.span(part[0].at);
            chunks.push((span, old(queries::chunk(tx, &RAW, id, span)?, chunk::read_points, id)));
        }
        // What is in a chunk is in the rollups as well: a second one of the same second would be counted twice.
        points.retain(|p| {
            let there = chunks.iter().find(|(span, _)| *span == RAW.span(p.at));
            there.is_none_or(|(_, old)| old.binary_search_by_key(&p.at, |o| o.at).is_err())
        });
        for (span, old) in chunks {
            let new: Vec<Point> = points.iter().filter(|p| RAW.span(p.at) == span).copied().collect();
            if !new.is_empty() {
                queries::put_chunk(tx, &RAW, id, span, &chunk::points(&rollup::merge_points(old, &new)))?;
            }
        }
        for tier in &ROLLED {
            let new = rollup::roll(&points, tier.bucket_s);
            for part in new.chunk_by(|a, b| tier.span(a.at) == tier.span(b.at)) {
                let span = tier.span(part[0].at);
                let old = old(queries::chunk(tx, tier, id, span)?, chunk::read_buckets, id);
                queries::put_chunk(tx, tier, id, span, &chunk::buckets(&rollup::merge_buckets(old, part)))?;
            }
        }
    }
    queries::drop_hot(tx, server, before)
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

fn history(conn: &Conn, server: i64, window: &Window, wanted: fn(&str) -> bool) -> Result<Vec<Series>> {
    let (step, tier) = (window.step_s, window.tier());
    let (from, to) = (window.from_s(), window.to_s().saturating_sub(1));

    let mut known = queries::series(conn, server)?;
    known.retain(|(_, key)| wanted(key));
    if known.is_empty() {
        return Ok(Vec::new());
    }
    let mut lines: Vec<Line> = known
        .iter()
        .map(|_| Line {
            first: window.first,
            slots: vec![None; window.steps as usize],
        })
        .collect();
    for ((id, _), line) in known.iter().zip(&mut lines) {
        queries::chunks(conn, tier, *id, tier.span(from), to, |data| line.take(tier, data, step))?;
    }
    // What is not folded yet is in no tier.
    let place: HashMap<u32, usize> = known.iter().enumerate().map(|(i, (id, _))| (*id, i)).collect();
    for (at, data) in queries::hot(conn, server, from, to)? {
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

/// The first hour of the first series: a server that has one has nearly always all.
fn since(conn: &Conn, server: i64) -> Result<Option<u32>> {
    let hours = &ROLLED[3];
    for (id, _) in queries::series(conn, server)? {
        if let Some(data) = queries::first_chunk(conn, hours, id)? {
            let first = chunk::read_buckets(&data).and_then(|buckets| Some(buckets.first()?.at));
            if first.is_some() {
                return Ok(first);
            }
        }
    }
    queries::first_hot(conn, server)
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
