//! The inventory's JSON API, and its texts for other programs.

use super::export;
use super::plan::{self, Plan};
use crate::access::right::{Edit, Read, Servers, may};
use crate::base::error::Result;
use crate::base::shape::{Described, Shape, described};
use crate::features::fleet::groups;
use crate::features::fleet::servers::{self, Server};
use crate::form::param::{self, Param};
use crate::http::reply::{Reply, TEXT};
use crate::http::request::Method::{Get, Post};
use crate::http::route::{Ctx, Route, route};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Routes of the JSON API.
pub const ROUTES: &[Route] = &[
    route(Post, "/api/inventory/preview", may(Edit, Servers), preview)
        .takes(plan::PARAMS)
        .gives::<Plan>()
        .asks_others(),
    route(Post, "/api/inventory/import", may(Edit, Servers), import)
        .takes(plan::PARAMS)
        .gives::<Plan>()
        .asks_others(),
    route(Get, "/api/inventory/ansible", may(Read, Servers), ansible)
        .query(ONLY)
        .gives::<Map<String, Value>>(),
    route(Get, "/api/inventory/ssh-config", may(Read, Servers), ssh_config)
        .query(SSH)
        .gives_bytes(TEXT),
    route(Get, "/api/inventory/known-hosts", may(Read, Servers), known_hosts)
        .query(ONLY)
        .gives_bytes(TEXT),
    route(Get, "/api/inventory/prometheus-sd", may(Read, Servers), prometheus)
        .query(SD)
        .gives::<Targets>(),
];

const TAG: Param = param::text("tag", 64, "Only servers with this tag.");
const ENVIRONMENT: Param = param::text("environment", 64, "Only servers of this environment.");
const ONLY: &[Param] = &[TAG, ENVIRONMENT];
const SSH: &[Param] = &[
    TAG,
    ENVIRONMENT,
    param::text("known_hosts", 1_024, "Where the file with the accepted keys will be."),
];
const SD: &[Param] = &[
    TAG,
    ENVIRONMENT,
    param::number("port", 1..=65535, "Where the exporter listens on each of them.").or(9100),
];
/// Where [`known_hosts`] is to be put.
const KNOWN_HOSTS: &str = "~/.ssh/lamplighter_known_hosts";

fn preview(ctx: &Ctx) -> Result<Reply> {
    let asked = plan::asked(ctx, ctx.input()?)?;
    Reply::json(&asked.carry_out(ctx.app, ctx.allowed(Edit, Servers)?, false)?)
}

fn import(ctx: &Ctx) -> Result<Reply> {
    let asked = plan::asked(ctx, ctx.input()?)?;
    Reply::json(&asked.carry_out(ctx.app, ctx.allowed(Edit, Servers)?, true)?)
}

/// Those that are asked for, of those that the caller may see, by name.
fn asked(ctx: &Ctx) -> Result<Vec<Server>> {
    let filter = servers::Filter {
        tag: ctx.param("tag"),
        environment: ctx.param("environment"),
        limit: i64::MAX,
        ..servers::Filter::default()
    };
    Ok(ctx.app.db.read(|conn| servers::list(conn, &filter))?.0)
}

fn ansible(ctx: &Ctx) -> Result<Reply> {
    let groups = ctx.app.db.read(groups::members_by_name)?;
    Reply::json(&export::ansible(&asked(ctx)?, &groups))
}

fn ssh_config(ctx: &Ctx) -> Result<Reply> {
    let place = ctx.param("known_hosts");
    let place = match place.contains(char::is_control) || place.contains('"') {
        _ if place.is_empty() => KNOWN_HOSTS,
        true => KNOWN_HOSTS,
        false => place,
    };
    Ok(Reply::text(export::ssh_config(&asked(ctx)?, place)))
}

fn known_hosts(ctx: &Ctx) -> Result<Reply> {
    Ok(Reply::text(export::known_hosts(&asked(ctx)?)))
}

described! {
    /// One server as a target.
    struct Target {
        targets: Vec<String>,
        labels: BTreeMap<String, String>,
    }
}

/// A bare list, as Prometheus wants it.
#[derive(Serialize)]
#[serde(transparent)]
struct Targets(Vec<Target>);

impl Described for Targets {
    const SHAPE: &'static Shape = &Shape::List(Target::SHAPE);
}

fn prometheus(ctx: &Ctx) -> Result<Reply> {
    let port = ctx.number("port")? as u16;
    let each = asked(ctx)?.into_iter().map(|server| {
        let (target, labels) = export::prometheus(&server, port);
        Target {
            targets: vec![target],
            labels: labels
                .into_iter()
                .map(|(name, value)| (name.to_string(), value))
                .collect(),
        }
    });
    Reply::json(&Targets(each.collect()))
}
