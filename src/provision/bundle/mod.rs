//! Bundles: the packages that recipes install, with all that these depend on, in one file, for servers without a way to a
//! mirror. One is made where there is a mirror ([`make`]), lies with the daemon, and of it a server gets what it lacks,
//! for one job, over ssh ([`bring`]).
//!
//! A bundle is a tar: `manifest.json`, `Packages` (what apt reads), and the packages. The manifest binds every other file
//! by size and SHA-256; `Packages` names the same files with the same hashes, so that apt on the server checks them again.

pub mod make;

use super::parts::Parts;
use super::recipes::{self, Recipe, script};
use super::{Debs, MINUTE};
use crate::base::clock::Ms;
use crate::base::error::{Error, Kind, Result};
use crate::base::file::{self, Hashing, TempDir};
use crate::base::process::Cancel;
use crate::base::secret::Secret;
use crate::base::tar::{self, Entry};
use crate::base::{shell, text};
use crate::ssh::{Ssh, Target};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Folder of the bundles in the data folder.
pub const FOLDER: &str = "bundles";
/// Largest bundle in bytes, all files together. Those of Debian 12 and 13 have some 40 MB.
const SIZE_MAX: u64 = 1 << 30;
const MANIFEST: &str = "manifest.json";
const MANIFEST_MAX: u64 = 512 * 1024;
const INDEX: &str = "Packages";
/// A job that brings it has at most 1 MiB, as base64.
const INDEX_MAX: u64 = 512 * 1024;
const FILES_MAX: usize = 2_000;
/// Folder of ours on a server; the job that uses it removes it (`prelude.sh`).
const BROUGHT: &str = "/var/cache/lamplighter-bundle";

/// What a bundle holds, in `manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Codename of the release: `bookworm`, `noble`.
    pub suite: String,
    /// Architecture, as dpkg names it: `amd64`.
    pub arch: String,
    /// Unix time, milliseconds.
    pub made_at: Ms,
    /// Packages that recipes may want and that this release does not have.
    pub absent: Vec<String>,
    /// `Packages`, then all packages, in the order of the archive.
    pub files: Vec<Part>,
}

/// A file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Its name, without folders.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Hex.
    pub sha256: String,
}

/// A bundle whose head (manifest and index) has been read and checked.
#[derive(Debug)]
pub struct Bundle {
    path: PathBuf,
    /// Its manifest.
    pub manifest: Manifest,
    index: String,
    /// Name and version of each package, and its place in the manifest's files.
    packages: BTreeMap<(String, String), usize>,
}

fn unusable(what: &str, why: impl std::fmt::Display) -> Error {
    let why = text::one_line(&why.to_string(), 200);
    let say = format!("The bundle {} cannot be used: {why}.", text::one_line(what, 200));
    Error::new(Kind::Conflict, "bundle_unusable", say)
}

/// Name of a release, an architecture or a file: no path, no option, nothing for a shell.
fn plain(word: &str, size_max: usize) -> bool {
    (1..=size_max).contains(&word.len())
        && word.starts_with(|c: char| c.is_ascii_alphanumeric())
        && (word.bytes()).all(|b| b.is_ascii_alphanumeric() || b".+~_-".contains(&b))
}

/// The fields of a paragraph of `Packages` that stand in one line.
fn fields(paragraph: &str) -> BTreeMap<&str, &str> {
    let lines = paragraph.lines().filter(|line| !line.starts_with([' ', '\t']));
    lines
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key, value.trim()))
        .collect()
}

impl Manifest {
    /// The file of this release and architecture in the folder of bundles.
    fn name(suite: &str, arch: &str) -> String {
        format!("{suite}-{arch}.bundle")
    }

    /// Sum of all files in bytes.
    pub fn size(&self) -> u64 {
        self.files.iter().map(|part| part.size).sum()
    }

