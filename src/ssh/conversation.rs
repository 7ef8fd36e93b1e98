//! What is said over a [`Channel`] to run one script: by jobs, which wait for its end, and by followers, which do not.
//!
//! 1. We send `hello.sh`; it says who the login is and what sudo gives it, and waits.
//! 2. We say as whom to go on. Only now, and only if sudo wants one, the sudo password goes out.
//! 3. With it go `run.sh` and the script. `run.sh` runs it in a session of its own and watches our stdin: when that
//!    ends without a bye (we were cancelled, killed, cut off), or nothing comes for too long, it ends the session. To
//!    “here” it answers “here”.
//! 4. It says `end` and the exit code. ssh's own 255 may be the script's or ssh's: it is never trusted.
//!
//! What the server says to us is told from what the script prints by a random mark at the line's begin.

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
/// The size of the blocks that the remote `dd` takes.
const BLOCK: usize = 4_096;
const _: () = assert!(RUN.len() <= BLOCK);

/// Longest script. What is larger is no script.
const SCRIPT_MAX: usize = 1024 * 1024;
/// How much is kept of what is not for the caller, as evidence: the last of it.
const NOISE_LINES: usize = 20;

/// The script in braces: the shell has parsed it to the end before any of it runs, so half a script does nothing; and
/// nothing in it can read the rest of it from stdin.
pub(super) fn whole(script: &str) -> Result<String> {
    match script.len() > SCRIPT_MAX || script.contains('\0') {
        true => Err(Error::internal("a script of more than 1 MiB, or with a NUL")),
        false => Ok(["{\n", script, "\n} </dev/null\n"].concat()),
    }
}

/// A conversation about one script.
pub(super) struct Conversation<'a> {
    target: &'a Target,
    channel: Channel<'a>,
    pub(super) lines: LineReader,
    mark: String,
    noise: Noise,
    /// How the script's streams stand: it has been started, it has ended.
    ready: [bool; 2],
    ended: [bool; 2],
    /// An empty line is held back until the next one: the last may be the line end before our mark.
    empty: [bool; 2],
    rc: Option<i32>,
    /// sudo ended before the script began, with this code.
    denied: Option<String>,
    /// The server has ended the script and all its children.
    gone: bool,
}

/// What came next.
#[derive(PartialEq)]
pub(super) enum Input {
    /// Lines of the script, or words that only this conversation is concerned with.
    Taken,
    /// The answer to [`Conversation::here`].
    Here,
    /// The connection has ended.
    End,
    Cancelled,
    Late,
}

/// Where a script's lines go.
pub(super) type OnLine<'f> = &'f mut dyn FnMut(Stream, &str);

impl<'a> Conversation<'a> {
    /// Begins over a fresh channel: waits for the login and the hello; tells what sudo gives. `line_max`: of the script.
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

    /// The server's first words to us.
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

    /// Says as whom to go on, gives sudo its password if it wants one, and sends the script.
    /// `silence_max`: when the server hears nothing from us for so long, it ends the script.
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

    /// Tells the server that we are still here; it answers.
    pub(super) fn here(&mut self) {
        self.channel.send(b"here\n");
    }

    /// Takes what comes next; lines of the script are handed on.
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
            // It is said after sudo's own end, too. sudo's words may still be on their way.
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

    /// The script's exit code, once it has ended; more of its lines may still be on their way.
    pub(super) fn rc(&self) -> Option<i32> {
        self.rc
    }

    /// Both streams have ended.
    pub(super) fn is_over(&self) -> bool {
        self.ended == [true; 2]
    }

    /// The server has told that nothing of the script runs there any more.
    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Ends what we send, without a bye: the server ends the script and says so.
    pub(super) fn break_off(&mut self) {
        self.channel.close();
    }

    /// Takes leave after the script's end, or says why there was none.
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
        // The sudo that wanted no password a moment ago may have changed its mind.
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

/// A script, filled up to a block with line ends.
fn block(script: &str) -> Vec<u8> {
    let mut block = script.as_bytes().to_vec();
    block.resize(BLOCK, b'\n');
    block
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
