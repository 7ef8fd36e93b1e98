//! The endpoints' JSON API, and that of the log of what was sent.

use super::channel::Channel;
use super::model::{self, Fields, Row};
use super::queries::{self, Counts};
use super::queue::{self, Tested};
use super::{CHANNELS, Endpoint, channel, sender};
use crate::access::Allowed;
use crate::access::right::{Edit, Notifications, Read, Run, may};
use crate::app::App;
use crate::base::clock::{self, rfc3339};
use crate::base::error::{Error, Field, Result};
use crate::base::id::{self, Id};
use crate::base::url::Url;
use crate::db::Conn;
use crate::form::Input;
use crate::http::reply::Reply;
use crate::http::request::Method::{Delete, Get, Patch, Post, Put};
use crate::http::request::Request;
use crate::http::route::{Ctx, Route, route};
use serde_json::{Map, Value, json};

/// See [`Route`].
pub const ROUTES: &[Route] = &[
    route(Get, "/api/notifications", may(Read, Notifications), list),
    route(Post, "/api/notifications", may(Edit, Notifications), create),
    route(
        Get,
        "/api/notifications/deliveries",
        may(Read, Notifications),
        deliveries,
    ),
    route(
        Post,
        "/api/notifications/deliveries/{id}/resend",
        may(Run, Notifications),
        resend,
    ),
    route(Get, "/api/notifications/{id}", may(Read, Notifications), show),
    route(Put, "/api/notifications/{id}", may(Edit, Notifications), replace),
    route(Patch, "/api/notifications/{id}", may(Edit, Notifications), change),
    route(Delete, "/api/notifications/{id}", may(Edit, Notifications), remove),
    route(Post, "/api/notifications/{id}/test", may(Run, Notifications), test),
];

/// Whom it reaches, as far as that is no secret: chats, addresses, or the origin of a URL.
pub fn address(app: &App, conn: &Conn, e: &Endpoint) -> Result<String> {
    if !e.has.contains(&"url") {
        return Ok((e.channel.recipients)(&e.fields.config).join(", "));
    }
    let url = super::secret(app, conn, e.id, "url")?;
    let origin = url.and_then(|url| Url::parse(url.reveal_text_for("showing its origin")).ok());
    Ok(origin.map_or_else(String::new, |url| url.origin()))
}

/// An endpoint as the API shows it. No secret is in it.
fn view(app: &App, conn: &Conn, e: &Endpoint, counts: &Counts) -> Result<Value> {
    let f = &e.fields;
    let mut out = Map::new();
    let mut put = |name: &str, value: Value| drop(out.insert(name.into(), value));
    put("id", json!(e.id));
    put("type", e.channel.name.into());
    put("name", json!(f.name));
    put("enabled", f.enabled.into());
    put("lang", json!(f.lang));
    put("time_zone", json!(f.time_zone));
    put("min_level", json!(f.min_level));
    put("events", json!(f.events));
    put("tags", json!(f.tags));
    for (name, value) in f.config.as_object().into_iter().flatten() {
        put(name, value.clone());
    }
    for column in e.channel.secrets {
        put(&format!("has_{column}"), e.has.contains(column).into());
    }
    put("address", address(app, conn, e)?.into());
    let seed = queries::seed(conn)?;
    put(
        "from_environment",
        seed.is_some_and(|(state, id)| state == "env" && id == e.id).into(),
    );
    put(
        "state",
        json!({
            "failing": !e.gone.is_empty(),
            "gone": e.gone.iter().map(|g| json!({ "recipient": g.recipient, "since": rfc3339(g.since), "answer": g.answer })).collect::<Vec<_>>(),
            "waiting": counts.waiting,
            "dead": counts.dead,
            "sent": counts.sent,
            "last_sent_at": counts.last_sent_at.map(rfc3339),
            "last_error": e.last_error(counts),
            "blocked_until": (e.blocked_until > clock::now()).then(|| rfc3339(e.blocked_until)),
        }),
    );
    put("saved_by", e.saved_by.name().into());
    put("created_at", rfc3339(e.created_at).into());
    put("updated_at", rfc3339(e.updated_at).into());
    Ok(Value::Object(out))
}

fn list(ctx: &Ctx) -> Result<Reply> {
    let items = ctx.app.db.read(|conn| {
        let counts = queries::counts(conn)?;
        let none = Counts::default();
        let of = |e: &Endpoint| view(ctx.app, conn, e, counts.get(&e.id.get()).unwrap_or(&none));
        queries::all(conn)?.iter().map(of).collect::<Result<Vec<_>>>()
    })?;
    Reply::json(&json!({ "total": items.len(), "items": items }))
}

fn show_one(app: &App, id: Id<id::Endpoint>) -> Result<Value> {
    app.db.read(|conn| {
        let counts = queries::counts(conn)?.remove(&id.get()).unwrap_or_default();
        view(app, conn, &super::get(conn, id)?, &counts)
    })
}

fn show(ctx: &Ctx) -> Result<Reply> {
    Reply::json(&show_one(ctx.app, ctx.id(0, "endpoint")?)?)
}

/// What kind of endpoint an input is for.
pub fn channel_of(input: &mut Input) -> Result<&'static Channel> {
    let named = input.text("type", 20).unwrap_or_default();
    channel(&named).ok_or_else(|| {
        let names: Vec<_> = CHANNELS.iter().map(|c| c.name).collect();
        Error::invalid(vec![Field {
            field: "type",
            code: "bad_choice",
            message: format!("type is one of: {}.", names.join(", ")),
        }])
    })
}

