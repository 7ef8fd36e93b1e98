//! When an alert is raised, and how bad it is: rules that come with the program and can be changed, switched off and
//! brought back, and people's own. A rule watches an event or a figure of the polls. Of an event, the worst rule that holds
//! decides the level; without one that holds nothing is raised. A figure is beyond its limit for the rule's time before it
//! fires, and fires until it is fine again, the rule is changed so that it is not bad any more, or the figure is gone.

mod settings;
mod events;
mod watches;
mod builtin;
mod model;
mod queries;
mod say;
mod reading;
mod evaluate;
mod observer;
mod trend;
mod disk_forecast;
mod api;
mod pages;

use crate::access::Allowed;
use crate::access::right::{AlertRules, Edit};
use crate::app::App;
use crate::audit::{self, Snapshot};
use crate::base::clock::{self, Duration, Ms, rfc3339};
use crate::base::error::{Error, Kind, Result};
use crate::base::id::{self, Id};
use crate::db::{Conn, Tx};
use crate::events::outbox::{self, Event};
use crate::feature::{Feature, Observes};
use crate::features::fleet::servers;
use crate::features::proxy::domains;
use crate::kinds::About;
use crate::lang::Lang;
use crate::lang::format::bytes;
use crate::series::{Kind as SubjectKind, Subject};
use builtin::{Builtin, Fields, LEVELS};
pub use evaluate::Evaluator;
use evaluate::{InForce, Transition};
use model::Valid;
use std::sync::Arc;
use watches::{DISK_TREND, Unit, Watches};

pub use settings::{ALERTS_CALM_MIN, ALERTS_FLAP_COUNT, ALERTS_FLAP_WINDOW_MIN};

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    pages: pages::ROUTES,
    periodic: disk_forecast::PERIODIC,
    observers: &[Observes(observer::start)],
    react: Some(react),
    settings: settings::SETTINGS,
    kinds: events::KINDS,
    ..Feature::named("rules")
};

/// A figure that was beyond its limit is fine again; it began with an event of the alert's kind. Both say `kind`, `rule`
/// (its number), `part`, `name`, `title`, `level`, `evidence`, and whether it is over `for_good`.
pub const CLEARED: &str = "metric.cleared";
/// A rule was made, changed or removed; says of which `kind`.
pub const CHANGED: &str = "rule.changed";

/// A rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Number; those of built-in rules are fixed.
    pub id: Id<id::Rule>,
    /// It came with the program.
    pub builtin: Option<Builtin>,
    /// What it says.
    pub fields: Fields,
    /// Grows with every change; 0: a built-in one that nobody has changed.
    pub revision: i64,
    /// Unix ms; 0 as above.
    pub created_at: Ms,
    /// Unix ms; 0 as above.
    pub updated_at: Ms,
}

impl Rule {
    /// Does it need a CPU in use besides its figure? The built-in one of loads does; a person's own says what it says.
    pub fn asks_for_busy(&self) -> bool {
        let is_load = matches!(self.fields.watches, Watches::Series(series) if series.unit == Unit::PerCore);
        self.builtin.is_some() && is_load
    }

    /// Is it held against observations as they come? A trend is looked at now and then.
    pub fn is_of_observations(&self) -> bool {
        matches!(self.fields.watches, Watches::Series(series) if series.key != DISK_TREND)
    }

    /// Does it look at how disks fill?
    fn is_of_trends(&self) -> bool {
        self.fields.watches.name() == DISK_TREND
    }

    /// The kind of subjects whose figure it watches; `None`: it watches an event.
    fn subject_kind(&self) -> Option<&'static str> {
        match self.fields.watches {
            Watches::Series(series) => Some(series.subject),
            Watches::Event(_) => None,
        }
    }

    fn as_it_came(builtin: Builtin) -> Rule {
        Rule {
            id: Id::new(builtin.id),
            builtin: Some(builtin),
            fields: builtin.fields(),
            revision: 0,
            created_at: 0,
            updated_at: 0,
        }
    }
}

/// A figure that is beyond its limit.
#[derive(Debug, Clone)]
pub struct Firing {
    /// By which rule.
    pub rule: Id<id::Rule>,
    /// On what.
    pub subject: Subject,
    /// Of which part; empty: of the subject.
    pub part: Box<str>,
    /// The rule's, when it began.
    pub revision: i64,
}

