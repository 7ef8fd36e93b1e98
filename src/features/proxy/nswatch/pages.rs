//! Name servers on a domain's page, and checking again from there or from the list.

use super::api;
use super::check::{Check, State};
use super::policy::Policy;
use super::verify::{self, Verified};
use crate::access::right::{self, Domains, may};
use crate::base::clock::{self, Ms};
use crate::base::error::{Error, Result};
use crate::base::id::{Domain, Id};
use crate::features::proxy::domains;
use crate::http::page;
use crate::http::reply::Reply;
use crate::http::request::Method::Post;
use crate::http::route::{Ctx, Panel, Route, route};
use crate::lang::{Lang, words};
use serde::Serialize;

/// Page routes.
pub const ROUTES: &[Route] = &[
    route(Post, "/domains/verify-dns", may(right::Run, Domains), verify_several),
    route(Post, "/domains/{id}/verify-dns", may(right::Run, Domains), verify_one),
];

/// Panel; rendered by `domains/_nameservers.html`.
pub const PANELS: &[Panel] = &[Panel {
    on: "domain",
    slot: "nameservers",
    data: panel,
}];

/// Results on the page; the API has all.
const SHOWN: i64 = 10;

#[derive(Serialize)]
struct Card {
    id: i64,
    policy: String,
    /// `none`, `substring`, `suffix` or `exact`.
    mode: &'static str,
    /// The newest result; `None` before the first check.
    now: Option<Run>,
    /// Earlier results.
    earlier: Vec<Run>,
    more: bool,
}

#[derive(Serialize)]
struct Run {
    /// Its glyph.
    glyph: &'static str,
    state: &'static str,
    code: String,
    /// The policy it was compared with.
    policy: String,
    zone: String,
    /// Is the zone above the domain?
    above: bool,
    hosts: Vec<HostRow>,
    misfits: usize,
    evidence: Vec<String>,
    first_at: Ms,
    last_at: Ms,
    count: i64,
}

#[derive(Serialize)]
struct HostRow {
    name: String,
    fits: bool,
}

fn run(domain: &str, row: super::Row) -> Run {
    let Check {
        state,
        code,
        zone,
        ns,
        policy,
        evidence,
    } = row.check;
    let rule = Policy::parse(&policy);
    let host = |name: String| HostRow {
        fits: rule.fits(&name),
        name,
    };
    let hosts: Vec<_> = ns.into_iter().map(host).collect();
    Run {
        glyph: match state {
            State::Ok => "ok",
            State::Mismatch => "dark",
            State::Error => "flick",
        },
        state: state.name(),
        code,
        policy,
        above: !zone.is_empty() && zone != domain,
        zone,
        misfits: hosts.iter().filter(|h| !h.fits).count(),
        hosts,
        evidence,
        first_at: row.first_at,
        last_at: row.last_at,
        count: row.count,
    }
}

fn panel(ctx: &Ctx, id: i64) -> Result<serde_json::Value> {
    let id = Id::new(id);
    let (domain, (rows, total)) = ctx
        .app
        .db
        .read(|conn| Ok((domains::get(conn, id)?, super::list(conn, id, SHOWN, 0)?)))?;
    let name = domain.fields.domain.ascii();
    let mut runs = rows.into_iter().map(|row| run(name, row));
    let card = Card {
        id: id.get(),
        mode: match Policy::parse(&domain.fields.ns_policy) {
            Policy::None => "none",
            Policy::Substring(_) => "substring",
            Policy::Suffix(_) => "suffix",
            Policy::Exact(_) => "exact",
        },
        now: runs.next(),
        earlier: runs.collect(),
        more: total > SHOWN,
        policy: domain.fields.ns_policy,
    };
    serde_json::to_value(card).map_err(Error::internal)
}

fn verify_one(ctx: &Ctx) -> Result<Reply> {
    ctx.input()?.finish(&[])?;
    let id = ctx.id(0, "domain")?;
    ctx.outbound(move |app| verify::verify(app, id, clock::mono() + api::WAIT))?;
    Ok(Reply::see_other(format!("/domains/{id}#nameservers")))
}

/// Result of one of several domains.
#[derive(Serialize)]
struct Outcome {
    id: i64,
    /// Empty if the domain was deleted.
    name: String,
    glyph: &'static str,
    /// Problems, as sentences.
    says: Vec<String>,
    evidence: Vec<String>,
}

fn verify_several(ctx: &Ctx) -> Result<Reply> {
    let ids = domains::picked(ctx, api::BULK_MAX)?;
    if ids.is_empty() {
        return Ok(Reply::see_other("/domains"));
    }
    let lang = page::lang(ctx.request, ctx.maybe_actor());
    let done = ctx.outbound(move |app| Ok(verify::verify_all(app, &ids, clock::mono() + api::WAIT)))?;
    let items: Vec<_> = done.into_iter().map(|(id, result)| outcome(lang, id, result)).collect();
    let good = items.iter().filter(|i| i.glyph == "ok").count();
    let content = serde_json::json!({ "items": items, "good": good, "bad": items.len() - good });
    page::show(ctx, "domains/verified.html", content)
}

fn outcome(lang: Lang, id: Id<Domain>, result: Result<Verified>) -> Outcome {
    match result {
        Ok(verified) => Outcome {
            id: id.get(),
            glyph: if verified.is_ok() { "ok" } else { "dark" },
            says: verified.says(lang),
            evidence: match verified.is_ok() {
                true => Vec::new(),
                false => verified.evidence().map(String::from).collect(),
            },
            name: verified.domain.name(),
        },
        Err(e) => Outcome {
            id: id.get(),
            name: String::new(),
            glyph: "flick",
            says: vec![words::word(lang, &format!("err.{}", e.code), None).map_or(e.say, String::from)],
            evidence: Vec::new(),
        },
    }
}
