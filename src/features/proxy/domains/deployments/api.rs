//! Deployments over the API.

use crate::access::right::{Deploy, Domains, Edit};
use crate::base::clock::rfc3339;
use crate::base::error::{Error, Kind, Result};
use crate::base::id::{self, Id};
use crate::base::process::Cancel;
use crate::base::shape::described;
use crate::features::fleet::servers::ServerConnection;
use crate::features::proxy::domains::deploy::Choice;
use crate::features::proxy::domains::desired::DesiredState;
use crate::features::proxy::domains::inspect;
use crate::features::proxy::domains::plan::{self, ServerPlan};
use crate::features::proxy::domains::tasks::Renewal;
use crate::features::proxy::domains::{self, preflight};
use crate::form::param::{self, Param};
use crate::http::reply::Reply;
use crate::http::route::Ctx;

described! {
    /// A plan as the API shows it.
    pub struct PlanView<'a> {
        made_at: String,
        /// Would a deploy succeed, as far as known?
        ok: bool,
        changes: usize,
        preflight: Option<&'a preflight::Report>,
        faults: &'a [plan::Finding],
        servers: Vec<ServerView<'a>>,
    }

    struct ServerView<'a> {
        server_id: Id<id::Server>,
        server: &'a str,
        canary: bool,
        leaves: bool,
        steps: &'a [plan::Step],
        faults: &'a [plan::Finding],
        /// In the form of `diff -u`; empty if unchanged.
        diff: String,
        certificate: Option<CertificateView<'a>>,
    }

    struct CertificateView<'a> {
        not_before: Option<String>,
        not_after: Option<String>,
        names: &'a [String],
        issuer: &'a str,
        sha256: &'a str,
    }
}

fn server(s: &ServerPlan) -> ServerView<'_> {
    ServerView {
        server_id: s.server,
        server: &s.name,
        canary: s.canary,
        leaves: s.leaves,
        steps: &s.steps,
        faults: &s.faults,
        diff: s.diff().to_string(),
        certificate: s.certificate.as_ref().map(|c| CertificateView {
            not_before: c.not_before.map(rfc3339),
            not_after: c.not_after.map(rfc3339),
            names: &c.names,
            issuer: &c.issuer,
            sha256: &c.sha256,
        }),
    }
}

/// `POST /api/domains/{id}/plan`: inspects servers and DNS, changes nothing.
pub fn plan(ctx: &Ctx) -> Result<Reply> {
    ctx.input()?.finish(&[])?;
    let desired = DesiredState::load(ctx.app, ctx.id(0, "domain")?)?;
    let plan = ctx.outbound(move |app| Ok(inspect::make(app, &desired, &Cancel::new())))?;
    Reply::json(&PlanView {
        made_at: rfc3339(plan.made_at),
        ok: !plan.stops(),
        changes: plan.changes(),
        preflight: plan.preflight.as_ref(),
        faults: &plan.faults,
        servers: plan.servers.iter().map(server).collect(),
    })
}

/// `POST /api/domains/{id}/deploy` `{"overwrite":false}`: 202 and the task.
pub fn deploy(ctx: &Ctx) -> Result<Reply> {
    let mut input = ctx.input()?;
    let overwrite = input.flag("overwrite").unwrap_or(false);
    input.finish(&[])?;
    let id = ctx.id(0, "domain")?;
    let by = ctx.allowed(Deploy, Domains)?;
    let choice = Choice {
        overwrite,
        ..Choice::default()
    };
    Reply::accepted(ctx.app.db.write(|tx| domains::deploy(ctx.app, tx, id, &choice, by))?)
}

/// `POST /api/domains/{id}/renew` `{"force":false}`: 202 and the task.
pub fn renew(ctx: &Ctx) -> Result<Reply> {
    let mut input = ctx.input()?;
    let force = input.flag("force").unwrap_or(false);
    input.finish(&[])?;
    let id = ctx.id(0, "domain")?;
    let by = ctx.allowed(Deploy, Domains)?;
    let choice = Renewal { force };
    Reply::accepted(ctx.app.db.write(|tx| domains::renew(ctx.app, tx, id, &choice, by))?)
}

/// Query parameters of the file.
pub const CONFIG: &[Param] = &[
    param::number("server_id", 0..=i64::MAX, "On this server; 0: the first."),
    param::flag("live", "1: as it is there now, in place of as it would be put."),
];

/// Input that names a server.
pub const SERVER: &[Param] = &[param::number("server_id", 1..=i64::MAX, "On which server.").required()];

/// `GET /api/domains/{id}/nginx-config`: the file for the first server, or for `?server_id=`; with `?live=1` as it is
/// there now.
pub fn nginx_config(ctx: &Ctx) -> Result<Reply> {
    let server = ctx.number("server_id")?;
    let live = ctx.flag("live")?;
    let desired = DesiredState::load(ctx.app, ctx.id(0, "domain")?)?;
    let wanted = desired.sites.iter().filter(|(placement, _)| placement.wanted || live);
    let site = wanted
        .clone()
        .find(|(placement, _)| server == 0 || placement.server.get() == server);
    let no_site = || {
        let say = "This domain is not on that server, or on none at all.";
        Error::new(Kind::NotFound, "no_site", say)
    };
    let (placement, _) = site.ok_or_else(no_site)?;
    if !live {
        return Ok(Reply::text(desired.render(placement, placement.nginx.as_ref())?.text));
    }
    let server = placement.server;
    let seen = ctx.outbound(move |app| {
        let mut sites = desired.sites.iter();
        let (placement, _) = sites.find(|(p, _)| p.server == server).ok_or_else(no_site)?;
        let connection = ServerConnection::of(app, server)?;
        inspect::on_server(app, &connection, &desired, placement, &Cancel::new(), &mut |_| ())
    })?;
    match seen.found {
        Some(_) => Ok(Reply::text(seen.before)),
        None => {
            let say = "There is no such file on that server.";
            Err(Error::new(Kind::NotFound, "no_file", say))
        }
    }
}

/// `POST /api/domains/{id}/adopt` `{"server_id":1}`: accepts the file as last found.
pub fn adopt(ctx: &Ctx) -> Result<Reply> {
    let (id, server, by) = (ctx.id(0, "domain")?, which_server(ctx)?, ctx.allowed(Deploy, Domains)?);
    ctx.app.db.write(|tx| super::accept(ctx.app, tx, id, server, by))?;
    Ok(Reply::status(204))
}

/// `POST /api/domains/{id}/forget` `{"server_id":1}`: forgets the site; nothing is done on the server.
pub fn forget(ctx: &Ctx) -> Result<Reply> {
    let (id, server, by) = (ctx.id(0, "domain")?, which_server(ctx)?, ctx.allowed(Edit, Domains)?);
    ctx.app
        .db
        .write(|tx| domains::forget_site(ctx.app, tx, id, server, by))?;
    Ok(Reply::status(204))
}

/// The `server_id` of a body without other fields.
pub(super) fn which_server(ctx: &Ctx) -> Result<Id<id::Server>> {
    let mut input = ctx.input()?;
    let server = input.number("server_id");
    if server.is_none() && !input.has_error("server_id") {
        input.wrong("server_id", "required", "Say on which server.");
    }
    input.finish(&[])?;
    Ok(Id::new(server.unwrap_or_default()))
}
