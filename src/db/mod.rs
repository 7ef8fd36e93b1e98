//! Two SQLite files: `lamplighter.db` (state, audit, tasks; every commit is on disk before it is acknowledged) and
//! `metrics.db` (samples; a power failure may lose the last second, but never corrupt). Each has one writer with
//! IMMEDIATE transactions, which avoids SQLITE_BUSY_SNAPSHOT, and several readers, each with its own snapshot.

pub mod migrate;
pub mod schema;
mod reserve;

use crate::base::clock::{self, Duration};
use crate::base::error::{Error, Field, Kind, Result};
use crate::base::log;
use crate::base::parallel::lock;
use crate::base::process::Cancel;
use crate::base::text;
use reserve::Reserve;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::cell::RefCell;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// What a query gets: a connection inside a read transaction, or (by deref) a [`Tx`].
pub type Conn = Connection;

/// Durability of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// `synchronous=FULL`: an acknowledged commit survives a power failure.
    Full,
    /// `synchronous=NORMAL`: a power failure may lose the last commits, but never corrupt.
    Normal,
}

/// One database file, as somebody sees it.
pub struct Db {
    file: Arc<File>,
    /// What its reads see; `None`: all of it.
    lens: Option<Lens>,
}

/// What the reads of somebody see who may not see all: temporary views that stand before the tables of the same names, so
/// that every query is filtered, whoever wrote it. A query that means the table itself names it `main.table`. Writes see
/// all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lens {
    /// Creates the views, and the table `temp.granted (right, scope, id)` that they read.
    pub views: &'static str,
    /// The rows of that table: a JSON array of arrays.
    pub granted: Arc<str>,
}

/// The file and its connections.
struct File {
    path: PathBuf,
    durability: Durability,
    /// A panic inside a transaction rolls it back; the connection itself stays good.
    writer: Mutex<Connection>,
    readers: Mutex<Idle<Connection>>,
    /// Idle readers with the views of a [`Lens`], and what they were granted last.
    narrow_readers: Mutex<Idle<(Arc<str>, Connection)>>,
    /// Never writes, so that `PRAGMA data_version` on it counts every commit.
    watcher: Mutex<Connection>,
    reserve: Reserve,
    file_errors: Mutex<FileErrors>,
}

/// Errors of the file that users of it have seen.
#[derive(Default)]
struct FileErrors {
    damage: Option<String>,
    failing: Option<String>,
}

/// What is wrong with a database file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// Corrupt pages.
    Damaged(String),
    /// Disk full: only [`Db::write_reserved`] writes.
    Full,
    /// The last write failed for another reason of the disk (read-only, quota, I/O error).
    Failing(String),
}

/// Disk space of a database in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Size of the file.
    pub file: i64,
    /// Free pages in it.
    pub free: i64,
    /// Size of the write-ahead log.
    pub wal: i64,
}

/// Minimum bytes to shrink a file by.
const WORTH_SHRINKING: i64 = 1 << 20;
/// Pages released per transaction: about 10 ms.
const SHRINK_PAGES: u32 = 500;

/// Rows removed per transaction of a clean-up: about 10 ms.
const PART_ROWS: usize = 1_000;
/// Pause between two of them, so that other writers get their turn.
const PART_PAUSE: Duration = Duration::from_millis(2);
/// Time limit of a clean-up, which a stop waits for; the rest waits for the next one.
const PARTS_MAX: Duration = Duration::from_secs(5);

/// A write transaction. Derefs to the connection; [`Tx::after_commit`] is for notifications, which must not come
/// earlier.
pub struct Tx<'a> {
    inner: rusqlite::Transaction<'a>,
    after: RefCell<After>,
}

impl Tx<'_> {
    /// Runs `f` after the transaction has been committed, and only then.
    pub fn after_commit(&self, f: impl FnOnce() + 'static) {
        self.after.borrow_mut().push(Box::new(f));
    }
}

impl Deref for Tx<'_> {
    type Target = Connection;
    fn deref(&self) -> &Connection {
        &self.inner
    }
}

/// Callbacks to run after the commit.
type After = Vec<Box<dyn FnOnce()>>;

