//! Pages of domains. Actions use the same functions as the JSON API; a refused form is shown again with its values.
//! Cards of other features are in slots.

use super::deployments::{self, BULK_MAX, picked};
use super::model::{self, Fields, Preflight, Stands};
use super::{About, Domain, Filter, Site, api};
use crate::access::right::{Deploy, Domains, Edit, Read, may};
use crate::base::clock::{self, DAY, Ms};
use crate::base::error::{Error, Kind, Result};
use crate::base::id::{self, Id};
use crate::db::Conn;
use crate::features::fleet::groups;
use crate::features::fleet::servers;
use crate::features::house::tasks::{TaskRow, task_row};
use crate::features::proxy::upstreams;
use crate::form::Input;
use crate::http::page::{self, query};
use crate::http::reply::Reply;
use crate::http::request::Method::{Get, Post};
use crate::http::route::{Ctx, Panel, Route, route};
use crate::http::view::Errors;
use crate::task::{self, Status, queue};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// Page routes.
pub const ROUTES: &[Route] = &[
    route(Get, "/domains", may(Read, Domains), list).query(api::LIST),
    route(Post, "/domains", may(Edit, Domains), create),
    route(Get, "/domains/new", may(Edit, Domains), new),
    route(Post, "/domains/bulk", may(Deploy, Domains), bulk),
    route(
        Post,
        "/domains/plan",
        may(Deploy, Domains),
        deployments::pages::show_plans,
    ),
    route(Get, "/domains/{id}", may(Read, Domains), show),
    route(Post, "/domains/{id}", may(Edit, Domains), change),
    route(Get, "/domains/{id}/edit", may(Edit, Domains), edit),
    route(Get, "/domains/{id}/delete", may(Edit, Domains), ask_delete),
    route(Post, "/domains/{id}/delete", may(Edit, Domains), delete),
    route(
        Get,
        "/domains/{id}/plan",
        may(Deploy, Domains),
        deployments::pages::show_plan,
    ),
    route(
        Post,
        "/domains/{id}/deploy",
        may(Deploy, Domains),
        deployments::pages::deploy,
    )
    .takes(deployments::DEPLOY),
    route(
        Post,
        "/domains/{id}/renew",
        may(Deploy, Domains),
        deployments::pages::renew,
    )
    .takes(deployments::RENEW),
    route(
        Post,
        "/domains/{id}/adopt",
        may(Deploy, Domains),
        deployments::pages::adopt,
    )
    .takes(deployments::api::SERVER),
    route(
        Post,
        "/domains/{id}/forget",
        may(Edit, Domains),
        deployments::pages::forget,
    )
    .takes(deployments::api::SERVER),
];

/// State of a domain with its reason.
#[derive(Serialize)]
pub struct Why {
    /// `lit`, `flick`, `dark` or `unlit`.
    lamp: &'static str,
    /// Id of the text.
    reason: &'static str,
    /// Since when, if known.
    since: Option<Ms>,
    /// Evidence.
    evidence: Vec<String>,
    /// Whole days until the certificate expires.
    days: i64,
}

fn why(d: &Domain) -> Why {
    let troubled = || d.sites.iter().filter(|s| s.error.is_some());
    let of_sites = || {
        let lines = troubled().filter_map(|s| Some((s, s.error.as_ref()?)));
        lines
            .flat_map(|(s, (code, say))| [format!("{}: {say}", s.server_name), code.clone()])
            .collect()
    };
    let said = |say: &str| Vec::from_iter((!say.is_empty()).then(|| say.to_string()));
    let evidence = match d.reason.about {
        About::Deploy | About::Files => of_sites(),
        About::Answers => d.answer_say.clone(),
        About::NameServers => said(&d.ns_say),
        About::Certificate | About::Nothing => said(&d.cert_say),
        About::DesiredState => Vec::new(),
    };
    Why {
        lamp: d.reason.lamp,
        reason: d.reason.name,
        since: d.since(),
        evidence,
        days: days(d).unwrap_or(0),
    }
}

/// A domain that needs attention, for the overview.
#[derive(Serialize)]
pub struct Need {
    id: i64,
    name: String,
    why: Why,
}

