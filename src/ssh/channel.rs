//! One `ssh` process on a shared connection, as a byte channel in both directions: the base of jobs, followers,
//! forwards and terminals. It handles the login and is independent of the protocol after it.
//!
//! - Window: output of the server waits in [`process`](crate::base::process)'s bounded queue, then in ssh's own; a
//!   caller that does not read slows the server down.
//! - Deadlines are the caller's: every wait takes one.
//! - Cancel and drop end the process and its group; the server sees the end of its stdin.

use super::askpass::{Answer, Expect};
use super::error::{self, error};
use super::master::{Class, SessionSlot};
use super::{Auth, FILES, Ssh, Stream, Target, argv, hostkey, not_there, relative, settled};
use crate::base::clock::{self, Duration, Instant};
use crate::base::error::{Error, Result};
use crate::base::file::{self, TempFile};
use crate::base::host::Host;
use crate::base::process::{Cancel, Event, Program, Running};
use crate::base::sys::TerminalSize;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;

/// From the start of `ssh` to the server's first output: connect (10 s), then PAM, a slow login shell, a sudo that
/// cannot resolve its host name.
const LOGIN_MAX: Duration = Duration::from_secs(30);
/// The same on an existing connection.
const SHARED_MAX: Duration = Duration::from_secs(12);
/// ssh itself gives up sooner when the server does not respond; later than this it has responded.
const ANSWER_MAX: Duration = Duration::from_secs(12);
/// Time for ssh to exit after the last byte.
const EXIT_MAX: Duration = Duration::from_secs(1);
const LOG_MAX: u64 = 64 * 1024;

/// An open channel.
pub(super) struct Channel<'a> {
    ssh: &'a Ssh,
    target: &'a Target,
    running: Running,
    /// Present until the login is complete.
    login: Option<Login>,
    /// ssh's own log.
    log: Arc<TempFile>,
    /// The master's socket: exists after the login.
    socket: PathBuf,
    /// Does this channel log in? Otherwise it shares an existing connection.
    opens: bool,
    started: Instant,
}

/// Files of a login.
struct Login {
    _files: Vec<TempFile>,
    answer: Option<Answer>,
}

/// Opening of a use of a channel: starts its protocol, and waits for the server's first output.
pub(super) type Greet<'f, 'a, T> = &'f mut dyn FnMut(Channel<'a>, &SessionSlot, Instant, &Cancel) -> Result<T>;

/// Takes a slot of the class, logs in if needed, and greets. Returns the greeting's result and its duration without the
/// wait for a slot. `work_max`: limit of the whole use. If an existing connection does not respond, a new one is tried.
/// Errors: those of [`super::error`].
pub(super) fn greeted<'a, T>(
    ssh: &'a Ssh,
    target: &'a Target,
    class: Class,
    terminal: Option<TerminalSize>,
    work_max: Duration,
    cancel: &Cancel,
    greet: Greet<'_, 'a, T>,
) -> Result<(T, SessionSlot<'a>, Instant)> {
    let mut slot = ssh.slot(target, class, cancel)?;
    let mut started = clock::mono();
    let patience = match slot.opens {
        true => LOGIN_MAX,
        false => SHARED_MAX.min(work_max / 2),
    };
    let mut open = |slot: &SessionSlot, within| {
        at_first_address(ssh, target, slot, terminal, clock::mono() + within, cancel, greet)
    };
    let mut greeting = open(&slot, patience.min(work_max));
    let left = work_max.saturating_sub(clock::mono() - started);
    if !slot.opens && greeting.as_ref().is_err_and(|e| e.code == "ssh_timeout") && !left.is_zero() {
        // Whether the connection is dead or the shell silent, a new login shows.
        slot.leave(ssh);
        drop(slot);
        slot = ssh.slot(target, class, cancel)?;
        started = clock::mono() + left - work_max;
        greeting = open(&slot, LOGIN_MAX.min(left));
    }
    // Sessions waiting for this login share its failure, except our own cancellation or short deadline.
    let hurried = work_max < LOGIN_MAX && clock::mono() - started >= work_max;
    slot.opened(greeting.as_ref().err().filter(|e| e.code != "cancelled" && !hurried));
    match greeting {
        Ok(greeting) => Ok((greeting, slot, started)),
        Err(e) => {
            if ["ssh_timeout", "ssh_shell_silent"].contains(&e.code) {
                slot.leave(ssh); // the next session must not wait there, too
            }
            Err(e)
        }
    }
}

