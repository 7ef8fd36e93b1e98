//! Tasks on servers over ssh. Each checks the host key first: an unknown one is stored for confirmation, a changed one
//! blocks the task.

use super::connection::{self, ServerConnection};
use super::host_key;
use super::model::{self, Fields};
use super::secrets;
use super::settings;
use super::{HostKeyState, Server, queries};
use crate::access::Allowed;
use crate::access::right::{self, may};
use crate::app::App;
use crate::availability;
use crate::base::clock;
use crate::base::error::{self, Error, Result};
use crate::base::host::Guest;
use crate::base::id::{self, Id};
use crate::base::secret::Secret;
use crate::db::Tx;
use crate::events::outbox::{self, Event};
use crate::form::Input;
use crate::form::param::{self, Param};
use crate::lang::Lang;
use crate::provision::engines::{self, Way};
use crate::provision::recipes::{FRONT_PORT, GLANCES_PORT};
use crate::provision::wheels;
use crate::provision::{self, Glances, Profile, Recipe, Source, recipes};
use crate::ssh::{Job, Target};
use crate::task::queue::{self, Ended};
use crate::task::worker::Run;
use crate::task::{ByClock, Class, Kind, NewTask, Outcome, Tries};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Kind: reads the host key.
pub const READ_HOST_KEY: &str = "server.look_host_key";
/// Kind: checks login, sudo and system.
pub const CHECK_SSH: &str = "server.check_ssh";
/// Kind: installs and configures nginx.
pub const DEPLOY_PROXY: &str = "server.deploy_proxy";
/// Kind: installs Glances.
pub const INSTALL_GLANCES: &str = "server.install_glances";

/// Kind: removes Glances.
pub const REMOVE_GLANCES: &str = "server.remove_glances";

/// All kinds. Each is idempotent: its steps check before they change.
pub const TASKS: &[Kind] = &[
    Kind {
        name: READ_HOST_KEY,
        idempotent: true,
        class: Class::Quick,
        deadline: Duration::from_secs(30),
        tries: Tries::ONCE,
        locks: Kind::TARGET_ONLY,
        by_clock: None,
        run: read_host_key,
    },
    Kind {
        name: CHECK_SSH,
        idempotent: true,
        class: Class::Quick,
        deadline: Duration::from_secs(2 * 60),
        tries: Tries::ONCE,
        locks: Kind::TARGET_ONLY,
        by_clock: Some(ByClock {
            target: "server",
            right: may(right::Run, right::Servers),
        }),
        run: check_ssh,
    },
    Kind {
        name: DEPLOY_PROXY,
        idempotent: true,
        class: Class::Standard,
        deadline: Duration::from_secs(20 * 60),
        tries: Tries::ONCE,
        locks: Kind::TARGET_ONLY,
        by_clock: None,
        run: deploy_proxy,
    },
    Kind {
        name: INSTALL_GLANCES,
        idempotent: true,
        class: Class::Long,
        deadline: Duration::from_secs(40 * 60),
        tries: Tries::ONCE,
        locks: Kind::TARGET_ONLY,
        by_clock: None,
        run: install_glances,
    },
    Kind {
        name: REMOVE_GLANCES,
        idempotent: true,
        class: Class::Standard,
        deadline: Duration::from_secs(20 * 60),
        tries: Tries::ONCE,
        locks: Kind::TARGET_ONLY,
        by_clock: None,
        run: remove_glances,
    },
];

/// Enqueues reading of the host key, so that the fingerprint can be shown. Only one at a time: one that is under way, at an
/// address of before, is followed by another ([`look_again`]).
pub(super) fn enqueue_host_key_read(
    app: &App,
    tx: &Tx,
    id: Id<id::Server>,
    name: &str,
    by: Allowed<right::Edit, right::Servers>,
) -> Result<()> {
    if queue::open(tx, ("server", id.get()), |kind| kind == READ_HOST_KEY)?.is_some() {
        return Ok(());
    }
    let new = NewTask {
        kind: READ_HOST_KEY,
        target: ("server", id.get(), name),
        input: serde_json::json!({}),
    };
    queue::enqueue(tx, &app.wakes.tasks, &new, by).map(drop)
}

/// After a look whose server has moved meanwhile: at the new address nobody has looked.
fn look_again(app: &App, tx: &Tx, id: Id<id::Server>) -> Result<()> {
    match super::get(tx, id) {
        Err(e) if e.kind == error::Kind::NotFound => Ok(()), // removed since
        server => {
            let server = server?;
            match server.host_key_state {
                HostKeyState::Unknown => enqueue_host_key_read(app, tx, id, &server.fields.name, Allowed::by_daemon()),
                _ => Ok(()),
            }
        }
    }
}

