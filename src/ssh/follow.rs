//! Follows growing output: a journal, a container's log, a file. There is no total deadline, only one of silence. Both
//! sides send keep-alives: `run.sh` answers ours on stderr, so a dead network is noticed while the log is silent, and
//! the script ends on the server when its follower is gone.
//!
//! A broken connection is a [`News::Lost`], after which [`Follow::next`] tries again with growing pauses, and the
//! script resumes after the last line that the caller was given. Each line therefore has a position token; the script
//! finds the last one in `$RESUME` (empty at first). A source that resumes *after* a token (journald's
//! `--after-cursor`) needs no more. One that resumes *at* a point in time (`docker logs --since`, `podman`'s whole
//! seconds) sends the lines of that point again: with [`Source::inclusive`] as many as were given are skipped. Lines
//! without a token, after the last that has one, are repeated.
//!
//! Lines that the caller does not take wait on the server: a follower that is not read for longer than its idle
//! deadline is ended there and resumes when it is read again.

use super::channel::greeted;
use super::conversation::{Conversation, Input, whole};
use super::master::{Class, SessionSlot};
use super::{Ssh, Stream, Sudo, Target, error};
use crate::base::clock::{self, Duration, Instant};
use crate::base::error::Result;
use crate::base::process::Cancel;
use crate::base::{random, shell};
use std::collections::VecDeque;

/// Longest line: a journal entry of 48 KiB, written as an array of numbers.
const LINE_MAX: usize = 256 * 1024;
/// Longest token; a journal's cursor has 170 bytes.
const TOKEN_MAX: usize = 1_024;
/// Limit of connecting, login and sudo.
const OPEN_MAX: Duration = Duration::from_secs(45);
/// Keep-alives per idle deadline.
const ASKS: u32 = 3;
/// Longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// What to follow.
pub struct Source<'a> {
    /// Assignments (`base::shell::assignments`) and a constant text that runs until ended. It reads `$RESUME`.
    pub script: &'a str,
    /// As root: by sudo when the user is not.
    pub root: bool,
    /// The token of a line of stdout.
    pub token: fn(&str) -> Option<String>,
    /// The script resumes at its token, not after it.
    pub inclusive: bool,
    /// Silence after which the server counts as lost; at least 3 s.
    pub idle_max: Duration,
    /// Pause before the first retry; doubles with each further one, up to a minute.
    pub pause: Duration,
}

/// Position of a follower: the token of the last line given, and the number of lines given with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position {
    /// Empty before the first line.
    pub token: String,
    /// At least 1 if there is a token.
    pub lines: u32,
}

/// Next item.
#[derive(Debug)]
pub enum News {
    /// A line of stdout.
    Line(String),
    /// A line of stderr.
    Complaint(String),
    /// The connection was lost or could not be made. The next call tries again.
    Lost(crate::base::error::Error),
    /// The script has ended with this exit code. Nothing follows.
    Ended(i32),
}

/// A follower. Dropping it ends the script on the server, too.
pub struct Follow<'a> {
    ssh: &'a Ssh,
    target: &'a Target,
    source: Source<'a>,
    position: Position,
    /// Lines at [`Position::token`] to skip.
    skip: u32,
    open: Option<Open<'a>>,
    ready: VecDeque<News>,
    /// Failed tries since the last input.
    failed: u32,
    over: Option<i32>,
}

struct Open<'a> {
    talk: Conversation<'a>,
    sudo: Sudo,
    /// Time of the last keep-alive.
    asked: Instant,
    _slot: SessionSlot<'a>,
}

impl Ssh {
    /// Follows a source, from a position if given. Nothing happens before the first [`Follow::next`].
    pub fn follow<'a>(&'a self, target: &'a Target, source: Source<'a>, from: Option<Position>) -> Follow<'a> {
        Follow {
            ssh: self,
            target,
            position: from.unwrap_or_default(),
            skip: 0,
            open: None,
            ready: VecDeque::new(),
            failed: 0,
            over: None,
            source,
        }
    }
}

