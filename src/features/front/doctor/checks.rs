//! The checks, each a function of the machines.

use super::{Finding, Severity, queries};
use crate::app::App;
use crate::audit;
use crate::base::clock::{self, Duration, MINUTE, rfc3339};
use crate::base::error::Result;
use crate::base::process::{self, Cancel, Program};
use crate::base::{file, sys};
use crate::db::migrate;
use crate::features::house::backups;
use crate::lang::Lang;
use crate::lang::format::bytes;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Name, and the check; `Err` of it is a failure of its own.
type Check = (&'static str, fn(&App) -> Result<Found>);

/// Severity, case and what the text is filled with; nothing wrong: [`fine`].
type Found = (Severity, &'static str, String);

/// What is checked, in the order of the page.
const CHECKS: &[Check] = &[
    ("folder", folder),
    ("key", key),
    ("database", database),
    ("audit", audit),
    ("disk", disk),
    ("clock", clock),
    ("resolver", resolver),
    ("ssh", ssh),
    ("web", web),
    ("accounts", accounts),
    ("glances", glances),
    ("backup", backup),
];

/// Runs all checks. `is_thorough`: reads the databases from end to end, which takes a while.
pub fn all(app: &App, is_thorough: bool) -> Vec<Finding> {
    let thorough: &[Check] = if is_thorough { &[("integrity", integrity)] } else { &[] };
    let checks = CHECKS.iter().chain(thorough);
    let finding = |(check, run): &Check| {
        let (severity, case, what) = run(app).unwrap_or_else(|e| (Severity::Failure, "failed", e.say));
        Finding {
            check,
            severity,
            case,
            what,
        }
    };
    checks.map(finding).collect()
}

fn fine(what: impl Into<String>) -> Result<Found> {
    Ok((Severity::Ok, "", what.into()))
}

fn warns(case: &'static str, what: impl Into<String>) -> Result<Found> {
    Ok((Severity::Warning, case, what.into()))
}

fn fails(case: &'static str, what: impl Into<String>) -> Result<Found> {
    Ok((Severity::Failure, case, what.into()))
}

/// Entries of a folder that are looked at.
const ENTRIES_MAX: usize = 1_000;

/// Whose are the files, and who else reads them?
fn folder(app: &App) -> Result<Found> {
    let dir = &app.config.data_dir;
    let mut odd = Vec::new();
    for entry in std::fs::read_dir(dir)?.take(ENTRIES_MAX) {
        let meta = entry.as_ref().map(|e| e.metadata());
        if let (Ok(entry), Ok(Ok(meta))) = (&entry, meta)
            && (meta.uid() != sys::uid() || meta.is_file() && meta.mode() & 0o077 != 0)
        {
            odd.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    match odd.is_empty() {
        true => fine(dir.display().to_string()),
        false => warns("open", odd.join(", ")),
    }
}

fn key(app: &App) -> Result<Found> {
    let path = &app.config.master_key_file;
    let shown = path.display().to_string();
    if app.config.master_key.is_some() {
        return warns("environment", "");
    }
    if let Err(say) = file::check_secret(path) {
        return fails("open", say);
    }
    match path.starts_with(&app.config.data_dir) {
        true => warns("beside", shown),
        false => fine(shown),
    }
}

fn database(app: &App) -> Result<Found> {
    let trouble = app.databases().into_iter().find(|db| db.trouble().is_some());
    match trouble {
        Some(db) => fails("trouble", db.path().display().to_string()),
        None => fine(
            [vec![bytes(Lang::En, size(app)? as f64)], copies(app)?]
                .concat()
                .join(", "),
        ),
    }
}

fn size(app: &App) -> Result<i64> {
    app.databases().into_iter().map(|db| Ok(db.size()?.file)).sum()
}

/// Names of the copies of before upgrades.
fn copies(app: &App) -> Result<Vec<String>> {
    let all = app.databases().map(|db| migrate::copies(db.path()));
    let all = all.into_iter().collect::<Result<Vec<_>>>()?.concat();
    let name = |path: &PathBuf| Some(path.file_name()?.to_string_lossy().into_owned());
    Ok(all.iter().filter_map(name).collect())
}

fn integrity(app: &App) -> Result<Found> {
    for db in app.databases() {
        if let Some(what) = db.check(&Cancel::new())? {
            return fails("damaged", format!("{}: {what}", db.path().display()));
        }
    }
    fine("")
}

fn audit(app: &App) -> Result<Found> {
    match audit::verify(&app.db, &app.vault, None)? {
        Ok(head) => fine(head.seq.to_string()),
        Err(broken) => fails("broken", broken.to_string()),
    }
}

const ROOM_MIN: u64 = 256 << 20;

fn disk(app: &App) -> Result<Found> {
    let (free, size) = sys::disk(&app.config.data_dir)?;
    let shown = bytes(Lang::En, free as f64);
    match free < ROOM_MIN || free < size / 20 {
        true => warns("full", shown),
        false => fine(shown),
    }
}

/// A clock that lies before what was written down already has gone back.
fn clock(app: &App) -> Result<Found> {
    let (now, newest) = (clock::now(), app.db.read(queries::newest_event)?);
    match newest.filter(|at| *at > now + MINUTE) {
        Some(at) => fails("back", rfc3339(at)),
        None => fine(rfc3339(now)),
    }
}

const RESOLVERS: &str = "/etc/resolv.conf";

fn resolver(_: &App) -> Result<Found> {
    let text = file::read_limited(Path::new(RESOLVERS), 64 << 10).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let named = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    let named: Vec<_> = named.map(str::trim).collect();
    match named.is_empty() {
        true => warns("none", RESOLVERS),
        false => fine(named.join(", ")),
    }
}

/// Debian 11 has 8.4; older ones lack options that are used.
const SSH_MIN: (u32, u32) = (8, 4);

fn ssh(_: &App) -> Result<Found> {
    let program = Program {
        name: "ssh",
        args: vec!["-V".into()],
        env: Vec::new(),
        dir: None,
    };
    let said = process::run(program, b"", Duration::from_secs(5), 1_000, &Cancel::new())?;
    let text = said.stderr.trim().to_string();
    let version = text.strip_prefix("OpenSSH_").and_then(|rest| {
        let (major, rest) = rest.split_once('.')?;
        let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
        Some((major.parse().ok()?, minor.parse().ok()?))
    });
    match version {
        Some(version) if version >= SSH_MIN => fine(text),
        _ => warns("old", text),
    }
}

/// Do passwords and tokens cross the network as they are?
fn web(app: &App) -> Result<Found> {
    let config = &app.config;
    let open = config
        .listen
        .iter()
        .find(|addr| !addr.ip().to_canonical().is_loopback());
    match open {
        Some(addr) if config.tls.is_none() && config.trusted_proxies.is_empty() => warns("plain", addr.to_string()),
        _ => {
            let all: Vec<_> = config.listen.iter().map(ToString::to_string).collect();
            fine(all.join(", "))
        }
    }
}

fn accounts(app: &App) -> Result<Found> {
    let single = app.db.read(queries::single_factor)?;
    match single.is_empty() {
        true => fine(""),
        false => warns("single", single.join(", ")),
    }
}

fn glances(app: &App) -> Result<Found> {
    let open = app.db.read(queries::open_glances)?;
    match open.is_empty() {
        true => fine(""),
        false => warns("open", open.join(", ")),
    }
}

fn backup(app: &App) -> Result<Found> {
    let state = app.db.read(backups::state)?;
    let is_old = |at| state.age_max.is_some_and(|max| clock::now() - at > max);
    match state.newest {
        _ if !state.rehearsal_error.is_empty() => fails("unreadable", state.rehearsal_error),
        None if state.is_scheduled => warns("none", ""),
        None => warns("never", ""),
        Some(at) if is_old(at) => warns("old", rfc3339(at)),
        Some(at) => fine(rfc3339(at)),
    }
}
