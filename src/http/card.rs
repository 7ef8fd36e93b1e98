//! Cards of the overview, which a feature declares: one row each. The page has slots and does not know who fills them; it
//! is cached until somebody commits ([`ResponseCache`](super::response_cache::ResponseCache)).

use super::route::Ctx;
use super::view::Prepared;
use crate::access::Right;
use crate::base::error::Result;
use crate::lang::Locale;
use serde::Serialize;
use std::cell::Cell;

/// A card.
pub struct Card {
    /// Its own name; words of counters are found by it: `count.NAME` and `count.NAME.foot`.
    pub name: &'static str,
    /// Where on the page.
    pub slot: Slot,
    /// Its place among the cards of the slot.
    pub place: u8,
    /// Who may see it.
    pub right: Right,
    /// The part of the page that shows it: finds itself as `card.name` and what `data` gives as `card.data`.
    pub template: &'static str,
    /// What it shows; `None` leaves it out.
    pub data: fn(&Overview) -> Result<Option<Prepared>>,
}

/// Where a card is on the overview.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Slot {
    /// The heading: how all is.
    Head,
    /// The row of figures: [`COUNTER`] with a [`Counter`].
    Counters,
    /// As wide as the page's first column.
    Wide,
    /// Half as wide.
    Half,
    /// Rows of the list of what needs a person: as many as [`Overview::free_rows`].
    Needs,
}

impl Slot {
    /// All of them.
    pub const ALL: [Slot; 5] = [Slot::Head, Slot::Counters, Slot::Wide, Slot::Half, Slot::Needs];
}

/// Rows of each list on the overview.
pub const ROWS: usize = 6;

/// The overview that is being made.
pub struct Overview<'a> {
    /// The request.
    pub ctx: &'a Ctx<'a>,
    /// How who asks reads.
    pub locale: &'a Locale,
    free: Cell<usize>,
    left_out: Cell<usize>,
}

impl<'a> Overview<'a> {
    /// An empty one.
    pub fn new(ctx: &'a Ctx<'a>, locale: &'a Locale) -> Overview<'a> {
        Overview {
            ctx,
            locale,
            free: Cell::new(ROWS),
            left_out: Cell::new(0),
        }
    }

    /// So many rows may be taken of the list of what needs a person: those that the cards before have left, some at least.
    pub fn free_rows(&self) -> usize {
        self.free.get().max(ROWS / 3)
    }

    /// So many rows were taken of it, and so many more would be worth one.
    pub fn took_rows(&self, shown: usize, more: usize) {
        self.free.set(self.free.get().saturating_sub(shown));
        self.left_out.set(self.left_out.get() + more);
    }

    /// How many were left out for want of rows.
    pub fn left_out(&self) -> usize {
        self.left_out.get()
    }
}

/// The template of a [`Counter`].
pub const COUNTER: &str = "dashboard/_counter.html";

/// A figure with its picture.
#[derive(Debug, Default, Serialize)]
pub struct Counter {
    /// The page that tells more.
    pub href: &'static str,
    /// `None`: nobody has seen it yet.
    pub value: Option<f64>,
    /// After the figure.
    pub unit: String,
    /// Values of the sentence below, `count.NAME.foot`; `None`: nothing is known.
    pub foot: Option<serde_json::Value>,
    /// See the type.
    pub picture: Option<Picture>,
}

/// What is drawn beside a figure.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Picture {
    /// A part of a whole, both as numbers.
    Part {
        /// What is there.
        part: f64,
        /// What could be.
        whole: f64,
        /// Is the rest of it a fault?
        rest_is_bad: bool,
    },
    /// A line ([`spark`](super::view::spark)).
    Line {
        /// See the function.
        points: String,
    },
    /// Bars ([`bars`](super::view::bars)), several kinds with `|` between, on top of each other.
    Bars {
        /// See the function.
        counts: String,
        /// Of each kind, with spaces between.
        colours: &'static str,
    },
}
