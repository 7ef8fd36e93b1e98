//! `export` and `apply`: for whoever has the data folder.

use super::model::{self, Document};
use super::{Change, Mode, pretty};
use crate::app::App;
use crate::audit::By;
use crate::base::error::{Error, Kind, Result};
use crate::base::file;
use crate::cli::Asked;
use std::fmt::Write;
use std::io::Read;
use std::path::Path;

const BY: By = By::ours("cli");
/// Larger than any fleet this program is made for.
const SIZE_MAX: u64 = 64 << 20;

/// The fleet as a document.
pub fn export(app: &App) -> Result<String> {
    pretty(&app.db.read(model::read_all)?)
}

/// Reads a document in (`--yes`), or says what that would change (`--plan`).
pub fn apply(app: &App, asked: &Asked) -> Result<Change> {
    let usage = |say: &str| Error::new(Kind::Malformed, "usage", say);
    let mode = match (asked.flag("plan"), asked.flag("yes"), asked.flag("deploy")) {
        (Some(_), None, None) => Mode::Plan,
        (None, Some(_), None) => Mode::Apply,
        (None, Some(_), Some(_)) => Mode::Deploy,
        _ => {
            return Err(usage(
                "Say --plan to see what would change, or --yes to change it (and --deploy to deploy it).",
            ));
        }
    };
    let bytes = match asked.flag("file") {
        None => return Err(usage("Say which document: --file FILE (- is standard input).")),
        Some("-") => {
            let mut bytes = Vec::new();
            std::io::stdin().take(SIZE_MAX + 1).read_to_end(&mut bytes)?;
            bytes
        }
        Some(path) => file::read_limited(Path::new(path), SIZE_MAX)?,
    };
    super::apply(app, Document::parse(&bytes)?, mode, BY)
}

/// For people.
pub fn told(change: &Change) -> String {
    let mut text = change.diff.clone();
    let _ = write!(
        text,
        "{}: {} new, {} changed, {} as they should be",
        if change.applied { "Applied" } else { "Plan" },
        change.created.len(),
        change.changed.len(),
        change.same
    );
    if change.unnamed > 0 {
        let _ = write!(text, ", {} not in the document (they stay)", change.unnamed);
    }
    text.push_str(".\n");
    for task in &change.tasks {
        let _ = writeln!(text, "Task {task} deploys; a running daemon takes it up.");
    }
    text
}
