//! Alerts: made from events, one open alert per kind and target; a repetition increments its count. Recovery resolves
//! it. Evidence is stored as sentences. Suppression is decided in `inhibit` and `flap`.

mod queries;
mod told;
mod events;
mod flap;
mod inhibit;
mod api;
mod pages;

use crate::access::right;
use crate::access::right::WITHHELD;
use crate::access::right::{Alerts, Edit};
use crate::access::{Allowed, Place, Role, Sees};
use crate::app::App;
use crate::audit;
use crate::base::clock::{self, DAY, Ms};
use crate::base::error::{Error, Kind, Result};
use crate::base::id::{self, Id};
use crate::base::log;
use crate::base::ration::Rations;
use crate::base::shape::described;
use crate::db::{Conn, Tx};
use crate::events::outbox::{self, Event};
use crate::feature::Feature;
use crate::features::house::events::RETENTION_EVENT_DAYS;
use crate::features::watch::rules;
use crate::http::menu::{Badge, Entry};
use crate::kinds;
use crate::lang::{Lang, words};
use crate::schedule::{Periodic, Work};
use std::sync::LazyLock;
use std::time::Duration;

pub use queries::Filter;

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    pages: pages::ROUTES,
    cards: pages::CARDS,
    panels: pages::PANELS,
    periodic: PERIODIC,
    react: Some(react),
    kinds: events::KINDS,
    menu: MENU,
    ..Feature::named("alerts")
};

const MENU: &[Entry] = &[Entry {
    path: "/alerts",
    also: &["/alert-rules"],
    word: "alerts",
    icon: "bell",
    keys: "g a",
    right: right::may(right::Read, right::Alerts),
    place: (3, 2),
    dock: "alerts",
    is_shown: |_| Ok(true),
    badge: |app| {
        Ok(Badge {
            count: Some(app.db.read(firing)? as u64),
            is_urgent: true,
            ..Badge::default()
        })
    },
}];

const PERIODIC: &[Periodic] = &[
    Periodic {
        name: "alerts.settle",
        every: Duration::from_secs(5),
        run: Work::Short(inhibit::run_once),
    },
    Periodic {
        name: "alerts.purge",
        every: Duration::from_secs(3600),
        run: Work::Short(|app| {
            let days = app.db.read(|conn| RETENTION_EVENT_DAYS.number(conn))?;
            let before = clock::now() - days * DAY;
            app.db.write_reserved(|tx| queries::purge(tx, before))
        }),
    },
];

/// One alert.
#[derive(Debug, Clone)]
pub struct Alert {
    /// Id.
    pub id: Id<id::Alert>,
    /// `server.unreachable`, `host.key_changed`, …
    pub kind: String,
    /// `INFO`, `WARNING`, `ERROR`, `CRITICAL`.
    pub level: String,
    /// `firing`, `acknowledged`, `resolved`.
    pub state: String,
    /// Target: type, id, name.
    pub target: (String, i64, String),
    /// Rule and part of the target; empty: there is only one of its kind.
    pub part: String,
    /// One sentence.
    pub title: String,
    /// JSON array of raw sentences.
    pub evidence: String,
    /// Number of occurrences.
    pub count: i64,
    /// Beginning of the condition, unix ms.
    pub first_at: Ms,
    /// Last occurrence, unix ms.
    pub last_at: Ms,
    /// Login of whoever acknowledged it.
    pub acked_by: Option<String>,
    /// When, unix ms.
    pub acked_at: Option<Ms>,
    /// When it was resolved, unix ms.
    pub resolved_at: Option<Ms>,
    /// Variant of the text for the kind; empty: the usual one.
    pub variant: String,
    /// Why it is not notified.
    pub quiet: Option<Suppression>,
    /// The level that was last notified; empty: none.
    pub notified_level: String,
    /// If it flaps: how often it had begun when that was detected; else 0.
    pub flaps: i64,
    /// If it flaps and is resolved at the moment: since when.
    pub good_since: Option<Ms>,
}

/// Why an alert is not notified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    /// Reason.
    pub why: Why,
    /// Id of the inhibiting alert or of the silence; 0 for flapping.
    pub by: i64,
    /// Expected end, unix ms.
    pub until: Option<Ms>,
}

/// Reason of a suppression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Another alert is about the cause.
    Muted,
    /// A silence.
    Silenced,
    /// It flaps.
    Flapping,
}

