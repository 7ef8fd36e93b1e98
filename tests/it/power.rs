//! The power fails. What a working daemon does to its disk is recorded in its order, together with the moments at which
//! somebody was told that something is done. From that the disk is made as a power failure may leave it at any moment: what was
//! not synced is there or not, sector by sector, and so are the names of files whose folder was not synced. On each of
//! these disks the databases are whole, everything that was acknowledged is there, the key opens it, and what is called a
//! backup is one.

use crate::common;

use common::shim::Shim;
use common::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::ops::Range;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// What a disk writes at once.
const SECTOR: usize = 512;

/// A change of names; a file by its place in [`Disk::files`], a folder without.
enum Naming {
    Add(String, Option<usize>),
    Move(String, String, Option<usize>),
    Remove(String),
}

enum Change {
    /// Where, and the bytes' place in the log.
    Write(usize, Range<usize>),
    Truncate(usize),
}

/// A file: what is on the disk for certain, and what was done since.
#[derive(Default)]
struct Content {
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone, Copy)]
enum Cut {
    /// Nothing that was not synced is there.
    Nothing,
    /// All of it is.
    All,
    /// What was done first, and the last of that in part.
    Torn,
    /// Any sectors, also later ones without earlier ones.
    Scattered,
}

struct Disk<'a> {
    log: &'a [u8],
    root: String,
    files: Vec<Content>,
    by_inode: HashMap<u64, usize>,
    /// Names as programs see them, and as they are on the disk for certain.
    live: BTreeMap<String, Option<usize>>,
    durable: BTreeMap<String, Option<usize>>,
    pending: Vec<Naming>,
    /// A disk that says “synced” and does nothing.
    is_lying: bool,
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn apply(names: &mut BTreeMap<String, Option<usize>>, naming: &Naming) {
    match naming {
        Naming::Add(path, file) => {
            names.insert(path.clone(), *file);
        }
        Naming::Move(from, to, file) => {
            names.remove(from);
            names.insert(to.clone(), *file);
        }
        Naming::Remove(path) => {
            names.remove(path);
        }
    }
}

