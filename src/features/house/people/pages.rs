//! Pages of accounts: the list with the form for invitations, and one account with its actions.

use super::{api, model};
use crate::access::right::{Edit, Read, Users, may};
use crate::access::{Allowed, second_factor};
use crate::app::App;
use crate::base::clock::Ms;
use crate::base::error::{Error, Kind, Result};
use crate::base::id::{Id, User};
use crate::db::Tx;
use crate::features::house::projects;
use crate::features::house::users::{self, Change, Filter, Member};
use crate::form::{Input, body};
use crate::http::page::{self, query};
use crate::http::reply::Reply;
use crate::http::request::Method::{Get, Post};
use crate::http::route::{Ctx, Route, route};
use crate::http::view::Errors;
use serde::Serialize;

/// See [`Route`].
pub const ROUTES: &[Route] = &[
    route(Get, "/users", may(Read, Users), list),
    route(Post, "/users", may(Edit, Users), invite).takes(model::INVITE),
    route(Get, "/users/{id}", may(Read, Users), one),
    route(Post, "/users/{id}", may(Edit, Users), change)
        .takes(model::CHANGE)
        .dangerous(),
    route(Post, "/users/{id}/disable", may(Edit, Users), disable).dangerous(),
    route(Post, "/users/{id}/enable", may(Edit, Users), enable).dangerous(),
    route(Post, "/users/{id}/delete", may(Edit, Users), delete).dangerous(),
    route(Post, "/users/{id}/invite", may(Edit, Users), fresh_link).dangerous(),
    route(Post, "/users/{id}/totp/reset", may(Edit, Users), reset_totp).dangerous(),
    route(Post, "/users/{id}/sessions/end", may(Edit, Users), end_sessions),
];

/// Maximum accounts on the page; others are found by search.
const SHOWN_MAX: i64 = 500;

#[derive(Serialize)]
struct Row {
    id: i64,
    login: String,
    email: String,
    role: &'static str,
    state: &'static str,
    totp: bool,
    invited_until: Option<Ms>,
    created_at: Ms,
    last_login_at: Option<Ms>,
}

fn row(member: &Member) -> Row {
    Row {
        id: member.id.get(),
        login: member.login.clone(),
        email: member.email.clone(),
        role: member.role.name(),
        state: api::state(member),
        totp: member.totp,
        invited_until: member.invited_until,
        created_at: member.created_at,
        last_login_at: member.last_login_at,
    }
}

#[derive(Serialize)]
struct List<'a> {
    q: &'a str,
    items: Vec<Row>,
    total: i64,
    /// Typed values of a refused form.
    typed: Typed,
    errors: Errors,
    /// A new link: login and address.
    link: Option<Link>,
    deleted: bool,
    /// The reader's account, for the confirmation of who they are.
    own_totp: bool,
}

#[derive(Default, Serialize)]
struct Typed {
    login: String,
    email: String,
    role: String,
}

#[derive(Serialize)]
struct Link {
    login: String,
    url: String,
}

fn list(ctx: &Ctx) -> Result<Reply> {
    show_list(ctx, Typed::default(), Errors::default(), None)
}

fn show_list(ctx: &Ctx, typed: Typed, errors: Errors, link: Option<Link>) -> Result<Reply> {
    let filter = Filter {
        q: ctx.request.param("q").unwrap_or_default(),
        limit: SHOWN_MAX,
        offset: 0,
    };
    let (rows, total) = ctx.app.db.read(|conn| users::list(conn, &filter))?;
    let content = List {
        q: filter.q,
        items: rows.iter().map(row).collect(),
        total,
        typed,
        errors,
        link,
        deleted: ctx.request.param("deleted").is_some(),
        own_totp: own_totp(ctx)?,
    };
    page::show(ctx, "people/list.html", content)
}

fn own_totp(ctx: &Ctx) -> Result<bool> {
    let user = ctx.actor()?.user();
    ctx.app.db.read(|conn| second_factor::is_on(conn, user))
}

/// The whole link; without `site.public_url`, with the address that this page was asked at.
fn whole(ctx: &Ctx, url: String) -> Result<String> {
    match url.starts_with('/') {
        true => Ok(page::frame(ctx)?.origin + &url),
        false => Ok(url),
    }
}

fn invite(ctx: &Ctx) -> Result<Reply> {
    let by = ctx.allowed(Edit, Users)?;
    let made = model::invitation(ctx.input()?).and_then(|new| Ok((api::add(ctx.app, &new, by)?, new)));
    match made {
        Ok(((id, None), _)) => Ok(Reply::see_other(format!("/users/{id}"))),
        // Shown once: a reload does not send the form again.
        Ok(((_, Some(url)), new)) => {
            let link = Link {
                login: new.login,
                url: whole(ctx, url)?,
            };
            show_list(ctx, Typed::default(), Errors::default(), Some(link))
        }
        Err(e) if e.fields.is_empty() || !matches!(e.kind, Kind::Invalid | Kind::Conflict) => Err(e),
        Err(e) => {
            let form = ctx.request.form()?;
            let field = |name: &str| {
                form.iter()
                    .find(|(n, _)| n == name)
                    .map(|(_, v)| v.clone())
                    .unwrap_or_default()
            };
            let typed = Typed {
                login: field("login"),
                email: field("email"),
                role: field("role"),
            };
            Ok(show_list(ctx, typed, Errors::of(&e), None)?.with_status(422))
        }
    }
}

