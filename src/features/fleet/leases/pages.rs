//! The leases' pages. A leased value is in the answer to the form that asked for it, and nowhere else.

use super::{Given, Lease, api, queries};
use crate::access::right::{Edit, Read, Run, Secrets, may};
use crate::base::clock::Ms;
use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::form::Input;
use crate::http::page::{self, query};
use crate::http::reply::Reply;
use crate::http::request::Method::{Get, Post};
use crate::http::route::{Ctx, OFFSET, Panel, Route, route};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Page routes.
pub const ROUTES: &[Route] = &[
    route(Get, "/leases", may(Read, Secrets), list).query(&[OFFSET]),
    route(Get, "/leases/{id}", may(Read, Secrets), show),
    route(Post, "/leases/{id}/revoke", may(Run, Secrets), revoke),
    route(Post, "/secrets/{id}/lease", may(Run, Secrets), give).asks_others(),
    route(Post, "/secrets/{id}/revoke-all", may(Edit, Secrets), revoke_all),
];

/// See [`Panel`]; shown by `leases/_panel.html`.
pub const PANELS: &[Panel] = &[Panel {
    on: "secret",
    slot: "leases",
    data: |ctx, id| {
        let (rows, total) = ctx
            .app
            .db
            .read(|conn| queries::list(conn, Some(id), true, "", SHOWN, 0))?;
        let rows: Vec<_> = rows.into_iter().map(row).collect();
        Ok(json!({ "items": rows, "total": total }))
    },
}];

/// Leases on a secret's page, and on one page of all.
const SHOWN: i64 = 10;
const PAGE: i64 = 100;

#[derive(Serialize)]
struct Row {
    id: i64,
    secret_id: i64,
    secret: String,
    kind: String,
    state: String,
    lamp: &'static str,
    holder: String,
    via: String,
    server_id: Option<i64>,
    server: String,
    account: String,
    issued_at: Ms,
    expires_at: Ms,
    max_at: Ms,
    ended_at: Option<Ms>,
    tries: i64,
    say: String,
}

fn row(l: Lease) -> Row {
    Row {
        lamp: match l.state.as_str() {
            "active" => "lit",
            "ended" => "unlit",
            _ if l.told > 0 => "dark",
            _ => "flick",
        },
        id: l.id.get(),
        secret_id: l.secret.get(),
        secret: l.secret_name,
        kind: l.kind,
        state: l.state,
        holder: l.holder,
        via: l.via,
        server_id: l.server.map(Id::get),
        server: l.server_name,
        account: l.account,
        issued_at: l.issued_at,
        expires_at: l.expires_at,
        max_at: l.max_at,
        ended_at: l.ended_at,
        tries: l.tries,
        say: l.say,
    }
}

fn list(ctx: &Ctx) -> Result<Reply> {
    let offset = ctx.number("offset")?;
    let (rows, total) = ctx
        .app
        .db
        .read(|conn| queries::list(conn, None, false, "", PAGE, offset))?;
    let at = |offset: i64| query(&[("offset", &offset.to_string())]);
    let content = json!({
        "items": rows.into_iter().map(row).collect::<Vec<_>>(),
        "total": total,
        "prev": (offset > 0).then(|| at((offset - PAGE).max(0))),
        "next": (offset + PAGE < total).then(|| at(offset + PAGE)),
    });
    page::show(ctx, "leases/list.html", content)
}

#[derive(Serialize)]
struct Content<'a> {
    l: Row,
    /// Value and passphrase, in the answer to who leases it.
    given: Option<(&'a str, Option<&'a str>)>,
}

fn show(ctx: &Ctx) -> Result<Reply> {
    let lease = ctx.app.db.read(|conn| super::get(conn, ctx.id(0, "lease")?))?;
    let l = row(lease);
    page::show(ctx, "leases/show.html", Content { l, given: None })
}

fn give(ctx: &Ctx) -> Result<Reply> {
    let mut draft = Map::new();
    for (name, value) in ctx.request.form()? {
        match name.as_str() {
            "minutes" => {
                let seconds = value.trim().parse::<i64>().map(|n| n.saturating_mul(60));
                draft.insert("ttl_seconds".into(), seconds.map_or(Value::from(value), Value::from));
            }
            "server_id" if !value.is_empty() => drop(draft.insert(name, value.into())),
            _ => {}
        }
    }
    let Given {
        lease,
        value,
        passphrase,
    } = api::make(ctx, Input::of(api::GIVE, draft))?;
    let away = format!("60; url=/leases/{}", lease.id);
    let content = Content {
        l: row(lease),
        given: Some((
            value.reveal_text_for("a page for a minute"),
            passphrase.as_ref().map(|p| p.reveal_text_for("a page for a minute")),
        )),
    };
    Ok(page::show(ctx, "leases/show.html", content)?.header("Refresh", away))
}

fn revoke(ctx: &Ctx) -> Result<Reply> {
    api::end(ctx)?;
    let id: Id<id::Lease> = ctx.id(0, "lease")?;
    Ok(Reply::see_other(format!("/leases/{id}")))
}

fn revoke_all(ctx: &Ctx) -> Result<Reply> {
    api::end_all(ctx)?;
    let id: Id<id::Secret> = ctx.id(0, "secret")?;
    Ok(Reply::see_other(format!("/secrets/{id}")))
}
