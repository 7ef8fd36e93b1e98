//! What is observed, as plain values: a subject of some kind, a moment, and a number for each key. Whoever asks a subject
//! makes one observation of its answer; the store, the rules of alerts and the exporter all read the same.

use super::unit::Unit;
use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::db::Conn;
use std::collections::HashSet;
use std::sync::Arc;

/// A kind of subjects (servers, containers …): what is observed of each of them. One constant of the feature that observes.
#[derive(Debug)]
pub struct Kind {
    /// In tables, in the targets of events, and as the label that holds a subject's name outside: `server`.
    pub name: &'static str,
    /// Who observes: `glances`.
    pub source: &'static str,
    /// What is observed. Values name a key by its place here; new ones are added at the end.
    pub keys: &'static [Key],
    /// Every subject there is.
    pub all: fn(&Conn) -> Result<Vec<Named>>,
    /// The name of one; nothing when it is gone.
    pub name_of: fn(&Conn, i64) -> Result<Option<String>>,
    /// Those with one of these tags.
    pub tagged: fn(&Conn, &[String]) -> Result<HashSet<i64>>,
    /// Changes when one is added, removed or tagged otherwise.
    pub fingerprint: fn(&Conn) -> Result<(i64, i64)>,
    /// So long one may be silent before nothing is known of it any more.
    pub silence_max: fn(&Conn, i64) -> Result<Ms>,
}

/// Something that is observed of a kind of subjects.
#[derive(Debug)]
pub struct Key {
    /// In the table of series, in charts and in rules. Never changed once released.
    pub name: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// Where a subject has several (its file systems): the label that tells them apart outside. Empty: it has one.
    pub part: &'static str,
    /// Its name outside, the same whether it is scraped or pushed.
    pub metric: &'static str,
    /// That, in one sentence.
    pub help: &'static str,
}

/// Number and name of a subject.
pub type Named = (i64, String);

/// A subject by its kind's name and its number.
pub type Subject = (&'static str, i64);

/// What was seen of a subject at one moment.
#[derive(Debug)]
pub struct Observation<'a> {
    /// What it is.
    pub kind: &'static Kind,
    /// Which one.
    pub id: i64,
    /// When, by our clock.
    pub at_ms: Ms,
    /// What was seen.
    pub seen: Seen<'a>,
}

/// See [`Observation`].
#[derive(Debug)]
pub enum Seen<'a> {
    /// It answered.
    Values(Vec<Value<'a>>),
    /// It did not; after so many in a row nothing is known of it any more.
    Missed(u32),
}

/// A number of an observation, in the unit of its key.
#[derive(Debug, Clone, Copy)]
pub struct Value<'a> {
    /// Its place in [`Kind::keys`].
    pub key: usize,
    /// Which of several; empty: there is one.
    pub part: &'a str,
    /// The number.
    pub value: f64,
    /// Is it to become a series?
    pub is_kept: bool,
    /// Of what it is a share, where that is known.
    pub of: Option<Whole<'a>>,
}

/// What a share is a share of: a file system, a quota.
#[derive(Debug, Clone, Copy)]
pub struct Whole<'a> {
    /// What it is called where it is: `/dev/vda1`.
    pub name: &'a str,
    /// All of it, in bytes.
    pub size: Option<u64>,
    /// Bytes in use.
    pub used: Option<u64>,
    /// Bytes that may still be used.
    pub free: Option<u64>,
    /// How many things share it, this one included.
    pub sharers: usize,
}

impl Kind {
    /// The place of a key.
    pub fn place(&self, key: &str) -> Option<usize> {
        self.keys.iter().position(|k| k.name == key)
    }
}

impl Observation<'_> {
    /// Which subject.
    pub fn subject(&self) -> Subject {
        (self.kind.name, self.id)
    }

    /// Did it not answer?
    pub fn is_missed(&self) -> bool {
        matches!(self.seen, Seen::Missed(_))
    }

    /// What was seen; nothing when it did not answer.
    pub fn values(&self) -> &[Value<'_>] {
        match &self.seen {
            Seen::Values(values) => values,
            Seen::Missed(_) => &[],
        }
    }

    /// The number of a key that a subject has once.
    pub fn value(&self, key: usize) -> Option<f64> {
        Some(self.values().iter().find(|v| v.key == key && v.part.is_empty())?.value)
    }
}

/// A series' name among those of its subject: `cpu`, `disk:/srv`.
pub fn join(key: &str, part: &str) -> String {
    match part {
        "" => key.into(),
        part => format!("{key}:{part}"),
    }
}

/// Key and part of a name.
pub fn split(name: &str) -> (&str, &str) {
    name.split_once(':').unwrap_or((name, ""))
}

/// Is told of every batch of observations, in the thread that made them.
pub type Observer = Box<dyn Fn(&[Observation]) + Send + Sync>;

/// Everybody who is told of observations.
#[derive(Clone, Default)]
pub struct Observers(Arc<Vec<Observer>>);

impl Observers {
    /// These.
    pub fn new(all: Vec<Observer>) -> Observers {
        Observers(Arc::new(all))
    }

    /// Tells all of them.
    pub fn publish(&self, seen: &[Observation]) {
        self.0.iter().for_each(|tell| tell(seen));
    }
}
