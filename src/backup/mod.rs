//! Backups: all databases of the data folder in one file, made while they are in use, and put back onto an empty folder.
//!
//! A backup is a tar archive of `manifest.json` and the databases, as it is or encrypted ([`age`]). The secrets in the
//! databases stay sealed under the master key, which lies apart and is inside only when that is asked for.

pub mod age;

use crate::app::App;
use crate::base::clock::{self, Ms};
use crate::base::config::Config;
use crate::base::error::{Error, Kind, Result};
use crate::base::file::Hashing;
use crate::base::process::Cancel;
use crate::base::secret::Secret;
use crate::base::tar::{self, Entry};
use crate::base::{file, random, text};
use crate::db::{self, schema};
use crate::vault;
use age::{Opener, Recipient, Sealer};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

const MANIFEST: &str = "manifest.json";
const MASTER_KEY: &str = "master.key";
/// Of the manifest: a few hundred bytes.
const MANIFEST_MAX: u64 = 64 * 1024;

/// What a backup holds, in `manifest.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the program that made it.
    pub version: String,
    /// Unix time, milliseconds.
    pub made_at: Ms,
    /// Number and MAC (hex) of the last row of the audit.
    pub audit_head: Option<(i64, String)>,
    /// In the order of the archive.
    pub files: Vec<Part>,
}

/// A file of a backup.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Part {
    /// Its name, also in the data folder.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Hex.
    pub sha256: String,
    /// Number of the last migration; none for the key.
    pub schema: Option<usize>,
}

/// A folder for what is not finished. Removed with everything in it; locked as long as somebody works there.
struct Workshop(PathBuf, #[expect(dead_code, reason = "held: see `sweep`")] Option<File>);

impl Workshop {
    fn beside(folder: &Path) -> Result<Workshop> {
        loop {
            let path = folder.join(format!(".backup-{}", random::name()));
            file::private_dir(&path)?;
            let lock = File::open(&path).map(|dir| dir.try_lock().map(|()| dir));
            match lock {
                // Somebody has swept it away before it was locked.
                _ if !path.exists() => continue,
                // Where nothing can be locked, what is left over is known by its age.
                lock => return Ok(Workshop(path, lock?.ok())),
            }
        }
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // a rest is removed by the next backup: see `sweep`
    }
}

/// Removes what a killed backup has left in the folder.
fn sweep(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let is_old = || {
            let made = entry.metadata().and_then(|m| m.modified()).ok();
            let age = made.and_then(|at| at.elapsed().ok());
            age.is_some_and(|age| age > clock::Duration::from_secs(24 * 3600))
        };
        let is_left = || File::open(&path).is_ok_and(|dir| dir.try_lock().is_ok());
        let is_workshop = entry.file_name().to_string_lossy().starts_with(".backup-") && path.is_dir();
        if is_workshop && (is_left() || is_old()) {
            let _ = fs::remove_dir_all(path); // the next one tries again
        }
    }
    Ok(())
}

/// Makes a backup and gives it its name when it is whole and on the disk; an existing file is refused.
///
/// The folder of `to` needs room for twice the databases.
pub fn make(app: &App, to: &Path, recipient: Option<&Recipient>, with_key: bool, cancel: &Cancel) -> Result<Manifest> {
    let folder = to
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    if to.exists() {
        let say = format!("{} is there already.", to.display());
        return Err(Error::new(Kind::Conflict, "backup_exists", say));
    }
    sweep(folder).map_err(|e| {
        let say = format!("The folder {} cannot be used: {}", folder.display(), e.say);
        Error::new(Kind::Config, "backup_folder", say)
    })?;
    let shop = Workshop::beside(folder)?;
    let mut manifest = Manifest {
        version: env!("CARGO_PKG_VERSION").into(),
        made_at: clock::now(),
        audit_head: crate::audit::last(&app.db)?.map(|(seq, mac)| (seq, text::hex(&mac))),
        files: Vec::new(),
    };
    let mut copies = Vec::new();
    for (database, db) in schema::DATABASES.into_iter().zip([&app.db, &app.metrics]) {
        let copy = shop.0.join(database.name);
        db.copy_to(&copy, cancel)?;
        manifest
            .files
            .push(part(database.name, &copy, Some(database.steps.len()))?);
        copies.push(copy);
    }
    if with_key {
        let key = match &app.config.master_key {
            None => app.config.master_key_file.clone(),
            Some(digits) => {
                let path = shop.0.join(MASTER_KEY);
                file::write_new(&path, digits.reveal_for("a backup with the key inside"))?;
                path
            }
        };
        manifest.files.push(part(MASTER_KEY, &key, None)?);
        copies.push(key);
    }
    let unfinished = shop.0.join("archive");
    let out = BufWriter::with_capacity(1 << 18, file::create_new(&unfinished)?);
    let out = match recipient {
        None => archive(out, &manifest, &copies)?,
        Some(recipient) => archive(Sealer::new(out, recipient)?, &manifest, &copies)?.finish()?,
    };
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    if cancel.is_cancelled() {
        return Err(Error::new(Kind::Conflict, "cancelled", "Cancelled."));
    }
    // A link, not a rename: what somebody has put there meanwhile stays.
    fs::hard_link(&unfinished, to)?;
    File::open(folder)?.sync_all()?;
    Ok(manifest)
}

