//! The fleet as one document: servers, upstreams, groups and domains without any secret, written out and read in. Reading
//! in is planned by doing it and taking it back, so the plan cannot differ from what happens; a second time changes
//! nothing. What the document does not name stays as it is.

mod model;
mod api;
mod commands;

use crate::access::Allowed;
use crate::access::right::{self, Deploy, Domains, Edit};
use crate::app::App;
use crate::base::diff::diff;
use crate::base::error::{Error, Kind, Result};
use crate::base::id::{self, Id};
use crate::base::shape::described;
use crate::db::Tx;
use crate::feature::Feature;
use crate::features::proxy::domains::{self, Choice};
use model::{Document, Names};

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    routes: api::ROUTES,
    commands: commands::COMMANDS,
    ..Feature::named("fleet")
};

described! {
    /// What reading a document in changes.
    #[derive(Debug, Default)]
    pub struct Change {
        /// False: it was only planned.
        pub applied: bool,
        /// Rows that are new, as `server web-1`.
        pub created: Vec<String>,
        /// Rows that are other than before.
        pub changed: Vec<String>,
        /// Rows of the document that are as it says already.
        pub same: usize,
        /// Rows here that the document does not name; they stay.
        pub unnamed: usize,
        /// The difference between this fleet's document before and after, as `diff -u` shows it.
        pub diff: String,
        /// Deploys that were put in, by task.
        pub tasks: Vec<Id<id::Task>>,
    }
}

/// How to read a document in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Say what would change.
    Plan,
    /// Change it.
    Apply,
    /// Change it, and deploy the domains that are new or changed.
    Deploy,
}

/// The end of a transaction that was only a rehearsal.
const REHEARSAL: &str = "rehearsal";

/// Reads a document in, or says what that would change. All or nothing.
pub fn apply(app: &App, document: Document, mode: Mode, by: Allowed<Edit, right::Document>) -> Result<Change> {
    let mut change = Change::default();
    let done = app.db.write(|tx| {
        change = change_all(app, tx, document, mode, by)?;
        match mode {
            Mode::Plan => Err(Error::internal(REHEARSAL)),
            _ => Ok(()),
        }
    });
    match done {
        Ok(()) => change.applied = true,
        Err(e) if mode == Mode::Plan && e.log == REHEARSAL => {}
        Err(e) => return Err(e),
    }
    Ok(change)
}

fn change_all(
    app: &App,
    tx: &Tx,
    document: Document,
    mode: Mode,
    by: Allowed<Edit, right::Document>,
) -> Result<Change> {
    let before = model::read_all(tx)?;
    let mut names = Names::load(tx)?;
    let mut change = Change::default();
    let mut touched = Vec::new();
    let (text, rows) = (pretty(&before)?, before.rows());
    for entry in document.entries() {
        let told = format!("{} {}", entry.what, entry.name());
        match names.put(app, tx, &entry, by).map_err(|e| entry.explain(e))? {
            model::Done::Created(domain) => {
                change.created.push(told);
                touched.extend(domain);
            }
            model::Done::Changed(domain) => {
                change.changed.push(told);
                touched.extend(domain);
            }
            model::Done::Same => change.same += 1,
        }
    }
    change.unnamed = rows.saturating_sub(change.changed.len() + change.same);
    change.diff = diff(&text, &pretty(&model::read_all(tx)?)?).to_string();
    if mode == Mode::Deploy {
        for id in touched {
            match domains::deploy(app, tx, id, &Choice::default(), by.also(Deploy, Domains)?) {
                Ok(task) => change.tasks.push(task),
                // A domain without upstream or server is complete as a row; there is nothing to deploy yet.
                Err(e) if e.kind == Kind::Conflict && ["no_server", "no_upstream"].contains(&e.code) => {}
                Err(e) => return Err(e),
            }
        }
    }
    Ok(change)
}

/// As it is written out: a line for each field, in a fixed order, so that a difference can be read.
pub fn pretty(document: &Document) -> Result<String> {
    let mut text = serde_json::to_string_pretty(document).map_err(Error::internal)?;
    text.push('\n');
    Ok(text)
}
