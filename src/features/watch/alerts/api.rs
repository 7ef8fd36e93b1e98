//! The alerts' JSON API.

use super::{Alert, Filter, Hanging, Why};
use crate::access::right::{Alerts, Edit, Read, may};
use crate::base::clock::rfc3339;
use crate::base::error::{Error, Field, Result};
use crate::base::id::{self, Id};
use crate::http::reply::Reply;
use crate::http::request::Method::{Get, Post};
use crate::http::request::Request;
use crate::http::route::{Ctx, Route, route};
use serde::Serialize;
use serde_json::value::RawValue;

/// See [`Route`].
pub const ROUTES: &[Route] = &[
    route(Get, "/api/alerts", may(Read, Alerts), list).live(),
    route(Get, "/api/alerts/{id}", may(Read, Alerts), show).live(),
    route(Post, "/api/alerts/{id}/ack", may(Edit, Alerts), acknowledge),
];

/// An alert as the API shows it.
#[derive(Serialize)]
pub struct View<'a> {
    id: Id<id::Alert>,
    kind: &'a str,
    level: &'a str,
    state: &'a str,
    title: &'a str,
    target: serde_json::Value,
    evidence: Option<&'a RawValue>,
    count: i64,
    first_at: String,
    last_at: String,
    acked_by: Option<&'a str>,
    acked_at: Option<String>,
    resolved_at: Option<String>,
    quiet: Option<QuietView>,
    flapping: bool,
    /// Of one alert alone, and only where something may hang on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hanging: Option<Hanging>,
}

/// Why an alert sends no messages: which other alert tells of its cause, or which silence it is under.
#[derive(Serialize)]
struct QuietView {
    why: &'static str,
    alert_id: Option<i64>,
    silence_id: Option<i64>,
    until: Option<String>,
}

/// Puts the view together.
pub fn view(a: &Alert) -> View<'_> {
    View {
        id: a.id,
        kind: &a.kind,
        level: &a.level,
        state: &a.state,
        title: &a.title,
        target: a.about(),
        evidence: serde_json::from_str(&a.evidence).ok(),
        count: a.count,
        first_at: rfc3339(a.first_at),
        last_at: rfc3339(a.last_at),
        acked_by: a.acked_by.as_deref(),
        acked_at: a.acked_at.map(rfc3339),
        resolved_at: a.resolved_at.map(rfc3339),
        quiet: a.quiet.as_ref().map(|q| QuietView {
            why: q.why.name(),
            alert_id: (q.why == Why::Muted).then_some(q.by),
            silence_id: (q.why == Why::Silenced).then_some(q.by),
            until: q.until.map(rfc3339),
        }),
        flapping: a.flaps > 0 && a.state != "resolved",
        hanging: None,
    }
}

/// What a list's query asks for.
pub fn filter(request: &Request) -> Result<Filter<'_>> {
    let (limit, offset) = request.page()?;
    Ok(Filter {
        state: choice(request, "state", &["", "open", "firing", "acknowledged", "resolved"])?,
        level: choice(request, "level", &["", "INFO", "WARNING", "ERROR", "CRITICAL"])?,
        server: request.number("server", 0, 0..=i64::MAX)?,
        since: request.number("since", 0, 0..=i64::MAX)?,
        limit,
        offset,
    })
}

fn choice(request: &Request, name: &'static str, words: &[&'static str]) -> Result<&'static str> {
    let sent = request.param(name).unwrap_or_default();
    words.iter().copied().find(|w| *w == sent).ok_or_else(|| {
        let message = format!("{name} is one of: {}.", words[1..].join(", "));
        Error::invalid(vec![Field {
            field: name,
            code: "bad_choice",
            message,
        }])
    })
}

fn list(ctx: &Ctx) -> Result<Reply> {
    let filter = filter(ctx.request)?;
    let role = ctx.actor()?.role();
    let (alerts, total) = ctx.app.db.read(|conn| super::list(conn, &filter, role))?;
    let items =
        serde_json::value::to_raw_value(&alerts.iter().map(view).collect::<Vec<_>>()).map_err(Error::internal)?;
    Reply::json(&serde_json::json!({ "items": items, "total": total }))
}

fn show(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "alert")?;
    let role = ctx.actor()?.role();
    let (alert, hanging) = ctx.app.db.read(|conn| {
        let alert = super::get(conn, id, role)?;
        let hanging = super::hanging(conn, &alert)?;
        Ok((alert, hanging))
    })?;
    let hanging = (hanging != Hanging::default()).then_some(hanging);
    Reply::json(&View {
        hanging,
        ..view(&alert)
    })
}

fn acknowledge(ctx: &Ctx) -> Result<Reply> {
    ctx.request.input()?.finish(&[])?;
    let id = ctx.id(0, "alert")?;
    let by = ctx.allowed(Edit, Alerts)?;
    let alert = ctx.app.db.write(|tx| {
        super::acknowledge(ctx.app, tx, id, by)?;
        super::get(tx, id, by.role())
    })?;
    Reply::json(&view(&alert))
}