/// Emits events for failed work on a server and for the next success of the same kind; both have it in `part`. A failed
/// check of a server that never passed one is not reported: somebody is setting it up. Host keys have their own alert.
pub fn react(app: &App, tx: &Tx, event: &Event) -> Result<()> {
    let Some(ended) = Ended::of(event) else { return Ok(()) };
    let Some(kind) = TASKS.iter().find(|k| k.name == ended.kind) else {
        return Ok(());
    };
    if kind.name == READ_HOST_KEY {
        let has_moved = ended.failure.is_some_and(|(code, _)| code == host_key::STALE);
        return if has_moved {
            look_again(app, tx, Id::new(ended.target.0))
        } else {
            Ok(())
        };
    }
    emit_work_ended(app, tx, &ended, kind.title(Lang::En))
}

/// The same for another feature's kind of task on a server; `title` is the kind's.
pub fn emit_work_ended(app: &App, tx: &Tx, ended: &Ended, title: &str) -> Result<()> {
    let (id, name) = &ended.target;
    let known = match super::get(tx, Id::new(*id)) {
        Err(e) if e.kind == error::Kind::NotFound => return Ok(()), // removed since
        server => server?.facts_at.is_some(),
    };
    let mut data = serde_json::json!({ "name": name, "part": ended.kind });
    let event = match &ended.failure {
        None if ended.ok => "server.deploy_ok",
        None => return Ok(()),
        Some((code, _)) if code.starts_with("ssh_host_key") => return Ok(()),
        Some(_) if ended.kind == CHECK_SSH && !known => return Ok(()),
        Some((code, say)) => {
            data["evidence"] = serde_json::json!([title, say, code]);
            "server.deploy_failed"
        }
    };
    outbox::emit(tx, &app.wakes.events, event, ("server", *id), &data)
}

fn load(run: &Run) -> Result<Server> {
    run.app.db.read(|conn| super::get(conn, Id::new(run.target())))
}

/// First contact: stores the offered key; nothing else is sent.
fn read_host_key(run: &Run) -> Result<Outcome> {
    let server = load(run)?;
    if server.host_key_state == HostKeyState::Pinned {
        run.log.say("The host key has been accepted already.");
        return Ok(Outcome {
            changed: 0,
            commit: None,
        });
    }
    let scanned = connection::scan(&server, run.cancel);
    if scanned.is_err() {
        // What an address of before does not answer says nothing about the new one.
        run.app.db.read(|conn| host_key::refuse_stale_check(conn, &server))?;
    }
    let key = scanned?.into_iter().next().ok_or_else(connection::no_key)?;
    run.log.say(&format!(
        "The server shows {} {}. Compare it with the server's own: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
        key.kind(),
        key.fingerprint
    ));
    let commit = move |tx: &Tx| host_key::offer_host_key(tx, &server, &key.line);
    Ok(Outcome {
        changed: 0,
        commit: Some(Box::new(commit)),
    })
}

/// The connection to the server after checking its host key. Its secrets are masked in the log from here on.
pub fn connect(run: &Run) -> Result<ServerConnection> {
    let connection =
        ServerConnection::open_verified(run.app, Id::new(run.target()), run.cancel, &mut |say| run.log.say(say))?;
    connection.secrets().for_each(|secret| run.log.hide(secret));
    Ok(connection)
}

/// Runs a recipe and logs all progress.
fn provision(run: &Run, connection: &ServerConnection, recipe: &Recipe) -> Result<provision::Outcome> {
    connection.run(run.app, recipe, run.cancel, &mut run.on_progress(""))
}

/// Reads login, sudo and system information. Changes nothing.
fn check_ssh(run: &Run) -> Result<Outcome> {
    let connection = connect(run)?;
    let mut facts = provision(run, &connection, &recipes::check())?.facts;
    let sudo = try_sudo(run, &connection.target)?;
    facts.insert("sudo_works".into(), if sudo.is_ok() { "yes" } else { "no" }.into());
    match sudo {
        Ok(()) => run.log.say("Root: yes. Installing is possible."),
        Err(e) => {
            run.log.line(
                "warning",
                "task",
                "",
                &format!("Root: no, so nothing can be installed. {}", e.say),
            );
            facts.insert("sudo_problem".into(), e.say);
        }
    }
    say_engine(run, &facts, &connection.server.fields.username);
    let id = connection.server.id;
    let json = facts_json(&facts);
    let commit = move |tx: &Tx| queries::set_facts(tx, id, &json, clock::now());
    Ok(Outcome {
        changed: 0,
        commit: Some(Box::new(commit)),
    })
}

