//! `export` and `apply`: the document's routes for the command line.

use crate::base::error::{Error, Result};
use crate::base::file;
use crate::cli::{Command, Flag, Invocation, client, print, usage};
use crate::net::http::Method;
use serde_json::Value;
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
        flags: client::REMOTE,
        run: |asked| {
            let document = asked.ask(Method::Get, "/api/fleet", b"")?;
            print(&document);
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
            client::URL,
            client::TOKEN_FILE,
        ],
        run: |asked| {
            let change = apply(asked)?;
            print(&match asked.json() {
                true => change,
                false => told(&serde_json::from_str(&change).map_err(Error::internal)?),
            });
            Ok(0)
        },
    },
];

/// Reads a document in (`--yes`), or says what that would change (`--plan`).
fn apply(asked: &Invocation) -> Result<String> {
    let mode = match (asked.flag("plan"), asked.flag("yes"), asked.flag("deploy")) {
        (Some(_), None, None) => "plan",
        (None, Some(_), None) => "apply",
        (None, Some(_), Some(_)) => "deploy",
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
    let path = format!("/api/fleet?mode={mode}");
    match mode {
        "plan" => asked.ask_without_change(&path, &bytes),
        _ => asked.ask(Method::Post, &path, &bytes),
    }
}

/// For people.
fn told(change: &Value) -> String {
    let (count, many) = (
        |name: &str| change[name].as_array().map_or(0, Vec::len),
        |name: &str| change[name].as_u64(),
    );
    let mut text = change["diff"].as_str().unwrap_or_default().to_string();
    let _ = write!(
        text,
        "{}: {} new, {} changed, {} as they should be",
        if change["applied"] == true { "Applied" } else { "Plan" },
        count("created"),
        count("changed"),
        many("same").unwrap_or(0)
    );
    if let Some(unnamed @ 1..) = many("unnamed") {
        let _ = write!(text, ", {unnamed} not in the document (they stay)");
    }
    text.push_str(".\n");
    for task in change["tasks"].as_array().into_iter().flatten() {
        let _ = writeln!(text, "Task {task} deploys.");
    }
    text
}
