//! Makes a bundle on a machine that has a mirror, by the system's apt in folders of its own: nothing of the machine's
//! package system changes, and no root is needed. apt reckons against an empty list of installed packages, so what comes
//! out is complete on the smallest server.

use super::{INDEX, MANIFEST, Manifest, Part, fields, plain, put, wanted};
use crate::base::clock::{self, Duration};
use crate::base::error::{Error, Kind, Result};
use crate::base::file::{self, Hashing, TempDir};
use crate::base::process::{self, Cancel, Output, Program};
use crate::base::tar::{self, Entry};
use crate::base::text;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::Path;

/// Reading lists, and fetching some 40 MB, over a slow line.
const LIMIT: Duration = Duration::from_secs(45 * 60);
/// Of apt's words: paragraphs of a few hundred packages.
const WORDS_MAX: usize = 8 << 20;
/// What apt needs to know of a package, in the order it is written. No descriptions.
const FIELDS: [&str; 15] = [
    "Package",
    "Version",
    "Architecture",
    "Multi-Arch",
    "Essential",
    "Priority",
    "Section",
    "Pre-Depends",
    "Depends",
    "Conflicts",
    "Breaks",
    "Replaces",
    "Provides",
    "Installed-Size",
    "Source",
];

/// What to make.
pub struct Wanted<'a> {
    /// Codename of the release; none: this machine's own.
    pub suite: Option<&'a str>,
    /// Architecture as dpkg names it; none: this machine's own.
    pub arch: Option<&'a str>,
    /// Lines as in `sources.list`; none: this machine's own sources.
    pub sources: Vec<&'a str>,
}

fn usage(say: &str) -> Error {
    Error::new(Kind::Malformed, "usage", say)
}

fn failed(what: &str, output: &Output) -> Error {
    let words: Vec<_> = (output.stderr.lines().chain(output.stdout.lines()))
        .filter(|line| line.starts_with("E: ") || line.contains(" : Depends: "))
        .take(5)
        .collect();
    let say = format!("{what}: {}", text::one_line(&words.join(" "), 500));
    Error::new(Kind::Upstream, "bundle_make", say).log(&output.stderr)
}

/// apt, with all its folders in one of ours.
struct Apt<'a> {
    options: Vec<OsString>,
    cancel: &'a Cancel,
}

impl Apt<'_> {
    fn run(&self, name: &'static str, args: &[&str]) -> Result<Output> {
        let mut env = Vec::new();
        for key in ["http_proxy", "https_proxy", "no_proxy"] {
            env.extend(std::env::var_os(key).map(|value| (key, value)));
        }
        let program = Program {
            name,
            args: (self.options.iter().cloned())
                .chain(args.iter().map(OsString::from))
                .collect(),
            env,
            dir: None,
        };
        process::run(program, b"", LIMIT, WORDS_MAX, self.cancel)
    }

    /// The packages of these names that the sources have, and the names that they lack.
    fn known(&self, names: &BTreeSet<&'static str>) -> Result<(Vec<&'static str>, Vec<String>)> {
        let (mut known, mut absent) = (Vec::new(), Vec::new());
        for name in names {
            let told = self.run("apt-cache", &["policy", name])?;
            let candidate = told
                .stdout
                .lines()
                .find_map(|line| line.trim().strip_prefix("Candidate: "));
            match candidate {
                Some(version) if version != "(none)" => known.push(*name),
                _ => absent.push(name.to_string()),
            }
        }
        Ok((known, absent))
    }
}

/// The word after `KEY=` in this machine's `os-release`, without quotes.
fn own_suite() -> Option<String> {
    let text = fs::read_to_string("/etc/os-release").ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="))?;
    Some(value.trim_matches('"').to_string())
}

