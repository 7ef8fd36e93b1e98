//! One job: one `ssh`, one conversation over its stdin and stdout.
//!
//! 1. We send `hello.sh`; it says who the login is and what sudo gives it, and waits.
//! 2. We say as whom to go on. Only now, and only if sudo wants one, the sudo password goes out.
//! 3. With it go `run.sh` and the job's script. `run.sh` runs it in a session of its own and watches our stdin: when that
//!    ends without a bye (we were cancelled, killed, cut off) it ends the session.
//! 4. It says `end` and the exit code. ssh's own 255 may be the script's or ssh's: it is never trusted.
//!
//! What the server says to us is told from what the script prints by a random mark at the line's begin.

use super::askpass::{Answer, Expect};
use super::error::{self, error};
use super::{Auth, Done, FILES, Job, Ssh, Stream, Sudo, Target, argv, hostkey, master, not_there, relative, settled};
use crate::base::clock::{self, Duration, Instant};
use crate::base::error::{Error, Kind, Result};
use crate::base::file::{self, TempFile};
use crate::base::host::Host;
use crate::base::process::{Cancel, Cap, Event, Program, Running};
use crate::base::secret::Secret;
use crate::base::{random, text};
use std::collections::VecDeque;
use std::path::PathBuf;

const HELLO: &str = include_str!("hello.sh");
const RUN: &str = include_str!("run.sh");
/// The size of the blocks that the remote `dd` takes.
const BLOCK: usize = 4_096;
const _: () = assert!(RUN.len() <= BLOCK);

/// Longest script. What is larger is no script.
const SCRIPT_MAX: usize = 1024 * 1024;
/// Bytes of lines that a job may print; then a last line says so and the script goes on unheard.
const OUTPUT_MAX: usize = 8 * 1024 * 1024;
/// From the start of `ssh` to the hello: connecting (10 s), then PAM, a slow login shell, a sudo without its host's name
/// in DNS.
const LOGIN: Duration = Duration::from_secs(30);
/// The same where an earlier job has logged in already.
const SHARED: Duration = Duration::from_secs(12);
/// ssh itself gives up sooner when the server does not answer, or says nothing: beyond this it has answered.
const ANSWER: Duration = Duration::from_secs(12);
/// What an ended script gets: 3 s between TERM and KILL, and the way there and back.
const ENDING: Duration = Duration::from_secs(6);
/// How much later than we the server itself ends the script, should the connection be dead by then.
const REMOTE_LATER: Duration = Duration::from_secs(10);
/// The way of the last lines of one stream after the other has ended, and of ssh's own end after our bye.
const PARTING: Duration = Duration::from_secs(1);
/// How much is kept of what is not for the caller, as evidence: the last of it.
const NOISE_LINES: usize = 20;
const LOG_MAX: u64 = 64 * 1024;

pub(super) fn run(
    ssh: &Ssh,
    target: &Target,
    job: &Job,
    cancel: &Cancel,
    on_line: &mut dyn FnMut(Stream, &str),
) -> Result<Done> {
    let started = clock::mono();
    let until = started + job.deadline;
    let script = whole(job.script)?;
    let mut seat = ssh.seat(target, until, cancel)?;
    let patience = if seat.opens {
        LOGIN
    } else {
        SHARED.min(job.deadline / 2)
    };
    let mut met = meet(ssh, target, &seat, until.min(started + patience), cancel);
    if !seat.opens && met.as_ref().is_err_and(|e| e.code == "ssh_timeout") && clock::mono() < until {
        // Whether the connection of before is dead or the shell silent, a login of our own tells.
        seat.leave(ssh);
        drop(seat);
        seat = ssh.seat(target, until, cancel)?;
        met = meet(ssh, target, &seat, until.min(clock::mono() + LOGIN), cancel);
    }
    // Who waits for this login shares its failure, but not that we were cancelled.
    seat.opened(met.as_ref().err().filter(|e| e.code != "cancelled"));
    let (mut talk, sudo) = met.inspect_err(|e| {
        if ["ssh_timeout", "ssh_shell_silent"].contains(&e.code) {
            seat.leave(ssh); // the next job must not wait there, too
        }
    })?;
    talk.go(job.root, &sudo, &script, until)?;
    let ended = talk.listen(&sudo, until, cancel, on_line);
    if job.root {
        seat.remember(ended.is_ok() && sudo == Sudo::Password);
    }
    let rc = ended?;
    Ok(Done {
        rc,
        user_is_root: sudo == Sudo::Root,
        sudo,
        ms: (clock::mono() - started).as_millis() as u64,
    })
}