/// Runs one transaction. On a full disk it fails with `disk_full` if it has changed anything.
fn write_on(
    writer: &mut Connection,
    f: &mut dyn FnMut(&Tx) -> Result<()>,
    has_room: impl FnOnce() -> bool,
) -> Result<After> {
    let before = writer.total_changes();
    let tx = Tx {
        inner: writer.transaction_with_behavior(TransactionBehavior::Immediate)?,
        after: RefCell::default(),
    };
    f(&tx)?;
    if tx.inner.total_changes() != before && !has_room() {
        return Err(disk_full());
    }
    tx.inner.commit()?;
    Ok(tx.after.into_inner())
}

/// The closure has run exactly once.
fn done<T>(out: Option<T>) -> Result<T> {
    out.ok_or_else(|| Error::internal("a transaction without its work"))
}

/// Pages per step of a copy: 4 MiB; between two steps it can be cancelled.
const COPY_PAGES: i32 = 1024;

/// Readers kept open when idle; more are opened under load and closed again.
const IDLE_READERS: usize = 4;

impl Db {
    /// Opens or creates the file and migrates it. Errors: the disk, the file, a newer schema, no room for the upgrade.
    pub fn open(path: &Path, durability: Durability, steps: &[migrate::Step]) -> Result<Db> {
        let db = Db::attach(path, durability)?;
        migrate::check_room(db.folder(), db.needs(steps)?)?;
        db.upgrade(steps)?;
        Ok(db)
    }

    /// Opens or creates the file as it is. Errors: the disk, the file.
    fn attach(path: &Path, durability: Durability) -> Result<Db> {
        let reserve = Reserve::beside(path);
        let open = || -> Result<_> { Ok((connect(path, durability, true)?, open_file(path, false)?)) };
        let opened = match open() {
            // SQLite needs some kB beside the file even to read.
            Err(e) if e.code == DISK_FULL && reserve.give_up() => open(),
            opened => opened,
        };
        let (writer, watcher) = opened?;
        let file = Arc::new(File {
            path: path.into(),
            durability,
            writer: Mutex::new(writer),
            readers: Mutex::default(),
            narrow_readers: Mutex::default(),
            watcher: Mutex::new(watcher),
            reserve,
            file_errors: Mutex::default(),
        });
        Ok(Db { file, lens: None })
    }

    /// As [`migrate::needs`].
    fn needs(&self, steps: &[migrate::Step]) -> Result<u64> {
        migrate::needs(&lock(&self.file.writer), self.path(), steps)
    }

    fn upgrade(&self, steps: &[migrate::Step]) -> Result<()> {
        let run = || migrate::run(&mut lock(&self.file.writer), self.path(), steps);
        match run() {
            // A new file; an old one has asked for its room.
            Err(e) if e.code == DISK_FULL && self.file.reserve.give_up() => run()?,
            done => done?,
        }
        self.file.reserve.is_there();
        Ok(())
    }

    fn folder(&self) -> &Path {
        self.path().parent().unwrap_or(Path::new("."))
    }

    /// The same file, read through this.
    pub fn through(&self, lens: Lens) -> Db {
        Db {
            file: Arc::clone(&self.file),
            lens: Some(lens),
        }
    }

    /// Tells apart what different people see: part of the key of whatever is cached of an answer.
    pub fn seen_by(&self) -> &str {
        self.lens.as_ref().map_or("", |lens| &lens.granted)
    }

    /// Path of the file.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// Runs `f` in one IMMEDIATE transaction: committed on `Ok`, rolled back on `Err` or panic.
    pub fn write<T>(&self, f: impl FnOnce(&Tx) -> Result<T>) -> Result<T> {
        let (mut f, mut out) = (Some(f), None);
        self.write_with(false, &mut |tx| {
            out = f.take().map(|f| f(tx)).transpose()?;
            Ok(())
        })?;
        done(out)
    }

    /// As [`Db::write`], for what must work on a full disk: signing in, cleaning up, starting. Must write little.
    pub fn write_reserved<T>(&self, f: impl Fn(&Tx) -> Result<T>) -> Result<T> {
        let mut out = None;
        let mut once = || {
            self.write_with(true, &mut |tx| {
                out = Some(f(tx)?);
                Ok(())
            })
        };
        match once() {
            Err(e) if e.code == DISK_FULL => once()?, // the reserve has just been released
            done => done?,
        }
        done(out)
    }

