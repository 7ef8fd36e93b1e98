//! Silences and maintenance windows: no notifications about something for some time. Alerts are raised, shown and
//! resolved as usual; those that still fire at the end are notified then. A silence has an author and an end, and is
//! not changed: it is ended, and another one is made.

mod events;
mod model;
mod queries;
mod api;
mod pages;

use crate::access::Allowed;
use crate::access::right::{Edit, Silences, WITHHELD};
use crate::app::App;
use crate::audit::{self, Snapshot};
use crate::base::clock::{self, Ms, rfc3339};
use crate::base::error::{Error, Field, Kind, Result};
use crate::base::id::{self, Id};
use crate::db::{Conn, Tx};
use crate::events::outbox::{self, Event};
use crate::feature::Feature;
use crate::features::house::events::RETENTION_EVENT_DAYS;
use crate::kinds;
use crate::schedule::{Periodic, Work};
use model::{Scope, Valid};
use std::time::Duration;

pub use model::Subject;
pub use pages::{Row, row};

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    pages: pages::ROUTES,
    target_panels: pages::PANELS,
    periodic: PERIODIC,
    kinds: events::KINDS,
    react: Some(react),
    ..Feature::named("silences")
};

const PERIODIC: &[Periodic] = &[
    Periodic {
        name: "silences.turn",
        // Whoever set an end to the minute does not see these seconds.
        every: Duration::from_secs(5),
        run: Work::Short(turn),
    },
    Periodic {
        name: "silences.scopes",
        every: Duration::from_secs(300),
        run: Work::Short(|app| {
            let is_live = |s: &Silence| s.state != "over" && s.scope.within.is_live();
            let all = app.db.read(|conn| queries::list(conn, "", i64::MAX, 0))?.0;
            match all.iter().any(is_live) {
                true => app.db.write(|tx| follow_scopes(app, tx)),
                false => Ok(()),
            }
        }),
    },
    Periodic {
        name: "silences.purge",
        every: Duration::from_secs(3600),
        run: Work::Short(|app| {
            let days = app.db.read(|conn| RETENTION_EVENT_DAYS.number(conn))?;
            app.db
                .write_reserved(|tx| queries::purge(tx, clock::now() - days * clock::DAY))
        }),
    },
];

/// A silence's row.
#[derive(Debug, Clone)]
pub struct Silence {
    /// Id.
    pub id: Id<id::Silence>,
    /// Scope.
    pub scope: Scope,
    /// The names of what it is about, for people, in the order of its targets.
    pub names: Vec<String>,
    /// Reason.
    pub reason: String,
    /// Login of the author.
    pub author: String,
    /// Start, unix ms.
    pub starts_at: Ms,
    /// End, unix ms.
    pub ends_at: Ms,
    /// `waiting`, `active` or `over`.
    pub state: String,
    /// Actual end, unix ms.
    pub ended_at: Option<Ms>,
    /// Login of whoever ended it early.
    pub ended_by: Option<String>,
    /// Creation time, unix ms.
    pub created_at: Ms,
}

impl Silence {
    /// Label of the scope, independent of language: `web-1, server.unreachable`; `*` is everything.
    pub fn label(&self) -> String {
        let of = |is: fn(&str) -> bool| {
            let targets = self.scope.targets.iter().zip(&self.names);
            targets.filter(move |((kind, _), _)| is(kind)).map(|(_, name)| name)
        };
        let servers = of(|kind| kind == "server");
        let tags = self.scope.within.tags();
        let within = tags.map_or_else(|| self.scope.within.sentence(), |tags| tags.join(", "));
        let within = Some(&within).filter(|t| !t.is_empty());
        let kind = Some(&self.scope.kind).filter(|k| !k.is_empty());
        let parts: Vec<&str> = (servers.chain(within).chain(of(|kind| kind != "server")).chain(kind))
            .map(String::as_str)
            .collect();
        match parts.is_empty() {
            true => "*".into(),
            false => parts.join(", "),
        }
    }

    fn with_names(mut self, conn: &Conn) -> Result<Silence> {
        let name = |(kind, id): &(String, i64)| match kinds::target_kind(kind) {
            Some(row) => Ok((row.name_of)(conn, *id)?.unwrap_or_else(|| WITHHELD.into())),
            None => Ok(WITHHELD.into()), // its feature is not there any more
        };
        self.names = self.scope.targets.iter().map(name).collect::<Result<_>>()?;
        Ok(self)
    }
}

/// One silence. Error `NotFound`.
pub fn get(conn: &Conn, id: Id<id::Silence>) -> Result<Silence> {
    find(conn, id)?.ok_or_else(|| Error::not_found("silence"))
}

/// One silence, if it exists.
pub fn find(conn: &Conn, id: Id<id::Silence>) -> Result<Option<Silence>> {
    let found = queries::get(conn, id)?;
    found.map(|silence| silence.with_names(conn)).transpose()
}

/// Silences in one state (empty: any), latest end first, and their total.
fn list(conn: &Conn, state: &str, limit: i64, offset: i64) -> Result<(Vec<Silence>, i64)> {
    let (silences, total) = queries::list(conn, state, limit, offset)?;
    let silences = silences.into_iter().map(|silence| silence.with_names(conn));
    Ok((silences.collect::<Result<_>>()?, total))
}

/// The silence that covers an alert now; of several the one that ends last.
pub fn covering(app: &App, conn: &Conn, subject: &Subject) -> Result<Option<Silence>> {
    for silence in queries::list(conn, "active", i64::MAX, 0)?.0 {
        if silence.scope.covers(app, conn, subject)? {
            return silence.with_names(conn).map(Some);
        }
    }
    Ok(None)
}

