//! Pages for sign-in, sign-out, the first account and accepting an invitation.

use super::api;
use crate::access::{self, Account, Right, SignIn, second_factor, session, ticket};
use crate::audit;
use crate::base::error::{Error, Kind, Result};
use crate::base::secret::Secret;
use crate::form::Input;
use crate::form::param::{self, Param};
use crate::http::asset;
use crate::http::page;
use crate::http::reply::{Reply, with_retry};
use crate::http::request::Method::{Get, Post};
use crate::http::route::{Ctx, Route, route};
use crate::http::view::Errors;
use serde::Serialize;

/// Page routes.
pub const ROUTES: &[Route] = &[
    route(Get, "/login", Right::Public, login_page),
    route(Post, "/login", Right::Public, login).takes(LOGIN),
    route(Post, "/logout", Right::SignedIn, logout),
    route(Get, "/setup", Right::Public, setup_page),
    route(Post, "/setup", Right::Public, setup).takes(SETUP),
    route(Get, "/invite", Right::Public, invite_page).query(&[TOKEN]),
    route(Post, "/invite", Right::Public, accept).takes(ACCEPT),
    route(Get, "/static/{version}/{name}", Right::Public, file).uncounted(),
];

const NAME: Param = param::text("login", 200, "Whom to sign in.");
const PASSWORD: Param = param::secret("password", 4_096, "The password.");
const CODE: Param = param::text("totp", 64, "A code of one's authenticator, or a recovery code.");
const LOGIN: &[Param] = &[
    NAME,
    PASSWORD,
    param::text("next", 2_000, "Where to go then."),
    param::text("ticket", 200, "In the second step, that the password was right."),
    CODE,
];
const TOKEN: Param = param::text("token", 200, "Of the invitation's link.");
const ACCEPT: &[Param] = &[PASSWORD, TOKEN, CODE];
const SETUP: &[Param] = &[NAME, PASSWORD, param::text("token", 200, "Of the first start.")];
#[derive(Default, Serialize)]
struct Login<'a> {
    login: &'a str,
    /// Error of the last try.
    problem: &'a str,
    problem_code: &'a str,
    /// Is the connection neither encrypted nor local?
    plain: bool,
    next: &'a str,
    /// State of the second step, if a code is needed.
    ticket: &'a str,
}

fn login_page(ctx: &Ctx) -> Result<Reply> {
    let next = page::local(ctx.request.param("next").unwrap_or("/"));
    if ctx.maybe_actor().is_some() {
        return Ok(Reply::see_other(next));
    }
    if ctx.app.db.read(access::accounts)? == 0 {
        return Ok(Reply::see_other("/setup"));
    }
    let plain = is_plain(ctx);
    page::show(
        ctx,
        "users/login.html",
        Login {
            next,
            plain,
            ..Login::default()
        },
    )
}

/// Would a password be sent unencrypted over a network?
fn is_plain(ctx: &Ctx) -> bool {
    let local = ctx
        .request
        .ip
        .parse::<std::net::IpAddr>()
        .is_ok_and(|ip| ip.to_canonical().is_loopback());
    !ctx.request.tls && !local
}

fn login(ctx: &Ctx) -> Result<Reply> {
    let mut input = ctx.input()?;
    let (login, password) = credentials(&mut input);
    let next = input.text("next").unwrap_or_default();
    let ticket = input.text("ticket").unwrap_or_default();
    let code = input.text("totp").unwrap_or_default();
    input.finish(&[])?;
    let checked = match ticket.as_str() {
        "" => super::check_sign_in(ctx.app, &login, &password, Some(&code), ctx.request),
        ticket => super::check_second_step(ctx.app, ticket, &code, ctx.request),
    };
    let error = match checked {
        Ok(account) => return signed_in(ctx, &account, "auth.login", page::local(&next)),
        Err(e) if matches!(e.kind, Kind::Unauthorized | Kind::TooMany(_)) => e,
        Err(e) => return Err(e),
    };
    // The second step is shown until its ticket expires.
    let ticket = match (error.code, ticket) {
        ("wrong_login", _) => String::new(),
        ("totp_required", ticket) if ticket.is_empty() => second_step(ctx, &login)?,
        (_, ticket) => ticket,
    };
    let is_first_ask = error.code == "totp_required" && code.is_empty();
    let content = Login {
        login: &login,
        problem: if is_first_ask { "" } else { &error.say },
        problem_code: error.code,
        plain: is_plain(ctx),
        next: page::local(&next),
        ticket: &ticket,
    };
    let reply = with_retry(page::show(ctx, "users/login.html", content)?, &error);
    // Not 401, which would ask for a bearer token: for a browser this is a form with an error, or the next form.
    Ok(match error.kind {
        Kind::Unauthorized if is_first_ask => reply.with_status(200),
        Kind::Unauthorized => reply.with_status(422),
        _ => reply,
    })
}

