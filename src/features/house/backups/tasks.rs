//! The tasks: make a backup and remove what is too much; read one again.

use super::{Backup, US, encryption, events, queries, settings};
use crate::access::Allowed;
use crate::access::right::{Controller, Edit};
use crate::audit;
use crate::backup;
use crate::base::clock::{self, Ms, rfc3339};
use crate::base::error::{Error, Kind as Fault, Result};
use crate::base::file;
use crate::base::id::Id;
use crate::db::Tx;
use crate::events::outbox;
use crate::task::worker::Run;
use crate::task::{Class, Kind, Outcome, Tries};
use crate::vault;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

/// Kind: makes a backup.
pub const MAKE: &str = "backup.make";
/// Kind: reads one again.
pub const REHEARSE: &str = "backup.rehearse";

/// See [`Kind`].
pub const TASKS: &[Kind] = &[
    Kind {
        name: MAKE,
        idempotent: true,
        class: Class::Long,
        deadline: Duration::from_secs(3_600),
        tries: Tries::ONCE,
        by_clock: None,
        locks: Kind::TARGET_ONLY,
        run: make,
    },
    Kind {
        name: REHEARSE,
        idempotent: true,
        class: Class::Long,
        deadline: Duration::from_secs(3_600),
        tries: Tries::ONCE,
        by_clock: None,
        locks: Kind::TARGET_ONLY,
        run: rehearse,
    },
];

/// Failed ones that are shown.
const FAILED_MAX: usize = 20;

fn make(run: &Run) -> Result<Outcome> {
    let app = run.app;
    let (folder, recipient, keep) = app.db.read(|conn| {
        let keep = settings::KEEP.number(conn)?;
        Ok((settings::folder(conn, &app.config)?, settings::recipient(conn), keep))
    })?;
    let now = clock::now();
    let end = if matches!(recipient, Ok(None)) { "tar" } else { "age" };
    let path = folder.join(format!("lamplighter-{}.{end}", stamp(now)));
    let shown = path.to_string_lossy().into_owned();
    let word = recipient
        .as_ref()
        .map_or("none", |recipient| encryption(recipient.as_ref()));
    let id = app.db.write(|tx| {
        end_cut_off(tx, now)?;
        queries::begin(tx, &shown, word, now)
    })?;
    let made = recipient.and_then(|recipient| {
        file::private_dir(&folder)?;
        backup::make(app, &path, recipient.as_ref(), false, run.cancel)?;
        Ok(std::fs::metadata(&path)?.len() as i64)
    });
    let (size, error) = match &made {
        Ok(size) => (*size, String::new()),
        Err(e) => (0, e.say.clone()),
    };
    app.db.write(|tx| {
        queries::end(tx, id, size, &error, clock::now())?;
        let mut data = json!({ "name": "Lamplighter", "file": shown, "size": size });
        let kind = match error.is_empty() {
            true => events::MADE,
            false => {
                data["evidence"] = json!([error]);
                events::FAILED
            }
        };
        outbox::emit(tx, &app.wakes.events, kind, US, &data)?;
        let by = Allowed::<Edit, Controller>::by_daemon();
        audit::append(tx, &app.vault, by, kind, &format!("backup {id}"), &data)
    })?;
    run.log.say(&format!(
        "{shown}: {}",
        if error.is_empty() {
            format!("{size} bytes")
        } else {
            error
        }
    ));
    made?;
    let removed = clean_up(run, keep)?;
    Ok(outcome(1 + removed))
}

/// Those that have not ended were cut off: only one is made at a time. A file has its name when it is whole.
fn end_cut_off(tx: &Tx, now: Ms) -> Result<()> {
    let all = queries::all(tx)?;
    for cut_off in all.iter().filter(|b| b.ended_at.is_none()) {
        match std::fs::metadata(&cut_off.path) {
            Ok(file) => queries::end(tx, cut_off.id, file.len() as i64, "", now)?,
            Err(_) => queries::end(tx, cut_off.id, 0, "It was cut off.", now)?,
        }
    }
    Ok(())
}

fn outcome(changed: u32) -> Outcome {
    Outcome { changed, commit: None }
}

/// `20260102-030405-678`, UTC.
fn stamp(at: Ms) -> String {
    let text = rfc3339(at);
    let (day, time) = (text[..10].replace('-', ""), text[11..19].replace(':', ""));
    format!("{day}-{time}-{}", &text[20..23])
}

/// Removes the files of all but the newest ones, and only files that we have written down.
fn clean_up(run: &Run, keep: i64) -> Result<u32> {
    let all = run.app.db.read(queries::all)?;
    let (made, failed): (Vec<&Backup>, Vec<_>) = all.iter().filter(|b| b.ended_at.is_some()).partition(|b| b.is_made());
    let mut removed = 0;
    for old in made.into_iter().skip(keep as usize) {
        match std::fs::remove_file(&old.path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                run.log.say(&format!("{} cannot be removed: {e}", old.path));
                continue;
            }
            _ => removed += 1,
        }
        run.app.db.write(|tx| queries::remove(tx, old.id))?;
        run.log.say(&format!("{} was removed: {keep} are kept", old.path));
    }
    for old in failed.into_iter().skip(FAILED_MAX) {
        run.app.db.write(|tx| queries::remove(tx, old.id))?;
    }
    Ok(removed)
}

/// Input of [`REHEARSE`].
#[derive(Serialize, Deserialize)]
pub struct Which {
    /// The backup's number.
    pub backup: i64,
}

fn rehearse(run: &Run) -> Result<Outcome> {
    let app = run.app;
    let which: Which = run.input()?;
    let found = app.db.read(|conn| queries::get(conn, Id::new(which.backup)))?;
    let found = found.ok_or_else(|| Error::not_found("backup"))?;
    let read = read_again(run, &found);
    let error = read.as_ref().err().map(|e| e.say.clone()).unwrap_or_default();
    app.db.write(|tx| {
        queries::rehearsed(tx, found.id, &error, clock::now())?;
        let mut data = json!({ "name": "Lamplighter", "file": found.path });
        let kind = match error.is_empty() {
            true => events::READABLE,
            false => {
                data["evidence"] = json!([error]);
                events::UNREADABLE
            }
        };
        outbox::emit(tx, &app.wakes.events, kind, US, &data)
    })?;
    read?;
    run.log.say(&format!(
        "{} was unpacked, checked and opened by the master key",
        found.path
    ));
    Ok(outcome(0))
}

/// Unpacks it beside itself, checks all of it, opens its secrets with today's master key, and removes it again.
fn read_again(run: &Run, found: &Backup) -> Result<()> {
    let app = run.app;
    let path = Path::new(&found.path);
    let folder = path.parent().unwrap_or(Path::new("/"));
    let passphrase = match found.encryption.as_str() {
        "recipient" => return Err(for_a_key()),
        "passphrase" => {
            let file = app.db.read(settings::passphrase_file)?;
            file.map(|file| super::passphrase(&file)).transpose()?
        }
        _ => None,
    };
    let from = File::open(path).map_err(|e| {
        Error::new(
            Fault::NotFound,
            "backup_file",
            format!("{} cannot be read: {e}.", found.path),
        )
    })?;
    let unpacked = backup::unpack(from, passphrase.as_ref(), folder)?;
    unpacked.fits(&vault::master_key(&app.config)?)
}

/// Only the holder of the key can read it.
pub fn for_a_key() -> Error {
    let say = "This backup is encrypted for a public key, whose private key is not here. Read it where that one is.";
    Error::new(Fault::Conflict, "backup_for_a_key", say)
}
