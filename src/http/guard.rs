//! Who is asking, and is it really them? Whether they may is asked next, by [`answer`](super::route::answer), and of what
//! is dangerous whether it is still them ([`confirmed`]): in that order, and nowhere else.
//!
//! Browsers send cookies with requests that other sites caused. So a change with a cookie needs a same-origin request
//! by `Sec-Fetch-Site` (or `Origin`), and the session's CSRF token.

use super::admission::{Admission, Caller};
use super::edge::ConnInfo;
use super::request::{Method, Request};
use crate::access::confirm::{self, Evidence};
use crate::access::{Actor, Right, api_token, session, token};
use crate::app::App;
use crate::base::error::{Error, Kind, Result};
use crate::base::secret::Secret;
use crate::base::text;
use crate::form::body::{CONFIRM_PASSWORD, CONFIRM_TOTP, CSRF};

/// Name of the session cookie. Over TLS it is `__Host-lamplighter`, which a browser binds to this host and to TLS.
pub fn cookie_name(tls: bool) -> &'static str {
    if tls {
        "__Host-lamplighter"
    } else {
        "lamplighter_session"
    }
}

/// Name of the cookie of a known device ([`crate::access::device`]).
pub fn device_cookie_name(tls: bool) -> &'static str {
    if tls {
        "__Host-lamplighter_device"
    } else {
        "lamplighter_device"
    }
}

/// The actor of a request for this right; `None`: not signed in. Errors: `unauthorized` for an invalid token, unless
/// the right is public; `cross_site`, `csrf`.
pub fn authenticate(app: &App, request: &Request, right: Right) -> Result<Option<Actor>> {
    let actor = match identify(app, request) {
        // Clients that renew an expired token often still send it.
        Err(e) if right == Right::Public && e.kind == Kind::Unauthorized => None,
        known => known?,
    };
    // What only somebody signed in may change is of an account, and the command line has none.
    if let Some(actor) = actor.as_ref().filter(|actor| actor.is_machine_user())
        && right == Right::SignedIn
        && !request.method.is_safe()
    {
        actor.sign_in()?;
    }
    if !request.method.is_safe() {
        // A page of an allowed origin with a token: browsers never send one by themselves.
        let is_listed = request.is_listed_origin && actor.as_ref().is_some_and(|actor| actor.csrf().is_none());
        if !is_listed {
            same_origin(request)?;
        }
        if let Some(csrf) = actor.as_ref().and_then(Actor::csrf) {
            check_csrf(request, csrf)?;
        }
    }
    Ok(actor)
}

/// Counts a request for its sender; those of the control socket are not limited. Error: `too_many_requests`.
pub fn count(admission: &Admission, request: &Request, is_known: bool) -> Result<()> {
    if request.control.is_some() {
        return Ok(());
    }
    let token = request
        .header("authorization")
        .and_then(|header| header.split_whitespace().last());
    let credential = token.or_else(|| request.cookie(cookie_name(request.tls)));
    admission.count(match credential {
        Some(credential) if is_known => Caller::Known(credential),
        _ => Caller::Stranger(&request.ip),
    })
}

/// Who asks for something dangerous has shown within ten minutes that it is them, or does it in this very form: so a page
/// without script goes on with what was asked. Errors: those of [`confirm`].
pub fn confirmed(app: &App, request: &Request, actor: &Actor) -> Result<()> {
    let form = if is_form(request) { request.form()? } else { Vec::new() };
    let sent = |name: &str| {
        let value = form.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
        value.filter(|value| !value.is_empty())
    };
    let evidence = match (sent(CONFIRM_PASSWORD), sent(CONFIRM_TOTP)) {
        (Some(password), _) => Evidence::Password(Secret::new(password)),
        (None, Some(code)) => Evidence::Code(code),
        (None, None) => return confirm::require(&app.db, actor),
    };
    confirm::show(&app.db, &app.vault, &app.throttle, actor, &evidence)
}

/// Who asks, if that can be told: for a page that shows an error. Grants nothing.
pub fn who(app: &App, request: &Request) -> Option<Actor> {
    identify(app, request).ok().flatten()
}

/// Do these headers authenticate somebody? Used by the edge before large bodies.
pub fn knows(app: &App, fields: &[(&str, &str)], info: &ConnInfo) -> bool {
    let who = ["authorization", "cookie"];
    let fields = fields
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_string()));
    let request = Request {
        method: Method::Get,
        segments: Vec::new(),
        query: Vec::new(),
        headers: fields.filter(|(name, _)| who.contains(&name.as_str())).collect(),
        body: Vec::new(),
        upload: None,
        ip: info.peer.ip().to_string(),
        local: info.local,
        tls: info.tls,
        is_listed_origin: info.is_listed_origin,
        id: info.request_id.clone(),
        client_id: info.client_request_id.clone(),
        control: info.control,
    };
    matches!(identify(app, &request), Ok(Some(_)))
}

fn identify(app: &App, request: &Request) -> Result<Option<Actor>> {
    let from = request.origin();
    // The kernel says who it is: no token or cookie says it better.
    if let Some(uid) = request.control {
        return Ok(Some(Actor::of_machine_user(uid, from)));
    }
    if let Some(header) = request.header("authorization") {
        let token = header
            .split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let Some((_, token)) = token else {
            return Err(token::unauthorized());
        };
        let actor = match token.trim() {
            token if api_token::is_one(token) => api_token::find(&app.db, token, from)?,
            token => token::find(&app.db, app.vault.access_key(), token, from)?,
        };
        return actor.map(Some).ok_or_else(token::unauthorized);
    }
    match request.cookie(cookie_name(request.tls)) {
        Some(cookie) => session::find(&app.db, cookie, from),
        None => Ok(None),
    }
}

/// Refuses requests that a browser marks as cross-site. Other programs send neither header.
fn same_origin(request: &Request) -> Result<()> {
    let foreign = match (request.header("sec-fetch-site"), request.header("origin")) {
        (Some(site), _) => !matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => {
            let host = request.header("host").unwrap_or_default();
            origin
                .split_once("://")
                .is_none_or(|(_, from)| !from.eq_ignore_ascii_case(host))
        }
        (None, None) => false,
    };
    match foreign {
        true => Err(Error::new(
            Kind::Forbidden,
            "cross_site",
            "This request came from another site and was not carried out.",
        )),
        false => Ok(()),
    }
}

/// Is the body what a page's form sends?
pub fn is_form(request: &Request) -> bool {
    let kind = request.header("content-type");
    kind.is_some_and(|k| k.starts_with("application/x-www-form-urlencoded"))
}

fn check_csrf(request: &Request, csrf: &str) -> Result<()> {
    let form = if is_form(request) { request.form()? } else { Vec::new() };
    let sent = request.header("x-csrf-token").or_else(|| {
        form.iter()
            .find(|(name, _)| name == CSRF)
            .map(|(_, value)| value.as_str())
    });
    match sent {
        Some(sent) if text::is_same_token(sent, csrf) => Ok(()),
        _ => Err(Error::new(
            Kind::Forbidden,
            "csrf",
            "This form is out of date (its token does not fit your session). Load the page again and repeat.",
        )),
    }
}
