//! The protocol over a [`Channel`] that runs one script: for jobs, which wait for its end, and followers, which stream.
//!
//! 1. We send `hello.sh`; it reports the login and what sudo allows, and waits.
//! 2. We say which user to run as. Only then, and only if sudo wants it, the sudo password is sent.
//! 3. `run.sh` and the script follow. `run.sh` runs the script in its own session and watches our stdin: when that
//!    ends without a bye (cancelled, killed, connection lost), or nothing comes for too long, it ends the session. It
//!    answers “here” to “here”.
//! 4. It reports `end` and the exit code. ssh's own 255 is ambiguous and not used.
//!
//! Protocol messages are told from the script's output by a random mark at the start of the line.

use super::channel::{Channel, Noise};
use super::error::{self, error};
use super::master::SessionSlot;
use super::{Stream, Sudo, Target, argv};
use crate::base::clock::{Duration, Instant};
use crate::base::error::{Error, Kind, Result};
use crate::base::process::{Cancel, Event, LineReader};
use crate::base::secret::Secret;
use crate::base::{random, text};

const HELLO: &str = include_str!("hello.sh");
const RUN: &str = include_str!("run.sh");
/// Block size of the remote `dd`.
const BLOCK: usize = 4_096;
const _: () = assert!(RUN.len() <= BLOCK);

/// Longest script in bytes.
const SCRIPT_MAX: usize = 1024 * 1024;
/// Lines of other output kept as evidence (the last ones).
const NOISE_LINES: usize = 20;

/// Puts the script in braces: the shell parses it to the end before running any of it, so a truncated script does
/// nothing, and nothing in it can read the rest from stdin.
pub(super) fn whole(script: &str) -> Result<String> {
    match script.len() > SCRIPT_MAX || script.contains('\0') {
        true => Err(Error::internal("a script of more than 1 MiB, or with a NUL")),
        false => Ok(["{\n", script, "\n} </dev/null\n"].concat()),
    }
}

/// Protocol state of one script.
pub(super) struct Conversation<'a> {
    target: &'a Target,
    channel: Channel<'a>,
    pub(super) lines: LineReader,
    mark: String,
    noise: Noise,
    /// State of the script's streams: started, ended.
    ready: [bool; 2],
    ended: [bool; 2],
    /// An empty line is held back until the next one: the last may be the line end before our mark.
    empty: [bool; 2],
    rc: Option<i32>,
    /// Exit code of sudo, if it ended before the script began.
    denied: Option<String>,
    /// The server has ended the script and all its children.
    gone: bool,
}

/// Next input.
#[derive(PartialEq)]
pub(super) enum Input {
    /// Lines of the script, or messages handled here.
    Taken,
    /// Answer to [`Conversation::here`].
    Here,
    /// The connection has ended.
    End,
    Cancelled,
    Late,
}

/// Receiver of the script's lines.
pub(super) type OnLine<'f> = &'f mut dyn FnMut(Stream, &str);

impl<'a> Conversation<'a> {
    /// Begins over a new channel: waits for login and hello; returns what sudo allows. `line_max`: longest line of the
    /// script.
    pub(super) fn begin(
        mut channel: Channel<'a>,
        target: &'a Target,
        line_max: usize,
        slot: &SessionSlot,
        until: Instant,
        cancel: &Cancel,
    ) -> Result<(Conversation<'a>, Sudo)> {
        let mark = random::name();
        let known = if slot.password_taken { "password" } else { "" };
        let words = [
            argv::COMMAND,
            argv::COMMAND,
            HELLO,
            argv::GO,
            &format!("{mark} {known}\n"),
        ];
        channel.send(words.join("\n").as_bytes());
        let mut talk = Conversation {
            target,
            channel,
            lines: LineReader::new(line_max),
            mark,
            noise: Noise::new(),
            ready: [false; 2],
            ended: [false; 2],
            empty: [false; 2],
            rc: None,
            denied: None,
            gone: false,
        };
        let words = talk.handshake(until, cancel)?;
        talk.channel.logged_in(slot);
        talk.noise.clear();
        // hello UID CAN WHY…
        let mut words = words.splitn(4, ' ').skip(2);
        let sudo = match words.next().unwrap_or_default() {
            "root" => Sudo::Root,
            "free" => Sudo::NoPassword,
            "password" => Sudo::Password,
            "absent" => Sudo::Absent,
            _ => Sudo::Refused(text::one_line(words.next().unwrap_or_default(), 300)),
        };
        Ok((talk, sudo))
    }

    /// Reads the server's hello.
    fn handshake(&mut self, until: Instant, cancel: &Cancel) -> Result<String> {
        loop {
            match self.lines.next(self.channel.running(), until, cancel) {
                Event::Output(stream, line) => match self.to_us(&line) {
                    Some(words) => return Ok(words.to_string()),
                    None => self.note(stream, &line),
                },
                Event::End => return Err(self.channel.not_logged_in(&self.noise)),
                Event::Cancelled => return Err(error("cancelled", self.target, "before the login")),
                Event::Late => return Err(self.channel.not_greeted(&self.noise)),
            }
        }
    }

