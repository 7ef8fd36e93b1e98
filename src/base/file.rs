//! Files that hold secrets or that must be written atomically.

use super::error::{Error, Result};
use ring::digest::{Context, SHA256};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Creates the folder and its parents with mode 0700, also across a power failure; narrows an existing one. Error: I/O.
pub fn private_dir(path: &Path) -> Result<()> {
    let make = || {
        let missing: Vec<&Path> = path.ancestors().take_while(|folder| !folder.exists()).collect();
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        missing
            .iter()
            .try_for_each(|folder| File::open(above(folder))?.sync_all())?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))
    };
    make().map_err(|e: std::io::Error| Error::internal(format!("folder {}: {e}", path.display())))
}

/// The folder that this lies in.
fn above(path: &Path) -> &Path {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// Removes access of group and others; says whether there was any. A missing file is no error.
pub fn make_private(path: &Path) -> std::io::Result<bool> {
    let meta = match fs::metadata(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        meta => meta?,
    };
    let open = meta.mode() & 0o077 != 0;
    if open {
        fs::set_permissions(path, fs::Permissions::from_mode(meta.mode() & 0o700))?;
    }
    Ok(open)
}

/// Checks that only the owner can read this file. A file of root may be readable by a group: Debian's `ssl-cert`, or a
/// systemd credential, where the ACL mask appears as the group bits. The error is a sentence.
pub fn check_secret(path: &Path) -> std::result::Result<(), String> {
    check_secret_of(path, None)
}

/// The same, asked by root: the group of this service may read it.
pub fn check_secret_of(path: &Path, service: Option<u32>) -> std::result::Result<(), String> {
    let meta = fs::metadata(path).map_err(|e| format!("{} cannot be read: {e}.", path.display()))?;
    let lent = meta.uid() == 0 && (super::sys::uid() != 0 || service == Some(meta.gid()));
    match meta.mode() & if lent { 0o037 } else { 0o077 } {
        0 => Ok(()),
        _ => Err(format!(
            "{0} can be read by others (mode {1:04o}). Run: chmod 600 {0}",
            path.display(),
            meta.mode() & 0o7777
        )),
    }
}

/// Opens a new file with mode 0600; fails if it exists.
pub fn create_new(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Opens a file in that folder, for reading and writing, that has no name: it is gone with whoever holds it.
pub fn nameless(dir: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    match options.clone().custom_flags(libc::O_TMPFILE).open(dir) {
        Err(e) if matches!(e.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR | libc::ENOENT)) => {
            let path = dir.join(format!(".lamplighter-{}", super::random::name()));
            let file = options.create_new(true).open(&path)?;
            fs::remove_file(&path)?;
            Ok(file)
        }
        opened => opened,
    }
}

/// Writes a new file with mode 0600; fails if it exists.
pub fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    create_new(path)?.write_all(bytes)
}

/// As [`write_new`], with fsync of file and folder; a partly written file is removed.
pub fn write_new_durably(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let written = write_new(path, bytes).and_then(|()| sync(path));
    if let Err(e) = &written
        && e.kind() != std::io::ErrorKind::AlreadyExists
    {
        let _ = fs::remove_file(path);
    }
    written
}

/// fsync of the file and of its folder.
fn sync(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()?;
    File::open(above(path))?.sync_all()
}

/// Replaces a file atomically (0600), also across a power failure: readers see the old or the new content.
pub fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let fresh = path.with_extension(format!("new-{}", super::random::name()));
    let written = write_new(&fresh, bytes)
        .and_then(|()| keep_owner(&fresh, path))
        .and_then(|()| sync(&fresh))
        .and_then(|()| fs::rename(&fresh, path))
        .and_then(|()| sync(path));
    if written.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    written
}

/// What root writes in place of another's file is that other's, and its group may read it as before.
fn keep_owner(fresh: &Path, path: &Path) -> std::io::Result<()> {
    match fs::metadata(path) {
        Ok(old) if super::sys::uid() == 0 => {
            std::os::unix::fs::chown(fresh, Some(old.uid()), Some(old.gid()))?;
            fs::set_permissions(fresh, fs::Permissions::from_mode(old.mode() & 0o640))
        }
        _ => Ok(()),
    }
}

/// Reads at most `max` bytes; a longer file is an error.
pub fn read_limited(path: &Path, max: u64) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    File::open(path)?.take(max + 1).read_to_end(&mut out)?;
    match out.len() as u64 > max {
        true => Err(std::io::Error::other(format!("longer than {max} bytes"))),
        false => Ok(out),
    }
}

/// A writer that reckons the SHA-256 of what goes through it.
pub struct Hashing<W: Write> {
    out: W,
    context: Context,
}

impl<W: Write> Hashing<W> {
    /// Passes everything on to `out`.
    pub fn new(out: W) -> Hashing<W> {
        Hashing {
            out,
            context: Context::new(&SHA256),
        }
    }

    /// Where it goes.
    pub fn get(&self) -> &W {
        &self.out
    }

    /// The SHA-256 in hex.
    pub fn finish(self) -> String {
        super::text::hex(self.context.finish().as_ref())
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.context.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

/// A folder (0700) that is removed when dropped, with everything in it.
pub struct TempDir(PathBuf);

impl TempDir {
    /// Makes a folder of a random name in `dir`.
    pub fn new(dir: &Path) -> Result<TempDir> {
        let path = dir.join(format!(".lamplighter-{}", super::random::name()));
        private_dir(&path)?;
        Ok(TempDir(path))
    }

    /// Path of the folder.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A 0600 file that is removed when dropped.
pub struct TempFile(PathBuf);

impl TempFile {
    /// Writes `bytes` to a new file of a random name in `dir`.
    pub fn new(dir: &Path, bytes: &[u8]) -> Result<TempFile> {
        let path = dir.join(super::random::name());
        write_new(&path, bytes).map_err(|e| Error::internal(format!("temporary file in {}: {e}", dir.display())))?;
        Ok(TempFile(path))
    }

    /// Path of the file.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