/// Says whether the containers of this server can be looked at, and if not, what mends it.
fn say_engine(run: &Run, facts: &BTreeMap<String, String>, user: &str) {
    let has_root = facts.get("sudo_works").is_some_and(|works| works == "yes");
    let (level, say) = match engines::way(facts, user) {
        Ok(Way::Open(socket)) => ("info", format!("Containers: by the socket {socket}.")),
        Ok(Way::Root(socket, _)) if has_root => ("info", format!("Containers: by the socket {socket}, through sudo.")),
        Ok(Way::Root(_, denied)) => ("warning", format!("Containers: no. {}", denied.say)),
        Err(e) if e.code == "engine_absent" => return,
        Err(e) => ("warning", format!("Containers: no. {}", e.say)),
    };
    run.log.line(level, "task", "", &say);
}

/// Runs `true` as root. The inner error says why root is not available; the outer one is any other failure.
fn try_sudo(run: &Run, target: &Target) -> Result<std::result::Result<(), Error>> {
    let job = Job {
        script: "true\n",
        root: true,
        deadline: Duration::from_secs(30),
    };
    match run.app.ssh.run(target, &job, run.cancel, &mut |_, _| {}) {
        Ok(_) => Ok(Ok(())),
        Err(e) if e.code.starts_with("sudo_") => Ok(Err(e)),
        Err(e) => Err(e),
    }
}

fn facts_json(facts: &BTreeMap<String, String>) -> String {
    serde_json::to_string(facts).unwrap_or_else(|_| "{}".into())
}

fn deploy_proxy(run: &Run) -> Result<Outcome> {
    let connection = connect(run)?;
    let done = provision(run, &connection, &recipes::nginx())?;
    let commit = keep_facts(&connection.server, done.facts);
    Ok(Outcome {
        changed: done.changed,
        commit: Some(Box::new(commit)),
    })
}

/// Merges new facts into those stored when the task ends.
fn keep_facts(server: &Server, fresh: BTreeMap<String, String>) -> impl FnOnce(&Tx) -> Result<()> + Send + use<> {
    let id = server.id;
    move |tx| {
        let stored = super::get(tx, id)?;
        let mut facts: BTreeMap<String, String> = serde_json::from_str(&stored.facts).unwrap_or_default();
        facts.extend(fresh);
        queries::set_facts(tx, id, &facts_json(&facts), stored.facts_at.unwrap_or_else(clock::now))
    }
}

/// Parameters of an installation of Glances, stored as the task's input. Never holds the password.
#[derive(Debug, Serialize, Deserialize)]
struct Install {
    profile: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    front_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    allow: Vec<String>,
    /// One of [`Source::NAMES`]; absent: the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
}

/// Accepted parameters of an installation.
pub const INSTALL: &[Param] = &[
    param::choice(
        "profile",
        &["protected", "bind", "open"],
        "Who reaches Glances: only us, one address, or anybody.",
    ),
    param::number("port", 1..=65535, "Where Glances listens."),
    param::number("front_port", 1..=65535, "Where nginx listens in front of it."),
    param::text("address", 4_096, "For `bind`: on which of the server's addresses."),
    param::words("allow", 64, 50, "Who may ask, besides us: addresses and blocks."),
    param::choice("source", &Source::NAMES, "Where the program comes from."),
];

/// Reads `{"profile":"protected|bind|open","port","front_port","address","allow":["controller","10.0.0.0/8"],
/// "source":"auto|package|wheels"}`; all are optional. Address and allowed clients default to the server's stored ones.
pub fn read_install(mut input: Input, f: &Fields) -> Result<serde_json::Value> {
    let i = &mut input;
    let profile = i.choice("profile");
    let profile = profile.unwrap_or(if f.glances_bind.is_empty() { "protected" } else { "bind" });
    let port = i.number("port").map(|n| n as u16);
    let front_port = i.number("front_port").map(|n| n as u16);
    let address = model::bind(i, "address", &f.host).unwrap_or_else(|| f.glances_bind.clone());
    let allow = model::guests(i, "allow").unwrap_or_else(|| f.glances_allow.clone());
    let source = i.choice("source").filter(|source| *source != Source::default().name());
    if profile == "bind" && address.is_empty() && !i.has_error("address") {
        i.wrong(
            "address",
            "required",
            "Say on which address of the server Glances shall listen.",
        );
    }
    input.finish(&[])?;
    let install = Install {
        profile: profile.into(),
        port,
        front_port,
        address: Some(address).filter(|_| profile == "bind"),
        allow,
        source: source.map(String::from),
    };
    serde_json::to_value(install).map_err(Error::internal)
}