/// Logs in at the first of the server's addresses where a connection can be made.
fn meet<'a>(
    ssh: &'a Ssh,
    target: &'a Target,
    seat: &master::Seat,
    until: Instant,
    cancel: &Cancel,
) -> Result<(Talk<'a>, Sudo)> {
    let at = format!("{}@{}:{}", target.user.as_str(), target.host.in_url(), target.port);
    let mut last = None;
    for to in settled(&target.host, target.port, &at, until)? {
        let met = Talk::open(ssh, target, &to, seat).and_then(|mut talk| {
            let sudo = talk.meet(until, cancel)?;
            Ok((talk, sudo))
        });
        match met {
            Err(e) if not_there(&e) && clock::mono() < until => last = Some(e),
            met => return met,
        }
    }
    Err(last.unwrap_or_else(|| Error::internal("a server without addresses")))
}

/// The script in braces: the shell has parsed it to the end before any of it runs, so half a script does nothing; and
/// nothing in it can read the rest of it from stdin.
fn whole(script: &str) -> Result<String> {
    match script.len() > SCRIPT_MAX || script.contains('\0') {
        true => Err(Error::internal("a script of more than 1 MiB, or with a NUL")),
        false => Ok(["{\n", script, "\n} </dev/null\n"].concat()),
    }
}

/// A conversation.
struct Talk<'a> {
    ssh: &'a Ssh,
    target: &'a Target,
    running: Running,
    mark: String,
    /// Until the login is over.
    login: Option<Login>,
    /// ssh's own words.
    log: TempFile,
    /// The master's socket: it is there from the login on.
    socket: PathBuf,
    /// This job logs in; otherwise it shares a connection of before.
    opens: bool,
    started: Instant,
    /// What the server wrote besides: a login shell's greeting, sudo's complaints.
    noise: VecDeque<(Stream, String)>,
}

/// What lies on disk for a login.
struct Login {
    _files: Vec<TempFile>,
    answer: Option<Answer>,
}

/// What came next.
enum Heard {
    /// A line to us, without its mark.
    Ours(Stream, String),
    /// Any other line.
    Other(Stream, String),
    End,
    Cancelled,
    Late,
}

