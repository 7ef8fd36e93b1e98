//! The alerts' page, and acknowledging one.

use super::{Alert, Dependents, Filter, Why, api, inhibit, queries};
use crate::access::right::{Alerts, Edit, Read, may};
use crate::base::clock::{self, DAY, Ms};
use crate::base::error::{Error, Result};
use crate::base::id::Id;
use crate::db::Conn;
use crate::features::fleet::servers::words;
use crate::features::watch::notifications::{self, Level};
use crate::features::watch::silences;
use crate::http::card::{self, COUNTER, Card, Counter, Picture, Slot};
use crate::http::page::{self, query};
use crate::http::reply::Reply;
use crate::http::request::Method::{Get, Post};
use crate::http::route::{Ctx, Panel, Route, route};
use crate::http::view::{Prepared, hours};
use crate::kinds;
use serde::Serialize;

/// Page routes.
pub const ROUTES: &[Route] = &[
    route(Get, "/alerts", may(Read, Alerts), list).query(api::LIST),
    route(Post, "/alerts/{id}/ack", may(Edit, Alerts), acknowledge),
];

/// Alerts looked at for the bars of a day.
const COUNTED: i64 = 500;

/// See [`Card`].
pub const CARDS: &[Card] = &[
    Card {
        name: "alerts",
        slot: Slot::Counters,
        place: 6,
        right: may(Read, Alerts),
        template: COUNTER,
        data: |on| {
            let (firing, open, begun) = on.ctx.app.db.read(|conn| {
                let begun = queries::first_seen_since(conn, clock::now() - DAY, COUNTED)?;
                Ok((super::firing(conn)?, super::open(conn)?, begun))
            })?;
            Ok(Some(Prepared::of(Counter {
                href: "/alerts",
                value: Some(firing as f64),
                foot: Some(serde_json::json!({ "n": open - firing })),
                picture: Some(Picture::Bars {
                    counts: hours(begun),
                    colours: "dark",
                }),
                ..Counter::default()
            })))
        },
    },
    Card {
        name: "alerts",
        slot: Slot::Half,
        place: 2,
        right: may(Read, Alerts),
        template: "alerts/_card.html",
        data: |on| {
            let lately = Filter {
                limit: card::ROWS as i64,
                since: clock::now() - DAY,
                ..Filter::default()
            };
            let by = on.ctx.actor()?.role();
            let (alerts, _) = on.ctx.app.db.read(|conn| super::list(conn, &lately, &by))?;
            Ok(Some(Prepared::of(alerts.into_iter().map(row).collect::<Vec<_>>())))
        },
    },
];

/// Panels; rendered by `servers/_quiet.html` and `alerts/_open.html`.
pub const PANELS: &[Panel] = &[
    Panel {
        on: "server",
        slot: "hanging",
        data: |ctx, id| {
            let hanging = ctx.app.db.read(|conn| inhibit::on_server(conn, id))?;
            Ok(serde_json::json!(hanging))
        },
    },
    Panel {
        on: "server",
        slot: "alerts",
        data: |ctx, id| open_about(ctx, ("server", id)),
    },
    Panel {
        on: "container",
        slot: "alerts",
        data: |ctx, id| open_about(ctx, ("container", id)),
    },
    Panel {
        on: "domain",
        slot: "alerts",
        data: |ctx, id| open_about(ctx, ("domain", id)),
    },
];

/// Open alerts of one object; rendered by `alerts/_open.html`.
#[derive(Serialize)]
struct Open {
    /// Worst first, of several the oldest.
    rows: Vec<Row>,
    /// Mount points of disks among them.
    disks: Vec<String>,
}

fn open_about(ctx: &Ctx, target: (&str, i64)) -> Result<serde_json::Value> {
    let open = ctx.app.db.read(|conn| {
        let mut open = queries::about(conn, target)?;
        open.sort_by_key(|a| (std::cmp::Reverse(Level::parse(&a.level)), a.first_at, a.id.get()));
        let disk = |a: &Alert| {
            Some(
                kinds::target(&a.kind, ("", 0, ""), &a.part)["disk"]
                    .as_str()?
                    .to_string(),
            )
        };
        let disks = open.iter().filter_map(disk).collect();
        let rows = open.into_iter().map(|a| full(conn, a)).collect::<Result<Vec<_>>>()?;
        Ok(Open { rows, disks })
    })?;
    match open.rows.is_empty() {
        true => Ok(serde_json::Value::Null),
        false => serde_json::to_value(open).map_err(Error::internal),
    }
}

/// Why an alert is not notified.
#[derive(Serialize)]
struct QuietRow {
    why: &'static str,
    /// The inhibiting alert: id, kind, target.
    cause: Option<(i64, String, String)>,
    /// The silence.
    silence: Option<silences::Row>,
    until: Option<Ms>,
}

