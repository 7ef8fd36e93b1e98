//! What a feature declares. `daemon` puts the list of features together; the machines read the joined rows.

use crate::access::Right;
use crate::app::App;
use crate::base::error::Result;
use crate::base::exposition::Text;
use crate::cli::Command;
use crate::db::Tx;
use crate::events::outbox::Event;
use crate::http::card::Card;
use crate::http::menu::{Action, Entry};
use crate::http::route::{Ctx, Panel, Route, TargetPanel};
use crate::kinds::{EventKind, TargetKind};
use crate::schedule::Periodic;
use crate::schedule::service::Service;
use crate::section::Section;
use crate::series::{Kind as SubjectKind, Observer, Observers};
use crate::settings::Setting;
use crate::task::Kind;
use crate::vault::Sealed;
use std::sync::Arc;

/// Handler of [`Feature::react`].
pub type Reaction = fn(&App, &Tx, &Event) -> Result<()>;

/// Creates an observer of a kind of subjects, once, when observation begins.
pub struct Observes(pub fn(&Arc<App>, &'static SubjectKind) -> Result<Observer>);

impl Observes {
    /// Creates all observers of this kind.
    pub fn start_all(app: &Arc<App>, kind: &'static SubjectKind) -> Result<Observers> {
        let all = app.registry.all::<Observes>().iter();
        let started = all.map(|observes| (observes.0)(app, kind)).collect::<Result<_>>()?;
        Ok(Observers::new(started))
    }
}

/// Figures of what a feature looks after, for `/metrics`. Of kinds of subjects without such a row the last values of their
/// series stand there.
pub struct Exposes {
    /// Of things of this kind: a [`SubjectKind`], or any other that there is.
    pub kind: &'static str,
    /// Appends them, family by family.
    pub write: fn(&App, &mut Text) -> Result<()>,
}

/// A searchable kind of objects.
pub struct Source {
    /// Name as in the menu: `servers`.
    pub kind: &'static str,
    /// Position among the kinds.
    pub place: u8,
    /// Right needed to find them.
    pub right: Right,
    /// Path of the full list, which takes the same query as `?q=`.
    pub list: Option<&'static str>,
    /// The first so many matches, and their total.
    pub find: fn(&Ctx, &str, i64) -> Result<Found>,
}

/// The first matches, and their total.
pub type Found = (Vec<Hit>, i64);

/// One match.
pub struct Hit {
    /// Display name.
    pub name: String,
    /// Detail that distinguishes equal names.
    pub detail: String,
    /// Path of its page.
    pub href: String,
}

/// One feature; all parts may be empty.
pub struct Feature {
    /// Noun: URL segment, folder, table prefix.
    pub name: &'static str,
    /// Texts: the content of its `words.txt`.
    pub words: &'static str,
    /// Routes under `/api/`.
    pub routes: &'static [Route],
    /// Pages.
    pub pages: &'static [Route],
    /// Cards of the overview.
    pub cards: &'static [Card],
    /// Panels on other features' pages.
    pub panels: &'static [Panel],
    /// Its cards on the pages of all targets.
    pub target_panels: &'static [TargetPanel],
    /// Menu entries.
    pub menu: &'static [Entry],
    /// Actions of the command palette.
    pub actions: &'static [Action],
    /// Search sources.
    pub search: &'static [Source],
    /// Kinds of tasks.
    pub tasks: &'static [Kind],
    /// Periodic work.
    pub periodic: &'static [Periodic],
    /// Services: threads that run as long as the daemon.
    pub services: &'static [Service],
    /// Commands of the command line.
    pub commands: &'static [Command],
    /// Event kinds that it emits.
    pub kinds: &'static [EventKind],
    /// Sections of the document.
    pub sections: &'static [Section],
    /// What it keeps that events, alerts, tasks and silences are about.
    pub targets: &'static [TargetKind],
    /// Settings.
    pub settings: &'static [Setting],
    /// Columns with sealed values.
    pub sealed: &'static [Sealed],
    /// Kinds of subjects that it observes.
    pub subjects: &'static [&'static SubjectKind],
    /// What it tells `/metrics`.
    pub exposes: &'static [Exposes],
    /// Observers of all observations.
    pub observers: &'static [Observes],
    /// Reaction to events of other features; runs in the transaction that moves its cursor.
    pub react: Option<Reaction>,
}

impl Feature {
    /// An empty feature with a name, for struct update.
    pub const fn named(name: &'static str) -> Feature {
        Feature {
            name,
            words: "",
            routes: &[],
            pages: &[],
            cards: &[],
            panels: &[],
            target_panels: &[],
            menu: &[],
            actions: &[],
            search: &[],
            tasks: &[],
            periodic: &[],
            services: &[],
            commands: &[],
            kinds: &[],
            sections: &[],
            targets: &[],
            settings: &[],
            sealed: &[],
            subjects: &[],
            exposes: &[],
            observers: &[],
            react: None,
        }
    }
}
