//! Caches expensive content until a commit to one of the databases. The key identifies the content; readers with
//! restricted views have their own entries, and nothing else that depends on the reader may be cached.

use crate::app::App;
use crate::base::error::Result;
use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Limit of entries; above it all are dropped. Each search adds one.
const ENTRIES_MAX: usize = 32;

/// The cache.
#[derive(Default)]
pub struct ResponseCache(Mutex<HashMap<String, Entry>>);

struct Entry {
    /// Versions of the databases when it was made.
    versions: (i64, i64),
    value: Arc<dyn Any + Send + Sync>,
}

impl ResponseCache {
    /// The content of `key`, cached or made now. Concurrent requests may both make it. Error: that of `make`, or of the
    /// database.
    pub fn get<T: Any + Send + Sync>(&self, app: &App, key: &str, make: impl FnOnce() -> Result<T>) -> Result<Arc<T>> {
        // Read before it is made: a commit in between makes it outdated.
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
        // Outdated ones are of no use to anybody: kept until the limit, they would hold megabytes of lists.
        entries.retain(|_, entry| entry.versions == versions);
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
