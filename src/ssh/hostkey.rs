//! Host keys: read with `ssh-keyscan`, shown by fingerprint, accepted by a person, pinned. Only Ed25519, ECDSA and RSA;
//! DSA is obsolete, and certificates are not pinned.

use super::error::{at_error, ours};
use crate::base::clock::{self, Duration};
use crate::base::error::{Error, Kind, Result};
use crate::base::host::Host;
use crate::base::process::{self, Cancel, Program};
use crate::base::text;
use ring::digest;
use std::net::{TcpStream, ToSocketAddrs};

/// Preferred first.
const KINDS: &[&str] = &[
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
];
/// An RSA key of 16384 bits has 2 800 characters.
const LINE_MAX: usize = 4_096;

/// A server's public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKey {
    /// `ssh-ed25519 AAAA…`: stored and pinned.
    pub line: String,
    /// `SHA256:…`: compared by people.
    pub fingerprint: String,
}

impl HostKey {
    /// `ssh-ed25519`.
    pub fn kind(&self) -> &str {
        self.line.split(' ').next().unwrap_or_default()
    }
}

/// Reads `ssh-ed25519 AAAA… comment`. The error is a sentence.
pub fn parse(line: &str) -> std::result::Result<HostKey, String> {
    let mut words = line.split_ascii_whitespace();
    let (kind, coded) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if !KINDS.contains(&kind) || line.len() > LINE_MAX {
        return Err("A host key is one line: ssh-ed25519, ecdsa-sha2-… or ssh-rsa, then its base64 text.".into());
    }
    // The blob begins with its own kind (RFC 4253 §6.6): a line with another kind is refused.
    let blob = text::unbase64(coded).unwrap_or_default();
    if blob_kind(&blob) != Some(kind.as_bytes()) || blob.len() < 50 {
        return Err("This host key is cut off or altered: its base64 text does not hold such a key.".into());
    }
    Ok(HostKey {
        line: format!("{kind} {}", text::base64(&blob)),
        fingerprint: fingerprint(&blob),
    })
}

/// The kind a key's blob names: its first string.
pub(super) fn blob_kind(blob: &[u8]) -> Option<&[u8]> {
    let (size, rest) = blob.split_first_chunk::<4>()?;
    rest.get(..u32::from_be_bytes(*size) as usize)
}

/// Fingerprint in OpenSSH's form.
pub(super) fn fingerprint(blob: &[u8]) -> String {
    let sum = text::base64(digest::digest(&digest::SHA256, blob).as_ref());
    format!("SHA256:{}", sum.trim_end_matches('='))
}

/// Reads a server's keys, preferred first, without login. Errors: those of a connection (`ssh_refused`, `ssh_timeout`,
/// …), or `cancelled`. An unresponsive server takes up to 5 s longer.
pub fn scan(host: &Host, port: u16, deadline: Duration, cancel: &Cancel) -> Result<Vec<HostKey>> {
    let at = format!("{}:{port}", host.in_url());
    let all = super::settled(host, port, &at, clock::mono() + deadline)?;
    // All addresses share the deadline.
    let each = (deadline / all.len() as u32).max(EACH_MIN);
    let mut last = None;
    for to in all {
        match scan_at(&to, port, &at, each, cancel) {
            Err(e) if super::not_there(&e) => last = Some(e),
            done => return done,
        }
    }
    Err(last.unwrap_or_else(|| Error::internal("a server without addresses")))
}

/// Minimum time per address.
const EACH_MIN: Duration = Duration::from_secs(3);

fn scan_at(to: &Host, port: u16, at: &str, deadline: Duration, cancel: &Cancel) -> Result<Vec<HostKey>> {
    let seconds = deadline.as_secs().clamp(1, 60);
    let args = [
        "-T",
        &seconds.to_string(),
        "-p",
        &port.to_string(),
        "-t",
        "ed25519,ecdsa,rsa",
        "--",
        to.as_str(),
    ];
    let program = Program {
        name: "ssh-keyscan",
        args: args.iter().map(Into::into).collect(),
        env: vec![],
        dir: None,
    };
    let limit = Duration::from_secs(seconds + 1);
    let seen = match process::run(program, b"", limit, 64 * 1024, cancel) {
        Ok(seen) => seen,
        Err(e) if e.code == "deadline" => return Err(why_not(to, port, at, "ssh-keyscan did not end")),
        Err(e) => return Err(ours(e)),
    };
    // `host ssh-ed25519 AAAA…`; other lines are ignored.
    let mut keys: Vec<HostKey> = seen
        .stdout
        .lines()
        .filter_map(|line| parse(line.split_once(' ')?.1).ok())
        .collect();
    keys.sort_by_key(|key| KINDS.iter().position(|kind| *kind == key.kind()));
    keys.dedup();
    match keys.is_empty() {
        true => Err(why_not(to, port, at, &seen.stderr)),
        false => Ok(keys),
    }
}

/// Error for a server that gave no key: `ssh-keyscan` gives no reason, our own connection does.
fn why_not(host: &Host, port: u16, at: &str, seen: &str) -> Error {
    let Some(address) = (host.as_str(), port)
        .to_socket_addrs()
        .ok()
        .and_then(|mut all| all.next())
    else {
        return at_error("ssh_name_unknown", at, seen);
    };
    // Not cancellable; “no route” takes the kernel 3 s.
    let code = match TcpStream::connect_timeout(&address, Duration::from_secs(5)) {
        Ok(_) => "ssh_silent",
        Err(e) => match e.kind() {
            std::io::ErrorKind::ConnectionRefused => "ssh_refused",
            std::io::ErrorKind::HostUnreachable | std::io::ErrorKind::NetworkUnreachable => "ssh_no_route",
            std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock => "ssh_timeout",
            _ => return Error::new(Kind::Upstream, "ssh_failed", format!("{at} cannot be reached.")).log(e),
        },
    };
    at_error(code, at, seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

    #[test]
    fn a_key_is_read_and_named_as_openssh_does() {
        // The key and fingerprint that GitHub publishes.
        let key = parse(&format!("  {KEY} comment\n")).unwrap();
        assert_eq!(key.line, KEY);
        assert_eq!(key.fingerprint, "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU");
    }

    #[test]
    fn what_is_not_a_key_is_refused() {
        for bad in [
            "",
            "ssh-ed25519",
            "ssh-ed25519 AAAA",
            &KEY.replace("ssh-ed25519", "ssh-rsa"),
            &KEY[..60],
            "ssh-dss AAAAB3NzaC1kc3MAAAA",
            "ssh-ed25519-cert-v01@openssh.com AAAA",
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 $(x)",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
