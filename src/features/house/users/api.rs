//! Sign-in and sign-out over JSON.

use crate::access::token::{self, ACCESS_AGE_S, Pair, Refreshed};
use crate::access::{Account, Actor, Client, Place, Right, SignIn, confirm, device, second_factor, session};
use crate::app::App;
use crate::audit;
use crate::base::clock::{Ms, SECOND, rfc3339};
use crate::base::error::{Error, Kind, Result};
use crate::base::id::{Id, User};
use crate::base::secret::Secret;
use crate::base::shape::described;
use crate::events::outbox;
use crate::form::Input;
use crate::form::param::{self, Param};
use crate::http::guard::{cookie_name, device_cookie_name};
use crate::http::reply::Reply;
use crate::http::request::Method::{Get, Patch, Post};
use crate::http::request::Request;
use crate::http::route::{Ctx, Route, route};
use crate::lang::Lang;

/// Routes of the JSON API.
pub const ROUTES: &[Route] = &[
    route(Post, "/api/auth/login", Right::Public, login)
        .takes(CREDENTIALS)
        .gives::<Tokens>()
        .refuses(&[401]),
    route(Post, "/api/auth/refresh", Right::Public, refresh)
        .takes(REFRESH)
        .gives::<Tokens>()
        .refuses(&[401]),
    route(Post, "/api/auth/logout", Right::Public, logout)
        .takes(LOGOUT)
        .gives_nothing(),
    route(Post, "/api/auth/register", Right::Public, register)
        .takes(REGISTER)
        .creates::<Tokens>(),
    route(Get, "/api/auth/me", Right::SignedIn, me).gives::<Me>(),
    route(Patch, "/api/auth/me", Right::SignedIn, change_me)
        .takes(ME)
        .gives::<Me>(),
];

/// Parameters of a sign-in.
pub const CREDENTIALS: &[Param] = &[LOGIN, USERNAME, EMAIL, PASSWORD, TOTP];
const LOGIN: Param = param::text("login", 256, "Whom to sign in.").required();
const USERNAME: Param = param::text("username", 256, "Another word for `login`.").alias_of("login");
const EMAIL: Param = param::text("email", 256, "Another word for `login`.").alias_of("login");
const PASSWORD: Param = param::secret("password", 100_000, "The password.").required();
const TOTP: Param = param::text(
    "totp",
    64,
    "A code, where the account is asked for one, or a recovery code.",
);
const REGISTER: &[Param] = &[
    param::text("login", 256, "Of the first administrator; an invitation has its own."),
    USERNAME,
    EMAIL,
    PASSWORD,
    param::text("setup_token", 200, "Of the first start, where one was given out."),
    param::text("invite", 1_000, "An invitation's link, or only what stands at its end."),
    TOTP,
];
const REFRESH: &[Param] = &[param::text("refresh_token", 200, "As it was got.").required()];
/// Selectable languages; empty: the browser's.
const LANGUAGES: &[&str] = &["", Lang::En.tag(), Lang::Ru.tag()];
const ME: &[Param] = &[
    param::choice("lang", LANGUAGES, "The language that one reads; empty: the browser's."),
    param::text("time_zone", 4_096, "By whose clocks; empty: the house's."),
];
const LOGOUT: &[Param] = &[param::text("refresh_token", 200, "Its sign-in is ended, too.")];

described! {
    /// Tokens of a sign-in.
    struct Tokens<'a> {
        /// Sent as `Authorization: Bearer …`.
        access_token: &'a str,
        /// Valid once, for the next pair.
        refresh_token: &'a str,
        token_type: &'static str,
        /// Lifetime of the access token in seconds.
        expires_in: i64,
        user: UserView<'a>,
    }

    /// The signed-in user.
    struct UserView<'a> {
        login: &'a str,
        role: &'static str,
    }

    /// The current user.
    struct Me<'a> {
        /// `null`: a user of this machine by the command line, who has no account.
        id: Option<Id<User>>,
        login: &'a str,
        role: &'static str,
        lang: &'a str,
        /// Empty: that of the installation.
        time_zone: &'a str,
        /// What they may do everywhere, as `noun:verb`.
        rights: Vec<String>,
        /// Is a code asked for when they sign in?
        totp: bool,
        /// Until when what is dangerous is done without being asked again who they are.
        confirmed_until: Option<String>,
    }
}

