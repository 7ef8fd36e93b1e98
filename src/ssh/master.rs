//! Connections that jobs share. Jobs of one server, user and credential go through one ControlMaster; ten of them fill
//! it (sshd's `MaxSessions`), then the next is opened. Of jobs that come at once, one logs in and the others wait for it:
//! twenty logins at once would run into sshd's `MaxStartups`.

use super::error::ours;
use super::{Auth, FILES, Ssh, Target, argv, askpass, error};
use crate::base::clock::{self, Duration, Instant};
use crate::base::error::{Error, Result};
use crate::base::process::{self, Cancel, Program};
use crate::base::{file, log, random, text};
use ring::hmac;
use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The folder of the control sockets.
pub(super) const SOCKETS: &str = "cm";
/// How a process's folder is called in the runtime folder, and the lock in it.
const ROOM: &str = "ssh-";
const LOCK: &str = "lock";
/// sshd's default `MaxSessions`.
const SEATS: usize = 10;
/// A message to a master is answered at once.
const MESSAGE: Duration = Duration::from_secs(5);

pub(super) struct Masters {
    /// Makes the sockets' names: two credentials never share a connection, and a name tells nothing about them.
    key: hmac::Key,
    lines: Mutex<HashMap<String, Line>>,
    moved: Condvar,
}

/// One connection.
struct Line {
    server: i64,
    seats: usize,
    /// Somebody is logging in.
    opening: bool,
    /// How many logins have failed, and the last reason: those who waited for it share it.
    failed: u64,
    why: Option<Error>,
    /// Here sudo took a password for the last job.
    password_taken: bool,
}

impl Default for Masters {
    fn default() -> Masters {
        Masters {
            key: hmac::Key::new(hmac::HMAC_SHA256, &random::bytes::<32>()),
            lines: Mutex::default(),
            moved: Condvar::new(),
        }
    }
}

/// A place on a connection, for one job.
pub(super) struct Seat<'a> {
    masters: &'a Masters,
    /// The socket, relative to the runtime folder.
    pub(super) socket: String,
    /// It logs in.
    pub(super) opens: bool,
    /// sudo took a password for the last job of this connection: it need not be asked whether it wants one.
    pub(super) password_taken: bool,
}

impl Ssh {
    /// Takes a place; waits while another job logs in.
    pub(super) fn seat(&self, target: &Target, until: Instant, cancel: &Cancel) -> Result<Seat<'_>> {
        let name = self.masters.name(target);
        let mut lines = self.masters.lines();
        lines.retain(|socket, line| line.seats > 0 || self.dir.join(socket).exists());
        let socket = (0..)
            .map(|n| format!("{SOCKETS}/{name}{n}"))
            .find(|socket| lines.get(socket).is_none_or(|line| line.seats < SEATS))
            .expect("numbers do not end");
        let line = lines.entry(socket.clone()).or_insert(Line {
            server: target.server,
            seats: 0,
            opening: false,
            failed: 0,
            why: None,
            password_taken: false,
        });
        line.seats += 1;
        let failed = line.failed;
        let mut seat = Seat {
            masters: &self.masters,
            socket,
            opens: false,
            password_taken: line.password_taken,
        };
        loop {
            let line = lines.get_mut(&seat.socket).expect("a line with a seat taken stays");
            let shared = line.why.clone().filter(|_| line.failed > failed);
            let refused = match shared {
                None if !line.opening => {
                    seat.opens = !self.dir.join(&seat.socket).exists();
                    line.opening = seat.opens;
                    drop(lines);
                    return Ok(seat);
                }
                None if cancel.is_cancelled() => Some(error::error("cancelled", target, "before the login")),
                None if clock::mono() >= until => Some(error::error("deadline", target, "before the login")),
                shared => shared,
            };
            if let Some(e) = refused {
                drop(lines); // the seat's own drop takes the lock
                return Err(e);
            }
            // A pulled cord does not ring this bell: look now and then.
            let (guard, _) = self
                .masters
                .moved
                .wait_timeout(lines, Duration::from_millis(50))
                .unwrap_or_else(PoisonError::into_inner);
            lines = guard;
        }
    }

    /// Closes the connections of some servers.
    pub(super) fn close(&self, which: impl Fn(i64) -> bool) {
        let sockets: Vec<String> = self
            .masters
            .lines()
            .iter()
            .filter(|(_, line)| which(line.server))
            .map(|(socket, _)| socket.clone())
            .collect();
        sockets.iter().for_each(|socket| tell(&self.dir, "exit", socket));
    }
}

