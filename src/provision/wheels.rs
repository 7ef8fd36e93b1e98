//! Bundles: a tar of Python wheels on this machine, with Glances, for servers whose release has no package of it. It is
//! sent to a server in parts, like all files, and assembled and checked there by the job.

use super::parts::Parts;
use crate::base::error::{Error, Kind, Result};
use crate::base::file;
use crate::base::parallel::lock;
use crate::base::process::Cancel;
use crate::base::shape::described;
use crate::base::text;
use crate::ssh::{Ssh, Target};
use ring::digest;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Mutex;

/// Largest bundle in bytes. Glances and its dependencies for one Python are about 15 MB.
const BUNDLE_MAX: u64 = 96 * 1024 * 1024;
/// Folder of the parts on a server, below it one named after the hash; removed by `glances.sh`.
const PARTS: &str = "/var/cache/lamplighter-wheels";

described! {
    /// Description of a bundle.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Summary {
        /// Path on this machine.
        pub path: String,
        /// SHA-256 of the tar, hex.
        pub sha256: String,
        /// In bytes.
        pub size: u64,
        /// Number of wheels.
        pub wheels: usize,
        /// The versions of Glances in it.
        pub glances: Vec<String>,
    }
}

/// Metadata of the file when it was last read, to avoid reading it again.
type Seen = (String, u64, u64, i64, i64);
static KNOWN: Mutex<Option<(Seen, std::result::Result<Summary, String>)>> = Mutex::new(None);

/// Reads the bundle at this path. Error: a sentence about the file.
pub fn summary(path: &str) -> Result<Summary> {
    let meta = fs::metadata(path).map_err(|e| unusable(path, &e.to_string()))?;
    let seen = (
        path.to_string(),
        meta.ino(),
        meta.len(),
        meta.mtime(),
        meta.mtime_nsec(),
    );
    let mut known = lock(&KNOWN);
    let summary = match known.take().filter(|(before, _)| *before == seen) {
        Some((_, summary)) => summary,
        None => read(path).map(|(summary, _)| summary).map_err(|e| e.say),
    };
    *known = Some((seen, summary.clone()));
    summary.map_err(|say| Error::new(Kind::Conflict, "bundle_unusable", say))
}

fn read(path: &str) -> Result<(Summary, Vec<u8>)> {
    let content = file::read_limited(Path::new(path), BUNDLE_MAX).map_err(|e| unusable(path, &e.to_string()))?;
    let wheels = wheels(&content).map_err(|why| unusable(path, why))?;
    let glances: Vec<String> = wheels
        .iter()
        .filter_map(|name| {
            name.to_ascii_lowercase()
                .strip_prefix("glances-")?
                .split('-')
                .next()
                .map(String::from)
        })
        .collect();
    if glances.is_empty() {
        return Err(unusable(path, "there is no wheel of Glances in it"));
    }
    let summary = Summary {
        path: path.into(),
        sha256: text::hex(digest::digest(&digest::SHA256, &content).as_ref()),
        size: content.len() as u64,
        wheels: wheels.len(),
        glances,
    };
    Ok((summary, content))
}

fn unusable(path: &str, why: &str) -> Error {
    let say = format!("The bundle {} cannot be used: {why}.", text::one_line(path, 200));
    Error::new(Kind::Conflict, "bundle_unusable", say)
}

