//! The evaluator of a kind of subjects, kept in step with rules and tags that any process may change.

use super::evaluate::{Evaluator, Transition};
use super::standing::Standing;
use super::{Rule, end_gone, queries, write};
use crate::app::App;
use crate::base::clock::{self, Duration, Instant};
use crate::base::error::Result;
use crate::base::log;
use crate::base::parallel::lock;
use crate::db::Conn;
use crate::series::{Kind, Observation, Observer};
use std::sync::{Arc, Mutex};

/// Interval in which changed rules are noticed if the wake-up was lost.
const REFRESH_EVERY: Duration = Duration::from_secs(5);
/// Interval of storing waiting measurements, so that they survive a restart.
const NOTE_EVERY: Duration = Duration::from_secs(10);

/// Creates an observer that evaluates every observation of a kind.
pub fn start(app: &Arc<App>, kind: &'static Kind) -> Result<Observer> {
    let now = clock::mono();
    let watch = Watch {
        app: app.clone(),
        kind,
        inner: Mutex::new(Inner {
            rules: Standing::new(kind, Rule::is_of_observations),
            is_resumed: false,
            evaluator: Evaluator::default(),
            refreshed: (app.wakes.events.count(), now),
            noted_at: now,
            is_noted: false,
        }),
    };
    watch.refresh(&mut lock(&watch.inner))?;
    Ok(Box::new(move |seen| watch.observe(seen)))
}

struct Watch {
    app: Arc<App>,
    kind: &'static Kind,
    inner: Mutex<Inner>,
}

struct Inner {
    rules: Standing,
    /// Are the stored waiting measurements restored?
    is_resumed: bool,
    evaluator: Evaluator,
    /// Count of events at the last refresh, and its time.
    refreshed: (u64, Instant),
    noted_at: Instant,
    /// Are waiting measurements stored?
    is_noted: bool,
}

fn logged(what: &str, result: Result<()>) {
    if let Err(e) = result {
        log::error("rules", what, &[("error", &e.to_string())]);
    }
}

impl Watch {
    /// Transitions of a batch are written in one transaction.
    fn observe(&self, seen: &[Observation]) {
        let inner = &mut *lock(&self.inner);
        let (now, count) = (clock::mono(), self.app.wakes.events.count());
        if inner.refreshed.0 != count || now.saturating_duration_since(inner.refreshed.1) >= REFRESH_EVERY {
            inner.refreshed = (count, now);
            logged("what is gone could not be ended", end_gone(&self.app, self.kind));
            logged("rules could not be read again", self.refresh(inner));
        }
        let mut transitions = Vec::new();
        for one in seen.iter().filter(|one| one.kind.name == self.kind.name) {
            inner.evaluator.evaluate(one, now, &mut transitions);
        }
        if !transitions.is_empty() {
            let written = self.write(&transitions);
            inner.evaluator.written(&transitions, written.is_ok());
            logged("an alert could not be written yet", written);
        }
        if now.saturating_duration_since(inner.noted_at) >= NOTE_EVERY {
            inner.noted_at = now;
            logged("what waits could not be noted", self.note(inner));
        }
    }

    fn write(&self, transitions: &[Transition]) -> Result<()> {
        self.app.db.write(|tx| write(&self.app, tx, transitions))
    }

    /// Reads the rules again if they or the subjects changed.
    fn refresh(&self, inner: &mut Inner) -> Result<()> {
        self.app.db.read(|conn| {
            let evaluator = &mut inner.evaluator;
            inner.rules.refresh(&self.app, conn, |rules| {
                let firing = queries::firing(conn, self.kind.name, None, None)?;
                evaluator.set(rules, firing, clock::mono());
                Ok(())
            })?;
            if !inner.is_resumed {
                self.resume(conn, inner)?;
                inner.is_resumed = true;
            }
            Ok(())
        })
    }

    /// Restores waiting measurements, unless more observations were missed than a subject may miss.
    fn resume(&self, conn: &Conn, inner: &mut Inner) -> Result<()> {
        let (now, wall) = (clock::mono(), clock::now());
        for waited in queries::waiting(conn, self.kind.name)? {
            inner.is_noted = true;
            let ago = wall - waited.seen_at;
            let silence_max = (self.kind.silence_max)(conn, waited.firing.subject.1)?;
            if (0..=silence_max).contains(&ago) {
                inner.evaluator.resume(waited, Duration::from_millis(ago as u64), now);
            }
        }
        Ok(())
    }

    fn note(&self, inner: &mut Inner) -> Result<()> {
        let mut waiting = inner.evaluator.waiting(self.kind);
        if !waiting.is_empty() || inner.is_noted {
            self.app.db.write(|tx| {
                // Removed subjects are dropped.
                let mut there = Vec::new();
                for one in waiting.drain(..) {
                    if (self.kind.name_of)(tx, one.firing.subject.1)?.is_some() {
                        there.push(one);
                    }
                }
                queries::set_waiting(tx, self.kind.name, &there)?;
                inner.is_noted = !there.is_empty();
                Ok(())
            })?;
        }
        Ok(())
    }
}

impl Drop for Watch {
    /// At the end of observation, stores what waits.
    fn drop(&mut self) {
        logged("what waits could not be noted", self.note(&mut lock(&self.inner)));
    }
}
