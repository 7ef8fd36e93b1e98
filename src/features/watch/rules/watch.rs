//! The judge and what it has to be told: rules and tags as they are now, in whichever process they were changed.

use super::judge::{self, Judge, Look, Turn};
use super::{in_force, queries, tell};
use crate::app::App;
use crate::base::clock::{self, Duration, SECOND};
use crate::base::error::Result;
use crate::base::log;
use crate::base::parallel::lock;
use crate::db::Conn;
use crate::features::fleet::servers;
use std::sync::{Arc, Mutex, MutexGuard};

/// Holds polls against the rules.
pub struct Watch {
    app: Arc<App>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Of the rules, and of the servers (their tags among the rest).
    seen: Option<([i64; 3], (i64, i64))>,
    judge: Judge,
    /// Something stands in the table of what waits.
    is_noted: bool,
}

impl Watch {
    /// Knows nothing until it is refreshed.
    pub fn new(app: Arc<App>) -> Watch {
        Watch {
            app,
            inner: Mutex::default(),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    /// Reads the rules again when they or the servers have changed; those have this fingerprint now.
    pub fn refresh(&self, servers: (i64, i64)) -> Result<()> {
        let mut inner = self.inner();
        self.app.db.read(|conn| {
            let now = (queries::fingerprint(conn)?, servers);
            if inner.seen == Some(now) {
                return Ok(());
            }
            let firing = queries::firing(conn, None, None)?;
            inner
                .judge
                .set(in_force(conn, judge::is_judged)?, firing, clock::mono());
            if inner.seen.is_none() {
                inner.resume(conn)?;
            }
            inner.seen = Some(now);
            Ok(())
        })
    }

    /// Writes down what waits for its time, so that a restart does not make it begin anew.
    pub fn note(&self) -> Result<()> {
        let mut inner = self.inner();
        let waiting = inner.judge.waiting();
        if !waiting.is_empty() || inner.is_noted {
            self.app.db.write(|tx| queries::set_waiting(tx, &waiting))?;
            inner.is_noted = !waiting.is_empty();
        }
        Ok(())
    }

    /// Looks at these polls; what fires or is over is written in one transaction.
    pub fn look<'a>(&self, looks: impl Iterator<Item = Look<'a>>) {
        let inner = &mut *self.inner();
        let (now, mut turns) = (clock::mono(), Vec::new());
        looks.for_each(|look| inner.judge.look(&look, now, &mut turns));
        if turns.is_empty() {
            return;
        }
        let written = self.write(&turns);
        if let Err(e) = &written {
            log::error(
                "rules",
                "an alert could not be written yet",
                &[("error", &e.to_string())],
            );
        }
        inner.judge.written(&turns, written.is_ok());
    }

    fn write(&self, turns: &[Turn]) -> Result<()> {
        self.app.db.write(|tx| tell(&self.app, tx, turns))
    }
}

impl Inner {
    /// Takes up what waited before, as far as no more polls were left out than a server may miss without being dark.
    fn resume(&mut self, conn: &Conn) -> Result<()> {
        let misses_max = servers::POLL_FAIL_THRESHOLD.number(conn)?;
        let (now, wall) = (clock::mono(), clock::now());
        for waited in queries::waiting(conn)? {
            self.is_noted = true;
            let ago = wall - waited.seen_at;
            let every = servers::get(conn, waited.firing.server)?.fields.poll_interval_s * SECOND;
            if (0..=misses_max * every).contains(&ago) {
                self.judge.resume(waited, Duration::from_millis(ago as u64), now);
            }
        }
        Ok(())
    }
}
