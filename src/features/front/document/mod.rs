//! The fleet as one document without any secret, written out and read in, section by section as the features declare them.
//! Reading in is planned by doing it and taking it back, so the plan cannot differ from what happens; a second time
//! changes nothing. What the document does not name stays as it is.

mod model;
mod api;
mod commands;

use crate::access::Allowed;
use crate::access::right::{self, Edit};
use crate::app::App;
use crate::base::diff::diff;
use crate::base::error::{Error, Result};
use crate::base::id::{self, Id};
use crate::base::shape::described;
use crate::db::Tx;
use crate::feature::Feature;
use crate::section::Applying;
use model::{Document, Row};

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
    /// Change it, and deploy what is new or changed.
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
    let before = Document::of(tx)?;
    let (text, rows) = (before.pretty()?, before.rows());
    let to = Applying { app, tx, by };
    let mut change = Change::default();
    let mut touched = Vec::new();
    for row in document.entries() {
        let (section, name, place) = (row.section, row.name(), row.place());
        let told = format!("{} {name}", section.one);
        let (list, id) = match put(&to, row, &name).map_err(|e| explain(&place, e))? {
            Done::Created(id) => (&mut change.created, id),
            Done::Changed(id) => (&mut change.changed, id),
            Done::Same => {
                change.same += 1;
                continue;
            }
        };
        list.push(told);
        touched.extend(section.deploy.map(|deploy| (deploy, id)));
    }
    change.unnamed = rows.saturating_sub(change.changed.len() + change.same);
    change.diff = diff(&text, &Document::of(tx)?.pretty()?).to_string();
    if mode == Mode::Deploy {
        for (deploy, id) in touched {
            change.tasks.extend(deploy(&to, id)?);
        }
    }
    Ok(change)
}

/// What came of an entry, with the row's number.
enum Done {
    Created(i64),
    Changed(i64),
    Same,
}

/// Makes the row of an entry, or makes it as the entry says.
fn put(to: &Applying, row: Row, name: &str) -> Result<Done> {
    Ok(match (row.section.find)(to.tx, name)? {
        None => Done::Created((row.section.create)(to, row.entry)?),
        Some(id) if (row.section.update)(to, id, row.entry)? => Done::Changed(id),
        Some(_) => Done::Same,
    })
}

/// Says where in the document a mistake is.
fn explain(place: &str, e: Error) -> Error {
    let mut said: Vec<String> = e.fields.iter().map(|f| format!("{}: {}", f.field, f.message)).collect();
    if said.is_empty() {
        said.push(e.say.clone());
    }
    Error {
        say: format!("{place}: {}", said.join(" ")),
        ..e
    }
}
