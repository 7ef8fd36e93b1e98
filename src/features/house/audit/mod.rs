//! Verifies the audit chain at start and each hour: a fault raises an alert, and `lamplighter verify-audit` names the
//! row.

mod events;
mod commands;

use crate::app::App;
use crate::audit::{self, Broken};
use crate::base::clock::Duration;
use crate::base::error::Result;
use crate::base::log;
use crate::events::outbox;
use crate::feature::Feature;
use crate::schedule::{Periodic, Work};

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    periodic: PERIODIC,
    commands: commands::COMMANDS,
    kinds: events::KINDS,
    ..Feature::named("audit")
};

const PERIODIC: &[Periodic] = &[Periodic {
    name: "audit.verify",
    every: Duration::from_secs(3600),
    // On its own thread: a million rows take some seconds.
    run: Work::Long(|app, _| tell(app, audit::verify(&app.db, &app.vault)?.err())),
}];

const BROKEN: &str = "audit.broken";
const WHOLE: &str = "audit.whole";
const US: (&str, i64) = ("controller", 0);

fn tell(app: &App, broken: Option<Broken>) -> Result<()> {
    app.db.write(|tx| {
        let told = outbox::newest_of(tx, [BROKEN, WHOLE])?;
        match &broken {
            Some(broken) => {
                log::error("audit", "the audit chain is broken", &[("what", &broken.to_string())]);
                let data = serde_json::json!({ "name": "Lamplighter", "evidence": [broken.to_string()] });
                outbox::emit(tx, &app.wakes.events, BROKEN, US, &data)
            }
            // Reported once, and again when no event about it is kept: an alert may be open.
            None if told.as_deref() != Some(WHOLE) => {
                let data = serde_json::json!({ "name": "Lamplighter" });
                outbox::emit(tx, &app.wakes.events, WHOLE, US, &data)
            }
            None => Ok(()),
        }
    })
}