impl Why {
    const ALL: [Why; 3] = [Why::Muted, Why::Silenced, Why::Flapping];

    /// As stored and shown.
    pub fn name(self) -> &'static str {
        ["muted", "silenced", "flapping"][self as usize]
    }

    fn parse(name: &str) -> Option<Why> {
        Why::ALL.into_iter().find(|w| w.name() == name)
    }
}

described! {
    /// Dependents of something that is down.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
    pub struct Dependents {
        /// Domains without an available server.
        pub domains: i64,
        /// Open alerts that are suppressed because of it.
        pub alerts: i64,
    }
}

/// What an event says besides the alert itself.
#[derive(Default, Clone, Copy)]
struct Saying {
    /// Not notified.
    muted: bool,
    /// Why it is notified now: `rose`, `release`, `silence_over`, `calm`; empty: it was raised.
    note: &'static str,
    /// Its dependents.
    hanging: Dependents,
}

impl Alert {
    /// Target, for machines.
    fn about(&self) -> serde_json::Value {
        let (what, id, name) = &self.target;
        kinds::target(&self.kind, (what, *id, name), &self.part)
    }

    /// Everybody who may read alerts sees that it exists; its target may be hidden.
    fn for_eyes_of(self, conn: &Conn, by: &impl Sees) -> Result<Alert> {
        let place = || Place::of(conn, (&self.target.0, self.target.1));
        Ok(match by.sees(kinds::right_to_see(&self.kind), &place)? {
            true => self,
            false => self.withheld(),
        })
    }

    fn withheld(mut self) -> Alert {
        let title = kinds::alert(&self.kind).map_or("", |alert| alert.title);
        self.title = match title {
            "" => WITHHELD.into(),
            title => title.replace("{name}", WITHHELD),
        };
        (self.target.1, self.target.2) = (0, WITHHELD.into());
        self.evidence = "[]".into();
        self
    }
}

/// Limits log lines when many alerts are raised at once.
static LINES: LazyLock<Rations<()>> = LazyLock::new(|| Rations::new(60, Duration::from_secs(1)));

/// Logs a change, without hidden targets.
fn log_change(event: &str, alert: Alert, saying: Saying) {
    let Some(left_out) = LINES.next((), clock::mono()) else {
        return;
    };
    let alert = match Role::Viewer.may(kinds::right_to_see(&alert.kind)) {
        true => alert,
        false => alert.withheld(),
    };
    let (what, id, name) = &alert.target;
    let (id, target) = (alert.id.to_string(), format!("{what} {id} {name}"));
    let mut fields = vec![
        ("alert", id.as_str()),
        ("level", &alert.level),
        ("kind", &alert.kind),
        ("target", &target),
        ("title", &alert.title),
        ("muted", if saying.muted { "yes" } else { "no" }),
    ];
    let left_out = left_out.to_string();
    if left_out != "0" {
        fields.push(("left_out_before", &left_out));
    }
    let level = match (event, alert.level.as_str()) {
        ("alert.resolved", _) | (_, "INFO") => log::Level::Info,
        (_, "WARNING") => log::Level::Warning,
        _ => log::Level::Error,
    };
    log::line(level, "alerts", event, &fields);
}

/// Emits an event about an alert with everything that a notification needs: kind, variant, level, state, title, target
/// (type, id, name, and its disk or recipient), part (with kind and target the identity), evidence, count, first_at and
/// last_at (unix ms), flaps, and the fields of [`Saying`]. Notifications are made from this event only.
fn tell(app: &App, tx: &Tx, event: &str, alert: &Alert, saying: &Saying) -> Result<()> {
    let evidence: serde_json::Value = serde_json::from_str(&alert.evidence).unwrap_or_default();
    let data = serde_json::json!({
        "kind": alert.kind, "variant": alert.variant, "level": alert.level, "state": alert.state, "title": alert.title,
        "target": alert.about(),
        "part": alert.part, "evidence": evidence, "count": alert.count, "first_at": alert.first_at,
        "last_at": alert.last_at, "flaps": alert.flaps, "muted": saying.muted, "note": saying.note,
        "hanging": saying.hanging,
    });
    outbox::emit(tx, &app.wakes.events, event, ("alert", alert.id.get()), &data)?;
    let (event, alert, saying) = (event.to_string(), alert.clone(), *saying);
    tx.after_commit(move || log_change(&event, alert, saying));
    Ok(())
}

