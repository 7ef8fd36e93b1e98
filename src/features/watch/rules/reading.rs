//! Reads the values of an observation that a rule watches.

use super::Rule;
use super::watches::{DISK, Series, Unit, Watches};
use crate::series::{Observation, Value, Whole};
use serde::Serialize;

/// Each mount point, including repeats: watched by a rule of one disk.
const MOUNT: &str = "mount";
/// Key of the number of cores, by which loads are divided.
const CORES: &str = "cores";

/// One value for a rule.
pub struct Reading<'a> {
    /// In the rule's unit.
    pub value: f64,
    /// Part; empty: the subject.
    pub part: &'a str,
    /// What it is a share of.
    pub of: Option<Whole<'a>>,
    /// CPU usage, if the rule needs it and it is known.
    pub busy: Option<f64>,
}

/// A measured disk.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Disk {
    /// Mount point.
    pub mount: Box<str>,
    /// Device.
    pub device: Box<str>,
    /// As `df` counts it.
    pub percent: f64,
    /// Bytes of the whole file system.
    pub size: Option<u64>,
    /// Bytes in use.
    pub used: Option<u64>,
    /// Bytes that users may still write.
    pub free: Option<u64>,
    /// Number of datasets of one pool that it represents.
    pub datasets: usize,
}

impl Reading<'_> {
    /// The disk, owned beyond the observation: only needed for transitions.
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

/// Calls the function with every value of an observation that a rule watches.
pub fn each<'a>(rule: &Rule, seen: &'a Observation, mut give: impl FnMut(Reading<'a>)) {
    let Watches::Series(series) = rule.fields.watches else {
        return;
    };
    if series.name == DISK {
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

/// Loads are per core; unknown without the number of cores. Uptimes are minutes.
fn figure(series: &Series, seen: &Observation) -> Option<f64> {
    let value_of = |key| value(seen, key);
    let figure = value_of(series.key)?;
    match series.unit {
        Unit::PerCore => Some(figure / value_of(CORES).filter(|n| *n > 0.0)?),
        Unit::Minutes => Some(figure / 60.0),
        _ => Some(figure),
    }
}

/// CPU in use or waiting for disks, in percent.
fn busy(seen: &Observation) -> Option<f64> {
    Some(value(seen, "cpu")? + value(seen, "iowait").unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use super::super::watches::SERIES;
    use super::*;
    use crate::base::id::Id;
    use crate::features::fleet::metrics::{Polled, SERVERS, Sample, observe};
    use crate::features::workloads::containers::CONTAINERS;
    use crate::features::workloads::services::SERVICES;

    #[test]
    fn every_series_that_a_rule_may_watch_is_measured() {
        for series in SERIES.iter().filter(|s| s.is_observed()) {
            let kind = match series.subject {
                "server" => &SERVERS,
                "service" => &SERVICES,
                _ => &CONTAINERS,
            };
            assert!(kind.place(series.key).is_some(), "{}", series.name);
        }
        let sample = Sample {
            load5: Some(6.0),
            cpu_cores: Some(4),
            uptime_seconds: Some(90),
            ..Sample::default()
        };
        let value = |sample: &Sample, key: &str| {
            let series = SERIES.iter().find(|s| s.name == key).unwrap();
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