/// Finds again for which servers the scopes of silences hold.
fn follow_scopes(app: &App, tx: &Tx) -> Result<()> {
    for state in ["active", "waiting"] {
        for silence in queries::list(tx, state, i64::MAX, 0)?.0 {
            if let Some(servers) = silence.scope.within.servers(app, tx)? {
                queries::set_servers(tx, silence.id, &servers)?;
            }
        }
    }
    Ok(())
}

/// A server that is new or was changed may be in a scope, or be so no more.
fn react(app: &App, tx: &Tx, event: &Event) -> Result<()> {
    match ["server.created", "server.changed", "host.facts_changed"].contains(&event.kind.as_str()) {
        true => follow_scopes(app, tx),
        false => Ok(()),
    }
}

/// Adds a silence; one that starts now begins in this transaction.
fn create(app: &App, tx: &Tx, valid: &Valid, by: Allowed<Edit, Silences>) -> Result<Id<id::Silence>> {
    refuse_missing(tx, &valid.scope, by)?;
    let now = clock::now();
    let id = queries::insert(tx, valid, by.actor(), now)?;
    if let Some(servers) = valid.scope.within.servers(app, tx)? {
        queries::set_servers(tx, id, &servers)?;
    }
    let silence = get(tx, id)?;
    let label = silence.label();
    let data = serde_json::json!({
        "name": label, "reason": valid.reason, "starts_at": rfc3339(valid.starts_at), "ends_at": rfc3339(valid.ends_at),
    });
    let (object, after) = (format!("silence {id} {label}"), Snapshot::of(tx, "silences", id.get())?);
    let stood = [&Snapshot::none(), &after];
    audit::change(tx, &app.vault, by, "silence.create", &object, &data, stood)?;
    emit(app, tx, &silence, "silence.created")?;
    turn_one(app, tx, &silence, now).map(|()| id)
}

/// Begins a silence about one thing, for work that [`lift`]s it when it is done; `until` is when it ends otherwise.
pub fn begin(
    app: &App,
    tx: &Tx,
    (kind, target): (&str, i64),
    reason: &str,
    until: Ms,
    by: Allowed<Edit, Silences>,
) -> Result<Id<id::Silence>> {
    let valid = Valid {
        scope: Scope {
            targets: vec![(kind.into(), target)],
            ..Scope::default()
        },
        reason: reason.into(),
        starts_at: clock::now(),
        ends_at: until,
    };
    create(app, tx, &valid, by)
}

/// Ends a silence, if it is there and not over.
pub fn lift(app: &App, tx: &Tx, id: Id<id::Silence>, by: Allowed<Edit, Silences>) -> Result<()> {
    match find(tx, id)? {
        Some(silence) if silence.state != "over" => end(app, tx, id, by),
        _ => Ok(()),
    }
}

fn refuse_missing(conn: &Conn, scope: &Scope, by: Allowed<Edit, Silences>) -> Result<()> {
    let mut missing = Vec::new();
    for (kind, id) in &scope.targets {
        let row = kinds::target_kind(kind);
        let name = row.map(|row| (row.name_of)(conn, *id)).transpose()?.flatten();
        if name.is_none() || !by.knows(conn, (kind, *id))? {
            let message = "There is none with this number.".into();
            missing.push(Field {
                field: model::field_of(kind),
                code: "missing",
                message,
            });
        }
    }
    match missing.is_empty() {
        true => Ok(()),
        false => Err(Error::invalid(missing)),
    }
}

/// Ends a silence early.
fn end(app: &App, tx: &Tx, id: Id<id::Silence>, by: Allowed<Edit, Silences>) -> Result<()> {
    let silence = get(tx, id)?;
    if silence.state == "over" {
        return Err(Error::new(
            Kind::Conflict,
            "silence_over",
            "This silence is over already.",
        ));
    }
    let before = Snapshot::of(tx, "silences", id.get())?;
    queries::set_over(tx, id, clock::now(), Some(by.actor()))?;
    let after = Snapshot::of(tx, "silences", id.get())?;
    let label = silence.label();
    let data = serde_json::json!({ "name": label });
    let (object, stood) = (format!("silence {id} {label}"), [&before, &after]);
    audit::change(tx, &app.vault, by, "silence.end", &object, &data, stood)?;
    emit(app, tx, &silence, "silence.ended")
}

fn emit(app: &App, tx: &Tx, silence: &Silence, event: &str) -> Result<()> {
    let data = serde_json::json!({
        "name": silence.label(), "author": silence.author, "reason": silence.reason, "ends_at": rfc3339(silence.ends_at),
        "evidence": [silence.reason],
    });
    outbox::emit(tx, &app.wakes.events, event, ("silence", silence.id.get()), &data)
}

/// Begins and ends silences whose time has come.
fn turn(app: &App) -> Result<()> {
    let now = clock::now();
    if app.db.read(|conn| queries::due(conn, now))?.is_empty() {
        return Ok(());
    }
    app.db.write(|tx| {
        queries::due(tx, now)?
            .iter()
            .try_for_each(|silence| turn_one(app, tx, silence, now))
    })
}

fn turn_one(app: &App, tx: &Tx, silence: &Silence, now: Ms) -> Result<()> {
    let silence = &silence.clone().with_names(tx)?;
    if silence.ends_at <= now {
        queries::set_over(tx, silence.id, silence.ends_at, None)?;
        return emit(app, tx, silence, "silence.ended");
    }
    if silence.state == "waiting" && silence.starts_at <= now {
        queries::set_active(tx, silence.id)?;
        return emit(app, tx, silence, "silence.began");
    }
    Ok(())
}
