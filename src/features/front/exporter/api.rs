//! `/metrics` and its access control: whoever may read the fleet, scrapers with the token, and, by the setting
//! `exporter.local`, programs on Lamplighter's own machine.

use super::settings;
use super::{observed, own, queries};
use crate::access::right::{Edit, Exporter, Metrics, Read, may};
use crate::access::{Place, Right, token};
use crate::audit;
use crate::base::clock;
use crate::base::error::{Error, Result};
use crate::base::exposition::{CONTENT_TYPE, Text};
use crate::base::random;
use crate::base::secret::Secret;
use crate::base::shape::described;
use crate::base::text;
use crate::db::Conn;
use crate::features::house::remote_store;
use crate::features::house::secrets::{Refers, Refs, Slot, of_row, slot};
use crate::form::Input;
use crate::form::param::{self, Param};
use crate::http::reply::Reply;
use crate::http::request::Method::{Delete, Get, Post, Put};
use crate::http::request::Request;
use crate::http::route::{Ctx, Route, route};

/// Routes.
pub const ROUTES: &[Route] = &[
    route(Get, "/metrics", Right::Public, scrape)
        .uncounted()
        .query(FLEET)
        .gives_bytes(CONTENT_TYPE)
        .refuses(&[401]),
    route(Post, "/api/exporter/token", may(Edit, Exporter), new_token)
        .takes(&[])
        .creates::<NewToken>(),
    route(Delete, "/api/exporter/token", may(Edit, Exporter), drop_token)
        .gives_nothing()
        .refuses(&[404]),
    route(Put, "/api/exporter/push-secret", may(Edit, Exporter), set_push_secret)
        .takes(PUSH_SECRET)
        .gives_nothing(),
];

const FLEET: &[Param] = &[param::text("fleet", 10, "0: only Lamplighter's own figures.")];

/// Input of the push secret.
pub const PUSH_SECRET: &[Param] =
    &[param::secret("secret", SECRET_MAX, "For the remote store; none forgets it.").or_reference()];

described! {
    /// A token for scrapers.
    struct NewToken {
        /// Shown once.
        token: String,
    }
}

/// Extent of access.
#[derive(PartialEq, PartialOrd)]
enum Sight {
    Own,
    All,
}

fn scrape(ctx: &Ctx) -> Result<Reply> {
    let sight = sight(ctx)?.ok_or_else(token::unauthorized)?;
    let mut out = Text::default();
    own::write(ctx, &mut out)?;
    if sight == Sight::All && ctx.param("fleet") != "0" {
        observed::write(ctx.app, &mut out)?;
    }
    Ok(Reply::bytes(CONTENT_TYPE, out.0.into_bytes()))
}

fn sight(ctx: &Ctx) -> Result<Option<Sight>> {
    if ctx
        .maybe_actor()
        .is_some_and(|actor| actor.has(may(Read, Metrics), &Place::Everywhere))
    {
        return Ok(Some(Sight::All));
    }
    if let (None, Some(shown)) = (ctx.maybe_actor(), bearer(ctx.request)) {
        let kept = ctx.app.db.read(|conn| queries::get(conn, super::TOKEN))?;
        // Both are hashes of 256 random bits: comparing them reveals nothing.
        let fits = kept.is_some_and(|(hash, _)| hash == hash_of(shown));
        return Ok(fits.then_some(Sight::All));
    }
    let local = ctx.app.db.read(|conn| settings::EXPORTER_LOCAL.number(conn))?;
    Ok(match ctx.request.local {
        true if local == 2 => Some(Sight::All),
        true if local == 1 => Some(Sight::Own),
        _ => None,
    })
}

fn bearer(request: &Request) -> Option<&str> {
    let (scheme, token) = request.header("authorization")?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn hash_of(token: &str) -> Vec<u8> {
    text::sha256(token.as_bytes()).to_vec()
}

/// Creates a scrape token, shown once; the previous one is revoked.
pub(super) fn make_token(ctx: &Ctx) -> Result<String> {
    let (by, token) = (ctx.allowed(Edit, Exporter)?, random::token());
    ctx.app.db.write(|tx| {
        queries::put(tx, super::TOKEN, &hash_of(&token), clock::now(), by.actor())?;
        let none = serde_json::json!({});
        audit::append(tx, &ctx.app.vault, by, "exporter.token", "exporter", &none)
    })?;
    Ok(token)
}

fn new_token(ctx: &Ctx) -> Result<Reply> {
    ctx.input()?.finish(&[])?;
    let token = make_token(ctx)?;
    Ok(Reply::json(&NewToken { token })?.with_status(201))
}

/// Revokes the token. Error `NotFound`.
pub(super) fn end_token(ctx: &Ctx) -> Result<()> {
    let by = ctx.allowed(Edit, Exporter)?;
    ctx.app.db.write(|tx| {
        if !queries::remove(tx, super::TOKEN)? {
            return Err(Error::not_found("token"));
        }
        let none = serde_json::json!({});
        audit::append(tx, &ctx.app.vault, by, "exporter.token_end", "exporter", &none)
    })
}

fn drop_token(ctx: &Ctx) -> Result<Reply> {
    end_token(ctx)?;
    Ok(Reply::status(204))
}

/// Longest secret.
const SECRET_MAX: usize = 1_000;

/// What a scope says of this place.
pub(super) const PLACE: (&str, &str, Option<i64>) = ("exporter", "exporter", None);
/// Its field that may refer to a secret.
pub(super) const REFERENCES: &[Slot] = &[slot("secret")];

/// What it refers to.
pub(super) fn refers(conn: &Conn) -> Result<Refers> {
    of_row(conn, remote_store::SEALED, 1)
}

/// `{"secret": "…"}`; empty or null removes it.
pub(super) fn keep_push_secret(ctx: &Ctx, mut input: Input) -> Result<()> {
    let refs = (ctx.app.db).read(|conn| Refs::resolve(ctx.app, conn, &mut input, PLACE, REFERENCES))?;
    let secret: Option<Secret> = input.secret("secret").flatten();
    input.finish(&[])?;
    let by = ctx.allowed(Edit, Exporter)?;
    ctx.app.db.write(|tx| {
        remote_store::set_secret(ctx.app, tx, secret.as_ref(), by.actor())?;
        refs.store(tx, |_, secret, _| remote_store::refer(ctx.app, tx, secret, by.actor()))?;
        let detail = serde_json::json!({ "set": secret.is_some() });
        audit::append(tx, &ctx.app.vault, by, "exporter.push_secret", "exporter", &detail)
    })
}

fn set_push_secret(ctx: &Ctx) -> Result<Reply> {
    keep_push_secret(ctx, ctx.input()?)?;
    Ok(Reply::status(204))
}
