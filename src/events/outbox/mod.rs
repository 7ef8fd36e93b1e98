//! The event catalogue's rows: appended in the transaction of the change, read forward by number.

mod queries;

use crate::base::clock::{self, Ms};
use crate::base::error::Result;
use crate::db::{Conn, Db, Tx};
use crate::events::wake::Wake;

/// Something that happened.
#[derive(Debug, Clone)]
pub struct Event {
    /// Ever growing.
    pub id: i64,
    /// When.
    pub at: Ms,
    /// `server.unreachable`, … (requirements §12).
    pub kind: String,
    /// `server`, `task`, `user`.
    pub target_type: String,
    /// Its number.
    pub target_id: i64,
    /// A JSON object; no secrets.
    pub data: serde_json::Value,
}

/// Appends an event; `wake` rings when the transaction has been committed.
pub fn emit(tx: &Tx, wake: &Wake, kind: &str, target: (&str, i64), data: &serde_json::Value) -> Result<()> {
    queries::insert(tx, clock::now(), kind, target, &data.to_string())?;
    let wake = wake.clone();
    tx.after_commit(move || wake.ring());
    Ok(())
}

/// At most `limit` events after number `after`.
pub fn after(conn: &Conn, after: i64, limit: usize) -> Result<Vec<Event>> {
    queries::after(conn, after, limit)
}

/// The number of the newest event, 0 when there is none.
pub fn newest(conn: &Conn) -> Result<i64> {
    queries::newest(conn)
}

/// Which of these kinds the newest event of any of them is of, as far as events are kept.
pub fn newest_of(conn: &Conn, kinds: [&str; 2]) -> Result<Option<String>> {
    queries::newest_of(conn, kinds)
}

/// How far a reader has come; a new reader starts at the end of what there is.
pub fn cursor(conn: &Conn, reader: &str) -> Result<i64> {
    queries::cursor(conn, reader)
}

/// Remembers how far a reader has come.
pub fn set_cursor(tx: &Tx, reader: &str, event: i64) -> Result<()> {
    queries::set_cursor(tx, reader, event)
}

/// Removes events that are older than `since`, and of the rest all but the newest `keep`: but only what every reader has
/// seen. Says how many.
pub fn clean_up(db: &Db, since: Ms, keep: i64) -> Result<usize> {
    db.clean_up(&|tx, rows_max| queries::remove_old(tx, since, keep, rows_max))
}
