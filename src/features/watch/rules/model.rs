//! What can be watched, the rules that come with the program, and the only way to make a person's valid.

use crate::base::error::Result;
use crate::base::text;
use crate::form::Input;
use crate::form::param::{self, Param};
use crate::kinds::{self, About, BuiltinRule, EventKind};
use crate::lang::format::number;
use crate::lang::{Lang, words};

/// How bad, the mildest first.
pub const LEVELS: [&str; 4] = ["INFO", "WARNING", "ERROR", "CRITICAL"];

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// 0 to 100.
    Percent,
    /// Processes that run or wait, divided by the cores.
    PerCore,
    /// Milliseconds.
    Milliseconds,
    /// Bytes in a second.
    BytesPerSecond,
    /// Minutes.
    Minutes,
    /// Hours.
    Hours,
}

/// In a rule's `watches` and in the disks' alerts.
pub const DISK: &str = "disk";
/// How long until a disk is full, by how it filled in the last hours; looked at now and then, not at every poll.
pub const DISK_TREND: &str = "disk_trend";

/// Percent of the CPU in use or waiting for disks from which on a load is this machine's own, and below which it is not
/// any more. A container without lxcfs shows the load of its host beside its own cores and its own CPU.
pub const BUSY: f64 = 50.0;
/// See [`BUSY`].
pub const IDLE: f64 = 25.0;

/// One thing that is observed.
#[derive(Debug, PartialEq)]
pub struct Series {
    /// Of which kind of subjects.
    pub subject: &'static str,
    /// Its name in a rule; as in the charts, except for the disks.
    pub key: &'static str,
    /// The alert's kind.
    pub kind: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// Is too little a fault? `None`: both can be.
    pub below: Option<bool>,
}

macro_rules! series {
    ($($key:literal $kind:literal $unit:ident $below:expr;)*) => {
        &[$(Series { subject: "server", key: $key, kind: $kind, unit: Unit::$unit, below: $below }),*]
    };
}

/// All of them.
pub const SERIES: &[Series] = series! {
    "disk"       "metric.disk"       Percent        Some(false);
    "disk_trend" "metric.disk_trend" Hours          Some(true);
    "mem"        "metric.mem"        Percent        Some(false);
    "swap"       "metric.swap"       Percent        Some(false);
    "cpu"        "metric.cpu"        Percent        None;
    "iowait"     "metric.iowait"     Percent        Some(false);
    "load1"      "metric.load"       PerCore        Some(false);
    "load5"      "metric.load"       PerCore        Some(false);
    "load15"     "metric.load"       PerCore        Some(false);
    "net_rx"     "metric.net"        BytesPerSecond None;
    "net_tx"     "metric.net"        BytesPerSecond None;
    "disk_read"  "metric.disk_io"    BytesPerSecond None;
    "disk_write" "metric.disk_io"    BytesPerSecond None;
    "poll"       "metric.poll"       Milliseconds   Some(false);
    "uptime"     "metric.uptime"     Minutes        Some(true);
};

impl Series {
    /// One for each disk?
    pub fn is_of_disks(&self) -> bool {
        [DISK, DISK_TREND].contains(&self.key)
    }
}

/// What a rule watches.
#[derive(Debug, Clone, Copy)]
pub enum Watches {
    /// An event.
    Event(&'static EventKind),
    /// A figure.
    Series(&'static Series),
}

impl Watches {
    /// Its name in a rule.
    pub fn name(self) -> &'static str {
        match self {
            Watches::Event(e) => e.name,
            Watches::Series(s) => s.key,
        }
    }

    /// The alert's kind.
    pub fn kind(self) -> &'static str {
        match self {
            Watches::Event(e) => e.name,
            Watches::Series(s) => s.kind,
        }
    }

    /// By what a rule of it can be narrowed.
    pub fn about(self) -> About {
        match self {
            Watches::Event(e) => builtin_of(e).map_or(About::Other, |rule| rule.about),
            Watches::Series(_) => About::Server,
        }
    }

    /// Reads a name.
    pub fn parse(name: &str) -> Option<Watches> {
        let event = || kinds::find(name).filter(|kind| builtin_of(kind).is_some());
        let series = SERIES.iter().find(|s| s.key == name).map(Watches::Series);
        series.or_else(|| event().map(Watches::Event))
    }

    /// Every name, figures first.
    pub fn names() -> Vec<&'static str> {
        let events = Builtin::all().into_iter().filter_map(|b| Some(b.event()?.name));
        SERIES.iter().map(|s| s.key).chain(events).collect()
    }
}

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

