//! Passes a password to `ssh`: ssh starts this program as `SSH_ASKPASS` with its question as the only argument; the
//! program sends the question to the daemon through a one-shot Unix socket and prints the answer. Only the socket's
//! random name is in the environment. The daemon answers one question of the expected kind, then closes.

use super::Ssh;
use crate::base::clock::Duration;
use crate::base::error::{Error, Result};
use crate::base::secret::Secret;
use crate::base::{lines, random, text};
use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// Variable with the socket's path, relative to ssh's working folder.
const VARIABLE: &str = "LAMPLIGHTER_ASKPASS";
/// The folder of the sockets.
pub(super) const SOCKETS: &str = "ask";
/// Longest question; one of the server (keyboard-interactive) may be any text.
const QUESTION_MAX: u64 = 1_024;
/// Both ends are on this machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// Called first in `main`: if `ssh` started this program for a question, answers it and returns the exit code.
pub fn if_asked() -> Option<i32> {
    let socket = std::env::var_os(VARIABLE)?;
    let question = std::env::args().nth(1).unwrap_or_default();
    Some(match ask(Path::new(&socket), &question) {
        Ok(()) => 0,
        Err(_) => 1, // the daemon logs the reason; ssh would take any output as password
    })
}

fn ask(socket: &Path, question: &str) -> std::io::Result<()> {
    let mut to = UnixStream::connect(socket)?;
    to.set_read_timeout(Some(PATIENCE))?;
    to.write_all(text::cut(question, QUESTION_MAX as usize).as_bytes())?;
    to.shutdown(std::net::Shutdown::Write)?;
    let mut answer = Vec::new();
    to.read_to_end(&mut answer)?;
    if answer.is_empty() {
        return Err(std::io::Error::other("not answered"));
    }
    let answer = Secret::new(answer);
    std::io::stdout().write_all(answer.reveal_for("the pipe to ssh"))
}

/// Expected kind of question.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Expect {
    /// `root@h's password: `, or a PAM module's `Password: `.
    Password,
    /// `Enter passphrase for key 'F': `.
    Passphrase,
}

impl Expect {
    fn is_it(self, question: &str) -> bool {
        let question = question.to_ascii_lowercase();
        match self {
            // A server that wants a one-time password says so; the login password does not apply.
            Expect::Password => question.contains("password") && !question.contains("one-time"),
            Expect::Passphrase => question.starts_with("enter passphrase"),
        }
    }
}

/// One secret, offered once. Dropping it withdraws the offer.
pub(super) struct Answer {
    path: PathBuf,
    name: String,
    refused: Arc<Mutex<Option<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Answer {
    /// Opens the socket.
    pub(super) fn offer(ssh: &Ssh, expect: Expect, secret: &Secret) -> Result<Answer> {
        let name = format!("{SOCKETS}/{}", random::name());
        let path = ssh.dir.join(&name);
        let told = |e| Error::internal(format!("socket {}: {e}", path.display()));
        let socket = UnixListener::bind(&path).map_err(told)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(told)?;
        let refused = Arc::new(Mutex::new(None));
        let thread = thread::Builder::new().name("askpass".into()).spawn({
            let (path, secret, refused) = (path.clone(), secret.clone(), refused.clone());
            move || {
                serve(&socket, expect, &secret, &refused);
                let _ = fs::remove_file(path);
            }
        })?;
        Ok(Answer {
            path,
            name,
            refused,
            thread: Some(thread),
        })
    }

    /// Environment variables for `ssh`.
    pub(super) fn env(&self, ssh: &Ssh) -> Vec<(&'static str, OsString)> {
        vec![
            ("SSH_ASKPASS", ssh.own.clone().into()),
            ("SSH_ASKPASS_REQUIRE", "force".into()),
            (VARIABLE, self.name.clone().into()),
        ]
    }

    /// The question, if it was not the expected one.
    pub(super) fn refused(&self) -> Option<String> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // Wakes the thread. If it has answered already, socket and file are gone. If no descriptor is left to wake it,
        // it is detached.
        let woken = UnixStream::connect(&self.path).is_ok();
        if woken || !self.path.exists() {
            self.thread.take().map(JoinHandle::join);
        }
        let _ = fs::remove_file(&self.path);
    }
}

/// Answers the first question if it is the expected one. Any other question ends the offer without an answer.
fn serve(socket: &UnixListener, expect: Expect, secret: &Secret, refused: &Mutex<Option<String>>) {
    let Ok((mut from, _)) = socket.accept() else { return };
    let mut question = Vec::new();
    let asked = from
        .set_read_timeout(Some(PATIENCE))
        .and_then(|()| from.set_write_timeout(Some(PATIENCE)))
        .and_then(|()| (&mut from).take(QUESTION_MAX).read_to_end(&mut question));
    let question = lines::plain(&String::from_utf8_lossy(&question));
    if asked.is_err() || question.is_empty() {
        return;
    }
    if expect.is_it(&question) {
        let _ = from
            .write_all(secret.reveal_for("askpass"))
            .and_then(|()| from.write_all(b"\n"));
    } else {
        *refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(question);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_expected_question_is_answered() {
        for (question, password, passphrase) in [
            ("root@h's password: ", true, false),
            ("(ops@10.0.0.1) Password: ", true, false),
            ("Enter passphrase for key 'files/x': ", false, true),
            ("Enter passphrase for \"files/x\": ", false, true),
            ("Verification code: ", false, false),
            ("One-time password (OATH) for `ops': ", false, false),
            (
                "Are you sure you want to continue connecting (yes/no/[fingerprint])? ",
                false,
                false,
            ),
            ("Enter PIN for authenticator: ", false, false),
            ("", false, false),
        ] {
            assert_eq!(Expect::Password.is_it(question), password, "{question}");
            assert_eq!(Expect::Passphrase.is_it(question), passphrase, "{question}");
        }
    }
}
