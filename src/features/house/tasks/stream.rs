//! A task's log as a live stream. Readers of one task share rendered lines: the first one queries the database, the
//! others copy. A reader that is too far behind queries the database itself.

use super::Outcome;
use crate::access::Actor;
use crate::app::App;
use crate::base::clock::rfc3339;
use crate::base::error::Result;
use crate::base::id::{self, Id};
use crate::base::shape::{Shape, described};
use crate::events::wake::Wake;
use crate::http::sse::{self, Event, Flow, Source};
use crate::task::log::Progress;
use crate::task::{LogLine, Task, log, queue};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

/// Lines per database query.
const LOOK_MAX: i64 = 500;
/// Rendered chunks kept for readers that are slightly behind.
const CHUNKS_MAX: usize = 32;

const LOG: Event<LogFrame<'static>> = Event::named("log");
const PROGRESS: Event<Progress> = Event::named("progress");
const END: Event<Outcome<'static>> = Event::named("end");

/// Events of a task's stream.
pub const EVENTS: &[(&str, &Shape)] = &[LOG.row(), PROGRESS.row(), END.row()];

/// A reader's position in a task's log.
pub struct TaskLog {
    feed: Arc<Feed>,
    wake: Wake,
    after: i64,
}

/// State shared by the readers of one task.
struct Feed {
    app: Arc<App>,
    task: Id<id::Task>,
    state: Mutex<State>,
}

impl State {
    /// Number of the last known line.
    fn newest(&self) -> i64 {
        let end = self.end.as_ref().map_or(0, |(last, _)| *last);
        self.chunks.back().map_or(end, |c| c.to.max(end))
    }
}

#[derive(Default)]
struct State {
    chunks: VecDeque<Chunk>,
    /// The wake's count at the last query; unchanged means nothing new.
    looked_at: Option<u64>,
    /// Once the task has ended: the number of its last line, and the rendered `end` frame after it.
    end: Option<(i64, Arc<[u8]>)>,
}

/// Frames of the lines after `from`, up to and including `to`.
#[derive(Clone)]
struct Chunk {
    from: i64,
    to: i64,
    frames: Arc<[u8]>,
}

static FEEDS: LazyLock<Mutex<HashMap<Id<id::Task>, Weak<Feed>>>> = LazyLock::new(Mutex::default);

impl TaskLog {
    /// A reader that has all lines up to `after`.
    pub fn new(app: &Arc<App>, task: Id<id::Task>, after: i64) -> TaskLog {
        let mut feeds = FEEDS.lock().unwrap_or_else(PoisonError::into_inner);
        let feed = feeds.get(&task).and_then(Weak::upgrade).unwrap_or_else(|| {
            feeds.retain(|_, feed| feed.strong_count() > 0);
            let feed = Arc::new(Feed {
                app: app.clone(),
                task,
                state: Mutex::default(),
            });
            feeds.insert(task, Arc::downgrade(&feed));
            feed
        });
        TaskLog {
            feed,
            wake: app.wakes.log(task),
            after,
        }
    }
}

impl Source for TaskLog {
    fn fill(&mut self, _: &Actor, out: &mut Vec<u8>) -> Result<Flow> {
        loop {
            match self.feed.step(&mut self.after, &self.wake, out)? {
                Step::Again if out.len() < sse::BATCH => {}
                Step::Again | Step::Nothing => return Ok(Flow::More),
                Step::End => return Ok(Flow::End),
            }
        }
    }

    fn moved(&self) -> u64 {
        self.wake.count()
    }
}

/// Result of one step.
enum Step {
    /// There may be more.
    Again,
    /// Nothing more for now.
    Nothing,
    /// The task has ended and everything was sent.
    End,
}

