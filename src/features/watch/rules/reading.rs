//! What an observation says to a rule: the figure that it watches, or one for each part.

use super::Rule;
use super::model::{DISK, Series, Unit, Watches};
use crate::series::{Observation, Value, Whole};
use serde::Serialize;

/// Each mount point by itself, also one that repeats another: what a rule of one disk watches.
const MOUNT: &str = "mount";
/// What loads are divided by.
const CORES: &str = "cores";

/// One figure as a rule sees it.
pub struct Reading<'a> {
    /// In the unit of the rule.
    pub value: f64,
    /// Of which part; empty: of the subject.
    pub part: &'a str,
    /// Of what it is a share.
    pub of: Option<Whole<'a>>,
    /// Of the CPU, where the rule asks for it and it is known.
    pub busy: Option<f64>,
}

/// A disk as it was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Disk {
    /// Where it is mounted.
    pub mount: Box<str>,
    /// What is mounted.
    pub device: Box<str>,
    /// As `df` counts it.
    pub percent: f64,
    /// Bytes of the whole file system.
    pub size: Option<u64>,
    /// Bytes in use.
    pub used: Option<u64>,
    /// Bytes that users may still write.
    pub free: Option<u64>,
    /// Datasets of one pool that share what is free: this one stands for them.
    pub datasets: usize,
}

impl Reading<'_> {
    /// The disk that it is of, to be kept beyond the observation: nearly all disks are fine, and of these nothing is kept.
    pub fn disk(&self) -> Option<Disk> {
        let of = self.of?;
        Some(Disk {
            mount: self.part.into(),
            device: of.name.into(),
            percent: self.value,
            size: of.size,
            used: of.used,
            free: of.free,
            datasets: of.sharers,
        })
    }
}

/// Gives every figure of an observation that a rule watches.
pub fn each<'a>(rule: &Rule, seen: &'a Observation, mut give: impl FnMut(Reading<'a>)) {
    let Watches::Series(series) = rule.fields.watches else {
        return;
    };
    if series.key == DISK {
        let mount = &rule.fields.limit.mount;
        let key = seen.kind.place(if mount.is_empty() { DISK } else { MOUNT });
        let wanted = |v: &&Value| Some(v.key) == key && (mount.is_empty() || *mount == *v.part);
        let most = if mount.is_empty() { usize::MAX } else { 1 };
        for value in seen.values().iter().filter(wanted).take(most) {
            give(Reading {
                value: value.value,
                part: value.part,
                of: value.of,
                busy: None,
            });
        }
    } else if let Some(value) = figure(series, seen) {
        give(Reading {
            value,
            part: "",
            of: None,
            busy: rule.asks_for_busy().then(|| busy(seen)).flatten(),
        });
    }
}

fn value(seen: &Observation, key: &str) -> Option<f64> {
    seen.value(seen.kind.place(key)?)
}

/// Loads are of one core; without their number nobody knows whether they are much. Uptimes are minutes.
fn figure(series: &Series, seen: &Observation) -> Option<f64> {
    let value_of = |key| value(seen, key);
    let figure = value_of(series.key)?;
    match series.unit {
        Unit::PerCore => Some(figure / value_of(CORES).filter(|n| *n > 0.0)?),
        Unit::Minutes => Some(figure / 60.0),
        _ => Some(figure),
    }
}

/// How much of the CPU is in use or waits for disks, in percent.
fn busy(seen: &Observation) -> Option<f64> {
    Some(value(seen, "cpu")? + value(seen, "iowait").unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use super::super::model::SERIES;
    use super::*;
    use crate::base::id::Id;
    use crate::features::fleet::metrics::{Polled, SERVERS, Sample, observe};

    #[test]
    fn every_series_that_a_rule_may_watch_is_measured() {
        for series in SERIES.iter().filter(|s| s.key != super::super::model::DISK_TREND) {
            assert!(SERVERS.place(series.key).is_some(), "{}", series.key);
        }
        let sample = Sample {
            load5: Some(6.0),
            cpu_cores: Some(4),
            uptime_seconds: Some(90),
            ..Sample::default()
        };
        let value = |sample: &Sample, key: &str| {
            let series = SERIES.iter().find(|s| s.key == key).unwrap();
            let poll = Polled {
                server: Id::new(1),
                at_ms: 0,
                took_ms: 40,
                interval_s: 30,
                sample,
            };
            figure(series, &observe(&poll))
        };
        let [load, uptime, poll, cpu] = ["load5", "uptime", "poll", "cpu"].map(|key| value(&sample, key));
        assert_eq!((load, uptime, poll, cpu), (Some(1.5), Some(1.5), Some(40.0), None));
        let coreless = Sample {
            cpu_cores: None,
            ..sample.clone()
        };
        assert_eq!(value(&coreless, "load5"), None);
    }
}