/// Login and password of a sign-in or registration; `email` and `username` are taken as the login, too.
pub fn credentials(input: &mut Input) -> (String, Secret) {
    let names = ["login", "username", "email"].map(|name| input.text(name));
    let login = names.into_iter().flatten().find(|t| !t.is_empty()).unwrap_or_default();
    let password = input.secret("password").flatten().unwrap_or_default();
    if login.is_empty() && !input.has_error("login") {
        input.wrong("login", "required", "Give your login.");
    }
    if password.is_empty() && !input.has_error("password") {
        input.wrong("password", "required", "Give your password.");
    }
    (login, password)
}

fn login(ctx: &Ctx) -> Result<Reply> {
    let mut input = ctx.input()?;
    let (login, password) = credentials(&mut input);
    let code = input.text("totp");
    input.finish(&[])?;
    let account = super::check_sign_in(ctx.app, &login, &password, code.as_deref(), ctx.request)?;
    signed_in(ctx, &account, "auth.login")
}

/// Also starts a session, so that a page can sign in by `fetch`.
fn signed_in(ctx: &Ctx, account: &Account, action: &str) -> Result<Reply> {
    let app = ctx.app;
    let (pair, cookie) = app.db.write_reserved(|tx| {
        audit::append(
            tx,
            &app.vault,
            ctx.request.origin().by(&account.login),
            action,
            &format!("user {} {}", account.id, account.login),
            &serde_json::json!({}),
        )?;
        let by = SignIn::new(account, client(ctx.request));
        Ok((token::issue(tx, app.vault.access_key(), &by)?, session::start(tx, &by)?))
    })?;
    with_cookies(tokens(&pair, account)?, ctx, account, &cookie)
}

/// Address and device of a sign-in.
pub fn client(request: &Request) -> Client<'_> {
    Client {
        ip: &request.ip,
        agent: request.header("user-agent").unwrap_or_default(),
    }
}

/// Cookies of the session and the device.
pub fn with_cookies(reply: Reply, ctx: &Ctx, account: &Account, session: &str) -> Result<Reply> {
    let tls = ctx.request.tls;
    let device = device::make(ctx.app.vault.access_key(), account.id);
    let life = ctx.app.db.read(session::Bounds::read)?.life;
    Ok(reply
        .header("Set-Cookie", set_cookie(tls, cookie_name(tls), session, life))
        .header(
            "Set-Cookie",
            set_cookie(tls, device_cookie_name(tls), &device, device::AGE_MAX),
        ))
}

fn tokens(pair: &Pair, account: &Account) -> Result<Reply> {
    Reply::json(&Tokens {
        access_token: &pair.access,
        refresh_token: &pair.refresh,
        token_type: "bearer",
        expires_in: ACCESS_AGE_S,
        user: UserView {
            login: &account.login,
            role: account.role.name(),
        },
    })
}

/// A cookie: HttpOnly, SameSite, and Secure if we use TLS.
fn set_cookie(tls: bool, name: &str, value: &str, age: Ms) -> String {
    let secure = if tls { "; Secure" } else { "" };
    let age_s = age / SECOND;
    format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age_s}{secure}")
}

/// A `Set-Cookie` that removes the session cookie.
pub fn clear_cookie(request: &Request) -> String {
    set_cookie(request.tls, cookie_name(request.tls), "", 0)
}

fn refresh_token(ctx: &Ctx) -> Result<String> {
    let mut input = ctx.input()?;
    let token = input.text("refresh_token").unwrap_or_default();
    if token.is_empty() && !input.has_error("refresh_token") {
        input.wrong("refresh_token", "required", "Send the refresh token.");
    }
    input.finish(&[])?;
    Ok(token)
}

fn refresh(ctx: &Ctx) -> Result<Reply> {
    let app = ctx.app;
    let sent = refresh_token(ctx)?;
    let dead = || {
        Error::new(
            Kind::Unauthorized,
            "refresh_token_dead",
            "This refresh token is not good any more. Sign in again.",
        )
    };
    let outcome = app.db.write_reserved(|tx| {
        let outcome = token::refresh(tx, app.vault.access_key(), &sent, client(ctx.request))?;
        if let Refreshed::Reused(account) = &outcome {
            reused(app, tx, account, ctx.request)?;
        }
        Ok(outcome)
    })?;
    match outcome {
        Refreshed::Fresh(account, pair) => tokens(&pair, &account),
        Refreshed::Reused(_) | Refreshed::Dead => Err(dead()),
    }
}

