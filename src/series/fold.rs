//! Moves rows of whole observations into chunks of every tier, each value into each tier exactly once.

use super::chunk::{self, Point};
use super::queries;
use super::rollup::{self, RAW, ROLLED};
use crate::base::error::Result;
use crate::base::log;
use crate::db::Tx;
use std::collections::HashMap;

/// Moves a subject's hot rows before this second into chunks of every tier.
pub fn fold(tx: &Tx, subject: i64, before: u32) -> Result<()> {
    let mut by_series: HashMap<u32, Vec<Point>> = HashMap::new();
    for (at, data) in queries::hot(tx, subject, 0, before.saturating_sub(1))? {
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
        // A value already in a chunk is in the rollups as well: a second one of the same second would count twice.
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
    queries::drop_hot(tx, subject, before)
}

/// Decodes a stored chunk. A malformed one is logged and dropped; new values are kept.
fn old<T>(data: Option<Vec<u8>>, read: fn(&[u8]) -> Option<Vec<T>>, series: u32) -> Vec<T> {
    let Some(data) = data else { return Vec::new() };
    read(&data).unwrap_or_else(|| {
        log::error(
            "series",
            "a chunk is malformed and was dropped",
            &[("series", &series.to_string())],
        );
        Vec::new()
    })
}
