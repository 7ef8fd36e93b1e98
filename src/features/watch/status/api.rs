//! API of the public page, for who looks after it.

use super::{Incident, Thing, queries, settings};
use crate::access::right::{Edit, Read, Settings, may};
use crate::base::clock::{self, rfc3339};
use crate::base::error::Result;
use crate::base::shape::described;
use crate::form::Input;
use crate::form::param::{self, Param};
use crate::http::reply::Reply;
use crate::http::request::Method::{Delete, Get, Post, Put};
use crate::http::route::{Ctx, Route, route};

/// Routes of the JSON API.
pub const ROUTES: &[Route] = &[
    route(Get, "/api/status-page", may(Read, Settings), show).gives::<View>(),
    route(Put, "/api/status-page/things/{kind}/{id}", may(Edit, Settings), put)
        .takes(THING)
        .gives_nothing(),
    route(
        Delete,
        "/api/status-page/things/{kind}/{id}",
        may(Edit, Settings),
        remove,
    )
    .gives_nothing(),
    route(Post, "/api/status-page/incidents", may(Edit, Settings), begin)
        .takes(INCIDENT)
        .creates::<IncidentView>(),
    route(
        Post,
        "/api/status-page/incidents/{id}/updates",
        may(Edit, Settings),
        update,
    )
    .takes(UPDATE)
    .gives::<IncidentView>(),
    route(Delete, "/api/status-page/incidents/{id}", may(Edit, Settings), delete).gives_nothing(),
];

/// What a thing is called there.
pub const NAME: Param = param::text("name", 100, "As the public calls it.").required();
/// With which others it stands there.
pub const SECTION: Param = param::text("section", 100, "Heading that it stands under; may be empty.");
/// Where it stands there.
pub const POSITION: Param = param::number("position", 0..=9_999, "Place among the others, smaller first.");
const THING: &[Param] = &[NAME, SECTION, POSITION];
const SAID: Param = param::text("text", 4_000, "What people are told.").required();
/// A new incident.
pub const INCIDENT: &[Param] = &[param::text("title", 200, "What it is.").required(), SAID];
/// More about it.
pub const UPDATE: &[Param] = &[SAID, param::flag("resolved", "Is it over?")];

described! {
    /// The public page.
    struct View {
        /// Is there one?
        enabled: bool,
        title: String,
        things: Vec<ThingView>,
        incidents: Vec<IncidentView>,
    }

    /// A thing on it.
    struct ThingView {
        kind: String,
        id: i64,
        name: String,
        section: String,
        position: i64,
    }

    /// An incident.
    struct IncidentView {
        id: i64,
        title: String,
        began_at: String,
        /// `null`: it goes on.
        resolved_at: Option<String>,
        /// Newest first.
        updates: Vec<UpdateView>,
    }

    /// What was said about it.
    struct UpdateView {
        at: String,
        text: String,
    }
}

fn view(incident: Incident) -> IncidentView {
    let said = incident.updates.into_iter();
    IncidentView {
        id: incident.id,
        title: incident.title,
        began_at: rfc3339(incident.began_at),
        resolved_at: incident.resolved_at.map(rfc3339),
        updates: said.map(|(at, text)| UpdateView { at: rfc3339(at), text }).collect(),
    }
}

fn show(ctx: &Ctx) -> Result<Reply> {
    let from = clock::now() - super::SHOWN;
    let view = ctx.app.db.read(|conn| {
        let things = queries::things(conn)?.into_iter().map(|thing| ThingView {
            kind: thing.kind,
            id: thing.id,
            name: thing.name,
            section: thing.section,
            position: thing.position,
        });
        let incidents = queries::incidents(conn, from, super::INCIDENTS_MAX)?;
        Ok(View {
            enabled: settings::ENABLED.number(conn)? == 1,
            title: settings::TITLE.text(conn)?,
            things: things.collect(),
            incidents: incidents.into_iter().map(view).collect(),
        })
    })?;
    Reply::json(&view)
}

/// A text that must not be empty.
fn wanted(input: &mut Input, name: &'static str) -> String {
    let text = input.text(name).map(|text| text.trim().to_string()).unwrap_or_default();
    if text.is_empty() && !input.has_error(name) {
        input.wrong(name, "required", "Say something here.");
    }
    text
}

/// Puts a thing on the page as the input says.
pub fn put_thing(ctx: &Ctx, mut input: Input, kind: &str, id: i64) -> Result<()> {
    let thing = Thing {
        kind: kind.into(),
        id,
        name: wanted(&mut input, "name"),
        section: input.text("section").unwrap_or_default().trim().into(),
        position: input.number("position").unwrap_or_default(),
    };
    input.finish(&[])?;
    let by = ctx.allowed(Edit, Settings)?;
    ctx.app.db.write(|tx| super::put(ctx.app, tx, &thing, by))
}

fn put(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id::<()>(1, "thing")?.get();
    put_thing(ctx, ctx.input()?, ctx.arg(0), id)?;
    Ok(Reply::status(204))
}

/// Takes the thing of the path off the page.
pub fn take_off(ctx: &Ctx) -> Result<()> {
    let (id, by) = (ctx.id::<()>(1, "thing")?.get(), ctx.allowed(Edit, Settings)?);
    ctx.app
        .db
        .write(|tx| super::take_off(ctx.app, tx, (ctx.arg(0), id), by))
}

fn remove(ctx: &Ctx) -> Result<Reply> {
    take_off(ctx)?;
    Ok(Reply::status(204))
}

/// Begins an incident.
pub fn begin_incident(ctx: &Ctx) -> Result<i64> {
    let (mut input, by) = (ctx.input()?, ctx.allowed(Edit, Settings)?);
    let (title, said) = (wanted(&mut input, "title"), wanted(&mut input, "text"));
    input.finish(&[])?;
    ctx.app.db.write(|tx| super::begin(ctx.app, tx, &title, &said, by))
}

/// Says more about the incident of the path.
pub fn say_more(ctx: &Ctx) -> Result<i64> {
    let (mut input, by) = (ctx.input()?, ctx.allowed(Edit, Settings)?);
    let id = ctx.id::<()>(0, "incident")?.get();
    let (said, resolved) = (wanted(&mut input, "text"), input.flag("resolved").unwrap_or_default());
    input.finish(&[])?;
    ctx.app
        .db
        .write(|tx| super::say(ctx.app, tx, id, &said, resolved, by))?;
    Ok(id)
}

/// Removes the incident of the path.
pub fn forget(ctx: &Ctx) -> Result<()> {
    let (id, by) = (ctx.id::<()>(0, "incident")?.get(), ctx.allowed(Edit, Settings)?);
    ctx.app.db.write(|tx| super::forget(ctx.app, tx, id, by))
}

fn shown(ctx: &Ctx, id: i64) -> Result<IncidentView> {
    Ok(view(ctx.app.db.read(|conn| super::incident(conn, id))?))
}

fn begin(ctx: &Ctx) -> Result<Reply> {
    let id = begin_incident(ctx)?;
    Reply::created("/api/status-page".into(), &shown(ctx, id)?)
}

fn update(ctx: &Ctx) -> Result<Reply> {
    let id = say_more(ctx)?;
    Reply::json(&shown(ctx, id)?)
}

fn delete(ctx: &Ctx) -> Result<Reply> {
    forget(ctx)?;
    Ok(Reply::status(204))
}