    /// Runs `f` on one snapshot.
    pub fn read<T>(&self, f: impl FnOnce(&Conn) -> Result<T>) -> Result<T> {
        let (mut f, mut out) = (Some(f), None);
        self.read_with(&mut |conn| {
            out = f.take().map(|f| f(conn)).transpose()?;
            Ok(())
        })?;
        done(out)
    }

    // Not generic: the generic callers are instantiated hundreds of times, this part once.

    fn write_with(&self, reserved: bool, f: &mut dyn FnMut(&Tx) -> Result<()>) -> Result<()> {
        let mut writer = lock(&self.file.writer);
        let done = write_on(&mut writer, f, || reserved || self.file.reserve.is_there());
        drop(writer);
        if done.as_ref().is_err_and(|e| e.code == DISK_FULL) {
            self.file.reserve.give_up();
        }
        self.note(done.as_ref().err());
        for f in done? {
            f(); // the writer is unlocked: callbacks may write
        }
        Ok(())
    }

    /// Records what an access showed about the file.
    fn note(&self, e: Option<&Error>) {
        let mut file_errors = lock(&self.file.file_errors);
        match e {
            Some(e) if e.code == DAMAGED => file_errors.damage = Some(e.log.clone()),
            Some(e) if e.code == FAILING => file_errors.failing = Some(e.log.clone()),
            Some(_) => {}
            None => file_errors.failing = None,
        }
    }

    /// The known trouble of the file.
    pub fn trouble(&self) -> Option<Trouble> {
        let file_errors = lock(&self.file.file_errors);
        let damaged = file_errors.damage.clone().map(Trouble::Damaged);
        let full = || (!self.file.reserve.is_there()).then_some(Trouble::Full);
        damaged
            .or_else(full)
            .or_else(|| file_errors.failing.clone().map(Trouble::Failing))
    }

    /// Runs `PRAGMA integrity_check`; the result is kept for [`Db::trouble`]. Ends early, with no finding, when it is
    /// cancelled.
    pub fn check(&self, cancel: &Cancel) -> Result<Option<String>> {
        let mut conn = connect(&self.file.path, self.file.durability, false)?;
        let cancelled = cancel.clone();
        conn.progress_handler(100_000, Some(move || cancelled.is_cancelled()))?;
        let quick_check = || -> Result<Vec<String>> {
            let mut statement = conn.prepare("PRAGMA quick_check(3)")?;
            let rows = statement.query_map([], |r| r.get(0))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        };
        let damage = match quick_check() {
            _ if cancel.is_cancelled() => return Ok(None),
            Ok(lines) if lines == ["ok"] => None,
            Ok(lines) => Some(lines.join("; ")),
            Err(e) if e.code == DAMAGED => Some(e.log),
            Err(e) => return Err(e),
        };
        lock(&self.file.file_errors).damage.clone_from(&damage);
        Ok(damage)
    }

    /// Writes a page as it is and waits for the disk: proves that writers get their turn.
    pub fn probe(&self) -> Result<()> {
        self.write_reserved(|tx| {
            let version: i64 = tx.query_row("PRAGMA user_version", [], |r| r.get(0))?;
            Ok(tx.pragma_update(None, "user_version", version)?)
        })
    }

    /// Writes the file afresh, without what was deleted from it.
    pub fn rebuild(&self) -> Result<()> {
        let writer = lock(&self.file.writer);
        Ok(writer.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE);")?)
    }

    /// Copies one snapshot of the database to a new file; writers are not held up and not in the copy.
    pub fn copy_to(&self, path: &Path, cancel: &Cancel) -> Result<()> {
        let from = self.reader()?;
        // One read transaction for the whole copy; otherwise SQLite starts again whenever somebody has written
        // (sqlite.org/c3ref/backup_finish.html).
        let snapshot = from.unchecked_transaction()?;
        snapshot.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        let mut to = Connection::open(path)?;
        // The copy is synced once, when it is whole.
        to.execute_batch("PRAGMA synchronous=OFF")?;
        let backup = Backup::new(&snapshot, &mut to)?;
        while backup.step(COPY_PAGES)? == StepResult::More {
            if cancel.is_cancelled() {
                return Err(Error::new(Kind::Conflict, "cancelled", "Cancelled."));
            }
        }
        Ok(())
    }

