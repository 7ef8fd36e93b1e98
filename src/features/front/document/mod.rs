//! The fleet as one document without secrets: export and import, by the sections that features declare. A plan is an
//! import that is rolled back, so it cannot differ from the real one; a second import changes nothing. Rows that the
//! document does not name stay.

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
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    commands: commands::COMMANDS,
    ..Feature::named("fleet")
};

described! {
    /// Result of an import.
    #[derive(Debug, Default)]
    pub struct Change {
        /// `false`: only planned.
        pub applied: bool,
        /// New rows, as `server web-1`.
        pub created: Vec<String>,
        /// Changed rows.
        pub changed: Vec<String>,
        /// Unchanged rows.
        pub same: usize,
        /// Rows that the document does not name; they stay.
        pub unnamed: usize,
        /// The difference between this fleet's document before and after, as `diff -u` shows it.
        pub diff: String,
        /// Ids of the deploy tasks.
        pub tasks: Vec<Id<id::Task>>,
    }
}

/// Mode of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Show the changes.
    Plan,
    /// Make the changes.
    Apply,
    /// Make the changes, and deploy what is new or changed.
    Deploy,
}

/// Error code that rolls back a plan.
const REHEARSAL: &str = "rehearsal";

/// Imports a document, or shows the changes. All or nothing.
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

/// Result of an entry, with the row's id.
enum Done {
    Created(i64),
    Changed(i64),
    Same,
}

/// Creates or changes the row of an entry.
fn put(to: &Applying, row: Row, name: &str) -> Result<Done> {
    Ok(match (row.section.find)(to.tx, name)? {
        None => Done::Created((row.section.create)(to, row.entry)?),
        Some(id) if (row.section.update)(to, id, row.entry)? => Done::Changed(id),
        Some(_) => Done::Same,
    })
}

/// Adds the position in the document to an error.
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