/// Domains that need attention, those that are down first: at most `max`, and the number of others.
pub fn needs(conn: &Conn, max: usize) -> Result<(Vec<Need>, usize)> {
    let mut found = Vec::new();
    let mut total = 0;
    for state in ["dark", "flick"] {
        let filter = Filter {
            state,
            limit: max as i64,
            ..Filter::default()
        };
        let (domains, count) = super::list(conn, &filter)?;
        total += count as usize;
        found.extend(domains.iter().map(|d| Need {
            id: d.id.get(),
            name: d.name(),
            why: why(d),
        }));
    }
    found.truncate(max);
    let more = total - found.len();
    Ok((found, more))
}

/// Whole days until the certificate expires; negative after that.
fn days(d: &Domain) -> Option<i64> {
    d.cert_not_after.map(|end| (end - clock::now()).div_euclid(DAY))
}

/// A row of the table.
#[derive(Serialize)]
struct Row {
    id: i64,
    name: String,
    /// The stored form of the name, if different.
    ascii: Option<String>,
    why: Why,
    servers: Vec<Named>,
    upstream: Option<Named>,
    group: Option<Named>,
    ssl: bool,
    /// Days until the certificate expires.
    days: Option<i64>,
    cert_state: &'static str,
    ns_state: &'static str,
}

#[derive(Serialize)]
struct Named {
    id: i64,
    name: String,
}

fn named<T>(id: Option<Id<T>>, name: &Option<String>) -> Option<Named> {
    let (id, name) = id.zip(name.clone())?;
    Some(Named { id: id.get(), name })
}

fn row(d: &Domain) -> Row {
    let name = d.name();
    Row {
        id: d.id.get(),
        ascii: (name != d.fields.domain.ascii()).then(|| d.fields.domain.ascii().to_string()),
        name,
        why: why(d),
        servers: wanted(d)
            .map(|s| Named {
                id: s.server.get(),
                name: s.server_name.clone(),
            })
            .collect(),
        upstream: named(d.fields.upstream_id, &d.upstream),
        group: named(d.fields.group_id, &d.group),
        ssl: d.fields.ssl,
        days: days(d),
        cert_state: d.cert_state,
        ns_state: d.ns_state,
    }
}

fn wanted(d: &Domain) -> impl Iterator<Item = &Site> {
    d.sites.iter().filter(|s| s.wanted)
}

/// Panels on other pages; rendered by `domains/_on_server.html` and `domains/_stands.html`.
pub const PANELS: &[Panel] = &[
    Panel {
        on: "server",
        slot: "domains",
        data: on_server,
    },
    Panel {
        on: "task",
        slot: "stands",
        data: after_failure,
    },
];

/// State of a domain on one of its servers.
#[derive(Serialize)]
struct Standing<'a> {
    server_id: i64,
    server: &'a str,
    glyph: &'static str,
    /// Id of the text.
    what: &'static str,
    deployed_at: Option<Ms>,
    issued: bool,
}

/// What is there, as a text id: as reported by a failed deploy, else by the row.
fn stands_as(s: &Site) -> &'static str {
    match (s.state, s.stands) {
        ("drifted", _) => "drifted",
        (_, Some(stands)) if stands != Stands::Untouched => stands.name(),
        _ if s.name.is_empty() => "nothing",
        _ => "there",
    }
}

fn standing<'a>(d: &Domain, s: &'a Site, since: Option<Ms>) -> Standing<'a> {
    let is_new = s.state == "live" && since.is_some() && s.deployed_at >= since;
    Standing {
        server_id: s.server.get(),
        server: &s.server_name,
        glyph: site(d, s).glyph,
        what: if is_new { "fresh" } else { stands_as(s) },
        deployed_at: s.deployed_at,
        issued: s.issued,
    }
}