impl<'a> Talk<'a> {
    fn open(ssh: &'a Ssh, target: &'a Target, to: &Host, seat: &master::Seat) -> Result<Talk<'a>> {
        let new = |bytes: &[u8]| TempFile::new(&ssh.dir.join(FILES), bytes);
        let known_hosts = new(known_hosts(target)?.as_bytes())?;
        let log = new(b"")?;
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
            master: &seat.socket,
            known_hosts: &relative(&known_hosts),
            key: key_path.as_deref(),
            log: &relative(&log),
        };
        let mut running = Running::start(Program {
            name: "ssh",
            args: argv::job(target, to, &paths),
            env: answer.as_ref().map(|a| a.env(ssh)).unwrap_or_default(),
            dir: Some(&ssh.dir),
        })
        .map_err(error::ours)?;
        let mark = random::name();
        running.send(
            [argv::COMMAND, argv::COMMAND, HELLO, argv::GO, ""]
                .join("\n")
                .as_bytes(),
        );
        let known = if seat.password_taken { "password" } else { "" };
        running.send(format!("{mark} {known}\n").as_bytes());
        Ok(Talk {
            ssh,
            target,
            running,
            mark,
            login: Some(Login {
                _files: [Some(known_hosts), key].into_iter().flatten().collect(),
                answer,
            }),
            log,
            socket: ssh.dir.join(&seat.socket),
            opens: seat.opens,
            started: clock::mono(),
            noise: VecDeque::new(),
        })
    }

    /// Waits for the login and the hello; tells what sudo gives.
    fn meet(&mut self, until: Instant, cancel: &Cancel) -> Result<Sudo> {
        loop {
            match self.hear(until, cancel) {
                Heard::Ours(_, words) => {
                    self.login = None; // key, known hosts and socket have done their work
                    self.noise.clear();
                    // hello UID CAN WHY…
                    let mut words = words.splitn(4, ' ').skip(2);
                    return Ok(match words.next().unwrap_or_default() {
                        "root" => Sudo::Root,
                        "free" => Sudo::NoPassword,
                        "password" => Sudo::Password,
                        "absent" => Sudo::Absent,
                        _ => Sudo::Refused(text::one_line(words.next().unwrap_or_default(), 300)),
                    });
                }
                Heard::Other(stream, line) => self.noise(stream, line),
                Heard::End => return Err(self.no_login()),
                Heard::Cancelled => return Err(error("cancelled", self.target, "before the login")),
                Heard::Late => return Err(self.no_hello()),
            }
        }
    }

    /// Says as whom to go on, gives sudo its password if it wants one, and sends the script.
    fn go(&mut self, root: bool, sudo: &Sudo, script: &str, until: Instant) -> Result<()> {
        let refused = |code, seen: &str| Err(error(code, self.target, seen));
        match sudo {
            _ if !root => self.running.send(b"user\n"),
            Sudo::Root => self.running.send(b"user\n"),
            Sudo::NoPassword => self.running.send(b"free\n"),
            Sudo::Absent => return refused("sudo_absent", ""),
            Sudo::Refused(why) => {
                return Err(error::sudo(
                    self.target,
                    "sudo_not_allowed",
                    "",
                    [why.as_str()].into_iter(),
                ));
            }
            Sudo::Password => {
                let Some(password) = &self.target.sudo_password else {
                    return refused("sudo_password_needed", "");
                };
                let line = one_line(password)?;
                self.running.send(b"password\n");
                self.running.send(line.reveal_for("sudo's stdin"));
            }
        }
        let seconds = (until.saturating_duration_since(clock::mono()) + REMOTE_LATER).as_secs();
        self.running.send(&block(RUN));
        self.running
            .send(format!("{}\n{seconds}\n{}\n", self.mark, script.len()).as_bytes());
        self.running.send(script.as_bytes());
        Ok(())
    }

    /// Hands on the script's lines until both streams have said `end`; gives its exit code.
    fn listen(
        &mut self,
        sudo: &Sudo,
        until: Instant,
        cancel: &Cancel,
        on_line: &mut dyn FnMut(Stream, &str),
    ) -> Result<i32> {
        let mut output = Output {
            on_line,
            cap: Cap::new(OUTPUT_MAX),
            empty: [false; 2],
        };
        let (mut until, mut cancel) = (until, cancel.clone());
        let (mut ready, mut ended) = ([false; 2], [false; 2]);
        let (mut rc, mut broken_off, mut gone, mut denied) = (None, None, false, None);
        while !gone && (broken_off.is_some() || ended != [true; 2]) {
            match self.hear(until, &cancel) {
                Heard::Other(stream, line) if ready[stream as usize] => output.line(stream, line),
                Heard::Other(stream, line) => self.noise(stream, line),
                Heard::Ours(stream, words) => {
                    output.empty[stream as usize] = false; // it belongs to the mark
                    match words.split_once(' ').unwrap_or((&words, "")) {
                        ("ready", _) => ready[stream as usize] = true,
                        // It is said after sudo's own end, too. sudo's words may still be on their way.
                        ("denied", status) => {
                            denied = (!ready[0]).then(|| status.to_string());
                            self.running.close();
                        }
                        ("gone", _) => gone = true,
                        (_, code) => {
                            ended[stream as usize] = true;
                            rc = rc.or(code.parse().ok());
                            if broken_off.is_none() {
                                until = until.min(clock::mono() + PARTING);
                            }
                        }
                    }
                }
                Heard::End => break,
                Heard::Cancelled | Heard::Late if rc.is_some() || broken_off.is_some() => break,
                why => {
                    broken_off = Some(if matches!(why, Heard::Late) {
                        "deadline"
                    } else {
                        "cancelled"
                    });
                    self.running.close(); // without a bye: the server ends the script and says so
                    (until, cancel) = (clock::mono() + ENDING, Cancel::new());
                }
            }
        }
        let refusal = match sudo {
            Sudo::NoPassword => "sudo_not_allowed",
            _ => "sudo_password_wrong",
        };
        let sudo_says = |status| {
            error::sudo(
                self.target,
                refusal,
                status,
                self.noise.iter().map(|(_, line)| line.as_str()),
            )
        };
        match (broken_off, rc) {
            (Some(code), _) => Err(error::broken_off(code, self.target, gone)),
            (None, Some(rc)) => {
                self.running.send(b"bye\n");
                self.running.close();
                self.running.exited_within(PARTING);
                Ok(rc)
            }
            (None, None) if denied.is_some() => Err(sudo_says(&denied.unwrap_or_default())),
            // The sudo that wanted no password a moment ago has changed its mind.
            (None, None) if !ready[0] && self.noise.iter().any(|(_, line)| line.starts_with("sudo")) => {
                Err(sudo_says(""))
            }
            (None, None) => {
                let status = self.running.exited_within(PARTING);
                let seen = format!(
                    "ssh: {}\n{}",
                    status.map_or("still runs".into(), |s| s.to_string()),
                    self.evidence()
                );
                Err(error("ssh_link_lost", self.target, &seen))
            }
        }
    }

    fn hear(&mut self, until: Instant, cancel: &Cancel) -> Heard {
        match self.running.next(until, cancel) {
            Event::Line(stream, line) => match line.strip_prefix(&self.mark).and_then(|l| l.strip_prefix(' ')) {
                Some(words) => Heard::Ours(stream, words.to_string()),
                None => Heard::Other(stream, line),
            },
            Event::End => Heard::End,
            Event::Cancelled => Heard::Cancelled,
            Event::Late => Heard::Late,
        }
    }

    fn noise(&mut self, stream: Stream, line: String) {
        if self.noise.len() == NOISE_LINES {
            self.noise.pop_front();
        }
        self.noise.push_back((stream, text::one_line(&line, 300)));
    }

    /// What ssh itself said. A server's banner is none of it: that goes to stderr.
    fn said(&self) -> String {
        let log = file::read_limited(self.log.path(), LOG_MAX).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// What ssh and the server said, for the log.
    fn evidence(&self) -> String {
        let mut said = self.said();
        self.noise
            .iter()
            .for_each(|(_, line)| said.extend([line.as_str(), "\n"]));
        said
    }

    /// What the server said before it was to say anything: on stdout, or else on stderr, where ssh shows its banner, too.
    fn greeting(&self) -> Vec<&str> {
        let of = |wanted| {
            self.noise
                .iter()
                .filter(move |(stream, line)| *stream == wanted && !line.is_empty())
        };
        let stream = match of(Stream::Stdout).next() {
            Some(_) => Stream::Stdout,
            None => Stream::Stderr,
        };
        of(stream).map(|(_, line)| line.as_str()).collect()
    }

    /// No hello in time, and ssh still runs.
    fn no_hello(&self) -> Error {
        let waited = clock::mono() - self.started;
        // Of a shared connection only the next login tells whether it still lives.
        let code = match self.socket.exists() {
            true if self.opens => "ssh_shell_silent",
            false if waited > ANSWER => "ssh_login_slow",
            _ => "ssh_timeout",
        };
        let mut e = error(code, self.target, &self.evidence());
        let over = if self.opens {
            ""
        } else {
            " over the connection of an earlier job"
        };
        e.say
            .push_str(&format!(" Nothing came back{over} for {} s.", waited.as_secs()));
        error::said(e, "The server", self.greeting().into_iter())
    }

    /// ssh has ended before a hello.
    fn no_login(&mut self) -> Error {
        let seen = self.evidence();
        let asked = self.login.take().and_then(|login| login.answer?.refused());
        if let Some(question) = asked {
            return error("ssh_second_factor", self.target, &question);
        }
        let said = self.said();
        if said.is_empty() {
            let status = self.running.exited_within(PARTING).and_then(|status| status.code());
            return error::no_shell(self.target, status, &self.greeting(), &seen);
        }
        match (error::login(self.target, &said, &seen), &self.target.auth) {
            // ssh says the same for a wrong passphrase; only opening the key tells.
            (e, Auth::Key { pem, passphrase }) if e.code.starts_with("ssh_key_") => {
                self.ssh.inspect(pem, passphrase.as_ref()).err().unwrap_or(e)
            }
            (e, _) => e,
        }
    }
}

