//! Follows the log of one life of a container, on a thread of its own: from where its lines in the journal end, to the end
//! of the log.
//!
//! Podman, asked to follow a log that lies in a file, loses lines: when it comes to the end of the file while a line is
//! being written, it gives the half of it that is there, or drops it, and goes on at what is then the end. What it gives of
//! a file that it reads once is whole, but for the last line. So there the stream only says that there is something, and
//! lines are read in rounds; the last one is taken when it is still the same a second later.

use super::engine::{Ask, Engine};
use super::frames::{Frames, Piece};
use super::lines::{Joiner, Ration};
use super::model::{EngineId, Inspected};
use super::resume::{Again, Position, Resume, Verdict};
use crate::base::clock::{self, Duration, Instant};
use crate::base::error::{Error, Kind, Result};
use crate::base::process::{self, Cancel};
use crate::journal::{Journal, New};
use crate::series::Subject;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

/// Bytes per read.
const STEP: usize = 8 << 10;
/// Shortest pause between two rounds.
const ROUND_MIN: Duration = Duration::from_millis(300);
/// Longest one.
const ROUND_MAX: Duration = Duration::from_secs(60);
/// The pause is so many times what the round took: the engine reads the whole file each time.
const ROUND_PAUSE: u32 = 3;
/// A last line that is the same for so long is whole: its writer writes on at once.
const SETTLED: Duration = Duration::from_secs(1);
/// Stack of the thread that listens.
const STACK: usize = 128 << 10;
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
    /// Is it Podman?
    pub podman: bool,
}

/// Follows until the log ends. Errors: those of the engine, `engine_frames`, `engine_no_logs`, `cancelled`.
pub fn follow(of: &Followed, cancel: &Cancel) -> Result<()> {
    let inspected: Inspected = of.engine.read(&Ask::Inspect(of.life))?;
    let stored = of.journal.mark(of.subject);
    let position = Position::parse(&stored, of.life);
    if position.is_start() && !stored.is_empty() && !stored.contains(of.life.as_str()) {
        let note = New::note(of.skew.ours(0), format!("Made anew: {}", of.life.short()));
        of.journal.put(of.subject, vec![note], Some(position.text()), cancel)?;
    }
    let mut reader = Reader {
        of,
        tty: inspected.tty(),
        position,
        ration: Ration::default(),
        held: None,
    };
    match of.live && of.podman && inspected.log_driver() != "journald" {
        true => by_rounds(&mut reader, cancel),
        false => reader.read(of.live, true, cancel).map(drop),
    }
}

/// Reads a log that its engine cannot follow without loss.
fn by_rounds(reader: &mut Reader, cancel: &Cancel) -> Result<()> {
    let of = reader.of;
    let over = Cancel::new();
    let ends = over.clone();
    let _watch = cancel.watch(move || ends.cancel());
    if cancel.is_cancelled() {
        return Err(process::cancelled());
    }
    let (ring, rung) = mpsc::sync_channel(1);
    let since = reader.position.since(of.skew.theirs());
    let listening = over.clone();
    thread::scope(|scope| {
        let listen = move || {
            let mut bell = of.engine.open(&Ask::Logs(of.life, since, true), &listening)?;
            let mut buffer = vec![0; STEP];
            while bell.read(&mut buffer)? > 0 {
                let _ = ring.try_send(()); // it rings already
            }
            Ok(())
        };
        let listener = thread::Builder::new()
            .name("containers.bell".into())
            .stack_size(STACK)
            .spawn_scoped(scope, listen)?;
        let mut missing = false;
        let mut rounds = || -> Result<()> {
            loop {
                let begun = clock::mono();
                let settled = reader.read(false, false, &over)?;
                let pause = (begun.elapsed() * ROUND_PAUSE).clamp(ROUND_MIN, ROUND_MAX);
                let until = clock::mono() + pause;
                missing = !settled;
                loop {
                    let left = until.saturating_duration_since(clock::mono());
                    let heard = match missing {
                        true if left.is_zero() => break,
                        true => rung.recv_timeout(left),
                        false => rung.recv().map_err(|_| RecvTimeoutError::Disconnected),
                    };
                    match heard {
                        Ok(()) => missing = true,
                        Err(RecvTimeoutError::Timeout) => break,
                        Err(RecvTimeoutError::Disconnected) => return Ok(()),
                    }
                }
            }
        };
        let done = rounds();
        if done.is_err() {
            over.cancel();
        }
        let heard: Result<()> = listener
            .join()
            .unwrap_or_else(|_| Err(Error::internal("the thread that listens panicked")));
        let last = match (done, heard) {
            (Err(e), _) => Err(e),
            // The container has ended: so has its last line.
            (Ok(()), Ok(())) => reader.read(false, true, &over).map(drop),
            // The stream broke: with the container, or with the way to it.
            (Ok(()), Err(e)) => reader.read(false, false, &over).and(Err(e)),
        };
        match last {
            Err(e) if e.kind == Kind::NotFound && missing => reader.removed(cancel),
            last => last,
        }
    })
}