    fn read_with(&self, f: &mut dyn FnMut(&Conn) -> Result<()>) -> Result<()> {
        let mut reader = match &self.lens {
            None => match lock(&self.file.readers).take(|_| true) {
                Some(reader) => reader,
                None => self.reader()?,
            },
            Some(lens) => self.narrow_reader(lens)?,
        };
        let out = match reader.transaction() {
            Ok(snapshot) => f(&snapshot),
            Err(e) => Err(e.into()),
        };
        if let Err(e) = &out {
            self.note(Some(e));
        }
        match &self.lens {
            None => lock(&self.file.readers).keep(reader),
            Some(lens) => lock(&self.file.narrow_readers).keep((Arc::clone(&lens.granted), reader)),
        }
        out
    }

    /// Closes readers that were not needed since the last call. One stays.
    pub fn close_idle(&self) {
        let readers = lock(&self.file.readers).close(1);
        let narrow = lock(&self.file.narrow_readers).close(0);
        drop((readers, narrow)); // outside of the locks
    }

    fn reader(&self) -> Result<Connection> {
        connect(&self.file.path, self.file.durability, false)
    }

    /// A connection with the views of this lens.
    fn narrow_reader(&self, lens: &Lens) -> Result<Connection> {
        let idle = {
            let mut idle = lock(&self.file.narrow_readers);
            match idle.take(|(granted, _)| *granted == lens.granted) {
                Some((_, reader)) => return Ok(reader),
                None => idle.take(|_| true),
            }
        };
        let (reader, views) = match idle {
            Some((_, reader)) => (reader, ""),
            None => (self.reader()?, lens.views),
        };
        // `query_only` means temporary tables, too.
        reader.execute_batch(&format!("PRAGMA query_only=OFF; {views} DELETE FROM temp.granted;"))?;
        reader.execute(
            "INSERT INTO temp.granted SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?1)",
            [&*lens.granted],
        )?;
        reader.execute_batch("PRAGMA query_only=ON")?;
        Ok(reader)
    }

    /// Removes many rows in small transactions, so that no writer waits long. `remove` gets the maximum of rows and
    /// returns how many it removed; fewer mean that none are left.
    pub fn clean_up(&self, remove: &dyn Fn(&Tx, usize) -> Result<usize>) -> Result<usize> {
        let until = clock::mono() + PARTS_MAX;
        let mut removed = 0;
        loop {
            let n = self.write_reserved(|tx| remove(tx, PART_ROWS))?;
            removed += n;
            if n < PART_ROWS || clock::mono() >= until {
                return Ok(removed);
            }
            std::thread::sleep(PART_PAUSE);
        }
    }

    /// Disk space in use.
    pub fn size(&self) -> Result<Size> {
        let (page, pages, free) = self.read(|conn| {
            let pragma = |name: &str| conn.query_row(&format!("PRAGMA {name}"), [], |r| r.get::<_, i64>(0));
            Ok((pragma("page_size")?, pragma("page_count")?, pragma("freelist_count")?))
        })?;
        let wal = std::fs::metadata(self.file.path.with_extension("db-wal")).map_or(0, |m| m.len());
        Ok(Size {
            file: pages * page,
            free: free * page,
            wal: i64::try_from(wal).unwrap_or(i64::MAX),
        })
    }

    /// Returns free pages to the disk if it is worth it, a few at a time; returns the number of bytes.
    pub fn shrink(&self) -> Result<i64> {
        let before = self.size()?;
        // Freed pages are usually reused: a tenth of the file may stay free.
        if before.free < WORTH_SHRINKING || before.free * 10 < before.file {
            return Ok(0);
        }
        loop {
            let left = self.write_reserved(|tx| {
                // `incremental_vacuum` removes one page per step, so it is stepped to its end.
                let mut statement = tx.prepare(&format!("PRAGMA incremental_vacuum({SHRINK_PAGES})"))?;
                let mut rows = statement.query([])?;
                while rows.next()?.is_some() {}
                Ok(tx.query_row("PRAGMA freelist_count", [], |r| r.get::<_, i64>(0))?)
            })?;
            let size = self.size()?;
            if left == 0 || size.free * 20 < size.file {
                break;
            }
        }
        // The file shrinks at the checkpoint, which readers may prevent: then it happens later.
        let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
        lock(&self.file.writer).query_row(checkpoint, [], |_| Ok(()))?;
        Ok(before.file - self.size()?.file)
    }

