//! Pages: sign-in and sign-out, first account, display preferences.

use super::api;
use crate::access::{self, Account, Right, SignIn, session};
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
use crate::http::view::{Errors, Theme};
use crate::lang::Lang;
use serde::Serialize;

/// Page routes.
pub const ROUTES: &[Route] = &[
    route(Get, "/login", Right::Public, login_page),
    route(Post, "/login", Right::Public, login).takes(LOGIN),
    route(Post, "/logout", Right::SignedIn, logout),
    route(Get, "/setup", Right::Public, setup_page),
    route(Post, "/setup", Right::Public, setup).takes(SETUP),
    route(Get, "/prefs", Right::SignedIn, prefs_page),
    route(Post, "/prefs", Right::SignedIn, prefs).takes(PREFS),
    route(Get, "/static/{version}/{name}", Right::Public, file).uncounted(),
];

const NAME: Param = param::text("login", 200, "Whom to sign in.");
const PASSWORD: Param = param::secret("password", 4_096, "The password.");
const LOGIN: &[Param] = &[NAME, PASSWORD, param::text("next", 2_000, "Where to go then.")];
const SETUP: &[Param] = &[NAME, PASSWORD, param::text("token", 200, "Of the first start.")];
const PREFS: &[Param] = &[
    param::choice("lang", Lang::WORDS, "The pages' language."),
    param::choice("theme", &["auto", "light", "dark"], "Their colours."),
    param::choice("keys", &["on", "off"], "Do keys work on them?"),
    param::text("time_zone", 4_096, "By whose clocks; empty: the house's."),
    param::text("back", 2_000, "Where to go then."),
];

#[derive(Default, Serialize)]
struct Login<'a> {
    login: &'a str,
    /// Error of the last try.
    problem: &'a str,
    problem_code: &'a str,
    /// Is the connection neither encrypted nor local?
    plain: bool,
    next: &'a str,
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
    input.finish(&[])?;
    match super::check_sign_in(ctx.app, &login, &password, ctx.request) {
        Ok(account) => signed_in(ctx, &account, "auth.login", page::local(&next)),
        Err(e) if matches!(e.kind, Kind::Unauthorized | Kind::TooMany(_)) => {
            let content = Login {
                login: &login,
                problem: &e.say,
                problem_code: e.code,
                plain: is_plain(ctx),
                next: page::local(&next),
            };
            let reply = with_retry(page::show(ctx, "users/login.html", content)?, &e);
            // 401 would request a bearer token; for a browser this is a form with a mistake.
            Ok(if e.kind == Kind::Unauthorized {
                reply.with_status(422)
            } else {
                reply
            })
        }
        Err(e) => Err(e),
    }
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
        session::start(tx, &SignIn::new(account, &ctx.request.ip))
    })?;
    Ok(api::with_cookies(Reply::see_other(next), ctx, account, &cookie))
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
struct Prefs<'a> {
    /// The stored value, or the refused input.
    time_zone_chosen: &'a str,
    errors: Errors,
}

fn prefs_page(ctx: &Ctx) -> Result<Reply> {
    let time_zone = ctx.actor()?.time_zone();
    page::show(
        ctx,
        "users/prefs.html",
        Prefs {
            time_zone_chosen: time_zone,
            errors: Errors::default(),
        },
    )
}

/// Each field is one preference; missing ones stay.
fn prefs(ctx: &Ctx) -> Result<Reply> {
    let mut input = ctx.input()?;
    let lang = input.choice("lang").and_then(Lang::parse);
    let theme = input.choice("theme").map(Theme::parse);
    let keys = input.choice("keys");
    let time_zone = input.time_zone("time_zone");
    let back = input.text("back").unwrap_or_default();
    if let Err(e) = input.finish(&[]) {
        let form = ctx.request.form()?;
        let typed = form.iter().find(|(name, _)| name == "time_zone");
        let content = Prefs {
            time_zone_chosen: typed.map_or("", |(_, text)| text),
            errors: Errors::of(&e),
        };
        return match content.errors.is_empty() {
            true => Err(e),
            false => Ok(page::show(ctx, "users/prefs.html", content)?.with_status(422)),
        };
    }
    let mut reply = Reply::see_other(page::local(&back));
    if let Some(lang) = lang {
        let user = ctx.actor()?.user();
        ctx.app.db.write(|tx| super::set_lang(tx, user, lang.tag()))?;
        reply = reply.header("Set-Cookie", page::looks_cookie(ctx.request, "lang", lang.tag()));
    }
    if let Some(name) = time_zone {
        let user = ctx.actor()?.user();
        ctx.app.db.write(|tx| super::set_time_zone(tx, user, &name))?;
    }
    if let Some(theme) = theme {
        reply = reply.header("Set-Cookie", page::looks_cookie(ctx.request, "theme", theme.name()));
    }
    if let Some(keys) = keys {
        reply = reply.header("Set-Cookie", page::looks_cookie(ctx.request, "keys", keys));
    }
    Ok(reply)
}

/// A static file. Its path contains the hash of its content, so it is cacheable for ever.
fn file(ctx: &Ctx) -> Result<Reply> {
    let asset = asset::find(ctx.arg(0), ctx.arg(1)).ok_or_else(|| Error::not_found("file"))?;
    let reply = Reply::bytes(asset.mime, asset.body.as_bytes().to_vec());
    Ok(reply.header("Cache-Control", asset::CACHE_CONTROL))
}
