//! A rule's fields, and the rules that come with the program.

use super::watches::{DISK, DISK_TREND, SERIES, Series, Watches, builtin_of};
use crate::kinds::{self, BuiltinRule, EventKind};

/// How bad, the mildest first.
pub const LEVELS: [&str; 4] = ["INFO", "WARNING", "ERROR", "CRITICAL"];

/// When a figure is bad, and when it is fine again: in between nothing changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Limit {
    /// Of a disk, only this one; empty: any.
    pub mount: String,
    /// Bad is what is below.
    pub below: bool,
    /// Bad from beyond here on.
    pub threshold: f64,
    /// Fine again from here on.
    pub clear: f64,
    /// For so long without a break before it is told, in seconds.
    pub for_s: i64,
}

impl Limit {
    /// Is this bad?
    pub fn is_bad(&self, value: f64) -> bool {
        if self.below {
            value < self.threshold
        } else {
            value > self.threshold
        }
    }

    /// Is what was bad fine again?
    pub fn is_fine(&self, value: f64) -> bool {
        if self.below {
            value >= self.clear
        } else {
            value <= self.clear
        }
    }
}

/// A rule's fields, valid.
#[derive(Debug, Clone)]
pub struct Fields {
    /// What people call it; a built-in one is called as its kind.
    pub name: String,
    /// Fixed when the rule is made.
    pub watches: Watches,
    /// Is it in force?
    pub enabled: bool,
    /// One of [`LEVELS`].
    pub level: &'static str,
    /// Only servers with one of these; empty: all.
    pub tags: Vec<String>,
    /// Only domains in one of these; empty: all. A group that is gone has no domains.
    pub groups: Vec<i64>,
    /// Means nothing where an event is watched.
    pub limit: Limit,
}

impl Fields {
    fn new(watches: Watches, limit: Limit) -> Fields {
        Fields {
            name: String::new(),
            watches,
            enabled: true,
            level: "WARNING",
            tags: Vec::new(),
            groups: Vec::new(),
            limit,
        }
    }

    /// A person's new one, before they have said anything: what the built-in one of the kind says, else nothing.
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

/// A rule that comes with the program. It can be changed, switched off and brought back, but not deleted.
#[derive(Debug, Clone, Copy)]
pub struct Builtin {
    /// Its number, below 1000. Never changed once released.
    pub id: i64,
    /// How bad, as long as nobody says otherwise.
    pub level: &'static str,
    what: What,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Event(&'static EventKind),
    /// Series, threshold, clear, seconds.
    Figure(&'static str, f64, f64, i64),
}

const fn figure(id: i64, level: &'static str, series: &'static str, limit: (f64, f64, i64)) -> Builtin {
    Builtin {
        id,
        level,
        what: What::Figure(series, limit.0, limit.1, limit.2),
    }
}

/// Those of measurements; those of events stand beside the events. A figure's time is long enough for a backup or a build
/// to end by itself.
const FIGURES: &[Builtin] = &[
    figure(5, "WARNING", DISK, (90.0, 85.0, 300)),
    figure(6, "ERROR", DISK_TREND, (24.0, 36.0, 0)),
    figure(7, "WARNING", "mem", (90.0, 85.0, 600)),
    // A full processor is what a build or a backup makes of it; one that stays full has a process that does not end.
    figure(21, "WARNING", "cpu", (95.0, 85.0, 600)),
    // Twice as much to do as cores to do it; of five minutes, because one minute's is nobody's business.
    figure(8, "WARNING", "load5", (2.0, 1.5, 600)),
];

impl Builtin {
    /// All of them, by number.
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

    /// The one with this number.
    pub fn find(id: i64) -> Option<Builtin> {
        Builtin::all().into_iter().find(|b| b.id == id)
    }

    /// What it is made of.
    pub fn event(self) -> Option<&'static EventKind> {
        match self.what {
            What::Event(event) => Some(event),
            What::Figure(..) => None,
        }
    }

    /// As it came.
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
                let series = SERIES.iter().find(|s| s.key == key).unwrap_or(&SERIES[0]);
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
    /// Every name, figures first.
    pub fn names() -> Vec<&'static str> {
        let events = Builtin::all().into_iter().filter_map(|b| Some(b.event()?.name));
        SERIES.iter().map(|s| s.key).chain(events).collect()
    }
}
