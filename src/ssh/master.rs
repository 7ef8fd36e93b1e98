//! Connections that sessions share. Sessions of one server, user, credential and [`Class`] go through one ControlMaster;
//! ten of them fill it (sshd's `MaxSessions`), then the next is opened. Of sessions that come at once, one logs in and the
//! others wait for it: twenty logins at once would run into sshd's `MaxStartups`. Each class has connections of its own,
//! so that ten logs that are followed for hours leave no job without a place; and what a session waits for its place is
//! none of its deadline.

use super::error::ours;
use super::{Auth, FILES, FORWARDS, Ssh, Target, argv, askpass, error};
use crate::base::clock::Duration;
use crate::base::error::{Error, Result};
use crate::base::file::{self, TempFile};
use crate::base::process::{self, Cancel, Program};
use crate::base::{log, random, text};
use ring::hmac;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The folder of the control sockets.
pub(super) const SOCKETS: &str = "cm";
/// How a process's folder is called in the runtime folder, and the lock in it.
const ROOM: &str = "ssh-";
const LOCK: &str = "lock";
/// sshd's default `MaxSessions`.
const SESSIONS_PER_MASTER: usize = 10;
/// A message to a master is answered at once.
const MESSAGE: Duration = Duration::from_secs(5);

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// A script with an end.
    Job,
    /// Output that is followed for hours.
    Follow,
    /// Holds a connection open for forwarded sockets.
    Forward,
    /// A person at a shell.
    Terminal,
}

impl Class {
    /// Begins the names of its sockets.
    fn letter(self) -> char {
        match self {
            Class::Job => 'j',
            Class::Follow => 'f',
            Class::Forward => 'w',
            Class::Terminal => 't',
        }
    }

    /// How many a server may have at once. Jobs end by themselves, and who starts them is bounded; each of the others
    /// holds a process here and one there for as long as somebody likes.
    fn sessions_max(self) -> usize {
        match self {
            Class::Job => usize::MAX,
            Class::Follow => 60,
            Class::Forward => 20,
            Class::Terminal => 20,
        }
    }
}

pub(super) struct Masters {
    /// Makes the sockets' names: two credentials never share a connection, and a name tells nothing about them.
    key: hmac::Key,
    /// By socket.
    open: Mutex<HashMap<String, Master>>,
    moved: Condvar,
}

/// One connection.
struct Master {
    server: i64,
    class: Class,
    sessions: usize,
    /// Somebody is logging in.
    opening: bool,
    /// How many logins have failed, and the last reason: those who waited for it share it.
    failed: u64,
    why: Option<Error>,
    /// Here sudo took a password for the last job.
    password_taken: bool,
    /// Where the process behind it writes what it has to say, where that is wanted for longer than the login.
    log: Option<Arc<TempFile>>,
}

impl Default for Masters {
    fn default() -> Masters {
        Masters {
            key: hmac::Key::new(hmac::HMAC_SHA256, &random::bytes::<32>()),
            open: Mutex::default(),
            moved: Condvar::new(),
        }
    }
}

/// A place on a connection, for one session.
pub(super) struct SessionSlot<'a> {
    masters: &'a Masters,
    /// The socket, relative to the runtime folder.
    pub(super) socket: String,
    class: Class,
    /// It logs in.
    pub(super) opens: bool,
    /// sudo took a password for the last job of this connection: it need not be asked whether it wants one.
    pub(super) password_taken: bool,
}

impl Ssh {
    /// Takes a place; waits while another session logs in, which it does within half a minute or fails for both. Errors:
    /// `ssh_sessions_full`, `cancelled`, and the failure of the login that was waited for.
    pub(super) fn slot(&self, target: &Target, class: Class, cancel: &Cancel) -> Result<SessionSlot<'_>> {
        let name = self.masters.name(target, class);
        let mut masters = self.masters.lock();
        masters.retain(|socket, master| master.sessions > 0 || self.dir.join(socket).exists());
        let of_class = masters
            .values()
            .filter(|m| m.server == target.server && m.class == class);
        if of_class.map(|m| m.sessions).sum::<usize>() >= class.sessions_max() {
            let seen = format!("{} of {class:?}", class.sessions_max());
            return Err(error::error("ssh_sessions_full", target, &seen));
        }
        let socket = (0..)
            .map(|n| format!("{SOCKETS}/{name}{n}"))
            .find(|socket| {
                masters
                    .get(socket)
                    .is_none_or(|master| master.sessions < SESSIONS_PER_MASTER)
            })
            .expect("numbers do not end");
        let master = masters.entry(socket.clone()).or_insert(Master {
            server: target.server,
            class,
            sessions: 0,
            opening: false,
            failed: 0,
            why: None,
            password_taken: false,
            log: None,
        });
        master.sessions += 1;
        let failed = master.failed;
        let mut slot = SessionSlot {
            masters: &self.masters,
            socket,
            class,
            opens: false,
            password_taken: master.password_taken,
        };
        loop {
            let master = masters.get_mut(&slot.socket).expect("a master with a session stays");
            let shared = master.why.clone().filter(|_| master.failed > failed);
            let refused = match shared {
                None if !master.opening => {
                    slot.opens = !self.dir.join(&slot.socket).exists();
                    master.opening = slot.opens;
                    drop(masters);
                    return Ok(slot);
                }
                None if cancel.is_cancelled() => Some(error::error("cancelled", target, "before the login")),
                shared => shared,
            };
            if let Some(e) = refused {
                drop(masters); // the slot's own drop takes the lock
                return Err(e);
            }
            // A cancel does not notify this condition: it is looked at now and then.
            let (guard, _) = self
                .masters
                .moved
                .wait_timeout(masters, Duration::from_millis(50))
                .unwrap_or_else(PoisonError::into_inner);
            masters = guard;
        }
    }

    /// Closes the connections of some servers.
    pub(super) fn close(&self, which: impl Fn(i64) -> bool) {
        let sockets: Vec<String> = self
            .masters
            .lock()
            .iter()
            .filter(|(_, master)| which(master.server))
            .map(|(socket, _)| socket.clone())
            .collect();
        sockets.iter().for_each(|socket| control(&self.dir, "exit", socket));
    }
}

