//! What a feature declares. `daemon` puts the list of features together; everything else reads the sums.

use crate::access::Right;
use crate::app::App;
use crate::base::error::Result;
use crate::cli::Command;
use crate::db::Tx;
use crate::events::outbox::Event;
use crate::http::menu::{Action, Entry};
use crate::http::route::{Ctx, Panel, Route};
use crate::kinds::EventKind;
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

/// A kind of things that the search finds.
pub struct Source {
    /// As the menu calls them: `servers`.
    pub kind: &'static str,
    /// Its place among the kinds.
    pub place: u8,
    /// Who may find them.
    pub right: Right,
    /// The list of all of them that takes the same question as `?q=`.
    pub list: Option<&'static str>,
    /// The first so many that the question fits, and how many there are.
    pub find: fn(&Ctx, &str, i64) -> Result<Found>,
}

/// The first that a question fits, and how many there are.
pub type Found = (Vec<Hit>, i64);

/// Something that the search has found.
pub struct Hit {
    /// As people call it.
    pub name: String,
    /// What tells it from others of the name.
    pub detail: String,
    /// Its page.
    pub href: String,
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
    /// Its entries of the menu.
    pub menu: &'static [Entry],
    /// Its actions of the command palette.
    pub actions: &'static [Action],
    /// What the search finds of it.
    pub search: &'static [Source],
    /// What its tasks do.
    pub tasks: &'static [Kind],
    /// What it does now and then.
    pub periodic: &'static [Periodic],
    /// Its threads that run as long as the daemon does.
    pub services: &'static [Service],
    /// Its words on the command line.
    pub commands: &'static [Command],
    /// Kinds of events that it emits.
    pub kinds: &'static [EventKind],
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
            menu: &[],
            actions: &[],
            search: &[],
            tasks: &[],
            periodic: &[],
            services: &[],
            commands: &[],
            kinds: &[],
            settings: &[],
            subjects: &[],
            observers: &[],
            react: None,
        }
    }
}