fn part(name: &str, path: &Path, schema: Option<usize>) -> Result<Part> {
    let mut hash = Hashing::new(io::sink());
    let size = io::copy(&mut File::open(path)?, &mut hash)?;
    Ok(Part {
        name: name.into(),
        size,
        sha256: hash.finish(),
        schema,
    })
}

fn archive<W: Write>(mut out: W, manifest: &Manifest, copies: &[PathBuf]) -> Result<W> {
    let text = serde_json::to_vec_pretty(manifest).map_err(|e| Error::internal(e.to_string()))?;
    let entry = Entry {
        name: MANIFEST.into(),
        size: text.len() as u64,
    };
    tar::head(&mut out, &entry, manifest.made_at)?;
    tar::content(&mut out, &mut &text[..], entry.size)?;
    for (part, copy) in manifest.files.iter().zip(copies) {
        let entry = Entry {
            name: part.name.clone(),
            size: part.size,
        };
        tar::head(&mut out, &entry, manifest.made_at)?;
        tar::content(&mut out, &mut File::open(copy)?, part.size)?;
    }
    tar::end(&mut out)?;
    Ok(out)
}

/// A backup that was unpacked into a folder of its own and found whole.
pub struct Unpacked {
    /// What it says it holds.
    pub manifest: Manifest,
    shop: Workshop,
}

/// Unpacks a backup into a new folder below `folder` and checks all of it: the files' sums, SQLite's own structure, the
/// schema. `from` is the file, or standard input.
pub fn unpack(from: impl Read, passphrase: Option<&Secret>, folder: &Path) -> Result<Unpacked> {
    let mut from = BufReader::with_capacity(1 << 18, from);
    let start = {
        use std::io::BufRead;
        from.fill_buf()?.to_vec()
    };
    match (age::is_age(&start), passphrase) {
        (false, _) => unpack_archive(from, folder),
        (true, Some(passphrase)) => unpack_archive(Opener::new(from, passphrase)?, folder),
        (true, None) => {
            let say = "This backup is encrypted. Give --passphrase-file, or open it first: \
                       age --decrypt --identity KEYFILE FILE | lamplighter restore --file -";
            Err(Error::new(Kind::Forbidden, "backup_encrypted", say))
        }
    }
}

fn damaged(why: impl std::fmt::Display) -> Error {
    Error::new(
        Kind::Malformed,
        "backup_damaged",
        format!("This is no whole backup: {why}."),
    )
}

