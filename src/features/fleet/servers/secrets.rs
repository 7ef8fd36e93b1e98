//! The sealed columns of a server: stored when they are entered, opened for the connection that needs them.

use super::model::Secrets;
use super::queries;
use crate::app::App;
use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::base::secret::Secret;
use crate::db::{Conn, Tx};
use crate::features::house::secrets::{Refs, Slot, slot};
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
    Sealed::column("servers", SECRETS[0]).or_reference("server"),
    Sealed::column("servers", SECRETS[1]).or_reference("server"),
    Sealed::column("servers", SECRETS[2]).or_reference("server"),
    Sealed::column("servers", SECRETS[3]).or_reference("server"),
    Sealed::column("servers", SECRETS[4]).or_reference("server"),
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
    match sealed {
        Some(sealed) => app.vault.open_stored(conn, place(id, column), &sealed),
        None => Ok(None),
    }
}

/// Fields that may refer to secrets, with the column beside that holds the passphrase.
pub(super) const REFERENCES: &[Slot] = &[
    slot("password"),
    slot("ssh_key").with("ssh_key_passphrase"),
    slot("glances_password"),
    slot("glances_token"),
];

/// Seals and stores what was entered, removes what was taken away; then what refers to a secret.
pub(super) fn store_secrets(app: &App, tx: &Tx, id: Id<id::Server>, secrets: &Secrets, refs: &Refs) -> Result<()> {
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
    refs.store(tx, |column, secret, part| {
        let column = SECRETS.into_iter().find(|c| *c == column).unwrap_or(column);
        let stored = app.vault.refer(place(id, column), secret, part);
        queries::set_sealed(tx, id, column, Some(&stored))
    })
}
