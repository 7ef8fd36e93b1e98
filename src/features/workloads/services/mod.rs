//! Services on any server, without an agent, and beside servers: units of systemd, sessions of tmux, pages, ports, programs
//! that look, Redis, and jobs that call us. systemd keeps processes alive, also while the controller is away; here is what
//! it cannot know: whether a thing works, when it is to be started again for that, when to give up, and why it stopped.

mod verdict;
mod nodes;
mod kinds;
mod model;
mod settings;
mod queries;
mod observed;
mod acts;
mod state;
mod job;
mod look;
mod entries;
mod follow;
mod watch;
mod tasks;
mod events;
mod import;
mod section;
mod api;
mod pages;
mod commands;

use crate::access::Allowed;
use crate::access::right::{Controller, Edit, Services};
use crate::app::App;
use crate::audit::{self, Snapshot};
use crate::base::clock;
use crate::base::error::{Error, Field, Kind, Result};
use crate::base::id::{self, Id};
use crate::base::secret::Secret;
use crate::base::{random, text};
use crate::db::{Conn, Tx};
use crate::events::outbox;
use crate::feature::Feature;
use crate::features::house::secrets::{Refs, Slot, slot};
use crate::form::Input;
use kinds::Check;
use model::{Stored, Valid};
use queries::Service;
use verdict::{Happened, Health};

pub use api::{Counts, counts};
pub use follow::speakers;
pub use observed::SERVICES;

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    pages: pages::ROUTES,
    cards: pages::CARDS,
    panels: pages::PANELS,
    menu: pages::MENU,
    search: pages::SEARCH,
    commands: commands::COMMANDS,
    tasks: tasks::TASKS,
    services: &[watch::ROW, follow::ROW],
    settings: settings::SETTINGS,
    kinds: events::KINDS,
    sealed: look::SEALED,
    targets: &[observed::TARGET],
    sections: &[section::SECTION],
    subjects: &[&SERVICES],
    ..Feature::named("services")
};

/// Fields that may refer to secrets.
const REFERENCES: &[Slot] = &[slot("password")];

/// One service by its name. Error `NotFound`.
fn called(conn: &Conn, name: &str) -> Result<Service> {
    queries::by_name(conn, name)?.ok_or_else(|| Error::not_found("service"))
}

/// One service of this kind by its name, or by its number. Error `NotFound`.
fn named(conn: &Conn, text: &str, kind: &'static str) -> Result<Service> {
    let found = match (queries::by_name(conn, text)?, Id::parse(text)) {
        (None, Some(id)) => queries::get(conn, id)?,
        (found, _) => found,
    };
    let found = found.filter(|s| s.fields.kind.name == kind);
    found.ok_or_else(|| Error::not_found(kind))
}

/// Reads a draft, over what is stored if `old` is given. Error: invalid fields.
fn read(app: &App, conn: &Conn, mut input: Input, old: Option<&Service>) -> Result<Valid> {
    let place = ("services", "service", old.map(|s| s.id.get()));
    let refs = Refs::resolve(app, conn, &mut input, place, REFERENCES)?;
    let stored = old.map(|s| Stored {
        fields: &s.fields,
        has_password: s.has_password,
    });
    let valid = model::read(input, stored)?;
    Ok(Valid { refs, ..valid })
}

/// Are its server and the services it waits for there, and may its program look?
fn check(conn: &Conn, valid: &Valid, id: Option<i64>) -> Result<()> {
    let f = &valid.fields;
    let wrong = |field, code, message: String| Err(Error::invalid(vec![Field { field, code, message }]));
    if let Some(server) = f.server
        && crate::features::fleet::servers::get(conn, server).is_err()
    {
        return wrong("server_id", "missing", format!("There is no server {server}."));
    }
    for other in &f.after {
        if Some(*other) == id || queries::get(conn, Id::new(*other))?.is_none() {
            return wrong("after", "missing", format!("There is no other service {other}."));
        }
    }
    if let Check::Exec(argv) = f.kind.check {
        let folders = settings::SERVICES_PROGRAMS.text(conn)?;
        let program = argv(&f.config).into_iter().next().unwrap_or_default();
        if !settings::is_allowed(&folders, &program) {
            let say = format!(
                "{program} is in none of the folders that programs may be in: {folders}. An administrator sets them (services.programs)."
            );
            return wrong("argv", "program_not_allowed", say);
        }
    }
    Ok(())
}

/// Adds a service. Error: invalid fields.
fn create(app: &App, tx: &Tx, input: Input, by: Allowed<Edit, Services>) -> Result<Id<id::Service>> {
    let valid = read(app, tx, input, None)?;
    check(tx, &valid, None)?;
    let private = by.also(Edit, Controller).is_ok();
    let mut valid = valid;
    if valid.fields.kind.name == "command" {
        let unit = kinds::command::unit(&valid.fields.name);
        valid.fields.config.insert("unit".into(), unit.into());
    }
    let id = queries::insert(tx, &valid.fields, private, clock::now())?;
    store_password(app, tx, id, &valid)?;
    if let Check::Called = valid.fields.kind.check {
        let token = Secret::new(random::token());
        let sealed = app.vault.seal(look::place(id, "token"), &token)?;
        queries::set_sealed(tx, id, "token", Some(&sealed))?;
        queries::set_token_hash(tx, id, &text::sha256(token.reveal_for("its hash")))?;
    }
    note(
        app,
        tx,
        by,
        ("service.create", events::CREATED),
        (id, &valid.fields.name),
        &Snapshot::none(),
    )?;
    Ok(id)
}

