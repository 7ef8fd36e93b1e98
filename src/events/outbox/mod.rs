//! The event log: appended in the transaction of the change, read forward by id.

mod queries;

use crate::base::clock::{self, Ms};
use crate::base::error::Result;
use crate::db::{Conn, Db, Tx};
use crate::events::wake::Wake;

/// An event.
#[derive(Debug, Clone)]
pub struct Event {
    /// Id, ascending.
    pub id: i64,
    /// Time, unix ms.
    pub at: Ms,
    /// `server.unreachable`, …
    pub kind: String,
    /// Type of the target: `server`, `task`, `user`.
    pub target_type: String,
    /// Id of the target.
    pub target_id: i64,
    /// A JSON object without secrets.
    pub data: serde_json::Value,
}

/// Appends an event; `wake` rings after the commit.
pub fn emit(tx: &Tx, wake: &Wake, kind: &str, target: (&str, i64), data: &serde_json::Value) -> Result<()> {
    queries::insert(tx, clock::now(), kind, target, &data.to_string())?;
    let wake = wake.clone();
    tx.after_commit(move || wake.ring());
    Ok(())
}

/// At most `limit` events after id `after`.
pub fn after(conn: &Conn, after: i64, limit: usize) -> Result<Vec<Event>> {
    queries::after(conn, after, limit)
}

/// Id of the newest event, 0 if there is none.
pub fn newest(conn: &Conn) -> Result<i64> {
    queries::newest(conn)
}

/// The kind of the newest event among these kinds, as far as events are kept.
pub fn newest_of(conn: &Conn, kinds: [&str; 2]) -> Result<Option<String>> {
    queries::newest_of(conn, kinds)
}

/// Position of a reader; a new reader starts at the newest event.
pub fn cursor(conn: &Conn, reader: &str) -> Result<i64> {
    queries::cursor(conn, reader)
}

/// Stores the position of a reader.
pub fn set_cursor(tx: &Tx, reader: &str, event: i64) -> Result<()> {
    queries::set_cursor(tx, reader, event)
}

/// Removes events older than `since`, and all but the newest `keep`, as far as every reader has seen them. Returns how
/// many.
pub fn clean_up(db: &Db, since: Ms, keep: i64) -> Result<usize> {
    db.clean_up(&|tx, rows_max| queries::remove_old(tx, since, keep, rows_max))
}
