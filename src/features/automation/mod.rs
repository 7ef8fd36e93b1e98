//! Work on servers that people ask for: single actions, on one server or on many.

pub mod actions;
