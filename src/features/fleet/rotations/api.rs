//! The rotations' JSON API.

use super::{Host, Rotation, plan, queries, work};
use crate::access::right::{Edit, Read, Secrets, may};
use crate::audit;
use crate::base::clock::{self, rfc3339};
use crate::base::error::{Error, Kind, Result};
use crate::base::host::UserName;
use crate::base::id::{self, Id, Task};
use crate::base::shape::described;
use crate::features::house::secrets;
use crate::form::Input;
use crate::form::param::{self, Param};
use crate::http::reply::Reply;
use crate::http::request::Method::{Delete, Get, Post};
use crate::http::route::{Ctx, Route, route};
use crate::task::{NewTask, queue};

/// See [`Route`].
pub const ROUTES: &[Route] = &[
    route(Post, "/api/secrets/{id}/rotate-apply", may(Edit, Secrets), apply)
        .takes(APPLY)
        .starts_task(),
    route(Get, "/api/secrets/{id}/rotation", may(Read, Secrets), show).gives::<View>(),
    route(Delete, "/api/secrets/{id}/rotation", may(Edit, Secrets), drop_it).gives_nothing(),
];

/// Parameters of a rotation.
pub const APPLY: &[Param] = &[
    param::links(
        "server_ids",
        plan::HOSTS_MAX,
        "Hosts besides those that are entered with it; the first one goes alone, then the others.",
    ),
    param::text(
        "account",
        64,
        "The Linux account there; the one that we sign in as where it is left out.",
    ),
];

described! {
    /// An account on a host.
    struct HostView<'a> {
        server_id: Id<id::Server>,
        server: &'a str,
        account: &'a str,
        /// `waiting`, `setting`, `proved`, `done`, `failed`.
        step: &'static str,
        /// Which value lets in there: `old`, `new`, `unknown`.
        good: &'static str,
        /// Of what went wrong.
        code: &'a str,
        message: &'a str,
        at: String,
    }

    /// Another value on its way to hosts.
    struct View<'a> {
        id: i64,
        /// `open`, `done`, `dropped`.
        state: &'a str,
        public_key: Option<&'a str>,
        made_by: &'a str,
        made_at: String,
        ended_at: Option<String>,
        hosts: Vec<HostView<'a>>,
    }
}

fn view<'a>(r: &'a Rotation, hosts: &'a [Host]) -> View<'a> {
    let host = |h: &'a Host| HostView {
        server_id: h.server,
        server: &h.name,
        account: &h.account,
        step: h.step.name(),
        good: h.good.name(),
        code: &h.code,
        message: &h.say,
        at: rfc3339(h.at),
    };
    View {
        id: r.id,
        state: &r.state,
        public_key: Some(r.public_key.as_str()).filter(|key| !key.is_empty()),
        made_by: &r.made_by,
        made_at: rfc3339(r.made_at),
        ended_at: r.ended_at.map(rfc3339),
        hosts: hosts.iter().map(host).collect(),
    }
}

fn show(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "secret")?;
    let (rotation, hosts) = ctx.app.db.read(|conn| {
        secrets::get(conn, id)?;
        let rotation = queries::newest(conn, id)?.ok_or_else(|| Error::not_found("rotation"))?;
        let hosts = queries::hosts(conn, rotation.id)?;
        Ok((rotation, hosts))
    })?;
    Reply::json(&view(&rotation, &hosts))
}

fn apply(ctx: &Ctx) -> Result<Reply> {
    Reply::accepted(start(ctx, ctx.input()?)?)
}

/// Begins a rotation, or goes on with the open one. Errors: of [`plan`], a task works on it already.
pub fn start(ctx: &Ctx, mut input: Input) -> Result<Id<Task>> {
    let (id, by) = (ctx.id(0, "secret")?, ctx.allowed(Edit, Secrets)?);
    let servers = input.links::<id::Server>("server_ids").unwrap_or_default();
    let account = input.parse("account", "bad_user", |text| match text {
        "" => Ok(String::new()),
        text => UserName::parse(text).map(|user| user.as_str().to_string()),
    });
    input.finish(&[])?;
    let account = account.unwrap_or_default();
    let named: Vec<_> = servers.iter().map(|id| (id.get(), account.clone())).collect();
    ctx.app.db.write(|tx| {
        let secret = secrets::get(tx, id)?;
        let rotation = plan::begin(ctx.app, tx, &secret, None, &named, by.actor())?;
        let new = NewTask {
            kind: work::APPLY,
            target: ("secret", id.get(), &secret.fields.name),
            input: serde_json::json!({}),
        };
        let task = queue::enqueue(tx, &ctx.app.wakes.tasks, &new, by)?;
        let hosts: Vec<String> = queries::hosts(tx, rotation.id)?.into_iter().map(|h| h.name).collect();
        let data = serde_json::json!({ "task": task, "hosts": hosts });
        audit::append(
            tx,
            &ctx.app.vault,
            by,
            "secret.rotate_apply",
            &secrets::object(&secret),
            &data,
        )?;
        Ok(task)
    })
}

fn drop_it(ctx: &Ctx) -> Result<Reply> {
    give_up(ctx)?;
    Ok(Reply::status(204))
}

/// Drops the open rotation, where no host has its value. Errors: `not_found`, `rotation_under_way`.
pub fn give_up(ctx: &Ctx) -> Result<()> {
    let (id, by) = (ctx.id(0, "secret")?, ctx.allowed(Edit, Secrets)?);
    ctx.app.db.write(|tx| {
        let secret = secrets::get(tx, id)?;
        let open = queries::open(tx, id)?.ok_or_else(|| Error::not_found("rotation"))?;
        let is_touched = |h: &Host| h.good != super::Good::Old || h.step == super::Step::Setting;
        let working = queue::open(tx, ("secret", id.get()), |kind| kind.starts_with("rotations."))?;
        if working.is_some() || queries::hosts(tx, open.id)?.iter().any(is_touched) {
            let say =
                "A host has the new value already, or may have it. Bring the rotation to its end: start it again.";
            return Err(Error::new(Kind::Conflict, "rotation_under_way", say));
        }
        queries::close(tx, open.id, "dropped", clock::now())?;
        let none = serde_json::json!({});
        audit::append(
            tx,
            &ctx.app.vault,
            by,
            "secret.rotation_drop",
            &secrets::object(&secret),
            &none,
        )
    })
}
