//! Deployments as pages.

use super::api;
use crate::access::right::{Deploy, Domains, Edit};
use crate::base::clock::{self, Ms};
use crate::base::diff::{Change, Diff};
use crate::base::error::{Kind, Result};
use crate::base::id::{Id, Task};
use crate::base::process::Cancel;
use crate::features::proxy::domains::deploy::Choice;
use crate::features::proxy::domains::desired::DesiredState;
use crate::features::proxy::domains::inspect;
use crate::features::proxy::domains::placements::State;
use crate::features::proxy::domains::plan::{Finding, Level, Plan, ServerPlan, Step};
use crate::features::proxy::domains::preflight::{self, Verdict};
use crate::features::proxy::domains::tasks::Renewal;
use crate::features::proxy::domains::{self, Domain};
use crate::http::page;
use crate::http::reply::Reply;
use crate::http::route::Ctx;
use crate::lang::Lang;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// A line of a diff.
#[derive(Serialize)]
struct DiffLine<'a> {
    /// CSS class: `h` head, `p` added, `m` removed, empty: unchanged.
    class: &'static str,
    old: Option<usize>,
    new: Option<usize>,
    text: std::borrow::Cow<'a, str>,
}

fn lines<'a>(diff: &Diff<'a>) -> Vec<DiffLine<'a>> {
    let mut out = Vec::new();
    for hunk in &diff.hunks {
        out.push(DiffLine {
            class: "h",
            old: None,
            new: None,
            text: hunk.head().into(),
        });
        out.extend(hunk.lines.iter().map(|l| DiffLine {
            class: match l.change {
                Change::Same => "",
                Change::Added => "p",
                Change::Removed => "m",
            },
            old: l.old,
            new: l.new,
            text: l.text.into(),
        }));
    }
    out
}

/// Planned work for a domain on one server.
#[derive(Serialize)]
struct Work<'a> {
    canary: bool,
    leaves: bool,
    steps: &'a [Step],
    faults: &'a [Finding],
}

impl<'a> Work<'a> {
    fn of(s: &'a ServerPlan) -> Work<'a> {
        Work {
            canary: s.canary,
            leaves: s.leaves,
            steps: &s.steps,
            faults: &s.faults,
        }
    }
}

#[derive(Serialize)]
struct ServerCard<'a> {
    id: i64,
    name: &'a str,
    #[serde(flatten)]
    work: Work<'a>,
    diff: Vec<DiffLine<'a>>,
}

impl<'a> ServerCard<'a> {
    fn of(s: &'a ServerPlan, diff: &Diff<'a>) -> ServerCard<'a> {
        ServerCard {
            id: s.server.get(),
            name: &s.name,
            work: Work::of(s),
            diff: lines(diff),
        }
    }
}

#[derive(Serialize)]
struct CheckLine<'a> {
    glyph: &'static str,
    say: String,
    evidence: &'a [String],
}

fn check(c: &preflight::Check, lang: Lang) -> CheckLine<'_> {
    CheckLine {
        glyph: match c.verdict {
            Verdict::Ok => "ok",
            Verdict::Warn => "flick",
            Verdict::Bad => "dark",
        },
        say: c.say(lang),
        evidence: &c.evidence,
    }
}

#[derive(Serialize)]
struct PlanPage<'a> {
    id: i64,
    domain: String,
    made_at: Ms,
    changes: usize,
    /// A deploy would stop in any case.
    stops: bool,
    /// A deploy needs permission to overwrite a foreign text.
    asks: bool,
    faults: &'a [Finding],
    preflight: Vec<CheckLine<'a>>,
    servers: Vec<ServerCard<'a>>,
}