/// Greets at the first of the server's addresses that can be connected.
fn at_first_address<'a, T>(
    ssh: &'a Ssh,
    target: &'a Target,
    slot: &SessionSlot,
    terminal: Option<TerminalSize>,
    until: Instant,
    cancel: &Cancel,
    greet: Greet<'_, 'a, T>,
) -> Result<T> {
    let at = format!("{}@{}:{}", target.user.as_str(), target.host.in_url(), target.port);
    let mut last = None;
    for to in settled(&target.host, target.port, &at, until)? {
        let channel = Channel::open(ssh, target, &to, slot, terminal)?;
        match greet(channel, slot, until, cancel) {
            Err(e) if not_there(&e) && clock::mono() < until => last = Some(e),
            greeting => return greeting,
        }
    }
    Err(last.unwrap_or_else(|| Error::internal("a server without addresses")))
}

impl<'a> Channel<'a> {
    fn open(
        ssh: &'a Ssh,
        target: &'a Target,
        to: &Host,
        slot: &SessionSlot,
        terminal: Option<TerminalSize>,
    ) -> Result<Channel<'a>> {
        let new = |bytes: &[u8]| TempFile::new(&ssh.dir.join(FILES), bytes);
        let known_hosts = new(known_hosts(target)?.as_bytes())?;
        let log = Arc::new(new(b"")?);
        let (key, question) = match &target.auth {
            Auth::Password(password) => (None, Some((Expect::Password, password))),
            Auth::Key { pem, passphrase } => (
                Some(new(pem.reveal_for("ssh's key file"))?),
                passphrase.as_ref().map(|p| (Expect::Passphrase, p)),
            ),
        };
        let answer = question
            .map(|(expect, secret)| Answer::offer(ssh, expect, secret))
            .transpose()?;
        let key_path = key.as_ref().map(relative);
        let paths = argv::Paths {
            master: &slot.socket,
            known_hosts: &relative(&known_hosts),
            key: key_path.as_deref(),
            log: &relative(&log),
        };
        let mut program = Program {
            name: "ssh",
            args: argv::session(target, to, &paths, terminal.is_some()),
            env: answer.as_ref().map(|a| a.env(ssh)).unwrap_or_default(),
            dir: Some(&ssh.dir),
        };
        let running = match terminal {
            None => Running::start(program),
            Some(size) => {
                // A terminal type that every Debian knows; sent with the terminal request, not as a variable.
                program.env.push(("TERM", "xterm-256color".into()));
                Running::start_on_terminal(program, size)
            }
        };
        Ok(Channel {
            ssh,
            target,
            running: running.map_err(error::ours)?,
            login: Some(Login {
                _files: [Some(known_hosts), key].into_iter().flatten().collect(),
                answer,
            }),
            log,
            socket: ssh.dir.join(&slot.socket),
            opens: slot.opens,
            started: clock::mono(),
        })
    }

    /// The process, for reading and writing.
    pub(super) fn running(&mut self) -> &mut Running {
        &mut self.running
    }

    /// The next bytes.
    pub(super) fn next(&mut self, until: Instant, cancel: &Cancel) -> Event<Vec<u8>> {
        self.running.next(until, cancel)
    }

    /// Queues bytes for the server.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.running.send(bytes);
    }

    /// The end of what we send.
    pub(super) fn close(&mut self) {
        self.running.close();
    }

    /// After the server's first output: removes key, known hosts and the askpass socket.
    pub(super) fn logged_in(&mut self, slot: &SessionSlot) {
        self.login = None;
        slot.keep_log(&self.log);
    }

    /// Exit status of `ssh`, if it has ended.
    pub(super) fn exited(&mut self) -> Option<ExitStatus> {
        self.running.exited_within(EXIT_MAX)
    }

    /// ssh's own messages, without a banner of the server, which goes to stderr.
    pub(super) fn said(&self) -> String {
        let log = file::read_limited(self.log.path(), LOG_MAX).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Messages of ssh and the server, for the log.
    pub(super) fn evidence(&self, noise: &Noise) -> String {
        noise.iter().fold(self.said(), |said, (_, line)| said + line + "\n")
    }

    /// Error: no first output in time while ssh still runs.
    pub(super) fn not_greeted(&self, noise: &Noise) -> Error {
        let waited = clock::mono() - self.started;
        // Whether a shared connection is alive, only the next login shows.
        let code = match self.socket.exists() {
            true if self.opens => "ssh_shell_silent",
            false if waited > ANSWER_MAX => "ssh_login_slow",
            _ => "ssh_timeout",
        };
        let mut e = error(code, self.target, &self.evidence(noise));
        let over = if self.opens {
            ""
        } else {
            " over the connection of an earlier job"
        };
        e.say
            .push_str(&format!(" Nothing came back{over} for {} s.", waited.as_secs()));
        error::said(e, "The server", greeting(noise).into_iter())
    }

    /// Error: ssh ended before the first output.
    pub(super) fn not_logged_in(&mut self, noise: &Noise) -> Error {
        let seen = self.evidence(noise);
        let asked = self.login.take().and_then(|login| login.answer?.refused());
        if let Some(question) = asked {
            return error("ssh_second_factor", self.target, &question);
        }
        let said = self.said();
        if said.is_empty() {
            let status = self.exited().and_then(|status| status.code());
            return error::no_shell(self.target, status, &greeting(noise), &seen);
        }
        match (error::login(self.target, &said, &seen), &self.target.auth) {
            // ssh reports a wrong passphrase the same way; opening the key tells.
            (e, Auth::Key { pem, passphrase }) if e.code.starts_with("ssh_key_") => {
                self.ssh.inspect(pem, passphrase.as_ref()).err().unwrap_or(e)
            }
            (e, _) => e,
        }
    }

    /// Error: the connection broke during a session.
    pub(super) fn lost(&mut self, noise: &Noise) -> Error {
        let status = self.exited();
        let seen = format!(
            "ssh: {}\n{}",
            status.map_or("still runs".into(), |s| s.to_string()),
            self.evidence(noise)
        );
        error("ssh_link_lost", self.target, &seen)
    }
}

/// Unexpected output of the server: greeting of a login shell, messages of sudo.
pub(super) type Noise = std::collections::VecDeque<(Stream, String)>;

/// Output before the protocol began: on stdout, or else on stderr, where ssh shows the banner, too.
fn greeting(noise: &Noise) -> Vec<&str> {
    let of = |wanted| {
        noise
            .iter()
            .filter(move |(stream, line)| *stream == wanted && !line.is_empty())
    };
    let stream = match of(Stream::Stdout).next() {
        Some(_) => Stream::Stdout,
        None => Stream::Stderr,
    };
    of(stream).map(|(_, line)| line.as_str()).collect()
}

fn known_hosts(target: &Target) -> Result<String> {
    let mut file = String::new();
    for line in target.host_key.lines().filter(|line| !line.trim().is_empty()) {
        let key = hostkey::parse(line).map_err(|why| error("ssh_host_key_unknown", target, &why))?;
        file.push_str(&format!("{} {}\n", argv::alias(target.server), key.line));
    }
    match file.is_empty() {
        true => Err(error("ssh_host_key_unknown", target, "")),
        false => Ok(file),
    }
}
