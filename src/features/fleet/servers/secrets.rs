//! The sealed columns of a server: stored when they are entered, opened for the connection that needs them.

use super::model::Secrets;
use super::queries;
use crate::app::App;
use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::base::secret::Secret;
use crate::db::{Conn, Tx};
use crate::vault::{SealContext, Sealed};

/// Columns with sealed values.
pub(super) const SECRETS: [&str; 5] = [
    "password",
    "ssh_key",
    "ssh_key_passphrase",
    "glances_password",
    "glances_token",
];

/// The same, declared.
pub(super) const SEALED: &[Sealed] = &[
    Sealed::column("servers", SECRETS[0]),
    Sealed::column("servers", SECRETS[1]),
    Sealed::column("servers", SECRETS[2]),
    Sealed::column("servers", SECRETS[3]),
    Sealed::column("servers", SECRETS[4]),
];

/// What a sealed value is bound to.
pub(super) fn place(id: Id<id::Server>, column: &'static str) -> SealContext {
    SealContext {
        table: "servers",
        column,
        row: id.get(),
    }
}

/// Unseals one stored secret.
pub fn secret(app: &App, conn: &Conn, id: Id<id::Server>, column: &'static str) -> Result<Option<Secret>> {
    debug_assert!(SECRETS.contains(&column));
    let sealed = queries::sealed(conn, id, column)?;
    sealed
        .map(|sealed| app.vault.open_sealed(place(id, column), &sealed))
        .transpose()
}

/// Seals and stores what was entered, removes what was taken away.
pub(super) fn store_secrets(app: &App, tx: &Tx, id: Id<id::Server>, secrets: &Secrets) -> Result<()> {
    let changes = [
        &secrets.password,
        &secrets.ssh_key,
        &secrets.ssh_key_passphrase,
        &secrets.glances_password,
        &secrets.glances_token,
    ];
    for (column, change) in SECRETS.into_iter().zip(changes) {
        if let Some(value) = change {
            let sealed = value
                .as_ref()
                .map(|v| app.vault.seal(place(id, column), v))
                .transpose()?;
            queries::set_sealed(tx, id, column, sealed.as_deref())?;
        }
    }
    Ok(())
}