impl Feed {
    fn step(&self, after: &mut i64, wake: &Wake, out: &mut Vec<u8>) -> Result<Step> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = state.newest();
        let behind = *after < newest && !state.chunks.iter().any(|c| c.from == *after);
        if behind {
            drop(state); // readers of other tasks must not wait for this query
            return self.catch_up(after, newest, out);
        }
        let more = *after >= newest && state.end.is_none() && self.read_new(&mut state, wake, *after)?;
        for chunk in &state.chunks {
            if chunk.from == *after {
                out.extend_from_slice(&chunk.frames);
                *after = chunk.to;
            }
        }
        match &state.end {
            Some((_, end)) if *after >= state.newest() => {
                out.extend_from_slice(end);
                Ok(Step::End)
            }
            _ if more => Ok(Step::Again),
            _ => Ok(Step::Nothing),
        }
    }

    /// Reads new lines into a chunk that starts at this reader's position (shared by all current readers). Returns
    /// whether another query is worthwhile.
    fn read_new(&self, state: &mut State, wake: &Wake, after: i64) -> Result<bool> {
        let count = wake.count();
        if state.looked_at == Some(count) && state.chunks.back().is_some_and(|c| c.to == after) {
            return Ok(false);
        }
        let (task, lines, last_seq) = self.app.db.read(|conn| {
            Ok((
                queue::get(conn, self.task)?,
                log::after(conn, self.task, after, LOOK_MAX)?,
                log::last_seq(conn, self.task)?,
            ))
        })?;
        state.looked_at = Some(count);
        let Some(last) = lines.last() else {
            if task.status.is_final() {
                state.end = Some((last_seq, end(&task).into()));
            }
            return Ok(false);
        };
        state.chunks.push_back(Chunk {
            from: after,
            to: last.seq,
            frames: render(&lines).into(),
        });
        if state.chunks.len() > CHUNKS_MAX {
            state.chunks.pop_front();
        }
        // A full query may have more after it; an ended task still has to send its end.
        let more = lines.len() as i64 == LOOK_MAX || task.status.is_final();
        if more {
            state.looked_at = None;
        }
        Ok(more)
    }

    /// For one reader alone: from its position towards the shared end.
    fn catch_up(&self, after: &mut i64, until: i64, out: &mut Vec<u8>) -> Result<Step> {
        let mut lines = self.app.db.read(|conn| log::after(conn, self.task, *after, LOOK_MAX))?;
        lines.retain(|l| l.seq <= until);
        match lines.last() {
            Some(last) => *after = last.seq,
            None => *after = until, // removed meanwhile
        }
        out.extend_from_slice(&render(&lines));
        Ok(Step::Again)
    }
}

described! {
    struct LogFrame<'a> {
        ts: String,
        level: &'a str,
        source: &'a str,
        stream: &'a str,
        line: &'a str,
    }
}

fn render(lines: &[LogLine]) -> Vec<u8> {
    let mut out = Vec::with_capacity(lines.len() * 160);
    for l in lines {
        if l.source == "progress" {
            PROGRESS.frame_made(&mut out, Some(l.seq), &l.line);
            continue;
        }
        let frame = LogFrame {
            ts: rfc3339(l.at),
            level: &l.level,
            source: &l.source,
            stream: &l.stream,
            line: &l.line,
        };
        LOG.frame(&mut out, Some(l.seq), &frame);
    }
    out
}

fn end(task: &Task) -> Vec<u8> {
    let mut out = Vec::new();
    END.frame(&mut out, None, &super::outcome(task));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Allowed;
    use crate::access::right::{Run, Servers};
    use crate::access::standing::tests::standing;
    use crate::base::config::Config;
    use crate::base::{file, random};
    use crate::task::NewTask;
    use crate::vault;

    #[test]
    fn who_has_seen_the_end_does_not_hide_the_log_from_the_next_reader() {
        let dir = std::env::temp_dir().join(random::name());
        file::private_dir(&dir).unwrap();
        let key = vault::new_master_key();
        file::write_new(&dir.join("master.key"), key.reveal_for("a test's key file")).unwrap();
        let flags = [("DATA_DIR", dir.display().to_string())];
        let app = Arc::new(
            App::open(
                Config::load(&flags, None, &Default::default()).unwrap(),
                Default::default(),
            )
            .unwrap(),
        );
        let by = Allowed::<Run, Servers>::by_daemon();
        let new = NewTask {
            kind: "test",
            target: ("server", 1, "web"),
            input: serde_json::json!({}),
        };
        let task = app
            .db
            .write(|tx| queue::enqueue(tx, &app.wakes.tasks, &new, by))
            .unwrap();
        log::Log::start(app.db.clone(), app.wakes.log(task), task)
            .unwrap()
            .say("hello");
        app.db
            .write(|tx| queue::cancel(tx, &app.wakes, task, Allowed::by_daemon()))
            .unwrap();

        let mut knowing = TaskLog::new(&app, task, 1);
        let mut fresh = TaskLog::new(&app, task, 0);
        let (mut told, mut by) = (Vec::new(), standing(1));
        let by = by.ask().unwrap();
        assert_eq!(knowing.fill(by, &mut told).unwrap(), Flow::End);
        told.clear();
        assert_eq!(fresh.fill(by, &mut told).unwrap(), Flow::End);
        let told = String::from_utf8(told).unwrap();
        assert!(told.contains("hello") && told.contains("event: end"), "{told}");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
