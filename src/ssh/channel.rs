//! One `ssh` process on a shared connection, as bytes both ways: the ground that jobs, followers, forwards and terminals
//! stand on. It knows the login and nothing of what is said after it.
//!
//! - Window: what the server sends waits in [`process`](crate::base::process)'s bounded queue, then in ssh's own; a
//!   caller that does not read stops the server, not our memory.
//! - Deadlines are the caller's: every wait is given one. Over a job, or over silence, or none.
//! - Cancel, and drop: the process and its group are gone; the server sees the end of its stdin.

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

/// From the start of `ssh` to the server's first word: connecting (10 s), then PAM, a slow login shell, a sudo without its
/// host's name in DNS.
const LOGIN_MAX: Duration = Duration::from_secs(30);
/// The same where an earlier session has logged in already.
const SHARED_MAX: Duration = Duration::from_secs(12);
/// ssh itself gives up sooner when the server does not answer, or says nothing: beyond this it has answered.
const ANSWER_MAX: Duration = Duration::from_secs(12);
/// The way of ssh's own end after the last byte.
const EXIT_MAX: Duration = Duration::from_secs(1);
const LOG_MAX: u64 = 64 * 1024;

/// An open channel.
pub(super) struct Channel<'a> {
    ssh: &'a Ssh,
    target: &'a Target,
    running: Running,
    /// Until the login is over.
    login: Option<Login>,
    /// ssh's own words.
    log: Arc<TempFile>,
    /// The master's socket: it is there from the login on.
    socket: PathBuf,
    /// This channel logs in; otherwise it shares a connection of before.
    opens: bool,
    started: Instant,
}

/// What lies on disk for a login.
struct Login {
    _files: Vec<TempFile>,
    answer: Option<Answer>,
}

/// What a use of a channel does first: starts its side of it, and waits for the server's first word.
pub(super) type Greet<'f, 'a, T> = &'f mut dyn FnMut(Channel<'a>, &SessionSlot, Instant, &Cancel) -> Result<T>;

/// Takes a slot of the class, logs in where it must, and greets. Gives what the greeting gave, and the time that it took
/// without the time of waiting for a slot. `work_max`: what the whole use may take. Where an earlier connection does not
/// answer, a new one is tried.
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
        // Whether the connection of before is dead or the shell silent, a login of our own tells.
        slot.leave(ssh);
        drop(slot);
        slot = ssh.slot(target, class, cancel)?;
        started = clock::mono() + left - work_max;
        greeting = open(&slot, LOGIN_MAX.min(left));
    }
    // Who waits for this login shares its failure; but not that we were cancelled, nor that we had little time.
    let hurried = work_max < LOGIN_MAX && clock::mono() - started >= work_max;
    slot.opened(greeting.as_ref().err().filter(|e| e.code != "cancelled" && !hurried));
    match greeting {
        Ok(greeting) => Ok((greeting, slot, started)),
        Err(e) => {
            if ["ssh_timeout", "ssh_shell_silent"].contains(&e.code) {
                slot.leave(ssh); // the next one must not wait there, too
            }
            Err(e)
        }
    }
}

/// Greets at the first of the server's addresses where a connection can be made.
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
                // What every Debian has a description of; it goes to the server with the terminal, not as a variable.
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

    /// The process, to read from and write to.
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

    /// The server has said its first word: key, known hosts and askpass's socket have done their work.
    pub(super) fn logged_in(&mut self, slot: &SessionSlot) {
        self.login = None;
        slot.keep_log(&self.log);
    }

    /// How `ssh` ended, if it does now.
    pub(super) fn exited(&mut self) -> Option<ExitStatus> {
        self.running.exited_within(EXIT_MAX)
    }

    /// What ssh itself said. A server's banner is none of it: that goes to stderr.
    pub(super) fn said(&self) -> String {
        let log = file::read_limited(self.log.path(), LOG_MAX).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// What ssh and the server said, for the log.
    pub(super) fn evidence(&self, noise: &Noise) -> String {
        noise.iter().fold(self.said(), |said, (_, line)| said + line + "\n")
    }

    /// No first word in time, and ssh still runs.
    pub(super) fn not_greeted(&self, noise: &Noise) -> Error {
        let waited = clock::mono() - self.started;
        // Of a shared connection only the next login tells whether it still lives.
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

    /// ssh has ended before the first word.
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
            // ssh says the same for a wrong passphrase; only opening the key tells.
            (e, Auth::Key { pem, passphrase }) if e.code.starts_with("ssh_key_") => {
                self.ssh.inspect(pem, passphrase.as_ref()).err().unwrap_or(e)
            }
            (e, _) => e,
        }
    }

    /// The connection broke under a running session.
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

/// What the server wrote before it was to say anything, or besides: a login shell's greeting, sudo's complaints.
pub(super) type Noise = std::collections::VecDeque<(Stream, String)>;

/// What the server said before it was to say anything: on stdout, or else on stderr, where ssh shows its banner, too.
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
