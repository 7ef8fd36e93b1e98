//! The last poll of each server, prepared for lists: written by `metrics` in the transaction that stores the sample,
//! read at once for a whole page. Stored in `metrics.db`, whose commits are cheap.

mod queries;

use crate::base::clock::{Ms, SECOND, rfc3339};
use crate::base::error::{Error, Result};
use crate::base::id::{Id, Server};
use crate::base::shape::{Described, Shape, described};
use crate::db::{Conn, Db, Tx};
use serde::ser::{Serialize, SerializeSeq, Serializer};
use serde_json::value::RawValue;
use std::collections::HashMap;

/// Polls in a list's sparkline.
const POLLS: usize = 60;
/// Value of a missing measurement in a sparkline.
const GAP: u8 = 255;

/// Tolerance for late polls.
const LATE_MAX: Ms = 150 * SECOND;

/// Is there a gap between two polls this far apart?
pub fn is_gap(apart: Ms, interval_s: i64) -> bool {
    apart > LATE_MAX.max(2 * interval_s * SECOND)
}

/// A server's last good poll.
#[derive(Debug, Clone)]
pub struct Latest {
    /// Start of the poll, unix ms.
    pub at_ms: Ms,
    /// Duration in ms.
    pub took_ms: u32,
    /// JSON as in the API (`ts`, `took_ms`, then the sample without disks).
    pub sample: Box<RawValue>,
    /// The last 60 polls.
    pub spark: Spark,
}

described! {
    /// The last poll: [`Latest::sample`] as JSON.
    pub struct LastSample {
        /// Start of the poll.
        ts: String,
        /// Duration in ms.
        took_ms: u32,
        /// Figures by name; sizes in bytes, rates in bytes per second.
        #[serde(flatten)]
        figures: serde_json::Map<String, serde_json::Value>,
    }
}

/// CPU and memory of the last polls, oldest first, in whole percent: two bytes per poll.
#[derive(Debug, Clone, Default)]
pub struct Spark(Vec<u8>);

/// One of a sparkline's two lines; `null` in JSON where nothing was measured.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a>(&'a [u8], usize);

impl Spark {
    /// Adds a poll; `None` is a gap.
    pub fn push(&mut self, cpu: Option<f64>, mem: Option<f64>) {
        let byte = |percent: Option<f64>| percent.map_or(GAP, |p| p.round().clamp(0.0, 100.0) as u8);
        self.0.extend([byte(cpu), byte(mem)]);
        let surplus = self.0.len().saturating_sub(2 * POLLS);
        self.0.drain(..surplus);
    }

    /// CPU.
    pub fn cpu(&self) -> Line<'_> {
        Line(&self.0, 0)
    }

    /// Memory.
    pub fn mem(&self) -> Line<'_> {
        Line(&self.0, 1)
    }
}

impl Line<'_> {
    /// Of a server that was never polled.
    pub const NONE: Line<'static> = Line(&[], 0);

    /// The values.
    pub fn points(self) -> impl Iterator<Item = Option<u8>> {
        self.0.iter().skip(self.1).step_by(2).map(|b| (*b != GAP).then_some(*b))
    }
}

impl Described for Line<'_> {
    const SHAPE: &'static Shape = &Shape::List(&Shape::Nullable(&Shape::Whole));
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        let mut seq = to.serialize_seq(Some(self.0.len() / 2))?;
        self.points().try_for_each(|point| seq.serialize_element(&point))?;
        seq.end()
    }
}

/// Stores a poll as the last one. `sample` is a JSON object, `disks` a JSON array; `poll` is start (unix ms) and
/// duration (ms).
pub fn put(tx: &Tx, server: Id<Server>, poll: (Ms, u32), sample: &str, spark: &Spark, disks: &str) -> Result<()> {
    let (at_ms, took_ms) = poll;
    let rest = sample
        .strip_prefix('{')
        .ok_or_else(|| Error::internal("a sample is a JSON object"))?;
    let sample = format!("{{\"ts\":\"{}\",\"took_ms\":{took_ms},{rest}", rfc3339(at_ms));
    queries::put(tx, server, poll, &sample, &spark.0, disks)
}

/// One server's last poll.
pub fn get(conn: &Conn, server: Id<Server>) -> Result<Option<Latest>> {
    let Some((at_ms, took_ms, sample, spark)) = queries::get(conn, server)? else {
        return Ok(None);
    };
    let sample = RawValue::from_string(sample).map_err(Error::internal)?;
    Ok(Some(Latest {
        at_ms,
        took_ms,
        sample,
        spark: Spark(spark),
    }))
}

/// The last polls of these servers; those never reached are missing.
pub fn of(metrics: &Db, servers: impl IntoIterator<Item = Id<Server>>) -> Result<HashMap<Id<Server>, Latest>> {
    metrics.read(|conn| {
        let mut out = HashMap::new();
        for server in servers {
            if let Some(latest) = get(conn, server)? {
                out.insert(server, latest);
            }
        }
        Ok(out)
    })
}

/// A stored last poll.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    /// Id of the server.
    pub server: i64,
    /// Start of the poll, unix ms.
    pub at_ms: Ms,
    /// Duration in ms.
    pub took_ms: u32,
    /// JSON, without disks.
    pub sample: &'a str,
    /// A JSON array.
    pub disks: &'a str,
}

/// Calls the function with every server's last poll, one at a time.
pub fn each(metrics: &Db, mut visit: impl FnMut(Text)) -> Result<()> {
    metrics.read(|conn| {
        queries::each(conn, |server, at_ms, took_ms, sample, disks| {
            visit(Text {
                server,
                at_ms,
                took_ms,
                sample,
                disks,
            })
        })
    })
}

/// Calls the function with the sample (JSON, without disks) of every server's last poll, or of one server's.
pub fn samples(metrics: &Db, only: Option<i64>, visit: impl FnMut(i64, &str)) -> Result<()> {
    metrics.read(|conn| queries::samples(conn, only, visit))
}

/// The disks of a server's last poll: a JSON array of `{"mount","device","used","size","percent"}`.
pub fn disks(metrics: &Db, server: Id<Server>) -> Result<Option<Box<RawValue>>> {
    let text = metrics.read(|conn| queries::disks(conn, server))?;
    text.map(|text| RawValue::from_string(text).map_err(Error::internal))
        .transpose()
}

/// Removes a server's last poll.
pub fn forget(tx: &Tx, server: Id<Server>) -> Result<()> {
    queries::forget(tx, server)
}
