//! Two SQLite files: `lamplighter.db` (state, audit, tasks; every commit is on the disk before it is answered) and
//! `metrics.db` (samples; a power cut may lose the last second, never corrupt). One writer each, Immediate transactions,
//! so that nobody ever sees SQLITE_BUSY_SNAPSHOT; a few readers, each with a snapshot of its own.

pub mod migrate;
pub mod schema;
mod room;

use crate::base::clock::{self, Duration};
use crate::base::error::{Error, Field, Kind, Result};
use crate::base::log;
use crate::base::parallel::lock;
use crate::base::process::Cancel;
use room::Room;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::cell::RefCell;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// What a query gets: a connection inside a read transaction, or (by deref) a [`Tx`].
pub type Conn = Connection;

/// How much a commit is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// `synchronous=FULL`: an acknowledged commit survives a power cut.
    Full,
    /// `synchronous=NORMAL`: a power cut may lose the last commits, never corrupt.
    Normal,
}

/// One database file.
pub struct Db {
    path: PathBuf,
    durability: Durability,
    /// A panic inside a transaction rolls it back; the connection itself stays good.
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
    /// Never writes, so that it sees every commit as somebody else's.
    watcher: Mutex<Connection>,
    room: Room,
    faults: Mutex<Faults>,
}

/// What was seen of the file by those who used it.
#[derive(Default)]
struct Faults {
    damage: Option<String>,
    failing: Option<String>,
}

/// What is wrong with a database file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// Pages of it are not what SQLite wrote.
    Damaged(String),
    /// No room: only [`Db::write_reserved`] writes.
    Full,
    /// The last write failed for another reason of the disk's (read-only, a quota, an I/O error).
    Failing(String),
}

/// Bytes of a database on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// The file.
    pub file: i64,
    /// Of that, pages with nothing in them.
    pub free: i64,
    /// Its write-ahead log beside it.
    pub wal: i64,
}

/// Less than this is not worth the moving of pages, in bytes.
const WORTH_SHRINKING: i64 = 1 << 20;
/// Pages given back in one transaction: some 10 ms.
const SHRINK_PAGES: u32 = 500;

/// Rows that a clean-up touches in one transaction: some 10 ms.
const PART_ROWS: usize = 1_000;
/// Between two of them, so that those who wait for the writer come in.
const PART_PAUSE: Duration = Duration::from_millis(2);
/// What is not cleaned up by then waits for the next time.
const PARTS_MAX: Duration = Duration::from_secs(15);

/// A write transaction. Derefs to the connection; [`Tx::after_commit`] is for wake-ups, which must not come earlier.
pub struct Tx<'a> {
    inner: rusqlite::Transaction<'a>,
    after: RefCell<After>,
}

impl Tx<'_> {
    /// Runs `f` when (and only if) the transaction has been committed.
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

/// What wakes others after a commit.
type After = Vec<Box<dyn FnOnce()>>;

/// One transaction. Without room nothing may be changed in it; one that had nothing to change ends well.
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

/// A transaction that ended well has done its work, once.
fn done<T>(out: Option<T>) -> Result<T> {
    out.ok_or_else(|| Error::internal("a transaction without its work"))
}

/// Readers kept open when idle; more are opened under load and closed again.
const IDLE_READERS: usize = 4;

impl Db {
    /// Opens (or makes) the file and brings its schema up to date.
    pub fn open(path: &Path, durability: Durability, steps: &[migrate::Step]) -> Result<Db> {
        let room = Room::beside(path);
        let open = || -> Result<_> {
            let mut writer = connect(path, durability, true)?;
            migrate::run(&mut writer, path, steps)?;
            Ok((writer, connect(path, durability, false)?))
        };
        let opened = match open() {
            // Even to read, SQLite needs some kB beside the file.
            Err(e) if e.code == DISK_FULL && room.give_up() => open(),
            opened => opened,
        };
        let (writer, watcher) = opened?;
        room.is_there();
        Ok(Db {
            path: path.into(),
            durability,
            writer: Mutex::new(writer),
            readers: Mutex::default(),
            watcher: Mutex::new(watcher),
            room,
            faults: Mutex::default(),
        })
    }