#[derive(Serialize)]
struct One {
    user: Row,
    /// Is it the reader's own account?
    is_own: bool,
    own_totp: bool,
    /// Open sign-ins.
    sessions: usize,
    email: String,
    role: String,
    /// Number and name of each project, and whether it is theirs; empty: there is one alone.
    projects: Vec<(i64, String, bool)>,
    errors: Errors,
    /// Code and sentence of a refusal.
    refused_as: Option<(&'static str, String)>,
    /// Name of the finished action.
    done: String,
    link: Option<String>,
}

fn one(ctx: &Ctx) -> Result<Reply> {
    show_one(ctx, ctx.id(0, "user")?, None, None)
}

fn show_one(ctx: &Ctx, id: Id<User>, wrong: Option<Error>, link: Option<String>) -> Result<Reply> {
    let (member, sessions, projects) = (ctx.app.db).read(|conn| {
        let member = users::get(conn, id)?;
        Ok((member, crate::access::sessions(conn, id)?.len(), projects::names(conn)?))
    })?;
    let form = wrong
        .is_some()
        .then(|| ctx.request.form())
        .transpose()?
        .unwrap_or_default();
    let typed = |name: &str, kept: &str| {
        let sent = form.iter().find(|(n, _)| n == name);
        sent.map_or(kept, |(_, value)| value).to_string()
    };
    let done = ctx.request.param("done").unwrap_or_default();
    let content = One {
        is_own: ctx.actor()?.user() == id,
        own_totp: own_totp(ctx)?,
        sessions,
        email: typed("email", &member.email),
        role: typed("role", member.role.name()),
        projects: match projects.len() {
            1 => Vec::new(),
            _ => (projects.into_iter())
                .map(|(id, name)| (id, name, member.projects.contains(&id)))
                .collect(),
        },
        errors: wrong.as_ref().map(Errors::of).unwrap_or_default(),
        refused_as: wrong.filter(|e| e.fields.is_empty()).map(|e| (e.code, e.say)),
        done: DONE
            .iter()
            .find(|known| **known == done)
            .map_or("", |known| known)
            .into(),
        link,
        user: row(&member),
    };
    page::show(ctx, "people/show.html", content)
}

/// Names of finished actions.
const DONE: &[&str] = &["saved", "disabled", "enabled", "totp_reset", "sessions_ended"];

/// The account's page with the result of an action.
fn after(ctx: &Ctx, id: Id<User>, done: Result<()>, say: &str) -> Result<Reply> {
    match done {
        Ok(()) => Ok(Reply::see_other(format!("/users/{id}{}", query(&[("done", say)])))),
        Err(e) if matches!(e.kind, Kind::Invalid | Kind::Conflict) => {
            Ok(show_one(ctx, id, Some(e), None)?.with_status(422))
        }
        Err(e) => Err(e),
    }
}

fn change(ctx: &Ctx) -> Result<Reply> {
    let (id, by) = (ctx.id(0, "user")?, ctx.allowed(Edit, Users)?);
    let mut form = body::object(ctx.request.header("content-type"), &ctx.request.body)?;
    if form.remove("has_projects").is_some() {
        // Of boxes that are not ticked nothing is sent.
        form.entry("projects").or_insert(serde_json::json!([]));
    }
    let change = model::change(Input::of(model::CHANGE, form));
    let done = change.and_then(|change| api::set(ctx.app, id, &change, by));
    after(ctx, id, done, "saved")
}

fn set_disabled(ctx: &Ctx, disabled: bool, say: &str) -> Result<Reply> {
    let id = ctx.id(0, "user")?;
    let change = Change {
        disabled: Some(disabled),
        ..Change::default()
    };
    let done = api::set(ctx.app, id, &change, ctx.allowed(Edit, Users)?);
    after(ctx, id, done, say)
}

fn disable(ctx: &Ctx) -> Result<Reply> {
    set_disabled(ctx, true, "disabled")
}

fn enable(ctx: &Ctx) -> Result<Reply> {
    set_disabled(ctx, false, "enabled")
}

fn act(ctx: &Ctx, say: &str, act: impl Fn(&App, &Tx, &Member, Allowed<Edit, Users>) -> Result<()>) -> Result<Reply> {
    let id = ctx.id(0, "user")?;
    let done = api::act(ctx.app, id, ctx.allowed(Edit, Users)?, act);
    after(ctx, id, done, say)
}

fn delete(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "user")?;
    match api::act(ctx.app, id, ctx.allowed(Edit, Users)?, users::delete) {
        Ok(()) => Ok(Reply::see_other("/users?deleted=1")),
        refused => after(ctx, id, refused, ""),
    }
}

fn reset_totp(ctx: &Ctx) -> Result<Reply> {
    act(ctx, "totp_reset", users::reset_second_factor)
}

fn end_sessions(ctx: &Ctx) -> Result<Reply> {
    act(ctx, "sessions_ended", users::end_sessions)
}

fn fresh_link(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "user")?;
    match api::fresh_link(ctx.app, id, ctx.allowed(Edit, Users)?) {
        Ok(url) => show_one(ctx, id, None, Some(whole(ctx, url)?)),
        Err(e) => after(ctx, id, Err(e), ""),
    }
}
