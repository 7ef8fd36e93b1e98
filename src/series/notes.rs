//! Key-value notes in `metrics.db`: numbers and short texts that persist across restarts and are visible to all
//! processes.

use super::queries;
use super::store::Store;
use crate::base::error::Result;

impl Store {
    /// The text under this key. Error: the database.
    pub fn note_text(&self, key: &str) -> Result<Option<String>> {
        self.db().read(|conn| queries::note(conn, key))
    }

    /// Stores a text. Error: the database.
    pub fn set_note_text(&self, key: &str, text: &str) -> Result<()> {
        self.db().write(|tx| queries::set_note(tx, key, Some(text)))
    }

    /// The number under this key. Error: the database.
    pub fn note(&self, key: &str) -> Result<Option<i64>> {
        Ok(self.note_text(key)?.and_then(|text| text.parse().ok()))
    }

    /// Stores a number, or removes it. Error: the database.
    pub fn set_note(&self, key: &str, value: Option<i64>) -> Result<()> {
        let text = value.map(|n| n.to_string());
        self.db().write(|tx| queries::set_note(tx, key, text.as_deref()))
    }
}
