//! Uploaded certificates with their keys, for domains that no ACME server can validate.
//!
//! Stored certificates are checked: the key belongs to the certificate, each certificate is signed by the next, none is
//! expired, and there are names. The key is sealed on input and unsealed only to be put on a server.

mod events;
mod life;
mod model;
mod queries;
mod api;
mod pages;

use crate::access::Allowed;
use crate::access::right;
use crate::access::right::{Certificates, Edit};
use crate::app::App;
use crate::audit::{self, Snapshot};
use crate::base::clock::{self, Ms};
use crate::base::error::{Error, Field, Kind, Result};
use crate::base::id::{self, Id};
use crate::base::idn::DomainName;
use crate::base::pem;
use crate::base::secret::Secret;
use crate::db::{Conn, Tx};
use crate::events::outbox;
use crate::feature::Feature;
use crate::feature::{Hit, Source};
use crate::http::menu::Entry;
use crate::net::x509;
use crate::vault::{SealContext, Sealed};
use model::Valid;

pub use life::{Line, Renewed, Stage, days_left, is_due, line, since, stage};
pub use model::{CheckedPair, check_pair, notes};
pub use queries::by_name;
pub use x509::covers;

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    pages: pages::ROUTES,
    kinds: events::KINDS,
    menu: MENU,
    search: SEARCH,
    sealed: &[Sealed::column("certificates", "key")],
    ..Feature::named("certificates")
};

const MENU: &[Entry] = &[Entry {
    path: "/certificates",
    word: "certificates",
    icon: "shield",
    keys: "g c",
    right: right::may(right::Read, right::Certificates),
    place: (2, 4),
    ..Entry::NEW
}];

const SEARCH: &[Source] = &[Source {
    kind: "certificates",
    place: 5,
    right: right::may(right::Read, right::Certificates),
    list: Some("/certificates"),
    find: |ctx, q, limit| {
        let part = q.to_lowercase();
        let has = |name: &String| name.to_lowercase().contains(&part) || shown(name).contains(&part);
        let named = ctx.app.db.read(all)?.into_iter();
        let named: Vec<_> = named.filter(|c| has(&c.name) || c.names.iter().any(has)).collect();
        let total = named.len() as i64;
        let hit = |c: Certificate| Hit {
            detail: c.names.join(", "),
            href: format!("/certificates/{}", c.id),
            name: c.name,
        };
        Ok((named.into_iter().take(limit as usize).map(hit).collect(), total))
    },
}];

/// A certificate's row. Times are unix ms.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// Id.
    pub id: Id<id::Certificate>,
    /// Display name; unique regardless of case.
    pub name: String,
    /// PEM, the leaf first, each signed by the next.
    pub chain: String,
    /// Names: DNS names (A-labels, possibly with a wildcard), then addresses. Used by [`covers`].
    pub names: Vec<String>,
    /// Issuer for display.
    pub issuer: String,
    /// Valid from.
    pub not_before: Ms,
    /// Valid to.
    pub not_after: Ms,
    /// Of its DER form, hex.
    pub sha256: String,
    /// Revision, incremented with every change.
    pub revision: i64,
    /// Creation time.
    pub created_at: Ms,
    /// Time of the last change.
    pub updated_at: Ms,
}

/// A domain that uses a certificate of this store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Id of the domain.
    pub id: Id<id::Domain>,
    /// A-labels.
    pub domain: String,
}

impl User {
    /// Display form of the name.
    pub fn shown(&self) -> String {
        shown(&self.domain)
    }
}

/// Display form of a certificate's name; wildcards and addresses are unchanged.
pub fn shown(name: &str) -> String {
    let (star, rest) = match name.strip_prefix("*.") {
        Some(rest) => ("*.", rest),
        None => ("", name),
    };
    match DomainName::parse(rest) {
        Ok(domain) => format!("{star}{}", domain.unicode()),
        Err(_) => name.into(),
    }
}

/// One certificate. Error `NotFound`.
pub fn get(conn: &Conn, id: Id<id::Certificate>) -> Result<Certificate> {
    queries::get(conn, id)?.ok_or_else(|| Error::not_found("certificate"))
}

/// Every certificate by name.
pub fn all(conn: &Conn) -> Result<Vec<Certificate>> {
    queries::all(conn)
}

/// The SHA-256 (hex) of the first certificate of a PEM chain, which is the server's own.
pub fn fingerprint(chain: &str) -> Result<String> {
    let unreadable = || Error::internal("a stored certificate cannot be read");
    let blocks = pem::blocks(chain, usize::MAX)?;
    let der = blocks
        .first()
        .ok_or_else(unreadable)?
        .der
        .reveal_for("a certificate is public");
    Ok(x509::Certificate::parse(der).ok_or_else(unreadable)?.sha256)
}

