//! Notifications to people and machines: endpoints, subscriptions, deliveries.
//!
//! An event becomes a row of the queue for each endpoint and recipient in the transaction that reads it, so none is
//! lost or duplicated. Each endpoint is served separately, so a slow receiver does not delay others. Temporary failures
//! are retried with growing pauses up to a maximum age; permanent ones become dead letters, which stay visible and can
//! be sent again. A crash during an attempt leads to a retry with the same key: webhooks recognize the duplicate by it,
//! mail programs by the Message-ID; Telegram and Slack cannot, so a message may arrive twice there.

mod settings;
mod events;
mod text;
mod channel;
mod telegram;
mod presets;
mod webhook;
mod slack;
mod email;
mod model;
mod queries;
mod queue;
mod sender;
mod api;
mod pages;

use crate::access::right;
use crate::access::right::{Edit, Notifications};
use crate::access::{Allowed, Role};
use crate::app::App;
use crate::audit::{self, Snapshot};
use crate::base::clock::{self, DAY, Ms};
use crate::base::error::{Error, Kind, Result};
use crate::base::host::Cidr;
use crate::base::id::{self, Id};
use crate::base::log;
use crate::base::secret::Secret;
use crate::base::shape::described;
use crate::db::{Conn, Tx};
use crate::feature::Feature;
use crate::features::house::secrets::{Refers, Refs, Slot, slot};
use crate::http::menu::Entry;
use crate::net::policy::{Opened, Policy};
use crate::schedule::{Periodic, Work};
use crate::vault::{SealContext, Sealed};
use channel::Channel;
use model::{Fields, Valid};
use serde::{Deserialize, Serialize};
use std::time::Duration;

pub use queries::backlog;
pub use queue::recipients_since;
pub use telegram::render as render_telegram;
pub use text::{About, Message, What, cut_units, units};

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    pages: pages::ROUTES,
    periodic: PERIODIC,
    services: sender::SERVICES,
    react: Some(queue::react),
    settings: settings::SETTINGS,
    kinds: events::KINDS,
    menu: MENU,
    sealed: SEALED,
    ..Feature::named("notifications")
};

const MENU: &[Entry] = &[Entry {
    path: "/notifications",
    word: "messages",
    icon: "send",
    keys: "g m",
    right: right::may(right::Read, right::Notifications),
    place: (3, 3),
    ..Entry::NEW
}];

/// All channels.
const CHANNELS: &[&Channel] = &[&telegram::CHANNEL, &email::CHANNEL, &slack::CHANNEL, &webhook::CHANNEL];

/// Maximum endpoints, since each may use a thread; a webhook can distribute further.
const ENDPOINTS_MAX: i64 = 32;

const PERIODIC: &[Periodic] = &[Periodic {
    name: "notifications.purge",
    every: Duration::from_secs(3600),
    run: Work::Short(|app| {
        let (days, keep) = app.db.read(|conn| {
            let days = settings::RETENTION_DELIVERY_DAYS.number(conn)?;
            Ok((days, settings::RETENTION_DELIVERIES_MAX.number(conn)?))
        })?;
        let since = clock::now() - days * DAY;
        app.db
            .clean_up(&|tx, rows_max| queries::remove_ended(tx, since, keep, rows_max))?;
        app.db.write(|tx| queries::forget_notified(tx, since))
    }),
}];

/// Severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// Information.
    Info,
    /// Needs attention at some time.
    Warning,
    /// A failure.
    Error,
    /// Needs attention now.
    Critical,
}
described!(Level: "INFO", "WARNING", "ERROR", "CRITICAL");

impl Level {
    const NAMES: [&'static str; 4] = ["INFO", "WARNING", "ERROR", "CRITICAL"];

    /// As stored and shown.
    pub fn name(self) -> &'static str {
        Level::NAMES[self as usize]
    }

    /// Parses a name.
    pub fn parse(name: &str) -> Option<Level> {
        let all = [Level::Info, Level::Warning, Level::Error, Level::Critical];
        all.into_iter().find(|l| l.name() == name)
    }
}

/// A destination of notifications.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Id.
    pub id: Id<id::Endpoint>,
    channel: &'static Channel,
    fields: Fields,
    /// Stored secrets.
    has: Vec<&'static str>,
    /// Of those, what refers to a secret of the house.
    refers: Refers,
    /// Nothing is sent before this, unix ms.
    blocked_until: Ms,
    /// Role of whoever saved it last: its messages hold what this role may see.
    saved_by: Role,
    /// Recipients whose last message failed permanently.
    gone: Vec<Gone>,
    created_at: Ms,
    updated_at: Ms,
}

