//! Migrations: numbered steps from `sql/`, embedded in the binary. `PRAGMA user_version` is the number of the last step.
//! All missing steps are one transaction: a file is as before or as after, whatever ends the program. Before it, the file is
//! copied beside itself. A file from a newer version is refused unchanged.

use crate::base::clock::{self, Duration};
use crate::base::error::{Error, Kind, Result};
use crate::base::{file, notify, sys, text};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// One migration; its position in the list is its number (from 1).
pub struct Step {
    /// File name, for messages.
    pub name: &'static str,
    /// SQL text.
    pub sql: &'static str,
}

impl Step {
    fn rebuilds(&self) -> bool {
        self.sql.contains("DROP TABLE")
    }
}

/// Copies that are kept of a file, each of before one upgrade.
const COPIES: usize = 2;
/// Bytes that must stay free beside what an upgrade takes.
const SPARE: u64 = 16 << 20;
/// How long another process may take that migrates the same file.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long a writer waits for another at any other time.
pub const BUSY: Duration = Duration::from_secs(5);

/// What the service manager is asked for before an upgrade, in µs: an hour to start in.
const MORE_TIME: &str = "EXTEND_TIMEOUT_USEC=3600000000";

/// Bytes of disk that the missing steps may need: the copy, and where a table is rebuilt each page once more. 0: none is
/// missing. Error: a newer file.
pub fn needs(conn: &Connection, path: &Path, steps: &[Step]) -> Result<u64> {
    let have = version(conn)?;
    if have > steps.len() {
        return Err(newer(conn, path, have, steps.len()));
    }
    if have == 0 || have == steps.len() {
        return Ok(0);
    }
    let pragma = |name: &str| conn.query_row(&format!("PRAGMA {name}"), [], |r| r.get::<_, i64>(0));
    let bytes = (pragma("page_count")? - pragma("freelist_count")?) * pragma("page_size")?;
    let copies = 1 + u64::from(steps[have..].iter().any(Step::rebuilds));
    Ok(copies * bytes.unsigned_abs() + SPARE)
}

/// Refuses an upgrade that needs more than the disk has free.
pub fn check_room(folder: &Path, needed: u64) -> Result<()> {
    let (free, _) = sys::disk(folder)?;
    if needed <= free {
        return Ok(());
    }
    let mb = |bytes: u64| bytes.div_ceil(1_000_000);
    let say = format!(
        "The upgrade of the databases in {} needs {} MB of free disk: they are copied first. {} MB are free. Nothing was changed; make room and start again.",
        folder.display(),
        mb(needed),
        mb(free),
    );
    Err(Error::new(Kind::Config, "upgrade_room", say))
}

/// Runs all missing steps. A file that holds data is copied first: see [`copies`]. Errors: newer file, failed copy, failed
/// step; the file is as before.
pub fn run(conn: &mut Connection, path: &Path, steps: &[Step]) -> Result<()> {
    let have = version(conn)?;
    if have == steps.len() {
        return Ok(());
    }
    if have > 0 {
        notify::tell(MORE_TIME);
    }
    conn.busy_timeout(PATIENCE)?;
    // Off while a table is rebuilt, and no switch inside a transaction: sqlite.org/lang_altertable.html, 7.
    conn.pragma_update(None, "foreign_keys", false)?;
    migrate(conn, path, steps)?;
    conn.pragma_update(None, "foreign_keys", true)?;
    Ok(conn.busy_timeout(BUSY)?)
}

fn migrate(conn: &mut Connection, path: &Path, steps: &[Step]) -> Result<()> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have migrated between our look and our lock.
    let have = version(&tx)?;
    if have > steps.len() {
        return Err(newer(&tx, path, have, steps.len()));
    }
    if have == steps.len() {
        return Ok(());
    }
    if have > 0 {
        copy(path)?; // nobody else writes now
    }
    for step in &steps[have..] {
        tx.execute_batch(step.sql)
            .map_err(|e| Error::internal(format!("migration {}: {e}", step.name)))?;
    }
    if tx.prepare("PRAGMA foreign_key_check")?.exists([])? {
        let last = steps.last().map_or("", |step| step.name);
        return Err(Error::internal(format!("migrations to {last}: rows hang on nothing")));
    }
    if is_told(&tx)? {
        tx.execute(
            "INSERT INTO schema_versions (schema, program, at) VALUES (?1, ?2, ?3)",
            params![steps.len() as i64, env!("CARGO_PKG_VERSION"), clock::now()],
        )?;
    }
    tx.pragma_update(None, "user_version", steps.len() as i64)?;
    Ok(tx.commit()?)
}