fn place(id: Id<id::Certificate>) -> SealContext {
    SealContext {
        table: "certificates",
        column: "key",
        row: id.get(),
    }
}

/// Unseals the private key: one PEM block, to be put on a server.
pub fn key(app: &App, conn: &Conn, id: Id<id::Certificate>) -> Result<Secret> {
    let sealed = queries::sealed_key(conn, id)?.ok_or_else(|| Error::not_found("certificate"))?;
    app.vault.open_sealed(place(id), &sealed)
}

fn store_key(app: &App, tx: &Tx, id: Id<id::Certificate>, key: &Secret) -> Result<()> {
    queries::set_key(tx, id, &app.vault.seal(place(id), key)?)
}

fn create(
    app: &App,
    tx: &Tx,
    name: &str,
    checked: &CheckedPair,
    by: Allowed<Edit, Certificates>,
) -> Result<Id<id::Certificate>> {
    let id = queries::insert(tx, name, checked, clock::now())?;
    store_key(app, tx, id, &checked.key)?;
    let what = ("certificate.create", "certificate.created");
    note(app, tx, by, what, &get(tx, id)?, &Snapshot::none())?;
    Ok(id)
}

/// Changes a certificate if it is still as it was when `valid` was read over `old`. Domains that use it must stay
/// covered. Error `Conflict` otherwise.
fn update(app: &App, tx: &Tx, old: &Certificate, valid: &Valid, by: Allowed<Edit, Certificates>) -> Result<()> {
    if get(tx, old.id)?.revision != old.revision {
        let say = "This certificate was changed meanwhile. Load it again and repeat your change.";
        return Err(Error::new(Kind::Conflict, "certificate_changed", say));
    }
    let before = snapshot(tx, old.id)?;
    queries::rename(tx, old.id, &valid.name, clock::now())?;
    if let Some(checked) = &valid.checked {
        let users = queries::users(tx, old.id)?;
        if let Some(lost) = users.iter().find(|u| !covers(&checked.names, &u.domain)) {
            let message = format!(
                "{} is served with this certificate, and the new one is not for that name. Give that domain another certificate first.",
                lost.shown()
            );
            let (field, code) = ("chain", "not_covering");
            return Err(Error::invalid(vec![Field { field, code, message }]));
        }
        queries::update(tx, old.id, checked, clock::now())?;
        store_key(app, tx, old.id, &checked.key)?;
    }
    let what = ("certificate.update", "certificate.changed");
    note(app, tx, by, what, &get(tx, old.id)?, &before)
}

/// Deletes a certificate and its key. Error `Conflict` while a domain uses it.
fn delete(app: &App, tx: &Tx, id: Id<id::Certificate>, by: Allowed<Edit, Certificates>) -> Result<()> {
    let old = get(tx, id)?;
    let users = queries::users(tx, id)?;
    if !users.is_empty() {
        let names: Vec<_> = users.iter().map(User::shown).collect();
        let say = format!(
            "This certificate is used by {}. Give them another one first.",
            names.join(", ")
        );
        return Err(Error::new(Kind::Conflict, "in_use", say));
    }
    let before = snapshot(tx, id)?;
    queries::remove(tx, id)?;
    let what = ("certificate.delete", "certificate.deleted");
    note(app, tx, by, what, &old, &before)
}

/// The chain itself is told by its hash.
fn snapshot(conn: &Conn, id: Id<id::Certificate>) -> Result<Snapshot> {
    let all = Snapshot::of(conn, "certificates", id.get())?;
    Ok(all.without(|name| name == "chain"))
}

/// Writes the audit row and event with the certificate's public data.
fn note(
    app: &App,
    tx: &Tx,
    by: Allowed<Edit, Certificates>,
    kind: (&str, &str),
    c: &Certificate,
    before: &Snapshot,
) -> Result<()> {
    let data = serde_json::json!({
        "name": c.name, "names": c.names, "sha256": c.sha256, "not_after": clock::rfc3339(c.not_after),
    });
    let (object, after) = (format!("certificate {} {}", c.id, c.name), snapshot(tx, c.id)?);
    audit::change(tx, &app.vault, by, kind.0, &object, &data, [before, &after])?;
    outbox::emit(tx, &app.wakes.events, kind.1, ("certificate", c.id.get()), &data)
}
