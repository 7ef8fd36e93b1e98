//! The rotation on a secret's page.

use super::{Good, Host, api, plan, queries};
use crate::access::right::{Edit, Secrets, may};
use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::features::fleet::servers;
use crate::features::house::secrets;
use crate::form::Input;
use crate::http::reply::Reply;
use crate::http::request::Method::Post;
use crate::http::route::{Ctx, Panel, Route, route};
use crate::task::queue;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Page routes.
pub const ROUTES: &[Route] = &[
    route(Post, "/secrets/{id}/apply", may(Edit, Secrets), apply),
    route(Post, "/secrets/{id}/give-up", may(Edit, Secrets), give_up),
];

/// See [`Panel`]; shown by `rotations/_panel.html`.
pub const PANELS: &[Panel] = &[Panel {
    on: "secret",
    slot: "rotation",
    data: panel,
}];

/// Servers to choose from.
const OFFERED: i64 = 500;

#[derive(Serialize)]
struct HostRow {
    server_id: i64,
    name: String,
    account: String,
    step: &'static str,
    good: &'static str,
    lamp: &'static str,
    say: String,
    at: Ms,
}

fn row(h: Host) -> HostRow {
    HostRow {
        server_id: h.server.get(),
        name: h.name,
        account: h.account,
        lamp: match (h.good, h.step) {
            (Good::Unknown, _) => "dark",
            (_, super::Step::Done | super::Step::Proved) => "lit",
            (_, super::Step::Waiting) => "unlit",
            _ => "flick",
        },
        step: h.step.name(),
        good: h.good.name(),
        say: h.say,
        at: h.at,
    }
}

fn panel(ctx: &Ctx, secret: i64) -> Result<Value> {
    let id = Id::<id::Secret>::new(secret);
    let app = ctx.app;
    app.db.read(|conn| {
        let secret = secrets::get(conn, id)?;
        if !["password", "private_key"].contains(&secret.fields.kind.as_str()) {
            return Ok(Value::Null);
        }
        let newest = queries::newest(conn, id)?;
        let hosts = match &newest {
            Some(r) => queries::hosts(conn, r.id)?.into_iter().map(row).collect(),
            None => Vec::new(),
        };
        let logins = plan::logins(app, conn, &secret).unwrap_or_default();
        let filter = servers::Filter {
            limit: OFFERED,
            ..Default::default()
        };
        let (all, _) = servers::list(conn, &filter)?;
        let offered: Vec<_> = all
            .into_iter()
            .filter(|s| !logins.contains(&s.id.get()))
            .map(|s| json!({ "id": s.id, "name": s.fields.name }))
            .collect();
        let task = queue::open(conn, ("secret", id.get()), |kind| kind.starts_with("rotations."))?;
        Ok(json!({
            "state": newest.as_ref().map(|r| r.state.clone()),
            "made_by": newest.as_ref().map(|r| r.made_by.clone()),
            "made_at": newest.as_ref().map(|r| r.made_at),
            "hosts": hosts,
            "logins": logins.len(),
            "offered": offered,
            "task": task,
        }))
    })
}

fn apply(ctx: &Ctx) -> Result<Reply> {
    let mut draft = Map::new();
    let mut servers = Vec::new();
    for (name, value) in ctx.request.form()? {
        match name.as_str() {
            "server_ids" if !value.is_empty() => servers.push(value),
            "account" => drop(draft.insert(name, value.trim().into())),
            _ => {}
        }
    }
    draft.insert("server_ids".into(), servers.into());
    let task = api::start(ctx, Input::of(api::APPLY, draft))?;
    Ok(Reply::see_other(format!("/tasks/{task}")))
}

fn give_up(ctx: &Ctx) -> Result<Reply> {
    api::give_up(ctx)?;
    let id: Id<id::Secret> = ctx.id(0, "secret")?;
    Ok(Reply::see_other(format!("/secrets/{id}")))
}
