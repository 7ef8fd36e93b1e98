//! Servers are added, changed and deleted. Nothing is sent to them here.

use super::model::Valid;
use super::queries::snapshot;
use super::secrets::store_secrets;
use super::settings;
use super::tasks;
use super::{Fields, HostKeyState, Server, queries};
use crate::access::Allowed;
use crate::access::right::{Edit, Servers};
use crate::app::App;
use crate::audit::{self, Snapshot};
use crate::base::clock;
use crate::base::error::{Error, Kind, Result};
use crate::base::id::{self, Id};
use crate::base::idn::DomainName;
use crate::base::text;
use crate::db::{Conn, Tx};
use crate::events::outbox;
use crate::settings::check;
use crate::task::queue;

/// Defaults of a new server; some come from settings.
pub fn fresh(conn: &Conn) -> Result<Fields> {
    let allow = settings::GLANCES_ALLOW.text(conn)?;
    Ok(Fields {
        glances_allow: check::words(&allow).map(String::from).collect(),
        glances_bind: settings::GLANCES_BIND.text(conn)?,
        ..Fields::default()
    })
}

/// Adds a server. Error: duplicate name.
pub fn create(app: &App, tx: &Tx, valid: &Valid, by: Allowed<Edit, Servers>) -> Result<Id<id::Server>> {
    let id = queries::insert(tx, &valid.fields, clock::now())?;
    store_secrets(app, tx, id, &valid.secrets, &valid.refs)?;
    match &valid.host_key {
        Some(key) => queries::set_host_key(tx, id, key, "", HostKeyState::Pinned)?,
        None => tasks::enqueue_host_key_read(app, tx, id, &valid.fields.name, by)?,
    }
    let (what, name) = (("server.create", "server.created"), &*valid.fields.name);
    note(app, tx, by, what, (id, name), &Snapshot::none())?;
    Ok(id)
}

/// Changes a server if it is still as it was when `valid` was read over `old`. A new address is a new machine: its host
/// key must be accepted again (unless given), and no task may be running. Error `Conflict` otherwise.
pub fn update(app: &App, tx: &Tx, old: &Server, valid: &Valid, by: Allowed<Edit, Servers>) -> Result<()> {
    let now = super::get(tx, old.id)?;
    if now.poll_revision != old.poll_revision {
        let say = "This server was changed meanwhile, by a person or a task. Load it again and repeat your change.";
        return Err(Error::new(Kind::Conflict, "server_changed", say));
    }
    let moved = old.address() != (&valid.fields.host, valid.fields.ssh_port);
    if moved {
        refuse_while_worked_on(tx, old.id)?;
    }
    let before = snapshot(tx, old.id)?;
    queries::update(tx, old.id, &valid.fields, clock::now())?;
    store_secrets(app, tx, old.id, &valid.secrets, &valid.refs)?;
    match &valid.host_key {
        Some(key) => queries::set_host_key(tx, old.id, key, "", HostKeyState::Pinned)?,
        None if moved => {
            queries::set_host_key(tx, old.id, "", "", HostKeyState::Unknown)?;
            tasks::enqueue_host_key_read(app, tx, old.id, &valid.fields.name, by)?;
        }
        None => {}
    }
    if now.host_key_state == HostKeyState::Changed && (moved || valid.host_key.is_some()) {
        let data = serde_json::json!({ "name": valid.fields.name });
        outbox::emit(
            tx,
            &app.wakes.events,
            "host.key_replaced",
            ("server", old.id.get()),
            &data,
        )?;
    }
    emit_tags(app, tx, &now, &valid.fields)?;
    let (what, name) = (("server.update", "server.changed"), &*valid.fields.name);
    note(app, tx, by, what, (old.id, name), &before)
}

