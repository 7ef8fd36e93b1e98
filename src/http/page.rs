//! Common data of pages: reader, language, theme, return address. Errors become pages here, or a redirect to the
//! sign-in.

use super::edge::Limits;
use super::guard;
use super::menu::{self, Nav};
use super::reply::{self, Reply};
use super::request::Request;
use super::route::{Ctx, Web};
use super::view::{Can, Page, Prepared, Theme};
use crate::access::{Actor, Place, second_factor};
use crate::app::App;
use crate::base::clock::{self, DAY, SECOND};
use crate::base::error::{Error, Kind, Result};
use crate::base::text::percent_encode;
use crate::base::zone::Zone;
use crate::form::body;
use crate::kinds;
use crate::lang::{Lang, Locale};
use crate::notice;
use crate::settings;
use serde::Serialize;

/// The page `template` around `content`, status 200.
pub fn show(ctx: &Ctx, template: &str, content: impl Serialize) -> Result<Reply> {
    let page = frame(ctx)?;
    Ok(Reply::html(ctx.web.view.render(template, &page, content)?))
}

/// The page frame for this request.
pub fn frame(ctx: &Ctx) -> Result<Page> {
    frame_for(ctx.web, ctx.app, ctx.request, (ctx.maybe_actor(), ctx.place()))
}

/// The page frame for who nobody knows, whoever it is: what caches may keep and give to others. Its language is that of the
/// address, else of the browser.
pub fn for_everybody(ctx: &Ctx) -> Result<Page> {
    let accepted = || Lang::accepted(ctx.request.header("accept-language").unwrap_or_default());
    let asked = ctx.request.param("lang").and_then(Lang::parse);
    Ok(Page {
        locale: Locale {
            lang: asked.unwrap_or_else(accepted),
            zone: zone(ctx.web, None)?,
        },
        now: clock::now(),
        ..Page::default()
    })
}

/// `app`: restricted to what the reader may see.
fn frame_for(web: &Web, app: &App, request: &Request, (actor, place): (Option<&Actor>, &Place)) -> Result<Page> {
    let mut page = bare(request, actor);
    let Some(actor) = actor else {
        page.locale.zone = zone(web, None)?;
        page.tell(&app.db.read(notice::get)?);
        return Ok(page);
    };
    page.user = actor.login().to_string();
    page.role = actor.role().name().to_string();
    page.csrf = actor.csrf().unwrap_or_default().to_string();
    page.here = menu::here(app, &page.path);
    page.can = Can::of(|right| actor.has(right, place));
    // Shared by all readers with the same rights.
    let reach = |right| actor.has(right, &Place::Granted);
    let key = format!("nav {} {:x}", page.locale.lang.tag(), Can::of(reach).key());
    let shared = web.cache.get(app, &key, || {
        let nav = Nav::read(app, page.locale.lang)?;
        let notice = app.db.read(notice::get)?;
        Ok((Prepared::of(nav.narrowed(reach)), zone(web, None)?, notice))
    })?;
    let own = Some(actor.time_zone()).filter(|name| !name.is_empty());
    page.nav = shared.0.clone();
    page.tell(&shared.2);
    page.locale.zone = own
        .and_then(|name| web.zones.load(name))
        .unwrap_or_else(|| shared.1.clone());
    Ok(page)
}

/// The frame from the request alone: for pages before signing in and for errors.
fn bare(request: &Request, actor: Option<&Actor>) -> Page {
    let scheme = if request.tls { "https" } else { "http" };
    Page {
        locale: Locale {
            lang: lang(request, actor),
            zone: Zone::utc(),
        },
        theme: Theme::parse(request.cookie("theme").unwrap_or_default()),
        keys: request.cookie("keys") != Some("off"),
        path: here(request),
        origin: format!("{scheme}://{}", request.header("host").unwrap_or("localhost")),
        now: clock::now(),
        nav: Prepared::of(Nav::default()),
        heartbeat_s: Limits::default().heartbeat.as_secs(),
        ..Page::default()
    }
}

/// The language of the user's choice, else the browser's first supported one.
pub fn lang(request: &Request, actor: Option<&Actor>) -> Lang {
    let chosen = actor.and_then(|a| Lang::parse(a.lang()));
    let asked = || request.param("lang").and_then(Lang::parse);
    let kept = || request.cookie("lang").and_then(Lang::parse);
    let accepted = || Lang::accepted(request.header("accept-language").unwrap_or_default());
    chosen.or_else(asked).or_else(kept).unwrap_or_else(accepted)
}

/// The user's time zone, else that of the installation.
fn zone(web: &Web, actor: Option<&Actor>) -> Result<Zone> {
    let chosen = actor.map(Actor::time_zone).filter(|name| !name.is_empty());
    match chosen.and_then(|name| web.zones.load(name)) {
        Some(zone) => Ok(zone),
        None => {
            let name = web.app.db.read(|conn| settings::SITE_TIME_ZONE.text(conn))?;
            Ok(web.zones.load_or_system(&name))
        }
    }
}

