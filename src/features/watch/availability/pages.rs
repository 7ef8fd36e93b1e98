//! Pages: all things with their last 90 days, one thing with its incidents, and the card on each one's own page.

use super::api::{self, KIND, Named, PERIODS, Reading};
use crate::access::right::{Events, Read, may};
use crate::availability::{self, Weighed};
use crate::base::clock::{DAY, Ms};
use crate::base::error::{Error, Result};
use crate::http::page::{self, query};
use crate::http::reply::Reply;
use crate::http::request::Method::Get;
use crate::http::route::{Ctx, Route, TargetPanel, route};
use serde::Serialize;
use serde_json::Value;

/// Page routes.
pub const ROUTES: &[Route] = &[
    route(Get, "/availability", may(Read, Events), list).query(&[KIND]),
    route(Get, "/availability/{kind}/{id}", may(Read, Events), show),
];

/// Days of the bars.
const DAYS: usize = 90;
/// Incidents on a page.
const INCIDENTS_MAX: usize = 200;

/// See [`TargetPanel`]; shown by `availability/_card.html`.
pub const PANELS: &[TargetPanel] = &[TargetPanel {
    slot: "availability",
    data: |ctx, (kind, id)| {
        if !availability::KINDS.contains(&kind) {
            return Ok(Value::Null);
        }
        let found = ctx.app.db.read(|conn| api::read(conn, kind, Some(id), DAYS as i64))?;
        let rows = found.all.first().map(|one| row(&found, one));
        serde_json::to_value(rows).map_err(Error::internal)
    },
}];

#[derive(Serialize)]
struct Row {
    kind: String,
    id: i64,
    name: String,
    href: Option<String>,
    state: &'static str,
    since: Ms,
    shares: Vec<Share>,
    /// See [`availability::bar`].
    bar: Vec<(&'static str, String)>,
}

#[derive(Serialize)]
struct Share {
    days: i64,
    share: Option<f64>,
    down: Ms,
    unknown: Ms,
    off: Ms,
    incidents: usize,
    mttr: Option<Ms>,
}

impl Share {
    fn of(days: i64, w: &Weighed) -> Share {
        Share {
            days,
            share: w.share(),
            down: w.down,
            unknown: w.unknown,
            off: w.off,
            incidents: w.incidents,
            mttr: w.mttr(),
        }
    }
}

fn row(found: &Reading, one: &Named) -> Row {
    let (state, since) = api::state(&one.subject);
    let days = availability::days(&one.subject.stretches, &found.off, DAYS, found.now);
    Row {
        kind: one.subject.kind.clone(),
        id: one.subject.id,
        name: one.name.clone(),
        href: page::place((&one.subject.kind, one.subject.id)),
        state: state.name(),
        since,
        shares: PERIODS
            .iter()
            .map(|days| Share::of(*days, &found.weigh(one, *days)))
            .collect(),
        bar: availability::bar(&days),
    }
}

#[derive(Serialize)]
struct List {
    query: String,
    facets: Vec<(&'static str, bool, String, usize)>,
    rows: Vec<Row>,
    total: usize,
}

fn list(ctx: &Ctx) -> Result<Reply> {
    let kind = ctx.choice(KIND.name)?;
    let found = ctx.app.db.read(|conn| api::read(conn, "", None, DAYS as i64))?;
    let of = |kind: &'static str| {
        let all = found.all.iter();
        all.filter(move |one| kind.is_empty() || one.subject.kind == kind)
    };
    let facet = |name: &'static str| (name, name == kind, query(&[("kind", name)]), of(name).count());
    let content = List {
        query: query(&[("kind", kind)]),
        facets: [""]
            .into_iter()
            .chain(availability::KINDS.iter().copied())
            .map(facet)
            .collect(),
        rows: of(kind).map(|one| row(&found, one)).collect(),
        total: found.all.len(),
    };
    page::show(ctx, "availability/list.html", content)
}

#[derive(Serialize)]
struct Show {
    a: Row,
    incidents: Vec<Incident>,
    /// More than are shown.
    more: usize,
}

#[derive(Serialize)]
struct Incident {
    since: Ms,
    until: Option<Ms>,
    length: Ms,
    cause: String,
}

fn show(ctx: &Ctx) -> Result<Reply> {
    let found = api::one(ctx, DAYS as i64)?;
    let one = found.all.first().ok_or_else(|| Error::not_found("thing"))?;
    let time = (found.now - DAYS as i64 * DAY, found.now);
    let all: Vec<_> = availability::incidents(&one.subject.stretches, time).collect();
    let incident = |s: &&availability::Stretch| Incident {
        since: s.since,
        until: s.until,
        length: s.until.unwrap_or(found.now) - s.since,
        cause: s.cause.clone(),
    };
    let content = Show {
        a: row(&found, one),
        incidents: all.iter().rev().take(INCIDENTS_MAX).map(incident).collect(),
        more: all.len().saturating_sub(INCIDENTS_MAX),
    };
    page::show(ctx, "availability/show.html", content)
}
