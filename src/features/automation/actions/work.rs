//! What every action does alike.

use crate::base::error::Result;
use crate::features::fleet::servers::ServerConnection;
use crate::provision::{Outcome, Recipe};
use crate::task::worker::Run;
use std::collections::BTreeMap;

/// Runs a recipe and logs all progress.
pub fn provision(run: &Run, connection: &ServerConnection, recipe: &Recipe) -> Result<Outcome> {
    connection.run(run.app, recipe, run.cancel, &mut run.on_progress(""))
}

/// A fact of a job; empty: it was not told.
pub fn fact<'a>(facts: &'a BTreeMap<String, String>, key: &str) -> &'a str {
    facts.get(key).map_or("", String::as_str)
}
