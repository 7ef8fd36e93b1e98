//! The table of domains.

use super::why::{Named, Why, days, named, wanted, why};
use crate::base::error::{Kind, Result};
use crate::db::Conn;
use crate::features::fleet::{groups, servers};
use crate::features::proxy::domains::{self, Domain, Filter, api};
use crate::features::proxy::upstreams;
use crate::http::page::{self, query};
use crate::http::reply::Reply;
use crate::http::route::Ctx;
use serde::Serialize;
use std::collections::HashMap;

/// A row of the table.
#[derive(Serialize)]
pub struct Row {
    id: i64,
    name: String,
    /// The stored form of the name, if different.
    ascii: Option<String>,
    why: Why,
    servers: Vec<Named>,
    upstream: Option<Named>,
    group: Option<Named>,
    ssl: bool,
    /// Days until the certificate expires.
    days: Option<i64>,
    cert_state: &'static str,
    ns_state: &'static str,
}

pub fn row(d: &Domain) -> Row {
    let name = d.name();
    Row {
        id: d.id.get(),
        ascii: (name != d.fields.domain.ascii()).then(|| d.fields.domain.ascii().to_string()),
        name,
        why: why(d),
        servers: wanted(d)
            .map(|s| Named {
                id: s.server.get(),
                name: s.server_name.clone(),
            })
            .collect(),
        upstream: named(d.fields.upstream_id, &d.upstream),
        group: named(d.fields.group_id, &d.group),
        ssl: d.fields.ssl,
        days: days(d),
        cert_state: d.cert_state,
        ns_state: d.ns_state,
    }
}

/// Domains per page.
const PAGE: usize = 200;

/// Lamp names, those needing attention first.
const LAMPS: [&str; 4] = ["dark", "flick", "unlit", "lit"];

/// A filter of the list, with a link that removes it.
#[derive(Serialize)]
struct Narrowed {
    /// Id of the text.
    by: &'static str,
    name: String,
    without: String,
}

#[derive(Serialize)]
struct List<'a> {
    q: &'a str,
    state: &'a str,
    sort: &'a str,
    /// Query for the API.
    query: String,
    /// Parts of the query that the search form keeps.
    kept: Vec<(&'static str, String)>,
    counts: HashMap<&'static str, usize>,
    facets: HashMap<&'static str, String>,
    sorts: HashMap<&'static str, String>,
    narrowed: Vec<Narrowed>,
    rows: Vec<Row>,
    /// There are no domains.
    none: bool,
    total: usize,
    first: usize,
    last: usize,
    prev: Option<String>,
    next: Option<String>,
}

pub fn list(ctx: &Ctx) -> Result<Reply> {
    let word = |name: &str| ctx.request.param(name).unwrap_or_default();
    let filter = api::filter(ctx)?;
    let (q, state, sort) = (word("q"), filter.state, word("sort"));
    let offset = ctx.number("offset")? as usize;
    let (mut all, narrowed) = ctx.app.db.read(|conn| {
        let every_state = Filter { state: "", ..filter };
        Ok((domains::list(conn, &every_state)?.0, narrowed(ctx, conn)?))
    })?;
    let mut counts: HashMap<_, _> = LAMPS.into_iter().map(|lamp| (lamp, 0)).collect();
    for domain in &all {
        *counts.entry(domain.reason.lamp).or_default() += 1;
    }
    counts.insert("all", all.len());
    if sort.is_empty() {
        // Those needing attention first; the sort is stable, so names stay in order.
        all.sort_by_key(|d| LAMPS.iter().position(|lamp| *lamp == d.reason.lamp));
    }
    let found: Vec<_> = all
        .iter()
        .filter(|d| state.is_empty() || d.reason.lamp == state)
        .collect();
    let shown = found.get(offset..).unwrap_or_default();
    let shown = &shown[..shown.len().min(PAGE)];
    let at = |offset: usize| {
        asked(
            ctx,
            &[("offset", &if offset == 0 { String::new() } else { offset.to_string() })],
        )
    };
    let mut facets: HashMap<_, _> = LAMPS
        .into_iter()
        .map(|lamp| (lamp, asked(ctx, &[("state", lamp), ("offset", "")])))
        .collect();
    facets.insert("all", asked(ctx, &[("state", ""), ("offset", "")]));
    let sorts = [("domain", "-domain"), ("expiry", "-expiry")];
    let sorts = sorts.map(|(up, down)| {
        (
            up,
            asked(ctx, &[("sort", if sort == up { down } else { up }), ("offset", "")]),
        )
    });
    let kept = ["state", "sort", "group_id", "server_id", "upstream_id", "ssl"];
    let content = List {
        q,
        state,
        sort,
        query: asked(ctx, &[("offset", "")]),
        kept: kept
            .into_iter()
            .map(|name| (name, word(name).to_string()))
            .filter(|(_, value)| !value.is_empty())
            .collect(),
        none: all.is_empty() && q.is_empty() && narrowed.is_empty(),
        counts,
        facets,
        sorts: sorts.into(),
        narrowed,
        rows: shown.iter().map(|d| row(d)).collect(),
        total: found.len(),
        first: offset + 1,
        last: offset + shown.len(),
        prev: (offset > 0).then(|| at(offset.saturating_sub(PAGE))),
        next: (offset + PAGE < found.len()).then(|| at(offset + PAGE)),
    };
    page::show(ctx, "domains/list.html", content)
}

/// Names of query parameters.
const ASKED: [&str; 8] = [
    "q",
    "state",
    "sort",
    "group_id",
    "server_id",
    "upstream_id",
    "ssl",
    "offset",
];

/// The query with some parts changed.
fn asked(ctx: &Ctx, otherwise: &[(&str, &str)]) -> String {
    let value = |name: &str| {
        let other = otherwise.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
        other.unwrap_or_else(|| ctx.request.param(name).unwrap_or_default())
    };
    query(&ASKED.map(|name| (name, value(name))))
}

/// The filters by group, server, upstream and encryption.
fn narrowed(ctx: &Ctx, conn: &Conn) -> Result<Vec<Narrowed>> {
    let filter = api::filter(ctx)?;
    let mut out = Vec::new();
    let mut add = |by: &'static str, name: Result<String>| -> Result<()> {
        let name = match name {
            // An outdated link: nothing is found, and the filter names the reason.
            Err(e) if e.kind == Kind::NotFound => "?".into(),
            name => name?,
        };
        let without = asked(ctx, &[(by, ""), ("offset", "")]);
        out.push(Narrowed { by, name, without });
        Ok(())
    };
    if let Some(id) = filter.group {
        add("group_id", groups::get(conn, id).map(|g| g.fields.name))?;
    }
    if let Some(id) = filter.server {
        add("server_id", servers::get(conn, id).map(|s| s.fields.name))?;
    }
    if let Some(id) = filter.upstream {
        add("upstream_id", upstreams::get(conn, id).map(|u| u.fields.name))?;
    }
    if let Some(ssl) = filter.ssl {
        add("ssl", Ok(ssl.to_string()))?;
    }
    Ok(out)
}
