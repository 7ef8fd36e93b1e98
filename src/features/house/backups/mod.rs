//! Backups: by a schedule, on demand and on the command line; which are kept, whether they can be read again, and an alert
//! when one fails or is old.

mod settings;
mod events;
mod queries;
mod tasks;
mod periodic;
mod api;
mod pages;
mod commands;

use crate::access::right::{Controller, Read, may};
use crate::backup::age::Recipient;
use crate::base::clock::Ms;
use crate::base::error::{Error, Kind, Result};
use crate::base::file;
use crate::base::id::{self, Id};
use crate::base::secret::Secret;
use crate::db::Conn;
use crate::feature::Feature;
use crate::http::menu::Entry;
use std::path::Path;

/// The feature's declaration.
pub const FEATURE: Feature = Feature {
    words: include_str!("words.txt"),
    routes: api::ROUTES,
    pages: pages::ROUTES,
    menu: MENU,
    tasks: tasks::TASKS,
    periodic: periodic::PERIODIC,
    commands: commands::COMMANDS,
    kinds: events::KINDS,
    settings: settings::SETTINGS,
    ..Feature::named("backups")
};

const MENU: &[Entry] = &[Entry {
    path: "/backups",
    word: "backups",
    icon: "box",
    right: may(Read, Controller),
    place: (4, 4),
    ..Entry::NEW
}];

/// Lamplighter itself, as the target of events and tasks.
const US: (&str, i64) = ("controller", 0);

/// A backup that was made or tried.
#[derive(Debug, Clone)]
struct Backup {
    id: Id<id::Backup>,
    began_at: Ms,
    /// `None`: it is being made.
    ended_at: Option<Ms>,
    path: String,
    size: i64,
    /// `none`, `recipient` or `passphrase`.
    encryption: String,
    /// Empty: it was made.
    error: String,
    rehearsed_at: Option<Ms>,
    /// Empty: it was read again, or that was not tried.
    rehearsal_error: String,
}

impl Backup {
    /// Is the file there to be restored, as far as we know?
    fn is_made(&self) -> bool {
        self.ended_at.is_some() && self.error.is_empty()
    }

    /// Can this machine read it again? It has no key for one of a recipient.
    fn is_readable(&self) -> bool {
        self.is_made() && self.encryption != "recipient"
    }
}

/// What backups there are and whether they are made on time.
pub struct State {
    /// When the newest good one was begun.
    pub newest: Option<Ms>,
    /// Are backups made by a schedule?
    pub is_scheduled: bool,
    /// The age that a backup may have, ms; `None`: any.
    pub age_max: Option<Ms>,
    /// Why the newest one that was read again could not be; empty: it could.
    pub rehearsal_error: String,
}

/// The state of backups, for the doctor.
pub fn state(conn: &Conn) -> Result<State> {
    let newest = queries::newest_made(conn)?;
    Ok(State {
        is_scheduled: settings::cron(conn)?.is_some(),
        age_max: settings::age_max(conn)?,
        rehearsal_error: newest.as_ref().map(|b| b.rehearsal_error.clone()).unwrap_or_default(),
        newest: newest.map(|b| b.began_at),
    })
}

/// The passphrase in a file; an empty one protects nothing and is refused.
fn passphrase(path: &Path) -> Result<Secret> {
    let refused = |say: String| Error::new(Kind::Malformed, "passphrase_file", say);
    file::check_secret(path).map_err(|say| refused(format!("The passphrase file {say}")))?;
    let shown = path.display();
    let bytes = file::read_limited(path, 10_000).map_err(|e| refused(format!("{shown} cannot be read: {e}.")))?;
    let text = String::from_utf8(bytes).map_err(|_| refused(format!("{shown} is not text.")))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(refused(format!("{shown} is empty."))),
        text => Ok(Secret::new(text)),
    }
}

/// Who can open it, in a word.
fn encryption(recipient: Option<&Recipient>) -> &'static str {
    match recipient {
        None => "none",
        Some(Recipient::X25519(_)) => "recipient",
        Some(Recipient::Passphrase(_)) => "passphrase",
    }
}
