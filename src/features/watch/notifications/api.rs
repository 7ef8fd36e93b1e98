//! The JSON API of endpoints and of the delivery log.

use super::channel::Channel;
use super::model::{self, Fields, Row};
use super::queries::{self, Counts};
use super::queue::{self, Tested};
use super::text::{About, What};
use super::{CHANNELS, Endpoint, Level, channel, sender};
use crate::access::Allowed;
use crate::access::right::{Edit, Notifications, Read, Run, may};
use crate::app::App;
use crate::audit;
use crate::base::clock::{self, rfc3339};
use crate::base::error::{Error, Field, Result};
use crate::base::id::{self, Id};
use crate::base::shape::described;
use crate::base::url::Url;
use crate::db::Conn;
use crate::features::house::secrets::{Refers, Refs};
use crate::form::Input;
use crate::form::param::{self, Param};
use crate::http::reply::{List, Reply};
use crate::http::request::Method::{Delete, Get, Patch, Post, Put};
use crate::http::route::{Ctx, LIMIT, OFFSET, Route, route};
use crate::lang::Lang;
use serde_json::{Map, Value};

/// Routes of the JSON API.
pub const ROUTES: &[Route] = &[
    route(Get, "/api/notifications", may(Read, Notifications), list).gives::<List<View>>(),
    route(Post, "/api/notifications", may(Edit, Notifications), create)
        .takes(model::PARAMS)
        .creates::<View>(),
    route(
        Get,
        "/api/notifications/deliveries",
        may(Read, Notifications),
        deliveries,
    )
    .query(DELIVERIES)
    .gives::<List<DeliveryView>>(),
    route(
        Post,
        "/api/notifications/deliveries/{id}/resend",
        may(Run, Notifications),
        resend,
    )
    .takes(&[])
    .gives::<DeliveryView>(),
    route(Get, "/api/notifications/{id}", may(Read, Notifications), show).gives::<View>(),
    route(Put, "/api/notifications/{id}", may(Edit, Notifications), replace)
        .takes(model::PARAMS)
        .gives::<View>(),
    route(Patch, "/api/notifications/{id}", may(Edit, Notifications), change)
        .takes(model::PARAMS)
        .gives::<View>(),
    route(Delete, "/api/notifications/{id}", may(Edit, Notifications), remove).gives_nothing(),
    route(Post, "/api/notifications/{id}/test", may(Run, Notifications), test)
        .takes(&[])
        .gives::<TestView>()
        .asks_others(),
];

/// Destination, as far as it is not secret: chats, addresses, or the origin of a URL.
pub fn address(app: &App, conn: &Conn, e: &Endpoint) -> Result<String> {
    if !e.has.contains(&"url") {
        return Ok((e.channel.recipients)(&e.fields.config).join(", "));
    }
    let url = super::secret(app, conn, e.id, "url")?;
    let origin = url.and_then(|url| Url::parse(url.reveal_text_for("showing its origin")).ok());
    Ok(origin.map_or_else(String::new, |url| url.origin()))
}

described! {
    /// An endpoint in the API. It has no fields for secrets; `has_…` says which are stored.
    struct View {
        id: Id<id::Endpoint>,
        r#type: &'static str,
        name: String,
        enabled: bool,
        lang: Lang,
        /// Time zone of its messages; empty: that of the installation.
        time_zone: String,
        min_level: Level,
        events: Vec<String>,
        /// What it is about; nothing: anything.
        scope: Option<Map<String, Value>>,
        /// The tags, where the scope is nothing else.
        tags: Vec<String>,
        /// Destination, as far as it is not secret.
        address: String,
        /// Secrets that its fields refer to.
        secret_ids: Refers,
        /// Was it created from environment variables?
        from_environment: bool,
        state: StateView,
        /// Role of whoever changed it last.
        saved_by: &'static str,
        created_at: String,
        updated_at: String,
        /// Settings of its channel, and for each secret whether it is stored.
        #[serde(flatten)]
        of_channel: Map<String, Value>,
    }

    /// State of its deliveries.
    struct StateView {
        failing: bool,
        gone: Vec<GoneView>,
        waiting: i64,
        dead: i64,
        sent: i64,
        last_sent_at: Option<String>,
        last_error: Option<String>,
        blocked_until: Option<String>,
    }

    /// A recipient that cannot be reached.
    struct GoneView {
        recipient: String,
        since: String,
        /// The receiver's message.
        answer: String,
    }
}

