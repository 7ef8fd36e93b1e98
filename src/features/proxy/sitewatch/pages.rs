//! Site checks on a domain's page.

use super::api;
use super::evaluate::Code;
use super::queries::Placement;
use crate::access::right::{Domains, Run, may};
use crate::base::clock::Ms;
use crate::base::error::{Error, Result};
use crate::base::id::Id;
use crate::http::reply::Reply;
use crate::http::request::Method::Post;
use crate::http::route::{Ctx, Panel, Route, route};
use serde::Serialize;

/// Page routes.
pub const ROUTES: &[Route] = &[route(Post, "/domains/{id}/answers/check", may(Run, Domains), check)];

/// Panels on other pages; rendered by `domains/_answers.html`.
pub const PANELS: &[Panel] = &[Panel {
    on: "domain",
    slot: "answers",
    data: panel,
}];

#[derive(Serialize)]
struct Card {
    id: i64,
    /// Time of the newest check.
    looked_at: Option<Ms>,
    sites: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    server_id: i64,
    server: String,
    glyph: &'static str,
    /// Id of the text: a state, or `waits`, `unseen`, `first` (failed once: checked again before an alert).
    what: &'static str,
    say: String,
    inside: String,
    since: Option<Ms>,
    looked_at: Option<Ms>,
}

fn row(placement: Placement) -> Row {
    let known = placement.known;
    Row {
        server_id: placement.server.get(),
        server: placement.server_name,
        glyph: match placement.looked_at {
            None => "unlit",
            Some(_) if known.state.is_bad() => "dark",
            Some(_) if known.code == Code::Good => "lit",
            Some(_) => "flick",
        },
        what: match (placement.looked_at, known.code) {
            (None, _) => "waits",
            (_, Code::Unseen) if !known.state.is_bad() => "unseen",
            _ if known.misses > 0 && !known.state.is_bad() => "first",
            _ => known.state.name(),
        },
        say: placement.say,
        inside: if known.code.wants_inside() {
            placement.inside_say
        } else {
            String::new()
        },
        since: known.since,
        looked_at: placement.looked_at,
    }
}

/// `null` if nothing is deployed.
fn panel(ctx: &Ctx, id: i64) -> Result<serde_json::Value> {
    let (_, placements) = api::of(ctx.app, Id::new(id))?;
    if placements.is_empty() {
        return Ok(serde_json::Value::Null);
    }
    let card = Card {
        id,
        looked_at: placements.iter().filter_map(|placement| placement.looked_at).max(),
        sites: placements.into_iter().map(row).collect(),
    };
    serde_json::to_value(card).map_err(Error::internal)
}

fn check(ctx: &Ctx) -> Result<Reply> {
    let id = api::ON_DEMAND.now(ctx)?;
    Ok(Reply::see_other(format!("/domains/{id}#answers")))
}
