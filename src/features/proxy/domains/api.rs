//! The domains' JSON API.

use super::deploy::Choice;
use super::deployments::BULK_MAX;
use super::model::{self, Fields, Stands};
use super::{Domain, Filter, Site, Sort, deployments};
use crate::access::right::{Deploy, Domains, Edit, Read, may};
use crate::access::{Allowed, Unplaced};
use crate::app::App;
use crate::base::clock::rfc3339;
use crate::base::error::{Kind, Result};
use crate::base::id::{self, Id, Task};
use crate::base::shape::{Described, described};
use crate::form::Input;
use crate::form::param::{self, Param};
use crate::http::reply::{List, Reply, TEXT};
use crate::http::request::Method::{Delete, Get, Patch, Post, Put};
use crate::http::route::{Answer, Ctx, LIMIT, OFFSET, Q, Route, route};

/// Routes of the JSON API.
pub const ROUTES: &[Route] = &[
    route(Get, "/api/domains", may(Read, Domains), list)
        .query(LIST)
        .gives::<List<View>>(),
    route(Post, "/api/domains", may(Edit, Domains), create)
        .asks()
        .takes(model::PARAMS)
        .creates::<View>(),
    route(Post, "/api/domains/bulk", may(Deploy, Domains), bulk)
        .asks()
        .takes(BULK)
        .answers(Answer::Json(202, Bulk::SHAPE)),
    route(Get, "/api/domains/{id}", may(Read, Domains), show).gives::<View>(),
    route(Put, "/api/domains/{id}", may(Edit, Domains), replace)
        .takes(model::PARAMS)
        .gives::<View>(),
    route(Patch, "/api/domains/{id}", may(Edit, Domains), change)
        .takes(model::PARAMS)
        .gives::<View>(),
    route(Delete, "/api/domains/{id}", may(Edit, Domains), remove)
        .query(REMOVAL)
        .gives_nothing()
        .starts_task(),
    route(
        Post,
        "/api/domains/{id}/plan",
        may(Deploy, Domains),
        deployments::api::plan,
    )
    .takes(&[])
    .gives::<deployments::api::PlanView>()
    .asks_others(),
    route(
        Post,
        "/api/domains/{id}/deploy",
        may(Deploy, Domains),
        deployments::api::deploy,
    )
    .takes(deployments::DEPLOY)
    .starts_task(),
    route(
        Post,
        "/api/domains/{id}/renew",
        may(Deploy, Domains),
        deployments::api::renew,
    )
    .takes(deployments::RENEW)
    .starts_task(),
    route(
        Post,
        "/api/domains/{id}/adopt",
        may(Deploy, Domains),
        deployments::api::adopt,
    )
    .takes(deployments::api::SERVER)
    .gives_nothing(),
    route(
        Post,
        "/api/domains/{id}/forget",
        may(Edit, Domains),
        deployments::api::forget,
    )
    .takes(deployments::api::SERVER)
    .gives_nothing(),
    route(
        Get,
        "/api/domains/{id}/nginx-config",
        may(Read, Domains),
        deployments::api::nginx_config,
    )
    .query(deployments::api::CONFIG)
    .gives_bytes(TEXT)
    .refuses(&[409, 502, 504]),
];

described! {
    /// A domain as the API shows it.
    pub struct View<'a> {
        id: Id<id::Domain>,
        domain: &'a str,
        domain_unicode: String,
        server_ids: &'a [Id<id::Server>],
        /// Only if there is exactly one server.
        server_id: Option<Id<id::Server>>,
        upstream_id: Option<Id<id::Upstream>>,
        upstream: Option<&'a str>,
        group_id: Option<Id<id::Group>>,
        group: Option<&'a str>,
        ssl: bool,
        hsts: bool,
        certificate_id: Option<Id<id::Certificate>>,
        ns_policy: &'a str,
        preflight: &'static str,
        notes: &'a str,
        state: &'static str,
        reason: &'static str,
        state_since: Option<String>,
        sites: Vec<SiteView<'a>>,
        ns_state: &'static str,
        ns_say: &'a str,
        ns_at: Option<String>,
        cert_state: &'static str,
        cert_say: &'a str,
        cert_not_after: Option<String>,
        answer_state: &'static str,
        answer_say: &'a [String],
        answer_since: Option<String>,
        removing: bool,
        revision: i64,
        created_at: String,
        updated_at: String,
    }

    struct SiteView<'a> {
        server_id: Id<id::Server>,
        server: &'a str,
        wanted: bool,
        state: &'static str,
        state_since: Option<String>,
        name: &'a str,
        generation: i64,
        adopted: bool,
        deployed_at: Option<String>,
        looked_at: Option<String>,
        error: Option<Problem<'a>>,
        /// What a failed deploy left: `untouched`, `back`, `empty`, `red`, `stuck`, `new`, `gone` or `unseen`.
        stands: Option<&'static str>,
        /// A certificate was issued before the failure, and stays.
        certificate_issued: bool,
    }

    struct Problem<'a> {
        code: &'a str,
        message: &'a str,
    }
}

