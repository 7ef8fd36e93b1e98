//! Secrets that people keep under a name: passwords, tokens, texts, private keys. A value goes in and is sealed; out it
//! comes by a `reveal` alone, for who has the right to, says why and shows that it is still them, and that stands in the
//! audit. A new value is a version; the older ones are kept for a while.

mod events;
mod generate;
mod model;
mod queries;
mod refs;
mod choice;
mod settings;
mod api;
mod pages;

use crate::access::confirm::{self, Evidence};
use crate::access::right::{Edit, Read, Reveal, Secrets, may};
use crate::access::{Actor, Allowed};
use crate::app::App;
use crate::audit::{self, Snapshot};
use crate::base::clock::{self, DAY, Duration, Ms};
use crate::base::error::{Error, Kind, Result};
use crate::base::id::{self, Id};
use crate::base::secret;
use crate::base::text;
use crate::db::{Conn, Tx};
use crate::events::outbox;
use crate::feature::Feature;
use crate::http::menu::Entry;
use crate::kinds::{Related, TargetKind};
use crate::schedule::{Periodic, Work};
use crate::ssh::keys;
use crate::vault::SealContext;
use crate::vault::reference::{CANDIDATE, CANDIDATE_PASSPHRASE, PASSPHRASE, VALUE};
pub use choice::{choose, is_choice, offered};
pub use events::ROTATION_FAILED;
pub use model::{Fields, Value, another, hours};
pub use refs::{Refers, Refs, Slot, Use, of_row, slot, uses};

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    pages: pages::ROUTES,
    menu: MENU,
    periodic: PERIODIC,
    kinds: events::KINDS,
    targets: &[TARGET],
    settings: settings::SETTINGS,
    sealed: &[VALUE, PASSPHRASE, CANDIDATE, CANDIDATE_PASSPHRASE],
    ..Feature::named("secrets")
};

const MENU: &[Entry] = &[Entry {
    path: "/secrets",
    word: "secrets",
    icon: "key",
    keys: "g k",
    right: may(Read, Secrets),
    place: (4, 0),
    ..Entry::NEW
}];

/// What events and tasks are about.
pub const TARGET: TargetKind = TargetKind {
    name: "secret",
    page: "/secrets/",
    name_of: queries::name,
    named: queries::by_name,
    related: |_, id| Ok(vec![Related::to(TARGET.name, id)]),
};

const PERIODIC: &[Periodic] = &[Periodic {
    name: "secrets.watch",
    every: Duration::from_secs(600),
    run: Work::Short(|app| watch(app, clock::now())),
}];

/// How long a page shows a value, in seconds.
const SHOWN_S: u32 = 30;

/// A secret without its values. Times are unix ms.
#[derive(Debug, Clone)]
pub struct Secret {
    /// Its number.
    pub id: Id<id::Secret>,
    /// What people say of it.
    pub fields: Fields,
    /// Number of the version in force.
    pub version: i64,
    /// So many are kept.
    versions: i64,
    /// What was told of its end; see [`model::stage`].
    told: i64,
    /// Of a private key: the line for `authorized_keys`.
    pub public_key: String,
    /// When the version in force was made.
    rotated_at: Ms,
    created_at: Ms,
    updated_at: Ms,
}

impl Secret {
    /// When another value is due.
    fn rotation_due_at(&self) -> Option<Ms> {
        self.fields.rotation_interval_s.map(|s| self.rotated_at + s * 1_000)
    }

    /// `ok`, `due` for another value, `ending` within two weeks, or `over`.
    fn state(&self, now: Ms) -> &'static str {
        match model::stage(self.fields.expires_at, now) {
            3 => "over",
            1 | 2 => "ending",
            _ if self.rotation_due_at().is_some_and(|due| due <= now) => "due",
            _ => "ok",
        }
    }
}

/// A version without its values.
#[derive(Debug, Clone)]
struct Version {
    number: i64,
    public_key: String,
    /// `given` or `generated`.
    origin: String,
    /// Login.
    made_by: String,
    made_at: Ms,
}

