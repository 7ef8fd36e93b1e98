//! The work done on servers over ssh. Every task looks at the host key first: an unknown one is kept for a person, a
//! changed one stops everything.

use super::{HostKeyState, Server, queries};
use crate::base::clock;
use crate::base::error::{Error, Kind as Failure, Result};
use crate::base::host::{Cidr, Host};
use crate::base::id::Id;
use crate::base::secret::Secret;
use crate::http::input::Input;
use crate::provision::recipes::{FRONT_PORT, GLANCES_PORT};
use crate::provision::{self, Glances, Profile, Recipe, Report, State, recipes};
use crate::ssh::{Auth, Job, Stream, Target, hostkey};
use crate::task::worker::Run;
use crate::task::{Kind, Outcome, StepView};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Name of a kind.
pub const LOOK_HOST_KEY: &str = "server.look_host_key";
/// Name of a kind.
pub const CHECK_SSH: &str = "server.check_ssh";
/// Name of a kind.
pub const DEPLOY_PROXY: &str = "server.deploy_proxy";
/// Name of a kind.
pub const INSTALL_GLANCES: &str = "server.install_glances";

/// All kinds. Each may run twice: its steps look before they change.
pub const TASKS: &[Kind] = &[
    Kind {
        name: LOOK_HOST_KEY,
        title: ["Look at the host key", "Посмотреть ключ узла"],
        twice_ok: true,
        deadline: Duration::from_secs(30),
        run: look_host_key,
    },
    Kind {
        name: CHECK_SSH,
        title: ["Check SSH access", "Проверить доступ по SSH"],
        twice_ok: true,
        deadline: Duration::from_secs(2 * 60),
        run: check_ssh,
    },
    Kind {
        name: DEPLOY_PROXY,
        title: ["Deploy reverse proxy", "Развернуть обратный прокси"],
        twice_ok: true,
        deadline: Duration::from_secs(20 * 60),
        run: deploy_proxy,
    },
    Kind {
        name: INSTALL_GLANCES,
        title: ["Install Glances", "Установить Glances"],
        twice_ok: true,
        deadline: Duration::from_secs(40 * 60),
        run: install_glances,
    },
];

/// How long a server may take to show its host key.
const SCAN_LIMIT: Duration = Duration::from_secs(10);

fn load(run: &Run) -> Result<Server> {
    run.app.db.read(|conn| super::get(conn, Id::new(run.target())))
}

/// First contact: the key is shown to a person, nothing else is sent.
fn look_host_key(run: &Run) -> Result<Outcome> {
    let server = load(run)?;
    if server.host_key_state == HostKeyState::Pinned {
        run.log.say("The host key has been accepted already.");
        return Ok(Outcome {
            changed: 0,
            commit: None,
        });
    }
    let key = scan(run, &server)?.into_iter().next().ok_or_else(no_key)?;
    run.log.say(&format!(
        "The server shows {} {}. Compare it with the server's own: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
        key.kind(),
        key.fingerprint
    ));
    let commit = move |tx: &crate::db::Tx| super::offer_host_key(tx, &server, &key.line);
    Ok(Outcome {
        changed: 0,
        commit: Some(Box::new(commit)),
    })
}

fn scan(run: &Run, server: &Server) -> Result<Vec<hostkey::HostKey>> {
    let host = Host::parse(&server.fields.host).map_err(Error::internal)?;
    hostkey::scan(&host, server.fields.ssh_port, SCAN_LIMIT, run.cancel)
}

fn no_key() -> Error {
    let say = "The server answers, but shows no host key that is taken here (Ed25519, ECDSA or RSA). Look at its sshd.";
    Error::new(Failure::Upstream, "ssh_no_host_key", say)
}

/// The way to the server, once its key is known to be the accepted one. Secrets are masked in the log from here on.
fn reach(run: &Run) -> Result<(Server, Target)> {
    let mut server = load(run)?;
    if server.host_key_state != HostKeyState::Pinned {
        server = settle_host_key(run, server)?;
    }
    // Address and secrets from one snapshot: never the password of one machine for the address of another.
    let (server, target) = run.app.db.read(|conn| {
        let server = super::get(conn, server.id)?;
        let target = super::target(run.app, conn, &server)?;
        Ok((server, target))
    })?;
    hide(run, &target);
    Ok((server, target))
}

fn hide(run: &Run, target: &Target) {
    match &target.auth {
        Auth::Password(password) => run.log.hide(password),
        Auth::Key { pem, passphrase } => {
            run.log.hide(pem);
            passphrase.iter().for_each(|p| run.log.hide(p));
        }
    }
    target.sudo_password.iter().for_each(|p| run.log.hide(p));
}

