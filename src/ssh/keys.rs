//! Private keys as they are pasted. OpenSSH 9.2 refuses CRLF, a missing last line end, a blank line or byte order mark
//! before, and indentation. [`clean`] repairs exactly that; [`Ssh::inspect`] opens the key with `ssh-keygen`, so that a
//! wrong passphrase is reported when it is entered.

use super::askpass::{Answer, Expect};
use super::error::{at_error, ours};
use super::{FILES, Ssh, hostkey, relative};
use crate::base::clock::Duration;
use crate::base::error::{Error, Kind, Result};
use crate::base::file::TempFile;
use crate::base::process::{self, Cancel, Program};
use crate::base::secret::Secret;
use crate::base::text;

/// Limit of a paste in bytes; an RSA key of 16384 bits has 13 KiB.
const PASTE_MAX: usize = 256 * 1024;
/// Limit of opening an encrypted key: 0.1 to 1 s (bcrypt), more with many rounds.
const OPENING: Duration = Duration::from_secs(20);

/// Properties of a private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// `ssh-ed25519`, `ecdsa-sha2-nistp256`, `ssh-rsa`, `ssh-dss` …
    pub kind: String,
    /// `SHA256:…` of the public key.
    pub fingerprint: String,
    /// The public key, `ssh-ed25519 AAAA…`: the line for `authorized_keys`.
    pub public: String,
    /// Does it have a passphrase?
    pub encrypted: bool,
    /// Why servers may refuse it although it can be opened.
    pub warning: Option<&'static str>,
}

/// Common mistakes: a word of the first line, and the error text.
const MISTAKES: &[(&str, &str)] = &[
    (
        "PuTTY-User-Key-File",
        "This is a PuTTY key (.ppk). Export it in PuTTYgen: Conversions, Export OpenSSH key.",
    ),
    (
        "-cert-v01@openssh.com",
        "This is a certificate. Paste the private key, which begins with -----BEGIN.",
    ),
    ("BEGIN CERTIFICATE", "This is a certificate. Paste the private key."),
    ("PUBLIC KEY", "This is a public key. Paste the private key."),
    (
        "ssh-",
        "This is a public key. Paste the private key, which begins with -----BEGIN.",
    ),
    (
        "ecdsa-sha2-",
        "This is a public key. Paste the private key, which begins with -----BEGIN.",
    ),
    (
        "-----BEGIN",
        "The key's line breaks are lost. Paste it as it stands in its file, line by line.",
    ),
];

/// The first private key in the paste, in the form OpenSSH accepts. Error `bad_key` with a sentence.
pub fn clean(pasted: &[u8]) -> Result<Secret> {
    let bad = |say: &str| Err(Error::new(Kind::Invalid, "bad_key", say));
    if pasted.len() > PASTE_MAX {
        return bad("This is too long for a private key.");
    }
    let text = match std::str::from_utf8(pasted) {
        Ok(text) if !text.contains('\0') => text.trim_start_matches('\u{feff}').trim(),
        _ => return bad("This is no plain text (UTF-16?). Save the key as UTF-8 and paste it again."),
    };
    // Trimming removes indentation and CR. Text before (openssl's attributes) and after is dropped.
    let mut key = Vec::with_capacity(text.len() + 1);
    let mut label = None;
    for line in text.lines().map(str::trim) {
        label = label.or_else(|| edge(line, "BEGIN"));
        if label.is_some() {
            key.extend_from_slice(line.as_bytes());
            key.push(b'\n');
        }
        if label.is_some() && edge(line, "END") == label {
            return Ok(Secret::new(key));
        }
    }
    drop(Secret::new(key)); // zeroed
    if label.is_some() {
        return bad("The key's end is missing: there is no matching -----END line. Paste the whole key.");
    }
    let first = text.lines().next().unwrap_or_default();
    bad(MISTAKES.iter().find(|(word, _)| first.contains(word)).map_or(
        "This is no private key. It begins with a line like -----BEGIN OPENSSH PRIVATE KEY-----.",
        |(_, say)| say,
    ))
}

