//! Validation of a user's rule.

use super::builtin::{Fields, LEVELS, Limit};
use super::watches::{DISK_TREND, LOG, Series, Watches};
use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::base::text;
use crate::features::fleet::scope::{self, SCOPE};
use crate::features::workloads::containers;
use crate::form::Input;
use crate::form::param::{self, Param};
use crate::journal::Words;
use crate::kinds::About;
use crate::lang::{Lang, words};

/// Validated fields; only made here.
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
    SCOPE,
    param::list(
        "tags",
        32,
        64,
        "Of servers, short for a scope: only those with one of these.",
    ),
    param::links(
        "groups",
        64,
        "Of domains, short for a scope: only those of these groups.",
    ),
    param::text(
        "containers",
        1_000,
        "Only these containers: names with `*`, `project:NAME`, `exit:CODE`, each with `-` before it to leave it out; empty: all.",
    ),
    param::text(
        "words",
        500,
        "Of `container_log`: what is counted, with AND, OR, NOT, `\"several words\"` and `*`.",
    ),
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

/// Maximum duration: one week.
const FOR_MAX_S: i64 = 7 * 24 * 3_600;

fn read_watches(input: &mut Input) -> Option<Watches> {
    input.parse("watches", "bad_choice", |name| Watches::parse(name).ok_or_else(one_of))
}

fn one_of() -> String {
    format!("watches is one of: {}.", Watches::names().join(", "))
}

/// Reads a new rule. `watches` is checked first, since the other fields depend on it.
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

/// Reads a draft over `base`: fields that are not sent keep its values.
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
        // A value sent back as it was received.
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
    if about != About::Other {
        let tags = matches!(about, About::Server | About::Container)
            .then(|| i.list("tags"))
            .flatten();
        let groups = (about == About::Domain)
            .then(|| i.links::<id::Group>("groups"))
            .flatten();
        let groups = groups.map(|ids| ids.into_iter().map(Id::get).collect());
        let said = scope::read(i, &f.scope, tags.map(|tags| ("tags", tags)), groups);
        set(&mut f.scope, said);
    } else if i.object("scope").flatten().is_some() {
        let say = "What this rule is about stands on no server and is in no group.";
        i.wrong("scope", "not_narrowed", say);
    }
    if about == About::Container {
        let parsed = |text: &str| containers::Chosen::parse(text).map(|_| text.trim().to_string());
        set(&mut f.containers, i.parse("containers", "bad_choice", parsed));
    }
    if let Watches::Series(series) = f.watches {
        if series.name == LOG {
            let parsed = |text: &str| Words::parse(text).map(|_| text.trim().to_string());
            set(&mut f.words, i.parse("words", "bad_text", parsed));
            if f.words.is_empty() && !i.has_error("words") {
                i.wrong("words", "required", "Say which words in a log are counted.");
            }
        }
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
    let clear = match series.name {
        LOG => Some(0.0), // over when no such line is left in the time
        _ => i.decimal_within("clear", series.unit.bounds()),
    };
    if is_new && threshold.is_some() && clear.is_none() {
        limit.clear = f64::NAN; // not the built-in rule's, whose threshold this is not
    }
    set(&mut limit.threshold, threshold);
    set(&mut limit.clear, clear);
    match series.name {
        DISK_TREND => {}
        LOG => {
            set(&mut limit.for_s, i.number("for_s"));
            if !(10..=3_600).contains(&limit.for_s) && !i.has_error("for_s") {
                i.wrong("for_s", "bad_window", "Lines are counted in 10 s to an hour.");
            }
        }
        _ => set(&mut limit.for_s, i.number("for_s")),
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

/// A mount point as Glances reports it: an absolute path on one line.
fn mount(typed: &str) -> std::result::Result<String, String> {
    let good = typed.is_empty() || typed.starts_with('/') && typed.len() <= 256 && text::one_line(typed, 256) == typed;
    match good {
        true => Ok(typed.into()),
        false => Err("A mount point begins with /, like /srv. Leave it empty for any disk.".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::builtin::Builtin;
    use super::super::watches::DISK;
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
                assert!(s.unit.bounds().contains(&f.limit.threshold), "{}", s.name);
                assert!(
                    f.limit.is_fine(f.limit.clear) && !f.limit.is_bad(f.limit.clear),
                    "{}",
                    s.name
                );
                assert_eq!(f.limit.below, s.below == Some(true), "{}", s.name);
            }
            // Sending its own fields back changes nothing.
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