    /// Says which user to run as, sends the sudo password if needed, and the script. `silence_max`: the server ends the
    /// script when it hears nothing from us for this long.
    pub(super) fn start(&mut self, root: bool, sudo: &Sudo, script: &str, silence_max: Duration) -> Result<()> {
        let refused = |code, seen: &str| Err(error(code, self.target, seen));
        match sudo {
            _ if !root => self.channel.send(b"user\n"),
            Sudo::Root => self.channel.send(b"user\n"),
            Sudo::NoPassword => self.channel.send(b"free\n"),
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
                self.channel.send(b"password\n");
                self.channel.send(line.reveal_for("sudo's stdin"));
            }
        }
        let seconds = silence_max.as_secs_f64();
        self.channel.send(&block(RUN));
        self.channel
            .send(format!("{}\n{seconds:.1}\n{}\n", self.mark, script.len()).as_bytes());
        self.channel.send(script.as_bytes());
        Ok(())
    }

    /// Sends a keep-alive; the server answers.
    pub(super) fn here(&mut self) {
        self.channel.send(b"here\n");
    }

    /// Reads the next input; lines of the script are passed on.
    pub(super) fn take(&mut self, until: Instant, cancel: &Cancel, on_line: OnLine) -> Input {
        let (stream, line) = match self.lines.next(self.channel.running(), until, cancel) {
            Event::Output(stream, line) => (stream, line),
            Event::End => return Input::End,
            Event::Cancelled => return Input::Cancelled,
            Event::Late => return Input::Late,
        };
        let n = stream as usize;
        let Some(words) = self.to_us(&line) else {
            match self.ready[n] {
                true => self.hand_on(stream, &line, on_line),
                false => self.note(stream, &line),
            }
            return Input::Taken;
        };
        let (word, rest) = words.split_once(' ').unwrap_or((words, ""));
        let (word, rest) = (word.to_string(), rest.to_string());
        self.empty[n] = false; // it belongs to the mark
        match word.as_str() {
            "ready" => self.ready[n] = true,
            "here" => return Input::Here,
            // It is sent after sudo's own end, too. sudo's messages may still be in transit.
            "denied" => {
                self.denied = (!self.ready[0]).then_some(rest);
                self.channel.close();
            }
            "gone" => self.gone = true,
            _ => {
                self.ended[n] = true;
                self.rc = self.rc.or(rest.parse().ok());
            }
        }
        Input::Taken
    }

    /// The script's exit code, once it has ended; more lines may still be in transit.
    pub(super) fn rc(&self) -> Option<i32> {
        self.rc
    }

    /// Both streams have ended.
    pub(super) fn is_over(&self) -> bool {
        self.ended == [true; 2]
    }

    /// Has the server confirmed that nothing of the script runs any more?
    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Closes our side without a bye: the server ends the script and confirms.
    pub(super) fn break_off(&mut self) {
        self.channel.close();
    }

    /// Says bye after the script's end, or returns why there was none.
    pub(super) fn finish(mut self, sudo: &Sudo) -> Result<i32> {
        if let Some(rc) = self.rc {
            self.channel.send(b"bye\n");
            self.channel.close();
            self.channel.exited();
            return Ok(rc);
        }
        let otherwise = match sudo {
            Sudo::NoPassword => "sudo_not_allowed",
            _ => "sudo_password_wrong",
        };
        // sudo's policy may have changed since the hello.
        let sudo_speaks = || !self.ready[0] && self.noise.iter().any(|(_, line)| line.starts_with("sudo"));
        match &self.denied {
            None if !sudo_speaks() => Err(self.channel.lost(&self.noise)),
            denied => {
                let status = denied.as_deref().unwrap_or_default();
                let lines = self.noise.iter().map(|(_, line)| line.as_str());
                Err(error::sudo(self.target, otherwise, status, lines))
            }
        }
    }

    fn to_us<'l>(&self, line: &'l str) -> Option<&'l str> {
        line.strip_prefix(&self.mark)?.strip_prefix(' ')
    }

    fn hand_on(&mut self, stream: Stream, line: &str, on_line: OnLine) {
        if std::mem::replace(&mut self.empty[stream as usize], line.is_empty()) {
            on_line(stream, "");
        }
        if !line.is_empty() {
            on_line(stream, line);
        }
    }

    fn note(&mut self, stream: Stream, line: &str) {
        if self.noise.len() == NOISE_LINES {
            self.noise.pop_front();
        }
        self.noise.push_back((stream, text::one_line(line, 300)));
    }
}

/// A script, padded to a block with line ends.
fn block(script: &str) -> Vec<u8> {
    let mut block = script.as_bytes().to_vec();
    block.resize(BLOCK, b'\n');
    block
}

/// A password as sudo reads it: one line.
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
