//! In a real browser (see `README.md`). Each test is `#[ignore = "browser: …"]`.

#[path = "../common/mod.rs"]
mod common;
#[path = "../fake/mod.rs"]
mod fake;

mod pages;