/// Sends a message to the master behind a socket, if there is one. `exit` ends it with all its sessions; after `stop` it
/// takes no new ones.
fn control(dir: &Path, message: &'static str, socket: &str) {
    if !dir.join(socket).exists() {
        return;
    }
    if let Err(e) = asked(dir, argv::control(message, socket, None)) {
        log::warning(
            "ssh",
            "a shared connection could not be told to end",
            &[("cause", &e.to_string())],
        );
    }
    // It removes its socket itself; a dead one cannot.
    let _ = fs::remove_file(dir.join(socket));
}

/// Has a master do something; gives what `ssh` made of it.
fn asked(dir: &Path, args: Vec<OsString>) -> Result<process::Output> {
    let program = Program {
        name: "ssh",
        args,
        env: vec![],
        dir: Some(dir),
    };
    process::run(program, b"", MESSAGE, 4_096, &Cancel::new()).map_err(ours)
}

/// A new folder for this process, and its lock. It has the lock before it has its name, so that nobody sweeps it.
pub(super) fn room(runtime: &Path) -> Result<(PathBuf, File)> {
    let name = &random::name()[..8];
    let fresh = runtime.join(format!("new-{name}"));
    let dir = runtime.join(format!("{ROOM}{name}"));
    for part in ["", FILES, SOCKETS, FORWARDS, askpass::SOCKETS] {
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
            control(&dir, "exit", &socket);
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
    fn name(&self, target: &Target, class: Class) -> String {
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
        format!("{}{}", class.letter(), text::hex(&sum.sign().as_ref()[..11]))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Master>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionSlot<'_> {
    /// No session is to take a place on this connection any more; where there is no other one it ends.
    pub(super) fn leave(&self, ssh: &Ssh) {
        let alone = self
            .masters
            .lock()
            .get(&self.socket)
            .is_none_or(|master| master.sessions <= 1);
        control(&ssh.dir, if alone { "exit" } else { "stop" }, &self.socket);
    }

    /// The login is over: those who wait for it go on, or fail for the same reason.
    pub(super) fn opened(&mut self, failed: Option<&Error>) {
        if !std::mem::take(&mut self.opens) {
            return;
        }
        self.change(|master| {
            master.opening = false;
            if let Some(why) = failed {
                master.failed += 1;
                master.why = Some(why.clone());
            }
        });
        self.masters.moved.notify_all();
    }

    /// What the next job of this connection may count on.
    pub(super) fn remember(&mut self, password_taken: bool) {
        self.change(|master| master.password_taken = password_taken);
    }

    /// This is the log of the session that has logged in, so the master writes there, too: why it could not forward a
    /// connection stands nowhere else.
    pub(super) fn keep_log(&self, log: &Arc<TempFile>) {
        if self.opens && self.class == Class::Forward {
            self.change(|master| master.log = Some(log.clone()));
        }
    }

    /// The log of the master, if it is kept.
    pub(super) fn log(&self) -> Option<Arc<TempFile>> {
        self.masters.lock().get(&self.socket)?.log.clone()
    }

    /// Has the master `forward` a listening socket here to one there, or `cancel` that.
    pub(super) fn forward(&self, ssh: &Ssh, message: &'static str, route: &str) -> Result<process::Output> {
        asked(&ssh.dir, argv::control(message, &self.socket, Some(route)))
    }

    fn change(&self, how: impl FnOnce(&mut Master)) {
        if let Some(master) = self.masters.lock().get_mut(&self.socket) {
            how(master);
        }
    }
}

impl Drop for SessionSlot<'_> {
    fn drop(&mut self) {
        self.opened(None);
        self.change(|master| master.sessions -= 1);
    }
}
