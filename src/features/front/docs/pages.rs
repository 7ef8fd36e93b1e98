//! `/docs`: the routes for people, by feature, each with what it takes, how it answers and a line with `curl`.

use super::describe::{self, Described, Type};
use crate::access::Right;
use crate::base::error::{Error, Result};
use crate::feature::Feature;
use crate::form::param::{self, Param};
use crate::http::openapi;
use crate::http::page;
use crate::http::reply::Reply;
use crate::http::request::Method::Get;
use crate::http::route::{Ctx, Route, route};
use crate::lang::{Lang, words};
use serde::Serialize;

/// See [`Route`].
pub const ROUTES: &[Route] = &[
    route(Get, "/docs", Right::SignedIn, overview).query(QUESTION),
    route(Get, "/docs/{feature}", Right::SignedIn, feature),
];

const QUESTION: &[Param] = &[param::text("q", 200, "In a path, a summary or the name of a field.")];

#[derive(Serialize)]
struct Overview<'a> {
    q: &'a str,
    features: Vec<Part>,
    /// Routes that are shown, and how many there are.
    shown: usize,
    total: usize,
}

/// A feature with routes.
#[derive(Serialize)]
struct Part {
    name: &'static str,
    what: &'static str,
    routes: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    method: &'static str,
    path: &'static str,
    href: String,
    summary: &'static str,
    right: String,
}

#[derive(Serialize)]
struct Whole {
    name: &'static str,
    what: &'static str,
    routes: Vec<Described>,
    types: Vec<Type>,
    /// The features before and after it.
    prev: Option<&'static str>,
    next: Option<&'static str>,
}

/// The features that have routes.
fn features(ctx: &Ctx) -> Vec<&'static Feature> {
    let all = ctx.app.registry.all::<Feature>().iter().copied();
    all.filter(|f| !f.routes.is_empty()).collect()
}

fn what(feature: &Feature, lang: Lang) -> &'static str {
    words::word(lang, &format!("api.{}", feature.name), None).unwrap_or_default()
}

fn overview(ctx: &Ctx) -> Result<Reply> {
    let lang = page::locale(ctx)?.lang;
    let q = ctx.param("q").trim();
    let features = features(ctx);
    let part = |feature: &&'static Feature| Part {
        name: feature.name,
        what: what(feature, lang),
        routes: (feature.routes.iter())
            .filter(|route| describe::fits(route, q, lang))
            .map(|route| Row {
                method: route.method.name(),
                path: route.path,
                href: format!("/docs/{}#{}", feature.name, openapi::operation_id(route)),
                summary: openapi::summary(route, lang),
                right: describe::right(route.right, lang),
            })
            .collect(),
    };
    let parts: Vec<_> = features
        .iter()
        .map(part)
        .filter(|part| !part.routes.is_empty())
        .collect();
    let content = Overview {
        q,
        shown: parts.iter().map(|part| part.routes.len()).sum(),
        total: features.iter().map(|f| f.routes.len()).sum(),
        features: parts,
    };
    page::show(ctx, "docs/overview.html", content)
}

fn feature(ctx: &Ctx) -> Result<Reply> {
    let lang = page::locale(ctx)?.lang;
    let features = features(ctx);
    let found = features.iter().position(|f| f.name == ctx.arg(0));
    let at = found.ok_or_else(|| Error::not_found("part of the API"))?;
    let feature = features[at];
    let origin = page::frame(ctx)?.origin;
    let content = Whole {
        name: feature.name,
        what: what(feature, lang),
        routes: (feature.routes.iter())
            .map(|route| describe::route(route, lang, &origin))
            .collect::<Result<_>>()?,
        types: describe::types(feature.routes, lang),
        prev: at.checked_sub(1).map(|at| features[at].name),
        next: features.get(at + 1).map(|f| f.name),
    };
    page::show(ctx, "docs/feature.html", content)
}
