//! Room on the disk for what must be written when there is none: signing in, to see why, and cleaning up. It is an empty
//! file beside the databases; the first write that finds the disk full gives it up. From then on only
//! [`super::Db::write_reserved`] writes, until there is room to make the file again. It lies in the folder, so that all
//! processes that work there know.

use crate::base::{log, sys};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// A write-ahead log grows to 4 MB before it is used again from its start; the rest is for what then stays in the files.
const SIZE: u64 = 8 << 20;
/// With so much left on the disk the file is made (again): not at the first free byte, which the next sample would take.
const ENOUGH: u64 = 2 * SIZE;

/// See the module's documentation.
pub struct Room {
    file: PathBuf,
    was_there: AtomicBool,
}

impl Room {
    /// Of the folder that this database lies in.
    pub fn beside(database: &Path) -> Room {
        Room {
            file: database.with_file_name("reserve"),
            was_there: AtomicBool::new(true),
        }
    }

    /// May anything be written? It costs a microsecond.
    pub fn is_there(&self) -> bool {
        let there = fs::metadata(&self.file).is_ok_and(|found| found.len() == SIZE) || self.make();
        if there != self.was_there.swap(there, Ordering::Relaxed) {
            let file = self.file.display().to_string();
            match there {
                true => log::info("db", "there is room on the disk again", &[("reserve", &file)]),
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

    /// Its bytes are the disk's again. Says whether there were any.
    pub fn give_up(&self) -> bool {
        fs::remove_file(&self.file).is_ok()
    }
}
