//! Access to servers by the system's `ssh`: one `ssh` process is one session; sessions of one credential share a
//! connection (ControlMaster), which stays open for a minute after the last. A session is a [`channel`] of bytes with
//! four uses:
//!
//! - [`Ssh::run`]: a job. One script as a user or root, its lines, its exit code, one deadline. Files are jobs, too.
//! - [`Ssh::follow`]: continuous output; survives broken connections without loss.
//! - [`Ssh::forward`]: a local Unix socket that leads to a socket there.
//! - [`Ssh::terminal`]: a person's shell.
//!
//! Each use has connections of its own, so that none starves another.
//!
//! Guarantees: the host key is pinned, and nothing is sent to a server with another one. A key lies on disk (0600,
//! runtime folder) only until the login is complete; passwords and passphrases never do: they are passed through a
//! one-shot socket ([`askpass`]) or the session's stdin, after the server asked for them. Values never become arguments
//! or environment variables. A script that is cancelled, late or disconnected ends on the server too, with all its
//! children.

use crate::base::clock::{Duration, Instant};
use crate::base::error::{Error, Kind, Result};
use crate::base::file;
use crate::base::host::{Host, UserName};
use crate::base::process::Cancel;
use crate::base::secret::Secret;
use crate::net::dial;
use crate::net::policy::Policy;
use std::path::PathBuf;

pub use crate::base::process::Stream;

pub mod error;
pub mod askpass;
pub mod hostkey;
mod argv;
mod master;
pub mod keys;
mod channel;
mod conversation;
mod job;
pub mod files;
pub mod follow;
pub mod forward;
pub mod terminal;

/// The ssh machine; one per process. Dropping it closes all connections.
pub struct Ssh {
    /// Our folder and the working folder of every `ssh`, so that options hold relative paths only: none is too long for
    /// a socket or contains a space or `%`.
    dir: PathBuf,
    /// Held as long as we live: who can lock it may sweep the folder.
    _lock: std::fs::File,
    /// Path of this program: `ssh` calls it for passwords.
    own: PathBuf,
    masters: master::Masters,
}

/// A login on a server.
#[derive(Debug, Clone)]
pub struct Target {
    /// Id of the server; separates connections.
    pub server: i64,
    /// Its address.
    pub host: Host,
    /// The port of its sshd.
    pub port: u16,
    /// Login user.
    pub user: UserName,
    /// Credential.
    pub auth: Auth,
    /// For [`Job::root`] if the user is not root and sudo wants a password.
    pub sudo_password: Option<Secret>,
    /// The pinned key, `ssh-ed25519 AAAA…`; one or more lines.
    pub host_key: String,
}

/// Credential of a login.
#[derive(Debug, Clone)]
pub enum Auth {
    /// A password.
    Password(Secret),
    /// A private key as [`keys::clean`] gives it.
    Key {
        /// PEM text.
        pem: Secret,
        /// If the key is encrypted.
        passphrase: Option<Secret>,
    },
}

/// What to run.
pub struct Job<'a> {
    /// Assignments (`base::shell::assignments`) and a constant text; at most 1 MiB. It runs under `sh` with `/dev/null`
    /// as stdin, in `/`, umask 022, `LC_ALL=C.UTF-8` and root's `PATH`.
    pub script: &'a str,
    /// As root: by sudo when the user is not.
    pub root: bool,
    /// Limit of the whole job, connecting included. Waiting for a slot, or for the login of another session that it
    /// will share, does not count.
    pub deadline: Duration,
}

/// Result of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// The script's exit code; 128 + n when signal n ended it.
    pub rc: i32,
    /// Is the login user root?
    pub user_is_root: bool,
    /// How that user may become root.
    pub sudo: Sudo,
    /// Milliseconds, connecting included.
    pub ms: u64,
}

/// How the login user can become root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sudo {
    /// It is root.
    Root,
    /// By sudo without password.
    NoPassword,
    /// By sudo with password; whether it is correct shows only in a job with [`Job::root`].
    Password,
    /// sudo refuses at once; its message.
    Refused(String),
    /// sudo is not installed.
    Absent,
}

impl Ssh {
    /// Opens the machine in its own folder under the runtime folder (created if needed, best on tmpfs), and removes
    /// what ended processes left there: connections, key files, sockets. Other running processes may use the same
    /// runtime folder. `own` is this program's absolute path. Error `runtime_dir_too_long`.
    pub fn open(runtime: PathBuf, own: PathBuf) -> Result<Ssh> {
        if runtime.as_os_str().len() > RUNTIME_MAX {
            return Err(Error::new(
                Kind::Config,
                "runtime_dir_too_long",
                format!(
                    "The runtime folder {} is too long: {RUNTIME_MAX} bytes at most.",
                    runtime.display()
                ),
            ));
        }
        file::private_dir(&runtime)?;
        master::sweep(&runtime)?;
        let (dir, lock) = master::make_dir(&runtime)?;
        Ok(Ssh {
            masters: master::Masters::default(),
            dir,
            own,
            _lock: lock,
        })
    }

    /// Runs a job; `on_line` gets each line as it comes, on this thread. An exit code other than 0 is not an error.
    /// Errors: the codes of [`error`].
    pub fn run(
        &self,
        target: &Target,
        job: &Job,
        cancel: &Cancel,
        on_line: &mut dyn FnMut(Stream, &str),
    ) -> Result<Done> {
        job::run(self, target, master::Class::Job, job, cancel, on_line)
    }

    /// The same by a login of its own, which no other session shares: it shows that the credential is good now.
    pub fn prove(
        &self,
        target: &Target,
        job: &Job,
        cancel: &Cancel,
        on_line: &mut dyn FnMut(Stream, &str),
    ) -> Result<Done> {
        job::run(self, target, master::Class::Proof, job, cancel, on_line)
    }

    /// Closes the connections of a server: its credentials changed, or it was removed.
    pub fn forget(&self, server: i64) {
        self.close(|one| one == server);
    }
}

impl Ssh {
    /// Closes all connections and removes the folder: nothing is asked of it afterwards.
    pub fn end(&self) {
        self.close(|_| true);
        let _ = std::fs::remove_dir_all(&self.dir); // else the next start does
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        self.end();
    }
}

/// The current addresses of a server, allowed by the policy; only these are tried, one after the other. The expected
/// host key depends on the server's id, not on its address.
fn settled(host: &Host, port: u16, at: &str, until: Instant) -> Result<Vec<Host>> {
    let ips = dial::allowed_addresses(host, port, Policy::of_server(host), until).map_err(|e| match e.code {
        "name_unknown" => error::at_error("ssh_name_unknown", at, &e.log),
        _ => e,
    })?;
    let hosts = ips.iter().map(|ip| Host::parse(&ip.to_string()));
    hosts.collect::<std::result::Result<_, _>>().map_err(Error::internal)
}

/// Could no connection be made? Then the next address is tried.
fn not_there(e: &Error) -> bool {
    ["ssh_refused", "ssh_no_route", "ssh_timeout"].contains(&e.code)
}

/// Longest runtime folder: a socket's path has 107 bytes (`unix(7)`), of which ours take 50.
const RUNTIME_MAX: usize = 56;
/// Folder of keys, known hosts and ssh's log during logins.
const FILES: &str = "files";
/// Folder of forwarded sockets.
const FORWARDS: &str = "fwd";

/// Path of a file in [`FILES`], relative to ssh's working folder.
fn relative(file: &file::TempFile) -> String {
    let name = file.path().file_name().unwrap_or_default();
    format!("{FILES}/{}", name.to_string_lossy())
}
