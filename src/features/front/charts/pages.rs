//! The page of chosen series.

use super::api::{self, Chosen, PERIOD, SERIES, SERIES_MAX};
use crate::access::right::{Dashboard, Read, may};
use crate::base::error::Result;
use crate::features::fleet::metrics;
use crate::form::param::{self, Param};
use crate::http::page::{self, query};
use crate::http::reply::Reply;
use crate::http::request::Method::Get;
use crate::http::route::{Ctx, Route, route};
use crate::series::{Kind, Unit, split};
use serde::Serialize;

/// Page routes.
pub const ROUTES: &[Route] = &[route(Get, "/charts", may(Read, Dashboard), show).query(QUERY)];

const SUBJECT: Param = param::text("subject", 60, "Whose series are to choose from: `service:3`.");
const QUERY: &[Param] = &[SERIES, PERIOD, SUBJECT];

/// Things to choose from, of each kind.
const SUBJECTS_MAX: usize = 500;

#[derive(Serialize)]
struct Content {
    period: &'static str,
    /// Path of the data, and what every link of the page carries on.
    query: String,
    charts: Vec<Chart>,
    kinds: Vec<Subjects>,
    /// Whose series are chosen from now; empty: nobody's yet.
    subject: String,
    subject_name: String,
    keys: Vec<String>,
    is_full: bool,
}

#[derive(Serialize)]
struct Chart {
    n: usize,
    text: String,
    kind: &'static str,
    name: String,
    href: Option<String>,
    key: String,
    unit: &'static str,
    /// The page without it.
    without: String,
}

#[derive(Serialize)]
struct Subjects {
    kind: &'static str,
    /// Number and name.
    all: Vec<(i64, String)>,
    more: usize,
}

/// As the page's script writes it.
fn unit(kind: &Kind, key: &str) -> &'static str {
    let (name, _) = split(key);
    match kind
        .keys
        .iter()
        .find(|known| known.name == name)
        .map(|known| known.unit)
    {
        Some(Unit::Percent) => "%",
        Some(Unit::BytesPerSecond) => "B/s",
        Some(Unit::Milliseconds) => "ms",
        Some(Unit::Seconds) => "s",
        Some(Unit::Bytes) => "B",
        Some(Unit::Load | Unit::Count) | None => "",
    }
}

fn path(chosen: &[Chosen], period: &str, without: Option<usize>) -> String {
    let left = chosen.iter().enumerate().filter(|(n, _)| Some(*n) != without);
    let pairs = left.map(|(_, one)| (SERIES.name, one.text()));
    query(&pairs.chain([(PERIOD.name, period.to_string())]).collect::<Vec<_>>())
}

fn show(ctx: &Ctx) -> Result<Reply> {
    let (period, window) = metrics::window(ctx)?;
    let chosen = api::chosen(ctx)?;
    let charts = chosen.iter().enumerate().map(|(n, one)| Chart {
        n,
        text: one.text(),
        kind: one.kind.name,
        name: one.name.clone(),
        href: page::place((one.kind.name, one.id)),
        key: one.key.clone(),
        unit: unit(one.kind, &one.key),
        without: path(&chosen, period, Some(n)),
    });
    let mut kinds = Vec::new();
    for kind in ctx.app.registry.all::<Kind>() {
        let mut all = ctx.app.db.read(kind.all)?;
        all.sort_by_cached_key(|(_, name)| name.to_lowercase());
        let more = all.len().saturating_sub(SUBJECTS_MAX);
        all.truncate(SUBJECTS_MAX);
        kinds.push(Subjects {
            kind: kind.name,
            all,
            more,
        });
    }
    let asked = ctx.param(SUBJECT.name).split_once(':');
    let asked = asked.and_then(|(kind, id)| Some((api::kind(ctx.app, kind)?, id.parse::<i64>().ok()?)));
    let (mut subject, mut subject_name, mut keys) = (String::new(), String::new(), Vec::new());
    if let Some((kind, id)) = asked
        && let Some(name) = ctx.app.db.read(|conn| (kind.name_of)(conn, id))?
    {
        (subject, subject_name) = (format!("{}:{id}", kind.name), name);
        keys = api::series_of(ctx, kind, id, &window)?
            .into_iter()
            .map(|line| line.key)
            .collect();
    }
    let content = Content {
        period,
        query: query(&chosen.iter().map(|one| (SERIES.name, one.text())).collect::<Vec<_>>()),
        charts: charts.collect(),
        kinds,
        subject,
        subject_name,
        keys,
        is_full: chosen.len() >= SERIES_MAX,
    };
    page::show(ctx, "charts/show.html", content)
}
