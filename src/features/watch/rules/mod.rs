//! Alert rules: which conditions raise an alert, and its level. Built-in rules can be changed, disabled and reset; users
//! add their own. A rule watches an event or a measured value. For an event, the applicable rule with the worst level
//! decides; without an applicable rule no alert is raised. A value must be beyond its threshold for the rule's duration
//! before the rule fires; it fires until the value passes `clear`, the rule is changed so that the value is good, or the
//! value is no longer measured.

mod settings;
mod events;
mod watches;
mod builtin;
mod model;
mod queries;
mod say;
mod reading;
mod evaluate;
mod standing;
mod observer;
mod trend;
mod disk_forecast;
mod log_words;
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
use crate::features::workloads::containers::{self, CONTAINERS};
use crate::kinds::{self, About};
use crate::lang::Lang;
use crate::lang::format::bytes;
use crate::schedule::{Periodic, Work};
use crate::series::{Kind as SubjectKind, Subject};
use builtin::{Builtin, Fields, LEVELS};
pub use evaluate::Evaluator;
use evaluate::{InForce, Transition};
use model::Valid;
use std::collections::HashSet;
use std::sync::Arc;
use watches::{DISK_TREND, LOG, Unit, Watches};

pub use settings::{ALERTS_CALM_MIN, ALERTS_FLAP_COUNT, ALERTS_FLAP_WINDOW_MIN};

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    pages: pages::ROUTES,
    periodic: PERIODIC,
    services: log_words::SERVICES,
    observers: &[Observes(observer::start)],
    react: Some(react),
    settings: settings::SETTINGS,
    kinds: events::KINDS,
    ..Feature::named("rules")
};

/// Event: a measured value is good again. It began with an event of the alert's kind. Both carry `kind`, `rule` (its
/// id), `part`, `name`, `title`, `level`, `evidence`, and `for_good`.
pub const CLEARED: &str = "metric.cleared";
/// Event: a rule was added, changed or removed; its data has the `kind`.
pub const CHANGED: &str = "rule.changed";

/// A rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Id; those of built-in rules are fixed.
    pub id: Id<id::Rule>,
    /// Is it built in?
    pub builtin: Option<Builtin>,
    /// Its fields.
    pub fields: Fields,
    /// Incremented with every change; 0: an unchanged built-in rule.
    pub revision: i64,
    /// Unix ms; 0 as above.
    pub created_at: Ms,
    /// Unix ms; 0 as above.
    pub updated_at: Ms,
}

impl Rule {
    /// Does it also require a busy CPU? Only the built-in rule for load averages does.
    pub fn asks_for_busy(&self) -> bool {
        let is_load = matches!(self.fields.watches, Watches::Series(series) if series.unit == Unit::PerCore);
        self.builtin.is_some() && is_load
    }

    /// Is it evaluated with each observation? Trends and logs are evaluated apart.
    pub fn is_of_observations(&self) -> bool {
        matches!(self.fields.watches, Watches::Series(series) if series.is_observed())
    }

    /// Does it count lines of logs?
    fn is_of_logs(&self) -> bool {
        self.fields.watches.name() == LOG
    }

    /// Does it watch the forecast of full disks?
    fn is_of_trends(&self) -> bool {
        self.fields.watches.name() == DISK_TREND
    }

    /// The kind of subjects whose value it watches; `None`: it watches an event.
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

/// A firing rule for one part of a subject.
#[derive(Debug, Clone)]
pub struct Firing {
    /// The rule.
    pub rule: Id<id::Rule>,
    /// The subject.
    pub subject: Subject,
    /// The part, such as a mount point; empty: the subject as a whole.
    pub part: Box<str>,
    /// Revision of the rule when it began.
    pub revision: i64,
}

/// A value beyond its threshold whose rule's duration has not passed yet.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// What will fire.
    pub firing: Firing,
    /// How long it was beyond its threshold at the last observation.
    pub held: Duration,
    /// Time of that observation, unix ms.
    pub seen_at: Ms,
    /// Measured values with their times, oldest first.
    pub values: Vec<(Ms, f64)>,
}

/// All rules: built-in ones in their order, then those of users.
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

/// Changes a rule if it is still as it was when `valid` was read over `old`. Alerts that it no longer justifies end.
/// Error `Conflict` otherwise.
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

/// Deletes a user's rule; its alerts end.
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

/// Resets a built-in rule to its default.
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

/// Level of an alert for an event of this kind about this target; `None`: no rule applies, so no alert is raised.
/// `event_level` is the level that the event itself carries; it counts until a user changes the built-in rule's level.
pub fn level(
    app: &App,
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
        if concerns(app, conn, &rule.fields, target)? {
            let set = rule.fields.level;
            let level = event_level
                .filter(|_| rule.builtin.is_some_and(|b| b.level == set))
                .unwrap_or(set);
            worst = worst.max(place(level));
        }
    }
    Ok(worst.map(|n| LEVELS[n]))
}

/// Is the target within a rule's scope?
fn concerns(app: &App, conn: &Conn, f: &Fields, target: (&str, i64)) -> Result<bool> {
    if f.watches.about() == About::Other {
        return Ok(true);
    }
    if target.0 == CONTAINERS.name && !containers::is_chosen(conn, target.1, &f.containers)? {
        return Ok(false);
    }
    Ok(f.scope.is_everything() || f.scope.covers(app, conn, &kinds::related(conn, target)?)?)
}

// ---- figures ---------------------------------------------------------------------------------------------------------