/// `GET /domains/{id}/plan`: inspects the servers.
pub fn show_plan(ctx: &Ctx) -> Result<Reply> {
    let desired = DesiredState::load(ctx.app, ctx.id(0, "domain")?)?;
    let (desired, plan) = ctx.outbound(move |app| {
        let plan = inspect::make(app, &desired, &Cancel::new());
        Ok((desired, plan))
    })?;
    let diffs: Vec<Diff> = plan.servers.iter().map(ServerPlan::diff).collect();
    let faults = || plan.faults.iter().chain(plan.servers.iter().flat_map(|s| &s.faults));
    let lang = page::lang(ctx.request, ctx.maybe_actor());
    let content = PlanPage {
        id: desired.domain.id.get(),
        domain: desired.domain.name(),
        made_at: plan.made_at,
        changes: plan.changes(),
        stops: faults().any(|f| f.level == Level::Stop),
        asks: faults().any(|f| f.level == Level::Ask),
        faults: &plan.faults,
        preflight: plan
            .preflight
            .iter()
            .flat_map(|report| &report.checks)
            .map(|c| check(c, lang))
            .collect(),
        servers: plan
            .servers
            .iter()
            .zip(&diffs)
            .map(|(s, diff)| ServerCard::of(s, diff))
            .collect(),
    };
    page::show(ctx, "domains/plan.html", content)
}

/// A domain on one server, in a plan for several domains.
#[derive(Serialize)]
struct SiteLine<'a> {
    id: i64,
    domain: &'a str,
    #[serde(flatten)]
    work: Work<'a>,
}

#[derive(Serialize)]
struct OnServer<'a> {
    id: i64,
    name: &'a str,
    changes: usize,
    sites: Vec<SiteLine<'a>>,
}

/// A domain whose deploy would stop, with reasons that concern it as a whole.
#[derive(Serialize)]
struct Stopped<'a> {
    id: i64,
    name: &'a str,
    faults: &'a [Finding],
}

#[derive(Serialize)]
struct PlansPage<'a> {
    made_at: Ms,
    changes: usize,
    servers: Vec<OnServer<'a>>,
    /// Domains that can be deployed.
    ready: Vec<i64>,
    stopped: Vec<Stopped<'a>>,
}

/// Time limit for starting inspections; the rest is reported as not inspected.
const PLANS_LIMIT: Duration = Duration::from_secs(15);

/// `POST /domains/plan` with `ids`: the combined plan by server. Changes nothing.
pub fn show_plans(ctx: &Ctx) -> Result<Reply> {
    let ids = super::picked(ctx, super::BULK_MAX)?;
    match ids[..] {
        [] => return Ok(Reply::see_other("/domains")),
        [one] => return Ok(Reply::see_other(format!("/domains/{one}/plan"))),
        _ => {}
    }
    let mut all_desired = Vec::new();
    for id in ids {
        match DesiredState::load(ctx.app, id) {
            Ok(desired) => all_desired.push(desired),
            Err(e) if e.kind == Kind::NotFound => {} // deleted since the list was shown
            Err(e) => return Err(e),
        }
    }
    let until = clock::mono() + PLANS_LIMIT;
    let (all_desired, plans) = ctx.outbound(move |app| {
        let plans = inspect::make_all(app, &all_desired, until, &Cancel::new());
        Ok((all_desired, plans))
    })?;
    let names: Vec<String> = all_desired.iter().map(|desired| desired.domain.name()).collect();
    let mut servers: BTreeMap<(&str, i64), OnServer> = BTreeMap::new();
    let (mut ready, mut stopped) = (Vec::new(), Vec::new());
    for ((desired, plan), name) in all_desired.iter().zip(&plans).zip(&names) {
        let id = desired.domain.id.get();
        match plan.stops() {
            false => ready.push(id),
            true => stopped.push(Stopped {
                id,
                name,
                faults: &plan.faults,
            }),
        }
        for s in &plan.servers {
            let server = servers.entry((&s.name, s.server.get())).or_insert_with(|| OnServer {
                id: s.server.get(),
                name: &s.name,
                changes: 0,
                sites: Vec::new(),
            });
            server.changes += s.steps.len();
            server.sites.push(SiteLine {
                id,
                domain: name,
                work: Work::of(s),
            });
        }
    }
    let content = PlansPage {
        made_at: plans.first().map_or_else(clock::now, |plan| plan.made_at),
        changes: plans.iter().filter(|plan| !plan.stops()).map(Plan::changes).sum(),
        servers: servers.into_values().collect(),
        ready,
        stopped,
    };
    page::show(ctx, "domains/plans.html", content)
}

fn follow(task: Id<Task>) -> Reply {
    Reply::see_other(format!("/tasks/{task}"))
}

