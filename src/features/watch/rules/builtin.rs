//! Fields of a rule, and the built-in rules.

use super::watches::{DISK, DISK_TREND, SERIES, Series, Watches, builtin_of};
use crate::features::fleet::scope::Scope;
use crate::kinds::{self, BuiltinRule, EventKind};

/// Alert levels, lowest first.
pub const LEVELS: [&str; 4] = ["INFO", "WARNING", "ERROR", "CRITICAL"];

/// Threshold and `clear` value: between them the state does not change (hysteresis).
#[derive(Debug, Clone, PartialEq)]
pub struct Limit {
    /// For disks, only this mount point; empty: any.
    pub mount: String,
    /// Are values below the threshold bad?
    pub below: bool,
    /// Values beyond this are bad.
    pub threshold: f64,
    /// From this value on it is good again.
    pub clear: f64,
    /// Seconds without interruption before the rule fires.
    pub for_s: i64,
}

impl Limit {
    /// Is this value beyond the threshold?
    pub fn is_bad(&self, value: f64) -> bool {
        if self.below {
            value < self.threshold
        } else {
            value > self.threshold
        }
    }

    /// Is a value that was bad good again?
    pub fn is_fine(&self, value: f64) -> bool {
        if self.below {
            value >= self.clear
        } else {
            value <= self.clear
        }
    }
}

/// Validated fields of a rule.
#[derive(Debug, Clone)]
pub struct Fields {
    /// Name; built-in rules have the name of their kind.
    pub name: String,
    /// What it watches; cannot be changed later.
    pub watches: Watches,
    /// Is it enabled?
    pub enabled: bool,
    /// One of [`LEVELS`].
    pub level: &'static str,
    /// Only about these. A deleted group matches nothing.
    pub scope: Scope,
    /// Only containers by these rules ([`Chosen`](crate::features::workloads::containers::Chosen)); empty: all.
    pub containers: String,
    /// For a log: the words that are counted.
    pub words: String,
    /// Unused for events.
    pub limit: Limit,
}

impl Fields {
    fn new(watches: Watches, limit: Limit) -> Fields {
        Fields {
            name: String::new(),
            watches,
            enabled: true,
            level: "WARNING",
            scope: Scope::default(),
            containers: String::new(),
            words: String::new(),
            limit,
        }
    }

    /// Defaults of a new rule: those of the built-in rule of the same kind, if there is one.
    pub fn blank(watches: Watches) -> Fields {
        let like = Builtin::all()
            .into_iter()
            .map(Builtin::fields)
            .find(|f| f.watches.name() == watches.name());
        let limit = Limit {
            mount: String::new(),
            below: matches!(watches, Watches::Series(Series { below: Some(true), .. })),
            threshold: f64::NAN,
            clear: f64::NAN,
            for_s: 300,
        };
        like.unwrap_or_else(|| Fields::new(watches, limit))
    }
}

/// A built-in rule. It can be changed, disabled and reset, but not deleted.
#[derive(Debug, Clone, Copy)]
pub struct Builtin {
    /// Its id, below 1000. Never changed once released.
    pub id: i64,
    /// Default level.
    pub level: &'static str,
    what: What,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Event(&'static EventKind),
    /// Series, threshold, clear value, seconds.
    Figure(&'static str, f64, f64, i64),
}

const fn figure(id: i64, level: &'static str, series: &'static str, limit: (f64, f64, i64)) -> Builtin {
    Builtin {
        id,
        level,
        what: What::Figure(series, limit.0, limit.1, limit.2),
    }
}

/// Built-in rules for measurements; those for events are declared with the events. The durations are long enough for a
/// backup or a build to finish.
const FIGURES: &[Builtin] = &[
    figure(5, "WARNING", DISK, (90.0, 85.0, 300)),
    figure(6, "ERROR", DISK_TREND, (24.0, 36.0, 0)),
    figure(7, "WARNING", "mem", (90.0, 85.0, 600)),
    // Builds and backups use all of the CPU for a while; longer than this indicates a process that does not end.
    figure(21, "WARNING", "cpu", (95.0, 85.0, 600)),
    // Twice as many runnable processes as cores, averaged over five minutes: one minute's average varies too much.
    figure(8, "WARNING", "load5", (2.0, 1.5, 600)),
];

impl Builtin {
    /// All built-in rules, by id.
    pub fn all() -> Vec<Builtin> {
        let of_event = |kind: &'static EventKind| {
            let BuiltinRule { id, level, .. } = builtin_of(kind)?;
            let what = What::Event(kind);
            Some(Builtin { id, level, what })
        };
        let mut all = FIGURES.to_vec();
        all.extend(kinds::all().into_iter().filter_map(of_event));
        all.sort_by_key(|b| b.id);
        all
    }

    /// The built-in rule with this id.
    pub fn find(id: i64) -> Option<Builtin> {
        Builtin::all().into_iter().find(|b| b.id == id)
    }

    /// Its source.
    pub fn event(self) -> Option<&'static EventKind> {
        match self.what {
            What::Event(event) => Some(event),
            What::Figure(..) => None,
        }
    }

    /// The rule with its default fields.
    pub fn fields(self) -> Fields {
        let limit = |threshold, clear, for_s, below| Limit {
            mount: String::new(),
            below,
            threshold,
            clear,
            for_s,
        };
        let (watches, limit) = match self.what {
            What::Event(event) => (Watches::Event(event), limit(0.0, 0.0, 0, false)),
            What::Figure(key, threshold, clear, for_s) => {
                let series = SERIES.iter().find(|s| s.name == key).unwrap_or(&SERIES[0]);
                let below = series.below == Some(true);
                (Watches::Series(series), limit(threshold, clear, for_s, below))
            }
        };
        Fields {
            level: self.level,
            ..Fields::new(watches, limit)
        }
    }
}

impl Watches {
    /// Every name, measured values first.
    pub fn names() -> Vec<&'static str> {
        let events = Builtin::all().into_iter().filter_map(|b| Some(b.event()?.name));
        SERIES.iter().map(|s| s.name).chain(events).collect()
    }
}