impl<'a> Follow<'a> {
    /// The position after the last line given.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Waits for the next item. Errors are permanent: `cancelled`, a changed host key, a refused login, a refusal of
    /// sudo, `ssh_sessions_full`.
    pub fn next(&mut self, cancel: &Cancel) -> Result<News> {
        loop {
            if let Some(news) = self.ready.pop_front() {
                if let News::Line(line) = &news {
                    self.position.pass(self.source.token, line);
                }
                return Ok(news);
            }
            if let Some(rc) = self.over {
                return Ok(News::Ended(rc));
            }
            match self.hear(cancel) {
                Ok(()) => {}
                Err(e) if error::may_pass(&e) => {
                    self.open = None;
                    self.failed += 1;
                    return Ok(News::Lost(e));
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// Reads the next input; connects first if needed.
    fn hear(&mut self, cancel: &Cancel) -> Result<()> {
        let idle_max = self.idle_max();
        let Some(mut open) = self.open.take() else {
            self.open = Some(self.connect(idle_max, cancel)?);
            return Ok(());
        };
        if clock::mono() - open.asked > idle_max * 4 / 5 {
            return Ok(()); // the caller was away for so long that the server has ended the script, or is about to
        }
        // Time in which the caller did not read does not count as silence.
        let silent_at = clock::mono() + idle_max;
        let mut heard = Vec::new();
        let input = loop {
            let ask_at = open.asked + idle_max / ASKS;
            if clock::mono() >= ask_at {
                open.talk.here();
                open.asked = clock::mono();
                continue;
            }
            let mut on_line = |stream, line: &str| heard.push((stream, line.to_string()));
            match open.talk.take(ask_at.min(silent_at), cancel, &mut on_line) {
                Input::Late if clock::mono() < silent_at => {}
                other => break other,
            }
        };
        heard.into_iter().for_each(|(stream, line)| self.sort(stream, line));
        match input {
            Input::Taken | Input::Here if !open.talk.is_over() => {
                (self.open, self.failed) = (Some(open), 0);
            }
            Input::Taken | Input::Here | Input::End => self.over = Some(open.talk.finish(&open.sudo)?),
            Input::Cancelled => return Err(error::error("cancelled", self.target, "while following")),
            Input::Late => {
                let seen = format!("nothing for {} s", idle_max.as_secs());
                return Err(error::error("ssh_link_lost", self.target, &seen));
            }
        }
        Ok(())
    }

    fn connect(&mut self, idle_max: Duration, cancel: &Cancel) -> Result<Open<'a>> {
        if let Some(doubled) = self.failed.checked_sub(1) {
            let pause = self.source.pause.saturating_mul(1 << doubled.min(16)).min(PAUSE_MAX);
            // Jitter: followers of one server that broke together do not reconnect together.
            let [some] = random::bytes::<1>();
            if cancel.wait(pause.mul_f64(0.5 + f64::from(some) / 512.0)) {
                return Err(error::error("cancelled", self.target, "before the next try"));
            }
        }
        let resume = shell::assignments(&[("RESUME", &self.position.token)])?;
        let script = whole(&(resume + self.source.script))?;
        let target = self.target;
        let ((mut talk, sudo), slot, _) = greeted(
            self.ssh,
            target,
            Class::Follow,
            None,
            OPEN_MAX,
            cancel,
            &mut |channel, slot, until, cancel| Conversation::begin(channel, target, LINE_MAX, slot, until, cancel),
        )?;
        talk.start(self.source.root, &sudo, &script, idle_max)?;
        talk.lines.keep_partial = false; // a partial line will be sent again
        self.skip = match self.source.inclusive {
            true => self.position.lines,
            false => 0,
        };
        Ok(Open {
            talk,
            sudo,
            asked: clock::mono(),
            _slot: slot,
        })
    }

    fn idle_max(&self) -> Duration {
        self.source.idle_max.max(Duration::from_secs(3))
    }

    fn sort(&mut self, stream: Stream, line: String) {
        if stream == Stream::Stderr {
            return self.ready.push_back(News::Complaint(line));
        }
        if self.skip > 0 {
            match (self.source.token)(&line).is_some_and(|token| token == self.position.token) {
                true => {
                    self.skip -= 1;
                    return;
                }
                false => self.skip = 0,
            }
        }
        self.ready.push_back(News::Line(line));
    }
}

impl Position {
    /// A line has been given: updates the position.
    fn pass(&mut self, token: fn(&str) -> Option<String>, line: &str) {
        match token(line).filter(|token| (1..=TOKEN_MAX).contains(&token.len())) {
            Some(token) if token == self.token => self.lines = self.lines.saturating_add(1),
            Some(token) => *self = Position { token, lines: 1 },
            None => {}
        }
    }
}
