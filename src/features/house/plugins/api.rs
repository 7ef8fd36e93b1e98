//! The plugins' JSON API. No answer has a secret in it: a test says that there is one, and how long it is.

use super::definition::{DEFINITIONS, Purpose};
use super::model;
use super::{Plugin, ask, queries};
use crate::access::Allowed;
use crate::access::right::{Edit, Read, Settings, may};
use crate::app::App;
use crate::audit;
use crate::base::clock::{self, rfc3339};
use crate::base::error::{Error, Kind, Result};
use crate::base::id::{self, Id};
use crate::base::shape::described;
use crate::base::text;
use crate::db::Conn;
use crate::form::Input;
use crate::form::param::{self, Param};
use crate::http::reply::{List, Reply};
use crate::http::request::Method::{Delete, Get, Patch, Post, Put};
use crate::http::route::{Ctx, Route, route};
use std::collections::BTreeMap;

/// Routes of the JSON API.
pub const ROUTES: &[Route] = &[
    route(Get, "/api/plugins/definitions", may(Read, Settings), definitions).gives::<List<DefinitionView>>(),
    route(Get, "/api/plugins", may(Read, Settings), list).gives::<List<View>>(),
    route(Post, "/api/plugins", may(Edit, Settings), create)
        .takes(model::PARAMS)
        .creates::<View>(),
    route(Get, "/api/plugins/{id}", may(Read, Settings), show).gives::<View>(),
    route(Put, "/api/plugins/{id}", may(Edit, Settings), change)
        .takes(model::PARAMS)
        .gives::<View>(),
    route(Patch, "/api/plugins/{id}", may(Edit, Settings), change)
        .takes(model::PARAMS)
        .gives::<View>(),
    route(Delete, "/api/plugins/{id}", may(Edit, Settings), remove).gives_nothing(),
    route(Post, "/api/plugins/{id}/test", may(Edit, Settings), test)
        .takes(TEST)
        .gives::<Tested>()
        .asks_others(),
];

const TEST: &[Param] = &[param::text(
    "secret",
    500,
    "Of a plugin for secrets: one that it should have, as `path#key`, or in a file `key`.",
)];

/// Names of hosts that a test shows.
const SHOWN: usize = 20;

described! {
    /// A kind of plugin.
    struct DefinitionView {
        name: &'static str,
        purpose: Purpose,
        /// The names of its settings.
        fields: Vec<&'static str>,
        /// Those that it needs.
        required: Vec<&'static str>,
        /// Has it a token?
        has_token: bool,
        /// Can it be asked? If not, only its contract is there.
        runs: bool,
        about: &'static str,
    }

    /// An instance of a plugin.
    struct View {
        id: Id<id::Plugin>,
        name: String,
        definition: &'static str,
        purpose: Purpose,
        config: BTreeMap<String, String>,
        has_token: bool,
        enabled: bool,
        project_id: Option<Id<id::Project>>,
        /// What came of the last question; `null`: it was never asked.
        last: Option<Last>,
        created_at: String,
        updated_at: String,
    }

    /// What came of a question.
    struct Last {
        at: String,
        ok: bool,
        say: String,
    }

    /// What came of a test.
    pub struct Tested {
        pub ok: bool,
        /// What was seen, without any secret.
        pub say: String,
        /// How long it took.
        pub ms: i64,
        /// Of an inventory: the first of its hosts.
        pub hosts: Vec<String>,
    }
}

fn definitions(_: &Ctx) -> Result<Reply> {
    let items = DEFINITIONS.iter().map(|d| DefinitionView {
        name: d.name,
        purpose: d.purpose,
        fields: d.fields.to_vec(),
        required: d.fields[..d.required].to_vec(),
        has_token: d.has_token,
        runs: d.runs,
        about: d.about,
    });
    Reply::json(&List::whole(items.collect::<Vec<_>>()))
}

fn view(conn: &Conn, plugin: Plugin) -> Result<View> {
    let text = |(name, value): (String, serde_json::Value)| (name, value.as_str().unwrap_or_default().to_string());
    Ok(View {
        id: plugin.id,
        project_id: queries::project(conn, plugin.id)?,
        name: plugin.name,
        definition: plugin.definition.name,
        purpose: plugin.definition.purpose,
        config: plugin.config.into_iter().map(text).collect(),
        has_token: plugin.has_token,
        enabled: plugin.enabled,
        last: plugin.last.map(|(at, ok, say)| Last {
            at: rfc3339(at),
            ok,
            say,
        }),
        created_at: rfc3339(plugin.created_at),
        updated_at: rfc3339(plugin.updated_at),
    })
}

