//! Processes poll outcomes: stores them, publishes them to observers, uses them as evidence about our own network, and
//! updates availability.

use super::availability as of_servers;
use super::probe::{Outcome, Polled};
use super::readings;
use super::recorder::Recorder;
use super::uplink::{Uplink, UplinkChange};
use crate::app::App;
use crate::availability;
use crate::base::clock::{self, rfc3339};
use crate::base::error::Result;
use crate::base::log;
use crate::base::parallel::lock;
use crate::events::outbox;
use crate::series::{Observation, Observers};
use std::sync::{Arc, Mutex};

/// Note: since when we are offline. After a restart the alert is still open.
pub const OFFLINE_SINCE: &str = "controller.offline_since";

/// Receiver of all outcomes.
pub struct Outcomes {
    app: Arc<App>,
    recorder: Arc<Recorder>,
    observers: Observers,
    uplink: Arc<Mutex<Uplink>>,
}

fn logged(what: &str, result: Result<()>) -> Result<()> {
    result.inspect_err(|e| log::error("metrics", what, &[("error", &e.to_string())]))
}

impl Outcomes {
    /// Creates the receiver with these observers.
    pub fn new(app: Arc<App>, recorder: Arc<Recorder>, observers: Observers, uplink: Arc<Mutex<Uplink>>) -> Outcomes {
        Outcomes {
            app,
            recorder,
            observers,
            uplink,
        }
    }

    /// Takes the polls of about half a second. A failure is logged and does not stop the other parts.
    pub fn take(&self, batch: &[Outcome]) -> Result<()> {
        let polls: Vec<Polled> = batch.iter().filter_map(Outcome::polled).collect();
        let seen: Vec<Observation> = batch.iter().map(readings::observed).collect();
        let kept = logged("samples could not be stored", self.recorder.record(&polls, &seen));
        self.observers.publish(&seen);
        let mut uplink = lock(&self.uplink);
        let changes = uplink.weigh(batch);
        let counted: Vec<&Outcome> = batch.iter().filter(|outcome| !uplink.excuses(outcome)).collect();
        drop(uplink);
        let mut done = kept;
        for change in &changes {
            let what = "the controller's own state could not be written";
            done = done.and(logged(what, self.write_uplink(change)));
        }
        let what = "the servers' availability could not be written";
        done.and(logged(what, of_servers::update(&self.app, &counted)))
    }

    /// The note is written before the alarm and removed after the all-clear: after a crash in between, one of them is
    /// repeated.
    fn write_uplink(&self, change: &UplinkChange) -> Result<()> {
        let emit = |kind, data: &serde_json::Value| {
            let wake = &self.app.wakes.events;
            self.app
                .db
                .write(|tx| outbox::emit(tx, wake, kind, ("controller", 0), data))
        };
        match change {
            UplinkChange::Lost(since, evidence) => {
                log::error(
                    "metrics",
                    "no server can be reached: our own network seems to be down",
                    &[],
                );
                self.recorder.set_note(OFFLINE_SINCE, Some(*since))?;
                let data = serde_json::json!({ "name": "Lamplighter", "since": rfc3339(*since), "evidence": evidence });
                emit("controller.offline", &data)
            }
            UplinkChange::Back(after_ms, first) => {
                log::info(
                    "metrics",
                    "servers can be reached again",
                    &[("after_s", &(after_ms / 1_000).to_string())],
                );
                let data = serde_json::json!({ "name": "Lamplighter", "after_s": after_ms / 1_000, "first": first });
                let now = clock::now();
                self.app.db.write(|tx| availability::was_off(tx, now - after_ms, now))?;
                emit("controller.online", &data)?;
                self.recorder.set_note(OFFLINE_SINCE, None)
            }
        }
    }
}