/// A recipient that cannot be reached.
#[derive(Debug, Clone)]
struct Gone {
    recipient: String,
    /// Unix ms.
    since: Ms,
    /// The receiver's last message.
    answer: String,
}

impl Endpoint {
    /// The current error, in the receiver's words.
    fn last_error<'a>(&'a self, counts: &'a queries::Counts) -> Option<&'a str> {
        let latest = self.gone.iter().max_by_key(|g| g.since);
        latest.map_or(counts.last_error.as_deref(), |g| Some(&g.answer))
    }
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

fn channel(name: &str) -> Option<&'static Channel> {
    CHANNELS.iter().copied().find(|c| c.name == name)
}

/// One endpoint. Error `NotFound`.
fn get(conn: &Conn, id: Id<id::Endpoint>) -> Result<Endpoint> {
    queries::get(conn, id)?.ok_or_else(|| Error::not_found("endpoint"))
}

const SEALED: &[Sealed] = &[
    Sealed::column("notification_endpoints", "token").or_reference("endpoint"),
    Sealed::column("notification_endpoints", "url").or_reference("endpoint"),
    Sealed::column("notification_endpoints", "secret").or_reference("endpoint"),
    Sealed::column("notification_endpoints", "password").or_reference("endpoint"),
    Sealed::column("notification_endpoints", "headers").or_reference("endpoint"),
];

fn place(id: Id<id::Endpoint>, column: &'static str) -> SealContext {
    SealContext {
        table: "notification_endpoints",
        column,
        row: id.get(),
    }
}

/// Fields that may refer to secrets.
const REFERENCES: &[Slot] = &[
    slot("token"),
    slot("url"),
    slot("secret"),
    slot("password"),
    slot("headers"),
];

fn secret(app: &App, conn: &Conn, id: Id<id::Endpoint>, column: &'static str) -> Result<Option<Secret>> {
    let sealed = queries::sealed(conn, id, column)?;
    match sealed {
        Some(sealed) => app.vault.open_stored(conn, place(id, column), &sealed),
        None => Ok(None),
    }
}

