//! Validation of a schedule.

use crate::access::Actor;
use crate::app::App;
use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::base::zone::Zone;
use crate::db::Conn;
use crate::form::Input;
use crate::form::param::{self, Param};
use crate::kinds;
use crate::schedule::cron::Cron;
use crate::schedule::model::{Fields, Missed};
use crate::settings;
use crate::task::{ByClock, Kind};
use serde_json::json;

/// Parameters of a draft.
pub const PARAMS: &[Param] = &[
    param::name("name", "What people call it; no other schedule has it.").required(),
    param::text("kind", 100, "The kind of task: one that may be put in by the clock.").required(),
    param::number(
        "target_id",
        1..=i64::MAX,
        "What the task is about: the number of a server or a domain, as its kind says.",
    )
    .required(),
    param::text(
        "cron",
        200,
        "Minute, hour, day, month, day of the week; or `@daily` and the like.",
    )
    .required(),
    param::text(
        "time_zone",
        64,
        "By whose clocks, like Europe/Berlin; the house's where it is left out.",
    ),
    param::choice(
        "missed",
        &["skip", "once"],
        "What happens when a due time was missed: nothing, or one task for all.",
    ),
    param::flag("enabled", "Off, it is never due."),
];

/// Read-only fields of the answer, ignored when sent back.
const READ_ONLY: &[&str] = &[
    "id",
    "target",
    "owner",
    "last_due",
    "last_result",
    "last_say",
    "last_task_id",
    "next_run",
    "next_runs",
];

/// Defaults of a new schedule.
pub fn empty(conn: &Conn) -> Result<Fields> {
    Ok(Fields {
        name: String::new(),
        kind: String::new(),
        target: (String::new(), 0, String::new()),
        input: json!({}),
        cron: String::new(),
        zone: settings::time_zone(conn)?.name().into(),
        missed: Missed::Skip,
        enabled: true,
    })
}

/// Kinds of tasks that can be scheduled, with their declaration.
pub fn kinds(app: &App) -> Vec<(&'static Kind, ByClock)> {
    let all = app.registry.all::<Kind>().iter();
    all.filter_map(|kind| Some((*kind, kind.by_clock?))).collect()
}

/// Reads a draft over `base`: fields that are not sent keep its values. Errors: invalid fields; `forbidden` for a kind
/// of task that the actor may not start.
pub fn read(app: &App, conn: &Conn, mut input: Input, base: Fields, by: &Actor) -> Result<Fields> {
    let (mut f, i) = (base, &mut input);
    if let Some(name) = i.name("name") {
        f.name = name;
    }
    if let Some(kind) = i.text("kind") {
        f.kind = kind;
    }
    if let Some(id) = i.number("target_id") {
        f.target.1 = id;
    }
    if let Some(missed) = i.choice("missed").and_then(Missed::parse) {
        f.missed = missed;
    }
    if let Some(enabled) = i.flag("enabled") {
        f.enabled = enabled;
    }
    if let Some(zone) = i.time_zone("time_zone").filter(|zone| !zone.is_empty()) {
        f.zone = zone;
    }
    if let Some(cron) = i.parse("cron", "bad_cron", |text| Cron::parse(text).map(|_| text.to_string())) {
        f.cron = cron;
    }
    for (field, is_missing) in [("name", f.name.is_empty()), ("cron", f.cron.is_empty())] {
        if is_missing && !i.has_error(field) {
            i.wrong(field, "required", format!("A schedule has a {field}."));
        }
    }
    let chosen = kinds(app).into_iter().find(|(kind, _)| kind.name == f.kind);
    if chosen.is_none() && !i.has_error("kind") {
        let names: Vec<_> = kinds(app).iter().map(|(kind, _)| kind.name).collect();
        i.wrong("kind", "bad_choice", format!("kind is one of: {}.", names.join(", ")));
    }
    if let Some((_, by_clock)) = chosen {
        by.may(by_clock.right)?;
        let row = kinds::target_kind(by_clock.target);
        let name = row.map(|row| (row.name_of)(conn, f.target.1)).transpose()?.flatten();
        let knows = by.knows(conn, (by_clock.target, f.target.1))?;
        match name.filter(|_| knows) {
            Some(name) => f.target = (by_clock.target.into(), f.target.1, name),
            None if i.has_error("target_id") => {}
            None => i.wrong(
                "target_id",
                "missing",
                format!("There is no {} with this number.", by_clock.target),
            ),
        }
    }
    input.finish(READ_ONLY)?;
    Ok(f)
}

/// Next due times of an enabled schedule, unix ms.
pub fn next_runs(f: &Fields, now: Ms, count: usize) -> Vec<Ms> {
    let (Ok(cron), Ok(zone)) = (Cron::parse(&f.cron), Zone::load(&f.zone)) else {
        return Vec::new(); // the system has forgotten the zone
    };
    let after = |at: &Ms| cron.next_after(*at, &zone);
    let all = std::iter::successors(after(&now), after);
    all.take(if f.enabled { count } else { 0 }).collect()
}