/// `POST /domains/{id}/deploy`; `overwrite=true` permits overwriting.
pub fn deploy(ctx: &Ctx) -> Result<Reply> {
    let mut input = ctx.input()?;
    let choice = Choice {
        overwrite: input.flag("overwrite").unwrap_or(false),
        ..Choice::default()
    };
    input.finish(&[])?;
    let id = ctx.id(0, "domain")?;
    let by = ctx.allowed(Deploy, Domains)?;
    let task = ctx.app.db.write(|tx| domains::deploy(ctx.app, tx, id, &choice, by))?;
    Ok(follow(task))
}

/// `POST /domains/{id}/renew`
pub fn renew(ctx: &Ctx) -> Result<Reply> {
    let mut input = ctx.input()?;
    let force = input.flag("force").unwrap_or(false);
    input.finish(&[])?;
    let id = ctx.id(0, "domain")?;
    let by = ctx.allowed(Deploy, Domains)?;
    let task = ctx
        .app
        .db
        .write(|tx| domains::renew(ctx.app, tx, id, &Renewal { force }, by))?;
    Ok(follow(task))
}

/// `POST /domains/{id}/adopt`, with `server_id`.
pub fn adopt(ctx: &Ctx) -> Result<Reply> {
    let (id, server, by) = (
        ctx.id(0, "domain")?,
        api::which_server(ctx)?,
        ctx.allowed(Deploy, Domains)?,
    );
    ctx.app.db.write(|tx| super::accept(ctx.app, tx, id, server, by))?;
    Ok(Reply::see_other(format!("/domains/{id}")))
}

/// `POST /domains/{id}/forget`, with `server_id`.
pub fn forget(ctx: &Ctx) -> Result<Reply> {
    let (id, server, by) = (
        ctx.id(0, "domain")?,
        api::which_server(ctx)?,
        ctx.allowed(Edit, Domains)?,
    );
    ctx.app
        .db
        .write(|tx| domains::forget_site(ctx.app, tx, id, server, by))?;
    Ok(Reply::see_other(format!("/domains/{id}")))
}

/// State of a domain's sites on its page: pending deploys, foreign changes.
#[derive(Serialize)]
pub struct Card {
    /// Sites where a deploy would change or remove a text.
    waiting: Vec<String>,
    drifts: Vec<DriftCard>,
    /// Uses an ACME certificate and is on at least one server.
    renewable: bool,
}

#[derive(Serialize)]
struct DriftCard {
    server_id: i64,
    server: String,
    say: String,
    looked_at: Option<Ms>,
    /// There is a foreign text to adopt.
    adoptable: bool,
    diff: Vec<DiffLine<'static>>,
}

/// Builds the card; contacts no server.
pub fn card(ctx: &Ctx, domain: &Domain) -> Result<Card> {
    let desired = DesiredState::load(ctx.app, domain.id)?;
    let waiting = desired
        .sites
        .iter()
        .filter(|(placement, _)| desired.is_waiting(placement));
    let drifted = desired
        .sites
        .iter()
        .filter(|(placement, _)| placement.state == State::Drifted);
    Ok(Card {
        waiting: waiting.map(|(_, server)| server.fields.name.clone()).collect(),
        drifts: drifted
            .map(|(placement, server)| {
                let seen = placement.seen.as_deref().unwrap_or_default();
                let told = crate::base::diff::diff(&placement.text, seen);
                let owned = |l: DiffLine| DiffLine {
                    class: l.class,
                    old: l.old,
                    new: l.new,
                    text: l.text.into_owned().into(),
                };
                DriftCard {
                    server_id: server.id.get(),
                    server: server.fields.name.clone(),
                    say: placement.problem.as_ref().map_or(String::new(), |(_, say)| say.clone()),
                    looked_at: placement.looked_at,
                    adoptable: !seen.is_empty() && seen != placement.text,
                    diff: lines(&told).into_iter().map(owned).collect(),
                }
            })
            .collect(),
        renewable: desired.is_acme()
            && desired
                .sites
                .iter()
                .any(|(placement, _)| placement.wanted && !placement.name.is_empty()),
    })
}
