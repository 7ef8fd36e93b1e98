//! A long file for a server: it arrives in parts, as all files do, and the job that follows puts them together and checks
//! their SHA-256, after which the folder of the parts is named.

use crate::base::clock::Duration;
use crate::base::error::{Error, Kind, Result};
use crate::base::process::Cancel;
use crate::base::{shell, text};
use crate::ssh::files::{FILE_MAX, Put};
use crate::ssh::{Job, Ssh, Target};
use std::io::{self, Write};

const LIMIT: Duration = Duration::from_secs(120);

/// Makes the folder with root's rights alone and asks for room. What is there already stays: its name is
/// the SHA-256 of the whole, and a part that has arrived is not written again.
const BEGIN: &str = "umask 077
mkdir -p -- \"$DIR\" || exit 1
free=$(df -Pk -- \"$DIR\" | sed -n '2s/ *[0-9]*%.*//;2s/.* //p')
[ \"${free:-$NEED_KIB}\" -ge \"$NEED_KIB\" ] || { echo \"$free\"; exit 28; }
";
/// Exit code of [`BEGIN`] when there is no room.
const NO_ROOM: i32 = 28;
/// Left free beyond what is sent, in KiB.
const SPARE_KIB: u64 = 100 * 1024;

/// Takes bytes and sends them. Nothing is kept here but the part that is being filled.
pub(super) struct Parts<'a> {
    ssh: &'a Ssh,
    target: &'a Target,
    folder: &'a str,
    cancel: &'a Cancel,
    part: Vec<u8>,
    sent: u32,
    failure: Option<Error>,
}

impl<'a> Parts<'a> {
    /// Makes the folder on the server, where `size` bytes must have room. Errors: as [`Ssh::run`]; `disk_full`,
    /// `remote_write`.
    pub fn begin(
        ssh: &'a Ssh,
        target: &'a Target,
        folder: &'a str,
        size: u64,
        cancel: &'a Cancel,
    ) -> Result<Parts<'a>> {
        let need = size / 1024 + SPARE_KIB;
        let script = shell::assignments(&[("DIR", folder), ("NEED_KIB", &need.to_string())])? + BEGIN;
        let job = Job {
            script: &script,
            root: true,
            deadline: LIMIT,
        };
        let mut said = String::new();
        let done = ssh.run(target, &job, cancel, &mut |_, line| said.extend([line, " "]))?;
        let said = text::one_line(&said, 200);
        match done.rc {
            0 => {}
            NO_ROOM => {
                let say =
                    format!("Only {said}KiB are free at {folder} on this server; what is sent there needs {need}.");
                return Err(Error::new(Kind::Conflict, "disk_full", say));
            }
            _ => {
                let say = format!("The folder {folder} cannot be made on the server: {said}");
                return Err(Error::new(Kind::Upstream, "remote_write", say));
            }
        }
        Ok(Parts {
            ssh,
            target,
            folder,
            cancel,
            part: Vec::with_capacity(FILE_MAX),
            sent: 0,
            failure: None,
        })
    }

    /// Sends the rest.
    pub fn finish(mut self) -> Result<()> {
        self.flush().map_err(|e| self.why(e.into()))
    }

    /// The failure of the connection, where `e` is only its consequence.
    pub fn why(&mut self, e: Error) -> Error {
        self.failure.take().unwrap_or(e)
    }
}

impl Write for Parts<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.part.len() == FILE_MAX {
            self.flush()?;
        }
        let taken = bytes.len().min(FILE_MAX - self.part.len());
        self.part.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.part.is_empty() {
            return Ok(());
        }
        let file = Put {
            path: &format!("{}/{:05}", self.folder, self.sent),
            content: &self.part,
            mode: 0o600,
            owner: "root:root",
            root: true,
        };
        if let Err(e) = self.ssh.put(self.target, &file, LIMIT, self.cancel) {
            self.failure = Some(e);
            return Err(io::Error::other("a part could not be sent"));
        }
        self.sent += 1;
        self.part.clear();
        Ok(())
    }
}
