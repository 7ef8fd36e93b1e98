//! The public page, and the one where it is put together.

use super::{Incident, Thing, api, queries, settings};
use crate::access::Right;
use crate::access::right::{Edit, Read, Settings, may};
use crate::app::App;
use crate::availability::{self, State};
use crate::base::clock::{self, DAY, Ms};
use crate::base::error::{Error, Kind, Result};
use crate::base::text;
use crate::db::Conn;
use crate::form::param::{self, Param};
use crate::http::page;
use crate::http::reply::Reply;
use crate::http::request::Method::{Get, Post};
use crate::http::route::{Ctx, Route, route};
use crate::http::view::Errors;
use crate::kinds;
use serde::Serialize;

/// Page routes.
pub const ROUTES: &[Route] = &[
    route(Get, "/status", Right::Public, public),
    route(Get, "/status-page", may(Read, Settings), edit),
    route(Post, "/status-page/things", may(Edit, Settings), change).takes(THING),
    route(
        Post,
        "/status-page/things/{kind}/{id}/delete",
        may(Edit, Settings),
        |ctx| {
            ctx.input()?.finish(&[])?;
            api::take_off(ctx)?;
            Ok(back())
        },
    ),
    route(Post, "/status-page/incidents", may(Edit, Settings), |ctx| {
        done(ctx, api::begin_incident(ctx).map(drop))
    })
    .takes(api::INCIDENT),
    route(
        Post,
        "/status-page/incidents/{id}/updates",
        may(Edit, Settings),
        |ctx| done(ctx, api::say_more(ctx).map(drop)),
    )
    .takes(api::UPDATE),
    route(Post, "/status-page/incidents/{id}/delete", may(Edit, Settings), |ctx| {
        ctx.input()?.finish(&[])?;
        api::forget(ctx)?;
        Ok(back())
    }),
];

const THING: &[Param] = &[
    param::text("thing", 40, "Its kind and number: `service:3`."),
    api::NAME,
    api::SECTION,
    api::POSITION,
];

/// Days of the bars.
const DAYS: usize = 90;
/// Others may keep the page for so long.
const CACHED: &str = "public, max-age=30";

fn back() -> Reply {
    Reply::see_other("/status-page")
}

fn done(ctx: &Ctx, result: Result<()>) -> Result<Reply> {
    match result {
        Ok(()) => Ok(back()),
        Err(e) if !e.fields.is_empty() && e.kind == Kind::Invalid => Ok(show(ctx, Errors::of(&e))?.with_status(422)),
        Err(e) => Err(e),
    }
}

#[derive(Serialize)]
struct Told {
    id: i64,
    title: String,
    began_at: Ms,
    resolved_at: Option<Ms>,
    updates: Vec<(Ms, String)>,
}

fn told(incident: Incident) -> Told {
    Told {
        id: incident.id,
        title: incident.title,
        began_at: incident.began_at,
        resolved_at: incident.resolved_at,
        updates: incident.updates,
    }
}

// ---- for everybody ---------------------------------------------------------------------------------------------------

#[derive(Serialize)]
struct Public {
    title: String,
    /// `up`, `down`, `unknown`.
    state: &'static str,
    sections: Vec<Section>,
    incidents: Vec<Told>,
}

#[derive(Serialize)]
struct Section {
    name: String,
    things: Vec<Shown>,
}

