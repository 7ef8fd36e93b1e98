//! Rotations that reach hosts: a Linux account's password or its key is replaced, and the new one is proved by a login of
//! its own before the old one is forgotten.
//!
//! Look → set the new one → prove it by a fresh login → from now on it is the one that is good there → take the old one
//! away → prove again. Both values are sealed until the end, and each step is written down before the host is touched, so
//! that after any interruption one of both works, and which one is found out by trying them. One host is first and alone;
//! then the others, and the first that fails stops what has not begun. When the new value is good everywhere it becomes the
//! secret's version, for all that refer to it, in one transaction.

mod queries;
mod account;
mod plan;
mod work;
mod periodic;
mod api;
mod pages;

pub use account::KEYS;
pub use periodic::put_in_by_number;

use crate::base::clock::Ms;
use crate::base::id::{self, Id};
use crate::feature::Feature;

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    pages: pages::ROUTES,
    panels: pages::PANELS,
    tasks: work::TASKS,
    periodic: periodic::PERIODIC,
    ..Feature::named("rotations")
};

macro_rules! words {
    ($(#[$about:meta])* $name:ident: $($(#[$doc:meta])* $word:ident $text:literal)*) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        enum $name { $($(#[$doc])* $word,)* }

        impl $name {
            fn name(self) -> &'static str {
                match self { $($name::$word => $text,)* }
            }

            fn parse(text: &str) -> $name {
                [$($name::$word),*].into_iter().find(|one| one.name() == text).unwrap_or($name::FIRST)
            }
        }
    };
}

words! {
    /// How far a host is.
    Step:
    /// Not touched.
    Waiting "waiting"
    /// It is about to be touched, or was.
    Setting "setting"
    /// The new value is good there; the old one may be, too.
    Proved "proved"
    /// At its end.
    Done "done"
    /// Given up, and as it was before.
    Failed "failed"
}

impl Step {
    const FIRST: Step = Step::Waiting;
}

words! {
    /// Which value is good on a host.
    Good:
    /// The one before.
    Old "old"
    /// The new one.
    New "new"
    /// Both were refused.
    Unknown "unknown"
}

impl Good {
    const FIRST: Good = Good::Old;
}

/// Another value on its way.
struct Rotation {
    id: i64,
    /// `open`, `done`, `dropped`.
    state: String,
    public_key: String,
    origin: String,
    made_by: String,
    made_at: Ms,
    ended_at: Option<Ms>,
}

/// An account on a host that has the secret.
#[derive(Clone)]
struct Host {
    server: Id<id::Server>,
    name: String,
    account: String,
    step: Step,
    good: Good,
    /// Of what went wrong.
    code: String,
    say: String,
    /// Not by itself before this.
    next_try: Ms,
    at: Ms,
}