    /// Changes with every commit of this or another process; cheap enough for every request.
    pub fn version(&self) -> Result<i64> {
        Ok(lock(&self.file.watcher)
            .prepare_cached("PRAGMA data_version")?
            .query_row([], |r| r.get(0))?)
    }
}

/// Idle connections, the last used last. Each has parsed the schema and has pages in its cache: about 300 kB.
struct Idle<T> {
    all: Vec<T>,
    /// The fewest that there were since the last [`Db::close_idle`]: so many were not needed.
    spare: usize,
}

impl<T> Default for Idle<T> {
    fn default() -> Self {
        Idle {
            all: Vec::new(),
            spare: 0,
        }
    }
}

impl<T> Idle<T> {
    fn take(&mut self, wanted: impl Fn(&T) -> bool) -> Option<T> {
        let taken = self.all.iter().rposition(wanted).map(|n| self.all.remove(n));
        self.spare = self.spare.min(self.all.len());
        taken
    }

    fn keep(&mut self, one: T) {
        if self.all.len() < IDLE_READERS {
            self.all.push(one);
        }
    }

    /// Takes out what was not needed, all but `least`.
    fn close(&mut self, least: usize) -> Vec<T> {
        let spare = self.spare.min(self.all.len().saturating_sub(least));
        self.spare = self.all.len() - spare;
        self.all.drain(..spare).collect()
    }
}

/// Opens a file that nobody writes, read-only: no `-wal` or `-shm` is created beside it.
pub fn peek(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let name = text::percent_encode(&path.to_string_lossy()).replace("%2F", "/");
    Ok(Connection::open_with_flags(format!("file:{name}?immutable=1"), flags)?)
}

