//! The silences' JSON API.

use super::{Silence, model};
use crate::access::right::{Edit, Read, Silences, may};
use crate::access::{Place, Unplaced};
use crate::app::App;
use crate::base::clock::{self, rfc3339};
use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::base::shape::described;
use crate::form::Input;
use crate::form::param::{self, Param};
use crate::http::reply::{List, Reply};
use crate::http::request::Method::{Get, Post};
use crate::http::route::{Ctx, LIMIT, OFFSET, Route, route};
use serde_json::{Map, Value};

/// Routes of the JSON API.
pub const ROUTES: &[Route] = &[
    route(Get, "/api/silences", may(Read, Silences), list)
        .query(LIST)
        .gives::<List<View>>(),
    route(Post, "/api/silences", may(Edit, Silences), create)
        .asks()
        .takes(model::PARAMS)
        .creates::<View>(),
    route(Get, "/api/silences/{id}", may(Read, Silences), show).gives::<View>(),
    route(Post, "/api/silences/{id}/end", may(Edit, Silences), end)
        .takes(&[])
        .gives::<View>(),
];

/// States of a silence.
pub const STATES: [&str; 3] = ["active", "waiting", "over"];

const LIST: &[Param] = &[LIMIT, OFFSET, param::choice("state", &STATES, "Only in this state.")];

described! {
    /// A silence as the API shows it.
    pub struct View<'a> {
        id: Id<id::Silence>,
        state: &'a str,
        kind: &'a str,
        /// What it is narrowed to; nothing: it is not.
        scope: Option<&'a Map<String, Value>>,
        /// The tag, where the scope is nothing else.
        tag: String,
        server_id: Option<Id<id::Server>>,
        server: Option<&'a str>,
        domain_id: Option<Id<id::Domain>>,
        domain: Option<&'a str>,
        group_id: Option<Id<id::Group>>,
        group: Option<&'a str>,
        /// All that it is about, of whichever kind.
        targets: Vec<Target<'a>>,
        reason: &'a str,
        author: &'a str,
        starts_at: String,
        ends_at: String,
        ended_at: Option<String>,
        ended_by: Option<&'a str>,
        created_at: String,
    }

    /// A thing that a silence is about.
    struct Target<'a> {
        r#type: &'a str,
        id: i64,
        name: &'a str,
    }
}

/// The tag of a silence whose scope is nothing else.
pub fn tag(s: &Silence) -> String {
    s.scope.within.tags().unwrap_or_default().join(", ")
}

/// Builds the view.
pub fn view(s: &Silence) -> View<'_> {
    let targets = || {
        let all = s.scope.targets.iter().zip(&s.names);
        all.map(|((kind, id), name)| Target {
            r#type: kind,
            id: *id,
            name,
        })
    };
    let name = |kind: &str| targets().find(|t| t.r#type == kind).map(|t| t.name);
    View {
        id: s.id,
        state: &s.state,
        kind: &s.scope.kind,
        scope: s.scope.within.said(),
        tag: tag(s),
        server_id: s.scope.of_kind("server").map(Id::new),
        server: name("server"),
        domain_id: s.scope.of_kind("domain").map(Id::new),
        domain: name("domain"),
        group_id: s.scope.of_kind("group").map(Id::new),
        group: name("group"),
        targets: targets().collect(),
        reason: &s.reason,
        author: &s.author,
        starts_at: rfc3339(s.starts_at),
        ends_at: rfc3339(s.ends_at),
        ended_at: s.ended_at.map(rfc3339),
        ended_by: s.ended_by.as_deref(),
        created_at: rfc3339(s.created_at),
    }
}

fn list(ctx: &Ctx) -> Result<Reply> {
    let (limit, offset) = ctx.page()?;
    let state = ctx.choice("state")?;
    let (rows, total) = ctx.app.db.read(|conn| super::list(conn, state, limit, offset))?;
    let items: Vec<_> = rows.iter().map(view).collect();
    Reply::json(&List { items, total })
}

fn show(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "silence")?;
    Reply::json(&view(&ctx.app.db.read(|conn| super::get(conn, id))?))
}

fn create(ctx: &Ctx) -> Result<Reply> {
    let silence = add(ctx.app, ctx.input()?, &ctx.unplaced(Edit, Silences)?)?;
    Reply::created(format!("/api/silences/{}", silence.id), &view(&silence))
}

/// Reads a draft and stores it. Error: invalid fields.
pub fn add(app: &App, input: Input, by: &Unplaced<Edit, Silences>) -> Result<Silence> {
    let valid = model::read(input, clock::now())?;
    app.db.write(|tx| {
        let by = match valid.scope.target() {
            Some(target) => by.to(tx, target)?,
            None => by.at(&Place::Everywhere)?,
        };
        let id = super::create(app, tx, &valid, by)?;
        super::get(tx, id)
    })
}

fn end(ctx: &Ctx) -> Result<Reply> {
    ctx.input()?.finish(&[])?;
    Reply::json(&view(&stop(ctx)?))
}

/// Ends the silence of the path.
pub fn stop(ctx: &Ctx) -> Result<Silence> {
    let id = ctx.id(0, "silence")?;
    let by = ctx.allowed(Edit, Silences)?;
    ctx.app.db.write(|tx| {
        super::end(ctx.app, tx, id, by)?;
        super::get(tx, id)
    })
}
