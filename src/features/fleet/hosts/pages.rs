//! A host on its server's page: its own looks, and what has changed there.

use super::facts::{Change, changes};
use super::queries;
use crate::base::clock::Ms;
use crate::base::error::{Error, Result};
use crate::base::id::Id;
use crate::features::fleet::servers;
use crate::http::route::{Ctx, Panel};
use serde::Serialize;
use serde_json::Value;

/// See [`Panel`]; shown by `hosts/_on_server.html`.
pub const PANELS: &[Panel] = &[Panel {
    on: "server",
    slot: "host",
    data: card,
}];

/// Looks and differences that the page shows.
const LOOKS: i64 = 6;
const SNAPSHOTS: i64 = 4;
/// Changes of one difference; the API tells all.
const CHANGES: usize = 12;

#[derive(Serialize)]
struct Card {
    method: &'static str,
    looks: Vec<Look>,
    differences: Vec<Difference>,
    /// Equal to the newest snapshot since, and how often.
    same: Option<(Ms, i64)>,
}

#[derive(Serialize)]
struct Look {
    status: &'static str,
    code: String,
    say: String,
    first_at: Ms,
    last_at: Ms,
    latency_ms: Option<f64>,
}

#[derive(Serialize)]
struct Difference {
    at: Ms,
    changes: Vec<Shown>,
    more: usize,
}

#[derive(Serialize)]
struct Shown {
    fact: String,
    before: Option<String>,
    after: Option<String>,
}

fn card(ctx: &Ctx, id: i64) -> Result<Value> {
    let id = Id::new(id);
    let (server, looks, snapshots) = ctx.app.db.read(|conn| {
        let looks = queries::list(conn, id, LOOKS, 0)?.0;
        Ok((
            servers::get(conn, id)?,
            looks,
            queries::facts(conn, id, SNAPSHOTS + 1, 0)?.0,
        ))
    })?;
    if server.fields.check_method == "none" && looks.is_empty() && snapshots.is_empty() {
        return Ok(Value::Null);
    }
    let shown = |change: Change| Shown {
        fact: change.fact,
        before: change.before,
        after: change.after,
    };
    let differences = snapshots.windows(2).map(|pair| {
        let all = changes(&pair[1].facts, &pair[0].facts);
        Difference {
            at: pair[0].first_at,
            more: all.len().saturating_sub(CHANGES),
            changes: all.into_iter().take(CHANGES).map(shown).collect(),
        }
    });
    let card = Card {
        method: server.fields.check_method,
        looks: (looks.into_iter())
            .map(|row| Look {
                status: row.seen.status.name(),
                code: row.seen.code,
                say: row.seen.say,
                first_at: row.first_at,
                last_at: row.last_at,
                latency_ms: row.seen.latency_ms,
            })
            .collect(),
        same: snapshots.first().map(|newest| (newest.first_at, newest.count)),
        differences: differences.collect(),
    };
    serde_json::to_value(card).map_err(Error::internal)
}