/// A reused refresh token: reported in the audit and by an event.
fn reused(app: &App, tx: &crate::db::Tx, account: &Account, request: &Request) -> Result<()> {
    let data = serde_json::json!({ "login": account.login, "ip": request.ip });
    audit::append(
        tx,
        &app.vault,
        request.origin().by(&account.login),
        "auth.refresh_reused",
        &format!("user {} {}", account.id, account.login),
        &data,
    )?;
    outbox::emit(
        tx,
        &app.wakes.events,
        "auth.refresh_reused",
        ("user", account.id.get()),
        &data,
    )
}

/// Ends all sign-ins in the request: cookie, access token, and a refresh token in the body.
fn logout(ctx: &Ctx) -> Result<Reply> {
    let mut input = ctx.input()?;
    let refresh = input.text("refresh_token");
    input.finish(&[])?;
    sign_out(ctx, refresh.as_deref())?;
    Ok(Reply::status(204).header("Set-Cookie", clear_cookie(ctx.request)))
}

/// Ends the sign-ins of this request, and that of a refresh token: session, tokens and live views.
pub fn sign_out(ctx: &Ctx, refresh: Option<&str>) -> Result<()> {
    ctx.app.db.write_reserved(|tx| {
        if let Some(actor) = ctx.maybe_actor() {
            actor.sign_out(tx)?;
            let object = format!("user {} {}", actor.user(), actor.login());
            let none = serde_json::json!({});
            audit::append(tx, &ctx.app.vault, actor.by(), "auth.logout", &object, &none)?;
        }
        if let Some(cookie) = ctx.request.cookie(cookie_name(ctx.request.tls)) {
            session::end(tx, cookie)?;
        }
        refresh.map_or(Ok(()), |refresh| token::end(tx, refresh))
    })?;
    ctx.app.wakes.access.ring();
    Ok(())
}

fn register(ctx: &Ctx) -> Result<Reply> {
    let mut input = ctx.input()?;
    let account = match input.text("invite") {
        Some(invite) => {
            let password = input.secret("password").flatten().unwrap_or_default();
            let code = input.text("totp");
            input.finish(&[])?;
            super::register_invited(ctx.app, &invite, &password, code.as_deref(), ctx.request)?
        }
        None => {
            let (login, password) = credentials(&mut input);
            let token = input.text("setup_token").unwrap_or_default();
            input.finish(&[])?;
            super::register_first(ctx.app, &login, &password, &token, ctx.request)?
        }
    };
    Ok(signed_in(ctx, &account, "auth.register")?.with_status(201))
}

fn me(ctx: &Ctx) -> Result<Reply> {
    let actor = ctx.actor()?;
    let (lang, time_zone) = (actor.lang(), actor.time_zone());
    told_me(ctx, actor, lang, time_zone)
}

fn told_me(ctx: &Ctx, actor: &Actor, lang: &str, time_zone: &str) -> Result<Reply> {
    let rights = (actor.role().rights()).filter(|(verb, noun)| actor.has(Right::May(*verb, *noun), &Place::Everywhere));
    let (totp, until) = (ctx.app.db).read(|conn| {
        let totp = second_factor::is_on(conn, actor.user())?;
        Ok((totp, confirm::until(conn, actor)?))
    })?;
    Reply::json(&Me {
        id: (!actor.is_machine_user()).then(|| actor.user()),
        login: actor.login(),
        role: actor.role().name(),
        lang,
        time_zone,
        rights: rights
            .map(|(verb, noun)| format!("{}:{}", noun.name(), verb.name()))
            .collect(),
        totp,
        confirmed_until: until.map(rfc3339),
    })
}

/// Missing fields stay; an empty zone means that of the installation.
fn change_me(ctx: &Ctx) -> Result<Reply> {
    let actor = ctx.actor()?;
    let mut input = ctx.input()?;
    let lang = input.choice("lang");
    let time_zone = input.time_zone("time_zone");
    input.finish(&["id", "login", "role", "rights", "totp", "confirmed_until"])?;
    ctx.app.db.write(|tx| {
        lang.map_or(Ok(()), |lang| super::set_lang(tx, actor.user(), lang))?;
        time_zone
            .as_ref()
            .map_or(Ok(()), |name| super::set_time_zone(tx, actor.user(), name))
    })?;
    let time_zone = time_zone.as_deref().unwrap_or(actor.time_zone());
    told_me(ctx, actor, lang.unwrap_or(actor.lang()), time_zone)
}