fn store_password(app: &App, tx: &Tx, id: Id<id::Service>, valid: &Valid) -> Result<()> {
    if let (Some(Some(lines)), "command") = (&valid.password, valid.fields.kind.name)
        && let Err(message) = kinds::command::secrets(lines.reveal_text_for("the lines of a unit's secrets"))
    {
        let (field, code) = ("password", "bad_environment");
        return Err(Error::invalid(vec![Field { field, code, message }]));
    }
    if let Some(change) = &valid.password {
        let seal = |value: &Secret| app.vault.seal(look::place(id, "password"), value);
        let sealed = change.as_ref().map(seal).transpose()?;
        queries::set_sealed(tx, id, "password", sealed.as_deref())?;
    }
    valid.refs.store(tx, |_, secret, part| {
        let stored = app.vault.refer(look::place(id, "password"), secret, part);
        queries::set_sealed(tx, id, "password", Some(&stored))
    })
}

/// Changes a service. Error: invalid fields.
fn update(app: &App, tx: &Tx, id: Id<id::Service>, input: Input, by: Allowed<Edit, Services>) -> Result<()> {
    let old = queries::get(tx, id)?.ok_or_else(|| Error::not_found("service"))?;
    let valid = read(app, tx, input, Some(&old))?;
    check(tx, &valid, Some(id.get()))?;
    if old.applied > 0 && old.fields.server != valid.fields.server {
        return Err(unit_is_there(&old));
    }
    let before = Snapshot::of(tx, "services", id.get())?;
    let private = by.also(Edit, Controller).is_ok();
    queries::update(tx, id, &valid.fields, private, clock::now())?;
    store_password(app, tx, id, &valid)?;
    if valid.fields.kind.keeps_token {
        queries::set_sealed(tx, id, "token", None)?; // it may be for another place
    }
    if let Some(s) = queries::get(tx, id)?.filter(|s| !s.fields.enabled && old.fields.enabled) {
        switch_off(app, tx, s)?;
    }
    note(
        app,
        tx,
        by,
        ("service.update", events::CHANGED),
        (id, &valid.fields.name),
        &before,
    )
}

/// Nobody looks at it any more: its alerts end, and nothing is said about it.
fn switch_off(app: &App, tx: &Tx, mut s: Service) -> Result<()> {
    let now = clock::now();
    if !s.now.troubles.is_empty() {
        let evidence = vec![format!("{} Switched off.", clock::rfc3339(now))];
        let what = Happened {
            kind: state::STOPPED,
            part: String::new(),
            evidence,
        };
        state::say(app, tx, &s, &what)?;
    }
    for what in nodes::left(&mut s.now.nodes, now) {
        state::say(app, tx, &s, &what)?;
    }
    s.now = queries::State {
        state: "unknown",
        health: Health::Unknown,
        code: "off".into(),
        say: "It is switched off.".into(),
        since: now,
        troubles: Vec::new(),
        goods: 0,
        bads: 0,
        healthy_since: None,
        ..s.now
    };
    queries::put_state(tx, s.id, &s.now)
}

fn unit_is_there(s: &Service) -> Error {
    let say = format!(
        "{} is on the server {} and would be left there. Take it away from there first.",
        kinds::text(&s.fields.config, "unit"),
        s.server_name
    );
    Error::new(Kind::Conflict, "service_unit_there", say)
}

/// Removes a service; on its server it stays as it is. Error `Conflict`: another one waits for it.
fn delete(app: &App, tx: &Tx, id: Id<id::Service>, by: Allowed<Edit, Services>) -> Result<()> {
    let mut s = queries::get(tx, id)?.ok_or_else(|| Error::not_found("service"))?;
    let users = queries::all(tx)?
        .into_iter()
        .filter(|other| other.fields.after.contains(&id.get()));
    let users: Vec<String> = users.map(|other| other.fields.name).collect();
    if !users.is_empty() {
        let say = format!(
            "{} is started only after this one. Change that first.",
            text::first_of(&users, 5)
        );
        return Err(Error::new(Kind::Conflict, "service_used", say));
    }
    if s.applied > 0 {
        return Err(unit_is_there(&s));
    }
    for what in nodes::left(&mut s.now.nodes, clock::now()) {
        state::say(app, tx, &s, &what)?;
    }
    let before = Snapshot::of(tx, "services", id.get())?;
    queries::remove(tx, id)?;
    note(
        app,
        tx,
        by,
        ("service.delete", state::DELETED),
        (id, &s.fields.name),
        &before,
    )
}

fn note(
    app: &App,
    tx: &Tx,
    by: Allowed<Edit, Services>,
    what: (&str, &str),
    (id, name): (Id<id::Service>, &str),
    before: &Snapshot,
) -> Result<()> {
    let (data, after) = (
        serde_json::json!({ "name": name }),
        Snapshot::of(tx, "services", id.get())?,
    );
    let object = format!("service {id} {name}");
    audit::change(tx, &app.vault, by, what.0, &object, &data, [before, &after])?;
    outbox::emit(tx, &app.wakes.events, what.1, (observed::TARGET.name, id.get()), &data)
}
