//! Everything that is done on a server goes through the system `ssh`: one `ssh` process is one session, and sessions of one
//! credential share a connection (ssh's ControlMaster), which stays for a minute after the last. A session is a
//! [`channel`] of bytes; on it stand four uses:
//!
//! - [`Ssh::run`]: a job. One script as some user or root, its lines, its exit code, one deadline. Files are jobs, too.
//! - [`Ssh::follow`]: a log. Lines for as long as there are any; survives broken connections without loss.
//! - [`Ssh::forward`]: a Unix socket here that leads to a socket there.
//! - [`Ssh::terminal`]: a person at a shell.
//!
//! Each use has connections of its own, so that none starves another.
//!
//! Promises: the host key is pinned, and nothing is sent to a server that shows another one. A key lies on disk (0600,
//! runtime folder) only until the login is over; passwords and passphrases never do: they go through a one-shot socket
//! ([`askpass`]) or the session's own stdin, after the server said that it wants one. No value ever becomes an argument or
//! an environment variable. A script that is cancelled, late or cut off ends on the server too, with all its children.

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

/// The machine; one for a process. Dropping it closes all connections.
pub struct Ssh {
    /// A folder of ours. It is the working folder of every `ssh`, so that no option holds an absolute path: none can be
    /// too long for a socket or have a space or `%` in it.
    dir: PathBuf,
    /// Held as long as we live: who can take it may sweep the folder.
    _lock: std::fs::File,
    /// This program: `ssh` calls it when it wants a password.
    own: PathBuf,
    masters: master::Masters,
}

/// Where to, as whom.
#[derive(Debug, Clone)]
pub struct Target {
    /// The server's number; its connections are told apart by it.
    pub server: i64,
    /// Its address.
    pub host: Host,
    /// The port of its sshd.
    pub port: u16,
    /// Who logs in.
    pub user: UserName,
    /// With what.
    pub auth: Auth,
    /// For [`Job::root`] when the user is not root and sudo wants one.
    pub sudo_password: Option<Secret>,
    /// The pinned key, `ssh-ed25519 AAAA…`; one or more lines.
    pub host_key: String,
}

/// What proves who we are.
#[derive(Debug, Clone)]
pub enum Auth {
    /// A password.
    Password(Secret),
    /// A private key as [`keys::clean`] gives it.
    Key {
        /// PEM text.
        pem: Secret,
        /// When the key is encrypted.
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
    /// For all of it, connecting included. What it waits for a place on a connection, or for the login of another job that
    /// it will share, does not count.
    pub deadline: Duration,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// The script's exit code; 128 + n when signal n ended it.
    pub rc: i32,
    /// The user that logged in is root.
    pub user_is_root: bool,
    /// How that user may become root.
    pub sudo: Sudo,
    /// Milliseconds, connecting included.
    pub ms: u64,
}

/// How the user that logs in may become root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sudo {
    /// It is root.
    Root,
    /// By sudo, which asks for no password.
    NoPassword,
    /// By sudo, which wants a password; whether it is the right one only a job with [`Job::root`] tells.
    Password,
    /// sudo says no at once; its words.
    Refused(String),
    /// There is no sudo.
    Absent,
}

impl Ssh {
    /// Opens the machine in a folder of its own under the runtime folder (made if needed, best on tmpfs), and sweeps
    /// what processes that are no more left there: connections, key files, sockets. Other living processes may use the
    /// same runtime folder. `own` is this program's absolute path. Error `runtime_dir_too_long`.
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
        let (dir, lock) = master::room(&runtime)?;
        Ok(Ssh {
            masters: master::Masters::default(),
            dir,
            own,
            _lock: lock,
        })
    }

    /// Runs a job; `on_line` gets each line as it comes, on this thread. A script's exit code other than 0 is not an
    /// error here. Errors: see [`error`].
    pub fn run(
        &self,
        target: &Target,
        job: &Job,
        cancel: &Cancel,
        on_line: &mut dyn FnMut(Stream, &str),
    ) -> Result<Done> {
        job::run(self, target, job, cancel, on_line)
    }

    /// Closes the connections of a server: its credentials changed, or it is gone.
    pub fn forget(&self, server: i64) {
        self.close(|one| one == server);
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        self.close(|_| true);
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Where a server is now: its addresses, judged like those of every other connection of ours, and then the only ones that
/// are gone to, one after the other. Whose key is wanted is told by its number, not by its address.
fn settled(host: &Host, port: u16, at: &str, until: Instant) -> Result<Vec<Host>> {
    let ips = dial::allowed_addresses(host, port, Policy::of_server(host), until).map_err(|e| match e.code {
        "name_unknown" => error::at_error("ssh_name_unknown", at, &e.log),
        _ => e,
    })?;
    let hosts = ips.iter().map(|ip| Host::parse(&ip.to_string()));
    hosts.collect::<std::result::Result<_, _>>().map_err(Error::internal)
}

/// Could no connection be made there? Then the next address may do.
fn not_there(e: &Error) -> bool {
    ["ssh_refused", "ssh_no_route", "ssh_timeout"].contains(&e.code)
}

/// A socket's path has 107 bytes (`unix(7)`); ours have 50 after the runtime folder's.
const RUNTIME_MAX: usize = 56;
/// Keys, known hosts and ssh's own log of the logins that are under way.
const FILES: &str = "files";
/// Forwarded sockets.
const FORWARDS: &str = "fwd";

/// A file of [`FILES`] as ssh, whose working folder is ours, finds it.
fn relative(file: &file::TempFile) -> String {
    let name = file.path().file_name().unwrap_or_default();
    format!("{FILES}/{}", name.to_string_lossy())
}
