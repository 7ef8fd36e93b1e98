//! What a feature declares. `daemon` puts the list of features together; everything else reads the sums.

use crate::app::App;
use crate::base::error::Result;
use crate::cli::Command;
use crate::db::Tx;
use crate::events::outbox::Event;
use crate::http::route::{Panel, Route};
use crate::schedule::Periodic;
use crate::schedule::service::Service;
use crate::series::{Kind as SubjectKind, Observer, Observers};
use crate::settings::Setting;
use crate::task::Kind;
use std::sync::Arc;

/// See [`Feature::react`].
pub type Reaction = fn(&App, &Tx, &Event) -> Result<()>;

/// Makes somebody who is told of all that is observed of a kind of subjects; once, when that begins to be observed.
pub struct Observes(pub fn(&Arc<App>, &'static SubjectKind) -> Result<Observer>);

impl Observes {
    /// Everybody who is to be told of this kind.
    pub fn start_all(app: &Arc<App>, kind: &'static SubjectKind) -> Result<Observers> {
        let all = app.registry.all::<Observes>().iter();
        let started = all.map(|observes| (observes.0)(app, kind)).collect::<Result<_>>()?;
        Ok(Observers::new(started))
    }
}

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
    /// What it observes, and of what.
    pub subjects: &'static [&'static SubjectKind],
    /// What it does with everything that is observed.
    pub observers: &'static [Observes],
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
            subjects: &[],
            observers: &[],
            react: None,
        }
    }
}