fn view(app: &App, conn: &Conn, e: &Endpoint, counts: &Counts) -> Result<View> {
    let f = e.fields.clone();
    let mut of_channel = Map::new();
    for (name, value) in f.config.as_object().into_iter().flatten() {
        of_channel.insert(name.clone(), value.clone());
    }
    for column in e.channel.secrets {
        of_channel.insert(format!("has_{column}"), e.has.contains(column).into());
    }
    let seed = queries::seed(conn)?;
    let gone = e.gone.iter().map(|g| GoneView {
        recipient: g.recipient.clone(),
        since: rfc3339(g.since),
        answer: g.answer.clone(),
    });
    Ok(View {
        id: e.id,
        r#type: e.channel.name,
        name: f.name,
        enabled: f.enabled,
        lang: f.lang,
        time_zone: f.time_zone,
        min_level: f.min_level,
        events: f.events,
        scope: f.scope.said().cloned(),
        tags: f.scope.tags().unwrap_or_default(),
        address: address(app, conn, e)?,
        secret_ids: e.refers.clone(),
        from_environment: seed.is_some_and(|(state, id)| state == "env" && id == e.id),
        state: StateView {
            failing: !e.gone.is_empty(),
            gone: gone.collect(),
            waiting: counts.waiting,
            dead: counts.dead,
            sent: counts.sent,
            last_sent_at: counts.last_sent_at.map(rfc3339),
            last_error: e.last_error(counts).map(String::from),
            blocked_until: (e.blocked_until > clock::now()).then(|| rfc3339(e.blocked_until)),
        },
        saved_by: e.saved_by.name(),
        created_at: rfc3339(e.created_at),
        updated_at: rfc3339(e.updated_at),
        of_channel,
    })
}

fn list(ctx: &Ctx) -> Result<Reply> {
    let items = ctx.app.db.read(|conn| {
        let counts = queries::counts(conn)?;
        let none = Counts::default();
        let of = |e: &Endpoint| view(ctx.app, conn, e, counts.get(&e.id.get()).unwrap_or(&none));
        queries::all(conn)?.iter().map(of).collect::<Result<Vec<_>>>()
    })?;
    Reply::json(&List::whole(items))
}

fn show_one(app: &App, id: Id<id::Endpoint>) -> Result<View> {
    app.db.read(|conn| {
        let counts = queries::counts(conn)?.remove(&id.get()).unwrap_or_default();
        view(app, conn, &super::get(conn, id)?, &counts)
    })
}

fn show(ctx: &Ctx) -> Result<Reply> {
    Reply::json(&show_one(ctx.app, ctx.id(0, "endpoint")?)?)
}

/// The channel of an input.
pub fn channel_of(input: &mut Input) -> Result<&'static Channel> {
    let named = input.text("type").unwrap_or_default();
    channel(&named).ok_or_else(|| {
        let names: Vec<_> = CHANNELS.iter().map(|c| c.name).collect();
        Error::invalid(vec![Field {
            field: "type",
            code: "bad_choice",
            message: format!("type is one of: {}.", names.join(", ")),
        }])
    })
}

/// Adds an endpoint; returns its id. Error: invalid fields.
pub fn add(app: &App, mut input: Input, by: Allowed<Edit, Notifications>) -> Result<Id<id::Endpoint>> {
    let channel = channel_of(&mut input)?;
    let refs = app.db.read(|conn| refer(app, conn, &mut input, None))?;
    let mut valid = model::read(input, channel, Fields::default(), None)?;
    valid.refs = refs;
    app.db.write(|tx| super::create(app, tx, channel, &valid, by))
}

/// Reads a draft over `base` and stores it, in one transaction. Error: invalid fields.
pub fn save(
    app: &App,
    id: Id<id::Endpoint>,
    input: &Input,
    base: fn(&Endpoint) -> Fields,
    by: Allowed<Edit, Notifications>,
) -> Result<()> {
    let mut input = input.clone();
    // Outside of the transaction, which sees all: whoever sees one project refers to its secrets alone.
    let refs = app.db.read(|conn| refer(app, conn, &mut input, Some(id)))?;
    app.db.write(|tx| {
        let old = super::get(tx, id)?;
        let mut valid = model::read(input, old.channel, base(&old), Some((&old.fields.config, &old.has)))?;
        valid.refs = refs;
        super::update(app, tx, &old, &valid, by)
    })
}

/// What the fields refer to, put in.
fn refer(app: &App, conn: &Conn, input: &mut Input, id: Option<Id<id::Endpoint>>) -> Result<Refs> {
    let place = ("endpoints", "endpoint", id.map(Id::get));
    Refs::resolve(app, conn, input, place, super::REFERENCES)
}

fn create(ctx: &Ctx) -> Result<Reply> {
    let id = add(ctx.app, ctx.input()?, ctx.allowed(Edit, Notifications)?)?;
    Reply::created(format!("/api/notifications/{id}"), &show_one(ctx.app, id)?)
}

/// `PUT` replaces the plain fields: missing ones get their defaults. Secrets stay unless they are sent.
fn replace(ctx: &Ctx) -> Result<Reply> {
    edit(ctx, |_| Fields::default())
}

fn change(ctx: &Ctx) -> Result<Reply> {
    edit(ctx, |endpoint| endpoint.fields.clone())
}

