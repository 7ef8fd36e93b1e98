//! The doctor's page.

use super::{Severity, checks};
use crate::access::right::{Controller, Read, may};
use crate::base::error::Result;
use crate::http::page;
use crate::http::reply::Reply;
use crate::http::request::Method::Get;
use crate::http::route::{Ctx, Route, route};
use serde::Serialize;

/// See [`Route`].
pub const ROUTES: &[Route] = &[route(Get, "/doctor", may(Read, Controller), show)];

#[derive(Serialize)]
struct Row {
    name: &'static str,
    severity: Severity,
    say: String,
    advice: String,
}

#[derive(Serialize)]
struct Content {
    items: Vec<Row>,
}

fn show(ctx: &Ctx) -> Result<Reply> {
    let lang = page::lang(ctx.request, ctx.maybe_actor());
    let mut findings = checks::all(ctx.app, false);
    findings.sort_by_key(|f| std::cmp::Reverse(f.severity));
    let row = |f: &super::Finding| Row {
        name: f.name(lang),
        severity: f.severity,
        say: f.say(lang),
        advice: f.advice(lang),
    };
    page::show(
        ctx,
        "doctor/show.html",
        Content {
            items: findings.iter().map(row).collect(),
        },
    )
}
