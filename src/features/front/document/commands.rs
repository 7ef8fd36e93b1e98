//! Commands for the owner of the data folder: `export` and `apply`.

use super::model::Document;
use super::{Change, Mode};
use crate::access::Allowed;
use crate::app::App;
use crate::base::error::{Error, Result};
use crate::base::file;
use crate::cli::{Command, Flag, Invocation, print, usage};
use std::fmt::Write;
use std::io::Read;
use std::path::Path;

/// Limit of a document in bytes.
const SIZE_MAX: u64 = 64 << 20;

/// Commands of this feature.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "export",
        help: "Print the fleet as one JSON document, without secrets.",
        flags: &[],
        run: |asked| {
            print(&asked.open()?.db.read(Document::of)?.pretty()?);
            Ok(0)
        },
    },
    Command {
        name: "apply",
        help: "Make the fleet as a document says; what it does not name stays.",
        flags: &[
            Flag {
                name: "file",
                value: "FILE",
                help: "The document (- is standard input).",
            },
            Flag {
                name: "plan",
                value: "",
                help: "Only show what would change.",
            },
            Flag {
                name: "yes",
                value: "",
                help: "Change it.",
            },
            Flag {
                name: "deploy",
                value: "",
                help: "With --yes: deploy the domains that are new or changed.",
            },
        ],
        run: |asked| {
            let change = apply(&asked.open()?, asked)?;
            print(&match asked.json() {
                true => serde_json::to_string(&change).map_err(Error::internal)?,
                false => told(&change),
            });
            Ok(0)
        },
    },
];

/// Imports a document (`--yes`), or shows the changes (`--plan`).
fn apply(app: &App, asked: &Invocation) -> Result<Change> {
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
    super::apply(app, Document::parse(&bytes)?, mode, Allowed::by_cli())
}

/// Text for people.
fn told(change: &Change) -> String {
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
