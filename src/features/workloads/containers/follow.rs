//! Follows the log of one life of a container, on a thread of its own: from where its lines in the journal end, to the end
//! of the log.

use super::engine::{Ask, Engine};
use super::frames::{Frames, Piece};
use super::lines::{Joiner, Ration};
use super::model::{EngineId, Inspected};
use super::resume::{Position, Resume, Verdict};
use crate::base::clock;
use crate::base::error::Result;
use crate::base::process::Cancel;
use crate::journal::{Journal, New};
use crate::series::Subject;
use std::sync::atomic::{AtomicI64, Ordering};

/// Bytes per read.
const STEP: usize = 16 << 10;
/// A clock that is off by less than this is right, ns.
const SKEW_MIN: i64 = 2_000_000_000;

/// How far a server's clock is before ours, ns.
#[derive(Debug, Default)]
pub struct Skew(AtomicI64);

impl Skew {
    /// The server's clock showed this (unix ms) just now.
    pub fn see(&self, shown_ms: i64) {
        let skew = (shown_ms - clock::now()).saturating_mul(1_000_000);
        self.0
            .store(if skew.abs() < SKEW_MIN { 0 } else { skew }, Ordering::Relaxed);
    }

    /// The server's time now, unix ns.
    pub fn theirs(&self) -> i64 {
        clock::now().saturating_mul(1_000_000) + self.0.load(Ordering::Relaxed)
    }

    /// Our time of theirs, never in the future; both in unix ns.
    pub fn ours(&self, theirs: i64) -> i64 {
        let now = clock::now().saturating_mul(1_000_000);
        match theirs {
            0 => now,
            theirs => (theirs - self.0.load(Ordering::Relaxed)).min(now),
        }
    }
}

/// Whose log goes where.
pub struct Followed<'a> {
    /// Who has it.
    pub engine: &'a Engine,
    /// The server's clock.
    pub skew: &'a Skew,
    /// Where its lines go.
    pub journal: &'a Journal,
    /// Whose lines they are.
    pub subject: Subject,
    /// Which life.
    pub life: &'a EngineId,
    /// Goes on with it, or reads what is there.
    pub live: bool,
}

/// Follows until the log ends. Errors: those of the engine, `engine_frames`, `engine_no_logs`, `cancelled`.
pub fn follow(of: &Followed, cancel: &Cancel) -> Result<()> {
    let Followed {
        engine,
        journal,
        subject,
        life,
        ..
    } = of;
    let inspected: Inspected = engine.read(&Ask::Inspect(life))?;
    let stored = journal.mark(*subject);
    let mut position = Position::parse(&stored, life);
    if position.is_start() && !stored.is_empty() && !stored.contains(life.as_str()) {
        let note = New::note(of.skew.ours(0), format!("Made anew: {}", life.short()));
        journal.put(*subject, vec![note], Some(position.text()), cancel)?;
    }
    let mut resume = Resume::new(&position);
    let mut stream = engine.open(&Ask::Logs(life, position.since(of.skew.theirs()), of.live), cancel)?;
    let (mut frames, mut joiner, mut ration) = (Frames::new(inspected.tty()), Joiner::default(), Ration::new());
    let mut buffer = vec![0; STEP];
    loop {
        let n = stream.read(&mut buffer)?;
        let mut lines = Vec::new();
        ration.refill(clock::mono());
        let mut each = |piece: Piece| {
            match resume.judge(&piece) {
                Verdict::Skip => return Ok(()),
                Verdict::New => {}
                Verdict::AfterGap => {
                    let at = of.skew.ours(piece.stamp);
                    lines.push(New::note(
                        at,
                        "Lines may be missing here: the engine no longer had the last one that was read.",
                    ));
                }
            }
            if let Some(line) = joiner.take(&piece, &mut position, |at| of.skew.ours(at)) {
                ration.admit(line, &mut lines);
            }
            Ok(())
        };
        match n {
            0 => frames.end(&mut each)?,
            n => frames.push(&buffer[..n], &mut each)?,
        }
        if n == 0 {
            ration.say(of.skew.ours(0), &mut lines);
        }
        if !lines.is_empty() {
            journal.put(*subject, lines, Some(position.text()), cancel)?;
        }
        if n == 0 {
            return Ok(());
        }
    }
}