/// Something that is beyond its limit and waits for its rule's time.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// What would fire.
    pub firing: Firing,
    /// So long it was beyond its limit when it was last observed.
    pub held: Duration,
    /// When that was, by the wall clock.
    pub seen_at: Ms,
    /// What was measured, oldest first.
    pub values: Vec<(Ms, f64)>,
}

/// Every rule: the built-in ones in their order, then people's own.
pub fn all(conn: &Conn) -> Result<Vec<Rule>> {
    let mut stored = queries::all(conn)?;
    let mut out = Vec::new();
    for builtin in Builtin::all() {
        let place = stored.iter().position(|r| r.id.get() == builtin.id);
        out.push(place.map_or_else(|| Rule::as_it_came(builtin), |place| stored.remove(place)));
    }
    out.append(&mut stored);
    Ok(out)
}

/// One rule. Error `NotFound`.
pub fn get(conn: &Conn, id: Id<id::Rule>) -> Result<Rule> {
    let as_it_came = || Builtin::find(id.get()).map(Rule::as_it_came);
    queries::get(conn, id)?
        .or_else(as_it_came)
        .ok_or_else(|| Error::not_found("rule"))
}

/// Adds a rule.
pub fn create(app: &App, tx: &Tx, valid: &Valid, by: Allowed<Edit, AlertRules>) -> Result<Id<id::Rule>> {
    let id = queries::put(tx, None, &valid.fields, clock::now())?;
    note(app, tx, by, "rule.create", &get(tx, id)?, &Snapshot::none())?;
    Ok(id)
}

/// Changes a rule, as long as it still is as `valid` was made from `old`. What fires by it and would not any more is over.
pub fn update(app: &App, tx: &Tx, old: &Rule, valid: &Valid, by: Allowed<Edit, AlertRules>) -> Result<()> {
    if get(tx, old.id)?.revision != old.revision {
        let say = "This rule was changed meanwhile. Load it again and repeat your change.";
        return Err(Error::new(Kind::Conflict, "rule_changed", say));
    }
    let before = snapshot(tx, old.id)?;
    queries::put(tx, Some(old.id), &valid.fields, clock::now())?;
    let rule = get(tx, old.id)?;
    reevaluate(app, tx, &rule, None)?;
    note(app, tx, by, "rule.update", &rule, &before)
}

/// Deletes a person's own rule; what fires by it is over.
pub fn delete(app: &App, tx: &Tx, id: Id<id::Rule>, by: Allowed<Edit, AlertRules>) -> Result<()> {
    let mut rule = get(tx, id)?;
    if rule.builtin.is_some() {
        let say = "This rule came with Lamplighter. Switch it off instead.";
        return Err(Error::new(Kind::Conflict, "rule_builtin", say));
    }
    rule.fields.enabled = false;
    reevaluate(app, tx, &rule, None)?;
    let before = snapshot(tx, id)?;
    queries::remove(tx, id)?;
    note(app, tx, by, "rule.delete", &rule, &before)
}

/// Makes a built-in rule what it was.
pub fn reset(app: &App, tx: &Tx, id: Id<id::Rule>, by: Allowed<Edit, AlertRules>) -> Result<()> {
    if get(tx, id)?.builtin.is_none() {
        let say = "This rule is your own: there is nothing to go back to.";
        return Err(Error::new(Kind::Conflict, "rule_own", say));
    }
    let before = snapshot(tx, id)?;
    queries::remove(tx, id)?;
    let rule = get(tx, id)?;
    reevaluate(app, tx, &rule, None)?;
    note(app, tx, by, "rule.reset", &rule, &before)
}

/// Nothing for a built-in rule that is as it came.
fn snapshot(conn: &Conn, id: Id<id::Rule>) -> Result<Snapshot> {
    Snapshot::of(conn, "alert_rules", id.get())
}