/// Language and zone of the reader.
pub fn locale(ctx: &Ctx) -> Result<Locale> {
    Ok(Locale {
        lang: lang(ctx.request, ctx.maybe_actor()),
        zone: zone(ctx.web, ctx.maybe_actor())?,
    })
}

/// Path and query of this request. For a form: the page it was loaded from.
pub fn here(request: &Request) -> String {
    let path: String = request
        .segments
        .iter()
        .map(|s| format!("/{}", percent_encode(s)))
        .collect();
    path + &query(&request.query)
}

/// `?a=b&c=d` without empty values; empty if none is left.
pub fn query<N: AsRef<str>, V: AsRef<str>>(pairs: &[(N, V)]) -> String {
    let pairs = pairs.iter().map(|(name, value)| (name.as_ref(), value.as_ref()));
    let text: Vec<_> = pairs
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{}={}", percent_encode(name), percent_encode(value)))
        .collect();
    if text.is_empty() {
        String::new()
    } else {
        format!("?{}", text.join("&"))
    }
}

/// A return address from a form: a local path, or `/`.
pub fn local(place: &str) -> &str {
    // Browsers treat `//host`, `/\host` and `/<tab>/host` as other servers, since they drop control characters. Other
    // characters are percent-encoded.
    let printable = place.bytes().all(|b| b.is_ascii_graphic());
    let is_local = place.starts_with('/') && !place.starts_with("//") && !place.contains('\\');
    if printable && is_local { place } else { "/" }
}

/// The page of a target by type and id, if it has one.
pub fn place((kind, id): (&str, i64)) -> Option<String> {
    Some(format!("{}{id}", kinds::target_kind(kind)?.page))
}

/// A cookie for one year with a display preference; no secret.
pub fn preference_cookie(request: &Request, name: &str, value: &str) -> String {
    let secure = if request.tls { "; Secure" } else { "" };
    format!(
        "{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={}{secure}",
        365 * DAY / SECOND
    )
}

/// An error in the client's format: JSON under `/api/`, else a page. Anonymous readers are redirected to the sign-in.
pub fn failure(web: &Web, request: &Request, error: &Error) -> Reply {
    if request.wants_json() {
        return reply::error_json(error, request);
    }
    if error.kind == Kind::Unauthorized && request.method.is_safe() {
        return Reply::see_other(format!("/login{}", query(&[("next", here(request))])));
    }
    if let Some(asked) = confirm_page(web, request, error) {
        return asked;
    }
    let status = reply::status(error.kind);
    let content = serde_json::json!({
        "status": status,
        "code_name": error.code,
        "say": error.say,
        "request_id": request.id,
        "retry": request.method.is_safe() && status >= 429,
    });
    // Signed-in readers keep menu and search. If these cannot be read, only the error is shown.
    let actor = guard::who(&web.app, request);
    let narrowed = actor.as_ref().and_then(Actor::lens).map(|lens| web.app.through(lens));
    let app = narrowed.as_ref().unwrap_or(&web.app);
    let page = frame_for(web, app, request, (actor.as_ref(), &Place::Granted));
    let page = page.unwrap_or_else(|_| bare(request, None));
    match web.view.render("error.html", &page, content) {
        Ok(page) => reply::with_retry(Reply::html(page), error),
        Err(_) => reply::error_json(error, request),
    }
}

/// What was asked for by a form is dangerous: the same form again, with all that was in it, and the question who it is.
fn confirm_page(web: &Web, request: &Request, error: &Error) -> Option<Reply> {
    let problem = match error.code {
        "confirm_required" => "",
        "wrong_confirmation" | "too_many_sign_ins" => error.code,
        _ => return None,
    };
    if request.method.is_safe() || !guard::is_form(request) {
        return None;
    }
    let actor = guard::who(&web.app, request)?;
    let is_ours = |name: &str| body::OF_THE_GUARD.contains(&name);
    let fields = request.form().ok()?.into_iter().filter(|(name, _)| !is_ours(name));
    let content = serde_json::json!({
        "action": here(request),
        "fields": fields.collect::<Vec<_>>(),
        "totp": web.app.db.read(|conn| second_factor::is_on(conn, actor.user())).ok()?,
        "problem": problem,
        "say": error.say,
    });
    let page = frame_for(web, &web.app, request, (Some(&actor), &Place::Granted)).ok()?;
    let page = web.view.render("confirm.html", &page, content).ok()?;
    Some(reply::with_retry(Reply::html(page), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_never_leaves_this_server() {
        assert_eq!(local("/servers?q=a"), "/servers?q=a");
        for bad in [
            "",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            "/\t/evil.example",
            "/\n//evil.example",
            "/ /evil.example",
            "/servers\\..\\evil",
            "/\u{a0}/evil.example",
        ] {
            assert_eq!(local(bad), "/", "{bad}");
        }
    }

    #[test]
    fn a_query_is_escaped_and_has_no_empty_parts() {
        assert_eq!(
            query(&[("q", "a&b"), ("tag", ""), ("state", "lit")]),
            "?q=a%26b&state=lit"
        );
        assert_eq!(query(&[("q", "")]), "");
    }
}