/// Looks at the offered key where none is accepted (kept as pending) or another one was (is it back to the accepted?).
fn settle_host_key(run: &Run, server: Server) -> Result<Server> {
    let offered = scan(run, &server)?;
    let accepted = |key: &hostkey::HostKey| server.host_key.lines().any(|line| line == key.line);
    if !server.host_key.is_empty() && offered.iter().any(accepted) {
        run.app.db.write(|tx| super::host_key_restored(run.app, tx, &server))?;
        run.log.say("The server shows the accepted host key again.");
        return load(run);
    }
    let key = offered.into_iter().next().ok_or_else(no_key)?;
    if server.host_key.is_empty() {
        run.app.db.write(|tx| super::offer_host_key(tx, &server, &key.line))?;
        let say = format!(
            "First contact: the server shows the host key {}. Compare it with the server's own, accept it, then run this again. Nothing was sent.",
            key.fingerprint
        );
        return Err(Error::new(Failure::Conflict, "ssh_host_key_pending", say));
    }
    run.app
        .db
        .write(|tx| super::host_key_changed(run.app, tx, &server, &key.line))?;
    Err(changed_key(&server, &key))
}

fn changed_key(server: &Server, offered: &hostkey::HostKey) -> Error {
    let accepted = server
        .host_key
        .lines()
        .next()
        .and_then(|l| hostkey::parse(l).ok())
        .map(|k| k.fingerprint);
    let say = format!(
        "The server shows the host key {}, not the accepted {}. Either it was set up anew, or somebody stands in between. Nothing was sent. Find out, then accept the new key.",
        offered.fingerprint,
        accepted.unwrap_or_default()
    );
    Error::new(Failure::Conflict, "ssh_host_key_changed", say)
}

/// When ssh refused the key, the offered one is kept and an alert is raised; any other failure passes through.
fn watch_key<T>(run: &Run, server: &Server, result: Result<T>) -> Result<T> {
    let Err(e) = result else { return result };
    if e.code != "ssh_host_key_changed" {
        return Err(e);
    }
    // The alert does not wait for a second look; what that shows is only the evidence.
    let offered = scan(run, server).ok().and_then(|keys| keys.into_iter().next());
    let line = offered.as_ref().map_or("", |key| &key.line);
    run.app
        .db
        .write(|tx| super::host_key_changed(run.app, tx, server, line))?;
    Err(offered.map_or(e, |key| changed_key(server, &key)))
}

/// Runs a recipe and tells everything into the task's log.
fn provision(run: &Run, server: &Server, target: &Target, recipe: &Recipe) -> Result<provision::Outcome> {
    let result = provision::run(&run.app.ssh, target, recipe, run.cancel, &mut |report| {
        tell(run, report)
    });
    watch_key(run, server, result)
}

fn tell(run: &Run, report: Report) {
    match report {
        Report::Step {
            index,
            total,
            step,
            state,
            ms,
        } => {
            let state = match state {
                State::Running => "running",
                State::Ok => "ok",
                State::Changed => "changed",
                State::Skipped => "skipped",
                State::Failed => "failed",
            };
            let view = StepView {
                name: step.id.into(),
                title: step.en.into(),
                state: state.into(),
                ms,
            };
            run.log.step(index as usize, total as usize, view);
        }
        Report::Command { line } => run.log.line("info", "command", "", line),
        Report::Ended { line, rc, ms } => {
            let level = if rc == 0 { "info" } else { "warning" };
            run.log
                .line(level, "command", "", &format!("rc {rc} after {ms} ms: {line}"));
        }
        Report::Line {
            stream: Stream::Stdout,
            text,
        } => run.log.line("info", "ssh", "stdout", text),
        Report::Line {
            stream: Stream::Stderr,
            text,
        } => run.log.line("info", "ssh", "stderr", text),
        Report::Fact { key, value } => run.log.line("info", "fact", "", &format!("{key}: {value}")),
    }
}

/// Who are we there, may we become root, what machine is it. Changes nothing.
fn check_ssh(run: &Run) -> Result<Outcome> {
    let (server, target) = reach(run)?;
    let mut facts = provision(run, &server, &target, &recipes::check())?.facts;
    let sudo = try_sudo(run, &target)?;
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
    let id = server.id;
    let json = facts_json(&facts);
    let commit = move |tx: &crate::db::Tx| queries::set_facts(tx, id, &json, clock::now());
    Ok(Outcome {
        changed: 0,
        commit: Some(Box::new(commit)),
    })
}