fn store_secrets(
    app: &App,
    tx: &Tx,
    id: Id<id::Endpoint>,
    secrets: &[(&'static str, Option<Secret>)],
    refs: &Refs,
) -> Result<()> {
    for (column, value) in secrets {
        let sealed = value
            .as_ref()
            .map(|v| app.vault.seal(place(id, column), v))
            .transpose()?;
        queries::set_sealed(tx, id, column, sealed.as_deref())?;
    }
    refs.store(tx, |column, secret, part| {
        let stored = app.vault.refer(place(id, column), secret, part);
        queries::set_sealed(tx, id, column, Some(&stored))
    })
}

fn create(
    app: &App,
    tx: &Tx,
    channel: &'static Channel,
    valid: &Valid,
    by: Allowed<Edit, Notifications>,
) -> Result<Id<id::Endpoint>> {
    if queries::count(tx)? >= ENDPOINTS_MAX {
        let say = format!("There are {ENDPOINTS_MAX} endpoints already; remove one first.");
        return Err(Error::new(Kind::Conflict, "too_many_endpoints", say));
    }
    let id = queries::insert(tx, channel.name, &valid.fields, by.role(), clock::now())?;
    by.keep(tx, ("endpoint", id.get()))?;
    store_secrets(app, tx, id, &valid.secrets, &valid.refs)?;
    let about = (id, channel.name, &valid.fields);
    note(app, tx, by, "notification.create", about, &Snapshot::none())?;
    Ok(id)
}

/// Changes an endpoint. Waiting messages are sent at once with the new settings.
fn update(app: &App, tx: &Tx, old: &Endpoint, valid: &Valid, by: Allowed<Edit, Notifications>) -> Result<()> {
    let before = snapshot(tx, old.id)?;
    queries::update(tx, old.id, &valid.fields, clock::now())?;
    queries::set_saved_by(tx, old.id, by.role())?;
    store_secrets(app, tx, old.id, &valid.secrets, &valid.refs)?;
    let reached = (old.channel.recipients)(&valid.fields.config);
    for gone in old.gone.iter().filter(|g| !reached.contains(&g.recipient)) {
        queue::works_again(app, tx, old, &gone.recipient)?; // removed from the recipients
    }
    queries::hurry(tx, old.id, clock::now())?;
    queries::seed_is_ours(tx, old.id)?;
    wake(app, tx);
    let about = (old.id, old.channel.name, &valid.fields);
    note(app, tx, by, "notification.update", about, &before)
}

fn delete(app: &App, tx: &Tx, old: &Endpoint, by: Allowed<Edit, Notifications>) -> Result<()> {
    queries::seed_is_ours(tx, old.id)?;
    for gone in &old.gone {
        queue::works_again(app, tx, old, &gone.recipient)?; // the alert about it ends
    }
    let before = snapshot(tx, old.id)?;
    queries::remove(tx, old.id)?;
    let about = (old.id, old.channel.name, &old.fields);
    note(app, tx, by, "notification.delete", about, &before)
}

fn snapshot(conn: &Conn, id: Id<id::Endpoint>) -> Result<Snapshot> {
    let all = Snapshot::of(conn, "notification_endpoints", id.get())?;
    Ok(all.without(|name| name == "blocked_until"))
}

fn note(
    app: &App,
    tx: &Tx,
    by: Allowed<Edit, Notifications>,
    action: &str,
    (id, kind, f): (Id<id::Endpoint>, &str, &Fields),
    before: &Snapshot,
) -> Result<()> {
    let data = serde_json::json!({ "name": f.name, "type": kind, "enabled": f.enabled, "min_level": f.min_level });
    let (object, after) = (format!("notification {id} {}", f.name), snapshot(tx, id)?);
    audit::change(tx, &app.vault, by, action, &object, &data, [before, &after])
}

/// Wakes the sender after the commit.
fn wake(app: &App, tx: &Tx) {
    let wake = app.wakes.messages.clone();
    tx.after_commit(move || wake.ring());
}

/// Address policy of notifications.
fn policy(conn: &Conn) -> Result<Policy> {
    let text = settings::MESSAGES_NETWORKS.text(conn)?;
    let mut opened = Opened::default();
    for (slot, block) in opened.iter_mut().zip(text.split_whitespace()) {
        *slot = Cidr::parse(block).ok();
    }
    Ok(Policy::PublicAnd(opened))
}

/// Creates or updates the endpoint of `TELEGRAM_BOT_TOKEN` and `TELEGRAM_CHAT_ID`. After a person has changed or
/// removed it, the environment is ignored.
fn seed(app: &App) -> Result<()> {
    let Some((token, chats)) = &app.config.telegram else {
        return Ok(());
    };
    let wrong = |why: String| Error::new(Kind::Config, "telegram", format!("TELEGRAM_CHAT_ID: {why}"));
    let config = telegram::seeded(chats).map_err(wrong)?;
    let by = Allowed::by_daemon();
    app.db.write(|tx| {
        let known = queries::seed(tx)?;
        let fields = |name: String, base: Fields| Fields { name, config, ..base };
        let token = vec![("token", Some(token.clone()))];
        match known {
            Some((state, _)) if state == "ui" => Ok(()),
            Some((_, id)) => {
                let old = get(tx, id)?;
                let same = secret(app, tx, id, "token")?.as_ref() == token[0].1.as_ref();
                let now = fields(old.fields.name.clone(), old.fields.clone());
                if same && now.config == old.fields.config {
                    return Ok(());
                }
                let before = snapshot(tx, id)?;
                queries::update(tx, id, &now, clock::now())?;
                store_secrets(app, tx, id, &token, &Refs::default())?;
                queries::hurry(tx, id, clock::now())?;
                let about = (id, "telegram", &now);
                note(app, tx, by, "notification.update", about, &before)
            }
            None => {
                let valid = Valid {
                    fields: fields(String::from("Telegram"), Fields::default()),
                    secrets: token,
                    refs: Refs::default(),
                };
                match create(app, tx, &telegram::CHANNEL, &valid, by) {
                    Ok(id) => queries::set_seed(tx, id),
                    Err(e) if e.kind == Kind::Conflict => {
                        log::warning(
                            "notifications",
                            "the environment's Telegram is not used",
                            &[("why", &e.say)],
                        );
                        Ok(())
                    }
                    Err(e) => Err(e),
                }
            }
        }
    })
}
