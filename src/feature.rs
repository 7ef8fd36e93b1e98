//! What a feature declares. `daemon` puts the list of features together; everything else reads the sums.

use crate::app::App;
use crate::base::error::Result;
use crate::cli::Command;
use crate::db::Tx;
use crate::events::outbox::Event;
use crate::http::route::{Panel, Route};
use crate::schedule::Periodic;
use crate::schedule::service::Service;
use crate::settings::Setting;
use crate::task::Kind;

/// See [`Feature::react`].
pub type Reaction = fn(&App, &Tx, &Event) -> Result<()>;

/// One feature; all parts may be empty.
pub struct Feature {
    /// Its noun: URL segment, folder, table prefix.
    pub name: &'static str,
    /// What it says to people: the text of its `words.txt`.
    pub words: &'static str,
    /// What it answers under `/api/`.
    pub routes: &'static [Route],
    /// Its pages.
    pub pages: &'static [Route],
    /// Its cards on other features' pages.
    pub panels: &'static [Panel],
    /// What its tasks do.
    pub tasks: &'static [Kind],
    /// What it does now and then.
    pub periodic: &'static [Periodic],
    /// Its threads that run as long as the daemon does.
    pub services: &'static [Service],
    /// Its words on the command line.
    pub commands: &'static [Command],
    /// What can be set of it.
    pub settings: &'static [Setting],
    /// What it does when something happened elsewhere; runs in the transaction that moves its cursor.
    pub react: Option<Reaction>,
}

impl Feature {
    /// A feature with a name and nothing else, to be filled by struct update.
    pub const fn named(name: &'static str) -> Feature {
        Feature {
            name,
            words: "",
            routes: &[],
            pages: &[],
            panels: &[],
            tasks: &[],
            periodic: &[],
            services: &[],
            commands: &[],
            settings: &[],
            react: None,
        }
    }
}
