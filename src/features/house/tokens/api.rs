//! The tokens' JSON API.

use super::model;
use crate::access::Right;
use crate::access::api_token::{Power, Token};
use crate::base::clock::{self, rfc3339};
use crate::base::error::Result;
use crate::base::id::{ApiToken, Id};
use crate::base::shape::described;
use crate::form::param::{self, Param};
use crate::http::reply::{List, Reply};
use crate::http::request::Method::{Delete, Get, Post};
use crate::http::route::{Ctx, Route, route};

/// See [`Route`].
pub const ROUTES: &[Route] = &[
    route(Get, "/api/tokens", Right::SignedIn, list)
        .query(LIST)
        .refuses(&[403])
        .gives::<List<View>>(),
    route(Post, "/api/tokens", Right::SignedIn, create)
        .takes(model::PARAMS)
        .creates::<Minted>(),
    route(Get, "/api/tokens/{id}", Right::SignedIn, show)
        .refuses(&[403])
        .gives::<View>(),
    route(Delete, "/api/tokens/{id}", Right::SignedIn, withdraw).gives_nothing(),
];

/// Query parameters of a list.
pub const LIST: &[Param] = &[param::flag("all", "1: everybody's, for who may see accounts.")];

described! {
    /// A token as it is listed.
    struct View<'a> {
        id: Id<ApiToken>,
        name: &'a str,
        /// Its owner's login.
        owner: &'a str,
        /// It may what this role may; `null`: what `scopes` says.
        role: Option<&'static str>,
        scopes: Vec<String>,
        cidrs: &'a [String],
        created_at: String,
        expires_at: Option<String>,
        expired: bool,
        /// To a few minutes.
        used_at: Option<String>,
        /// From where, then.
        used_ip: &'a str,
    }

    /// A new token.
    struct Minted {
        id: Id<ApiToken>,
        /// Sent as `Authorization: Bearer …`; not shown again.
        token: String,
    }
}

fn view(t: &Token) -> View<'_> {
    let (role, scopes) = match &t.power {
        Power::Role(role) => (Some(role.name()), Vec::new()),
        scopes => (None, model::power(scopes)),
    };
    View {
        id: t.id,
        name: &t.name,
        owner: &t.owner.1,
        role,
        scopes,
        cidrs: &t.cidrs,
        created_at: rfc3339(t.created_at),
        expires_at: t.expires_at.map(rfc3339),
        expired: t.is_expired(clock::now()),
        used_at: t.used_at.map(rfc3339),
        used_ip: &t.used_ip,
    }
}

fn list(ctx: &Ctx) -> Result<Reply> {
    let (all, by) = (ctx.flag("all")?, ctx.actor()?);
    let tokens = ctx.app.db.read(|conn| super::list(conn, all, by))?;
    Reply::json(&List::whole(tokens.iter().map(view).collect()))
}

fn show(ctx: &Ctx) -> Result<Reply> {
    let (id, by) = (ctx.id(0, "token")?, ctx.actor()?);
    Reply::json(&view(&ctx.app.db.read(|conn| super::get(conn, id, by))?))
}

fn create(ctx: &Ctx) -> Result<Reply> {
    let (input, by) = (ctx.input()?, ctx.actor()?);
    by.sign_in()?;
    let (id, token) = ctx.app.db.write(|tx| {
        let new = model::read(tx, input, by)?;
        super::mint(ctx.app, tx, &new, by)
    })?;
    Reply::created(format!("/api/tokens/{id}"), &Minted { id, token })
}

fn withdraw(ctx: &Ctx) -> Result<Reply> {
    let (id, by) = (ctx.id(0, "token")?, ctx.actor()?);
    ctx.app.db.write(|tx| super::withdraw(ctx.app, tx, id, by))?;
    Ok(Reply::status(204))
}
