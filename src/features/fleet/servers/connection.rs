//! Connections to servers. An unknown host key is stored for confirmation, a changed one blocks all work; address and
//! secrets are read in one snapshot, so that a password never goes to another machine.

use super::host_key::{host_key_changed, host_key_restored, offer_host_key};
use super::model::AuthType;
use super::secrets::secret;
use super::{HostKeyState, Server};
use crate::app::App;
use crate::base::error::{Error, Kind, Result};
use crate::base::host::{Host, UserName};
use crate::base::id::{self, Id};
use crate::base::process::Cancel;
use crate::base::secret::Secret;
use crate::db::Conn;
use crate::events::outbox;
use crate::provision::bundle::{self, Bundle};
use crate::provision::site::Off;
use crate::provision::{self, Debs, Firewall, Outcome, Progress, Recipe, recipes};
use crate::ssh::follow::{Follow, Source};
use crate::ssh::forward::{Forward, Remote};
use crate::ssh::{Auth, Done, Job, Stream, Target, hostkey};
use std::io::Write;
use std::time::Duration;

/// Limit for reading the host key.
const SCAN_LIMIT: Duration = Duration::from_secs(10);

/// Event: a job disabled sites of ours that nginx rejected.
pub const SITES_OFF: &str = "server.sites_off";

/// The ssh target of a server. Error: its host key is not accepted.
fn target(app: &App, conn: &Conn, server: &Server) -> Result<Target> {
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

/// A server with its credentials.
pub struct ServerConnection {
    /// Its row.
    pub server: Server,
    pub(super) target: Target,
}

impl ServerConnection {
    /// The connection by stored data. Error: the host key is not accepted.
    pub fn of(app: &App, id: Id<id::Server>) -> Result<ServerConnection> {
        app.db.read(|conn| {
            let server = super::get(conn, id)?;
            let target = target(app, conn, &server)?;
            Ok(ServerConnection { server, target })
        })
    }

    /// As [`ServerConnection::of`], after reading the offered key if none is accepted (stored as pending) or if a
    /// different one was offered before.
    pub fn open_verified(
        app: &App,
        id: Id<id::Server>,
        cancel: &Cancel,
        say: &mut dyn FnMut(&str),
    ) -> Result<ServerConnection> {
        let server = app.db.read(|conn| super::get(conn, id))?;
        if server.host_key_state != HostKeyState::Pinned {
            verify_host_key(app, &server, cancel, say)?;
        }
        ServerConnection::of(app, id)
    }

    /// Secrets to mask in output of this server.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        let (first, second) = match &self.target.auth {
            Auth::Password(password) => (password, None),
            Auth::Key { pem, passphrase } => (pem, passphrase.as_ref()),
        };
        [Some(first), second, self.target.sudo_password.as_ref()]
            .into_iter()
            .flatten()
    }

    /// How it is reached.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Opens a local socket that leads to one there. Errors: those of [`crate::ssh::Ssh::forward`].
    pub fn forward<'a>(&'a self, app: &'a App, remote: &Remote, cancel: &Cancel) -> Result<Forward<'a>> {
        app.ssh.forward(&self.target, remote, cancel)
    }

    /// Follows what a script says. Errors: none before the first [`Follow::next`].
    pub fn follow<'a>(&'a self, app: &'a App, source: Source<'a>) -> Follow<'a> {
        app.ssh.follow(&self.target, source, None)
    }

    /// Runs a recipe. A changed host key raises its alert; disabled sites emit their event, whatever the result.
    pub fn run(
        &self,
        app: &App,
        recipe: &Recipe,
        cancel: &Cancel,
        on_progress: &mut dyn FnMut(Progress),
    ) -> Result<Outcome> {
        let debs = self.debs(app, recipe, cancel, on_progress)?;
        let mut off = Vec::new();
        let result = provision::run_with(&app.ssh, &self.target, recipe, &debs, cancel, &mut |progress| {
            off.extend(Off::told(&progress));
            on_progress(progress);
        });
        if !off.is_empty() {
            let data = serde_json::json!({ "name": self.server.fields.name, "off": off });
            let of = ("server", self.server.id.get());
            app.db
                .write(|tx| outbox::emit(tx, &app.wakes.events, SITES_OFF, of, &data))?;
        }
        self.record_host_key_change(app, cancel, result)
    }

    /// Runs a script that is no recipe. A changed host key raises its alert.
    pub fn job(&self, app: &App, job: &Job, cancel: &Cancel, on_line: &mut dyn FnMut(Stream, &str)) -> Result<Done> {
        let done = app.ssh.run(&self.target, job, cancel, on_line);
        self.record_host_key_change(app, cancel, done)
    }

    /// Sends a file's bytes there, as [`provision::stage`].
    pub fn stage(
        &self,
        app: &App,
        size: u64,
        cancel: &Cancel,
        write: &mut dyn FnMut(&mut dyn Write) -> Result<()>,
    ) -> Result<String> {
        let staged = provision::stage(&app.ssh, &self.target, size, cancel, write);
        self.record_host_key_change(app, cancel, staged)
    }

    /// Sets the firewall up, as [`provision::firewall`].
    pub fn firewall(
        &self,
        app: &App,
        desired: &Firewall,
        cancel: &Cancel,
        on_progress: &mut dyn FnMut(Progress),
    ) -> Result<Outcome> {
        let debs = self.debs(app, &recipes::firewall(desired)?, cancel, on_progress)?;
        let result = provision::firewall(&app.ssh, &self.target, desired, &debs, cancel, on_progress);
        self.record_host_key_change(app, cancel, result)
    }

    /// Where the recipe's packages come from. Where that is a bundle, the server has what it lacks of it when this returns,
    /// and nothing was changed before it was known that the bundle fits.
    fn debs(&self, app: &App, recipe: &Recipe, cancel: &Cancel, on_progress: &mut dyn FnMut(Progress)) -> Result<Debs> {
        if !self.server.fields.from_bundle() || recipe.installs.is_empty() {
            return Ok(Debs::Own);
        }
        let (suite, arch, lacks) = self.asked(app, recipe, cancel)?;
        if lacks.is_empty() {
            return Ok(Debs::Nothing);
        }
        let bundle = Bundle::fitting(&app.config.data_dir, &suite, &arch)?;
        let say = &mut |text: &str| {
            on_progress(Progress::Line {
                stream: Stream::Stdout,
                text,
            });
        };
        let brought = bundle::bring(&app.ssh, &self.target, &bundle, &lacks, cancel, say);
        self.record_host_key_change(app, cancel, brought)
    }

    /// Release and architecture of the server, and what it lacks of the recipe's programs. A separate job, but not a step
    /// of the task: it only inspects.
    fn asked(&self, app: &App, recipe: &Recipe, cancel: &Cancel) -> Result<(String, String, String)> {
        let asked = provision::run(&app.ssh, &self.target, &bundle::ask(recipe)?, cancel, &mut |_| {});
        let mut facts = self.record_host_key_change(app, cancel, asked)?.facts;
        let mut fact = |key| facts.remove(key).unwrap_or_default();
        Ok((fact("suite"), fact("dpkg_arch"), fact("lacks")))
    }

    /// Whether a package of this name is to be had where the server's packages come from a bundle; nothing where they do
    /// not. Error: there is no bundle for it.
    pub(super) fn bundled(&self, app: &App, recipe: &Recipe, package: &str, cancel: &Cancel) -> Result<Option<bool>> {
        if !self.server.fields.from_bundle() {
            return Ok(None);
        }
        let (suite, arch, _) = self.asked(app, recipe, cancel)?;
        let bundle = Bundle::fitting(&app.config.data_dir, &suite, &arch)?;
        Ok(Some(bundle.version(package).is_some()))
    }

    /// If ssh refused the host key, stores the offered one and raises an alert; other failures pass through.
    pub fn record_host_key_change<T>(&self, app: &App, cancel: &Cancel, result: Result<T>) -> Result<T> {
        let Err(e) = result else { return result };
        if e.code != "ssh_host_key_changed" {
            return Err(e);
        }
        // The alert does not wait for reading the key again, which only adds evidence.
        let offered = scan(&self.server, cancel).ok().and_then(|keys| keys.into_iter().next());
        let line = offered.as_ref().map_or("", |key| &key.line);
        app.db.write(|tx| host_key_changed(app, tx, &self.server, line))?;
        Err(offered.map_or(e, |key| changed_key(&self.server, &key)))
    }
}