fn edit(ctx: &Ctx, base: fn(&Endpoint) -> Fields) -> Result<Reply> {
    let id = ctx.id(0, "endpoint")?;
    save(ctx.app, id, &ctx.input()?, base, ctx.allowed(Edit, Notifications)?)?;
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

described! {
    /// Result of a test.
    struct TestView<'a> {
        /// Did every recipient accept it?
        ok: bool,
        results: Vec<TestedView<'a>>,
    }

    /// Result for one recipient.
    struct TestedView<'a> {
        recipient: &'a str,
        ok: bool,
        /// The receiver's message.
        answer: &'a str,
        took_ms: i64,
    }
}

fn test(ctx: &Ctx) -> Result<Reply> {
    ctx.input()?.finish(&[])?;
    let id = ctx.id(0, "endpoint")?;
    let results = send_test(ctx, id)?;
    Reply::json(&TestView {
        ok: results.iter().all(|t| t.is_sent),
        results: results.iter().map(tested).collect(),
    })
}

/// Sends a test by this endpoint; who had it sent is noted, whatever came of it.
pub fn send_test(ctx: &Ctx, id: Id<id::Endpoint>) -> Result<Vec<Tested>> {
    let by = ctx.allowed(Run, Notifications)?;
    let results = ctx.outbound(move |app| sender::test(app, id))?;
    let is_sent = results.iter().all(|t| t.is_sent);
    ctx.app.db.write(|tx| {
        let (object, data) = (format!("notification {id}"), serde_json::json!({ "sent": is_sent }));
        audit::append(tx, &ctx.app.vault, by, "notification.test", &object, &data)
    })?;
    Ok(results)
}

fn tested(t: &Tested) -> TestedView<'_> {
    TestedView {
        recipient: &t.recipient,
        ok: t.is_sent,
        answer: &t.answer,
        took_ms: t.took_ms,
    }
}

/// States in a list's query; `open` means not ended.
pub const STATES: [&str; 6] = ["open", "queued", "sending", "sent", "dead", "held"];

/// Query parameters of a list.
pub const DELIVERIES: &[Param] = &[
    LIMIT,
    OFFSET,
    param::choice("status", &STATES, "Only in this state."),
    param::number("endpoint", 0..=i64::MAX, "Only by this endpoint."),
];

/// The filter of a list's query.
pub fn filter(ctx: &Ctx) -> Result<queries::Filter<'static>> {
    let (limit, offset) = ctx.page()?;
    Ok(queries::Filter {
        status: ctx.choice("status")?,
        endpoint: ctx.number("endpoint")?,
        limit,
        offset,
    })
}

described! {
    /// One message to one recipient.
    struct DeliveryView<'a> {
        id: Id<id::Delivery>,
        endpoint: EndpointView<'a>,
        recipient: &'a str,
        /// Equal for every attempt.
        key: &'a str,
        event_id: Option<i64>,
        what: What,
        kind: &'a str,
        level: Level,
        target: About,
        status: &'static str,
        attempts: i64,
        /// Given up, but it may have arrived.
        doubtful: bool,
        /// The receiver's message.
        answer: &'a str,
        /// Suppressed repetitions before this one.
        held_back: i64,
        created_at: String,
        next_at: Option<String>,
        ended_at: Option<String>,
    }

    /// Its endpoint.
    struct EndpointView<'a> {
        id: Id<id::Endpoint>,
        name: &'a str,
        r#type: &'a str,
    }
}

fn delivery(row: &Row) -> DeliveryView<'_> {
    DeliveryView {
        id: row.id,
        endpoint: EndpointView {
            id: row.endpoint,
            name: &row.endpoint_name,
            r#type: &row.endpoint_type,
        },
        recipient: &row.recipient,
        key: &row.key,
        event_id: (row.event > 0).then_some(row.event),
        what: row.facts.what,
        kind: &row.facts.kind,
        level: row.facts.level,
        target: About(row.facts.about()),
        status: row.status.name(),
        attempts: row.attempts,
        doubtful: row.is_doubtful(),
        answer: &row.answer,
        held_back: row.facts.held,
        created_at: rfc3339(row.created_at),
        next_at: row.ended_at.is_none().then(|| rfc3339(row.next_at)),
        ended_at: row.ended_at.map(rfc3339),
    }
}

fn deliveries(ctx: &Ctx) -> Result<Reply> {
    let filter = filter(ctx)?;
    let by = ctx.actor()?;
    let (rows, total) = ctx.app.db.read(|conn| queries::deliveries(conn, &filter, by))?;
    let items = rows.iter().map(delivery).collect();
    Reply::json(&List { items, total })
}

fn resend(ctx: &Ctx) -> Result<Reply> {
    ctx.input()?.finish(&[])?;
    let id = ctx.id(0, "message")?;
    let by = ctx.allowed(Run, Notifications)?;
    let row = ctx
        .app
        .db
        .write(|tx| queue::resend(ctx.app, tx, id, by, clock::now()))?;
    Reply::json(&delivery(&row))
}
