//! A person's shell: a session with a terminal, as bytes in both directions. `ssh` gets a local terminal (for size and
//! modes, `iutf8` among them) that is not its controlling one; a new size is signalled. When this is dropped or the
//! connection breaks, the server hangs up the terminal and all that runs in it.
//!
//! Output must be read with [`Terminal::next`]; otherwise the server is blocked (after 256 KiB here, and ssh's window).
//! Input is written by a [`Keyboard`], which any thread may hold and which accepts only what the server keeps up with.

use super::channel::{Channel, Noise, greeted};
use super::error::error;
use super::master::{Class, SessionSlot};
use super::{Ssh, Stream, Target, argv};
use crate::base::clock::{self, Duration, Instant};
use crate::base::error::{Error, Result};
use crate::base::process::{Cancel, Event, Keyboard};
use crate::base::sys::TerminalSize;
use crate::base::{lines, text};
use std::thread;

/// Limit of connecting and login.
const OPEN_MAX: Duration = Duration::from_secs(45);
/// Longest script in bytes.
const SCRIPT_MAX: usize = 64 * 1024;
/// Limit of output before the login is complete.
const GREETING_MAX: usize = 64 * 1024;
/// Time in which `ssh` sets its terminal to raw mode after the session has begun.
const RAW_SOON: Duration = Duration::from_millis(2);

/// The user's login shell.
pub const LOGIN_SHELL: &str = "cd; exec \"${SHELL:-/bin/sh}\" -l";

/// An open terminal.
pub struct Terminal<'a> {
    channel: Channel<'a>,
    /// Output received when the login was complete.
    first: Vec<u8>,
    _slot: SessionSlot<'a>,
}

/// Next output.
#[derive(Debug, PartialEq, Eq)]
pub enum Shown {
    /// What the terminal shows next.
    Bytes(Vec<u8>),
    /// The session has ended; with its exit code if `ssh` reports one.
    Ended(Option<i32>),
    /// Nothing until the deadline.
    Late,
    /// The caller's [`Cancel`] was triggered.
    Cancelled,
}

impl Ssh {
    /// Opens a terminal and runs a script in it: assignments (`base::shell::assignments`) and a constant text, such as
    /// [`LOGIN_SHELL`]. Its stdin is the terminal. Errors: those of a login, `ssh_sessions_full`.
    pub fn terminal<'a>(
        &'a self,
        target: &'a Target,
        script: &str,
        size: TerminalSize,
        cancel: &Cancel,
    ) -> Result<Terminal<'a>> {
        if script.len() > SCRIPT_MAX || script.contains('\0') {
            return Err(Error::internal(
                "a terminal's script of more than 64 KiB, or with a NUL",
            ));
        }
        let ((mut channel, first), slot, _) = greeted(
            self,
            target,
            Class::Terminal,
            Some(size),
            OPEN_MAX,
            cancel,
            &mut |channel, slot, until, cancel| ready(channel, target, slot, until, cancel),
        )?;
        channel.send([script, argv::GO, ""].join("\n").as_bytes());
        Ok(Terminal {
            channel,
            first,
            _slot: slot,
        })
    }
}

impl Terminal<'_> {
    /// Waits for the next output.
    pub fn next(&mut self, until: Instant, cancel: &Cancel) -> Shown {
        if !self.first.is_empty() {
            return Shown::Bytes(std::mem::take(&mut self.first));
        }
        loop {
            return match self.channel.next(until, cancel) {
                Event::Output(Stream::Stdout, bytes) => Shown::Bytes(bytes),
                // ssh's own message: “Shared connection to … closed.”
                Event::Output(Stream::Stderr, _) => continue,
                Event::End => Shown::Ended(self.channel.exited().and_then(|status| status.code())),
                Event::Cancelled => Shown::Cancelled,
                Event::Late => Shown::Late,
            };
        }
    }

    /// A handle for input and size, for another thread.
    pub fn keyboard(&mut self) -> Keyboard {
        self.channel.running().keyboard()
    }
}

/// Waits until the session reads its script.
fn ready<'a>(
    mut channel: Channel<'a>,
    target: &Target,
    slot: &SessionSlot,
    until: Instant,
    cancel: &Cancel,
) -> Result<(Channel<'a>, Vec<u8>)> {
    let mut shown = Vec::new();
    let noise = |shown: &[u8]| -> Noise {
        let text = String::from_utf8_lossy(shown);
        let lines = text.lines().map(|line| text::one_line(&lines::plain(line), 300));
        lines.map(|line| (Stream::Stdout, line)).take(20).collect()
    };
    let word = argv::TERMINAL_READY;
    let end = loop {
        if let Some(at) = shown.windows(word.len()).position(|w| w == word) {
            break at + word.len();
        }
        match channel.next(until, cancel) {
            // stderr has ssh's banner and final message.
            Event::Output(_, bytes) if shown.len() < GREETING_MAX => shown.extend(bytes),
            Event::Output(..) => {
                shown.drain(..shown.len() - word.len());
            }
            Event::End => return Err(channel.not_logged_in(&noise(&shown))),
            Event::Cancelled => return Err(error("cancelled", target, "before the login")),
            Event::Late => return Err(channel.not_greeted(&noise(&shown))),
        }
    };
    // Sent sooner, it would be echoed by our own terminal.
    while !channel.running().terminal_is_raw() {
        if clock::mono() >= until || cancel.is_cancelled() {
            return Err(channel.not_greeted(&noise(&shown)));
        }
        thread::sleep(RAW_SOON);
    }
    channel.logged_in(slot);
    Ok((channel, shown.split_off(end)))
}
