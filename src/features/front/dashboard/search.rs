//! One field that finds everything with a name, of every feature that says how its things are found. The palette asks the
//! API while somebody types; without script the same field leads to a page.

use crate::access::Place;
use crate::access::right::{Dashboard, Read, may};
use crate::base::error::Result;
use crate::base::shape::described;
use crate::base::text;
use crate::feature::{Feature, Hit, Source};
use crate::form::param::{self, Param};
use crate::http::page;
use crate::http::reply::Reply;
use crate::http::request::Method::Get;
use crate::http::route::{Ctx, Route, route};
use serde_json::json;
use std::collections::BTreeMap;

/// Routes of this feature.
pub const ROUTES: &[Route] = &[route(Get, "/api/search", may(Read, Dashboard), search)
    .query(QUESTION)
    .gives::<FoundView>()];

/// What a search may be asked.
pub const QUESTION: &[Param] = &[param::text(
    "q",
    4_096,
    "Part of a name, host or note; or a task's number.",
)];

/// Of each kind; how many more there are is told.
const EACH_MAX: i64 = 8;
/// Longer than any name.
const Q_MAX: usize = 253;

described! {
    struct HitView {
        /// As in the menu: `servers`, `domains`, …
        kind: &'static str,
        name: String,
        /// What tells it from others of the name.
        detail: String,
        /// Its page.
        href: String,
    }

    /// What fits: the first of each kind, and how many there are of those kinds that have more.
    struct FoundView {
        items: Vec<HitView>,
        /// All that fit, shown or not.
        total: i64,
        /// By kind, where not all are among the items: all of them.
        more: BTreeMap<&'static str, i64>,
    }
}

/// What was found of one kind.
struct Found {
    source: &'static Source,
    hits: Vec<Hit>,
    /// All that fit, shown or not.
    total: i64,
}

fn find(ctx: &Ctx) -> Result<(String, Vec<Found>)> {
    let q = text::cut(ctx.param("q").trim(), Q_MAX).to_string();
    let mut found = Vec::new();
    if q.is_empty() {
        return Ok((q, found));
    }
    let features = ctx.app.registry.all::<Feature>();
    let mut sources: Vec<_> = features.iter().flat_map(|f| f.search).collect();
    sources.sort_by_key(|source| source.place);
    let actor = ctx.actor()?;
    for source in sources
        .into_iter()
        .filter(|source| actor.has(source.right, &Place::Granted))
    {
        let (hits, total) = (source.find)(ctx, &q, EACH_MAX)?;
        found.push(Found { source, hits, total });
    }
    Ok((q, found))
}

/// Everything whose name (or host, or notes) has `?q=` in it, at most eight of a kind; `total` counts all, `more` those of
/// the kinds that are cut. A number finds its task.
fn search(ctx: &Ctx) -> Result<Reply> {
    let (_, found) = find(ctx)?;
    let total = found.iter().map(|of| of.total).sum();
    let cut = found.iter().filter(|of| of.total > EACH_MAX);
    let more = cut.map(|of| (of.source.kind, of.total)).collect();
    let view = |kind, hit: Hit| HitView {
        kind,
        name: hit.name,
        detail: hit.detail,
        href: hit.href,
    };
    let items = found
        .into_iter()
        .flat_map(|of| of.hits.into_iter().map(move |hit| view(of.source.kind, hit)));
    let items = items.collect();
    Reply::json(&FoundView { items, total, more })
}

/// The same as a page.
pub fn show(ctx: &Ctx) -> Result<Reply> {
    let (q, found) = find(ctx)?;
    let parts = found.iter().filter(|of| !of.hits.is_empty()).map(|of| {
        json!({
            "kind": of.source.kind,
            "hits": of.hits.iter().map(|h| json!({ "name": h.name, "detail": h.detail, "href": h.href })).collect::<Vec<_>>(),
            "of": (of.total > EACH_MAX).then_some(of.total),
            "all": of.source.list,
        })
    });
    let parts: Vec<_> = parts.collect();
    page::show(ctx, "dashboard/search.html", json!({ "q": q, "parts": parts }))
}
