//! One's own account over JSON.

use super::{agent, own};
use crate::access::confirm::{self, Evidence};
use crate::access::{self, OwnSignIn, Right};
use crate::base::clock::rfc3339;
use crate::base::error::Result;
use crate::base::shape::described;
use crate::form::param::{self, Param};
use crate::http::reply::{List, Reply};
use crate::http::request::Method::{Delete, Get, Post};
use crate::http::route::{Ctx, Route, route};

/// See [`Route`].
pub const ROUTES: &[Route] = &[
    route(Post, "/api/me/password", Right::SignedIn, set_password)
        .takes(PASSWORDS)
        .gives_nothing(),
    route(Post, "/api/me/confirm", Right::SignedIn, confirm)
        .takes(EVIDENCE)
        .gives_nothing(),
    route(Get, "/api/me/sessions", Right::SignedIn, sessions)
        .refuses(&[403])
        .gives::<List<SessionView>>(),
    route(Delete, "/api/me/sessions", Right::SignedIn, end_others).gives_nothing(),
    route(Delete, "/api/me/sessions/{id}", Right::SignedIn, end_one).gives_nothing(),
    route(Post, "/api/me/totp", Right::SignedIn, begin_totp)
        .takes(&[])
        .gives::<Enrolment>(),
    route(Post, "/api/me/totp/confirm", Right::SignedIn, confirm_totp)
        .takes(CODE)
        .gives::<RecoveryCodes>(),
    route(Post, "/api/me/totp/recovery-codes", Right::SignedIn, fresh_codes)
        .takes(&[])
        .dangerous()
        .gives::<RecoveryCodes>(),
    route(Delete, "/api/me/totp", Right::SignedIn, end_totp)
        .dangerous()
        .gives_nothing(),
];

/// Of a change of one's password.
pub const PASSWORDS: &[Param] = &[
    param::secret("old", 4_096, "The password of now.").required(),
    param::secret("new", 4_096, "The one that is to be.").required(),
];
const EVIDENCE: &[Param] = &[
    param::secret("password", 4_096, "One's password, or …"),
    param::text("totp", 64, "… a code of one's authenticator, or a recovery code."),
];
/// Of an authenticator.
pub const CODE: &[Param] = &[param::text("code", 64, "What the authenticator shows.").required()];

described! {
    /// A sign-in that goes on: of a browser, or of a program with the same password.
    struct SessionView {
        /// Its number; it opens nothing.
        id: String,
        /// Is it this one?
        current: bool,
        /// The address it was used from last.
        ip: String,
        /// What the program says it is, in short; empty where it says nothing.
        browser: String,
        /// All that it says.
        user_agent: String,
        created_at: String,
        /// To a few minutes.
        last_seen_at: String,
    }

    /// What an authenticator needs; it counts when a code has confirmed it.
    struct Enrolment {
        /// In base32.
        secret: String,
        /// For a QR code.
        uri: String,
    }

    /// Shown only now; each is good once in place of a code.
    struct RecoveryCodes {
        recovery_codes: Vec<String>,
    }
}

fn own<'a>(ctx: &'a Ctx) -> Result<OwnSignIn<'a>> {
    ctx.actor()?.sign_in()
}

fn nothing() -> Reply {
    Reply::status(204)
}

fn set_password(ctx: &Ctx) -> Result<Reply> {
    let own_sign_in = own(ctx)?;
    let mut input = ctx.input()?;
    let old = input.secret("old").flatten().unwrap_or_default();
    let new = input.secret("new").flatten().unwrap_or_default();
    if old.is_empty() && !input.has_error("old") {
        input.wrong("old", "required", "Give your password of now.");
    }
    input.finish(&[])?;
    own::set_password(ctx.app, own_sign_in, old, &new)?;
    Ok(nothing())
}

fn confirm(ctx: &Ctx) -> Result<Reply> {
    let mut input = ctx.input()?;
    let Some(evidence) = Evidence::read(&mut input) else {
        return Err(input.refuse());
    };
    input.finish(&[])?;
    confirm::show(&ctx.app.db, &ctx.app.vault, &ctx.app.throttle, ctx.actor()?, &evidence)?;
    Ok(nothing())
}

fn sessions(ctx: &Ctx) -> Result<Reply> {
    let own = own(ctx)?;
    let all = ctx.app.db.read(|conn| access::sessions(conn, own.actor().user()))?;
    let view = |s: access::Session| SessionView {
        current: s.family == own.family(),
        id: s.family,
        ip: s.ip,
        browser: agent::shown(&s.agent),
        user_agent: s.agent,
        created_at: rfc3339(s.created_at),
        last_seen_at: rfc3339(s.seen_at),
    };
    Reply::json(&List::whole(all.into_iter().map(view).collect()))
}

fn end_others(ctx: &Ctx) -> Result<Reply> {
    own::end_other_sessions(ctx.app, own(ctx)?)?;
    Ok(nothing())
}

fn end_one(ctx: &Ctx) -> Result<Reply> {
    own::end_session(ctx.app, own(ctx)?, ctx.arg(0))?;
    Ok(nothing())
}

fn begin_totp(ctx: &Ctx) -> Result<Reply> {
    ctx.input()?.finish(&[])?;
    let begun = own::begin_totp(ctx.app, own(ctx)?)?;
    Reply::json(&Enrolment {
        secret: begun.secret,
        uri: begun.uri,
    })
}

fn confirm_totp(ctx: &Ctx) -> Result<Reply> {
    let mut input = ctx.input()?;
    let code = input.text("code").unwrap_or_default();
    input.finish(&[])?;
    let recovery_codes = own::confirm_totp(ctx.app, own(ctx)?, &code)?;
    Reply::json(&RecoveryCodes { recovery_codes })
}

fn fresh_codes(ctx: &Ctx) -> Result<Reply> {
    ctx.input()?.finish(&[])?;
    let recovery_codes = own::fresh_codes(ctx.app, own(ctx)?)?;
    Reply::json(&RecoveryCodes { recovery_codes })
}

fn end_totp(ctx: &Ctx) -> Result<Reply> {
    own::end_totp(ctx.app, own(ctx)?)?;
    Ok(nothing())
}