fn own_arch(cancel: &Cancel) -> Result<String> {
    let program = Program {
        name: "dpkg",
        args: vec!["--print-architecture".into()],
        env: Vec::new(),
        dir: None,
    };
    let told = process::run(program, b"", Duration::from_secs(10), 1_000, cancel)?;
    Ok(told.stdout.trim().to_string())
}

/// Makes a bundle; `say` gets a sentence now and then. An existing file is refused. Errors: `usage`, `bundle_make`,
/// `missing_program`, I/O.
pub fn make(to: &Path, wanted_of: &Wanted, cancel: &Cancel, say: &mut dyn FnMut(&str)) -> Result<Manifest> {
    if to.exists() {
        let say = format!("{} is there already.", to.display());
        return Err(Error::new(Kind::Conflict, "bundle_exists", say));
    }
    let (mine, own) = (own_arch(cancel)?, own_suite().unwrap_or_default());
    let suite = wanted_of.suite.unwrap_or(&own);
    let arch = wanted_of.arch.unwrap_or(&mine);
    if !plain(suite, 40) || !plain(arch, 20) {
        return Err(usage(
            "--suite is a codename such as bookworm, --arch one such as amd64.",
        ));
    }
    if wanted_of.sources.is_empty() && suite != own {
        let say = format!(
            "This machine's own sources are of “{own}”. For {suite} say where it is: --source 'deb http://deb.debian.org/debian {suite} main'."
        );
        return Err(usage(&say));
    }
    if let Some(line) = wanted_of
        .sources
        .iter()
        .find(|line| !line.starts_with("deb ") || line.contains(char::is_control))
    {
        return Err(usage(&format!(
            "A source is one line as in sources.list, “deb URL SUITE main”, not: {}",
            text::one_line(line, 100)
        )));
    }
    let folder = to
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    // apt wants absolute paths.
    let shop = TempDir::new(&fs::canonicalize(folder)?)?;
    let at = |name: &str| shop.path().join(name);
    for dir in ["state/lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(at(dir))?;
    }
    fs::write(at("status"), "")?;
    let option = |key: &str, value: &Path| {
        let mut text = OsString::from(format!("{key}="));
        text.push(value);
        ["-o".into(), text]
    };
    let word = |text: &str| ["-o".into(), OsString::from(text)];
    let mut options: Vec<OsString> = [
        option("Dir::State", &at("state")),
        option("Dir::State::status", &at("status")),
        option("Dir::Cache", &at("cache")),
        option("Dir::Etc::preferences", Path::new("/dev/null")),
        option("Dir::Etc::preferencesparts", Path::new("/dev/null")),
        word(&format!("APT::Architecture={arch}")),
        word(&format!("APT::Architectures::={arch}")),
        word("APT::Sandbox::User=root"), // the folder is private; without root it changes nothing
        word("APT::Default-Release="),
        word("Acquire::Languages=none"),
        word("Debug::NoLocking=1"),
    ]
    .concat();
    if !wanted_of.sources.is_empty() {
        fs::write(at("sources.list"), wanted_of.sources.join("\n") + "\n")?;
        options.extend(option("Dir::Etc::SourceList", &at("sources.list")));
        options.extend(option("Dir::Etc::SourceParts", Path::new("/dev/null")));
    }
    let apt = Apt { options, cancel };

    say("The package lists are read.");
    let read = apt.run("apt-get", &["-q", "-o", "APT::Update::Error-Mode=any", "update"])?;
    if read.rc != 0 {
        return Err(failed("The package lists cannot be read", &read));
    }
    let (known, absent) = apt.known(&wanted())?;
    if !known.contains(&"nginx") {
        let say = format!("These sources have no package nginx for {suite} on {arch}.");
        return Err(Error::new(Kind::Upstream, "bundle_make", say));
    }
    say(&format!("{} and what they depend on are fetched.", known.join(", ")));
    let fetch = ["-q", "-y", "--no-install-recommends", "--download-only", "install"];
    let fetched = apt.run("apt-get", &[&fetch[..], &known].concat())?;
    if fetched.rc != 0 {
        return Err(failed("The packages cannot be fetched", &fetched));
    }

    let mut files = BTreeMap::new();
    for entry in fs::read_dir(at("cache/archives"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "deb") {
            let mut hash = Hashing::new(io::sink());
            let size = io::copy(&mut File::open(&path)?, &mut hash)?;
            files.insert(hash.finish(), (path, size));
        }
    }
    // The names are those before the first "_"; which version of it was fetched is told by the hash.
    let names: BTreeSet<String> = (files.values())
        .filter_map(|(path, _)| Some(path.file_name()?.to_str()?.split_once('_')?.0.to_string()))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let told = apt.run("apt-cache", &[&["show"][..], &names].concat())?;
    if told.rc != 0 {
        return Err(failed("The package lists cannot be read", &told));
    }
    let mut index = String::new();
    let mut parts = Vec::new();
    let mut seen = BTreeSet::new();
    for paragraph in told.stdout.split("\n\n") {
        let told = fields(paragraph);
        let field = |key| told.get(key).copied().unwrap_or_default();
        let sha256 = field("SHA256");
        let Some((_, size)) = files.get(sha256).filter(|_| seen.insert(sha256.to_string())) else {
            continue;
        };
        // Without the epoch, as the files of a mirror are named.
        let version = field("Version");
        let version = version.split_once(':').map_or(version, |(_, rest)| rest);
        let name = format!("{}_{version}_{}.deb", field("Package"), field("Architecture"));
        if !index.is_empty() {
            index.push('\n');
        }
        for key in FIELDS.iter().filter(|key| told.contains_key(*key)) {
            index.push_str(&format!("{key}: {}\n", field(key)));
        }
        index.push_str(&format!("Filename: ./{name}\nSize: {size}\nSHA256: {sha256}\n"));
        parts.push(Part {
            name,
            size: *size,
            sha256: sha256.into(),
        });
    }
    if let Some((path, _)) = files
        .iter()
        .find(|(sha256, _)| !seen.contains(*sha256))
        .map(|(_, file)| file)
    {
        let say = format!(
            "No package list vouches for {}: its SHA-256 is in none of them.",
            path.display()
        );
        return Err(Error::new(Kind::Upstream, "bundle_make", say));
    }
    parts.insert(
        0,
        Part {
            name: INDEX.into(),
            size: index.len() as u64,
            sha256: text::hex(&text::sha256(index.as_bytes())),
        },
    );
    let manifest = Manifest {
        suite: suite.into(),
        arch: arch.into(),
        made_at: clock::now(),
        absent,
        files: parts,
    };
    // What cannot be read again must not be written.
    let unfit = |why: &str| {
        Error::new(
            Kind::Upstream,
            "bundle_make",
            format!("What was fetched makes no bundle: {why}."),
        )
    };
    manifest.check().map_err(unfit)?;
    manifest.packages(&index).map_err(unfit)?;

    let fresh = at("bundle");
    let mut out = BufWriter::with_capacity(1 << 18, file::create_new(&fresh)?);
    let json = serde_json::to_vec_pretty(&manifest).map_err(Error::internal)?;
    put(&mut out, MANIFEST, &json, manifest.made_at)?;
    put(&mut out, INDEX, index.as_bytes(), manifest.made_at)?;
    for part in &manifest.files[1..] {
        let entry = Entry {
            name: part.name.clone(),
            size: part.size,
        };
        tar::head(&mut out, &entry, manifest.made_at)?;
        tar::content(&mut out, &mut File::open(&files[&part.sha256].0)?, part.size)?;
    }
    tar::end(&mut out)?;
    let whole = out.into_inner().map_err(|e| Error::internal(e.to_string()))?;
    whole.sync_all()?;
    // A link is no replacement: it fails where a file has appeared meanwhile.
    fs::hard_link(&fresh, to)?;
    Ok(manifest)
}
