//! Search over all features that declare a source. The palette queries the API while typing; without script the same
//! field leads to a page.

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

/// Query parameters.
pub const QUESTION: &[Param] = &[param::text(
    "q",
    4_096,
    "Part of a name, host or note; or a task's number.",
)];

/// Maximum matches per kind; further ones are counted.
const EACH_MAX: i64 = 8;
/// Longest query.
const Q_MAX: usize = 253;

described! {
    struct HitView {
        /// As in the menu: `servers`, `domains`, …
        kind: &'static str,
        name: String,
        /// Detail that distinguishes equal names.
        detail: String,
        /// Its page.
        href: String,
    }

    /// Matches: the first of each kind, and totals.
    struct FoundView {
        items: Vec<HitView>,
        /// Total of all matches.
        total: i64,
        /// Totals of kinds that are cut.
        more: BTreeMap<&'static str, i64>,
    }
}

/// Matches of one kind.
struct Found {
    source: &'static Source,
    hits: Vec<Hit>,
    /// Total of this kind.
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

/// Objects whose name (or host, or notes) contains `?q=`, at most eight per kind; `total` counts all, `more` those of
/// the cut kinds. A number finds its task.
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