fn builtin_of(kind: &EventKind) -> Option<BuiltinRule> {
    kind.raises().and_then(|alert| alert.rule)
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

/// Proof of validation.
#[derive(Debug)]
pub struct Valid {
    /// All fields.
    pub fields: Fields,
}

/// Accepted fields of a draft.
pub const PARAMS: &[Param] = &[
    param::text("watches", 4_096, "The figure or the event; a rule keeps it.")
        .required()
        .example("\"cpu\""),
    param::name("name", "What people call it; a built-in rule keeps its name.").required(),
    param::flag("enabled", "Does it raise alerts?"),
    param::choice("level", &LEVELS, "Of its alerts."),
    param::list("tags", 32, 64, "Only servers with one of these."),
    param::links("groups", 64, "Only domains of these groups."),
    param::text("mount", 4_096, "Only this file system; empty: any."),
    param::choice(
        "direction",
        &["above", "below"],
        "On which side of the threshold it is bad.",
    ),
    param::decimal(
        "threshold",
        0.0..=1e12,
        "From where on it is bad, in the figure's unit.",
    ),
    param::decimal("clear", 0.0..=1e12, "From where on it is good again."),
    param::number("for_s", 0..=FOR_MAX_S, "For how long it must be bad, in seconds."),
];

/// Fields of the answer that may be sent back unchanged.
pub const READ_ONLY: &[&str] = &[
    "id",
    "builtin",
    "changed",
    "kind",
    "unit",
    "sentence",
    "firing",
    "revision",
    "created_at",
    "updated_at",
];

/// A week of being bad is no condition, it is a habit.
const FOR_MAX_S: i64 = 7 * 24 * 3_600;

fn read_watches(input: &mut Input) -> Option<Watches> {
    input.parse("watches", "bad_choice", |name| Watches::parse(name).ok_or_else(one_of))
}

fn one_of() -> String {
    format!("watches is one of: {}.", Watches::names().join(", "))
}

/// Reads a new rule. Its other fields depend on what it watches, so that must be right first.
pub fn read_new(mut input: Input) -> Result<Valid> {
    let whole = input.clone();
    match read_watches(&mut input) {
        Some(watches) => read(whole, Fields::blank(watches), false),
        None if input.has_error("watches") => Err(input.refuse()),
        None => {
            input.wrong("watches", "required", one_of());
            Err(input.refuse())
        }
    }
}

/// Reads a draft over `base`: what is not sent stays as it is there.
pub fn read(mut input: Input, base: Fields, builtin: bool) -> Result<Valid> {
    let (i, mut f) = (&mut input, base);
    let is_new = f.name.is_empty() && !builtin;
    match read_watches(i) {
        Some(watches) if watches.name() != f.watches.name() => {
            i.wrong(
                "watches",
                "fixed",
                "What a rule watches cannot be changed. Add another rule.",
            );
        }
        _ => {}
    }
    match i.name("name") {
        // Sent back as it was got.
        Some(name) if builtin && Some(&*name) == words::word(Lang::En, &format!("kind.{}", f.watches.kind()), None) => {
        }
        Some(_) if builtin => i.wrong("name", "fixed", "A built-in rule keeps its name."),
        Some(name) => f.name = name,
        None if f.name.is_empty() && !builtin && !i.has_error("name") => {
            i.wrong("name", "required", "Give the rule a name.");
        }
        None => {}
    }
    set(&mut f.enabled, i.flag("enabled"));
    set(&mut f.level, i.choice("level"));
    let about = f.watches.about();
    if about == About::Server {
        set(&mut f.tags, i.list("tags"));
    }
    if about == About::Domain {
        let groups = i.links::<crate::base::id::Group>("groups");
        set(
            &mut f.groups,
            groups.map(|ids| ids.into_iter().map(|id| id.get()).collect()),
        );
    }
    if let Watches::Series(series) = f.watches {
        read_limit(i, series, &mut f.limit, is_new);
    }
    input.finish(READ_ONLY)?;
    Ok(Valid { fields: f })
}

fn read_limit(i: &mut Input, series: &Series, limit: &mut Limit, is_new: bool) {
    if series.is_of_disks() {
        set(&mut limit.mount, i.parse("mount", "bad_mount", mount));
    }
    let words: &[&str] = match series.below {
        None => &["above", "below"],
        Some(false) => &["above"],
        Some(true) => &["below"],
    };
    set(
        &mut limit.below,
        i.choice_of("direction", words).map(|way| way == "below"),
    );
    let threshold = i.decimal_within("threshold", series.unit.bounds());
    let clear = i.decimal_within("clear", series.unit.bounds());
    if is_new && threshold.is_some() && clear.is_none() {
        limit.clear = f64::NAN; // not the built-in rule's, whose threshold this is not
    }
    set(&mut limit.threshold, threshold);
    set(&mut limit.clear, clear);
    if series.key != DISK_TREND {
        set(&mut limit.for_s, i.number("for_s"));
    }
    if limit.threshold.is_nan() && !i.has_error("threshold") {
        i.wrong("threshold", "required", "Say from where on it is bad.");
    }
    if limit.clear.is_nan() {
        limit.clear = limit.threshold;
    }
    let crossed = if limit.below {
        limit.clear < limit.threshold
    } else {
        limit.clear > limit.threshold
    };
    if crossed && !i.has_error("threshold") && !i.has_error("clear") {
        let side = if limit.below { "below" } else { "above" };
        let say = format!("clear is where it is fine again: not {side} the threshold.");
        i.wrong("clear", "crossed", say);
    }
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// As Glances calls it: from the root on, on one line.
fn mount(typed: &str) -> std::result::Result<String, String> {
    let good = typed.is_empty() || typed.starts_with('/') && typed.len() <= 256 && text::one_line(typed, 256) == typed;
    match good {
        true => Ok(typed.into()),
        false => Err("A mount point begins with /, like /srv. Leave it empty for any disk.".into()),
    }
}

impl Unit {
    fn bounds(self) -> std::ops::RangeInclusive<f64> {
        match self {
            Unit::Percent => 0.0..=100.0,
            Unit::PerCore => 0.0..=1_000.0,
            Unit::Milliseconds => 0.0..=60_000.0,
            Unit::BytesPerSecond => 0.0..=1e12,
            Unit::Minutes => 0.0..=1e6,
            Unit::Hours => 1.0..=720.0,
        }
    }

    /// For the API.
    pub fn name(self) -> &'static str {
        [
            "percent",
            "per_core",
            "milliseconds",
            "bytes_per_second",
            "minutes",
            "hours",
        ][self as usize]
    }

    /// A value as people write it: the digits it has, two at most.
    pub fn digits(lang: Lang, value: f64) -> String {
        let places = [0, 1, 2].into_iter().find(|n| {
            let scale = 10f64.powi(*n as i32);
            ((value * scale).round() - value * scale).abs() < 1e-6
        });
        number(lang, value, places.unwrap_or(2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn input(value: serde_json::Value) -> Input {
        Input::of(PARAMS, value.as_object().unwrap().clone())
    }

    #[test]
    fn built_in_rules_are_valid_and_each_has_its_number() {
        let all = Builtin::all();
        let mut ids: Vec<i64> = all.iter().map(|b| b.id).collect();
        ids.dedup();
        assert!(ids.len() == all.len() && ids.iter().all(|id| (1..1000).contains(id)));
        for builtin in all {
            let f = builtin.fields();
            assert!(LEVELS.contains(&f.level));
            if let Watches::Series(s) = f.watches {
                assert!(s.unit.bounds().contains(&f.limit.threshold), "{}", s.key);
                assert!(
                    f.limit.is_fine(f.limit.clear) && !f.limit.is_bad(f.limit.clear),
                    "{}",
                    s.key
                );
                assert_eq!(f.limit.below, s.below == Some(true), "{}", s.key);
            }
            // Its own fields sent back change nothing.
            read(input(json!({ "level": f.level })), f, true).unwrap();
        }
    }

    #[test]
    fn a_limit_that_would_never_be_fine_again_is_refused() {
        let traffic = Fields::blank(Watches::parse("net_rx").unwrap());
        let wrong = |body| {
            let told = read(input(body), traffic.clone(), false).unwrap_err();
            told.fields.iter().map(|f| (f.field, f.code)).collect::<Vec<_>>()
        };
        assert_eq!(wrong(json!({ "name": "x" })), [("threshold", "required")]);
        assert_eq!(
            wrong(json!({ "name": "x", "threshold": 90, "clear": 91 })),
            [("clear", "crossed")]
        );
        let below = json!({ "name": "x", "direction": "below", "threshold": 5, "clear": 4.5 });
        assert_eq!(wrong(below), [("clear", "crossed")]);
        assert_eq!(
            wrong(json!({ "threshold": -1, "for_s": -1, "level": "BAD" })),
            [
                ("name", "required"),
                ("level", "bad_choice"),
                ("threshold", "bad_decimal"),
                ("for_s", "bad_number")
            ]
        );
        let good = read(
            input(json!({ "name": "x", "threshold": "90,5" })),
            traffic.clone(),
            false,
        )
        .unwrap();
        assert_eq!((good.fields.limit.threshold, good.fields.limit.clear), (90.5, 90.5));
    }

    #[test]
    fn between_bad_and_fine_nothing_changes() {
        let limit = Builtin::all()
            .into_iter()
            .map(Builtin::fields)
            .find(|f| f.watches.name() == DISK)
            .unwrap()
            .limit;
        for (value, bad, fine) in [
            (90.1, true, false),
            (90.0, false, false),
            (85.1, false, false),
            (85.0, false, true),
        ] {
            assert_eq!((limit.is_bad(value), limit.is_fine(value)), (bad, fine), "{value}");
        }
    }
}