/// Sends a message to the master behind a socket, if there is one. `exit` ends it with all its jobs; after `stop` it
/// takes no new ones.
pub(super) fn tell(dir: &Path, message: &'static str, socket: &str) {
    if !dir.join(socket).exists() {
        return;
    }
    let program = Program {
        name: "ssh",
        args: argv::master(message, socket),
        env: vec![],
        dir: Some(dir),
    };
    if let Err(e) = process::run(program, b"", MESSAGE, 4_096, &Cancel::new()).map_err(ours) {
        log::warning(
            "ssh",
            "a shared connection could not be told to end",
            &[("cause", &e.to_string())],
        );
    }
    // It removes its socket itself; a dead one cannot.
    let _ = fs::remove_file(dir.join(socket));
}

/// A new folder for this process, and its lock. It has the lock before it has its name, so that nobody sweeps it.
pub(super) fn room(runtime: &Path) -> Result<(PathBuf, File)> {
    let name = &random::name()[..8];
    let fresh = runtime.join(format!("new-{name}"));
    let dir = runtime.join(format!("{ROOM}{name}"));
    for part in ["", FILES, SOCKETS, askpass::SOCKETS] {
        file::private_dir(&fresh.join(part))?;
    }
    let lock = File::create_new(fresh.join(LOCK))?;
    lock.lock()?;
    fs::rename(&fresh, &dir)?;
    Ok((dir, lock))
}

/// Removes the folders of processes that are no more, and ends their masters.
pub(super) fn sweep(runtime: &Path) -> Result<()> {
    for entry in fs::read_dir(runtime)? {
        let dir = entry?.path();
        let ours = dir
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(ROOM));
        let Some(lock) = ours.then(|| File::open(dir.join(LOCK)).ok()).flatten() else {
            continue;
        };
        // Kept to the end: of two processes that start at once, one sweeps.
        if lock.try_lock().is_err() {
            continue;
        }
        for socket in fs::read_dir(dir.join(SOCKETS)).into_iter().flatten().flatten() {
            let socket = format!("{SOCKETS}/{}", socket.file_name().to_string_lossy());
            tell(&dir, "exit", &socket);
        }
        if let Err(e) = fs::remove_dir_all(&dir) {
            let (folder, cause) = (dir.display().to_string(), e.to_string());
            log::warning(
                "ssh",
                "an old folder could not be removed",
                &[("folder", &folder), ("cause", &cause)],
            );
        }
    }
    Ok(())
}

impl Masters {
    fn name(&self, target: &Target) -> String {
        let mut sum = hmac::Context::with_key(&self.key);
        let mut add = |bytes: &[u8]| {
            sum.update(&(bytes.len() as u64).to_be_bytes());
            sum.update(bytes);
        };
        add(&target.server.to_be_bytes());
        add(target.host.as_str().as_bytes());
        add(&target.port.to_be_bytes());
        add(target.user.as_str().as_bytes());
        add(target.host_key.as_bytes());
        match &target.auth {
            Auth::Password(password) => add(password.reveal_for("the connection's tag")),
            Auth::Key { pem, passphrase } => {
                add(pem.reveal_for("the connection's tag"));
                add(passphrase
                    .as_ref()
                    .map_or(b"", |p| p.reveal_for("the connection's tag")));
            }
        }
        text::hex(&sum.sign().as_ref()[..12])
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<String, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat<'_> {
    /// Nobody is to take a place on this connection any more; where nobody else has one it ends.
    pub(super) fn leave(&self, ssh: &Ssh) {
        let alone = self
            .masters
            .lines()
            .get(&self.socket)
            .is_none_or(|line| line.seats <= 1);
        tell(&ssh.dir, if alone { "exit" } else { "stop" }, &self.socket);
    }

    /// The login is over: those who wait for it go on, or fail for the same reason.
    pub(super) fn opened(&mut self, failed: Option<&Error>) {
        if !std::mem::take(&mut self.opens) {
            return;
        }
        if let Some(line) = self.masters.lines().get_mut(&self.socket) {
            line.opening = false;
            if let Some(why) = failed {
                line.failed += 1;
                line.why = Some(why.clone());
            }
        }
        self.masters.moved.notify_all();
    }

    /// What the next job of this connection may count on.
    pub(super) fn remember(&mut self, password_taken: bool) {
        if let Some(line) = self.masters.lines().get_mut(&self.socket) {
            line.password_taken = password_taken;
        }
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.opened(None);
        let mut lines = self.masters.lines();
        if let Some(line) = lines.get_mut(&self.socket) {
            line.seats -= 1;
        }
    }
}