/// Enabled rules for values of this kind of subjects, each with the subjects it applies to.
pub fn in_force(app: &App, conn: &Conn, kind: &SubjectKind, which: fn(&Rule) -> bool) -> Result<Vec<InForce>> {
    let is_in_force = |r: &Rule| r.fields.enabled && r.subject_kind() == Some(kind.name) && which(r);
    let narrowed = |rule: Rule| {
        let only = subjects(app, conn, kind, &rule.fields)?;
        Ok(InForce {
            only,
            rule: Arc::new(rule),
        })
    };
    all(conn)?.into_iter().filter(is_in_force).map(narrowed).collect()
}

/// The subjects in a rule's scope; `None`: all.
fn subjects(app: &App, conn: &Conn, kind: &SubjectKind, f: &Fields) -> Result<Option<HashSet<i64>>> {
    let servers = f.scope.servers(app, conn)?;
    let within = servers.map(|servers| (kind.on)(conn, &servers)).transpose()?;
    if f.containers.is_empty() || kind.name != CONTAINERS.name {
        return Ok(within);
    }
    let mut chosen = containers::chosen(conn, &f.containers)?;
    chosen.retain(|id| within.as_ref().is_none_or(|within| within.contains(id)));
    Ok(Some(chosen))
}

fn kind(app: &App, name: &str) -> Result<&'static SubjectKind> {
    let known = app.registry.all::<SubjectKind>().iter().find(|kind| kind.name == name);
    known
        .copied()
        .ok_or_else(|| Error::internal(format!("nobody observes {name}")))
}

/// Stores transitions with their events. Changes made meanwhile take precedence: a rule with another revision has not
/// fired, and what ended already is not reported again.
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
    let mut evidence = evidence(transition);
    match transition.subject {
        (of, id) if of == CONTAINERS.name && transition.fires => evidence.extend(containers::evidence(app, tx, id)?),
        _ => {}
    }
    let data = serde_json::json!({
        "kind": kind, "rule": rule.id, "part": part, "name": name, "level": rule.fields.level,
        "title": say::word(Lang::En, &format!("alert.{kind}"), &[("name", &name)]),
        "evidence": evidence, "disk": transition.disk, "since": transition.began().map(rfc3339),
        "for_good": !transition.fires && transition.values.is_empty(), // the rule has changed and not the figure
    });
    let event = if transition.fires { kind } else { CLEARED };
    outbox::emit(tx, &app.wakes.events, event, transition.subject, &data)
}

/// Evidence: the rule's sentence, the explanation if any, and the last values with their times.
fn evidence(transition: &Transition) -> Vec<String> {
    let unit = match transition.rule.fields.watches {
        Watches::Series(series) if series.name != DISK_TREND => series.unit,
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
    out.extend(transition.lines.iter().cloned());
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

/// Ends firing states of rules that are disabled or no longer apply; only for one subject, if given.
fn reevaluate(app: &App, tx: &Tx, rule: &Rule, id: Option<i64>) -> Result<()> {
    let Some(of) = rule.subject_kind() else { return Ok(()) };
    let f = &rule.fields;
    let firing = queries::firing(tx, of, Some(rule.id), id)?;
    if firing.is_empty() {
        return Ok(());
    }
    let within = subjects(app, tx, kind(app, of)?, f)?;
    let mut over = Vec::new();
    for firing in firing {
        let outside = within.as_ref().is_some_and(|t| !t.contains(&firing.subject.1));
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
                lines: Vec::new(),
            });
        }
    }
    write(app, tx, &over)
}

/// Ends what fires for subjects of a kind that are there no more, such as removed containers.
fn end_gone(app: &App, kind: &'static SubjectKind) -> Result<()> {
    let gone = |conn: &Conn| {
        let firing = queries::firing(conn, kind.name, None, None)?;
        if firing.is_empty() {
            return Ok(firing);
        }
        let here: HashSet<i64> = (kind.all)(conn)?.into_iter().map(|(id, _)| id).collect();
        Ok(firing.into_iter().filter(|f| !here.contains(&f.subject.1)).collect())
    };
    if app.db.read(gone)?.is_empty() {
        return Ok(());
    }
    app.db.write(|tx| {
        for firing in gone(tx)? {
            let rule = get(tx, firing.rule)?;
            let over = Transition {
                rule: Arc::new(rule),
                subject: firing.subject,
                part: firing.part,
                fires: false,
                values: Vec::new(),
                disk: None,
                why: Some("it is there no more".into()),
                lines: Vec::new(),
            };
            write(app, tx, &[over])?;
        }
        Ok(())
    })
}

const PERIODIC: &[Periodic] = &[
    disk_forecast::PERIODIC,
    Periodic {
        name: "rules.scopes",
        every: Duration::from_secs(SCOPES_EVERY_S),
        run: Work::Short(follow_scopes),
    },
];

/// How often scopes are looked at that ask for what changes by itself.
const SCOPES_EVERY_S: u64 = 300;

/// Ends what fires outside of a scope that holds for other things by now.
fn follow_scopes(app: &App) -> Result<()> {
    let live = |rules: Vec<Rule>| {
        rules
            .into_iter()
            .filter(|r| r.fields.scope.is_live())
            .collect::<Vec<_>>()
    };
    if app.db.read(all).map(live)?.is_empty() {
        return Ok(());
    }
    app.db.write(|tx| {
        live(all(tx)?)
            .iter()
            .try_for_each(|rule| reevaluate(app, tx, rule, None))
    })
}

/// After a change a subject may be outside a rule's scope.
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
