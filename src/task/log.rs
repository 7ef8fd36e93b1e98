//! A task's log. Lines are masked, collected for at most 50 ms (the first after a pause is written at once) and stored
//! in one transaction; readers are woken after the commit. A task writes at most [`LINES_MAX`] lines and [`BYTES_MAX`]
//! bytes; then a marker says so and only its steps and its end are logged.

use super::{LogLine, StepView, queries};
use crate::base::clock::{self, Duration, Instant};
use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::base::lines;
use crate::base::log as daemon_log;
use crate::base::parallel::lock;
use crate::base::redact::Scrub;
use crate::base::secret::Secret;
use crate::base::shape::described;
use crate::base::text;
use crate::db::Db;
use crate::events::wake::Wake;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// Maximum lines of a task.
pub const LINES_MAX: i64 = 50_000;
/// Maximum bytes of a task: protects the disk, and the memory of readers of the whole log.
pub const BYTES_MAX: i64 = 16 << 20;
const GATHER: Duration = Duration::from_millis(50);
const BATCH_MAX: usize = 64;
/// Lines that may wait for the writer; a remote that writes faster is slowed down by its pipe.
const QUEUE_MAX: usize = 1_024;
/// Longest line in bytes, with the marker of cut lines.
const LINE_MAX: usize = lines::LINE_MAX + lines::CUT.len();

enum Message {
    Line(LogLine),
    Steps(String),
}

described! {
    /// Start or end of a step.
    pub struct Progress {
        /// Index, from 1.
        step: usize,
        /// Number of steps.
        steps: usize,
        #[serde(flatten)]
        of: StepView,
    }
}

/// The log of a running task.
pub struct Log {
    send: Option<SyncSender<Message>>,
    writer: Option<JoinHandle<()>>,
    scrub: Mutex<Scrub>,
    steps: Mutex<Vec<StepView>>,
}

impl Log {
    /// Starts the writer thread. It continues after the lines of an earlier run of the task.
    pub fn start(db: Arc<Db>, wake: Wake, task: Id<id::Task>) -> Result<Log> {
        let (send, receive) = mpsc::sync_channel(QUEUE_MAX);
        let writer = std::thread::Builder::new()
            .name(format!("log-{task}"))
            .stack_size(256 << 10)
            .spawn(move || write_loop(&db, &wake, task, &receive))?;
        Ok(Log {
            send: Some(send),
            writer: Some(writer),
            scrub: Mutex::default(),
            steps: Mutex::default(),
        })
    }

    /// Masks this secret and its usual encodings from now on.
    pub fn hide(&self, secret: &Secret) {
        lock(&self.scrub).add(secret);
    }

    /// Writes one line.
    pub fn line(&self, level: &str, source: &str, stream: &str, line: &str) {
        let masked = lock(&self.scrub).line(line);
        self.push(level, source, stream, text::cut(&masked, LINE_MAX));
    }

    /// Writes a line of the task itself.
    pub fn say(&self, line: &str) {
        self.line("info", "task", "", line);
    }

    /// Logs the start or end of a step; `index` counts from 1, `total` is the number of steps.
    pub fn step(&self, index: usize, total: usize, step: StepView) {
        let progress = Progress {
            step: index,
            steps: total,
            of: step.clone(),
        };
        let progress = serde_json::to_string(&progress).unwrap_or_default();
        let mut steps = lock(&self.steps);
        match steps.iter_mut().find(|s| s.name == step.name) {
            Some(known) => *known = step,
            None => steps.push(step),
        }
        let all = serde_json::to_string(&*steps).unwrap_or_else(|_| "[]".into());
        drop(steps);
        self.push("info", "progress", "", &progress);
        self.post(Message::Steps(all));
    }

    fn push(&self, level: &str, source: &str, stream: &str, line: &str) {
        self.post(Message::Line(LogLine {
            seq: 0,
            at: clock::now(),
            level: level.into(),
            source: source.into(),
            stream: stream.into(),
            line: line.into(),
        }));
    }

    fn post(&self, message: Message) {
        if let Some(send) = &self.send {
            // The writer ends only after us; if it panicked, that is in the daemon's log.
            let _ = send.send(message);
        }
    }
}

/// Waits until all lines are written.
impl Drop for Log {
    fn drop(&mut self) {
        drop(self.send.take());
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

fn write_loop(db: &Db, wake: &Wake, task: Id<id::Task>, receive: &Receiver<Message>) {
    let (seq, bytes) = db.read(|conn| queries::log_size(conn, task)).unwrap_or_default();
    let mut size = Size { seq, bytes };
    let mut last_write: Option<Instant> = None;
    while let Ok(first) = receive.recv() {
        let mut batch = vec![first];
        let until = last_write.map_or_else(clock::mono, |at| at + GATHER);
        let ended = gather(receive, &mut batch, until);
        if let Err(e) = write(db, task, &mut size, batch) {
            // The task continues: its outcome matters more than its log. (Usually the disk is full.)
            daemon_log::error(
                "task",
                "log lines lost",
                &[("task", &task.to_string()), ("error", &e.to_string())],
            );
        }
        wake.ring();
        last_write = Some(clock::mono());
        if ended {
            break;
        }
    }
}

/// Receives until `until` (at least what is queued). Returns whether the sender is gone.
fn gather(receive: &Receiver<Message>, batch: &mut Vec<Message>, until: Instant) -> bool {
    while batch.len() < BATCH_MAX {
        match receive.recv_timeout(until.saturating_duration_since(clock::mono())) {
            Ok(message) => batch.push(message),
            Err(RecvTimeoutError::Timeout) => return false,
            Err(RecvTimeoutError::Disconnected) => return true,
        }
    }
    false
}

/// Size of a task's log.
#[derive(Clone, Copy)]
struct Size {
    /// Number of the last line.
    seq: i64,
    /// Of all lines.
    bytes: i64,
}

impl Size {
    fn is_full(self) -> bool {
        self.seq >= LINES_MAX || self.bytes >= BYTES_MAX
    }
}

fn write(db: &Db, task: Id<id::Task>, size: &mut Size, batch: Vec<Message>) -> Result<()> {
    let mut next = *size;
    db.write(|tx| {
        let mut insert = |line: &LogLine| -> Result<bool> {
            next.seq += 1;
            next.bytes += line.line.len() as i64;
            queries::insert_line(tx, task, next.seq, line)?;
            Ok(next.is_full())
        };
        let mut is_full = size.is_full();
        for message in batch {
            match message {
                Message::Steps(json) => queries::set_steps(tx, task, &json)?,
                Message::Line(line) if is_full && line.source != "progress" && line.source != "task" => {}
                Message::Line(mut line) => {
                    let was_full = is_full;
                    is_full = insert(&line)?;
                    if is_full && !was_full {
                        line.source = "task".into();
                        line.stream = String::new();
                        line.line = "… this log is full: the rest of what the server says is left out".into();
                        insert(&line)?;
                    }
                }
            }
        }
        Ok(())
    })?;
    *size = next;
    Ok(())
}

/// Number of the last line, 0 without any.
pub fn last_seq(conn: &crate::db::Conn, task: Id<id::Task>) -> Result<i64> {
    queries::last_seq(conn, task)
}

/// At most `limit` lines after number `after`.
pub fn after(conn: &crate::db::Conn, task: Id<id::Task>, after: i64, limit: i64) -> Result<Vec<LogLine>> {
    queries::lines(conn, task, after, limit)
}
