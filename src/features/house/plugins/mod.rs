//! Plugins: where inventories and secrets come from besides here. What there is stands in [`definition`]; an instance is one
//! of it with its own settings. Nothing is loaded into this program: a plugin is asked over HTTP or is a file. One that does
//! not answer says so when it is asked, and disturbs nothing that does not need it.

mod settings;
mod definition;
mod model;
mod queries;
mod ask;
mod api;
mod pages;

use crate::access::Allowed;
use crate::access::right::{Edit, Read, Settings, may};
use crate::app::App;
use crate::audit::{self, Snapshot};
use crate::base::clock::{self, Ms};
use crate::base::error::{Error, Field, Kind, Result};
use crate::base::id::{self, Id};
use crate::base::secret::Secret;
use crate::base::text;
use crate::db::{Conn, Tx};
use crate::feature::Feature;
use crate::http::menu::Action;
use crate::vault::Sealed;
use definition::{Definition, Purpose};
use model::Valid;
use serde_json::{Map, Value};

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    pages: pages::ROUTES,
    actions: ACTIONS,
    settings: settings::SETTINGS,
    sealed: &[TOKEN],
    ..Feature::named("plugins")
};

const TOKEN: Sealed = Sealed::column("plugins", "token");

const ACTIONS: &[Action] = &[Action {
    word: "plugins.title",
    icon: "plug",
    path: "/plugins",
    right: may(Read, Settings),
}];

/// An instance.
#[derive(Debug, Clone)]
struct Plugin {
    id: Id<id::Plugin>,
    name: String,
    definition: &'static Definition,
    config: Map<String, Value>,
    has_token: bool,
    enabled: bool,
    /// When it was last asked, whether it answered, and what is to be said of that.
    last: Option<(Ms, bool, String)>,
    created_at: Ms,
    updated_at: Ms,
}

impl Plugin {
    /// A text of its settings; empty: none.
    fn text(&self, name: &str) -> &str {
        self.config.get(name).and_then(Value::as_str).unwrap_or_default()
    }
}

fn get(conn: &Conn, id: Id<id::Plugin>) -> Result<Plugin> {
    queries::get(conn, id)?.ok_or_else(|| Error::not_found("plugin"))
}

/// The token of an instance.
fn token(app: &App, conn: &Conn, id: Id<id::Plugin>) -> Result<Option<Secret>> {
    let sealed = queries::token(conn, id)?;
    sealed
        .map(|sealed| app.vault.open_sealed(TOKEN.at(id.get()), &sealed))
        .transpose()
}

/// Number and name of those that can be asked for an inventory.
pub fn inventories(conn: &Conn) -> Result<Vec<(i64, String)>> {
    let all = queries::all(conn)?.into_iter();
    let inventories = all.filter(|p| p.enabled && p.definition.purpose == Purpose::Inventory);
    Ok(inventories.map(|p| (p.id.get(), p.name)).collect())
}

/// An inventory as one of them answers, in Ansible's JSON; what came of it is kept with the plugin. Errors: an invalid
/// field `plugin_id`, `plugin_off`, `plugin_answer`, those of the connection.
pub fn inventory(app: &App, id: Id<id::Plugin>) -> Result<String> {
    let plugin = asked(app, id, Purpose::Inventory)?;
    let answer = ask::inventory(app, &plugin);
    keep_last(app, id, &answer, |(names, _)| {
        format!("It names {} hosts.", names.len())
    })?;
    Ok(ask::as_ansible(answer?.1).to_string())
}

/// A secret that one of them has, by `path#key`; what came of it is kept with the plugin, without the value. Errors:
/// an invalid field `plugin_id`, `plugin_off`, `plugin_answer`, those of the connection.
pub fn secret(app: &App, id: Id<id::Plugin>, what: &str) -> Result<Secret> {
    let plugin = asked(app, id, Purpose::Secrets)?;
    let answer = ask::secret(app, &plugin, what);
    let name = text::one_line(what, 100);
    keep_last(app, id, &answer, |_| format!("“{name}” was taken from it."))?;
    answer
}

/// What is said of a plugin that is not there.
pub fn missing() -> Error {
    Error::invalid(vec![Field {
        field: "plugin_id",
        code: "missing",
        message: "There is no such plugin.".into(),
    }])
}

/// The plugin that a draft names in `plugin_id`, if it is one of that purpose and switched on.
fn asked(app: &App, id: Id<id::Plugin>, purpose: Purpose) -> Result<Plugin> {
    let plugin = app.db.read(|conn| queries::get(conn, id))?.ok_or_else(missing)?;
    if plugin.enabled && plugin.definition.purpose == purpose {
        return Ok(plugin);
    }
    let say = match purpose {
        Purpose::Inventory => "This plugin is switched off, or knows no hosts.",
        Purpose::Secrets => "This plugin is switched off, or knows no secrets.",
        _ => "This plugin is switched off, or is of another kind.",
    };
    Err(Error::new(Kind::Conflict, "plugin_off", say))
}

fn keep_last<T>(app: &App, id: Id<id::Plugin>, answer: &Result<T>, good: impl Fn(&T) -> String) -> Result<()> {
    let (ok, say) = match answer {
        Ok(found) => (true, good(found)),
        Err(e) => (false, text::one_line(&e.say, 400)),
    };
    app.db.write(|tx| queries::set_last(tx, id, clock::now(), ok, &say))
}

fn create(app: &App, tx: &Tx, valid: &Valid, by: Allowed<Edit, Settings>) -> Result<Id<id::Plugin>> {
    let id = queries::insert(tx, valid, clock::now())?;
    keep_token(app, tx, id, valid)?;
    note(app, tx, by, "plugin.create", (id, &valid.name), &Snapshot::none())?;
    Ok(id)
}

fn update(app: &App, tx: &Tx, id: Id<id::Plugin>, valid: &Valid, by: Allowed<Edit, Settings>) -> Result<()> {
    let before = Snapshot::of(tx, "plugins", id.get())?;
    queries::update(tx, id, valid, clock::now())?;
    keep_token(app, tx, id, valid)?;
    note(app, tx, by, "plugin.update", (id, &valid.name), &before)
}

fn keep_token(app: &App, tx: &Tx, id: Id<id::Plugin>, valid: &Valid) -> Result<()> {
    let Some(token) = &valid.token else { return Ok(()) };
    let sealed = token
        .as_ref()
        .map(|token| app.vault.seal(TOKEN.at(id.get()), token))
        .transpose()?;
    queries::set_token(tx, id, sealed.as_deref())
}

fn delete(app: &App, tx: &Tx, id: Id<id::Plugin>, by: Allowed<Edit, Settings>) -> Result<()> {
    let name = get(tx, id)?.name;
    let before = Snapshot::of(tx, "plugins", id.get())?;
    queries::remove(tx, id)?;
    note(app, tx, by, "plugin.delete", (id, &name), &before)
}

fn note(
    app: &App,
    tx: &Tx,
    by: Allowed<Edit, Settings>,
    what: &str,
    (id, name): (Id<id::Plugin>, &str),
    before: &Snapshot,
) -> Result<()> {
    let after = Snapshot::of(tx, "plugins", id.get())?;
    let (object, data) = (format!("plugin {id} {name}"), serde_json::json!({ "name": name }));
    audit::change(tx, &app.vault, by, what, &object, &data, [before, &after])
}
