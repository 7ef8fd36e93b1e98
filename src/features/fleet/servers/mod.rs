//! Servers: how to reach them, whether to trust them, and the work done on them over ssh.
//!
//! Nothing is sent to a server whose host key nobody has accepted. A changed key stops everything and raises an alert.
//! Secrets are write-only: they are sealed when they come in and opened only for the connection that needs them.

mod settings;
mod events;
mod model;
mod queries;
mod connection;
mod tasks;
mod section;
mod api;
mod pages;

use crate::access::Allowed;
use crate::access::right;
use crate::access::right::{Edit, Servers};
use crate::app::App;
use crate::audit;
use crate::base::clock::{self, Ms};
use crate::base::error::{Error, Kind, Result};
use crate::base::host::{Host, UserName};
use crate::base::id::{self, Id};
use crate::base::idn::DomainName;
use crate::base::secret::Secret;
use crate::base::shape::described;
use crate::base::text;
use crate::db::{Conn, Tx};
use crate::events::outbox;
use crate::feature::Feature;
use crate::feature::{Hit, Source};
use crate::http::menu::{self, Action, Badge, Entry};
use crate::settings::check;
use crate::ssh::{Auth, Target, hostkey};
use crate::task::{self, queue};
use crate::vault::{SealContext, Sealed};
use model::{AuthType, Has, Secrets, Valid};
use serde::Serialize;

pub use connection::{SITES_OFF, ServerConnection};
pub use model::Fields;
pub use pages::{Known, known, words};
pub use queries::{
    Company, Counts, Filter, StateRow, alerts_changed, by_name, company, counts, poll_fingerprint, polled, states,
    tagged, tags,
};

pub use settings::POLL_FAIL_THRESHOLD;

pub use tasks::{DEPLOY_PROXY, emit_work_ended};

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    pages: pages::ROUTES,
    cards: pages::CARDS,
    tasks: tasks::TASKS,
    react: Some(tasks::react),
    sections: &[section::SECTION],
    settings: settings::SETTINGS,
    kinds: events::KINDS,
    menu: MENU,
    actions: ACTIONS,
    search: SEARCH,
    sealed: SEALED,
    ..Feature::named("servers")
};

const MENU: &[Entry] = &[Entry {
    path: "/servers",
    word: "servers",
    icon: "server",
    keys: "g s",
    right: right::may(right::Read, right::Servers),
    place: (1, 2),
    dock: "servers",
    badge: |app| {
        let counts = app.db.read(counts)?;
        let faults = [
            (State::Down, menu::State::Down),
            (State::Degraded, menu::State::Degraded),
        ]
        .into_iter();
        let worst = faults
            .map(|(of, state)| (state, counts.loud[of as usize]))
            .find(|(_, n)| *n > 0);
        let (state, affected) = worst.unwrap_or_default();
        Ok(Badge {
            count: Some(counts.total as u64),
            state,
            affected,
            ..Badge::default()
        })
    },
    ..Entry::NEW
}];

const ACTIONS: &[Action] = &[Action {
    word: "servers.add",
    icon: "plus",
    path: "/servers/new",
    right: right::may(right::Edit, right::Servers),
}];

const SEARCH: &[Source] = &[Source {
    kind: "servers",
    place: 1,
    right: right::may(right::Read, right::Servers),
    list: Some("/servers"),
    find: |ctx, q, limit| {
        let filter = Filter {
            q,
            limit,
            ..Default::default()
        };
        let (rows, all) = ctx.app.db.read(|conn| list(conn, &filter))?;
        let hit = |s: Server| Hit {
            name: s.fields.name,
            detail: s.fields.host,
            href: format!("/servers/{}", s.id),
        };
        Ok((rows.into_iter().map(hit).collect(), all))
    },
}];

/// State of a server's host key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostKeyState {
    /// Not read yet.
    Unknown,
    /// Offered, waits for confirmation.
    Pending,
    /// Accepted; only this key is allowed.
    Pinned,
    /// A different key was offered: nothing is sent.
    Changed,
}