/// A value that is shown.
struct Shown {
    version: i64,
    value: secret::Secret,
    passphrase: Option<secret::Secret>,
}

/// One secret. Error `NotFound`.
pub fn get(conn: &Conn, id: Id<id::Secret>) -> Result<Secret> {
    queries::get(conn, id)?.ok_or_else(|| Error::not_found("secret"))
}

/// Opens a pasted key, as [`model::Opens`] says.
fn open_key(
    app: &App,
    pasted: &secret::Secret,
    passphrase: Option<&secret::Secret>,
) -> Result<(secret::Secret, String)> {
    let key = keys::clean(pasted.reveal_for("a pasted key"))?;
    let info = app.ssh.inspect(&key, passphrase)?;
    Ok((key, info.public))
}

fn create(app: &App, tx: &Tx, fields: &Fields, value: &Value, by: Allowed<Edit, Secrets>) -> Result<Id<id::Secret>> {
    let id = queries::insert(tx, fields, clock::now())?;
    by.keep(tx, ("secret", id.get()))?;
    add_version(app, tx, id, value, by)?;
    note(app, tx, ("secret.create", "secret.created"), id, &Snapshot::none(), by)?;
    Ok(id)
}

/// Changes a secret. Errors: those of [`rotate`]; `secret_used` where the scope leaves out a place that has it.
fn update(
    app: &App,
    tx: &Tx,
    id: Id<id::Secret>,
    (fields, value): (&Fields, Option<&Value>),
    by: Allowed<Edit, Secrets>,
) -> Result<()> {
    let before = snapshot(tx, id)?;
    let beyond = refs::uses(app, tx, id.get())?
        .into_iter()
        .filter(|u| !u.is_in_scope(&fields.scope));
    refuse_used(&beyond.map(|u| u.to_string()).collect::<Vec<_>>())?;
    queries::update(tx, id, fields, clock::now())?;
    if snapshot(tx, id)? != before {
        note(app, tx, ("secret.update", "secret.changed"), id, &before, by)?;
    }
    value.map_or(Ok(()), |value| rotate(app, tx, id, value, by))
}

/// Puts a new value in force.
pub fn rotate(app: &App, tx: &Tx, id: Id<id::Secret>, value: &Value, by: Allowed<Edit, Secrets>) -> Result<()> {
    if queries::is_on_its_way(tx, id)? {
        let say =
            "Another value of this secret is on its way to hosts already. Bring that to its end, or drop it, first.";
        return Err(Error::new(Kind::Conflict, "rotation_open", say));
    }
    set_value(app, tx, id, value, by)
}

/// The same for the value that was on its way.
pub fn set_value(app: &App, tx: &Tx, id: Id<id::Secret>, value: &Value, by: Allowed<Edit, Secrets>) -> Result<()> {
    let before = snapshot(tx, id)?;
    add_version(app, tx, id, value, by)?;
    note(app, tx, ("secret.rotate", events::ROTATED), id, &before, by)
}

fn add_version(app: &App, tx: &Tx, id: Id<id::Secret>, value: &Value, by: Allowed<Edit, Secrets>) -> Result<()> {
    let row = queries::add_version(tx, id, &value.public_key, value.origin, by.actor(), clock::now())?;
    let sealed = app.vault.seal(VALUE.at(row), &value.value)?;
    let passphrase = value.passphrase.as_ref();
    let passphrase = passphrase.map(|p| app.vault.seal(PASSPHRASE.at(row), p)).transpose()?;
    queries::set_values(tx, row, &sealed, passphrase.as_deref())?;
    queries::purge(tx, id, settings::VERSIONS_KEPT.number(tx)?).map(drop)
}

/// Forgets all values but the one in force; how many went.
fn purge(app: &App, tx: &Tx, id: Id<id::Secret>, by: Allowed<Edit, Secrets>) -> Result<usize> {
    let secret = get(tx, id)?;
    let gone = queries::purge(tx, id, 1)?;
    let (object, data) = (object(&secret), serde_json::json!({ "versions": gone }));
    audit::append(tx, &app.vault, by, "secret.purge", &object, &data)?;
    Ok(gone)
}

