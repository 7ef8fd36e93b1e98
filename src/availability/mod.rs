//! Availability of whatever is looked at: whoever decides how a thing is tells it here in the transaction of that, and of
//! these stretches of time come shares, incidents and their mean length. What nobody knows is in no share, and neither is
//! the time in which Lamplighter itself was off or saw nothing; a silence changes nothing.

mod queries;
mod share;

use crate::base::clock::{DAY, Ms};
use crate::base::error::Result;
use crate::base::shape::described;
use crate::base::text;
use crate::db::{Conn, Db};
use serde::Serialize;

pub use queries::{reported_at, set_reported_at};
pub use share::{Day, Weighed, bar, days, incidents, weigh};

/// Kinds of things that are told of.
pub const KINDS: &[&str] = &["server", "domain", "service"];
/// Stretches of time are kept for so long after their end.
pub const KEEP: Ms = 400 * DAY;
/// Longest cause, in bytes.
const CAUSE_MAX: usize = 500;

/// Can it be used?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Yes.
    Up,
    /// No.
    Down,
    /// Nobody knows, or nobody wants it to be.
    Unknown,
}
described!(State: "up", "down", "unknown");

impl State {
    /// As stored.
    pub fn name(self) -> &'static str {
        State::WORDS[self as usize]
    }

    /// Reads it as stored; what is not known is unknown.
    pub fn parse(name: &str) -> State {
        match name {
            "up" => State::Up,
            "down" => State::Down,
            _ => State::Unknown,
        }
    }
}

/// A stretch of time in which a thing was the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// How it was.
    pub state: State,
    /// Beginning, unix ms.
    pub since: Ms,
    /// End; `None`: it is so now.
    pub until: Option<Ms>,
    /// Why, in one sentence.
    pub cause: String,
}

/// A thing with its stretches of time, which follow each other without gaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// `server`, `domain`, `service`.
    pub kind: String,
    /// Its number.
    pub id: i64,
    /// Oldest first; at least one.
    pub stretches: Vec<Stretch>,
}

/// This thing has been so since then. Nothing happens when it was so already.
pub fn record(conn: &Conn, thing: (&str, i64), state: State, since: Ms, cause: &str) -> Result<()> {
    let cause = match state {
        State::Up => "",
        _ => text::cut(cause, CAUSE_MAX),
    };
    match queries::open(conn, thing)? {
        Some((_, known)) if known == state => Ok(()),
        None if state == State::Unknown => Ok(()),
        // What it was before has lasted no time.
        Some((begun, _)) if since <= begun => queries::change(conn, thing, begun, state, cause),
        open => {
            if let Some((begun, _)) = open {
                queries::end(conn, thing, begun, since)?;
            }
            queries::begin(conn, thing, since, state, cause)
        }
    }
}

/// Lamplighter saw nothing in this time.
pub fn was_off(conn: &Conn, since: Ms, until: Ms) -> Result<()> {
    if since >= until {
        return Ok(());
    }
    queries::put_off(conn, since, until)
}

/// All things of this kind (empty: of all kinds), or one of them, with the stretches that end after `from`.
pub fn subjects(conn: &Conn, kind: &str, id: Option<i64>, from: Ms) -> Result<Vec<Subject>> {
    queries::subjects(conn, kind, id, from)
}

/// The times after `from` in which Lamplighter saw nothing: in their order, none within another.
pub fn off(conn: &Conn, from: Ms) -> Result<Vec<(Ms, Ms)>> {
    Ok(share::merged(queries::off(conn, from)?))
}

/// Removes what is older than [`KEEP`].
pub fn clean_up(db: &Db, now: Ms) -> Result<usize> {
    db.clean_up(&|tx, rows_max| queries::remove_old(tx, now - KEEP, rows_max))
}
