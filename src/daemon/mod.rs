//! The composition root: the list of features, the order of start and stop, and the commands of the daemon.

mod reactor;
mod tls;
mod probe;
mod run;
mod key_commands;
mod commands;

use crate::base::error::Result;
use crate::base::registry::Registry;
use crate::cli::{self, Parsed};
use crate::feature::Feature;
use crate::features;
use crate::kinds;
use crate::lang::words;
use crate::section;
use std::ffi::OsString;
use std::sync::Arc;

/// Every feature, in the order of the import law. A new feature is one line here.
pub const FEATURES: &[&Feature] = &[
    &features::house::users::FEATURE,
    &features::house::tokens::FEATURE,
    &features::house::people::FEATURE,
    &features::house::me::FEATURE,
    &features::house::remote_store::FEATURE,
    &features::house::events::FEATURE,
    &features::house::audit::FEATURE,
    &features::house::settings::FEATURE,
    &features::house::projects::FEATURE,
    &features::house::admin::FEATURE,
    &features::house::web::FEATURE,
    &features::house::tasks::FEATURE,
    &features::house::secrets::FEATURE,
    &features::house::plugins::FEATURE,
    &features::house::backups::FEATURE,
    &features::house::schedules::FEATURE,
    &features::fleet::servers::FEATURE,
    &features::fleet::hosts::FEATURE,
    &features::fleet::groups::FEATURE,
    &features::fleet::rotations::FEATURE,
    &features::fleet::leases::FEATURE,
    &features::fleet::inventory::FEATURE,
    &features::fleet::metrics::FEATURE,
    &features::proxy::upstreams::FEATURE,
    &features::proxy::certificates::FEATURE,
    &features::proxy::domains::FEATURE,
    &features::proxy::nswatch::FEATURE,
    &features::proxy::certwatch::FEATURE,
    &features::proxy::sitewatch::FEATURE,
    &features::workloads::containers::FEATURE,
    &features::workloads::services::FEATURE,
    &features::workloads::search::FEATURE,
    &features::workloads::forward::FEATURE,
    &features::watch::rules::FEATURE,
    &features::watch::notifications::FEATURE,
    &features::watch::silences::FEATURE,
    &features::watch::alerts::FEATURE,
    &features::watch::availability::FEATURE,
    &features::watch::status::FEATURE,
    &features::automation::actions::FEATURE,
    &features::front::document::FEATURE,
    &features::front::health::FEATURE,
    &features::front::doctor::FEATURE,
    &features::front::exporter::FEATURE,
    &features::front::dashboard::FEATURE,
    &features::front::charts::FEATURE,
    &features::front::docs::FEATURE,
    &features::front::help::FEATURE,
];

/// Runs one command line. Returns the exit code; errors are written to stderr.
pub fn main(features: &'static [&'static Feature], args: impl IntoIterator<Item = OsString>) -> u8 {
    let result: Result<u8> = match cli::parse(&Arc::new(registry(features)), args) {
        Ok(Parsed::Print(text)) => {
            cli::print(&text);
            Ok(0)
        }
        Ok(Parsed::Run(asked)) => (asked.command.run)(&asked),
        Err(e) => Err(e),
    };
    result.unwrap_or_else(|e| {
        eprintln!("lamplighter: {e}");
        cli::exit_code(&e)
    })
}

/// The registry of all declared rows. Texts, event kinds and document sections are joined globally.
pub fn registry(features: &'static [&'static Feature]) -> Registry {
    words::join(features.iter().map(|feature| feature.words));
    section::join(features.iter().flat_map(|feature| feature.sections));
    kinds::join(features.iter().flat_map(|feature| feature.kinds));
    kinds::join_targets(features.iter().flat_map(|feature| feature.targets));
    let all = || features.iter().copied();
    Registry::default()
        .with(all())
        .with(
            commands::COMMANDS
                .iter()
                .chain(key_commands::COMMANDS)
                .chain(all().flat_map(|f| f.commands)),
        )
        .with(all().flat_map(|f| f.routes))
        .with(all().flat_map(|f| f.settings))
        .with(all().flat_map(|f| f.sealed))
        .with(all().flat_map(|f| f.menu))
        .with(all().flat_map(|f| f.actions))
        .with(all().flat_map(|f| f.panels))
        .with(all().flat_map(|f| f.cards))
        .with(all().flat_map(|f| f.target_panels))
        .with(all().flat_map(|f| f.tasks))
        .with(all().flat_map(|f| f.subjects.iter().copied()))
        .with(all().flat_map(|f| f.exposes))
        .with(all().flat_map(|f| f.observers))
}