/// Reads the host keys of a server; nothing else is sent.
pub(super) fn scan(server: &Server, cancel: &Cancel) -> Result<Vec<hostkey::HostKey>> {
    let host = Host::parse(&server.fields.host).map_err(Error::internal)?;
    hostkey::scan(&host, server.fields.ssh_port, SCAN_LIMIT, cancel)
}

pub(super) fn no_key() -> Error {
    let say = "The server answers, but shows no supported host key (Ed25519, ECDSA or RSA). Check its sshd.";
    Error::new(Kind::Upstream, "ssh_no_host_key", say)
}

fn verify_host_key(app: &App, server: &Server, cancel: &Cancel, say: &mut dyn FnMut(&str)) -> Result<()> {
    let offered = scan(server, cancel)?;
    let accepted = |key: &hostkey::HostKey| server.host_key.lines().any(|line| line == key.line);
    if !server.host_key.is_empty() && offered.iter().any(accepted) {
        app.db.write(|tx| host_key_restored(app, tx, server))?;
        say("The server shows the accepted host key again.");
        return Ok(());
    }
    let key = offered.into_iter().next().ok_or_else(no_key)?;
    if server.host_key.is_empty() {
        app.db.write(|tx| offer_host_key(tx, server, &key.line))?;
        let say = format!(
            "First contact: the server shows the host key {}. Compare it with the server's own, accept it, then run this again. Nothing was sent.",
            key.fingerprint
        );
        return Err(Error::new(Kind::Conflict, "ssh_host_key_pending", say));
    }
    app.db.write(|tx| host_key_changed(app, tx, server, &key.line))?;
    Err(changed_key(server, &key))
}

fn changed_key(server: &Server, offered: &hostkey::HostKey) -> Error {
    let accepted = server
        .host_key
        .lines()
        .next()
        .and_then(|l| hostkey::parse(l).ok())
        .map(|k| k.fingerprint);
    let say = format!(
        "The server shows the host key {}, not the accepted {}. Either it was set up again, or the connection is intercepted. Nothing was sent. Find out, then accept the new key.",
        offered.fingerprint,
        accepted.unwrap_or_default()
    );
    Error::new(Kind::Conflict, "ssh_host_key_changed", say)
}
