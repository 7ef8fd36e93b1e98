//! Forwards a socket of a server: a private Unix socket in the runtime folder leads to a Unix socket or TCP port there.
//! One forward carries any number of connections (sshd's `MaxSessions` does not count them).
//!
//! `ssh -O forward` always succeeds; a refusal shows at the first connection, which the server closes. The reason is in
//! the master's log, where [`Forward::explain`] reads it. An idle session keeps the master alive, since ssh closes a
//! connection on which it only listens.

use super::channel::{Channel, Noise, greeted};
use super::error::{self, error};
use super::master::{Class, SessionSlot};
use super::{FORWARDS, Job, Ssh, Target, argv};
use crate::base::clock::{self, Duration, Instant};
use crate::base::error::{Error, Kind, Result};
use crate::base::host::Host;
use crate::base::process::{Cancel, Event};
use crate::base::{file, random, shell, text};
use std::fs;
use std::path::{Path, PathBuf};

/// Reports the login, and ends with its stdin.
const HOLD: &str = "read -r mark; printf '\\n%s hello\\n' \"$mark\"; exec cat >/dev/null";
/// Limit of connecting and login.
const OPEN_MAX: Duration = Duration::from_secs(45);
/// A listening socket has the flag SO_ACCEPTCON in /proc/net/unix, with the path that it was bound to.
const LISTENS: &str = r#"real=$(readlink -f "$SOCKET")
[ -w "$SOCKET" ] && awk -v a="$SOCKET" -v b="$real" '$4 == "00010000" && ($8 == a || $8 == b) { found = 1 } END { exit !found }' /proc/net/unix"#;
const LISTENS_MAX: Duration = Duration::from_secs(20);
/// Wait for events that have already happened.
const AT_ONCE: Duration = Duration::from_millis(5);
/// Longest path of a Unix socket (`unix(7)`).
const SOCKET_MAX: usize = 107;
const LOG_MAX: u64 = 64 * 1024;

/// Target on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remote {
    /// The absolute path of a Unix socket.
    Unix(String),
    /// A TCP port seen from the server: its own (`127.0.0.1`) or a neighbour's.
    Tcp(Host, u16),
}

/// An open forward. Dropping it removes the socket and its connections.
pub struct Forward<'a> {
    ssh: &'a Ssh,
    target: &'a Target,
    path: PathBuf,
    remote: Remote,
    /// Argument of `ssh -L`.
    route: String,
    hold: Channel<'a>,
    slot: SessionSlot<'a>,
}

impl Ssh {
    /// Opens a local socket that leads to `remote`. Errors: those of a login, `forward_path`, `forward_failed`,
    /// `ssh_sessions_full`.
    pub fn forward<'a>(&'a self, target: &'a Target, remote: &Remote, cancel: &Cancel) -> Result<Forward<'a>> {
        let path = self.dir.join(FORWARDS).join(&random::name()[..16]);
        let route = route(&path, remote)?;
        let (hold, slot, _) = greeted(
            self,
            target,
            Class::Forward,
            None,
            OPEN_MAX,
            cancel,
            &mut |channel, slot, until, cancel| held(channel, target, slot, until, cancel),
        )?;
        let forward = Forward {
            ssh: self,
            target,
            path,
            remote: remote.clone(),
            route,
            hold,
            slot,
        };
        let told = forward.slot.forward(self, "forward", &forward.route)?;
        match told.rc {
            0 => Ok(forward),
            _ => Err(error("forward_failed", target, &told.stderr)),
        }
    }
}

impl Forward<'_> {
    /// The socket, for [`net::http`](crate::net::http) or any other client.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Is the connection still there? A lost one is not restored: drop it and forward again.
    pub fn is_open(&mut self) -> bool {
        loop {
            match self.hold.next(clock::mono() + AT_ONCE, &Cancel::new()) {
                Event::Output(..) => {}
                Event::End => return false,
                Event::Late | Event::Cancelled => return true,
            }
        }
    }

    /// The reason for a client's failure on this socket: the server forbids forwarding, nothing listens there, or the
    /// connection is lost.
    pub fn explain(&mut self, failure: Error, cancel: &Cancel) -> Error {
        if !self.is_open() {
            return self.hold.lost(&Noise::new());
        }
        let said = self.slot.log().and_then(|log| {
            let said = file::read_limited(log.path(), LOG_MAX).ok()?;
            // ssh appends: parts that were read are not read again, and a large log is truncated.
            let _ = fs::File::options().write(true).truncate(true).open(log.path());
            Some(String::from_utf8_lossy(&said).into_owned())
        });
        let Some(said) = said.as_deref().and_then(error::forward_refused) else {
            return failure;
        };
        let forbidden = match &self.remote {
            Remote::Tcp(..) => said.contains("administratively prohibited"),
            // For a Unix socket sshd reports the same whether it forbids it or could not open it.
            Remote::Unix(path) => self.listens(path, cancel).unwrap_or(false),
        };
        error::forward(self.target, forbidden, said)
    }

    /// Does anything listen there, and may this user connect?
    fn listens(&self, path: &str, cancel: &Cancel) -> Result<bool> {
        let job = Job {
            script: &(shell::assignments(&[("SOCKET", path)])? + LISTENS),
            root: false,
            deadline: LISTENS_MAX,
        };
        Ok(self.ssh.run(self.target, &job, cancel, &mut |_, _| {})?.rc == 0)
    }
}

