//! The table of servers.

use super::known::{Known, Sample, Why, count, counts_by_lamp, known};
use crate::base::error::Result;
use crate::base::idn;
use crate::features::fleet::servers::{self, Alerts, settings};
use crate::http::page::{self, query};
use crate::http::reply::Reply;
use crate::http::route::Ctx;
use crate::http::view::{Markup, spark};
use serde::Serialize;
use std::collections::HashMap;

/// A row of the table.
#[derive(Serialize)]
struct Row<'a> {
    id: i64,
    name: &'a str,
    host: String,
    tags: &'a [String],
    why: &'a Why,
    sample: Option<&'a Sample>,
    /// Values with an open alert.
    open: Hot,
    spark: String,
}

/// Values to highlight.
#[derive(Serialize)]
struct Hot {
    cpu: bool,
    mem: bool,
    disk: bool,
}

impl Hot {
    fn of(alerts: &Alerts) -> Hot {
        let is_open = |kind: &str| alerts.kinds.split(' ').any(|open| open == kind);
        Hot {
            cpu: is_open("metric.cpu"),
            mem: is_open("metric.mem"),
            disk: is_open("metric.disk"),
        }
    }
}

#[derive(Serialize)]
struct List<'a> {
    q: &'a str,
    state: &'a str,
    tag: &'a str,
    /// Query for the API, for the page's script.
    query: String,
    counts: HashMap<&'static str, i64>,
    /// Number of all servers, unfiltered.
    fleet: i64,
    facets: HashMap<&'static str, String>,
    rows: Markup,
    total: usize,
    first: usize,
    last: usize,
    prev: Option<String>,
    next: Option<String>,
    /// Missed polls after which a server is down.
    misses: i64,
}

/// Servers per page.
const PAGE: usize = 200;

pub fn list(ctx: &Ctx) -> Result<Reply> {
    let word = |name: &str| ctx.request.param(name).unwrap_or_default();
    let (q, tag, state) = (word("q"), word("tag"), word("state"));
    let offset = ctx.number("offset")? as usize;
    let all = known(ctx, q, tag)?;
    let counts = count(&all);
    let is_asked = |k: &&Known| match state {
        "" => true,
        "silenced" => k.why.silenced.is_some(),
        lamp => k.why.lamp == lamp,
    };
    let found: Vec<_> = all.iter().filter(is_asked).collect();
    let shown = found.get(offset..).unwrap_or_default();
    let shown = &shown[..shown.len().min(PAGE)];
    let rows = shown.iter().map(|k| {
        let row = move || Row {
            id: k.server.id.get(),
            name: &k.server.fields.name,
            host: idn::unicode(&k.server.fields.host),
            tags: &k.server.fields.tags,
            why: &k.why,
            sample: k.sample.as_ref(),
            open: Hot::of(&k.server.alerts),
            spark: spark(k.spark.cpu().points().map(|v| v.map(f64::from))),
        };
        (k.server.id.get(), k.stamp(), row)
    });
    let rows = ctx.web.view.rows("servers/row.html", &page::locale(ctx)?, rows)?;
    let link = |state: &str, tag: &str, offset: usize| {
        let offset = if offset == 0 { String::new() } else { offset.to_string() };
        query(&[("q", q), ("state", state), ("tag", tag), ("offset", &offset)])
    };
    let mut facets: HashMap<_, _> = ["lit", "flick", "dark", "unlit", "silenced"]
        .into_iter()
        .map(|lamp| (lamp, link(lamp, tag, 0)))
        .collect();
    facets.insert("all", link("", tag, 0));
    facets.insert("untagged", link(state, "", 0));
    let (misses, fleet) = ctx.app.db.read(|conn| {
        let misses = settings::POLL_FAIL_THRESHOLD.number(conn)?;
        Ok((misses, servers::counts(conn)?.total))
    })?;
    let content = List {
        q,
        state,
        tag,
        query: query(&[("q", q), ("tag", tag), ("limit", "500")]),
        counts: counts_by_lamp(&counts),
        facets,
        rows,
        total: found.len(),
        first: offset + 1,
        last: offset + shown.len(),
        prev: (offset > 0).then(|| link(state, tag, offset.saturating_sub(PAGE))),
        next: (offset + PAGE < found.len()).then(|| link(state, tag, offset + PAGE)),
        misses,
        fleet,
    };
    page::show(ctx, "servers/list.html", content)
}