fn install_glances(run: &Run) -> Result<Outcome> {
    let choice: Install = run.input()?;
    let connection = connect(run)?;
    let server = &connection.server;
    let mut desired = desired(run, server, &choice)?;
    if let Profile::Front { password, .. } = &desired.profile {
        run.log.hide(password);
    }
    bring_wheels(run, &connection, &mut desired)?;
    let mut done = provision(run, &connection, &recipes::glances(&desired)?)?;
    if let Some((port, from)) = done
        .facts
        .remove("front_walled")
        .as_deref()
        .and_then(|w| w.split_once(' '))
    {
        let say = format!(
            "ufw is on there, and no rule of it lets anybody reach port {port}: the lamp stays dark until one does. On the server: ufw allow from {from} to any port {port} proto tcp"
        );
        run.log.line("warning", "task", "", &say);
    }
    let had = !server.fields.glances_allow.is_empty() && server.fields.glances_scheme == "http";
    if let Some(firewall) = desired.firewall(server.fields.ssh_port, had) {
        let result = connection.firewall(run.app, &firewall, run.cancel, &mut run.on_progress(""));
        done.changed += result?.changed;
    }
    keep_glances(run, server, choice.allow, desired, done)
}

/// Sends the bundle to a server that will need it, before the installing job.
fn bring_wheels(run: &Run, connection: &ServerConnection, desired: &mut Glances) -> Result<()> {
    let path = run.app.db.read(|conn| settings::GLANCES_BUNDLE.text(conn))?;
    let package = connection.bundled(run.app, &recipes::glances(desired)?, "glances", run.cancel)?;
    if desired.source == Source::Package || (path.is_empty() && package.is_none()) {
        return Ok(());
    }
    let bundle = match path.is_empty() {
        true => Err(no_wheels()),
        false => wheels::summary(&path),
    };
    if let Ok(bundle) = &bundle {
        desired.bundle = bundle.sha256.clone();
    }
    // A separate job, but not a step of this task: it only inspects.
    let checked = connection.run(run.app, &recipes::glances_source(desired)?, run.cancel, &mut |_| {})?;
    let from = checked.facts.get("way").map_or("", String::as_str);
    if from == "there" {
        return Ok(());
    }
    if package.unwrap_or(from.starts_with("package ")) && desired.source == Source::Auto {
        return Ok(());
    }
    let bundle = bundle?;
    run.log.say(&format!(
        "Glances {} comes from the bundle {}: {} wheels, SHA-256 {}. It goes to the server now.",
        bundle.glances.join(", "),
        bundle.path,
        bundle.wheels,
        bundle.sha256
    ));
    let pushed = wheels::push(&run.app.ssh, &connection.target, &bundle, run.cancel);
    connection.record_host_key_change(run.app, run.cancel, pushed)
}

/// Where a server may not ask the index, pip has nothing to install from.
fn no_wheels() -> Error {
    let say = "Packages for this server come from a bundle. It has no Glances that fits, and no bundle of wheels is named in the settings.";
    Error::new(error::Kind::Conflict, "wheels_unfit", say)
}

/// Removes what was installed; the server is then pending.
fn remove_glances(run: &Run) -> Result<Outcome> {
    let connection = connect(run)?;
    let server = &connection.server;
    let mut done = provision(run, &connection, &recipes::glances_gone())?;
    if !server.fields.glances_allow.is_empty() && server.fields.glances_scheme == "http" {
        let firewall = provision::Firewall {
            ssh_port: server.fields.ssh_port,
            port: server.fields.glances_port,
            allow: Vec::new(),
            revert: provision::Firewall::REVERT,
        };
        let result = connection.firewall(run.app, &firewall, run.cancel, &mut run.on_progress(""));
        done.changed += result?.changed;
    }
    let mut f = server.fields.clone();
    f.glances_host = String::new();
    f.glances_tls_pin = String::new();
    f.glances_username = String::new();
    f.glances_scheme = "http";
    f.glances_port = GLANCES_PORT;
    f.glances_auth_type = "none";
    let id = server.id;
    let commit = move |tx: &Tx| {
        queries::set_glances(tx, id, &f, "unknown")?;
        queries::set_sealed(tx, id, "glances_password", None)?;
        queries::set_newcomer(tx, id, clock::now())?;
        availability::record(tx, ("server", id.get()), availability::State::Unknown, clock::now(), "")?;
        let stored = super::get(tx, id)?;
        let mut facts: BTreeMap<String, String> = serde_json::from_str(&stored.facts).unwrap_or_default();
        facts.retain(|key, _| !key.starts_with("glances") && key != "tls_sha256");
        queries::set_facts(tx, id, &facts_json(&facts), stored.facts_at.unwrap_or_else(clock::now))
    };
    Ok(Outcome {
        changed: done.changed,
        commit: Some(Box::new(commit)),
    })
}