fn version(conn: &Connection) -> Result<usize> {
    let n: i64 = conn.query_row("PRAGMA user_version", [], |r| r.get(0))?;
    usize::try_from(n).map_err(|_| Error::new(Kind::Config, "schema_odd", "This is not a Lamplighter database."))
}

/// Does this schema say which version made it? The first ones did not.
fn is_told(conn: &Connection) -> Result<bool> {
    let table = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'schema_versions'";
    Ok(conn.prepare(table)?.exists([])?)
}

fn newer(conn: &Connection, path: &Path, have: usize, known: usize) -> Error {
    let program = || -> Result<Option<String>> {
        if !is_told(conn)? {
            return Ok(None);
        }
        let of = "SELECT program FROM schema_versions WHERE schema = ?1";
        Ok(conn.query_row(of, [have as i64], |r| r.get(0)).optional()?)
    };
    let by = match program() {
        Ok(Some(version)) => format!("{}, ", text::one_line(&version, 40)),
        Ok(None) | Err(_) => String::new(),
    };
    let copy = match copies(path).unwrap_or_default().last() {
        Some(copy) => format!("the copy of before the upgrade, {}, or ", copy.display()),
        None => String::new(),
    };
    let say = format!(
        "{} was written by a newer Lamplighter ({by}schema {have}); this is {} and knows schema {known}. Nothing was changed. Install that version again, or restore {copy}a backup: see the manual, Upgrades.",
        path.display(),
        env!("CARGO_PKG_VERSION"),
    );
    Error::new(Kind::Config, "schema_newer", say)
}

/// What the names of this file's copies begin with.
fn copy_name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default();
    format!("{}.before-", stem.to_string_lossy())
}

/// The copies of a database file of before its upgrades, the oldest first: `NAME.before-VERSION-TIME.db`.
pub fn copies(path: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path.parent().unwrap_or(Path::new(".")))? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_string_lossy().starts_with(&copy_name(path)) && name.to_string_lossy().ends_with(".db") {
            found.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Copies the file beside itself, onto the disk, and removes the oldest copies.
fn copy(path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let time = clock::rfc3339(clock::now())[..19].replace(['-', ':'], "");
    let name = format!("{}{}-{time}.db", copy_name(path), env!("CARGO_PKG_VERSION"));
    // What a killed copy has left: it is of one name, so there is one at most.
    let unfinished = folder.join(format!("{}unfinished", copy_name(path)));
    match fs::remove_file(&unfinished) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e.into()),
        _ => {}
    }
    file::create_new(&unfinished)?; // 0600; SQLite fills an empty file
    let copied = Connection::open(path)
        .and_then(|from| from.execute("VACUUM INTO ?1", [unfinished.to_string_lossy()]))
        .map_err(Error::from)
        .and_then(|_| Ok(File::open(&unfinished)?.sync_all()?))
        .and_then(|()| Ok(fs::rename(&unfinished, folder.join(name))?))
        .and_then(|()| Ok(File::open(folder)?.sync_all()?));
    if let Err(e) = copied {
        let _ = fs::remove_file(&unfinished); // the next try does it otherwise
        return Err(e);
    }
    let all = copies(path)?;
    for old in &all[..all.len().saturating_sub(COPIES)] {
        fs::remove_file(old)?;
    }
    Ok(())
}

/// The schema as text, sorted by name: the content of the golden file `sql/schema.sql`.
pub fn dump(conn: &Connection) -> Result<String> {
    let mut statement = conn.prepare(
        "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY tbl_name, type DESC, name",
    )?;
    let rows = statement.query_map([], |r| r.get::<_, String>(0))?;
    let mut out = String::new();
    for sql in rows {
        out.push_str(&sql?);
        out.push_str(";\n\n");
    }
    Ok(out)
}
