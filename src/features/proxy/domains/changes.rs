//! Domains are added, changed and deleted. No server is changed here; what lies on servers is removed by a task.

use super::deploy::Choice;
use super::enqueue::{refuse_removing, start};
use super::model::{Fields, Valid};
use super::{Domain, placements, queries, tasks};
use crate::access::Allowed;
use crate::access::right::{Domains, Edit};
use crate::app::App;
use crate::audit::{self, Snapshot};
use crate::base::clock;
use crate::base::error::{Error, Field, Kind, Result};
use crate::base::id::{self, Id, Task};
use crate::base::text;
use crate::db::{Conn, Tx};
use crate::events::outbox;
use crate::events::wake::Wake;
use crate::features::fleet::servers;
use crate::features::proxy::certificates;
use crate::task::queue;

/// Adds a domain. Changes no server. Error: duplicate name, missing rows.
pub fn create(app: &App, tx: &Tx, valid: &Valid, by: Allowed<Edit, Domains>) -> Result<Id<id::Domain>> {
    refuse_missing(tx, &valid.fields, None, by)?;
    let id = queries::insert(tx, &valid.fields, clock::now())?;
    placements::want(tx, id, &valid.fields.server_ids)?;
    let what = ("domain.create", "domain.created");
    note(app, tx, by, what, (id, &valid.fields), &Snapshot::none())?;
    Ok(id)
}

/// Changes a domain if it is still as it was when `valid` was read over `old`. Changes no server. Error `Conflict`
/// otherwise.
pub fn update(app: &App, tx: &Tx, old: &Domain, valid: &Valid, by: Allowed<Edit, Domains>) -> Result<()> {
    by.reaches(&valid.place())?;
    let now = super::get(tx, old.id)?;
    refuse_removing(&now)?;
    if now.revision != old.revision {
        let say = "This domain was changed meanwhile. Load it again and repeat your change.";
        return Err(Error::new(Kind::Conflict, "domain_changed", say));
    }
    refuse_missing(tx, &valid.fields, now.fields.group_id, by)?;
    let before = snapshot(tx, old.id)?;
    queries::update(tx, old.id, &valid.fields, clock::now())?;
    placements::want(tx, old.id, &valid.fields.server_ids)?;
    let what = ("domain.update", "domain.changed");
    note(app, tx, by, what, (old.id, &valid.fields), &before)
}

/// `group`: it is in this one already, so that it may stay there.
fn refuse_missing(
    conn: &Conn,
    fields: &Fields,
    group: Option<Id<id::Group>>,
    by: Allowed<Edit, Domains>,
) -> Result<()> {
    let mut missing = queries::missing(conn, fields)?;
    if let Some(id) = fields.group_id.filter(|id| Some(*id) != group)
        && missing.iter().all(|wrong| wrong.field != "group_id")
        && !by.knows(conn, ("group", id.get()))?
    {
        missing.push(queries::no_group(id));
    }
    if !missing.is_empty() {
        return Err(Error::invalid(missing));
    }
    let Some(id) = fields.certificate_id else {
        return Ok(());
    };
    let certificate = certificates::get(conn, id)?;
    if certificates::covers(&certificate.names, fields.domain.ascii()) {
        return Ok(());
    }
    let message = format!(
        "The certificate “{}” is for {}, not for this domain. Choose another one.",
        certificate.name,
        text::one_line(&certificate.names.join(", "), 200)
    );
    let (field, code) = ("certificate_id", "not_covering");
    Err(Error::invalid(vec![Field { field, code, message }]))
}

fn refuse_while_worked_on(conn: &Conn, id: Id<id::Domain>) -> Result<()> {
    match queue::open(conn, ("domain", id.get()), |_| true)? {
        None => Ok(()),
        Some(task) => {
            let say = format!("Task {task} still works on this domain. Wait for it or cancel it first.");
            Err(Error::new(Kind::Conflict, "task_open", say))
        }
    }
}

/// Deletes a domain: at once if it is on no server, else by a task that removes it first.
pub fn delete(
    app: &App,
    tx: &Tx,
    id: Id<id::Domain>,
    choice: &Choice,
    by: Allowed<Edit, Domains>,
) -> Result<Option<Id<Task>>> {
    let domain = super::get(tx, id)?;
    refuse_while_worked_on(tx, id)?;
    if !placements::deployed(tx, id)? {
        let object = format!("domain {id} {}", domain.fields.domain);
        let data = serde_json::json!({ "name": domain.name() });
        let stood = [&snapshot(tx, id)?, &Snapshot::none()];
        audit::change(tx, &app.vault, by, "domain.delete", &object, &data, stood)?;
        forget(tx, &app.wakes.events, &domain)?;
        return Ok(None);
    }
    queries::set_removing(tx, id, clock::now())?;
    start(app, tx, &domain, tasks::REMOVE, choice, by).map(Some)
}

/// Forgets a domain's site on one server that is gone for good; nothing is done on it. If it is wanted there, it counts
/// as never deployed.
pub fn forget_site(
    app: &App,
    tx: &Tx,
    id: Id<id::Domain>,
    server: Id<id::Server>,
    by: Allowed<Edit, Domains>,
) -> Result<()> {
    let domain = super::get(tx, id)?;
    refuse_while_worked_on(tx, id)?;
    let row = placements::at(tx, id, server)?;
    let name = domain.name();
    let on = servers::get(tx, server)?.fields.name;
    placements::mark_removed(tx, &row)?;
    let say = format!("What lay on {on} was forgotten, not taken off.");
    let data = serde_json::json!({ "name": name, "server_id": server, "evidence": [say] });
    let object = format!("domain {id} {}", domain.fields.domain);
    audit::append(tx, &app.vault, by, "domain.forget_site", &object, &data)?;
    outbox::emit(
        tx,
        &app.wakes.events,
        "domain.site_forgotten",
        ("domain", id.get()),
        &data,
    )
}

/// Deletes a domain that is on no server.
pub fn forget(tx: &Tx, wake: &Wake, domain: &Domain) -> Result<()> {
    queries::remove(tx, domain.id)?;
    let data = serde_json::json!({ "name": domain.name(), "domain": domain.fields.domain });
    outbox::emit(tx, wake, "domain.deleted", ("domain", domain.id.get()), &data)
}

/// What people say of a domain; what was seen of it changes by itself.
fn snapshot(conn: &Conn, id: Id<id::Domain>) -> Result<Snapshot> {
    let servers: Vec<i64> = match queries::get(conn, id)? {
        Some(domain) => domain.fields.server_ids.iter().map(|id| id.get()).collect(),
        None => Vec::new(),
    };
    let seen = |name: &str| {
        let begins = ["ns_s", "ns_at", "cert_", "answer_", "removing"];
        begins.iter().any(|begin| name.starts_with(begin))
    };
    let all = Snapshot::of(conn, "domains", id.get())?;
    Ok(all.without(seen).with("server_ids", servers))
}

fn note(
    app: &App,
    tx: &Tx,
    by: Allowed<Edit, Domains>,
    what: (&str, &str),
    (id, fields): (Id<id::Domain>, &Fields),
    before: &Snapshot,
) -> Result<()> {
    let (name, ascii) = (fields.domain.unicode(), fields.domain.ascii());
    let data = serde_json::json!({ "name": name, "domain": ascii });
    let (object, after) = (format!("domain {id} {ascii}"), snapshot(tx, id)?);
    audit::change(tx, &app.vault, by, what.0, &object, &data, [before, &after])?;
    outbox::emit(tx, &app.wakes.events, what.1, ("domain", id.get()), &data)
}
