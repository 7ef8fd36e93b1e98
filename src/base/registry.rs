//! Rows that features declare, by type: filled once by the composition root, then only read. A machine reads the rows
//! of its own type without knowing who declared them.

use std::any::{Any, TypeId};
use std::collections::HashMap;

/// Declared rows by their type.
#[derive(Default)]
pub struct Registry(HashMap<TypeId, Box<dyn Any + Send + Sync>>);

impl Registry {
    /// Sets all rows of a type.
    pub fn with<T: Sync + 'static>(mut self, rows: impl IntoIterator<Item = &'static T>) -> Registry {
        let rows: Vec<&'static T> = rows.into_iter().collect();
        self.0.insert(TypeId::of::<T>(), Box::new(rows));
        self
    }

    /// All rows of a type, in the order of the features; empty if none are declared.
    pub fn all<T: Sync + 'static>(&self) -> &[&'static T] {
        let rows = self.0.get(&TypeId::of::<T>());
        rows.and_then(|rows| rows.downcast_ref::<Vec<&'static T>>())
            .map_or(&[], |rows| rows.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_by_their_type() {
        let registry = Registry::default().with(&[1_u8, 2]).with(&["a"]);
        assert_eq!(registry.all::<u8>(), [&1, &2]);
        assert_eq!(registry.all::<&str>(), [&"a"]);
        assert!(registry.all::<i64>().is_empty());
    }
}