    /// Error: what cannot be in a bundle that we have made.
    fn check(&self) -> std::result::Result<(), &'static str> {
        if !plain(&self.suite, 40) || !plain(&self.arch, 20) {
            return Err("its release or architecture has no name");
        }
        let names: BTreeSet<_> = self.files.iter().map(|part| part.name.as_str()).collect();
        let good = |part: &Part| {
            plain(&part.name, 100) && part.sha256.len() == 64 && part.sha256.bytes().all(|b| b.is_ascii_hexdigit())
        };
        if names.len() != self.files.len() || self.files.len() > FILES_MAX || !self.files.iter().all(good) {
            return Err("its list of files is not one of ours");
        }
        let total = (self.files.iter()).try_fold(0_u64, |sum, part| sum.checked_add(part.size));
        if total.is_none_or(|total| total > SIZE_MAX) {
            return Err("it is larger than a bundle may be");
        }
        match self.files.first() {
            Some(part) if part.name == INDEX && part.size <= INDEX_MAX => Ok(()),
            _ => Err("its list of packages is missing or too long"),
        }
    }

    /// The packages that the index names, which must be exactly the files here, with the same hashes.
    fn packages(&self, index: &str) -> std::result::Result<BTreeMap<(String, String), usize>, &'static str> {
        let places: BTreeMap<_, _> = (self.files.iter().enumerate().skip(1))
            .map(|(at, part)| (part.name.as_str(), at))
            .collect();
        let mut packages = BTreeMap::new();
        for paragraph in index.split("\n\n").filter(|text| !text.trim().is_empty()) {
            let told = fields(paragraph);
            if told.len() != paragraph.lines().filter(|line| !line.starts_with([' ', '\t'])).count() {
                return Err("its list of packages has a field twice");
            }
            let field = |key| told.get(key).copied().unwrap_or_default();
            let at = field("Filename").strip_prefix("./").and_then(|name| places.get(name));
            let Some(&at) = at else {
                return Err("its list of packages names a file that is not in it");
            };
            let part = &self.files[at];
            if field("SHA256") != part.sha256 || field("Size") != part.size.to_string() {
                return Err("its list of packages does not fit its files");
            }
            packages.insert((field("Package").into(), field("Version").into()), at);
        }
        match packages.len() == places.len() {
            true => Ok(packages),
            false => Err("its list of packages does not name all of its files"),
        }
    }
}

/// Reads one file of the archive, which must be this one; what is read goes into `out`.
fn member(from: &mut impl Read, part: &Part, out: &mut impl Write) -> std::result::Result<(), String> {
    let entry = tar::next(from).map_err(|e| e.to_string())?;
    if entry.is_none_or(|e| e.name != part.name || e.size != part.size) {
        return Err(format!("{} is missing", part.name));
    }
    let mut out = Hashing::new(out);
    let copied = io::copy(&mut from.take(part.size), &mut out).map_err(|e| e.to_string())?;
    if copied != part.size || out.finish() != part.sha256 {
        return Err(format!("{} is not as it was written", part.name));
    }
    tar::skip_padding(from, part.size).map_err(|e| e.to_string())
}

/// Reads and checks what stands before the packages.
fn head(from: &mut impl Read) -> std::result::Result<(Manifest, String), String> {
    let first = tar::next(from).map_err(|e| e.to_string())?;
    let Some(first) = first.filter(|e| e.name == MANIFEST && e.size <= MANIFEST_MAX) else {
        return Err("it does not begin with its list of files".into());
    };
    let mut json = Vec::new();
    (from.by_ref().take(first.size).read_to_end(&mut json)).map_err(|e| e.to_string())?;
    tar::skip_padding(from, first.size).map_err(|e| e.to_string())?;
    let manifest: Manifest = serde_json::from_slice(&json).map_err(|e| e.to_string())?;
    manifest.check()?;
    let mut index = Vec::new();
    member(from, &manifest.files[0], &mut index)?;
    let index = String::from_utf8(index).map_err(|e| e.to_string())?;
    Ok((manifest, index))
}

fn put(out: &mut impl Write, name: &str, bytes: &[u8], at: Ms) -> io::Result<()> {
    let entry = Entry {
        name: name.into(),
        size: bytes.len() as u64,
    };
    tar::head(out, &entry, at)?;
    tar::content(out, &mut &bytes[..], entry.size)
}

/// Reads a whole bundle, checks every byte of it and writes it anew. Error: a sentence about `what`.
fn copy(what: &str, from: impl Read, out: &mut impl Write) -> Result<Manifest> {
    let mut from = BufReader::with_capacity(1 << 18, from);
    let bad = |why: String| unusable(what, why);
    let (manifest, index) = head(&mut from).map_err(bad)?;
    manifest.packages(&index).map_err(|why| unusable(what, why))?;
    let json = serde_json::to_vec(&manifest).map_err(Error::internal)?;
    put(out, MANIFEST, &json, manifest.made_at)?;
    put(out, INDEX, index.as_bytes(), manifest.made_at)?;
    for part in &manifest.files[1..] {
        let entry = Entry {
            name: part.name.clone(),
            size: part.size,
        };
        tar::head(out, &entry, manifest.made_at)?;
        member(&mut from, part, out).map_err(bad)?;
        tar::pad(out, part.size)?;
    }
    if tar::next(&mut from).map_err(|e| unusable(what, e))?.is_some() {
        return Err(unusable(what, "it holds more than its list of files names"));
    }
    tar::end(out)?;
    Ok(manifest)
}

