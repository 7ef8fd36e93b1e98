//! Caches what is costly to make and often asked for, until anybody commits to one of the databases. The key names what
//! it is; who sees less than everything has entries of their own, and nothing else that differs from person to person
//! belongs in here.

use crate::app::App;
use crate::base::error::Result;
use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Entries at a time; when there are more, all go. Somebody who searches makes one a search.
const ENTRIES_MAX: usize = 32;

/// See the module's documentation.
#[derive(Default)]
pub struct ResponseCache(Mutex<HashMap<String, Entry>>);

struct Entry {
    /// Of both databases, when it was made.
    versions: (i64, i64),
    value: Arc<dyn Any + Send + Sync>,
}

impl ResponseCache {
    /// What `key` names, cached or made now. Two who ask at the same time may both make it. Error: that of `make`, or of
    /// a database that does not tell its version.
    pub fn get<T: Any + Send + Sync>(&self, app: &App, key: &str, make: impl FnOnce() -> Result<T>) -> Result<Arc<T>> {
        // Asked before it is made: what is committed meanwhile makes it old.
        let versions = app.versions()?;
        let key = &format!("{key}\n{}", app.db.seen_by());
        let cached = self
            .lock()
            .get(key)
            .filter(|entry| entry.versions == versions)
            .map(|entry| entry.value.clone());
        if let Some(value) = cached.and_then(|value| value.downcast().ok()) {
            return Ok(value);
        }
        let made = Arc::new(make()?);
        let mut entries = self.lock();
        if entries.len() >= ENTRIES_MAX && !entries.contains_key(key) {
            entries.clear();
        }
        let value = made.clone();
        entries.insert(key.to_string(), Entry { versions, value });
        Ok(made)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
