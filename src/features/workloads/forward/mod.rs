//! Lines of logs go on to others as they are stored: to a syslog receiver, to Loki. Each is a reader of the journal
//! ([`crate::journal::Reader`]), which is all that they wait in: one that is away gets them when it is back, as long as they
//! are kept, and neither the collector nor the other one notices.

mod settings;
mod queries;
mod target;
mod reading;
mod syslog;
mod loki;
mod send;
mod api;
mod pages;

use crate::access::right::{Containers, Read, may};
use crate::feature::{Exposes, Feature};
use crate::kinds::{About, AlertKind, BuiltinRule, EventKind};
use crate::vault::{SealContext, Sealed};

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    pages: pages::ROUTES,
    panels: pages::PANELS,
    services: send::SERVICES,
    settings: settings::SETTINGS,
    kinds: KINDS,
    sealed: SEALED,
    exposes: &[Exposes {
        kind: "forward",
        write: send::expose,
    }],
    ..Feature::named("forward")
};

/// Place of the sealed secret.
const SECRET_AT: SealContext = SealContext {
    table: "forward_secret",
    column: "secret",
    row: 1,
};

const SEALED: &[Sealed] = &[Sealed {
    row: "one",
    ..Sealed::column("forward_secret", "secret")
}];

/// Event: a receiver has not taken lines for a while.
const BEHIND: &str = "forward.behind";
/// Event: it takes them again, or is none any more.
const AGAIN: &str = "forward.again";

const KINDS: &[EventKind] = &[
    EventKind::alert(
        BEHIND,
        may(Read, Containers),
        AlertKind {
            rule: Some(BuiltinRule {
                id: 90,
                level: "WARNING",
                about: About::Other,
            }),
            title: "{name} does not take lines of logs",
            resolved_by: &[AGAIN],
            part: "part",
            ..AlertKind::NEW
        },
    ),
    EventKind::streamed(AGAIN, may(Read, Containers)),
];
