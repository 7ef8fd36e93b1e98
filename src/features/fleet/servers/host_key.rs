//! The host key of a server as it is stored: offered, accepted by a person, changed, restored.

use super::queries::snapshot;
use super::{HostKeyState, Server, queries};
use crate::access::Allowed;
use crate::access::right::{Edit, Servers};
use crate::app::App;
use crate::audit;
use crate::base::error::{Error, Kind, Result};
use crate::base::id::{self, Id};
use crate::db::{Conn, Tx};
use crate::events::outbox;
use crate::ssh::hostkey;

/// Accepts the offered host key after a person has compared its fingerprint.
pub fn accept_host_key(
    app: &App,
    tx: &Tx,
    id: Id<id::Server>,
    fingerprint: &str,
    by: Allowed<Edit, Servers>,
) -> Result<()> {
    let server = super::get(tx, id)?;
    let conflict = |code, say: &str| Err(Error::new(Kind::Conflict, code, say));
    if server.host_key_seen.is_empty() {
        return conflict(
            "no_host_key_waits",
            "No host key waits for a decision. Run “Check SSH access” first.",
        );
    }
    if server.fingerprint().as_deref() != Some(fingerprint) {
        return conflict(
            "fingerprint_differs",
            "This is not the fingerprint that the server offered. Load the page again and compare.",
        );
    }
    let before = snapshot(tx, id)?;
    queries::set_host_key(tx, id, &server.host_key_seen, "", HostKeyState::Pinned)?;
    let after = snapshot(tx, id)?;
    let data = serde_json::json!({ "name": server.fields.name, "fingerprint": fingerprint });
    let (action, object) = ("server.accept_host_key", format!("server {id} {}", server.fields.name));
    audit::change(tx, &app.vault, by, action, &object, &data, [&before, &after])?;
    outbox::emit(
        tx,
        &app.wakes.events,
        "server.host_key_accepted",
        ("server", id.get()),
        &data,
    )
}

/// Code of a check whose server was changed meanwhile.
pub(super) const STALE: &str = "server_changed";

/// A check takes time: its result counts only if address and accepted key are unchanged. (Else a key accepted meanwhile
/// would be reverted, or the key of the old address be offered for the new one.)
pub(super) fn refuse_stale_check(conn: &Conn, checked: &Server) -> Result<()> {
    let now = super::get(conn, checked.id)?;
    if now.address() == checked.address() && now.host_key == checked.host_key {
        return Ok(());
    }
    let say = "Address or host key of this server were changed during the check. Run “Check SSH access” again.";
    Err(Error::new(Kind::Conflict, STALE, say))
}

/// Stores an offered key that is not accepted, for confirmation.
pub(super) fn offer_host_key(tx: &Tx, checked: &Server, line: &str) -> Result<()> {
    refuse_stale_check(tx, checked)?;
    queries::set_host_key(tx, checked.id, "", line, HostKeyState::Pending)
}

/// A different key than the accepted one was offered: blocks all work, raises an alert.
pub(super) fn host_key_changed(app: &App, tx: &Tx, server: &Server, line: &str) -> Result<()> {
    refuse_stale_check(tx, server)?;
    queries::set_host_key(tx, server.id, &server.host_key, line, HostKeyState::Changed)?;
    let fingerprint = |line: &str| {
        hostkey::parse(line.lines().next().unwrap_or_default())
            .map(|k| k.fingerprint)
            .unwrap_or_default()
    };
    let data = serde_json::json!({
        "name": server.fields.name, "accepted": fingerprint(&server.host_key), "offered": fingerprint(line),
    });
    outbox::emit(
        tx,
        &app.wakes.events,
        "host.key_changed",
        ("server", server.id.get()),
        &data,
    )
}

/// The offered key is the accepted one again (the old machine is back).
pub(super) fn host_key_restored(app: &App, tx: &Tx, server: &Server) -> Result<()> {
    refuse_stale_check(tx, server)?;
    queries::set_host_key(tx, server.id, &server.host_key, "", HostKeyState::Pinned)?;
    let data = serde_json::json!({ "name": server.fields.name });
    outbox::emit(
        tx,
        &app.wakes.events,
        "host.key_restored",
        ("server", server.id.get()),
        &data,
    )
}