/// On the page of a domain's failed task: what is on its servers now.
fn after_failure(ctx: &Ctx, id: i64) -> Result<Value> {
    let domain = ctx.app.db.read(|conn| {
        let task = queue::get(conn, Id::new(id))?;
        let is_told = task.status.is_final() && task.status != Status::Ok && task.target.0 == "domain";
        let domain = match is_told {
            true => super::find(conn, Id::new(task.target.1))?,
            false => None,
        };
        Ok(domain.map(|domain| (domain, task.started_at)))
    })?;
    let Some((domain, since)) = domain.filter(|(d, _)| !d.sites.is_empty()) else {
        return Ok(Value::Null);
    };
    let sites: Vec<_> = domain.sites.iter().map(|s| standing(&domain, s, since)).collect();
    serde_json::to_value(sites).map_err(Error::internal)
}

/// Domains on a server's page.
const ON_SERVER: i64 = 12;

#[derive(Serialize)]
struct OnServer {
    rows: Vec<Row>,
    total: i64,
}

fn on_server(ctx: &Ctx, id: i64) -> Result<Value> {
    let filter = Filter {
        server: Some(Id::new(id)),
        limit: ON_SERVER,
        ..Filter::default()
    };
    let (domains, total) = ctx.app.db.read(|conn| super::list(conn, &filter))?;
    if total == 0 {
        return Ok(Value::Null);
    }
    let rows = domains.iter().map(row).collect();
    serde_json::to_value(OnServer { rows, total }).map_err(Error::internal)
}

/// Domains per page.
const PAGE: usize = 200;

/// Lamp names, those needing attention first.
const LAMPS: [&str; 4] = ["dark", "flick", "unlit", "lit"];

/// A filter of the list, with a link that removes it.
#[derive(Serialize)]
struct Narrowed {
    /// Id of the text.
    by: &'static str,
    name: String,
    without: String,
}

#[derive(Serialize)]
struct List<'a> {
    q: &'a str,
    state: &'a str,
    sort: &'a str,
    /// Query for the API.
    query: String,
    /// Parts of the query that the search form keeps.
    kept: Vec<(&'static str, String)>,
    counts: HashMap<&'static str, usize>,
    facets: HashMap<&'static str, String>,
    sorts: HashMap<&'static str, String>,
    narrowed: Vec<Narrowed>,
    rows: Vec<Row>,
    /// There are no domains.
    none: bool,
    total: usize,
    first: usize,
    last: usize,
    prev: Option<String>,
    next: Option<String>,
}

fn list(ctx: &Ctx) -> Result<Reply> {
    let word = |name: &str| ctx.request.param(name).unwrap_or_default();
    let filter = api::filter(ctx)?;
    let (q, state, sort) = (word("q"), filter.state, word("sort"));
    let offset = ctx.number("offset")? as usize;
    let (mut all, narrowed) = ctx.app.db.read(|conn| {
        let every_state = Filter { state: "", ..filter };
        Ok((super::list(conn, &every_state)?.0, narrowed(ctx, conn)?))
    })?;
    let mut counts: HashMap<_, _> = LAMPS.into_iter().map(|lamp| (lamp, 0)).collect();
    for domain in &all {
        *counts.entry(domain.reason.lamp).or_default() += 1;
    }
    counts.insert("all", all.len());
    if sort.is_empty() {
        // Those needing attention first; the sort is stable, so names stay in order.
        all.sort_by_key(|d| LAMPS.iter().position(|lamp| *lamp == d.reason.lamp));
    }
    let found: Vec<_> = all
        .iter()
        .filter(|d| state.is_empty() || d.reason.lamp == state)
        .collect();
    let shown = found.get(offset..).unwrap_or_default();
    let shown = &shown[..shown.len().min(PAGE)];
    let at = |offset: usize| {
        asked(
            ctx,
            &[("offset", &if offset == 0 { String::new() } else { offset.to_string() })],
        )
    };
    let mut facets: HashMap<_, _> = LAMPS
        .into_iter()
        .map(|lamp| (lamp, asked(ctx, &[("state", lamp), ("offset", "")])))
        .collect();
    facets.insert("all", asked(ctx, &[("state", ""), ("offset", "")]));
    let sorts = [("domain", "-domain"), ("expiry", "-expiry")];
    let sorts = sorts.map(|(up, down)| {
        (
            up,
            asked(ctx, &[("sort", if sort == up { down } else { up }), ("offset", "")]),
        )
    });
    let kept = ["state", "sort", "group_id", "server_id", "upstream_id", "ssl"];
    let content = List {
        q,
        state,
        sort,
        query: asked(ctx, &[("offset", "")]),
        kept: kept
            .into_iter()
            .map(|name| (name, word(name).to_string()))
            .filter(|(_, value)| !value.is_empty())
            .collect(),
        none: all.is_empty() && q.is_empty() && narrowed.is_empty(),
        counts,
        facets,
        sorts: sorts.into(),
        narrowed,
        rows: shown.iter().map(|d| row(d)).collect(),
        total: found.len(),
        first: offset + 1,
        last: offset + shown.len(),
        prev: (offset > 0).then(|| at(offset.saturating_sub(PAGE))),
        next: (offset + PAGE < found.len()).then(|| at(offset + PAGE)),
    };
    page::show(ctx, "domains/list.html", content)
}