/// After the right password: the page of the second step.
fn second_step(ctx: &Ctx, login: &str) -> Result<String> {
    let account = ctx.app.db.read(|conn| access::account(conn, login))?;
    let account = account.ok_or_else(|| Error::internal("the account is not there"))?;
    Ok(ticket::make(ctx.app.vault.access_key(), &account))
}

fn credentials(input: &mut Input) -> (String, Secret) {
    let login = input.text("login").unwrap_or_default();
    let password = input.secret("password").flatten().unwrap_or_default();
    (login, password)
}

/// Starts a session and redirects to `next`.
fn signed_in(ctx: &Ctx, account: &Account, action: &str, next: &str) -> Result<Reply> {
    let app = ctx.app;
    let cookie = app.db.write_reserved(|tx| {
        let by = ctx.request.origin().by(&account.login);
        let object = format!("user {} {}", account.id, account.login);
        audit::append(tx, &app.vault, by, action, &object, &serde_json::json!({}))?;
        session::start(tx, &SignIn::new(account, api::client(ctx.request)))
    })?;
    api::with_cookies(Reply::see_other(next), ctx, account, &cookie)
}

fn logout(ctx: &Ctx) -> Result<Reply> {
    api::sign_out(ctx, None)?;
    Ok(Reply::see_other("/login").header("Set-Cookie", api::clear_cookie(ctx.request)))
}

#[derive(Default, Serialize)]
struct Setup<'a> {
    login: &'a str,
    errors: Errors,
}

fn setup_page(ctx: &Ctx) -> Result<Reply> {
    if ctx.app.db.read(access::accounts)? > 0 {
        return Ok(Reply::see_other("/login"));
    }
    page::show(ctx, "users/setup.html", Setup::default())
}

fn setup(ctx: &Ctx) -> Result<Reply> {
    let mut input = ctx.input()?;
    let (login, password) = credentials(&mut input);
    let token = input.text("token").unwrap_or_default();
    input.finish(&[])?;
    let wrong = match super::register_first(ctx.app, &login, &password, &token, ctx.request) {
        Ok(account) => return signed_in(ctx, &account, "auth.register", "/"),
        Err(e) => e,
    };
    let errors = match wrong.code {
        "wrong_setup_token" => Errors::one("token", wrong.code, &wrong.say),
        _ if !wrong.fields.is_empty() => Errors::of(&wrong),
        _ => return Err(wrong),
    };
    Ok(page::show(ctx, "users/setup.html", Setup { login: &login, errors })?.with_status(422))
}

#[derive(Serialize)]
struct Invite<'a> {
    login: &'a str,
    token: &'a str,
    plain: bool,
    /// Is a code needed, too? (The account has two-step sign-in.)
    totp: bool,
    errors: Errors,
}

fn invite_page(ctx: &Ctx) -> Result<Reply> {
    show_invite(ctx, ctx.param("token"), Errors::default())
}

fn show_invite(ctx: &Ctx, token: &str, errors: Errors) -> Result<Reply> {
    let (login, totp) = (ctx.app.db).read(|conn| {
        let account = super::accounts::invited(conn, token)?;
        let totp = second_factor::is_on(conn, account.id)?;
        Ok((account.login, totp))
    })?;
    let content = Invite {
        login: &login,
        token,
        plain: is_plain(ctx),
        totp,
        errors,
    };
    page::show(ctx, "users/invite.html", content)
}

fn accept(ctx: &Ctx) -> Result<Reply> {
    let mut input = ctx.input()?;
    let token = input.text("token").unwrap_or_default();
    let password = input.secret("password").flatten().unwrap_or_default();
    let code = input.text("totp");
    input.finish(&[])?;
    let wrong = match super::register_invited(ctx.app, &token, &password, code.as_deref(), ctx.request) {
        Ok(account) => return signed_in(ctx, &account, "auth.register", "/"),
        Err(e) => e,
    };
    let errors = match wrong.code {
        "totp_required" | "wrong_totp" => Errors::one("totp", wrong.code, &wrong.say),
        _ if !wrong.fields.is_empty() => Errors::of(&wrong),
        _ => return Err(wrong),
    };
    Ok(show_invite(ctx, &token, errors)?.with_status(422))
}

/// A static file. Its path contains the hash of its content, so it is cacheable for ever.
fn file(ctx: &Ctx) -> Result<Reply> {
    let asset = asset::find(ctx.arg(0), ctx.arg(1)).ok_or_else(|| Error::not_found("file"))?;
    let reply = Reply::bytes(asset.mime, asset.body.as_bytes().to_vec());
    Ok(reply.header("Cache-Control", asset::CACHE_CONTROL))
}
