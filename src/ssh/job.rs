//! A job: one script, its output lines, its exit code, one deadline. The deadline counts from the moment the job has
//! its slot on a connection, without the queue and another session's login.

use super::channel::greeted;
use super::conversation::{Conversation, Input, OnLine, whole};
use super::error;
use super::master::Class;
use super::{Done, Job, Ssh, Sudo, Target};
use crate::base::clock::{self, Duration, Instant};
use crate::base::error::Result;
use crate::base::lines::LINE_MAX;
use crate::base::process::{Cancel, Cap};

/// Limit of output in bytes; then a last line says so and the rest is dropped.
const OUTPUT_MAX: usize = 8 * 1024 * 1024;
/// Time to end a script: 3 s between TERM and KILL, and the round trip.
const ENDING: Duration = Duration::from_secs(6);
/// Additional time after which the server itself ends the script if the connection is dead.
const REMOTE_LATER: Duration = Duration::from_secs(10);
/// Time for the last lines of one stream after the other has ended.
const PARTING: Duration = Duration::from_secs(1);

pub(super) fn run(
    ssh: &Ssh,
    target: &Target,
    class: Class,
    job: &Job,
    cancel: &Cancel,
    on_line: OnLine,
) -> Result<Done> {
    let script = whole(job.script)?;
    let ((mut talk, sudo), mut slot, started) = greeted(
        ssh,
        target,
        class,
        None,
        job.deadline,
        cancel,
        &mut |channel, slot, until, cancel| Conversation::begin(channel, target, LINE_MAX, slot, until, cancel),
    )?;
    let until = started + job.deadline;
    let left = until.saturating_duration_since(clock::mono());
    talk.start(job.root, &sudo, &script, left + REMOTE_LATER)?;
    let ended = listen(talk, &sudo, target, until, cancel, on_line);
    if class == Class::Proof {
        slot.leave(ssh);
    }
    if job.root {
        slot.remember(ended.is_ok() && sudo == Sudo::Password);
    }
    let rc = ended?;
    Ok(Done {
        rc,
        user_is_root: sudo == Sudo::Root,
        sudo,
        ms: (clock::mono() - started).as_millis() as u64,
    })
}

/// Passes on the script's lines until both streams have ended; returns its exit code.
fn listen(
    mut talk: Conversation,
    sudo: &Sudo,
    target: &Target,
    until: Instant,
    cancel: &Cancel,
    on_line: OnLine,
) -> Result<i32> {
    let mut cap = Cap::new(OUTPUT_MAX);
    let mut capped = |stream, line: &str| {
        if let Some(line) = cap.admit(line) {
            on_line(stream, line);
        }
    };
    let (mut until, mut cancel, mut broken_off, mut parting) = (until, cancel.clone(), None, false);
    while !talk.is_gone() && (broken_off.is_some() || !talk.is_over()) {
        match talk.take(until, &cancel, &mut capped) {
            Input::Taken | Input::Here => {
                if talk.rc().is_some() && broken_off.is_none() && !parting {
                    (until, parting) = (until.min(clock::mono() + PARTING), true);
                }
            }
            Input::End => break,
            Input::Cancelled | Input::Late if talk.rc().is_some() || broken_off.is_some() => break,
            why => {
                broken_off = Some(if why == Input::Late { "deadline" } else { "cancelled" });
                talk.break_off();
                (until, cancel) = (clock::mono() + ENDING, Cancel::new());
            }
        }
    }
    match broken_off {
        Some(code) => Err(error::broken_off(code, target, talk.is_gone())),
        None => talk.finish(sudo),
    }
}