impl HostKeyState {
    const ALL: [HostKeyState; 4] = [
        HostKeyState::Unknown,
        HostKeyState::Pending,
        HostKeyState::Pinned,
        HostKeyState::Changed,
    ];

    /// As stored and shown.
    pub fn name(self) -> &'static str {
        ["unknown", "pending", "pinned", "changed"][self as usize]
    }

    fn parse(name: &str) -> HostKeyState {
        HostKeyState::ALL
            .into_iter()
            .find(|s| s.name() == name)
            .unwrap_or(HostKeyState::Unknown)
    }
}

/// State of a server, from availability and open alerts. The rule is in SQL (`sql/0021_state.sql`); pages, commands,
/// API and metrics read the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Available, no open alert of level WARNING or higher.
    Up,
    /// Not answered yet.
    Pending,
    /// Available, with an open alert of level WARNING or higher.
    Degraded,
    /// Not available.
    Down,
}
described!(State: "up", "pending", "degraded", "down");

impl State {
    /// From the best to the worst.
    pub const ALL: [State; 4] = [State::Up, State::Pending, State::Degraded, State::Down];

    /// As stored and shown.
    pub fn name(self) -> &'static str {
        ["up", "pending", "degraded", "down"][self as usize]
    }

    /// Name of its lamp picture.
    pub fn lamp(self) -> &'static str {
        ["lit", "unlit", "flick", "dark"][self as usize]
    }

    fn parse(name: &str) -> State {
        let known = State::ALL.into_iter().find(|s| s.name() == name);
        known.unwrap_or(State::Pending)
    }
}

/// Open alerts of a server.
#[derive(Debug, Clone, Default)]
pub struct Alerts {
    /// Id.
    pub open: i64,
    /// Kinds, separated by spaces.
    pub kinds: String,
    /// The alert that determines the state: the worst, of several the oldest.
    pub worst: Option<Worst>,
}

described! {
    /// The worst open alert.
    #[derive(Debug, Clone)]
    pub struct Worst {
        /// Id.
        pub id: i64,
        /// `metric.disk`, …
        pub kind: String,
        /// `WARNING`, `ERROR` or `CRITICAL`.
        pub level: String,
        /// Variant of the text for the kind.
        #[serde(skip)]
        pub variant: String,
        /// One sentence.
        pub title: String,
        /// Subject as in the alert: `web-1 /srv`.
        #[serde(skip)]
        pub name: String,
    }
}

/// Does Glances answer?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Availability {
    /// `provisioning`, `ok` or `unreachable`.
    pub status: &'static str,
    /// Since when, unix ms: when down, since the first failed poll.
    pub since: Ms,
    /// Failed polls in a row.
    pub fail_count: i64,
    /// Start of the first of them, unix ms.
    pub missed_since: Option<Ms>,
    /// Code and sentence of the last failed poll.
    pub error: Option<(String, String)>,
    /// While it is down: other ports of the host that answered, and when that was checked.
    pub host: Option<String>,
}

/// A server's row.
#[derive(Debug, Clone)]
pub struct Server {
    /// Id.
    pub id: Id<id::Server>,
    /// Plain fields.
    pub fields: Fields,
    /// Stored secrets.
    pub has: Has,
    /// Installation profile of Glances: `unknown`, `protected` or `open`.
    pub glances_profile: &'static str,
    /// The accepted key, one or more `known_hosts` key lines.
    pub host_key: String,
    /// The key offered last, if it is not the accepted one.
    pub host_key_seen: String,
    /// State of the host key.
    pub host_key_state: HostKeyState,
    /// Availability.
    pub availability: Availability,
    /// When its name's addresses changed, unix ms, with a sentence.
    pub moved: Option<(Ms, String)>,
    /// State.
    pub state: State,
    /// Since when, unix ms.
    pub state_since: Ms,
    /// Open alerts.
    pub alerts: Alerts,
    /// End of its silence, unix ms; does not affect the state.
    pub silenced_until: Option<Ms>,
    /// API version last seen, 3 or 4.
    pub glances_api: Option<i64>,
    /// The path that answered.
    pub glances_path_seen: Option<String>,
    /// JSON object from the last check.
    pub facts: String,
    /// Time of that check, unix ms.
    pub facts_at: Option<Ms>,
    /// Revision, incremented with every change.
    pub revision: i64,
    /// Incremented when polling parameters change.
    pub poll_revision: i64,
    /// Unix ms.
    pub created_at: Ms,
    /// Unix ms.
    pub updated_at: Ms,
}

