//! Served certificates on a domain's page.

use super::api;
use super::evaluate::{self, Seen, State};
use super::queries::Site;
use crate::access::right::{Domains, Run, may};
use crate::base::clock::{self, Ms};
use crate::base::error::{Error, Result};
use crate::base::id::Id;
use crate::features::proxy::certificates::{self, Line, Renewed};
use crate::http::reply::Reply;
use crate::http::request::Method::Post;
use crate::http::route::{Ctx, Panel, Route, route};
use serde::Serialize;

/// Page routes.
pub const ROUTES: &[Route] = &[route(Post, "/domains/{id}/certificate/check", may(Run, Domains), check)];

/// Panel; rendered by `domains/_certificate.html`.
pub const PANELS: &[Panel] = &[Panel {
    on: "domain",
    slot: "certificate",
    data: panel,
}];

#[derive(Serialize)]
struct Card {
    id: i64,
    state: State,
    lamp: &'static str,
    /// The certificate whose line is drawn: the one that expires first.
    main: Option<Main>,
    /// Time of the newest check.
    looked_at: Option<Ms>,
    same: bool,
    sites: Vec<Row>,
}

#[derive(Serialize)]
struct Main {
    issuer: String,
    key_type: String,
    serial: String,
    sha256: String,
    names: Vec<String>,
    private: bool,
    not_before: Ms,
    not_after: Ms,
    good_until: Ms,
    /// The issuer that expires first.
    ends_by: String,
    line: Line,
}

#[derive(Serialize)]
struct Row {
    server_id: i64,
    server: String,
    lamp: &'static str,
    /// State of a valid one: `ok`, `soon` or `urgent`.
    state: Option<State>,
    private: bool,
    /// Not the stored one.
    another: bool,
    code: String,
    say: String,
    /// Failed once: checked again before an alert.
    is_first: bool,
    serial: String,
    not_after: Option<Ms>,
    looked_at: Option<Ms>,
}

fn row(site: &Site, now: Ms) -> Row {
    let seen = site.before.clone().unwrap_or_default();
    let state = evaluate::state(&seen, now);
    let lamp = match state {
        None if seen.code.is_empty() => "unlit",
        None => "flick",
        Some(_) if !seen.code.is_empty() && state < Some(State::Bad) => "flick",
        Some(state) => api::lamp(state),
    };
    Row {
        server_id: site.server.get(),
        server: site.server_name.clone(),
        lamp,
        state: state.filter(|_| seen.code.is_empty()),
        private: seen.private,
        another: site.shows_another(),
        is_first: seen.misses < evaluate::MISSES && !seen.code.is_empty() && state != Some(State::Bad),
        serial: seen.shown.as_ref().map(|c| c.serial.clone()).unwrap_or_default(),
        not_after: seen.shown.as_ref().map(|c| c.good_until),
        looked_at: (seen.looked_at > 0).then_some(seen.looked_at),
        code: seen.code,
        say: seen.say,
    }
}

fn main_of(seen: &Seen, renewed: Renewed, now: Ms) -> Option<Main> {
    let c = seen.shown.as_ref()?;
    Some(Main {
        issuer: c.issuer.clone(),
        key_type: c.key_type.clone(),
        serial: c.serial.clone(),
        sha256: c.sha256.clone(),
        names: c.names.iter().map(|n| certificates::shown(n)).collect(),
        private: seen.private,
        not_before: c.not_before,
        not_after: c.not_after,
        good_until: c.good_until,
        ends_by: c.ends_by.clone(),
        line: certificates::line(c.not_before, c.good_until, renewed, now),
    })
}

/// `null` if nothing is checked: no TLS.
fn panel(ctx: &Ctx, id: i64) -> Result<serde_json::Value> {
    let (summary, sites) = api::of(ctx.app, Id::new(id))?;
    if sites.is_empty() {
        return Ok(serde_json::Value::Null);
    }
    let now = clock::now();
    let seen = || sites.iter().filter_map(|s| s.before.as_ref());
    let ends_first = seen()
        .filter(|s| s.shown.is_some())
        .min_by_key(|s| s.shown.as_ref().map(|c| c.good_until));
    let renewed = match sites.iter().any(|s| s.own.is_some()) {
        true => Renewed::ByHand,
        false => Renewed::ByUs,
    };
    let card = Card {
        id,
        state: summary.state,
        lamp: api::lamp(summary.state),
        main: ends_first.and_then(|s| main_of(s, renewed, now)),
        looked_at: seen().map(|s| s.looked_at).max().filter(|at| *at > 0),
        same: api::same(&sites),
        sites: sites.iter().map(|site| row(site, now)).collect(),
    };
    serde_json::to_value(card).map_err(Error::internal)
}

fn check(ctx: &Ctx) -> Result<Reply> {
    let id = api::ON_DEMAND.now(ctx)?;
    Ok(Reply::see_other(format!("/domains/{id}#certificate")))
}
