//! The accounts' JSON API.

use super::model::{self, New};
use crate::access::Allowed;
use crate::access::right::{Edit, Read, Users, may};
use crate::app::App;
use crate::base::clock::rfc3339;
use crate::base::error::Result;
use crate::base::id::{Id, User};
use crate::base::shape::described;
use crate::db::Tx;
use crate::features::house::users::{self, Change, Filter, Invited, Member};
use crate::http::reply::{List, Reply};
use crate::http::request::Method::{Delete, Get, Patch, Post};
use crate::http::route::{Ctx, LIMIT, OFFSET, Q, Route, route};

/// See [`Route`].
pub const ROUTES: &[Route] = &[
    route(Get, "/api/users", may(Read, Users), list)
        .query(&[LIMIT, OFFSET, Q])
        .gives::<List<View>>(),
    route(Post, "/api/users", may(Edit, Users), create)
        .takes(model::INVITE)
        .creates::<Created>(),
    route(Get, "/api/users/{id}", may(Read, Users), show).gives::<View>(),
    route(Patch, "/api/users/{id}", may(Edit, Users), change)
        .takes(model::CHANGE)
        .dangerous()
        .gives::<View>(),
    route(Delete, "/api/users/{id}", may(Edit, Users), remove)
        .dangerous()
        .gives_nothing(),
    route(Post, "/api/users/{id}/invite", may(Edit, Users), invite)
        .takes(&[])
        .dangerous()
        .creates::<Created>(),
    route(Delete, "/api/users/{id}/totp", may(Edit, Users), reset_totp)
        .dangerous()
        .gives_nothing(),
    route(Delete, "/api/users/{id}/sessions", may(Edit, Users), end_sessions).gives_nothing(),
];

described! {
    /// An account.
    pub struct View<'a> {
        id: Id<User>,
        login: &'a str,
        email: &'a str,
        role: &'static str,
        /// Of what belongs to projects they see that of these alone; empty: of all.
        projects: &'a [i64],
        disabled: bool,
        /// `active`, `invited` (has no password yet), `disabled`, or `program`.
        state: &'static str,
        /// Is a code asked for when they sign in?
        totp: bool,
        /// There is a link that is good until then.
        invited_until: Option<String>,
        created_at: String,
        /// When they last signed in.
        last_login_at: Option<String>,
    }

    /// A new account, or a fresh link to one.
    pub struct Created {
        id: Id<User>,
        /// Good once, for 7 days; a path as long as `site.public_url` is not set. A program has none.
        invite_url: Option<String>,
    }
}

/// State of an account.
pub fn state(member: &Member) -> &'static str {
    if member.disabled {
        "disabled"
    } else if member.role.name() == "automation" {
        "program"
    } else if member.has_password {
        "active"
    } else {
        "invited"
    }
}

fn view(member: &Member) -> View<'_> {
    View {
        id: member.id,
        login: &member.login,
        email: &member.email,
        role: member.role.name(),
        projects: &member.projects,
        disabled: member.disabled,
        state: state(member),
        totp: member.totp,
        invited_until: member.invited_until.map(rfc3339),
        created_at: rfc3339(member.created_at),
        last_login_at: member.last_login_at.map(rfc3339),
    }
}

fn list(ctx: &Ctx) -> Result<Reply> {
    let (limit, offset) = ctx.page()?;
    let filter = Filter {
        q: ctx.param("q"),
        limit,
        offset,
    };
    let (rows, total) = ctx.app.db.read(|conn| users::list(conn, &filter))?;
    let items: Vec<_> = rows.iter().map(view).collect();
    Reply::json(&List { items, total })
}

fn show(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "user")?;
    Reply::json(&view(&ctx.app.db.read(|conn| users::get(conn, id))?))
}

fn create(ctx: &Ctx) -> Result<Reply> {
    let new = model::invitation(ctx.input()?)?;
    let (id, invite_url) = add(ctx.app, &new, ctx.allowed(Edit, Users)?)?;
    Reply::created(format!("/api/users/{id}"), &Created { id, invite_url })
}

/// Adds an account with the link by which its owner sets a password.
pub fn add(app: &App, new: &New, by: Allowed<Edit, Users>) -> Result<(Id<User>, Option<String>)> {
    app.db.write(|tx| {
        let invited = Invited {
            login: &new.login,
            email: &new.email,
            role: new.role,
        };
        let (id, token) = users::invite(app, tx, &invited, by)?;
        let url = token.map(|token| users::invite_url(tx, &token)).transpose()?;
        Ok((id, url))
    })
}

/// Changes one account in one transaction; its sign-ins are authorized again.
pub fn act<T>(
    app: &App,
    id: Id<User>,
    by: Allowed<Edit, Users>,
    act: impl Fn(&App, &Tx, &Member, Allowed<Edit, Users>) -> Result<T>,
) -> Result<T> {
    let done = app.db.write(|tx| act(app, tx, &users::get(tx, id)?, by))?;
    app.wakes.access.ring();
    Ok(done)
}

fn change(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "user")?;
    let change = model::change(ctx.input()?)?;
    set(ctx.app, id, &change, ctx.allowed(Edit, Users)?)?;
    show(ctx)
}

/// Changes one account.
pub fn set(app: &App, id: Id<User>, change: &Change, by: Allowed<Edit, Users>) -> Result<()> {
    act(app, id, by, |app, tx, member, by| {
        users::change(app, tx, member, change, by)
    })
}

fn remove(ctx: &Ctx) -> Result<Reply> {
    act(ctx.app, ctx.id(0, "user")?, ctx.allowed(Edit, Users)?, users::delete)?;
    Ok(Reply::status(204))
}

fn invite(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "user")?;
    ctx.input()?.finish(&[])?;
    let url = fresh_link(ctx.app, id, ctx.allowed(Edit, Users)?)?;
    let invite_url = Some(url);
    Reply::created(format!("/api/users/{id}"), &Created { id, invite_url })
}

/// A fresh link to one account.
pub fn fresh_link(app: &App, id: Id<User>, by: Allowed<Edit, Users>) -> Result<String> {
    act(app, id, by, |app, tx, member, by| {
        let token = users::fresh_invite(app, tx, member, by)?;
        users::invite_url(tx, &token)
    })
}

fn reset_totp(ctx: &Ctx) -> Result<Reply> {
    let by = ctx.allowed(Edit, Users)?;
    act(ctx.app, ctx.id(0, "user")?, by, users::reset_second_factor)?;
    Ok(Reply::status(204))
}

fn end_sessions(ctx: &Ctx) -> Result<Reply> {
    act(
        ctx.app,
        ctx.id(0, "user")?,
        ctx.allowed(Edit, Users)?,
        users::end_sessions,
    )?;
    Ok(Reply::status(204))
}