/// Stored values that a poll's outcome is compared with.
#[derive(Debug, Clone)]
pub struct Polled {
    /// The server's name.
    pub name: String,
    /// [`Server::poll_revision`].
    pub revision: i64,
    /// Availability before the poll.
    pub availability: Availability,
    /// API version last seen.
    pub glances_api: Option<i64>,
    /// The path that answered last.
    pub glances_path_seen: Option<String>,
    /// Known addresses of its name, separated by spaces, latest first; empty: no name, or not resolved yet.
    pub addresses: String,
    /// [`Server::moved`].
    pub moved: Option<(Ms, String)>,
}

impl Server {
    /// Address of its sshd: a different one is a different machine with its own host key.
    pub fn address(&self) -> (&String, u16) {
        (&self.fields.host, self.fields.ssh_port)
    }

    /// Fingerprint to show: the offered key while it is pending or different, else the accepted one.
    pub fn fingerprint(&self) -> Option<String> {
        let line = if self.host_key_seen.is_empty() {
            &self.host_key
        } else {
            &self.host_key_seen
        };
        hostkey::parse(line.lines().next()?).ok().map(|k| k.fingerprint)
    }
}

/// One server. Error `NotFound`.
pub fn get(conn: &Conn, id: Id<id::Server>) -> Result<Server> {
    queries::get(conn, id)?.ok_or_else(|| Error::not_found("server"))
}

/// A page of servers and their total.
pub fn list(conn: &Conn, filter: &Filter) -> Result<(Vec<Server>, i64)> {
    queries::list(conn, filter)
}

/// Every server by name.
pub fn all(conn: &Conn) -> Result<Vec<Server>> {
    queries::all(conn)
}

/// Columns with sealed values.
const SECRETS: [&str; 5] = [
    "password",
    "ssh_key",
    "ssh_key_passphrase",
    "glances_password",
    "glances_token",
];

const SEALED: &[Sealed] = &[
    Sealed::column("servers", SECRETS[0]),
    Sealed::column("servers", SECRETS[1]),
    Sealed::column("servers", SECRETS[2]),
    Sealed::column("servers", SECRETS[3]),
    Sealed::column("servers", SECRETS[4]),
];

fn place(id: Id<id::Server>, column: &'static str) -> SealContext {
    SealContext {
        table: "servers",
        column,
        row: id.get(),
    }
}

/// Unseals one stored secret.
pub fn secret(app: &App, conn: &Conn, id: Id<id::Server>, column: &'static str) -> Result<Option<Secret>> {
    debug_assert!(SECRETS.contains(&column));
    let sealed = queries::sealed(conn, id, column)?;
    sealed
        .map(|sealed| app.vault.open_sealed(place(id, column), &sealed))
        .transpose()
}

fn store_secrets(app: &App, tx: &Tx, id: Id<id::Server>, secrets: &Secrets) -> Result<()> {
    let changes = [
        &secrets.password,
        &secrets.ssh_key,
        &secrets.ssh_key_passphrase,
        &secrets.glances_password,
        &secrets.glances_token,
    ];
    for (column, change) in SECRETS.into_iter().zip(changes) {
        if let Some(value) = change {
            let sealed = value
                .as_ref()
                .map(|v| app.vault.seal(place(id, column), v))
                .transpose()?;
            queries::set_sealed(tx, id, column, sealed.as_deref())?;
        }
    }
    Ok(())
}

