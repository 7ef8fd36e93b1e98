//! The public page of how things are: chosen ones under names of one's own, with their last 90 days, and what people say
//! about incidents. It is off until somebody turns it on, needs no sign-in, and shows nothing else of the inside.

mod settings;
mod queries;
mod api;
mod pages;

use crate::access::Allowed;
use crate::access::right::{Edit, Read, Settings, may};
use crate::app::App;
use crate::audit;
use crate::availability;
use crate::base::clock::{self, DAY, Ms};
use crate::base::error::{Error, Kind, Result};
use crate::db::{Conn, Tx};
use crate::feature::Feature;
use crate::http::menu::Action;
use crate::kinds;
use serde_json::json;

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    pages: pages::ROUTES,
    actions: &[Action {
        word: "status.edit",
        icon: "globe",
        path: "/status-page",
        right: may(Read, Settings),
    }],
    settings: settings::SETTINGS,
    ..Feature::named("status")
};

/// Most things on the page.
const THINGS_MAX: i64 = 200;
/// Most words about one incident.
const UPDATES_MAX: i64 = 100;
/// Incidents that are over are shown for so long.
const SHOWN: Ms = 90 * DAY;
/// Most incidents on the page.
const INCIDENTS_MAX: i64 = 50;

/// A thing on the page.
#[derive(Debug, Clone)]
pub struct Thing {
    /// As in [`availability::Subject`].
    pub kind: String,
    /// Its number.
    pub id: i64,
    /// As the public calls it.
    pub name: String,
    /// Under which heading it stands; may be empty.
    pub section: String,
    /// Place among the others, smaller first.
    pub position: i64,
}

/// An incident, as people tell it.
#[derive(Debug, Clone)]
pub struct Incident {
    /// Its number.
    pub id: i64,
    /// What it is.
    pub title: String,
    /// Unix ms.
    pub began_at: Ms,
    /// Unix ms.
    pub resolved_at: Option<Ms>,
    /// What was said, newest first: when and what.
    pub updates: Vec<(Ms, String)>,
}

fn incident(conn: &Conn, id: i64) -> Result<Incident> {
    queries::incident(conn, id)?.ok_or_else(|| Error::not_found("incident"))
}

fn full(what: &str) -> Error {
    Error::new(
        Kind::Conflict,
        "status_full",
        format!("There are as many {what} as may be."),
    )
}

/// Puts a thing on the page, or changes how it stands there. Error `NotFound`: there is no such thing.
fn put(app: &App, tx: &Tx, thing: &Thing, by: Allowed<Edit, Settings>) -> Result<()> {
    let kind = kinds::target_kind(&thing.kind).filter(|kind| availability::KINDS.contains(&kind.name));
    let found = kind.map(|kind| (kind.name_of)(tx, thing.id)).transpose()?.flatten();
    let name = found.ok_or_else(|| Error::not_found("thing"))?;
    queries::put(tx, thing)?;
    if queries::count(tx)? > THINGS_MAX {
        return Err(full("things on the page"));
    }
    let data = json!({ "name": thing.name, "section": thing.section, "position": thing.position });
    let object = format!("{} {} {name}", thing.kind, thing.id);
    audit::append(tx, &app.vault, by, "status.thing", &object, &data)
}

/// Takes a thing off the page.
fn take_off(app: &App, tx: &Tx, (kind, id): (&str, i64), by: Allowed<Edit, Settings>) -> Result<()> {
    if !queries::remove(tx, kind, id)? {
        return Err(Error::not_found("thing"));
    }
    audit::append(
        tx,
        &app.vault,
        by,
        "status.thing_off",
        &format!("{kind} {id}"),
        &json!({}),
    )
}

/// Begins an incident; returns its number.
fn begin(app: &App, tx: &Tx, title: &str, said: &str, by: Allowed<Edit, Settings>) -> Result<i64> {
    let now = clock::now();
    let id = queries::begin(tx, title, now)?;
    queries::say(tx, id, now, said)?;
    note(app, tx, "status.incident", (id, title), said, by)?;
    Ok(id)
}

/// Says something about an incident, or that it is over.
fn say(app: &App, tx: &Tx, id: i64, said: &str, resolved: bool, by: Allowed<Edit, Settings>) -> Result<()> {
    let (known, now) = (incident(tx, id)?, clock::now());
    if queries::say(tx, id, now, said)? > UPDATES_MAX {
        return Err(full("words about this incident"));
    }
    let end = resolved.then(|| known.resolved_at.unwrap_or(now));
    queries::resolve(tx, id, end)?;
    let what = if resolved { "status.resolved" } else { "status.update" };
    note(app, tx, what, (id, &known.title), said, by)
}

/// Removes an incident with all that was said.
fn forget(app: &App, tx: &Tx, id: i64, by: Allowed<Edit, Settings>) -> Result<()> {
    let known = incident(tx, id)?;
    queries::forget(tx, id)?;
    note(app, tx, "status.incident_off", (id, &known.title), "", by)
}

fn note(
    app: &App,
    tx: &Tx,
    what: &str,
    (id, title): (i64, &str),
    said: &str,
    by: Allowed<Edit, Settings>,
) -> Result<()> {
    let data = json!({ "title": title, "text": said });
    audit::append(tx, &app.vault, by, what, &format!("incident {id}"), &data)
}