fn site(s: &Site) -> SiteView<'_> {
    SiteView {
        server_id: s.server,
        server: &s.server_name,
        wanted: s.wanted,
        state: s.state,
        state_since: s.since.map(rfc3339),
        name: &s.name,
        generation: s.generation,
        adopted: s.adopted,
        deployed_at: s.deployed_at.map(rfc3339),
        looked_at: s.looked_at.map(rfc3339),
        error: s.error.as_ref().map(|(code, message)| Problem { code, message }),
        stands: s.stands.map(Stands::name),
        certificate_issued: s.issued,
    }
}

/// Builds the view of a domain.
pub fn view(d: &Domain) -> View<'_> {
    let f = &d.fields;
    View {
        id: d.id,
        domain: f.domain.ascii(),
        domain_unicode: d.name(),
        server_ids: &f.server_ids,
        server_id: match f.server_ids[..] {
            [one] => Some(one),
            _ => None,
        },
        upstream_id: f.upstream_id,
        upstream: d.upstream.as_deref(),
        group_id: f.group_id,
        group: d.group.as_deref(),
        ssl: f.ssl,
        hsts: f.hsts,
        certificate_id: f.certificate_id,
        ns_policy: &f.ns_policy,
        preflight: f.preflight.name(),
        notes: &f.notes,
        state: d.reason.lamp,
        reason: d.reason.name,
        state_since: d.since().map(rfc3339),
        sites: d.sites.iter().map(site).collect(),
        ns_state: d.ns_state,
        ns_say: &d.ns_say,
        ns_at: d.ns_at.map(rfc3339),
        cert_state: d.cert_state,
        cert_say: &d.cert_say,
        cert_not_after: d.cert_not_after.map(rfc3339),
        answer_state: d.answer_state,
        answer_say: &d.answer_say,
        answer_since: d.answer_since.map(rfc3339),
        removing: d.removing,
        revision: d.revision,
        created_at: rfc3339(d.created_at),
        updated_at: rfc3339(d.updated_at),
    }
}

/// Query parameters of a list.
pub const LIST: &[Param] = &[
    LIMIT,
    OFFSET,
    Q,
    param::link("group_id", "Only of this group."),
    param::link("server_id", "Only on this server."),
    param::link("upstream_id", "Only with this upstream."),
    param::choice("ssl", &["true", "false", "1", "0"], "Only with TLS, or without."),
    param::choice("state", &["lit", "flick", "dark", "unlit"], "Only in this state."),
    param::choice("sort", &["domain", "-domain", "expiry", "-expiry"], "The order."),
];

/// The filter of a list's query, without paging.
pub fn filter<'a>(ctx: &Ctx<'a>) -> Result<Filter<'a>> {
    let (sort, descending) = match ctx.choice("sort")? {
        "-domain" => (Sort::Name, true),
        "expiry" => (Sort::Expiry, false),
        "-expiry" => (Sort::Expiry, true),
        _ => (Sort::Name, false),
    };
    Ok(Filter {
        q: ctx.param("q"),
        group: ctx.link("group_id")?,
        server: ctx.link("server_id")?,
        upstream: ctx.link("upstream_id")?,
        ssl: match ctx.choice("ssl")? {
            "" => None,
            word => Some(word == "true" || word == "1"),
        },
        state: ctx.choice("state")?,
        sort,
        descending,
        limit: i64::MAX,
        offset: 0,
    })
}

fn list(ctx: &Ctx) -> Result<Reply> {
    let (limit, offset) = ctx.page()?;
    let filter = Filter {
        limit,
        offset,
        ..filter(ctx)?
    };
    let (rows, total) = ctx.app.db.read(|conn| super::list(conn, &filter))?;
    let items: Vec<_> = rows.iter().map(view).collect();
    Reply::json(&List { items, total })
}

fn show(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "domain")?;
    Reply::json(&view(&ctx.app.db.read(|conn| super::get(conn, id))?))
}

fn create(ctx: &Ctx) -> Result<Reply> {
    let domain = add(ctx.app, ctx.input()?, &ctx.unplaced(Edit, Domains)?)?;
    Reply::created(format!("/api/domains/{}", domain.id), &view(&domain))
}