/// Names of query parameters.
const ASKED: [&str; 8] = [
    "q",
    "state",
    "sort",
    "group_id",
    "server_id",
    "upstream_id",
    "ssl",
    "offset",
];

/// The query with some parts changed.
fn asked(ctx: &Ctx, otherwise: &[(&str, &str)]) -> String {
    let value = |name: &str| {
        let other = otherwise.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
        other.unwrap_or_else(|| ctx.request.param(name).unwrap_or_default())
    };
    query(&ASKED.map(|name| (name, value(name))))
}

/// The filters by group, server, upstream and encryption.
fn narrowed(ctx: &Ctx, conn: &Conn) -> Result<Vec<Narrowed>> {
    let filter = api::filter(ctx)?;
    let mut out = Vec::new();
    let mut add = |by: &'static str, name: Result<String>| -> Result<()> {
        let name = match name {
            // An outdated link: nothing is found, and the filter names the reason.
            Err(e) if e.kind == Kind::NotFound => "?".into(),
            name => name?,
        };
        let without = asked(ctx, &[(by, ""), ("offset", "")]);
        out.push(Narrowed { by, name, without });
        Ok(())
    };
    if let Some(id) = filter.group {
        add("group_id", groups::get(conn, id).map(|g| g.fields.name))?;
    }
    if let Some(id) = filter.server {
        add("server_id", servers::get(conn, id).map(|s| s.fields.name))?;
    }
    if let Some(id) = filter.upstream {
        add("upstream_id", upstreams::get(conn, id).map(|u| u.fields.name))?;
    }
    if let Some(ssl) = filter.ssl {
        add("ssl", Ok(ssl.to_string()))?;
    }
    Ok(out)
}

/// A site on the domain's page.
#[derive(Serialize)]
struct SiteView {
    id: i64,
    name: String,
    wanted: bool,
    state: &'static str,
    glyph: &'static str,
    /// Its file there has an older name.
    old_name: Option<String>,
    generation: i64,
    adopted: bool,
    deployed_at: Option<Ms>,
    looked_at: Option<Ms>,
    code: Option<String>,
    say: String,
    /// Something is there, and the last try failed.
    unreached: bool,
    /// For a failed deploy: text id of what is there.
    stands: Option<&'static str>,
    issued: bool,
}