/// The names in a tar that contains only wheels in one folder, so that the server's `tar` cannot interpret it
/// differently.
fn wheels(tar: &[u8]) -> std::result::Result<Vec<String>, &'static str> {
    const BLOCK: usize = 512;
    let field = |header: &[u8], from: usize, len: usize| -> String {
        let bytes = &header[from..from + len];
        String::from_utf8_lossy(&bytes[..bytes.iter().position(|b| *b == 0).unwrap_or(len)]).into_owned()
    };
    let mut names = Vec::new();
    // A name longer than 100 bytes stands before its member, in a member of its own (GNU: L; POSIX: x).
    let mut long = None;
    let mut at = 0;
    while let Some(header) = tar.get(at..at + BLOCK) {
        if header.iter().all(|b| *b == 0) {
            return Ok(names);
        }
        if &header[257..262] != b"ustar" {
            return Err("it is not a plain tar (not compressed)");
        }
        let size =
            usize::from_str_radix(field(header, 124, 12).trim(), 8).map_err(|_| "a size in it cannot be read")?;
        let content = tar.get(at + BLOCK..at + BLOCK + size).ok_or("it ends too early")?;
        let kind = header[156];
        match kind {
            b'L' => long = Some(field(content, 0, content.len())),
            b'x' | b'g' => long = path_record(content).or(long),
            _ => {
                let name = long.take().unwrap_or_else(|| field(header, 0, 100));
                let name = name.strip_prefix("./").unwrap_or(&name);
                // ustar's prefix field; GNU keeps times there.
                let whole = &header[257..263] != b"ustar\0" || header[345] == 0;
                match kind {
                    b'5' if whole && name.is_empty() => {}
                    b'0' | 0 if whole && name.ends_with(".whl") && !name.contains('/') && !name.starts_with('-') => {
                        names.push(name.to_string());
                    }
                    _ => return Err("it may hold wheels (*.whl) and nothing else, without folders"),
                }
            }
        }
        at += BLOCK + size.div_ceil(BLOCK) * BLOCK;
    }
    Err("it ends too early")
}

/// The path among the records of a POSIX header, "LENGTH KEY=VALUE" each.
fn path_record(content: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(content);
    let path = text
        .lines()
        .filter_map(|line| line.split_once(' ')?.1.strip_prefix("path="))
        .next_back()?;
    Some(path.to_string())
}

/// Sends a bundle to the server, for the job that follows. Parts of an earlier try are kept. Errors: as [`Ssh::run`].
pub fn push(ssh: &Ssh, target: &Target, known: &Summary, cancel: &Cancel) -> Result<()> {
    let (now, content) = read(&known.path)?;
    if now.sha256 != known.sha256 {
        return Err(unusable(&known.path, "it has been changed just now"));
    }
    let folder = format!("{PARTS}/{}", known.sha256);
    let mut parts = Parts::begin(ssh, target, &folder, known.size, cancel)?;
    parts.write_all(&content).map_err(|e| parts.why(e.into()))?;
    parts.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, kind: u8, content: &[u8]) -> Vec<u8> {
        let mut header = vec![0; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        header[156] = kind;
        header[257..262].copy_from_slice(b"ustar");
        header.extend_from_slice(content);
        header.resize(512 + content.len().div_ceil(512) * 512, 0);
        header
    }

    #[test]
    fn a_bundle_holds_wheels_and_nothing_else() {
        let end = vec![0; 1024];
        let glances = member("./glances-4.3.1-py3-none-any.whl", b'0', &[7; 700]);
        let good = [
            member("./", b'5', b""),
            glances.clone(),
            member("a.whl", b'0', b"x"),
            end.clone(),
        ]
        .concat();
        assert_eq!(wheels(&good).unwrap(), ["glances-4.3.1-py3-none-any.whl", "a.whl"]);
        let long = format!("./{}.whl", "n".repeat(110));
        let pax = format!("{} path={long}\n", long.len() + 10);
        for before in [
            member("././@LongLink", b'L', format!("{long}\0").as_bytes()),
            member("./PaxHeaders/n", b'x', pax.as_bytes()),
        ] {
            let named = [before, member(&long[..99], b'0', b"x"), end.clone()].concat();
            assert_eq!(wheels(&named).unwrap(), [&long[2..]]);
        }
        for bad in [
            [
                member("././@LongLink", b'L', b"../x.whl\0"),
                member("x.whl", b'0', b"x"),
            ]
            .concat(),
            member("a/b.whl", b'0', b"x"),
            member("/b.whl", b'0', b"x"),
            member("--index.whl", b'0', b"x"),
            member("setup.py", b'0', b"x"),
            member("a.whl", b'2', b""),
            member("a", b'5', b""),
            b"\x1f\x8b".repeat(256),
        ] {
            assert!(wheels(&[bad, glances.clone(), end.clone()].concat()).is_err());
        }
        assert!(wheels(&glances).is_err(), "cut");
        assert!(wheels(&[]).is_err());
    }
}