/// Reads a whole bundle and checks every byte of it. Error `bundle_unusable`.
pub fn verify(what: &str, from: impl Read) -> Result<Manifest> {
    copy(what, from, &mut io::sink())
}

/// Checks a bundle and puts it into the data folder, in place of one of the same release and architecture. Error
/// `bundle_unusable`, or I/O.
pub fn add(data_dir: &Path, what: &str, from: impl Read) -> Result<Manifest> {
    let folder = data_dir.join(FOLDER);
    file::private_dir(&folder)?;
    let shop = TempDir::new(&folder)?;
    let fresh = shop.path().join(INDEX);
    let mut out = BufWriter::with_capacity(1 << 18, file::create_new(&fresh)?);
    let manifest = copy(what, from, &mut out)?;
    let whole = out.into_inner().map_err(|e| Error::internal(e.to_string()))?;
    whole.sync_all()?;
    fs::rename(&fresh, folder.join(Manifest::name(&manifest.suite, &manifest.arch)))?;
    File::open(&folder)?.sync_all()?;
    Ok(manifest)
}

/// The bundles of the data folder by name; in place of one that cannot be read, why.
pub fn list(data_dir: &Path) -> Result<Vec<Result<Bundle>>> {
    let entries = match fs::read_dir(data_dir.join(FOLDER)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "bundle") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths.into_iter().map(Bundle::open).collect())
}

/// Removes the bundle of this release and architecture from the data folder; says whether there was one.
pub fn remove(data_dir: &Path, suite: &str, arch: &str) -> Result<bool> {
    if !plain(suite, 40) || !plain(arch, 20) {
        return Ok(false);
    }
    match fs::remove_file(data_dir.join(FOLDER).join(Manifest::name(suite, arch))) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        done => Ok(done.map(|()| true)?),
    }
}

impl Bundle {
    /// Reads the head of a bundle. Error `bundle_unusable`.
    pub fn open(path: PathBuf) -> Result<Bundle> {
        let what = path.display().to_string();
        let file = File::open(&path).map_err(|e| unusable(&what, e))?;
        let (manifest, index) = head(&mut BufReader::new(file)).map_err(|why| unusable(&what, why))?;
        let packages = manifest.packages(&index).map_err(|why| unusable(&what, why))?;
        Ok(Bundle {
            path,
            manifest,
            index,
            packages,
        })
    }

    /// The bundle for a server of this release and architecture. Errors `no_bundle`, `bundle_unusable`.
    pub fn fitting(data_dir: &Path, suite: &str, arch: &str) -> Result<Bundle> {
        let path = data_dir.join(FOLDER).join(Manifest::name(suite, arch));
        if !plain(suite, 40) || !plain(arch, 20) || !path.exists() {
            let say = format!(
                "Packages for this server come from a bundle, and there is none for its release, {} on {}.",
                text::one_line(if suite.is_empty() { "unnamed" } else { suite }, 40),
                text::one_line(arch, 20)
            );
            return Err(Error::new(Kind::Conflict, "no_bundle", say));
        }
        let what = path.display().to_string();
        let bundle = Bundle::open(path)?;
        match (bundle.manifest.suite.as_str(), bundle.manifest.arch.as_str()) == (suite, arch) {
            true => Ok(bundle),
            false => Err(unusable(&what, "it is for another release or architecture")),
        }
    }

    /// Version of a package; the newest when there are several.
    pub fn version(&self, package: &str) -> Option<&str> {
        let mut of_that_name = self.packages.keys().filter(|(name, _)| name == package);
        of_that_name.next_back().map(|(_, version)| version.as_str())
    }

    /// The places of these packages in the manifest, in its order. Error `bundle_unfit`: one is not in it.
    fn places(&self, needs: &str) -> Result<BTreeSet<usize>> {
        let place = |line: &str| {
            let (name, version) = line.split_once(' ')?;
            let name = name.split(':').next()?; // of another architecture: NAME:ARCH
            self.packages.get(&(name.into(), version.into())).copied()
        };
        let found = needs.lines().map(|line| {
            place(line).ok_or_else(|| {
                let say = format!(
                    "The server wants {} of the bundle, which is not in it.",
                    text::one_line(line, 100)
                );
                Error::new(Kind::Upstream, "bundle_unfit", say)
            })
        });
        found.collect()
    }

