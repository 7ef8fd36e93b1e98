//! The remote store of samples for large installations: VictoriaMetrics, or a compatible import and query API. This is
//! its address and authorization; pushing is done by the exporter, reading by metrics.

mod settings;
mod queries;
mod client;

use crate::app::App;
use crate::base::clock;
use crate::base::error::{Error, Result};
use crate::base::secret::Secret;
use crate::db::{Conn, Tx};
use crate::feature::Feature;
use crate::net::get;
use crate::settings::Setting;
use crate::vault::reference::Part;
use crate::vault::{SealContext, Sealed};

pub use client::RemoteStore;

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    settings: settings::SETTINGS,
    sealed: SEALED,
    ..Feature::named("remote_store")
};

/// Place of the sealed secret when it was introduced: a sealed value is bound to its place.
const SECRET_AT: SealContext = SealContext {
    table: "exporter",
    column: "value",
    row: 1,
};

/// Where the secret is.
pub const SEALED: &[Sealed] = &[Sealed {
    row: "one",
    place: Some((SECRET_AT.table, SECRET_AT.column)),
    ..Sealed::column("engine", "secret").or_reference("exporter")
}];

/// The store for writing; `None` if not configured.
pub fn for_write(app: &App) -> Result<Option<RemoteStore>> {
    of(app, &settings::PUSH_URL)
}

/// The store for reading long charts; `None` if not configured. A cluster has separate addresses.
pub fn for_read(app: &App) -> Result<Option<RemoteStore>> {
    of(app, &settings::PUSH_READ_URL)
}

fn of(app: &App, setting: &Setting) -> Result<Option<RemoteStore>> {
    let (url, user, secret) = app.db.read(|conn| {
        let user = settings::PUSH_USER.text(conn)?;
        let secret = match queries::secret(conn)? {
            Some(stored) => app.vault.open_stored(conn, SECRET_AT, &stored)?,
            None => None,
        };
        Ok((setting.text(conn)?, user, secret))
    })?;
    if url.is_empty() {
        return Ok(None);
    }
    let authorization = secret.map(|secret| match user.is_empty() {
        true => get::bearer(&secret),
        false => get::basic(&user, &secret),
    });
    RemoteStore::at(&url, authorization)
        .map(Some)
        .ok_or_else(|| Error::internal(format!("{} is no address", setting.key)))
}

/// Is a secret stored?
pub fn has_secret(conn: &Conn) -> Result<bool> {
    Ok(queries::secret(conn)?.is_some())
}

/// Current destinations of the secret: scheme, host and port.
pub fn homes(conn: &Conn) -> Result<Vec<String>> {
    let mut homes = Vec::new();
    for setting in [settings::PUSH_URL, settings::PUSH_READ_URL] {
        let store = RemoteStore::at(&setting.text(conn)?, None);
        homes.extend(store.map(|store| store.home()));
    }
    Ok(homes)
}

/// Removes the secret if its destination changed or is gone; returns whether it did.
pub fn keep_at_home(tx: &Tx, before: &[String]) -> Result<bool> {
    let now = homes(tx)?;
    let stays = before.is_empty() || !now.is_empty() && now.iter().all(|home| before.contains(home));
    if stays || !has_secret(tx)? {
        return Ok(false);
    }
    queries::forget_secret(tx)?;
    Ok(true)
}

/// Has it be a secret of the house.
pub fn refer(app: &App, tx: &Tx, secret: i64, by: &str) -> Result<()> {
    let stored = app.vault.refer(SECRET_AT, secret, Part::Value);
    queries::put_secret(tx, &stored, clock::now(), by)
}

/// Stores or removes the secret.
pub fn set_secret(app: &App, tx: &Tx, secret: Option<&Secret>, by: &str) -> Result<()> {
    match secret {
        Some(secret) => queries::put_secret(tx, &app.vault.seal(SECRET_AT, secret)?, clock::now(), by),
        None => queries::forget_secret(tx),
    }
}