/// An alert as pages show it.
#[derive(Serialize)]
struct Row {
    id: i64,
    /// Glyph of its level.
    glyph: &'static str,
    level: String,
    state: String,
    kind: String,
    /// Id of its text: `alert.server.unreachable`, …
    words: String,
    variant: String,
    title: String,
    evidence: Vec<String>,
    target: (String, i64),
    target_name: String,
    target_href: Option<String>,
    count: i64,
    first_at: Ms,
    last_at: Ms,
    acked_by: Option<String>,
    resolved_at: Option<Ms>,
    flapping: bool,
    good_since: Option<Ms>,
    quiet: Option<QuietRow>,
    hanging: Dependents,
    /// The rule of a measurement that raised it.
    rule: Option<i64>,
    /// Endpoints that were notified, and when.
    notified: Vec<(String, Ms)>,
}

/// A row with suppression and dependents.
fn full(conn: &Conn, a: Alert) -> Result<Row> {
    let hanging = super::hanging(conn, &a)?;
    let notified = notifications::recipients_since(conn, (&a.kind, &a.part), (&a.target.0, a.target.1), a.first_at)?;
    let quiet = match a.quiet.clone() {
        None => None,
        Some(q) => Some(QuietRow {
            why: q.why.name(),
            cause: match q.why {
                Why::Muted => queries::get(conn, Id::new(q.by))?.map(|c| (c.id.get(), c.kind, c.target.2)),
                _ => None,
            },
            silence: match q.why {
                Why::Silenced => silences::find(conn, Id::new(q.by))?.map(silences::row),
                _ => None,
            },
            until: q.until,
        }),
    };
    Ok(Row {
        quiet,
        hanging,
        notified,
        ..row(a)
    })
}

/// Builds a row.
fn row(a: Alert) -> Row {
    let glyph = match (a.state.as_str(), a.level.as_str()) {
        ("resolved", _) => "ok",
        (_, "INFO") => "info",
        (_, "WARNING") => "flick",
        _ => "dark",
    };
    Row {
        id: a.id.get(),
        glyph,
        target_href: page::place((&a.target.0, a.target.1)),
        words: words(&a.kind, &a.variant),
        variant: a.variant,
        target: (a.target.0, a.target.1),
        target_name: a.target.2,
        flapping: a.flaps > 0 && a.state != "resolved",
        good_since: a.good_since,
        quiet: None,
        hanging: Dependents::default(),
        rule: match a.part.split_once(':') {
            Some((rule, _)) if a.kind.starts_with("metric.") => rule.parse().ok(),
            _ => None,
        },
        notified: Vec::new(),
        level: a.level,
        state: a.state,
        kind: a.kind,
        title: a.title,
        evidence: serde_json::from_str(&a.evidence).unwrap_or_default(),
        count: a.count,
        first_at: a.first_at,
        last_at: a.last_at,
        acked_by: a.acked_by,
        resolved_at: a.resolved_at,
    }
}

/// Number of alerts in each state.
#[derive(Serialize)]
struct Counts {
    firing: i64,
    acknowledged: i64,
    resolved: i64,
}

#[derive(Serialize)]
struct Content {
    state: &'static str,
    counts: Counts,
    items: Vec<Row>,
    prev: Option<String>,
    next: Option<String>,
}

fn list(ctx: &Ctx) -> Result<Reply> {
    let asked = api::filter(ctx)?;
    let state = match asked.state {
        "acknowledged" => "acknowledged",
        "resolved" => "resolved",
        _ => "firing",
    };
    let filter = Filter { state, ..asked };
    let (limit, offset) = (filter.limit, filter.offset);
    let by = ctx.actor()?;
    let (items, total, counts) = ctx.app.db.read(|conn| {
        let (alerts, total) = super::list(conn, &filter, by)?;
        let items = alerts.into_iter().map(|a| full(conn, a)).collect::<Result<Vec<_>>>()?;
        let count = |state| {
            super::list(
                conn,
                &Filter {
                    state,
                    limit: 1,
                    ..Filter::default()
                },
                by,
            )
            .map(|(_, n)| n)
        };
        let counts = Counts {
            firing: count("firing")?,
            acknowledged: count("acknowledged")?,
            resolved: count("resolved")?,
        };
        Ok((items, total, counts))
    })?;
    let at = |offset: i64| query(&[("state", state), ("offset", &offset.to_string())]);
    let content = Content {
        state,
        counts,
        items,
        prev: (offset > 0).then(|| at((offset - limit).max(0))),
        next: (offset + limit < total).then(|| at(offset + limit)),
    };
    page::show(ctx, "alerts/list.html", content)
}

fn acknowledge(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "alert")?;
    let by = ctx.allowed(Edit, Alerts)?;
    ctx.app.db.write(|tx| super::acknowledge(ctx.app, tx, id, by))?;
    Ok(Reply::see_other("/alerts"))
}