/// A piece on its own, which waits for the next one.
#[derive(PartialEq, Eq)]
struct Held {
    stderr: bool,
    stamp: i64,
    text: Vec<u8>,
    lost: usize,
    ends: bool,
}

impl Held {
    fn of(piece: &Piece) -> Held {
        Held {
            stderr: piece.stderr,
            stamp: piece.stamp,
            text: piece.text.to_vec(),
            lost: piece.lost,
            ends: piece.ends,
        }
    }

    fn piece(&self) -> Piece<'_> {
        Piece {
            stderr: self.stderr,
            stamp: self.stamp,
            text: &self.text,
            lost: self.lost,
            ends: self.ends,
        }
    }
}

/// Reads a log from where it was read to.
struct Reader<'a> {
    of: &'a Followed<'a>,
    tty: bool,
    position: Position,
    ration: Ration,
    /// The last piece, which was not taken, and since when it is the last one.
    held: Option<(Held, Instant)>,
}

impl Reader<'_> {
    /// The container was removed before a last round: takes what is left, and says that more may have been there.
    fn removed(&mut self, cancel: &Cancel) -> Result<()> {
        let skew = self.of.skew;
        let mut lines = Vec::new();
        if let Some((held, _)) = self.held.take() {
            lines.extend(Joiner::default().take(&held.piece(), &mut self.position, |at| skew.ours(at)));
        }
        let say = "Lines may be missing here: the container was removed before its last ones were read.";
        lines.push(New::note(skew.ours(0), say));
        let mark = Some(self.position.text());
        self.of.journal.put(self.of.subject, lines, mark, cancel)
    }

    /// Reads to the end of the answer. When that end may be in the middle of a line (`!whole`), its last piece is taken only
    /// when it is settled; says whether all was taken.
    fn read(&mut self, live: bool, whole: bool, cancel: &Cancel) -> Result<bool> {
        let Followed {
            engine,
            skew,
            journal,
            subject,
            life,
            ..
        } = *self.of;
        let mut resume = Resume::new(&self.position);
        let mut stream = engine.open(&Ask::Logs(life, self.position.since(skew.theirs()), live), cancel)?;
        let (mut frames, mut joiner) = (Frames::new(self.tty), Joiner::default());
        let mut again = Again::default();
        let mut buffer = vec![0; STEP];
        let mut last: Option<(Held, Verdict)> = None;
        loop {
            let n = stream.read(&mut buffer)?;
            let mut lines = Vec::new();
            self.ration.refill(clock::mono());
            let mut take = |piece: &Piece, verdict: Verdict| {
                if verdict == Verdict::AfterGap {
                    let say = "Lines may be missing here: the engine no longer had the last one that was read.";
                    lines.push(New::note(skew.ours(piece.stamp), say));
                }
                if let Some(line) = joiner.take(piece, &mut self.position, |at| skew.ours(at)) {
                    self.ration.admit(line, &mut lines);
                }
            };
            let mut each = |piece: Piece| {
                let verdict = resume.judge(&piece);
                if verdict == Verdict::Skip || again.is(&piece) {
                    return Ok(());
                }
                if whole {
                    take(&piece, verdict);
                } else if let Some((before, verdict)) = last.replace((Held::of(&piece), verdict)) {
                    take(&before.piece(), verdict);
                }
                Ok(())
            };
            match n {
                0 => frames.end(&mut each)?,
                n => frames.push(&buffer[..n], &mut each)?,
            }
            if n == 0 {
                let now = clock::mono();
                let since = match &self.held {
                    Some((held, since)) if last.as_ref().is_some_and(|(last, _)| last == held) => *since,
                    _ => now,
                };
                let is_settled = now.saturating_duration_since(since) >= SETTLED;
                if let Some((held, verdict)) = last.take_if(|_| is_settled) {
                    take(&held.piece(), verdict);
                }
                self.held = last.take().map(|(held, _)| (held, since));
                self.ration.say(skew.ours(0), &mut lines);
            }
            if !lines.is_empty() {
                journal.put(subject, lines, Some(self.position.text()), cancel)?;
            }
            if n == 0 {
                return Ok(self.held.is_none());
            }
        }
    }
}