/// The way to the caller.
struct Output<'a> {
    on_line: &'a mut dyn FnMut(Stream, &str),
    cap: Cap,
    /// An empty line is held back until the next one: the last may be the line end before our mark.
    empty: [bool; 2],
}

impl Output<'_> {
    fn line(&mut self, stream: Stream, line: String) {
        if std::mem::replace(&mut self.empty[stream as usize], line.is_empty()) {
            self.hand_on(stream, "");
        }
        if !line.is_empty() {
            self.hand_on(stream, &line);
        }
    }

    fn hand_on(&mut self, stream: Stream, line: &str) {
        if let Some(line) = self.cap.admit(line) {
            (self.on_line)(stream, line);
        }
    }
}

/// A script, filled up to a block with line ends.
fn block(script: &str) -> Vec<u8> {
    let mut block = script.as_bytes().to_vec();
    block.resize(BLOCK, b'\n');
    block
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

/// A password as sudo reads it: to the end of the line.
fn one_line(password: &Secret) -> Result<Secret> {
    let bytes = password.reveal_for("sudo's stdin");
    match bytes.iter().any(|b| matches!(b, b'\n' | b'\r' | 0)) {
        true => Err(Error::new(
            Kind::Malformed,
            "line_break_in_value",
            "A password may not contain a line break or NUL.",
        )),
        false => Ok(Secret::new([bytes, b"\n"].concat())),
    }
}
