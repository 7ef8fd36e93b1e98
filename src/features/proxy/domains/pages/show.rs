//! A domain's own page.

use super::why::{Named, Why, days, named, why};
use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::db::Conn;
use crate::features::house::tasks::{TaskRow, task_row};
use crate::features::proxy::domains::model::Stands;
use crate::features::proxy::domains::{self, Domain, Site, deployments};
use crate::features::proxy::upstreams;
use crate::http::page;
use crate::http::reply::Reply;
use crate::http::route::Ctx;
use crate::task::{self, Status, queue};
use serde::Serialize;
use serde_json::{Map, Value};

/// What is there, as a text id: as reported by a failed deploy, else by the row.
pub fn stands_as(s: &Site) -> &'static str {
    match (s.state, s.stands) {
        ("drifted", _) => "drifted",
        (_, Some(stands)) if stands != Stands::Untouched => stands.name(),
        _ if s.name.is_empty() => "nothing",
        _ => "there",
    }
}

/// A site on the domain's page.
#[derive(Serialize)]
pub struct SiteView {
    pub id: i64,
    pub name: String,
    pub wanted: bool,
    pub state: &'static str,
    pub glyph: &'static str,
    /// Its file there has an older name.
    pub old_name: Option<String>,
    pub generation: i64,
    pub adopted: bool,
    pub deployed_at: Option<Ms>,
    pub looked_at: Option<Ms>,
    pub code: Option<String>,
    pub say: String,
    /// Something is there, and the last try failed.
    pub unreached: bool,
    /// For a failed deploy: text id of what is there.
    pub stands: Option<&'static str>,
    pub issued: bool,
}

pub fn site(d: &Domain, s: &Site) -> SiteView {
    let other = !s.name.is_empty() && s.name != d.fields.domain.ascii();
    let (code, say) = s.error.clone().unzip();
    SiteView {
        id: s.server.get(),
        name: s.server_name.clone(),
        wanted: s.wanted,
        state: s.state,
        glyph: match s.state {
            "live" => "lit",
            "failed" if s.name.is_empty() => "dark",
            "failed" | "drifted" => "flick",
            _ => "unlit",
        },
        old_name: other.then(|| s.name.clone()),
        generation: s.generation,
        adopted: s.adopted,
        deployed_at: s.deployed_at,
        looked_at: s.looked_at,
        unreached: !s.name.is_empty() && code.as_deref().is_some_and(|code| code.starts_with("ssh_")),
        code,
        say: say.unwrap_or_default(),
        stands: s.stands.map(|_| stands_as(s)),
        issued: s.issued,
    }
}

#[derive(Serialize)]
struct TargetView {
    address: String,
    weight: Option<u16>,
}

/// A domain for its own page.
#[derive(Serialize)]
pub struct View {
    id: i64,
    name: String,
    ascii: Option<String>,
    upstream: Option<Named>,
    group: Option<Named>,
    targets: Vec<TargetView>,
    sites: Vec<SiteView>,
    ssl: bool,
    hsts: bool,
    own_certificate: bool,
    days: Option<i64>,
    ns_policy: String,
    preflight: &'static str,
    notes: String,
    removing: bool,
    created_at: Ms,
    updated_at: Ms,
}

pub fn view(conn: &Conn, d: &Domain) -> Result<View> {
    let name = d.name();
    let upstream = d.fields.upstream_id.map(|id| upstreams::get(conn, id)).transpose()?;
    let target = |t: &upstreams::Target| TargetView {
        address: t.address(),
        weight: t.weight,
    };
    Ok(View {
        id: d.id.get(),
        ascii: (name != d.fields.domain.ascii()).then(|| d.fields.domain.ascii().to_string()),
        name,
        targets: upstream.iter().flat_map(|u| &u.fields.targets).map(target).collect(),
        upstream: named(d.fields.upstream_id, &d.upstream),
        group: named(d.fields.group_id, &d.group),
        sites: d.sites.iter().map(|s| site(d, s)).collect(),
        ssl: d.fields.ssl,
        hsts: d.fields.hsts,
        own_certificate: d.fields.certificate_id.is_some(),
        days: days(d),
        ns_policy: d.fields.ns_policy.clone(),
        preflight: d.fields.preflight.name(),
        notes: d.fields.notes.clone(),
        removing: d.removing,
        created_at: d.created_at,
        updated_at: d.updated_at,
    })
}

#[derive(Serialize)]
struct Show {
    domain: View,
    why: Why,
    tasks: Vec<TaskRow>,
    /// Pending deploys and foreign changes.
    plan: deployments::pages::Card,
    /// Panels of other features, by slot.
    panels: Map<String, Value>,
}

/// Tasks on a domain's page.
const TASKS_SHOWN: i64 = 5;

pub fn show(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "domain")?;
    let (domain, view, tasks) = ctx.app.db.read(|conn| {
        let domain = domains::get(conn, id)?;
        let of_domain = task::Filter {
            target: Some(("domain", id.get())),
            limit: TASKS_SHOWN,
            ..task::Filter::default()
        };
        let view = view(conn, &domain)?;
        Ok((domain, view, queue::list(conn, &of_domain)?.0))
    })?;
    let lang = page::lang(ctx.request, ctx.maybe_actor());
    let mut why = why(&domain);
    if matches!(why.reason, "deploy_failed" | "never_worked" | "incomplete") {
        let failed = tasks
            .iter()
            .find(|t| t.kind == domains::tasks::DEPLOY && t.status == Status::Failed);
        why.since = failed.and_then(|t| t.finished_at);
    }
    let content = Show {
        why,
        plan: deployments::pages::card(ctx, &domain)?,
        domain: view,
        tasks: tasks.into_iter().map(|t| task_row(ctx.web, lang, t)).collect(),
        panels: ctx.panels("domain", id.get())?,
    };
    page::show(ctx, "domains/show.html", content)
}
