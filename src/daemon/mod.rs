//! The composition root: the list of features, the order of starting and stopping, and what each command does.

mod reactor;
mod run;
mod commands;

use crate::base::error::Result;
use crate::cli::{self, Parsed};
use crate::feature::Feature;
use crate::features;
use std::ffi::OsString;

/// Every feature, in the order of the import law. A new one is one line here.
pub const FEATURES: &[&Feature] = &[
    &features::users::FEATURE,
    &features::servers::FEATURE,
    &features::groups::FEATURE,
    &features::upstreams::FEATURE,
    &features::certificates::FEATURE,
    &features::domains::FEATURE,
    &features::fleet::FEATURE,
    &features::nswatch::FEATURE,
    &features::certwatch::FEATURE,
    &features::rules::FEATURE,
    &features::metrics::FEATURE,
    &features::sitewatch::FEATURE,
    &features::notifications::FEATURE,
    &features::silences::FEATURE,
    &features::alerts::FEATURE,
    &features::events::FEATURE,
    &features::tasks::FEATURE,
    &features::exporter::FEATURE,
    &features::audit::FEATURE,
    &features::settings::FEATURE,
    &features::health::FEATURE,
    &features::home::FEATURE,
];

/// Runs one command line. Returns the exit code; what goes wrong is told on stderr.
pub fn main(args: impl IntoIterator<Item = OsString>) -> u8 {
    let result: Result<u8> = match cli::parse(args) {
        Ok(Parsed::Print(text)) => {
            commands::print(&text);
            Ok(0)
        }
        Ok(Parsed::Run(asked)) => commands::run(&asked),
        Err(e) => Err(e),
    };
    result.unwrap_or_else(|e| {
        eprintln!("lamplighter: {e}");
        cli::exit_code(&e)
    })
}