impl Drop for Forward<'_> {
    fn drop(&mut self) {
        // A master that is gone has nothing to cancel.
        let _ = self.slot.forward(self.ssh, "cancel", &self.route);
        let _ = fs::remove_file(&self.path); // ssh does not remove it
    }
}

/// Waits for the holding session's message.
fn held<'a>(
    mut channel: Channel<'a>,
    target: &Target,
    slot: &SessionSlot,
    until: Instant,
    cancel: &Cancel,
) -> Result<Channel<'a>> {
    let mark = random::name();
    let hello = format!("{mark} hello");
    channel.send(
        [argv::COMMAND, argv::COMMAND, HOLD, argv::GO, &mark, ""]
            .join("\n")
            .as_bytes(),
    );
    let (mut lines, mut noise) = (crate::base::process::LineReader::new(1_024), Noise::new());
    loop {
        match lines.next(channel.running(), until, cancel) {
            Event::Output(_, line) if line == hello => break,
            Event::Output(stream, line) => {
                noise.truncate(20);
                noise.push_back((stream, text::one_line(&line, 300)));
            }
            Event::End => return Err(channel.not_logged_in(&noise)),
            Event::Cancelled => return Err(error("cancelled", target, "before the login")),
            Event::Late => return Err(channel.not_greeted(&noise)),
        }
    }
    channel.logged_in(slot);
    Ok(channel)
}

/// The argument of `-L`. No part may contain a separator of its grammar.
fn route(local: &Path, remote: &Remote) -> Result<String> {
    let local = local.to_string_lossy();
    let there = match remote {
        Remote::Unix(path) => path.clone(),
        Remote::Tcp(host, port) => format!("{}:{port}", host.in_url()),
    };
    let plain = |path: &str| {
        let known = |b: u8| b.is_ascii_alphanumeric() || b"/._-@+".contains(&b);
        path.starts_with('/') && path.len() <= SOCKET_MAX && path.bytes().all(known)
    };
    match plain(&local) && (matches!(remote, Remote::Tcp(..)) || plain(&there)) {
        true => Ok(format!("{local}:{there}")),
        false => {
            let say = "A forwarded socket's path begins with a slash, has at most 107 characters, and of these only letters, digits and / . _ - @ +; so does the runtime folder's.";
            Err(Error::new(Kind::Malformed, "forward_path", say).log(format_args!("{local} to {there}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_what_ssh_reads_it_as() {
        let local = Path::new("/run/lamplighter/ssh-1/fwd/x");
        let of = |remote| route(local, &remote).map_err(|e| e.code);
        let tcp = |host| Remote::Tcp(Host::parse(host).unwrap(), 6379);
        assert_eq!(
            of(tcp("127.0.0.1")).unwrap(),
            "/run/lamplighter/ssh-1/fwd/x:127.0.0.1:6379"
        );
        assert_eq!(of(tcp("::1")).unwrap(), "/run/lamplighter/ssh-1/fwd/x:[::1]:6379");
        let docker = Remote::Unix("/run/user/1000/docker.sock".into());
        assert_eq!(
            of(docker).unwrap(),
            "/run/lamplighter/ssh-1/fwd/x:/run/user/1000/docker.sock"
        );
        for bad in [
            "docker.sock",
            "",
            "/a b",
            "/a:/b",
            "/a\\:b",
            "/a%h",
            "/${HOME}",
            "/a\nb",
            "/é",
        ] {
            assert_eq!(of(Remote::Unix(bad.into())), Err("forward_path"), "{bad}");
        }
        assert_eq!(of(Remote::Unix(format!("/{}", "x".repeat(107)))), Err("forward_path"));
        assert!(route(Path::new("/run/a b/x"), &tcp("h")).is_err());
    }
}