fn note(app: &App, tx: &Tx, by: Allowed<Edit, AlertRules>, action: &str, rule: &Rule, before: &Snapshot) -> Result<()> {
    let (f, name) = (&rule.fields, say::name(Lang::En, rule));
    let detail = serde_json::json!({
        "name": name, "enabled": f.enabled, "level": f.level, "says": say::sentence(Lang::En, rule, |_| None),
    });
    let (object, after) = (format!("rule {} {name}", rule.id), snapshot(tx, rule.id)?);
    audit::change(tx, &app.vault, by, action, &object, &detail, [before, &after])?;
    let data = serde_json::json!({ "name": name, "kind": f.watches.kind() });
    outbox::emit(tx, &app.wakes.events, CHANGED, ("rule", rule.id.get()), &data)
}

// ---- events ----------------------------------------------------------------------------------------------------------

/// How bad an event of this kind is for this target by the rules; `None`: none of them holds, so nothing is raised. `event_level`
/// is how bad the event itself says it is: that counts as long as nobody has set the built-in rule's level.
pub fn level(
    conn: &Conn,
    kind: &str,
    target: (&str, i64),
    event_level: Option<&'static str>,
) -> Result<Option<&'static str>> {
    let place = |level: &str| LEVELS.iter().position(|l| *l == level);
    let mut worst = None;
    for rule in all(conn)?
        .iter()
        .filter(|r| r.fields.enabled && r.fields.watches.name() == kind)
    {
        if concerns(conn, &rule.fields, target)? {
            let set = rule.fields.level;
            let level = event_level
                .filter(|_| rule.builtin.is_some_and(|b| b.level == set))
                .unwrap_or(set);
            worst = worst.max(place(level));
        }
    }
    Ok(worst.map(|n| LEVELS[n]))
}

/// Is this target one of those that a rule is narrowed to?
fn concerns(conn: &Conn, f: &Fields, target: (&str, i64)) -> Result<bool> {
    Ok(match f.watches.about() {
        About::Server if !f.tags.is_empty() => {
            target.0 == "server" && servers::tagged(conn, &f.tags)?.contains(&target.1)
        }
        About::Domain if !f.groups.is_empty() && target.0 == "domain" => {
            let group = domains::find(conn, Id::new(target.1))?.and_then(|d| d.fields.group_id);
            group.is_some_and(|group| f.groups.contains(&group.get()))
        }
        About::Domain => f.groups.is_empty(),
        _ => true,
    })
}

// ---- figures ---------------------------------------------------------------------------------------------------------

/// The rules of a kind's figures that are in force, with the subjects where each holds.
pub fn in_force(conn: &Conn, kind: &SubjectKind, which: fn(&Rule) -> bool) -> Result<Vec<InForce>> {
    let is_in_force = |r: &Rule| r.fields.enabled && r.subject_kind() == Some(kind.name) && which(r);
    let narrowed = |rule: Rule| {
        let tags = &rule.fields.tags;
        let only = (!tags.is_empty()).then(|| (kind.tagged)(conn, tags)).transpose()?;
        Ok(InForce {
            rule: Arc::new(rule),
            only,
        })
    };
    all(conn)?.into_iter().filter(is_in_force).map(narrowed).collect()
}

fn kind(app: &App, name: &str) -> Result<&'static SubjectKind> {
    let known = app.registry.all::<SubjectKind>().iter().find(|kind| kind.name == name);
    known
        .copied()
        .ok_or_else(|| Error::internal(format!("nobody observes {name}")))
}

/// Writes what began and what is over, with its events. What the rules have decided in between is not overruled: a rule
/// that is another one by now has not fired, and what is over already is not told again.
fn write(app: &App, tx: &Tx, transitions: &[Transition]) -> Result<()> {
    for transition in transitions {
        let (of, id) = transition.subject;
        let Some(name) = (kind(app, of)?.name_of)(tx, id)? else {
            continue;
        };
        let is_new = match transition.fires {
            true => is_as_it_was(tx, &transition.rule)? && queries::set_firing(tx, &transition.firing())?,
            false => queries::clear_firing(tx, &transition.firing())?,
        };
        if is_new {
            emit(app, tx, transition, &name)?;
        }
    }
    Ok(())
}