fn list(ctx: &Ctx) -> Result<Reply> {
    let items = ctx.app.db.read(|conn| {
        let all = queries::all(conn)?.into_iter();
        all.map(|plugin| view(conn, plugin)).collect::<Result<Vec<_>>>()
    })?;
    Reply::json(&List::whole(items))
}

fn shown(app: &App, id: Id<id::Plugin>) -> Result<View> {
    app.db.read(|conn| view(conn, super::get(conn, id)?))
}

fn show(ctx: &Ctx) -> Result<Reply> {
    Reply::json(&shown(ctx.app, ctx.id(0, "plugin")?)?)
}

/// Adds an instance. Error: invalid fields.
pub fn add(app: &App, input: Input, by: Allowed<Edit, Settings>) -> Result<Id<id::Plugin>> {
    let valid = model::read(input, None)?;
    app.db.write(|tx| super::create(app, tx, &valid, by))
}

fn create(ctx: &Ctx) -> Result<Reply> {
    let id = add(ctx.app, ctx.input()?, ctx.allowed(Edit, Settings)?)?;
    Reply::created(format!("/api/plugins/{id}"), &shown(ctx.app, id)?)
}

fn change(ctx: &Ctx) -> Result<Reply> {
    let id = ctx.id(0, "plugin")?;
    let (input, by) = (ctx.input()?, ctx.allowed(Edit, Settings)?);
    ctx.app.db.write(|tx| {
        let valid = model::read(input, Some(&super::get(tx, id)?))?;
        super::update(ctx.app, tx, id, &valid, by)
    })?;
    Reply::json(&shown(ctx.app, id)?)
}

fn remove(ctx: &Ctx) -> Result<Reply> {
    delete(ctx)?;
    Ok(Reply::status(204))
}

/// Deletes the instance of the path.
pub fn delete(ctx: &Ctx) -> Result<()> {
    let (id, by) = (ctx.id(0, "plugin")?, ctx.allowed(Edit, Settings)?);
    ctx.app.db.write(|tx| super::delete(ctx.app, tx, id, by))
}

fn test(ctx: &Ctx) -> Result<Reply> {
    let mut input = ctx.input()?;
    let secret = input.text("secret").unwrap_or_default();
    input.finish(&[])?;
    Reply::json(&tried(ctx, secret)?)
}

/// Asks the instance of the path, and keeps what came of it. That somebody did stands in the audit.
pub fn tried(ctx: &Ctx, secret: String) -> Result<Tested> {
    let id = ctx.id(0, "plugin")?;
    let by = ctx.allowed(Edit, Settings)?;
    let plugin = ctx.app.db.read(|conn| super::get(conn, id))?;
    if !plugin.definition.runs {
        let say = "Of this kind of plugin only the contract is there: the runner for programs of others comes later.";
        return Err(Error::new(Kind::Conflict, "plugin_no_runner", say));
    }
    let began = clock::mono();
    let name = plugin.name.clone();
    let seen = ctx.outbound(move |app| Ok(look(app, &plugin, &secret)))?;
    let tested = Tested {
        ok: seen.is_ok(),
        ms: began.elapsed().as_millis() as i64,
        hosts: seen.as_ref().map(|(_, hosts)| hosts.clone()).unwrap_or_default(),
        say: match seen {
            Ok((say, _)) => say,
            Err(e) => text::one_line(&e.say, 400),
        },
    };
    ctx.app.db.write(|tx| {
        queries::set_last(tx, id, clock::now(), tested.ok, &tested.say)?;
        let data = serde_json::json!({ "ok": tested.ok });
        audit::append(
            tx,
            &ctx.app.vault,
            by,
            "plugin.test",
            &format!("plugin {id} {name}"),
            &data,
        )
    })?;
    Ok(tested)
}

fn look(app: &App, plugin: &Plugin, secret: &str) -> Result<(String, Vec<String>)> {
    if plugin.definition.purpose == Purpose::Inventory {
        let mut hosts = ask::hosts(app, plugin)?;
        let say = format!("It names {} hosts.", hosts.len());
        hosts.truncate(SHOWN);
        return Ok((say, hosts));
    }
    if secret.is_empty() {
        return Ok((ask::token_works(app, plugin)?, Vec::new()));
    }
    let found = ask::secret(app, plugin, secret)?;
    let length = found.reveal_for("its length").len();
    Ok((
        format!("“{}” is there: {length} bytes.", text::one_line(secret, 100)),
        Vec::new(),
    ))
}
