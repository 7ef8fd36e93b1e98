//! Observations as plain values: a subject of some kind, a time, and a number for each key. The poller of a subject
//! makes one observation of its answer; the store, the alert rules and the exporter all read it.

use super::unit::Unit;
use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::db::Conn;
use std::collections::HashSet;
use std::sync::Arc;

/// A kind of subjects (servers, containers …) and what is observed of each. One constant of the observing feature.
#[derive(Debug)]
pub struct Kind {
    /// Name in tables, in targets of events, and as the label of a subject's name in exported metrics: `server`.
    pub name: &'static str,
    /// Who observes: `glances`.
    pub source: &'static str,
    /// Observed keys. Values refer to a key by its index; new ones are added at the end.
    pub keys: &'static [Key],
    /// All subjects.
    pub all: fn(&Conn) -> Result<Vec<Named>>,
    /// The name of a subject; `None` if it does not exist.
    pub name_of: fn(&Conn, i64) -> Result<Option<String>>,
    /// The ids of subjects that are, or stand on, these servers.
    pub on: fn(&Conn, &HashSet<i64>) -> Result<HashSet<i64>>,
    /// Changes when a subject is added or removed, or what scopes ask about it changes.
    pub fingerprint: fn(&Conn) -> Result<(i64, i64)>,
    /// Silence in ms after which a subject's state is unknown.
    pub silence_max: fn(&Conn, i64) -> Result<Ms>,
}

/// An observed key.
#[derive(Debug)]
pub struct Key {
    /// Name in the series table, charts and rules. Never changed once released.
    pub name: &'static str,
    /// Unit.
    pub unit: Unit,
    /// For keys with several parts (file systems): the label of the part in exported metrics. Empty: a single value.
    pub part: &'static str,
    /// Name of the exported metric, the same when scraped and when pushed.
    pub metric: &'static str,
    /// Help text of the metric.
    pub help: &'static str,
}

/// Id and name of a subject.
pub type Named = (i64, String);

/// A subject: name of its kind, and id.
pub type Subject = (&'static str, i64);

/// The values of one subject at one time.
#[derive(Debug)]
pub struct Observation<'a> {
    /// Kind of the subject.
    pub kind: &'static Kind,
    /// Id of the subject.
    pub id: i64,
    /// Time by our clock, unix ms.
    pub at_ms: Ms,
    /// The result.
    pub seen: Seen<'a>,
}

/// Result of an observation.
#[derive(Debug)]
pub enum Seen<'a> {
    /// It answered.
    Values(Vec<Value<'a>>),
    /// No answer, so many times in a row.
    Missed(u32),
}

/// A value of an observation, in the unit of its key.
#[derive(Debug, Clone, Copy)]
pub struct Value<'a> {
    /// Index in [`Kind::keys`].
    pub key: usize,
    /// Part; empty if the key has none.
    pub part: &'a str,
    /// The number.
    pub value: f64,
    /// Is it stored as a series?
    pub is_kept: bool,
    /// For a share: what it is a share of, if known.
    pub of: Option<Whole<'a>>,
}

/// What a share is a share of: a file system, a quota.
#[derive(Debug, Clone, Copy)]
pub struct Whole<'a> {
    /// Name of the whole on the subject: `/dev/vda1`.
    pub name: &'a str,
    /// Size in bytes.
    pub size: Option<u64>,
    /// Bytes in use.
    pub used: Option<u64>,
    /// Bytes that may still be used.
    pub free: Option<u64>,
    /// Number of parts that share it, this one included.
    pub sharers: usize,
}

impl Kind {
    /// The index of a key.
    pub fn place(&self, key: &str) -> Option<usize> {
        self.keys.iter().position(|k| k.name == key)
    }
}

impl Observation<'_> {
    /// Which subject.
    pub fn subject(&self) -> Subject {
        (self.kind.name, self.id)
    }

    /// Was there no answer?
    pub fn is_missed(&self) -> bool {
        matches!(self.seen, Seen::Missed(_))
    }

    /// The values; empty if there was no answer.
    pub fn values(&self) -> &[Value<'_>] {
        match &self.seen {
            Seen::Values(values) => values,
            Seen::Missed(_) => &[],
        }
    }

    /// The value of a key without parts.
    pub fn value(&self, key: usize) -> Option<f64> {
        Some(self.values().iter().find(|v| v.key == key && v.part.is_empty())?.value)
    }
}

/// Name of a series among those of its subject: `cpu`, `disk:/srv`.
pub fn join(key: &str, part: &str) -> String {
    match part {
        "" => key.into(),
        part => format!("{key}:{part}"),
    }
}

/// Splits a name into key and part.
pub fn split(name: &str) -> (&str, &str) {
    name.split_once(':').unwrap_or((name, ""))
}

/// Called with every batch of observations, on the thread that made them.
pub type Observer = Box<dyn Fn(&[Observation]) + Send + Sync>;

/// All observers.
#[derive(Clone, Default)]
pub struct Observers(Arc<Vec<Observer>>);

impl Observers {
    /// A set of observers.
    pub fn new(all: Vec<Observer>) -> Observers {
        Observers(Arc::new(all))
    }

    /// Calls all observers.
    pub fn publish(&self, seen: &[Observation]) {
        self.0.iter().for_each(|tell| tell(seen));
    }
}
