//! A machine that misbehaves, for one program: `shim.c` beside this, compiled once and loaded before the C library. It tells
//! what is done to a disk, and can make it read-only, refuse threads, and set the wall clock.

use super::{Folder, House};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

pub struct Shim {
    folder: Folder,
}

impl Shim {
    pub fn new() -> Shim {
        let folder = Folder::new();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/shim.c");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O2", "-o"])
            .arg(folder.path().join("shim.so"));
        let made = cc.args([source, "-ldl", "-lpthread"]).status();
        assert!(made.expect("a C compiler").success());
        fs::create_dir(folder.path().join("switches")).unwrap();
        Shim { folder }
    }

    /// What a program needs in its environment, whose data folder this is.
    pub fn env(&self, data: &Path) -> [(&'static str, PathBuf); 4] {
        [
            ("LD_PRELOAD", self.folder.path().join("shim.so")),
            ("SHIM_DIR", data.into()),
            ("SHIM_LOG", self.log()),
            ("SHIM_SWITCH", self.folder.path().join("switches")),
        ]
    }

    /// The house's processes are run with it from their next start on.
    pub fn around(&self, house: &mut House) {
        for (name, value) in self.env(house.folder.path()) {
            house.set_env(name, value.to_str().unwrap());
        }
    }

    /// The records: see `shim.c`.
    pub fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// A record of ours among the others: at this moment this was known.
    pub fn note(&self, text: &str) {
        let head = [u64::from(b'A'), 0, 0, text.len() as u64];
        let mut record: Vec<u8> = head.iter().flat_map(|n| n.to_ne_bytes()).collect();
        record.extend_from_slice(text.as_bytes());
        let mut log = OpenOptions::new().append(true).open(self.log()).unwrap();
        log.write_all(&record).unwrap();
    }

    pub fn switch_on(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join("switches").join(name), text).unwrap();
    }

    pub fn switch_off(&self, name: &str) {
        fs::remove_file(self.folder.path().join("switches").join(name)).unwrap();
    }
}
