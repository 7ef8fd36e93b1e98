//! What is done with a server from its page: each act asks first where it cannot be taken back.

use super::show::view;
use crate::access::right::{Deploy, Edit, Run, Servers};
use crate::base::error::Result;
use crate::base::id::{Id, Task};
use crate::features::fleet::servers::{self, api, tasks};
use crate::http::page;
use crate::http::reply::Reply;
use crate::http::route::Ctx;

fn ask(ctx: &Ctx, what: &str, unconfirmed: bool) -> Result<Reply> {
    let id = ctx.id(0, "server")?;
    let (server, serves) = (ctx.app.db).read(|conn| Ok((servers::get(conn, id)?, servers::serves(conn, id)?)))?;
    let sources = api::sources(ctx.app, &server)?;
    let content = serde_json::json!({ "ask": what, "server": view(server, None).0, "serves": serves, "unconfirmed": unconfirmed, "sources": sources });
    page::show(ctx, "servers/ask.html", content)
}

pub fn ask_delete(ctx: &Ctx) -> Result<Reply> {
    ask(ctx, "delete", false)
}

/// Needs the server's name typed.
pub fn delete(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "server")?;
    let by = ctx.allowed(Edit, Servers)?;
    let pairs = ctx.request.form()?;
    let value = |name| pairs.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    let (typed, forget) = (value("confirm"), value("forget") == Some("true"));
    let deleted = ctx.app.db.write(|tx| {
        let server = servers::get(tx, id)?;
        if typed.map(str::trim) != Some(server.fields.name.as_str()) {
            return Ok(false);
        }
        servers::delete(ctx.app, tx, &server, forget, by)?;
        Ok(true)
    })?;
    if !deleted {
        return Ok(ask(ctx, "delete", true)?.with_status(422));
    }
    ctx.app.ssh.forget(id.get());
    Ok(Reply::see_other("/servers"))
}

pub fn accept_host_key(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "server")?;
    let by = ctx.allowed(Edit, Servers)?;
    let typed = ctx
        .request
        .form()?
        .into_iter()
        .find(|(name, _)| name == "fingerprint")
        .map(|(_, value)| value);
    ctx.app
        .db
        .write(|tx| servers::accept_host_key(ctx.app, tx, id, &typed.unwrap_or_default(), by))?;
    ctx.app.ssh.forget(id.get());
    Ok(Reply::see_other(format!("/servers/{id}")))
}

fn follow(task: Id<Task>) -> Reply {
    Reply::see_other(format!("/tasks/{task}"))
}

pub fn check_ssh(ctx: &Ctx) -> Result<Reply> {
    Ok(follow(api::start(ctx, Run, tasks::CHECK_SSH, serde_json::json!({}))?))
}

pub fn deploy_proxy(ctx: &Ctx) -> Result<Reply> {
    Ok(follow(api::start(
        ctx,
        Deploy,
        tasks::DEPLOY_PROXY,
        serde_json::json!({}),
    )?))
}

pub fn ask_glances(ctx: &Ctx) -> Result<Reply> {
    ask(ctx, "glances", false)
}

pub fn ask_remove(ctx: &Ctx) -> Result<Reply> {
    ask(ctx, "remove", false)
}

pub fn remove_glances(ctx: &Ctx) -> Result<Reply> {
    Ok(follow(api::start_remove(ctx)?))
}

pub fn install_glances(ctx: &Ctx) -> Result<Reply> {
    Ok(follow(api::start_install(ctx)?))
}
