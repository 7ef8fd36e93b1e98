//! Reserved disk space for what must be written on a full disk: signing in and cleaning up. It is an empty file beside
//! the databases; the first write that finds the disk full removes it. From then on only [`super::Db::write_reserved`]
//! writes, until there is space to create the file again. It lies in the data folder, so all processes that use the
//! folder see it.

use crate::base::{log, sys};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// A write-ahead log grows to 4 MB before it is reused; the rest is for growth of the files.
const SIZE: u64 = 8 << 20;
/// Free space at which the file is created again: not at the first free byte, which the next sample would take.
const ENOUGH: u64 = 2 * SIZE;

/// The reserve file of a data folder.
pub struct Reserve {
    file: PathBuf,
    was_there: AtomicBool,
}

impl Reserve {
    /// Of the folder of this database.
    pub fn beside(database: &Path) -> Reserve {
        Reserve {
            file: database.with_file_name("reserve"),
            was_there: AtomicBool::new(true),
        }
    }

    /// May anything be written? Costs about 1 µs.
    pub fn is_there(&self) -> bool {
        let there = fs::metadata(&self.file).is_ok_and(|found| found.len() == SIZE) || self.make();
        if there != self.was_there.swap(there, Ordering::Relaxed) {
            let file = self.file.display().to_string();
            match there {
                true => log::info("db", "the disk has free space again", &[("reserve", &file)]),
                false => log::error(
                    "db",
                    "the disk is full: only signing in is written",
                    &[("reserve", &file)],
                ),
            }
        }
        there
    }

    fn make(&self) -> bool {
        let folder = self.file.parent().unwrap_or(Path::new("."));
        let mut file = OpenOptions::new();
        let file = file.write(true).create(true).truncate(false).mode(0o600);
        let has_room = sys::disk(folder).is_ok_and(|(free, _)| free >= ENOUGH);
        let made = has_room
            && file
                .open(&self.file)
                .and_then(|file| sys::allocate(&file, SIZE))
                .is_ok();
        if has_room && !made {
            self.give_up();
        }
        made
    }

    /// Removes the file. Says whether it was there.
    pub fn give_up(&self) -> bool {
        fs::remove_file(&self.file).is_ok()
    }
}