fn is_as_it_was(conn: &Conn, rule: &Rule) -> Result<bool> {
    match get(conn, rule.id) {
        Ok(now) => Ok(now.revision == rule.revision && now.updated_at == rule.updated_at),
        Err(e) if e.kind == Kind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

fn emit(app: &App, tx: &Tx, transition: &Transition, subject: &str) -> Result<()> {
    let (rule, part) = (&transition.rule, &transition.part);
    let kind = rule.fields.watches.kind();
    let name = [subject, part]
        .into_iter()
        .filter(|t| !t.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    let data = serde_json::json!({
        "kind": kind, "rule": rule.id, "part": part, "name": name, "level": rule.fields.level,
        "title": say::word(Lang::En, &format!("alert.{kind}"), &[("name", &name)]),
        "evidence": evidence(transition), "disk": transition.disk, "since": transition.began().map(rfc3339),
        "for_good": !transition.fires && transition.values.is_empty(), // the rule has changed and not the figure
    });
    let event = if transition.fires { kind } else { CLEARED };
    outbox::emit(tx, &app.wakes.events, event, transition.subject, &data)
}

/// The rule, why it says so where that is not plain, and the last values with their times.
fn evidence(transition: &Transition) -> Vec<String> {
    let unit = match transition.rule.fields.watches {
        Watches::Series(series) if series.key != DISK_TREND => series.unit,
        _ => Unit::Percent, // what a trend is judged by
    };
    let line = |(at, value): &(Ms, f64)| {
        let shown = say::value(Lang::En, unit, *value).replace('\u{a0}', " ");
        format!("{} {shown}", rfc3339(*at))
    };
    let mut out = vec![say::reason(&transition.rule)];
    out.extend(transition.why.clone());
    out.extend(transition.disk.as_ref().map(disk_line));
    out.extend(transition.values.iter().map(line));
    out
}

/// `/dev/vdb at /srv: 95.5 GiB used of 100 GiB, 4.5 GiB free`
fn disk_line(disk: &reading::Disk) -> String {
    let size = |n: Option<u64>| n.map_or("?".into(), |n| bytes(Lang::En, n as f64));
    let (used, all, free) = (size(disk.used), size(disk.size), size(disk.free));
    let pool = match disk.datasets {
        0 | 1 => String::new(),
        n => format!("; with {} other datasets of its pool, which share what is free", n - 1),
    };
    let device = match &*disk.device {
        "" => "a file system",
        device => device,
    };
    format!("{device} at {}: {used} used of {all}, {free} free{pool}", disk.mount).replace('\u{a0}', " ")
}

/// Ends what fires by a rule that is switched off or does not hold there any more; on one subject, where it is given.
fn reevaluate(app: &App, tx: &Tx, rule: &Rule, id: Option<i64>) -> Result<()> {
    let Some(of) = rule.subject_kind() else { return Ok(()) };
    let f = &rule.fields;
    let tagged = (!f.tags.is_empty())
        .then(|| (kind(app, of)?.tagged)(tx, &f.tags))
        .transpose()?;
    let mut over = Vec::new();
    for firing in queries::firing(tx, of, Some(rule.id), id)? {
        let outside = tagged.as_ref().is_some_and(|t| !t.contains(&firing.subject.1));
        let other_disk = !f.limit.mount.is_empty() && *f.limit.mount != *firing.part;
        if !f.enabled || outside || other_disk {
            let why = if f.enabled {
                "the rule does not hold here any more"
            } else {
                "the rule was switched off"
            };
            over.push(Transition {
                rule: Arc::new(rule.clone()),
                subject: firing.subject,
                part: firing.part,
                fires: false,
                values: Vec::new(),
                disk: None,
                why: Some(why.into()),
            });
        }
    }
    write(app, tx, &over)
}

/// A subject whose tags are others now may be outside of what a rule is narrowed to.
fn react(app: &App, tx: &Tx, event: &Event) -> Result<()> {
    let changed = |kind: &&&SubjectKind| event.kind.strip_suffix(".changed") == Some(kind.name);
    let Some(kind) = app.registry.all::<SubjectKind>().iter().find(changed) else {
        return Ok(());
    };
    for firing in queries::firing(tx, kind.name, None, Some(event.target_id))? {
        reevaluate(app, tx, &get(tx, firing.rule)?, Some(event.target_id))?;
    }
    Ok(())
}