/// Runs `true` as root. The inner error says why root cannot be had; the outer one is any other failure.
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
    let (server, target) = reach(run)?;
    let done = provision(run, &server, &target, &recipes::nginx())?;
    let commit = keep_facts(&server, done.facts);
    Ok(Outcome {
        changed: done.changed,
        commit: Some(Box::new(commit)),
    })
}

/// Adds what was found out to the facts that are stored by the time the task ends.
fn keep_facts(
    server: &Server,
    fresh: BTreeMap<String, String>,
) -> impl FnOnce(&crate::db::Tx) -> Result<()> + Send + use<> {
    let id = server.id;
    move |tx| {
        let stored = super::get(tx, id)?;
        let mut facts: BTreeMap<String, String> = serde_json::from_str(&stored.facts).unwrap_or_default();
        facts.extend(fresh);
        queries::set_facts(tx, id, &facts_json(&facts), stored.facts_at.unwrap_or_else(clock::now))
    }
}

/// What a person chose for Glances; kept as the task's input. The password is never part of it.
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
}

/// Reads `{"profile":"protected|bind|open","port","front_port","address","allow":["10.0.0.0/8"]}`; all may be absent.
pub fn read_install(mut input: Input) -> Result<serde_json::Value> {
    let i = &mut input;
    let profile = i
        .choice("profile", &["protected", "bind", "open"])
        .unwrap_or("protected");
    let port = i.number("port", 1..=65535).map(|n| n as u16);
    let front_port = i.number("front_port", 1..=65535).map(|n| n as u16);
    let address = i.parse("address", "bad_address", |t| {
        t.parse::<std::net::IpAddr>()
            .map(|ip| ip.to_string())
            .map_err(|_| "Give one of the server's own IP addresses.".to_string())
    });
    let allow = i.list("allow", 64, 50).unwrap_or_default();
    if let Some(why) = allow.iter().find_map(|t| Cidr::parse(t).err()) {
        i.wrong("allow", "bad_block", why);
    }
    if profile == "bind" && address.is_none() && !i.has_error("address") {
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
        address,
        allow,
    };
    serde_json::to_value(install).map_err(Error::internal)
}

fn install_glances(run: &Run) -> Result<Outcome> {
    let choice: Install = run.input()?;
    let (server, target) = reach(run)?;
    let wish = wish(run, &server, &choice)?;
    if let Profile::Front { password, .. } = &wish.profile {
        run.log.hide(password);
    }
    let mut done = provision(run, &server, &target, &recipes::glances(&wish)?)?;
    if let Some(firewall) = wish.firewall(server.fields.ssh_port) {
        let result = provision::firewall(&run.app.ssh, &target, &firewall, run.cancel, &mut |report| {
            tell(run, report)
        });
        done.changed += watch_key(run, &server, result)?.changed;
    }
    keep_glances(run, &server, wish, done)
}

/// The choice made complete: what is stored already is used again, so that a second run changes nothing.
fn wish(run: &Run, server: &Server, choice: &Install) -> Result<Glances> {
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
    let allow = choice.allow.iter().filter_map(|t| Cidr::parse(t).ok()).collect();
    Ok(Glances { port, profile, allow })
}

/// From now on the poller asks where Glances was put, with the credentials it was given.
fn keep_glances(run: &Run, server: &Server, wish: Glances, done: provision::Outcome) -> Result<Outcome> {
    let fact = |key: &str| done.facts.get(key).cloned().unwrap_or_default();
    let mut f = server.fields.clone();
    f.glances_host = String::new();
    f.glances_tls_pin = String::new();
    f.glances_username = String::new();
    f.glances_scheme = "http";
    f.glances_port = wish.port;
    f.glances_auth_type = "none";
    let mut password: Option<Secret> = None;
    let profile = match wish.profile {
        Profile::Open => "open",
        Profile::Bind(address) => {
            f.glances_host = address.to_string();
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
        .map(|p| run.app.vault.seal(super::place(id, "glances_password"), &p))
        .transpose()?;
    let facts = keep_facts(server, done.facts);
    let wake = run.app.wakes.events.clone();
    let name = server.fields.name.clone();
    let commit = move |tx: &crate::db::Tx| {
        queries::set_glances(tx, id, &f, profile)?;
        if let Some(sealed) = &sealed {
            queries::set_sealed(tx, id, "glances_password", Some(sealed))?;
        }
        facts(tx)?;
        let data = serde_json::json!({ "name": name, "profile": profile });
        crate::events::outbox::emit(tx, &wake, "server.provisioned", ("server", id.get()), &data)
    };
    Ok(Outcome {
        changed: done.changed,
        commit: Some(Box::new(commit)),
    })
}