#[derive(Serialize)]
struct Shown {
    name: String,
    state: &'static str,
    share: Option<f64>,
    bar: Vec<(&'static str, String)>,
}

/// One thing as everybody sees it.
fn shown(conn: &Conn, thing: &Thing, off: &[(Ms, Ms)], now: Ms) -> Result<Shown> {
    let from = now - DAYS as Ms * DAY;
    let found = availability::subjects(conn, &thing.kind, Some(thing.id), from)?.pop();
    let stretches = found.map(|subject| subject.stretches).unwrap_or_default();
    let state = stretches.last().map_or(State::Unknown, |last| last.state);
    Ok(Shown {
        name: thing.name.clone(),
        state: state.name(),
        share: availability::weigh(&stretches, off, (from, now)).share(),
        bar: availability::bar(&availability::days(&stretches, off, DAYS, now)),
    })
}

/// Error `NotFound`: there is no such page.
fn content(app: &App, now: Ms) -> Result<Public> {
    app.db.read(|conn| {
        if settings::ENABLED.number(conn)? == 0 {
            return Err(Error::not_found("page"));
        }
        let off = availability::off(conn, now - DAYS as Ms * DAY)?;
        let mut sections: Vec<Section> = Vec::new();
        for thing in queries::things(conn)? {
            let one = shown(conn, &thing, &off, now)?;
            match sections.last_mut().filter(|last| last.name == thing.section) {
                Some(section) => section.things.push(one),
                None => sections.push(Section {
                    name: thing.section,
                    things: vec![one],
                }),
            }
        }
        let is = |state: State| sections.iter().flat_map(|s| &s.things).any(|t| t.state == state.name());
        let state = match (is(State::Down), is(State::Up)) {
            (true, _) => State::Down,
            (false, true) => State::Up,
            (false, false) => State::Unknown,
        };
        let incidents = queries::incidents(conn, now - super::SHOWN, super::INCIDENTS_MAX)?;
        Ok(Public {
            title: settings::TITLE.text(conn)?,
            state: state.name(),
            sections,
            incidents: incidents.into_iter().map(told).collect(),
        })
    })
}

/// The same for everybody who reads the same language, whether signed in or not; so caches may keep it.
fn public(ctx: &Ctx) -> Result<Reply> {
    let frame = page::for_everybody(ctx)?;
    let key = format!("status {}", frame.locale.lang.tag());
    let made = ctx.web.cache.get(&ctx.web.app, &key, || {
        let html = ctx
            .web
            .view
            .render("status/public.html", &frame, content(&ctx.web.app, clock::now())?)?;
        let tag = format!("\"{}\"", text::hex(&text::sha256(html.as_bytes())[..12]));
        Ok((html, tag))
    })?;
    let (html, tag) = &*made;
    let known = ctx.request.header("if-none-match").unwrap_or_default();
    let is_known = known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag);
    let reply = match is_known {
        true => Reply::status(304),
        false => Reply::html(html.clone()),
    };
    Ok(reply
        .header("Cache-Control", CACHED)
        .header("Vary", "Accept-Language")
        .header("ETag", tag.clone()))
}

// ---- for who looks after it ------------------------------------------------------------------------------------------

#[derive(Serialize)]
struct Edited {
    enabled: bool,
    things: Vec<Row>,
    /// What may be added.
    others: Vec<Other>,
    incidents: Vec<Told>,
    errors: Errors,
}

#[derive(Serialize)]
struct Row {
    kind: String,
    id: i64,
    /// As it is called inside.
    own_name: String,
    name: String,
    section: String,
    position: i64,
}

#[derive(Serialize)]
struct Other {
    kind: String,
    id: i64,
    name: String,
}

fn edit(ctx: &Ctx) -> Result<Reply> {
    show(ctx, Errors::default())
}

fn show(ctx: &Ctx, errors: Errors) -> Result<Reply> {
    let now = clock::now();
    let content = ctx.app.db.read(|conn| {
        let name_of = |kind: &str, id: i64| match kinds::target_kind(kind) {
            Some(kind) => (kind.name_of)(conn, id),
            None => Ok(None),
        };
        let (mut things, mut others) = (Vec::new(), Vec::new());
        for thing in queries::things(conn)? {
            things.push(Row {
                own_name: name_of(&thing.kind, thing.id)?.unwrap_or_default(),
                kind: thing.kind,
                id: thing.id,
                name: thing.name,
                section: thing.section,
                position: thing.position,
            });
        }
        for subject in availability::subjects(conn, "", None, now)? {
            let on = |row: &Row| (&row.kind, row.id) == (&subject.kind, subject.id);
            if let (false, Some(name)) = (things.iter().any(on), name_of(&subject.kind, subject.id)?) {
                others.push(Other {
                    kind: subject.kind,
                    id: subject.id,
                    name,
                });
            }
        }
        let incidents = queries::incidents(conn, now - super::SHOWN, super::INCIDENTS_MAX)?;
        Ok(Edited {
            enabled: settings::ENABLED.number(conn)? == 1,
            things,
            others,
            incidents: incidents.into_iter().map(told).collect(),
            errors,
        })
    })?;
    page::show(ctx, "status/edit.html", content)
}

fn change(ctx: &Ctx) -> Result<Reply> {
    let mut input = ctx.input()?;
    let thing = input.text("thing").unwrap_or_default();
    let (kind, id) = thing.split_once(':').unwrap_or_default();
    let id = id.parse().map_err(|_| Error::not_found("thing"))?;
    done(ctx, api::put_thing(ctx, input, kind, id))
}