/// Tells which tags came and went; their order does not matter.
fn emit_tags(app: &App, tx: &Tx, old: &Server, new: &Fields) -> Result<()> {
    let without = |all: &[String], those: &[String]| -> Vec<String> {
        all.iter().filter(|tag| !those.contains(tag)).cloned().collect()
    };
    let (added, removed) = (
        without(&new.tags, &old.fields.tags),
        without(&old.fields.tags, &new.tags),
    );
    if added.is_empty() && removed.is_empty() {
        return Ok(());
    }
    let signed = |sign: char, tags: &[String]| tags.iter().map(|tag| format!("{sign}{tag}")).collect::<Vec<_>>();
    let evidence = [signed('+', &added), signed('-', &removed)].concat();
    let data = serde_json::json!({
        "name": new.name, "tags": new.tags, "added": added, "removed": removed, "evidence": evidence,
    });
    outbox::emit(
        tx,
        &app.wakes.events,
        "server.tags_changed",
        ("server", old.id.get()),
        &data,
    )
}

/// Reading the host key changes nothing and does not block.
fn refuse_while_worked_on(conn: &Conn, id: Id<id::Server>) -> Result<()> {
    match queue::open(conn, ("server", id.get()), |kind| kind != tasks::READ_HOST_KEY)? {
        None => Ok(()),
        Some(task) => {
            let say = format!("Task {task} still works on this server. Wait for it or cancel it first.");
            Err(Error::new(Kind::Conflict, "task_open", say))
        }
    }
}

/// Limit of names in an error text.
const NAMED: usize = 5;

/// Ids and names of the domains that this server serves.
pub fn serves(conn: &Conn, id: Id<id::Server>) -> Result<Vec<(i64, String)>> {
    let shown = |d: String| DomainName::parse(&d).map_or(d, |name| name.unicode());
    let domains = queries::used_by(conn, id)?.into_iter();
    Ok(domains.map(|(id, name)| (id, shown(name))).collect())
}

/// Deletes a server here; nothing is changed on it. Error `Conflict` while a task runs on it, and while domains are on
/// it (their sites could no longer be removed), unless `forget` confirms that it is gone.
pub fn delete(app: &App, tx: &Tx, server: &Server, forget: bool, by: Allowed<Edit, Servers>) -> Result<()> {
    let (id, name) = (server.id, &server.fields.name);
    refuse_while_worked_on(tx, id)?;
    let domains: Vec<String> = serves(tx, id)?.into_iter().map(|(_, name)| name).collect();
    let named = text::first_of(&domains, NAMED);
    let before = snapshot(tx, id)?;
    if domains.is_empty() {
        queries::remove(tx, id)?;
        return note(app, tx, by, ("server.delete", "server.deleted"), (id, name), &before);
    }
    if !forget {
        let say = format!(
            "This server serves {named}. Move them to another server or remove them first; or say that it is gone for good and they are forgotten there."
        );
        return Err(Error::new(Kind::Conflict, "server_used", say));
    }
    queries::forget_sites(tx, id)?;
    queries::remove(tx, id)?;
    let say = format!("It served {named}: forgotten there, not taken off.");
    let data = serde_json::json!({ "name": name, "evidence": [say], "forgotten": domains });
    let (object, stood) = (format!("server {id} {name}"), [&before, &Snapshot::none()]);
    audit::change(tx, &app.vault, by, "server.forget", &object, &data, stood)?;
    outbox::emit(tx, &app.wakes.events, "server.deleted", ("server", id.get()), &data)
}

fn note(
    app: &App,
    tx: &Tx,
    by: Allowed<Edit, Servers>,
    what: (&str, &str),
    (id, name): (Id<id::Server>, &str),
    before: &Snapshot,
) -> Result<()> {
    let (data, after) = (serde_json::json!({ "name": name }), snapshot(tx, id)?);
    let object = format!("server {id} {name}");
    audit::change(tx, &app.vault, by, what.0, &object, &data, [before, &after])?;
    outbox::emit(tx, &app.wakes.events, what.1, ("server", id.get()), &data)
}