/// Completes the parameters: stored values are reused, so that a second run changes nothing.
fn desired(run: &Run, server: &Server, choice: &Install) -> Result<Glances> {
    let f = &server.fields;
    let is_front = f.glances_scheme == "https" && f.glances_auth_type == "basic";
    let profile = match choice.profile.as_str() {
        "open" => Profile::Open,
        "bind" => {
            let address = choice.address.as_deref().and_then(|t| t.parse().ok());
            Profile::Bind(address.ok_or_else(|| Error::internal("no address to bind to"))?)
        }
        _ => {
            let stored = run
                .app
                .db
                .read(|conn| super::secret(run.app, conn, server.id, "glances_password"))?;
            match (Profile::front(), stored) {
                (Profile::Front { port, user, password }, stored) => Profile::Front {
                    port: choice
                        .front_port
                        .unwrap_or(if is_front { f.glances_port } else { port }),
                    user: if f.glances_username.is_empty() {
                        user
                    } else {
                        f.glances_username.clone()
                    },
                    password: stored.unwrap_or(password),
                },
                (other, _) => other,
            }
        }
    };
    let is_plain = f.glances_scheme == "http" && f.glances_port != FRONT_PORT;
    let port = choice
        .port
        .unwrap_or(if is_plain { f.glances_port } else { GLANCES_PORT });
    let allow = choice.allow.iter().filter_map(|t| Guest::parse(t).ok()).collect();
    Ok(Glances {
        port,
        profile,
        allow,
        source: Source::of(choice.source.as_deref().unwrap_or_default()),
        bundle: String::new(),
    })
}

/// Stores address and credentials of the installed Glances for the poller.
fn keep_glances(
    run: &Run,
    server: &Server,
    allow: Vec<String>,
    desired: Glances,
    done: provision::Outcome,
) -> Result<Outcome> {
    let fact = |key: &str| done.facts.get(key).cloned().unwrap_or_default();
    let mut f = server.fields.clone();
    f.glances_host = String::new();
    f.glances_allow = allow;
    f.glances_bind = String::new();
    f.glances_tls_pin = String::new();
    f.glances_username = String::new();
    f.glances_scheme = "http";
    f.glances_port = desired.port;
    f.glances_auth_type = "none";
    let mut password: Option<Secret> = None;
    let profile = match desired.profile {
        Profile::Open => "open",
        Profile::Bind(address) => {
            f.glances_host = address.to_string();
            f.glances_bind = address.to_string();
            "protected"
        }
        Profile::Front {
            port,
            user,
            password: secret,
        } => {
            f.glances_scheme = "https";
            f.glances_port = port;
            f.glances_auth_type = "basic";
            f.glances_username = user;
            f.glances_tls_pin = fact("tls_sha256").replace(':', "").to_ascii_lowercase();
            password = Some(secret);
            "protected"
        }
    };
    let id = server.id;
    let sealed = password
        .map(|p| run.app.vault.seal(secrets::place(id, "glances_password"), &p))
        .transpose()?;
    let facts = keep_facts(server, done.facts);
    let wake = run.app.wakes.events.clone();
    let name = server.fields.name.clone();
    let commit = move |tx: &Tx| {
        queries::set_glances(tx, id, &f, profile)?;
        if let Some(sealed) = &sealed {
            queries::set_sealed(tx, id, "glances_password", Some(sealed))?;
        }
        facts(tx)?;
        let data = serde_json::json!({ "name": name, "profile": profile });
        outbox::emit(tx, &wake, "server.provisioned", ("server", id.get()), &data)
    };
    Ok(Outcome {
        changed: done.changed,
        commit: Some(Box::new(commit)),
    })
}
