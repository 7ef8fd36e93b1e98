//! Shared connections. Sessions of one server, user, credential and [`Class`] use one ControlMaster; after ten sessions
//! (sshd's `MaxSessions`) the next is opened. Of concurrent sessions one logs in and the others wait for it, since many
//! logins at once would exceed sshd's `MaxStartups`. Each class has its own connections, so that long-lived followers
//! do not block jobs; the wait for a slot does not count against a session's deadline.

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
/// Prefix of a process's folder in the runtime folder, and of its lock.
const DIR_PREFIX: &str = "ssh-";
const LOCK: &str = "lock";
/// sshd's default `MaxSessions`.
const SESSIONS_PER_MASTER: usize = 10;
/// Limit of a control command; a master answers at once.
const MESSAGE: Duration = Duration::from_secs(5);

/// Purpose of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// A script that ends.
    Job,
    /// Output followed for hours.
    Follow,
    /// Holds a connection for forwarded sockets.
    Forward,
    /// A person's shell.
    Terminal,
    /// A script on a connection of its own, which shows that the credential is good now.
    Proof,
}

impl Class {
    /// First letter of its sockets' names.
    fn letter(self) -> char {
        match self {
            Class::Job => 'j',
            Class::Follow => 'f',
            Class::Forward => 'w',
            Class::Terminal => 't',
            Class::Proof => 'p',
        }
    }

    /// Maximum sessions per server. Jobs end by themselves and are bounded elsewhere; each of the others holds a
    /// process on both sides for an unlimited time.
    fn sessions_max(self) -> usize {
        match self {
            Class::Job => usize::MAX,
            Class::Follow => 60,
            Class::Forward => 20,
            Class::Terminal => 20,
            Class::Proof => 20,
        }
    }
}

pub(super) struct Masters {
    /// Keys the sockets' names: two credentials never share a connection, and a name reveals nothing about them.
    key: hmac::Key,
    /// Masters by socket.
    open: Mutex<HashMap<String, Master>>,
    moved: Condvar,
}

/// One shared connection.
struct Master {
    server: i64,
    class: Class,
    sessions: usize,
    /// A session is logging in.
    opening: bool,
    /// Number of failed logins, and the last error, which waiting sessions share.
    failed: u64,
    why: Option<Error>,
    /// sudo accepted a password for the last job on it.
    password_taken: bool,
    /// Log file of the master process, if it is kept after the login.
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

/// A slot on a connection, for one session.
pub(super) struct SessionSlot<'a> {
    masters: &'a Masters,
    /// The socket, relative to the runtime folder.
    pub(super) socket: String,
    class: Class,
    /// Does this session log in?
    pub(super) opens: bool,
    /// sudo accepted a password for the last job on this connection, so it is not probed again.
    pub(super) password_taken: bool,
}

impl Ssh {
    /// Takes a slot; waits while another session logs in. Errors: `ssh_sessions_full`, `cancelled`, and the failure of
    /// the login that was waited for.
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
            // A cancellation does not notify this condition: it is polled.
            let (guard, _) = self
                .masters
                .moved
                .wait_timeout(masters, Duration::from_millis(50))
                .unwrap_or_else(PoisonError::into_inner);
            masters = guard;
        }
    }

    /// Closes the connections of the given servers.
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

/// Sends a control command to the master behind a socket, if there is one. `exit` ends it with all its sessions; after
/// `stop` it takes no new ones.
fn control(dir: &Path, message: &'static str, socket: &str) {
    if !dir.join(socket).exists() {
        return;
    }
    if let Err(e) = asked(dir, argv::control(message, socket, None)) {
        log::warning(
            "ssh",
            "a shared connection could not be closed",
            &[("cause", &e.to_string())],
        );
    }
    // A live master removes its socket itself.
    let _ = fs::remove_file(dir.join(socket));
}

/// Runs a control command; returns the output of `ssh`.
fn asked(dir: &Path, args: Vec<OsString>) -> Result<process::Output> {
    let program = Program {
        name: "ssh",
        args,
        env: vec![],
        dir: Some(dir),
    };
    process::run(program, b"", MESSAGE, 4_096, &Cancel::new()).map_err(ours)
}

/// Creates the folder of this process, locked before it gets its final name, so that no other process sweeps it.
pub(super) fn make_dir(runtime: &Path) -> Result<(PathBuf, File)> {
    let name = &random::name()[..8];
    let fresh = runtime.join(format!("new-{name}"));
    let dir = runtime.join(format!("{DIR_PREFIX}{name}"));
    for part in ["", FILES, SOCKETS, FORWARDS, askpass::SOCKETS] {
        file::private_dir(&fresh.join(part))?;
    }
    let lock = File::create_new(fresh.join(LOCK))?;
    lock.lock()?;
    fs::rename(&fresh, &dir)?;
    Ok((dir, lock))
}

/// Removes the folders of ended processes, and ends their masters.
pub(super) fn sweep(runtime: &Path) -> Result<()> {
    for entry in fs::read_dir(runtime)? {
        let dir = entry?.path();
        let ours = dir
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(DIR_PREFIX));
        let Some(lock) = ours.then(|| File::open(dir.join(LOCK)).ok()).flatten() else {
            continue;
        };
        // Locked to the end: of two processes that start at once, one sweeps.
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
        if class == Class::Proof {
            // Nobody else ever has this one: an older connection goes on after its credential has gone.
            return format!("{}{}", class.letter(), &random::name()[..22]);
        }
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
    /// Stops new sessions on this connection; it ends with the last one.
    pub(super) fn leave(&self, ssh: &Ssh) {
        let alone = self
            .masters
            .lock()
            .get(&self.socket)
            .is_none_or(|master| master.sessions <= 1);
        control(&ssh.dir, if alone { "exit" } else { "stop" }, &self.socket);
    }

    /// The login is over: waiting sessions continue, or fail with the same error.
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

    /// Stores what the next job on this connection can rely on.
    pub(super) fn remember(&mut self, password_taken: bool) {
        self.change(|master| master.password_taken = password_taken);
    }

    /// Keeps this session's log: it logged in, so the master writes there too, and only there does it report refused
    /// forwards.
    pub(super) fn keep_log(&self, log: &Arc<TempFile>) {
        if self.opens && self.class == Class::Forward {
            self.change(|master| master.log = Some(log.clone()));
        }
    }

    /// The master's log, if it is kept.
    pub(super) fn log(&self) -> Option<Arc<TempFile>> {
        self.masters.lock().get(&self.socket)?.log.clone()
    }

    /// Tells the master to `forward` a local listening socket, or to `cancel` that.
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
