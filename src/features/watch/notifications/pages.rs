//! Pages of endpoints: list, form by channel, test result, and the delivery log.

use super::channel::{Channel, text_of};
use super::model::{self, Fields, Row, Status};
use super::presets::{PRESETS, preset};
use super::queries::{self, Counts};
use super::queue;
use super::text;
use super::{CHANNELS, Endpoint, Level, REFERENCES, api, channel};
use crate::access::right::{Edit, Notifications, Read, Run, may};
use crate::base::clock::{self, Ms};
use crate::base::error::{Error, Kind, Result};
use crate::base::id::{self, Id};
use crate::features::fleet::scope;
use crate::features::house::secrets::{self, Refers};
use crate::form::Input;
use crate::http::page::{self, query};
use crate::http::reply::Reply;
use crate::http::request::Method::{Get, Post};
use crate::http::route::{Ctx, Route, route};
use crate::http::view::Errors;
use crate::kinds::{self, EventKind};
use crate::lang::Locale;
use crate::settings::SITE_PUBLIC_URL;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Page routes.
pub const ROUTES: &[Route] = &[
    route(Get, "/notifications", may(Read, Notifications), list),
    route(Post, "/notifications", may(Edit, Notifications), create),
    route(Get, "/notifications/new", may(Edit, Notifications), new),
    route(Get, "/notifications/log", may(Read, Notifications), log).query(api::DELIVERIES),
    route(Post, "/notifications/log/{id}/resend", may(Run, Notifications), resend),
    route(Get, "/notifications/{id}", may(Edit, Notifications), edit),
    route(Post, "/notifications/{id}", may(Edit, Notifications), change),
    route(Post, "/notifications/{id}/test", may(Run, Notifications), test),
    route(Get, "/notifications/{id}/delete", may(Edit, Notifications), ask_delete),
    route(Post, "/notifications/{id}/delete", may(Edit, Notifications), delete),
];

#[derive(Serialize)]
struct Item {
    id: i64,
    kind: &'static str,
    name: String,
    address: String,
    /// Glyph and word of its state.
    glyph: &'static str,
    state: &'static str,
    counts: Counts,
    /// Unreachable recipients, with the last error.
    gone: Vec<String>,
    last_error: Option<String>,
    min_level: Level,
    /// Number of subscribed alert kinds; 0: all.
    alerts: usize,
    news: usize,
    tags: Vec<String>,
    /// The scope in short, where it is not tags.
    scope: String,
    from_environment: bool,
}

fn list(ctx: &Ctx) -> Result<Reply> {
    let (items, dead, networks) = ctx.app.db.read(|conn| {
        let mut counts = queries::counts(conn)?;
        let seed = queries::seed(conn)?;
        let items = queries::all(conn)?.into_iter().map(|e| {
            let counts = counts.remove(&e.id.get()).unwrap_or_default();
            let (glyph, state) = match (e.fields.enabled, !e.gone.is_empty(), counts.last_error.is_some()) {
                (false, ..) => ("unlit", "off"),
                (true, true, _) => ("dark", "failing"),
                (true, false, true) => ("flick", "trying"),
                (true, false, false) if counts.last_sent_at.is_some() => ("lit", "works"),
                _ => ("wait", "fresh"),
            };
            let news = e
                .fields
                .events
                .iter()
                .filter(|k| kinds::find(k).is_some_and(EventKind::is_news))
                .count();
            Ok(Item {
                address: api::address(ctx.app, conn, &e)?,
                from_environment: seed.as_ref().is_some_and(|(state, id)| state == "env" && *id == e.id),
                id: e.id.get(),
                kind: preset(text_of(&e.fields.config, "preset")).map_or(e.channel.name, |p| p.name),
                glyph,
                state,
                last_error: e.last_error(&counts).map(String::from),
                gone: e
                    .gone
                    .iter()
                    .map(|g| g.recipient.clone())
                    .filter(|r| !r.is_empty())
                    .collect(),
                counts,
                min_level: e.fields.min_level,
                alerts: e.fields.events.len() - news,
                news,
                scope: match e.fields.scope.tags() {
                    Some(_) => String::new(),
                    None => e.fields.scope.sentence(),
                },
                tags: e.fields.scope.tags().unwrap_or_default(),
                name: e.fields.name,
            })
        });
        let items = items.collect::<Result<Vec<_>>>()?;
        let url = SITE_PUBLIC_URL.text(conn)?;
        Ok((items, queries::dead(conn)?, url.is_empty()))
    })?;
    let content = json!({ "items": items, "dead": dead, "kinds": kinds(), "no_url": networks });
    page::show(ctx, "notifications/list.html", content)
}

