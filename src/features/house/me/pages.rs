//! The page of the user's own account: display preferences, password, two-step sign-in, sign-ins.

use super::{agent, api, own};
use crate::access::{self, OwnSignIn, Right, second_factor};
use crate::base::clock::Ms;
use crate::base::error::{Error, Kind, Result};
use crate::features::house::users;
use crate::form::param::{self, Param};
use crate::http::page::{self, query};
use crate::http::reply::{Reply, with_retry};
use crate::http::request::Method::{Get, Post};
use crate::http::route::{Ctx, Route, route};
use crate::http::view::{Errors, Theme};
use crate::lang::Lang;
use serde::Serialize;

/// See [`Route`].
pub const ROUTES: &[Route] = &[
    route(Get, "/prefs", Right::SignedIn, prefs_page),
    route(Post, "/prefs", Right::SignedIn, prefs).takes(PREFS),
    route(Post, "/prefs/password", Right::SignedIn, password).takes(api::PASSWORDS),
    route(Post, "/prefs/sessions/end", Right::SignedIn, end_others),
    route(Post, "/prefs/sessions/{id}/end", Right::SignedIn, end_one),
    route(Get, "/prefs/totp", Right::SignedIn, totp_page),
    route(Post, "/prefs/totp", Right::SignedIn, begin_totp),
    route(Post, "/prefs/totp/confirm", Right::SignedIn, confirm_totp).takes(api::CODE),
    route(Post, "/prefs/totp/codes", Right::SignedIn, fresh_codes).dangerous(),
    route(Post, "/prefs/totp/off", Right::SignedIn, end_totp).dangerous(),
];

const PREFS: &[Param] = &[
    param::choice("lang", Lang::WORDS, "The pages' language."),
    param::choice("theme", &["auto", "light", "dark"], "Their colours."),
    param::choice("keys", &["on", "off"], "Do keys work on them?"),
    param::text("time_zone", 4_096, "By whose clocks; empty: the house's."),
    param::text("back", 2_000, "Where to go then."),
];

#[derive(Serialize)]
struct Prefs {
    /// The chosen value, or the typed one when it was refused.
    time_zone_chosen: String,
    errors: Errors,
    /// Code and sentence of a refused password.
    refused_as: Option<(&'static str, String)>,
    /// Name of the finished action.
    done: &'static str,
    totp: bool,
    codes_left: i64,
    sessions: Vec<Session>,
}

#[derive(Serialize)]
struct Session {
    id: String,
    is_this: bool,
    ip: String,
    browser: String,
    created_at: Ms,
    seen_at: Ms,
}

/// Names of finished actions.
const DONE: &[&str] = &["password", "session", "sessions", "totp_off"];

fn own_sign_in<'a>(ctx: &'a Ctx) -> Result<OwnSignIn<'a>> {
    ctx.actor()?.sign_in()
}

fn prefs_page(ctx: &Ctx) -> Result<Reply> {
    show_prefs(ctx, None, None)
}

/// `zone`: as it was typed.
fn show_prefs(ctx: &Ctx, zone: Option<&str>, wrong: Option<&Error>) -> Result<Reply> {
    let own = own_sign_in(ctx)?;
    let user = own.actor().user();
    let (totp, codes_left, sessions) = (ctx.app.db).read(|conn| {
        let totp = second_factor::is_on(conn, user)?;
        Ok((
            totp,
            second_factor::codes_left(conn, user)?,
            access::sessions(conn, user)?,
        ))
    })?;
    let session = |s: access::Session| Session {
        is_this: s.family == own.family(),
        id: s.family,
        ip: s.ip,
        browser: agent::shown(&s.agent),
        created_at: s.created_at,
        seen_at: s.seen_at,
    };
    let done = ctx.request.param("done").unwrap_or_default();
    let content = Prefs {
        time_zone_chosen: zone.unwrap_or(own.actor().time_zone()).into(),
        errors: wrong.map(Errors::of).unwrap_or_default(),
        refused_as: wrong.filter(|e| e.fields.is_empty()).map(|e| (e.code, e.say.clone())),
        done: DONE.iter().copied().find(|known| *known == done).unwrap_or_default(),
        totp,
        codes_left,
        sessions: sessions.into_iter().map(session).collect(),
    };
    page::show(ctx, "me/prefs.html", content)
}

fn back_with(done: &str) -> Reply {
    Reply::see_other(format!("/prefs{}", query(&[("done", done)])))
}