/// Emits an event about a change that only subscribers are notified of.
fn note(app: &App, tx: &Tx, event: &str, alert: &Alert, evidence: Option<String>) -> Result<()> {
    let evidence = evidence.map(|line| vec![line]).unwrap_or_default();
    let data = serde_json::json!({
        "kind": alert.kind, "target": alert.target.2, "level": alert.level, "evidence": evidence,
    });
    outbox::emit(tx, &app.wakes.events, event, ("alert", alert.id.get()), &data)
}

/// Ends alerts. Notified if people know of the alert and `muted` is not set; then its dependents are decided again.
fn over(app: &App, tx: &Tx, alerts: Vec<Alert>, muted: bool, at: Ms) -> Result<()> {
    for alert in alerts {
        if alert.state == "resolved" {
            let muted = muted || alert.notified_level.is_empty();
            tell(
                app,
                tx,
                "alert.resolved",
                &alert,
                &Saying {
                    muted,
                    ..Saying::default()
                },
            )?;
        }
        inhibit::release(app, tx, &alert, at)?;
    }
    Ok(())
}

/// A new deployment ends flapping.
const DEPLOYED: &str = "deploy.ok";

fn react(app: &App, tx: &Tx, event: &Event) -> Result<()> {
    match event.kind.as_str() {
        "silence.began" | "silence.ended" => return inhibit::reevaluate(app, tx, queries::open(tx)?, event.at),
        // Sites and silences may have changed.
        "server.changed" | "domain.changed" | "group.deleted" | DEPLOYED => {
            inhibit::reevaluate(app, tx, queries::quiet(tx)?, event.at)?;
        }
        _ => {}
    }
    if let Some(gone @ ("server" | "domain")) = event.kind.strip_suffix(".deleted") {
        let gone = queries::resolve_all(tx, (gone, event.target_id), event.at)?;
        return over(app, tx, gone, false, event.at);
    }
    if event.kind.starts_with("metric.") {
        return figure(app, tx, event);
    }
    if event.kind == rules::CHANGED {
        return unruled(app, tx, event);
    }
    let name = [text(event, "name"), text(event, "login")]
        .into_iter()
        .find(|t| !t.is_empty())
        .unwrap_or_default();
    let (part, target) = (text(event, "part"), (event.target_type.as_str(), event.target_id));
    let raises = kinds::find(&event.kind).and_then(|kind| Some((kind, kind.raises()?)));
    // An alert that ends because a worse one begins is not notified.
    let replaced = raises.is_some();
    for ended in kinds::resolved_by(&event.kind) {
        let for_good = replaced || event.kind == DEPLOYED;
        let alerts = queries::resolve(tx, ended.name, &part, target, for_good, event.at)?;
        over(app, tx, alerts, replaced, event.at)?;
    }
    let Some((kind, alert)) = raises else {
        return Ok(());
    };
    let Some(level) = rules::level(app, tx, kind.name, target, worse(event))? else {
        return Ok(());
    };
    let variant = text(event, "variant");
    let varied = words::word(Lang::En, &format!("alert.{}.{variant}", kind.name), None);
    let what = queries::What {
        kind: kind.name,
        part: &part,
        variant: &variant,
        level,
        title: &varied.unwrap_or(alert.title).replace("{name}", &name),
        evidence: &evidence(event),
        since: since(event),
    };
    let raised = queries::raise(tx, what, (target.0, target.1, name.as_str()), event.at)?;
    inhibit::raised(app, tx, raised, event.at)
}

/// A measurement crossed its limit, or is back. The rule has decided everything.
fn figure(app: &App, tx: &Tx, event: &Event) -> Result<()> {
    let part = format!("{}:{}", event.data["rule"], text(event, "part"));
    let (kind, target) = (text(event, "kind"), (event.target_type.as_str(), event.target_id));
    if event.kind == rules::CLEARED {
        let cleared = queries::resolve(tx, &kind, &part, target, event.data["for_good"] == true, event.at)?;
        return over(app, tx, cleared, false, event.at);
    }
    let (name, title, level) = (text(event, "name"), text(event, "title"), text(event, "level"));
    let what = queries::What {
        kind: &kind,
        part: &part,
        variant: "",
        level: &level,
        title: &title,
        evidence: &evidence(event),
        since: since(event),
    };
    let target = (target.0, target.1, name.as_str());
    let raised = queries::raise(tx, what, target, event.at)?;
    inhibit::raised(app, tx, raised, event.at)
}

