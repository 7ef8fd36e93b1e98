//! How a domain answers, hung on its page.

use super::api;
use super::judge::Code;
use super::queries::Look;
use crate::access::right::{Domains, Run, may};
use crate::base::clock::Ms;
use crate::base::error::{Error, Result};
use crate::base::id::Id;
use crate::http::reply::Reply;
use crate::http::request::Method::Post;
use crate::http::route::{Ctx, Panel, Route, route};
use serde::Serialize;

/// See [`Route`].
pub const ROUTES: &[Route] = &[route(Post, "/domains/{id}/answers/check", may(Run, Domains), check)];

/// See [`Panel`]; shown by `domains/_answers.html`.
pub const PANELS: &[Panel] = &[Panel {
    on: "domain",
    slot: "answers",
    data: panel,
}];

#[derive(Serialize)]
struct Card {
    id: i64,
    /// When the newest look was.
    looked_at: Option<Ms>,
    sites: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    server_id: i64,
    server: String,
    glyph: &'static str,
    /// Finds the words: a state, or `waits`, `unseen`, `first` (failed once: looked at again before anybody is woken).
    what: &'static str,
    say: String,
    inside: String,
    since: Option<Ms>,
    looked_at: Option<Ms>,
}

fn row(look: Look) -> Row {
    let known = look.known;
    Row {
        server_id: look.server.get(),
        server: look.server_name,
        glyph: match look.looked_at {
            None => "unlit",
            Some(_) if known.state.is_bad() => "dark",
            Some(_) if known.code == Code::Good => "lit",
            Some(_) => "flick",
        },
        what: match (look.looked_at, known.code) {
            (None, _) => "waits",
            (_, Code::Unseen) if !known.state.is_bad() => "unseen",
            _ if known.misses > 0 && !known.state.is_bad() => "first",
            _ => known.state.name(),
        },
        say: look.say,
        inside: if known.code.wants_inside() {
            look.inside_say
        } else {
            String::new()
        },
        since: known.since,
        looked_at: look.looked_at,
    }
}

/// `null` where nothing is deployed: there is nothing to ask.
fn panel(ctx: &Ctx, id: i64) -> Result<serde_json::Value> {
    let (_, looks) = api::of(ctx.app, Id::new(id))?;
    if looks.is_empty() {
        return Ok(serde_json::Value::Null);
    }
    let card = Card {
        id,
        looked_at: looks.iter().filter_map(|look| look.looked_at).max(),
        sites: looks.into_iter().map(row).collect(),
    };
    serde_json::to_value(card).map_err(Error::internal)
}

fn check(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "domain")?;
    api::look(ctx.app, id)?;
    Ok(Reply::see_other(format!("/domains/{id}#answers")))
}
