//! The certificates' JSON API. No key is in any answer: there is no field for one.

use super::life::{self, Stage};
use super::model::{self, Note, Old};
use super::{Certificate, User, queries};
use crate::access::Allowed;
use crate::access::right::{Certificates, Edit, Read, may};
use crate::app::App;
use crate::base::clock::{self, Ms, rfc3339};
use crate::base::error::{Error, Result};
use crate::base::id::{self, Id};
use crate::base::pem;
use crate::base::shape::described;
use crate::form::Input;
use crate::http::reply::{List, Reply};
use crate::http::request::Method::{Delete, Get, Patch, Post, Put};
use crate::http::route::{Ctx, LIMIT, OFFSET, Q, Route, route};
use crate::net::x509;

/// Routes of the JSON API.
pub const ROUTES: &[Route] = &[
    route(Get, "/api/certificates", may(Read, Certificates), list)
        .query(&[LIMIT, OFFSET, Q])
        .gives::<List<View>>(),
    route(Post, "/api/certificates", may(Edit, Certificates), create)
        .takes(model::PARAMS)
        .creates::<View>(),
    route(Get, "/api/certificates/{id}", may(Read, Certificates), show).gives::<View>(),
    route(Put, "/api/certificates/{id}", may(Edit, Certificates), replace)
        .takes(model::PARAMS)
        .gives::<View>(),
    route(Patch, "/api/certificates/{id}", may(Edit, Certificates), change)
        .takes(model::PARAMS)
        .gives::<View>(),
    route(Delete, "/api/certificates/{id}", may(Edit, Certificates), remove).gives_nothing(),
];

described! {
    /// A certificate as the API shows it.
    struct View<'a> {
        id: Id<id::Certificate>,
        name: &'a str,
        names: &'a [String],
        issuer: &'a str,
        not_before: String,
        not_after: String,
        days_left: i64,
        state: Stage,
        sha256: &'a str,
        has_key: bool,
        used_by: Vec<UserView<'a>>,
        created_at: String,
        updated_at: String,
        #[serde(flatten)]
        more: Option<More<'a>>,
    }

    /// Fields only of a single certificate: read from the chain.
    struct More<'a> {
        subject: String,
        serial: String,
        key_type: String,
        chain: &'a str,
        notes: Vec<Note>,
    }

    struct UserView<'a> {
        id: Id<id::Domain>,
        domain: &'a str,
    }
}

fn view<'a>(c: &'a Certificate, users: &'a [User], now: Ms) -> View<'a> {
    View {
        id: c.id,
        name: &c.name,
        names: &c.names,
        issuer: &c.issuer,
        not_before: rfc3339(c.not_before),
        not_after: rfc3339(c.not_after),
        days_left: life::days_left(c.not_after, now),
        state: life::stage(c.not_before, c.not_after, now),
        sha256: &c.sha256,
        has_key: true,
        used_by: users
            .iter()
            .map(|u| UserView {
                id: u.id,
                domain: &u.domain,
            })
            .collect(),
        created_at: rfc3339(c.created_at),
        updated_at: rfc3339(c.updated_at),
        more: None,
    }
}

/// Details of a stored certificate: subject, serial number, kind of key.
pub(super) fn facts(c: &Certificate) -> Result<(String, String, String)> {
    let unreadable = || Error::internal("a stored certificate cannot be read");
    let blocks = pem::blocks(&c.chain, usize::MAX)?;
    let der = blocks
        .first()
        .ok_or_else(unreadable)?
        .der
        .reveal_for("a certificate is public");
    let read = x509::Certificate::parse(der).ok_or_else(unreadable)?;
    Ok((read.subject.clone(), read.serial.clone(), read.key.to_string()))
}

fn list(ctx: &Ctx) -> Result<Reply> {
    let (limit, offset) = ctx.page()?;
    let q = ctx.param("q");
    let (found, total, users) = ctx.app.db.read(|conn| {
        let (found, total) = queries::list(conn, q, limit, offset)?;
        Ok((found, total, queries::all_users(conn)?))
    })?;
    let now = clock::now();
    let items: Vec<_> = found
        .iter()
        .map(|c| view(c, users.get(&c.id.get()).map_or(&[], Vec::as_slice), now))
        .collect();
    Reply::json(&List { items, total })
}

fn show(ctx: &Ctx) -> Result<Reply> {
    answer(ctx.app, ctx.id(0, "certificate")?, false)
}

fn answer(app: &App, id: Id<id::Certificate>, reordered: bool) -> Result<Reply> {
    let (c, users) = app
        .db
        .read(|conn| Ok((super::get(conn, id)?, queries::users(conn, id)?)))?;
    let now = clock::now();
    let (subject, serial, key_type) = facts(&c)?;
    let mut notes = model::notes(&c.chain, now)?;
    if reordered {
        notes.insert(0, model::REORDERED);
    }
    let more = More {
        subject,
        serial,
        key_type,
        chain: &c.chain,
        notes,
    };
    Reply::json(&View {
        more: Some(more),
        ..view(&c, &users, now)
    })
}

fn create(ctx: &Ctx) -> Result<Reply> {
    let (id, reordered) = add(ctx.app, ctx.input()?, ctx.allowed(Edit, Certificates)?)?;
    let answer = answer(ctx.app, id, reordered)?;
    Ok(answer
        .with_status(201)
        .header("Location", format!("/api/certificates/{id}")))
}

/// Checks and stores a new certificate; returns whether its chain was reordered. Error: invalid fields.
pub(super) fn add(app: &App, input: Input, by: Allowed<Edit, Certificates>) -> Result<(Id<id::Certificate>, bool)> {
    let valid = model::read(input, None, true, clock::now())?;
    let checked = valid
        .checked
        .ok_or_else(|| Error::internal("a certificate that was not checked"))?;
    let id = app.db.write(|tx| super::create(app, tx, &valid.name, &checked, by))?;
    Ok((id, checked.reordered))
}

/// `PUT` needs name and chain; the key stays unless it is sent.
fn replace(ctx: &Ctx) -> Result<Reply> {
    edit(ctx, true)
}

fn change(ctx: &Ctx) -> Result<Reply> {
    edit(ctx, false)
}

fn edit(ctx: &Ctx, whole: bool) -> Result<Reply> {
    let id = ctx.id(0, "certificate")?;
    let reordered = save(ctx.app, id, ctx.input()?, whole, ctx.allowed(Edit, Certificates)?)?;
    answer(ctx.app, id, reordered)
}

/// Checks a draft over the stored row and stores it; returns whether its chain was reordered. Error: invalid fields.
pub(super) fn save(
    app: &App,
    id: Id<id::Certificate>,
    input: Input,
    whole: bool,
    by: Allowed<Edit, Certificates>,
) -> Result<bool> {
    let old = app.db.read(|conn| super::get(conn, id))?;
    let base = Old {
        name: &old.name,
        chain: &old.chain,
        key: &|| app.db.read(|conn| super::key(app, conn, id)),
    };
    let valid = model::read(input, Some(&base), whole, clock::now())?;
    app.db.write(|tx| super::update(app, tx, &old, &valid, by))?;
    Ok(valid.checked.is_some_and(|j| j.reordered))
}

fn remove(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "certificate")?;
    let by = ctx.allowed(Edit, Certificates)?;
    ctx.app.db.write(|tx| super::delete(ctx.app, tx, id, by))?;
    Ok(Reply::status(204))
}