/// Adds one; gives its number.
pub fn add(app: &App, mut input: Input, by: Allowed<Edit, Notifications>) -> Result<Id<id::Endpoint>> {
    let channel = channel_of(&mut input)?;
    let valid = model::read(input, channel, Fields::default(), None)?;
    app.db.write(|tx| super::create(app, tx, channel, &valid, by))
}

/// Reads a draft over `base` and stores it, in one transaction, so that nobody's change is taken back by another's.
pub fn save(
    app: &App,
    id: Id<id::Endpoint>,
    input: &Input,
    base: fn(&Endpoint) -> Fields,
    by: Allowed<Edit, Notifications>,
) -> Result<()> {
    app.db.write(|tx| {
        let old = super::get(tx, id)?;
        let valid = model::read(
            input.clone(),
            old.channel,
            base(&old),
            Some((&old.fields.config, &old.has)),
        )?;
        super::update(app, tx, &old, &valid, by)
    })
}

fn create(ctx: &Ctx) -> Result<Reply> {
    let id = add(ctx.app, ctx.request.input()?, ctx.allowed(Edit, Notifications)?)?;
    Reply::created(format!("/api/notifications/{id}"), &show_one(ctx.app, id)?)
}

/// `PUT` replaces the plain fields: what is not sent falls back to its default. Secrets stay unless they are sent.
fn replace(ctx: &Ctx) -> Result<Reply> {
    edit(ctx, |_| Fields::default())
}

fn change(ctx: &Ctx) -> Result<Reply> {
    edit(ctx, |endpoint| endpoint.fields.clone())
}

fn edit(ctx: &Ctx, base: fn(&Endpoint) -> Fields) -> Result<Reply> {
    let id = ctx.id(0, "endpoint")?;
    save(
        ctx.app,
        id,
        &ctx.request.input()?,
        base,
        ctx.allowed(Edit, Notifications)?,
    )?;
    show(ctx)
}

fn remove(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "endpoint")?;
    let by = ctx.allowed(Edit, Notifications)?;
    ctx.app
        .db
        .write(|tx| super::delete(ctx.app, tx, &super::get(tx, id)?, by))?;
    Ok(Reply::status(204))
}

/// `{"ok": true, "results": [{"recipient", "ok", "answer", "took_ms"}]}`: the receiver's own words.
fn test(ctx: &Ctx) -> Result<Reply> {
    ctx.request.input()?.finish(&[])?;
    let id = ctx.id(0, "endpoint")?;
    let results = ctx.outbound(move |app| sender::test(app, id))?;
    let of =
        |t: &Tested| json!({ "recipient": t.recipient, "ok": t.is_sent, "answer": t.answer, "took_ms": t.took_ms });
    Reply::json(&json!({
        "ok": results.iter().all(|t| t.is_sent),
        "results": results.iter().map(of).collect::<Vec<_>>(),
    }))
}

/// The states a list of deliveries may be asked for.
pub const STATES: [&str; 7] = ["", "open", "queued", "sending", "sent", "dead", "held"];

/// What a list's query asks for.
pub fn filter(request: &Request) -> Result<queries::Filter<'static>> {
    let sent = request.param("status").unwrap_or_default();
    let status = STATES.into_iter().find(|s| *s == sent).ok_or_else(|| {
        Error::invalid(vec![Field {
            field: "status",
            code: "bad_choice",
            message: format!("status is one of: {}.", STATES[1..].join(", ")),
        }])
    })?;
    let (limit, offset) = request.page()?;
    Ok(queries::Filter {
        status,
        endpoint: request.number("endpoint", 0, 0..=i64::MAX)?,
        limit,
        offset,
    })
}

fn delivery(row: &Row) -> Value {
    json!({
        "id": row.id,
        "endpoint": { "id": row.endpoint, "name": row.endpoint_name, "type": row.endpoint_type },
        "recipient": row.recipient,
        "key": row.key,
        "event_id": (row.event > 0).then_some(row.event),
        "what": row.facts.what,
        "kind": row.facts.kind,
        "level": row.facts.level,
        "target": row.facts.about(),
        "status": row.status.name(),
        "attempts": row.attempts,
        "doubtful": row.is_doubtful(),
        "answer": row.answer,
        "held_back": row.facts.held,
        "created_at": rfc3339(row.created_at),
        "next_at": row.ended_at.is_none().then(|| rfc3339(row.next_at)),
        "ended_at": row.ended_at.map(rfc3339),
    })
}

fn deliveries(ctx: &Ctx) -> Result<Reply> {
    let filter = filter(ctx.request)?;
    let role = ctx.actor()?.role();
    let (rows, total) = ctx.app.db.read(|conn| queries::deliveries(conn, &filter, role))?;
    Reply::json(&json!({ "total": total, "items": rows.iter().map(delivery).collect::<Vec<_>>() }))
}

fn resend(ctx: &Ctx) -> Result<Reply> {
    ctx.request.input()?.finish(&[])?;
    let id = ctx.id(0, "message")?;
    let row = ctx.app.db.write(|tx| queue::resend(ctx.app, tx, id, clock::now()))?;
    Reply::json(&delivery(&row))
}
