//! Deleting a domain, and deploying those that are ticked in the list.

use super::show::view;
use crate::access::right::{Deploy, Domains, Edit};
use crate::base::error::Result;
use crate::features::proxy::domains::deployments::{BULK_MAX, picked};
use crate::features::proxy::domains::{self, api};
use crate::http::page;
use crate::http::reply::Reply;
use crate::http::route::Ctx;

fn ask(ctx: &Ctx, unconfirmed: bool) -> Result<Reply> {
    let id = ctx.id(0, "domain")?;
    let domain = ctx.app.db.read(|conn| view(conn, &domains::get(conn, id)?))?;
    let content = serde_json::json!({ "domain": domain, "unconfirmed": unconfirmed });
    page::show(ctx, "domains/ask.html", content)
}

pub fn ask_delete(ctx: &Ctx) -> Result<Reply> {
    ask(ctx, false)
}

/// Needs the domain's name typed, in either form.
pub fn delete(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "domain")?;
    let by = ctx.allowed(Edit, Domains)?;
    let pairs = ctx.request.form()?;
    let typed = pairs
        .iter()
        .find(|(name, _)| name == "confirm")
        .map(|(_, value)| value.trim());
    let ticked = |name| pairs.iter().any(|(n, value)| n == name && value == "true");
    let choice = domains::deploy::Choice {
        overwrite: ticked("overwrite"),
        forget: ticked("forget"),
    };
    let deleted = ctx.app.db.write(|tx| {
        let domain = domains::get(tx, id)?;
        if typed != Some(&*domain.name()) && typed != Some(domain.fields.domain.ascii()) {
            return Ok(None);
        }
        domains::delete(ctx.app, tx, id, &choice, by).map(Some)
    })?;
    match deleted {
        None => Ok(ask(ctx, true)?.with_status(422)),
        Some(None) => Ok(Reply::see_other("/domains")),
        Some(Some(task)) => Ok(Reply::see_other(format!("/tasks/{task}"))),
    }
}

/// Deploys the ticked domains and shows the result of each.
pub fn bulk(ctx: &Ctx) -> Result<Reply> {
    let bulk = api::deploy_all(ctx.app, &picked(ctx, BULK_MAX)?, &ctx.unplaced(Deploy, Domains)?)?;
    if let ([one], []) = (&bulk.tasks[..], &bulk.refused[..]) {
        return Ok(Reply::see_other(format!("/tasks/{}", one.task_id)));
    }
    page::show(ctx, "domains/bulk.html", bulk)
}