fn unpack_archive(mut from: impl Read, folder: &Path) -> Result<Unpacked> {
    let shop = Workshop::beside(folder)?;
    let first = tar::next(&mut from).map_err(damaged)?;
    let Some(first) = first.filter(|e| e.name == MANIFEST && e.size <= MANIFEST_MAX) else {
        return Err(damaged("it does not begin with its list of files"));
    };
    let mut text = Vec::new();
    from.by_ref().take(first.size).read_to_end(&mut text)?;
    tar::skip_padding(&mut from, first.size).map_err(damaged)?;
    let manifest: Manifest = serde_json::from_slice(&text).map_err(damaged)?;
    for part in &manifest.files {
        let known = schema::DATABASES.iter().find(|d| d.name == part.name);
        match (known, part.schema) {
            (Some(database), Some(schema)) if schema > database.steps.len() => {
                let say = format!(
                    "This backup was made by Lamplighter {}, which is newer than this one. Install that version first.",
                    manifest.version
                );
                return Err(Error::new(Kind::Config, "schema_newer", say));
            }
            (Some(_), Some(_)) => {}
            (None, None) if part.name == MASTER_KEY => {}
            _ => return Err(damaged(format!("it holds “{}”", text::one_line(&part.name, 100)))),
        }
        let entry = tar::next(&mut from).map_err(damaged)?;
        if entry.is_none_or(|e| e.name != part.name || e.size != part.size) {
            return Err(damaged(format!("{} is missing", part.name)));
        }
        let path = shop.0.join(&part.name);
        let mut out = Hashing::new(file::create_new(&path)?);
        let copied = io::copy(&mut from.by_ref().take(part.size), &mut out).map_err(damaged)?;
        out.get().sync_all()?;
        if copied != part.size || out.finish() != part.sha256 {
            return Err(damaged(format!("{} is not as it was written", part.name)));
        }
        tar::skip_padding(&mut from, part.size).map_err(damaged)?;
        if known.is_some()
            && let Some(what) = db::damage(&path)?
        {
            return Err(damaged(format!("{}: {what}", part.name)));
        }
    }
    for database in schema::DATABASES {
        if !manifest.files.iter().any(|part| part.name == database.name) {
            return Err(damaged(format!("{} is missing", database.name)));
        }
    }
    // Whatever was appended, and for an encrypted file its last chunk, is looked at too.
    if tar::next(&mut from).map_err(damaged)?.is_some() {
        return Err(damaged("it holds more than its list says"));
    }
    io::copy(&mut from, &mut io::sink()).map_err(damaged)?;
    Ok(Unpacked { manifest, shop })
}

impl Unpacked {
    /// Does this master key open the secrets in it?
    pub fn fits(&self, master: &Secret) -> Result<()> {
        vault::fits(&db::peek(&self.shop.0.join(schema::STATE_DB.name))?, master)
    }

    /// The key inside, when there is one.
    pub fn key(&self) -> Result<Option<Secret>> {
        let path = self.shop.0.join(MASTER_KEY);
        path.exists().then(|| vault::read_master_key(&path)).transpose()
    }

    /// Moves everything to its place in an empty data folder. The master key must be there already, or inside.
    pub fn put_in_place(self, config: &Config) -> Result<Manifest> {
        // A database without the other one is what an interrupted restore leaves: it is replaced. SQLite would apply a
        // log to whatever database lies beside it, so that is refused too.
        let wal = |name: &str| config.data_dir.join(format!("{name}-wal"));
        let in_use = [config.data_dir.join(schema::STATE_DB.name)]
            .into_iter()
            .chain(schema::ALL.map(|db| wal(db.name)));
        if let Some(path) = in_use.into_iter().find(|path| path.exists()) {
            let say = format!(
                "{} exists. A backup is only restored into an empty folder.",
                path.display()
            );
            return Err(Error::new(Kind::Conflict, "restore_not_empty", say));
        }
        let key_file = &config.master_key_file;
        match (config.master_key.is_some() || key_file.exists(), self.key()?) {
            (true, _) => self.fits(&vault::master_key(config)?)?,
            (false, Some(key)) => {
                self.fits(&key)?;
                let bytes = fs::read(self.shop.0.join(MASTER_KEY))?;
                file::write_new_durably(key_file, &bytes)?;
            }
            (false, None) => {
                let say = format!(
                    "The master key is not in this backup. Put it at {} (0600) and restore again.",
                    key_file.display()
                );
                return Err(Error::new(Kind::Config, "master_key", say));
            }
        }
        // Lines of containers that the restored state does not know, or calls otherwise.
        match fs::remove_file(config.data_dir.join(schema::JOURNAL_DB.name)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e.into()),
            _ => {}
        }
        // The state comes last: until it is there, the folder counts as empty and the restore can be repeated.
        for database in schema::DATABASES.iter().rev() {
            let from = self.shop.0.join(database.name);
            fs::rename(from, config.data_dir.join(database.name))?;
        }
        File::open(&config.data_dir)?.sync_all()?;
        Ok(self.manifest.clone())
    }
}
