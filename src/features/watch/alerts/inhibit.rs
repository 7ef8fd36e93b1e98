//! Inhibition: one notification per cause. While a server is down, alerts that depend on it are raised, shown and
//! resolved, but not notified; while Lamplighter's network is down, none are; the same for silences and flapping. When
//! such a reason ends, everything that people do not know yet is notified.
//!
//! After the end of a cause its dependents get time to be checked again: most recover by themselves.

use super::queries::Raised;
use super::{Alert, Dependents, Saying, Suppression, Why, flap, note, queries, tell};
use crate::app::App;
use crate::base::clock::{self, MINUTE, Ms};
use crate::base::error::Result;
use crate::base::id::Id;
use crate::db::{Conn, Tx};
use crate::features::watch::silences;
use crate::features::watch::silences::Subject;
use crate::kinds::{self, ExplainedBy};

/// Kind of the alert about our own network.
const OFFLINE: &str = "controller.offline";
const DARK: &str = "server.unreachable";
/// The watch of certificates checks requested ones each minute.
const RECHECK_MARGIN: Ms = 3 * MINUTE;

/// Handles a raised alert: decides whether it is suppressed, and inhibits its dependents.
pub fn raised(app: &App, tx: &Tx, raised: Raised, at: Ms) -> Result<()> {
    let Raised {
        mut alert,
        rose,
        reopened,
    } = raised;
    if reopened {
        note(app, tx, "alert.reopened", &alert, None)?;
    }
    let begun = match alert.count {
        1 if explained_by(&alert.kind) != ExplainedBy::NothingEver => flap::begins(tx, &alert, at)?,
        _ => None,
    };
    alert.flaps = begun.unwrap_or(alert.flaps);
    decide(app, tx, &mut alert, at)?;
    let why = alert.quiet.as_ref().map(|q| q.why);
    let hanging = hang(app, tx, &alert, at)?;
    let saying = Saying {
        muted: why.is_some() && !(begun.is_some() && why == Some(Why::Flapping)),
        note: if rose { "rose" } else { "" },
        hanging,
    };
    if !saying.muted && alert.state == "firing" {
        alert.notified_level.clone_from(&alert.level);
    }
    queries::set_quiet(tx, &alert)?;
    let event = if begun.is_some() {
        "alert.flapping"
    } else {
        "alert.raised"
    };
    tell(app, tx, event, &alert, &saying)
}

/// Decides again for alerts that a change elsewhere may affect.
pub fn reevaluate(app: &App, tx: &Tx, alerts: Vec<Alert>, now: Ms) -> Result<()> {
    for mut alert in alerts {
        let before = alert.clone();
        let was = decide(app, tx, &mut alert, now)?;
        let news = alert.quiet.is_none() && alert.state == "firing" && alert.notified_level != alert.level;
        if let (Some(was), true) = (was, news) {
            alert.notified_level.clone_from(&alert.level);
            let note = match was.why {
                Why::Muted => "cause_over",
                Why::Silenced => "silence_over",
                Why::Flapping => "calm",
            };
            let hanging = queries::hanging(tx, &alert)?;
            let saying = Saying {
                muted: false,
                note,
                hanging,
            };
            tell(app, tx, "alert.raised", &alert, &saying)?;
        }
        if (&before.quiet, &before.notified_level) != (&alert.quiet, &alert.notified_level) {
            queries::set_quiet(tx, &alert)?;
        }
    }
    Ok(())
}

/// A cause ended: decides again for its dependents.
pub fn release(app: &App, tx: &Tx, alert: &Alert, at: Ms) -> Result<()> {
    hang(app, tx, alert, at).map(drop)
}

/// Dependents of a server; `None` unless it is down.
pub fn on_server(conn: &Conn, server: i64) -> Result<Option<Dependents>> {
    let Some(id) = queries::burning(conn, DARK, ("server", server))? else {
        return Ok(None);
    };
    let alert = super::find(conn, Id::new(id))?;
    queries::hanging(conn, &alert).map(Some)
}

/// Every few seconds: alerts whose recheck is due, and those that are calm.
pub fn run_once(app: &App) -> Result<()> {
    let now = clock::now();
    let idle = app
        .db
        .read(|conn| Ok(queries::waited(conn, now)?.is_empty() && flap::calm(conn, now)?.is_empty()))?;
    if idle {
        return Ok(());
    }
    app.db.write_reserved(|tx| {
        for alert in flap::calm(tx, now)? {
            let left = flap::end(app, tx, alert, now)?;
            reevaluate(app, tx, left.into_iter().collect(), now)?;
        }
        reevaluate(app, tx, queries::waited(tx, now)?, now)
    })
}

