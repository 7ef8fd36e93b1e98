//! The leases' JSON API. The answer to the request that makes one is the only one with a value.

use super::{Given, Lease, host, queries};
use crate::access::Place;
use crate::access::right::{Edit, Read, Run, Secrets, may};
use crate::app::App;
use crate::base::clock::{self, rfc3339};
use crate::base::error::{Error, Result};
use crate::base::id::{self, Id};
use crate::base::process::Cancel;
use crate::base::shape::described;
use crate::features::house::secrets::{self, Secret, another};
use crate::form::Input;
use crate::form::param::{self, Param};
use crate::http::reply::{List, Reply};
use crate::http::request::Method::{Delete, Get, Post};
use crate::http::route::{Ctx, LIMIT, OFFSET, Route, route};

/// See [`Route`].
pub const ROUTES: &[Route] = &[
    route(Post, "/api/secrets/{id}/lease", may(Run, Secrets), give)
        .takes(GIVE)
        .refuses(&[403, 502, 504])
        .asks_others()
        .creates::<GivenView>(),
    route(Get, "/api/secrets/{id}/leases", may(Read, Secrets), of_secret)
        .query(LIST)
        .gives::<List<View>>(),
    route(Delete, "/api/secrets/{id}/leases", may(Edit, Secrets), revoke_all).gives_nothing(),
    route(Get, "/api/leases", may(Run, Secrets), list)
        .query(LIST)
        .gives::<List<View>>(),
    route(Get, "/api/leases/{id}", may(Run, Secrets), show).gives::<View>(),
    route(Post, "/api/leases/{id}/renew", may(Run, Secrets), renew)
        .takes(RENEW)
        .gives::<View>(),
    route(Delete, "/api/leases/{id}", may(Run, Secrets), revoke).gives_nothing(),
];

/// Longest and shortest lease in seconds.
const TTL: std::ops::RangeInclusive<i64> = 1..=366 * 86_400;

/// Parameters of a lease.
pub const GIVE: &[Param] = &[
    param::number("ttl_seconds", TTL, "How long; at most as long as the secret allows.").required(),
    param::link(
        "server_id",
        "Of accounts and keys: the server, where the secret has several.",
    ),
];
const RENEW: &[Param] = &[param::number("ttl_seconds", TTL, "How long from now on.").required()];

/// Query parameters of a list.
const LIST: &[Param] = &[
    LIMIT,
    OFFSET,
    param::flag("open", "1: only those that are not at their end."),
];

described! {
    /// What is given out, this once.
    struct GivenView<'a> {
        lease_id: Id<id::Lease>,
        value: &'a str,
        /// Of a private key that is locked.
        passphrase: Option<&'a str>,
        expires_at: String,
        /// Up to when it can be renewed.
        max_at: String,
        renewable: bool,
        server: Option<&'a str>,
        /// The account that the value is good for.
        account: Option<&'a str>,
    }

    /// A lease without its value.
    struct View<'a> {
        id: Id<id::Lease>,
        secret_id: Id<id::Secret>,
        secret: &'a str,
        /// `copy`, `account`, `key`.
        kind: &'a str,
        /// `making`, `active`, `ending` on its host, `ended`.
        state: &'a str,
        holder: &'a str,
        server_id: Option<Id<id::Server>>,
        server: Option<&'a str>,
        account: Option<&'a str>,
        issued_at: String,
        expires_at: String,
        max_at: String,
        ended_at: Option<String>,
        /// Why it is not at its end.
        message: &'a str,
    }
}

fn some(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn view(l: &Lease) -> View<'_> {
    View {
        id: l.id,
        secret_id: l.secret,
        secret: &l.secret_name,
        kind: &l.kind,
        state: &l.state,
        holder: &l.holder,
        server_id: l.server,
        server: some(&l.server_name),
        account: some(&l.account),
        issued_at: rfc3339(l.issued_at),
        expires_at: rfc3339(l.expires_at),
        max_at: rfc3339(l.max_at),
        ended_at: l.ended_at.map(rfc3339),
        message: &l.say,
    }
}

fn give(ctx: &Ctx) -> Result<Reply> {
    let given = make(ctx, ctx.input()?)?;
    let l = &given.lease;
    let reply = Reply::created(
        format!("/api/leases/{}", l.id),
        &GivenView {
            lease_id: l.id,
            value: given.value.reveal_text_for("whom it is leased to"),
            passphrase: given
                .passphrase
                .as_ref()
                .map(|p| p.reveal_text_for("whom it is leased to")),
            expires_at: rfc3339(l.expires_at),
            max_at: rfc3339(l.max_at),
            renewable: l.expires_at < l.max_at,
            server: some(&l.server_name),
            account: some(&l.account),
        },
    )?;
    Ok(reply.header("Cache-Control", "no-store"))
}

/// For how many seconds, as the last field that is read. Error: invalid fields.
fn ttl(mut input: Input) -> Result<i64> {
    let ttl = input.number("ttl_seconds");
    if ttl.is_none() && !input.has_error("ttl_seconds") {
        input.wrong("ttl_seconds", "required", "Say for how many seconds.");
    }
    input.finish(&[])?;
    Ok(ttl.unwrap_or_default())
}

