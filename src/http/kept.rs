//! What is dear to make and often asked for: kept until anybody commits to one of the databases. The key says what it
//! is; nothing that differs from person to person belongs in here.

use crate::app::App;
use crate::base::error::Result;
use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// By name: what it was made from, and what was made.
type Shelf = HashMap<String, (Versions, Arc<dyn Any + Send + Sync>)>;

/// Things kept at a time; when there are more, all go. Somebody who searches makes one a search.
const KEPT_MAX: usize = 32;

/// See the module's documentation.
#[derive(Default)]
pub struct Kept(Mutex<Shelf>);

/// Of both databases.
type Versions = (i64, i64);

impl Kept {
    /// What `key` names, from before or made now. Two who ask at the same time may both make it.
    pub fn get<T: Any + Send + Sync>(&self, app: &App, key: &str, make: impl FnOnce() -> Result<T>) -> Result<Arc<T>> {
        // Asked before it is made: what is committed meanwhile makes it old.
        let now = app.versions()?;
        let known = self
            .lock()
            .get(key)
            .filter(|(at, _)| *at == now)
            .map(|(_, kept)| kept.clone());
        if let Some(kept) = known.and_then(|kept| kept.downcast().ok()) {
            return Ok(kept);
        }
        let made = Arc::new(make()?);
        let mut all = self.lock();
        if all.len() >= KEPT_MAX && !all.contains_key(key) {
            all.clear();
        }
        all.insert(key.to_string(), (now, made.clone()));
        Ok(made)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shelf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