/// Adds a server. Error: duplicate name.
pub fn create(app: &App, tx: &Tx, valid: &Valid, by: Allowed<Edit, Servers>) -> Result<Id<id::Server>> {
    let id = queries::insert(tx, &valid.fields, clock::now())?;
    store_secrets(app, tx, id, &valid.secrets)?;
    match &valid.host_key {
        Some(key) => queries::set_host_key(tx, id, key, "", HostKeyState::Pinned)?,
        None => enqueue_host_key_read(app, tx, id, &valid.fields.name, by)?,
    }
    note(app, tx, by, "server.create", id, &valid.fields.name, "server.created")?;
    Ok(id)
}

/// Changes a server if it is still as it was when `valid` was read over `old`. A new address is a new machine: its host
/// key must be accepted again (unless given), and no task may be running. Error `Conflict` otherwise.
pub fn update(app: &App, tx: &Tx, old: &Server, valid: &Valid, by: Allowed<Edit, Servers>) -> Result<()> {
    let now = get(tx, old.id)?;
    if now.poll_revision != old.poll_revision {
        let say = "This server was changed meanwhile, by a person or a task. Load it again and repeat your change.";
        return Err(Error::new(Kind::Conflict, "server_changed", say));
    }
    let moved = old.address() != (&valid.fields.host, valid.fields.ssh_port);
    if moved {
        refuse_while_worked_on(tx, old.id)?;
    }
    queries::update(tx, old.id, &valid.fields, clock::now())?;
    store_secrets(app, tx, old.id, &valid.secrets)?;
    match &valid.host_key {
        Some(key) => queries::set_host_key(tx, old.id, key, "", HostKeyState::Pinned)?,
        None if moved => {
            queries::set_host_key(tx, old.id, "", "", HostKeyState::Unknown)?;
            enqueue_host_key_read(app, tx, old.id, &valid.fields.name, by)?;
        }
        None => {}
    }
    if now.host_key_state == HostKeyState::Changed && (moved || valid.host_key.is_some()) {
        let data = serde_json::json!({ "name": valid.fields.name });
        outbox::emit(
            tx,
            &app.wakes.events,
            "host.key_replaced",
            ("server", old.id.get()),
            &data,
        )?;
    }
    note(
        app,
        tx,
        by,
        "server.update",
        old.id,
        &valid.fields.name,
        "server.changed",
    )
}

/// Enqueues reading of the host key, so that the fingerprint can be shown. Only one at a time.
fn enqueue_host_key_read(app: &App, tx: &Tx, id: Id<id::Server>, name: &str, by: Allowed<Edit, Servers>) -> Result<()> {
    if queue::open(tx, ("server", id.get()), |kind| kind == tasks::READ_HOST_KEY)?.is_some() {
        return Ok(());
    }
    let new = task::NewTask {
        kind: tasks::READ_HOST_KEY,
        target: ("server", id.get(), name),
        input: serde_json::json!({}),
    };
    queue::enqueue(tx, &app.wakes.tasks, &new, by).map(drop)
}

/// Reading the host key changes nothing and does not block.
fn refuse_while_worked_on(conn: &Conn, id: Id<id::Server>) -> Result<()> {
    match queue::open(conn, ("server", id.get()), |kind| kind != tasks::READ_HOST_KEY)? {
        None => Ok(()),
        Some(task) => {
            let say = format!("Task {task} still works on this server. Wait for it or cancel it first.");
            Err(Error::new(Kind::Conflict, "task_open", say))
        }
    }
}

/// Limit of names in an error text.
const NAMED: usize = 5;

/// Ids and names of the domains that this server serves.
pub fn serves(conn: &Conn, id: Id<id::Server>) -> Result<Vec<(i64, String)>> {
    let shown = |d: String| DomainName::parse(&d).map_or(d, |name| name.unicode());
    let domains = queries::used_by(conn, id)?.into_iter();
    Ok(domains.map(|(id, name)| (id, shown(name))).collect())
}