/// Reads a draft and stores it. Error: invalid fields.
pub fn add(app: &App, input: Input, by: &Unplaced<Edit, Domains>) -> Result<Domain> {
    let valid = model::read(input, None)?;
    let by = by.at(&valid.place())?;
    app.db.write(|tx| {
        let id = super::create(app, tx, &valid, by)?;
        super::get(tx, id)
    })
}

fn change(ctx: &Ctx) -> Result<Reply> {
    edit(ctx, |domain| Some(domain.fields.clone()))
}

/// `PUT` replaces: missing fields get their defaults.
fn replace(ctx: &Ctx) -> Result<Reply> {
    edit(ctx, |_| None)
}

fn edit(ctx: &Ctx, base: impl Fn(&Domain) -> Option<Fields>) -> Result<Reply> {
    let id = ctx.id(0, "domain")?;
    Reply::json(&view(&save(
        ctx.app,
        id,
        ctx.input()?,
        base,
        ctx.allowed(Edit, Domains)?,
    )?))
}

/// Reads a draft over `base` and stores it, in one transaction. Error: invalid fields.
pub fn save(
    app: &App,
    id: Id<id::Domain>,
    input: Input,
    base: impl Fn(&Domain) -> Option<Fields>,
    by: Allowed<Edit, Domains>,
) -> Result<Domain> {
    app.db.write(|tx| {
        let old = super::get(tx, id)?;
        let valid = model::read(input, base(&old))?;
        super::update(app, tx, &old, &valid, by)?;
        super::get(tx, id)
    })
}

const REMOVAL: &[Param] = &[
    param::flag("overwrite", "1: also remove a file that others have changed."),
    param::flag(
        "forget",
        "1: what lies on a server that cannot be reached is forgotten.",
    ),
];

fn remove(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "domain")?;
    let by = ctx.allowed(Edit, Domains)?;
    let choice = Choice {
        overwrite: ctx.flag("overwrite")?,
        forget: ctx.flag("forget")?,
    };
    match ctx.app.db.write(|tx| super::delete(ctx.app, tx, id, &choice, by))? {
        None => Ok(Reply::status(204)),
        Some(task) => Reply::accepted(task),
    }
}

described! {
    /// Result of a bulk action.
    #[derive(Default)]
    pub struct Bulk {
        /// Enqueued tasks.
        pub tasks: Vec<Started>,
        /// Refused domains with reasons.
        pub refused: Vec<Refused>,
    }

    /// An enqueued task of a [`Bulk`].
    pub struct Started {
        /// The domain.
        pub id: Id<id::Domain>,
        /// Its name.
        pub name: String,
        /// Its task id.
        pub task_id: Id<Task>,
    }

    /// A refused domain of a [`Bulk`].
    pub struct Refused {
        /// The domain.
        pub id: Id<id::Domain>,
        /// Its name; empty if it does not exist.
        pub name: String,
        /// Stable code.
        pub code: &'static str,
        /// One sentence.
        pub message: String,
    }
}

const BULK: &[Param] = &[
    param::choice("action", &["deploy"], "What is done to them.").required(),
    param::links("ids", BULK_MAX, "The domains.").required(),
];

fn bulk(ctx: &Ctx) -> Result<Reply> {
    let mut input = ctx.input()?;
    let action = input.choice("action");
    let ids = input.links("ids");
    if action.is_none() && !input.has_error("action") {
        input.wrong("action", "required", "action is deploy.");
    }
    if ids.as_ref().is_none_or(Vec::is_empty) && !input.has_error("ids") {
        input.wrong("ids", "required", "Choose at least one domain.");
    }
    input.finish(&[])?;
    Ok(Reply::json(&deploy_all(
        ctx.app,
        &ids.unwrap_or_default(),
        &ctx.unplaced(Deploy, Domains)?,
    )?)?
    .with_status(202))
}

/// Enqueues a deploy for each of these domains. One that cannot be deployed does not stop the others; a missing right
/// does.
pub fn deploy_all(app: &App, ids: &[Id<id::Domain>], by: &Unplaced<Deploy, Domains>) -> Result<Bulk> {
    app.db.write(|tx| {
        let mut bulk = Bulk::default();
        for &id in ids {
            let by = by.to(tx, ("domain", id.get()))?;
            let name = super::get(tx, id).map(|d| d.name()).unwrap_or_default();
            // All refusals come before the first row is written.
            match super::deploy(app, tx, id, &Choice::default(), by) {
                Ok(task_id) => bulk.tasks.push(Started { id, name, task_id }),
                Err(e) if matches!(e.kind, Kind::Conflict | Kind::NotFound) => bulk.refused.push(Refused {
                    id,
                    name,
                    code: e.code,
                    message: e.say,
                }),
                Err(e) => return Err(e),
            }
        }
        Ok(bulk)
    })
}