/// The form as typed or as stored. Secrets are never shown.
#[derive(Serialize)]
struct Form {
    id: Option<i64>,
    kind: &'static str,
    /// Name before editing.
    was: String,
    has: Vec<&'static str>,
    #[serde(skip)]
    refers: Refers,
    values: Map<String, Value>,
    alerts: Vec<&'static str>,
    news: Vec<&'static str>,
    tested: Vec<Tested>,
    address: String,
    from_environment: bool,
}

/// Result of a test, for the following page.
#[derive(Serialize)]
struct Tested {
    recipient: String,
    ok: bool,
    answer: String,
    at: Ms,
}

fn names(alerts: bool) -> Vec<&'static str> {
    let fitting = |k: &&EventKind| if alerts { k.raises().is_some() } else { k.is_news() };
    kinds::all().into_iter().filter(fitting).map(|k| k.name).collect()
}

/// `preset`: for a new webhook.
fn form_of(ctx: &Ctx, channel: &'static Channel, endpoint: Option<&Endpoint>, preset: &str) -> Result<Form> {
    let fresh = Fields {
        lang: page::lang(ctx.request, ctx.maybe_actor()),
        ..Fields::default()
    };
    let f = endpoint.map_or(&fresh, |e| &e.fields);
    let mut values = match &f.config {
        Value::Object(config) => config.clone(),
        // Defaults of the channel; missing fields are no mistake yet.
        _ => match (channel.read)(
            &mut Input::of(model::PARAMS, Map::new()),
            &json!({ "preset": preset }),
            &mut Vec::new(),
        ) {
            Value::Object(usual) => usual,
            _ => Map::new(),
        },
    };
    for value in values.values_mut() {
        match value {
            Value::Array(items) => {
                let texts: Vec<_> = items.iter().filter_map(Value::as_str).collect();
                *value = texts.join(", ").into();
            }
            Value::Number(n) if n.as_i64() == Some(0) => *value = "".into(),
            Value::Number(n) => *value = n.to_string().into(),
            _ => {}
        }
    }
    if endpoint.is_none() && values.contains_key("port") {
        values.insert("port".into(), "".into()); // the default of the choice
    }
    values.entry("preset").or_insert("".into());
    values.insert("name".into(), f.name.clone().into());
    values.insert("enabled".into(), f.enabled.into());
    values.insert("lang".into(), json!(f.lang));
    values.insert("time_zone".into(), json!(f.time_zone));
    values.insert("min_level".into(), json!(f.min_level));
    values.insert("events".into(), json!(f.events));
    values.insert("tags".into(), f.scope.tags().unwrap_or_default().join(", ").into());
    values.insert("scope".into(), f.scope.form_text().into());
    let (address, seeded, tested) = match endpoint {
        None => (String::new(), false, Vec::new()),
        Some(e) => ctx.app.db.read(|conn| {
            let seeded = queries::seed(conn)?.is_some_and(|(state, id)| state == "env" && id == e.id);
            Ok((api::address(ctx.app, conn, e)?, seeded, last_tests(ctx, conn, e)?))
        })?,
    };
    Ok(Form {
        id: endpoint.map(|e| e.id.get()),
        kind: channel.name,
        was: f.name.clone(),
        has: endpoint.map_or_else(Vec::new, |e| e.has.clone()),
        refers: endpoint.map_or_else(Refers::new, |e| e.refers.clone()),
        values,
        alerts: names(true),
        news: names(false),
        tested,
        address,
        from_environment: seeded,
    })
}

/// Results of the test that led to this page.
fn last_tests(ctx: &Ctx, conn: &crate::db::Conn, e: &Endpoint) -> Result<Vec<Tested>> {
    let asked = ctx
        .request
        .param("tested")
        .unwrap_or_default()
        .split(',')
        .filter_map(Id::parse);
    let mut out = Vec::new();
    for id in asked.take(32) {
        let row = queries::delivery(conn, id)?.filter(|r| r.endpoint == e.id && r.facts.what == text::What::Test);
        out.extend(row.map(|r| Tested {
            recipient: r.recipient,
            ok: r.status == Status::Sent,
            answer: r.answer,
            at: r.created_at,
        }));
    }
    Ok(out)
}

fn form_page(ctx: &Ctx, form: &Form, typed: &[(String, String)], errors: Errors) -> Result<Reply> {
    let place = ("endpoints", "endpoint", form.id);
    let picks = secrets::offered(ctx, place, REFERENCES, &form.refers, typed)?;
    page::show(
        ctx,
        "notifications/form.html",
        json!({ "form": form, "picks": picks, "errors": errors, "fields": scope::FIELDS }),
    )
}

/// Channels in order: name and query of the form.
fn kinds() -> Vec<(&'static str, String)> {
    let channels = CHANNELS.iter().map(|c| (c.name, query(&[("type", c.name)])));
    let presets = PRESETS
        .iter()
        .map(|p| (p.name, query(&[("type", "webhook"), ("preset", p.name)])));
    channels.chain(presets).collect()
}