/// Makes a lease. Errors: `not_a_lessee`; what the host says.
pub fn make(ctx: &Ctx, mut input: Input) -> Result<Given> {
    let (id, by) = (ctx.id(0, "secret")?, ctx.allowed(Run, Secrets)?);
    let server = input.link::<id::Server>("server_id").flatten();
    let ttl = ttl(input)?;
    let (secret, lease) = ctx.app.db.write(|tx| {
        let secret = secrets::get(tx, id)?;
        let lease = super::begin(ctx.app, tx, &secret, (ttl, server), ctx.actor()?, by)?;
        Ok((secret, lease))
    })?;
    match lease.kind.as_str() {
        "copy" => {
            let (value, passphrase) = ctx.app.db.read(|conn| secrets::current(ctx.app, conn, &secret))?;
            Ok(Given {
                lease,
                value,
                passphrase,
            })
        }
        _ => ctx.outbound(move |app| make_there(app, &secret, lease)),
    }
}

/// Makes the account or the key on the host. What goes wrong is taken away again.
fn make_there(app: &App, secret: &Secret, mut lease: Lease) -> Result<Given> {
    let is_key = lease.kind == "key";
    let of = if is_key { "private_key" } else { "password" };
    let made = another(of, &crate::base::secret::Secret::new(""))?;
    if is_key {
        lease.public_key = made.public_key.clone();
        app.db
            .write(|tx| queries::set_public_key(tx, lease.id, &lease.public_key))?;
    }
    let password = Some(&made.value).filter(|_| !is_key);
    let done = host::give(app, &lease, &secret.fields.lease_account, password, &Cancel::new());
    let now = clock::now();
    let ended = match &done {
        Ok(()) => app.db.write(|tx| {
            // It may have been revoked meanwhile, or taken for one that was cut off.
            match queries::get(tx, lease.id)?.filter(|l| l.state == "making") {
                Some(_) => queries::set_state(tx, lease.id, "active", None, ""),
                None => Err(Error::not_found("lease")),
            }
        }),
        // What is left there, if anything, is taken away by the clock.
        Err(e) => app.db.write(|tx| {
            queries::set_state(tx, lease.id, "ending", None, &e.say)?;
            queries::expire(tx, lease.id, now)
        }),
    };
    done?;
    ended?;
    lease.state = "active".into();
    Ok(Given {
        lease,
        value: made.value,
        passphrase: None,
    })
}

fn listed(ctx: &Ctx, secret: Option<i64>) -> Result<Reply> {
    let (limit, offset) = ctx.page()?;
    let open = ctx.param("open") == "1";
    // Whoever may not read secrets sees their own leases.
    let actor = ctx.actor()?;
    let holder = match actor.has(may(Read, Secrets), &Place::Granted) {
        true => "",
        false => actor.by().via,
    };
    let (rows, total) = (ctx.app.db).read(|conn| queries::list(conn, secret, open, holder, limit, offset))?;
    let items: Vec<_> = rows.iter().map(view).collect();
    Reply::json(&List { items, total })
}

fn list(ctx: &Ctx) -> Result<Reply> {
    listed(ctx, None)
}

fn of_secret(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "secret")?;
    ctx.app.db.read(|conn| secrets::get(conn, id))?;
    listed(ctx, Some(id.get()))
}

fn show(ctx: &Ctx) -> Result<Reply> {
    let lease = ctx.app.db.read(|conn| super::get(conn, ctx.id(0, "lease")?))?;
    let actor = ctx.actor()?;
    if !actor.has(may(Read, Secrets), &Place::Granted) && super::check_holder(&lease, actor).is_err() {
        return Err(Error::not_found("lease"));
    }
    Reply::json(&view(&lease))
}

fn renew(ctx: &Ctx) -> Result<Reply> {
    let (id, by) = (ctx.id(0, "lease")?, ctx.allowed(Run, Secrets)?);
    let ttl = ttl(ctx.input()?)?;
    let lease = (ctx.app.db).write(|tx| super::renew(ctx.app, tx, id, ttl, ctx.actor()?, by))?;
    Reply::json(&view(&lease))
}

fn revoke(ctx: &Ctx) -> Result<Reply> {
    end(ctx)?;
    Ok(Reply::status(204))
}

/// Ends the lease in the address.
pub fn end(ctx: &Ctx) -> Result<()> {
    let (id, by) = (ctx.id(0, "lease")?, ctx.allowed(Run, Secrets)?);
    (ctx.app.db).write(|tx| super::revoke(ctx.app, tx, id, ctx.actor()?, by))
}

fn revoke_all(ctx: &Ctx) -> Result<Reply> {
    end_all(ctx)?;
    Ok(Reply::status(204))
}

/// Ends all leases of the secret in the address.
pub fn end_all(ctx: &Ctx) -> Result<()> {
    let (id, by) = (ctx.id(0, "secret")?, ctx.allowed(Edit, Secrets)?);
    (ctx.app.db).write(|tx| super::revoke_all(ctx.app, tx, id, by).map(drop))
}