/// Deletes a server here; nothing is changed on it. Error `Conflict` while a task runs on it, and while domains are on
/// it (their sites could no longer be removed), unless `forget` confirms that it is gone.
pub fn delete(app: &App, tx: &Tx, server: &Server, forget: bool, by: Allowed<Edit, Servers>) -> Result<()> {
    let (id, name) = (server.id, &server.fields.name);
    refuse_while_worked_on(tx, id)?;
    let domains: Vec<String> = serves(tx, id)?.into_iter().map(|(_, name)| name).collect();
    let named = text::first_of(&domains, NAMED);
    if domains.is_empty() {
        queries::remove(tx, id)?;
        return note(app, tx, by, "server.delete", id, name, "server.deleted");
    }
    if !forget {
        let say = format!(
            "This server serves {named}. Move them to another server or remove them first; or say that it is gone for good and they are forgotten there."
        );
        return Err(Error::new(Kind::Conflict, "server_used", say));
    }
    queries::forget_sites(tx, id)?;
    queries::remove(tx, id)?;
    let say = format!("It served {named}: forgotten there, not taken off.");
    let data = serde_json::json!({ "name": name, "evidence": [say], "forgotten": domains });
    audit::append(
        tx,
        &app.vault,
        by,
        "server.forget",
        &format!("server {id} {name}"),
        &data,
    )?;
    outbox::emit(tx, &app.wakes.events, "server.deleted", ("server", id.get()), &data)
}

fn note(
    app: &App,
    tx: &Tx,
    by: Allowed<Edit, Servers>,
    action: &str,
    id: Id<id::Server>,
    name: &str,
    event: &str,
) -> Result<()> {
    let data = serde_json::json!({ "name": name });
    audit::append(tx, &app.vault, by, action, &format!("server {id} {name}"), &data)?;
    outbox::emit(tx, &app.wakes.events, event, ("server", id.get()), &data)
}

/// Accepts the offered host key after a person has compared its fingerprint.
pub fn accept_host_key(
    app: &App,
    tx: &Tx,
    id: Id<id::Server>,
    fingerprint: &str,
    by: Allowed<Edit, Servers>,
) -> Result<()> {
    let server = get(tx, id)?;
    let conflict = |code, say: &str| Err(Error::new(Kind::Conflict, code, say));
    if server.host_key_seen.is_empty() {
        return conflict(
            "no_host_key_waits",
            "No host key waits for a decision. Run “Check SSH access” first.",
        );
    }
    if server.fingerprint().as_deref() != Some(fingerprint) {
        return conflict(
            "fingerprint_differs",
            "This is not the fingerprint that the server offered. Load the page again and compare.",
        );
    }
    queries::set_host_key(tx, id, &server.host_key_seen, "", HostKeyState::Pinned)?;
    let data = serde_json::json!({ "name": server.fields.name, "fingerprint": fingerprint });
    audit::append(
        tx,
        &app.vault,
        by,
        "server.accept_host_key",
        &format!("server {id} {}", server.fields.name),
        &data,
    )?;
    outbox::emit(
        tx,
        &app.wakes.events,
        "server.host_key_accepted",
        ("server", id.get()),
        &data,
    )
}

/// The ssh target of a server. Error: its host key is not accepted.
pub fn target(app: &App, conn: &Conn, server: &Server) -> Result<Target> {
    let id = server.id;
    match server.host_key_state {
        HostKeyState::Pinned => {}
        HostKeyState::Changed => {
            return Err(Error::new(
                Kind::Conflict,
                "ssh_host_key_changed",
                "The server's host key is not the one that was accepted. Nothing was sent. Find out why before you accept the new key.",
            ));
        }
        HostKeyState::Unknown | HostKeyState::Pending => {
            return Err(Error::new(
                Kind::Conflict,
                "ssh_host_key_pending",
                "The server's host key waits to be accepted. Compare its fingerprint and accept it first.",
            ));
        }
    }
    let stored = |column| secret(app, conn, id, column);
    let missing = |what: &str| {
        Error::new(
            Kind::Conflict,
            "no_credential",
            format!("No {what} is stored for this server. Enter one."),
        )
    };
    let (auth, sudo_password) = match server.fields.auth_type {
        AuthType::Password => {
            let password = stored("password")?.ok_or_else(|| missing("password"))?;
            (Auth::Password(password.clone()), Some(password))
        }
        AuthType::SshKey => {
            let pem = stored("ssh_key")?.ok_or_else(|| missing("private key"))?;
            (
                Auth::Key {
                    pem,
                    passphrase: stored("ssh_key_passphrase")?,
                },
                stored("password")?,
            )
        }
    };
    Ok(Target {
        server: id.get(),
        host: Host::parse(&server.fields.host).map_err(Error::internal)?,
        port: server.fields.ssh_port,
        user: UserName::parse(&server.fields.username).map_err(Error::internal)?,
        auth,
        sudo_password,
        host_key: server.host_key.clone(),
    })
}

