//! Transfer of whole files by scripts: the content is base64 inside the script, over stdin. A file is replaced
//! atomically, and only if something differs.

use super::{Job, Ssh, Stream, Target};
use crate::base::clock::Duration;
use crate::base::error::{Error, Kind, Result};
use crate::base::process::Cancel;
use crate::base::{shell, text};

/// Largest file in both directions: for configuration files and small archives.
pub const FILE_MAX: usize = 512 * 1024;

const PUT: &str = include_str!("put.sh");
const GET: &str = include_str!("get.sh");
/// Exit code of `get.sh` if the file does not exist.
const NO_SUCH_FILE: i32 = 44;

/// A file to write.
pub struct Put<'a> {
    /// Absolute path; its folder exists.
    pub path: &'a str,
    /// At most [`FILE_MAX`] bytes.
    pub content: &'a [u8],
    /// Permission bits, e.g. `0o644`.
    pub mode: u32,
    /// `root:root`; empty for whoever writes it.
    pub owner: &'a str,
    /// Write it as root.
    pub root: bool,
}

impl Ssh {
    /// Writes the file if it differs. Returns whether it did. Errors: as [`Ssh::run`], and the script's failure.
    pub fn put(&self, target: &Target, file: &Put, deadline: Duration, cancel: &Cancel) -> Result<bool> {
        if file.content.len() > FILE_MAX {
            return Err(too_long(file.path));
        }
        let values = [
            ("FILE", file.path),
            ("MODE", &format!("{:o}", file.mode & 0o7777)),
            ("OWNER", file.owner),
            ("CONTENT", &text::base64(file.content)),
        ];
        let script = shell::assignments(&values)? + PUT;
        let (rc, stdout, stderr) = self.collect(target, &script, file.root, deadline, cancel)?;
        match (rc, stdout.trim()) {
            (0, "changed") => Ok(true),
            (0, "same") => Ok(false),
            _ => Err(Error::new(
                Kind::Upstream,
                "remote_write",
                format!(
                    "The file {} could not be written on the server: {}",
                    file.path,
                    text::one_line(&stderr, 200)
                ),
            )
            .log(format_args!("rc {rc}: {stderr}"))),
        }
    }

    /// The content of a regular file; `None` if it does not exist. Errors: as [`Ssh::run`].
    pub fn get(
        &self,
        target: &Target,
        path: &str,
        root: bool,
        deadline: Duration,
        cancel: &Cancel,
    ) -> Result<Option<Vec<u8>>> {
        let values = [("FILE", path), ("MAX", &(FILE_MAX + 1).to_string())];
        let script = shell::assignments(&values)? + GET;
        let (rc, stdout, stderr) = self.collect(target, &script, root, deadline, cancel)?;
        let content = text::unbase64(&stdout.replace('\n', ""));
        match (rc, content) {
            (NO_SUCH_FILE, _) => Ok(None),
            (0, Some(content)) if content.len() > FILE_MAX => Err(too_long(path)),
            (0, Some(content)) => Ok(Some(content)),
            _ => Err(Error::new(
                Kind::Upstream,
                "remote_read",
                format!(
                    "The file {path} could not be read on the server: {}",
                    text::one_line(&stderr, 200)
                ),
            )
            .log(format_args!("rc {rc}: {stderr}"))),
        }
    }

    fn collect(
        &self,
        target: &Target,
        script: &str,
        root: bool,
        deadline: Duration,
        cancel: &Cancel,
    ) -> Result<(i32, String, String)> {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        let job = Job { script, root, deadline };
        let done = self.run(target, &job, cancel, &mut |stream, line| {
            let text = if stream == Stream::Stdout {
                &mut stdout
            } else {
                &mut stderr
            };
            text.extend([line, "\n"]);
        })?;
        Ok((done.rc, stdout, stderr))
    }
}

fn too_long(path: &str) -> Error {
    let say = format!("The file {path} is longer than {} KiB.", FILE_MAX / 1024);
    Error::new(Kind::TooLarge, "file_too_long", say)
}
