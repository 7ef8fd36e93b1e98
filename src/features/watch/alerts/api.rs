//! The alerts' JSON API.

use super::{Alert, Dependents, Filter, Why, told};
use crate::access::right::{Alerts, Edit, Read, Run, may};
use crate::base::clock::rfc3339;
use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::base::shape::{Stored, described};
use crate::features::watch::notifications::About;
use crate::features::watch::notifications::Level;
use crate::form::param::{self, Param};
use crate::http::reply::{List, Reply};
use crate::http::request::Method::{Get, Post};
use crate::http::route::{Ctx, LIMIT, OFFSET, Route, route};

/// Routes of the JSON API.
pub const ROUTES: &[Route] = &[
    route(Get, "/api/alerts", may(Read, Alerts), list)
        .query(LIST)
        .gives::<List<View>>()
        .live(),
    route(Post, "/api/alerts", may(Run, Alerts), tell)
        .takes(TOLD)
        .gives_nothing()
        .in_maintenance(),
    route(Get, "/api/alerts/{id}", may(Read, Alerts), show)
        .gives::<View>()
        .live(),
    route(Post, "/api/alerts/{id}/ack", may(Edit, Alerts), acknowledge)
        .takes(&[])
        .gives::<View>(),
];

described! {
    /// An alert in the API.
    pub struct View<'a> {
        id: Id<id::Alert>,
        kind: &'a str,
        level: &'a str,
        state: &'a str,
        title: &'a str,
        target: About,
        evidence: Option<Stored<'a, Vec<String>>>,
        count: i64,
        first_at: String,
        last_at: String,
        acked_by: Option<&'a str>,
        acked_at: Option<String>,
        resolved_at: Option<String>,
        quiet: Option<QuietView>,
        flapping: bool,
        /// For a single alert that may have dependents.
        #[serde(skip_serializing_if = "Option::is_none")]
        hanging: Option<Dependents>,
    }

    /// Why an alert is not notified: the alert of its cause, or its silence.
    struct QuietView {
        why: &'static str,
        alert_id: Option<i64>,
        silence_id: Option<i64>,
        until: Option<String>,
    }
}

/// Builds the view of an alert.
pub fn view(a: &Alert) -> View<'_> {
    View {
        id: a.id,
        kind: &a.kind,
        level: &a.level,
        state: &a.state,
        title: &a.title,
        target: About(a.about()),
        evidence: Stored::parse(&a.evidence),
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

/// What a program tells.
const TOLD: &[Param] = &[
    param::text(
        "level",
        20,
        "`info`, `warning`, `error`, `critical`; `ok` or `resolved`: it is over.",
    )
    .required(),
    param::text("service", 100, "What it is about, as the program calls it.").required(),
    param::text("message", 2_000, "One or more sentences."),
];

/// Query parameters of a list.
pub const LIST: &[Param] = &[
    LIMIT,
    OFFSET,
    param::choice(
        "state",
        &["open", "firing", "acknowledged", "resolved"],
        "Only in this state; `open` is any but resolved.",
    ),
    param::choice("level", Level::WORDS, "Only of this level."),
    param::number("server", 0..=i64::MAX, "Only about this server."),
    param::number("since", 0..=i64::MAX, "Only those that began after this, unix ms."),
];

/// The filter of a list's query.
pub fn filter(ctx: &Ctx) -> Result<Filter<'static>> {
    let (limit, offset) = ctx.page()?;
    Ok(Filter {
        state: ctx.choice("state")?,
        level: ctx.choice("level")?,
        server: ctx.number("server")?,
        since: ctx.number("since")?,
        limit,
        offset,
    })
}

fn list(ctx: &Ctx) -> Result<Reply> {
    let filter = filter(ctx)?;
    let by = ctx.actor()?;
    let (alerts, total) = ctx.app.db.read(|conn| super::list(conn, &filter, by))?;
    let items = alerts.iter().map(view).collect();
    Reply::json(&List { items, total })
}

fn show(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "alert")?;
    let by = ctx.actor()?;
    let (alert, hanging) = ctx.app.db.read(|conn| {
        let alert = super::get(conn, id, by)?;
        let hanging = super::hanging(conn, &alert)?;
        Ok((alert, hanging))
    })?;
    let hanging = (hanging != Dependents::default()).then_some(hanging);
    Reply::json(&View {
        hanging,
        ..view(&alert)
    })
}

fn acknowledge(ctx: &Ctx) -> Result<Reply> {
    ctx.input()?.finish(&[])?;
    let id = ctx.id(0, "alert")?;
    let by = ctx.allowed(Edit, Alerts)?;
    let alert = ctx.app.db.write(|tx| {
        super::acknowledge(ctx.app, tx, id, by)?;
        super::get(tx, id, ctx.actor()?)
    })?;
    Reply::json(&view(&alert))
}

/// A program tells of trouble, or that it is over.
fn tell(ctx: &Ctx) -> Result<Reply> {
    let (mut input, by) = (ctx.input()?, ctx.allowed(Run, Alerts)?);
    let given = input.text("level").unwrap_or_default().trim().to_uppercase();
    let level = match given.as_str() {
        "OK" | "RESOLVED" => None,
        name => Some(Level::parse(name)),
    };
    if level == Some(None) && !input.has_error("level") {
        let say = "level is one of: info, warning, error, critical, ok, resolved.";
        input.wrong("level", "bad_choice", say);
    }
    let service = input.text("service").unwrap_or_default().trim().to_string();
    if (service.is_empty() || service.contains(char::is_control)) && !input.has_error("service") {
        input.wrong("service", "required", "Say in one line what it is about.");
    }
    let message = input.text("message").unwrap_or_default();
    input.finish(&[])?;
    ctx.app.db.write(|tx| match level.flatten() {
        Some(level) => told::raise(ctx.app, tx, (&service, level, &message), by),
        None => told::over(ctx.app, tx, &service, &message, by),
    })?;
    Ok(Reply::status(204))
}