fn delete(app: &App, tx: &Tx, id: Id<id::Secret>, by: Allowed<Edit, Secrets>) -> Result<()> {
    let (secret, before) = (get(tx, id)?, snapshot(tx, id)?);
    refuse_while_used(app, tx, id)?;
    if secret.told > 0 {
        emit(app, tx, events::RENEWED, &secret, &[])?;
    }
    queries::remove(tx, id)?;
    let (object, data, stood) = (object(&secret), told(&secret), [&before, &Snapshot::none()]);
    audit::change(tx, &app.vault, by, "secret.delete", &object, &data, stood)?;
    emit(app, tx, "secret.deleted", &secret, &[])
}

/// A secret that something has is not deleted unseen. Error `secret_used`, with the list; `rotation_open`.
fn refuse_while_used(app: &App, conn: &Conn, id: Id<id::Secret>) -> Result<()> {
    let uses = refs::uses(app, conn, id.get())?;
    let mut users: Vec<String> = uses.iter().map(Use::to_string).collect();
    let leases = queries::leases_on_hosts(conn, id)?;
    if leases > 0 {
        users.push(format!("{leases} leases that are not ended on their hosts"));
    }
    if users.is_empty() && queries::is_on_its_way(conn, id)? {
        users.push("a rotation that is not at its end".into());
    }
    refuse_used(&users)
}

fn refuse_used(users: &[String]) -> Result<()> {
    match users.is_empty() {
        true => Ok(()),
        false => {
            let say = format!(
                "This secret is used by {}. Give them another one first.",
                text::first_of(users, NAMED)
            );
            Err(Error::new(Kind::Conflict, "secret_used", say))
        }
    }
}

/// A value that is made here cannot be good where servers are entered with it. Error `rotate_apply_needed`.
pub fn refuse_made_here(app: &App, conn: &Conn, id: Id<id::Secret>) -> Result<()> {
    let logins = refs::uses(app, conn, id.get())?;
    match logins.iter().find(|u| u.of == "server") {
        None => Ok(()),
        Some(u) => {
            let say = format!(
                "{} is entered with this secret: a value that is made here has to be put there, too (rotate-apply).",
                u.name
            );
            Err(Error::new(Kind::Conflict, "rotate_apply_needed", say))
        }
    }
}

/// Names in an error's text.
const NAMED: usize = 20;

/// The value in force, and its passphrase.
pub fn current(app: &App, conn: &Conn, secret: &Secret) -> Result<(secret::Secret, Option<secret::Secret>)> {
    let sealed = queries::values(conn, secret.id, secret.version)?;
    let sealed = sealed.ok_or_else(|| Error::not_found("version of this secret"))?;
    let open = |place: SealContext, sealed: &[u8]| app.vault.open_sealed(place, sealed);
    let passphrase = sealed
        .passphrase
        .map(|p| open(PASSPHRASE.at(sealed.row), &p))
        .transpose()?;
    Ok((open(VALUE.at(sealed.row), &sealed.value)?, passphrase))
}

/// Secrets that are to get another value by themselves at this time.
pub fn overdue(conn: &Conn, now: Ms) -> Result<Vec<Secret>> {
    queries::overdue(conn, now)
}

/// Not by itself before then.
pub fn set_next_try(tx: &Tx, id: Id<id::Secret>, at: Ms) -> Result<()> {
    queries::set_next_try(tx, id, at)
}