    /// Writes a tar of the index and these packages, each checked as it is read.
    fn write(&self, places: &BTreeSet<usize>, out: &mut impl Write) -> Result<()> {
        let what = self.path.display().to_string();
        let bad = |why: String| unusable(&what, why);
        put(out, INDEX, self.index.as_bytes(), self.manifest.made_at)?;
        let mut from = BufReader::with_capacity(1 << 18, File::open(&self.path)?);
        let first = tar::next(&mut from)?.ok_or_else(|| bad("it is empty".into()))?;
        from.seek(SeekFrom::Current(tar::whole(first.size)))?;
        for (at, part) in self.manifest.files.iter().enumerate() {
            if !places.contains(&at) {
                let entry = tar::next(&mut from)?;
                if entry.is_none_or(|e| e.name != part.name || e.size != part.size) {
                    return Err(bad(format!("{} is missing", part.name)));
                }
                from.seek(SeekFrom::Current(tar::whole(part.size)))?;
                continue;
            }
            let entry = Entry {
                name: part.name.clone(),
                size: part.size,
            };
            tar::head(out, &entry, self.manifest.made_at)?;
            member(&mut from, part, out).map_err(bad)?;
            tar::pad(out, part.size)?;
        }
        tar::end(out)?;
        Ok(())
    }
}

/// What a server lacks of a recipe's programs, and which bundle would fit it. Changes nothing.
///
/// Facts: `suite`, `dpkg_arch`, `lacks` (programs, separated by spaces).
pub fn ask(recipe: &Recipe) -> Result<Recipe> {
    Ok(Recipe {
        name: "bundle_ask",
        root: false,
        deadline: MINUTE,
        plan: vec!["system", "software"],
        installs: Vec::new(),
        values: Secret::new(shell::assignments(&[("WANTED", &recipe.installs.join(" "))])?),
        text: script!("prelude.sh", "found.sh", "nginx.sh", "bundle_ask.sh"),
    })
}

/// Reckons on the server what it needs of a bundle with this index. Changes nothing. Text `needs`: name and version, a line
/// each.
pub fn needs(index: &str, lacks: &str) -> Result<Recipe> {
    Ok(Recipe {
        name: "bundle_needs",
        root: false,
        deadline: 2 * MINUTE,
        plan: vec!["bundle_needs"],
        installs: Vec::new(),
        values: Secret::new(shell::assignments(&[
            ("INDEX", &text::base64(index.as_bytes())),
            ("LACKS", lacks),
        ])?),
        text: script!("prelude.sh", "found.sh", "bundle_needs.sh"),
    })
}

/// Sends a server what it needs of the bundle to have these programs, for the job that follows. `say` gets a sentence
/// about it. Errors: as [`super::run`]; `disk_full`; `bundle_unfit`: the bundle does not have all.
pub fn bring(
    ssh: &Ssh,
    target: &Target,
    bundle: &Bundle,
    lacks: &str,
    cancel: &Cancel,
    say: &mut dyn FnMut(&str),
) -> Result<Debs> {
    let reckoned = super::run(ssh, target, &needs(&bundle.index, lacks)?, cancel, &mut |_| {})?;
    let places = bundle.places(reckoned.texts.get("needs").map_or("", String::as_str))?;
    let size: u64 = places.iter().map(|at| bundle.manifest.files[*at].size).sum();
    let Manifest { suite, arch, .. } = &bundle.manifest;
    say(&format!(
        "Packages come from the bundle {suite} {arch} of {}: {} of its {}, {} kB. They go to the server now, over ssh.",
        crate::base::clock::rfc3339(bundle.manifest.made_at),
        places.len(),
        bundle.packages.len(),
        size / 1000
    ));
    let mut whole = Hashing::new(io::sink());
    bundle.write(&places, &mut whole)?;
    let sha256 = whole.finish();
    // Both the parts and what is unpacked from them lie there for a moment.
    let folder = format!("{BROUGHT}/{sha256}");
    let mut parts = Parts::begin(ssh, target, &folder, 2 * size, cancel)?;
    bundle.write(&places, &mut parts).map_err(|e| parts.why(e))?;
    parts.finish()?;
    Ok(Debs::Brought(sha256))
}

/// The packages that recipes may install, without those that they depend on.
pub fn wanted() -> BTreeSet<&'static str> {
    recipes::PACKAGES
        .iter()
        .flat_map(|(_, packages)| packages.iter().copied())
        .collect()
}
