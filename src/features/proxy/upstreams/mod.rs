//! Upstreams: one or more targets of requests. A change reaches servers with the next deploy of the domains that use
//! it; an upstream in use cannot be deleted.

mod events;
mod model;
mod queries;
mod section;
mod api;
mod pages;

use crate::access::Allowed;
use crate::access::right;
use crate::access::right::{Edit, Upstreams};
use crate::app::App;
use crate::audit::{self, Snapshot};
use crate::base::clock::{self, Ms};
use crate::base::error::{Error, Kind, Result};
use crate::base::id::{self, Id};
use crate::base::idn::DomainName;
use crate::base::text;
use crate::db::{Conn, Tx};
use crate::events::outbox;
use crate::feature::Feature;
use crate::feature::{Hit, Source};
use crate::http::menu::Entry;
use model::Valid;

pub use model::{Fields, Target};
pub use queries::{Filter, by_name};

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    pages: pages::ROUTES,
    sections: &[section::SECTION],
    kinds: events::KINDS,
    menu: MENU,
    search: SEARCH,
    ..Feature::named("upstreams")
};

const MENU: &[Entry] = &[Entry {
    path: "/upstreams",
    word: "upstreams",
    icon: "fork",
    keys: "g u",
    right: right::may(right::Read, right::Upstreams),
    place: (2, 2),
    ..Entry::NEW
}];

const SEARCH: &[Source] = &[Source {
    kind: "upstreams",
    place: 3,
    right: right::may(right::Read, right::Upstreams),
    list: Some("/upstreams"),
    find: |ctx, q, limit| {
        let filter = Filter {
            q,
            limit,
            ..Default::default()
        };
        let (rows, all) = ctx.app.db.read(|conn| list(conn, &filter))?;
        let hit = |u: Upstream| Hit {
            name: u.fields.name,
            detail: u.fields.notes,
            href: format!("/upstreams/{}", u.id),
        };
        Ok((rows.into_iter().map(hit).collect(), all))
    },
}];

/// An upstream's row.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Id.
    pub id: Id<id::Upstream>,
    /// What a person set.
    pub fields: Fields,
    /// Number of domains that use it.
    pub domains: i64,
    /// Revision, incremented with every change.
    pub revision: i64,
    /// Unix ms.
    pub created_at: Ms,
    /// Unix ms.
    pub updated_at: Ms,
}

/// One upstream. Error `NotFound`.
pub fn get(conn: &Conn, id: Id<id::Upstream>) -> Result<Upstream> {
    queries::get(conn, id)?.ok_or_else(|| Error::not_found("upstream"))
}

/// A page of upstreams and their total.
pub fn list(conn: &Conn, filter: &Filter) -> Result<(Vec<Upstream>, i64)> {
    queries::list(conn, filter)
}

/// Every upstream by name.
pub fn all(conn: &Conn) -> Result<Vec<Upstream>> {
    let filter = Filter {
        limit: i64::MAX,
        ..Filter::default()
    };
    Ok(list(conn, &filter)?.0)
}

/// Ids and display names of the domains that use an upstream.
pub fn used_by(conn: &Conn, id: Id<id::Upstream>) -> Result<Vec<(i64, String)>> {
    let shown = |(id, domain): (i64, String)| match DomainName::parse(&domain) {
        Ok(name) => (id, name.unicode()),
        Err(_) => (id, domain),
    };
    Ok(queries::used_by(conn, id)?.into_iter().map(shown).collect())
}

/// Adds an upstream.
pub fn create(app: &App, tx: &Tx, valid: &Valid, by: Allowed<Edit, Upstreams>) -> Result<Id<id::Upstream>> {
    let id = queries::insert(tx, &valid.fields, clock::now())?;
    note(
        app,
        tx,
        by,
        ("upstream.create", "upstream.created"),
        (id, &valid.fields.name),
        &Snapshot::none(),
    )?;
    Ok(id)
}

/// Changes an upstream if it is still as it was when `valid` was read over `old`. Error `Conflict` otherwise.
pub fn update(app: &App, tx: &Tx, old: &Upstream, valid: &Valid, by: Allowed<Edit, Upstreams>) -> Result<()> {
    if get(tx, old.id)?.revision != old.revision {
        let say = "This upstream was changed meanwhile. Load it again and repeat your change.";
        return Err(Error::new(Kind::Conflict, "upstream_changed", say));
    }
    let before = snapshot(tx, old.id)?;
    queries::update(tx, old.id, &valid.fields, clock::now())?;
    note(
        app,
        tx,
        by,
        ("upstream.update", "upstream.changed"),
        (old.id, &valid.fields.name),
        &before,
    )
}

/// Limit of names in an error text.
const NAMED: usize = 5;

/// Deletes an upstream. Error `Conflict` while a domain uses it.
pub fn delete(app: &App, tx: &Tx, id: Id<id::Upstream>, by: Allowed<Edit, Upstreams>) -> Result<()> {
    let upstream = get(tx, id)?;
    let users: Vec<String> = used_by(tx, id)?.into_iter().map(|(_, name)| name).collect();
    if !users.is_empty() {
        let named = text::first_of(&users, NAMED);
        let say = format!("This upstream is used by {named}. Give them another one first.");
        return Err(Error::new(Kind::Conflict, "upstream_used", say));
    }
    let before = snapshot(tx, id)?;
    queries::remove(tx, id)?;
    note(
        app,
        tx,
        by,
        ("upstream.delete", "upstream.deleted"),
        (id, &upstream.fields.name),
        &before,
    )
}

fn snapshot(conn: &Conn, id: Id<id::Upstream>) -> Result<Snapshot> {
    let upstream = queries::get(conn, id)?;
    let targets = upstream.map(|u| serde_json::to_value(u.fields.targets)).transpose();
    let targets = targets.map_err(Error::internal)?;
    Ok(Snapshot::of(conn, "upstreams", id.get())?.with("targets", targets))
}

fn note(
    app: &App,
    tx: &Tx,
    by: Allowed<Edit, Upstreams>,
    what: (&str, &str),
    (id, name): (Id<id::Upstream>, &str),
    before: &Snapshot,
) -> Result<()> {
    let (data, after) = (serde_json::json!({ "name": name }), snapshot(tx, id)?);
    let object = format!("upstream {id} {name}");
    audit::change(tx, &app.vault, by, what.0, &object, &data, [before, &after])?;
    outbox::emit(tx, &app.wakes.events, what.1, ("upstream", id.get()), &data)
}
