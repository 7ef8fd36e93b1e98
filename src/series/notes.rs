//! Numbers and short texts of `metrics.db` that are to be found again after a restart, by whichever process asks.

use super::queries;
use super::store::Store;
use crate::base::error::Result;

impl Store {
    /// A text that was noted.
    pub fn note_text(&self, key: &str) -> Result<Option<String>> {
        self.db().read(|conn| queries::note(conn, key))
    }

    /// Notes a text.
    pub fn set_note_text(&self, key: &str, text: &str) -> Result<()> {
        self.db().write(|tx| queries::set_note(tx, key, Some(text)))
    }

    /// A number that was noted.
    pub fn note(&self, key: &str) -> Result<Option<i64>> {
        Ok(self.note_text(key)?.and_then(|text| text.parse().ok()))
    }

    /// Notes a number, or forgets it.
    pub fn set_note(&self, key: &str, value: Option<i64>) -> Result<()> {
        let text = value.map(|n| n.to_string());
        self.db().write(|tx| queries::set_note(tx, key, text.as_deref()))
    }
}
