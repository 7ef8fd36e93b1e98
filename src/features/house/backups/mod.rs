//! Backups: made and put back on the command line.

mod commands;

use crate::feature::Feature;

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    commands: commands::COMMANDS,
    ..Feature::named("backups")
};
