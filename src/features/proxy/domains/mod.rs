//! Domains: a name, its servers and its upstream; planned, deployed, proved or rolled back.
//!
//! Settings of a domain reach a server only by a deploy. A domain that is on servers is removed from them before its
//! row is deleted.

mod settings;
mod events;
mod vhost;
mod model;
mod queries;
mod placements;
mod preflight;
mod desired;
mod plan;
mod evaluate;
mod inspect;
mod deploy;
mod tasks;
mod drift;
mod section;
mod deployments;
mod api;
mod pages;
mod exposition;

use crate::access::Allowed;
use crate::access::right;
use crate::access::right::{Deploy, Domains, Edit, IsVerb};
use crate::app::App;
use crate::audit;
use crate::base::clock::{self, Ms};
use crate::base::error::{Error, Field, Kind, Result};
use crate::base::id::{self, Id, Task};
use crate::base::text;
use crate::db::{Conn, Tx};
use crate::events::outbox::{self, Event};
use crate::events::wake::Wake;
use crate::feature::Feature;
use crate::feature::{Hit, Source};
use crate::features::fleet::servers;
use crate::features::proxy::certificates;
use crate::http::menu::{Badge, Entry, State};
use crate::kinds::{Related, TargetKind};
use crate::schedule::{Periodic, Work};
use crate::task::{self, queue};
use model::{Fields, Stands, Valid};
use std::time::Duration;

pub use deploy::Choice;
pub use deployments::picked;
pub use drift::check as check_drift;
pub use model::{PARAMS, read};
pub use placements::{EDITED, make_due};
pub use preflight::{Report, Verdict, check_addresses, expected_addresses, name_servers};
pub use queries::{Filter, Sort, certificates, counts, lamps, loud};
pub use tasks::is_busy;
pub use vhost::{
    RenderedVhost, Vhost, VhostTls, marker, pair_in, peers_in, proof_in, render as render_vhost, untouched,
};

pub use settings::ACME_DIRECTORY;

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    tasks: tasks::TASKS,
    react: Some(react),
    periodic: PERIODIC,
    routes: api::ROUTES,
    pages: pages::ROUTES,
    cards: pages::CARDS,
    panels: pages::PANELS,
    sections: &[section::SECTION],
    settings: settings::SETTINGS,
    kinds: events::KINDS,
    menu: MENU,
    search: SEARCH,
    targets: &[TARGET],
    exposes: exposition::EXPOSES,
    ..Feature::named("domains")
};

