//! The remote store of samples, for who keeps more than one machine can: a VictoriaMetrics, or what speaks its import and its
//! queries. Where it is and how it is asked stands here; what is pushed there is the exporter's, what is read back the
//! metrics'.

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
use crate::vault::SealContext;

pub use client::RemoteStore;

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    settings: settings::SETTINGS,
    ..Feature::named("remote_store")
};

/// Where the secret lay when it was first sealed: a sealed value is bound to its place for good.
const SECRET_AT: SealContext = SealContext {
    table: "exporter",
    column: "value",
    row: 1,
};

/// Where values are pushed to, or nothing when nobody wants that.
pub fn for_write(app: &App) -> Result<Option<RemoteStore>> {
    of(app, &settings::PUSH_URL)
}

/// Where long charts are read from, or nothing when nobody wants that. With a cluster that is another address.
pub fn for_read(app: &App) -> Result<Option<RemoteStore>> {
    of(app, &settings::PUSH_READ_URL)
}

fn of(app: &App, setting: &Setting) -> Result<Option<RemoteStore>> {
    let (url, user, sealed) = app.db.read(|conn| {
        let user = settings::PUSH_USER.text(conn)?;
        Ok((setting.text(conn)?, user, queries::secret(conn)?))
    })?;
    if url.is_empty() {
        return Ok(None);
    }
    let secret = sealed
        .map(|sealed| app.vault.open_sealed(SECRET_AT, &sealed))
        .transpose()?;
    let authorization = secret.map(|secret| match user.is_empty() {
        true => get::bearer(&secret),
        false => get::basic(&user, &secret),
    });
    RemoteStore::at(&url, authorization)
        .map(Some)
        .ok_or_else(|| Error::internal(format!("{} is no address", setting.key)))
}

/// Is there a secret for it?
pub fn has_secret(conn: &Conn) -> Result<bool> {
    Ok(queries::secret(conn)?.is_some())
}

/// The places that its secret is sent to now: scheme, host and port.
pub fn homes(conn: &Conn) -> Result<Vec<String>> {
    let mut homes = Vec::new();
    for setting in [settings::PUSH_URL, settings::PUSH_READ_URL] {
        let store = RemoteStore::at(&setting.text(conn)?, None);
        homes.extend(store.map(|store| store.home()));
    }
    Ok(homes)
}

/// Forgets the secret when it would be sent to a place that it was not given for, or to none any more; says whether it did.
pub fn keep_at_home(tx: &Tx, before: &[String]) -> Result<bool> {
    let now = homes(tx)?;
    let stays = before.is_empty() || !now.is_empty() && now.iter().all(|home| before.contains(home));
    if stays || !has_secret(tx)? {
        return Ok(false);
    }
    queries::forget_secret(tx)?;
    Ok(true)
}

/// Keeps its secret, or forgets it.
pub fn set_secret(app: &App, tx: &Tx, secret: Option<&Secret>, by: &str) -> Result<()> {
    match secret {
        Some(secret) => queries::put_secret(tx, &app.vault.seal(SECRET_AT, secret)?, clock::now(), by),
        None => queries::forget_secret(tx),
    }
}