/// Ends alerts that no rule covers any more.
fn unruled(app: &App, tx: &Tx, event: &Event) -> Result<()> {
    let kind = text(event, "kind");
    for (target, id, part) in queries::targets(tx, &kind)? {
        let target = (target.as_str(), id);
        if rules::level(app, tx, &kind, target, None)?.is_none() {
            let unruled = queries::resolve(tx, &kind, &part, target, true, event.at)?;
            over(app, tx, unruled, false, event.at)?;
        }
    }
    Ok(())
}

fn text(event: &Event, key: &str) -> String {
    let value = event.data.get(key).and_then(|v| v.as_str());
    value.unwrap_or_default().to_string()
}

/// Beginning of the condition: earlier than the event, which waits for the rule's time or for failed polls.
fn since(event: &Event) -> Ms {
    clock::parse_utc(&text(event, "since")).unwrap_or(event.at)
}

/// The level that the event itself gives.
fn worse(event: &Event) -> Option<&'static str> {
    let told = event.data.get("level")?.as_str()?;
    ["WARNING", "ERROR", "CRITICAL"]
        .into_iter()
        .find(|level| *level == told)
}

/// The event's sentences (`evidence`), or its fields as `key: value`.
fn evidence(event: &Event) -> String {
    if let Some(list) = event.data.get("evidence").filter(|v| v.is_array()) {
        return list.to_string();
    }
    let fields = event
        .data
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, _)| *key != "name");
    let lines: Vec<String> = fields
        .map(|(key, value)| {
            format!(
                "{key}: {}",
                value.as_str().map_or_else(|| value.to_string(), String::from)
            )
        })
        .collect();
    serde_json::json!(lines).to_string()
}

/// One alert as this actor may see it. Error `NotFound`.
pub fn get(conn: &Conn, id: Id<id::Alert>, by: &impl Sees) -> Result<Alert> {
    find(conn, id)?.for_eyes_of(conn, by)
}

fn find(conn: &Conn, id: Id<id::Alert>) -> Result<Alert> {
    queries::get(conn, id)?.ok_or_else(|| Error::not_found("alert"))
}

/// Alerts as this actor may see them, newest first, and their total.
pub fn list(conn: &Conn, filter: &Filter, by: &impl Sees) -> Result<(Vec<Alert>, i64)> {
    let (alerts, total) = queries::list(conn, filter)?;
    let seen = alerts.into_iter().map(|a| a.for_eyes_of(conn, by));
    Ok((seen.collect::<Result<_>>()?, total))
}

/// Dependents of an open alert.
pub fn hanging(conn: &Conn, alert: &Alert) -> Result<Dependents> {
    queries::hanging(conn, alert)
}

/// Number of alerts that are not resolved.
pub fn open(conn: &Conn) -> Result<i64> {
    queries::count_open(conn)
}

/// Is there an open alert of this kind for this target?
pub fn is_open(conn: &Conn, kind: &str, target: (&str, i64)) -> Result<bool> {
    Ok(queries::burning(conn, kind, target)?.is_some())
}

/// Number of alerts that are not acknowledged.
pub fn firing(conn: &Conn) -> Result<i64> {
    queries::firing(conn)
}

/// Acknowledges an alert.
pub fn acknowledge(app: &App, tx: &Tx, id: Id<id::Alert>, by: Allowed<Edit, Alerts>) -> Result<()> {
    let alert = find(tx, id)?;
    if alert.state != "firing" {
        let say = format!("This alert is {} already.", alert.state);
        return Err(Error::new(Kind::Conflict, "alert_not_firing", say));
    }
    queries::acknowledge(tx, id, by.actor(), clock::now())?;
    let data = serde_json::json!({ "kind": alert.kind, "target": alert.target.2 });
    audit::append(tx, &app.vault, by, "alert.acknowledge", &format!("alert {id}"), &data)?;
    outbox::emit(tx, &app.wakes.events, "alert.acknowledged", ("alert", id.get()), &data)
}