/// Without a channel: the page to choose one.
fn new(ctx: &Ctx) -> Result<Reply> {
    let Some(kind) = ctx.request.param("type") else {
        return page::show(ctx, "notifications/choose.html", json!({ "kinds": kinds() }));
    };
    let channel = channel(kind).ok_or_else(|| Error::not_found("way of sending"))?;
    let preset = ctx.request.param("preset").unwrap_or_default();
    form_page(ctx, &form_of(ctx, channel, None, preset)?, &[], Errors::default())
}

fn edit(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "endpoint")?;
    let endpoint = ctx.app.db.read(|conn| super::get(conn, id))?;
    form_page(
        ctx,
        &form_of(ctx, endpoint.channel, Some(&endpoint), "")?,
        &[],
        Errors::default(),
    )
}

/// Fields of the form with several values on one line.
const LISTS: [&str; 3] = ["tags", "chats", "to"];
const SECRETS: [&str; 5] = ["token", "url", "secret", "password", "headers"];

/// The form as API input: lists split at commas and spaces, unticked boxes as `false`, empty secrets left out.
fn input(pairs: &[(String, String)], refers: &Refers) -> Input {
    let mut object = Map::new();
    object.insert("enabled".into(), false.into());
    object.insert("events".into(), json!([]));
    for (name, value) in pairs {
        let value = match name.as_str() {
            "csrf" => continue,
            choice if secrets::is_choice(choice) => continue,
            secret if SECRETS.contains(&secret) && value.is_empty() => continue,
            list if LISTS.contains(&list) => value
                .split([',', ';', ' ', '\n', '\r'])
                .filter(|t| !t.is_empty())
                .collect(),
            "events" => {
                if let Some(Value::Array(events)) = object.get_mut("events") {
                    events.push(value.as_str().into());
                }
                continue;
            }
            // An empty port means the default.
            "port" if value.trim().is_empty() => continue,
            _ => Value::from(value.as_str()),
        };
        object.insert(name.clone(), value);
    }
    secrets::choose(pairs, REFERENCES, refers, &mut object);
    Input::of(model::PARAMS, object)
}

/// The form with its mistakes, or the error itself if it is not about fields.
fn again(ctx: &Ctx, mut form: Form, pairs: Vec<(String, String)>, error: Error) -> Result<Reply> {
    if error.fields.is_empty() || !matches!(error.kind, Kind::Invalid | Kind::Conflict) {
        return Err(error);
    }
    let events: Vec<_> = pairs
        .iter()
        .filter(|(name, _)| name == "events")
        .map(|(_, v)| v.clone())
        .collect();
    form.values
        .insert("enabled".into(), pairs.iter().any(|(name, _)| name == "enabled").into());
    let typed = pairs.iter().filter(|(name, _)| {
        !SECRETS.contains(&name.as_str()) && !["csrf", "type", "enabled", "events"].contains(&name.as_str())
    });
    form.values
        .extend(typed.map(|(name, value)| (name.clone(), value.as_str().into())));
    form.values.insert("events".into(), json!(events));
    Ok(form_page(ctx, &form, &pairs, Errors::of(&error))?.with_status(422))
}

fn create(ctx: &Ctx) -> Result<Reply> {
    let pairs = ctx.request.form()?;
    let draft = input(&pairs, &Refers::new());
    let channel = api::channel_of(&mut draft.clone())?;
    match api::add(ctx.app, draft, ctx.allowed(Edit, Notifications)?) {
        Ok(id) => Ok(Reply::see_other(format!("/notifications/{id}"))),
        Err(e) => again(ctx, form_of(ctx, channel, None, "")?, pairs, e),
    }
}

fn change(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "endpoint")?;
    let pairs = ctx.request.form()?;
    let refers = ctx.app.db.read(|conn| super::get(conn, id))?.refers;
    match api::save(
        ctx.app,
        id,
        &input(&pairs, &refers),
        |e| e.fields.clone(),
        ctx.allowed(Edit, Notifications)?,
    ) {
        Ok(()) => Ok(Reply::see_other("/notifications")),
        Err(e) => {
            let endpoint = ctx.app.db.read(|conn| super::get(conn, id))?;
            again(ctx, form_of(ctx, endpoint.channel, Some(&endpoint), "")?, pairs, e)
        }
    }
}

fn test(ctx: &Ctx) -> Result<Reply> {
    let id: Id<id::Endpoint> = ctx.id(0, "endpoint")?;
    let results = api::send_test(ctx, id)?;
    let ids: Vec<_> = results
        .iter()
        .filter_map(|t| t.row.map(|row| row.to_string()))
        .collect();
    Ok(Reply::see_other(format!(
        "/notifications/{id}{}",
        query(&[("tested", ids.join(","))])
    )))
}

