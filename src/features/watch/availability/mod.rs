//! What of the time things could be used: servers, domains and services with their incidents, as a page, an API, a file,
//! a card on each one's page and, if wanted, a report as a message. The figures are [`crate::availability`]'s.

mod settings;
mod events;
mod report;
mod api;
mod pages;

use crate::access::right::{Events, Read, may};
use crate::availability;
use crate::base::clock::{self, Duration};
use crate::feature::Feature;
use crate::http::menu::Entry;
use crate::schedule::{Periodic, Work};

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    pages: pages::ROUTES,
    target_panels: pages::PANELS,
    menu: &[Entry {
        path: "/availability",
        word: "availability",
        icon: "history",
        right: may(Read, Events),
        place: (3, 4),
        ..Entry::NEW
    }],
    periodic: &[
        Periodic {
            name: "availability.keep",
            every: Duration::from_secs(3_600),
            run: Work::Short(|app| availability::clean_up(&app.db, clock::now()).map(drop)),
        },
        Periodic {
            name: "availability.report",
            every: Duration::from_secs(60),
            run: Work::Short(|app| report::follow(app, clock::now())),
        },
    ],
    settings: settings::SETTINGS,
    kinds: events::KINDS,
    ..Feature::named("availability")
};