fn site(d: &Domain, s: &Site) -> SiteView {
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
struct View {
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

fn view(conn: &Conn, d: &Domain) -> Result<View> {
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

fn show(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "domain")?;
    let (domain, view, tasks) = ctx.app.db.read(|conn| {
        let domain = super::get(conn, id)?;
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
            .find(|t| t.kind == super::tasks::DEPLOY && t.status == Status::Failed);
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

/// The form as typed or as stored.
#[derive(Serialize)]
struct Form {
    id: Option<i64>,
    /// Name before editing.
    was: String,
    values: HashMap<String, String>,
    hsts: bool,
    /// Servers to choose from: chosen ones first, in order.
    servers: Vec<Choice>,
    upstreams: Vec<(String, String)>,
    groups: Vec<(String, String)>,
    certificates: Vec<(String, String)>,
}

#[derive(Serialize)]
struct Choice {
    id: i64,
    name: String,
    host: String,
    chosen: bool,
}

/// What a form shows for these fields.
fn values(f: Option<&Fields>) -> HashMap<String, String> {
    fn number<T>(id: Option<Id<T>>) -> String {
        id.map(|id| id.to_string()).unwrap_or_default()
    }
    [
        ("domain", f.map(|f| f.domain.unicode()).unwrap_or_default()),
        ("upstream_id", number(f.and_then(|f| f.upstream_id))),
        ("group_id", number(f.and_then(|f| f.group_id))),
        ("certificate_id", number(f.and_then(|f| f.certificate_id))),
        ("ssl", f.is_some_and(|f| f.ssl).to_string()),
        ("ns_policy", f.map(|f| f.ns_policy.clone()).unwrap_or_default()),
        (
            "preflight",
            f.map_or(Preflight::default(), |f| f.preflight).name().into(),
        ),
        ("notes", f.map(|f| f.notes.clone()).unwrap_or_default()),
    ]
    .map(|(name, value)| (name.to_string(), value))
    .into()
}

/// The form of a domain, or of a new one, with the values of `typed`.
fn form(conn: &Conn, domain: Option<&Domain>, typed: Option<&[(String, String)]>) -> Result<Form> {
    let mut values = values(domain.map(|d| &d.fields));
    let mut chosen: Vec<i64> = domain
        .iter()
        .flat_map(|d| &d.fields.server_ids)
        .map(|id| id.get())
        .collect();
    let mut hsts = domain.is_some_and(|d| d.fields.hsts);
    if let Some(pairs) = typed {
        values.extend(pairs.iter().cloned());
        let ids = pairs.iter().filter(|(name, _)| name == "server_ids");
        chosen = ids.filter_map(|(_, id)| id.parse().ok()).collect();
        hsts = pairs.iter().any(|(name, _)| name == "hsts");
    }
    let mut servers: Vec<Choice> = servers::all(conn)?
        .into_iter()
        .map(|s| Choice {
            id: s.id.get(),
            name: s.fields.name,
            host: s.fields.host,
            chosen: chosen.contains(&s.id.get()),
        })
        .collect();
    servers.sort_by_key(|s| chosen.iter().position(|id| *id == s.id).unwrap_or(usize::MAX));
    let pair = |id: i64, name: String| (id.to_string(), name);
    Ok(Form {
        id: domain.map(|d| d.id.get()),
        was: domain.map(Domain::name).unwrap_or_default(),
        values,
        hsts,
        servers,
        upstreams: upstreams::all(conn)?
            .into_iter()
            .map(|u| pair(u.id.get(), u.fields.name))
            .collect(),
        groups: groups::of_domains(conn)?
            .into_iter()
            .map(|g| pair(g.id.get(), g.fields.name))
            .collect(),
        certificates: super::certificates(conn)?
            .into_iter()
            .map(|(id, name)| pair(id, name))
            .collect(),
    })
}

fn form_page(
    ctx: &Ctx,
    id: Option<Id<id::Domain>>,
    typed: Option<&[(String, String)]>,
    errors: Errors,
) -> Result<Reply> {
    let form = ctx.app.db.read(|conn| {
        let domain = id.map(|id| super::get(conn, id)).transpose()?;
        form(conn, domain.as_ref(), typed)
    })?;
    page::show(
        ctx,
        "domains/form.html",
        serde_json::json!({ "form": form, "errors": errors }),
    )
}

/// A new one may be preset with an upstream, group or server of the query.
fn new(ctx: &Ctx) -> Result<Reply> {
    let begun: Vec<_> = ctx
        .request
        .query
        .iter()
        .filter(|(name, _)| ["upstream_id", "group_id", "server_ids"].contains(&name.as_str()))
        .cloned()
        .collect();
    form_page(ctx, None, Some(&begun), Errors::default())
}

fn edit(ctx: &Ctx) -> Result<Reply> {
    form_page(ctx, Some(ctx.id(0, "domain")?), None, Errors::default())
}

/// The form as API input. Unticked boxes are left out; TLS options count only with TLS.
fn input(pairs: &[(String, String)]) -> Input {
    let mut object = Map::new();
    let mut servers = Vec::new();
    let mut hsts = false;
    for (name, value) in pairs {
        match name.as_str() {
            "csrf" => {}
            "server_ids" => servers.push(Value::from(value.as_str())),
            "hsts" => hsts = true,
            _ => drop(object.insert(name.clone(), value.as_str().into())),
        }
    }
    let tls = object.get("ssl").is_some_and(|ssl| ssl == "true");
    object.insert("hsts".into(), (hsts && tls).into());
    object.insert("server_ids".into(), servers.into());
    Input::of(model::PARAMS, object)
}

/// The form with its mistakes, or the error itself if it is not about fields.
fn again(ctx: &Ctx, id: Option<Id<id::Domain>>, pairs: &[(String, String)], error: Error) -> Result<Reply> {
    if error.fields.is_empty() || !matches!(error.kind, Kind::Invalid | Kind::Conflict) {
        return Err(error);
    }
    Ok(form_page(ctx, id, Some(pairs), Errors::of(&error))?.with_status(422))
}

fn create(ctx: &Ctx) -> Result<Reply> {
    let pairs = ctx.request.form()?;
    match api::add(ctx.app, input(&pairs), &ctx.unplaced(Edit, Domains)?) {
        Ok(domain) => Ok(Reply::see_other(format!("/domains/{}", domain.id))),
        Err(e) => again(ctx, None, &pairs, e),
    }
}

fn change(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "domain")?;
    let pairs = ctx.request.form()?;
    match api::save(
        ctx.app,
        id,
        input(&pairs),
        |d| Some(d.fields.clone()),
        ctx.allowed(Edit, Domains)?,
    ) {
        Ok(_) => Ok(Reply::see_other(format!("/domains/{id}"))),
        Err(e) => again(ctx, Some(id), &pairs, e),
    }
}

fn ask(ctx: &Ctx, unconfirmed: bool) -> Result<Reply> {
    let id = ctx.id(0, "domain")?;
    let domain = ctx.app.db.read(|conn| view(conn, &super::get(conn, id)?))?;
    let content = serde_json::json!({ "domain": domain, "unconfirmed": unconfirmed });
    page::show(ctx, "domains/ask.html", content)
}

fn ask_delete(ctx: &Ctx) -> Result<Reply> {
    ask(ctx, false)
}

/// Needs the domain's name typed, in either form.
fn delete(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "domain")?;
    let by = ctx.allowed(Edit, Domains)?;
    let pairs = ctx.request.form()?;
    let typed = pairs
        .iter()
        .find(|(name, _)| name == "confirm")
        .map(|(_, value)| value.trim());
    let ticked = |name| pairs.iter().any(|(n, value)| n == name && value == "true");
    let choice = super::deploy::Choice {
        overwrite: ticked("overwrite"),
        forget: ticked("forget"),
    };
    let deleted = ctx.app.db.write(|tx| {
        let domain = super::get(tx, id)?;
        if typed != Some(&*domain.name()) && typed != Some(domain.fields.domain.ascii()) {
            return Ok(None);
        }
        super::delete(ctx.app, tx, id, &choice, by).map(Some)
    })?;
    match deleted {
        None => Ok(ask(ctx, true)?.with_status(422)),
        Some(None) => Ok(Reply::see_other("/domains")),
        Some(Some(task)) => Ok(Reply::see_other(format!("/tasks/{task}"))),
    }
}

/// Deploys the ticked domains and shows the result of each.
fn bulk(ctx: &Ctx) -> Result<Reply> {
    let bulk = api::deploy_all(ctx.app, &picked(ctx, BULK_MAX)?, &ctx.unplaced(Deploy, Domains)?)?;
    if let ([one], []) = (&bulk.tasks[..], &bulk.refused[..]) {
        return Ok(Reply::see_other(format!("/tasks/{}", one.task_id)));
    }
    page::show(ctx, "domains/bulk.html", bulk)
}
