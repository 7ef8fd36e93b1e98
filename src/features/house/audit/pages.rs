//! The audit as a page: a search, filters, and rows that open into what stood before and after.

use super::api;
use super::view::{object, stored};
use crate::access::right::{Audit, Read, may};
use crate::audit::{self, Row};
use crate::base::clock::{self, Ms};
use crate::base::error::Result;
use crate::base::zone::Zone;
use crate::http::page::{self, query};
use crate::http::reply::Reply;
use crate::http::request::Method::Get;
use crate::http::route::{Ctx, Route, route};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// See [`Route`].
pub const ROUTES: &[Route] = &[route(Get, "/audit", may(Read, Audit), list).query(api::LIST)];

/// Rows of a page.
const ROWS: usize = 50;

/// The filters, by the names of their parameters.
const FILTERS: [&str; 7] = ["q", "actor", "action", "object", "ip", "since", "until"];

#[derive(Serialize)]
struct Content<'a> {
    rows: Vec<Shown>,
    /// What is asked for, by parameter; times as they were typed.
    asked: BTreeMap<&'static str, &'a str>,
    is_narrowed: bool,
    actors: Vec<String>,
    actions: Vec<String>,
    objects: Vec<String>,
    /// The same filters, for the files.
    csv: String,
    json: String,
    first: Option<String>,
    next: Option<String>,
}

#[derive(Serialize)]
struct Shown {
    id: i64,
    at: Ms,
    actor: String,
    via: String,
    ip: String,
    action: String,
    object: String,
    /// The page of what it is about.
    href: Option<String>,
    differences: Vec<Difference>,
    /// What else is known, by name.
    detail: Vec<(String, String)>,
    request_id: String,
    client_request_id: String,
}

/// One thing before and after; `None`: it was not there.
#[derive(Serialize)]
struct Difference {
    name: String,
    before: Option<String>,
    after: Option<String>,
}

/// Values as people read them.
fn told(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(all) if all.iter().all(|v| v.is_string() || v.is_number()) => {
            all.iter().map(told).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

fn pairs(json: &str) -> Vec<(String, Value)> {
    match stored(json) {
        Value::Object(all) => all.into_iter().collect(),
        Value::String(text) if !text.is_empty() => vec![(String::new(), text.into())],
        _ => Vec::new(),
    }
}

fn differences(before: &str, after: &str) -> Vec<Difference> {
    let (before, after) = (pairs(before), pairs(after));
    let names: BTreeSet<&String> = before.iter().chain(&after).map(|(name, _)| name).collect();
    let of = |all: &[(String, Value)], name: &str| all.iter().find(|(n, _)| n == name).map(|(_, value)| told(value));
    let difference = |name: &String| Difference {
        name: name.clone(),
        before: of(&before, name),
        after: of(&after, name),
    };
    names.into_iter().map(difference).collect()
}

fn shown(row: Row) -> Shown {
    let (kind, id, called) = object(&row.object);
    let differences = differences(&row.before, &row.after);
    // What stands among the differences or in the heading is not told twice.
    let detail = pairs(&row.detail).into_iter().filter(|(name, value)| {
        let told = told(value);
        let is_heading = name == "name" && told == called;
        !is_heading
            && !differences
                .iter()
                .any(|d| &d.name == name && d.after.as_ref() == Some(&told))
    });
    Shown {
        id: row.seq,
        at: row.at,
        href: id.and_then(|id| page::place((kind, id))),
        object: match (id, called) {
            (Some(id), "") => id.to_string(),
            (_, called) => called.to_string(),
        },
        detail: detail.map(|(name, value)| (name, told(&value))).collect(),
        differences,
        actor: row.actor,
        via: row.via,
        ip: row.ip,
        action: row.action,
        request_id: row.request_id,
        client_request_id: row.client_request_id,
    }
}

/// A time of the viewer's own clocks; with a `Z` it is UTC. A day is its beginning.
fn typed(zone: &Zone, text: &str) -> Option<Ms> {
    if text.ends_with('Z') {
        return clock::parse_utc(text);
    }
    let local = clock::parse_utc(text).or_else(|| clock::parse_utc(&format!("{text}T00:00")))?;
    Some(zone.instants(local).first())
}

fn list(ctx: &Ctx) -> Result<Reply> {
    let zone = page::locale(ctx)?.zone;
    let (filter, from) = (api::filter(ctx, |text| typed(&zone, text))?, api::cursor(ctx)?);
    let (page, actors, actions, objects) = ctx.app.db.read(|conn| {
        let page = audit::page(conn, &filter, from, ROWS)?;
        let choices = (audit::actors(conn)?, audit::actions(conn)?, audit::object_kinds(conn)?);
        Ok((page, choices.0, choices.1, choices.2))
    })?;
    let asked: Vec<_> = FILTERS.iter().map(|name| (*name, ctx.param(name).trim())).collect();
    // The files take times in UTC.
    let (since, until) = (filter.since.map(clock::rfc3339), filter.until.map(clock::rfc3339));
    let file = |format: &str| {
        let mut with: Vec<(&str, &str)> = vec![("format", format)];
        with.extend(asked.iter().map(|(name, value)| match *name {
            "since" => ("since", since.as_deref().unwrap_or_default()),
            "until" => ("until", until.as_deref().unwrap_or_default()),
            name => (name, *value),
        }));
        format!("/api/audit/export{}", query(&with))
    };
    let at = |cursor: &str| {
        let mut with = asked.clone();
        with.push(("cursor", cursor));
        query(&with)
    };
    let content = Content {
        csv: file("csv"),
        json: file("json"),
        first: from.map(|_| at("")),
        next: page.next.map(|next| at(&next.to_string())),
        rows: page.rows.into_iter().map(shown).collect(),
        is_narrowed: asked.iter().any(|(_, value)| !value.is_empty()),
        asked: asked.iter().copied().collect(),
        actors,
        actions,
        objects,
    };
    page::show(ctx, "audit/list.html", content)
}
