//! The optional log file: appended to by every process of the daemon, renamed to `FILE.1` … `FILE.4` when it has grown to 10 MB.

use super::clock::{self, MINUTE};
use std::fs::{self, File, OpenOptions};
use std::io::{Result, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Size in bytes at which a file is full.
const FULL: u64 = 10 << 20;
/// Number of files, the current one included.
const FILES: u32 = 5;

/// A file of lines, mode 0600, which processes share: each line is one append, and whoever finds the file full renames it
/// under a lock of the file itself.
pub struct LogFile {
    path: PathBuf,
    full: u64,
    /// The open file, and when a failure was last told (ms).
    state: Mutex<(Option<File>, i64)>,
}

impl LogFile {
    /// A file at this path; it is opened by the first line.
    pub fn new(path: PathBuf) -> LogFile {
        LogFile::with_size(path, FULL)
    }

    fn with_size(path: PathBuf, full: u64) -> LogFile {
        let state = Mutex::new((None, 0));
        LogFile { path, full, state }
    }

    /// Appends a line. The error is a sentence, once a minute at most: a full disk must not fill the journal.
    pub fn write(&self, line: &[u8]) -> std::result::Result<(), String> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Err(e) = self.append(&mut state.0, line) else {
            return Ok(());
        };
        state.0 = None; // the next line tries afresh
        if clock::now() < state.1 + MINUTE {
            return Ok(());
        }
        state.1 = clock::now();
        Err(format!("{}: {e}", self.path.display()))
    }

    fn append(&self, open: &mut Option<File>, line: &[u8]) -> Result<()> {
        let current = |file: &File| -> Result<bool> { Ok(fs::metadata(&self.path)?.ino() == file.metadata()?.ino()) };
        // Another process has renamed it, or somebody has removed it.
        if open.as_ref().is_none_or(|file| !current(file).unwrap_or(false)) {
            *open = Some(self.open()?);
        }
        if let Some(file) = open.as_ref() {
            let size = file.metadata()?.len();
            if size > 0 && size + line.len() as u64 > self.full {
                file.lock()?;
                if current(file).unwrap_or(false) {
                    rename(&self.path)?;
                }
                *open = Some(self.open()?); // the lock ends with the file
            }
        }
        match open {
            Some(file) => file.write_all(line),
            None => Ok(()),
        }
    }

    fn open(&self) -> Result<File> {
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.path)
    }
}

/// `FILE` becomes `FILE.1`, that `FILE.2`, and so on; the oldest goes.
fn rename(path: &Path) -> Result<()> {
    let nth = |n: u32| match n {
        0 => path.to_path_buf(),
        n => {
            let mut name = path.as_os_str().to_owned();
            name.push(format!(".{n}"));
            name.into()
        }
    };
    for n in (0..FILES - 1).rev().filter(|n| nth(*n).exists()) {
        fs::rename(nth(n), nth(n + 1))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_share_a_file_and_five_are_kept() {
        let folder = std::env::temp_dir().join(format!("lamplighter-log-{}", std::process::id()));
        let path = folder.join("logs/lamplighter.log");
        let two = [
            LogFile::with_size(path.clone(), 100),
            LogFile::with_size(path.clone(), 100),
        ];
        std::thread::scope(|scope| {
            for (who, file) in two.iter().enumerate() {
                scope.spawn(move || {
                    for n in 0..40 {
                        file.write(format!("{who} line {n:02}\n").as_bytes()).unwrap();
                    }
                });
            }
        });
        let mut kept = Vec::new();
        for n in (0..FILES).rev() {
            let name = if n == 0 {
                path.clone()
            } else {
                folder.join(format!("logs/lamplighter.log.{n}"))
            };
            let text = fs::read_to_string(&name).unwrap();
            assert!(
                text.len() <= 100 && fs::metadata(&name).unwrap().mode() & 0o777 == 0o600,
                "{n}"
            );
            kept.extend(text.lines().map(String::from).collect::<Vec<_>>());
        }
        assert!(!folder.join("logs/lamplighter.log.5").exists());
        // Whole lines, each writer's in order and without a gap to its last.
        for who in 0..2 {
            let of: Vec<&String> = kept
                .iter()
                .filter(|line| line.starts_with(&format!("{who} ")))
                .collect();
            let from = 40 - of.len();
            let wanted: Vec<String> = (from..40).map(|n| format!("{who} line {n:02}")).collect();
            assert_eq!(of, wanted.iter().collect::<Vec<_>>());
        }
        assert!(kept.len() >= 40, "{}", kept.len());
        // A folder that cannot be made is told, and told once.
        let lost = LogFile::new("/proc/nothing/lamplighter.log".into());
        assert!(
            lost.write(b"x\n")
                .unwrap_err()
                .contains("/proc/nothing/lamplighter.log")
        );
        assert_eq!(lost.write(b"x\n"), Ok(()));
        fs::remove_dir_all(folder).unwrap();
    }
}