/// `OPENSSH PRIVATE KEY` of a BEGIN or END line.
fn edge<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    let label = line.strip_prefix("-----")?.strip_suffix("-----")?;
    label
        .strip_prefix(word)?
        .strip_prefix(' ')
        .filter(|label| label.ends_with("PRIVATE KEY") && !label.contains('-'))
}

impl Ssh {
    /// Opens a key returned by [`clean`]. Errors: `ssh_wrong_passphrase`, `ssh_passphrase_needed`,
    /// `ssh_key_unreadable`, `ssh_key_pkcs8`.
    pub fn inspect(&self, pem: &Secret, passphrase: Option<&Secret>) -> Result<KeyInfo> {
        let encrypted = is_encrypted(pem);
        let answer = match (encrypted, passphrase) {
            (true, None) => return Err(at_error("ssh_passphrase_needed", "", "")),
            (true, Some(passphrase)) => Some(Answer::offer(self, Expect::Passphrase, passphrase)?),
            (false, _) => None,
        };
        let file = TempFile::new(&self.dir.join(FILES), pem.reveal_for("ssh-keygen's key file"))?;
        let program = Program {
            name: "ssh-keygen",
            args: vec!["-y".into(), "-f".into(), relative(&file).into()],
            env: answer.as_ref().map(|a| a.env(self)).unwrap_or_default(),
            dir: Some(&self.dir),
        };
        let seen = process::run(program, b"", OPENING, 64 * 1024, &Cancel::new()).map_err(ours)?;
        let mut words = seen.stdout.split_ascii_whitespace();
        let (kind, coded) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let blob = text::unbase64(coded).unwrap_or_default();
        if seen.rc == 0 && hostkey::blob_kind(&blob) == Some(kind.as_bytes()) {
            return Ok(KeyInfo {
                kind: kind.into(),
                fingerprint: hostkey::fingerprint(&blob),
                public: format!("{kind} {coded}"),
                encrypted,
                warning: weakness(kind, &blob),
            });
        }
        let text = pem.reveal_text_for("its first line");
        let code = if seen.stderr.contains("incorrect passphrase") {
            "ssh_wrong_passphrase"
        } else if seen.stderr.contains("invalid format") && text.starts_with("-----BEGIN PRIVATE KEY") {
            "ssh_key_pkcs8"
        } else {
            "ssh_key_unreadable"
        };
        Err(at_error(code, "", &seen.stderr))
    }
}

/// PEM has a header for it; OpenSSH's format names the cipher first in its blob (`PROTOCOL.key`), `none` for none.
fn is_encrypted(pem: &Secret) -> bool {
    const MAGIC: &[u8] = b"openssh-key-v1\0";
    let text = pem.reveal_text_for("its format");
    let body: String = text.lines().filter(|line| !line.starts_with('-')).take(2).collect();
    let blob = text::unbase64(body.get(..64).unwrap_or_default()).unwrap_or_default();
    match blob.strip_prefix(MAGIC) {
        Some(rest) => hostkey::blob_kind(rest) != Some(b"none"),
        None => text.contains("ENCRYPTED"),
    }
}

/// DSA is removed in OpenSSH 10; RSA below 2048 bits is refused by many servers. An RSA blob is kind, exponent,
/// modulus.
fn weakness(kind: &str, blob: &[u8]) -> Option<&'static str> {
    match kind {
        "ssh-dss" => Some("No current server takes DSA keys. Make a new one with `ssh-keygen -t ed25519`."),
        // 2048 bits are 256 bytes, with 23 bytes or so around them.
        "ssh-rsa" if blob.len() < 270 => Some("Many servers take no RSA key of fewer than 2048 bits. Make a new one."),
        _ => None,
    }
}