/// Decides for all dependents of this alert, and counts them.
fn hang(app: &App, tx: &Tx, alert: &Alert, at: Ms) -> Result<Dependents> {
    let children = match alert.kind.as_str() {
        DARK => queries::about_server(tx, alert.target.1, alert.id)?,
        OFFLINE => queries::open(tx)?,
        _ => return Ok(Dependents::default()),
    };
    reevaluate(app, tx, children, at)?;
    queries::hanging(tx, alert)
}

/// Decides whether an alert is suppressed; a change is an event. Returns the previous reason.
fn decide(app: &App, tx: &Tx, alert: &mut Alert, now: Ms) -> Result<Option<Suppression>> {
    let was = alert.quiet.take();
    alert.quiet = match (reason(app, tx, alert)?, &was) {
        (
            None,
            Some(Suppression {
                why: Why::Muted,
                by,
                until,
            }),
        ) => {
            let until = match until {
                Some(until) => *until,
                None => now + until_recheck(tx, alert)?,
            };
            let (why, by) = (Why::Muted, *by);
            (until > now).then_some(Suppression {
                why,
                by,
                until: Some(until),
            })
        }
        (reason, _) => reason,
    };
    let key = |q: &Option<Suppression>| q.as_ref().map(|q| (q.why, q.by));
    if key(&was) == key(&alert.quiet) {
        return Ok(was);
    }
    match &alert.quiet {
        None => note(app, tx, "alert.audible", alert, None)?,
        Some(q) => {
            if q.why == Why::Silenced {
                alert.notified_level.clear(); // at its end people want to hear what is left
            }
            let (event, what) = match q.why {
                Why::Muted => ("alert.muted", "by alert"),
                Why::Silenced => ("alert.silenced", "by silence"),
                Why::Flapping => return Ok(was), // it has its own event
            };
            note(app, tx, event, alert, Some(format!("{what} {}", q.by)))?;
        }
    }
    Ok(was)
}

/// The reason for suppression: another alert, a silence, or flapping.
fn reason(app: &App, conn: &Conn, alert: &Alert) -> Result<Option<Suppression>> {
    let subject = Subject::of(conn, &alert.kind, (&alert.target.0, alert.target.1))?;
    if let Some(by) = cause(conn, &subject)? {
        let (why, until) = (Why::Muted, None);
        return Ok(Some(Suppression { why, by, until }));
    }
    if let Some(silence) = silences::covering(app, conn, &subject)? {
        return Ok(Some(Suppression {
            why: Why::Silenced,
            by: silence.id.get(),
            until: Some(silence.ends_at),
        }));
    }
    let flaps = Suppression {
        why: Why::Flapping,
        by: 0,
        until: None,
    };
    Ok((alert.flaps > 0).then_some(flaps))
}

/// The alert of the cause: our own network, or every server that it depends on.
fn cause(conn: &Conn, subject: &Subject) -> Result<Option<i64>> {
    let explained_by = explained_by(&subject.kind);
    if matches!(explained_by, ExplainedBy::Nothing | ExplainedBy::NothingEver) {
        return Ok(None);
    }
    if let Some(id) = queries::burning(conn, OFFLINE, ("controller", 0))? {
        return Ok(Some(id));
    }
    if explained_by == ExplainedBy::Network {
        return Ok(None);
    }
    let mut first = None;
    for server in subject.servers() {
        match queries::burning(conn, DARK, ("server", server))? {
            // If Glances never answered, its silence says nothing about the machine.
            Some(id) if super::find(conn, Id::new(id))?.variant != "never" => first = first.or(Some(id)),
            _ => return Ok(None),
        }
    }
    Ok(first)
}

fn explained_by(kind: &str) -> ExplainedBy {
    kinds::alert(kind).map_or(ExplainedBy::Servers, |alert| alert.explained_by)
}

/// Time until it is known whether the condition persists.
fn until_recheck(conn: &Conn, alert: &Alert) -> Result<Ms> {
    let usual = kinds::alert(&alert.kind).map_or(Ok(0), |kind| (kind.rechecked)(conn))?;
    Ok(usual + RECHECK_MARGIN)
}
