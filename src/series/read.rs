//! Reading: chart lines from the tier that holds them, and observations as they were stored.

use super::chunk::{self, Bucket};
use super::observation::{Subject, join};
use super::queries;
use super::rollup::{RAW, ROLLED, Tier};
use super::store::Store;
use super::unit::Unit;
use super::window::Window;
use crate::base::clock::{Ms, SECOND};
use crate::base::error::Result;
use crate::base::shape::described;
use crate::db::Conn;
use std::collections::HashMap;

described! {
    /// One line of a chart.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Series {
        /// Key with its part: `cpu`, `disk:/srv`.
        pub key: String,
        /// Unit of the values.
        pub unit: Unit,
        /// Time per point. Points further apart than this (and the observation interval) have a gap between them.
        pub step_ms: Ms,
        /// Unix ms of the start of a step, mean, minimum and maximum.
        pub points: Vec<(Ms, f64, f64, f64)>,
    }
}

/// One series as observed.
#[derive(Debug, Clone, PartialEq)]
pub struct Track {
    /// As in [`Series`].
    pub key: String,
    /// Unit of the values.
    pub unit: Unit,
    /// Unix seconds and value.
    pub points: Vec<(u32, f64)>,
}

impl Store {
    /// A subject's chart lines. A step without values has no point.
    pub fn history(&self, subject: Subject, window: &Window) -> Result<Vec<Series>> {
        self.db().read(|conn| history(conn, subject, window, |_| true))
    }

    /// The lines of one key, with all its parts.
    pub fn history_of(&self, subject: Subject, key: &str, window: &Window) -> Result<Vec<Series>> {
        self.db()
            .read(|conn| history(conn, subject, window, |known| known == key))
    }

    /// Start of the stored data of a subject in unix seconds; `None` without any.
    pub fn since(&self, subject: Subject) -> Result<Option<u32>> {
        self.db().read(|conn| since(conn, subject))
    }

    /// The observations of a subject in these seconds (first included, last not) that are not folded yet.
    pub fn rows(&self, subject: Subject, from: u32, to: u32) -> Result<Vec<Track>> {
        self.db().read(|conn| {
            let Some(subject) = queries::subject(conn, subject)? else {
                return Ok(Vec::new());
            };
            let rows = queries::hot(conn, subject, from, to.saturating_sub(1))?;
            if rows.is_empty() {
                return Ok(Vec::new());
            }
            let known = queries::series(conn, subject)?;
            let place: HashMap<u32, usize> = known.iter().enumerate().map(|(i, row)| (row.id, i)).collect();
            let of = |row: queries::Row| Track {
                key: join(&row.key, &row.part),
                unit: row.unit,
                points: Vec::new(),
            };
            let mut tracks: Vec<Track> = known.into_iter().map(of).collect();
            for (at, data) in rows {
                for (id, steps) in chunk::read_row(&data).unwrap_or_default() {
                    if let Some(track) = place.get(&id).and_then(|i| tracks.get_mut(*i)) {
                        track.points.push((at, track.unit.of_steps(steps as f64)));
                    }
                }
            }
            tracks.retain(|track| !track.points.is_empty());
            Ok(tracks)
        })
    }
}

fn history(conn: &Conn, subject: Subject, window: &Window, wanted: impl Fn(&str) -> bool) -> Result<Vec<Series>> {
    let (step, tier) = (window.step_s, window.tier());
    let (from, to) = (window.from_s(), window.to_s().saturating_sub(1));
    let Some(subject) = queries::subject(conn, subject)? else {
        return Ok(Vec::new());
    };
    let mut known = queries::series(conn, subject)?;
    known.retain(|row| wanted(&row.key));
    if known.is_empty() {
        return Ok(Vec::new());
    }
    let empty = || Slots {
        first: window.first,
        slots: vec![None; window.steps as usize],
    };
    let mut lines: Vec<Slots> = known.iter().map(|_| empty()).collect();
    for (row, line) in known.iter().zip(&mut lines) {
        queries::chunks(conn, tier, row.id, tier.span(from), to, |data| {
            line.take(tier, data, step)
        })?;
    }
    // Values that are not folded yet are in no tier.
    let place: HashMap<u32, usize> = known.iter().enumerate().map(|(i, row)| (row.id, i)).collect();
    for (at, data) in queries::hot(conn, subject, from, to)? {
        for (id, value) in chunk::read_row(&data).unwrap_or_default() {
            if let Some(i) = place.get(&id) {
                lines[*i].put(&Bucket::of(at, value), step);
            }
        }
    }
    let lines = known.iter().zip(lines);
    let seen = lines.filter(|(_, line)| line.slots.iter().any(Option::is_some));
    Ok(seen.map(|(row, line)| line.finish(row, step)).collect())
}

/// The first hour of the first series: if a subject has one, it nearly always has all.
fn since(conn: &Conn, subject: Subject) -> Result<Option<u32>> {
    let Some(subject) = queries::subject(conn, subject)? else {
        return Ok(None);
    };
    let hours = &ROLLED[3];
    for row in queries::series(conn, subject)? {
        if let Some(data) = queries::first_chunk(conn, hours, row.id)? {
            let first = chunk::read_buckets(&data).and_then(|buckets| Some(buckets.first()?.at));
            if first.is_some() {
                return Ok(first);
            }
        }
    }
    queries::first_hot(conn, subject)
}

/// The steps of a line, filled from all stored data.
struct Slots {
    first: u32,
    slots: Vec<Option<Bucket>>,
}

impl Slots {
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
            None => {} // outside the window
        }
    }

    fn finish(self, row: &queries::Row, step: u32) -> Series {
        let unit = row.unit;
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
            key: join(&row.key, &row.part),
            unit,
            step_ms: i64::from(step) * SECOND,
            points: points.collect(),
        }
    }
}