/// Opens a value for somebody who says why, and who shows in this very request that it is still them. It stands in the
/// audit before it is given out. Errors: `token_may_not`, `wrong_confirmation`, `too_many_sign_ins`, `not_found`.
fn reveal(
    app: &App,
    (id, version): (Id<id::Secret>, Option<i64>),
    reason: &str,
    evidence: &Evidence,
    (actor, by): (&Actor, Allowed<Reveal, Secrets>),
) -> Result<Shown> {
    actor.sign_in()?;
    confirm::check(&app.db, &app.vault, &app.throttle, actor, evidence)?;
    app.db.write_reserved(|tx| {
        let secret = get(tx, id)?;
        let version = version.unwrap_or(secret.version);
        let sealed = queries::values(tx, id, version)?.ok_or_else(|| Error::not_found("version of this secret"))?;
        let open = |place: SealContext, sealed: &[u8]| app.vault.open_sealed(place, sealed);
        let shown = Shown {
            version,
            value: open(VALUE.at(sealed.row), &sealed.value)?,
            passphrase: (sealed.passphrase.map(|p| open(PASSPHRASE.at(sealed.row), &p))).transpose()?,
        };
        let data = serde_json::json!({ "version": version, "reason": reason });
        audit::append(tx, &app.vault, by, "secret.reveal", &object(&secret), &data)?;
        let said = format!("{}: {reason}", actor.login());
        emit(app, tx, events::REVEALED, &secret, &[said])?;
        Ok(shown)
    })
}

/// Tells of ends that have come near, and of those that are far again.
fn watch(app: &App, now: Ms) -> Result<()> {
    let moved = |s: &Secret| model::stage(s.fields.expires_at, now) != s.told;
    let ending = |conn: &Conn| queries::ending(conn, now + 14 * DAY);
    if !app.db.read(ending)?.iter().any(moved) {
        return Ok(());
    }
    app.db
        .write(|tx| ending(tx)?.iter().try_for_each(|s| tell_end(app, tx, s, now)))
}

fn tell_end(app: &App, tx: &Tx, secret: &Secret, now: Ms) -> Result<()> {
    let stage = model::stage(secret.fields.expires_at, now);
    if stage == secret.told {
        return Ok(());
    }
    queries::set_stage(tx, secret.id, stage)?;
    match (stage, secret.fields.expires_at) {
        (0, _) | (_, None) => emit(app, tx, events::RENEWED, secret, &[]),
        (nearer, Some(at)) if nearer > secret.told => {
            let line = format!("Its value ends at {}.", clock::rfc3339(at));
            emit(app, tx, events::EXPIRING, secret, &[line])
        }
        _ => Ok(()),
    }
}

/// How the audit names it.
pub fn object(secret: &Secret) -> String {
    format!("secret {} {}", secret.id, secret.fields.name)
}

/// What is told of a secret.
fn told(s: &Secret) -> serde_json::Value {
    let f = &s.fields;
    serde_json::json!({
        "name": f.name, "type": f.kind, "version": s.version, "expires_at": f.expires_at.map(clock::rfc3339),
    })
}

/// Emits an event about it; the lines are its evidence.
pub fn emit(app: &App, tx: &Tx, kind: &str, secret: &Secret, evidence: &[String]) -> Result<()> {
    let mut data = told(secret);
    data["evidence"] = evidence.into();
    outbox::emit(tx, &app.wakes.events, kind, (TARGET.name, secret.id.get()), &data)
}

/// A secret as the audit compares it; the values are in another table, and a new one is a new version.
fn snapshot(conn: &Conn, id: Id<id::Secret>) -> Result<Snapshot> {
    let all = Snapshot::of(conn, "secrets", id.get())?;
    Ok(all.without(|name| ["told", "updated_at", "next_try"].contains(&name)))
}

/// Writes the audit row and the event of a change, and whether its end is near now.
fn note(
    app: &App,
    tx: &Tx,
    (action, event): (&str, &str),
    id: Id<id::Secret>,
    before: &Snapshot,
    by: Allowed<Edit, Secrets>,
) -> Result<()> {
    let (secret, after) = (get(tx, id)?, snapshot(tx, id)?);
    let (object, data) = (object(&secret), told(&secret));
    audit::change(tx, &app.vault, by, action, &object, &data, [before, &after])?;
    emit(app, tx, event, &secret, &[])?;
    tell_end(app, tx, &secret, clock::now())
}