const TARGET: TargetKind = TargetKind {
    name: "domain",
    page: "/domains/",
    name_of: |conn, id| Ok(find(conn, Id::new(id))?.map(|domain| domain.name())),
    named: |conn, name| {
        let name = name.to_lowercase();
        let same = |d: &Domain| d.name() == name || d.fields.domain.ascii() == name;
        Ok(all(conn)?.into_iter().find(same).map(|d| d.id.get()))
    },
    related: |conn, id| {
        let mut related = vec![Related::to(TARGET.name, id)];
        let Some(domain) = find(conn, Id::new(id))? else {
            return Ok(related);
        };
        related.extend(domain.fields.group_id.map(|group| Related::to("group", group.get())));
        // Where it lies, or as long as it lies nowhere, where it is to lie.
        let lies = domain.sites.iter().any(|s| !s.name.is_empty());
        for site in domain.sites.iter().filter(|s| !lies || !s.name.is_empty()) {
            match servers::get(conn, site.server) {
                Ok(server) => related.push(servers::related(&server)),
                Err(e) if e.kind == Kind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(related)
    },
};

const MENU: &[Entry] = &[Entry {
    path: "/domains",
    word: "domains",
    icon: "globe",
    keys: "g d",
    right: right::may(right::Read, right::Domains),
    place: (2, 1),
    badge: |app| {
        let loud = app.db.read(loud)?;
        let of = |lamp: &str| loud.iter().filter(|(r, _)| r.lamp == lamp).map(|(_, n)| n).sum::<i64>();
        let (state, affected) = match (of("dark"), of("flick")) {
            (n @ 1.., _) => (State::Down, n),
            (_, n @ 1..) => (State::Degraded, n),
            _ => (State::Up, 0),
        };
        Ok(Badge {
            state,
            affected,
            ..Badge::default()
        })
    },
    ..Entry::NEW
}];

const SEARCH: &[Source] = &[Source {
    kind: "domains",
    place: 2,
    right: right::may(right::Read, right::Domains),
    list: Some("/domains"),
    find: |ctx, q, limit| {
        let filter = Filter {
            q,
            limit,
            ..Default::default()
        };
        let (rows, all) = ctx.app.db.read(|conn| list(conn, &filter))?;
        let hit = |d: Domain| Hit {
            name: certificates::shown(d.fields.domain.ascii()),
            detail: d.group.unwrap_or_default(),
            href: format!("/domains/{}", d.id),
        };
        Ok((rows.into_iter().map(hit).collect(), all))
    },
}];

fn react(app: &App, tx: &Tx, event: &Event) -> Result<()> {
    tasks::react(app, tx, event)?;
    drift::react(app, tx, event)
}

const PERIODIC: &[Periodic] = &[Periodic {
    name: "domains.drift",
    // A short query; servers are checked by `drift.interval_min`.
    every: Duration::from_secs(20),
    run: Work::Long(drift::run_once),
}];

/// Why a domain has its state.
#[derive(Debug, PartialEq, Eq)]
pub struct Reason {
    /// Id of the text.
    pub name: &'static str,
    /// `lit`, `flick`, `dark` or `unlit`.
    pub lamp: &'static str,
    /// Source of its evidence and beginning.
    about: About,
}

/// Subject of a [`Reason`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    /// The settings.
    DesiredState,
    /// The last deploy or removal.
    Deploy,
    /// The files on the servers.
    Files,
    /// The answers.
    Answers,
    /// The served certificate.
    Certificate,
    /// The name servers.
    NameServers,
    /// No problem.
    Nothing,
}

/// All reasons. Which one applies is decided in `queries`, so that lists can be filtered by it.
pub const REASONS: &[Reason] = &[
    reason("not_deployed", "unlit", About::DesiredState),
    reason("never_worked", "dark", About::Deploy),
    reason("down", "dark", About::Answers),
    reason("unreachable", "dark", About::Answers),
    reason("firewalled", "dark", About::Answers),
    reason("shadowed", "dark", About::Answers),
    reason("backend", "dark", About::Answers),
    reason("cert_bad", "dark", About::Certificate),
    reason("half_dark", "flick", About::Answers),
    reason("incomplete", "flick", About::Deploy),
    reason("deploy_failed", "flick", About::Deploy),
    reason("drifted", "flick", About::Files),
    reason("cert_urgent", "flick", About::Certificate),
    reason("ns_mismatch", "flick", About::NameServers),
    reason("ns_error", "flick", About::NameServers),
    reason("cert_soon", "flick", About::Certificate),
    reason("partly", "flick", About::DesiredState),
    reason("removing", "flick", About::DesiredState),
    reason("lit", "lit", About::Nothing),
];

const fn reason(name: &'static str, lamp: &'static str, about: About) -> Reason {
    Reason { name, lamp, about }
}

/// A domain on a server: is it wanted there, and its last deploy.
#[derive(Debug, Clone)]
pub struct Site {
    /// The server.
    pub server: Id<id::Server>,
    /// Its name.
    pub server_name: String,
    /// `false`: to be removed by the next deploy.
    pub wanted: bool,
    /// `none`, `live`, `failed` or `drifted`.
    pub state: &'static str,
    /// Name of its file there; empty: none.
    pub name: String,
    /// Incremented with every text that is put.
    pub generation: i64,
    /// Was a foreign text adopted?
    pub adopted: bool,
    /// Last deploy, unix ms.
    pub deployed_at: Option<Ms>,
    /// Last check, unix ms.
    pub looked_at: Option<Ms>,
    /// Code and sentence of the last failure.
    pub error: Option<(String, String)>,
    /// For state `failed`: what is there now.
    pub stands: Option<Stands>,
    /// Was a certificate issued before the failure?
    pub issued: bool,
    /// Since when it has its state, unix ms.
    pub since: Option<Ms>,
}

/// A domain's row.
#[derive(Debug, Clone)]
pub struct Domain {
    /// Id.
    pub id: Id<id::Domain>,
    /// What a person set.
    pub fields: Fields,
    /// Name of its upstream.
    pub upstream: Option<String>,
    /// Name of its group.
    pub group: Option<String>,
    /// Placements, wanted ones first, in order.
    pub sites: Vec<Site>,
    /// Why it has its state.
    pub reason: &'static Reason,
    /// `unknown`, `ok`, `mismatch` or `error`.
    pub ns_state: &'static str,
    /// One sentence about it.
    pub ns_say: String,
    /// Time of the last check, unix ms.
    pub ns_at: Option<Ms>,
    /// Since when, unix ms.
    pub ns_since: Option<Ms>,
    /// `unknown`, `ok`, `soon`, `urgent` or `bad`.
    pub cert_state: &'static str,
    /// One sentence about it.
    pub cert_say: String,
    /// Since when, unix ms.
    pub cert_since: Option<Ms>,
    /// Earliest expiry of the served certificates, unix ms.
    pub cert_not_after: Option<Ms>,
    /// Answers from outside: `unknown`, `ok`, `partly`, `backend`, `shadowed`, `firewalled`, `unreachable` or `down`.
    pub answer_state: &'static str,
    /// Problems, one sentence each.
    pub answer_say: Vec<String>,
    /// Since when, unix ms.
    pub answer_since: Option<Ms>,
    /// Is it being removed from its servers?
    pub removing: bool,
    /// Revision, incremented with every change by a person.
    pub revision: i64,
    /// Unix ms.
    pub created_at: Ms,
    /// Unix ms.
    pub updated_at: Ms,
}

impl Domain {
    /// Display form of the name.
    pub fn name(&self) -> String {
        self.fields.domain.unicode()
    }

    /// Beginning of its state with this reason, unix ms.
    pub fn since(&self) -> Option<Ms> {
        let of_sites = |state: &str| {
            let so = self.sites.iter().filter(|s| s.state == state);
            so.filter_map(|s| s.since).min()
        };
        match self.reason.about {
            About::Deploy => of_sites("failed"),
            About::Files => of_sites("drifted"),
            About::Answers => self.answer_since,
            About::NameServers => self.ns_since,
            About::Certificate => self.cert_since,
            About::DesiredState if self.reason.name == "not_deployed" => Some(self.created_at),
            About::DesiredState => Some(self.updated_at),
            About::Nothing => self.sites.iter().filter_map(|s| s.deployed_at).max(),
        }
    }
}

/// One domain. Error `NotFound`.
pub fn get(conn: &Conn, id: Id<id::Domain>) -> Result<Domain> {
    queries::get(conn, id)?.ok_or_else(|| Error::not_found("domain"))
}

/// One domain, if it exists.
pub fn find(conn: &Conn, id: Id<id::Domain>) -> Result<Option<Domain>> {
    queries::get(conn, id)
}

/// A page of domains and their total.
pub fn list(conn: &Conn, filter: &Filter) -> Result<(Vec<Domain>, i64)> {
    queries::list(conn, filter)
}

/// Every domain by name.
pub fn all(conn: &Conn) -> Result<Vec<Domain>> {
    let filter = Filter {
        limit: i64::MAX,
        ..Filter::default()
    };
    Ok(list(conn, &filter)?.0)
}

/// Adds a domain. Changes no server. Error: duplicate name, missing rows.
pub fn create(app: &App, tx: &Tx, valid: &Valid, by: Allowed<Edit, Domains>) -> Result<Id<id::Domain>> {
    refuse_missing(tx, &valid.fields)?;
    let id = queries::insert(tx, &valid.fields, clock::now())?;
    placements::want(tx, id, &valid.fields.server_ids)?;
    note(app, tx, by, ("domain.create", "domain.created"), id, &valid.fields)?;
    Ok(id)
}

/// Changes a domain if it is still as it was when `valid` was read over `old`. Changes no server. Error `Conflict`
/// otherwise.
pub fn update(app: &App, tx: &Tx, old: &Domain, valid: &Valid, by: Allowed<Edit, Domains>) -> Result<()> {
    by.reaches(&valid.place())?;
    let now = get(tx, old.id)?;
    refuse_removing(&now)?;
    if now.revision != old.revision {
        let say = "This domain was changed meanwhile. Load it again and repeat your change.";
        return Err(Error::new(Kind::Conflict, "domain_changed", say));
    }
    refuse_missing(tx, &valid.fields)?;
    queries::update(tx, old.id, &valid.fields, clock::now())?;
    placements::want(tx, old.id, &valid.fields.server_ids)?;
    note(app, tx, by, ("domain.update", "domain.changed"), old.id, &valid.fields)
}

fn refuse_missing(conn: &Conn, fields: &Fields) -> Result<()> {
    let missing = queries::missing(conn, fields)?;
    if !missing.is_empty() {
        return Err(Error::invalid(missing));
    }
    let Some(id) = fields.certificate_id else {
        return Ok(());
    };
    let certificate = certificates::get(conn, id)?;
    if certificates::covers(&certificate.names, fields.domain.ascii()) {
        return Ok(());
    }
    let message = format!(
        "The certificate “{}” is for {}, not for this domain. Choose another one.",
        certificate.name,
        text::one_line(&certificate.names.join(", "), 200)
    );
    let (field, code) = ("certificate_id", "not_covering");
    Err(Error::invalid(vec![Field { field, code, message }]))
}

fn refuse_removing(domain: &Domain) -> Result<()> {
    if domain.removing {
        let say = "This domain is being removed. Wait for that, then add it again.";
        return Err(Error::new(Kind::Conflict, "domain_removing", say));
    }
    Ok(())
}

fn refuse_while_worked_on(conn: &Conn, id: Id<id::Domain>) -> Result<()> {
    match queue::open(conn, ("domain", id.get()), |_| true)? {
        None => Ok(()),
        Some(task) => {
            let say = format!("Task {task} still works on this domain. Wait for it or cancel it first.");
            Err(Error::new(Kind::Conflict, "task_open", say))
        }
    }
}

/// Deletes a domain: at once if it is on no server, else by a task that removes it first.
pub fn delete(
    app: &App,
    tx: &Tx,
    id: Id<id::Domain>,
    choice: &Choice,
    by: Allowed<Edit, Domains>,
) -> Result<Option<Id<Task>>> {
    let domain = get(tx, id)?;
    refuse_while_worked_on(tx, id)?;
    if !placements::deployed(tx, id)? {
        let object = format!("domain {id} {}", domain.fields.domain);
        let data = serde_json::json!({ "name": domain.name() });
        audit::append(tx, &app.vault, by, "domain.delete", &object, &data)?;
        forget(tx, &app.wakes.events, &domain)?;
        return Ok(None);
    }
    queries::set_removing(tx, id, clock::now())?;
    start(app, tx, &domain, tasks::REMOVE, choice, by).map(Some)
}

/// Forgets a domain's site on one server that is gone for good; nothing is done on it. If it is wanted there, it counts
/// as never deployed.
pub fn forget_site(
    app: &App,
    tx: &Tx,
    id: Id<id::Domain>,
    server: Id<id::Server>,
    by: Allowed<Edit, Domains>,
) -> Result<()> {
    let domain = get(tx, id)?;
    refuse_while_worked_on(tx, id)?;
    let row = placements::at(tx, id, server)?;
    let name = domain.name();
    let on = servers::get(tx, server)?.fields.name;
    placements::mark_removed(tx, &row)?;
    let say = format!("What lay on {on} was forgotten, not taken off.");
    let data = serde_json::json!({ "name": name, "server_id": server, "evidence": [say] });
    let object = format!("domain {id} {}", domain.fields.domain);
    audit::append(tx, &app.vault, by, "domain.forget_site", &object, &data)?;
    outbox::emit(
        tx,
        &app.wakes.events,
        "domain.site_forgotten",
        ("domain", id.get()),
        &data,
    )
}

/// Deletes a domain that is on no server.
pub fn forget(tx: &Tx, wake: &Wake, domain: &Domain) -> Result<()> {
    queries::remove(tx, domain.id)?;
    let data = serde_json::json!({ "name": domain.name(), "domain": domain.fields.domain });
    outbox::emit(tx, wake, "domain.deleted", ("domain", domain.id.get()), &data)
}

/// Enqueues a deploy. Error: nothing to deploy, or a task is open.
pub fn deploy(
    app: &App,
    tx: &Tx,
    id: Id<id::Domain>,
    choice: &Choice,
    by: Allowed<Deploy, Domains>,
) -> Result<Id<Task>> {
    let domain = get(tx, id)?;
    refuse_removing(&domain)?;
    let lacking = |code, say| Err(Error::new(Kind::Conflict, code, say));
    if domain.sites.is_empty() {
        return lacking(
            "no_server",
            "This domain has no server. Choose where it is to be served.",
        );
    }
    if domain.sites.iter().any(|s| s.wanted) && domain.fields.upstream_id.is_none() {
        return lacking(
            "no_upstream",
            "This domain has no upstream. Choose where its requests go.",
        );
    }
    start(app, tx, &domain, tasks::DEPLOY, choice, by)
}

/// Enqueues a renewal of a domain's certificates.
pub fn renew(
    app: &App,
    tx: &Tx,
    id: Id<id::Domain>,
    choice: &tasks::Renewal,
    by: Allowed<Deploy, Domains>,
) -> Result<Id<Task>> {
    let domain = get(tx, id)?;
    refuse_removing(&domain)?;
    start(app, tx, &domain, tasks::RENEW, choice, by)
}

/// As [`renew`], automatically: not while another task works on the domain, nor if it was tried after `since`.
pub fn renew_due(app: &App, tx: &Tx, id: Id<id::Domain>, since: Ms) -> Result<()> {
    let target = ("domain", id.get());
    let tried = task::Filter {
        kind: Some(tasks::RENEW),
        target: Some(target),
        limit: 1,
        ..task::Filter::default()
    };
    let lately = queue::list(tx, &tried)?.0.iter().any(|task| task.created_at > since);
    if lately || queue::open(tx, target, |_| true)?.is_some() {
        return Ok(());
    }
    renew(app, tx, id, &tasks::Renewal::default(), Allowed::by_daemon()).map(drop)
}

fn start<V: IsVerb>(
    app: &App,
    tx: &Tx,
    domain: &Domain,
    kind: &'static str,
    choice: &impl serde::Serialize,
    by: Allowed<V, Domains>,
) -> Result<Id<Task>> {
    let name = domain.name();
    let new = task::NewTask {
        kind,
        target: ("domain", domain.id.get(), &name),
        input: serde_json::to_value(choice).map_err(Error::internal)?,
    };
    let task = queue::enqueue(tx, &app.wakes.tasks, &new, by)?;
    let data = serde_json::json!({ "task": task, "choice": choice });
    audit::append(tx, &app.vault, by, kind, &format!("domain {} {name}", domain.id), &data)?;
    Ok(task)
}

/// Set by the watch of name servers. `state` is `ok`, `mismatch` or `error`. Not a change of the domain's revision.
pub fn set_ns_status(tx: &Tx, id: Id<id::Domain>, state: &str, say: &str, at: Ms) -> Result<()> {
    queries::set_ns_status(tx, id, state, say, at)
}

/// State of a domain's certificates.
pub struct CertStatus<'a> {
    /// `unknown`, `ok`, `soon`, `urgent` or `bad`.
    pub state: &'static str,
    /// One sentence.
    pub say: &'a str,
    /// Earliest expiry.
    pub not_after: Option<Ms>,
    /// Beginning, if the certificate tells it; else when it was first seen.
    pub since: Option<Ms>,
}

/// Set by the watch of certificates. Not a change of the domain's revision.
pub fn set_cert_status(tx: &Tx, id: Id<id::Domain>, status: &CertStatus, at: Ms) -> Result<()> {
    queries::set_cert_status(tx, id, status, at)
}

/// Set by the watch of sites. `state` as in [`Domain::answer_state`]. Not a change of the domain's revision.
pub fn set_answers(tx: &Tx, id: Id<id::Domain>, state: &str, say: &[String], since: Option<Ms>) -> Result<()> {
    queries::set_answers(tx, id, state, say, since)
}

fn note(
    app: &App,
    tx: &Tx,
    by: Allowed<Edit, Domains>,
    what: (&str, &str),
    id: Id<id::Domain>,
    fields: &Fields,
) -> Result<()> {
    let (name, ascii) = (fields.domain.unicode(), fields.domain.ascii());
    let data = serde_json::json!({ "name": name, "domain": ascii });
    audit::append(tx, &app.vault, by, what.0, &format!("domain {id} {ascii}"), &data)?;
    outbox::emit(tx, &app.wakes.events, what.1, ("domain", id.get()), &data)
}
