//! Groups of domains, for lists and bulk work, and of hosts, whose members are said or found by a rule ([`crate::rule`]).
//! Deleting a group deletes nothing that was in it.

mod events;
mod model;
mod queries;
mod members;
mod section;
mod api;
mod pages;

use crate::access::Allowed;
use crate::access::right;
use crate::access::right::{Edit, Groups};
use crate::app::App;
use crate::audit::{self, Snapshot};
use crate::base::clock::{self, Ms};
use crate::base::error::{Error, Kind, Result};
use crate::base::id::{self, Id};
use crate::base::shape::described;
use crate::db::{Conn, Tx};
use crate::events::outbox;
use crate::feature::Feature;
use crate::feature::{Hit, Source};
use crate::http::menu::Entry;
use crate::kinds::{Related, TargetKind};
use model::Valid;

pub use model::Fields;
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
    targets: &[TARGET],
    periodic: members::PERIODIC,
    react: Some(members::react),
    ..Feature::named("groups")
};

const TARGET: TargetKind = TargetKind {
    name: "group",
    page: "/groups/",
    name_of: |conn, id| Ok(queries::get(conn, Id::new(id))?.map(|group| group.fields.name)),
    named: |conn, name| {
        let same = |g: &Group| g.fields.name.to_lowercase() == name.to_lowercase();
        Ok(all(conn)?.into_iter().find(same).map(|g| g.id.get()))
    },
    related: |_, id| Ok(vec![Related::to(TARGET.name, id)]),
};

const MENU: &[Entry] = &[Entry {
    path: "/groups",
    word: "groups",
    icon: "group",
    keys: "g g",
    right: right::may(right::Read, right::Groups),
    place: (2, 3),
    ..Entry::NEW
}];

const SEARCH: &[Source] = &[Source {
    kind: "groups",
    place: 4,
    right: right::may(right::Read, right::Groups),
    list: None,
    find: |ctx, q, limit| {
        let filter = Filter {
            kind: "",
            q,
            limit,
            offset: 0,
        };
        let (rows, all) = ctx.app.db.read(|conn| list(conn, &filter))?;
        let hit = |g: Group| Hit {
            name: g.fields.name,
            detail: g.fields.notes,
            href: match g.fields.kind {
                "host" => format!("/groups/{}", g.id),
                _ => format!("/groups#g{}", g.id),
            },
        };
        Ok((rows.into_iter().map(hit).collect(), all))
    },
}];

/// A group's row.
#[derive(Debug, Clone)]
pub struct Group {
    /// Id.
    pub id: Id<id::Group>,
    /// What a person set.
    pub fields: Fields,
    /// Number of members.
    pub counts: Counts,
    /// Revision, incremented with every change.
    pub revision: i64,
    /// Unix ms.
    pub created_at: Ms,
    /// Unix ms.
    pub updated_at: Ms,
}

described! {
    /// Members of a group.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
    pub struct Counts {
        /// Number of domains.
        pub domains: i64,
        /// With TLS.
        pub tls: i64,
        /// Without TLS.
        pub plain: i64,
        /// With a certificate, name server or site that needs attention.
        pub failing: i64,
        /// Number of servers.
        pub hosts: i64,
    }
}

/// One group. Error `NotFound`.
pub fn get(conn: &Conn, id: Id<id::Group>) -> Result<Group> {
    queries::get(conn, id)?.ok_or_else(|| Error::not_found("group"))
}

/// A page of groups and their total.
pub fn list(conn: &Conn, filter: &Filter) -> Result<(Vec<Group>, i64)> {
    queries::list(conn, filter)
}

/// Every group by name.
pub fn all(conn: &Conn) -> Result<Vec<Group>> {
    let filter = Filter {
        limit: i64::MAX,
        ..Filter::default()
    };
    Ok(list(conn, &filter)?.0)
}

/// Every group of hosts with the ids of its servers.
pub fn members_by_name(conn: &Conn) -> Result<Vec<(String, Vec<i64>)>> {
    let of_hosts = all(conn)?.into_iter().filter(|group| group.fields.kind == "host");
    of_hosts
        .map(|group| Ok((group.fields.name, queries::members(conn, group.id)?)))
        .collect()
}

/// Every group of domains by name.
pub fn of_domains(conn: &Conn) -> Result<Vec<Group>> {
    let filter = Filter {
        kind: "domain",
        limit: i64::MAX,
        ..Filter::default()
    };
    Ok(list(conn, &filter)?.0)
}

/// Adds a group. Error: duplicate name.
pub fn create(app: &App, tx: &Tx, valid: &Valid, by: Allowed<Edit, Groups>) -> Result<Id<id::Group>> {
    let id = queries::insert(tx, &valid.fields, clock::now())?;
    by.keep(tx, ("group", id.get()))?;
    if valid.rule.is_some() || !valid.fields.members.is_empty() {
        store_members(app, tx, id, valid, by)?;
    }
    let (what, name) = (("group.create", "group.created"), &*valid.fields.name);
    note(app, tx, by, what, (id, name), &Snapshot::none())?;
    Ok(id)
}

/// Changes a group if it is still as it was when `valid` was read over `old`. Error `Conflict` otherwise.
pub fn update(app: &App, tx: &Tx, old: &Group, valid: &Valid, by: Allowed<Edit, Groups>) -> Result<()> {
    if get(tx, old.id)?.revision != old.revision {
        let say = "This group was changed meanwhile. Load it again and repeat your change.";
        return Err(Error::new(Kind::Conflict, "group_changed", say));
    }
    let before = snapshot(tx, old.id)?;
    queries::update(tx, old.id, &valid.fields, clock::now())?;
    if (&valid.fields.rule, &valid.fields.members) != (&old.fields.rule, &old.fields.members) {
        store_members(app, tx, old.id, valid, by)?;
    }
    let (what, name) = (("group.update", "group.changed"), &*valid.fields.name);
    note(app, tx, by, what, (old.id, name), &before)
}

/// Whoever says which servers are in a group, or asks for it by a rule, may also read them all.
fn store_members(app: &App, tx: &Tx, id: Id<id::Group>, valid: &Valid, by: Allowed<Edit, Groups>) -> Result<()> {
    by.also(right::Read, right::Servers)?;
    members::store(app, tx, id, valid.rule.as_ref(), &valid.fields.members).map(drop)
}

/// Deletes a group. Returns the number of domains that were in it.
pub fn delete(app: &App, tx: &Tx, id: Id<id::Group>, by: Allowed<Edit, Groups>) -> Result<i64> {
    let group = get(tx, id)?;
    let before = snapshot(tx, id)?;
    queries::remove(tx, id)?;
    let (what, name) = (("group.delete", "group.deleted"), &*group.fields.name);
    note(app, tx, by, what, (id, name), &before)?;
    Ok(group.counts.domains)
}

fn snapshot(conn: &Conn, id: Id<id::Group>) -> Result<Snapshot> {
    Snapshot::of(conn, "groups", id.get())
}

fn note(
    app: &App,
    tx: &Tx,
    by: Allowed<Edit, Groups>,
    what: (&str, &str),
    (id, name): (Id<id::Group>, &str),
    before: &Snapshot,
) -> Result<()> {
    let (data, after) = (serde_json::json!({ "name": name }), snapshot(tx, id)?);
    let object = format!("group {id} {name}");
    audit::change(tx, &app.vault, by, what.0, &object, &data, [before, &after])?;
    outbox::emit(tx, &app.wakes.events, what.1, ("group", id.get()), &data)
}
