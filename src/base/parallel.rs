//! What threads share.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a mutex holds, also after a panic of whoever held it: for what is whole between any two statements.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
