//! What speaks HTTP: routes, guard, pages. `tiny_http` and `minijinja` live in here only.

pub mod words;
pub mod asset;
pub mod view;
