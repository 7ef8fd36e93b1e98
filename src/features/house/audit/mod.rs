//! Who changed what: a page, an API and files of the audit's rows. Its chain is walked at start and each hour: what is wrong
//! with it is an alert, and `lamplighter verify-audit` says which row.

mod events;
mod commands;
mod view;
mod export;
mod api;
mod pages;

use crate::access::right;
use crate::app::App;
use crate::audit::{self, Broken};
use crate::base::clock::Duration;
use crate::base::error::Result;
use crate::base::log;
use crate::events::outbox;
use crate::feature::Feature;
use crate::http::menu::Entry;
use crate::schedule::{Periodic, Work};

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    pages: pages::ROUTES,
    menu: MENU,
    periodic: PERIODIC,
    commands: commands::COMMANDS,
    kinds: events::KINDS,
    ..Feature::named("audit")
};

const MENU: &[Entry] = &[Entry {
    path: "/audit",
    word: "audit",
    icon: "history",
    keys: "g y",
    right: right::may(right::Read, right::Audit),
    place: (4, 3),
    ..Entry::NEW
}];

const PERIODIC: &[Periodic] = &[Periodic {
    name: "audit.verify",
    every: Duration::from_secs(3600),
    // Of its own thread: a million rows take some seconds.
    run: Work::Long(|app, _| {
        let found = audit::verify(&app.db, &app.vault, None)?;
        if let Ok(head) = &found {
            // The journal is somebody else's: `verify-audit --head` takes it from there.
            log::info("audit", "the chain is whole", &[("head", &head.to_string())]);
        }
        tell(app, found.err())
    }),
}];

const BROKEN: &str = "audit.broken";
const WHOLE: &str = "audit.whole";
const US: (&str, i64) = ("controller", 0);

fn tell(app: &App, broken: Option<Broken>) -> Result<()> {
    app.db.write(|tx| {
        let told = outbox::newest_of(tx, [BROKEN, WHOLE])?;
        match &broken {
            Some(broken) => {
                log::critical("audit", "the audit chain is broken", &[("what", &broken.to_string())]);
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