fn ask(ctx: &Ctx, id: Id<id::Endpoint>) -> Result<Reply> {
    let content = ctx.app.db.read(|conn| {
        let e = super::get(conn, id)?;
        let waiting = queries::counts(conn)?.get(&id.get()).map_or(0, |c| c.waiting);
        Ok(json!({ "id": id, "name": e.fields.name, "waiting": waiting }))
    })?;
    page::show(ctx, "notifications/delete.html", content)
}

fn ask_delete(ctx: &Ctx) -> Result<Reply> {
    ask(ctx, ctx.id(0, "endpoint")?)
}

fn delete(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "endpoint")?;
    let by = ctx.allowed(Edit, Notifications)?;
    ctx.app
        .db
        .write(|tx| super::delete(ctx.app, tx, &super::get(tx, id)?, by))?;
    Ok(Reply::see_other("/notifications"))
}

#[derive(Serialize)]
struct Line {
    id: i64,
    glyph: &'static str,
    status: &'static str,
    title: String,
    mark: &'static str,
    endpoint: i64,
    endpoint_name: String,
    recipient: String,
    attempts: i64,
    answer: String,
    created_at: Ms,
    next_at: Option<Ms>,
    may_resend: bool,
}

fn line(locale: &Locale, row: Row) -> Line {
    let message = text::message(locale, std::slice::from_ref(&row.facts), "");
    let glyph = match row.status {
        Status::Queued if row.attempts > 0 => "flick",
        Status::Queued => "wait",
        Status::Sending => "run",
        Status::Sent => "ok",
        Status::Dead if row.is_doubtful() => "flick",
        Status::Dead => "dark",
        Status::Held => "skip",
    };
    Line {
        id: row.id.get(),
        glyph,
        status: if row.is_doubtful() {
            "doubtful"
        } else {
            row.status.name()
        },
        title: message.title,
        mark: message.tag,
        endpoint: row.endpoint.get(),
        endpoint_name: row.endpoint_name,
        recipient: row.recipient,
        attempts: row.attempts,
        answer: row.answer,
        created_at: row.created_at,
        next_at: (row.status == Status::Queued).then_some(row.next_at),
        may_resend: row.status == Status::Dead && row.facts.what != text::What::Test,
    }
}

fn log(ctx: &Ctx) -> Result<Reply> {
    let filter = api::filter(ctx)?;
    let locale = page::locale(ctx)?;
    let (limit, offset) = (filter.limit, filter.offset);
    let by = ctx.actor()?;
    let (rows, total, counts, name) = ctx.app.db.read(|conn| {
        let (rows, total) = queries::deliveries(conn, &filter, by)?;
        let mut counts = BTreeMap::new();
        for status in ["", "open", "sent", "dead", "held"] {
            let of = queries::Filter {
                status,
                limit: 1,
                offset: 0,
                ..filter
            };
            let name = if status.is_empty() { "all" } else { status };
            counts.insert(name, queries::deliveries(conn, &of, by)?.1);
        }
        let name = match filter.endpoint {
            0 => None,
            id => queries::get(conn, Id::new(id))?.map(|e| e.fields.name),
        };
        Ok((rows, total, counts, name))
    })?;
    let of = if filter.endpoint > 0 {
        filter.endpoint.to_string()
    } else {
        String::new()
    };
    let at = |offset: i64| {
        query(&[
            ("status", filter.status),
            ("endpoint", &of),
            ("offset", &offset.to_string()),
        ])
    };
    let facets: BTreeMap<_, _> = (["all", "open", "sent", "dead", "held"].into_iter())
        .map(|s| {
            (
                s,
                query(&[("status", if s == "all" { "" } else { s }), ("endpoint", &of)]),
            )
        })
        .collect();
    let first = if rows.is_empty() { 0 } else { offset + 1 };
    let content = json!({
        "state": if filter.status.is_empty() { "all" } else { filter.status },
        "counts": counts,
        "facets": facets,
        "endpoint": name,
        "first": first,
        "last": offset + rows.len() as i64,
        "total": total,
        "items": rows.into_iter().map(|row| line(&locale, row)).collect::<Vec<_>>(),
        "prev": (offset > 0).then(|| at((offset - limit).max(0))),
        "next": (offset + limit < total).then(|| at(offset + limit)),
        "query": query(&[("status", filter.status), ("endpoint", &of)]),
    });
    page::show(ctx, "notifications/log.html", content)
}

fn resend(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "message")?;
    let by = ctx.allowed(Run, Notifications)?;
    ctx.app
        .db
        .write(|tx| queue::resend(ctx.app, tx, id, by, clock::now()))?;
    Ok(Reply::see_other("/notifications/log"))
}