/// Stores preferences, one per field; fields that are not sent stay.
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
        return match e.fields.is_empty() {
            true => Err(e),
            false => {
                let page = show_prefs(ctx, Some(typed.map_or("", |(_, text)| text)), Some(&e))?;
                Ok(page.with_status(422))
            }
        };
    }
    let mut reply = Reply::see_other(page::local(&back));
    if let Some(lang) = lang {
        let user = ctx.actor()?.user();
        ctx.app.db.write(|tx| users::set_lang(tx, user, lang.tag()))?;
        reply = reply.header("Set-Cookie", page::preference_cookie(ctx.request, "lang", lang.tag()));
    }
    if let Some(name) = time_zone {
        let user = ctx.actor()?.user();
        ctx.app.db.write(|tx| users::set_time_zone(tx, user, &name))?;
    }
    if let Some(theme) = theme {
        reply = reply.header(
            "Set-Cookie",
            page::preference_cookie(ctx.request, "theme", theme.name()),
        );
    }
    if let Some(keys) = keys {
        reply = reply.header("Set-Cookie", page::preference_cookie(ctx.request, "keys", keys));
    }
    Ok(reply)
}

fn password(ctx: &Ctx) -> Result<Reply> {
    let mut input = ctx.input()?;
    let old = input.secret("old").flatten().unwrap_or_default();
    let new = input.secret("new").flatten().unwrap_or_default();
    let done = input.finish(&[]);
    match done.and_then(|()| own::set_password(ctx.app, own_sign_in(ctx)?, old, &new)) {
        Ok(()) => Ok(back_with("password")),
        Err(e) if e.kind == Kind::Invalid || e.code == "wrong_password" => {
            Ok(show_prefs(ctx, None, Some(&e))?.with_status(422))
        }
        Err(e) if matches!(e.kind, Kind::TooMany(_)) => Ok(with_retry(show_prefs(ctx, None, Some(&e))?, &e)),
        Err(e) => Err(e),
    }
}

fn end_others(ctx: &Ctx) -> Result<Reply> {
    own::end_other_sessions(ctx.app, own_sign_in(ctx)?)?;
    Ok(back_with("sessions"))
}

fn end_one(ctx: &Ctx) -> Result<Reply> {
    own::end_session(ctx.app, own_sign_in(ctx)?, ctx.arg(0))?;
    Ok(back_with("session"))
}

#[derive(Default, Serialize)]
struct Totp {
    is_on: bool,
    codes_left: i64,
    secret: String,
    uri: String,
    /// Just made; shown once.
    codes: Vec<String>,
    errors: Errors,
}

fn totp_page(ctx: &Ctx) -> Result<Reply> {
    show_totp(ctx, Vec::new(), Errors::default())
}

fn show_totp(ctx: &Ctx, codes: Vec<String>, errors: Errors) -> Result<Reply> {
    let own = own_sign_in(ctx)?;
    let user = own.actor().user();
    let (is_on, codes_left) = (ctx.app.db).read(|conn| {
        let is_on = second_factor::is_on(conn, user)?;
        Ok((is_on, second_factor::codes_left(conn, user)?))
    })?;
    let begun = own::pending_totp(ctx.app, own)?;
    let (secret, uri) = begun.map(|begun| (begun.secret, begun.uri)).unwrap_or_default();
    let content = Totp {
        is_on,
        codes_left,
        secret,
        uri,
        codes,
        errors,
    };
    page::show(ctx, "me/totp.html", content)
}

fn begin_totp(ctx: &Ctx) -> Result<Reply> {
    own::begin_totp(ctx.app, own_sign_in(ctx)?)?;
    Ok(Reply::see_other("/prefs/totp"))
}

fn confirm_totp(ctx: &Ctx) -> Result<Reply> {
    let mut input = ctx.input()?;
    let code = input.text("code").unwrap_or_default();
    let confirmed = input.finish(&[]);
    match confirmed.and_then(|()| own::confirm_totp(ctx.app, own_sign_in(ctx)?, &code)) {
        Ok(codes) => show_totp(ctx, codes, Errors::default()),
        Err(e) if !e.fields.is_empty() => Ok(show_totp(ctx, Vec::new(), Errors::of(&e))?.with_status(422)),
        Err(e) => Err(e),
    }
}

fn fresh_codes(ctx: &Ctx) -> Result<Reply> {
    let codes = own::fresh_codes(ctx.app, own_sign_in(ctx)?)?;
    show_totp(ctx, codes, Errors::default())
}

fn end_totp(ctx: &Ctx) -> Result<Reply> {
    own::end_totp(ctx.app, own_sign_in(ctx)?)?;
    Ok(back_with("totp_off"))
}