/// A check takes time: its result counts only if address and accepted key are unchanged. (Else a key accepted meanwhile
/// would be reverted, or the key of the old address be offered for the new one.)
fn refuse_stale_check(tx: &Tx, checked: &Server) -> Result<()> {
    let now = get(tx, checked.id)?;
    if now.address() == checked.address() && now.host_key == checked.host_key {
        return Ok(());
    }
    let say = "Address or host key of this server were changed during the check. Run “Check SSH access” again.";
    Err(Error::new(Kind::Conflict, "server_changed", say))
}

/// Stores an offered key that is not accepted, for confirmation.
fn offer_host_key(tx: &Tx, checked: &Server, line: &str) -> Result<()> {
    refuse_stale_check(tx, checked)?;
    queries::set_host_key(tx, checked.id, "", line, HostKeyState::Pending)
}

/// A different key than the accepted one was offered: blocks all work, raises an alert.
fn host_key_changed(app: &App, tx: &Tx, server: &Server, line: &str) -> Result<()> {
    refuse_stale_check(tx, server)?;
    queries::set_host_key(tx, server.id, &server.host_key, line, HostKeyState::Changed)?;
    let fingerprint = |line: &str| {
        hostkey::parse(line.lines().next().unwrap_or_default())
            .map(|k| k.fingerprint)
            .unwrap_or_default()
    };
    let data = serde_json::json!({
        "name": server.fields.name, "accepted": fingerprint(&server.host_key), "offered": fingerprint(line),
    });
    outbox::emit(
        tx,
        &app.wakes.events,
        "host.key_changed",
        ("server", server.id.get()),
        &data,
    )
}

/// The offered key is the accepted one again (the old machine is back).
fn host_key_restored(app: &App, tx: &Tx, server: &Server) -> Result<()> {
    refuse_stale_check(tx, server)?;
    queries::set_host_key(tx, server.id, &server.host_key, "", HostKeyState::Pinned)?;
    let data = serde_json::json!({ "name": server.fields.name });
    outbox::emit(
        tx,
        &app.wakes.events,
        "host.key_restored",
        ("server", server.id.get()),
        &data,
    )
}

/// Set by `metrics`: result of the last polls.
pub fn set_availability(tx: &Tx, id: Id<id::Server>, availability: &Availability) -> Result<()> {
    queries::set_availability(tx, id, availability)
}

/// Set by `metrics`: addresses of the server's name and, if they indicate another machine, a sentence.
pub fn set_addresses(tx: &Tx, id: Id<id::Server>, addresses: &str, moved: Option<&(Ms, String)>) -> Result<()> {
    queries::set_addresses(tx, id, addresses)?;
    moved.map_or(Ok(()), |(at, seen)| queries::set_moved(tx, id, *at, seen))
}

/// Defaults of a new server; some come from settings.
pub fn fresh(conn: &Conn) -> Result<Fields> {
    let allow = settings::GLANCES_ALLOW.text(conn)?;
    Ok(Fields {
        glances_allow: check::words(&allow).map(String::from).collect(),
        glances_bind: settings::GLANCES_BIND.text(conn)?,
        ..Fields::default()
    })
}

/// Set by `metrics`: API version and path that answered.
pub fn set_glances_seen(tx: &Tx, id: Id<id::Server>, api: i64, path: &str) -> Result<()> {
    queries::set_glances_seen(tx, id, api, path)
}