impl<'a> Disk<'a> {
    /// The disk as it is now, all of it durable.
    fn of(folder: &Path, log: &'a [u8], is_lying: bool) -> Disk<'a> {
        let mut disk = Disk {
            log,
            root: folder.to_str().unwrap().into(),
            files: Vec::new(),
            by_inode: HashMap::new(),
            live: BTreeMap::new(),
            durable: BTreeMap::new(),
            pending: Vec::new(),
            is_lying,
        };
        for path in files(folder) {
            let meta = fs::metadata(&path).unwrap();
            if !meta.is_file() || path.to_str().unwrap().ends_with("-shm") {
                continue;
            }
            let file = disk.file(meta.ino());
            disk.files[file].durable = fs::read(&path).unwrap();
            disk.live.insert(path.to_str().unwrap().into(), Some(file));
        }
        disk.durable = disk.live.clone();
        disk
    }

    fn file(&mut self, inode: u64) -> usize {
        *self.by_inode.entry(inode).or_insert_with(|| {
            self.files.push(Content::default());
            self.files.len() - 1
        })
    }

    fn name(&mut self, naming: Naming) {
        apply(&mut self.live, &naming);
        self.pending.push(naming);
    }

    fn sync(&mut self, file: usize) {
        if self.is_lying {
            return;
        }
        let content = &mut self.files[file];
        for change in std::mem::take(&mut content.pending) {
            change.apply(&mut content.durable, self.log, &mut |_| true);
        }
    }

    fn sync_folder(&mut self, folder: &str) {
        if self.is_lying {
            return;
        }
        for naming in std::mem::take(&mut self.pending) {
            let is_inside = match &naming {
                Naming::Add(path, _) | Naming::Remove(path) => parent(path) == folder,
                Naming::Move(from, to, _) => parent(from) == folder || parent(to) == folder,
            };
            match is_inside {
                true => apply(&mut self.durable, &naming),
                false => self.pending.push(naming),
            }
        }
    }

    /// Does what this record tells.
    fn follow(&mut self, record: &Record) {
        let bytes = &self.log[record.bytes.clone()];
        let text = || String::from_utf8(bytes.to_vec()).unwrap();
        match record.kind {
            b'C' => {
                self.by_inode.remove(&record.inode);
                let file = self.file(record.inode);
                self.name(Naming::Add(text(), Some(file)));
            }
            b'M' => self.name(Naming::Add(text(), None)),
            b'U' => self.name(Naming::Remove(text())),
            b'R' | b'L' => {
                let text = text();
                let (from, to) = text.split_once('\0').unwrap();
                let file = self.live.get(from).copied().flatten();
                self.name(match record.kind {
                    b'R' => Naming::Move(from.into(), to.into(), file),
                    _ => Naming::Add(to.into(), file),
                });
            }
            b'W' => {
                let file = self.file(record.inode);
                let write = Change::Write(record.at as usize, record.bytes.clone());
                self.files[file].pending.push(write);
            }
            b'T' => {
                let file = self.file(record.inode);
                self.files[file].pending.push(Change::Truncate(record.at as usize));
            }
            b'S' => {
                let file = self.file(record.inode);
                self.sync(file);
            }
            b'D' => self.sync_folder(&text()),
            kind => panic!("a record of the kind {kind}"),
        }
    }

    /// Writes to this folder what the power failure leaves.
    fn leave(&self, to: &Path, cut: Cut, dice: &mut Dice) {
        let mut names = self.durable.clone();
        let kept = match cut {
            Cut::Nothing => 0,
            Cut::All => self.pending.len(),
            _ => dice.roll(self.pending.len() + 1), // a file system's journal has an order
        };
        self.pending[..kept].iter().for_each(|naming| apply(&mut names, naming));
        let is_reached = |path: &str| {
            let mut folder = parent(path);
            while folder.len() > self.root.len() {
                if names.get(folder) != Some(&None) {
                    return false;
                }
                folder = parent(folder);
            }
            true
        };
        let mut contents: HashMap<usize, Vec<u8>> = HashMap::new();
        for (path, file) in names.iter().filter(|(path, _)| is_reached(path)) {
            let place = to.join(&path[self.root.len() + 1..]);
            let Some(file) = file else {
                fs::create_dir_all(place).unwrap();
                continue;
            };
            let content = contents.entry(*file).or_insert_with(|| self.left_of(*file, cut, dice));
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(&place, content).unwrap();
            fs::set_permissions(&place, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }

    fn left_of(&self, file: usize, cut: Cut, dice: &mut Dice) -> Vec<u8> {
        let content = &self.files[file];
        let mut bytes = content.durable.clone();
        let whole = match cut {
            Cut::Nothing => 0,
            Cut::All | Cut::Scattered => content.pending.len(),
            Cut::Torn => dice.roll(content.pending.len() + 1),
        };
        for change in &content.pending[..whole] {
            let is_scattered = matches!(cut, Cut::Scattered);
            change.apply(&mut bytes, self.log, &mut |_| !is_scattered || dice.roll(2) == 0);
        }
        if let (Cut::Torn, Some(change)) = (cut, content.pending.get(whole)) {
            let sectors = dice.roll(16);
            change.apply(&mut bytes, self.log, &mut |sector| sector < sectors);
        }
        bytes
    }
}

impl Change {
    /// `is_done`: of which sectors, counted from the first of the write.
    fn apply(&self, bytes: &mut Vec<u8>, log: &[u8], is_done: &mut dyn FnMut(usize) -> bool) {
        match self {
            Change::Truncate(length) => {
                if is_done(0) {
                    bytes.resize(*length, 0);
                }
            }
            Change::Write(at, range) => {
                let (mut from, end, first) = (*at, at + range.len(), at / SECTOR);
                while from < end {
                    let to = end.min((from / SECTOR + 1) * SECTOR);
                    if is_done(from / SECTOR - first) {
                        if bytes.len() < to {
                            bytes.resize(to, 0);
                        }
                        bytes[from..to].copy_from_slice(&log[range.start + from - at..range.start + to - at]);
                    }
                    from = to;
                }
            }
        }
    }
}

struct Record {
    kind: u8,
    inode: u64,
    at: u64,
    /// Place in the log.
    bytes: Range<usize>,
}

fn records(log: &[u8]) -> Vec<Record> {
    let mut out = Vec::new();
    let mut from = 0;
    while from < log.len() {
        let head = &log[from..from + 32];
        let number = |n: usize| u64::from_ne_bytes(head[8 * n..8 * n + 8].try_into().unwrap());
        let bytes = from + 32..from + 32 + number(3) as usize;
        from = bytes.end;
        out.push(Record {
            kind: number(0) as u8,
            inode: number(1),
            at: number(2),
            bytes,
        });
    }
    out
}

/// What people were told so far.
#[derive(Default)]
struct Told {
    groups: BTreeMap<String, bool>,
    rotations: i64,
}

impl Told {
    fn note(&mut self, text: &str) {
        let note: Value = serde_json::from_str(text).unwrap();
        if let Some(name) = note["group"].as_str() {
            match note["is_there"].as_bool() {
                Some(is_there) => self.groups.insert(name.into(), is_there),
                None => self.groups.remove(name), // asked, and not answered yet
            };
        }
        self.rotations += i64::from(note["rotated"] == true);
    }

    /// What is wrong with this folder.
    fn judge(&self, folder: &Path, original: &str) -> Option<String> {
        for name in ["lamplighter.db", "metrics.db"] {
            let checked = rusqlite::Connection::open(folder.join(name)).and_then(|db| {
                let check = |r: &rusqlite::Row| r.get::<_, String>(0);
                db.query_row("PRAGMA integrity_check", [], check)
            });
            if !checked.as_ref().is_ok_and(|said| said == "ok") {
                return Some(format!("corrupt: {name}: {checked:?}"));
            }
        }
        let db = rusqlite::Connection::open(folder.join("lamplighter.db")).unwrap();
        let count = |sql: &str, of: &str| {
            db.query_row(sql, [of], |r| r.get::<_, i64>(0))
                .map_err(|e| format!("corrupt: {e}"))
        };
        let mut groups = match db.prepare("SELECT name FROM groups") {
            Ok(statement) => statement,
            Err(e) => return Some(format!("corrupt: {e}")),
        };
        let there: Vec<String> = groups
            .query_map([], |r| r.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let lost = self.groups.iter().find(|(name, is)| there.contains(name) != **is);
        if let Some((name, is_there)) = lost {
            return Some(format!("lost: the group {name} should be there: {is_there}"));
        }
        match count("SELECT count(*) FROM audit WHERE action = ?1", "key.rotate") {
            Ok(rotated) if rotated < self.rotations => return Some(format!("lost: {rotated} rotations")),
            Ok(_) => {}
            Err(e) => return Some(e),
        }
        let made = "SELECT path FROM backups WHERE ended_at IS NOT NULL AND error = '' ORDER BY id DESC LIMIT 1";
        let backup = db.query_row(made, [], |r| r.get::<_, String>(0)).ok();
        drop(groups);
        drop(db);
        // The key opens the database, and the audit's chain is whole up to its end outside.
        let dir = folder.to_str().unwrap();
        let mut commands = vec![vec!["verify-audit".to_string(), "--data-dir".into(), dir.into()]];
        if let Some(path) = backup {
            let path = path.replace(original, dir);
            commands.push(vec!["verify-backup".into(), "--file".into(), path]);
        }
        commands.iter().find_map(|command| {
            let done = run(command);
            (!done.status.success()).then(|| format!("lost: {command:?}: {}", said(&done)))
        })
    }
}

/// Work of all kinds; what is acknowledged is noted in the log of the disk.
fn work(house: &House, shim: &Shim, lasts: Duration) {
    let until = Instant::now() + lasts;
    let who = house.admin().who().clone();
    let (at, dir) = (house.address, house.dir().to_string());
    let door = Door::new(1);
    thread::scope(|scope| {
        let client = || Client::new(at).by(who.clone());
        for hand in 0..2 {
            let client = client();
            scope.spawn(move || {
                for n in (0..).take_while(|_| Instant::now() < until) {
                    let name = format!("group-{hand}-{n}");
                    let notes = "a remark of some length ".repeat(1 + n % 40);
                    let made = client.post("/api/groups", &json!({ "name": name, "notes": notes }));
                    let id = made.is(201)["id"].clone();
                    shim.note(&json!({ "group": name, "is_there": true }).to_string());
                    if n % 3 == 0 {
                        shim.note(&json!({ "group": name, "is_there": null }).to_string());
                        assert!(client.delete(&format!("/api/groups/{id}")).status < 300);
                        shim.note(&json!({ "group": name, "is_there": false }).to_string());
                    }
                }
            });
        }
        let visitor = client();
        let password = &house.password;
        scope.spawn(move || {
            while Instant::now() < until {
                let login = json!({ "login": ADMIN, "password": password });
                visitor.post("/api/auth/login", &login).is(200);
                thread::sleep(Duration::from_millis(100));
            }
        });
        let mut wanted = server("web", door.port);
        wanted["host_key"] = json!(door.key_line());
        let id = house.admin().post("/api/servers", &wanted).is(201)["id"].clone();
        let worker = client();
        scope.spawn(move || {
            while Instant::now() < until {
                let started = worker.post(&format!("/api/servers/{id}/check-ssh"), &json!({}));
                assert!([202, 409].contains(&started.status), "{}", started.text());
                worker.post("/api/backups", &json!({}));
                thread::sleep(Duration::from_millis(400));
            }
        });
        while Instant::now() < until {
            let mut rotate = lamplighter(&["key-rotate", "--data-dir", &dir]);
            rotate.envs(shim.env(house.folder.path()));
            let done = finish(rotate, "");
            assert!(done.status.success(), "{}", said(&done));
            shim.note(&json!({ "rotated": true }).to_string());
            thread::sleep(Duration::from_millis(500));
        }
    });
}

#[test]
fn a_power_failure_at_any_moment_takes_nothing_that_was_acknowledged() {
    let images = rounds(15);
    let shim = Shim::new();
    let mut house = House::empty(Processes::One, &[]);
    house.password = house.account(ADMIN, "admin");
    shim.around(&mut house);
    house.start();
    let off = json!({ "backups.at": "never", "backups.rehearse_days": 0 });
    house.admin().put("/api/settings", &off).is(200);
    house.stop();
    // From here on: the folder is as it lies there.
    let _ = fs::remove_file(shim.log());
    let before = Folder::new();
    let copied = std::process::Command::new("cp")
        .args(["-a", &format!("{}/.", house.dir())])
        .arg(before.path())
        .status();
    assert!(copied.unwrap().success());
    let inodes = |folder: &Path| -> Vec<u64> { files(folder).iter().map(|f| fs::metadata(f).unwrap().ino()).collect() };
    let (theirs, names) = (inodes(house.folder.path()), files(house.folder.path()));
    house.start();
    work(&house, &shim, Duration::from_millis(1_500 + 250 * rounds(1) as u64));
    let log = fs::read(shim.log()).unwrap();
    house.stop();

    let all = records(&log);
    // The state at the beginning, under the names and inodes that the records tell of.
    let start = |is_lying| {
        let mut disk = Disk::of(before.path(), &log, is_lying);
        let live = std::mem::take(&mut disk.live);
        disk.root = house.dir().into();
        disk.by_inode.clear();
        for (path, file) in live {
            let name = path.replacen(before.path().to_str().unwrap(), house.dir(), 1);
            let n = names
                .iter()
                .position(|known| known.to_str() == Some(&name))
                .expect("as it was copied");
            disk.by_inode.insert(theirs[n], file.unwrap());
            disk.live.insert(name, file);
        }
        disk.durable = disk.live.clone();
        disk
    };
    let is_name = |record: &Record| matches!(record.kind, b'R' | b'L');
    // Any moments, and those between a new name and its folder's sync.
    let mut dice = Dice::new(11);
    let mut cuts: Vec<usize> = (0..images).map(|_| dice.roll(all.len())).collect();
    let renamed = (0..all.len()).filter(|n| is_name(&all[*n]));
    let stride = (renamed.clone().count() / images.max(1)).max(1);
    cuts.extend(renamed.step_by(stride).map(|n| n + 1));
    cuts.sort();
    let judged = |is_lying: bool, cuts: &[usize], dice: &mut Dice| -> Vec<String> {
        let (mut disk, mut told, mut wrong, mut at) = (start(is_lying), Told::default(), Vec::new(), 0);
        for cut in cuts {
            for record in &all[at..*cut] {
                match record.kind {
                    b'A' => told.note(std::str::from_utf8(&log[record.bytes.clone()]).unwrap()),
                    _ => disk.follow(record),
                }
            }
            at = *cut;
            let kind = [Cut::Nothing, Cut::All, Cut::Torn, Cut::Scattered][dice.roll(if is_lying { 1 } else { 4 })];
            let image = Folder::new();
            disk.leave(image.path(), kind, dice);
            wrong.extend(
                told.judge(image.path(), house.dir())
                    .map(|what| format!("record {cut}: {what}")),
            );
        }
        wrong
    };
    let wrong = judged(false, &cuts, &mut dice);
    let count = |kind: u8| all.iter().filter(|record| record.kind == kind).count();
    eprintln!(
        "power failures: {} images of {} writes, {} syncs, {} new names, {} acknowledgements: {} wrong",
        cuts.len(),
        count(b'W'),
        count(b'S') + count(b'D'),
        all.iter().filter(|r| is_name(r)).count(),
        count(b'A'),
        wrong.len(),
    );
    assert_eq!(wrong, [""; 0]);
    assert!(
        count(b'A') > 20 && count(b'R') + count(b'L') > 1,
        "too little was done to say anything"
    );
    // Were the disk not to do what it is asked, this would be seen.
    let control = [all.len() / 2, all.len()];
    let lost = judged(true, &control, &mut dice);
    eprintln!("a disk that does not sync: {} of {} wrong", lost.len(), control.len());
    assert_eq!(lost.len(), control.len(), "{lost:?}");
}