    /// Where the file lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `f` in one Immediate transaction: committed when it is `Ok`, rolled back when it is `Err` or panics.
    pub fn write<T>(&self, f: impl FnOnce(&Tx) -> Result<T>) -> Result<T> {
        let (mut f, mut out) = (Some(f), None);
        self.write_with(false, &mut |tx| {
            out = f.take().map(|f| f(tx)).transpose()?;
            Ok(())
        })?;
        done(out)
    }

    /// The same for what must be possible on a full disk: signing in, cleaning up, starting. Little is written there.
    pub fn write_reserved<T>(&self, f: impl Fn(&Tx) -> Result<T>) -> Result<T> {
        let mut out = None;
        let mut once = || {
            self.write_with(true, &mut |tx| {
                out = Some(f(tx)?);
                Ok(())
            })
        };
        match once() {
            Err(e) if e.code == DISK_FULL => once()?, // the reserve has just been given up
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

    // The two are called from hundreds of places. What is the same in all of them is in the binary once, not hundreds of
    // times.

    fn write_with(&self, reserved: bool, f: &mut dyn FnMut(&Tx) -> Result<()>) -> Result<()> {
        let mut writer = lock(&self.writer);
        let done = write_on(&mut writer, f, || reserved || self.room.is_there());
        drop(writer);
        if done.as_ref().is_err_and(|e| e.code == DISK_FULL) {
            self.room.give_up();
        }
        self.note(done.as_ref().err());
        for f in done? {
            f(); // the writer is free again: what wakes may write at once
        }
        Ok(())
    }

    /// Remembers what a use of the file showed about it.
    fn note(&self, e: Option<&Error>) {
        let mut faults = lock(&self.faults);
        match e {
            Some(e) if e.code == DAMAGED => faults.damage = Some(e.log.clone()),
            Some(e) if e.code == FAILING => faults.failing = Some(e.log.clone()),
            Some(_) => {}
            None => faults.failing = None,
        }
    }

    /// What is wrong with the file, as far as it was seen.
    pub fn trouble(&self) -> Option<Trouble> {
        let faults = lock(&self.faults);
        let damaged = faults.damage.clone().map(Trouble::Damaged);
        let full = || (!self.room.is_there()).then_some(Trouble::Full);
        damaged
            .or_else(full)
            .or_else(|| faults.failing.clone().map(Trouble::Failing))
    }

    /// Reads the whole file and says what SQLite finds wrong with it; remembered for [`Db::trouble`]. It ends early, with
    /// nothing found, when it is cancelled.
    pub fn check(&self, cancel: &Cancel) -> Result<Option<String>> {
        let mut conn = connect(&self.path, self.durability, false)?;
        let cancelled = cancel.clone();
        conn.progress_handler(100_000, Some(move || cancelled.is_cancelled()))?;
        let look = || -> Result<Vec<String>> {
            let mut statement = conn.prepare("PRAGMA quick_check(3)")?;
            let rows = statement.query_map([], |r| r.get(0))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        };
        let damage = match look() {
            _ if cancel.is_cancelled() => return Ok(None),
            Ok(lines) if lines == ["ok"] => None,
            Ok(lines) => Some(lines.join("; ")),
            Err(e) if e.code == DAMAGED => Some(e.log),
            Err(e) => return Err(e),
        };
        lock(&self.faults).damage.clone_from(&damage);
        Ok(damage)
    }

    fn read_with(&self, f: &mut dyn FnMut(&Conn) -> Result<()>) -> Result<()> {
        let idle = lock(&self.readers).pop();
        let mut reader = match idle {
            Some(reader) => reader,
            None => connect(&self.path, self.durability, false)?,
        };
        let out = match reader.transaction() {
            Ok(snapshot) => f(&snapshot),
            Err(e) => Err(e.into()),
        };
        if let Err(e) = &out {
            self.note(Some(e));
        }
        let mut idle = lock(&self.readers);
        if idle.len() < IDLE_READERS {
            idle.push(reader);
        }
        out
    }

    /// Removes much in small transactions, so that no writer waits long. `remove` is told how many rows it may remove and
    /// says how many it did; fewer mean that there are no more.
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

    /// What it takes of the disk.
    pub fn size(&self) -> Result<Size> {
        let (page, pages, free) = self.read(|conn| {
            let pragma = |name: &str| conn.query_row(&format!("PRAGMA {name}"), [], |r| r.get::<_, i64>(0));
            Ok((pragma("page_size")?, pragma("page_count")?, pragma("freelist_count")?))
        })?;
        let wal = std::fs::metadata(self.path.with_extension("db-wal")).map_or(0, |m| m.len());
        Ok(Size {
            file: pages * page,
            free: free * page,
            wal: i64::try_from(wal).unwrap_or(i64::MAX),
        })
    }

    /// Gives pages that nothing is in back to the disk, when they are worth it; says how many bytes. A few at a time, so
    /// that no writer waits long.
    pub fn shrink(&self) -> Result<i64> {
        let before = self.size()?;
        // What was freed is mostly filled again: a tenth of the file may stay empty.
        if before.free < WORTH_SHRINKING || before.free * 10 < before.file {
            return Ok(0);
        }
        loop {
            let left = self.write_reserved(|tx| {
                // It removes one page a step, so it has to be stepped to its end.
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
        // The file itself becomes shorter when the log has been copied into it. Readers may be in the way: then later.
        let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
        lock(&self.writer).query_row(checkpoint, [], |_| Ok(()))?;
        Ok(before.file - self.size()?.file)
    }

    /// Changes whenever anybody has committed, this or another process: cheap enough to ask for every request.
    pub fn version(&self) -> Result<i64> {
        Ok(lock(&self.watcher)
            .prepare_cached("PRAGMA data_version")?
            .query_row([], |r| r.get(0))?)
    }
}

fn connect(path: &Path, durability: Durability, write: bool) -> Result<Connection> {
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if write {
        flags |= OpenFlags::SQLITE_OPEN_CREATE;
    }
    let told = |e: rusqlite::Error| match is_full(&e) {
        true => disk_full().log(e),
        false => {
            let file = path.display();
            let say = format!("The database {file} cannot be opened: {e}. Check that the folder exists and is yours.");
            Error::new(Kind::Config, "database", say)
        }
    };
    let conn = Connection::open_with_flags(path, flags).map_err(told)?;
    conn.set_prepared_statement_cache_capacity(64);
    // Otherwise a statement with a value that a partial index could ask for is prepared again whenever the value is bound
    // anew, which costs more than running it (sqlite.org/c3ref/c_dbconfig_defensive.html, QPSG).
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
        .map_err(told)?;
    conn.busy_timeout(Duration::from_secs(5)).map_err(told)?;
    // The kernel keeps the pages anyway; a copy in each of a dozen connections is memory for nobody.
    let cache_kib = if write { 1024 } else { 128 };
    let synchronous = if durability == Durability::Full {
        "FULL"
    } else {
        "NORMAL"
    };
    conn.execute_batch(&format!(
        "PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL; PRAGMA synchronous={synchronous};
         PRAGMA foreign_keys=ON; PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON; PRAGMA temp_store=MEMORY;
         PRAGMA secure_delete=FAST; PRAGMA cache_size=-{cache_kib}; PRAGMA wal_autocheckpoint=1000;
         PRAGMA query_only={};",
        if write { "OFF" } else { "ON" }
    ))
    .map_err(told)?;
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

/// SQLite's failures in our words. What is wrong with the disk, the file or somebody who holds it is said as such; the
/// rest is ours.
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

/// For `map_err`: a breach of a UNIQUE constraint is the person's mistake in `field`, told as `say`; the rest is ours.
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
