//! The overview: state of the fleet as a sentence, wall of lamps, what needs attention. It owns no data.

mod search;
mod pages;

use crate::access::right;
use crate::feature::Feature;
use crate::features::fleet::servers;
use crate::features::front::health;
use crate::http::menu::{Badge, Entry, State};

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: search::ROUTES,
    pages: pages::ROUTES,
    menu: MENU,
    ..Feature::named("home")
};

const MENU: &[Entry] = &[Entry {
    path: "/",
    word: "home",
    icon: "home",
    keys: "g h",
    right: right::may(right::Read, right::Dashboard),
    place: (1, 1),
    dock: "home",
    badge: |app| {
        let state = match health::own_state(app).state {
            servers::State::Down => State::Down,
            servers::State::Degraded => State::Degraded,
            _ => State::Up,
        };
        Ok(Badge {
            state,
            ..Badge::default()
        })
    },
    ..Entry::NEW
}];
