//! Charts as a table, for non-visual use, and the result of a poll on demand.

use super::api::{self, chart, probe_once};
use crate::access::right::{Metrics, Read, Run, may};
use crate::base::clock::Ms;
use crate::base::error::{Kind, Result};
use crate::features::fleet::servers;
use crate::http::page;
use crate::http::reply::Reply;
use crate::http::request::Method::{Get, Post};
use crate::http::route::{Ctx, Route, route};
use crate::series::Series;
use crate::series::window::PERIODS;
use serde::Serialize;
use std::collections::BTreeMap;

/// Page routes.
pub const ROUTES: &[Route] = &[
    route(Get, "/servers/{id}/metrics", may(Read, Metrics), table).query(api::SPAN),
    route(Post, "/servers/{id}/probe", may(Run, Metrics), probe_now),
];

/// Columns of the table, by series name.
const COLUMNS: [&str; 12] = [
    "cpu",
    "iowait",
    "mem",
    "swap",
    "load1",
    "load5",
    "load15",
    "net_rx",
    "net_tx",
    "disk_read",
    "disk_write",
    "poll",
];
/// Maximum rows; then only every n-th is shown.
const ROWS_MAX: usize = 120;

#[derive(Serialize)]
struct Row {
    at: Ms,
    values: [Option<f64>; COLUMNS.len()],
}

fn rows(series: &[Series]) -> Vec<Row> {
    let mut by_time: BTreeMap<Ms, [Option<f64>; COLUMNS.len()]> = BTreeMap::new();
    for (n, key) in COLUMNS.iter().enumerate() {
        for (at, mean, ..) in series.iter().filter(|s| s.key == *key).flat_map(|s| &s.points) {
            by_time.entry(*at).or_default()[n] = Some(*mean);
        }
    }
    let step = by_time.len().div_ceil(ROWS_MAX).max(1);
    let newest_first = by_time.into_iter().rev().step_by(step);
    newest_first.map(|(at, values)| Row { at, values }).collect()
}

fn table(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "server")?;
    let server = ctx.app.db.read(|conn| servers::get(conn, id))?;
    let chart = chart(ctx, &server)?;
    let content = serde_json::json!({
        "id": id,
        "name": server.fields.name,
        "period": chart.period,
        "periods": PERIODS.map(|(name, _)| name),
        "columns": COLUMNS,
        "rows": rows(&chart.series),
        "engine": chart.engine,
        "notice": chart.notice,
    });
    page::show(ctx, "metrics/table.html", content)
}

/// Result of a poll on demand.
#[derive(Default, Serialize)]
struct Probed {
    id: i64,
    name: String,
    /// Code of the error; empty on success.
    code: String,
    say: String,
    took_ms: u32,
    api: u8,
    path: String,
}

fn probe_now(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "server")?;
    let server = ctx.app.db.read(|conn| servers::get(conn, id))?;
    let head = Probed {
        id: id.get(),
        name: server.fields.name.clone(),
        ..Probed::default()
    };
    let content = match probe_once(ctx, &server) {
        Ok(done) => Probed {
            say: done.say,
            took_ms: done.took_ms,
            api: done.seen.sample.api,
            path: done.seen.path,
            ..head
        },
        // A result, not a failure of this page.
        Err(e) if e.kind != Kind::Internal => Probed {
            code: e.code.to_string(),
            say: e.say,
            ..head
        },
        Err(e) => return Err(e),
    };
    page::show(ctx, "metrics/probed.html", content)
}
