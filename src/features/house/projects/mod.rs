//! Projects: groups, secrets, notifications and plugins belong to one. There is always one, which new things belong to; as
//! long as it is the only one, nothing of it is seen.

mod queries;
mod api;
mod pages;

use crate::access::Allowed;
use crate::access::right::{Edit, Read, Settings, may};
use crate::app::App;
use crate::audit::{self, Snapshot};
use crate::base::clock::{self, Ms};
use crate::base::error::{Error, Kind, Result};
use crate::base::id::{self, Id};
use crate::db::{Conn, Tx};
use crate::feature::Feature;
use crate::http::menu::Action;
use std::collections::BTreeMap;

pub use queries::{find, names, usual};

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    pages: pages::ROUTES,
    actions: ACTIONS,
    ..Feature::named("projects")
};

const ACTIONS: &[Action] = &[Action {
    word: "projects.title",
    icon: "box",
    path: "/projects",
    right: may(Read, Settings),
}];

/// What belongs to projects: its name in the table, and the word of its list.
const THINGS: [(&str, &str); 4] = [
    ("group", "groups"),
    ("secret", "secrets"),
    ("endpoint", "endpoints"),
    ("plugin", "plugins"),
];

/// A project.
#[derive(Debug, Clone)]
pub struct Project {
    /// Id.
    pub id: Id<id::Project>,
    /// Unique, whatever the case.
    pub name: String,
    /// Free words.
    pub notes: String,
    /// Do new things belong to it?
    pub usual: bool,
    /// Unix ms.
    pub created_at: Ms,
    /// Unix ms.
    pub updated_at: Ms,
}

fn get(conn: &Conn, id: Id<id::Project>) -> Result<Project> {
    find(conn, id)?.ok_or_else(|| Error::not_found("project"))
}

/// New things belong to this one from now on. Whoever calls this writes the audit.
pub fn set_usual(tx: &Tx, id: Id<id::Project>) -> Result<()> {
    queries::set_usual(tx, id)
}

fn create(app: &App, tx: &Tx, name: &str, notes: &str, by: Allowed<Edit, Settings>) -> Result<Id<id::Project>> {
    let id = queries::insert(tx, name, notes, clock::now())?;
    note(app, tx, by, "project.create", (id, name), &Snapshot::none())?;
    Ok(id)
}

fn update(app: &App, tx: &Tx, id: Id<id::Project>, name: &str, notes: &str, by: Allowed<Edit, Settings>) -> Result<()> {
    let before = Snapshot::of(tx, "projects", id.get())?;
    queries::update(tx, id, name, notes, clock::now())?;
    note(app, tx, by, "project.update", (id, name), &before)
}

/// Deletes a project that is empty and not the usual one.
fn delete(app: &App, tx: &Tx, id: Id<id::Project>, by: Allowed<Edit, Settings>) -> Result<()> {
    let project = get(tx, id)?;
    if project.usual {
        let say = "New things belong to this project. Choose another default project first.";
        return Err(Error::new(Kind::Conflict, "project_usual", say));
    }
    let count: i64 = queries::counts(tx, id)?.values().sum();
    if count > 0 {
        let say = format!("{count} things belong to this project. Move them to another one first.");
        return Err(Error::new(Kind::Conflict, "project_used", say));
    }
    if let Some(login) = queries::bound(tx, id)? {
        let say = format!("The account {login} sees this project. Give it another one first.");
        return Err(Error::new(Kind::Conflict, "project_used", say));
    }
    let before = Snapshot::of(tx, "projects", id.get())?;
    queries::remove(tx, id)?;
    note(app, tx, by, "project.delete", (id, &project.name), &before)
}

/// Moves things into a project: ids by kind. Error: a thing that is not there.
fn take(
    app: &App,
    tx: &Tx,
    id: Id<id::Project>,
    things: &BTreeMap<&'static str, Vec<i64>>,
    by: Allowed<Edit, Settings>,
) -> Result<()> {
    let project = get(tx, id)?;
    for (kind, ids) in things {
        for thing in ids {
            if !queries::put(tx, id, kind, *thing)? {
                return Err(Error::not_found(kind));
            }
        }
    }
    let data = serde_json::json!({ "name": project.name, "things": things });
    audit::append(
        tx,
        &app.vault,
        by,
        "project.take",
        &format!("project {id} {}", project.name),
        &data,
    )
}

fn note(
    app: &App,
    tx: &Tx,
    by: Allowed<Edit, Settings>,
    what: &str,
    (id, name): (Id<id::Project>, &str),
    before: &Snapshot,
) -> Result<()> {
    let after = Snapshot::of(tx, "projects", id.get())?;
    let (object, data) = (format!("project {id} {name}"), serde_json::json!({ "name": name }));
    audit::change(tx, &app.vault, by, what, &object, &data, [before, &after])
}