/// Runs `PRAGMA integrity_check` on a file that nobody writes; returns its findings.
pub fn damage(path: &Path) -> Result<Option<String>> {
    let look = || -> Result<Vec<String>> {
        let conn = peek(path)?;
        let mut statement = conn.prepare("PRAGMA integrity_check(3)")?;
        let rows = statement.query_map([], |r| r.get(0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    };
    match look() {
        Ok(lines) if lines == ["ok"] => Ok(None),
        Ok(lines) => Ok(Some(lines.join("; "))),
        Err(e) if e.code == DAMAGED => Ok(Some(e.log)),
        Err(e) => Err(e),
    }
}

/// A connection as SQLite makes it; it has not read the schema.
fn open_file(path: &Path, write: bool) -> Result<Connection> {
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if write {
        flags |= OpenFlags::SQLITE_OPEN_CREATE;
    }
    let conn = Connection::open_with_flags(path, flags).map_err(|e| cannot_open(path, e))?;
    conn.busy_timeout(migrate::BUSY)?;
    Ok(conn)
}

fn cannot_open(path: &Path, e: rusqlite::Error) -> Error {
    if is_full(&e) {
        return disk_full().log(e);
    }
    let file = path.display();
    let say = format!("The database {file} cannot be opened: {e}. Check that the folder exists and is yours.");
    Error::new(Kind::Config, "database", say)
}

fn connect(path: &Path, durability: Durability, write: bool) -> Result<Connection> {
    let conn = open_file(path, write)?;
    conn.set_prepared_statement_cache_capacity(64);
    // Query planner stability: otherwise a statement that could use a partial index is prepared again whenever a value
    // is bound, which costs more than running it (sqlite.org/c3ref/c_dbconfig_defensive.html, QPSG).
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // Small page cache: the kernel caches the file anyway.
    let cache_kib = if write { 1024 } else { 128 };
    let synchronous = if durability == Durability::Full {
        "FULL"
    } else {
        "NORMAL"
    };
    // Said to a file that holds something, it would be written down again: by each connection, also on a disk that is full.
    let pages: i64 = conn
        .query_row("PRAGMA page_count", [], |r| r.get(0))
        .map_err(|e| cannot_open(path, e))?;
    let kind = if pages == 0 {
        "PRAGMA auto_vacuum=INCREMENTAL;"
    } else {
        ""
    };
    conn.execute_batch(&format!(
        "{kind} PRAGMA journal_mode=WAL; PRAGMA synchronous={synchronous};
         PRAGMA foreign_keys=ON; PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON; PRAGMA temp_store=MEMORY;
         PRAGMA secure_delete=FAST; PRAGMA cache_size=-{cache_kib}; PRAGMA wal_autocheckpoint=1000;
         PRAGMA query_only={};",
        if write { "OFF" } else { "ON" }
    ))
    .map_err(|e| cannot_open(path, e))?;
    Ok(conn)
}

const DISK_FULL: &str = "own_disk_full";
const DAMAGED: &str = "database_damaged";
const FAILING: &str = "database_failing";

fn disk_full() -> Error {
    let say = "The disk of Lamplighter's own machine is full. Nothing was changed; make room and try again.";
    Error::new(Kind::Busy, DISK_FULL, say)
}

fn is_full(e: &rusqlite::Error) -> bool {
    // The second is a full disk as well: the index of the write-ahead log could not grow.
    e.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
        || e.sqlite_error()
            .is_some_and(|e| e.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE)
}

/// SQLite's errors: those of disk, file and lock get their own sentences; the rest is internal.
impl From<rusqlite::Error> for Error {
    fn from(e: rusqlite::Error) -> Error {
        use rusqlite::ErrorCode::{
            DatabaseBusy, DatabaseCorrupt, DatabaseLocked, NotADatabase, ReadOnly, SystemIoFailure,
        };
        if is_full(&e) {
            return disk_full().log(e);
        }
        match e.sqlite_error_code() {
            Some(DatabaseBusy | DatabaseLocked) => Error::new(
                Kind::Busy,
                "database_busy",
                "The database is busy. Nothing was changed; try again.",
            )
            .log(e),
            Some(DatabaseCorrupt | NotADatabase) => Error::new(
                Kind::Internal,
                DAMAGED,
                "A database file of Lamplighter is damaged. Its health says which one and what to do.",
            )
            .log(e),
            Some(SystemIoFailure | ReadOnly) => Error::new(
                Kind::Busy,
                FAILING,
                "The disk of Lamplighter's own machine does not take what is written. Nothing was changed.",
            )
            .log(e),
            _ => {
                log::error("db", "query failed", &[("error", &e.to_string())]);
                Error::internal(e)
            }
        }
    }
}

/// For `map_err`: a violated UNIQUE constraint is the person's mistake in `field`, with the sentence `say`; the rest is
/// internal.
pub fn on_unique_violation(field: &'static str, say: String) -> impl FnOnce(rusqlite::Error) -> Error {
    move |e| match is_duplicate(&e) {
        true => {
            let field = Field {
                field,
                code: "duplicate",
                message: say.clone(),
            };
            Error {
                fields: vec![field],
                ..Error::new(Kind::Conflict, "duplicate", say)
            }
        }
        false => e.into(),
    }
}

fn is_duplicate(e: &rusqlite::Error) -> bool {
    matches!(e, rusqlite::Error::SqliteFailure(f, _)
        if [rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE, rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY].contains(&f.extended_code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_that_nobody_needs_are_closed_and_the_last_used_stay() {
        let mut idle = Idle::default();
        let taken: Vec<Option<u32>> = (0..3).map(|_| idle.take(|_| true)).collect();
        assert_eq!(taken, [None, None, None]);
        (1..=3).for_each(|n| idle.keep(n));
        assert_eq!(idle.close(1), [0; 0], "all were needed");
        let one = idle.take(|_| true);
        assert_eq!(one, Some(3));
        idle.keep(3);
        assert_eq!(idle.close(1), [1, 2], "one at a time was enough");
        assert_eq!(idle.close(1), [0; 0], "one always stays");
        assert_eq!(idle.close(0), [3]);
        (1..=9).for_each(|n| idle.keep(n));
        assert_eq!(idle.all.len(), IDLE_READERS);
    }
}
